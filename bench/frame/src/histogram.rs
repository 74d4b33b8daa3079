//! Latencies, in memory that does not grow while they are measured.

use std::time::Duration;

/// Steps per doubling: a value is kept to better than one per cent.
const STEPS: u32 = 128;
const STEP_BITS: u32 = STEPS.trailing_zeros();

/// Counts of nanoseconds.
pub(crate) struct Histogram {
    counts: Vec<u64>,
    total: u64,
}

impl Histogram {
    pub(crate) fn new() -> Histogram {
        Histogram { counts: vec![0; ((64 - STEP_BITS + 1) * STEPS) as usize], total: 0 }
    }

    #[inline]
    pub(crate) fn record(&mut self, time: Duration) {
        let nanoseconds = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        self.counts[slot(nanoseconds)] += 1;
        self.total += 1;
    }

    /// Microseconds below which `share` of the values lie; none without values.
    pub(crate) fn quantile(&self, share: f64) -> Option<f64> {
        let wanted = ((self.total as f64 * share).ceil() as u64).max(1);
        let mut seen = 0;
        let slot = self.counts.iter().position(|count| {
            seen += count;
            seen >= wanted
        })?;
        Some(middle(slot) / 1000.0)
    }
}

fn slot(value: u64) -> usize {
    let exponent = (64 - value.leading_zeros()).saturating_sub(STEP_BITS + 1);
    (exponent * STEPS) as usize + (value >> exponent) as usize
}

/// The middle of the values that share a slot.
fn middle(slot: usize) -> f64 {
    let steps = STEPS as usize;
    let exponent = (slot / steps).saturating_sub(1);
    let least = (slot - exponent * steps) as f64;
    (least + 0.5 - if exponent == 0 { 0.5 } else { 0.0 }) * (exponent as f64).exp2()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_comes_back_to_one_per_cent() {
        for value in [1u64, 127, 128, 255, 256, 257, 5_000, 123_456, 987_654_321] {
            let mut histogram = Histogram::new();
            histogram.record(Duration::from_nanos(value));
            let back = histogram.quantile(0.5).unwrap() * 1000.0;
            assert!((back - value as f64).abs() <= value as f64 / 100.0, "{value} came back as {back}");
        }
    }

    #[test]
    fn quantiles_of_a_hundred() {
        let mut histogram = Histogram::new();
        for value in 1..=100 {
            histogram.record(Duration::from_nanos(value));
        }
        assert_eq!(histogram.quantile(0.5), Some(0.05));
        assert_eq!(histogram.quantile(0.99), Some(0.099));
        assert_eq!(Histogram::new().quantile(0.5), None);
    }
}
