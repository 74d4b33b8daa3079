//! A first connection and its first reply, in Rust.

use std::process::Stdio;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::lang::{Lang, Profile};
use crate::process::shown;
use crate::server::{Server, Sockets};
use crate::workspace::Workspace;

const COUNT: &str = "200";

#[derive(Deserialize)]
struct Line {
    median_ns: f64,
    count: u64,
}

/// Nanoseconds from nothing to the first reply, median of many new connections to one server.
pub(super) fn measure(workspace: &Workspace, sockets: &Sockets) -> Result<f64> {
    let address = sockets.path("connect");
    let mut echo = Lang::Rust.example(workspace, Profile::Release, "echo");
    echo.arg(&address);
    let _server = Server::start(echo, &workspace.path("target/xtask/logs/bench-connect.log"))?;
    let mut agent = Lang::Rust.agent(workspace, Profile::Release);
    agent.arg("connect").arg(&address).arg(COUNT);
    let output = agent.stdin(Stdio::null()).output().with_context(|| shown(&agent))?;
    ensure!(output.status.success(), "{}: {}", shown(&agent), String::from_utf8_lossy(&output.stderr).trim());
    let line: Line = serde_json::from_slice(&output.stdout).with_context(|| shown(&agent))?;
    ensure!(line.count > 0, "no connection was measured");
    Ok(line.median_ns)
}
