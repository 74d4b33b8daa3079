//! Ends: keepalives to the moment, drains, last words, and what is left afterwards.

use std::time::Duration;

use bytes::Bytes;

use super::hand::{WHOLE, frames, kinds, leaving, post, to_client, to_server};
use super::level1::{acceptor, answer, ask, frame, level_1, pair, pair_of, reply, result, take};
use super::{SECOND, connector, done, drain_bytes, give};
use crate::error::{Code, Error};
use crate::proto::channel::Channel;
use crate::proto::conn::Conn;
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
fn a_drain_closes_once_and_behind_all_that_was_sent() {
    let mut pair = pair();
    let item = 64 * 1024;
    for op in 0..40 {
        assert!(post(&mut pair, op, Channel::COMMAND, item).is_none());
    }
    assert!(pair.client.drain(100, None).is_none());
    // More than there is credit for: it goes on until the other side has taken it all.
    pair.exchange();
    assert!(pair.client.is_open() && pair.server.is_open());
    let left = done(&mut pair.client).len();
    assert!((1..40).contains(&left), "{left}");
    for n in 0..40 {
        assert_eq!(take(&mut pair.server).payload[0], n);
        pair.exchange();
    }
    let ends = done(&mut pair.client);
    assert_eq!(ends.len(), 40 - left + 1);
    assert!(ends.iter().any(|(op, end)| *op == 100 && matches!(end, Ok(Outcome::Drained))));
    assert_eq!(pair.server.end_error().unwrap().code(), Code::PeerClosed);

    // The frames of the whole end, in order: of one in which nothing is to be waited for but the acknowledgement.
    let mut pair = self::pair();
    pair.client.drain(1, None);
    assert_eq!(kinds(&mut pair.client), [kind::GOAWAY]);
    pair.client.handle_timeout(pair.now);
    assert!(pair.client.is_open() && leaving(&mut pair.client).is_empty());
    to_client(&mut pair, &[frame(kind::DRAIN_ACK, 0, 0, 0, &[])]);
    assert_eq!(kinds(&mut pair.client), [kind::GOAWAY, kind::CLOSE]);
    // And of one with a call.
    let mut pair = self::pair();
    ask(&mut pair, 1, "?", None);
    pair.exchange();
    pair.client.drain(2, None);
    pair.client.drain(3, None);
    assert_eq!(kinds(&mut pair.client), [kind::GOAWAY], "once");
    to_client(&mut pair, &[frame(kind::DRAIN_ACK, 0, 0, 0, &[])]);
    // The last call of the other side that was taken is told; there was none.
    let leaves = leaving(&mut pair.client);
    assert_eq!((leaves[0].0.kind, &leaves[0].1[..8]), (kind::GOAWAY, &[0; 8][..]));
    assert!(pair.client.is_open(), "its own call is not over");
    to_client(&mut pair, &[frame(kind::RESPONSE, WHOLE, 1, 1, b"r")]);
    assert!(pair.client.is_open(), "and then, the CLOSE has not left");
    pair.client.handle_timeout(pair.now);
    pair.client.handle_timeout(pair.now);
    assert_eq!(kinds(&mut pair.client), [kind::CLOSE], "once");
    assert_eq!(done(&mut pair.client).len(), 3);
    assert!(pair.client.finished());
}

#[test]
fn a_drain_waits_for_the_calls_of_both_sides() {
    for own in [false, true] {
        let mut pair = pair();
        if own {
            ask(&mut pair, 1, "?", None);
            pair.exchange();
            let id = take(&mut pair.server).request().unwrap().id;
            pair.client.drain(2, None);
            pair.exchange();
            assert!(pair.client.is_open() && pair.server.is_open());
            answer(&mut pair.server, 3, id, None, "r", pair.now);
            pair.exchange();
            assert_eq!(done(&mut pair.client).len(), 2);
        } else {
            to_client(&mut pair, &[frame(kind::REQUEST, WHOLE, 1, 2, b"?")]);
            take(&mut pair.client);
            pair.client.drain(2, None);
            drain_bytes(&mut pair.client);
            to_client(&mut pair, &[frame(kind::DRAIN_ACK, 0, 0, 0, &[])]);
            assert_eq!(leaving(&mut pair.client)[0].1[..8], 2u64.to_le_bytes(), "the last that was taken");
            assert!(pair.client.is_open());
            answer(&mut pair.client, 3, 2, None, "r", pair.now);
            assert_eq!(kinds(&mut pair.client), [kind::RESPONSE, kind::CLOSE]);
            assert!(matches!(result(&mut pair.client, 2), Ok(Outcome::Drained)));
        }
    }
}

#[test]
fn an_acknowledgement_is_taken_once_and_only_if_it_was_asked_for() {
    let mut pair = pair();
    to_client(&mut pair, &[frame(kind::DRAIN_ACK, 0, 0, 0, &[])]);
    assert_eq!(pair.client.end_error().unwrap().code(), Code::ProtocolError);
    let mut pair = self::pair();
    ask(&mut pair, 1, "?", None);
    pair.exchange();
    pair.client.drain(2, None);
    to_client(&mut pair, &[frame(kind::DRAIN_ACK, 0, 0, 0, &[])]);
    assert!(pair.client.is_open());
    to_client(&mut pair, &[frame(kind::DRAIN_ACK, 0, 0, 0, &[])]);
    assert_eq!(pair.client.end_error().unwrap().code(), Code::ProtocolError);
}

#[test]
fn an_acknowledgement_is_given_once_behind_all_that_was_started() {
    let goaway = frame(kind::GOAWAY, 0, 0, 0, &[&u64::MAX.to_le_bytes()[..], &[0; 4]].concat());
    let mut server = level_1(acceptor());
    server.own.limits.max_calls = 1;
    let mut pair = pair_of(level_1(connector()), server);
    ask(&mut pair, 1, "?", None);
    ask(&mut pair, 2, "waits", None);
    pair.exchange();
    to_client(&mut pair, &[goaway.clone(), goaway]);
    assert_eq!(leaving(&mut pair.client), [], "a call waits for its place");
    to_client(&mut pair, &[frame(kind::RESPONSE, WHOLE, 1, 1, b"r")]);
    assert_eq!(kinds(&mut pair.client), [kind::REQUEST, kind::DRAIN_ACK]);
    pair.client.handle_timeout(pair.now);
    assert_eq!(leaving(&mut pair.client), [], "once");
    assert_eq!(reply(&mut pair.client, 1), "r");
    let refused = post(&mut pair, 3, Channel::DATA, 1).unwrap().unwrap_err();
    assert_eq!(refused.code(), Code::Draining);
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
    let (_, mut server, _) = start();
    give(&mut server, &ready, now);
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
