//! What a connection tells its driver: when there is something to do, until when, and with what.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::hand::{acceptor, ask, descriptors, frame, level_1, pair, pair_of, take};
use super::{Pair, SECOND, config, connector, done, give};
use crate::error::Code;
use crate::limits;
use crate::proto::channel::Channel;
use crate::proto::conn::{Config, Conn, Post, Role};
use crate::proto::level1::With;
use crate::proto::level1::wire::kind;
use crate::proto::notice::Notice;
use crate::proto::offer::FDS;
use crate::proto::{Outcome, Secret};

/// A pair of each level.
fn both() -> [Pair; 2] {
    [Pair::new(), pair()]
}

fn kept_alive(role: Role, level: u8, keepalive: Option<Duration>) -> Config {
    let mut config = if level == 0 { config(role) } else { level_1(role) };
    config.own.limits.keepalive = keepalive;
    config
}

fn message(conn: &mut Conn, op: u64, channel: Channel, payload: Bytes, now: Instant) {
    let post = Post::Message(channel, With::default());
    assert!(conn.post(op, post, payload, now, None).is_none_or(|step| step.is_ok()));
}

#[test]
fn a_connection_is_quiet_when_nothing_is_to_be_done_for_it() {
    for mut pair in both() {
        assert!(!pair.client.is_quiet(), "nobody was told that it opened");
        pair.client.take_notices();
        assert!(pair.client.is_quiet());
        message(&mut pair.client, 1, Channel::DATA, Bytes::from_static(b"out"), pair.now);
        pair.client.stage();
        assert!(!pair.client.is_quiet(), "there are bytes to write");
        pair.exchange();
        done(&mut pair.client);
        assert!(pair.client.is_quiet());
        assert!(pair.client.recv(2, None, None).is_none());
        assert!(pair.client.is_quiet(), "one that waits is no work");
        assert!(pair.client.cancel(2) && !pair.client.is_quiet(), "an operation ended");
        done(&mut pair.client);
        assert!(pair.client.is_quiet());
        pair.client.close();
        pair.client.take_notices();
        assert!(!pair.client.is_quiet(), "it has ended");
    }
    let mut waiting = Conn::new(config(acceptor()), Instant::now());
    assert!(waiting.take_notices().is_empty() && !waiting.is_quiet(), "the handshake goes on");
}

#[test]
fn a_connection_is_finished_when_its_last_bytes_have_left() {
    for mut pair in both() {
        assert!(!pair.server.finished());
        give(&mut pair.server, &[0xFF; 16], pair.now);
        assert!(pair.server.end_error().is_some() && pair.server.was_opened() && !pair.server.is_open());
        super::drain_bytes(&mut pair.server);
        assert!(pair.server.finished());
    }
    let mut refused = Conn::new(config(acceptor()), Instant::now());
    let now = refused.now();
    give(&mut refused, &[b"IP\x02\0\0\0\0\0", &b"{}"[..]].concat(), now);
    assert_eq!(refused.end_error().unwrap().code(), Code::BadHandshake);
    assert!(!refused.was_opened() && !refused.finished(), "the refusal is to be written");
    assert!(!super::drain_bytes(&mut refused).is_empty());
    assert!(refused.finished());
}

#[test]
fn it_wakes_for_the_handshake_for_what_waits_and_for_its_last_words() {
    for (level, keepalive) in [(0, None), (1, None), (1, Some(SECOND))] {
        let of = |role| kept_alive(role, level, keepalive);
        let mut pair = Pair::apart(of(connector()), of(acceptor()));
        let now = pair.now;
        for conn in [&mut pair.client, &mut pair.server] {
            assert_eq!(conn.next_timeout(), Some(now + limits::HANDSHAKE_TIMEOUT));
        }
        pair.exchange();
        assert_eq!(pair.client.next_timeout().is_some(), keepalive.is_some());
        let (soon, later) = (pair.deadline(SECOND / 8), pair.deadline(SECOND / 4));
        assert!(pair.client.recv(1, None, later).is_none() && pair.client.recv(2, None, soon).is_none());
        assert_eq!(pair.client.next_timeout(), soon);
        pair.pass(SECOND / 8);
        assert_eq!(pair.client.next_timeout(), later);
        pair.pass(SECOND / 8);
        assert_eq!(done(&mut pair.client).len(), 2);
        give(&mut pair.client, &[0xFF; 16], pair.now);
        assert!(pair.client.end_error().is_some());
        // A level-0 end has no words.
        let words = (level == 1).then(|| pair.now + limits::LAST_WORDS);
        pair.client.stage();
        assert_eq!((pair.client.next_timeout(), pair.client.wants_write()), (words, level == 1));
        super::drain_bytes(&mut pair.client);
        assert_eq!(pair.client.next_timeout(), None, "ended and silent");
    }
}

#[test]
fn the_deadline_of_a_served_call_wakes_nobody_once_all_has_ended() {
    let mut pair = pair();
    let until = pair.deadline(SECOND);
    pair.client.post(1, Post::Request(Channel::COMMAND, With::new(until)), Bytes::new(), pair.now, None);
    pair.exchange();
    // The program has it, and is still to answer.
    let request = take(&mut pair.server);
    assert_eq!(pair.server.next_timeout(), request.request().unwrap().deadline);
    pair.server.read_failed(crate::error::Error::new(Code::ConnectionLost, "reset"));
    assert_eq!(pair.server.next_timeout(), None);
}

#[test]
fn the_deadline_of_a_stream_wakes_nobody_once_all_has_ended() {
    let mut pair = pair();
    let until = pair.deadline(SECOND);
    let with = With::new(until);
    let id = pair.client.open_stream(Channel::COMMAND, false, with, Bytes::new(), pair.now).unwrap();
    pair.exchange();
    assert_eq!(pair.client.next_timeout(), until);
    pair.client.read_failed(crate::error::Error::new(Code::ConnectionLost, "reset"));
    assert_eq!(pair.client.next_timeout(), None);
    // How it ended is still to be taken.
    let end = pair.client.stream_recv(1, id, None).unwrap().unwrap_err();
    assert_eq!(end.code(), Code::ConnectionLost);
}

#[test]
fn last_words_that_nobody_takes_are_given_up() {
    let mut pair = pair();
    give(&mut pair.client, &[0xFF; 16], pair.now);
    pair.client.stage();
    pair.pass(limits::LAST_WORDS - Duration::from_micros(1));
    assert!(!pair.client.finished() && pair.client.wants_write());
    pair.pass(Duration::from_micros(1));
    assert!(pair.client.finished() && !pair.client.wants_write());
}

#[test]
fn either_side_may_want_to_be_pinged() {
    let (yes, no) = (Some(SECOND), None);
    for (client, server, level, expected) in
        [(no, no, 1, false), (yes, no, 1, true), (no, yes, 1, true), (yes, yes, 1, true), (yes, yes, 0, false)]
    {
        let of = |role, keepalive| kept_alive(role, level, keepalive);
        let pair = pair_of(of(connector(), client), of(acceptor(), server));
        assert_eq!([pair.client.has_keepalive(), pair.server.has_keepalive()], [expected; 2], "{level}");
    }
}

#[test]
fn descriptors_pass_where_both_sides_take_them() {
    for (client, server) in [(true, true), (true, false), (false, true), (false, false)] {
        let of = |role, fds| {
            let mut config = level_1(role);
            config.own.features = if fds { vec![FDS] } else { Vec::new() };
            config
        };
        let pair = pair_of(of(connector(), client), of(acceptor(), server));
        assert_eq!([pair.client.passes_fds(), pair.server.passes_fds()], [client && server; 2]);
    }
    // Where they do not pass, a message with one is not taken.
    let mut pair = pair();
    let mut with = With::default();
    with.more_mut().fds = descriptors(1);
    let post = Post::Message(Channel::DATA, with);
    let refused = pair.client.post(1, post, Bytes::new(), pair.now, None);
    assert_eq!(refused.unwrap().unwrap_err().code(), Code::Unsupported);
}

#[test]
fn the_largest_message_is_this_sides_own_limit_until_both_have_told() {
    let mut small = level_1(acceptor());
    small.max_message = 1000;
    small.own.limits.max_message = 1000;
    let pair = pair_of(level_1(connector()), small);
    assert_eq!((pair.client.largest(), pair.server.largest()), (limits::MAX_MESSAGE, 1000));
    assert_eq!((pair.client.agreed().max_message, pair.server.agreed().max_message), (1000, 1000));
}

#[test]
fn what_waits_to_be_sent_and_what_went_is_counted() {
    for mut pair in both() {
        assert_eq!((pair.client.send_backlog(), pair.client.messages()), (0, 0));
        let charged = 100 + limits::MESSAGE_OVERHEAD;
        for op in 1..=3 {
            message(&mut pair.client, op, Channel::DATA, Bytes::from(vec![1; 100]), pair.now);
        }
        let stats = pair.client.stats();
        assert_eq!((pair.client.send_backlog(), stats.send_queue.messages), (3 * charged, 3));
        assert_eq!((stats.send_queue.bytes, stats.send_queue.peak_bytes), (3 * charged, 3 * charged));
        pair.exchange();
        message(&mut pair.server, 1, Channel::TELEMETRY, Bytes::from_static(b"back"), pair.now);
        pair.exchange();
        let stats = pair.client.stats();
        assert_eq!((pair.client.send_backlog(), stats.send_queue.messages), (0, 0));
        assert_eq!(stats.send_queue.peak_bytes, 3 * charged);
        // Three out, one in, and the other way round.
        assert_eq!((pair.client.messages(), pair.server.messages()), (4, 4));
        let (data, telemetry) = (stats.channels[1], stats.channels[2]);
        assert_eq!((data.messages_sent, data.bytes_sent, data.messages_received), (3, 300, 0));
        assert_eq!((telemetry.messages_received, telemetry.bytes_received, telemetry.queued), (1, 4, 1));
        let there = pair.server.stats();
        assert_eq!((there.channels[1].queued, there.channels[1].bytes_received), (3, 300));
        assert_eq!((there.receive_queue.messages, there.receive_queue.bytes), (3, 3 * charged));
        assert_eq!((there.channels[2].messages_sent, there.channels[2].bytes_sent), (1, 4));
    }
}

#[test]
fn calls_and_operations_are_counted_while_they_last() {
    for mut pair in both() {
        assert_eq!(pair.client.stats().pending_operations, 0);
        ask(&mut pair, 1, "?", None);
        assert!(pair.client.recv(2, None, None).is_none());
        let stats = pair.client.stats();
        assert_eq!((stats.calls, stats.open_calls, stats.pending_operations), (0, 1, 2), "none of it has left");
        pair.exchange();
        assert_eq!(pair.client.stats().calls, 1);
        pair.client.close();
        done(&mut pair.client);
        let stats = pair.client.stats();
        assert_eq!((stats.open_calls, stats.pending_operations), (0, 0));
    }
}

#[test]
fn a_queue_that_fills_up_is_told_once() {
    for mut pair in both() {
        pair.server.take_notices();
        let mut told = Vec::new();
        for op in 0..7 {
            message(&mut pair.client, op, Channel::DATA, Bytes::from(vec![0; 1 << 20]), pair.now);
            pair.exchange();
            told.extend(pair.server.take_notices().into_iter().map(|notice| (op, notice)));
        }
        let [(at, Notice::QueueHigh { sending: false, bytes, limit, .. })] = told[..] else { panic!("{told:?}") };
        assert!(bytes >= limit / 4 * 3 && bytes < limit, "{bytes} of {limit}, at the message {at}");
    }
}

#[test]
fn only_a_message_of_its_channel_makes_a_channel_readable() {
    for mut pair in both() {
        message(&mut pair.client, 1, Channel::DATA, Bytes::from_static(b"d"), pair.now);
        pair.exchange();
        assert!(matches!(pair.server.readable(1, None), Some(Ok(Outcome::Readable))));
        assert!(pair.server.recv(2, Some(Channel::ERROR), None).is_none(), "nothing came there");
        take(&mut pair.server);
        assert!(pair.server.readable(3, None).is_none(), "all was taken");
        message(&mut pair.client, 2, Channel::TELEMETRY, Bytes::from_static(b"t"), pair.now);
        pair.exchange();
        let ended: Vec<u64> = done(&mut pair.server).iter().map(|(op, _)| *op).collect();
        assert_eq!(ended, [3]);
    }
}

#[test]
fn a_cork_is_let_go_once_for_what_it_holds() {
    let mut zero = Pair::new();
    zero.client.cork(true);
    assert!(!zero.client.is_corked() && !zero.client.release(), "level 0 holds nothing back");
    let mut pair = pair();
    assert!(!pair.client.is_corked() && !pair.client.release());
    pair.client.cork(true);
    assert!(pair.client.is_corked() && !pair.client.release(), "it holds nothing yet");
    pair.client.cork(false);
    assert!(!pair.client.is_corked());
}

#[test]
fn a_secret_that_cannot_be_proved_is_refused_with_the_reason() {
    let mut config = level_1(connector());
    config.secret = Some(Secret::new("s").unwrap());
    config.own.nonce = Some("ffeeddccbbaa99887766554433221100".into());
    let pair = pair_of(config, level_1(acceptor()));
    assert_eq!(pair.client.end_error().unwrap().code(), Code::AuthenticationFailed);
    assert!(!pair.client.was_opened());
}

#[test]
fn a_frame_of_another_level_ends_the_connection() {
    let mut pair = Pair::new();
    give(&mut pair.server, &frame(kind::MESSAGE, 3, 2, 0, b"x"), pair.now);
    assert_eq!(pair.server.end_error().unwrap().code(), Code::BadMagic);
}

#[test]
fn what_is_there_is_taken_in_order_as_long_as_is_wanted() {
    for mut pair in both() {
        for (op, channel) in [Channel::DATA, Channel::TELEMETRY, Channel::DATA, Channel::ERROR].into_iter().enumerate()
        {
            message(&mut pair.client, op as u64, channel, Bytes::from(vec![op as u8]), pair.now);
        }
        pair.exchange();
        let mut several = |channel, most: usize| {
            let mut taken = Vec::new();
            let result = pair.server.recv_many(channel, |channel, body, _| {
                taken.push((channel, body.into_bytes()[0]));
                taken.len() < most
            });
            result.map(|()| taken).map_err(|error| error.code())
        };
        assert_eq!(several(Some(Channel::TELEMETRY), 9), Ok(vec![(Channel::TELEMETRY, 1)]));
        assert_eq!(several(None, 2), Ok(vec![(Channel::DATA, 0), (Channel::DATA, 2)]));
        assert_eq!(several(Some(Channel::DATA), 9), Ok(vec![]));
        assert_eq!(several(Some(Channel::new(300).unwrap()), 9), Err(Code::InvalidChannel));
        let oldest = pair.server.take_oldest().unwrap();
        assert_eq!((oldest.channel, &oldest.payload[..]), (Channel::ERROR, &[3][..]));
        assert!(pair.server.take_oldest().is_none());
    }
}

#[test]
fn one_that_polls_takes_what_is_there_and_else_is_woken_once() {
    for mut pair in both() {
        assert!(pair.server.poll_recv(1, Some(Channel::DATA), None).is_none() && pair.server.is_pending(1));
        assert!(!pair.server.is_pending(2));
        message(&mut pair.client, 1, Channel::ERROR, Bytes::from_static(b"e"), pair.now);
        pair.exchange();
        assert!(pair.server.is_pending(1), "that is for another channel");
        message(&mut pair.client, 2, Channel::DATA, Bytes::from_static(b"d"), pair.now);
        pair.exchange();
        assert!(matches!(done(&mut pair.server)[..], [(1, Ok(Outcome::Readable))]) && !pair.server.is_pending(1));
        let there = pair.server.poll_recv(2, Some(Channel::DATA), None);
        assert!(matches!(&there, Some(Ok(Outcome::Message(m))) if m.payload[..] == *b"d"), "{there:?}");
        assert!(matches!(pair.server.poll_recv(3, None, None), Some(Ok(Outcome::Message(_)))));
        let unknown = Some(Channel::new(300).unwrap());
        for step in [pair.server.poll_recv(4, unknown, None), pair.server.recv(5, unknown, None)] {
            assert_eq!(step.unwrap().unwrap_err().code(), Code::InvalidChannel);
        }
        pair.server.close();
        for step in [pair.server.poll_recv(6, None, None), pair.server.readable(7, None), pair.server.open(8, None)] {
            assert_eq!(step.unwrap().unwrap_err().code(), Code::Closed);
        }
        assert_eq!(pair.server.stats().pending_operations, 0);
    }
}

#[test]
fn who_waits_for_the_handshake_is_told_its_end() {
    let mut pair = Pair::apart(config(connector()), config(acceptor()));
    let now = pair.now;
    assert!(pair.client.open(1, None).is_none());
    pair.exchange();
    assert!(matches!(done(&mut pair.client)[..], [(1, Ok(Outcome::Opened))]));
    assert!(matches!(pair.client.open(2, None), Some(Ok(Outcome::Opened))), "it was over");
    let mut late = Conn::new(config(connector()), now);
    assert!(late.open(1, Some(now + SECOND)).is_none());
    late.handle_timeout(now + SECOND);
    assert_eq!(super::code(&mut late, 1), Code::Timeout);
    assert_eq!(late.end_error().unwrap().code(), Code::Timeout, "it can do nothing else");
}

#[test]
fn a_wait_until_all_has_left_ends_with_the_last_byte() {
    let mut zero = Pair::new();
    assert!(matches!(zero.client.flush(1, None), Some(Ok(Outcome::Sent))), "level 0 gathers nothing");
    let mut pair = pair();
    assert!(matches!(pair.client.flush(1, None), Some(Ok(Outcome::Sent))), "nothing is there");
    assert!(pair.client.send_short(Channel::DATA, b"short").unwrap());
    assert!(pair.client.flush(2, None).is_none());
    pair.client.stage();
    let mut slices = Vec::new();
    pair.client.slices(&mut slices);
    let bytes: usize = slices.iter().map(|slice| slice.len()).sum();
    pair.client.transmitted(bytes - 1);
    assert!(done(&mut pair.client).is_empty());
    pair.client.transmitted(1);
    assert!(matches!(done(&mut pair.client)[..], [(2, Ok(Outcome::Sent))]));
    pair.client.close();
    assert_eq!(pair.client.flush(3, None).unwrap().unwrap_err().code(), Code::Closed);
    assert_eq!(pair.client.send_short(Channel::DATA, b"short").unwrap_err().code(), Code::Closed);
}

#[test]
fn level_0_gathers_nothing_and_has_no_streams() {
    let mut zero = Pair::new();
    assert!(!zero.client.send_short(Channel::DATA, b"short").unwrap(), "it has to be posted");
    let part = zero.client.send_part(Channel::DATA, Bytes::new(), None, None);
    let opened = zero.client.open_stream(Channel::COMMAND, false, With::default(), Bytes::new(), zero.now);
    let ended = [
        part,
        opened.map(|_| ()),
        zero.client.stream_send(1, 1, Bytes::new(), false, None).unwrap().map(|_| ()),
        zero.client.stream_recv(2, 1, None).unwrap().map(|_| ()),
        zero.client.poll_stream_recv(3, 1, None).unwrap().map(|_| ()),
        zero.client.watch(4, 1, None).unwrap().map(|_| ()),
    ];
    for result in ended {
        assert_eq!(result.unwrap_err().code(), Code::Unsupported);
    }
    assert!(!zero.client.is_served(1) && zero.client.is_open());
}
