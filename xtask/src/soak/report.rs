//! What came of a soak, for machines: all of it in `target/xtask/soak`, and a line in the ledger.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::Stage;
use super::tally::{Finding, Row};
use super::vitals::Vitals;
use crate::ledger;
use crate::workspace::Workspace;

/// Long runs, as they are committed.
const LEDGER: &str = "tests/soak/ledger.json";

/// Everything.
#[derive(Serialize)]
pub(super) struct Report {
    #[serde(flatten)]
    run: Run,
    faults: BTreeMap<&'static str, u64>,
    languages: BTreeMap<&'static str, Row>,
    findings: Vec<Finding>,
    quiet: Vec<Moment>,
}

/// One soak, as the ledger has it.
#[derive(Clone, Serialize, Deserialize)]
struct Run {
    date: String,
    commit: String,
    languages: usize,
    seed: u64,
    seconds: u64,
    rounds: u64,
    messages: u64,
    bytes: u64,
    lost: u64,
    doubled: u64,
    reordered: u64,
    corrupted: u64,
    errors: u64,
    leaks: u64,
}

/// What each process held between two laps.
#[derive(Serialize)]
struct Moment {
    seconds: u64,
    processes: BTreeMap<String, Vitals>,
}

impl Report {
    pub(super) fn new(stage: &Stage, seed: u64, time: Duration, quiet: Vec<super::Quiet>) -> Result<Report> {
        let (commit, date) = ledger::commit(stage.workspace)?;
        let tally = stage.tally();
        let Row { counts, errors, leaks } = tally.sum();
        let run = Run {
            date,
            commit,
            languages: stage.agents.len(),
            seed,
            seconds: time.as_secs(),
            rounds: tally.rounds,
            messages: counts.messages,
            bytes: counts.bytes,
            lost: counts.lost,
            doubled: counts.doubled,
            reordered: counts.reordered,
            corrupted: counts.corrupted,
            errors,
            leaks,
        };
        let moment = |quiet: super::Quiet| Moment {
            seconds: quiet.at.as_secs(),
            processes: stage.members().map(ToString::to_string).zip(quiet.vitals).collect(),
        };
        Ok(Report {
            run,
            faults: tally.faults.clone(),
            languages: tally.rows(),
            findings: tally.findings.clone(),
            quiet: quiet.into_iter().map(moment).collect(),
        })
    }

    pub(super) fn write(&self, workspace: &Workspace) -> Result<()> {
        let folder = workspace.path("target/xtask/soak");
        std::fs::create_dir_all(&folder)?;
        let path = folder.join("result.json");
        std::fs::write(&path, serde_json::to_string_pretty(self)?).with_context(|| path.display().to_string())
    }

    /// Adds it to the ledger.
    pub(super) fn record(&self, workspace: &Workspace) -> Result<()> {
        let path = workspace.path(LEDGER);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)?;
        }
        ledger::append(workspace, LEDGER, vec![self.run.clone()])
    }
}
