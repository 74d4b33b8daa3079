//! 64-byte round trips between two processes: a lane with and without spinning, and attached to the I/O
//! threads, beside a raw blocking and a raw polling Unix socket in the same run, interleaved. Only the ratios to the blocking socket mean
//! anything on a shared machine.
//!
//! `cargo bench -p hostlane --bench round_trip [-- PLACEMENT...]`, with placements `free`, `two` (a core
//! each), `one` (the same core) and `hogs` (free, beside a busy process per core). `-- serve KIND PATH` and
//! `-- trips KIND PATH COUNT` run one side alone, for counting system calls.

use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use hostlane::{Address, Channel, ConnectOptions, ListenOptions, Listener, Peer, Spin, Wait};
use rustix::process::{Signal, set_parent_process_death_signal};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

const SOON: Duration = Duration::from_secs(10);
const SIZE: usize = 64;
const ROUNDS: usize = 15;
const WINDOW: Duration = Duration::from_millis(200);
/// How long the raw polling socket polls before it blocks.
const POLLING: Duration = Duration::from_micros(50);
const KINDS: [&str; 5] = ["raw-blocking", "raw-polling", "spin-off", "spin-auto", "attached"];

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|a| !a.starts_with("--")).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["serve", kind, path] => serve(kind, Path::new(path)),
        ["trips", kind, path, count] => {
            let mut client = Client::connect(kind, Path::new(path));
            (0..count.parse().expect("a count")).for_each(|_| client.trip());
        }
        ["client", placement, folder] => measure(placement, Path::new(folder)),
        ["hog"] => {
            end_with_parent();
            loop {
                std::hint::spin_loop();
            }
        }
        [] => ["free", "two", "one", "hogs"].into_iter().for_each(run),
        _ => words.into_iter().for_each(run),
    }
}

/// A process that ends with this one.
struct Running(Child);

impl Running {
    fn start(arguments: &[&str]) -> Running {
        let me = std::env::current_exe().expect("this program");
        Running(Command::new(me).args(arguments).spawn().expect("a child"))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn end_with_parent() {
    set_parent_process_death_signal(Some(Signal::KILL)).expect("a parent");
}

fn pin(cpu: usize) {
    let mut cpus = CpuSet::new();
    cpus.set(cpu);
    sched_setaffinity(None, &cpus).expect("a processor of that number");
}

fn run(placement: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |kind: &str| folder.path().join(kind).display().to_string();
    let before = sched_getaffinity(None).expect("less than a thousand processors");
    if matches!(placement, "two" | "one") {
        // Inherited by the servers.
        pin(0);
    }
    let servers: Vec<Running> = KINDS.iter().map(|kind| Running::start(&["serve", kind, &path(kind)])).collect();
    let hogs: Vec<Running> = match placement {
        "hogs" => {
            (0..std::thread::available_parallelism().map_or(2, usize::from)).map(|_| Running::start(&["hog"])).collect()
        }
        _ => Vec::new(),
    };
    let mut client = Running::start(&["client", placement, &folder.path().display().to_string()]);
    assert!(client.0.wait().expect("a client").success());
    drop((hogs, servers));
    sched_setaffinity(None, &before).expect("the processors of before");
}

// --- one side ----------------------------------------------------------------------------------------

fn serve(kind: &str, path: &Path) {
    end_with_parent();
    if kind.starts_with("raw") {
        let listener = UnixListener::bind(path).expect("an address");
        let (mut stream, _) = listener.accept().expect("a client");
        let mut buffer = [0; SIZE];
        while receive(&mut stream, &mut buffer, kind == "raw-polling").is_ok() {
            stream.write_all(&buffer).expect("a reader");
        }
        return;
    }
    let address: Address = path.display().to_string().parse().expect("an address");
    let listener = Listener::bind_with(&address, &ListenOptions::new().spin(spin(kind))).expect("a listener");
    let peer = listener.accept(SOON).expect("a client");
    if kind == "attached" {
        peer.attach().expect("a thread");
    }
    while let Ok(request) = peer.recv_on(Channel::COMMAND, Wait::forever()) {
        request.reply(request.payload(), SOON).expect("a reader");
    }
}

fn spin(kind: &str) -> Spin {
    match kind {
        "spin-off" => Spin::Off,
        "spin-auto" | "attached" => Spin::Auto,
        micros => Spin::Micros(micros.trim_start_matches("spin-").parse().expect("microseconds")),
    }
}

fn receive(stream: &mut UnixStream, buffer: &mut [u8; SIZE], polling: bool) -> io::Result<()> {
    if polling {
        stream.set_nonblocking(true)?;
        let start = Instant::now();
        while start.elapsed() < POLLING {
            match stream.read(buffer) {
                Ok(SIZE) => return Ok(()),
                Ok(n) => return Err(io::Error::other(format!("{n} bytes"))),
                Err(e) if e.kind() == ErrorKind::WouldBlock => {}
                Err(e) => return Err(e),
            }
        }
        stream.set_nonblocking(false)?;
    }
    stream.read_exact(buffer)
}

/// The median and the 99th percentile of one window, in nanoseconds.
type Window = (f64, f64);

enum Client {
    Raw(UnixStream, bool),
    Lane(Peer),
}

impl Client {
    fn connect(kind: &str, path: &Path) -> Client {
        let deadline = Instant::now() + SOON;
        while !path.exists() {
            assert!(Instant::now() < deadline, "{} does not exist", path.display());
            std::thread::sleep(Duration::from_millis(1));
        }
        if kind.starts_with("raw") {
            let stream = loop {
                match UnixStream::connect(path) {
                    // Bound, and not yet listening.
                    Err(e) if e.kind() == ErrorKind::ConnectionRefused && Instant::now() < deadline => {}
                    stream => break stream.expect("a server"),
                }
            };
            return Client::Raw(stream, kind == "raw-polling");
        }
        let address: Address = path.display().to_string().parse().expect("an address");
        let peer = Peer::connect_with(&address, &ConnectOptions::new().spin(spin(kind)), SOON).expect("a server");
        if kind == "attached" {
            peer.attach().expect("a thread");
        }
        Client::Lane(peer)
    }

    fn trip(&mut self) {
        match self {
            Client::Raw(stream, polling) => {
                stream.write_all(&[7; SIZE]).expect("a reader");
                receive(stream, &mut [0; SIZE], *polling).expect("an answer");
            }
            Client::Lane(peer) => {
                let reply = peer.start(&[7; SIZE]).expect("a way out").wait(SOON).expect("an answer");
                assert_eq!(reply.payload().len(), SIZE);
            }
        }
    }

    fn window(&mut self) -> Window {
        let mut trips = Vec::with_capacity(1 << 18);
        let start = Instant::now();
        while start.elapsed() < WINDOW {
            let begun = Instant::now();
            self.trip();
            trips.push(begun.elapsed().as_nanos() as f64);
        }
        trips.sort_by(f64::total_cmp);
        (trips[trips.len() / 2], trips[trips.len() * 99 / 100])
    }
}

fn measure(placement: &str, folder: &Path) {
    end_with_parent();
    match placement {
        "two" => pin(1),
        "one" => pin(0),
        _ => {}
    }
    let mut clients: Vec<Client> = KINDS.iter().map(|kind| Client::connect(kind, &folder.join(kind))).collect();
    let rounds: Vec<Vec<Window>> = (0..ROUNDS).map(|_| clients.iter_mut().map(Client::window).collect()).collect();
    for (at, kind) in KINDS.iter().enumerate() {
        let of = |value: fn(&[Window], usize) -> f64| median(rounds.iter().map(|round| value(round, at)).collect());
        println!(
            "{placement:5} {kind:13} p50 {:7.2} us  p99 {:8.2} us  ratio p50 {:5.3}  p99 {:5.2}",
            of(|round, at| round[at].0 / 1e3),
            of(|round, at| round[at].1 / 1e3),
            of(|round, at| round[at].0 / round[0].0),
            of(|round, at| round[at].1 / round[0].1),
        );
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
