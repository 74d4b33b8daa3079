//! Where the two processes of a measurement run.

use std::fmt;
use std::process::Command;

use clap::ValueEnum;

use crate::process;

/// Where, and beside what.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(super) enum Placement {
    /// Wherever the system puts them
    Free,
    /// The server on core 0, the client on core 1
    Apart,
    /// Both on core 0
    Together,
    /// Wherever the system puts them, with a busy process on each of two cores
    Hogs,
}

impl fmt::Display for Placement {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Placement::Free => "anywhere",
            Placement::Apart => "on two cores",
            Placement::Together => "on one core",
            Placement::Hogs => "beside two busy processes",
        })
    }
}

impl Placement {
    /// Why it cannot be had on this machine.
    pub(super) fn missing(self) -> Option<&'static str> {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        match self {
            Placement::Free => None,
            Placement::Apart | Placement::Hogs if cores < 2 => Some("this machine has one core"),
            _ if process::find("taskset").is_none() => Some("taskset is missing: apt-get install util-linux"),
            _ => None,
        }
    }

    /// The core of the server, if it has one.
    pub(super) fn server_core(self) -> Option<&'static str> {
        match self {
            Placement::Free | Placement::Hogs => None,
            Placement::Apart | Placement::Together => Some("0"),
        }
    }

    fn client_core(self) -> Option<&'static str> {
        if self == Placement::Apart { Some("1") } else { self.server_core() }
    }

    pub(super) fn server(self, command: Command) -> Command {
        match self.server_core() {
            Some(core) => pinned(&command, core),
            None => command,
        }
    }

    pub(super) fn client(self, command: Command) -> Command {
        match self.client_core() {
            Some(core) => pinned(&command, core),
            None => command,
        }
    }
}

/// The same command on one core.
pub(super) fn pinned(command: &Command, core: &str) -> Command {
    let mut taskset = Command::new("taskset");
    taskset.args(["--cpu-list", core]).arg(command.get_program()).args(command.get_args());
    for (key, value) in command.get_envs() {
        match value {
            Some(value) => taskset.env(key, value),
            None => taskset.env_remove(key),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        taskset.current_dir(folder);
    }
    taskset
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::shown;

    #[test]
    fn a_pinned_command_keeps_its_words() {
        let mut command = Command::new("agent");
        command.args(["a", "b"]).env("KEY", "value");
        assert_eq!(shown(&pinned(&command, "1")), "KEY=value taskset --cpu-list 1 agent a b");
    }
}
