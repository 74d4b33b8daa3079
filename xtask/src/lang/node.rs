//! Node: development packages from the lock file, the TypeScript wrapper and the native addon.

use std::process::Command;

use anyhow::Result;

use super::{Need, Profile, is_stale, remember};
use crate::workspace::Workspace;

pub(super) const NEEDS: &[Need] = &[
    Need { programs: &["node"], at_least: Some(("--version", (20, 19))), install: "install Node.js 20.19 or newer" },
    Need { programs: &["npm"], at_least: None, install: "install npm" },
    Need { programs: &["cargo"], at_least: None, install: "install Rust with rustup" },
];

const LOCK: &[&str] = &["package-lock.json"];

/// `npm run SCRIPT`.
pub(crate) fn script(workspace: &Workspace, name: &str) -> Command {
    let mut command = workspace.command("npm");
    command.args(["run", "--silent", name]);
    command
}

pub(super) fn build(workspace: &Workspace, profile: Profile) -> Result<Vec<Command>> {
    let mut commands = Vec::new();
    if !workspace.path("node_modules").is_dir() || is_stale(workspace, "node_modules", LOCK)? {
        let mut install = workspace.command("npm");
        install.args(["ci", "--no-audit", "--no-fund"]);
        commands.extend([install, remember(workspace, "node_modules", LOCK)?]);
    }
    commands.push(script(workspace, "build:ts"));
    let mut native = script(workspace, "build:native");
    if profile == Profile::Release {
        native.args(["--", "--release"]);
    }
    commands.push(native);
    Ok(commands)
}

fn node(workspace: &Workspace, file: String) -> Command {
    let mut command = workspace.command("node");
    command.arg(file);
    command
}

pub(super) fn example(workspace: &Workspace, name: &str) -> Command {
    node(workspace, format!("examples/node/{name}.mjs"))
}

pub(super) fn agent(workspace: &Workspace) -> Command {
    node(workspace, "tests/agents/node/agent.mjs".into())
}
