//! `python/hostlane/errors.py`, as ruff formats it.

use std::fmt::Write as _;

use anyhow::Result;

use super::HEADER;
use crate::table::Row;

/// One exception class per row, and the map from number to class.
pub(super) fn errors(rows: &[Row]) -> Result<String> {
    let mut out = format!("# {HEADER}\n");
    out += "\"\"\"Every error hostlane raises: one class per row of the error table.\"\"\"\n\n\
            from __future__ import annotations\n\nimport builtins\nfrom typing import ClassVar\n\n\
            from hostlane._error import Error, Remote, Sent\n\n__all__ = [\n";
    let mut names: Vec<_> = rows.iter().map(class).collect();
    names.extend(["Error".into(), "Sent".into()]);
    names.sort();
    for name in names {
        writeln!(out, "    \"{name}\",")?;
    }
    out += "]\n";
    for row in rows {
        let bases = match (row.name.as_str(), row.python.as_str()) {
            // Whoever catches faults of hostlane catches the ones that panicked too.
            ("panic", _) => "InternalError".into(),
            // It carries what the program at the other end gave along.
            ("remote_error", _) => "Remote".into(),
            (_, "") => "Error".into(),
            (_, builtin) => format!("Error, builtins.{builtin}"),
        };
        writeln!(out, "\n\nclass {}({bases}):", class(row))?;
        writeln!(out, "    \"\"\"{}\"\"\"\n", row.meaning)?;
        writeln!(out, "    code: ClassVar[int] = {}", row.number)?;
        writeln!(out, "    kind: ClassVar[str] = \"{}\"", row.name)?;
        let retryable = if row.retryable { "True" } else { "False" };
        writeln!(out, "    retryable: ClassVar[bool] = {retryable}")?;
    }
    out += "\n\nBY_CODE: dict[int, type[Error]] = {\n";
    for row in rows {
        writeln!(out, "    {}: {},", row.number, class(row))?;
    }
    out += "}\n\"\"\"The class of each error number.\"\"\"\n";
    Ok(out)
}

/// `bad_magic` as `BadMagicError`; `remote_error` stays `RemoteError`.
fn class(row: &Row) -> String {
    let name = row.camel();
    if name.ends_with("Error") { name } else { name + "Error" }
}
