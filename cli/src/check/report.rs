//! What a run shows: a line for each case, the counts, and JUnit XML.

use std::fmt::Write as _;
use std::time::Duration;

use serde::Serialize;

use super::case::Case;
use super::verdict::Verdict;
use crate::logging::printable;
use crate::output::Report;

/// One case and what came of it.
#[derive(Serialize)]
pub(super) struct Line<'a> {
    pub(super) case: &'a str,
    pub(super) role: &'static str,
    pub(super) level: u8,
    pub(super) section: &'a str,
    pub(super) behaviour: Verdict,
    pub(super) closing: Verdict,
    pub(super) ms: u64,
    pub(super) demands: &'a str,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(super) detail: String,
}

impl Report for Line<'_> {
    fn table(&self) -> String {
        let Line { case, level, section, behaviour, closing, .. } = self;
        let mut line = format!("{behaviour:<10}  {closing:<10}  {level}  {case:<44}  {section:>4}\n");
        if !self.detail.is_empty() {
            let _ = writeln!(line, "            {}", printable(&self.detail));
        }
        if *behaviour >= Verdict::Unclean || *closing >= Verdict::Unclean {
            let _ = writeln!(line, "            demanded: {}", self.demands);
        }
        line
    }

    fn raw(&self) -> Vec<u8> {
        format!("{} {} {}\n", self.case, self.behaviour, self.closing).into_bytes()
    }
}

/// Both verdicts counted.
#[derive(Default)]
pub(super) struct Counts([[usize; 2]; 7]);

impl Counts {
    pub(super) fn add(&mut self, behaviour: Verdict, closing: Verdict) {
        self.0[behaviour as usize][0] += 1;
        self.0[closing as usize][1] += 1;
    }

    pub(super) fn shown(&self) -> String {
        let of = |at: usize| {
            let parts = Verdict::ALL.iter().filter(|verdict| self.0[**verdict as usize][at] > 0);
            parts.map(|verdict| format!("{} {verdict}", self.0[*verdict as usize][at])).collect::<Vec<_>>().join(", ")
        };
        format!("behaviour: {}\nclosing:   {}\n", of(0), of(1))
    }
}

/// A case as `--list` shows it; the bare form is a row of the table in docs/check.md.
#[derive(Serialize)]
#[serde(transparent)]
pub(super) struct Entry<'a>(pub(super) &'a Case);

impl Report for Entry<'_> {
    fn table(&self) -> String {
        let Case { name, roles, level, section, sends, demands, .. } = self.0;
        format!("{name}  ({roles}, level {level}, section {section})\n    {sends}\n    {demands}\n")
    }

    fn raw(&self) -> Vec<u8> {
        let Case { name, roles, level, section, sends, demands, .. } = self.0;
        format!("| `{name}` | {roles} | {level} | {section} | {sends} | {demands} |\n").into_bytes()
    }
}

/// The run as JUnit XML.
pub(super) struct Junit {
    cases: String,
    failed: usize,
    skipped: usize,
    count: usize,
}

impl Junit {
    pub(super) fn new() -> Junit {
        Junit { cases: String::new(), failed: 0, skipped: 0, count: 0 }
    }

    pub(super) fn add(&mut self, line: &Line<'_>, strict: bool) {
        let why = escaped(&format!("{} {} {}", line.behaviour, line.closing, line.detail));
        let group = line.case.split('/').next().unwrap_or_default();
        let seconds = Duration::from_millis(line.ms).as_secs_f64();
        self.count += 1;
        // Writing to a string cannot fail.
        let _ = write!(
            self.cases,
            "<testcase classname=\"check.{}.{group}\" name=\"{}\" time=\"{seconds:.3}\">",
            line.role, line.case
        );
        if line.behaviour.fails(strict) || line.closing.fails(strict) {
            self.failed += 1;
            let _ = write!(self.cases, "<failure message=\"{why}\"/>");
        } else if line.behaviour == Verdict::NotApplicable {
            self.skipped += 1;
            let _ = write!(self.cases, "<skipped message=\"{why}\"/>");
        }
        self.cases.push_str("</testcase>\n");
    }

    pub(super) fn xml(&self) -> String {
        let Junit { cases, failed, skipped, count } = self;
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"hostlane check\">\n<testsuite name=\"check\" \
             tests=\"{count}\" failures=\"{failed}\" errors=\"0\" skipped=\"{skipped}\">\n{cases}</testsuite>\n</testsuites>\n"
        )
    }
}

/// Text as an attribute takes it.
fn escaped(text: &str) -> String {
    let mut safe = String::new();
    for c in printable(text).chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            c => safe.push(c),
        }
    }
    safe
}
