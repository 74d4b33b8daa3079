//! Many small messages in one call.

use std::ffi::c_void;

use hostlane_bridge::{Channel, Code, Error, Peer, Placed, Result, Started};

use crate::abi::hostlane_status_t;
use crate::args::{self, Out, array};
use crate::context::hostlane_context_t;
use crate::error::hostlane_error_t;
use crate::event::hostlane_event_t;
use crate::message::{self, hostlane_message_t};
use crate::objects::{self, Handle};
use crate::peer::hostlane_peer_t;

/// Bytes of the caller, laid out as struct iovec is.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hostlane_bytes_t {
    /// May be NULL when `len` is 0.
    pub data: *const c_void,
    /// Length of `data`, in bytes.
    pub len: usize,
}

impl hostlane_bytes_t {
    /// # Safety
    /// As for [`args::bytes`].
    pub(crate) unsafe fn slice<'a>(self) -> Result<&'a [u8]> {
        // SAFETY: the same promise.
        unsafe { args::bytes(self.data, self.len) }
    }
}

/// HOSTLANE_NO_ROOM of the header; cbindgen.toml has it.
const HOSTLANE_NO_ROOM: usize = usize::MAX;

/// One message of a batch that was received.
#[repr(C)]
pub struct hostlane_entry_t {
    /// Where its payload starts in the buffer; HOSTLANE_NO_ROOM when there was too little room for it.
    pub offset: usize,
    /// Length of its payload, in bytes: with HOSTLANE_NO_ROOM what a buffer would have needed.
    pub len: usize,
    /// NULL for a one-way message that is in the buffer. Otherwise owned by the caller, to be freed with
    /// hostlane_message_free(): the request to answer, or what came with the message (its trace, descriptors), and with
    /// HOSTLANE_NO_ROOM its payload. hostlane_message_data() is empty when the payload is in the buffer.
    pub message: *mut hostlane_message_t,
    /// hostlane_message_call_id().
    pub call_id: u64,
    /// hostlane_message_timeout_ms().
    pub timeout_ms: i64,
    /// hostlane_message_flags().
    pub flags: u32,
    /// The channel it arrived on.
    pub channel: u16,
}

/// Sends `n` messages of one channel, in order, in as few system calls as they allow, and returns when the operating
/// system has all of them. `payloads` are read during the call and not kept. Signals do not end this wait. After a
/// failure hostlane_stats_on() tells how many were accepted before it.
///
/// Errors: those of hostlane_send().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_send_batch(
    peer: hostlane_peer_t,
    channel: u16,
    payloads: *const hostlane_bytes_t,
    n: usize,
    timeout_ms: i64,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    peer.call(err, |peer| {
        // SAFETY: the contract of the header for `payloads`, and for what they point to.
        let payloads = unsafe { array(payloads, n, "payloads") }?;
        for payload in payloads {
            // SAFETY: as above; every pointer is judged before the first message is sent.
            unsafe { payload.slice() }?;
        }
        // SAFETY: as above. All of them were found well.
        let slices = payloads.iter().filter_map(|payload| unsafe { payload.slice() }.ok());
        peer.send_batch(Channel::new(channel)?, slices, args::wait(timeout_ms))
    })
}

/// Receives all that is there, at most `max` messages of any channel, waiting for the first. Their payloads lie one
/// behind the other in `buffer`, which has `capacity` bytes; `entries` has room for `max`, and `*n` gets their number. A
/// message that finds too little room is the last entry and keeps its payload (HOSTLANE_NO_ROOM): nothing is lost. A
/// `capacity` of 0 gives one message at a time that way.
///
/// Errors: HOSTLANE_E_INVALID_ARGUMENT when `max` is 0, else those of hostlane_recv(), among them HOSTLANE_E_INTERRUPTED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_recv_batch(
    peer: hostlane_peer_t,
    timeout_ms: i64,
    buffer: *mut c_void,
    capacity: usize,
    entries: *mut hostlane_entry_t,
    max: usize,
    n: *mut usize,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    peer.call(err, |peer| {
        // SAFETY: the contract of the header for `buffer`, `entries` and `n`.
        let (buffer, out) = unsafe { (args::room(buffer, capacity)?, Entries::new(entries, max, n)?) };
        let mut stop = args::stop_on_signal;
        let wait = args::wait(timeout_ms).on_interrupt(&mut stop);
        out.set(peer.recv_into(buffer, max, wait)?);
        Ok(())
    })
}

/// hostlane_recv_batch() for a peer of a context. When something is there, `event` is HOSTLANE_EVENT_READABLE with `op` 0
/// and `*n` is at least 1. When nothing is, `*n` is 0 and `event` HOSTLANE_EVENT_PENDING: it finishes as
/// HOSTLANE_EVENT_READABLE, without messages, when something has come; call again then. The end of the connection is the
/// error of this call, or of the event, after all that had arrived.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_context_recv_batch(
    context: hostlane_context_t,
    peer: hostlane_peer_t,
    timeout_ms: i64,
    buffer: *mut c_void,
    capacity: usize,
    entries: *mut hostlane_entry_t,
    max: usize,
    n: *mut usize,
    event: *mut hostlane_event_t,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    context.call(err, |context| {
        // SAFETY: the contract of the header for `buffer`, `entries`, `n` and `event`.
        let (buffer, out, event) =
            unsafe { (args::room(buffer, capacity)?, Entries::new(entries, max, n)?, Out::new(event, "event")?) };
        let peer = objects::get(peer)?;
        let deadline = args::deadline(timeout_ms);
        loop {
            let started = context.readable(&peer, deadline)?;
            let waits = matches!(started, Started::Pending(_));
            let placed = if waits { Vec::new() } else { peer.try_recv_into(buffer, max)? };
            // What was there may have been requests whose callers have left, which nobody receives.
            if waits || !placed.is_empty() {
                out.set(placed);
                event.set(hostlane_event_t::started(started));
                return Ok(());
            }
        }
    })
}

/// Bytes of a channel that a hostlane_cork() gathers.
pub const HOSTLANE_CHANNEL_QUEUE: usize = 4194304;
const _: () = assert!(HOSTLANE_CHANNEL_QUEUE == hostlane_bridge::limits::CHANNEL_QUEUE);

/// Holds back what is sent, requested and replied on the peer, by whatever thread, until hostlane_uncork(): small writes
/// are then made in one go. Meanwhile hostlane_send() and hostlane_reply() return once a message is queued, and wait as
/// without a cork once HOSTLANE_CHANNEL_QUEUE bytes of a channel are; what fills a write leaves before, and a call that
/// waits in the peer leaves all. Corks count: the last hostlane_uncork() lets go. Works on peers of any driver; without
/// effect on wire level 0. Errors: HOSTLANE_E_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_cork(peer: hostlane_peer_t, err: *mut *mut hostlane_error_t) -> hostlane_status_t {
    peer.call(err, |peer| {
        // Let go by `uncork`.
        std::mem::forget(peer.cork());
        Ok(())
    })
}

/// Ends one hostlane_cork(). One too many changes nothing. Errors: HOSTLANE_E_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_uncork(peer: hostlane_peer_t, err: *mut *mut hostlane_error_t) -> hostlane_status_t {
    peer.call(err, |peer| {
        peer.uncork();
        Ok(())
    })
}

/// The caller's array of entries and its count.
struct Entries {
    entries: *mut hostlane_entry_t,
    n: Out<usize>,
}

impl Entries {
    /// # Safety
    /// Unless null, `entries` has `max` writable places and `n` is writable until the entry point returns.
    unsafe fn new(entries: *mut hostlane_entry_t, max: usize, n: *mut usize) -> Result<Entries> {
        // SAFETY: the same promise.
        let (_, n) = unsafe { (Out::new(entries, "entries")?, Out::new(n, "n")?) };
        if max == 0 {
            return Err(Error::new(Code::InvalidArgument, "max is 0: no message could be received"));
        }
        Ok(Entries { entries, n })
    }

    /// Writes what was received: never more than the `max` that [`Peer::recv_into`] was told.
    fn set(self, placed: Vec<Placed>) {
        self.n.set(placed.len());
        for (at, one) in placed.into_iter().enumerate() {
            // SAFETY: at most `max` places, writable by the promise made to `new`.
            unsafe { self.entries.add(at).write(entry(one)) };
        }
    }
}

fn entry(placed: Placed) -> hostlane_entry_t {
    let Placed { channel, at, len, message } = placed;
    let facts = message.as_ref().map_or(message::PLAIN, message::facts);
    hostlane_entry_t {
        offset: at.unwrap_or(HOSTLANE_NO_ROOM),
        len,
        message: message.map_or(std::ptr::null_mut(), hostlane_message_t::into_raw),
        call_id: facts.call_id,
        timeout_ms: facts.timeout_ms,
        flags: facts.flags,
        channel: channel.number(),
    }
}

/// Peers that are corked while a batch of operations is started.
#[derive(Default)]
pub(crate) struct Corks(Vec<(u64, std::sync::Arc<Peer>)>);

impl Corks {
    /// The peer of a handle, corked once.
    pub(crate) fn get(&mut self, handle: hostlane_peer_t) -> Result<&Peer> {
        let known = self.0.iter().position(|(id, _)| *id == handle.id());
        let at = match known {
            Some(at) => at,
            None => {
                let peer = objects::get(handle)?;
                std::mem::forget(peer.cork());
                self.0.push((handle.id(), peer));
                self.0.len() - 1
            }
        };
        Ok(&self.0[at].1)
    }

    /// Corks a peer if there is one: what fails without it says so itself.
    pub(crate) fn try_add(&mut self, handle: hostlane_peer_t) {
        if handle.id() != 0 {
            let _ = self.get(handle);
        }
    }
}

impl Drop for Corks {
    fn drop(&mut self) {
        self.0.iter().for_each(|(_, peer)| peer.uncork());
    }
}
