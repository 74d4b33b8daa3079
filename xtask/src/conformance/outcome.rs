//! What came of a run: a cell for every pair and transport, an outcome for every case in it.

use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result};

use super::agent::Agent;
use super::case::Case;
use super::{TRANSPORTS, html, junit};
use crate::workspace::Workspace;

/// What came of a case.
#[derive(Debug, PartialEq)]
pub(super) enum Outcome {
    Passed,
    Failed(String),
    /// It failed, as it is known to.
    Known(String),
    /// It means nothing on the transport.
    Apart(String),
    /// An agent lacks what it needs.
    Lacking(String),
}

impl Outcome {
    /// The outcome in the light of what is known: a failure with a reason is none, and a pass without one is.
    pub(super) fn against(self, reason: Option<&str>) -> Outcome {
        match (self, reason) {
            (Outcome::Failed(_), Some(reason)) => Outcome::Known(reason.to_owned()),
            (Outcome::Passed, Some(reason)) => Outcome::Failed(format!("it passes, and is listed to fail: {reason}")),
            (outcome, _) => outcome,
        }
    }

    /// In one word, which is the colour in the report.
    pub(super) fn word(&self) -> &'static str {
        match self {
            Outcome::Passed => "passed",
            Outcome::Failed(_) => "failed",
            Outcome::Known(_) => "known",
            Outcome::Apart(_) => "apart",
            Outcome::Lacking(_) => "lacking",
        }
    }

    pub(super) fn why(&self) -> &str {
        match self {
            Outcome::Passed => "",
            Outcome::Failed(why) | Outcome::Known(why) | Outcome::Apart(why) | Outcome::Lacking(why) => why,
        }
    }
}

/// Two agents over a transport.
pub(super) struct Cell {
    pub(super) client: Agent,
    pub(super) server: Agent,
    pub(super) transport: &'static str,
    /// In the order of the cases.
    pub(super) outcomes: Vec<(Outcome, Duration)>,
}

impl Cell {
    pub(super) fn count(&self, word: &str) -> usize {
        self.outcomes.iter().filter(|(outcome, _)| outcome.word() == word).count()
    }
}

/// Everything that was played.
pub(super) struct Run {
    pub(super) cases: Vec<Case>,
    pub(super) cells: Vec<Cell>,
    /// Cells that could not be tried.
    pub(super) missing: usize,
}

impl Run {
    pub(super) fn count(&self, word: &str) -> usize {
        self.cells.iter().map(|cell| cell.count(word)).sum()
    }

    pub(super) fn passed(&self) -> bool {
        self.count("failed") == 0
    }

    /// The transports that were played.
    pub(super) fn transports(&self) -> impl Iterator<Item = &'static str> {
        TRANSPORTS.into_iter().filter(|transport| self.cells.iter().any(|cell| cell.transport == *transport))
    }

    pub(super) fn cell(&self, client: Agent, server: Agent, transport: &str) -> Option<&Cell> {
        let wanted = |cell: &&Cell| (cell.client, cell.server, cell.transport) == (client, server, transport);
        self.cells.iter().find(wanted)
    }

    /// Writes the report for machines and the one for people.
    pub(super) fn write(&self, workspace: &Workspace) -> Result<()> {
        let folder = workspace.path("target/xtask/conformance");
        std::fs::create_dir_all(&folder)?;
        for (name, text) in [("junit.xml", junit::of(self)), ("report.html", html::of(self))] {
            let path = folder.join(name);
            std::fs::write(&path, text).with_context(|| path.display().to_string())?;
        }
        Ok(())
    }
}

/// Text that means itself in XML and HTML.
pub(super) fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            // What XML has no form for.
            c if c.is_control() => escaped.push(' '),
            c => escaped.push(c),
        }
    }
    escaped
}

impl fmt::Display for Run {
    /// The matrix, what failed, and the closing line that `cargo xtask test` reads.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = 11;
        for transport in self.transports() {
            write!(out, "{:width$}", format!("{transport} ↓→"))?;
            for server in Agent::ALL {
                write!(out, "{:>width$}", server.name())?;
            }
            writeln!(out)?;
            for client in Agent::ALL {
                write!(out, "{:width$}", client.name())?;
                for server in Agent::ALL {
                    let shown = self.cell(client, server, transport).map(|cell| match cell.count("failed") {
                        0 => format!("{} ok", cell.count("passed")),
                        failed => format!("{failed} FAIL"),
                    });
                    write!(out, "{:>width$}", shown.unwrap_or_else(|| "·".into()))?;
                }
                writeln!(out)?;
            }
        }
        writeln!(out, "clients down, servers across; target/xtask/conformance/report.html has every case")?;
        for cell in &self.cells {
            for (case, (outcome, _)) in self.cases.iter().zip(&cell.outcomes) {
                if matches!(outcome, Outcome::Known(_) | Outcome::Lacking(_)) {
                    let (client, server) = (cell.client.name(), cell.server.name());
                    let (word, transport) = (outcome.word(), cell.transport);
                    writeln!(out, "{word} {client} -> {server} {transport} {}: {}", case.name, outcome.why())?;
                }
            }
        }
        if self.missing > 0 {
            writeln!(out, "{} pairs could not be tried", self.missing)?;
        }
        // What is known to fail and does is as it should be; what means nothing on a transport is no test.
        let passed = self.count("passed") + self.count("known");
        let skipped = self.missing + self.count("lacking");
        write!(out, "{passed} passed, {} failed, {skipped} skipped", self.count("failed"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_known_failure_is_none_and_a_pass_that_is_listed_is_one() {
        let failed = || Outcome::Failed("x".into());
        assert_eq!(failed().against(None), failed());
        assert_eq!(failed().against(Some("why")), Outcome::Known("why".into()));
        assert_eq!(Outcome::Passed.against(None), Outcome::Passed);
        assert_eq!(Outcome::Passed.against(Some("why")).word(), "failed");
        let lacking = Outcome::Lacking("y".into());
        assert_eq!(lacking.against(Some("why")).word(), "lacking");
    }

    #[test]
    fn markup_is_escaped() {
        assert_eq!(escaped("a<b>&\"c\"\u{1b}"), "a&lt;b&gt;&amp;&quot;c&quot; ");
    }
}
