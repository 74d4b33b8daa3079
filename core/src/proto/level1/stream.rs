//! Streams: the items of a call in both directions, each direction with its own credit.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;

use super::calls::call_ended;
use super::header::{flag, kind};
use super::inbox::Window;
use super::outbox::{Mark, Outgoing};
use super::{Level1, bad};
use crate::error::{Code, Error, Result, Sent};
use crate::proto::charge::charge;
use crate::proto::ops::{Kind, OpId, Ops, Outcome, Step};

#[derive(Debug)]
struct Item {
    payload: Bytes,
    fin: bool,
    op: OpId,
}

#[derive(Debug)]
pub(super) struct Stream {
    /// Items that wait for credit.
    out: VecDeque<Item>,
    /// The request has left, so that items may follow it.
    out_open: bool,
    out_charged: u64,
    out_credit: u64,
    /// This side said that nothing more comes.
    out_ended: bool,
    /// The answer, behind items that wait for credit.
    pub(super) held: Option<Outgoing>,
    items: VecDeque<Bytes>,
    window: Window,
    in_ended: bool,
    readers: VecDeque<OpId>,
    /// Operations that wait for something to read, and take nothing.
    watchers: Vec<OpId>,
    /// How the call ended, for its caller, until it is taken.
    end: Option<Result<Bytes>>,
    end_seen: bool,
}

impl Stream {
    pub(super) fn new(own_window: u64, peer_window: u64, out_ended: bool) -> Stream {
        Stream {
            out: VecDeque::new(),
            out_open: false,
            out_charged: 0,
            out_credit: peer_window,
            out_ended,
            held: None,
            items: VecDeque::new(),
            window: Window::new(own_window),
            in_ended: false,
            readers: VecDeque::new(),
            watchers: Vec::new(),
            end: None,
            end_seen: false,
        }
    }

    pub(super) fn open_out(&mut self) {
        self.out_open = true;
    }

    pub(super) fn end_in(&mut self) {
        self.in_ended = true;
    }

    /// Whether the call is over for its caller.
    pub(super) fn ended(&self) -> bool {
        self.end.is_some() || self.end_seen
    }

    pub(super) fn has_unsent(&self) -> bool {
        !self.out.is_empty()
    }

    pub(super) fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// Keeps the answer until the items before it have left.
    pub(super) fn hold(&mut self, answer: Outgoing, ops: &mut Ops) {
        self.held = Some(answer);
        self.out_ended = true;
        self.all_readers().for_each(|op| ops.finish(op, Err(call_ended())));
    }

    fn all_readers(&mut self) -> impl Iterator<Item = OpId> {
        self.readers.drain(..).chain(self.watchers.drain(..))
    }

    fn tell(&mut self, ops: &mut Ops) {
        self.watchers.drain(..).for_each(|op| ops.finish(op, Ok(Outcome::Readable)));
    }

    /// The call ended, and nobody wants the items that wait.
    pub(super) fn end(&mut self, result: Result<Bytes>, ops: &mut Ops) {
        self.out.drain(..).for_each(|item| ops.finish(item.op, Err(call_ended())));
        self.end_in_with(result, ops);
    }

    /// Nothing comes any more: readers get what is left, then the end.
    fn end_in_with(&mut self, result: Result<Bytes>, ops: &mut Ops) {
        self.in_ended = true;
        self.end = Some(result);
        // Readers wait only while there is no item, so the first one gets the end.
        while let Some(op) = self.readers.pop_front() {
            let result = self.take_end();
            ops.finish(op, result);
        }
        self.tell(ops);
    }

    fn take_end(&mut self) -> Result<Outcome> {
        self.end_seen = true;
        match self.end.take() {
            Some(end) => end.map(|payload| Outcome::StreamEnd(Some(payload))),
            None => Err(call_ended()),
        }
    }

    /// Nothing comes or goes any more.
    pub(super) fn fail_all(&mut self, ops: &mut Ops, error: &Error) {
        self.out.drain(..).for_each(|item| ops.finish(item.op, Err(error.clone())));
        self.all_readers().for_each(|op| ops.finish(op, Err(error.clone())));
        self.items.clear();
    }

    fn has_credit(&self) -> bool {
        self.out_charged < self.out_credit
    }
}

impl Level1 {
    /// The stream of a call of either side, and the position of its channel.
    fn stream(&mut self, id: u64) -> Option<(&mut Stream, usize)> {
        if self.is_own(id) {
            let call = self.calls.get_mut(&id)?;
            Some((call.stream.as_mut()?, call.at))
        } else {
            let served = self.served.get_mut(&id)?;
            Some((served.stream.as_mut()?, served.at))
        }
    }

    /// Sends an item; done when the carrier took all of it. With `fin` nothing comes behind it, and an
    /// empty payload is no item.
    pub(crate) fn stream_send(
        &mut self,
        op: OpId,
        id: u64,
        payload: Bytes,
        fin: bool,
        ops: &mut Ops,
        deadline: Option<Instant>,
    ) -> Step {
        let deaf = self.deaf;
        let open = |stream: &Stream| !stream.ended() && !stream.is_held() && (stream.has_credit() || !deaf);
        let Some((stream, _)) = self.stream(id).filter(|(stream, _)| open(stream)) else {
            return Some(Err(call_ended()));
        };
        if stream.out_ended {
            return Some(Err(Error::new(Code::InvalidArgument, "this direction of the stream was ended")));
        }
        if let Err(error) = ops.admit() {
            return Some(Err(error));
        }
        stream.out_ended = fin;
        stream.out.push_back(Item { payload, fin, op });
        ops.insert(op, Kind::StreamSend(id), deadline);
        self.pump_stream(id);
        None
    }

    /// Moves items that have credit to the queue of the channel.
    pub(super) fn pump_stream(&mut self, id: u64) {
        if let Some(call) = self.calls.get_mut(&id)
            && call.sent
            && let Some(stream) = &mut call.stream
        {
            stream.open_out();
        }
        let mut moved = Vec::new();
        let Some((stream, at)) = self.stream(id) else { return };
        while stream.out_open
            && stream.has_credit()
            && let Some(item) = stream.out.pop_front()
        {
            stream.out_charged += charge(item.payload.len(), 0) as u64;
            moved.push(item);
        }
        let held = if stream.out.is_empty() { stream.held.take() } else { None };
        for item in moved {
            let flags = if item.fin { flag::FIN } else { 0 };
            let mark = Some(Mark::Send(item.op));
            self.count_out(at, item.payload.len());
            let message = Outgoing {
                kind: kind::STREAM,
                flags,
                id,
                ext: Default::default(),
                payload: item.payload,
                fds: Vec::new(),
                mark,
            };
            self.outbox.push(at, message, false);
        }
        if let Some(answer) = held {
            self.served.remove(&id);
            self.outbox.push(at, answer, false);
        }
    }

    /// The next item, or the end: of the call for its caller, of the caller's direction for the other side.
    pub(crate) fn stream_recv(&mut self, op: OpId, id: u64, ops: &mut Ops, deadline: Option<Instant>) -> Step {
        self.read_stream(op, id, ops, deadline, |stream| stream.readers.push_back(op))
    }

    /// The same, but an operation that has to wait is only told that it is there.
    pub(crate) fn poll_stream_recv(&mut self, op: OpId, id: u64, ops: &mut Ops, deadline: Option<Instant>) -> Step {
        self.read_stream(op, id, ops, deadline, |stream| stream.watchers.push(op))
    }

    fn read_stream(
        &mut self,
        op: OpId,
        id: u64,
        ops: &mut Ops,
        deadline: Option<Instant>,
        wait: impl FnOnce(&mut Stream),
    ) -> Step {
        let Some((stream, _)) = self.stream(id) else { return Some(Err(call_ended())) };
        if let Some(payload) = stream.items.pop_front() {
            let grant = stream.window.consume(charge(payload.len(), 0)).filter(|_| !stream.in_ended);
            if let Some(total) = grant {
                self.outbox.push_control(kind::CREDIT, 0, id, &total.to_le_bytes());
            }
            return Some(Ok(Outcome::Item(payload)));
        }
        if stream.ended() {
            return Some(stream.take_end());
        }
        if stream.in_ended {
            return Some(Ok(Outcome::StreamEnd(None)));
        }
        if let Err(error) = ops.admit() {
            return Some(Err(error));
        }
        wait(stream);
        ops.insert(op, Kind::StreamRecv(id), deadline);
        None
    }

    pub(crate) fn forget_stream_recv(&mut self, op: OpId, id: u64) {
        if let Some((stream, _)) = self.stream(id) {
            stream.readers.retain(|&o| o != op);
            stream.watchers.retain(|&o| o != op);
        }
    }

    /// Takes back an item nobody waits for any more, if nothing of it has left.
    pub(crate) fn withdraw_item(&mut self, op: OpId, id: u64) -> bool {
        if let Some((stream, _)) = self.stream(id)
            && let Some(at) = stream.out.iter().position(|i| i.op == op)
        {
            stream.out_ended &= !stream.out.remove(at).is_some_and(|i| i.fin);
            self.pump_stream(id);
            return true;
        }
        let Some(item) = self.withdraw(op) else { return false };
        if let Some((stream, _)) = self.stream(id) {
            stream.out_charged -= charge(item.payload.len(), 0) as u64;
            stream.out_ended &= item.flags & flag::FIN == 0;
            self.pump_stream(id);
        }
        true
    }

    /// An item begins: `credit_exceeded` if there was none for it.
    pub(super) fn admit_item(&mut self, id: u64, total: usize) -> Result<()> {
        let plain = match self.is_own(id) {
            true => self.calls.get(&id).is_some_and(|c| c.stream.is_none()),
            false => self.served.get(&id).is_some_and(|s| s.stream.is_none()),
        };
        if plain {
            return Err(bad(format!("an item for the call {id}, which is no stream")));
        }
        let Some((stream, _)) = self.stream(id).filter(|(s, _)| !s.ended()) else { return Ok(()) };
        if stream.in_ended {
            return Err(bad(format!("an item for the stream {id} behind its end")));
        }
        match stream.window.charge(charge(total, 0)) {
            true => Ok(()),
            false => Err(Error::new(Code::CreditExceeded, format!("an item for the stream {id} came without credit"))),
        }
    }

    pub(super) fn item_arrived(&mut self, id: u64, payload: Bytes, fin: bool, ops: &mut Ops) {
        let Some((stream, at)) = self.stream(id).filter(|(s, _)| !s.ended()) else {
            self.counts.late += 1;
            return;
        };
        stream.in_ended |= fin;
        let item = !(fin && payload.is_empty());
        let len = payload.len();
        let mut grant = None;
        if item {
            match stream.readers.pop_front() {
                Some(op) => {
                    grant = stream.window.consume(charge(len, 0)).filter(|_| !fin);
                    ops.finish(op, Ok(Outcome::Item(payload)));
                }
                None => {
                    stream.items.push_back(payload);
                    stream.tell(ops);
                }
            }
        }
        if fin {
            stream.readers.drain(..).for_each(|op| ops.finish(op, Ok(Outcome::StreamEnd(None))));
            stream.tell(ops);
        }
        self.count_in(at, len);
        if let Some(total) = grant {
            self.outbox.push_control(kind::CREDIT, 0, id, &total.to_le_bytes());
        }
    }

    pub(super) fn raise_stream(&mut self, id: u64, total: u64) {
        if let Some((stream, _)) = self.stream(id) {
            stream.out_credit = stream.out_credit.max(total);
            self.pump_stream(id);
        }
    }

    /// The program is done with a stream: the call is given up unless it has ended.
    pub(crate) fn drop_stream(&mut self, id: u64, ops: &mut Ops) {
        if self.is_own(id) {
            self.give_up_call(id, ops);
        } else {
            self.abandon_served(id, ops);
        }
    }

    /// Nothing more leaves: streams that the other side has not heard of end with `error`.
    pub(crate) fn end_unsent_streams(&mut self, error: &Error, ops: &mut Ops) {
        let unsent = self.calls.iter().filter(|(_, call)| call.stream.is_some() && !call.sent);
        for id in unsent.map(|(&id, _)| id).collect::<Vec<_>>() {
            self.end_call(id, Err(error.with_sent(Sent::No)), ops);
        }
    }

    /// The connection ended with `error`: streams keep what has arrived, then fail with it. Items that wait are those of
    /// their operations.
    pub(crate) fn end_streams(&mut self, error: &Error, kept: bool, ops: &mut Ops) {
        let ids: Vec<u64> = self.calls.keys().copied().collect();
        for id in ids {
            let sent = self.sent(id, kept);
            if let Some(stream) = self.calls.get_mut(&id).and_then(|call| call.stream.as_mut())
                && !stream.ended()
            {
                stream.end_in_with(Err(error.with_sent(sent)), ops);
            }
        }
    }
}
