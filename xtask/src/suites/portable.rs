//! Core's tests on other processors, C libraries and systems, as far as this machine can play them (`--full` only).
//!
//! A toolchain is used that has the target's standard library, or its source, from which it is built then. Debian's
//! packages `rustc-web` and `rust-web-src` are one; it may be another version than the one that builds the product.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::{Counter, Step, Suite};
use crate::workspace::Workspace;

const ARM64: Target = Target {
    triple: "aarch64-unknown-linux-gnu",
    install: "dpkg --add-architecture arm64; apt-get update; apt-get install rustc-web cargo-web libstd-rust-web-dev:arm64",
};
const MUSL: Target =
    Target { triple: "x86_64-unknown-linux-musl", install: "apt-get install rustc-web cargo-web rust-web-src" };
const WINDOWS: Target =
    Target { triple: "x86_64-pc-windows-gnu", install: "apt-get install rustc-web cargo-web rust-web-src" };

/// What makes and links musl binaries.
const ZIG: [&str; 2] = ["cargo-zigbuild==0.24.0", "ziglang==0.17.1"];

/// Core's tests of everything but what is built on tokio and tracing.
pub(super) const TESTS: [&str; 6] = ["test", "--locked", "--no-fail-fast", "--package=hostlane", "--lib", "--tests"];

/// What is asked of the kernel and answered for the emulator: its memory, its threads and signals. And a child that
/// an emulated process forks cannot start threads or programs, nor tell that a program could not be started: the emulator
/// itself gives up there, most times.
const NOT_EMULATED: [&str; 6] = [
    "a_child_starts_programs_whoever_looked_after_the_parents_at_the_fork",
    "a_forked_child_has_an_io_thread_of_its_own",
    "calls_go_on_beside_a_channel_nobody_reads",
    "the_io_thread_sleeps_when_idle_takes_no_signals_and_ends_after_its_last_peer",
    "thousands_of_idle_connections_cost_a_descriptor_and_little_memory_each",
    "what_cannot_be_started_says_so",
];

/// The suites, and what each lacks on this machine.
pub(super) fn suites() -> Vec<Suite> {
    vec![
        suite("arm64", arm64)
            .lacking(|| ARM64.missing())
            .with(("aarch64-linux-gnu-gcc", "apt-get install gcc-aarch64-linux-gnu libc6-dev-arm64-cross"))
            .with(("qemu-aarch64", "apt-get install qemu-user")),
        suite("musl", musl)
            .lacking(|| MUSL.missing())
            .with(("python3", "apt-get install python3 python3-venv"))
            .with(("readelf", "apt-get install binutils")),
        suite("wine", wine)
            .lacking(|| WINDOWS.missing())
            .with(("x86_64-w64-mingw32-gcc", "apt-get install gcc-mingw-w64-x86-64-win32"))
            .with(("wine", "apt-get install wine wine64")),
    ]
}

pub(super) fn suite(name: &'static str, steps: fn(&Workspace) -> Result<Vec<Step>>) -> Suite {
    Suite { name, needs: Vec::new(), tools: Vec::new(), lacking: None, steps: Box::new(steps) }
}

fn arm64(workspace: &Workspace) -> Result<Vec<Step>> {
    let mut test = ARM64.cargo(workspace, "cargo", &TESTS)?;
    test.arg("--");
    test.args(NOT_EMULATED.map(|name| format!("--skip={name}")));
    test.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER", "aarch64-linux-gnu-gcc");
    let mut runner = workspace.path(".ci/emulated").into_os_string();
    runner.push(" qemu-aarch64");
    test.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER", runner);
    Ok(vec![Step { command: test, counter: Counter::Cargo, left_out: NOT_EMULATED.len() }])
}

fn musl(workspace: &Workspace) -> Result<Vec<Step>> {
    let venv = folder(workspace, "zig");
    let mut steps = Vec::new();
    if !venv.join("bin/cargo-zigbuild").is_file() {
        let mut create = workspace.command("python3");
        create.args(["-m", "venv"]).arg(&venv);
        let mut install = workspace.command(venv.join("bin/python"));
        install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]).args(ZIG);
        steps.extend([Counter::Build.of(create), Counter::Build.of(install)]);
    }
    let zig = |arguments: &[&str]| -> Result<Command> {
        let mut command = MUSL.cargo(workspace, venv.join("bin/cargo-zigbuild"), arguments)?;
        // It starts `cargo` and finds zig beside itself.
        let path = std::env::var_os("PATH").context("PATH is not set")?;
        let first = [venv.join("bin"), toolchain_links(workspace, &MUSL)?];
        command.env("PATH", std::env::join_paths(first.into_iter().chain(std::env::split_paths(&path)))?);
        // What rustc brings along for musl is not there.
        command.env("RUSTFLAGS", "-Clink-self-contained=no");
        Ok(command)
    };
    steps.push(Counter::Cargo.of(zig(&TESTS)?));
    // A program that is linked to nothing names no interpreter, and runs.
    steps.push(Counter::Build.of(zig(&["build", "--locked", "--package=hostlane-cli"])?));
    let program = folder(workspace, MUSL.triple).join("debug/hostlane");
    let mut linked = workspace.command("sh");
    linked.args([
        "-c",
        "headers=$(readelf --wide --program-headers \"$1\") && case $headers in *INTERP*) exit 1;; esac",
        "sh",
    ]);
    linked.arg(&program);
    steps.push(Counter::Exit.of(linked));
    let mut version = workspace.command(&program);
    version.arg("--version");
    steps.push(Counter::Exit.of(version));
    Ok(steps)
}

fn wine(workspace: &Workspace) -> Result<Vec<Step>> {
    let home = folder(workspace, "wine");
    std::fs::create_dir_all(&home)?;
    let mut library = workspace.command("x86_64-w64-mingw32-gcc");
    library.args(["-shared", "-O1", "-o"]).arg(home.join("bcryptprimitives.dll"));
    library.args(["xtask/wine/bcryptprimitives.c", "-ladvapi32"]);
    let mut test = WINDOWS.cargo(workspace, "cargo", &TESTS)?;
    test.env("CARGO_TARGET_X86_64_PC_WINDOWS_GNU_RUNNER", workspace.path(".ci/wine")).env("HOSTLANE_WINE", &home);
    Ok(vec![Counter::Build.of(library), Counter::Cargo.of(test)])
}

/// A platform to build for, and how to get what that takes.
struct Target {
    triple: &'static str,
    install: &'static str,
}

/// A `rustc` and the `cargo` beside it.
pub(super) struct Toolchain {
    pub(super) folder: PathBuf,
    /// The standard library has to be built from its source.
    from_source: bool,
}

impl Target {
    /// The first toolchain on the search path that can build for this target.
    fn toolchain(&self) -> Option<Toolchain> {
        let found = Toolchain::folders().into_iter().find(|folder| self.has_library(folder));
        let found = found.map(|folder| Toolchain { folder, from_source: false });
        found.or_else(Toolchain::with_source)
    }

    fn has_library(&self, folder: &Path) -> bool {
        let library = print(folder, &["--print=target-libdir", "--target", self.triple]);
        let entries = library.and_then(|library| std::fs::read_dir(library).ok());
        entries.is_some_and(|mut entries| {
            entries.any(|entry| entry.is_ok_and(|entry| entry.file_name().to_string_lossy().starts_with("libstd-")))
        })
    }

    fn missing(&self) -> Option<String> {
        let missing = || format!("no rustc on PATH can build for {}: {}", self.triple, self.install);
        self.toolchain().is_none().then(missing)
    }

    /// `program`, which takes cargo's arguments, with the toolchain for this target and a target folder of its own.
    fn cargo(&self, workspace: &Workspace, program: impl AsRef<Path>, arguments: &[&str]) -> Result<Command> {
        let toolchain = self.toolchain().with_context(|| format!("no toolchain for {}", self.triple))?;
        let mut command = toolchain.cargo(workspace, program, arguments);
        command.args(["--target", self.triple]);
        Ok(command)
    }
}

impl Toolchain {
    /// The first on the search path that can build its standard library.
    pub(super) fn with_source() -> Option<Toolchain> {
        let folder = Toolchain::folders().into_iter().find(|folder| has_source(folder))?;
        Some(Toolchain { folder, from_source: true })
    }

    /// The folders of the search path that have one.
    fn folders() -> Vec<PathBuf> {
        let paths = std::env::var_os("PATH").unwrap_or_default();
        std::env::split_paths(&paths)
            .filter(|folder| ["rustc", "cargo"].iter().all(|program| folder.join(program).is_file()))
            .collect()
    }

    /// `program`, which takes cargo's arguments, with this toolchain and a target folder of its own. A target has to be named.
    pub(super) fn cargo(&self, workspace: &Workspace, program: impl AsRef<Path>, arguments: &[&str]) -> Command {
        let beside = |name: &str| self.folder.join(name);
        // A bare name is the toolchain's; a path is somebody else's.
        let mut command = workspace.command(self.folder.join(program));
        command.args(arguments);
        command.env("CARGO", beside("cargo")).env("RUSTC", beside("rustc")).env("RUSTDOC", beside("rustdoc"));
        command.env("CARGO_TARGET_DIR", folder(workspace, ""));
        if self.from_source {
            command.arg("-Zbuild-std=std,panic_unwind,test").env("RUSTC_BOOTSTRAP", "1");
        }
        command
    }
}

/// A folder with nothing but the toolchain's programs, to be put before others on the search path.
fn toolchain_links(workspace: &Workspace, target: &Target) -> Result<PathBuf> {
    let toolchain = target.toolchain().with_context(|| format!("no toolchain for {}", target.triple))?;
    let links = folder(workspace, "toolchain");
    std::fs::create_dir_all(&links)?;
    for name in ["cargo", "rustc", "rustdoc"] {
        let link = links.join(name);
        if link.is_symlink() {
            std::fs::remove_file(&link)?;
        }
        std::os::unix::fs::symlink(toolchain.folder.join(name), link)?;
    }
    Ok(links)
}

pub(super) fn folder(workspace: &Workspace, name: &str) -> PathBuf {
    workspace.path("target/portable").join(name)
}

fn has_source(folder: &Path) -> bool {
    let root = print(folder, &["--print=sysroot"]);
    root.is_some_and(|root| Path::new(&root).join("lib/rustlib/src/rust/library/Cargo.lock").is_file())
}

/// What the `rustc` of a folder answers.
pub(super) fn print(folder: &Path, arguments: &[&str]) -> Option<OsString> {
    let output = Command::new(folder.join("rustc")).args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !text.trim().is_empty()).then(|| text.trim().into())
}

/// What is missing for each of the suites, for `doctor`.
pub(crate) fn lacking() -> Vec<(&'static str, Vec<String>)> {
    suites().into_iter().map(|suite| (suite.name, suite.missing())).collect()
}
