//! The languages: what each needs, how it is built, and how its programs are started.

mod c;
mod go;
mod node;
mod python;
mod rust;

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Result, ensure};

pub(crate) use c::{Build as CBuild, clang_format};
pub(crate) use go::go;
pub(crate) use node::script as npm;
pub(crate) use python::python;

use crate::process;
use crate::workspace::{Workspace, in_ci};

/// A language of the matrix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Lang {
    Rust,
    C,
    Cpp,
    Python,
    Node,
    Go,
}

/// How Rust code is compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    Dev,
    Release,
}

impl Profile {
    /// The folder below `target` that cargo builds into.
    pub(crate) fn folder(self) -> &'static str {
        match self {
            Profile::Dev => "debug",
            Profile::Release => "release",
        }
    }
}

/// Keeps what can be built here and says what is lacking for the rest; how many those are. Where `CI` is set it is an
/// error.
pub(crate) fn keep_buildable<T>(
    all: &mut Vec<T>,
    name: impl Fn(&T) -> &str,
    lacks: impl Fn(&T) -> Vec<String>,
) -> Result<usize> {
    let before = all.len();
    let mut lacking = Vec::new();
    all.retain(|one| {
        let lacks = lacks(one);
        if !lacks.is_empty() {
            lacking.push(format!("{}: {}", name(one), lacks.join("; ")));
        }
        lacks.is_empty()
    });
    ensure!(lacking.is_empty() || !in_ci(), "{}", lacking.join("\n"));
    lacking.iter().for_each(|why| println!("SKIP  {why}"));
    ensure!(!all.is_empty(), "nothing is left that can be built here");
    Ok(before - all.len())
}

impl Lang {
    /// Every language, in the order in which they are shown.
    pub(crate) const ALL: [Lang; 6] = [Lang::Rust, Lang::C, Lang::Cpp, Lang::Python, Lang::Node, Lang::Go];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Lang::Rust => "rust",
            Lang::C => "c",
            Lang::Cpp => "cpp",
            Lang::Python => "python",
            Lang::Node => "node",
            Lang::Go => "go",
        }
    }

    /// The languages of these names; every one if there are none.
    pub(crate) fn chosen(names: &[String]) -> Result<Vec<Lang>> {
        for name in names {
            ensure!(Lang::ALL.iter().any(|lang| lang.name() == name), "no language is called {name}");
        }
        let chosen = |lang: &Lang| names.is_empty() || names.iter().any(|name| name == lang.name());
        Ok(Lang::ALL.into_iter().filter(chosen).collect())
    }

    /// What has to be installed first, in words; empty when the language can be built.
    pub(crate) fn missing(self) -> Vec<String> {
        let needs = match self {
            Lang::Rust => rust::NEEDS,
            Lang::C => c::NEEDS_C,
            Lang::Cpp => c::NEEDS_CPP,
            Lang::Python => python::NEEDS,
            Lang::Node => node::NEEDS,
            Lang::Go => go::NEEDS,
        };
        needs.iter().filter_map(Need::unmet).collect()
    }

    /// What is built before.
    pub(crate) fn after(self) -> &'static [Lang] {
        match self {
            Lang::Rust | Lang::Python | Lang::Node => &[],
            Lang::C | Lang::Go => &[Lang::Rust],
            // One build folder for both.
            Lang::Cpp => &[Lang::C],
        }
    }

    /// The commands that build the package, its example programs and its agent.
    pub(crate) fn build(self, workspace: &Workspace, profile: Profile) -> Result<Vec<Command>> {
        match self {
            Lang::Rust => Ok(rust::build(workspace, profile)),
            Lang::C => Ok(c::build(workspace, profile)),
            Lang::Cpp => Ok(Vec::new()),
            Lang::Python => python::build(workspace, profile),
            Lang::Node => node::build(workspace, profile),
            Lang::Go => go::build(workspace, profile),
        }
    }

    /// The example program `echo` or `request`.
    pub(crate) fn example(self, workspace: &Workspace, profile: Profile, name: &str) -> Command {
        match self {
            Lang::Rust => rust::example(workspace, profile, name),
            Lang::C | Lang::Cpp => c::example(workspace, profile, self.name(), name),
            Lang::Python => python::example(workspace, name),
            Lang::Node => node::example(workspace, name),
            Lang::Go => go::example(workspace, profile, name),
        }
    }

    /// The test program that the demo and the benchmark drive.
    pub(crate) fn agent(self, workspace: &Workspace, profile: Profile) -> Command {
        match self {
            Lang::Rust => rust::agent(workspace, profile),
            Lang::C | Lang::Cpp => c::agent(workspace, profile, self.name()),
            Lang::Python => python::agent(workspace),
            Lang::Node => node::agent(workspace),
            Lang::Go => go::agent(workspace, profile),
        }
    }
}

/// A program that a language needs.
struct Need {
    /// Any one of these will do.
    programs: &'static [&'static str],
    /// The argument that makes it print its version, and the oldest version that will do.
    at_least: Option<(&'static str, (u32, u32))>,
    install: &'static str,
}

impl Need {
    /// What is wrong, in words.
    fn unmet(&self) -> Option<String> {
        let names = self.programs.join(" or ");
        let Some(program) = self.programs.iter().find(|program| process::find(program).is_some()) else {
            return Some(format!("{names} is missing: {}", self.install));
        };
        let (argument, oldest) = self.at_least?;
        let line = process::version(program, argument).unwrap_or_default();
        match process::major_minor(&line) {
            Some(version) if version >= oldest => None,
            _ => Some(format!(
                "{program} {}.{} or newer is needed, here is {line:?}: {}",
                oldest.0, oldest.1, self.install
            )),
        }
    }
}

/// Whether the inputs of an installation changed since `remember` was last called for it.
fn is_stale(workspace: &Workspace, name: &str, inputs: &[&str]) -> Result<bool> {
    let remembered = std::fs::read_to_string(stamp(workspace, name)).unwrap_or_default();
    Ok(remembered != digest(workspace, inputs)?)
}

/// The command that remembers the inputs of an installation once everything before it succeeded.
fn remember(workspace: &Workspace, name: &str, inputs: &[&str]) -> Result<Command> {
    let path = stamp(workspace, name);
    let mut command = workspace.command("sh");
    command.args(["-c", "mkdir -p \"$(dirname \"$2\")\" && printf %s \"$1\" > \"$2\"", "sh"]);
    command.arg(digest(workspace, inputs)?).arg(path);
    Ok(command)
}

fn stamp(workspace: &Workspace, name: &str) -> PathBuf {
    workspace.path("target/xtask/stamps").join(name)
}

fn digest(workspace: &Workspace, inputs: &[&str]) -> Result<String> {
    let mut text = String::new();
    for input in inputs {
        text += &workspace.read(input)?;
    }
    Ok(crate::hash::sha256(text.as_bytes()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unmet_need_says_what_to_install() {
        let need = |programs, at_least| Need { programs, at_least, install: "apt-get install it" };
        assert_eq!(need(&["sh"], None).unmet(), None);
        assert_eq!(need(&["no-such-program", "sh"], None).unmet(), None);
        let missing = need(&["no-such-program"], None).unmet().unwrap();
        assert!(missing.contains("no-such-program is missing: apt-get install it"), "{missing}");
        assert_eq!(need(&["cargo"], Some(("--version", (1, 0)))).unmet(), None);
        let old = need(&["cargo"], Some(("--version", (999, 0)))).unmet().unwrap();
        assert!(old.contains("999.0 or newer"), "{old}");
    }
}
