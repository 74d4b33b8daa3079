//! Two state machines and a pretended clock: everything about time, order and ends, without a socket.

mod calls;
mod corks;
mod counters;
mod doors;
mod drains;
mod ending;
mod extras;
mod hand;
mod handshake;
mod items;
mod level1_transcripts;
mod level1_vectors;
mod outcomes;
mod pending;
mod places;
mod reading;
mod receiving;
mod rules;
mod strays;
mod streams;
mod vectors;
mod windows;
mod writing;

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::by_hand::{config, connector, drain_bytes, give};
use super::channel::Channel;
use super::conn::{Config, Conn, Role};
use super::{OpId, Outcome};
use crate::error::{Code, Result, Sent};
use crate::limits;

const SECOND: Duration = Duration::from_secs(1);

/// How often bytes go both ways until a test says that this does not end.
const MOST_ROUNDS: usize = 10_000;

struct Pair {
    client: Conn,
    server: Conn,
    now: Instant,
}

impl Pair {
    fn new() -> Pair {
        let mut pair = Pair::apart(config(connector()), config(Role::Acceptor { peer_id: "peer-1".into() }));
        pair.exchange();
        assert!(pair.client.is_open() && pair.server.is_open());
        pair
    }

    /// Two that have said nothing yet.
    fn apart(client: Config, server: Config) -> Pair {
        let now = Instant::now();
        Pair { client: Conn::new(client, now), server: Conn::new(server, now), now }
    }

    /// Moves bytes both ways until both are quiet.
    fn exchange(&mut self) {
        for _ in 0..MOST_ROUNDS {
            let to_server = drain_bytes(&mut self.client);
            let to_client = drain_bytes(&mut self.server);
            if to_server.is_empty() && to_client.is_empty() {
                return;
            }
            let left = give(&mut self.server, &to_server, self.now);
            assert!(left.is_empty() || self.server.end_error().is_some());
            let left = give(&mut self.client, &to_client, self.now);
            assert!(left.is_empty() || self.client.end_error().is_some());
        }
        panic!("they do not become quiet");
    }

    fn deadline(&self, after: Duration) -> Option<Instant> {
        Some(self.now + after)
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.client.handle_timeout(self.now);
        self.server.handle_timeout(self.now);
    }
}

fn done(conn: &mut Conn) -> Vec<(OpId, Result<Outcome>)> {
    std::iter::from_fn(|| conn.poll_done()).collect()
}

fn code(conn: &mut Conn, op: OpId) -> Code {
    let finished = done(conn);
    let (_, result) = finished.into_iter().find(|(o, _)| *o == op).expect("the operation ended");
    result.expect_err("it ended badly").code()
}

fn received(conn: &mut Conn) -> (Channel, Bytes) {
    match conn.recv(9999, None, None) {
        Some(Ok(Outcome::Message(message))) => (message.channel, message.payload),
        other => panic!("a message was queued: {other:?}"),
    }
}

#[test]
fn messages_keep_their_order_per_channel_and_overall() {
    let mut pair = Pair::new();
    for n in 0..6u8 {
        let channel = if n % 2 == 0 { Channel::DATA } else { Channel::TELEMETRY };
        assert!(pair.client.send(n.into(), channel, vec![n].into(), None).is_none());
    }
    pair.exchange();
    assert_eq!(done(&mut pair.client).len(), 6);
    let Some(Ok(Outcome::Message(first))) = pair.server.recv(1, Some(Channel::TELEMETRY), None) else { panic!() };
    assert_eq!(first.payload[..], [1]);
    let rest: Vec<u8> = (0..5).map(|_| received(&mut pair.server).1[0]).collect();
    assert_eq!(rest, [0, 2, 3, 4, 5]);
}

#[test]
fn a_waiting_receive_on_another_channel_does_not_swallow_messages() {
    let mut pair = Pair::new();
    assert!(pair.server.recv(1, Some(Channel::ERROR), None).is_none());
    assert!(pair.server.recv(2, None, None).is_none());
    pair.client.send(1, Channel::DATA, Bytes::from_static(b"d"), None);
    pair.exchange();
    let finished = done(&mut pair.server);
    assert_eq!(finished.iter().map(|(op, _)| *op).collect::<Vec<_>>(), [2]);
}

#[test]
fn calls_take_turns_and_get_their_own_reply() {
    let mut pair = Pair::new();
    for op in 1..=3 {
        assert!(pair.client.call(op, vec![op as u8].into(), None).is_none());
    }
    pair.exchange();
    for op in 1..=3u64 {
        let (channel, request) = received(&mut pair.server);
        assert_eq!((channel, &request[..]), (Channel::COMMAND, &[op as u8][..]));
        pair.server.send(op, Channel::COMMAND, request, None);
        pair.exchange();
        let finished = done(&mut pair.client);
        assert!(
            matches!(&finished[..], [(o, Ok(Outcome::Reply(_, r)))] if *o == op && r[0] == op as u8),
            "{finished:?}"
        );
    }
}

#[test]
fn a_command_message_before_the_request_left_is_no_reply() {
    let mut pair = Pair::new();
    pair.server.send(1, Channel::COMMAND, Bytes::from_static(b"unsolicited"), None);
    let early = drain_bytes(&mut pair.server);
    pair.client.call(7, Bytes::from_static(b"question"), None);
    give(&mut pair.client, &early, pair.now);
    assert!(done(&mut pair.client).is_empty());
    assert_eq!(&received(&mut pair.client).1[..], b"unsolicited");
}

#[test]
fn a_timed_out_call_that_was_sent_closes_the_connection() {
    let mut pair = Pair::new();
    let deadline = pair.deadline(SECOND);
    pair.client.call(1, Bytes::from_static(b"a"), deadline);
    pair.client.call(2, Bytes::from_static(b"b"), None);
    pair.exchange();
    assert_eq!(pair.client.next_timeout(), deadline);
    pair.pass(SECOND - Duration::from_micros(1));
    assert!(done(&mut pair.client).is_empty());
    pair.pass(Duration::from_micros(1));
    let finished = done(&mut pair.client);
    let find = |op| finished.iter().find(|(o, _)| *o == op).unwrap().1.as_ref().unwrap_err();
    assert_eq!((find(1).code(), find(1).sent()), (Code::Timeout, Sent::Maybe));
    assert_eq!((find(2).code(), find(2).sent()), (Code::ConnectionLost, Sent::No));
    assert!(pair.client.finished());
}

#[test]
fn a_timed_out_call_that_never_left_is_just_removed() {
    let mut pair = Pair::new();
    pair.client.call(1, Bytes::from_static(b"a"), None);
    pair.exchange();
    let deadline = pair.deadline(SECOND);
    pair.client.call(2, Bytes::from_static(b"b"), deadline);
    pair.pass(SECOND);
    assert_eq!(code(&mut pair.client, 2), Code::Timeout);
    assert!(pair.client.is_open());
    let (_, request) = received(&mut pair.server);
    pair.server.send(1, Channel::COMMAND, request, None);
    pair.exchange();
    assert!(matches!(&done(&mut pair.client)[..], [(1, Ok(Outcome::Reply(_, r)))] if &r[..] == b"a"));
}

#[test]
fn a_send_that_never_started_times_out_harmlessly_and_a_started_one_ends_the_connection() {
    let mut pair = Pair::new();
    let deadline = pair.deadline(SECOND);
    pair.client.send(1, Channel::DATA, Bytes::from_static(b"later"), deadline);
    pair.pass(SECOND);
    assert_eq!(code(&mut pair.client, 1), Code::Timeout);
    assert!(pair.client.is_open() && !pair.client.wants_write());

    let deadline = pair.deadline(SECOND);
    pair.client.send(2, Channel::DATA, Bytes::from_static(b"half"), deadline);
    pair.client.transmitted(3);
    pair.pass(SECOND);
    let finished = done(&mut pair.client);
    let error = finished[0].1.as_ref().unwrap_err();
    assert_eq!((error.code(), error.sent()), (Code::Timeout, Sent::Maybe));
    assert!(pair.client.finished());
    assert!(
        matches!(pair.client.send(3, Channel::DATA, Bytes::new(), None), Some(Err(e)) if e.code() == Code::ConnectionLost)
    );
}

#[test]
fn a_cancelled_send_finishes_its_frame() {
    let mut pair = Pair::new();
    pair.client.send(1, Channel::DATA, Bytes::from_static(b"half"), None);
    let mut slices = Vec::new();
    pair.client.slices(&mut slices);
    let start: Vec<u8> = slices.iter().flat_map(|s| s.to_vec()).take(3).collect();
    pair.client.transmitted(3);
    assert!(pair.client.cancel(1));
    assert_eq!(code(&mut pair.client, 1), Code::Cancelled);
    give(&mut pair.server, &start, pair.now);
    pair.exchange();
    assert_eq!(&received(&mut pair.server).1[..], b"half");
}

#[test]
fn a_late_pong_does_not_answer_the_next_ping() {
    let mut pair = Pair::new();
    let deadline = pair.deadline(SECOND);
    pair.client.ping(1, pair.now, deadline);
    let first = drain_bytes(&mut pair.client);
    pair.pass(SECOND);
    assert_eq!(code(&mut pair.client, 1), Code::Timeout);
    pair.client.ping(2, pair.now, None);
    let second = drain_bytes(&mut pair.client);
    give(&mut pair.server, &first, pair.now);
    let late = drain_bytes(&mut pair.server);
    give(&mut pair.client, &late, pair.now);
    assert!(done(&mut pair.client).is_empty());
    pair.now += Duration::from_millis(3);
    give(&mut pair.server, &second, pair.now);
    pair.exchange();
    assert!(matches!(done(&mut pair.client)[..], [(2, Ok(Outcome::Pong(rtt)))] if rtt == Duration::from_millis(3)));
}

#[test]
fn crossing_drains_both_succeed_and_lose_nothing() {
    let mut pair = Pair::new();
    pair.client.send(1, Channel::DATA, Bytes::from_static(b"last words"), None);
    pair.client.drain(2, None);
    pair.server.drain(3, None);
    assert!(matches!(pair.client.send(4, Channel::DATA, Bytes::new(), None), Some(Err(e)) if e.code() == Code::Closed));
    pair.exchange();
    assert!(done(&mut pair.client).iter().any(|(op, r)| *op == 2 && r.is_ok()));
    assert!(done(&mut pair.server).iter().any(|(op, r)| *op == 3 && r.is_ok()));
    assert_eq!(&received(&mut pair.server).1[..], b"last words");
    assert!(matches!(pair.server.recv(5, None, None), Some(Err(e)) if e.code() == Code::Closed));
}

#[test]
fn a_drain_answers_the_other_sides_before_it_closes() {
    let mut pair = Pair::new();
    pair.client.drain(1, None);
    pair.server.drain(2, None);
    let request = drain_bytes(&mut pair.server);
    give(&mut pair.server, &drain_bytes(&mut pair.client), pair.now);
    let ack = drain_bytes(&mut pair.server);
    // Both in one read: the acknowledgement owed must still leave.
    give(&mut pair.client, &[request, ack].concat(), pair.now);
    assert!(!pair.client.finished());
    assert_eq!(&drain_bytes(&mut pair.client)[8..], br#"{"type":"shutdown_ack"}"#);
    assert!(matches!(done(&mut pair.client)[..], [(1, Ok(Outcome::Drained))]));
    assert!(pair.client.finished());
}

#[test]
fn calls_that_wait_do_not_hold_up_a_drain_of_the_other_side() {
    let mut pair = Pair::new();
    pair.client.call(1, Bytes::from_static(b"on the wire"), None);
    pair.client.call(2, Bytes::from_static(b"waits"), None);
    pair.exchange();
    pair.server.drain(3, None);
    pair.exchange();
    let error = code(&mut pair.client, 2);
    assert_eq!(error, Code::Draining);
    assert!(matches!(done(&mut pair.server)[..], [(3, Ok(Outcome::Drained))]));
}

#[test]
fn a_half_closed_peer_still_gets_its_answers() {
    let mut pair = Pair::new();
    pair.client.send(1, Channel::DATA, Bytes::from_static(b"question"), None);
    pair.exchange();
    pair.server.recv(1, Some(Channel::ERROR), None);
    pair.server.hung_up();
    assert_eq!(code(&mut pair.server, 1), Code::PeerClosed);
    let (channel, question) = received(&mut pair.server);
    assert!(pair.server.send(2, channel, question, None).is_none());
    pair.exchange();
    assert_eq!(&received(&mut pair.client).1[..], b"question");
    assert!(matches!(pair.server.call(3, Bytes::new(), None), Some(Err(e)) if e.code() == Code::ConnectionLost));
    assert!(matches!(pair.server.recv(4, None, None), Some(Err(e)) if e.code() == Code::PeerClosed));
    pair.server.drain(5, None);
    assert!(matches!(done(&mut pair.server)[..], [(2, Ok(_)), (5, Ok(Outcome::Drained))]));
    assert!(pair.server.finished());
}

#[test]
fn a_drain_waits_for_the_call_in_flight() {
    let mut pair = Pair::new();
    pair.client.call(1, Bytes::from_static(b"q"), None);
    pair.client.drain(2, None);
    pair.exchange();
    assert!(done(&mut pair.client).is_empty());
    let (_, request) = received(&mut pair.server);
    pair.server.send(1, Channel::COMMAND, request, None);
    pair.exchange();
    let finished: Vec<_> = done(&mut pair.client).into_iter().map(|(op, r)| (op, r.is_ok())).collect();
    assert_eq!(finished, [(1, true), (2, true)]);
}

#[test]
fn reading_pauses_at_the_bound_and_goes_on_at_half() {
    let mut pair = Pair::new();
    let message = Bytes::from(vec![1u8; 1 << 20]);
    let mut stream = Vec::new();
    for op in 0..12 {
        pair.client.send(op, Channel::DATA, message.clone(), None);
        stream.extend(drain_bytes(&mut pair.client));
    }
    let rest = give(&mut pair.server, &stream, pair.now);
    assert!(!rest.is_empty() && !pair.server.wants_read());
    assert!(pair.server.stats().receive_queue.bytes < limits::RECV_QUEUE + message.len() + limits::MESSAGE_OVERHEAD);
    let mut taken = 0;
    while !pair.server.wants_read() {
        assert!(taken < 12, "reading goes on");
        received(&mut pair.server);
        taken += 1;
    }
    assert!((4..=5).contains(&taken), "{taken}");
    let rest = give(&mut pair.server, rest, pair.now);
    assert!(rest.is_empty());
    assert_eq!((taken..12).map(|_| received(&mut pair.server).1.len()).sum::<usize>(), (12 - taken) << 20);
}

#[test]
fn empty_messages_are_bounded_too() {
    let mut pair = Pair::new();
    let frame = [0x49, 0x50, 0, 0, 0, 0, 2, 0];
    let flood = frame.repeat(2 * limits::RECV_QUEUE / limits::MESSAGE_OVERHEAD);
    assert!(!give(&mut pair.server, &flood, pair.now).is_empty());
    assert!(pair.server.stats().receive_queue.peak_bytes <= limits::RECV_QUEUE + (64 << 10) * 8);
}

#[test]
fn sends_above_the_bound_wait_their_turn_in_order() {
    let mut pair = Pair::new();
    let message = Bytes::from(vec![0u8; 4 << 20]);
    for op in 0..5 {
        assert!(pair.client.send(op, Channel::DATA, message.clone(), None).is_none());
    }
    assert!(pair.client.stats().send_queue.bytes <= limits::SEND_QUEUE + message.len() + 1024);
    drain_bytes(&mut pair.client);
    assert_eq!(done(&mut pair.client).into_iter().map(|(op, _)| op).collect::<Vec<_>>(), [0, 1, 2, 3, 4]);
}

#[test]
fn a_flood_of_control_messages_ends_the_connection() {
    let mut pair = Pair::new();
    let pong = [&[0x49, 0x50, 15, 0, 0, 0, 0, 0], &br#"{"type":"pong"}"#[..]].concat();
    let limit = limits::CONTROL_RATE as usize;
    give(&mut pair.server, &pong.repeat(limit), pair.now);
    assert!(pair.server.is_open());
    pair.now += SECOND;
    give(&mut pair.server, &pong.repeat(limit), pair.now);
    assert!(pair.server.is_open());
    give(&mut pair.server, &pong, pair.now);
    assert_eq!(pair.server.end_error().unwrap().code(), Code::ControlFlood);
}

#[test]
fn answers_that_nobody_reads_end_the_connection_whatever_asks_for_them() {
    for (kind, stuck) in [("ping", false), ("shutdown_request", false), ("shutdown_request", true)] {
        let mut pair = Pair::new();
        if stuck {
            // An acknowledgement goes behind what waits for room, and counts while it does.
            for op in 1..=4 {
                pair.server.send(op, Channel::DATA, Bytes::from(vec![0; 6 << 20]), None);
            }
        }
        let text = format!(r#"{{"type":"{kind}"}}"#);
        let message = [&[0x49, 0x50, text.len() as u8, 0, 0, 0, 0, 0], text.as_bytes()].concat();
        let mut asked = 0;
        while pair.server.is_open() {
            give(&mut pair.server, &message.repeat(100), pair.now);
            pair.now += SECOND / 5;
            asked += 100;
            assert!(asked < 2 * limits::MAX_UNREAD_ANSWERS, "{kind}");
        }
        assert_eq!(pair.server.end_error().unwrap().code(), Code::ControlFlood);
        assert!(asked > limits::MAX_UNREAD_ANSWERS - 100);
    }
}

#[test]
fn own_pings_stay_below_what_the_other_side_takes_for_a_flood() {
    let mut pair = Pair::new();
    for op in 0..u64::from(limits::PING_RATE) {
        assert!(pair.client.ping(op, pair.now, None).is_none());
        pair.exchange();
    }
    assert!(matches!(pair.client.ping(9999, pair.now, None), Some(Err(e)) if e.code() == Code::QueueFull));
    pair.now += SECOND;
    assert!(pair.client.ping(10_000, pair.now, None).is_none());
}

#[test]
fn honest_pings_to_somebody_who_reads_late_are_no_flood() {
    let mut pair = Pair::new();
    let mut unread = Vec::new();
    for round in 0..40u64 {
        for n in 0..u64::from(limits::PING_RATE) {
            let deadline = pair.deadline(Duration::from_millis(1));
            let _ = pair.client.ping(round * 1000 + n, pair.now, deadline);
        }
        unread.extend(drain_bytes(&mut pair.client));
        pair.pass(Duration::from_millis(300));
    }
    give(&mut pair.server, &unread, pair.now);
    assert!(pair.server.is_open(), "{:?}", pair.server.end_error());
}

#[test]
fn a_shutdown_is_acknowledged_behind_everything_queued() {
    let mut pair = Pair::new();
    for op in 1..=4 {
        pair.server.send(op, Channel::DATA, Bytes::from(vec![op as u8; 6 << 20]), None);
    }
    pair.client.drain(1, None);
    let request = drain_bytes(&mut pair.client);
    give(&mut pair.server, &request, pair.now);
    let answer = drain_bytes(&mut pair.server);
    assert!(answer.ends_with(br#"{"type":"shutdown_ack"}"#));
    assert!(answer.len() > 24 << 20);
}

#[test]
fn a_drain_towards_somebody_who_takes_nothing_ends_at_once() {
    let mut pair = Pair::new();
    pair.client.write_failed(crate::error::Error::new(Code::ConnectionLost, "broken pipe"));
    pair.client.drain(1, None);
    assert_eq!(code(&mut pair.client, 1), Code::ConnectionLost);
}

#[test]
fn a_handshake_time_beyond_the_clock_means_none() {
    let mut endless = config(connector());
    endless.handshake_timeout = Duration::MAX;
    let mut client = Conn::new(endless, Instant::now());
    assert_eq!(client.next_timeout(), None);
}

#[test]
fn the_end_is_clean_between_frames_and_truncated_inside_one_at_every_byte() {
    let frame = [&[0x49, 0x50, 3, 0, 0, 0, 2, 0], &b"abc"[..]].concat();
    for cut in 0..=frame.len() {
        let mut pair = Pair::new();
        give(&mut pair.server, &frame[..cut], pair.now);
        pair.server.recv(1, Some(Channel::ERROR), None);
        pair.server.hung_up();
        let expected = if cut == 0 || cut == frame.len() { Code::PeerClosed } else { Code::Truncated };
        assert_eq!(code(&mut pair.server, 1), expected, "cut at {cut}");
        if cut == frame.len() {
            assert_eq!(&received(&mut pair.server).1[..], b"abc");
        }
    }
}

#[test]
fn the_end_fails_what_still_expected_something() {
    let mut pair = Pair::new();
    pair.client.call(1, Bytes::from_static(b"sent"), None);
    drain_bytes(&mut pair.client);
    pair.client.call(2, Bytes::from_static(b"queued"), None);
    pair.client.ping(3, pair.now, None);
    pair.client.recv(4, None, None);
    pair.client.hung_up();
    let mut finished = done(&mut pair.client);
    finished.sort_by_key(|(op, _)| *op);
    let codes: Vec<_> = finished.iter().map(|(op, r)| (*op, r.as_ref().unwrap_err().code())).collect();
    assert_eq!(
        codes,
        [(1, Code::ConnectionLost), (2, Code::ConnectionLost), (3, Code::ConnectionLost), (4, Code::PeerClosed)]
    );
    assert_eq!(finished[0].1.as_ref().unwrap_err().sent(), Sent::Maybe);
    assert_eq!(finished[1].1.as_ref().unwrap_err().sent(), Sent::No);
}

#[test]
fn a_reply_that_arrived_before_the_carrier_broke_still_counts() {
    let mut pair = Pair::new();
    pair.client.call(1, Bytes::from_static(b"q"), None);
    pair.exchange();
    let (_, request) = received(&mut pair.server);
    pair.server.send(1, Channel::COMMAND, request, None);
    let reply = drain_bytes(&mut pair.server);
    pair.client.send(2, Channel::DATA, Bytes::from_static(b"too late"), None);
    pair.client.write_failed(crate::error::Error::new(Code::ConnectionLost, "broken pipe"));
    give(&mut pair.client, &reply, pair.now);
    pair.client.hung_up();
    let finished: Vec<_> =
        done(&mut pair.client).into_iter().map(|(op, r)| (op, r.map(drop).map_err(|e| e.code()))).collect();
    assert_eq!(finished, [(2, Err(Code::ConnectionLost)), (1, Ok(()))]);
}

#[test]
fn the_handshake_has_one_total_deadline_however_the_bytes_drip() {
    let now = Instant::now();
    let mut server = Conn::new(config(Role::Acceptor { peer_id: "p".into() }), now);
    let mut client = Conn::new(config(connector()), now);
    let request = drain_bytes(&mut client);
    for (second, byte) in request.iter().take(5).enumerate() {
        give(&mut server, &[*byte], now + SECOND * second as u32);
        server.handle_timeout(now + SECOND * second as u32);
        assert!(server.end_error().is_none());
    }
    server.handle_timeout(now + limits::HANDSHAKE_TIMEOUT);
    assert_eq!(server.end_error().unwrap().code(), Code::Timeout);
    let refusal = drain_bytes(&mut server);
    assert!(server.finished());
    give(&mut client, &refusal, now);
    assert_eq!(client.end_error().unwrap().code(), Code::Timeout);
}

#[test]
fn a_handshake_message_over_its_limit_is_refused_from_the_header() {
    let now = Instant::now();
    let mut server = Conn::new(config(Role::Acceptor { peer_id: "p".into() }), now);
    let len = (limits::MAX_HANDSHAKE as u32 + 1).to_le_bytes();
    give(&mut server, &[0x49, 0x50, len[0], len[1], len[2], len[3], 0, 0], now);
    assert_eq!(server.end_error().unwrap().code(), Code::FrameTooLarge);
    assert!(server.wants_write());
}

#[test]
fn bytes_pipelined_behind_the_request_are_not_lost() {
    let now = Instant::now();
    let mut client = Conn::new(config(connector()), now);
    let mut bytes = drain_bytes(&mut client);
    for n in 0..100u8 {
        bytes.extend([0x49, 0x50, 1, 0, 0, 0, 2, 0, n]);
    }
    let mut server = Conn::new(config(Role::Acceptor { peer_id: "p".into() }), now);
    give(&mut server, &bytes, now);
    assert!((0..100).all(|n| received(&mut server).1[0] == n));
}

#[test]
fn every_channel_number_that_was_not_agreed_ends_the_connection() {
    for number in (0..=u16::MAX).filter(|n| *n > 4).step_by(97).chain([5, 255, 256, u16::MAX]) {
        let mut pair = Pair::new();
        let [low, high] = number.to_le_bytes();
        give(&mut pair.server, &[0x49, 0x50, 0, 0, 0, 0, low, high], pair.now);
        assert_eq!(pair.server.end_error().unwrap().code(), Code::UnknownChannel);
        assert!(pair.server.finished());
    }
}

#[test]
fn closing_is_idempotent_and_ends_everything() {
    let mut pair = Pair::new();
    pair.client.recv(1, None, None);
    pair.client.close();
    pair.client.close();
    assert_eq!(code(&mut pair.client, 1), Code::Closed);
    assert!(matches!(pair.client.recv(2, None, None), Some(Err(e)) if e.code() == Code::Closed));
    assert!(matches!(pair.client.call(3, Bytes::new(), None), Some(Err(e)) if e.code() == Code::Closed));
    assert!(pair.client.finished() && !pair.client.wants_read());
}

#[test]
fn a_level_0_call_counts_with_the_first_byte_that_leaves() {
    let mut pair = Pair::new();
    assert!(pair.client.call(1, Bytes::from_static(b"never"), None).is_none());
    pair.client.cancel(1);
    assert_eq!((code(&mut pair.client, 1), pair.client.stats().calls), (Code::Cancelled, 0));
    assert!(pair.client.call(2, Bytes::from_static(b"?"), None).is_none());
    assert_eq!(pair.client.stats().calls, 0);
    pair.client.stage();
    pair.client.transmitted(1);
    assert_eq!(pair.client.stats().calls, 1);
    pair.exchange();
    assert_eq!(pair.client.stats().calls, 1);
}
