//! One pollable descriptor for a foreign event loop, and operations that finish through it.

use std::ffi::{c_char, c_void};
use std::os::fd::AsRawFd;

use hostlane_bridge::{Address, Channel, Code, Context, Error, Progress, Result};

use crate::abi::hostlane_status_t;
use crate::args::{self, Out};
use crate::call::{self, hostlane_call_options_t};
use crate::error::hostlane_error_t;
use crate::event::{Room, hostlane_event_t};
use crate::listener::hostlane_listener_t;
use crate::message::hostlane_message_t;
use crate::objects::{self, Handle};
use crate::options::{self, hostlane_connect_options_t};
use crate::peer::hostlane_peer_t;
use crate::stream::hostlane_stream_t;

/// Operations on many peers and listeners that never block, and one descriptor that says when some of them finished.
/// A value like hostlane_peer_t; every call is safe from any thread.
///
/// Each hostlane_context_ function that starts an operation writes an event: the finished operation (`op` 0), or kind
/// HOSTLANE_EVENT_PENDING with a number in `op`. A pending operation finishes exactly once, as an event of
/// hostlane_context_process() or hostlane_context_next() with the same `op`, also when it fails, times out or is
/// cancelled. Numbers are unique within their context and never reused.
///
/// A peer belongs to the context that made it, a listener to the first context that accepts on it; blocking calls on
/// them give HOSTLANE_E_WRONG_DRIVER, as do context calls on a peer that was made by a blocking call.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hostlane_context_t {
    /// Meaningless outside the library.
    pub id: u64,
}

/// The channel argument of hostlane_context_recv() that stands for all of them.
pub const HOSTLANE_ANY_CHANNEL: i32 = -1;

/// Makes a context. On success the caller owns `*context` and ends it with hostlane_context_close().
/// Errors: HOSTLANE_E_TOO_MANY_FILES, HOSTLANE_E_IO.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_context_new(
    context: *mut hostlane_context_t,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    args::call(err, || {
        // SAFETY: the contract of the header for `context`.
        let out = unsafe { Out::new(context, "context") }?;
        out.set(objects::issue(hostlane_bridge::Context::new()?));
        Ok(())
    })
}

/// The descriptor to watch for reading, in poll, epoll or any event loop. It stays readable for as long as
/// hostlane_context_process() has something to do, and belongs to the context: never read it, never close it.
/// Errors: HOSTLANE_E_CLOSED, HOSTLANE_E_FORKED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_context_fd(
    context: hostlane_context_t,
    fd: *mut i32,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    context.call(err, |context| {
        // SAFETY: the contract of the header for `fd`.
        let out = unsafe { Out::new(fd, "fd") }?;
        out.set(context.fd().as_raw_fd());
        Ok(())
    })
}

/// Does the work that is ready and hands out at most `cap` finished operations in `events`; `*n` gets their number.
/// Never blocks. `*more` (may be NULL) tells whether work is left: call again before waiting on the descriptor. Free the
/// batch with hostlane_events_free().
///
/// Errors: HOSTLANE_E_INVALID_ARGUMENT when `cap` is 0, HOSTLANE_E_CLOSED. The failure of an operation is an event, never
/// an error of this call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_context_process(
    context: hostlane_context_t,
    events: *mut hostlane_event_t,
    cap: usize,
    n: *mut usize,
    more: *mut bool,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    // SAFETY: the contract of the header, passed on.
    context.call(err, |context| unsafe { process(context, Room::none(), events, cap, n, more) })
}

/// hostlane_context_process() with the payloads one behind the other in `buffer`, which has `capacity` bytes. An event's
/// `data` then points there, and `message` is NULL unless there is something to do with it: a request to answer, a trace
/// or descriptors, or a payload that found no room. hostlane_events_free() is only needed for events that have a `message`
/// or an `error`. Never blocks: one short call for up to `cap` operations.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_context_process_batch(
    context: hostlane_context_t,
    buffer: *mut c_void,
    capacity: usize,
    events: *mut hostlane_event_t,
    cap: usize,
    n: *mut usize,
    more: *mut bool,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    context.call(err, |context| {
        // SAFETY: the contract of the header for `buffer`.
        let room = Room::new(unsafe { args::room(buffer, capacity) }?);
        // SAFETY: the contract of the header, passed on.
        unsafe { process(context, room, events, cap, n, more) }
    })
}

/// # Safety
/// Unless null, `events` has `cap` writable places, and `n` and `more` are writable.
unsafe fn process(
    context: &Context,
    mut room: Room<'_>,
    events: *mut hostlane_event_t,
    cap: usize,
    n: *mut usize,
    more: *mut bool,
) -> Result<()> {
    // SAFETY: the promise of the caller.
    let (_, n) = unsafe { (Out::new(events, "events")?, Out::new(n, "n")?) };
    if cap == 0 {
        return Err(Error::new(Code::InvalidArgument, "cap is 0: no event could be handed out"));
    }
    let mut done = Vec::with_capacity(cap.min(256));
    let progress = context.process(cap, &mut done)?;
    n.set(done.len());
    for (at, completion) in done.into_iter().enumerate() {
        // SAFETY: `process` hands out at most `cap`, which are writable by the promise of the caller.
        unsafe { events.add(at).write(hostlane_event_t::completed(completion, &mut room)) };
    }
    if !more.is_null() {
        // SAFETY: not null, so writable by the promise of the caller.
        unsafe { more.write(matches!(progress, Progress::More)) };
    }
    Ok(())
}

/// Waits for the next finished operation: poll and process in one call, for programs without a loop of their own. Free
/// the event with hostlane_events_free(event, 1).
/// Errors: HOSTLANE_E_TIMEOUT, HOSTLANE_E_INTERRUPTED when a signal arrived (call again), HOSTLANE_E_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_context_next(
    context: hostlane_context_t,
    timeout_ms: i64,
    event: *mut hostlane_event_t,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    context.call(err, |context| {
        // SAFETY: the contract of the header for `event`.
        let out = unsafe { Out::new(event, "event") }?;
        let mut stop = args::stop_on_signal;
        let wait = args::wait(timeout_ms).on_interrupt(&mut stop);
        out.set(hostlane_event_t::completed(context.next(wait)?, &mut Room::none()));
        Ok(())
    })
}

/// Waits for the next finished operation and hands out at most `cap` of them, as hostlane_context_process_batch() does:
/// poll and process in one call, for programs without a loop of their own.
/// Errors: those of hostlane_context_next(), and HOSTLANE_E_INVALID_ARGUMENT when `cap` is 0.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_context_next_batch(
    context: hostlane_context_t,
    timeout_ms: i64,
    buffer: *mut c_void,
    capacity: usize,
    events: *mut hostlane_event_t,
    cap: usize,
    n: *mut usize,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    context.call(err, |context| {
        // SAFETY: the contract of the header for `buffer`, `events` and `n`.
        let (buffer, _, n) = unsafe { (args::room(buffer, capacity)?, Out::new(events, "events")?, Out::new(n, "n")?) };
        if cap == 0 {
            return Err(Error::new(Code::InvalidArgument, "cap is 0: no event could be handed out"));
        }
        let mut stop = args::stop_on_signal;
        let mut done = vec![context.next(args::wait(timeout_ms).on_interrupt(&mut stop))?];
        // A context that was closed meanwhile has still handed out the first one.
        if cap > 1
            && let Err(error) = context.process(cap - 1, &mut done)
            && error.code() != Code::Closed
        {
            return Err(error);
        }
        let mut room = Room::new(buffer);
        n.set(done.len());
        for (at, completion) in done.into_iter().enumerate() {
            // SAFETY: at most `cap` of them, writable by the contract of the header.
            unsafe { events.add(at).write(hostlane_event_t::completed(completion, &mut room)) };
        }
        Ok(())
    })
}

/// Starts hostlane_connect(). Finishes as HOSTLANE_EVENT_CONNECTED with `peer`, owned by the caller.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_context_connect(
    context: hostlane_context_t,
    addr: *const c_char,
    addr_len: usize,
    options: *const hostlane_connect_options_t,
    timeout_ms: i64,
    event: *mut hostlane_event_t,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    context.call(err, |context| {
        // SAFETY: the contract of the header for `event`, `addr` and `options`.
        let (event, addr, options) =
            unsafe { (Out::new(event, "event")?, args::text(addr, addr_len, "addr")?, options::connect(options)?) };
        let address: Address = addr.parse()?;
        let started = context.connect(&address, &options, args::deadline(timeout_ms))?;
        event.set(hostlane_event_t::started(started));
        Ok(())
    })
}

/// Starts hostlane_accept(). Finishes as HOSTLANE_EVENT_ACCEPTED with `peer`, owned by the caller.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_context_accept(
    context: hostlane_context_t,
    listener: hostlane_listener_t,
    timeout_ms: i64,
    event: *mut hostlane_event_t,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    context.call(err, |context| {
        // SAFETY: the contract of the header for `event`.
        let event = unsafe { Out::new(event, "event") }?;
        let listener = objects::get(listener)?;
        let started = context.accept(&listener.listener, args::deadline(timeout_ms))?;
        event.set(hostlane_event_t::started(started));
        Ok(())
    })
}

/// Starts hostlane_recv(), or hostlane_recv_on() when `channel` is not HOSTLANE_ANY_CHANNEL. Finishes as
/// HOSTLANE_EVENT_MESSAGE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_context_recv(
    context: hostlane_context_t,
    peer: hostlane_peer_t,
    channel: i32,
    timeout_ms: i64,
    event: *mut hostlane_event_t,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    context.call(err, |context| {
        // SAFETY: the contract of the header for `event`.
        let event = unsafe { Out::new(event, "event") }?;
        let peer = objects::get(peer)?;
        let channel = one_or_any(channel)?;
        let started = context.recv(&peer, channel, args::deadline(timeout_ms))?;
        event.set(hostlane_event_t::started(started));
        Ok(())
    })
}

pub(crate) fn one_or_any(channel: i32) -> Result<Option<Channel>> {
    if channel == HOSTLANE_ANY_CHANNEL {
        return Ok(None);
    }
    match u16::try_from(channel) {
        Ok(number) => Ok(Some(Channel::new(number)?)),
        Err(_) => Err(Error::new(
            Code::InvalidChannel,
            format!("{channel} is neither a channel (0 to 65535) nor HOSTLANE_ANY_CHANNEL"),
        )),
    }
}

/// Starts hostlane_send(). `data` is read during the call and not kept. Finishes as HOSTLANE_EVENT_SENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_context_send(
    context: hostlane_context_t,
    peer: hostlane_peer_t,
    channel: u16,
    data: *const c_void,
    len: usize,
    timeout_ms: i64,
    event: *mut hostlane_event_t,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    context.call(err, |context| {
        // SAFETY: the contract of the header for `event` and `data`.
        let (event, payload) = unsafe { (Out::new(event, "event")?, args::bytes(data, len)?) };
        let peer = objects::get(peer)?;
        let deadline = args::deadline(timeout_ms);
        let started = context.send(&peer, Channel::new(channel)?, payload, deadline)?;
        event.set(hostlane_event_t::started(started));
        Ok(())
    })
}

/// Starts hostlane_send_with(); `options` may be NULL. Finishes as HOSTLANE_EVENT_SENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_context_send_with(
    context: hostlane_context_t,
    peer: hostlane_peer_t,
    data: *const c_void,
    len: usize,
    options: *const hostlane_call_options_t,
    timeout_ms: i64,
    event: *mut hostlane_event_t,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    context.call(err, |context| {
        // SAFETY: the contract of the header for `event`, `data` and `options`.
        let (event, payload, options) =
            unsafe { (Out::new(event, "event")?, args::bytes(data, len)?, call::options(options)?) };
        let peer = objects::get(peer)?;
        let started = context.send_with(&peer, payload, options, args::deadline(timeout_ms))?;
        event.set(hostlane_event_t::started(started));
        Ok(())
    })
}

/// Starts hostlane_reply(). `data` is read during the call and not kept; the message stays the caller's. Finishes as
/// HOSTLANE_EVENT_SENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_context_reply(
    context: hostlane_context_t,
    message: *const hostlane_message_t,
    data: *const c_void,
    len: usize,
    timeout_ms: i64,
    event: *mut hostlane_event_t,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    context.call(err, |context| {
        // SAFETY: the contract of the header for `event`, `message` and `data`.
        let (event, message, payload) =
            unsafe { (Out::new(event, "event")?, args::object(message, "message")?, args::bytes(data, len)?) };
        let started = context.reply(message.message()?, payload, args::deadline(timeout_ms))?;
        event.set(hostlane_event_t::started(started));
        Ok(())
    })
}

/// Starts hostlane_fail(). `data` is read during the call and not kept; the message stays the caller's. Finishes as
/// HOSTLANE_EVENT_SENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_context_fail(
    context: hostlane_context_t,
    message: *const hostlane_message_t,
    code: u32,
    data: *const c_void,
    len: usize,
    timeout_ms: i64,
    event: *mut hostlane_event_t,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    context.call(err, |context| {
        // SAFETY: the contract of the header for `event`, `message` and `data`.
        let (event, message, payload) =
            unsafe { (Out::new(event, "event")?, args::object(message, "message")?, args::bytes(data, len)?) };
        let started = context.fail(message.message()?, code, payload, args::deadline(timeout_ms))?;
        event.set(hostlane_event_t::started(started));
        Ok(())
    })
}

/// Starts hostlane_message_wait_cancelled(). Finishes as HOSTLANE_EVENT_CALL_ENDED when an answer to the request is no
/// longer wanted: given, or its caller left, ran out of time or lost the connection. The message stays the caller's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_context_call_ended(
    context: hostlane_context_t,
    message: *const hostlane_message_t,
    timeout_ms: i64,
    event: *mut hostlane_event_t,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    context.call(err, |context| {
        // SAFETY: the contract of the header for `event` and `message`.
        let (event, message) = unsafe { (Out::new(event, "event")?, args::object(message, "message")?) };
        let started = context.call_ended(message.message()?, args::deadline(timeout_ms))?;
        event.set(hostlane_event_t::started(started));
        Ok(())
    })
}

/// Waits until anything is there to receive, and takes nothing. Finishes as HOSTLANE_EVENT_READABLE, or fails with the end
/// of the connection. hostlane_context_recv_batch() does both.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_context_readable(
    context: hostlane_context_t,
    peer: hostlane_peer_t,
    timeout_ms: i64,
    event: *mut hostlane_event_t,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    context.call(err, |context| {
        // SAFETY: the contract of the header for `event`.
        let event = unsafe { Out::new(event, "event") }?;
        let peer = objects::get(peer)?;
        event.set(hostlane_event_t::started(context.readable(&peer, args::deadline(timeout_ms))?));
        Ok(())
    })
}

/// Starts hostlane_stream_send(). `data` is read during the call and not kept. Finishes as HOSTLANE_EVENT_SENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_context_stream_send(
    context: hostlane_context_t,
    stream: hostlane_stream_t,
    data: *const c_void,
    len: usize,
    timeout_ms: i64,
    event: *mut hostlane_event_t,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    context.call(err, |context| {
        // SAFETY: the contract of the header for `event` and `data`.
        let (event, item) = unsafe { (Out::new(event, "event")?, args::bytes(data, len)?) };
        let stream = objects::get(stream)?;
        event.set(hostlane_event_t::started(context.stream_send(&stream, item, args::deadline(timeout_ms))?));
        Ok(())
    })
}

/// Starts hostlane_stream_finish(). Finishes as HOSTLANE_EVENT_SENT.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_context_stream_finish(
    context: hostlane_context_t,
    stream: hostlane_stream_t,
    timeout_ms: i64,
    event: *mut hostlane_event_t,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    context.call(err, |context| {
        // SAFETY: the contract of the header for `event`.
        let event = unsafe { Out::new(event, "event") }?;
        let stream = objects::get(stream)?;
        event.set(hostlane_event_t::started(context.stream_finish(&stream, args::deadline(timeout_ms))?));
        Ok(())
    })
}

/// Starts hostlane_stream_recv(). Finishes as HOSTLANE_EVENT_ITEM, or as HOSTLANE_EVENT_STREAM_END.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_context_stream_recv(
    context: hostlane_context_t,
    stream: hostlane_stream_t,
    timeout_ms: i64,
    event: *mut hostlane_event_t,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    context.call(err, |context| {
        // SAFETY: the contract of the header for `event`.
        let event = unsafe { Out::new(event, "event") }?;
        let stream = objects::get(stream)?;
        event.set(hostlane_event_t::started(context.stream_recv(&stream, args::deadline(timeout_ms))?));
        Ok(())
    })
}

/// Finishes as HOSTLANE_EVENT_TIMER after `delay_ms` milliseconds, or a moment later.
/// Errors: HOSTLANE_E_INVALID_ARGUMENT when that time would never come, HOSTLANE_E_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_context_timer(
    context: hostlane_context_t,
    delay_ms: i64,
    event: *mut hostlane_event_t,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    context.call(err, |context| {
        // SAFETY: the contract of the header for `event`.
        let event = unsafe { Out::new(event, "event") }?;
        let at = args::deadline(delay_ms)
            .ok_or_else(|| Error::new(Code::InvalidArgument, format!("delay_ms: {delay_ms} would never come")))?;
        event.set(hostlane_event_t::started(context.timer(at)?));
        Ok(())
    })
}

/// Starts hostlane_request(). `data` is read during the call and not kept. Finishes as HOSTLANE_EVENT_REPLY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_context_request(
    context: hostlane_context_t,
    peer: hostlane_peer_t,
    data: *const c_void,
    len: usize,
    timeout_ms: i64,
    event: *mut hostlane_event_t,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    // SAFETY: the contract of the header, passed on.
    unsafe { hostlane_context_request_with(context, peer, data, len, std::ptr::null(), timeout_ms, event, err) }
}

/// Starts hostlane_request_with(); `options` may be NULL. Finishes as HOSTLANE_EVENT_REPLY.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_context_request_with(
    context: hostlane_context_t,
    peer: hostlane_peer_t,
    data: *const c_void,
    len: usize,
    options: *const hostlane_call_options_t,
    timeout_ms: i64,
    event: *mut hostlane_event_t,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    context.call(err, |context| {
        // SAFETY: the contract of the header for `event`, `data` and `options`.
        let (event, payload, options) =
            unsafe { (Out::new(event, "event")?, args::bytes(data, len)?, call::options(options)?) };
        let peer = objects::get(peer)?;
        let started = context.request_with(&peer, payload, options, args::deadline(timeout_ms))?;
        event.set(hostlane_event_t::started(started));
        Ok(())
    })
}

/// Starts hostlane_ping(). Finishes as HOSTLANE_EVENT_PONG with `rtt_ns`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_context_ping(
    context: hostlane_context_t,
    peer: hostlane_peer_t,
    timeout_ms: i64,
    event: *mut hostlane_event_t,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    context.call(err, |context| {
        // SAFETY: the contract of the header for `event`.
        let event = unsafe { Out::new(event, "event") }?;
        let peer = objects::get(peer)?;
        let started = context.ping(&peer, args::deadline(timeout_ms))?;
        event.set(hostlane_event_t::started(started));
        Ok(())
    })
}

/// Starts hostlane_drain(). Finishes as HOSTLANE_EVENT_DRAINED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_context_drain(
    context: hostlane_context_t,
    peer: hostlane_peer_t,
    timeout_ms: i64,
    event: *mut hostlane_event_t,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    context.call(err, |context| {
        // SAFETY: the contract of the header for `event`.
        let event = unsafe { Out::new(event, "event") }?;
        let peer = objects::get(peer)?;
        let started = context.drain(&peer, args::deadline(timeout_ms))?;
        event.set(hostlane_event_t::started(started));
        Ok(())
    })
}

/// Gives up the pending operation `op`, which then finishes as HOSTLANE_EVENT_FAILED with HOSTLANE_E_CANCELLED, unless
/// it had finished already. The other side is told of a call that was sent; on wire level 0, where it cannot be, the
/// connection ends. A number that is not pending changes nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_context_cancel(
    context: hostlane_context_t,
    op: u64,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    context.call(err, |context| {
        context.cancel(op);
        Ok(())
    })
}

/// Closes the context and gives the handle back; a thread in hostlane_context_next() returns with HOSTLANE_E_CLOSED. Its
/// peers and listeners are closed with it; their handles still have to be given back. The events of operations that are
/// pending are gone with it, and its descriptor is closed: take it out of the event loop first. The second call gives
/// HOSTLANE_E_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_context_close(
    context: hostlane_context_t,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    objects::close(context, err)
}
