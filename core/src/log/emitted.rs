//! Events as `tracing` events. A subscriber is foreign code and may use hostlane itself, so none runs under a
//! lock: inside a [`Scope`] events wait for its end. Nor does one run on a thread that others count on: what
//! happens [there](Elsewhere) is told by a thread that does nothing else, and ends when it has nothing to tell.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::mem::ManuallyDrop;
use std::panic::{AssertUnwindSafe, catch_unwind};

use tracing::level_filters::LevelFilter;

use super::{Level, LogEvent};
use crate::driver::lock;
use crate::driver::sync::Mutex;
use crate::error::Code;
use crate::limits;
use crate::os::per_process::PerProcess;
use crate::os::quiet_thread;

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
    static ELSEWHERE: Cell<bool> = const { Cell::new(false) };
    // Never dropped, so that a connection can end with another thread-local of its thread. It owns memory inside a scope
    // alone.
    static HELD: RefCell<ManuallyDrop<Vec<LogEvent>>> = const { RefCell::new(ManuallyDrop::new(Vec::new())) };
}

/// What is to be told elsewhere.
#[derive(Debug, Default)]
struct Handed {
    events: VecDeque<LogEvent>,
    /// A thread tells them.
    telling: bool,
}

static HANDED: PerProcess<Mutex<Handed>> = PerProcess::new();

fn of(level: Level) -> tracing::Level {
    match level {
        Level::Off | Level::Error => tracing::Level::ERROR,
        Level::Warn => tracing::Level::WARN,
        Level::Info => tracing::Level::INFO,
        Level::Debug => tracing::Level::DEBUG,
    }
}

/// Whether any subscriber may want it.
pub(super) fn wanted(level: Level) -> bool {
    of(level) <= LevelFilter::current()
}

pub(super) fn emit(event: &LogEvent) {
    match DEPTH.get() {
        0 if ELSEWHERE.get() => hand_over(vec![event.clone()]),
        0 => send(event),
        _ => HELD.with_borrow_mut(|held| held.push(event.clone())),
    }
}

fn send(event: &LogEvent) {
    let LogEvent { event: what, peer, address, code, text, .. } = event;
    let (what, code) = (what.name(), code.map(Code::name));
    // The level is part of a call site, so there is one for each.
    macro_rules! at {
        ($level:ident) => {
            tracing::event!(target: "hostlane", tracing::Level::$level, event = what, peer, address, code, "{text}")
        };
    }
    match of(event.level) {
        tracing::Level::ERROR => at!(ERROR),
        tracing::Level::WARN => at!(WARN),
        tracing::Level::INFO => at!(INFO),
        _ => at!(DEBUG),
    }
}

/// Around everything that may tell an event while it holds a lock.
pub(crate) struct Scope(());

impl Scope {
    pub(crate) fn enter() -> Scope {
        DEPTH.set(DEPTH.get() + 1);
        Scope(())
    }
}

impl Drop for Scope {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
        if DEPTH.get() > 0 {
            return;
        }
        if std::thread::panicking() {
            // One more panic, of a subscriber's, would end the process.
            let _ = catch_unwind(flush);
        } else {
            flush();
        }
    }
}

/// Whether this thread has something to [`flush`].
pub(crate) fn is_held() -> bool {
    HELD.with_borrow(|held| !held.is_empty())
}

/// Before a sleep inside a scope, with no lock held and nobody counting on this thread.
pub(crate) fn flush() {
    let held = HELD.with_borrow_mut(|held| std::mem::take(&mut **held));
    match ELSEWHERE.get() {
        true => hand_over(held),
        false => held.iter().for_each(send),
    }
}

/// As long as it lives, others count on this thread.
pub(crate) struct Elsewhere {
    before: bool,
}

impl Elsewhere {
    pub(crate) fn enter() -> Elsewhere {
        Elsewhere { before: ELSEWHERE.replace(true) }
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        ELSEWHERE.set(self.before);
    }
}

fn hand_over(events: Vec<LogEvent>) {
    if events.is_empty() {
        return;
    }
    let mut handed = lock(HANDED.get());
    handed.events.extend(events);
    // A subscriber that never ends costs no memory without a limit.
    let over = handed.events.len().saturating_sub(limits::LOG_EVENTS);
    handed.events.drain(..over);
    // Without a thread the next event tries again.
    handed.telling = handed.telling || quiet_thread::spawn("hostlane-log", tell_handed).is_ok();
}

fn tell_handed() {
    loop {
        let mut handed = lock(HANDED.get());
        let Some(event) = handed.events.pop_front() else {
            handed.telling = false;
            return;
        };
        drop(handed);
        // A panic of the subscriber's is that one event's misfortune.
        let _ = catch_unwind(AssertUnwindSafe(|| send(&event)));
    }
}
