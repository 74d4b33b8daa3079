//! The table of pending operations: what each waits for, and until when.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::error::{Code, Error, Result};
use crate::limits;
use crate::proto::channel::Channel;
use crate::proto::deadlines::Deadlines;
use crate::proto::ids::IdMap;
use crate::proto::level1::Delivery;
use crate::proto::notice::Notice;

/// Names a pending operation. Chosen by the driver, unique per connection, never reused.
pub(crate) type OpId = u64;

/// What an operation waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The end of the handshake.
    Open,
    Recv,
    Send,
    Call,
    Ping,
    Drain,
    /// Anything to receive.
    Readable,
    /// A level-1 call of this side.
    Request(u64),
    /// An item of a stream, out or in.
    StreamSend(u64),
    StreamRecv(u64),
    /// The end of a call of the other side.
    Watch(u64),
}

/// How an operation ended well.
#[derive(Debug)]
pub(crate) enum Outcome {
    Opened,
    Message(Delivery),
    /// On the channel of the call.
    Reply(Channel, Bytes),
    Sent,
    Pong(Duration),
    Drained,
    Readable,
    Item(Bytes),
    /// Of the call, with its reply, for its caller; of the caller's direction, for the other side.
    StreamEnd(Option<Bytes>),
    CallEnded,
}

/// The answer to a submitted operation: its result, or `None` while it is pending.
pub(crate) type Step = Option<Result<Outcome>>;

#[derive(Debug, Default)]
pub(crate) struct Ops {
    pending: IdMap<Kind>,
    deadlines: Deadlines,
    done: VecDeque<(OpId, Result<Outcome>)>,
    /// What else the driver takes.
    notices: Vec<Notice>,
}

impl Ops {
    /// Whether one more may become pending.
    pub(crate) fn admit(&self) -> Result<()> {
        if self.pending.len() < limits::MAX_OPS {
            return Ok(());
        }
        Err(Error::new(Code::QueueFull, format!("{} operations are pending on this connection", limits::MAX_OPS)))
    }

    pub(crate) fn insert(&mut self, op: OpId, kind: Kind, deadline: Option<Instant>) {
        self.pending.insert(op, kind);
        if let Some(deadline) = deadline {
            self.deadlines.insert(deadline, op, self.pending.len(), |op| self.pending.contains_key(&op));
        }
    }

    pub(crate) fn kind(&self, op: OpId) -> Option<Kind> {
        self.pending.get(&op).copied()
    }

    /// Ends `op`, once; a second end is without effect.
    pub(crate) fn finish(&mut self, op: OpId, result: Result<Outcome>) {
        if self.pending.remove(&op).is_some() {
            self.done.push_back((op, result));
        }
    }

    pub(crate) fn all(&self) -> Vec<(OpId, Kind)> {
        self.pending.iter().map(|(&op, &kind)| (op, kind)).collect()
    }

    /// Notes what a program's log may tell.
    pub(crate) fn note(&mut self, notice: impl IntoIterator<Item = Notice>) {
        self.notices.extend(notice);
    }

    pub(crate) fn take_notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// Whether nothing waits to be handed out or told.
    pub(crate) fn is_quiet(&self) -> bool {
        self.done.is_empty() && self.notices.is_empty()
    }

    pub(crate) fn poll_done(&mut self) -> Option<(OpId, Result<Outcome>)> {
        self.done.pop_front()
    }

    pub(crate) fn next_deadline(&mut self) -> Option<Instant> {
        self.deadlines.next(|op| self.pending.contains_key(&op))
    }

    /// The next operation whose deadline is not after `now`.
    pub(crate) fn expired(&mut self, now: Instant) -> Option<OpId> {
        self.deadlines.expired(now, |op| self.pending.contains_key(&op))
    }

    pub(crate) fn pending(&self) -> usize {
        self.pending.len()
    }
}
