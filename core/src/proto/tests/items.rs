//! Items of a stream: what they wait for, and what waits behind them.

use bytes::Bytes;

use super::hand::{answer, narrow_stream, pair, result, take};
use super::{MOST_ROUNDS, done, drain_bytes, give};
use crate::error::{Code, Sent};
use crate::proto::Outcome;
use crate::proto::channel::Channel;
use crate::proto::level1::With;

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
fn items_that_wait_end_with_their_call() {
    let mut pair = pair();
    let id = pair.client.open_stream(Channel::COMMAND, false, With::default(), Bytes::new(), pair.now).unwrap();
    pair.exchange();
    take(&mut pair.server);
    // The items are in the queue of the channel when the answer comes.
    answer(&mut pair.server, 1, id, None, "early", pair.now);
    let early = drain_bytes(&mut pair.server);
    for op in 1..=3 {
        assert!(pair.client.stream_send(op, id, Bytes::from_static(b"item"), false, None).is_none());
    }
    give(&mut pair.client, &early, pair.now);
    let ends: Vec<_> = done(&mut pair.client).into_iter().map(|(op, r)| (op, r.unwrap_err().code())).collect();
    assert_eq!(ends, [1, 2, 3].map(|op| (op, Code::CallEnded)));
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
