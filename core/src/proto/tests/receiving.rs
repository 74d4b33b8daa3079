//! Messages on their way to the program: who gets which, who is told, and what is told of a full queue.

use bytes::Bytes;

use super::hand::{WHOLE, acceptor, ask, frame, level_1, pair, pair_of, post, take, to_server};
use super::{connector, done, give};
use crate::limits::{FRAGMENT, MESSAGE_OVERHEAD};
use crate::proto::Outcome;
use crate::proto::channel::Channel;
use crate::proto::conn::Post;
use crate::proto::level1::wire::kind;
use crate::proto::level1::{Body, With};
use crate::proto::notice::Notice;

#[test]
fn messages_come_in_the_order_they_were_sent_in_by_channel_or_in_all() {
    let mut pair = pair();
    let order = [Channel::ERROR, Channel::DATA, Channel::COMMAND, Channel::DATA, Channel::ERROR];
    for (n, channel) in order.into_iter().enumerate() {
        post(&mut pair, n as u64, channel, 1);
        pair.exchange();
    }
    let Some(Ok(Outcome::Message(first))) = pair.server.recv(1, Some(Channel::DATA), None) else { panic!() };
    assert_eq!((first.payload[0], first.channel), (1, Channel::DATA));
    let rest: Vec<(u8, Channel)> =
        (0..4).map(|_| take(&mut pair.server)).map(|delivery| (delivery.payload[0], delivery.channel)).collect();
    assert_eq!(rest, [(0, Channel::ERROR), (2, Channel::COMMAND), (3, Channel::DATA), (4, Channel::ERROR)]);
}

#[test]
fn who_waits_for_a_channel_gets_what_comes_on_it_unless_it_has_left() {
    let mut pair = pair();
    for (op, channel) in [(1, Some(Channel::ERROR)), (2, None), (3, Some(Channel::DATA)), (4, None)] {
        assert!(pair.server.recv(op, channel, None).is_none());
    }
    pair.server.cancel(2);
    done(&mut pair.server);
    let mut order = Vec::new();
    for channel in [Channel::DATA, Channel::DATA, Channel::DATA] {
        post(&mut pair, 1, channel, 1);
        pair.exchange();
        order.extend(done(&mut pair.server).into_iter().map(|(op, _)| op));
    }
    assert_eq!(order, [3, 4], "in the order they came, and the third message waits");
    assert!(pair.server.is_pending(1) && pair.server.stats().channels[1].queued == 1);
}

#[test]
fn who_waits_for_something_to_be_there_is_told_when_it_is_and_takes_nothing() {
    let mut pair = pair();
    assert!(pair.server.readable(1, None).is_none());
    assert!(pair.server.poll_recv(2, Some(Channel::ERROR), None).is_none());
    assert!(pair.server.poll_recv(3, Some(Channel::DATA), None).is_none());
    assert!(pair.server.poll_recv(4, Some(Channel::DATA), None).is_none());
    // What the protocol has to say is nothing to receive.
    to_server(&mut pair, &[frame(kind::PING, 0, 0, 0, &[1; 8])]);
    assert_eq!(done(&mut pair.server).len(), 0);
    pair.server.cancel(4);
    done(&mut pair.server);
    post(&mut pair, 1, Channel::DATA, 1);
    pair.exchange();
    let told: Vec<_> =
        done(&mut pair.server).into_iter().map(|(op, end)| (op, matches!(end, Ok(Outcome::Readable)))).collect();
    assert_eq!(told, [(1, true), (3, true)]);
    assert_eq!(pair.server.stats().channels[1].queued, 1);
    assert!(matches!(pair.server.readable(5, None), Some(Ok(Outcome::Readable))));
    assert!(matches!(pair.server.poll_recv(6, Some(Channel::DATA), None), Some(Ok(Outcome::Message(_)))));
    assert!(pair.server.readable(7, None).is_none());
    // Once told, it waits no more; who waits for another channel still does.
    post(&mut pair, 2, Channel::COMMAND, 1);
    pair.exchange();
    assert_eq!(done(&mut pair.server).into_iter().map(|(op, _)| op).collect::<Vec<_>>(), [7]);
    post(&mut pair, 3, Channel::ERROR, 1);
    pair.exchange();
    assert_eq!(done(&mut pair.server).into_iter().map(|(op, _)| op).collect::<Vec<_>>(), [2]);
}

#[test]
fn many_are_taken_as_long_as_more_are_wanted_with_what_came_with_each() {
    let mut pair = pair();
    ask(&mut pair, 5, "?", None);
    for op in 1..=4 {
        post(&mut pair, op, Channel::DATA, 1);
    }
    pair.exchange();
    let mut got = Vec::new();
    let mut keep = |channel: Channel, body: Body<'_>, extra: Option<Box<crate::proto::level1::Extra>>| {
        let request = extra.and_then(|extra| extra.request);
        got.push((channel.number(), body.as_slice().to_vec(), request.map(|request| request.id)));
        got.len() < 3
    };
    pair.server.recv_many(Some(Channel::DATA), &mut keep).unwrap();
    pair.server.recv_many(None, keep).unwrap();
    let found: Vec<(u16, u8, Option<u64>)> = got.iter().map(|(channel, bytes, id)| (*channel, bytes[0], *id)).collect();
    // Three were enough, and then one, which was the oldest.
    assert_eq!(found, [(2, 1, None), (2, 2, None), (2, 3, None), (1, b'?', Some(1))]);
    assert_eq!(pair.server.stats().receive_queue.messages, 1);
    // The program has the call: a cancel waits for it.
    assert!(pair.server.is_served(1));
    to_server(&mut pair, &[frame(kind::CANCEL, 0, 0, 1, &[])]);
    assert_eq!(pair.server.stats().open_served, 1);
    assert_eq!(take(&mut pair.server).payload, Bytes::from_static(&[4]));
}

#[test]
fn a_queue_that_nobody_empties_is_told_of_at_three_quarters_of_its_window() {
    let mut server = level_1(acceptor());
    server.own.limits.window = 1000;
    let mut pair = pair_of(level_1(connector()), server);
    pair.server.take_notices();
    let mut told = Vec::new();
    for n in 0..8u64 {
        to_server(&mut pair, &[frame(kind::MESSAGE, WHOLE, 2, 0, &[1; 125 - MESSAGE_OVERHEAD])]);
        for notice in pair.server.take_notices() {
            match notice {
                Notice::QueueHigh { channel, sending, bytes, limit } => told.push((n, channel, sending, bytes, limit)),
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(told, [(5, Some(Channel::DATA), false, 750, 1000)]);
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
        assert!(written <= 3 * FRAGMENT && !bytes.is_empty(), "{written} bytes went first");
        assert!(give(&mut pair.server, &bytes, pair.now).is_empty());
    }
}
