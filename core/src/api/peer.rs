//! The other side of a connection.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::addr::Address;
use crate::api::call::Call;
use crate::api::info::Info;
use crate::api::message::Message;
use crate::api::options::ConnectOptions;
use crate::api::payload::Payload;
use crate::api::stats::Stats;
use crate::api::wait::Wait;
use crate::driver::lane::{self, Lane};
use crate::error::{Code, Error, Result};
use crate::os::socket::{self, Dial};
use crate::proto::Outcome;
use crate::proto::channel::Channel;

/// An open connection to another process.
///
/// All methods take `&self` and may be called from many threads at once; messages never interleave.
/// In blocking use bytes move, and the other side's pings are answered, while some thread is inside
/// a call on the peer. Dropping the peer closes the connection.
///
/// Any call may give `closed`, `forked`, `wrong_driver`, or the error that ended the connection.
#[derive(Debug)]
pub struct Peer {
    lane: Arc<Lane>,
}

impl Peer {
    /// Connects with the default options and shakes hands.
    ///
    /// `invalid_address`, `not_found`, `connection_refused`, `permission_denied`, `not_a_socket`,
    /// `timeout`, or the reason the server gives for refusing.
    pub fn connect<'a>(address: &str, wait: impl Into<Wait<'a>>) -> Result<Peer> {
        Peer::connect_with(&address.parse()?, &ConnectOptions::default(), wait)
    }

    /// Connects and shakes hands. Beside the errors of [`connect`](Peer::connect):
    /// `invalid_argument` for options outside their limits, `unsupported` for an address form this
    /// build does not carry, `authentication_required` for an abstract address without `allow_uids`.
    pub fn connect_with<'a>(address: &Address, options: &ConnectOptions, wait: impl Into<Wait<'a>>) -> Result<Peer> {
        let mut wait = wait.into();
        let dial = Dial::new(address, &options.common)?;
        let mut connected = dial.attempt()?;
        while !connected {
            if wait.deadline.is_some_and(|d| d <= Instant::now()) {
                return Err(Error::new(Code::Timeout, "the deadline passed while the server's backlog was full"));
            }
            connected = match dial.attempt_blocking(wait.deadline) {
                Err(e) if e.code() == Code::Interrupted && wait.interrupted().is_continue() => false,
                attempt => attempt?,
            };
        }
        let allowed = socket::allowed_uids(address, &options.common);
        let made = lane::connected(dial.into_socket(), address.to_string(), &options.common, allowed.as_deref())?;
        let lane = made.into_direct();
        lane.run(wait, |conn, op| conn.open(op, None))?;
        Ok(Peer::of(lane))
    }

    pub(crate) fn of(lane: Arc<Lane>) -> Peer {
        Peer { lane }
    }

    pub(crate) fn lane(&self) -> &Arc<Lane> {
        &self.lane
    }

    /// Has the process's I/O thread move this connection's bytes while no call on it does: the other side's
    /// pings are answered, its messages collected up to [`RECV_QUEUE`](crate::limits::RECV_QUEUE), and its
    /// end is noticed, whatever the program does meanwhile. Blocking calls cost about the same as before. The
    /// thread, named `hostlane-io`, is one per process, runs nothing of the program's and takes no signals.
    ///
    /// Idempotent. `wrong_driver` for a peer of a context, `too_many_files`, and the system's error when no
    /// thread can be started.
    pub fn attach(&self) -> Result<()> {
        self.lane.attach()
    }

    /// Sends one message; returns once the kernel has all of it.
    ///
    /// `invalid_channel`, `payload_too_large`, `connection_lost`. `timeout` before the first byte
    /// left: nothing was sent and the connection is intact; inside the message: the connection is
    /// closed, since half a message can only be finished or abandoned with its connection.
    pub fn send<'a>(&self, channel: Channel, payload: impl Payload, wait: impl Into<Wait<'a>>) -> Result<()> {
        self.lane.send(channel, payload, wait.into())
    }

    /// Receives the oldest message of any channel.
    ///
    /// `timeout` (nothing is lost, call again). After the last message `peer_closed`, `truncated` or
    /// `connection_lost`, depending on how the other side ended.
    pub fn recv<'a>(&self, wait: impl Into<Wait<'a>>) -> Result<Message> {
        self.receive(None, wait.into())
    }

    /// Receives the oldest message of one channel; the others keep theirs, in order. `invalid_channel`.
    pub fn recv_on<'a>(&self, channel: Channel, wait: impl Into<Wait<'a>>) -> Result<Message> {
        self.receive(Some(channel), wait.into())
    }

    fn receive(&self, channel: Option<Channel>, wait: Wait<'_>) -> Result<Message> {
        match self.lane.run(wait, |conn, op| conn.recv(op, channel, None))? {
            Outcome::Message(channel, payload) => Ok(Message::new(channel, payload, self.lane.clone())),
            _ => Err(unexpected()),
        }
    }

    /// Starts a call on the COMMAND channel. Never waits: a level-0 connection carries one call at a
    /// time, so later ones queue here, in order. `queue_full` above
    /// [`MAX_CALLS`](crate::limits::MAX_CALLS), and the errors of [`send`](Peer::send).
    pub fn request(&self, payload: impl Payload) -> Result<Call> {
        let op = self.lane.start_call(payload)?;
        Ok(Call::new(self.lane.clone(), op))
    }

    /// Measures a round trip through the other side's protocol engine. `timeout`, or `queue_full`
    /// above [`PING_RATE`](crate::limits::PING_RATE).
    pub fn ping<'a>(&self, wait: impl Into<Wait<'a>>) -> Result<Duration> {
        let now = Instant::now();
        match self.lane.run(wait.into(), |conn, op| conn.ping(op, now, None))? {
            Outcome::Pong(rtt) => Ok(rtt),
            _ => Err(unexpected()),
        }
    }

    /// Ends the connection in order: no new sends, calls in flight finish, the other side is told and
    /// agrees. What was received before stays readable. `timeout`: closed without its agreement.
    pub fn drain<'a>(&self, wait: impl Into<Wait<'a>>) -> Result<()> {
        self.lane.run(wait.into(), |conn, op| conn.drain(op, None)).map(drop)
    }

    /// Ends the connection now. Idempotent; never waits; wakes every waiting call with `closed`.
    /// Messages not yet received are dropped. Does nothing in a forked child.
    pub fn close(&self) {
        self.lane.close();
    }

    /// Who the other side is and what was agreed.
    pub fn info(&self) -> Result<Info> {
        self.lane.info()
    }

    /// Counters and queue depths, also after the end.
    pub fn stats(&self) -> Result<Stats> {
        self.lane.stats()
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.lane.close();
    }
}

pub(crate) fn unexpected() -> Error {
    Error::new(Code::Internal, "an operation ended as another kind")
}
