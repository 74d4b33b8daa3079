//! C and C++: one CMake build for the library's users.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use super::{Need, Profile};
use crate::workspace::Workspace;

const CMAKE: Need =
    Need { programs: &["cmake"], at_least: Some(("--version", (3, 20))), install: "apt-get install cmake" };
const MAKE: Need = Need { programs: &["ninja", "make"], at_least: None, install: "apt-get install ninja-build" };
const CARGO: Need = Need { programs: &["cargo"], at_least: None, install: "install Rust with rustup" };

pub(super) const NEEDS_C: &[Need] =
    &[CMAKE, MAKE, CARGO, Need { programs: &["cc"], at_least: None, install: "apt-get install gcc" }];
pub(super) const NEEDS_CPP: &[Need] =
    &[CMAKE, MAKE, CARGO, Need { programs: &["c++"], at_least: None, install: "apt-get install g++" }];

/// A CMake build folder.
pub(crate) struct Build {
    name: &'static str,
    profile: Profile,
    options: &'static [&'static str],
}

impl Build {
    pub(crate) fn plain(profile: Profile) -> Build {
        let name = if profile == Profile::Release { "cmake-release" } else { "cmake" };
        Build { name, profile, options: &[] }
    }

    /// Everything compiled with AddressSanitizer and UndefinedBehaviorSanitizer.
    pub(crate) fn sanitized() -> Build {
        Build { name: "cmake-asan", profile: Profile::Dev, options: &["-DHOSTLANE_ASAN=ON"] }
    }

    pub(crate) fn folder(&self, workspace: &Workspace) -> PathBuf {
        workspace.path("target").join(self.name)
    }

    /// Configures and builds.
    pub(crate) fn commands(&self, workspace: &Workspace) -> Vec<Command> {
        let mut configure = workspace.command("cmake");
        configure.args(["-S", "tests", "-B"]).arg(self.folder(workspace));
        let kind = if self.profile == Profile::Release { "RelWithDebInfo" } else { "Debug" };
        configure.arg(format!("-DCMAKE_BUILD_TYPE={kind}"));
        configure.arg(format!("-DHOSTLANE_PROFILE={}", self.profile.folder()));
        // The library is there already, in the profile that is wanted.
        configure.arg("-DHOSTLANE_CARGO=OFF");
        configure.args(self.options);
        if !self.folder(workspace).join("CMakeCache.txt").is_file() && crate::process::find("ninja").is_some() {
            configure.args(["-G", "Ninja"]);
        }
        let mut build = workspace.command("cmake");
        build.arg("--build").arg(self.folder(workspace)).args(["--parallel", "2"]);
        vec![configure, build]
    }

    /// Runs the tests of the folder.
    pub(crate) fn test(&self, workspace: &Workspace) -> Command {
        self.ctest(workspace, "--label-exclude")
    }

    /// Runs the same tests under valgrind.
    pub(crate) fn valgrind(&self, workspace: &Workspace) -> Command {
        self.ctest(workspace, "--label-regex")
    }

    /// The tests with the label `valgrind`, or the others.
    fn ctest(&self, workspace: &Workspace, which: &str) -> Command {
        let mut command = workspace.command("ctest");
        command.arg("--test-dir").arg(self.folder(workspace));
        command.args(["--output-on-failure", "--parallel", "2", which, "^valgrind$"]);
        command
    }
}

/// Compares every C and C++ file with what clang-format makes of it.
pub(crate) fn clang_format(workspace: &Workspace) -> Result<Command> {
    let mut command = super::python::tool(workspace, "clang-format");
    command.args(["--dry-run", "-Werror"]);
    // The header is as cbindgen writes it.
    let written = |file: &String| {
        [".c", ".cpp", ".hpp", ".h"].iter().any(|end| file.ends_with(end)) && !file.ends_with("hostlane.h")
    };
    command.args(workspace.files()?.into_iter().filter(written));
    Ok(command)
}

pub(super) fn build(workspace: &Workspace, profile: Profile) -> Vec<Command> {
    Build::plain(profile).commands(workspace)
}

pub(super) fn example(workspace: &Workspace, profile: Profile, lang: &str, name: &str) -> Command {
    let folder = Build::plain(profile).folder(workspace);
    workspace.command(folder.join(format!("{lang}-{name}")))
}

pub(super) fn agent(workspace: &Workspace, profile: Profile, lang: &str) -> Command {
    example(workspace, profile, lang, "agent")
}
