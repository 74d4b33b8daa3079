//! `echo ADDR`: serves ADDR and answers every message, and every call, with its own payload.

// README-begin
use std::sync::Arc;
use std::{env, process, thread};

use hostlane::{Code, Listener, Peer, Result, Wait};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

fn main() {
    let Some(address) = env::args().nth(1) else {
        eprintln!("usage: echo ADDR");
        process::exit(64);
    };
    match serve(&address) {
        // `closed`: a signal ended it.
        Err(error) if error.code() != Code::Closed => {
            eprintln!("hostlane: {error}");
            process::exit(1);
        }
        _ => {}
    }
}

fn serve(address: &str) -> Result<()> {
    let listener = Arc::new(Listener::bind(address)?);
    close_on_signal(Arc::clone(&listener));
    println!("ready {address}");
    loop {
        let peer = listener.accept(Wait::forever())?;
        thread::spawn(move || match echo(&peer) {
            Err(error) if error.code() != Code::PeerClosed => eprintln!("{error}"),
            _ => {}
        });
    }
}

fn echo(peer: &Peer) -> Result<()> {
    loop {
        let message = peer.recv(Wait::forever())?;
        match message.reply(message.payload(), Wait::forever()) {
            // Its caller has left, and others come.
            Err(error) if error.code() == Code::CallEnded => {}
            replied => replied?,
        }
    }
}

/// SIGINT and SIGTERM close the listener, which removes its socket and ends the waiting `accept`.
fn close_on_signal(listener: Arc<Listener>) {
    let mut signals = Signals::new([SIGINT, SIGTERM]).expect("signals can be handled");
    thread::spawn(move || {
        signals.forever().next();
        listener.close();
    });
}
// README-end
