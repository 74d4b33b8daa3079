//! The lock of what threads share.
//!
//! Built with `--cfg shuttle`, threads are those of a model checker, which tries orders in which they take the lock
//! and sleep; see `core/tests/models.rs`.

#[cfg(not(shuttle))]
pub(crate) use real::{Mutex, MutexGuard};

#[cfg(shuttle)]
pub(crate) use model::{Mutex, MutexGuard};

/// The standard library's lock, which is not fair: a thread that comes back at once keeps out those whom the lock has to
/// wake first. Who holds it long and often [gives way](Mutex::give_way). Fair locks of other crates keep their queues in
/// a table of the process, which a forked child would inherit in any state.
#[cfg(not(shuttle))]
mod real {
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::sync::{self, TryLockError};
    use std::thread;
    use std::time::{Duration, Instant};

    pub(crate) use std::sync::MutexGuard;

    /// Longest wait for somebody who was woken to take the lock.
    const PATIENCE: Duration = Duration::from_millis(1);

    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T> {
        inner: sync::Mutex<T>,
        /// Threads that found it taken, and have not got it yet.
        waiting: AtomicU32,
        /// How often one of those got it.
        turns: AtomicU32,
    }

    impl<T> Mutex<T> {
        pub(crate) const fn new(value: T) -> Mutex<T> {
            Mutex { inner: sync::Mutex::new(value), waiting: AtomicU32::new(0), turns: AtomicU32::new(0) }
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.try_lock().unwrap_or_else(|| self.wait())
        }

        pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
            match self.inner.try_lock() {
                Ok(guard) => Some(guard),
                Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
                Err(TryLockError::WouldBlock) => None,
            }
        }

        #[cold]
        fn wait(&self) -> MutexGuard<'_, T> {
            self.waiting.fetch_add(1, Ordering::Relaxed);
            let guard = self.inner.lock().unwrap_or_else(sync::PoisonError::into_inner);
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            self.turns.fetch_add(1, Ordering::Relaxed);
            guard
        }

        /// Lets one of those who wait have the lock first. The caller does not hold it.
        pub(crate) fn give_way(&self) {
            if self.waiting.load(Ordering::Relaxed) == 0 {
                return;
            }
            // A hint to the scheduler, bounded by time: whoever waits may have no processor for long.
            let (turns, until) = (self.turns.load(Ordering::Relaxed), Instant::now() + PATIENCE);
            while self.waiting.load(Ordering::Relaxed) > 0
                && self.turns.load(Ordering::Relaxed) == turns
                && Instant::now() < until
            {
                thread::yield_now();
            }
        }
    }

    #[cfg(test)]
    mod tests {
        use std::sync::atomic::AtomicBool;

        use super::*;

        #[test]
        fn who_gives_way_does_not_keep_others_out() {
            let (lock, stop) = (Mutex::new(()), AtomicBool::new(false));
            thread::scope(|scope| {
                let hog = scope.spawn(|| {
                    let mut rounds = 0_u32;
                    while !stop.load(Ordering::Relaxed) {
                        lock.give_way();
                        let guard = lock.lock();
                        let until = Instant::now() + Duration::from_micros(200);
                        while Instant::now() < until {
                            std::hint::spin_loop();
                        }
                        drop(guard);
                        rounds += 1;
                    }
                    rounds
                });
                for _ in 0..200 {
                    drop(lock.lock());
                }
                stop.store(true, Ordering::Relaxed);
                // Without it, a hundred rounds and more go by for one of the others.
                let rounds = hog.join().unwrap();
                assert!(rounds < 200 * 20, "{rounds} rounds of one thread for 200 of another");
            });
        }
    }
}

#[cfg(shuttle)]
mod model {
    pub(crate) use shuttle::sync::MutexGuard;

    /// The model checker's lock under the names of the real one.
    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(shuttle::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Mutex<T> {
            Mutex(shuttle::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
        }

        pub(crate) fn try_lock(&self) -> Option<MutexGuard<'_, T>> {
            self.0.try_lock().ok()
        }

        /// Who comes next is the checker's choice.
        pub(crate) fn give_way(&self) {}
    }
}
