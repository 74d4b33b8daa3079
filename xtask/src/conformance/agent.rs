//! The agents: which there are, and one running process that answers one JSON object a line.

use std::io::Write;
use std::path::Path;
use std::process::{ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use crate::lang::{Lang, Profile};
use crate::process::{Guarded, fresh, lines, shown};
use crate::workspace::Workspace;

/// The longest silence of an agent; its own waits end before.
const SILENCE: Duration = Duration::from_secs(60);

/// What the agents in C and C++ build on, as `pkg-config` calls it, and the Debian package.
const LIBRARIES: [(&str, &str); 3] =
    [("jansson", "libjansson-dev"), ("nlohmann_json", "nlohmann-json3-dev"), ("libcrypto", "libssl-dev")];

/// An implementation under test: a language, or one of the two ways of Python.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Agent {
    Rust,
    C,
    Cpp,
    Python,
    PythonAio,
    Node,
    Go,
}

impl Agent {
    /// Every one, in the order in which they are shown.
    pub(crate) const ALL: [Agent; 7] =
        [Agent::Rust, Agent::C, Agent::Cpp, Agent::Python, Agent::PythonAio, Agent::Node, Agent::Go];

    /// Its folder below `tests/conformance/agents`.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Agent::PythonAio => "python-aio",
            other => other.lang().name(),
        }
    }

    pub(crate) fn named(name: &str) -> Option<Agent> {
        Agent::ALL.into_iter().find(|agent| agent.name() == name)
    }

    /// What has to be built.
    pub(crate) fn lang(self) -> Lang {
        match self {
            Agent::Rust => Lang::Rust,
            Agent::C => Lang::C,
            Agent::Cpp => Lang::Cpp,
            Agent::Python | Agent::PythonAio => Lang::Python,
            Agent::Node => Lang::Node,
            Agent::Go => Lang::Go,
        }
    }

    /// What has to be installed first, in words: for the language, and for what the agents in C and C++ build on.
    pub(crate) fn lacks(self) -> Vec<String> {
        let mut lacks = self.lang().missing();
        if matches!(self, Agent::C | Agent::Cpp) {
            lacks.extend(libraries());
        }
        lacks
    }

    /// The program, once its language is built.
    pub(crate) fn command(self, workspace: &Workspace) -> Command {
        self.command_on(workspace, &[])
    }

    /// The same, where the interpreter is Node with these options.
    pub(crate) fn command_on(self, workspace: &Workspace, node: &[&str]) -> Command {
        const PROGRAM: &str = "conformance-agent";
        let script = |file: &str| format!("tests/conformance/agents/{}/{file}", self.name());
        match self {
            Agent::Rust | Agent::C | Agent::Cpp | Agent::Go => self.lang().example(workspace, Profile::Dev, PROGRAM),
            Agent::Python | Agent::PythonAio => {
                let mut command = crate::lang::python(workspace);
                command.arg(script("agent.py"));
                // Both read what is asked with one `asked.py`.
                command.env("PYTHONPATH", workspace.path("tests/conformance/agents/python"));
                command
            }
            Agent::Node => {
                let mut command = workspace.command("node");
                command.args(node).arg(script("agent.mjs"));
                command
            }
        }
    }
}

/// What the agents in C and C++ build on and is not here, in words.
pub(super) fn libraries() -> Vec<String> {
    let mut lacks = Vec::new();
    for (library, package) in LIBRARIES {
        let found = Command::new("pkg-config").args(["--exists", library]).status();
        if !found.is_ok_and(|status| status.success()) {
            lacks.push(format!("{library} is missing: apt-get install pkg-config {package}"));
        }
    }
    lacks
}

/// A running agent; it ends with this value.
pub(crate) struct Running {
    process: Guarded,
    stdin: ChildStdin,
    lines: Receiver<std::io::Result<String>>,
    /// What it can do, as it says itself.
    features: Vec<String>,
}

impl Running {
    /// Starts an agent and has it introduce itself. What it prints to stderr goes to `log`.
    pub(crate) fn start(mut command: Command, log: &Path) -> Result<Running> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(fresh(log)?);
        let child = command.spawn().with_context(|| format!("starting {}", shown(&command)))?;
        let mut process = Guarded(child);
        let stdin = process.0.stdin.take().context("the agent has no stdin")?;
        let stdout = process.0.stdout.take().context("the agent has no stdout")?;
        let mut running = Running { process, stdin, lines: lines(stdout), features: Vec::new() };
        let hello = running.ask(&serde_json::json!({"op": "hello", "end": "client"}))?;
        let features = hello["ok"]["features"].as_array().with_context(|| format!("{hello} is no greeting"))?;
        running.features = features.iter().filter_map(|one| one.as_str().map(str::to_owned)).collect();
        Ok(running)
    }

    pub(super) fn has(&self, feature: &str) -> bool {
        self.features.iter().any(|one| one == feature)
    }

    /// Has an operation run; what came of it.
    pub(crate) fn ask(&mut self, operation: &Value) -> Result<Value> {
        self.post(operation)?;
        self.take()
    }

    /// Has an operation begun, and does not wait for it.
    pub(crate) fn post(&mut self, operation: &Value) -> Result<()> {
        writeln!(self.stdin, "{operation}").context("the agent takes no more operations")?;
        Ok(self.stdin.flush()?)
    }

    /// What came of the operation that was begun.
    pub(crate) fn take(&mut self) -> Result<Value> {
        match self.lines.recv_timeout(SILENCE) {
            Ok(line) => {
                let line = line?;
                serde_json::from_str(&line).with_context(|| format!("the agent said {line:?}"))
            }
            Err(RecvTimeoutError::Timeout) => bail!("no word from the agent for {} s", SILENCE.as_secs()),
            Err(RecvTimeoutError::Disconnected) => bail!("the agent ended"),
        }
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.process.0.id()
    }

    /// Ends the process at once, as a crash would.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.process.0.kill()?;
        self.process.0.wait()?;
        Ok(())
    }
}
