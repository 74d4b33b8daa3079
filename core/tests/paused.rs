//! A connection of level 0 whose reading is paused, because nobody takes what has arrived: there is nothing to poll its
//! socket for, and time goes on all the same.

mod common;

use std::sync::mpsc;
use std::time::{Duration, Instant};

use common::{Place, SOON, pair_on_level_0, until};
use hostlane::{CallOptions, Channel, Code, Peer, Wait, limits};

const LIMIT: Duration = Duration::from_millis(200);

/// Runs `body` with a client whose reading is paused for as long as it takes no message.
fn paused(attached: bool, body: impl FnOnce(&'static Peer)) {
    let (client, server) = pair_on_level_0(&Place::new());
    let (client, server): (&'static Peer, &'static Peer) = (Box::leak(Box::new(client)), Box::leak(Box::new(server)));
    if attached {
        client.attach().unwrap();
    }
    let sender = std::thread::spawn(|| while server.send(Channel::DATA, vec![7; 1 << 20], 3 * SOON).is_ok() {});
    until("reading is paused", || {
        // Takes what has arrived, and none of it.
        assert_eq!(client.recv_on(Channel::ERROR, Duration::from_millis(1)).unwrap_err().code(), Code::Timeout);
        client.stats().unwrap().receive_queue.bytes >= limits::RECV_QUEUE
    });
    body(client);
    client.close();
    sender.join().unwrap();
}

/// A call that nobody answers, whose deadline is its own and not that of the wait: how it ended, and after how long.
fn call(client: &'static Peer, limit: Duration) -> mpsc::Receiver<(Code, Duration)> {
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || {
        let start = Instant::now();
        let options = CallOptions::new().deadline(start + limit);
        let error = client.request_with(b"never answered", options, Wait::forever()).unwrap_err();
        let _ = tell.send((error.code(), start.elapsed()));
    });
    told
}

fn ends_in_time(told: &mpsc::Receiver<(Code, Duration)>, limit: Duration) {
    let (code, took) = told.recv_timeout(SOON).expect("the call ends");
    assert_eq!(code, Code::Timeout);
    assert!(took >= limit && took < SOON / 2, "{took:?} for a deadline of {limit:?}");
}

#[test]
fn a_call_ends_at_its_own_deadline() {
    for attached in [false, true] {
        paused(attached, |client| ends_in_time(&call(client, LIMIT), LIMIT));
    }
}

#[test]
fn a_call_ends_at_its_own_deadline_although_others_wait_longer() {
    for attached in [false, true] {
        paused(attached, |client| {
            std::thread::scope(|scope| {
                let waiting = scope.spawn(|| client.recv_on(Channel::ERROR, 2 * SOON).unwrap_err());
                until("it waits", || client.stats().unwrap().pending_operations == 1);
                ends_in_time(&call(client, LIMIT), LIMIT);
                client.close();
                // A call that was given up ends a connection of level 0.
                waiting.join().unwrap();
            });
        });
    }
}

#[test]
fn a_call_ends_at_its_own_deadline_after_who_kept_the_time_has_left() {
    for attached in [false, true] {
        paused(attached, |client| {
            std::thread::scope(|scope| {
                let waiting = scope.spawn(|| client.recv_on(Channel::ERROR, LIMIT).unwrap_err());
                until("it waits", || client.stats().unwrap().pending_operations == 1);
                let told = call(client, 2 * LIMIT);
                assert_eq!(waiting.join().unwrap().code(), Code::Timeout);
                ends_in_time(&told, 2 * LIMIT);
            });
        });
    }
}
