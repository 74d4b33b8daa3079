//! How each kind of operation ends before its time, and what is then said about it.

use bytes::Bytes;

use super::hand::{acceptor, answer, ask, descriptors, pair, take};
use super::{Pair, SECOND, code, config, connector, done, drain_bytes, give};
use crate::error::{Code, Error, Result, Sent};
use crate::limits;
use crate::proto::Outcome;
use crate::proto::channel::Channel;
use crate::proto::conn::{Conn, Post};
use crate::proto::control::Control;
use crate::proto::frame::Header;
use crate::proto::level1::With;
use crate::proto::notice::Notice;

const RECV: u64 = 1;
const READABLE: u64 = 2;
const PING: u64 = 3;
/// Queued, with nothing of it written.
const SEND: u64 = 4;
const CALL: u64 = 5;
/// Written, and not answered.
const ASKED: u64 = 6;
const ITEM: u64 = 7;
const NEXT_ITEM: u64 = 8;
const WATCH: u64 = 9;

/// A message of level 0's own.
fn control(what: Control) -> Vec<u8> {
    let payload = what.encode();
    let header = Header { len: payload.len() as u32, channel: Channel::CONTROL }.encode();
    [&header[..], payload].concat()
}

/// A client on which an operation of each kind waits until `after`.
fn waiting(level: u8, after: Option<std::time::Duration>) -> Pair {
    let mut pair = if level == 0 { Pair::new() } else { pair() };
    let until = after.map(|after| pair.now + after);
    let now = pair.now;
    let mut stream = 0;
    if level == 1 {
        let command = Channel::COMMAND;
        stream = pair.client.open_stream(command, false, With::default(), Bytes::new(), now).unwrap();
        let post = Post::Request(command, With::default());
        assert!(pair.server.post(1, post, Bytes::from_static(b"back"), now, None).is_none());
    }
    let post = Post::Request(Channel::COMMAND, With::default());
    assert!(pair.client.post(ASKED, post, Bytes::from_static(b"asked"), now, until).is_none());
    pair.exchange();
    if level == 1 {
        let id = take(&mut pair.client).request().unwrap().id;
        assert!(pair.client.watch(WATCH, id, until).is_none());
        assert!(pair.client.stream_recv(NEXT_ITEM, stream, until).is_none());
        // More than its window takes, so that it stays where it is.
        for op in 100..120 {
            assert!(pair.client.stream_send(op, stream, Bytes::from(vec![0; 64 * 1024]), false, None).is_none());
        }
        pair.exchange();
        assert!(pair.client.stream_send(ITEM, stream, Bytes::from_static(b"item"), false, until).is_none());
    }
    assert!(pair.client.recv(RECV, Some(Channel::DATA), until).is_none());
    assert!(pair.client.poll_recv(READABLE, Some(Channel::TELEMETRY), until).is_none());
    assert!(pair.client.ping(PING, now, until).is_none());
    let post = Post::Message(Channel::DATA, With::default());
    assert!(pair.client.post(SEND, post, Bytes::from_static(b"sent"), now, until).is_none());
    let post = Post::Request(Channel::COMMAND, With::default());
    assert!(pair.client.post(CALL, post, Bytes::from_static(b"called"), now, until).is_none());
    pair.client.take_notices();
    pair
}

fn of_level(level: u8) -> Vec<u64> {
    let kinds = [RECV, READABLE, PING, SEND, CALL, ASKED];
    if level == 0 { kinds.into() } else { kinds.into_iter().chain([ITEM, NEXT_ITEM, WATCH]).collect() }
}

/// What each of them ended with.
fn ends(conn: &mut Conn, level: u8) -> Vec<(u64, Result<Outcome>)> {
    let mut ended: Vec<_> = done(conn).into_iter().filter(|(op, _)| *op < 100).collect();
    ended.sort_by_key(|(op, _)| *op);
    let ops: Vec<u64> = ended.iter().map(|(op, _)| *op).collect();
    assert_eq!(ops, of_level(level), "each once");
    ended
}

/// What may have reached the other side when the wait for an operation of this kind was over.
fn reached(op: u64) -> Sent {
    if op == ASKED { Sent::Maybe } else { Sent::No }
}

/// The same when the connection was over: who reads a stream learns what became of its call.
fn lost(op: u64) -> Sent {
    if op == NEXT_ITEM { Sent::Maybe } else { reached(op) }
}

#[test]
fn each_kind_tells_what_had_not_happened_at_its_deadline() {
    let texts = [
        (RECV, "no message came"),
        (READABLE, "no message came"),
        (PING, "no answer to the ping"),
        (SEND, "the message was not taken"),
        (CALL, "no reply came"),
        (ASKED, "no reply came"),
        (ITEM, "the item was not taken"),
        (NEXT_ITEM, "no item came"),
        (WATCH, "an answer was still wanted"),
    ];
    for level in [0, 1] {
        let mut pair = waiting(level, Some(SECOND));
        pair.pass(SECOND);
        for (op, result) in ends(&mut pair.client, level) {
            let error = result.unwrap_err();
            let (_, text) = texts.iter().find(|(of, _)| *of == op).unwrap();
            assert!(error.message().starts_with(text), "{op}: {error}");
            assert_eq!((error.code(), error.sent()), (Code::Timeout, reached(op)), "{op} of {level}");
        }
        // Level 0 has no ids: the answer that is late could be taken for the next one's.
        assert_eq!(pair.client.is_open(), level == 1);
        // Items before the one that was asked for wait on.
        let items = (100..120).filter(|op| pair.client.is_pending(*op)).count();
        assert_eq!((pair.client.stats().pending_operations, items > 0), (items, level == 1));
    }
    let mut early = Conn::new(config(connector()), std::time::Instant::now());
    let now = early.now();
    assert!(early.open(1, Some(now + SECOND)).is_none());
    early.handle_timeout(now + SECOND);
    let (_, error) = done(&mut early).pop().unwrap();
    assert!(error.unwrap_err().message().starts_with("the handshake was not over"));
}

#[test]
fn what_is_given_up_leaves_the_rest_alone() {
    for level in [0, 1] {
        for given_up in of_level(level).into_iter().filter(|op| level == 1 || *op != ASKED) {
            let mut pair = waiting(level, None);
            assert!(pair.client.cancel(given_up) && !pair.client.cancel(given_up), "once");
            let ended: Vec<_> = done(&mut pair.client).into_iter().filter(|(op, _)| *op < 100).collect();
            let [(op, Err(error))] = &ended[..] else { panic!("{ended:?}") };
            assert_eq!((*op, error.code(), error.sent()), (given_up, Code::Cancelled, reached(given_up)));
            assert!(of_level(level).into_iter().all(|op| pair.client.is_pending(op) == (op != given_up)));
            assert!(pair.client.is_open());
            // It reaches nobody any more.
            pair.exchange();
            let mut came = Vec::new();
            pair.server
                .recv_many(None, |_, body, _| {
                    came.push(body.into_bytes());
                    true
                })
                .unwrap();
            for (op, text) in [(SEND, &b"sent"[..]), (CALL, &b"called"[..])] {
                let waits = level == 0 && op == CALL;
                let expected = given_up != op && !waits;
                assert_eq!(came.iter().any(|bytes| bytes[..] == *text), expected, "{op} after {given_up}, {level}");
            }
        }
        assert!(!waiting(level, None).client.cancel(99), "nobody waits under that id");
    }
}

#[test]
fn a_close_ends_everything_at_once() {
    for level in [0, 1] {
        let mut pair = waiting(level, None);
        pair.client.close();
        for (op, result) in ends(&mut pair.client, level) {
            match result {
                Ok(outcome) => assert!(op == WATCH && matches!(outcome, Outcome::CallEnded)),
                Err(error) => assert_eq!((error.code(), error.sent()), (Code::Closed, lost(op)), "{op}"),
            }
        }
        assert_eq!(pair.client.end_error().unwrap().code(), Code::Closed);
        assert!(!pair.client.wants_read() && pair.client.stats().receive_queue.messages == 0);
        let notices = pair.client.take_notices();
        assert!(matches!(&notices[..], [Notice::Ended(error)] if error.code() == Code::Closed), "{notices:?}");
        pair.client.close();
        assert!(pair.client.take_notices().is_empty() && done(&mut pair.client).is_empty(), "once");
    }
}

#[test]
fn a_carrier_that_breaks_ends_everything_with_its_error() {
    for level in [0, 1] {
        let mut pair = waiting(level, None);
        pair.client.read_failed(Error::new(Code::ConnectionLost, "reset"));
        for (op, result) in ends(&mut pair.client, level) {
            match result {
                Ok(outcome) => assert!(op == WATCH && matches!(outcome, Outcome::CallEnded)),
                Err(error) => {
                    assert_eq!((error.code(), error.sent()), (Code::ConnectionLost, lost(op)), "{op}");
                    assert_eq!(error.message(), "reset");
                }
            }
        }
        assert!(pair.client.finished() && !pair.client.is_open());
    }
}

#[test]
fn whoever_takes_no_more_may_still_have_answered() {
    for level in [0, 1] {
        let mut pair = waiting(level, None);
        pair.client.write_failed(Error::new(Code::ConnectionLost, "broken pipe"));
        let mut failed: Vec<u64> = done(&mut pair.client)
            .into_iter()
            .filter(|(op, _)| *op < 100)
            .map(|(op, result)| {
                let error = result.unwrap_err();
                assert_eq!(
                    (error.code(), error.sent(), error.message()),
                    (Code::ConnectionLost, Sent::No, "broken pipe")
                );
                op
            })
            .collect();
        let expected = if level == 0 { vec![SEND, CALL] } else { vec![SEND, CALL, ITEM] };
        failed.sort_unstable();
        assert_eq!(failed, expected);
        assert!(pair.client.is_open() && pair.client.wants_read() && !pair.client.wants_write());
        assert!(pair.client.is_pending(ASKED) && pair.client.is_pending(RECV));
        pair.client.hung_up();
        let rest = done(&mut pair.client);
        assert!(rest.iter().any(|(op, result)| *op == ASKED
            && result.as_ref().is_err_and(|e| (e.code(), e.sent()) == (Code::ConnectionLost, Sent::Maybe))));
        assert!(!pair.client.is_pending(RECV) && pair.client.finished());
        // The first reason is what the log tells.
        let notices = pair.client.take_notices();
        assert!(matches!(&notices[..], [Notice::Ended(_)]), "{notices:?}");
    }
}

#[test]
fn an_end_of_the_stream_is_named_by_where_it_comes() {
    for level in [0, 1] {
        // Between frames: it sends no more, and what it was asked cannot be answered.
        let mut pair = waiting(level, None);
        pair.client.hung_up();
        let ended = done(&mut pair.client);
        let of = |op: u64| ended.iter().find(|(other, _)| *other == op).map(|(_, result)| result);
        for op in [RECV, READABLE] {
            assert!(of(op).unwrap().as_ref().is_err_and(|e| e.code() == Code::PeerClosed), "{op}");
        }
        for op in [PING, CALL, ASKED].into_iter().chain((level == 1).then_some(NEXT_ITEM)) {
            let error = of(op).unwrap().as_ref().unwrap_err();
            assert_eq!(error.code(), Code::ConnectionLost, "{op}");
            assert_eq!(error.sent(), lost(op), "{op}");
        }
        if level == 1 {
            assert!(matches!(of(WATCH), Some(Ok(Outcome::CallEnded))));
        }
        assert!(of(SEND).is_none() && pair.client.is_pending(SEND), "it may still read");
        assert_eq!(pair.client.stats().open_calls, 0, "none can be answered any more");
        assert!(!pair.client.wants_read() && pair.client.wants_write());
        assert_eq!(pair.client.recv(50, None, None).unwrap().unwrap_err().code(), Code::PeerClosed);
        // Inside one: it was cut.
        let mut pair = waiting(level, None);
        give(&mut pair.client, if level == 0 { b"IP" } else { &[5, 0, 0] }, pair.now);
        assert!(pair.client.inside_frame());
        pair.client.hung_up();
        assert_eq!(pair.client.end_error().unwrap().code(), Code::Truncated);
        for (op, result) in ends(&mut pair.client, level) {
            match (op, result) {
                (RECV | READABLE, Err(error)) => assert_eq!(error.code(), Code::Truncated),
                (WATCH, result) => assert!(matches!(result, Ok(Outcome::CallEnded))),
                (_, Err(error)) => assert_eq!((error.code(), error.sent()), (Code::ConnectionLost, lost(op))),
                (op, result) => panic!("{op}: {result:?}"),
            }
        }
    }
    // In the handshake: it depends on who left.
    for (role, expected) in [(connector(), Code::Refused), (acceptor(), Code::PeerClosed)] {
        let mut early = Conn::new(config(role), std::time::Instant::now());
        early.hung_up();
        assert_eq!(early.end_error().unwrap().code(), expected);
    }
}

#[test]
fn an_item_goes_nowhere_once_nothing_is_taken_or_all_is_over() {
    let mut pair = pair();
    let id = pair.client.open_stream(Channel::COMMAND, false, With::default(), Bytes::new(), pair.now).unwrap();
    pair.exchange();
    pair.client.write_failed(Error::new(Code::ConnectionLost, "broken pipe"));
    let refused = |conn: &mut Conn| conn.stream_send(1, id, Bytes::new(), false, None).unwrap().unwrap_err();
    assert_eq!(refused(&mut pair.client).code(), Code::ConnectionLost);
    pair.client.close();
    assert_eq!(refused(&mut pair.client).code(), Code::Closed, "the end that was chosen");
}

#[test]
fn how_a_stream_was_answered_outlives_the_connection() {
    let mut pair = pair();
    let id = pair.client.open_stream(Channel::COMMAND, false, With::default(), Bytes::new(), pair.now).unwrap();
    pair.exchange();
    let served = take(&mut pair.server).request().unwrap().id;
    answer(&mut pair.server, 1, served, Some(77), "why", pair.now);
    pair.exchange();
    pair.client.read_failed(Error::new(Code::ConnectionLost, "reset"));
    let error = pair.client.stream_recv(1, id, None).unwrap().unwrap_err();
    assert_eq!((error.code(), error.status()), (Code::RemoteError, Some(77)));
    let error = pair.client.stream_recv(2, id, None).unwrap().unwrap_err();
    assert_eq!(error.code(), Code::ConnectionLost, "that was taken");
}

#[test]
fn a_drain_of_what_has_ended_says_whether_it_ended_in_order() {
    for mut pair in [Pair::new(), pair()] {
        pair.client.close();
        assert!(matches!(pair.client.drain(1, None), Some(Ok(Outcome::Drained))));
    }
    for mut pair in [Pair::new(), pair()] {
        pair.client.read_failed(Error::new(Code::ConnectionLost, "reset"));
        assert_eq!(pair.client.drain(1, None).unwrap().unwrap_err().code(), Code::ConnectionLost);
    }
    for mut pair in [Pair::new(), pair()] {
        pair.client.take_notices();
        pair.server.take_notices();
        assert!(pair.client.drain(1, None).is_none());
        let own = pair.client.take_notices();
        assert!(matches!(own[..], [Notice::Draining { by_peer: false }]), "{own:?}");
        assert!(pair.client.drain(2, None).is_none());
        assert!(pair.client.take_notices().is_empty(), "told once");
        pair.exchange();
        let there = pair.server.take_notices();
        assert!(matches!(there.first(), Some(Notice::Draining { by_peer: true })), "{there:?}");
        let drained = done(&mut pair.client);
        assert!(matches!(drained[..], [(_, Ok(Outcome::Drained)), (_, Ok(Outcome::Drained))]), "{drained:?}");
    }
    // It was agreed on only if the other side heard of it, and then came to an end in order.
    for mut pair in [Pair::new(), pair()] {
        assert!(pair.client.drain(1, None).is_none());
        drain_bytes(&mut pair.client);
        pair.client.read_failed(Error::new(Code::ConnectionLost, "reset"));
        assert_eq!(code(&mut pair.client, 1), Code::ConnectionLost);
    }
    let mut zero = Pair::new();
    zero.client.call(1, Bytes::from_static(b"holds it up"), None);
    zero.exchange();
    assert!(zero.client.drain(2, None).is_none());
    zero.client.close();
    assert_eq!(code(&mut zero.client, 2), Code::Closed, "nobody was told");
    // One that runs out of time ends the connection.
    for mut pair in [Pair::new(), pair()] {
        let until = pair.deadline(SECOND);
        ask(&mut pair, 1, "unanswered", None);
        pair.exchange();
        assert!(pair.client.drain(2, until).is_none());
        pair.exchange();
        pair.pass(SECOND);
        assert_eq!(code(&mut pair.client, 2), Code::Timeout);
        assert_eq!(pair.client.end_error().unwrap().code(), Code::Closed);
    }
}

#[test]
fn a_good_bye_names_the_end_that_was_chosen() {
    for mut pair in [Pair::new(), pair()] {
        let level = pair.client.agreed().level;
        pair.client.take_notices();
        pair.client.say_good_bye();
        pair.client.write_failed(Error::new(Code::ConnectionLost, "broken pipe"));
        pair.client.close();
        let notices = pair.client.take_notices();
        assert!(matches!(&notices[..], [Notice::Ended(error)] if error.code() == Code::Closed), "{level}: {notices:?}");
    }
    // A loss that came before it is what the program is told.
    for mut pair in [Pair::new(), pair()] {
        pair.client.take_notices();
        pair.client.write_failed(Error::new(Code::ConnectionLost, "broken pipe"));
        pair.client.say_good_bye();
        pair.client.close();
        let notices = pair.client.take_notices();
        let broken = |e: &Error| e.code() == Code::ConnectionLost;
        assert!(matches!(&notices[..], [Notice::Ended(error)] if broken(error)), "{notices:?}");
    }
    let mut pair = pair();
    pair.client.say_good_bye();
    let words = drain_bytes(&mut pair.client);
    give(&mut pair.server, &words, pair.now);
    assert_eq!(pair.server.end_error().unwrap().code(), Code::PeerClosed);
    assert!(drain_bytes(&mut Pair::new().client).is_empty());
}

#[test]
fn descriptors_on_level_0_break_the_protocol() {
    let mut zero = Pair::new();
    zero.client.received_fds(descriptors(1));
    assert_eq!(zero.client.end_error().unwrap().code(), Code::ProtocolError);
}

#[test]
fn buffers_are_lent_and_given_back_on_both_levels() {
    for mut pair in [Pair::new(), pair()] {
        let (mut mine, mut other) = (Vec::new(), Vec::new());
        pair.client.give_back(&mut mine);
        let mut spare = Vec::with_capacity(150_000);
        pair.client.lend(&mut spare);
        assert_eq!(spare.capacity(), 0);
        assert!(pair.client.read_buffer().0.capacity() >= 150_000);
        pair.client.give_back(&mut other);
        assert!(other.capacity() >= 150_000, "nothing is in it");
        let part = if pair.client.agreed().level == 0 { &b"IP"[..] } else { &[5, 0] };
        give(&mut pair.client, part, pair.now);
        let (buffer, room) = pair.client.read_buffer();
        assert_eq!((buffer.len(), room), (2, buffer.capacity() - 2));
    }
}

#[test]
fn what_the_other_side_forces_is_an_end_of_its_own() {
    let mut zero = Pair::new();
    give(&mut zero.client, &control(Control::ShutdownForce), zero.now);
    assert_eq!(zero.client.end_error().unwrap().code(), Code::PeerClosed);
}

#[test]
fn an_answer_that_is_waited_for_is_no_part_of_a_flood_and_excuses_none() {
    let most = limits::CONTROL_RATE as usize;
    for (pings, flood) in [(most, false), (most + 1, true)] {
        let mut zero = Pair::new();
        assert!(zero.client.ping(1, zero.now, None).is_none());
        drain_bytes(&mut zero.client);
        for _ in 0..pings {
            give(&mut zero.client, &control(Control::Ping), zero.now);
            drain_bytes(&mut zero.client);
        }
        assert_eq!(zero.client.end_error().is_some(), flood, "{pings}");
        give(&mut zero.client, &control(Control::Pong), zero.now);
        assert_eq!(zero.client.is_open(), !flood, "it was asked for");
        give(&mut zero.client, &control(Control::Pong), zero.now);
        assert_eq!(zero.client.end_error().unwrap().code(), Code::ControlFlood, "nobody asked for that one");
    }
}

#[test]
fn so_many_answers_may_be_unread_and_not_one_more() {
    let mut zero = Pair::new();
    let ping = control(Control::Ping);
    for _ in 0..limits::MAX_UNREAD_ANSWERS {
        give(&mut zero.server, &ping, zero.now);
        zero.now += SECOND / 500;
    }
    assert!(zero.server.is_open());
    give(&mut zero.server, &ping, zero.now);
    assert_eq!(zero.server.end_error().unwrap().code(), Code::ControlFlood);
}

#[test]
fn who_waits_is_known_by_its_own_operation() {
    // A message that has no room yet, another one, and a call that has left.
    let mut zero = Pair::new();
    zero.client.call(1, Bytes::from_static(b"asked"), None);
    zero.exchange();
    let mut last = 1;
    while zero.client.stats().send_queue.bytes < limits::SEND_QUEUE {
        last += 1;
        assert!(zero.client.send(last, Channel::DATA, Bytes::from(vec![0; 1 << 20]), None).is_none());
    }
    let messages = zero.client.stats().send_queue.messages;
    assert!(zero.client.send(last + 1, Channel::DATA, Bytes::from_static(b"waits"), None).is_none());
    assert_eq!(zero.client.stats().send_queue.messages, messages, "there is no room for it");
    assert!(zero.client.send(last + 2, Channel::DATA, Bytes::from_static(b"too"), None).is_none());
    assert!(zero.client.cancel(last + 2));
    assert_eq!(code(&mut zero.client, last + 2), Code::Cancelled);
    assert!(zero.client.is_pending(last + 1));
    zero.client.close();
    let ended = done(&mut zero.client);
    let sent = |op: u64| ended.iter().find(|(other, _)| *other == op).unwrap().1.as_ref().unwrap_err().sent();
    assert_eq!((sent(1), sent(2), sent(last + 1)), (Sent::Maybe, Sent::No, Sent::No));
    // Of two who wait until something is there, one leaves.
    for mut pair in [Pair::new(), pair()] {
        assert!(pair.client.readable(1, None).is_none() && pair.client.readable(2, None).is_none());
        assert!(pair.client.cancel(1));
        assert_eq!(code(&mut pair.client, 1), Code::Cancelled);
        pair.server.post(1, Post::Message(Channel::DATA, With::default()), Bytes::new(), pair.now, None);
        pair.exchange();
        assert!(matches!(done(&mut pair.client)[..], [(2, Ok(Outcome::Readable))]));
    }
}
