//! What comes in: bytes to frames, frames to the calls, streams and queues they are for.

use std::time::{Duration, Instant};

use super::control::{Control, Reason};
use super::ext::Ext;
use super::header::{Header, flag, kind};
use super::inbox::{Extra, Grant, Request};
use super::outbox::Mark;
use super::reader::{Arrived, Body, Event, Reader};
use super::{Arriving, Level1, bad};
use crate::error::{Code, Error, Result, Sent};
use crate::limits;
use crate::proto::charge::charge;
use crate::proto::notice::Notice;
use crate::proto::ops::{Kind, Ops, Outcome};

impl Level1 {
    /// `read` bytes were appended where `offered` would have fitted. The error ends the connection.
    pub(crate) fn received(&mut self, read: usize, offered: usize, ops: &mut Ops, now: Instant) -> Result<()> {
        self.reader.filled(read, offered);
        if let Some(keepalive) = &mut self.keepalive {
            keepalive.heard = now;
            keepalive.pinged = None;
        }
        self.read_frames(ops, now)
    }

    /// Handles every frame that is complete.
    pub(crate) fn read_frames(&mut self, ops: &mut Ops, now: Instant) -> Result<()> {
        // Out of the way, so that what it lends can be handed to the rest.
        let mut reader = std::mem::replace(&mut self.reader, Reader::new(0, Vec::new()));
        let result = self.read_from(&mut reader, ops, now);
        self.reader = reader;
        for op in self.inbox.watchers() {
            ops.finish(op, Ok(Outcome::Readable));
        }
        result
    }

    fn read_from(&mut self, reader: &mut Reader, ops: &mut Ops, now: Instant) -> Result<()> {
        loop {
            reader.set_ready(self.heard_ready());
            match reader.next(|header, ext, total| self.admit(header, ext, total))? {
                Some(Event::Control(header, payload)) => self.control(header, payload, ops, now)?,
                Some(Event::Plain(channel, payload)) => self.plain(channel, payload, ops)?,
                Some(Event::Message(arrived)) => self.message(arrived, ops, now)?,
                None => return Ok(()),
            }
            // What comes in may ask for answers; whoever does not read them does not get to ask for ever.
            if self.outbox.control_bytes() > limits::CONTROL_QUEUE + limits::CALL_END * self.own.max_calls {
                return Err(Error::new(Code::ControlFlood, "the other side does not read what it asks for"));
            }
        }
    }

    pub(super) fn is_own(&self, id: u64) -> bool {
        (id % 2 == 1) == self.connector
    }

    /// Whether a call with this id was ever begun, by whichever side it belongs to.
    fn was_opened(&self, id: u64) -> bool {
        let last = if self.is_own(id) { self.last_own } else { self.last_seen };
        id != 0 && last != u64::MAX && id <= last && !self.is_unsent(id)
    }

    fn check_opened(&self, id: u64) -> Result<()> {
        if self.was_opened(id) {
            Ok(())
        } else {
            Err(bad(format!("a frame for the call {id}, which was never opened")))
        }
    }

    /// Whether a frame of the call `id` stands on the channel of its request.
    fn check_channel(&self, id: u64, at: usize) -> Result<()> {
        let own = self.calls.get(&id).map(|call| call.at);
        match own.or_else(|| self.served.get(&id).map(|served| served.at)) {
            Some(asked) if asked != at => {
                Err(bad(format!("a frame of the call {id} on another channel than its request")))
            }
            _ => Ok(()),
        }
    }

    /// Whether the other side may open a call under `id` on the channel at `at`. Which ids were used on other channels
    /// is not kept once their calls have ended; one that has not, or of which a message is still arriving, is known.
    fn check_new(&self, id: u64, at: usize) -> Result<()> {
        if id == 0 || self.is_own(id) || id <= self.last_requests[at] {
            return Err(bad(format!("a call under the id {id}, which is not a new one of the other side's")));
        }
        let open = self.served.contains_key(&id) || self.orphans.contains_key(&id);
        if open || self.arriving.iter().any(|a| a.id == id) {
            return Err(bad(format!("the call {id} was opened twice")));
        }
        Ok(())
    }

    fn note_arriving(&mut self, header: &Header, at: usize) {
        if !header.has(flag::LAST) {
            let request = header.kind == kind::REQUEST;
            self.arriving.push(Arriving { at, id: header.id, request, given_up: false });
        }
    }

    /// A message that came in pieces on the channel at `at` is whole.
    fn has_arrived(&mut self, header: &Header, at: usize) -> Option<Arriving> {
        let begun = if header.has(flag::LAST) { None } else { self.arriving.iter().position(|a| a.at == at) };
        begun.map(|begun| self.arriving.swap_remove(begun))
    }

    /// Judges a message by its first frame.
    fn admit(&mut self, header: &Header, ext: &Ext, total: usize) -> Result<()> {
        let at = self.position(header.channel)?;
        let credited = matches!(header.kind, kind::MESSAGE | kind::REQUEST);
        if ext.fds.is_some() && !(self.fds && credited) {
            return Err(bad("descriptors where there are none: not agreed on, or not with a message or request"));
        }
        if credited {
            self.check_begin()?;
        }
        match header.kind {
            kind::MESSAGE if header.id != 0 => return Err(bad("a one-way message with an id")),
            kind::MESSAGE => {}
            kind::REQUEST => {
                self.check_new(header.id, at)?;
                self.last_requests[at] = header.id;
                self.last_seen = self.last_seen.max(header.id);
                self.note_arriving(header, at);
            }
            kind::RESPONSE => {
                if !self.is_own(header.id) {
                    return Err(bad("an answer to a call of the other side's own"));
                }
                // The answer to a call that has left, on its channel, needs no closer look.
                if self.calls.get(&header.id).is_none_or(|call| !call.sent || call.at != at) {
                    self.check_opened(header.id)?;
                    self.check_channel(header.id, at)?;
                }
            }
            _ => {
                self.check_opened(header.id)?;
                self.check_channel(header.id, at)?;
                if self.arriving.iter().any(|a| a.request && a.id == header.id) {
                    return Err(bad(format!("an item of the call {} before its request is whole", header.id)));
                }
                self.admit_item(header.id, total)?;
                self.note_arriving(header, at);
            }
        }
        if credited && !self.inbox.window(at).charge(charge(total, ext.fds.map_or(0, usize::from))) {
            return Err(no_credit(header.channel));
        }
        Ok(())
    }

    /// Whether the other side may still begin a message or a call: not once it has said that it is done with that.
    fn check_begin(&self) -> Result<()> {
        if self.drain.acked { Err(bad("a message or call behind the acknowledgement of a drain")) } else { Ok(()) }
    }

    fn plain(&mut self, channel: u16, payload: &[u8], ops: &mut Ops) -> Result<()> {
        let at = self.position(channel)?;
        self.check_begin()?;
        if !self.inbox.window(at).charge(charge(payload.len(), 0)) {
            return Err(no_credit(channel));
        }
        self.count_in(at, payload.len());
        self.deliver(at, Body::Short(payload), None, ops);
        Ok(())
    }

    fn message(&mut self, arrived: Arrived<'_>, ops: &mut Ops, now: Instant) -> Result<()> {
        let Arrived { header, ext, body, fds } = arrived;
        let at = self.position(header.channel)?;
        match header.kind {
            kind::MESSAGE => {
                self.count_in(at, body.len());
                if let Some(dropped) = ext.dropped {
                    let counter = &mut self.counters[at];
                    counter.dropped_by_peer = counter.dropped_by_peer.max(dropped);
                }
                self.deliver(at, body, Extra { request: None, trace: ext.trace, fds }.boxed(), ops);
            }
            kind::REQUEST => {
                self.count_in(at, body.len());
                let id = header.id;
                let charge = charge(body.len(), fds.len());
                if self.has_arrived(&header, at).is_some_and(|arrived| arrived.given_up) {
                    self.push_end(id, Code::Cancelled);
                    self.discard(at, charge);
                    return Ok(());
                }
                if self.places() >= self.own.max_calls {
                    let limit = self.own.max_calls;
                    let error = Error::new(Code::QueueFull, format!("{limit} calls are being served"));
                    self.outbox.push_control(kind::REFUSE, 0, id, &Reason::encode(&error));
                    self.discard(at, charge);
                    return Ok(());
                }
                let deadline = ext.deadline_us.and_then(|us| now.checked_add(Duration::from_micros(us)));
                let stream = header.has(flag::STREAM);
                let request = Request { id, deadline, stream, idempotency: ext.idempotency };
                let extra = Extra { request: Some(request), trace: ext.trace, fds }.boxed();
                let taken = self.deliver(at, body, extra, ops);
                self.serve(at, id, taken, deadline, stream.then_some(header.has(flag::FIN)));
            }
            kind::RESPONSE => {
                self.count_in(at, body.len());
                let result = match ext.status {
                    None => Ok(body.into_bytes()),
                    Some(status) => Err(Error::remote(status, body.into_bytes())),
                };
                self.end_call(header.id, result, ops);
            }
            _ => {
                self.has_arrived(&header, at);
                self.item_arrived(header.id, body.into_bytes(), header.has(flag::FIN), ops);
            }
        }
        Ok(())
    }

    /// The caller of a request that is not whole yet leaves. `false` if there is none, or it has left before.
    fn give_up_arriving(&mut self, id: u64) -> bool {
        let request = self.arriving.iter_mut().find(|a| a.request && a.id == id);
        request.is_some_and(|request| !std::mem::replace(&mut request.given_up, true))
    }

    /// Nobody takes a message with this charge: its credit is given back.
    fn discard(&mut self, at: usize, charge: usize) {
        let channel = self.channels.as_slice()[at];
        let grant = self.inbox.window(at).consume(charge).map(|total| Grant { channel, total });
        self.give_back(grant);
    }

    /// Hands a message to whoever waits for it, or keeps it. Says whether somebody did.
    fn deliver(&mut self, at: usize, body: Body<'_>, extra: Option<Box<Extra>>, ops: &mut Ops) -> bool {
        let Some((op, delivery)) = self.inbox.arrive(at, body, extra) else {
            ops.note(self.inbox.rises(at));
            return false;
        };
        if let Some(total) = self.inbox.window(at).consume(delivery.charge()) {
            self.outbox.push_control(kind::CREDIT, delivery.channel.number(), 0, &total.to_le_bytes());
        }
        ops.finish(op, Ok(Outcome::Message(delivery)));
        true
    }

    fn control(&mut self, header: Header, payload: &[u8], ops: &mut Ops, now: Instant) -> Result<()> {
        match Control::decode(header.kind, payload)? {
            Control::Nop => {}
            Control::Auth(proof) => self.on_auth(&proof)?,
            Control::Ready => self.on_ready()?,
            Control::Ping(token) => {
                if self.outbox.unread_pongs() >= limits::MAX_UNREAD_ANSWERS {
                    return Err(Error::new(Code::ControlFlood, "the other side pings and does not read the answers"));
                }
                self.outbox.push_control(kind::PONG, 0, 0, &token);
            }
            Control::Pong(token) => {
                let token = u64::from_le_bytes(token);
                if let Some(at) = self.pings.iter().position(|p| p.token == token)
                    && let Some(ping) = self.pings.remove(at)
                {
                    ops.finish(ping.op, Ok(Outcome::Pong(now.saturating_duration_since(ping.started))));
                }
            }
            Control::GoAway(last) => self.on_goaway(last, ops),
            Control::DrainAck => {
                if !self.drain.asked || std::mem::replace(&mut self.drain.acked, true) {
                    return Err(bad("an acknowledgement nobody asked for"));
                }
                self.push_goaway(self.last_seen);
            }
            Control::Close(reason) => {
                self.told = true;
                return Err(reason.of_connection(self.heard_ready()));
            }
            Control::Error(reason) => self.on_no_reply(header.id, reason.of_call().with_sent(Sent::Maybe), ops)?,
            Control::Refuse(reason) => self.on_no_reply(header.id, reason.of_call().with_sent(Sent::No), ops)?,
            Control::Credit(total) if header.id == 0 => {
                let at = self.position(header.channel)?;
                if self.outbox.channel(at).raise(total) {
                    self.outbox.activate(at);
                }
            }
            Control::Credit(total) => {
                self.check_opened(header.id)?;
                self.raise_stream(header.id, total);
            }
            Control::Cancel => {
                if self.is_own(header.id) {
                    return Err(bad("a cancel for a call of this side"));
                }
                self.check_opened(header.id)?;
                if self.served.contains_key(&header.id) {
                    self.let_go(header.id, Code::Cancelled, ops);
                } else if !self.orphans.contains_key(&header.id) && !self.give_up_arriving(header.id) {
                    self.counts.late += 1;
                }
            }
        }
        Ok(())
    }

    /// A call of this side ended without a reply.
    fn on_no_reply(&mut self, id: u64, error: Error, ops: &mut Ops) -> Result<()> {
        if !self.is_own(id) {
            return Err(bad("an end to a call of the other side's own"));
        }
        self.check_opened(id)?;
        self.end_call(id, Err(error), ops);
        Ok(())
    }

    fn on_goaway(&mut self, last: u64, ops: &mut Ops) {
        if !std::mem::replace(&mut self.drain.told, true) {
            self.drain.ack_owed = true;
            ops.note([Notice::Draining { by_peer: true }]);
        }
        // The others have ended already, for their callers too or not.
        let refused = self.calls.iter().filter(|(id, call)| **id > last && call.is_running());
        for id in refused.map(|(&id, _)| id).collect::<Vec<_>>() {
            let error = Error::new(Code::Draining, "the other side drains this connection and did not take the call");
            self.end_call(id, Err(error), ops);
        }
        let before = self.given_up.len();
        self.given_up.retain(|&id, ()| id <= last);
        self.open_calls -= before - self.given_up.len();
    }

    /// The stream of bytes ended, or reading did: what waits for the other side to send ends.
    pub(crate) fn end_reading(&mut self, error: &Error, ops: &mut Ops) {
        self.deaf = true;
        for (op, kind) in ops.all() {
            if let Kind::Request(id) = kind {
                let sent = self.give_up_call(id, ops);
                ops.finish(op, Err(error.with_sent(sent)));
            }
        }
        let streams: Vec<u64> = self.calls.iter().filter(|(_, c)| c.stream.is_some()).map(|(&id, _)| id).collect();
        for id in streams {
            self.end_stream(id, error, ops);
        }
        // Credit would have come from there, too.
        for at in 0..self.counters.len() {
            for mark in self.outbox.channel(at).withdraw_stuck() {
                if let Mark::Send(op) = mark {
                    ops.finish(op, Err(error.with_sent(Sent::No)));
                }
            }
        }
        let stuck = self.served.iter().filter(|(_, s)| s.stream.as_ref().is_some_and(|stream| stream.has_unsent()));
        for id in stuck.map(|(&id, _)| id).collect::<Vec<_>>() {
            self.let_go(id, Code::Cancelled, ops);
        }
        self.free_places();
        self.pings.clear();
        self.keepalive = None;
    }
}

fn no_credit(channel: u16) -> Error {
    Error::new(Code::CreditExceeded, format!("a message on channel {channel} came without credit"))
}
