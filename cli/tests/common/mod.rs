//! Runs the real binary; every wait has a deadline.
#![allow(dead_code, reason = "each test file uses its part of it")]

use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

pub(crate) const LIMIT: Duration = Duration::from_secs(10);

/// A private directory with room for short socket paths.
pub(crate) struct Place(TempDir);

impl Place {
    pub(crate) fn new() -> Place {
        Place(tempfile::tempdir().expect("a temporary directory"))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub(crate) fn address(&self, name: &str) -> String {
        self.path(name).to_str().expect("a UTF-8 path").to_owned()
    }

    /// A directory of schema files.
    pub(crate) fn schemas(&self, files: &[(&str, &str)]) -> String {
        let directory = self.path("schemas");
        std::fs::create_dir(&directory).unwrap();
        for (name, text) in files {
            std::fs::write(directory.join(name), text).unwrap();
        }
        directory.to_str().unwrap().to_owned()
    }
}

pub(crate) fn binary() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_hostlane"))
}

/// What a finished command left.
pub(crate) struct Done {
    pub(crate) code: Option<i32>,
    pub(crate) stdout: Vec<u8>,
    pub(crate) stderr: String,
    pub(crate) took: Duration,
}

impl fmt::Debug for Done {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Done { code, stdout, stderr, took } = self;
        let stdout = String::from_utf8_lossy(stdout);
        write!(f, "exit {code:?} after {took:?}\nstdout: {stdout}\nstderr: {stderr}")
    }
}

impl Done {
    pub(crate) fn text(&self) -> &str {
        std::str::from_utf8(&self.stdout).expect("UTF-8 output")
    }

    /// The one JSON line written.
    pub(crate) fn json(&self) -> Value {
        let text = self.text();
        assert_eq!(text.lines().count(), 1, "one line: {self:?}");
        serde_json::from_str(text).expect("JSON output")
    }

    #[track_caller]
    pub(crate) fn expect(self, code: i32) -> Done {
        assert_eq!(self.code, Some(code), "{self:?}");
        self
    }
}

/// Runs the binary to its end.
pub(crate) fn run(arguments: &[&str]) -> Done {
    finish(Command::new(binary()).args(arguments), b"")
}

/// Runs the binary to its end with this on standard input.
pub(crate) fn run_with_input(arguments: &[&str], input: &[u8]) -> Done {
    finish(Command::new(binary()).args(arguments), input)
}

pub(crate) fn finish(command: &mut Command, input: &[u8]) -> Done {
    let started = Instant::now();
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary starts");
    let mut stdin = child.stdin.take().unwrap();
    let (mut out, mut err) = (child.stdout.take().unwrap(), child.stderr.take().unwrap());
    let out = thread::spawn(move || {
        let mut bytes = Vec::new();
        out.read_to_end(&mut bytes).map(|_| bytes)
    });
    let err = thread::spawn(move || {
        let mut text = String::new();
        err.read_to_string(&mut text).map(|_| text)
    });
    // A command that fails early does not read its input.
    let _ = stdin.write_all(input);
    drop(stdin);
    let status = wait(&mut child, LIMIT).expect("the command ends");
    Done {
        code: status.code(),
        stdout: out.join().unwrap().unwrap(),
        stderr: err.join().unwrap().unwrap(),
        took: started.elapsed(),
    }
}

/// Waits for the end of a process; kills it when it takes too long.
pub(crate) fn wait(child: &mut Child, limit: Duration) -> Option<ExitStatus> {
    let end = Instant::now() + limit;
    while Instant::now() < end {
        if let Some(status) = child.try_wait().expect("waiting works") {
            return Some(status);
        }
        thread::sleep(Duration::from_millis(2));
    }
    child.kill().expect("killing works");
    child.wait().expect("waiting works");
    None
}

/// Lines of a stream as they come.
pub(crate) struct Lines(Receiver<String>);

impl Lines {
    pub(crate) fn of(stream: impl Read + Send + 'static) -> Lines {
        let (sender, receiver) = channel();
        thread::spawn(move || {
            for line in BufReader::new(stream).lines() {
                if sender.send(line.expect("UTF-8 lines")).is_err() {
                    break;
                }
            }
        });
        Lines(receiver)
    }

    #[track_caller]
    pub(crate) fn next(&self) -> String {
        self.0.recv_timeout(LIMIT).expect("another line")
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.next()).expect("a JSON line")
    }

    /// The next line that contains a text.
    #[track_caller]
    pub(crate) fn containing(&self, text: &str) -> String {
        loop {
            let line = self.next();
            if line.contains(text) {
                return line;
            }
        }
    }
}

/// A serving command, killed when dropped.
pub(crate) struct Server {
    pub(crate) child: Child,
    /// The address it says it serves.
    pub(crate) address: String,
    pub(crate) out: Lines,
    pub(crate) log: Lines,
}

impl Server {
    /// Starts `hostlane ARGUMENTS` and waits until it listens.
    pub(crate) fn start(arguments: &[&str]) -> Server {
        let mut command = Command::new(binary());
        command.args(["--log-level", "info"]).args(arguments);
        Server::spawn(&mut command)
    }

    pub(crate) fn spawn(command: &mut Command) -> Server {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("the binary starts");
        let out = Lines::of(child.stdout.take().unwrap());
        let log = Lines::of(child.stderr.take().unwrap());
        let mut server = Server { child, address: String::new(), out, log };
        let line = server.log.containing("listening on ");
        server.address = line.split_once("listening on ").expect("just found").1.to_owned();
        server
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, signal).expect("the server runs");
    }

    /// Its exit code, once it ends.
    #[track_caller]
    pub(crate) fn ended(&mut self, limit: Duration) -> i32 {
        let status = wait(&mut self.child, limit).expect("the server ends");
        status.code().unwrap_or_else(|| panic!("ended by signal {:?}", status.signal()))
    }

    #[track_caller]
    pub(crate) fn assert_running(&mut self) {
        assert_eq!(self.child.try_wait().unwrap(), None, "the server must still run");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Already gone is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
