//! Who waits for which operation of a context, and who is called when there is something to do.

use std::collections::HashSet;
use std::hash::BuildHasherDefault;
use std::sync::Arc;
use std::task::{Poll, Wake, Waker};

use crate::driver::context::{Completion, Outcome};
use crate::driver::lock;
use crate::driver::sync::{Mutex, MutexGuard};
use crate::error::{Code, Error, Result};
use crate::proto::ids::{IdHasher, IdMap};

/// It is the waker at the reactor: woken, it passes the call on.
#[derive(Debug, Default)]
pub(super) struct Board(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    waiting: IdMap<Waker>,
    /// The results of operations, until somebody asks for them.
    done: IdMap<Result<Outcome>>,
    /// Operations nobody waits for any more, until they end.
    dropped: HashSet<u64, BuildHasherDefault<IdHasher>>,
    /// The operation that was waited for last.
    newest: u64,
    /// The runtime's task.
    task: Option<Waker>,
    /// There is something to do, and nobody has seen to it yet.
    ready: bool,
    /// Somebody sees to it.
    driving: bool,
    /// There is a connection that must not depend on whether a future is polled.
    attended: bool,
    ended: bool,
}

impl State {
    /// Whom to call now.
    fn call(&self) -> Option<Waker> {
        if !self.ready || self.driving || self.ended {
            return None;
        }
        let alone = self.waiting.len() == 1 && !self.attended;
        let single = alone.then(|| self.waiting.get(&self.newest)).flatten();
        single.or(self.task.as_ref()).cloned()
    }

    fn check(&self) -> Result<()> {
        if self.ended {
            return Err(Error::new(Code::Closed, "the runtime of this object has ended"));
        }
        Ok(())
    }
}

/// Wakes with no lock held: a waker is foreign code.
fn wake(state: MutexGuard<'_, State>) {
    let waker = state.call();
    drop(state);
    waker.into_iter().for_each(Waker::wake);
}

impl Wake for Board {
    fn wake(self: Arc<Board>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Board>) {
        let mut state = lock(&self.0);
        state.ready = true;
        wake(state);
    }
}

impl Board {
    // --- futures -----------------------------------------------------------------------------------

    /// The result of `op`, or a place among those who wait.
    pub(super) fn poll(&self, op: u64, waker: &Waker) -> Poll<Result<Outcome>> {
        let mut state = lock(&self.0);
        if let Some(result) = state.done.remove(&op) {
            return Poll::Ready(result);
        }
        if let Err(error) = state.check() {
            return Poll::Ready(Err(error));
        }
        match state.waiting.get_mut(&op) {
            Some(known) => known.clone_from(waker),
            None => drop(state.waiting.insert(op, waker.clone())),
        }
        state.newest = op;
        Poll::Pending
    }

    /// The result of `op`, which waits, if it has ended by now.
    pub(super) fn take(&self, op: u64) -> Option<Result<Outcome>> {
        lock(&self.0).done.remove(&op)
    }

    /// Nobody waits for `op` any more. Says whether it is still to end. If it was called, another is, in the same moment.
    pub(super) fn leave(&self, op: u64) -> bool {
        let mut state = lock(&self.0);
        let waker = state.waiting.remove(&op);
        let result = state.done.remove(&op);
        let pending = result.is_none() && !state.ended;
        if pending {
            state.dropped.insert(op);
        }
        wake(state);
        // What an operation ended with may be a connection that closes with it.
        drop((waker, result));
        pending
    }

    // --- whoever drives ----------------------------------------------------------------------------

    /// The right to drive, if there is anything to do and nobody does it.
    pub(super) fn drive(&self) -> Option<Drive<'_>> {
        let mut state = lock(&self.0);
        if !state.ready || state.driving || state.ended {
            return None;
        }
        state.driving = true;
        Some(Drive { board: self, left: false })
    }

    /// The task is polled, or will be when there is something to do. `false` when it has nothing to do any more.
    pub(super) fn stand_by(&self, task: &Waker) -> bool {
        let mut state = lock(&self.0);
        state.task = Some(task.clone());
        !state.ended
    }

    /// From now on the task sees to everything that several futures, or one that is not polled, could keep waiting.
    pub(super) fn attend(&self) {
        lock(&self.0).attended = true;
    }

    /// Whether anything is still driven.
    pub(super) fn is_live(&self) -> bool {
        !lock(&self.0).ended
    }

    /// Has somebody look, as if the descriptor were ready.
    pub(super) fn summon(&self) {
        let mut state = lock(&self.0);
        state.ready = true;
        wake(state);
    }

    /// Nothing is driven any more: everything that waits ends with `closed`. Idempotent.
    pub(super) fn end(&self) {
        let mut state = lock(&self.0);
        state.ended = true;
        state.dropped.clear();
        let task = state.task.take();
        let wakers: Vec<Waker> = state.waiting.drain().map(|(_, waker)| waker).chain(task).collect();
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
    }
}

/// The right and the duty to drive. Dropped early, in a panic or at the end of a budget, it calls another.
#[derive(Debug)]
pub(super) struct Drive<'a> {
    board: &'a Board,
    left: bool,
}

impl Drive<'_> {
    /// What is told from now on is new.
    pub(super) fn look(&mut self) {
        lock(&self.board.0).ready = false;
    }

    /// Ends driving, unless something new was told since [`look`](Drive::look).
    pub(super) fn leave(&mut self) -> bool {
        let mut state = lock(&self.board.0);
        self.left = !state.ready;
        state.driving = state.ready;
        self.left
    }

    /// Hands `completions` to those who wait. The caller's own operation `own` is not woken.
    pub(super) fn finish(&mut self, completions: &mut Vec<Completion>, own: Option<u64>) {
        if completions.is_empty() {
            return;
        }
        let (mut wakers, mut unwanted) = (Vec::new(), Vec::new());
        let mut state = lock(&self.board.0);
        for Completion { op, result } in completions.drain(..) {
            if state.dropped.remove(&op) {
                unwanted.push(result);
                continue;
            }
            // One that is not polled yet finds its result when it is.
            state.done.insert(op, result);
            wakers.extend(state.waiting.remove(&op).filter(|_| own != Some(op)));
        }
        drop(state);
        wakers.into_iter().for_each(Waker::wake);
        drop(unwanted);
    }
}

impl Drop for Drive<'_> {
    fn drop(&mut self) {
        if !self.left {
            let mut state = lock(&self.board.0);
            state.driving = false;
            state.ready = true;
            wake(state);
        }
    }
}
