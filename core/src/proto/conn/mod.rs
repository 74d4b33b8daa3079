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

mod calls;
mod carrier;
mod ends;
mod post;

pub(crate) use post::Post;

use std::collections::VecDeque;
use std::io::IoSlice;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::api::stats::{ChannelStats, Stats};
use crate::error::{Code, Error, Result};
use crate::limits;
use crate::os::Descriptor;
use crate::proto::channel::{Channel, ChannelSet};
use crate::proto::control::Control;
use crate::proto::hello;
use crate::proto::inbox::Inbox;
use crate::proto::level1::{Level1, Policy};
use crate::proto::notice::Notice;
use crate::proto::offer::{FDS, Own};
use crate::proto::ops::{OpId, Ops, Outcome};
use crate::proto::outbox::Outbox;
use crate::proto::reader::FrameReader;
use crate::proto::secret::Secret;

/// Which side of the handshake this is.
#[derive(Debug, Clone)]
pub(crate) enum Role {
    /// Speaks first.
    Connector,
    /// Grants; `peer_id` is what it will call the connector.
    Acceptor { peer_id: String },
}

/// What a connection is made with.
#[derive(Debug, Clone)]
pub(crate) struct Config {
    pub(crate) role: Role,
    pub(crate) channels: Vec<Channel>,
    /// The bearer secret of level 0.
    pub(crate) auth_token: Option<Secret>,
    /// The secret that is proved and never sent; demands level 1.
    pub(crate) secret: Option<Secret>,
    pub(crate) max_message: usize,
    pub(crate) handshake_timeout: Duration,
    /// What is offered beyond level 0.
    pub(crate) own: Own,
    pub(crate) policies: Vec<(Channel, Policy)>,
}

/// What the handshake settled.
#[derive(Debug, Clone, Default)]
pub(crate) struct Agreed {
    pub(crate) peer_id: String,
    pub(crate) channels: ChannelSet,
    /// The other side's instance id, if it told one.
    pub(crate) instance: Option<String>,
    pub(crate) level: u8,
    pub(crate) features: Vec<&'static str>,
    /// Largest payload both sides take.
    pub(crate) max_message: usize,
    /// Calls of this side that the other side serves at a time.
    pub(crate) max_calls: usize,
    /// The other side pings when this one is silent for so long.
    pub(crate) peer_keepalive: Option<Duration>,
}

#[derive(Debug)]
enum State {
    /// The handshake is running, until the deadline if the clock reaches that far.
    Hello(Option<Instant>),
    Open,
    /// Nothing more is read. What is left in the outbox (a refusal) may still be written.
    Ended(Error),
}

#[derive(Debug)]
struct Ping {
    /// If it gave up, the answer is still owed, and ends nothing when it comes.
    op: OpId,
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
    /// Operations that wait for anything to receive, of a channel's position or of all.
    readers: Vec<(OpId, Option<usize>)>,
    pings: VecDeque<Ping>,
    /// A drain was asked for: no new sends or calls.
    draining: bool,
    shutdown_sent: bool,
    shutdown_acked: bool,
    /// Acknowledgements to give once everything queued before them is in the outbox.
    acks_owed: usize,
    /// The other side sends no more; it may still read.
    read_ended: bool,
    /// How the end is known already while the connection still stands.
    loss: Option<Error>,
    /// The carrier takes no more bytes; what it still delivers is read to the end.
    write_dead: bool,
    control_rate: Rate,
    ping_rate: Rate,
    counters: Vec<ChannelStats>,
    calls_begun: u64,
    /// A byte of the call on the wire has left.
    call_begun: bool,
    /// The engine of level 1, once it was agreed on. The fields above that speak of messages are level 0's.
    one: Option<Box<Level1>>,
    /// A connector's request, while the proof of a secret may be computed over it.
    hello_sent: Vec<u8>,
    /// By when the reason for the end has to have left.
    last_words: Option<Instant>,
    /// The handshake ended well, whatever came then.
    opened: bool,
    /// The other side has asked for an orderly end.
    peer_drains: bool,
    /// The time told last.
    now: Instant,
}

impl Conn {
    /// A new connection. A connector has its request to transmit at once.
    pub(crate) fn new(config: Config, now: Instant) -> Conn {
        let mut conn = Conn {
            state: State::Hello(now.checked_add(config.handshake_timeout)),
            agreed: Agreed::default(),
            reader: FrameReader::new(limits::MAX_HANDSHAKE),
            inbox: Inbox::default(),
            outbox: Outbox::default(),
            ops: Ops::default(),
            waiting_sends: VecDeque::new(),
            waiting_calls: VecDeque::new(),
            call: None,
            readers: Vec::new(),
            pings: VecDeque::new(),
            draining: false,
            shutdown_sent: false,
            shutdown_acked: false,
            acks_owed: 0,
            read_ended: false,
            loss: None,
            write_dead: false,
            control_rate: Rate::default(),
            ping_rate: Rate::default(),
            counters: Vec::new(),
            calls_begun: 0,
            call_begun: false,
            one: None,
            hello_sent: Vec::new(),
            last_words: None,
            opened: false,
            peer_drains: false,
            now,
            config,
        };
        if let Role::Connector = &conn.config.role {
            let request = hello::request(&conn.config.channels, conn.config.auth_token.as_ref(), &conn.config.own);
            if conn.config.secret.is_some() {
                conn.hello_sent.clone_from(&request);
            }
            conn.outbox.push_control(request, false);
        }
        conn
    }

    /// Chooses what is written next. Call it before [`wants_write`](Conn::wants_write) and [`slices`](Conn::slices).
    pub(crate) fn stage(&mut self) {
        if let Some(one) = &mut self.one
            && self.outbox.is_empty()
        {
            one.stage(&self.ops);
        }
    }

    /// The bytes to write next, and the descriptors that go with the first of them.
    pub(crate) fn slices<'a>(&'a self, out: &mut Vec<IoSlice<'a>>) -> &'a [Descriptor] {
        match &self.one {
            Some(one) if self.outbox.is_empty() => one.slices(out),
            _ => {
                self.outbox.slices(out);
                &[]
            }
        }
    }

    pub(crate) fn next_timeout(&mut self) -> Option<Instant> {
        let hello = match self.state {
            State::Hello(deadline) => deadline,
            _ => None,
        };
        let engine = self.one.as_mut().and_then(|one| one.next_timeout());
        let last_words = self.last_words.filter(|_| self.wants_write());
        hello.into_iter().chain(self.ops.next_deadline()).chain(engine).chain(last_words).min()
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
        !self.write_dead && (!self.outbox.is_empty() || self.one.as_ref().is_some_and(|one| one.wants_write()))
    }

    /// Whether there is nothing to write, to hand out or to tell, and the connection goes on.
    pub(crate) fn is_quiet(&self) -> bool {
        self.is_open() && self.ops.is_quiet() && !self.wants_write()
    }

    /// Whether the carrier can be let go.
    pub(crate) fn finished(&self) -> bool {
        matches!(self.state, State::Ended(_)) && !self.wants_write()
    }

    /// Whether either side pings when nothing else comes.
    pub(crate) fn has_keepalive(&self) -> bool {
        self.one.is_some() && (self.config.own.limits.keepalive.is_some() || self.agreed.peer_keepalive.is_some())
    }

    /// Whether descriptors may come with bytes.
    pub(crate) fn passes_fds(&self) -> bool {
        self.agreed.features.contains(&FDS)
    }

    /// The largest payload this side sends or takes.
    pub(crate) fn largest(&self) -> usize {
        self.config.max_message
    }

    /// The time told last.
    pub(crate) fn now(&self) -> Instant {
        self.now
    }

    /// Whether small things are held back.
    pub(crate) fn is_corked(&self) -> bool {
        self.one.as_ref().is_some_and(|one| one.is_corked())
    }

    /// Lets go what a cork holds back, once. `false` if that is nothing.
    pub(crate) fn release(&mut self) -> bool {
        self.one.as_mut().is_some_and(|one| one.release())
    }

    /// Begins or ends to hold back what is small.
    pub(crate) fn cork(&mut self, corked: bool) {
        if let Some(one) = &mut self.one {
            one.cork(corked);
        }
    }

    /// The same, but an operation still ends when the carrier took all of it.
    pub(crate) fn hold(&mut self, held: bool) {
        if let Some(one) = &mut self.one {
            one.hold(held);
        }
    }

    pub(crate) fn is_open(&self) -> bool {
        matches!(self.state, State::Open)
    }

    /// Whether the handshake ended well, even if the connection has ended since.
    pub(crate) fn was_opened(&self) -> bool {
        self.opened
    }

    /// Why the connection ended.
    pub(crate) fn end_error(&self) -> Option<&Error> {
        match &self.state {
            State::Ended(error) => Some(error),
            _ => None,
        }
    }

    /// What has happened since the last time.
    pub(crate) fn take_notices(&mut self) -> Vec<Notice> {
        self.ops.take_notices()
    }

    pub(crate) fn agreed(&self) -> &Agreed {
        &self.agreed
    }

    /// Bytes that wait to be sent, as [`stats`](Conn::stats) count them.
    pub(crate) fn send_backlog(&self) -> usize {
        self.one.as_ref().map_or_else(|| self.outbox.depth(), |one| one.send_depth()).bytes
    }

    /// Messages that came or were accepted for sending.
    pub(crate) fn messages(&self) -> u64 {
        let counters = self.one.as_ref().map_or(&self.counters[..], |one| one.counters());
        counters.iter().map(|counter| counter.messages_sent + counter.messages_received).sum()
    }

    pub(crate) fn stats(&self) -> Stats {
        if let Some(one) = &self.one {
            let counts = one.counts();
            let (open_calls, open_served) = one.open_calls();
            return Stats {
                channels: one.channel_stats(),
                receive_queue: one.receive_depth(),
                send_queue: one.send_depth(),
                calls: one.calls_begun(),
                open_calls,
                calls_served: counts.served,
                open_served,
                calls_cancelled: counts.cancelled,
                late: counts.late,
                pending_operations: self.ops.pending(),
            };
        }
        let channels = self.counters.iter().enumerate();
        Stats {
            open_calls: usize::from(self.call.is_some()),
            calls_served: 0,
            open_served: 0,
            calls_cancelled: 0,
            late: 0,
            channels: channels.map(|(at, c)| ChannelStats { queued: self.inbox.queued(at), ..*c }).collect(),
            receive_queue: self.inbox.depth(),
            send_queue: self.outbox.depth(),
            calls: self.calls_begun,
            pending_operations: self.ops.pending(),
        }
    }

    /// Puts the next waiting call on the wire if none is.
    pub(super) fn next_call(&mut self) {
        if self.call.is_none()
            && let Some((op, payload)) = self.waiting_calls.pop_front()
        {
            self.count_out(Channel::COMMAND, payload.len());
            self.outbox.push(Channel::COMMAND, payload, Some(op));
            self.call = Some(op);
            self.call_begun = false;
        }
    }

    /// Moves on what waited for room, for the wire, or for silence.
    pub(super) fn advance(&mut self) {
        if !self.is_open() {
            return;
        }
        if let Some(one) = &mut self.one {
            if one.advance() || (self.draining && self.read_ended) {
                self.end(Error::new(Code::Closed, "drained and closed by this side"));
            }
            return;
        }
        if self.write_dead {
            // What still arrives is read; the end of the stream ends a drain too.
            return;
        }
        self.next_call();
        while self.outbox.has_room()
            && let Some((op, channel, payload)) = self.waiting_sends.pop_front()
        {
            self.count_out(channel, payload.len());
            self.outbox.push(channel, payload, Some(op));
        }
        while self.acks_owed > 0 && self.waiting_sends.is_empty() && self.waiting_calls.is_empty() {
            // Behind what is queued: it is flushed first.
            self.acks_owed -= 1;
            self.outbox.push_control(Control::ShutdownAck.encode(), false);
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
}

fn peer_closed() -> Error {
    Error::new(Code::PeerClosed, "the other side closed the connection")
}

/// The end of the connection as an operation sees it that still expected something.
fn lost(error: &Error) -> Error {
    match error.code() {
        Code::PeerClosed | Code::Truncated => Error::new(Code::ConnectionLost, error.message()),
        _ => error.clone(),
    }
}
