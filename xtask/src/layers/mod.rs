//! `check-layers`: who may import whom (docs/architecture.md), read from `cargo metadata` and from the sources.

mod crates;
mod rust;
mod sources;

use anyhow::Result;

use crate::verdict::Verdict;
use crate::workspace::Workspace;

/// A file of the checkout: its path and its text.
struct Source {
    path: String,
    text: String,
}

/// Checks every rule.
pub(crate) fn check(workspace: &Workspace) -> Result<bool> {
    let mut verdict = Verdict::default();
    crates::check(workspace, &mut verdict)?;
    let sources = sources(workspace)?;
    verdict.add("unsafe code only at the edges", rust::unsafe_findings(&sources));
    for rule in sources::RULES {
        verdict.add(rule.name, rule.findings(&sources));
    }
    Ok(verdict.print())
}

const ENDINGS: [&str; 13] =
    [".rs", ".py", ".pyi", ".ts", ".mts", ".cts", ".js", ".mjs", ".cjs", ".go", ".c", ".cpp", ".hpp"];

fn sources(workspace: &Workspace) -> Result<Vec<Source>> {
    let files = workspace.files()?;
    files
        .into_iter()
        .filter(|path| ENDINGS.iter().any(|ending| path.ends_with(ending)))
        .map(|path| Ok(Source { text: workspace.read(&path)?, path }))
        .collect()
}
