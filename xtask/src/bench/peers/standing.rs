//! What connections cost that are open and have nothing to do.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::cpu::Meter;
use super::round::{Line, Sample};
use super::work::{Metric, Work};
use crate::process::{Guarded, lines, shown};

/// Until what the last reply left to be done is over.
const SETTLE: Duration = Duration::from_millis(500);
/// How long nothing happens.
const IDLE: Duration = Duration::from_secs(3);
/// What a client may need to open or to close its connections.
const PATIENCE: Duration = Duration::from_secs(60);

/// Lets this process, and so its children, have as many descriptors as the system gives them.
pub(super) fn raise_limit() -> Result<()> {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    Ok(setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?)
}

/// A client that keeps its connections open until this value goes away.
struct Client {
    process: Guarded,
    lines: Receiver<std::io::Result<String>>,
    shown: String,
}

impl Client {
    /// Starts one and waits for its line, which is its result.
    fn open(mut command: Command, log: &Path) -> Result<(Client, String)> {
        let shown = shown(&command);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(crate::process::append(log)?);
        let mut process = Guarded(command.spawn().with_context(|| shown.clone())?);
        let lines = lines(process.0.stdout.take().context("the client has no stdout")?);
        let client = Client { process, lines, shown };
        match client.lines.recv_timeout(PATIENCE) {
            Ok(line) => Ok((client, line?)),
            Err(RecvTimeoutError::Timeout) => bail!("no line after {} s: {}", PATIENCE.as_secs(), client.shown),
            Err(RecvTimeoutError::Disconnected) => bail!("ended without a line: {}", client.shown),
        }
    }

    /// Tells it to leave, and waits until it has.
    fn close(mut self) -> Result<()> {
        drop(self.process.0.stdin.take());
        let end = self.lines.recv_timeout(PATIENCE);
        ensure!(matches!(end, Err(RecvTimeoutError::Disconnected)), "{}: {end:?} instead of its end", self.shown);
        let status = self.process.0.wait()?;
        ensure!(status.success(), "{}: {status}", self.shown);
        Ok(())
    }
}

/// A round of a work that leaves connections alone: `client` makes the command for a work by its name.
pub(super) fn round(
    work: Work,
    client: impl Fn(&str) -> Result<Command>,
    log: &Path,
    server: u32,
    own: &[u32],
) -> Result<Sample> {
    let meter = Meter::start(own)?;
    // The memory that a server takes for its first client is not that of the others.
    let first = (work.metric == Metric::Memory).then(|| Client::open(client("idle")?, log)).transpose()?;
    let before = memory(server)?;
    let (open, line) = Client::open(client(work.name)?, log)?;
    let connections = Line::read(work, &line)?.count as f64;
    sleep(SETTLE);
    let after = memory(server)?;
    let (value, beside) = if work.metric == Metric::Memory {
        let (wakes, cpu) = watch(&[server])?;
        let each = after.saturating_sub(before) as f64 / connections;
        let (threads, descriptors) = (count(server, "task")?, count(server, "fd")?);
        let held = [("threads", threads as f64), ("descriptors", descriptors as f64)];
        (each, held.into_iter().chain([("wakes_per_s", wakes), ("cpu_us_per_s", cpu)]).collect())
    } else {
        let (wakes, cpu) = watch(&[server, open.process.0.id()])?;
        (wakes, vec![("cpu_us_per_s", cpu), ("server_bytes", after as f64)])
    };
    let foreign = meter.foreign(own)?;
    open.close()?;
    first.map(|(first, _)| first.close()).transpose()?;
    // Counted, and not timed: whoever else uses the processors changes nothing.
    Ok(Sample { value, p99_us: None, beside, foreign, disturbed: false })
}

/// How often in a second processes that have nothing to do wake up, and how many microseconds they compute.
fn watch(processes: &[u32]) -> Result<(f64, f64)> {
    let start = Instant::now();
    let before = Activity::of(processes)?;
    sleep(IDLE);
    let seconds = start.elapsed().as_secs_f64();
    let activity = Activity::of(processes)?.since(&before);
    Ok((activity.switches as f64 / seconds, activity.nanoseconds as f64 / 1000.0 / seconds))
}

/// Bytes of a process that are in memory.
fn memory(id: u32) -> Result<u64> {
    let path = process(id).join("status");
    let status = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    Ok(field(&status, "VmRSS:").context("no VmRSS")? * 1024)
}

/// Entries of a folder of a process.
fn count(id: u32, folder: &str) -> Result<usize> {
    Ok(fs::read_dir(process(id).join(folder))?.count())
}

fn process(id: u32) -> PathBuf {
    PathBuf::from(format!("/proc/{id}"))
}

/// The number behind a name in a status file.
fn field(status: &str, name: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix(name)?.split_whitespace().next()?.parse().ok())
}

/// What threads have done so far.
#[derive(Default, Debug, PartialEq)]
struct Activity {
    /// Times that one went to sleep by itself.
    switches: u64,
    /// Time on a processor.
    nanoseconds: u64,
}

impl Activity {
    /// Of all threads of some processes.
    fn of(processes: &[u32]) -> Result<Activity> {
        let mut sum = Activity::default();
        for id in processes {
            for thread in fs::read_dir(process(*id).join("task"))? {
                let thread = thread?.path();
                let read = |name: &str| fs::read_to_string(thread.join(name));
                let (Ok(status), Ok(times)) = (read("status"), read("schedstat")) else {
                    // It has ended since the folder was listed.
                    continue;
                };
                sum.switches += field(&status, "voluntary_ctxt_switches:").context("no count of switches")?;
                sum.nanoseconds += field(&times, "").context("no time of a thread")?;
            }
        }
        Ok(sum)
    }

    /// What was done between `before` and this. Threads that have ended since take theirs along.
    fn since(&self, before: &Activity) -> Activity {
        Activity {
            switches: self.switches.saturating_sub(before.switches),
            nanoseconds: self.nanoseconds.saturating_sub(before.nanoseconds),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_memory_threads_and_descriptors() {
        let own = std::process::id();
        assert!(memory(own).unwrap() > 100_000);
        assert!(count(own, "task").unwrap() >= 1 && count(own, "fd").unwrap() >= 3);
        // Threads of other tests that end meanwhile take along what they have done: not every time.
        let seen = (0..100).any(|_| {
            let before = Activity::of(&[own]).unwrap();
            sleep(Duration::from_millis(1));
            let activity = Activity::of(&[own]).unwrap().since(&before);
            activity.switches >= 1 && activity.nanoseconds > 0
        });
        assert!(seen, "this thread has slept");
    }

    #[test]
    fn numbers_are_read_by_name() {
        assert_eq!(field("Name:\tx\nVmRSS:\t  12 kB\n", "VmRSS:"), Some(12));
        assert_eq!(field("34 5 6\n", ""), Some(34));
        assert_eq!(field("x\n", "y"), None);
    }

    #[test]
    fn a_client_says_its_line_and_leaves_when_told() {
        let log = std::env::temp_dir().join(format!("xtask-standing-{}.log", std::process::id()));
        let open = |script: &str| {
            let mut command = Command::new("sh");
            command.args(["-c", script]);
            Client::open(command, &log)
        };
        let (client, line) = open("echo result; cat").unwrap();
        assert_eq!(line, "result");
        client.close().unwrap();
        assert!(open("exit 1").is_err());
        let (client, _) = open("echo result; cat; exit 1").unwrap();
        assert!(client.close().is_err());
        fs::remove_file(log).unwrap();
    }
}
