//! `demo`: every file of the checkout, from a client in every language through an echo server in every language and
//! back, judged by SHA-256.

mod client;
mod matrix;

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use crate::hash::sha256;
use crate::lang::{self, Lang, Profile};
use crate::server::{Server, Sockets};
use crate::suites;
use crate::workspace::Workspace;
use matrix::{Cell, Matrix};

/// What to send.
#[derive(Args)]
pub(crate) struct Options {
    /// Send only about this many files, spread over all sizes
    #[arg(long, value_name = "N")]
    files: Option<usize>,
    /// Try only this language with itself, and with the others named
    #[arg(long, value_name = "LANGUAGE")]
    only: Vec<String>,
    /// Trust that everything is built
    #[arg(long, hide = true)]
    no_build: bool,
}

/// A file to send and what has to come back.
pub(crate) struct Sample {
    /// As the agents are told it.
    path: String,
    file: PathBuf,
    bytes: u64,
    digest: String,
}

impl Sample {
    fn new(path: String, file: PathBuf, content: &[u8]) -> Sample {
        Sample { path, file, bytes: content.len() as u64, digest: sha256(content) }
    }

    /// Whether the file holds something else by now.
    fn changed(&self) -> bool {
        fs::read(&self.file).is_ok_and(|content| sha256(&content) != self.digest)
    }
}

/// Runs the matrix; true when every cell is right.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<bool> {
    let wanted = Lang::chosen(&options.only)?;
    let langs = ready(workspace, &wanted, options.no_build)?;
    let samples = samples(workspace, options.files)?;
    let sockets = Sockets::new()?;
    let bar = ProgressBar::new((langs.len() * langs.len() * samples.len()) as u64);
    bar.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed} {msg}")?);
    let mut matrix = Matrix::default();
    for &server in &langs {
        let address = sockets.path(&format!("{}.sock", server.name()));
        let log = workspace.path(format!("target/xtask/logs/demo-server-{}.log", server.name()));
        let mut command = server.example(workspace, Profile::Dev, "echo");
        command.arg(&address);
        let running = Server::start(command, &log);
        for &client in &langs {
            bar.set_message(format!("{} -> {}", client.name(), server.name()));
            let cell = match &running {
                Err(error) => Cell::broken(format!("{error:#}")),
                Ok(_) => {
                    let mut agent = client.agent(workspace, Profile::Dev);
                    agent.arg("files").arg(&address);
                    let name = format!("demo-{}-to-{}.log", client.name(), server.name());
                    let log = workspace.path("target/xtask/logs").join(name);
                    client::run(agent, &samples, &log, || bar.inc(1))
                }
            };
            matrix.add(client, server, cell);
        }
    }
    bar.finish_and_clear();
    println!("{}", matrix.shown(&samples));
    let right = matrix.right();
    let wrong = matrix.len() - right;
    let missing = wanted.len() * wanted.len() - matrix.len();
    if missing > 0 {
        println!("{missing} of {} cells could not be tried", wanted.len() * wanted.len());
    }
    println!("{right} passed, {wrong} failed, {missing} skipped");
    Ok(wrong == 0)
}

/// The languages that can take part, built.
fn ready(workspace: &Workspace, wanted: &[Lang], built: bool) -> Result<Vec<Lang>> {
    let mut langs = wanted.to_vec();
    lang::keep_buildable(&mut langs, |lang| lang.name(), |lang| lang.missing())?;
    if !built {
        suites::build(workspace, Profile::Dev, &langs)?;
    }
    Ok(langs)
}

/// The files to send: all, or some of every size.
fn samples(workspace: &Workspace, count: Option<usize>) -> Result<Vec<Sample>> {
    let mut samples = Vec::new();
    for path in workspace.files()? {
        let file = workspace.path(&path);
        let content = fs::read(&file).with_context(|| path.clone())?;
        samples.push(Sample::new(path, file, &content));
    }
    if let Some(count) = count {
        ensure!(count > 0, "at least one file has to be sent");
        samples.sort_by_key(|sample| sample.bytes);
        let last = samples.len() - 1;
        let steps = count.min(samples.len()).saturating_sub(1).max(1);
        let picked: Vec<usize> = (0..count.min(samples.len())).map(|n| n * last / steps).collect();
        let mut at = 0;
        samples.retain(|_| {
            at += 1;
            picked.contains(&(at - 1))
        });
    }
    Ok(samples)
}
