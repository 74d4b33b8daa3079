//! What one Node environment owns: its context, its objects by number, what is under way, and the way back to JavaScript.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Instant;

use hostlane_bridge::{
    Code, Completion, Context, Error, Listener, Message, Outcome, Peer, Placed, Result, Started, Stream, guard,
};
use napi::bindgen_prelude::{Env, Float64Array, Uint8Array, Uint32Array};
use napi_derive::napi;
use rustix::event::epoll;

use crate::exchange::{self, Exchange, Received, kind};
use crate::ids::IdMap;
use crate::link::NativeLink;
use crate::objects::{Objects, Of};
use crate::submissions::Submissions;
use crate::wait::{Waiter, Wake};

/// Added to the number of outcomes when there may be more at once (`MORE` in native.ts).
const MORE: u32 = 1 << 16;

/// The state of one environment. Everything happens on its JavaScript thread.
pub(crate) struct Environment {
    pub(crate) context: Context,
    waiter: Waiter,
    /// Operations under way that keep the process alive.
    held: Cell<f64>,
    exchange: RefCell<Exchange>,
    pub(crate) submissions: RefCell<Submissions>,
    /// Room for completions, kept between calls.
    done: RefCell<Vec<Completion>>,
    /// Outcomes that found no room in the call that had them.
    later: RefCell<VecDeque<(u32, Finished)>>,
    /// How many of them are still counted in `held`.
    ending: Cell<f64>,
    pending: RefCell<Pending>,
    pub(crate) peers: Objects<Peer>,
    pub(crate) listeners: Objects<Listener>,
    /// Requests the program has not answered.
    pub(crate) calls: Objects<Call>,
    pub(crate) streams: Objects<Of<Stream>>,
    pub(crate) links: Objects<NativeLink>,
    /// Descriptors that came with messages, until they are taken.
    pub(crate) fds: Objects<RefCell<Vec<OwnedFd>>>,
    /// What the wait watches: the descriptors of the context and of every link.
    pub(crate) watched: OwnedFd,
}

/// A request the program has not answered.
pub(crate) struct Call {
    /// The peer it came from; 0 for a link.
    pub(crate) peer: f64,
    /// The link it came from.
    pub(crate) link: Option<Rc<NativeLink>>,
    pub(crate) message: Message,
}

/// Operations under way, by either of their ids.
#[derive(Default)]
struct Pending {
    by_op: IdMap<Operation>,
    /// The id in the context, by the one JavaScript gave; those are the places of a table, so they stay small.
    by_js: Vec<u64>,
}

#[derive(Clone, Copy)]
struct Operation {
    js: u32,
    takes: Takes,
}

/// What an operation receives.
#[derive(Clone, Copy, Default)]
pub(crate) struct Takes {
    /// The peer messages come from.
    pub(crate) peer: f64,
    /// The channel of a call, which its reply is on.
    pub(crate) channel: u16,
    pub(crate) many: Option<Many>,
}

/// What an operation that takes many messages wants.
#[derive(Clone, Copy)]
pub(crate) struct Many {
    pub(crate) most: usize,
    pub(crate) deadline: Option<Instant>,
}

/// The end of an operation, as far as the context knows.
pub(crate) enum Finished {
    Outcome {
        takes: Takes,
        result: Result<Outcome>,
    },
    /// The peer has messages to take.
    Readable {
        peer: f64,
        many: Many,
    },
}

thread_local! {
    /// The environments of this thread by their raw pointers: one, save where a host runs several on a thread or a program
    /// loads the addon twice. Taken out by the cleanup hook, before a pointer can be used for another environment.
    static ENVIRONMENTS: RefCell<Vec<(usize, Rc<Environment>)>> = const { RefCell::new(Vec::new()) };
}

/// Makes the environment. `wake` is called with nothing, once per batch, whenever `drain` has something to give. Outcomes are
/// put into rows and bytes; submissions are taken from rows, bytes and the lengths of batched messages.
#[napi(catch_unwind)]
pub fn open(
    env: Env,
    wake: Wake<'_>,
    mode: String,
    outcomes: (Float64Array, Uint8Array),
    submissions: (Float64Array, Uint8Array, Uint32Array),
) -> napi::Result<()> {
    let context = guard(Context::new).map_err(exception)?;
    let watched = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(std::io::Error::from)?;
    epoll::add(&watched, context.fd(), epoll::EventData::new_u64(0), epoll::EventFlags::IN)
        .map_err(std::io::Error::from)?;
    let fd = watched.try_clone()?;
    let waiter = match mode.as_str() {
        "poll" => Waiter::poll(&env, fd, &wake)?,
        _ => Waiter::thread(&env, fd, &wake)?,
    };
    let environment = Environment {
        context,
        waiter,
        held: Cell::new(0.0),
        exchange: RefCell::new(Exchange::new(outcomes.0, outcomes.1)),
        submissions: RefCell::new(Submissions::new(submissions.0, submissions.1, submissions.2)),
        done: RefCell::default(),
        later: RefCell::default(),
        ending: Cell::default(),
        pending: RefCell::default(),
        peers: Objects::new(Code::InvalidHandle, "the peer was collected"),
        listeners: Objects::new(Code::InvalidHandle, "the listener was collected"),
        calls: Objects::new(Code::CallEnded, "the call was answered or let go"),
        streams: Objects::new(Code::CallEnded, "the stream was closed"),
        links: Objects::new(Code::InvalidHandle, "the link was collected"),
        fds: Objects::new(Code::InvalidHandle, "the descriptors were taken"),
        watched,
    };
    let key = env.raw() as usize;
    ENVIRONMENTS.with_borrow_mut(|all| all.push((key, Rc::new(environment))));
    env.add_env_cleanup_hook(key, |key| {
        // Dropped outside the borrow: closing sockets is work.
        let gone: Vec<_> = ENVIRONMENTS.with_borrow_mut(|all| all.extract_if(.., |(other, _)| *other == key).collect());
        drop(gone);
    })?;
    Ok(())
}

/// Everything that finished since the last call, at most as many as there are rows: how many, and `MORE` if there may be more
/// to fetch at once.
#[napi(catch_unwind)]
pub fn drain(env: Env) -> napi::Result<u32> {
    let this = Environment::of(&env)?;
    let mut done = this.done.borrow_mut();
    let mut exchange = this.exchange.borrow_mut();
    exchange.begin();
    this.put_late(&mut exchange)?;
    let budget = exchange.room();
    if budget == 0 {
        return Ok(exchange.len() + MORE);
    }
    let progress = guard(|| this.context.process(budget, &mut done));
    let full = done.len() == budget;
    this.complete(&mut exchange, done.drain(..))?;
    let full = this.turn_links(&mut exchange)? || full;
    let more = full || !this.later.borrow().is_empty();
    // With more, JavaScript calls again at once. Else the wait is told to go on, before anything can fail below: the
    // descriptor is readable if there is more.
    if !more {
        this.waiter.drained()?;
    }
    progress.map_err(exception)?;
    Ok(exchange.len() + if more { MORE } else { 0 })
}

/// What of one of the last outcomes is no number, once.
#[napi(catch_unwind)]
pub fn take(env: Env, place: u32) -> napi::Result<Option<exchange::Value>> {
    Ok(Environment::of(&env)?.exchange.borrow_mut().take(place))
}

/// Small payloads go into `bytes` from here on.
#[napi(catch_unwind)]
pub fn set_bytes(env: Env, bytes: Uint8Array) -> napi::Result<()> {
    Environment::of(&env)?.exchange.borrow_mut().set_bytes(bytes);
    Ok(())
}

/// Corrects how many operations keep the process alive: each one does from its start to its end, unless this takes it back.
#[napi(catch_unwind)]
pub fn hold(env: Env, change: f64) -> napi::Result<()> {
    Environment::of(&env)?.hold(change)
}

/// Gives an operation up. It still ends in a batch: with `cancelled`, or with its outcome if that came first.
#[napi(catch_unwind)]
pub fn cancel(env: Env, js: u32) -> napi::Result<()> {
    let this = Environment::of(&env)?;
    let op = this.pending.borrow().by_js.get(js as usize).copied().unwrap_or_default();
    match op {
        0 => this.cancel_on_link(js),
        op => this.context.cancel(op),
    }
    Ok(())
}

impl Environment {
    /// The environment of the running call.
    pub(crate) fn of(env: &Env) -> napi::Result<Rc<Environment>> {
        let key = env.raw() as usize;
        ENVIRONMENTS
            .with_borrow(|all| {
                all.iter().find(|(other, _)| *other == key).map(|(_, environment)| Rc::clone(environment))
            })
            .ok_or_else(|| napi::Error::from_reason("this environment was never opened, or has ended"))
    }

    /// Runs `start`, which starts operations, and puts what has ended already: how many outcomes, and `MORE` if `drain` has
    /// more at once.
    pub(crate) fn start(&self, start: impl FnOnce(&mut Starting<'_>)) -> napi::Result<u32> {
        let mut exchange = self.exchange.borrow_mut();
        let mut done = self.done.borrow_mut();
        exchange.begin();
        let budget = exchange.capacity();
        let started = guard(|| {
            self.context.batch(budget, &mut done, || {
                let mut starting = Starting { environment: self, exchange: &mut exchange, begun: 0 };
                start(&mut starting);
                starting.begun
            })
        });
        // Each operation under way keeps the process alive.
        self.hold(f64::from(started.map_err(exception)?))?;
        self.complete(&mut exchange, done.drain(..))?;
        let more = !self.later.borrow().is_empty();
        Ok(exchange.len() + if more { MORE } else { 0 })
    }

    /// Puts the outcomes of operations that were under way.
    fn complete(&self, exchange: &mut Exchange, done: impl Iterator<Item = Completion>) -> napi::Result<()> {
        let mut ended = 0.0;
        for Completion { op, result } in done {
            let Some(Operation { js, takes }) = self.pending.borrow_mut().remove(op) else { continue };
            if self.finish(exchange, js, Finished::new(takes, result)) {
                ended += 1.0;
            }
        }
        self.hold(-ended)
    }

    fn put_late(&self, exchange: &mut Exchange) -> napi::Result<()> {
        let late = self.later.take();
        for (js, finished) in late {
            if !self.finish(exchange, js, finished) {
                self.hold(1.0)?;
            }
        }
        self.hold(-self.ending.replace(0.0))
    }

    /// Puts the outcome of an operation. `false` if it goes on.
    pub(crate) fn finish(&self, exchange: &mut Exchange, js: u32, finished: Finished) -> bool {
        // A batch takes two rows at least, and what came first is told first.
        if exchange.room() < 2 || self.is_late() {
            self.later.borrow_mut().push_back((js, finished));
            return true;
        }
        match finished {
            Finished::Outcome { takes, result: Ok(outcome) } => self.put(exchange, js, takes, outcome),
            Finished::Outcome { result: Err(error), .. } => exchange.failed(js, &error),
            Finished::Readable { peer, many } => match guard(|| self.take_batch(exchange, js, peer, many)) {
                Ok(ended) => return ended,
                Err(error) => exchange.failed(js, &error),
            },
        }
        true
    }

    /// Ends an operation that is under way with the next drain, for which the wait wakes.
    pub(crate) fn finish_later(&self, js: u32, finished: Finished) {
        self.later.borrow_mut().push_back((js, finished));
        // Until then it keeps the process alive.
        self.ending.set(self.ending.get() + 1.0);
        self.nudge();
    }

    /// Has the wait wake.
    pub(crate) fn nudge(&self) {
        // It fails where the environment is over, which nobody waits in.
        let _ = guard(|| self.context.timer(Instant::now()));
    }

    /// Outcomes wait for room.
    pub(crate) fn is_late(&self) -> bool {
        !self.later.borrow().is_empty()
    }

    fn put(&self, exchange: &mut Exchange, js: u32, takes: Takes, outcome: Outcome) {
        match outcome {
            Outcome::Connected(peer) | Outcome::Accepted(peer) => {
                exchange.plain(js, kind::PEER, self.peers.insert(peer));
            }
            Outcome::Message(message) => self.put_message(exchange, js, takes.peer, message, None),
            Outcome::Reply(reply) => {
                let received = Received { channel: takes.channel, ..Received::PLAIN };
                exchange.payload(js, kind::PAYLOAD, reply.payload(), &received);
            }
            Outcome::Item(item) => exchange.payload(js, kind::PAYLOAD, &item, &Received::PLAIN),
            Outcome::StreamEnd(Some(reply)) => exchange.payload(js, kind::STREAM_END, &reply, &Received::PLAIN),
            Outcome::StreamEnd(None) => exchange.plain(js, kind::DONE, 0.0),
            Outcome::Sent | Outcome::Drained | Outcome::CallEnded => exchange.plain(js, kind::DONE, 0.0),
            Outcome::Pong(round_trip) => exchange.plain(js, kind::PONG, round_trip.as_secs_f64() * 1e3),
            other => exchange.failed(js, &Error::new(Code::Internal, format!("no outcome Node knows: {other:?}"))),
        }
    }

    pub(crate) fn put_message(
        &self,
        exchange: &mut Exchange,
        js: u32,
        peer: f64,
        mut message: Message,
        link: Option<&Rc<NativeLink>>,
    ) {
        let payload = message.take_payload();
        let (trace, key) = (message.trace().cloned(), message.idempotency_key().cloned());
        let received = Received { trace: trace.as_ref(), key: key.as_ref(), ..self.keep(peer, message, link) };
        exchange.payload(js, kind::PAYLOAD, &payload, &received);
    }

    /// Keeps a request until it is answered, and descriptors until they are taken.
    fn keep(&self, peer: f64, message: Message, link: Option<&Rc<NativeLink>>) -> Received<'static> {
        let channel = message.channel().number();
        let fds = message.has_fds().then(|| self.fds.insert(RefCell::new(message.take_fds())));
        if !message.is_request() {
            return Received { channel, fds, ..Received::PLAIN };
        }
        // A link has no streams.
        let (deadline, stream) = (message.deadline(), link.is_none() && message.is_stream());
        let peer = if link.is_some() { 0.0 } else { peer };
        let call_id = message.call_id().unwrap_or_default();
        let call = self.calls.insert(Call { peer, link: link.cloned(), message });
        Received { channel, call, call_id, deadline, stream, fds, ..Received::PLAIN }
    }

    /// Puts what `peer` has received, or waits on if somebody else took it: `false`.
    fn take_batch(&self, exchange: &mut Exchange, js: u32, number: f64, many: Many) -> Result<bool> {
        let peer = self.peers.get(number)?;
        let batch = loop {
            let most = many.most.min(exchange.room() - 1);
            let batch = peer.try_recv_into(exchange.bytes(), most)?;
            if !batch.is_empty() {
                break batch;
            }
            match self.context.readable(&peer, many.deadline)? {
                Started::Pending(op) => {
                    let takes = Takes { peer: number, many: Some(many), ..Takes::default() };
                    self.pending.borrow_mut().insert(op, Operation { js, takes });
                    return Ok(false);
                }
                Started::Done(_) => {}
            }
        };
        exchange.plain(js, kind::BATCH, batch.len() as f64);
        for Placed { channel, at, len, message } in batch {
            match (message, at) {
                (None, _) => {
                    exchange.placed(js, len, &Received { channel: channel.number(), ..Received::PLAIN });
                }
                (Some(message), Some(_)) => {
                    let (trace, key) = (message.trace().cloned(), message.idempotency_key().cloned());
                    let received =
                        Received { trace: trace.as_ref(), key: key.as_ref(), ..self.keep(number, message, None) };
                    exchange.placed(js, len, &received);
                }
                (Some(message), None) => self.put_message(exchange, js, number, message, None),
            }
        }
        Ok(true)
    }

    /// The wait keeps the process alive while there is something to wait for. The count may be below zero for a moment: between
    /// the end of an operation that was taken back, and JavaScript's word of it.
    pub(crate) fn hold(&self, change: f64) -> napi::Result<()> {
        let before = self.held.replace(self.held.get() + change);
        match (before > 0.0, self.held.get() > 0.0) {
            (false, true) => self.waiter.set_ref(true),
            (true, false) => self.waiter.set_ref(false),
            _ => Ok(()),
        }
    }

    /// The value of a call that is never under way, or nothing, the error in the first row.
    pub(crate) fn value<T>(&self, call: impl FnOnce() -> Result<T>) -> Option<T> {
        match guard(call) {
            Ok(value) => Some(value),
            Err(error) => {
                let mut exchange = self.exchange.borrow_mut();
                exchange.begin();
                exchange.failed(0, &error);
                None
            }
        }
    }
}

/// Operations being started in one call.
pub(crate) struct Starting<'a> {
    environment: &'a Environment,
    exchange: &'a mut Exchange,
    /// How many are under way.
    begun: u32,
}

impl Starting<'_> {
    /// Starts an operation of a link, which answers whether it is under way.
    pub(crate) fn on_link(&mut self, js: u32, operation: impl FnOnce(&mut Exchange) -> Result<bool>) {
        match guard(|| operation(self.exchange)) {
            Ok(true) => self.begun += 1,
            Ok(false) => {}
            Err(error) => {
                self.environment.finish(self.exchange, js, Finished::new(Takes::default(), Err(error)));
            }
        }
    }

    /// Starts the operation JavaScript calls `js`.
    pub(crate) fn one(&mut self, js: u32, takes: Takes, operation: impl FnOnce() -> Result<Started>) {
        let result = match guard(operation) {
            Ok(Started::Pending(op)) => {
                self.environment.pending.borrow_mut().insert(op, Operation { js, takes });
                self.begun += 1;
                return;
            }
            Ok(Started::Done(outcome)) => Ok(outcome),
            Err(error) => Err(error),
        };
        let finished = Finished::new(takes, result);
        if !self.environment.finish(self.exchange, js, finished) {
            self.begun += 1;
        }
    }
}

impl Finished {
    fn new(takes: Takes, result: Result<Outcome>) -> Finished {
        match (takes.many, result) {
            (Some(many), Ok(Outcome::Readable)) => Finished::Readable { peer: takes.peer, many },
            (_, result) => Finished::Outcome { takes, result },
        }
    }
}

impl Pending {
    fn insert(&mut self, op: u64, operation: Operation) {
        let js = operation.js as usize;
        if self.by_js.len() <= js {
            self.by_js.resize(js + 1, 0);
        }
        self.by_js[js] = op;
        self.by_op.insert(op, operation);
    }

    fn remove(&mut self, op: u64) -> Option<Operation> {
        let operation = self.by_op.remove(&op)?;
        self.by_js[operation.js as usize] = 0;
        Some(operation)
    }
}

/// For the few failures that belong to no operation.
fn exception(error: Error) -> napi::Error {
    napi::Error::from_reason(error.to_string())
}
