//! Core's tests under the compiler's sanitizers (`--full` only): AddressSanitizer and LeakSanitizer with the product's
//! toolchain, which brings their run time along; ThreadSanitizer with one whose standard library can be built from source,
//! since one that is not instrumented makes it see races where there are none.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::portable::{self, TESTS, Toolchain};
use super::{Counter, Step, Suite};
use crate::process;
use crate::workspace::Workspace;

/// What measures the memory or the threads of the process, which are those of the sanitizer then.
const MEASURED: [&str; 6] = [
    "a_flood_nobody_reads_the_answers_of_needs_little_memory",
    "a_long_stream_both_ways_needs_little_memory",
    "answers_inside_a_cork_that_nobody_reads_keep_their_places",
    "answers_whose_wait_has_ended_keep_their_places",
    "calls_go_on_beside_a_channel_nobody_reads",
    "thousands_of_idle_connections_cost_a_descriptor_and_little_memory_each",
];

/// The suites, and what each lacks on this machine.
pub(super) fn suites() -> Vec<Suite> {
    vec![portable::suite("rust-asan", asan).lacking(no_asan), portable::suite("rust-tsan", tsan).lacking(no_tsan)]
}

fn asan(workspace: &Workspace) -> Result<Vec<Step>> {
    let mut command = workspace.command("cargo");
    command.args(TESTS).args(["--target", &host()?, "--target-dir"]).arg(portable::folder(workspace, "asan"));
    // Its standard library is not instrumented, and that is all that differs.
    command.env("RUSTFLAGS", "-Zsanitizer=address -Cunsafe-allow-abi-mismatch=sanitizer").env("RUSTC_BOOTSTRAP", "1");
    Ok(vec![without(command, &MEASURED)])
}

fn tsan(workspace: &Workspace) -> Result<Vec<Step>> {
    let toolchain = Toolchain::with_source().context("no toolchain with the source of its standard library")?;
    let clang = clang(&toolchain).context("no version of LLVM")?;
    let mut command = toolchain.cargo(workspace, "cargo", &TESTS);
    command.args(["--target", &host()?, "--target-dir"]).arg(portable::folder(workspace, "tsan"));
    let linking = format!("-Zexternal-clangrt -Clinker={clang} -Clink-arg=-fsanitize=thread");
    command.env("RUSTFLAGS", format!("-Zsanitizer=thread {linking}"));
    // A child of a process with threads may have threads too.
    command.env("TSAN_OPTIONS", "die_after_fork=0");
    Ok(vec![without(command, &MEASURED)])
}

/// The tests but some.
fn without(mut command: Command, names: &[&str]) -> Step {
    command.arg("--").args(names.iter().map(|name| format!("--skip={name}")));
    Step { command, counter: Counter::Cargo, left_out: names.len() }
}

fn no_asan() -> Option<String> {
    let found = portable::print(Path::new(""), &["--print=target-libdir"]).map(PathBuf::from).and_then(|library| {
        let entries = std::fs::read_dir(library).ok()?;
        entries.flatten().find(|entry| entry.file_name().to_string_lossy().ends_with("_rt.asan.a"))
    });
    found.is_none().then(|| "rustc brings no AddressSanitizer along: install Rust with rustup".into())
}

fn no_tsan() -> Option<String> {
    let Some(toolchain) = Toolchain::with_source() else {
        return Some(
            "no rustc on PATH has the source of its standard library: apt-get install rustc-web cargo-web rust-web-src"
                .into(),
        );
    };
    let Some(clang) = clang(&toolchain) else { return Some("rustc does not say its version of LLVM".into()) };
    let missing =
        || format!("{clang} is missing: apt-get install {clang} lib{}-dev", clang.replace("clang", "clang-rt"));
    process::find(&clang).is_none().then(missing)
}

/// The clang of the same LLVM, which has the run time of the sanitizer.
fn clang(toolchain: &Toolchain) -> Option<String> {
    let version = said(&toolchain.folder, "LLVM version: ")?;
    Some(format!("clang-{}", version.split('.').next()?))
}

fn host() -> Result<String> {
    said(Path::new(""), "host: ").context("rustc does not say its host")
}

/// A line of what a folder's `rustc` says of itself.
fn said(folder: &Path, name: &str) -> Option<String> {
    let text = portable::print(folder, &["-vV"])?.into_string().ok()?;
    text.lines().find_map(|line| line.strip_prefix(name)).map(str::to_owned)
}

/// What is missing for each of the suites, for `doctor`.
pub(crate) fn lacking() -> Vec<(&'static str, Vec<String>)> {
    suites().into_iter().map(|suite| (suite.name, suite.missing())).collect()
}
