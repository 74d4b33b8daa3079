//! The other process is killed, stopped, forked, or out of descriptors.
#![cfg(unix)]

mod common;

use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::time::{Duration, Instant};

use common::{Place, Process, SOON, child_role, until};
use hostlane::{Channel, Code, Link, LinkEvent, LinkOptions, Listener, Peer, Sent, Wait};

/// Not a test by itself: what this binary does as a child process.
#[test]
fn child() {
    let Some((role, address)) = child_role() else { return };
    if role == "starved" {
        return starved(&address);
    }
    let listener = Listener::bind(&address).unwrap();
    match role.as_str() {
        "echo" => {
            while let Ok(peer) = listener.accept(Wait::forever()) {
                std::thread::spawn(move || {
                    while let Ok(message) = peer.recv(Wait::forever()) {
                        let _ = message.reply(message.payload(), SOON);
                    }
                });
            }
        }
        "swallow" => {
            let peer = listener.accept(Wait::forever()).unwrap();
            // Kept: a request that is dropped is answered, as abandoned.
            let mut swallowed = Vec::new();
            while let Ok(message) = peer.recv(Wait::forever()) {
                swallowed.push(message);
            }
        }
        other => panic!("no such child: {other}"),
    }
}

/// A link that loses the other side while this process has no descriptor left, for longer than its attempts would last.
fn starved(address: &str) {
    let options = LinkOptions::new().retries(2).delay(Duration::from_millis(1), Duration::from_millis(10));
    let link = Link::open(address, options).unwrap();
    assert!(matches!(link.next(SOON).unwrap(), LinkEvent::Up { .. }));
    let mut files = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        files.push(file);
    }
    assert!(matches!(link.next(SOON).unwrap(), LinkEvent::Down(_)));
    assert_eq!(link.next(Duration::from_millis(300)).unwrap_err().code(), Code::Timeout);
    drop(files);
    panic!("{}", link.serve(|_, message| Ok(message.payload().clone())));
}

fn connected(process: &str, place: &Place) -> (Process, Peer) {
    let process = Process::start(process, &place.address("a.sock"));
    let mut peer = None;
    until("the child serves", || {
        peer = Peer::connect(&place.address("a.sock"), SOON).ok();
        peer.is_some()
    });
    (process, peer.unwrap())
}

#[test]
fn a_killed_peer_ends_every_wait_at_once() {
    let place = Place::new();
    let (mut process, peer) = connected("swallow", &place);
    std::thread::scope(|scope| {
        let call = scope.spawn(|| peer.start(b"never answered").unwrap().wait(Wait::forever()).unwrap_err());
        let receive = scope.spawn(|| peer.recv(Wait::forever()).unwrap_err());
        until("both wait", || peer.stats().unwrap().pending_operations == 2);
        let start = Instant::now();
        process.0.kill().unwrap();
        let call = call.join().unwrap();
        assert_eq!((call.code(), call.sent()), (Code::ConnectionLost, Sent::Maybe));
        // The kernel says reset if the child died before it read the request.
        let end = receive.join().unwrap().code();
        assert!(matches!(end, Code::PeerClosed | Code::ConnectionLost), "{end:?}");
        assert!(start.elapsed() < SOON / 2);
    });
    assert_eq!(peer.send(Channel::DATA, b"x", SOON).unwrap_err().code(), Code::ConnectionLost);
    process.0.wait().unwrap();
}

#[test]
fn a_stopped_peer_costs_calls_and_sends_their_deadline() {
    let place = Place::new();
    let (process, peer) = connected("echo", &place);
    peer.start(b"warm").unwrap().wait(SOON).unwrap();
    process.signal("STOP");
    let limit = Duration::from_millis(150);
    let start = Instant::now();
    // Fills the socket until a send has to wait.
    let error = loop {
        let start = Instant::now();
        if let Err(error) = peer.send(Channel::DATA, vec![0; 64 << 10], limit) {
            assert!(start.elapsed() >= limit);
            assert!(start.elapsed() < limit + Duration::from_millis(500), "{:?}", start.elapsed());
            break error;
        }
    };
    assert_eq!(error.code(), Code::Timeout);
    assert!(start.elapsed() < SOON);

    process.signal("CONT");
    let again = Peer::connect(&place.address("a.sock"), SOON).unwrap();
    again.start(b"warm").unwrap().wait(SOON).unwrap();
    process.signal("STOP");
    let start = Instant::now();
    let error = again.start(b"?").unwrap().wait(limit).unwrap_err();
    assert_eq!(error.code(), Code::Timeout);
    assert!(start.elapsed() >= limit && start.elapsed() < limit + Duration::from_millis(500), "{:?}", start.elapsed());
    process.signal("CONT");
}

#[test]
fn a_peer_that_was_stopped_for_a_while_goes_on() {
    let place = Place::new();
    let (process, peer) = connected("echo", &place);
    process.signal("STOP");
    std::thread::scope(|scope| {
        let call = scope.spawn(|| peer.start(b"patience").unwrap().wait(SOON).unwrap());
        until("it is on its way", || peer.stats().unwrap().calls == 1);
        process.signal("CONT");
        assert_eq!(call.join().unwrap().payload(), "patience");
    });
}

#[test]
fn a_server_out_of_descriptors_keeps_serving_and_recovers() {
    let place = Place::new();
    let address = place.address("a.sock");
    let exe = common::program();
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 24; exec \"$0\" --exact child --nocapture --test-threads=1"]).arg(exe);
    command.env("HOSTLANE_CHILD", "echo").env("HOSTLANE_ADDRESS", &address).stdout(std::process::Stdio::piped());
    let _server = Process(command.spawn().unwrap());
    let mut early = None;
    until("it serves", || {
        early = Peer::connect(&address, SOON).ok();
        early.is_some()
    });
    let early = early.unwrap();
    let crowd: Vec<UnixStream> = (0..60).map(|_| UnixStream::connect(&address).unwrap()).collect();
    assert!(crowd.iter().all(|s| s.as_raw_fd() > 2));
    for _ in 0..50 {
        assert_eq!(early.start(b"busy?").unwrap().wait(SOON).unwrap().payload(), "busy?");
    }
    let turned_away = Peer::connect(&address, Duration::from_millis(200));
    assert!(turned_away.is_err_and(|e| e.code() == Code::Timeout));
    drop(crowd);
    let late = Peer::connect(&address, SOON).unwrap();
    assert_eq!(late.start(b"better").unwrap().wait(SOON).unwrap().payload(), "better");
}

#[test]
fn a_link_out_of_descriptors_goes_on_trying_and_recovers() {
    let place = Place::new();
    let address = place.address("link.sock");
    let first = Link::open(&address, LinkOptions::new()).unwrap();
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n 24; exec \"$0\" --exact child --nocapture --test-threads=1"]).arg(common::program());
    command.env("HOSTLANE_CHILD", "starved").env("HOSTLANE_ADDRESS", &address).stdout(std::process::Stdio::piped());
    let _starved = Process(command.spawn().unwrap());
    assert!(matches!(first.next(SOON).unwrap(), LinkEvent::Up { serving: true }));
    assert_eq!(first.next(Duration::from_millis(100)).unwrap_err().code(), Code::Timeout);
    first.close();
    let second = Link::open(&address, LinkOptions::new()).unwrap();
    assert_eq!(second.request(b"better", SOON).unwrap().payload(), "better");
}
