//! The context driver, as an event loop uses it: poll the descriptor, process, poll again.
#![cfg(unix)]

mod common;

use std::collections::HashMap;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use common::{HELLO, Place, Raw, SOON, frame, pair};
use hostlane::{
    Address, CallOptions, Channel, Code, Completion, ConnectOptions, Context, Listener, Outcome, Peer, Progress,
    Result, Started,
};
use rustix::event::{PollFd, PollFlags, Timespec, epoll, poll};

fn readable(context: &Context, limit: Duration) -> bool {
    let timeout = Timespec { tv_sec: limit.as_secs() as i64, tv_nsec: limit.subsec_nanos().into() };
    let fd = context.as_fd();
    poll(&mut [PollFd::from_borrowed_fd(fd, PollFlags::IN)], Some(&timeout)).unwrap() == 1
}

/// An event loop that waits only by polling the descriptor.
struct Loop {
    context: Context,
    done: HashMap<u64, Result<Outcome>>,
}

impl Loop {
    fn new() -> Loop {
        Loop { context: Context::new().unwrap(), done: HashMap::new() }
    }

    fn turn(&mut self) {
        assert!(readable(&self.context, SOON), "the descriptor never became readable");
        loop {
            let mut out: Vec<Completion> = Vec::new();
            let progress = self.context.process(3, &mut out).unwrap();
            assert!(out.len() <= 3);
            for completion in out {
                assert!(self.done.insert(completion.op, completion.result).is_none(), "completed twice");
            }
            if progress == Progress::Wait {
                return;
            }
            assert!(readable(&self.context, Duration::ZERO), "MORE was lost");
        }
    }

    fn finish(&mut self, started: Result<Started>) -> Result<Outcome> {
        match started? {
            Started::Done(outcome) => Ok(outcome),
            Started::Pending(op) => loop {
                if let Some(result) = self.done.remove(&op) {
                    return result;
                }
                self.turn();
            },
        }
    }

    fn pair(&mut self, place: &Place) -> (Peer, Peer, Listener) {
        let address: Address = place.address("a.sock").parse().unwrap();
        let listener = Listener::bind_with(&address, &Default::default()).unwrap();
        let Started::Pending(accept) = self.context.accept(&listener, None).unwrap() else { panic!() };
        let connect = self.context.connect(&address, &ConnectOptions::new(), None);
        let Outcome::Connected(client) = self.finish(connect).unwrap() else { panic!() };
        let Outcome::Accepted(server) = self.finish(Ok(Started::Pending(accept))).unwrap() else { panic!() };
        (client, server, listener)
    }

    fn recv(&mut self, peer: &Peer) -> Result<hostlane::Message> {
        let started = self.context.recv(peer, None, None);
        match self.finish(started)? {
            Outcome::Message(message) => Ok(message),
            other => panic!("{other:?}"),
        }
    }
}

fn code(result: Result<Outcome>) -> Code {
    result.expect_err("it ended badly").code()
}

#[test]
fn both_ends_in_one_context() {
    let (mut driver, place) = (Loop::new(), Place::new());
    let (client, server, _listener) = driver.pair(&place);
    for size in [0, 64, 5000, 300_000, 16 << 20] {
        let payload = vec![size as u8; size];
        let request = driver.context.request(&client, &payload, None);
        let message = driver.recv(&server).unwrap();
        let reply = driver.context.reply(&message, message.payload(), None);
        driver.finish(reply).unwrap();
        let Outcome::Reply(answer) = driver.finish(request).unwrap() else { panic!() };
        assert!(answer.payload() == &payload);
    }
    let options = CallOptions::new().channel(Channel::DATA);
    let request = driver.context.request_with(&client, "on DATA", options, None);
    let message = driver.recv(&server).unwrap();
    let reply = driver.context.reply(&message, "answered there", None);
    driver.finish(reply).unwrap();
    let Outcome::Reply(answer) = driver.finish(request).unwrap() else { panic!() };
    assert_eq!((answer.channel(), &answer.payload()[..]), (Channel::DATA, &b"answered there"[..]));
    let ping = driver.context.ping(&client, None);
    assert!(matches!(driver.finish(ping).unwrap(), Outcome::Pong(rtt) if rtt < SOON));
    assert!(!readable(&driver.context, Duration::ZERO), "an idle context has nothing to do");
}

#[test]
fn pings_are_answered_although_the_application_receives_nothing() {
    let (mut driver, place) = (Loop::new(), Place::new());
    let address: Address = place.address("a.sock").parse().unwrap();
    let listener = Listener::bind_with(&address, &Default::default()).unwrap();
    let accept = driver.context.accept(&listener, None);
    let mut raw = Raw::connect(&place.address("a.sock"));
    raw.write(&frame(0, HELLO));
    let Outcome::Accepted(_server) = driver.finish(accept).unwrap() else { panic!() };
    assert_eq!(raw.frame().unwrap().0, 0);
    raw.write(&frame(0, br#"{"type":"ping"}"#));
    driver.turn();
    assert_eq!(raw.frame().unwrap(), (0, br#"{"type":"pong"}"#.to_vec()));
}

#[test]
fn deadlines_come_by_themselves() {
    let (mut driver, place) = (Loop::new(), Place::new());
    let (client, server, listener) = driver.pair(&place);
    let start = Instant::now();
    let limit = |ms| Some(start + Duration::from_millis(ms));
    let later = driver.context.recv(&server, None, limit(120));
    let sooner = driver.context.recv(&client, Some(Channel::DATA), limit(40));
    let accept = driver.context.accept(&listener, limit(80));
    assert_eq!(code(driver.finish(sooner)), Code::Timeout);
    assert!(start.elapsed() >= Duration::from_millis(40));
    assert_eq!(code(driver.finish(accept)), Code::Timeout);
    assert!(start.elapsed() >= Duration::from_millis(80));
    assert_eq!(code(driver.finish(later)), Code::Timeout);
    assert!(start.elapsed() >= Duration::from_millis(120) && start.elapsed() < SOON / 2);
    let sent = driver.context.send(&client, Channel::DATA, b"fine", None);
    driver.finish(sent).unwrap();
    assert_eq!(driver.recv(&server).unwrap().payload(), "fine");
}

#[test]
fn timers_do_not_pile_up() {
    let (mut driver, place) = (Loop::new(), Place::new());
    let (client, server, _listener) = driver.pair(&place);
    let far = driver.context.recv(&server, None, Some(Instant::now() + Duration::from_millis(400)));
    for _ in 0..50 {
        let near = driver.context.recv(&client, None, Some(Instant::now() + Duration::from_millis(2)));
        assert_eq!(code(driver.finish(near)), Code::Timeout);
    }
    // What is left is the far deadline alone: the loop wakes for it and for nothing before it.
    let mut turns = 0;
    let Started::Pending(far) = far.unwrap() else { panic!() };
    while !driver.done.contains_key(&far) {
        driver.turn();
        turns += 1;
    }
    assert!(turns <= 3, "{turns} turns for one deadline");
}

#[test]
fn a_silent_client_is_closed_by_the_timer_alone() {
    let (mut driver, place) = (Loop::new(), Place::new());
    let address: Address = place.address("a.sock").parse().unwrap();
    let options = hostlane::ListenOptions::new().handshake_timeout(Duration::from_millis(50));
    let listener = Listener::bind_with(&address, &options).unwrap();
    driver.context.accept(&listener, None).unwrap();
    let mut raw = Raw::connect(&place.address("a.sock"));
    while listener.stats().unwrap().refused.is_empty() {
        driver.turn();
    }
    assert!(String::from_utf8(raw.frame().unwrap().1).unwrap().contains("timeout"));
    raw.closed();
}

#[test]
fn cancel_completes_once_and_only_what_is_pending() {
    let (mut driver, place) = (Loop::new(), Place::new());
    let (client, server, listener) = driver.pair(&place);
    let Started::Pending(recv) = driver.context.recv(&client, None, None).unwrap() else { panic!() };
    let Started::Pending(accept) = driver.context.accept(&listener, None).unwrap() else { panic!() };
    for op in [recv, accept] {
        driver.context.cancel(op);
        driver.context.cancel(op);
        assert_eq!(code(driver.finish(Ok(Started::Pending(op)))), Code::Cancelled);
        driver.context.cancel(op);
    }
    driver.context.cancel(123_456_789);
    let sent = driver.context.send(&server, Channel::DATA, b"not swallowed", None);
    driver.finish(sent).unwrap();
    assert_eq!(driver.recv(&client).unwrap().payload(), "not swallowed");
}

#[test]
fn close_from_elsewhere_wakes_the_loop() {
    let (mut driver, place) = (Loop::new(), Place::new());
    let (client, server, listener) = driver.pair(&place);
    let recv = driver.context.recv(&client, None, None);
    let request = driver.context.request(&client, b"?", None);
    let accept = driver.context.accept(&listener, None);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            client.close();
            listener.close();
        });
        assert_eq!(code(driver.finish(recv)), Code::Closed);
        assert_eq!(code(driver.finish(request)), Code::Closed);
        assert_eq!(code(driver.finish(accept)), Code::Closed);
    });
    // The request went with its caller.
    assert_eq!(driver.recv(&server).unwrap_err().code(), Code::PeerClosed);
    assert!(!readable(&driver.context, Duration::ZERO), "an ended connection must not keep the loop busy");
}

#[test]
fn an_ended_peer_nobody_receives_from_does_not_keep_the_loop_busy() {
    let (mut driver, place) = (Loop::new(), Place::new());
    let (client, server, _listener) = driver.pair(&place);
    let sent = driver.context.send(&client, Channel::DATA, b"last", None);
    driver.finish(sent).unwrap();
    drop(client);
    while readable(&driver.context, Duration::from_millis(50)) {
        driver.turn();
    }
    assert_eq!(driver.recv(&server).unwrap().payload(), "last");
    assert_eq!(driver.recv(&server).unwrap_err().code(), Code::PeerClosed);
}

#[test]
fn one_driver_each() {
    let (mut driver, place) = (Loop::new(), Place::new());
    let (client, _server, listener) = driver.pair(&place);
    assert_eq!(client.recv(SOON).unwrap_err().code(), Code::WrongDriver);
    assert_eq!(client.send(Channel::DATA, b"", SOON).unwrap_err().code(), Code::WrongDriver);
    assert_eq!(client.start(b"").unwrap_err().code(), Code::WrongDriver);
    assert_eq!(listener.accept(SOON).unwrap_err().code(), Code::WrongDriver);
    let other = Context::new().unwrap();
    assert_eq!(other.recv(&client, None, None).unwrap_err().code(), Code::WrongDriver);
    assert_eq!(other.accept(&listener, None).unwrap_err().code(), Code::WrongDriver);
    let place = Place::new();
    let (direct, _other_end) = pair(&place);
    assert_eq!(driver.context.recv(&direct, None, None).unwrap_err().code(), Code::WrongDriver);
    assert!(client.info().is_ok() && client.stats().is_ok());
}

#[test]
fn closing_the_context_ends_what_it_drives() {
    let (mut driver, place) = (Loop::new(), Place::new());
    let (client, server, listener) = driver.pair(&place);
    let recv = driver.context.recv(&client, None, None);
    driver.context.close();
    driver.context.close();
    assert_eq!(code(driver.finish(recv)), Code::Closed);
    assert!(readable(&driver.context, Duration::ZERO), "whoever polls a closed context has to find out");
    assert_eq!(driver.context.next(SOON).unwrap_err().code(), Code::Closed);
    assert!(readable(&driver.context, Duration::ZERO), "whoever polls a closed context has to find out");
    assert_eq!(driver.context.recv(&server, None, None).unwrap_err().code(), Code::Closed);
    assert!(matches!(driver.context.accept(&listener, None), Err(e) if e.code() == Code::Closed));
    let address: Address = place.address("a.sock").parse().unwrap();
    assert!(
        matches!(driver.context.connect(&address, &ConnectOptions::new(), None), Err(e) if e.code() == Code::Closed)
    );
}

#[test]
fn closing_the_context_wakes_who_waits_for_it() {
    let context = Context::new().unwrap();
    std::thread::scope(|scope| {
        let waiters: Vec<_> = (0..3).map(|_| scope.spawn(|| context.next(SOON).unwrap_err().code())).collect();
        context.close();
        assert!(waiters.into_iter().all(|w| w.join().unwrap() == Code::Closed));
    });
}

#[test]
fn a_full_backlog_is_waited_out() {
    let place = Place::new();
    let address: Address = place.address("a.sock").parse().unwrap();
    let listener = Listener::bind_with(&address, &hostlane::ListenOptions::new().backlog(1)).unwrap();
    let mut driver = Loop::new();
    let start = Instant::now();
    let pending: Vec<_> =
        (0..6).map(|_| driver.context.connect(&address, &ConnectOptions::new(), None).unwrap()).collect();
    let hopeless =
        driver.context.connect(&address, &ConnectOptions::new(), Some(start + Duration::from_millis(60))).unwrap();
    assert_eq!(code(driver.finish(Ok(hopeless))), Code::Timeout);
    let accepting = Context::new().unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut peers = Vec::new();
            while peers.len() < 6 {
                accepting.accept(&listener, None).unwrap();
                if let Ok(Completion { result: Ok(Outcome::Accepted(peer)), .. }) = accepting.next(SOON) {
                    peers.push(peer);
                }
            }
        });
        for started in pending {
            assert!(matches!(driver.finish(Ok(started)), Ok(Outcome::Connected(_))));
        }
    });
}

#[test]
fn a_thousand_operations_on_one_peer_complete_once_each_and_in_order() {
    let (mut driver, place) = (Loop::new(), Place::new());
    let (client, server, _listener) = driver.pair(&place);
    let pending = |started: Result<Started>| match started.unwrap() {
        Started::Pending(op) => op,
        other => panic!("{other:?}"),
    };
    let receives: Vec<u64> = (0..1000).map(|_| pending(driver.context.recv(&server, None, None))).collect();
    for n in 0..1000u32 {
        let sent = driver.context.send(&client, Channel::DATA, &n.to_le_bytes(), None);
        driver.finish(sent).unwrap();
    }
    for (n, op) in receives.into_iter().enumerate() {
        let Outcome::Message(message) = driver.finish(Ok(Started::Pending(op))).unwrap() else { panic!() };
        assert_eq!(message.payload()[..], (n as u32).to_le_bytes());
    }
}

#[test]
fn a_batch_is_done_when_all_of_it_left_and_order_holds() {
    let (mut driver, place) = (Loop::new(), Place::new());
    let (client, server, _listener) = driver.pair(&place);
    // More than the credit, the socket and a gathered write hold together, with a large one in between.
    let mut payloads: Vec<Vec<u8>> = (0..120_000u32).map(|n| n.to_le_bytes().to_vec()).collect();
    payloads[60_000] = vec![7; 600_000];
    let batch = driver.context.send_batch(&client, Channel::DATA, payloads.iter().map(Vec::as_slice), None).unwrap();
    let Started::Pending(batch) = batch else { panic!("nobody has read yet") };
    let last = driver.context.send(&client, Channel::DATA, b"last", None).unwrap();
    let mut received = hostlane::Batch::new();
    let mut next = 0;
    while next < payloads.len() {
        let readable = driver.context.readable(&server, None);
        assert!(matches!(driver.finish(readable).unwrap(), Outcome::Readable));
        server.try_recv_bytes(&mut received, 1000, 10_000).unwrap();
        assert!(received.len() <= 1000);
        let last = received.iter().last().map_or(0, |m| m.payload().len());
        assert!(received.bytes() - last <= 10_000);
        for message in received.iter().take(payloads.len() - next) {
            assert!(message.payload() == payloads[next], "{next}");
            next += 1;
        }
    }
    received.clear();
    assert!(received.is_empty());
    assert!(matches!(driver.finish(Ok(Started::Pending(batch))).unwrap(), Outcome::Sent));
    driver.finish(Ok(last)).unwrap();
    let empty = driver.context.send_batch(&client, Channel::DATA, [], None);
    driver.finish(empty).unwrap();
    let large = vec![0; (16 << 20) + 1];
    let refused = driver.context.send_batch(&client, Channel::DATA, [&b"a"[..], &large], None);
    assert_eq!(code(driver.finish(refused)), Code::PayloadTooLarge);
}

#[test]
fn what_ends_in_a_batch_is_told_without_the_descriptor() {
    let (mut driver, place) = (Loop::new(), Place::new());
    let (client, server, _listener) = driver.pair(&place);
    let mut done = Vec::new();
    let ops = driver
        .context
        .batch(10, &mut done, || {
            let cork = driver.context.cork(&client);
            let ops: Vec<_> =
                (0..3u8).map(|n| driver.context.send(&client, Channel::DATA, &[n], None).unwrap()).collect();
            drop(cork);
            ops
        })
        .unwrap();
    let ids: Vec<_> = ops.iter().map(|op| matches!(op, Started::Pending(_))).collect();
    assert_eq!(ids, [true; 3], "under a context's cork a send ends when it has left");
    assert!(done.len() == 3 && done.iter().all(|c| matches!(c.result, Ok(Outcome::Sent))));
    for n in 0..3 {
        assert_eq!(driver.recv(&server).unwrap().payload()[..], [n]);
    }
    // What finds no room in the answer rings.
    let mut done = Vec::new();
    driver
        .context
        .batch(1, &mut done, || {
            let _cork = driver.context.cork(&client);
            (0..3u8).for_each(|n| drop(driver.context.send(&client, Channel::DATA, &[n], None).unwrap()));
        })
        .unwrap();
    assert_eq!(done.len(), 1);
    assert!(readable(&driver.context, Duration::ZERO));
}

#[test]
fn a_refused_answer_leaves_the_duty_to_answer() {
    let (mut driver, place) = (Loop::new(), Place::new());
    let (client, server, _listener) = driver.pair(&place);
    let request = driver.context.request(&client, b"big", None);
    let mut message = driver.recv(&server).unwrap();
    assert_eq!(message.take_payload(), "big");
    let refused = driver.context.reply(&message, vec![0; (16 << 20) + 1], None);
    assert_eq!(code(driver.finish(refused)), Code::PayloadTooLarge);
    drop(message);
    assert_eq!(code(driver.finish(request)), Code::CallAbandoned);
}

#[test]
fn a_batch_keeps_what_goes_with_a_request() {
    let (mut driver, place) = (Loop::new(), Place::new());
    let (client, server, _listener) = driver.pair(&place);
    let options = hostlane::CallOptions::new().trace("path").idempotency_key("key");
    let request = driver.context.request_with(&client, b"q", options, None);
    let readable = driver.context.readable(&server, None);
    driver.finish(readable).unwrap();
    let mut batch = hostlane::Batch::new();
    server.try_recv_batch(&mut batch, 10).unwrap();
    let message = batch.iter().next().unwrap();
    assert_eq!(message.trace().unwrap(), "path");
    let call = message.to_request().unwrap();
    assert_eq!((call.trace().unwrap(), call.idempotency_key().unwrap()), (&"path".into(), &"key".into()));
    assert!(call.payload().is_empty());
    let reply = driver.context.reply(&call, b"a", None);
    driver.finish(reply).unwrap();
    assert!(matches!(driver.finish(request).unwrap(), Outcome::Reply(m) if m.payload() == "a"));
}

#[test]
fn an_edge_triggered_loop_that_takes_one_at_a_time_misses_nothing() {
    const MESSAGES: u32 = 20_000;
    let place = Place::new();
    let mut events = Loop::new();
    let (client, server, _listener) = events.pair(&place);
    let outer = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
    let edge = epoll::EventFlags::IN | epoll::EventFlags::ET;
    epoll::add(&outer, &events.context, epoll::EventData::new_u64(0), edge).unwrap();
    // Both ends are in the context: what one sends wakes the other, in the middle of its turn too.
    let mut sent = 0u32;
    let mut next = 0u32;
    let mut waiting = None;
    let mut done = HashMap::new();
    while next < MESSAGES {
        // Bursts of changing size, the last of which leave the descriptor quiet for a moment.
        while sent < MESSAGES && sent - next < 1 + sent % 7 {
            match events.context.send(&client, Channel::DATA, sent.to_le_bytes().to_vec(), Some(Instant::now() + SOON))
            {
                Ok(Started::Done(_)) => {}
                other => panic!("a small send had to wait: {other:?}"),
            }
            sent += 1;
        }
        loop {
            let op = match waiting.take() {
                Some(op) => op,
                None => match events.context.recv(&server, None, Some(Instant::now() + SOON)).unwrap() {
                    Started::Done(outcome) => {
                        assert_eq!(number(outcome), next);
                        next += 1;
                        continue;
                    }
                    Started::Pending(op) => op,
                },
            };
            let Some(result) = done.remove(&op) else {
                waiting = Some(op);
                break;
            };
            assert_eq!(number(Result::unwrap(result)), next);
            next += 1;
        }
        if next == sent {
            continue;
        }
        // One edge, then as many turns of one completion as `process` asks for.
        let mut ready = [epoll::Event { flags: edge, data: epoll::EventData::new_u64(0) }];
        let limit = Timespec { tv_sec: SOON.as_secs() as i64, tv_nsec: 0 };
        assert_eq!(epoll::wait(&outer, &mut ready, Some(&limit)).unwrap(), 1, "no edge at {next} of {sent}");
        loop {
            let mut out: Vec<Completion> = Vec::new();
            let progress = events.context.process(1, &mut out).unwrap();
            assert!(out.len() <= 1);
            done.extend(out.into_iter().map(|completion| (completion.op, completion.result)));
            if progress == Progress::Wait {
                break;
            }
        }
    }
}

fn number(outcome: Outcome) -> u32 {
    let Outcome::Message(message) = outcome else { panic!("{outcome:?} instead of a message") };
    u32::from_le_bytes(message.payload()[..].try_into().unwrap())
}
