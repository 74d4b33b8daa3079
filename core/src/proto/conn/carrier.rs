//! What comes in from the carrier: bytes, ends, and time.

use std::time::Instant;

use super::{Agreed, Conn, Ping, Role, State, peer_closed};
use crate::api::stats::ChannelStats;
use crate::error::{Code, Error, Result};
use crate::limits;
use crate::proto::channel::{Channel, ChannelSet};
use crate::proto::control::Control;
use crate::proto::hello;
use crate::proto::ops::{Kind, Outcome};
use crate::proto::outbox::Standing;
use crate::proto::reader::Frame;

impl Conn {
    /// The buffer to append received bytes to. Only while [`wants_read`](Conn::wants_read).
    pub(crate) fn read_buffer(&mut self) -> &mut Vec<u8> {
        self.reader.buffer()
    }

    /// `read` bytes were appended where `offered` would have fitted.
    pub(crate) fn received(&mut self, read: usize, offered: usize, now: Instant) {
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
        }
    }

    /// Whether the stream stands inside a frame.
    pub(crate) fn inside_frame(&self) -> bool {
        self.reader.inside_frame()
    }

    /// The stream ended. Between frames that ends reading alone: the other side may have closed only
    /// its half, so what it asked for can still be answered until writing fails.
    pub(crate) fn hung_up(&mut self) {
        if self.is_open() && !self.reader.inside_frame() && !self.write_dead && !self.shutdown_sent {
            return self.end_reading();
        }
        let error = if self.reader.inside_frame() {
            Error::new(Code::Truncated, "the connection ended inside a frame")
        } else if self.is_open() {
            peer_closed()
        } else if matches!(self.config.role, Role::Connector { .. }) {
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
        let ops = &mut self.ops;
        self.outbox.taken(n, |op| {
            if ops.kind(op) == Some(Kind::Send) {
                ops.finish(op, Ok(Outcome::Sent));
            }
        });
        self.advance();
    }

    /// Time has come to [`next_timeout`](Conn::next_timeout). Call it after what is readable was
    /// read, so that an answer that arrived in time counts.
    pub(crate) fn handle_timeout(&mut self, now: Instant) {
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
                self.ops.finish(op, Ok(Outcome::Reply(frame.payload)));
                self.advance();
            }
            _ => {
                if let Some((op, payload)) = self.inbox.arrive(position, frame.payload) {
                    self.ops.finish(op, Ok(Outcome::Message(frame.channel, payload)));
                }
            }
        }
        Ok(())
    }

    fn hello(&mut self, frame: Frame) -> Result<()> {
        if frame.channel != Channel::CONTROL {
            let number = frame.channel.number();
            return Err(Error::new(Code::BadHandshake, format!("the first frame is on channel {number}, not 0")));
        }
        self.agreed = match &self.config.role {
            Role::Connector { .. } => {
                let welcome = hello::welcome(&frame.payload, &self.config.channels)?;
                Agreed { peer_id: welcome.peer_id, channels: ChannelSet::new(welcome.channels), instance: None }
            }
            Role::Acceptor { peer_id } => {
                let granted = hello::judge(&frame.payload, &self.config.channels, self.config.auth_token.as_ref())?;
                let response = hello::response(&granted.channels, peer_id);
                self.outbox.push_control(response, false);
                Agreed {
                    peer_id: peer_id.clone(),
                    channels: ChannelSet::new(granted.channels),
                    instance: granted.instance,
                }
            }
        };
        let channels = self.agreed.channels.as_slice();
        self.inbox.open(channels.len());
        self.counters = channels.iter().map(|&channel| ChannelStats::new(channel)).collect();
        self.reader.set_max_payload(self.config.max_message);
        self.state = State::Open;
        for (op, _) in self.ops.all() {
            self.ops.finish(op, Ok(Outcome::Opened));
        }
        Ok(())
    }

    fn control(&mut self, control: Control, now: Instant) -> Result<()> {
        match control {
            Control::Ping => {
                if self.outbox.control_queued() >= limits::MAX_CALLS {
                    return Err(Error::new(Code::ControlFlood, "the other side pings and does not read the answers"));
                }
                if !self.write_dead {
                    self.outbox.push_control(Control::Pong.encode(), true);
                }
            }
            Control::Pong => {
                // Answers come in order, so the oldest ping is the one answered, given up or not.
                if let Some(Ping { op: Some(op), started }) = self.pings.pop_front() {
                    self.ops.finish(op, Ok(Outcome::Pong(now.saturating_duration_since(started))));
                }
            }
            Control::ShutdownRequest => {
                self.acks_owed += 1;
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
