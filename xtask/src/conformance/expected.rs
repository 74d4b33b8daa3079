//! Known failures: `tests/conformance/expected/AGENT.txt`, a line each.

use anyhow::{Context, Result, ensure};

use super::agent::Agent;
use super::case::End;
use crate::workspace::Workspace;

/// Failures that are known, with their reasons.
#[derive(Default)]
pub(super) struct Expected {
    entries: Vec<Entry>,
}

struct Entry {
    agent: Agent,
    end: End,
    case: String,
    reason: String,
}

impl Expected {
    /// Reads the files of all agents.
    pub(super) fn read(workspace: &Workspace) -> Result<Expected> {
        let mut expected = Expected::default();
        for agent in Agent::ALL {
            let file = format!("tests/conformance/expected/{}.txt", agent.name());
            expected.parse(agent, &workspace.read(&file)?).with_context(|| file)?;
        }
        Ok(expected)
    }

    /// `CASE client|server REASON` a line; what is behind `#` is for people.
    fn parse(&mut self, agent: Agent, text: &str) -> Result<()> {
        for line in text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let mut words = line.splitn(3, ' ');
            let mut word = || words.next().filter(|word| !word.is_empty());
            let (Some(case), Some(end), Some(reason)) = (word(), word(), word()) else {
                anyhow::bail!("{line:?} is not CASE client|server REASON");
            };
            let end = match end {
                "client" => End::Client,
                "server" => End::Server,
                other => anyhow::bail!("{other} is no end"),
            };
            self.entries.push(Entry { agent, end, case: case.to_owned(), reason: reason.to_owned() });
        }
        Ok(())
    }

    /// Every entry is of a case that exists.
    pub(super) fn check(&self, cases: &[super::case::Case]) -> Result<()> {
        for entry in &self.entries {
            ensure!(cases.iter().any(|case| case.name == entry.case), "no case is called {}", entry.case);
        }
        Ok(())
    }

    /// Why a case fails between two agents, if it is known to.
    pub(super) fn reason(&self, client: Agent, server: Agent, case: &str) -> Option<&str> {
        let fits = |entry: &&Entry| {
            let agent = if entry.end == End::Client { client } else { server };
            entry.case == case && entry.agent == agent
        };
        self.entries.iter().find(fits).map(|entry| entry.reason.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_of_an_agent_on_its_end() {
        let mut expected = Expected::default();
        expected.parse(Agent::C, "# a comment\n\nslow client it takes its time\n").unwrap();
        assert_eq!(expected.reason(Agent::C, Agent::Go, "slow"), Some("it takes its time"));
        assert_eq!(expected.reason(Agent::Go, Agent::C, "slow"), None);
        assert_eq!(expected.reason(Agent::C, Agent::Go, "fast"), None);
    }

    #[test]
    fn an_entry_has_an_end_and_a_reason() {
        for line in ["slow", "slow client", "slow both because"] {
            assert!(Expected::default().parse(Agent::C, line).is_err(), "{line}");
        }
    }
}
