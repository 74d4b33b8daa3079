//! How connections stay alive and how they end: keepalive, kill, drain.
// Some of what is used here is for the tests that need more of the system than a pipe.
#![cfg_attr(windows, allow(unused_imports, dead_code))]

mod common;

use std::collections::HashMap;
#[cfg(unix)]
use std::os::unix::net::UnixListener;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

#[cfg(unix)]
use common::bytes::{CANCEL, CLOSE, DRAIN_ACK, GOAWAY, REQUEST, RESPONSE, Raw1, WHOLE};
use common::events::Events;
use common::{Place, Process, SOON, child_role, pair, pair_with, until};
use hostlane::{
    CallOptions, Channel, Code, ConnectOptions, ListenOptions, Listener, Outcome, Peer, Policy, Sent, Wait,
};

const KEEPALIVE: Duration = Duration::from_millis(100);

/// Not a test by itself: what this binary does as a child process.
#[test]
fn child() {
    let Some((role, address)) = child_role() else { return };
    let mut options = ListenOptions::new().max_calls(4);
    if role == "alive" {
        options = options.keepalive(KEEPALIVE);
    }
    let listener = Listener::bind_with(&address.parse().unwrap(), &options).unwrap();
    let peer = listener.accept(Wait::forever()).unwrap();
    let mut kept = Vec::new();
    match role.as_str() {
        "echo" | "alive" => {
            while let Ok(message) = peer.recv(Wait::forever()) {
                message.reply(message.payload(), SOON).unwrap();
            }
        }
        // Takes everything and answers nothing.
        "swallow" => {
            while let Ok(message) = peer.recv(Wait::forever()) {
                kept.push(message);
            }
        }
        // Does not even read.
        "deaf" => loop {
            std::thread::park();
        },
        other => panic!("no such child: {other}"),
    }
}

fn connected(role: &str, place: &Place, options: &ConnectOptions) -> (Process, Peer) {
    let process = Process::start(role, &place.address("a.sock"));
    let address = place.address("a.sock").parse().unwrap();
    let mut peer = None;
    until("the child serves", || {
        peer = Peer::connect_with(&address, options, SOON).ok();
        peer.is_some()
    });
    (process, peer.unwrap())
}

// --- keepalive ---------------------------------------------------------------------------------------

#[cfg(unix)]
#[test]
fn a_stopped_process_is_reported_by_its_silence() {
    let place = Place::new();
    let start = Instant::now();
    let (process, peer) = connected("swallow", &place, &ConnectOptions::new().keepalive(KEEPALIVE));
    let call = peer.start(b"never answered").unwrap();
    until("it left", || peer.stats().unwrap().channels[0].messages_sent == 1);
    process.signal("STOP");
    std::thread::scope(|scope| {
        let receive = scope.spawn(|| peer.recv(Wait::forever()).map(drop).unwrap_err());
        let call = call.wait(Wait::forever()).unwrap_err();
        assert_eq!((call.code(), call.sent()), (Code::PeerUnresponsive, Sent::Maybe));
        assert_eq!(receive.join().unwrap().code(), Code::PeerUnresponsive);
    });
    // Silence, a ping, and twice as long for its answer.
    let took = start.elapsed();
    assert!(took >= 3 * KEEPALIVE && took < SOON / 2, "{took:?}");
    assert!(!peer.is_open());
    let error = peer.send(Channel::DATA, b"x", SOON).unwrap_err();
    assert_eq!((error.code(), error.sent()), (Code::PeerUnresponsive, Sent::No));
}

#[cfg(unix)]
#[test]
fn a_stopped_process_is_reported_to_a_program_that_waits_for_nothing() {
    let place = Place::new();
    let (process, peer) = connected("swallow", &place, &ConnectOptions::new().keepalive(KEEPALIVE));
    process.signal("STOP");
    until("the end is noticed", || !peer.is_open());
    assert_eq!(peer.recv(SOON).unwrap_err().code(), Code::PeerUnresponsive);
}

#[cfg(unix)]
#[test]
fn a_context_reports_a_stopped_process() {
    let place = Place::new();
    let process = Process::start("swallow", &place.address("a.sock"));
    until("the child serves", || place.path("a.sock").exists());
    let mut events = Events::new();
    let address = place.address("a.sock").parse().unwrap();
    let connect = events.context.connect(&address, &ConnectOptions::new().keepalive(KEEPALIVE), None);
    let Outcome::Connected(peer) = events.finish(connect).unwrap() else { panic!() };
    let calls: Vec<u64> = (0..3)
        .map(|_| {
            let started = events.context.request(&peer, b"?", None);
            events.start(started)
        })
        .collect();
    process.signal("STOP");
    for call in calls {
        let error = events.wait(call).unwrap_err();
        assert_eq!((error.code(), error.sent()), (Code::PeerUnresponsive, Sent::Maybe));
    }
}

#[test]
fn a_healthy_connection_is_never_taken_for_dead_however_idle_it_is() {
    // Long enough for a machine that has other things to do.
    let every = Duration::from_millis(300);
    let place = Place::new();
    let options = (ConnectOptions::new().keepalive(every), ListenOptions::new().keepalive(every));
    let (client, server) = pair_with(&place, &options.0, &options.1);
    // Nobody is inside a call on either side, and in the second pair one side announces nothing.
    let one_sided = pair_with(&Place::new(), &options.0, &ListenOptions::new());
    let mut events = Events::new();
    let (a, b) = events.pair_with(&place, &options.0, &options.1);
    let start = Instant::now();
    while start.elapsed() < Duration::from_millis(2500) {
        events.turn_within(Duration::from_millis(100));
    }
    for peer in [&client, &server, &one_sided.0, &one_sided.1, &a, &b] {
        assert!(peer.is_open());
    }
    let call = client.start(b"?").unwrap();
    server.recv(SOON).unwrap().reply(b"!", SOON).unwrap();
    call.wait(SOON).unwrap();
    let call = events.context.request(&a, b"?", None);
    let request = events.recv(&b).unwrap();
    let reply = events.context.reply(&request, b"!", None);
    events.finish(reply).unwrap();
    events.finish(call).unwrap();
}

#[cfg(unix)]
#[test]
fn a_process_that_was_stopped_itself_does_not_blame_the_other_side() {
    let place = Place::new();
    let (process, peer) = connected("alive", &place, &ConnectOptions::new());
    for _ in 0..2 {
        assert_eq!(peer.request(b"before", SOON).unwrap().payload(), "before");
        process.signal("STOP");
        let stopped = Instant::now();
        while stopped.elapsed() < 7 * KEEPALIVE {
            std::thread::sleep(Duration::from_millis(10));
        }
        process.signal("CONT");
        // Its timers are long over when it wakes, and so is everything it had asked for answered.
        assert_eq!(peer.request(b"after", SOON).unwrap().payload(), "after");
    }
}

// --- kill --------------------------------------------------------------------------------------------

#[test]
fn a_killed_process_ends_every_call_once_and_says_what_may_have_been_executed() {
    let place = Place::new();
    let (mut process, peer) = connected("swallow", &place, &ConnectOptions::new());
    // Four are served at a time, the others provably never left.
    let calls: Vec<_> = (0..12u8).map(|n| peer.start(vec![n]).unwrap()).collect();
    assert_eq!(peer.stats().unwrap().open_calls, 4);
    std::thread::scope(|scope| {
        let waits: Vec<_> = calls.into_iter().map(|call| scope.spawn(|| call.wait(Wait::forever()))).collect();
        let receive = scope.spawn(|| peer.recv(Wait::forever()).map(drop).unwrap_err());
        until("all wait", || peer.stats().unwrap().pending_operations == 13);
        process.0.kill().unwrap();
        for (n, wait) in waits.into_iter().enumerate() {
            let error = wait.join().unwrap().unwrap_err();
            let sent = if n < 4 { Sent::Maybe } else { Sent::No };
            assert_eq!((error.code(), error.sent()), (Code::ConnectionLost, sent), "call {n}");
        }
        assert!(matches!(receive.join().unwrap().code(), Code::PeerClosed | Code::ConnectionLost));
    });
    process.0.wait().unwrap();
    let error = peer.start(b"later").unwrap_err();
    assert_eq!((error.code(), error.sent()), (Code::ConnectionLost, Sent::No));
    assert_eq!(peer.stats().unwrap().pending_operations, 0);
}

#[cfg(unix)]
#[test]
fn a_killed_process_ends_every_operation_of_a_context_once() {
    let place = Place::new();
    let mut process = Process::start("swallow", &place.address("a.sock"));
    until("the child serves", || place.path("a.sock").exists());
    let mut events = Events::new();
    let address = place.address("a.sock").parse().unwrap();
    let connect = events.context.connect(&address, &ConnectOptions::new(), None);
    let Outcome::Connected(peer) = events.finish(connect).unwrap() else { panic!() };
    let stream = peer.open_stream(b"", CallOptions::new()).unwrap();
    let calls: Vec<u64> = (0..8)
        .map(|_| {
            let started = events.context.request(&peer, b"?", None);
            events.start(started)
        })
        .collect();
    let item = events.context.stream_recv(&stream, None);
    let item = events.start(item);
    let recv = events.context.recv(&peer, None, None);
    let recv = events.start(recv);
    process.0.kill().unwrap();
    // `Events` itself asserts that nothing completes twice.
    for (n, call) in calls.into_iter().enumerate() {
        let error = events.wait(call).unwrap_err();
        // The stream takes one of the four places.
        let sent = if n < 3 { Sent::Maybe } else { Sent::No };
        assert_eq!((error.code(), error.sent()), (Code::ConnectionLost, sent), "call {n}");
    }
    let error = events.wait(item).unwrap_err();
    assert_eq!((error.code(), error.sent()), (Code::ConnectionLost, Sent::Maybe));
    assert!(matches!(events.wait(recv).unwrap_err().code(), Code::PeerClosed | Code::ConnectionLost));
    assert!(!events.turn_within(Duration::from_millis(50)), "an ended connection leaves nothing to do");
}

#[cfg(unix)]
#[test]
fn a_request_that_never_left_completely_was_never_executed() {
    let place = Place::new();
    let (mut process, peer) = connected("deaf", &place, &ConnectOptions::new());
    std::thread::scope(|scope| {
        let waits: Vec<_> = (0..3)
            .map(|_| {
                let call = peer.start(vec![7; 8 << 20]).unwrap();
                scope.spawn(move || call.wait(Wait::forever()).unwrap_err())
            })
            .collect();
        until("they wait", || peer.stats().unwrap().pending_operations == 3);
        process.0.kill().unwrap();
        for wait in waits {
            let error = wait.join().unwrap();
            assert_eq!((error.code(), error.sent()), (Code::ConnectionLost, Sent::No));
        }
    });
}

// --- drain -------------------------------------------------------------------------------------------

#[test]
fn a_drain_waits_for_the_calls_of_both_sides_and_starts_nothing_new() {
    let (a, b) = pair(&Place::new());
    std::thread::scope(|scope| {
        let from_a = a.start(b"from a").unwrap();
        let from_b = b.start(b"from b").unwrap();
        let (at_b, at_a) = (b.recv(SOON).unwrap(), a.recv(SOON).unwrap());
        let drain = scope.spawn(|| a.drain(SOON));
        until("the other side is told", || {
            let _ = b.recv_on(Channel::DATA, Wait::none());
            b.start(b"new").is_err_and(|error| {
                assert_eq!((error.code(), error.sent()), (Code::Draining, Sent::No));
                true
            })
        });
        assert_eq!(b.send(Channel::DATA, b"new", SOON).unwrap_err().code(), Code::Draining);
        assert_eq!(a.start(b"new").unwrap_err().code(), Code::Closed);
        assert_eq!(a.send(Channel::DATA, b"new", SOON).unwrap_err().code(), Code::Closed);
        assert!(!drain.is_finished());
        at_b.reply(b"to a", SOON).unwrap();
        assert_eq!(from_a.wait(SOON).unwrap().payload(), "to a");
        assert!(!drain.is_finished(), "it owes an answer");
        at_a.reply(b"to b", SOON).unwrap();
        assert_eq!(from_b.wait(SOON).unwrap().payload(), "to b");
        // The other side learns of the end by whatever it waits for next, and nothing is lost before it.
        assert_eq!(b.recv(SOON).map(drop).unwrap_err().code(), Code::PeerClosed);
        drain.join().unwrap().unwrap();
    });
    a.drain(SOON).unwrap();
    b.drain(SOON).unwrap();
}

#[test]
fn a_drain_ends_at_the_deadline_of_the_calls_it_waits_for() {
    let (a, b) = pair(&Place::new());
    std::thread::scope(|scope| {
        let call = b.start_with(b"?", CallOptions::new().deadline(Instant::now() + Duration::from_millis(80)));
        let _kept = a.recv(SOON).unwrap();
        let other = scope.spawn(|| b.recv(SOON).map(drop).unwrap_err().code());
        // Nobody answers, but nobody waits for longer either.
        let start = Instant::now();
        a.drain(SOON).unwrap();
        assert!(start.elapsed() < SOON / 2);
        // Its own clock, or the end that followed from the other one's.
        let end = call.unwrap().wait(SOON).unwrap_err().code();
        assert!(matches!(end, Code::Timeout | Code::ConnectionLost), "{end:?}");
        assert_eq!(other.join().unwrap(), Code::PeerClosed);
    });
}

#[test]
fn a_stream_without_an_end_costs_a_drain_its_deadline() {
    let (a, b) = pair(&Place::new());
    let stream = b.open_stream(b"", CallOptions::new()).unwrap();
    let request = a.recv(SOON).unwrap();
    let served = request.stream().unwrap();
    let limit = Duration::from_millis(200);
    let items = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        let feeding = scope.spawn(|| {
            loop {
                if let Err(error) = served.send(vec![1; 1000], SOON) {
                    break error.code();
                }
            }
        });
        scope.spawn(|| {
            loop {
                match stream.recv(SOON) {
                    Ok(Some(_)) => items.fetch_add(1, Ordering::Relaxed),
                    Ok(None) => panic!("it has no end"),
                    Err(error) => break assert_eq!(error.code(), Code::ConnectionLost),
                };
            }
        });
        until("it flows", || items.load(Ordering::Relaxed) > 100);
        let start = Instant::now();
        assert_eq!(a.drain(limit).unwrap_err().code(), Code::Timeout);
        assert!(start.elapsed() >= limit && start.elapsed() < limit + SOON / 2);
        assert_eq!(feeding.join().unwrap(), Code::Closed);
    });
    assert!(!a.is_open());
}

#[test]
fn crossing_drains_succeed_on_both_sides() {
    for round in 0..60 {
        let (a, b) = pair(&Place::new());
        std::thread::scope(|scope| {
            let calls = [a.start(b"from a").unwrap(), b.start(b"from b").unwrap()];
            let held = [b.recv(SOON).unwrap(), a.recv(SOON).unwrap()];
            let drains = [scope.spawn(|| a.drain(SOON)), scope.spawn(|| b.drain(SOON))];
            if round % 3 == 0 {
                until("both have begun", || [&a, &b].iter().all(|p| p.stats().unwrap().pending_operations == 2));
            }
            for request in held {
                request.reply(b"still answered", SOON).unwrap();
            }
            for call in calls {
                assert_eq!(call.wait(SOON).unwrap().payload(), "still answered", "round {round}");
            }
            for drain in drains {
                drain.join().unwrap().unwrap_or_else(|error| panic!("round {round}: {error}"));
            }
        });
    }
}

#[test]
fn crossing_drains_succeed_in_a_context() {
    for _ in 0..20 {
        let (mut events, place) = (Events::new(), Place::new());
        let (a, b) = events.pair(&place);
        let calls = [&a, &b].map(|peer| {
            let started = events.context.request(peer, b"?", None);
            events.start(started)
        });
        let held = [events.recv(&b).unwrap(), events.recv(&a).unwrap()];
        let drains = [&a, &b].map(|peer| {
            let started = events.context.drain(peer, Some(Instant::now() + SOON));
            events.start(started)
        });
        while events.turn_within(Duration::from_millis(5)) {}
        for request in &held {
            let reply = events.context.reply(request, b"!", None);
            events.start(reply);
        }
        for call in calls {
            assert!(matches!(events.wait(call).unwrap(), Outcome::Reply(_)));
        }
        for drain in drains {
            assert!(matches!(events.wait(drain).unwrap(), Outcome::Drained));
        }
    }
}

type End = Result<(), (Code, Sent)>;

#[test]
fn a_request_that_crosses_a_drain_is_executed_once_or_provably_not() {
    const CALLERS: u32 = 4;
    let (mut refused, mut answered) = (0, 0);
    for round in 0..25 {
        let (client, server) = pair(&Place::new());
        let executed: Mutex<HashMap<u32, u32>> = Mutex::default();
        let numbers = AtomicU32::new(0);
        let ends: Mutex<Vec<(u32, End)>> = Mutex::default();
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while let Ok(request) = server.recv(SOON) {
                        let n = u32::from_le_bytes(request.payload()[..].try_into().unwrap());
                        *executed.lock().unwrap().entry(n).or_default() += 1;
                        let _ = request.reply(request.payload(), SOON);
                    }
                });
            }
            for _ in 0..CALLERS {
                scope.spawn(|| {
                    loop {
                        let n = numbers.fetch_add(1, Ordering::Relaxed);
                        let end = client.request(n.to_le_bytes().to_vec(), SOON);
                        let over = end.is_err();
                        let end = end.map(|reply| assert_eq!(reply.payload(), &n.to_le_bytes()[..]));
                        ends.lock().unwrap().push((n, end.map_err(|error| (error.code(), error.sent()))));
                        if over {
                            break;
                        }
                    }
                });
            }
            until("calls flow", || ends.lock().unwrap().len() > 20 + round);
            server.drain(SOON).unwrap();
        });
        let executed = executed.into_inner().unwrap();
        for (n, end) in ends.into_inner().unwrap() {
            let times = executed.get(&n).copied().unwrap_or(0);
            match end {
                Ok(()) => {
                    answered += 1;
                    assert_eq!(times, 1, "call {n} of round {round}");
                }
                Err((code, Sent::No)) => {
                    refused += 1;
                    assert!(matches!(code, Code::Draining | Code::ConnectionLost), "{code:?}");
                    assert_eq!(times, 0, "call {n} of round {round} was executed though it never left");
                }
                Err(end) => panic!("call {n} of round {round}: {end:?}, although the drain waits for what arrived"),
            }
        }
    }
    assert!(answered > 0 && refused > 0);
}

#[cfg(unix)]
#[test]
fn a_drain_is_two_steps_on_the_wire() {
    let place = Place::new();
    let listener = Listener::bind(&place.address("a.sock")).unwrap();
    let connecting = std::thread::spawn({
        let address = place.address("a.sock");
        move || Raw1::connect(&address, "", "")
    });
    let server = listener.accept(SOON).unwrap();
    let mut raw = connecting.join().unwrap();
    std::thread::scope(|scope| {
        raw.send(REQUEST, WHOLE, 1, 1, b"before");
        let before = server.recv(SOON).unwrap();
        let drain = scope.spawn(|| server.drain(SOON));
        let first = raw.next(GOAWAY);
        assert_eq!(first.payload[..8], u64::MAX.to_le_bytes());
        // On its way already: it counts.
        raw.send(REQUEST, WHOLE, 1, 3, b"crossing");
        raw.send(DRAIN_ACK, 0, 0, 0, b"");
        let second = raw.next(GOAWAY);
        assert_eq!(second.payload[..8], 3u64.to_le_bytes());
        let crossing = server.recv(SOON).unwrap();
        assert_eq!(crossing.payload(), "crossing");
        crossing.reply(b"3", SOON).unwrap();
        assert_eq!(raw.next(RESPONSE).id, 3);
        before.reply(b"1", SOON).unwrap();
        assert_eq!(raw.next(RESPONSE).id, 1);
        assert_eq!(raw.next(CLOSE).payload[..4], Code::Closed.number().to_le_bytes());
        assert!(raw.frame().is_none());
        drain.join().unwrap().unwrap();
    });
}

#[cfg(unix)]
#[test]
fn calls_that_wait_for_their_turn_end_when_the_other_side_goes_away() {
    let place = Place::new();
    let listener = UnixListener::bind(place.path("raw.sock")).unwrap();
    let address = place.address("raw.sock");
    std::thread::scope(|scope| {
        let raw = scope.spawn(|| Raw1::accept(&listener, "", r#""max_calls":1"#));
        let client = Peer::connect(&address, SOON).unwrap();
        let mut raw = raw.join().unwrap();
        let calls: Vec<_> = (0..4u8).map(|n| client.start(vec![n]).unwrap()).collect();
        let stream = client.open_stream(b"waits too", CallOptions::new()).unwrap();
        let first = raw.next(REQUEST);
        // Rudely, without the first step: only the first call was taken.
        raw.send(GOAWAY, 0, 0, 0, &[&first.id.to_le_bytes()[..], &104u32.to_le_bytes()].concat());
        for (n, call) in calls.into_iter().enumerate().rev() {
            if n == 0 {
                raw.send(RESPONSE, WHOLE, 1, first.id, b"answered");
                assert_eq!(call.wait(SOON).unwrap().payload(), "answered");
            } else {
                let error = call.wait(SOON).unwrap_err();
                assert_eq!((error.code(), error.sent()), (Code::Draining, Sent::No));
            }
        }
        let error = stream.recv(SOON).unwrap_err();
        assert_eq!((error.code(), error.sent()), (Code::Draining, Sent::No));
        drop(stream);
        assert_eq!(client.stats().unwrap().open_calls, 0);
        drop(client);
        // None of them ever left, nor was anything cancelled that had not.
        while let Some(frame) = raw.frame() {
            assert!(frame.kind != REQUEST && frame.kind != CANCEL, "{frame:?}");
        }
    });
}

#[test]
fn what_was_queued_leaves_before_the_other_side_is_told() {
    let options = ConnectOptions::new().policy(Channel::DATA, Policy::Block);
    let (client, server) = pair_with(&Place::new(), &options, &ListenOptions::new());
    // The drain may come when the last send is over and nobody is inside a call here.
    client.attach().unwrap();
    const MESSAGES: u32 = 200;
    const SIZE: usize = 50_000;
    std::thread::scope(|scope| {
        // More than the window: most of it waits for credit when the other side says that it goes.
        let senders: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    (0..MESSAGES / 4).filter(|_| client.send(Channel::DATA, vec![3; SIZE], SOON).is_ok()).count()
                })
            })
            .collect();
        until("messages come", || {
            server.recv(SOON).is_ok() && server.stats().unwrap().channels[1].messages_received > 8
        });
        let taken = server.stats().unwrap().channels[1].messages_received as usize
            - server.stats().unwrap().receive_queue.messages;
        let done = AtomicBool::new(false);
        let mut received = taken;
        std::thread::scope(|inner| {
            inner.spawn(|| {
                server.drain(SOON).unwrap();
                done.store(true, Ordering::Relaxed);
            });
            loop {
                match server.recv(SOON) {
                    Ok(message) => {
                        assert_eq!(message.payload().len(), SIZE);
                        received += 1;
                    }
                    Err(error) => break assert_eq!(error.code(), Code::Closed),
                }
            }
        });
        assert!(done.load(Ordering::Relaxed));
        // Every send that succeeded arrived, and no other.
        let sent: usize = senders.into_iter().map(|sender| sender.join().unwrap()).sum();
        assert_eq!(received, sent);
    });
}
