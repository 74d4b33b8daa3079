//! `conformance`: the cases of `tests/conformance/cases` between the agents of every pair of languages, over every
//! transport. See docs/conformance.md.

mod agent;
mod case;
mod expect;
mod expected;
mod html;
mod junit;
mod outcome;
mod play;

use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use crate::lang::{self, Lang, Profile};
use crate::server::Sockets;
use crate::suites;
use crate::workspace::Workspace;
pub(crate) use agent::{Agent, Running};
use case::Case;
use expected::Expected;
use outcome::{Cell, Outcome, Run};
use play::Pair;

/// The secret of the transports that demand one.
pub(crate) const SECRET: &str = "only the two of us";

/// What carries the bytes.
const TRANSPORTS: [&str; 3] = ["unix", "tcp", "inproc"];

/// What to play.
#[derive(Args)]
pub(crate) struct Options {
    /// Only these agents as clients
    #[arg(long, value_name = "AGENT")]
    client: Vec<String>,
    /// Only these agents as servers
    #[arg(long, value_name = "AGENT")]
    server: Vec<String>,
    /// Only these transports: unix, tcp, inproc
    #[arg(long, value_name = "TRANSPORT")]
    transport: Vec<String>,
    /// Only these cases
    #[arg(long, value_name = "NAME")]
    case: Vec<String>,
    /// Every pair over every transport; without it, Rust with every other on unix, and with itself on tcp
    #[arg(long)]
    full: bool,
    /// Trust that everything is built
    #[arg(long, hide = true)]
    no_build: bool,
}

/// Plays the cases; true when all passed that are not known to fail, and no other.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<bool> {
    let mut cases = case::all(workspace)?;
    let expected = Expected::read(workspace)?;
    expected.check(&cases)?;
    for name in &options.case {
        ensure!(cases.iter().any(|case| case.name == *name), "no case is called {name}");
    }
    cases.retain(|case| options.case.is_empty() || options.case.contains(&case.name));
    let mut pairs = pairs(options)?;
    let missing = missing(&mut pairs)?;
    let mut langs: Vec<Lang> = Vec::new();
    for agent in pairs.iter().flat_map(|pair| [pair.client, pair.server]) {
        if !langs.contains(&agent.lang()) {
            langs.push(agent.lang());
        }
    }
    if !options.no_build {
        suites::build(workspace, Profile::Dev, &langs)?;
    }
    let sockets = Sockets::new()?;
    let bar = ProgressBar::new((pairs.len() * cases.len()) as u64);
    bar.set_style(ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed} {msg}")?);
    let stage = Stage { workspace, sockets: &sockets, expected: &expected, cases: &cases, bar: &bar };
    let cells = pairs.iter().map(|pair| stage.cell(pair)).collect();
    bar.finish_and_clear();
    let run = Run { cases, cells, missing };
    run.write(workspace)?;
    println!("{run}");
    Ok(run.passed())
}

/// Two agents and what is between them.
#[derive(Clone, Copy)]
struct Place {
    client: Agent,
    server: Agent,
    transport: &'static str,
}

fn chosen(names: &[String]) -> Result<Vec<Agent>> {
    let agent = |name: &String| Agent::named(name).with_context(|| format!("no agent is called {name}"));
    let agents = names.iter().map(agent).collect::<Result<Vec<_>>>()?;
    Ok(if agents.is_empty() { Agent::ALL.to_vec() } else { agents })
}

fn pairs(options: &Options) -> Result<Vec<Place>> {
    if let Some(name) = options.transport.iter().find(|name| !TRANSPORTS.contains(&name.as_str())) {
        bail!("no transport is called {name}");
    }
    let (clients, servers) = (chosen(&options.client)?, chosen(&options.server)?);
    let named = options.full || !options.client.is_empty() || !options.server.is_empty();
    let mut pairs = Vec::new();
    for transport in TRANSPORTS {
        for (client, server) in servers.iter().flat_map(|server| clients.iter().map(move |client| (*client, *server))) {
            let one_process = transport != "inproc" || client == server;
            let shown = named || client == Agent::Rust || server == Agent::Rust;
            let wanted = match transport {
                _ if options.full && options.transport.is_empty() => true,
                _ if !options.transport.is_empty() => options.transport.iter().any(|name| name == transport) && shown,
                "unix" => shown,
                // There an end looks otherwise, for instance where a process was killed.
                "tcp" => !named && client == Agent::Rust && server == Agent::Rust,
                _ => false,
            };
            if wanted && one_process {
                pairs.push(Place { client, server, transport });
            }
        }
    }
    ensure!(!pairs.is_empty(), "nothing is left to play");
    Ok(pairs)
}

/// What the agents need beside their languages, and is not here.
pub(crate) fn lacking() -> Option<String> {
    let lacks = agent::libraries();
    (!lacks.is_empty()).then(|| lacks.join("; "))
}

/// Leaves out the pairs of agents that cannot be built here; how many cells that are.
fn missing(pairs: &mut Vec<Place>) -> Result<usize> {
    let before = pairs.len();
    let plays = |agent: &Agent, pair: &Place| pair.client == *agent || pair.server == *agent;
    let mut agents = Agent::ALL.to_vec();
    agents.retain(|agent| pairs.iter().any(|pair| plays(agent, pair)));
    let wanted = agents.clone();
    lang::keep_buildable(&mut agents, |agent| agent.name(), |agent| agent.lacks())?;
    for agent in wanted.iter().filter(|agent| !agents.contains(agent)) {
        pairs.retain(|pair| !plays(agent, pair));
    }
    Ok(before - pairs.len())
}

/// Where cases are played.
struct Stage<'a> {
    workspace: &'a Workspace,
    sockets: &'a Sockets,
    expected: &'a Expected,
    cases: &'a [Case],
    bar: &'a ProgressBar,
}

impl Stage<'_> {
    /// Every case between two agents, in the same processes for as long as they are in order.
    fn cell(&self, place: &Place) -> Cell {
        let &Place { client, server, transport } = place;
        let mut pair = None;
        let mut outcomes = Vec::new();
        for (number, case) in self.cases.iter().enumerate() {
            let (from, to) = (client.name(), server.name());
            self.bar.set_message(format!("{from} -> {to} {transport} {}", case.name));
            let start = Instant::now();
            let outcome = match self.play(place, case, number, &mut pair) {
                Ok(outcome) => outcome,
                Err(error) => {
                    pair = None;
                    Outcome::Failed(format!("{error:#}"))
                }
            };
            let outcome = outcome.against(self.expected.reason(client, server, &case.name));
            if let Outcome::Failed(why) = &outcome {
                self.bar.suspend(|| println!("FAIL  {from} -> {to} {transport} {}: {why}", case.name));
            }
            outcomes.push((outcome, start.elapsed()));
            self.bar.inc(1);
        }
        Cell { client, server, transport, outcomes }
    }

    /// Plays a case, if it can be.
    fn play(&self, place: &Place, case: &Case, number: usize, kept: &mut Option<Pair>) -> Result<Outcome> {
        let transport = place.transport;
        if !case.transports.is_empty() && !case.transports.iter().any(|one| one == transport) {
            return Ok(Outcome::Apart(format!("means nothing on {transport}")));
        }
        let pair = match kept {
            Some(pair) => pair,
            None => kept.insert(self.start(place)?),
        };
        if let Some(lacks) = case.needs.iter().map(String::as_str).chain([transport]).find(|one| !pair.has(one)) {
            return Ok(Outcome::Lacking(format!("needs {lacks}")));
        }
        let address = match transport {
            "tcp" => "tcp:127.0.0.1:0".to_owned(),
            "inproc" => format!("inproc:case-{number}"),
            _ => self.sockets.path(&format!("{number}.sock")).display().to_string(),
        };
        pair.play(case, &address, (transport == "tcp").then_some(SECRET))?;
        if case.kills() {
            *kept = None;
        } else {
            pair.reset()?;
        }
        Ok(Outcome::Passed)
    }

    fn start(&self, place: &Place) -> Result<Pair> {
        let &Place { client, server, transport } = place;
        let start = |agent: Agent, end: &str| {
            let name = format!("conformance-{}-to-{}-{transport}-{end}.log", client.name(), server.name());
            Running::start(agent.command(self.workspace), &self.workspace.path("target/xtask/logs").join(name))
                .with_context(|| format!("the {} agent", agent.name()))
        };
        let server = if transport == "inproc" { None } else { Some(start(server, "server")?) };
        Ok(Pair { client: start(client, "client")?, server })
    }
}
