//! `cargo xtask`: the one entry for building, testing and measuring hostlane in every language.

mod bench;
mod check;
mod conformance;
mod demo;
mod doctor;
mod fuzz;
mod r#gen;
mod hash;
mod hex;
mod hygiene;
mod lang;
mod layers;
mod ledger;
mod models;
mod mutants;
mod names;
mod process;
mod server;
mod simulate;
mod soak;
mod suites;
mod table;
mod verdict;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::workspace::Workspace;

/// Builds, tests and measures hostlane in every language.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the tests and checks of every language; ends with `N passed, N failed`
    Test(suites::Options),
    /// Send every file of the checkout between every pair of languages
    Demo(demo::Options),
    /// Play the conformance cases between the agents of every pair of languages
    Conformance(conformance::Options),
    /// Have all languages talk for a long time, with faults, and account for every message
    Soak(soak::Options),
    /// Run `hostlane check` against the servers and clients of every language, and the oracle
    Check(check::Options),
    /// Measure every language beside a raw Unix socket in the same language
    Bench(bench::Options),
    /// Look for inputs that break core, with coverage as a guide
    Fuzz(fuzz::Options),
    /// Try orders in which threads share a connection, with a model checker
    Models(models::Options),
    /// Change core's protocol code in small ways, each of which its tests have to notice
    Mutants(mutants::Options),
    /// Run simulated worlds of core's protocol, each made from its seed
    Simulate(simulate::Options),
    /// Say which languages can be built here, and what the others lack
    Doctor,
    /// Write every generated file
    Gen,
    /// Fail if a generated file differs from what `gen` would write
    CheckGen,
    /// Fail if a module reaches past its layer
    CheckLayers,
    /// Fail on machine paths, registry hosts, binaries and wrong metadata in the tree
    CheckHygiene,
}

fn main() -> ExitCode {
    let workspace = match Workspace::find() {
        Ok(workspace) => workspace,
        Err(error) => return fail(&error),
    };
    let outcome = match Cli::parse().command {
        Command::Test(options) => suites::run(&workspace, &options),
        Command::Demo(options) => demo::run(&workspace, &options),
        Command::Conformance(options) => conformance::run(&workspace, &options),
        Command::Soak(options) => soak::run(&workspace, &options),
        Command::Check(options) => check::run(&workspace, &options),
        Command::Bench(options) => bench::run(&workspace, &options),
        Command::Fuzz(options) => fuzz::run(&workspace, &options),
        Command::Models(options) => models::run(&workspace, &options),
        Command::Mutants(options) => mutants::run(&workspace, &options),
        Command::Simulate(options) => simulate::run(&workspace, &options),
        Command::Doctor => doctor::run(&workspace),
        Command::Gen => r#gen::write(&workspace),
        Command::CheckGen => r#gen::check(&workspace),
        Command::CheckLayers => layers::check(&workspace),
        Command::CheckHygiene => hygiene::check(&workspace),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => fail(&error),
    }
}

fn fail(error: &anyhow::Error) -> ExitCode {
    eprintln!("xtask: {error:#}");
    ExitCode::FAILURE
}
