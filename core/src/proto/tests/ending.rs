//! Ends: keepalives to the moment, last words, and what is left afterwards.

use std::time::Duration;

use bytes::Bytes;

use super::hand::{
    WHOLE, acceptor, ask, frame, frames, kinds, leaving, level_1, pair, pair_of, post, result, take, to_client,
    to_server,
};
use super::{MOST_ROUNDS, SECOND, connector, drain_bytes, give};
use crate::error::{Code, Error, Sent};
use crate::proto::channel::Channel;
use crate::proto::conn::{Conn, Post};
use crate::proto::level1::wire::kind;
use crate::proto::level1::{Proofs, With};
use crate::proto::{Outcome, Secret};

const INSTANT: Duration = Duration::from_nanos(1);

#[test]
fn a_keepalive_asks_after_its_time_of_silence_and_gives_up_after_twice_of_it() {
    let mut client = level_1(connector());
    client.own.limits.keepalive = Some(SECOND);
    let mut pair = pair_of(client, level_1(acceptor()));
    assert_eq!(pair.client.next_timeout(), pair.deadline(SECOND));
    pair.pass(SECOND - INSTANT);
    assert_eq!(leaving(&mut pair.client), []);
    pair.pass(INSTANT);
    let asked = pair.now;
    assert_eq!(
        leaving(&mut pair.client).iter().map(|(h, token)| (h.kind, &token[..])).collect::<Vec<_>>(),
        [(kind::PING, &[0; 8][..])]
    );
    assert_eq!(pair.client.next_timeout(), Some(asked + 2 * SECOND));
    // Anything that comes is a sign of life, and the time of silence begins anew.
    pair.pass(SECOND);
    assert_eq!(leaving(&mut pair.client), [], "one ping at a time");
    to_client(&mut pair, &[frame(0x70, 0, 0, 0, &[])]);
    assert_eq!(pair.client.next_timeout(), pair.deadline(SECOND));
    pair.pass(SECOND);
    assert_eq!(kinds(&mut pair.client), [kind::PING]);
    pair.pass(2 * SECOND - INSTANT);
    assert!(pair.client.is_open());
    pair.pass(INSTANT);
    assert_eq!(pair.client.end_error().unwrap().code(), Code::PeerUnresponsive);
    assert_eq!(pair.client.next_timeout(), None);
    // The other side has none of its own.
    assert_eq!(pair.server.next_timeout(), None);
}

#[test]
fn a_keepalive_ends_with_reading() {
    let mut client = level_1(connector());
    client.own.limits.keepalive = Some(SECOND);
    let mut pair = pair_of(client, level_1(acceptor()));
    pair.client.ping(1, pair.now, None);
    pair.client.hung_up();
    assert_eq!(result(&mut pair.client, 1).unwrap_err().code(), Code::ConnectionLost);
    assert_eq!(pair.client.next_timeout(), None);
    pair.pass(SECOND);
    assert_eq!(kinds(&mut pair.client), [kind::PING], "the one that was asked for");
}

#[test]
fn nothing_received_is_left_after_a_close_and_all_of_it_after_an_end() {
    for close in [false, true] {
        let mut pair = pair();
        post(&mut pair, 1, Channel::DATA, 10);
        ask(&mut pair, 2, "?", None);
        let id = pair.client.open_stream(Channel::DATA, false, With::default(), Bytes::new(), pair.now).unwrap();
        pair.exchange();
        to_client(&mut pair, &[frame(kind::STREAM, WHOLE, 2, id, b"item")]);
        post(&mut pair, 3, Channel::DATA, 10);
        pair.client.stage();
        for conn in [&mut pair.client, &mut pair.server] {
            if close {
                conn.close()
            } else {
                conn.read_failed(Error::new(Code::ConnectionLost, "gone"))
            }
            assert!(conn.finished() && !conn.wants_write() && !conn.wants_read());
            assert_eq!((conn.stats().open_calls, conn.stats().open_served, conn.stats().send_queue.bytes), (0, 0, 0));
            assert_eq!(conn.stats().pending_operations, 0);
        }
        let received = pair.server.recv(4, None, None);
        match close {
            true => assert_eq!(received.unwrap().unwrap_err().code(), Code::Closed),
            false => assert!(matches!(received, Some(Ok(Outcome::Message(m))) if m.payload.len() == 10)),
        }
        // A call whose caller has gone with the connection is nobody's.
        let code = if close { Code::Closed } else { Code::ConnectionLost };
        assert_eq!(pair.server.recv(5, None, None).unwrap().unwrap_err().code(), code);
        let item = pair.client.stream_recv(6, id, None).unwrap();
        match close {
            true => assert_eq!(item.unwrap_err().code(), Code::Closed),
            false => assert!(matches!(item, Ok(Outcome::Item(item)) if item == "item")),
        }
        // Behind the items there is the end, for whoever comes late.
        let end = pair.client.stream_recv(7, id, None).expect("nothing is waited for").unwrap_err();
        assert_eq!((end.code(), end.sent()), (code, Sent::Maybe));
    }
}

#[test]
fn bytes_that_end_inside_a_message_were_cut_off() {
    let message = frame(kind::MESSAGE, WHOLE, 2, 0, b"abc");
    let begins = frame(kind::MESSAGE, 1, 2, 0, &[&6u32.to_le_bytes()[..], b"abc"].concat());
    let in_pieces = [begins.clone(), frame(kind::MESSAGE, 2, 2, 0, b"def")].concat();
    for bytes in [message, in_pieces] {
        for cut in 0..=bytes.len() {
            let mut pair = pair();
            give(&mut pair.server, &bytes[..cut], pair.now);
            assert!(pair.server.recv(1, Some(Channel::ERROR), None).is_none());
            pair.server.hung_up();
            let clean = cut == 0 || cut == bytes.len();
            assert_eq!(result(&mut pair.server, 1).unwrap_err().code() == Code::PeerClosed, clean, "{cut}");
            assert_eq!(pair.server.is_open(), clean, "the other direction goes on");
        }
    }
}

#[test]
fn why_a_call_ended_is_told_in_words() {
    let mut pair = pair();
    for op in 1..=3 {
        ask(&mut pair, op, "?", Some(SECOND * op as u32));
    }
    pair.exchange();
    let ids: Vec<u64> = (0..3).map(|_| take(&mut pair.server).request().unwrap().id).collect();
    pair.server.abandon_served(ids[0]);
    pair.server.handle_timeout(pair.now + 2 * SECOND);
    to_server(&mut pair, &[frame(kind::CANCEL, 0, 0, ids[2], &[])]);
    pair.server.abandon_served(ids[1]);
    pair.server.abandon_served(ids[2]);
    let told: Vec<_> = leaving(&mut pair.server)
        .into_iter()
        .map(|(_, reason)| {
            let number = i32::from_le_bytes(reason[..4].try_into().unwrap());
            (Code::from_number(number).unwrap(), String::from_utf8(reason[4..].to_vec()).unwrap())
        })
        .collect();
    assert_eq!(
        told,
        [
            (Code::CallAbandoned, "the program let the call go without an answer".into()),
            (Code::Timeout, "no reply came before the deadline passed".into()),
            (Code::Cancelled, "the call was given up".into()),
        ]
    );
}

#[test]
fn the_handshake_is_over_when_both_are_ready_and_each_step_comes_once() {
    let config = |role, nonce: &str| {
        let mut config = level_1(role);
        config.secret = Some(Secret::new("k").unwrap());
        config.own.nonce = Some(nonce.repeat(32));
        config
    };
    let now = std::time::Instant::now();
    let start = || {
        let mut client = Conn::new(config(connector(), "a"), now);
        let mut server = Conn::new(config(acceptor(), "b"), now);
        give(&mut server, &drain_bytes(&mut client), now);
        let response = drain_bytes(&mut server);
        give(&mut client, &response, now);
        let proof = drain_bytes(&mut client);
        assert_eq!(frames(&proof).iter().map(|(h, _)| h.kind).collect::<Vec<_>>(), [kind::AUTH]);
        (client, server, proof)
    };
    let (mut client, mut server, proof) = start();
    give(&mut server, &proof, now);
    let welcome = drain_bytes(&mut server);
    assert_eq!(frames(&welcome)[..2].iter().map(|(h, _)| h.kind).collect::<Vec<_>>(), [kind::AUTH, kind::READY]);
    assert!(!server.is_open() && !client.is_open());
    give(&mut client, &welcome, now);
    assert!(client.is_open() && !server.is_open());
    give(&mut server, &drain_bytes(&mut client), now);
    assert!(server.is_open());
    // A proof or READY too many, and one too early.
    let ready = frame(kind::READY, 0, 0, 0, &[]);
    let (_, mut server, proof) = start();
    give(&mut server, &[proof.clone(), proof].concat(), now);
    assert_eq!(server.end_error().unwrap().code(), Code::ProtocolError);
    for early in [&ready, &frame(kind::PING, 0, 0, 0, &[1; 8]), &frame(kind::MESSAGE, WHOLE, 2, 0, b"m")] {
        let (_, mut server, _) = start();
        give(&mut server, early, now);
        assert_eq!(server.end_error().unwrap().code(), Code::ProtocolError);
    }
    let (_, mut server, proof) = start();
    give(&mut server, &[proof, frame(kind::PING, 0, 0, 0, &[1; 8])].concat(), now);
    assert_eq!(server.end_error().unwrap().code(), Code::ProtocolError);
    let mut pair = pair();
    to_client(&mut pair, &[ready]);
    assert_eq!(pair.client.end_error().unwrap().code(), Code::ProtocolError);
    let mut pair = self::pair();
    to_client(&mut pair, &[frame(kind::AUTH, 0, 0, 0, &[0; 32])]);
    assert_eq!(pair.client.end_error().unwrap().code(), Code::ProtocolError);
}

#[test]
fn a_proof_is_not_shown() {
    assert_eq!(format!("{:?}", Proofs::new(b"secret", true, b"request", b"response")), "Proofs");
}

#[test]
fn keepalive_reports_a_silent_peer_and_never_a_healthy_one() {
    let mut client = level_1(connector());
    client.own.limits.keepalive = Some(SECOND);
    let mut pair = pair_of(client, level_1(acceptor()));
    assert_eq!(pair.server.agreed().peer_keepalive, Some(SECOND));
    for _ in 0..10 {
        pair.pass(SECOND);
        pair.exchange();
    }
    assert!(pair.client.is_open());
    // However late this side itself comes, it asks before it judges.
    pair.pass(100 * SECOND);
    assert!(pair.client.is_open());
    pair.pass(2 * SECOND);
    assert_eq!(pair.client.end_error().unwrap().code(), Code::PeerUnresponsive);
}

#[test]
fn a_closed_connection_is_not_taken_for_one_of_level_0() {
    let mut pair = pair();
    let id = pair.client.open_stream(Channel::COMMAND, false, With::default(), Bytes::new(), pair.now).unwrap();
    pair.client.close();
    let error = pair.client.stream_recv(1, id, None).unwrap().unwrap_err();
    assert_eq!((error.code(), error.sent()), (Code::Closed, Sent::Maybe));
    let error = pair.client.poll_stream_recv(3, id, None).unwrap().unwrap_err();
    assert_eq!((error.code(), error.sent()), (Code::Closed, Sent::Maybe));
    assert!(matches!(pair.client.watch(2, 2, None), Some(Ok(Outcome::CallEnded))));
}

#[test]
fn nothing_follows_the_last_words() {
    let mut pair = pair();
    for op in 0..20 {
        let post = Post::Message(Channel::COMMAND, With::default());
        pair.server.post(op, post, Bytes::from(vec![1; 64 * 1024]), pair.now, None);
    }
    pair.exchange();
    let bad = [0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    give(&mut pair.client, &bad, pair.now);
    let mut words = drain_bytes(&mut pair.client);
    let left = (0..MOST_ROUNDS).find(|_| !matches!(pair.client.recv(99, None, None), Some(Ok(Outcome::Message(_)))));
    assert!(left.is_some());
    assert!(pair.client.finished());
    words.extend(drain_bytes(&mut pair.client));
    assert_eq!(words[4], 9, "a CLOSE and nothing else");
    assert_eq!(words.len(), 16 + u32::from_le_bytes(words[..4].try_into().unwrap()) as usize);
}

#[test]
fn a_close_is_not_answered_whatever_it_says() {
    for code in [Code::Closed, Code::ProtocolError, Code::AuthenticationFailed] {
        let mut pair = pair();
        let number = u32::try_from(code.number()).unwrap();
        let close = [&[5, 0, 0, 0, 9, 0, 0, 0][..], &[0; 8], &number.to_le_bytes(), b"x"].concat();
        give(&mut pair.server, &close, pair.now);
        let due = if code == Code::Closed { Code::PeerClosed } else { code };
        assert_eq!(pair.server.end_error().unwrap().code(), due);
        assert_eq!(drain_bytes(&mut pair.server), b"");
        assert!(pair.server.finished());
    }
}
