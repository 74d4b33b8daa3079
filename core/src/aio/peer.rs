//! The other side of a connection.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::call::Call;
use super::driver::Driver;
use super::message::Message;
use super::stream::Stream;
use crate::addr::Address;
use crate::api::batch::Batch;
use crate::api::call::CallOptions;
use crate::api::info::Info;
use crate::api::options::ConnectOptions;
use crate::api::payload::Payload;
use crate::api::peer::{Cork, unexpected};
use crate::api::stats::Stats;
use crate::driver::context::Outcome;
use crate::error::Result;
use crate::proto::channel::Channel;

/// Connects with the default options and shakes hands. Errors as of [`Peer::connect`](crate::Peer::connect) elsewhere, and
/// `wrong_driver` outside of a runtime. Dropping the future gives the connection up.
pub async fn connect(address: &str) -> Result<Peer> {
    connect_with(&address.parse()?, &ConnectOptions::default()).await
}

/// Connects and shakes hands. Errors as of [`Peer::connect_with`](crate::Peer::connect_with) elsewhere, and `wrong_driver`
/// outside of a runtime.
pub async fn connect_with(address: &Address, options: &ConnectOptions) -> Result<Peer> {
    let driver = Driver::current()?;
    match driver.run(|context| context.connect(address, options, None)).await? {
        Outcome::Connected(peer) => Ok(Peer::new(peer, driver)),
        _ => Err(unexpected()),
    }
}

/// An open connection to another process.
///
/// All methods take `&self` and may be used from many tasks at once; messages never interleave. Dropping the peer
/// closes the connection. Any call may give `closed`, `forked`, or the error that ended the connection.
#[derive(Debug)]
pub struct Peer {
    peer: crate::Peer,
    driver: Arc<Driver>,
}

impl Peer {
    pub(super) fn new(peer: crate::Peer, driver: Arc<Driver>) -> Peer {
        if peer.lane().peek(|conn| conn.has_keepalive()) {
            driver.attend();
        }
        Peer { peer, driver }
    }

    /// Sends one message; returns once the kernel has all of it. `invalid_channel`, `payload_too_large`,
    /// `connection_lost`. Dropped before the first byte left, nothing is sent; after that the message is finished.
    pub async fn send(&self, channel: Channel, payload: impl Payload) -> Result<()> {
        self.driver.run(|context| context.send(&self.peer, channel, payload, None)).await.map(drop)
    }

    /// Sends one message with what `options` says; its channel is DATA unless they name one. Errors as of
    /// [`send`](Peer::send), and `unsupported` for what the connection has no form for.
    pub async fn send_with(&self, payload: impl Payload, options: CallOptions) -> Result<()> {
        self.driver.run(|context| context.send_with(&self.peer, payload, options, None)).await.map(drop)
    }

    /// Gathers what is sent, requested and replied, by whatever task, until the cork is dropped, and then writes it in one
    /// go. Meanwhile [`send`](Peer::send) and [`reply`](Message::reply) return once a message is queued, as long as less than
    /// [`CHANNEL_QUEUE`](crate::limits::CHANNEL_QUEUE) of its channel is. Without effect on level 0.
    pub fn cork(&self) -> Cork<'_> {
        self.peer.cork()
    }

    /// Receives the oldest message of any channel. After the last message `peer_closed`, `truncated` or
    /// `connection_lost`, depending on how the other side ended. No message is lost with a future that is dropped.
    pub async fn recv(&self) -> Result<Message> {
        self.receive(None).await
    }

    /// Receives the oldest message of one channel; the others keep theirs, in order. `invalid_channel`.
    pub async fn recv_on(&self, channel: Channel) -> Result<Message> {
        self.receive(Some(channel)).await
    }

    async fn receive(&self, channel: Option<Channel>) -> Result<Message> {
        loop {
            match self.driver.run(|context| context.poll_recv(&self.peer, channel, None)).await? {
                Outcome::Message(message) => return Ok(Message::new(message, self.driver.clone())),
                Outcome::Readable => {}
                _ => return Err(unexpected()),
            }
        }
    }

    /// Receives all that is there, at most `most` messages, waiting for the first. Errors as of [`recv`](Peer::recv).
    pub async fn recv_batch(&self, batch: &mut Batch, most: usize) -> Result<()> {
        loop {
            self.peer.try_recv_batch(batch, most)?;
            if !batch.is_empty() {
                return Ok(());
            }
            self.driver.run(|context| context.readable(&self.peer, None)).await?;
        }
    }

    /// Starts a call on the COMMAND channel. Never waits. Any number may be open; those above what the other side serves
    /// at a time, and on level 0 all but one, queue here, in order. `queue_full` above
    /// [`MAX_CALLS`](crate::limits::MAX_CALLS) queued ones, and the errors of [`send`](Peer::send).
    pub fn start(&self, payload: impl Payload) -> Result<Call> {
        self.start_with(payload, CallOptions::new())
    }

    /// Starts a call with what `options` says. A deadline among it is told to the other side, and ends the call with
    /// `timeout` here.
    pub fn start_with(&self, payload: impl Payload, options: CallOptions) -> Result<Call> {
        let deadline = options.told_deadline();
        let op = self.driver.begin(|context| context.request_with(&self.peer, payload, options, deadline))?;
        Ok(Call::new(self.driver.clone(), op))
    }

    /// Calls and waits for the reply, for `limit` at most; the other side is told so. Errors as of
    /// [`start`](Peer::start) and [`Call`].
    pub async fn request(&self, payload: impl Payload, limit: Duration) -> Result<Message> {
        let options = match Instant::now().checked_add(limit) {
            Some(at) => CallOptions::new().deadline(at),
            None => CallOptions::new(),
        };
        self.start_with(payload, options)?.await
    }

    /// Opens a stream: a call with many messages both ways. Never waits. `unsupported` on level 0, else as of
    /// [`start`](Peer::start).
    pub fn open_stream(&self, payload: impl Payload, options: CallOptions) -> Result<Stream> {
        Ok(Stream::new(self.peer.open_stream(payload, options)?, self.driver.clone()))
    }

    /// Measures a round trip through the other side's protocol engine. `queue_full` above
    /// [`PING_RATE`](crate::limits::PING_RATE).
    pub async fn ping(&self) -> Result<Duration> {
        match self.driver.run(|context| context.ping(&self.peer, None)).await? {
            Outcome::Pong(rtt) => Ok(rtt),
            _ => Err(unexpected()),
        }
    }

    /// Ends the connection in order: no new sends, calls in flight finish, the other side is told and agrees. What was
    /// received before stays readable. Dropping the future closes the connection without the other side's agreement.
    pub async fn drain(&self) -> Result<()> {
        self.driver.run(|context| context.drain(&self.peer, None)).await.map(drop)
    }

    /// Ends the connection now. Idempotent; never waits; everything that waits on it ends with `closed`.
    /// Messages not yet received are dropped.
    pub fn close(&self) {
        self.peer.close();
    }

    /// Whether the connection has not ended, as far as this side has noticed.
    pub fn is_open(&self) -> bool {
        self.peer.is_open()
    }

    /// Who the other side is and what was agreed.
    pub fn info(&self) -> Result<Info> {
        self.peer.info()
    }

    /// Counters and queue depths, also after the end.
    pub fn stats(&self) -> Result<Stats> {
        self.peer.stats()
    }
}
