//! Calls with what goes along, any number of them in flight.

use std::ffi::c_void;
use std::mem::offset_of;
use std::os::fd::BorrowedFd;
use std::time::{Duration, Instant};

use hostlane_bridge::{Bytes, CallOptions, Channel, Code, Error, Result};

use crate::abi::hostlane_status_t;
use crate::args::{self, Out, array, call};
use crate::error::hostlane_error_t;
use crate::message::hostlane_message_t;
use crate::objects::{self, Handle};
use crate::options::{self, Versioned};
use crate::peer::hostlane_peer_t;

/// A call that was started. A value: copy it freely; the first hostlane_call_wait() or hostlane_call_cancel() ends it. All
/// zero is a handle that was never issued.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hostlane_call_t {
    /// Meaningless outside the library.
    pub id: u64,
}

/// What may go with a call, a stream or a message. Fill it with hostlane_call_options_init() first, then set what
/// differs. The pointers are read during the call that gets the options and not kept. Everything but a deadline, and
/// `channel` for a message, needs wire level 1 and gives HOSTLANE_E_UNSUPPORTED on level 0.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hostlane_call_options_t {
    /// Size of this struct as the program knows it; set by hostlane_call_options_init().
    pub size: usize,
    /// How long the caller will wait, in milliseconds from now, as the other side is told. 0: the timeout of the call
    /// where it has one. Waiting for the reply keeps its own limit. Not for messages.
    pub deadline_ms: i64,
    /// Says that the call may be sent again under this key of 1 to 64 bytes. NULL: none. Not for messages.
    pub idempotency_key: *const c_void,
    /// Length of `idempotency_key`, in bytes.
    pub idempotency_key_len: usize,
    /// Handed to the other program as it is; 1 to 64 bytes. NULL: none.
    pub trace: *const c_void,
    /// Length of `trace`, in bytes.
    pub trace_len: usize,
    /// Descriptors for the other process. They are duplicated, so the caller's stay open and its own. Needs the feature
    /// "fds" (hostlane_info()).
    pub fds: *const i32,
    /// Number of `fds`, at most HOSTLANE_MAX_FDS.
    pub fds_len: usize,
    /// 0: HOSTLANE_CHANNEL_COMMAND for a call or a stream, HOSTLANE_CHANNEL_DATA for a message.
    pub channel: u16,
}

/// Most descriptors that go with one message.
pub const HOSTLANE_MAX_FDS: usize = 4;
const _: () = assert!(HOSTLANE_MAX_FDS == hostlane_bridge::limits::MAX_FDS);

/// Calls of one side that are open, or wait for their turn, at a time; also the default of `max_calls`.
pub const HOSTLANE_MAX_CALLS: usize = 1024;
const _: () = assert!(HOSTLANE_MAX_CALLS == hostlane_bridge::limits::MAX_CALLS);

// SAFETY: integers and pointers, `size` first.
unsafe impl Versioned for hostlane_call_options_t {
    const FIRST: usize = offset_of!(Self, channel) + size_of::<u16>();
}

/// Sets every member to its default and `size` to `size`, which is sizeof(hostlane_call_options_t). NULL does nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_call_options_init(options: *mut hostlane_call_options_t, size: usize) {
    // SAFETY: null or `size` writable bytes, by the contract of the header.
    unsafe { options::init(options, size) };
}

/// # Safety
/// Null, or options as the header describes them.
pub(crate) unsafe fn options(options: *const hostlane_call_options_t) -> Result<CallOptions> {
    let mut built = CallOptions::new();
    if options.is_null() {
        return Ok(built);
    }
    // SAFETY: not null, and by the contract of the header as long as its size says.
    let raw = unsafe { options::read(options) }?;
    // SAFETY: by the contract of the header the pointers are null or as long as their lengths say; nothing is kept.
    let (key, trace, fds) = unsafe {
        (
            array(raw.idempotency_key.cast::<u8>(), raw.idempotency_key_len, "options.idempotency_key")?,
            array(raw.trace.cast::<u8>(), raw.trace_len, "options.trace")?,
            array(raw.fds, raw.fds_len, "options.fds")?,
        )
    };
    if raw.channel != 0 {
        built = built.channel(Channel::new(raw.channel)?);
    }
    if raw.deadline_ms != 0 {
        let from_now = u64::try_from(raw.deadline_ms)
            .map_err(|_| Error::new(Code::InvalidArgument, "options.deadline_ms is negative"))?;
        // A time that the clock cannot express is no deadline.
        if let Some(at) = Instant::now().checked_add(Duration::from_millis(from_now)) {
            built = built.deadline(at);
        }
    }
    if !raw.idempotency_key.is_null() {
        built = built.idempotency_key(Bytes::copy_from_slice(key));
    }
    if !raw.trace.is_null() {
        built = built.trace(Bytes::copy_from_slice(trace));
    }
    if fds.len() > HOSTLANE_MAX_FDS {
        return Err(Error::new(Code::InvalidArgument, format!("options.fds_len is more than {HOSTLANE_MAX_FDS}")));
    }
    if !fds.is_empty() {
        built = built.fds(fds.iter().map(|fd| duplicate(*fd)).collect::<Result<_>>()?);
    }
    Ok(built)
}

fn duplicate(fd: i32) -> Result<std::os::fd::OwnedFd> {
    let bad = |why: &dyn std::fmt::Display| Error::new(Code::InvalidArgument, format!("options.fds: {fd}: {why}"));
    if fd < 0 {
        return Err(bad(&"not a descriptor"));
    }
    // SAFETY: not -1; the caller's for the whole call by the contract of the header, and only duplicated.
    unsafe { BorrowedFd::borrow_raw(fd) }.try_clone_to_owned().map_err(|error| bad(&error))
}

/// Whether the program gave a deadline of its own.
///
/// # Safety
/// As for [`options`], which was called before and found the options well.
unsafe fn has_deadline(options: *const hostlane_call_options_t) -> bool {
    // SAFETY: `deadline_ms` is part of every version of the struct.
    !options.is_null() && unsafe { (&raw const (*options).deadline_ms).read_unaligned() } != 0
}

/// The options of a call that is waited for: without a deadline of its own it has that of the wait.
///
/// # Safety
/// As for [`options`].
pub(crate) unsafe fn options_until(raw: *const hostlane_call_options_t, timeout_ms: i64) -> Result<CallOptions> {
    // SAFETY: the same promise.
    let (built, told) = unsafe { (options(raw)?, has_deadline(raw)) };
    Ok(match args::deadline(timeout_ms) {
        Some(at) if !told => built.deadline(at),
        _ => built,
    })
}

/// Calls the other side with `len` bytes and waits for its reply. On success the caller owns `*reply`. The other side is
/// told how long the caller waits. Any number of calls may be open, of any number of threads; on wire level 0, and above
/// what the other side serves at a time, they queue in order. Signals do not end this wait.
///
/// A call whose timeout passes is cancelled: the other side is told, the connection goes on, and hostlane_error_sent()
/// tells whether the other side may have seen it. Wire level 0 has no such message, so there the connection ends.
///
/// HOSTLANE_E_REMOTE_ERROR when the program on the other side failed the call: hostlane_error_remote_status() and
/// hostlane_error_data() have what it said. HOSTLANE_E_CALL_ABANDONED when it let the call go. HOSTLANE_E_DRAINING when
/// the connection takes nothing new.
///
/// Errors: also those of hostlane_send() and hostlane_recv(), and HOSTLANE_E_QUEUE_FULL when HOSTLANE_MAX_CALLS calls
/// wait already.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_request(
    peer: hostlane_peer_t,
    data: *const c_void,
    len: usize,
    timeout_ms: i64,
    reply: *mut *mut hostlane_message_t,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    // SAFETY: the contract of the header, passed on.
    unsafe { hostlane_request_with(peer, data, len, std::ptr::null(), timeout_ms, reply, err) }
}

/// hostlane_request() with what `options` says; they may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_request_with(
    peer: hostlane_peer_t,
    data: *const c_void,
    len: usize,
    options: *const hostlane_call_options_t,
    timeout_ms: i64,
    reply: *mut *mut hostlane_message_t,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    peer.call(err, |peer| {
        // SAFETY: the contract of the header for `data`, `reply` and `options`.
        let (payload, reply, options) =
            unsafe { (args::bytes(data, len)?, Out::new(reply, "reply")?, self::options(options)?) };
        let answer = peer.request_with(payload, options, args::wait(timeout_ms))?;
        reply.set(hostlane_message_t::into_raw(answer));
        Ok(())
    })
}

/// Starts a call and does not wait. `options` may be NULL. On success the caller owns `*started` and ends it with
/// hostlane_call_wait() or hostlane_call_cancel(). Errors: those of hostlane_request() that are found at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_call_start(
    peer: hostlane_peer_t,
    data: *const c_void,
    len: usize,
    options: *const hostlane_call_options_t,
    started: *mut hostlane_call_t,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    peer.call(err, |peer| {
        // SAFETY: the contract of the header for `data`, `started` and `options`.
        let (payload, started, options) =
            unsafe { (args::bytes(data, len)?, Out::new(started, "started")?, self::options(options)?) };
        started.set(objects::issue(peer.start_with(payload, options)?));
        Ok(())
    })
}

/// Waits for the reply of a started call, and ends the handle whatever comes of it: a call that timed out is cancelled.
/// On success the caller owns `*reply`. Signals do not end this wait.
///
/// Errors: those of hostlane_request(), and HOSTLANE_E_CLOSED when the handle was waited for or cancelled before.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_call_wait(
    started: hostlane_call_t,
    timeout_ms: i64,
    reply: *mut *mut hostlane_message_t,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    call(err, || {
        // SAFETY: the contract of the header for `reply`.
        let reply = unsafe { Out::new(reply, "reply") }?;
        let started = objects::take(started)?;
        reply.set(hostlane_message_t::into_raw(started.wait(args::wait(timeout_ms))?));
        Ok(())
    })
}

/// Gives a started call up: the other side is told; on wire level 0 the connection ends when the call was sent. The
/// second call gives HOSTLANE_E_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_call_cancel(
    started: hostlane_call_t,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    call(err, || {
        drop(objects::take(started)?);
        Ok(())
    })
}
