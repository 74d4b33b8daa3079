//! What was counted: by language, and what is wrong in words.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::AddAssign;
use std::time::Duration;

use serde::Serialize;

use crate::conformance::Agent;

/// Messages that arrived, and those that did not as they should have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(super) struct Counts {
    pub(super) messages: u64,
    pub(super) bytes: u64,
    pub(super) lost: u64,
    pub(super) doubled: u64,
    pub(super) reordered: u64,
    pub(super) corrupted: u64,
}

impl Counts {
    /// Whether everything is as it was sent.
    pub(super) fn fine(&self) -> bool {
        self.lost + self.doubled + self.reordered + self.corrupted == 0
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Counts) {
        self.messages += other.messages;
        self.bytes += other.bytes;
        self.lost += other.lost;
        self.doubled += other.doubled;
        self.reordered += other.reordered;
        self.corrupted += other.corrupted;
    }
}

/// Where something went wrong: in a language, or on the machine as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    /// Messages.
    Counted,
    /// An operation ended with an error nobody caused, or without one that was caused.
    Error,
    Leak,
}

/// What is wrong, in words.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Finding {
    /// The language; none for the machine.
    pub(super) agent: Option<&'static str>,
    pub(super) kind: Kind,
    pub(super) text: String,
}

/// What a language got, and how often it failed.
#[derive(Debug, Clone, Copy, Default, Serialize)]
pub(super) struct Row {
    #[serde(flatten)]
    pub(super) counts: Counts,
    pub(super) errors: u64,
    pub(super) leaks: u64,
}

impl Row {
    /// A language that got no message has shown nothing.
    fn passed(&self) -> bool {
        self.counts.messages > 0 && self.counts.fine() && self.errors + self.leaks == 0
    }
}

/// Everything that was counted.
#[derive(Debug, Clone)]
pub(super) struct Tally {
    agents: Vec<Agent>,
    rows: Vec<Row>,
    pub(super) rounds: u64,
    /// Rounds by fault.
    pub(super) faults: BTreeMap<&'static str, u64>,
    pub(super) findings: Vec<Finding>,
}

impl Tally {
    pub(super) fn new(agents: &[Agent]) -> Tally {
        let rows = vec![Row::default(); agents.len()];
        Tally { agents: agents.to_vec(), rows, rounds: 0, faults: BTreeMap::new(), findings: Vec::new() }
    }

    pub(super) fn row(&mut self, agent: Agent) -> &mut Row {
        let at = self.agents.iter().position(|one| *one == agent).unwrap_or(0);
        &mut self.rows[at]
    }

    /// What came to a language in `place`, in words.
    pub(super) fn count(&mut self, agent: Agent, counts: Counts, place: &dyn fmt::Display) {
        self.row(agent).counts += counts;
        if !counts.fine() {
            let text = format!("{place}: {counts}");
            self.findings.push(Finding { agent: Some(agent.name()), kind: Kind::Counted, text });
        }
    }

    pub(super) fn error(&mut self, agent: Agent, text: String) {
        self.row(agent).errors += 1;
        self.findings.push(Finding { agent: Some(agent.name()), kind: Kind::Error, text });
    }

    pub(super) fn leak(&mut self, agent: Agent, text: String) {
        self.row(agent).leaks += 1;
        self.findings.push(Finding { agent: Some(agent.name()), kind: Kind::Leak, text });
    }

    /// Something is left on the machine, of which nobody knows whose it is.
    pub(super) fn machine(&mut self, text: String) {
        self.findings.push(Finding { agent: None, kind: Kind::Leak, text });
    }

    /// All languages together.
    pub(super) fn sum(&self) -> Row {
        let mut sum = Row::default();
        for row in &self.rows {
            sum.counts += row.counts;
            sum.errors += row.errors;
            sum.leaks += row.leaks;
        }
        sum.leaks += self.findings.iter().filter(|finding| finding.agent.is_none()).count() as u64;
        sum
    }

    /// By language.
    pub(super) fn rows(&self) -> BTreeMap<&'static str, Row> {
        self.agents.iter().map(|agent| agent.name()).zip(self.rows.iter().copied()).collect()
    }

    pub(super) fn passed(&self) -> bool {
        self.failed() == 0
    }

    /// Languages that failed, and the machine as one more.
    fn failed(&self) -> usize {
        let machine = self.findings.iter().any(|finding| finding.agent.is_none());
        self.rows.iter().filter(|row| !row.passed()).count() + usize::from(machine)
    }

    /// One line, while it goes on.
    pub(super) fn line(&self, elapsed: Duration) -> String {
        let sum = self.sum();
        let seconds = elapsed.as_secs();
        let counts = sum.counts;
        format!(
            "{}:{:02}  {} rounds  {} messages  {} MiB  {counts}, {} errors, {} leaks",
            seconds / 60,
            seconds % 60,
            self.rounds,
            counts.messages,
            counts.bytes >> 20,
            sum.errors,
            sum.leaks
        )
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts { lost, doubled, reordered, corrupted, .. } = self;
        write!(out, "{lost} lost, {doubled} doubled, {reordered} reordered, {corrupted} corrupted")
    }
}

/// Findings that are told in full; all of them are in the report.
const TOLD: usize = 40;

impl fmt::Display for Tally {
    /// What is wrong, the table, and the closing line that `cargo xtask test` reads.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in self.findings.iter().take(TOLD) {
            writeln!(out, "FAIL  {}: {}", finding.agent.unwrap_or("the machine"), finding.text)?;
        }
        if self.findings.len() > TOLD {
            writeln!(out, "FAIL  and {} more, in the report", self.findings.len() - TOLD)?;
        }
        let columns = ["messages", "MiB", "lost", "doubled", "reordered", "corrupted", "errors", "leaks"];
        write!(out, "{:11}", "")?;
        for column in columns {
            write!(out, "{column:>11}")?;
        }
        writeln!(out)?;
        let sum = self.sum();
        let rows = self.agents.iter().map(|agent| agent.name()).zip(&self.rows).chain([("all", &sum)]);
        for (name, row) in rows {
            let Row { counts, errors, leaks } = row;
            let Counts { messages, bytes, lost, doubled, reordered, corrupted } = *counts;
            write!(out, "{name:11}")?;
            for number in [messages, bytes >> 20, lost, doubled, reordered, corrupted, *errors, *leaks] {
                write!(out, "{number:>11}")?;
            }
            writeln!(out)?;
        }
        let faults: Vec<String> = self.faults.iter().map(|(fault, count)| format!("{fault} {count}")).collect();
        writeln!(out, "{} rounds: {}", self.rounds, faults.join(", "))?;
        // Each language is a test, and the machine is one.
        let tests = self.rows.len() + 1;
        write!(out, "{} passed, {} failed", tests - self.failed(), self.failed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fine() -> Tally {
        let mut tally = Tally::new(&[Agent::Rust, Agent::Go]);
        for agent in [Agent::Rust, Agent::Go] {
            tally.count(agent, Counts { messages: 10, bytes: 3 << 20, ..Counts::default() }, &"here");
        }
        tally
    }

    #[test]
    fn it_passes_when_nothing_is_wrong() {
        let tally = fine();
        assert!(tally.passed());
        assert!(tally.to_string().ends_with("3 passed, 0 failed"), "{tally}");
    }

    #[test]
    fn each_wrong_thing_fails_it() {
        let wrong: [fn(&mut Tally); 7] = [
            |tally| tally.count(Agent::Go, Counts { lost: 1, ..Counts::default() }, &"there"),
            |tally| tally.count(Agent::Go, Counts { doubled: 1, ..Counts::default() }, &"there"),
            |tally| tally.count(Agent::Go, Counts { reordered: 1, ..Counts::default() }, &"there"),
            |tally| tally.count(Agent::Go, Counts { corrupted: 1, ..Counts::default() }, &"there"),
            |tally| tally.error(Agent::Go, "there".into()),
            |tally| tally.leak(Agent::Go, "there".into()),
            |tally| tally.machine("there".into()),
        ];
        for spoil in wrong {
            let mut tally = fine();
            spoil(&mut tally);
            assert!(!tally.passed());
            let text = tally.to_string();
            assert!(text.ends_with("2 passed, 1 failed") && text.contains("there"), "{text}");
        }
    }

    #[test]
    fn a_language_that_got_nothing_fails_it() {
        let mut tally = Tally::new(&[Agent::Rust, Agent::Go]);
        tally.count(Agent::Rust, Counts { messages: 10, ..Counts::default() }, &"here");
        assert!(!tally.passed());
    }
}
