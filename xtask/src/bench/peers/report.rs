//! What was compared, for a file.

use std::collections::BTreeMap;
use std::fs;

use anyhow::Result;
use serde_json::{Value, json};

use super::build::Builds;
use super::entry::{Entry, Group};
use super::round::Sample;
use super::work::Work;
use super::{Comparison, facts};
use crate::bench::place::Placement;
use crate::bench::statistics::{median, spread};
use crate::ledger;
use crate::workspace::Workspace;

/// The rounds of one program at one work in one placement.
pub(super) struct Row {
    pub(super) group: Group,
    pub(super) name: String,
    pub(super) placement: Placement,
    pub(super) work: Work,
    floor: bool,
    skipped: bool,
    failure: Option<String>,
    /// One for each turn; none where it did not take part or was disturbed.
    turns: Vec<Option<Sample>>,
    /// Those that were disturbed.
    dropped: Vec<Sample>,
}

impl Row {
    pub(super) fn new(entry: &Entry, placement: Placement, work: Work) -> Row {
        Row {
            group: entry.group,
            name: entry.name.clone(),
            placement,
            work,
            floor: entry.floor,
            skipped: entry.skip.iter().any(|name| name == work.name),
            failure: None,
            turns: Vec::new(),
            dropped: Vec::new(),
        }
    }

    pub(super) fn is_floor(&self) -> bool {
        self.floor
    }

    /// Whether it takes part at all.
    pub(super) fn is_wanted(&self) -> bool {
        !self.skipped && self.failure.is_none()
    }

    /// Whether nothing more is needed of it.
    pub(super) fn has(&self, rounds: usize) -> bool {
        !self.is_wanted() || self.kept() >= rounds
    }

    pub(super) fn kept(&self) -> usize {
        self.turns.iter().flatten().count()
    }

    pub(super) fn dropped(&self) -> usize {
        self.dropped.len()
    }

    pub(super) fn is_skipped(&self) -> bool {
        self.skipped
    }

    pub(super) fn failure(&self) -> Option<&str> {
        self.failure.as_deref()
    }

    pub(super) fn keep(&mut self, sample: Sample) {
        self.turns.push(Some(sample));
    }

    pub(super) fn drop_round(&mut self, sample: Sample) {
        self.turns.push(None);
        self.dropped.push(sample);
    }

    pub(super) fn fail(&mut self, why: String) {
        self.turns.push(None);
        self.failure = Some(why);
    }

    /// Takes no part in this turn.
    pub(super) fn pause(&mut self) {
        self.turns.push(None);
    }

    pub(super) fn values(&self) -> Vec<f64> {
        self.turns.iter().flatten().map(|sample| sample.value).collect()
    }

    fn p99(&self) -> Vec<f64> {
        self.turns.iter().flatten().filter_map(|sample| sample.p99_us).collect()
    }

    /// What was counted beside the values, by name: the medians of the rounds.
    pub(super) fn beside(&self) -> BTreeMap<&'static str, f64> {
        let mut all: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        for (name, value) in self.turns.iter().flatten().flat_map(|sample| &sample.beside) {
            all.entry(name).or_default().push(*value);
        }
        all.into_iter().map(|(name, values)| (name, median(&values))).collect()
    }

    /// This over a floor, turn by turn: both were measured within the same seconds. None over nothing.
    pub(super) fn ratio(&self, floor: &Row) -> Option<f64> {
        let both = self.turns.iter().zip(&floor.turns);
        let ratios: Vec<f64> = both
            .filter_map(|(own, floor)| Some(own.as_ref()?.value / floor.as_ref()?.value))
            .filter(|r| r.is_finite())
            .collect();
        (!ratios.is_empty()).then(|| median(&ratios))
    }

    fn is_beside(&self, other: &Row) -> bool {
        self.group == other.group && self.placement == other.placement && self.work == other.work
    }
}

/// Everything that was compared.
pub(super) struct Report {
    pub(super) rounds: usize,
    pub(super) seconds: f64,
    pub(super) noisy: bool,
    name: String,
    command: String,
    commit: String,
    versions: BTreeMap<String, String>,
    notes: BTreeMap<String, String>,
    missing: Vec<String>,
    pub(super) rows: Vec<Row>,
}

impl Report {
    pub(super) fn new(
        workspace: &Workspace,
        only: &[String],
        options: &Comparison,
        entries: &[Entry],
        builds: &Builds,
    ) -> Result<Report> {
        let noted = entries.iter().filter(|entry| !entry.note.is_empty());
        Ok(Report {
            rounds: options.rounds,
            seconds: options.seconds,
            noisy: options.noisy,
            name: options.name.clone(),
            command: command(only, options),
            commit: ledger::commit(workspace)?.0,
            versions: facts::versions(workspace, entries)?,
            notes: noted.map(|entry| (format!("{} {}", entry.group, entry.name), entry.note.clone())).collect(),
            missing: builds.missing().iter().map(|why| facts::without_folders(workspace, why)).collect(),
            rows: Vec::new(),
        })
    }

    pub(super) fn missing(&self) -> &[String] {
        &self.missing
    }

    pub(super) fn add(&mut self, rows: Vec<Row>) {
        self.rows.extend(rows);
    }

    /// Whether everybody did all that was asked for.
    pub(super) fn is_complete(&self) -> bool {
        let done = |row: &Row| row.failure.is_none() && row.has(self.rounds);
        self.missing.is_empty() && self.rows.iter().all(done)
    }

    /// The floors that a row is compared with, itself among them.
    pub(super) fn floors(&self, row: &Row) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(move |other| other.floor && other.is_beside(row))
    }

    /// Writes `bench/results/NAME.json` and says where, below the checkout.
    pub(super) fn save(&self, workspace: &Workspace) -> Result<String> {
        let path = format!("bench/results/{}.json", self.name);
        fs::create_dir_all(workspace.path("bench/results"))?;
        fs::write(workspace.path(&path), serde_json::to_string_pretty(&self.json())? + "\n")?;
        Ok(path)
    }

    fn json(&self) -> Value {
        json!({
            "again": self.command,
            "commit": self.commit,
            "machine": facts::machine(),
            "versions": self.versions,
            "rounds": self.rounds,
            "seconds_per_round": self.seconds,
            "disturbed_rounds_kept": self.noisy,
            "missing": self.missing,
            "notes": self.notes,
            "results": self.rows.iter().map(|row| self.row_json(row)).collect::<Vec<_>>(),
        })
    }

    fn row_json(&self, row: &Row) -> Value {
        let ratios: BTreeMap<&str, Option<f64>> =
            self.floors(row).map(|floor| (floor.name.as_str(), row.ratio(floor))).collect();
        let values = row.values();
        let measured = |value: f64| (!values.is_empty()).then_some(value);
        let (least, most) = spread(&values);
        let p99 = row.p99();
        json!({
            "language": row.group.to_string(),
            "program": row.name,
            "floor": row.floor,
            "placement": row.placement.to_string(),
            "work": row.work.name,
            "unit": row.work.metric.unit(),
            "median": measured(median(&values)),
            "least": measured(least),
            "most": measured(most),
            "p99_us": (!p99.is_empty()).then(|| median(&p99)),
            "beside": row.beside(),
            "ratio_to": ratios,
            "values": values,
            "foreign_share_kept": shares(row.turns.iter().flatten()),
            "foreign_share_dropped": shares(&row.dropped),
            "dropped": row.dropped.len(),
            "offered": !row.skipped,
            "failure": row.failure,
        })
    }
}

/// What others used of a core in each of the rounds.
fn shares<'a>(samples: impl IntoIterator<Item = &'a Sample>) -> Vec<f64> {
    samples.into_iter().map(|sample| (sample.foreign * 1000.0).round() / 1000.0).collect()
}

/// What to type to measure the same again.
fn command(only: &[String], options: &Comparison) -> String {
    let mut words = vec!["cargo xtask bench --peers".to_owned()];
    words.push(format!("--seconds {} --rounds {} --name {}", options.seconds, options.rounds, options.name));
    words.extend(only.iter().map(|name| format!("--only {name}")));
    words.extend(options.placement.iter().map(|place| format!("--placement {}", format!("{place:?}").to_lowercase())));
    words.extend(options.work.iter().map(|work| format!("--work {work}")));
    words.extend(options.noisy.then(|| "--noisy".to_owned()));
    words.join(" ")
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::bench::peers::work::chosen;

    pub(in crate::bench::peers) fn row(name: &str, floor: bool, work: &str, values: &[Option<f64>]) -> Row {
        let sample = |value| Sample { value, p99_us: None, beside: Vec::new(), foreign: 0.5, disturbed: false };
        let turn = |value: &Option<f64>| value.map(sample);
        Row {
            group: Group::Go,
            name: name.into(),
            placement: Placement::Apart,
            work: chosen(&[work.to_owned()]).unwrap()[0],
            floor,
            skipped: false,
            failure: None,
            turns: values.iter().map(turn).collect(),
            dropped: values.iter().filter(|value| value.is_none()).map(|_| sample(0.0)).collect(),
        }
    }

    pub(in crate::bench::peers) fn report(rows: Vec<Row>) -> Report {
        Report {
            rounds: 2,
            seconds: 0.4,
            noisy: false,
            name: "x".into(),
            command: "again".into(),
            commit: "0123456789".into(),
            versions: BTreeMap::new(),
            notes: BTreeMap::new(),
            missing: Vec::new(),
            rows,
        }
    }

    #[test]
    fn a_ratio_is_the_median_of_turns_that_both_have() {
        let floor = row("raw", true, "rt64", &[Some(10.0), None, Some(20.0), Some(40.0)]);
        let lane = row("hostlane", false, "rt64", &[Some(11.0), Some(99.0), Some(24.0), None]);
        assert_eq!(lane.ratio(&floor), Some(1.15));
        assert_eq!(row("x", false, "rt64", &[None]).ratio(&floor), None);
        let json = report(vec![floor, lane]).json();
        assert_eq!(json["results"][1]["ratio_to"]["raw"], 1.15);
        assert_eq!(json["results"][1]["dropped"], 1);
        assert_eq!(json["results"][0]["ratio_to"]["raw"], 1.0);
    }

    #[test]
    fn a_failure_or_too_few_rounds_are_no_complete_report() {
        let whole = || row("a", false, "rt64", &[Some(1.0), Some(2.0)]);
        assert!(report(vec![whole()]).is_complete());
        assert!(!report(vec![row("b", false, "rt64", &[Some(1.0), None])]).is_complete());
        let mut failed = whole();
        failed.fail("why".into());
        assert!(!report(vec![failed]).is_complete());
        let mut missing = report(vec![whole()]);
        missing.missing.push("c: why".into());
        assert!(!missing.is_complete());
    }
}
