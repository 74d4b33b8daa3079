//! One measurement: a client process against a server process of the same language.

use std::fmt;
use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use super::place::Placement;
use crate::lang::{Lang, Profile};
use crate::process::shown;
use crate::server::{Server, Sockets};
use crate::workspace::Workspace;

/// What is measured, with the bytes of a payload.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Work {
    RoundTrip(u64),
    Stream(u64),
}

impl fmt::Display for Work {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, size) = match self {
            Work::RoundTrip(size) => ("round trip", size),
            Work::Stream(size) => ("one-way", size),
        };
        match size {
            size if size % (1 << 20) == 0 => write!(out, "{kind} {} MiB", size >> 20),
            size if size % 1024 == 0 => write!(out, "{kind} {} KiB", size >> 10),
            size => write!(out, "{kind} {size} B"),
        }
    }
}

/// Which side of the comparison.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Floor {
    Raw,
    Lane,
}

/// The four servers of a language.
pub(super) struct Servers<'a> {
    workspace: &'a Workspace,
    pub(super) lang: Lang,
    pub(super) placement: Placement,
    addresses: [PathBuf; 4],
    _running: Vec<Server>,
}

impl<'a> Servers<'a> {
    pub(super) fn start(
        workspace: &'a Workspace,
        lang: Lang,
        placement: Placement,
        sockets: &Sockets,
    ) -> Result<Servers<'a>> {
        let place = placement as u8;
        let address = |kind: &str| sockets.path(&format!("{}-{kind}-{place}", lang.name()));
        let addresses = ["raw-echo", "echo", "raw-sink", "sink"].map(address);
        let mut running = Vec::new();
        for (number, mode) in [(0, "raw-echo"), (1, "echo"), (2, "raw-sink"), (3, "sink")] {
            let mut command = if mode == "echo" {
                lang.example(workspace, Profile::Release, "echo")
            } else {
                let mut agent = lang.agent(workspace, Profile::Release);
                agent.arg(mode);
                agent
            };
            command.arg(&addresses[number]);
            let log = workspace.path(format!("target/xtask/logs/bench-{}-{mode}.log", lang.name()));
            running.push(Server::start(placement.server(command), &log)?);
        }
        Ok(Servers { workspace, lang, placement, addresses, _running: running })
    }

    /// Nanoseconds of one round trip (median), or of one message of a stream (mean).
    pub(super) fn measure(&self, work: Work, floor: Floor, seconds: f64) -> Result<f64> {
        let (mode, address, size) = match (work, floor) {
            (Work::RoundTrip(size), Floor::Raw) => ("raw-bench", &self.addresses[0], size),
            (Work::RoundTrip(size), Floor::Lane) => ("bench", &self.addresses[1], size),
            (Work::Stream(size), Floor::Raw) => ("raw-stream", &self.addresses[2], size),
            (Work::Stream(size), Floor::Lane) => ("stream", &self.addresses[3], size),
        };
        let mut agent = self.lang.agent(self.workspace, Profile::Release);
        agent.arg(mode).arg(address).arg(size.to_string()).arg(seconds.to_string());
        let mut agent = self.placement.client(agent);
        let output = agent.stdin(Stdio::null()).output().with_context(|| shown(&agent))?;
        ensure!(
            output.status.success(),
            "{}: {}: {}",
            shown(&agent),
            output.status,
            String::from_utf8_lossy(&output.stderr).trim()
        );
        read(work, &output.stdout).with_context(|| shown(&agent))
    }
}

/// What the agents print.
#[derive(Deserialize)]
#[serde(untagged)]
enum Line {
    RoundTrips { median_ns: f64, count: u64 },
    Stream { messages: u64, seconds: f64, bytes: u64 },
}

fn read(work: Work, output: &[u8]) -> Result<f64> {
    let line: Line = serde_json::from_slice(output)
        .with_context(|| format!("no result in {:?}", String::from_utf8_lossy(output)))?;
    match (work, line) {
        (Work::RoundTrip(_), Line::RoundTrips { median_ns, count }) if count > 0 => Ok(median_ns),
        (Work::Stream(size), Line::Stream { messages, seconds, bytes }) if messages > 0 && bytes == messages * size => {
            Ok(seconds * 1e9 / messages as f64)
        }
        _ => bail!("not the result of {work}: {:?}", String::from_utf8_lossy(output)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_read_and_doubted() {
        let trips = br#"{"median_ns": 5100, "p99_ns": 9000, "count": 7}"#;
        assert_eq!(read(Work::RoundTrip(64), trips).unwrap(), 5100.0);
        let stream = br#"{"messages": 1000, "seconds": 0.5, "bytes": 64000}"#;
        assert_eq!(read(Work::Stream(64), stream).unwrap(), 500_000.0);
        assert!(read(Work::Stream(65), stream).is_err());
        assert!(read(Work::Stream(64), trips).is_err());
        assert!(read(Work::RoundTrip(64), br#"{"median_ns": 1, "count": 0}"#).is_err());
        assert!(read(Work::RoundTrip(64), b"").is_err());
    }

    #[test]
    fn sizes_are_named_in_round_units() {
        assert_eq!(Work::RoundTrip(64).to_string(), "round trip 64 B");
        assert_eq!(Work::Stream(65536).to_string(), "one-way 64 KiB");
        assert_eq!(Work::RoundTrip(1 << 20).to_string(), "round trip 1 MiB");
    }
}
