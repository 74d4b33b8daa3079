//! Credit: what one side does not take stops its own channel at a bound, and nothing else.
// Some of what is used here is for the tests that need more of the system than a pipe.
#![cfg_attr(windows, allow(unused_imports, dead_code))]

mod common;

#[cfg(unix)]
use std::os::fd::{AsFd, IntoRawFd, OwnedFd};
#[cfg(unix)]
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

#[cfg(unix)]
use common::bytes::{CANCEL, FIRST, MESSAGE, REQUEST, Raw1, WHOLE};
use common::events::Events;
use common::{Dice, Place, SOON, alone, pair, pair_with, status, until};
use hostlane::{
    Batch, Bytes, CallOptions, Channel, ChannelStats, Code, ConnectOptions, ListenOptions, Listener, Outcome, Peer,
    Policy, Sent, Wait, limits,
};

const WINDOW_DATA: usize = limits::WINDOW_DATA as usize;

fn stats(peer: &Peer, channel: Channel) -> ChannelStats {
    let stats = peer.stats().unwrap();
    *stats.channels.iter().find(|c| c.channel == channel).unwrap()
}

/// Closes peers when a test ends, however it does, so that its threads end.
struct Closing<'a>(&'a [&'a Peer]);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.iter().for_each(|peer| peer.close());
    }
}

#[cfg(unix)]
#[test]
fn calls_go_on_beside_a_channel_nobody_reads() {
    if !alone("calls_go_on_beside_a_channel_nobody_reads") {
        return;
    }
    let (client, server) = pair(&Place::new());
    let before = status("VmRSS");
    const SIZE: usize = 10_000;
    std::thread::scope(|scope| {
        let closing = Closing(&[&client, &server]);
        scope.spawn(|| {
            while let Ok(request) = server.recv_on(Channel::COMMAND, SOON) {
                request.reply(request.payload(), SOON).unwrap();
            }
        });
        let sent = AtomicU64::new(0);
        let feeding = AtomicBool::new(true);
        std::thread::scope(|senders| {
            for _ in 0..4 {
                senders.spawn(|| {
                    while feeding.load(Ordering::Relaxed) {
                        match client.send(Channel::DATA, vec![1; SIZE], Duration::from_millis(20)) {
                            Ok(()) => drop(sent.fetch_add(1, Ordering::Relaxed)),
                            // Begun, where the other side is slow to read; it leaves all the same.
                            Err(error) if error.sent() == Sent::Maybe => drop(sent.fetch_add(1, Ordering::Relaxed)),
                            Err(error) => assert_eq!(error.code(), Code::Timeout),
                        }
                    }
                });
            }
            let mut slowest = Duration::ZERO;
            for n in 0..3000u32 {
                let start = Instant::now();
                assert_eq!(client.request(n.to_le_bytes().to_vec(), SOON).unwrap().payload(), &n.to_le_bytes()[..]);
                slowest = slowest.max(start.elapsed());
            }
            println!("3000 calls beside a full channel, the slowest in {slowest:?}");
            feeding.store(false, Ordering::Relaxed);
        });
        let charged = sent.load(Ordering::Relaxed) as usize * (SIZE + limits::MESSAGE_OVERHEAD);
        assert!((WINDOW_DATA..WINDOW_DATA + 2 * SIZE).contains(&charged), "{charged} bytes");
        until("all of it was read", || stats(&server, Channel::DATA).queued as u64 == sent.load(Ordering::Relaxed));
        assert_eq!(stats(&client, Channel::DATA).send_credit, 0);
        let grown = status("VmHWM").saturating_sub(before) as usize * 1024;
        assert!(grown < WINDOW_DATA + (6 << 20), "{grown} bytes more for a window of {WINDOW_DATA}");
        // Once taken, it goes on where it stopped.
        for _ in 0..sent.load(Ordering::Relaxed) {
            assert_eq!(server.recv_on(Channel::DATA, SOON).unwrap().payload().len(), SIZE);
        }
        client.send(Channel::DATA, b"on", SOON).unwrap();
        assert_eq!(server.recv_on(Channel::DATA, SOON).unwrap().payload(), "on");
        drop(closing);
    });
}

/// A connection over sockets whose kernel buffers hold next to nothing.
#[cfg(unix)]
fn narrow() -> (Peer, Peer, [OwnedFd; 2]) {
    let (a, b) = UnixStream::pair().unwrap();
    let keep = [&a, &b].map(|s| s.as_fd().try_clone_to_owned().unwrap());
    let [a, b] = [a, b].map(|s| format!("fd:{}", s.into_raw_fd()));
    let listener = Listener::bind(&b).unwrap();
    let client = std::thread::spawn(move || Peer::connect(&a, SOON).unwrap());
    let server = listener.accept(SOON).unwrap();
    let client = client.join().unwrap();
    // The same sockets under other numbers.
    for fd in &keep {
        rustix::net::sockopt::set_socket_send_buffer_size(fd, 4096).unwrap();
        assert!(rustix::net::sockopt::socket_send_buffer_size(fd).unwrap() <= 16 * 1024);
    }
    (client, server, keep)
}

const BIG: usize = 64 * 1024;

/// A payload of 64 KiB that no other call has.
fn big(n: u32) -> Vec<u8> {
    let mut payload = vec![n as u8; BIG];
    payload[..4].copy_from_slice(&n.to_le_bytes());
    payload[BIG - 4..].copy_from_slice(&n.to_le_bytes());
    payload
}

#[cfg(unix)]
#[test]
fn callers_on_both_ends_of_a_narrow_connection_never_stall() {
    const THREADS: u32 = 64;
    const EACH: u32 = 8;
    let (client, server, _keep) = narrow();
    std::thread::scope(|scope| {
        let closing = Closing(&[&client, &server]);
        for peer in [&client, &server] {
            for _ in 0..4 {
                scope.spawn(move || {
                    while let Ok(request) = peer.recv(Wait::forever()) {
                        request.reply(request.payload(), 6 * SOON).unwrap();
                    }
                });
            }
        }
        std::thread::scope(|callers| {
            for peer in [&client, &server] {
                for thread in 0..THREADS {
                    callers.spawn(move || {
                        for round in 0..2 {
                            // 512 of them at a time, each way.
                            let numbers = (0..EACH).map(|n| (round * THREADS + thread) * EACH + n);
                            let calls: Vec<_> = numbers.map(|n| (n, peer.start(big(n)).unwrap())).collect();
                            for (n, call) in calls {
                                assert!(call.wait(6 * SOON).unwrap().payload() == &big(n));
                            }
                        }
                    });
                }
            }
        });
        drop(closing);
    });
}

#[test]
fn a_context_with_callers_on_both_ends_never_stalls() {
    const CALLS: u32 = 512;
    let (mut events, place) = (Events::new(), Place::new());
    let (a, b) = events.pair(&place);
    let mut calls: Vec<(u64, u32)> = Vec::new();
    for n in 0..CALLS {
        for (peer, n) in [(&a, n), (&b, CALLS + n)] {
            let started = events.context.request(peer, big(n), None);
            calls.push((events.start(started), n));
        }
    }
    let mut receives = [&a, &b].map(|peer| {
        let started = events.context.recv(peer, None, None);
        events.start(started)
    });
    let start = Instant::now();
    while !calls.is_empty() {
        for (at, peer) in [&a, &b].into_iter().enumerate() {
            while let Some(result) = events.take(receives[at]) {
                let Outcome::Message(request) = result.unwrap() else { panic!() };
                let reply = events.context.reply(&request, request.payload(), None);
                events.start(reply);
                let again = events.context.recv(peer, None, None);
                receives[at] = events.start(again);
            }
        }
        calls.retain(|&(call, n)| match events.take(call) {
            None => true,
            Some(result) => {
                let Outcome::Reply(reply) = result.unwrap() else { panic!() };
                assert!(reply.payload() == &big(n));
                false
            }
        });
        assert!(start.elapsed() < 6 * SOON, "{} calls are left", calls.len());
        events.turn_within(Duration::ZERO);
    }
}

#[test]
fn a_message_larger_than_the_window_passes_and_the_next_waits_for_it() {
    let (client, server) = pair(&Place::new());
    let huge: Bytes = (0..limits::MAX_MESSAGE).map(|n| (n / 997) as u8).collect::<Vec<_>>().into();
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            for _ in 0..3 {
                client.send(Channel::DATA, huge.clone(), SOON).unwrap();
            }
            // Requests too, on a channel with a window of 1 MiB.
            for _ in 0..3 {
                let reply = client.request(huge.clone(), SOON).unwrap();
                assert!(reply.payload() == &huge);
            }
        });
        for _ in 0..3 {
            assert!(server.recv_on(Channel::DATA, SOON).unwrap().payload() == &huge);
        }
        for _ in 0..3 {
            let request = server.recv_on(Channel::COMMAND, SOON).unwrap();
            request.reply(request.payload(), SOON).unwrap();
        }
        sender.join().unwrap();
    });
    // One of them uses the window up: nothing follows before it was taken.
    server.attach().unwrap();
    client.send(Channel::DATA, huge.clone(), SOON).unwrap();
    assert_eq!(stats(&client, Channel::DATA).send_credit, 0);
    let error = client.send(Channel::DATA, b"next", Duration::from_millis(50)).unwrap_err();
    assert_eq!((error.code(), error.sent()), (Code::Timeout, Sent::No));
    assert!(server.recv(SOON).unwrap().payload() == &huge);
    client.send(Channel::DATA, b"after", SOON).unwrap();
    assert_eq!(server.recv(SOON).unwrap().payload(), "after", "what timed out was withdrawn");
    assert_eq!(stats(&client, Channel::DATA).send_queued, 0);
}

#[test]
fn credit_comes_back_by_whatever_way_messages_are_taken() {
    let (client, server) = pair(&Place::new());
    // Four times the window, small and large, taken one by one, by channel, in batches, by a waiting receiver.
    const MESSAGES: u32 = 1600;
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..MESSAGES {
                let mut payload = vec![0; if n % 2 == 0 { 20_000 } else { 40 }];
                payload[..4].copy_from_slice(&n.to_le_bytes());
                client.send(Channel::DATA, payload, SOON).unwrap();
            }
        });
        let (mut next, mut dice, mut batch) = (0, Dice(5), Batch::new());
        let check = |payload: &[u8], next: &mut u32| {
            assert_eq!(payload[..4], next.to_le_bytes());
            *next += 1;
        };
        while next < MESSAGES {
            match dice.roll() % 4 {
                0 => check(server.recv(SOON).unwrap().payload(), &mut next),
                1 => check(server.recv_on(Channel::DATA, SOON).unwrap().payload(), &mut next),
                2 => {
                    server.recv_batch(&mut batch, 7, SOON).unwrap();
                    assert!((1..=7).contains(&batch.len()));
                    batch.iter().for_each(|message| check(message.payload(), &mut next));
                }
                _ => {
                    server.try_recv_batch(&mut batch, usize::MAX).unwrap();
                    batch.iter().for_each(|message| check(message.payload(), &mut next));
                }
            }
        }
    });
    let depth = server.stats().unwrap().receive_queue;
    assert_eq!((depth.messages, depth.bytes), (0, 0));
    assert!(depth.peak_bytes <= WINDOW_DATA + 20_064, "{}", depth.peak_bytes);
}

// --- policies ----------------------------------------------------------------------------------------

/// Both roles as the sender, with a receiver that reads and takes nothing.
fn senders(policy: Policy, test: impl Fn(&Peer, &Peer)) {
    let channel = Channel::DATA;
    let (client, server) =
        pair_with(&Place::new(), &ConnectOptions::new().policy(channel, policy), &ListenOptions::new());
    server.attach().unwrap();
    test(&client, &server);
    let (client, server) =
        pair_with(&Place::new(), &ConnectOptions::new(), &ListenOptions::new().policy(channel, policy));
    client.attach().unwrap();
    test(&server, &client);
}

const SIZE: usize = 8192;
const CHARGE: usize = SIZE + limits::MESSAGE_OVERHEAD;

fn numbered(n: u32) -> Vec<u8> {
    let mut payload = vec![0; SIZE];
    payload[..4].copy_from_slice(&n.to_le_bytes());
    payload
}

fn number(message: &hostlane::Message) -> u32 {
    assert_eq!(message.payload().len(), SIZE);
    u32::from_le_bytes(message.payload()[..4].try_into().unwrap())
}

#[test]
fn a_blocking_channel_waits_and_withdraws_at_its_deadline() {
    senders(Policy::Block, |sender, receiver| {
        let mut sent = 0;
        let error = loop {
            match sender.send(Channel::DATA, numbered(sent), Duration::from_millis(100)) {
                Ok(()) => sent += 1,
                // Begun, where the other side is slow to read; it leaves all the same.
                Err(error) if error.sent() == Sent::Maybe => sent += 1,
                Err(error) => break error,
            }
        };
        assert_eq!((error.code(), error.sent()), (Code::Timeout, Sent::No));
        assert_eq!(sent as usize, WINDOW_DATA.div_ceil(CHARGE));
        for n in 0..sent {
            assert_eq!(number(&receiver.recv(SOON).unwrap()), n);
        }
        sender.send(Channel::DATA, numbered(sent), SOON).unwrap();
        assert_eq!(number(&receiver.recv(SOON).unwrap()), sent);
        let (out, into) = (stats(sender, Channel::DATA), stats(receiver, Channel::DATA));
        assert_eq!((out.dropped, into.dropped_by_peer), (0, 0));
        assert_eq!(into.messages_received, u64::from(sent) + 1);
    });
}

#[test]
fn a_channel_with_the_policy_error_says_so_at_once() {
    senders(Policy::Error, |sender, receiver| {
        let mut sent = 0;
        let error = loop {
            match sender.send(Channel::DATA, numbered(sent), SOON) {
                Ok(()) => sent += 1,
                Err(error) => break error,
            }
        };
        assert_eq!((error.code(), error.sent(), error.retryable()), (Code::WouldBlock, Sent::No, true));
        assert_eq!(sent as usize, WINDOW_DATA.div_ceil(CHARGE));
        let start = Instant::now();
        for _ in 0..100 {
            assert_eq!(sender.send(Channel::DATA, numbered(sent), SOON).unwrap_err().code(), Code::WouldBlock);
        }
        assert!(start.elapsed() < SOON / 2);
        for n in 0..sent {
            assert_eq!(number(&receiver.recv(SOON).unwrap()), n);
        }
        // Credit is noticed by whoever looks, a send among them.
        until("it goes on", || sender.send(Channel::DATA, numbered(sent), SOON).is_ok());
        assert_eq!(number(&receiver.recv(SOON).unwrap()), sent);
    });
}

#[cfg(unix)]
#[test]
fn a_call_that_is_given_up_before_a_full_socket_is_cancelled_all_the_same() {
    let (peer, mut raw) = with_raw_server_and(&ConnectOptions::new().policy(Channel::DATA, Policy::Error));
    let call = peer.start("to be given up").unwrap();
    while peer.send(Channel::DATA, vec![0; 100_000], SOON).is_ok() {}
    drop(call);
    // No thread is inside a call.
    while raw.frame().expect("a CANCEL").kind != CANCEL {}
}

#[cfg(unix)]
#[test]
fn a_channel_with_the_policy_error_does_not_wait_for_the_carrier_either() {
    let (peer, mut raw) = with_raw_server_and(&ConnectOptions::new().policy(Channel::DATA, Policy::Error));
    // A call that was started, and that nobody waits for, changes nothing.
    let _call = peer.start("nobody waits").unwrap();
    let start = Instant::now();
    let mut sent = 0u32;
    // Credit for 16 MB, and nobody reads: the kernel takes less, the rest is kept.
    let error = loop {
        match peer.send(Channel::DATA, vec![sent as u8; 100_000], SOON) {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
    };
    assert!(start.elapsed() < SOON / 2, "{:?} for what never waits", start.elapsed());
    assert_eq!((error.code(), error.sent()), (Code::WouldBlock, Sent::No));
    assert_eq!(sent, 16_000_000u32.div_ceil(100_000 + 64));
    // What was accepted arrives, whole and once, although no thread is inside a call.
    for n in 0..sent {
        let mut left = 100_000;
        while left > 0 {
            let frame = raw.frame().expect("a frame");
            if frame.kind == MESSAGE {
                let head = if frame.flags & WHOLE == FIRST { 4 } else { 0 };
                assert!(frame.payload[head..].iter().all(|&byte| byte == n as u8));
                left -= frame.payload.len() - head;
            }
        }
    }
}

#[test]
fn a_channel_that_drops_the_oldest_never_waits_and_both_sides_count() {
    senders(Policy::DropOldest, |sender, receiver| {
        const MESSAGES: u32 = 3000;
        for n in 0..MESSAGES {
            sender.send(Channel::DATA, numbered(n), SOON).unwrap();
        }
        let out = stats(sender, Channel::DATA);
        assert_eq!(out.messages_sent, u64::from(MESSAGES));
        assert!(out.send_queued_bytes <= limits::CHANNEL_QUEUE, "{}", out.send_queued_bytes);
        // What has credit leaves and what fits is kept; more is dropped where the other side is slow to read.
        let most = limits::CHANNEL_QUEUE / CHARGE + WINDOW_DATA.div_ceil(CHARGE) + 2;
        assert!(out.dropped as usize + most >= MESSAGES as usize, "{} dropped", out.dropped);
        // The beginning, what was not dropped, and the end to the very last.
        sender.attach().unwrap();
        let received: Vec<u32> =
            (0..MESSAGES - out.dropped as u32).map(|_| number(&receiver.recv(SOON).unwrap())).collect();
        assert!(received.is_sorted());
        assert_eq!((received[0], *received.last().unwrap()), (0, MESSAGES - 1));
        assert_eq!(stats(receiver, Channel::DATA).dropped_by_peer, out.dropped);
        assert_eq!(receiver.recv(Duration::from_millis(20)).unwrap_err().code(), Code::Timeout);
    });
}

#[test]
fn a_channel_that_keeps_the_latest_has_one_waiting() {
    senders(Policy::Latest, |sender, receiver| {
        const MESSAGES: u32 = 2000;
        for n in 0..MESSAGES {
            sender.send(Channel::DATA, numbered(n), SOON).unwrap();
        }
        let out = stats(sender, Channel::DATA);
        assert!(out.send_queued <= 1);
        assert!(out.dropped as usize + WINDOW_DATA.div_ceil(CHARGE) + 1 >= MESSAGES as usize, "{}", out.dropped);
        // A program that only sends learns of the credit too, and what waited leaves before the next.
        let passed = MESSAGES - out.dropped as u32 - 1;
        let mut received: Vec<u32> = (0..passed).map(|_| number(&receiver.recv(SOON).unwrap())).collect();
        sender.send(Channel::DATA, numbered(MESSAGES), SOON).unwrap();
        received.extend((0..2).map(|_| number(&receiver.recv(SOON).unwrap())));
        assert!(received.is_sorted());
        assert_eq!(received[0], 0);
        assert!(received.ends_with(&[MESSAGES - 1, MESSAGES]), "{:?}", &received[passed as usize - 2..]);
        assert_eq!(stats(receiver, Channel::DATA).dropped_by_peer, out.dropped);
    });
}

#[test]
fn telemetry_drops_by_default_and_calls_are_never_dropped() {
    let (client, server) = pair(&Place::new());
    server.attach().unwrap();
    for n in 0..2000u32 {
        client.send(Channel::TELEMETRY, numbered(n), SOON).unwrap();
    }
    assert!(stats(&client, Channel::TELEMETRY).dropped > 0);
    // A call on a channel that drops waits for credit instead.
    let options = || CallOptions::new().channel(Channel::TELEMETRY);
    let call = client.start_with(b"kept", options()).unwrap();
    for n in 2000..4000u32 {
        client.send(Channel::TELEMETRY, numbered(n), SOON).unwrap();
    }
    std::thread::scope(|scope| {
        let reply = scope.spawn(|| call.wait(SOON).unwrap());
        let request = loop {
            let message = server.recv(SOON).unwrap();
            if message.is_request() {
                break message;
            }
        };
        assert_eq!(request.payload(), "kept");
        request.reply(b"answered", SOON).unwrap();
        assert_eq!(reply.join().unwrap().payload(), "answered");
    });
}

// --- pings beside bulk -------------------------------------------------------------------------------

#[test]
fn pings_are_quick_beside_a_large_transfer() {
    // 1 GiB with HOSTLANE_LONG=1.
    let total: usize = if std::env::var_os("HOSTLANE_LONG").is_some() { 1 << 30 } else { 256 << 20 };
    let (client, server) = pair(&Place::new());
    let payload = Bytes::from(vec![9; 16 << 20]);
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..total / payload.len() {
                client.send(Channel::DATA, payload.clone(), 6 * SOON).unwrap();
            }
        });
        scope.spawn(|| {
            for _ in 0..total / payload.len() {
                assert_eq!(server.recv_on(Channel::DATA, 6 * SOON).unwrap().payload().len(), payload.len());
            }
            done.store(true, Ordering::Relaxed);
        });
        let mut rtts = Vec::new();
        while !done.load(Ordering::Relaxed) {
            match client.ping(Duration::from_secs(1)) {
                Ok(rtt) => rtts.push(rtt),
                // More than may be started in a second, or nobody inside a call over there any more.
                Err(error) => assert!(matches!(error.code(), Code::QueueFull | Code::Timeout), "{error}"),
            }
            std::thread::sleep(Duration::from_millis(4));
        }
        rtts.sort();
        assert!(!rtts.is_empty(), "not one ping was answered");
        let (median, p99) = (rtts[rtts.len() / 2], rtts[(rtts.len() - 1) * 99 / 100]);
        println!("{} pings beside {} MiB: median {median:?}, p99 {p99:?}", rtts.len(), total >> 20);
        assert!(median < Duration::from_millis(250), "{rtts:?}");
    });
}

// --- corks and batches -------------------------------------------------------------------------------

/// A client of hostlane whose server is bytes.
#[cfg(unix)]
fn with_raw_server() -> (Peer, Raw1) {
    with_raw_server_and(&ConnectOptions::new())
}

#[cfg(unix)]
fn with_raw_server_and(options: &ConnectOptions) -> (Peer, Raw1) {
    let place = Place::new();
    let listener = std::os::unix::net::UnixListener::bind(place.path("raw.sock")).unwrap();
    let address = place.address("raw.sock");
    std::thread::scope(|scope| {
        let raw = scope.spawn(|| Raw1::accept(&listener, "", r#""window":16000000"#));
        let peer = Peer::connect_with(&address.parse().unwrap(), options, SOON).unwrap();
        (peer, raw.join().unwrap())
    })
}

/// How many bytes were seen to wait at the socket, one after the other, until there were `all`, while `act` ran.
#[cfg(unix)]
fn steps(raw: &Raw1, all: u64, act: impl FnOnce() + Send) -> Vec<u64> {
    let watching = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watcher = scope.spawn(|| {
            let (mut seen, deadline) = (vec![0], Instant::now() + SOON);
            while *seen.last().unwrap() < all {
                let now = rustix::io::ioctl_fionread(&raw.0).unwrap();
                watching.store(true, Ordering::Relaxed);
                if now != *seen.last().unwrap() {
                    seen.push(now);
                }
                assert!(Instant::now() < deadline, "{seen:?} of {all}");
            }
            seen
        });
        until("it watches", || watching.load(Ordering::Relaxed));
        act();
        watcher.join().unwrap()
    })
}

#[cfg(unix)]
#[test]
fn what_is_corked_leaves_in_one_write() {
    const MESSAGES: usize = 100;
    const FRAME: u64 = 16 + 20;
    let (client, mut raw) = with_raw_server();
    let all = MESSAGES as u64 * FRAME;
    let one_way = |client: &Peer| (0..MESSAGES).for_each(|_| client.send(Channel::DATA, vec![5; 20], SOON).unwrap());
    let take = |raw: &mut Raw1, kind: u8| {
        for _ in 0..MESSAGES {
            let frame = raw.frame().unwrap();
            assert_eq!((frame.kind, frame.payload.len()), (kind, 20));
        }
    };
    // Behind all that the beginning of a connection sends.
    client.send(Channel::DATA, b"first", SOON).unwrap();
    assert_eq!(raw.next(MESSAGE).payload, b"first");
    until("the watcher sees single writes where nothing is corked", || {
        let seen = steps(&raw, all, || one_way(&client)).len();
        take(&mut raw, MESSAGE);
        seen > 2
    });
    for _ in 0..20 {
        let seen = steps(&raw, all, || {
            let cork = client.cork();
            one_way(&client);
            let inner = client.cork();
            drop(inner);
            assert_eq!(rustix::io::ioctl_fionread(&raw.0).unwrap(), 0, "it leaked through the cork");
            drop(cork);
        });
        assert_eq!(seen, [0, all], "more than one write");
        take(&mut raw, MESSAGE);
    }

    // Batches and requests.
    let payloads = vec![vec![6; 20]; MESSAGES];
    let seen = steps(&raw, all, || {
        client.send_batch(Channel::DATA, payloads.iter().map(Vec::as_slice), SOON).unwrap();
    });
    assert_eq!(seen, [0, all], "more than one write");
    take(&mut raw, MESSAGE);
    let mut calls = Vec::new();
    let seen = steps(&raw, all, || {
        let _cork = client.cork();
        calls.extend((0..MESSAGES).map(|_| client.start(vec![7; 20]).unwrap()));
    });
    assert_eq!(seen, [0, all], "more than one write");
    take(&mut raw, REQUEST);
}

#[test]
fn a_cork_bounds_what_it_holds_and_a_wait_draws_it() {
    let (client, server) = pair(&Place::new());
    std::thread::scope(|scope| {
        let receiver = scope.spawn(|| {
            let mut bytes = 0;
            loop {
                let message = server.recv(SOON).unwrap();
                if message.is_request() {
                    message.reply(b"!", SOON).unwrap();
                    return bytes;
                }
                bytes += message.payload().len();
            }
        });
        let cork = client.cork();
        // Far more than a window: what fills a write leaves, and the rest goes on.
        for _ in 0..2000 {
            client.send(Channel::DATA, vec![1; 10_000], SOON).unwrap();
        }
        assert!(client.stats().unwrap().send_queue.bytes < 2 * limits::CHANNEL_QUEUE);
        // A reply is waited for inside the cork.
        assert_eq!(client.request(b"?", SOON).unwrap().payload(), "!");
        drop(cork);
        assert!(receiver.join().unwrap() <= 20_000_000);
    });
}

#[cfg(unix)]
#[test]
fn batches_keep_their_order_and_their_requests() {
    let (client, server) = pair(&Place::new());
    const MESSAGES: u32 = 20_000;
    let payloads: Vec<Vec<u8>> = (0..MESSAGES)
        .map(|n| {
            let mut payload = n.to_le_bytes().to_vec();
            // Short ones, some that get a buffer of their own, and one beyond a batch.
            payload.resize(if n == 777 { 400_000 } else { 4 + (n as usize % 50) * (n as usize % 7) }, 1);
            payload
        })
        .collect();
    std::thread::scope(|scope| {
        scope.spawn(|| client.send_batch(Channel::DATA, payloads.iter().map(Vec::as_slice), 3 * SOON).unwrap());
        let (mut batch, mut next, mut batches) = (Batch::new(), 0, 0);
        while next < MESSAGES {
            server.recv_batch(&mut batch, 1000, SOON).unwrap();
            for message in batch.iter() {
                assert!(message.payload() == payloads[next as usize], "message {next}");
                next += 1;
            }
            batches += 1;
        }
        println!("{MESSAGES} messages in {batches} batches");
        assert!(batches < MESSAGES / 10, "{batches} batches");
    });
    let calls: Vec<_> = {
        let _cork = client.cork();
        (0..50u8).map(|n| client.start(vec![n]).unwrap()).collect()
    };
    let mut batch = Batch::new();
    let mut answered = 0;
    while answered < 50 {
        server.recv_batch(&mut batch, 20, SOON).unwrap();
        let _cork = server.cork();
        for message in batch.iter() {
            assert!(message.is_request());
            message.to_message().unwrap().reply(message.payload().to_vec(), SOON).unwrap();
            answered += 1;
        }
    }
    for (n, call) in calls.into_iter().enumerate() {
        assert_eq!(call.wait(SOON).unwrap().payload()[..], [n as u8]);
    }
    assert_eq!((client.stats().unwrap().open_calls, server.stats().unwrap().open_served), (0, 0));

    // The same with a context, which is told that there is something.
    let (mut events, place) = (Events::new(), Place::new());
    let (client, server) = events.pair(&place);
    let mut next = 0u32;
    for n in 0..500u32 {
        let sent = events.context.send(&client, Channel::DATA, n.to_le_bytes().to_vec(), None);
        events.start(sent);
    }
    while next < 500 {
        let readable = events.context.readable(&server, None);
        assert!(matches!(events.finish(readable).unwrap(), Outcome::Readable));
        server.try_recv_batch(&mut batch, 64).unwrap();
        assert!(!batch.is_empty() && batch.len() <= 64);
        for message in batch.iter() {
            assert_eq!(message.payload(), next.to_le_bytes());
            next += 1;
        }
    }
    drop(client);
    let readable = events.context.readable(&server, None);
    assert_eq!(events.finish(readable).unwrap_err().code(), Code::PeerClosed);
}
