//! When a blocking wait polls before it sleeps, and for how long.
//!
//! Sleeping costs a wake-up, on each side. A wait that looks again and again instead is answered much
//! sooner by a peer that is awake, and wasted on one that is not, or that needs this very processor. Which
//! of them it is shows only in what became of earlier waits, so each lane keeps a score of them.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::api::options::Spin;
use crate::limits;
use crate::os::cpu;
use crate::os::per_process::PerProcess;

/// The bound of a score, both ways.
const FULL_SCORE: i8 = 16;

/// What a new lane starts with: enough misses to find a peer that is still getting ready.
const FIRST_SCORE: i8 = 4;

/// How many waits with no score are followed by a new try, which is worth [`FULL_SCORE`] misses.
const RETRY_AFTER: u32 = 16 * 1024;

/// What one lane knows about spinning.
#[derive(Debug)]
pub(crate) struct Spinner {
    wish: Spin,
    peer: i32,
    /// Above 0, spinning has paid lately.
    score: i8,
    /// Waits since the machine was looked at and, without a score, since the last probe.
    waits: u32,
    /// Whether the machine has room for spinning; looked at from time to time.
    room: bool,
    /// No more than a wake-up costs, as far as seen: what the shortest sleep lately took.
    cost: Duration,
}

impl Spinner {
    /// For a lane to the process `peer`.
    pub(crate) fn new(wish: Spin, peer: i32) -> Spinner {
        // The first wait looks at the machine.
        Spinner { wish, peer, score: FIRST_SCORE, waits: RETRY_AFTER, room: false, cost: limits::MAX_SPIN }
    }

    /// Before a sleep: the permission to spin first, if that is promising.
    pub(crate) fn start(&mut self) -> Option<Permit> {
        let budget = match self.wish {
            Spin::Off => return None,
            Spin::Micros(micros) => Duration::from_micros(micros.into()),
            Spin::Auto => {
                self.waits += 1;
                if self.waits > RETRY_AFTER {
                    self.waits = 0;
                    self.room = cpu::room_beside(self.peer);
                    self.score = FULL_SCORE;
                }
                if !self.room || self.score <= 0 {
                    return None;
                }
                self.cost
            }
        };
        Permit::take(budget)
    }

    /// A spin ended: whether something came.
    pub(crate) fn spun(&mut self, hit: bool) {
        let step = if hit { 1 } else { -1 };
        self.score = (self.score + step).clamp(0, FULL_SCORE);
    }

    /// A sleep that ended because something came took `time`.
    pub(crate) fn slept(&mut self, time: Duration) {
        let time = time.clamp(limits::MIN_SPIN, limits::MAX_SPIN);
        // Down at once, up slowly: the time the other side thinks is not the cost of a wake-up.
        self.cost = time.min(self.cost + self.cost / 64).min(limits::MAX_SPIN);
    }
}

/// The right to spin, of one thread of the process at a time: two would take each other's processor.
#[derive(Debug)]
pub(crate) struct Permit {
    budget: Duration,
    taken: &'static AtomicBool,
}

impl Permit {
    fn take(budget: Duration) -> Option<Permit> {
        static TAKEN: PerProcess<AtomicBool> = PerProcess::new();
        let taken = TAKEN.get();
        // Looked at first: a failing exchange would still take the cache line from the spinner.
        let free = !budget.is_zero() && !taken.load(Ordering::Relaxed) && !taken.swap(true, Ordering::Relaxed);
        free.then_some(Permit { budget, taken })
    }

    pub(crate) fn budget(&self) -> Duration {
        self.budget
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.taken.store(false, Ordering::Relaxed);
    }
}
