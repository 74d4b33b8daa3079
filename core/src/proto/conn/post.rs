//! A payload on its way out, as a message, a request or an answer, on either level; written straight from the
//! caller's memory where the way is free.

use std::io::IoSlice;
use std::time::Instant;

use bytes::Bytes;

use super::{Conn, State};
use crate::error::{Code, Error, Result};
use crate::proto::channel::Channel;
use crate::proto::frame::{HEADER_LEN, Header};
use crate::proto::level1::{self, Answer, Ask, Plan, With};
use crate::proto::ops::{Kind, OpId, Outcome, Step};

/// What a payload is sent as.
#[derive(Debug)]
pub(crate) enum Post {
    /// A one-way message.
    Message(Channel, With),
    /// A call.
    Request(Channel, With),
    /// The answer to a level-1 call.
    Answer(Answer),
}

/// Frames whose writing the driver began itself.
#[derive(Debug)]
pub(crate) enum Inline {
    /// One level-0 frame.
    Zero([u8; HEADER_LEN]),
    /// The frames of a level-1 message; the position of its channel.
    One(Plan, usize),
}

impl Inline {
    /// Hands the slices of one vectored write to `write`.
    pub(crate) fn with_slices<R>(&self, payload: &[u8], write: impl FnOnce(&[IoSlice<'_>]) -> R) -> R {
        match self {
            Inline::Zero(header) => write(&[IoSlice::new(header), IoSlice::new(payload)]),
            Inline::One(plan, _) => plan.with_slices(payload, write),
        }
    }
}

impl Conn {
    /// Judges `post` and gives the frames that the driver may write itself this moment, because nothing is
    /// queued before them. `None`: use [`post`](Conn::post). The driver then reports with
    /// [`wrote`](Conn::wrote), in the same critical section.
    pub(crate) fn inline(&mut self, post: &Post, len: usize, now: Instant) -> Result<Option<Inline>> {
        self.admit_post(post, len)?;
        if self.ops.admit().is_err() {
            // What is not taken whole would have to wait; `post` says whether this may.
            return Ok(None);
        }
        let Some(one) = &mut self.one else {
            let call = matches!(post, Post::Request(..));
            let calls_idle = !call || (self.call.is_none() && self.waiting_calls.is_empty());
            let idle = self.outbox.is_empty() && self.waiting_sends.is_empty() && calls_idle;
            let channel = post.channel();
            return Ok(idle.then(|| Inline::Zero(Header { len: len as u32, channel }.encode())));
        };
        if !self.outbox.is_empty() {
            return Ok(None);
        }
        Ok(match post {
            Post::Message(channel, with) => {
                let at = self.agreed.channels.position(*channel).unwrap_or_default();
                let plain = with.more().is_none();
                one.plan_send(at, len).filter(|_| plain).map(|plan| Inline::One(plan, at))
            }
            Post::Request(channel, with) => {
                let at = self.agreed.channels.position(*channel).unwrap_or_default();
                one.plan_ask(at, with, len, now).map(|plan| Inline::One(plan, at))
            }
            Post::Answer(answer) => one.plan_answer(*answer, len).map(|(at, plan)| Inline::One(plan, at)),
        })
    }

    /// The driver wrote `taken` bytes of what [`inline`](Conn::inline) gave; the rest is `payload`'s.
    #[allow(clippy::too_many_arguments)] // One message in one place, with what the driver knows.
    pub(crate) fn wrote(
        &mut self,
        op: OpId,
        post: &Post,
        inline: &Inline,
        len: usize,
        taken: usize,
        payload: impl FnOnce() -> Bytes,
        deadline: Option<Instant>,
    ) -> Step {
        let deadline = post.deadline(deadline);
        let step = match (inline, &mut self.one) {
            (Inline::One(plan, at), Some(one)) => match post {
                Post::Message(..) => one.wrote_send(*at, op, plan, len, taken, payload, &mut self.ops, deadline),
                Post::Request(..) => {
                    one.wrote_ask(op, *at, plan, len, taken, payload, &mut self.ops, deadline);
                    None
                }
                Post::Answer(answer) => {
                    one.wrote_answer(op, *at, *answer, plan, len, taken, payload, &mut self.ops, deadline)
                }
            },
            (Inline::Zero(header), _) => {
                let call = matches!(post, Post::Request(..));
                self.wrote_level_0(op, *header, post.channel(), len, taken, call, payload, deadline)
            }
            (Inline::One(..), None) => Some(Err(Error::new(Code::Internal, "a level-1 frame on level 0"))),
        };
        // A drain may have waited for this answer.
        self.advance();
        step
    }

    /// The same for a small message inside a cork: it joins what is gathered, and is done, or waits until it has left, or
    /// is a call that waits for its reply.
    pub(crate) fn gather(
        &mut self,
        op: OpId,
        post: &Post,
        inline: &Inline,
        payload: &[u8],
        deadline: Option<Instant>,
    ) -> Step {
        let (Inline::One(plan, at), Some(one)) = (inline, &mut self.one) else {
            return Some(Err(Error::new(Code::Internal, "a cork on level 0")));
        };
        let deadline = post.deadline(deadline);
        let waits = if one.is_done_when_gathered() { None } else { Some(op) };
        let mut waited = waits.is_some();
        match post {
            Post::Message(..) => waited = one.gathered_send(*at, plan, payload, waits),
            Post::Request(..) => {
                one.gathered_ask(op, *at, plan, payload, &mut self.ops, deadline);
                return None;
            }
            Post::Answer(answer) => one.gathered_answer(*answer, plan, payload, waits, &mut self.ops),
        }
        if waited {
            self.ops.insert(op, Kind::Send, deadline);
        }
        // A drain may have waited for this answer.
        self.advance();
        if waited { None } else { Some(Ok(Outcome::Sent)) }
    }

    /// Queues `post`; done when the carrier took all of it, or for a call with its reply.
    pub(crate) fn post(
        &mut self,
        op: OpId,
        post: Post,
        payload: Bytes,
        now: Instant,
        deadline: Option<Instant>,
    ) -> Step {
        if let Err(error) = self.admit_post(&post, payload.len()) {
            return Some(Err(error));
        }
        let deadline = post.deadline(deadline);
        let Some(one) = &mut self.one else {
            return match post {
                Post::Request(..) => self.call(op, payload, deadline),
                post => self.send(op, post.channel(), payload, deadline),
            };
        };
        match post {
            Post::Message(channel, with) => {
                let at = self.agreed.channels.position(channel).unwrap_or_default();
                one.send(at, op, payload, with, &mut self.ops, deadline)
            }
            Post::Request(channel, with) => {
                if let Err(error) = self.ops.admit() {
                    return Some(Err(error));
                }
                let at = self.agreed.channels.position(channel).unwrap_or_default();
                let ask = Ask { at, stream: false, fin: false, with };
                one.ask(Some(op), ask, payload, now, &mut self.ops, deadline).err().map(Err)
            }
            Post::Answer(answer) => one.answer(op, answer, payload, &mut self.ops, deadline),
        }
    }

    /// Whether the channel of a one-way message has no credit for it.
    pub(crate) fn lacks_credit(&self, post: &Post) -> bool {
        let Post::Message(channel, _) = post else { return false };
        let at = self.agreed.channels.position(*channel);
        at.is_some_and(|at| self.one.as_ref().is_some_and(|one| one.is_stuck(at)))
    }

    fn admit_post(&mut self, post: &Post, len: usize) -> Result<()> {
        let checked = self.check_post(post, len);
        if let (Err(error), Post::Answer(answer), Some(one)) = (&checked, post, &mut self.one)
            && error.code() == Code::CallEnded
        {
            // Wanted or not, the program has given it.
            one.release_orphan(answer.id);
        }
        checked
    }

    fn check_post(&self, post: &Post, len: usize) -> Result<()> {
        match post {
            Post::Message(channel, with) => {
                self.may_send(*channel, len)?;
                self.check_with(with)
            }
            Post::Request(channel, with) => {
                self.may_send(*channel, len)?;
                self.may_ask()?;
                if self.one.is_none() && *channel != Channel::COMMAND {
                    return Err(level_0("a call on another channel than COMMAND"));
                }
                self.check_with(with)
            }
            Post::Answer(answer) => {
                self.may_answer(answer.id)?;
                self.check_len(len)
            }
        }
    }

    fn check_with(&self, with: &With) -> Result<()> {
        let Some(more) = with.more() else { return Ok(()) };
        if self.one.is_none() && (more.idempotency.is_some() || more.trace.is_some()) {
            return Err(level_0("a key or trace"));
        }
        with.check(self.passes_fds())
    }

    /// Whether an answer to the call `id` can still leave.
    pub(super) fn may_answer(&self, id: u64) -> Result<()> {
        match &self.state {
            State::Ended(error) => Err(super::lost(error)),
            _ if self.write_dead => Err(Error::new(Code::ConnectionLost, "the other side takes no more messages")),
            _ => match &self.one {
                Some(one) if one.is_served(id) => Ok(()),
                Some(_) => Err(level1::call_ended()),
                None => Err(level_0("an answer to a call by its id")),
            },
        }
    }
}

impl Post {
    /// Whether the time has to be known to send it.
    pub(crate) fn has_deadline(&self) -> bool {
        matches!(self, Post::Message(_, with) | Post::Request(_, with) if with.deadline.is_some())
    }

    /// When its operation ends at the latest: the other side drops its reply once the deadline it was told passed.
    fn deadline(&self, own: Option<Instant>) -> Option<Instant> {
        match self {
            Post::Request(_, with) => with.deadline.into_iter().chain(own).min(),
            Post::Message(..) | Post::Answer(_) => own,
        }
    }

    fn channel(&self) -> Channel {
        match self {
            Post::Message(channel, _) | Post::Request(channel, _) => *channel,
            Post::Answer(_) => Channel::COMMAND,
        }
    }
}

/// What level 0 has no form for is refused, never emulated.
pub(super) fn level_0(what: &str) -> Error {
    Error::new(Code::Unsupported, format!("the connection is on wire level 0, which has no form for {what}"))
}
