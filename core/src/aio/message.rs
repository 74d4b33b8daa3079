//! A received message or request.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use super::driver::Driver;
use super::stream::Stream;
use crate::api::payload::Payload;
use crate::error::Result;
use crate::os::Descriptor;
use crate::proto::channel::Channel;

/// A message, or a request, and the connection it came from. It keeps its bytes alive, not the connection open.
///
/// A request ([`is_request`](Message::is_request)) is answered once, by [`reply`](Message::reply) or
/// [`fail`](Message::fail), from any task, in any order. When the last clone is dropped without an answer, its caller gets
/// `call_abandoned`. On level 0, which has no ids, nothing is a request: a call is answered by a message.
#[derive(Debug, Clone)]
pub struct Message {
    message: crate::Message,
    driver: Arc<Driver>,
}

impl Message {
    pub(super) fn new(message: crate::Message, driver: Arc<Driver>) -> Message {
        Message { message, driver }
    }

    /// The channel it arrived on.
    pub fn channel(&self) -> Channel {
        self.message.channel()
    }

    /// Its bytes; cloning them is cheap.
    pub fn payload(&self) -> &Bytes {
        self.message.payload()
    }

    /// Its bytes. A request that was not answered is abandoned, unless a clone is kept.
    pub fn into_payload(self) -> Bytes {
        self.message.into_payload()
    }

    /// Whether somebody waits for an answer.
    pub fn is_request(&self) -> bool {
        self.message.is_request()
    }

    /// The id of the call, unique in its connection; `None` for a one-way message.
    pub fn call_id(&self) -> Option<u64> {
        self.message.call_id()
    }

    /// When the caller stops waiting, by this process's clock. Give it to calls made on behalf of this one.
    pub fn deadline(&self) -> Option<Instant> {
        self.message.deadline()
    }

    /// The key under which the caller may send this call again, if it gave one.
    pub fn idempotency_key(&self) -> Option<&Bytes> {
        self.message.idempotency_key()
    }

    /// What the sender gave along to follow the message by.
    pub fn trace(&self) -> Option<&Bytes> {
        self.message.trace()
    }

    /// The descriptors that came with it; whoever takes them owns them. The rest is closed with the last clone.
    pub fn take_fds(&self) -> Vec<Descriptor> {
        self.message.take_fds()
    }

    /// Whether an answer is no longer wanted: given already, or the caller left, ran out of time, or lost the connection.
    pub fn is_cancelled(&self) -> bool {
        self.message.is_cancelled()
    }

    /// Waits until an answer is no longer wanted. `invalid_argument` for a one-way message.
    pub async fn cancelled(&self) -> Result<()> {
        self.driver.run(|context| context.call_ended(&self.message, None)).await.map(drop)
    }

    /// Answers: a call with its reply, a one-way message with a message on its channel. Returns once the kernel has all of
    /// it. `call_ended` when no answer is wanted any more, and the errors of [`Peer::send`](super::Peer::send). The
    /// answer to a call leaves even if the future is dropped after its first poll.
    pub async fn reply(&self, payload: impl Payload) -> Result<()> {
        self.driver.run(|context| context.reply(&self.message, payload, None)).await.map(drop)
    }

    /// Answers a call with an error of the program's: `code` and `data` reach the caller as `remote_error`.
    /// `unsupported` on level 0, `invalid_argument` for a one-way message, else as of [`reply`](Message::reply).
    pub async fn fail(&self, code: u32, data: impl Payload) -> Result<()> {
        self.driver.run(|context| context.fail(&self.message, code, data, None)).await.map(drop)
    }

    /// The stream this request opened: items both ways until it is answered. `None` if it opened none.
    pub fn stream(&self) -> Option<Stream> {
        Some(Stream::new(self.message.stream()?, self.driver.clone()))
    }
}
