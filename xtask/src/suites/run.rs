//! Runs suites with their output in a log each, a live line while they run and the end of the log when one fails.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::Result;
use indicatif::{ProgressBar, ProgressStyle};

use super::{Counter, Counts, Suite};
use crate::lang::{Lang, Profile};
use crate::process;
use crate::workspace::Workspace;

/// No command of a suite takes longer; one that does hangs.
const LIMIT: Duration = Duration::from_secs(30 * 60);

/// How many lines of a failed log are shown.
const TAIL: usize = 40;

/// How runners mark what failed: cargo, pytest, go and our own; ctest; Node; panics; compilers.
const WORDS: [&str; 6] = ["FAIL", "***", "not ok ", "\u{2716}", "panicked at", "error: "];

/// How many such lines are told again for a suite, and how many characters of each.
const TOLD: usize = 12;
const WIDE: usize = 600;

/// Runs suites one by one and remembers what is built.
pub(crate) struct Runner<'a> {
    workspace: &'a Workspace,
    profile: Profile,
    bar: ProgressBar,
    built: HashMap<Lang, bool>,
    failed: Vec<Failed>,
}

/// A suite that failed, and what its log says of it: told once more at the end, where it is looked for.
struct Failed {
    suite: &'static str,
    lines: Vec<String>,
}

impl Failed {
    fn new(suite: &'static str) -> Failed {
        Failed { suite, lines: Vec::new() }
    }
}

impl<'a> Runner<'a> {
    pub(super) fn new(workspace: &'a Workspace, profile: Profile, suites: usize) -> Runner<'a> {
        let bar = ProgressBar::new(suites as u64);
        if let Ok(style) = ProgressStyle::with_template("{spinner} {pos}/{len} {elapsed} {prefix} {wide_msg}") {
            bar.set_style(style);
        }
        Runner { workspace, profile, bar, built: HashMap::new(), failed: Vec::new() }
    }

    /// Runs one suite and prints its line. What is missing on this machine fails in `strict` runs and is skipped
    /// elsewhere, with what to install.
    pub(super) fn suite(&mut self, suite: Suite, strict: bool) -> Result<Counts> {
        let start = Instant::now();
        self.bar.set_prefix(suite.name);
        let counts = match suite.missing() {
            missing if !missing.is_empty() => {
                self.say(&format!("SKIP  {:20} {}", suite.name, missing.join("; ")));
                if strict {
                    self.failed.push(Failed::new(suite.name));
                    Counts { failed: 1, ..Counts::default() }
                } else {
                    Counts { skipped: 1, ..Counts::default() }
                }
            }
            _ => self.run(suite, start)?,
        };
        self.bar.inc(1);
        Ok(counts)
    }

    fn run(&mut self, suite: Suite, start: Instant) -> Result<Counts> {
        for lang in &suite.needs {
            if !self.build(*lang)? {
                self.say(&format!("FAIL  {:20} the build of {} failed", suite.name, lang.name()));
                self.failed.push(self.failure(suite.name, &self.log_path(&format!("build-{}", lang.name())))?);
                return Ok(Counts { failed: 1, ..Counts::default() });
            }
        }
        let log = self.log(suite.name)?;
        let mut counts = Counts::default();
        for mut step in (suite.steps)(self.workspace)? {
            let (output, success) = self.command(&mut step.command, &log)?;
            counts += step.counter.count(&output, success);
            counts.skipped += step.left_out;
            if step.counter == Counter::Build && !success {
                break;
            }
        }
        let verdict = if counts.failed == 0 { "ok" } else { "FAIL" };
        let mut line = format!("{verdict:5} {:20} {:5} passed", suite.name, counts.passed);
        for (number, what) in [(counts.failed, "failed"), (counts.skipped, "skipped")] {
            if number > 0 {
                line += &format!(", {number} {what}");
            }
        }
        self.say(&format!("{line:50} {:6.1} s", start.elapsed().as_secs_f64()));
        if counts.failed > 0 {
            self.failed.push(self.failure(suite.name, &log)?);
            self.show_tail(&log)?;
        }
        Ok(counts)
    }

    /// Builds a language once; false when that failed.
    pub(crate) fn build(&mut self, lang: Lang) -> Result<bool> {
        if let Some(built) = self.built.get(&lang) {
            return Ok(*built);
        }
        let mut built = true;
        for before in lang.after() {
            built &= self.build(*before)?;
        }
        if built {
            let start = Instant::now();
            let name = format!("build-{}", lang.name());
            let log = self.log(&name)?;
            for mut command in lang.build(self.workspace, self.profile)? {
                built = self.command(&mut command, &log)?.1;
                if !built {
                    break;
                }
            }
            let verdict = if built { "built" } else { "FAIL" };
            self.say(&format!("{verdict:5} {:43}  {:6.1} s", lang.name(), start.elapsed().as_secs_f64()));
            if !built {
                self.show_tail(&log)?;
            }
        }
        self.built.insert(lang, built);
        Ok(built)
    }

    /// Runs one command; what it printed, and whether it succeeded.
    fn command(&self, command: &mut Command, log: &Path) -> Result<(String, bool)> {
        let start = fs::metadata(log).map_or(0, |file| file.len());
        let shown = process::shown(command);
        let status = process::run_logged(command, log, LIMIT, || {
            self.bar.set_message(last_line(log).unwrap_or_else(|| shown.clone()));
            self.bar.tick();
        });
        let bytes = fs::read(log)?;
        let output = String::from_utf8_lossy(&bytes[usize::try_from(start)?.min(bytes.len())..]).into_owned();
        match status {
            Ok(status) => {
                if !status.success() {
                    self.say(&format!("      {status}: {shown}"));
                }
                Ok((output, status.success()))
            }
            Err(error) => {
                self.say(&format!("      {error:#}"));
                Ok((output, false))
            }
        }
    }

    /// The empty log of a suite.
    fn log(&self, name: &str) -> Result<PathBuf> {
        let log = self.log_path(name);
        process::fresh(&log)?;
        Ok(log)
    }

    fn log_path(&self, name: &str) -> PathBuf {
        self.workspace.path(format!("target/xtask/logs/{name}.log"))
    }

    fn failure(&self, suite: &'static str, log: &Path) -> Result<Failed> {
        // A language that is built behind another has no log when that failed.
        let text = if log.exists() { fs::read(log)? } else { Vec::new() };
        Ok(Failed { suite, lines: failures(&String::from_utf8_lossy(&text)) })
    }

    fn show_tail(&self, log: &Path) -> Result<()> {
        let text = String::from_utf8_lossy(&fs::read(log)?).into_owned();
        let lines: Vec<&str> = text.lines().collect();
        let tail = &lines[lines.len().saturating_sub(TAIL)..];
        self.say(&format!("----- the end of {}", log.display()));
        self.say(&tail.join("\n"));
        self.say("-----");
        Ok(())
    }

    /// Prints a line above the live one.
    fn say(&self, line: &str) {
        self.bar.suspend(|| println!("{line}"));
    }

    /// Ends the live line and names what failed.
    pub(super) fn finish(self) {
        self.bar.finish_and_clear();
        for Failed { suite, lines } in &self.failed {
            println!("failed: {suite}");
            for line in lines {
                println!("    {line}");
            }
        }
    }
}

/// The lines by which test runners name what failed, as many as are told again.
fn failures(log: &str) -> Vec<String> {
    let failed = |line: &&str| WORDS.iter().any(|word| line.contains(word));
    log.lines().filter(failed).take(TOLD).map(|line| line.trim().chars().take(WIDE).collect()).collect()
}

/// The last line of a log that says something.
fn last_line(log: &Path) -> Option<String> {
    use std::io::{Read, Seek, SeekFrom};
    let mut file = fs::File::open(log).ok()?;
    let length = file.metadata().ok()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(2048))).ok()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let line = text.lines().rev().find(|line| !line.trim().is_empty())?;
    Some(line.chars().filter(|c| !c.is_control()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_is_found_in_a_log_of_any_runner() {
        let log = "test a ... ok\ntest b ... FAILED\n  ok 1 - c\n  not ok 2 - d\n--- FAIL: TestE (0.1s)\nFAIL  go: f\n";
        assert_eq!(failures(log), ["test b ... FAILED", "not ok 2 - d", "--- FAIL: TestE (0.1s)", "FAIL  go: f"]);
        let log =
            "1/2 Test #1: a ... Passed\n2/2 Test #2: b ...***Failed\n\u{2716} c\nthread 'd' panicked at e\nerror: f\n";
        assert_eq!(
            failures(log),
            ["2/2 Test #2: b ...***Failed", "\u{2716} c", "thread 'd' panicked at e", "error: f"]
        );
        assert_eq!(failures(&"FAIL  x\n".repeat(100)).len(), TOLD);
    }
}
