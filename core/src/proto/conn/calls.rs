//! What the application asks for. Every operation runs under an id its driver chose.

use std::time::Instant;

use bytes::Bytes;

use super::{Conn, Ping, State, lost, peer_closed};
use crate::error::{Code, Error, Result};
use crate::limits;
use crate::proto::channel::Channel;
use crate::proto::control::Control;
use crate::proto::frame::{HEADER_LEN, Header};
use crate::proto::ops::{Kind, OpId, Outcome, Step};

/// A frame whose writing the driver began itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Inline {
    pub(crate) header: [u8; HEADER_LEN],
    pub(crate) channel: Channel,
    pub(crate) len: usize,
    pub(crate) call: bool,
}

impl Conn {
    /// Waits for the handshake.
    pub(crate) fn open(&mut self, op: OpId, deadline: Option<Instant>) -> Step {
        match &self.state {
            State::Open => Some(Ok(Outcome::Opened)),
            State::Ended(error) => Some(Err(error.clone())),
            State::Hello(_) => {
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
        if let Some((at, payload)) = self.inbox.take(position) {
            return Some(Ok(Outcome::Message(self.agreed.channels.as_slice()[at], payload)));
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
        self.inbox.wait(op, position);
        None
    }

    /// Header for a frame that the driver may write itself, straight from the caller's memory,
    /// because nothing is queued before it. `None`: use [`send`](Conn::send) or [`call`](Conn::call).
    /// The driver then reports with [`wrote`](Conn::wrote), in the same critical section.
    pub(crate) fn inline_header(&self, channel: Channel, len: usize, call: bool) -> Result<Option<[u8; HEADER_LEN]>> {
        self.may_send(channel, len)?;
        if call {
            self.may_ask()?;
        }
        let calls_idle = !call || (self.call.is_none() && self.waiting_calls.is_empty());
        let idle = self.outbox.is_empty() && self.waiting_sends.is_empty() && calls_idle;
        Ok(idle.then(|| Header { len: len as u32, channel }.encode()))
    }

    /// The driver wrote `taken` bytes of a frame with [`inline_header`](Conn::inline_header);
    /// the rest is `payload`'s.
    pub(crate) fn wrote(
        &mut self,
        op: OpId,
        frame: Inline,
        taken: usize,
        payload: impl FnOnce() -> Bytes,
        deadline: Option<Instant>,
    ) -> Step {
        self.count_out(frame.channel, frame.len);
        let complete = taken == HEADER_LEN + frame.len;
        if !complete {
            self.outbox.push_started(frame.header, payload(), taken, Some(op));
        }
        if frame.call {
            self.call = Some(op);
            self.calls_started += 1;
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
    pub(crate) fn send(&mut self, op: OpId, channel: Channel, payload: Bytes, deadline: Option<Instant>) -> Step {
        if let Err(error) = self.may_send(channel, payload.len()).and_then(|()| self.ops.admit()) {
            return Some(Err(error));
        }
        self.ops.insert(op, Kind::Send, deadline);
        if self.waiting_sends.is_empty() && self.outbox.has_room() {
            self.count_out(channel, payload.len());
            self.outbox.push(channel, payload, Some(op));
        } else {
            self.waiting_sends.push_back((op, channel, payload));
        }
        None
    }

    /// Sends a request; done with the first COMMAND message that arrives after all of it left.
    pub(crate) fn call(&mut self, op: OpId, payload: Bytes, deadline: Option<Instant>) -> Step {
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
            if self.pings.len() >= limits::MAX_PINGS || self.ping_rate.exceeds(limits::PING_RATE, now) {
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
        self.pings.push_back(Ping { op: Some(op), started: now });
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
        self.draining = true;
        self.ops.insert(op, Kind::Drain, deadline);
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
            State::Open if self.draining => Err(Error::new(Code::Closed, "the connection is draining")),
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
        self.position(channel)?;
        let limit = self.config.max_message;
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
