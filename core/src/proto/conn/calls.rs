//! What the application asks for. Every operation runs under an id its driver chose.

use std::time::Instant;

use bytes::Bytes;

use super::post::level_0;
use super::{Conn, Ping, State, lost, peer_closed};
use crate::error::{Code, Error, Result, Sent};
use crate::limits;
use crate::proto::channel::Channel;
use crate::proto::control::Control;
use crate::proto::frame::HEADER_LEN;
use crate::proto::level1::{Ask, Body, Delivery, Extra, With};
use crate::proto::notice::Notice;
use crate::proto::ops::{Kind, OpId, Outcome, Step};
use crate::proto::outbox::Standing;

impl Conn {
    /// Waits for the handshake.
    pub(crate) fn open(&mut self, op: OpId, deadline: Option<Instant>) -> Step {
        match &self.state {
            State::Open => Some(Ok(Outcome::Opened)),
            State::Ended(error) => Some(Err(error.clone())),
            State::Hello(_) => {
                if let Err(error) = self.ops.admit() {
                    return Some(Err(error));
                }
                self.ops.insert(op, Kind::Open, deadline);
                None
            }
        }
    }

    /// The oldest message of `channel`, or of any. Messages that arrived before the end are
    /// delivered before its error.
    pub(crate) fn recv(&mut self, op: OpId, channel: Option<Channel>, deadline: Option<Instant>) -> Step {
        let position = match channel.map(|c| self.position(c)).transpose() {
            Ok(position) => position,
            Err(error) => return Some(Err(error)),
        };
        if let Some(message) = self.take(position) {
            return Some(Ok(Outcome::Message(message)));
        }
        if let State::Ended(error) = &self.state {
            return Some(Err(error.clone()));
        }
        if self.read_ended {
            return Some(Err(peer_closed()));
        }
        if let Err(error) = self.ops.admit() {
            return Some(Err(error));
        }
        self.ops.insert(op, Kind::Recv, deadline);
        match &mut self.one {
            Some(one) => one.wait_recv(op, position),
            None => self.inbox.wait(op, position),
        }
        None
    }

    /// The oldest message of `channel`, or of any, if there is one; otherwise waits until there is, and takes
    /// nothing.
    pub(crate) fn poll_recv(&mut self, op: OpId, channel: Option<Channel>, deadline: Option<Instant>) -> Step {
        let position = match channel.map(|c| self.position(c)).transpose() {
            Ok(position) => position,
            Err(error) => return Some(Err(error)),
        };
        match self.take(position) {
            Some(message) => Some(Ok(Outcome::Message(message))),
            None => self.wait_readable(op, position, deadline),
        }
    }

    fn take(&mut self, position: Option<usize>) -> Option<Delivery> {
        match &mut self.one {
            Some(one) => one.recv(position),
            None => {
                let (at, payload) = self.inbox.take(position)?;
                Some(delivery(self.agreed.channels.as_slice()[at], payload))
            }
        }
    }

    /// The oldest message of any channel, if one is there.
    pub(crate) fn take_oldest(&mut self) -> Option<Delivery> {
        self.take(None)
    }

    /// Waits until anything is there to receive, and takes nothing.
    pub(crate) fn readable(&mut self, op: OpId, deadline: Option<Instant>) -> Step {
        let there = match &self.one {
            Some(one) => one.has_messages(),
            None => self.inbox.has_messages(None),
        };
        if there { Some(Ok(Outcome::Readable)) } else { self.wait_readable(op, None, deadline) }
    }

    fn wait_readable(&mut self, op: OpId, position: Option<usize>, deadline: Option<Instant>) -> Step {
        if let State::Ended(error) = &self.state {
            return Some(Err(error.clone()));
        }
        if self.read_ended {
            return Some(Err(peer_closed()));
        }
        if let Err(error) = self.ops.admit() {
            return Some(Err(error));
        }
        self.ops.insert(op, Kind::Readable, deadline);
        match &mut self.one {
            Some(one) => one.wait_readable(op, position),
            None => self.readers.push((op, position)),
        }
        None
    }

    /// Something can be received: whoever waits for that is told.
    pub(super) fn tell_readable(&mut self) {
        let (inbox, ops) = (&self.inbox, &mut self.ops);
        self.readers.retain(|&(op, position)| {
            let there = inbox.has_messages(position);
            if there {
                ops.finish(op, Ok(Outcome::Readable));
            }
            !there
        });
    }

    /// Takes what is there of `channel`, or of all, as long as `keep` wants more; it gets the channel, the bytes
    /// and what else came with each.
    pub(crate) fn recv_many(
        &mut self,
        channel: Option<Channel>,
        mut keep: impl FnMut(Channel, Body<'_>, Option<Box<Extra>>) -> bool,
    ) -> Result<()> {
        let position = channel.map(|c| self.position(c)).transpose()?;
        if let Some(one) = &mut self.one {
            one.recv_many(position, keep);
            return Ok(());
        }
        while let Some(message) = self.take(position) {
            if !keep(message.channel, Body::Own(message.payload), None) {
                break;
            }
        }
        Ok(())
    }

    /// Queues a small one-way message from the caller's memory if that needs no waiting and no operation.
    pub(crate) fn send_short(&mut self, channel: Channel, payload: &[u8]) -> Result<bool> {
        self.may_send(channel, payload.len())?;
        let at = self.position(channel)?;
        Ok(self.outbox.is_empty() && self.one.as_mut().is_some_and(|one| one.send_short(at, payload)))
    }

    /// Queues a message of a burst, whatever its size; `last` ends when it has left. Level 1 alone.
    pub(crate) fn send_part(
        &mut self,
        channel: Channel,
        payload: Bytes,
        last: Option<OpId>,
        deadline: Option<Instant>,
    ) -> Result<()> {
        self.may_send(channel, payload.len())?;
        let at = self.position(channel)?;
        match &mut self.one {
            Some(one) => one.send_part(at, payload, last, &mut self.ops, deadline),
            None => Err(level_0("a batch")),
        }
    }

    /// Whether `op` is pending.
    pub(crate) fn is_pending(&self, op: OpId) -> bool {
        self.ops.kind(op).is_some()
    }

    /// Waits until all that was sent has left.
    pub(crate) fn flush(&mut self, op: OpId, deadline: Option<Instant>) -> Step {
        if let State::Ended(error) = &self.state {
            return Some(Err(lost(error)));
        }
        let Some(one) = &mut self.one else { return Some(Ok(Outcome::Sent)) };
        if let Err(error) = self.ops.admit() {
            // It leaves all the same.
            return Some(Err(error.with_sent(Sent::Maybe)));
        }
        if !one.mark_flush(op) {
            return Some(Ok(Outcome::Sent));
        }
        self.ops.insert(op, Kind::Send, deadline);
        None
    }

    // --- calls and streams of level 1 -----------------------------------------------------------------

    /// Opens a stream: the id of its call.
    pub(crate) fn open_stream(
        &mut self,
        channel: Channel,
        fin: bool,
        with: With,
        payload: Bytes,
        now: Instant,
    ) -> Result<u64> {
        self.may_send(channel, payload.len())?;
        self.may_ask()?;
        let at = self.position(channel)?;
        let fds = self.passes_fds();
        let Some(one) = &mut self.one else { return Err(level_0("streams")) };
        with.check(fds)?;
        one.ask(None, Ask { at, stream: true, fin, with }, payload, now, &mut self.ops, None)
    }

    /// Sends an item of a stream, the last one with `fin`; done when the carrier took all of it.
    pub(crate) fn stream_send(
        &mut self,
        op: OpId,
        id: u64,
        payload: Bytes,
        fin: bool,
        deadline: Option<Instant>,
    ) -> Step {
        if let Err(error) = self.may_stream().and_then(|()| self.check_len(payload.len())) {
            return Some(Err(error));
        }
        let step = self.one.as_mut()?.stream_send(op, id, payload, fin, &mut self.ops, deadline);
        self.or_lost(step, Sent::No)
    }

    /// The next item of a stream, or its end.
    pub(crate) fn stream_recv(&mut self, op: OpId, id: u64, deadline: Option<Instant>) -> Step {
        let Some(one) = &mut self.one else { return Some(Err(level_0("streams"))) };
        let step = one.stream_recv(op, id, &mut self.ops, deadline);
        self.or_lost(step, Sent::Maybe)
    }

    /// The next item of a stream, or its end, if it is there; otherwise waits until it is, and takes nothing.
    pub(crate) fn poll_stream_recv(&mut self, op: OpId, id: u64, deadline: Option<Instant>) -> Step {
        let Some(one) = &mut self.one else { return Some(Err(level_0("streams"))) };
        let step = one.poll_stream_recv(op, id, &mut self.ops, deadline);
        self.or_lost(step, Sent::Maybe)
    }

    /// A call that was forgotten with the connection, or with the answers that cannot come any more: that is the reason
    /// to tell.
    fn or_lost(&self, step: Step, sent: Sent) -> Step {
        let reason = match &self.state {
            State::Ended(error) => lost(error),
            _ if self.read_ended => lost(&peer_closed()),
            _ => return step,
        };
        match step {
            Some(Err(gone)) if gone.code() == Code::CallEnded => Some(Err(reason.with_sent(sent))),
            step => step,
        }
    }

    /// The program is done with a stream; the call is given up unless it has ended.
    pub(crate) fn drop_stream(&mut self, id: u64) {
        if let Some(one) = &mut self.one {
            one.drop_stream(id, &mut self.ops);
            self.advance();
        }
    }

    /// Waits for the end of a call of the other side: answered, given up by its caller, or out of time.
    pub(crate) fn watch(&mut self, op: OpId, id: u64, deadline: Option<Instant>) -> Step {
        if matches!(self.state, State::Ended(_)) {
            return Some(Ok(Outcome::CallEnded));
        }
        let Some(one) = &mut self.one else { return Some(Err(level_0("calls of the other side"))) };
        if self.read_ended || !one.is_served(id) {
            return Some(Ok(Outcome::CallEnded));
        }
        if let Err(error) = self.ops.admit() {
            return Some(Err(error));
        }
        one.watch(op, id);
        self.ops.insert(op, Kind::Watch(id), deadline);
        None
    }

    /// Whether the call `id` of the other side still wants an answer.
    pub(crate) fn is_served(&self, id: u64) -> bool {
        self.is_open() && !self.read_ended && self.one.as_ref().is_some_and(|one| one.is_served(id))
    }

    /// The program let a call of the other side go without an answer.
    pub(crate) fn abandon_served(&mut self, id: u64) {
        if let Some(one) = &mut self.one {
            one.abandon_served(id, &mut self.ops);
            self.advance();
        }
    }

    /// Counts the call on the wire once a byte of it has left.
    pub(super) fn note_call_begun(&mut self) {
        if !self.call_begun && self.call.is_some_and(|op| self.outbox.standing(op) != Standing::Waiting) {
            self.call_begun = true;
            self.calls_begun += 1;
        }
    }

    fn may_stream(&self) -> Result<()> {
        match &self.state {
            State::Ended(error) => Err(lost(error)),
            _ if self.one.is_none() => Err(level_0("streams")),
            _ if self.write_dead => Err(Error::new(Code::ConnectionLost, "the other side takes no more messages")),
            _ => Ok(()),
        }
    }

    /// The driver wrote `taken` bytes of a frame; the rest is `payload`'s.
    #[allow(clippy::too_many_arguments)] // One call in one place, with what the driver knows.
    pub(super) fn wrote_level_0(
        &mut self,
        op: OpId,
        header: [u8; HEADER_LEN],
        channel: Channel,
        len: usize,
        taken: usize,
        call: bool,
        payload: impl FnOnce() -> Bytes,
        deadline: Option<Instant>,
    ) -> Step {
        self.count_out(channel, len);
        let complete = taken == HEADER_LEN + len;
        if !complete {
            self.outbox.push_started(header, payload(), taken, Some(op));
        }
        if call {
            self.call = Some(op);
            self.call_begun = false;
            self.note_call_begun();
            self.ops.insert(op, Kind::Call, deadline);
            return None;
        }
        if complete {
            return Some(Ok(Outcome::Sent));
        }
        self.ops.insert(op, Kind::Send, deadline);
        None
    }

    /// Sends a message; done when the carrier took all of it.
    pub(in crate::proto) fn send(
        &mut self,
        op: OpId,
        channel: Channel,
        payload: Bytes,
        deadline: Option<Instant>,
    ) -> Step {
        if let Err(error) = self.may_send(channel, payload.len()).and_then(|()| self.ops.admit()) {
            return Some(Err(error));
        }
        self.ops.insert(op, Kind::Send, deadline);
        if self.waiting_sends.is_empty() && self.outbox.has_room() {
            self.count_out(channel, payload.len());
            self.outbox.push(channel, payload, Some(op));
            self.ops.note(self.outbox.rises());
        } else {
            self.waiting_sends.push_back((op, channel, payload));
        }
        None
    }

    /// Sends a request; done with the first COMMAND message that arrives after all of it left.
    pub(in crate::proto) fn call(&mut self, op: OpId, payload: Bytes, deadline: Option<Instant>) -> Step {
        let admitted = self.may_send(Channel::COMMAND, payload.len()).and_then(|()| self.may_ask());
        if let Err(error) = admitted.and_then(|()| self.ops.admit()) {
            return Some(Err(error));
        }
        if self.waiting_calls.len() >= limits::MAX_CALLS {
            let limit = limits::MAX_CALLS;
            return Some(Err(Error::new(Code::QueueFull, format!("{limit} calls wait for their turn"))));
        }
        self.ops.insert(op, Kind::Call, deadline);
        self.waiting_calls.push_back((op, payload));
        self.next_call();
        None
    }

    /// Measures a round trip through the other side's protocol engine.
    pub(crate) fn ping(&mut self, op: OpId, now: Instant, deadline: Option<Instant>) -> Step {
        let admitted = self.may_write().and_then(|()| self.may_ask()).and_then(|()| self.ops.admit()).and_then(|()| {
            let open = self.one.as_ref().map_or(self.pings.len(), |one| one.pings());
            if open >= limits::MAX_PINGS || self.ping_rate.exceeds(limits::PING_RATE, now) {
                let (rate, open) = (limits::PING_RATE, limits::MAX_PINGS);
                return Err(Error::new(
                    Code::QueueFull,
                    format!("the limit is {rate} pings a second, {open} unanswered"),
                ));
            }
            Ok(())
        });
        if let Err(error) = admitted {
            return Some(Err(error));
        }
        self.ops.insert(op, Kind::Ping, deadline);
        if let Some(one) = &mut self.one {
            one.ping(op, now);
            return None;
        }
        self.pings.push_back(Ping { op, started: now });
        self.outbox.push_control(Control::Ping.encode(), true);
        None
    }

    /// Stops sending, lets what was started finish, says good-bye, ends.
    pub(crate) fn drain(&mut self, op: OpId, deadline: Option<Instant>) -> Step {
        if let State::Ended(error) = &self.state {
            return Some(match error.code() {
                Code::PeerClosed | Code::Closed => Ok(Outcome::Drained),
                _ => Err(error.clone()),
            });
        }
        if let Err(error) = self.ops.admit() {
            return Some(Err(error));
        }
        if !std::mem::replace(&mut self.draining, true) {
            self.ops.note([Notice::Draining { by_peer: false }]);
        }
        self.ops.insert(op, Kind::Drain, deadline);
        if self.write_dead && self.one.is_none() {
            // Nobody can be told, so nobody will acknowledge it. Level 1 reads on: a CLOSE may be on its way.
            self.end(Error::new(Code::ConnectionLost, "the other side takes no more messages"));
            return None;
        }
        if let Some(one) = &mut self.one {
            one.start_drain();
        }
        self.advance();
        None
    }

    pub(super) fn position(&self, channel: Channel) -> Result<usize> {
        self.agreed.channels.position(channel).ok_or_else(|| {
            let number = channel.number();
            Error::new(Code::InvalidChannel, format!("channel {number} was not agreed for this connection"))
        })
    }

    /// Whether anything may still be written by the application.
    pub(super) fn may_write(&self) -> Result<()> {
        match &self.state {
            State::Ended(error) => Err(lost(error)),
            State::Hello(_) => Err(Error::new(Code::Internal, "used before the handshake ended")),
            State::Open if self.draining => Err(Error::new(Code::Closed, "this side is draining the connection")),
            State::Open if self.write_dead => {
                Err(Error::new(Code::ConnectionLost, "the other side takes no more messages"))
            }
            State::Open => Ok(()),
        }
    }

    /// Whether an answer can still come.
    pub(super) fn may_ask(&self) -> Result<()> {
        if self.read_ended { Err(lost(&peer_closed())) } else { Ok(()) }
    }

    pub(super) fn may_send(&self, channel: Channel, len: usize) -> Result<()> {
        self.may_write()?;
        let at = self.position(channel)?;
        if let Some(one) = &self.one {
            one.may_start()?;
            if one.is_forsaken(at) {
                return Err(lost(&peer_closed()));
            }
        }
        self.check_len(len)
    }

    pub(super) fn check_len(&self, len: usize) -> Result<()> {
        let limit = self.agreed.max_message;
        if len > limit {
            return Err(Error::new(Code::PayloadTooLarge, format!("{len} bytes are more than the limit of {limit}")));
        }
        Ok(())
    }

    pub(super) fn count_out(&mut self, channel: Channel, len: usize) {
        if let Some(position) = self.agreed.channels.position(channel) {
            let counter = &mut self.counters[position];
            counter.messages_sent += 1;
            counter.bytes_sent += len as u64;
        }
    }
}

/// A message of level 0, which has nothing but its channel and bytes.
pub(super) fn delivery(channel: Channel, payload: Bytes) -> Delivery {
    Delivery { channel, payload, extra: None }
}
