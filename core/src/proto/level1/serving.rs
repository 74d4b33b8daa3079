//! Calls of the other side: they begin, are answered once, or let go.

use std::cmp::Reverse;
use std::time::Instant;

use bytes::Bytes;

use super::Level1;
use super::calls::{Answer, Served, call_ended};
use super::control::Reason;
use super::ext::Ext;
use super::header::{Header, kind};
use super::outbox::{Mark, Outgoing, Plan};
use super::stream::Stream;
use crate::error::{Code, Error};
use crate::proto::ops::{Kind, OpId, Ops, Outcome, Step};

/// Deadlines of ended calls kept before they are swept out.
const STALE: usize = 64;

impl Level1 {
    /// A call of the other side begins.
    pub(super) fn serve(&mut self, at: usize, id: u64, deadline: Option<Instant>, stream: Option<bool>) {
        self.counts.served += 1;
        if let Some(deadline) = deadline {
            self.served_deadlines.push(Reverse((deadline, id)));
            // Those of calls that have ended leave when they come to the top; behind an early one they pile up.
            if self.served_deadlines.len() > 2 * self.served.len() + STALE {
                self.served_deadlines.retain(|Reverse((_, other))| *other == id || self.served.contains_key(other));
            }
        }
        let stream = stream.map(|fin| {
            let mut stream = Stream::new(self.own.stream_window, self.peer.stream_window, false);
            stream.open_out();
            if fin {
                stream.end_in();
            }
            Box::new(stream)
        });
        self.served.insert(id, Served { at, watchers: Vec::new(), stream });
    }

    /// Answers a call; done when the carrier took all of it. `call_ended` if it needs none any more.
    pub(crate) fn answer(
        &mut self,
        op: OpId,
        answer: Answer,
        payload: Bytes,
        ops: &mut Ops,
        deadline: Option<Instant>,
    ) -> Step {
        if !self.served.contains_key(&answer.id) {
            return Some(Err(call_ended()));
        }
        let corked = self.is_done_when_gathered();
        if !corked {
            if let Err(error) = ops.admit() {
                return Some(Err(error));
            }
            ops.insert(op, Kind::Send, deadline);
        }
        let message = Outgoing {
            kind: kind::RESPONSE,
            flags: 0,
            id: answer.id,
            ext: Ext { status: answer.status, ..Ext::default() },
            payload,
            fds: Vec::new(),
            mark: (!corked).then_some(Mark::Send(op)),
        };
        let Some(mut served) = self.served.remove(&answer.id) else { return Some(Err(call_ended())) };
        served.watchers.drain(..).for_each(|op| ops.finish(op, Ok(Outcome::CallEnded)));
        self.count_out(served.at, message.payload.len());
        // Items that wait for credit leave before the answer.
        match served.stream.as_mut().filter(|s| s.has_unsent()) {
            Some(stream) => {
                stream.hold(message, ops);
                self.served.insert(answer.id, served);
            }
            None => {
                if let Some(stream) = &mut served.stream {
                    stream.fail_all(ops, &call_ended());
                }
                self.outbox.push(served.at, message, false);
            }
        }
        if corked { Some(Ok(Outcome::Sent)) } else { None }
    }

    /// The frames of an answer that may be written this moment from the program's memory.
    pub(crate) fn plan_answer(&self, answer: Answer, len: usize) -> Option<(usize, Plan)> {
        let served = self.served.get(&answer.id).filter(|s| s.stream.is_none())?;
        let header = Header { len: 0, kind: kind::RESPONSE, flags: 0, channel: 0, id: answer.id };
        let ext = answer.status.map(|_| Ext { status: answer.status, ..Ext::default() });
        Some((served.at, self.plan(served.at, header, ext.as_ref(), len, false)?))
    }

    /// The driver wrote `taken` bytes of an answer with [`plan_answer`](Level1::plan_answer).
    #[allow(clippy::too_many_arguments)] // One call in one place, with what the driver knows.
    pub(crate) fn wrote_answer(
        &mut self,
        op: OpId,
        at: usize,
        answer: Answer,
        plan: &Plan,
        len: usize,
        taken: usize,
        payload: impl FnOnce() -> Bytes,
        ops: &mut Ops,
        deadline: Option<Instant>,
    ) -> Step {
        if let Some(mut served) = self.served.remove(&answer.id) {
            served.watchers.drain(..).for_each(|op| ops.finish(op, Ok(Outcome::CallEnded)));
            self.count_out(served.at, len);
        }
        if self.outbox.wrote(at, plan, taken, payload, Some(Mark::Send(op))) {
            return Some(Ok(Outcome::Sent));
        }
        ops.insert(op, Kind::Send, deadline);
        None
    }

    /// The program let a call go without an answer.
    pub(crate) fn abandon_served(&mut self, id: u64, ops: &mut Ops) {
        if self.served.get(&id).is_some_and(|s| s.stream.as_ref().is_none_or(|s| !s.is_held())) {
            self.let_go(id, ops);
            let error = Error::new(Code::CallAbandoned, "the program let the call go without an answer");
            self.outbox.push_control(kind::ERROR, 0, id, &Reason::encode(&error));
        }
    }

    /// A call of the other side needs no answer any more: its program is told.
    pub(super) fn let_go(&mut self, id: u64, ops: &mut Ops) {
        if let Some(mut served) = self.served.remove(&id) {
            served.watchers.drain(..).for_each(|op| ops.finish(op, Ok(Outcome::CallEnded)));
            if let Some(stream) = &mut served.stream {
                stream.fail_all(ops, &call_ended());
                if let Some(Outgoing { mark: Some(Mark::Send(op)), .. }) = stream.held.take() {
                    ops.finish(op, Err(call_ended()));
                }
                self.withdraw_items(id, served.at, ops);
            }
        }
    }

    /// Waits for the end of a call of the other side. Says whether it has ended already.
    pub(crate) fn watch(&mut self, op: OpId, id: u64) -> bool {
        match self.served.get_mut(&id) {
            Some(served) => {
                served.watchers.push(op);
                false
            }
            None => true,
        }
    }

    pub(crate) fn unwatch(&mut self, op: OpId, id: u64) {
        if let Some(served) = self.served.get_mut(&id) {
            served.watchers.retain(|&o| o != op);
        }
    }

    /// Whether the program still owes an answer.
    pub(crate) fn is_served(&self, id: u64) -> bool {
        self.served.contains_key(&id)
    }

    /// Takes back a message nobody waits for any more, if nothing of it has left.
    pub(crate) fn withdraw_send(&mut self, op: OpId) -> bool {
        self.withdraw(op).is_some()
    }

    pub(super) fn withdraw(&mut self, op: OpId) -> Option<Outgoing> {
        (0..self.counters.len()).find_map(|at| self.outbox.channel(at).withdraw(Mark::Send(op)))
    }
}
