//! `check`: `hostlane check` against the servers and the clients of every language, and against the oracle. The same
//! verdicts have to come from all of them. See docs/check.md.

mod peer;
mod table;

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use crate::lang::{self, Lang, Profile};
use crate::process::{Guarded, fresh, shown};
use crate::server::{Sockets, gist};
use crate::suites;
use crate::workspace::Workspace;
use peer::{Peer, Side};
use table::{Row, Table};

/// What to check.
#[derive(Args)]
pub(crate) struct Options {
    /// Only this peer: cli, oracle, python-aio, or a language; repeatable
    #[arg(long, value_name = "PEER")]
    only: Vec<String>,
    /// Only the cases whose names start with NAME; repeatable
    #[arg(long, value_name = "NAME")]
    case: Vec<String>,
    /// Trust that everything is built
    #[arg(long, hide = true)]
    no_build: bool,
}

/// How many runs there are at a time. They wait more than they work.
const RUNS: usize = 4;

/// How long a server may take until it can be connected to.
const START: Duration = Duration::from_secs(30);

/// The longest run there may be.
const RUN: Duration = Duration::from_secs(150);

/// Deadlines of cases are this much longer than a single run has, because others run beside it.
const SLOW: &str = "4";

/// Checks every peer in both roles; true when no case failed.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<bool> {
    let mut peers = Peer::all();
    for name in &options.only {
        ensure!(peers.iter().any(|peer| peer.name == name), "no peer is called {name}");
    }
    peers.retain(|peer| options.only.is_empty() || options.only.iter().any(|name| name == peer.name));
    let missing = lang::keep_buildable(&mut peers, |peer| peer.name, |peer| peer.lang.missing())?;
    if !options.no_build {
        let mut langs = vec![Lang::Rust];
        peers.iter().map(|peer| peer.lang).for_each(|lang| {
            if !langs.contains(&lang) {
                langs.push(lang);
            }
        });
        suites::build(workspace, Profile::Dev, &langs)?;
    }
    let sockets = Sockets::new()?;
    let mut sides: Vec<_> = peers.iter().flat_map(|peer| peer.sides.iter().map(move |side| (peer, side))).collect();
    // What starts a program for each case takes longest, and starts first.
    sides.sort_by_key(|(_, side)| matches!(side, Side::Server { .. }));
    let bar = ProgressBar::new(sides.len() as u64);
    bar.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed}")?);
    let (next, table) = (AtomicUsize::new(0), Mutex::new(Table::default()));
    std::thread::scope(|scope| {
        for _ in 0..RUNS {
            scope.spawn(|| {
                while let Some((peer, side)) = sides.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let name = format!("{}-{}", peer.name, side.name());
                    let stage = Stage { workspace, place: sockets.path(&name), name, cases: &options.case };
                    let rows = stage.play(peer, side);
                    if let Ok(mut table) = table.lock() {
                        table.add(peer.name, rows);
                    }
                    bar.inc(1);
                }
            });
        }
    });
    bar.finish_and_clear();
    let mut table = table.into_inner().map_err(|_| anyhow::anyhow!("a run panicked"))?;
    table.forgive(&workspace.read("tests/check/known.txt")?)?;
    Ok(table.print(&peers.iter().map(|peer| peer.name).collect::<Vec<_>>(), missing))
}

/// One run of `hostlane check`.
struct Stage<'a> {
    workspace: &'a Workspace,
    name: String,
    place: PathBuf,
    cases: &'a [String],
}

impl Stage<'_> {
    fn play(&self, peer: &Peer, side: &Side) -> Result<Vec<Row>> {
        let mut check = self.workspace.command(self.workspace.path("target/debug/hostlane"));
        check.args(["--format", "json", "check", "--slow", SLOW]).arg(&self.place);
        let cases = side.cases(self.cases);
        if cases.as_ref().is_some_and(Vec::is_empty) {
            return Ok(Vec::new());
        }
        check.args(cases.into_iter().flatten().flat_map(|name| ["--case".to_owned(), name]));
        let secret = side.proves().then(|| self.secret()).transpose()?;
        if let Some(secret) = &secret {
            check.arg("--secret-file").arg(secret);
        }
        let server = match side {
            Side::Server { without, .. } => {
                check.args(without.iter().flat_map(|ability| ["--without", ability]));
                let (command, first_words) = peer.server(self.workspace, side, &self.place)?;
                Some(self.serve(command, first_words.as_deref())?)
            }
            Side::Client { level, .. } => {
                check.args(level.iter().flat_map(|level| ["--level", level]));
                let client = peer.client(self.workspace, secret.as_deref())?;
                check.arg("--listen").arg("--").arg(client.get_program()).args(client.get_args());
                check.envs(client.get_envs().filter_map(|(name, value)| Some((name, value?))));
                None
            }
        };
        if let Side::Server { level: Some(level), .. } = side {
            check.args(["--level", level]);
        }
        let rows = self.rows(check);
        drop(server);
        rows
    }

    /// A file with the secret of a server, which nobody else may read.
    fn secret(&self) -> Result<PathBuf> {
        use std::os::unix::fs::OpenOptionsExt as _;
        let path = self.place.with_extension("secret");
        let mut file = std::fs::File::options().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(peer::SECRET.as_bytes())?;
        Ok(path)
    }

    fn log(&self, what: &str) -> PathBuf {
        self.workspace.path(format!("target/xtask/logs/check-{}-{what}.log", self.name))
    }

    /// A server, once it can be connected to.
    fn serve(&self, mut command: std::process::Command, first_words: Option<&str>) -> Result<Guarded> {
        let log = self.log("server");
        command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(fresh(&log)?);
        let mut server = Guarded(command.spawn().with_context(|| format!("starting {}", shown(&command)))?);
        if let Some(words) = first_words {
            let stdin = server.0.stdin.as_mut().context("the server has no stdin")?;
            writeln!(stdin, "{words}")?;
        }
        let end = Instant::now() + START;
        while UnixStream::connect(&self.place).is_err() {
            if let Some(status) = server.0.try_wait()? {
                let why = std::fs::read_to_string(&log).unwrap_or_default();
                bail!("{} ended with {status}: {}", shown(&command), gist(&why));
            }
            ensure!(Instant::now() < end, "{} does not listen after {} s", shown(&command), START.as_secs());
            std::thread::sleep(Duration::from_millis(10));
        }
        Ok(server)
    }

    fn rows(&self, mut check: std::process::Command) -> Result<Vec<Row>> {
        let out = self.log("rows");
        check.stdout(fresh(&out)?).stderr(fresh(&self.log("check"))?);
        let mut running = Guarded(check.spawn().with_context(|| format!("starting {}", shown(&check)))?);
        let end = Instant::now() + RUN;
        let status = loop {
            if let Some(status) = running.0.try_wait()? {
                break status;
            }
            ensure!(Instant::now() < end, "not over after {} s: {}", RUN.as_secs(), shown(&check));
            std::thread::sleep(Duration::from_millis(20));
        };
        let rows = read(&out)?;
        let failed = rows.iter().any(Row::is_wrong);
        ensure!(status.code() == Some(if failed { 65 } else { 0 }), "{} ended with {status}", shown(&check));
        Ok(rows)
    }
}

fn read(file: &Path) -> Result<Vec<Row>> {
    let mut text = String::new();
    std::fs::File::open(file)?.read_to_string(&mut text)?;
    text.lines().map(|line| serde_json::from_str(line).with_context(|| line.to_owned())).collect()
}
