//! The same program on both sides: the first to open serves, the second connects, the survivor takes over.
//!
//! A link owns a context of its own and whoever waits in it, or polls its descriptor, drives it. What it
//! decides is in `machine.rs`.

mod machine;
mod options;
mod serving;

use std::fmt;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use self::machine::{Machine, Ticket};
pub use self::options::LinkOptions;
pub use self::serving::{Answer, HANDLER_FAILED, Serving};
use crate::addr::Address;
use crate::api::call::CallOptions;
use crate::api::message::Message;
use crate::api::payload::Payload;
use crate::api::peer::Peer;
use crate::api::wait::Wait;
use crate::driver::context::{Context, Progress};
use crate::driver::place::{Place, Sleep};
use crate::driver::sync::{Mutex, MutexGuard};
use crate::driver::{lock, turn};
use crate::error::{Code, Error, Result};
use crate::limits;
use crate::log::{self, Scope};
#[cfg(target_os = "linux")]
use crate::os::BorrowedFd;
use crate::os::Errno;
use crate::os::fork::Stamp;
use crate::os::poller::{self, READ};
use crate::os::thread_bell::{Mine, ThreadBell};
use crate::proto::OpId;
use crate::proto::conn::Conn;

/// Completions taken in one turn.
const BATCH: usize = 64;

/// Two instances of one program, joined by an address. Which of them serves is no matter of the program's.
///
/// The first to open listens, the second connects; a third waits as a standby. When one of a pair dies, the other takes
/// over within moments, and the next one joins. Calls go both ways. A call that was lost with its connection is repeated on the
/// next one only if it provably was not executed, or has an
/// [idempotency key](CallOptions::idempotency_key); otherwise it fails once with `connection_lost`.
///
/// Nothing happens by itself: the link lives while some thread is in one of its waiting calls, best in
/// [`serve`](Link::serve), or while an event loop, instead, polls its descriptor and calls [`process`](Link::process). All methods may be
/// called from any thread. Clones are the same link; dropping the last one closes it.
#[derive(Clone)]
pub struct Link(Arc<Handle>);

struct Handle(Arc<Shared>);

struct Shared {
    stamp: Stamp,
    context: Context,
    state: Mutex<Machine>,
}

/// What a link tells.
#[derive(Debug)]
#[non_exhaustive]
pub enum LinkEvent {
    /// The other side is there.
    Up {
        /// Whether this side is the one that listens.
        serving: bool,
    },
    /// The other side is gone; the link goes on trying, unless told otherwise. Where more than
    /// [`LINK_EVENTS`](crate::limits::LINK_EVENTS) wait, it vanishes together with the `Up` that nobody has looked at.
    Down(Error),
    /// A message or request came. Answer requests with [`Link::reply`] or [`Link::fail`].
    Message(Message),
}

/// What came of something started.
#[derive(Debug)]
#[non_exhaustive]
pub enum LinkResult {
    /// Of [`Link::start`]: the reply.
    Call(Result<Message>),
    /// Of [`Link::call_ended`].
    CallEnded,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.0.close();
    }
}

impl Link {
    /// Opens the link at `address`, written as for [`Peer::connect`] or parsed already; the first attempt is under way when it
    /// returns. `invalid_address`, `invalid_argument`, `too_many_files`; the address has
    /// to be one that can be listened at and connected to: `unsupported` otherwise. Errors of
    /// [`Listener::bind_with`](crate::Listener::bind_with) that another attempt would not change.
    pub fn open<A>(address: A, options: LinkOptions) -> Result<Link>
    where
        A: TryInto<Address>,
        Error: From<A::Error>,
    {
        let address = address.try_into()?;
        let options = options.checked(&address)?;
        let context = Context::new()?;
        let _scope = Scope::enter();
        let mut machine = Machine::new(address, options);
        machine.start(&context, Instant::now());
        if let Some(error) = machine.ended() {
            return Err(error.clone());
        }
        let shared = Shared { stamp: Stamp::now(), context, state: Mutex::new(machine) };
        Ok(Link(Arc::new(Handle(Arc::new(shared)))))
    }

    /// The next event. `timeout`, `interrupted`; `closed` after [`close`](Link::close); once and for all the error
    /// that ended the link when its attempts ran out.
    pub fn next<'a>(&self, wait: impl Into<Wait<'a>>) -> Result<LinkEvent> {
        let context = &self.shared().context;
        self.wait_for(&mut wait.into(), |machine| machine.take_event(context))
    }

    /// Calls the other side, and waits until it is there if it is not; the other side is told the deadline. Errors as of
    /// [`Peer::request`](crate::Peer::request), and the error that ended the link.
    pub fn request<'a>(&self, payload: impl Payload, wait: impl Into<Wait<'a>>) -> Result<Message> {
        self.request_with(payload, CallOptions::new(), wait)
    }

    /// Calls the other side with what `options` say. `unsupported` for descriptors.
    pub fn request_with<'a>(
        &self,
        payload: impl Payload,
        options: CallOptions,
        wait: impl Into<Wait<'a>>,
    ) -> Result<Message> {
        let mut wait = wait.into();
        let _scope = Scope::enter();
        let ticket = self.begin(payload.into_bytes(), options, wait.deadline, true)?;
        let mut awaited = Awaited { link: self, what: Awaiting::Call(ticket), ended: false };
        let result = self.wait_for(&mut wait, |machine| machine.take_awaited(ticket));
        awaited.ended = result.is_ok();
        result
    }

    /// Starts a call; its result comes out of [`take_result`](Link::take_result) or [`take_results`](Link::take_results)
    /// under the number that is returned, once. For event loops: the descriptor becomes readable when there is one.
    pub fn start(&self, payload: impl Payload, options: CallOptions, deadline: Option<Instant>) -> Result<u64> {
        self.begin(payload.into_bytes(), options, deadline, false)
    }

    fn begin(&self, payload: Bytes, options: CallOptions, deadline: Option<Instant>, awaited: bool) -> Result<Ticket> {
        if options.has_fds() {
            return Err(Error::new(Code::Unsupported, "a call that may be repeated carries no descriptors"));
        }
        self.locked(|machine, context| {
            let ticket = machine.request(context, payload, options, deadline, awaited)?;
            if machine.has_result(ticket) {
                context.nudge();
            }
            Ok(ticket)
        })
    }

    /// The result of a started call; `None` while there is none.
    pub fn take_result(&self, ticket: u64) -> Option<Result<Message>> {
        self.shared().state().ok()?.take_result(ticket)
    }

    /// Appends at most `most` results of what was started by [`start`](Link::start) and [`call_ended`](Link::call_ended), in the
    /// order in which it was started.
    pub fn take_results(&self, results: &mut Vec<(u64, LinkResult)>, most: usize) {
        if let Ok(mut state) = self.shared().state() {
            results.extend(std::iter::from_fn(|| state.take_any_result()).take(most));
        }
    }

    fn cancel_send(&self, op: OpId) {
        // A forked child has nothing to give up.
        let _ = self.locked(|machine, context| {
            machine.cancel_send(context, op);
            Ok(())
        });
    }

    /// Drops a call that nobody waits for any more.
    fn forget(&self, ticket: Ticket) {
        // A forked child has nothing to give up.
        let _ = self.locked(|machine, context| {
            machine.forget(context, ticket);
            Ok(())
        });
    }

    /// Gives a started call up: its result comes all the same, and is `cancelled` unless it was on its way already.
    pub fn cancel(&self, ticket: u64) {
        // A forked child has nothing to give up.
        let _ = self.locked(|machine, context| {
            machine.cancel(context, ticket);
            if machine.has_result(ticket) {
                context.nudge();
            }
            Ok(())
        });
    }

    /// Watches a request of the other side: [`take_results`](Link::take_results) tells under the number that is returned
    /// when no answer is wanted any more. Errors as of [`Message::wait_cancelled`].
    pub fn call_ended(&self, message: &Message) -> Result<u64> {
        self.locked(|machine, context| {
            let ticket = machine.call_ended(context, message)?;
            if machine.has_result(ticket) {
                context.nudge();
            }
            Ok(ticket)
        })
    }

    /// Sends a one-way message; does not wait. `connection_lost` while the other side is not there: it is not kept.
    /// `would_block` while [`SEND_QUEUE`](crate::limits::SEND_QUEUE) bytes, or as many operations as a connection has,
    /// wait, and on a channel whose policy is
    /// [`Error`](crate::Policy::Error) as soon as that has no credit.
    pub fn send(&self, payload: impl Payload, options: CallOptions) -> Result<()> {
        let peer = self.peer()?;
        if peer.lane().peek(Conn::send_backlog) >= limits::SEND_QUEUE {
            return Err(Error::new(Code::WouldBlock, "the other side does not take what is sent"));
        }
        let sent = self.shared().context.send_with(&peer, payload, options, None).map(drop);
        sent.map_err(|error| match error.code() {
            // There is room again when some have left, as with bytes.
            Code::QueueFull => Error::new(Code::WouldBlock, error.message()),
            _ => error,
        })
    }

    /// Sends a one-way message by the policy of its channel, as [`Peer::send_with`](crate::Peer::send_with) does: where that
    /// waits, until the carrier took all of it. `connection_lost` while the other side is not there: it is not kept, nor
    /// sent again on the next connection.
    pub fn send_with<'a>(&self, payload: impl Payload, options: CallOptions, wait: impl Into<Wait<'a>>) -> Result<()> {
        let mut wait = wait.into();
        let _scope = Scope::enter();
        // The operation ends at the deadline and knows what has left by then.
        let deadline = wait.deadline.take();
        // Before the lock, which others need meanwhile.
        let payload = payload.into_bytes();
        let Some(op) = self.locked(|machine, context| machine.send(context, payload, options, deadline))? else {
            return Ok(());
        };
        let mut awaited = Awaited { link: self, what: Awaiting::Send(op), ended: false };
        let result = self.wait_for(&mut wait, |machine| {
            let sent = machine.take_sent(op);
            awaited.ended |= sent.is_some();
            sent
        });
        drop(awaited);
        result
    }

    /// Answers a request that [`next`](Link::next) gave; does not wait. Errors as of [`Message::reply`].
    pub fn reply(&self, message: &Message, payload: impl Payload) -> Result<()> {
        self.shared().context.reply(message, payload, None).map(drop)
    }

    /// Answers a request with an error of the program's. Errors as of [`Message::fail`].
    pub fn fail(&self, message: &Message, code: u32, data: impl Payload) -> Result<()> {
        self.shared().context.fail(message, code, data, None).map(drop)
    }

    /// The connection to the other side, for what a link has no method of its own for: identity, counters. It is driven by
    /// the link. `connection_lost` while there is none; the error that ended the link.
    pub fn peer(&self) -> Result<Arc<Peer>> {
        let state = self.shared().state()?;
        state.peer().ok_or_else(|| state.absent())
    }

    /// Whether this side is the one that listens; `None` while there is no decision.
    pub fn is_serving(&self) -> Option<bool> {
        self.shared().state().ok()?.serving()
    }

    /// The descriptor to poll for readability before [`process`](Link::process). It lives as long as the link.
    #[cfg(target_os = "linux")]
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.shared().context.fd()
    }

    /// What Windows has instead of a descriptor: the event object to wait for before [`process`](Link::process). It lives as
    /// long as the link.
    #[cfg(windows)]
    pub fn handle(&self) -> std::os::windows::io::BorrowedHandle<'_> {
        self.shared().context.handle()
    }

    /// Moves the link on without waiting, and appends its events. Errors as of [`next`](Link::next), after the last event.
    pub fn process(&self, events: &mut Vec<LinkEvent>) -> Result<Progress> {
        let _scope = Scope::enter();
        let shared = self.shared();
        let mut state = shared.state()?;
        let progress = shared.turn(&mut state)?;
        let before = events.len();
        while let Some(event) = state.take_event(&shared.context) {
            match event {
                Ok(event) => events.push(event),
                Err(error) if events.len() == before => return Err(error),
                Err(_) => break,
            }
        }
        state.tell_followers();
        Ok(progress)
    }

    /// Moves the link on without waiting, and leaves its events to [`next`](Link::next) with
    /// [`Wait::none`], so that what nobody takes holds the other side back. Once and for all the error that ended the
    /// link: its descriptor need not be polled any more.
    pub fn turn(&self) -> Result<Progress> {
        let _scope = Scope::enter();
        let shared = self.shared();
        let mut state = shared.state()?;
        let progress = shared.turn(&mut state)?;
        state.tell_followers();
        state.ended().map_or(Ok(progress), |error| Err(error.clone()))
    }

    /// Appends at most `most` events that are here already; whether there are more. Unlike [`next`](Link::next) it moves
    /// nothing on. Errors as of that, after the last event.
    pub fn take_events(&self, events: &mut Vec<LinkEvent>, most: usize) -> Result<bool> {
        self.locked(|machine, context| {
            for taken in 0..most {
                match machine.take_event(context) {
                    Some(Ok(event)) => events.push(event),
                    Some(Err(error)) if taken == 0 => return Err(error),
                    _ => break,
                }
            }
            Ok(machine.has_events())
        })
    }

    /// Ends the link: calls fail with `closed`, the address is free. Idempotent.
    pub fn close(&self) {
        self.shared().close();
    }

    fn shared(&self) -> &Shared {
        &self.0.0
    }

    fn locked<T>(&self, change: impl FnOnce(&mut Machine, &Context) -> Result<T>) -> Result<T> {
        let _scope = Scope::enter();
        let shared = self.shared();
        let mut state = shared.state()?;
        let result = change(&mut state, &shared.context);
        shared.settle(&state);
        state.tell_followers();
        result
    }

    /// Drives the link, or waits for whoever does, until `ready` gives something.
    fn wait_for<T>(&self, wait: &mut Wait<'_>, mut ready: impl FnMut(&mut Machine) -> Option<Result<T>>) -> Result<T> {
        let _scope = Scope::enter();
        let shared = self.shared();
        let mut place = Place::default();
        let mut state = shared.state()?;
        loop {
            if let Some(result) = ready(&mut state) {
                return result;
            }
            if wait.deadline.is_some_and(|d| d <= Instant::now()) {
                return Err(turn::given_up(Code::Timeout));
            }
            if log::is_held() {
                // A subscriber may take long, use this very link, or panic: others drive meanwhile.
                drop(state);
                log::flush();
                state = lock(&shared.state);
                continue;
            }
            if state.driven {
                let interrupted;
                (state, interrupted) = shared.follow(state, wait.deadline)?;
                if interrupted {
                    drop(state);
                    if wait.interrupted().is_break() {
                        return Err(turn::given_up(Code::Interrupted));
                    }
                    state = lock(&shared.state);
                }
                continue;
            }
            if shared.turn(&mut state)? == Progress::More {
                continue;
            }
            if let Some(result) = ready(&mut state) {
                return result;
            }
            if log::is_held() {
                continue;
            }
            state.driven = true;
            let now = Instant::now();
            state.driver = place.prepare(true, now, wait.deadline);
            drop(state);
            let slept = place.sleep(Some(shared.context.readiness()), READ, wait.deadline);
            state = lock(&shared.state);
            state.driven = false;
            state.driver = None;
            state.tell_followers();
            if slept == Err(Errno::INTR) {
                drop(state);
                if wait.interrupted().is_break() {
                    return Err(turn::given_up(Code::Interrupted));
                }
                state = lock(&shared.state);
            }
        }
    }
}

/// What a thread waits for. It is given up when the wait ends before it, be it by a panic in the program's code.
struct Awaited<'a> {
    link: &'a Link,
    what: Awaiting,
    ended: bool,
}

enum Awaiting {
    Call(Ticket),
    Send(OpId),
}

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        match self.what {
            _ if self.ended => {}
            Awaiting::Call(ticket) => self.link.forget(ticket),
            Awaiting::Send(op) => self.link.cancel_send(op),
        }
    }
}

impl Shared {
    /// `forked` in a child, before a lock is met that another thread of the parent may have held.
    fn state(&self) -> Result<MutexGuard<'_, Machine>> {
        self.stamp.check()?;
        Ok(lock(&self.state))
    }

    /// Takes what the context has finished and decides what follows.
    fn turn(&self, state: &mut Machine) -> Result<Progress> {
        let mut done = Vec::new();
        let progress = match self.context.process(BATCH, &mut done) {
            Ok(progress) => progress,
            Err(error) if error.code() == Code::Closed => Progress::Wait,
            Err(error) => return Err(error),
        };
        if !done.is_empty() {
            // An event loop beside a thread that sleeps at the same descriptor: what is for that one may be among them.
            state.driver.iter().for_each(Sleep::wake);
        }
        let now = Instant::now();
        for completion in done {
            state.completed(&self.context, completion, now);
        }
        self.settle(state);
        Ok(progress)
    }

    /// Once the link has ended its descriptor stays readable, so that whoever polls it finds out.
    fn settle(&self, state: &Machine) {
        if state.ended().is_some() {
            self.context.close();
        }
    }

    /// Waits until whoever drives the link has something new; whether a signal handler ran meanwhile. `too_many_files` where
    /// this thread has nothing to be woken by.
    fn follow<'a>(
        &'a self,
        mut state: MutexGuard<'a, Machine>,
        deadline: Option<Instant>,
    ) -> Result<(MutexGuard<'a, Machine>, bool)> {
        let Some(bell) = Mine::<ThreadBell>::take() else {
            return Err(Error::new(Code::TooManyFiles, "no descriptor is left to wait for the link with"));
        };
        bell.clear();
        state.followers.push(Arc::clone(&bell));
        drop(state);
        let slept = poller::wait_one(bell.as_fd(), READ, deadline);
        state = lock(&self.state);
        state.followers.retain(|other| !Arc::ptr_eq(other, &bell));
        Ok((state, slept == Err(Errno::INTR)))
    }

    fn close(&self) {
        let _scope = Scope::enter();
        // In a forked child everything is the parent's.
        let Ok(mut state) = self.state() else { return };
        state.end(Error::new(Code::Closed, "closed by this side"));
        self.context.close();
        state.tell_followers();
    }
}

#[cfg(target_os = "linux")]
impl std::os::fd::AsFd for Link {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd()
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("serving", &self.is_serving()).finish_non_exhaustive()
    }
}
