//! Drives one `agent files` process. The agent hands back the bytes it received and is not trusted with the verdict.

use std::io::{BufRead, BufReader, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use super::Sample;
use super::matrix::Cell;
use crate::hash::Hash;
use crate::process::{Guarded, fresh, shown};

/// The longest silence of an agent. Its own deadlines are 5 s for each step.
const SILENCE: Duration = Duration::from_secs(60);

/// What the agent says of one file.
#[derive(Debug, PartialEq)]
enum Record {
    Data(Answer),
    Call(Answer),
    Error(String),
}

#[derive(Debug, PartialEq)]
struct Answer {
    bytes: u64,
    digest: String,
    nanoseconds: u64,
}

/// Sends every sample through `agent`; `done` is called after each.
pub(super) fn run(agent: Command, samples: &[Sample], log: &Path, mut done: impl FnMut()) -> Cell {
    let mut cell = Cell::default();
    let mut left = samples.len();
    let outcome = converse(agent, samples, log, |sample, records| {
        judge(&mut cell, sample, &records);
        left -= 1;
        done();
    });
    if let Err(error) = outcome {
        cell.fail(format!("{error:#}"));
    }
    // What was never answered counts as failed, and the bar still reaches its end.
    for sample in &samples[samples.len() - left..] {
        cell.fail(format!("{}: not answered", sample.path));
        done();
    }
    cell
}

fn converse(
    mut agent: Command,
    samples: &[Sample],
    log: &Path,
    mut answered: impl FnMut(&Sample, Vec<Record>),
) -> Result<()> {
    agent.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(fresh(log)?);
    let child = agent.spawn().with_context(|| format!("starting {}", shown(&agent)))?;
    let mut process = Guarded(child);
    let mut stdin = process.0.stdin.take().context("the agent has no stdin")?;
    let stdout = process.0.stdout.take().context("the agent has no stdout")?;
    let (sender, records) = sync_channel(4);
    std::thread::spawn(move || read(BufReader::new(stdout), &sender));
    for sample in samples {
        writeln!(stdin, "{}", sample.path).context("the agent took no more files")?;
        stdin.flush()?;
        answered(sample, records_of_one_file(&records).with_context(|| sample.path.clone())?);
    }
    drop(stdin);
    match records.recv_timeout(SILENCE) {
        Ok(Ok(record)) => bail!("more than was asked for: {record:?}"),
        Ok(Err(error)) => return Err(error),
        Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {
            bail!("the agent goes on after its last file")
        }
        Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => {}
    }
    let status = process.0.wait()?;
    ensure!(status.success(), "the agent ended with {status}");
    Ok(())
}

/// Data and then call, or what there was before an error.
fn records_of_one_file(records: &Receiver<Result<Record>>) -> Result<Vec<Record>> {
    let mut file = Vec::new();
    loop {
        let record = records.recv_timeout(SILENCE).context("no word from the agent")??;
        let last = !matches!(record, Record::Data(_));
        file.push(record);
        if last {
            return Ok(file);
        }
    }
}

/// Reads records until the agent closes its stdout.
fn read(mut stdout: impl BufRead, records: &SyncSender<Result<Record>>) {
    loop {
        let record = read_record(&mut stdout).transpose();
        let Some(record) = record else { return };
        let broken = record.is_err();
        if records.send(record).is_err() || broken {
            return;
        }
    }
}

/// One record; `None` at the end.
fn read_record(stdout: &mut impl BufRead) -> Result<Option<Record>> {
    let mut line = Vec::new();
    stdout.take(4096).read_until(b'\n', &mut line)?;
    if line.is_empty() {
        return Ok(None);
    }
    let line = String::from_utf8_lossy(&line);
    let line = line.strip_suffix('\n').with_context(|| format!("unfinished line {line:?}"))?;
    let (kind, rest) = line.split_once(' ').with_context(|| format!("unknown line {line:?}"))?;
    if kind == "error" {
        return Ok(Some(Record::Error(rest.to_owned())));
    }
    let numbers = rest.split_once(' ').and_then(|(bytes, time)| Some((bytes.parse().ok()?, time.parse().ok()?)));
    let (bytes, nanoseconds) = numbers.with_context(|| format!("unknown line {line:?}"))?;
    let answer = Answer { bytes, digest: hashed(stdout, bytes)?, nanoseconds };
    Ok(Some(match kind {
        "data" => Record::Data(answer),
        "call" => Record::Call(answer),
        _ => bail!("unknown line {line:?}"),
    }))
}

/// The digest of the next `length` bytes.
fn hashed(stdout: &mut impl BufRead, length: u64) -> Result<String> {
    let mut hash = Hash::default();
    let mut left = length;
    let mut part = vec![0; 64 * 1024];
    while left > 0 {
        let wanted = part.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let count = stdout.read(&mut part[..wanted])?;
        ensure!(count > 0, "the agent ended {left} bytes early");
        hash.update(&part[..count]);
        left -= count as u64;
    }
    Ok(hash.finish())
}

/// Compares what came back with what was sent.
fn judge(cell: &mut Cell, sample: &Sample, records: &[Record]) {
    let right = |answer: &Answer| answer.bytes == sample.bytes && answer.digest == sample.digest;
    match records {
        [Record::Data(data), Record::Call(call)] if right(data) && right(call) => {
            cell.pass(sample.bytes, data.nanoseconds);
        }
        [.., Record::Error(error)] => cell.fail(format!("{}: {error}", sample.path)),
        [Record::Data(_), Record::Call(_)] if sample.changed() => {
            cell.fail(format!("{}: the file was changed while the demo ran", sample.path));
        }
        [Record::Data(data), Record::Call(_)] => {
            let which = if right(data) { "call" } else { "data" };
            cell.fail(format!("{}: the bytes of the {which} differ", sample.path));
        }
        _ => cell.fail(format!("{}: answered out of order", sample.path)),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;

    fn sample(content: &str) -> Sample {
        Sample::new("a file".into(), PathBuf::from("no such file"), content.as_bytes())
    }

    /// An agent that answers each path with the same text.
    fn agent(answer: &str, end: &str) -> Command {
        let mut command = Command::new("sh");
        command.arg("-c").arg(format!("while read -r path; do printf '{answer}'; done; {end}"));
        command
    }

    fn cell(answer: &str, end: &str) -> Cell {
        let log = std::env::temp_dir().join(format!("xtask-client-{}.log", std::process::id()));
        let mut steps = 0;
        let cell = run(agent(answer, end), &[sample("hello"), sample("hello")], &log, || steps += 1);
        assert_eq!(steps, 2);
        cell
    }

    #[test]
    fn a_right_answer_passes() {
        let cell = cell("data 5 70\\nhellocall 5 80\\nhello", "");
        assert_eq!((cell.files(), cell.failures().len(), cell.bytes()), (2, 0, 10));
        assert_eq!(cell.median(), Some(70));
    }

    #[test]
    fn every_wrong_answer_fails() {
        for (answer, end, why) in [
            ("data 5 1\\nhullocall 5 1\\nhello", "", "bytes of the data differ"),
            ("data 5 1\\nhellocall 5 1\\nhullo", "", "bytes of the call differ"),
            ("data 4 1\\nhellcall 5 1\\nhello", "", "bytes of the data differ"),
            ("error timeout too late\\n", "", "timeout too late"),
            ("data 5 1\\nhelloerror closed x\\n", "", "closed x"),
            ("call 5 1\\nhello", "", "out of order"),
            ("nonsense\\n", "", "unknown line"),
            ("data x y\\n", "", "unknown line"),
            ("data 5 1\\nhellocall 5 1\\nhello", "exit 3", "ended with"),
            ("data 5 1\\nhellocall 5 1\\nhello", "echo call 0 0", "more than was asked for"),
            ("data 5 1\\nhe", "", "early"),
        ] {
            // The answers that never come must end the agent, not the patience of this test.
            let end = if why == "early" { "exit" } else { end };
            let answer = if why == "early" { format!("{answer}'; exit; printf '") } else { answer.into() };
            let cell = cell(&answer, end);
            assert!(cell.failures().iter().any(|failure| failure.contains(why)), "{why}: {:?}", cell.failures());
        }
    }

    #[test]
    fn a_file_that_somebody_edits_is_not_blamed_on_the_wire() {
        let path = std::env::temp_dir().join(format!("xtask-edited-{}", std::process::id()));
        std::fs::write(&path, "new").unwrap();
        let sample = Sample::new("a file".into(), path.clone(), b"old");
        let log = std::env::temp_dir().join(format!("xtask-client-{}.log", std::process::id()));
        let cell = run(agent("data 3 1\\nnewcall 3 1\\nnew", ""), &[sample], &log, || ());
        assert_eq!(cell.failures(), ["a file: the file was changed while the demo ran"]);
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn an_agent_that_cannot_start_fails_every_file() {
        let log = std::env::temp_dir().join(format!("xtask-client-{}.log", std::process::id()));
        let cell = run(Command::new("no-such-agent"), &[sample("x")], &log, || ());
        assert_eq!(cell.files(), 0);
        assert!(cell.failures()[0].contains("no-such-agent"));
    }
}
