//! Calls of this side, and what may go with a message or call.

use std::collections::hash_map::Entry;
use std::time::Instant;

use bytes::Bytes;

use super::Level1;
use super::ext::Ext;
use super::header::{Header, flag, kind};
use super::outbox::{Mark, Outgoing, Plan};
use super::stream::Stream;
use crate::error::{Code, Error, Result, Sent};
use crate::limits;
use crate::os::Descriptor;
use crate::proto::charge::charge;
use crate::proto::ops::{Kind, OpId, Ops, Outcome};

/// What may go with a message or a request.
#[derive(Debug, Default)]
pub(crate) struct With {
    /// When the caller stops waiting, told to the other side.
    pub(crate) deadline: Option<Instant>,
    /// What few have, so that the rest is moved cheaply.
    more: Option<Box<More>>,
}

#[derive(Debug, Default)]
pub(crate) struct More {
    pub(crate) idempotency: Option<Bytes>,
    pub(crate) trace: Option<Bytes>,
    pub(crate) fds: Vec<Descriptor>,
}

impl With {
    #[cfg(any(test, fuzzing))]
    pub(crate) fn new(deadline: Option<Instant>) -> With {
        With { deadline, more: None }
    }

    /// What few have.
    pub(crate) fn more(&self) -> Option<&More> {
        self.more.as_deref()
    }

    pub(crate) fn more_mut(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }

    /// The same for another attempt, without the descriptors, which went with the first.
    pub(crate) fn again(&self) -> With {
        let more = self.more().map(|more| {
            let (idempotency, trace) = (more.idempotency.clone(), more.trace.clone());
            Box::new(More { idempotency, trace, fds: Vec::new() })
        });
        With { deadline: self.deadline, more }
    }

    /// How many descriptors.
    pub(super) fn fds(&self) -> usize {
        self.more().map_or(0, |more| more.fds.len())
    }

    pub(crate) fn has_fds(&self) -> bool {
        self.fds() > 0
    }

    fn take_fds(&mut self) -> Vec<Descriptor> {
        self.more.as_mut().map(|more| std::mem::take(&mut more.fds)).unwrap_or_default()
    }

    fn is_plain(&self) -> bool {
        self.deadline.is_none() && self.more.is_none()
    }

    fn ext(&self, now: Instant) -> Ext {
        let left = |at: Instant| u64::try_from(at.saturating_duration_since(now).as_micros()).unwrap_or(u64::MAX);
        Ext { deadline_us: self.deadline.map(left), ..self.plain_ext() }
    }

    fn plain_ext(&self) -> Ext {
        let Some(More { idempotency, trace, fds }) = self.more() else { return Ext::default() };
        Ext {
            idempotency: idempotency.clone(),
            trace: trace.clone(),
            fds: (!fds.is_empty()).then_some(fds.len() as u8),
            ..Ext::default()
        }
    }

    pub(super) fn message(mut self, kind: u8, id: u64, flags: u8, payload: Bytes, mark: Option<Mark>) -> Outgoing {
        Outgoing { kind, flags, id, ext: self.plain_ext(), payload, fds: self.take_fds(), mark }
    }

    /// `invalid_argument` for keys outside their limits, `unsupported` for descriptors the connection cannot carry.
    pub(crate) fn check(&self, fds: bool) -> Result<()> {
        let Some(More { idempotency, trace, fds: own }) = self.more() else { return Ok(()) };
        for (what, key) in [("an idempotency key", idempotency), ("a trace", trace)] {
            if key.as_ref().is_some_and(|key| key.is_empty() || key.len() > limits::MAX_KEY) {
                return Err(Error::new(Code::InvalidArgument, format!("{what} has 1 to {} bytes", limits::MAX_KEY)));
            }
        }
        if own.len() > limits::MAX_FDS {
            return Err(Error::new(
                Code::InvalidArgument,
                format!("a message carries at most {} descriptors", limits::MAX_FDS),
            ));
        }
        if !own.is_empty() && !fds {
            return Err(Error::new(Code::Unsupported, "this connection carries no descriptors"));
        }
        Ok(())
    }
}

/// A request to be made.
#[derive(Debug)]
pub(crate) struct Ask {
    /// Position of the channel.
    pub(crate) at: usize,
    pub(crate) stream: bool,
    /// The caller of a stream sends no items.
    pub(crate) fin: bool,
    pub(crate) with: With,
}

impl Ask {
    fn flags(&self) -> u8 {
        let stream = if self.stream { flag::STREAM } else { 0 };
        stream | if self.fin { flag::FIN } else { 0 }
    }
}

/// A call of this side.
#[derive(Debug)]
pub(super) struct OwnCall {
    pub(super) at: usize,
    /// `None` for a stream, which is waited for item by item, and for a cancelled one.
    pub(super) op: Option<OpId>,
    /// It has one of the places the other side gives, until its end, or until it is [given up](Level1::given_up).
    pub(super) open: bool,
    /// The last byte of the request left this process.
    pub(super) sent: bool,
    /// Its request is on the way, and the CANCEL is to follow it.
    pub(super) cancelled: bool,
    pub(super) stream: Option<Box<Stream>>,
}

impl OwnCall {
    /// Whether it has not ended. A plain call that has is not kept; a stream that has is, for its last items.
    pub(super) fn is_running(&self) -> bool {
        self.stream.as_ref().is_none_or(|stream| !stream.ended())
    }
}

/// A call above the number the other side serves at a time.
#[derive(Debug)]
pub(super) struct Waiting {
    id: u64,
    ask: Ask,
    ext: Ext,
    payload: Bytes,
}

impl Level1 {
    fn new_id(&mut self) -> u64 {
        self.last_own = self.last_own.wrapping_add(2);
        self.last_own
    }

    fn insert_call(&mut self, id: u64, op: Option<OpId>, ask: &Ask) {
        let stream =
            ask.stream.then(|| Box::new(Stream::new(self.own.stream_window, self.peer.stream_window, ask.fin)));
        self.calls.insert(id, OwnCall { at: ask.at, op, open: false, sent: false, cancelled: false, stream });
    }

    /// A plain call has its place at once; `sent` if it has left, too.
    fn insert_plain(&mut self, id: u64, op: OpId, at: usize, sent: bool) {
        self.calls.insert(id, OwnCall { at, op: Some(op), open: true, sent, cancelled: false, stream: None });
        self.open_calls += 1;
    }

    /// Starts a call; a plain one ends `op`, a stream is used by the id that comes back.
    pub(crate) fn ask(
        &mut self,
        op: Option<OpId>,
        ask: Ask,
        payload: Bytes,
        now: Instant,
        ops: &mut Ops,
        deadline: Option<Instant>,
    ) -> Result<u64> {
        let busy = self.open_calls >= self.peer.max_calls;
        if busy && self.waiting.len() >= limits::MAX_CALLS {
            let limit = limits::MAX_CALLS;
            return Err(Error::new(Code::QueueFull, format!("{limit} calls wait for their turn")));
        }
        let id = self.new_id();
        self.insert_call(id, op, &ask);
        if let Some(op) = op {
            ops.insert(op, Kind::Request(id), deadline);
        }
        if let Some(at) = ask.with.deadline.filter(|_| ask.stream) {
            let calls = &self.calls;
            let runs = |id| calls.get(&id).is_some_and(OwnCall::is_running);
            self.stream_deadlines.insert(at, id, calls.len(), runs);
        }
        let ext = ask.with.ext(now);
        let waiting = Waiting { id, ask, ext, payload };
        if busy {
            self.waiting.push_back(waiting)
        } else {
            self.start_call(waiting)
        }
        Ok(id)
    }

    fn take_place(&mut self, id: u64) {
        if let Some(call) = self.calls.get_mut(&id) {
            call.open = true;
            self.open_calls += 1;
        }
    }

    /// Its request never left.
    fn leave_place(&mut self, id: u64) {
        if let Some(call) = self.calls.get_mut(&id)
            && std::mem::take(&mut call.open)
        {
            self.open_calls -= 1;
        }
    }

    fn start_call(&mut self, waiting: Waiting) {
        let Waiting { id, mut ask, ext, payload } = waiting;
        self.take_place(id);
        self.count_out(ask.at, payload.len());
        let (at, flags) = (ask.at, ask.flags());
        let (fds, mark) = (ask.with.take_fds(), Some(Mark::Request(id)));
        let message = Outgoing { kind: kind::REQUEST, flags, id, ext, payload, fds, mark };
        self.outbox.push(at, message, true);
    }

    /// Starts calls that waited for a place.
    pub(super) fn start_waiting(&mut self) {
        while self.open_calls < self.peer.max_calls
            && let Some(waiting) = self.waiting.pop_front()
        {
            if self.calls.contains_key(&waiting.id) {
                self.start_call(waiting);
            }
        }
    }

    /// The frames of a plain call that may be written this moment from the caller's memory.
    pub(crate) fn plan_ask(&self, at: usize, with: &With, len: usize, now: Instant) -> Option<Plan> {
        if self.open_calls >= self.peer.max_calls || !self.waiting.is_empty() || with.has_fds() {
            return None;
        }
        let id = self.last_own.wrapping_add(2);
        let header = Header { len: 0, kind: kind::REQUEST, flags: 0, channel: 0, id };
        self.plan(at, header, (!with.is_plain()).then(|| with.ext(now)).as_ref(), len, true)
    }

    /// The driver wrote `taken` bytes of a call with [`plan_ask`](Level1::plan_ask).
    #[allow(clippy::too_many_arguments)] // One call in one place, with what the driver knows.
    pub(crate) fn wrote_ask(
        &mut self,
        op: OpId,
        at: usize,
        plan: &Plan,
        len: usize,
        taken: usize,
        payload: impl FnOnce() -> Bytes,
        ops: &mut Ops,
        deadline: Option<Instant>,
    ) {
        let id = self.new_id();
        self.count_out(at, len);
        self.outbox.channel(at).charge(charge(len, 0));
        let left = self.outbox.wrote(at, plan, taken, payload, Some(Mark::Request(id)));
        self.insert_plain(id, op, at, left);
        ops.insert(op, Kind::Request(id), deadline);
    }

    /// A call whose plan was asked for inside a cork joins what is gathered.
    pub(crate) fn gathered_ask(
        &mut self,
        op: OpId,
        at: usize,
        plan: &Plan,
        payload: &[u8],
        ops: &mut Ops,
        deadline: Option<Instant>,
    ) {
        let id = self.new_id();
        self.insert_plain(id, op, at, false);
        self.count_out(at, payload.len());
        self.outbox.channel(at).charge(charge(payload.len(), 0));
        self.gather(plan, payload, Some(Mark::Request(id)));
        ops.insert(op, Kind::Request(id), deadline);
    }

    /// Whether nothing of the request of an own call has begun to leave.
    pub(super) fn is_unsent(&self, id: u64) -> bool {
        self.calls
            .get(&id)
            .is_some_and(|call| !call.sent && (!call.open || self.outbox.channels()[call.at].holds(Mark::Request(id))))
    }

    /// Whether the request of a call may be executed when the connection ends now; `kept`: what is staged may still
    /// leave.
    pub(crate) fn sent(&self, id: u64, kept: bool) -> Sent {
        match self.calls.get(&id) {
            Some(call) if call.sent => Sent::Maybe,
            Some(_) if !kept || !self.outbox.is_staged(Mark::Request(id)) => Sent::No,
            _ => Sent::Maybe,
        }
    }

    /// The caller of `id` has left. Says whether its request may be executed all the same.
    pub(crate) fn give_up_call(&mut self, id: u64, ops: &mut Ops) -> Sent {
        let Some(call) = self.calls.get_mut(&id) else { return Sent::Maybe };
        let ended = call.stream.as_ref().is_some_and(|s| s.ended());
        call.op = None;
        if let Some(mut stream) = call.stream.take() {
            stream.fail_all(ops, &Error::new(Code::Cancelled, "the stream was given up"));
        }
        let sent = if ended { Sent::Maybe } else { self.cancel_call(id, ops) };
        if self.calls.get(&id).is_some_and(|call| !call.cancelled) {
            self.calls.remove(&id);
        }
        sent
    }

    /// Takes the request of a call back, or has the other side told that nobody waits for it.
    fn cancel_call(&mut self, id: u64, ops: &mut Ops) -> Sent {
        let Some(call) = self.calls.get_mut(&id) else { return Sent::Maybe };
        let at = call.at;
        if call.sent {
            // The other side's program may go on, and the place is its.
            if std::mem::take(&mut call.open) {
                self.given_up.insert(id, ());
            }
            // After the end of what can be read the call is lost, which nobody decided.
            self.counts.cancelled += u64::from(!self.deaf);
            self.withdraw_items(id, at, ops);
            self.outbox.push_control(kind::CANCEL, 0, id, &[]);
            return Sent::Maybe;
        }
        if self.withdraw_request(id, at) {
            self.leave_place(id);
            return Sent::No;
        }
        // Some of it has left or is about to; the CANCEL must not overtake the rest.
        if let Some(call) = self.calls.get_mut(&id) {
            call.cancelled = true;
        }
        Sent::Maybe
    }

    /// Whether `id` is a call of this side that has not ended.
    pub(super) fn is_running(&self, id: u64) -> bool {
        self.calls.get(&id).is_some_and(OwnCall::is_running)
    }

    /// A stream of this side ends with `error`, which its reader still gets; the other side is told.
    pub(super) fn end_stream(&mut self, id: u64, error: &Error, ops: &mut Ops) {
        if !self.is_running(id) {
            return;
        }
        let sent = self.cancel_call(id, ops);
        if let Some(stream) = self.calls.get_mut(&id).and_then(|call| call.stream.as_mut()) {
            stream.end(Err(error.with_sent(sent)), ops);
        }
    }

    /// Takes back the items of an ended call that have not begun to leave.
    pub(super) fn withdraw_items(&mut self, id: u64, at: usize, ops: &mut Ops) {
        for mark in self.outbox.channel(at).withdraw_call(id, kind::STREAM) {
            if let Mark::Send(op) = mark {
                ops.finish(op, Err(call_ended()));
            }
        }
    }

    /// Takes a request back of which nothing has left.
    fn withdraw_request(&mut self, id: u64, at: usize) -> bool {
        let waiting = self.waiting.len();
        self.waiting.retain(|w| w.id != id);
        self.waiting.len() < waiting || self.outbox.channel(at).withdraw(Mark::Request(id)).is_some()
    }

    /// The request of a stream, or of a cancelled call, has left completely.
    pub(super) fn request_left(&mut self, id: u64, ops: &mut Ops) {
        let Some(call) = self.calls.get_mut(&id) else { return };
        if !std::mem::take(&mut call.cancelled) {
            return self.pump_stream(id);
        }
        let used = call.stream.is_some();
        self.cancel_call(id, ops);
        if !used {
            self.calls.remove(&id);
        }
    }

    /// The other side said how a call of this side ended.
    pub(super) fn end_call(&mut self, id: u64, result: Result<Bytes>, ops: &mut Ops) {
        if !self.given_up.is_empty() && self.given_up.remove(&id).is_some() {
            self.open_calls -= 1;
            // An answer crossed the CANCEL; else this is what the CANCEL asked for.
            self.counts.late += u64::from(result.as_ref().map_or_else(|e| e.code() == Code::RemoteError, |_| true));
            return;
        }
        let Entry::Occupied(mut entry) = self.calls.entry(id) else {
            self.counts.late += 1;
            return;
        };
        let call = entry.get_mut();
        let (at, sent) = (call.at, call.sent);
        // Both sides know when its time is over; which of them notices first makes no difference.
        if sent && call.is_running() && result.as_ref().is_err_and(|e| e.code() == Code::Timeout) {
            self.counts.cancelled += 1;
        }
        self.open_calls -= usize::from(std::mem::take(&mut call.open));
        match &mut call.stream {
            Some(stream) if stream.ended() => self.counts.late += 1,
            Some(stream) => {
                stream.end(result, ops);
                self.withdraw_items(id, at, ops);
            }
            None => {
                if let Some(op) = entry.remove().op {
                    let channel = self.channels.as_slice()[at];
                    ops.finish(op, result.map(|payload| Outcome::Reply(channel, payload)));
                }
            }
        }
        if !sent {
            // Only a peer that breaks the rules, or drains, ends what it has not got.
            self.withdraw_request(id, at);
        }
    }
}

pub(crate) fn call_ended() -> Error {
    Error::new(Code::CallEnded, "the call was answered, was given up by its caller, or ran out of time")
}
