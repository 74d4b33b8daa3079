//! `docs/names.md`: what it says a thing is called in a language is in the sources of that language, and what it says a
//! language does not have is not.

use std::collections::{BTreeSet, HashSet};

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

/// The words of a language's sources, without comments and tests.
type Words = HashSet<String>;

/// One thing: what it is called in each language, and nothing where the cell says that there is none.
type Row = [Option<Vec<String>>; COLUMNS.len()];

/// What the page says and the sources do not.
pub(crate) fn findings(workspace: &Workspace) -> Result<Vec<String>> {
    let rows = rows(&workspace.read(PAGE)?).context(PAGE)?;
    let files = workspace.files()?;
    let mut findings = Vec::new();
    for (column, (language, place)) in COLUMNS.into_iter().enumerate() {
        let mut words = Words::new();
        for file in files.iter().filter(|file| file.starts_with(place) && is_source(file)) {
            words.extend(code(&workspace.read(file)?).flat_map(identifiers).map(str::to_owned));
        }
        findings.extend(
            rows.iter().flat_map(|row| wrong(row, column, &words)).map(|what| format!("{PAGE}: {language} {what}")),
        );
    }
    Ok(findings)
}

/// What a row says of a language that has these words, and is not so.
fn wrong(row: &Row, column: usize, words: &Words) -> Vec<String> {
    if let Some(names) = &row[column] {
        let unknown =
            names.iter().filter(|name| !identifiers(name).all(|part| is_variable(part) || words.contains(part)));
        return unknown.map(|name| format!("has no {name}")).collect();
    }
    let elsewhere = row.iter().flatten().flatten().filter_map(|name| identifiers(name).last());
    let here = elsewhere.map(|name| spelled(&parts(name), COLUMNS[column].0));
    let found: BTreeSet<String> = here.filter(|name| words.contains(name)).collect();
    found.into_iter().map(|name| format!("has {name}, where the page has none")).collect()
}

fn is_source(file: &str) -> bool {
    !file.ends_with(".md") && !file.ends_with("_test.go") && !file.contains("/tests/")
}

/// The lines of a source that are no comments.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !["//", "/*", "*", "# "].iter().any(|mark| line.trim_start().starts_with(mark)))
}

/// The parts of a name, in small letters, without the prefix of C.
fn parts(name: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    for c in name.trim_start_matches("hostlane_").chars() {
        if c == '_' || c.is_uppercase() {
            parts.push(String::new());
        }
        if let Some(part) = parts.last_mut().filter(|_| c != '_') {
            part.extend(c.to_lowercase());
        }
    }
    parts.retain(|part| !part.is_empty());
    parts
}

/// How a language writes a name of these parts.
fn spelled(parts: &[String], language: &str) -> String {
    let capital = |part: &String| part[..1].to_uppercase() + &part[1..];
    match language {
        "C" => format!("hostlane_{}", parts.join("_")),
        "Node" => parts[..1].iter().cloned().chain(parts[1..].iter().map(capital)).collect(),
        "Go" => parts.iter().map(capital).collect(),
        _ => parts.join("_"),
    }
}

/// What stands between backticks in each cell.
fn rows(page: &str) -> Result<Vec<Row>> {
    let mut named = Vec::new();
    let mut rows = page.lines().filter(|line| line.starts_with('|')).map(cells);
    let head = rows.next().context("no table")?;
    ensure!(head[1..].iter().copied().eq(COLUMNS.map(|(language, _)| language)), "other languages: {head:?}");
    for row in rows.skip(1) {
        ensure!(row.len() == head.len(), "not a cell for each language: {row:?}");
        let names = |cell: &&str| cell.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        let mut cells = row[1..].iter().map(|cell| (*cell != "–").then(|| names(cell)));
        named.push([(); COLUMNS.len()].map(|()| cells.next().flatten()));
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
    fn names_are_read_by_cell() {
        let rows = rows(&format!("{HEAD}| a | `A::b` | – | `c`, or `d` | e | `f.g` | `H` |\n")).unwrap();
        let cell = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
        assert_eq!(rows, [[cell(&["A::b"]), None, cell(&["c", "d"]), cell(&[]), cell(&["f.g"]), cell(&["H"])]]);
        assert!(identifiers("A::b").eq(["A", "b"]));
    }

    #[test]
    fn an_empty_cell_is_held_against_what_others_call_it() {
        let rows = rows(&format!("{HEAD}| a | – | – | – | `peer.send_all` | – | – |\n")).unwrap();
        for (column, name) in ["send_all", "hostlane_send_all", "send_all", "", "sendAll", "SendAll"].iter().enumerate()
        {
            let words = |word: &str| Words::from(["peer", word].map(str::to_owned));
            assert_eq!(wrong(&rows[0], column, &words("send")).len(), usize::from(name.is_empty()), "{name}");
            if !name.is_empty() {
                assert_eq!(wrong(&rows[0], column, &words(name)), [format!("has {name}, where the page has none")]);
            }
        }
    }

    #[test]
    fn comments_and_tests_name_nothing() {
        assert!(code("a\n  // b\n/// c\n * d\n# e\nf").eq(["a", "f"]));
        assert!(is_source("go/peer.go") && !is_source("go/peer_test.go") && !is_source("core/src/proto/tests/a.rs"));
    }

    #[test]
    fn a_table_of_another_shape_is_an_error() {
        for page in ["", "| | Rust |\n", &format!("{HEAD}| a | b |\n")] {
            assert!(rows(page).is_err(), "{page:?}");
        }
    }
}
