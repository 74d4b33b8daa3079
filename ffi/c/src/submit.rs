//! Many operations of a context started in one call.

use std::ffi::c_void;

use hostlane_bridge::{CallOptions, Channel, Code, Context, Error, Message, Result, Started};

use crate::abi::hostlane_status_t;
use crate::args::{self, Out, array};
use crate::batch::Corks;
use crate::call::{self, hostlane_call_options_t};
use crate::context::{hostlane_context_t, one_or_any};
use crate::error::hostlane_error_t;
use crate::event::hostlane_event_t;
use crate::message::hostlane_message_t;
use crate::objects::{self, Handle};
use crate::peer::hostlane_peer_t;
use crate::stream::hostlane_stream_t;

/// hostlane_context_send_with(): `peer`, the payload, `options`, `channel` (0: that of the options).
pub const HOSTLANE_SUBMIT_SEND: i32 = 1;
/// hostlane_context_request_with(): `peer`, the payload, `options`, `channel` (0: that of the options).
pub const HOSTLANE_SUBMIT_REQUEST: i32 = 2;
/// hostlane_context_reply(): `message`, the payload.
pub const HOSTLANE_SUBMIT_REPLY: i32 = 3;
/// hostlane_context_fail(): `message`, `code`, the payload.
pub const HOSTLANE_SUBMIT_FAIL: i32 = 4;
/// hostlane_context_recv(): `peer`, `channel`.
pub const HOSTLANE_SUBMIT_RECV: i32 = 5;
/// hostlane_context_readable(): `peer`.
pub const HOSTLANE_SUBMIT_READABLE: i32 = 6;
/// hostlane_context_call_ended(): `message`.
pub const HOSTLANE_SUBMIT_CALL_ENDED: i32 = 7;
/// hostlane_context_stream_send(): `stream`, the payload.
pub const HOSTLANE_SUBMIT_STREAM_SEND: i32 = 8;
/// hostlane_context_stream_finish(): `stream`.
pub const HOSTLANE_SUBMIT_STREAM_FINISH: i32 = 9;
/// hostlane_context_stream_recv(): `stream`.
pub const HOSTLANE_SUBMIT_STREAM_RECV: i32 = 10;
/// hostlane_context_ping(): `peer`.
pub const HOSTLANE_SUBMIT_PING: i32 = 11;
/// hostlane_context_drain(): `peer`.
pub const HOSTLANE_SUBMIT_DRAIN: i32 = 12;

/// HOSTLANE_SUBMIT_SEND, unless the operation before it in the call failed at once: then it is not started, and fails as that
/// did. So messages that are one behind the other end with the first that is refused.
pub const HOSTLANE_SUBMIT_SEND_NEXT: i32 = 13;

/// One operation of hostlane_context_submit(). Members that its kind does not name are ignored.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hostlane_submission_t {
    /// HOSTLANE_SUBMIT_SEND and so on.
    pub kind: i32,
    /// What a request is failed with.
    pub code: u32,
    /// The connection. With the kinds that have a `message` or a `stream` it may be all zero; where it is not, what they
    /// write is gathered with the rest.
    pub peer: hostlane_peer_t,
    /// The stream.
    pub stream: hostlane_stream_t,
    /// The request to answer or to watch. With HOSTLANE_SUBMIT_REPLY and HOSTLANE_SUBMIT_FAIL it is freed, whatever
    /// comes of the operation, when `free_message` is not 0.
    pub message: *mut hostlane_message_t,
    /// The payload. NULL: it is in the `payloads` of the call.
    pub data: *const c_void,
    /// Where the payload starts in `payloads`, when `data` is NULL.
    pub offset: usize,
    /// Length of the payload, in bytes.
    pub len: usize,
    /// Limit of the operation, as everywhere.
    pub timeout_ms: i64,
    /// What goes with a message or a call; may be NULL.
    pub options: *const hostlane_call_options_t,
    /// The channel; HOSTLANE_ANY_CHANNEL for a receive from all of them.
    pub channel: i32,
    /// Not 0: `message` is freed once it is answered.
    pub free_message: i32,
}

/// Starts `n` operations in order, and writes what they send in as few system calls as they allow. `events` has room for
/// `n`: each is the finished operation, HOSTLANE_EVENT_PENDING with its number, or HOSTLANE_EVENT_FAILED with `op` 0 when it
/// could not be started; free them with hostlane_events_free(). A send or reply is finished when it is queued here. The
/// payloads are read during the call and not kept: each is at its `data`, or in `payloads`, which has `payloads_len` bytes
/// and may be NULL.
///
/// Errors: HOSTLANE_E_INVALID_ARGUMENT for NULL arrays, HOSTLANE_E_CLOSED; then nothing was started and nothing freed. The
/// failure of one operation is an event, never an error of this call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_context_submit(
    context: hostlane_context_t,
    submissions: *const hostlane_submission_t,
    n: usize,
    payloads: *const c_void,
    payloads_len: usize,
    events: *mut hostlane_event_t,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    context.call(err, |context| {
        // SAFETY: the contract of the header for `events`, `submissions` and `payloads`.
        let (_, submissions, payloads) = unsafe {
            (
                Out::new(events, "events")?,
                array(submissions, n, "submissions")?,
                array(payloads.cast::<u8>(), payloads_len, "payloads")?,
            )
        };
        let mut corks = Corks::default();
        let mut refused: Option<Error> = None;
        for (at, one) in submissions.iter().enumerate() {
            let started = match refused.take() {
                Some(error) if one.kind == HOSTLANE_SUBMIT_SEND_NEXT => Err(error),
                // SAFETY: the contract of the header for what the submission points to.
                _ => unsafe { start(context, one, payloads, &mut corks) },
            };
            refused = started.as_ref().err().cloned();
            let event = started.map_or_else(|error| hostlane_event_t::refused(&error), hostlane_event_t::started);
            // SAFETY: `n` places, writable by the contract of the header.
            unsafe { events.add(at).write(event) };
        }
        Ok(())
    })
}

impl hostlane_submission_t {
    /// # Safety
    /// The pointers are null or as the header describes them.
    unsafe fn payload<'a>(&self, payloads: &'a [u8]) -> Result<&'a [u8]> {
        if !self.data.is_null() {
            // SAFETY: the promise of the caller; it holds for the whole call, as that for `payloads` does.
            return unsafe { args::bytes(self.data, self.len) };
        }
        let end = self.offset.checked_add(self.len);
        end.and_then(|end| payloads.get(self.offset..end)).ok_or_else(|| {
            Error::new(Code::InvalidArgument, format!("no {} bytes at {} of payloads", self.len, self.offset))
        })
    }

    /// # Safety
    /// As for [`payload`](Self::payload).
    unsafe fn options(&self) -> Result<CallOptions> {
        // SAFETY: the promise of the caller.
        let options = unsafe { call::options(self.options) }?;
        match self.channel {
            0 => Ok(options),
            number => Ok(options.channel(one_of(number)?)),
        }
    }

    /// # Safety
    /// As for [`payload`](Self::payload).
    unsafe fn message<'a>(&self) -> Result<&'a Message> {
        // SAFETY: the promise of the caller.
        unsafe { args::object(self.message.cast_const(), "message") }?.message()
    }
}

fn one_of(channel: i32) -> Result<Channel> {
    one_or_any(channel)?.ok_or_else(|| Error::new(Code::InvalidChannel, "HOSTLANE_ANY_CHANNEL is for receives alone"))
}

/// # Safety
/// The pointers of `one` are null or as the header describes them.
unsafe fn start(context: &Context, one: &hostlane_submission_t, payloads: &[u8], corks: &mut Corks) -> Result<Started> {
    let deadline = args::deadline(one.timeout_ms);
    // SAFETY: the promise of the caller, here and below.
    let payload = || unsafe { one.payload(payloads) };
    // SAFETY: as above.
    let options = || unsafe { one.options() };
    match one.kind {
        HOSTLANE_SUBMIT_SEND | HOSTLANE_SUBMIT_SEND_NEXT => {
            context.send_with(corks.get(one.peer)?, payload()?, options()?, deadline)
        }
        HOSTLANE_SUBMIT_REQUEST => context.request_with(corks.get(one.peer)?, payload()?, options()?, deadline),
        HOSTLANE_SUBMIT_REPLY | HOSTLANE_SUBMIT_FAIL => {
            corks.try_add(one.peer);
            // SAFETY: as above.
            let started = unsafe { one.message() }.and_then(|message| match one.kind {
                HOSTLANE_SUBMIT_REPLY => context.reply(message, payload()?, deadline),
                _ => context.fail(message, one.code, payload()?, deadline),
            });
            if one.free_message != 0 {
                let mut message = one.message;
                // SAFETY: null or a message of the caller's, who gives it up; nothing refers to it any more.
                unsafe { args::free(&raw mut message) };
            }
            started
        }
        HOSTLANE_SUBMIT_RECV => context.recv(corks.get(one.peer)?, one_or_any(one.channel)?, deadline),
        HOSTLANE_SUBMIT_READABLE => context.readable(corks.get(one.peer)?, deadline),
        // SAFETY: as above.
        HOSTLANE_SUBMIT_CALL_ENDED => context.call_ended(unsafe { one.message() }?, deadline),
        HOSTLANE_SUBMIT_STREAM_SEND => {
            corks.try_add(one.peer);
            context.stream_send(&*objects::get(one.stream)?, payload()?, deadline)
        }
        HOSTLANE_SUBMIT_STREAM_FINISH => {
            corks.try_add(one.peer);
            context.stream_finish(&*objects::get(one.stream)?, deadline)
        }
        HOSTLANE_SUBMIT_STREAM_RECV => context.stream_recv(&*objects::get(one.stream)?, deadline),
        HOSTLANE_SUBMIT_PING => context.ping(corks.get(one.peer)?, deadline),
        HOSTLANE_SUBMIT_DRAIN => context.drain(corks.get(one.peer)?, deadline),
        kind => Err(Error::new(Code::InvalidArgument, format!("{kind} is none of HOSTLANE_SUBMIT_"))),
    }
}
