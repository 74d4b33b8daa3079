//! The part of `docs/performance.md` about other traffic of a connection, from the results of `cargo xtask bench --beside`.

use std::fmt::Write as _;

use anyhow::{Context, Result};
use serde::Deserialize;

use super::performance::{Machine, short};

pub(super) const RESULTS: &str = "bench/results/beside.json";

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
    writeln!(text, "\n## `{RESULTS}`\n\n{}. Again: `cargo xtask bench --beside`", report.machine)?;
    for result in report.results {
        let Some((_, what, meanwhile)) = WORKS.into_iter().find(|(work, ..)| *work == result.work) else {
            continue;
        };
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
        let (ratio, rounds) = (result.p99_ratio, result.rounds);
        writeln!(
            text,
            "\nRatio of the 99th percentiles, with it to without: {ratio:.2}, the median of {rounds} rounds."
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
            "work": "bulk", "placement": "anywhere", "rounds": 9, "p99_ratio": 17.06,
            "alone": times, "beside": times, "apart": times,
        });
        let text = section(&json!({ "machine": machine, "results": [result] }).to_string()).unwrap();
        assert!(text.contains("P a, 2 cores, 3 GiB, Linux 6. Again: `cargo xtask bench --beside`"), "{text}");
        assert!(text.contains("| with it, on a connection of their own | 4.71 | 1531 | 5067 | 7 |"), "{text}");
        assert!(text.contains("17.06, the median of 9 rounds"), "{text}");
    }
}
