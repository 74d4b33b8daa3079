//! What the integration tests share: private addresses, raw peers, and children of this process.
#![allow(dead_code, unreachable_pub)]

pub mod bytes;
pub mod events;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hostlane::{ConnectOptions, Level, ListenOptions, Listener, Peer};

pub const SOON: Duration = Duration::from_secs(10);

/// A directory of its own, and addresses in it.
pub struct Place(pub tempfile::TempDir);

impl Place {
    pub fn new() -> Place {
        Place(tempfile::Builder::new().prefix("hl").tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn address(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }
}

/// A connected pair of peers in blocking use.
pub fn pair(place: &Place) -> (Peer, Peer) {
    let listener = Listener::bind(&place.address("pair.sock")).unwrap();
    let address = place.address("pair.sock");
    let client = std::thread::spawn(move || Peer::connect(&address, SOON).unwrap());
    let server = listener.accept(SOON).unwrap();
    (client.join().unwrap(), server)
}

/// The same with options for each side.
pub fn pair_with(place: &Place, connect: &ConnectOptions, listen: &ListenOptions) -> (Peer, Peer) {
    let address = place.address("with.sock").parse().unwrap();
    let listener = Listener::bind_with(&address, listen).unwrap();
    std::thread::scope(|scope| {
        let client = scope.spawn(|| Peer::connect_with(&address, connect, SOON).unwrap());
        let server = listener.accept(SOON).unwrap();
        (client.join().unwrap(), server)
    })
}

/// The same on wire level 0.
pub fn pair_on_level_0(place: &Place) -> (Peer, Peer) {
    let listener = Listener::bind(&place.address("zero.sock")).unwrap();
    let address = place.address("zero.sock").parse().unwrap();
    let options = ConnectOptions::new().level(Level::Zero);
    let client = std::thread::spawn(move || Peer::connect_with(&address, &options, SOON).unwrap());
    let server = listener.accept(SOON).unwrap();
    (client.join().unwrap(), server)
}

/// Polls `condition` until it holds; the deadline only bounds a failing test.
pub fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {SOON:?}: {what}");
        std::thread::yield_now();
    }
}

/// Numbers that look random and are the same in every run (xorshift).
pub struct Dice(pub u64);

impl Dice {
    pub fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, (self.roll() % (at as u64 + 1)) as usize);
        }
    }
}

pub fn frame(channel: u16, payload: &[u8]) -> Vec<u8> {
    let mut out = b"IP".to_vec();
    out.extend((payload.len() as u32).to_le_bytes());
    out.extend(channel.to_le_bytes());
    out.extend(payload);
    out
}

pub const HELLO: &[u8] = br#"{"protocol":"ipcprims","version":"1.0","channels":[1,2,3,4]}"#;
pub const WELCOME: &[u8] = br#"{"protocol":"ipcprims","version":"1.0","channels":[1,2,3,4],"peer_id":"raw-1"}"#;

/// A peer made of nothing but bytes.
pub struct Raw(pub UnixStream);

impl Raw {
    pub fn connect(address: &str) -> Raw {
        let stream = UnixStream::connect(address).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        Raw(stream)
    }

    /// Connects and shakes hands as a stock client does.
    pub fn shaken(address: &str) -> Raw {
        let mut raw = Raw::connect(address);
        raw.write(&frame(0, HELLO));
        assert_eq!(raw.frame().expect("a response").0, 0);
        raw
    }

    pub fn write(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    /// The next frame, or `None` at the end of the stream.
    pub fn frame(&mut self) -> Option<(u16, Vec<u8>)> {
        let mut header = [0; 8];
        match self.0.read_exact(&mut header) {
            Ok(()) => {}
            Err(_) => return None,
        }
        assert_eq!(&header[..2], b"IP");
        let len = u32::from_le_bytes(header[2..6].try_into().unwrap()) as usize;
        let mut payload = vec![0; len];
        self.0.read_exact(&mut payload).unwrap();
        Some((u16::from_le_bytes(header[6..].try_into().unwrap()), payload))
    }

    /// Asserts that the other side closes.
    pub fn closed(&mut self) {
        if let Some((channel, payload)) = self.frame() {
            panic!("frame on {channel} instead of the end: {}", String::from_utf8_lossy(&payload));
        }
    }
}

/// A child process running one of this test binary's children, named by `HOSTLANE_CHILD`.
pub struct Process(pub Child);

impl Process {
    pub fn start(role: &str, address: &str) -> Process {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "child", "--nocapture", "--test-threads=1"]);
        command.env("HOSTLANE_CHILD", role).env("HOSTLANE_ADDRESS", address).stdout(Stdio::piped());
        Process(command.spawn().unwrap())
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").args([&format!("-{name}"), &self.0.id().to_string()]).status().unwrap();
        assert!(status.success());
        if name == "STOP" {
            // The signal is sent; each of its threads stops when it gets to it.
            let tasks = format!("/proc/{}/task", self.0.id());
            until("every thread has stopped", || {
                std::fs::read_dir(&tasks).unwrap().all(|task| {
                    let stat = std::fs::read_to_string(task.unwrap().path().join("stat")).unwrap_or_default();
                    stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('T'))
                })
            });
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Whether this is a process of `test`'s own; otherwise runs it in one.
pub fn alone(test: &str) -> bool {
    if std::env::var_os("HOSTLANE_ALONE").is_some() {
        return true;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env("HOSTLANE_ALONE", "1");
    assert!(command.status().unwrap().success());
    false
}

/// A number of kB, or of times, from `/proc/self/status`.
pub fn status(field: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with(field)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse().unwrap()
}

/// What a child started with [`Process::start`] is to do: its role and address.
pub fn child_role() -> Option<(String, String)> {
    Some((std::env::var("HOSTLANE_CHILD").ok()?, std::env::var("HOSTLANE_ADDRESS").ok()?))
}
