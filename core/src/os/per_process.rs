//! Statics that a forked child does not share with its parent.

use std::sync::atomic::{AtomicPtr, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::os::fork::Stamp;

/// One value per process: a forked child starts with a fresh one, so it never meets a lock or a flag
/// that a thread of its parent held at the fork.
#[derive(Debug)]
pub struct PerProcess<T: 'static>(AtomicPtr<Slot<T>>);

#[derive(Debug)]
struct Slot<T> {
    stamp: Stamp,
    value: T,
}

impl<T: Default + Send + Sync> PerProcess<T> {
    /// This process's value. The parent's, in a child, is left as it is: one small leak per fork.
    pub(crate) fn get(&self) -> &'static T {
        self.get_or_make(|_| T::default())
    }
}

impl<T: Default + Send> PerProcess<Mutex<T>> {
    /// This process's value, locked.
    pub(crate) fn lock(&self) -> MutexGuard<'static, T> {
        self.get().lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<T: Send + Sync> PerProcess<T> {
    /// No value yet.
    #[allow(clippy::new_without_default)]
    pub const fn new() -> PerProcess<T> {
        PerProcess(AtomicPtr::new(std::ptr::null_mut()))
    }

    /// This process's value. The first use makes it, in a forked child from its parent's, whose locks may be held for
    /// ever; where several threads come first, one of what they make is kept.
    #[allow(unsafe_code)]
    pub fn get_or_make(&self, make: impl Fn(Option<&'static T>) -> T) -> &'static T {
        let stamp = Stamp::now();
        let mut found = self.0.load(Ordering::Acquire);
        loop {
            // SAFETY: a pointer in here is null or came from `Box::into_raw` below, and what was once
            // published is never freed or changed, but shared by reference only.
            let slot: Option<&'static Slot<T>> = unsafe { found.as_ref() };
            if let Some(slot) = slot.filter(|slot| slot.stamp == stamp) {
                return &slot.value;
            }
            let fresh = Box::into_raw(Box::new(Slot { stamp, value: make(slot.map(|slot| &slot.value)) }));
            match self.0.compare_exchange(found, fresh, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => found = fresh,
                Err(other) => {
                    // SAFETY: made three lines above, and nobody else saw it.
                    drop(unsafe { Box::from_raw(fresh) });
                    found = other;
                }
            }
        }
    }
}
