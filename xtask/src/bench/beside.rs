//! Calls on a connection beside other traffic of it: `bench/hostlane/src/bin/beside.rs` in two forms. Calls beside an
//! unread channel run with the two processes on a core each: where the system draws both to one, for a while, that is
//! all that the slowest calls show.

use std::fs;

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};

use super::peers;
use super::place::Placement;
use crate::process::shown;
use crate::workspace::Workspace;

pub(crate) const RESULTS: &str = "bench/results/beside.json";

/// The works, where, their rounds, and the seconds of each.
const WORKS: [(&str, Placement, u32, u32); 2] = [("unread", Placement::Apart, 5, 10), ("bulk", Placement::Free, 9, 1)];

pub(super) fn run(workspace: &Workspace) -> Result<bool> {
    let mut build = workspace.command("cargo");
    build.args([
        "build",
        "--locked",
        "--release",
        "--manifest-path",
        "bench/Cargo.toml",
        "--package",
        "hostlane-bench",
    ]);
    build.arg("--target-dir").arg(workspace.path("bench/target"));
    ensure!(build.status().with_context(|| shown(&build))?.success(), "{} failed", shown(&build));
    let mut results = Vec::new();
    for (work, placement, rounds, seconds) in WORKS {
        if let Some(why) = placement.missing() {
            bail!("{work} {placement}: {why}");
        }
        let mut command = workspace.command(workspace.path("bench/target/release/beside"));
        command.args([work, &rounds.to_string(), &seconds.to_string()]);
        // It starts the server itself, behind this.
        command.args(placement.server_core().into_iter().flat_map(|core| ["taskset", "--cpu-list", core]));
        let mut command = placement.client(command);
        let output = command.output().with_context(|| shown(&command))?;
        let said = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "{}: {}", shown(&command), said.trim());
        let mut result: Value = serde_json::from_slice(&output.stdout).with_context(|| shown(&command))?;
        println!("{work:8}{}", line(&result));
        result["placement"] = json!(placement.to_string());
        result["rounds"] = json!(rounds);
        result["seconds"] = json!(seconds);
        results.push(result);
    }
    let text = serde_json::to_string_pretty(&json!({ "machine": peers::machine(), "results": results }))?;
    fs::create_dir_all(workspace.path("bench/results"))?;
    fs::write(workspace.path(RESULTS), text + "\n").context(RESULTS)?;
    println!("written to {RESULTS}");
    Ok(true)
}

fn line(result: &Value) -> String {
    let of = |what: &str, key: &str| result[what][key].as_f64().unwrap_or(f64::NAN);
    let times = |what: &str| {
        format!("{what} p50 {:.1} p99 {:.1} max {:.0} us", of(what, "p50_us"), of(what, "p99_us"), of(what, "max_us"))
    };
    let ratio = result["p99_ratio"].as_f64().unwrap_or(f64::NAN);
    let shown: String = ["alone", "beside", "apart"]
        .into_iter()
        .filter(|situation| result[situation].is_object())
        .map(|situation| times(situation) + "; ")
        .collect();
    format!("{shown}p99 ratio {ratio:.2}, median of the rounds")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_is_one_line() {
        let times = json!({ "p50_us": 10.04, "p99_us": 20.0, "max_us": 31.6 });
        let shown = line(&json!({ "alone": times, "beside": times, "p99_ratio": 1.1 }));
        let half = "p50 10.0 p99 20.0 max 32 us";
        assert_eq!(shown, format!("alone {half}; beside {half}; p99 ratio 1.10, median of the rounds"));
    }
}
