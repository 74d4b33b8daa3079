//! Outcomes on their way to JavaScript: numbers and small payloads in memory both sides share, so that a batch crosses the
//! boundary in one call and costs no JavaScript object per field.

use hostlane_bridge::{Bytes, Error, Flat, Outcome, Peer, Result};
use napi::bindgen_prelude::{BufferSlice, Env, Float64Array, ToNapiValue, Uint8Array, sys};

/// Numbers of one outcome: op, kind, a, b (`STRIDE` in native.ts).
const STRIDE: usize = 4;

/// What the kinds are (`Kind` in native.ts, which says what `a` and `b` are).
mod kind {
    pub(super) const FAILED: f64 = 0.0;
    pub(super) const PEER: f64 = 1.0;
    pub(super) const SMALL: f64 = 2.0;
    pub(super) const LARGE: f64 = 3.0;
    pub(super) const SENT: f64 = 4.0;
    pub(super) const PONG: f64 = 5.0;
    pub(super) const DRAINED: f64 = 6.0;
}

/// Where the outcomes of one call are put; valid until the next call that gives outcomes.
pub(crate) struct Exchange {
    slots: Float64Array,
    bytes: Uint8Array,
    /// Outcomes put so far.
    len: usize,
    /// Payload bytes put so far.
    used: usize,
    values: Vec<Option<Value>>,
}

/// What of an outcome is no number.
pub enum Value {
    /// A payload too large for the shared bytes; a `Buffer` of its own.
    Payload(Bytes),
    /// The text and the `sent` of an error.
    Failure(String, &'static str),
}

impl Exchange {
    pub(crate) fn new(slots: Float64Array, bytes: Uint8Array) -> Exchange {
        Exchange { slots, bytes, len: 0, used: 0, values: Vec::new() }
    }

    /// The most outcomes of one call.
    pub(crate) fn capacity(&self) -> usize {
        self.slots.len() / STRIDE
    }

    pub(crate) fn len(&self) -> u32 {
        // A capacity beyond u32 would not fit into memory.
        self.len as u32
    }

    /// Forgets the outcomes of the call before.
    pub(crate) fn begin(&mut self) {
        self.len = 0;
        self.used = 0;
        self.values.clear();
    }

    /// Puts one outcome; `name` gives a new peer its number.
    pub(crate) fn put(&mut self, op: u64, result: Result<Outcome>, name: impl FnOnce(Peer) -> f64) {
        let (kind, a, b) = match result {
            Ok(Outcome::Connected(peer) | Outcome::Accepted(peer)) => (kind::PEER, name(peer), 0.0),
            Ok(Outcome::Message(message) | Outcome::Reply(message)) => {
                let channel = f64::from(message.channel().number());
                let length = message.payload().len();
                if self.put_bytes(message.payload()) {
                    (kind::SMALL, length as f64, channel)
                } else {
                    (kind::LARGE, self.put_value(Value::Payload(message.into_payload())), channel)
                }
            }
            Ok(Outcome::Sent) => (kind::SENT, 0.0, 0.0),
            Ok(Outcome::Pong(round_trip)) => (kind::PONG, round_trip.as_secs_f64() * 1e3, 0.0),
            Ok(Outcome::Drained) => (kind::DRAINED, 0.0, 0.0),
            Ok(other) => {
                let error = Error::new(hostlane_bridge::Code::Internal, format!("no outcome Node knows: {other:?}"));
                self.failure(&error)
            }
            Err(error) => self.failure(&error),
        };
        let at = self.len * STRIDE;
        // SAFETY: the array is plain memory of this environment, kept alive by its reference; only this thread runs JavaScript
        // that could touch it, and not during this call.
        let slots = unsafe { self.slots.as_mut() };
        slots[at..at + STRIDE].copy_from_slice(&[double(op), kind, a, b]);
        self.len += 1;
    }

    fn failure(&mut self, error: &Error) -> (f64, f64, f64) {
        let Flat { number, message, sent, .. } = Flat::from(error);
        (kind::FAILED, f64::from(number), self.put_value(Value::Failure(message, sent)))
    }

    /// The place of the value for `take`.
    fn put_value(&mut self, value: Value) -> f64 {
        self.values.push(Some(value));
        (self.values.len() - 1) as f64
    }

    /// Puts a payload behind the ones before, if there is room.
    fn put_bytes(&mut self, payload: &[u8]) -> bool {
        // SAFETY: as in `put`.
        let bytes = unsafe { self.bytes.as_mut() };
        let Some(room) = bytes.get_mut(self.used..self.used + payload.len()) else { return false };
        room.copy_from_slice(payload);
        self.used += payload.len();
        true
    }

    pub(crate) fn take(&mut self, place: u32) -> Option<Value> {
        self.values.get_mut(place as usize)?.take()
    }
}

impl ToNapiValue for Value {
    unsafe fn to_napi_value(env: sys::napi_env, value: Self) -> napi::Result<sys::napi_value> {
        let environment = Env::from_raw(env);
        match value {
            // A copy, never memory of ours: hosts with a memory cage forbid that, and a kept message must not pin a read buffer.
            Value::Payload(payload) => {
                let buffer = BufferSlice::copy_from(&environment, &payload)?;
                // SAFETY: `env` is the environment of the running call, as it is for the caller.
                unsafe { ToNapiValue::to_napi_value(env, &buffer) }
            }
            Value::Failure(message, sent) => {
                let mut pair = environment.create_array(2)?;
                pair.set(0, message)?;
                pair.set(1, sent)?;
                // SAFETY: as above.
                unsafe { ToNapiValue::to_napi_value(env, pair) }
            }
        }
    }
}

/// Ids and counters count up from 0 and stay below 2^53, where a double is exact.
pub(crate) fn double(value: u64) -> f64 {
    value as f64
}
