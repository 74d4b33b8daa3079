//! What a link decides: who serves, when to try again, and what becomes of calls whose connection was lost.
//!
//! ```text
//! Trying -- the address was free --> Serving (peer: none or one)
//!        -- somebody serves it ----> Connected
//!        -- neither ---------------> Waiting (delay) --> Trying
//! Connected -- lost --> Trying        Serving -- peer lost --> Serving, waits for the next
//! any -- attempts ran out, not to reconnect, closed --> Ended
//! ```

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::LinkEvent;
use super::options::LinkOptions;
use crate::addr::Address;
use crate::api::call::CallOptions;
use crate::api::listener::Listener;
use crate::api::message::Message;
use crate::api::peer::Peer;
use crate::driver::context::{Completion, Context, Outcome, Started};
use crate::driver::turn;
use crate::error::{Code, Error, Result, Sent};
use crate::limits;
use crate::log::{self, Event, Level};
use crate::os::random;
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
    Call(Ticket),
    /// The end of a call that still waits for a connection.
    Deadline(Ticket),
}

struct Call {
    payload: Bytes,
    options: CallOptions,
    deadline: Option<Instant>,
    /// Its operation, while it is on a connection or has a deadline to wait for.
    op: Option<u64>,
}

pub(super) struct Machine {
    address: Address,
    options: LinkOptions,
    phase: Phase,
    attempt: u32,
    ops: IdMap<What>,
    calls: IdMap<Call>,
    results: IdMap<Result<Message>>,
    last_ticket: Ticket,
    events: VecDeque<LinkEvent>,
    /// Some thread waits for the context.
    pub(super) driven: bool,
}

impl Machine {
    pub(super) fn new(address: Address, options: LinkOptions) -> Machine {
        Machine {
            address,
            options,
            phase: Phase::Trying,
            attempt: 0,
            ops: IdMap::default(),
            calls: IdMap::default(),
            results: IdMap::default(),
            last_ticket: 0,
            events: VecDeque::new(),
            driven: false,
        }
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

    pub(super) fn take_event(&mut self) -> Option<Result<LinkEvent>> {
        match (self.events.pop_front(), &self.phase) {
            (Some(event), _) => Some(Ok(event)),
            (None, Phase::Ended(error)) => Some(Err(error.clone())),
            (None, _) => None,
        }
    }

    // --- who serves --------------------------------------------------------------------------------

    /// Listens if the address is free, connects otherwise.
    pub(super) fn start(&mut self, context: &Context, now: Instant) {
        match Listener::bind_with(&self.address, &self.options.listen) {
            Ok(listener) => {
                self.phase = Phase::Serving { listener, peer: None };
                self.attempt = 0;
                self.accept(context);
            }
            Err(error) if error.code() == Code::AddressInUse => {
                self.phase = Phase::Trying;
                let deadline = now.checked_add(limits::LINK_ATTEMPT);
                match context.connect(&self.address, &self.options.connect, deadline) {
                    Ok(started) => self.expect(started, What::Connect),
                    Err(error) => self.failed(context, error, now),
                }
            }
            // Nothing that another attempt would change.
            Err(error) if !error.retryable() && error.code() != Code::NotFound => self.end(error),
            Err(error) => self.failed(context, error, now),
        }
    }

    fn accept(&mut self, context: &Context) {
        let Phase::Serving { listener, .. } = &self.phase else { return };
        match context.accept(listener, None) {
            Ok(started) => self.expect(started, What::Accept),
            Err(error) => self.end(error),
        }
    }

    /// An attempt came to nothing.
    fn failed(&mut self, context: &Context, error: Error, now: Instant) {
        self.attempt += 1;
        if self.options.retries.is_some_and(|most| self.attempt > most) {
            return self.end(error);
        }
        let doubled = self.options.delay.saturating_mul(1 << (self.attempt - 1).min(16));
        let delay = doubled.min(self.options.max_delay);
        // Between half and all of it, so that two do not go on meeting.
        let jitter = delay.mul_f64(f64::from(random::byte()) / 512.0);
        self.tell(Level::Debug, Event::LinkRetry, Some(&error), || {
            format!("attempt {} failed, another follows within {delay:?}: {}", self.attempt, error.message())
        });
        self.phase = Phase::Waiting;
        match context.timer(now + (delay - jitter).max(Duration::from_micros(100))) {
            Ok(started) => self.expect(started, What::Retry),
            Err(error) => self.end(error),
        }
    }

    fn up(&mut self, context: &Context, peer: Arc<Peer>, now: Instant) {
        self.attempt = 0;
        let serving = self.serving() == Some(true);
        self.events.push_back(LinkEvent::Up { serving });
        self.tell(Level::Info, Event::LinkUp, None, || {
            format!("the other side is there, this one {}", if serving { "serves" } else { "connected" })
        });
        self.receive(context, peer.clone());
        let waiting: Vec<Ticket> = self.calls.keys().copied().collect();
        for ticket in waiting {
            self.send_call(context, ticket, &peer, now);
        }
    }

    fn receive(&mut self, context: &Context, peer: Arc<Peer>) {
        match context.recv(&peer, None, None) {
            Ok(Started::Pending(op)) => drop(self.ops.insert(op, What::Recv(peer))),
            Ok(Started::Done(outcome)) => self.received(context, peer, Ok(outcome)),
            Err(error) => self.received(context, peer, Err(error)),
        }
    }

    fn received(&mut self, context: &Context, peer: Arc<Peer>, result: Result<Outcome>) {
        let mut next = result;
        loop {
            match next {
                Ok(Outcome::Message(message)) => self.events.push_back(LinkEvent::Message(message)),
                Ok(_) => {}
                Err(error) => return self.lost(context, &peer, error),
            }
            next = match context.recv(&peer, None, None) {
                Ok(Started::Pending(op)) => return drop(self.ops.insert(op, What::Recv(peer))),
                Ok(Started::Done(outcome)) => Ok(outcome),
                Err(error) => Err(error),
            };
        }
    }

    /// The connection to `lost` ended.
    fn lost(&mut self, context: &Context, lost: &Arc<Peer>, error: Error) {
        lost.close();
        let current = self.peer().is_some_and(|peer| Arc::ptr_eq(&peer, lost));
        if !current {
            return;
        }
        self.tell(Level::Warn, Event::LinkDown, Some(&error), || error.message().to_owned());
        self.events.push_back(LinkEvent::Down(error.clone()));
        if !self.options.reconnect {
            return self.end(error);
        }
        match &mut self.phase {
            Phase::Serving { peer, .. } => *peer = None,
            _ => self.start(context, Instant::now()),
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
            (What::Call(ticket), result) => self.called(context, ticket, result, now),
            (What::Deadline(ticket), _) => {
                if self.calls.get(&ticket).is_some_and(|call| call.op == Some(completion.op)) {
                    self.finish(ticket, Err(turn::given_up(Code::Timeout)));
                }
            }
        }
    }

    fn accepted(&mut self, context: &Context, result: Result<Outcome>, now: Instant) {
        let Phase::Serving { peer, .. } = &mut self.phase else { return };
        match result {
            // A pair is complete: the third waits, and tries again.
            Ok(Outcome::Accepted(third)) if peer.is_some() => third.close(),
            Ok(Outcome::Accepted(first)) => {
                let first = Arc::new(first);
                *peer = Some(first.clone());
                self.up(context, first, now);
            }
            Ok(_) => {}
            Err(error) => return self.end(error),
        }
        self.accept(context);
    }

    // --- calls -------------------------------------------------------------------------------------

    pub(super) fn request(
        &mut self,
        context: &Context,
        payload: Bytes,
        options: CallOptions,
        deadline: Option<Instant>,
    ) -> Result<Ticket> {
        if let Phase::Ended(error) = &self.phase {
            return Err(error.clone());
        }
        if self.calls.len() >= limits::MAX_CALLS {
            return Err(Error::new(Code::QueueFull, format!("{} calls are open on this link", limits::MAX_CALLS)));
        }
        self.last_ticket += 1;
        let ticket = self.last_ticket;
        self.calls.insert(ticket, Call { payload, options, deadline, op: None });
        match self.peer() {
            Some(peer) => self.send_call(context, ticket, &peer, Instant::now()),
            None => self.park(context, ticket),
        }
        Ok(ticket)
    }

    fn send_call(&mut self, context: &Context, ticket: Ticket, peer: &Peer, now: Instant) {
        let Some(call) = self.calls.get_mut(&ticket) else { return };
        if let Some(parked) = call.op.take() {
            self.ops.remove(&parked);
            context.cancel(parked);
        }
        if call.deadline.is_some_and(|d| d <= now) {
            return self.finish(ticket, Err(turn::given_up(Code::Timeout)));
        }
        match context.request_with(peer, call.payload.clone(), call.options.again(), call.deadline) {
            Ok(Started::Pending(op)) => {
                call.op = Some(op);
                self.ops.insert(op, What::Call(ticket));
            }
            Ok(Started::Done(outcome)) => self.called(context, ticket, Ok(outcome), now),
            Err(error) => self.called(context, ticket, Err(error), now),
        }
    }

    /// Keeps a call until there is a connection, or its time is over.
    fn park(&mut self, context: &Context, ticket: Ticket) {
        let Some(call) = self.calls.get_mut(&ticket) else { return };
        call.op = None;
        if let Some(deadline) = call.deadline
            && let Ok(Started::Pending(op)) = context.timer(deadline)
        {
            call.op = Some(op);
            self.ops.insert(op, What::Deadline(ticket));
        }
    }

    fn called(&mut self, context: &Context, ticket: Ticket, result: Result<Outcome>, now: Instant) {
        let Some(call) = self.calls.get_mut(&ticket) else { return };
        call.op = None;
        let error = match result {
            Ok(Outcome::Reply(message)) => return self.finish(ticket, Ok(message)),
            Ok(_) => Error::new(Code::Internal, "a call ended as another kind"),
            Err(error) => error,
        };
        let lost =
            matches!(error.code(), Code::ConnectionLost | Code::PeerClosed | Code::Draining | Code::PeerUnresponsive);
        let again = error.sent() == Sent::No || call.options.is_idempotent();
        if !(lost && again && self.options.reconnect) {
            return self.finish(ticket, Err(error));
        }
        // The next connection gets it; while the lost one still counts as there, its end is about to be told.
        match self.peer().filter(|peer| peer.is_open()) {
            Some(peer) => self.send_call(context, ticket, &peer, now),
            None => self.park(context, ticket),
        }
    }

    fn finish(&mut self, ticket: Ticket, result: Result<Message>) {
        if self.calls.remove(&ticket).is_some() {
            self.results.insert(ticket, result);
        }
    }

    pub(super) fn take_result(&mut self, ticket: Ticket) -> Option<Result<Message>> {
        self.results.remove(&ticket)
    }

    pub(super) fn cancel(&mut self, context: &Context, ticket: Ticket) {
        self.results.remove(&ticket);
        if let Some(Call { op: Some(op), .. }) = self.calls.remove(&ticket) {
            self.ops.remove(&op);
            context.cancel(op);
        }
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
    }
}
