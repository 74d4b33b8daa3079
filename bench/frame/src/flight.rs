//! Requests in flight, until the time is over.

use std::time::{Duration, Instant};

use crate::Result;
use crate::histogram::Histogram;
use crate::message::{Kind, Messages, check_reply, read_head};

/// One request in so many is timed: two looks at the clock for each would be a good part of what is measured.
const SAMPLE: u64 = 61;
/// Requests started between two looks at the clock.
const LOOK: u64 = 32;

/// Gives out requests as long as there is time, and takes their replies.
pub struct Flight {
    requests: Messages,
    replies: Messages,
    end: Instant,
    landed: u64,
    samples: Vec<(u64, Instant)>,
    pub(crate) times: Histogram,
}

impl Flight {
    pub(crate) fn new(size: usize, time: Duration) -> Flight {
        Flight {
            requests: Messages::new(Kind::Request, size),
            replies: Messages::new(Kind::Request, size),
            end: Instant::now() + time,
            landed: 0,
            samples: Vec::with_capacity(8),
            times: Histogram::new(),
        }
    }

    /// The next request; none once the time is over.
    #[inline]
    pub fn launch(&mut self) -> Option<&[u8]> {
        let number = self.requests.count();
        let sampled = number.is_multiple_of(SAMPLE);
        if sampled || number.is_multiple_of(LOOK) {
            let now = Instant::now();
            if now >= self.end {
                return None;
            }
            if sampled {
                self.samples.push((number, now));
            }
        }
        Some(self.requests.next())
    }

    /// How many requests have no reply yet.
    #[inline]
    pub fn pending(&self) -> u64 {
        self.requests.count() - self.landed
    }

    /// Takes the reply of the oldest request: for carriers that keep order.
    #[inline]
    pub fn landed(&mut self, reply: &[u8]) -> Result<()> {
        check_reply(self.replies.next(), reply)?;
        self.count(self.replies.count() - 1);
        Ok(())
    }

    /// Takes the reply of a request of one's own: for carriers that do not keep order.
    pub fn landed_for(&mut self, request: &[u8], reply: &[u8]) -> Result<()> {
        check_reply(request, reply)?;
        self.count(read_head(request)?.1);
        Ok(())
    }

    #[inline]
    fn count(&mut self, number: u64) {
        self.landed += 1;
        if number.is_multiple_of(SAMPLE)
            && let Some(at) = self.samples.iter().position(|(sampled, _)| *sampled == number)
        {
            self.times.record(self.samples.swap_remove(at).1.elapsed());
        }
    }

    pub(crate) fn count_landed(&self) -> u64 {
        self.landed
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_checked_and_counted() {
        let mut flight = Flight::new(64, Duration::from_secs(600));
        let first = flight.launch().unwrap().to_vec();
        let second = flight.launch().unwrap().to_vec();
        assert_eq!(flight.pending(), 2);
        assert!(flight.landed(&first).is_ok());
        assert!(flight.landed(&first).is_err());
        assert!(flight.landed_for(&second, &second).is_ok());
        assert_eq!(flight.pending(), 0);
        assert!(flight.times.quantile(0.5).is_some());
    }

    #[test]
    fn nothing_starts_after_the_end() {
        assert!(Flight::new(64, Duration::ZERO).launch().is_none());
    }
}
