//! A call with many messages in both directions.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::api::message::Ticket;
use crate::api::payload::Payload;
use crate::api::peer::unexpected;
use crate::api::wait::Wait;
use crate::driver::lane::Lane;
use crate::driver::lock;
use crate::driver::sync::Mutex;
use crate::error::Result;
use crate::proto::Outcome;

/// The items of one call, in both directions, each with a credit of its own: a stream nobody reads stops nobody else.
///
/// Its caller gets it from [`Peer::open_stream`](crate::Peer::open_stream), the other side from
/// [`Message::stream`](crate::Message::stream). All methods take `&self`; one thread may send while another receives.
/// Dropped by its caller, the call is given up unless it has ended; on the other side the duty to answer stays with the
/// [`Message`](crate::Message).
pub struct Stream {
    lane: Arc<Lane>,
    id: u64,
    /// The other side's call, kept until it is answered.
    ticket: Option<Arc<Ticket>>,
    reply: Mutex<Option<Bytes>>,
}

impl Stream {
    /// Of a call of this side.
    pub(crate) fn calling(lane: Arc<Lane>, id: u64) -> Stream {
        Stream { lane, id, ticket: None, reply: Mutex::default() }
    }

    /// Of a call of the other side.
    pub(crate) fn serving(ticket: Arc<Ticket>) -> Stream {
        Stream { lane: ticket.lane.clone(), id: ticket.request.id, ticket: Some(ticket), reply: Mutex::default() }
    }

    pub(crate) fn lane(&self) -> &Arc<Lane> {
        &self.lane
    }

    /// The id of its call, unique in its connection.
    pub fn call_id(&self) -> u64 {
        self.id
    }

    /// Sends an item; waits for credit, and until the kernel has all of it. `call_ended` when the call is over,
    /// `invalid_argument` after [`finish`](Stream::finish), `payload_too_large`, `timeout` (an item that had not begun
    /// is withdrawn), `connection_lost`.
    pub fn send<'a>(&self, item: impl Payload, wait: impl Into<Wait<'a>>) -> Result<()> {
        let item = item.into_bytes();
        self.lane.run(wait.into(), |conn, op| conn.stream_send(op, self.id, item, false, None)).map(drop)
    }

    /// Says that this side sends no more. The other direction goes on. Errors as of [`send`](Stream::send).
    pub fn finish<'a>(&self, wait: impl Into<Wait<'a>>) -> Result<()> {
        self.lane.run(wait.into(), |conn, op| conn.stream_send(op, self.id, Bytes::new(), true, None)).map(drop)
    }

    /// The next item. `None` at the end: for the caller that of the call, whose reply is then in
    /// [`reply`](Stream::reply); for the other side the caller's [`finish`](Stream::finish).
    ///
    /// `remote_error` when the program at the other end failed the call, `call_ended`, `timeout` (nothing is lost),
    /// `connection_lost` after the items that had arrived.
    pub fn recv<'a>(&self, wait: impl Into<Wait<'a>>) -> Result<Option<Bytes>> {
        match self.lane.run(wait.into(), |conn, op| conn.stream_recv(op, self.id, None))? {
            Outcome::Item(item) => Ok(Some(item)),
            Outcome::StreamEnd(reply) => {
                self.keep_reply(reply);
                Ok(None)
            }
            _ => Err(unexpected()),
        }
    }

    /// The reply that ended the call, for its caller, after [`recv`](Stream::recv) gave `None`.
    /// `None` in a forked child.
    pub fn reply(&self) -> Option<Bytes> {
        self.lane.check().ok().and_then(|()| lock(&self.reply).clone())
    }

    /// What dropping it does, now: for its caller the call is given up unless it has ended, and whoever waits in it gets
    /// `cancelled`. Idempotent; without effect on the other side, whose [`Message`](crate::Message) answers.
    pub fn close(&self) {
        if self.ticket.is_none() {
            self.lane.with(|conn| conn.drop_stream(self.id));
        }
    }

    pub(crate) fn keep_reply(&self, reply: Option<Bytes>) {
        if reply.is_some() {
            *lock(&self.reply) = reply;
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.close();
    }
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("call", &self.id).field("serving", &self.ticket.is_some()).finish()
    }
}
