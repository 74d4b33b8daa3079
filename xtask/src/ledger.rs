//! Ledgers: what long runs found, one run a line, in a file that is committed.

use anyhow::{Context, Result, ensure};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::workspace::Workspace;

/// The commit that is checked out, and its date. Behind the commit of a tree that has changes, other than in ledgers, stands
/// a `+`.
pub(crate) fn commit(workspace: &Workspace) -> Result<(String, String)> {
    let git = |arguments: &[&str]| -> Result<String> {
        let output = workspace.command("git").args(arguments).output().context("starting git")?;
        ensure!(output.status.success(), "git {}: {}", arguments.join(" "), String::from_utf8_lossy(&output.stderr));
        Ok(String::from_utf8(output.stdout)?.trim().to_owned())
    };
    let changes = git(&["status", "--porcelain", "--", ".", ":(exclude)*ledger.json"])?;
    let mark = if changes.is_empty() { "" } else { "+" };
    Ok((git(&["rev-parse", "--short=10", "HEAD"])? + mark, git(&["log", "-1", "--format=%cs"])?))
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
