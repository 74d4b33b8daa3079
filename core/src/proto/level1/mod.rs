//! The engine of a connection on wire level 1 (protocol.md, sections 15 to 22): calls with ids, streams,
//! credit, cancelling, an orderly end.
//!
//! It is the inside of a [`Conn`](crate::proto::conn::Conn), which keeps the operations and the state of
//! the whole; an engine is made by the handshake and dropped with the connection.

mod calls;
mod control;
mod ends;
mod events;
mod ext;
mod header;
mod inbox;
mod messages;
mod outbox;
mod queue;
mod reader;
mod ready;
mod serving;
mod stream;

/// The codec, for those who test it alone.
#[cfg(any(test, fuzzing))]
#[cfg_attr(fuzzing, allow(unused_imports))]
pub(crate) mod wire {
    pub(crate) use super::control::{Control, Reason};
    pub(crate) use super::ext::Ext;
    pub(crate) use super::header::{Header, flag, kind};
    pub(crate) use super::reader::{Arrived, Event, Reader};
}

use std::collections::VecDeque;
use std::time::{Duration, Instant};

pub(crate) use calls::{Ask, With, call_ended};
pub(crate) use control::is_refusal;
pub(crate) use inbox::{Delivery, Extra, Request};
pub(crate) use outbox::Plan;
pub use queue::Policy;
pub(crate) use reader::Body;
pub(crate) use ready::Proofs;
pub(crate) use serving::Answer;

use self::calls::{OwnCall, Waiting};
use self::inbox::Inbox;
use self::outbox::{Mark, Outbox};
use self::reader::Reader;
use self::ready::Ready;
use self::serving::Served;
use crate::api::stats::ChannelStats;
use crate::error::{Code, Error, Result};
use crate::limits;
use crate::proto::channel::{Channel, ChannelSet};
use crate::proto::deadlines::Deadlines;
use crate::proto::ids::IdMap;
use crate::proto::ops::{Kind, OpId, Ops, Outcome};

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
    op: OpId,
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

/// A REQUEST or STREAM message whose first frame has come, and not its last.
#[derive(Debug, Clone, Copy)]
struct Arriving {
    at: usize,
    id: u64,
    request: bool,
    /// The caller of a request left meanwhile.
    given_up: bool,
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
    /// Calls of this side that have a place at the other: sent, and without an end.
    open_calls: usize,
    /// Those of them whose caller has left; the other side's program may still be at work.
    given_up: IdMap<()>,
    waiting: VecDeque<Waiting>,
    last_own: u64,
    served: IdMap<Served>,
    /// Calls of the other side that want no answer any more while the program still has them, and why: each keeps its
    /// place until the program lets it go.
    orphans: IdMap<Code>,
    /// The highest id the other side used, in all and by channel.
    last_seen: u64,
    last_requests: Vec<u64>,
    /// Messages of calls of which more frames are to come, at most one in a channel.
    arriving: Vec<Arriving>,
    served_deadlines: Deadlines,
    /// When streams of this side end; plain calls end with their operations.
    stream_deadlines: Deadlines,
    pings: VecDeque<Ping>,
    last_token: u64,
    keepalive: Option<Keepalive>,
    drain: Drain,
    /// Nothing comes any more, no credit either.
    deaf: bool,
    /// The other side said its last words; they are not answered.
    told: bool,
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
            given_up: IdMap::default(),
            waiting: VecDeque::new(),
            // Odd ids are the connector's, even ones the acceptor's, 0 is none.
            last_own: if connector { u64::MAX } else { 0 },
            served: IdMap::default(),
            orphans: IdMap::default(),
            last_seen: 0,
            last_requests: vec![0; channels.as_slice().len()],
            arriving: Vec::new(),
            served_deadlines: Deadlines::default(),
            stream_deadlines: Deadlines::default(),
            pings: VecDeque::new(),
            last_token: 0,
            keepalive: own.keepalive.map(|every| Keepalive { every, heard: now, pinged: None }),
            drain: Drain::default(),
            deaf: false,
            told: false,
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
            // Its caller waits for it, whoever else does.
            Mark::Answer(_) => true,
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
            Mark::Answer(None) => {}
            Mark::Send(op) | Mark::Answer(Some(op)) => {
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

    // --- counters ----------------------------------------------------------------------------------

    /// What went over each channel.
    pub(crate) fn counters(&self) -> &[ChannelStats] {
        &self.counters
    }

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

    /// Calls of this side that began to leave.
    pub(crate) fn calls_begun(&self) -> u64 {
        self.outbox.begun()
    }

    /// Places taken in each direction: by this side's calls, by the other's.
    pub(crate) fn open_calls(&self) -> (usize, usize) {
        (self.open_calls, self.places())
    }

    /// Places that calls of the other side take: until the program is done with them and the carrier has the answer.
    fn places(&self) -> usize {
        self.served.len() + self.orphans.len() + self.outbox.answers()
    }
}

fn bad(what: impl Into<String>) -> Error {
    Error::new(Code::ProtocolError, what)
}
