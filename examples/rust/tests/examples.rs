//! The examples do what the documentation says of them.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// The running echo example, killed when dropped.
struct Echo {
    child: Child,
    address: String,
    directory: TempDir,
}

impl Echo {
    fn start() -> Echo {
        let directory = tempfile::tempdir().unwrap();
        let address = directory.path().join("echo").to_str().unwrap().to_owned();
        let mut child = Command::new(env!("CARGO_BIN_EXE_echo")).arg(&address).stdout(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, format!("ready {address}\n"));
        Echo { child, address, directory }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        // Already gone is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn request(address: &str, text: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_request")).args([address, text]).output().unwrap()
}

#[test]
fn request_prints_what_echo_answers() {
    let echo = Echo::start();
    for text in ["hello", "", "\u{e4}\u{1f600}"] {
        let done = request(&echo.address, text);
        assert_eq!(done.status.code(), Some(0), "{done:?}");
        assert_eq!(String::from_utf8(done.stdout).unwrap(), format!("{text}\n"));
    }
}

#[test]
fn request_names_the_error() {
    let directory = tempfile::tempdir().unwrap();
    let done = request(directory.path().join("nobody").to_str().unwrap(), "hello");
    assert_eq!(done.status.code(), Some(1));
    let message = String::from_utf8(done.stderr).unwrap();
    assert!(message.starts_with("hostlane: not_found: "), "{message}");
}

#[test]
fn echo_removes_its_socket_when_told_to_end() {
    let mut echo = Echo::start();
    let pid = rustix::process::Pid::from_child(&echo.child);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    let end = Instant::now() + Duration::from_secs(5);
    let status = loop {
        if let Some(status) = echo.child.try_wait().unwrap() {
            break status;
        }
        assert!(Instant::now() < end, "echo goes on after SIGTERM");
        std::thread::sleep(Duration::from_millis(2));
    };
    assert_eq!(status.code(), Some(0));
    assert!(!echo.directory.path().join("echo").exists());
}

#[test]
fn stream_adds_up() {
    let directory = tempfile::tempdir().unwrap();
    let done = Command::new(env!("CARGO_BIN_EXE_stream")).arg(directory.path().join("s")).output().unwrap();
    assert_eq!(done.status.code(), Some(0), "{done:?}");
    assert_eq!(String::from_utf8(done.stdout).unwrap(), "101 so far\n103 so far\n106 so far\nthe sum is 106\n");
}

#[test]
fn two_links_greet_each_other() {
    let directory = tempfile::tempdir().unwrap();
    // Each goes on until its input is closed.
    let mut sides = ["a", "b"].map(|name| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_link"));
        command.arg(directory.path().join("s")).arg(name).stdin(Stdio::piped()).stdout(Stdio::piped());
        command.spawn().unwrap()
    });
    let told = sides.each_mut().map(|side| {
        let mut lines = BufReader::new(side.stdout.take().unwrap()).lines();
        [lines.next().unwrap().unwrap(), lines.next().unwrap().unwrap()]
    });
    for mut side in sides {
        drop(side.stdin.take());
        assert!(side.wait().unwrap().success());
    }
    let [[role, of_a], [other, of_b]] = told;
    assert_eq!([of_a, of_b], ["b got: hello from a", "a got: hello from b"]);
    assert!(matches!((&*role, &*other), ("serving", "connected") | ("connected", "serving")), "{role}, {other}");
}
