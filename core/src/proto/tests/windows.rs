//! Credit: how much a sender has at the beginning, when it is used up, and when it comes back.

use bytes::Bytes;

use super::hand::{
    WHOLE, acceptor, frame, frames, kinds, leaving, level_1, pair, pair_of, post, result, take, to_client, to_server,
};
use super::{MOST_ROUNDS, Pair, connector, done, drain_bytes, give};
use crate::error::{Code, Sent};
use crate::limits::{MESSAGE_OVERHEAD, WINDOW, WINDOW_DATA, WINDOW_START, WINDOWS};
use crate::proto::channel::Channel;
use crate::proto::conn::{Conn, Post};
use crate::proto::level1::wire::kind;
use crate::proto::level1::{Policy, With};
use crate::proto::{Outcome, Step};

fn credits(conn: &Conn) -> Vec<u64> {
    conn.stats().channels.iter().map(|channel| channel.send_credit).collect()
}

/// The server takes this much of each channel at a time, as it says in the handshake.
fn narrow(window: u64, policy: Policy) -> Pair {
    let (mut client, mut server) = (level_1(connector()), level_1(acceptor()));
    server.own.limits.window = window;
    client.policies = vec![(Channel::DATA, policy)];
    pair_of(client, server)
}

/// A payload that is charged `charge` bytes.
fn charged(charge: usize) -> usize {
    charge - MESSAGE_OVERHEAD
}

fn lacks_credit(pair: &Pair) -> bool {
    pair.client.lacks_credit(&Post::Message(Channel::DATA, With::default()))
}

fn code(step: Step) -> Option<Code> {
    step.and_then(|result| result.err()).map(|error| error.code())
}

#[test]
fn windows_are_as_large_as_each_channel_deserves_and_all_together_may_be() {
    let pair = pair();
    assert_eq!(credits(&pair.client), [WINDOW, WINDOW_DATA, WINDOW, WINDOW]);
    assert_eq!(credits(&pair.server), [WINDOW, WINDOW_DATA, WINDOW, WINDOW]);
    // Of many channels, the later ones get what is left.
    let mut channels = Channel::DEFAULT.to_vec();
    channels.extend((300..305).map(Channel::from_wire));
    let (mut client, mut server) = (level_1(connector()), level_1(acceptor()));
    (client.channels, server.channels) = (channels.clone(), channels);
    let pair = pair_of(client, server);
    let rest = WINDOW - 2 * WINDOW_START;
    let expected = [WINDOW, WINDOW_DATA, WINDOW, WINDOW, WINDOW_DATA, WINDOW_DATA, rest, WINDOW_START, WINDOW_START];
    assert_eq!(credits(&pair.client), expected);
    assert_eq!(expected.iter().sum::<u64>(), WINDOWS);
    // More channels than the whole is enough for keep what they start with.
    let mut channels = Channel::DEFAULT.to_vec();
    channels.extend((300..552).map(Channel::from_wire));
    let (mut client, mut server) = (level_1(connector()), level_1(acceptor()));
    (client.channels, server.channels) = (channels.clone(), channels);
    let pair = pair_of(client, server);
    assert_eq!(credits(&pair.client), [WINDOW_START; 256]);
    // One that was chosen is kept.
    let pair = narrow(100_000, Policy::Block);
    assert_eq!(credits(&pair.client), [100_000; 4]);
    assert_eq!(credits(&pair.server), [WINDOW, WINDOW_DATA, WINDOW, WINDOW]);
}

#[test]
fn the_first_frames_are_ready_and_one_that_means_nothing() {
    for (grease, of) in [(0x03, 0x73), (0xFF, 0x7F), (0x40, 0x70), (0x85, 0x75)] {
        let now = std::time::Instant::now();
        let mut server = level_1(acceptor());
        server.own.grease = grease;
        let (mut client, mut server) = (Conn::new(level_1(connector()), now), Conn::new(server, now));
        give(&mut server, &drain_bytes(&mut client), now);
        let response = drain_bytes(&mut server);
        let len = 8 + u32::from_le_bytes(response[2..6].try_into().unwrap()) as usize;
        let first = frames(&response[len..]);
        assert_eq!(first[0].0.kind, kind::READY);
        assert_eq!((first[1].0.kind, &first[1].1[..]), (of, &[grease; 3][..]));
        assert!(first[2..].iter().all(|(header, _)| header.kind == kind::CREDIT));
        assert_eq!(first.len(), 2 + 4);
        assert!(!server.is_open(), "it has not heard the same of the other side");
    }
}

#[test]
fn a_message_begins_with_any_credit_and_none_without() {
    let mut pair = narrow(1000, Policy::Block);
    assert!(!lacks_credit(&pair));
    post(&mut pair, 1, Channel::DATA, charged(999));
    assert!(lacks_credit(&pair), "it would wait behind the other");
    pair.client.stage();
    assert!(!lacks_credit(&pair));
    // With a byte of credit a message of any length begins.
    post(&mut pair, 2, Channel::DATA, charged(5000));
    post(&mut pair, 3, Channel::DATA, 1);
    assert_eq!(pair.client.stats().channels[1].send_queued_bytes, 5000 + 65);
    pair.exchange();
    assert_eq!(done(&mut pair.client).len(), 2);
    assert!(lacks_credit(&pair) && pair.client.stats().channels[1].send_credit == 0);
    assert!(pair.client.inline(&Post::Message(Channel::DATA, With::default()), 1, pair.now).unwrap().is_none());
    assert!(!pair.client.send_short(Channel::DATA, b"x").unwrap());
    // Another channel has its own.
    assert!(!pair.client.lacks_credit(&Post::Message(Channel::ERROR, With::default())));
    assert!(!pair.client.lacks_credit(&Post::Request(Channel::DATA, With::default())));
    // Half a window consumed gives credit back, as much as was consumed.
    take(&mut pair.server);
    assert_eq!(leaving(&mut pair.server).len(), 1);
    let mut pair = narrow(1000, Policy::Block);
    for (op, charge) in [(1, 499), (2, 66), (3, 435)] {
        post(&mut pair, op, Channel::DATA, charged(charge));
    }
    pair.exchange();
    assert!(lacks_credit(&pair) && pair.client.stats().channels[1].send_credit == 0, "exactly used up");
    take(&mut pair.server);
    assert_eq!(leaving(&mut pair.server), [], "499 are not half of 1000");
    take(&mut pair.server);
    let given = leaving(&mut pair.server);
    assert_eq!((given[0].0.kind, given[0].0.channel, &given[0].1[..]), (kind::CREDIT, 2, &1565u64.to_le_bytes()[..]));
    to_client(&mut pair, &[frame(kind::CREDIT, 0, 2, 0, &1565u64.to_le_bytes())]);
    assert_eq!(pair.client.stats().channels[1].send_credit, 565);
    // A total that is lower, or the same, takes nothing away and gives nothing.
    for total in [1000u64, 1565, 0] {
        to_client(&mut pair, &[frame(kind::CREDIT, 0, 2, 0, &total.to_le_bytes())]);
        assert_eq!(pair.client.stats().channels[1].send_credit, 565);
    }
}

#[test]
fn what_is_handed_out_as_it_comes_gives_credit_back_too() {
    let mut pair = narrow(1000, Policy::Block);
    for round in 0..20 {
        assert!(pair.server.recv(round, None, None).is_none());
        post(&mut pair, round, Channel::DATA, charged(500));
        pair.exchange();
        assert!(matches!(done(&mut pair.server)[..], [(op, Ok(Outcome::Message(_)))] if op == round));
        assert_eq!(pair.client.stats().channels[1].send_credit, 1000);
    }
}

#[test]
fn who_does_not_wait_is_told_when_all_credit_is_spoken_for() {
    // A byte is left by what is queued: one more may come, and then none.
    let mut pair = narrow(1000, Policy::Error);
    assert!(matches!(post(&mut pair, 1, Channel::DATA, charged(999)), Some(Ok(Outcome::Sent))));
    assert!(matches!(post(&mut pair, 2, Channel::DATA, 1), Some(Ok(Outcome::Sent))));
    assert_eq!(code(post(&mut pair, 3, Channel::DATA, 1)), Some(Code::WouldBlock));
    // The same when it has left, and exactly at the end of the credit.
    pair.exchange();
    assert_eq!(code(post(&mut pair, 4, Channel::DATA, 1)), Some(Code::WouldBlock));
    let part = pair.client.send_part(Channel::DATA, Bytes::from_static(b"x"), None, None);
    assert_eq!(part.unwrap_err().code(), Code::WouldBlock);
    let mut pair = narrow(1000, Policy::Error);
    assert!(matches!(post(&mut pair, 1, Channel::DATA, charged(1000)), Some(Ok(Outcome::Sent))));
    assert_eq!(code(post(&mut pair, 2, Channel::DATA, 1)), Some(Code::WouldBlock));
    assert_eq!(pair.client.stats().channels[1].messages_sent, 1);
    assert_eq!(pair.client.stats().pending_operations, 0);
    // A channel that waits, waits.
    let mut pair = narrow(1000, Policy::Block);
    post(&mut pair, 1, Channel::DATA, charged(1000));
    assert!(post(&mut pair, 2, Channel::DATA, 1).is_none());
}

#[test]
fn a_message_that_comes_without_credit_ends_the_connection() {
    let message = |charge: usize| frame(kind::MESSAGE, WHOLE, 2, 0, &vec![1; charged(charge)]);
    let request = |charge: usize| frame(kind::REQUEST, WHOLE, 2, 1, &vec![1; charged(charge)]);
    let begins = [&20_000_000u32.to_le_bytes()[..], b"x"].concat();
    let begins = frame(kind::MESSAGE, 1, 2, 0, &begins[..]);
    for late in [message(64), request(64)] {
        let mut pair = narrow(1000, Policy::Block);
        to_server(&mut pair, &[message(999), message(5000)]);
        assert!(pair.server.is_open());
        to_server(&mut pair, &[late]);
        assert_eq!(pair.server.end_error().unwrap().code(), Code::CreditExceeded);
    }
    for used in [message(1000), request(1000)] {
        let mut pair = narrow(1000, Policy::Block);
        to_server(&mut pair, &[used, message(64)]);
        assert_eq!(pair.server.end_error().unwrap().code(), Code::CreditExceeded);
    }
    // A length that no message has is refused before it is charged.
    let mut pair = narrow(1000, Policy::Block);
    to_server(&mut pair, &[begins]);
    assert_eq!(pair.server.end_error().unwrap().code(), Code::FrameTooLarge);
    // Answers and control frames are not charged.
    let mut pair = narrow(64, Policy::Block);
    to_server(&mut pair, &[message(64), frame(kind::PING, 0, 0, 0, &[1; 8])]);
    assert_eq!(kinds(&mut pair.server), [kind::PONG]);
}

#[test]
fn a_request_whose_caller_left_gives_its_credit_back_when_the_program_comes_to_it() {
    let mut pair = narrow(1000, Policy::Block);
    for id in [1, 3] {
        to_server(&mut pair, &[frame(kind::REQUEST, WHOLE, 2, id, &vec![1; charged(400)])]);
        to_server(&mut pair, &[frame(kind::CANCEL, 0, 0, id, &[])]);
    }
    to_server(&mut pair, &[frame(kind::MESSAGE, WHOLE, 2, 0, b"m")]);
    assert_eq!(kinds(&mut pair.server), [kind::ERROR, kind::ERROR]);
    assert_eq!(pair.server.stats().channels[1].queued, 3);
    // One by one, or many at once.
    assert_eq!(take(&mut pair.server).payload, "m");
    assert_eq!(kinds(&mut pair.server), [kind::CREDIT]);
    to_server(&mut pair, &[frame(kind::REQUEST, WHOLE, 2, 5, &vec![1; charged(400)])]);
    to_server(&mut pair, &[frame(kind::CANCEL, 0, 0, 5, &[])]);
    for n in 0..3 {
        to_server(&mut pair, &[frame(kind::MESSAGE, WHOLE, 2, 0, &[n])]);
    }
    let mut got = Vec::new();
    let keep = |channel, body: crate::proto::level1::Body<'_>, _| {
        got.push((channel, body.into_bytes()[0]));
        got.len() < 2
    };
    pair.server.recv_many(None, keep).unwrap();
    assert_eq!(got, [(Channel::DATA, 0), (Channel::DATA, 1)]);
    assert_eq!(take(&mut pair.server).payload[..], [2]);
    assert_eq!(kinds(&mut pair.server), [kind::ERROR, kind::CREDIT]);
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
    let most = WINDOW as usize + payload.len() + MESSAGE_OVERHEAD;
    assert!(waiting >= WINDOW as usize && waiting <= most, "{waiting}");
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
