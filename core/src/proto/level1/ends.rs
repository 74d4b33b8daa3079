//! Time and the end: pings, deadlines, keepalive, drain, close.

use std::time::Instant;

use super::calls::OwnCall;
use super::control::Reason;
use super::header::kind;
use super::{Keepalive, Level1, Ping, queue};
use crate::error::{Code, Error, Result};
use crate::proto::ops::{OpId, Ops};

impl Level1 {
    pub(crate) fn ping(&mut self, op: OpId, now: Instant) {
        self.last_token += 1;
        self.pings.push_back(Ping { token: self.last_token, op, started: now });
        self.outbox.push_control(kind::PING, 0, 0, &self.last_token.to_le_bytes());
    }

    pub(crate) fn pings(&self) -> usize {
        self.pings.len()
    }

    pub(crate) fn next_timeout(&mut self) -> Option<Instant> {
        let (served, calls) = (&self.served, &self.calls);
        let served = self.served_deadlines.next(|id| served.contains_key(&id));
        let streams = self.stream_deadlines.next(|id| calls.get(&id).is_some_and(OwnCall::is_running));
        let keepalive = self.keepalive.as_ref().filter(|_| self.is_ready()).and_then(Keepalive::next);
        served.into_iter().chain(streams).chain(keepalive).min()
    }

    /// Time has come. The error ends the connection.
    pub(crate) fn handle_timeout(&mut self, now: Instant, ops: &mut Ops) -> Result<()> {
        while let Some(id) = self.served_deadlines.expired(now, |id| self.served.contains_key(&id)) {
            self.let_go(id, Code::Timeout, ops);
        }
        while let Some(id) = self.expired_stream(now) {
            self.end_stream(id, &Error::new(Code::Timeout, "the deadline of the stream passed"), ops);
        }
        // A PING before READY would be out of place; the handshake has a deadline of its own.
        let ready = self.is_ready();
        let Some(keepalive) = self.keepalive.as_mut().filter(|_| ready) else { return Ok(()) };
        if keepalive.next().is_none_or(|at| at > now) {
            return Ok(());
        }
        if keepalive.pinged.is_some() {
            let silent = now.saturating_duration_since(keepalive.heard);
            return Err(Error::new(
                Code::PeerUnresponsive,
                format!("nothing arrived for {silent:?}, not even an answer to a ping"),
            ));
        }
        keepalive.pinged = Some(now);
        self.outbox.push_control(kind::PING, 0, 0, &0u64.to_le_bytes());
        Ok(())
    }

    fn expired_stream(&mut self, now: Instant) -> Option<u64> {
        self.stream_deadlines.expired(now, |id| self.calls.get(&id).is_some_and(OwnCall::is_running))
    }

    /// This side starts nothing new; the other side is told.
    pub(crate) fn start_drain(&mut self) {
        if !std::mem::replace(&mut self.drain.asked, true) {
            self.push_goaway(u64::MAX);
        }
    }

    pub(super) fn push_goaway(&mut self, last: u64) {
        let mut payload = last.to_le_bytes().to_vec();
        payload.extend_from_slice(&Code::Closed.number().to_le_bytes());
        self.outbox.push_control(kind::GOAWAY, 0, 0, &payload);
    }

    /// Whether a one-way message on the channel at `at` would wait for credit.
    pub(crate) fn is_stuck(&self, at: usize) -> bool {
        self.outbox.channels()[at].is_stuck()
    }

    /// Whether a message on the channel at `at` would wait for credit that cannot come.
    pub(crate) fn is_forsaken(&self, at: usize) -> bool {
        self.deaf && self.outbox.channels()[at].is_spent()
    }

    /// Whether new messages and calls may be started.
    pub(crate) fn may_start(&self) -> Result<()> {
        if self.drain.told {
            return Err(Error::new(Code::Draining, "the other side is draining this connection"));
        }
        Ok(())
    }

    /// Moves the end on. Says whether this side's drain is complete.
    pub(crate) fn advance(&mut self) -> bool {
        self.start_waiting();
        if self.drain.ack_owed
            && self.waiting.is_empty()
            && self.outbox.channels().iter().all(queue::ChannelQueue::is_empty)
        {
            self.drain.ack_owed = false;
            self.outbox.push_control(kind::DRAIN_ACK, 0, 0, &[]);
        }
        // Nobody waits for calls that were given up, but another call may for the place of one.
        let called = self.open_calls > self.given_up.len() || !self.waiting.is_empty();
        if !self.drain.asked || !self.drain.acked || called || !self.served.is_empty() {
            return false;
        }
        if !self.drain.closing && self.outbox.channels().iter().all(queue::ChannelQueue::is_empty) {
            self.drain.closing = true;
            self.push_close(&Error::new(Code::Closed, "drained"));
        }
        self.drain.closing && self.outbox.is_flushed()
    }

    /// Whether the other side is known to end, or this one said that it does.
    pub(crate) fn drained_by_end(&self) -> bool {
        self.drain.asked
    }

    /// Whether the other side said why it ends the connection.
    pub(crate) fn was_told(&self) -> bool {
        self.told
    }

    /// The last frame of this side; no message queued before it is kept.
    pub(crate) fn last_words(&mut self, error: &Error) {
        self.outbox.drop_queued();
        self.push_close(error);
    }

    pub(super) fn push_close(&mut self, error: &Error) {
        self.outbox.push_control(kind::CLOSE, 0, 0, &Reason::encode(error));
    }

    /// Nothing more comes or goes, and what had come is dropped. The counters stay.
    pub(crate) fn close(&mut self) {
        self.abandon();
        self.calls.clear();
        self.inbox.clear();
        self.outbox.clear();
    }

    pub(crate) fn clear_outbox(&mut self) {
        self.outbox.clear();
    }

    /// Stops handing out: the received messages stay.
    pub(crate) fn abandon(&mut self) {
        self.reader.abandon();
        self.outbox.seal();
        self.waiting.clear();
        self.pings.clear();
        self.keep_streams();
        self.served.clear();
        self.orphans.clear();
        self.keepalive = None;
    }

    /// Drops the calls but for streams, whose last items and end can still be taken.
    pub(super) fn keep_streams(&mut self) {
        self.calls.retain(|_, call| call.stream.is_some());
        self.calls.values_mut().for_each(|call| call.cancelled = false);
        self.free_places();
    }

    /// The last frames of calls do not come any more: none has a place on the other side that is to become free.
    pub(super) fn free_places(&mut self) {
        self.calls.values_mut().for_each(|call| call.open = false);
        self.given_up.clear();
        self.open_calls = 0;
    }

    pub(crate) fn forget_recv(&mut self, op: OpId) {
        self.inbox.forget(op);
    }
}
