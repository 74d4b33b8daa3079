//! `--prove`: the Rust agent does one thing wrong after the other, and everybody has to find it.

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::chain::{Chain, How, Sent};
use super::plan::{Random, Transport};
use super::round::{CLIENT, Side};
use super::tally::Counts;
use super::vitals::Vitals;
use super::{Member, Stage};
use crate::conformance::Agent;
use crate::server::Sockets;
use crate::verdict::Verdict;
use crate::workspace::Workspace;

/// Where a failure is counted.
type Column = fn(&Counts) -> u64;

/// What is done wrong to a chain.
const PLANTS: [(&str, Column); 4] = [
    ("lost", |counts| counts.lost),
    ("doubled", |counts| counts.doubled),
    ("reordered", |counts| counts.reordered),
    ("corrupted", |counts| counts.corrupted),
];

/// Plants each failure; true when every language found each.
pub(super) fn run(workspace: &Workspace, agents: &[Agent]) -> Result<bool> {
    ensure!(agents.contains(&Agent::Rust), "it is the Rust agent that does things wrong");
    let sockets = Sockets::new()?;
    let stage = Stage::new(workspace, &sockets, agents, 1)?;
    let rust = agents.iter().position(|agent| *agent == Agent::Rust).unwrap_or(0);
    let (client, server) = (&stage.clients[rust], &stage.servers[rust]);
    let mut prover = Prover { stage: &stage, random: Random::new(1, &[]), chains: 0 };
    let mut verdict = Verdict::default();
    for agent in agents {
        // Nothing is found where nothing is wrong.
        let right = prover.sent(client, *agent, How::Send)?;
        let findings = if right.fine() { Vec::new() } else { vec![right.to_string()] };
        verdict.add(format!("{} finds nothing where nothing is wrong", agent.name()), findings);
    }
    for (plant, found) in PLANTS {
        for agent in agents {
            let mut findings = Vec::new();
            for how in [How::Send, How::Call, How::Stream] {
                let counts = prover.planted(client, plant, |prover| prover.sent(client, *agent, how))?;
                if found(&counts) == 0 {
                    findings.push(format!("{how:?}: {counts}"));
                }
            }
            verdict.add(format!("{} finds {plant} messages", agent.name()), findings);
        }
    }
    for asker in &stage.clients {
        let mut findings = Vec::new();
        for how in [How::Call, How::Stream] {
            let sent = prover.planted(&server.member, "answer", |prover| prover.asked(asker, &server.unix, how))?;
            if sent.wrong == 0 {
                findings.push(format!("{how:?}: {} answers, and none of them wrong", sent.next));
            }
        }
        verdict.add(format!("{} finds wrong answers", asker.agent.name()), findings);
    }
    let before = Vitals::of(server.member.id)?;
    prover.planted(&server.member, "leak", |prover| prover.sent(client, Agent::Rust, How::Send))?;
    let more = Vitals::of(server.member.id)?.excess(&before, Agent::Rust)?;
    let found = more.iter().any(|more| more.starts_with("descriptors"));
    verdict.add("descriptors that are not closed are found", if found { Vec::new() } else { vec!["none".into()] });
    Ok(verdict.print())
}

/// Sends chains that have something wrong.
struct Prover<'a> {
    stage: &'a Stage<'a>,
    random: Random,
    chains: u32,
}

impl Prover<'_> {
    /// While `member`, which is in Rust, does this wrong.
    fn planted<T>(&mut self, member: &Member, what: &str, act: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let plant = |what: &str| member.ask::<Value>(CLIENT, "plant", json!({"what": what}));
        plant(what)?;
        let outcome = act(self);
        plant("")?;
        outcome
    }

    fn chain(&mut self, how: How) -> Chain {
        self.chains += 1;
        Chain::of_bits(format!("p{}", self.chains), how, 10, 4096, &mut self.random)
    }

    /// What a server makes of a chain that a client sends.
    fn sent(&mut self, client: &Member, server: Agent, how: How) -> Result<Counts> {
        let chain = self.chain(how);
        let server = self.stage.server(server);
        let sent = extended(client, &server.unix, &chain)?;
        let counts = Side { member: &server.member, end: Transport::Unix.end() }.came_of(&chain, &sent)?;
        close(client)?;
        Ok(counts)
    }

    /// What a client makes of the answers of a server.
    fn asked(&mut self, client: &Member, address: &str, how: How) -> Result<Sent> {
        let chain = self.chain(how);
        let sent = extended(client, address, &chain)?;
        close(client)?;
        Ok(sent)
    }
}

/// Has a client connect and send a chain.
fn extended(client: &Member, address: &str, chain: &Chain) -> Result<Sent> {
    client.ask::<Value>(CLIENT, "connect", json!({"address": address}))?;
    let sent: Sent = client.ask(CLIENT, "chain", chain.asked())?;
    ensure!(sent.error.is_empty(), "{client}: a chain ended with {}", sent.error);
    Ok(sent)
}

fn close(client: &Member) -> Result<()> {
    client.ask::<Value>(CLIENT, "close", json!({})).map(|_| ())
}
