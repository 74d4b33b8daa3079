//! A call with many messages in both directions.

use std::sync::Arc;

use bytes::Bytes;

use super::driver::Driver;
use crate::api::payload::Payload;
use crate::api::peer::unexpected;
use crate::driver::context::Outcome;
use crate::error::Result;

/// The items of one call, in both directions, each with a credit of its own: a stream nobody reads stops nobody else.
///
/// Its caller gets it from [`Peer::open_stream`](super::Peer::open_stream), the other side from
/// [`Message::stream`](super::Message::stream). One task may send while another receives. Dropped by its caller, the call is
/// given up unless it has ended; on the other side the duty to answer stays with the [`Message`](super::Message).
#[derive(Debug)]
pub struct Stream {
    stream: crate::Stream,
    driver: Arc<Driver>,
}

impl Stream {
    pub(super) fn new(stream: crate::Stream, driver: Arc<Driver>) -> Stream {
        Stream { stream, driver }
    }

    /// The id of its call, unique in its connection.
    pub fn call_id(&self) -> u64 {
        self.stream.call_id()
    }

    /// Sends an item; waits for credit, and until the kernel has all of it. `call_ended` when the call is over,
    /// `invalid_argument` after [`finish`](Stream::finish), `payload_too_large`, `connection_lost`. Dropped before the item
    /// has begun to leave, the item is withdrawn.
    pub async fn send(&self, item: impl Payload) -> Result<()> {
        self.driver.run(|context| context.stream_send(&self.stream, item, None)).await.map(drop)
    }

    /// Says that this side sends no more. The other direction goes on. Errors as of [`send`](Stream::send).
    pub async fn finish(&self) -> Result<()> {
        self.driver.run(|context| context.stream_finish(&self.stream, None)).await.map(drop)
    }

    /// The next item. `None` at the end: for the caller that of the call, whose reply is then in
    /// [`reply`](Stream::reply); for the other side the caller's [`finish`](Stream::finish). No item is lost with a
    /// future that is dropped.
    ///
    /// `remote_error` when the program at the other end failed the call, `call_ended`, `connection_lost` after the items
    /// that had arrived.
    pub async fn recv(&self) -> Result<Option<Bytes>> {
        loop {
            match self.driver.run(|context| context.poll_stream_recv(&self.stream, None)).await? {
                Outcome::Item(item) => return Ok(Some(item)),
                Outcome::StreamEnd(reply) => {
                    self.stream.keep_reply(reply);
                    return Ok(None);
                }
                Outcome::Readable => {}
                _ => return Err(unexpected()),
            }
        }
    }

    /// The reply that ended the call, for its caller, after [`recv`](Stream::recv) gave `None`.
    pub fn reply(&self) -> Option<Bytes> {
        self.stream.reply()
    }
}
