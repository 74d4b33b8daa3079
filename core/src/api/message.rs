//! A received message or request.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use bytes::Bytes;

use crate::api::payload::Payload;
use crate::api::stream::Stream;
use crate::api::wait::Wait;
use crate::driver::lane::Lane;
use crate::driver::lock;
use crate::driver::sync::Mutex;
use crate::error::{Code, Error, Result};
use crate::os::Descriptor;
use crate::proto::channel::Channel;
use crate::proto::conn::Post;
use crate::proto::level1::{Answer, Delivery, Extra, Request, With};

/// A message, or a request, and the connection it came from. It keeps its bytes alive, not the connection open.
///
/// A request ([`is_request`](Message::is_request)) is answered once, by [`reply`](Message::reply) or
/// [`fail`](Message::fail), from any thread, in any order. When the last clone is dropped without an answer, its caller gets
/// `call_abandoned`. On level 0, which has no ids, nothing is a request: a call is answered by a message.
#[derive(Clone)]
pub struct Message {
    channel: Channel,
    payload: Bytes,
    trace: Option<Bytes>,
    /// Few messages have any.
    fds: Option<Arc<Mutex<Vec<Descriptor>>>>,
    lane: Arc<Lane>,
    ticket: Option<Arc<Ticket>>,
}

/// The duty to answer a call.
pub(crate) struct Ticket {
    pub(crate) lane: Arc<Lane>,
    pub(crate) request: Request,
    answered: AtomicBool,
}

impl Ticket {
    pub(crate) fn new(lane: Arc<Lane>, request: Request, answered: bool) -> Arc<Ticket> {
        Arc::new(Ticket { lane, request, answered: AtomicBool::new(answered) })
    }

    /// The answer that settles it.
    pub(crate) fn answer(&self, status: Option<u32>) -> Post {
        self.answered.store(true, Ordering::Relaxed);
        Post::Answer(Answer { id: self.request.id, status })
    }

    /// After an answer that was refused the duty stays.
    pub(crate) fn settled<T>(&self, result: Result<T>) -> Result<T> {
        self.answered.fetch_and(result.is_ok(), Ordering::Relaxed);
        result
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.answered.load(Ordering::Relaxed) {
            let id = self.request.id;
            self.lane.with(|conn| conn.abandon_served(id));
        }
    }
}

impl Message {
    pub(crate) fn new(delivery: Delivery, lane: Arc<Lane>) -> Message {
        let Delivery { channel, payload, extra } = delivery;
        let Some(extra) = extra else { return Message::plain(channel, payload, lane) };
        let Extra { request, trace, fds } = *extra;
        let ticket = request.map(|request| Ticket::new(lane.clone(), request, false));
        let fds = (!fds.is_empty()).then(|| Arc::new(Mutex::new(fds)));
        Message { channel, payload, trace, fds, lane, ticket }
    }

    /// One that wants no answer and has nothing but its bytes.
    pub(crate) fn plain(channel: Channel, payload: Bytes, lane: Arc<Lane>) -> Message {
        Message { channel, payload, trace: None, fds: None, lane, ticket: None }
    }

    pub(crate) fn of_batch(self, ticket: Option<Arc<Ticket>>, trace: Option<Bytes>) -> Message {
        Message { ticket, trace, ..self }
    }

    pub(crate) fn lane(&self) -> &Arc<Lane> {
        &self.lane
    }

    /// The channel it arrived on.
    pub fn channel(&self) -> Channel {
        self.channel
    }

    /// Its bytes; cloning them is cheap.
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// Its bytes. A request that was not answered is abandoned, unless a clone is kept.
    pub fn into_payload(self) -> Bytes {
        self.payload
    }

    /// Takes its bytes out; what is left can still be answered.
    pub fn take_payload(&mut self) -> Bytes {
        std::mem::take(&mut self.payload)
    }

    /// Whether somebody waits for an answer.
    pub fn is_request(&self) -> bool {
        self.ticket.is_some()
    }

    /// The id of the call, unique in its connection; `None` for a one-way message.
    pub fn call_id(&self) -> Option<u64> {
        self.ticket.as_ref().map(|t| t.request.id)
    }

    /// When the caller stops waiting, by this process's clock; counted from the arrival. Give it to calls made on behalf
    /// of this one, so that nobody works for a caller who has left.
    pub fn deadline(&self) -> Option<Instant> {
        self.ticket.as_ref()?.request.deadline
    }

    /// The key under which the caller may send this call again, if it gave one.
    pub fn idempotency_key(&self) -> Option<&Bytes> {
        self.ticket.as_ref()?.request.idempotency.as_ref()
    }

    /// What the sender gave along to follow the message by.
    pub fn trace(&self) -> Option<&Bytes> {
        self.trace.as_ref()
    }

    /// The descriptors that came with it; whoever takes them owns them. The rest is closed with the last clone.
    /// None in a forked child.
    pub fn take_fds(&self) -> Vec<Descriptor> {
        self.own_fds().map(|fds| std::mem::take(&mut *lock(fds))).unwrap_or_default()
    }

    /// Whether descriptors came with it that nobody has taken.
    pub fn has_fds(&self) -> bool {
        self.own_fds().is_some_and(|fds| !lock(fds).is_empty())
    }

    /// A forked child could find them locked by another thread of its parent.
    fn own_fds(&self) -> Option<&Arc<Mutex<Vec<Descriptor>>>> {
        self.fds.as_ref().filter(|_| self.lane.check().is_ok())
    }

    /// Whether this request opened a [`stream`](Message::stream).
    pub fn is_stream(&self) -> bool {
        self.ticket.as_ref().is_some_and(|t| t.request.stream)
    }

    /// Whether an answer is no longer wanted: given already, or the caller left, ran out of time, or lost the connection.
    /// Looks at what has arrived, without waiting. Always `false` for a one-way message.
    pub fn is_cancelled(&self) -> bool {
        self.ticket.as_ref().is_some_and(|t| {
            t.lane.look();
            !t.lane.peek(|conn| conn.is_served(t.request.id))
        })
    }

    /// Waits until an answer is no longer wanted. `timeout`, `interrupted`, `wrong_driver`; `invalid_argument` for a one-way
    /// message.
    pub fn wait_cancelled<'a>(&self, wait: impl Into<Wait<'a>>) -> Result<()> {
        let ticket = self.ticket()?;
        let id = ticket.request.id;
        ticket.lane.run(wait.into(), |conn, op| conn.watch(op, id, None)).map(drop)
    }

    /// Answers: a call with its reply, a one-way message with a message on its channel. Returns once the kernel has all of
    /// it. `call_ended` when no answer is wanted any more, and the errors of [`Peer::send`](crate::Peer::send).
    pub fn reply<'a>(&self, payload: impl Payload, wait: impl Into<Wait<'a>>) -> Result<()> {
        self.settled(self.lane.send(self.answer(), payload, wait.into()))
    }

    /// Answers a call with an error of the program's: `code` and `data` reach the caller as `remote_error`.
    /// `unsupported` on level 0, `invalid_argument` for a one-way message, else as of [`reply`](Message::reply).
    pub fn fail<'a>(&self, code: u32, data: impl Payload, wait: impl Into<Wait<'a>>) -> Result<()> {
        self.settled(self.lane.send(self.failure(code)?, data, wait.into()))
    }

    pub(crate) fn settled<T>(&self, result: Result<T>) -> Result<T> {
        match &self.ticket {
            Some(ticket) => ticket.settled(result),
            None => result,
        }
    }

    /// The stream this request opened: items both ways until it is answered. `None` if it opened none.
    pub fn stream(&self) -> Option<Stream> {
        let ticket = self.ticket.as_ref().filter(|t| t.request.stream)?;
        Some(Stream::serving(ticket.clone()))
    }

    pub(crate) fn answer(&self) -> Post {
        match &self.ticket {
            Some(ticket) => ticket.answer(None),
            None => Post::Message(self.channel, With::default()),
        }
    }

    pub(crate) fn failure(&self, code: u32) -> Result<Post> {
        Ok(self.ticket()?.answer(Some(code)))
    }

    pub(crate) fn ticket(&self) -> Result<&Arc<Ticket>> {
        if let Some(ticket) = &self.ticket {
            return Ok(ticket);
        }
        self.lane.check()?;
        Err(match self.lane.level() {
            0 => {
                Error::new(Code::Unsupported, "the connection is on wire level 0, which has no form for failing a call")
            }
            _ => Error::new(Code::InvalidArgument, "a one-way message wants no answer"),
        })
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message")
            .field("channel", &self.channel)
            .field("len", &self.payload.len())
            .field("call", &self.call_id())
            .finish()
    }
}
