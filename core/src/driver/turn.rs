//! Blocking callers who share one descriptor take turns at it.
//!
//! Readiness to read and readiness to write are each polled for by one caller at most, often the same.
//! That caller polls with no lock held, then moves bytes and hands finished operations to their
//! owners. Most often it also keeps the clock: it wakes when the whole has to be looked after. Nobody is at the
//! descriptor while there is nothing to poll it for; somebody keeps the clock even then. Every waiting
//! caller can be woken, by its thread's alarm at the descriptor and by its bell elsewhere: because its operation
//! finished, or because something is left to nobody. All of that is decided under the lock, so as long as callers wait,
//! one of them, or the I/O thread in their stead, sees to what has to be seen to.

use std::collections::hash_map::Entry;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use crate::api::options::Spin;
use crate::api::wait::Wait;
use crate::driver::iothread::Share;
use crate::driver::lock;
use crate::driver::place::{Place, Sleep};
use crate::driver::spin::Spinner;
use crate::driver::sync::{Mutex, MutexGuard};
use crate::error::{Code, Error, Result};
use crate::limits;
use crate::log;
use crate::os::poller::{Interest, READ, WRITE};
use crate::os::{AsFd, BorrowedFd, Errno};
use crate::proto::OpId;
use crate::proto::ids::IdMap;

/// Who slept at the descriptor for so long goes on sleeping elsewhere when another caller comes: it would be woken for
/// that one's answers. Those who came a moment ago most likely wait for answers of their own.
const RELIEVED_AFTER: Duration = Duration::from_micros(if cfg!(shuttle) { 0 } else { 200 });

/// So does who was woken so often for others alone: a sender that waits for credit, beside another's quick calls. More
/// than callers who lead, each of whom may be answered first.
const RELIEVED_AFTER_WAKES: u32 = 2 * limits::MAX_LEADING_CALLERS as u32;

/// Between two looks of a spin, so that others find the lock free: about as long as a look.
const PAUSES: u32 = 8;

/// The waiting callers of one object.
#[derive(Debug)]
pub(crate) struct Turn<T> {
    last_op: OpId,
    /// What somebody polls the descriptor for.
    attended: Interest,
    waiting: IdMap<Waiter<T>>,
    /// Threads inside a wait, or about to begin one: they see to what is to be written.
    inside: usize,
    /// How many of them sleep.
    asleep: usize,
    reader: Option<Reader>,
    clock: Option<Clock>,
    spinner: Spinner,
    share: Share,
}

/// Who sleeps at the descriptor to read.
#[derive(Debug, Clone, Copy)]
struct Reader {
    op: OpId,
    /// What it polls for, in all.
    claimed: Interest,
    since: Instant,
}

/// Who sees to the time-outs of the whole.
#[derive(Debug, Clone, Copy)]
struct Clock {
    op: OpId,
    /// When it wakes by itself.
    until: Option<Instant>,
}

#[derive(Debug)]
struct Waiter<T> {
    result: Option<Result<T>>,
    /// Set while its thread sleeps.
    asleep: Option<Sleep>,
    /// How often it was woken at the descriptor to read, and what came was for others.
    in_vain: u32,
    /// It leaves the descriptor to others until its end.
    relieved: bool,
}

impl<T> Default for Turn<T> {
    fn default() -> Turn<T> {
        Turn::new(Spinner::new(Spin::Off, 0), Share::default())
    }
}

impl<T> Turn<T> {
    /// Whose callers spin as `spinner` sees fit, and share with the I/O thread.
    pub(crate) fn new(spinner: Spinner, share: Share) -> Turn<T> {
        let attended = Interest::empty();
        let waiting = IdMap::default();
        Turn { last_op: 0, attended, waiting, inside: 0, asleep: 0, reader: None, clock: None, spinner, share }
    }

    pub(crate) fn new_op(&mut self) -> OpId {
        self.last_op += 1;
        self.last_op
    }

    /// Whether `op` is waited for, or its end.
    pub(crate) fn expects(&self, op: OpId) -> bool {
        self.waiting.contains_key(&op)
    }

    /// The thread that started an operation waits for it next.
    pub(crate) fn enter(&mut self) {
        self.inside += 1;
    }

    /// From now on `op` is expected.
    pub(crate) fn expect(&mut self, op: OpId) {
        self.waiting.insert(op, Waiter { result: None, asleep: None, in_vain: 0, relieved: false });
    }

    /// `op` ended.
    pub(crate) fn finish(&mut self, op: OpId, result: Result<T>) {
        if let Some(waiter) = self.waiting.get_mut(&op) {
            waiter.result = Some(result);
            waiter.asleep.iter().for_each(Sleep::wake);
        }
    }

    /// Whether `op` has a result that was not taken.
    pub(crate) fn is_finished(&self, op: OpId) -> bool {
        self.waiting.get(&op).is_some_and(|waiter| waiter.result.is_some())
    }

    /// Nobody waits for `op` any more.
    pub(crate) fn forget(&mut self, op: OpId) {
        self.unrelieve(op);
        self.waiting.remove(&op);
    }

    /// Sees to it that the descriptor is polled for all of `interest`, and `timeout` kept, as long as anybody waits:
    /// wakes one caller who can step in, the newest, whose processor is warmest, and rather one who is not at the
    /// descriptor yet.
    pub(crate) fn attend(&self, interest: Interest, timeout: Option<Instant>) {
        if self.asleep == 0 || ((interest - self.attended).is_empty() && !self.is_unkept(timeout)) {
            return;
        }
        let able = self.waiting.iter().filter(|(_, waiter)| !waiter.relieved);
        let asleep = able.filter_map(|(op, waiter)| Some((op, waiter.asleep.as_ref()?)));
        if let Some((_, sleep)) = asleep.max_by_key(|&(op, sleep)| (matches!(sleep, Sleep::Elsewhere(_)), op)) {
            sleep.wake();
        }
    }

    /// The whole has to be looked after at `timeout`: who keeps the clock and sleeps for longer is woken to set it anew.
    pub(crate) fn hurry(&self, timeout: Option<Instant>) {
        if let (Some(clock), Some(timeout)) = (self.clock, timeout)
            && clock.until.is_none_or(|until| timeout < until)
            && let Some(waiter) = self.waiting.get(&clock.op)
        {
            waiter.asleep.iter().for_each(Sleep::wake);
        }
    }

    fn is_unkept(&self, timeout: Option<Instant>) -> bool {
        timeout.is_some() && self.clock.is_none()
    }

    /// Who waits for `op` polls for `interest` next, and keeps the clock if nobody does: says whether it does.
    fn claim(&mut self, op: OpId, interest: Interest) -> bool {
        self.attended |= interest;
        self.clock.get_or_insert(Clock { op, until: None }).op == op
    }

    /// Who waits for `op` does neither any more.
    fn unclaim(&mut self, op: OpId, interest: Interest) {
        self.attended.remove(interest);
        self.clock.take_if(|clock| clock.op == op);
    }

    /// What of `interest` no caller polls the descriptor for.
    pub(crate) fn unattended(&self, interest: Interest) -> Interest {
        interest - self.attended
    }

    /// The I/O thread's share, and whether callers are at the descriptor, and whether any wait.
    pub(crate) fn share(&mut self) -> (&mut Share, bool, bool) {
        let led = !self.attended.is_empty();
        (&mut self.share, led, led || self.asleep > 0)
    }

    /// The same as [`attend`](Turn::attend) where the I/O thread may have a share: what callers leave
    /// is its matter, or theirs again.
    pub(crate) fn attend_shared(&mut self, fd: BorrowedFd<'_>, interest: Interest, timeout: Option<Instant>) {
        let rest = self.unattended(interest);
        let nobody = self.inside == 0;
        let (share, led, waiting) = self.share();
        share.leave_behind(nobody && rest.contains(WRITE));
        if share.attend(fd, rest, led, waiting, timeout, Instant::now()) {
            self.attend(interest, timeout);
        }
    }

    fn is_done(&self, op: OpId) -> bool {
        self.waiting.get(&op).is_none_or(|waiter| waiter.result.is_some())
    }

    /// The end of `op`, once it has come.
    pub(crate) fn take(&mut self, op: OpId) -> Option<Result<T>> {
        match self.waiting.entry(op) {
            Entry::Occupied(waiter) if waiter.get().result.is_some() => {
                let waiter = waiter.remove();
                if waiter.relieved {
                    self.share.dismiss();
                }
                waiter.result
            }
            _ => None,
        }
    }

    /// A caller is about to wait: who has slept long at the descriptor is relieved.
    fn relieve(&mut self, now: Instant) {
        let Some(Reader { op, claimed, since }) = self.reader else { return };
        let Some(waiter) = self.waiting.get_mut(&op) else { return };
        let slept_long = now.saturating_duration_since(since) >= RELIEVED_AFTER;
        if !(slept_long || waiter.in_vain >= RELIEVED_AFTER_WAKES) || !self.share.relieve() {
            return;
        }
        waiter.relieved = true;
        waiter.asleep.iter().for_each(Sleep::wake);
        self.reader = None;
        self.unclaim(op, claimed);
    }

    /// `op` is not waited for at the moment.
    fn unrelieve(&mut self, op: OpId) {
        if let Some(waiter) = self.waiting.get_mut(&op)
            && std::mem::take(&mut waiter.relieved)
        {
            self.share.dismiss();
        }
    }

    fn is_relieved(&self, op: OpId) -> bool {
        self.waiting.get(&op).is_some_and(|waiter| waiter.relieved)
    }

    /// There is something to write. Whether the I/O thread has to see to that, because no caller is about to.
    pub(crate) fn leave_behind(&mut self) -> bool {
        self.inside == 0 && self.share.sit().is_ok()
    }

    /// Whether anybody can be woken to attend to the descriptor.
    pub(crate) fn is_of_concern(&self) -> bool {
        self.asleep > 0 || self.share.concerned()
    }

    fn fall_asleep(&mut self, op: OpId, sleep: Option<Sleep>, claimed: Interest, now: Instant, until: Option<Instant>) {
        if let Some(waiter) = self.waiting.get_mut(&op) {
            if claimed.contains(READ) && sleep.is_some() {
                self.reader = Some(Reader { op, claimed, since: now });
            }
            self.clock.iter_mut().filter(|clock| clock.op == op).for_each(|clock| clock.until = until);
            self.asleep += usize::from(sleep.is_some());
            waiter.asleep = sleep;
        }
    }

    /// Who waits for `op` slept for `time` at the descriptor, to read.
    fn woken(&mut self, op: OpId, time: Duration) {
        match self.waiting.get_mut(&op) {
            Some(waiter) if waiter.result.is_none() => waiter.in_vain = waiter.in_vain.saturating_add(1),
            _ => self.spinner.slept(time),
        }
    }

    fn wake_up(&mut self, op: OpId) {
        self.reader.take_if(|reader| reader.op == op);
        if let Some(waiter) = self.waiting.get_mut(&op) {
            self.asleep -= usize::from(waiter.asleep.take().is_some());
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
    /// Looks once for something to read, and moves on what came of it. Says whether anything did.
    fn glance(&mut self, _now: Instant) -> bool {
        false
    }
    /// How many messages have come and gone: about as many here as at the other end.
    fn messages(&self) -> u64 {
        0
    }
    /// Lets go what is held back to be sent together.
    fn release(&mut self) {}
    /// Gives `op` up for the reason `code` and hands it to its waiter.
    fn give_up(&mut self, op: OpId, code: Code);

    /// Sees to it that somebody polls for what is needed now.
    fn attend(&mut self) {
        if self.turn().waiting.is_empty() {
            return;
        }
        let interest = self.descriptor().map_or(Interest::empty(), |(_, interest)| interest);
        let timeout = self.next_timeout();
        self.turn().attend(interest, timeout);
    }
}

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
    let mut new = true;
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
            continue;
        }
        spun = false;
        let fd = fd.filter(|_| !interest.is_empty());
        let timeout = if keeps { state.next_timeout() } else { None };
        let until = wait.deadline.into_iter().chain(timeout).min();
        let asleep = place.prepare(fd.is_some(), now, until);
        state.turn().fall_asleep(op, asleep, interest, now, until);
        if crowded {
            state.attend();
        }
        drop(state);
        let slept = place.sleep(fd.as_ref().map(AsFd::as_fd), interest, until);
        drop(fd);
        if interest.contains(WRITE) {
            // This thread has the lock again and again, and for long.
            shared.give_way();
        }
        state = lock(shared);
        state.turn().wake_up(op);
        place.woke();
        let relieved = state.turn().is_relieved(op);
        let (interest, keeps) = if relieved { (Interest::empty(), false) } else { (interest, keeps) };
        expected.claimed = interest;
        if keeps || !interest.is_empty() {
            // Still counted on: nobody else has to be woken for what this finds.
            let woken = Instant::now();
            state.pump(woken);
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
        if slept == Err(Errno::INTR) {
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
