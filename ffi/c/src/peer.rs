//! One connection.

use std::ffi::{c_char, c_void};

use hostlane_bridge::{Address, Channel, Peer};

use crate::abi::hostlane_status_t;
use crate::args::{self, Out, call};
use crate::call::hostlane_call_options_t;
use crate::error::hostlane_error_t;
use crate::message::hostlane_message_t;
use crate::objects::{self, Handle};
use crate::options::{self, hostlane_connect_options_t};

/// A connection to one other process. A value: copy it freely, use it from any thread, several at once. All zero is a
/// handle that was never issued.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hostlane_peer_t {
    /// Meaningless outside the library.
    pub id: u64,
}

/// Connects to `addr` (the address forms of docs/protocol.md, for example "name", "/path" or "unix:/path") and finishes
/// the handshake. `options` may be NULL. On success the caller owns `*peer` and ends it with hostlane_close().
///
/// A signal ends the wait with HOSTLANE_E_INTERRUPTED; nothing is left behind, call again.
///
/// Errors: HOSTLANE_E_INVALID_ADDRESS, HOSTLANE_E_ADDRESS_TOO_LONG, HOSTLANE_E_UNSUPPORTED, HOSTLANE_E_INVALID_CHANNEL,
/// HOSTLANE_E_AUTHENTICATION_REQUIRED, HOSTLANE_E_NOT_FOUND, HOSTLANE_E_CONNECTION_REFUSED,
/// HOSTLANE_E_PERMISSION_DENIED, HOSTLANE_E_NOT_A_SOCKET, HOSTLANE_E_TIMEOUT, HOSTLANE_E_INTERRUPTED, and the ways a
/// handshake fails (HOSTLANE_E_REFUSED, HOSTLANE_E_AUTHENTICATION_FAILED, HOSTLANE_E_VERSION_MISMATCH, ...).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_connect(
    addr: *const c_char,
    addr_len: usize,
    options: *const hostlane_connect_options_t,
    timeout_ms: i64,
    peer: *mut hostlane_peer_t,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    call(err, || {
        // SAFETY: the contract of the header for `peer`, `addr` and `options`.
        let (peer, addr, options) =
            unsafe { (Out::new(peer, "peer")?, args::text(addr, addr_len, "addr")?, options::connect(options)?) };
        let address: Address = addr.parse()?;
        let mut stop = args::stop_on_signal;
        let wait = args::wait(timeout_ms).on_interrupt(&mut stop);
        peer.set(objects::issue(Peer::connect_with(&address, &options, wait)?));
        Ok(())
    })
}

/// Sends `len` bytes on `channel` and returns when the whole message was handed to the operating system. `data` is read
/// during the call and not kept; it may be NULL when `len` is 0. Signals do not end this wait.
///
/// HOSTLANE_E_TIMEOUT before the first byte left keeps the connection, and the message was not sent. In the middle of a
/// message it ends the connection, because a message that was begun cannot be taken back.
///
/// On wire level 1 a channel on which the other side has no room left does what its policy says (hostlane_policy_t).
///
/// Errors: HOSTLANE_E_INVALID_CHANNEL, HOSTLANE_E_PAYLOAD_TOO_LARGE, HOSTLANE_E_WOULD_BLOCK, HOSTLANE_E_TIMEOUT,
/// HOSTLANE_E_DRAINING, HOSTLANE_E_PEER_CLOSED, HOSTLANE_E_CONNECTION_LOST, HOSTLANE_E_CLOSED,
/// HOSTLANE_E_WRONG_DRIVER.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_send(
    peer: hostlane_peer_t,
    channel: u16,
    data: *const c_void,
    len: usize,
    timeout_ms: i64,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    peer.call(err, |peer| {
        // SAFETY: the contract of the header for `data`.
        let payload = unsafe { args::bytes(data, len) }?;
        peer.send(Channel::new(channel)?, payload, args::wait(timeout_ms))
    })
}

/// hostlane_send() with what `options` says: `channel`, `trace`, `fds`. They may be NULL.
///
/// Errors: also HOSTLANE_E_UNSUPPORTED for what the connection has no form for, HOSTLANE_E_INVALID_ARGUMENT for options
/// that are for calls alone.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_send_with(
    peer: hostlane_peer_t,
    data: *const c_void,
    len: usize,
    options: *const hostlane_call_options_t,
    timeout_ms: i64,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    peer.call(err, |peer| {
        // SAFETY: the contract of the header for `data` and `options`.
        let (payload, options) = unsafe { (args::bytes(data, len)?, crate::call::options(options)?) };
        peer.send_with(payload, options, args::wait(timeout_ms))
    })
}

/// Receives the next message of any channel, in the order of arrival; calls of the other side arrive on
/// HOSTLANE_CHANNEL_COMMAND. On success the caller owns `*message` and frees it with hostlane_message_free().
///
/// Nothing is lost by HOSTLANE_E_TIMEOUT, nor by HOSTLANE_E_INTERRUPTED, which a signal causes: call again. After the
/// other side ended, what had arrived is still delivered, then HOSTLANE_E_PEER_CLOSED.
///
/// Errors: HOSTLANE_E_TIMEOUT, HOSTLANE_E_INTERRUPTED, HOSTLANE_E_PEER_CLOSED, HOSTLANE_E_CONNECTION_LOST,
/// HOSTLANE_E_TRUNCATED, HOSTLANE_E_CLOSED, HOSTLANE_E_WRONG_DRIVER, and the ways a frame can be wrong
/// (HOSTLANE_E_BAD_MAGIC, HOSTLANE_E_FRAME_TOO_LARGE, HOSTLANE_E_UNKNOWN_CHANNEL, ...).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_recv(
    peer: hostlane_peer_t,
    timeout_ms: i64,
    message: *mut *mut hostlane_message_t,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    peer.call(err, |peer| {
        // SAFETY: the contract of the header for `message`.
        let out = unsafe { Out::new(message, "message") }?;
        let mut stop = args::stop_on_signal;
        let wait = args::wait(timeout_ms).on_interrupt(&mut stop);
        out.set(hostlane_message_t::into_raw(peer.recv(wait)?));
        Ok(())
    })
}

/// Receives the next message of one channel; messages of others stay for their own receivers. Otherwise like
/// hostlane_recv(). HOSTLANE_E_INVALID_CHANNEL when the channel was not agreed in the handshake.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_recv_on(
    peer: hostlane_peer_t,
    channel: u16,
    timeout_ms: i64,
    message: *mut *mut hostlane_message_t,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    peer.call(err, |peer| {
        // SAFETY: the contract of the header for `message`.
        let out = unsafe { Out::new(message, "message") }?;
        let mut stop = args::stop_on_signal;
        let wait = args::wait(timeout_ms).on_interrupt(&mut stop);
        out.set(hostlane_message_t::into_raw(peer.recv_on(Channel::new(channel)?, wait)?));
        Ok(())
    })
}

/// Sends a ping and waits for the answer; `*rtt_ns` gets the round-trip time in nanoseconds. Signals do not end this
/// wait. HOSTLANE_E_TIMEOUT keeps the connection: a program that never receives cannot answer.
///
/// Errors: HOSTLANE_E_TIMEOUT, HOSTLANE_E_QUEUE_FULL, HOSTLANE_E_PEER_CLOSED, HOSTLANE_E_CONNECTION_LOST,
/// HOSTLANE_E_CLOSED, HOSTLANE_E_WRONG_DRIVER.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_ping(
    peer: hostlane_peer_t,
    timeout_ms: i64,
    rtt_ns: *mut u64,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    peer.call(err, |peer| {
        // SAFETY: the contract of the header for `rtt_ns`.
        let out = unsafe { Out::new(rtt_ns, "rtt_ns") }?;
        let rtt = peer.ping(args::wait(timeout_ms))?;
        out.set(u64::try_from(rtt.as_nanos()).unwrap_or(u64::MAX));
        Ok(())
    })
}

/// Ends the connection in good order: no new sends, calls in flight finish, the other side confirms. Messages that had
/// arrived stay readable until hostlane_close(), which is still needed. Signals do not end this wait.
///
/// Errors: HOSTLANE_E_TIMEOUT, HOSTLANE_E_CONNECTION_LOST, HOSTLANE_E_CLOSED, HOSTLANE_E_WRONG_DRIVER.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_drain(
    peer: hostlane_peer_t,
    timeout_ms: i64,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    peer.call(err, |peer| peer.drain(args::wait(timeout_ms)))
}

/// Has the process's I/O thread move this connection's bytes while no call on it does: the other side's pings are
/// answered, its messages collected within the limits, and its end is noticed, whatever the program does meanwhile. The
/// thread is one per process, runs nothing of the program's and takes no signals. A connection with a keepalive of either
/// side has it from the start. The second call changes nothing.
///
/// Errors: HOSTLANE_E_WRONG_DRIVER for a peer of a context, HOSTLANE_E_TOO_MANY_FILES, HOSTLANE_E_IO, HOSTLANE_E_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_attach(peer: hostlane_peer_t, err: *mut *mut hostlane_error_t) -> hostlane_status_t {
    peer.call(err, Peer::attach)
}

/// Closes the connection at once and gives the handle back. Every thread that waits in a call on the peer returns with
/// HOSTLANE_E_CLOSED. Never blocks. Closing twice changes nothing: the second call gives HOSTLANE_E_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_close(peer: hostlane_peer_t, err: *mut *mut hostlane_error_t) -> hostlane_status_t {
    objects::close(peer, err)
}
