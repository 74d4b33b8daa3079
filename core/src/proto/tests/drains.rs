//! Drains: what they wait for, what they refuse, and how both sides tell each other.

use bytes::Bytes;

use super::hand::{
    WHOLE, acceptor, answer, ask, asked, frame, kinds, leaving, level_1, one_of_two_started, pair, pair_of, post,
    reply, result, take, to_client, write,
};
use super::{SECOND, connector, done, drain_bytes, give};
use crate::error::{Code, Error, Sent};
use crate::proto::Outcome;
use crate::proto::channel::Channel;
use crate::proto::conn::Post;
use crate::proto::level1::wire::kind;
use crate::proto::level1::{Answer, With};

#[test]
fn a_drain_finishes_what_was_started_on_both_sides() {
    let mut pair = pair();
    let id = asked(&mut pair);
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
fn an_answer_written_at_once_completes_a_drain() {
    let mut pair = pair();
    let id = asked(&mut pair);
    assert!(pair.server.drain(2, None).is_none());
    pair.exchange();
    let post = Post::Answer(Answer { id, status: None });
    assert!(write(&mut pair, true, 3, post, Bytes::from_static(b"r"), usize::MAX).is_some());
    pair.exchange();
    assert!(matches!(result(&mut pair.server, 2), Ok(Outcome::Drained)));
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
fn a_drain_whose_writes_fail_still_reads_what_has_arrived() {
    let mut pair = pair();
    pair.client.post(1, Post::Message(Channel::DATA, With::default()), Bytes::from_static(b"m"), pair.now, None);
    let last = drain_bytes(&mut pair.client);
    assert!(pair.server.drain(2, None).is_none());
    pair.server.write_failed(Error::new(Code::ConnectionLost, "broken pipe"));
    give(&mut pair.server, &last, pair.now);
    pair.server.hung_up();
    assert_eq!(take(&mut pair.server).payload, "m");
    assert!(matches!(result(&mut pair.server, 2), Ok(Outcome::Drained)));
}

#[test]
fn a_hasty_goaway_ends_started_and_waiting_calls() {
    let mut pair = one_of_two_started();
    let stream = pair.client.open_stream(Channel::COMMAND, false, With::default(), Bytes::new(), pair.now).unwrap();
    give(&mut pair.client, &frame(kind::GOAWAY, 0, 0, 0, &[0; 12]), pair.now);
    for (_, result) in done(&mut pair.client) {
        let error = result.unwrap_err();
        assert_eq!((error.code(), error.sent()), (Code::Draining, Sent::No));
    }
    assert_eq!(pair.client.stream_recv(9, stream, None).unwrap().unwrap_err().code(), Code::Draining);
    assert_eq!(pair.client.stats().open_calls, 0);
    assert!(pair.client.is_open());
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
