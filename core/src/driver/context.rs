//! The context: many connections and listeners behind one pollable descriptor, for event loops.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use crate::addr::Address;
use crate::api::call::CallOptions;
use crate::api::listener::Listener;
use crate::api::message::Message;
use crate::api::options::ConnectOptions;
use crate::api::payload::Payload;
use crate::api::peer::{Cork, Peer};
use crate::api::stream::Stream;
use crate::api::wait::Wait;
use crate::driver::hub::{self, Hub, Request};
use crate::driver::lane::Lane;
use crate::error::{Code, Result};
use crate::os::dial::Dial;
use crate::os::poller::{self, READ};
use crate::os::trust;
use crate::os::{BorrowedFd, Errno};
use crate::proto::channel::Channel;
use crate::proto::conn::{Conn, Post};
use crate::proto::level1::With;
use crate::proto::{OpId, Step};

/// Drives peers and listeners for an event loop. No call waits, except [`next`](Context::next), and no
/// thread is started.
///
/// An operation is started by one of the methods below. It is either finished at once or gets an id,
/// which comes back exactly once as a [`Completion`] of [`process`](Context::process). The descriptor
/// of [`fd`](Context::fd) is readable, level-triggered, whenever `process` has something to do, so
/// a loop polls it, calls `process` until it answers [`Progress::Wait`], and polls again.
///
/// Peers made here, and listeners from their first [`accept`](Context::accept) on, are used through
/// this context only: blocking calls on them give `wrong_driver`. All methods may be called from any
/// thread. Clones are the same context; the last one dropped closes everything it drives.
#[derive(Debug, Clone)]
pub struct Context(Arc<Handle>);

/// Closes the hub when the last context handle goes.
#[derive(Debug)]
struct Handle(Arc<Hub>);

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// What [`Context::process`] leaves behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Nothing to do until the descriptor is readable.
    Wait,
    /// The budget ran out, or more may have arrived meanwhile; the descriptor stays readable.
    More,
}

/// The answer to starting an operation.
#[derive(Debug)]
pub enum Started {
    /// It is finished.
    Done(Outcome),
    /// Its [`Completion`] will have this id: never 0, never used again by this context.
    Pending(u64),
}

/// The end of a pending operation.
#[derive(Debug)]
pub struct Completion {
    /// The id from [`Started::Pending`].
    pub op: u64,
    /// How it ended.
    pub result: Result<Outcome>,
}

/// How an operation ended well.
#[derive(Debug)]
#[non_exhaustive]
pub enum Outcome {
    /// Of [`connect`](Context::connect).
    Connected(Peer),
    /// Of [`accept`](Context::accept).
    Accepted(Peer),
    /// Of [`recv`](Context::recv).
    Message(Message),
    /// Of [`request`](Context::request).
    Reply(Message),
    /// Of [`send`](Context::send) and [`reply`](Context::reply): the carrier took all of it.
    Sent,
    /// Of [`ping`](Context::ping): the round trip.
    Pong(Duration),
    /// Of [`drain`](Context::drain).
    Drained,
    /// Of [`readable`](Context::readable), and of [`poll_recv`](Context::poll_recv),
    /// [`poll_accept`](Context::poll_accept) and [`poll_stream_recv`](Context::poll_stream_recv) that had to wait.
    Readable,
    /// Of [`stream_recv`](Context::stream_recv).
    Item(Bytes),
    /// Of [`stream_recv`](Context::stream_recv): the end of the call with its reply for its caller, of the caller's
    /// direction for the other side.
    StreamEnd(Option<Bytes>),
    /// Of [`call_ended`](Context::call_ended).
    CallEnded,
    /// Of [`timer`](Context::timer).
    Elapsed,
}

impl Context {
    /// A context that drives nothing yet. `too_many_files` when descriptors ran out; it needs three.
    pub fn new() -> Result<Context> {
        Ok(Context(Arc::new(Handle(Hub::new()?))))
    }

    /// The descriptor to poll for readability. It lives as long as the context; only poll it.
    #[cfg(target_os = "linux")]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.hub().fd()
    }

    /// What Windows has instead of a descriptor: an event object that is signalled whenever [`process`](Context::process)
    /// has something to do. It lives as long as the context; only wait for it.
    #[cfg(windows)]
    pub fn handle(&self) -> std::os::windows::io::BorrowedHandle<'_> {
        self.hub().fd().into()
    }

    /// What [`wait_one`](poller::wait_one) waits for, to read.
    pub(crate) fn readiness(&self) -> BorrowedFd<'_> {
        self.hub().fd()
    }

    /// Moves bytes and appends at most `budget` completions to `out`. Never waits. `forked` in a child;
    /// `closed` once the context was closed and the last completion was handed out.
    pub fn process(&self, budget: usize, out: &mut Vec<Completion>) -> Result<Progress> {
        self.hub().process(budget, out)
    }

    /// Runs `start`, which starts operations, and appends at most `budget` completions to `out`: those of operations that
    /// ended in it need no turn of the loop. `start` must not call this or [`process`](Context::process). `forked` in a child.
    pub fn batch<T>(&self, budget: usize, out: &mut Vec<Completion>, start: impl FnOnce() -> T) -> Result<T> {
        self.hub().batch(budget, out, start)
    }

    /// Gathers what is started on `peer` until the cork is dropped, and then writes it in one go. Unlike under
    /// [`Peer::cork`], an operation still ends when the carrier took all of it. What fills a write leaves before. Without
    /// effect on level 0.
    pub fn cork<'p>(&self, peer: &'p Peer) -> Cork<'p> {
        peer.hold()
    }

    /// Waits for the next completion. `timeout`, `interrupted`, `closed`. A refused handshake completes
    /// nothing: to log refusals as they come, poll the descriptor instead.
    pub fn next<'a>(&self, wait: impl Into<Wait<'a>>) -> Result<Completion> {
        let mut wait = wait.into();
        let mut out = Vec::with_capacity(1);
        loop {
            self.process(1, &mut out)?;
            if let Some(completion) = out.pop() {
                return Ok(completion);
            }
            if wait.deadline.is_some_and(|d| d <= Instant::now()) {
                return Err(crate::driver::turn::given_up(Code::Timeout));
            }
            if poller::wait_one(self.readiness(), READ, wait.deadline) == Err(Errno::INTR)
                && wait.interrupted().is_break()
            {
                return Err(crate::driver::turn::given_up(Code::Interrupted));
            }
        }
    }

    /// Connects; errors as of [`Peer::connect_with`], at once or in the completion.
    pub fn connect(&self, address: &Address, options: &ConnectOptions, deadline: Option<Instant>) -> Result<Started> {
        self.hub().check()?;
        let dial = Dial::new(address, options)?;
        let request = Request {
            address: address.to_string().into(),
            allowed: trust::allowed_uids(address, &options.common),
            options: options.common.clone(),
        };
        self.hub().connect(dial, request, deadline).map(Started::Pending)
    }

    /// Takes the next peer of `listener`. Until it is called again, finished handshakes wait, at most
    /// [`MAX_READY`](crate::limits::MAX_READY).
    pub fn accept(&self, listener: &Listener, deadline: Option<Instant>) -> Result<Started> {
        self.hub().check()?;
        listener.acceptor().submit_accept(self.hub(), deadline).map(Started::Pending)
    }

    /// The next peer of `listener`, if there is one. Otherwise as [`poll_recv`](Context::poll_recv): no client is
    /// lost with an operation that is given up.
    pub fn poll_accept(&self, listener: &Listener, deadline: Option<Instant>) -> Result<Started> {
        self.hub().check()?;
        Ok(match listener.acceptor().poll_accept(self.hub(), deadline)? {
            Ok(made) => Started::Done(Outcome::Accepted(self.hub().admit(made)?)),
            Err(op) => Started::Pending(op),
        })
    }

    /// Receives the oldest message of `channel`, or of any; errors as of [`Peer::recv`].
    pub fn recv(&self, peer: &Peer, channel: Option<Channel>, deadline: Option<Instant>) -> Result<Started> {
        self.start(peer.lane(), |conn, op| conn.recv(op, channel, deadline))
    }

    /// The oldest message of `channel`, or of any, if there is one. Otherwise it completes with [`Outcome::Readable`] once
    /// there may be one, and is called again: an operation that waits takes nothing, so nothing is lost when it
    /// is given up or its completion comes too late. Errors as of [`Peer::recv`].
    pub fn poll_recv(&self, peer: &Peer, channel: Option<Channel>, deadline: Option<Instant>) -> Result<Started> {
        self.start(peer.lane(), |conn, op| conn.poll_recv(op, channel, deadline))
    }

    /// Sends a message; errors as of [`Peer::send`].
    pub fn send(
        &self,
        peer: &Peer,
        channel: Channel,
        payload: impl Payload,
        deadline: Option<Instant>,
    ) -> Result<Started> {
        self.start_post(peer.lane(), Post::Message(channel, With::default()), payload, deadline)
    }

    /// Sends a message with what `options` says; errors as of [`Peer::send_with`].
    pub fn send_with(
        &self,
        peer: &Peer,
        payload: impl Payload,
        options: CallOptions,
        deadline: Option<Instant>,
    ) -> Result<Started> {
        let (channel, with) = options.into_parts_or(Channel::DATA);
        self.start_post(peer.lane(), Post::Message(channel, with), payload, deadline)
    }

    /// Calls the other side, which is told the deadline; errors as of [`Peer::request`] and
    /// [`Call::wait`](crate::Call::wait).
    pub fn request(&self, peer: &Peer, payload: impl Payload, deadline: Option<Instant>) -> Result<Started> {
        self.request_with(peer, payload, CallOptions::default(), deadline)
    }

    /// Calls the other side with what `options` says; the sooner of two deadlines counts, and is told.
    pub fn request_with(
        &self,
        peer: &Peer,
        payload: impl Payload,
        options: CallOptions,
        deadline: Option<Instant>,
    ) -> Result<Started> {
        let (channel, mut with) = options.into_parts();
        let deadline = with.deadline.into_iter().chain(deadline).min();
        with.deadline = deadline;
        self.start_post(peer.lane(), Post::Request(channel, with), payload, deadline)
    }

    /// Sends many messages of one channel in as few system calls as they allow; done when the carrier took all of them.
    /// `unsupported` on level 0; else errors as of [`Peer::send_batch`]. A timeout after the first byte left closes the
    /// connection unless what is left waits for credit.
    pub fn send_batch<'p>(
        &self,
        peer: &Peer,
        channel: Channel,
        payloads: impl IntoIterator<Item = &'p [u8]>,
        deadline: Option<Instant>,
    ) -> Result<Started> {
        let op = self.hub().new_op();
        let step = peer.lane().submit_batch(self.hub(), op, channel, payloads.into_iter(), deadline)?;
        started(peer.lane(), op, step)
    }

    /// Answers `message`; errors as of [`Message::reply`].
    pub fn reply(&self, message: &Message, payload: impl Payload, deadline: Option<Instant>) -> Result<Started> {
        message.settled(self.start_post(message.lane(), message.answer(), payload, deadline))
    }

    /// Answers a request with an error of the program's; errors as of [`Message::fail`].
    pub fn fail(&self, message: &Message, code: u32, data: impl Payload, deadline: Option<Instant>) -> Result<Started> {
        message.settled(self.start_post(message.lane(), message.failure(code)?, data, deadline))
    }

    /// Waits until no answer to a request is wanted any more: given, or its caller left, ran out of time or lost the
    /// connection. Errors as of [`Message::wait_cancelled`].
    pub fn call_ended(&self, message: &Message, deadline: Option<Instant>) -> Result<Started> {
        let id = message.ticket()?.request.id;
        self.start(message.lane(), |conn, op| conn.watch(op, id, deadline))
    }

    /// Waits until anything is there to receive, and takes nothing: [`Peer::try_recv_batch`] does.
    pub fn readable(&self, peer: &Peer, deadline: Option<Instant>) -> Result<Started> {
        self.start(peer.lane(), |conn, op| conn.readable(op, deadline))
    }

    /// Sends an item of a stream; errors as of [`Stream::send`].
    pub fn stream_send(&self, stream: &Stream, item: impl Payload, deadline: Option<Instant>) -> Result<Started> {
        let (id, item) = (stream.call_id(), item.into_bytes());
        self.start(stream.lane(), |conn, op| conn.stream_send(op, id, item, false, deadline))
    }

    /// Ends this side's direction of a stream; errors as of [`Stream::finish`].
    pub fn stream_finish(&self, stream: &Stream, deadline: Option<Instant>) -> Result<Started> {
        let id = stream.call_id();
        self.start(stream.lane(), |conn, op| conn.stream_send(op, id, Bytes::new(), true, deadline))
    }

    /// The next item of a stream, or its end; errors as of [`Stream::recv`].
    pub fn stream_recv(&self, stream: &Stream, deadline: Option<Instant>) -> Result<Started> {
        let id = stream.call_id();
        self.start(stream.lane(), |conn, op| conn.stream_recv(op, id, deadline))
    }

    /// The next item of a stream, or its end, if it is there. Otherwise as [`poll_recv`](Context::poll_recv).
    pub fn poll_stream_recv(&self, stream: &Stream, deadline: Option<Instant>) -> Result<Started> {
        let id = stream.call_id();
        self.start(stream.lane(), |conn, op| conn.poll_stream_recv(op, id, deadline))
    }

    /// Measures a round trip; errors as of [`Peer::ping`].
    pub fn ping(&self, peer: &Peer, deadline: Option<Instant>) -> Result<Started> {
        let now = Instant::now();
        self.start(peer.lane(), |conn, op| conn.ping(op, now, deadline))
    }

    /// Ends the connection in order; errors as of [`Peer::drain`].
    pub fn drain(&self, peer: &Peer, deadline: Option<Instant>) -> Result<Started> {
        self.start(peer.lane(), |conn, op| conn.drain(op, deadline))
    }

    /// Completes at `at`, or a moment later.
    pub fn timer(&self, at: Instant) -> Result<Started> {
        self.hub().check()?;
        self.hub().timer(at).map(Started::Pending)
    }

    /// Gives a pending operation up: it completes with `cancelled`, unless it ended before. A call
    /// that was already sent closes its level-0 connection, since a late reply could answer the next.
    pub fn cancel(&self, op: u64) {
        self.hub().cancel(op);
    }

    /// Closes everything this context drives; pending operations complete with `closed`, and the
    /// descriptor stays readable so that every waiting loop finds out. Idempotent.
    pub fn close(&self) {
        self.hub().close();
    }

    /// Makes the descriptor readable once.
    pub(crate) fn nudge(&self) {
        self.hub().nudge();
    }

    fn hub(&self) -> &Arc<Hub> {
        &self.0.0
    }

    fn start(&self, lane: &Arc<Lane>, start: impl FnOnce(&mut Conn, OpId) -> Step) -> Result<Started> {
        let op = self.hub().new_op();
        let step = lane.submit(self.hub(), op, |conn| start(conn, op))?;
        started(lane, op, step)
    }

    fn start_post(
        &self,
        lane: &Arc<Lane>,
        post: Post,
        payload: impl Payload,
        deadline: Option<Instant>,
    ) -> Result<Started> {
        let op = self.hub().new_op();
        let step = lane.submit_frame(self.hub(), op, post, payload, deadline)?;
        started(lane, op, step)
    }
}

#[cfg(target_os = "linux")]
impl std::os::fd::AsFd for Context {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd()
    }
}

fn started(lane: &Arc<Lane>, op: OpId, step: Step) -> Result<Started> {
    match step {
        None => Ok(Started::Pending(op)),
        Some(result) => result.map(|outcome| Started::Done(hub::outcome(lane, outcome))),
    }
}
