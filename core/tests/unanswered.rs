//! Calls without their answer: out of time, given up, let go, too late. Each ends once, whoever serves it is told, and
//! the next gets its own reply.
// Some of what is used here is for the tests that need more of the system than a pipe.
#![cfg_attr(windows, allow(unused_imports, dead_code))]

mod common;

#[cfg(unix)]
use std::os::unix::net::UnixListener;
use std::time::{Duration, Instant};

#[cfg(unix)]
use common::bytes::{CANCEL, ERROR, REQUEST, RESPONSE, Raw1, WHOLE};
use common::events::Events;
use common::{Closing, Dice, Place, SOON, calm, pair, until};
use hostlane::{Batch, Call, CallOptions, Channel, Code, ConnectOptions, Listener, Message, Outcome, Peer, Sent, Wait};

/// How close to its deadline a call ended: never before it, and on a machine that does something else besides at
/// least now and then within 20 ms.
fn punctual(limit: Duration, took: &mut [Duration]) {
    took.sort();
    assert!(took[0] >= limit, "{:?} is before the deadline of {limit:?}", took[0]);
    assert!(took[took.len() / 4] <= limit + Duration::from_millis(20), "{took:?} for {limit:?}");
}

#[test]
fn a_call_ends_at_its_deadline_and_the_next_gets_its_own_reply() {
    let (client, server) = pair(&Place::new());
    let limit = Duration::from_millis(40);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // The answer to each silent call is tried behind the request that follows it.
            let mut held: Vec<Message> = Vec::new();
            while let Ok(message) = server.recv(SOON) {
                if message.payload() == "silence" {
                    held.push(message);
                    continue;
                }
                for late in held.drain(..) {
                    assert_eq!(late.reply(b"late", SOON).unwrap_err().code(), Code::CallEnded);
                }
                message.reply(message.payload(), SOON).unwrap();
            }
        });
        let _closing = Closing(&client);
        let mut took: Vec<Duration> = (0..16u32)
            .map(|n| {
                let start = Instant::now();
                let error = client.request(b"silence", limit).unwrap_err();
                let took = start.elapsed();
                assert_eq!((error.code(), error.sent()), (Code::Timeout, Sent::Maybe));
                let own = n.to_le_bytes().to_vec();
                assert_eq!(client.request(own.clone(), SOON).unwrap().payload(), &own);
                took
            })
            .collect();
        punctual(limit, &mut took);
        let stats = client.stats().unwrap();
        assert_eq!((stats.calls_cancelled, stats.open_calls), (16, 0));
    });
}

#[test]
fn a_call_of_a_context_ends_at_its_deadline_and_the_next_gets_its_own_reply() {
    let (mut events, place) = (Events::new(), Place::new());
    let (client, server) = events.pair(&place);
    let limit = Duration::from_millis(40);
    let mut took: Vec<Duration> = (0..16u32)
        .map(|n| {
            let start = Instant::now();
            let silent = events.context.request(&client, b"silence", Some(start + limit));
            let silent = events.start(silent);
            let held = events.recv(&server).unwrap();
            let error = events.wait(silent).unwrap_err();
            let took = start.elapsed();
            assert_eq!((error.code(), error.sent()), (Code::Timeout, Sent::Maybe));
            let own = n.to_le_bytes().to_vec();
            let next = events.context.request(&client, &own, None);
            let next = events.start(next);
            let request = events.recv(&server).unwrap();
            let late = events.context.reply(&held, b"late", None);
            assert_eq!(events.finish(late).unwrap_err().code(), Code::CallEnded);
            let reply = events.context.reply(&request, request.payload(), None);
            events.finish(reply).unwrap();
            let Outcome::Reply(reply) = events.wait(next).unwrap() else { panic!() };
            assert_eq!(reply.payload(), &own);
            took
        })
        .collect();
    punctual(limit, &mut took);
}

#[test]
fn a_reply_in_the_moment_of_the_deadline_answers_its_own_call_or_none() {
    const ROUNDS: u32 = 400;
    let (client, server) = pair(&Place::new());
    let limit = Duration::from_millis(2);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut dice = Dice(3);
            while let Ok(message) = server.recv(SOON) {
                let Some(deadline) = message.deadline() else { break };
                // From a little before the deadline to a little behind it; the caller's clock began earlier.
                let at = deadline - Duration::from_micros(300) + Duration::from_micros(dice.roll() % 400);
                while Instant::now() < at {
                    std::hint::spin_loop();
                }
                match message.reply(message.payload(), SOON) {
                    Ok(()) => {}
                    // The other code is that of the very last one.
                    Err(error) => assert!(matches!(error.code(), Code::CallEnded | Code::ConnectionLost), "{error}"),
                }
            }
        });
        let _closing = Closing(&client);
        let (mut answered, mut late) = (0, 0);
        for n in 0..ROUNDS {
            match client.request(n.to_le_bytes().to_vec(), limit) {
                Ok(reply) => {
                    assert_eq!(reply.payload(), &n.to_le_bytes()[..]);
                    answered += 1;
                }
                Err(error) => {
                    assert_eq!(error.code(), Code::Timeout);
                    late += 1;
                }
            }
        }
        assert_eq!(answered + late, ROUNDS);
        assert!(client.is_open());
        calm(&client);
        let stats = client.stats().unwrap();
        assert_eq!(stats.calls, u64::from(ROUNDS));
        assert!(stats.late <= stats.calls_cancelled && stats.calls_cancelled <= late.into());
    });
}

/// A client of hostlane, connected to a server of bytes.
#[cfg(unix)]
fn with_raw_server(limits: &str, options: &ConnectOptions) -> (Peer, Raw1, Place) {
    let place = Place::new();
    let listener = UnixListener::bind(place.path("raw.sock")).unwrap();
    let address = place.address("raw.sock").parse().unwrap();
    std::thread::scope(|scope| {
        let raw = scope.spawn(|| Raw1::accept(&listener, "", limits));
        let peer = Peer::connect_with(&address, options, SOON).unwrap();
        (peer, raw.join().unwrap(), place)
    })
}

#[cfg(unix)]
#[test]
fn a_deadline_that_the_other_side_notices_first_counts_the_same() {
    let (client, mut raw, _place) = with_raw_server("", &ConnectOptions::new());
    let timed_out = [&Code::Timeout.number().to_le_bytes()[..], b"its time is over"].concat();
    std::thread::scope(|scope| {
        let options = CallOptions::new().deadline(Instant::now() + SOON);
        let call = scope.spawn(|| client.request_with(b"?", options, Wait::forever()).unwrap_err());
        let id = raw.next(REQUEST).id;
        raw.send(ERROR, 0, 0, id, &timed_out);
        let error = call.join().unwrap();
        assert_eq!((error.code(), error.sent()), (Code::Timeout, Sent::Maybe));
        assert_eq!(client.stats().unwrap().calls_cancelled, 1);
        // Nobody waits for it any more: nothing new is over.
        raw.send(ERROR, 0, 0, id, &timed_out);
        until("the stray was read", || {
            let _ = client.recv_on(Channel::DATA, Wait::none());
            client.stats().unwrap().late == 1
        });
        assert_eq!(client.stats().unwrap().calls_cancelled, 1);
    });
}

#[cfg(unix)]
#[test]
fn answers_for_dead_ids_are_dropped_and_ids_are_never_used_again() {
    let (client, mut raw, _place) = with_raw_server("", &ConnectOptions::new());
    let mut last = None;
    for round in 0..50u64 {
        // Timed out, dropped, answered: whatever became of it, its id is gone.
        let error = client.request(b"silence", Duration::from_millis(1)).unwrap_err();
        assert_eq!(error.code(), Code::Timeout);
        drop(client.start(b"dropped").unwrap());
        let (timed_out, dropped) = (raw.next(REQUEST), raw.next(REQUEST));
        for id in [timed_out.id, dropped.id] {
            assert!(id % 2 == 1 && last.is_none_or(|last| id > last), "{id} behind {last:?}");
            last = Some(id);
            // These cross the CANCEL, or come long behind it, or come twice.
            raw.send(RESPONSE, WHOLE, 1, id, b"somebody else's");
            raw.send(ERROR, 0, 0, id, &514u32.to_le_bytes());
        }
        std::thread::scope(|scope| {
            let call = scope.spawn(|| client.request(b"alive", SOON).unwrap());
            let request = raw.next(REQUEST);
            assert!(request.id > dropped.id);
            last = Some(request.id);
            raw.send(RESPONSE, WHOLE, 1, request.id, b"its own");
            raw.send(RESPONSE, WHOLE, 1, request.id, b"again");
            assert_eq!(call.join().unwrap().payload(), "its own");
        });
        until("the strays were read", || {
            let _ = client.recv_on(Channel::DATA, Wait::none());
            client.stats().unwrap().late == 5 * (round + 1)
        });
    }
    assert_eq!(client.stats().unwrap().calls_cancelled, 100);
    assert!(client.is_open());
}

#[cfg(unix)]
#[test]
fn a_cancel_that_crosses_a_response_is_late_and_harms_nothing() {
    let place = Place::new();
    let listener = Listener::bind(&place.address("a.sock")).unwrap();
    std::thread::scope(|scope| {
        let raw = scope.spawn(|| Raw1::connect(&place.address("a.sock"), "", ""));
        let server = listener.accept(SOON).unwrap();
        let mut raw = raw.join().unwrap();
        for id in [1u64, 3, 5] {
            raw.send(REQUEST, WHOLE, 1, id, b"?");
            server.recv(SOON).unwrap().reply(b"!", SOON).unwrap();
            assert_eq!(raw.next(RESPONSE).id, id);
            raw.send(CANCEL, 0, 0, id, b"");
        }
        raw.send(REQUEST, WHOLE, 1, 7, b"?");
        let message = server.recv(SOON).unwrap();
        assert_eq!(server.stats().unwrap().late, 3);
        // And one that arrives while the answer is on its way to the kernel.
        raw.send(CANCEL, 0, 0, 7, b"");
        message.wait_cancelled(SOON).unwrap();
        assert_eq!(message.reply(b"!", SOON).unwrap_err().code(), Code::CallEnded);
        raw.send(REQUEST, WHOLE, 1, 9, b"?");
        server.recv(SOON).unwrap().reply(b"still there", SOON).unwrap();
        assert_eq!(raw.next(RESPONSE).payload, b"still there");
    });
}

#[test]
fn whoever_serves_is_told_that_nobody_waits_any_more() {
    // A call that is still there.
    type End = fn(&Peer, &Peer) -> Option<Call>;
    let ends: [(&str, End); 4] = [
        ("dropped", |client, _| {
            drop(client.start(b"?").unwrap());
            None
        }),
        ("timed out", |client, _| {
            assert_eq!(client.request(b"?", Duration::from_millis(20)).unwrap_err().code(), Code::Timeout);
            None
        }),
        ("its deadline passed here", |client, _| {
            let options = CallOptions::new().deadline(Instant::now() + Duration::from_millis(20));
            // The caller does nothing at all: it neither waits nor cancels.
            Some(client.start_with(b"?", options).unwrap())
        }),
        ("closed", |client, server| {
            let call = client.start(b"?").unwrap();
            until("it arrived", || {
                let _ = server.recv_on(Channel::DATA, Wait::none());
                server.stats().unwrap().calls_served == 1
            });
            client.close();
            assert_eq!(call.wait(SOON).unwrap_err().code(), Code::Closed);
            None
        }),
    ];
    for (name, end) in ends {
        let (client, server) = pair(&Place::new());
        std::thread::scope(|scope| {
            let serving = scope.spawn(|| {
                let request = server.recv(SOON).unwrap();
                request.wait_cancelled(SOON).unwrap();
                assert!(request.is_cancelled(), "{name}");
                request.wait_cancelled(SOON).unwrap();
                request.reply(b"too late", SOON).unwrap_err().code()
            });
            let kept = end(&client, &server);
            let code = serving.join().unwrap();
            drop(kept);
            assert!(matches!(code, Code::CallEnded | Code::ConnectionLost), "{name}: {code:?}");
        });
    }

    // Looking alone notices too, and neither a living call nor a one-way message is cancelled.
    let (client, server) = pair(&Place::new());
    let call = client.start(b"?").unwrap();
    let request = server.recv(SOON).unwrap();
    assert!(!request.is_cancelled());
    assert_eq!(request.wait_cancelled(Duration::from_millis(10)).unwrap_err().code(), Code::Timeout);
    drop(call);
    until("it is noticed without a wait", || request.is_cancelled());
    client.send(Channel::DATA, b"one way", SOON).unwrap();
    let message = server.recv(SOON).unwrap();
    assert!(!message.is_cancelled());
    assert_eq!(message.wait_cancelled(SOON).unwrap_err().code(), Code::InvalidArgument);
}

#[test]
fn a_context_is_told_that_nobody_waits_any_more() {
    let (mut events, place) = (Events::new(), Place::new());
    let (client, server) = events.pair(&place);
    let now = Instant::now();
    let call = |events: &mut Events, deadline: Option<Duration>| {
        let started = events.context.request(&client, b"?", deadline.map(|d| now + d));
        let call = events.start(started);
        let request = events.recv(&server).unwrap();
        let watch = events.context.call_ended(&request, None);
        let watch = events.start(watch);
        (call, request, watch)
    };
    // Cancelled, timed out, answered by somebody else, and given up.
    let (call_a, request_a, watch_a) = call(&mut events, None);
    let (call_b, request_b, watch_b) = call(&mut events, Some(Duration::from_millis(30)));
    let (call_c, request_c, watch_c) = call(&mut events, None);
    let (_, _request_d, watch_d) = call(&mut events, None);
    events.context.cancel(call_a);
    assert!(matches!(events.wait(watch_a).unwrap(), Outcome::CallEnded));
    assert_eq!(events.wait(call_a).unwrap_err().code(), Code::Cancelled);
    assert!(matches!(events.wait(watch_b).unwrap(), Outcome::CallEnded));
    assert_eq!(events.wait(call_b).unwrap_err().code(), Code::Timeout);
    let reply = events.context.reply(&request_c, b"!", None);
    events.finish(reply).unwrap();
    assert!(matches!(events.wait(watch_c).unwrap(), Outcome::CallEnded));
    assert!(matches!(events.wait(call_c).unwrap(), Outcome::Reply(_)));
    events.context.cancel(watch_d);
    assert_eq!(events.wait(watch_d).unwrap_err().code(), Code::Cancelled);
    assert!(request_a.is_cancelled() && request_b.is_cancelled() && request_c.is_cancelled());
}

#[test]
fn a_request_let_go_without_an_answer_is_abandoned() {
    let (client, server) = pair(&Place::new());
    let abandoned = |call: hostlane::Call| {
        let error = call.wait(SOON).unwrap_err();
        assert_eq!((error.code(), error.sent()), (Code::CallAbandoned, Sent::Maybe));
    };
    let call = client.start(b"dropped").unwrap();
    drop(server.recv(SOON).unwrap());
    abandoned(call);
    let call = client.start(b"its payload was taken").unwrap();
    assert_eq!(server.recv(SOON).unwrap().into_payload(), "its payload was taken");
    abandoned(call);

    // A clone keeps the duty.
    let call = client.start(b"kept").unwrap();
    let request = server.recv(SOON).unwrap();
    let clone = request.clone();
    drop(request);
    clone.reply(b"answered", SOON).unwrap();
    assert_eq!(call.wait(SOON).unwrap().payload(), "answered");

    // Of a batch: what was never taken out.
    let calls = [client.start(b"0").unwrap(), client.start(b"1").unwrap()];
    let mut batch = Batch::new();
    while batch.len() < 2 {
        assert!(batch.is_empty(), "both were sent before the batch was asked for");
        until("both are there", || {
            let _ = server.recv_on(Channel::DATA, Wait::none());
            server.stats().unwrap().receive_queue.messages == 2
        });
        server.recv_batch(&mut batch, 10, SOON).unwrap();
    }
    let taken = batch.iter().nth(1).unwrap().to_message().unwrap();
    drop(batch);
    let [first, second] = calls;
    abandoned(first);
    taken.reply(b"taken out", SOON).unwrap();
    assert_eq!(second.wait(SOON).unwrap().payload(), "taken out");

    // A thread that panics lets go too.
    let call = client.start(b"panic").unwrap();
    std::thread::scope(|scope| {
        let handler = scope.spawn(|| {
            let _request = server.recv(SOON).unwrap();
            std::panic::resume_unwind(Box::new("a handler that fails"));
        });
        assert!(handler.join().is_err());
    });
    abandoned(call);
    calm(&client);
    calm(&server);
}

#[test]
fn calls_without_any_time_end_at_once_and_leave_nothing_behind() {
    let (client, server) = pair(&Place::new());
    for _ in 0..20 {
        assert_eq!(client.request(b"?", Wait::none()).unwrap_err().code(), Code::Timeout);
    }
    // Whoever is handed one finds that it is over; most are never handed out.
    while let Ok(request) = server.recv(Duration::from_millis(20)) {
        request.wait_cancelled(SOON).unwrap();
    }
    calm(&client);
    calm(&server);
    assert!(client.is_open() && server.is_open());
}
