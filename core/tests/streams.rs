//! Streams: items both ways within a call, each direction with its own credit and end.
// Some of what is used here is for the tests that need more of the system than a pipe.
#![cfg_attr(windows, allow(unused_imports, dead_code))]

mod common;

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::events::Events;
use common::{Place, SOON, alone, pair, pair_with, status, until};
use hostlane::{
    Bytes, CallOptions, Channel, Code, ConnectOptions, ListenOptions, Message, Outcome, Peer, Stream, Wait, limits,
};

const WINDOW: usize = limits::STREAM_WINDOW as usize;
const OVERHEAD: usize = limits::MESSAGE_OVERHEAD;

fn open(client: &Peer, server: &Peer) -> (Stream, Message, Stream) {
    let stream = client.open_stream(b"open", CallOptions::new()).unwrap();
    let request = server.recv(SOON).unwrap();
    assert_eq!(request.payload(), "open");
    let served = request.stream().expect("a stream");
    (stream, request, served)
}

/// Item `n` of `size` bytes; no two are alike.
fn item(n: usize, size: usize) -> Vec<u8> {
    let mut bytes = vec![n as u8; size];
    bytes.iter_mut().step_by(4096).enumerate().for_each(|(page, byte)| *byte ^= page as u8);
    bytes
}

fn sizes() -> Vec<usize> {
    let mut sizes = vec![0, 1, 63, 1023, 1024, 1025, 4096, 4097];
    for around in [WINDOW / 2, WINDOW - OVERHEAD, WINDOW, 2 * WINDOW, limits::FRAGMENT, 3 * limits::FRAGMENT] {
        sizes.extend([around - 1, around, around + 1]);
    }
    sizes.extend([0, limits::MAX_MESSAGE - 1, limits::MAX_MESSAGE, 0, 5]);
    sizes
}

#[test]
fn items_of_every_size_go_both_ways_at_once_and_both_ends_are_marked() {
    let (client, server) = pair(&Place::new());
    let (stream, request, served) = open(&client, &server);
    let (stream, served) = (&stream, &served);
    std::thread::scope(|scope| {
        for stream in [stream, served] {
            scope.spawn(move || {
                for (n, size) in sizes().into_iter().enumerate() {
                    stream.send(item(n, size), SOON).unwrap();
                }
            });
        }
        let receive = |stream: &Stream| {
            for (n, size) in sizes().into_iter().enumerate() {
                let got = stream.recv(SOON).unwrap().expect("an item");
                assert!(got == item(n, size), "item {n} of {size} bytes");
            }
        };
        scope.spawn(move || receive(served));
        receive(stream);
    });
    stream.finish(SOON).unwrap();
    assert_eq!(stream.send(b"more", SOON).unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(stream.finish(SOON).unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(served.recv(SOON).unwrap(), None);
    assert_eq!(served.recv(SOON).unwrap(), None, "an end stays an end");
    // The other direction goes on until the answer.
    served.send(b"last", SOON).unwrap();
    assert_eq!(stream.recv(SOON).unwrap().unwrap(), "last");
    assert_eq!(stream.reply(), None);
    request.reply(b"done", SOON).unwrap();
    assert_eq!(stream.recv(SOON).unwrap(), None);
    assert_eq!(stream.reply().unwrap(), "done");
    assert_eq!(served.send(b"more", SOON).unwrap_err().code(), Code::CallEnded);
    assert!(client.is_open() && server.is_open());
}

#[test]
fn the_acceptor_opens_streams_too_and_many_run_side_by_side() {
    let (client, server) = pair(&Place::new());
    const STREAMS: usize = 40;
    std::thread::scope(|scope| {
        for (from, to) in [(&client, &server), (&server, &client)] {
            scope.spawn(move || {
                for _ in 0..STREAMS {
                    let request = to.recv(SOON).unwrap();
                    scope.spawn(move || {
                        let stream = request.stream().unwrap();
                        let mut bytes = 0;
                        while let Some(item) = stream.recv(SOON).unwrap() {
                            bytes += item.len();
                            stream.send(item, SOON).unwrap();
                        }
                        request.reply(bytes.to_string().into_bytes(), SOON).unwrap();
                    });
                }
            });
            for n in 0..STREAMS {
                scope.spawn(move || {
                    let stream = from.open_stream(b"", CallOptions::new()).unwrap();
                    for k in 0..30 {
                        let bytes = item(n + k, 1 + (n * 7919 + k * 104_729) % 30_000);
                        stream.send(bytes.clone(), SOON).unwrap();
                        assert!(stream.recv(SOON).unwrap().unwrap() == bytes);
                    }
                    stream.finish(SOON).unwrap();
                    assert_eq!(stream.recv(SOON).unwrap(), None);
                    let total: usize = (0..30).map(|k| 1 + (n * 7919 + k * 104_729) % 30_000).sum();
                    assert_eq!(stream.reply().unwrap(), total.to_string());
                });
            }
        }
    });
    for peer in [&client, &server] {
        let stats = peer.stats().unwrap();
        assert_eq!((stats.calls, stats.open_calls, stats.open_served), (STREAMS as u64, 0, 0));
    }
}

#[test]
fn an_answer_may_come_before_the_callers_end() {
    let (client, server) = pair(&Place::new());
    let (stream, request, served) = open(&client, &server);
    stream.send(b"one", SOON).unwrap();
    assert_eq!(served.recv(SOON).unwrap().unwrap(), "one");
    served.send(b"kept", SOON).unwrap();
    request.reply(b"enough", SOON).unwrap();
    // What the caller sends meanwhile is nobody's; what was sent to it before is still its own.
    until("the caller is stopped", || match stream.send(item(1, 5000), SOON) {
        Ok(()) => {
            let _ = client.recv_on(Channel::DATA, Wait::none());
            false
        }
        Err(error) => {
            assert_eq!(error.code(), Code::CallEnded);
            true
        }
    });
    assert_eq!(stream.recv(SOON).unwrap().unwrap(), "kept");
    assert_eq!(stream.recv(SOON).unwrap(), None);
    assert_eq!(stream.reply().unwrap(), "enough");
    assert_eq!(stream.finish(SOON).unwrap_err().code(), Code::CallEnded);
    assert_eq!(served.recv(SOON).unwrap_err().code(), Code::CallEnded);
    assert_eq!(client.stats().unwrap().open_calls, 0);
    drop(stream);
    assert_eq!(client.stats().unwrap().calls_cancelled, 0, "an ended call is not given up");
}

#[test]
fn an_early_answer_wakes_a_sender_without_credit() {
    let (client, server) = pair(&Place::new());
    let (stream, request, _served) = open(&client, &server);
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let mut sent = 0;
            loop {
                match stream.send(item(sent, 60_000), SOON) {
                    Ok(()) => sent += 1,
                    Err(error) => return (sent, error.code()),
                }
            }
        });
        until("it waits", || client.stats().unwrap().pending_operations == 1);
        request.reply(b"no more", SOON).unwrap();
        let (sent, code) = sender.join().unwrap();
        assert_eq!(code, Code::CallEnded);
        assert!(sent * 60_000 <= WINDOW + 60_000, "{sent} items without credit");
    });
    assert_eq!(stream.recv(SOON).unwrap(), None);
}

#[cfg(unix)]
#[test]
fn a_failure_comes_behind_the_items() {
    let (client, server) = pair(&Place::new());
    let (stream, request, served) = open(&client, &server);
    served.send(b"1", SOON).unwrap();
    served.send(b"2", SOON).unwrap();
    request.fail(9, b"broke", SOON).unwrap();
    assert_eq!(stream.recv(SOON).unwrap().unwrap(), "1");
    assert_eq!(stream.recv(SOON).unwrap().unwrap(), "2");
    let error = stream.recv(SOON).unwrap_err();
    assert_eq!((error.code(), error.status(), error.data()), (Code::RemoteError, Some(9), &b"broke"[..]));
    assert_eq!(stream.recv(SOON).unwrap_err().code(), Code::CallEnded);
}

#[test]
fn an_answer_waits_for_the_items_before_it() {
    let (client, server) = pair(&Place::new());
    let (stream, request, served) = open(&client, &server);
    const ITEMS: usize = 40;
    let sent = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        // All at once and none waited for: most of them have no credit when the answer is given.
        for n in 0..ITEMS {
            let (served, sent) = (&served, &sent);
            scope.spawn(move || {
                served.send(item(n, 50_000), SOON).unwrap();
                sent.fetch_add(1, Ordering::Relaxed);
            });
        }
        until("all have left or wait", || {
            server.stats().unwrap().pending_operations + sent.load(Ordering::Relaxed) >= ITEMS
        });
        assert!(sent.load(Ordering::Relaxed) < ITEMS / 2);
        let replying = scope.spawn(move || request.reply(b"behind them", SOON));
        let mut got = 0;
        while let Some(item) = stream.recv(SOON).unwrap() {
            assert_eq!(item.len(), 50_000);
            got += 1;
        }
        assert_eq!(got, ITEMS);
        assert_eq!(stream.reply().unwrap(), "behind them");
        replying.join().unwrap().unwrap();
    });
}

#[test]
fn dropping_a_stream_gives_the_call_up() {
    let (client, server) = pair(&Place::new());
    let (stream, request, served) = open(&client, &server);
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| served.recv(SOON).unwrap_err().code());
        let writer = scope.spawn(|| {
            loop {
                if let Err(error) = served.send(item(0, 50_000), SOON) {
                    break error.code();
                }
            }
        });
        let watcher = scope.spawn(|| request.wait_cancelled(SOON));
        until("all wait", || server.stats().unwrap().pending_operations == 3);
        drop(stream);
        assert_eq!(reader.join().unwrap(), Code::CallEnded);
        assert_eq!(writer.join().unwrap(), Code::CallEnded);
        watcher.join().unwrap().unwrap();
    });
    assert_eq!(request.reply(b"late", SOON).unwrap_err().code(), Code::CallEnded);
    // What was on its way is dropped, and the connection is as good as before.
    let call = client.start(b"alive").unwrap();
    server.recv(SOON).unwrap().reply(b"yes", SOON).unwrap();
    assert_eq!(call.wait(SOON).unwrap().payload(), "yes");
    let stats = client.stats().unwrap();
    assert_eq!((stats.open_calls, stats.calls_cancelled), (0, 1));
}

#[test]
fn a_stream_let_go_by_its_server_is_abandoned() {
    let (client, server) = pair(&Place::new());
    let (stream, request, served) = open(&client, &server);
    served.send(b"kept", SOON).unwrap();
    drop((request, served));
    assert_eq!(stream.recv(SOON).unwrap().unwrap(), "kept");
    assert_eq!(stream.recv(SOON).unwrap_err().code(), Code::CallAbandoned);
    // The stream alone keeps the call, and answers it when its request is dropped.
    let stream = client.open_stream(b"", CallOptions::new()).unwrap();
    let served = server.recv(SOON).unwrap().stream().unwrap();
    served.send(b"still", SOON).unwrap();
    assert_eq!(stream.recv(SOON).unwrap().unwrap(), "still");
    drop(served);
    assert_eq!(stream.recv(SOON).unwrap_err().code(), Code::CallAbandoned);
}

#[test]
fn a_stream_nobody_reads_stops_at_its_window_and_nobody_else() {
    let (client, server) = pair(&Place::new());
    let (unread, _request, _served) = open(&client, &server);
    let mut sent = 0;
    let error = loop {
        match unread.send(item(sent, 10_000), Duration::from_millis(50)) {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
    };
    assert_eq!((error.code(), error.sent()), (Code::Timeout, hostlane::Sent::No));
    let charged = sent * (10_000 + OVERHEAD);
    assert!((WINDOW..WINDOW + 10_000 + OVERHEAD).contains(&charged), "{charged} of {WINDOW}");

    // The same connection: another stream, calls, messages.
    let (stream, request, served) = open(&client, &server);
    for n in 0..100 {
        stream.send(item(n, 20_000), SOON).unwrap();
        assert!(served.recv(SOON).unwrap().unwrap() == item(n, 20_000));
    }
    request.reply(b"", SOON).unwrap();
    let call = client.start(b"?").unwrap();
    server.recv(SOON).unwrap().reply(b"!", SOON).unwrap();
    call.wait(SOON).unwrap();

    // The item that timed out was withdrawn: the next one follows the last that was sent.
    for n in 0..sent {
        assert!(_served.recv(SOON).unwrap().unwrap() == item(n, 10_000));
    }
    unread.send(b"next", SOON).unwrap();
    assert_eq!(_served.recv(SOON).unwrap().unwrap(), "next");
}

#[test]
fn waiting_for_an_item_ends_in_time_and_loses_none() {
    let (client, server) = pair(&Place::new());
    let (stream, _request, served) = open(&client, &server);
    for n in 0..20u8 {
        assert_eq!(served.recv(Duration::from_millis(2)).unwrap_err().code(), Code::Timeout);
        stream.send(vec![n], SOON).unwrap();
        assert_eq!(served.recv(SOON).unwrap().unwrap()[..], [n]);
    }
}

#[test]
fn a_stream_ends_at_its_deadline_on_both_sides() {
    let (client, server) = pair(&Place::new());
    let limit = Duration::from_millis(60);
    let start = Instant::now();
    let stream = client.open_stream(b"open", CallOptions::new().deadline(start + limit)).unwrap();
    let request = server.recv(SOON).unwrap();
    let served = request.stream().unwrap();
    std::thread::scope(|scope| {
        let serving = scope.spawn(|| served.recv(SOON).unwrap_err().code());
        let error = stream.recv(SOON).unwrap_err();
        assert_eq!(error.code(), Code::Timeout);
        assert!(start.elapsed() >= limit && start.elapsed() < SOON / 2, "{:?}", start.elapsed());
        assert_eq!(serving.join().unwrap(), Code::CallEnded);
    });
    assert_eq!(stream.send(b"late", SOON).unwrap_err().code(), Code::CallEnded);
    assert_eq!(request.reply(b"late", SOON).unwrap_err().code(), Code::CallEnded);
    until("nothing stays open", || {
        let _ = server.recv_on(Channel::DATA, Wait::none());
        let _ = client.recv_on(Channel::DATA, Wait::none());
        client.stats().unwrap().open_calls == 0 && server.stats().unwrap().open_served == 0
    });

    // A call with a deadline of its own does not wait longer than that either.
    let options = CallOptions::new().deadline(Instant::now() + limit);
    let call = client.start_with(b"?", options).unwrap();
    let _request = server.recv(SOON).unwrap();
    let start = Instant::now();
    assert_eq!(call.wait(Wait::forever()).unwrap_err().code(), Code::Timeout);
    assert!(start.elapsed() < SOON / 2);
}

#[test]
fn the_end_of_the_connection_ends_its_streams_behind_what_arrived() {
    let (client, server) = pair(&Place::new());
    let (stream, request, served) = open(&client, &server);
    let (unread, _other, other) = open(&client, &server);
    served.send(b"arrived", SOON).unwrap();
    other.send(b"too", SOON).unwrap();
    drop(server);
    assert_eq!(stream.recv(SOON).unwrap().unwrap(), "arrived");
    let error = stream.recv(SOON).unwrap_err();
    assert_eq!((error.code(), error.sent()), (Code::ConnectionLost, hostlane::Sent::Maybe));
    assert_eq!(unread.recv(SOON).unwrap().unwrap(), "too");
    assert_eq!(unread.recv(SOON).unwrap_err().code(), Code::ConnectionLost);
    assert!(matches!(stream.send(b"x", SOON).unwrap_err().code(), Code::ConnectionLost | Code::CallEnded));
    assert_eq!(request.reply(b"x", SOON).unwrap_err().code(), Code::Closed);
    assert_eq!(served.recv(SOON).unwrap_err().code(), Code::Closed);
    assert_eq!(served.send(b"x", SOON).unwrap_err().code(), Code::Closed);
    request.wait_cancelled(SOON).unwrap();
}

#[test]
fn a_stream_of_a_context_goes_both_ways() {
    let (mut events, place) = (Events::new(), Place::new());
    let (client, server) = events.pair(&place);
    let stream = client.open_stream(b"open", CallOptions::new().channel(Channel::DATA)).unwrap();
    let request = events.recv(&server).unwrap();
    assert_eq!(request.channel(), Channel::DATA);
    let served = request.stream().unwrap();
    let ends = [&stream, &served];
    // Each side sends without waiting for the one before, and receives as it comes.
    let all = sizes();
    let mut sends: Vec<u64> = Vec::new();
    for (n, size) in all.iter().enumerate() {
        for end in ends {
            let started = events.context.stream_send(end, item(n, *size), None);
            sends.push(events.start(started));
        }
    }
    for (n, size) in all.iter().enumerate() {
        for end in ends {
            let started = events.context.stream_recv(end, None);
            let Outcome::Item(got) = events.finish(started).unwrap() else { panic!() };
            assert!(got == item(n, *size), "item {n} of {size} bytes");
        }
    }
    for send in sends {
        assert!(matches!(events.wait(send).unwrap(), Outcome::Sent));
    }
    let finished = events.context.stream_finish(&stream, None);
    events.finish(finished).unwrap();
    let end = events.context.stream_recv(&served, None);
    assert!(matches!(events.finish(end).unwrap(), Outcome::StreamEnd(None)));
    let waiting = events.context.stream_recv(&stream, None);
    let waiting = events.start(waiting);
    let reply = events.context.reply(&request, b"done", None);
    events.finish(reply).unwrap();
    let Outcome::StreamEnd(Some(reply)) = events.wait(waiting).unwrap() else { panic!() };
    assert_eq!(reply, "done");

    // Cancelled and out of time: neither takes an item.
    let stream = client.open_stream(b"", CallOptions::new()).unwrap();
    let request = events.recv(&server).unwrap();
    let served = request.stream().unwrap();
    let cancelled = events.context.stream_recv(&served, None);
    let cancelled = events.start(cancelled);
    let late = events.context.stream_recv(&served, Some(Instant::now() + Duration::from_millis(10)));
    events.context.cancel(cancelled);
    assert_eq!(events.wait(cancelled).unwrap_err().code(), Code::Cancelled);
    assert_eq!(events.finish(late).unwrap_err().code(), Code::Timeout);
    let sent = events.context.stream_send(&stream, b"kept", None);
    events.finish(sent).unwrap();
    let next = events.context.stream_recv(&served, None);
    let Outcome::Item(next) = events.finish(next).unwrap() else { panic!() };
    assert_eq!(next, "kept");
    let ended = events.context.call_ended(&request, None);
    let ended = events.start(ended);
    drop(stream);
    assert!(matches!(events.wait(ended).unwrap(), Outcome::CallEnded));

    // A stream of a context has a deadline without anybody waiting for anything.
    let options = CallOptions::new().deadline(Instant::now() + Duration::from_millis(20));
    let stream = client.open_stream(b"", options).unwrap();
    let waiting = events.context.stream_recv(&stream, None);
    assert_eq!(events.finish(waiting).unwrap_err().code(), Code::Timeout);
}

#[test]
fn credit_counts_small_items_and_a_smaller_message_limit_holds() {
    let (connect, listen) = (ConnectOptions::new(), ListenOptions::new().max_message(1000));
    let (client, server) = pair_with(&Place::new(), &connect, &listen);
    let (stream, _request, served) = open(&client, &server);
    assert_eq!(stream.send(item(0, 1001), SOON).unwrap_err().code(), Code::PayloadTooLarge);
    stream.send(item(0, 1000), SOON).unwrap();
    assert_eq!(served.recv(SOON).unwrap().unwrap().len(), 1000);
    // Empty items are charged too, so that nobody can pile them up at a side that reads and takes none.
    server.attach().unwrap();
    let mut sent = 0;
    while stream.send(Bytes::new(), Duration::from_millis(30)).is_ok() {
        sent += 1;
    }
    assert!(sent <= WINDOW / OVERHEAD + 1, "{sent} empty items");
    for _ in 0..sent {
        assert_eq!(served.recv(SOON).unwrap().unwrap().len(), 0);
    }
    stream.send(b"on", SOON).unwrap();
    // The one whose time ran out may have left all the same.
    let next = served.recv(SOON).unwrap().unwrap();
    let next = if next.is_empty() { served.recv(SOON).unwrap().unwrap() } else { next };
    assert_eq!(next, "on");
}

#[cfg(unix)]
#[test]
fn a_long_stream_both_ways_needs_little_memory() {
    if !alone("a_long_stream_both_ways_needs_little_memory") {
        return;
    }
    // 4 GiB each way with HOSTLANE_LONG=1.
    let gigabytes = std::env::var_os("HOSTLANE_LONG").is_some();
    let total: u64 = if gigabytes { 4 << 30 } else { 256 << 20 };
    const ITEM: usize = 128 * 1024;
    let (client, server) = pair(&Place::new());
    let (stream, request, served) = open(&client, &server);
    let before = status("VmRSS");
    let start = Instant::now();
    let stopped = AtomicBool::new(false);
    let items = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for stream in [&stream, &served] {
            let (items, stopped) = (&items, &stopped);
            scope.spawn(move || {
                let payload = Bytes::from(item(7, ITEM));
                for _ in 0..total / ITEM as u64 {
                    stream.send(payload.clone(), SOON).unwrap();
                }
                stopped.store(true, Ordering::Relaxed);
            });
            scope.spawn(move || {
                for _ in 0..total / ITEM as u64 {
                    assert_eq!(stream.recv(SOON).unwrap().unwrap().len(), ITEM);
                    items.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert!(stopped.load(Ordering::Relaxed));
    assert_eq!(items.load(Ordering::Relaxed) as u64, 2 * total / ITEM as u64);
    request.reply(b"", SOON).unwrap();
    let grown = status("VmHWM").saturating_sub(before);
    let (mib, took) = (2 * (total >> 20), start.elapsed());
    println!("{mib} MiB in {took:?}, at most {grown} kB more than before");
    // Two windows, what is in the buffers of two senders and readers, and the allocator's share.
    assert!(grown < 16 * 1024, "{grown} kB more for {mib} MiB");
}
