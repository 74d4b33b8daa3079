//! A member's place in a context.

use std::sync::{Arc, Weak};
use std::time::Instant;

use crate::driver::context::{Completion, Outcome};
use crate::driver::hub::{Hub, outcome};
use crate::driver::lane::{Lane, Made};
use crate::driver::lock;
use crate::error::{Code, Error, Result};
use crate::limits;
use crate::os::BorrowedFd;
use crate::os::poller::Interest;
use crate::proto::{self, OpId};

/// A member's place in its context: how it is watched, woken, and hands over what is finished.
#[derive(Debug)]
pub(crate) struct Seat {
    hub: Weak<Hub>,
    token: u64,
    /// The lane that sits here; none for a listener.
    lane: Option<Weak<Lane>>,
    watched: Interest,
    alarm: Option<Instant>,
}

impl Seat {
    pub(super) fn new(hub: &Arc<Hub>, token: u64, lane: Option<Weak<Lane>>) -> Seat {
        Seat { hub: Arc::downgrade(hub), token, lane, watched: Interest::empty(), alarm: None }
    }

    /// `wrong_driver` unless this seat is in `hub`.
    pub(crate) fn check(&self, hub: &Arc<Hub>) -> Result<()> {
        if std::ptr::eq(self.hub.as_ptr(), Arc::as_ptr(hub)) {
            return Ok(());
        }
        Err(Error::new(Code::WrongDriver, "another context drives this object"))
    }

    pub(crate) fn expect(&self, op: OpId) {
        if let Some(hub) = self.hub.upgrade() {
            lock(&hub.queue).owners.insert(op, self.token);
        }
    }

    /// Hands finished operations of a connection to the context.
    pub(crate) fn deliver(&self, finished: impl Iterator<Item = (OpId, Result<proto::Outcome>)>) {
        let mut finished = finished.peekable();
        if finished.peek().is_none() {
            return;
        }
        let lane = self.lane.as_ref().and_then(Weak::upgrade);
        let (Some(hub), Some(lane)) = (self.hub.upgrade(), lane) else {
            return finished.for_each(drop);
        };
        hub.complete(finished.map(|(op, result)| Completion { op, result: result.map(|o| outcome(&lane, o)) }));
    }

    /// Hands a listener's finished accepts to the context.
    pub(crate) fn deliver_accepted(&self, finished: Vec<(OpId, Result<Made>)>) {
        let Some(hub) = self.hub.upgrade() else { return };
        let completions: Vec<Completion> = finished
            .into_iter()
            .map(|(op, result)| Completion {
                op,
                result: result.and_then(|made| hub.admit(made)).map(Outcome::Accepted),
            })
            .collect();
        hub.complete(completions.into_iter());
    }

    /// Tells accepts that a client is ready.
    pub(crate) fn tell(&self, ops: Vec<OpId>) {
        if let Some(hub) = self.hub.upgrade() {
            hub.complete(ops.into_iter().map(|op| Completion { op, result: Ok(Outcome::Readable) }));
        }
    }

    pub(crate) fn watch(&mut self, fd: BorrowedFd<'_>, interest: Interest) {
        if interest == self.watched {
            return;
        }
        let Some(hub) = self.hub.upgrade() else { return };
        match hub.epoll.set(fd, self.token, self.watched, interest) {
            Ok(()) => self.watched = interest,
            // The kernel is out of memory, or has no room for one more to watch: the member is pumped by the clock, which
            // ends in another try.
            Err(_) => self.set_alarm(Some(Instant::now() + limits::UNWATCHED)),
        }
    }

    /// Has the member pumped at `at` at the latest. An alarm that turns out too early rings once for
    /// nothing, which is cheaper than moving it with every operation that ends.
    pub(crate) fn set_alarm(&mut self, at: Option<Instant>) {
        let Some(at) = at.filter(|at| self.alarm.is_none_or(|alarm| *at < alarm)) else { return };
        if let Some(hub) = self.hub.upgrade() {
            let before = self.alarm.replace(at);
            if let Some(before) = before {
                lock(&hub.state).timers.remove(&(before, self.token));
            }
            hub.schedule(self.token, at);
        }
    }

    pub(crate) fn alarm_rang(&mut self) {
        self.alarm = None;
    }

    /// The member is finished and wants no more turns.
    pub(crate) fn leave(&self) {
        let Some(hub) = self.hub.upgrade() else { return };
        let member = {
            let mut state = lock(&hub.state);
            if let Some(alarm) = self.alarm {
                state.timers.remove(&(alarm, self.token));
            }
            state.members.remove(&self.token)
        };
        // Outside the lock: it may be the last share.
        drop(member);
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::os::fd::AsFd;
    use std::time::Duration;

    use super::*;
    use crate::os::poller::{self, READ};

    #[test]
    fn a_timer_that_was_given_up_leaves_nothing() {
        let hub = Hub::new().unwrap();
        let later = Instant::now() + Duration::from_secs(3600);
        for _ in 0..100 {
            let op = hub.timer(later).unwrap();
            hub.cancel(op);
        }
        assert!(lock(&hub.state).timers.is_empty() && hub.is_empty());
        let mut completions = Vec::new();
        hub.process(usize::MAX, &mut completions).unwrap();
        let cancelled = |c: &Completion| c.result.as_ref().is_err_and(|e| e.code() == Code::Cancelled);
        assert_eq!(completions.iter().filter(|c| cancelled(c)).count(), 100);
    }

    #[test]
    fn nothing_joins_a_context_that_is_being_closed() {
        let hub = Hub::new().unwrap();
        // Behind the look of who calls.
        hub.check().unwrap();
        hub.close();
        assert_eq!(hub.timer(Instant::now()).unwrap_err().code(), Code::Closed);
        assert!(hub.is_empty() && lock(&hub.queue).owners.is_empty());
    }

    #[test]
    fn what_cannot_be_watched_is_looked_at_by_the_clock() {
        let hub = Hub::new().unwrap();
        let mut seat = Seat::new(&hub, 7, None);
        // A plain file cannot be polled for.
        let file = tempfile::tempfile().unwrap();
        seat.watch(file.as_fd(), READ);
        assert!(seat.watched.is_empty());
        assert_eq!(lock(&hub.state).timers.iter().map(|(_, token)| *token).collect::<Vec<_>>(), [7]);
        let soon = Instant::now() + Duration::from_secs(10);
        poller::wait_one(hub.fd(), READ, Some(soon)).unwrap();
        assert!(Instant::now() < soon);
    }
}
