//! A received message.

use std::ffi::c_void;

use hostlane_bridge::Message;

use crate::abi::hostlane_status_t;
use crate::args::{self, call};
use crate::error::hostlane_error_t;

/// A received message. Immutable: any number of threads may read one. Owned by whoever received it, to be freed once with
/// hostlane_message_free(); it may outlive its peer.
pub struct hostlane_message_t {
    message: Message,
}

static EMPTY: [u8; 1] = [0];

impl hostlane_message_t {
    pub(crate) fn into_raw(message: Message) -> *mut hostlane_message_t {
        Box::into_raw(Box::new(hostlane_message_t { message }))
    }

    pub(crate) fn message(&self) -> &Message {
        &self.message
    }

    pub(crate) fn channel(&self) -> u16 {
        self.message.channel().number()
    }

    /// The payload. An empty one points to a real byte: Rust's own empty slices point to address 1, at which some
    /// runtimes, Go's among them, take offence.
    pub(crate) fn payload(&self) -> &[u8] {
        match self.message.payload() {
            payload if payload.is_empty() => &EMPTY[..0],
            payload => payload,
        }
    }
}

/// The channel the message arrived on; 0 for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_message_channel(message: *const hostlane_message_t) -> u16 {
    // SAFETY: null or a live message, by the contract of the header.
    unsafe { message.as_ref() }.map_or(0, hostlane_message_t::channel)
}

/// The payload: `*len` bytes (`len` may be NULL), readable until the message is freed. Never NULL for a message, even an
/// empty one; NULL for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_message_data(message: *const hostlane_message_t, len: *mut usize) -> *const u8 {
    // SAFETY: null or a live message, by the contract of the header.
    let payload = unsafe { message.as_ref() }.map(hostlane_message_t::payload);
    // SAFETY: null or writable, by the contract of the header.
    if let Some(len) = unsafe { len.as_mut() } {
        *len = payload.map_or(0, <[u8]>::len);
    }
    payload.map_or(std::ptr::null(), <[u8]>::as_ptr)
}

/// Answers a message with `len` bytes on the channel it came from; for a call this is its reply. The message stays
/// owned by the caller. Signals do not end this wait. Errors: those of hostlane_send().
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
        message.message.reply(payload, args::wait(timeout_ms))
    })
}

/// Frees `*message` and sets it to NULL. NULL, and a pointer to NULL, do nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_message_free(message: *mut *mut hostlane_message_t) {
    // SAFETY: null or a pointer to null or to a message that nobody freed, by the contract of the header.
    unsafe { args::free(message) };
}
