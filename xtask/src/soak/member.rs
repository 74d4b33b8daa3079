//! A process that takes part: an agent, and how it is asked.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use rustix::process::{Pid, Signal, kill_process};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::conformance::{Agent, Running};
use crate::workspace::Workspace;

/// Node collects its garbage often, so that its memory says what is kept and not how long ago the last collection was.
const NODE: [&str; 3] = ["--expose-gc", "--import", "data:text/javascript,setInterval(gc,500).unref()"];

/// The C library gives memory back when it is free, from one heap, for the same reason. By default it keeps one for each of
/// many threads, and learns to keep what was large once.
const MALLOC: [(&str, &str); 3] =
    [("MALLOC_ARENA_MAX", "1"), ("MALLOC_MMAP_THRESHOLD_", "65536"), ("MALLOC_TRIM_THRESHOLD_", "65536")];

/// A running agent.
pub(super) struct Member {
    pub(super) agent: Agent,
    /// What it is here: a server or a client, and whether it is there to be killed.
    pub(super) role: &'static str,
    pub(super) id: u32,
    running: Mutex<Running>,
    log: PathBuf,
}

/// An operation ended with an error of the library.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) operation: String,
    pub(super) name: String,
}

impl fmt::Display for Failed {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} ended with {}", self.operation, self.name)
    }
}

impl std::error::Error for Failed {}

impl Member {
    /// Starts an agent; what it prints goes to a log of its name and `number`.
    pub(super) fn start(workspace: &Workspace, agent: Agent, role: &'static str, number: usize) -> Result<Member> {
        let log = workspace.path(format!("target/xtask/logs/soak-{}-{role}-{number}.log", agent.name()));
        let mut command = agent.command_on(workspace, &NODE);
        command.envs(MALLOC);
        let running = Running::start(command, &log).with_context(|| format!("the {} {role}", agent.name()))?;
        Ok(Member { agent, role, id: running.id(), running: Mutex::new(running), log })
    }

    fn running(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has an operation begun; nobody else may ask before `take`.
    pub(super) fn post(&self, end: &str, operation: &str, with: Value) -> Result<()> {
        self.running().post(&asked(end, operation, with)).with_context(|| self.broken())
    }

    /// What came of the operation that was begun.
    pub(super) fn take<T: DeserializeOwned>(&self, operation: &str) -> Result<T> {
        let told = self.running().take().with_context(|| self.broken())?;
        self.judged(operation, told)
    }

    /// Has an operation run; an error of the library's is `Failed`.
    pub(super) fn ask<T: DeserializeOwned>(&self, end: &str, operation: &str, with: Value) -> Result<T> {
        let told = self.running().ask(&asked(end, operation, with)).with_context(|| self.broken())?;
        self.judged(operation, told)
    }

    /// What is said of an agent that does not answer.
    pub(super) fn broken(&self) -> String {
        match self.said() {
            Ok(said) if !said.is_empty() => format!("{self}, which printed {said:?}"),
            _ => self.to_string(),
        }
    }

    fn judged<T: DeserializeOwned>(&self, operation: &str, mut told: Value) -> Result<T> {
        if let Some(name) = told["error"]["name"].as_str() {
            return Err(Failed { operation: format!("{self}: {operation}"), name: name.to_owned() }.into());
        }
        serde_json::from_value(told["ok"].take()).with_context(|| format!("{self}: {operation} gave {told}"))
    }

    /// Sends it a signal.
    pub(super) fn signal(&self, signal: Signal) -> Result<()> {
        let pid = i32::try_from(self.id).ok().and_then(Pid::from_raw).context("no process id")?;
        Ok(kill_process(pid, signal)?)
    }

    /// Ends the process at once, as a crash would.
    pub(super) fn kill(&self) -> Result<()> {
        self.running().kill()
    }

    /// What it printed, which should be nothing.
    pub(super) fn said(&self) -> Result<String> {
        std::fs::read_to_string(&self.log).with_context(|| self.log.display().to_string())
    }
}

impl fmt::Display for Member {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} {}", self.agent.name(), self.role)
    }
}

fn asked(end: &str, operation: &str, mut with: Value) -> Value {
    if with.is_null() {
        with = json!({});
    }
    with["op"] = operation.into();
    with["end"] = end.into();
    with
}
