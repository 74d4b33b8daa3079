//! What the counters of a connection say, at every station of a message and a call.

use bytes::Bytes;

use super::hand::{
    WHOLE, acceptor, answer, ask, frame, leaving, level_1, pair, pair_of, post, reply, result, take, to_client,
    to_server, write,
};
use super::{SECOND, connector, done, drain_bytes, give};
use crate::api::stats::ChannelStats;
use crate::error::{Code, Sent};
use crate::limits::{MESSAGE_OVERHEAD, WINDOW, WINDOW_DATA};
use crate::proto::Outcome;
use crate::proto::channel::Channel;
use crate::proto::conn::{Conn, Post};
use crate::proto::inbox::Depth;
use crate::proto::level1::wire::kind;
use crate::proto::level1::{Answer, Policy, With};

const COMMAND: usize = 0;
const DATA: usize = 1;
const TELEMETRY: usize = 2;

fn channel(conn: &Conn, at: usize) -> ChannelStats {
    conn.stats().channels[at]
}

fn depth(messages: usize, payload: usize, peak_bytes: usize) -> Depth {
    Depth { messages, bytes: payload + messages * MESSAGE_OVERHEAD, peak_bytes }
}

#[test]
fn a_message_is_counted_where_it_waits_and_nowhere_else() {
    let mut pair = pair();
    assert_eq!(pair.client.stats().channels.len(), 4);
    assert_eq!(channel(&pair.client, DATA).send_credit, WINDOW_DATA);
    for (op, len) in [(1, 100), (2, 200), (3, 300)] {
        post(&mut pair, op, Channel::DATA, len);
    }
    post(&mut pair, 4, Channel::COMMAND, 1000);
    let (data, command) = (600 + 3 * MESSAGE_OVERHEAD, 1000 + MESSAGE_OVERHEAD);

    // Queued: charged to its channel and to the connection, and no credit used yet.
    let sending = channel(&pair.client, DATA);
    assert_eq!((sending.messages_sent, sending.bytes_sent), (3, 600));
    assert_eq!((sending.send_queued, sending.send_queued_bytes, sending.send_queued_bytes_peak), (3, data, data));
    assert_eq!(sending.send_credit, WINDOW_DATA);
    let queue = pair.client.stats().send_queue;
    assert_eq!((queue.messages, queue.bytes, queue.peak_bytes), (4, data + command, command));
    assert_eq!(pair.client.send_backlog(), data + command);
    assert_eq!(channel(&pair.client, TELEMETRY).send_queued, 0);

    // Staged: frames, as long as the carrier does not take them.
    pair.client.stage();
    let frames = 1600 + 4 * 16;
    let sending = channel(&pair.client, DATA);
    assert_eq!((sending.send_queued, sending.send_queued_bytes, sending.send_queued_bytes_peak), (0, 0, data));
    assert_eq!(sending.send_credit, WINDOW_DATA - data as u64);
    assert_eq!(pair.client.send_backlog(), frames);
    assert_eq!(pair.client.stats().send_queue.messages, 0);
    // What the protocol itself has to say counts, too, and so does what is queued meanwhile.
    pair.client.ping(9, pair.now, None);
    assert_eq!(pair.client.send_backlog(), frames + 24);
    post(&mut pair, 5, Channel::DATA, 10);
    assert_eq!(pair.client.send_backlog(), frames + 24 + 10 + MESSAGE_OVERHEAD);
    pair.client.transmitted(0);
    assert_eq!(pair.client.send_backlog(), frames + 24 + 10 + MESSAGE_OVERHEAD);

    // Received, and waiting for the program.
    pair.exchange();
    assert_eq!((pair.client.send_backlog(), pair.client.messages(), pair.server.messages()), (0, 5, 5));
    let data = data + 10 + MESSAGE_OVERHEAD;
    let receiving = channel(&pair.server, DATA);
    assert_eq!((receiving.messages_received, receiving.bytes_received), (4, 610));
    assert_eq!((receiving.queued, receiving.queued_bytes, receiving.queued_bytes_peak), (4, data, data));
    assert_eq!(channel(&pair.server, COMMAND).queued_bytes, command);
    assert_eq!(pair.server.stats().receive_queue, depth(5, 1610, data + command));
    assert!(matches!(pair.server.recv(1, Some(Channel::DATA), None), Some(Ok(Outcome::Message(_)))));
    let receiving = channel(&pair.server, DATA);
    assert_eq!((receiving.queued, receiving.queued_bytes, receiving.queued_bytes_peak), (3, data - 164, data));
    assert_eq!(pair.server.stats().receive_queue, depth(4, 1510, data + command));

    // What was never taken is dropped with the connection; that it was there is still known.
    pair.server.close();
    let after = channel(&pair.server, DATA);
    assert_eq!((after.queued, after.queued_bytes, after.queued_bytes_peak), (0, 0, data));
    assert_eq!(pair.server.stats().receive_queue, depth(0, 0, data + command));
    assert_eq!(after.messages_received, 4);
    assert_eq!(pair.server.recv(2, None, None).unwrap().unwrap_err().code(), Code::Closed);
}

#[test]
fn each_way_to_send_counts_one_message_and_its_bytes() {
    let mut pair = pair();
    let message = || Post::Message(Channel::DATA, With::default());
    let text = Bytes::from_static(b"seven b");
    let mut sent = 0;
    let mut counts = |pair: &super::Pair, what: &str| {
        sent += 1;
        let counter = channel(&pair.client, DATA);
        assert_eq!((counter.messages_sent, counter.bytes_sent), (sent, 7 * sent), "{what}");
        assert_eq!(counter.send_credit, WINDOW_DATA - (7 + MESSAGE_OVERHEAD as u64) * sent, "{what}");
    };
    pair.client.post(1, message(), text.clone(), pair.now, None);
    pair.exchange();
    counts(&pair, "queued");
    write(&mut pair, false, 2, message(), text.clone(), usize::MAX);
    counts(&pair, "written at once");
    assert!(pair.client.send_short(Channel::DATA, &text).unwrap());
    counts(&pair, "short");
    pair.exchange();
    pair.client.send_part(Channel::DATA, text.clone(), None, None).unwrap();
    pair.exchange();
    counts(&pair, "a part");
    pair.client.cork(true);
    let inline = pair.client.inline(&message(), 7, pair.now).unwrap().expect("it is gathered");
    assert!(matches!(pair.client.gather(3, &message(), &inline, &text, None), Some(Ok(Outcome::Sent))));
    counts(&pair, "gathered");
    pair.client.cork(false);
    pair.exchange();
    assert_eq!(channel(&pair.server, DATA).messages_received, 5);
    for _ in 0..5 {
        assert_eq!(take(&mut pair.server).payload, text);
    }
}

#[test]
fn calls_answers_and_items_count_as_messages_of_their_channel() {
    let mut pair = pair();
    let text = Bytes::from_static(b"nine byte");
    let request = || Post::Request(Channel::DATA, With::default());
    // Written at once, queued, gathered.
    write(&mut pair, false, 1, request(), text.clone(), usize::MAX);
    pair.client.post(2, request(), text.clone(), pair.now, None);
    pair.exchange();
    pair.client.cork(true);
    let inline = pair.client.inline(&request(), 9, pair.now).unwrap().expect("it is gathered");
    pair.client.gather(3, &request(), &inline, &text, None);
    pair.client.cork(false);
    pair.exchange();
    let charged = 3 * (9 + MESSAGE_OVERHEAD as u64);
    let sent = channel(&pair.client, DATA);
    assert_eq!((sent.messages_sent, sent.bytes_sent, sent.send_credit), (3, 27, WINDOW_DATA - charged));
    assert_eq!((pair.client.stats().calls, pair.server.stats().calls_served), (3, 3));
    let ids: Vec<u64> = (0..3).map(|_| take(&mut pair.server).request().unwrap().id).collect();
    assert_eq!(ids, [1, 3, 5]);

    let reply = |id| Post::Answer(Answer { id, status: None });
    write(&mut pair, true, 1, reply(1), text.clone(), usize::MAX);
    assert!(pair.server.post(2, reply(3), text.clone(), pair.now, None).is_none());
    pair.exchange();
    pair.server.cork(true);
    let inline = pair.server.inline(&reply(5), 9, pair.now).unwrap().expect("it is gathered");
    assert!(matches!(pair.server.gather(3, &reply(5), &inline, &text, None), Some(Ok(Outcome::Sent))));
    assert_eq!(pair.server.stats().open_served, 1, "until the carrier has it");
    pair.server.cork(false);
    pair.exchange();
    let answered = channel(&pair.server, DATA);
    // Answers need no credit.
    assert_eq!((answered.messages_sent, answered.bytes_sent, answered.send_credit), (3, 27, WINDOW_DATA));
    let came = channel(&pair.client, DATA);
    assert_eq!((came.messages_received, came.bytes_received), (3, 27));
    assert_eq!((pair.client.stats().open_calls, pair.server.stats().open_served), (0, 0));
    assert!(
        done(&mut pair.client).iter().all(|(_, end)| matches!(end, Ok(Outcome::Reply(Channel::DATA, r)) if *r == text))
    );
    assert!(matches!(done(&mut pair.server)[..], [(2, Ok(Outcome::Sent))]));

    let id = pair.client.open_stream(Channel::DATA, false, With::default(), Bytes::new(), pair.now).unwrap();
    pair.exchange();
    take(&mut pair.server);
    pair.client.stream_send(10, id, text.clone(), false, None);
    pair.exchange();
    pair.server.stream_send(11, id, text, false, None);
    pair.exchange();
    for conn in [&pair.client, &pair.server] {
        let counter = channel(conn, DATA);
        assert_eq!((counter.bytes_sent, counter.bytes_received), (36, 36));
    }
    assert_eq!(channel(&pair.client, DATA).messages_sent, 5);
    assert_eq!(channel(&pair.server, DATA).messages_received, 5);
}

#[test]
fn places_are_those_of_calls_at_work_of_calls_given_up_and_of_answers_on_their_way() {
    let mut pair = pair();
    for op in 1..=6 {
        ask(&mut pair, op, "?", None);
    }
    assert_eq!((pair.client.stats().calls, pair.client.stats().open_calls), (0, 6));
    pair.exchange();
    let ids: Vec<u64> = (0..6).map(|_| take(&mut pair.server).request().unwrap().id).collect();
    pair.client.cancel(1);
    pair.client.cancel(2);
    pair.exchange();
    answer(&mut pair.server, 1, ids[5], None, "staged", pair.now);
    pair.server.stage();
    let stats = pair.server.stats();
    assert_eq!((stats.open_served, stats.calls_served), (6, 6));
    let stats = pair.client.stats();
    assert_eq!((stats.calls, stats.open_calls, stats.calls_cancelled, stats.late), (6, 6, 2, 0));
    pair.exchange();
    assert_eq!((pair.server.stats().open_served, pair.client.stats().open_calls), (5, 5));
    // Those given up give their place back when the program is done with them.
    for (id, left) in [(ids[0], 4), (ids[1], 3)] {
        pair.server.abandon_served(id);
        pair.exchange();
        assert_eq!((pair.server.stats().open_served, pair.client.stats().open_calls), (left, left));
    }
    assert_eq!((pair.client.stats().late, pair.server.stats().late), (0, 0));
    // With the stream of bytes all are over: what comes no more frees no place, and nobody gave up what is lost.
    pair.client.hung_up();
    pair.server.close();
    assert_eq!((pair.server.stats().open_served, pair.client.stats().open_calls), (0, 0));
    assert_eq!(pair.client.stats().calls_cancelled, 2);
}

#[test]
fn a_call_is_cancelled_once_and_a_reply_or_refusal_cancels_none() {
    let mut pair = pair();
    ask(&mut pair, 1, "answered", None);
    pair.exchange();
    let id = take(&mut pair.server).request().unwrap().id;
    answer(&mut pair.server, 1, id, None, "r", pair.now);
    pair.exchange();
    ask(&mut pair, 2, "let go", None);
    pair.exchange();
    let id = take(&mut pair.server).request().unwrap().id;
    pair.server.abandon_served(id);
    pair.exchange();
    assert_eq!(done(&mut pair.client).len(), 2);
    assert_eq!((pair.client.stats().calls_cancelled, pair.server.stats().calls_cancelled), (0, 0));
    // Out of time by the other side's clock, three times.
    for cancelled in 1..=3 {
        ask(&mut pair, 2 + cancelled, "slow", Some(SECOND));
        pair.exchange();
        pair.server.handle_timeout(pair.now + SECOND);
        pair.exchange();
        assert_eq!(result(&mut pair.client, 2 + cancelled).unwrap_err().code(), Code::Timeout);
        assert_eq!((pair.client.stats().calls_cancelled, pair.client.stats().open_calls), (cancelled, 0));
    }
}

#[test]
fn each_frame_for_a_call_that_has_ended_is_late() {
    // Replies and failures cross a cancel; the end that a cancel asks for is not late.
    let mut pair = pair();
    for (op, late) in [(1, 1), (2, 2), (3, 2), (4, 3)] {
        ask(&mut pair, op, "?", None);
        pair.exchange();
        let id = take(&mut pair.server).request().unwrap().id;
        match op {
            3 => pair.server.abandon_served(id),
            op => answer(&mut pair.server, op, id, (op == 2).then_some(7), "r", pair.now),
        }
        pair.client.cancel(op);
        pair.exchange();
        assert_eq!((pair.client.stats().late, pair.client.stats().open_calls), (late, 0), "{op}");
        assert_eq!(pair.server.stats().late, op, "its CANCEL came too late, too");
    }
    // A peer that repeats itself.
    let mut pair = self::pair();
    ask(&mut pair, 1, "?", None);
    let id = pair.client.open_stream(Channel::DATA, false, With::default(), Bytes::new(), pair.now).unwrap();
    pair.exchange();
    let reply_1 = frame(kind::RESPONSE, WHOLE, 1, 1, b"first");
    let reply_3 = frame(kind::RESPONSE, WHOLE, 2, id, b"end");
    to_client(&mut pair, &[reply_1.clone(), reply_3.clone()]);
    assert_eq!((reply(&mut pair.client, 1), pair.client.stats().late), (Bytes::from_static(b"first"), 0));
    to_client(&mut pair, &[reply_1.clone(), reply_1, reply_3.clone(), reply_3]);
    assert_eq!((pair.client.stats().late, pair.client.stats().open_calls), (4, 0));
    // The first end counts.
    assert!(matches!(pair.client.stream_recv(5, id, None), Some(Ok(Outcome::StreamEnd(Some(end)))) if end == "end"));
    // Items for a stream that has ended, on either side.
    let item = frame(kind::STREAM, WHOLE, 2, id, b"item");
    to_client(&mut pair, &[item.clone(), item.clone()]);
    assert_eq!(pair.client.stats().late, 6);
    pair.server.abandon_served(id);
    to_server(&mut pair, &[item.clone(), item]);
    assert_eq!(pair.server.stats().late, 2);
    assert!(pair.client.is_open() && pair.server.is_open());
}

#[test]
fn a_cancel_is_late_only_for_a_call_that_has_ended() {
    let mut pair = pair();
    let cancel = || frame(kind::CANCEL, 0, 0, 1, &[]);
    to_server(&mut pair, &[frame(kind::REQUEST, WHOLE, 1, 1, b"?")]);
    take(&mut pair.server);
    // The program has the call: it keeps its place, and more of the same changes nothing.
    to_server(&mut pair, &[cancel(), cancel()]);
    assert_eq!((pair.server.stats().open_served, pair.server.stats().late), (1, 0));
    assert_eq!(leaving(&mut pair.server), []);
    pair.server.abandon_served(1);
    assert_eq!(leaving(&mut pair.server).len(), 1);
    assert_eq!((pair.server.stats().open_served, pair.server.stats().late), (0, 0));
    to_server(&mut pair, &[cancel(), cancel()]);
    assert_eq!(pair.server.stats().late, 2);
    assert!(pair.server.is_open());
}

#[test]
fn what_was_dropped_is_told_with_the_next_message_and_never_less() {
    let mut client = level_1(connector());
    client.policies = vec![(Channel::DATA, Policy::Latest)];
    let mut pair = pair_of(client, level_1(acceptor()));
    for n in 0..5 {
        assert!(matches!(post(&mut pair, n, Channel::DATA, 10), Some(Ok(Outcome::Sent))));
    }
    assert_eq!((channel(&pair.client, DATA).dropped, channel(&pair.client, DATA).send_queued), (4, 1));
    assert_eq!(channel(&pair.server, DATA).dropped_by_peer, 0);
    pair.exchange();
    assert_eq!(channel(&pair.server, DATA).dropped_by_peer, 4);
    assert_eq!(take(&mut pair.server).payload[0], 4);
    // Nothing more was dropped: the next message has nothing to tell, and its way is free.
    let message = Post::Message(Channel::DATA, With::default());
    assert!(pair.client.inline(&message, 10, pair.now).unwrap().is_some());
    post(&mut pair, 5, Channel::DATA, 10);
    let bytes = drain_bytes(&mut pair.client);
    assert_eq!(bytes.len(), 16 + 10);
    give(&mut pair.server, &bytes, pair.now);
    assert_eq!(channel(&pair.server, DATA).dropped_by_peer, 4);
    // A peer that takes some of it back is not believed.
    let less = [&[12, 0, 6, 0, 8, 0][..], &3u64.to_le_bytes(), b"x"].concat();
    to_server(&mut pair, &[frame(kind::MESSAGE, WHOLE | 4, 2, 0, &less)]);
    assert_eq!(channel(&pair.server, DATA).dropped_by_peer, 4);
    assert_eq!(channel(&pair.client, COMMAND).send_credit, WINDOW);
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
