//! What a program gets to see of what happens: nothing it did not ask for, and everything it did.
// Some of what is used here is for the tests that need more of the system than a pipe.
#![cfg_attr(windows, allow(unused_imports, dead_code))]

mod common;

#[cfg(unix)]
use std::os::unix::net::UnixListener;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use common::{Place, SOON, pair, until};
#[cfg(unix)]
use common::{Process, child_role};
use hostlane::log::{self, Event, Level, LogEvent};
use hostlane::{
    Address, Channel, Code, ConnectOptions, Context, Link, LinkEvent, LinkOptions, ListenOptions, Listener, Outcome,
    Peer, Secret, Started, Wait, limits,
};

/// The log is the process's, so tests take turns. Off and empty at the beginning and at the end.
struct Turn(#[allow(dead_code)] MutexGuard<'static, ()>);

impl Turn {
    fn of(level: Level) -> Turn {
        static ONE: Mutex<()> = Mutex::new(());
        let guard = ONE.lock().unwrap_or_else(PoisonError::into_inner);
        log::drain(&mut Vec::new());
        log::enable(level);
        Turn(guard)
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        log::enable(Level::Off);
        log::drain(&mut Vec::new());
    }
}

fn drained() -> Vec<LogEvent> {
    let mut events = Vec::new();
    assert_eq!(log::drain(&mut events), 0, "events were dropped");
    events
}

/// Drains until an event of this kind comes, and gives all that came.
fn drained_until(event: Event) -> Vec<LogEvent> {
    let mut events = Vec::new();
    until(event.name(), || {
        events.extend(drained());
        events.iter().any(|e| e.event == event)
    });
    events
}

fn names(events: &[LogEvent]) -> Vec<&'static str> {
    events.iter().map(|e| e.event.name()).collect()
}

#[test]
fn silent_by_default() {
    let (_turn, place) = (Turn::of(Level::Off), Place::new());
    assert_eq!(log::level(), Level::Off);
    let (client, server) = pair(&place);
    client.close();
    assert_eq!(server.recv(SOON).unwrap_err().code(), Code::PeerClosed);
    assert!(drained().is_empty());
}

#[test]
fn a_connection_from_its_beginning_to_its_end() {
    let (_turn, place) = (Turn::of(Level::Info), Place::new());
    let (client, server) = pair(&place);
    let events = drained();
    assert_eq!(names(&events), ["connected", "connected"]);
    for event in &events {
        assert_eq!(event.peer, client.info().unwrap().peer_id);
        assert_eq!(event.address, client.info().unwrap().address);
        assert_eq!((event.level, event.code), (Level::Info, None));
        // After 2020, and before the clock overflows.
        assert!(event.unix_micros > 1_577_836_800_000_000 && event.unix_micros < u64::MAX);
    }
    std::thread::scope(|scope| {
        scope.spawn(|| assert_eq!(server.recv(SOON).unwrap_err().code(), Code::PeerClosed));
        client.drain(SOON).unwrap();
    });
    let mut events = drained();
    events.sort_by_key(|e| (e.event.name(), e.code));
    let seen: Vec<_> = events.iter().map(|e| (e.event, e.level, e.code)).collect();
    assert_eq!(
        seen,
        [
            (Event::Draining, Level::Info, None),
            (Event::Draining, Level::Info, None),
            (Event::Ended, Level::Info, Some(Code::Closed)),
            (Event::Ended, Level::Info, Some(Code::PeerClosed)),
        ]
    );
    client.close();
    server.close();
    assert!(drained().is_empty(), "what has ended ends once");
}

#[test]
fn a_lower_level_keeps_what_matters_more() {
    let (_turn, place) = (Turn::of(Level::Warn), Place::new());
    let address: Address = place.address("a.sock").parse().unwrap();
    let options = ListenOptions::new().secret(Secret::new("right").unwrap());
    let listener = Listener::bind_with(&address, &options).unwrap();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let options = ConnectOptions::new().secret(Secret::new("wrong").unwrap());
            assert!(Peer::connect_with(&address, &options, SOON).is_err());
            listener.close();
        });
        assert_eq!(listener.accept(SOON).unwrap_err().code(), Code::Closed);
    });
    let mut events = drained();
    events.sort_by_key(|e| e.event.name());
    assert_eq!(names(&events), ["handshake_failed", "refused"]);
    for event in &events {
        assert_eq!((event.level, event.code), (Level::Warn, Some(Code::AuthenticationFailed)));
        assert!(!event.text.is_empty() && !event.text.contains("right") && !event.text.contains("wrong"));
    }
}

/// A pair whose server is in a context that is not processed any more, as if its program hung.
fn hung(place: &Place, options: &ConnectOptions) -> (Peer, Peer, Context) {
    let address: Address = place.address("a.sock").parse().unwrap();
    let listener = Listener::bind_with(&address, &ListenOptions::new()).unwrap();
    let context = Context::new().unwrap();
    let Started::Pending(_) = context.accept(&listener, None).unwrap() else { panic!() };
    std::thread::scope(|scope| {
        let client = scope.spawn(|| Peer::connect_with(&address, options, SOON).unwrap());
        let Outcome::Accepted(server) = context.next(SOON).unwrap().result.unwrap() else { panic!() };
        // What completes the handshake may come in two parts.
        while !client.is_finished() {
            context.process(1, &mut Vec::new()).unwrap();
        }
        (client.join().unwrap(), server, context)
    })
}

#[test]
fn a_keepalive_that_is_not_answered() {
    let (_turn, place) = (Turn::of(Level::Warn), Place::new());
    let options = ConnectOptions::new().keepalive(Duration::from_millis(50));
    let (client, _server, _context) = hung(&place, &options);
    assert_eq!(client.recv(SOON).unwrap_err().code(), Code::PeerUnresponsive);
    let events = drained();
    assert_eq!(names(&events), ["keepalive_missed", "ended"]);
    assert!(events.iter().all(|e| e.code == Some(Code::PeerUnresponsive) && e.level == Level::Warn));
}

#[test]
fn queues_that_fill_and_drop() {
    let (_turn, place) = (Turn::of(Level::Warn), Place::new());
    let (client, server, context) = hung(&place, &ConnectOptions::new());
    let dropped = |peer: &Peer| peer.stats().unwrap().channels.iter().map(|c| c.dropped).sum::<u64>();
    let sample = vec![0; 64 << 10];
    while dropped(&client) < 10 {
        client.send(Channel::TELEMETRY, &sample, SOON).unwrap();
    }
    let events = drained();
    assert_eq!(names(&events), ["queue_high", "dropping"], "{events:#?}");
    assert!(events.iter().all(|e| e.text.contains(&format!("channel {}", Channel::TELEMETRY))), "{events:#?}");

    // The program on the other side takes nothing: its own queue fills, and it is told so.
    client.attach().unwrap();
    let deadline = Instant::now() + SOON;
    let events = loop {
        context.process(8, &mut Vec::new()).unwrap();
        let events = drained();
        if !events.is_empty() {
            break events;
        }
        assert!(Instant::now() < deadline, "no event came");
    };
    assert_eq!(names(&events), ["queue_high"]);
    assert!(events[0].text.contains("wait for the program"), "{}", events[0].text);
    drop(server);
}

#[test]
fn a_queue_of_level_0() {
    let (_turn, place) = (Turn::of(Level::Warn), Place::new());
    let (client, server) = common::pair_on_level_0(&place);
    server.attach().unwrap();
    let most = limits::RECV_QUEUE / 4 * 3;
    std::thread::scope(|scope| {
        scope.spawn(|| (0..most >> 16).for_each(|_| client.send(Channel::DATA, vec![0; 64 << 10], SOON).unwrap()));
        let events = drained_until(Event::QueueHigh);
        assert_eq!(names(&events), ["queue_high"]);
    });
}

/// Not a test by itself: what this binary does as a child process, which connects and stays until it is told to end.
#[cfg(unix)]
#[test]
fn child() {
    let Some((role, address)) = child_role() else { return };
    if role == "link" {
        let link = Link::open(address.parse::<Address>().unwrap(), LinkOptions::new()).unwrap();
        while link.next(Wait::forever()).is_ok() {}
        return;
    }
    let peer = Peer::connect(&address, SOON).unwrap();
    // A word of how to end, or none: then it is killed.
    match peer.recv(Wait::forever()).unwrap().payload().as_ref() {
        b"exit" => std::process::exit(0),
        b"close" => peer.close(),
        b"drain" => peer.drain(SOON).unwrap(),
        other => panic!("{other:?}"),
    }
    // Until its parent has seen the end.
    loop {
        std::thread::park();
    }
}

/// How a killed process ends for the other side: the kernel says reset if there was something it had not read.
#[cfg(unix)]
const GONE: [Code; 2] = [Code::PeerClosed, Code::ConnectionLost];

/// What the log says of a connection whose other side, a process, ends as `how` says; as a blocking caller and in a context.
#[cfg(unix)]
fn told_at_the_end(how: &str) -> [(Level, Code); 2] {
    [false, true].map(|in_context| {
        let (_turn, place) = (Turn::of(Level::Info), Place::new());
        let listener = Listener::bind(&place.address("a.sock")).unwrap();
        let mut process = Process::start("client", &place.address("a.sock"));
        let context = Context::new().unwrap();
        let peer = if in_context {
            context.accept(&listener, None).unwrap();
            let Outcome::Accepted(peer) = context.next(SOON).unwrap().result.unwrap() else { panic!() };
            peer
        } else {
            listener.accept(SOON).unwrap()
        };
        let send = |word: &str| match in_context {
            true => {
                context.send(&peer, Channel::DATA, word.as_bytes().to_vec(), None).unwrap();
            }
            false => peer.send(Channel::DATA, word, SOON).unwrap(),
        };
        match how {
            "kill" => process.0.kill().unwrap(),
            "own close" => peer.close(),
            word => send(word),
        }
        let told = if in_context {
            match context.recv(&peer, None, None) {
                Ok(Started::Pending(op)) => loop {
                    let done = context.next(SOON).unwrap();
                    if done.op == op {
                        break done.result.unwrap_err();
                    }
                },
                Ok(Started::Done(outcome)) => panic!("{outcome:?}"),
                Err(error) => error,
            }
        } else {
            peer.recv(SOON).unwrap_err()
        };
        peer.close();
        let ended: Vec<_> = drained().into_iter().filter(|e| e.event == Event::Ended).collect();
        let [ended] = &ended[..] else { panic!("{how}: {ended:?}") };
        assert_eq!(ended.code, Some(told.code()), "{how}: {}", ended.text);
        (ended.level, told.code())
    })
}

#[cfg(unix)]
#[test]
fn the_end_is_told_as_the_program_learns_it() {
    for how in ["exit", "close", "drain"] {
        assert_eq!(told_at_the_end(how), [(Level::Info, Code::PeerClosed); 2], "{how}");
    }
    assert!(told_at_the_end("kill").iter().all(|(_, code)| GONE.contains(code)));
    assert_eq!(told_at_the_end("own close"), [(Level::Info, Code::Closed); 2]);
}

#[cfg(unix)]
#[test]
fn a_link_tells_the_death_of_the_other_side_once_and_for_all() {
    let (_turn, place) = (Turn::of(Level::Info), Place::new());
    let address: Address = place.address("l.sock").parse().unwrap();
    let link = Link::open(&address, LinkOptions::new()).unwrap();
    let mut process = Process::start("link", &place.address("l.sock"));
    assert!(matches!(link.next(SOON).unwrap(), LinkEvent::Up { serving: true }));
    process.0.kill().unwrap();
    let LinkEvent::Down(told) = link.next(SOON).unwrap() else { panic!() };
    let mut events = drained();
    events.retain(|e| matches!(e.event, Event::Ended | Event::LinkDown));
    events.sort_by_key(|e| e.event.name());
    assert_eq!(names(&events), ["ended", "link_down"]);
    assert!(events.iter().all(|e| e.code == Some(told.code())), "{told} {events:#?}");
    assert!(GONE.contains(&told.code()), "{told}");
}

#[cfg(unix)]
#[test]
fn links_that_come_and_go() {
    let (_turn, place) = (Turn::of(Level::Debug), Place::new());
    let address: Address = place.address("l.sock").parse().unwrap();
    let first = Link::open(&address, LinkOptions::new()).unwrap();
    std::thread::scope(|scope| {
        let second = scope.spawn(|| {
            let second = Link::open(&address, LinkOptions::new()).unwrap();
            assert!(matches!(second.next(SOON).unwrap(), LinkEvent::Up { serving: false }));
            second.close();
        });
        assert!(matches!(first.next(SOON).unwrap(), LinkEvent::Up { serving: true }));
        assert!(matches!(first.next(SOON).unwrap(), LinkEvent::Down(_)));
        second.join().unwrap();
    });
    drop(first);
    let events = drained();
    let links: Vec<_> = events.iter().filter(|e| e.event.name().starts_with("link")).collect();
    assert_eq!(links.iter().filter(|e| e.event == Event::LinkUp && e.level == Level::Info).count(), 2);
    assert_eq!(links.iter().filter(|e| e.event == Event::LinkDown && e.level == Level::Warn).count(), 1);
    assert!(links.iter().all(|e| e.address == address.to_string() && !e.peer.is_empty()), "{links:#?}");

    // Somebody else has the address, and wants nobody.
    let foreign = UnixListener::bind(place.path("m.sock")).unwrap();
    std::thread::spawn(move || foreign.incoming().for_each(drop));
    let address: Address = place.address("m.sock").parse().unwrap();
    let link = Link::open(&address, LinkOptions::new().retries(2)).unwrap();
    let end = link.next(SOON).unwrap_err();
    let events: Vec<LogEvent> = drained().into_iter().filter(|e| e.event.name().starts_with("link")).collect();
    assert_eq!(names(&events), ["link_retry", "link_retry", "link_ended"]);
    assert_eq!((events[2].level, events[2].code), (Level::Error, Some(end.code())));
}

#[test]
fn the_oldest_go_first_and_are_counted() {
    let _turn = Turn::of(Level::Info);
    let listener = Listener::bind("inproc:overflow").unwrap();
    let address = listener.address().clone();
    let pairs = limits::LOG_EVENTS / 4 + 10;
    let context = Context::new().unwrap();
    for _ in 0..pairs {
        context.accept(&listener, None).unwrap();
        context.connect(&address, &ConnectOptions::new(), None).unwrap();
        let both = [context.next(SOON).unwrap(), context.next(SOON).unwrap()];
        // Closes one side after the other.
        both.into_iter().for_each(|completion| drop(completion.result.unwrap()));
    }
    let mut events = Vec::new();
    let dropped = log::drain(&mut events);
    assert_eq!(events.len(), limits::LOG_EVENTS);
    assert_eq!(dropped as usize + events.len(), 4 * pairs);
    assert!(events.windows(2).all(|pair| pair[0].unix_micros <= pair[1].unix_micros));
    assert_eq!(log::drain(&mut events), 0);
    assert_eq!(events.len(), limits::LOG_EVENTS);
}

#[test]
fn a_part_of_what_is_kept() {
    let (_turn, place) = (Turn::of(Level::Info), Place::new());
    drop(pair(&place));
    let mut events = Vec::new();
    until("all came, in parts", || {
        let before = events.len();
        assert_eq!(log::drain_at_most(&mut events, 1), 0);
        assert!(events.len() <= before + 1);
        events.len() == 4
    });
    assert_eq!(names(&events), ["connected", "connected", "ended", "ended"]);
}

#[test]
fn levels_by_number_and_name() {
    let all = [Level::Off, Level::Error, Level::Warn, Level::Info, Level::Debug];
    assert!(all.iter().enumerate().all(|(n, level)| Level::from_number(n as u8) == Some(*level)));
    assert_eq!(Level::from_number(5), None);
    assert_eq!(all.map(Level::name), ["off", "error", "warn", "info", "debug"]);
}
