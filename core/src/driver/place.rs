//! Where a waiting caller sleeps: at the descriptor, or elsewhere until it is woken.

use std::sync::Arc;
use std::time::Instant;

use crate::limits;
use crate::os::poller::{self, Interest, READ};
use crate::os::thread_bell::{Mine, ThreadAlarm, ThreadBell};
use crate::os::{BorrowedFd, Errno};

/// Where a thread sleeps, and what wakes it.
#[derive(Debug)]
pub(crate) enum Sleep {
    /// At the descriptor.
    There(Arc<ThreadAlarm>),
    Elsewhere(Arc<ThreadBell>),
}

impl Sleep {
    pub(crate) fn wake(&self) {
        match self {
            Sleep::There(alarm) => alarm.ring(),
            Sleep::Elsewhere(bell) => bell.ring(),
        }
    }
}

/// What one wait sleeps on.
#[derive(Default)]
pub(crate) struct Place {
    bell: Option<Mine<ThreadBell>>,
    alarm: Option<Mine<ThreadAlarm>>,
}

impl Place {
    /// Gets ready to sleep, under the lock of what is waited for: at the descriptor or elsewhere. `None`
    /// when the process has no descriptor left to be woken by.
    pub(crate) fn prepare(&mut self, there: bool, now: Instant, until: Option<Instant>) -> Option<Sleep> {
        if !there {
            self.bell = self.bell.take().or_else(Mine::take);
            return self.bell.as_deref().cloned().map(Sleep::Elsewhere);
        }
        self.alarm = self.alarm.take().or_else(Mine::take);
        let alarm = self.alarm.as_ref()?;
        alarm.set(now, until);
        Some(Sleep::There(Arc::clone(alarm)))
    }

    /// Sleeps until the descriptor is ready, somebody wakes this thread, or the time has come, now and
    /// then for nothing. `Err(INTR)` when a signal handler ran.
    pub(crate) fn sleep(
        &self,
        fd: Option<BorrowedFd<'_>>,
        interest: Interest,
        until: Option<Instant>,
    ) -> Result<(), Errno> {
        let soon = || {
            let soon = Instant::now() + limits::UNWATCHED;
            Some(until.map_or(soon, |until| until.min(soon)))
        };
        match (fd, &self.alarm, &self.bell) {
            (Some(fd), Some(alarm), _) => poller::wait_two(alarm.as_fd(), fd, interest),
            (Some(fd), None, _) => poller::wait_one(fd, interest, soon()),
            (None, _, Some(bell)) => poller::wait_one(bell.as_fd(), READ, until),
            (None, _, None) => {
                std::thread::park_timeout(limits::UNWATCHED);
                Ok(())
            }
        }
    }

    pub(crate) fn woke(&self) {
        self.bell.iter().for_each(|bell| bell.clear());
    }
}
