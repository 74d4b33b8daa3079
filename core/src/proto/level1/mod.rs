//! The engine of a connection on wire level 1 (protocol.md, sections 15 to 22): calls with ids, streams,
//! credit, cancelling, an orderly end.
//!
//! It is the inside of a [`Conn`](crate::proto::conn::Conn), which keeps the operations and the state of
//! the whole; an engine is made by the handshake and dropped with the connection.

mod calls;
mod control;
mod events;
mod ext;
mod header;
mod inbox;
mod outbox;
mod queue;
mod reader;
mod ready;
mod stream;

/// The codec, for those who test it alone.
#[cfg(test)]
pub(crate) mod wire {
    pub(crate) use super::control::{Control, Reason};
    pub(crate) use super::ext::Ext;
    pub(crate) use super::header::{Header, flag, kind};
    pub(crate) use super::reader::{Arrived, Event, Reader};
}

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::time::{Duration, Instant};

pub(crate) use calls::{Answer, Ask, With};
pub(crate) use inbox::{Delivery, Extra, Request};
pub(crate) use outbox::Plan;
pub use queue::Policy;
pub(crate) use reader::Body;
pub(crate) use ready::Proofs;

use bytes::Bytes;

use self::calls::{OwnCall, Served, Waiting};
use self::control::Reason;
use self::header::kind;
use self::inbox::{Grant, Inbox};
use self::outbox::{Mark, Outbox};
use self::reader::Reader;
use self::ready::Ready;
use crate::api::stats::ChannelStats;
use crate::error::{Code, Error, Result};
use crate::limits;
use crate::proto::channel::{Channel, ChannelSet};
use crate::proto::ids::IdMap;
use crate::proto::ops::{Kind, OpId, Ops, Outcome, Step};

/// What one side accepts, as told in the handshake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Limits {
    pub(crate) max_message: usize,
    pub(crate) max_calls: usize,
    pub(crate) window: u64,
    pub(crate) stream_window: u64,
    pub(crate) keepalive: Option<Duration>,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_message: limits::MAX_MESSAGE,
            max_calls: limits::MAX_CALLS,
            window: limits::WINDOW_START,
            stream_window: limits::STREAM_WINDOW,
            keepalive: None,
        }
    }
}

/// What an engine is made with.
#[derive(Debug)]
pub(crate) struct Setup<'a> {
    pub(crate) connector: bool,
    pub(crate) channels: &'a ChannelSet,
    pub(crate) own: Limits,
    pub(crate) peer: Limits,
    pub(crate) proofs: Option<Proofs>,
    pub(crate) fds: bool,
    pub(crate) policies: &'a [(Channel, Policy)],
    /// Chooses the GREASE frame.
    pub(crate) grease: u8,
    /// Bytes that arrived behind the handshake.
    pub(crate) arrived: Vec<u8>,
}

/// How far the end has come.
#[derive(Debug, Default)]
struct Drain {
    /// This side drains: nothing new is started.
    asked: bool,
    /// The other side has opened its last call.
    acked: bool,
    /// The CLOSE is queued behind all else.
    closing: bool,
    /// The other side drains.
    told: bool,
    /// Its acknowledgement is owed, behind all that is queued.
    ack_owed: bool,
}

#[derive(Debug)]
struct Ping {
    token: u64,
    op: Option<OpId>,
    started: Instant,
}

/// What is sent and awaited when nothing arrives.
#[derive(Debug)]
struct Keepalive {
    every: Duration,
    heard: Instant,
    /// Since when a ping waits for an answer.
    pinged: Option<Instant>,
}

impl Keepalive {
    fn next(&self) -> Option<Instant> {
        match self.pinged {
            None => self.heard.checked_add(self.every),
            Some(since) => since.checked_add(2 * self.every),
        }
    }
}

#[derive(Debug)]
pub(crate) struct Level1 {
    connector: bool,
    channels: ChannelSet,
    peer: Limits,
    own: Limits,
    fds: bool,
    ready: Ready,
    reader: Reader,
    outbox: Outbox,
    inbox: Inbox,
    counters: Vec<ChannelStats>,
    calls: IdMap<OwnCall>,
    /// Calls of this side the other side works at.
    open_calls: usize,
    waiting: VecDeque<Waiting>,
    last_own: u64,
    served: IdMap<Served>,
    /// The highest id the other side used, in all and by channel.
    last_seen: u64,
    last_requests: Vec<u64>,
    /// Requests of which more frames are to come, at most one in a channel.
    arriving: Vec<u64>,
    served_deadlines: BinaryHeap<Reverse<(Instant, u64)>>,
    /// When streams of this side end; plain calls end with their operations.
    stream_deadlines: BinaryHeap<Reverse<(Instant, u64)>>,
    pings: VecDeque<Ping>,
    last_token: u64,
    keepalive: Option<Keepalive>,
    drain: Drain,
    /// Small messages are gathered until the last cork is drawn.
    corks: u32,
    /// The same, but what is sent is done only when the carrier has it.
    holds: u32,
    /// Until the outbox is empty a cork holds nothing back.
    released: bool,
    counts: Counts,
}

/// Counters of the whole connection.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) calls: u64,
    pub(crate) served: u64,
    pub(crate) cancelled: u64,
    pub(crate) late: u64,
}

impl Level1 {
    pub(crate) fn new(setup: Setup<'_>, now: Instant) -> Level1 {
        let Setup { connector, channels, own, peer, proofs, fds, policies, grease, arrived } = setup;
        let policy = |channel: Channel| match policies.iter().find(|(c, _)| *c == channel) {
            Some((_, policy)) => *policy,
            None if channel == Channel::TELEMETRY => Policy::DropOldest,
            None => Policy::Block,
        };
        let mut outbox = Outbox::default();
        outbox.open(channels.as_slice(), peer.window, policy);
        let mut inbox = Inbox::default();
        inbox.open(channels.as_slice(), own.window);
        Level1 {
            connector,
            peer,
            own,
            fds,
            ready: Ready::new(proofs, grease),
            reader: Reader::new(own.max_message, arrived),
            outbox,
            inbox,
            counters: channels.as_slice().iter().map(|&channel| ChannelStats::new(channel)).collect(),
            channels: channels.clone(),
            calls: IdMap::default(),
            open_calls: 0,
            waiting: VecDeque::new(),
            // Odd ids are the connector's, even ones the acceptor's, 0 is none.
            last_own: if connector { u64::MAX } else { 0 },
            served: IdMap::default(),
            last_seen: 0,
            last_requests: vec![0; channels.as_slice().len()],
            arriving: Vec::new(),
            served_deadlines: BinaryHeap::new(),
            stream_deadlines: BinaryHeap::new(),
            pings: VecDeque::new(),
            last_token: 0,
            keepalive: own.keepalive.map(|every| Keepalive { every, heard: now, pinged: None }),
            drain: Drain::default(),
            corks: 0,
            holds: 0,
            released: false,
            counts: Counts::default(),
        }
    }

    fn position(&self, channel: u16) -> Result<usize> {
        self.channels.position(Channel::from_wire(channel)).ok_or_else(|| {
            Error::new(Code::UnknownChannel, format!("a frame arrived on channel {channel}, not agreed"))
        })
    }

    // --- the carrier -------------------------------------------------------------------------------

    pub(crate) fn read_buffer(&mut self) -> (&mut Vec<u8>, usize) {
        self.reader.buffer()
    }

    pub(crate) fn reader(&mut self) -> &mut Reader {
        &mut self.reader
    }

    pub(crate) fn received_fds(&mut self, fds: Vec<crate::os::Descriptor>) {
        self.reader.received_fds(fds);
    }

    pub(crate) fn inside_frame(&self) -> bool {
        self.reader.inside_frame()
    }

    pub(crate) fn stage(&mut self, ops: &Ops) {
        let calls = &self.calls;
        self.outbox.stage(|mark| match mark {
            Mark::Send(op) => ops.kind(op).is_some(),
            Mark::Request(id) => calls.contains_key(&id),
        });
    }

    pub(crate) fn slices<'a>(&'a self, out: &mut Vec<std::io::IoSlice<'a>>) -> &'a [crate::os::Descriptor] {
        self.outbox.slices(out)
    }

    pub(crate) fn wants_write(&self) -> bool {
        if self.is_corked() { self.outbox.presses() } else { !self.outbox.is_empty() }
    }

    pub(crate) fn transmitted(&mut self, n: usize, ops: &mut Ops) {
        let mut left = Vec::new();
        let calls = &mut self.calls;
        self.outbox.transmitted(n, |mark| match mark {
            Mark::Send(op) => {
                if matches!(ops.kind(op), Some(Kind::Send | Kind::StreamSend(_))) {
                    ops.finish(op, Ok(Outcome::Sent));
                }
            }
            Mark::Request(id) => {
                if let Some(call) = calls.get_mut(&id) {
                    call.sent = true;
                    if call.stream.is_some() || call.cancelled {
                        left.push(id);
                    }
                }
            }
        });
        for id in left {
            self.request_left(id, ops);
        }
        self.released &= !self.outbox.is_empty();
    }

    /// Whether small writes are being gathered.
    pub(crate) fn is_corked(&self) -> bool {
        (self.corks > 0 || self.holds > 0) && !self.released
    }

    /// Whether what is gathered counts as sent.
    pub(crate) fn is_done_when_gathered(&self) -> bool {
        self.corks > 0 && self.is_corked()
    }

    /// Lets go what is gathered, for somebody waits. `false` if that is nothing.
    pub(crate) fn release(&mut self) -> bool {
        let held = self.is_corked() && !self.outbox.is_empty();
        self.released |= held;
        held
    }

    /// Small writes are gathered while `corked`.
    pub(crate) fn cork(&mut self, corked: bool) {
        self.released = false;
        if corked { self.corks += 1 } else { self.corks = self.corks.saturating_sub(1) }
    }

    /// The same while `held`, but an operation still ends when the carrier took all of it.
    pub(crate) fn hold(&mut self, held: bool) {
        self.released = false;
        if held { self.holds += 1 } else { self.holds = self.holds.saturating_sub(1) }
    }

    // --- messages ----------------------------------------------------------------------------------

    /// The oldest message of the channel at a position, or of any.
    pub(crate) fn recv(&mut self, channel: Option<usize>) -> Option<Delivery> {
        loop {
            let (delivery, grant) = self.inbox.take_delivery(channel)?;
            self.give_back(grant);
            // A request whose caller has left meanwhile is nobody's any more.
            if delivery.request().is_none_or(|r| self.served.contains_key(&r.id)) {
                return Some(delivery);
            }
        }
    }

    /// Takes what has arrived, as long as `keep` wants more, without an allocation for each.
    pub(crate) fn recv_many(
        &mut self,
        channel: Option<usize>,
        mut keep: impl FnMut(Channel, Body<'_>, Option<Box<Extra>>) -> bool,
    ) {
        loop {
            let served = &self.served;
            let taken = self.inbox.take(channel, |channel, body, extra| {
                // A request whose caller has left meanwhile is nobody's any more.
                let request = extra.as_ref().and_then(|extra| extra.request.as_ref());
                let alive = request.is_none_or(|request| served.contains_key(&request.id));
                !alive || keep(channel, body, extra)
            });
            let Some((more, grant)) = taken else { return };
            self.give_back(grant);
            if !more {
                return;
            }
        }
    }

    pub(crate) fn has_messages(&self) -> bool {
        !self.inbox.is_empty()
    }

    pub(crate) fn wait_recv(&mut self, op: OpId, channel: Option<usize>) {
        self.inbox.wait(op, channel);
    }

    pub(crate) fn wait_readable(&mut self, op: OpId, channel: Option<usize>) {
        self.inbox.watch(op, channel);
    }

    fn give_back(&mut self, grant: Option<Grant>) {
        if let Some(Grant { channel, total }) = grant {
            self.outbox.push_control(kind::CREDIT, channel.number(), 0, &total.to_le_bytes());
        }
    }

    /// Sends a one-way message by the policy of its channel.
    pub(crate) fn send(
        &mut self,
        at: usize,
        op: OpId,
        payload: Bytes,
        with: With,
        ops: &mut Ops,
        deadline: Option<Instant>,
    ) -> Step {
        let corked = self.is_done_when_gathered();
        let channel = self.outbox.channel(at);
        if channel.policy == Policy::Error && channel.is_spent() {
            let number = channel.channel.number();
            return Some(Err(Error::new(Code::WouldBlock, format!("channel {number} has no credit now"))));
        }
        if channel.policy.drops() {
            let begins = channel.make_room(payload.len());
            ops.note(begins);
        } else if channel.policy.waits() && (!corked || !channel.has_room()) {
            if let Err(error) = ops.admit() {
                return Some(Err(error));
            }
            ops.insert(op, Kind::Send, deadline);
        }
        let waits = ops.kind(op).is_some();
        self.count_out(at, payload.len());
        let message = with.message(kind::MESSAGE, 0, 0, payload, waits.then_some(Mark::Send(op)));
        self.outbox.push(at, message, true);
        ops.note(self.outbox.channel(at).rises());
        if waits { None } else { Some(Ok(Outcome::Sent)) }
    }

    /// Queues a small message from the caller's memory if that needs no waiting; for bursts.
    pub(crate) fn send_short(&mut self, at: usize, payload: &[u8]) -> bool {
        let flags = header::flag::FIRST | header::flag::LAST;
        let channel = self.channels.as_slice()[at].number();
        let header = header::Header { len: payload.len() as u32, kind: kind::MESSAGE, flags, channel, id: 0 };
        let queued = self.outbox.push_short(at, header, payload);
        if queued {
            self.count_out(at, payload.len());
        }
        queued
    }

    /// Queues a message of a burst by the policy of its channel; `last` is the operation that ends when it has left.
    pub(crate) fn send_part(
        &mut self,
        at: usize,
        payload: Bytes,
        last: Option<OpId>,
        ops: &mut Ops,
        deadline: Option<Instant>,
    ) -> Result<()> {
        let channel = self.outbox.channel(at);
        if channel.policy == Policy::Error && channel.is_spent() {
            let number = channel.channel.number();
            return Err(Error::new(Code::WouldBlock, format!("channel {number} has no credit now")));
        }
        if channel.policy.drops() {
            let begins = channel.make_room(payload.len());
            ops.note(begins);
        }
        let waits = last.filter(|_| channel.policy.waits());
        if let Some(op) = waits {
            ops.insert(op, Kind::Send, deadline);
        }
        self.count_out(at, payload.len());
        self.outbox.push(at, With::default().message(kind::MESSAGE, 0, 0, payload, waits.map(Mark::Send)), true);
        ops.note(self.outbox.channel(at).rises());
        Ok(())
    }

    /// The frames of a one-way message that may be written this moment from the caller's memory.
    pub(crate) fn plan_send(&self, at: usize, len: usize) -> Option<Plan> {
        self.plan(at, header::Header { len: 0, kind: kind::MESSAGE, flags: 0, channel: 0, id: 0 }, None, len, true)
    }

    fn plan(
        &self,
        at: usize,
        header: header::Header,
        ext: Option<&ext::Ext>,
        len: usize,
        credited: bool,
    ) -> Option<Plan> {
        let free =
            if self.is_corked() { self.outbox.may_gather(at, credited, len) } else { self.outbox.idle(at, credited) };
        if !free {
            return None;
        }
        let channel = self.channels.as_slice()[at].number();
        Plan::new(&header::Header { channel, ..header }, ext, len)
    }

    /// The driver wrote `taken` bytes of a message with [`plan_send`](Level1::plan_send).
    #[allow(clippy::too_many_arguments)] // One message in one place, with what the driver knows.
    pub(crate) fn wrote_send(
        &mut self,
        at: usize,
        op: OpId,
        plan: &Plan,
        len: usize,
        taken: usize,
        payload: impl FnOnce() -> Bytes,
        ops: &mut Ops,
        deadline: Option<Instant>,
    ) -> Step {
        self.count_out(at, len);
        let channel = self.outbox.channel(at);
        channel.charge(len);
        let waits = channel.policy.waits();
        if self.outbox.wrote(plan, taken, payload, waits.then_some(Mark::Send(op))) || !waits {
            return Some(Ok(Outcome::Sent));
        }
        ops.insert(op, Kind::Send, deadline);
        None
    }

    /// Has `op` end as a send when all that is staged has left. `false` if nothing is.
    pub(crate) fn mark_flush(&mut self, op: OpId) -> bool {
        self.outbox.mark_staged(Mark::Send(op))
    }

    /// A message whose plan was asked for inside a cork joins what is gathered.
    pub(crate) fn gather(&mut self, plan: &Plan, payload: &[u8], mark: Option<Mark>) {
        self.outbox.gather_plan(plan, payload, mark);
    }

    /// A gathered one-way message: done, or when `waits` has left. Says whether that is waited for.
    pub(crate) fn gathered_send(&mut self, at: usize, plan: &Plan, payload: &[u8], waits: Option<OpId>) -> bool {
        self.count_out(at, payload.len());
        let channel = self.outbox.channel(at);
        channel.charge(payload.len());
        let mark = waits.filter(|_| channel.policy.waits()).map(Mark::Send);
        self.gather(plan, payload, mark);
        mark.is_some()
    }

    fn count_out(&mut self, at: usize, len: usize) {
        let counter = &mut self.counters[at];
        counter.messages_sent += 1;
        counter.bytes_sent += len as u64;
    }

    fn count_in(&mut self, at: usize, len: usize) {
        let counter = &mut self.counters[at];
        counter.messages_received += 1;
        counter.bytes_received += len as u64;
    }

    // --- time and the end --------------------------------------------------------------------------

    pub(crate) fn ping(&mut self, op: OpId, now: Instant) {
        self.last_token += 1;
        self.pings.push_back(Ping { token: self.last_token, op: Some(op), started: now });
        self.outbox.push_control(kind::PING, 0, 0, &self.last_token.to_le_bytes());
    }

    pub(crate) fn pings(&self) -> usize {
        self.pings.len()
    }

    pub(crate) fn next_timeout(&mut self) -> Option<Instant> {
        while let Some(Reverse((_, id))) = self.served_deadlines.peek()
            && !self.served.contains_key(id)
        {
            self.served_deadlines.pop();
        }
        while let Some(Reverse((_, id))) = self.stream_deadlines.peek()
            && !self.has_running_stream(*id)
        {
            self.stream_deadlines.pop();
        }
        let deadlines = [&self.served_deadlines, &self.stream_deadlines];
        let calls = deadlines.into_iter().filter_map(|heap| heap.peek()).map(|Reverse((at, _))| *at);
        let keepalive = self.keepalive.as_ref().filter(|_| self.is_ready()).and_then(Keepalive::next);
        calls.chain(keepalive).min()
    }

    /// Time has come. The error ends the connection.
    pub(crate) fn handle_timeout(&mut self, now: Instant, ops: &mut Ops) -> Result<()> {
        while let Some(&Reverse((at, id))) = self.served_deadlines.peek()
            && at <= now
        {
            self.served_deadlines.pop();
            self.let_go(id, ops);
        }
        while let Some(&Reverse((at, id))) = self.stream_deadlines.peek()
            && at <= now
        {
            self.stream_deadlines.pop();
            self.end_stream(id, &Error::new(Code::Timeout, "the deadline of the stream passed"), ops);
        }
        // A PING before READY would be out of place; the handshake has a deadline of its own.
        let ready = self.is_ready();
        let Some(keepalive) = self.keepalive.as_mut().filter(|_| ready) else { return Ok(()) };
        if keepalive.next().is_none_or(|at| at > now) {
            return Ok(());
        }
        if keepalive.pinged.is_some() {
            let silent = now.saturating_duration_since(keepalive.heard);
            return Err(Error::new(
                Code::PeerUnresponsive,
                format!("nothing arrived for {silent:?}, not even an answer to a ping"),
            ));
        }
        keepalive.pinged = Some(now);
        self.outbox.push_control(kind::PING, 0, 0, &0u64.to_le_bytes());
        Ok(())
    }

    /// This side starts nothing new; the other side is told.
    pub(crate) fn start_drain(&mut self) {
        if !std::mem::replace(&mut self.drain.asked, true) {
            self.push_goaway(u64::MAX);
        }
    }

    fn push_goaway(&mut self, last: u64) {
        let mut payload = last.to_le_bytes().to_vec();
        payload.extend_from_slice(&Code::Closed.number().to_le_bytes());
        self.outbox.push_control(kind::GOAWAY, 0, 0, &payload);
    }

    /// Whether a one-way message on the channel at `at` would wait for credit.
    pub(crate) fn is_stuck(&self, at: usize) -> bool {
        self.outbox.channels()[at].is_stuck()
    }

    /// Whether new messages and calls may be started.
    pub(crate) fn may_start(&self) -> Result<()> {
        if self.drain.told {
            return Err(Error::new(Code::Draining, "the other side is draining this connection"));
        }
        Ok(())
    }

    /// Moves the end on. Says whether this side's drain is complete.
    pub(crate) fn advance(&mut self) -> bool {
        self.start_waiting();
        if self.drain.ack_owed
            && self.waiting.is_empty()
            && self.outbox.channels().iter().all(queue::ChannelQueue::is_empty)
        {
            self.drain.ack_owed = false;
            self.outbox.push_control(kind::DRAIN_ACK, 0, 0, &[]);
        }
        if !self.drain.asked || !self.drain.acked || self.open_calls > 0 || !self.served.is_empty() {
            return false;
        }
        if !self.drain.closing && self.outbox.channels().iter().all(queue::ChannelQueue::is_empty) {
            self.drain.closing = true;
            self.push_close(&Error::new(Code::Closed, "drained"));
        }
        self.drain.closing && self.outbox.is_flushed()
    }

    /// Whether the other side is known to end, or this one said that it does.
    pub(crate) fn drained_by_end(&self) -> bool {
        self.drain.asked
    }

    /// The last frame of this side; no message queued before it is kept.
    pub(crate) fn last_words(&mut self, error: &Error) {
        self.outbox.drop_queued();
        self.push_close(error);
    }

    fn push_close(&mut self, error: &Error) {
        self.outbox.push_control(kind::CLOSE, 0, 0, &Reason::encode(error));
    }

    /// Nothing more comes or goes, and what had come is dropped. The counters stay.
    pub(crate) fn close(&mut self) {
        self.abandon();
        self.calls.clear();
        self.inbox.clear();
        self.outbox.clear();
    }

    pub(crate) fn clear_outbox(&mut self) {
        self.outbox.clear();
    }

    /// Stops handing out: the received messages stay.
    pub(crate) fn abandon(&mut self) {
        self.reader.abandon();
        self.inbox.abandon();
        self.outbox.seal();
        self.waiting.clear();
        self.pings.clear();
        self.keep_streams();
        self.served.clear();
        self.keepalive = None;
    }

    /// Drops the calls but for streams, whose last items and end can still be taken.
    fn keep_streams(&mut self) {
        self.calls.retain(|_, call| call.stream.is_some());
        self.calls.values_mut().for_each(|call| (call.open, call.cancelled) = (false, false));
        self.open_calls = 0;
    }

    pub(crate) fn forget_recv(&mut self, op: OpId) {
        self.inbox.forget(op);
    }

    pub(crate) fn forget_ping(&mut self, op: OpId) {
        self.pings.iter_mut().filter(|p| p.op == Some(op)).for_each(|p| p.op = None);
    }

    // --- counters ----------------------------------------------------------------------------------

    pub(crate) fn channel_stats(&self) -> Vec<ChannelStats> {
        let channels = self.counters.iter().zip(self.outbox.channels()).enumerate();
        channels
            .map(|(at, (counter, out))| {
                let depth = self.inbox.depth_of(at);
                ChannelStats {
                    queued: depth.messages,
                    queued_bytes: depth.bytes,
                    queued_bytes_peak: depth.peak_bytes,
                    send_queued: out.messages(),
                    send_queued_bytes: out.bytes,
                    send_queued_bytes_peak: out.peak_bytes,
                    dropped: out.dropped,
                    send_credit: out.credit.saturating_sub(out.charged),
                    ..*counter
                }
            })
            .collect()
    }

    pub(crate) fn receive_depth(&self) -> crate::proto::inbox::Depth {
        self.inbox.depth()
    }

    pub(crate) fn send_depth(&self) -> crate::proto::inbox::Depth {
        let channels = self.outbox.channels();
        crate::proto::inbox::Depth {
            messages: channels.iter().map(|c| c.messages()).sum(),
            bytes: self.outbox.bytes(),
            peak_bytes: channels.iter().map(|c| c.peak_bytes).max().unwrap_or(0),
        }
    }

    pub(crate) fn counts(&self) -> Counts {
        self.counts
    }

    /// Calls open in each direction: this side's, the other's.
    pub(crate) fn open_calls(&self) -> (usize, usize) {
        (self.open_calls, self.served.len())
    }
}

fn bad(what: impl Into<String>) -> Error {
    Error::new(Code::ProtocolError, what)
}
