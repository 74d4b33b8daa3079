//! Chains: messages that each carry their number and the SHA-256 over themselves and all before, so that whoever receives
//! them knows what is missing, what came twice, in another order or changed. See docs/soak.md.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hostlane::{Channel, Peer, Result};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::asked::Asked;
use crate::plant::{self, Plant};

/// The chains that arrive at an end, by name.
#[derive(Default)]
pub(crate) struct Chains(Mutex<HashMap<String, Came>>);

/// What came of a chain.
#[derive(Default)]
struct Came {
    /// The number that is due.
    next: u64,
    head: String,
    lost: u64,
    doubled: u64,
    reordered: u64,
    corrupted: u64,
}

impl Chains {
    /// Takes a message into account; false if it is of no chain.
    pub(crate) fn take(&self, message: &[u8]) -> bool {
        let parts: Vec<&[u8]> = message.splitn(5, |byte| *byte == b' ').collect();
        let [b"chain", name, number, head, body] = parts[..] else { return false };
        let [name, number, head] = [name, number, head].map(String::from_utf8_lossy);
        let Ok(number) = number.parse::<u64>() else { return false };
        plant::leak();
        let mut all = self.all();
        let came = all.entry(name.clone().into_owned()).or_default();
        if number < came.next {
            // It fills a gap if there is one.
            if came.lost > 0 {
                came.lost -= 1;
                came.reordered += 1;
            } else {
                came.doubled += 1;
            }
            return true;
        }
        came.lost += number - came.next;
        if number == came.next && head != head_of(&came.head, &name, number, body) {
            came.corrupted += 1;
        }
        came.next = number + 1;
        came.head = head.into_owned();
        true
    }

    /// What came of a chain so far.
    pub(crate) fn report(&self, name: &str) -> Value {
        let all = self.all();
        let none = Came::default();
        let came = all.get(name).unwrap_or(&none);
        json!({
            "next": came.next, "head": came.head, "lost": came.lost, "doubled": came.doubled,
            "reordered": came.reordered, "corrupted": came.corrupted,
        })
    }

    pub(crate) fn forget(&self) {
        self.all().clear();
    }

    fn all(&self) -> MutexGuard<'_, HashMap<String, Came>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The head of a message behind another.
fn head_of(before: &str, name: &str, number: u64, body: &[u8]) -> String {
    let digest = Sha256::new().chain_update(before).chain_update(format!("{name} {number} ")).chain_update(body);
    digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A chain that is sent.
struct Chain<'a> {
    name: &'a str,
    /// A body has up to two to this power bytes.
    bits: u32,
    random: u32,
    head: String,
    /// Messages that were sent, and what of them came back otherwise.
    next: u64,
    wrong: u64,
    bytes: u64,
}

/// Sends a chain, and tells how far it came.
pub(crate) fn extend(peer: &Peer, asked: &Asked) -> Value {
    let small = |name: &str| u32::try_from(asked.number(name, 0)).unwrap_or(u32::MAX);
    let mut chain = Chain {
        name: asked.text("chain"),
        bits: small("bits"),
        random: small("seed"),
        head: String::new(),
        next: 0,
        wrong: 0,
        bytes: 0,
    };
    let (error, sent) = match chain.send(peer, asked) {
        Ok(()) => ("", ""),
        Err(error) => (error.code().name(), error.sent().name()),
    };
    json!({
        "next": chain.next, "head": chain.head, "bytes": chain.bytes, "wrong": chain.wrong, "error": error, "sent": sent,
    })
}

impl Chain<'_> {
    fn send(&mut self, peer: &Peer, asked: &Asked) -> Result<()> {
        let stream = match asked.text("how") {
            "stream" => Some(peer.open_stream("stream echo", asked.call_options()?)?),
            _ => None,
        };
        let mut plant = Plant::default();
        for number in 0..asked.number("count", 0) {
            for message in plant.instead_of(number, self.message(number)) {
                let back = match (asked.text("how"), &stream) {
                    (_, Some(stream)) => {
                        stream.send(message.clone(), asked.wait())?;
                        stream.recv(asked.wait())?
                    }
                    ("call", _) => {
                        let call = peer.start_with(message.clone(), asked.call_options()?)?;
                        Some(call.wait(asked.wait())?.into_payload())
                    }
                    _ => {
                        peer.send(asked.channel("channel", Channel::DATA)?, message, asked.wait())?;
                        continue;
                    }
                };
                self.wrong += u64::from(back.is_none_or(|back| back[..] != message[..]));
            }
            self.next += 1;
        }
        if let Some(stream) = stream {
            stream.finish(asked.wait())?;
            self.wrong += u64::from(stream.recv(asked.wait())?.is_some());
        }
        Ok(())
    }

    /// The next message.
    fn message(&mut self, number: u64) -> Vec<u8> {
        self.random = self.random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        let width = (self.random >> 27) % (self.bits + 1);
        let size = u64::from(self.random >> 7) & ((1 << width) - 1);
        let body: Vec<u8> = (number..number + size).map(|byte| (byte % 251) as u8).collect();
        self.head = head_of(&self.head, self.name, number, &body);
        let mut message = format!("chain {} {number} {} ", self.name, self.head).into_bytes();
        message.extend(body);
        self.bytes += message.len() as u64;
        message
    }
}
