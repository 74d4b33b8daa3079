//! Results on standard output, in the format asked for.

use std::io::{self, Write};

use clap::ValueEnum;
use serde::Serialize;

use crate::exit::Failure;

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// One JSON object a line
    Json,
    /// Aligned text for people
    Table,
    /// Indented JSON
    Pretty,
    /// The bare value and nothing else: payload bytes, a peer id, a version
    Raw,
}

/// One result. Its serialised members are the JSON and pretty formats.
pub(crate) trait Report: Serialize {
    /// For people; every line ends with a newline.
    fn table(&self) -> String;
    /// The bare bytes.
    fn raw(&self) -> Vec<u8>;
}

pub(crate) struct Output {
    format: Format,
}

impl Output {
    pub(crate) fn new(format: Format) -> Output {
        Output { format }
    }

    /// Writes one result and flushes it, so that a pipe's reader sees it at once.
    pub(crate) fn report(&self, report: &impl Report) -> Result<(), Failure> {
        let bytes = match self.format {
            Format::Json => line(serde_json::to_vec(report)),
            Format::Pretty => line(serde_json::to_vec_pretty(report)),
            Format::Table => Ok(report.table().into_bytes()),
            Format::Raw => Ok(report.raw()),
        };
        write(bytes)
    }

    /// What a table ends with; the other formats have no place for it.
    pub(crate) fn summary(&self, text: &str) -> Result<(), Failure> {
        match self.format {
            Format::Table => write(Ok(text.as_bytes().to_vec())),
            _ => Ok(()),
        }
    }
}

fn write(bytes: io::Result<Vec<u8>>) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    bytes.and_then(|bytes| out.write_all(&bytes)).and_then(|()| out.flush()).map_err(|error| match error.kind() {
        io::ErrorKind::BrokenPipe => Failure::ReaderLeft,
        _ => Failure::Output(error),
    })
}

fn line(json: serde_json::Result<Vec<u8>>) -> io::Result<Vec<u8>> {
    let mut bytes = json?;
    bytes.push(b'\n');
    Ok(bytes)
}

/// `name   value` lines with the values aligned.
pub(crate) fn aligned(rows: &[(&str, String)]) -> String {
    let width = rows.iter().map(|(name, _)| name.len()).max().unwrap_or(0);
    rows.iter().map(|(name, value)| format!("{name:width$}  {value}\n")).collect()
}
