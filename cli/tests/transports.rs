//! The commands on addresses that are no socket file.

mod common;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::{Place, Server, binary, run};

/// A program that serves its standard streams, as an address.
fn spawn(command: &str) -> String {
    format!("spawn:'{}' {command} stdio:", binary().display())
}

fn secret_file(place: &Place, name: &str, text: &str) -> String {
    let path = place.path(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Process ids of the children of `parent`.
fn children(parent: u32) -> Vec<u32> {
    fs::read_to_string(format!("/proc/{parent}/task/{parent}/children"))
        .unwrap_or_default()
        .split_whitespace()
        .map(|pid| pid.parse().unwrap())
        .collect()
}

/// Polls until it holds; the deadline only bounds a failing test.
fn until(what: &str, limit: Duration, mut condition: impl FnMut() -> bool) {
    let end = Instant::now() + limit;
    while !condition() {
        assert!(Instant::now() < end, "not within {limit:?}: {what}");
        std::thread::yield_now();
    }
}

#[test]
fn a_server_is_started_and_asked_in_one_go() {
    let reply = run(&["request", &spawn("echo"), "--data", "hello"]).expect(0).json();
    assert_eq!(reply["text"], "hello");
    let info = run(&["info", &spawn("--log-level info echo")]).expect(0).json();
    assert_eq!(info["carrier"], "spawn");
    assert!(info["credentials"]["pid"].as_i64().unwrap() > 0);
}

#[test]
fn what_a_server_on_its_standard_streams_prints_goes_to_standard_error() {
    let done = run(&["send", &spawn("listen"), "--data", "printed"]).expect(0);
    assert_eq!(done.json()["sent"], true, "its own output, and nothing else");
    // The child may still be printing when its parent has ended; both have this standard error, and it has
    // ended too.
    assert!(done.stderr.contains("printed"), "{done:?}");
}

#[test]
fn a_server_without_a_standard_error_of_its_own_keeps_its_frames_clean() {
    for redirection in ["2>&-", "2>&1"] {
        let script = format!("exec '{}' --log-level trace echo stdio: {redirection}", binary().display());
        let reply = run(&["request", &format!("spawn:sh -c \"{script}\""), "--data", "clean"]).expect(0).json();
        assert_eq!(reply["text"], "clean", "{redirection}");
    }
}

#[test]
fn a_server_ends_with_its_killed_client() {
    let mut client = Command::new(binary())
        // It goes on for as long as its input does.
        .args(["stream", &spawn("echo")])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut child = 0;
    until("the server was started", common::LIMIT, || {
        child = children(client.id()).first().copied().unwrap_or_default();
        child != 0
    });
    client.kill().unwrap();
    client.wait().unwrap();
    // Whoever adopts it may be slow to reap it.
    until("the server has ended", Duration::from_secs(2), || {
        fs::read_to_string(format!("/proc/{child}/stat")).map_or(true, |stat| stat.contains(") Z "))
    });
}

#[test]
fn standard_streams_of_a_terminal_or_a_file_are_refused() {
    let done = Command::new(binary()).args(["echo", "stdio:"]).stdin(Stdio::null()).output().unwrap();
    let text = String::from_utf8_lossy(&done.stderr).into_owned();
    assert!(!done.status.success());
    assert!(text.contains("not_a_socket") && text.contains("spawn:"), "{text}");
}

#[test]
fn tcp_takes_a_secret_file_on_both_sides() {
    let place = Place::new();
    let secret = secret_file(&place, "secret", "between us\n");
    let server = Server::start(&["echo", "tcp::0", "--secret-file", &secret]);
    assert!(server.address.starts_with("tcp:127.0.0.1:") && !server.address.ends_with(":0"), "{}", server.address);
    let reply = run(&["request", &server.address, "--secret-file", &secret, "--data", "hi"]).expect(0).json();
    assert_eq!((&reply["text"], &reply["credentials"]), (&"hi".into(), &serde_json::Value::Null));
    let table = run(&["--format", "table", "info", &server.address, "--secret-file", &secret]).expect(0);
    assert!(table.text().contains("unknown"), "{table:?}");

    for command in [&["echo", "tcp::0"][..], &["request", &server.address, "--data", "x"]] {
        let refused = run(command);
        assert!(refused.stderr.contains("authentication_required"), "{refused:?}");
        assert!(refused.stderr.contains("(--secret-file F)"), "{refused:?}");
        assert_ne!(refused.code, Some(0));
    }
    let far = run(&["echo", "tcp:0.0.0.0:0", "--secret-file", &secret]);
    assert!(far.stderr.contains("invalid_argument"), "{far:?}");
}
