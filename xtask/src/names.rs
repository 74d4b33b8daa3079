//! `docs/names.md`: what it says a thing is called in a language is in the sources of that language.

use std::collections::HashSet;

use anyhow::{Context, Result, ensure};

use crate::workspace::Workspace;

const PAGE: &str = "docs/names.md";

/// The columns of the table, and where the sources of each language are.
const COLUMNS: [(&str, &str); 6] = [
    ("Rust", "core/src/"),
    ("C", "include/hostlane.h"),
    ("C++", "include/hostlane/"),
    ("Python", "python/hostlane/"),
    ("Node", "node/src/"),
    ("Go", "go/"),
];

/// The names of the page that are in no source of their language.
pub(crate) fn findings(workspace: &Workspace) -> Result<Vec<String>> {
    let named = named(&workspace.read(PAGE)?).context(PAGE)?;
    let files = workspace.files()?;
    let mut findings = Vec::new();
    for ((language, place), names) in COLUMNS.into_iter().zip(named) {
        let mut words = HashSet::new();
        for file in files.iter().filter(|file| file.starts_with(place) && !file.ends_with(".md")) {
            words.extend(identifiers(&workspace.read(file)?).map(str::to_owned));
        }
        let unknown =
            names.into_iter().filter(|name| !identifiers(name).all(|part| is_variable(part) || words.contains(part)));
        findings.extend(unknown.map(|name| format!("{PAGE}: {language} has no {name}")));
    }
    Ok(findings)
}

/// What stands between backticks in each of the columns.
fn named(page: &str) -> Result<[Vec<String>; COLUMNS.len()]> {
    let mut named: [Vec<String>; COLUMNS.len()] = Default::default();
    let mut rows = page.lines().filter(|line| line.starts_with('|')).map(cells);
    let head = rows.next().context("no table")?;
    ensure!(head[1..].iter().copied().eq(COLUMNS.map(|(language, _)| language)), "other languages: {head:?}");
    for row in rows.skip(1) {
        ensure!(row.len() == head.len(), "not a cell for each language: {row:?}");
        for (names, cell) in named.iter_mut().zip(&row[1..]) {
            names.extend(cell.split('`').skip(1).step_by(2).map(str::to_owned));
        }
    }
    Ok(named)
}

fn cells(line: &str) -> Vec<&str> {
    line.trim_matches('|').split('|').map(str::trim).collect()
}

fn identifiers(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|word| !word.is_empty())
}

/// What the page calls an object of a program; no source need have it.
fn is_variable(name: &str) -> bool {
    ["peer", "listener", "link", "stream", "message", "call", "error", "err", "code"].contains(&name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &str = "text\n| | Rust | C | C++ | Python | Node | Go |\n|---|---|---|---|---|---|---|\n";

    #[test]
    fn names_are_read_by_column() {
        let named = named(&format!("{HEAD}| a | `A::b` | – | `c`, or `d` | e | `f.g` | `H` |\n")).unwrap();
        assert_eq!(
            named,
            [vec!["A::b"], vec![], vec!["c", "d"], vec![], vec!["f.g"], vec!["H"]]
                .map(|names| { names.into_iter().map(str::to_owned).collect::<Vec<_>>() })
        );
        assert!(identifiers("A::b").eq(["A", "b"]));
    }

    #[test]
    fn a_table_of_another_shape_is_an_error() {
        for page in ["", "| | Rust |\n", &format!("{HEAD}| a | b |\n")] {
            assert!(super::named(page).is_err(), "{page:?}");
        }
    }
}
