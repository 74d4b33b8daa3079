//! Calls and streams of level 1 through the real binary, and how they end.

mod common;

use std::time::{Duration, Instant};

use common::{LIMIT, Place, Server, run};
use hostlane::{CallOptions, Channel, Code, ListenOptions, Listener, Peer};

/// Serves one client of the library until it leaves.
fn program(address: &str, options: &ListenOptions, serve: fn(&Peer)) -> std::thread::JoinHandle<()> {
    let listener = Listener::bind_with(&address.parse().unwrap(), options).unwrap();
    std::thread::spawn(move || serve(&listener.accept(LIMIT).unwrap()))
}

#[test]
fn many_calls_of_many_clients_are_answered_side_by_side() {
    let place = Place::new();
    let address = place.address("echo");
    let _server = Server::start(&["echo", &address]);
    std::thread::scope(|scope| {
        for client in 0..4 {
            let address = &address;
            scope.spawn(move || {
                let peer = Peer::connect(address, LIMIT).unwrap();
                let text = |n| format!("{client} {n}");
                let calls: Vec<_> = (0..200).map(|n| peer.start(text(n).as_bytes()).unwrap()).collect();
                for (n, call) in calls.into_iter().enumerate() {
                    assert_eq!(call.wait(LIMIT).unwrap().payload()[..], *text(n).as_bytes());
                }
            });
        }
    });
    let done = run(&["--format", "raw", "request", &address, "--data", "x", "--count", "500", "--in-flight", "50"]);
    assert_eq!(done.expect(0).text(), "x".repeat(500));
    let level_0 = run(&["--format", "raw", "request", &address, "--data", "x", "--count", "5", "--level", "0"]);
    assert_eq!(level_0.expect(0).text(), "xxxxx");
    assert_eq!(run(&["request", &address, "--data", "x", "-c", "telemetry"]).expect(0).json()["channel"], 3);
}

#[test]
fn a_stream_gets_its_items_back_and_a_blocked_one_holds_up_nobody() {
    let place = Place::new();
    let address = place.address("echo");
    let _server = Server::start(&["echo", &address]);
    let peer = Peer::connect(&address, LIMIT).unwrap();
    // Nobody takes what comes back in this one.
    let blocked = peer.open_stream("blocked", CallOptions::new()).unwrap();
    let item = vec![1; 64 * 1024];
    while blocked.send(&item, Duration::from_millis(100)).is_ok() {}
    let stream = peer.open_stream("opened", CallOptions::new()).unwrap();
    for n in 0..100u8 {
        stream.send(&[n; 1000], LIMIT).unwrap();
        assert_eq!(stream.recv(LIMIT).unwrap().unwrap()[..], [n; 1000]);
    }
    stream.finish(LIMIT).unwrap();
    assert_eq!(stream.recv(LIMIT).unwrap(), None);
    assert_eq!(stream.reply().unwrap(), "opened");
    drop(blocked);
    assert_eq!(peer.request("after", LIMIT).unwrap().payload(), "after");
}

#[test]
fn an_echo_that_waits_for_credit_holds_up_its_channel_alone() {
    let place = Place::new();
    let address = place.address("echo");
    let _server = Server::start(&["echo", &address]);
    let peer = Peer::connect(&address, LIMIT).unwrap();
    // The echoes of these are not taken.
    let message = vec![1; 256 * 1024];
    while peer.send(Channel::DATA, &message, Duration::from_millis(100)).is_ok() {}
    assert_eq!(peer.request("beside", LIMIT).unwrap().payload(), "beside");
}

#[test]
fn the_deadline_is_told_and_what_a_program_says_is_shown() {
    let place = Place::new();
    let address = place.address("program");
    let serving = program(&address, &ListenOptions::new(), |peer| {
        let request = peer.recv(LIMIT).unwrap();
        let left = request.deadline().unwrap().saturating_duration_since(Instant::now());
        assert!(left > Duration::from_secs(5) && left <= Duration::from_secs(9), "{left:?}");
        request.fail(4711, "why \u{1b}", LIMIT).unwrap();
        peer.recv(LIMIT).unwrap_err();
    });
    let failed = run(&["request", &address, "--data", "x", "--deadline", "9s"]).expect(3);
    assert_eq!(failed.json()["status"], 4711);
    assert_eq!(failed.json()["text"], "why \u{1b}");
    assert!(failed.stderr.contains("remote_error") && failed.stderr.contains("4711"), "{failed:?}");
    serving.join().unwrap();
}

#[test]
fn a_caller_out_of_time_leaves_and_the_program_is_told() {
    let place = Place::new();
    let address = place.address("program");
    let serving = program(&address, &ListenOptions::new(), |peer| {
        let request = peer.recv(LIMIT).unwrap();
        request.wait_cancelled(LIMIT).unwrap();
        // Its own deadline came, or the caller has left altogether.
        let late = request.reply("late", LIMIT).unwrap_err().code();
        assert!(matches!(late, Code::CallEnded | Code::ConnectionLost), "{late:?}");
        peer.recv(LIMIT).unwrap_err();
    });
    run(&["request", &address, "--data", "x", "--deadline", "200ms"]).expect(124);
    serving.join().unwrap();
}

#[test]
fn listen_shows_calls_and_lets_none_hang() {
    let place = Place::new();
    let address = place.address("listen");
    let mut server = Server::start(&["listen", &address, "--count", "3"]);
    let peer = Peer::connect(&address, LIMIT).unwrap();
    let deadline = Instant::now() + LIMIT;
    let call = peer.start_with("call", CallOptions::new().deadline(deadline)).unwrap();
    assert_eq!(call.wait(LIMIT).unwrap_err().code(), Code::CallAbandoned);
    let shown = server.out.json();
    assert_eq!(
        (&shown["text"], &shown["call"]["id"], &shown["call"]["stream"]),
        (&"call".into(), &1.into(), &false.into())
    );
    assert!(shown["call"]["deadline_ms"].as_u64().is_some_and(|ms| ms > 0 && ms <= 10_000), "{shown}");
    let stream = peer.open_stream("stream", CallOptions::new()).unwrap();
    assert_eq!(stream.recv(LIMIT).unwrap_err().code(), Code::CallAbandoned);
    assert_eq!(server.out.json()["call"]["stream"], true);
    peer.send(Channel::DATA, "message", LIMIT).unwrap();
    assert!(server.out.json().get("call").is_none());
    assert_eq!(server.ended(LIMIT), 0);
}

#[test]
fn both_sides_may_insist_on_a_level() {
    let place = Place::new();
    let (one, zero) = (place.address("one"), place.address("zero"));
    let _one = Server::start(&["echo", &one, "--level", "1"]);
    let _zero = Server::start(&["echo", &zero, "--level", "0"]);
    for (address, level, seen) in [
        (&one, "auto", Some(1)),
        (&one, "1", Some(1)),
        (&zero, "auto", Some(0)),
        (&zero, "0", Some(0)),
        (&one, "0", None),
        (&zero, "1", None),
    ] {
        let done = run(&["info", address, "--level", level]);
        match seen {
            Some(seen) => assert_eq!(done.expect(0).json()["level"], seen),
            None => assert!(done.expect(3).stderr.contains("version_mismatch")),
        }
    }
}

#[test]
fn a_secret_is_proved_on_level_1() {
    use std::os::unix::fs::PermissionsExt;
    let place = Place::new();
    let file = |name: &str| {
        std::fs::write(place.path(name), name).unwrap();
        std::fs::set_permissions(place.path(name), PermissionsExt::from_mode(0o600)).unwrap();
        place.address(name)
    };
    let (right, wrong, address) = (file("right"), file("wrong"), place.address("echo"));
    let _server = Server::start(&["echo", &address, "--level", "1", "--secret-file", &right]);
    run(&["request", &address, "--data", "x", "--level", "1", "--secret-file", &right]).expect(0);
    for others in [&["--level", "1", "--secret-file", &wrong][..], &["--level", "1"]] {
        let refused = run(&[&["request", &address, "--data", "x"], others].concat()).expect(50);
        assert!(refused.stderr.contains("authentication_failed"), "{refused:?}");
    }
}

#[test]
fn a_keepalive_is_announced_and_leaves_a_healthy_peer_alone() {
    let place = Place::new();
    let address = place.address("echo");
    let _server = Server::start(&["echo", &address, "--keepalive", "100ms"]);
    assert_eq!(run(&["info", &address]).expect(0).json()["keepalive_ms"], 100);
    // Its program sleeps in a wait that answers pings.
    let alive = Peer::connect(&address, LIMIT).unwrap();
    assert_eq!(alive.recv(Duration::from_millis(600)).unwrap_err().code(), Code::Timeout);
    assert_eq!(alive.request("still here", LIMIT).unwrap().payload(), "still here");
}
