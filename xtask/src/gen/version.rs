//! The version number: written once, in `Cargo.toml`, and copied from there.

use anyhow::{Context, Result};
use serde::Deserialize;

use crate::workspace::Workspace;

#[derive(Deserialize)]
struct Manifest {
    workspace: WorkspaceTable,
}

#[derive(Deserialize)]
struct WorkspaceTable {
    package: Package,
}

#[derive(Deserialize)]
struct Package {
    version: String,
}

/// The version of the workspace.
pub(crate) fn of(workspace: &Workspace) -> Result<String> {
    let manifest: Manifest = toml::from_str(&workspace.read("Cargo.toml")?).context("Cargo.toml")?;
    Ok(manifest.workspace.package.version)
}

/// `text` with the values of the first `count` lines `"version": "…"` replaced.
pub(super) fn in_json(text: &str, count: usize, version: &str) -> String {
    replaced(text, count, "\"version\": \"", version)
}

/// `text` with what follows `before` up to the next `"` replaced, in the first `count` places.
pub(super) fn replaced(text: &str, count: usize, before: &str, version: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    for _ in 0..count {
        let Some(start) = rest.find(before).map(|at| at + before.len()) else {
            break;
        };
        let Some(length) = rest[start..].find('"') else {
            break;
        };
        out += &rest[..start];
        out += version;
        rest = &rest[start + length..];
    }
    out + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_versions_change() {
        let text = r#"{"version": "1", "a": {"version": "2"}, "b": {"version": "3"}}"#;
        assert_eq!(
            in_json(text, 2, "9.9.9"),
            r#"{"version": "9.9.9", "a": {"version": "9.9.9"}, "b": {"version": "3"}}"#
        );
        assert_eq!(in_json("{}", 2, "9"), "{}");
    }
}
