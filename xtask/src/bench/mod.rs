//! `bench`: round trips and one-way streams in every language, beside a hand-written raw Unix socket in the same
//! language, in interleaved rounds on this machine; with `--peers`, beside more of them and the usual choices.

pub(crate) mod beside;
mod connect;
mod measure;
mod peers;
mod place;
mod report;
mod statistics;

use anyhow::Result;
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use crate::lang::{self, Lang, Profile};
use crate::server::Sockets;
use crate::suites;
use crate::workspace::Workspace;
use measure::{Floor, Servers, Work};
use place::Placement;
use report::{Report, Row};

/// What to measure.
#[derive(Args)]
pub(crate) struct Options {
    /// Few short rounds, wherever the system puts the processes: for a first look, not for a claim
    #[arg(long)]
    quick: bool,
    /// Measure only this language; with --peers, this language or program
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Compare with what bench/entries.toml lists
    #[arg(long, conflicts_with = "quick")]
    peers: bool,
    /// Measure what other traffic of a connection does to the calls on it
    #[arg(long, conflicts_with_all = ["quick", "peers", "only"])]
    beside: bool,
    #[command(flatten)]
    comparison: peers::Comparison,
}

const SIZES: [u64; 4] = [64, 1024, 64 * 1024, 1024 * 1024];
const STREAM_SIZES: [u64; 2] = [64, 64 * 1024];

/// How long and how often.
struct Effort {
    rounds: usize,
    seconds: f64,
}

/// Measures and prints; true unless a measurement failed.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<bool> {
    if options.peers {
        return peers::run(workspace, &options.only, &options.comparison);
    }
    if options.beside {
        return beside::run(workspace);
    }
    let langs = ready(&options.only)?;
    suites::build(workspace, Profile::Release, &langs)?;
    let effort = if options.quick { Effort { rounds: 3, seconds: 0.2 } } else { Effort { rounds: 7, seconds: 0.4 } };
    let placements = placements(options.quick);
    let work: Vec<Work> = SIZES
        .iter()
        .map(|size| Work::RoundTrip(*size))
        .chain(STREAM_SIZES.iter().map(|size| Work::Stream(*size)))
        .collect();
    let steps = placements.len() * langs.len() * work.len() * effort.rounds * 2;
    let bar = ProgressBar::new(steps as u64);
    bar.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed} {msg}")?);
    let sockets = Sockets::new()?;
    let mut report = Report::new(workspace, effort.rounds, effort.seconds)?;
    for &placement in &placements {
        for &lang in &langs {
            let servers = Servers::start(workspace, lang, placement, &sockets)?;
            for &work in &work {
                bar.set_message(format!("{} {work} {placement}", lang.name()));
                report.add(row(&servers, work, &effort, &bar)?);
            }
        }
    }
    if langs.contains(&Lang::Rust) {
        report.connect = Some(connect::measure(workspace, &sockets)?);
    }
    bar.finish_and_clear();
    println!("{report}");
    let path = report.save(workspace)?;
    println!("written to {}", path.display());
    Ok(true)
}

/// One row: raw and hostlane in turns, each first in every other round.
fn row(servers: &Servers<'_>, work: Work, effort: &Effort, bar: &ProgressBar) -> Result<Row> {
    let mut raw = Vec::new();
    let mut lane = Vec::new();
    for round in 0..effort.rounds {
        let order = if round % 2 == 0 { [Floor::Raw, Floor::Lane] } else { [Floor::Lane, Floor::Raw] };
        for floor in order {
            let nanoseconds = servers.measure(work, floor, effort.seconds)?;
            match floor {
                Floor::Raw => raw.push(nanoseconds),
                Floor::Lane => lane.push(nanoseconds),
            }
            bar.inc(1);
        }
    }
    Ok(Row { lang: servers.lang, placement: servers.placement, work, raw, lane })
}

/// The languages that can be measured here.
fn ready(names: &[String]) -> Result<Vec<Lang>> {
    let mut langs = Lang::chosen(names)?;
    lang::keep_buildable(&mut langs, |lang| lang.name(), |lang| lang.missing())?;
    Ok(langs)
}

fn placements(quick: bool) -> Vec<Placement> {
    let wanted: &[Placement] =
        if quick { &[Placement::Free] } else { &[Placement::Free, Placement::Apart, Placement::Together] };
    wanted.iter().copied().filter(|placement| can_be_had(*placement)).collect()
}

/// Whether this machine has the placement; says so if not.
fn can_be_had(placement: Placement) -> bool {
    let missing = placement.missing();
    if let Some(why) = missing {
        println!("SKIP  {placement}: {why}");
    }
    missing.is_none()
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_sound() {
        crate::Cli::command().debug_assert();
    }
}
