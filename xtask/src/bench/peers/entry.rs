//! `bench/entries.toml`: the programs that are compared.

use std::fmt;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde::Deserialize;

use super::work::WORKS;
use crate::lang::Lang;
use crate::workspace::Workspace;

/// The language of a program: what it is compared within.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Group {
    Rust,
    Python,
    Node,
    Go,
}

impl Group {
    pub(super) const ALL: [Group; 4] = [Group::Rust, Group::Python, Group::Node, Group::Go];

    /// The same language where the product is built.
    pub(super) fn lang(self) -> Lang {
        match self {
            Group::Rust => Lang::Rust,
            Group::Python => Lang::Python,
            Group::Node => Lang::Node,
            Group::Go => Lang::Go,
        }
    }
}

impl fmt::Display for Group {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(self.lang().name())
    }
}

/// One program.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) group: Group,
    /// The crate, in Rust.
    package: Option<String>,
    /// Its program, if it is not called like the crate.
    bin: Option<String>,
    /// The file, in Python and Node.
    script: Option<String>,
    /// The folder, in Go.
    program: Option<String>,
    /// Whether others are compared with it.
    #[serde(default)]
    pub(super) floor: bool,
    /// Whether it is hostlane, which is built first.
    #[serde(default)]
    pub(super) lane: bool,
    /// What it stands on.
    pub(super) library: Option<String>,
    /// Works that it does not offer.
    #[serde(default)]
    pub(super) skip: Vec<String>,
    /// What has to be known to read its figures.
    #[serde(default)]
    pub(super) note: String,
}

impl Entry {
    /// The group's own word for where the program comes from.
    pub(super) fn source(&self) -> Result<&str> {
        let given = [&self.package, &self.script, &self.program];
        let wanted = match self.group {
            Group::Rust => &self.package,
            Group::Python | Group::Node => &self.script,
            Group::Go => &self.program,
        };
        ensure!(given.iter().filter(|source| source.is_some()).count() == 1, "{} has to have one source", self.name);
        wanted.as_deref().with_context(|| format!("{}: not how a {} program is given", self.name, self.group))
    }

    /// The program as built.
    pub(super) fn command(&self, workspace: &Workspace) -> Result<Command> {
        let source = self.source()?;
        let built = |path: String| workspace.command(workspace.path("bench/target").join(path));
        let scripted = |mut command: Command, folder: &str| {
            command.arg(workspace.path("bench").join(folder).join(source));
            command
        };
        Ok(match self.group {
            Group::Rust => built(format!("release/{}", self.bin.as_deref().unwrap_or(source))),
            Group::Python => {
                let mut command = scripted(workspace.command(python(workspace)), "python");
                if self.lane {
                    // The product's package, which maturin has put its extension module into.
                    command.env("PYTHONPATH", workspace.path("python"));
                }
                command
            }
            Group::Node => scripted(workspace.command("node"), "node"),
            Group::Go => built(format!("go/{source}")),
        })
    }

    fn check(&self) -> Result<()> {
        self.source()?;
        for name in &self.skip {
            ensure!(WORKS.iter().any(|work| work.name == name), "{}: no work is called {name}", self.name);
        }
        Ok(())
    }
}

/// The interpreter of the comparison's own environment.
pub(super) fn python(workspace: &Workspace) -> PathBuf {
    workspace.path("bench/target/venv/bin/python")
}

#[derive(Deserialize)]
struct Entries {
    entry: Vec<Entry>,
}

/// The entries of these languages or names, and the floors they are compared with; all if there are no names.
pub(super) fn chosen(workspace: &Workspace, names: &[String]) -> Result<Vec<Entry>> {
    select(parse(&workspace.read("bench/entries.toml")?).context("bench/entries.toml")?, names)
}

fn parse(text: &str) -> Result<Vec<Entry>> {
    let entries = toml::from_str::<Entries>(text)?.entry;
    for (number, entry) in entries.iter().enumerate() {
        entry.check()?;
        let twin = entries[..number].iter().find(|other| other.group == entry.group && other.name == entry.name);
        if twin.is_some() {
            bail!("{} is there twice in {}", entry.name, entry.group);
        }
    }
    Ok(entries)
}

fn select(entries: Vec<Entry>, names: &[String]) -> Result<Vec<Entry>> {
    let is = |entry: &Entry, name: &str| entry.name == name || entry.group.to_string() == name;
    for name in names {
        ensure!(entries.iter().any(|entry| is(entry, name)), "no program and no language is called {name}");
    }
    let wanted = |entry: &Entry| names.is_empty() || names.iter().any(|name| is(entry, name));
    let groups: Vec<Group> = entries.iter().filter(|entry| wanted(entry)).map(|entry| entry.group).collect();
    Ok(entries.into_iter().filter(|entry| wanted(entry) || entry.floor && groups.contains(&entry.group)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TWO: &str = "[[entry]]\nname = \"raw\"\ngroup = \"go\"\nprogram = \"raw\"\nfloor = true\n\
        [[entry]]\nname = \"rpc\"\ngroup = \"go\"\nprogram = \"rpc\"\n\
        [[entry]]\nname = \"net\"\ngroup = \"node\"\nscript = \"net.mjs\"\n";

    #[test]
    fn the_entries_of_the_checkout_are_sound() {
        let entries = chosen(&Workspace::find().unwrap(), &[]).unwrap();
        for group in Group::ALL {
            let of_group = || entries.iter().filter(move |entry| entry.group == group);
            assert!(of_group().any(|entry| entry.floor), "{group} has no floor");
            assert!(of_group().any(|entry| entry.lane), "{group} has no hostlane");
        }
    }

    #[test]
    fn a_name_brings_the_floors_of_its_language() {
        let names = |only: &[&str]| {
            let only: Vec<String> = only.iter().map(|name| (*name).to_owned()).collect();
            let entries = select(parse(TWO).unwrap(), &only).unwrap();
            entries.into_iter().map(|entry| entry.name).collect::<Vec<_>>()
        };
        assert_eq!(names(&[]), ["raw", "rpc", "net"]);
        assert_eq!(names(&["rpc"]), ["raw", "rpc"]);
        assert_eq!(names(&["node"]), ["net"]);
        assert!(select(parse(TWO).unwrap(), &["x".into()]).is_err());
    }

    #[test]
    fn a_broken_entry_is_refused() {
        for (from, to) in [
            ("program = \"rpc\"", "script = \"rpc\""),
            ("program = \"rpc\"", ""),
            ("name = \"rpc\"", "name = \"raw\""),
            ("name = \"net\"", "name = \"net\"\nskip = [\"nothing\"]"),
            ("name = \"net\"", "name = \"net\"\ncolour = 1"),
        ] {
            assert!(parse(&TWO.replace(from, to)).is_err(), "{to}");
        }
    }
}
