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

/// The best score, and what a new try starts with.
const FULL_SCORE: u8 = 16;

/// What a spin in vain costs, in spins that paid: it is seen in the slowest round trips long before it is
/// in the mean.
const MISS: u8 = 4;

/// How many waits without a score are followed by a new try: one in a thousand spins in vain.
const RETRY_AFTER: u32 = 4096;

/// What one lane knows about spinning.
#[derive(Debug)]
pub(crate) struct Spinner {
    wish: Spin,
    peer: i32,
    /// Whether the machine has room for spinning; looked at with every new try.
    room: bool,
    /// Above 0, spinning has paid lately.
    score: u8,
    /// Waits since the last new try.
    waits: u32,
    /// What a sleep takes lately, the other side's work included: no less than a wake-up.
    sleep: Duration,
}

impl Spinner {
    /// For a lane to the process `peer`.
    pub(crate) fn new(wish: Spin, peer: i32) -> Spinner {
        // The first wait is a new try.
        Spinner { wish, peer, room: false, score: 0, waits: RETRY_AFTER, sleep: limits::MAX_SPIN * 2 }
    }

    /// Before a sleep: the permission to spin first, if that is promising.
    pub(crate) fn start(&mut self) -> Option<Permit> {
        self.budget().and_then(Permit::take)
    }

    fn budget(&mut self) -> Option<Duration> {
        match self.wish {
            Spin::Off => None,
            Spin::Micros(micros) => Some(Duration::from_micros(micros.into())),
            Spin::Auto => {
                self.waits += 1;
                if self.waits > RETRY_AFTER {
                    self.waits = 0;
                    self.room = cpu::room_beside(self.peer);
                    self.score = FULL_SCORE;
                }
                let promising = self.room && self.score > 0;
                promising.then(|| self.sleep.clamp(limits::MIN_SPIN, limits::MAX_SPIN))
            }
        }
    }

    /// A spin ended: after how long, and whether something came. One that took as long as a sleep has
    /// gained nothing: the other side had to wait for this very processor, say.
    pub(crate) fn spun(&mut self, time: Duration, hit: bool) {
        self.score = match hit && time * 2 < self.sleep {
            true => FULL_SCORE.min(self.score + 1),
            false => self.score.saturating_sub(MISS),
        };
    }

    /// A sleep took `time` until something came.
    pub(crate) fn slept(&mut self, time: Duration) {
        // A long one says nothing about the cost of waking up.
        self.sleep = self.sleep - self.sleep / 16 + time.min(limits::MAX_SPIN * 8) / 16;
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

#[cfg(test)]
mod tests {
    use super::*;

    const QUICK: Duration = Duration::from_micros(3);

    /// On a machine with room.
    fn spinner() -> Spinner {
        Spinner { room: true, score: FULL_SCORE, waits: 0, ..Spinner::new(Spin::Auto, 0) }
    }

    /// Whether it would spin, whatever other tests' threads do.
    fn spins(spinner: &mut Spinner) -> Option<Duration> {
        spinner.budget()
    }

    #[test]
    fn misses_end_it_and_hits_keep_it_going() {
        let mut spinner = spinner();
        for _ in 0..100 {
            assert!(spins(&mut spinner).is_some());
            spinner.spun(QUICK, true);
        }
        for _ in 0..FULL_SCORE / MISS {
            assert!(spins(&mut spinner).is_some());
            spinner.spun(limits::MAX_SPIN, false);
        }
        assert_eq!(spins(&mut spinner), None);
    }

    #[test]
    fn a_hit_that_took_as_long_as_a_sleep_counts_as_a_miss() {
        let mut spinner = spinner();
        (0..100).for_each(|_| spinner.slept(Duration::from_micros(5)));
        for _ in 0..FULL_SCORE / MISS {
            assert!(spins(&mut spinner).is_some());
            spinner.spun(QUICK, true);
        }
        assert_eq!(spins(&mut spinner), None);
    }

    #[test]
    fn the_budget_is_what_a_sleep_takes_within_bounds() {
        let mut spinner = spinner();
        for (slept, budget) in [(1, 5), (12, 12), (400, 20), (1_000_000, 20)] {
            (0..200).for_each(|_| spinner.slept(Duration::from_micros(slept)));
            let found = spins(&mut spinner).unwrap();
            assert!(found.abs_diff(Duration::from_micros(budget)) <= Duration::from_micros(1), "{slept}: {found:?}");
        }
    }

    #[test]
    fn tries_are_rare_and_short() {
        let mut spinner = Spinner { score: 0, ..spinner() };
        let mut spun = 0;
        for _ in 0..10 * RETRY_AFTER {
            if spinner.wish == Spin::Auto && spinner.score > 0 {
                spun += 1;
                spinner.spun(limits::MAX_SPIN, false);
            }
            spins(&mut spinner);
        }
        assert!(spun <= 10 * u32::from(FULL_SCORE / MISS), "{spun}");
    }

    #[test]
    fn the_wish_is_obeyed() {
        assert_eq!(spins(&mut Spinner::new(Spin::Off, 0)), None);
        assert_eq!(spins(&mut Spinner::new(Spin::Micros(0), 0)), Some(Duration::ZERO));
        let mut fixed = Spinner::new(Spin::Micros(300), 0);
        (0..100).for_each(|_| fixed.spun(Duration::from_millis(1), false));
        assert_eq!(spins(&mut fixed), Some(Duration::from_micros(300)));
    }
}
