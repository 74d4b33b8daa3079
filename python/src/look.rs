//! How long a wait looks for its answer before it lets go of the interpreter.
//!
//! Looking costs processor time, and other Python threads stand still meanwhile. Letting go costs two switches, and where
//! another thread computes a whole slice of its time, five milliseconds by default. Which of them is cheaper shows only in
//! what became of earlier waits of the same object.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::time::Duration;

/// Longest look.
const MAX_LOOK: Duration = Duration::from_micros(50);

/// Getting the interpreter back took longer than this: somebody computes.
const BUSY: Duration = Duration::from_micros(500);

/// The best score, and what a new try starts with.
const FULL_SCORE: u32 = 16;

/// What a look in vain costs, in looks that paid.
const MISS: u32 = 4;

/// How many waits without a score are followed by a new try.
const RETRY_AFTER: u32 = 1024;

/// What one object knows about its waits. Races between threads blur the figures and do no harm.
pub(crate) struct Look {
    /// Its waits are not for an answer: one look is enough.
    once: bool,
    /// Above 0, looking has paid lately.
    score: AtomicU32,
    /// Waits since the last new try.
    waits: AtomicU32,
    /// Another thread computed when the interpreter was let go last.
    busy: AtomicBool,
}

impl Look {
    /// For waits of one kind on one object.
    pub(crate) const fn new() -> Self {
        Look { once: false, score: AtomicU32::new(FULL_SCORE), waits: AtomicU32::new(0), busy: AtomicBool::new(false) }
    }

    /// For waits that are worth a single look.
    pub(crate) const fn once() -> Self {
        Look { once: true, ..Look::new() }
    }

    /// How long to look now; zero for one look.
    pub(crate) fn budget(&self) -> Duration {
        if self.once {
            return Duration::ZERO;
        }
        if self.busy.load(Relaxed) || self.score.load(Relaxed) > 0 {
            return MAX_LOOK;
        }
        if self.waits.fetch_add(1, Relaxed) < RETRY_AFTER {
            return Duration::ZERO;
        }
        self.waits.store(0, Relaxed);
        self.score.store(MISS, Relaxed);
        MAX_LOOK
    }

    /// What became of a wait: found by looking, or slept for, and then how long it took to get the interpreter back.
    pub(crate) fn learn(&self, slept: Option<Duration>) {
        let score = self.score.load(Relaxed);
        match slept {
            None if score > 0 => self.score.store(FULL_SCORE.min(score + 1), Relaxed),
            None => {}
            Some(back) => {
                self.score.store(score.saturating_sub(MISS), Relaxed);
                self.busy.store(back > BUSY, Relaxed);
            }
        }
    }
}
