//! `go/errors.go`, as gofmt formats it.

use std::fmt::Write as _;

use anyhow::{Result, bail};

use crate::table::Row;

/// Go's own wording: linters and code hosts look for it.
const HEADER: &str = "// Code generated from core/errors.toml by `cargo xtask gen`. DO NOT EDIT.\n";

/// The codes, the sentinels and the table behind them.
pub(super) fn errors(rows: &[Row]) -> Result<String> {
    let mut out = format!("{HEADER}\npackage hostlane\n\nimport (\n");
    for import in imports(rows)? {
        writeln!(out, "\t\"{import}\"")?;
    }
    out += ")\n\n\
        // Code is the number of an error: the same number for the same cause in every\n\
        // language. Numbers are never reused; texts are for people.\n\
        type Code int32\n\n\
        // The numbers, by hundreds: 1xx the caller, 2xx the transport, 3xx the protocol,\n\
        // 4xx the schema, 5xx the remote program, 9xx hostlane itself.\n\
        const (\n";
    for row in rows {
        let name = name(row);
        writeln!(out, "\t// Code{name}: {}", row.meaning)?;
        writeln!(out, "\tCode{name} Code = {}", row.number)?;
    }
    out += ")\n\n// The sentinels, for errors.Is.\nvar (\n";
    for row in rows {
        let name = name(row);
        writeln!(out, "\t// Err{name}: {}", row.meaning)?;
        if !row.go.is_empty() {
            writeln!(out, "\t// It also matches {}.", row.go)?;
        }
        writeln!(out, "\tErr{name} = &Error{{Code: Code{name}}}")?;
    }
    out += ")\n\n\
        // codeFacts is one row of the error table.\n\
        type codeFacts struct {\n\
        \tname      string\n\
        \tmeaning   string\n\
        \tretryable bool\n\
        \tstandard  error // the standard library's error for the same cause, or nil\n\
        }\n\n\
        var codeTable = map[Code]codeFacts{\n";
    let width = rows.iter().map(|row| name(row).len()).max().unwrap_or(0) + "Code:".len();
    for row in rows {
        let key = format!("Code{}:", name(row));
        let standard = if row.go.is_empty() { "nil" } else { &row.go };
        let facts = format!("{{\"{}\", \"{}\", {}, {standard}}}", row.name, row.meaning, row.retryable);
        writeln!(out, "\t{key:width$} {facts},")?;
    }
    out += "}\n";
    Ok(out)
}

/// The packages that the standard errors come from, sorted.
fn imports(rows: &[Row]) -> Result<Vec<&'static str>> {
    let mut paths = Vec::new();
    for row in rows.iter().filter(|row| !row.go.is_empty()) {
        paths.push(match row.go.split('.').next() {
            Some("context") => "context",
            Some("errors") => "errors",
            Some("fs") => "io/fs",
            Some("io") => "io",
            Some("net") => "net",
            Some("os") => "os",
            Some("syscall") => "syscall",
            _ => bail!("{}: no import is known for {}", row.name, row.go),
        });
    }
    paths.sort_unstable();
    paths.dedup();
    Ok(paths)
}

/// `bad_magic` as `BadMagic`, with Go's spelling of initialisms.
fn name(row: &Row) -> String {
    let capital = |word: &str| match word {
        "io" | "utf8" => word.to_uppercase(),
        _ => word[..1].to_uppercase() + &word[1..],
    };
    row.name.split('_').map(capital).collect()
}
