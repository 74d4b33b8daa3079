//! The result: a cell for every pair of languages.

use std::fmt::Write as _;

use super::Sample;
use crate::lang::Lang;

/// What one client language got from one server language.
#[derive(Default)]
pub(crate) struct Cell {
    bytes: u64,
    nanoseconds: Vec<u64>,
    failures: Vec<String>,
}

impl Cell {
    /// A pair that could not be tried.
    pub(super) fn broken(why: String) -> Cell {
        Cell { failures: vec![why], ..Cell::default() }
    }

    /// A file came back right.
    pub(super) fn pass(&mut self, bytes: u64, nanoseconds: u64) {
        self.bytes += bytes;
        self.nanoseconds.push(nanoseconds);
    }

    pub(super) fn fail(&mut self, why: String) {
        self.failures.push(why);
    }

    /// Files that came back right.
    pub(super) fn files(&self) -> usize {
        self.nanoseconds.len()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Why the others did not, at most one reason for each.
    pub(super) fn failures(&self) -> &[String] {
        &self.failures
    }

    /// The median over the files of the median round trip of a file's messages.
    pub(super) fn median(&self) -> Option<u64> {
        let mut sorted = self.nanoseconds.clone();
        sorted.sort_unstable();
        sorted.get(sorted.len() / 2).copied()
    }

    fn is_right(&self) -> bool {
        self.failures.is_empty() && !self.nanoseconds.is_empty()
    }
}

/// Every cell that was tried.
#[derive(Default)]
pub(crate) struct Matrix {
    cells: Vec<(Lang, Lang, Cell)>,
}

impl Matrix {
    pub(super) fn add(&mut self, client: Lang, server: Lang, cell: Cell) {
        self.cells.push((client, server, cell));
    }

    pub(super) fn len(&self) -> usize {
        self.cells.len()
    }

    /// Cells in which every file came back right, as a message and as a call.
    pub(super) fn right(&self) -> usize {
        self.cells.iter().filter(|(_, _, cell)| cell.is_right()).count()
    }

    /// The matrix as text: clients down, servers across.
    pub(super) fn shown(&self, samples: &[Sample]) -> String {
        let bytes: u64 = samples.iter().map(|sample| sample.bytes).sum();
        let mut out = format!(
            "{} files, {} bytes, each sent as DATA messages and as one call, and compared by SHA-256.\n\
             Clients down, servers across; in a cell: files right, bytes right, files wrong, median round trip.\n\n",
            samples.len(),
            grouped(bytes)
        );
        let mut servers: Vec<Lang> = Vec::new();
        let mut clients: Vec<Lang> = Vec::new();
        for (client, server, _) in &self.cells {
            if !clients.contains(client) {
                clients.push(*client);
            }
            if !servers.contains(server) {
                servers.push(*server);
            }
        }
        out += &row("", servers.iter().map(|server| server.name().to_owned()));
        for client in clients {
            let of = |server: &Lang| {
                self.cells.iter().find(|(c, s, _)| *c == client && s == server).map(|(_, _, cell)| cell)
            };
            let cells: Vec<Option<&Cell>> = servers.iter().map(of).collect();
            let lines: [fn(&Cell) -> String; 4] = [
                |cell| format!("{} files", cell.files()),
                |cell| format!("{} B", grouped(cell.bytes())),
                |cell| format!("{} wrong", cell.failures().len()),
                |cell| cell.median().map_or("-".into(), |ns| format!("{:.1} us", ns as f64 / 1000.0)),
            ];
            for (number, line) in lines.iter().enumerate() {
                let name = if number == 0 { client.name() } else { "" };
                out += &row(name, cells.iter().map(|cell| cell.map_or("?".into(), *line)));
            }
            out.push('\n');
        }
        for (client, server, cell) in &self.cells {
            for failure in cell.failures().iter().take(3) {
                // Writing to a string cannot fail.
                let _ = writeln!(out, "WRONG {} -> {}: {failure}", client.name(), server.name());
            }
        }
        out
    }
}

fn row(name: &str, cells: impl Iterator<Item = String>) -> String {
    let cells: String = cells.map(|cell| format!("{cell:>14}")).collect();
    format!("{name:8}{cells}\n")
}

/// `1234567` as `1 234 567`.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_right_only_with_files_and_without_failures() {
        let mut matrix = Matrix::default();
        let mut right = Cell::default();
        right.pass(1_234_567, 1500);
        let mut half = Cell::default();
        half.pass(1, 1);
        half.fail("a file: differs".into());
        matrix.add(Lang::Rust, Lang::C, right);
        matrix.add(Lang::Go, Lang::C, half);
        matrix.add(Lang::C, Lang::C, Cell::default());
        assert_eq!((matrix.right(), matrix.len()), (1, 3));
        let shown = matrix.shown(&[]);
        assert!(shown.contains("1 234 567 B") && shown.contains("1.5 us"), "{shown}");
        assert!(shown.contains("WRONG go -> c: a file: differs"), "{shown}");
    }

    #[test]
    fn the_median_is_the_middle() {
        let mut cell = Cell::default();
        assert_eq!(cell.median(), None);
        for nanoseconds in [9, 1, 5] {
            cell.pass(0, nanoseconds);
        }
        assert_eq!(cell.median(), Some(5));
    }
}
