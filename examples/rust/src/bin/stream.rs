//! `stream ADDR`: one program that serves sums over a stream, and asks for one.

// README-begin
use std::time::Duration;
use std::{env, process, thread};

use hostlane::{CallOptions, Listener, Peer, Result, Wait};

const LIMIT: Duration = Duration::from_secs(5);

fn main() {
    let Some(address) = env::args().nth(1) else {
        eprintln!("usage: stream ADDR");
        process::exit(64);
    };
    if let Err(error) = run(&address) {
        eprintln!("hostlane: {error}");
        process::exit(1);
    }
}

fn run(address: &str) -> Result<()> {
    let listener = Listener::bind(address)?;
    let served = thread::spawn(move || serve(&listener.accept(LIMIT)?));
    ask(&Peer::connect(address, LIMIT)?)?;
    served.join().expect("the server does not panic")
}

fn serve(peer: &Peer) -> Result<()> {
    let request = peer.recv(LIMIT)?;
    let stream = request.stream().expect("the request opens a stream");
    let mut sum = number(request.payload());
    while let Some(item) = stream.recv(LIMIT)? {
        sum += number(&item);
        stream.send(format!("{sum} so far"), LIMIT)?;
    }
    request.reply(sum.to_string(), LIMIT)?;
    peer.drain(LIMIT)
}

fn ask(peer: &Peer) -> Result<()> {
    let stream = peer.open_stream("100", CallOptions::new())?;
    for n in 1..=3 {
        stream.send(n.to_string(), LIMIT)?;
    }
    stream.finish(LIMIT)?;
    while let Some(item) = stream.recv(Wait::forever())? {
        println!("{}", String::from_utf8_lossy(&item));
    }
    println!("the sum is {}", number(&stream.reply().unwrap_or_default()));
    peer.drain(LIMIT)
}

fn number(text: &[u8]) -> u64 {
    String::from_utf8_lossy(text).parse().unwrap_or_default()
}
// README-end
