//! Errors as C sees them.

use std::ffi::c_char;

use hostlane_bridge::{Error, Flat, Sent};

use crate::abi::hostlane_status_t;
use crate::args;
use crate::status::HOSTLANE_OK;

/// Provably not received whole: safe to send again.
pub const HOSTLANE_SENT_NO: i32 = 0;
/// The other side may have received it and acted upon it.
pub const HOSTLANE_SENT_MAYBE: i32 = 1;

/// Why a call failed. Immutable: any number of threads may read one. Owned by the caller of the failed call, to be
/// freed once with hostlane_error_free().
pub struct hostlane_error_t {
    status: hostlane_status_t,
    retryable: bool,
    sent: i32,
    /// What the program on the other side failed with.
    remote: Option<u32>,
    data: Vec<u8>,
    /// The text and one NUL behind it.
    text: Vec<u8>,
}

impl hostlane_error_t {
    pub(crate) fn into_raw(error: &Error) -> *mut hostlane_error_t {
        let flat = Flat::from(error);
        let mut text = flat.message.into_bytes();
        text.push(0);
        Box::into_raw(Box::new(hostlane_error_t {
            status: flat.number,
            retryable: flat.retryable,
            sent: match error.sent() {
                Sent::No => HOSTLANE_SENT_NO,
                _ => HOSTLANE_SENT_MAYBE,
            },
            remote: error.status(),
            data: error.data().to_vec(),
            text,
        }))
    }
}

/// The number of the error, the same that the failed call returned; HOSTLANE_OK for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_error_status(error: *const hostlane_error_t) -> hostlane_status_t {
    // SAFETY: null or a live error, by the contract of the header.
    unsafe { error.as_ref() }.map_or(HOSTLANE_OK, |error| error.status)
}

/// The text for people: what happened, to what. UTF-8, `*len` bytes, followed by a NUL; valid until the error is freed.
/// Never parse it: the number is the contract. Empty for a NULL error. Either output may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_error_message(
    error: *const hostlane_error_t,
    text: *mut *const c_char,
    len: *mut usize,
) {
    // SAFETY: null or a live error, by the contract of the header.
    let bytes = unsafe { error.as_ref() }.map_or(&b"\0"[..], |error| &error.text);
    // SAFETY: null or writable, by the contract of the header.
    if let Some(text) = unsafe { text.as_mut() } {
        *text = bytes.as_ptr().cast();
    }
    // SAFETY: null or writable, by the contract of the header.
    if let Some(len) = unsafe { len.as_mut() } {
        *len = bytes.len() - 1;
    }
}

/// Whether the same call may succeed later without a change in the program. False for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_error_retryable(error: *const hostlane_error_t) -> bool {
    // SAFETY: null or a live error, by the contract of the header.
    unsafe { error.as_ref() }.is_some_and(|error| error.retryable)
}

/// Whether the message of a failed send, request or reply may have reached the other side: HOSTLANE_SENT_NO or
/// HOSTLANE_SENT_MAYBE. HOSTLANE_SENT_NO for NULL and for calls that send nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_error_sent(error: *const hostlane_error_t) -> i32 {
    // SAFETY: null or a live error, by the contract of the header.
    unsafe { error.as_ref() }.map_or(HOSTLANE_SENT_NO, |error| error.sent)
}

/// For HOSTLANE_E_REMOTE_ERROR the code that the program on the other side failed the call with, which
/// hostlane_fail() gave; 0 for every other error and for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_error_remote_status(error: *const hostlane_error_t) -> u32 {
    // SAFETY: null or a live error, by the contract of the header.
    unsafe { error.as_ref() }.and_then(|error| error.remote).unwrap_or(0)
}

/// For HOSTLANE_E_REMOTE_ERROR the bytes that the program on the other side gave along: `*len` bytes (`len` may be NULL),
/// readable until the error is freed. Empty, and not NULL, for every other error; NULL for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_error_data(error: *const hostlane_error_t, len: *mut usize) -> *const u8 {
    // SAFETY: null or a live error, and null or writable, by the contract of the header.
    unsafe { args::view(error.as_ref().map(|error| error.data.as_slice()), len) }
}

/// Frees `*error` and sets it to NULL. NULL, and a pointer to NULL, do nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_error_free(error: *mut *mut hostlane_error_t) {
    // SAFETY: null or a pointer to null or to an error that nobody freed, by the contract of the header.
    unsafe { args::free(error) };
}
