//! `core/errors.toml`, the one error table, read and checked.

use std::collections::HashSet;

use anyhow::{Context, Result, ensure};
use serde::Deserialize;

use crate::workspace::Workspace;

/// One row of the table.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Row {
    pub(crate) number: i32,
    pub(crate) name: String,
    pub(crate) meaning: String,
    pub(crate) retryable: bool,
    /// The built-in Python exception that the class also is; empty for none.
    pub(crate) python: String,
    /// The Go error that `errors.Is` also matches; empty for none.
    pub(crate) go: String,
}

impl Row {
    /// `bad_magic` as `BadMagic`.
    pub(crate) fn camel(&self) -> String {
        self.name.split('_').map(capitalised).collect()
    }

    /// `bad_magic` as `BAD_MAGIC`.
    pub(crate) fn screaming(&self) -> String {
        self.name.to_uppercase()
    }
}

fn capitalised(word: &str) -> String {
    let (first, rest) = word.split_at(1);
    first.to_uppercase() + rest
}

#[derive(Deserialize)]
struct Table {
    error: Vec<Row>,
}

/// Reads the table of the checkout.
pub(crate) fn read(workspace: &Workspace) -> Result<Vec<Row>> {
    parse(&workspace.read("core/errors.toml")?).context("core/errors.toml")
}

fn parse(text: &str) -> Result<Vec<Row>> {
    let rows = toml::from_str::<Table>(text)?.error;
    ensure!(!rows.is_empty(), "the table is empty");
    let mut numbers = HashSet::new();
    let mut names = HashSet::new();
    let mut last = 0;
    for row in &rows {
        let name = &row.name;
        ensure!(numbers.insert(row.number), "number {} is used twice", row.number);
        ensure!(names.insert(name), "name {name} is used twice");
        ensure!(row.number > last, "{name}: numbers have to grow down the file");
        ensure!((100..1000).contains(&row.number), "{name}: a number has three digits");
        ensure!(
            name.split('_')
                .all(|word| !word.is_empty() && word.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit())),
            "{name}: a name is lower snake_case"
        );
        ensure!(
            row.meaning.ends_with('.') && !row.meaning.contains(['"', '\\', '\n', '`']) && row.meaning.is_ascii(),
            "{name}: the meaning is one plain sentence"
        );
        last = row.number;
    }
    Ok(rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(number: i32, name: &str, meaning: &str) -> String {
        format!(
            "[[error]]\nnumber = {number}\nname = \"{name}\"\nmeaning = \"{meaning}\"\nretryable = false\npython = \"\"\ngo = \"\"\n"
        )
    }

    #[test]
    fn names_in_every_case() {
        let rows = parse(&row(107, "invalid_utf8", "Bad text.")).unwrap();
        assert_eq!(rows[0].camel(), "InvalidUtf8");
        assert_eq!(rows[0].screaming(), "INVALID_UTF8");
    }

    #[test]
    fn a_broken_table_is_refused() {
        let fine = row(101, "one", "A.");
        for (bad, why) in [
            (String::from("error = []"), "empty"),
            (fine.clone() + &row(101, "two", "B."), "twice"),
            (fine.clone() + &row(102, "one", "B."), "twice"),
            (row(102, "two", "B.") + &fine, "grow"),
            (row(7, "one", "A."), "three digits"),
            (row(101, "One", "A."), "snake_case"),
            (row(101, "one", "no full stop"), "sentence"),
            (row(101, "one", "A.") + "colour = 1\n", "colour"),
        ] {
            let error = format!("{:#}", parse(&bad).unwrap_err());
            assert!(error.contains(why), "{error}");
        }
    }
}
