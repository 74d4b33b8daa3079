//! Round-trip times and their summary.

use std::time::Duration;

/// Round-trip times in nanoseconds.
#[derive(Default)]
pub(crate) struct Samples(Vec<u64>);

impl Samples {
    pub(crate) fn add(&mut self, round_trip: Duration) {
        self.0.push(round_trip.as_nanos() as u64);
    }

    /// The middle one; 0 without samples.
    pub(crate) fn median(&mut self) -> u64 {
        self.at(0.5)
    }

    /// `{"median_ns":…,"p99_ns":…,"count":…}`
    pub(crate) fn json(&mut self) -> String {
        let (median, p99, count) = (self.at(0.5), self.at(0.99), self.0.len());
        format!(r#"{{"median_ns":{median},"p99_ns":{p99},"count":{count}}}"#)
    }

    fn at(&mut self, part: f64) -> u64 {
        self.0.sort_unstable();
        let at = (self.0.len() as f64 * part) as usize;
        self.0.get(at).copied().unwrap_or(0)
    }
}

/// `{"messages":…,"seconds":…,"bytes":…}`
pub(crate) fn stream_json(messages: u64, size: usize, took: Duration) -> String {
    let (seconds, bytes) = (took.as_secs_f64(), messages * size as u64);
    format!(r#"{{"messages":{messages},"seconds":{seconds:.6},"bytes":{bytes}}}"#)
}
