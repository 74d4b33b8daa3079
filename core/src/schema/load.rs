//! Finding the schema files of a directory: which names count, and what is refused.

use std::fs;
use std::io::{self, Read};
use std::path::Path;

use crate::limits::{MAX_SCHEMA_FILE, MAX_SCHEMAS};
use crate::os;
use crate::{Channel, Code, Error, Result};

const SUFFIX: &str = ".schema.json";

pub(super) struct SchemaFile {
    pub(super) channel: Channel,
    pub(super) name: String,
    pub(super) text: Vec<u8>,
}

/// Every schema file of a directory, in order of name.
pub(super) fn schema_files(directory: &Path) -> Result<Vec<SchemaFile>> {
    let unreadable = |error: io::Error| io_error(&directory.display().to_string(), &error);
    let mut names = Vec::new();
    for entry in fs::read_dir(directory).map_err(unreadable)? {
        let name = entry.map_err(unreadable)?.file_name();
        if !name.as_encoded_bytes().ends_with(SUFFIX.as_bytes()) {
            continue;
        }
        if names.len() == MAX_SCHEMAS {
            return Err(bad(&directory.display().to_string(), "more than 256 schema files"));
        }
        // A name that is no UTF-8 is certainly none of the names we know; show what can be shown.
        names.push(name.to_string_lossy().into_owned());
    }
    if names.is_empty() {
        return Err(bad(&directory.display().to_string(), "no schema file in the directory"));
    }
    names.sort_unstable();
    names.into_iter().map(|name| read(directory, name)).collect()
}

fn read(directory: &Path, name: String) -> Result<SchemaFile> {
    let Some(channel) = channel_of(&name) else {
        return Err(bad(&name, "the name stands for no channel"));
    };
    // That and the check of the open file leave no moment in which a link could be put in place.
    let opened = os::open_unfollowed(&directory.join(&name)).map_err(|error| io_error(&name, &error))?;
    let Some(file) = opened else { return Err(bad(&name, "a symbolic link")) };
    let kind = file.metadata().map_err(|error| io_error(&name, &error))?.file_type();
    if !kind.is_file() {
        return Err(bad(&name, "not a regular file"));
    }
    let mut text = Vec::new();
    file.take(MAX_SCHEMA_FILE as u64 + 1).read_to_end(&mut text).map_err(|error| io_error(&name, &error))?;
    if text.len() > MAX_SCHEMA_FILE {
        return Err(bad(&name, "larger than 256 KiB"));
    }
    Ok(SchemaFile { channel, name, text })
}

fn channel_of(name: &str) -> Option<Channel> {
    let number = match name.strip_suffix(SUFFIX)? {
        "command" => 1,
        "data" => 2,
        "telemetry" => 3,
        "error" => 4,
        stem => {
            let digits = stem.strip_prefix("channel_")?;
            let number: u16 = digits.parse().ok()?;
            // One spelling for each number: neither `channel_007` nor `channel_+7`.
            if number.to_string() != digits {
                return None;
            }
            number
        }
    };
    Channel::new(number).ok()
}

fn bad(what: &str, why: &str) -> Error {
    Error::new(Code::BadSchema, format!("{what}: {why}"))
}

fn io_error(what: &str, error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::PermissionDenied => Error::new(Code::PermissionDenied, format!("{what}: {error}")),
        _ => bad(what, &error.to_string()),
    }
}
