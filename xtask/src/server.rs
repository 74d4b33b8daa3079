//! A server process of the checkout under test, ready to be connected to.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::RecvTimeoutError;
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};

use crate::process::{Guarded, fresh, lines, shown};

/// How long a server may take to say that it is ready.
const START: Duration = Duration::from_secs(30);

/// A running server; it ends with this value.
pub(crate) struct Server {
    process: Guarded,
}

impl Server {
    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.process.0.id()
    }

    /// Starts `command` and waits for its line `ready …`. What it prints to stderr goes to `log`.
    pub(crate) fn start(mut command: Command, log: &Path) -> Result<Server> {
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(fresh(log)?);
        let child = command.spawn().with_context(|| format!("starting {}", shown(&command)))?;
        let mut process = Guarded(child);
        let lines = lines(process.0.stdout.take().context("the server has no stdout")?);
        match lines.recv_timeout(START) {
            Ok(Ok(line)) if line.starts_with("ready ") => Ok(Server { process }),
            Err(RecvTimeoutError::Disconnected) => {
                let why = std::fs::read_to_string(log).unwrap_or_default();
                bail!("{} ended before it was ready: {} ({})", shown(&command), gist(&why), log.display())
            }
            Ok(Ok(line)) => bail!("{} printed {line:?} where `ready ADDR` was due", shown(&command)),
            Ok(Err(error)) => Err(anyhow!(error).context(shown(&command))),
            Err(RecvTimeoutError::Timeout) => bail!("{} is not ready after {} s", shown(&command), START.as_secs()),
        }
    }
}

/// The line of a log that says most: the first that names an error, or else the last.
pub(crate) fn gist(log: &str) -> &str {
    let lines = || log.lines().map(str::trim).filter(|line| !line.is_empty());
    lines().find(|line| line.contains("rror")).or_else(|| lines().next_back()).unwrap_or("it said nothing")
}

/// A folder of its own for the sockets of one run, gone when this value is. Socket paths are short; the checkout may
/// lie too deep for them.
pub(crate) struct Sockets(PathBuf);

impl Sockets {
    pub(crate) fn new() -> Result<Sockets> {
        use std::os::unix::fs::DirBuilderExt;
        let path = std::env::temp_dir().join(format!("xtask-serve-{}", std::process::id()));
        std::fs::DirBuilder::new().mode(0o700).create(&path).with_context(|| format!("creating {}", path.display()))?;
        Ok(Sockets(path))
    }

    /// A socket path that nothing else uses.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Sockets {
    fn drop(&mut self) {
        if let Err(error) = std::fs::remove_dir_all(&self.0) {
            eprintln!("xtask: {}: {error}", self.0.display());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn start(script: &str) -> Result<Server> {
        let log = std::env::temp_dir().join(format!("xtask-server-{}.log", std::process::id()));
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        Server::start(command, &log)
    }

    #[test]
    fn a_server_is_ready_when_it_says_so() {
        assert!(start("echo ready here; exec sleep 600").is_ok());
    }

    #[test]
    fn the_gist_of_a_log_is_its_error() {
        assert_eq!(gist("a.js:1\n  x\nTypeError: y\n  at z\nNode.js\n"), "TypeError: y");
        assert_eq!(gist("started\nstopped\n\n"), "stopped");
        assert_eq!(gist("\n"), "it said nothing");
    }

    #[test]
    fn a_server_that_ends_or_says_something_else_is_an_error() {
        let ended = start("echo because >&2; exit 1").err().unwrap().to_string();
        assert!(ended.contains("ended before it was ready: ") && ended.contains("because"), "{ended}");
        let other = start("echo hello; exec sleep 600").err().unwrap().to_string();
        assert!(other.contains("hello"), "{other}");
    }
}
