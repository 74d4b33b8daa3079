//! A first connection and its first reply, in Rust: a new process each time, from its start to its end.

use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, ensure};

use super::statistics::median;
use crate::lang::{Lang, Profile};
use crate::process::shown;
use crate::server::{Server, Sockets};
use crate::workspace::Workspace;

const COUNT: usize = 200;

/// Nanoseconds, medians of many processes.
pub(super) struct Connect {
    /// Start, connect, one call, end.
    pub(super) whole: f64,
    /// The same program ended by a wrong command line: what of it is not ours.
    pub(super) empty: f64,
}

/// Runs the example program `request` against the example program `echo`.
pub(super) fn measure(workspace: &Workspace, sockets: &Sockets) -> Result<Connect> {
    let address = sockets.path("connect");
    let mut echo = Lang::Rust.example(workspace, Profile::Release, "echo");
    echo.arg(&address);
    let _server = Server::start(echo, &workspace.path("target/xtask/logs/bench-connect.log"))?;
    let mut whole = Vec::new();
    let mut empty = Vec::new();
    for _ in 0..COUNT {
        let mut request = Lang::Rust.example(workspace, Profile::Release, "request");
        let mut nothing = Lang::Rust.example(workspace, Profile::Release, "request");
        request.arg(&address).arg("hello");
        whole.push(timed(&mut request, "hello\n")?);
        empty.push(timed(&mut nothing, "")?);
    }
    Ok(Connect { whole: median(&whole), empty: median(&empty) })
}

/// Nanoseconds of a process that has to print `expected`.
fn timed(command: &mut Command, expected: &str) -> Result<f64> {
    let start = Instant::now();
    let output = command.stdin(Stdio::null()).output().with_context(|| shown(command))?;
    let nanoseconds = start.elapsed().as_nanos() as f64;
    let printed = String::from_utf8_lossy(&output.stdout);
    ensure!(printed == expected, "{} printed {printed:?} and not {expected:?}", shown(command));
    Ok(nanoseconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_prints_something_else_is_no_measurement() {
        let mut command = Command::new("echo");
        command.arg("hello");
        assert!(timed(&mut command, "hello\n").unwrap() > 0.0);
        assert!(timed(&mut command, "bye\n").is_err());
    }
}
