//! What was measured, as a table and as JSON.

use std::fmt;
use std::fs;
use std::path::PathBuf;

use anyhow::Result;
use serde_json::{Value, json};

use super::connect::Connect;
use super::measure::Work;
use super::place::Placement;
use super::statistics::{median, spread};
use crate::r#gen::version;
use crate::lang::Lang;
use crate::workspace::Workspace;

/// One language, one place, one kind of work: nanoseconds of every round.
pub(super) struct Row {
    pub(super) lang: Lang,
    pub(super) placement: Placement,
    pub(super) work: Work,
    pub(super) raw: Vec<f64>,
    pub(super) lane: Vec<f64>,
}

impl Row {
    /// hostlane over raw, round by round: both were measured within the same second.
    fn ratios(&self) -> Vec<f64> {
        self.lane.iter().zip(&self.raw).map(|(lane, raw)| lane / raw).collect()
    }
}

/// Everything that was measured.
pub(super) struct Report {
    version: String,
    rounds: usize,
    seconds: f64,
    rows: Vec<Row>,
    pub(super) connect: Option<Connect>,
}

impl Report {
    pub(super) fn new(workspace: &Workspace, rounds: usize, seconds: f64) -> Result<Report> {
        Ok(Report { version: version::of(workspace)?, rounds, seconds, rows: Vec::new(), connect: None })
    }

    pub(super) fn add(&mut self, row: Row) {
        self.rows.push(row);
    }

    /// Writes `target/bench/results.json`.
    pub(super) fn save(&self, workspace: &Workspace) -> Result<PathBuf> {
        let path = workspace.path("target/bench/results.json");
        fs::create_dir_all(workspace.path("target/bench"))?;
        fs::write(&path, serde_json::to_string_pretty(&self.json())? + "\n")?;
        Ok(path)
    }

    fn json(&self) -> Value {
        let rows: Vec<Value> = self
            .rows
            .iter()
            .map(|row| {
                let ratios = row.ratios();
                json!({
                    "language": row.lang.name(),
                    "placement": row.placement.to_string(),
                    "work": row.work.to_string(),
                    "raw_ns": row.raw,
                    "hostlane_ns": row.lane,
                    "ratio_median": median(&ratios),
                    "ratio_min": spread(&ratios).0,
                    "ratio_max": spread(&ratios).1,
                })
            })
            .collect();
        json!({
            "version": self.version,
            "processor": processor(),
            "cores": std::thread::available_parallelism().map_or(0, usize::from),
            "rounds": self.rounds,
            "seconds_per_round": self.seconds,
            "process_connect_first_reply_ns": self.connect.as_ref().map(|connect| connect.whole),
            "process_alone_ns": self.connect.as_ref().map(|connect| connect.empty),
            "results": rows,
        })
    }
}

pub(super) fn processor() -> String {
    let text = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let line = text.lines().find(|line| line.starts_with("model name"));
    line.and_then(|line| line.split(": ").nth(1)).unwrap_or("unknown").to_owned()
}

impl fmt::Display for Report {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "hostlane {} beside a raw Unix socket in the same language: {} rounds of {} s each, in turns.\n\
             Microseconds of a round trip (median), or of one message of a stream; ratio = hostlane / raw, median of\n\
             the rounds, with the smallest and the largest. {}",
            self.version,
            self.rounds,
            self.seconds,
            processor()
        )?;
        let mut placement = None;
        for row in &self.rows {
            if placement != Some(row.placement) {
                placement = Some(row.placement);
                writeln!(out, "\nboth processes {}", row.placement)?;
                let head = ["raw", "hostlane", "ratio"];
                writeln!(out, "  {:8}{:20}{:>12}{:>12}{:>8}", "", "", head[0], head[1], head[2])?;
            }
            let ratios = row.ratios();
            let (least, most) = spread(&ratios);
            writeln!(
                out,
                "  {:8}{:20}{:>12.2}{:>12.2}{:>8.2}  {least:.2} .. {most:.2}",
                row.lang.name(),
                row.work.to_string(),
                median(&row.raw) / 1000.0,
                median(&row.lane) / 1000.0,
                median(&ratios),
            )?;
        }
        if let Some(connect) = &self.connect {
            writeln!(
                out,
                "\nrust, a new process each time: start, connect, first reply, end {:.2} ms (median); the process alone {:.2} ms",
                connect.whole / 1e6,
                connect.empty / 1e6
            )?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ratio_is_the_median_of_the_rounds() {
        let row = Row {
            lang: Lang::Go,
            placement: Placement::Free,
            work: Work::RoundTrip(64),
            raw: vec![1000.0, 2000.0, 4000.0],
            lane: vec![1100.0, 2600.0, 4000.0],
        };
        let report = Report {
            version: "1.2.3".into(),
            rounds: 3,
            seconds: 0.5,
            rows: vec![row],
            connect: Some(Connect { whole: 1_500_000.0, empty: 900_000.0 }),
        };
        let text = report.to_string();
        assert!(text.contains("1.10  1.00 .. 1.30"), "{text}");
        assert!(text.contains("1.50 ms (median); the process alone 0.90 ms"), "{text}");
        assert_eq!(report.json()["results"][0]["ratio_median"], 1.1);
    }
}
