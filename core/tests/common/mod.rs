//! What the integration tests share: private addresses, raw peers, and children of this process.
#![allow(dead_code, unreachable_pub)]

#[cfg(unix)]
pub mod bytes;
pub mod events;
pub mod hears;
#[cfg(unix)]
mod raw;

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use hostlane::{Channel, ConnectOptions, Level, ListenOptions, Listener, Peer, Wait};
#[cfg(unix)]
pub use raw::Raw;

pub const SOON: Duration = Duration::from_secs(10);

/// A directory of its own, and addresses in it: on Windows pipes, which have its name before theirs.
pub struct Place(pub tempfile::TempDir);

impl Place {
    pub fn new() -> Place {
        Place(tempfile::Builder::new().prefix("hl").tempdir().unwrap())
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn address(&self, name: &str) -> String {
        if cfg!(unix) {
            return self.path(name).display().to_string();
        }
        let folder = self.0.path().file_name().unwrap().display();
        format!("pipe:{folder}-{name}")
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

/// Ends a server's thread by closing its peer, also when the test fails.
pub struct Closing<'a>(pub &'a Peer);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Waits until no call is open.
pub fn calm(peer: &Peer) {
    until("no call is open", || {
        // The end of a call that was given up is read by whoever reads.
        let _ = peer.recv_on(Channel::ERROR, Wait::none());
        let stats = peer.stats().unwrap();
        stats.open_calls == 0 && stats.open_served == 0
    });
}

/// The open descriptors of this process.
pub fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").unwrap().count()
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

/// What starts this test binary again: itself, or under an emulator the script that its runner made.
pub fn program() -> PathBuf {
    let emulated = std::env::var_os("HOSTLANE_TEST_PROGRAM").map(PathBuf::from);
    emulated.unwrap_or_else(|| std::env::current_exe().unwrap())
}

/// A child process running one of this test binary's children, named by `HOSTLANE_CHILD`.
pub struct Process(pub Child);

impl Process {
    pub fn start(role: &str, address: &str) -> Process {
        let mut command = Command::new(program());
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
    let mut command = Command::new(program());
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
