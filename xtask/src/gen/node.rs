//! `node/src/errors.ts`.

use std::fmt::Write as _;

use anyhow::Result;

use crate::table::Row;

const HEAD: &str = "\
// Generated from core/errors.toml by `cargo xtask gen`. Do not edit.

/** One row of the error table. */
export interface ErrorRow {
  /** The contract: unique, never reused, the same in every language. */
  readonly number: number;
  /** The name in snake_case, the same in every language. */
  readonly name: string;
  /** What `HostlaneError.code` holds. */
  readonly code: string;
  /** One sentence for people. */
  readonly meaning: string;
  /** Whether the same call may succeed later without a change in the program. */
  readonly retryable: boolean;
}

/** Every error there is, in the order of the numbers. */
export const ERRORS = [
";

/// What follows the rows: the types derived from them and the class that carries one.
const TAIL: &str = include_str!("../../templates/errors.ts");

/// The rows as a constant whose types TypeScript can compute with.
pub(super) fn errors(rows: &[Row]) -> Result<String> {
    let mut out = String::from(HEAD);
    for row in rows {
        let meaning = row.meaning.replace('\'', "\\'");
        writeln!(out, "  {{\n    number: {},\n    name: '{}',", row.number, row.name)?;
        writeln!(out, "    code: 'ERR_HOSTLANE_{}',\n    meaning: '{meaning}',", row.screaming())?;
        writeln!(out, "    retryable: {},\n  }},", row.retryable)?;
    }
    Ok(out + TAIL)
}
