//! Checks as named findings: each check is one test that passes, or fails with reasons.

use std::fmt;

/// The outcome of a set of checks, printed as a list with the closing line that `cargo xtask test` reads.
#[derive(Default)]
pub(crate) struct Verdict {
    checks: Vec<(String, Vec<String>)>,
}

impl Verdict {
    /// Adds a check; no finding means that it passed.
    pub(crate) fn add(&mut self, check: impl Into<String>, findings: Vec<String>) {
        self.checks.push((check.into(), findings));
    }

    /// Prints the list; true when every check passed.
    pub(crate) fn print(&self) -> bool {
        println!("{self}");
        self.failed() == 0
    }

    fn failed(&self) -> usize {
        self.checks.iter().filter(|(_, findings)| !findings.is_empty()).count()
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (check, findings) in &self.checks {
            writeln!(out, "{}  {check}", if findings.is_empty() { "ok  " } else { "FAIL" })?;
            for finding in findings {
                writeln!(out, "      {finding}")?;
            }
        }
        write!(out, "{} passed, {} failed", self.checks.len() - self.failed(), self.failed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_fails_its_check_and_the_whole() {
        let mut verdict = Verdict::default();
        verdict.add("fine", Vec::new());
        verdict.add("broken", vec!["because".into()]);
        assert_eq!(verdict.to_string(), "ok    fine\nFAIL  broken\n      because\n1 passed, 1 failed");
        assert!(!verdict.print());
    }
}
