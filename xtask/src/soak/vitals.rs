//! What a process holds, and whether that is more than before.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use crate::conformance::Agent;

/// Descriptors, threads and memory of a process.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Vitals {
    /// What they point to, sorted.
    pub(super) descriptors: Vec<String>,
    pub(super) threads: u64,
    pub(super) maps: u64,
    pub(super) rss_kib: u64,
}

/// Those of each agent, by its name.
const TOLERANCES: &str = include_str!("../../../tests/faults/tolerance.toml");

/// How much more than before a process may have, because of what its runtime keeps.
#[derive(Debug, Clone, Copy, Deserialize)]
struct Tolerance {
    descriptors: usize,
    threads: u64,
    maps: u64,
}

/// How much its resident memory may grow; the soak has it given back as soon as it is free.
struct Growth {
    /// In a short soak, in which not everything that is kept was used before.
    short_kib: u64,
    /// In a long one, beside two hundredths.
    long_kib: u64,
}

impl Tolerance {
    fn of(agent: Agent) -> Result<Tolerance> {
        let all: BTreeMap<String, Tolerance> = toml::from_str(TOLERANCES).context("tests/faults/tolerance.toml")?;
        all.get(agent.name()).copied().with_context(|| format!("tests/faults/tolerance.toml has no {}", agent.name()))
    }
}

impl Growth {
    fn of(agent: Agent) -> Growth {
        let (short, long) = match agent {
            Agent::Rust | Agent::C | Agent::Cpp => (4, 1),
            Agent::Python | Agent::PythonAio => (8, 2),
            // The heap grows by what a collection does not free, until the next large one.
            Agent::Node => (40, 12),
            // The heap shrinks minutes later.
            Agent::Go => (16, 4),
        };
        Growth { short_kib: short << 10, long_kib: long << 10 }
    }
}

impl Vitals {
    pub(super) fn of(process: u32) -> Result<Vitals> {
        let place = |name: &str| format!("/proc/{process}/{name}");
        let read = |name: &str| fs::read_to_string(place(name)).with_context(|| place(name));
        let status = read("status")?;
        let number = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
            let word = line.and_then(|line| line.split_whitespace().next()).with_context(|| place("status"))?;
            Ok::<u64, anyhow::Error>(word.parse()?)
        };
        let mut descriptors = Vec::new();
        for entry in fs::read_dir(place("fd")).with_context(|| place("fd"))? {
            // One that was closed just now is none.
            if let Ok(target) = fs::read_link(entry?.path()) {
                let target = target.to_string_lossy().into_owned();
                descriptors.push(target.split('[').next().unwrap_or_default().to_owned());
            }
        }
        descriptors.sort();
        Ok(Vitals {
            descriptors,
            threads: number("Threads")?,
            maps: read("maps")?.lines().count() as u64,
            rss_kib: number("VmRSS")?,
        })
    }

    /// What is more than it was, beside resident memory, in words.
    pub(super) fn excess(&self, before: &Vitals, agent: Agent) -> Result<Vec<String>> {
        let tolerance = Tolerance::of(agent)?;
        let mut more = Vec::new();
        if self.descriptors.len() > before.descriptors.len() + tolerance.descriptors {
            more.push(format!("descriptors {:?} -> {:?}", before.descriptors, self.descriptors));
        }
        for (name, was, now, tolerance) in [
            ("threads", before.threads, self.threads, tolerance.threads),
            ("maps", before.maps, self.maps, tolerance.maps),
        ] {
            if now > was + tolerance {
                more.push(format!("{name} {was} -> {now}"));
            }
        }
        Ok(more)
    }
}

/// Quiet moments from which on they are compared in quarters.
const LONG: usize = 8;

/// What resident memory has grown by, in words, if it has: the last quarter of the moments with the first, at their best, so
/// that what comes and goes is none. The moment before everything else does not count, unless there are few others.
pub(super) fn growth(rss_kib: &[u64], agent: Agent) -> Option<String> {
    let tolerance = Growth::of(agent);
    let (first, last, more) = match rss_kib {
        [first, rest @ ..] if rest.len() < LONG => (*first, *rest.last()?, tolerance.short_kib),
        [_, rest @ ..] => {
            let quarter = rest.len() / 4;
            let first = *rest[..quarter].iter().max()?;
            let last = *rest[rest.len() - quarter..].iter().min()?;
            (first, last, first / 50 + tolerance.long_kib)
        }
        [] => return None,
    };
    (last > first + more).then(|| format!("resident memory {first} KiB -> {last} KiB"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_descriptor_more_than_tolerated_is_found() {
        let before = Vitals::of(std::process::id()).unwrap();
        for agent in Agent::ALL {
            assert_eq!(before.excess(&before, agent).unwrap(), [""; 0]);
        }
        let mut after = before.clone();
        after.descriptors.extend(["/dev/null", "/dev/null", "/dev/null"].map(str::to_owned));
        let more = after.excess(&before, Agent::Rust).unwrap();
        assert!(more.len() == 1 && more[0].starts_with("descriptors"), "{more:?}");
        let threads = Vitals { threads: before.threads + 2, ..before.clone() };
        assert_eq!(threads.excess(&before, Agent::Rust).unwrap().len(), 1);
        assert_eq!(threads.excess(&before, Agent::Go).unwrap().len(), 0);
    }

    #[test]
    fn memory_that_grows_is_found_and_memory_that_comes_and_goes_is_not() {
        let mib = |mib: f64| (mib * 1024.0) as u64;
        let grown: Vec<u64> = (0..60).map(|minute| mib(40.0 + 0.2 * f64::from(minute))).collect();
        assert!(growth(&grown, Agent::Rust).is_some());
        let waves: Vec<u64> = (0..60).map(|minute| mib(40.0 + f64::from(minute % 5) * 3.0)).collect();
        assert_eq!(growth(&waves, Agent::Rust), None);
        // Once at the beginning is no growth.
        let steps: Vec<u64> = (0..60).map(|minute| if minute == 0 { mib(20.0) } else { mib(40.0) }).collect();
        assert_eq!(growth(&steps, Agent::Rust), None);
        assert!(growth(&[mib(20.0), mib(40.0)], Agent::Rust).is_some());
        assert_eq!(growth(&[mib(20.0), mib(23.0)], Agent::Rust), None);
        assert_eq!(growth(&[], Agent::Rust), None);
    }
}
