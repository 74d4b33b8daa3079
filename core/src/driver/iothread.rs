//! The I/O thread: attends to the lanes of blocking callers where those cannot, or should not, do it
//! themselves.
//!
//! One per process, started when first needed, ended when it has had nothing to attend to for a while. It is
//! the only host of a context of its own: it sleeps on that context's descriptor and lets it move bytes. It
//! runs nothing but this crate's code, never a program's, and takes no signals.
//!
//! It attends to a lane in one of four ways. What is *left behind*, to be written with no caller inside a wait, it
//! writes. When *crowded*, with more callers than take turns well, it does all of it. While callers are *relieved*, who
//! waited long at the descriptor when others came, it does what those leave: at once, unless they come one right after
//! the other. When *attached*, it does it while no caller leads, and after a moment without, so that callers who come
//! again and again are not accompanied by its wake-ups.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use crate::driver::hub::{Hub, Seat};
use crate::driver::lane::Lane;
use crate::driver::lock;
use crate::driver::sync::Mutex;
use crate::error::{Code, Error, Result};
use crate::limits;
use crate::log::Elsewhere;
use crate::os::carrier::Carrier;
#[cfg(not(shuttle))]
use crate::os::per_process::PerProcess;
use crate::os::poller::{self, Interest, READ, WRITE};
use crate::os::quiet_thread;
use crate::os::{AsFd, BorrowedFd, Errno};

/// After a crowd, and after the last leader of an attached lane, things stay as they are for so long.
const CROWD_LINGER: Duration = Duration::from_millis(5);
const LEADER_LINGER: Duration = Duration::from_millis(1);

/// Turns at the descriptor of which each ended within [`LEADER_LINGER`] of the one before are many from here on: beside somebody
/// who was relieved too, the next is expected. In a model, the second.
const MANY_TURNS: u32 = if cfg!(shuttle) { 1 } else { 16 };

/// How rarely it looks whether leaders have gone, as long as they keep coming.
const MAX_PATIENCE: Duration = Duration::from_millis(16);

/// The same beside somebody who was relieved: when the last leader of many has gone, a message waits so long for the thread.
const MAX_PATIENCE_RELIEVED: Duration = Duration::from_millis(4);

/// A lane that was not attached keeps its seat for so long after it was last needed; in a model, for none.
const SEAT_LINGER: Duration = Duration::from_secs(if cfg!(shuttle) { 0 } else { 1 });

/// The thread ends when it has had nothing to attend to for so long; that of a model, which has to end, at once.
const IDLE: Duration = Duration::from_secs(if cfg!(shuttle) { 0 } else { 1 });

#[cfg(not(shuttle))]
static RUNNING: PerProcess<Mutex<Option<Arc<Hub>>>> = PerProcess::new();

#[cfg(shuttle)]
shuttle::lazy_static! {
    static ref RUNNING: Mutex<Option<Arc<Hub>>> = Mutex::default();
}

/// The running thread's context. Locked after a lane, before the context.
fn running() -> &'static Mutex<Option<Arc<Hub>>> {
    #[cfg(not(shuttle))]
    return RUNNING.get();
    #[cfg(shuttle)]
    return &RUNNING;
}

/// A seat for `lane` beside the thread, which is started if need be.
fn seat(lane: &Arc<Lane>) -> Result<Seat> {
    let mut running = lock(running());
    let hub = match &*running {
        Some(hub) => hub.clone(),
        None => {
            let hub = Hub::new()?;
            let own = hub.clone();
            quiet_thread::spawn("hostlane-io", move || run(&own))
                .map_err(|e| Error::os("starting the I/O thread", Errno::from_io_error(&e).unwrap_or(Errno::AGAIN)))?;
            *running = Some(hub.clone());
            hub
        }
    };
    hub.seat_direct(lane)
}

fn run(hub: &Arc<Hub>) {
    let _elsewhere = Elsewhere::enter();
    let mut completions = Vec::new();
    loop {
        let deadline = hub.is_empty().then(|| Instant::now() + IDLE);
        // Signals are blocked, and the descriptor is this thread's own.
        let _ = poller::wait_one(hub.fd(), READ, deadline);
        // A bug that ends in a panic is one lane's misfortune, not everybody's.
        let _ = catch_unwind(AssertUnwindSafe(|| hub.process(1, &mut completions)));
        if deadline.is_some_and(|at| at <= Instant::now()) {
            let mut running = lock(running());
            if hub.is_empty() {
                *running = None;
                return;
            }
        }
    }
}

/// The I/O thread's share in one lane. Everything here happens under the lane's lock.
#[derive(Debug)]
pub(crate) struct Share {
    lane: Weak<Lane>,
    seat: Option<Seat>,
    attached: bool,
    /// The last time there was a crowd, until its end was noticed.
    crowd: Option<Instant>,
    /// Callers who wait and need not attend to the descriptor.
    relieved: usize,
    /// Something is to be written.
    writes: bool,
    /// And no caller waits for it.
    left_behind: bool,
    /// The last time the seat was needed.
    needed: Option<Instant>,
    /// The last time a caller left the descriptor of a lane that is attached, or has callers who were relieved.
    led: Option<Instant>,
    /// How many turns ended so, one soon after the other.
    turns: u32,
    /// How long after `led` it looks again.
    patience: Duration,
}

impl Default for Share {
    fn default() -> Share {
        Share::of(Weak::new())
    }
}

/// Who attends to what callers do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Attendant {
    /// The I/O thread, now.
    Thread,
    /// The I/O thread, if no caller comes before then.
    ThreadAt(Instant),
    /// Some caller who waits.
    Caller,
}

impl Share {
    pub(crate) fn of(lane: Weak<Lane>) -> Share {
        Share {
            lane,
            seat: None,
            attached: false,
            crowd: None,
            relieved: 0,
            writes: false,
            left_behind: false,
            needed: None,
            led: None,
            turns: 0,
            patience: LEADER_LINGER,
        }
    }

    pub(crate) fn sit(&mut self) -> Result<()> {
        if self.seat.is_none() {
            let lane = self.lane.upgrade().ok_or_else(|| Error::new(Code::Closed, "the peer was dropped"))?;
            self.seat = Some(seat(&lane)?);
        }
        Ok(())
    }

    /// Attends to the lane for good.
    pub(crate) fn attach(&mut self) -> Result<()> {
        self.sit()?;
        self.attached = true;
        Ok(())
    }

    /// A caller need not attend to the descriptor while it waits. `false` if there is no thread to do it instead.
    pub(crate) fn relieve(&mut self) -> bool {
        let can = self.sit().is_ok();
        self.relieved += usize::from(can);
        can
    }

    /// One that was relieved waits no more. Its lane may have been left meanwhile.
    pub(crate) fn dismiss(&mut self) {
        self.relieved = self.relieved.saturating_sub(1);
    }

    /// Whether something is to be written, and that no caller waits for.
    pub(crate) fn leave_behind(&mut self, writes: bool, something: bool) {
        self.writes = writes;
        self.left_behind = something;
    }

    pub(crate) fn relieves(&self) -> bool {
        self.relieved > 0
    }

    /// A caller is about to sleep beside `others`. Whether there is a crowd, so that it need not attend to
    /// the descriptor.
    pub(crate) fn crowded(&mut self, others: usize, now: Instant) -> bool {
        if others >= limits::MAX_LEADING_CALLERS {
            // Without a thread they go on taking turns.
            self.crowd = self.sit().is_ok().then_some(now);
        } else if others < limits::MAX_LEADING_CALLERS / 2
            && self.crowd.is_some_and(|crowd| now.saturating_duration_since(crowd) > CROWD_LINGER)
        {
            self.crowd = None;
        }
        self.crowd.is_some()
    }

    /// A caller left the descriptor.
    pub(crate) fn left(&mut self, now: Instant) {
        if self.attached || self.relieved > 0 {
            self.turns = if self.was_led(now).is_some() { self.turns.saturating_add(1) } else { 0 };
            self.led = Some(now);
        }
    }

    /// When a caller last led, if that was not long ago.
    fn was_led(&self, now: Instant) -> Option<Instant> {
        self.led.filter(|led| now < *led + LEADER_LINGER)
    }

    /// Whether it may have to be told what callers do not attend to.
    pub(crate) fn concerned(&self) -> bool {
        self.seat.is_some()
    }

    /// Who sees to `rest`, which callers leave; `led`: one of them is at the descriptor.
    fn attendant(&self, rest: Interest, led: bool, waiting: bool, now: Instant) -> Attendant {
        let recently = self.was_led(now);
        // Of one who polls for room to write alone nobody knows when it leaves.
        let expected = recently.filter(|_| self.turns >= MANY_TURNS && !self.writes && (!led || rest.is_empty()));
        match self.attached {
            _ if self.has_crowd(waiting, now) => Attendant::Thread,
            _ if self.relieved > 0 => expected
                .map_or(Attendant::Thread, |led| Attendant::ThreadAt(led + self.patience.min(MAX_PATIENCE_RELIEVED))),
            // Leaders of an attached lane who come again may read, but none is sure to come and write.
            attached if self.left_behind && !(attached && waiting) => Attendant::Thread,
            true if !waiting => recently.map_or(Attendant::Thread, |led| Attendant::ThreadAt(led + self.patience)),
            _ => Attendant::Caller,
        }
    }

    /// Whether the thread is to read as well: what nobody waits for is only written, unless somebody attached the lane.
    pub(crate) fn reads(&self, waiting: bool, now: Instant) -> bool {
        self.attached || self.relieved > 0 || self.has_crowd(waiting, now)
    }

    fn has_crowd(&self, waiting: bool, now: Instant) -> bool {
        self.crowd.is_some_and(|crowd| waiting || now.saturating_duration_since(crowd) <= CROWD_LINGER)
    }

    /// What callers leave unattended at `carrier` is `rest`, and the lane has to be looked after at `timeout`.
    /// Says whether that is the matter of some caller, if any can step in.
    pub(crate) fn attend(
        &mut self,
        carrier: &Carrier,
        rest: Interest,
        led: bool,
        waiting: bool,
        timeout: Option<Instant>,
        now: Instant,
    ) -> bool {
        let attendant = self.attendant(rest, led, waiting, now);
        let reads = self.reads(waiting, now);
        let Some(seat) = &mut self.seat else { return true };
        match attendant {
            Attendant::Thread => {
                self.needed = Some(now);
                // Nobody is inside of a wait whom it would take what it asks for of the carrier.
                seat.watch(carrier.as_fd(), if reads { rest } else { carrier.watch(WRITE) });
                seat.set_alarm(timeout);
            }
            // What it watches already is left alone: if that wakes it, it sees who leads.
            Attendant::ThreadAt(at) if !led => seat.set_alarm(Some(at)),
            Attendant::ThreadAt(_) => {}
            // Then the seat may not be needed any more.
            Attendant::Caller if !self.attached => seat.set_alarm(Some(now + SEAT_LINGER)),
            Attendant::Caller => {}
        }
        attendant != Attendant::Thread
    }

    /// The thread was woken for the lane, of which callers leave `rest` unattended: whether it is to move bytes. Otherwise it
    /// stops watching until it is told to, and looks again when leaders may have gone.
    pub(crate) fn woken(
        &mut self,
        fd: Option<BorrowedFd<'_>>,
        alarm: bool,
        rest: Interest,
        led: bool,
        waiting: bool,
        now: Instant,
    ) -> bool {
        let attendant = self.attendant(rest, led, waiting, now);
        let Some(seat) = &mut self.seat else { return false };
        if alarm {
            seat.alarm_rang();
        }
        if attendant == Attendant::Thread {
            self.needed = Some(now);
        }
        // A leader who polls for room to write alone leaves the reading to it.
        if attendant == Attendant::Thread && (!led || !rest.is_empty()) {
            self.patience = LEADER_LINGER;
            return true;
        }
        self.patience = MAX_PATIENCE.min(self.patience * 2);
        if let Some(fd) = fd {
            seat.watch(fd, Interest::empty());
        }
        match attendant {
            Attendant::ThreadAt(at) if !led => seat.set_alarm(Some(at)),
            Attendant::Caller if !self.attached => {
                let until = self.needed.map(|needed| needed + SEAT_LINGER).filter(|until| *until > now);
                match until {
                    Some(_) => seat.set_alarm(until),
                    None => self.stand_up(fd),
                }
            }
            _ => {}
        }
        false
    }

    /// Gives the seat back.
    fn stand_up(&mut self, fd: Option<BorrowedFd<'_>>) {
        let Some(mut seat) = self.seat.take() else { return };
        if let Some(fd) = fd {
            seat.watch(fd, Interest::empty());
        }
        seat.leave();
        self.crowd = None;
        // It may be the last one, and the thread's idle time begins.
        lock(running()).iter().for_each(|hub| hub.nudge());
    }

    /// The lane is finished.
    pub(crate) fn leave(&mut self, fd: BorrowedFd<'_>) {
        self.stand_up(Some(fd));
        *self = Share::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_behind_does_not_wait_until_leaders_have_gone() {
        let now = Instant::now();
        let mut share = Share { attached: true, led: Some(now), ..Share::default() };
        assert_eq!(share.attendant(READ, false, false, now), Attendant::ThreadAt(now + LEADER_LINGER));
        share.leave_behind(true, true);
        assert_eq!(share.attendant(READ, false, false, now), Attendant::Thread);
        assert_eq!(share.attendant(READ, false, true, now), Attendant::Caller);
    }

    #[test]
    fn what_nobody_waits_for_is_written_and_not_read() {
        let now = Instant::now();
        let mut share = Share::default();
        share.leave_behind(true, true);
        assert_eq!(share.attendant(READ, false, false, now), Attendant::Thread);
        assert!(!share.reads(false, now));
        share.crowd = Some(now);
        assert!(share.reads(false, now));
        let later = now + 2 * CROWD_LINGER;
        assert!(share.reads(true, later) && !share.reads(false, later));
    }

    #[test]
    fn beside_the_relieved_it_steps_back_for_leaders_who_come_one_after_the_other_and_never_from_writing() {
        let mut now = Instant::now();
        let mut share = Share { relieved: 1, ..Share::default() };
        for _ in 0..=MANY_TURNS {
            assert_eq!(share.attendant(READ, false, true, now), Attendant::Thread);
            share.left(now);
            now += LEADER_LINGER / 2;
        }
        let left = now - LEADER_LINGER / 2;
        assert_eq!(share.attendant(READ, false, true, now), Attendant::ThreadAt(left + LEADER_LINGER));
        // Its turn covers all, or somebody polls for room to write and leaves the reading.
        assert_ne!(share.attendant(Interest::empty(), true, true, now), Attendant::Thread);
        assert_eq!(share.attendant(READ, true, true, now), Attendant::Thread);
        share.leave_behind(true, false);
        assert_eq!(share.attendant(READ, false, true, now), Attendant::Thread);
        share.leave_behind(false, false);
        assert_eq!(share.attendant(READ, false, true, left + LEADER_LINGER), Attendant::Thread);
        share.left(left + LEADER_LINGER);
        assert_eq!(
            share.attendant(READ, false, true, left + LEADER_LINGER),
            Attendant::Thread,
            "they come rarely again"
        );
    }
}
