//! `test`: every check and test of every language, one after the other, and one closing line.

mod about;
mod count;
mod list;
pub(crate) mod portable;
mod run;
pub(crate) mod sanitized;

use anyhow::{Result, bail, ensure};
use clap::Args;
use count::{Counter, Counts};
pub(crate) use list::TOOLS;

use crate::lang::{Lang, Profile};
use crate::process;
use crate::workspace::{Workspace, in_ci};

/// What to run.
#[derive(Args)]
pub(crate) struct Options {
    /// Run the long forms too: ignored tests, the demo over every file, core on other platforms and with sanitizers
    #[arg(long)]
    full: bool,
    /// Run only these suites: a name such as `go-race`, or the first word of several such as `go`
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Say what the suites are and stop
    #[arg(long)]
    list: bool,
}

/// A named set of commands whose tests are counted together.
struct Suite {
    name: &'static str,
    /// The languages that have to be built before.
    needs: Vec<Lang>,
    /// Programs besides the toolchains, each with what to install.
    tools: Vec<(&'static str, &'static str)>,
    /// What else is missing here.
    lacking: Option<fn() -> Option<String>>,
    steps: Steps,
}

impl Suite {
    fn with(mut self, tool: (&'static str, &'static str)) -> Suite {
        self.tools.push(tool);
        self
    }

    fn lacking(mut self, lacking: fn() -> Option<String>) -> Suite {
        self.lacking = Some(lacking);
        self
    }

    /// What it needs that is not here.
    fn missing(&self) -> Vec<String> {
        let mut missing: Vec<String> = self.needs.iter().flat_map(|lang| lang.missing()).collect();
        for (program, install) in &self.tools {
            if process::find(program).is_none() {
                missing.push(format!("{program} is missing: {install}"));
            }
        }
        missing.extend(self.lacking.and_then(|lacking| lacking()));
        missing.dedup();
        missing
    }
}

/// Makes the commands of a suite; called once what it needs is built.
type Steps = Box<dyn FnOnce(&Workspace) -> Result<Vec<Step>>>;

/// One command of a suite and how its tests are counted.
struct Step {
    command: std::process::Command,
    counter: Counter,
    /// How many tests it does not run although they are there.
    left_out: usize,
}

/// Runs the suites; true when nothing failed.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<bool> {
    let mut suites = list::all(options.full);
    if options.list {
        for suite in &suites {
            println!("{:16} {}", suite.name, about::about(suite.name));
        }
        return Ok(true);
    }
    for wanted in &options.only {
        if !suites.iter().any(|suite| chosen(suite.name, wanted)) {
            let names: Vec<_> = suites.iter().map(|suite| suite.name).collect();
            bail!("no suite is called {wanted}; there are {}", names.join(", "));
        }
    }
    if !options.only.is_empty() {
        suites.retain(|suite| options.only.iter().any(|wanted| chosen(suite.name, wanted)));
    }
    let mut runner = run::Runner::new(workspace, Profile::Dev, suites.len());
    let mut sum = Counts::default();
    for suite in suites {
        sum += runner.suite(suite, in_ci())?;
    }
    runner.finish();
    println!("{} passed, {} failed, {} skipped", sum.passed, sum.failed, sum.skipped);
    Ok(sum.failed == 0)
}

/// Builds languages, showing how far it is; an error names the first that cannot be built.
pub(crate) fn build(workspace: &Workspace, profile: Profile, langs: &[Lang]) -> Result<()> {
    let mut runner = run::Runner::new(workspace, profile, langs.len());
    for lang in langs {
        ensure!(runner.build(*lang)?, "{} cannot be built", lang.name());
    }
    runner.finish();
    Ok(())
}

fn chosen(name: &str, wanted: &str) -> bool {
    name == wanted || name.strip_prefix(wanted).is_some_and(|rest| rest.starts_with('-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suite_is_chosen_by_its_name_or_its_first_word() {
        assert!(chosen("go-race", "go-race") && chosen("go-race", "go") && chosen("hygiene", "hygiene"));
        assert!(!chosen("go-race", "g") && !chosen("go", "go-race"));
    }
}
