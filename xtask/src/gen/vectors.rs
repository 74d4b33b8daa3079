//! `tests/vectors/errors.json`, which the tests of every language hold against their own table.

use anyhow::Result;
use serde_json::json;

use crate::table::Row;

/// The rows, one a line, in the form of `tests/vectors/schema.json`.
pub(super) fn errors(rows: &[Row]) -> Result<String> {
    let doc = "The error table, from core/errors.toml by `cargo xtask gen`.";
    let cases = rows.iter().map(|row| {
        // Written out, since members have an order that people read.
        Ok(format!(
            "    {{\"id\": {}, \"doc\": {}, \"number\": {}, \"name\": {}, \"retryable\": {}}}",
            serde_json::to_string(&row.name.replace('_', "-"))?,
            serde_json::to_string(&row.meaning)?,
            row.number,
            serde_json::to_string(&row.name)?,
            row.retryable
        ))
    });
    let cases = cases.collect::<Result<Vec<String>>>()?.join(",\n");
    Ok(format!("{{\n  \"kind\": \"errors\",\n  \"doc\": {},\n  \"cases\": [\n{cases}\n  ]\n}}\n", json!(doc)))
}
