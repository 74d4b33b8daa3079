//! The part of `docs/performance.md` about other traffic of a connection, from the results of `cargo xtask bench --beside`.

use std::fmt::Write as _;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::performance::{Machine, short};
use crate::bench::beside::RESULTS;

/// What is compared with what, by the name it has in the results.
const WORKS: [(&str, &str, &str); 2] = [
    ("unread", "Calls of 64 B", "a thread waits for credit of a channel that the other side does not read"),
    ("bulk", "Pings", "1 GiB goes over the connection in messages of 16 MiB"),
];

#[derive(Deserialize)]
struct Report {
    machine: Machine,
    results: Vec<Work>,
}

#[derive(Deserialize)]
struct Work {
    work: String,
    placement: String,
    rounds: usize,
    alone: Times,
    beside: Times,
    apart: Option<Times>,
    p99_ratio: f64,
    p99_ratios: Vec<f64>,
}

/// Microseconds.
#[derive(Deserialize)]
struct Times {
    count: u64,
    p50_us: f64,
    p99_us: f64,
    max_us: f64,
}

/// The section that `results`, a file's text, makes.
pub(super) fn section(results: &str) -> Result<String> {
    let report: Report = serde_json::from_str(results).context(RESULTS)?;
    let mut text = String::new();
    writeln!(text, "\n## `{RESULTS}`\n\n{}. Again: `cargo xtask bench --beside`\n", report.machine)?;
    writeln!(
        text,
        "All rounds count here. What happens to pings on a connection of their own is the work of the system's scheduler: on\n\
         two processors three threads want to run."
    )?;
    for result in report.results {
        let known = WORKS.into_iter().find(|(work, ..)| *work == result.work);
        let (_, what, meanwhile) = known.with_context(|| format!("{RESULTS}: what is {}?", result.work))?;
        writeln!(text, "\n### {what} while {meanwhile}, {}\n", result.placement)?;
        writeln!(text, "| | median, µs | 99th percentile, µs | most, µs | how many |")?;
        writeln!(text, "|---|---|---|---|---|")?;
        let rows = [
            ("without it", Some(result.alone)),
            ("with it", Some(result.beside)),
            ("with it, on a connection of their own", result.apart),
        ];
        for (name, times) in rows {
            let Some(Times { count, p50_us, p99_us, max_us }) = times else { continue };
            writeln!(text, "| {name} | {} | {} | {} | {count} |", short(p50_us), short(p99_us), short(max_us))?;
        }
        let least = result.p99_ratios.iter().copied().fold(f64::INFINITY, f64::min);
        let most = result.p99_ratios.iter().copied().fold(0.0, f64::max);
        writeln!(
            text,
            "\nRatio of the 99th percentiles, with it to without: {:.2} ({least:.2}..{most:.2}), of {} rounds.",
            result.p99_ratio, result.rounds
        )?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_situation_is_a_row() {
        let times = json!({ "count": 7, "p50_us": 4.71, "p99_us": 1530.8, "max_us": 5066.9 });
        let machine = json!({ "processor": "P", "architecture": "a", "cores": 2, "memory_gib": 3, "kernel": "6" });
        let result = json!({
            "work": "bulk", "placement": "anywhere", "rounds": 9, "p99_ratio": 17.06, "p99_ratios": [5.0, 66.0],
            "alone": times, "beside": times, "apart": times,
        });
        let text = section(&json!({ "machine": machine, "results": [result] }).to_string()).unwrap();
        assert!(text.contains("P a, 2 cores, 3 GiB, Linux 6. Again: `cargo xtask bench --beside`"), "{text}");
        assert!(text.contains("| with it, on a connection of their own | 4.71 | 1531 | 5067 | 7 |"), "{text}");
        assert!(text.contains("17.06 (5.00..66.00), of 9 rounds."), "{text}");
    }
}
