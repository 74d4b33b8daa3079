//! Links: the same program on both sides. Exactly one of a pair serves, whoever survives goes on, and a call
//! is executed at most once unless it says that it may be repeated.
// Some of what is used here is for the tests that need more of the system than a pipe.
#![cfg_attr(windows, allow(unused_imports, dead_code))]

mod common;

use std::sync::Barrier;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use common::{Place, Process, SOON, child_role, until};
use hostlane::{
    Address, Bytes, CallOptions, Channel, Code, ConnectOptions, Level, Link, LinkEvent, LinkOptions, ListenOptions,
    Listener, Message, Peer, Secret, Sent, Wait,
};

type Answer = std::result::Result<Bytes, (u32, Bytes)>;

/// Not a test by itself: what this binary does as a child process.
#[cfg(unix)]
#[test]
fn child() {
    let Some((role, address)) = child_role() else { return };
    let link = Link::open(&address, LinkOptions::new()).unwrap();
    assert_eq!(role, "link");
    let error = link.serve(|_, message| Ok(format!("{}: {}", std::process::id(), text(message)).into()));
    panic!("{error}");
}

fn text(message: &Message) -> String {
    String::from_utf8(message.payload().to_vec()).unwrap()
}

fn address(place: &Place) -> Address {
    place.address("link.sock").parse().unwrap()
}

fn open(place: &Place) -> Link {
    Link::open(address(place), LinkOptions::new()).unwrap()
}

fn echo(message: &Message) -> Answer {
    Ok(message.payload().clone())
}

/// The next event, which has to be that the other side is there: whether this side serves.
fn up(link: &Link) -> bool {
    match link.next(SOON).unwrap() {
        LinkEvent::Up { serving } => {
            assert_eq!(link.is_serving(), Some(serving));
            serving
        }
        other => panic!("{other:?}"),
    }
}

fn down(link: &Link) -> Code {
    match link.next(SOON).unwrap() {
        LinkEvent::Down(error) => error.code(),
        other => panic!("{other:?}"),
    }
}

/// Threads that serve a link until it is closed, also when the test fails.
struct Serving<'a>(&'a Link);

impl<'a> Serving<'a> {
    fn new<'scope>(
        scope: &'scope std::thread::Scope<'scope, '_>,
        link: &'a Link,
        threads: usize,
        handler: impl Fn(&Message) -> Answer + Send + Copy + 'scope,
    ) -> Serving<'a> {
        for _ in 0..threads {
            let link = link.clone();
            scope.spawn(move || assert_eq!(link.serve(|_, message| handler(message)).code(), Code::Closed));
        }
        Serving(link)
    }
}

impl Drop for Serving<'_> {
    fn drop(&mut self) {
        self.0.close();
    }
}

#[cfg(unix)]
#[test]
fn the_first_serves_the_second_connects_and_calls_go_both_ways() {
    let place = Place::new();
    let (a, b) = (open(&place), open(&place));
    assert_eq!(a.is_serving(), Some(true));
    std::thread::scope(|scope| {
        let first = scope.spawn(|| up(&a));
        assert!(!up(&b));
        assert!(first.join().unwrap());
        let _a = Serving::new(scope, &a, 1, |message| Ok(format!("a: {}", text(message)).into()));
        let _b = Serving::new(scope, &b, 1, |message| match &message.payload()[..] {
            b"fail" => Err((9, Bytes::from_static(b"as asked"))),
            _ => Ok(format!("b: {}", text(message)).into()),
        });
        assert_eq!(a.request(b"hello", SOON).unwrap().payload(), "b: hello");
        assert_eq!(b.request(b"hello", SOON).unwrap().payload(), "a: hello");
        let error = a.request(b"fail", SOON).unwrap_err();
        assert_eq!((error.code(), error.status(), error.data()), (Code::RemoteError, Some(9), &b"as asked"[..]));
        let info = a.peer().unwrap().info().unwrap();
        assert_eq!((info.level, info.carrier), (1, "unix"));
        // Many threads at once, both ways.
        std::thread::scope(|callers| {
            for thread in 0..8 {
                let (link, name) = if thread % 2 == 0 { (&a, "b") } else { (&b, "a") };
                callers.spawn(move || {
                    for n in 0..200 {
                        let reply = link.request(format!("{thread}.{n}").into_bytes(), SOON).unwrap();
                        assert_eq!(reply.payload(), &format!("{name}: {thread}.{n}"));
                    }
                });
            }
        });
    });
}

#[test]
fn handlers_call_back_while_another_thread_serves() {
    let place = Place::new();
    let (a, b) = (open(&place), open(&place));
    std::thread::scope(|scope| {
        let nested = |link: Link| {
            move |message: &Message| {
                let depth = message.payload()[0];
                if depth == 0 {
                    return Ok(Bytes::from_static(b"ground"));
                }
                let wait = message.deadline().map_or(Wait::from(SOON), Wait::from);
                link.request(vec![depth - 1], wait)
                    .map(|reply| reply.payload().clone())
                    .map_err(|error| (error.code().number() as u32, Bytes::new()))
            }
        };
        for link in [&a, &b] {
            for _ in 0..4 {
                let (link, handler) = (link.clone(), nested(link.clone()));
                scope.spawn(move || assert_eq!(link.serve(|_, message| handler(message)).code(), Code::Closed));
            }
        }
        assert_eq!(a.request(vec![6], SOON).unwrap().payload(), "ground");
        // More than there are threads for: an error in time, and then it goes on.
        match a.request(vec![30], Duration::from_millis(200)) {
            Ok(reply) => assert_eq!(reply.payload(), "ground"),
            Err(error) => assert!(matches!(error.code(), Code::Timeout | Code::RemoteError), "{error}"),
        }
        until("it goes on", || b.request(vec![2], SOON).is_ok_and(|reply| reply.payload() == "ground"));
        a.close();
        b.close();
    });
}

#[cfg(unix)]
#[test]
fn the_survivor_of_two_processes_serves_and_the_next_joins() {
    let place = Place::new();
    let mut partner = Process::start("link", &place.address("link.sock"));
    until("the partner serves", || place.path("link.sock").exists());
    let link = open(&place);
    assert!(!up(&link));
    let name = |process: &Process| format!("{}: hello", process.0.id());
    std::thread::scope(|scope| {
        let _serving = Serving::new(scope, &link, 1, echo);
        assert_eq!(link.request(b"hello", SOON).unwrap().payload(), &name(&partner));
        for _ in 0..6 {
            partner.0.kill().unwrap();
            until("this side serves", || {
                let gone = link.peer().is_err();
                gone && link.is_serving() == Some(true)
            });
            partner.0.wait().unwrap();
            // A call made meanwhile waits for the next partner.
            std::thread::scope(|callers| {
                let call = callers.spawn(|| link.request(b"hello", SOON).unwrap());
                partner = Process::start("link", &place.address("link.sock"));
                assert_eq!(call.join().unwrap().payload(), &name(&partner));
            });
        }
    });
    // Closed: the partner serves now, and a new link finds it.
    drop(link);
    let link = open(&place);
    assert_eq!(link.request(b"hello", SOON).unwrap().payload(), &name(&partner));
}

#[cfg(unix)]
#[test]
fn the_survivor_takes_over_within_moments() {
    let mut took: Vec<Duration> = (0..5)
        .map(|_| {
            let place = Place::new();
            let mut partner = Process::start("link", &place.address("link.sock"));
            until("the partner serves", || place.path("link.sock").exists());
            let link = open(&place);
            assert!(!up(&link));
            let start = Instant::now();
            partner.0.kill().unwrap();
            assert!(matches!(down(&link), Code::PeerClosed | Code::ConnectionLost));
            while link.is_serving() != Some(true) {
                match link.next(Duration::from_millis(1)) {
                    Err(error) => assert_eq!(error.code(), Code::Timeout),
                    Ok(event) => panic!("{event:?}"),
                }
                assert!(start.elapsed() < SOON);
            }
            start.elapsed()
        })
        .collect();
    took.sort();
    println!("took over after {took:?}");
    assert!(took[took.len() / 2] < Duration::from_millis(500), "{took:?}");
}

#[test]
fn a_third_waits_and_takes_the_place_that_becomes_free() {
    let place = Place::new();
    let (a, b) = (open(&place), open(&place));
    // A third is no failed attempt, however long it waits.
    let options = LinkOptions::new().retries(5).delay(Duration::from_millis(5), Duration::from_millis(15));
    std::thread::scope(|scope| {
        let a_serves = Serving::new(scope, &a, 1, echo);
        let b_serves = Serving::new(scope, &b, 1, echo);
        a.request(b"up", SOON).unwrap();
        let c = Link::open(address(&place), options).unwrap();
        let start = Instant::now();
        while start.elapsed() < Duration::from_millis(300) {
            assert_eq!(a.request(b"undisturbed", SOON).unwrap().payload(), "undisturbed");
            assert_eq!(b.request(b"undisturbed", SOON).unwrap().payload(), "undisturbed");
            match c.next(Duration::from_millis(5)) {
                Err(error) => assert_eq!(error.code(), Code::Timeout),
                Ok(event) => panic!("{event:?}"),
            }
            assert_eq!(c.is_serving(), None);
            assert_eq!(c.peer().unwrap_err().code(), Code::ConnectionLost);
        }
        drop(a_serves);
        let c_serves = Serving::new(scope, &c, 1, echo);
        assert_eq!(c.request(b"in", SOON).unwrap().payload(), "in");
        assert_eq!(b.request(b"in", SOON).unwrap().payload(), "in");
        let serving = [b.is_serving().unwrap(), c.is_serving().unwrap()];
        assert!(serving[0] != serving[1], "{serving:?}");
        drop((b_serves, c_serves));
    });
}

#[cfg(unix)]
#[test]
fn a_third_that_was_turned_away_often_takes_over_at_once() {
    let place = Place::new();
    let (a, b) = (open(&place), open(&place));
    // Being turned away is no attempt, and nor is the loss of who served.
    let options = LinkOptions::new().retries(0).delay(Duration::from_millis(1), Duration::from_secs(2));
    std::thread::scope(|scope| {
        let a_serves = Serving::new(scope, &a, 1, echo);
        assert_eq!(b.request(b"up", SOON).unwrap().payload(), "up");
        let c = Link::open(address(&place), options).unwrap();
        assert_eq!(c.next(Duration::from_millis(200)).unwrap_err().code(), Code::Timeout);
        drop(b);
        assert!(!up(&c));
        drop(a_serves);
        assert!(matches!(down(&c), Code::PeerClosed | Code::ConnectionLost));
        let c_serves = Serving::new(scope, &c, 1, echo);
        let next = open(&place);
        assert_eq!(next.request(b"in", SOON).unwrap().payload(), "in");
        assert_eq!(c.is_serving(), Some(true));
        drop(c_serves);
    });
}

/// Drives two links that were opened at the same moment until both are up; exactly one serves.
fn started_together(place: &Place, barrier: &Barrier) -> bool {
    barrier.wait();
    let link = open(place);
    let serving = up(&link);
    // Each asks and answers once, and waits for the other to have done so too.
    let ticket = link.start(b"who", CallOptions::new(), Some(Instant::now() + SOON)).unwrap();
    let (mut asked, mut answered) = (false, false);
    while !(asked && answered) {
        match link.next(Duration::from_millis(1)) {
            Ok(LinkEvent::Message(message)) => {
                link.reply(&message, if serving { b"server" } else { b"client" }).unwrap();
                answered = true;
            }
            Ok(other) => panic!("{other:?}"),
            Err(error) => assert_eq!(error.code(), Code::Timeout, "{error}"),
        }
        if let Some(result) = link.take_result(ticket) {
            assert_eq!(result.unwrap().payload(), if serving { "client" } else { "server" });
            asked = true;
        }
    }
    barrier.wait();
    serving
}

#[test]
fn of_two_that_start_at_the_same_moment_exactly_one_serves() {
    // 1000 with HOSTLANE_LONG=1.
    let rounds = if std::env::var_os("HOSTLANE_LONG").is_some() { 1000 } else { 100 };
    let mut slowest = Duration::ZERO;
    for round in 0..rounds {
        let (place, barrier) = (Place::new(), Barrier::new(2));
        let start = Instant::now();
        let serving = std::thread::scope(|scope| {
            let pair = [(), ()].map(|()| scope.spawn(|| started_together(&place, &barrier)));
            pair.map(|link| link.join().unwrap())
        });
        slowest = slowest.max(start.elapsed());
        assert!(serving[0] != serving[1], "round {round}: {serving:?}");
    }
    println!("{rounds} pairs, the slowest in {slowest:?}");
}

#[cfg(unix)]
#[test]
fn of_two_processes_that_start_at_the_same_moment_exactly_one_serves() {
    let rounds = if std::env::var_os("HOSTLANE_LONG").is_some() { 100 } else { 8 };
    for _ in 0..rounds {
        let place = Place::new();
        let [a, b] = [(), ()].map(|()| Process::start("link", &place.address("link.sock")));
        // A third finds out who of them are there, once one of them has made room.
        let third = open(&place);
        let mut first = None;
        until("a pair or this one is there", || {
            first = third.request(b"?", Duration::from_millis(300)).ok();
            first.is_some() || (third.is_serving().is_none() && place.path("link.sock").exists())
        });
        match first {
            // It was among the first two, which is as good: the third process waits.
            Some(reply) => {
                let name = text(&reply);
                assert!([&a, &b].iter().any(|p| name == format!("{}: ?", p.0.id())), "{name}");
            }
            None => {
                drop(a);
                let reply = third.request(b"?", SOON).unwrap();
                assert_eq!(reply.payload(), &format!("{}: ?", b.0.id()));
            }
        }
    }
}

#[cfg(unix)]
#[test]
fn an_address_that_cannot_be_had_ends_the_link_after_its_retries() {
    let place = Place::new();
    let missing: Address = place.address("missing/link.sock").parse().unwrap();
    let options = || LinkOptions::new().retries(2).delay(Duration::from_millis(20), Duration::from_millis(30));
    let start = Instant::now();
    let link = Link::open(&missing, options()).unwrap();
    let error = link.next(SOON).unwrap_err();
    assert_eq!(error.code(), Code::NotFound);
    // Two pauses of 20 and 30 ms, each shortened by at most a half.
    assert!(start.elapsed() >= Duration::from_millis(25) && start.elapsed() < SOON / 2, "{:?}", start.elapsed());
    for _ in 0..2 {
        assert_eq!(link.next(SOON).unwrap_err().code(), Code::NotFound);
        assert_eq!(link.request(b"?", SOON).unwrap_err().code(), Code::NotFound);
    }
    link.close();
    assert_eq!(link.next(SOON).unwrap_err().code(), Code::NotFound);

    // While it tries, it goes on when the address becomes good, and calls wait for that.
    let options = LinkOptions::new().delay(Duration::from_millis(5), Duration::from_millis(5));
    let link = Link::open(&missing, options).unwrap();
    assert_eq!(link.request(b"?", Duration::from_millis(30)).unwrap_err().code(), Code::Timeout);
    std::fs::create_dir(place.path("missing")).unwrap();
    let other = Link::open(&missing, LinkOptions::new()).unwrap();
    std::thread::scope(|scope| {
        let _other = Serving::new(scope, &other, 1, echo);
        assert_eq!(link.request(b"?", SOON).unwrap().payload(), "?");
    });
}

#[cfg(unix)]
#[test]
fn what_another_attempt_would_not_change_is_told_at_once() {
    let place = Place::new();
    std::fs::write(place.path("link.sock"), "a file").unwrap();
    let error = Link::open(address(&place), LinkOptions::new()).unwrap_err();
    assert_eq!(error.code(), Code::NotASocket);

    let secret = |text: &str| {
        let secret = Secret::new(text).unwrap();
        let (connect, listen) = (ConnectOptions::new(), ListenOptions::new());
        LinkOptions::new().connection(connect.secret(secret.clone()), listen.secret(secret))
    };
    let place = Place::new();
    let (a, b) = (Link::open(address(&place), secret("one")).unwrap(), Link::open(address(&place), secret("two")));
    std::thread::scope(|scope| {
        scope.spawn(|| assert_eq!(a.next(SOON).unwrap_err().code(), Code::Closed));
        assert_eq!(b.unwrap().next(SOON).unwrap_err().code(), Code::AuthenticationFailed);
        a.close();
    });

    let zero = LinkOptions::new().connection(ConnectOptions::new().level(Level::Zero), ListenOptions::new());
    assert_eq!(Link::open(address(&place), zero).unwrap_err().code(), Code::InvalidArgument);
    let backwards = LinkOptions::new().delay(Duration::from_millis(2), Duration::from_millis(1));
    let endless = LinkOptions::new().delay(Duration::MAX, Duration::MAX);
    assert_eq!(Link::open(address(&place), backwards).unwrap_err().code(), Code::InvalidArgument);
    assert_eq!(Link::open(address(&place), endless).unwrap_err().code(), Code::InvalidArgument);
    for fixed in ["fd:3", "stdio:", "spawn:true", "systemd:"] {
        let error = Link::open(fixed, LinkOptions::new()).unwrap_err();
        assert_eq!(error.code(), Code::Unsupported, "{fixed}");
    }
}

#[test]
fn a_link_that_is_not_to_reconnect_ends_with_its_connection() {
    let place = Place::new();
    let a = Link::open(address(&place), LinkOptions::new().reconnect(false)).unwrap();
    let b = open(&place);
    std::thread::scope(|scope| {
        let a = scope.spawn(|| {
            // Its end may have been seen by now as well.
            assert!(matches!(a.next(SOON).unwrap(), LinkEvent::Up { serving: true }));
            let down = down(&a);
            (down, a.next(SOON).unwrap_err().code(), a.request(b"?", SOON).unwrap_err().code())
        });
        assert!(!up(&b));
        drop(b);
        assert_eq!(a.join().unwrap(), (Code::PeerClosed, Code::PeerClosed, Code::PeerClosed));
    });
    // Its address is free.
    assert_eq!(open(&place).is_serving(), Some(true));
}

/// A server that is no link, for tests of what a link does with the failings of the other side.
fn serve_link(place: &Place) -> (Listener, Link) {
    let listener = Listener::bind(&place.address("link.sock")).unwrap();
    let options = LinkOptions::new().delay(Duration::from_millis(5), Duration::from_millis(50));
    (listener, Link::open(address(place), options).unwrap())
}

#[test]
fn a_side_that_takes_whoever_comes_and_ends_is_not_asked_without_a_pause() {
    let place = Place::new();
    let listener = Listener::bind(&place.address("link.sock")).unwrap();
    let taken = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while let Ok(peer) = listener.accept(SOON) {
                taken.fetch_add(1, Ordering::Relaxed);
                peer.close();
            }
        });
        let options = LinkOptions::new().retries(5).delay(Duration::from_millis(20), Duration::from_millis(80));
        let start = Instant::now();
        let link = Link::open(address(&place), options).unwrap();
        let error = loop {
            if let Err(error) = link.next(SOON) {
                break error;
            }
        };
        assert!(matches!(error.code(), Code::PeerClosed | Code::ConnectionLost), "{error}");
        // The first, one more at once, and five after pauses of 20, 40 and 80 ms, each shortened by at most a half.
        assert_eq!(taken.load(Ordering::Relaxed), 7);
        assert!(start.elapsed() >= Duration::from_millis(150), "{:?}", start.elapsed());
        listener.close();
    });
}

#[test]
fn a_call_lost_with_its_connection_is_executed_at_most_once_unless_it_may_be_repeated() {
    let place = Place::new();
    let (listener, link) = serve_link(&place);
    let executed = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            // Every connection dies with its first request, until one that asks for an answer.
            while let Ok(peer) = listener.accept(SOON) {
                while let Ok(request) = peer.recv(SOON) {
                    executed.fetch_add(1, Ordering::Relaxed);
                    let attempt = executed.load(Ordering::Relaxed);
                    if request.payload() == "die" || attempt < 4 {
                        peer.close();
                        continue;
                    }
                    request.reply(request.payload(), SOON).unwrap();
                }
            }
        });
        let error = link.request(b"die", SOON).unwrap_err();
        assert_eq!((error.code(), error.sent()), (Code::ConnectionLost, Sent::Maybe));
        assert_eq!(executed.load(Ordering::Relaxed), 1);
        let repeated = link.request_with(b"again", CallOptions::new().idempotency_key("k"), SOON).unwrap();
        assert_eq!(repeated.payload(), "again");
        assert_eq!(executed.load(Ordering::Relaxed), 4, "it died twice under way");
        assert_eq!(link.request(b"fine", SOON).unwrap().payload(), "fine");
        assert_eq!(executed.load(Ordering::Relaxed), 5);
        listener.close();
        link.close();
    });
}

#[test]
fn a_call_into_a_connection_that_is_gone_waits_for_the_next() {
    let place = Place::new();
    let (listener, link) = serve_link(&place);
    std::thread::scope(|scope| {
        let first = scope.spawn(|| listener.accept(SOON).unwrap());
        assert!(!up(&link));
        // Gone while nobody drives the link, which therefore finds out by writing.
        drop(first.join().unwrap());
        scope.spawn(|| {
            let peer = listener.accept(SOON).unwrap();
            let request = peer.recv(SOON).unwrap();
            request.reply(request.payload(), SOON).unwrap();
            assert_eq!(peer.recv(SOON).unwrap_err().code(), Code::PeerClosed);
        });
        assert_eq!(link.request(b"never left", SOON).unwrap().payload(), "never left");
        link.close();
    });
}

#[test]
fn a_call_to_a_draining_side_waits_for_the_next_connection() {
    let place = Place::new();
    let (listener, link) = serve_link(&place);
    let draining = Barrier::new(2);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let peer = listener.accept(SOON).unwrap();
            let held = peer.recv(SOON).unwrap();
            std::thread::scope(|inner| {
                // It cannot end before its last call is answered.
                let drain = inner.spawn(|| peer.drain(SOON));
                until("the other side knows", || {
                    let sent = link.send(b"one way", CallOptions::new());
                    sent.is_err_and(|error| error.code() == Code::Draining)
                });
                draining.wait();
                draining.wait();
                held.reply(b"the last", SOON).unwrap();
                drain.join().unwrap().unwrap();
            });
            let next = listener.accept(SOON).unwrap();
            let request = next.recv(SOON).unwrap();
            request.reply(b"of the next", SOON).unwrap();
            let _ = next.recv(SOON);
        });
        let last = link.start(b"last", CallOptions::new(), Some(Instant::now() + SOON)).unwrap();
        let driver = scope.spawn(|| while link.next(SOON).is_ok() {});
        draining.wait();
        // The GOAWAY is there or comes while this waits.
        let call = scope.spawn(|| link.request(b"refused", SOON).unwrap());
        let idle = Instant::now();
        while idle.elapsed() < Duration::from_millis(50) && !call.is_finished() {
            std::thread::yield_now();
        }
        draining.wait();
        assert_eq!(call.join().unwrap().payload(), "of the next");
        until("the last call was answered", || match link.take_result(last) {
            None => false,
            Some(result) => result.unwrap().payload() == "the last",
        });
        link.close();
        driver.join().unwrap();
    });
}

#[test]
fn closing_wakes_whoever_waits_and_frees_the_address() {
    let place = Place::new();
    let alone = open(&place);
    std::thread::scope(|scope| {
        let waiters = [
            scope.spawn(|| alone.next(Wait::forever()).map(drop)),
            scope.spawn(|| alone.next(Wait::forever()).map(drop)),
            scope.spawn(|| alone.request(b"nobody is there", Wait::forever()).map(drop)),
        ];
        let started = alone.start(b"nor now", CallOptions::new(), None).unwrap();
        // Whether they wait already or come a moment later makes no difference.
        alone.close();
        alone.close();
        for waiter in waiters {
            assert_eq!(waiter.join().unwrap().unwrap_err().code(), Code::Closed);
        }
        assert_eq!(alone.take_result(started).unwrap().unwrap_err().code(), Code::Closed);
    });
    assert_eq!(alone.is_serving(), None);

    let (a, b) = (open(&place), open(&place));
    std::thread::scope(|scope| {
        let request = scope.spawn(|| b.request(b"unanswered", Wait::forever()).map(drop));
        assert!(up(&a));
        let LinkEvent::Message(_unanswered) = a.next(SOON).unwrap() else { panic!() };
        b.close();
        assert_eq!(request.join().unwrap().unwrap_err().code(), Code::Closed);
        assert_eq!(down(&a), Code::PeerClosed);
    });
    // The last clone closes.
    let clone = a.clone();
    drop(a);
    assert_eq!(clone.is_serving(), Some(true));
    drop(clone);
    assert_eq!(open(&place).is_serving(), Some(true));
}

#[test]
fn messages_nobody_takes_wait_at_the_other_side_in_the_end() {
    let place = Place::new();
    let (a, b) = (open(&place), open(&place));
    const SIZE: usize = 100_000;
    std::thread::scope(|scope| {
        let upped = scope.spawn(|| up(&a));
        up(&b);
        upped.join().unwrap();
        let _b = Serving::new(scope, &b, 1, echo);
        // This side calls all the time, so that everything that comes is read, and takes no message.
        let mut sent = 0u32;
        loop {
            let mut payload = vec![0; SIZE];
            payload[..4].copy_from_slice(&sent.to_le_bytes());
            match b.send(payload, CallOptions::new()) {
                Ok(()) => sent += 1,
                Err(error) => {
                    assert_eq!(error.code(), Code::WouldBlock);
                    break;
                }
            }
            assert_eq!(a.request(b"?", SOON).unwrap().payload(), "?");
            assert!(sent < 1000, "without any bound");
        }
        let queued = a.peer().unwrap().stats().unwrap().receive_queue.bytes;
        assert!(queued <= hostlane::limits::WINDOW_DATA as usize + SIZE, "{queued} bytes");
        // All of them are there, in order, and then it goes on.
        for n in 0..sent {
            let LinkEvent::Message(message) = a.next(SOON).unwrap() else { panic!() };
            assert_eq!((message.payload().len(), &message.payload()[..4]), (SIZE, &n.to_le_bytes()[..]));
        }
        b.send(b"last", CallOptions::new().trace("t")).unwrap();
        let LinkEvent::Message(last) = a.next(SOON).unwrap() else { panic!() };
        assert_eq!((&last.payload()[..], &last.trace().unwrap()[..]), (&b"last"[..], &b"t"[..]));
        assert_eq!(a.send(vec![0; hostlane::limits::MAX_MESSAGE + 1], CallOptions::new()).unwrap_err().code(), {
            Code::PayloadTooLarge
        });
    });
}

#[test]
fn the_end_is_found_although_messages_wait_that_nobody_takes() {
    let place = Place::new();
    let (listener, link) = serve_link(&place);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let peer = listener.accept(SOON).unwrap();
            (0..100u8).for_each(|n| peer.send(Channel::DATA, vec![n], SOON).unwrap());
            // Ends with the call that may be repeated.
            let _lost = peer.recv(SOON).unwrap();
            drop(peer);
            let peer = listener.accept(SOON).unwrap();
            let request = peer.recv(SOON).unwrap();
            request.reply(b"on the second", SOON).unwrap();
            let _ = peer.recv(SOON);
        });
        let options = CallOptions::new().idempotency_key("k");
        assert_eq!(link.request_with(b"?", options, SOON).unwrap().payload(), "on the second");
        assert!(!up(&link));
        for n in 0..100u8 {
            let LinkEvent::Message(message) = link.next(SOON).unwrap() else { panic!() };
            assert_eq!(message.payload()[..], [n]);
        }
        assert!(matches!(down(&link), Code::PeerClosed | Code::ConnectionLost));
        assert!(!up(&link));
        link.close();
    });
}

#[cfg(unix)]
#[test]
fn links_work_over_every_carrier_that_can_be_served_and_connected_to() {
    let secret = || Secret::new("shared").unwrap();
    let uids = [rustix::process::getuid().as_raw()];
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let name = format!("link-{}", std::process::id());
    let plain = LinkOptions::new();
    let proof =
        LinkOptions::new().connection(ConnectOptions::new().secret(secret()), ListenOptions::new().secret(secret()));
    let known =
        LinkOptions::new().connection(ConnectOptions::new().allow_uids(&uids), ListenOptions::new().allow_uids(&uids));
    for (text, options) in
        [(format!("inproc:{name}"), plain), (format!("tcp:127.0.0.1:{free}"), proof), (format!("unix:@{name}"), known)]
    {
        let address: Address = text.parse().unwrap();
        let a = Link::open(&address, options.clone()).unwrap();
        let mut b = Link::open(&address, options.clone()).unwrap();
        for _ in 0..2 {
            std::thread::scope(|scope| {
                let a_up = scope.spawn(|| up(&a));
                assert!(!up(&b), "{text}");
                assert!(a_up.join().unwrap(), "{text}");
                let caller = scope.spawn(|| a.request(b"?", SOON).unwrap());
                let LinkEvent::Message(message) = b.next(SOON).unwrap() else { panic!() };
                b.reply(&message, b"!").unwrap();
                assert_eq!(caller.join().unwrap().payload(), "!");
            });
            b.close();
            assert_eq!(down(&a), Code::PeerClosed);
            b = Link::open(&address, options.clone()).unwrap();
        }
        a.close();
        // The other one takes the address over.
        until("the other serves", || {
            let _ = b.next(Duration::from_millis(5));
            b.is_serving() == Some(true)
        });
    }
}

#[test]
fn a_plain_client_that_speaks_level_1_is_as_good_a_partner() {
    let place = Place::new();
    let link = open(&place);
    std::thread::scope(|scope| {
        let _serving = Serving::new(scope, &link, 1, echo);
        let client = Peer::connect(&place.address("link.sock"), SOON).unwrap();
        assert_eq!(client.request(b"?", SOON).unwrap().payload(), "?");
        // There is one place, and a second client is told so.
        let error = Peer::connect(&place.address("link.sock"), SOON).unwrap_err();
        assert_eq!(error.code(), Code::QueueFull);
        assert!(error.retryable());
        let zero = ConnectOptions::new().level(Level::Zero);
        client.close();
        until("the place is free", || link.peer().is_err());
        let error = Peer::connect_with(&address(&place), &zero, SOON).unwrap_err();
        assert_eq!(error.code(), Code::VersionMismatch);
        // And is free for one that can.
        let client = Peer::connect(&place.address("link.sock"), SOON).unwrap();
        assert_eq!(client.request(b"again", SOON).unwrap().payload(), "again");
    });
}
