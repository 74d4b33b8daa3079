//! How operations and connections end before their time: what a deadline, a cancel, a close and a
//! fault mean for each kind of operation is decided here and nowhere else.

use super::{Conn, Role, State, lost, peer_closed};
use crate::error::{Code, Error, Sent};
use crate::limits;
use crate::proto::hello;
use crate::proto::inbox::Inbox;
use crate::proto::level1::Level1;
use crate::proto::notice::Notice;
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
        if let Some(one) = &mut self.one {
            one.close();
        }
        self.state = State::Ended(error);
    }

    /// What the other side is told before a [`close`](Conn::close), once and without waiting.
    pub(crate) fn say_good_bye(&mut self) {
        if self.is_open()
            && let Some(one) = &mut self.one
        {
            one.last_words(&Error::new(Code::Closed, "closed"));
        }
        // That it could not be told is no reason for an end that was chosen before.
        self.lose(Error::new(Code::Closed, "closed by this side"));
    }

    /// The program learns of an end before the connection ends. A drain is the program's own end, and goes on.
    pub(super) fn lose(&mut self, error: Error) {
        if !self.draining {
            self.loss.get_or_insert(error);
        }
    }

    /// Ends what waits for the other side to send.
    pub(super) fn end_reading(&mut self) {
        self.read_ended = true;
        self.lose(peer_closed());
        let lost = lost(&peer_closed());
        if let Some(one) = &mut self.one {
            one.end_reading(&lost, &mut self.ops);
        }
        for (op, kind) in self.ops.all() {
            match kind {
                Kind::Recv | Kind::Readable => self.ops.finish(op, Err(peer_closed())),
                Kind::Call | Kind::Ping => {
                    let sent = if kind == Kind::Call { self.sent(op) } else { Sent::No };
                    self.ops.finish(op, Err(lost.with_sent(sent)));
                }
                Kind::StreamRecv(_) => self.ops.finish(op, Err(lost.clone())),
                // Level 1 has no half-closed connections: whoever sends no more waits for nothing.
                Kind::Watch(_) => self.ops.finish(op, Ok(Outcome::CallEnded)),
                Kind::Open | Kind::Send | Kind::Drain | Kind::Request(_) | Kind::StreamSend(_) => {}
            }
        }
        self.readers.clear();
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
        let timed_out = (reason.code() == Code::Timeout).then(|| Error::new(Code::Timeout, missed(kind)));
        let reason = timed_out.as_ref().unwrap_or(reason);
        if self.one.is_some() && self.give_up_level_1(op, kind, reason) {
            return;
        }
        let sent = match kind {
            Kind::Send | Kind::Call => self.sent(op),
            _ => Sent::No,
        };
        self.ops.finish(op, Err(reason.with_sent(sent)));
        match kind {
            Kind::Recv => self.inbox.forget(op),
            Kind::Readable => self.readers.retain(|&(o, _)| o != op),
            // Kinds of level 1 alone.
            Kind::Request(_) | Kind::StreamSend(_) | Kind::StreamRecv(_) | Kind::Watch(_) => {}
            // Its answer is still owed, and ends nothing when it comes.
            Kind::Ping => {}
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
        if let Some(one) = &mut self.one
            && !matches!(self.state, State::Ended(_))
        {
            one.last_words(&error);
            self.last_words = self.now.checked_add(limits::LAST_WORDS);
        }
        self.end(error.clone());
        if self.one.is_none() && refuse {
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
        let told = self.shutdown_sent || self.read_ended || self.one.as_ref().is_some_and(|one| one.drained_by_end());
        let drained = told && matches!(error.code(), Code::PeerClosed | Code::Closed);
        let kept = self.last_words.is_some();
        if let Some(one) = &mut self.one {
            one.end_streams(&lost(&error), kept, &mut self.ops);
        }
        for (op, kind) in self.ops.all() {
            let result = match kind {
                Kind::Open | Kind::Recv | Kind::Readable => Err(error.clone()),
                Kind::Watch(_) => Ok(Outcome::CallEnded),
                Kind::Request(id) => {
                    let sent = self.one.as_ref().map_or(Sent::Maybe, |one| one.sent(id, kept));
                    Err(lost(&error).with_sent(sent))
                }
                Kind::StreamRecv(_) => Err(lost(&error)),
                Kind::StreamSend(_) | Kind::Send if self.one.is_some() => {
                    let unsent = self.one.as_mut().is_some_and(|one| withdraw(one, op, kind));
                    Err(lost(&error).with_sent(if unsent { Sent::No } else { Sent::Maybe }))
                }
                Kind::StreamSend(_) => Err(lost(&error)),
                Kind::Drain if drained => Ok(Outcome::Drained),
                Kind::Send | Kind::Call => Err(lost(&error).with_sent(self.sent(op))),
                Kind::Ping | Kind::Drain => Err(lost(&error)),
            };
            self.ops.finish(op, result);
        }
        // The close of a program that was told of a loss before is no news.
        let why = self.loss.take().filter(|_| error.code() == Code::Closed);
        self.ops.note([Notice::Ended(why.unwrap_or_else(|| error.clone()))]);
        self.state = State::Ended(error);
        // With last words to come, the response they follow is still owed.
        if self.last_words.is_none() {
            self.outbox.clear();
        }
        if let Some(one) = &mut self.one {
            one.abandon();
            if self.last_words.is_none() {
                one.clear_outbox();
            }
        }
        self.readers.clear();
        self.waiting_sends.clear();
        self.waiting_calls.clear();
        self.pings.clear();
        self.call = None;
    }

    /// The level-1 meaning of giving up; `false` where it is that of every level.
    fn give_up_level_1(&mut self, op: OpId, kind: Kind, reason: &Error) -> bool {
        let Some(one) = &mut self.one else { return false };
        match kind {
            Kind::Request(id) => {
                let sent = one.give_up_call(id, &mut self.ops);
                self.ops.finish(op, Err(reason.with_sent(sent)));
            }
            Kind::Send | Kind::StreamSend(_) => {
                // What has begun goes on; only this wait is over.
                let unsent = withdraw(one, op, kind);
                self.ops.finish(op, Err(reason.with_sent(if unsent { Sent::No } else { Sent::Maybe })));
            }
            Kind::Recv | Kind::Readable => {
                one.forget_recv(op);
                self.ops.finish(op, Err(reason.clone()));
            }
            Kind::StreamRecv(id) => {
                one.forget_stream_recv(op, id);
                self.ops.finish(op, Err(reason.clone()));
            }
            Kind::Watch(id) => {
                one.unwatch(op, id);
                self.ops.finish(op, Err(reason.clone()));
            }
            // An answer that comes later ends what has ended, which is nothing.
            Kind::Ping => self.ops.finish(op, Err(reason.clone())),
            Kind::Open | Kind::Drain | Kind::Call => return false,
        }
        self.advance();
        true
    }

    /// Writing failed on level 1: what was to be written fails, what has arrived is still read.
    pub(super) fn level1_write_failed(&mut self, error: &Error) {
        for (op, kind) in self.ops.all() {
            let Some(one) = &mut self.one else { return };
            match kind {
                Kind::Send | Kind::StreamSend(_) => {
                    let sent = if withdraw(one, op, kind) { Sent::No } else { Sent::Maybe };
                    self.ops.finish(op, Err(error.with_sent(sent)));
                }
                Kind::Request(id) if one.sent(id, false) == Sent::No => {
                    self.ops.finish(op, Err(error.with_sent(Sent::No)));
                    one.give_up_call(id, &mut self.ops);
                }
                _ => {}
            }
        }
        if let Some(one) = &mut self.one {
            one.end_unsent_streams(error, &mut self.ops);
            one.clear_outbox();
        }
        // A drain too goes on until the end of the stream: what has arrived before it is not lost.
        if self.read_ended {
            self.end(peer_closed());
        }
    }
}

/// Takes back what a send of level 1 has not begun to write; `false` if that is nothing.
fn withdraw(one: &mut Level1, op: OpId, kind: Kind) -> bool {
    match kind {
        Kind::StreamSend(id) => one.withdraw_item(op, id),
        _ => one.withdraw_send(op),
    }
}

/// What had not happened when the deadline of an operation passed.
fn missed(kind: Kind) -> &'static str {
    match kind {
        Kind::Open => "the handshake was not over before the deadline passed",
        Kind::Recv | Kind::Readable => "no message came before the deadline passed",
        Kind::Send => "the message was not taken before the deadline passed",
        Kind::Call | Kind::Request(_) => "no reply came before the deadline passed",
        Kind::Ping => "no answer to the ping came before the deadline passed",
        Kind::Drain => "the other side did not agree to the end before the deadline passed",
        Kind::StreamSend(_) => "the item was not taken before the deadline passed",
        Kind::StreamRecv(_) => "no item came before the deadline passed",
        Kind::Watch(_) => "an answer was still wanted when the deadline passed",
    }
}
