//! Child processes: found, logged, timed and never left behind.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use rustix::process::{Pid, Signal, kill_process};

/// Where `program` is, if it can be started by that name.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH")?;
    std::env::split_paths(&paths).map(|folder| folder.join(program)).find(|path| path.is_file())
}

/// The first line that `program` prints of its version, from either stream.
pub(crate) fn version(program: &str, argument: &str) -> Option<String> {
    let output = Command::new(program).arg(argument).output().ok()?;
    let text = if output.stdout.is_empty() { output.stderr } else { output.stdout };
    let text = String::from_utf8_lossy(&text);
    text.lines().next().map(str::to_owned)
}

/// The first `major.minor` in a version line.
pub(crate) fn major_minor(line: &str) -> Option<(u32, u32)> {
    let numbers = line.split(|c: char| !c.is_ascii_digit() && c != '.');
    numbers.filter(|word| word.contains('.')).find_map(|word| {
        let mut parts = word.split('.');
        Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
    })
}

/// What a command looks like when typed.
pub(crate) fn shown(command: &Command) -> String {
    let mut words = Vec::new();
    for (key, value) in command.get_envs() {
        if let Some(value) = value {
            words.push(format!("{}={}", key.to_string_lossy(), value.to_string_lossy()));
        }
    }
    words.push(command.get_program().to_string_lossy().into_owned());
    words.extend(command.get_args().map(|word| word.to_string_lossy().into_owned()));
    words.join(" ")
}

/// Runs a command to its end with both streams appended to `log`, calling `tick` several times a second.
/// A command that is not over by `limit` is ended together with all it started.
pub(crate) fn run_logged(
    command: &mut Command,
    log: &Path,
    limit: Duration,
    mut tick: impl FnMut(),
) -> Result<ExitStatus> {
    let file = append(log)?;
    command.stdout(file.try_clone()?).stderr(file);
    let mut child = command.spawn().with_context(|| format!("starting {}", shown(command)))?;
    let pid = child.id();
    let end = Instant::now() + limit;
    let (done, wait) = channel();
    std::thread::scope(|scope| {
        scope.spawn(move || done.send(child.wait()));
        loop {
            match wait.recv_timeout(Duration::from_millis(150)) {
                Ok(status) => return Ok(status?),
                Err(RecvTimeoutError::Timeout) if Instant::now() >= end => {
                    kill_tree(pid);
                    wait.recv()??;
                    bail!("not over after {} s: {}", limit.as_secs(), shown(command));
                }
                Err(RecvTimeoutError::Timeout) => tick(),
                Err(RecvTimeoutError::Disconnected) => bail!("the waiting thread is gone"),
            }
        }
    })
}

/// Opens a log for appending, folders and all.
pub(crate) fn append(log: &Path) -> Result<File> {
    if let Some(folder) = log.parent() {
        std::fs::create_dir_all(folder)?;
    }
    OpenOptions::new().create(true).append(true).open(log).with_context(|| format!("opening {}", log.display()))
}

/// Opens a log that holds nothing yet, folders and all.
pub(crate) fn fresh(log: &Path) -> Result<File> {
    let file = append(log)?;
    file.set_len(0)?;
    Ok(file)
}

/// A process and everything below it, by process id.
pub(crate) fn tree(pid: u32) -> Vec<u32> {
    let below = children(pid).into_iter().flat_map(tree);
    std::iter::once(pid).chain(below).collect()
}

/// Kills a process and everything below it, by process id.
fn kill_tree(pid: u32) {
    for child in children(pid) {
        kill_tree(child);
    }
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        // It may be over already, which is what was wanted.
        let _ = kill_process(pid, Signal::KILL);
    }
}

fn children(pid: u32) -> Vec<u32> {
    let Ok(threads) = std::fs::read_dir(format!("/proc/{pid}/task")) else {
        return Vec::new();
    };
    let lists =
        threads.flatten().map(|thread| std::fs::read_to_string(thread.path().join("children")).unwrap_or_default());
    lists.flat_map(|list| list.split_whitespace().flat_map(str::parse).collect::<Vec<_>>()).collect()
}

/// The lines of a child as they come, read to their end whether or not anybody listens: a child that prints must not be
/// stopped by a full pipe.
pub(crate) fn lines(stdout: ChildStdout) -> Receiver<io::Result<String>> {
    let (sender, lines) = channel();
    std::thread::spawn(move || {
        for line in BufReader::new(stdout).lines() {
            let _ = sender.send(line);
        }
    });
    lines
}

/// A child that is killed and reaped when this value goes away.
pub(crate) struct Guarded(pub(crate) Child);

impl Drop for Guarded {
    fn drop(&mut self) {
        if matches!(self.0.try_wait(), Ok(Some(_))) {
            // Over already: its id may belong to somebody else by now.
            return;
        }
        kill_tree(self.0.id());
        // The status of a killed server says nothing.
        let _ = self.0.wait();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_from_what_tools_print() {
        for (line, expected) in [
            ("go version go1.26.8 linux/amd64", Some((1, 26))),
            ("Python 3.11.7", Some((3, 11))),
            ("v20.20.2", Some((20, 20))),
            ("cmake version 3.25.1", Some((3, 25))),
            ("no number", None),
        ] {
            assert_eq!(major_minor(line), expected, "{line}");
        }
    }

    #[test]
    fn output_of_both_streams_is_logged_and_the_status_told() {
        let folder = std::env::temp_dir().join(format!("xtask-log-{}", std::process::id()));
        let log = folder.join("a/b.log");
        let mut command = Command::new("sh");
        command.args(["-c", "echo out; echo err >&2; exit 3"]);
        let status = run_logged(&mut command, &log, Duration::from_secs(20), || ()).unwrap();
        assert_eq!(status.code(), Some(3));
        let text = std::fs::read_to_string(&log).unwrap();
        assert!(text.contains("out\n") && text.contains("err\n"), "{text}");
        std::fs::remove_dir_all(folder).unwrap();
    }

    #[test]
    fn a_command_over_its_limit_ends_with_its_children() {
        let folder = std::env::temp_dir().join(format!("xtask-limit-{}", std::process::id()));
        let log = folder.join("log");
        let mut command = Command::new("sh");
        command.args(["-c", "sleep 600 & echo $!; wait"]);
        let error = run_logged(&mut command, &log, Duration::from_secs(2), || ()).unwrap_err();
        assert!(error.to_string().contains("not over"), "{error}");
        let pid = std::fs::read_to_string(&log).unwrap();
        assert!(pid.trim().parse::<u32>().is_ok(), "{pid:?}");
        // Gone, or dead and waiting for init to collect it; the kernel takes its time over either.
        let dead = || {
            let state = std::fs::read_to_string(format!("/proc/{}/stat", pid.trim()));
            state.map_or(true, |state| state.contains(") Z "))
        };
        let end = Instant::now() + Duration::from_secs(20);
        while !dead() {
            assert!(Instant::now() < end, "the grandchild lives on");
            std::thread::yield_now();
        }
        std::fs::remove_dir_all(folder).unwrap();
    }
}
