//! The other side of a connection.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::addr::Address;
use crate::api::batch::{Batch, Placed, Room};
use crate::api::call::{Call, CallOptions};
use crate::api::info::Info;
use crate::api::message::Message;
use crate::api::options::ConnectOptions;
use crate::api::payload::Payload;
use crate::api::stats::Stats;
use crate::api::stream::Stream;
use crate::api::wait::Wait;
use crate::driver::lane::{self, Lane};
use crate::error::{Code, Error, Result};
use crate::log::Scope;
use crate::os::dial::Dial;
use crate::os::trust;
use crate::proto::Outcome;
use crate::proto::channel::Channel;
use crate::proto::conn::Post;
use crate::proto::level1::With;

/// An open connection to another process.
///
/// All methods take `&self` and may be called from many threads at once; messages never interleave.
/// In blocking use bytes move, and the other side's pings are answered, while some thread is inside
/// a call on the peer, or always after [`attach`](Peer::attach). Dropping the peer closes the connection.
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

    /// Connects and shakes hands; an address in a text is parsed first, `&"lane".parse()?`. Beside the errors of [`connect`](Peer::connect):
    /// `invalid_argument` for options outside their limits or at odds with the address, `unsupported` for
    /// an address form this build does not connect to, `authentication_required` for `tcp:` without
    /// `secret` and for an abstract address without `secret` or `allow_uids`, `address_in_use` for a second
    /// use of `stdio:`, `queue_full` for an `inproc:` listener with a full backlog.
    pub fn connect_with<'a>(address: &Address, options: &ConnectOptions, wait: impl Into<Wait<'a>>) -> Result<Peer> {
        let mut wait = wait.into();
        let dial = Dial::new(address, options)?;
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
        let allowed = trust::allowed_uids(address, &options.common);
        let made =
            lane::connected(dial.into_carrier(), address.to_string().into(), &options.common, allowed.as_deref())?;
        let lane = made.into_direct();
        lane.run(wait, |conn, op| conn.open(op, None))?;
        lane.attach_for_keepalive()?;
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
    /// A connection with a keepalive of either side has it from the start.
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
        self.lane.send(Post::Message(channel, With::default()), payload, wait.into())
    }

    /// Sends one message with what `options` says; its channel is DATA unless they name one. Errors as of
    /// [`send`](Peer::send), and `unsupported` for what the connection has no form for.
    pub fn send_with<'a>(&self, payload: impl Payload, options: CallOptions, wait: impl Into<Wait<'a>>) -> Result<()> {
        let (channel, with) = options.into_parts_or(Channel::DATA);
        self.lane.send(Post::Message(channel, with), payload, wait.into())
    }

    /// Sends many messages of one channel in as few system calls as they allow. Returns once the kernel has all of them;
    /// on an error, how many were accepted before it is in [`stats`](Peer::stats), and those leave. `payloads` runs while the
    /// connection is locked: it must not use this peer.
    pub fn send_batch<'a, 'p>(
        &self,
        channel: Channel,
        payloads: impl IntoIterator<Item = &'p [u8]>,
        wait: impl Into<Wait<'a>>,
    ) -> Result<()> {
        self.lane.send_batch(channel, payloads.into_iter(), wait.into())
    }

    /// Gathers what is sent, requested and replied, by whatever thread, until the cork is dropped, and then writes it in
    /// one go. Meanwhile [`send`](Peer::send) and [`reply`](Message::reply) return once a message is queued, as long as less
    /// than [`CHANNEL_QUEUE`](crate::limits::CHANNEL_QUEUE) of its channel is, and wait as without a cork above. What fills a
    /// write leaves before; a call that waits in this peer leaves all. Without effect on level 0.
    pub fn cork(&self) -> Cork<'_> {
        self.lane.with(|conn| conn.cork(true));
        Cork { peer: self, held: false }
    }

    /// [`cork`](Peer::cork) for operations of a context, which still end when the carrier has all of them.
    pub(crate) fn hold(&self) -> Cork<'_> {
        self.lane.with(|conn| conn.hold(true));
        Cork { peer: self, held: true }
    }

    /// Ends one cork whose guard was forgotten, for those who cannot keep a guard, such as other languages. One too many
    /// changes nothing.
    pub fn uncork(&self) {
        self.lane.with(|conn| conn.cork(false));
    }

    /// Receives the oldest message of any channel.
    ///
    /// `timeout` (nothing is lost, call again). After the last message `peer_closed`, `truncated` or
    /// `connection_lost`, depending on how the other side ended.
    pub fn recv<'a>(&self, wait: impl Into<Wait<'a>>) -> Result<Message> {
        self.receive(None, wait.into())
    }

    /// Receives all that is there, at most `most` messages, waiting for the first. The same errors as [`recv`](Peer::recv);
    /// `invalid_argument`, here and in all that follow, for a `most` of 0.
    pub fn recv_batch<'a>(&self, batch: &mut Batch, most: usize, wait: impl Into<Wait<'a>>) -> Result<()> {
        some(most)?;
        let mut wait = wait.into();
        batch.reset(&self.lane);
        loop {
            let lane = &self.lane;
            lane.with_checked(|conn| {
                conn.recv_many(None, |channel, body, extra| {
                    batch.push(channel, body.as_slice(), extra);
                    batch.len() < most
                })
            })?;
            if !batch.is_empty() {
                return Ok(());
            }
            lane.run_with(&mut wait, |conn, op| conn.readable(op, None))?;
        }
    }

    /// Receives all that is there, at most `most` messages, without waiting, whatever drives the peer. The end of the
    /// connection is no error here: [`Context::readable`](crate::Context::readable) tells it.
    pub fn try_recv_batch(&self, batch: &mut Batch, most: usize) -> Result<()> {
        self.try_recv_bytes(batch, most, usize::MAX)
    }

    /// The same, and stops once `bytes` bytes of payloads are exceeded.
    pub fn try_recv_bytes(&self, batch: &mut Batch, most: usize, bytes: usize) -> Result<()> {
        some(most)?;
        batch.reset(&self.lane);
        self.lane.with_checked(|conn| {
            conn.recv_many(None, |channel, body, extra| {
                batch.push(channel, body.as_slice(), extra);
                batch.len() < most && batch.bytes() <= bytes
            })
        })
    }

    /// Receives into the caller's memory: all that is there, at most `most` messages, payloads one behind the other,
    /// waiting for the first. The first that finds too little room keeps its payload for itself and ends the batch, so
    /// nothing is lost. The same errors as [`recv`](Peer::recv).
    pub fn recv_into<'a>(&self, buffer: &mut [u8], most: usize, wait: impl Into<Wait<'a>>) -> Result<Vec<Placed>> {
        let mut wait = wait.into();
        loop {
            let placed = self.try_recv_into(buffer, most)?;
            if !placed.is_empty() {
                return Ok(placed);
            }
            self.lane.run_with(&mut wait, |conn, op| conn.readable(op, None))?;
        }
    }

    /// The same without waiting, whatever drives the peer; empty when nothing is there, as of
    /// [`try_recv_batch`](Peer::try_recv_batch).
    pub fn try_recv_into(&self, buffer: &mut [u8], most: usize) -> Result<Vec<Placed>> {
        some(most)?;
        let mut room = Room::new(buffer, &self.lane, most);
        self.lane.with_checked(|conn| conn.recv_many(None, |channel, body, extra| room.place(channel, body, extra)))?;
        Ok(room.into_placed())
    }

    /// Appends all messages that are there to `out`, at most `most` of them, waiting for the first; each is one of its
    /// own. The same errors as [`recv`](Peer::recv).
    pub fn recv_all<'a>(&self, out: &mut Vec<Message>, most: usize, wait: impl Into<Wait<'a>>) -> Result<()> {
        let mut wait = wait.into();
        let before = out.len();
        loop {
            self.try_recv_all(out, most)?;
            if out.len() > before {
                return Ok(());
            }
            self.lane.run_with(&mut wait, |conn, op| conn.readable(op, None))?;
        }
    }

    /// The same without waiting, whatever drives the peer. The end of the connection is no error here:
    /// [`Context::readable`](crate::Context::readable) tells it.
    pub fn try_recv_all(&self, out: &mut Vec<Message>, most: usize) -> Result<()> {
        some(most)?;
        self.lane.with_checked(|conn| {
            let messages = std::iter::from_fn(|| conn.take_oldest()).take(most);
            out.extend(messages.map(|delivery| Message::new(delivery, self.lane.clone())));
            Ok(())
        })
    }

    /// Receives the oldest message of one channel; the others keep theirs, in order. `invalid_channel`.
    pub fn recv_on<'a>(&self, channel: Channel, wait: impl Into<Wait<'a>>) -> Result<Message> {
        self.receive(Some(channel), wait.into())
    }

    fn receive(&self, channel: Option<Channel>, wait: Wait<'_>) -> Result<Message> {
        match self.lane.run(wait, |conn, op| conn.recv(op, channel, None))? {
            Outcome::Message(delivery) => Ok(Message::new(delivery, self.lane.clone())),
            _ => Err(unexpected()),
        }
    }

    /// Starts a call on the COMMAND channel. Never waits. Any number may be open; those above what the other side serves
    /// at a time, and on level 0 all but one, queue here, in order. `queue_full` above
    /// [`MAX_CALLS`](crate::limits::MAX_CALLS) queued ones, and the errors of [`send`](Peer::send).
    pub fn start(&self, payload: impl Payload) -> Result<Call> {
        self.start_with(payload, CallOptions::default())
    }

    /// Starts a call with what `options` says.
    pub fn start_with(&self, payload: impl Payload, options: CallOptions) -> Result<Call> {
        let (channel, with) = options.into_parts();
        self.start_call(channel, with.deadline, with, payload)
    }

    fn start_call(
        &self,
        channel: Channel,
        deadline: Option<Instant>,
        with: With,
        payload: impl Payload,
    ) -> Result<Call> {
        let call;
        {
            // What this tells is told once there is somebody to give the call up.
            let _scope = Scope::enter();
            call = Call::new(self.lane.clone(), self.lane.start_call(Post::Request(channel, with), payload, deadline)?);
        }
        Ok(call)
    }

    /// Calls and waits for the reply; the other side is told how long that is. Errors as of
    /// [`start`](Peer::start) and [`Call::wait`].
    pub fn request<'a>(&self, payload: impl Payload, wait: impl Into<Wait<'a>>) -> Result<Message> {
        self.request_with(payload, CallOptions::default(), wait)
    }

    /// Calls with what `options` says and waits for the reply. The other side is told the deadline of `options`, and
    /// where they have none, how long the wait is.
    pub fn request_with<'a>(
        &self,
        payload: impl Payload,
        options: CallOptions,
        wait: impl Into<Wait<'a>>,
    ) -> Result<Message> {
        let wait = wait.into();
        let (channel, mut with) = options.into_parts();
        let deadline = with.deadline;
        // The wait itself sees to its own deadline.
        with.deadline = deadline.or(wait.deadline);
        self.start_call(channel, deadline, with, payload)?.wait(wait)
    }

    /// Opens a stream: a call with many messages both ways. Never waits. `unsupported` on level 0, else as of
    /// [`start`](Peer::start).
    pub fn open_stream(&self, payload: impl Payload, options: CallOptions) -> Result<Stream> {
        let (channel, with) = options.into_parts();
        let payload = payload.into_bytes();
        let now = Instant::now();
        let id = self.lane.with_checked(|conn| conn.open_stream(channel, false, with, payload, now))?;
        Ok(Stream::calling(self.lane.clone(), id))
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

    /// Whether the connection has not ended, as far as this side has noticed.
    pub fn is_open(&self) -> bool {
        self.lane.peek(|conn| conn.is_open())
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

/// Holds small writes of a [`Peer`] back; dropping it lets them go.
#[derive(Debug)]
pub struct Cork<'a> {
    peer: &'a Peer,
    held: bool,
}

impl Drop for Cork<'_> {
    fn drop(&mut self) {
        self.peer.lane.with(|conn| if self.held { conn.hold(false) } else { conn.cork(false) });
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.lane.close();
    }
}

/// Who asks for no message would wait for ever and not see the end.
fn some(most: usize) -> Result<()> {
    match most {
        0 => Err(Error::new(Code::InvalidArgument, "at most no message: there would be nothing to wait for")),
        _ => Ok(()),
    }
}

pub(crate) fn unexpected() -> Error {
    Error::new(Code::Internal, "an operation ended as another kind")
}
