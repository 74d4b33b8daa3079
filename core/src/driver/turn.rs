//! Blocking callers who share one descriptor take turns at it.
//!
//! Readiness to read and readiness to write are each polled for by one caller at most, often the same.
//! That caller polls with no lock held, then moves bytes and hands finished operations to their
//! owners. Every waiting caller, at the descriptor or not, also polls its thread's bell, so anybody
//! can be woken: because its operation finished, or because the descriptor needs somebody. All of
//! that is decided under the lock, so there is always somebody at the descriptor as long as somebody
//! waits.

use std::ops::ControlFlow;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rustix::io::Errno;

use crate::api::wait::Wait;
use crate::driver::lock;
use crate::error::{Code, Error, Result};
use crate::os::poller::{self, Interest, READ};
use crate::os::thread_bell::{self, ThreadBell};
use crate::proto::OpId;
use crate::proto::ids::IdMap;

/// The process has no descriptor left for a bell: then a waiting caller looks for itself this often.
const BELL_LESS: Duration = Duration::from_millis(5);

/// The waiting callers of one object.
#[derive(Debug)]
pub(crate) struct Turn<T> {
    last_op: OpId,
    /// What somebody polls the descriptor for.
    attended: Interest,
    waiting: IdMap<Waiter<T>>,
}

#[derive(Debug)]
struct Waiter<T> {
    result: Option<Result<T>>,
    /// Set while its thread sleeps: what wakes it, and what it polls the descriptor for.
    asleep: Option<(Arc<ThreadBell>, Interest)>,
}

impl<T> Default for Turn<T> {
    fn default() -> Turn<T> {
        Turn { last_op: 0, attended: Interest::empty(), waiting: IdMap::default() }
    }
}

impl<T> Turn<T> {
    pub(crate) fn new_op(&mut self) -> OpId {
        self.last_op += 1;
        self.last_op
    }

    /// From now on `op` is waited for.
    pub(crate) fn expect(&mut self, op: OpId) {
        self.waiting.insert(op, Waiter { result: None, asleep: None });
    }

    /// `op` ended.
    pub(crate) fn finish(&mut self, op: OpId, result: Result<T>) {
        if let Some(waiter) = self.waiting.get_mut(&op) {
            waiter.result = Some(result);
            waiter.asleep.iter().for_each(|(bell, _)| bell.ring());
        }
    }

    /// Nobody waits for `op` any more.
    pub(crate) fn forget(&mut self, op: OpId) {
        self.waiting.remove(&op);
    }

    /// Sees to it that the descriptor is polled for all of `interest` as long as anybody waits: wakes
    /// one caller who can step in, the newest, whose processor is warmest, and rather one who is not at the
    /// descriptor yet.
    pub(crate) fn attend(&self, interest: Interest) {
        if (interest - self.attended).is_empty() {
            return;
        }
        let asleep =
            self.waiting.iter().filter_map(|(op, w)| w.asleep.as_ref().map(|(bell, at)| (at.is_empty(), op, bell)));
        if let Some((_, _, bell)) = asleep.max_by_key(|&(free, op, _)| (free, op)) {
            bell.ring();
        }
    }

    /// Whether `op` ended, and nobody has taken that yet.
    pub(crate) fn is_done(&self, op: OpId) -> bool {
        self.waiting.get(&op).is_some_and(|waiter| waiter.result.is_some())
    }

    fn take(&mut self, op: OpId) -> Option<Result<T>> {
        self.waiting.get(&op)?.result.as_ref()?;
        self.waiting.remove(&op)?.result
    }

    fn fall_asleep(&mut self, op: OpId, bell: Option<&Arc<ThreadBell>>, interest: Interest) {
        self.attended |= interest;
        if let Some(waiter) = self.waiting.get_mut(&op) {
            waiter.asleep = bell.map(|bell| (bell.clone(), interest));
        }
    }

    fn wake_up(&mut self, op: OpId) {
        if let Some(waiter) = self.waiting.get_mut(&op) {
            waiter.asleep = None;
        }
    }
}

/// What takes turns: an object behind a lock and a descriptor.
pub(crate) trait Shared {
    /// What an operation ends with.
    type Out;
    /// A share of the descriptor, which keeps it open.
    type Fd: AsFd;
    fn turn(&mut self) -> &mut Turn<Self::Out>;
    /// The descriptor and what to poll it for: nothing, when polling would tell nothing now. `None` once
    /// it is gone.
    fn descriptor(&self) -> Option<(Self::Fd, Interest)>;
    /// When `pump` has to run at the latest.
    fn next_timeout(&mut self) -> Option<Instant>;
    /// Moves bytes, without waiting, and hands finished operations to their waiters. Says whether there
    /// may be more to do at once.
    fn pump(&mut self, now: Instant) -> bool;
    /// Gives `op` up for the reason `code` and hands it to its waiter.
    fn give_up(&mut self, op: OpId, code: Code);

    /// Sees to it that somebody polls for what is needed now.
    fn attend(&mut self) {
        if self.turn().waiting.is_empty() {
            return;
        }
        let interest = self.descriptor().map_or(Interest::empty(), |(_, interest)| interest);
        self.turn().attend(interest);
    }
}

/// Waits for `op`, which is expected in `shared`'s turn.
pub(crate) fn wait<S: Shared>(shared: &Mutex<S>, op: OpId, wait: &mut Wait<'_>) -> Result<S::Out> {
    let mut expected = Expected { shared, op, claimed: Interest::empty(), ended: false };
    let Some(apart) = wait.apart.take() else {
        let result = wait_for(&mut expected, wait);
        expected.ended = true;
        return result;
    };
    let mut result = look(&mut expected, wait, apart.look);
    if result.is_none() {
        (apart.hook)(&mut || result = Some(wait_for(&mut expected, wait)));
    }
    wait.apart = Some(apart);
    expected.ended = result.is_some();
    result.unwrap_or_else(|| Err(Error::new(Code::Internal, "a wait was not run by its hook")))
}

/// Looks at the descriptor again and again for as long as `limit`, once at least: the result of the operation, if
/// it ended or ran out of time.
fn look<S: Shared>(expected: &mut Expected<'_, S>, wait: &Wait<'_>, limit: Duration) -> Option<Result<S::Out>> {
    let (shared, op) = (expected.shared, expected.op);
    let mut state = lock(shared);
    let mut until = None;
    loop {
        if let Some(result) = state.turn().take(op) {
            state.attend();
            return Some(result);
        }
        let now = Instant::now();
        state.pump(now);
        if let Some(result) = state.turn().take(op) {
            state.attend();
            return Some(result);
        }
        if wait.deadline.is_some_and(|d| d <= now) {
            return Some(out_of_time(&mut *state, op, wait, Code::Timeout));
        }
        if now >= *until.get_or_insert(now + limit) {
            return None;
        }
        drop(state);
        std::hint::spin_loop();
        state = lock(shared);
    }
}

/// Ends a wait before its operation: that is given up, or kept for another wait.
fn out_of_time<S: Shared>(state: &mut S, op: OpId, wait: &Wait<'_>, code: Code) -> Result<S::Out> {
    if !wait.keep {
        state.give_up(op, code);
    }
    let result = state.turn().take(op);
    state.attend();
    result.unwrap_or_else(|| Err(given_up(code)))
}

/// An operation somebody waits for. If the wait unwinds, for a panic in the caller's interrupt hook say,
/// the operation is given up and the others go on.
struct Expected<'a, S: Shared> {
    shared: &'a Mutex<S>,
    op: OpId,
    /// What it polls the descriptor for, or was polling for until a moment ago.
    claimed: Interest,
    ended: bool,
}

impl<S: Shared> Drop for Expected<'_, S> {
    fn drop(&mut self) {
        if !self.ended {
            let mut state = lock(self.shared);
            state.turn().attended.remove(self.claimed);
            state.give_up(self.op, Code::Cancelled);
            state.turn().forget(self.op);
            state.attend();
        }
    }
}

fn wait_for<S: Shared>(expected: &mut Expected<'_, S>, wait: &mut Wait<'_>) -> Result<S::Out> {
    let (shared, op) = (expected.shared, expected.op);
    let mut bell = None;
    let mut state = lock(shared);
    // Even a deadline that has passed gets one look at the descriptor.
    let mut looked = false;
    loop {
        if let Some(result) = state.turn().take(op) {
            state.attend();
            return result;
        }
        let now = Instant::now();
        if wait.deadline.is_some_and(|d| d <= now) {
            if looked {
                return out_of_time(&mut *state, op, wait, Code::Timeout);
            }
            state.pump(now);
            looked = true;
            continue;
        }
        if bell.is_none() {
            bell = thread_bell::mine();
        }
        let (fd, interest) = match state.descriptor() {
            Some((fd, interest)) => (Some(fd), interest - state.turn().attended),
            None => (None, Interest::empty()),
        };
        let fd = fd.filter(|_| !interest.is_empty());
        // Time-outs of the whole are seen to by whoever is at the descriptor.
        let timeout = if interest.is_empty() { None } else { state.next_timeout() };
        let until = wait.deadline.into_iter().chain(timeout).min();
        expected.claimed = interest;
        state.turn().fall_asleep(op, bell.as_deref(), interest);
        drop(state);
        let slept = sleep(bell.as_deref(), fd.as_ref().map(AsFd::as_fd), interest, until);
        drop(fd);
        state = lock(shared);
        state.turn().wake_up(op);
        bell.iter().for_each(|bell| bell.clear());
        if !interest.is_empty() {
            // Still at the descriptor: nobody else has to be woken for what this finds.
            state.pump(Instant::now());
            looked = true;
            state.turn().attended.remove(interest);
            expected.claimed = Interest::empty();
        }
        if slept == Err(Errno::INTR) {
            // The hook may take long, or use this very object, so somebody else steps in meanwhile.
            state.attend();
            drop(state);
            let decision = wait.interrupted();
            state = lock(shared);
            if decision == ControlFlow::Break(()) && state.turn().waiting.get(&op).is_some_and(|w| w.result.is_none()) {
                return out_of_time(&mut *state, op, wait, Code::Interrupted);
            }
        }
    }
}

/// Sleeps until the descriptor is ready, the bell rings, or the time has come. `Err(INTR)` when a signal
/// handler ran.
fn sleep(
    bell: Option<&Arc<ThreadBell>>,
    fd: Option<BorrowedFd<'_>>,
    interest: Interest,
    until: Option<Instant>,
) -> Result<(), Errno> {
    let soon = Instant::now() + BELL_LESS;
    match (bell, fd) {
        (Some(bell), Some(fd)) => poller::wait_two(bell.as_fd(), fd, interest, until),
        (Some(bell), None) => poller::wait_one(bell.as_fd(), READ, until),
        (None, Some(fd)) => poller::wait_one(fd, interest, Some(until.map_or(soon, |u| u.min(soon)))),
        (None, None) => {
            std::thread::park_timeout(BELL_LESS);
            Ok(())
        }
    }
}

/// The error of an operation given up for `code`.
pub(crate) fn given_up(code: Code) -> Error {
    Error::new(
        code,
        match code {
            Code::Timeout => "the deadline passed",
            Code::Interrupted => "a signal handler ran during the wait",
            Code::Closed => "closed by this side",
            _ => "the operation was given up by its caller",
        },
    )
}
