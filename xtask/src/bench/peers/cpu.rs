//! Who used the processors meanwhile.

use std::fs;
use std::process;
use std::time::Instant;

use anyhow::{Context, Result};
use rustix::param::clock_ticks_per_second;

/// What others may use, as a share of one core, before a round is worth nothing.
const ALLOWED: f64 = 0.15;
/// Both sides of the comparison are counted in ticks: so many are lost in rounding.
const ROUNDING: f64 = 0.03;

/// A look at the clocks of the machine and of one's own processes.
pub(super) struct Meter {
    start: Instant,
    busy: u64,
    own: u64,
}

impl Meter {
    /// `own` are the processes that may work, beside this one and the children it has waited for.
    pub(super) fn start(own: &[u32]) -> Result<Meter> {
        Ok(Meter { start: Instant::now(), busy: busy()?, own: used(own)? })
    }

    /// What anybody else has used since, as a share of one core.
    pub(super) fn foreign(&self, own: &[u32]) -> Result<f64> {
        let all = busy()?.saturating_sub(self.busy);
        let ours = used(own)?.saturating_sub(self.own);
        let ticks = self.start.elapsed().as_secs_f64() * clock_ticks_per_second() as f64;
        Ok(all.saturating_sub(ours) as f64 / ticks)
    }

    /// Whether a round beside which others used such a share says something.
    pub(super) fn is_fine(&self, foreign: f64) -> bool {
        foreign <= ALLOWED + ROUNDING / self.start.elapsed().as_secs_f64()
    }
}

/// Ticks in which any core did not idle; time that a hypervisor gave to others is among them.
fn busy() -> Result<u64> {
    busy_of(&fs::read_to_string("/proc/stat")?).context("/proc/stat has no line of all cores")
}

fn busy_of(stat: &str) -> Option<u64> {
    let line = stat.lines().find(|line| line.starts_with("cpu "))?;
    let ticks: Vec<u64> = line.split_whitespace().skip(1).map_while(|word| word.parse().ok()).collect();
    // user, nice, system, idle, iowait, irq, softirq, steal
    Some([0, 1, 2, 5, 6, 7].iter().filter_map(|at| ticks.get(*at)).sum())
}

/// Ticks used by this process, the children it waited for, and `others`.
fn used(others: &[u32]) -> Result<u64> {
    let mut sum = 0;
    for id in others.iter().copied().chain([process::id()]) {
        let path = format!("/proc/{id}/stat");
        let stat = fs::read_to_string(&path).with_context(|| format!("{path}: the process is gone"))?;
        sum += used_of(&stat).with_context(|| format!("{path} cannot be read"))?;
    }
    Ok(sum)
}

/// Its own ticks and those of children it waited for: fields 14 to 17, counted behind the name in brackets.
fn used_of(stat: &str) -> Option<u64> {
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    fields.get(11..15)?.iter().map(|field| field.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_read_from_the_right_fields() {
        assert_eq!(busy_of("cpu  1 2 4 1000 1000 8 16 32 0 0\ncpu0 9 9 9\n"), Some(63));
        assert_eq!(used_of("7 (a) b) S 1 2 3 4 5 6 7 8 9 10 1 2 4 8 20 0"), Some(15));
        assert_eq!(used_of("7 (a) S 1"), None);
    }

    #[test]
    fn this_process_is_no_foreigner() {
        let meter = Meter::start(&[]).unwrap();
        assert!(meter.foreign(&[]).unwrap() >= 0.0);
        assert!(meter.is_fine(0.1));
        assert!(!meter.is_fine(f64::INFINITY));
    }
}
