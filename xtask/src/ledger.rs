//! Ledgers: what long runs found, one run a line, in a file that is committed.

use anyhow::{Context, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::workspace::Workspace;

/// The commit that is checked out, and its date.
pub(crate) fn commit(workspace: &Workspace) -> Result<(String, String)> {
    let git = |arguments: &[&str]| -> Result<String> {
        let output = workspace.command("git").args(arguments).output().context("starting git")?;
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    };
    Ok((git(&["rev-parse", "--short=10", "HEAD"])?, git(&["log", "-1", "--format=%cs"])?))
}

/// Adds runs to a file.
pub(crate) fn append<T: Serialize + DeserializeOwned>(workspace: &Workspace, file: &str, runs: Vec<T>) -> Result<()> {
    let mut ledger: Vec<T> = match workspace.path(file).exists() {
        true => serde_json::from_str(&workspace.read(file)?).with_context(|| file.to_owned())?,
        false => Vec::new(),
    };
    ledger.extend(runs);
    let lines: Result<Vec<String>, _> = ledger.iter().map(serde_json::to_string).collect();
    let text = format!("[\n  {}\n]\n", lines?.join(",\n  "));
    std::fs::write(workspace.path(file), text).with_context(|| file.to_owned())
}
