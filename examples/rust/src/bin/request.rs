//! `request ADDR TEXT`: calls the server at ADDR and prints its reply.

// README-begin
use std::env;
use std::process::ExitCode;
use std::time::Duration;

use hostlane::{Peer, Result};

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [address, text] = &arguments[..] else {
        eprintln!("usage: request ADDR TEXT");
        return ExitCode::from(64);
    };
    match request(address, text) {
        Ok(reply) => println!("{reply}"),
        Err(error) => {
            eprintln!("hostlane: {error}");
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}

fn request(address: &str, text: &str) -> Result<String> {
    let limit = Duration::from_secs(5);
    let peer = Peer::connect(address, limit)?;
    let reply = peer.request(text, limit)?;
    Ok(String::from_utf8_lossy(reply.payload()).into_owned())
}
// README-end
