//! Many small messages at once.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use bytes::Bytes;

use crate::api::message::{Message, Ticket};
use crate::api::payload::Payload;
use crate::api::peer::unexpected;
use crate::api::wait::Wait;
use crate::driver::lane::Lane;
use crate::error::Result;
use crate::proto::channel::Channel;
use crate::proto::conn::Post;
use crate::proto::level1::{Answer, Body, Delivery, Extra, Request, With};

/// Messages received in one go, one behind the other in one buffer that is used again.
///
/// Filled by [`Peer::recv_batch`](crate::Peer::recv_batch). Requests in it are answered through
/// [`BatchMessage::reply`] or, taken out, [`BatchMessage::to_message`]; those never answered are abandoned when the batch
/// is filled again or dropped. Descriptors that came with a message are closed.
#[derive(Default)]
pub struct Batch {
    bytes: Vec<u8>,
    items: Vec<Item>,
    lane: Option<Arc<Lane>>,
}

struct Item {
    channel: Channel,
    end: usize,
    extra: Option<Box<Extra>>,
    /// It needs no answer any more, or its ticket knows.
    settled: AtomicBool,
    /// The duty to answer, once the program took it out as a message.
    ticket: OnceLock<Arc<Ticket>>,
}

/// One message of a [`Batch`].
#[derive(Clone, Copy)]
pub struct BatchMessage<'a> {
    batch: &'a Batch,
    at: usize,
}

impl Batch {
    /// An empty batch.
    pub fn new() -> Batch {
        Batch::default()
    }

    pub(crate) fn reset(&mut self, lane: &Arc<Lane>) {
        self.clear();
        self.lane = Some(lane.clone());
    }

    pub(crate) fn push(&mut self, channel: Channel, payload: &[u8], mut extra: Option<Box<Extra>>) {
        extra.iter_mut().for_each(|extra| extra.fds = Vec::new());
        self.bytes.extend_from_slice(payload);
        let end = self.bytes.len();
        let (settled, ticket) = (AtomicBool::new(false), OnceLock::new());
        self.items.push(Item { channel, end, extra, settled, ticket });
    }

    /// Lets its messages go; their memory is kept for the next ones.
    pub fn clear(&mut self) {
        self.bytes.clear();
        let lane = self.lane.take();
        for item in self.items.drain(..) {
            if let (Some(lane), Some(request), false) = (&lane, item.request(), item.settled.load(Ordering::Relaxed)) {
                lane.with(|conn| conn.abandon_served(request.id));
            }
        }
    }

    /// Number of messages.
    pub fn len(&self) -> usize {
        self.items.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.items.is_empty()
    }

    /// Bytes of all payloads.
    pub fn bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The messages, oldest first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = BatchMessage<'_>> {
        (0..self.items.len()).map(|at| BatchMessage { batch: self, at })
    }
}

impl Drop for Batch {
    fn drop(&mut self) {
        self.clear();
    }
}

impl Item {
    fn request(&self) -> Option<&Request> {
        self.extra.as_ref()?.request.as_ref()
    }
}

impl<'a> BatchMessage<'a> {
    /// The channel it arrived on.
    pub fn channel(&self) -> Channel {
        self.item().channel
    }

    /// Its bytes.
    pub fn payload(&self) -> &'a [u8] {
        let start = self.at.checked_sub(1).map_or(0, |before| self.batch.items[before].end);
        &self.batch.bytes[start..self.item().end]
    }

    /// Whether somebody waits for an answer.
    pub fn is_request(&self) -> bool {
        self.item().request().is_some()
    }

    /// Answers it as [`Message::reply`] does; inside a [cork](crate::Peer::cork) many answers leave in one write.
    pub fn reply<'w>(&self, payload: impl Payload, wait: impl Into<Wait<'w>>) -> Result<()> {
        let Some(lane) = &self.batch.lane else { return Err(unexpected()) };
        let item = self.item();
        match (item.request(), item.ticket.get()) {
            (_, Some(ticket)) => ticket.settled(lane.send(ticket.answer(None), payload, wait.into())),
            (Some(request), None) => {
                let result = lane.send(Post::Answer(Answer { id: request.id, status: None }), payload, wait.into());
                // An answer that was refused is still owed.
                item.settled.fetch_or(result.is_ok(), Ordering::Relaxed);
                result
            }
            (None, None) => lane.send(Post::Message(self.channel(), With::default()), payload, wait.into()),
        }
    }

    /// What the sender gave along to follow the message by.
    pub fn trace(&self) -> Option<&'a Bytes> {
        self.item().extra.as_ref()?.trace.as_ref()
    }

    /// A message of its own, with a copy of the bytes.
    pub fn to_message(&self) -> Option<Message> {
        self.message(Bytes::copy_from_slice(self.payload()))
    }

    /// The request to answer, without its bytes; `None` for a one-way message.
    pub fn to_request(&self) -> Option<Message> {
        self.is_request().then(|| self.message(Bytes::new())).flatten()
    }

    fn message(&self, payload: Bytes) -> Option<Message> {
        let lane = self.batch.lane.clone()?;
        let ticket = self.item().request().map(|request| {
            let ticket = self.item().ticket.get_or_init(|| {
                Ticket::new(lane.clone(), request.clone(), self.item().settled.swap(true, Ordering::Relaxed))
            });
            ticket.clone()
        });
        Some(Message::plain(self.channel(), payload, lane).of_batch(ticket, self.trace().cloned()))
    }

    fn item(&self) -> &'a Item {
        &self.batch.items[self.at]
    }
}

/// One message of [`Peer::recv_into`](crate::Peer::recv_into).
#[derive(Debug)]
pub struct Placed {
    /// The channel it arrived on.
    pub channel: Channel,
    /// Where its bytes are in the buffer; `None` when there was no room, and the message has them.
    pub at: Option<usize>,
    /// Its length in bytes.
    pub len: usize,
    /// What is left to do with it: a request to answer, a trace or descriptors to take, or bytes that found no room.
    /// Its payload is empty when the bytes are in the buffer.
    pub message: Option<Message>,
}

/// The caller's memory while a batch is received into it.
pub(crate) struct Room<'a> {
    buffer: &'a mut [u8],
    used: usize,
    lane: &'a Arc<Lane>,
    most: usize,
    placed: Vec<Placed>,
}

impl<'a> Room<'a> {
    pub(crate) fn new(buffer: &'a mut [u8], lane: &'a Arc<Lane>, most: usize) -> Room<'a> {
        Room { buffer, used: 0, lane, most, placed: Vec::new() }
    }

    /// Keeps a message; says whether there is room for one more.
    pub(crate) fn place(&mut self, channel: Channel, body: Body<'_>, extra: Option<Box<Extra>>) -> bool {
        let len = body.len();
        let at = self.buffer.get_mut(self.used..).and_then(|rest| rest.get_mut(..len)).map(|place| {
            place.copy_from_slice(body.as_slice());
            self.used
        });
        self.used += at.map_or(0, |_| len);
        let message = (at.is_none() || extra.is_some()).then(|| {
            let payload = if at.is_some() { Bytes::new() } else { body.into_bytes() };
            Message::new(Delivery { channel, payload, extra }, self.lane.clone())
        });
        self.placed.push(Placed { channel, at, len, message });
        at.is_some() && self.placed.len() < self.most
    }

    pub(crate) fn into_placed(self) -> Vec<Placed> {
        self.placed
    }
}

impl fmt::Debug for Batch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Batch").field("messages", &self.items.len()).field("bytes", &self.bytes.len()).finish()
    }
}

impl fmt::Debug for BatchMessage<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BatchMessage").field("channel", &self.channel()).field("len", &self.payload().len()).finish()
    }
}
