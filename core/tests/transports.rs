//! Addresses that are no socket file: TCP on the loopback, and names inside one process.
#![cfg(unix)]

mod common;

use std::io::Read;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use common::{HELLO, SOON, frame, until};
use hostlane::{
    Address, Channel, Code, Completion, ConnectOptions, Context, ListenOptions, Listener, Outcome, Peer, Secret,
    Started, Wait,
};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType};

fn secret() -> Secret {
    Secret::new("between us").unwrap()
}

fn client() -> ConnectOptions {
    ConnectOptions::new().secret(secret())
}

fn server() -> ListenOptions {
    ListenOptions::new().secret(secret())
}

fn address(text: &str) -> Address {
    text.parse().unwrap()
}

fn tcp(port: u16) -> Address {
    Address::Tcp(SocketAddr::from(([127, 0, 0, 1], port)))
}

/// Both ends, made by blocking calls.
fn connected(listener: &Listener, options: &ConnectOptions) -> (Peer, Peer) {
    std::thread::scope(|scope| {
        let server = scope.spawn(|| listener.accept(SOON).unwrap());
        let client = Peer::connect_with(listener.address(), options, SOON).unwrap();
        (client, server.join().unwrap())
    })
}

/// Polls the context's descriptor and processes, until all of `ops` have completed. Also how often it was
/// woken for that.
fn finish_all<const N: usize>(context: &Context, ops: [Started; N]) -> ([hostlane::Result<Outcome>; N], usize) {
    let ops = ops.map(|op| match op {
        Started::Pending(op) => op,
        done => panic!("done at once: {done:?}"),
    });
    let limit = Timespec { tv_sec: SOON.as_secs() as i64, tv_nsec: 0 };
    let mut done: Vec<Completion> = Vec::new();
    let mut turns = 0;
    while done.len() < N {
        assert_eq!(poll(&mut [PollFd::new(context, PollFlags::IN)], Some(&limit)).unwrap(), 1, "nothing happened");
        turns += 1;
        context.process(16, &mut done).unwrap();
    }
    done.sort_by_key(|completion| ops.iter().position(|op| *op == completion.op).expect("an operation of these"));
    let results: Vec<_> = done.into_iter().map(|completion| completion.result).collect();
    (results.try_into().expect("each once"), turns)
}

fn finish(context: &Context, op: Started) -> (hostlane::Result<Outcome>, usize) {
    let ([result], turns) = finish_all(context, [op]);
    (result, turns)
}

/// A TCP listener whose backlog has no room, and what fills it.
fn full() -> (TcpListener, Vec<OwnedFd>) {
    let sock = rustix::net::socket(AddressFamily::INET, SocketType::STREAM, None).unwrap();
    rustix::net::bind(&sock, &SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
    rustix::net::listen(&sock, 0).unwrap();
    let listener = TcpListener::from(sock);
    let mut filling = Vec::new();
    loop {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let sock = rustix::net::socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).unwrap();
        let connected = rustix::net::connect(&sock, &listener.local_addr().unwrap());
        filling.push(sock);
        match connected {
            Ok(()) => assert!(filling.len() < 100, "a backlog of 0 has no end"),
            Err(Errno::INPROGRESS) => return (listener, filling),
            Err(e) => panic!("{e}"),
        }
    }
}

#[test]
fn tcp_carries_messages_of_every_size_on_both_protocols() {
    for text in ["tcp:127.0.0.1:0", "tcp:[::1]:0", "tcp::0"] {
        let listener = match Listener::bind_with(&address(text), &server()) {
            // A machine may be without IPv6.
            Err(error) if text.contains('[') && error.code() == Code::Io => continue,
            bound => bound.unwrap(),
        };
        let Address::Tcp(bound) = listener.address() else { panic!("{}", listener.address()) };
        assert_ne!(bound.port(), 0, "the real port is told");
        let (client, server) = connected(&listener, &client());
        for peer in [&client, &server] {
            let info = peer.info().unwrap();
            assert_eq!((info.carrier, info.credentials), ("tcp", None));
            assert_eq!(info.address, listener.address().to_string());
        }
        let large = vec![7; 4 << 20];
        std::thread::scope(|scope| {
            scope.spawn(|| {
                for _ in 0..2 {
                    let request = server.recv(SOON).unwrap();
                    request.reply(request.payload(), SOON).unwrap();
                }
            });
            for payload in [&large[..], b""] {
                assert_eq!(client.start(payload).unwrap().wait(SOON).unwrap().payload(), payload);
            }
        });
        drop(client);
        assert_eq!(server.recv(SOON).unwrap_err().code(), Code::PeerClosed);
    }
}

#[test]
fn tcp_small_messages_do_not_wait_for_each_other() {
    let listener = Listener::bind_with(&tcp(0), &server()).unwrap();
    let (client, server) = connected(&listener, &client());
    let start = Instant::now();
    for _ in 0..50 {
        // Two writes in a row, then an answer: with Nagle's algorithm each round would take some 40 ms.
        client.send(Channel::DATA, b"1", SOON).unwrap();
        client.send(Channel::DATA, b"2", SOON).unwrap();
        server.recv(SOON).unwrap();
        server.recv(SOON).unwrap();
        server.send(Channel::DATA, b"3", SOON).unwrap();
        client.recv(SOON).unwrap();
    }
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
}

#[test]
fn tcp_is_authenticated_and_stays_on_this_host() {
    let code = |address: &Address, listen: &ListenOptions, connect: &ConnectOptions| {
        let listen = Listener::bind_with(address, listen).unwrap_err();
        let connect = Peer::connect_with(address, connect, SOON).unwrap_err();
        assert_eq!(listen.code(), connect.code());
        (listen.code(), listen.message().to_owned())
    };
    let here = address("tcp::7000");
    assert_eq!(code(&here, &ListenOptions::new(), &ConnectOptions::new()).0, Code::AuthenticationRequired);
    for far in ["tcp:0.0.0.0:7000", "tcp:192.0.2.1:7000", "tcp:[::]:7000", "tcp:[2001:db8::1]:7000"] {
        let (code, text) = code(&address(far), &server(), &client());
        assert_eq!(code, Code::InvalidArgument);
        assert!(text.contains("allow_remote") && text.contains("TLS"), "{text}");
    }
    let (listen, connect) = (server().allow_uids(&[0]), client().allow_uids(&[0]));
    assert_eq!(code(&here, &listen, &connect).0, Code::InvalidArgument);
    let (listen, connect) = (ListenOptions::new().auth_token(secret()), ConnectOptions::new().auth_token(secret()));
    assert_eq!(code(&here, &listen, &connect).0, Code::InvalidArgument);
    assert_eq!(Peer::connect_with(&tcp(0), &client(), SOON).unwrap_err().code(), Code::InvalidArgument);
}

#[test]
fn tcp_ports_are_refused_in_use_and_free_again() {
    let listener = Listener::bind_with(&tcp(0), &server()).unwrap();
    let there = listener.address().clone();
    assert_eq!(Listener::bind_with(&there, &server()).unwrap_err().code(), Code::AddressInUse);
    let (client_side, server_side) = connected(&listener, &client());
    // The server's end closes first: its port rests in TIME_WAIT.
    drop(server_side);
    assert_eq!(client_side.recv(SOON).unwrap_err().code(), Code::PeerClosed);
    let Address::Tcp(socket) = there else { unreachable!() };
    let waiting = TcpStream::connect(socket).unwrap();
    waiting.set_read_timeout(Some(SOON)).unwrap();
    std::thread::scope(|scope| {
        let accepting = scope.spawn(|| listener.accept(Wait::forever()).unwrap_err().code());
        until("somebody accepts", || listener.stats().unwrap().half_open == 1);
        listener.close();
        assert_eq!(accepting.join().unwrap(), Code::Closed);
    });
    let end = (&waiting).read(&mut [0; 1]);
    assert!(matches!(end, Ok(0)) || end.is_err_and(|e| e.kind() == std::io::ErrorKind::ConnectionReset));
    assert_eq!(Peer::connect_with(&there, &client(), SOON).unwrap_err().code(), Code::ConnectionRefused);
    Listener::bind_with(&there, &server()).unwrap();
}

#[test]
fn a_full_tcp_backlog_costs_the_deadline_and_no_turns() {
    let (listener, _filling) = full();
    let there = tcp(listener.local_addr().unwrap().port());
    let limit = Duration::from_millis(200);

    let start = Instant::now();
    let error = Peer::connect_with(&there, &client(), limit).unwrap_err();
    assert_eq!(error.code(), Code::Timeout);
    assert!(start.elapsed() >= limit && start.elapsed() < limit * 10, "{:?}", start.elapsed());

    let context = Context::new().unwrap();
    let start = Instant::now();
    let op = context.connect(&there, &client(), Some(start + limit)).unwrap();
    let (result, turns) = finish(&context, op);
    assert_eq!(result.unwrap_err().code(), Code::Timeout);
    assert!(start.elapsed() >= limit && start.elapsed() < limit * 10, "{:?}", start.elapsed());
    // The timer rings once; that the kernel's clock is ahead of ours may cost another turn.
    assert!(turns <= 3, "{turns} turns for one deadline");

    let Started::Pending(op) = context.connect(&there, &client(), None).unwrap() else { panic!("connected") };
    context.cancel(op);
    assert_eq!(finish(&context, Started::Pending(op)).0.unwrap_err().code(), Code::Cancelled);
    // Closing ends an attempt too.
    let op = context.connect(&there, &client(), None).unwrap();
    context.close();
    assert_eq!(finish(&context, op).0.unwrap_err().code(), Code::Closed);
}

#[test]
fn a_place_in_the_tcp_backlog_is_noticed() {
    let (listener, mut filling) = full();
    let there = tcp(listener.local_addr().unwrap().port());
    let context = Context::new().unwrap();
    let op = context.connect(&there, &client(), Some(Instant::now() + SOON)).unwrap();
    // The one that is still connecting would take the place.
    filling.pop();
    let server = std::thread::spawn(move || {
        loop {
            let (mut stream, _) = listener.accept().unwrap();
            stream.set_read_timeout(Some(SOON)).unwrap();
            let mut request = [0; 8];
            // What filled the backlog says nothing.
            if filling.pop().is_none() && stream.read_exact(&mut request).is_ok() {
                std::io::Write::write_all(&mut stream, &frame(0, common::WELCOME)).unwrap();
                return stream;
            }
        }
    });
    let (result, turns) = finish(&context, op);
    // The raw server proves nothing.
    assert_eq!(result.unwrap_err().code(), Code::VersionMismatch);
    assert!(turns < 10, "{turns} turns for one connection");
    server.join().unwrap();
}

#[test]
fn a_context_connects_and_accepts_over_tcp() {
    let listener = Listener::bind_with(&tcp(0), &server()).unwrap();
    let context = Context::new().unwrap();
    let accept = context.accept(&listener, None).unwrap();
    let connect = context.connect(listener.address(), &client(), Some(Instant::now() + SOON)).unwrap();
    let ([accepted, connected], _) = finish_all(&context, [accept, connect]);
    let Ok(Outcome::Accepted(there)) = accepted else { panic!("{accepted:?}") };
    let Ok(Outcome::Connected(here)) = connected else { panic!("{connected:?}") };
    context.send(&here, Channel::DATA, b"hi".as_slice(), None).unwrap();
    match context.recv(&there, None, None).unwrap() {
        Started::Done(Outcome::Message(message)) => assert_eq!(message.payload(), "hi"),
        started => match finish(&context, started).0.unwrap() {
            Outcome::Message(message) => assert_eq!(message.payload(), "hi"),
            other => panic!("{other:?}"),
        },
    }
    listener.close();
    let refused = match context.connect(listener.address(), &client(), None) {
        Ok(op) => finish(&context, op).0.unwrap_err(),
        Err(error) => error,
    };
    assert_eq!(refused.code(), Code::ConnectionRefused);
}

#[test]
fn an_abstract_socket_takes_a_secret_for_an_identity_check() {
    let there = address(&format!("unix:@hostlane-secret-{}", std::process::id()));
    let listener = Listener::bind_with(&there, &server()).unwrap();
    let (client, _server) = connected(&listener, &client());
    assert_eq!(client.info().unwrap().carrier, "unix");
}

#[test]
fn inproc_connects_one_process_with_itself() {
    let there = address("inproc:bus");
    let connect = || Peer::connect_with(&there, &ConnectOptions::new(), SOON);
    assert_eq!(connect().unwrap_err().code(), Code::NotFound);
    let listener = Listener::bind("inproc:bus").unwrap();
    assert_eq!(Listener::bind("inproc:bus").unwrap_err().code(), Code::AddressInUse);
    let (client, server) = connected(&listener, &ConnectOptions::new());
    for peer in [&client, &server] {
        let info = peer.info().unwrap();
        assert_eq!((info.carrier, info.address.as_str()), ("inproc", "inproc:bus"));
        assert_eq!(info.credentials.unwrap().pid, std::process::id() as i32);
    }
    let large = vec![1; 1 << 20];
    std::thread::scope(|scope| {
        scope.spawn(|| client.send(Channel::DATA, &large, SOON).unwrap());
        assert_eq!(server.recv(SOON).unwrap().payload()[..], large);
    });

    // Waiting when the listener closes: turned away, and the name is free.
    let context = Context::new().unwrap();
    let waiting = context.connect(&there, &ConnectOptions::new(), None).unwrap();
    listener.close();
    let error = finish(&context, waiting).0.unwrap_err();
    assert!(matches!(error.code(), Code::Refused | Code::ConnectionLost), "{error}");
    assert_eq!(connect().unwrap_err().code(), Code::NotFound);
    let again = Listener::bind("inproc:bus").unwrap();
    drop(again);
    Listener::bind("inproc:bus").unwrap();
    // Peers live on.
    client.send(Channel::DATA, b"still", SOON).unwrap();
    assert_eq!(server.recv(SOON).unwrap().payload(), "still");
}

#[test]
fn an_inproc_backlog_is_bounded() {
    let there = address("inproc:narrow");
    let listener = Listener::bind_with(&there, &ListenOptions::new().backlog(1)).unwrap();
    let context = Context::new().unwrap();
    let connect = || context.connect(&there, &ConnectOptions::new(), Some(Instant::now() + SOON));
    let (first, second) = (connect().unwrap(), connect().unwrap());
    assert_eq!(connect().unwrap_err().code(), Code::QueueFull);
    let accepts = [context.accept(&listener, None).unwrap(), context.accept(&listener, None).unwrap()];
    let [one, two] = accepts;
    let ([one, two, first, second], _) = finish_all(&context, [one, two, first, second]);
    assert!(matches!((one, two), (Ok(Outcome::Accepted(_)), Ok(Outcome::Accepted(_)))));
    assert!(matches!((first, second), (Ok(Outcome::Connected(_)), Ok(Outcome::Connected(_)))));
    connect().unwrap();
}

#[test]
fn a_silent_tcp_client_delays_nobody() {
    let listener = Listener::bind_with(&tcp(0), &server()).unwrap();
    let Address::Tcp(socket) = *listener.address() else { unreachable!() };
    let silent = TcpStream::connect(socket).unwrap();
    let mut half = TcpStream::connect(socket).unwrap();
    std::io::Write::write_all(&mut half, &frame(0, HELLO)[..20]).unwrap();
    let start = Instant::now();
    connected(&listener, &client());
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    drop((silent, half));
}
