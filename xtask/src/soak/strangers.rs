//! Clients that are none: they leave amid the handshake, or speak something else.

use std::io::Write;
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use super::plan::Random;
use crate::hex::unhex;
use crate::workspace::Workspace;

/// How many come at a time.
const MANY: u64 = 24;

/// Most bytes of noise; more than any buffer of a handshake.
const NOISE: u64 = 64 << 10;

/// The longest that a stranger waits for a server that takes nothing from it.
const LIMIT: Duration = Duration::from_secs(1);

/// What other programs say first.
const FOREIGN: [&[u8]; 5] = [
    b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n",
    b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03",
    b"SSH-2.0-OpenSSH_9.2p1\r\n",
    b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"initialize\"}\n",
    // The header of a frame that is too large.
    b"IP\xff\xff\xff\xff\x00\x00",
];

/// What the client says at first in a conversation of the vectors: its offer and READY.
pub(super) fn conversation(workspace: &Workspace) -> Result<Vec<u8>> {
    const FILE: &str = "tests/vectors/level1/transcripts.json";
    let file: Value = serde_json::from_str(&workspace.read(FILE)?).context(FILE)?;
    let cases = file["cases"].as_array().context(FILE)?;
    let case = cases.iter().find(|case| case["id"] == "server-opens").context("no case server-opens")?;
    let steps = case["steps"].as_array().context(FILE)?;
    let mut bytes = Vec::new();
    for arrives in steps.iter().map(|step| &step["arrives"]).filter(|arrives| !arrives.is_null()).take(2) {
        let arrives = match arrives {
            Value::Array(pieces) => pieces.clone(),
            one => vec![one.clone()],
        };
        for piece in arrives {
            match (piece.as_str(), piece["text"].as_str()) {
                (Some(digits), _) => bytes.extend(unhex(digits).context(FILE)?),
                (None, Some(text)) => bytes.extend(text.as_bytes()),
                _ => bail!("{FILE}: {piece} is no bytes"),
            }
        }
    }
    Ok(bytes)
}

/// Strangers come, say the beginning of `conversation`, and leave, some at once and the others together at the end.
pub(super) fn vanish(address: &str, conversation: &[u8], random: &mut Random) -> Result<()> {
    let mut staying = Vec::new();
    for _ in 0..MANY {
        let said = random.of(0..conversation.len() as u64 + 1) as usize;
        let mut stranger = connect(address)?;
        say(&mut stranger, &conversation[..said]);
        if random.of(0..2) == 0 {
            staying.push(stranger);
        }
    }
    Ok(())
}

/// Strangers come and make noise: at once, in other protocols, or behind a good beginning.
pub(super) fn garbage(address: &str, conversation: &[u8], random: &mut Random) -> Result<()> {
    for _ in 0..MANY {
        let mut stranger = connect(address)?;
        if random.of(0..3) == 0 {
            say(&mut stranger, random.one(&FOREIGN));
        } else if random.of(0..2) == 0 {
            say(&mut stranger, conversation);
        }
        let noise: Vec<u8> = (0..random.of(1..NOISE)).map(|_| random.next() as u8).collect();
        say(&mut stranger, &noise);
    }
    Ok(())
}

fn connect(address: &str) -> Result<Box<dyn Write>> {
    let stranger: Box<dyn Write> = match address.strip_prefix("tcp:") {
        Some(address) => {
            let stream = TcpStream::connect(address).context("a stranger on TCP")?;
            stream.set_write_timeout(Some(LIMIT))?;
            Box::new(stream)
        }
        None => {
            let path = address.strip_prefix("unix:").unwrap_or(address);
            let stream = UnixStream::connect(path).with_context(|| format!("a stranger at {path}"))?;
            stream.set_write_timeout(Some(LIMIT))?;
            Box::new(stream)
        }
    };
    Ok(stranger)
}

fn say(stranger: &mut Box<dyn Write>, bytes: &[u8]) {
    // A server that has heard enough ends the connection, which is right.
    let _ = stranger.write_all(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_conversation_is_an_offer_and_a_frame_without_a_payload() {
        let bytes = conversation(&Workspace::find().unwrap()).unwrap();
        let offer = 8 + usize::from(bytes[2]) + 256 * usize::from(bytes[3]);
        assert!(bytes.starts_with(b"IP") && bytes.len() == offer + 16, "{bytes:?}");
    }
}
