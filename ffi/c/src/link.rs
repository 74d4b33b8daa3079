//! The same program on both sides.

use std::ffi::{c_char, c_void};
use std::mem::offset_of;
use std::os::fd::AsRawFd;
use std::time::Duration;

use hostlane_bridge::{Address, Code, Error, Link, LinkOptions, LinkResult, Progress, Result, limits};

use crate::abi::hostlane_status_t;
use crate::args::{self, Out, call};
use crate::call::{self, hostlane_call_options_t};
use crate::error::hostlane_error_t;
use crate::event::{Room, hostlane_event_t};
use crate::info::{self, hostlane_channel_stats_t, hostlane_info_t, hostlane_stats_t};
use crate::message::hostlane_message_t;
use crate::objects::{self, Handle};
use crate::options::{self, Versioned, hostlane_connect_options_t, hostlane_listen_options_t};

/// Two instances of one program, joined by an address; which of them serves is no matter of the program's. The first to
/// open listens, the second connects, a third waits for a place. When one of a pair dies, the other takes over and the
/// next one joins. Calls go both ways, on wire level 1. A value like hostlane_peer_t; every call is safe from any thread.
///
/// Nothing happens by itself: a link lives while some thread waits in hostlane_link_next() or hostlane_link_request(),
/// or while an event loop, instead of that, polls its descriptor and calls hostlane_link_process().
///
/// A call that was lost with its connection is repeated on the next one when it provably was not executed, or has an
/// idempotency key. Otherwise it fails once, with HOSTLANE_E_CONNECTION_LOST and HOSTLANE_SENT_MAYBE.
///
/// A link that has ended, because its attempts ran out or it was not to go on, gives the error it ended with for ever.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hostlane_link_t {
    /// Meaningless outside the library.
    pub id: u64,
}

/// The `retries` of a link that ends at the first attempt that fails.
pub const HOSTLANE_NO_RETRY: i64 = -1;

/// In the `flags` of HOSTLANE_EVENT_LINK_UP: this side is the one that listens.
pub const HOSTLANE_LINK_SERVING: u32 = 32;

/// How to open a link. Fill it with hostlane_link_options_init() first, then set what differs. The pointers are read
/// during the call that gets the options and not kept.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct hostlane_link_options_t {
    /// Size of this struct as the program knows it; set by hostlane_link_options_init().
    pub size: usize,
    /// How this side connects, where it does. NULL: the defaults.
    pub connect: *const hostlane_connect_options_t,
    /// How this side listens, where it does. NULL: the defaults.
    pub listen: *const hostlane_listen_options_t,
    /// Attempts in a row that may fail before the link ends. Waiting for the other side, or as a third for a place, is no
    /// attempt; of connections in a row that lasted no longer than the next pause, each after the first is one that
    /// failed. 0: no bound. HOSTLANE_NO_RETRY: none.
    pub retries: i64,
    /// The pause before the second attempt, in milliseconds, doubled for each further one; each is shortened at random by
    /// up to half. 0: 10.
    pub delay_ms: i64,
    /// The longest pause, in milliseconds. 0: 2000, or `delay_ms` where that is more.
    pub max_delay_ms: i64,
    /// Not 0: the link ends with its first connection, with the error that this ended with.
    pub no_reconnect: i32,
}

// SAFETY: integers and pointers, `size` first.
unsafe impl Versioned for hostlane_link_options_t {
    const FIRST: usize = offset_of!(Self, no_reconnect) + size_of::<i32>();
}

/// Sets every member to its default and `size` to `size`, which is sizeof(hostlane_link_options_t). NULL does nothing.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_link_options_init(options: *mut hostlane_link_options_t, size: usize) {
    // SAFETY: null or `size` writable bytes, by the contract of the header.
    unsafe { options::init(options, size) };
}

/// # Safety
/// Null, or options as the header describes them.
unsafe fn options(raw: *const hostlane_link_options_t) -> Result<LinkOptions> {
    let built = LinkOptions::new();
    if raw.is_null() {
        return Ok(built);
    }
    let invalid = |text: &str| Error::new(Code::InvalidArgument, text);
    // SAFETY: not null, and by the contract of the header as long as its size says.
    let raw = unsafe { options::read(raw) }?;
    // SAFETY: null, or as the header describes them.
    let (connect, listen) = unsafe { (options::connect(raw.connect)?, options::listen(raw.listen)?) };
    let mut built = built.connection(connect, listen).reconnect(raw.no_reconnect == 0);
    if raw.retries != 0 {
        let most = if raw.retries == HOSTLANE_NO_RETRY { 0 } else { raw.retries };
        built = built.retries(u32::try_from(most).map_err(|_| invalid("options.retries is no number of attempts"))?);
    }
    let pause = |ms: i64, default: Duration| match u64::try_from(ms) {
        Ok(0) => Ok(default),
        Ok(ms) => Ok(Duration::from_millis(ms)),
        Err(_) => Err(invalid("options.delay_ms or options.max_delay_ms is negative")),
    };
    let first = pause(raw.delay_ms, limits::LINK_DELAY)?;
    Ok(built.delay(first, pause(raw.max_delay_ms, limits::LINK_MAX_DELAY.max(first))?))
}

/// Opens a link at `addr`, an address that can be listened at and connected to; `options` may be NULL. The first attempt
/// is under way when it returns. On success the caller owns `*link` and ends it with hostlane_link_close().
///
/// Errors: HOSTLANE_E_INVALID_ARGUMENT, HOSTLANE_E_INVALID_ADDRESS, HOSTLANE_E_ADDRESS_TOO_LONG, HOSTLANE_E_UNSUPPORTED
/// for an address whose server is fixed, HOSTLANE_E_TOO_MANY_FILES, and those of hostlane_listen() that another attempt
/// would not change, or that none is to follow.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_link_open(
    addr: *const c_char,
    addr_len: usize,
    options: *const hostlane_link_options_t,
    link: *mut hostlane_link_t,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    call(err, || {
        // SAFETY: the contract of the header for `link`, `addr` and `options`.
        let (link, addr, options) =
            unsafe { (Out::new(link, "link")?, args::text(addr, addr_len, "addr")?, self::options(options)?) };
        let address: Address = addr.parse()?;
        link.set(objects::issue(Link::open(address, options)?));
        Ok(())
    })
}

/// Waits for the next event: HOSTLANE_EVENT_LINK_UP, HOSTLANE_EVENT_LINK_DOWN or HOSTLANE_EVENT_MESSAGE. Free it with
/// hostlane_events_free(event, 1). Messages that nobody takes hold the other side back.
///
/// Errors: HOSTLANE_E_TIMEOUT, HOSTLANE_E_INTERRUPTED when a signal arrived (call again), HOSTLANE_E_CLOSED; after the
/// last event the error that ended the link.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_link_next(
    link: hostlane_link_t,
    timeout_ms: i64,
    event: *mut hostlane_event_t,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    link.call(err, |link| {
        // SAFETY: the contract of the header for `event`.
        let out = unsafe { Out::new(event, "event") }?;
        let mut stop = args::stop_on_signal;
        let event = link.next(args::wait(timeout_ms).on_interrupt(&mut stop))?;
        out.set(hostlane_event_t::of_link(event, &mut Room::none()));
        Ok(())
    })
}

/// Calls the other side with `len` bytes and waits for its reply, also until the other side is there. `options` may be
/// NULL. The other side is told how long the caller waits. On success the caller owns
/// `*reply`. Signals do not end this wait.
///
/// Errors: those of hostlane_request_with(), HOSTLANE_E_UNSUPPORTED for descriptors, and the error that ended the link.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_link_request(
    link: hostlane_link_t,
    data: *const c_void,
    len: usize,
    options: *const hostlane_call_options_t,
    timeout_ms: i64,
    reply: *mut *mut hostlane_message_t,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    link.call(err, |link| {
        // SAFETY: the contract of the header for `data`, `reply` and `options`.
        let (payload, reply, options) =
            unsafe { (args::bytes(data, len)?, Out::new(reply, "reply")?, call::options_until(options, timeout_ms)?) };
        let message = link.request_with(payload, options, args::wait(timeout_ms))?;
        reply.set(hostlane_message_t::into_raw(message));
        Ok(())
    })
}

/// Sends a one-way message; does not wait. `options` may be NULL.
///
/// Errors: HOSTLANE_E_CONNECTION_LOST while the other side is not there, because the message is not kept for it;
/// HOSTLANE_E_WOULD_BLOCK while the other side does not take what was sent; those of hostlane_send_with(), and the error
/// that ended the link.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_link_send(
    link: hostlane_link_t,
    data: *const c_void,
    len: usize,
    options: *const hostlane_call_options_t,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    link.call(err, |link| {
        // SAFETY: the contract of the header for `data` and `options`.
        let (payload, options) = unsafe { (args::bytes(data, len)?, call::options(options)?) };
        link.send(payload, options)
    })
}

/// Answers a request that the link handed out; does not wait. The message stays the caller's. Errors as of
/// hostlane_reply(), and HOSTLANE_E_WRONG_DRIVER for a message of another origin.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_link_reply(
    link: hostlane_link_t,
    message: *const hostlane_message_t,
    data: *const c_void,
    len: usize,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    link.call(err, |link| {
        // SAFETY: the contract of the header for `message` and `data`.
        let (message, payload) = unsafe { (args::object(message, "message")?, args::bytes(data, len)?) };
        link.reply(message.message()?, payload)
    })
}

/// Answers a request that the link handed out with an error of the program's, as hostlane_fail() does; does not wait. The
/// message stays the caller's.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_link_fail(
    link: hostlane_link_t,
    message: *const hostlane_message_t,
    code: u32,
    data: *const c_void,
    len: usize,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    link.call(err, |link| {
        // SAFETY: the contract of the header for `message` and `data`.
        let (message, payload) = unsafe { (args::object(message, "message")?, args::bytes(data, len)?) };
        link.fail(message.message()?, code, payload)
    })
}

/// Tells in `*serving` whether this side is the one that listens: 1, or 0 when it connected to the other, or -1 while
/// there is no decision.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_link_is_serving(
    link: hostlane_link_t,
    serving: *mut i32,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    link.call(err, |link| {
        // SAFETY: the contract of the header for `serving`.
        let out = unsafe { Out::new(serving, "serving") }?;
        out.set(link.is_serving().map_or(-1, i32::from));
        Ok(())
    })
}

/// hostlane_info() of the connection to the other side. Errors: HOSTLANE_E_CONNECTION_LOST while there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_link_info(
    link: hostlane_link_t,
    info: *mut hostlane_info_t,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    link.call(err, |link| {
        // SAFETY: the contract of the header for `info`.
        let out = unsafe { Out::new(info, "info") }?;
        out.set(info::flat_info(&link.peer()?.info()?)?);
        Ok(())
    })
}

/// hostlane_stats() of the connection to the other side. Errors: HOSTLANE_E_CONNECTION_LOST while there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_link_stats(
    link: hostlane_link_t,
    stats: *mut hostlane_stats_t,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    link.call(err, |link| {
        // SAFETY: the contract of the header for `stats`.
        let out = unsafe { Out::new(stats, "stats") }?;
        out.set(info::flat_stats(&link.peer()?.stats()?));
        Ok(())
    })
}

/// hostlane_stats_on() of the connection to the other side. Errors: also HOSTLANE_E_CONNECTION_LOST while there is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_link_stats_on(
    link: hostlane_link_t,
    channel: u16,
    stats: *mut hostlane_channel_stats_t,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    link.call(err, |link| {
        // SAFETY: the contract of the header for `stats`.
        let out = unsafe { Out::new(stats, "stats") }?;
        out.set(info::stats_on(&link.peer()?.stats()?, channel)?);
        Ok(())
    })
}

/// The descriptor to watch for reading, in poll, epoll or any event loop, before hostlane_link_process(). It belongs to
/// the link: never read it, never close it. Once the link has ended it stays readable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_link_fd(
    link: hostlane_link_t,
    fd: *mut i32,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    link.call(err, |link| {
        // SAFETY: the contract of the header for `fd`.
        let out = unsafe { Out::new(fd, "fd") }?;
        out.set(link.fd().as_raw_fd());
        Ok(())
    })
}

/// Starts a call for an event loop; does not wait. `options` may be NULL. The number in `*op` comes back once, as an event
/// of hostlane_link_process() or hostlane_link_turn(): HOSTLANE_EVENT_REPLY or HOSTLANE_EVENT_FAILED. `timeout_ms` limits
/// the call as that of hostlane_link_request(). Errors: HOSTLANE_E_QUEUE_FULL when HOSTLANE_MAX_CALLS calls are open, and
/// the error that ended the link.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_link_start(
    link: hostlane_link_t,
    data: *const c_void,
    len: usize,
    options: *const hostlane_call_options_t,
    timeout_ms: i64,
    op: *mut u64,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    link.call(err, |link| {
        // SAFETY: the contract of the header for `data`, `op` and `options`.
        let (payload, op, options) =
            unsafe { (args::bytes(data, len)?, Out::new(op, "op")?, call::options_until(options, timeout_ms)?) };
        op.set(link.start(payload, options, args::deadline(timeout_ms))?);
        Ok(())
    })
}

/// Gives a started call up. It still comes back, as HOSTLANE_EVENT_FAILED with HOSTLANE_E_CANCELLED unless its result was
/// on its way already. Without effect on a number that came back or never was.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_link_cancel(
    link: hostlane_link_t,
    op: u64,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    link.call(err, |link| {
        link.cancel(op);
        Ok(())
    })
}

/// Watches a request that the link handed out, for an event loop: the number in `*op` comes back once, as
/// HOSTLANE_EVENT_CALL_ENDED, when no answer is wanted any more. Errors: HOSTLANE_E_INVALID_ARGUMENT for a one-way
/// message, HOSTLANE_E_WRONG_DRIVER for one of another origin.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_link_call_ended(
    link: hostlane_link_t,
    message: *const hostlane_message_t,
    op: *mut u64,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    link.call(err, |link| {
        // SAFETY: the contract of the header for `message` and `op`.
        let (message, op) = unsafe { (args::object(message, "message")?, Out::new(op, "op")?) };
        op.set(link.call_ended(message.message()?)?);
        Ok(())
    })
}

/// Moves the link on without waiting and hands out at most `cap` events: what hostlane_link_start() and
/// hostlane_link_call_ended() have started, then what hostlane_link_next() would give; `*n` gets their number. `*more`
/// (may be NULL) tells whether there are more: call again before waiting on the descriptor. Free the batch with
/// hostlane_events_free().
///
/// Payloads go into `buffer`, which has `capacity` bytes, as with hostlane_context_process_batch(); when it is NULL each
/// stays in its message.
///
/// Errors: HOSTLANE_E_INVALID_ARGUMENT when `cap` is 0; when there is no event left, the error that ended the link.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_link_process(
    link: hostlane_link_t,
    buffer: *mut c_void,
    capacity: usize,
    events: *mut hostlane_event_t,
    cap: usize,
    n: *mut usize,
    more: *mut bool,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    link.call(err, |link| {
        // SAFETY: the contract of the header for `buffer`, `events`, `n` and `more`.
        let mut batch = unsafe { Batch::new(buffer, capacity, events, cap, n, more) }?;
        let turned = batch.turn(link);
        let taken = batch.take(link);
        let more = match (taken, turned) {
            (Ok(left), Ok(progress)) => left || progress == Progress::More,
            // What failed is told again, once there is nothing else.
            (Err(error), _) | (_, Err(error)) if batch.is_empty() => return Err(error),
            _ => true,
        };
        batch.hand_out(more);
        Ok(())
    })
}

/// hostlane_link_process() without what hostlane_link_next() would give: that stays in the link, where it holds the other
/// side back, for hostlane_link_events(). `*waiting` (may be NULL) tells whether there is any.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_link_turn(
    link: hostlane_link_t,
    buffer: *mut c_void,
    capacity: usize,
    events: *mut hostlane_event_t,
    cap: usize,
    n: *mut usize,
    more: *mut bool,
    waiting: *mut bool,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    link.call(err, |link| {
        // SAFETY: the contract of the header for `buffer`, `events`, `n` and `more`.
        let mut batch = unsafe { Batch::new(buffer, capacity, events, cap, n, more) }?;
        let more = match batch.turn(link) {
            Ok(progress) => progress == Progress::More,
            Err(error) if batch.is_empty() => return Err(error),
            Err(_) => true,
        };
        if !waiting.is_null() {
            let there = link.take_events(&mut Vec::new(), 0)?;
            // SAFETY: not null, so writable by the contract of the header.
            unsafe { waiting.write(there) };
        }
        batch.hand_out(more);
        Ok(())
    })
}

/// Hands out at most `cap` of the events that hostlane_link_turn() left in the link, without moving it on. Otherwise like
/// hostlane_link_process().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_link_events(
    link: hostlane_link_t,
    buffer: *mut c_void,
    capacity: usize,
    events: *mut hostlane_event_t,
    cap: usize,
    n: *mut usize,
    more: *mut bool,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    link.call(err, |link| {
        // SAFETY: the contract of the header for `buffer`, `events`, `n` and `more`.
        let mut batch = unsafe { Batch::new(buffer, capacity, events, cap, n, more) }?;
        let left = batch.take(link)?;
        batch.hand_out(left);
        Ok(())
    })
}

/// Ends the link at once and gives the handle back: the address is free, the connection is closed, and every thread that
/// waits in a call on the link returns with HOSTLANE_E_CLOSED. Never blocks. The second call gives HOSTLANE_E_CLOSED.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn hostlane_link_close(
    link: hostlane_link_t,
    err: *mut *mut hostlane_error_t,
) -> hostlane_status_t {
    objects::close(link, err)
}

/// Events on their way into the caller's array, which is written only when the call succeeds.
struct Batch<'a> {
    room: Room<'a>,
    events: *mut hostlane_event_t,
    cap: usize,
    n: Out<usize>,
    more: *mut bool,
    ready: Vec<hostlane_event_t>,
}

impl Batch<'_> {
    /// # Safety
    /// Unless null, `buffer` has `capacity` bytes, `events` has `cap` writable places, and `n` and `more` are writable,
    /// until the entry point returns.
    unsafe fn new<'a>(
        buffer: *mut c_void,
        capacity: usize,
        events: *mut hostlane_event_t,
        cap: usize,
        n: *mut usize,
        more: *mut bool,
    ) -> Result<Batch<'a>> {
        // SAFETY: the promise of the caller.
        let (room, _, n) = unsafe { (args::room(buffer, capacity)?, Out::new(events, "events")?, Out::new(n, "n")?) };
        if cap == 0 {
            return Err(Error::new(Code::InvalidArgument, "cap is 0: no event could be handed out"));
        }
        let room = if buffer.is_null() { Room::none() } else { Room::new(room) };
        Ok(Batch { room, events, cap, n, more, ready: Vec::new() })
    }

    fn is_empty(&self) -> bool {
        self.ready.is_empty()
    }

    /// Moves the link on and takes results; the error is that which ended the link.
    fn turn(&mut self, link: &Link) -> Result<Progress> {
        let turned = link.turn();
        let mut results: Vec<(u64, LinkResult)> = Vec::new();
        link.take_results(&mut results, self.cap);
        let full = results.len() == self.cap;
        self.ready
            .extend(results.into_iter().map(|(op, result)| hostlane_event_t::of_result(op, result, &mut self.room)));
        turned.map(|progress| if full { Progress::More } else { progress })
    }

    /// Takes events; whether there are more.
    fn take(&mut self, link: &Link) -> Result<bool> {
        let mut events = Vec::new();
        let left = link.take_events(&mut events, self.cap - self.ready.len())?;
        self.ready.extend(events.into_iter().map(|event| hostlane_event_t::of_link(event, &mut self.room)));
        Ok(left)
    }

    fn hand_out(self, more: bool) {
        self.n.set(self.ready.len());
        for (at, event) in self.ready.into_iter().enumerate() {
            // SAFETY: at most `cap` of them, writable by the promise made to `new`.
            unsafe { self.events.add(at).write(event) };
        }
        if !self.more.is_null() {
            // SAFETY: not null, so writable by the promise made to `new`.
            unsafe { self.more.write(more) };
        }
    }
}
