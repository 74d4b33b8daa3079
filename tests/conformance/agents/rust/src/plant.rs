//! What this agent does wrong when it is asked to, so that whoever has to find it is seen to find it.

use std::fs::File;
use std::sync::{Mutex, PoisonError};

static WHAT: Mutex<String> = Mutex::new(String::new());

/// The message of a chain at which it is done.
const AT: u64 = 3;

/// From now on `what` is done wrong; nothing, if that is empty.
pub(crate) fn plant(what: &str) {
    what.clone_into(&mut WHAT.lock().unwrap_or_else(PoisonError::into_inner));
}

fn is(what: &str) -> bool {
    *WHAT.lock().unwrap_or_else(PoisonError::into_inner) == what
}

/// Lets a descriptor go that nobody will close.
pub(crate) fn leak() {
    if is("leak") {
        std::mem::forget(File::open("/dev/null"));
    }
}

/// A reply, or what is given instead.
pub(crate) fn reply(payload: &hostlane::Bytes) -> hostlane::Bytes {
    match is("answer") {
        true => [payload, &b"!"[..]].concat().into(),
        false => payload.clone(),
    }
}

/// The sender of a chain.
#[derive(Default)]
pub(crate) struct Plant {
    held: Option<Vec<u8>>,
}

impl Plant {
    /// What is sent instead of a message.
    pub(crate) fn instead_of(&mut self, number: u64, mut message: Vec<u8>) -> Vec<Vec<u8>> {
        if number != AT {
            return [message].into_iter().chain(self.held.take()).collect();
        }
        if is("lost") {
            return Vec::new();
        }
        if is("reordered") {
            self.held = Some(message);
            return Vec::new();
        }
        if is("corrupted") {
            message.push(b'!');
        }
        let again = is("doubled").then(|| message.clone());
        [message].into_iter().chain(again).collect()
    }
}
