//! What kind of world a seed makes.

use std::time::Duration;

use super::rng::Rng;
use crate::limits;
use crate::proto::Secret;
use crate::proto::channel::Channel;
use crate::proto::conn::{Config, Role};
use crate::proto::level1::{Limits, Policy};
use crate::proto::offer::{Level, Own};

/// In whose manner a side moves its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Drive {
    /// By a blocked caller, whoever that is, and only while there is one. Deadlines are the caller's own.
    Direct,
    /// By an event loop, a few reads at a time, sometimes late. Deadlines are the connection's.
    Context,
    /// By another thread, at any time.
    Thread,
    /// As a thread, for callers that may lose interest at any point.
    Async,
}

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fault {
    /// A peer is killed when one of its connections has written so many bytes.
    Kill { peer: usize, after: u64 },
    /// One direction of a connection ends while the other goes on.
    HalfClose { link: usize, from: usize },
    /// A peer does nothing for so many microseconds.
    Stop { peer: usize, time: u64 },
    /// The clock of a peer leaps ahead.
    Leap { peer: usize, time: u64 },
    /// A program closes its connection.
    Close { link: usize, side: usize },
    /// A program drains its connection.
    Drain { link: usize, side: usize },
}

/// How the connections are ended when all is quiet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    Drain(usize),
    Cross,
    Close(usize),
}

#[derive(Debug)]
pub(super) struct Plan {
    pub(super) links: usize,
    pub(super) steps: u64,
    pub(super) capacity: u64,
    pub(super) delay: u64,
    pub(super) cuts: u64,
    /// Largest payload, and the largest of most.
    pub(super) large: u64,
    pub(super) usual: u64,
    pub(super) channels: Vec<Channel>,
    pub(super) levels: [Level; 2],
    pub(super) drives: [Drive; 2],
    pub(super) limits: [Limits; 2],
    pub(super) policies: [Vec<(Channel, Policy)>; 2],
    /// 0: none, 1: the same, 2: different ones, 3: one side alone.
    pub(super) secret: u64,
    pub(super) faults: Vec<(u64, Fault)>,
    /// The side that cannot be trusted; one in so many of its bytes is spoilt, or it puts in frames of its own.
    pub(super) hostile: Option<(usize, Option<u64>)>,
    pub(super) ending: Ending,
    /// How eager programs are to receive, in percent of their acts.
    pub(super) appetite: u64,
    /// How often operations get a deadline or are given up, in percent.
    pub(super) impatience: u64,
}

const ROOMY: u64 = 64 * 1024;

impl Plan {
    pub(super) fn new(rng: &mut Rng) -> Plan {
        let scale = rng.below(20);
        let (usual, large, capacity, steps) = match scale {
            0 => (64 * 1024, 3 << 20, rng.range(ROOMY, 1 << 20), rng.range(20, 100)),
            1..=3 => (2 * 1024, 70 * 1024, rng.range(2048, ROOMY), rng.range(50, 600)),
            4 => (600 * 1024, 2 << 20, rng.range(8 * 1024, ROOMY), rng.range(20, 60)),
            _ => (60, 700, rng.range(200, 4096), rng.range(50, 1000)),
        };
        let links = if scale > 1 && rng.percent(15) { rng.range(2, 3) as usize } else { 1 };
        let tight = rng.percent(50);
        let mut channels = vec![Channel::COMMAND, Channel::DATA, Channel::TELEMETRY, Channel::ERROR];
        if rng.percent(30) {
            channels.push(Channel::from_wire(256));
        }
        let level = |rng: &mut Rng| match rng.below(8) {
            0 => Level::Zero,
            1 | 2 => Level::One,
            _ => Level::Auto,
        };
        let drive = |rng: &mut Rng| rng.pick(&[Drive::Direct, Drive::Context, Drive::Thread, Drive::Async]);
        let calm = rng.percent(45);
        let own_limits = |rng: &mut Rng| Limits {
            max_message: if rng.percent(20) { large as usize } else { limits::MAX_MESSAGE },
            max_calls: rng.pick(&[1, 2, 3, 8, 1024, 1024]),
            window: if tight { rng.range(1, 3 * usual) } else { limits::WINDOW_START },
            stream_window: if rng.percent(60) { rng.range(1, 4 * usual) } else { limits::STREAM_WINDOW },
            keepalive: rng.percent(15).then(|| Duration::from_millis(rng.range(50, 400))),
        };
        let limits = [own_limits(rng), own_limits(rng)];
        let policies = |rng: &mut Rng| {
            let all = [Policy::Block, Policy::Block, Policy::Error, Policy::DropOldest, Policy::Latest];
            channels.iter().filter(|&&c| c != Channel::COMMAND).map(|&c| (c, rng.pick(&all))).collect()
        };
        let policies = [policies(rng), policies(rng)];
        let mut plan = Plan {
            links,
            steps,
            capacity,
            delay: rng.pick(&[0, 20, 500, 20_000]),
            cuts: rng.pick(&[0, 20, 60, 95]),
            large,
            usual,
            channels,
            levels: [level(rng), level(rng)],
            drives: [drive(rng), drive(rng)],
            limits,
            policies,
            secret: if rng.percent(12) { rng.range(1, 3) } else { 0 },
            faults: Vec::new(),
            hostile: None,
            ending: match rng.below(4) {
                0 => Ending::Cross,
                1 => Ending::Close(rng.index(2)),
                _ => Ending::Drain(rng.index(2)),
            },
            appetite: rng.pick(&[2, 10, 25, 40]),
            impatience: rng.pick(&[0, 3, 10, 30]),
        };
        if rng.percent(12) {
            let rate = rng.pick(&[Some(50), Some(500), Some(5000), None, None, None]);
            plan.hostile = Some((rng.index(2), rate));
        }
        if !calm {
            for _ in 0..rng.range(1, 3) {
                plan.fault(rng);
            }
        }
        plan
    }

    fn fault(&mut self, rng: &mut Rng) {
        let (peer, link) = (rng.index(2), rng.index(self.links));
        let fault = match rng.below(12) {
            0 | 1 => Fault::Kill { peer, after: rng.range(1, self.capacity * 4) },
            2 => Fault::HalfClose { link, from: peer },
            3..=5 => Fault::Stop { peer, time: rng.range(1, 3_000_000) },
            6 => Fault::Leap { peer, time: rng.range(1, 8_000_000) },
            7 => Fault::Close { link, side: peer },
            _ => Fault::Drain { link, side: peer },
        };
        self.faults.push((rng.below(self.steps), fault));
    }

    pub(super) fn config(&self, side: usize, rng: &mut Rng) -> Config {
        let role = match side {
            0 => Role::Connector,
            _ => Role::Acceptor { peer_id: "peer-1".into() },
        };
        let secret = match (self.secret, side) {
            (0, _) | (3, 1) => None,
            (2, 1) => Secret::new("another").ok(),
            _ => Secret::new("secret").ok(),
        };
        let mut hex = || format!("{:016x}{:016x}", rng.next(), rng.next());
        let own = Own {
            level: self.levels[side],
            instance: hex(),
            nonce: secret.as_ref().map(|_| hex()),
            features: Vec::new(),
            limits: self.limits[side],
            grease: rng.next() as u8,
        };
        Config {
            role,
            channels: self.channels.clone(),
            auth_token: None,
            secret,
            max_message: self.limits[side].max_message,
            handshake_timeout: limits::HANDSHAKE_TIMEOUT,
            own,
            policies: self.policies[side].clone(),
        }
    }

    /// Whether both sides agree on a connection, and on which level.
    pub(super) fn level(&self) -> Option<u8> {
        if matches!(self.secret, 2 | 3) {
            return None;
        }
        let zero = self.levels.contains(&Level::Zero);
        let demanded = self.levels.contains(&Level::One) || self.secret != 0;
        match (zero, demanded) {
            (true, true) => None,
            (true, false) => Some(0),
            (false, _) => Some(1),
        }
    }

    pub(super) fn policy(&self, side: usize, channel: Channel) -> Policy {
        match self.policies[side].iter().find(|(c, _)| *c == channel) {
            Some((_, policy)) => *policy,
            None if channel == Channel::TELEMETRY => Policy::DropOldest,
            None => Policy::Block,
        }
    }

    /// The credit of each channel that `side` gives in the end (protocol.md, section 21): what it announced, and by
    /// default more.
    pub(super) fn windows(&self, side: usize) -> Vec<u64> {
        let start = self.limits[side].window;
        if start != limits::WINDOW_START {
            return vec![start; self.channels.len()];
        }
        let mut left = limits::WINDOWS.saturating_sub(start * self.channels.len() as u64);
        let window = |&channel: &Channel| {
            let wanted = match channel.number() {
                1 | 3 | 4 => 1 << 20,
                _ => 4 << 20,
            };
            let more = left.min(u64::saturating_sub(wanted, start));
            left -= more;
            start + more
        };
        self.channels.iter().map(window).collect()
    }
}
