//! Places of calls: who has one, who waits for one, and what becomes of a call when its caller leaves or all ends.

use bytes::Bytes;

use super::hand::{
    WHOLE, acceptor, answer, ask, frame, kinds, leaving, level_1, pair, pair_of, reply, result, take, takes, to_client,
    to_server, write,
};
use super::{Pair, connector, done, drain_bytes, give};
use crate::error::{Code, Error, Sent};
use crate::limits;
use crate::proto::Outcome;
use crate::proto::channel::Channel;
use crate::proto::conn::Post;
use crate::proto::level1::With;
use crate::proto::level1::wire::kind;

fn request() -> Post {
    Post::Request(Channel::COMMAND, With::default())
}

/// The server serves `places` calls at a time.
fn serving(places: usize) -> Pair {
    let mut server = level_1(acceptor());
    server.own.limits.max_calls = places;
    pair_of(level_1(connector()), server)
}

/// An error that the peer of a broken carrier is not told.
fn gone() -> Error {
    Error::new(Code::ConnectionLost, "gone")
}

#[test]
fn so_many_calls_may_wait_for_a_place_and_not_one_more() {
    let mut pair = serving(1);
    for op in 0..=limits::MAX_CALLS as u64 {
        ask(&mut pair, op, "?", None);
    }
    let refused = pair.client.post(9_999, request(), Bytes::new(), pair.now, None).unwrap().unwrap_err();
    assert_eq!((refused.code(), refused.sent()), (Code::QueueFull, Sent::No));
    assert_eq!((pair.client.stats().open_calls, pair.client.stats().pending_operations), (1, limits::MAX_CALLS + 1));
    pair.exchange();
    let id = take(&mut pair.server).request().unwrap().id;
    answer(&mut pair.server, 1, id, None, "r", pair.now);
    pair.exchange();
    assert!(pair.client.post(9_999, request(), Bytes::new(), pair.now, None).is_none());
}

#[test]
fn a_call_without_a_place_is_not_written_at_once() {
    let mut pair = serving(1);
    write(&mut pair, false, 1, request(), Bytes::from_static(b"?"), usize::MAX);
    assert!(pair.client.inline(&request(), 1, pair.now).unwrap().is_none());
    pair.exchange();
    let id = take(&mut pair.server).request().unwrap().id;
    answer(&mut pair.server, 1, id, None, "r", pair.now);
    pair.exchange();
    assert_eq!(reply(&mut pair.client, 1), "r");
    assert!(pair.client.inline(&request(), 1, pair.now).unwrap().is_some());
}

#[test]
fn a_call_taken_back_before_it_left_leaves_its_place_and_nothing_else() {
    let mut pair = serving(1);
    ask(&mut pair, 1, "queued", None);
    assert_eq!(pair.client.stats().open_calls, 1);
    pair.client.cancel(1);
    assert_eq!(result(&mut pair.client, 1).unwrap_err().sent(), Sent::No);
    assert_eq!((pair.client.stats().open_calls, pair.client.stats().calls_cancelled), (0, 0));
    assert_eq!(pair.client.stats().channels[0].send_queued_bytes, 0);
    assert_eq!(drain_bytes(&mut pair.client), b"");
    // One that waits for its place: those behind it get theirs.
    for op in 2..=4 {
        ask(&mut pair, op, "?", None);
    }
    pair.exchange();
    pair.client.cancel(3);
    assert_eq!(result(&mut pair.client, 3).unwrap_err().sent(), Sent::No);
    for op in [2, 4] {
        assert_eq!(pair.client.stats().open_calls, 1);
        let id = take(&mut pair.server).request().unwrap().id;
        answer(&mut pair.server, op, id, None, "r", pair.now);
        pair.exchange();
        assert_eq!(reply(&mut pair.client, op), "r");
    }
    assert_eq!((pair.client.stats().open_calls, pair.server.stats().calls_served), (0, 2));
}

#[test]
fn a_request_and_a_queued_message_of_its_channel_are_told_apart_when_one_is_taken_back() {
    let mut pair = pair();
    for op in 1..=3 {
        ask(&mut pair, op, "?", None);
        super::hand::post(&mut pair, 10 + op, Channel::COMMAND, 1);
    }
    pair.client.cancel(2);
    pair.client.cancel(13);
    assert_eq!(pair.client.stats().channels[0].send_queued, 4);
    pair.exchange();
    let got: Vec<Option<u64>> = (0..4).map(|_| take(&mut pair.server).request().map(|r| r.id)).collect();
    assert_eq!(got, [Some(1), None, None, Some(5)]);
    let left: Vec<u64> = done(&mut pair.client).into_iter().map(|(op, _)| op).collect();
    assert_eq!(left, [2, 13, 11, 12]);
}

#[test]
fn an_answer_may_come_as_soon_as_the_request_has_begun_to_leave() {
    let early = frame(kind::RESPONSE, WHOLE, 1, 1, b"early");
    // Nothing of it has: the other side cannot know of it.
    let mut pair = pair();
    ask(&mut pair, 1, "queued", None);
    to_client(&mut pair, std::slice::from_ref(&early));
    assert_eq!(pair.client.end_error().unwrap().code(), Code::ProtocolError);
    // On the way.
    let mut pair = self::pair();
    ask(&mut pair, 1, "staged", None);
    pair.client.stage();
    to_client(&mut pair, &[early]);
    assert_eq!(reply(&mut pair.client, 1), "early");
    assert_eq!(pair.client.stats().open_calls, 0);
}

#[test]
fn a_broken_carrier_ran_what_left_and_nothing_that_is_queued_or_staged() {
    for (staged, taken, sent) in [(false, 0, Sent::No), (true, 0, Sent::No), (true, 17, Sent::Maybe)] {
        for write_fails in [false, true] {
            let mut pair = pair();
            ask(&mut pair, 1, "?", None);
            if staged {
                pair.client.stage();
                takes(&mut pair.client, taken);
            }
            if write_fails {
                pair.client.write_failed(gone());
                assert_eq!(pair.client.is_pending(1), sent == Sent::Maybe, "an answer may still come");
                pair.client.hung_up();
            } else {
                pair.client.read_failed(gone());
            }
            assert_eq!(result(&mut pair.client, 1).unwrap_err().sent(), sent, "{staged} {taken}");
            assert!(!pair.client.wants_write());
        }
    }
    // With last words, what is staged leaves before them; what is queued does not.
    for (staged, sent) in [(false, Sent::No), (true, Sent::Maybe)] {
        let mut pair = pair();
        ask(&mut pair, 1, "?", None);
        if staged {
            pair.client.stage();
        }
        to_client(&mut pair, &[frame(0x01, 0, 0, 0, &[])]);
        assert_eq!(result(&mut pair.client, 1).unwrap_err().sent(), sent);
        let leaves = kinds(&mut pair.client);
        assert_eq!(leaves, if staged { vec![kind::REQUEST, kind::CLOSE] } else { vec![kind::CLOSE] });
    }
}

#[test]
fn a_stream_that_nobody_has_heard_of_ends_with_the_carrier_and_others_go_on_listening() {
    let mut pair = pair();
    let open = |pair: &mut Pair| {
        pair.client.open_stream(Channel::COMMAND, true, With::default(), Bytes::from_static(b"?"), pair.now).unwrap()
    };
    let heard = open(&mut pair);
    pair.exchange();
    let unheard = open(&mut pair);
    pair.client.write_failed(gone());
    let error = pair.client.stream_recv(1, unheard, None).unwrap().unwrap_err();
    assert_eq!((error.code(), error.sent()), (Code::ConnectionLost, Sent::No));
    assert!(pair.client.stream_recv(2, heard, None).is_none());
    to_client(&mut pair, &[frame(kind::STREAM, WHOLE, 1, heard, b"item")]);
    assert!(matches!(result(&mut pair.client, 2), Ok(Outcome::Item(item)) if item == "item"));
    // An end that had come stays; one that had not is the connection's.
    let second = frame(kind::RESPONSE, WHOLE, 1, heard, b"end");
    to_client(&mut pair, &[second]);
    pair.client.read_failed(gone());
    assert!(matches!(pair.client.stream_recv(3, heard, None), Some(Ok(Outcome::StreamEnd(Some(end)))) if end == "end"));
}

#[test]
fn a_peer_that_drains_takes_the_calls_up_to_the_last_it_names() {
    let goaway = |last: u64| frame(kind::GOAWAY, 0, 0, 0, &[&last.to_le_bytes()[..], &[0; 4]].concat());
    let mut pair = pair();
    for op in 1..=5 {
        ask(&mut pair, op, "?", None);
    }
    pair.exchange();
    // Two of them were given up: of the second of these the other side will tell no end.
    pair.client.cancel(1);
    pair.client.cancel(4);
    done(&mut pair.client);
    drain_bytes(&mut pair.client);
    assert_eq!(pair.client.stats().open_calls, 5);
    to_client(&mut pair, &[goaway(5)]);
    let ended: Vec<_> = done(&mut pair.client).into_iter().map(|(op, end)| (op, end.unwrap_err().code())).collect();
    assert_eq!(ended, [(5, Code::Draining)]);
    assert_eq!(pair.client.stats().open_calls, 3, "the calls 1, 3 and 5");
    // All that were started are its business.
    to_client(&mut pair, &[frame(kind::RESPONSE, WHOLE, 1, 3, b"r"), frame(kind::RESPONSE, WHOLE, 1, 5, b"r")]);
    assert_eq!(done(&mut pair.client).len(), 2);
    assert_eq!(pair.client.stats().open_calls, 1);
    to_client(&mut pair, &[frame(kind::ERROR, 0, 0, 1, &Code::Cancelled.number().to_le_bytes())]);
    assert_eq!((pair.client.stats().open_calls, pair.client.stats().late), (0, 0), "an end that was awaited");
    assert_eq!(kinds(&mut pair.client), [kind::DRAIN_ACK]);
    // It may say so again; its acknowledgement was given once.
    to_client(&mut pair, &[goaway(5)]);
    assert_eq!(leaving(&mut pair.client), []);
}

#[test]
fn a_call_above_the_limit_is_refused_and_its_credit_given_back() {
    let mut pair = serving(2);
    let ask = |id| frame(kind::REQUEST, WHOLE, 1, id, &[0; 1000]);
    to_server(&mut pair, &[ask(1), ask(3)]);
    assert_eq!(leaving(&mut pair.server), []);
    // Half a window of calls that nobody takes.
    let mut credit = None;
    for n in 0..500 {
        to_server(&mut pair, &[ask(5 + 2 * n)]);
        let leaves = leaving(&mut pair.server);
        assert_eq!((leaves[0].0.kind, leaves[0].0.id), (kind::REFUSE, 5 + 2 * n));
        assert_eq!(leaves[0].1[..4], Code::QueueFull.number().to_le_bytes());
        credit = leaves.get(1).map(|(header, payload)| (header.kind, header.channel, payload.clone()));
        if credit.is_some() {
            let taken = (n + 1) * (1000 + limits::MESSAGE_OVERHEAD as u64);
            assert!(taken >= limits::WINDOW / 2 && taken - 1064 < limits::WINDOW / 2, "{n}");
            assert_eq!(credit, Some((kind::CREDIT, 1, (limits::WINDOW + taken).to_le_bytes().to_vec())));
            break;
        }
    }
    assert!(credit.is_some());
    assert_eq!((pair.server.stats().calls_served, pair.server.stats().open_served), (2, 2));
    // A call that is let go makes room, also if the program has it and takes its time.
    take(&mut pair.server);
    to_server(&mut pair, &[frame(kind::CANCEL, 0, 0, 1, &[]), ask(2001)]);
    assert_eq!(kinds(&mut pair.server), [kind::REFUSE]);
    pair.server.abandon_served(1);
    to_server(&mut pair, &[ask(2003)]);
    assert_eq!(kinds(&mut pair.server), [kind::ERROR]);
    assert_eq!((pair.server.stats().calls_served, pair.server.stats().open_served), (3, 2));
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
    give(&mut pair.client, &bytes, pair.now);
    let ends: Vec<_> = done(&mut pair.client).into_iter().map(|(op, r)| (op, r.unwrap_err().code())).collect();
    assert_eq!(ends.len(), 2, "{ends:?}");
    assert_eq!(pair.client.stats().open_calls, 1);
    bytes = vec![0, 0, 0, 0, 18, 3, 1, 0, 5, 0, 0, 0, 0, 0, 0, 0];
    give(&mut pair.client, &bytes, pair.now);
    assert_eq!(pair.client.stats().open_calls, 1);
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
