//! Many threads send batches, call and send one by one on one connection, whose other side takes batches on one
//! thread: nothing is lost, and nobody sleeps through what was meant for it.

mod common;

use std::collections::HashMap;
use std::time::{Duration, Instant};

use common::{Dice, Place, pair_with};
use hostlane::{Batch, Channel, Code, ConnectOptions, ListenOptions, Peer, Spin};

const THREADS: u64 = 12;
const ROUNDS: u32 = 40;
/// Tells the server that a thread has sent its last.
const LAST: u32 = u32::MAX;

/// A wait that only a lost wake-up outlasts.
const HANG: Duration = Duration::from_secs(20);

/// Gives what `wait` does, which must not have been woken by its deadline.
fn prompt<T>(wait: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let result = wait();
    assert!(start.elapsed() < HANG, "it took {:?}: it was woken by its deadline", start.elapsed());
    result
}

fn payload(thread: u64, number: u32, len: usize) -> Vec<u8> {
    let mut payload = vec![0; len.max(12)];
    payload[..8].copy_from_slice(&thread.to_le_bytes());
    payload[8..12].copy_from_slice(&number.to_le_bytes());
    payload
}

/// What one client thread does: batches whose messages are numbered, calls, sends, and calls that are given up.
fn client(peer: &Peer, thread: u64, seed: u64) {
    let mut dice = Dice(seed ^ (thread + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15));
    let mut number = 0;
    let mut next = |len| {
        number += 1;
        payload(thread, number - 1, len)
    };
    for _ in 0..ROUNDS {
        match dice.roll() % 8 {
            0..=2 => {
                let batch: Vec<Vec<u8>> = (0..1 + dice.roll() % 100)
                    .map(|_| next(if dice.roll().is_multiple_of(40) { 100_000 } else { (dice.roll() % 300) as usize }))
                    .collect();
                prompt(|| peer.send_batch(Channel::DATA, batch.iter().map(|p| &p[..]), HANG)).unwrap();
            }
            3 => {
                let payload = next((dice.roll() % 3000) as usize);
                prompt(|| peer.send(Channel::DATA, payload, HANG)).unwrap();
            }
            4 => {
                // Several at once, waited for in the wrong order.
                let calls: Vec<_> = (0..4u8).map(|n| (n, peer.start(vec![n; 70]).unwrap())).collect();
                for (n, call) in calls.into_iter().rev() {
                    assert_eq!(prompt(|| call.wait(HANG)).unwrap().payload()[..], vec![n; 70]);
                }
            }
            5 => drop(peer.start(vec![9; 30]).unwrap()),
            _ => {
                let len = 1 + if dice.roll().is_multiple_of(20) { 200_000 } else { (dice.roll() % 64) as usize };
                assert_eq!(prompt(|| peer.request(vec![7; len], HANG)).unwrap().payload().len(), len);
            }
        }
    }
    let last = payload(thread, LAST, 12);
    prompt(|| peer.send_batch(Channel::DATA, [&last[..]], HANG)).unwrap();
}

/// Takes batches and answers, until every thread has sent its last.
fn server(peer: &Peer) {
    let (mut batch, mut expected, mut ended) = (Batch::new(), HashMap::new(), 0);
    while ended < THREADS {
        prompt(|| peer.recv_batch(&mut batch, 256, HANG)).unwrap();
        for message in batch.iter() {
            if message.is_request() {
                // Its caller may have given it up.
                if let Err(error) = prompt(|| message.reply(message.payload(), HANG)) {
                    assert_eq!(error.code(), Code::CallEnded);
                }
                continue;
            }
            let thread = u64::from_le_bytes(message.payload()[..8].try_into().unwrap());
            let number = u32::from_le_bytes(message.payload()[8..12].try_into().unwrap());
            if number == LAST {
                ended += 1;
                continue;
            }
            let expected = expected.entry(thread).or_insert(0);
            assert_eq!(number, *expected, "of thread {thread}");
            *expected += 1;
        }
    }
}

fn mixed(spin: Spin, attached: bool, seed: u64) {
    let place = Place::new();
    let (client_side, server_side) =
        pair_with(&place, &ConnectOptions::new().spin(spin), &ListenOptions::new().spin(spin));
    if attached {
        client_side.attach().unwrap();
        server_side.attach().unwrap();
    }
    std::thread::scope(|scope| {
        scope.spawn(|| server(&server_side));
        for thread in 0..THREADS {
            let client_side = &client_side;
            scope.spawn(move || client(client_side, thread, seed));
        }
    });
}

#[test]
fn batches_calls_and_sends_of_many_threads_end_before_any_deadline() {
    let rounds: u64 = std::env::var("HOSTLANE_ROUNDS").map_or(2, |rounds| rounds.parse().unwrap());
    for round in 0..rounds {
        for (spin, attached) in [(Spin::Auto, false), (Spin::Off, false), (Spin::Auto, true)] {
            mixed(spin, attached, round + 1);
        }
    }
}
