//! Calls: any number at a time, answered in any order, nested, on both levels.
// Some of what is used here is for the tests that need more of the system than a pipe.
#![cfg_attr(windows, allow(unused_imports, dead_code))]

mod common;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

#[cfg(unix)]
use common::bytes::{REFUSE, REQUEST, Raw1, WHOLE};
use common::events::Events;
use common::{Closing, Dice, Place, SOON, calm, pair, pair_on_level_0, pair_with};
use hostlane::{
    CallOptions, Channel, Code, ConnectOptions, Level, ListenOptions, Listener, Message, Outcome, Peer, Sent, Wait,
};

const MANY: u32 = 1000;

#[test]
fn a_thousand_threads_get_their_own_replies_in_whatever_order() {
    let (client, server) = pair(&Place::new());
    std::thread::scope(|scope| {
        for n in 0..MANY {
            let client = &client;
            let caller = std::thread::Builder::new().stack_size(64 * 1024);
            caller
                .spawn_scoped(scope, move || {
                    let reply = client.request(n.to_le_bytes().to_vec(), 3 * SOON).unwrap();
                    assert_eq!(reply.payload(), &(n ^ 0xFFFF).to_le_bytes()[..]);
                })
                .unwrap();
        }
        let mut requests: Vec<Message> = (0..MANY).map(|_| server.recv(SOON).unwrap()).collect();
        assert_eq!(server.stats().unwrap().open_served, MANY as usize, "all at a time");
        Dice(7).shuffle(&mut requests);
        while !requests.is_empty() {
            let part = requests.split_off(requests.len() - requests.len().min(250));
            scope.spawn(move || {
                for request in part {
                    let n = u32::from_le_bytes(request.payload()[..].try_into().unwrap());
                    request.reply((n ^ 0xFFFF).to_le_bytes().to_vec(), SOON).unwrap();
                }
            });
        }
    });
    let stats = client.stats().unwrap();
    assert_eq!((stats.calls, stats.open_calls, stats.late), (u64::from(MANY), 0, 0));
}

#[test]
fn a_thousand_calls_of_one_context_get_their_own_replies_in_whatever_order() {
    let (mut events, place) = (Events::new(), Place::new());
    let (client, server) = events.pair(&place);
    let calls: Vec<u64> = (0..MANY)
        .map(|n| {
            let started = events.context.request(&client, n.to_le_bytes().to_vec(), Some(Instant::now() + SOON));
            events.start(started)
        })
        .collect();
    let mut requests: Vec<Message> = (0..MANY).map(|_| events.recv(&server).unwrap()).collect();
    Dice(11).shuffle(&mut requests);
    for request in &requests {
        let n = u32::from_le_bytes(request.payload()[..].try_into().unwrap());
        let started = events.context.reply(request, (n ^ 0xFFFF).to_le_bytes().to_vec(), None);
        events.start(started);
    }
    for (n, call) in calls.into_iter().enumerate() {
        let Outcome::Reply(reply) = events.wait(call).unwrap() else { panic!() };
        assert_eq!(reply.payload(), &(n as u32 ^ 0xFFFF).to_le_bytes()[..]);
    }
    assert_eq!(client.stats().unwrap().open_calls, 0);
}

#[cfg(unix)]
#[test]
fn above_max_calls_a_caller_waits_and_a_rude_one_is_refused() {
    let (client, server) = pair_with(&Place::new(), &ConnectOptions::new(), &ListenOptions::new().max_calls(2));
    let calls: Vec<_> = (0..6u8).map(|n| client.start(vec![n]).unwrap()).collect();
    let mut held = vec![server.recv(SOON).unwrap(), server.recv(SOON).unwrap()];
    assert_eq!(server.recv(Duration::from_millis(30)).unwrap_err().code(), Code::Timeout);
    let stats = client.stats().unwrap();
    assert_eq!((stats.calls, stats.open_calls), (2, 2), "four have not left");
    for (n, call) in calls.into_iter().enumerate() {
        let request = held.remove(0);
        request.reply(request.payload(), SOON).unwrap();
        assert_eq!(call.wait(SOON).unwrap().payload(), &[n as u8][..]);
        if n < 4 {
            held.push(server.recv(SOON).unwrap());
        }
    }

    // A call that waits for its turn provably did not leave.
    let calls: Vec<_> = (0..3u8).map(|n| client.start(vec![n]).unwrap()).collect();
    let error = calls.into_iter().next_back().unwrap().wait(Duration::from_millis(20)).unwrap_err();
    assert_eq!((error.code(), error.sent()), (Code::Timeout, Sent::No));

    let place = Place::new();
    let address = place.address("a.sock").parse().unwrap();
    let listener = Listener::bind_with(&address, &ListenOptions::new().max_calls(2)).unwrap();
    std::thread::scope(|scope| {
        let raw = scope.spawn(|| Raw1::connect(&place.address("a.sock"), "", ""));
        let server = listener.accept(SOON).unwrap();
        let mut raw = raw.join().unwrap();
        for id in [1, 3, 5] {
            raw.send(REQUEST, WHOLE, 1, id, b"?");
        }
        let held = [server.recv(SOON).unwrap(), server.recv(SOON).unwrap()];
        assert_eq!(server.recv(Duration::from_millis(30)).unwrap_err().code(), Code::Timeout);
        let refused = raw.next(REFUSE);
        assert_eq!(refused.id, 5);
        assert_eq!(refused.payload[..4], Code::QueueFull.number().to_le_bytes());
        held.iter().for_each(|request| request.reply(b"!", SOON).unwrap());
    });
}

#[cfg(unix)]
#[test]
fn a_failure_carries_its_code_and_data() {
    let (client, server) = pair(&Place::new());
    let big: Vec<u8> = (0..700_000u32).map(|n| n as u8).collect();
    let failures = [(0, &b""[..]), (1, b"no such thing"), (u32::MAX, &[0, 255, 128]), (77, &big)];
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for (code, data) in failures {
                let request = server.recv(SOON).unwrap();
                request.fail(code, data, SOON).unwrap();
                assert_eq!(request.fail(code, data, SOON).unwrap_err().code(), Code::CallEnded);
                assert_eq!(request.reply(data, SOON).unwrap_err().code(), Code::CallEnded);
            }
        });
        for (code, data) in failures {
            let error = client.request(b"?", SOON).unwrap_err();
            assert_eq!((error.code(), error.status(), error.sent()), (Code::RemoteError, Some(code), Sent::Maybe));
            assert!(error.data() == data, "the data of {code}");
        }
    });

    let (mut events, place) = (Events::new(), Place::new());
    let (client, server) = events.pair(&place);
    for (code, data) in failures {
        let call = events.context.request(&client, b"?", None);
        let request = events.recv(&server).unwrap();
        let failed = events.context.fail(&request, code, data, None);
        let failed = events.start(failed);
        let error = events.finish(call).unwrap_err();
        assert_eq!((error.code(), error.status()), (Code::RemoteError, Some(code)));
        assert!(error.data() == data);
        events.wait(failed).unwrap();
    }
}

/// One thread that serves `peer`: a payload of n > 0 asks the other side for n - 1 first.
fn one_worker(peer: &Peer, served: &AtomicUsize) {
    while let Ok(request) = peer.recv(Wait::forever()) {
        served.fetch_add(1, Ordering::Relaxed);
        let depth = request.payload()[0];
        let answer = match (depth, request.deadline()) {
            (0, _) => Ok(Vec::new()),
            (_, deadline) => {
                let wait = deadline.map_or(Wait::from(SOON), Wait::from);
                peer.request(vec![depth - 1], wait).map(|reply| reply.payload().to_vec())
            }
        };
        // The caller may have left meanwhile.
        let _ = match answer {
            Ok(mut path) => {
                path.push(depth);
                request.reply(path, SOON)
            }
            Err(error) => request.fail(error.code().number() as u32, error.message().as_bytes().to_vec(), SOON),
        };
    }
}

#[test]
fn nested_calls_with_one_worker_on_each_side_end_in_time_and_leave_nothing_behind() {
    for (max_calls, callers, depth) in [(64, 1, 1), (64, 1, 3), (1, 1, 3), (2, 6, 3), (4, 16, 5)] {
        let (connect, listen) = (ConnectOptions::new().max_calls(max_calls), ListenOptions::new().max_calls(max_calls));
        let (a, b) = pair_with(&Place::new(), &connect, &listen);
        let served = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            let _closing = (Closing(&a), Closing(&b));
            scope.spawn(|| one_worker(&a, &served));
            scope.spawn(|| one_worker(&b, &served));
            let limit = Duration::from_millis(150);
            let start = Instant::now();
            std::thread::scope(|callers_scope| {
                for n in 0..callers {
                    let from = if n % 2 == 0 { &a } else { &b };
                    callers_scope.spawn(move || match from.request(vec![depth], limit) {
                        Ok(reply) => assert_eq!(reply.payload()[..], (0..=depth).collect::<Vec<u8>>()[..]),
                        Err(error) => assert!(
                            matches!(error.code(), Code::Timeout | Code::RemoteError | Code::CallEnded),
                            "{error}"
                        ),
                    });
                }
            });
            assert!(start.elapsed() < limit + SOON / 2, "{:?}", start.elapsed());
            // One worker suffices where nobody comes back to it.
            let direct = a.request(vec![0], SOON).unwrap();
            assert_eq!(direct.payload()[..], [0]);
            calm(&a);
            calm(&b);
        });
    }
}

#[test]
fn nested_calls_complete_where_handlers_do_not_block() {
    let (mut events, place) = (Events::new(), Place::new());
    let (a, b) = events.pair_with(&place, &ConnectOptions::new().max_calls(8), &ListenOptions::new().max_calls(8));
    let mut receives = [&a, &b].map(|peer| {
        let started = events.context.recv(peer, None, None);
        events.start(started)
    });
    // (the nested call, the request it is made for)
    let mut nested: Vec<(u64, Message)> = Vec::new();
    const DEPTH: u8 = 9;
    let outer: Vec<u64> = (0..4)
        .map(|_| {
            let started = events.context.request(&a, vec![DEPTH], None);
            events.start(started)
        })
        .collect();
    let mut results = Vec::new();
    let mut open = outer.clone();
    let refused = AtomicBool::new(false);
    let deadline = Instant::now() + Duration::from_secs(3);
    // At 4 callers deep in each other there are more calls than may be open: those wait, and end by their deadline.
    while !open.is_empty() {
        for (at, peer) in [&a, &b].into_iter().enumerate() {
            while let Some(result) = events.take(receives[at]) {
                let Outcome::Message(request) = result.unwrap() else { panic!() };
                let again = events.context.recv(peer, None, None);
                receives[at] = events.start(again);
                let depth = request.payload()[0];
                if depth == 0 {
                    let reply = events.context.reply(&request, vec![0], None);
                    events.start(reply);
                } else {
                    let until = Instant::now() + Duration::from_millis(400);
                    let call = events.context.request(peer, vec![depth - 1], Some(until));
                    nested.push((events.start(call), request));
                }
            }
        }
        let mut still = Vec::new();
        for (call, request) in nested.drain(..) {
            let started = match events.take(call) {
                None => {
                    still.push((call, request));
                    continue;
                }
                Some(Ok(Outcome::Reply(reply))) => {
                    let path = [reply.payload(), request.payload()].map(|b| b.to_vec()).concat();
                    events.context.reply(&request, path, None)
                }
                Some(Ok(other)) => panic!("{other:?}"),
                Some(Err(error)) => {
                    refused.store(true, Ordering::Relaxed);
                    events.context.fail(&request, error.code().number() as u32, b"", None)
                }
            };
            events.start(started);
        }
        nested = still;
        open.retain(|&call| match events.take(call) {
            None => true,
            Some(result) => {
                results.push(result);
                false
            }
        });
        assert!(Instant::now() < deadline + SOON, "it hangs");
        if !open.is_empty() {
            events.turn();
        }
    }
    for result in results {
        match result {
            Ok(Outcome::Reply(reply)) => assert_eq!(reply.payload()[..], (0..=DEPTH).collect::<Vec<u8>>()[..]),
            Ok(other) => panic!("{other:?}"),
            Err(error) => assert_eq!(error.code(), Code::RemoteError),
        }
    }

    // Alone, as deep as there are places.
    let (a, b) = (&a, &b);
    // What handlers and receives still have, on both sides, keeps the places of its calls.
    drop(nested);
    for receive in receives {
        events.context.cancel(receive);
        match events.wait(receive) {
            Err(error) => assert_eq!(error.code(), Code::Cancelled),
            // One whose caller has given it up, on its way until now.
            Ok(late) => assert!(matches!(late, Outcome::Message(_)), "{late:?}"),
        }
    }
    for peer in [a, b] {
        calm_in(&mut events, peer);
    }
    let mut chain = Vec::new();
    let mut from = a;
    for depth in (0..=DEPTH).rev() {
        let call = events.context.request(from, vec![depth], None);
        let call = events.start(call);
        let to = if std::ptr::eq(from, a) { b } else { a };
        chain.push((call, events.recv(to).unwrap()));
        from = to;
    }
    let mut path = Vec::new();
    while let Some((call, request)) = chain.pop() {
        path.push(request.payload()[0]);
        let reply = events.context.reply(&request, &path, None);
        events.start(reply);
        let Outcome::Reply(reply) = events.wait(call).unwrap() else { panic!() };
        assert_eq!(reply.payload()[..], path);
    }
    assert_eq!(path, (0..=DEPTH).collect::<Vec<u8>>());
}

fn calm_in(events: &mut Events, peer: &Peer) {
    let deadline = Instant::now() + SOON;
    loop {
        let stats = peer.stats().unwrap();
        if stats.open_calls == 0 && stats.open_served == 0 {
            return;
        }
        assert!(Instant::now() < deadline, "calls stay open: {stats:?}");
        events.turn_within(Duration::from_millis(10));
    }
}

#[test]
fn at_max_calls_a_nested_call_that_never_left_says_so() {
    let (mut events, place) = (Events::new(), Place::new());
    let (a, b) = events.pair_with(&place, &ConnectOptions::new().max_calls(1), &ListenOptions::new().max_calls(1));
    let outer = events.context.request(&a, b"1", None);
    let outer = events.start(outer);
    let at_b = events.recv(&b).unwrap();
    let middle = events.context.request(&b, b"2", None);
    let middle = events.start(middle);
    let at_a = events.recv(&a).unwrap();
    let inner = events.context.request(&a, b"3", Some(Instant::now() + Duration::from_millis(30)));
    let error = events.finish(inner).unwrap_err();
    assert_eq!((error.code(), error.sent()), (Code::Timeout, Sent::No));
    for (call, request) in [(middle, at_a), (outer, at_b)] {
        let reply = events.context.reply(&request, b"!", None);
        events.finish(reply).unwrap();
        assert!(matches!(events.wait(call).unwrap(), Outcome::Reply(_)));
    }
}

/// What a caller sees of one conversation, as a list.
fn conversation(caller: &Peer, server: &Peer) -> Vec<String> {
    let mut seen = Vec::new();
    let big: Vec<u8> = (0..3_000_000u32).map(|n| (n % 251) as u8).collect();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..8 {
                let request = server.recv_on(Channel::COMMAND, SOON).unwrap();
                let mut payload = request.payload().to_vec();
                payload.reverse();
                request.reply(payload, SOON).unwrap();
            }
        });
        for payload in [&b""[..], b"x", b"abc", &big] {
            let reply = caller.request(payload, SOON).unwrap();
            assert!(reply.payload().iter().rev().eq(payload.iter()));
            seen.push(format!("{} {}", reply.channel(), reply.payload().len()));
        }
        // Several at a time: on level 0 they wait for each other.
        let calls: Vec<_> = (0..4u8).map(|n| caller.start(vec![n, 9]).unwrap()).collect();
        for call in calls {
            seen.push(format!("{:?}", call.wait(SOON).unwrap().payload()));
        }
    });
    // One-way messages of the other channels do not mix with calls.
    server.send(Channel::DATA, b"one way", SOON).unwrap();
    seen.push(format!("{:?}", caller.recv(SOON).unwrap().payload()));
    seen.push(format!("{:?}", caller.request(vec![0; hostlane::limits::MAX_MESSAGE + 1], SOON).unwrap_err().code()));
    let error = caller.request(b"nobody answers", Duration::from_millis(20)).unwrap_err();
    seen.push(format!("{:?} {:?}", error.code(), error.sent()));
    seen
}

#[test]
fn every_pair_of_levels_in_both_roles_gives_the_same_results() {
    let mut all: Vec<(String, Vec<String>)> = Vec::new();
    for connector in [Level::Auto, Level::Zero, Level::One] {
        for acceptor in [Level::Auto, Level::Zero, Level::One] {
            let (connect, listen) = (ConnectOptions::new().level(connector), ListenOptions::new().level(acceptor));
            if matches!((connector, acceptor), (Level::Zero, Level::One) | (Level::One, Level::Zero)) {
                let place = Place::new();
                let address = place.address("a.sock").parse().unwrap();
                let listener = Listener::bind_with(&address, &listen).unwrap();
                std::thread::scope(|scope| {
                    // A server content with level 0 learns only by the end that its client is not.
                    scope.spawn(|| match listener.accept(SOON) {
                        Ok(peer) => assert_eq!(peer.recv(SOON).unwrap_err().code(), Code::PeerClosed),
                        Err(error) => assert_eq!(error.code(), Code::Closed),
                    });
                    let error = Peer::connect_with(&address, &connect, SOON).unwrap_err();
                    assert_eq!(error.code(), Code::VersionMismatch);
                    listener.close();
                });
                continue;
            }
            for from_acceptor in [false, true] {
                let (client, server) = pair_with(&Place::new(), &connect, &listen);
                let level = client.info().unwrap().level;
                assert_eq!(level, u8::from(connector != Level::Zero && acceptor != Level::Zero));
                assert_eq!(server.info().unwrap().level, level);
                let (caller, other) = if from_acceptor { (&server, &client) } else { (&client, &server) };
                let name = format!("{connector:?} to {acceptor:?}, from the acceptor: {from_acceptor}");
                all.push((name, conversation(caller, other)));
                // What becomes of a connection with a call that was given up is the one difference.
                assert_eq!(caller.is_open(), level == 1);
            }
        }
    }
    let (_, first) = &all[0];
    for (name, seen) in &all {
        assert_eq!(seen, first, "{name}");
    }
}

#[test]
fn a_context_and_a_blocking_peer_talk_on_both_levels_in_both_roles() {
    for level in [Level::Zero, Level::One] {
        for calling in [false, true] {
            let place = Place::new();
            let address = place.address("mixed.sock").parse().unwrap();
            let listener = Listener::bind_with(&address, &ListenOptions::new().level(level)).unwrap();
            std::thread::scope(|scope| {
                scope.spawn(|| {
                    let peer = listener.accept(SOON).unwrap();
                    if calling {
                        let request = peer.recv(SOON).unwrap();
                        request.reply(request.payload(), SOON).unwrap();
                    } else {
                        assert_eq!(peer.request(b"from below", SOON).unwrap().payload(), "from below");
                    }
                    assert_eq!(peer.recv(SOON).unwrap_err().code(), Code::PeerClosed);
                });
                let mut events = Events::new();
                let connect = events.context.connect(&address, &ConnectOptions::new().level(level), None);
                let Outcome::Connected(peer) = events.finish(connect).unwrap() else { panic!() };
                if calling {
                    let call = events.context.request(&peer, b"from above", None);
                    assert_eq!(events.reply(call).unwrap().payload(), "from above");
                } else {
                    let request = events.recv(&peer).unwrap();
                    let reply = events.context.reply(&request, request.payload(), None);
                    events.finish(reply).unwrap();
                }
                peer.close();
            });
        }
    }
}

#[test]
fn what_level_0_has_no_form_for_is_refused_and_harms_nothing() {
    let (client, server) = pair_on_level_0(&Place::new());
    for options in [
        CallOptions::new().channel(Channel::DATA),
        CallOptions::new().idempotency_key("k"),
        CallOptions::new().trace("t"),
    ] {
        assert_eq!(client.start_with(b"?", options).unwrap_err().code(), Code::Unsupported);
    }
    assert_eq!(client.open_stream(b"?", CallOptions::new()).unwrap_err().code(), Code::Unsupported);
    let call = client.start(b"?").unwrap();
    let request = server.recv(SOON).unwrap();
    assert!(!request.is_request() && request.call_id().is_none() && request.deadline().is_none());
    assert_eq!(request.fail(1, b"", SOON).unwrap_err().code(), Code::Unsupported);
    request.reply(b"!", SOON).unwrap();
    assert_eq!(call.wait(SOON).unwrap().payload(), "!");
}

#[test]
fn what_goes_with_a_call_arrives_with_it() {
    let (client, server) = pair(&Place::new());
    let deadline = Instant::now() + SOON;
    let options = CallOptions::new().channel(Channel::DATA).deadline(deadline).idempotency_key("key").trace("trace");
    let call = client.start_with(b"?", options).unwrap();
    let request = server.recv(SOON).unwrap();
    assert_eq!(request.channel(), Channel::DATA);
    assert_eq!(request.idempotency_key().unwrap(), "key");
    assert_eq!(request.trace().unwrap(), "trace");
    // Told as a duration and counted from the arrival: never much before, and behind it as long as it was under way.
    let told = request.deadline().unwrap();
    assert!(told + Duration::from_millis(1) >= deadline && told < deadline + SOON / 2);
    request.reply(b"!", SOON).unwrap();
    call.wait(SOON).unwrap();
    for options in [CallOptions::new().trace(vec![0; 65]), CallOptions::new().idempotency_key("")] {
        assert_eq!(client.start_with(b"?", options).unwrap_err().code(), Code::InvalidArgument);
    }
}

#[test]
fn errors_say_what_was_waited_for_and_show_text_as_it_is() {
    let (client, server) = pair(&Place::new());
    let moment = Duration::from_millis(5);
    let text = |error: hostlane::Error| error.message().to_owned();
    assert!(text(client.recv(moment).unwrap_err()).starts_with("no message came"));
    assert!(text(client.request(b"x", moment).unwrap_err()).starts_with("no reply came"));
    let stream = client.open_stream(b"x", CallOptions::new()).unwrap();
    assert!(text(stream.recv(moment).unwrap_err()).starts_with("no item came"));
    let call = client.start(b"x").unwrap();
    let request = loop {
        let request = server.recv(SOON).unwrap();
        if request.stream().is_none() && !request.is_cancelled() {
            break request;
        }
    };
    assert!(text(request.wait_cancelled(moment).unwrap_err()).starts_with("an answer was still wanted"));
    request.fail(7, "he said \"grüß\" isn't\n\u{1b}[2J".as_bytes(), SOON).unwrap();
    let told = text(call.wait(SOON).unwrap_err());
    assert!(told.ends_with(r#": he said "grüß" isn't\n\u{1b}[2J"#), "{told}");

    #[cfg(unix)]
    for address in [Place::new().address("absent"), "tcp:127.0.0.1:1".to_owned()] {
        let address = address.parse().unwrap();
        let options = ConnectOptions::new().secret(hostlane::Secret::new("s").unwrap());
        let refused = text(Peer::connect_with(&address, &options, SOON).unwrap_err());
        assert!(refused.starts_with("nobody serves "), "{refused}");
    }
}
