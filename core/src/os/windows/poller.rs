//! Waiting for objects: one or two at a time, or many behind one that can be waited for.

use std::collections::{HashMap, VecDeque};
use std::ops::{BitAnd, BitOr, BitOrAssign, Sub};
use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle};
use std::ptr::null;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use windows_sys::Win32::Foundation::{HANDLE, WAIT_FAILED};
use windows_sys::Win32::System::Threading::{
    CREATE_WAITABLE_TIMER_MANUAL_RESET, CreateWaitableTimerExW, INFINITE, SetWaitableTimer, TIMER_ALL_ACCESS,
    WaitForMultipleObjects,
};

use super::Errno;
use super::event::Event;
use super::wait::{Tell, Wait};
use crate::error::{Error, Result};

/// For a timer, as good as never; one that rings for nothing does no harm.
const NEVER: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// What something is waited for: to read, to write, both or neither.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Interest(u8);

pub(crate) const READ: Interest = Interest(1);
pub(crate) const WRITE: Interest = Interest(2);

impl Interest {
    pub(crate) const fn empty() -> Interest {
        Interest(0)
    }

    pub(crate) fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub(crate) fn contains(self, other: Interest) -> bool {
        self.0 & other.0 == other.0
    }

    pub(crate) fn set(&mut self, other: Interest, on: bool) {
        *self = if on { *self | other } else { *self - other };
    }

    pub(crate) fn remove(&mut self, other: Interest) {
        self.set(other, false);
    }
}

impl BitOr for Interest {
    type Output = Interest;

    fn bitor(self, other: Interest) -> Interest {
        Interest(self.0 | other.0)
    }
}

impl BitOrAssign for Interest {
    fn bitor_assign(&mut self, other: Interest) {
        *self = *self | other;
    }
}

impl BitAnd for Interest {
    type Output = Interest;

    fn bitand(self, other: Interest) -> Interest {
        Interest(self.0 & other.0)
    }
}

impl Sub for Interest {
    type Output = Interest;

    fn sub(self, other: Interest) -> Interest {
        Interest(self.0 & !other.0)
    }
}

/// What stands for a descriptor here: an object that is signalled while there is something to read, and one while
/// something can be written. What has only the first is never waited for to write.
#[derive(Debug, Clone, Copy)]
pub(crate) struct BorrowedFd<'a> {
    pub(super) read: BorrowedHandle<'a>,
    pub(super) write: Option<BorrowedHandle<'a>>,
}

impl<'a> From<BorrowedFd<'a>> for BorrowedHandle<'a> {
    /// What is signalled while there is something to read.
    fn from(fd: BorrowedFd<'a>) -> BorrowedHandle<'a> {
        fd.read
    }
}

/// What can be waited for.
pub(crate) trait AsFd {
    fn as_fd(&self) -> BorrowedFd<'_>;
}

impl<T: AsFd> AsFd for Arc<T> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        (**self).as_fd()
    }
}

impl<'a> BorrowedFd<'a> {
    /// The objects for `interest`, each with its part of it.
    fn objects(self, interest: Interest) -> impl Iterator<Item = (Interest, BorrowedHandle<'a>)> {
        let both = [(READ, Some(self.read)), (WRITE, self.write)];
        both.into_iter().filter_map(move |(one, object)| Some((one, object.filter(|_| interest.contains(one))?)))
    }
}

/// Waits until `fd` is ready for `interest`, the end included, or until the deadline.
pub(crate) fn wait_one(fd: BorrowedFd<'_>, interest: Interest, deadline: Option<Instant>) -> Result<(), Errno> {
    wait_any(fd.objects(interest).map(|(_, object)| object), deadline)
}

/// Waits until `fd` is ready for `interest`, the end included, or until `bell` is readable.
pub(crate) fn wait_two(bell: BorrowedFd<'_>, fd: BorrowedFd<'_>, interest: Interest) -> Result<(), Errno> {
    let objects = fd.objects(interest).map(|(_, object)| object);
    wait_any(std::iter::once(bell.read).chain(objects), None)
}

#[allow(unsafe_code)]
fn wait_any<'a>(objects: impl Iterator<Item = BorrowedHandle<'a>>, deadline: Option<Instant>) -> Result<(), Errno> {
    let mut handles: [HANDLE; 3] = [std::ptr::null_mut(); 3];
    let mut count = 0;
    for (place, object) in handles.iter_mut().zip(objects) {
        *place = object.as_raw_handle();
        count += 1;
    }
    let timeout = deadline.map_or(INFINITE, |deadline| {
        // Rounded up, or the last millisecond would be waited for busily. A longer time than fits ends early.
        let left = deadline.saturating_duration_since(Instant::now()).as_nanos().div_ceil(1_000_000);
        u32::try_from(left).map_or(INFINITE - 1, |left| left.min(INFINITE - 1))
    });
    // SAFETY: the first `count` places hold handles that are borrowed, and so open, until here.
    let result = unsafe { WaitForMultipleObjects(count, handles.as_ptr(), 0, timeout) };
    if result == WAIT_FAILED { Err(Errno::last()) } else { Ok(()) }
}

/// Many objects behind one; level-triggered, each under a token of its owner's.
///
/// The system's thread pool notes who was signalled; whether that still holds is looked at when it is asked for.
#[derive(Debug)]
pub(crate) struct Epoll(Arc<Many>);

#[derive(Debug)]
struct Many {
    /// Set while `signalled` is not empty.
    event: Event,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    watched: HashMap<u64, Watched>,
    last: u64,
    /// Which of `watched` were signalled when they were looked at last.
    signalled: VecDeque<u64>,
}

#[derive(Debug)]
struct Watched {
    token: u64,
    part: Interest,
    wait: Wait<Teller>,
}

#[derive(Debug)]
struct Teller {
    many: Arc<Many>,
    number: u64,
}

impl Tell for Teller {
    fn tell(&self) {
        let mut state = self.many.lock();
        state.signalled.push_back(self.number);
        self.many.event.set();
    }
}

impl Many {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Epoll {
    pub(crate) fn new() -> Result<Epoll> {
        let event = Event::new(false).map_err(|e| Error::os("making an event object", e))?;
        Ok(Epoll(Arc::new(Many { event, state: Mutex::default() })))
    }

    /// Changes what is watched on `fd` from `old` to `new`.
    pub(crate) fn set(&self, fd: BorrowedFd<'_>, token: u64, old: Interest, new: Interest) -> Result<()> {
        let mut added = Vec::with_capacity(2);
        for (part, object) in fd.objects(new - old) {
            let number = {
                let mut state = self.0.lock();
                state.last += 1;
                state.last
            };
            let wait = Wait::new(object, Teller { many: self.0.clone(), number });
            let wait = wait.map_err(|e| Error::os("watching an object", e))?;
            added.push((number, Watched { token, part, wait }));
        }
        let gone = old - new;
        let mut removed = Vec::with_capacity(2);
        let mut state = self.0.lock();
        if !gone.is_empty() {
            let numbers = state.watched.iter().filter(|(_, w)| w.token == token && gone.contains(w.part));
            let numbers: Vec<u64> = numbers.map(|(&number, _)| number).collect();
            removed.extend(numbers.iter().filter_map(|number| state.watched.remove(number)));
        }
        for (number, watched) in added {
            watched.wait.arm();
            state.watched.insert(number, watched);
        }
        drop(state);
        // Without the lock, which a callback that is still running needs.
        drop(removed);
        Ok(())
    }

    /// The tokens of what is ready now, at most `most`. Never waits.
    pub(crate) fn ready(&self, most: usize) -> Vec<u64> {
        let mut tokens = Vec::new();
        let mut state = self.0.lock();
        for _ in 0..state.signalled.len() {
            let Some(number) = (tokens.len() < most).then(|| state.signalled.pop_front()).flatten() else { break };
            let Some(watched) = state.watched.get(&number) else { continue };
            if watched.wait.is_signalled() {
                if !tokens.contains(&watched.token) {
                    tokens.push(watched.token);
                }
                // Behind the others, so that all have their turn.
                state.signalled.push_back(number);
            } else {
                watched.wait.arm();
            }
        }
        if state.signalled.is_empty() {
            self.0.event.reset();
        }
        tokens
    }
}

impl Drop for Epoll {
    fn drop(&mut self) {
        // Each holds a share of what it tells.
        let watched = std::mem::take(&mut self.0.lock().watched);
        drop(watched);
    }
}

impl AsFd for Epoll {
    fn as_fd(&self) -> BorrowedFd<'_> {
        BorrowedFd { read: self.0.event.as_handle(), write: None }
    }
}

/// Readable from `ring` to `clear`.
#[derive(Debug)]
pub(crate) struct Bell(Event);

impl Bell {
    pub(crate) fn new() -> Result<Bell> {
        Event::new(false).map(Bell).map_err(|e| Error::os("making an event object", e))
    }

    pub(crate) fn ring(&self) {
        self.0.set();
    }

    pub(crate) fn clear(&self) {
        self.0.reset();
    }
}

impl AsFd for Bell {
    fn as_fd(&self) -> BorrowedFd<'_> {
        BorrowedFd { read: self.0.as_handle(), write: None }
    }
}

/// Becomes readable at an instant.
#[derive(Debug)]
pub(crate) struct Alarm(OwnedHandle);

#[allow(unsafe_code)]
impl Alarm {
    pub(crate) fn new() -> Result<Alarm> {
        // SAFETY: no attributes and no name are given; the other two are plain numbers.
        let timer =
            unsafe { CreateWaitableTimerExW(null(), null(), CREATE_WAITABLE_TIMER_MANUAL_RESET, TIMER_ALL_ACCESS) };
        if timer.is_null() {
            return Err(Error::os("making a timer", Errno::last()));
        }
        // SAFETY: it was just made, and is nobody else's.
        Ok(Alarm(unsafe { OwnedHandle::from_raw_handle(timer) }))
    }

    pub(crate) fn set(&self, at: Instant) {
        self.set_in(at.saturating_duration_since(Instant::now()));
    }

    fn set_in(&self, left: Duration) {
        // In tenths of a microsecond, rounded up; negative is from now on.
        let left = i64::try_from(left.as_nanos().div_ceil(100)).unwrap_or(i64::MAX);
        let due = -left;
        // SAFETY: the handle is an open timer that may be changed; `due` is alive; nothing is called when it rings.
        unsafe { SetWaitableTimer(self.0.as_raw_handle(), &raw const due, 0, None, null(), 0) };
    }

    /// Cancelling a timer that has rung would leave it signalled, so it is set to a time that does not come.
    pub(crate) fn unset(&self) {
        self.set_in(NEVER);
    }

    pub(crate) fn clear(&self) {
        self.unset();
    }
}

impl AsFd for Alarm {
    fn as_fd(&self) -> BorrowedFd<'_> {
        BorrowedFd { read: self.0.as_handle(), write: None }
    }
}
