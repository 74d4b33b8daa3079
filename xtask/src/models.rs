//! `models`: core's driver under a model checker, which tries orders in which threads take locks and sleep.

use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;

use crate::workspace::Workspace;

/// How long to look.
#[derive(Args)]
pub(crate) struct Options {
    /// How many orders to try of each model, at random and again with few switches
    #[arg(long, value_name = "N", default_value_t = 1000)]
    runs: u32,
}

/// Runs the models; true when every order ended well.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<bool> {
    Ok(command(workspace, options.runs).status().context("starting cargo")?.success())
}

/// The tests of the models, in a build of their own.
pub(crate) fn command(workspace: &Workspace, runs: u32) -> Command {
    let mut command = workspace.command("cargo");
    command.args(["test", "--locked", "--package=hostlane", "--test=models", "--target-dir=target/models"]);
    command.env("RUSTFLAGS", "--cfg shuttle").env("MODEL_RUNS", runs.to_string());
    command
}
