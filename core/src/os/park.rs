//! Putting one thread to sleep until another wakes it, a deadline passes, or a signal arrives.
//!
//! A futex and not a condition variable, because the latter hides that a signal handler ran.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::thread::futex;

/// A wait without a deadline is cut into turns of this length, which no one notices.
const LONG: Duration = Duration::from_secs(3600);

#[derive(Debug, Default)]
pub(crate) struct Parker(AtomicU32);

/// A signal handler ran.
#[derive(Debug)]
pub(crate) struct Interrupted;

impl Parker {
    /// Returns once [`unpark`](Parker::unpark) was called, at the deadline, or spuriously.
    pub(crate) fn park(&self, deadline: Option<Instant>) -> Result<(), Interrupted> {
        if self.0.swap(0, Ordering::Acquire) == 1 {
            return Ok(());
        }
        let left = deadline.map_or(LONG, |d| d.saturating_duration_since(Instant::now()));
        let timeout = super::poller::timespec(left);
        match futex::wait(&self.0, futex::Flags::PRIVATE, 0, Some(&timeout)) {
            Err(Errno::INTR) => Err(Interrupted),
            _ => {
                self.0.store(0, Ordering::Relaxed);
                Ok(())
            }
        }
    }

    pub(crate) fn unpark(&self) {
        self.0.store(1, Ordering::Release);
        // It fails only for an address that is no futex word.
        let _ = futex::wake(&self.0, futex::Flags::PRIVATE, 1);
    }
}
