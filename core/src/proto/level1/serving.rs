//! Calls of the other side: they begin, are answered once, or let go.

use std::collections::hash_map::Entry;
use std::time::Instant;

use bytes::Bytes;

use super::Level1;
use super::calls::call_ended;
use super::control::Reason;
use super::ext::Ext;
use super::header::{Header, kind};
use super::outbox::{Mark, Outgoing, Plan};
use super::stream::Stream;
use crate::error::{Code, Error};
use crate::proto::ids::IdMap;
use crate::proto::ops::{Kind, OpId, Ops, Outcome, Step};

/// What ends a call well or badly.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) id: u64,
    /// The program failed with this code.
    pub(crate) status: Option<u32>,
}

/// A call of the other side that the program has not answered.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) at: usize,
    /// The program has it; before, it waits in the inbox.
    pub(super) taken: bool,
    /// Operations that wait for its end.
    pub(super) watchers: Vec<OpId>,
    pub(super) stream: Option<Box<Stream>>,
}

impl Served {
    /// It has ended: who waits for that is told.
    pub(super) fn tell_watchers(&mut self, ops: &mut Ops) {
        self.watchers.drain(..).for_each(|op| ops.finish(op, Ok(Outcome::CallEnded)));
    }
}

impl Level1 {
    /// A call of the other side begins.
    pub(super) fn serve(&mut self, at: usize, id: u64, taken: bool, deadline: Option<Instant>, stream: Option<bool>) {
        self.counts.served += 1;
        let stream = stream.map(|fin| {
            let mut stream = Stream::new(self.own.stream_window, self.peer.stream_window, false);
            stream.open_out();
            if fin {
                stream.end_in();
            }
            Box::new(stream)
        });
        self.served.insert(id, Served { at, taken, watchers: Vec::new(), stream });
        if let Some(deadline) = deadline {
            self.served_deadlines.insert(deadline, id, self.served.len(), |id| self.served.contains_key(&id));
        }
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
        let gathers = self.is_done_when_gathered();
        let Entry::Occupied(mut entry) = self.served.entry(answer.id) else { return Some(Err(call_ended())) };
        let served = entry.get_mut();
        let at = served.at;
        let corked = gathers && self.outbox.channel(at).has_room();
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
            mark: Some(Mark::Answer((!corked).then_some(op))),
        };
        served.tell_watchers(ops);
        let len = message.payload.len();
        // Items that wait for credit leave before the answer.
        match served.stream.as_mut().filter(|s| s.has_unsent()) {
            Some(stream) => stream.hold(message, ops),
            None => {
                if let Some(mut stream) = entry.remove().stream {
                    stream.fail_all(ops, &call_ended());
                }
                self.outbox.push(at, message, false);
            }
        }
        self.count_out(at, len);
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
            served.tell_watchers(ops);
            self.count_out(served.at, len);
        }
        if self.outbox.wrote(at, plan, taken, payload, Some(Mark::Answer(Some(op)))) {
            return Some(Ok(Outcome::Sent));
        }
        ops.insert(op, Kind::Send, deadline);
        None
    }

    /// An answer whose plan was asked for inside a cork joins what is gathered; `waits` is told when it has left.
    pub(crate) fn gathered_answer(
        &mut self,
        answer: Answer,
        plan: &Plan,
        payload: &[u8],
        waits: Option<OpId>,
        ops: &mut Ops,
    ) {
        if let Some(mut served) = self.served.remove(&answer.id) {
            served.tell_watchers(ops);
            self.count_out(served.at, payload.len());
        }
        self.gather(plan, payload, Some(Mark::Answer(waits)));
    }

    /// The program is done with a call, without an answer.
    pub(crate) fn abandon_served(&mut self, id: u64, ops: &mut Ops) {
        self.release_orphan(id);
        if self.served.get(&id).is_some_and(|s| s.stream.as_ref().is_none_or(|s| !s.is_held())) {
            self.end_served(id, ops);
            self.push_end(id, Code::CallAbandoned);
        }
    }

    /// The program is done with a call that wants no answer any more.
    pub(crate) fn release_orphan(&mut self, id: u64) {
        if let Some(code) = self.orphans.remove(&id) {
            self.push_end(id, code);
        }
    }

    /// A call of the other side needs no answer any more: its program is told. Its place is free when the program is
    /// done with it; otherwise calls that are given up at once would pile up in the program.
    pub(super) fn let_go(&mut self, id: u64, code: Code, ops: &mut Ops) {
        match self.end_served(id, ops) {
            Some(true) => drop(self.orphans.insert(id, code)),
            Some(false) => self.push_end(id, code),
            None => {}
        }
    }

    /// The last frame of a call that gets no answer.
    pub(super) fn push_end(&mut self, id: u64, code: Code) {
        let why = match code {
            Code::CallAbandoned => "the program let the call go without an answer",
            Code::Timeout => "no reply came before the deadline passed",
            _ => "the call was given up",
        };
        self.outbox.push_control(kind::ERROR, 0, id, &Reason::encode(&Error::new(code, why)));
    }

    /// Ends what waits for or in a call of the other side. Says whether the program has it and has not answered.
    fn end_served(&mut self, id: u64, ops: &mut Ops) -> Option<bool> {
        let mut served = self.served.remove(&id)?;
        served.tell_watchers(ops);
        let mut owed = served.taken;
        if let Some(stream) = &mut served.stream {
            stream.fail_all(ops, &call_ended());
            if let Some(held) = stream.held.take() {
                owed = false;
                if let Some(Mark::Answer(Some(op))) = held.mark {
                    ops.finish(op, Err(call_ended()));
                }
            }
            self.withdraw_items(id, served.at, ops);
        }
        Some(owed)
    }

    /// The program takes a request out of the inbox. `false` if it is nobody's any more.
    pub(super) fn take_request(served: &mut IdMap<Served>, id: u64) -> bool {
        served.get_mut(&id).map(|served| served.taken = true).is_some()
    }

    /// Has `op` end with a call of the other side that [has not](Level1::is_served).
    pub(crate) fn watch(&mut self, op: OpId, id: u64) {
        if let Some(served) = self.served.get_mut(&id) {
            served.watchers.push(op);
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
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::channel::{Channel, ChannelSet};
    use crate::proto::level1::{Limits, Setup};

    #[test]
    fn who_watches_a_call_no_more_leaves_nothing_behind() {
        let channels = ChannelSet::new(Channel::DEFAULT.to_vec());
        let setup = Setup {
            connector: false,
            channels: &channels,
            own: Limits::default(),
            peer: Limits::default(),
            proofs: None,
            fds: false,
            policies: &[],
            grease: 0,
            arrived: Vec::new(),
        };
        let mut one = Level1::new(setup, Instant::now());
        one.serve(0, 1, true, None, None);
        one.watch(1, 1);
        for op in 2..1000 {
            one.watch(op, 1);
            one.unwatch(op, 1);
        }
        assert_eq!(one.served[&1].watchers, [1]);
    }
}
