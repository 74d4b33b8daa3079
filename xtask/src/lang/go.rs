//! Go: the static C library where cgo looks for it, then plain `go build`.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::{Need, Profile};
use crate::workspace::Workspace;

pub(super) const NEEDS: &[Need] = &[
    Need { programs: &["go"], at_least: Some(("version", (1, 24))), install: "install Go 1.24 or newer" },
    Need { programs: &["cc", "gcc", "clang"], at_least: None, install: "apt-get install gcc" },
];

/// `go` in one of the Go modules of the checkout, linked with the library of a profile.
///
/// The Go cache knows sources and flags and not what is inside an archive: the digest of the library is a flag, so
/// that a rebuilt library is linked anew.
pub(crate) fn go(workspace: &Workspace, profile: Profile, module: &str) -> Result<Command> {
    let library = library(workspace, profile);
    let bytes = std::fs::read(&library).unwrap_or_default();
    let mut command = workspace.command("go");
    command
        .current_dir(workspace.path(module))
        .env("CGO_ENABLED", "1")
        .env("CGO_CFLAGS", format!("-g -O2 -DHOSTLANE_LIBRARY_{}", crate::hash::sha256(&bytes)));
    Ok(command)
}

fn library(workspace: &Workspace, profile: Profile) -> PathBuf {
    workspace.path("target").join(profile.folder()).join("libhostlane.a")
}

pub(super) fn build(workspace: &Workspace, profile: Profile) -> Result<Vec<Command>> {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    let folder = workspace.path(format!("go/internal/capi/lib/{}_{arch}", std::env::consts::OS));
    let mut copy = workspace.command("sh");
    copy.args(["-c", "mkdir -p \"$2\" && cp \"$1\" \"$2/libhostlane.a\"", "sh"]);
    copy.arg(library(workspace, profile)).arg(folder);
    let mut commands = vec![copy];
    for (module, package, name) in [
        ("examples/go", "./echo", "echo"),
        ("examples/go", "./request", "request"),
        ("examples/go", "./stream", "stream"),
        ("examples/go", "./link", "link"),
        ("tests/agents/go", ".", "agent"),
        ("tests/conformance/agents/go", ".", "conformance-agent"),
    ] {
        let mut build = go(workspace, profile, module)?;
        build.arg("build").arg("-o").arg(program(workspace, profile, name)).arg(package);
        commands.push(build);
    }
    Ok(commands)
}

fn program(workspace: &Workspace, profile: Profile, name: &str) -> PathBuf {
    workspace.path("target/go").join(profile.folder()).join(name)
}

pub(super) fn example(workspace: &Workspace, profile: Profile, name: &str) -> Command {
    workspace.command(program(workspace, profile, name))
}

pub(super) fn agent(workspace: &Workspace, profile: Profile) -> Command {
    workspace.command(program(workspace, profile, "agent"))
}
