//! Callers who share a connection, and the I/O thread beside them: nobody is left waiting when who attends
//! to the socket leaves, and nobody attends when there is nothing to do.
// Some of what is used here is for the tests that need more of the system than a pipe.
#![cfg_attr(windows, allow(unused_imports, dead_code))]

mod common;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::{Place, SOON, pair, pair_on_level_0, until};
use hostlane::{Address, CallOptions, Channel, Code, ConnectOptions, ListenOptions, Listener, Peer, Spin, Wait};

const FOLLOWERS: u16 = 15;

/// Far below any deadline in use here, far above what a busy machine does to a wake-up.
const PROMPT: Duration = Duration::from_secs(2);

fn follower(number: u16) -> Channel {
    Channel::new(300 + number).unwrap()
}

/// Two peers with a channel for each follower, one more for the leader.
fn crowd_pair(place: &Place, spin: Spin) -> (Peer, Peer) {
    let channels: Vec<Channel> = (0..FOLLOWERS).map(follower).chain([Channel::DATA]).collect();
    let address: Address = place.address("crowd.sock").parse().unwrap();
    let listener = Listener::bind_with(&address, &ListenOptions::new().channels(&channels).spin(spin)).unwrap();
    std::thread::scope(|scope| {
        let server = scope.spawn(|| listener.accept(SOON).unwrap());
        let options = ConnectOptions::new().channels(&channels).spin(spin);
        (Peer::connect_with(&address, &options, SOON).unwrap(), server.join().unwrap())
    })
}

#[cfg(unix)]
fn io_threads() -> Vec<PathBuf> {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap();
    let named =
        |task: &PathBuf| std::fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim() == "hostlane-io");
    tasks.map(|task| task.unwrap().path()).filter(named).collect()
}

/// How often the I/O thread went to sleep so far.
fn sleeps(task: &Path) -> u64 {
    let status = std::fs::read_to_string(task.join("status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches")).unwrap();
    line.rsplit('\t').next().unwrap().trim().parse().unwrap()
}

#[test]
fn a_leader_at_its_deadline_leaves_nobody_waiting_whose_message_is_there() {
    for (round, spin) in [Spin::Auto, Spin::Off, Spin::Micros(50)].into_iter().cycle().take(24).enumerate() {
        let (client, server) = crowd_pair(&Place::new(), spin);
        // Few enough for turns, or a crowd for the I/O thread.
        let followers = if round % 2 == 0 { 6 } else { FOLLOWERS };
        let limit = Duration::from_millis(10 + round as u64 % 5);
        std::thread::scope(|scope| {
            let leader = scope.spawn(|| client.recv_on(Channel::DATA, limit).map(drop));
            let start = Instant::now();
            let waiters: Vec<_> = (0..followers)
                .map(|n| {
                    let client = &client;
                    scope.spawn(move || client.recv_on(follower(n), SOON).map(|_| Instant::now()))
                })
                .collect();
            // Before, at, and behind the leader's deadline.
            while start.elapsed() < limit.mul_f32(0.8 + 0.02 * round as f32) {
                std::thread::yield_now();
            }
            let sent = Instant::now();
            (0..followers).for_each(|n| server.send(follower(n), b"!", SOON).unwrap());
            for waiter in waiters {
                let took = waiter.join().unwrap().unwrap().saturating_duration_since(sent);
                assert!(took < PROMPT, "{took:?} after it was there");
            }
            assert_eq!(leader.join().unwrap().unwrap_err().code(), Code::Timeout);
        });
    }
}

#[test]
fn a_caller_who_spins_keeps_nobody_from_sending() {
    let (client, server) = crowd_pair(&Place::new(), Spin::Micros(10_000));
    std::thread::scope(|scope| {
        let spinning = scope.spawn(|| {
            let limit = Instant::now() + Duration::from_millis(300);
            while client.recv_on(Channel::DATA, limit).is_ok() {}
        });
        let mut sent = 0u32;
        while !spinning.is_finished() && sent < 2000 {
            client.send(follower(0), sent.to_le_bytes().to_vec(), SOON).unwrap();
            assert_eq!(server.recv_on(follower(0), SOON).unwrap().payload(), &sent.to_le_bytes()[..]);
            sent += 1;
        }
        assert!(sent >= 20, "{sent} round trips beside a spinning caller");
    });
}

#[test]
fn a_spinning_caller_is_told_when_the_connection_is_closed() {
    let (client, _server) = crowd_pair(&Place::new(), Spin::Micros(10_000));
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| client.recv(Wait::forever()).map(drop));
        until("it waits", || client.stats().unwrap().pending_operations == 1);
        client.close();
        assert_eq!(waiter.join().unwrap().unwrap_err().code(), Code::Closed);
    });
}

#[test]
fn a_fixed_spin_has_a_limit() {
    let address: Address = Place::new().address("x.sock").parse().unwrap();
    let error = Peer::connect_with(&address, &ConnectOptions::new().spin(Spin::Micros(10_001)), SOON).unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
    let error = Listener::bind_with(&address, &ListenOptions::new().spin(Spin::Micros(u32::MAX))).unwrap_err();
    assert_eq!(error.code(), Code::InvalidArgument);
}

#[cfg(unix)]
#[test]
fn a_crowd_is_attended_to_by_the_io_thread() {
    let (client, server) = crowd_pair(&Place::new(), Spin::Auto);
    std::thread::scope(|scope| {
        for n in 0..FOLLOWERS {
            let client = &client;
            scope.spawn(move || {
                for round in 0u32..200 {
                    let message = client.recv_on(follower(n), SOON).unwrap();
                    assert_eq!(message.payload(), &round.to_le_bytes()[..]);
                }
            });
        }
        until("all wait", || client.stats().unwrap().pending_operations == usize::from(FOLLOWERS));
        until("the thread is there", || !io_threads().is_empty());
        for round in 0u32..200 {
            (0..FOLLOWERS).for_each(|n| server.send(follower(n), round.to_le_bytes().to_vec(), SOON).unwrap());
        }
    });
    // Callers who come alone lead for themselves again, and a reply still finds them.
    for round in 0u32..100 {
        server.send(Channel::DATA, round.to_le_bytes().to_vec(), SOON).unwrap();
        assert_eq!(client.recv(SOON).unwrap().payload(), &round.to_le_bytes()[..]);
    }
}

#[test]
fn closing_wakes_a_crowd() {
    let (client, _server) = crowd_pair(&Place::new(), Spin::Auto);
    std::thread::scope(|scope| {
        let waiters: Vec<_> = (0..FOLLOWERS)
            .map(|n| {
                let client = &client;
                scope.spawn(move || client.recv_on(follower(n), Wait::forever()).unwrap_err().code())
            })
            .collect();
        until("all wait", || client.stats().unwrap().pending_operations == usize::from(FOLLOWERS));
        client.close();
        waiters.into_iter().for_each(|waiter| assert_eq!(waiter.join().unwrap(), Code::Closed));
    });
}

#[test]
fn the_end_of_the_other_side_reaches_a_crowd() {
    let (client, server) = crowd_pair(&Place::new(), Spin::Auto);
    std::thread::scope(|scope| {
        let waiters: Vec<_> = (0..FOLLOWERS)
            .map(|n| {
                let client = &client;
                scope.spawn(move || client.recv_on(follower(n), Wait::forever()).unwrap_err().code())
            })
            .collect();
        until("all wait", || client.stats().unwrap().pending_operations == usize::from(FOLLOWERS));
        drop(server);
        waiters.into_iter().for_each(|waiter| assert_eq!(waiter.join().unwrap(), Code::PeerClosed));
    });
}

#[test]
fn an_attached_peer_answers_pings_while_no_thread_is_inside_a_call() {
    let (client, server) = pair(&Place::new());
    assert_eq!(client.ping(Duration::from_millis(30)).unwrap_err().code(), Code::Timeout);
    server.attach().unwrap();
    server.attach().unwrap();
    for _ in 0..10 {
        client.ping(SOON).unwrap();
    }
    // What arrived meanwhile is there at once, and the end is noticed.
    client.send(Channel::DATA, b"collected", SOON).unwrap();
    until("it was read", || server.stats().unwrap().receive_queue.messages == 1);
    assert_eq!(server.recv(Wait::none()).unwrap().payload(), "collected");
    client.close();
    assert_eq!(server.recv(SOON).unwrap_err().code(), Code::PeerClosed);
    server.close();
    assert_eq!(server.attach().unwrap_err().code(), Code::Closed);
}

#[test]
fn an_attached_peer_pauses_at_its_bound_and_goes_on_when_it_is_emptied() {
    // Level 1 never pauses: there credit bounds what comes.
    let (client, server) = pair_on_level_0(&Place::new());
    server.attach().unwrap();
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| (0..40).for_each(|_| client.send(Channel::DATA, vec![7; 1 << 20], SOON).unwrap()));
        until("the queue is full", || server.stats().unwrap().receive_queue.bytes >= hostlane::limits::RECV_QUEUE);
        (0..40).for_each(|_| assert_eq!(server.recv(SOON).unwrap().payload().len(), 1 << 20));
        sender.join().unwrap();
    });
}

#[test]
fn callers_and_the_io_thread_hand_the_socket_back_and_forth_and_lose_nothing() {
    const MESSAGES: u32 = 60_000;
    let (client, server) = pair(&Place::new());
    client.attach().unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..MESSAGES {
                server.send(Channel::DATA, n.to_le_bytes().to_vec(), SOON).unwrap();
                // Now and then long enough for the thread to take over.
                if n % 997 == 0 {
                    std::thread::sleep(Duration::from_millis(2));
                }
            }
        });
        // Pings of the other side go on all the time.
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                server.ping(SOON).unwrap();
                std::thread::sleep(Duration::from_millis(6));
            }
        });
        let mut next = 0;
        let start = Instant::now();
        while next < MESSAGES {
            // Sometimes it leads, sometimes it looks at what was collected, sometimes it gives up.
            let wait = if next % 3 == 0 { Duration::from_micros(50) } else { SOON };
            match client.recv(wait) {
                Ok(message) => {
                    assert_eq!(message.payload(), &next.to_le_bytes()[..], "out of order");
                    next += 1;
                }
                Err(error) => assert_eq!(error.code(), Code::Timeout),
            }
            assert!(start.elapsed() < 6 * SOON, "stalled at {next}");
        }
        done.store(true, Ordering::Relaxed);
    });
}

#[cfg(unix)]
#[test]
fn the_io_thread_sleeps_when_idle_takes_no_signals_and_ends_after_its_last_peer() {
    // Alone in its process, since other tests use the same thread.
    if !alone("the_io_thread_sleeps_when_idle_takes_no_signals_and_ends_after_its_last_peer") {
        return;
    }
    assert!(io_threads().is_empty(), "nothing needs it yet");
    let (client, server) = pair(&Place::new());
    server.attach().unwrap();
    client.ping(SOON).unwrap();
    let [task] = &io_threads()[..] else { panic!("one thread") };
    let status = std::fs::read_to_string(task.join("status")).unwrap();
    let blocked = status.lines().find_map(|line| line.strip_prefix("SigBlk:")).unwrap().trim();
    // All but KILL, STOP and the few the C library keeps for itself: two in glibc, three in musl.
    assert!(u64::from_str_radix(blocked, 16).unwrap().count_ones() >= 59, "{blocked}");

    // Idle with a reader at the socket, and without.
    std::thread::scope(|scope| {
        let reader = scope.spawn(|| server.recv(Duration::from_millis(700)).map(drop));
        until("it waits", || server.stats().unwrap().pending_operations == 1);
        quiet(task);
        assert_eq!(reader.join().unwrap().unwrap_err().code(), Code::Timeout);
    });
    quiet(task);
    // Between two calls nobody leads, so it has to look once they stay away; between many, rarely.
    let before = sleeps(task);
    let start = Instant::now();
    std::thread::scope(|scope| {
        scope.spawn(|| (0..5000).for_each(|_| client.send(Channel::DATA, b"x", SOON).unwrap()));
        (0..5000).for_each(|_| drop(server.recv(SOON).unwrap()));
    });
    let woken = sleeps(task) - before;
    let allowed = 100 + start.elapsed().as_millis() as u64 * 3;
    assert!(woken <= allowed, "woken {woken} times in {:?}", start.elapsed());

    drop((client, server));
    until("it has ended", || io_threads().is_empty());
    // And comes again.
    let (client, server) = pair(&Place::new());
    server.attach().unwrap();
    client.ping(SOON).unwrap();
    assert_eq!(io_threads().len(), 1);
}

#[cfg(unix)]
#[test]
fn a_connection_that_needed_the_io_thread_once_lets_it_go() {
    if !alone("a_connection_that_needed_the_io_thread_once_lets_it_go") {
        return;
    }
    let (client, server) = pair(&Place::new());
    for round in 0..2 {
        // More than the socket takes, with nobody waiting.
        let call = client.start(vec![round; 4 << 20]).unwrap();
        until(&format!("the thread writes what was left behind in round {round}"), || io_threads().len() == 1);
        let request = server.recv(SOON).unwrap();
        assert_eq!(request.payload(), &vec![round; 4 << 20][..]);
        request.reply(b"done", SOON).unwrap();
        assert_eq!(call.wait(SOON).unwrap().payload().as_ref(), b"done");
        until("it has ended", || io_threads().is_empty());
    }
    client.ping(Duration::ZERO).unwrap_err();
    assert!(client.is_open() && server.is_open());
}

#[cfg(unix)]
#[test]
fn a_connection_nobody_waits_on_is_written_to_and_not_read_from() {
    let (client, server) = pair(&Place::new());
    (0..8).for_each(|_| server.send(Channel::DATA, b"unasked for", SOON).unwrap());
    let call = client.start(vec![7; 4 << 20]).unwrap();
    let request = server.recv(SOON).unwrap();
    assert_eq!(request.payload().len(), 4 << 20);
    assert_eq!(
        client.stats().unwrap().channels.iter().map(|c| c.messages_received).sum::<u64>(),
        0,
        "what nobody asked for stays in the kernel"
    );
    request.reply(b"done", SOON).unwrap();
    assert_eq!(call.wait(SOON).unwrap().payload().as_ref(), b"done");
    assert_eq!(client.recv(SOON).unwrap().payload().as_ref(), b"unasked for");
}

/// Asserts that the thread stays asleep once what was begun is over.
fn quiet(task: &Path) {
    let deadline = Instant::now() + SOON;
    loop {
        let before = sleeps(task);
        std::thread::sleep(Duration::from_millis(200));
        if sleeps(task) - before <= 1 {
            return;
        }
        assert!(Instant::now() < deadline, "the thread does not come to rest");
    }
}

/// Whether this is a process of `test`'s own; otherwise runs it in one.
#[cfg(unix)]
fn alone(test: &str) -> bool {
    if std::env::var_os("HOSTLANE_ALONE").is_some() {
        return true;
    }
    let mut command = std::process::Command::new(common::program());
    command.args(["--exact", test, "--nocapture", "--test-threads=1"]).env("HOSTLANE_ALONE", "1");
    assert!(command.status().unwrap().success());
    false
}

#[cfg(unix)]
#[test]
fn a_process_ends_well_while_the_io_thread_is_busy() {
    const NAME: &str = "a_process_ends_well_while_the_io_thread_is_busy";
    if !alone(NAME) {
        return;
    }
    let (client, server) = pair(&Place::new());
    client.attach().unwrap();
    server.attach().unwrap();
    let flood = std::thread::spawn(move || while server.send(Channel::DATA, vec![1; 4096], SOON).is_ok() {});
    until("messages come", || client.stats().unwrap().receive_queue.messages > 10);
    // Neither peer is dropped, neither thread ended.
    std::mem::forget((client, flood));
    std::process::exit(0);
}

/// Answers calls until the other side leaves.
fn answer(server: &Peer) {
    while let Ok(request) = server.recv_on(follower(1), Wait::forever()) {
        request.reply(request.payload().clone(), SOON).unwrap();
    }
}

fn call(client: &Peer, text: &str) {
    let options = CallOptions::new().channel(follower(1));
    assert_eq!(client.start_with(text.to_owned(), options).unwrap().wait(SOON).unwrap().payload(), text);
}

#[cfg(unix)]
#[test]
fn who_waits_long_is_not_woken_for_the_answers_of_others_and_gets_its_message_all_the_same() {
    const CALLS: u64 = 2000;
    for spin in [Spin::Auto, Spin::Off] {
        let (client, server) = crowd_pair(&Place::new(), spin);
        std::thread::scope(|scope| {
            scope.spawn(|| answer(&server));
            for _ in 0..3 {
                let (tell, told) = std::sync::mpsc::channel();
                let waiter = scope.spawn(|| {
                    tell.send(rustix::thread::gettid().as_raw_nonzero()).unwrap();
                    drop(tell);
                    client.recv_on(Channel::DATA, SOON).unwrap();
                    Instant::now()
                });
                let task = PathBuf::from(format!("/proc/self/task/{}", told.recv().unwrap()));
                until("it waits", || client.stats().unwrap().pending_operations == 1);
                let before = sleeps(&task);
                (0..CALLS).for_each(|n| call(&client, &n.to_string()));
                let woken = sleeps(&task) - before;
                assert!(woken < CALLS / 20, "woken {woken} times for {CALLS} answers of another's");
                // Nobody calls now.
                let sent = Instant::now();
                server.send(Channel::DATA, b"!", SOON).unwrap();
                let took = waiter.join().unwrap().saturating_duration_since(sent);
                assert!(took < PROMPT, "{took:?} after it was there");
            }
            client.close();
        });
    }
}

#[test]
fn who_was_relieved_still_ends_at_its_deadline_and_with_the_connection() {
    let (client, server) = crowd_pair(&Place::new(), Spin::Off);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| answer(&server));
        let caller = scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                call(&client, "again");
            }
        });
        // A call that is waited for in turns, never answered; and messages that never come.
        let mut late = client.start_with(b"late", CallOptions::new().channel(follower(0))).unwrap();
        for _ in 0..10 {
            let limit = Duration::from_millis(20);
            let start = Instant::now();
            assert_eq!(client.recv_on(Channel::DATA, limit).unwrap_err().code(), Code::Timeout);
            assert_eq!(late.try_wait(limit).unwrap_err().code(), Code::Timeout);
            assert!(start.elapsed() >= 2 * limit && start.elapsed() < PROMPT, "{:?}", start.elapsed());
        }
        let request = server.recv_on(follower(0), SOON).unwrap();
        request.reply(b"at last", SOON).unwrap();
        assert_eq!(late.try_wait(SOON).unwrap().payload(), "at last");
        over.store(true, Ordering::Relaxed);
        caller.join().unwrap();
        let waiter = scope.spawn(|| client.recv_on(Channel::DATA, SOON).map(drop));
        until("it waits", || client.stats().unwrap().pending_operations == 1);
        std::thread::scope(|calls| calls.spawn(|| (0..100).for_each(|_| call(&client, "more"))).join().unwrap());
        let start = Instant::now();
        client.close();
        assert_eq!(waiter.join().unwrap().unwrap_err().code(), Code::Closed);
        assert!(start.elapsed() < PROMPT);
    });
    assert_eq!(client.stats().unwrap().pending_operations, 0);
}

#[test]
fn a_call_ends_at_its_own_deadline_although_another_thread_sleeps_at_the_socket() {
    for gap in [0, 100, 1000] {
        let (client, server) = crowd_pair(&Place::new(), Spin::Off);
        std::thread::scope(|scope| {
            for _ in 0..4 {
                let leader = scope.spawn(|| client.recv_on(Channel::DATA, SOON).map(drop));
                until("it waits", || client.stats().unwrap().pending_operations == 1);
                let start = Instant::now();
                while start.elapsed() < Duration::from_micros(gap) {
                    std::thread::yield_now();
                }
                let start = Instant::now();
                let options = CallOptions::new().channel(follower(0)).deadline(start + Duration::from_millis(50));
                let error = client.start_with("never answered", options).unwrap().wait(SOON).unwrap_err();
                let took = start.elapsed();
                assert_eq!(error.code(), Code::Timeout);
                assert!(took < SOON / 2, "{took:?} for a deadline of 50 ms");
                server.send(Channel::DATA, b"!", SOON).unwrap();
                leader.join().unwrap().unwrap();
            }
        });
    }
}

#[test]
fn a_host_that_runs_handlers_later_is_asked_once_a_wait_lasts() {
    let (client, _server) = pair(&Place::new());
    let after = Duration::from_millis(20);
    for breaks in [false, true] {
        let mut asked = 0;
        let mut hook = || {
            asked += 1;
            if breaks { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let start = Instant::now();
        let wait = Wait::from(10 * after).on_interrupt(&mut hook).ask_after(after);
        let error = client.recv(wait).unwrap_err();
        assert_eq!(error.code(), if breaks { Code::Interrupted } else { Code::Timeout });
        assert!(asked > 0 && start.elapsed() >= after, "{asked} times in {:?}", start.elapsed());
    }
}
