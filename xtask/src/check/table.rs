//! What came of all runs: a line for each peer, what failed, and where peers differ.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

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
    /// Whether its verdicts are wrong, known or not.
    pub(super) fn is_wrong(&self) -> bool {
        [&self.behaviour, &self.closing]
            .iter()
            .any(|verdict| matches!(verdict.as_str(), "FAIL" | "TIMEOUT" | "UNCLEAN"))
    }

    fn fails(&self) -> bool {
        self.known.is_none() && (self.is_wrong() || !self.was_excused())
    }

    fn applies(&self) -> bool {
        self.behaviour != "N/A"
    }

    /// Whether it was played, or the run says itself that it would not be. A peer that lost a level, or cannot say what
    /// it speaks, plays less than it has to.
    fn was_excused(&self) -> bool {
        self.applies() || EXCUSES.iter().any(|excuse| self.detail.starts_with(excuse))
    }

    fn is_left_out(&self) -> bool {
        self.known.is_some() || !self.applies() && self.was_excused()
    }

    fn passes(&self) -> bool {
        !self.is_left_out() && !self.fails()
    }

    fn verdicts(&self) -> String {
        format!("{} {}", self.behaviour, self.closing)
    }
}

/// What a run was not given, or was told to leave out: how the details of such cases begin.
const EXCUSES: [&str; 3] = ["no --secret-file", "no --token-file", "what it needs is left out with --without"];

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

    /// Of a case that a peer plays in several runs one row is left: the worst.
    fn settle(&mut self) {
        let rank = |row: &Row| (row.applies(), row.fails(), row.is_wrong());
        let mut worst: BTreeMap<(&str, String, String), Row> = BTreeMap::new();
        for (peer, row) in self.rows.drain(..) {
            match worst.entry((peer, row.role.clone(), row.case.clone())) {
                Entry::Vacant(place) => drop(place.insert(row)),
                Entry::Occupied(mut place) if rank(&row) > rank(place.get()) => drop(place.insert(row)),
                Entry::Occupied(_) => {}
            }
        }
        self.rows = worst.into_iter().map(|((peer, ..), row)| (peer, row)).collect();
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

#[cfg(test)]
mod tests {
    use super::*;

    fn row(behaviour: &str, detail: &str) -> Row {
        Row {
            case: "a/b".into(),
            role: "server".into(),
            level: 1,
            behaviour: behaviour.into(),
            closing: "OK".into(),
            detail: detail.into(),
            known: None,
        }
    }

    fn settled(rows: [Row; 2]) -> Row {
        let mut table = Table::default();
        table.add("c", Ok(rows.into()));
        table.settle();
        assert_eq!(table.rows.len(), 1);
        table.rows.remove(0).1
    }

    #[test]
    fn of_two_runs_of_a_case_the_worse_counts() {
        for (worse, better) in [("FAIL", "OK"), ("OK", "N/A"), ("TIMEOUT", "N/A")] {
            let excuse = "no --secret-file";
            assert_eq!(settled([row(worse, excuse), row(better, excuse)]).behaviour, worse);
            assert_eq!(settled([row(better, excuse), row(worse, excuse)]).behaviour, worse);
        }
    }

    #[test]
    fn what_is_not_played_without_an_excuse_fails() {
        assert!(row("N/A", "the server does not speak level 1").fails());
        assert!(!row("N/A", "no --token-file: it is not known").fails());
        assert!(row("N/A", "no --token-file").is_left_out());
    }
}
