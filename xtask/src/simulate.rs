//! `simulate`: many worlds of the simulator inside core, with every check on.

use anyhow::{Context, Result};
use clap::Args;

use crate::workspace::Workspace;

/// Which worlds.
#[derive(Args)]
pub(crate) struct Options {
    /// How many worlds, one seed after the other
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    seeds: u64,
    /// The first seed
    #[arg(long, value_name = "SEED", default_value_t = 0)]
    from: u64,
    /// This world alone, with a trace of everything that happens in it
    #[arg(long, value_name = "SEED", conflicts_with_all = ["seeds", "from", "seconds"])]
    seed: Option<u64>,
    /// Start no world after so many seconds
    #[arg(long, value_name = "T")]
    seconds: Option<u64>,
}

/// Builds core's tests with optimisation and runs the simulator; true when it found nothing.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<bool> {
    let mut command = workspace.command("cargo");
    command.args(["test", "--profile", "simulate", "--package", "hostlane", "--lib", "--"]);
    command.args(["--ignored", "--exact", "--nocapture", "proto::sim::long"]);
    match options.seed {
        Some(seed) => command.env("HOSTLANE_SIMULATE_SEED", seed.to_string()),
        None => command
            .env("HOSTLANE_SIMULATE_FROM", options.from.to_string())
            .env("HOSTLANE_SIMULATE_SEEDS", options.seeds.to_string()),
    };
    if let Some(seconds) = options.seconds {
        command.env("HOSTLANE_SIMULATE_SECONDS", seconds.to_string());
    }
    Ok(command.status().context("starting cargo")?.success())
}
