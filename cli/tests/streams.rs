//! `hostlane stream`: items both ways, what holds them back, and how it ends.

mod common;

use std::fs;
use std::io::{Read, Write};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use common::{Done, LIMIT, Place, Server, binary, run, run_with_input, wait};
use hostlane::{Code, ListenOptions, Listener, Message, Peer};
use serde_json::Value;

/// Serves one call of one client of the library.
fn program(address: &str, serve: impl FnOnce(&Peer, Message) + Send + 'static) -> thread::JoinHandle<()> {
    let listener = Listener::bind_with(&address.parse().unwrap(), &ListenOptions::new()).unwrap();
    thread::spawn(move || {
        let peer = listener.accept(LIMIT).unwrap();
        let request = peer.recv(LIMIT).unwrap();
        serve(&peer, request);
        // Until the client has left.
        peer.recv(LIMIT).unwrap_err();
    })
}

fn parts(done: &Done) -> Vec<Value> {
    done.text().lines().map(|line| serde_json::from_str(line).expect("a JSON line")).collect()
}

#[test]
fn lines_go_and_come_back_and_the_reply_is_last() {
    let place = Place::new();
    let address = place.address("echo");
    let _server = Server::start(&["echo", &address]);
    let done = run_with_input(&["stream", &address, "--data", "opened"], b"one\n\nthree \xff\nlast").expect(0);
    let parts = parts(&done);
    let texts: Vec<&Value> = parts.iter().map(|part| &part["text"]).collect();
    assert_eq!(texts, [&"one".into(), &"".into(), &Value::Null, &"last".into(), &"opened".into()]);
    assert_eq!(parts[2]["base64"], "dGhyZWUg/w==");
    assert!(parts[..4].iter().all(|part| part["event"] == "item"), "{parts:?}");
    assert_eq!(parts[4]["event"], "reply");
    assert!(parts[4]["from"]["peer_id"].is_string(), "{}", parts[4]);

    let table = run_with_input(&["--format", "table", "stream", &address], b"a\x1b\n").expect(0);
    assert_eq!(table.text().lines().count(), 2);
    assert!(!table.text().contains('\u{1b}'));
    let none = run_with_input(&["stream", &address, "-c", "data"], b"").expect(0).json();
    assert_eq!((&none["event"], &none["size"]), (&"reply".into(), &0.into()));
}

#[test]
fn a_file_goes_in_pieces() {
    let place = Place::new();
    let address = place.address("echo");
    let _server = Server::start(&["echo", &address]);
    let bytes: Vec<u8> = (0..=255).cycle().take(300_000).collect();
    let file = place.address("bytes");
    fs::write(&file, &bytes).unwrap();
    assert_eq!(run(&["--format", "raw", "stream", &address, "--file", &file]).expect(0).stdout, bytes);
    let done = run(&["stream", &address, "--file", &file, "--pieces", "100001"]).expect(0);
    let sizes: Vec<_> = parts(&done).iter().map(|part| part["size"].as_u64().unwrap()).collect();
    assert_eq!(sizes, [100_001, 100_001, 99_998, 0]);
    let done = run_with_input(&["--format", "raw", "stream", &address, "--pieces", "7"], b"lines\nare\nnone").expect(0);
    assert_eq!(done.stdout, b"lines\nare\nnone");
}

#[test]
fn a_hundred_thousand_items_go_both_ways() {
    const ITEMS: usize = 100_000;
    let place = Place::new();
    let address = place.address("echo");
    let _server = Server::start(&["echo", &address]);
    let input: String = (0..ITEMS).map(|n| format!("item {n}\n")).collect();
    let mut command = Command::new(binary());
    command.args(["--format", "table", "stream", &address, "--deadline", "60s"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let writing = thread::spawn(move || stdin.write_all(input.as_bytes()).unwrap());
    let mut shown = String::new();
    stdout.read_to_string(&mut shown).unwrap();
    writing.join().unwrap();
    assert_eq!(wait(&mut child, LIMIT).and_then(|status| status.code()), Some(0));
    assert_eq!(shown.lines().count(), ITEMS + 1);
    for (n, line) in shown.lines().take(ITEMS).enumerate() {
        assert!(line.ends_with(&format!(" item {n}")), "{n}: {line}");
    }
}

/// Most memory a process ever had, in bytes.
fn peak(pid: u32) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() * 1024
}

#[test]
fn a_gibibyte_passes_in_bounded_memory() {
    const WHOLE: usize = 1 << 30;
    const BOUND: usize = 64 << 20;
    let place = Place::new();
    let address = place.address("echo");
    let server = Server::start(&["echo", &address]);
    let mut command = Command::new(binary());
    command.args(["--format", "raw", "stream", &address, "--pieces", "262144"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let (mut stdin, mut stdout) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
    let writing = thread::spawn(move || {
        let chunk: Vec<u8> = (0..=250).cycle().take(251 << 12).collect();
        let mut left = WHOLE;
        while left > 0 {
            let some = left.min(chunk.len());
            stdin.write_all(&chunk[..some]).unwrap();
            left -= some;
        }
        stdin
    });
    let expected: Vec<u8> = (0..=250).cycle().take(251 * 2 + (1 << 20)).collect();
    let mut buffer = vec![0; 1 << 20];
    let mut got = 0;
    while got < WHOLE {
        let some = stdout.read(&mut buffer).unwrap();
        assert!(some > 0, "ended after {got} bytes");
        let from = got % 251;
        assert!(buffer[..some] == expected[from..from + some], "changed behind {got} bytes");
        got += some;
    }
    assert_eq!(got, WHOLE);
    let peaks = [peak(child.id()), peak(server.child.id())];
    assert!(peaks.iter().all(|peak| *peak < BOUND), "{peaks:?}");
    drop(writing.join().unwrap());
    assert_eq!(wait(&mut child, LIMIT).and_then(|status| status.code()), Some(0));
}

#[test]
fn what_the_server_does_not_take_is_not_read() {
    let place = Place::new();
    let address = place.address("program");
    let (go_on, may_go_on) = std::sync::mpsc::channel();
    let serving = program(&address, move |_, request| {
        may_go_on.recv_timeout(LIMIT).unwrap();
        let stream = request.stream().unwrap();
        let mut taken = 0;
        while let Some(item) = stream.recv(LIMIT).unwrap() {
            taken += item.len();
        }
        request.reply(taken.to_string(), LIMIT).unwrap();
    });
    let mut command = Command::new(binary());
    command.args(["--format", "raw", "stream", &address, "--pieces", "65536"]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let stdin = child.stdin.take().unwrap();
    rustix::io::ioctl_fionbio(&stdin, true).unwrap();
    // Fills up whatever lies between, and no more than that.
    let chunk = vec![1; 65536];
    let (mut written, mut since) = (0, Instant::now());
    while since.elapsed() < Duration::from_millis(300) {
        match rustix::io::write(&stdin, &chunk) {
            Ok(some) => (written, since) = (written + some, Instant::now()),
            Err(rustix::io::Errno::AGAIN) => thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
    assert!(written < 4 << 20, "{written} bytes were read ahead");
    go_on.send(()).unwrap();
    drop(stdin);
    let done = child.wait_with_output().unwrap();
    assert_eq!((done.status.code(), String::from_utf8(done.stdout).unwrap()), (Some(0), written.to_string()));
    serving.join().unwrap();
}

#[test]
fn a_server_may_end_it_first() {
    let place = Place::new();
    let address = place.address("program");
    let serving = program(&address, |_, request| {
        let stream = request.stream().unwrap();
        stream.send("unasked", LIMIT).unwrap();
        request.reply("early", LIMIT).unwrap();
    });
    // Its input never ends by itself.
    let mut command = Command::new(binary());
    command.args(["stream", &address]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let _open = child.stdin.take();
    let done = child.wait_with_output().unwrap();
    assert_eq!(done.status.code(), Some(0));
    let text = String::from_utf8(done.stdout).unwrap();
    assert!(text.contains("unasked") && text.contains("early"), "{text}");
    serving.join().unwrap();

    let address = place.address("fails");
    let serving = program(&address, |_, request| request.fail(7, "why", LIMIT).unwrap());
    let failed = run(&["stream", &address]).expect(3);
    assert_eq!((&failed.json()["status"], &failed.json()["text"]), (&7.into(), &"why".into()));
    serving.join().unwrap();
}

#[test]
fn it_ends_with_its_deadline_its_server_or_its_input() {
    let place = Place::new();
    let address = place.address("late");
    let serving = program(&address, |_, request| {
        let left = request.deadline().unwrap().saturating_duration_since(Instant::now());
        assert!(left <= Duration::from_millis(300), "{left:?}");
        request.wait_cancelled(LIMIT).unwrap();
    });
    let done = run(&["stream", &address, "--deadline", "300ms"]).expect(124);
    assert!(done.took >= Duration::from_millis(300) && done.took < Duration::from_secs(3), "{:?}", done.took);
    serving.join().unwrap();

    let address = place.address("lost");
    let listener = Listener::bind(&address).unwrap();
    let serving = thread::spawn(move || {
        let peer = listener.accept(LIMIT).unwrap();
        let _request = peer.recv(LIMIT).unwrap();
        peer.close();
    });
    run(&["stream", &address]).expect(1);
    serving.join().unwrap();

    let address = place.address("large");
    let serving = program(&address, |_, request| {
        request.wait_cancelled(LIMIT).unwrap();
        let code = request.reply("late", LIMIT).unwrap_err().code();
        // The client says that it gives the call up, and leaves.
        assert!(matches!(code, Code::CallEnded | Code::ConnectionLost | Code::PeerClosed), "{code:?}");
    });
    let line = vec![b'x'; 16 * 1024 * 1024 + 1];
    let done = run_with_input(&["stream", &address], &line).expect(64);
    assert!(done.stderr.contains("payload_too_large"), "{}", done.stderr);
    serving.join().unwrap();
}

#[test]
fn misuse_is_64() {
    let place = Place::new();
    let address = place.address("echo");
    let _server = Server::start(&["echo", &address, "--level", "0"]);
    for arguments in [
        &["stream"][..],
        &["stream", &address],
        &["stream", &address, "--pieces", "0"],
        &["stream", &address, "--pieces", "16777217"],
        &["stream", &address, "--file", &place.address("missing")],
        &["stream", &address, "--file", &place.address(".")],
        &["stream", &address, "--deadline", "soon"],
        &["stream", &address, "-c", "0"],
        &["stream", "http://x"],
    ] {
        assert_eq!(run(arguments).expect(64).text(), "", "{arguments:?}");
    }
    run(&["stream", &address, "--level", "1"]).expect(3);
    run(&["stream", &place.address("nothing-here")]).expect(1);
}
