//! `echo` and `listen` among clients that mean no good, or have none.

mod common;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use common::{LIMIT, Place, Server, binary, run};
use hostlane::{Channel, Code, Peer};

/// What a served client waits among the others, connecting included.
const SOON: Duration = Duration::from_millis(50);

fn ask(address: &str) -> Duration {
    let started = Instant::now();
    let peer = Peer::connect(address, LIMIT).unwrap();
    let reply = peer.start("probe").unwrap().wait(LIMIT).unwrap();
    assert_eq!(&reply.payload()[..], b"probe");
    started.elapsed()
}

/// The median: the slowest of many say how busy the machine is.
fn assert_served_soon(mut probes: Vec<Duration>) {
    probes.sort_unstable();
    assert!(probes.len() >= 20, "{}", probes.len());
    let median = probes[probes.len() / 2];
    assert!(median <= SOON, "median {median:?}, slowest {:?}", probes.last());
}

#[test]
fn echo_serves_others_among_silent_and_dripping_clients() {
    let place = Place::new();
    let address = place.address("a");
    let mut server = Server::start(&["echo", &address]);
    let idle = Peer::connect(&address, LIMIT).unwrap();

    let connected = Instant::now();
    let silent: Vec<_> = (0..200).map(|_| UnixStream::connect(&address).unwrap()).collect();
    let dripping: Vec<_> = (0..50).map(|_| UnixStream::connect(&address).unwrap()).collect();
    let (stop, stopped) = mpsc::channel::<()>();
    let probes = thread::scope(|scope| {
        let dripping = &dripping;
        scope.spawn(move || {
            // A handshake that is right, but takes a minute and a half.
            let request = br#"{"protocol":"ipcprims","version":"1.0","channels":[1,2,3,4]}"#;
            let mut frame = vec![0x49, 0x50];
            frame.extend((request.len() as u32).to_le_bytes());
            frame.extend([0, 0]);
            frame.extend(request);
            for byte in frame {
                for mut client in dripping {
                    // Those already thrown out cannot be written to.
                    let _ = client.write_all(&[byte]);
                }
                if stopped.recv_timeout(Duration::from_secs(1)) != Err(RecvTimeoutError::Timeout) {
                    return;
                }
            }
        });
        let mut probes = Vec::new();
        while connected.elapsed() < Duration::from_secs(4) {
            probes.push(ask(&address));
        }
        // The time a handshake may take is counted in all, however lively it looks.
        for mut client in silent.iter().chain(dripping) {
            client.set_read_timeout(Some(LIMIT)).unwrap();
            // A refusal with its reason may come first.
            match client.read_to_end(&mut Vec::new()) {
                Ok(_) => {}
                Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
            }
        }
        let held = connected.elapsed();
        assert!(held > Duration::from_secs(4) && held < Duration::from_secs(10), "{held:?}");
        drop(stop);
        probes
    });

    assert_served_soon(probes);

    // Idle all the time, and as welcome as before.
    idle.send(Channel::DATA, "still here", LIMIT).unwrap();
    assert_eq!(&idle.recv(LIMIT).unwrap().payload()[..], b"still here");
    server.assert_running();
    assert!(server.log.containing("refused a client").contains("timeout"));
}

#[test]
fn bad_clients_are_thrown_out_and_nobody_else_notices() {
    let place = Place::new();
    for command in ["echo", "listen"] {
        let address = place.address(command);
        let mut server = Server::start(&[command, &address]);
        let good = Peer::connect(&address, LIMIT).unwrap();
        let frame = |channel: u16, payload: &[u8]| {
            let mut frame = vec![0x49, 0x50];
            frame.extend((payload.len() as u32).to_le_bytes());
            frame.extend(channel.to_le_bytes());
            frame.extend(payload);
            frame
        };
        let hello = frame(0, br#"{"protocol":"ipcprims","version":"1.0","channels":[1,2]}"#);
        let mut too_long = hello.clone();
        too_long.extend([0x49, 0x50, 0xff, 0xff, 0xff, 0xff, 2, 0]);
        for bad in [
            b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            frame(0, b"{"),
            frame(0, br#"{"protocol":"other","version":"1.0","channels":[1]}"#),
            frame(0, br#"{"protocol":"ipcprims","version":"9.0","channels":[1]}"#),
            frame(0, br#"{"protocol":"ipcprims","version":"1.0","channels":[999]}"#),
            [hello.clone(), b"XX".to_vec()].concat(),
            [hello.clone(), frame(7, b"x")].concat(),
            [hello.clone(), frame(0, b"{\"type\":\"no such type\"}")].concat(),
            too_long,
        ] {
            let mut client = UnixStream::connect(&address).unwrap();
            client.write_all(&bad).unwrap();
            client.set_read_timeout(Some(LIMIT)).unwrap();
            match client.read_to_end(&mut Vec::new()) {
                Ok(_) => {}
                Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset, "{bad:?}"),
            }
        }
        // One that leaves inside a frame, and one that leaves before its echo.
        UnixStream::connect(&address).unwrap().write_all(&hello[..9]).unwrap();
        UnixStream::connect(&address).unwrap().write_all(&[hello, frame(2, b"bye")].concat()).unwrap();

        server.assert_running();
        good.send(Channel::DATA, "fine", LIMIT).unwrap();
        if command == "echo" {
            assert_eq!(&good.recv(LIMIT).unwrap().payload()[..], b"fine");
        } else {
            while server.out.json()["text"] != "fine" {}
        }
    }
}

#[test]
fn greedy_client_does_not_starve_others() {
    let place = Place::new();
    let address = place.address("a");
    let _server = Server::start(&["echo", &address]);
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let greedy = scope.spawn(|| {
            let peer = Peer::connect(&address, LIMIT).unwrap();
            let payload = vec![1; 4096];
            let mut echoed = 0u64;
            while !stop.load(Ordering::Relaxed) {
                for _ in 0..16 {
                    peer.send(Channel::DATA, &payload, LIMIT).unwrap();
                }
                for _ in 0..16 {
                    peer.recv_on(Channel::DATA, LIMIT).unwrap();
                    echoed += 1;
                }
            }
            echoed
        });
        let probes = (0..100).map(|_| ask(&address)).collect();
        stop.store(true, Ordering::Relaxed);
        assert!(greedy.join().unwrap() > 0);
        assert_served_soon(probes);
    });
}

#[test]
fn client_that_does_not_read_holds_up_only_itself() {
    let place = Place::new();
    let address = place.address("a");
    let _server = Server::start(&["echo", &address]);
    let stuck = Peer::connect(&address, LIMIT).unwrap();
    let chunk = vec![0; 1 << 20];
    let error = loop {
        if let Err(error) = stuck.send(Channel::DATA, &chunk, Duration::from_millis(300)) {
            break error;
        }
    };
    assert_eq!(error.code(), Code::Timeout);
    assert_served_soon((0..100).map(|_| ask(&address)).collect());
}

#[test]
fn echo_recovers_when_descriptors_run_out() {
    let place = Place::new();
    let address = place.address("a");
    let mut command = Command::new("sh");
    command.args(["-c", r#"ulimit -n 40; exec "$0" "$@""#]).arg(binary());
    command.args(["--log-level", "info", "echo", &address]);
    let mut server = Server::spawn(&mut command);
    let kept = Peer::connect(&address, LIMIT).unwrap();
    let crowd: Vec<_> = (0..100).map(|_| UnixStream::connect(&address).unwrap()).collect();
    // Until there really is none left.
    let descriptors = format!("/proc/{}/fd", server.child.id());
    let end = Instant::now() + LIMIT;
    while std::fs::read_dir(&descriptors).unwrap().count() < 40 {
        assert!(Instant::now() < end, "{:?}", std::fs::read_dir(&descriptors).unwrap().count());
        thread::sleep(Duration::from_millis(5));
    }
    // Served while nobody new gets in.
    for _ in 0..20 {
        let reply = kept.start("inside").unwrap().wait(LIMIT).unwrap();
        assert_eq!(&reply.payload()[..], b"inside");
    }
    server.assert_running();
    drop(crowd);
    ask(&address);
    run(&["request", &address, "--data", "x"]).expect(0);
    server.assert_running();
}
