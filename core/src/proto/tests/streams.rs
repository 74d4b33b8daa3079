//! Streams: what an item is, whose turn it is, and how each direction ends.

use bytes::Bytes;

use super::hand::{
    WHOLE, acceptor, answer, ask, frame, frames, kinds, leaving, level_1, narrow_stream, pair, pair_of, result, take,
    takes, to_client, to_server,
};
use super::{Pair, SECOND, connector, done, drain_bytes};
use crate::error::{Code, Sent};
use crate::limits::MESSAGE_OVERHEAD;
use crate::proto::channel::Channel;
use crate::proto::conn::Conn;
use crate::proto::level1::With;
use crate::proto::level1::wire::{flag, kind};
use crate::proto::{OpId, Outcome, Step};

/// A stream of the client's, known to both sides, whose directions have this much credit.
fn stream(window: u64) -> (Pair, u64) {
    let (mut client, mut server) = (level_1(connector()), level_1(acceptor()));
    client.own.limits.stream_window = window;
    server.own.limits.stream_window = window;
    let mut pair = pair_of(client, server);
    let id = pair.client.open_stream(Channel::DATA, false, With::default(), Bytes::new(), pair.now).unwrap();
    pair.exchange();
    take(&mut pair.server);
    (pair, id)
}

fn item(len: usize) -> Bytes {
    Bytes::from(vec![5; len])
}

fn sends(conn: &mut Conn, op: OpId, id: u64, text: &'static str, fin: bool) -> Step {
    conn.stream_send(op, id, Bytes::from_static(text.as_bytes()), fin, None)
}

fn code(step: Step) -> Code {
    step.expect("it ended").unwrap_err().code()
}

/// The next item or end that is there: the text of an item, or what kind of end.
fn next(conn: &mut Conn, id: u64) -> String {
    match conn.stream_recv(9_999, id, None) {
        Some(Ok(Outcome::Item(item))) => String::from_utf8(item.to_vec()).unwrap(),
        Some(Ok(Outcome::StreamEnd(None))) => "FIN".into(),
        Some(Ok(Outcome::StreamEnd(Some(reply)))) => format!("END {}", String::from_utf8(reply.to_vec()).unwrap()),
        Some(Ok(other)) => panic!("{other:?}"),
        Some(Err(error)) => format!("{:?}", error.code()),
        None => panic!("nothing is there"),
    }
}

#[test]
fn an_empty_item_is_one_and_an_empty_end_is_none() {
    for (texts, expected) in [
        (&[("", false), ("a", false), ("", true)][..], &["", "a", "FIN"][..]),
        (&[("last", true)], &["last", "FIN"]),
        (&[("", true)], &["FIN"]),
    ] {
        // What is there is read, in order; whoever waits is told in order.
        let (mut pair, id) = stream(1000);
        for (op, (text, fin)) in texts.iter().enumerate() {
            assert!(sends(&mut pair.client, op as OpId, id, text, *fin).is_none());
        }
        pair.exchange();
        assert_eq!(done(&mut pair.client).len(), texts.len());
        for text in expected {
            assert_eq!(next(&mut pair.server, id), *text);
        }
        assert_eq!(next(&mut pair.server, id), "FIN", "and so on");
        let (mut pair, id) = stream(1000);
        for op in 0..4 {
            assert!(pair.server.stream_recv(op, id, None).is_none());
        }
        for (op, (text, fin)) in texts.iter().enumerate() {
            sends(&mut pair.client, op as OpId, id, text, *fin);
        }
        pair.exchange();
        let told = done(&mut pair.server);
        assert_eq!(told.len(), 4);
        for (n, (op, end)) in told.into_iter().enumerate() {
            assert_eq!(op, n as OpId);
            match (end.unwrap(), expected.get(n).copied().unwrap_or("FIN")) {
                (Outcome::StreamEnd(None), "FIN") => {}
                (Outcome::Item(item), text) => assert_eq!(item, text),
                (other, text) => panic!("{other:?} instead of {text}"),
            }
        }
        // The other direction goes on.
        assert!(sends(&mut pair.server, 8, id, "back", false).is_none());
        pair.exchange();
        assert_eq!(next(&mut pair.client, id), "back");
        assert_eq!(code(sends(&mut pair.client, 9, id, "more", false)), Code::InvalidArgument);
    }
}

#[test]
fn nothing_follows_the_end_of_a_direction() {
    let item = |flags| frame(kind::STREAM, WHOLE | flags, 2, 1, b"i");
    let (mut pair, _) = stream(1000);
    to_server(&mut pair, &[item(flag::FIN)]);
    assert!(pair.server.is_open());
    to_server(&mut pair, &[item(0)]);
    assert_eq!(pair.server.end_error().unwrap().code(), Code::ProtocolError);
    // A caller may say with its request that it sends none.
    let mut pair = self::pair();
    to_server(&mut pair, &[frame(kind::REQUEST, WHOLE | flag::STREAM | flag::FIN, 2, 1, b"?")]);
    assert_eq!(next(&mut pair.server, 1), "FIN");
    to_server(&mut pair, &[item(0)]);
    assert_eq!(pair.server.end_error().unwrap().code(), Code::ProtocolError);
    let mut pair = self::pair();
    let id = pair.client.open_stream(Channel::DATA, true, With::default(), Bytes::new(), pair.now).unwrap();
    assert_eq!(code(sends(&mut pair.client, 1, id, "item", false)), Code::InvalidArgument);
    let requests = leaving(&mut pair.client);
    assert_eq!(requests[0].0.flags, WHOLE | flag::STREAM | flag::FIN);
}

#[test]
fn items_have_credit_to_the_byte_and_get_it_back_as_they_are_read() {
    let charge = |len: usize| len + MESSAGE_OVERHEAD;
    for (window, begins) in [(charge(10), 1), (charge(10) + 1, 2), (2 * charge(10), 2), (2 * charge(10) + 1, 3)] {
        let (mut pair, id) = stream(window as u64);
        for op in 0..5 {
            assert!(pair.client.stream_send(op, id, item(10), false, None).is_none());
        }
        pair.exchange();
        assert_eq!(done(&mut pair.client).len(), begins, "{window}");
        // A peer that sends one more is wrong, one less is not.
        let (mut pair, id) = stream(window as u64);
        let frames = vec![frame(kind::STREAM, WHOLE, 2, id, &item(10)); begins];
        to_server(&mut pair, &frames);
        assert!(pair.server.is_open());
        to_server(&mut pair, &frames[..1]);
        assert_eq!(pair.server.end_error().unwrap().code(), Code::CreditExceeded);
    }
    // Half of the window read, or handed to somebody who waits, comes back.
    for waits in [false, true] {
        let (mut pair, id) = stream(4 * charge(10) as u64);
        let mut credit = Vec::new();
        for op in 0..4 {
            if waits {
                assert!(pair.server.stream_recv(op, id, None).is_none());
            }
            to_server(&mut pair, &[frame(kind::STREAM, WHOLE, 2, id, &item(10))]);
            if !waits {
                assert!(matches!(pair.server.stream_recv(op, id, None), Some(Ok(Outcome::Item(_)))));
            }
            credit.extend(leaving(&mut pair.server).into_iter().map(|(h, total)| (op, h.kind, h.id, total)));
        }
        let total = |times: usize| (times * charge(10)).to_le_bytes().to_vec();
        assert_eq!(credit, [(1, kind::CREDIT, id, total(6)), (3, kind::CREDIT, id, total(8))]);
    }
    // Not for a direction that has ended: nobody needs it.
    let (mut pair, id) = stream(2 * charge(10) as u64);
    pair.server.stream_recv(1, id, None);
    to_server(&mut pair, &[frame(kind::STREAM, WHOLE | flag::FIN, 2, id, &item(100))]);
    assert_eq!(leaving(&mut pair.server), []);
    let (mut pair, id) = stream(2 * charge(10) as u64);
    to_server(&mut pair, &[frame(kind::STREAM, WHOLE | flag::FIN, 2, id, &item(100))]);
    assert!(matches!(pair.server.stream_recv(1, id, None), Some(Ok(Outcome::Item(_)))));
    assert_eq!(leaving(&mut pair.server), []);
    // Credit never becomes less, and a stream's is not its channel's.
    let (mut pair, id) = narrow_stream();
    sends(&mut pair.client, 1, id, "first", false);
    sends(&mut pair.client, 2, id, "second", false);
    let credit = |total: u64| frame(kind::CREDIT, 0, 0, id, &total.to_le_bytes());
    assert_eq!(kinds(&mut pair.client), [kind::STREAM]);
    to_client(&mut pair, &[credit(69), credit(5)]);
    assert_eq!(leaving(&mut pair.client), []);
    to_client(&mut pair, &[credit(70), credit(5)]);
    assert_eq!(kinds(&mut pair.client), [kind::STREAM]);
    to_client(&mut pair, &[credit(1000), credit(5)]);
    assert!(sends(&mut pair.client, 3, id, "third", false).is_none());
    assert_eq!(kinds(&mut pair.client), [kind::STREAM]);
}

#[test]
fn an_item_taken_back_leaves_the_others_as_they_were() {
    let charge = |len: usize| len + MESSAGE_OVERHEAD;
    for (wait, window) in [(true, 1), (false, 10_000)] {
        // In front of the last one: that stays the last.
        let (mut pair, id) = stream(window);
        sends(&mut pair.client, 0, id, "first", false);
        sends(&mut pair.client, 1, id, "goes", false);
        sends(&mut pair.client, 2, id, "last", true);
        pair.client.cancel(1);
        assert_eq!(result(&mut pair.client, 1).unwrap_err().sent(), Sent::No);
        assert_eq!(code(sends(&mut pair.client, 3, id, "more", false)), Code::InvalidArgument, "{wait}");
        pair.exchange();
        for text in ["first", "last", "FIN"] {
            assert_eq!(next(&mut pair.server, id), text);
            pair.exchange();
        }
        // Without one behind it, more may follow.
        let (mut pair, id) = stream(window);
        sends(&mut pair.client, 0, id, "first", false);
        sends(&mut pair.client, 1, id, "goes", false);
        pair.client.cancel(1);
        assert!(sends(&mut pair.client, 2, id, "more", false).is_none(), "{wait}");
        // And the last one taken back was not the last.
        sends(&mut pair.client, 3, id, "end", true);
        pair.client.cancel(3);
        assert!(sends(&mut pair.client, 4, id, "another", false).is_none(), "{wait}");
    }
    // All of its credit comes back.
    let (mut pair, id) = stream(charge(4) as u64 + 1);
    sends(&mut pair.client, 1, id, "goes", false);
    pair.client.cancel(1);
    for op in 2..5 {
        sends(&mut pair.client, op, id, "item", false);
    }
    pair.exchange();
    let ended: Vec<_> = done(&mut pair.client).into_iter().map(|(op, end)| (op, end.is_ok())).collect();
    assert_eq!(ended, [(1, false), (2, true), (3, true)]);
    // One that has left is not taken back.
    let (mut pair, id) = stream(1000);
    sends(&mut pair.client, 1, id, "left", false);
    pair.client.stage();
    pair.client.cancel(1);
    assert_eq!(result(&mut pair.client, 1).unwrap_err().sent(), Sent::Maybe);
    pair.exchange();
    assert_eq!(next(&mut pair.server, id), "left");
}

#[test]
fn items_wait_for_their_request_and_end_with_their_call_alone() {
    let mut pair = pair();
    let mut open = || pair.client.open_stream(Channel::DATA, false, With::default(), Bytes::new(), pair.now).unwrap();
    let (first, second) = (open(), open());
    sends(&mut pair.client, 1, first, "a", false);
    sends(&mut pair.client, 2, second, "b", false);
    assert_eq!(kinds(&mut pair.client), [kind::REQUEST, kind::REQUEST, kind::STREAM, kind::STREAM]);
    done(&mut pair.client);
    // Queued when one of the calls is answered: only its items go.
    for (op, id) in [(3, first), (4, second), (5, first), (6, second)] {
        sends(&mut pair.client, op, id, "x", false);
    }
    let bytes = pair.client.stats().channels[1].send_queued_bytes;
    to_client(&mut pair, &[frame(kind::RESPONSE, WHOLE, 2, first, b"r")]);
    assert_eq!(pair.client.stats().channels[1].send_queued_bytes, bytes / 2);
    let ended: Vec<_> = done(&mut pair.client).into_iter().map(|(op, end)| (op, end.unwrap_err().code())).collect();
    assert_eq!(ended, [(3, Code::CallEnded), (5, Code::CallEnded)]);
    let left: Vec<_> = leaving(&mut pair.client).into_iter().map(|(header, _)| header.id).collect();
    assert_eq!(left, [second, second]);
    assert_eq!(code(sends(&mut pair.client, 7, first, "late", false)), Code::CallEnded);
    assert_eq!(next(&mut pair.client, first), "END r");
    assert_eq!(next(&mut pair.client, first), "CallEnded");
}

#[test]
fn who_waits_for_an_item_and_leaves_takes_nothing_from_others() {
    let (mut pair, id) = stream(1000);
    for op in 1..=2 {
        assert!(pair.server.stream_recv(op, id, None).is_none());
        assert!(pair.server.poll_stream_recv(10 + op, id, None).is_none());
    }
    pair.server.cancel(1);
    pair.server.cancel(11);
    done(&mut pair.server);
    sends(&mut pair.client, 1, id, "first", false);
    pair.exchange();
    assert!(matches!(&done(&mut pair.server)[..], [(2, Ok(Outcome::Item(item)))] if item == "first"));
    // A watcher is told that something is there, and takes nothing; then it is told of the end.
    sends(&mut pair.client, 2, id, "second", false);
    pair.exchange();
    assert!(matches!(done(&mut pair.server)[..], [(12, Ok(Outcome::Readable))]));
    assert!(matches!(pair.server.poll_stream_recv(13, id, None), Some(Ok(Outcome::Item(item))) if item == "second"));
    assert!(pair.server.poll_stream_recv(14, id, None).is_none());
    sends(&mut pair.client, 3, id, "", true);
    pair.exchange();
    assert!(matches!(done(&mut pair.server)[..], [(14, Ok(Outcome::Readable))]));
    assert_eq!(next(&mut pair.server, id), "FIN");
    // The same for the caller, whose end is the answer.
    assert!(pair.client.poll_stream_recv(5, id, None).is_none());
    answer(&mut pair.server, 20, id, None, "r", pair.now);
    pair.exchange();
    assert!(done(&mut pair.client).iter().any(|(op, end)| *op == 5 && matches!(end, Ok(Outcome::Readable))));
    assert_eq!(next(&mut pair.client, id), "END r");
}

#[test]
fn an_answer_that_is_kept_ends_what_its_program_waits_for() {
    let (mut pair, id) = narrow_stream();
    for op in 1..=2 {
        sends(&mut pair.server, op, id, "item", false);
    }
    assert!(pair.server.stream_recv(3, id, None).is_none());
    assert!(pair.server.poll_stream_recv(4, id, None).is_none());
    assert!(pair.server.watch(5, id, None).is_none());
    answer(&mut pair.server, 6, id, None, "kept", pair.now);
    let mut ended: Vec<_> =
        done(&mut pair.server).into_iter().map(|(op, end)| (op, end.map_err(|e| e.code()).is_ok())).collect();
    ended.sort_unstable();
    assert_eq!(ended, [(3, false), (4, false), (5, true)]);
    assert_eq!(code(sends(&mut pair.server, 7, id, "late", false)), Code::CallEnded);
    // Its program cannot let it go any more: it was answered.
    pair.server.abandon_served(id);
    assert_eq!(kinds(&mut pair.server), [kind::STREAM]);
    to_server(&mut pair, &[frame(kind::CREDIT, 0, 0, id, &1000u64.to_le_bytes())]);
    assert_eq!(kinds(&mut pair.server), [kind::STREAM, kind::RESPONSE]);
    assert_eq!(pair.server.stats().open_served, 0);
}

#[test]
fn each_watcher_of_a_call_is_told_of_its_end_unless_it_left() {
    let mut pair = pair();
    to_server(&mut pair, &[frame(kind::REQUEST, WHOLE, 1, 1, b"?")]);
    take(&mut pair.server);
    for op in 1..=3 {
        assert!(pair.server.watch(op, 1, None).is_none());
    }
    pair.server.cancel(2);
    assert_eq!(result(&mut pair.server, 2).unwrap_err().code(), Code::Cancelled);
    assert!(pair.server.is_served(1) && !pair.server.is_served(3));
    to_server(&mut pair, &[frame(kind::CANCEL, 0, 0, 1, &[])]);
    assert!(matches!(done(&mut pair.server)[..], [(1, Ok(Outcome::CallEnded)), (3, Ok(Outcome::CallEnded))]));
    assert!(!pair.server.is_served(1));
}

#[test]
fn a_served_stream_with_credit_goes_on_when_its_caller_says_no_more() {
    let (mut pair, id) = stream(1000);
    pair.server.hung_up();
    assert!(sends(&mut pair.server, 1, id, "still", false).is_none());
    assert_eq!(kinds(&mut pair.server), [kind::STREAM]);
    // The end of a stream that the client drops: its waiting operations end, and what came is gone.
    let (mut pair, id) = stream(1000);
    sends(&mut pair.server, 1, id, "unread", false);
    pair.exchange();
    pair.client.drop_stream(id);
    assert_eq!(code(pair.client.stream_recv(2, id, None)), Code::CallEnded);
    assert_eq!(kinds(&mut pair.client), [kind::CANCEL]);
    let (mut pair, id) = narrow_stream();
    assert!(pair.client.stream_recv(1, id, None).is_none());
    sends(&mut pair.client, 2, id, "a", false);
    sends(&mut pair.client, 3, id, "waits", false);
    pair.client.drop_stream(id);
    let ended: Vec<_> = done(&mut pair.client).into_iter().map(|(op, end)| (op, end.unwrap_err().code())).collect();
    assert_eq!(ended, [(3, Code::Cancelled), (1, Code::Cancelled), (2, Code::CallEnded)]);
    drain_bytes(&mut pair.client);
}

#[test]
fn an_end_that_has_come_stays_although_nothing_else_can_come() {
    let (mut pair, id) = stream(1000);
    to_client(&mut pair, &[frame(kind::RESPONSE, WHOLE, 2, id, b"r")]);
    pair.client.hung_up();
    assert_eq!(leaving(&mut pair.client), [], "it is over: nothing is to be cancelled");
    assert_eq!(pair.client.stats().calls_cancelled, 0);
    assert_eq!(next(&mut pair.client, id), "END r");
}

#[test]
fn a_call_that_ends_inside_its_request_is_cancelled_behind_it_and_forgotten() {
    // Its caller leaves: what comes for it after its end is late.
    let mut pair = pair();
    ask(&mut pair, 1, "half of it", None);
    pair.client.stage();
    takes(&mut pair.client, 20);
    pair.client.cancel(1);
    assert_eq!(result(&mut pair.client, 1).unwrap_err().sent(), Sent::Maybe);
    assert_eq!(pair.client.stats().calls_cancelled, 0, "not before it is told");
    takes(&mut pair.client, 6);
    assert_eq!(kinds(&mut pair.client), [kind::CANCEL]);
    assert_eq!((pair.client.stats().calls_cancelled, pair.client.stats().open_calls), (1, 1));
    to_client(&mut pair, &[frame(kind::ERROR, 0, 0, 1, &Code::Cancelled.number().to_le_bytes())]);
    assert_eq!((pair.client.stats().late, pair.client.stats().open_calls), (0, 0));
    to_client(&mut pair, &[frame(kind::RESPONSE, WHOLE, 1, 1, b"late")]);
    assert_eq!(pair.client.stats().late, 1);
    // Its time is over: the program still gets that end.
    let with = With::new(pair.deadline(SECOND));
    let id = pair.client.open_stream(Channel::DATA, false, with, Bytes::from_static(b"half"), pair.now).unwrap();
    pair.client.stage();
    takes(&mut pair.client, 17);
    pair.pass(SECOND);
    let rest = drain_bytes(&mut pair.client);
    assert_eq!(frames(&rest[rest.len() - 16..])[0].0.kind, kind::CANCEL);
    assert_eq!(next(&mut pair.client, id), "Timeout");
    assert_eq!(next(&mut pair.client, id), "CallEnded");
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
