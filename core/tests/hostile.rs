//! Peers made of raw bytes: each fault gets its own code, and nobody else notices.
#![cfg(unix)]

mod common;

use std::io::Write;
use std::time::{Duration, Instant};

use common::bytes::{FIRST, LAST, MESSAGE, REQUEST, Raw1, WHOLE};
use common::{HELLO, Place, Raw, SOON, WELCOME, frame, until};
use hostlane::{Address, Channel, Code, ListenOptions, Listener, Peer, Wait, limits};

/// A listener that hands each accepted peer to `serve`, on a thread of its own, until the test ends.
fn serve(
    place: &Place,
    options: ListenOptions,
    serve: impl Fn(Peer) + Send + Sync + Copy + 'static,
) -> (String, std::sync::Arc<Listener>) {
    let text = place.address("server.sock");
    let address: Address = text.parse().unwrap();
    let listener = std::sync::Arc::new(Listener::bind_with(&address, &options).unwrap());
    let accepting = listener.clone();
    std::thread::spawn(move || {
        while let Ok(peer) = accepting.accept(Wait::forever()) {
            std::thread::spawn(move || serve(peer));
        }
    });
    (text, listener)
}

fn echo(peer: Peer) {
    while let Ok(message) = peer.recv(Wait::forever()) {
        if message.reply(message.payload(), SOON).is_err() {
            return;
        }
    }
}

/// What the first receive of a server says to `bytes` after a good handshake, then end of stream.
fn verdict(bytes: &[u8]) -> Code {
    let place = Place::new();
    let listener = Listener::bind(&place.address("a.sock")).unwrap();
    std::thread::scope(|scope| {
        let server = scope.spawn(|| listener.accept(SOON).unwrap());
        let mut raw = Raw::shaken(&place.address("a.sock"));
        raw.write(bytes);
        let peer = server.join().unwrap();
        let code = loop {
            match peer.recv_on(Channel::DATA, Duration::from_millis(200)) {
                Ok(_) => {}
                Err(error) if error.code() == Code::Timeout => drop(raw.0.shutdown(std::net::Shutdown::Write)),
                Err(error) => break error.code(),
            }
        };
        drop(peer);
        raw.closed();
        code
    })
}

#[test]
fn each_broken_stream_has_its_code() {
    assert_eq!(verdict(b"GET / HTTP/1.1\r\n\r\n"), Code::BadMagic);
    assert_eq!(verdict(&[0x16, 0x03, 0x01]), Code::BadMagic);
    assert_eq!(verdict(b"IQ"), Code::BadMagic);
    assert_eq!(verdict(&frame(2, b"fine")), Code::PeerClosed);
    assert_eq!(verdict(&frame(2, b"cut")[..10]), Code::Truncated);
    assert_eq!(verdict(&[frame(2, b"fine"), frame(5, b"")].concat()), Code::UnknownChannel);
    assert_eq!(verdict(&frame(256, b"")), Code::UnknownChannel);
    assert_eq!(verdict(&frame(0, b"{\"type\":\"reboot\"}")), Code::UnknownControl);
    assert_eq!(verdict(&frame(0, b"{")), Code::BadControl);
    assert_eq!(verdict(&frame(0, b"")), Code::BadControl);
    assert_eq!(verdict(&frame(0, b"{\"type\":\"shutdown_force\"}")), Code::PeerClosed);
    for len in [limits::MAX_MESSAGE as u32 + 1, 1 << 31, u32::MAX] {
        let mut header = frame(2, b"");
        header[2..6].copy_from_slice(&len.to_le_bytes());
        assert_eq!(verdict(&header), Code::FrameTooLarge);
    }
}

#[test]
fn one_byte_at_a_time_and_a_thousand_at_once_are_the_same() {
    let place = Place::new();
    let (address, _listener) = serve(&place, ListenOptions::new(), echo);
    let mut raw = Raw::connect(&address);
    for byte in [frame(0, HELLO), frame(2, b"dripped")].concat() {
        raw.write(&[byte]);
    }
    assert_eq!(raw.frame().unwrap().0, 0);
    assert_eq!(raw.frame().unwrap(), (2, b"dripped".to_vec()));

    let mut raw = Raw::connect(&address);
    let burst: Vec<u8> = (0..1000u32).flat_map(|n| frame(3, &n.to_le_bytes())).collect();
    raw.write(&[frame(0, HELLO), burst].concat());
    assert_eq!(raw.frame().unwrap().0, 0);
    for n in 0..1000u32 {
        assert_eq!(raw.frame().unwrap(), (3, n.to_le_bytes().to_vec()));
    }
}

#[test]
fn a_bad_handshake_is_refused_with_its_reason_on_both_sides() {
    let place = Place::new();
    let (address, listener) = serve(&place, ListenOptions::new(), echo);
    let request = |protocol: &str, version: &str, channels: &str| {
        format!("{{\"protocol\":\"{protocol}\",\"version\":\"{version}\",\"channels\":[{channels}]}}").into_bytes()
    };
    let cases = [
        (frame(0, b"not json"), Code::BadHandshake),
        (frame(0, b""), Code::BadHandshake),
        (frame(2, HELLO), Code::BadHandshake),
        (frame(0, &request("grpc", "1.0", "1")), Code::ProtocolMismatch),
        (frame(0, &request("ipcprims", "2.0", "1")), Code::VersionMismatch),
        (frame(0, &request("ipcprims", "1.0", "0")), Code::BadHandshake),
        (frame(0, &request("ipcprims", "1.0", "9")), Code::NoCommonChannel),
        (frame(0, &vec![b' '; limits::MAX_HANDSHAKE + 1])[..8].to_vec(), Code::FrameTooLarge),
        (b"HTTP".to_vec(), Code::BadMagic),
    ];
    for (bytes, code) in &cases {
        let mut raw = Raw::connect(&address);
        raw.write(bytes);
        let (channel, text) = raw.frame().expect("a refusal");
        let json: serde_json::Value = serde_json::from_slice(&text).unwrap();
        assert_eq!((channel, json["error"]["code"].as_i64().unwrap()), (0, i64::from(code.number())));
        assert_eq!(json["error"]["name"], code.name());
        assert!(json.get("channels").is_none() && json.get("peer_id").is_none());
        raw.closed();
    }
    let reasons: Vec<Code> = listener.take_refusals().unwrap().iter().map(|r| r.error.code()).collect();
    assert_eq!(reasons, cases.iter().map(|(_, code)| *code).collect::<Vec<_>>());
}

#[test]
fn a_bad_server_is_refused_by_the_client() {
    let place = Place::new();
    let response = |text: &str| frame(0, text.as_bytes());
    let good = std::str::from_utf8(WELCOME).unwrap();
    for (bytes, code) in [
        (Vec::new(), Code::Refused),
        (b"HTTP/1.1 400\r\n".to_vec(), Code::BadMagic),
        (frame(0, b"{}"), Code::BadHandshake),
        (frame(1, WELCOME), Code::BadHandshake),
        (response(&good.replace("ipcprims", "other")), Code::ProtocolMismatch),
        (response(&good.replace("1.0", "2.0")), Code::VersionMismatch),
        (response(&good.replace("[1,2,3,4]", "[1,7]")), Code::BadHandshake),
        (response(&good.replace("[1,2,3,4]", "[]")), Code::NoCommonChannel),
        (frame(0, WELCOME)[..20].to_vec(), Code::Truncated),
    ] {
        let address = place.address("fake.sock");
        let _ = std::fs::remove_file(&address);
        let listener = std::os::unix::net::UnixListener::bind(&address).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| {
                let (stream, _) = listener.accept().unwrap();
                let mut raw = Raw(stream);
                raw.frame().unwrap();
                raw.write(&bytes);
            });
            let error = Peer::connect(&address, SOON).unwrap_err();
            assert_eq!(error.code(), code, "{}: {error}", String::from_utf8_lossy(&bytes));
        });
    }
}

#[test]
fn a_silent_server_costs_the_client_its_deadline_only() {
    let place = Place::new();
    let address = place.address("mute.sock");
    let _listener = std::os::unix::net::UnixListener::bind(&address).unwrap();
    let start = Instant::now();
    let error = Peer::connect(&address, Duration::from_millis(80)).unwrap_err();
    assert_eq!(error.code(), Code::Timeout);
    assert!(start.elapsed() >= Duration::from_millis(80) && start.elapsed() < SOON / 2);
}

#[test]
fn silent_and_dripping_clients_delay_nobody_and_are_closed_at_the_total_deadline() {
    let place = Place::new();
    let limit = Duration::from_millis(600);
    let (address, listener) = serve(&place, ListenOptions::new().handshake_timeout(limit), echo);
    let start = Instant::now();
    let mut silent: Vec<Raw> = (0..100).map(|_| Raw::connect(&address)).collect();
    let mut dripping: Vec<Raw> = (0..50).map(|_| Raw::connect(&address)).collect();
    let hello = frame(0, HELLO);
    let mut at = 0;
    while start.elapsed() < limit * 3 / 4 {
        for raw in &mut dripping {
            raw.write(&hello[at..=at]);
        }
        at += 1;
        let honest = Instant::now();
        let peer = Peer::connect(&address, SOON).unwrap();
        assert_eq!(peer.start(b"hi").unwrap().wait(SOON).unwrap().payload(), "hi");
        assert!(honest.elapsed() < Duration::from_secs(2), "{:?}", honest.elapsed());
        assert!(at + 2 < hello.len());
        std::thread::park_timeout(Duration::from_millis(20));
    }
    for raw in silent.iter_mut().chain(&mut dripping) {
        let (_, refusal) = raw.frame().expect("a refusal");
        assert!(String::from_utf8(refusal).unwrap().contains("\"timeout\""));
        raw.closed();
    }
    assert!(start.elapsed() >= limit);
    assert!(start.elapsed() < limit + SOON / 2);
    until("all were counted", || listener.stats().unwrap().refused.get(&Code::Timeout) == Some(&150));
    assert_eq!(listener.stats().unwrap().half_open, 0);
}

#[test]
fn too_many_half_open_clients_cost_the_oldest_its_place() {
    let place = Place::new();
    let (address, listener) = serve(&place, ListenOptions::new(), echo);
    let mut oldest = Raw::connect(&address);
    until("it is known", || listener.stats().unwrap().half_open == 1);
    let others: Vec<Raw> = (0..limits::MAX_HALF_OPEN).map(|_| Raw::connect(&address)).collect();
    let (_, refusal) = oldest.frame().expect("a refusal");
    assert!(String::from_utf8(refusal).unwrap().contains("too_many_handshakes"));
    until("the rest is held", || listener.stats().unwrap().half_open == limits::MAX_HALF_OPEN);
    drop(others);
    until("all are gone", || listener.stats().unwrap().half_open == 0);
}

#[test]
fn an_unread_flood_is_held_back_in_bounded_memory_and_loses_nothing() {
    let place = Place::new();
    let listener = Listener::bind(&place.address("a.sock")).unwrap();
    std::thread::scope(|scope| {
        let server = scope.spawn(|| listener.accept(SOON).unwrap());
        let mut raw = Raw::shaken(&place.address("a.sock"));
        let server = server.join().unwrap();
        let sender = scope.spawn(move || {
            for n in 0..40u8 {
                raw.0.write_all(&frame(2, &vec![n; 1 << 20])).unwrap();
            }
            raw
        });
        // A receive on another channel keeps the reader going until the bound.
        let error = server.recv_on(Channel::ERROR, Duration::from_millis(500)).unwrap_err();
        assert_eq!(error.code(), Code::Timeout);
        let queue = server.stats().unwrap().receive_queue;
        assert!(queue.peak_bytes <= limits::RECV_QUEUE + (1 << 20) + limits::MESSAGE_OVERHEAD, "{queue:?}");
        for n in 0..40u8 {
            let message = server.recv(SOON).unwrap();
            assert!(message.payload().len() == 1 << 20 && message.payload().iter().all(|b| *b == n));
        }
        drop(sender.join().unwrap());
        assert_eq!(server.recv(SOON).unwrap_err().code(), Code::PeerClosed);
    });
}

#[test]
fn a_caller_that_waits_while_the_queue_is_full_wakes_when_it_is_emptied() {
    let place = Place::new();
    let listener = Listener::bind(&place.address("a.sock")).unwrap();
    let address = place.address("a.sock");
    let client = std::thread::spawn(move || Raw::shaken(&address));
    let server = listener.accept(SOON).unwrap();
    let mut raw = client.join().unwrap();
    std::thread::scope(|scope| {
        let waiting = scope.spawn(|| server.recv_on(Channel::ERROR, SOON).unwrap());
        scope.spawn(move || {
            for _ in 0..20 {
                raw.0.write_all(&frame(2, &vec![0; 1 << 20])).unwrap();
            }
            raw.write(&frame(4, b"behind the flood"));
            raw.closed();
        });
        until("reading paused", || server.stats().unwrap().receive_queue.bytes >= limits::RECV_QUEUE);
        for _ in 0..20 {
            server.recv_on(Channel::DATA, SOON).unwrap();
        }
        assert_eq!(waiting.join().unwrap().payload(), "behind the flood");
        server.close();
    });
}

#[test]
fn a_sender_that_waits_for_room_does_not_keep_others_from_reading() {
    // The raw side reads nothing until all of its flood was taken, and the flood exceeds the receive
    // queue: only if reading goes on while our own send is stuck does anything move.
    let place = Place::new();
    let listener = Listener::bind(&place.address("a.sock")).unwrap();
    let address = place.address("a.sock");
    let client = std::thread::spawn(move || Raw::shaken(&address));
    let server = listener.accept(SOON).unwrap();
    let mut raw = client.join().unwrap();
    std::thread::scope(|scope| {
        let raw = scope.spawn(move || {
            for n in 0..30u8 {
                raw.write(&frame(3, &vec![n; 1 << 20]));
            }
            assert_eq!(raw.frame().unwrap(), (2, vec![9; 12 << 20]));
        });
        let sender = scope.spawn(|| server.send(Channel::DATA, vec![9; 12 << 20], SOON));
        until("reading paused", || server.stats().unwrap().receive_queue.bytes >= limits::RECV_QUEUE);
        until("the send is stuck", || server.stats().unwrap().send_queue.bytes > 0);
        for n in 0..30u8 {
            assert_eq!(server.recv_on(Channel::TELEMETRY, SOON).unwrap().payload()[0], n);
        }
        sender.join().unwrap().unwrap();
        raw.join().unwrap();
    });
}

#[test]
fn stock_control_messages_are_answered_in_the_stock_way() {
    let place = Place::new();
    let (address, _listener) = serve(&place, ListenOptions::new(), echo);
    let mut raw = Raw::shaken(&address);
    raw.write(&frame(0, br#"{"type":"ping","payload":{"n":1},"timestamp":"t"}"#));
    assert_eq!(raw.frame().unwrap(), (0, br#"{"type":"pong"}"#.to_vec()));
    raw.write(&frame(0, br#"{"type":"pong"}"#));
    raw.write(&frame(0, br#"{"type":"shutdown_ack"}"#));
    raw.write(&frame(2, b"last"));
    raw.write(&frame(0, br#"{"type":"shutdown_request","payload":{"reason":"bye"}}"#));
    let mut answers = vec![raw.frame().unwrap(), raw.frame().unwrap()];
    answers.sort();
    assert_eq!(answers, [(0, br#"{"type":"shutdown_ack"}"#.to_vec()), (2, b"last".to_vec())]);
}

#[test]
fn whoever_is_killed_at_whatever_byte_leaves_whole_messages_and_one_end() {
    let place = Place::new();
    let listener = Listener::bind(&place.address("a.sock")).unwrap();
    // Whole ones, an empty one, a request, and one in two pieces on a channel while another one passes between them.
    let total = 40u32.to_le_bytes();
    let frames = [
        (Raw1::encode(MESSAGE, WHOLE, 2, 0, b"first"), Some("first")),
        (Raw1::encode(MESSAGE, WHOLE, 3, 0, b""), Some("")),
        (Raw1::encode(REQUEST, WHOLE, 1, 1, b"a request"), Some("a request")),
        (Raw1::encode(MESSAGE, FIRST, 2, 0, &[&total[..], &[b'x'; 25]].concat()), None),
        (Raw1::encode(MESSAGE, WHOLE, 4, 0, b"between"), Some("between")),
        (Raw1::encode(MESSAGE, LAST, 2, 0, &[b'x'; 15]), Some("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx")),
    ];
    let stream: Vec<u8> = frames.iter().flat_map(|(frame, _)| frame.clone()).collect();
    for cut in 0..=stream.len() {
        let (peer, raw) = std::thread::scope(|scope| {
            let server = scope.spawn(|| listener.accept(SOON).unwrap());
            let mut raw = Raw1::connect(&place.address("a.sock"), "", "");
            raw.0.write_all(&stream[..cut]).unwrap();
            (server.join().unwrap(), raw)
        });
        drop(raw);
        let (mut whole, mut at) = (Vec::new(), 0);
        for (frame, message) in &frames {
            at += frame.len();
            whole.extend(message.filter(|_| at <= cut));
        }
        let (mut got, mut calls) = (Vec::new(), Vec::new());
        let end = loop {
            match peer.recv(SOON) {
                Ok(message) => {
                    got.push(String::from_utf8(message.payload().to_vec()).unwrap());
                    calls.extend(message.is_request().then_some(message));
                }
                Err(error) => break error,
            }
        };
        assert_eq!(got, whole, "cut at {cut}");
        let between = cut == stream.len() || {
            let (mut at, mut ends) = (0, vec![0]);
            for (frame, _) in &frames[..3] {
                at += frame.len();
                ends.push(at);
            }
            ends.contains(&cut)
        };
        // Whoever is killed with something unread resets the connection.
        let plain = if between { Code::PeerClosed } else { Code::Truncated };
        assert!([plain, Code::ConnectionLost].contains(&end.code()), "cut at {cut}: {end}");
        // The end stays what it was, and a request that came before it is nobody's any more.
        assert_eq!(peer.recv(SOON).unwrap_err().code(), end.code());
        assert!(calls.iter().all(|call| call.is_cancelled() && call.reply(b"late", SOON).is_err()));
        assert_eq!(peer.stats().unwrap().pending_operations, 0);
    }
}
