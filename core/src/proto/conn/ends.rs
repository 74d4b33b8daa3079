//! How operations and connections end before their time: what a deadline, a cancel, a close and a
//! fault mean for each kind of operation is decided here and nowhere else.

use super::{Conn, Role, State, lost, peer_closed};
use crate::error::{Code, Error, Sent};
use crate::proto::hello;
use crate::proto::inbox::Inbox;
use crate::proto::ops::{Kind, OpId, Outcome};
use crate::proto::outbox::Standing;

impl Conn {
    /// Gives `op` up. `false` when it had ended already.
    pub(crate) fn cancel(&mut self, op: OpId) -> bool {
        let pending = self.ops.kind(op).is_some();
        self.give_up(op, &Error::new(Code::Cancelled, "the operation was given up by its caller"));
        pending
    }

    /// Ends the connection at once. Idempotent. Messages not yet received are dropped.
    pub(crate) fn close(&mut self) {
        let error = Error::new(Code::Closed, "closed by this side");
        self.end(error.clone());
        self.inbox = Inbox::default();
        self.outbox.clear();
        self.state = State::Ended(error);
    }

    /// Ends what waits for the other side to send.
    pub(super) fn end_reading(&mut self) {
        self.read_ended = true;
        let _ = self.inbox.abandon().count();
        let lost = lost(&peer_closed());
        for (op, kind) in self.ops.all() {
            match kind {
                Kind::Recv => self.ops.finish(op, Err(peer_closed())),
                Kind::Call | Kind::Ping => {
                    let sent = if kind == Kind::Call { self.sent(op) } else { Sent::No };
                    self.ops.finish(op, Err(lost.with_sent(sent)));
                }
                Kind::Open | Kind::Send | Kind::Drain => {}
            }
        }
        if let Some(op) = self.call.take() {
            self.outbox.retract(op);
        }
        self.waiting_calls.clear();
        self.pings.clear();
        self.advance();
    }

    /// Whether bytes of `op` may have reached the other side.
    pub(super) fn sent(&self, op: OpId) -> Sent {
        let queued =
            self.waiting_sends.iter().any(|(o, ..)| *o == op) || self.waiting_calls.iter().any(|(o, _)| *o == op);
        match self.outbox.standing(op) {
            Standing::Waiting => Sent::No,
            Standing::Gone if queued => Sent::No,
            Standing::Gone | Standing::Started => Sent::Maybe,
        }
    }

    pub(super) fn forget_call(&mut self, op: OpId) {
        if self.call == Some(op) {
            self.call = None;
        }
    }

    /// Ends `op` before its time: its deadline passed, or its caller left.
    pub(crate) fn give_up(&mut self, op: OpId, reason: &Error) {
        let Some(kind) = self.ops.kind(op) else { return };
        let sent = match kind {
            Kind::Send | Kind::Call => self.sent(op),
            _ => Sent::No,
        };
        self.ops.finish(op, Err(reason.with_sent(sent)));
        match kind {
            Kind::Recv => self.inbox.forget(op),
            Kind::Ping => self.pings.iter_mut().filter(|p| p.op == Some(op)).for_each(|p| p.op = None),
            Kind::Open => self.end(reason.clone()),
            Kind::Drain => self.end(Error::new(Code::Closed, "closed by this side: the drain ran out of time")),
            Kind::Send | Kind::Call if sent == Sent::No => {
                self.waiting_sends.retain(|(o, ..)| *o != op);
                self.waiting_calls.retain(|(o, _)| *o != op);
                self.outbox.retract(op);
                self.forget_call(op);
                self.advance();
            }
            // A given-up send may still finish its frame; one that ran out of time shows a peer
            // that does not read, and would hold every later message behind half a frame.
            Kind::Send if reason.code() == Code::Cancelled => {}
            Kind::Send => self.end(Error::new(
                Code::ConnectionLost,
                "closed by this side: a message could not be finished before its deadline",
            )),
            // Level 0 has no ids: a late reply would answer the next call.
            Kind::Call => self.end(Error::new(
                Code::ConnectionLost,
                "closed by this side: a call was given up and its late reply could answer the next",
            )),
        }
    }

    /// The other side, or this one, broke the protocol. A handshake is refused with the reason.
    pub(super) fn fail(&mut self, error: Error) {
        let refuse = matches!(self.state, State::Hello(_)) && matches!(self.config.role, Role::Acceptor { .. });
        self.end(error.clone());
        if refuse {
            self.outbox.push_control(hello::refusal(&error), false);
        }
    }

    /// Refuses a handshake for a reason of the driver's.
    pub(crate) fn refuse(&mut self, error: Error) {
        self.fail(error);
    }

    /// Ends everything with `error`. Received messages stay for [`recv`](Conn::recv).
    pub(super) fn end(&mut self, error: Error) {
        if matches!(self.state, State::Ended(_)) {
            return;
        }
        let drained =
            (self.shutdown_sent || self.read_ended) && matches!(error.code(), Code::PeerClosed | Code::Closed);
        let _ = self.inbox.abandon().count();
        for (op, kind) in self.ops.all() {
            let result = match kind {
                Kind::Open | Kind::Recv => Err(error.clone()),
                Kind::Drain if drained => Ok(Outcome::Drained),
                Kind::Send | Kind::Call => Err(lost(&error).with_sent(self.sent(op))),
                Kind::Ping | Kind::Drain => Err(lost(&error)),
            };
            self.ops.finish(op, result);
        }
        self.state = State::Ended(error);
        self.outbox.clear();
        self.waiting_sends.clear();
        self.waiting_calls.clear();
        self.pings.clear();
        self.call = None;
    }
}
