//! When what is known by an id ends at the latest.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;

/// Deadlines of what has ended that are kept before they are swept out.
const STALE: usize = 64;

/// Deadlines by id. Whether an id still counts is asked of whoever keeps what it names.
#[derive(Debug, Default)]
pub(crate) struct Deadlines(BinaryHeap<Reverse<(Instant, u64)>>);

impl Deadlines {
    /// `count`: how many ids count at most.
    pub(crate) fn insert(&mut self, at: Instant, id: u64, count: usize, counts: impl Fn(u64) -> bool) {
        self.0.push(Reverse((at, id)));
        // Those of what has ended leave when they come to the top; behind one that stays there they pile up.
        if self.0.len() > 2 * count + STALE {
            self.0.retain(|Reverse((_, id))| counts(*id));
        }
    }

    /// The next deadline.
    pub(crate) fn next(&mut self, counts: impl Fn(u64) -> bool) -> Option<Instant> {
        while let Some(&Reverse((at, id))) = self.0.peek() {
            if counts(id) {
                return Some(at);
            }
            self.0.pop();
        }
        None
    }

    /// The next id whose deadline is not after `now`; once.
    pub(crate) fn expired(&mut self, now: Instant, counts: impl Fn(u64) -> bool) -> Option<u64> {
        self.next(counts).filter(|&at| at <= now)?;
        self.0.pop().map(|Reverse((_, id))| id)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn they_are_swept_when_more_ended_than_count() {
        let at = Instant::now();
        let mut deadlines = Deadlines::default();
        for id in 0..(2 * 3 + STALE as u64) {
            deadlines.insert(at, id, 3, |_| false);
        }
        assert_eq!(deadlines.len(), 2 * 3 + STALE);
        deadlines.insert(at, 1000, 3, |id| id == 1000);
        assert_eq!(deadlines.len(), 1);
    }

    #[test]
    fn what_has_ended_is_passed_over_and_does_not_pile_up() {
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        let mut deadlines = Deadlines::default();
        deadlines.insert(start, 0, 1, |_| true);
        for id in 1..10_000 {
            // Only the first, which is at the top, and the newest count.
            deadlines.insert(start + second, id, 2, |other| other == 0 || other == id);
        }
        assert!(deadlines.len() <= 4 + STALE, "{}", deadlines.len());
        let counts = |id| id == 0 || id == 9999;
        assert_eq!(deadlines.next(counts), Some(start));
        assert_eq!(deadlines.expired(start, counts), Some(0));
        assert_eq!(deadlines.expired(start, counts), None);
        assert_eq!(deadlines.expired(start + second, counts), Some(9999));
        assert_eq!(deadlines.next(counts), None);
        assert_eq!(deadlines.len(), 0);
    }
}
