//! What is measured.

use anyhow::{Result, ensure};

use super::entry::Group;
use crate::bench::place::Placement;

/// What of a work is compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Metric {
    /// Microseconds that half of the calls stay below: less is better.
    Latency,
    /// Messages or requests in a second: more is better.
    Rate,
    /// Times in a second that a thread of either side wakes up and goes to sleep again, with nothing to do: less is better.
    Wakes,
    /// Bytes of the server for a connection: less is better.
    Memory,
}

impl Metric {
    /// Whether it is about connections that nothing is done on.
    pub(super) fn is_standing(self) -> bool {
        matches!(self, Metric::Wakes | Metric::Memory)
    }

    /// The unit of the values.
    pub(super) fn unit(self) -> &'static str {
        match self {
            Metric::Latency => "us",
            Metric::Rate => "1/s",
            Metric::Wakes => "wakes/s",
            Metric::Memory => "B/connection",
        }
    }

    /// How a table shows them: what a value is divided by, and what it then is.
    pub(super) fn shown(self) -> (f64, &'static str) {
        match self {
            Metric::Latency => (1.0, "µs, median of the calls; less is better"),
            Metric::Rate => (1000.0, "thousands a second; more is better"),
            Metric::Wakes => (1.0, "wake-ups a second, both sides; less is better"),
            Metric::Memory => (1024.0, "KiB of the server for a connection; less is better"),
        }
    }
}

/// One kind of work, as the programs know it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Work {
    pub(super) name: &'static str,
    pub(super) says: &'static str,
    pub(super) metric: Metric,
    /// The only language that has it; none for all.
    only: Option<Group>,
}

const fn work(name: &'static str, says: &'static str, metric: Metric) -> Work {
    Work { name, says, metric, only: None }
}

pub(super) const WORKS: [Work; 10] = [
    work("rt64", "round trip of 64 B, one caller", Metric::Latency),
    work("rt64k", "round trip of 64 KiB, one caller", Metric::Latency),
    work("rt1m", "round trip of 1 MiB, one caller", Metric::Latency),
    work("fly64", "64 requests of 64 B in flight on one connection", Metric::Rate),
    work("oneway64", "one-way messages of 64 B", Metric::Rate),
    work("oneway1m", "one-way messages of 1 MiB", Metric::Rate),
    work("connect", "a new connection and its first reply", Metric::Latency),
    Work {
        only: Some(Group::Python),
        ..work("busy64", "round trip of 64 B while another Python thread computes", Metric::Latency)
    },
    work("idle", "one connection with nothing to do", Metric::Wakes),
    work("many", "1,000 connections with nothing to do", Metric::Memory),
];

impl Work {
    pub(super) fn is_for(&self, group: Group) -> bool {
        self.only.is_none_or(|only| only == group)
    }

    /// Whether it says anything in a placement: where somebody sleeps is all the same.
    pub(super) fn is_at(&self, placement: Placement) -> bool {
        placement == Placement::Free || !self.metric.is_standing()
    }
}

/// The works of these names; every one if there are none.
pub(super) fn chosen(names: &[String]) -> Result<Vec<Work>> {
    for name in names {
        ensure!(WORKS.iter().any(|work| work.name == name), "no work is called {name}");
    }
    Ok(WORKS.into_iter().filter(|work| names.is_empty() || names.iter().any(|name| name == work.name)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn works_are_chosen_by_name() {
        assert_eq!(chosen(&[]).unwrap().len(), WORKS.len());
        assert_eq!(chosen(&["fly64".into()]).unwrap()[0].metric, Metric::Rate);
        assert!(chosen(&["fly".into()]).is_err());
    }

    #[test]
    fn a_busy_thread_is_a_matter_of_python() {
        let busy = chosen(&["busy64".into()]).unwrap()[0];
        assert!(busy.is_for(Group::Python) && !busy.is_for(Group::Go));
        let idle = chosen(&["idle".into()]).unwrap()[0];
        assert!(idle.is_at(Placement::Free) && !idle.is_at(Placement::Apart) && busy.is_at(Placement::Apart));
    }
}
