//! One round of one program: its client process against its server process.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use super::cpu::Meter;
use super::entry::Entry;
use super::hogs::Hogs;
use super::standing;
use super::work::{Metric, Work};
use crate::bench::place::Placement;
use crate::process::{Guarded, append, fresh, shown};
use crate::server::{Server, Sockets};
use crate::workspace::Workspace;

/// What a client may need beside its windows, warming up among them.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a client prints.
#[derive(Deserialize)]
pub(super) struct Line {
    work: String,
    pub(super) count: u64,
    seconds: f64,
    p50_us: Option<f64>,
    p99_us: Option<f64>,
    bytes: u64,
}

/// What a round says.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Sample {
    /// In the unit of the work's metric.
    pub(super) value: f64,
    pub(super) p99_us: Option<f64>,
    /// What was counted beside it, by name.
    pub(super) beside: Vec<(&'static str, f64)>,
    /// What anybody else used of the processors meanwhile, as a share of one core.
    pub(super) foreign: f64,
    /// Whether that was too much.
    pub(super) disturbed: bool,
}

/// The servers of one language's programs in one placement.
pub(super) struct Field<'a> {
    workspace: &'a Workspace,
    placement: Placement,
    places: Vec<Place<'a>>,
}

struct Place<'a> {
    entry: &'a Entry,
    address: PathBuf,
    /// None after it failed: the next round starts it anew.
    server: Option<Server>,
    starts: u32,
    sockets: &'a Sockets,
}

impl<'a> Field<'a> {
    /// Nothing is started before its first round.
    pub(super) fn start(
        workspace: &'a Workspace,
        placement: Placement,
        entries: &[&'a Entry],
        sockets: &'a Sockets,
    ) -> Result<Field<'a>> {
        let place = |entry: &&'a Entry| Place { entry, address: PathBuf::new(), server: None, starts: 0, sockets };
        let places = entries.iter().map(place).collect();
        Ok(Field { workspace, placement, places })
    }

    /// A round of the program with this number.
    pub(super) fn round(&mut self, number: usize, work: Work, seconds: f64, hogs: Option<&Hogs>) -> Result<Sample> {
        if work.metric.is_standing() {
            // What a server has kept of other works would be counted.
            self.places[number].server = None;
        }
        self.places[number].serve(self.workspace, self.placement)?;
        let mut own: Vec<u32> = self.places.iter().filter_map(|place| Some(place.server.as_ref()?.id())).collect();
        own.extend(hogs.map(Hogs::ids).unwrap_or_default());
        let place = &mut self.places[number];
        let outcome = place.round(self.workspace, self.placement, work, seconds, &own);
        if outcome.is_err() {
            place.server = None;
        }
        outcome
    }
}

impl Place<'_> {
    fn log(&self, workspace: &Workspace, side: &str) -> PathBuf {
        workspace.path(format!("target/xtask/logs/bench-{}-{}-{side}.log", self.entry.group, self.entry.name))
    }

    fn serve(&mut self, workspace: &Workspace, placement: Placement) -> Result<()> {
        if self.server.is_some() {
            return Ok(());
        }
        self.starts += 1;
        let (entry, place) = (self.entry, placement as u8);
        self.address = self.sockets.path(&format!("{}-{}-{place}-{}", entry.group, entry.name, self.starts));
        let mut command = entry.command(workspace)?;
        command.arg("server").arg(&self.address);
        self.server = Some(Server::start(placement.server(command), &self.log(workspace, "server"))?);
        Ok(())
    }

    fn round(
        &self,
        workspace: &Workspace,
        placement: Placement,
        work: Work,
        seconds: f64,
        own: &[u32],
    ) -> Result<Sample> {
        let client = |work: &str| {
            let mut command = self.entry.command(workspace)?;
            command.arg("client").arg(&self.address).arg(work).arg(seconds.to_string());
            Ok(placement.client(command))
        };
        let log = self.log(workspace, "client");
        fresh(&log)?;
        let outcome = match (&self.server, work.metric.is_standing()) {
            (Some(server), true) => standing::round(work, client, &log, server.id(), own),
            _ => timed(work, client(work.name)?, &log, seconds, own),
        };
        outcome.with_context(|| {
            let said = std::fs::read_to_string(&log).unwrap_or_default();
            said.lines().last().unwrap_or("it said nothing").to_owned()
        })
    }
}

/// A round that ends when the client does.
fn timed(work: Work, mut client: Command, log: &Path, seconds: f64, own: &[u32]) -> Result<Sample> {
    client.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(append(log)?);
    let meter = Meter::start(own)?;
    let limit = PATIENCE + Duration::from_secs_f64(seconds * 10.0);
    let output = output(&mut client, limit)?;
    let foreign = meter.foreign(own)?;
    let line = Line::read(work, &output)?;
    let value = line.value(work.metric)?;
    Ok(Sample { value, p99_us: line.p99_us, beside: Vec::new(), foreign, disturbed: !meter.is_fine(foreign) })
}

/// What a process prints until its end.
fn output(command: &mut Command, limit: Duration) -> Result<String> {
    let mut process = Guarded(command.spawn().with_context(|| shown(command))?);
    let mut stdout = process.0.stdout.take().context("the client has no stdout")?;
    let (sender, receiver) = channel();
    std::thread::spawn(move || {
        let mut text = String::new();
        let read = stdout.read_to_string(&mut text).map(|_| text);
        // Nobody listens any more once the limit has passed.
        let _ = sender.send(read);
    });
    let Ok(text) = receiver.recv_timeout(limit) else {
        bail!("not over after {} s: {}", limit.as_secs(), shown(command));
    };
    let status = process.0.wait()?;
    ensure!(status.success(), "{}: {status}", shown(command));
    Ok(text?)
}

impl Line {
    pub(super) fn read(work: Work, output: &str) -> Result<Line> {
        let line: Line = serde_json::from_str(output).with_context(|| format!("no result in {output:?}"))?;
        let whole = line.work == work.name && line.count > 0 && line.bytes >= line.count && line.seconds > 0.0;
        ensure!(whole, "not a result of {}: {output:?}", work.name);
        Ok(line)
    }

    /// The value of a work that the client itself measures.
    fn value(&self, metric: Metric) -> Result<f64> {
        Ok(match metric {
            Metric::Latency => self.p50_us.context("a result without a median")?,
            Metric::Rate => self.count as f64 / self.seconds,
            Metric::Wakes | Metric::Memory => bail!("a client does not measure this"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::peers::work::chosen;

    fn work(name: &str) -> Work {
        chosen(&[name.to_owned()]).unwrap()[0]
    }

    #[test]
    fn results_are_read_and_doubted() {
        let trip = r#"{"work": "rt64", "count": 10, "seconds": 0.5, "p50_us": 9.5, "p99_us": 20, "bytes": 640}"#;
        let value = |name: &str, output: &str| Line::read(work(name), output)?.value(work(name).metric);
        assert_eq!(value("rt64", trip).unwrap(), 9.5);
        assert!(value("rt1m", trip).is_err());
        let stream =
            r#"{"work": "oneway64", "count": 10, "seconds": 0.5, "p50_us": null, "p99_us": null, "bytes": 640}"#;
        assert_eq!(value("oneway64", stream).unwrap(), 20.0);
        assert!(value("oneway64", &stream.replace("10", "0")).is_err());
        assert!(value("oneway64", "").is_err());
    }

    #[test]
    fn a_client_has_a_limit_and_a_status() {
        let run = |script: &str, seconds| {
            let mut command = Command::new("sh");
            command.args(["-c", script]).stdout(Stdio::piped());
            output(&mut command, Duration::from_secs(seconds))
        };
        assert_eq!(run("echo done", 20).unwrap(), "done\n");
        assert!(run("echo done; exit 1", 20).is_err());
        assert!(run("exec sleep 600", 1).unwrap_err().to_string().contains("not over"));
    }
}
