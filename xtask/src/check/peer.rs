//! Who is checked: the programs of each language, the command line, and the oracle.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::conformance::Agent;
use crate::lang::{self, Lang, Profile};
use crate::workspace::Workspace;

/// An implementation with the sides it can be.
pub(super) struct Peer {
    pub(super) name: &'static str,
    /// What has to be built.
    pub(super) lang: Lang,
    pub(super) sides: Vec<Side>,
}

/// One run of the checker.
pub(super) enum Side {
    Server {
        program: Program,
        without: &'static [&'static str],
        level: Option<&'static str>,
    },
    /// With `proof` it has the secret.
    Client {
        level: Option<&'static str>,
        proof: bool,
    },
}

/// Which server it is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Program {
    /// The example `echo`: messages and calls.
    Echo,
    /// The conformance agent: streams.
    Agent,
    /// The conformance agent with a secret.
    Proof,
}

/// The cases for which a server has to send streams back.
///
/// `signals/max-calls` is not among them: agents have no thread for each of a thousand streams. The command line plays it.
const STREAMS: [&str; 2] = ["streams/", "drain/stream-across-goaway"];

/// The cases for which it has to have a secret, in either role.
const PROOFS: [&str; 5] = [
    "ready/proof-",
    "ready/ready-without-proof",
    "ready/level-0-with-a-secret",
    "ready/grant-without-proof",
    "ready/acceptor-proof-wrong",
];

/// What a side with a secret is given.
pub(super) const SECRET: &str = "only the two of us";

impl Side {
    pub(super) fn name(&self) -> &'static str {
        match self {
            Side::Server { program: Program::Echo, .. } => "server",
            Side::Server { program: Program::Agent, .. } => "streams",
            Side::Server { program: Program::Proof, .. } => "proof",
            Side::Client { proof: true, .. } => "client-proof",
            Side::Client { .. } => "client",
        }
    }

    /// Whether it has the secret.
    pub(super) fn proves(&self) -> bool {
        matches!(self, Side::Server { program: Program::Proof, .. } | Side::Client { proof: true, .. })
    }

    /// The cases to play of those asked for; `None` for all.
    pub(super) fn cases(&self, asked: &[String]) -> Option<Vec<String>> {
        let own = match self {
            Side::Server { program: Program::Agent, .. } => Some(STREAMS.map(str::to_owned).to_vec()),
            _ if self.proves() => Some(PROOFS.map(str::to_owned).to_vec()),
            _ => None,
        };
        match (own, asked.is_empty()) {
            (own, true) => own,
            (None, false) => Some(asked.to_vec()),
            (Some(own), false) => {
                let within = |name: &&String| own.iter().any(|own| name.starts_with(own.as_str()));
                Some(asked.iter().filter(within).cloned().collect())
            }
        }
    }
}

const CLI: &str = "cli";
const ORACLE: &str = "oracle";

impl Peer {
    /// Every one, in the order in which they are shown.
    pub(super) fn all() -> Vec<Peer> {
        let client = || Side::Client { level: None, proof: false };
        let server = |program, without| Side::Server { program, without, level: None };
        let both = || {
            let agents = [Program::Agent, Program::Proof].map(|program| server(program, &["messages"][..]));
            [server(Program::Echo, &["streams"]), client()].into_iter().chain(agents).collect()
        };
        let named = |agent: Agent| Peer { name: agent.name(), lang: agent.lang(), sides: both() };
        // Of the clients that make one call it alone is told a secret.
        let proving = Side::Client { level: None, proof: true };
        let sides = vec![server(Program::Echo, &[]), client(), proving];
        let mut peers = vec![Peer { name: CLI, lang: Lang::Rust, sides }];
        peers.extend(Agent::ALL.map(named));
        // On level 0 the oracle has what its own tests need, and no more.
        let level = Some("1");
        let sides = vec![
            Side::Server { program: Program::Echo, without: &["streams"], level },
            Side::Client { level, proof: false },
        ];
        peers.push(Peer { name: ORACLE, lang: Lang::Python, sides });
        peers
    }

    /// The command that serves, and the line that it has to read first.
    pub(super) fn server(&self, workspace: &Workspace, side: &Side, at: &Path) -> Result<(Command, Option<String>)> {
        if let Side::Server { program: program @ (Program::Agent | Program::Proof), .. } = side {
            let mut listen = serde_json::json!({"op": "listen", "end": "server", "address": at.to_string_lossy()});
            if *program == Program::Proof {
                listen["secret"] = SECRET.into();
            }
            let agent = Agent::named(self.name).map(|agent| agent.command(workspace));
            return Ok((agent.unwrap_or_else(|| self.cli(workspace)), Some(listen.to_string())));
        }
        let mut command = match self.name {
            CLI => {
                let mut echo = self.cli(workspace);
                echo.args(["--log-level", "error", "echo"]);
                echo
            }
            ORACLE => oracle(workspace, "echo"),
            "python-aio" => aio(workspace, "echo"),
            _ => self.lang.example(workspace, Profile::Dev, "echo"),
        };
        command.arg(at);
        Ok((command, None))
    }

    /// The command that makes one call, with the file of its secret.
    pub(super) fn client(&self, workspace: &Workspace, secret: Option<&Path>) -> Result<Command> {
        let mut command = match self.name {
            CLI => {
                let mut request = self.cli(workspace);
                request.args(["--format", "raw", "request", "--deadline", "5s"]);
                if let Some(secret) = secret {
                    request.arg("--secret-file").arg(secret);
                }
                request.args(["{address}", "--data", "{payload}"]);
                return Ok(request);
            }
            ORACLE => oracle(workspace, "request"),
            "python-aio" => aio(workspace, "request"),
            _ => self.lang.example(workspace, Profile::Dev, "request"),
        };
        command.args(["{address}", "{payload}"]);
        Ok(command)
    }

    fn cli(&self, workspace: &Workspace) -> Command {
        workspace.command(workspace.path("target/debug/hostlane"))
    }
}

fn oracle(workspace: &Workspace, what: &str) -> Command {
    let mut command = lang::python(workspace);
    command.args(["tests/oracle/checked.py", what]);
    command
}

fn aio(workspace: &Workspace, what: &str) -> Command {
    let mut command = lang::python(workspace);
    command.arg(format!("examples/python/aio_{what}.py"));
    command
}
