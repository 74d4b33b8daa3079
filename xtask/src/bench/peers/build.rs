//! Builds the programs one by one: one that cannot be built is missing, and the others are measured.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use super::entry::{Entry, Group, python};
use crate::lang::{Profile, go};
use crate::process::{run_logged, shown};
use crate::suites;
use crate::workspace::Workspace;

/// Longer than the slowest of them takes on a slow machine.
const LIMIT: Duration = Duration::from_secs(1800);

const REQUIREMENTS: &str = "bench/python/requirements.txt";

/// What became of each program.
pub(super) struct Builds {
    /// Why it is missing, by language and name.
    missing: BTreeMap<(String, String), String>,
}

impl Builds {
    pub(super) fn make(workspace: &Workspace, entries: &[Entry]) -> Result<Builds> {
        let mut builds = Builds { missing: BTreeMap::new() };
        for group in Group::ALL {
            let of_group: Vec<&Entry> = entries.iter().filter(|entry| entry.group == group).collect();
            if of_group.is_empty() {
                continue;
            }
            let prepared = prepare(workspace, group);
            for entry in of_group {
                println!("building  {group} {}", entry.name);
                let outcome = match &prepared {
                    Ok(()) => build(workspace, entry),
                    Err(error) => Err(anyhow::anyhow!("{error:#}")),
                };
                if let Err(error) = outcome {
                    builds.missing.insert((group.to_string(), entry.name.clone()), format!("{error:#}"));
                }
            }
        }
        Ok(builds)
    }

    pub(super) fn has(&self, entry: &Entry) -> bool {
        !self.missing.contains_key(&(entry.group.to_string(), entry.name.clone()))
    }

    /// One line for each that is missing.
    pub(super) fn missing(&self) -> Vec<String> {
        self.missing.iter().map(|((group, name), why)| format!("{group} {name}: {why}")).collect()
    }
}

/// What all programs of a language need.
fn prepare(workspace: &Workspace, group: Group) -> Result<()> {
    let missing = group.lang().missing();
    if !missing.is_empty() {
        bail!("{}", missing.join("; "));
    }
    match group {
        Group::Rust | Group::Go => Ok(()),
        Group::Python => {
            let interpreter = python(workspace);
            if !interpreter.is_file() {
                let mut create = workspace.command("python3");
                create.args(["-m", "venv", "bench/target/venv"]);
                logged(workspace, "python-environment", create)?;
            }
            let mut install = workspace.command(interpreter);
            install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
            install.args(["--require-hashes", "-r", REQUIREMENTS]);
            logged(workspace, "python-packages", install)
        }
        Group::Node => {
            if is_installed(workspace) {
                return Ok(());
            }
            let mut install = workspace.command("npm");
            install.current_dir(workspace.path("bench/node"));
            install.args(["ci", "--no-audit", "--no-fund"]);
            logged(workspace, "node-packages", install)
        }
    }
}

/// Whether npm has installed what the lock file says: its own copy is written last.
fn is_installed(workspace: &Workspace) -> bool {
    let written = |path: &str| fs::metadata(workspace.path(path)).and_then(|file| file.modified()).ok();
    let lock = written("bench/node/package-lock.json");
    lock.is_some() && written("bench/node/node_modules/.package-lock.json") >= lock
}

fn build(workspace: &Workspace, entry: &Entry) -> Result<()> {
    if entry.lane && entry.group != Group::Rust {
        let mut langs = entry.group.lang().after().to_vec();
        langs.push(entry.group.lang());
        suites::build(workspace, Profile::Release, &langs)?;
    }
    let source = entry.source()?;
    match entry.group {
        Group::Rust => {
            let mut command = workspace.command("cargo");
            command.args([
                "build",
                "--locked",
                "--release",
                "--manifest-path",
                "bench/Cargo.toml",
                "--package",
                source,
            ]);
            // Not where somebody else's variable sends it: the programs are started from here.
            command.arg("--target-dir").arg(workspace.path("bench/target"));
            logged(workspace, &entry.name, command)
        }
        Group::Go => {
            let mut command = go(workspace, Profile::Release, &format!("bench/go/{source}"))?;
            command.arg("build").arg("-o").arg(workspace.path("bench/target/go").join(source)).arg(".");
            logged(workspace, &format!("go-{}", entry.name), command)
        }
        Group::Python | Group::Node => {
            let folder = entry.group.to_string();
            let file = workspace.path("bench").join(folder).join(source);
            file.is_file().then_some(()).with_context(|| format!("{source} is not there"))
        }
    }
}

/// Runs one step; what it says goes to a log of its own, and the line that says most into the error.
fn logged(workspace: &Workspace, name: &str, mut command: Command) -> Result<()> {
    let log = workspace.path(format!("target/xtask/logs/bench-build-{name}.log"));
    crate::process::fresh(&log)?;
    let status = run_logged(&mut command, &log, LIMIT, || ())?;
    if status.success() {
        return Ok(());
    }
    let said = fs::read_to_string(&log).unwrap_or_default();
    bail!("{}: {status}: {}", shown(&command), crate::server::gist(&said))
}
