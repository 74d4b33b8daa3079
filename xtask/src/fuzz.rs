//! `fuzz`: inputs that cover ever more of core's code, from strangers and from programs. See `fuzz/README.md`.

use std::fs;
use std::num::NonZeroU16;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use clap::Args;
use serde::{Deserialize, Serialize};

use crate::hex::{hex, unhex};
use crate::ledger;
use crate::workspace::Workspace;

/// Coverage counters and traces of comparisons, which is what libFuzzer looks at; all of it is in a stable compiler.
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 --cfg fuzzing";

/// Longest input, in bytes.
const MAX_LEN: u32 = 4096;

/// A file system in memory, where there is one.
const MEMORY: &str = "/dev/shm";

/// A target with threads. How often a branch is taken is chance there: it would take every other input for a new one, and
/// most of its time to keep them.
const THREADED: &str = "calls_of_c";

/// Inputs of a target that are kept in the tree, the shortest ones: a run finds the others again.
const KEPT: usize = 200;

/// What is looked at, and for how long.
#[derive(Args)]
pub(crate) struct Options {
    /// Minutes in all, shared out among the targets
    #[arg(long, value_name = "N", conflicts_with = "seconds")]
    minutes: Option<u64>,
    /// Seconds for each target
    #[arg(long, value_name = "N", default_value_t = 60)]
    seconds: u64,
    /// Processes of a target at once, which share what they find: one that waits for sockets and threads leaves processors idle
    #[arg(long, value_name = "N", default_value = "1")]
    processes: NonZeroU16,
    /// Only this one; repeatable
    #[arg(long, value_name = "NAME")]
    target: Vec<String>,
    /// Add the executions to fuzz/ledger.json
    #[arg(long)]
    record: bool,
    /// Keep what covers something new in fuzz/corpus, and drop what covers nothing of its own
    #[arg(long)]
    keep: bool,
}

/// One run of one target, as the ledger has it.
#[derive(Serialize, Deserialize)]
struct Run {
    date: String,
    commit: String,
    target: String,
    seconds: u64,
    executions: u64,
    crashes: u64,
}

/// Builds the targets and runs them one after the other; true when nothing was found.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<bool> {
    let all = targets(workspace)?;
    let wanted: Vec<&String> = match &options.target[..] {
        [] => all.iter().collect(),
        names => names.iter().collect(),
    };
    for name in &wanted {
        ensure!(all.contains(name), "no fuzz target {name:?}; there are {}", all.join(", "));
    }
    // Of what is built now, whatever is checked out at the end.
    let of = ledger::commit(workspace)?;
    let folder = build(workspace)?;
    let seconds = options.minutes.map_or(options.seconds, |minutes| (minutes * 60 / wanted.len() as u64).max(1));
    let (mut failed, mut runs) = (0, Vec::new());
    for name in wanted {
        let target = Target::new(workspace, &folder, name)?;
        let (executions, found) = target.fuzz(seconds, options.processes.get())?;
        println!("{name:24} {executions:>12} executions in {seconds} s{}", if found { ", and a failure" } else { "" });
        if options.keep && !found {
            println!("{:24} {:>12} inputs kept", "", target.keep()?);
        }
        failed += u64::from(found);
        runs.push(target.run(&of, seconds, executions, found));
    }
    let passed = runs.len() as u64 - failed;
    if options.record {
        ledger::append(workspace, "fuzz/ledger.json", runs)?;
    }
    println!("{passed} passed, {failed} failed");
    Ok(failed == 0)
}

/// The names of the targets: one file each.
fn targets(workspace: &Workspace) -> Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(workspace.path("fuzz/targets")).context("reading fuzz/targets")? {
        let path = entry?.path();
        names.extend(path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

/// Builds them all; the folder with the programs.
fn build(workspace: &Workspace) -> Result<PathBuf> {
    let version = workspace.command("rustc").arg("-vV").output().context("starting rustc")?;
    let version = String::from_utf8(version.stdout)?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: ")).context("rustc does not say its host")?;
    // With a target, build scripts are not instrumented.
    let arguments = ["build", "--release", "--locked", "--manifest-path=fuzz/Cargo.toml", "--target-dir=target/fuzz"];
    let mut command = workspace.command("cargo");
    command.args(arguments).args(["--target", host]).env("RUSTFLAGS", FLAGS);
    ensure!(command.status().context("starting cargo")?.success(), "the fuzz targets do not build");
    Ok(workspace.path("target/fuzz").join(host).join("release"))
}

struct Target<'a> {
    workspace: &'a Workspace,
    name: &'a str,
    program: PathBuf,
    /// Where it works: inputs in `corpus`, and what it finds.
    folder: PathBuf,
}

impl<'a> Target<'a> {
    fn new(workspace: &'a Workspace, programs: &Path, name: &'a str) -> Result<Target<'a>> {
        let folder = workspace.path("target/fuzz/work").join(name);
        let target = Target { workspace, name, program: programs.join(name), folder };
        let inputs = target.folder.join("corpus");
        fs::create_dir_all(&inputs).with_context(|| format!("making {}", inputs.display()))?;
        for list in [target.corpus(), target.regressions()] {
            let Ok(text) = fs::read_to_string(&list) else { continue };
            for line in text.lines().filter(|line| !line.starts_with('#')) {
                let bytes = unhex(line).with_context(|| format!("{}: {line:?} is not hexadecimal", list.display()))?;
                // A name from its content, so that nothing is there twice.
                fs::write(inputs.join(crate::hash::sha256(&bytes)), bytes)?;
            }
        }
        Ok(target)
    }

    /// The committed inputs, one a line.
    fn corpus(&self) -> PathBuf {
        self.workspace.path("fuzz/corpus").join(self.name).with_extension("hex")
    }

    /// What failed once.
    fn regressions(&self) -> PathBuf {
        self.workspace.path("fuzz/regressions").join(self.name).with_extension("hex")
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.current_dir(&self.folder).stdin(Stdio::null());
        command.args(["-timeout=60", "-rss_limit_mb=1024"]);
        // Sockets come and go by the thousand, which costs a file system on a disk more than the calls do.
        if Path::new(MEMORY).is_dir() {
            command.env("TMPDIR", MEMORY);
        }
        command
    }

    /// How often it ran in all processes, and whether one of them found something.
    fn fuzz(&self, seconds: u64, processes: u16) -> Result<(u64, bool)> {
        let mut running = Vec::new();
        for number in 0..processes {
            let log = self.folder.join(format!("{number}.log"));
            let mut command = self.command();
            command.args([
                format!("-max_len={MAX_LEN}"),
                format!("-max_total_time={seconds}"),
                "-print_final_stats=1".into(),
                // Seconds between two looks at what the other processes found: a look reads the whole folder.
                "-reload=30".into(),
                format!("-use_counters={}", u8::from(self.name != THREADED)),
            ]);
            let dictionary = self.workspace.path("fuzz/dictionaries").join(self.name).with_extension("dict");
            if dictionary.is_file() {
                command.arg(format!("-dict={}", dictionary.display()));
            }
            command.arg("corpus").stderr(fs::File::create(&log).with_context(|| log.display().to_string())?);
            running.push((command.spawn(), log));
        }
        // All have ended before one of them is judged.
        let ended: Vec<_> =
            running.into_iter().map(|(child, log)| (child.and_then(|mut child| child.wait()), log)).collect();
        let (mut executions, mut found) = (0, false);
        for (ended, log) in ended {
            let succeeded = ended.with_context(|| format!("running {}", self.program.display()))?.success();
            let said = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
            let executed = said.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
            let executed: u64 = executed.and_then(|number| number.trim().parse().ok()).unwrap_or(0);
            ensure!(executed > 0 || !succeeded, "{} did not run: {said}", self.name);
            if !succeeded {
                eprintln!(
                    "{said}\nthe input is in {}; it belongs into {}",
                    self.folder.display(),
                    self.regressions().display()
                );
            }
            executions += executed;
            found |= !succeeded;
        }
        Ok((executions, found))
    }

    /// Writes a small set of inputs that covers what all of them cover; how many.
    fn keep(&self) -> Result<usize> {
        let fewer = self.folder.join("fewer");
        if fewer.exists() {
            fs::remove_dir_all(&fewer)?;
        }
        fs::create_dir(&fewer)?;
        let output = self.command().args(["-set_cover_merge=1", "-max_len=512", "fewer", "corpus"]).output()?;
        ensure!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut inputs = Vec::new();
        for entry in fs::read_dir(&fewer)? {
            inputs.push(fs::read(entry?.path())?);
        }
        inputs.sort_by(|a, b| (a.len(), a).cmp(&(b.len(), b)));
        inputs.truncate(KEPT);
        let lines: String = inputs.iter().map(|input| hex(input) + "\n").collect();
        fs::write(self.corpus(), lines)?;
        Ok(inputs.len())
    }

    fn run(&self, of: &(String, String), seconds: u64, executions: u64, found: bool) -> Run {
        let (commit, date) = of.clone();
        Run { date, commit, target: self.name.to_owned(), seconds, executions, crashes: found.into() }
    }
}
