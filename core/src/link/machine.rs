//! What a link decides: who serves, when to try again, and what becomes of calls whose connection was lost.
//!
//! ```text
//! Trying -- the address was free --> Serving (peer: none or one)
//!        -- somebody serves it ----> Connected
//!        -- neither ---------------> Waiting (delay) --> Trying
//! Connected -- lost --> Trying        Serving -- peer lost --> Serving, waits for the next
//! any -- attempts ran out, not to reconnect, closed --> Ended
//! ```

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::options::LinkOptions;
use super::{LinkEvent, LinkResult};
use crate::addr::Address;
use crate::api::call::CallOptions;
use crate::api::listener::Listener;
use crate::api::message::Message;
use crate::api::payload::Payload;
use crate::api::peer::Peer;
use crate::driver::context::{Completion, Context, Outcome, Started};
use crate::driver::place::Sleep;
use crate::driver::turn;
use crate::error::{Code, Error, Result, Sent};
use crate::limits;
use crate::log::{self, Event, Level};
use crate::os::random;
use crate::os::thread_bell::ThreadBell;
use crate::proto::OpId;
use crate::proto::ids::IdMap;

/// Names a call started on a link.
pub(super) type Ticket = u64;

enum Phase {
    Trying,
    Waiting,
    Serving { listener: Listener, peer: Option<Arc<Peer>> },
    Connected { peer: Arc<Peer> },
    Ended(Error),
}

/// What an operation of the context was started for.
enum What {
    Connect,
    Accept,
    Retry,
    Recv(Arc<Peer>),
    Call(Ticket, Arc<Peer>),
    /// The end of a call that still waits for a connection.
    Deadline(Ticket),
    /// The end of a request of the other side.
    Watch(Ticket),
    /// A message whose sender waits until it has left.
    Send,
}

struct Call {
    payload: Bytes,
    options: CallOptions,
    deadline: Option<Instant>,
    /// Its operation, while it is on a connection or has a deadline to wait for.
    op: Option<u64>,
    /// A thread waits for it.
    awaited: bool,
    /// Nobody wants it any more: it is not repeated.
    given_up: bool,
}

pub(super) struct Machine {
    address: Address,
    options: LinkOptions,
    phase: Phase,
    /// Attempts in a row that came to nothing, and those of them that count as failed.
    attempts: u32,
    failures: u32,
    /// Since when the other side is there, and connections in a row that did not last.
    up_at: Option<Instant>,
    brief: u32,
    ops: IdMap<What>,
    calls: IdMap<Call>,
    /// Of calls that threads wait for.
    awaited: IdMap<Result<Message>>,
    /// Of sends that threads wait for, by their operations.
    sent: IdMap<Result<()>>,
    /// Of the others, and of watches, in the order in which they were started.
    results: BTreeMap<Ticket, LinkResult>,
    last_ticket: Ticket,
    events: VecDeque<LinkEvent>,
    /// Enough messages wait in `events`; more wait with the connection.
    held: bool,
    /// Some thread waits for the context.
    pub(super) driven: bool,
    /// What wakes it, beside the context.
    pub(super) driver: Option<Sleep>,
    /// Who waits for that thread.
    pub(super) followers: Vec<Arc<ThreadBell>>,
}

const NOBODY_THERE: &str = "the other side was not there before the deadline passed";

impl Machine {
    pub(super) fn new(address: Address, options: LinkOptions) -> Machine {
        Machine {
            address,
            options,
            phase: Phase::Trying,
            attempts: 0,
            failures: 0,
            up_at: None,
            brief: 0,
            ops: IdMap::default(),
            calls: IdMap::default(),
            awaited: IdMap::default(),
            sent: IdMap::default(),
            results: BTreeMap::new(),
            last_ticket: 0,
            events: VecDeque::new(),
            held: false,
            driven: false,
            driver: None,
            followers: Vec::new(),
        }
    }

    /// Somebody gave up driving, or something ended.
    pub(super) fn tell_followers(&mut self) {
        self.followers.drain(..).for_each(|bell| bell.ring());
    }

    pub(super) fn peer(&self) -> Option<Arc<Peer>> {
        match &self.phase {
            Phase::Serving { peer, .. } => peer.clone(),
            Phase::Connected { peer } => Some(peer.clone()),
            _ => None,
        }
    }

    fn tell(&self, level: Level, event: Event, error: Option<&Error>, text: impl FnOnce() -> String) {
        if !log::wanted(level) {
            return;
        }
        let connection = self.peer().and_then(|peer| peer.info().ok());
        let peer = connection.as_ref().map_or("", |info| &info.peer_id);
        log::tell(level, event, peer, &self.address.to_string(), error, text);
    }

    pub(super) fn serving(&self) -> Option<bool> {
        match self.phase {
            Phase::Serving { .. } => Some(true),
            Phase::Connected { .. } => Some(false),
            _ => None,
        }
    }

    pub(super) fn ended(&self) -> Option<&Error> {
        match &self.phase {
            Phase::Ended(error) => Some(error),
            _ => None,
        }
    }

    pub(super) fn take_event(&mut self, context: &Context) -> Option<Result<LinkEvent>> {
        let event = self.events.pop_front();
        if self.held
            && self.messages() <= limits::LINK_EVENTS / 2
            && let Some(peer) = self.peer()
        {
            self.receive(context, peer, limits::LINK_EVENTS);
        }
        event.map(Ok).or_else(|| self.ended().cloned().map(Err))
    }

    pub(super) fn has_events(&self) -> bool {
        !self.events.is_empty()
    }

    fn messages(&self) -> usize {
        self.events.iter().filter(|event| matches!(event, LinkEvent::Message(_))).count()
    }

    // --- who serves --------------------------------------------------------------------------------

    /// Listens if the address is free, connects otherwise.
    pub(super) fn start(&mut self, context: &Context, now: Instant) {
        match Listener::bind_with(&self.address, &self.options.listen) {
            Ok(listener) => {
                self.phase = Phase::Serving { listener, peer: None };
                (self.attempts, self.failures) = (0, 0);
                self.accept(context, now);
            }
            Err(error) if error.code() == Code::AddressInUse => {
                self.phase = Phase::Trying;
                let deadline = now.checked_add(limits::LINK_ATTEMPT);
                match context.connect(&self.address, &self.options.connect, deadline) {
                    Ok(started) => self.expect(started, What::Connect),
                    Err(error) => self.failed(context, error, now),
                }
            }
            Err(error) => self.failed(context, error, now),
        }
    }

    fn accept(&mut self, context: &Context, now: Instant) {
        let Phase::Serving { listener, .. } = &self.phase else { return };
        match context.accept(listener, None) {
            Ok(started) => self.expect(started, What::Accept),
            // Then it listens anew.
            Err(error) => self.failed(context, error, now),
        }
    }

    /// An attempt came to nothing.
    fn failed(&mut self, context: &Context, error: Error, now: Instant) {
        // A server that was killed in a handshake gives no reason; what else is not to be repeated would not change.
        if !error.retryable() && error.code() != Code::Refused {
            return self.end(error);
        }
        self.attempts = self.attempts.saturating_add(1);
        // Both places are taken: a third waits for one. What this process has none of is not the other side's failure.
        self.failures += u32::from(!matches!(error.code(), Code::QueueFull | Code::TooManyFiles));
        if self.options.retries.is_some_and(|most| self.failures > most) {
            return self.end(error);
        }
        let attempts = self.attempts;
        self.wait(context, attempts, &error, now, || format!("attempt {attempts} failed"));
    }

    /// Tries again after the pause that follows so many attempts in a row.
    fn wait(&mut self, context: &Context, attempts: u32, error: &Error, now: Instant, what: impl FnOnce() -> String) {
        let delay = self.pause(attempts);
        // Between half and all of it, so that two do not go on meeting.
        let jitter = delay.mul_f64(f64::from(random::byte()) / 512.0);
        self.tell(Level::Debug, Event::LinkRetry, Some(error), || {
            format!("{}, another attempt follows within {delay:?}: {}", what(), error.message())
        });
        self.phase = Phase::Waiting;
        match context.timer(now + (delay - jitter).max(Duration::from_micros(100))) {
            Ok(started) => self.expect(started, What::Retry),
            Err(error) => self.end(error),
        }
    }

    /// The longest pause after so many attempts in a row.
    fn pause(&self, attempts: u32) -> Duration {
        let doubled = self.options.delay.saturating_mul(1 << attempts.saturating_sub(1).min(16));
        doubled.min(self.options.max_delay)
    }

    fn up(&mut self, context: &Context, peer: Arc<Peer>, now: Instant) {
        (self.attempts, self.failures) = (0, 0);
        self.up_at = Some(now);
        let serving = self.serving() == Some(true);
        self.events.push_back(LinkEvent::Up { serving });
        self.tell(Level::Info, Event::LinkUp, None, || {
            format!("the other side is there, this one {}", if serving { "serves" } else { "connected" })
        });
        self.receive(context, peer.clone(), limits::LINK_EVENTS);
        let waiting: Vec<Ticket> = self.calls.keys().copied().collect();
        for ticket in waiting {
            self.send_call(context, ticket, &peer, now);
        }
    }

    /// Takes what has arrived until `most` messages wait for the program.
    fn receive(&mut self, context: &Context, peer: Arc<Peer>, most: usize) {
        loop {
            self.held = self.messages() >= most;
            if self.held {
                return;
            }
            match context.recv(&peer, None, None) {
                Ok(Started::Pending(op)) => return drop(self.ops.insert(op, What::Recv(peer))),
                Ok(Started::Done(Outcome::Message(message))) => self.events.push_back(LinkEvent::Message(message)),
                Ok(Started::Done(_)) => return,
                Err(error) => return self.lost(context, &peer, error),
            }
        }
    }

    fn received(&mut self, context: &Context, peer: Arc<Peer>, result: Result<Outcome>) {
        match result {
            Ok(Outcome::Message(message)) => self.events.push_back(LinkEvent::Message(message)),
            Ok(_) => {}
            Err(error) => return self.lost(context, &peer, error),
        }
        self.receive(context, peer, limits::LINK_EVENTS);
    }

    /// The connection to `lost` ended.
    fn lost(&mut self, context: &Context, lost: &Arc<Peer>, error: Error) {
        lost.close();
        if self.peer().is_none_or(|peer| !Arc::ptr_eq(&peer, lost)) {
            return;
        }
        self.tell(Level::Warn, Event::LinkDown, Some(&error), || error.message().to_owned());
        self.held = false;
        match self.events.back() {
            Some(LinkEvent::Up { .. }) if self.events.len() > limits::LINK_EVENTS => drop(self.events.pop_back()),
            _ => self.events.push_back(LinkEvent::Down(error.clone())),
        }
        if !self.options.reconnect {
            return self.end(error);
        }
        if let Phase::Serving { peer, .. } = &mut self.phase {
            *peer = None;
            return self.accept(context, Instant::now());
        }
        self.reconnect(context, error, Instant::now());
    }

    /// Whoever served the address may have gone, so another attempt is made at once. Of connections in a row that lasted no
    /// longer than the pause behind them, each after the first is an attempt that failed: a side that takes whoever comes and
    /// ends is not asked without a pause for ever.
    fn reconnect(&mut self, context: &Context, error: Error, now: Instant) {
        let lasted = self.up_at.take().map_or(Duration::ZERO, |up| now.saturating_duration_since(up));
        self.brief = if lasted > self.pause(self.brief) { 0 } else { self.brief.saturating_add(1) };
        let failed = self.brief.saturating_sub(1);
        if self.options.retries.is_some_and(|most| failed > most) {
            return self.end(error);
        }
        match failed {
            0 => self.start(context, now),
            _ => self.wait(context, failed, &error, now, || format!("the connection lasted {lasted:?}")),
        }
    }

    fn expect(&mut self, started: Started, what: What) {
        if let Started::Pending(op) = started {
            self.ops.insert(op, what);
        }
    }

    pub(super) fn completed(&mut self, context: &Context, completion: Completion, now: Instant) {
        let Some(what) = self.ops.remove(&completion.op) else { return };
        if matches!(self.phase, Phase::Ended(_)) {
            return;
        }
        match (what, completion.result) {
            (What::Retry, _) => self.start(context, now),
            (What::Connect, Ok(Outcome::Connected(peer))) => {
                let peer = Arc::new(peer);
                self.phase = Phase::Connected { peer: peer.clone() };
                self.up(context, peer, now);
            }
            (What::Connect, result) => {
                let error =
                    result.err().unwrap_or_else(|| Error::new(Code::Internal, "a connect ended as another kind"));
                self.failed(context, error, now);
            }
            (What::Accept, result) => self.accepted(context, result, now),
            (What::Recv(peer), result) => self.received(context, peer, result),
            (What::Call(ticket, peer), result) => self.called(context, ticket, &peer, result),
            (What::Send, result) => drop(self.sent.insert(completion.op, result.map(drop))),
            (What::Watch(ticket), _) => drop(self.results.insert(ticket, LinkResult::CallEnded)),
            (What::Deadline(ticket), _) => {
                if self.calls.get(&ticket).is_some_and(|call| call.op == Some(completion.op)) {
                    self.finish(ticket, Err(Error::new(Code::Timeout, NOBODY_THERE)));
                }
            }
        }
    }

    fn accepted(&mut self, context: &Context, result: Result<Outcome>, now: Instant) {
        let Phase::Serving { peer, .. } = &mut self.phase else { return };
        match result {
            Ok(Outcome::Accepted(accepted)) => {
                let accepted = Arc::new(accepted);
                *peer = Some(accepted.clone());
                // Nobody else is waited for, so a third is turned away and tries again.
                self.up(context, accepted, now);
            }
            Ok(_) => self.accept(context, now),
            Err(error) => self.failed(context, error, now),
        }
    }

    // --- calls -------------------------------------------------------------------------------------

    pub(super) fn request(
        &mut self,
        context: &Context,
        payload: Bytes,
        options: CallOptions,
        deadline: Option<Instant>,
        awaited: bool,
    ) -> Result<Ticket> {
        if let Phase::Ended(error) = &self.phase {
            return Err(error.clone());
        }
        if self.calls.len() >= limits::MAX_CALLS {
            return Err(Error::new(Code::QueueFull, format!("{} calls are open on this link", limits::MAX_CALLS)));
        }
        let ticket = self.new_ticket();
        self.calls.insert(ticket, Call { payload, options, deadline, op: None, awaited, given_up: false });
        match self.peer() {
            Some(peer) => self.send_call(context, ticket, &peer, Instant::now()),
            None => self.park(context, ticket),
        }
        Ok(ticket)
    }

    fn new_ticket(&mut self) -> Ticket {
        self.last_ticket += 1;
        self.last_ticket
    }

    fn send_call(&mut self, context: &Context, ticket: Ticket, peer: &Arc<Peer>, now: Instant) {
        let Some(call) = self.calls.get_mut(&ticket) else { return };
        if let Some(parked) = call.op.take() {
            self.ops.remove(&parked);
            context.cancel(parked);
        }
        if call.deadline.is_some_and(|d| d <= now) {
            return self.finish(ticket, Err(Error::new(Code::Timeout, NOBODY_THERE)));
        }
        match context.request_with(peer, call.payload.clone(), call.options.again(), call.deadline) {
            Ok(Started::Pending(op)) => {
                call.op = Some(op);
                self.ops.insert(op, What::Call(ticket, peer.clone()));
            }
            Ok(Started::Done(outcome)) => self.called(context, ticket, peer, Ok(outcome)),
            Err(error) => self.called(context, ticket, peer, Err(error)),
        }
    }

    /// Keeps a call until there is a connection, or its time is over.
    fn park(&mut self, context: &Context, ticket: Ticket) {
        let Some(call) = self.calls.get_mut(&ticket) else { return };
        call.op = None;
        let Some(deadline) = call.deadline else { return };
        match context.timer(deadline) {
            Ok(Started::Pending(op)) => {
                call.op = Some(op);
                self.ops.insert(op, What::Deadline(ticket));
            }
            Ok(Started::Done(_)) => self.finish(ticket, Err(turn::given_up(Code::Timeout))),
            // Without a clock it would wait beyond its time.
            Err(error) => self.finish(ticket, Err(error)),
        }
    }

    fn called(&mut self, context: &Context, ticket: Ticket, peer: &Arc<Peer>, result: Result<Outcome>) {
        let Some(call) = self.calls.get_mut(&ticket) else { return };
        call.op = None;
        let error = match result {
            Ok(Outcome::Reply(message)) => return self.finish(ticket, Ok(message)),
            Ok(_) => Error::new(Code::Internal, "a call ended as another kind"),
            Err(error) => error,
        };
        let lost = matches!(
            error.code(),
            Code::ConnectionLost
                | Code::PeerClosed
                | Code::Truncated
                | Code::PeerUnresponsive
                | Code::Draining
                | Code::Closed
        );
        let again = !call.given_up && (error.sent() == Sent::No || call.options.is_idempotent());
        if !(lost && again && self.options.reconnect) {
            return self.finish(ticket, Err(error));
        }
        // The next connection gets it. That this one ends is told by what receives from it.
        self.park(context, ticket);
        if self.held && self.peer().is_some_and(|current| Arc::ptr_eq(&current, peer)) {
            self.receive(context, peer.clone(), usize::MAX);
        }
    }

    fn finish(&mut self, ticket: Ticket, result: Result<Message>) {
        match self.calls.remove(&ticket) {
            Some(call) if call.awaited => drop(self.awaited.insert(ticket, result)),
            Some(_) => drop(self.results.insert(ticket, LinkResult::Call(result))),
            None => {}
        }
    }

    pub(super) fn has_result(&self, ticket: Ticket) -> bool {
        self.results.contains_key(&ticket)
    }

    pub(super) fn take_awaited(&mut self, ticket: Ticket) -> Option<Result<Message>> {
        self.awaited.remove(&ticket)
    }

    pub(super) fn take_result(&mut self, ticket: Ticket) -> Option<Result<Message>> {
        match self.results.remove(&ticket)? {
            LinkResult::Call(result) => Some(result),
            ended @ LinkResult::CallEnded => {
                self.results.insert(ticket, ended);
                None
            }
        }
    }

    pub(super) fn take_any_result(&mut self) -> Option<(Ticket, LinkResult)> {
        self.results.pop_first()
    }

    /// Nobody wants the result.
    pub(super) fn forget(&mut self, context: &Context, ticket: Ticket) {
        self.results.remove(&ticket);
        self.awaited.remove(&ticket);
        if let Some(Call { op: Some(op), .. }) = self.calls.remove(&ticket) {
            self.ops.remove(&op);
            context.cancel(op);
        }
    }

    /// A call on a connection ends when that says so, any other at once.
    pub(super) fn cancel(&mut self, context: &Context, ticket: Ticket) {
        let Some(call) = self.calls.get_mut(&ticket) else { return };
        call.given_up = true;
        let op = call.op;
        op.inspect(|op| context.cancel(*op));
        if op.is_none_or(|op| matches!(self.ops.get(&op), Some(What::Deadline(_)))) {
            op.inspect(|op| drop(self.ops.remove(op)));
            self.finish(ticket, Err(turn::given_up(Code::Cancelled)));
        }
    }

    // --- messages ----------------------------------------------------------------------------------

    /// Sends to whoever is there: the operation to wait for, if it has not left at once.
    pub(super) fn send(
        &mut self,
        context: &Context,
        payload: impl Payload,
        options: CallOptions,
        deadline: Option<Instant>,
    ) -> Result<Option<OpId>> {
        let peer = self.peer().ok_or_else(|| self.absent())?;
        Ok(match context.send_with(&peer, payload, options, deadline)? {
            Started::Done(_) => None,
            Started::Pending(op) => {
                self.ops.insert(op, What::Send);
                Some(op)
            }
        })
    }

    pub(super) fn take_sent(&mut self, op: OpId) -> Option<Result<()>> {
        self.sent.remove(&op)
    }

    pub(super) fn cancel_send(&mut self, context: &Context, op: OpId) {
        self.sent.remove(&op);
        if self.ops.remove(&op).is_some() {
            context.cancel(op);
        }
    }

    /// Why there is nobody to send to.
    pub(super) fn absent(&self) -> Error {
        let none = || Error::new(Code::ConnectionLost, "the other side is not there");
        self.ended().cloned().unwrap_or_else(none)
    }

    /// Tells under the number that is returned when no answer to `message` is wanted any more.
    pub(super) fn call_ended(&mut self, context: &Context, message: &Message) -> Result<Ticket> {
        let started = context.call_ended(message, None)?;
        let ticket = self.new_ticket();
        match started {
            Started::Pending(op) if self.ended().is_none() => drop(self.ops.insert(op, What::Watch(ticket))),
            _ => drop(self.results.insert(ticket, LinkResult::CallEnded)),
        }
        Ok(ticket)
    }

    // --- the end -----------------------------------------------------------------------------------

    /// The link is over; everything that waits ends with `error`. Idempotent.
    pub(super) fn end(&mut self, error: Error) {
        if matches!(self.phase, Phase::Ended(_)) {
            return;
        }
        if let Some(peer) = self.peer() {
            peer.close();
        }
        if error.code() != Code::Closed {
            self.tell(Level::Error, Event::LinkEnded, Some(&error), || error.message().to_owned());
        }
        // Dropping a listener frees the address.
        self.phase = Phase::Ended(error.clone());
        let open: Vec<Ticket> = self.calls.keys().copied().collect();
        for ticket in open {
            self.finish(ticket, Err(error.clone()));
        }
        for (op, what) in self.ops.drain() {
            match what {
                What::Watch(ticket) => drop(self.results.insert(ticket, LinkResult::CallEnded)),
                What::Send => drop(self.sent.insert(op, Err(error.with_sent(Sent::Maybe)))),
                _ => {}
            }
        }
    }
}
