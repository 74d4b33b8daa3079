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

/// The best score.
const FULL_SCORE: u8 = 16;

/// What a spin in vain costs, in spins that paid: it is seen in the slowest round trips long before it is
/// in the mean.
const MISS: u8 = 4;

/// What a new try starts with.
const TRY_SCORE: u8 = 2 * MISS;

/// Messages between two new tries: so few after spinning has paid, and twice as many after each try in vain, up to a
/// limit. Powers of two, so that every second try of who tries often is one of who tries seldom.
const TRY_EVERY: u64 = 512;
const TRY_AT_LEAST_EVERY: u64 = 16 * 1024;

/// What one lane knows about spinning.
///
/// It takes two: a spin finds nothing as long as the other side sleeps whenever this one has sent. So both sides try at
/// the same time, by the one clock that they share, how many messages went over the lane, and a try is long enough for
/// the other side to wake up once.
#[derive(Debug)]
pub(crate) struct Spinner {
    wish: Spin,
    peer: i32,
    /// Whether the machine has room for spinning; looked at with every new try.
    room: bool,
    /// Above 0, spinning has paid lately, or a try is under way.
    score: u8,
    /// Nothing was found quickly since the last new try.
    trying: bool,
    /// Messages over the lane when the next new try is due, and between that and the one after it.
    due: u64,
    every: u64,
    /// What a sleep takes lately, the other side's work included: no less than a wake-up.
    sleep: Duration,
}

impl Spinner {
    /// For a lane to the process `peer`.
    pub(crate) fn new(wish: Spin, peer: i32) -> Spinner {
        let sleep = limits::MAX_TRIED_SPIN;
        Spinner { wish, peer, room: false, score: 0, trying: false, due: 0, every: TRY_EVERY, sleep }
    }

    /// Before a sleep, when `messages` went over the lane so far: the permission to spin first, if that is promising.
    pub(crate) fn start(&mut self, messages: u64) -> Option<Permit> {
        self.budget(messages).and_then(Permit::take)
    }

    fn budget(&mut self, messages: u64) -> Option<Duration> {
        match self.wish {
            Spin::Off => return None,
            Spin::Micros(micros) => return Some(Duration::from_micros(micros.into())),
            Spin::Auto => {}
        }
        if messages >= self.due {
            if self.score == 0 {
                self.room = cpu::room_beside(self.peer);
                self.score = TRY_SCORE;
                self.trying = true;
                self.every = TRY_AT_LEAST_EVERY.min(self.every * 2);
            }
            self.due = (messages / self.every + 1) * self.every;
        }
        let most = if self.trying { limits::MAX_TRIED_SPIN } else { limits::MAX_SPIN };
        (self.room && self.score > 0).then(|| self.sleep.clamp(limits::MIN_SPIN, most))
    }

    /// A spin ended: after how long, and whether something came. One that took as long as a sleep has
    /// gained nothing: the other side had to wait for this very processor, say.
    pub(crate) fn spun(&mut self, time: Duration, hit: bool) {
        if hit && time * 2 < self.sleep {
            self.score = FULL_SCORE.min(self.score + 1);
            self.trying = false;
            if self.score == FULL_SCORE {
                self.every = TRY_EVERY;
            }
        } else {
            self.score = self.score.saturating_sub(MISS);
        }
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

    /// On a machine with room, where spinning has paid.
    fn spinner() -> Spinner {
        Spinner { room: true, score: FULL_SCORE, due: u64::MAX, ..Spinner::new(Spin::Auto, 0) }
    }

    /// Whether it would spin after `messages`, whatever other tests' threads do.
    fn spins_after(spinner: &mut Spinner, messages: u64) -> Option<Duration> {
        let found = spinner.budget(messages);
        // The machine of the tests may have no room.
        spinner.room = true;
        found.or_else(|| spinner.budget(messages))
    }

    fn spins(spinner: &mut Spinner) -> Option<Duration> {
        spins_after(spinner, 0)
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
    fn the_budget_is_what_a_sleep_takes_within_bounds_that_are_wider_for_a_try() {
        let mut spinner = spinner();
        for (slept, budget, tried) in [(1, 5, 5), (12, 12, 12), (45, 20, 45), (400, 20, 60), (1_000_000, 20, 60)] {
            (0..200).for_each(|_| spinner.slept(Duration::from_micros(slept)));
            for (trying, expected) in [(false, budget), (true, tried)] {
                spinner.trying = trying;
                let found = spins(&mut spinner).unwrap();
                assert!(
                    found.abs_diff(Duration::from_micros(expected)) <= Duration::from_micros(1),
                    "{slept}: {found:?}"
                );
            }
        }
    }

    /// After which messages it tries anew, if that is always in vain, with so many messages between two waits.
    fn tries(spinner: &mut Spinner, step: u64, until: u64) -> Vec<u64> {
        let mut found = Vec::new();
        for messages in (0..until).step_by(step.try_into().unwrap()) {
            let before = spinner.score;
            if spins_after(spinner, messages).is_some() {
                if before == 0 {
                    found.push(messages);
                }
                spinner.spun(limits::MAX_TRIED_SPIN, false);
            }
        }
        found
    }

    #[test]
    fn tries_in_vain_become_rare() {
        let mut spinner = Spinner::new(Spin::Auto, 0);
        let found = tries(&mut spinner, 2, 1 << 20);
        assert_eq!(found[..6], [0, 1024, 2048, 4096, 8192, 16384]);
        assert!(found[6..].iter().all(|at| at.is_multiple_of(TRY_AT_LEAST_EVERY)), "{found:?}");
    }

    #[test]
    fn both_sides_try_at_the_same_time_whatever_they_found_before() {
        let (mut one, mut other) = (Spinner::new(Spin::Auto, 0), spinner());
        tries(&mut one, 2, 1 << 17);
        other.due = 0;
        let (mut one, mut other) = (tries(&mut one, 128, 1 << 20), tries(&mut other, 128, 1 << 20));
        one.retain(|&at| at >= 1 << 17);
        other.retain(|&at| at >= 1 << 17);
        assert!(one.len() > 10 && one.iter().all(|at| other.contains(at)), "{one:?} {other:?}");
    }

    #[test]
    fn who_was_disturbed_tries_again_soon() {
        let mut spinner = Spinner::new(Spin::Auto, 0);
        tries(&mut spinner, 2, 1 << 20);
        assert!(spins_after(&mut spinner, 1 << 20).is_some());
        (0..2 * FULL_SCORE).for_each(|_| spinner.spun(QUICK, true));
        assert!(spins_after(&mut spinner, 2 << 20).is_some());
        (0..FULL_SCORE / MISS).for_each(|_| spinner.spun(limits::MAX_SPIN, false));
        assert_eq!(spins_after(&mut spinner, (2 << 20) + TRY_EVERY - 2), None);
        assert!(spins_after(&mut spinner, (2 << 20) + TRY_EVERY).is_some());
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
