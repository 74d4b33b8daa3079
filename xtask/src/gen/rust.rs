//! `core/src/error/table.rs` and `ffi/c/src/status.rs`.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::Stdio;

use anyhow::{Context, Result, ensure};

use super::HEADER;
use crate::table::Row;
use crate::workspace::Workspace;

/// The `Code` enum of the core.
pub(super) fn table(workspace: &Workspace, rows: &[Row]) -> Result<String> {
    let mut out = format!("// {HEADER}\n\n");
    out += "/// What went wrong. The number is the contract and never changes its meaning; names and sentences\n\
            /// are for people.\n\
            #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]\n#[non_exhaustive]\n#[repr(i32)]\npub enum Code {\n";
    for row in rows {
        writeln!(out, "/// {}", row.meaning)?;
        writeln!(out, "{} = {},", row.camel(), row.number)?;
    }
    out += "}\n\nimpl Code {\n/// Every code, by rising number.\npub const ALL: &[Code] = &[\n";
    for row in rows {
        writeln!(out, "Code::{},", row.camel())?;
    }
    out += "];\n\n/// The number, the same in every language.\n\
            pub const fn number(self) -> i32 {\nself as i32\n}\n\n";
    out += "/// The name in snake_case, the same in every language.\n\
            pub const fn name(self) -> &'static str {\nmatch self {\n";
    for row in rows {
        writeln!(out, "Code::{} => \"{}\",", row.camel(), row.name)?;
    }
    out += "}\n}\n\n/// One sentence for people.\npub const fn meaning(self) -> &'static str {\nmatch self {\n";
    for row in rows {
        writeln!(out, "Code::{} => \"{}\",", row.camel(), row.meaning)?;
    }
    out += "}\n}\n\n/// Whether the same call may succeed later without a change in the program.\n\
            pub const fn retryable(self) -> bool {\nmatches!(self,\n";
    let retryable: Vec<_> =
        rows.iter().filter(|row| row.retryable).map(|row| format!("Code::{}", row.camel())).collect();
    out += &retryable.join("| ");
    out += ")\n}\n\n/// The code of a number; `None` for a number that this version does not know.\n\
            pub const fn from_number(number: i32) -> Option<Code> {\nSome(match number {\n";
    for row in rows {
        writeln!(out, "{} => Code::{},", row.number, row.camel())?;
    }
    out += "_ => return None,\n})\n}\n}\n";
    format(workspace, &out)
}

/// The status numbers of the C API.
pub(super) fn status(workspace: &Workspace, rows: &[Row]) -> Result<String> {
    let mut out = format!("// {HEADER}\n\n");
    out += "/// Success: the call did what it says and wrote its outputs.\npub const HOSTLANE_OK: i32 = 0;\n";
    for row in rows {
        writeln!(out, "/// {}", row.meaning)?;
        writeln!(out, "pub const HOSTLANE_E_{}: i32 = {};", row.screaming(), row.number)?;
    }
    format(workspace, &out)
}

/// The text as rustfmt writes it, so that `cargo fmt --check` agrees with the generator.
fn format(workspace: &Workspace, text: &str) -> Result<String> {
    let mut child = workspace
        .command("rustfmt")
        .arg("--config-path")
        .arg(workspace.root())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("starting rustfmt")?;
    child.stdin.take().context("rustfmt has no stdin")?.write_all(text.as_bytes())?;
    let output = child.wait_with_output()?;
    ensure!(output.status.success(), "rustfmt refused the generated text");
    Ok(String::from_utf8(output.stdout)?)
}
