//! What a lane's lock guards: the connection, its carrier, and who drives it.

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;

use crate::api::payload::Payload;
use crate::driver::hub::Seat;
use crate::driver::turn::{self, Shared, Turn};
use crate::driver::{carry, report};
use crate::error::{Code, Error, Result};
use crate::os::AsFd;
use crate::os::carrier::Carrier;
use crate::os::poller::{Interest, READ, WRITE};
use crate::proto::channel::Channel;
use crate::proto::conn::{Conn, Post};
use crate::proto::{OpId, Outcome, Step};

#[derive(Debug)]
pub(crate) struct State {
    pub(super) conn: Conn,
    pub(super) address: Arc<str>,
    pub(super) driver: Driver,
    /// `None` once the connection is finished. Whoever polls it holds a share, so it is closed by the last.
    pub(super) carrier: Option<Arc<Carrier>>,
}

/// Who moves this connection's bytes. Chosen when it is made, for its whole life.
#[derive(Debug)]
pub(crate) enum Driver {
    /// Blocking callers, by turns.
    Direct(Box<Turn<Outcome>>),
    /// A context.
    Seated(Seat),
}

impl State {
    pub(super) fn direct(&mut self) -> Result<&mut Turn<Outcome>> {
        match &mut self.driver {
            Driver::Direct(turn) => Ok(turn),
            Driver::Seated(_) => {
                Err(Error::new(Code::WrongDriver, "a context drives this peer: use the context's calls"))
            }
        }
    }

    pub(super) fn seated(&mut self) -> Result<&mut Seat> {
        match &mut self.driver {
            Driver::Seated(seat) => Ok(seat),
            Driver::Direct(_) => {
                Err(Error::new(Code::WrongDriver, "this peer was made for blocking calls, not by a context"))
            }
        }
    }

    /// Writes a payload from the caller's memory if nothing is queued before it, else queues it.
    pub(super) fn post(&mut self, op: OpId, post: Post, payload: impl Payload, deadline: Option<Instant>) -> Step {
        let bytes = payload.as_slice();
        let len = bytes.len();
        let now = if post.has_deadline() { Instant::now() } else { self.conn.now() };
        match self.conn.inline(&post, len, now) {
            Err(error) => Some(Err(error)),
            // Gathered with what else the cork holds back.
            Ok(Some(inline)) if self.conn.is_corked() => self.conn.gather(op, &post, &inline, bytes, deadline),
            Ok(None) => {
                // A program that only sends would otherwise never hear that it has credit again.
                if matches!(self.driver, Driver::Direct(_)) && self.conn.lacks_credit(&post) {
                    self.pump(Instant::now());
                }
                self.conn.post(op, post, payload.into_bytes(), now, deadline)
            }
            Ok(Some(inline)) => {
                let Some(carrier) = &self.carrier else { return Some(Err(ended())) };
                match inline.with_slices(bytes, |slices| carry::write(carrier, slices, &[])) {
                    Ok(taken) => self.conn.wrote(op, &post, &inline, len, taken, || payload.into_bytes(), deadline),
                    Err(error) => {
                        self.conn.write_failed(error.clone());
                        Some(Err(error))
                    }
                }
            }
        }
    }

    /// Stages what fits and queues what has to wait; the last one tells the end of all.
    pub(super) fn send_all<'p>(
        &mut self,
        op: OpId,
        channel: Channel,
        payloads: impl Iterator<Item = &'p [u8]>,
        deadline: Option<Instant>,
    ) -> Step {
        match self.send_each(op, channel, payloads, deadline) {
            Err(error) => Some(Err(error)),
            Ok(()) if self.conn.is_pending(op) => None,
            Ok(()) => {
                self.write();
                self.conn.flush(op, deadline)
            }
        }
    }

    pub(super) fn send_each<'p>(
        &mut self,
        op: OpId,
        channel: Channel,
        payloads: impl Iterator<Item = &'p [u8]>,
        deadline: Option<Instant>,
    ) -> Result<()> {
        let mut payloads = payloads.peekable();
        let mut queues = false;
        while let Some(payload) = payloads.next() {
            if !queues && !self.conn.send_short(channel, payload)? {
                // A full write: it makes room, if the carrier takes it.
                self.write();
                queues = !self.conn.send_short(channel, payload)?;
            }
            if queues {
                let last = payloads.peek().is_none().then_some(op);
                self.conn.send_part(channel, Bytes::copy_from_slice(payload), last, deadline)?;
            }
        }
        Ok(())
    }

    /// After a blocking caller started an operation: its result, or its id if it has to be waited for; `waits` if it does
    /// so next.
    pub(super) fn started(&mut self, op: OpId, step: Step, waits: bool) -> Result<Result<Outcome>, OpId> {
        if step.is_none()
            && let Driver::Direct(turn) = &mut self.driver
        {
            turn.expect(op);
            if waits {
                turn.enter();
            }
        }
        self.move_on();
        step.ok_or(op)
    }

    /// After a context's caller started an operation.
    pub(super) fn submitted(&mut self, op: OpId, step: Step) -> Step {
        if step.is_none()
            && let Driver::Seated(seat) = &mut self.driver
        {
            seat.expect(op);
        }
        self.move_on();
        step
    }

    /// Writes what is queued, and settles.
    pub(super) fn move_on(&mut self) {
        // Often, inside a cork above all, there is nothing to move and nobody to tell.
        if matches!(&self.driver, Driver::Direct(turn) if !turn.is_of_concern()) && self.conn.is_quiet() {
            return;
        }
        self.write();
        self.settle();
    }

    pub(super) fn write(&mut self) {
        if let Some(carrier) = &self.carrier {
            carry::flush(&mut self.conn, carrier);
        }
    }

    /// Hands finished operations over, sees to it that somebody attends to the socket, and lets it go
    /// once the connection is finished.
    pub(super) fn settle(&mut self) {
        report::conn(&mut self.conn, &self.address);
        match &mut self.driver {
            Driver::Direct(turn) => {
                while let Some((op, result)) = self.conn.poll_done() {
                    turn.finish(op, result);
                }
            }
            Driver::Seated(seat) => seat.deliver(std::iter::from_fn(|| self.conn.poll_done())),
        }
        let finished = self.conn.finished();
        match &self.driver {
            Driver::Direct(_) => self.attend(),
            Driver::Seated(_) => {
                let (interest, timeout) = (self.interest(), self.conn.next_timeout());
                let Driver::Seated(seat) = &mut self.driver else { return };
                if let Some(carrier) = &self.carrier {
                    seat.watch(carrier.as_fd(), interest);
                }
                seat.set_alarm(timeout);
                if finished {
                    seat.leave();
                }
            }
        }
        if finished && let Some(carrier) = self.carrier.take() {
            if let Driver::Direct(turn) = &mut self.driver {
                turn.share().0.leave(carrier.as_fd());
            }
            carrier.shut();
        }
    }

    /// What to poll the carrier's descriptor for.
    pub(super) fn interest(&self) -> Interest {
        let mut interest = Interest::empty();
        if !self.conn.finished() {
            interest.set(READ, self.conn.wants_read());
            interest.set(WRITE, self.conn.wants_write());
        }
        self.carrier.as_ref().map_or(Interest::empty(), |carrier| carrier.watch(interest))
    }
}

impl Shared for State {
    type Out = Outcome;
    type Fd = Arc<Carrier>;

    fn turn(&mut self) -> &mut Turn<Outcome> {
        match &mut self.driver {
            Driver::Direct(turn) => turn,
            Driver::Seated(_) => unreachable!("blocking calls are refused before they take a turn"),
        }
    }

    fn descriptor(&self) -> Option<(Arc<Carrier>, Interest)> {
        Some((self.carrier.clone()?, self.interest()))
    }

    fn next_timeout(&mut self) -> Option<Instant> {
        self.conn.next_timeout()
    }

    fn pump(&mut self, now: Instant) -> bool {
        let more = match &self.carrier {
            Some(carrier) => carry::fill(&mut self.conn, carrier, now).more,
            None => false,
        };
        self.conn.handle_timeout(now);
        self.move_on();
        more && self.conn.wants_read()
    }

    fn glance(&mut self, now: Instant) -> bool {
        match &self.carrier {
            Some(carrier) if !carry::fill(&mut self.conn, carrier, now).any => return false,
            _ => self.move_on(),
        }
        true
    }

    fn messages(&self) -> u64 {
        self.conn.messages()
    }

    fn attend(&mut self) {
        let Driver::Direct(turn) = &mut self.driver else { return };
        // What nobody waits for has to leave all the same.
        let concerns = turn.is_of_concern() || (self.conn.wants_write() && turn.leave_behind());
        if !concerns {
            return;
        }
        let interest = self.interest();
        let (writes, timeout) = (self.conn.wants_write(), self.conn.next_timeout());
        let Driver::Direct(turn) = &mut self.driver else { return };
        turn.hurry(timeout);
        match &self.carrier {
            Some(carrier) if turn.share().0.concerned() => {
                turn.attend_shared(carrier, interest, writes, timeout);
            }
            _ => turn.attend(interest, timeout),
        }
    }

    fn release(&mut self) {
        if self.conn.release() {
            self.move_on();
        }
    }

    fn give_up(&mut self, op: OpId, code: Code) {
        self.conn.give_up(op, &turn::given_up(code));
        self.move_on();
    }
}

/// Never met: a connection without a carrier has ended, and refuses to send before this is asked.
pub(super) fn ended() -> Error {
    Error::new(Code::Closed, "the connection has ended")
}
