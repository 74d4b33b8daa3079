//! Windows named pipes, and what else there is on Windows.
#![cfg(windows)]

mod common;

use std::io::{Read, Write};
use std::time::{Duration, Instant};

use common::events::Events;
use common::{Dice, HELLO, Place, Process, SOON, child_role, frame, pair, pair_on_level_0, until};
use hostlane::{
    Address, CallOptions, Channel, Code, ConnectOptions, Link, LinkEvent, LinkOptions, ListenOptions, Listener,
    Outcome, Peer, Secret, Wait,
};

const SHORT: Duration = Duration::from_millis(120);

/// Not a test by itself: what this binary does as a child process.
#[test]
fn child() {
    let Some((role, address)) = child_role() else { return };
    let listener = Listener::bind(&address).unwrap();
    match role.as_str() {
        "echo" => {
            while let Ok(peer) = listener.accept(Wait::forever()) {
                std::thread::spawn(move || echo(&peer));
            }
        }
        "swallow" => {
            let peer = listener.accept(Wait::forever()).unwrap();
            let mut swallowed = Vec::new();
            while let Ok(message) = peer.recv(Wait::forever()) {
                swallowed.push(message);
            }
        }
        other => panic!("no such child: {other}"),
    }
}

/// Answers every request with its payload until the other side leaves.
fn echo(peer: &Peer) {
    while let Ok(message) = peer.recv(Wait::forever()) {
        let _ = message.reply(message.payload(), SOON);
    }
}

fn connected(process: &str, address: &str) -> (Process, Peer) {
    let process = Process::start(process, address);
    let mut peer = None;
    until("the child serves", || {
        peer = Peer::connect(address, SOON).ok();
        peer.is_some()
    });
    (process, peer.unwrap())
}

fn refused<T>(result: hostlane::Result<T>) -> Code {
    result.err().expect("an error").code()
}

#[test]
fn both_sides_are_told_who_is_there() {
    let (client, server) = pair(&Place::new());
    for peer in [&client, &server] {
        let info = peer.info().unwrap();
        assert_eq!((info.carrier, info.level), ("pipe", 1));
        let who = info.credentials.unwrap();
        // No number stands for a user here, least of all that of root.
        assert_eq!((who.pid.cast_unsigned(), who.uid, who.gid), (std::process::id(), u32::MAX, u32::MAX));
    }
    assert_eq!(client.info().unwrap().peer_id, server.info().unwrap().peer_id);
}

#[test]
fn the_other_process_is_named() {
    let place = Place::new();
    let (process, peer) = connected("echo", &place.address("a"));
    assert_eq!(peer.info().unwrap().credentials.unwrap().pid.cast_unsigned(), process.0.id());
    assert_eq!(peer.request(b"ping", SOON).unwrap().payload(), "ping");
}

#[test]
fn calls_of_every_size_come_back_whole() {
    let place = Place::new();
    let (_process, peer) = connected("echo", &place.address("a"));
    let mut dice = Dice(0x9E37_79B9);
    let largest = peer.info().unwrap().max_message;
    assert_eq!(largest, 16 << 20);
    for len in [0, 1, 64, 4096, 65_535, 65_536, 65_537, 262_144, 1 << 20, largest] {
        let payload: Vec<u8> = (0..len.div_ceil(8)).flat_map(|_| dice.roll().to_le_bytes()).take(len).collect();
        let reply = peer.request(&payload[..], SOON).unwrap();
        assert!(reply.payload() == &payload, "{len} bytes came back as {}", reply.payload().len());
    }
    assert_eq!(refused(peer.request(&vec![0; largest + 1][..], SOON)), Code::PayloadTooLarge);
}

#[test]
fn a_thousand_calls_in_flight_are_answered_in_any_order() {
    let (client, server) = pair(&Place::new());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut dice = Dice(7);
            let mut requests: Vec<_> = (0..1000).map(|_| server.recv(SOON).unwrap()).collect();
            dice.shuffle(&mut requests);
            for request in requests {
                request.reply(request.payload(), SOON).unwrap();
            }
        });
        let calls: Vec<_> = (0..1000u32).map(|n| (n, client.start(&n.to_le_bytes()[..]).unwrap())).collect();
        for (n, call) in calls {
            assert_eq!(call.wait(SOON).unwrap().payload()[..], n.to_le_bytes());
        }
    });
}

#[test]
fn many_threads_call_at_once() {
    let place = Place::new();
    let (_process, peer) = connected("echo", &place.address("a"));
    std::thread::scope(|scope| {
        for thread in 0..24u64 {
            let peer = &peer;
            scope.spawn(move || {
                for n in 0..100u64 {
                    let payload = [thread.to_le_bytes(), n.to_le_bytes()].concat();
                    assert_eq!(peer.request(&payload[..], SOON).unwrap().payload(), &payload);
                }
            });
        }
    });
}

#[test]
fn level_0_goes_over_a_pipe_too() {
    let (client, server) = pair_on_level_0(&Place::new());
    assert_eq!((client.info().unwrap().level, server.info().unwrap().level), (0, 0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let request = server.recv(SOON).unwrap();
            request.reply(request.payload(), SOON).unwrap();
        });
        assert_eq!(client.request(b"zero", SOON).unwrap().payload(), "zero");
    });
}

#[test]
fn a_stock_client_that_opens_the_pipe_as_a_file_shakes_hands() {
    let place = Place::new();
    let listener = Listener::bind(&place.address("a")).unwrap();
    let path = place.address("a").replace("pipe:", r"\\.\pipe\");
    std::thread::scope(|scope| {
        let server = scope.spawn(|| listener.accept(SOON).unwrap());
        let mut file = std::fs::File::options().read(true).write(true).open(path).unwrap();
        file.write_all(&frame(0, HELLO)).unwrap();
        let mut header = [0; 8];
        file.read_exact(&mut header).unwrap();
        assert_eq!(&header[..2], b"IP");
        let mut answer = vec![0; u32::from_le_bytes(header[2..6].try_into().unwrap()) as usize];
        file.read_exact(&mut answer).unwrap();
        let server = server.join().unwrap();
        assert_eq!(server.info().unwrap().level, 0);
        file.write_all(&frame(2, b"from a file")).unwrap();
        assert_eq!(server.recv(SOON).unwrap().payload(), "from a file");
        drop(file);
        assert!(matches!(refused(server.recv(SOON)), Code::PeerClosed | Code::ConnectionLost));
    });
}

#[test]
fn deadlines_end_waits_and_leave_the_connection_alone() {
    let place = Place::new();
    let (client, server) = pair(&place);
    let start = Instant::now();
    assert_eq!(refused(client.recv(SHORT)), Code::Timeout);
    let request = client.start(b"late").unwrap();
    assert_eq!(refused(request.wait(SHORT)), Code::Timeout);
    let took = start.elapsed();
    assert!(took >= SHORT * 2 && took < SOON, "{took:?}");
    let listener = Listener::bind(&place.address("other")).unwrap();
    assert_eq!(refused(listener.accept(SHORT)), Code::Timeout);
    // Nobody answers the handshake, whether the pipe has a place or not.
    for _ in 0..2 {
        assert_eq!(refused(Peer::connect(&place.address("other"), SHORT)), Code::Timeout);
    }
    client.send(Channel::DATA, b"still here", SOON).unwrap();
    assert_eq!(server.recv_on(Channel::DATA, SOON).unwrap().payload(), "still here");
}

#[test]
fn a_send_that_nobody_takes_ends_at_its_deadline() {
    let (client, _server) = pair(&Place::new());
    let payload = vec![7; 1 << 20];
    let mut sent = 0;
    let error = loop {
        match client.send(Channel::DATA, &payload[..], SHORT) {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
        assert!(sent < 64, "nobody reads, and all of it is taken");
    };
    assert_eq!(error.code(), Code::Timeout);
}

#[test]
fn closing_wakes_every_wait_of_this_side() {
    let place = Place::new();
    let (client, _server) = pair(&place);
    let listener = Listener::bind(&place.address("other")).unwrap();
    std::thread::scope(|scope| {
        let receive = scope.spawn(|| client.recv(Wait::forever()).map(drop));
        let call = scope.spawn(|| client.start(b"x").unwrap().wait(Wait::forever()).map(drop));
        let accept = scope.spawn(|| listener.accept(Wait::forever()).map(drop));
        until("both wait", || client.stats().unwrap().pending_operations == 2);
        client.close();
        listener.close();
        client.close();
        listener.close();
        for wait in [receive, call, accept] {
            assert_eq!(refused(wait.join().unwrap()), Code::Closed);
        }
    });
}

#[test]
fn closing_ends_the_waits_of_the_other_side() {
    let (client, server) = pair(&Place::new());
    std::thread::scope(|scope| {
        let receive = scope.spawn(|| server.recv(Wait::forever()).map(drop));
        until("it waits", || server.stats().unwrap().pending_operations == 1);
        client.close();
        assert_eq!(refused(receive.join().unwrap()), Code::PeerClosed);
    });
}

#[test]
fn what_was_sent_before_closing_arrives() {
    let (client, server) = pair(&Place::new());
    // More than the pipe keeps: the rest finishes behind the back of whoever closed.
    let payload = vec![3; 1_090_000];
    client.send(Channel::DATA, &payload[..], SOON).unwrap();
    client.close();
    drop(client);
    assert!(server.recv_on(Channel::DATA, SOON).unwrap().payload() == &payload);
    assert_eq!(refused(server.recv(SOON)), Code::PeerClosed);
}

#[test]
fn what_a_thread_began_does_not_end_with_it() {
    let (client, server) = pair(&Place::new());
    let payload = vec![4; 2_000_000];
    std::thread::scope(|scope| {
        // The system cancels what a thread began when it ends, unless it is told otherwise.
        let reader = scope.spawn(|| refused(client.recv(SHORT)));
        assert_eq!(reader.join().unwrap(), Code::Timeout);
        let received = scope.spawn(|| {
            std::thread::scope(|inner| {
                let first = inner.spawn(|| server.recv_on(Channel::DATA, SOON).unwrap());
                first.join().unwrap()
            })
        });
        scope.spawn(|| client.send(Channel::DATA, &payload[..], SOON).unwrap()).join().unwrap();
        assert!(received.join().unwrap().payload() == &payload);
    });
    // Kept behind the back of a thread that is gone before anybody reads.
    let small = vec![5; 1_080_000];
    std::thread::scope(|scope| scope.spawn(|| client.send(Channel::DATA, &small[..], SOON).unwrap()).join().unwrap());
    assert!(server.recv_on(Channel::DATA, SOON).unwrap().payload() == &small);
    client.send(Channel::DATA, b"and back", SOON).unwrap();
    assert_eq!(server.recv(SOON).unwrap().payload(), "and back");
}

#[test]
fn a_request_given_up_is_cancelled_at_the_other_side() {
    let (client, server) = pair(&Place::new());
    let call = client.start(b"never mind").unwrap();
    let request = server.recv(SOON).unwrap();
    drop(call);
    // The request's frame for it leaves with whoever moves bytes next.
    client.ping(SHORT).err();
    request.wait_cancelled(SOON).unwrap();
    assert!(request.is_cancelled());
}

#[test]
fn a_name_has_one_listener() {
    let place = Place::new();
    for address in [place.address("a"), format!("{}-name", place.0.path().file_name().unwrap().display())] {
        let listener = Listener::bind(&address).unwrap();
        assert_eq!(refused(Listener::bind(&address)), Code::AddressInUse);
        // Also while its only instance has a client.
        let client = std::thread::spawn({
            let address = address.clone();
            move || Peer::connect(&address, SOON).unwrap()
        });
        let server = listener.accept(SOON).unwrap();
        let client = client.join().unwrap();
        assert_eq!(refused(Listener::bind(&address)), Code::AddressInUse);
        // Free once it is closed, although its connections live on.
        listener.close();
        let next = Listener::bind(&address).unwrap();
        client.send(Channel::DATA, b"the old one", SOON).unwrap();
        assert_eq!(server.recv_on(Channel::DATA, SOON).unwrap().payload(), "the old one");
        drop(next);
        drop((client, server));
        assert_eq!(refused(Peer::connect(&address, SHORT)), Code::NotFound);
    }
}

#[test]
fn the_death_of_a_server_is_seen_at_once_and_its_name_is_free() {
    let place = Place::new();
    for _ in 0..3 {
        let (mut process, peer) = connected("swallow", &place.address("a"));
        std::thread::scope(|scope| {
            let call = scope.spawn(|| peer.start(b"never answered").unwrap().wait(Wait::forever()).map(drop));
            let receive = scope.spawn(|| peer.recv(Wait::forever()).map(drop));
            until("both wait", || peer.stats().unwrap().pending_operations == 2);
            let start = Instant::now();
            process.0.kill().unwrap();
            for wait in [call, receive] {
                assert!(matches!(refused(wait.join().unwrap()), Code::PeerClosed | Code::ConnectionLost));
            }
            assert!(start.elapsed() < SOON);
        });
    }
}

#[test]
fn clients_wait_for_a_place() {
    let place = Place::new();
    let listener = Listener::bind(&place.address("a")).unwrap();
    std::thread::scope(|scope| {
        let clients: Vec<_> = (0..40u32)
            .map(|n| {
                let address = place.address("a");
                scope.spawn(move || {
                    let peer = Peer::connect(&address, SOON).unwrap();
                    assert_eq!(peer.request(&n.to_le_bytes()[..], SOON).unwrap().payload()[..], n.to_le_bytes());
                })
            })
            .collect();
        for _ in &clients {
            let peer = listener.accept(SOON).unwrap();
            scope.spawn(move || echo(&peer));
        }
    });
    assert_eq!(listener.stats().unwrap().accepted, 40);
}

#[test]
fn silent_clients_keep_nobody_out() {
    let place = Place::new();
    let listener = Listener::bind(&place.address("a")).unwrap();
    let path = place.address("a").replace("pipe:", r"\\.\pipe\");
    let address = place.address("a");
    std::thread::scope(|scope| {
        let server = scope.spawn(|| listener.accept(SOON).unwrap());
        let mut silent = Vec::new();
        until("twenty silent clients are in", || {
            silent.extend(std::fs::File::options().read(true).write(true).open(&path).ok());
            silent.len() == 20
        });
        let client = Peer::connect(&address, SOON).unwrap();
        server.join().unwrap().send(Channel::DATA, b"hello", SOON).unwrap();
        assert_eq!(client.recv(SOON).unwrap().payload(), "hello");
    });
}

#[test]
fn a_context_drives_both_ends() {
    let (mut events, place) = (Events::new(), Place::new());
    let (client, server) = events.pair(&place);
    let receive = events.context.recv(&server, None, None);
    let receive = events.start(receive);
    assert!(!events.turn_within(SHORT), "nothing to do, and the handle is signalled");
    let call = events.context.request(&client, vec![5; 300_000], None);
    let call = events.start(call);
    let Outcome::Message(request) = events.wait(receive).unwrap() else { panic!() };
    let reply = events.context.reply(&request, request.payload().clone(), None);
    events.finish(reply).unwrap();
    let Outcome::Reply(reply) = events.wait(call).unwrap() else { panic!() };
    assert_eq!(reply.payload(), &vec![5; 300_000]);
    let receive = events.context.recv(&client, None, None);
    let receive = events.start(receive);
    let timer = events.context.timer(Instant::now() + SHORT);
    let timer = events.start(timer);
    assert!(matches!(events.wait(timer), Ok(Outcome::Elapsed)));
    server.close();
    assert_eq!(events.wait(receive).err().unwrap().code(), Code::PeerClosed);
}

#[test]
fn no_wake_up_is_lost_between_two_contexts() {
    let (mut here, mut there, place) = (Events::new(), Events::new(), Place::new());
    let address: Address = place.address("a").parse().unwrap();
    let listener = Listener::bind_with(&address, &ListenOptions::new()).unwrap();
    let accept = there.context.accept(&listener, None);
    let accept = there.start(accept);
    let connect = here.context.connect(&address, &ConnectOptions::new(), None);
    let connect = here.start(connect);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let Outcome::Accepted(server) = there.wait(accept).unwrap() else { panic!() };
            while let Ok(request) = there.recv(&server) {
                let reply = there.context.reply(&request, request.payload().clone(), None);
                there.finish(reply).unwrap();
            }
        });
        let Outcome::Connected(client) = here.wait(connect).unwrap() else { panic!() };
        let mut dice = Dice(11);
        for n in 0..1500u32 {
            // Now and then more than the pipe keeps, so that a write has to wait.
            let len = if n % 100 == 99 { 1_200_000 } else { (dice.roll() % 3000) as usize };
            let call = here.context.request(&client, vec![n as u8; len], None);
            assert_eq!(here.reply(call).unwrap().payload().len(), len);
        }
        client.close();
    });
}

#[test]
fn a_context_serves_a_hundred_clients() {
    let (mut events, place) = (Events::new(), Place::new());
    let address: Address = place.address("a").parse().unwrap();
    let listener = Listener::bind_with(&address, &ListenOptions::new()).unwrap();
    let mut pairs = Vec::new();
    // More than one call can wait for.
    for _ in 0..100 {
        let accept = events.context.accept(&listener, None);
        let accept = events.start(accept);
        let connect = events.context.connect(&address, &ConnectOptions::new(), None);
        let Outcome::Connected(client) = events.finish(connect).unwrap() else { panic!() };
        let Outcome::Accepted(server) = events.wait(accept).unwrap() else { panic!() };
        pairs.push((client, server));
    }
    let receives: Vec<u64> = pairs
        .iter()
        .map(|(_, server)| {
            let receive = events.context.recv(server, None, None);
            events.start(receive)
        })
        .collect();
    for (n, (client, _)) in pairs.iter().enumerate().rev() {
        let sent = events.context.send(client, Channel::DATA, n.to_le_bytes().to_vec(), None);
        events.finish(sent).unwrap();
    }
    for (n, receive) in receives.into_iter().enumerate() {
        let Outcome::Message(message) = events.wait(receive).unwrap() else { panic!() };
        assert_eq!(message.payload()[..], n.to_le_bytes());
    }
}

#[test]
fn the_io_thread_answers_for_a_program_that_is_busy() {
    let (client, server) = pair(&Place::new());
    server.attach().unwrap();
    for _ in 0..20 {
        client.ping(SOON).unwrap();
    }
    client.close();
    until("its end is noticed", || !server.is_open());
}

#[test]
fn a_crowd_of_callers_is_served() {
    let (client, server) = pair(&Place::new());
    std::thread::scope(|scope| {
        scope.spawn(|| echo(&server));
        let callers: Vec<_> = (0..32u32)
            .map(|n| {
                let client = &client;
                scope.spawn(move || {
                    for _ in 0..20 {
                        assert_eq!(client.request(&n.to_le_bytes()[..], SOON).unwrap().payload()[..], n.to_le_bytes());
                    }
                })
            })
            .collect();
        callers.into_iter().for_each(|caller| caller.join().unwrap());
        client.close();
    });
}

#[test]
fn streams_go_both_ways() {
    let (client, server) = pair(&Place::new());
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let request = server.recv(SOON).unwrap();
            let stream = request.stream().unwrap();
            while let Some(item) = stream.recv(SOON).unwrap() {
                stream.send(item, SOON).unwrap();
            }
            request.reply(b"done", SOON).unwrap();
        });
        let stream = client.open_stream(b"begin", CallOptions::new()).unwrap();
        for n in 0..200u32 {
            stream.send(n.to_le_bytes().to_vec(), SOON).unwrap();
            assert_eq!(stream.recv(SOON).unwrap().unwrap()[..], n.to_le_bytes());
        }
        stream.finish(SOON).unwrap();
        assert!(stream.recv(SOON).unwrap().is_none());
    });
}

#[test]
fn the_survivor_of_a_link_takes_over() {
    let place = Place::new();
    let address: Address = place.address("link").parse().unwrap();
    let open = || Link::open(&address, LinkOptions::new()).unwrap();
    let (first, second) = (open(), open());
    std::thread::scope(|scope| {
        scope.spawn(|| first.serve(|_, message| Ok(message.payload().clone())));
        assert_eq!(second.request(b"over the link", SOON).unwrap().payload(), "over the link");
        assert_eq!((first.is_serving(), second.is_serving()), (Some(true), Some(false)));
        first.close();
        until("this side serves", || {
            while let Ok(LinkEvent::Up { .. } | LinkEvent::Down(_)) = second.next(Duration::from_millis(1)) {}
            second.is_serving() == Some(true)
        });
    });
}

#[test]
fn inproc_names_work() {
    let listener = Listener::bind("inproc:windows").unwrap();
    assert_eq!(refused(Listener::bind("inproc:windows")), Code::AddressInUse);
    std::thread::scope(|scope| {
        let client = scope.spawn(|| Peer::connect("inproc:windows", SOON).unwrap());
        let server = listener.accept(SOON).unwrap();
        let client = client.join().unwrap();
        assert_eq!(client.info().unwrap().carrier, "inproc");
        scope.spawn(move || echo(&server));
        assert_eq!(client.request(&vec![9; 1 << 20][..], SOON).unwrap().payload(), &vec![9; 1 << 20]);
    });
    drop(listener);
    assert_eq!(refused(Peer::connect("inproc:windows", SHORT)), Code::NotFound);
}

#[test]
fn what_is_not_there_is_called_unsupported() {
    for address in ["/tmp/a.sock", "unix:@abstract", "tcp:127.0.0.1:7000", "fd:3", "stdio:", "systemd:"] {
        assert_eq!(refused(Listener::bind(address)), Code::Unsupported, "{address}");
    }
    for address in ["/tmp/a.sock", "unix:@abstract", "tcp:127.0.0.1:7000", "fd:3", "stdio:", "spawn:prog"] {
        assert_eq!(refused(Peer::connect(address, SHORT)), Code::Unsupported, "{address}");
    }
    let address: Address = Place::new().address("a").parse().unwrap();
    let options = ListenOptions::new().allow_uids(&[0]);
    assert_eq!(refused(Listener::bind_with(&address, &options)), Code::Unsupported);
}

#[test]
fn a_secret_is_kept() {
    let secret = |text: &str| Secret::new(text).unwrap();
    let place = Place::new();
    let address: Address = place.address("a").parse().unwrap();
    let listener =
        Listener::bind_with(&address, &ListenOptions::new().secret(secret("0123456789abcdef0123456789abcdef")))
            .unwrap();
    std::thread::scope(|scope| {
        let server = scope.spawn(|| listener.accept(SOON).map(drop));
        let wrong = ConnectOptions::new().secret(secret("another secret of the same length"));
        assert_eq!(refused(Peer::connect_with(&address, &wrong, SOON)), Code::AuthenticationFailed);
        let right = ConnectOptions::new().secret(secret("0123456789abcdef0123456789abcdef"));
        let _client = Peer::connect_with(&address, &right, SOON).unwrap();
        server.join().unwrap().unwrap();
    });
}
