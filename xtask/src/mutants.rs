//! `mutants`: small changes of core's protocol code, one at a time, each of which core's tests have to notice. See
//! `docs/mutants.md`.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::ledger;
use crate::process;
use crate::workspace::Workspace;

/// Of the mutants that can be built, so many of a hundred have to be caught.
const GOAL: f64 = 85.0;

/// Random inputs of each property.
const CASES: &str = "32";

/// Seconds after which a mutant that still runs counts as caught.
const TIMEOUT: &str = "15";

/// Who is known to live, and why.
const SURVIVORS: &str = "core/mutants.json";

const LEDGER: &str = "core/mutants-ledger.json";

/// In the folder of what was found: what `--again` adds to.
const KEPT: &str = "kept.json";

/// Which mutants.
#[derive(Args)]
pub(crate) struct Options {
    /// Every Nth mutant from the Kth on, counted from 0: a sample of a few minutes
    #[arg(long, value_name = "K/N")]
    shard: Option<String>,
    /// Only the mutants of this file; repeatable
    #[arg(long, value_name = "FILE")]
    file: Vec<String>,
    /// How many are built and run at the same time
    #[arg(long, value_name = "N", default_value_t = 1)]
    jobs: usize,
    /// Only those that were not caught in the last run; the others keep its verdict. For tests that are new: code has to be as it was
    #[arg(long, conflicts_with_all = ["shard", "file"])]
    again: bool,
    /// Add the run to the ledger
    #[arg(long)]
    record: bool,
}

impl Options {
    /// Which mutants, as the ledger has it.
    fn part(&self) -> String {
        match (&self.shard, self.file.is_empty()) {
            (Some(shard), _) => shard.clone(),
            (None, true) => "all".into(),
            (None, false) => self.file.join(" "),
        }
    }
}

/// A mutant that no test can or has to notice.
#[derive(Deserialize)]
struct Survivor {
    mutant: String,
    /// How many of this name live.
    #[serde(default = "once")]
    times: usize,
    #[allow(dead_code, reason = "for the reader")]
    reason: String,
}

fn once() -> usize {
    1
}

/// One run, as the ledger has it.
#[derive(Serialize, Deserialize)]
struct Run {
    date: String,
    commit: String,
    part: String,
    caught: usize,
    missed: usize,
    unviable: usize,
    percent: f64,
}

/// What cargo-mutants writes down.
#[derive(Deserialize)]
struct Outcomes {
    outcomes: Vec<Outcome>,
}

#[derive(Deserialize)]
struct Outcome {
    summary: String,
    scenario: Scenario,
}

#[derive(Deserialize)]
enum Scenario {
    Baseline,
    Mutant { name: String },
}

/// Builds and runs them; true when enough are caught, and each that lives is known.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<bool> {
    ensure!(
        process::find("cargo-mutants").is_some(),
        "cargo-mutants is missing: cargo install --locked cargo-mutants@27.1.0"
    );
    let of = ledger::commit(workspace)?;
    let folder = workspace.path("target/mutants-found");
    std::fs::create_dir_all(&folder).with_context(|| format!("making {}", folder.display()))?;
    let mut command = workspace.command("cargo");
    command.args(["mutants", "--package", "hostlane", "--profile", "mutants", "--cap-lints", "true"]);
    command.args(["--no-shuffle", "--colors", "never", "--timeout", TIMEOUT]);
    command.arg("--jobs").arg(options.jobs.to_string()).arg("--output").arg(&folder);
    match &options.file[..] {
        [] => command.args(["--file", "core/src/proto/**/*.rs"]),
        files => command.args(files.iter().flat_map(|file| ["--file", file])),
    };
    for helpers in ["core/src/proto/sim/**", "core/src/proto/tests/**", "core/src/proto/{fuzz,by_hand}.rs"] {
        command.args(["--exclude", helpers]);
    }
    if let Some(shard) = &options.shard {
        command.args(["--shard", shard, "--sharding", "round-robin"]);
    }
    let kept = folder.join(KEPT);
    let before: Kept = match options.again {
        true => {
            command.arg("--iterate");
            let kept = std::fs::read_to_string(&kept).context("the last run was not finished")?;
            serde_json::from_str(&kept).context(KEPT)?
        }
        false => Kept { part: options.part(), ..Kept::default() },
    };
    let part = before.part.clone();
    // A run that is cut off leaves nothing to add to.
    match std::fs::remove_file(&kept) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error).context(KEPT),
        _ => {}
    }
    // For the build too, which else makes all of the tests.
    command.args(["--cargo-arg=--lib", "--", "--", "proto::"]);
    command.env("PROPTEST_CASES", CASES);
    // One failing input is enough.
    command.env("PROPTEST_MAX_SHRINK_ITERS", "0").env("PROPTEST_DISABLE_FAILURE_PERSISTENCE", "1");
    let status = command.status().context("starting cargo-mutants")?;
    // 2 and 3: mutants lived, or took too long. Everything else is no result.
    if !matches!(status.code(), Some(0 | 2 | 3)) {
        bail!("cargo-mutants ended with {status}");
    }
    let found = std::fs::read_to_string(folder.join("mutants.out/outcomes.json")).context("its outcomes")?;
    let tally = tally(&found, before)?;
    std::fs::write(&kept, serde_json::to_string(&tally.kept)?).context(KEPT)?;
    let known: Vec<Survivor> = serde_json::from_str(&workspace.read(SURVIVORS)?).context(SURVIVORS)?;
    let unknown = tally.unknown(&known);
    for (name, times) in &unknown {
        println!("lives, and is not in {SURVIVORS}: {name} ({times} of this name)");
    }
    let (caught, missed, unviable) = (tally.caught(), tally.missed(), tally.kept.unviable);
    println!("{caught} caught, {missed} missed, {unviable} not built: {:.1} %", tally.percent());
    if options.record {
        let (commit, date) = of;
        let percent = (tally.percent() * 10.0).round() / 10.0;
        let run = Run { date, commit, part, caught, missed, unviable, percent };
        ledger::append(workspace, LEDGER, vec![run])?;
    }
    println!("{caught} passed, {} failed", unknown.len());
    Ok(unknown.is_empty() && tally.percent() >= GOAL)
}

/// Verdicts that `--again` does not ask for: cargo-mutants says which mutants it leaves out, and not why.
#[derive(Clone, Default, Serialize, Deserialize)]
struct Kept {
    /// Which mutants it was.
    part: String,
    caught: usize,
    unviable: usize,
}

#[derive(Default)]
struct Tally {
    kept: Kept,
    /// They count as caught, and are asked again.
    too_long: usize,
    /// How many of each name, which says no line: a mutant keeps it when code moves.
    missed: BTreeMap<String, usize>,
}

impl Tally {
    fn caught(&self) -> usize {
        self.kept.caught + self.too_long
    }

    fn missed(&self) -> usize {
        self.missed.values().sum()
    }

    /// What lives and has no reason, or lives more often than the reason is for.
    fn unknown(&self, known: &[Survivor]) -> Vec<(&str, usize)> {
        let times = |name: &str| known.iter().find(|one| one.mutant == name).map_or(0, |one| one.times);
        let missed = self.missed.iter().map(|(name, found)| (name.as_str(), *found));
        missed.filter(|&(name, found)| found > times(name)).collect()
    }

    /// How many of a hundred were caught.
    fn percent(&self) -> f64 {
        100.0 * self.caught() as f64 / (self.caught() + self.missed()).max(1) as f64
    }
}

/// What was found, and `before`.
fn tally(found: &str, before: Kept) -> Result<Tally> {
    let found: Outcomes = serde_json::from_str(found).context("what cargo-mutants found")?;
    let mut tally = Tally { kept: before, ..Tally::default() };
    for Outcome { summary, scenario } in found.outcomes {
        let Scenario::Mutant { name } = scenario else {
            ensure!(summary == "Success", "the tests fail without any mutant");
            continue;
        };
        match summary.as_str() {
            "CaughtMutant" => tally.kept.caught += 1,
            "Timeout" => tally.too_long += 1,
            "Unviable" => tally.kept.unviable += 1,
            "MissedMutant" => *tally.missed.entry(without_place(&name)).or_default() += 1,
            other => bail!("{name}: {other}"),
        }
    }
    Ok(tally)
}

/// `FILE:LINE:COLUMN: CHANGE` without line and column.
fn without_place(name: &str) -> String {
    let mut parts = name.splitn(4, ':');
    match (parts.next(), parts.next(), parts.next(), parts.next()) {
        (Some(file), Some(_), Some(_), Some(change)) => format!("{file}:{change}"),
        _ => name.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_counted_and_survivors_keep_their_name_when_code_moves() {
        let mutant = |line: u32, summary: &str| {
            let name = format!("core/src/proto/ops.rs:{line}:9: replace < with <= in Ops::room");
            serde_json::json!({ "summary": summary, "scenario": { "Mutant": { "name": name } } })
        };
        let baseline = serde_json::json!({ "summary": "Success", "scenario": "Baseline" });
        let all = [
            baseline,
            mutant(1, "CaughtMutant"),
            mutant(2, "Timeout"),
            mutant(3, "Unviable"),
            mutant(4, "MissedMutant"),
            mutant(5, "MissedMutant"),
        ];
        let found = serde_json::json!({ "outcomes": all }).to_string();
        let alone = tally(&found, Kept::default()).unwrap();
        assert_eq!((alone.caught(), alone.kept.unviable, alone.percent()), (2, 1, 50.0));
        let lives = "core/src/proto/ops.rs: replace < with <= in Ops::room".to_owned();
        assert_eq!(alone.missed, BTreeMap::from([(lives.clone(), 2)]));
        let named = |times| vec![Survivor { mutant: lives.clone(), times, reason: String::new() }];
        assert_eq!(alone.unknown(&[]), [(lives.as_str(), 2)]);
        assert_eq!(
            alone.unknown(&named(1)),
            [(lives.as_str(), 2)],
            "a reason is for one, if it does not say otherwise"
        );
        assert_eq!(alone.unknown(&named(2)), []);
        let more = tally(&found, Kept { caught: 5, unviable: 3, ..Kept::default() }).unwrap();
        assert_eq!((more.caught(), more.kept.unviable), (7, 4));
        assert_eq!((more.kept.caught, more.kept.unviable), (6, 4), "one that took too long is asked again");
    }

    #[test]
    fn tests_that_fail_by_themselves_are_no_result() {
        let failed = serde_json::json!({ "outcomes": [{ "summary": "Failure", "scenario": "Baseline" }] });
        assert!(tally(&failed.to_string(), Kept::default()).is_err());
    }
}
