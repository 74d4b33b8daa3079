//! Answers nobody reads, and calls given up at once: what the other side does not take costs it its places, and this
//! side neither memory nor handlers without a limit.
#![cfg(unix)]

mod common;

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use common::bytes::{CANCEL, CREDIT, ERROR, MESSAGE, REFUSE, REQUEST, RESPONSE, Raw1, WHOLE};
use common::events::Events;
use common::{Place, SOON, alone, pair_with, status, until};
use hostlane::{Batch, Code, ConnectOptions, ListenOptions, Listener, Message, Outcome, Peer, Result, Wait, limits};

/// Calls the server serves at a time.
const PLACES: usize = 64;
/// Bytes of a request, and requests that are sent at a time: what a channel has credit for.
const QUESTION: usize = 1000;
const AHEAD: u64 = 300;

/// More bytes than the kernel takes for a socket nobody reads: one that is asked for as much as those of a connection
/// tells how much that is here.
fn kernel() -> usize {
    let (socket, _other) = UnixStream::pair().unwrap();
    rustix::net::sockopt::set_socket_send_buffer_size(&socket, 1 << 20).unwrap();
    2 * rustix::net::sockopt::socket_send_buffer_size(&socket).unwrap()
}

/// A server's peer and a client made of bytes.
fn served(place: &Place) -> (Peer, Raw1) {
    let address = place.address("unread.sock");
    let options = ListenOptions::new().max_calls(PLACES);
    let listener = Listener::bind_with(&address.parse().unwrap(), &options).unwrap();
    std::thread::scope(|scope| {
        let server = scope.spawn(|| listener.accept(SOON).unwrap());
        let raw = Raw1::connect(&address, "", "");
        (server.join().unwrap(), raw)
    })
}

/// Sends requests until the server ends the connection, and reads nothing. What the server may keep is looked at on the way.
fn flood(server: &Peer, raw: &mut Raw1, answer: usize) {
    // Answers, refusals twice (staged and not), and what ends calls.
    let most = PLACES * (answer + limits::MESSAGE_OVERHEAD + limits::CALL_END) + 2 * limits::CONTROL_QUEUE + (64 << 10);
    raw.0.set_write_timeout(Some(SOON)).unwrap();
    let (mut id, mut sent) = (1, 0);
    let start = Instant::now();
    loop {
        let stats = server.stats().unwrap();
        assert!(stats.open_served <= PLACES, "{} calls are served", stats.open_served);
        assert!(stats.send_queue.bytes <= most, "{} bytes of {most}", stats.send_queue.bytes);
        if !server.is_open() {
            return;
        }
        assert!(start.elapsed() < 3 * SOON, "{sent} requests and no end");
        if sent - stats.channels[0].messages_received >= AHEAD {
            std::thread::yield_now();
            continue;
        }
        let requests: Vec<u8> =
            (0..AHEAD / 3).flat_map(|n| Raw1::encode(REQUEST, WHOLE, 1, id + 2 * n, &[b'?'; QUESTION])).collect();
        if raw.0.write_all(&requests).is_err() {
            until("the connection ends", || !server.is_open());
            continue;
        }
        (id, sent) = (id + 2 * (AHEAD / 3), sent + AHEAD / 3);
    }
}

/// Floods a server that answers with so many bytes in the manner of `serve`, which gives the end of the connection.
fn answers(answer: usize, serve: impl Fn(&Peer, &[u8]) -> hostlane::Error + Sync) {
    let (server, mut raw) = served(&Place::new());
    let bytes = vec![b'!'; answer];
    let error = std::thread::scope(|scope| {
        let serving = scope.spawn(|| serve(&server, &bytes));
        flood(&server, &mut raw, answer);
        serving.join().unwrap()
    });
    assert_eq!(error.code(), Code::ControlFlood, "{error}");
    // As many as have places, and those the kernel took.
    let answered = server.stats().unwrap().calls_served as usize;
    assert!((PLACES..2 * PLACES + kernel() / answer).contains(&answered), "{answered}");
}

fn by_batches(server: &Peer, bytes: &[u8]) -> hostlane::Error {
    let mut batch = Batch::new();
    loop {
        if let Err(error) = server.recv_batch(&mut batch, usize::MAX, SOON) {
            return error;
        }
        let cork = server.cork();
        for request in batch.iter() {
            // A wait that is over leaves the answer to be sent.
            if let Err(error) = request.reply(bytes, Wait::none()) {
                assert!(matches!(error.code(), Code::Timeout | Code::ControlFlood), "{error}");
            }
        }
        drop(cork);
    }
}

fn without_waiting(server: &Peer, bytes: &[u8]) -> hostlane::Error {
    loop {
        match server.recv(SOON) {
            Err(error) => return error,
            Ok(request) => {
                if let Err(error) = request.reply(bytes, Wait::none()) {
                    assert!(matches!(error.code(), Code::Timeout | Code::ControlFlood), "{error}");
                }
            }
        }
    }
}

#[test]
fn answers_inside_a_cork_that_nobody_reads_keep_their_places() {
    for answer in [1000, 9000] {
        answers(answer, by_batches);
    }
}

#[test]
fn answers_whose_wait_has_ended_keep_their_places() {
    for answer in [1000, 9000] {
        answers(answer, without_waiting);
    }
}

#[test]
fn answers_of_a_context_that_nobody_reads_keep_their_places() {
    for (answer, deadline) in [(1000, None), (9000, Some(Duration::ZERO))] {
        let place = Place::new();
        let address = place.address("unread.sock");
        let mut events = Events::new();
        let options = ListenOptions::new().max_calls(PLACES);
        let listener = Listener::bind_with(&address.parse().unwrap(), &options).unwrap();
        let accept = events.context.accept(&listener, None);
        let accept = events.start(accept);
        let raw = std::thread::spawn(move || Raw1::connect(&address, "", ""));
        let Outcome::Accepted(server) = events.wait(accept).unwrap() else { panic!() };
        let (mut raw, bytes) = (raw.join().unwrap(), vec![b'!'; answer]);
        std::thread::scope(|scope| {
            let flooding = scope.spawn(|| flood(&server, &mut raw, answer));
            let error = loop {
                match events.recv(&server) {
                    Err(error) => break error,
                    Ok(request) => {
                        let until = deadline.map(|after| Instant::now() + after);
                        drop(events.context.reply(&request, &bytes, until));
                    }
                }
            };
            assert_eq!(error.code(), Code::ControlFlood, "{error}");
            flooding.join().unwrap();
        });
    }
}

#[test]
fn a_flood_nobody_reads_the_answers_of_needs_little_memory() {
    if !alone("a_flood_nobody_reads_the_answers_of_needs_little_memory") {
        return;
    }
    answers(1000, by_batches);
    let before = status("VmRSS:");
    for _ in 0..3 {
        answers(9000, by_batches);
        answers(9000, without_waiting);
    }
    let grown = status("VmRSS:").saturating_sub(before);
    println!("VmRSS grew by {grown} kB");
    assert!(grown < 8 << 10, "{grown} kB");
}

#[test]
fn large_answers_inside_a_cork_wait_when_the_cork_is_full() {
    let (server, mut raw) = served(&Place::new());
    const LARGE: usize = 1 << 20;
    for n in 0..16 {
        raw.send(REQUEST, WHOLE, 1, 2 * n + 1, b"?");
    }
    let requests: Vec<Message> = (0..16).map(|_| server.recv(SOON).unwrap()).collect();
    let cork = server.cork();
    let answer = vec![b'!'; LARGE];
    let results: Vec<Result<()>> = requests.iter().map(|r| r.reply(&answer, Duration::from_millis(1))).collect();
    // What is gathered counts as sent up to a bound; above it an answer is sent as without a cork.
    let gathered = results.iter().take_while(|result| result.is_ok()).count();
    assert!((1..=(limits::CHANNEL_QUEUE + kernel()) / LARGE + 1).contains(&gathered), "{gathered}");
    assert!(results[gathered..].iter().all(|r| r.as_ref().unwrap_err().code() == Code::Timeout), "{results:?}");
    // The answers stay, and all arrive.
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| {
            let mut bytes = 0;
            while bytes < 16 * LARGE {
                let frame = raw.frame().unwrap();
                bytes += frame.payload.iter().filter(|&&b| b == b'!').count();
            }
        });
        drop(cork);
        while !reading.is_finished() {
            let _ = server.recv(Duration::from_millis(5));
        }
        reading.join().unwrap();
    });
    assert_eq!(server.stats().unwrap().open_served, 0);
}

#[test]
fn calls_given_up_at_once_get_nobody_more_handlers_than_places() {
    const ROUNDS: u64 = 2000;
    let (server, mut raw) = served(&Place::new());
    let mut writing = Raw1(raw.0.try_clone().unwrap());
    let handlers = std::thread::scope(|scope| {
        let serving = scope.spawn(|| {
            // Handlers that take no notice of it.
            let mut handlers: Vec<Message> = Vec::new();
            loop {
                let request = server.recv(SOON).unwrap();
                if !request.is_request() {
                    return handlers;
                }
                handlers.push(request);
            }
        });
        let (writing, server) = (&mut writing, &server);
        scope.spawn(move || {
            for n in 0..ROUNDS {
                writing.send(REQUEST, WHOLE, 1, 2 * n + 1, b"?");
                until("a handler has it, or it was refused", || {
                    let command = server.stats().unwrap().channels[0];
                    command.messages_received > n && command.queued == 0
                });
                writing.send(CANCEL, 0, 0, 2 * n + 1, b"");
            }
            writing.send(MESSAGE, WHOLE, 2, 0, b"that was all");
        });
        // What no handler has was refused.
        let handlers = serving.join().unwrap();
        let mut ends = 0;
        while ends < ROUNDS - handlers.len() as u64 {
            let frame = raw.frame().unwrap();
            assert!([REFUSE, CREDIT].contains(&frame.kind), "{frame:?}");
            ends += u64::from(frame.kind != CREDIT);
        }
        handlers
    });
    assert_eq!((handlers.len(), server.stats().unwrap().open_served), (PLACES, PLACES));
    // Each of them ends by an answer, which goes nowhere, or without one.
    for (n, call) in handlers.into_iter().enumerate() {
        call.wait_cancelled(SOON).unwrap();
        if n % 2 == 0 {
            assert_eq!(call.reply(b"late", SOON).unwrap_err().code(), Code::CallEnded);
            assert_eq!(call.reply(b"later", SOON).unwrap_err().code(), Code::CallEnded);
        }
        let id = call.call_id().unwrap();
        drop(call);
        assert_eq!(raw.next(ERROR).id, id);
    }
    assert_eq!(server.stats().unwrap().open_served, 0);
    writing.send(REQUEST, WHOLE, 1, 2 * ROUNDS + 1, b"?");
    server.recv(SOON).unwrap().reply(b"!", SOON).unwrap();
    assert_eq!(raw.next(RESPONSE).payload, b"!");
}

#[test]
fn a_caller_whose_calls_run_out_of_time_waits_for_its_places_and_is_never_refused() {
    let (client, server) = pair_with(&Place::new(), &ConnectOptions::new(), &ListenOptions::new().max_calls(2));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Longer than the caller waits, two at a time.
            while let (Ok(first), Ok(second)) = (server.recv(SOON), server.recv(SOON)) {
                for request in [first, second] {
                    if request.wait_cancelled(SOON).is_ok() {
                        let late = request.reply(b"late", SOON).unwrap_err().code();
                        assert!(matches!(late, Code::CallEnded | Code::ConnectionLost | Code::Closed), "{late:?}");
                    }
                }
            }
        });
        for _ in 0..30 {
            let [a, b] = [(); 2].map(|()| client.start(b"slow").unwrap());
            assert_eq!(a.wait(Duration::from_millis(2)).unwrap_err().code(), Code::Timeout);
            assert_eq!(b.wait(Duration::from_millis(2)).unwrap_err().code(), Code::Timeout);
        }
        client.close();
    });
}
