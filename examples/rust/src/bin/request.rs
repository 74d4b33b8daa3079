//! `request ADDR TEXT`: calls the server at ADDR and prints its reply.

use std::env;
use std::process::ExitCode;

// README-begin
use std::time::Duration;

use hostlane::{Peer, Result};

fn request(address: &str, text: &str) -> Result<String> {
    let limit = Duration::from_secs(5);
    let peer = Peer::connect(address, limit)?;
    let reply = peer.request(text, limit)?;
    Ok(String::from_utf8_lossy(reply.payload()).into_owned())
}
// README-end

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let [address, text] = &arguments[..] else {
        eprintln!("usage: request ADDR TEXT");
        return ExitCode::from(64);
    };
    match request(address, text) {
        Ok(reply) => {
            println!("{reply}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("hostlane: {}: {}", error.code().name(), error.message());
            ExitCode::FAILURE
        }
    }
}
