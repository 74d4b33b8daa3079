//! One-way messages: taken from the inbox, sent by the policy of their channel, one by one or many at once.

use std::time::Instant;

use bytes::Bytes;

use super::Level1;
use super::calls::With;
use super::ext::Ext;
use super::header::{Header, flag, kind};
use super::inbox::{Delivery, Extra, Grant};
use super::outbox::{Mark, Outgoing, Plan};
use super::queue::Policy;
use super::reader::Body;
use crate::error::{Code, Error, Result};
use crate::proto::channel::Channel;
use crate::proto::charge::charge;
use crate::proto::ops::{Kind, OpId, Ops, Outcome, Step};

impl Level1 {
    /// The oldest message of the channel at a position, or of any.
    pub(crate) fn recv(&mut self, channel: Option<usize>) -> Option<Delivery> {
        loop {
            let (delivery, grant) = self.inbox.take_delivery(channel)?;
            self.give_back(grant);
            // A request whose caller has left meanwhile is nobody's any more.
            if delivery.request().is_none_or(|r| Level1::take_request(&mut self.served, r.id)) {
                return Some(delivery);
            }
        }
    }

    /// Takes what has arrived, as long as `keep` wants more, without an allocation for each.
    pub(crate) fn recv_many(
        &mut self,
        channel: Option<usize>,
        mut keep: impl FnMut(Channel, Body<'_>, Option<Box<Extra>>) -> bool,
    ) {
        loop {
            let served = &mut self.served;
            let taken = self.inbox.take(channel, |channel, body, extra| {
                // A request whose caller has left meanwhile is nobody's any more.
                let request = extra.as_ref().and_then(|extra| extra.request.as_ref());
                let alive = request.is_none_or(|request| Level1::take_request(served, request.id));
                !alive || keep(channel, body, extra)
            });
            let Some((more, grant)) = taken else { return };
            self.give_back(grant);
            if !more {
                return;
            }
        }
    }

    pub(crate) fn has_messages(&self) -> bool {
        !self.inbox.is_empty()
    }

    pub(crate) fn wait_recv(&mut self, op: OpId, channel: Option<usize>) {
        self.inbox.wait(op, channel);
    }

    pub(crate) fn wait_readable(&mut self, op: OpId, channel: Option<usize>) {
        self.inbox.watch(op, channel);
    }

    pub(super) fn give_back(&mut self, grant: Option<Grant>) {
        if let Some(Grant { channel, total }) = grant {
            self.outbox.push_control(kind::CREDIT, channel.number(), 0, &total.to_le_bytes());
        }
    }

    /// Where a sender does not wait, what happens to a message with this charge instead: `would_block`, or others make room.
    fn apply_policy(&mut self, at: usize, charge: usize, ops: &mut Ops) -> Result<()> {
        let channel = self.outbox.channel(at);
        if channel.policy == Policy::Error && channel.is_spent() {
            let number = channel.channel.number();
            return Err(Error::new(Code::WouldBlock, format!("channel {number} has no credit now")));
        }
        if channel.policy.drops() {
            let begins = channel.make_room(charge);
            ops.note(begins);
        }
        Ok(())
    }

    /// Sends a one-way message by the policy of its channel.
    pub(crate) fn send(
        &mut self,
        at: usize,
        op: OpId,
        payload: Bytes,
        with: With,
        ops: &mut Ops,
        deadline: Option<Instant>,
    ) -> Step {
        let corked = self.is_done_when_gathered();
        if let Err(error) = self.apply_policy(at, charge(payload.len(), with.fds()), ops) {
            return Some(Err(error));
        }
        let channel = self.outbox.channel(at);
        if channel.policy.waits() && (!corked || !channel.has_room()) {
            if let Err(error) = ops.admit() {
                return Some(Err(error));
            }
            ops.insert(op, Kind::Send, deadline);
        }
        let waits = ops.kind(op).is_some();
        self.count_out(at, payload.len());
        let message = with.message(kind::MESSAGE, 0, 0, payload, waits.then_some(Mark::Send(op)));
        self.outbox.push(at, message, true);
        ops.note(self.outbox.channel(at).rises());
        if waits { None } else { Some(Ok(Outcome::Sent)) }
    }

    /// Queues a small message from the caller's memory if that needs no waiting; for bursts.
    pub(crate) fn send_short(&mut self, at: usize, payload: &[u8]) -> bool {
        let flags = flag::FIRST | flag::LAST;
        let channel = self.channels.as_slice()[at].number();
        let header = Header { len: payload.len() as u32, kind: kind::MESSAGE, flags, channel, id: 0 };
        let queued = self.outbox.push_short(at, header, payload);
        if queued {
            self.count_out(at, payload.len());
        }
        queued
    }

    /// Queues a message of a burst by the policy of its channel; `last` is the operation that ends when it has left.
    pub(crate) fn send_part(
        &mut self,
        at: usize,
        payload: Bytes,
        last: Option<OpId>,
        ops: &mut Ops,
        deadline: Option<Instant>,
    ) -> Result<()> {
        self.apply_policy(at, charge(payload.len(), 0), ops)?;
        let waits = last.filter(|_| self.outbox.channel(at).policy.waits());
        if let Some(op) = waits {
            ops.admit()?;
            ops.insert(op, Kind::Send, deadline);
        }
        self.count_out(at, payload.len());
        self.outbox.push(at, With::default().message(kind::MESSAGE, 0, 0, payload, waits.map(Mark::Send)), true);
        ops.note(self.outbox.channel(at).rises());
        Ok(())
    }

    /// The frames of a one-way message that may be written this moment from the caller's memory.
    pub(crate) fn plan_send(&self, at: usize, len: usize) -> Option<Plan> {
        self.plan(at, Header { len: 0, kind: kind::MESSAGE, flags: 0, channel: 0, id: 0 }, None, len, true)
    }

    pub(super) fn plan(
        &self,
        at: usize,
        header: Header,
        ext: Option<&Ext>,
        len: usize,
        credited: bool,
    ) -> Option<Plan> {
        let free =
            if self.is_corked() { self.outbox.may_gather(at, credited, len) } else { self.outbox.idle(at, credited) };
        if !free {
            return None;
        }
        let channel = self.channels.as_slice()[at].number();
        Plan::new(&Header { channel, ..header }, ext, len)
    }

    /// The driver wrote `taken` bytes of a message with [`plan_send`](Level1::plan_send).
    #[allow(clippy::too_many_arguments)] // One message in one place, with what the driver knows.
    pub(crate) fn wrote_send(
        &mut self,
        at: usize,
        op: OpId,
        plan: &Plan,
        len: usize,
        taken: usize,
        payload: impl FnOnce() -> Bytes,
        ops: &mut Ops,
        deadline: Option<Instant>,
    ) -> Step {
        self.count_out(at, len);
        let channel = self.outbox.channel(at);
        channel.charge(charge(len, 0));
        let waits = channel.policy.waits();
        if self.outbox.wrote(at, plan, taken, payload, waits.then_some(Mark::Send(op))) || !waits {
            return Some(Ok(Outcome::Sent));
        }
        ops.insert(op, Kind::Send, deadline);
        None
    }

    /// Has `op` end as a send when all that is staged has left. `false` if nothing is.
    pub(crate) fn mark_flush(&mut self, op: OpId) -> bool {
        self.outbox.mark_staged(Mark::Send(op))
    }

    /// A message whose plan was asked for inside a cork joins what is gathered.
    pub(crate) fn gather(&mut self, plan: &Plan, payload: &[u8], mark: Option<Mark>) {
        self.outbox.gather_plan(plan, payload, mark);
    }

    /// A gathered one-way message: done, or when `waits` has left. Says whether that is waited for.
    pub(crate) fn gathered_send(&mut self, at: usize, plan: &Plan, payload: &[u8], waits: Option<OpId>) -> bool {
        self.count_out(at, payload.len());
        let channel = self.outbox.channel(at);
        channel.charge(charge(payload.len(), 0));
        let mark = waits.filter(|_| channel.policy.waits()).map(Mark::Send);
        self.gather(plan, payload, mark);
        mark.is_some()
    }

    /// Takes back a message nobody waits for any more, if nothing of it has left.
    pub(crate) fn withdraw_send(&mut self, op: OpId) -> bool {
        self.withdraw(op).is_some()
    }

    pub(super) fn withdraw(&mut self, op: OpId) -> Option<Outgoing> {
        (0..self.counters.len()).find_map(|at| self.outbox.channel(at).withdraw(Mark::Send(op)))
    }

    pub(super) fn count_out(&mut self, at: usize, len: usize) {
        let counter = &mut self.counters[at];
        counter.messages_sent += 1;
        counter.bytes_sent += len as u64;
    }

    pub(super) fn count_in(&mut self, at: usize, len: usize) {
        let counter = &mut self.counters[at];
        counter.messages_received += 1;
        counter.bytes_received += len as u64;
    }
}
