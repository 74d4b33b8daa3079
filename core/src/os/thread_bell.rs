//! A descriptor per waiting thread, by which others wake it.

use std::cell::RefCell;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::os::fork;
use crate::os::poller::Bell;

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

thread_local! {
    /// The bell of the last wait; taken out while a wait uses it, so that a wait inside another's
    /// interrupt hook has its own.
    static SPARE: RefCell<Option<Arc<ThreadBell>>> = const { RefCell::new(None) };
}

/// The bell of one wait. It goes back to its thread afterwards.
#[derive(Debug)]
pub(crate) struct Mine(Option<Arc<ThreadBell>>);

/// A bell for a wait of this thread; none when the process has no descriptor left. A forked child does
/// not share its parent's.
pub(crate) fn mine() -> Option<Mine> {
    let spare = SPARE.with_borrow_mut(Option::take).filter(|bell| bell.stamp.current());
    let bell = match spare {
        Some(bell) => bell,
        None => {
            Arc::new(ThreadBell { bell: Bell::new().ok()?, rung: AtomicBool::new(false), stamp: fork::Stamp::now() })
        }
    };
    Some(Mine(Some(bell)))
}

impl std::ops::Deref for Mine {
    type Target = Arc<ThreadBell>;

    fn deref(&self) -> &Arc<ThreadBell> {
        // Taken by `drop` alone.
        self.0.as_ref().expect("a bell in use")
    }
}

impl Drop for Mine {
    fn drop(&mut self) {
        // A thread that is ending has no place for it any more; then it just closes.
        let _ = SPARE.try_with(|spare| *spare.borrow_mut() = self.0.take());
    }
}
