//! A call that was started.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use crate::api::message::Message;
use crate::api::peer::unexpected;
use crate::api::wait::Wait;
use crate::driver::lane::Lane;
use crate::error::{Code, Error, Result};
use crate::os::Descriptor;
use crate::proto::channel::Channel;
use crate::proto::level1::With;
use crate::proto::{OpId, Outcome};

/// A started call; [`wait`](Call::wait) for its reply.
///
/// Dropping it gives the call up: the other side is told. On a level-0 connection, which cannot tell a late reply from the
/// next one, giving up a call that was already sent closes the connection.
#[derive(Debug)]
#[must_use = "dropping a call gives it up"]
pub struct Call {
    lane: Arc<Lane>,
    op: Option<OpId>,
}

impl Call {
    pub(crate) fn new(lane: Arc<Lane>, op: OpId) -> Call {
        Call { lane, op: Some(op) }
    }

    /// Whether it has ended, so that [`wait`](Call::wait) returns at once. Takes nothing from the connection.
    pub fn is_finished(&self) -> bool {
        self.op.is_some_and(|op| self.lane.is_finished(op))
    }

    /// Waits for the reply. `timeout`; `remote_error` when the program at the other end failed it; `call_abandoned`;
    /// `connection_lost`: [`Error::sent`](crate::Error::sent) says whether the other side may have seen the request.
    pub fn wait<'a>(mut self, wait: impl Into<Wait<'a>>) -> Result<Message> {
        let Some(op) = self.op.take() else { return Err(unexpected()) };
        self.reply(self.lane.finish(op, wait.into()))
    }

    /// Waits for the reply, and keeps the call when that takes too long: after `timeout` and `interrupted` it may be
    /// waited for again. Errors as of [`wait`](Call::wait); `invalid_argument` once it has ended.
    pub fn try_wait<'a>(&mut self, wait: impl Into<Wait<'a>>) -> Result<Message> {
        self.lane.check()?;
        let Some(op) = self.op else {
            return Err(Error::new(Code::InvalidArgument, "the reply to this call was taken already"));
        };
        let result = self.lane.finish(op, wait.into().keep());
        // The call may have run out of its own time, too.
        if !self.lane.expects(op) {
            self.op = None;
        }
        self.reply(result)
    }

    /// Whether [`try_wait`](Call::try_wait) has not returned its end yet.
    pub fn is_open(&self) -> bool {
        self.op.is_some()
    }

    /// Whether [`wait`](Call::wait) would return at once. Looks at what has arrived.
    pub fn is_done(&self) -> bool {
        self.op.is_none_or(|op| self.lane.has_ended(op))
    }

    fn reply(&self, result: Result<Outcome>) -> Result<Message> {
        match result? {
            Outcome::Reply(channel, payload) => Ok(Message::plain(channel, payload, self.lane.clone())),
            _ => Err(unexpected()),
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if let Some(op) = self.op {
            self.lane.abandon(op);
        }
    }
}

/// What may go with a call, a stream or a message. Everything but the channel COMMAND and a deadline needs level 1, and
/// gives `unsupported` on level 0.
#[derive(Debug, Default)]
pub struct CallOptions {
    channel: Option<Channel>,
    with: With,
}

impl CallOptions {
    /// Nothing in particular.
    pub fn new() -> CallOptions {
        CallOptions::default()
    }

    /// The channel of the call; default COMMAND.
    pub fn channel(mut self, channel: Channel) -> Self {
        self.channel = Some(channel);
        self
    }

    /// When the caller stops waiting: the call, or stream, then ends with `timeout` on this side and is over for the other,
    /// which is told how long it has. A wait for the reply may end before.
    pub fn deadline(mut self, at: Instant) -> Self {
        self.with.deadline = Some(at);
        self
    }

    /// Says that the call may be sent again under this key of 1 to [`MAX_KEY`](crate::limits::MAX_KEY) bytes.
    pub fn idempotency_key(mut self, key: impl Into<Bytes>) -> Self {
        self.with.more_mut().idempotency = Some(key.into());
        self
    }

    /// Handed to the other program as it is; 1 to [`MAX_KEY`](crate::limits::MAX_KEY) bytes.
    pub fn trace(mut self, trace: impl Into<Bytes>) -> Self {
        self.with.more_mut().trace = Some(trace.into());
        self
    }

    /// Descriptors for the other process, at most [`MAX_FDS`](crate::limits::MAX_FDS); they are closed here once they
    /// have left. Needs the feature `fds` ([`Info::features`](crate::Info::features)).
    pub fn fds(mut self, fds: Vec<Descriptor>) -> Self {
        self.with.more_mut().fds = fds;
        self
    }

    /// The same for another attempt; descriptors went with the first.
    pub(crate) fn again(&self) -> CallOptions {
        CallOptions { channel: self.channel, with: self.with.again() }
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn told_deadline(&self) -> Option<Instant> {
        self.with.deadline
    }

    pub(crate) fn has_fds(&self) -> bool {
        self.with.has_fds()
    }

    pub(crate) fn is_idempotent(&self) -> bool {
        self.with.more().is_some_and(|more| more.idempotency.is_some())
    }

    pub(crate) fn into_parts_or(self, channel: Channel) -> (Channel, With) {
        (self.channel.unwrap_or(channel), self.with)
    }

    pub(crate) fn into_parts(self) -> (Channel, With) {
        (self.channel.unwrap_or(Channel::COMMAND), self.with)
    }
}
