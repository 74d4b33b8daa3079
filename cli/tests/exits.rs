//! Every exit code of the table, each from a real cause.

mod common;

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use common::{Done, Place, Server, binary, finish, run, run_with_input};

/// Ends with this code and names the error on standard error.
#[track_caller]
fn ends(arguments: &[&str], code: i32, name: &str) -> Done {
    let done = run(arguments).expect(code);
    assert!(done.stderr.starts_with("hostlane: "), "{}", done.stderr);
    assert!(done.stderr.contains(name), "{}", done.stderr);
    assert_eq!(done.text(), "");
    done
}

/// A server of a few lines that treats one client in its own way.
fn rogue(place: &Place, treat: impl FnOnce(std::os::unix::net::UnixStream) + Send + 'static) -> String {
    let address = place.address("rogue");
    let listener = UnixListener::bind(&address).unwrap();
    thread::spawn(move || treat(listener.accept().unwrap().0));
    address
}

#[test]
fn success_is_0() {
    let place = Place::new();
    let address = place.address("a");
    let _server = Server::start(&["echo", &address]);
    run(&["request", &address, "--data", "x"]).expect(0);
    run(&["--help"]).expect(0);
    run(&["--version"]).expect(0);
    run(&["help", "send"]).expect(0);
    let commands =
        ["listen", "send", "request", "stream", "echo", "link", "info", "doctor", "check", "envinfo", "version"];
    for command in commands {
        let help = run(&[command, "--help"]).expect(0);
        assert!(help.text().contains("Usage: hostlane"), "{}", help.text());
    }
}

#[test]
fn refused_or_lost_is_1() {
    let place = Place::new();
    for command in [&["request"][..], &["send"]] {
        let address = place.address("nothing-here");
        ends(&[command, &[&address, "--data", "x"]].concat(), 1, "not_found");
    }
    ends(&["info", &place.address("nothing-here")], 1, "not_found");
    ends(&["info", &format!("no-such-name-{}", std::process::id())], 1, "");

    let stale = place.address("stale");
    drop(UnixListener::bind(&stale).unwrap());
    ends(&["request", &stale, "--data", "x"], 1, "connection_refused");

    let leaves = rogue(&place, drop);
    ends(&["request", &leaves, "--data", "x"], 1, "");
}

#[test]
fn server_killed_during_a_call_is_1() {
    let place = Place::new();
    let address = place.address("killed");
    // On level 0 it cannot even say that it will not answer.
    let mut server = Server::start(&["listen", &address, "--level", "0"]);
    let asking = address.clone();
    let asked = thread::spawn(move || run(&["request", &asking, "--data", "x", "--deadline", "9s"]));
    server.out.json();
    server.child.kill().unwrap();
    asked.join().unwrap().expect(1);
}

#[test]
fn transport_error_is_3() {
    let place = Place::new();
    let file = place.address("file");
    fs::write(&file, "precious").unwrap();
    ends(&["listen", &file], 3, "not_a_socket");
    assert_eq!(fs::read(&file).unwrap(), b"precious");

    let served = place.address("served");
    let _server = Server::start(&["echo", &served]);
    ends(&["echo", &served], 3, "address_in_use");
    run(&["request", &served, "--data", "x"]).expect(0);

    let garbage = rogue(&place, |mut client| {
        client.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap();
        // Until the other side has seen enough of it.
        let _ = client.read_to_end(&mut Vec::new());
    });
    ends(&["request", &garbage, "--data", "x"], 3, "bad_magic");
}

#[test]
fn permission_denied_is_50() {
    let place = Place::new();
    let secret = place.address("secret");
    fs::write(&secret, "word").unwrap();
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o640)).unwrap();
    let address = place.address("a");
    ends(&["listen", &address, "--secret-file", &secret], 50, "permission_denied");
    ends(&["send", &address, "--data", "x", "--secret-file", &secret], 50, "permission_denied");

    // The kernel's own refusal, at a directory that lets nobody in.
    let closed = place.path("closed");
    fs::create_dir(&closed).unwrap();
    let inside = closed.join("a").to_str().unwrap().to_owned();
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o000)).unwrap();
    let mut command;
    if rustix::process::geteuid().is_root() {
        // Permissions do not hold root back, so somebody else asks; with a copy of the binary at a
        // place anybody can reach.
        let copy = place.path("hostlane");
        // Copied by another process: a child that another test forks meanwhile would hold it open for writing.
        assert!(Command::new("cp").arg(binary()).arg(&copy).status().unwrap().success());
        fs::set_permissions(place.path("."), fs::Permissions::from_mode(0o755)).unwrap();
        command = Command::new(copy);
        command.uid(65534).gid(65534);
    } else {
        command = Command::new(binary());
    }
    let done = finish(command.args(["request", &inside, "--data", "x"]), b"").expect(50);
    assert!(done.stderr.contains("permission_denied"), "{}", done.stderr);
    fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
}

#[test]
fn schema_violation_is_60() {
    let place = Place::new();
    let schemas = place.schemas(&[("data.schema.json", r#"{"type": "integer"}"#)]);
    let nowhere = place.address("nowhere");
    // Found before anything is connected.
    ends(&["send", &nowhere, "--data", "\"x\"", "--schema", &schemas], 60, "schema_violation");
    ends(&["send", &nowhere, "--data", "1", "--schema", &schemas], 1, "not_found");
    fs::write(place.path("schemas/wrong.schema.json"), "{}").unwrap();
    for command in ["listen", "echo"] {
        ends(&[command, &nowhere, "--schema", &schemas], 60, "bad_schema");
    }
}

#[test]
fn invalid_arguments_are_64() {
    let place = Place::new();
    let address = place.address("a");
    for arguments in [
        &[][..],
        &["fly"],
        &["send"],
        &["send", &address],
        &["send", &address, "--data", "x", "--json", "1"],
        &["send", &address, "--data", "x", "-"],
        &["send", &address, "x", "y"],
        &["send", &address, "--data", "x", "-c", "0"],
        &["send", &address, "--data", "x", "-c", "5"],
        &["send", &address, "--data", "x", "-c", "255"],
        &["send", &address, "--data", "x", "-c", "65536"],
        &["send", &address, "--data", "x", "-c", "control"],
        &["send", &address, "--data", "x", "--timeout", "5"],
        &["request", &address, "--data", "x", "--deadline", "soon"],
        &["listen", &address, "--count", "0"],
        &["listen", &address, "--count", "-1"],
        &["--format", "xml", "version"],
        &["--log-level", "loud", "version"],
        &["version", "--nonsense"],
    ] {
        let done = run(arguments).expect(64);
        assert!(done.stderr.contains("Usage:") || done.stderr.contains("error:"), "{arguments:?}: {}", done.stderr);
    }
    let data = ["--data", "x"];
    ends(&[&["send", "http://x"], &data[..]].concat(), 64, "invalid_address");
    ends(&[&["send", "dir/file"], &data[..]].concat(), 64, "invalid_address");
    ends(&[&["send", &format!("/{}", "p".repeat(100))], &data[..]].concat(), 64, "address_too_long");
    for address in ["pipe:x", "tls:localhost:1"] {
        ends(&[&["send", address], &data[..]].concat(), 64, "unsupported");
        ends(&["listen", address], 64, "unsupported");
    }
    ends(&["listen", "spawn:x"], 64, "unsupported");
    ends(&[&["send", "systemd:"], &data[..]].concat(), 64, "unsupported");
    ends(&["listen", "tcp:127.0.0.1:7000"], 64, "authentication_required");
    ends(&["listen", "unix:@hostlane-cli-test"], 64, "authentication_required");
    ends(&["send", &address, "--json", "{"], 64, "invalid_argument");
    ends(&["send", &address, "--file", &place.address("missing")], 64, "invalid_argument");
    let large = vec![0; 16 * 1024 * 1024 + 1];
    let done = run_with_input(&["send", &address, "-"], &large).expect(64);
    assert!(done.stderr.contains("payload_too_large"), "{}", done.stderr);
}

#[test]
fn timeout_is_124() {
    let place = Place::new();
    // Nobody takes it from the backlog.
    let address = place.address("silent");
    let _listener = UnixListener::bind(&address).unwrap();
    let done = ends(&["request", &address, "--data", "x", "--deadline", "200ms"], 124, "timeout");
    assert!(done.took >= Duration::from_millis(200) && done.took < Duration::from_secs(2), "{:?}", done.took);
    ends(&["info", &address, "--timeout", "200ms"], 124, "timeout");

    let address = place.address("listens-only");
    let server = Server::start(&["listen", &address, "--level", "0"]);
    ends(&["request", &address, "--data", "x", "--deadline", "200ms"], 124, "timeout");
    server.out.json();
    ends(&["send", &address, "--data", "x", "--wait", "--timeout", "200ms"], 124, "timeout");
    server.out.json();
}

#[test]
fn own_failure_is_125() {
    // Standard output that takes nothing.
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let done = Command::new(binary()).arg("envinfo").stdout(full).stderr(Stdio::piped()).output().unwrap();
    assert_eq!(done.status.code(), Some(125));
    assert!(String::from_utf8_lossy(&done.stderr).contains("standard output"), "{done:?}");
}

#[test]
fn failed_doctor_is_125() {
    let place = Place::new();
    let open = place.path("hostlane");
    fs::create_dir(&open).unwrap();
    fs::set_permissions(&open, fs::Permissions::from_mode(0o777)).unwrap();
    let mut command = Command::new(binary());
    command.arg("doctor").env("XDG_RUNTIME_DIR", place.path("."));
    let findings = finish(&mut command, b"").expect(125).json();
    assert_eq!(findings["overall"], "fail");
    let status = |name: &str| {
        let checks = findings["checks"].as_array().unwrap();
        checks.iter().find(|check| check["name"] == name).unwrap()["status"].clone()
    };
    assert_eq!(status("per-user name"), "fail");
    assert_eq!(status("runtime directory"), "fail");
    assert_eq!(status("path socket"), "pass");
}

#[test]
fn reader_that_leaves_is_no_error() {
    let (read, write) = std::io::pipe().unwrap();
    drop(read);
    let done = Command::new(binary()).arg("version").stdout(write).stderr(Stdio::piped()).output().unwrap();
    assert_eq!((done.status.code(), done.stderr.len()), (Some(0), 0), "{done:?}");
}
