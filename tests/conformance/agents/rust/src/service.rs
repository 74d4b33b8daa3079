//! What answers the other side: the first word of a request says how.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use hostlane::{CallOptions, Channel, Code, Message, Peer, Result};
use serde_json::{Value, json};

use crate::asked::Asked;
use crate::chain::{Chains, extend};
use crate::plant;

/// The longest wait of a handler.
const WAIT: Duration = Duration::from_secs(20);

/// The service of one end, and what it has seen.
#[derive(Default)]
pub(crate) struct Service {
    /// What came of the chains of the other side.
    pub(crate) chains: Chains,
    seen: Mutex<Seen>,
    held: Mutex<Vec<Message>>,
}

#[derive(Default)]
struct Seen {
    requests: u64,
    cancelled: u64,
    messages: u64,
    disordered: u64,
    last: HashMap<u16, i64>,
    error: String,
}

impl Service {
    /// Serves until the connection ends; every request but those that are held in a thread of its own.
    pub(crate) fn serve(self: &Arc<Service>, peer: &Arc<Peer>) {
        while let Ok(message) = peer.recv(hostlane::Wait::forever()) {
            let chained = self.chains.take(message.payload());
            // A call of level 0 is a plain message.
            if !message.is_request() && message.channel() != Channel::COMMAND {
                if !chained {
                    self.count(&message);
                }
                continue;
            }
            self.seen().requests += 1;
            if message.payload().starts_with(b"hold ") {
                self.hold(message);
                continue;
            }
            let (service, peer) = (self.clone(), peer.clone());
            thread::spawn(move || {
                if let Err(error) = service.answer(&peer, &message) {
                    service.seen().error = error.code().name().to_owned();
                }
            });
        }
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One-way messages begin with a number that grows along their channel.
    fn count(&self, message: &Message) {
        let text = String::from_utf8_lossy(message.payload());
        let number = text.split('.').next().and_then(|number| number.parse().ok()).unwrap_or(-1);
        let mut seen = self.seen();
        seen.messages += 1;
        let last = seen.last.insert(message.channel().number(), number).unwrap_or(-1);
        seen.disordered += u64::from(number <= last);
    }

    /// `hold N SEED`: answers nobody before the Nth has come, then all in a random order.
    fn hold(&self, message: Message) {
        let text = String::from_utf8_lossy(message.payload()).into_owned();
        let mut numbers = text.split(' ').skip(1).map(|word| word.parse().unwrap_or(0_u32));
        let (wanted, mut random) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.push(message);
        if held.len() < wanted as usize {
            return;
        }
        for last in (1..held.len()).rev() {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            held.swap(last, (random >> 8) as usize % (last + 1));
        }
        for message in held.drain(..) {
            if let Err(error) = message.reply(message.payload().clone(), WAIT) {
                self.seen().error = error.code().name().to_owned();
            }
        }
    }

    fn answer(&self, peer: &Peer, message: &Message) -> Result<()> {
        let payload = message.payload();
        let text = String::from_utf8_lossy(payload);
        let (verb, rest) = text.split_once(' ').unwrap_or((&text, ""));
        match verb {
            "tell" => message.reply(told(message), WAIT),
            "sleep" => {
                thread::sleep(Duration::from_millis(rest.parse().unwrap_or(0)));
                message.reply(payload.clone(), WAIT)
            }
            "watch" => {
                message.wait_cancelled(WAIT)?;
                self.seen().cancelled += 1;
                Ok(())
            }
            "fail" => {
                let (code, data) = rest.split_once(' ').unwrap_or((rest, ""));
                match message.fail(code.parse().unwrap_or(0), data.to_owned(), WAIT) {
                    Err(error) if error.code() == Code::Unsupported => message.reply("unsupported", WAIT),
                    outcome => outcome,
                }
            }
            "abandon" => Ok(()),
            "close" => {
                peer.close();
                Ok(())
            }
            "back" => {
                let mut options = CallOptions::new();
                if let Some(deadline) = message.deadline() {
                    options = options.deadline(deadline);
                }
                let reply = peer.start_with(rest.to_owned(), options)?.wait(WAIT)?;
                message.reply(reply.into_payload(), WAIT)
            }
            "stream" => self.stream(message, rest),
            "extend" => {
                let asked = serde_json::from_str(rest).unwrap_or_default();
                message.reply(extend(peer, &Asked(asked)).to_string(), WAIT)
            }
            _ => message.reply(plant::reply(payload), WAIT),
        }
    }

    /// `stream echo`: every item goes back. `stream N`: N items once the caller has finished. The reply is the count.
    fn stream(&self, message: &Message, how: &str) -> Result<()> {
        let Some(stream) = message.stream() else { return message.reply("no stream", WAIT) };
        let mut count = 0;
        while let Some(item) = stream.recv(WAIT)? {
            count += 1;
            self.chains.take(&item);
            if how == "echo" {
                stream.send(plant::reply(&item), WAIT)?;
            }
        }
        for number in 0..how.parse().unwrap_or(0) {
            stream.send(number.to_string(), WAIT)?;
        }
        message.reply(count.to_string(), WAIT)
    }

    /// What came from the other side so far.
    pub(crate) fn report(&self) -> Value {
        let seen = self.seen();
        json!({
            "requests": seen.requests,
            "cancelled": seen.cancelled,
            "messages": seen.messages,
            "ordered": seen.disordered == 0,
            "error": seen.error,
        })
    }
}

/// `tell`: what came beside the payload.
fn told(message: &Message) -> String {
    let or_none = |bytes: Option<&hostlane::Bytes>| match bytes {
        Some(bytes) => String::from_utf8_lossy(bytes).into_owned(),
        None => "-".to_owned(),
    };
    let deadline = if message.deadline().is_some() { "deadline" } else { "-" };
    let (key, trace) = (or_none(message.idempotency_key()), or_none(message.trace()));
    format!("{key} {trace} {deadline} {}", message.channel().number())
}
