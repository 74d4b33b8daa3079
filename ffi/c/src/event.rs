//! What a context hands out.

use hostlane_bridge::{Bytes, Code, Completion, Error, LinkEvent, LinkResult, Message, Outcome, Started};

use crate::abi::hostlane_status_t;
use crate::args;
use crate::error::hostlane_error_t;
use crate::link::HOSTLANE_LINK_SERVING;
use crate::message::{self, hostlane_message_t};
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

/// Something is there to receive, and nothing was taken.
pub const HOSTLANE_EVENT_READABLE: i32 = 9;
/// A receive on a stream finished with an item: `message`, `data`, `len`.
pub const HOSTLANE_EVENT_ITEM: i32 = 10;
/// A receive on a stream found the end: for the side that opened it that of the call, with the reply in `message`, `data`,
/// `len`; for the other side the opener's last word, without.
pub const HOSTLANE_EVENT_STREAM_END: i32 = 11;
/// An answer to a request is no longer wanted.
pub const HOSTLANE_EVENT_CALL_ENDED: i32 = 12;
/// The time of a timer has come.
pub const HOSTLANE_EVENT_TIMER: i32 = 13;
/// The other side of a link is there: HOSTLANE_LINK_SERVING in `flags`, or not.
pub const HOSTLANE_EVENT_LINK_UP: i32 = 14;
/// The other side of a link is gone: `status`, `error`.
pub const HOSTLANE_EVENT_LINK_DOWN: i32 = 15;

/// One operation of a context, finished or pending, or one event of a link. Members that do not belong to the kind are zero.
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
    /// The payload. Belongs to `message` and is readable for as long as that; with hostlane_context_process_batch() it is
    /// in the caller's buffer if there was room.
    pub data: *const u8,
    /// Length of `data`, in bytes.
    pub len: usize,
    /// The message, freed by hostlane_events_free(). To keep it, take the pointer and set this member to NULL.
    pub message: *mut hostlane_message_t,
    /// The error, freed by hostlane_events_free(). To keep it, take the pointer and set this member to NULL.
    pub error: *mut hostlane_error_t,
    /// hostlane_message_call_id() of a received message.
    pub call_id: u64,
    /// hostlane_message_timeout_ms() of a received message.
    pub timeout_ms: i64,
    /// hostlane_message_flags() of a received message; of HOSTLANE_EVENT_LINK_UP whether this side serves.
    pub flags: u32,
    /// The channel of the message.
    pub channel: u16,
}

/// The caller's memory that payloads go into, one behind the other, instead of messages of their own.
pub(crate) struct Room<'a> {
    buffer: &'a mut [u8],
    used: usize,
    given: bool,
}

impl<'a> Room<'a> {
    pub(crate) fn new(buffer: &'a mut [u8]) -> Room<'a> {
        Room { buffer, used: 0, given: true }
    }

    /// None was given: every payload stays in its message.
    pub(crate) fn none() -> Room<'static> {
        Room { buffer: &mut [], used: 0, given: false }
    }

    fn place(&mut self, bytes: &[u8]) -> Option<*const u8> {
        if !self.given {
            return None;
        }
        let place = self.buffer.get_mut(self.used..)?.get_mut(..bytes.len())?;
        place.copy_from_slice(bytes);
        self.used += bytes.len();
        Some(args::start(place))
    }
}

impl hostlane_event_t {
    pub(crate) fn started(started: Started) -> hostlane_event_t {
        match started {
            Started::Pending(op) => hostlane_event_t { op, ..NONE },
            Started::Done(outcome) => finished(0, outcome, &mut Room::none()),
        }
    }

    pub(crate) fn completed(completion: Completion, room: &mut Room<'_>) -> hostlane_event_t {
        match completion.result {
            Ok(outcome) => finished(completion.op, outcome, room),
            Err(error) => failed(completion.op, &error),
        }
    }

    /// What happened to a link.
    pub(crate) fn of_link(event: LinkEvent, room: &mut Room<'_>) -> hostlane_event_t {
        match event {
            LinkEvent::Up { serving } => hostlane_event_t {
                kind: HOSTLANE_EVENT_LINK_UP,
                flags: if serving { HOSTLANE_LINK_SERVING } else { 0 },
                ..NONE
            },
            LinkEvent::Down(error) => hostlane_event_t { kind: HOSTLANE_EVENT_LINK_DOWN, ..failed(0, &error) },
            LinkEvent::Message(message) => {
                received(hostlane_event_t { kind: HOSTLANE_EVENT_MESSAGE, ..NONE }, message, room)
            }
            _ => failed(0, &unknown()),
        }
    }

    /// What came of something started on a link.
    pub(crate) fn of_result(op: u64, result: LinkResult, room: &mut Room<'_>) -> hostlane_event_t {
        match result {
            LinkResult::Call(Ok(reply)) => {
                received(hostlane_event_t { op, kind: HOSTLANE_EVENT_REPLY, ..NONE }, reply, room)
            }
            LinkResult::Call(Err(error)) => failed(op, &error),
            LinkResult::CallEnded => hostlane_event_t { op, kind: HOSTLANE_EVENT_CALL_ENDED, ..NONE },
            _ => failed(op, &unknown()),
        }
    }

    /// An operation that could not be started.
    pub(crate) fn refused(error: &Error) -> hostlane_event_t {
        failed(0, error)
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
    call_id: 0,
    timeout_ms: 0,
    flags: 0,
    channel: 0,
};

fn finished(op: u64, outcome: Outcome, room: &mut Room<'_>) -> hostlane_event_t {
    let with = |kind| hostlane_event_t { op, kind, ..NONE };
    match outcome {
        Outcome::Connected(peer) => hostlane_event_t { peer: objects::issue(peer), ..with(HOSTLANE_EVENT_CONNECTED) },
        Outcome::Accepted(peer) => hostlane_event_t { peer: objects::issue(peer), ..with(HOSTLANE_EVENT_ACCEPTED) },
        Outcome::Message(message) => received(with(HOSTLANE_EVENT_MESSAGE), message, room),
        Outcome::Reply(message) => received(with(HOSTLANE_EVENT_REPLY), message, room),
        Outcome::Item(item) => bytes(with(HOSTLANE_EVENT_ITEM), item, room),
        Outcome::StreamEnd(Some(reply)) => bytes(with(HOSTLANE_EVENT_STREAM_END), reply, room),
        Outcome::StreamEnd(None) => with(HOSTLANE_EVENT_STREAM_END),
        Outcome::Sent => with(HOSTLANE_EVENT_SENT),
        Outcome::Pong(rtt) => {
            let rtt_ns = u64::try_from(rtt.as_nanos()).unwrap_or(u64::MAX);
            hostlane_event_t { rtt_ns, ..with(HOSTLANE_EVENT_PONG) }
        }
        Outcome::Drained => with(HOSTLANE_EVENT_DRAINED),
        Outcome::Readable => with(HOSTLANE_EVENT_READABLE),
        Outcome::CallEnded => with(HOSTLANE_EVENT_CALL_ENDED),
        Outcome::Elapsed => with(HOSTLANE_EVENT_TIMER),
        _ => failed(op, &unknown()),
    }
}

/// A message whose payload went into the caller's memory, and that has nothing beside it, is not handed out.
fn received(mut event: hostlane_event_t, message: Message, room: &mut Room<'_>) -> hostlane_event_t {
    let facts = message::facts(&message);
    event.channel = message.channel().number();
    event.call_id = facts.call_id;
    event.timeout_ms = facts.timeout_ms;
    event.flags = facts.flags;
    event.len = message.payload().len();
    let placed = room.place(message.payload());
    event.data = placed.unwrap_or_else(|| args::start(message.payload()));
    if placed.is_none() || facts.flags != 0 {
        event.message = hostlane_message_t::into_raw(message);
    }
    event
}

fn bytes(mut event: hostlane_event_t, bytes: Bytes, room: &mut Room<'_>) -> hostlane_event_t {
    event.len = bytes.len();
    let placed = room.place(&bytes);
    event.data = placed.unwrap_or_else(|| args::start(&bytes));
    if placed.is_none() {
        event.message = hostlane_message_t::bytes_into_raw(bytes);
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
            args::free(&raw mut event.message);
            args::free(&raw mut event.error);
            event.data = std::ptr::null();
            event.len = 0;
        }
    }
}
