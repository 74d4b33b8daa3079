//! How a waiting thread is woken by others, and by the clock: two descriptors of its own, each made when
//! it is first needed.
//!
//! A thread that only waits to be told sleeps on its [`ThreadBell`]. One that polls a descriptor of
//! somebody else's beside has a [`ThreadAlarm`] instead, which is both its bell and its deadline: a
//! timeout of `poll` would be set and taken back by the kernel with every wait, which costs a tenth of a
//! round trip, while the alarm stays set over many waits.

use std::cell::{Cell, RefCell};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::LocalKey;
use std::time::Instant;

use crate::os::fork;
use crate::os::poller::{Alarm, Bell};

/// Rung by anybody, polled by its thread.
#[derive(Debug)]
pub(crate) struct ThreadBell {
    bell: Bell,
    rung: AtomicBool,
    stamp: fork::Stamp,
}

impl ThreadBell {
    /// Wakes the thread, now or at its next sleep.
    pub(crate) fn ring(&self) {
        if !self.rung.swap(true, Ordering::Relaxed) {
            self.bell.ring();
        }
    }

    /// Forgets earlier rings. Ring and clear happen under the lock of what is waited for.
    pub(crate) fn clear(&self) {
        if self.rung.swap(false, Ordering::Relaxed) {
            self.bell.clear();
        }
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}

/// Rung by anybody or by the clock, polled by its thread.
#[derive(Debug)]
pub(crate) struct ThreadAlarm {
    alarm: Alarm,
    rung: AtomicBool,
    stamp: fork::Stamp,
}

impl ThreadAlarm {
    /// Wakes the thread, now or at its next sleep.
    pub(crate) fn ring(&self) {
        if !self.rung.swap(true, Ordering::Relaxed) {
            self.alarm.set(Instant::now());
        }
    }

    pub(crate) fn as_fd(&self) -> BorrowedFd<'_> {
        self.alarm.as_fd()
    }
}

/// What a thread takes out for a wait and gives back afterwards.
pub(crate) trait Own: Sized + 'static {
    /// What stays with it while it is not used.
    type State: Default + Copy;
    fn make() -> Option<Self>;
    fn stamp(&self) -> fork::Stamp;
    /// What is left of the last wait. Taken out while a wait uses it, so that a wait inside another's
    /// interrupt hook has its own.
    fn spare() -> &'static LocalKey<Spare<Self>>;
}

type Spare<T> = RefCell<Option<(Arc<T>, <T as Own>::State)>>;

thread_local! {
    static BELL: Spare<ThreadBell> = const { RefCell::new(None) };
    static ALARM: Spare<ThreadAlarm> = const { RefCell::new(None) };
}

impl Own for ThreadBell {
    type State = ();

    fn make() -> Option<ThreadBell> {
        Some(ThreadBell { bell: Bell::new().ok()?, rung: AtomicBool::new(false), stamp: fork::Stamp::now() })
    }

    fn stamp(&self) -> fork::Stamp {
        self.stamp
    }

    fn spare() -> &'static LocalKey<Spare<ThreadBell>> {
        &BELL
    }
}

impl Own for ThreadAlarm {
    /// When it is set to ring.
    type State = Option<Instant>;

    fn make() -> Option<ThreadAlarm> {
        Some(ThreadAlarm { alarm: Alarm::new().ok()?, rung: AtomicBool::new(false), stamp: fork::Stamp::now() })
    }

    fn stamp(&self) -> fork::Stamp {
        self.stamp
    }

    fn spare() -> &'static LocalKey<Spare<ThreadAlarm>> {
        &ALARM
    }
}

/// A bell or an alarm in use by one wait. It goes back to its thread afterwards.
#[derive(Debug)]
pub(crate) struct Mine<T: Own> {
    own: Option<Arc<T>>,
    state: Cell<T::State>,
}

impl<T: Own> Mine<T> {
    /// For a wait of this thread; none when the process has no descriptor left. A forked child does not
    /// share its parent's.
    pub(crate) fn take() -> Option<Mine<T>> {
        let spare = T::spare().with_borrow_mut(Option::take).filter(|(own, _)| own.stamp().current());
        let (own, state) = match spare {
            Some(spare) => spare,
            None => (Arc::new(T::make()?), T::State::default()),
        };
        Some(Mine { own: Some(own), state: Cell::new(state) })
    }
}

impl Mine<ThreadAlarm> {
    /// Forgets earlier rings and rings at `until` at the latest, perhaps earlier: an alarm that is set
    /// already is left alone, which costs nothing, and rings once for nothing. To be called under the lock
    /// of what is waited for, as `ring` is.
    pub(crate) fn set(&self, now: Instant, until: Option<Instant>) {
        let set = self.state.get();
        let over = self.rung.swap(false, Ordering::Relaxed) || set.is_some_and(|set| set <= now);
        let late = until.is_some_and(|until| set.is_none_or(|set| set > until));
        if over || late {
            match until {
                Some(until) => self.alarm.set(until),
                None => self.alarm.unset(),
            }
            self.state.set(until);
        }
    }
}

impl<T: Own> std::ops::Deref for Mine<T> {
    type Target = Arc<T>;

    fn deref(&self) -> &Arc<T> {
        // Taken by `drop` alone.
        self.own.as_ref().expect("a bell in use")
    }
}

impl<T: Own> Drop for Mine<T> {
    fn drop(&mut self) {
        let spare = self.own.take().map(|own| (own, self.state.get()));
        // A thread that is ending has no place for it any more; then it just closes.
        let _ = T::spare().try_with(|place| *place.borrow_mut() = spare);
    }
}
