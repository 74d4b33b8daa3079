//! `doctor`: what can be built here, and what to install for the rest.

use anyhow::Result;

use crate::conformance;
use crate::lang::Lang;
use crate::process;
use crate::suites::{TOOLS, portable, sanitized};
use crate::workspace::Workspace;

/// Prints the list; true when nothing is missing but what `test --full` alone needs.
pub(crate) fn run(workspace: &Workspace) -> Result<bool> {
    println!("checkout  {}", workspace.root().display());
    let mut complete = true;
    let show = |name: &str, missing: &[String]| {
        println!("{name:10} {}", if missing.is_empty() { "ready" } else { "cannot be built or run here" });
        for what in missing {
            println!("           {what}");
        }
    };
    let mut tell = |name: &str, missing: &[String]| {
        show(name, missing);
        complete &= missing.is_empty();
    };
    for lang in Lang::ALL {
        tell(lang.name(), &lang.missing());
    }
    for (program, install) in TOOLS {
        let missing = if process::find(program).is_some() { None } else { Some(format!("install it: {install}")) };
        tell(program, &Vec::from_iter(missing));
    }
    tell("libraries", &Vec::from_iter(conformance::lacking()));
    println!("for `cargo xtask test --full`:");
    for (name, missing) in sanitized::lacking().into_iter().chain(portable::lacking()) {
        show(name, &missing);
    }
    Ok(complete)
}
