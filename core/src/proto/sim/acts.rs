//! What the programs do.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::ledger::{Call, Items};
use super::payload;
use super::plan::Drive;
use super::side::{Opened, What};
use super::world::World;
use crate::proto::channel::Channel;
use crate::proto::conn::Post;
use crate::proto::level1::{Answer, Delivery, Policy, With};

/// Calls and streams a program has open at most, so that a world stays small.
const BUSY: usize = 24;

pub(super) fn is_lossy(policy: Policy) -> bool {
    matches!(policy, Policy::DropOldest | Policy::Latest)
}

impl World {
    // --- random work -------------------------------------------------------------------------------

    pub(super) fn act(&mut self, l: usize, s: usize) {
        let side = &self.links[l].sides[s];
        if !side.open {
            return;
        }
        if self.rng.percent(self.plan.appetite) {
            return self.take(l, s);
        }
        if self.plan.drives[s] == Drive::Async && self.rng.percent(self.plan.impatience) {
            return self.give_up_any(l, s);
        }
        match self.rng.below(24) {
            0..=4 => self.send(l, s),
            5..=7 => self.request(l, s, None),
            8 | 23 => self.open_stream(l, s),
            9..=12 => self.serve(l, s),
            13..=16 => self.stream_step(l, s),
            17 => self.ping(l, s),
            18 => self.cork(l, s),
            19 => self.batch(l, s),
            20 => self.take(l, s),
            21 if self.rng.percent(self.plan.impatience) => self.give_up_any(l, s),
            22 => self.watch(l, s),
            _ => self.send(l, s),
        }
    }

    fn size(&mut self) -> usize {
        match self.rng.below(12) {
            0 => self.rng.below(9) as usize,
            1 => self.rng.range(0, self.plan.large) as usize,
            _ => self.rng.range(0, self.plan.usual) as usize,
        }
    }

    fn deadline(&mut self, s: usize) -> Option<Instant> {
        let after = Duration::from_micros(self.rng.range(0, 200_000));
        (self.rng.percent(self.plan.impatience)).then(|| self.now(s) + after)
    }

    fn is_firm(&self, l: usize, s: usize) -> bool {
        let stats = self.links[l].sides[s].conn.stats();
        match self.links[l].sides[s].level {
            0 => self.links[l].sides[s].waits_for(|w| matches!(w, What::Call(_))) == 0,
            _ => stats.open_calls < self.plan.limits[1 - s].max_calls,
        }
    }

    fn send(&mut self, l: usize, s: usize) {
        let mut channel = self.rng.pick(&self.plan.channels);
        if self.links[l].sides[s].level == 0 && channel == Channel::COMMAND {
            channel = Channel::DATA;
        }
        self.send_on(l, s, channel);
    }

    fn send_on(&mut self, l: usize, s: usize, channel: Channel) {
        let len = self.size();
        let level = self.links[l].sides[s].level;
        let lossy = level == 1 && is_lossy(self.plan.policy(s, channel));
        let tag = self.ledger.posted(l, s, channel.number(), len, false, lossy, true);
        let named = level == 1 && (self.rng.percent(if len < payload::NAMED { 50 } else { 10 }));
        let trace = named.then(|| payload::make(tag, payload::NAMED));
        // A message nobody could tell from others is not given up.
        let deadline = if len >= payload::NAMED { self.deadline(s) } else { None };
        let op = self.links[l].sides[s].new_op();
        let mut with = With::default();
        if trace.is_some() {
            with.more_mut().trace = trace;
        }
        let step = self.post(l, s, op, Post::Message(channel, with), payload::make(tag, len), deadline);
        self.posted(l, s, op, What::Send(tag), deadline, step);
    }

    fn posted(
        &mut self,
        l: usize,
        s: usize,
        op: u64,
        what: What,
        deadline: Option<Instant>,
        step: Option<crate::proto::Step>,
    ) {
        let Some(step) = step else { return };
        self.submitted(l, s, op, what, deadline, step);
        self.move_on(l, s);
    }

    /// A call; `channel` of the caller's choice. Gives its number in the ledger if it was made.
    fn request(&mut self, l: usize, s: usize, nested: Option<u64>) {
        let level = self.links[l].sides[s].level;
        // On level 0 only one side may call.
        if self.links[l].sides[s].waits_for(|w| matches!(w, What::Call(_))) >= BUSY || (level == 0 && s == 1) {
            return self.send(l, s);
        }
        let mut channel = Channel::COMMAND;
        if level == 1 && self.rng.percent(30) {
            channel = self.rng.pick(&self.plan.channels);
        }
        let len = if level == 0 { self.size().max(payload::NAMED) } else { self.size() };
        let firm = self.is_firm(l, s);
        let tag = self.ledger.posted(l, s, channel.number(), len, true, false, firm);
        let deadline = self.deadline(s);
        // A caller may tell a deadline and wait as long as it takes.
        let told = deadline.filter(|_| level == 1 && self.rng.percent(80));
        let deadline = deadline.filter(|_| told.is_none() || self.rng.percent(80));
        let call = self.book(l, s, tag, false, told);
        let with = With::new(told);
        let op = self.links[l].sides[s].new_op();
        let step = self.post(l, s, op, Post::Request(channel, with), payload::make(tag, len), deadline);
        match &step {
            Some(None) if level == 1 => self.links[l].sides[s].next_call += 2,
            None => return,
            _ => {}
        }
        if let Some(id) = nested
            && let Some(None) = step
            && let Some(served) = self.links[l].sides[s].served.iter_mut().find(|v| v.id == id)
        {
            served.nested = Some(call);
        }
        self.posted(l, s, op, What::Call(call), deadline, step);
    }

    fn book(&mut self, link: usize, caller: usize, request: u64, stream: bool, told: Option<Instant>) -> usize {
        let side = &self.links[link].sides[caller];
        let id = if side.level == 1 { side.next_call } else { 0 };
        self.note(|w| {
            format!("{link}.{caller} makes call {} id {id} request {request} stream {stream}", w.ledger.calls.len())
        });
        self.ledger.entries[request as usize].moot = told.is_some();
        self.ledger.call(Call {
            link,
            caller,
            id,
            request,
            stream,
            told,
            given_up: false,
            ended: false,
            answer: None,
            abandoned: false,
            items: [Items::default(), Items::default()],
        })
    }

    fn open_stream(&mut self, l: usize, s: usize) {
        if self.links[l].sides[s].level == 0 || self.links[l].sides[s].streams.len() >= BUSY {
            return self.send(l, s);
        }
        let channel = if self.rng.percent(70) { Channel::COMMAND } else { self.rng.pick(&self.plan.channels) };
        let (len, firm, fin) = (self.size(), self.is_firm(l, s), self.rng.percent(20));
        let tag = self.ledger.posted(l, s, channel.number(), len, true, false, firm);
        let told = self.deadline(s);
        let call = self.book(l, s, tag, true, told);
        let now = self.now(s);
        let with = With::new(told);
        let side = &mut self.links[l].sides[s];
        match side.conn.open_stream(channel, fin, with, payload::make(tag, len), now) {
            Ok(id) => {
                assert_eq!(id, side.next_call, "a call under an unexpected id");
                side.next_call += 2;
                side.streams.push(Opened { id, call, fin, reading: false, over: false });
            }
            Err(error) => self.call_failed(l, s, call, &error, false),
        }
        self.move_on(l, s);
    }

    /// Receives, in one of the ways there are.
    fn take(&mut self, l: usize, s: usize) {
        match self.rng.below(5) {
            0 => self.recv_many(l, s),
            1 if self.links[l].sides[s].waits_for(|w| w == What::Readable) < 2 => {
                let deadline = self.deadline(s);
                let op = self.links[l].sides[s].new_op();
                let told = self.told(s, deadline);
                let step = self.links[l].sides[s].conn.readable(op, told);
                self.posted(l, s, op, What::Readable, deadline, Some(step));
            }
            2 if self.plan.drives[s] == Drive::Async => {
                let channel = self.rng.percent(30).then(|| self.rng.pick(&self.plan.channels));
                self.poll_recv(l, s, channel);
            }
            _ => {
                let channel = self.rng.percent(30).then(|| self.rng.pick(&self.plan.channels));
                self.recv(l, s, channel);
            }
        }
    }

    /// Receives in two steps, so that nothing is lost with a wait that is given up.
    fn poll_recv(&mut self, l: usize, s: usize, channel: Option<Channel>) {
        let deadline = self.deadline(s);
        let op = self.links[l].sides[s].new_op();
        let told = self.told(s, deadline);
        let step = self.links[l].sides[s].conn.poll_recv(op, channel, told);
        self.posted(l, s, op, What::Readable, deadline, Some(step));
    }

    fn recv(&mut self, l: usize, s: usize, channel: Option<Channel>) {
        if !self.healing && self.links[l].sides[s].waits_for(|w| matches!(w, What::Recv(_))) > 6 {
            return;
        }
        let deadline = if self.healing { None } else { self.deadline(s) };
        let op = self.links[l].sides[s].new_op();
        let told = self.told(s, deadline);
        let step = self.links[l].sides[s].conn.recv(op, channel, told);
        self.posted(l, s, op, What::Recv(channel.is_none()), deadline, Some(step));
    }

    fn recv_many(&mut self, l: usize, s: usize) {
        let most = self.rng.range(1, 20) as usize;
        let channel = self.rng.percent(20).then(|| self.rng.pick(&self.plan.channels));
        let mut taken = Vec::new();
        let result = self.links[l].sides[s].conn.recv_many(channel, |channel, body, extra| {
            taken.push(Delivery { channel, payload: body.into_bytes(), extra });
            taken.len() < most
        });
        assert!(result.is_ok() || self.plan.level() != Some(1) || self.ledger.hostile, "{result:?}");
        taken.into_iter().for_each(|delivery| self.delivered(l, s, delivery));
        self.move_on(l, s);
    }

    fn ping(&mut self, l: usize, s: usize) {
        let deadline = self.deadline(s);
        let (now, told) = (self.now(s), self.told(s, deadline));
        let op = self.links[l].sides[s].new_op();
        let step = self.links[l].sides[s].conn.ping(op, now, told);
        self.posted(l, s, op, What::Ping, deadline, Some(step));
    }

    fn cork(&mut self, l: usize, s: usize) {
        let side = &mut self.links[l].sides[s];
        let corked = side.corks == 0 || (side.corks < 3 && self.rng.percent(20));
        side.corks = if corked { side.corks + 1 } else { side.corks - 1 };
        side.conn.cork(corked);
        self.move_on(l, s);
    }

    /// Many small messages, and the wait for all of them.
    fn batch(&mut self, l: usize, s: usize) {
        let mut channel = self.rng.pick(&self.plan.channels);
        if self.links[l].sides[s].level == 0 && channel == Channel::COMMAND {
            channel = Channel::DATA;
        }
        let lossy = self.links[l].sides[s].level == 1 && is_lossy(self.plan.policy(s, channel));
        for _ in 0..self.rng.range(1, 12) {
            let len = self.rng.range(payload::NAMED as u64, 100.min(self.plan.usual)) as usize;
            let tag = self.ledger.posted(l, s, channel.number(), len, false, lossy, true);
            let bytes = payload::make(tag, len);
            match self.links[l].sides[s].conn.send_short(channel, &bytes) {
                Ok(true) => self.ledger.left(tag),
                Ok(false) => {
                    let op = self.links[l].sides[s].new_op();
                    let step = self.post(l, s, op, Post::Message(channel, With::default()), bytes, None);
                    self.posted(l, s, op, What::Send(tag), None, step);
                    if self.dead[s] {
                        return;
                    }
                }
                Err(error) => {
                    self.ledger.failed(tag, &error);
                    break;
                }
            }
        }
        let op = self.links[l].sides[s].new_op();
        let step = self.links[l].sides[s].conn.flush(op, None);
        self.posted(l, s, op, What::Flush, None, Some(step));
    }

    fn give_up_any(&mut self, l: usize, s: usize) {
        let side = &mut self.links[l].sides[s];
        let skip = self.rng.index(side.ops.len().max(1));
        let Some((&op, pending)) = side.ops.iter_mut().nth(skip) else { return };
        match pending.what {
            What::Open | What::Drain => return,
            // Nobody could tell it from others.
            What::Send(tag) | What::ItemOut { tag: Some(tag), .. }
                if self.ledger.entries[tag as usize].len < payload::NAMED
                    || (side.level == 0 && self.ledger.entries[tag as usize].moot) =>
            {
                return;
            }
            _ => {}
        }
        pending.cancelled = true;
        if let What::Call(call) = pending.what {
            self.ledger.calls[call].given_up = true;
        }
        assert!(side.conn.cancel(op), "{op} was pending");
        self.move_on(l, s);
    }

    // --- serving -----------------------------------------------------------------------------------

    fn serve(&mut self, l: usize, s: usize) {
        let ready: Vec<usize> = {
            let served = &self.links[l].sides[s].served;
            (0..served.len()).filter(|&n| served[n].nested.is_none()).collect()
        };
        if ready.is_empty() {
            return self.take(l, s);
        }
        let at = self.rng.pick(&ready);
        let id = self.links[l].sides[s].served[at].id;
        match self.rng.below(10) {
            0 => self.abandon(l, s, at),
            1 => self.answer(l, s, at, true),
            2 | 3 => {
                let link = if self.rng.percent(80) { l } else { self.rng.index(self.links.len()) };
                // Only the connection itself knows the ids of its calls.
                if self.links[link].sides[s].open {
                    self.request(link, s, (link == l).then_some(id));
                }
            }
            _ => self.answer(l, s, at, false),
        }
    }

    fn answer(&mut self, l: usize, s: usize, at: usize, fail: bool) {
        let served = self.links[l].sides[s].served.remove(at);
        let len = self.size();
        let (op, level) = (self.links[l].sides[s].new_op(), self.links[l].sides[s].level);
        // On level 0 an answer that was given up leaves its caller waiting: nothing can tell it.
        let deadline = if self.healing || level == 0 { None } else { self.deadline(s) };
        if level == 0 {
            let tag = self.ledger.posted(l, s, 1, len, false, false, true);
            self.ledger.entries[tag as usize].moot = true;
            self.ledger.calls[served.call].answer.get_or_insert((tag, None));
            let post = Post::Message(Channel::COMMAND, With::default());
            let step = self.post(l, s, op, post, payload::make(tag, len), deadline);
            return self.posted(l, s, op, What::Send(tag), deadline, step);
        }
        let status = fail.then(|| self.rng.next() as u32);
        let tag = self.ledger.loose(l, s, len);
        let answer = self.ledger.calls[served.call].answer;
        let post = Post::Answer(Answer { id: served.id, status });
        self.ledger.calls[served.call].answer.get_or_insert((tag, status));
        let step = self.post(l, s, op, post, payload::make(tag, len), deadline);
        if let Some(Some(Err(_))) = &step {
            self.ledger.calls[served.call].answer = answer;
        }
        self.posted(l, s, op, What::Answer(served.call, tag), deadline, step);
    }

    fn abandon(&mut self, l: usize, s: usize, at: usize) {
        let served = self.links[l].sides[s].served.remove(at);
        if self.links[l].sides[s].level == 1 {
            self.ledger.calls[served.call].abandoned = true;
            self.links[l].sides[s].conn.abandon_served(served.id);
            self.move_on(l, s);
        } else {
            self.links[l].sides[s].served.push(served);
        }
    }

    fn watch(&mut self, l: usize, s: usize) {
        let side = &mut self.links[l].sides[s];
        if side.level == 0 || side.served.is_empty() {
            return;
        }
        let served = &side.served[self.rng.index(side.served.len())];
        let (id, call) = (served.id, served.call);
        let deadline = self.deadline(s);
        let told = self.told(s, deadline);
        let op = self.links[l].sides[s].new_op();
        let step = self.links[l].sides[s].conn.watch(op, id, told);
        self.posted(l, s, op, What::Watch(call), deadline, Some(step));
    }

    // --- streams -----------------------------------------------------------------------------------

    fn stream_step(&mut self, l: usize, s: usize) {
        let side = &self.links[l].sides[s];
        let serving: Vec<usize> = (0..side.served.len()).filter(|&n| side.served[n].stream).collect();
        if !side.streams.is_empty() && (serving.is_empty() || self.rng.percent(50)) {
            let at = self.rng.index(side.streams.len());
            match self.rng.below(20) {
                0 => self.drop_stream(l, s, at),
                1 => self.item(l, s, false, at, true),
                2..=10 => self.item(l, s, false, at, false),
                _ => self.read_item(l, s, false, at),
            }
        } else if !serving.is_empty() {
            let at = self.rng.pick(&serving);
            match self.rng.below(20) {
                0 if side.served[at].nested.is_none() => {
                    let fail = self.rng.percent(20);
                    self.answer(l, s, at, fail);
                }
                0..=10 => self.item(l, s, true, at, false),
                _ => self.read_item(l, s, true, at),
            }
        } else {
            self.open_stream(l, s);
        }
    }

    fn item(&mut self, l: usize, s: usize, serving: bool, at: usize, fin: bool) {
        let side = &mut self.links[l].sides[s];
        let (id, call) = match serving {
            true => (side.served[at].id, side.served[at].call),
            false => (side.streams[at].id, side.streams[at].call),
        };
        if !serving {
            if side.streams[at].fin || side.streams[at].over {
                return;
            }
            side.streams[at].fin = fin;
        }
        let len = if fin && (self.healing || self.rng.percent(70)) { 0 } else { self.size() };
        let tag = (len > 0 || !fin).then(|| self.ledger.loose(l, s, len));
        if let Some(tag) = tag {
            self.ledger.item(call, usize::from(serving), tag);
        }
        let deadline = if len < payload::NAMED || self.healing { None } else { self.deadline(s) };
        let told = self.told(s, deadline);
        let bytes = tag.map_or(Bytes::new(), |tag| payload::make(tag, len));
        let op = self.links[l].sides[s].new_op();
        let step = self.links[l].sides[s].conn.stream_send(op, id, bytes, fin, told);
        self.posted(l, s, op, What::ItemOut { call, tag, fin }, deadline, Some(step));
    }

    fn read_item(&mut self, l: usize, s: usize, serving: bool, at: usize) {
        let side = &mut self.links[l].sides[s];
        let (id, call, reading, over) = match serving {
            true => {
                let served = &mut side.served[at];
                (served.id, served.call, &mut served.reading, served.in_ended || served.over)
            }
            false => {
                let opened = &mut side.streams[at];
                (opened.id, opened.call, &mut opened.reading, opened.over)
            }
        };
        if *reading || over {
            return;
        }
        *reading = true;
        let deadline = if self.healing { None } else { self.deadline(s) };
        let told = self.told(s, deadline);
        let op = self.links[l].sides[s].new_op();
        let conn = &mut self.links[l].sides[s].conn;
        let step = match self.plan.drives[s] {
            Drive::Async => conn.poll_stream_recv(op, id, told),
            _ => conn.stream_recv(op, id, told),
        };
        self.posted(l, s, op, What::ItemIn(call), deadline, Some(step));
    }

    fn drop_stream(&mut self, l: usize, s: usize, at: usize) {
        let opened = self.links[l].sides[s].streams.remove(at);
        self.ledger.calls[opened.call].given_up = true;
        self.ledger.entries[self.ledger.calls[opened.call].request as usize].moot = true;
        self.links[l].sides[s].conn.drop_stream(opened.id);
        self.note(|_| format!("{l}.{s} drops stream {} of call {}", opened.id, opened.call));
        self.move_on(l, s);
    }

    // --- ends --------------------------------------------------------------------------------------

    pub(super) fn drain(&mut self, l: usize, s: usize) {
        let side = &mut self.links[l].sides[s];
        if !side.open {
            return;
        }
        side.drains = true;
        if side.level == 0 {
            // Nothing tells the other side to stop, and what it still sends may find nobody.
            self.ledger.unheard.push((l, 1 - s));
        }
        let side = &mut self.links[l].sides[s];
        let op = side.new_op();
        let step = side.conn.drain(op, None);
        self.posted(l, s, op, What::Drain, None, Some(step));
    }

    pub(super) fn close(&mut self, l: usize, s: usize) {
        self.note(|_| format!("{l}.{s} closes"));
        self.ledger.broken[l] = true;
        self.links[l].sides[s].conn.say_good_bye();
        self.move_on(l, s);
        if self.dead[s] {
            return;
        }
        self.links[l].sides[s].conn.close();
        self.move_on(l, s);
        assert!(self.links[l].sides[s].conn.finished(), "a closed connection keeps its carrier");
    }

    /// One step towards the end of what a program has open. Says whether there was any.
    pub(super) fn wind_up(&mut self, l: usize, s: usize) -> bool {
        let side = &mut self.links[l].sides[s];
        if !side.open {
            return false;
        }
        if side.corks > 0 {
            side.corks -= 1;
            side.conn.cork(false);
            self.move_on(l, s);
            return true;
        }
        if !side.dry {
            if self.rng.percent(20) {
                self.recv_many(l, s);
            }
            if !self.dead[s] && self.links[l].sides[s].waits_for(|w| w == What::Recv(true)) == 0 {
                self.recv(l, s, None);
                return true;
            }
        }
        if self.dead[s] {
            return true;
        }
        let side = &self.links[l].sides[s];
        for at in 0..side.served.len() {
            let served = &side.served[at];
            if served.stream && served.patient && !served.in_ended && !served.over {
                if !served.reading {
                    self.read_item(l, s, true, at);
                    return true;
                }
            } else if served.nested.is_none() {
                let fail = self.rng.percent(20);
                self.answer(l, s, at, fail);
                return true;
            }
        }
        for at in 0..side.streams.len() {
            let opened = &side.streams[at];
            if opened.over {
                self.drop_stream(l, s, at);
                return true;
            }
            if !opened.fin {
                self.item(l, s, false, at, true);
                return true;
            }
            if !opened.reading {
                self.read_item(l, s, false, at);
                return true;
            }
        }
        false
    }

    /// Calls ended that others waited for.
    pub(super) fn after_nested(&mut self) -> bool {
        let ended = std::mem::take(&mut self.nested);
        for &call in &ended {
            for l in 0..self.links.len() {
                for s in 0..2 {
                    let served = &mut self.links[l].sides[s].served;
                    let waits = served.iter().position(|v| v.nested == Some(call));
                    if let Some(at) = waits.filter(|_| !self.dead[s]) {
                        served[at].nested = None;
                        self.answer(l, s, at, false);
                    }
                }
            }
        }
        !ended.is_empty()
    }
}
