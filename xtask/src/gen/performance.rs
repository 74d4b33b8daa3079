//! `docs/performance.md` and its plots, from the results of `cargo xtask bench --peers` and `--beside`.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use anyhow::{Context, Result, anyhow};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use serde::Deserialize;

use super::{Generated, beside};
use crate::bench::beside::RESULTS;
use crate::workspace::Workspace;

/// What follows this line in the page is generated.
const MARK: &str = "<!-- measured: bench/results -->\n";
const PAGE: &str = "docs/performance.md";

/// Pixels of a bar, and between two works.
const ROW: i32 = 15;
const GAP: i32 = 26;
/// Where the bars begin and end.
const LEFT: i32 = 170;
const RIGHT: i32 = 700;
const WIDTH: u32 = 820;

/// One run of the comparison.
#[derive(Deserialize)]
struct Report {
    again: String,
    /// Of hostlane's code.
    #[serde(default)]
    commit: Option<String>,
    machine: Machine,
    versions: BTreeMap<String, String>,
    rounds: usize,
    seconds_per_round: f64,
    results: Vec<Row>,
}

/// Where it was measured.
#[derive(Deserialize)]
pub(super) struct Machine {
    processor: String,
    architecture: String,
    cores: usize,
    memory_gib: u64,
    kernel: String,
}

impl fmt::Display for Machine {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Machine { processor, architecture, cores, memory_gib, kernel } = self;
        write!(out, "{processor} {architecture}, {cores} cores, {memory_gib} GiB, Linux {kernel}")
    }
}

#[derive(Deserialize)]
struct Row {
    language: String,
    program: String,
    floor: bool,
    placement: String,
    work: String,
    unit: String,
    median: Option<f64>,
    least: Option<f64>,
    most: Option<f64>,
    /// Of each round that was kept.
    values: Vec<f64>,
    #[serde(default)]
    beside: BTreeMap<String, f64>,
    offered: bool,
    failure: Option<String>,
}

impl Row {
    fn is_lane(&self) -> bool {
        self.program.starts_with("hostlane")
    }

    /// The unit as people write it.
    fn unit(&self) -> &str {
        match self.unit.as_str() {
            "us" => "µs",
            unit => unit,
        }
    }

    /// Of a run with so many rounds.
    fn figure(&self, rounds: usize) -> String {
        match (self.median, self.least, self.most) {
            (Some(median), Some(least), Some(most)) => {
                let mut figure = format!("{} ({}..{})", short(median), short(least), short(most));
                for (name, value) in &self.beside {
                    let _ = write!(figure, ", {name} {}", short(*value)); // a string takes everything
                }
                if self.values.len() < rounds {
                    let _ = write!(figure, ", {} of {rounds} rounds", self.values.len());
                }
                figure
            }
            _ if !self.offered => "not offered".into(),
            _ => self.failure.clone().map_or_else(|| "too few rounds".into(), |_| "failed".into()),
        }
    }
}

/// What failed, without the command that did.
fn reason(failure: &str) -> String {
    failure.splitn(3, ": ").take(2).collect::<Vec<_>>().join(": ")
}

/// Three digits that count.
pub(super) fn short(value: f64) -> String {
    match value {
        v if v >= 1e6 => format!("{:.3} M", v / 1e6),
        v if v >= 1e4 => format!("{:.1} k", v / 1e3),
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}

/// How often as fast as `lane` this is; none if it is no matter of speed.
fn speed(row: &Row, lane: &Row) -> Option<f64> {
    let (own, lane) = (row.median?, lane.median?);
    match row.unit.as_str() {
        "1/s" => Some(own / lane),
        "us" => Some(lane / own),
        _ => None,
    }
}

/// What was measured side by side: a language's programs in one placement, by work.
struct Panel<'a> {
    language: &'a str,
    placement: &'a str,
    rounds: usize,
    works: Vec<(&'a str, Vec<&'a Row>)>,
}

fn panels(report: &Report) -> Vec<Panel<'_>> {
    let mut panels: Vec<Panel<'_>> = Vec::new();
    for row in &report.results {
        let here = panels.iter().position(|p| p.language == row.language && p.placement == row.placement);
        let at = here.unwrap_or_else(|| {
            let (language, placement) = (&row.language, &row.placement);
            panels.push(Panel { language, placement, rounds: report.rounds, works: Vec::new() });
            panels.len() - 1
        });
        let works = &mut panels[at].works;
        match works.iter_mut().find(|(work, _)| *work == row.work) {
            Some((_, rows)) => rows.push(row),
            None => works.push((&row.work, vec![row])),
        }
    }
    panels
}

/// The page and a plot for each panel; nothing while there are no results.
pub(super) fn page(workspace: &Workspace) -> Result<Vec<Generated>> {
    let mut names: Vec<String> = workspace.files()?.into_iter().filter(|file| is_result(file)).collect();
    names.sort();
    let mut files = Vec::new();
    let mut text = String::new();
    for name in &names {
        let report: Report = serde_json::from_str(&workspace.read(name)?).with_context(|| name.clone())?;
        describe(&mut text, name, &report)?;
        for panel in panels(&report) {
            let stem = format!("{}-{}-{}", stem(name), panel.language, panel.placement).replace(' ', "-");
            let plotted = timed(&panel).next().is_some();
            if plotted {
                files.push(Generated::new(format!("docs/plots/{stem}.svg"), plot(&panel)?));
            }
            table(&mut text, plotted.then_some(stem.as_str()), &panel)?;
        }
    }
    if workspace.path(RESULTS).exists() {
        text += &beside::section(&workspace.read(RESULTS)?)?;
    }
    let page = workspace.read(PAGE)?;
    let (written, _) = page.split_once(MARK).with_context(|| format!("{PAGE} has no line {MARK:?}"))?;
    files.push(Generated::new(PAGE, format!("{written}{MARK}{text}")));
    Ok(files)
}

fn is_result(file: &str) -> bool {
    file.strip_prefix("bench/results/peers").is_some_and(|rest| rest.ends_with(".json"))
}

fn stem(name: &str) -> &str {
    name.trim_start_matches("bench/results/").trim_end_matches(".json")
}

fn describe(text: &mut String, name: &str, report: &Report) -> Result<()> {
    let (rounds, seconds) = (report.rounds, report.seconds_per_round);
    writeln!(text, "\n## `{name}`\n")?;
    writeln!(text, "{}; {rounds} rounds of {seconds} s. Again: `{}`", report.machine, report.again)?;
    let versions: Vec<String> = report.versions.iter().map(|(of, version)| format!("{of} {version}")).collect();
    let commit = report.commit.iter().map(|commit| format!(" hostlane's commit: {commit}.")).collect::<String>();
    writeln!(text, "\nVersions: {}.{commit}", versions.join(", "))?;
    Ok(())
}

/// `stem`: of the plot, if there is one.
fn table(text: &mut String, stem: Option<&str>, panel: &Panel<'_>) -> Result<()> {
    let Panel { language, placement, rounds, works } = panel;
    writeln!(text, "\n### {language}, {placement}\n")?;
    if let Some(stem) = stem {
        writeln!(text, "![{language}, {placement}: how fast each is, hostlane = 1](plots/{stem}.svg)\n")?;
    }
    let names = works.iter().map(|(work, rows)| format!("`{work}`, {}", rows[0].unit()));
    writeln!(text, "| | {} |", names.collect::<Vec<_>>().join(" | "))?;
    writeln!(text, "|---{}|", "|---".repeat(works.len()))?;
    let mut programs: Vec<&str> = Vec::new();
    for row in works.iter().flat_map(|(_, rows)| rows) {
        if !programs.contains(&row.program.as_str()) {
            programs.push(&row.program);
        }
    }
    for program in programs {
        let cells = works.iter().map(|(_, rows)| {
            rows.iter().find(|row| row.program == program).map_or_else(String::new, |row| row.figure(*rounds))
        });
        writeln!(text, "| {program} | {} |", cells.collect::<Vec<_>>().join(" | "))?;
    }
    for (work, rows) in works {
        for row in rows.iter().filter(|row| row.offered) {
            if let Some(failure) = &row.failure {
                writeln!(text, "\n{}, `{work}`, failed: {}.", row.program, reason(failure))?;
            }
        }
    }
    Ok(())
}

/// Bars of speed beside hostlane's, on a logarithmic scale.
fn plot(panel: &Panel<'_>) -> Result<String> {
    let rows: i32 = timed(panel).map(|(_, rows)| rows.len() as i32 * ROW + GAP).sum();
    let mut svg = String::new();
    {
        let root = SVGBackend::with_string(&mut svg, (WIDTH, (rows + 40) as u32)).into_drawing_area();
        draw(&root, panel).map_err(|error| anyhow!("{error}"))?;
        root.present().map_err(|error| anyhow!("{error}"))?;
    }
    Ok(svg + "\n")
}

/// The works of which a plot has bars.
fn timed<'p, 'a>(panel: &'p Panel<'a>) -> impl Iterator<Item = &'p (&'a str, Vec<&'a Row>)> {
    panel.works.iter().filter(|(_, rows)| !speeds(rows).is_empty())
}

type Area<'a> = DrawingArea<SVGBackend<'a>, plotters::coord::Shift>;

fn draw(root: &Area<'_>, panel: &Panel<'_>) -> Result<(), Box<dyn std::error::Error>> {
    root.fill(&WHITE)?;
    let text = |size: i32, color: &RGBColor, h: HPos| {
        ("sans-serif", size).into_font().color(color).pos(Pos::new(h, VPos::Center))
    };
    let all: Vec<f64> = timed(panel).flat_map(|(_, rows)| speeds(rows).into_iter().map(|(_, s)| s)).collect();
    let low = all.iter().copied().fold(0.5, f64::min).log10();
    let high = all.iter().copied().fold(2.0, f64::max).log10();
    let x = |speed: f64| LEFT + ((speed.log10() - low) / (high - low) * f64::from(RIGHT - LEFT)) as i32;
    let (title, one) = (format!("{}, {}: speed, hostlane = 1", panel.language, panel.placement), x(1.0));
    root.draw(&Text::new(title, (LEFT, 14), text(14, &BLACK, HPos::Left)))?;
    let mut y = 34;
    for (work, rows) in timed(panel) {
        root.draw(&Text::new((*work).to_owned(), (10, y), text(13, &BLACK, HPos::Left)))?;
        let top = y - ROW / 2;
        for (row, speed) in speeds(rows) {
            let color = match (row.is_lane(), row.floor) {
                (true, _) => RGBColor(0x1f, 0x6f, 0xb4),
                (_, true) => RGBColor(0x9a, 0x9a, 0x9a),
                _ => RGBColor(0xd9, 0x8e, 0x32),
            };
            root.draw(&Text::new(row.program.clone(), (LEFT - 6, y), text(11, &BLACK, HPos::Right)))?;
            let bar = [(LEFT, y - 5), (x(speed), y + 5)];
            root.draw(&Rectangle::new(bar, color.filled()))?;
            root.draw(&Text::new(short(speed), (x(speed) + 5, y), text(10, &BLACK, HPos::Left)))?;
            y += ROW;
        }
        root.draw(&PathElement::new(vec![(one, top), (one, y - ROW / 2)], BLACK.mix(0.4)))?;
        y += GAP;
    }
    Ok(())
}

/// Whoever was measured, and how often as fast as hostlane.
fn speeds<'a>(rows: &[&'a Row]) -> Vec<(&'a Row, f64)> {
    let Some(lane) = rows.iter().find(|row| row.is_lane() && row.median.is_some()) else { return Vec::new() };
    rows.iter().filter_map(|row| Some((*row, speed(row, lane)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(program: &str, unit: &str, median: f64, beside: &[(&str, f64)]) -> Row {
        Row {
            language: "go".into(),
            program: program.into(),
            floor: false,
            placement: "anywhere".into(),
            work: unit.into(),
            unit: unit.into(),
            median: Some(median),
            least: Some(median),
            most: Some(median),
            values: vec![median; 2],
            beside: beside.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect(),
            offered: true,
            failure: None,
        }
    }

    #[test]
    fn what_is_no_matter_of_speed_is_in_the_table_and_not_in_the_plot() {
        let rows = [
            row("hostlane", "us", 10.0, &[]),
            row("x", "us", 20.0, &[]),
            row("hostlane", "B/connection", 6800.0, &[("threads", 1.0)]),
            row("x", "B/connection", 17_000.0, &[("threads", 1003.0)]),
        ];
        let works = vec![("rt64", rows[..2].iter().collect()), ("many", rows[2..].iter().collect())];
        let panel = Panel { language: "go", placement: "anywhere", rounds: 2, works };
        let (mut text, svg) = (String::new(), plot(&panel).unwrap());
        table(&mut text, Some("stem"), &panel).unwrap();
        assert!(svg.contains("rt64") && !svg.contains("many"));
        assert!(text.contains("| `rt64`, µs | `many`, B/connection |"), "{text}");
        assert!(!text.contains("failed"), "{text}");
        assert!(text.contains("| x | 20.0 (20.0..20.0) | 17.0 k (17.0 k..17.0 k), threads 1003 |"), "{text}");
    }

    #[test]
    fn why_a_run_failed_is_below_its_table() {
        let mut failed = row("y", "us", 0.0, &[]);
        (failed.median, failed.failure) = (None, Some("it said nothing: not over after 23 s: program 0.3".into()));
        let panel = Panel { language: "go", placement: "anywhere", rounds: 2, works: vec![("rt64", vec![&failed])] };
        let mut text = String::new();
        table(&mut text, Some("stem"), &panel).unwrap();
        let mut some = row("z", "us", 1.0, &[]);
        (some.values, some.failure) = (vec![1.0], Some("it ended".into()));
        let panel = Panel { works: vec![("rt64", vec![&some])], ..panel };
        let mut fewer = String::new();
        table(&mut fewer, Some("stem"), &panel).unwrap();
        assert!(
            fewer.contains("| z | 1.00 (1.00..1.00), 1 of 2 rounds |\n\nz, `rt64`, failed: it ended.\n"),
            "{fewer}"
        );
        assert!(
            text.contains("| y | failed |\n\ny, `rt64`, failed: it said nothing: not over after 23 s.\n"),
            "{text}"
        );
    }
}
