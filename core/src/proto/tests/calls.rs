//! Calls: answered, failed, out of time, given up, and what each side is told then.

use bytes::Bytes;

use super::hand::{answer, ask, asked, frame, one_of_two_started, pair, reply, result, take, write};
use super::{SECOND, done, give};
use crate::error::{Code, Error, Sent};
use crate::proto::channel::Channel;
use crate::proto::conn::Post;
use crate::proto::level1::wire::{flag, kind};
use crate::proto::level1::{Answer, Delivery, With};
use crate::proto::{OpId, Outcome};

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
fn a_program_may_fail_a_call_with_code_and_data() {
    let mut pair = pair();
    let id = asked(&mut pair);
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
fn a_cancel_is_seen_and_a_late_reply_dropped_and_counted() {
    let mut pair = pair();
    let id = asked(&mut pair);
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
fn a_request_cancelled_while_it_arrives_is_nobodys() {
    let mut pair = pair();
    for bytes in [
        frame(kind::REQUEST, flag::FIRST, 1, 1, b"\x04\0\0\0ab"),
        frame(kind::CANCEL, 0, 0, 1, &[]),
        frame(kind::REQUEST, flag::LAST, 1, 1, b"cd"),
        frame(kind::REQUEST, flag::FIRST | flag::LAST, 1, 3, b"next"),
    ] {
        give(&mut pair.server, &bytes, pair.now);
    }
    assert_eq!(take(&mut pair.server).payload, "next");
    assert_eq!(pair.server.stats().open_served, 1);
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
    give(&mut pair.client, &bad, pair.now);
    let error = result(&mut pair.client, 1).unwrap_err();
    assert_eq!((error.code(), error.sent()), (Code::ProtocolError, Sent::Maybe));
    pair.exchange();
    assert_eq!(pair.server.stats().calls_served, 1);
}

#[test]
fn an_unanswered_call_that_is_let_go_tells_its_caller() {
    let mut pair = pair();
    let id = asked(&mut pair);
    pair.server.abandon_served(id);
    pair.exchange();
    let error = result(&mut pair.client, 1).unwrap_err();
    assert_eq!((error.code(), error.sent()), (Code::CallAbandoned, Sent::Maybe));
}

#[test]
fn an_answer_leaves_although_nobody_waits_for_that() {
    let mut pair = pair();
    let id = asked(&mut pair);
    answer(&mut pair.server, 2, id, None, "all the same", pair.now);
    pair.server.cancel(2);
    assert_eq!(result(&mut pair.server, 2).unwrap_err().sent(), Sent::Maybe);
    pair.exchange();
    assert_eq!(reply(&mut pair.client, 1), "all the same");
}

#[test]
fn an_answer_to_a_call_that_has_not_left_is_a_fault() {
    let mut pair = one_of_two_started();
    let reply = frame(kind::RESPONSE, flag::FIRST | flag::LAST, 1, 3, b"x");
    give(&mut pair.client, &reply, pair.now);
    assert_eq!(pair.client.end_error().unwrap().code(), Code::ProtocolError);
    let sent: Vec<_> = done(&mut pair.client).into_iter().map(|(op, r)| (op, r.unwrap_err().sent())).collect();
    assert!(sent.contains(&(1, Sent::Maybe)) && sent.contains(&(2, Sent::No)), "{sent:?}");
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
fn no_call_is_open_after_the_end_although_its_answer_never_left() {
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
    give(&mut pair.server, &frame(kind::REQUEST, flag::LAST, 1, 9, b"no beginning"), pair.now);
    assert_eq!(pair.server.end_error().unwrap().code(), Code::ProtocolError);
    assert_eq!(pair.server.stats().open_served, 0);
    // Its reason for the end leaves all the same.
    pair.exchange();
    assert_eq!(pair.server.stats().open_served, 0);
    assert_eq!(pair.client.end_error().unwrap().code(), Code::ProtocolError);
}
