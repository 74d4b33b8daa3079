//! What happens to connections, for a program's own log. Silent until a program asks.
//!
//! The library pushes nothing: after [`enable`], events are kept in one bounded queue of the process, and the
//! program takes them with [`drain`] where and when it likes. While nothing is enabled an event costs one atomic load.
//! Listener addresses and peer ids are in them, payloads and secrets never.
//!
//! ```
//! use hostlane::log::{self, Level};
//! log::enable(Level::Warn);
//! let mut events = Vec::new();
//! let lost = log::drain(&mut events);
//! for event in &events {
//!     eprintln!("{} {} {} {}", event.level.name(), event.event.name(), event.peer, event.text);
//! }
//! # assert_eq!(lost, 0);
//! # log::enable(Level::Off);
//! ```
//!
//! With the cargo feature `tracing` each is a `tracing` event too, under the target `hostlane`, whatever is
//! enabled here, for the subscriber to filter. It is emitted on the thread on which it happens, and never while the
//! library holds a lock, so a subscriber may use hostlane itself. What happens on the I/O thread or in the task of
//! a tokio runtime, on which others count, is emitted a moment later on a thread of its own, `hostlane-log`.

#[cfg(feature = "tracing")]
mod emitted;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::driver::lock;
use crate::driver::sync::Mutex;
use crate::error::{Code, Error};
use crate::limits;
use crate::os::per_process::PerProcess;

#[cfg(feature = "tracing")]
pub(crate) use emitted::{Elsewhere, Scope, flush, is_held};

/// How much an event matters, and from where on events are kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Level {
    /// Nothing is kept. Of no event.
    #[default]
    Off = 0,
    /// Something the program needs has stopped.
    Error = 1,
    /// Something was refused, lost or is about to be.
    Warn = 2,
    /// The ordinary course of a connection.
    Info = 3,
    /// Every attempt.
    Debug = 4,
}

impl Level {
    /// `"off"`, `"error"`, `"warn"`, `"info"` or `"debug"`.
    pub const fn name(self) -> &'static str {
        match self {
            Level::Off => "off",
            Level::Error => "error",
            Level::Warn => "warn",
            Level::Info => "info",
            Level::Debug => "debug",
        }
    }

    /// The level of a number, 0 for `Off` to 4 for `Debug`.
    pub const fn from_number(number: u8) -> Option<Level> {
        Some(match number {
            0 => Level::Off,
            1 => Level::Error,
            2 => Level::Warn,
            3 => Level::Info,
            4 => Level::Debug,
            _ => return None,
        })
    }
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Event {
    /// A handshake ended well, on either side.
    Connected,
    /// A listener turned a client away, or it left during the handshake.
    Refused,
    /// A connection that this side began ended before its handshake did.
    HandshakeFailed,
    /// A connection ended, by whichever side, with the code that its program was told first.
    Ended,
    /// One side asked to end the connection in order.
    Draining,
    /// The other side did not even answer a ping of the keepalive. The connection ends with it.
    KeepaliveMissed,
    /// A channel whose policy is to drop began to. Told again once its queue was half empty in between.
    Dropping,
    /// A queue is three quarters full. Told again once it was half empty in between.
    QueueHigh,
    /// A listener pauses: the process has no descriptors or memory left, or its socket gives no clients any more.
    AcceptPaused,
    /// The other side of a link is there.
    LinkUp,
    /// The other side of a link is gone.
    LinkDown,
    /// An attempt of a link came to nothing; another follows.
    LinkRetry,
    /// A link has given up.
    LinkEnded,
}

impl Event {
    /// The name, in snake case, the same in every language.
    pub const fn name(self) -> &'static str {
        match self {
            Event::Connected => "connected",
            Event::Refused => "refused",
            Event::HandshakeFailed => "handshake_failed",
            Event::Ended => "ended",
            Event::Draining => "draining",
            Event::KeepaliveMissed => "keepalive_missed",
            Event::Dropping => "dropping",
            Event::QueueHigh => "queue_high",
            Event::AcceptPaused => "accept_paused",
            Event::LinkUp => "link_up",
            Event::LinkDown => "link_down",
            Event::LinkRetry => "link_retry",
            Event::LinkEnded => "link_ended",
        }
    }
}

/// One event.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct LogEvent {
    /// When, in microseconds since the beginning of 1970 (UTC), by the system's clock.
    pub unix_micros: u64,
    /// How much it matters; never `Off`.
    pub level: Level,
    /// What happened.
    pub event: Event,
    /// The peer id of the connection; empty where there is none yet.
    pub peer: String,
    /// The address connected to, or the listener's.
    pub address: String,
    /// Why, where there is a reason.
    pub code: Option<Code>,
    /// The details, for people.
    pub text: String,
}

#[derive(Debug, Default)]
struct Queue {
    events: VecDeque<LogEvent>,
    dropped: u64,
}

static LEVEL: AtomicU8 = AtomicU8::new(Level::Off as u8);
static QUEUE: PerProcess<Mutex<Queue>> = PerProcess::new();

/// Keeps the events of `level` and of what matters more from now on; those kept already stay. `Off`, as at the
/// beginning, keeps none. For the whole process, and for its forked children, which begin with an empty queue.
pub fn enable(level: Level) {
    LEVEL.store(level as u8, Ordering::Relaxed);
}

/// What is kept now.
pub fn level() -> Level {
    Level::from_number(LEVEL.load(Ordering::Relaxed)).unwrap_or_default()
}

/// Moves the kept events to the end of `out`, oldest first. Returns how many were dropped since the last time, because
/// there were more than [`LOG_EVENTS`](crate::limits::LOG_EVENTS): the oldest go first.
pub fn drain(out: &mut Vec<LogEvent>) -> u64 {
    drain_at_most(out, usize::MAX)
}

/// [`drain`] that moves the oldest `most` events alone.
pub fn drain_at_most(out: &mut Vec<LogEvent>, most: usize) -> u64 {
    let mut queue = lock(QUEUE.get());
    let count = queue.events.len().min(most);
    out.extend(queue.events.drain(..count));
    std::mem::take(&mut queue.dropped)
}

fn kept(level: Level) -> bool {
    LEVEL.load(Ordering::Relaxed) >= level as u8
}

/// Whether anybody wants events of `level`.
#[cfg(not(feature = "tracing"))]
pub(crate) fn wanted(level: Level) -> bool {
    kept(level)
}

/// Whether anybody wants events of `level`.
#[cfg(feature = "tracing")]
pub(crate) fn wanted(level: Level) -> bool {
    kept(level) || emitted::wanted(level)
}

/// Tells an event, if anybody wants it. `error` gives its code, and its text unless `text` has another.
pub(crate) fn tell(
    level: Level,
    event: Event,
    peer: &str,
    address: &str,
    error: Option<&Error>,
    text: impl FnOnce() -> String,
) {
    if !wanted(level) {
        return;
    }
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let event = LogEvent {
        unix_micros: u64::try_from(since.as_micros()).unwrap_or(u64::MAX),
        level,
        event,
        peer: peer.to_owned(),
        address: address.to_owned(),
        code: error.map(Error::code),
        text: text(),
    };
    #[cfg(feature = "tracing")]
    emitted::emit(&event);
    if !kept(level) {
        return;
    }
    let mut queue = lock(QUEUE.get());
    if queue.events.len() == limits::LOG_EVENTS {
        queue.events.pop_front();
        queue.dropped += 1;
    }
    queue.events.push_back(event);
}

/// Around everything that may tell an event while it holds a lock.
#[cfg(not(feature = "tracing"))]
pub(crate) struct Scope;

#[cfg(not(feature = "tracing"))]
impl Scope {
    pub(crate) fn enter() -> Scope {
        Scope
    }
}

/// As long as it lives, others count on this thread: no subscriber runs on it.
#[cfg(not(feature = "tracing"))]
pub(crate) struct Elsewhere;

#[cfg(not(feature = "tracing"))]
impl Elsewhere {
    pub(crate) fn enter() -> Elsewhere {
        Elsewhere
    }
}

/// Whether this thread has something to [`flush`].
#[cfg(not(feature = "tracing"))]
pub(crate) fn is_held() -> bool {
    false
}

/// Before a sleep inside a scope, with no lock held and nobody counting on this thread.
#[cfg(not(feature = "tracing"))]
pub(crate) fn flush() {}
