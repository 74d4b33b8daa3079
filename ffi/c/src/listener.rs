//! A socket that others connect to.

use std::collections::VecDeque;
use std::ffi::c_char;
use std::sync::{Mutex, PoisonError};

use hostlane_bridge::{Address, Code, Error, Listener, Refusal, limits};

use crate::abi::hostlane_status_t;
use crate::args::{self, Out, call};
use crate::error::hostlane_error_t;
use crate::objects::{self, Handle};
use crate::options::{self, hostlane_listen_options_t};
use crate::peer::hostlane_peer_t;

/// A listening socket. A value: copy it freely, use it from any thread, several at once. All zero is a handle that was
/// never issued.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hostlane_listener_t {
    /// Meaningless outside the library.
    pub id: u64,
}

/// A client that was turned away before it became a peer.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hostlane_refusal_t {
    /// Why: HOSTLANE_E_AUTHENTICATION_FAILED, HOSTLANE_E_VERSION_MISMATCH, HOSTLANE_E_TIMEOUT and so on.
    pub status: hostlane_status_t,
    /// Process id of the client; 0 when the system does not tell.
    pub pid: i32,
    /// User id of the client; UINT32_MAX when the system does not tell.
    pub uid: u32,
    /// Group id of the client; UINT32_MAX when the system does not tell.
    pub gid: u32,
}

/// What the table holds for a listener.
pub(crate) struct Listening {
    pub(crate) listener: Listener,
    /// Refusals taken from core that did not fit into the caller's array yet.
    refusals: Mutex<VecDeque<Refusal>>,
}

/// Listens on `addr` (the address forms of docs/protocol.md). `options` may be NULL. The socket is private to the user
/// from its first instant; a stale one is replaced, a live one never. On success the caller owns `*listener` and ends it
/// with hostlane_listener_close(), which also removes the socket.
///
/// Errors: HOSTLANE_E_INVALID_ADDRESS, HOSTLANE_E_ADDRESS_TOO_LONG, HOSTLANE_E_UNSUPPORTED, HOSTLANE_E_INVALID_CHANNEL,
/// HOSTLANE_E_AUTHENTICATION_REQUIRED, HOSTLANE_E_ADDRESS_IN_USE, HOSTLANE_E_NOT_A_SOCKET,
/// HOSTLANE_E_UNSAFE_DIRECTORY, HOSTLANE_E_NOT_FOUND, HOSTLANE_E_PERMISSION_DENIED, HOSTLANE_E_TOO_MANY_FILES.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_listen(
    addr: *const c_char,
    addr_len: usize,
    options: *const hostlane_listen_options_t,
    listener: *mut hostlane_listener_t,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    call(err, || {
        // SAFETY: the contract of the header for `listener`, `addr` and `options`.
        let (out, addr, options) = unsafe {
            (Out::new(listener, "listener")?, args::text(addr, addr_len, "addr")?, options::listen(options)?)
        };
        let address: Address = addr.parse()?;
        let listener = Listener::bind_with(&address, &options)?;
        out.set(objects::issue(Listening { listener, refusals: Mutex::default() }));
        Ok(())
    })
}

/// Waits for the next client that finished its handshake. Handshakes run side by side, so a slow or silent client delays
/// nobody; clients that fail are counted and listed by hostlane_listener_refusals(). On success the caller owns `*peer`.
///
/// A signal ends the wait with HOSTLANE_E_INTERRUPTED; nothing is lost, call again.
///
/// Errors: HOSTLANE_E_TIMEOUT, HOSTLANE_E_INTERRUPTED, HOSTLANE_E_CLOSED, HOSTLANE_E_WRONG_DRIVER.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_accept(
    listener: hostlane_listener_t,
    timeout_ms: i64,
    peer: *mut hostlane_peer_t,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    listener.call(err, |listening| {
        // SAFETY: the contract of the header for `peer`.
        let out = unsafe { Out::new(peer, "peer") }?;
        let mut stop = args::stop_on_signal;
        let wait = args::wait(timeout_ms).on_interrupt(&mut stop);
        out.set(objects::issue(listening.listener.accept(wait)?));
        Ok(())
    })
}

/// The address of the listener in its canonical form. `*len` gets its length in bytes, which hostlane_listener_address(l,
/// NULL, 0, &len, err) tells beforehand. The text is not terminated.
/// Errors: HOSTLANE_E_INVALID_ARGUMENT when `cap` is too small, HOSTLANE_E_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_listener_address(
    listener: hostlane_listener_t,
    buf: *mut c_char,
    cap: usize,
    len: *mut usize,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    listener.call(err, |listening| {
        let address = listening.listener.address().to_string();
        // SAFETY: the contract of the header for `buf` and `len`.
        unsafe { args::copy_text(&address, buf, cap, len) }
    })
}

/// Takes at most `cap` refusals, oldest first, into `refusals`; `*n` gets their number, 0 when there are none. The
/// listener remembers the last 64; hostlane_listener_stats() counts all of them.
/// Errors: HOSTLANE_E_INVALID_ARGUMENT, also when `cap` is 0; HOSTLANE_E_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_listener_refusals(
    listener: hostlane_listener_t,
    refusals: *mut hostlane_refusal_t,
    cap: usize,
    n: *mut usize,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    listener.call(err, |listening| {
        // SAFETY: the contract of the header for `refusals` and `n`.
        let (_, n) = unsafe { (Out::new(refusals, "refusals")?, Out::new(n, "n")?) };
        if cap == 0 {
            return Err(Error::new(Code::InvalidArgument, "cap is 0: no refusal could be handed out"));
        }
        let mut waiting = listening.refusals.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.extend(listening.listener.take_refusals()?);
        // With those that did not fit before, no more than the listener itself remembers.
        let forgotten = waiting.len().saturating_sub(limits::MAX_REFUSALS);
        waiting.drain(..forgotten);
        let count = cap.min(waiting.len());
        for (at, refusal) in waiting.drain(..count).enumerate() {
            // SAFETY: at most `cap` of them, which are writable by the contract of the header.
            unsafe { refusals.add(at).write(flat(&refusal)) };
        }
        n.set(count);
        Ok(())
    })
}

/// Closes the listener at once, removes its socket and gives the handle back. Every thread in hostlane_accept() returns
/// with HOSTLANE_E_CLOSED; peers accepted before live on. The second call gives HOSTLANE_E_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_listener_close(
    listener: hostlane_listener_t,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    objects::close(listener, err)
}

fn flat(refusal: &Refusal) -> hostlane_refusal_t {
    let who = refusal.credentials;
    hostlane_refusal_t {
        status: refusal.error.code().number(),
        pid: who.map_or(0, |who| who.pid),
        uid: who.map_or(u32::MAX, |who| who.uid),
        gid: who.map_or(u32::MAX, |who| who.gid),
    }
}
