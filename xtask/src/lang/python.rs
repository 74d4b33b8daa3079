//! Python: a virtual environment below `target`, and the extension module built into it by maturin.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::{Need, Profile, is_stale, remember};
use crate::workspace::Workspace;

pub(super) const NEEDS: &[Need] = &[
    Need {
        programs: &["python3"],
        at_least: Some(("--version", (3, 11))),
        install: "apt-get install python3 python3-venv",
    },
    Need { programs: &["cargo"], at_least: None, install: "install Rust with rustup" },
];

const REQUIREMENTS: &str = "python/requirements-dev.txt";

/// The interpreter of the virtual environment.
pub(crate) fn python(workspace: &Workspace) -> Command {
    tool(workspace, "python")
}

/// A program of the virtual environment.
pub(super) fn tool(workspace: &Workspace, name: &str) -> Command {
    let mut command = workspace.command(venv(workspace).join("bin").join(name));
    command.env("VIRTUAL_ENV", venv(workspace));
    command
}

fn venv(workspace: &Workspace) -> PathBuf {
    workspace.path("target/venv")
}

/// The commands that make the virtual environment with the development tools; none if it is there.
fn environment(workspace: &Workspace) -> Result<Vec<Command>> {
    let mut commands = Vec::new();
    let there = venv(workspace).join("bin/python").is_file();
    if !there {
        let mut create = workspace.command("python3");
        create.args(["-m", "venv"]).arg(venv(workspace));
        commands.push(create);
    }
    if !there || is_stale(workspace, "venv", &[REQUIREMENTS])? {
        let mut install = python(workspace);
        install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check", "-r", REQUIREMENTS]);
        commands.extend([install, remember(workspace, "venv", &[REQUIREMENTS])?]);
    }
    Ok(commands)
}

/// The environment, then the package in place.
pub(super) fn build(workspace: &Workspace, profile: Profile) -> Result<Vec<Command>> {
    let mut commands = environment(workspace)?;
    let mut develop = tool(workspace, "maturin");
    develop.args(["develop", "--quiet", "--locked"]);
    if profile == Profile::Release {
        develop.arg("--release");
    }
    commands.push(develop);
    Ok(commands)
}

pub(super) fn example(workspace: &Workspace, name: &str) -> Command {
    let mut command = python(workspace);
    command.arg(format!("examples/python/{name}.py"));
    command
}

pub(super) fn agent(workspace: &Workspace) -> Command {
    let mut command = python(workspace);
    command.arg("tests/agents/python/agent.py");
    command
}
