//! Two peers, their connections, a clock, and who acts next.

use std::io::IoSlice;
use std::time::{Duration, Instant};

use super::ledger::Ledger;
use super::plan::{Drive, Ending, Fault, Plan};
use super::rng::Rng;
use super::side::{Pending, Side, What};
use super::wire::{End, Pipe, Read, Write};
use crate::error::{Code, Error, Result};
use crate::limits;
use crate::proto::conn::{Conn, Post};
use crate::proto::{OpId, Outcome, Step};

/// Reads in one look at the carrier, as the drivers have it.
const READS: u64 = 16;
/// Looks without any end after which a world is taken to spin.
const SPINS: u64 = 400_000;

pub(super) struct Link {
    /// By the side that writes.
    pub(super) pipes: [Pipe; 2],
    pub(super) sides: [Side; 2],
}

/// What happened in worlds, to see that they are worth their time.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Tally {
    pub(super) events: u64,
    pub(super) messages: u64,
    pub(super) replies: u64,
    pub(super) failed_calls: u64,
    pub(super) items: u64,
    pub(super) dropped: u64,
    pub(super) drained: u64,
    pub(super) kills: u64,
    /// Connections that were quiet and whole in the end.
    pub(super) whole: u64,
    pub(super) connections: u64,
}

impl std::ops::AddAssign for Tally {
    fn add_assign(&mut self, other: Tally) {
        self.events += other.events;
        self.messages += other.messages;
        self.replies += other.replies;
        self.failed_calls += other.failed_calls;
        self.items += other.items;
        self.dropped += other.dropped;
        self.drained += other.drained;
        self.kills += other.kills;
        self.whole += other.whole;
        self.connections += other.connections;
    }
}

pub(super) struct World {
    pub(super) rng: Rng,
    pub(super) plan: Plan,
    pub(super) links: Vec<Link>,
    pub(super) ledger: Ledger,
    base: Instant,
    /// Microseconds since the beginning.
    pub(super) time: u64,
    /// How far the clock of a peer is ahead.
    leap: [u64; 2],
    pub(super) dead: [bool; 2],
    stopped: [u64; 2],
    /// Nested calls that ended: link, side, call.
    pub(super) nested: Vec<usize>,
    pub(super) healing: bool,
    pub(super) tally: Tally,
    trace: bool,
}

impl World {
    pub(super) fn new(seed: u64, trace: bool) -> World {
        let mut rng = Rng::new(seed);
        let plan = Plan::new(&mut rng);
        let base = Instant::now();
        let mut world = World {
            links: Vec::new(),
            ledger: Ledger::default(),
            base,
            time: 0,
            leap: [0; 2],
            dead: [false; 2],
            stopped: [0; 2],
            nested: Vec::new(),
            healing: false,
            tally: Tally::default(),
            trace,
            plan,
            rng,
        };
        world.note(|w| format!("{:#?}", w.plan));
        world.ledger.hostile = world.plan.hostile.is_some();
        for link in 0..world.plan.links {
            world.tally.connections += 1;
            world.connect(link);
        }
        world
    }

    pub(super) fn note(&self, what: impl FnOnce(&World) -> String) {
        if self.trace {
            eprintln!("{:>9} {}", self.time, what(self));
        }
    }

    fn connect(&mut self, link: usize) {
        let pipe = |rng: &mut Rng, plan: &Plan| {
            let capacity = rng.range(plan.capacity / 2, plan.capacity).max(200);
            Pipe::new(capacity as usize, plan.delay, plan.cuts)
        };
        let mut pipes = [pipe(&mut self.rng, &self.plan), pipe(&mut self.rng, &self.plan)];
        if let Some((side, Some(rate))) = self.plan.hostile {
            pipes[side].spoil = Some(rate);
        }
        let mut side = |at: usize| {
            let config = self.plan.config(at, &mut self.rng);
            Side::new(Conn::new(config, self.base), at == 0, self.base)
        };
        let sides = [side(0), side(1)];
        self.links.push(Link { pipes, sides });
        self.ledger.broken.push(false);
        for at in 0..2 {
            let op = self.links[link].sides[at].new_op();
            let step = self.links[link].sides[at].conn.open(op, None);
            self.submitted(link, at, op, What::Open, None, step);
        }
    }

    // --- time --------------------------------------------------------------------------------------

    pub(super) fn now(&self, side: usize) -> Instant {
        self.base + Duration::from_micros(self.time + self.leap[side])
    }

    /// Whether the clock of a peer was ever ahead of the world's.
    pub(super) fn has_leapt(&self, side: usize) -> bool {
        self.leap[side] > 0
    }

    /// A clock's reading as a time of the world.
    fn world_time(&self, side: usize, at: Instant) -> u64 {
        let micros = at.saturating_duration_since(self.base).as_nanos().div_ceil(1000) as u64;
        micros.saturating_sub(self.leap[side])
    }

    fn acts(&self, side: usize) -> bool {
        !self.dead[side] && self.stopped[side] <= self.time
    }

    /// When something happens by itself: bytes arrive, a stopped peer goes on, and with `alarms` also timers.
    fn next_event(&self, alarms: bool) -> Option<u64> {
        let mut next: Option<u64> = None;
        let mut at = |time: u64| next = Some(next.map_or(time, |n| n.min(time)));
        for link in &self.links {
            for side in 0..2 {
                if self.dead[side] {
                    continue;
                }
                link.pipes[1 - side].next_arrival(self.time).into_iter().for_each(&mut at);
                if alarms {
                    let alarm = link.sides[side].alarm.filter(|_| link.sides[side].carrier);
                    let own = link.sides[side].ops.values().filter_map(|p| p.deadline);
                    for when in alarm.into_iter().chain(own) {
                        let when = self.world_time(side, when);
                        if when > self.time {
                            at(when);
                        }
                    }
                }
            }
        }
        self.stopped.iter().zip(self.dead).filter(|(at, dead)| **at > self.time && !dead).for_each(|(t, _)| at(*t));
        next
    }

    // --- the driver --------------------------------------------------------------------------------

    /// Moves what has arrived.
    fn fill(&mut self, l: usize, s: usize, reads: u64) -> bool {
        let now = self.now(s);
        let Link { pipes, sides } = &mut self.links[l];
        let conn = &mut sides[s].conn;
        for _ in 0..reads {
            if !conn.wants_read() {
                return false;
            }
            let (buffer, offered) = conn.read_buffer();
            assert!(offered > 0, "no room to read into");
            match pipes[1 - s].read(buffer, offered, self.time, &mut self.rng) {
                Read::Bytes(n) => {
                    sides[s].heard = now;
                    conn.received(n, offered, now);
                    if n < offered {
                        return false;
                    }
                }
                Read::Nothing => return false,
                Read::End(End::Eof) => {
                    conn.hung_up();
                    return false;
                }
                Read::End(End::Reset) => {
                    conn.read_failed(Error::new(Code::ConnectionLost, "reset"));
                    return false;
                }
            }
        }
        true
    }

    /// Writes what is queued, as far as the carrier takes it.
    fn flush(&mut self, l: usize, s: usize) {
        loop {
            let Link { pipes, sides } = &mut self.links[l];
            let conn = &mut sides[s].conn;
            conn.stage();
            if !conn.wants_write() {
                return;
            }
            let mut slices: Vec<IoSlice<'_>> = Vec::new();
            conn.slices(&mut slices);
            assert!(slices.iter().any(|s| !s.is_empty()), "it wants to write and has nothing to");
            match pipes[s].write(&slices, self.time, &mut self.rng) {
                Write::Took(0) => return,
                Write::Took(n) => conn.transmitted(n),
                Write::Broken => return conn.write_failed(Error::new(Code::ConnectionLost, "broken pipe")),
                Write::Killed => return self.kill(s),
            }
        }
    }

    /// Puts a frame between those of a side: one that has to be ignored, or in a hostile world any at all.
    fn inject(&mut self, l: usize, s: usize) {
        let Link { pipes, sides } = &mut self.links[l];
        let side = &mut sides[s];
        side.conn.stage();
        if side.level != 1 || side.corks > 0 || side.ended || !side.carrier || side.conn.wants_write() {
            return;
        }
        let hostile = self.plan.hostile.is_some_and(|(from, _)| from == s);
        let rng = &mut self.rng;
        let (kind, most) = match rng.below(6) {
            _ if hostile => (rng.below(0x15) as u8, 40),
            0 => (0x00, 0),
            1 => (rng.pick(&[0x14, 0x20, 0x30, 0x6F, 0x80, 0xFF]), 300),
            _ => (0x70 + rng.below(16) as u8, 300),
        };
        let len = rng.below(most + 1) as usize;
        let flags =
            if hostile { rng.below(64) as u8 & rng.next() as u8 | rng.pick(&[0, 3, 3]) } else { rng.below(128) as u8 };
        let channel = if rng.percent(60) { rng.pick(&self.plan.channels).number() } else { rng.below(6) as u16 };
        let id = match rng.below(8) {
            0 => rng.next(),
            1 => u64::MAX,
            2 | 3 => 0,
            _ => rng.below(side.next_call + 8),
        };
        let mut frame = (len as u32).to_le_bytes().to_vec();
        frame.extend_from_slice(&[kind, flags]);
        frame.extend_from_slice(&channel.to_le_bytes());
        frame.extend_from_slice(&id.to_le_bytes());
        frame.extend((0..len).map(|_| if rng.percent(50) { 0 } else { rng.next() as u8 }));
        pipes[s].put(&frame, self.time);
    }

    /// What a driver does after every use of a connection.
    pub(super) fn move_on(&mut self, l: usize, s: usize) {
        if self.dead[s] {
            return;
        }
        if self.links[l].sides[s].carrier {
            self.flush(l, s);
        }
        if self.dead[s] {
            return;
        }
        self.settle(l, s);
    }

    fn settle(&mut self, l: usize, s: usize) {
        let side = &mut self.links[l].sides[s];
        if !side.ended
            && let Some(error) = side.conn.end_error().cloned()
        {
            side.ended = true;
            self.judge_end(l, s, &error);
        }
        while let Some((op, result)) = self.links[l].sides[s].conn.poll_done() {
            self.finished(l, s, op, result);
        }
        let side = &mut self.links[l].sides[s];
        side.conn.take_notices();
        side.reads = side.conn.wants_read();
        side.writes = side.conn.wants_write();
        side.alarm = side.conn.next_timeout();
        if side.conn.finished() && side.carrier {
            self.let_go(l, s);
        }
        self.check(l, s);
    }

    /// The driver closes its end of the carrier.
    fn let_go(&mut self, l: usize, s: usize) {
        let Link { pipes, sides } = &mut self.links[l];
        sides[s].carrier = false;
        let end = if pipes[1 - s].is_empty() { End::Eof } else { End::Reset };
        pipes[s].end(end);
        pipes[1 - s].abandon();
    }

    /// Looks at the carrier and the clock.
    pub(super) fn pump(&mut self, l: usize, s: usize) {
        self.tally.events += 1;
        let reads = match self.plan.drives[s] {
            Drive::Context => self.rng.range(1, READS),
            _ => READS,
        };
        let now = self.now(s);
        // A blocked caller lets go what a cork holds back: it may be what it waits for.
        if self.plan.drives[s] == Drive::Direct && self.links[l].sides[s].conn.release() {
            self.move_on(l, s);
        }
        let more = !self.dead[s] && self.links[l].sides[s].carrier && self.fill(l, s, reads);
        if self.dead[s] {
            return;
        }
        self.links[l].sides[s].conn.handle_timeout(now);
        self.move_on(l, s);
        if self.plan.drives[s] == Drive::Direct {
            self.own_deadlines(l, s);
        }
        if self.dead[s] {
            return;
        }
        let side = &mut self.links[l].sides[s];
        side.more = more && side.conn.wants_read() && side.carrier;
        assert!(side.alarm.is_none_or(|at| at > now), "a timer in the past: {:?} {now:?}", side.alarm);
    }

    /// Blocked callers watch the clock themselves.
    fn own_deadlines(&mut self, l: usize, s: usize) {
        let now = self.now(s);
        let due = |side: &Side| side.ops.iter().find(|(_, p)| p.deadline.is_some_and(|d| d <= now)).map(|(&op, _)| op);
        while !self.dead[s]
            && let Some(op) = due(&self.links[l].sides[s])
        {
            self.links[l].sides[s].conn.give_up(op, &Error::new(Code::Timeout, "the deadline passed"));
            self.move_on(l, s);
        }
    }

    /// Whether a driver would be woken now.
    fn is_due(&self, l: usize, s: usize) -> bool {
        let link = &self.links[l];
        let side = &link.sides[s];
        if !self.acts(s) {
            return false;
        }
        let own = self.plan.drives[s] == Drive::Direct;
        let now = self.now(s);
        if own && side.ops.is_empty() {
            return false;
        }
        if own && side.ops.values().any(|p| p.deadline.is_some_and(|d| d <= now)) {
            return true;
        }
        side.carrier
            && (side.more
                || (side.reads && link.pipes[1 - s].readable(self.time))
                || (side.writes && link.pipes[s].writable())
                || side.alarm.is_some_and(|at| at <= now))
    }

    // --- operations --------------------------------------------------------------------------------

    /// The deadline a connection is told: blocked callers keep theirs to themselves.
    pub(super) fn told(&self, s: usize, deadline: Option<Instant>) -> Option<Instant> {
        deadline.filter(|_| self.plan.drives[s] != Drive::Direct)
    }

    pub(super) fn submitted(
        &mut self,
        l: usize,
        s: usize,
        op: OpId,
        what: What,
        deadline: Option<Instant>,
        step: Step,
    ) {
        self.note(|_| match &step {
            None => format!("{l}.{s} op {op} {what:?} pending"),
            Some(Err(error)) => format!("{l}.{s} op {op} {what:?} failed at once: {error:?}"),
            Some(Ok(_)) => format!("{l}.{s} op {op} {what:?} at once"),
        });
        let pending = Pending { what, deadline, cancelled: false };
        match step {
            None => {
                let before = self.links[l].sides[s].ops.insert(op, pending);
                assert!(before.is_none());
            }
            Some(result) => self.ended(l, s, pending, result),
        }
    }

    fn finished(&mut self, l: usize, s: usize, op: OpId, result: Result<Outcome>) {
        let pending = self.links[l].sides[s].ops.remove(&op);
        let pending = pending.unwrap_or_else(|| panic!("operation {op} ended again: {result:?}"));
        self.note(|_| match &result {
            Ok(Outcome::Message(_)) => format!("{l}.{s} op {op} {:?} got a message", pending.what),
            Ok(Outcome::Reply(..) | Outcome::Item(_)) => format!("{l}.{s} op {op} {:?} got bytes", pending.what),
            result => format!("{l}.{s} op {op} {:?} ended {result:?}", pending.what),
        });
        self.ended(l, s, pending, result);
    }

    /// Hands in a payload as the drivers do: written at once from the caller's memory where the way is free.
    pub(super) fn post(
        &mut self,
        l: usize,
        s: usize,
        op: OpId,
        post: Post,
        payload: bytes::Bytes,
        deadline: Option<Instant>,
    ) -> Option<Step> {
        let now = self.now(s);
        let deadline = self.told(s, deadline);
        let Link { pipes, sides } = &mut self.links[l];
        let Side { conn, carrier, .. } = &mut sides[s];
        let inline = if *carrier && self.rng.percent(80) { conn.inline(&post, payload.len(), now) } else { Ok(None) };
        Some(match inline {
            Err(error) => Some(Err(error)),
            Ok(None) => conn.post(op, post, payload, now, deadline),
            Ok(Some(inline)) if conn.is_corked() => conn.gather(op, &post, &inline, &payload, deadline),
            Ok(Some(inline)) => {
                match inline.with_slices(&payload, |slices| pipes[s].write(slices, self.time, &mut self.rng)) {
                    Write::Took(taken) => {
                        let len = payload.len();
                        conn.wrote(op, &post, &inline, len, taken, || payload, deadline)
                    }
                    Write::Broken => {
                        let error = Error::new(Code::ConnectionLost, "broken pipe");
                        conn.write_failed(error.clone());
                        Some(Err(error))
                    }
                    Write::Killed => {
                        self.kill(s);
                        return None;
                    }
                }
            }
        })
    }

    // --- faults ------------------------------------------------------------------------------------

    /// A peer ends without a word.
    pub(super) fn kill(&mut self, s: usize) {
        if std::mem::replace(&mut self.dead[s], true) {
            return;
        }
        self.note(|_| format!("peer {s} is killed"));
        self.tally.kills += 1;
        for l in 0..self.links.len() {
            self.ledger.broken[l] = true;
            if self.rng.percent(50) {
                self.links[l].pipes[s].lose(&mut self.rng);
            }
            if self.links[l].sides[s].carrier {
                self.let_go(l, s);
            }
        }
    }

    fn fault(&mut self, fault: Fault) {
        self.note(|_| format!("{fault:?}"));
        match fault {
            Fault::Kill { peer, after } => {
                for link in &mut self.links {
                    let pipe = &mut link.pipes[peer];
                    pipe.kill_at = Some(pipe.written() + after);
                }
            }
            Fault::HalfClose { link, from } => {
                self.ledger.broken[link] = true;
                self.links[link].pipes[from].end(End::Eof);
            }
            Fault::Stop { peer, time } => self.stopped[peer] = self.time + time,
            Fault::Leap { peer, time } => self.leap[peer] += time,
            Fault::Close { link, side } if self.acts(side) => self.close(link, side),
            Fault::Drain { link, side } if self.acts(side) && self.links[link].sides[side].open => {
                self.drain(link, side)
            }
            Fault::Close { .. } | Fault::Drain { .. } => {}
        }
    }

    // --- the run -----------------------------------------------------------------------------------

    pub(super) fn run(&mut self) {
        let mut faults = std::mem::take(&mut self.plan.faults);
        faults.sort_by_key(|(at, _)| *at);
        let mut faults = faults.into_iter().peekable();
        for step in 0..self.plan.steps {
            while let Some((_, fault)) = faults.next_if(|(at, _)| *at <= step) {
                self.fault(fault);
            }
            if self.links.iter().all(|link| link.sides.iter().all(|side| side.ended)) {
                break;
            }
            self.step();
        }
        self.heal();
    }

    fn step(&mut self) {
        self.tally.events += 1;
        let (l, s) = (self.rng.index(self.links.len()), self.rng.index(2));
        match self.rng.below(10) {
            0..=4 => {
                if self.acts(s) {
                    self.act(l, s);
                }
            }
            5..=7 => {
                if self.is_due(l, s) || (self.acts(s) && self.plan.drives[s] != Drive::Direct && self.rng.percent(10)) {
                    self.pump(l, s);
                }
            }
            8 if self.rng.percent(15) => {
                if self.acts(s) {
                    self.inject(l, s);
                }
            }
            8 => self.time += self.rng.range(0, 2 * self.plan.delay + 10),
            _ => {
                let any = (0..self.links.len()).any(|l| (0..2).any(|s| self.is_due(l, s)));
                if (!any || self.rng.percent(5))
                    && let Some(at) = self.next_event(true)
                {
                    self.time = at;
                }
            }
        }
        self.after_nested();
    }

    /// No more faults; programs take and answer everything, and all becomes quiet.
    fn heal(&mut self) {
        self.note(|_| "healing".into());
        self.healing = true;
        self.quiet();
        for l in 0..self.links.len() {
            self.check_quiet(l);
        }
        for l in 0..self.links.len() {
            if self.dead.contains(&true) {
                continue;
            }
            match self.plan.ending {
                Ending::Drain(s) => self.drain(l, s),
                Ending::Cross => {
                    self.drain(l, 0);
                    self.drain(l, 1);
                }
                Ending::Close(s) => self.close(l, s),
            }
        }
        self.quiet();
        for l in 0..self.links.len() {
            self.check_drained(l);
        }
        for l in 0..self.links.len() {
            for s in (0..2).filter(|&s| !self.dead[s]).collect::<Vec<_>>() {
                self.close(l, s);
                if self.dead[s] {
                    continue;
                }
                self.close(l, s);
                let left = &self.links[l].sides[s].ops;
                assert!(left.is_empty(), "{l}.{s} operations outlive their connection: {left:?}");
            }
        }
        self.quiet();
    }

    /// Lets everything happen that happens without waiting for a timer.
    fn quiet(&mut self) {
        for _ in 0..SPINS {
            let mut moved = false;
            for l in 0..self.links.len() {
                for s in 0..2 {
                    if self.acts(s) {
                        moved |= self.wind_up(l, s);
                    }
                    if self.is_due(l, s) {
                        self.pump(l, s);
                        moved = true;
                    }
                }
            }
            moved |= self.after_nested();
            if !moved {
                match self.next_event(false) {
                    Some(at) => self.time = at,
                    // Calls that wait for each other in a ring are the programs' own affair.
                    None if self.break_ring() => {}
                    None => return,
                }
            }
        }
        panic!("it never becomes quiet");
    }

    fn break_ring(&mut self) -> bool {
        let sides = self.links.iter_mut().flat_map(|l| &mut l.sides).zip(0..);
        let (dead, stopped) = (self.dead, self.stopped);
        let waiting = sides.filter(|(_, at)| !dead[at % 2] && stopped[at % 2] <= self.time);
        let waits = waiting.flat_map(|(side, _)| &mut side.served).find_map(|served| served.nested.take());
        waits.is_some()
    }

    // --- invariants --------------------------------------------------------------------------------

    /// What holds at any time.
    fn check(&mut self, l: usize, s: usize) {
        let plan = &self.plan;
        let side = &self.links[l].sides[s];
        let stats = side.conn.stats();
        let largest = if self.ledger.hostile { plan.limits[s].max_message } else { plan.large as usize };
        let most = largest + limits::MESSAGE_OVERHEAD;
        if side.level == 1 {
            for (at, (channel, window)) in stats.channels.iter().zip(plan.windows(s)).enumerate() {
                let bound = window as usize + most;
                assert!(channel.queued_bytes <= bound, "{l}.{s} channel {at} keeps {}", channel.queued_bytes);
                let out = limits::CHANNEL_QUEUE + most;
                let lossy = super::acts::is_lossy(plan.policy(s, channel.channel));
                // Requests on a lossy channel wait without a limit but that of operations.
                assert!(!lossy || channel.channel.number() == 1 || channel.send_queued_bytes <= out + (1 << 20));
            }
            // Calls whose callers have left are among them, as long as the program has them.
            let most = plan.limits[s].max_calls;
            assert!(stats.open_served <= most, "{l}.{s} has {} calls of {most}", stats.open_served);
            assert!(side.served.len() <= most || side.ended, "{l}.{s} works at {} of {most}", side.served.len());
        } else if side.open {
            assert!(stats.receive_queue.bytes <= limits::RECV_QUEUE + most + (80 << 10) * 9);
            assert!(stats.send_queue.bytes <= limits::SEND_QUEUE + most + (200 << 10));
        }
        assert_eq!(stats.pending_operations, side.ops.len(), "operations went astray");
    }

    /// A connection ended: was there a reason?
    fn judge_end(&mut self, l: usize, s: usize, error: &Error) {
        self.note(|_| format!("{l}.{s} ends: {error:?}"));
        assert!(!matches!(error.code(), Code::Internal | Code::Panic), "{error:?}");
        if self.ledger.broken[l] || self.ledger.hostile {
            return;
        }
        let sides = &self.links[l].sides;
        let (drains, drained) = (sides[s].drains, sides[1 - s].drains);
        let expected = match error.code() {
            Code::Closed => drains,
            Code::PeerClosed => drained || drains,
            Code::PeerUnresponsive => {
                let every = self.plan.limits[s].keepalive.unwrap_or_default();
                self.ledger.broken[l] = true;
                self.now(s).saturating_duration_since(sides[s].heard) >= 3 * every
            }
            Code::Timeout => {
                self.ledger.broken[l] = true;
                let late = |s| self.now(s).saturating_duration_since(self.base) >= limits::HANDSHAKE_TIMEOUT;
                !(sides[0].open && sides[1].open) && (late(0) || late(1))
            }
            code if self.plan.level().is_none() => {
                self.ledger.broken[l] = true;
                matches!(code, Code::VersionMismatch | Code::AuthenticationFailed)
            }
            // Given up inside a frame, or with an answer to come.
            Code::ConnectionLost => {
                self.ledger.broken[l] = true;
                // Or by a drain that nothing tells to stop what still comes.
                self.plan.level() == Some(0) && (self.plan.impatience > 0 || drained)
            }
            _ => false,
        };
        assert!(expected, "{l}.{s} ended for no reason: {error:?}");
    }

    /// What holds when all is quiet and nothing was broken.
    fn check_quiet(&mut self, l: usize) {
        if self.ledger.broken[l] || self.ledger.hostile || self.dead.contains(&true) {
            return;
        }
        self.ledger.settle(l);
        self.tally.whole += 1;
        for s in 0..2 {
            let link = &mut self.links[l];
            let (windows, plan) = (self.plan.windows(1 - s), &self.plan);
            let ended = link.sides[s].ended;
            let side = &mut link.sides[s];
            assert!(ended || side.open, "{l}.{s} never opened");
            let stuck: Vec<_> =
                side.ops.values().filter(|p| !matches!(p.what, What::Recv(_) | What::Readable)).collect();
            assert!(stuck.is_empty(), "{l}.{s} operations hang: {stuck:?}");
            side.conn.stage();
            assert!(!side.conn.wants_write(), "{l}.{s} still wants to write");
            let timer = side.conn.next_timeout();
            let excuse = plan.limits[s].keepalive.is_some() || side.ops.values().any(|p| p.deadline.is_some());
            assert!(timer.is_none() || excuse, "{l}.{s} still has a timer");
            let stats = side.conn.stats();
            assert_eq!((stats.receive_queue.messages, stats.receive_queue.bytes), (0, 0), "{l}.{s} not all was taken");
            assert_eq!((stats.open_calls, stats.open_served), (0, 0), "{l}.{s} calls are left");
            assert_eq!(stats.send_queue.bytes, 0, "{l}.{s} not all was sent");
            if ended || side.level == 0 {
                continue;
            }
            let other = link.sides[1 - s].conn.stats();
            for (at, channel) in stats.channels.iter().enumerate() {
                let number = channel.channel.number();
                assert!(
                    channel.send_credit * 2 + 1 >= windows[at],
                    "{l}.{s} {number}: credit is lost {channel:?} {windows:?}"
                );
                assert_eq!(channel.dropped, self.ledger.dropped(l, s, number), "{l}.{s} {number}: drops");
                self.tally.dropped += channel.dropped;
                if !link.sides[1 - s].ended {
                    assert_eq!(channel.dropped, other.channels[at].dropped_by_peer, "{l}.{s} {number}: told drops");
                }
            }
        }
    }

    /// What holds when the connections were ended in order.
    fn check_drained(&mut self, l: usize) {
        if self.ledger.broken[l] || self.ledger.hostile || self.dead.contains(&true) {
            return;
        }
        self.ledger.settle(l);
        for s in 0..2 {
            let side = &self.links[l].sides[s];
            assert!(side.ops.is_empty(), "{l}.{s} operations hang at the end: {:?}", side.ops);
            // Level 0 closes by the end of the stream, after which its own half may go on.
            assert!(side.ended || side.level == 0, "{l}.{s} did not end");
        }
    }
}
