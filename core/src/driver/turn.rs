//! Blocking callers who share one descriptor take turns at it.
//!
//! Readiness to read and readiness to write are each polled for by one caller at most, often the same.
//! That caller polls with no lock held, then moves bytes and hands finished operations to their
//! owners. The others sleep, each on its own word, and are woken one by one: when their operation
//! finished, or by whoever leaves the descriptor unattended. Leaving and naming a successor happen
//! under the lock, so there is always somebody at the descriptor as long as somebody waits.

use std::ops::ControlFlow;
use std::os::fd::BorrowedFd;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use rustix::io::Errno;

use crate::api::wait::Wait;
use crate::driver::lock;
use crate::error::{Code, Error, Result};
use crate::os::park::{Interrupted, Parker};
use crate::os::poller::{self, Interest, READ, WRITE};
use crate::proto::OpId;
use crate::proto::ids::IdMap;

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
    parker: Option<Arc<Parker>>,
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
        self.waiting.insert(op, Waiter { result: None, parker: None });
    }

    /// `op` ended.
    pub(crate) fn finish(&mut self, op: OpId, result: Result<T>) {
        if let Some(waiter) = self.waiting.get_mut(&op) {
            waiter.result = Some(result);
            waiter.parker.iter().for_each(|p| p.unpark());
        }
    }

    /// Nobody waits for `op` any more.
    pub(crate) fn forget(&mut self, op: OpId) {
        self.waiting.remove(&op);
        self.pass_on();
    }

    /// Wakes everybody to look anew, since what they may poll for has changed.
    pub(crate) fn rouse(&mut self) {
        self.waiting.values().filter_map(|w| w.parker.as_ref()).for_each(|p| p.unpark());
    }

    fn take(&mut self, op: OpId) -> Option<Result<T>> {
        self.waiting.get(&op)?.result.as_ref()?;
        self.waiting.remove(&op)?.result
    }

    /// If the descriptor is unattended, wakes one who can step in: the newest, whose processor is warmest.
    fn pass_on(&mut self) {
        if !self.attended.contains(READ | WRITE)
            && let Some((_, waiter)) =
                self.waiting.iter().filter(|(_, w)| w.parker.is_some()).max_by_key(|(op, _)| **op)
        {
            waiter.parker.iter().for_each(|p| p.unpark());
        }
    }
}

/// What takes turns: an object behind a lock and a descriptor.
pub(crate) trait Shared {
    /// What an operation ends with.
    type Out;
    fn turn(&mut self) -> &mut Turn<Self::Out>;
    /// What to poll the descriptor for; empty when polling would tell nothing now.
    fn interest(&self) -> Interest;
    /// When `pump` has to run at the latest.
    fn next_timeout(&mut self) -> Option<Instant>;
    /// Moves bytes, without waiting, and hands finished operations to their waiters. Says whether there
    /// may be more to do at once.
    fn pump(&mut self, fd: BorrowedFd<'_>, now: Instant) -> bool;
    /// Gives `op` up for the reason `code` and hands it to its waiter.
    fn give_up(&mut self, op: OpId, code: Code, fd: BorrowedFd<'_>);
}

enum Place {
    /// At the descriptor, polling for this, until then.
    Poll(Interest, Option<Instant>),
    Sleep(Arc<Parker>),
}

/// Waits for `op`, which is expected in `shared`'s turn.
pub(crate) fn wait<S: Shared>(shared: &Mutex<S>, fd: BorrowedFd<'_>, op: OpId, wait: &mut Wait<'_>) -> Result<S::Out> {
    let mut state = lock(shared);
    // Even a deadline that has passed gets one look at the descriptor.
    let mut looked = false;
    loop {
        if let Some(result) = state.turn().take(op) {
            state.turn().pass_on();
            return result;
        }
        let expired = wait.deadline.is_some_and(|d| d <= Instant::now());
        if expired && (looked || state.turn().attended.contains(READ)) {
            state.give_up(op, Code::Timeout, fd);
            continue;
        }
        if expired {
            state.pump(fd, Instant::now());
            looked = true;
            continue;
        }
        let place = place(&mut *state, op, wait.deadline);
        if let Place::Poll(interest, _) = place {
            state.turn().attended |= interest;
        }
        drop(state);
        let slept = match &place {
            Place::Poll(interest, until) => poller::wait_one(fd, *interest, *until),
            Place::Sleep(parker) => parker.park(wait.deadline).map_err(|Interrupted| Errno::INTR),
        };
        let interrupted = slept == Err(Errno::INTR) && wait.interrupted() == ControlFlow::Break(());
        state = lock(shared);
        if let Place::Poll(interest, _) = place {
            state.turn().attended.remove(interest);
            state.pump(fd, Instant::now());
        }
        looked = true;
        if interrupted && state.turn().waiting.get(&op).is_some_and(|w| w.result.is_none()) {
            state.give_up(op, Code::Interrupted, fd);
        }
    }
}

fn place<S: Shared>(state: &mut S, op: OpId, deadline: Option<Instant>) -> Place {
    let unattended = state.interest() - state.turn().attended;
    if !unattended.is_empty() {
        let until = [deadline, state.next_timeout()].into_iter().flatten().min();
        return Place::Poll(unattended, until);
    }
    let turn = state.turn();
    let parker = Arc::new(Parker::default());
    if let Some(waiter) = turn.waiting.get_mut(&op) {
        waiter.parker = Some(parker.clone());
    }
    Place::Sleep(parker)
}

/// The error of an operation given up for `code`.
pub(crate) fn given_up(code: Code) -> Error {
    Error::new(
        code,
        match code {
            Code::Timeout => "the deadline passed",
            Code::Interrupted => "a signal handler ran during the wait",
            _ => "the operation was given up by its caller",
        },
    )
}
