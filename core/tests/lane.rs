//! Two peers of this crate over real sockets: messages, calls, deadlines, threads, ends.
// Some of what is used here is for the tests that need more of the system than a pipe.
#![cfg_attr(windows, allow(unused_imports, dead_code))]

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::{Place, SOON, pair, pair_on_level_0, until};
use hostlane::{
    Address, Batch, Bytes, CallOptions, Channel, Code, ConnectOptions, Level, ListenOptions, Listener, Peer, Secret,
    Sent, Wait, limits,
};

#[test]
fn every_byte_value_and_every_size_around_the_bounds_survives() {
    let (client, server) = pair(&Place::new());
    let all: Vec<u8> = (0..=255).collect();
    for size in [0, 1, 255, 256, 4087, 4088, 4089, 16_383, 16_384, 16_385, 65_535, 65_536, 1 << 20, limits::MAX_MESSAGE]
    {
        let sent: Vec<u8> = all.iter().copied().cycle().take(size).collect();
        std::thread::scope(|scope| {
            scope.spawn(|| client.send(Channel::DATA, &sent, SOON).unwrap());
            let message = server.recv(SOON).unwrap();
            assert_eq!(message.channel(), Channel::DATA);
            assert!(message.payload() == &sent, "{size} bytes changed");
        });
    }
    let error = client.send(Channel::DATA, vec![0; limits::MAX_MESSAGE + 1], SOON).unwrap_err();
    assert_eq!(error.code(), Code::PayloadTooLarge);
    client.send(Channel::DATA, b"still alive", SOON).unwrap();
    assert_eq!(server.recv(SOON).unwrap().payload(), "still alive");
}

#[test]
fn a_smaller_limit_holds_in_both_directions() {
    let place = Place::new();
    let address: Address = place.address("a.sock").parse().unwrap();
    let listener = Listener::bind_with(&address, &ListenOptions::new().max_message(100)).unwrap();
    std::thread::scope(|scope| {
        let server = scope.spawn(|| listener.accept(SOON).unwrap());
        let client = Peer::connect_with(&address, &ConnectOptions::new(), SOON).unwrap();
        let server = server.join().unwrap();
        assert_eq!(server.send(Channel::DATA, vec![0; 101], SOON).unwrap_err().code(), Code::PayloadTooLarge);
        client.send(Channel::DATA, vec![0; 100], SOON).unwrap();
        assert_eq!(server.recv(SOON).unwrap().payload().len(), 100);
        assert_eq!(client.info().unwrap().max_message, 100);
        assert_eq!(client.send(Channel::DATA, vec![0; 101], SOON).unwrap_err().code(), Code::PayloadTooLarge);
        // Level 0 does not tell limits: the receiver's holds when it is too late.
        let server = scope.spawn(|| listener.accept(SOON).unwrap());
        let client = Peer::connect_with(&address, &ConnectOptions::new().level(Level::Zero), SOON).unwrap();
        let server = server.join().unwrap();
        client.send(Channel::DATA, vec![0; 101], SOON).unwrap();
        assert_eq!(server.recv(SOON).unwrap_err().code(), Code::FrameTooLarge);
    });
}

#[test]
fn a_channel_that_drops_keeps_no_sender_waiting() {
    let (client, server) = pair(&Place::new());
    let piece = vec![7; 64 * 1024];
    // Far more than the kernel, the credit and the queue take, to somebody who reads nothing.
    for _ in 0..400 {
        client.send(Channel::TELEMETRY, &piece, Wait::none()).unwrap();
    }
    assert!(client.stats().unwrap().channels.iter().any(|c| c.channel == Channel::TELEMETRY && c.dropped > 0));
    assert!(server.recv(SOON).unwrap().payload() == &piece);
}

#[test]
fn a_batch_goes_into_the_memory_of_the_caller() {
    let (client, server) = pair(&Place::new());
    let call = client.start(b"ask").unwrap();
    for text in ["12345", "longer than the room", "after"] {
        client.send(Channel::DATA, text, SOON).unwrap();
    }
    until("all have arrived", || {
        server.ping(Wait::none()).unwrap_or_default();
        server.stats().unwrap().receive_queue.messages == 4
    });
    let mut buffer = [0; 10];
    let placed = server.recv_into(&mut buffer, 9, SOON).unwrap();
    let places: Vec<_> = placed.iter().map(|p| (p.channel, p.at, p.len, p.message.is_some())).collect();
    let (command, data) = (Channel::COMMAND, Channel::DATA);
    assert_eq!(places, [(command, Some(0), 3, true), (data, Some(3), 5, false), (data, None, 20, true)]);
    assert_eq!(&buffer[..8], b"ask12345");
    assert_eq!(placed[2].message.as_ref().unwrap().payload(), "longer than the room");
    placed[0].message.as_ref().unwrap().reply(b"answer", SOON).unwrap();
    assert_eq!(call.wait(SOON).unwrap().payload(), "answer");
    assert_eq!(server.recv_into(&mut buffer, 9, SOON).unwrap().len(), 1);
    assert!(server.try_recv_into(&mut buffer, 9).unwrap().is_empty());
}

#[test]
fn to_receive_no_message_is_refused_and_not_waited_for() {
    let (client, server) = pair(&Place::new());
    client.send(Channel::DATA, b"kept", SOON).unwrap();
    until("it has arrived", || {
        server.ping(Wait::none()).unwrap_or_default();
        server.stats().unwrap().receive_queue.messages == 1
    });
    let (mut batch, mut messages, mut buffer) = (Batch::new(), Vec::new(), [0; 10]);
    let refused = [
        server.recv_batch(&mut batch, 0, SOON),
        server.try_recv_batch(&mut batch, 0),
        server.try_recv_bytes(&mut batch, 0, 10),
        server.recv_all(&mut messages, 0, SOON),
        server.try_recv_all(&mut messages, 0),
        server.recv_into(&mut buffer, 0, SOON).map(drop),
        server.try_recv_into(&mut buffer, 0).map(drop),
    ];
    assert!(refused.iter().all(|r| r.as_ref().is_err_and(|e| e.code() == Code::InvalidArgument)), "{refused:?}");
    assert!(batch.is_empty() && messages.is_empty());
    assert_eq!(server.recv(SOON).unwrap().payload(), "kept");
}

#[test]
fn closing_a_stream_wakes_its_readers() {
    let (client, server) = pair(&Place::new());
    let stream = client.open_stream(b"open", hostlane::CallOptions::new()).unwrap();
    let request = server.recv(SOON).unwrap();
    assert!(request.is_stream());
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| stream.recv(SOON).unwrap_err().code());
        until("the reader waits", || client.stats().unwrap().pending_operations == 1);
        stream.close();
        stream.close();
        assert_eq!(reader.join().unwrap(), Code::Cancelled);
    });
    request.wait_cancelled(SOON).unwrap();
}

#[test]
fn channels_keep_apart_and_recv_takes_the_oldest() {
    let (client, server) = pair(&Place::new());
    for (channel, text) in
        [(Channel::DATA, "1"), (Channel::ERROR, "2"), (Channel::DATA, "3"), (Channel::TELEMETRY, "4")]
    {
        client.send(channel, text, SOON).unwrap();
    }
    assert_eq!(server.recv_on(Channel::TELEMETRY, SOON).unwrap().payload(), "4");
    let rest: Vec<_> = (0..3).map(|_| server.recv(SOON).unwrap().into_payload()).collect();
    assert_eq!(rest, ["1", "2", "3"]);
    let unknown = Channel::new(700).unwrap();
    assert_eq!(client.send(unknown, b"", SOON).unwrap_err().code(), Code::InvalidChannel);
    assert_eq!(client.recv_on(unknown, SOON).unwrap_err().code(), Code::InvalidChannel);
}

#[test]
fn user_channels_are_agreed_by_name() {
    let place = Place::new();
    let address: Address = place.address("a.sock").parse().unwrap();
    let (high, other) = (Channel::new(65_535).unwrap(), Channel::new(256).unwrap());
    let listener = Listener::bind_with(&address, &ListenOptions::new().channels(&[Channel::DATA, high])).unwrap();
    std::thread::scope(|scope| {
        let server = scope.spawn(|| listener.accept(SOON).unwrap());
        let options = ConnectOptions::new().channels(&[other, high, Channel::DATA]);
        let client = Peer::connect_with(&address, &options, SOON).unwrap();
        let server = server.join().unwrap();
        assert_eq!(client.info().unwrap().channels, [high, Channel::DATA]);
        assert_eq!(server.info().unwrap().channels, [high, Channel::DATA]);
        client.send(high, b"up here", SOON).unwrap();
        assert_eq!(server.recv_on(high, SOON).unwrap().payload(), "up here");
        assert_eq!(client.send(other, b"", SOON).unwrap_err().code(), Code::InvalidChannel);
    });
}

#[test]
fn idle_is_no_error_and_a_timeout_loses_nothing() {
    let (client, server) = pair(&Place::new());
    for wait in [Duration::ZERO, Duration::from_millis(1), Duration::from_millis(120)] {
        let start = Instant::now();
        assert_eq!(server.recv(wait).unwrap_err().code(), Code::Timeout);
        assert!(start.elapsed() >= wait);
        assert!(start.elapsed() < wait + SOON / 2);
    }
    client.send(Channel::DATA, b"now", SOON).unwrap();
    assert_eq!(server.recv(Wait::none()).unwrap().payload(), "now");
}

#[test]
fn a_call_that_timed_out_never_hands_its_reply_to_the_next() {
    let (client, server) = pair(&Place::new());
    for _ in 0..3 {
        let call = client.start(b"slow").unwrap();
        let error = call.wait(Duration::from_millis(30)).unwrap_err();
        assert_eq!((error.code(), error.sent()), (Code::Timeout, Sent::Maybe));
        let call = client.start(b"next").unwrap();
        // The one that was given up is gone, or its answer unwanted.
        let mut request = server.recv(SOON).unwrap();
        if request.payload() == "slow" {
            let late = request.reply(b"late", SOON);
            assert!(late.is_ok_and(|()| true) || request.is_cancelled());
            request = server.recv(SOON).unwrap();
        }
        request.reply(b"own", SOON).unwrap();
        assert_eq!(call.wait(SOON).unwrap().payload(), "own");
    }
}

#[test]
fn on_level_0_a_call_that_timed_out_ends_the_connection() {
    let (client, server) = pair_on_level_0(&Place::new());
    let call = client.start(b"slow").unwrap();
    let error = call.wait(Duration::from_millis(30)).unwrap_err();
    assert_eq!((error.code(), error.sent()), (Code::Timeout, Sent::Maybe));
    assert_eq!(client.start(b"next").unwrap_err().code(), Code::ConnectionLost);
    let request = server.recv(SOON).unwrap();
    assert_eq!(request.payload(), "slow");
    let _ = request.reply(b"late", SOON);
    assert_eq!(server.recv(SOON).unwrap_err().code(), Code::PeerClosed);
}

#[test]
fn a_dropped_call_closes_like_a_timed_out_one() {
    let (client, server) = pair_on_level_0(&Place::new());
    drop(client.start(b"never mind").unwrap());
    assert_eq!(client.send(Channel::DATA, b"", SOON).unwrap_err().code(), Code::ConnectionLost);
    assert_eq!(server.recv(SOON).unwrap().payload(), "never mind");
    assert_eq!(server.recv(SOON).unwrap_err().code(), Code::PeerClosed);
}

#[test]
fn many_threads_share_one_peer() {
    const THREADS: u32 = 8;
    const EACH: u32 = 300;
    let (client, server) = pair(&Place::new());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..THREADS * EACH {
                let message = server.recv(SOON).unwrap();
                message.reply(message.payload(), SOON).unwrap();
            }
        });
        for thread in 0..THREADS {
            let client = &client;
            scope.spawn(move || {
                for n in 0..EACH {
                    let text = format!("{thread}/{n}").repeat(1 + (n as usize % 50) * 40);
                    let reply = client.start(&text).unwrap().wait(SOON).unwrap();
                    assert_eq!(reply.payload(), &text);
                }
            });
        }
    });
    let stats = client.stats().unwrap();
    assert_eq!(stats.calls, u64::from(THREADS * EACH));
    assert_eq!(stats.channels[0].messages_received, stats.calls);
    assert_eq!(stats.pending_operations, 0);
}

#[test]
fn receivers_and_senders_on_one_peer_do_not_hinder_each_other() {
    let (client, server) = pair(&Place::new());
    let total = 4 * 200;
    std::thread::scope(|scope| {
        // Waits all the time on a channel that stays silent.
        let silent = scope.spawn(|| server.recv_on(Channel::ERROR, SOON));
        for _ in 0..4 {
            scope.spawn(|| (0..total / 4).for_each(|_| drop(server.recv_on(Channel::DATA, SOON).unwrap())));
            scope.spawn(|| (0..total / 4).for_each(|_| client.send(Channel::DATA, vec![1; 3000], SOON).unwrap()));
        }
        until("everything arrived", || server.stats().unwrap().channels[1].messages_received == total);
        client.send(Channel::ERROR, b"done", SOON).unwrap();
        assert_eq!(silent.join().unwrap().unwrap().payload(), "done");
    });
}

#[test]
fn a_call_nobody_waits_for_yet_leaves_while_another_thread_receives() {
    let (client, server) = pair(&Place::new());
    std::thread::scope(|scope| {
        let receiver = scope.spawn(|| client.recv_on(Channel::TELEMETRY, SOON).unwrap());
        until("it waits", || client.stats().unwrap().pending_operations == 1);
        // Too large for the socket: the rest has to be written by whoever is at the descriptor.
        let call = client.start(vec![5; 8 << 20]).unwrap();
        let request = server.recv(SOON).unwrap();
        assert_eq!(request.payload().len(), 8 << 20);
        request.reply(b"got it", SOON).unwrap();
        server.send(Channel::TELEMETRY, b"done", SOON).unwrap();
        assert_eq!(receiver.join().unwrap().payload(), "done");
        assert_eq!(call.wait(SOON).unwrap().payload(), "got it");
    });
}

#[test]
fn whoever_polls_is_woken_when_somebody_else_ends_its_operation() {
    let (client, server) = pair(&Place::new());
    for _ in 0..20 {
        std::thread::scope(|scope| {
            let telemetry = scope.spawn(|| client.recv_on(Channel::TELEMETRY, SOON).unwrap());
            until("one waits", || client.stats().unwrap().pending_operations == 1);
            // Keeps the socket full, so that the next waiter polls for room to write.
            let sender = scope.spawn(|| client.send(Channel::DATA, vec![5; 8 << 20], SOON).unwrap());
            until("two wait", || client.stats().unwrap().pending_operations == 2);
            let data = scope.spawn(|| client.recv_on(Channel::DATA, SOON).unwrap());
            let error = scope.spawn(|| client.recv_on(Channel::ERROR, SOON).unwrap());
            until("four wait", || client.stats().unwrap().pending_operations == 4);
            let start = Instant::now();
            for channel in [Channel::DATA, Channel::ERROR, Channel::TELEMETRY] {
                server.send(channel, b"!", SOON).unwrap();
            }
            for waiter in [data, error, telemetry] {
                assert_eq!(waiter.join().unwrap().payload(), "!");
            }
            assert_eq!(server.recv(SOON).unwrap().payload().len(), 8 << 20);
            sender.join().unwrap();
            assert!(start.elapsed() < SOON / 2, "{:?}", start.elapsed());
        });
    }
}

#[test]
fn a_flush_by_another_thread_wakes_the_sender() {
    let (client, server) = pair(&Place::new());
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| client.send(Channel::DATA, vec![1; 6 << 20], SOON).unwrap());
        until("it is stuck", || client.stats().unwrap().pending_operations == 1);
        let reader = scope.spawn(|| (0..101).map(|_| server.recv(SOON).unwrap().payload().len()).sum::<usize>());
        let start = Instant::now();
        for _ in 0..100 {
            client.send(Channel::DATA, b"small", SOON).unwrap();
        }
        sender.join().unwrap();
        assert_eq!(reader.join().unwrap(), (6 << 20) + 500);
        assert!(start.elapsed() < SOON / 2, "{:?}", start.elapsed());
    });
}

#[cfg(unix)]
#[test]
fn closing_gives_the_descriptor_back_while_objects_live_on() {
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let place = Place::new();
    let mut kept = Vec::new();
    let before = descriptors();
    for _ in 0..200 {
        let (client, server) = pair(&place);
        client.send(Channel::DATA, b"x", SOON).unwrap();
        kept.push((server.recv(SOON).unwrap(), client));
        kept.last().unwrap().1.close();
        server.close();
    }
    // Other tests run beside this one; 400 descriptors would show.
    assert!(descriptors() < before + 200, "{before} before, {} after", descriptors());
}

#[cfg(unix)]
#[test]
fn closing_a_listener_gives_its_descriptors_back_while_the_object_lives_on() {
    let descriptors = || std::fs::read_dir("/proc/self/fd").unwrap().count();
    let place = Place::new();
    let before = descriptors();
    let kept: Vec<Listener> = (0..200)
        .map(|_| {
            let listener = Listener::bind(&place.address("closed.sock")).unwrap();
            listener.close();
            listener
        })
        .collect();
    // Other tests run beside this one; 200 descriptors would show.
    assert!(descriptors() < before + 100, "{before} before, {} after", descriptors());
    assert!(kept.iter().all(|listener| listener.accept(SOON).is_err_and(|error| error.code() == Code::Closed)));
}

#[test]
fn two_busy_senders_both_end_at_their_deadline_instead_of_hanging() {
    let (client, server) = pair(&Place::new());
    let limit = Duration::from_millis(400);
    let flood = |peer: &Peer| {
        let payload = Bytes::from(vec![0; 1 << 20]);
        let start = Instant::now();
        loop {
            let now = Instant::now();
            if let Err(error) = peer.send(Channel::DATA, &payload, limit) {
                assert!(start.elapsed() >= limit);
                return (error.code(), now.elapsed());
            }
        }
    };
    std::thread::scope(|scope| {
        let other = scope.spawn(|| flood(&server));
        let (code, took) = flood(&client);
        // Whoever ends first closes; the other may see that before its own deadline.
        let (other_code, _) = other.join().unwrap();
        for code in [code, other_code] {
            assert!(matches!(code, Code::Timeout | Code::ConnectionLost), "{code:?}");
        }
        assert!(took < limit + SOON / 2);
    });
}

#[test]
fn close_wakes_every_waiter_and_is_idempotent() {
    let place = Place::new();
    let (client, server) = pair(&place);
    let client = Arc::new(client);
    let waiters: Vec<_> = (0..6)
        .map(|n| {
            let client = client.clone();
            std::thread::spawn(move || match n {
                0..3 => client.recv(Wait::forever()).unwrap_err().code(),
                3 => client.recv_on(Channel::ERROR, Wait::forever()).unwrap_err().code(),
                4 => client.start(b"?").and_then(|c| c.wait(Wait::forever())).unwrap_err().code(),
                _ => client.ping(Wait::forever()).map(|_| Code::Closed).unwrap_or_else(|e| e.code()),
            })
        })
        .collect();
    until("all wait", || client.stats().unwrap().pending_operations == 6);
    let start = Instant::now();
    client.close();
    client.close();
    for waiter in waiters {
        assert_eq!(waiter.join().unwrap(), Code::Closed);
    }
    assert!(start.elapsed() < SOON / 2);
    assert_eq!(client.recv(SOON).unwrap_err().code(), Code::Closed);
    assert_eq!(client.send(Channel::DATA, b"", SOON).unwrap_err().code(), Code::Closed);
    assert_eq!(client.start(b"").unwrap_err().code(), Code::Closed);
    assert_eq!(client.ping(SOON).unwrap_err().code(), Code::Closed);
    assert_eq!(server.recv(SOON).map(|m| m.channel()).unwrap(), Channel::COMMAND);
    assert_eq!(server.recv(SOON).unwrap_err().code(), Code::PeerClosed);
    server.close();
}

#[cfg(unix)]
#[test]
fn closing_a_listener_wakes_accept_and_leaves_accepted_peers_alone() {
    let place = Place::new();
    let listener = Arc::new(Listener::bind(&place.address("a.sock")).unwrap());
    let client = {
        let address = place.address("a.sock");
        std::thread::spawn(move || Peer::connect(&address, SOON).unwrap())
    };
    let server = listener.accept(SOON).unwrap();
    let client = client.join().unwrap();
    let waiters: Vec<_> = (0..3)
        .map(|_| {
            let listener = listener.clone();
            std::thread::spawn(move || listener.accept(Wait::forever()).unwrap_err().code())
        })
        .collect();
    listener.close();
    listener.close();
    for waiter in waiters {
        assert_eq!(waiter.join().unwrap(), Code::Closed);
    }
    assert_eq!(listener.accept(SOON).unwrap_err().code(), Code::Closed);
    assert!(!place.path("a.sock").exists());
    client.send(Channel::DATA, b"on", SOON).unwrap();
    assert_eq!(server.recv(SOON).unwrap().payload(), "on");
}

#[test]
fn draining_delivers_everything_and_then_closes() {
    let (client, server) = pair(&Place::new());
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| {
            let mut got = Vec::new();
            loop {
                match server.recv(SOON) {
                    Ok(message) => got.push(message.into_payload()),
                    Err(error) => return (got.len(), error.code()),
                }
            }
        });
        for _ in 0..100 {
            client.send(Channel::DATA, vec![3; 10_000], SOON).unwrap();
        }
        client.drain(SOON).unwrap();
        assert_eq!(client.send(Channel::DATA, b"", SOON).unwrap_err().code(), Code::Closed);
        client.drain(SOON).unwrap();
        assert_eq!(reader.join().unwrap(), (100, Code::PeerClosed));
    });
}

#[test]
fn pings_are_independent() {
    let (client, server) = pair(&Place::new());
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| server.recv(SOON).unwrap());
        let pings: Vec<_> = (0..8).map(|_| scope.spawn(|| client.ping(SOON).unwrap())).collect();
        assert!(pings.into_iter().all(|p| p.join().unwrap() < SOON));
        client.send(Channel::DATA, b"end", SOON).unwrap();
        assert_eq!(reader.join().unwrap().payload(), "end");
    });
}

#[cfg(unix)]
#[test]
fn both_sides_know_each_other() {
    let place = Place::new();
    let (client, server) = pair(&place);
    let (mine, theirs) = (client.info().unwrap(), server.info().unwrap());
    assert_eq!(mine.peer_id, "peer-1");
    assert_eq!(mine.peer_id, theirs.peer_id);
    assert_eq!((mine.level, mine.carrier), (1, "unix"));
    assert_eq!(mine.credentials.unwrap().pid, std::process::id() as i32);
    assert_eq!(theirs.credentials, mine.credentials);
    assert_eq!(theirs.peer_instance.as_deref(), Some(&*mine.instance));
    assert_eq!(mine.peer_instance.as_deref(), Some(&*theirs.instance));
    assert_eq!(mine.address, format!("unix:{}", place.address("pair.sock")));
}

#[cfg(unix)]
#[test]
fn secrets_and_identities_are_checked_before_anything_is_delivered() {
    let place = Place::new();
    let address: Address = place.address("a.sock").parse().unwrap();
    let secret = Secret::new("open sesame").unwrap();
    let listener = Listener::bind_with(&address, &ListenOptions::new().auth_token(secret.clone())).unwrap();
    std::thread::scope(|scope| {
        let server = scope.spawn(|| listener.accept(SOON).unwrap());
        let wrong = ConnectOptions::new().auth_token(Secret::new("open sesamf").unwrap());
        for options in [ConnectOptions::new(), wrong] {
            let error = Peer::connect_with(&address, &options, SOON).unwrap_err();
            assert_eq!(error.code(), Code::AuthenticationFailed);
        }
        let _client = Peer::connect_with(&address, &ConnectOptions::new().auth_token(secret), SOON).unwrap();
        server.join().unwrap();
    });
    let refusals = listener.take_refusals().unwrap();
    assert_eq!(refusals.len(), 2);
    assert!(refusals.iter().all(|r| r.error.code() == Code::AuthenticationFailed));
    assert_eq!(listener.stats().unwrap().refused[&Code::AuthenticationFailed], 2);
    assert!(!format!("{refusals:?}").contains("sesam"));

    let strangers = ListenOptions::new().allow_uids(&[12_345]);
    let address: Address = place.address("b.sock").parse().unwrap();
    let listener = Listener::bind_with(&address, &strangers).unwrap();
    std::thread::scope(|scope| {
        let server = scope.spawn(|| listener.accept(Wait::forever()).unwrap_err().code());
        let error = Peer::connect(&place.address("b.sock"), SOON).unwrap_err();
        assert_eq!(error.code(), Code::PermissionDenied);
        listener.close();
        assert_eq!(server.join().unwrap(), Code::Closed);
    });
}

#[cfg(unix)]
#[test]
fn abstract_sockets_need_an_identity_check() {
    let address: Address = format!("unix:@hostlane-test-{}", std::process::id()).parse().unwrap();
    let error = Listener::bind_with(&address, &ListenOptions::new()).unwrap_err();
    assert_eq!(error.code(), Code::AuthenticationRequired);
    let error = Peer::connect_with(&address, &ConnectOptions::new(), SOON).unwrap_err();
    assert_eq!(error.code(), Code::AuthenticationRequired);
    let token = ListenOptions::new().auth_token(Secret::new("x").unwrap());
    assert_eq!(Listener::bind_with(&address, &token).unwrap_err().code(), Code::InvalidArgument);

    let me = std::os::unix::fs::MetadataExt::uid(&std::fs::metadata("/proc/self").unwrap());
    let listener = Listener::bind_with(&address, &ListenOptions::new().allow_uids(&[me])).unwrap();
    let again = Listener::bind_with(&address, &ListenOptions::new().allow_uids(&[me]));
    assert_eq!(again.unwrap_err().code(), Code::AddressInUse);
    std::thread::scope(|scope| {
        let server = scope.spawn(|| listener.accept(SOON).unwrap());
        let client = Peer::connect_with(&address, &ConnectOptions::new().allow_uids(&[me]), SOON).unwrap();
        client.send(Channel::DATA, b"hi", SOON).unwrap();
        assert_eq!(server.join().unwrap().recv(SOON).unwrap().payload(), "hi");
    });
}

#[cfg(unix)]
#[test]
fn forms_of_other_builds_answer_unsupported_and_bad_options_are_refused() {
    for text in ["tls:localhost:1", "pipe:x"] {
        assert_eq!(Listener::bind(text).unwrap_err().code(), Code::Unsupported, "{text}");
        assert_eq!(Peer::connect(text, SOON).unwrap_err().code(), Code::Unsupported, "{text}");
    }
    // Who starts a program connects to it; who is activated listens.
    assert_eq!(Listener::bind("spawn:x").unwrap_err().code(), Code::Unsupported);
    assert_eq!(Peer::connect("systemd:", SOON).unwrap_err().code(), Code::Unsupported);
    let address: Address = Place::new().address("x.sock").parse().unwrap();
    for options in [
        ConnectOptions::new().channels(&[]),
        ConnectOptions::new().max_message(0),
        ConnectOptions::new().max_message(limits::MAX_MESSAGE + 1),
        ConnectOptions::new().handshake_timeout(Duration::ZERO),
    ] {
        assert_eq!(Peer::connect_with(&address, &options, SOON).unwrap_err().code(), Code::InvalidArgument);
    }
}

#[test]
fn a_call_that_is_waited_for_in_vain_can_be_waited_for_again() {
    let (client, server) = pair(&Place::new());
    let mut call = client.start(b"slow").unwrap();
    assert_eq!(call.try_wait(Duration::from_millis(20)).unwrap_err().code(), Code::Timeout);
    assert!(!call.is_done());
    let message = server.recv(SOON).unwrap();
    assert!(!message.is_cancelled());
    message.reply(b"late", SOON).unwrap();
    until("the reply arrived", || call.is_done());
    assert_eq!(call.try_wait(Wait::none()).unwrap().payload(), "late");
    assert!(!call.is_open());
    assert_eq!(call.try_wait(SOON).unwrap_err().code(), Code::InvalidArgument);
    // One that runs out of its own time is over.
    let options = CallOptions::new().deadline(Instant::now() + Duration::from_millis(500));
    let mut call = client.start_with(b"late", options).unwrap();
    assert_eq!(call.try_wait(Duration::from_millis(1)).unwrap_err().code(), Code::Timeout);
    assert!(call.is_open());
    let error = call.try_wait(SOON).unwrap_err();
    assert_eq!((error.code(), error.sent(), call.is_open()), (Code::Timeout, Sent::Maybe, false));
}

#[test]
fn what_is_there_needs_no_sleep_and_a_sleep_is_announced() {
    let (client, server) = pair(&Place::new());
    let mut announced = 0;
    let mut sleep = |rest: &mut dyn FnMut()| {
        announced += 1;
        client.send(Channel::DATA, b"late", SOON).unwrap();
        rest();
    };
    client.send(Channel::DATA, b"early", SOON).unwrap();
    for text in ["early", "late"] {
        let wait = Wait::from(SOON).apart(Duration::ZERO, &mut sleep);
        assert_eq!(server.recv(wait).unwrap().payload(), text);
    }
    let passed = server.recv(Wait::none().apart(Duration::ZERO, &mut sleep));
    assert_eq!((passed.unwrap_err().code(), announced), (Code::Timeout, 1));
    // A hook that forgets the rest ends the wait, and nothing else.
    let forgotten = server.recv(Wait::from(SOON).apart(Duration::ZERO, &mut |_: &mut dyn FnMut()| {}));
    assert_eq!(forgotten.unwrap_err().code(), Code::Internal);
    client.send(Channel::DATA, b"more", SOON).unwrap();
    let looked =
        server.recv(Wait::from(SOON).apart(SOON, &mut |_: &mut dyn FnMut()| panic!("it looks for long enough")));
    assert_eq!(looked.unwrap().payload(), "more");
}

#[test]
fn all_that_is_there_comes_whole() {
    let (client, server) = pair(&Place::new());
    let options = || CallOptions::new().trace(&b"trace"[..]);
    let calls: Vec<_> = (0..3).map(|_| client.start_with(b"call", options()).unwrap()).collect();
    client.send_with(b"message", options(), SOON).unwrap();
    let mut messages = Vec::new();
    while messages.len() < 4 {
        server.recv_all(&mut messages, 2, SOON).unwrap();
    }
    assert!(messages.iter().all(|message| message.trace().unwrap() == "trace"));
    assert_eq!(messages.iter().filter(|message| message.is_request()).count(), 3);
    messages.iter().filter(|m| m.is_request()).for_each(|m| m.reply(b"", SOON).unwrap());
    calls.into_iter().for_each(|call| drop(call.wait(SOON).unwrap()));
    let error = server.recv_all(&mut messages, 1, Duration::from_millis(10)).unwrap_err();
    assert_eq!(error.code(), Code::Timeout);
}

#[test]
fn a_wait_lets_go_what_a_cork_holds() {
    let (client, server) = pair(&Place::new());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for _ in 0..2 {
                let message = server.recv(SOON).unwrap();
                message.reply(message.payload(), SOON).unwrap();
            }
        });
        let _cork = client.cork();
        let call = client.start(b"call").unwrap();
        assert_eq!(call.wait(SOON).unwrap().payload(), "call");
        client.send(Channel::DATA, b"message", SOON).unwrap();
        assert_eq!(client.recv(SOON).unwrap().payload(), "message");
        client.send(Channel::DATA, b"held again", SOON).unwrap();
    });
    assert_eq!(server.recv(SOON).unwrap().payload(), "held again");
}
