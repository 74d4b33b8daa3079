//! One caller's wait, from its first look to its end.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use crate::api::wait::Wait;
use crate::driver::lock;
use crate::driver::place::Place;
use crate::driver::sync::{Mutex, MutexGuard};
use crate::driver::turn::{Shared, given_up};
use crate::error::{Code, Error, Result};
use crate::limits;
use crate::log;
use crate::os::poller::{Interest, READ, WRITE};
use crate::os::{AsFd, Errno};
use crate::proto::OpId;

/// Between two looks of a spin, so that others find the lock free: about as long as a look.
const PAUSES: u32 = 8;

/// Waits for `op`, which is expected in `shared`'s turn; `inside`: this thread has [entered](Turn::enter) already.
pub(crate) fn wait<S: Shared>(shared: &Mutex<S>, op: OpId, wait: &mut Wait<'_>, inside: bool) -> Result<S::Out> {
    let _scope = log::Scope::enter();
    let mut expected = Expected { shared, op, inside, claimed: Interest::empty(), ended: false };
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
    expected.enter(&mut *state);
    let mut until = None;
    loop {
        if let Some(result) = state.turn().take(op) {
            expected.leave(&mut *state);
            return Some(result);
        }
        // What a cork holds back may be what this waits for.
        state.release();
        let now = Instant::now();
        state.pump(now);
        if let Some(result) = state.turn().take(op) {
            expected.leave(&mut *state);
            return Some(result);
        }
        if wait.deadline.is_some_and(|d| d <= now) {
            return Some(expected.out_of_time(&mut *state, wait, Code::Timeout));
        }
        if now >= *until.get_or_insert(now + limit) {
            expected.leave(&mut *state);
            return None;
        }
        drop(state);
        std::hint::spin_loop();
        state = lock(shared);
    }
}

/// An operation somebody waits for. If the wait unwinds, for a panic in the caller's interrupt hook say,
/// the operation is given up and the others go on.
struct Expected<'a, S: Shared> {
    shared: &'a Mutex<S>,
    op: OpId,
    /// Counted as inside its wait: not while its hook runs.
    inside: bool,
    /// What it polls the descriptor for, or was polling for until a moment ago.
    claimed: Interest,
    ended: bool,
}

impl<S: Shared> Expected<'_, S> {
    fn enter(&mut self, state: &mut S) {
        state.turn().inside += usize::from(!std::mem::replace(&mut self.inside, true));
    }

    /// Somebody else sees to the descriptor, as far as anybody has to.
    fn leave(&mut self, state: &mut S) {
        state.turn().inside -= usize::from(std::mem::take(&mut self.inside));
        state.attend();
    }

    /// Ends a wait before its operation: that is given up, or kept for another wait.
    fn out_of_time(&mut self, state: &mut S, wait: &Wait<'_>, code: Code) -> Result<S::Out> {
        match wait.keep {
            true => state.turn().unrelieve(self.op),
            false => state.give_up(self.op, code),
        }
        let result = state.turn().take(self.op);
        self.leave(state);
        result.unwrap_or_else(|| Err(given_up(code)))
    }
}

impl<S: Shared> Drop for Expected<'_, S> {
    fn drop(&mut self) {
        if !self.ended {
            let mut state = lock(self.shared);
            state.turn().unclaim(self.op, self.claimed);
            state.give_up(self.op, Code::Cancelled);
            state.turn().forget(self.op);
            self.leave(&mut *state);
        }
    }
}

fn wait_for<S: Shared>(expected: &mut Expected<'_, S>, wait: &mut Wait<'_>) -> Result<S::Out> {
    let (shared, op) = (expected.shared, expected.op);
    let mut place = Place::default();
    let mut state = lock(shared);
    expected.enter(&mut *state);
    // Even a deadline that has passed gets one look at the descriptor.
    let mut looked = false;
    // The last spin found nothing, and no sleep followed yet.
    let mut spun = false;
    // The last turn of reading was cut short.
    let mut more = false;
    let mut new = true;
    // A signal that comes while this thread spins or waits for a lock interrupts no sleep.
    let mut ask_after = wait.ask_after;
    loop {
        if let Some(result) = state.turn().take(op) {
            expected.leave(&mut *state);
            return result;
        }
        // What a cork holds back may be what this waits for.
        state.release();
        let now = Instant::now();
        if wait.deadline.is_some_and(|d| d <= now) {
            if looked {
                return expected.out_of_time(&mut *state, wait, Code::Timeout);
            }
            state.pump(now);
            looked = true;
            continue;
        }
        if log::is_held() {
            // A subscriber is foreign code: it may take long, use this very object, or panic. So it runs while this
            // caller is nobody whom others count on.
            expected.leave(&mut *state);
            drop(state);
            log::flush();
            state = lock(shared);
            expected.enter(&mut *state);
            continue;
        }
        let others = state.turn().asleep;
        let crowded = (others >= limits::MAX_LEADING_CALLERS || state.turn().share.concerned())
            && state.turn().share.crowded(others, now);
        if !crowded && std::mem::take(&mut new) {
            state.turn().relieve(now);
        }
        // Somebody else attends to the descriptor.
        let crowded = crowded || state.turn().is_relieved(op);
        let (fd, interest) = match state.descriptor() {
            Some((fd, interest)) if !crowded => (Some(fd), interest - state.turn().attended),
            _ => (None, Interest::empty()),
        };
        expected.claimed = interest;
        let keeps = !crowded && state.turn().claim(op, interest);
        if state.turn().share.relieves() && !interest.is_empty() {
            // The I/O thread is not to be woken for what this caller reads.
            state.attend();
        }
        if interest == READ
            && !spun
            && let messages = state.messages()
            && let Some(permit) = state.turn().spinner.start(messages)
        {
            let until = now + permit.budget();
            let ended;
            (state, spun, ended) = spin(shared, state, op, wait.deadline.map_or(until, |d| d.min(until)));
            drop(permit);
            state.turn().spinner.spun(ended.saturating_duration_since(now), !spun);
            state.turn().unclaim(op, interest);
            state.turn().share.left(ended);
            expected.claimed = Interest::empty();
            ask_after = wait.ask_after;
            continue;
        }
        spun = false;
        let fd = fd.filter(|_| !interest.is_empty());
        let timeout = if keeps { state.next_timeout() } else { None };
        let ask = ask_after.and_then(|after| now.checked_add(after));
        let until = wait.deadline.into_iter().chain(timeout).chain(ask).min();
        let asleep = place.prepare(fd.is_some(), now, until);
        state.turn().fall_asleep(op, asleep, interest, now, until);
        if crowded {
            state.attend();
        }
        drop(state);
        let slept = place.sleep(fd.as_ref().map(AsFd::as_fd), interest, until);
        drop(fd);
        if std::mem::take(&mut more) || interest.contains(WRITE) {
            // This thread has the lock again and again, and for long.
            shared.give_way();
        }
        state = lock(shared);
        state.turn().wake_up(op);
        place.woke();
        let relieved = state.turn().is_relieved(op);
        let (interest, keeps) = if relieved { (Interest::empty(), false) } else { (interest, keeps) };
        // The I/O thread may not have looked yet when the deadline passes.
        looked &= !relieved;
        expected.claimed = interest;
        if keeps || !interest.is_empty() {
            // Still counted on: nobody else has to be woken for what this finds.
            let woken = Instant::now();
            more = state.pump(woken);
            looked = true;
            if interest == READ {
                state.turn().woken(op, woken.saturating_duration_since(now));
            }
            state.turn().unclaim(op, interest);
            if !interest.is_empty() {
                state.turn().share.left(woken);
            }
            expected.claimed = Interest::empty();
        }
        if slept == Err(Errno::INTR) || ask.is_some_and(|ask| ask <= Instant::now()) {
            ask_after = None;
            // The hook may take long, or use this very object, so somebody else steps in meanwhile.
            expected.leave(&mut *state);
            drop(state);
            let decision = wait.interrupted();
            state = lock(shared);
            expected.enter(&mut *state);
            if decision == ControlFlow::Break(()) && state.turn().waiting.get(&op).is_some_and(|w| w.result.is_none()) {
                return expected.out_of_time(&mut *state, wait, Code::Interrupted);
            }
        }
    }
}

/// Looks at the descriptor again and again until `op` ended, anything else came, or the time has come.
/// Says whether it was in vain, and when it ended. Between two looks the lock is free for others, who go first.
fn spin<'a, S: Shared>(
    shared: &'a Mutex<S>,
    mut state: MutexGuard<'a, S>,
    op: OpId,
    until: Instant,
) -> (MutexGuard<'a, S>, bool, Instant) {
    loop {
        let now = Instant::now();
        if state.turn().is_done(op) || state.glance(now) {
            return (state, false, now);
        }
        if now >= until {
            return (state, true, now);
        }
        drop(state);
        state = loop {
            (0..PAUSES).for_each(|_| std::hint::spin_loop());
            match shared.try_lock() {
                Some(state) => break state,
                None if Instant::now() >= until => break lock(shared),
                None => {}
            }
        };
    }
}
