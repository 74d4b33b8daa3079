//! Level 1 between two state machines and a pretended clock.

use std::time::Duration;

use bytes::Bytes;

use super::{MOST_ROUNDS, Pair, SECOND, config, connector, done};
use crate::error::{Code, Error, Sent};
use crate::limits;
use crate::proto::channel::Channel;
use crate::proto::conn::{Config, Conn, Post, Role};
use crate::proto::level1::{Answer, Delivery, Policy, With, wire};
use crate::proto::offer::Level;
use crate::proto::{OpId, Outcome, Secret};

pub(super) fn level_1(role: Role) -> Config {
    let mut config = config(role);
    config.own.level = Level::Auto;
    config
}

pub(super) fn pair_of(client: Config, server: Config) -> Pair {
    let mut pair = Pair::apart(client, server);
    pair.exchange();
    pair
}

pub(super) fn acceptor() -> Role {
    Role::Acceptor { peer_id: "peer-1".into() }
}

pub(super) fn pair() -> Pair {
    let pair = pair_of(level_1(connector()), level_1(acceptor()));
    assert!(pair.client.is_open() && pair.server.is_open());
    assert_eq!((pair.client.agreed().level, pair.server.agreed().level), (1, 1));
    pair
}

pub(super) fn ask(pair: &mut Pair, op: OpId, text: &'static str, deadline: Option<Duration>) {
    let at = deadline.map(|d| pair.now + d);
    let with = With::new(at);
    let post = Post::Request(Channel::COMMAND, with);
    assert!(pair.client.post(op, post, Bytes::from_static(text.as_bytes()), pair.now, at).is_none());
}

pub(super) fn take(conn: &mut Conn) -> Delivery {
    match conn.recv(9999, None, None) {
        Some(Ok(Outcome::Message(delivery))) => delivery,
        other => panic!("a message was queued: {other:?}"),
    }
}

pub(super) fn answer(
    conn: &mut Conn,
    op: OpId,
    id: u64,
    status: Option<u32>,
    text: &'static str,
    now: std::time::Instant,
) {
    let post = Post::Answer(Answer { id, status });
    assert!(conn.post(op, post, Bytes::from_static(text.as_bytes()), now, None).is_none());
}

pub(super) fn result(conn: &mut Conn, op: OpId) -> Result<Outcome, Error> {
    done(conn).into_iter().find(|(o, _)| *o == op).expect("the operation ended").1
}

pub(super) fn reply(conn: &mut Conn, op: OpId) -> Bytes {
    match result(conn, op) {
        Ok(Outcome::Reply(_, payload)) => payload,
        other => panic!("a reply: {other:?}"),
    }
}

#[test]
fn calls_are_answered_in_any_order() {
    let mut pair = pair();
    for (op, text) in [(1, "a"), (2, "b"), (3, "c")] {
        ask(&mut pair, op, text, None);
    }
    pair.exchange();
    let mut requests: Vec<Delivery> = (0..3).map(|_| take(&mut pair.server)).collect();
    requests.reverse();
    for request in &requests {
        let id = request.request().unwrap().id;
        let post = Post::Answer(Answer { id, status: None });
        pair.server.post(id, post, request.payload.clone(), pair.now, None);
    }
    pair.exchange();
    let finished = done(&mut pair.client);
    let order: Vec<OpId> = finished.iter().map(|(op, _)| *op).collect();
    assert_eq!(order, [3, 2, 1]);
    for (op, outcome) in finished {
        let Ok(Outcome::Reply(_, payload)) = outcome else { panic!() };
        assert_eq!(payload[0], b'a' + op as u8 - 1);
    }
}

#[test]
fn a_program_may_fail_a_call_with_code_and_data() {
    let mut pair = pair();
    ask(&mut pair, 1, "x", None);
    pair.exchange();
    let id = take(&mut pair.server).request().unwrap().id;
    answer(&mut pair.server, 1, id, Some(77), "why", pair.now);
    pair.exchange();
    let error = result(&mut pair.client, 1).unwrap_err();
    assert_eq!((error.code(), error.status(), error.data()), (Code::RemoteError, Some(77), &b"why"[..]));
    assert!(pair.client.is_open());
}

#[test]
fn a_deadline_reaches_the_other_side_and_ends_the_call_on_both() {
    let mut pair = pair();
    ask(&mut pair, 1, "slow", Some(SECOND));
    pair.exchange();
    let request = take(&mut pair.server).request().cloned().unwrap();
    assert_eq!(request.deadline, Some(pair.now + SECOND));
    assert!(pair.server.watch(5, request.id, None).is_none());
    pair.pass(SECOND);
    let error = result(&mut pair.client, 1).unwrap_err();
    assert_eq!((error.code(), error.sent()), (Code::Timeout, Sent::Maybe));
    assert!(matches!(result(&mut pair.server, 5), Ok(Outcome::CallEnded)));
    let post = Post::Answer(Answer { id: request.id, status: None });
    let late = pair.server.post(6, post, Bytes::new(), pair.now, None);
    assert_eq!(late.unwrap().unwrap_err().code(), Code::CallEnded);
    // The next call gets its own reply.
    pair.exchange();
    ask(&mut pair, 2, "next", None);
    pair.exchange();
    let id = take(&mut pair.server).request().unwrap().id;
    answer(&mut pair.server, 7, id, None, "own", pair.now);
    pair.exchange();
    assert_eq!(reply(&mut pair.client, 2), "own");
}

#[test]
fn a_cancel_is_seen_and_a_late_reply_dropped_and_counted() {
    let mut pair = pair();
    ask(&mut pair, 1, "x", None);
    pair.exchange();
    let id = take(&mut pair.server).request().unwrap().id;
    // The reply and the cancel cross.
    answer(&mut pair.server, 1, id, None, "late", pair.now);
    pair.client.cancel(1);
    pair.exchange();
    assert_eq!(result(&mut pair.client, 1).unwrap_err().code(), Code::Cancelled);
    assert_eq!((pair.client.stats().late, pair.server.stats().late), (1, 1));
    ask(&mut pair, 2, "y", None);
    pair.exchange();
    let id = take(&mut pair.server).request().unwrap().id;
    assert!(pair.server.watch(3, id, None).is_none());
    pair.client.cancel(2);
    pair.exchange();
    assert!(matches!(result(&mut pair.server, 3), Ok(Outcome::CallEnded)));
}

#[test]
fn when_the_other_side_is_gone_its_calls_are_over() {
    let mut pair = pair();
    ask(&mut pair, 1, "x", None);
    ask(&mut pair, 2, "y", None);
    pair.exchange();
    let [watched, other] = [0; 2].map(|_| take(&mut pair.server).request().unwrap().id);
    assert!(pair.server.watch(5, watched, None).is_none());
    // Killed: the stream ends without CLOSE.
    pair.server.hung_up();
    assert!(matches!(result(&mut pair.server, 5), Ok(Outcome::CallEnded)));
    assert!(matches!(pair.server.watch(6, other, None), Some(Ok(Outcome::CallEnded))));
    assert!(!pair.server.is_served(watched) && !pair.server.is_served(other));
}

#[test]
fn a_request_cancelled_before_it_was_taken_is_nobodys() {
    let mut pair = pair();
    ask(&mut pair, 1, "x", None);
    pair.exchange();
    pair.client.cancel(1);
    pair.exchange();
    assert!(pair.server.recv(1, None, None).is_none());
    assert_eq!(pair.server.stats().open_served, 0);
}

#[test]
fn an_unanswered_call_that_is_let_go_tells_its_caller() {
    let mut pair = pair();
    ask(&mut pair, 1, "x", None);
    pair.exchange();
    let id = take(&mut pair.server).request().unwrap().id;
    pair.server.abandon_served(id);
    pair.exchange();
    let error = result(&mut pair.client, 1).unwrap_err();
    assert_eq!((error.code(), error.sent()), (Code::CallAbandoned, Sent::Maybe));
}

#[test]
fn calls_above_the_limit_wait_for_their_turn_and_all_are_served() {
    let mut server = level_1(acceptor());
    server.own.limits.max_calls = 2;
    let mut pair = pair_of(level_1(connector()), server);
    for op in 1..=5 {
        ask(&mut pair, op, "x", None);
    }
    pair.exchange();
    assert_eq!((pair.client.stats().open_calls, pair.server.stats().open_served), (2, 2));
    for op in 1..=5 {
        let id = take(&mut pair.server).request().unwrap().id;
        answer(&mut pair.server, 100 + op, id, None, "r", pair.now);
        pair.exchange();
        assert_eq!(reply(&mut pair.client, op), "r");
    }
}

#[test]
fn credit_bounds_what_waits_and_comes_back_with_consumption() {
    let mut pair = pair();
    let payload = Bytes::from(vec![7; 64 * 1024]);
    for op in 0..100 {
        let post = Post::Message(Channel::COMMAND, With::default());
        pair.client.post(op, post, payload.clone(), pair.now, None);
    }
    pair.exchange();
    let waiting = pair.server.stats().receive_queue.bytes;
    let most = limits::WINDOW as usize + payload.len() + limits::MESSAGE_OVERHEAD;
    assert!(waiting >= limits::WINDOW as usize && waiting <= most, "{waiting}");
    // Another channel is not stopped by it.
    pair.client.post(500, Post::Message(Channel::DATA, With::default()), Bytes::from_static(b"d"), pair.now, None);
    pair.exchange();
    assert!(matches!(pair.server.recv(1, Some(Channel::DATA), None), Some(Ok(_))));
    for _ in 0..100 {
        take(&mut pair.server);
        pair.exchange();
    }
    assert_eq!(done(&mut pair.client).len(), 101);
    assert_eq!(pair.server.stats().receive_queue.bytes, 0);
}

#[test]
fn what_waits_for_credit_ends_with_what_comes() {
    let mut pair = pair();
    let payload = Bytes::from(vec![7; 64 * 1024]);
    let send = |pair: &mut Pair, op, channel| {
        pair.client.post(op, Post::Message(channel, With::default()), payload.clone(), pair.now, None)
    };
    for op in 0..40 {
        assert!(send(&mut pair, op, Channel::COMMAND).is_none());
    }
    pair.exchange();
    let left = done(&mut pair.client).len();
    assert!((1..40).contains(&left), "{left}");
    // Killed: the stream ends without CLOSE, and so does the credit that could have come.
    pair.client.hung_up();
    let ended = done(&mut pair.client);
    assert_eq!(ended.len(), 40 - left);
    for (op, outcome) in ended {
        let error = outcome.unwrap_err();
        assert_eq!((error.code(), error.sent()), (Code::ConnectionLost, Sent::No), "{op}");
    }
    let refused = send(&mut pair, 40, Channel::COMMAND).unwrap().unwrap_err();
    assert_eq!((refused.code(), refused.sent()), (Code::ConnectionLost, Sent::No));
    assert_eq!(pair.client.stats().channels[0].send_queued, 0);
    // What has credit leaves, until writing fails.
    assert!(send(&mut pair, 41, Channel::DATA).is_none());
    pair.exchange();
    assert!(matches!(result(&mut pair.client, 41), Ok(Outcome::Sent)));
}

#[test]
fn items_that_wait_for_credit_end_with_what_comes() {
    let mut pair = pair();
    let with = With::default();
    pair.client.open_stream(Channel::COMMAND, true, with, Bytes::from_static(b"s"), pair.now).unwrap();
    pair.exchange();
    let id = take(&mut pair.server).request().unwrap().id;
    let item = Bytes::from(vec![7; 64 * 1024]);
    for op in 0..20 {
        assert!(pair.server.stream_send(op, id, item.clone(), false, None).is_none());
    }
    pair.exchange();
    let left = done(&mut pair.server).len();
    assert!((1..20).contains(&left), "{left}");
    pair.server.hung_up();
    let ended = done(&mut pair.server);
    assert_eq!(ended.len(), 20 - left);
    assert!(ended.iter().all(|(_, outcome)| outcome.as_ref().unwrap_err().code() == Code::CallEnded));
    let late = pair.server.stream_send(20, id, item, false, None).unwrap().unwrap_err();
    assert_eq!((late.code(), late.sent()), (Code::ConnectionLost, Sent::No));
    // The caller has half an answer, and is told so.
    pair.exchange();
    for _ in 0..left {
        let op = 9_000;
        assert!(matches!(pair.client.stream_recv(op, id, None), Some(Ok(Outcome::Item(_)))));
    }
}

#[test]
fn a_stream_whose_answer_cannot_come_any_more_was_lost() {
    let mut pair = pair();
    let item = Bytes::from_static(b"item");
    let id = pair.client.open_stream(Channel::COMMAND, false, With::default(), item.clone(), pair.now).unwrap();
    assert!(pair.client.stream_send(1, id, item.clone(), false, None).is_none());
    pair.exchange();
    pair.client.hung_up();
    // What was sent before is still to be written: the connection has not ended, its calls have.
    let late = pair.client.stream_send(2, id, item, false, None).unwrap().unwrap_err();
    assert_eq!((late.code(), late.sent()), (Code::ConnectionLost, Sent::No));
    let read = pair.client.stream_recv(3, id, None).unwrap().unwrap_err();
    assert_eq!((read.code(), read.sent()), (Code::ConnectionLost, Sent::Maybe));
}

#[test]
fn a_message_larger_than_the_window_passes() {
    let mut pair = pair();
    let payload: Bytes = (0..3_000_000u32).map(|n| n as u8).collect::<Vec<u8>>().into();
    for _ in 0..3 {
        pair.client.post(1, Post::Message(Channel::COMMAND, With::default()), payload.clone(), pair.now, None);
        pair.exchange();
        assert_eq!(take(&mut pair.server).payload, payload);
        pair.exchange();
        assert_eq!(done(&mut pair.client).len(), 1);
    }
}

#[test]
fn policies_say_what_happens_without_credit() {
    let mut client = level_1(connector());
    client.policies = vec![(Channel::DATA, Policy::Latest), (Channel::ERROR, Policy::Error)];
    let mut pair = pair_of(client, level_1(acceptor()));
    let send = |pair: &mut Pair, channel, n: u8, len: usize| {
        pair.client.post(n.into(), Post::Message(channel, With::default()), Bytes::from(vec![n; len]), pair.now, None)
    };
    for n in 0..10 {
        assert!(matches!(send(&mut pair, Channel::DATA, n, 1 << 20), Some(Ok(Outcome::Sent))));
        pair.exchange();
    }
    let stats = pair.client.stats().channels[1];
    assert!(stats.send_queued == 1 && stats.dropped > 0, "{stats:?}");
    let mut seen = Vec::new();
    while let Some(Ok(Outcome::Message(message))) = pair.server.recv(1, Some(Channel::DATA), None) {
        assert!(seen.len() < MOST_ROUNDS);
        seen.push(message.payload[0]);
        pair.exchange();
    }
    pair.server.cancel(1);
    assert_eq!(seen.last(), Some(&9));
    assert_eq!(seen.len() as u64 + stats.dropped, 10);
    assert_eq!(pair.server.stats().channels[1].dropped_by_peer, stats.dropped);
    let mut blocked = None;
    for n in 0..3 {
        blocked = send(&mut pair, Channel::ERROR, n, 1 << 20);
        pair.exchange();
    }
    assert_eq!(blocked.unwrap().unwrap_err().code(), Code::WouldBlock);
}

#[test]
fn a_large_message_does_not_hold_up_a_small_one_of_another_channel() {
    let mut pair = pair();
    let large = Bytes::from(vec![1; 8 << 20]);
    pair.client.post(1, Post::Message(Channel::DATA, With::default()), large, pair.now, None);
    pair.client.stage();
    ask(&mut pair, 2, "small", None);
    let mut written = 0;
    while pair.server.stats().calls_served == 0 {
        pair.client.stage();
        let mut slices = Vec::new();
        pair.client.slices(&mut slices);
        let bytes: Vec<u8> = slices.iter().flat_map(|s| s.to_vec()).take(64 * 1024).collect();
        pair.client.transmitted(bytes.len());
        written += bytes.len();
        assert!(written <= 3 * limits::FRAGMENT && !bytes.is_empty(), "{written} bytes went first");
        assert!(super::give(&mut pair.server, &bytes, pair.now).is_empty());
    }
}

#[test]
fn streams_carry_items_both_ways_under_their_own_credit() {
    let mut pair = pair();
    let id = pair
        .client
        .open_stream(Channel::COMMAND, false, With::default(), Bytes::from_static(b"open"), pair.now)
        .unwrap();
    pair.exchange();
    let request = take(&mut pair.server).request().cloned().unwrap();
    assert!(request.stream && request.id == id);
    // Without a reader only the stream's window leaves.
    let item = Bytes::from(vec![5; 32 * 1024]);
    for op in 0..50 {
        assert!(pair.client.stream_send(op, id, item.clone(), false, None).is_none());
    }
    pair.client.stream_send(99, id, Bytes::new(), true, None);
    pair.exchange();
    assert!(done(&mut pair.client).len() < 12);
    let mut got = 0;
    for round in 0.. {
        assert!(round < MOST_ROUNDS);
        match pair.server.stream_recv(7, id, None) {
            Some(Ok(Outcome::Item(bytes))) => {
                assert_eq!(bytes, item);
                got += 1;
            }
            Some(Ok(Outcome::StreamEnd(None))) => break,
            None => {
                pair.server.cancel(7);
                done(&mut pair.server);
            }
            other => panic!("{other:?}"),
        }
        pair.exchange();
    }
    assert_eq!(got, 50);
    // The other direction, then the end with a reply.
    for op in 0..3 {
        assert!(pair.server.stream_send(op, id, Bytes::from_static(b"back"), false, None).is_none());
    }
    answer(&mut pair.server, 50, id, None, "end", pair.now);
    pair.exchange();
    for _ in 0..3 {
        assert!(matches!(pair.client.stream_recv(1, id, None), Some(Ok(Outcome::Item(_)))));
    }
    assert!(matches!(pair.client.stream_recv(1, id, None), Some(Ok(Outcome::StreamEnd(Some(end)))) if end == "end"));
    pair.client.drop_stream(id);
    assert_eq!((pair.client.stats().open_calls, pair.server.stats().open_served), (0, 0));
}

#[test]
fn an_answer_waits_for_the_items_before_it() {
    let mut pair = pair();
    let id = pair.client.open_stream(Channel::COMMAND, true, With::default(), Bytes::new(), pair.now).unwrap();
    pair.exchange();
    take(&mut pair.server);
    for op in 0..40 {
        pair.server.stream_send(op, id, Bytes::from(vec![op as u8; 32 * 1024]), false, None);
    }
    answer(&mut pair.server, 50, id, Some(3), "failed", pair.now);
    for n in 0..40 {
        pair.exchange();
        let Some(Ok(Outcome::Item(item))) = pair.client.stream_recv(1, id, None) else { panic!("item {n}") };
        assert_eq!(item[0], n);
    }
    pair.exchange();
    let end = pair.client.stream_recv(1, id, None).unwrap().unwrap_err();
    assert_eq!((end.code(), end.status()), (Code::RemoteError, Some(3)));
}

#[test]
fn both_sides_call_each_other_and_back() {
    let mut pair = pair();
    ask(&mut pair, 1, "a to b", None);
    pair.exchange();
    let outer = take(&mut pair.server).request().unwrap().id;
    let post = Post::Request(Channel::COMMAND, With::default());
    pair.server.post(2, post, Bytes::from_static(b"b to a"), pair.now, None);
    pair.exchange();
    let inner = take(&mut pair.client).request().unwrap().id;
    assert_eq!((outer % 2, inner % 2), (1, 0));
    answer(&mut pair.client, 3, inner, None, "inner", pair.now);
    pair.exchange();
    assert_eq!(reply(&mut pair.server, 2), "inner");
    answer(&mut pair.server, 4, outer, None, "outer", pair.now);
    pair.exchange();
    assert_eq!(reply(&mut pair.client, 1), "outer");
}

#[test]
fn a_lost_connection_fails_each_call_once_and_says_whether_it_may_have_run() {
    let mut pair = pair();
    ask(&mut pair, 1, "sent", None);
    pair.exchange();
    ask(&mut pair, 2, "not sent", None);
    pair.client.read_failed(Error::new(Code::ConnectionLost, "gone"));
    let mut ends = done(&mut pair.client);
    ends.sort_by_key(|(op, _)| *op);
    let sent: Vec<_> = ends.into_iter().map(|(op, r)| (op, r.unwrap_err().sent())).collect();
    assert_eq!(sent, [(1, Sent::Maybe), (2, Sent::No)]);
}

#[test]
fn a_drain_finishes_what_was_started_on_both_sides() {
    let mut pair = pair();
    ask(&mut pair, 1, "x", None);
    pair.exchange();
    let id = take(&mut pair.server).request().unwrap().id;
    assert!(pair.server.drain(2, None).is_none());
    pair.exchange();
    let post = Post::Request(Channel::COMMAND, With::default());
    let refused = pair.client.post(3, post, Bytes::new(), pair.now, None).unwrap().unwrap_err();
    assert_eq!((refused.code(), refused.sent()), (Code::Draining, Sent::No));
    answer(&mut pair.server, 4, id, None, "r", pair.now);
    pair.exchange();
    assert_eq!(reply(&mut pair.client, 1), "r");
    assert!(matches!(result(&mut pair.server, 2), Ok(Outcome::Drained)));
    assert_eq!(pair.client.end_error().unwrap().code(), Code::PeerClosed);
}

/// A pair in which the server serves one call at a time, and the client has one open and one waiting.
fn one_of_two_started() -> Pair {
    let mut server = level_1(acceptor());
    server.own.limits.max_calls = 1;
    let mut pair = pair_of(level_1(connector()), server);
    ask(&mut pair, 1, "open", None);
    ask(&mut pair, 2, "waits", None);
    pair.exchange();
    pair
}

pub(super) fn frame(kind: u8, flags: u8, channel: u16, id: u64, payload: &[u8]) -> Vec<u8> {
    let header = wire::Header { len: payload.len() as u32, kind, flags, channel, id }.encode();
    [&header[..], payload].concat()
}

#[test]
fn an_answer_to_a_call_that_has_not_left_is_a_fault() {
    let mut pair = one_of_two_started();
    let reply = frame(wire::kind::RESPONSE, wire::flag::FIRST | wire::flag::LAST, 1, 3, b"x");
    super::give(&mut pair.client, &reply, pair.now);
    assert_eq!(pair.client.end_error().unwrap().code(), Code::ProtocolError);
    let sent: Vec<_> = done(&mut pair.client).into_iter().map(|(op, r)| (op, r.unwrap_err().sent())).collect();
    assert!(sent.contains(&(1, Sent::Maybe)) && sent.contains(&(2, Sent::No)), "{sent:?}");
}

#[test]
fn a_hasty_goaway_ends_started_and_waiting_calls() {
    let mut pair = one_of_two_started();
    let stream = pair.client.open_stream(Channel::COMMAND, false, With::default(), Bytes::new(), pair.now).unwrap();
    super::give(&mut pair.client, &frame(wire::kind::GOAWAY, 0, 0, 0, &[0; 12]), pair.now);
    for (_, result) in done(&mut pair.client) {
        let error = result.unwrap_err();
        assert_eq!((error.code(), error.sent()), (Code::Draining, Sent::No));
    }
    assert_eq!(pair.client.stream_recv(9, stream, None).unwrap().unwrap_err().code(), Code::Draining);
    assert_eq!(pair.client.stats().open_calls, 0);
    assert!(pair.client.is_open());
}

#[test]
fn a_request_cancelled_while_it_arrives_is_nobodys() {
    use wire::{flag, kind};
    let mut pair = pair();
    for bytes in [
        frame(kind::REQUEST, flag::FIRST, 1, 1, b"\x04\0\0\0ab"),
        frame(kind::CANCEL, 0, 0, 1, &[]),
        frame(kind::REQUEST, flag::LAST, 1, 1, b"cd"),
        frame(kind::REQUEST, flag::FIRST | flag::LAST, 1, 3, b"next"),
    ] {
        super::give(&mut pair.server, &bytes, pair.now);
    }
    assert_eq!(take(&mut pair.server).payload, "next");
    assert_eq!(pair.server.stats().open_served, 1);
}

#[test]
fn no_call_is_open_after_the_end_although_its_answer_never_left() {
    use wire::{flag, kind};
    let mut pair = pair();
    for op in 1..=2 {
        ask(&mut pair, op, "x", None);
    }
    pair.exchange();
    for op in 1..=2 {
        let id = take(&mut pair.server).request().unwrap().id;
        answer(&mut pair.server, op, id, None, "r", pair.now);
        // The first answer is staged when the end comes, the second is queued.
        if op == 1 {
            pair.server.stage();
        }
    }
    assert_eq!(pair.server.stats().open_served, 2);
    super::give(&mut pair.server, &frame(kind::REQUEST, flag::LAST, 1, 9, b"no beginning"), pair.now);
    assert_eq!(pair.server.end_error().unwrap().code(), Code::ProtocolError);
    assert_eq!(pair.server.stats().open_served, 0);
    // Its reason for the end leaves all the same.
    pair.exchange();
    assert_eq!(pair.server.stats().open_served, 0);
    assert_eq!(pair.client.end_error().unwrap().code(), Code::ProtocolError);
}

#[test]
fn crossing_drains_succeed() {
    let mut pair = pair();
    assert!(pair.client.drain(1, None).is_none());
    assert!(pair.server.drain(1, None).is_none());
    pair.exchange();
    assert!(matches!(result(&mut pair.client, 1), Ok(Outcome::Drained)));
    assert!(matches!(result(&mut pair.server, 1), Ok(Outcome::Drained)));
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
fn a_secret_is_proved_by_both_sides_or_the_connection_refused() {
    let with = |role: Role, secret: Option<&str>, nonce: &str| {
        let mut config = level_1(role);
        config.secret = secret.map(|s| Secret::new(s).unwrap());
        config.own.nonce = secret.map(|_| nonce.repeat(32));
        config
    };
    let mut pair = pair_of(with(connector(), Some("k"), "a"), with(acceptor(), Some("k"), "b"));
    assert!(pair.client.is_open() && pair.server.is_open());
    ask(&mut pair, 1, "x", None);
    for (client, server) in [(Some("k"), Some("other")), (Some("k"), None), (None, Some("k"))] {
        let pair = pair_of(with(connector(), client, "a"), with(acceptor(), server, "b"));
        let codes = [pair.client.end_error().map(Error::code), pair.server.end_error().map(Error::code)];
        assert_eq!(codes, [Some(Code::AuthenticationFailed); 2], "{client:?} {server:?}");
    }
}

#[test]
fn levels_meet_at_the_highest_common_one() {
    for (client, server, level) in [
        (Level::Auto, Level::Auto, Some(1)),
        (Level::Zero, Level::Auto, Some(0)),
        (Level::Auto, Level::Zero, Some(0)),
        (Level::One, Level::Zero, None),
        (Level::Zero, Level::One, None),
    ] {
        let (mut c, mut s) = (config(connector()), config(acceptor()));
        (c.own.level, s.own.level) = (client, server);
        let pair = pair_of(c, s);
        match level {
            Some(level) => {
                assert!(pair.client.is_open() && pair.server.is_open());
                assert_eq!((pair.client.agreed().level, pair.server.agreed().level), (level, level));
            }
            None => assert_eq!(pair.client.end_error().unwrap().code(), Code::VersionMismatch),
        }
    }
}

/// Hands `post` in as drivers do: written at once as far as the carrier takes it, `taken` bytes here.
pub(super) fn write(
    pair: &mut Pair,
    server: bool,
    op: OpId,
    post: Post,
    payload: Bytes,
    taken: usize,
) -> crate::proto::Step {
    let (from, to) = match server {
        true => (&mut pair.server, &mut pair.client),
        false => (&mut pair.client, &mut pair.server),
    };
    let inline = from.inline(&post, payload.len(), pair.now).unwrap().expect("the way is free");
    let bytes: Vec<u8> =
        inline.with_slices(&payload, |slices| slices.iter().flat_map(|s| s.to_vec()).take(taken).collect());
    assert!(super::give(to, &bytes, pair.now).is_empty());
    from.wrote(op, &post, &inline, payload.len(), bytes.len(), || payload.clone(), None)
}

#[test]
fn an_answer_written_at_once_completes_a_drain() {
    let mut pair = pair();
    ask(&mut pair, 1, "x", None);
    pair.exchange();
    let id = take(&mut pair.server).request().unwrap().id;
    assert!(pair.server.drain(2, None).is_none());
    pair.exchange();
    let post = Post::Answer(Answer { id, status: None });
    assert!(write(&mut pair, true, 3, post, Bytes::from_static(b"r"), usize::MAX).is_some());
    pair.exchange();
    assert!(matches!(result(&mut pair.server, 2), Ok(Outcome::Drained)));
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
fn a_call_given_up_inside_its_frame_may_have_been_seen() {
    let mut pair = pair();
    let post = Post::Request(Channel::COMMAND, With::default());
    assert!(write(&mut pair, false, 1, post, Bytes::from_static(b"question"), 20).is_none());
    pair.client.cancel(1);
    let error = result(&mut pair.client, 1).unwrap_err();
    assert_eq!((error.code(), error.sent()), (Code::Cancelled, Sent::Maybe));
    // The rest leaves, and the CANCEL behind it.
    pair.server.recv(1, None, None);
    pair.exchange();
    let Ok(Outcome::Message(request)) = result(&mut pair.server, 1) else { panic!("a request") };
    assert_eq!((pair.client.stats().open_calls, pair.server.stats().open_served), (1, 1));
    pair.server.abandon_served(request.request().unwrap().id);
    pair.exchange();
    assert_eq!((pair.client.stats().open_calls, pair.server.stats().open_served), (0, 0));
}

#[test]
fn a_call_whose_request_leaves_before_the_last_words_may_have_been_seen() {
    let mut pair = pair();
    ask(&mut pair, 1, "staged", None);
    pair.client.stage();
    // A frame of a type that is never used.
    let bad = [0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    super::give(&mut pair.client, &bad, pair.now);
    let error = result(&mut pair.client, 1).unwrap_err();
    assert_eq!((error.code(), error.sent()), (Code::ProtocolError, Sent::Maybe));
    pair.exchange();
    assert_eq!(pair.server.stats().calls_served, 1);
}

#[test]
fn an_end_of_a_call_that_waits_for_its_place_takes_no_place_from_others() {
    let mut server = level_1(acceptor());
    server.own.limits.max_calls = 1;
    let mut pair = pair_of(level_1(connector()), server);
    for op in 1..=3 {
        ask(&mut pair, op, "x", None);
    }
    pair.exchange();
    // A peer that drains refuses all but the first; one that breaks the rules answers what it has not got.
    let mut bytes = vec![12, 0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    super::give(&mut pair.client, &bytes, pair.now);
    let ends: Vec<_> = done(&mut pair.client).into_iter().map(|(op, r)| (op, r.unwrap_err().code())).collect();
    assert_eq!(ends.len(), 2, "{ends:?}");
    assert_eq!(pair.client.stats().open_calls, 1);
    bytes = vec![0, 0, 0, 0, 18, 3, 1, 0, 5, 0, 0, 0, 0, 0, 0, 0];
    super::give(&mut pair.client, &bytes, pair.now);
    assert_eq!(pair.client.stats().open_calls, 1);
}

#[test]
fn items_that_wait_end_with_their_call() {
    let mut pair = pair();
    let id = pair.client.open_stream(Channel::COMMAND, false, With::default(), Bytes::new(), pair.now).unwrap();
    pair.exchange();
    take(&mut pair.server);
    // The items are in the queue of the channel when the answer comes.
    answer(&mut pair.server, 1, id, None, "early", pair.now);
    let early = super::drain_bytes(&mut pair.server);
    for op in 1..=3 {
        assert!(pair.client.stream_send(op, id, Bytes::from_static(b"item"), false, None).is_none());
    }
    super::give(&mut pair.client, &early, pair.now);
    let ends: Vec<_> = done(&mut pair.client).into_iter().map(|(op, r)| (op, r.unwrap_err().code())).collect();
    assert_eq!(ends, [1, 2, 3].map(|op| (op, Code::CallEnded)));
}

#[test]
fn an_answer_leaves_although_nobody_waits_for_that() {
    let mut pair = pair();
    ask(&mut pair, 1, "x", None);
    pair.exchange();
    let id = take(&mut pair.server).request().unwrap().id;
    answer(&mut pair.server, 2, id, None, "all the same", pair.now);
    pair.server.cancel(2);
    assert_eq!(result(&mut pair.server, 2).unwrap_err().sent(), Sent::Maybe);
    pair.exchange();
    assert_eq!(reply(&mut pair.client, 1), "all the same");
}

/// A stream with a window so small that one item fills it, known to both sides.
pub(super) fn narrow_stream() -> (Pair, u64) {
    let (mut client, mut server) = (level_1(connector()), level_1(acceptor()));
    client.own.limits.stream_window = 10;
    server.own.limits.stream_window = 10;
    let mut pair = pair_of(client, server);
    let id = pair.client.open_stream(Channel::COMMAND, false, With::default(), Bytes::new(), pair.now).unwrap();
    pair.exchange();
    take(&mut pair.server);
    (pair, id)
}

#[test]
fn an_answer_kept_behind_items_ends_with_them() {
    let item = Bytes::from_static(b"item");
    // Its caller leaves.
    let (mut pair, id) = narrow_stream();
    for op in 1..=2 {
        pair.server.stream_send(op, id, item.clone(), false, None);
    }
    answer(&mut pair.server, 3, id, None, "kept", pair.now);
    pair.exchange();
    pair.client.drop_stream(id);
    pair.exchange();
    assert_eq!(done(&mut pair.server).len(), 3);
    // Its program waits for it no more.
    let (mut pair, id) = narrow_stream();
    for op in 1..=2 {
        pair.server.stream_send(op, id, item.clone(), false, None);
    }
    answer(&mut pair.server, 3, id, None, "kept", pair.now);
    pair.exchange();
    pair.server.cancel(3);
    assert_eq!(done(&mut pair.server).len(), 2);
    for _ in 0..2 {
        assert!(matches!(pair.client.stream_recv(1, id, None), Some(Ok(Outcome::Item(_)))));
        pair.exchange();
    }
    assert!(matches!(pair.client.stream_recv(1, id, None), Some(Ok(Outcome::StreamEnd(Some(_))))));
    // The item before it is given up: it goes on by itself.
    let (mut pair, id) = narrow_stream();
    for op in 1..=2 {
        pair.server.stream_send(op, id, item.clone(), false, None);
    }
    answer(&mut pair.server, 3, id, None, "kept", pair.now);
    pair.server.cancel(2);
    pair.exchange();
    assert!(matches!(pair.client.stream_recv(1, id, None), Some(Ok(Outcome::Item(_)))));
    assert!(matches!(pair.client.stream_recv(1, id, None), Some(Ok(Outcome::StreamEnd(Some(_))))));
}

#[test]
fn an_item_taken_back_gives_its_credit_and_its_fin_back() {
    let (mut pair, id) = narrow_stream();
    pair.client.stream_send(1, id, Bytes::from_static(b"never leaves"), true, None);
    pair.client.cancel(1);
    assert_eq!(result(&mut pair.client, 1).unwrap_err().sent(), Sent::No);
    assert!(pair.client.stream_send(2, id, Bytes::from_static(b"item"), true, None).is_none());
    pair.exchange();
    assert!(matches!(pair.server.stream_recv(1, id, None), Some(Ok(Outcome::Item(item))) if item == "item"));
    assert!(matches!(pair.server.stream_recv(1, id, None), Some(Ok(Outcome::StreamEnd(None)))));
}

#[test]
fn a_deadline_that_was_told_ends_the_call_at_its_caller_too() {
    let mut pair = pair();
    let until = pair.deadline(SECOND);
    let with = || With::new(until);
    let id = pair.client.open_stream(Channel::COMMAND, false, with(), Bytes::new(), pair.now).unwrap();
    assert!(pair.client.stream_recv(1, id, None).is_none());
    let post = Post::Request(Channel::COMMAND, with());
    assert!(pair.client.post(2, post, Bytes::new(), pair.now, None).is_none());
    pair.exchange();
    assert_eq!(pair.server.stats().open_served, 2);
    assert_eq!(pair.client.next_timeout(), until);
    pair.pass(SECOND);
    pair.exchange();
    let ends: Vec<_> = done(&mut pair.client).into_iter().map(|(_, r)| r.unwrap_err().code()).collect();
    assert_eq!(ends, [Code::Timeout; 2]);
    assert_eq!((pair.client.stats().open_calls, pair.server.stats().open_served), (0, 0));
    assert_eq!((pair.client.next_timeout(), pair.server.next_timeout()), (None, None));
}

#[test]
fn a_drain_ends_when_the_last_call_it_waits_for_runs_out_of_time() {
    let mut pair = pair();
    ask(&mut pair, 1, "x", Some(SECOND));
    pair.exchange();
    take(&mut pair.server);
    assert!(pair.server.drain(2, None).is_none());
    pair.exchange();
    pair.server.handle_timeout(pair.now + SECOND);
    pair.exchange();
    assert!(matches!(result(&mut pair.server, 2), Ok(Outcome::Drained)));
}

#[test]
fn a_cork_holds_back_messages_alone() {
    let mut pair = pair();
    pair.client.cork(true);
    let message = |len: usize| (Post::Message(Channel::DATA, With::default()), Bytes::from(vec![1; len]));
    let (post, small) = message(10);
    assert!(matches!(pair.client.post(1, post, small, pair.now, None), Some(Ok(Outcome::Sent))));
    pair.exchange();
    assert_eq!(pair.server.stats().channels[1].messages_received, 0);
    pair.server.ping(1, pair.now, None);
    pair.exchange();
    assert!(matches!(result(&mut pair.server, 1), Ok(Outcome::Pong(_))));
    // What has no credit is not to be written, however much it is.
    for op in 2..12 {
        let (post, large) = message(1 << 20);
        pair.client.post(op, post, large, pair.now, None);
    }
    pair.exchange();
    pair.client.stage();
    assert!(!pair.client.wants_write());
    // Nor do the last words wait for the cork.
    pair.client.say_good_bye();
    pair.exchange();
    assert_eq!(pair.server.end_error().unwrap().code(), Code::PeerClosed);
}

#[test]
fn no_ping_is_sent_before_ready() {
    let mut client = level_1(connector());
    client.secret = Some(Secret::new("k").unwrap());
    client.own.nonce = Some("a".repeat(32));
    client.own.limits.keepalive = Some(SECOND);
    let mut server = level_1(acceptor());
    server.secret = Some(Secret::new("k").unwrap());
    server.own.nonce = Some("b".repeat(32));
    let mut pair = Pair::apart(client, server);
    let now = pair.now;
    let request = super::drain_bytes(&mut pair.client);
    super::give(&mut pair.server, &request, now);
    let response = super::drain_bytes(&mut pair.server);
    super::give(&mut pair.client, &response, now);
    pair.client.handle_timeout(now + 2 * SECOND);
    pair.exchange();
    assert!(pair.client.is_open() && pair.server.is_open());
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
    super::give(&mut pair.client, &bad, pair.now);
    let mut words = super::drain_bytes(&mut pair.client);
    let left = (0..MOST_ROUNDS).find(|_| !matches!(pair.client.recv(99, None, None), Some(Ok(Outcome::Message(_)))));
    assert!(left.is_some());
    assert!(pair.client.finished());
    words.extend(super::drain_bytes(&mut pair.client));
    assert_eq!(words[4], 9, "a CLOSE and nothing else");
    assert_eq!(words.len(), 16 + u32::from_le_bytes(words[..4].try_into().unwrap()) as usize);
}

#[test]
fn a_close_is_not_answered_whatever_it_says() {
    for code in [Code::Closed, Code::ProtocolError, Code::AuthenticationFailed] {
        let mut pair = pair();
        let number = u32::try_from(code.number()).unwrap();
        let close = [&[5, 0, 0, 0, 9, 0, 0, 0][..], &[0; 8], &number.to_le_bytes(), b"x"].concat();
        super::give(&mut pair.server, &close, pair.now);
        let due = if code == Code::Closed { Code::PeerClosed } else { code };
        assert_eq!(pair.server.end_error().unwrap().code(), due);
        assert_eq!(super::drain_bytes(&mut pair.server), b"");
        assert!(pair.server.finished());
    }
}

#[test]
fn a_drain_whose_writes_fail_still_reads_what_has_arrived() {
    let mut pair = pair();
    pair.client.post(1, Post::Message(Channel::DATA, With::default()), Bytes::from_static(b"m"), pair.now, None);
    let last = super::drain_bytes(&mut pair.client);
    assert!(pair.server.drain(2, None).is_none());
    pair.server.write_failed(Error::new(Code::ConnectionLost, "broken pipe"));
    super::give(&mut pair.server, &last, pair.now);
    pair.server.hung_up();
    assert_eq!(take(&mut pair.server).payload, "m");
    assert!(matches!(result(&mut pair.server, 2), Ok(Outcome::Drained)));
}

#[test]
fn a_call_inside_a_cork_gives_its_place_back() {
    let mut pair = pair();
    pair.client.cork(true);
    let post = Post::Request(Channel::COMMAND, With::default());
    let inline = pair.client.inline(&post, 1, pair.now).unwrap().expect("it is gathered");
    assert!(pair.client.gather(1, &post, &inline, b"q", None).is_none());
    pair.client.cork(false);
    pair.exchange();
    let id = take(&mut pair.server).request().unwrap().id;
    answer(&mut pair.server, 1, id, None, "r", pair.now);
    pair.exchange();
    assert_eq!(reply(&mut pair.client, 1), "r");
    assert_eq!(pair.client.stats().open_calls, 0);
}

#[test]
fn a_call_counts_with_the_first_byte_that_leaves() {
    let mut pair = pair();
    // Queued, and taken back before anything of it left.
    ask(&mut pair, 1, "never", None);
    pair.client.cancel(1);
    assert_eq!((result(&mut pair.client, 1).unwrap_err().sent(), pair.client.stats().calls), (Sent::No, 0));
    // Staged, and then a byte at a time.
    ask(&mut pair, 2, "staged", None);
    pair.client.stage();
    assert_eq!(pair.client.stats().calls, 0);
    pair.client.transmitted(1);
    assert_eq!(pair.client.stats().calls, 1);
    pair.client.transmitted(1);
    assert_eq!(pair.client.stats().calls, 1);

    // Written from the caller's memory, all of it, a part of it, and for now nothing of it.
    for (taken, calls) in [(usize::MAX, 1), (5, 1), (0, 0)] {
        let mut pair = self::pair();
        let post = Post::Request(Channel::COMMAND, With::default());
        assert!(write(&mut pair, false, 1, post, Bytes::from_static(b"question"), taken).is_none());
        assert_eq!(pair.client.stats().calls, calls);
        pair.exchange();
        assert_eq!((pair.client.stats().calls, pair.server.stats().calls_served), (1, 1));
    }

    // Gathered inside a cork.
    let mut pair = self::pair();
    pair.client.cork(true);
    let post = Post::Request(Channel::COMMAND, With::default());
    let inline = pair.client.inline(&post, 1, pair.now).unwrap().expect("it is gathered");
    assert!(pair.client.gather(1, &post, &inline, b"q", None).is_none());
    assert_eq!(pair.client.stats().calls, 0);
    pair.client.cork(false);
    pair.exchange();
    assert_eq!(pair.client.stats().calls, 1);
}

#[test]
fn a_drain_makes_no_frame_late_that_never_came() {
    let mut server = level_1(acceptor());
    server.own.limits.max_calls = 1;
    let mut pair = pair_of(level_1(connector()), server);
    ask(&mut pair, 1, "x", None);
    // A stream that ran out of time before it had a place, and whose end nobody has taken.
    let with = With::new(Some(pair.now + SECOND));
    pair.client.open_stream(Channel::COMMAND, true, with, Bytes::new(), pair.now).unwrap();
    pair.exchange();
    pair.pass(SECOND);
    assert!(pair.server.drain(2, None).is_none());
    pair.exchange();
    let id = take(&mut pair.server).request().unwrap().id;
    answer(&mut pair.server, 3, id, None, "r", pair.now);
    pair.exchange();
    assert_eq!((reply(&mut pair.client, 1), pair.client.stats().late), (Bytes::from_static(b"r"), 0));
    assert!(matches!(result(&mut pair.server, 2), Ok(Outcome::Drained)));
}

#[test]
fn a_drain_waits_for_no_call_that_was_given_up() {
    for server_drains in [false, true] {
        let mut pair = pair();
        ask(&mut pair, 1, "x", None);
        pair.exchange();
        take(&mut pair.server);
        pair.client.cancel(1);
        pair.exchange();
        assert_eq!((pair.client.stats().open_calls, pair.server.stats().open_served), (1, 1));
        let drains = if server_drains { &mut pair.server } else { &mut pair.client };
        assert!(drains.drain(2, None).is_none());
        pair.exchange();
        let drains = if server_drains { &mut pair.server } else { &mut pair.client };
        assert!(matches!(result(drains, 2), Ok(Outcome::Drained)));
    }
}

#[test]
fn an_end_by_the_other_clock_is_a_deadline_too() {
    let mut pair = pair();
    ask(&mut pair, 1, "x", Some(SECOND));
    ask(&mut pair, 2, "y", Some(SECOND));
    pair.exchange();
    let id = take(&mut pair.server).request().unwrap().id;
    // The other side's clock is ahead. Of what its program never got it tells at once.
    pair.server.handle_timeout(pair.now + SECOND);
    pair.exchange();
    let error = result(&mut pair.client, 2).unwrap_err();
    assert_eq!((error.code(), error.sent()), (Code::Timeout, Sent::Maybe));
    assert_eq!(pair.server.stats().open_served, 1);
    pair.server.abandon_served(id);
    pair.exchange();
    assert_eq!(result(&mut pair.client, 1).unwrap_err().code(), Code::Timeout);
    assert_eq!((pair.client.stats().open_calls, pair.server.stats().open_served), (0, 0));
}

#[test]
fn a_burst_is_bounded_by_the_operations_that_may_be_pending() {
    let mut pair = pair();
    for op in 0..limits::MAX_OPS as OpId {
        assert!(pair.client.recv(op, None, None).is_none());
    }
    let mut part = |last| pair.client.send_part(Channel::DATA, Bytes::from_static(b"part"), last, None);
    part(None).unwrap();
    assert_eq!(part(Some(limits::MAX_OPS as OpId)).unwrap_err().code(), Code::QueueFull);
}

#[test]
fn whatever_may_have_to_wait_is_bounded_by_the_operations_that_may_be_pending() {
    for one in [false, true] {
        let mut pair = if one { pair() } else { Pair::new() };
        let id = if one {
            write(&mut pair, true, 1, Post::Request(Channel::COMMAND, With::default()), Bytes::from_static(b"?"), 17);
            pair.exchange();
            take(&mut pair.client).request().unwrap().id
        } else {
            0
        };
        let mut op = 10;
        while pair.client.recv(op, None, None).is_none() {
            assert!(op <= 2 * limits::MAX_OPS as u64);
            op += 1;
        }
        assert_eq!(pair.client.stats().pending_operations, limits::MAX_OPS);
        let now = pair.now;
        let posts = [
            Post::Request(Channel::COMMAND, With::default()),
            Post::Message(Channel::DATA, With::default()),
            Post::Answer(Answer { id, status: None }),
        ];
        for post in posts.into_iter().take(if one { 3 } else { 2 }) {
            assert!(pair.client.inline(&post, 1, now).unwrap().is_none(), "{post:?}");
            let step = pair.client.post(op, post, Bytes::from_static(b"x"), now, None);
            assert_eq!(step.unwrap().unwrap_err().code(), Code::QueueFull);
        }
        let mut steps = vec![pair.client.ping(op, now, None), pair.client.drain(op, None)];
        if one {
            steps.push(pair.client.watch(op, id, None));
        }
        for step in steps {
            assert_eq!(step.unwrap().unwrap_err().code(), Code::QueueFull);
        }
        // A drain that was refused has not begun.
        pair.client.cancel(10);
        assert!(pair.client.ping(op, now, None).is_none());
        assert_eq!(pair.client.stats().pending_operations, limits::MAX_OPS);
    }
}

#[test]
fn a_drain_waits_for_calls_that_wait_for_the_place_of_one_that_was_given_up() {
    let mut pair = one_of_two_started();
    let first = take(&mut pair.server).request().unwrap().id;
    pair.client.cancel(1);
    assert!(pair.client.drain(3, None).is_none());
    pair.exchange();
    assert!(pair.client.is_open(), "{:?}", pair.client.end_error());
    pair.server.abandon_served(first);
    pair.exchange();
    let second = take(&mut pair.server).request().unwrap().id;
    answer(&mut pair.server, 4, second, None, "r", pair.now);
    pair.exchange();
    let ends = done(&mut pair.client);
    let ended = |op| ends.iter().find(|(o, _)| *o == op).map(|(_, end)| end);
    assert!(matches!(ended(2), Some(Ok(Outcome::Reply(_, reply))) if reply == "r"), "{ends:?}");
    assert!(matches!(ended(3), Some(Ok(Outcome::Drained))), "{ends:?}");
}
