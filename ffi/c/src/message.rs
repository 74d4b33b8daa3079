//! A received message, or the item of a stream.

use std::ffi::c_void;
use std::os::fd::IntoRawFd;
use std::time::Instant;

use hostlane_bridge::{Bytes, Code, Error, Message, Result};

use crate::abi::hostlane_status_t;
use crate::args::{self, Out, call};
use crate::call::HOSTLANE_MAX_FDS;
use crate::error::hostlane_error_t;

/// A received message, a reply, or an item of a stream. Immutable: any number of threads may read one. Owned by whoever
/// received it, to be freed once with hostlane_message_free(); it may outlive its peer.
///
/// A request, which HOSTLANE_MESSAGE_REQUEST tells, is answered once, by hostlane_reply() or hostlane_fail(), from any
/// thread, in any order. Freed without an answer it is let go: its caller gets HOSTLANE_E_CALL_ABANDONED. On wire level 0,
/// which has no call ids, nothing is a request: a call is answered by a message.
pub struct hostlane_message_t {
    content: Content,
}

enum Content {
    Message(Message),
    /// An item of a stream, or the reply that ended one.
    Bytes(Bytes),
}

/// Somebody waits for an answer.
pub const HOSTLANE_MESSAGE_REQUEST: u32 = 1;
/// The request opened a stream: hostlane_message_stream().
pub const HOSTLANE_MESSAGE_STREAM: u32 = 2;
/// It has an idempotency key: hostlane_message_idempotency_key().
pub const HOSTLANE_MESSAGE_KEY: u32 = 4;
/// It has a trace: hostlane_message_trace().
pub const HOSTLANE_MESSAGE_TRACE: u32 = 8;
/// Descriptors came with it: hostlane_message_take_fds().
pub const HOSTLANE_MESSAGE_FDS: u32 = 16;

/// The code to fail a call with whose handler did not come to an answer, as the languages do whose handlers can throw or
/// panic; the data says what happened, for people.
pub const HOSTLANE_HANDLER_FAILED: u32 = 1;
const _: () = assert!(HOSTLANE_HANDLER_FAILED == hostlane_bridge::HANDLER_FAILED);

/// What batches and events tell beside the bytes.
pub(crate) struct Facts {
    pub(crate) flags: u32,
    pub(crate) call_id: u64,
    pub(crate) timeout_ms: i64,
}

/// A message with nothing beside its bytes.
pub(crate) const PLAIN: Facts = Facts { flags: 0, call_id: 0, timeout_ms: crate::abi::HOSTLANE_FOREVER };

pub(crate) fn facts(message: &Message) -> Facts {
    let flag = |set: bool, flag: u32| if set { flag } else { 0 };
    Facts {
        flags: flag(message.is_request(), HOSTLANE_MESSAGE_REQUEST)
            | flag(message.is_stream(), HOSTLANE_MESSAGE_STREAM)
            | flag(message.idempotency_key().is_some(), HOSTLANE_MESSAGE_KEY)
            | flag(message.trace().is_some(), HOSTLANE_MESSAGE_TRACE)
            | flag(message.has_fds(), HOSTLANE_MESSAGE_FDS),
        call_id: message.call_id().unwrap_or(0),
        timeout_ms: message.deadline().map_or(PLAIN.timeout_ms, |at| {
            i64::try_from(at.saturating_duration_since(Instant::now()).as_millis()).unwrap_or(i64::MAX)
        }),
    }
}

impl hostlane_message_t {
    pub(crate) fn into_raw(message: Message) -> *mut hostlane_message_t {
        Box::into_raw(Box::new(hostlane_message_t { content: Content::Message(message) }))
    }

    pub(crate) fn bytes_into_raw(bytes: Bytes) -> *mut hostlane_message_t {
        Box::into_raw(Box::new(hostlane_message_t { content: Content::Bytes(bytes) }))
    }

    /// `invalid_argument` for an item of a stream.
    pub(crate) fn message(&self) -> Result<&Message> {
        self.known().ok_or_else(|| Error::new(Code::InvalidArgument, "an item of a stream is not answered"))
    }

    fn known(&self) -> Option<&Message> {
        match &self.content {
            Content::Message(message) => Some(message),
            Content::Bytes(_) => None,
        }
    }

    fn payload(&self) -> &[u8] {
        match &self.content {
            Content::Message(message) => message.payload(),
            Content::Bytes(bytes) => bytes,
        }
    }
}

/// # Safety
/// Null, or a live message for as long as the reference is used.
unsafe fn known<'a>(message: *const hostlane_message_t) -> Option<&'a Message> {
    // SAFETY: the same promise.
    unsafe { message.as_ref() }?.known()
}

/// # Safety
/// As for [`known`].
unsafe fn facts_of(message: *const hostlane_message_t) -> Facts {
    // SAFETY: the same promise.
    unsafe { known(message) }.map_or(PLAIN, facts)
}

/// The channel the message arrived on; 0 for an item of a stream and for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_message_channel(message: *const hostlane_message_t) -> u16 {
    // SAFETY: null or a live message, by the contract of the header.
    unsafe { known(message) }.map_or(0, |message| message.channel().number())
}

/// The payload: `*len` bytes (`len` may be NULL), readable until the message is freed. Never NULL for a message, even an
/// empty one; NULL for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_message_data(message: *const hostlane_message_t, len: *mut usize) -> *const u8 {
    // SAFETY: null or a live message, and null or writable, by the contract of the header.
    unsafe { args::view(message.as_ref().map(hostlane_message_t::payload), len) }
}

/// What the message is and has: HOSTLANE_MESSAGE_REQUEST and so on, or-ed. 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_message_flags(message: *const hostlane_message_t) -> u32 {
    // SAFETY: null or a live message, by the contract of the header.
    unsafe { facts_of(message) }.flags
}

/// Whether somebody waits for an answer. False for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_message_is_request(message: *const hostlane_message_t) -> bool {
    // SAFETY: null or a live message, by the contract of the header.
    unsafe { known(message) }.is_some_and(Message::is_request)
}

/// The id of the call, unique in its connection; 0 for a one-way message and for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_message_call_id(message: *const hostlane_message_t) -> u64 {
    // SAFETY: null or a live message, by the contract of the header.
    unsafe { facts_of(message) }.call_id
}

/// How long the caller will still wait, in milliseconds, by this process's clock; 0 when its time is over,
/// HOSTLANE_FOREVER when it told no limit. Give it as `timeout_ms` to calls made on behalf of this one, so that nobody
/// works for a caller who has left.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_message_timeout_ms(message: *const hostlane_message_t) -> i64 {
    // SAFETY: null or a live message, by the contract of the header.
    unsafe { facts_of(message) }.timeout_ms
}

/// The key under which the caller may send this call again: `*len` bytes (`len` may be NULL), readable until the message
/// is freed. NULL when it gave none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_message_idempotency_key(
    message: *const hostlane_message_t,
    len: *mut usize,
) -> *const u8 {
    // SAFETY: null or a live message, and null or writable, by the contract of the header.
    unsafe { args::view(known(message).and_then(Message::idempotency_key).map(|key| &**key), len) }
}

/// What the sender gave along to follow the message by: `*len` bytes (`len` may be NULL), readable until the message is
/// freed. NULL when it gave nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_message_trace(message: *const hostlane_message_t, len: *mut usize) -> *const u8 {
    // SAFETY: null or a live message, and null or writable, by the contract of the header.
    unsafe { args::view(known(message).and_then(Message::trace).map(|trace| &**trace), len) }
}

/// Takes the descriptors that came with the message into `fds`, which has room for HOSTLANE_MAX_FDS; `*n` gets their
/// number, 0 the second time. The caller owns and closes them; those nobody takes are closed with the message.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_message_take_fds(
    message: *const hostlane_message_t,
    fds: *mut i32,
    n: *mut usize,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    call(err, || {
        // SAFETY: the contract of the header for `message`, `fds` and `n`.
        let (message, _, n) = unsafe { (args::object(message, "message")?, Out::new(fds, "fds")?, Out::new(n, "n")?) };
        let taken = message.known().map(Message::take_fds).unwrap_or_default();
        let count = taken.len().min(HOSTLANE_MAX_FDS);
        for (at, fd) in taken.into_iter().take(count).enumerate() {
            // SAFETY: at most HOSTLANE_MAX_FDS places, writable by the contract of the header.
            unsafe { fds.add(at).write(fd.into_raw_fd()) };
        }
        n.set(count);
        Ok(())
    })
}

/// Whether an answer is no longer wanted: given already, or the caller left, ran out of time, or lost the connection.
/// Looks at what has arrived, without waiting. False for a one-way message and for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_message_is_cancelled(message: *const hostlane_message_t) -> bool {
    // SAFETY: null or a live message, by the contract of the header.
    unsafe { known(message) }.is_some_and(Message::is_cancelled)
}

/// Waits until an answer is no longer wanted, as of hostlane_message_is_cancelled().
///
/// Errors: HOSTLANE_E_TIMEOUT, HOSTLANE_E_INTERRUPTED when a signal arrived (call again), HOSTLANE_E_WRONG_DRIVER,
/// HOSTLANE_E_INVALID_ARGUMENT for a one-way message, HOSTLANE_E_UNSUPPORTED on wire level 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_message_wait_cancelled(
    message: *const hostlane_message_t,
    timeout_ms: i64,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    call(err, || {
        // SAFETY: the contract of the header for `message`.
        let message = unsafe { args::object(message, "message") }?;
        let mut stop = args::stop_on_signal;
        message.message()?.wait_cancelled(args::wait(timeout_ms).on_interrupt(&mut stop))
    })
}

/// Answers with `len` bytes: a call with its reply, a one-way message with a message on its channel. The message stays
/// owned by the caller. Signals do not end this wait. Errors: HOSTLANE_E_CALL_ENDED when no answer is wanted any more,
/// and those of hostlane_send().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_reply(
    message: *const hostlane_message_t,
    data: *const c_void,
    len: usize,
    timeout_ms: i64,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    call(err, || {
        // SAFETY: the contract of the header for `message` and `data`.
        let (message, payload) = unsafe { (args::object(message, "message")?, args::bytes(data, len)?) };
        message.message()?.reply(payload, args::wait(timeout_ms))
    })
}

/// Answers a call with an error of the program's: `code` and `len` bytes of data reach the caller, as
/// HOSTLANE_E_REMOTE_ERROR with hostlane_error_remote_status() and hostlane_error_data(). The message stays owned by the
/// caller. Signals do not end this wait.
///
/// Errors: HOSTLANE_E_INVALID_ARGUMENT for a one-way message, HOSTLANE_E_UNSUPPORTED on wire level 0, else those of
/// hostlane_reply().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_fail(
    message: *const hostlane_message_t,
    code: u32,
    data: *const c_void,
    len: usize,
    timeout_ms: i64,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    call(err, || {
        // SAFETY: the contract of the header for `message` and `data`.
        let (message, payload) = unsafe { (args::object(message, "message")?, args::bytes(data, len)?) };
        message.message()?.fail(code, payload, args::wait(timeout_ms))
    })
}

/// Frees `*message` and sets it to NULL. NULL, and a pointer to NULL, do nothing. A request that was not answered is let
/// go.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_message_free(message: *mut *mut hostlane_message_t) {
    // SAFETY: null or a pointer to null or to a message that nobody freed, by the contract of the header.
    unsafe { args::free(message) };
}
