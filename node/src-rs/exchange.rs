//! Outcomes on their way to JavaScript: numbers and small payloads in memory both sides share, so that a batch crosses the
//! boundary in one call and costs no JavaScript object per field.

use std::time::Instant;

use hostlane_bridge::{Bytes, Error, Flat};
use napi::bindgen_prelude::{BufferSlice, Env, Float64Array, Object, ToNapiValue, Uint8Array, sys};

/// Numbers of one outcome (`ROW` in native.ts, which says what they are).
pub(crate) const ROW: usize = 9;

/// Payloads above this get a `Buffer` of their own: cutting it from the shared bytes would keep all of those alive.
const OWN: usize = 16 * 1024;

/// What the kinds are (`Kind` in native.ts).
pub(crate) mod kind {
    pub(crate) const FAILED: f64 = 0.0;
    pub(crate) const DONE: f64 = 1.0;
    pub(crate) const PEER: f64 = 2.0;
    pub(crate) const PAYLOAD: f64 = 3.0;
    pub(crate) const PONG: f64 = 4.0;
    pub(crate) const BATCH: f64 = 5.0;
    pub(crate) const STREAM_END: f64 = 6.0;
    pub(crate) const LINK_UP: f64 = 7.0;
    pub(crate) const LINK_DOWN: f64 = 8.0;
}

/// Bits of the last number of a payload; above them the place of its `Marks`.
mod flag {
    pub(super) const OWN: f64 = 1.0;
    pub(super) const STREAM: f64 = 2.0;
    pub(super) const MARKS: f64 = 4.0;
    pub(super) const PLACE: f64 = 8.0;
}

/// Where the outcomes of one call are put; valid until the next call that gives outcomes.
pub(crate) struct Exchange {
    rows: Float64Array,
    /// Small payloads, one behind the other; JavaScript keeps what was put and gives another one in time.
    bytes: Uint8Array,
    /// Payload bytes put so far.
    used: usize,
    /// Outcomes put by this call so far.
    len: usize,
    values: Vec<Option<Value>>,
}

/// What of an outcome is no number.
pub enum Value {
    /// A payload too large for the shared bytes; a `Buffer` of its own.
    Payload(Bytes),
    /// The text, the `sent` and the data of an error.
    Failure(String, &'static str, Vec<u8>),
    /// The trace context, the idempotency key and the number of the descriptors of a message.
    Marks(Option<Bytes>, Option<Bytes>, Option<f64>),
}

/// A payload and what is known about it.
pub(crate) struct Received<'a> {
    pub(crate) channel: u16,
    /// Number of the call to answer, or 0.
    pub(crate) call: f64,
    /// The id of that call in its connection, or 0.
    pub(crate) call_id: u64,
    pub(crate) deadline: Option<Instant>,
    pub(crate) stream: bool,
    pub(crate) trace: Option<&'a Bytes>,
    pub(crate) key: Option<&'a Bytes>,
    /// Number of the descriptors that came along.
    pub(crate) fds: Option<f64>,
}

impl Received<'_> {
    pub(crate) const PLAIN: Received<'static> = Received {
        channel: 0,
        call: 0.0,
        call_id: 0,
        deadline: None,
        stream: false,
        trace: None,
        key: None,
        fds: None,
    };
}

impl Exchange {
    pub(crate) fn new(rows: Float64Array, bytes: Uint8Array) -> Exchange {
        Exchange { rows, bytes, used: 0, len: 0, values: Vec::new() }
    }

    /// The most outcomes of one call.
    pub(crate) fn capacity(&self) -> usize {
        self.rows.len() / ROW
    }

    /// How many more this call can give.
    pub(crate) fn room(&self) -> usize {
        self.capacity() - self.len
    }

    pub(crate) fn len(&self) -> u32 {
        // A capacity beyond u32 would not fit into memory.
        self.len as u32
    }

    /// The next payloads go into other memory.
    pub(crate) fn set_bytes(&mut self, bytes: Uint8Array) {
        self.bytes = bytes;
        self.used = 0;
    }

    /// Forgets the outcomes of the call before.
    pub(crate) fn begin(&mut self) {
        self.len = 0;
        self.values.clear();
    }

    pub(crate) fn failed(&mut self, js: u32, error: &Error) {
        self.error(js, kind::FAILED, error);
    }

    /// The event that the other side of a link is gone.
    pub(crate) fn link_down(&mut self, js: u32, error: &Error) {
        self.error(js, kind::LINK_DOWN, error);
    }

    fn error(&mut self, js: u32, kind: f64, error: &Error) {
        let Flat { number, message, sent, .. } = Flat::from(error);
        let place = self.value(Value::Failure(message, sent, error.data().to_vec()));
        let status = error.status().map_or(-1.0, f64::from);
        self.row([f64::from(js), kind, f64::from(number), place, status, 0.0, 0.0, 0.0, 0.0]);
    }

    /// An outcome that is one number at most.
    pub(crate) fn plain(&mut self, js: u32, kind: f64, value: f64) {
        self.row([f64::from(js), kind, value, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0]);
    }

    /// A payload, or the end of a stream with the payload of its reply.
    pub(crate) fn payload(&mut self, js: u32, kind: f64, payload: &Bytes, received: &Received<'_>) {
        let (at, flags) = match self.put_bytes(payload) {
            Some(at) => (at as f64, 0.0),
            None => (self.value(Value::Payload(payload.clone())), flag::OWN),
        };
        self.payload_row(js, kind, payload.len(), at, flags, received);
    }

    /// The memory for the next small payloads.
    pub(crate) fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: as in `row`; the part from `used` on is not cut yet.
        let bytes = unsafe { self.bytes.as_mut() };
        &mut bytes[self.used..]
    }

    /// A payload that was put into `bytes`, behind the one before.
    pub(crate) fn placed(&mut self, js: u32, len: usize, received: &Received<'_>) {
        let at = self.used as f64;
        self.used += len;
        self.payload_row(js, kind::PAYLOAD, len, at, 0.0, received);
    }

    fn payload_row(&mut self, js: u32, kind: f64, len: usize, at: f64, mut flags: f64, received: &Received<'_>) {
        let &Received { channel, call, call_id, deadline, stream, trace, key, fds } = received;
        if stream {
            flags += flag::STREAM;
        }
        if trace.is_some() || key.is_some() || fds.is_some() {
            flags += flag::MARKS + flag::PLACE * self.value(Value::Marks(trace.cloned(), key.cloned(), fds));
        }
        let left =
            deadline.map_or(f64::INFINITY, |at| at.saturating_duration_since(Instant::now()).as_secs_f64() * 1e3);
        self.row([f64::from(js), kind, f64::from(channel), call, len as f64, at, left, flags, double(call_id)]);
    }

    fn row(&mut self, row: [f64; ROW]) {
        let at = self.len * ROW;
        // SAFETY: the array is plain memory of this environment, kept alive by its reference; only this thread runs JavaScript
        // that could touch it, and not during this call.
        let rows = unsafe { self.rows.as_mut() };
        rows[at..at + ROW].copy_from_slice(&row);
        self.len += 1;
    }

    /// The place of the value for `take`.
    fn value(&mut self, value: Value) -> f64 {
        self.values.push(Some(value));
        (self.values.len() - 1) as f64
    }

    /// Puts a payload behind the ones before, if it is small and there is room: where it begins.
    fn put_bytes(&mut self, payload: &[u8]) -> Option<usize> {
        if payload.len() > OWN {
            return None;
        }
        let at = self.used;
        self.bytes().get_mut(..payload.len())?.copy_from_slice(payload);
        self.used += payload.len();
        Some(at)
    }

    pub(crate) fn take(&mut self, place: u32) -> Option<Value> {
        self.values.get_mut(place as usize)?.take()
    }
}

impl ToNapiValue for Value {
    unsafe fn to_napi_value(env: sys::napi_env, value: Self) -> napi::Result<sys::napi_value> {
        let environment = Env::from_raw(env);
        // A copy, never memory of ours: hosts with a memory cage forbid that, and a kept message must not pin a read buffer.
        let buffer = |bytes: &[u8]| BufferSlice::copy_from(&environment, bytes);
        match value {
            Value::Payload(payload) => {
                let buffer = buffer(&payload)?;
                // SAFETY: `env` is the environment of the running call, as it is for the caller.
                unsafe { ToNapiValue::to_napi_value(env, &buffer) }
            }
            Value::Failure(message, sent, data) => {
                let mut failure = environment.create_array(3)?;
                failure.set(0, message)?;
                failure.set(1, sent)?;
                failure.set(2, &buffer(&data)?)?;
                // SAFETY: as above.
                unsafe { ToNapiValue::to_napi_value(env, failure) }
            }
            Value::Marks(trace, key, fds) => {
                let mut marks = Object::new(&environment)?;
                if let Some(trace) = trace {
                    marks.set("trace", &buffer(&trace)?)?;
                }
                if let Some(key) = key {
                    marks.set("idempotencyKey", &buffer(&key)?)?;
                }
                if let Some(fds) = fds {
                    marks.set("fds", fds)?;
                }
                // SAFETY: as above.
                unsafe { ToNapiValue::to_napi_value(env, marks) }
            }
        }
    }
}

/// Ids and counters count up from 0 and stay below 2^53, where a double is exact.
pub(crate) fn double(value: u64) -> f64 {
    value as f64
}
