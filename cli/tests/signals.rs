//! Servers and their socket files: signals, live servers, stale sockets.

mod common;

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use common::{Place, Server, run};
use hostlane::{Channel, Code, Peer};
use rustix::process::Signal;

#[test]
fn signals_end_a_server_at_once_and_remove_its_socket() {
    for command in ["listen", "echo"] {
        for signal in [Signal::TERM, Signal::INT, Signal::HUP] {
            let place = Place::new();
            let address = place.address("a");
            let mut server = Server::start(&[command, &address]);
            // Neither an idle client nor a silent one holds it back.
            let _idle = Peer::connect(&address, common::LIMIT).unwrap();
            let mut silent = UnixStream::connect(&address).unwrap();
            silent.write_all(b"I").unwrap();
            server.signal(signal);
            assert_eq!(server.ended(Duration::from_secs(1)), 0, "{command} {signal:?}");
            assert!(!place.path("a").exists(), "{command} {signal:?}");
        }
    }
}

#[test]
fn signal_ends_a_server_whose_client_does_not_read() {
    let place = Place::new();
    let address = place.address("a");
    let mut server = Server::start(&["echo", &address]);
    let peer = Peer::connect(&address, common::LIMIT).unwrap();
    let chunk = vec![0; 1 << 20];
    // Until the echoes, which nobody takes, fill every buffer between the two.
    let stuck = loop {
        match peer.send(Channel::DATA, &chunk, Duration::from_millis(300)) {
            Ok(()) => {}
            Err(error) => break error,
        }
    };
    assert_eq!(stuck.code(), Code::Timeout);
    server.signal(Signal::TERM);
    assert_eq!(server.ended(Duration::from_secs(1)), 0);
    assert!(!place.path("a").exists());
}

#[test]
fn signal_ends_a_listener_whose_output_nobody_reads() {
    let place = Place::new();
    let address = place.address("a");
    let mut command = std::process::Command::new(common::binary());
    let (_never_read, output) = std::io::pipe().unwrap();
    command.args(["--format", "raw", "listen", &address]);
    command.stdout(output).stderr(std::process::Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut log = std::io::BufReader::new(child.stderr.take().unwrap());
    let mut line = String::new();
    std::io::BufRead::read_line(&mut log, &mut line).unwrap();
    assert_eq!(line, format!("hostlane: listening on unix:{address}\n"));
    let peer = Peer::connect(&address, common::LIMIT).unwrap();
    let chunk = vec![0; 1 << 20];
    while peer.send(Channel::DATA, &chunk, Duration::from_millis(300)).is_ok() {}
    rustix::process::kill_process(rustix::process::Pid::from_child(&child), Signal::TERM).unwrap();
    let status = common::wait(&mut child, Duration::from_secs(1)).expect("the listener ends");
    assert_eq!(status.code(), Some(0));
    assert!(!place.path("a").exists());
}

#[test]
fn live_server_is_never_displaced() {
    let place = Place::new();
    let address = place.address("a");
    let mut server = Server::start(&["echo", &address]);
    let connected = Peer::connect(&address, common::LIMIT).unwrap();
    for command in ["listen", "echo"] {
        let refused = run(&[command, &address]).expect(3);
        assert!(refused.stderr.contains("address_in_use"), "{}", refused.stderr);
    }
    server.assert_running();
    let reply = connected.start("old").unwrap().wait(common::LIMIT).unwrap();
    assert_eq!(&reply.payload()[..], b"old");
    run(&["request", &address, "--data", "new"]).expect(0);
}

#[test]
fn socket_of_a_killed_server_is_taken_over() {
    let place = Place::new();
    let address = place.address("a");
    let mut first = Server::start(&["echo", &address]);
    first.child.kill().unwrap();
    first.child.wait().unwrap();
    assert!(place.path("a").exists(), "a killed process removes nothing");
    let _second = Server::start(&["echo", &address]);
    run(&["request", &address, "--data", "x"]).expect(0);
}
