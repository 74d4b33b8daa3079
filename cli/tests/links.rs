//! `hostlane link`: who serves, who takes over, and what goes over it.

mod common;

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::time::{Duration, Instant};

use common::{LIMIT, Lines, Place, binary, run, run_with_input, wait};
use hostlane::{CallOptions, Channel, Code, Peer};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// A running `hostlane link`, killed when dropped.
struct Side {
    child: Child,
    stdin: Option<ChildStdin>,
    out: Lines,
    log: Lines,
}

impl Side {
    fn start(arguments: &[&str]) -> Side {
        let mut command = Command::new(binary());
        command.args(["--log-level", "info", "link"]).args(arguments);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let stdin = child.stdin.take();
        let out = Lines::of(child.stdout.take().unwrap());
        let log = Lines::of(child.stderr.take().unwrap());
        Side { child, stdin, out, log }
    }

    /// Whether it serves, once the other side is there.
    #[track_caller]
    fn up(&self) -> bool {
        let event = self.out.json();
        assert_eq!(event["event"], "up", "{event}");
        event["serving"].as_bool().expect("up says who serves")
    }

    #[track_caller]
    fn down(&self) -> String {
        let event = self.out.json();
        assert_eq!(event["event"], "down", "{event}");
        event["error"].as_str().expect("down says why").to_owned()
    }

    fn say(&mut self, text: &str) {
        self.stdin.as_mut().expect("open").write_all(text.as_bytes()).unwrap();
    }

    fn kill(&mut self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    #[track_caller]
    fn ended(&mut self) -> Option<i32> {
        wait(&mut self.child, LIMIT).expect("it ends").code()
    }
}

impl Drop for Side {
    fn drop(&mut self) {
        // Already gone is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn of_two_started_at_once_one_serves() {
    for _ in 0..10 {
        let place = Place::new();
        let address = place.address("a");
        let mut sides = [Side::start(&[&address]), Side::start(&[&address])];
        assert_ne!(sides[0].up(), sides[1].up());
        let [one, other] = &mut sides;
        one.say("to the other\n");
        other.say("to the one\n\nlast");
        other.stdin = None;
        assert_eq!(other.out.json()["text"], "to the other");
        for text in ["to the one", "", "last"] {
            assert_eq!(one.out.json()["text"], text);
        }
        one.kill(Signal::INT);
        assert_eq!(one.ended(), Some(0));
        assert_eq!(other.down(), "peer_closed");
        other.kill(Signal::TERM);
        assert_eq!(other.ended(), Some(0));
        assert!(!place.path("a").exists());
    }
}

#[test]
fn the_survivor_serves_within_moments_and_a_third_joins() {
    let place = Place::new();
    let address = place.address("a");
    let mut first = Side::start(&[&address]);
    first.log.containing("joining");
    let mut second = Side::start(&[&address]);
    assert!(first.up() && !second.up());
    first.kill(Signal::KILL);
    let killed = Instant::now();
    second.down();
    let taken_over = loop {
        match Peer::connect(&address, LIMIT) {
            Ok(_peer) => break killed.elapsed(),
            Err(error) => assert!(killed.elapsed() < LIMIT, "{error}"),
        }
    };
    assert!(taken_over < Duration::from_millis(500), "{taken_over:?}");
    assert!(second.up());
    second.down();
    // What is said while nobody is there is kept for the next.
    second.say("kept\n");
    let third = Side::start(&[&address]);
    assert!(!third.up() && second.up());
    assert_eq!(third.out.json()["text"], "kept");
}

#[test]
fn a_third_stands_by() {
    let place = Place::new();
    let address = place.address("a");
    let mut first = Side::start(&[&address]);
    let mut second = Side::start(&[&address]);
    first.up();
    second.up();
    let third = Side::start(&[&address]);
    third.log.containing("joining");
    second.kill(Signal::KILL);
    first.down();
    first.up();
    third.up();
    first.say("welcome\n");
    assert_eq!(third.out.json()["text"], "welcome");
}

#[test]
fn calls_are_answered_and_shown() {
    let place = Place::new();
    let address = place.address("a");
    let mut side = Side::start(&[&address, "--count", "3"]);
    side.log.containing("joining");
    let reply = run(&["link", &address, "--call", "--data", "ask \u{e4}"]).expect(0).json();
    assert_eq!((&reply["text"], &reply["channel"]), (&"ask \u{e4}".into(), &1.into()));
    assert!(side.up());
    let call = side.out.json();
    assert_eq!((&call["text"], &call["call"]["stream"]), (&"ask \u{e4}".into(), &false.into()));
    assert!(call["call"]["deadline_ms"].as_u64().is_some_and(|ms| ms > 0 && ms <= 5000), "{call}");
    side.down();
    // Any program that speaks the protocol may be the other side.
    let peer = Peer::connect(&address, LIMIT).unwrap();
    assert!(side.up());
    let large = vec![b'x'; 4 << 20];
    assert_eq!(peer.request(&large, LIMIT).unwrap().payload().len(), large.len());
    assert_eq!(side.out.json()["size"], large.len());
    // The answer to the last call leaves before the end.
    assert_eq!(peer.request(&large, LIMIT).unwrap().payload().len(), large.len());
    assert_eq!(side.ended(), Some(0));
    assert_eq!(peer.recv(LIMIT).unwrap_err().code(), Code::PeerClosed);
}

#[test]
fn a_message_is_sent_once_the_other_side_is_there() {
    let place = Place::new();
    let address = place.address("a");
    let file = place.address("file");
    fs::write(&file, [0, 255]).unwrap();
    let _data = Side::start(&[&address, "--data", "two\nlines", "-c", "300"]);
    let other = run_with_input(&["link", &address, "-c", "300", "--count", "1"], b"").expect(0);
    let shown: Vec<Value> = other.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!((&shown[0]["event"], &shown[1]["text"]), (&"up".into(), &"two\nlines".into()));
    assert_eq!((&shown[1]["channel"], shown.len()), (&300.into(), 2));

    let address = place.address("b");
    let _file = Side::start(&[&address, "--file", &file]);
    let raw = run(&["--format", "raw", "link", &address, "--count", "1"]).expect(0);
    assert_eq!(raw.stdout, [0, 255]);
}

#[test]
fn many_lines_wait_for_a_reader_and_none_is_lost() {
    let place = Place::new();
    let address = place.address("a");
    let count = 20_000;
    let mut side = Side::start(&[&address]);
    side.log.containing("joining");
    let peer = Peer::connect(&address, LIMIT).unwrap();
    side.up();
    let mut stdin = side.stdin.take().unwrap();
    let text = |n: usize| format!("{n} {}", "x".repeat(1000));
    let writing = std::thread::spawn(move || {
        (0..count).for_each(|n| writeln!(stdin, "{}", text(n)).unwrap());
    });
    for n in 0..count {
        assert_eq!(peer.recv(LIMIT).unwrap().payload()[..], *text(n).as_bytes());
    }
    writing.join().unwrap();
}

#[test]
fn a_link_ends_as_it_was_told_to() {
    let place = Place::new();
    let address = place.address("a");
    let mut stays = Side::start(&[&address]);
    stays.log.containing("joining");
    let mut leaves = Side::start(&[&address, "--no-reconnect"]);
    leaves.up();
    stays.up();
    stays.kill(Signal::TERM);
    assert_eq!(leaves.down(), "peer_closed");
    let event = leaves.out.json();
    assert_eq!((&event["event"], &event["error"]), (&"ended".into(), &"peer_closed".into()));
    assert_eq!(leaves.ended(), Some(1));

    let late = run(&["link", &address, "--call", "--data", "x", "--deadline", "200ms"]).expect(124);
    assert_eq!(late.text(), "");
    assert!(late.stderr.contains("timeout"), "{late:?}");

    fs::write(&address, "precious").unwrap();
    run(&["link", &address]).expect(3);
}

#[test]
fn a_program_may_fail_the_call() {
    let place = Place::new();
    let address = place.address("a");
    let mut asking = Command::new(binary());
    asking.args(["link", &address, "--call", "--data", "x"]);
    asking.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let asking = asking.spawn().unwrap();
    let started = Instant::now();
    let peer = loop {
        match Peer::connect(&address, LIMIT) {
            Ok(peer) => break peer,
            Err(error) => assert!(started.elapsed() < LIMIT, "{error}"),
        }
    };
    // Calls go both ways meanwhile.
    let crossing = peer.start_with("crossing", CallOptions::new().channel(Channel::COMMAND)).unwrap();
    let request = peer.recv(LIMIT).unwrap();
    assert_eq!(crossing.wait(LIMIT).unwrap().payload(), "crossing");
    request.fail(7, "why", LIMIT).unwrap();
    let done = asking.wait_with_output().unwrap();
    assert_eq!(done.status.code(), Some(3), "{done:?}");
    let shown: Value = serde_json::from_slice(&done.stdout).unwrap();
    assert_eq!((&shown["status"], &shown["text"]), (&7.into(), &"why".into()));
}

#[test]
fn a_secret_is_proved() {
    let place = Place::new();
    let file = |name: &str| {
        fs::write(place.path(name), name).unwrap();
        fs::set_permissions(place.path(name), PermissionsExt::from_mode(0o600)).unwrap();
        place.address(name)
    };
    let (right, wrong, address) = (file("right"), file("wrong"), place.address("a"));
    let side = Side::start(&[&address, "--secret-file", &right]);
    side.log.containing("joining");
    let call = ["link", &address, "--call", "--data", "x", "--secret-file"];
    run(&[&call[..], &[&right]].concat()).expect(0);
    run(&[&call[..], &[&wrong]].concat()).expect(50);
    run(&["link", &address, "--call", "--data", "x"]).expect(50);
}

#[test]
fn misuse_is_64() {
    let place = Place::new();
    let address = place.address("a");
    for arguments in [
        &["link"][..],
        &["link", &address, "--call"],
        &["link", &address, "--deadline", "1s"],
        &["link", &address, "--data", "x", "--json", "1"],
        &["link", &address, "--data", "x", "--call", "--count", "1"],
        &["link", &address, "--count", "0"],
        &["link", &address, "--retries", "-1"],
        &["link", &address, "--delay", "soon"],
        &["link", &address, "--delay", "0s"],
        &["link", &address, "--level", "1"],
        &["link", &address, "--keepalive", "1ms"],
        &["link", &address, "--json", "{"],
        &["link", "stdio:"],
        &["link", "spawn:x"],
        &["link", "tcp:127.0.0.1:7000"],
        &["link", "http://x"],
    ] {
        let done = run(arguments).expect(64);
        assert_eq!(done.text(), "", "{arguments:?}");
    }
    let line = vec![b'x'; 16 * 1024 * 1024 + 1];
    let _side = Side::start(&[&address]);
    let done = run_with_input(&["link", &address], &line).expect(64);
    assert!(done.stderr.contains("payload_too_large"), "{}", done.stderr);
}
