//! Events as `tracing` events. A subscriber is foreign code and may use hostlane itself, so none runs under a
//! lock: inside a [`Scope`] events wait for its end.

use std::cell::{Cell, RefCell};
use std::panic::catch_unwind;

use tracing::level_filters::LevelFilter;

use super::{Level, LogEvent};
use crate::error::Code;

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
    static HELD: RefCell<Vec<LogEvent>> = const { RefCell::new(Vec::new()) };
}

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
    let held = HELD.take();
    held.iter().for_each(send);
}
