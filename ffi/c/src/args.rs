//! What every entry point does with its pointers: checked before anything is consumed, written on success only.

use std::ffi::{c_char, c_void};
use std::ops::ControlFlow;
use std::ptr::NonNull;
use std::time::{Duration, Instant};

use hostlane_bridge::{Code, Error, Result, Wait};

use crate::abi::hostlane_status_t;
use crate::error::hostlane_error_t;
use crate::status::HOSTLANE_OK;

/// Runs one entry point: panics become an error, the error goes to `err`, its number is the result.
pub(crate) fn call(err: *mut *mut hostlane_error_t, body: impl FnOnce() -> Result<()>) -> hostlane_status_t {
    match hostlane_bridge::guard(body) {
        Ok(()) => HOSTLANE_OK,
        Err(error) => {
            let status = error.code().number();
            if !err.is_null() {
                let raw = hostlane_error_t::into_raw(&error);
                // SAFETY: `err` is not null, so by the contract of the header it points to a writable pointer.
                unsafe { err.write(raw) };
            }
            status
        }
    }
}

/// An output pointer that is known not to be null.
pub(crate) struct Out<T>(NonNull<T>);

impl<T> Out<T> {
    /// Checks the pointer; `name` is the parameter as the header spells it.
    ///
    /// # Safety
    /// Unless null, `ptr` stays valid for writing a `T` until the entry point returns.
    pub(crate) unsafe fn new(ptr: *mut T, name: &str) -> Result<Out<T>> {
        NonNull::new(ptr).map(Out).ok_or_else(|| null(name))
    }

    /// Writes the output, dropping nothing that was there before.
    pub(crate) fn set(self, value: T) {
        // SAFETY: not null by construction and writable by the promise made to `new`.
        unsafe { self.0.write(value) };
    }
}

/// The bytes of a payload; a null pointer is allowed when there are none.
///
/// # Safety
/// Unless null, `data` points to `len` bytes that nobody changes for as long as the caller uses the slice.
pub(crate) unsafe fn bytes<'a>(data: *const c_void, len: usize) -> Result<&'a [u8]> {
    // SAFETY: the same promise.
    unsafe { array(data.cast::<u8>(), len, "data") }
}

/// A text argument.
///
/// # Safety
/// As for [`bytes`].
pub(crate) unsafe fn text<'a>(text: *const c_char, len: usize, name: &str) -> Result<&'a str> {
    // SAFETY: the same promise.
    let bytes = unsafe { array(text.cast::<u8>(), len, name) }?;
    std::str::from_utf8(bytes).map_err(|error| Error::new(Code::InvalidUtf8, format!("{name}: {error}")))
}

/// An array argument.
///
/// # Safety
/// Unless null, `data` points to `len` values that nobody changes for as long as the caller uses the slice.
pub(crate) unsafe fn array<'a, T: Copy>(data: *const T, len: usize, name: &str) -> Result<&'a [T]> {
    if len == 0 {
        return Ok(&[]);
    }
    if data.is_null() {
        return Err(null(name));
    }
    if len > isize::MAX as usize / size_of::<T>() {
        return Err(Error::new(Code::InvalidArgument, format!("{name}: the length {len} is impossible")));
    }
    if !data.is_aligned() {
        return Err(Error::new(Code::InvalidArgument, format!("{name} is not aligned")));
    }
    // SAFETY: not null, aligned and of a possible size as checked above; readable and unchanged by the caller's promise.
    Ok(unsafe { std::slice::from_raw_parts(data, len) })
}

/// The caller's memory for payloads; a null pointer is allowed when there is none.
///
/// # Safety
/// Unless null, `buffer` points to `capacity` bytes that nobody else uses for as long as the caller uses the slice.
pub(crate) unsafe fn room<'a>(buffer: *mut c_void, capacity: usize) -> Result<&'a mut [u8]> {
    // SAFETY: the same promise; the slice is only checked here and not kept.
    let checked = unsafe { array(buffer.cast_const().cast::<u8>(), capacity, "buffer") }?;
    if checked.is_empty() {
        return Ok(&mut []);
    }
    // SAFETY: not null and of a possible size as checked above; nobody else's by the caller's promise.
    Ok(unsafe { std::slice::from_raw_parts_mut(buffer.cast::<u8>(), capacity) })
}

/// An object behind a pointer, such as a message.
///
/// # Safety
/// Unless null, `ptr` points to a live `T` that outlives the use of the reference.
pub(crate) unsafe fn object<'a, T>(ptr: *const T, name: &str) -> Result<&'a T> {
    // SAFETY: null or live, by the same promise.
    unsafe { ptr.as_ref() }.ok_or_else(|| null(name))
}

static EMPTY: [u8; 1] = [0];

/// Bytes as a pointer and a length, null for none. Empty ones point to a real byte: Rust's own empty slices point to
/// address 1, at which some runtimes, Go's among them, take offence.
///
/// # Safety
/// `len` is null or writable.
pub(crate) unsafe fn view(bytes: Option<&[u8]>, len: *mut usize) -> *const u8 {
    // SAFETY: null or writable, by the caller's promise.
    if let Some(len) = unsafe { len.as_mut() } {
        *len = bytes.map_or(0, <[u8]>::len);
    }
    bytes.map_or(std::ptr::null(), start)
}

/// Where bytes are; a real byte when there are none.
pub(crate) fn start(bytes: &[u8]) -> *const u8 {
    if bytes.is_empty() { EMPTY.as_ptr() } else { bytes.as_ptr() }
}

/// Copies a text out to `buf`, or only its length to `len` when `buf` is null.
///
/// # Safety
/// Unless null, `buf` has `cap` writable bytes and `len` is writable.
pub(crate) unsafe fn copy_text(text: &str, buf: *mut c_char, cap: usize, len: *mut usize) -> Result<()> {
    // SAFETY: the promise of the caller.
    let len = unsafe { Out::new(len, "len") }?;
    if !buf.is_null() {
        if cap < text.len() {
            let message = format!("cap is {cap} and the text has {} bytes", text.len());
            return Err(Error::new(Code::InvalidArgument, message));
        }
        // SAFETY: `cap` bytes are writable by the promise of the caller, enough as just checked.
        unsafe { buf.cast::<u8>().copy_from_nonoverlapping(text.as_ptr(), text.len()) };
    }
    len.set(text.len());
    Ok(())
}

fn null(name: &str) -> Error {
    Error::new(Code::InvalidArgument, format!("{name} is NULL"))
}

/// The deadline of `timeout_ms`; `None` for ever.
pub(crate) fn deadline(timeout_ms: i64) -> Option<Instant> {
    let timeout = Duration::from_millis(u64::try_from(timeout_ms).ok()?);
    // A time that the clock cannot express is for ever.
    Instant::now().checked_add(timeout)
}

/// How a blocking call waits; a signal does not end it.
pub(crate) fn wait<'a>(timeout_ms: i64) -> Wait<'a> {
    deadline(timeout_ms).map_or_else(Wait::forever, Wait::from)
}

/// Ends a wait at the first signal: for calls that lose nothing when they are abandoned and called again.
pub(crate) fn stop_on_signal() -> ControlFlow<()> {
    ControlFlow::Break(())
}

/// Frees what `Box::into_raw` gave out and nulls the pointer, so that a second call does nothing.
///
/// # Safety
/// Null, or a writable pointer to null or to a `T` from `Box::into_raw` that nobody freed.
pub(crate) unsafe fn free<T>(slot: *mut *mut T) {
    // SAFETY: null or writable, by the caller's promise.
    let Some(slot) = (unsafe { slot.as_mut() }) else { return };
    let object = std::mem::replace(slot, std::ptr::null_mut());
    if !object.is_null() {
        // SAFETY: it came from `Box::into_raw` and is freed once, because its only owner was just nulled.
        drop(unsafe { Box::from_raw(object) });
    }
}
