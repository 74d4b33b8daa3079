//! The messages of one channel that wait to be sent, and the channel's credit.

use std::collections::VecDeque;

use super::outbox::{Mark, Outgoing};
use crate::limits;
use crate::proto::channel::Channel;
use crate::proto::notice::{Gauge, Notice};

/// What a sender does on a channel without credit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Policy {
    /// It waits until its deadline.
    #[default]
    Block,
    /// It gets `would_block`. It never waits: a message with credit that the carrier does not take at once is kept until
    /// it does.
    Error,
    /// The oldest messages that have not been sent make room; counted as dropped.
    DropOldest,
    /// Only the newest message that has not been sent stays; the others are counted as dropped.
    Latest,
}

impl Policy {
    /// Whether a send waits until its message has left.
    pub(super) fn waits(self) -> bool {
        self == Policy::Block
    }

    /// Whether messages are dropped for want of credit.
    pub(super) fn drops(self) -> bool {
        matches!(self, Policy::DropOldest | Policy::Latest)
    }
}

/// A message in a queue.
#[derive(Debug)]
pub(super) struct Queued {
    pub(super) message: Outgoing,
    /// Bytes of the payload already staged. Of one that has begun to leave and is still here there are some.
    pub(super) offset: usize,
    credited: bool,
}

impl Queued {
    pub(super) fn new(message: Outgoing, credited: bool) -> Queued {
        Queued { message, offset: 0, credited }
    }

    /// The rest, from `offset` on, of a message that was paid for and has begun to leave.
    pub(super) fn cut(message: Outgoing, offset: usize) -> Queued {
        Queued { message, offset, credited: false }
    }

    fn charge(&self) -> usize {
        self.message.charge()
    }
}

#[derive(Debug)]
pub(crate) struct ChannelQueue {
    pub(super) channel: Channel,
    pub(super) policy: Policy,
    /// Share of a turn.
    pub(super) weight: i64,
    /// What is left of the turn, in bytes.
    pub(super) deficit: i64,
    pub(super) in_turn: bool,
    /// The message whose first frames are staged: no other may come between.
    open: Option<Box<Queued>>,
    /// Messages that need credit, in order.
    credited: VecDeque<Queued>,
    /// Messages that need none: replies, and items whose stream had credit.
    free: VecDeque<Queued>,
    /// Charged since the beginning, and the total the other side allows.
    pub(super) charged: u64,
    pub(super) credit: u64,
    /// Charged bytes in the queues.
    pub(super) bytes: usize,
    pub(super) peak_bytes: usize,
    pub(super) dropped: u64,
    /// The number the other side was told.
    dropped_told: u64,
    /// It drops, and has been less than half full at no time since it began to.
    dropping: bool,
    gauge: Gauge,
}

impl ChannelQueue {
    pub(super) fn new(channel: Channel, window: u64, policy: Policy) -> ChannelQueue {
        ChannelQueue {
            channel,
            policy,
            weight: match channel {
                Channel::COMMAND | Channel::ERROR => 8,
                Channel::TELEMETRY => 1,
                _ => 2,
            },
            deficit: 0,
            in_turn: false,
            open: None,
            credited: VecDeque::new(),
            free: VecDeque::new(),
            charged: 0,
            credit: window,
            bytes: 0,
            peak_bytes: 0,
            dropped: 0,
            dropped_told: 0,
            dropping: false,
            gauge: Gauge::default(),
        }
    }

    /// Bytes that wait here, the rest of a message that has begun to leave among them.
    pub(super) fn unstaged(&self) -> usize {
        self.bytes + self.open.as_ref().map_or(0, |open| open.message.payload.len() - open.offset)
    }

    fn has_credit(&self) -> bool {
        self.charged < self.credit
    }

    /// Whether a message that comes now could leave at once.
    pub(super) fn may_pass(&self, credited: bool) -> bool {
        self.open.is_none()
            && self.free.is_empty()
            && (!credited || (self.credited.is_empty() && self.has_credit()))
            && self.dropped == self.dropped_told
    }

    /// Whether a message that comes now has to wait for credit.
    pub(super) fn is_stuck(&self) -> bool {
        !self.credited.is_empty() || !self.has_credit()
    }

    /// Whether what is queued will use up all credit there is.
    pub(super) fn is_spent(&self) -> bool {
        self.charged + self.bytes as u64 >= self.credit
    }

    /// A message with this charge begins.
    pub(super) fn charge(&mut self, charge: usize) {
        self.charged += charge as u64;
    }

    pub(super) fn push(&mut self, queued: Queued) {
        self.bytes += queued.charge();
        self.peak_bytes = self.peak_bytes.max(self.bytes);
        if queued.credited { self.credited.push_back(queued) } else { self.free.push_back(queued) }
    }

    /// The other side allows `total`. Says whether that is more than before.
    pub(super) fn raise(&mut self, total: u64) -> bool {
        let more = total > self.credit;
        self.credit = self.credit.max(total);
        more
    }

    /// Whether something may leave now.
    pub(super) fn ready(&self) -> bool {
        self.open.is_some() || !self.free.is_empty() || (!self.credited.is_empty() && self.has_credit())
    }

    /// Whether another message may be queued.
    pub(super) fn has_room(&self) -> bool {
        self.bytes < limits::CHANNEL_QUEUE
    }

    /// Drops messages nobody waits for any more from the front.
    pub(super) fn skip_dead(&mut self, alive: &mut impl FnMut(Mark) -> bool) {
        for queue in [&mut self.credited, &mut self.free] {
            while let Some(front) = queue.front()
                && front.message.mark.is_some_and(|mark| !alive(mark))
            {
                self.bytes -= queue.pop_front().map_or(0, |q| q.charge());
            }
        }
    }

    /// Takes the message whose next frame is to be staged.
    pub(super) fn begin(&mut self) -> Option<Queued> {
        if let Some(open) = self.open.take() {
            return Some(*open);
        }
        if let Some(free) = self.free.pop_front() {
            self.bytes -= free.charge();
            return Some(free);
        }
        if !self.has_credit() {
            return None;
        }
        let mut queued = self.credited.pop_front()?;
        let charge = queued.charge();
        self.bytes -= charge;
        self.charge(charge);
        if self.dropped != self.dropped_told && queued.message.kind == super::header::kind::MESSAGE {
            queued.message.ext.dropped = Some(self.dropped);
            self.dropped_told = self.dropped;
        }
        Some(queued)
    }

    /// More frames of `message` are to follow.
    pub(super) fn put_back(&mut self, message: Queued) {
        self.open = Some(Box::new(message));
    }

    /// Whether a queue with a bound has become nearly full.
    pub(super) fn rises(&mut self) -> Option<Notice> {
        let (bytes, limit) = (self.bytes, limits::CHANNEL_QUEUE);
        let high = Notice::QueueHigh { channel: Some(self.channel), sending: true, bytes, limit };
        (self.policy == Policy::DropOldest && self.gauge.rises(bytes, limit)).then_some(high)
    }

    /// Drops by policy to make room for one more message with this charge. Says when that begins.
    pub(super) fn make_room(&mut self, charge: usize) -> Option<Notice> {
        // What keeps the latest alone always drops; it tells so once.
        self.dropping &= self.policy == Policy::Latest || self.bytes >= limits::CHANNEL_QUEUE / 2;
        let before = self.dropped;
        let limit = match self.policy {
            Policy::Latest => 0,
            _ => limits::CHANNEL_QUEUE.saturating_sub(charge),
        };
        while self.bytes > limit
            && let Some(at) = self.credited.iter().position(|q| q.message.kind == super::header::kind::MESSAGE)
        {
            self.bytes -= self.credited.remove(at).map_or(0, |q| q.charge());
            self.dropped += 1;
        }
        let begins = self.dropped > before && !std::mem::replace(&mut self.dropping, true);
        begins.then_some(Notice::Dropping(self.channel))
    }

    /// Whether the message with `mark` waits, nothing of it staged.
    pub(super) fn holds(&self, mark: Mark) -> bool {
        self.credited.iter().chain(&self.free).any(|q| q.message.mark == Some(mark))
    }

    /// Withdraws the message with `mark` if nothing of it is staged.
    pub(super) fn withdraw(&mut self, mark: Mark) -> Option<Outgoing> {
        for queue in [&mut self.credited, &mut self.free] {
            if let Some(at) = queue.iter().position(|q| q.message.mark == Some(mark))
                && let Some(queued) = queue.remove(at)
            {
                self.bytes -= queued.charge();
                return Some(queued.message);
            }
        }
        None
    }

    /// No more credit comes: withdraws the messages that there is none for. Whose they were.
    pub(super) fn withdraw_stuck(&mut self) -> Vec<Mark> {
        let mut charged = self.charged;
        let fits = |queued: &&Queued| {
            let begins = charged < self.credit;
            charged += queued.charge() as u64;
            begins
        };
        let leave = self.credited.iter().take_while(fits).count();
        let stuck = self.credited.split_off(leave);
        self.bytes -= stuck.iter().map(Queued::charge).sum::<usize>();
        stuck.into_iter().filter_map(|queued| queued.message.mark).collect()
    }

    /// Withdraws messages of a call that have not begun; whose they were.
    pub(super) fn withdraw_call(&mut self, id: u64, kind: u8) -> Vec<Mark> {
        let bytes = &mut self.bytes;
        let mut marks = Vec::new();
        for queue in [&mut self.credited, &mut self.free] {
            queue.retain(|q| {
                let goes = q.message.id == id && q.message.kind == kind;
                if goes {
                    *bytes -= q.charge();
                    marks.extend(q.message.mark);
                }
                !goes
            });
        }
        marks
    }

    pub(super) fn messages(&self) -> usize {
        self.credited.len() + self.free.len() + usize::from(self.open.is_some())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages() == 0
    }

    pub(super) fn clear(&mut self) {
        self.open = None;
        self.credited.clear();
        self.free.clear();
        self.bytes = 0;
        self.in_turn = false;
    }
}

#[cfg(test)]
mod tests;
