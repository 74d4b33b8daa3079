//! What comes in from the carrier: bytes, ends, and time.

use std::time::Instant;

use bytes::Bytes;

use super::calls::delivery;
use super::{Agreed, Conn, Ping, Role, State, peer_closed};
use crate::api::stats::ChannelStats;
use crate::error::{Code, Error, Result};
use crate::limits;
use crate::os::Descriptor;
use crate::proto::channel::{Channel, ChannelSet};
use crate::proto::control::Control;
use crate::proto::hello;
use crate::proto::level1::{Level1, Proofs, Setup};
use crate::proto::notice::Notice;
use crate::proto::offer::{self, Theirs};
use crate::proto::ops::{Kind, Outcome};
use crate::proto::outbox::Standing;
use crate::proto::reader::Frame;

impl Conn {
    /// The buffer to append received bytes to. Only while [`wants_read`](Conn::wants_read).
    pub(crate) fn read_buffer(&mut self) -> (&mut Vec<u8>, usize) {
        match &mut self.one {
            Some(one) => one.read_buffer(),
            None => {
                let buffer = self.reader.buffer();
                let room = buffer.capacity() - buffer.len();
                (buffer, room)
            }
        }
    }

    /// Uses `spare` as the buffer to read into, so that an idle connection needs none of its own; until
    /// [`give_back`](Conn::give_back).
    pub(crate) fn lend(&mut self, spare: &mut Vec<u8>) {
        match &mut self.one {
            Some(one) => one.reader().lend(spare),
            None => self.reader.lend(spare),
        }
    }

    /// Leaves in `spare` what is not needed any more.
    pub(crate) fn give_back(&mut self, spare: &mut Vec<u8>) {
        self.reader.give_back(spare);
        if let Some(one) = &mut self.one {
            one.reader().give_back(spare);
        }
    }

    /// Descriptors that came with the bytes of the next [`received`](Conn::received).
    pub(crate) fn received_fds(&mut self, fds: Vec<Descriptor>) {
        match &mut self.one {
            Some(one) => one.received_fds(fds),
            // Dropped, that is closed: nothing announces them on level 0.
            None => self.fail(Error::new(Code::ProtocolError, "descriptors came on wire level 0")),
        }
    }

    /// `read` bytes were appended where `offered` would have fitted.
    pub(crate) fn received(&mut self, read: usize, offered: usize, now: Instant) {
        self.now = now;
        if let Some(one) = &mut self.one {
            let result = one.received(read, offered, &mut self.ops, now);
            return self.engine_moved(result);
        }
        self.reader.filled(read, offered);
        while !matches!(self.state, State::Ended(_)) {
            let step = match self.reader.next() {
                Ok(Some(frame)) => self.frame(frame, now),
                Ok(None) => return,
                Err(error) => Err(error),
            };
            if let Err(error) = step {
                self.fail(error);
            }
            if let Some(one) = &mut self.one {
                let result = one.read_frames(&mut self.ops, now);
                return self.engine_moved(result);
            }
        }
    }

    /// The engine of level 1 handled what came in.
    fn engine_moved(&mut self, result: Result<()>) {
        if let Some(one) = &self.one
            && matches!(self.state, State::Hello(_))
            && one.is_ready()
        {
            self.opened();
        }
        match result {
            Err(error) if self.one.as_ref().is_some_and(|one| one.was_told()) => self.end(error),
            Err(error) => self.fail(error),
            Ok(()) => self.advance(),
        }
    }

    /// Whether the stream stands inside a frame.
    pub(crate) fn inside_frame(&self) -> bool {
        match &self.one {
            Some(one) => one.inside_frame(),
            None => self.reader.inside_frame(),
        }
    }

    /// The stream ended. Between frames that ends reading alone: the other side may have closed only
    /// its half, so what it asked for can still be answered until writing fails.
    pub(crate) fn hung_up(&mut self) {
        if self.is_open() && !self.inside_frame() && !self.write_dead && !self.shutdown_sent {
            return self.end_reading();
        }
        let error = if self.inside_frame() {
            Error::new(Code::Truncated, "the connection ended inside a frame")
        } else if self.is_open() {
            peer_closed()
        } else if matches!(self.config.role, Role::Connector) {
            Error::new(Code::Refused, "the server ended the handshake without giving a reason")
        } else {
            Error::new(Code::PeerClosed, "the client left during the handshake")
        };
        self.end(error);
    }

    /// Reading failed.
    pub(crate) fn read_failed(&mut self, error: Error) {
        self.end(error);
    }

    /// Writing failed. Frames that already arrived are still read, the answer to a call among
    /// them; what was to be written fails now.
    pub(crate) fn write_failed(&mut self, error: Error) {
        self.write_dead = true;
        self.lose(error.clone());
        if self.one.is_some() {
            return self.level1_write_failed(&error);
        }
        for (op, kind) in self.ops.all() {
            let answered = kind == Kind::Call && self.call == Some(op) && self.outbox.standing(op) == Standing::Gone;
            if matches!(kind, Kind::Send | Kind::Call) && !answered {
                let error = error.with_sent(self.sent(op));
                self.forget_call(op);
                self.ops.finish(op, Err(error));
            }
        }
        self.waiting_sends.clear();
        self.waiting_calls.clear();
        self.outbox.clear();
        if self.read_ended {
            self.end(peer_closed());
        }
        self.advance();
    }

    /// The carrier took `n` bytes of what [`slices`](Conn::slices) offered.
    pub(crate) fn transmitted(&mut self, n: usize) {
        if self.outbox.is_empty()
            && let Some(one) = &mut self.one
        {
            one.transmitted(n, &mut self.ops);
            return self.advance();
        }
        let ops = &mut self.ops;
        self.outbox.taken(n, |op| {
            if ops.kind(op) == Some(Kind::Send) {
                ops.finish(op, Ok(Outcome::Sent));
            }
        });
        self.note_call_begun();
        self.advance();
    }

    /// Time has come to [`next_timeout`](Conn::next_timeout). Call it after what is readable was
    /// read, so that an answer that arrived in time counts.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.now = now;
        if self.last_words.is_some_and(|at| at <= now) {
            // Whoever does not read will not hear the reason either.
            self.write_dead = true;
        }
        if let Some(one) = &mut self.one
            && !matches!(self.state, State::Ended(_))
        {
            match one.handle_timeout(now, &mut self.ops) {
                Err(error) => self.end(error),
                // A drain may have waited for a call that is over, another call for its place.
                Ok(()) => self.advance(),
            }
        }
        if let State::Hello(Some(deadline)) = self.state
            && deadline <= now
        {
            let limit = self.config.handshake_timeout;
            self.fail(Error::new(Code::Timeout, format!("the handshake was not finished within {limit:?}")));
        }
        while let Some(op) = self.ops.expired(now) {
            self.give_up(op, &Error::new(Code::Timeout, "the deadline passed"));
        }
    }

    fn frame(&mut self, frame: Frame, now: Instant) -> Result<()> {
        if matches!(self.state, State::Hello(_)) {
            return self.hello(frame);
        }
        if frame.channel == Channel::CONTROL {
            let control = Control::decode(&frame.payload)?;
            // What answers this side's own pings is as much as this side asked for.
            let asked = control == Control::Pong && !self.pings.is_empty();
            if !asked && self.control_rate.exceeds(limits::CONTROL_RATE, now) {
                let limit = limits::CONTROL_RATE;
                return Err(Error::new(Code::ControlFlood, format!("more than {limit} control messages in a second")));
            }
            return self.control(control, now);
        }
        let Some(position) = self.agreed.channels.position(frame.channel) else {
            let number = frame.channel.number();
            return Err(Error::new(Code::UnknownChannel, format!("a frame arrived on channel {number}, not agreed")));
        };
        let counter = &mut self.counters[position];
        counter.messages_received += 1;
        counter.bytes_received += frame.payload.len() as u64;
        match self.call {
            Some(op) if frame.channel == Channel::COMMAND && self.outbox.standing(op) == Standing::Gone => {
                self.call = None;
                self.ops.finish(op, Ok(Outcome::Reply(frame.channel, frame.payload)));
                self.advance();
            }
            _ => {
                if let Some((op, payload)) = self.inbox.arrive(position, frame.payload) {
                    self.ops.finish(op, Ok(Outcome::Message(delivery(frame.channel, payload))));
                }
                self.ops.note(self.inbox.rises());
                self.tell_readable();
            }
        }
        Ok(())
    }

    fn hello(&mut self, frame: Frame) -> Result<()> {
        if frame.channel != Channel::CONTROL {
            let number = frame.channel.number();
            return Err(Error::new(Code::BadHandshake, format!("the first frame is on channel {number}, not 0")));
        }
        let own = &self.config.own;
        let (peer_id, channels, instance, theirs, transcript) = match &self.config.role {
            Role::Connector => {
                let welcome = hello::welcome(&frame.payload, &self.config.channels, own)?;
                let request = std::mem::take(&mut self.hello_sent);
                let instance = welcome.level1.as_ref().and_then(|t| t.instance.clone());
                (welcome.peer_id, welcome.channels, instance, welcome.level1, (request, frame.payload))
            }
            Role::Acceptor { peer_id } => {
                let token = self.config.auth_token.as_ref();
                let granted = hello::judge(&frame.payload, &self.config.channels, token, own)?;
                let member = granted.level1.as_ref().map(|theirs| own.response(theirs));
                let response = hello::response(&granted.channels, peer_id, member);
                self.outbox.push_control(response.clone(), false);
                let transcript = (frame.payload.to_vec(), Bytes::from(response));
                (peer_id.clone(), granted.channels, granted.instance, granted.level1, transcript)
            }
        };
        let channels = ChannelSet::new(channels);
        let max_message = self.config.max_message;
        self.agreed = Agreed { peer_id, channels, instance, max_message, max_calls: 1, ..Agreed::default() };
        match theirs {
            Some(theirs) => self.begin_level_1(theirs, &transcript.0, &transcript.1),
            None => {
                let channels = self.agreed.channels.as_slice();
                self.inbox.open(channels.len());
                self.counters = channels.iter().map(|&channel| ChannelStats::new(channel)).collect();
                self.reader.set_max_payload(self.config.max_message);
                self.opened();
            }
        }
        Ok(())
    }

    /// Both directions go on with level 1.
    fn begin_level_1(&mut self, theirs: Theirs, request: &[u8], response: &[u8]) {
        let connector = matches!(self.config.role, Role::Connector);
        let secret = self.config.secret.as_ref().filter(|_| theirs.auth || connector);
        self.agreed.level = 1;
        self.agreed.max_message = self.config.max_message.min(theirs.limits.max_message);
        self.agreed.max_calls = theirs.limits.max_calls;
        self.agreed.peer_keepalive = theirs.limits.keepalive;
        let setup = Setup {
            connector,
            channels: &self.agreed.channels,
            own: self.config.own.limits,
            peer: theirs.limits,
            proofs: secret.map(|s| Proofs::new(s.expose().as_bytes(), connector, request, response)),
            fds: theirs.features.contains(&offer::FDS),
            policies: &self.config.policies,
            grease: self.config.own.grease,
            arrived: self.reader.take_rest(),
        };
        let mut one = Box::new(Level1::new(setup, self.now));
        let unproven = connector && secret.is_some() && !theirs.auth;
        if !unproven {
            one.begin();
        }
        self.one = Some(one);
        self.agreed.features = theirs.features;
        if unproven {
            self.fail(Error::new(Code::AuthenticationFailed, "the server has no secret to prove"));
        }
    }

    fn opened(&mut self) {
        self.state = State::Open;
        self.opened = true;
        self.ops.note([Notice::Opened]);
        for (op, _) in self.ops.all() {
            self.ops.finish(op, Ok(Outcome::Opened));
        }
    }

    /// Whether the other side may ask for one more answer: not if it does not read those it has asked for.
    fn check_answers(&self) -> Result<()> {
        if self.outbox.control_queued() + self.acks_owed < limits::MAX_UNREAD_ANSWERS {
            return Ok(());
        }
        Err(Error::new(Code::ControlFlood, "the other side does not read the answers it asks for"))
    }

    fn control(&mut self, control: Control, now: Instant) -> Result<()> {
        match control {
            Control::Ping => {
                self.check_answers()?;
                if !self.write_dead {
                    self.outbox.push_control(Control::Pong.encode(), true);
                }
            }
            Control::Pong => {
                // Answers come in order, so the oldest ping is the one answered, given up or not.
                if let Some(Ping { op, started }) = self.pings.pop_front() {
                    self.ops.finish(op, Ok(Outcome::Pong(now.saturating_duration_since(started))));
                }
            }
            Control::ShutdownRequest => {
                self.check_answers()?;
                self.acks_owed += 1;
                if !std::mem::replace(&mut self.peer_drains, true) {
                    self.ops.note([Notice::Draining { by_peer: true }]);
                }
                // A side that drains answers no more; waiting for the call before them, they would hold the drain up.
                for (op, _) in self.waiting_calls.drain(..) {
                    self.ops.finish(op, Err(Error::new(Code::Draining, "the other side is draining this connection")));
                }
                self.advance();
            }
            Control::ShutdownAck => {
                self.shutdown_acked = self.shutdown_sent;
                self.advance();
            }
            Control::ShutdownForce => {
                return Err(Error::new(Code::PeerClosed, "the other side ended the connection by force"));
            }
        }
        Ok(())
    }
}
