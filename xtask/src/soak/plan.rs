//! What happens: which client meets which server, over what, and which fault is dealt to them. All of it comes from one seed.

use std::fmt;
use std::ops::Range;

use crate::conformance::Agent;

/// Numbers that look random and are the same for the same seed (splitmix64).
#[derive(Clone)]
pub(super) struct Random(u64);

impl Random {
    /// The numbers of a seed and what they are for.
    pub(super) fn new(seed: u64, purpose: &[u64]) -> Random {
        let mut random = Random(seed);
        for word in purpose {
            random = Random(random.next() ^ word);
        }
        random
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// One of the numbers of a range that is not empty.
    pub(super) fn of(&mut self, range: Range<u64>) -> u64 {
        range.start + self.next() % (range.end - range.start)
    }

    /// One of some.
    pub(super) fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[(self.next() % of.len() as u64) as usize]
    }

    /// Brings them into another order.
    pub(super) fn shuffle<T>(&mut self, all: &mut [T]) {
        for last in (1..all.len()).rev() {
            let other = self.of(0..last as u64 + 1) as usize;
            all.swap(last, other);
        }
    }
}

/// What carries the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Transport {
    Unix,
    Tcp,
}

impl Transport {
    pub(super) const ALL: [Transport; 2] = [Transport::Unix, Transport::Tcp];

    pub(super) fn name(self) -> &'static str {
        match self {
            Transport::Unix => "unix",
            Transport::Tcp => "tcp",
        }
    }

    /// Which end of a server's process listens there: an agent has two.
    pub(super) fn end(self) -> &'static str {
        match self {
            Transport::Unix => "server",
            Transport::Tcp => "client",
        }
    }
}

/// What happens to a connection, or beside it. docs/soak.md has the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    None,
    KillClient,
    KillServer,
    StopClient,
    StopServer,
    Vanish,
    Garbage,
    SlowReader,
    DrainClient,
    DrainServer,
    Cancel,
    Churn,
}

impl Fault {
    pub(super) const ALL: [Fault; 12] = [
        Fault::None,
        Fault::KillClient,
        Fault::KillServer,
        Fault::StopClient,
        Fault::StopServer,
        Fault::Vanish,
        Fault::Garbage,
        Fault::SlowReader,
        Fault::DrainClient,
        Fault::DrainServer,
        Fault::Cancel,
        Fault::Churn,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Fault::None => "none",
            Fault::KillClient => "kill-client",
            Fault::KillServer => "kill-server",
            Fault::StopClient => "stop-client",
            Fault::StopServer => "stop-server",
            Fault::Vanish => "vanish",
            Fault::Garbage => "garbage",
            Fault::SlowReader => "slow-reader",
            Fault::DrainClient => "drain-client",
            Fault::DrainServer => "drain-server",
            Fault::Cancel => "cancel",
            Fault::Churn => "churn",
        }
    }
}

/// One connection and what happens to it.
#[derive(Debug, Clone)]
pub(super) struct Round {
    /// Unlike that of any other round of the soak.
    pub(super) name: String,
    pub(super) client: Agent,
    pub(super) server: Agent,
    pub(super) transport: Transport,
    pub(super) fault: Fault,
    /// What its sizes, pauses and so on come from.
    pub(super) seed: u64,
}

impl fmt::Display for Round {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (client, server) = (self.client.name(), self.server.name());
        write!(out, "round {} {client} -> {server} {} {}", self.name, self.transport.name(), self.fault.name())
    }
}

/// The rounds of one client in one lap: every server over every transport, and every fault as often as the others.
pub(super) fn lap(seed: u64, lap: u64, clients: &[Agent], client: usize) -> Vec<Round> {
    let mut random = Random::new(seed, &[lap, client as u64]);
    let mut meetings: Vec<(Agent, Transport)> =
        clients.iter().flat_map(|server| Transport::ALL.map(|transport| (*server, transport))).collect();
    random.shuffle(&mut meetings);
    let mut deck: Vec<Fault> = Vec::new();
    let rounds = meetings.into_iter().enumerate().map(|(number, (server, transport))| {
        if deck.is_empty() {
            deck = Fault::ALL.to_vec();
            random.shuffle(&mut deck);
        }
        let fault = deck.pop().unwrap_or(Fault::None);
        let name = format!("{lap}.{client}.{number}");
        Round { name, client: clients[client], server, transport, fault, seed: random.next() }
    });
    rounds.collect()
}

/// The rounds in which everything is made that is made once: every server over one transport, without a fault.
pub(super) fn warm_up(seed: u64, clients: &[Agent], client: usize) -> Vec<Round> {
    let mut rounds = lap(seed, 0, clients, client);
    rounds.retain(|round| {
        let server = clients.iter().position(|agent| *agent == round.server).unwrap_or(0);
        Transport::ALL[(client + server) % 2] == round.transport
    });
    for round in &mut rounds {
        round.fault = Fault::None;
    }
    rounds
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    fn shown(rounds: &[Round]) -> Vec<String> {
        rounds.iter().map(|round| format!("{round} {}", round.seed)).collect()
    }

    #[test]
    fn a_seed_gives_the_same_rounds_and_another_one_others() {
        let of = |seed, number| shown(&lap(seed, number, &Agent::ALL, 2));
        assert_eq!(of(7, 1), of(7, 1));
        assert_ne!(of(7, 1), of(8, 1));
        assert_ne!(of(7, 1), of(7, 2));
    }

    #[test]
    fn in_a_lap_a_client_meets_everybody_and_every_fault() {
        let rounds = lap(1, 1, &Agent::ALL, 0);
        let meetings: HashSet<_> = rounds.iter().map(|round| (round.server.name(), round.transport.name())).collect();
        assert_eq!(meetings.len(), 2 * Agent::ALL.len());
        let faults: HashSet<_> = rounds.iter().map(|round| round.fault.name()).collect();
        assert_eq!(faults.len(), Fault::ALL.len());
    }

    #[test]
    fn the_warm_up_has_every_listener_met() {
        let mut met = HashSet::new();
        for client in 0..Agent::ALL.len() {
            let rounds = warm_up(1, &Agent::ALL, client);
            assert_eq!(rounds.len(), Agent::ALL.len());
            met.extend(rounds.iter().map(|round| (round.server.name(), round.transport.name())));
        }
        assert_eq!(met.len(), 2 * Agent::ALL.len());
    }
}
