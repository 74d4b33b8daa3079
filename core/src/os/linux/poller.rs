//! Waiting on descriptors: one at a time, or many behind one pollable descriptor.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::buffer::spare_capacity;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, epoll, eventfd};
use rustix::io::Errno;
use rustix::time::{Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags};

use crate::error::{Error, Result};

pub(crate) type Interest = epoll::EventFlags;
pub(crate) const READ: Interest = Interest::IN;
pub(crate) const WRITE: Interest = Interest::OUT;

pub(crate) fn timespec(duration: Duration) -> Timespec {
    Timespec { tv_sec: i64::try_from(duration.as_secs()).unwrap_or(i64::MAX), tv_nsec: duration.subsec_nanos().into() }
}

/// Waits until `fd` is ready, for `interest` or because it ended, or until the deadline.
/// `Err(INTR)` when a signal handler ran.
pub(crate) fn wait_one(fd: BorrowedFd<'_>, interest: Interest, deadline: Option<Instant>) -> Result<(), Errno> {
    wait_any(&mut [PollFd::from_borrowed_fd(fd, flags(interest))], deadline)
}

/// Waits until `fd` is ready, for `interest` or because it ended, or until `bell` is readable.
pub(crate) fn wait_two(bell: BorrowedFd<'_>, fd: BorrowedFd<'_>, interest: Interest) -> Result<(), Errno> {
    let bell = PollFd::from_borrowed_fd(bell, PollFlags::IN);
    wait_any(&mut [bell, PollFd::from_borrowed_fd(fd, flags(interest))], None)
}

#[cfg(not(shuttle))]
fn wait_any(fds: &mut [PollFd<'_>], deadline: Option<Instant>) -> Result<(), Errno> {
    let timeout = deadline.map(|d| timespec(d.saturating_duration_since(Instant::now())));
    rustix::event::poll(fds, timeout.as_ref()).map(drop)
}

/// The threads of a model share one of the kernel's, so none of them may sleep in it.
#[cfg(shuttle)]
fn wait_any(fds: &mut [PollFd<'_>], deadline: Option<Instant>) -> Result<(), Errno> {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    while rustix::event::poll(fds, Some(&now))? == 0 && deadline.is_none_or(|at| Instant::now() < at) {
        shuttle::thread::yield_now();
    }
    Ok(())
}

fn flags(interest: Interest) -> PollFlags {
    let mut flags = PollFlags::empty();
    flags.set(PollFlags::IN, interest.contains(READ));
    flags.set(PollFlags::OUT, interest.contains(WRITE));
    flags
}

/// Many descriptors behind one; level-triggered, each under a token of its owner's.
#[derive(Debug)]
pub(crate) struct Epoll(OwnedFd);

impl Epoll {
    pub(crate) fn new() -> Result<Epoll> {
        epoll::create(epoll::CreateFlags::CLOEXEC).map(Epoll).map_err(|e| Error::os("making an epoll descriptor", e))
    }

    /// Changes what is watched on `fd` from `old` to `new`. Nothing watched means not registered:
    /// a registered descriptor whose other end is gone would always be ready.
    pub(crate) fn set(&self, fd: BorrowedFd<'_>, token: u64, old: Interest, new: Interest) -> Result<()> {
        let data = epoll::EventData::new_u64(token);
        let done = match (old.is_empty(), new.is_empty()) {
            (true, true) => Ok(()),
            (true, false) => epoll::add(&self.0, fd, data, new),
            (false, true) => epoll::delete(&self.0, fd),
            (false, false) if old == new => Ok(()),
            (false, false) => epoll::modify(&self.0, fd, data, new),
        };
        done.map_err(|e| Error::os("watching a descriptor", e))
    }

    /// The tokens of what is ready now, at most `most`. Never waits.
    pub(crate) fn ready(&self, most: usize) -> Vec<u64> {
        let mut events = Vec::with_capacity(most);
        let timeout = Timespec { tv_sec: 0, tv_nsec: 0 };
        // It fails only for a bad descriptor or on EINTR, and the latter is the same as nothing ready.
        let _ = epoll::wait(&self.0, spare_capacity(&mut events), Some(&timeout));
        events.iter().map(|event| event.data.u64()).collect()
    }
}

impl AsFd for Epoll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A descriptor that is readable from `ring` to `clear`.
#[derive(Debug)]
pub(crate) struct Bell(OwnedFd);

impl Bell {
    pub(crate) fn new() -> Result<Bell> {
        eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
            .map(Bell)
            .map_err(|e| Error::os("making an event descriptor", e))
    }

    pub(crate) fn ring(&self) {
        // A full counter is as readable as a counter of one; nothing else can be wrong with it.
        let _ = rustix::io::retry_on_intr(|| rustix::io::write(&self.0, &1u64.to_ne_bytes()));
    }

    pub(crate) fn clear(&self) {
        // One that was not rung has nothing to clear.
        let _ = rustix::io::retry_on_intr(|| rustix::io::read(&self.0, &mut [0u8; 8][..]));
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A descriptor that becomes readable at an instant.
#[derive(Debug)]
pub(crate) struct Alarm(OwnedFd);

impl Alarm {
    pub(crate) fn new() -> Result<Alarm> {
        rustix::time::timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK)
            .map(Alarm)
            .map_err(|e| Error::os("making a timer descriptor", e))
    }

    pub(crate) fn set(&self, at: Instant) {
        // Zero would switch the timer off.
        let left = at.saturating_duration_since(Instant::now()).max(Duration::from_nanos(1));
        let value = Itimerspec { it_interval: timespec(Duration::ZERO), it_value: timespec(left) };
        let _ = rustix::time::timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &value);
    }

    pub(crate) fn unset(&self) {
        let never = Itimerspec { it_interval: timespec(Duration::ZERO), it_value: timespec(Duration::ZERO) };
        let _ = rustix::time::timerfd_settime(&self.0, TimerfdTimerFlags::empty(), &never);
    }

    pub(crate) fn clear(&self) {
        let _ = rustix::io::read(&self.0, &mut [0u8; 8][..]);
    }
}

impl AsFd for Alarm {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
