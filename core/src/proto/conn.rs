//! One connection's state machine.
//!
//! The calls fall into three groups, as a driver uses them:
//! - input from the carrier: [`read_buffer`](Conn::read_buffer) then [`received`](Conn::received),
//!   [`hung_up`](Conn::hung_up), [`write_failed`](Conn::write_failed), [`transmitted`](Conn::transmitted),
//!   [`handle_timeout`](Conn::handle_timeout);
//! - the application: [`recv`](Conn::recv), [`send`](Conn::send), [`call`](Conn::call), …, each under
//!   an operation id that the driver chose; [`cancel`](Conn::cancel), [`close`](Conn::close);
//! - output: [`slices`](Conn::slices), [`next_timeout`](Conn::next_timeout), [`poll_done`](Conn::poll_done),
//!   [`wants_read`](Conn::wants_read), [`wants_write`](Conn::wants_write), [`finished`](Conn::finished).

use std::collections::VecDeque;
use std::io::IoSlice;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::api::stats::{ChannelStats, Stats};
use crate::error::{Code, Error, Result, Sent};
use crate::limits;
use crate::proto::channel::{Channel, ChannelSet};
use crate::proto::control::Control;
use crate::proto::frame::{HEADER_LEN, Header};
use crate::proto::hello;
use crate::proto::inbox::Inbox;
use crate::proto::ops::{Kind, OpId, Ops, Outcome, Step};
use crate::proto::outbox::{Outbox, Standing};
use crate::proto::reader::{Frame, FrameReader};
use crate::proto::secret::Secret;

/// Which side of the handshake this is.
#[derive(Debug, Clone)]
pub(crate) enum Role {
    /// Speaks first; `instance` is its random id.
    Connector { instance: String },
    /// Grants; `peer_id` is what it will call the connector.
    Acceptor { peer_id: String },
}

/// What a connection is made with.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) role: Role,
    pub(crate) channels: Vec<Channel>,
    pub(crate) auth_token: Option<Secret>,
    pub(crate) max_message: usize,
    pub(crate) handshake_timeout: Duration,
}

/// What the handshake settled.
#[derive(Debug, Clone, Default)]
pub(crate) struct Agreed {
    pub(crate) peer_id: String,
    pub(crate) channels: ChannelSet,
    /// The connector's instance id, known to an acceptor if the connector sent one.
    pub(crate) instance: Option<String>,
}

#[derive(Debug)]
enum State {
    /// The handshake is running, until the deadline.
    Hello(Instant),
    Open,
    /// Nothing more is read. What is left in the outbox (a refusal) may still be written.
    Ended(Error),
}

#[derive(Debug)]
struct Ping {
    /// `None` once its operation gave up; the answer is still owed and skipped when it comes.
    op: Option<OpId>,
    started: Instant,
}

/// A budget of events per second.
#[derive(Debug, Default)]
struct Rate {
    since: Option<Instant>,
    count: u32,
}

impl Rate {
    fn exceeds(&mut self, limit: u32, now: Instant) -> bool {
        if self.since.is_none_or(|since| now.saturating_duration_since(since) >= Duration::from_secs(1)) {
            self.since = Some(now);
            self.count = 0;
        }
        self.count += 1;
        self.count > limit
    }
}

#[derive(Debug)]
pub(crate) struct Conn {
    config: Config,
    state: State,
    agreed: Agreed,
    reader: FrameReader,
    inbox: Inbox,
    outbox: Outbox,
    ops: Ops,
    /// Sends that found the outbox full, in order.
    waiting_sends: VecDeque<(OpId, Channel, Bytes)>,
    /// Calls that wait for the one on the wire: level 0 has no ids, so it carries one at a time.
    waiting_calls: VecDeque<(OpId, Bytes)>,
    call: Option<OpId>,
    pings: VecDeque<Ping>,
    /// A drain was asked for: no new sends or calls.
    draining: bool,
    shutdown_sent: bool,
    shutdown_acked: bool,
    /// The other side sends no more; it may still read.
    read_ended: bool,
    /// The carrier takes no more bytes; what it still delivers is read to the end.
    write_dead: bool,
    control_rate: Rate,
    ping_rate: Rate,
    counters: Vec<ChannelStats>,
    calls_started: u64,
}

impl Conn {
    /// A new connection. A connector has its request to transmit at once.
    pub(crate) fn new(config: Config, now: Instant) -> Conn {
        let mut conn = Conn {
            state: State::Hello(now + config.handshake_timeout),
            agreed: Agreed::default(),
            reader: FrameReader::new(limits::MAX_HANDSHAKE),
            inbox: Inbox::default(),
            outbox: Outbox::default(),
            ops: Ops::default(),
            waiting_sends: VecDeque::new(),
            waiting_calls: VecDeque::new(),
            call: None,
            pings: VecDeque::new(),
            draining: false,
            shutdown_sent: false,
            shutdown_acked: false,
            read_ended: false,
            write_dead: false,
            control_rate: Rate::default(),
            ping_rate: Rate::default(),
            counters: Vec::new(),
            calls_started: 0,
            config,
        };
        if let Role::Connector { instance } = &conn.config.role {
            let request = hello::request(&conn.config.channels, conn.config.auth_token.as_ref(), instance);
            conn.outbox.push(Channel::CONTROL, Bytes::from(request), None);
        }
        conn
    }

    // --- input from the carrier ---------------------------------------------------------------

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
        if let State::Hello(deadline) = self.state
            && deadline <= now
        {
            let limit = self.config.handshake_timeout;
            self.fail(Error::new(Code::Timeout, format!("the handshake was not finished within {limit:?}")));
        }
        while let Some(op) = self.ops.expired(now) {
            self.give_up(op, &Error::new(Code::Timeout, "the deadline passed"));
        }
    }

    // --- the application -----------------------------------------------------------------------

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
            if self.pings.len() >= limits::MAX_CALLS || self.ping_rate.exceeds(limits::PING_RATE, now) {
                return Err(Error::new(Code::QueueFull, format!("the limit is {} pings a second", limits::PING_RATE)));
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

    /// Gives `op` up. `false` when it had ended already.
    pub(crate) fn cancel(&mut self, op: OpId) -> bool {
        let pending = self.ops.kind(op).is_some();
        self.give_up(op, &Error::new(Code::Cancelled, "the operation was given up by its caller"));
        pending
    }

    /// Ends the connection at once. Idempotent. Messages not yet received are dropped.
    pub(crate) fn close(&mut self) {
        let error = Error::new(Code::Closed, "closed by this side");
        self.end(error.clone());
        self.inbox = Inbox::default();
        self.outbox.clear();
        self.state = State::Ended(error);
    }

    // --- output ----------------------------------------------------------------------------------

    /// The bytes to write next.
    pub(crate) fn slices<'a>(&'a self, out: &mut Vec<IoSlice<'a>>) {
        self.outbox.slices(out);
    }

    pub(crate) fn next_timeout(&mut self) -> Option<Instant> {
        let hello = match self.state {
            State::Hello(deadline) => Some(deadline),
            _ => None,
        };
        hello.into_iter().chain(self.ops.next_deadline()).min()
    }

    /// The next finished operation.
    pub(crate) fn poll_done(&mut self) -> Option<(OpId, Result<Outcome>)> {
        self.ops.poll_done()
    }

    /// Whether bytes may be read now. `false` while the application has to take messages first.
    pub(crate) fn wants_read(&self) -> bool {
        !matches!(self.state, State::Ended(_)) && !self.read_ended && !self.inbox.paused()
    }

    pub(crate) fn wants_write(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// Whether the carrier can be let go.
    pub(crate) fn finished(&self) -> bool {
        matches!(self.state, State::Ended(_)) && self.outbox.is_empty()
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, State::Open)
    }

    /// Why the connection ended.
    pub(crate) fn end_error(&self) -> Option<&Error> {
        match &self.state {
            State::Ended(error) => Some(error),
            _ => None,
        }
    }

    pub(crate) fn agreed(&self) -> &Agreed {
        &self.agreed
    }

    pub(crate) fn stats(&self) -> Stats {
        let channels = self.counters.iter().enumerate();
        Stats {
            channels: channels.map(|(at, c)| ChannelStats { queued: self.inbox.queued(at), ..*c }).collect(),
            receive_queue: self.inbox.depth(),
            send_queue: self.outbox.depth(),
            calls: self.calls_started,
            pending_operations: self.ops.pending(),
        }
    }

    // --- inside ------------------------------------------------------------------------------------

    fn frame(&mut self, frame: Frame, now: Instant) -> Result<()> {
        if matches!(self.state, State::Hello(_)) {
            return self.hello(frame);
        }
        if frame.channel == Channel::CONTROL {
            if self.control_rate.exceeds(limits::CONTROL_RATE, now) {
                let limit = limits::CONTROL_RATE;
                return Err(Error::new(Code::ControlFlood, format!("more than {limit} control messages in a second")));
            }
            return self.control(Control::decode(&frame.payload)?, now);
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
                self.outbox.push(Channel::CONTROL, Bytes::from(response), None);
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
            // Behind what is queued: replies under way are flushed first.
            Control::ShutdownRequest if !self.write_dead => {
                self.outbox.push_control(Control::ShutdownAck.encode(), false);
            }
            Control::ShutdownRequest => {}
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

    fn position(&self, channel: Channel) -> Result<usize> {
        self.agreed.channels.position(channel).ok_or_else(|| {
            let number = channel.number();
            Error::new(Code::InvalidChannel, format!("channel {number} was not agreed for this connection"))
        })
    }

    /// Whether anything may still be written by the application.
    fn may_write(&self) -> Result<()> {
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
    fn may_ask(&self) -> Result<()> {
        if self.read_ended { Err(lost(&peer_closed())) } else { Ok(()) }
    }

    fn may_send(&self, channel: Channel, len: usize) -> Result<()> {
        self.may_write()?;
        self.position(channel)?;
        let limit = self.config.max_message;
        if len > limit {
            return Err(Error::new(Code::PayloadTooLarge, format!("{len} bytes are more than the limit of {limit}")));
        }
        Ok(())
    }

    fn count_out(&mut self, channel: Channel, len: usize) {
        if let Some(position) = self.agreed.channels.position(channel) {
            let counter = &mut self.counters[position];
            counter.messages_sent += 1;
            counter.bytes_sent += len as u64;
        }
    }

    /// Puts the next waiting call on the wire if none is.
    fn next_call(&mut self) {
        if self.call.is_none()
            && let Some((op, payload)) = self.waiting_calls.pop_front()
        {
            self.count_out(Channel::COMMAND, payload.len());
            self.calls_started += 1;
            self.outbox.push(Channel::COMMAND, payload, Some(op));
            self.call = Some(op);
        }
    }

    /// Moves on what waited for room, for the wire, or for silence.
    fn advance(&mut self) {
        if !self.is_open() || self.write_dead {
            return;
        }
        self.next_call();
        while self.outbox.has_room()
            && let Some((op, channel, payload)) = self.waiting_sends.pop_front()
        {
            self.count_out(channel, payload.len());
            self.outbox.push(channel, payload, Some(op));
        }
        if !self.draining || self.call.is_some() || !self.outbox.is_empty() {
            return;
        }
        if self.shutdown_acked || self.read_ended {
            // Also what was owed to the other side, its own acknowledgement among it, has left.
            self.end(Error::new(Code::Closed, "drained and closed by this side"));
        } else if !self.shutdown_sent {
            self.outbox.push_control(Control::ShutdownRequest.encode(), false);
            self.shutdown_sent = true;
        }
    }

    /// Ends what waits for the other side to send.
    fn end_reading(&mut self) {
        self.read_ended = true;
        let _ = self.inbox.abandon().count();
        let lost = lost(&peer_closed());
        for (op, kind) in self.ops.all() {
            match kind {
                Kind::Recv => self.ops.finish(op, Err(peer_closed())),
                Kind::Call | Kind::Ping => {
                    let sent = if kind == Kind::Call { self.sent(op) } else { Sent::No };
                    self.ops.finish(op, Err(lost.with_sent(sent)));
                }
                Kind::Open | Kind::Send | Kind::Drain => {}
            }
        }
        if let Some(op) = self.call.take() {
            self.outbox.retract(op);
        }
        self.waiting_calls.clear();
        self.pings.clear();
        self.advance();
    }

    /// Whether bytes of `op` may have reached the other side.
    fn sent(&self, op: OpId) -> Sent {
        let queued =
            self.waiting_sends.iter().any(|(o, ..)| *o == op) || self.waiting_calls.iter().any(|(o, _)| *o == op);
        match self.outbox.standing(op) {
            Standing::Waiting => Sent::No,
            Standing::Gone if queued => Sent::No,
            Standing::Gone | Standing::Started => Sent::Maybe,
        }
    }

    fn forget_call(&mut self, op: OpId) {
        if self.call == Some(op) {
            self.call = None;
        }
    }

    /// Ends `op` before its time: its deadline passed, or its caller left.
    pub(crate) fn give_up(&mut self, op: OpId, reason: &Error) {
        let Some(kind) = self.ops.kind(op) else { return };
        let sent = match kind {
            Kind::Send | Kind::Call => self.sent(op),
            _ => Sent::No,
        };
        self.ops.finish(op, Err(reason.with_sent(sent)));
        match kind {
            Kind::Recv => self.inbox.forget(op),
            Kind::Ping => self.pings.iter_mut().filter(|p| p.op == Some(op)).for_each(|p| p.op = None),
            Kind::Open => self.end(reason.clone()),
            Kind::Drain => self.end(Error::new(Code::Closed, "closed by this side: the drain ran out of time")),
            Kind::Send | Kind::Call if sent == Sent::No => {
                self.waiting_sends.retain(|(o, ..)| *o != op);
                self.waiting_calls.retain(|(o, _)| *o != op);
                self.outbox.retract(op);
                self.forget_call(op);
                self.advance();
            }
            // A given-up send may still finish its frame; one that ran out of time shows a peer
            // that does not read, and would hold every later message behind half a frame.
            Kind::Send if reason.code() == Code::Cancelled => {}
            Kind::Send => self.end(Error::new(
                Code::ConnectionLost,
                "closed by this side: a message could not be finished before its deadline",
            )),
            // Level 0 has no ids: a late reply would answer the next call.
            Kind::Call => self.end(Error::new(
                Code::ConnectionLost,
                "closed by this side: a call was given up and its late reply could answer the next",
            )),
        }
    }

    /// The other side, or this one, broke the protocol. A handshake is refused with the reason.
    fn fail(&mut self, error: Error) {
        let refuse = matches!(self.state, State::Hello(_)) && matches!(self.config.role, Role::Acceptor { .. });
        self.end(error.clone());
        if refuse {
            self.outbox.push(Channel::CONTROL, Bytes::from(hello::refusal(&error)), None);
        }
    }

    /// Refuses a handshake for a reason of the driver's.
    pub(crate) fn refuse(&mut self, error: Error) {
        self.fail(error);
    }

    /// Ends everything with `error`. Received messages stay for [`recv`](Conn::recv).
    fn end(&mut self, error: Error) {
        if matches!(self.state, State::Ended(_)) {
            return;
        }
        let drained =
            (self.shutdown_sent || self.read_ended) && matches!(error.code(), Code::PeerClosed | Code::Closed);
        let _ = self.inbox.abandon().count();
        for (op, kind) in self.ops.all() {
            let result = match kind {
                Kind::Open | Kind::Recv => Err(error.clone()),
                Kind::Drain if drained => Ok(Outcome::Drained),
                Kind::Send | Kind::Call => Err(lost(&error).with_sent(self.sent(op))),
                Kind::Ping | Kind::Drain => Err(lost(&error)),
            };
            self.ops.finish(op, result);
        }
        self.state = State::Ended(error);
        self.outbox.clear();
        self.waiting_sends.clear();
        self.waiting_calls.clear();
        self.pings.clear();
        self.call = None;
    }
}

/// A frame whose writing the driver began itself.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Inline {
    pub(crate) header: [u8; HEADER_LEN],
    pub(crate) channel: Channel,
    pub(crate) len: usize,
    pub(crate) call: bool,
}

fn peer_closed() -> Error {
    Error::new(Code::PeerClosed, "the other side closed the connection")
}

/// The end of the connection as an operation sees it that still expected something.
fn lost(error: &Error) -> Error {
    match error.code() {
        Code::PeerClosed => Error::new(Code::ConnectionLost, error.message()),
        _ => error.clone(),
    }
}
