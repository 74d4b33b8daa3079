//! JSON Schema per channel: a directory of schema files, compiled once, checked against payloads.
//!
//! Validation is opt-in and separate from a connection: a program loads a [`SchemaSet`] and asks it
//! about the payloads it is about to send or has just received. A schema is used as written, never
//! rewritten; nothing is ever fetched, neither over a network nor from another file.

mod load;

use std::collections::HashMap;
use std::fmt;
use std::path::Path;

use jsonschema::{PatternOptions, Validator};
use serde_json::Value;

use crate::limits::MAX_JSON_DEPTH;
use crate::{Channel, Code, Error, Result};

/// Memory one compiled pattern may take, and one while it runs.
const MAX_PATTERN_BYTES: usize = 1 << 20;
/// A violation quotes the offending value, which may be as large as the message itself.
const MAX_TEXT: usize = 512;

/// The compiled schemas of a directory, at most one for each channel.
///
/// Immutable after loading; share it between threads by reference or in an `Arc`.
pub struct SchemaSet {
    validators: HashMap<Channel, Validator>,
}

impl SchemaSet {
    /// Reads and compiles every `*.schema.json` file of a directory; other files are ignored.
    ///
    /// `command`, `data`, `telemetry` and `error.schema.json` are the schemas of channels 1 to 4,
    /// `channel_300.schema.json` that of user channel 300. Without a `$schema` member a file is
    /// read as draft 2020-12. `format` is an annotation; patterns run in linear time, so
    /// look-around and back-references are refused.
    ///
    /// # Errors
    /// [`Code::BadSchema`] for any other `*.schema.json` name, a symbolic link, a file over
    /// [`MAX_SCHEMA_FILE`](crate::limits::MAX_SCHEMA_FILE), more than [`MAX_SCHEMAS`](crate::limits::MAX_SCHEMAS) files or none at all, two schemas for one
    /// channel, nesting over [`MAX_JSON_DEPTH`], a reference to another document, and whatever is not a
    /// valid schema. [`Code::PermissionDenied`] when the directory or a file may not be read.
    pub fn from_directory(directory: impl AsRef<Path>) -> Result<Self> {
        let mut validators = HashMap::new();
        for file in load::schema_files(directory.as_ref())? {
            let bad = |why: &dyn fmt::Display| Error::new(Code::BadSchema, format!("{}: {}", file.name, bounded(why)));
            let schema = parse(&file.text).map_err(|why| bad(&why))?;
            let validator = compile(&schema).map_err(|why| bad(&why))?;
            if validators.insert(file.channel, validator).is_some() {
                return Err(bad(&"its channel has another schema already"));
            }
        }
        Ok(Self { validators })
    }

    /// The channels that have a schema, in ascending order.
    pub fn channels(&self) -> Vec<Channel> {
        let mut channels: Vec<Channel> = self.validators.keys().copied().collect();
        channels.sort_unstable_by_key(|channel| channel.number());
        channels
    }

    /// Checks a payload against the schema of its channel; a channel without one accepts anything.
    ///
    /// # Errors
    /// The first [`Violation`]; a payload that is no JSON, or nests deeper than [`MAX_JSON_DEPTH`],
    /// violates at the root.
    pub fn validate(&self, channel: Channel, payload: &[u8]) -> std::result::Result<(), Violation> {
        let Some(validator) = self.validators.get(&channel) else {
            return Ok(());
        };
        let instance = parse(payload).map_err(|why| Violation {
            instance_path: String::new(),
            schema_path: String::new(),
            text: why,
        })?;
        validator.validate(&instance).map_err(|error| Violation {
            instance_path: error.instance_path().to_string(),
            schema_path: error.schema_path().to_string(),
            text: bounded(&error),
        })
    }
}

impl fmt::Debug for SchemaSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SchemaSet").field("channels", &self.channels()).finish()
    }
}

/// Why a payload does not satisfy the schema of its channel.
///
/// Displays as one line with both paths; turns into an [`Error`] with [`Code::SchemaViolation`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    instance_path: String,
    schema_path: String,
    text: String,
}

impl Violation {
    /// Where in the payload, as a JSON Pointer; empty for the whole payload.
    pub fn instance_path(&self) -> &str {
        &self.instance_path
    }

    /// The keyword of the schema that failed, as a JSON Pointer; empty if no schema was reached.
    pub fn schema_path(&self) -> &str {
        &self.schema_path
    }

    /// The reason for people, at most about 512 bytes.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { instance_path, schema_path, text } = self;
        write!(f, "at \"{instance_path}\": {text} (schema \"{schema_path}\")")
    }
}

impl std::error::Error for Violation {}

impl From<Violation> for Error {
    fn from(violation: Violation) -> Self {
        Error::new(Code::SchemaViolation, violation.to_string())
    }
}

fn parse(text: &[u8]) -> std::result::Result<Value, String> {
    let value = serde_json::from_slice(text).map_err(|error| format!("not valid JSON: {error}"))?;
    if deeper_than(&value, MAX_JSON_DEPTH) {
        return Err(format!("nests deeper than {MAX_JSON_DEPTH} levels"));
    }
    Ok(value)
}

fn deeper_than(value: &Value, levels: usize) -> bool {
    match value {
        Value::Array(_) | Value::Object(_) if levels == 0 => true,
        Value::Array(items) => items.iter().any(|item| deeper_than(item, levels - 1)),
        Value::Object(members) => members.values().any(|item| deeper_than(item, levels - 1)),
        _ => false,
    }
}

fn compile(schema: &Value) -> std::result::Result<Validator, String> {
    let patterns = PatternOptions::regex().size_limit(MAX_PATTERN_BYTES).dfa_size_limit(MAX_PATTERN_BYTES);
    // The build has no retriever; `offline` keeps it so when another crate of a program turns one on.
    jsonschema::options()
        .with_pattern_options(patterns)
        .offline()
        .build(schema)
        .map_err(|error| format!("{} (at \"{}\")", bounded(&error), error.instance_path()))
}

/// The text of a reason, cut at [`MAX_TEXT`] while it is being written.
fn bounded(reason: &dyn fmt::Display) -> String {
    struct Bounded(String);
    impl fmt::Write for Bounded {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            let room = MAX_TEXT - self.0.len();
            if text.len() <= room {
                self.0.push_str(text);
                return Ok(());
            }
            let end = (0..=room).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0);
            self.0.push_str(&text[..end]);
            Err(fmt::Error)
        }
    }
    let mut text = Bounded(String::new());
    match fmt::write(&mut text, format_args!("{reason}")) {
        Ok(()) => text.0,
        Err(fmt::Error) => text.0 + "…",
    }
}

#[cfg(test)]
mod tests;
