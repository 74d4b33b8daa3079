//! The machine and the versions behind the figures. No names of hosts, users or folders.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use super::entry::{Entry, Group};
use crate::r#gen::version;
use crate::process;
use crate::workspace::Workspace;

pub(in crate::bench) fn machine() -> Value {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let memory = read("/proc/meminfo");
    let kibibytes = memory.lines().find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next());
    let gibibytes = kibibytes.and_then(|number| number.parse::<u64>().ok()).map(|kibibytes| kibibytes >> 20);
    json!({
        "processor": crate::bench::report::processor(),
        "cores": std::thread::available_parallelism().map_or(0, usize::from),
        "memory_gib": gibibytes,
        "system": std::env::consts::OS,
        "architecture": std::env::consts::ARCH,
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
    })
}

/// A text without the folders of this machine: those of the checkout, of temporary files and of the user.
pub(super) fn without_folders(workspace: &Workspace, text: &str) -> String {
    let mut folders = vec![workspace.root().to_owned(), std::env::temp_dir()];
    folders.extend(std::env::home_dir());
    folders
        .iter()
        .filter_map(|folder| folder.to_str())
        .filter(|folder| folder.len() > 1)
        .fold(text.to_owned(), |text, folder| text.replace(&format!("{}/", folder.trim_end_matches('/')), ""))
}

/// Versions of hostlane, of the languages, and of what the programs stand on.
pub(super) fn versions(workspace: &Workspace, entries: &[Entry]) -> Result<BTreeMap<String, String>> {
    let mut versions = BTreeMap::from([("hostlane".to_owned(), version::of(workspace)?)]);
    for group in Group::ALL.iter().filter(|group| entries.iter().any(|entry| entry.group == **group)) {
        let (program, argument) = match group {
            Group::Rust => ("rustc", "--version"),
            Group::Python => ("python3", "--version"),
            Group::Node => ("node", "--version"),
            Group::Go => ("go", "version"),
        };
        versions.insert(program.to_owned(), process::version(program, argument).unwrap_or_default());
    }
    for entry in entries {
        if let Some(library) = &entry.library {
            let found = locked(workspace, entry, library).with_context(|| format!("the version of {library}"))?;
            versions.insert(format!("{} {library}", entry.group), found);
        }
    }
    Ok(versions)
}

/// The version that a lock file holds.
fn locked(workspace: &Workspace, entry: &Entry, library: &str) -> Result<String> {
    let found = match entry.group {
        Group::Rust => cargo(&workspace.read("bench/Cargo.lock")?, library)?,
        Group::Python => pip(&workspace.read("bench/python/requirements.txt")?, library),
        Group::Node => npm(&workspace.read("bench/node/package-lock.json")?, library)?,
        Group::Go => go(&workspace.read(format!("bench/go/{}/go.mod", entry.source()?))?, library),
    };
    found.context("no lock file has it")
}

fn cargo(lock: &str, library: &str) -> Result<Option<String>> {
    let lock: toml::Table = toml::from_str(lock)?;
    let packages = lock.get("package").and_then(toml::Value::as_array).context("no packages")?;
    let package = packages.iter().find(|package| package.get("name").and_then(toml::Value::as_str) == Some(library));
    Ok(package.and_then(|package| package.get("version")?.as_str()).map(str::to_owned))
}

fn pip(requirements: &str, library: &str) -> Option<String> {
    let line = requirements.lines().find_map(|line| line.strip_prefix(library)?.strip_prefix("=="))?;
    line.split_whitespace().next().map(str::to_owned)
}

fn npm(lock: &str, library: &str) -> Result<Option<String>> {
    let lock: Value = serde_json::from_str(lock)?;
    Ok(lock["packages"][format!("node_modules/{library}")]["version"].as_str().map(str::to_owned))
}

fn go(module: &str, library: &str) -> Option<String> {
    let required = module.lines().map(|line| line.trim().trim_start_matches("require "));
    required.filter_map(|line| line.split_once(' ')).find(|(name, _)| *name == library).map(|(_, of)| of.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_come_from_lock_files() {
        let lock = "[[package]]\nname = \"a\"\nversion = \"1.2.3\"\n[[package]]\nname = \"ab\"\nversion = \"2.0.0\"\n";
        assert_eq!(cargo(lock, "ab").unwrap().as_deref(), Some("2.0.0"));
        assert_eq!(cargo(lock, "b").unwrap(), None);
        assert_eq!(pip("x==1\nab==2.0 \\\n    --hash=sha256:1\n", "ab").as_deref(), Some("2.0"));
        let lock = r#"{"packages": {"node_modules/a": {"version": "3.1.0"}}}"#;
        assert_eq!(npm(lock, "a").unwrap().as_deref(), Some("3.1.0"));
        let module = "module x\n\nrequire example.net/ab v1.1.0\nrequire (\n\texample.net/a v1.2.0\n)\n";
        assert_eq!(go(module, "example.net/a").as_deref(), Some("v1.2.0"));
        assert_eq!(go(module, "example.net/ab").as_deref(), Some("v1.1.0"));
    }

    #[test]
    fn folders_of_the_machine_are_left_out() {
        let workspace = Workspace::find().unwrap();
        let file = |folder: &std::path::Path| folder.join("a/b").display().to_string();
        let text = format!("{} {} c/d", file(workspace.root()), file(&std::env::temp_dir()));
        assert_eq!(without_folders(&workspace, &text), "a/b a/b c/d");
    }

    #[test]
    fn the_machine_is_told_without_a_name() {
        let machine = machine();
        assert!(machine["cores"].as_u64().unwrap() > 0);
        assert!(machine.get("host").is_none());
    }
}
