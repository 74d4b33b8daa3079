//! What happens to connections, for a program's own log.

use std::ffi::{c_char, c_void};

use hostlane_bridge::log::{self, Level, LogEvent};
use hostlane_bridge::{Code, Error};

use crate::abi::hostlane_status_t;
use crate::args::{self, Out, call};
use crate::error::hostlane_error_t;
use crate::status::HOSTLANE_OK;

/// Nothing is kept, as at the beginning. Of no event.
pub const HOSTLANE_LOG_OFF: i32 = 0;
/// Something the program needs has stopped.
pub const HOSTLANE_LOG_ERROR: i32 = 1;
/// Something was refused, lost or is about to be.
pub const HOSTLANE_LOG_WARN: i32 = 2;
/// The ordinary course of a connection.
pub const HOSTLANE_LOG_INFO: i32 = 3;
/// Every attempt.
pub const HOSTLANE_LOG_DEBUG: i32 = 4;
/// The events that are kept until they are drained; above that the oldest go.
pub const HOSTLANE_LOG_EVENTS: usize = 1024;
const _: () = assert!(HOSTLANE_LOG_EVENTS == hostlane_bridge::limits::LOG_EVENTS);

/// One event of the log. Texts are UTF-8, followed by a NUL, and readable until hostlane_log_events_free(). Addresses and
/// peer ids are in them, payloads and secrets never.
#[repr(C)]
pub struct hostlane_log_event_t {
    /// When, in microseconds since the beginning of 1970 (UTC), by the system's clock.
    pub unix_micros: u64,
    /// How much it matters: HOSTLANE_LOG_ERROR to HOSTLANE_LOG_DEBUG.
    pub level: i32,
    /// Why, where there is a reason; otherwise HOSTLANE_OK.
    pub code: hostlane_status_t,
    /// What happened, such as "connected"; the same name in every language.
    pub event: *const c_char,
    /// The peer id of the connection; empty where there is none yet.
    pub peer: *const c_char,
    /// Length of `peer`, in bytes.
    pub peer_len: usize,
    /// The address connected to, or the listener's.
    pub address: *const c_char,
    /// Length of `address`, in bytes.
    pub address_len: usize,
    /// The details, for people.
    pub text: *const c_char,
    /// Length of `text`, in bytes.
    pub text_len: usize,
    /// What the texts point into; freed by hostlane_log_events_free().
    pub memory: *mut c_void,
}

/// The texts of one event, each with a NUL behind it.
struct Texts(Vec<u8>);

/// Keeps the events of `level` and of what matters more from now on; those kept already stay. For the whole process. At
/// most HOSTLANE_LOG_EVENTS are kept. Errors: HOSTLANE_E_INVALID_ARGUMENT for what is none of HOSTLANE_LOG_.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_log_enable(level: i32, err: *mut *mut hostlane_error_t) -> hostlane_status_t {
    call(err, || {
        let known = u8::try_from(level).ok().and_then(Level::from_number);
        log::enable(
            known
                .ok_or_else(|| Error::new(Code::InvalidArgument, format!("level: {level} is none of HOSTLANE_LOG_")))?,
        );
        Ok(())
    })
}

/// What is kept now: HOSTLANE_LOG_OFF and so on.
#[unsafe(no_mangle)]
pub extern "C" fn hostlane_log_level() -> i32 {
    log::level() as i32
}

/// Takes at most `cap` of the kept events, oldest first, into `events`; `*n` gets their number, 0 when there are none.
/// `*dropped` (may be NULL) gets the number of those that were dropped since the last time, because nobody took them: the
/// oldest go first. Never waits. Free the events with hostlane_log_events_free().
/// Errors: HOSTLANE_E_INVALID_ARGUMENT, also when `cap` is 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_log_drain(
    events: *mut hostlane_log_event_t,
    cap: usize,
    n: *mut usize,
    dropped: *mut u64,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    call(err, || {
        // SAFETY: the contract of the header for `events` and `n`.
        let (_, n) = unsafe { (Out::new(events, "events")?, Out::new(n, "n")?) };
        if cap == 0 {
            return Err(Error::new(Code::InvalidArgument, "cap is 0: no event could be handed out"));
        }
        let mut taken = Vec::new();
        let lost = log::drain_at_most(&mut taken, cap);
        n.set(taken.len());
        for (at, event) in taken.iter().enumerate() {
            // SAFETY: at most `cap` of them, writable by the contract of the header.
            unsafe { events.add(at).write(flat(event)) };
        }
        if !dropped.is_null() {
            // SAFETY: not null, so writable by the contract of the header.
            unsafe { dropped.write(lost) };
        }
        Ok(())
    })
}

/// Frees the texts of `n` events and nulls their pointers. NULL does nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_log_events_free(events: *mut hostlane_log_event_t, n: usize) {
    if events.is_null() {
        return;
    }
    for at in 0..n {
        // SAFETY: `n` events written by the library, by the contract of the header.
        let event = unsafe { &mut *events.add(at) };
        let mut texts = event.memory.cast::<Texts>();
        // SAFETY: null or from `flat`, which made it of a box; freed once, because it is nulled.
        unsafe { args::free(&raw mut texts) };
        event.memory = std::ptr::null_mut();
        for text in [&mut event.event, &mut event.peer, &mut event.address, &mut event.text] {
            *text = std::ptr::null();
        }
        (event.peer_len, event.address_len, event.text_len) = (0, 0, 0);
    }
}

fn flat(event: &LogEvent) -> hostlane_log_event_t {
    let parts = [event.event.name(), &event.peer, &event.address, &event.text];
    let mut texts = Texts(Vec::with_capacity(parts.iter().map(|part| part.len() + 1).sum()));
    for part in parts {
        texts.0.extend_from_slice(part.as_bytes());
        texts.0.push(0);
    }
    let texts = Box::new(texts);
    let mut rest = &texts.0[..];
    let [name, peer, address, text] = parts.map(|part| {
        let start = rest.as_ptr().cast::<c_char>();
        rest = &rest[part.len() + 1..];
        start
    });
    hostlane_log_event_t {
        unix_micros: event.unix_micros,
        level: event.level as i32,
        code: event.code.map_or(HOSTLANE_OK, Code::number),
        event: name,
        peer,
        peer_len: event.peer.len(),
        address,
        address_len: event.address.len(),
        text,
        text_len: event.text.len(),
        memory: Box::into_raw(texts).cast(),
    }
}
