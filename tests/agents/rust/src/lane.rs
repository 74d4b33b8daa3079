//! Benchmarks over hostlane.

use std::error::Error;
use std::thread;
use std::time::{Duration, Instant};

use hostlane::{Channel, Code, Listener, Peer, Result, Wait};

use crate::samples::{Samples, stream_json};

const LIMIT: Duration = Duration::from_secs(5);
/// Calls before the clock starts.
const WARM_UP: usize = 100;

pub(crate) fn bench(address: &str, size: usize, time: Duration) -> std::result::Result<(), Box<dyn Error>> {
    let peer = Peer::connect(address, LIMIT)?;
    let payload = vec![0x5a; size];
    let mut samples = Samples::default();
    for _ in 0..WARM_UP {
        peer.start(&payload[..])?.wait(LIMIT)?;
    }
    let end = Instant::now() + time;
    while Instant::now() < end {
        let started = Instant::now();
        let reply = peer.start(&payload[..])?.wait(LIMIT)?;
        samples.add(started.elapsed());
        if reply.payload().len() != size {
            return Err(format!("sent {size} bytes, received {}", reply.payload().len()).into());
        }
    }
    println!("{}", samples.json());
    Ok(())
}

pub(crate) fn stream(address: &str, size: usize, time: Duration) -> std::result::Result<(), Box<dyn Error>> {
    let peer = Peer::connect(address, LIMIT)?;
    let payload = vec![0x5a; size];
    let mut messages = 0;
    let started = Instant::now();
    while started.elapsed() < time {
        peer.send(Channel::DATA, &payload[..], LIMIT)?;
        messages += 1;
    }
    let count = peer.start("count")?.wait(LIMIT)?;
    let took = started.elapsed();
    if count.payload()[..] != *messages.to_string().as_bytes() {
        let count = String::from_utf8_lossy(count.payload());
        return Err(format!("sent {messages} messages, the sink counted {count}").into());
    }
    println!("{}", stream_json(messages, size, took));
    Ok(())
}

pub(crate) fn sink(address: &str) -> std::result::Result<(), Box<dyn Error>> {
    let listener = Listener::bind(address)?;
    println!("ready {address}");
    loop {
        let peer = listener.accept(Wait::forever())?;
        thread::spawn(move || match count(&peer) {
            Err(error) if error.code() != Code::PeerClosed => eprintln!("agent: {error}"),
            _ => {}
        });
    }
}

/// Counts what arrives on DATA; whoever calls is told.
fn count(peer: &Peer) -> Result<()> {
    let mut messages: u64 = 0;
    loop {
        let message = peer.recv(Wait::forever())?;
        if message.channel() == Channel::DATA {
            messages += 1;
        } else {
            message.reply(messages.to_string(), LIMIT)?;
        }
    }
}
