//! `hostlane doctor`: does this machine carry messages? Every check does what it speaks of.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use clap::Args;
use hostlane::{Address, Channel, Code, ConnectOptions, Error, ListenOptions, Listener, Peer};
use serde::Serialize;
use tempfile::TempDir;

use crate::exit::{Exit, Failure};
use crate::logging::printable;
use crate::output::{Output, Report};

/// Check this machine with real round trips over each transport
#[derive(Args)]
pub(crate) struct Doctor {}

#[derive(Serialize)]
struct Findings {
    checks: Vec<Check>,
    overall: Status,
}

#[derive(Serialize)]
struct Check {
    name: &'static str,
    status: Status,
    detail: String,
}

#[derive(Serialize, Clone, Copy, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
enum Status {
    Pass,
    Fail,
}

/// What was seen, or what is wrong.
type Finding = Result<String, String>;

/// Each step of a check takes far less; a machine on which it does not is not well.
const LIMIT: Duration = Duration::from_secs(5);

/// Its name, and what does it with a directory of its own.
type Step = (&'static str, fn(&Path) -> Finding);

const CHECKS: &[Step] = &[
    ("path socket", path_socket),
    ("socket permissions", socket_permissions),
    ("live server kept", live_server_kept),
    ("other file kept", other_file_kept),
    ("socket removed", socket_removed),
    ("per-user name", user_name),
    ("runtime directory", runtime_directory),
    ("abstract without authentication", abstract_refused),
    ("abstract socket", abstract_socket),
];

impl Doctor {
    pub(crate) fn run(self, output: &Output) -> Result<Exit, Failure> {
        let directory = TempDir::with_prefix("hostlane-doctor-")
            .map_err(|error| Error::new(Code::Io, format!("temporary directory: {error}")))?;
        let check = |&(name, step): &Step| match step(directory.path()) {
            Ok(detail) => Check { name, status: Status::Pass, detail },
            Err(detail) => Check { name, status: Status::Fail, detail },
        };
        let checks: Vec<Check> = CHECKS.iter().map(check).collect();
        // Lock files stay for the next server of their name; with our pid in it, there is none.
        if let Err(error) = fs::remove_file(hostlane::runtime_directory().join(format!("{}.lock", name()))) {
            log::info!("the lock file of {}: {error}", name());
        }
        let failed = checks.iter().any(|check| check.status == Status::Fail);
        let overall = if failed { Status::Fail } else { Status::Pass };
        output.report(&Findings { checks, overall })?;
        Ok(if failed { Exit::Failed } else { Exit::Success })
    }
}

fn path_socket(directory: &Path) -> Finding {
    round_trip(&path_address(directory, "round-trip")?, &ConnectOptions::new(), &ListenOptions::new())
}

fn socket_permissions(directory: &Path) -> Finding {
    let (listener, path) = listener_in(directory, "permissions")?;
    let seen = private(&path, 0o600)?;
    listener.close();
    Ok(seen)
}

fn live_server_kept(directory: &Path) -> Finding {
    let (listener, path) = listener_in(directory, "live")?;
    expect(Listener::bind(&text(&path)), Code::AddressInUse)?;
    let seen = exchange(&listener, &path_address(directory, "live")?, &ConnectOptions::new())?;
    Ok(format!("a second server was refused; through the first: {seen}"))
}

fn other_file_kept(directory: &Path) -> Finding {
    let path = directory.join("file");
    fs::write(&path, "precious").map_err(|error| error.to_string())?;
    expect(Listener::bind(&text(&path)), Code::NotASocket)?;
    match fs::read(&path) {
        Ok(content) if content == b"precious" => Ok("a regular file at the address was refused and left alone".into()),
        other => Err(format!("the file at the address was changed: {other:?}")),
    }
}

fn socket_removed(directory: &Path) -> Finding {
    let (listener, path) = listener_in(directory, "removed")?;
    listener.close();
    match fs::symlink_metadata(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok("a closed listener leaves no socket".into()),
        Err(error) => Err(error.to_string()),
        Ok(_) => Err(format!("{} is still there", path.display())),
    }
}

fn user_name(_: &Path) -> Finding {
    let address = Address::Name(name());
    round_trip(&address, &ConnectOptions::new(), &ListenOptions::new())
}

fn runtime_directory(_: &Path) -> Finding {
    let directory = hostlane::runtime_directory();
    let listener = Listener::bind(&name()).map_err(said)?;
    let socket = directory.join(format!("{}.sock", name()));
    private(&socket, 0o600)?;
    listener.close();
    private(&directory, 0o700)
}

fn abstract_refused(_: &Path) -> Finding {
    expect(Listener::bind(&format!("unix:@{}", name())), Code::AuthenticationRequired)?;
    Ok("refused, as it must be".into())
}

fn abstract_socket(_: &Path) -> Finding {
    let me = [rustix::process::geteuid().as_raw()];
    let (connect, listen) = (ConnectOptions::new().allow_uids(&me), ListenOptions::new().allow_uids(&me));
    round_trip(&Address::Abstract(name()), &connect, &listen)
}

fn round_trip(address: &Address, connect: &ConnectOptions, listen: &ListenOptions) -> Finding {
    exchange(&Listener::bind_with(address, listen).map_err(said)?, address, connect)
}

/// A call and a message there and back between two threads, and a ping. Ends the listener.
fn exchange(listener: &Listener, address: &Address, options: &ConnectOptions) -> Finding {
    thread::scope(|scope| {
        let server = scope.spawn(|| serve(listener));
        let client = call(address, options);
        listener.close();
        let server = server.join().map_err(|_| "the server panicked")?;
        let seen = client?;
        server.map_err(said)?;
        Ok(seen)
    })
}

/// Answers one client until it leaves.
fn serve(listener: &Listener) -> hostlane::Result<()> {
    let peer = listener.accept(LIMIT)?;
    loop {
        match peer.recv(LIMIT) {
            Ok(message) => message.reply(message.payload(), LIMIT)?,
            Err(error) if error.code() == Code::PeerClosed => return Ok(()),
            Err(error) => return Err(error),
        }
    }
}

fn call(address: &Address, options: &ConnectOptions) -> Finding {
    let peer = Peer::connect_with(address, options, LIMIT).map_err(said)?;
    let payload: Vec<u8> = (0..=u8::MAX).cycle().take(64 * 1024).collect();
    let reply = peer.request(&payload).and_then(|call| call.wait(LIMIT)).map_err(said)?;
    if reply.payload()[..] != payload[..] {
        return Err("the reply differs from what was sent".into());
    }
    peer.send(Channel::DATA, &payload, LIMIT).map_err(said)?;
    let echo = peer.recv_on(Channel::DATA, LIMIT).map_err(said)?;
    if echo.payload()[..] != payload[..] {
        return Err("the echo differs from what was sent".into());
    }
    let seen = peer.info().map_err(said)?.credentials;
    let me = (rustix::process::getpid().as_raw_nonzero().get(), rustix::process::geteuid().as_raw());
    if seen.map(|seen| (seen.pid, seen.uid)) != Some(me) {
        return Err(format!("the kernel reports another peer: {seen:?}"));
    }
    let ping = peer.ping(LIMIT).map_err(said)?;
    Ok(format!("64 KiB there and back, ping {:.1} us", ping.as_nanos() as f64 / 1000.0))
}

fn path_address(directory: &Path, file: &str) -> Result<Address, String> {
    text(&directory.join(file)).parse().map_err(said)
}

fn listener_in(directory: &Path, file: &str) -> Result<(Listener, PathBuf), String> {
    let path = directory.join(file);
    Ok((Listener::bind(&text(&path)).map_err(said)?, path))
}

/// Ours, and with exactly these permissions.
fn private(path: &Path, mode: u32) -> Finding {
    let meta = fs::symlink_metadata(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let me = rustix::process::geteuid().as_raw();
    let seen = format!("{}: mode {:04o}, owner {}", path.display(), meta.mode() & 0o7777, meta.uid());
    if (meta.mode() & 0o7777, meta.uid()) == (mode, me) {
        Ok(seen)
    } else {
        Err(format!("{seen}; expected mode {mode:04o}, owner {me}"))
    }
}

fn expect(bound: hostlane::Result<Listener>, code: Code) -> Result<(), String> {
    match bound {
        Err(error) if error.code() == code => Ok(()),
        Err(error) => Err(format!("expected {}, got {error}", code.name())),
        Ok(_) => Err(format!("expected {}, but it was allowed", code.name())),
    }
}

/// A name nobody else uses at the moment.
fn name() -> String {
    format!("doctor-{}", std::process::id())
}

fn text(path: &Path) -> String {
    path.display().to_string()
}

fn said(error: Error) -> String {
    error.to_string()
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Status::Pass => "pass",
            Status::Fail => "FAIL",
        }
    }
}

impl Report for Findings {
    fn table(&self) -> String {
        let width = self.checks.iter().map(|check| check.name.len()).max().unwrap_or(0);
        let line =
            |check: &Check| format!("{}  {:width$}  {}\n", check.status.name(), check.name, printable(&check.detail));
        self.checks.iter().map(line).collect::<String>() + &format!("{}\n", self.overall.name())
    }

    fn raw(&self) -> Vec<u8> {
        format!("{}\n", self.overall.name().to_lowercase()).into_bytes()
    }
}
