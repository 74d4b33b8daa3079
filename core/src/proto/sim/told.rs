//! What the programs are told, and how it is judged.

use super::side::{Pending, Served, What};
use super::world::World;
use crate::error::{Code, Error, Result, Sent};
use crate::proto::Outcome;
use crate::proto::channel::Channel;
use crate::proto::level1::{Delivery, Extra, Policy};

impl World {
    pub(super) fn delivered(&mut self, l: usize, s: usize, delivery: Delivery) {
        self.tally.messages += 1;
        let Delivery { channel, payload, extra } = delivery;
        let Extra { request, trace, .. } = extra.map(|extra| *extra).unwrap_or_default();
        let id = request.as_ref().map(|r| r.id);
        let tag = self.ledger.arrived(l, 1 - s, channel.number(), &payload, id, trace.as_deref());
        self.note(|_| format!("{l}.{s} got {tag:?} on {} call {id:?}", channel.number()));
        let call = match (id, tag) {
            (Some(id), _) => self.ledger.call_by_id(l, 1 - s, id),
            (None, Some(tag)) => self.ledger.calls.iter().position(|c| c.request == tag && c.id == 0),
            (None, None) => None,
        };
        if let Some(call) = call {
            let stream = request.as_ref().is_some_and(|r| r.stream);
            let patient = self.rng.percent(50);
            if !self.ledger.hostile {
                assert_eq!(stream, self.ledger.calls[call].stream);
            }
            let id = id.unwrap_or_default();
            let (in_ended, reading, over, nested) = (false, false, false, None);
            let served = Served { id, call, stream, in_ended, reading, nested, patient, over };
            self.links[l].sides[s].served.push(served);
        }
    }

    pub(super) fn ended(&mut self, l: usize, s: usize, pending: Pending, result: Result<Outcome>) {
        if let Err(error) = &result {
            self.judge(l, s, &pending, error);
        }
        match (pending.what, result) {
            (What::Open, Ok(Outcome::Opened)) => {
                let side = &mut self.links[l].sides[s];
                side.open = true;
                side.level = side.conn.agreed().level;
                let level = side.level;
                match self.plan.level() {
                    // A connector that demands level 1 leaves again when it hears of level 0.
                    None => self.ledger.broken[l] = true,
                    Some(expected) => assert!(self.ledger.hostile || expected == level, "agreed on level {level}"),
                }
            }
            (What::Open, Err(_)) => {}
            (What::Recv(_), Ok(Outcome::Message(delivery))) => self.delivered(l, s, delivery),
            (What::Recv(_), Err(_)) => {
                let side = &mut self.links[l].sides[s];
                let over = side.conn.end_error().is_some() || !side.conn.wants_read();
                side.dry |= pending.what == What::Recv(true) && over;
            }
            (What::Readable, Ok(Outcome::Message(delivery))) => self.delivered(l, s, delivery),
            (What::Readable, Ok(Outcome::Readable)) | (What::Readable, Err(_)) => {}
            (What::Send(tag) | What::Answer(_, tag), Ok(Outcome::Sent)) => self.ledger.left(tag),
            (What::Send(tag), Err(error)) => self.ledger.failed(tag, &error),
            (What::Answer(call, tag), Err(error)) => {
                self.ledger.calls[call].abandoned |= error.sent() == Sent::No;
                self.ledger.failed(tag, &error);
            }
            (What::Flush, _) | (What::Ping, Ok(Outcome::Pong(_)) | Err(_)) => {}
            (What::Drain, Ok(Outcome::Drained)) => self.tally.drained += 1,
            (What::Drain, Err(error)) => {
                // On level 0 the other side may close with bytes of this one unread, and so lost.
                let crossed = self.links[l].sides[s].level == 0 && self.links[l].sides[1 - s].drains;
                assert!(self.is_excused(l) || crossed, "a drain failed: {error:?}");
            }
            (What::Call(call), Ok(Outcome::Reply(_, bytes))) => {
                self.ledger.call_ended(call, Ok(&bytes), false);
                self.tally.replies += 1;
                self.nested.push(call);
            }
            (What::Call(call), Err(error)) => {
                self.tally.failed_calls += 1;
                let excused = pending.cancelled || error.code() == Code::Timeout;
                if excused {
                    self.ledger.calls[call].given_up = true;
                }
                self.call_failed(l, s, call, &error, excused);
                self.nested.push(call);
            }
            (What::ItemOut { tag, .. }, Ok(Outcome::Sent)) => tag.into_iter().for_each(|tag| self.ledger.left(tag)),
            (What::ItemOut { call, tag, fin }, Err(error)) => {
                tag.into_iter().for_each(|tag| self.ledger.failed(tag, &error));
                let taken_back = error.sent() == Sent::No && matches!(error.code(), Code::Timeout | Code::Cancelled);
                if fin && taken_back && self.links[l].sides[s].conn.end_error().is_none() {
                    // Taken back, it has to be said again.
                    self.links[l].sides[s].streams.iter_mut().filter(|o| o.call == call).for_each(|o| o.fin = false);
                }
                if error.code() == Code::CallEnded {
                    self.over(l, s, call);
                }
            }
            (What::ItemIn(call), result) => self.item_read(l, s, call, &pending, result),
            (What::Watch(_), Ok(Outcome::CallEnded) | Err(_)) => {}
            (what, result) => panic!("{what:?} ended as another kind: {result:?}"),
        }
    }

    fn item_read(&mut self, l: usize, s: usize, call: usize, pending: &Pending, result: Result<Outcome>) {
        let own = self.ledger.calls[call].caller == s;
        let side = &mut self.links[l].sides[s];
        side.served.iter_mut().filter(|v| v.call == call && !own).for_each(|v| v.reading = false);
        side.streams.iter_mut().filter(|o| o.call == call && own).for_each(|o| o.reading = false);
        match result {
            Ok(Outcome::Item(bytes)) => {
                self.tally.items += 1;
                self.ledger.item_arrived(call, usize::from(own), &bytes);
            }
            Ok(Outcome::StreamEnd(Some(bytes))) => {
                assert!(own, "a reply to the wrong side");
                self.ledger.items_ended(call, 1);
                self.ledger.call_ended(call, Ok(&bytes), false);
                self.over(l, s, call);
            }
            Ok(Outcome::StreamEnd(None)) => {
                assert!(!own, "an end without a reply");
                self.ledger.items_ended(call, 0);
                side.served.iter_mut().filter(|v| v.call == call).for_each(|v| v.in_ended = true);
            }
            Ok(Outcome::Readable) => {}
            Ok(other) => panic!("a read of a stream ended as another kind: {other:?}"),
            // Of this read alone.
            Err(error) if pending.cancelled || (error.code() == Code::Timeout && pending.deadline.is_some()) => {
                // Or the end of the whole, which is told once.
                let (now, leapt) = (self.now(s), self.has_leapt(1 - s));
                let of = &mut self.ledger.calls[call];
                of.given_up |= of.told.is_some_and(|told| told <= now || leapt);
            }
            Err(error) => {
                if own && !self.ledger.calls[call].ended && !self.ledger.calls[call].given_up {
                    self.call_failed(l, s, call, &error, error.code() == Code::Timeout);
                }
                self.over(l, s, call);
            }
        }
    }

    fn over(&mut self, l: usize, s: usize, call: usize) {
        let side = &mut self.links[l].sides[s];
        side.served.iter_mut().filter(|v| v.call == call).for_each(|v| v.over = true);
        side.streams.iter_mut().filter(|o| o.call == call).for_each(|o| o.over = true);
    }

    pub(super) fn call_failed(&mut self, l: usize, _s: usize, call: usize, error: &Error, excused: bool) {
        let excused = excused || self.is_excused(l) || self.is_draining(l);
        self.ledger.call_ended(call, Err(error), excused);
    }

    fn is_excused(&self, l: usize) -> bool {
        self.ledger.broken[l] || self.ledger.hostile || self.plan.level().is_none()
    }

    fn is_draining(&self, l: usize) -> bool {
        self.links[l].sides.iter().any(|s| s.drains)
    }

    /// Whether an operation may end with this error.
    fn judge(&mut self, l: usize, s: usize, pending: &Pending, error: &Error) {
        let code = error.code();
        assert!(!matches!(code, Code::Internal | Code::Panic), "{pending:?} {error:?}");
        if pending.what == What::Open && !self.is_excused(l) {
            // Its reason is that of the end.
            return;
        }
        let side = &self.links[l].sides[s];
        let allowed = match code {
            Code::Cancelled => pending.cancelled || matches!(pending.what, What::ItemIn(_) | What::ItemOut { .. }),
            Code::Timeout if side.conn.end_error().is_none_or(|end| end.code() != code) => {
                let told = match pending.what {
                    What::Call(call) | What::ItemIn(call) => self.ledger.calls[call].told,
                    _ => None,
                };
                // The other side counts by its own clock.
                let early = told.is_some() && self.has_leapt(1 - s);
                early || told.into_iter().chain(pending.deadline).any(|at| at <= self.now(s))
            }
            Code::WouldBlock => match pending.what {
                What::Send(tag) => {
                    let channel = Channel::from_wire(self.ledger.entries[tag as usize].channel);
                    self.plan.policy(s, channel) == Policy::Error
                }
                _ => false,
            },
            Code::QueueFull => pending.what == What::Ping,
            Code::PayloadTooLarge => {
                self.plan.limits.iter().any(|limits| limits.max_message < self.plan.large as usize + 1)
            }
            Code::CallEnded => matches!(pending.what, What::ItemIn(_) | What::ItemOut { .. } | What::Answer(..)),
            Code::RemoteError | Code::CallAbandoned => matches!(pending.what, What::Call(_) | What::ItemIn(_)),
            _ => side.conn.end_error().is_some() || self.is_excused(l) || self.is_draining(l),
        };
        assert!(allowed || self.ledger.hostile, "{l}.{s} {pending:?} ended with {error:?}");
    }
}
