//! `hostlane doctor`: does this machine carry messages? Every check does what it speaks of.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use hostlane::{
    Address, CallOptions, Channel, Code, ConnectOptions, Error, Level, ListenOptions, Listener, Peer, Secret,
};
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
    ("path socket, level 0", path_socket_level_0),
    ("stream", stream),
    ("cancelled call", cancelled_call),
    ("socket permissions", socket_permissions),
    ("live server kept", live_server_kept),
    ("other file kept", other_file_kept),
    ("socket removed", socket_removed),
    ("per-user name", user_name),
    ("runtime directory", runtime_directory),
    ("abstract without authentication", abstract_refused),
    ("abstract socket", abstract_socket),
    ("tcp", tcp),
    ("inproc", inproc),
    ("standard streams of a child", standard_streams),
];

/// A call that its server never answers.
const UNANSWERED: &[u8] = b"unanswered";

/// Who the kernel has to say is at the other end.
#[derive(Clone, Copy)]
enum Who {
    /// This very process.
    Me,
    /// A program of this user's.
    Mine,
    /// Nobody: the transport tells nothing.
    Unknown,
}

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

fn path_socket_level_0(directory: &Path) -> Finding {
    let options = ConnectOptions::new().level(Level::Zero);
    let listener = Listener::bind_with(&path_address(directory, "level-0")?, &ListenOptions::new()).map_err(said)?;
    exchange(&listener, &options, |peer| call(peer, 0, Who::Me))
}

fn stream(directory: &Path) -> Finding {
    const ITEMS: usize = 64;
    let (listener, _) = listener_in(directory, "stream")?;
    exchange(&listener, &ConnectOptions::new(), |peer| {
        let stream = peer.open_stream("opened", CallOptions::new()).map_err(said)?;
        for n in 0..ITEMS {
            let item = vec![n as u8; 16 * 1024];
            stream.send(&item, LIMIT).map_err(said)?;
            if stream.recv(LIMIT).map_err(said)?.as_deref() != Some(&item[..]) {
                return Err(format!("item {n} differs from what was sent"));
            }
        }
        stream.finish(LIMIT).map_err(said)?;
        match (stream.recv(LIMIT).map_err(said)?, stream.reply()) {
            (None, Some(reply)) if reply == "opened" => Ok(format!("{ITEMS} items of 16 KiB there and back")),
            (item, reply) => Err(format!("the end was {item:?}, {reply:?}")),
        }
    })
}

fn cancelled_call(directory: &Path) -> Finding {
    let (listener, _) = listener_in(directory, "cancelled")?;
    exchange(&listener, &ConnectOptions::new(), |peer| {
        match peer.start(UNANSWERED).and_then(|call| call.wait(Duration::from_millis(20))) {
            Err(error) if error.code() == Code::Timeout => {}
            other => return Err(format!("expected timeout, got {other:?}")),
        }
        // The server answers the next call once it knows that the first one was given up.
        let started = Instant::now();
        let reply = peer.request("next", LIMIT).map_err(said)?;
        if reply.payload() != "next" {
            return Err("the next call got another reply than its own".into());
        }
        Ok(format!("the server was told, and the next call answered after {:?}", started.elapsed()))
    })
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
    let seen = exchange(&listener, &ConnectOptions::new(), |peer| call(peer, 1, Who::Me))?;
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

fn tcp(_: &Path) -> Finding {
    let mut key = [0; 16];
    File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut key)).map_err(|error| error.to_string())?;
    let secret = Secret::new(format!("{:032x}", u128::from_ne_bytes(key))).map_err(said)?;
    let address = "tcp:127.0.0.1:0".parse().map_err(said)?;
    let listener = Listener::bind_with(&address, &ListenOptions::new().secret(secret.clone())).map_err(said)?;
    exchange(&listener, &ConnectOptions::new().secret(secret), |peer| call(peer, 1, Who::Unknown))
}

fn inproc(_: &Path) -> Finding {
    let address = format!("inproc:{}", name()).parse().map_err(said)?;
    round_trip(&address, &ConnectOptions::new(), &ListenOptions::new())
}

fn standard_streams(_: &Path) -> Finding {
    let program = std::env::current_exe().map_err(|error| format!("this program: {error}"))?;
    let arguments = ["echo".as_ref(), "stdio:".as_ref()];
    let options = ConnectOptions::new().command(&[&[program.as_os_str()], &arguments[..]].concat());
    let peer = Peer::connect_with(&"spawn:".parse().map_err(said)?, &options, LIMIT).map_err(said)?;
    call(&peer, 1, Who::Mine)
}

fn round_trip(address: &Address, connect: &ConnectOptions, listen: &ListenOptions) -> Finding {
    let listener = Listener::bind_with(address, listen).map_err(said)?;
    exchange(&listener, connect, |peer| call(peer, 1, Who::Me))
}

/// Has a client talk to a server in another thread. Ends the listener.
fn exchange(listener: &Listener, options: &ConnectOptions, talk: impl FnOnce(&Peer) -> Finding) -> Finding {
    thread::scope(|scope| {
        let server = scope.spawn(|| serve(listener));
        let client = Peer::connect_with(listener.address(), options, LIMIT).map_err(said).and_then(|peer| talk(&peer));
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
        let message = match peer.recv(LIMIT) {
            Ok(message) => message,
            Err(error) if error.code() == Code::PeerClosed => return Ok(()),
            Err(error) => return Err(error),
        };
        if message.payload() == UNANSWERED {
            message.wait_cancelled(LIMIT)?;
            continue;
        }
        if let Some(stream) = message.stream() {
            while let Some(item) = stream.recv(LIMIT)? {
                stream.send(item, LIMIT)?;
            }
        }
        message.reply(message.payload(), LIMIT)?;
    }
}

/// A call and a message there and back, and a ping.
fn call(peer: &Peer, level: u8, who: Who) -> Finding {
    let info = peer.info().map_err(said)?;
    if info.level != level {
        return Err(format!("agreed on level {} instead of {level}", info.level));
    }
    let payload: Vec<u8> = (0..=u8::MAX).cycle().take(64 * 1024).collect();
    let reply = peer.request(&payload, LIMIT).map_err(said)?;
    if reply.payload()[..] != payload[..] {
        return Err("the reply differs from what was sent".into());
    }
    peer.send(Channel::DATA, &payload, LIMIT).map_err(said)?;
    let echo = peer.recv_on(Channel::DATA, LIMIT).map_err(said)?;
    if echo.payload()[..] != payload[..] {
        return Err("the echo differs from what was sent".into());
    }
    let me = (rustix::process::getpid().as_raw_nonzero().get(), rustix::process::geteuid().as_raw());
    let expected = match (who, info.credentials) {
        (Who::Me, Some(seen)) => (seen.pid, seen.uid) == me,
        (Who::Mine, Some(seen)) => seen.pid != me.0 && seen.uid == me.1,
        (Who::Unknown, seen) => seen.is_none(),
        (_, None) => false,
    };
    if !expected {
        return Err(format!("the kernel reports another peer: {:?}", info.credentials));
    }
    let ping = peer.ping(LIMIT).map_err(said)?;
    Ok(format!("64 KiB there and back on level {level}, ping {:.1} us", ping.as_nanos() as f64 / 1000.0))
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
