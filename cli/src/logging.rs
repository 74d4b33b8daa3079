//! Warnings and diagnostics on standard error, one line each.

use std::io::Write;
use std::time::SystemTime;

use clap::ValueEnum;
use log::{Level, LevelFilter};

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// The target of what is said unless only errors are asked for, though nothing is wrong.
pub(crate) const NEWS: &str = "news";

/// Starts logging; called once, before anything is logged.
pub(crate) fn start(level: LogLevel, format: LogFormat) {
    let level = match level {
        LogLevel::Error => LevelFilter::Error,
        LogLevel::Warn => LevelFilter::Warn,
        LogLevel::Info => LevelFilter::Info,
        LogLevel::Debug => LevelFilter::Debug,
        LogLevel::Trace => LevelFilter::Trace,
    };
    env_logger::Builder::new()
        .filter_level(level)
        .filter_module(NEWS, if level == LevelFilter::Warn { LevelFilter::Info } else { level })
        .format(move |line, record| match format {
            LogFormat::Text => {
                // A failure stands for itself: `hostlane: timeout: …`.
                let kind = match record.level() {
                    _ if record.target() == NEWS => "",
                    Level::Error => "",
                    Level::Warn => "warning: ",
                    Level::Info => "info: ",
                    Level::Debug => "debug: ",
                    Level::Trace => "trace: ",
                };
                writeln!(line, "hostlane: {kind}{}", printable(&record.args().to_string()))
            }
            LogFormat::Json => {
                let entry = serde_json::json!({
                    "timestamp": humantime::format_rfc3339_millis(SystemTime::now()).to_string(),
                    "level": record.level().as_str().to_ascii_lowercase(),
                    "message": record.args().to_string(),
                });
                writeln!(line, "{entry}")
            }
        })
        .init();
}

/// Text that is safe on a terminal: control characters, which a peer may have put there, are escaped.
pub(crate) fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_control() {
            shown.extend(c.escape_default());
        } else {
            shown.push(c);
        }
    }
    shown
}
