//! Subscribers of `tracing` that use the very object an event is about, or panic: while one runs, its thread is
//! nobody whom other callers count on.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{Scope, ScopedJoinHandle};

use common::hears::{Fields, Hears};
use common::{Place, SOON, pair, until};
use hostlane::{Bytes, Channel, Link, LinkOptions, Peer, Result, Wait};
use tracing::Level;

/// Runs with a subscriber that acts at the events called `at` on this thread.
fn acting<T>(at: &'static str, act: impl Fn() + Send + Sync + 'static, run: impl FnOnce() -> T) -> T {
    let hear = move |_, fields: Fields| {
        if fields.contains(&("event", format!("{at:?}"))) {
            act();
        }
    };
    tracing::subscriber::with_default(Hears { most: Level::TRACE, hear }, run)
}

/// Enough for the other side to note that its queue is high, and within the credit.
fn flood(peer: &Peer) {
    for _ in 0..14 {
        peer.send(Channel::DATA, vec![0; 256 << 10], SOON).unwrap();
    }
}

fn share(peer: Peer) -> &'static Peer {
    Box::leak(Box::new(peer))
}

#[test]
fn a_leader_whose_subscriber_calls_on_the_same_peer_does_not_wait_for_itself() {
    let place = Place::new();
    let (client, server) = pair(&place);
    let client = share(client);
    let pinged = Arc::new(AtomicBool::new(false));
    std::thread::scope(|scope| {
        // Answers pings.
        scope.spawn(|| server.recv(Wait::forever()).unwrap_err());
        let leader = scope.spawn(|| {
            let pinged = Arc::clone(&pinged);
            let ping = move || {
                client.ping(SOON).unwrap();
                pinged.store(true, Ordering::Relaxed);
            };
            acting("queue_high", ping, || client.recv_on(Channel::ERROR, Wait::from(2 * SOON)))
        });
        until("the leader waits", || client.stats().unwrap().pending_operations == 1);
        flood(&server);
        server.send(Channel::ERROR, b"after", SOON).unwrap();
        assert_eq!(leader.join().unwrap().unwrap().payload().as_ref(), b"after");
        assert!(pinged.load(Ordering::Relaxed));
        client.close();
    });
}

/// Receives on `channel` with a subscriber that acts when the queue is high: whichever of two waits is at the socket
/// hears of it.
fn waits_for<'s>(
    scope: &'s Scope<'s, '_>,
    peer: &'s Peer,
    channel: Channel,
    at: &'static str,
    act: impl Fn() + Send + Sync + 'static,
) -> ScopedJoinHandle<'s, Option<Result<Bytes>>> {
    scope.spawn(move || {
        let wait = || peer.recv_on(channel, Wait::from(2 * SOON)).map(|message| message.payload().clone());
        catch_unwind(AssertUnwindSafe(|| acting(at, act, wait))).ok()
    })
}

#[test]
fn a_subscriber_that_takes_long_keeps_nobody_else_waiting() {
    let place = Place::new();
    let (client, server) = pair(&place);
    let (entered, inside) = mpsc::channel();
    let (go_on, waits) = mpsc::channel::<()>();
    let waits = Arc::new(Mutex::new(waits));
    let long = move || {
        entered.send(()).unwrap();
        waits.lock().unwrap().recv_timeout(2 * SOON).unwrap();
    };
    std::thread::scope(|scope| {
        let waiting = [Channel::ERROR, Channel::TELEMETRY]
            .map(|channel| waits_for(scope, &client, channel, "queue_high", long.clone()));
        until("both wait", || client.stats().unwrap().pending_operations == 2);
        flood(&server);
        inside.recv_timeout(SOON).unwrap();
        server.send(Channel::TELEMETRY, b"meanwhile", SOON).unwrap();
        server.send(Channel::ERROR, b"meanwhile", SOON).unwrap();
        until("the other one goes on", || waiting.iter().any(ScopedJoinHandle::is_finished));
        assert!(waiting.iter().any(|thread| !thread.is_finished()));
        go_on.send(()).unwrap();
        for thread in waiting {
            assert_eq!(thread.join().unwrap().unwrap().unwrap(), "meanwhile");
        }
    });
}

#[test]
fn a_leader_whose_subscriber_panics_leaves_nobody_waiting_and_nothing_behind() {
    let place = Place::new();
    let (client, server) = pair(&place);
    std::thread::scope(|scope| {
        let waiting = [Channel::ERROR, Channel::TELEMETRY]
            .map(|channel| waits_for(scope, &client, channel, "queue_high", || panic!("a subscriber's")));
        until("both wait", || client.stats().unwrap().pending_operations == 2);
        flood(&server);
        until("one panicked", || waiting.iter().any(ScopedJoinHandle::is_finished));
        server.send(Channel::TELEMETRY, b"after", SOON).unwrap();
        server.send(Channel::ERROR, b"after", SOON).unwrap();
        let ends = waiting.map(|thread| thread.join().unwrap());
        let received: Vec<_> = ends.into_iter().flatten().map(Result::unwrap).collect();
        assert_eq!(received, ["after"]);
        assert_eq!(client.stats().unwrap().pending_operations, 0);
    });
    // What is sent without a wait still leaves: nobody is taken for being inside one.
    let call = client.start(vec![1; 1 << 20]).unwrap();
    let request = loop {
        let message = server.recv(SOON).unwrap();
        if message.is_request() {
            break message;
        }
    };
    request.reply(b"done", SOON).unwrap();
    assert_eq!(call.wait(SOON).unwrap().payload().as_ref(), b"done");
}

#[test]
fn everybody_hears_of_an_end_at_which_a_subscriber_panics() {
    let place = Place::new();
    let (client, server) = pair(&place);
    std::thread::scope(|scope| {
        let waiting = [Channel::ERROR, Channel::TELEMETRY]
            .map(|channel| waits_for(scope, &client, channel, "ended", || panic!("a subscriber's")));
        until("both wait", || client.stats().unwrap().pending_operations == 2);
        server.close();
        let ends = waiting.map(|thread| thread.join().unwrap());
        assert!(ends.iter().flatten().all(Result::is_err));
        assert_eq!(ends.iter().flatten().count(), 1);
        assert_eq!(client.stats().unwrap().pending_operations, 0);
    });
}

fn links(place: &Place) -> (Link, Link) {
    let open = || Link::open(&place.address("link.sock"), LinkOptions::new()).unwrap();
    (open(), open())
}

#[test]
fn a_subscriber_may_call_on_the_link_its_thread_drives() {
    let place = Place::new();
    let (first, second) = links(&place);
    let calls = first.clone();
    let called = Arc::new(AtomicBool::new(false));
    std::thread::scope(|scope| {
        let driver = scope.spawn(|| {
            let called = Arc::clone(&called);
            let call = move || {
                assert_eq!(calls.request(b"hello", SOON).unwrap().payload().as_ref(), b"hello");
                called.store(true, Ordering::Relaxed);
            };
            // Not over with what the event tells: it goes on driving behind it.
            acting("link_up", call, || first.request(b"first", Wait::from(2 * SOON)))
        });
        scope.spawn(|| second.serve(|_, message| Ok(message.payload().clone())));
        assert_eq!(driver.join().unwrap().unwrap().payload().as_ref(), b"first");
        assert!(called.load(Ordering::Relaxed));
        second.close();
    });
}

#[test]
fn a_driver_whose_subscriber_panics_leaves_the_link_to_others() {
    // Whichever of two waits drives the link hears of it: in some rounds the one whose subscriber panics.
    let mut panicked = 0;
    for _ in 0..8 {
        let place = Place::new();
        let (first, second) = links(&place);
        std::thread::scope(|scope| {
            let driver = scope.spawn(|| {
                let wait = || first.request(b"lost", Wait::forever());
                catch_unwind(AssertUnwindSafe(|| acting("link_up", || panic!("a subscriber's"), wait))).is_err()
            });
            let waits = scope.spawn(|| first.request(b"hello", SOON).unwrap());
            scope.spawn(|| second.serve(|_, message| Ok(message.payload().clone())));
            panicked += usize::from(driver.join().unwrap());
            assert_eq!(waits.join().unwrap().payload().as_ref(), b"hello");
            second.close();
        });
    }
    assert!(panicked > 0);
}
