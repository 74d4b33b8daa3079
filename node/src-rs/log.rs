//! The log of the core, handed over on the JavaScript thread when JavaScript asks.

use hostlane_bridge::{Code, log};
use napi_derive::napi;

/// One event.
#[napi(object, object_from_js = false)]
pub struct NativeLogEvent {
    /// Milliseconds since the beginning of 1970.
    pub time: f64,
    /// `error`, `warn`, `info` or `debug`.
    pub level: &'static str,
    /// What happened.
    pub event: &'static str,
    /// The id of the connection, or empty.
    pub peer: String,
    /// The address connected to, or the listener's.
    pub address: String,
    /// The kind of the error that is the reason.
    pub code: Option<&'static str>,
    /// The details, for people.
    pub text: String,
    /// Events that were dropped in front of this one.
    pub dropped: f64,
}

/// Keeps events of a level from now on, 0 for none to 4 for all; JavaScript has checked it.
#[napi(catch_unwind)]
pub fn log_enable(level: u8) {
    log::enable(log::Level::from_number(level).unwrap_or_default());
}

/// The events that are kept, oldest first.
#[napi(catch_unwind)]
pub fn log_drain() -> Vec<NativeLogEvent> {
    let mut events = Vec::new();
    // Where events were dropped the queue is full, so there is one to tell it with.
    let mut dropped = log::drain(&mut events) as f64;
    let events = events.into_iter().map(|event| NativeLogEvent {
        time: event.unix_micros as f64 / 1e3,
        level: event.level.name(),
        event: event.event.name(),
        peer: event.peer,
        address: event.address,
        code: event.code.map(Code::name),
        text: event.text,
        dropped: std::mem::take(&mut dropped),
    });
    events.collect()
}
