//! `bench --peers`: hostlane beside hand-written floors and the usual choices of its language, in turns.

mod build;
mod cpu;
mod entry;
mod facts;
mod hogs;
mod report;
mod round;
mod standing;
mod table;
mod work;

pub(super) use facts::machine;

use std::path::Path;

use anyhow::{Result, ensure};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::can_be_had;
use super::place::Placement;
use crate::server::Sockets;
use crate::workspace::Workspace;
use build::Builds;
use entry::{Entry, Group};
use hogs::Hogs;
use report::{Report, Row};
use round::Field;
use work::Work;

/// What to compare, and for how long.
#[derive(Args)]
pub(crate) struct Comparison {
    /// Seconds of one window
    #[arg(long, default_value_t = 0.4, requires = "peers")]
    seconds: f64,
    /// Windows of each program that have to be kept
    #[arg(long, default_value_t = 5, requires = "peers")]
    rounds: usize,
    /// Where the processes run; can be given several times [default: all]
    #[arg(long, value_enum, requires = "peers")]
    placement: Vec<Placement>,
    /// Do only this work; can be given several times
    #[arg(long, requires = "peers")]
    work: Vec<String>,
    /// Name of the file in bench/results
    #[arg(long, default_value = "peers", requires = "peers")]
    name: String,
    /// Keep rounds beside which something else used the processor: to see that all of it runs, not for figures
    #[arg(long, requires = "peers")]
    noisy: bool,
}

/// Turns that are taken for a round that has to be kept, at most.
const TURNS_PER_ROUND: usize = 3;

/// Compares and prints; true if every program did what it offers.
pub(super) fn run(workspace: &Workspace, only: &[String], options: &Comparison) -> Result<bool> {
    ensure!(options.seconds > 0.0 && options.rounds > 0, "there is nothing to measure in no time");
    ensure!(Path::new(&options.name).components().count() == 1, "--name is the name of a file, without a folder");
    let works = work::chosen(&options.work)?;
    let placements: Vec<Placement> = placements(options).into_iter().filter(|place| can_be_had(*place)).collect();
    ensure!(!placements.is_empty(), "no placement can be had here");
    let works = somewhere(works, &placements);
    ensure!(!works.is_empty(), "there is nothing to do in these placements");
    standing::raise_limit()?;
    let entries = entry::chosen(workspace, only)?;
    let builds = Builds::make(workspace, &entries)?;
    let mut report = Report::new(workspace, only, options, &entries, &builds)?;
    for why in report.missing() {
        println!("MISSING  {why}");
    }
    let field = Measuring { workspace, options, sockets: Sockets::new()? };
    for placement in placements {
        for group in Group::ALL {
            let present = |entry: &&Entry| entry.group == group && builds.has(entry);
            let entries: Vec<&Entry> = entries.iter().filter(present).collect();
            if !entries.is_empty() {
                field.measure(placement, &entries, &works, &mut report)?;
            }
        }
    }
    print!("{report}");
    let path = report.save(workspace)?;
    println!("written to {path}");
    Ok(report.is_complete())
}

fn placements(options: &Comparison) -> Vec<Placement> {
    if options.placement.is_empty() {
        return vec![Placement::Free, Placement::Apart, Placement::Together, Placement::Hogs];
    }
    options.placement.clone()
}

/// The works that any of the placements has; says so of the others.
fn somewhere(works: Vec<Work>, placements: &[Placement]) -> Vec<Work> {
    let is_done = |work: &Work| placements.iter().any(|place| work.is_at(*place));
    let (some, none): (Vec<Work>, Vec<Work>) = works.into_iter().partition(is_done);
    for work in none {
        println!("SKIP  {}: it is done {} only", work.name, Placement::Free);
    }
    some
}

struct Measuring<'a> {
    workspace: &'a Workspace,
    options: &'a Comparison,
    sockets: Sockets,
}

impl Measuring<'_> {
    /// All works of one language's programs in one placement.
    fn measure(&self, placement: Placement, entries: &[&Entry], works: &[Work], report: &mut Report) -> Result<()> {
        let mut field = Field::start(self.workspace, placement, entries, &self.sockets)?;
        for work in works.iter().filter(|work| work.is_for(entries[0].group) && work.is_at(placement)) {
            let bar = ProgressBar::new((self.options.rounds * entries.len()) as u64);
            bar.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed} {msg}")?);
            bar.set_message(format!("{} {} {placement}", entries[0].group, work.name));
            let mut rows: Vec<Row> = entries.iter().map(|entry| Row::new(entry, placement, *work)).collect();
            let hogs = (placement == Placement::Hogs).then(Hogs::start).transpose()?;
            for _ in 0..self.options.rounds * TURNS_PER_ROUND {
                if rows.iter().all(|row| row.has(self.options.rounds)) {
                    break;
                }
                self.pass(&mut field, &mut rows, hogs.as_ref(), &bar);
            }
            bar.finish_and_clear();
            for row in &rows {
                if let Some(why) = row.failure() {
                    println!("FAILED  {} {} {placement}: {}: {why}", row.group, work.name, row.name);
                }
            }
            report.add(rows);
        }
        Ok(())
    }

    /// One round of everybody. Floors take part in each, so that every round has its ratio.
    fn pass(&self, field: &mut Field<'_>, rows: &mut [Row], hogs: Option<&Hogs>, bar: &ProgressBar) {
        for (number, row) in rows.iter_mut().enumerate() {
            if !row.is_wanted() || !row.is_floor() && row.has(self.options.rounds) {
                row.pause();
                continue;
            }
            let (work, seconds) = (row.work, self.options.seconds);
            match field.round(number, work, seconds, hogs) {
                Ok(sample) if sample.disturbed && !self.options.noisy => row.drop_round(sample),
                Ok(sample) => {
                    bar.inc(1);
                    row.keep(sample);
                }
                Err(error) => row.fail(facts::without_folders(self.workspace, &format!("{error:#}"))),
            }
        }
    }
}
