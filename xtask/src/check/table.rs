//! What came of all runs: a line for each peer, what failed, and where peers differ.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use serde::Deserialize;

/// A line of `hostlane check --format json`.
#[derive(Deserialize)]
pub(super) struct Row {
    case: String,
    role: String,
    level: u8,
    behaviour: String,
    closing: String,
    #[serde(default)]
    detail: String,
    /// Why it is known to fail.
    #[serde(skip)]
    known: Option<String>,
}

impl Row {
    /// Whether it is wrong, known or not.
    pub(super) fn is_wrong(&self) -> bool {
        [&self.behaviour, &self.closing]
            .iter()
            .any(|verdict| matches!(verdict.as_str(), "FAIL" | "TIMEOUT" | "UNCLEAN"))
    }

    fn fails(&self) -> bool {
        self.known.is_none() && self.is_wrong()
    }

    fn applies(&self) -> bool {
        self.behaviour != "N/A"
    }

    fn is_left_out(&self) -> bool {
        !self.applies() || self.known.is_some()
    }

    fn passes(&self) -> bool {
        !self.is_left_out() && !self.is_wrong()
    }

    fn verdicts(&self) -> String {
        format!("{} {}", self.behaviour, self.closing)
    }
}

#[derive(Default)]
pub(super) struct Table {
    rows: Vec<(&'static str, Row)>,
    broken: Vec<String>,
}

impl Table {
    pub(super) fn add(&mut self, peer: &'static str, rows: Result<Vec<Row>>) {
        match rows {
            Ok(rows) => self.rows.extend(rows.into_iter().map(|row| (peer, row))),
            Err(error) => self.broken.push(format!("{peer}: {error:#}")),
        }
    }

    /// What is known to fail does not count, whether it does or not. A line is `PEER ROLE CASE REASON`.
    pub(super) fn forgive(&mut self, known: &str) -> Result<()> {
        for line in known.lines().filter(|line| !line.is_empty() && !line.starts_with('#')) {
            let mut words = line.splitn(4, ' ');
            let (Some(peer), Some(role), Some(case), Some(why)) =
                (words.next(), words.next(), words.next(), words.next())
            else {
                bail!("a known failure is PEER ROLE CASE REASON, and not {line:?}");
            };
            let is_it = |of: &str, row: &Row| of == peer && row.role == role && row.case == case;
            self.rows.iter_mut().filter(|(of, row)| is_it(of, row)).for_each(|(_, row)| row.known = Some(why.into()));
        }
        Ok(())
    }

    /// Of the cases that a peer plays in two runs, the one that applies counts.
    fn settle(&mut self) {
        let mut applying = BTreeMap::new();
        for (peer, row) in &self.rows {
            *applying.entry((*peer, row.role.clone(), row.case.clone())).or_insert(false) |= row.applies();
        }
        let mut shown = std::collections::HashSet::new();
        self.rows.retain(|(peer, row)| {
            let key = (*peer, row.role.clone(), row.case.clone());
            (row.applies() || !applying[&key]) && shown.insert((key, row.applies()))
        });
    }

    /// Prints it; true when nothing failed.
    pub(super) fn print(mut self, peers: &[&'static str], missing: usize) -> bool {
        self.settle();
        println!("{:<12} {:>20} {:>20} {:>20} {:>20}", "passed/N-A", "server 0", "server 1", "client 0", "client 1");
        for peer in peers {
            let cell = |role: &str, level: u8| {
                let of: Vec<&Row> = self.of(peer).filter(|row| row.role == role && row.level == level).collect();
                let passed = of.iter().filter(|row| row.passes()).count();
                let failed = of.iter().filter(|row| row.fails()).count();
                let absent = of.iter().filter(|row| row.is_left_out()).count();
                let failed = if failed > 0 { format!("{failed} FAILED, ") } else { String::new() };
                if of.is_empty() { "-".into() } else { format!("{failed}{passed}/{absent}") }
            };
            let cells =
                [("server", 0), ("server", 1), ("client", 0), ("client", 1)].map(|(role, level)| cell(role, level));
            println!("{peer:<12} {:>20} {:>20} {:>20} {:>20}", cells[0], cells[1], cells[2], cells[3]);
        }
        for (peer, row) in self.rows.iter().filter(|(_, row)| row.fails()) {
            println!("FAIL  {peer} as {}: {} ({}): {}", row.role, row.case, row.verdicts(), row.detail);
        }
        for (peer, row) in &self.rows {
            if let Some(why) = &row.known {
                println!("known {peer} as {}: {} ({}): {why}", row.role, row.case, row.verdicts());
            }
        }
        self.print_differences();
        self.broken.iter().for_each(|why| println!("FAIL  {why}"));
        let failed = self.rows.iter().filter(|(_, row)| row.fails()).count() + self.broken.len();
        let absent = self.rows.iter().filter(|(_, row)| row.is_left_out()).count();
        let passed = self.rows.iter().filter(|(_, row)| row.passes()).count();
        println!("{passed} passed, {failed} failed, {} skipped", absent + missing);
        failed == 0
    }

    fn of<'a>(&'a self, peer: &'a str) -> impl Iterator<Item = &'a Row> {
        self.rows.iter().filter(move |(of, _)| *of == peer).map(|(_, row)| row)
    }

    /// The cases in which not all have the same verdicts.
    fn print_differences(&self) {
        let mut cases: BTreeMap<(&str, &str), BTreeMap<String, Vec<&str>>> = BTreeMap::new();
        for (peer, row) in self.rows.iter().filter(|(_, row)| row.applies()) {
            cases.entry((&row.role, &row.case)).or_default().entry(row.verdicts()).or_default().push(peer);
        }
        for ((role, case), verdicts) in cases.iter().filter(|(_, verdicts)| verdicts.len() > 1) {
            let shown: Vec<String> =
                verdicts.iter().map(|(verdict, peers)| format!("{verdict}: {}", peers.join(" "))).collect();
            println!("note  {role} {case}: {}", shown.join("; "));
        }
    }
}
