//! The inside of a context: everything it drives, behind one pollable descriptor.
//!
//! Locks are taken in the order member, hub, queue; `process` holds none of the hub's while it runs
//! a member.

mod seat;

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::api::message::Message;
use crate::api::peer::Peer;
use crate::driver::acceptor::Acceptor;
use crate::driver::context::{Completion, Outcome, Progress};
pub(crate) use crate::driver::hub::seat::Seat;
use crate::driver::lane::{self, Driver, Lane, Made};
use crate::driver::lock;
use crate::driver::sync::Mutex;
use crate::driver::turn;
use crate::error::{Code, Error, Result};
use crate::log::Scope;
use crate::os::dial::Dial;
use crate::os::fork;
use crate::os::poller::{Alarm, Bell, Epoll, Interest, READ, WRITE};
use crate::os::{AsFd, BorrowedFd};
use crate::proto::ids::IdMap;
use crate::proto::{self, OpId};

const BELL: u64 = 0;
const ALARM: u64 = 1;
const FIRST_MEMBER: u64 = 2;

/// Descriptors looked at in one turn.
const READY_BATCH: usize = 64;

/// A full backlog of a Unix-domain socket cannot be polled for, so an attempt is repeated, at most this far apart.
const DIAL_BACKOFF: Duration = Duration::from_millis(20);

#[derive(Debug)]
pub(crate) struct Hub {
    epoll: Epoll,
    bell: Bell,
    alarm: Alarm,
    stamp: fork::Stamp,
    /// Held by whoever processes.
    turn: Mutex<()>,
    state: Mutex<State>,
    queue: Mutex<Queue>,
    last_op: AtomicU64,
}

#[derive(Debug)]
struct State {
    members: IdMap<Member>,
    last_token: u64,
    /// When to pump which member; one entry each at most.
    timers: BTreeSet<(Instant, u64)>,
    armed: Option<Instant>,
    /// Nothing new is begun.
    closing: bool,
    /// Everything has ended.
    closed: bool,
}

#[derive(Debug, Clone)]
enum Member {
    Lane(Arc<Lane>),
    Acceptor(Arc<Acceptor>),
    Dial(Arc<Dialling>),
    /// An operation that ends at its time.
    Timer(OpId, Instant),
}

/// A connect that found the server's backlog full.
#[derive(Debug)]
struct Dialling {
    op: OpId,
    deadline: Option<Instant>,
    attempt: Mutex<Option<Attempt>>,
}

#[derive(Debug)]
struct Attempt {
    dial: Dial,
    request: Request,
    /// The kernel tells when it is worth repeating.
    watched: bool,
}

/// What a dial becomes a connection with.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) address: Arc<str>,
    pub(crate) options: crate::api::options::Common,
    pub(crate) allowed: Option<Vec<u32>>,
}

#[derive(Debug, Default)]
struct Queue {
    done: VecDeque<Completion>,
    /// Which member a pending operation is at.
    owners: IdMap<u64>,
    processing: bool,
    rung: bool,
}

impl Hub {
    pub(crate) fn new() -> Result<Arc<Hub>> {
        let hub = Hub {
            epoll: Epoll::new()?,
            bell: Bell::new()?,
            alarm: Alarm::new()?,
            stamp: fork::Stamp::now(),
            turn: Mutex::default(),
            state: Mutex::new(State {
                members: IdMap::default(),
                last_token: FIRST_MEMBER,
                timers: BTreeSet::new(),
                armed: None,
                closing: false,
                closed: false,
            }),
            queue: Mutex::default(),
            last_op: AtomicU64::new(0),
        };
        hub.epoll.set(hub.bell.as_fd(), BELL, Interest::empty(), READ)?;
        hub.epoll.set(hub.alarm.as_fd(), ALARM, Interest::empty(), READ)?;
        Ok(Arc::new(hub))
    }

    pub(crate) fn check(&self) -> Result<()> {
        self.stamp.check()?;
        match lock(&self.state).closing {
            true => Err(closed()),
            false => Ok(()),
        }
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.epoll.as_fd()
    }

    pub(crate) fn new_op(&self) -> OpId {
        self.last_op.fetch_add(1, Ordering::Relaxed) + 1
    }

    pub(crate) fn process(self: &Arc<Hub>, budget: usize, out: &mut Vec<Completion>) -> Result<Progress> {
        self.stamp.check()?;
        if budget == 0 {
            return Err(Error::new(Code::InvalidArgument, "a budget of no completion makes no progress"));
        }
        let _scope = Scope::enter();
        let _turn = lock(&self.turn);
        let quiet = Quiet(self);
        let queued = {
            let mut queue = lock(&self.queue);
            queue.processing = true;
            if std::mem::take(&mut queue.rung) {
                self.bell.clear();
            }
            queue.done.len()
        };
        // What is finished already goes out first; more is gathered only while there is room for it.
        let mut more = queued >= budget;
        if !more {
            let ready = self.epoll.ready(READY_BATCH);
            more = ready.len() == READY_BATCH;
            for token in ready {
                match token {
                    BELL => self.bell.clear(),
                    ALARM => more |= self.alarm_rang(),
                    token => more |= self.pump(token, false),
                }
            }
        }
        let mut queue = lock(&self.queue);
        let n = budget.min(queue.done.len());
        out.extend(queue.done.drain(..n));
        queue.processing = false;
        std::mem::forget(quiet);
        if queue.done.is_empty() && !more {
            drop(queue);
            if lock(&self.state).closed {
                // Stays readable, so that everybody who waits on the descriptor finds out.
                self.bell.ring();
                if n == 0 {
                    return Err(closed());
                }
            }
            return Ok(Progress::Wait);
        }
        self.ring(&mut queue);
        Ok(Progress::More)
    }

    /// Runs `start` without ringing for what ends in it: that is handed over at once.
    pub(crate) fn batch<T>(&self, budget: usize, out: &mut Vec<Completion>, start: impl FnOnce() -> T) -> Result<T> {
        self.stamp.check()?;
        let _scope = Scope::enter();
        let _turn = lock(&self.turn);
        let quiet = Quiet(self);
        lock(&self.queue).processing = true;
        let result = start();
        {
            let mut queue = lock(&self.queue);
            let n = budget.min(queue.done.len());
            out.extend(queue.done.drain(..n));
        }
        drop(quiet);
        Ok(result)
    }

    fn ring(&self, queue: &mut Queue) {
        if !queue.processing && !std::mem::replace(&mut queue.rung, true) {
            self.bell.ring();
        }
    }

    /// Runs a member; says whether it may have more to do at once.
    fn pump(self: &Arc<Hub>, token: u64, alarm: bool) -> bool {
        let member = lock(&self.state).members.get(&token).cloned();
        match member {
            Some(Member::Lane(lane)) => lane.pump(alarm),
            Some(Member::Acceptor(acceptor)) => acceptor.pump(alarm),
            Some(Member::Dial(dialling)) => {
                self.dial_again(token, &dialling);
                false
            }
            Some(Member::Timer(op, at)) => {
                self.end_timer(token, op, at, Ok(Outcome::Elapsed));
                false
            }
            None => false,
        }
    }

    /// Runs whose time has come; says whether one may have more to do at once.
    fn alarm_rang(self: &Arc<Hub>) -> bool {
        self.alarm.clear();
        lock(&self.state).armed = None;
        let _rest = Rest(self);
        let mut more = false;
        let now = Instant::now();
        while let Some(due) = self.take_due(now) {
            more |= self.pump(due, true);
        }
        more
    }

    fn take_due(&self, now: Instant) -> Option<u64> {
        let mut state = lock(&self.state);
        state.timers.first().filter(|(at, _)| *at <= now)?;
        state.timers.pop_first().map(|(_, token)| token)
    }

    /// Puts `finished` operations into the queue and makes the descriptor readable.
    fn complete(&self, finished: impl Iterator<Item = Completion>) {
        let mut queue = lock(&self.queue);
        let before = queue.done.len();
        for completion in finished {
            queue.owners.remove(&completion.op);
            queue.done.push_back(completion);
        }
        if queue.done.len() > before {
            self.ring(&mut queue);
        }
    }

    /// Takes a member in. `closed` where that would come too late to be ended with the others.
    fn join(&self, member: impl FnOnce(u64) -> Member) -> Result<u64> {
        let mut state = lock(&self.state);
        if state.closing {
            return Err(closed());
        }
        state.last_token += 1;
        let token = state.last_token;
        let member = member(token);
        state.members.insert(token, member);
        Ok(token)
    }

    /// The same for an operation of the context's own.
    fn join_op(&self, op: OpId, member: Member) -> Result<u64> {
        let token = self.join(|_| member)?;
        lock(&self.queue).owners.insert(op, token);
        Ok(token)
    }

    /// Makes `made` a connection driven by this context.
    pub(crate) fn seat(self: &Arc<Hub>, made: Made) -> Result<Arc<Lane>> {
        let mut seated = None;
        self.join(|token| {
            let lane = Lane::new(made, |lane| Driver::Seated(Seat::new(self, token, Some(lane.clone()))));
            seated = Some(lane.clone());
            Member::Lane(lane)
        })?;
        // `join` calls its argument where it succeeds.
        Ok(seated.expect("a member was just made"))
    }

    /// Takes an accepted client in.
    pub(crate) fn admit(self: &Arc<Hub>, made: Made) -> Result<Peer> {
        let lane = self.seat(made)?;
        // Frames may have arrived behind the handshake, before anybody watched.
        lane.pump(false);
        Ok(Peer::of(lane))
    }

    /// Gives a lane of blocking callers its place beside them.
    pub(crate) fn seat_direct(self: &Arc<Hub>, lane: &Arc<Lane>) -> Result<Seat> {
        let token = self.join(|_| Member::Lane(lane.clone()))?;
        Ok(Seat::new(self, token, None))
    }

    /// Has whoever sleeps on the descriptor look again.
    pub(crate) fn nudge(&self) {
        self.ring(&mut lock(&self.queue));
    }

    /// Whether it drives nothing.
    pub(crate) fn is_empty(&self) -> bool {
        lock(&self.state).members.is_empty()
    }

    /// Gives a listener its place.
    pub(crate) fn seat_acceptor(self: &Arc<Hub>, acceptor: &Arc<Acceptor>) -> Result<Seat> {
        let token = self.join(|_| Member::Acceptor(acceptor.clone()))?;
        Ok(Seat::new(self, token, None))
    }

    // --- connecting ------------------------------------------------------------------------------

    pub(crate) fn connect(self: &Arc<Hub>, dial: Dial, request: Request, deadline: Option<Instant>) -> Result<OpId> {
        let op = self.new_op();
        if dial.attempt()? {
            self.open(op, dial, request, deadline)?;
            return Ok(op);
        }
        let attempt = Mutex::new(Some(Attempt { dial, request, watched: false }));
        let dialling = Arc::new(Dialling { op, deadline, attempt });
        let token = self.join_op(op, Member::Dial(dialling.clone()))?;
        // Unless the context was closed meanwhile, and ended it.
        if let Some(attempt) = &mut *lock(&dialling.attempt) {
            let fd = attempt.dial.progress();
            attempt.watched = fd.is_some_and(|fd| self.epoll.set(fd, token, Interest::empty(), WRITE).is_ok());
            self.schedule_dial(token, deadline, attempt.watched, DIAL_BACKOFF / 4);
        }
        Ok(op)
    }

    fn schedule_dial(&self, token: u64, deadline: Option<Instant>, watched: bool, backoff: Duration) {
        let next = (!watched).then(|| Instant::now() + backoff);
        if let Some(at) = next.into_iter().chain(deadline).min() {
            self.schedule(token, at);
        }
    }

    fn open(self: &Arc<Hub>, op: OpId, dial: Dial, request: Request, deadline: Option<Instant>) -> Result<()> {
        let made = lane::connected(dial.into_carrier(), request.address, &request.options, request.allowed.as_deref())?;
        let lane = self.seat(made)?;
        match lane.submit(self, op, |conn| conn.open(op, deadline))? {
            None => Ok(()),
            Some(done) => done.map(drop),
        }
    }

    fn dial_again(self: &Arc<Hub>, token: u64, dialling: &Dialling) {
        let mut place = lock(&dialling.attempt);
        let Some(attempt) = place.take() else { return };
        let attempted = attempt.dial.attempt();
        let late = || dialling.deadline.is_some_and(|d| d <= Instant::now());
        if matches!(attempted, Ok(false)) && !late() {
            self.schedule_dial(token, dialling.deadline, attempt.watched, DIAL_BACKOFF);
            *place = Some(attempt);
            return;
        }
        self.leave_dial(token, dialling, &attempt);
        let result = match attempted {
            Ok(true) => self.open(dialling.op, attempt.dial, attempt.request, dialling.deadline),
            Ok(false) => Err(Error::new(Code::Timeout, "the deadline passed while the server's backlog was full")),
            Err(error) => Err(error),
        };
        if let Err(error) = result {
            self.complete(std::iter::once(Completion { op: dialling.op, result: Err(error) }));
        }
    }

    /// Ends a dial that is still waiting for the backlog. `false` if it has moved on.
    fn end_dial(&self, token: u64, dialling: &Dialling, code: Code) -> bool {
        let Some(attempt) = lock(&dialling.attempt).take() else { return false };
        self.leave_dial(token, dialling, &attempt);
        self.complete(std::iter::once(Completion { op: dialling.op, result: Err(turn::given_up(code)) }));
        true
    }

    fn leave_dial(&self, token: u64, dialling: &Dialling, attempt: &Attempt) {
        if attempt.watched
            && let Some(fd) = attempt.dial.progress()
        {
            // It was watched, so it can be taken out; the connection is watched under its own token.
            let _ = self.epoll.set(fd, token, WRITE, Interest::empty());
        }
        let mut state = lock(&self.state);
        if let Some(deadline) = dialling.deadline {
            state.timers.remove(&(deadline, token));
        }
        state.members.remove(&token);
    }

    // --- time --------------------------------------------------------------------------------------

    /// An operation that completes at `at`.
    pub(crate) fn timer(self: &Arc<Hub>, at: Instant) -> Result<OpId> {
        let op = self.new_op();
        let token = self.join_op(op, Member::Timer(op, at))?;
        let mut state = lock(&self.state);
        // Unless the context was closed meanwhile, and ended it.
        if state.members.contains_key(&token) {
            state.timers.insert((at, token));
            state.arm(&self.alarm, at);
        }
        Ok(op)
    }

    fn end_timer(&self, token: u64, op: OpId, at: Instant, result: Result<Outcome>) {
        let member = {
            let mut state = lock(&self.state);
            state.timers.remove(&(at, token));
            state.members.remove(&token)
        };
        if member.is_some() {
            self.complete(std::iter::once(Completion { op, result }));
        }
    }

    // --- the end -----------------------------------------------------------------------------------

    pub(crate) fn cancel(&self, op: OpId) {
        // In a forked child the operation is the parent's.
        if !self.stamp.current() {
            return;
        }
        match self.owner(op) {
            Some((token, Member::Dial(dialling))) => {
                // If it connected this very moment, a lane owns the operation now.
                if !self.end_dial(token, &dialling, Code::Cancelled)
                    && let Some((_, Member::Lane(lane))) = self.owner(op)
                {
                    lane.cancel(op);
                }
            }
            Some((_, Member::Lane(lane))) => lane.cancel(op),
            Some((_, Member::Acceptor(acceptor))) => acceptor.cancel(op),
            Some((token, Member::Timer(op, at))) => self.end_timer(token, op, at, Err(turn::given_up(Code::Cancelled))),
            None => {}
        }
    }

    fn owner(&self, op: OpId) -> Option<(u64, Member)> {
        let token = lock(&self.queue).owners.get(&op).copied()?;
        let member = lock(&self.state).members.get(&token).cloned()?;
        Some((token, member))
    }

    /// Closes everything driven here. Pending operations complete with `closed`.
    pub(crate) fn close(&self) {
        if !self.stamp.current() {
            return;
        }
        let members: Vec<(u64, Member)> = {
            let mut state = lock(&self.state);
            state.closing = true;
            state.members.iter().map(|(&token, member)| (token, member.clone())).collect()
        };
        for (token, member) in members {
            match member {
                Member::Lane(lane) => lane.close(),
                Member::Acceptor(acceptor) => acceptor.close(),
                Member::Dial(dialling) => {
                    self.end_dial(token, &dialling, Code::Closed);
                }
                Member::Timer(op, at) => self.end_timer(token, op, at, Err(turn::given_up(Code::Closed))),
            }
        }
        lock(&self.state).closed = true;
        self.bell.ring();
    }

    fn schedule(&self, token: u64, at: Instant) {
        let mut state = lock(&self.state);
        state.timers.insert((at, token));
        state.arm(&self.alarm, at);
    }
}

/// Nobody is rung for until this is dropped, be it by a panic.
struct Quiet<'a>(&'a Hub);

impl Drop for Quiet<'_> {
    fn drop(&mut self) {
        let mut queue = lock(&self.0.queue);
        queue.processing = false;
        if !queue.done.is_empty() {
            self.0.ring(&mut queue);
        }
    }
}

/// The alarm is set for the first timer that is left when this is dropped, be it by a panic.
struct Rest<'a>(&'a Hub);

impl Drop for Rest<'_> {
    fn drop(&mut self) {
        let mut state = lock(&self.0.state);
        if let Some(&(at, _)) = state.timers.first() {
            state.arm(&self.0.alarm, at);
        }
    }
}

impl State {
    fn arm(&mut self, alarm: &Alarm, at: Instant) {
        if self.armed.is_none_or(|armed| at < armed) {
            self.armed = Some(at);
            alarm.set(at);
        }
    }
}

fn closed() -> Error {
    Error::new(Code::Closed, "the context was closed")
}

/// What a finished operation means to the application.
pub(crate) fn outcome(lane: &Arc<Lane>, outcome: proto::Outcome) -> Outcome {
    match outcome {
        proto::Outcome::Opened => Outcome::Connected(Peer::of(lane.clone())),
        proto::Outcome::Message(delivery) => Outcome::Message(Message::new(delivery, lane.clone())),
        proto::Outcome::Reply(channel, payload) => Outcome::Reply(Message::plain(channel, payload, lane.clone())),
        proto::Outcome::Readable => Outcome::Readable,
        proto::Outcome::Item(item) => Outcome::Item(item),
        proto::Outcome::StreamEnd(reply) => Outcome::StreamEnd(reply),
        proto::Outcome::CallEnded => Outcome::CallEnded,
        proto::Outcome::Sent => Outcome::Sent,
        proto::Outcome::Pong(rtt) => Outcome::Pong(rtt),
        proto::Outcome::Drained => Outcome::Drained,
    }
}
