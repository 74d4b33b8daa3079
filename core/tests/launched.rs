//! Streams a process is given by whoever starts it: `spawn:` and `stdio:`, `fd:`, `systemd:`.
#![cfg(unix)]

mod common;

use std::fs;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, IntoRawFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener, UnixStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::{HELLO, Place, Raw, SOON, bytes, child_role, frame, until};
use hostlane::{
    Address, Channel, Code, ConnectOptions, Context, ListenOptions, Listener, Message, Outcome, Peer, Progress, Secret,
    Started, Wait, limits,
};

/// A child's standard output waits as its standard error until the role begins, since the test harness
/// prints to the former; the latter waits as descriptor 7.
const SCRIPT: &str = r#"exec 7>&2 2>&1 >/dev/null; exec "$0" --exact child --nocapture --test-threads=1"#;

/// Words that start this binary's child `role`; `setup` is a piece of shell for before.
fn words(role: &str, argument: &str, setup: &str) -> Vec<String> {
    let exe = common::program().display().to_string();
    let script = format!("export HOSTLANE_CHILD='{role}' HOSTLANE_ADDRESS='{argument}'; {setup} {SCRIPT}");
    vec!["sh".into(), "-c".into(), script, exe]
}

fn command(role: &str, argument: &str, setup: &str) -> Command {
    let words = words(role, argument, setup);
    let mut command = Command::new(&words[0]);
    command.args(&words[1..]);
    command
}

/// Ends the process, whatever becomes of the test.
struct Guard(Child);

impl Guard {
    /// Waits until it has ended, well.
    fn ends(&mut self) {
        let mut status = None;
        until("the process has ended", || {
            status = self.0.try_wait().unwrap();
            status.is_some()
        });
        assert!(status.unwrap().success(), "{}", status.unwrap());
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn spawned(role: &str, argument: &str, setup: &str) -> hostlane::Result<Peer> {
    let options = ConnectOptions::new().command(&words(role, argument, setup));
    Peer::connect_with(&"spawn:".parse().unwrap(), &options, SOON)
}

fn alive(pid: i32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

fn pid(peer: &Peer) -> i32 {
    peer.info().unwrap().credentials.unwrap().pid
}

fn ask(peer: &Peer, payload: &[u8]) {
    assert_eq!(peer.start(payload).unwrap().wait(SOON).unwrap().payload(), payload);
}

// --- what this binary does as a child ------------------------------------------------------------

/// Not a test by itself.
#[test]
fn child() {
    let Some((role, argument)) = child_role() else { return };
    take_streams_back();
    match role.as_str() {
        "systemd" => systemd_child(&argument),
        "parent" => {
            let peer = spawned("echo", "", "").unwrap();
            ask(&peer, b"up");
            fs::write(&argument, pid(&peer).to_string()).unwrap();
            peer.recv(Wait::forever()).unwrap();
        }
        "echo" => echo(&Listener::bind("stdio:").unwrap(), || {}),
        "chatty" => echo(&Listener::bind("stdio:").unwrap(), || {
            println!("stray of the program");
            assert!(Command::new("sh").args(["-c", "echo stray of a grandchild; cat"]).status().unwrap().success());
        }),
        "context" => {
            let listener = Listener::bind("stdio:").unwrap();
            context_echo(&listener);
        }
        "connector" => {
            let peer = Peer::connect("stdio:", SOON).unwrap();
            peer.send(Channel::DATA, b"from the child", SOON).unwrap();
            assert_eq!(peer.recv(SOON).unwrap_err().code(), Code::PeerClosed);
        }
        "once" => {
            let listener = Listener::bind("stdio:").unwrap();
            assert_eq!(Listener::bind("stdio:").unwrap_err().code(), Code::AddressInUse);
            echo(&listener, || {});
            drop(listener);
            assert_eq!(Peer::connect("stdio:", SOON).unwrap_err().code(), Code::AddressInUse);
        }
        "stubborn" => {
            echo(&Listener::bind("stdio:").unwrap(), || {});
            fs::write(format!("{argument}.ended"), "").unwrap();
            until("the test lets it go", || Path::new(&format!("{argument}.go")).exists());
        }
        "busy" => {
            let peer = Listener::bind("stdio:").unwrap().accept(SOON).unwrap();
            let _call = peer.start(vec![7; 1 << 20]).unwrap();
            until("the test has it", || Path::new(&argument).exists());
        }
        "refused" => {
            let code = Listener::bind("stdio:").unwrap_err().code();
            fs::write(&argument, code.name()).unwrap();
        }
        other => panic!("no such child: {other}"),
    }
    // Past the harness, whose last words nobody wants.
    std::process::exit(0);
}

/// Undoes what [`SCRIPT`] did.
fn take_streams_back() {
    rustix::stdio::dup2_stdout(rustix::stdio::stderr()).unwrap();
    if std::env::var_os("HOSTLANE_MIXED").is_none() {
        // A socket cannot be opened by this name; then nobody reads of the child's panics.
        let log = fs::File::options().append(true).open("/proc/self/fd/7");
        rustix::stdio::dup2_stderr(log.unwrap_or_else(|_| fs::File::create("/dev/null").unwrap())).unwrap();
    }
}

/// A usual server: it accepts until there is nobody left.
fn echo(listener: &Listener, before: impl Fn()) {
    loop {
        let peer = match listener.accept(SOON * 2) {
            Ok(peer) => peer,
            Err(error) => {
                assert_eq!(error.code(), Code::PeerClosed, "{error}");
                return;
            }
        };
        while let Ok(message) = peer.recv(SOON * 2) {
            before();
            if message.reply(message.payload(), SOON).is_err() {
                break;
            }
        }
    }
}

fn context_echo(listener: &Listener) {
    let context = Context::new().unwrap();
    let answer = |message: Message| {
        context.reply(&message, message.payload().clone(), None).unwrap();
    };
    // Answers what has arrived, and waits for more; `None` at the end of the stream.
    let receive = |peer: Peer| loop {
        match context.recv(&peer, None, None) {
            Ok(Started::Done(Outcome::Message(message))) => answer(message),
            Ok(_) => return Some(peer),
            Err(_) => return None,
        }
    };
    context.accept(listener, None).unwrap();
    let mut peer = None;
    loop {
        match (context.next(SOON * 2).unwrap().result, peer.take()) {
            (Ok(Outcome::Accepted(accepted)), None) => {
                peer = receive(accepted);
                context.accept(listener, None).unwrap();
            }
            (Ok(Outcome::Message(message)), Some(waiting)) => {
                answer(message);
                peer = receive(waiting);
            }
            (Ok(Outcome::Sent), waiting) => peer = waiting,
            (Ok(other), _) => panic!("{other:?}"),
            // The receive ends with the stream, and then the accept with the peer.
            (Err(_), Some(ended)) => drop(ended),
            (Err(error), None) => {
                assert_eq!(error.code(), Code::PeerClosed);
                return;
            }
        }
    }
}

// --- spawn: and stdio: ---------------------------------------------------------------------------

#[test]
fn a_spawned_program_serves_and_ends_with_its_connection() {
    let peer = spawned("echo", "", "").unwrap();
    ask(&peer, b"");
    ask(&peer, &vec![9; 1 << 20]);
    let info = peer.info().unwrap();
    assert_eq!((info.carrier, info.address.as_str()), ("spawn", "spawn:"));
    let child = pid(&peer);
    assert!(alive(child));
    peer.close();
    until("the child has ended and left no zombie", || !alive(child));
}

#[test]
fn nothing_the_child_prints_gets_between_the_frames() {
    let place = Place::new();
    let log = place.address("stderr");
    let peer = spawned("chatty", "", &format!("exec 2>'{log}';")).unwrap();
    for _ in 0..3 {
        ask(&peer, b"clean");
    }
    let printed = fs::read_to_string(&log).unwrap();
    assert_eq!(printed.matches("stray of the program").count(), 3, "{printed}");
    assert_eq!(printed.matches("stray of a grandchild").count(), 3, "{printed}");
    // Standard error is the carrier too: then there is no place for it.
    let peer = spawned("chatty", "", "export HOSTLANE_MIXED=1;").unwrap();
    for _ in 0..3 {
        ask(&peer, b"clean");
    }
}

#[test]
fn a_child_can_be_the_connecting_side() {
    let (mine, theirs) = UnixStream::pair().unwrap();
    let child = command("connector", "", "")
        .stdin(OwnedFd::from(theirs.try_clone().unwrap()))
        .stdout(OwnedFd::from(theirs))
        .spawn();
    let mut child = Guard(child.unwrap());
    let listener = Listener::bind(&format!("fd:{}", mine.into_raw_fd())).unwrap();
    let peer = listener.accept(SOON).unwrap();
    assert_eq!(peer.recv(SOON).unwrap().payload(), "from the child");
    peer.close();
    child.ends();
}

#[test]
fn stdio_is_taken_once_in_a_process() {
    let (mine, theirs) = UnixStream::pair().unwrap();
    let child =
        command("once", "", "").stdin(OwnedFd::from(theirs.try_clone().unwrap())).stdout(OwnedFd::from(theirs)).spawn();
    let mut child = Guard(child.unwrap());
    let peer = Peer::connect(&format!("fd:{}", mine.into_raw_fd()), SOON).unwrap();
    ask(&peer, b"x");
    drop(peer);
    child.ends();
}

#[test]
fn a_child_that_does_not_end_is_left_alone_and_leaves_no_zombie() {
    let place = Place::new();
    let file = place.address("stubborn");
    let peer = spawned("stubborn", &file, "").unwrap();
    ask(&peer, b"x");
    let child = pid(&peer);
    drop(peer);
    until("the child saw the end of its stream", || place.path("stubborn.ended").exists());
    let stat = fs::read_to_string(format!("/proc/{child}/stat")).unwrap();
    assert!(!stat.contains(") Z "), "{stat}");
    fs::write(place.path("stubborn.go"), "").unwrap();
    until("the child has ended and left no zombie", || !alive(child));
}

#[test]
fn what_is_left_behind_leaves_through_pipes_too() {
    let place = Place::new();
    let file = place.address("had");
    let mut foreign = Foreign::pipes("busy", &file);
    foreign.shake();
    // More than a pipe takes at once, from a program that does not wait for the answer yet.
    assert_eq!(foreign.frame(), (1, vec![7; 1 << 20]));
    fs::write(file, "").unwrap();
    foreign.child.ends();
}

#[test]
fn a_killed_parent_ends_its_child() {
    let place = Place::new();
    let file = place.path("pid");
    let parent = command("parent", &file.display().to_string(), "").spawn().unwrap();
    let mut parent = Guard(parent);
    let mut child = 0;
    until("the child serves", || {
        child = fs::read_to_string(&file).ok().and_then(|text| text.parse().ok()).unwrap_or_default();
        child != 0
    });
    parent.0.kill().unwrap();
    let start = Instant::now();
    parent.0.wait().unwrap();
    // Whoever adopts it may be slow to reap it.
    until("the child has ended", || {
        fs::read_to_string(format!("/proc/{child}/stat")).map_or(true, |stat| stat.contains(") Z "))
    });
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

#[test]
fn what_cannot_be_started_says_so() {
    let code = |address: &str| Peer::connect(address, SOON).unwrap_err().code();
    assert_eq!(code("spawn:/nowhere/program"), Code::NotFound);
    assert_eq!(code("spawn:/etc/passwd"), Code::PermissionDenied);
    assert_eq!(code("spawn:"), Code::InvalidArgument);
    assert_eq!(code("spawn:prog 'open"), Code::InvalidArgument);
    // It starts and ends without a word; what it was told may have stayed unread.
    assert!(matches!(code("spawn:true"), Code::Refused | Code::ConnectionLost));
    // It says something else.
    assert_eq!(code("spawn:echo 'no frame at all'"), Code::BadMagic);
    let options = ConnectOptions::new().command(&["true"]);
    let error = Peer::connect_with(&Place::new().address("a.sock").parse().unwrap(), &options, SOON).unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
}

#[test]
fn words_of_the_address_reach_the_program() {
    let exe = common::program().display().to_string();
    let script = format!("export HOSTLANE_CHILD=echo HOSTLANE_ADDRESS=x; {SCRIPT}").replace('"', "\\\"");
    let peer = Peer::connect(&format!("spawn:sh -c \"{}\" '{exe}'", script.replace('$', "\\$")), SOON).unwrap();
    ask(&peer, b"quoted");
}

/// What other languages' launchers give: a stream of its own for each direction.
struct Foreign {
    child: Guard,
    to: Option<Box<dyn Write>>,
    from: Box<dyn Read>,
}

impl Foreign {
    /// As Python does.
    fn pipes(role: &str, argument: &str) -> Foreign {
        let child = command(role, argument, "").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn();
        let mut child = child.unwrap();
        let (to, from) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Foreign { child: Guard(child), to: Some(Box::new(to)), from: Box::new(from) }
    }

    /// As Node does.
    fn sockets(role: &str) -> Foreign {
        let (to, input) = UnixStream::pair().unwrap();
        let (from, output) = UnixStream::pair().unwrap();
        let child = command(role, "", "").stdin(OwnedFd::from(input)).stdout(OwnedFd::from(output)).spawn();
        Foreign { child: Guard(child.unwrap()), to: Some(Box::new(to)), from: Box::new(from) }
    }

    fn write(&mut self, bytes: &[u8]) {
        self.to.as_mut().unwrap().write_all(bytes).unwrap();
    }

    fn frame(&mut self) -> (u16, Vec<u8>) {
        let mut header = [0; 8];
        self.from.read_exact(&mut header).unwrap();
        let mut payload = vec![0; u32::from_le_bytes(header[2..6].try_into().unwrap()) as usize];
        self.from.read_exact(&mut payload).unwrap();
        (u16::from_le_bytes(header[6..].try_into().unwrap()), payload)
    }

    fn shake(&mut self) {
        self.write(&frame(0, HELLO));
        assert_eq!(self.frame().0, 0);
    }
}

#[test]
fn a_foreign_launcher_gives_two_streams() {
    for role in ["echo", "context"] {
        for mut foreign in [Foreign::pipes(role, ""), Foreign::sockets(role)] {
            foreign.shake();
            for size in [0, 5, 1 << 20] {
                let payload = vec![3; size];
                foreign.write(&frame(2, &payload));
                assert_eq!(foreign.frame(), (2, payload));
            }
            // What was asked before the end is still answered.
            foreign.write(&frame(2, b"last"));
            foreign.to = None;
            assert_eq!(foreign.frame(), (2, b"last".to_vec()));
            assert_eq!(foreign.from.read(&mut [0; 1]).unwrap(), 0);
            foreign.child.ends();
        }
    }
}

#[test]
fn both_ways_at_once_over_pipes() {
    // Far more than pipes hold, and read only once all of it was written: the child has to queue, so it has
    // to read and write at the same time.
    let mut foreign = Foreign::pipes("context", "");
    foreign.shake();
    let payload = vec![5; 100_000];
    for _ in 0..30 {
        foreign.write(&frame(2, &payload));
    }
    for _ in 0..30 {
        assert_eq!(foreign.frame(), (2, payload.clone()));
    }
}

#[test]
fn a_pipe_nobody_reads_ends_the_connection() {
    let mut foreign = Foreign::pipes("echo", "");
    foreign.shake();
    foreign.from = Box::new(std::io::empty());
    // The child cannot answer any more. Asked again and again, since a process that another test is starting
    // has all descriptors for a moment, the one just closed among them.
    let to = foreign.to.as_mut().unwrap();
    until("the child has ended", || {
        let gone = to.write_all(&frame(2, b"x")).is_err();
        gone || foreign.child.0.try_wait().unwrap().is_some()
    });
    foreign.child.ends();
}

#[test]
fn standard_streams_that_are_no_streams_are_refused() {
    let place = Place::new();
    let said = |configure: &dyn Fn(&mut Command)| {
        let file = place.path("code");
        let mut command = command("refused", &file.display().to_string(), "");
        configure(command.stdin(Stdio::piped()).stdout(Stdio::piped()));
        Guard(command.spawn().unwrap()).ends();
        fs::read_to_string(file).unwrap()
    };
    assert_eq!(said(&|c| _ = c.stdin(Stdio::null())), "not_a_socket");
    assert_eq!(said(&|c| _ = c.stdout(fs::File::create(place.path("out")).unwrap())), "not_a_socket");
    let (a, _b) = UnixDatagram::pair().unwrap();
    assert_eq!(said(&|c| _ = c.stdin(OwnedFd::from(a.try_clone().unwrap()))), "not_a_socket");
    let listening = UnixListener::bind(place.path("l.sock")).unwrap();
    assert_eq!(said(&|c| _ = c.stdin(OwnedFd::from(listening.try_clone().unwrap()))), "invalid_argument");
    let (reader, writer) = std::io::pipe().unwrap();
    assert_eq!(said(&|c| _ = c.stdin(OwnedFd::from(writer.try_clone().unwrap()))), "invalid_argument");
    assert_eq!(said(&|c| _ = c.stdout(OwnedFd::from(reader.try_clone().unwrap()))), "invalid_argument");
}

// --- fd: -------------------------------------------------------------------------------------------

#[test]
fn an_inherited_socket_is_taken_over_by_number() {
    let (a, b) = UnixStream::pair().unwrap();
    let (a, b) = (a.into_raw_fd(), b.into_raw_fd());
    let listener = Listener::bind(&format!("fd:{a}")).unwrap();
    std::thread::scope(|scope| {
        let server = scope.spawn(|| listener.accept(SOON).unwrap());
        let client = Peer::connect(&format!("fd:{b}"), SOON).unwrap();
        let server = server.join().unwrap();
        let info = client.info().unwrap();
        assert_eq!((info.carrier, info.address), ("fd", format!("fd:{b}")));
        assert_eq!(info.credentials.unwrap().pid, std::process::id() as i32);
        // One peer, and while it lives nobody else and no end.
        assert_eq!(listener.accept(Duration::from_millis(20)).unwrap_err().code(), Code::Timeout);
        let next = scope.spawn(|| listener.accept(Wait::forever()).unwrap_err().code());
        client.send(Channel::DATA, b"x", SOON).unwrap();
        assert_eq!(server.recv(SOON).unwrap().payload(), "x");
        assert!(!next.is_finished());
        drop(server);
        assert_eq!(next.join().unwrap(), Code::PeerClosed);
        assert_eq!(listener.accept(SOON).unwrap_err().code(), Code::PeerClosed);
        assert_eq!(client.recv(SOON).unwrap_err().code(), Code::PeerClosed);
    });
    // The numbers are used up, and nobody else's yet.
    for number in [a, b] {
        assert_eq!(fs::read_link(format!("/proc/self/fd/{number}")).unwrap().to_str(), Some("/dev/null"));
        assert_eq!(Peer::connect(&format!("fd:{number}"), SOON).unwrap_err().code(), Code::NotASocket);
    }
}

#[test]
fn a_context_is_told_that_the_only_peer_is_gone() {
    let (a, b) = UnixStream::pair().unwrap();
    let listener = Listener::bind(&format!("fd:{}", a.into_raw_fd())).unwrap();
    let client = Context::new().unwrap();
    let address: Address = format!("fd:{}", b.into_raw_fd()).parse().unwrap();
    client.connect(&address, &ConnectOptions::new(), None).unwrap();
    let server = Context::new().unwrap();
    server.accept(&listener, None).unwrap();
    let (mut out, mut connected) = (Vec::new(), Vec::new());
    let deadline = Instant::now() + SOON;
    while out.is_empty() {
        // Neither side finishes the handshake alone.
        client.process(8, &mut connected).unwrap();
        server.process(8, &mut out).unwrap();
        assert!(Instant::now() < deadline);
    }
    let Ok(Outcome::Accepted(peer)) = out.remove(0).result else { panic!("not accepted") };
    server.accept(&listener, None).unwrap();
    while server.process(8, &mut out).unwrap() == Progress::More {}
    assert!(out.is_empty(), "{out:?}");
    drop(peer);
    assert_eq!(server.next(SOON).unwrap().result.unwrap_err().code(), Code::PeerClosed);
    assert_eq!(server.accept(&listener, None).unwrap_err().code(), Code::PeerClosed);
}

#[test]
fn a_failed_handshake_ends_the_only_place() {
    let (a, mut b) = UnixStream::pair().unwrap();
    let listener = Listener::bind(&format!("fd:{}", a.into_raw_fd())).unwrap();
    b.write_all(b"GET / HTTP/1.1\r\n").unwrap();
    assert_eq!(listener.accept(SOON).unwrap_err().code(), Code::PeerClosed);
    assert_eq!(listener.take_refusals().unwrap()[0].error.code(), Code::BadMagic);

    // Closed before anybody accepted: the other side is told.
    let (a, mut b) = UnixStream::pair().unwrap();
    let listener = Listener::bind(&format!("fd:{}", a.into_raw_fd())).unwrap();
    listener.close();
    assert_eq!(listener.accept(SOON).unwrap_err().code(), Code::Closed);
    assert_eq!(b.read(&mut [0; 1]).unwrap(), 0);
}

#[test]
fn descriptors_of_other_kinds_are_refused_and_left_alone() {
    let place = Place::new();
    let refused = |number: i32| {
        let listen = Listener::bind(&format!("fd:{number}")).unwrap_err().code();
        assert_eq!(Peer::connect(&format!("fd:{number}"), SOON).unwrap_err().code(), listen);
        listen
    };
    for number in 0..3 {
        assert_eq!(refused(number), Code::InvalidArgument);
    }
    assert_eq!(refused(60_000), Code::NotFound);
    let file = fs::File::create(place.path("file")).unwrap();
    assert_eq!(refused(file.as_raw_fd()), Code::NotASocket);
    let (pipe, _writer) = std::io::pipe().unwrap();
    assert_eq!(refused(pipe.as_raw_fd()), Code::NotASocket);
    let (datagram, _other) = UnixDatagram::pair().unwrap();
    assert_eq!(refused(datagram.as_raw_fd()), Code::NotASocket);
    let loose = rustix::net::socket(rustix::net::AddressFamily::UNIX, rustix::net::SocketType::STREAM, None).unwrap();
    assert_eq!(refused(loose.as_raw_fd()), Code::ConnectionLost);

    let listening = UnixListener::bind(place.path("l.sock")).unwrap();
    assert_eq!(refused(listening.as_raw_fd()), Code::InvalidArgument);
    UnixStream::connect(place.path("l.sock")).unwrap();
    listening.accept().unwrap();

    // TCP is as unauthenticated as ever.
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut stream = std::net::TcpStream::connect(tcp.local_addr().unwrap()).unwrap();
    let (mut other, _) = tcp.accept().unwrap();
    assert_eq!(refused(stream.as_raw_fd()), Code::AuthenticationRequired);
    stream.write_all(b"!").unwrap();
    other.read_exact(&mut [0; 1]).unwrap();
    let address = format!("fd:{}", stream.into_raw_fd()).parse().unwrap();
    let options = ListenOptions::new().secret(Secret::new("s").unwrap());
    let listener = Listener::bind_with(&address, &options).unwrap();
    drop(listener);
    assert_eq!(other.read(&mut [0; 1]).unwrap(), 0);
}

// --- systemd: --------------------------------------------------------------------------------------

/// What a service does; `argument` says for how long.
fn systemd_child(argument: &str) {
    let (mode, dir) = argument.split_once(' ').unwrap();
    let ready = || fs::write(format!("{dir}/ready"), "").unwrap();
    assert_eq!(Listener::bind("systemd:other").unwrap_err().code(), Code::NotFound);
    let listener = Listener::bind("systemd:web").unwrap();
    assert_eq!(Listener::bind("systemd:").unwrap_err().code(), Code::AddressInUse);
    match mode {
        // Takes nobody, until it is killed.
        "idle" => {
            ready();
            std::thread::park();
        }
        // Serves two clients, each with a listener of its own.
        "turns" => {
            let serve = |listener: &Listener| {
                let peer = listener.accept(SOON).unwrap();
                let message = peer.recv(SOON).unwrap();
                message.reply(message.payload(), SOON).unwrap();
                assert_eq!(peer.recv(SOON).unwrap_err().code(), Code::PeerClosed);
            };
            serve(&listener);
            listener.close();
            // Free for the next listener of the same process.
            let listener = Listener::bind("systemd:").unwrap();
            serve(&listener);
            drop(listener);
            ready();
        }
        "serve" => {
            ready();
            std::thread::scope(|scope| {
                while let Ok(peer) = listener.accept(SOON) {
                    scope.spawn(move || {
                        while let Ok(message) = peer.recv(SOON) {
                            message.reply(message.payload(), SOON).unwrap();
                        }
                    });
                }
            });
        }
        other => panic!("no such mode: {other}"),
    }
}

/// A service manager in small: it holds the listening socket, and starts one server after the other.
struct Manager {
    place: Place,
    socket: UnixListener,
}

impl Manager {
    fn new() -> Manager {
        let place = Place::new();
        let socket = UnixListener::bind(place.path("web.sock")).unwrap();
        Manager { place, socket }
    }

    fn start(&self, mode: &str) -> Guard {
        let _ = fs::remove_file(self.place.path("ready"));
        let dir = self.place.0.path().display();
        let setup = "exec 3<&0; export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=web;";
        let socket = self.socket.as_fd().try_clone_to_owned().unwrap();
        let child = command("systemd", &format!("{mode} {dir}"), setup).stdin(socket).stdout(Stdio::null()).spawn();
        Guard(child.unwrap())
    }

    fn ready(&self) {
        until("the service is ready", || self.place.path("ready").exists());
    }

    /// A client with one question, in a thread.
    fn client(&self) -> std::thread::JoinHandle<()> {
        let address = self.place.address("web.sock");
        std::thread::spawn(move || ask(&Peer::connect(&address, SOON).unwrap(), b"served?"))
    }
}

#[test]
fn no_request_is_lost_when_a_service_is_killed_and_started_again() {
    let manager = Manager::new();
    let first = manager.start("idle");
    manager.ready();
    let clients: Vec<_> = (0..10).map(|_| manager.client()).collect();
    drop(first);
    let _second = manager.start("serve");
    for client in clients {
        client.join().unwrap();
    }
}

#[test]
fn closing_a_service_leaves_the_backlog_to_the_next() {
    let manager = Manager::new();
    let clients: Vec<_> = (0..6).map(|_| manager.client()).collect();
    // Each serves two clients, closing its listener after each.
    let mut turns = manager.start("turns");
    turns.ends();
    let mut turns = manager.start("turns");
    turns.ends();
    let _rest = manager.start("serve");
    for client in clients {
        client.join().unwrap();
    }
}

#[test]
fn a_client_that_does_not_take_its_place_keeps_others_waiting_for_a_moment_alone() {
    let manager = Manager::new();
    let _service = manager.start("serve");
    manager.ready();
    // They were granted a place, and go no further.
    let offer = bytes::OFFER.replace("FEATURES", "").replace("LIMITS", "");
    let stalling: Vec<Raw> = (0..3)
        .map(|_| {
            let mut raw = Raw::connect(&manager.place.address("web.sock"));
            raw.write(&frame(0, offer.as_bytes()));
            assert_eq!(raw.frame().expect("a place").0, 0);
            raw
        })
        .collect();
    let start = Instant::now();
    manager.client().join().unwrap();
    assert!(start.elapsed() < limits::HANDSHAKE_TIMEOUT / 2, "{:?}", start.elapsed());
    drop(stalling);
}

#[test]
fn without_a_manager_there_is_no_passed_socket() {
    assert_eq!(Listener::bind("systemd:").unwrap_err().code(), Code::NotFound);
}
