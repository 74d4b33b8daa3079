//! Binding: exactly one server, no foreign file harmed, nobody else let in.
#![cfg(unix)]

mod common;

use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::Command;
use std::sync::Barrier;

use common::{Place, Process, SOON, child_role, until};
use hostlane::{Code, Listener, Peer, Wait};

/// Not a test by itself: what this binary does as a child process.
#[test]
fn child() {
    let Some((role, address)) = child_role() else { return };
    match role.as_str() {
        "serve" => {
            let listener = Listener::bind(&address).unwrap();
            println!("serving");
            while let Ok(peer) = listener.accept(Wait::forever()) {
                while let Ok(message) = peer.recv(Wait::forever()) {
                    let _ = message.reply(message.payload(), SOON);
                }
            }
        }
        "race" => match Listener::bind(&address) {
            Ok(listener) => {
                println!("won");
                let _ = listener.accept(Wait::forever());
            }
            Err(error) => println!("{}", error.code().name()),
        },
        other => panic!("no such child: {other}"),
    }
}

fn bind_code(address: &str) -> Code {
    Listener::bind(address).expect_err("the bind is refused").code()
}

#[test]
fn the_socket_is_closed_to_others_and_gone_after_close() {
    let place = Place::new();
    let listener = Listener::bind(&place.address("a.sock")).unwrap();
    assert_eq!(std::fs::metadata(place.path("a.sock")).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(std::fs::metadata(place.path("a.lock")).unwrap().permissions().mode() & 0o7777, 0o600);
    assert_eq!(bind_code(&place.address("a.sock")), Code::AddressInUse);
    drop(listener);
    assert!(!place.path("a.sock").exists());
    let names: Vec<_> = std::fs::read_dir(place.0.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
    assert_eq!(names, ["a.lock"]);
    Listener::bind(&place.address("a.sock")).unwrap();
}

#[test]
fn no_instant_has_a_wider_mode_whatever_the_umask() {
    let place = Place::new();
    let exe = common::program();
    let script = "umask 000; exec \"$0\" --exact child --nocapture";
    let server = Command::new("sh")
        .args(["-c", script])
        .arg(&exe)
        .env("HOSTLANE_CHILD", "serve")
        .env("HOSTLANE_ADDRESS", place.address("a.sock"))
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    // Ended whatever happens.
    let mut server = Process(server);
    // Whatever appears in the directory is looked at as fast as possible, temporary names included.
    let mut sockets = 0;
    let mut look = || {
        for entry in std::fs::read_dir(place.0.path()).unwrap().flatten() {
            if let Ok(meta) = entry.metadata() {
                sockets += 1;
                assert_eq!(meta.mode() & 0o7177 & 0o077, 0, "{:?} is open to others", entry.file_name());
            }
        }
    };
    until("the server answers", || {
        look();
        Peer::connect(&place.address("a.sock"), SOON).is_ok()
    });
    look();
    assert!(sockets > 0);
    server.0.kill().unwrap();
}

#[test]
fn a_socket_left_by_a_killed_server_is_replaced() {
    let place = Place::new();
    let mut server = Process::start("serve", &place.address("a.sock"));
    until("it serves", || Peer::connect(&place.address("a.sock"), SOON).is_ok());
    assert_eq!(bind_code(&place.address("a.sock")), Code::AddressInUse);
    server.0.kill().unwrap();
    server.0.wait().unwrap();
    assert!(place.path("a.sock").exists());
    assert_eq!(Peer::connect(&place.address("a.sock"), SOON).unwrap_err().code(), Code::ConnectionRefused);
    Listener::bind(&place.address("a.sock")).unwrap();
}

#[test]
fn a_live_server_that_knows_no_lock_is_not_displaced() {
    let place = Place::new();
    let foreign = UnixListener::bind(place.path("a.sock")).unwrap();
    let inode = std::fs::metadata(place.path("a.sock")).unwrap().ino();
    assert_eq!(bind_code(&place.address("a.sock")), Code::AddressInUse);
    assert_eq!(std::fs::metadata(place.path("a.sock")).unwrap().ino(), inode);
    drop(foreign);
    // Now the same file is stale, once no child that another test is starting shares the socket any more.
    until("the path is free", || Listener::bind(&place.address("a.sock")).is_ok());
}

#[test]
fn files_of_other_kinds_stay_untouched() {
    let place = Place::new();
    std::fs::write(place.path("file.sock"), "precious").unwrap();
    std::fs::create_dir(place.path("dir.sock")).unwrap();
    symlink(place.path("file.sock"), place.path("link.sock")).unwrap();
    symlink(place.path("nowhere"), place.path("dangling.sock")).unwrap();
    for name in ["file.sock", "dir.sock", "link.sock", "dangling.sock"] {
        assert_eq!(bind_code(&place.address(name)), Code::NotASocket, "{name}");
    }
    assert_eq!(std::fs::read(place.path("file.sock")).unwrap(), b"precious");
    assert!(place.path("dir.sock").is_dir() && place.path("dangling.sock").is_symlink());
    for name in ["file.sock", "dir.sock", "link.sock"] {
        assert_eq!(Peer::connect(&place.address(name), SOON).unwrap_err().code(), Code::NotASocket, "{name}");
    }
    assert_eq!(Peer::connect(&place.address("none.sock"), SOON).unwrap_err().code(), Code::NotFound);
    assert_eq!(bind_code(&place.address("no/such/dir.sock")), Code::NotFound);
}

#[test]
fn only_the_own_inode_is_unlinked() {
    let place = Place::new();
    let listener = Listener::bind(&place.address("a.sock")).unwrap();
    std::fs::remove_file(place.path("a.sock")).unwrap();
    let other = UnixListener::bind(place.path("a.sock")).unwrap();
    listener.close();
    assert!(place.path("a.sock").exists());
    drop(other);
}

#[test]
fn of_many_simultaneous_starters_exactly_one_wins() {
    for round in 0..5 {
        let place = Place::new();
        if round % 2 == 1 {
            drop(UnixListener::bind(place.path("a.sock")).unwrap());
            until("it is stale", || UnixStream::connect(place.path("a.sock")).is_err());
        }
        let barrier = Barrier::new(16);
        let address = place.address("a.sock");
        let results: Vec<Result<Listener, Code>> = std::thread::scope(|scope| {
            let racers: Vec<_> = (0..16)
                .map(|_| {
                    scope.spawn(|| {
                        barrier.wait();
                        Listener::bind(&address).map_err(|e| e.code())
                    })
                })
                .collect();
            racers.into_iter().map(|r| r.join().unwrap()).collect()
        });
        assert_eq!(results.iter().filter(|r| r.is_ok()).count(), 1);
        assert!(results.iter().filter_map(|r| r.as_ref().err()).all(|c| *c == Code::AddressInUse));
        assert!(place.path("a.sock").exists());
    }
}

#[test]
fn processes_race_as_well_as_threads() {
    let place = Place::new();
    let racers: Vec<Process> = (0..12).map(|_| Process::start("race", &place.address("a.sock"))).collect();
    let mut outcomes = Vec::new();
    for mut racer in racers {
        let mut out = std::io::BufReader::new(racer.0.stdout.take().unwrap());
        let mut line = String::new();
        while !(line.contains("won") || line.contains("address_in_use")) {
            line.clear();
            assert_ne!(std::io::BufRead::read_line(&mut out, &mut line).unwrap(), 0, "a racer ended without a word");
        }
        outcomes.push((line.contains("won"), racer, out));
    }
    assert_eq!(outcomes.iter().filter(|(won, ..)| *won).count(), 1);
}

#[test]
fn names_live_in_a_private_directory() {
    // The variable is read by whoever resolves the name, so each case is a process of its own.
    let place = Place::new();
    let runtime = place.path("run");
    std::fs::create_dir(&runtime).unwrap();
    let exe = common::program();
    let server = Command::new(&exe)
        .args(["--exact", "child", "--nocapture"])
        .env("HOSTLANE_CHILD", "serve")
        .env("HOSTLANE_ADDRESS", "engine")
        .env("XDG_RUNTIME_DIR", &runtime)
        .stdout(std::process::Stdio::null())
        .spawn()
        .unwrap();
    // Ended whatever happens.
    let mut server = Process(server);
    let socket = runtime.join("hostlane/engine.sock");
    until("it serves", || Peer::connect(&socket.display().to_string(), SOON).is_ok());
    assert_eq!(std::fs::metadata(runtime.join("hostlane")).unwrap().mode() & 0o7777, 0o700);
    server.0.kill().unwrap();
    server.0.wait().unwrap();

    let refused = |prepare: &dyn Fn()| {
        let _ = std::fs::remove_dir_all(runtime.join("hostlane"));
        let _ = std::fs::remove_file(runtime.join("hostlane"));
        prepare();
        let out = Command::new(&exe)
            .args(["--exact", "child", "--nocapture"])
            .env("HOSTLANE_CHILD", "race")
            .env("HOSTLANE_ADDRESS", "engine")
            .env("XDG_RUNTIME_DIR", &runtime)
            .output()
            .unwrap();
        let text = String::from_utf8(out.stdout).unwrap();
        assert!(text.contains("unsafe_directory"), "{text}");
    };
    let dir = runtime.join("hostlane");
    refused(&|| {
        std::fs::create_dir(&dir).unwrap();
        std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o755)).unwrap();
    });
    refused(&|| symlink(place.0.path(), &dir).unwrap());
    refused(&|| std::fs::write(&dir, "").unwrap());
}

#[test]
fn long_paths_are_refused_whole() {
    let place = Place::new();
    let room = hostlane::limits::MAX_SOCKET_PATH - place.address("").len();
    let fits = place.address(&"x".repeat(room));
    let listener = Listener::bind(&fits).unwrap();
    std::thread::scope(|scope| {
        let accepted = scope.spawn(|| listener.accept(SOON).unwrap());
        Peer::connect(&fits, SOON).unwrap();
        accepted.join().unwrap();
    });
    let over = place.address(&"x".repeat(room + 1));
    assert_eq!(bind_code(&over), Code::AddressTooLong);
    assert_eq!(Peer::connect(&over, SOON).unwrap_err().code(), Code::AddressTooLong);
}
