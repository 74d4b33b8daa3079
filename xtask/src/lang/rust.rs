//! Rust: everything that plain cargo builds.

use std::process::Command;

use super::{Need, Profile};
use crate::workspace::Workspace;

pub(super) const NEEDS: &[Need] = &[
    Need { programs: &["cargo"], at_least: Some(("--version", (1, 88))), install: "install Rust with rustup" },
    Need { programs: &["cargo-clippy"], at_least: None, install: "rustup component add clippy" },
    Need { programs: &["rustfmt"], at_least: None, install: "rustup component add rustfmt" },
];

/// The C library, the agent and the examples on a plain core; then, where it is tested, the command line, which switches
/// on features that the others do without.
pub(super) fn build(workspace: &Workspace, profile: Profile) -> Vec<Command> {
    let build = |packages: &[&str]| {
        let mut command = workspace.command("cargo");
        command.args(["build", "--locked"]).args(packages);
        command
    };
    let plain = &["--package=hostlane-c", "--package=hostlane-agent", "--package=hostlane-examples"];
    match profile {
        Profile::Dev => {
            vec![build(plain), build(&["--package=hostlane-conformance-agent"]), build(&["--package=hostlane-cli"])]
        }
        Profile::Release => vec![build(&["--release", plain[0], plain[1], plain[2]])],
    }
}

fn program(workspace: &Workspace, profile: Profile, name: &str) -> Command {
    workspace.command(workspace.path("target").join(profile.folder()).join(name))
}

pub(super) fn example(workspace: &Workspace, profile: Profile, name: &str) -> Command {
    program(workspace, profile, name)
}

pub(super) fn agent(workspace: &Workspace, profile: Profile) -> Command {
    program(workspace, profile, "agent")
}
