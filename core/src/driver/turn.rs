//! Blocking callers who share one descriptor take turns at it.
//!
//! Readiness to read and readiness to write are each polled for by one caller at most, often the same.
//! That caller polls with no lock held, then moves bytes and hands finished operations to their
//! owners. Most often it also keeps the clock: it wakes when the whole has to be looked after. Nobody is at the
//! descriptor while there is nothing to poll it for; somebody keeps the clock even then. Every waiting
//! caller can be woken, by its thread's alarm at the descriptor and by its bell elsewhere: because its operation
//! finished, or because something is left to nobody. All of that is decided under the lock, so as long as callers wait,
//! one of them, or the I/O thread in their stead, sees to what has to be seen to.

mod waits;

use std::collections::hash_map::Entry;
use std::time::{Duration, Instant};

use crate::api::options::Spin;
use crate::driver::iothread::Share;
use crate::driver::place::Sleep;
use crate::driver::spin::Spinner;
pub(crate) use crate::driver::turn::waits::wait;
use crate::error::{Code, Error, Result};
use crate::limits;
use crate::os::AsFd;
use crate::os::carrier::Carrier;
use crate::os::poller::{Interest, READ};
use crate::proto::OpId;
use crate::proto::ids::IdMap;

/// Who slept at the descriptor for so long goes on sleeping elsewhere when another caller comes: it would be woken for
/// that one's answers. Those who came a moment ago most likely wait for answers of their own.
const RELIEVED_AFTER: Duration = Duration::from_micros(if cfg!(shuttle) { 0 } else { 200 });

/// So does who was woken so often for others alone: a sender that waits for credit, beside another's quick calls. More
/// than callers who lead, each of whom may be answered first.
const RELIEVED_AFTER_WAKES: u32 = 2 * limits::MAX_LEADING_CALLERS as u32;

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
    pub(crate) fn attend_shared(
        &mut self,
        carrier: &Carrier,
        interest: Interest,
        writes: bool,
        timeout: Option<Instant>,
    ) {
        let rest = self.unattended(interest);
        let nobody = self.inside == 0;
        let (share, led, waiting) = self.share();
        share.leave_behind(writes, nobody && writes);
        if share.attend(carrier, rest, led, waiting, timeout, Instant::now()) {
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
