//! Calls with many messages in both directions.

use std::ffi::c_void;

use hostlane_bridge::{Code, Error};

use crate::abi::hostlane_status_t;
use crate::args::{self, Out, call};
use crate::call::{self as calls, hostlane_call_options_t};
use crate::error::hostlane_error_t;
use crate::message::hostlane_message_t;
use crate::objects::{self, Handle};
use crate::peer::hostlane_peer_t;

/// The items of one call, in both directions, each with a credit of its own: a stream nobody reads stops nobody else. A
/// value: copy it freely; one thread may send while another receives. All zero is a handle that was never issued.
///
/// A stream of a peer that a context drives is used by that context's calls; the blocking ones give
/// HOSTLANE_E_WRONG_DRIVER.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hostlane_stream_t {
    /// Meaningless outside the library.
    pub id: u64,
}

/// Opens a stream with a request of `len` bytes. `options` may be NULL. Never waits, whatever drives the peer. On success
/// the caller owns `*stream` and ends it with hostlane_stream_close().
///
/// Errors: HOSTLANE_E_UNSUPPORTED on wire level 0, else those of hostlane_request() that are found at once.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_stream_open(
    peer: hostlane_peer_t,
    data: *const c_void,
    len: usize,
    options: *const hostlane_call_options_t,
    stream: *mut hostlane_stream_t,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    peer.call(err, |peer| {
        // SAFETY: the contract of the header for `data`, `stream` and `options`.
        let (payload, stream, options) =
            unsafe { (args::bytes(data, len)?, Out::new(stream, "stream")?, calls::options(options)?) };
        stream.set(objects::issue(peer.open_stream(payload, options)?));
        Ok(())
    })
}

/// The stream that a request opened: items both ways until the message is answered. On success the caller owns `*stream`
/// and ends it with hostlane_stream_close(); the duty to answer stays with the message, and as long as the stream is open
/// freeing the message does not abandon the call.
///
/// Errors: HOSTLANE_E_INVALID_ARGUMENT when the message opened none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_message_stream(
    message: *const hostlane_message_t,
    stream: *mut hostlane_stream_t,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    call(err, || {
        // SAFETY: the contract of the header for `message` and `stream`.
        let (message, out) = unsafe { (args::object(message, "message")?, Out::new(stream, "stream")?) };
        let stream = message.message()?.stream();
        let stream = stream.ok_or_else(|| Error::new(Code::InvalidArgument, "the message opened no stream"))?;
        out.set(objects::issue(stream));
        Ok(())
    })
}

/// The id of the stream's call, unique in its connection; the same that hostlane_message_call_id() tells on the other
/// side. Errors: HOSTLANE_E_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_stream_call_id(
    stream: hostlane_stream_t,
    call_id: *mut u64,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    stream.call(err, |stream| {
        // SAFETY: the contract of the header for `call_id`.
        unsafe { Out::new(call_id, "call_id") }?.set(stream.call_id());
        Ok(())
    })
}

/// Sends an item of `len` bytes; waits for credit, and until the operating system has all of it. `data` is read during the
/// call and not kept. Signals do not end this wait. HOSTLANE_E_TIMEOUT: an item that had not begun is withdrawn.
///
/// Errors: HOSTLANE_E_CALL_ENDED when the call is over, HOSTLANE_E_INVALID_ARGUMENT after hostlane_stream_finish(),
/// HOSTLANE_E_PAYLOAD_TOO_LARGE, HOSTLANE_E_TIMEOUT, HOSTLANE_E_PEER_CLOSED, HOSTLANE_E_CONNECTION_LOST,
/// HOSTLANE_E_CLOSED, HOSTLANE_E_WRONG_DRIVER.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_stream_send(
    stream: hostlane_stream_t,
    data: *const c_void,
    len: usize,
    timeout_ms: i64,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    stream.call(err, |stream| {
        // SAFETY: the contract of the header for `data`.
        let item = unsafe { args::bytes(data, len) }?;
        stream.send(item, args::wait(timeout_ms))
    })
}

/// Says that this side sends no more; the other direction goes on. Errors: those of hostlane_stream_send().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_stream_finish(
    stream: hostlane_stream_t,
    timeout_ms: i64,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    stream.call(err, |stream| stream.finish(args::wait(timeout_ms)))
}

/// Receives the next item. On success the caller owns `*item`, whose bytes hostlane_message_data() gives; NULL at the
/// end: for the side that opened the stream that of the call, whose reply hostlane_stream_reply() then has, for the other
/// side the opener's hostlane_stream_finish().
///
/// Nothing is lost by HOSTLANE_E_TIMEOUT, nor by HOSTLANE_E_INTERRUPTED, which a signal causes: call again.
///
/// Errors: HOSTLANE_E_REMOTE_ERROR when the other side failed the call, HOSTLANE_E_CALL_ABANDONED when it let it go,
/// HOSTLANE_E_CALL_ENDED, HOSTLANE_E_TIMEOUT, HOSTLANE_E_INTERRUPTED, HOSTLANE_E_CANCELLED when the stream was closed
/// meanwhile, HOSTLANE_E_PEER_CLOSED, HOSTLANE_E_CONNECTION_LOST, HOSTLANE_E_CLOSED, HOSTLANE_E_WRONG_DRIVER.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_stream_recv(
    stream: hostlane_stream_t,
    timeout_ms: i64,
    item: *mut *mut hostlane_message_t,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    stream.call(err, |stream| {
        // SAFETY: the contract of the header for `item`.
        let out = unsafe { Out::new(item, "item") }?;
        let mut stop = args::stop_on_signal;
        let wait = args::wait(timeout_ms).on_interrupt(&mut stop);
        out.set(stream.recv(wait)?.map_or(std::ptr::null_mut(), hostlane_message_t::bytes_into_raw));
        Ok(())
    })
}

/// The reply that ended the call, for the side that opened the stream, after hostlane_stream_recv() gave the end; NULL
/// before, and on the other side. On success the caller owns `*reply`. A context hands it out with
/// HOSTLANE_EVENT_STREAM_END instead. Errors: HOSTLANE_E_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_stream_reply(
    stream: hostlane_stream_t,
    reply: *mut *mut hostlane_message_t,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    stream.call(err, |stream| {
        // SAFETY: the contract of the header for `reply`.
        let out = unsafe { Out::new(reply, "reply") }?;
        out.set(stream.reply().map_or(std::ptr::null_mut(), hostlane_message_t::bytes_into_raw));
        Ok(())
    })
}

/// Gives the stream back. For the side that opened it the call is given up unless it has ended: the other side is told,
/// and threads inside calls on the stream return with HOSTLANE_E_CANCELLED. On the other side the call goes on until its
/// message is answered or freed. Never blocks. The second call gives HOSTLANE_E_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_stream_close(
    stream: hostlane_stream_t,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    objects::close(stream, err)
}
