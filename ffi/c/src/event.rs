//! What a context hands out.

use hostlane_bridge::{Code, Completion, Error, Outcome, Started};

use crate::abi::hostlane_status_t;
use crate::error::hostlane_error_t;
use crate::message::hostlane_message_t;
use crate::objects;
use crate::peer::hostlane_peer_t;
use crate::status::HOSTLANE_OK;

/// The operation goes on; it finishes as a later event with the same `op`.
pub const HOSTLANE_EVENT_PENDING: i32 = 0;
/// A connect finished: `peer`.
pub const HOSTLANE_EVENT_CONNECTED: i32 = 1;
/// An accept finished: `peer`.
pub const HOSTLANE_EVENT_ACCEPTED: i32 = 2;
/// A receive finished: `message`, `channel`, `data`, `len`.
pub const HOSTLANE_EVENT_MESSAGE: i32 = 3;
/// A request finished: `message`, `channel`, `data`, `len` of the reply.
pub const HOSTLANE_EVENT_REPLY: i32 = 4;
/// A send finished.
pub const HOSTLANE_EVENT_SENT: i32 = 5;
/// A ping finished: `rtt_ns`.
pub const HOSTLANE_EVENT_PONG: i32 = 6;
/// A drain finished.
pub const HOSTLANE_EVENT_DRAINED: i32 = 7;
/// The operation failed: `status`, `error`.
pub const HOSTLANE_EVENT_FAILED: i32 = 8;

/// One operation of a context, finished or pending. Members that do not belong to the kind are zero.
#[repr(C)]
pub struct hostlane_event_t {
    /// The number of the operation; 0 when it finished in the call that started it.
    pub op: u64,
    /// HOSTLANE_EVENT_PENDING and so on.
    pub kind: i32,
    /// HOSTLANE_OK, or why the operation failed.
    pub status: hostlane_status_t,
    /// The new peer, owned by the caller: hostlane_events_free() does not close it.
    pub peer: hostlane_peer_t,
    /// Round-trip time of a ping, in nanoseconds.
    pub rtt_ns: u64,
    /// The payload; belongs to `message` and is readable for as long as that.
    pub data: *const u8,
    /// Length of `data`, in bytes.
    pub len: usize,
    /// The message, freed by hostlane_events_free(). To keep it, take the pointer and set this member to NULL.
    pub message: *mut hostlane_message_t,
    /// The error, freed by hostlane_events_free(). To keep it, take the pointer and set this member to NULL.
    pub error: *mut hostlane_error_t,
    /// The channel of the message.
    pub channel: u16,
}

impl hostlane_event_t {
    pub(crate) fn started(started: Started) -> hostlane_event_t {
        match started {
            Started::Pending(op) => hostlane_event_t { op, ..NONE },
            Started::Done(outcome) => finished(0, outcome),
        }
    }

    pub(crate) fn completed(completion: Completion) -> hostlane_event_t {
        match completion.result {
            Ok(outcome) => finished(completion.op, outcome),
            Err(error) => failed(completion.op, &error),
        }
    }
}

const NONE: hostlane_event_t = hostlane_event_t {
    op: 0,
    kind: HOSTLANE_EVENT_PENDING,
    status: HOSTLANE_OK,
    peer: hostlane_peer_t { id: 0 },
    rtt_ns: 0,
    data: std::ptr::null(),
    len: 0,
    message: std::ptr::null_mut(),
    error: std::ptr::null_mut(),
    channel: 0,
};

fn finished(op: u64, outcome: Outcome) -> hostlane_event_t {
    let kind = match &outcome {
        Outcome::Connected(_) => HOSTLANE_EVENT_CONNECTED,
        Outcome::Accepted(_) => HOSTLANE_EVENT_ACCEPTED,
        Outcome::Message(_) => HOSTLANE_EVENT_MESSAGE,
        Outcome::Reply(_) => HOSTLANE_EVENT_REPLY,
        Outcome::Sent => HOSTLANE_EVENT_SENT,
        Outcome::Pong(_) => HOSTLANE_EVENT_PONG,
        Outcome::Drained => HOSTLANE_EVENT_DRAINED,
        _ => return failed(op, &unknown()),
    };
    let mut event = hostlane_event_t { op, kind, ..NONE };
    match outcome {
        Outcome::Connected(peer) | Outcome::Accepted(peer) => event.peer = objects::issue(peer),
        Outcome::Message(message) | Outcome::Reply(message) => {
            event.channel = message.channel().number();
            event.data = message.payload().as_ptr();
            event.len = message.payload().len();
            event.message = hostlane_message_t::into_raw(message);
        }
        Outcome::Pong(rtt) => event.rtt_ns = u64::try_from(rtt.as_nanos()).unwrap_or(u64::MAX),
        _ => {}
    }
    event
}

fn unknown() -> Error {
    Error::new(Code::Internal, "an operation ended in a way this interface does not know")
}

fn failed(op: u64, error: &Error) -> hostlane_event_t {
    hostlane_event_t {
        op,
        kind: HOSTLANE_EVENT_FAILED,
        status: error.code().number(),
        error: hostlane_error_t::into_raw(error),
        ..NONE
    }
}

/// Frees the messages and errors of `n` events and nulls their pointers; peers stay open. NULL does nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_events_free(events: *mut hostlane_event_t, n: usize) {
    if events.is_null() {
        return;
    }
    for at in 0..n {
        // SAFETY: `n` events written by the library, by the contract of the header, each freed once.
        unsafe {
            let event = &mut *events.add(at);
            crate::args::free(&raw mut event.message);
            crate::args::free(&raw mut event.error);
            event.data = std::ptr::null();
            event.len = 0;
        }
    }
}
