//! Received messages and requests on their way to the program: one queue per channel, bounded because
//! the other side holds credit, and the operations that wait for one.

use std::collections::VecDeque;
use std::time::Instant;

use bytes::Bytes;

use super::reader::Body;
use crate::os::Descriptor;
use crate::proto::OpId;
use crate::proto::channel::Channel;
use crate::proto::charge::charge;
use crate::proto::inbox::Depth;
use crate::proto::notice::{Gauge, Notice};

/// Payloads above this are kept as they are; smaller ones lie one behind the other in the queue's arena.
const SMALL: usize = 1024;
/// Arena given back when its queue is empty, and used bytes after which it is compacted.
const ARENA: usize = 64 * 1024;

/// A request of the other side's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Request {
    pub(crate) id: u64,
    pub(crate) deadline: Option<Instant>,
    /// The caller may send and take items.
    pub(crate) stream: bool,
    pub(crate) idempotency: Option<Bytes>,
}

/// A message or request, as the program gets it.
#[derive(Debug)]
pub(crate) struct Delivery {
    pub(crate) channel: Channel,
    pub(crate) payload: Bytes,
    pub(crate) extra: Option<Box<Extra>>,
}

/// What only some messages have.
#[derive(Debug, Default)]
pub(crate) struct Extra {
    pub(crate) request: Option<Request>,
    pub(crate) trace: Option<Bytes>,
    pub(crate) fds: Vec<Descriptor>,
}

impl Extra {
    /// `None` if there is nothing of it.
    pub(super) fn boxed(self) -> Option<Box<Extra>> {
        (self.request.is_some() || self.trace.is_some() || !self.fds.is_empty()).then(|| Box::new(self))
    }
}

/// What a message with a payload of this length and `extra` is charged.
fn charge_of(payload: usize, extra: Option<&Extra>) -> usize {
    charge(payload, extra.map_or(0, |extra| extra.fds.len()))
}

impl Delivery {
    pub(super) fn charge(&self) -> usize {
        charge_of(self.payload.len(), self.extra.as_deref())
    }

    pub(crate) fn request(&self) -> Option<&Request> {
        self.extra.as_ref()?.request.as_ref()
    }
}

#[derive(Debug)]
enum Stored {
    /// So many bytes at the front of the arena.
    Small(usize),
    Own(Bytes),
}

impl Stored {
    fn len(&self) -> usize {
        match self {
            Stored::Small(len) => *len,
            Stored::Own(bytes) => bytes.len(),
        }
    }
}

#[derive(Debug)]
struct Entry {
    arrival: u64,
    stored: Stored,
    extra: Option<Box<Extra>>,
}

#[derive(Debug)]
struct Queue {
    channel: Channel,
    entries: VecDeque<Entry>,
    arena: Vec<u8>,
    /// Bytes of the arena already taken.
    head: usize,
    depth: Depth,
    gauge: Gauge,
    credit: Window,
}

/// The receiving end of a credit.
#[derive(Debug, Clone, Copy)]
pub(super) struct Window {
    size: u64,
    granted: u64,
    charged: u64,
    consumed: u64,
}

impl Window {
    pub(super) fn new(size: u64) -> Window {
        Window { size, granted: size, charged: 0, consumed: 0 }
    }

    /// A message with this charge begins; `false` if there was no credit for it.
    pub(super) fn charge(&mut self, charge: usize) -> bool {
        let allowed = self.charged < self.granted;
        self.charged += charge as u64;
        allowed
    }

    /// The program took a message with this charge: the new total to tell, if it is time to.
    pub(super) fn consume(&mut self, charge: usize) -> Option<u64> {
        self.consumed += charge as u64;
        self.due()
    }

    /// Makes the window larger: the new total to tell.
    pub(super) fn widen(&mut self, size: u64) -> Option<u64> {
        self.size = self.size.max(size);
        self.due()
    }

    fn due(&mut self) -> Option<u64> {
        let total = self.consumed + self.size;
        (total - self.granted >= self.size / 2).then(|| {
            self.granted = total;
            total
        })
    }
}

/// What taking a message owes the other side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Grant {
    pub(crate) channel: Channel,
    pub(crate) total: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Inbox {
    /// By position of the channel.
    queues: Vec<Queue>,
    waiting: VecDeque<(OpId, Option<usize>)>,
    /// Operations that wait for anything to be there, and take nothing.
    watching: Vec<(OpId, Option<usize>)>,
    arrivals: u64,
    messages: usize,
    bytes: usize,
    peak_bytes: usize,
}

impl Inbox {
    pub(super) fn open(&mut self, channels: &[Channel], window: u64) {
        let queue = |&channel: &Channel| Queue {
            channel,
            entries: VecDeque::new(),
            arena: Vec::new(),
            head: 0,
            depth: Depth::default(),
            gauge: Gauge::default(),
            credit: Window::new(window),
        };
        self.queues = channels.iter().map(queue).collect();
    }

    pub(super) fn window(&mut self, at: usize) -> &mut Window {
        &mut self.queues[at].credit
    }

    /// A message arrived: the operation that gets it, or `None` when it was queued.
    pub(super) fn arrive(&mut self, at: usize, body: Body<'_>, extra: Option<Box<Extra>>) -> Option<(OpId, Delivery)> {
        let taker = self.waiting.iter().position(|&(_, wants)| wants.is_none_or(|w| w == at));
        let queue = &mut self.queues[at];
        if let Some((op, _)) = taker.and_then(|at| self.waiting.remove(at)) {
            return Some((op, Delivery { channel: queue.channel, payload: body.into_bytes(), extra }));
        }
        self.arrivals += 1;
        self.messages += 1;
        let charge = charge_of(body.len(), extra.as_deref());
        self.bytes += charge;
        self.peak_bytes = self.peak_bytes.max(self.bytes);
        queue.depth.add(charge);
        let stored = match body {
            Body::Short(bytes) if bytes.len() <= SMALL => {
                queue.arena.extend_from_slice(bytes);
                Stored::Small(bytes.len())
            }
            body => Stored::Own(body.into_bytes()),
        };
        queue.entries.push_back(Entry { arrival: self.arrivals, stored, extra });
        None
    }

    /// After an arrival: whether the queue has become nearly full.
    pub(super) fn rises(&mut self, at: usize) -> Option<Notice> {
        let queue = &mut self.queues[at];
        let (bytes, limit) = (queue.depth.bytes, queue.credit.size as usize);
        let high = Notice::QueueHigh { channel: Some(queue.channel), sending: false, bytes, limit };
        queue.gauge.rises(bytes, limit).then_some(high)
    }

    /// The operations that wait for anything to be there, when something is.
    pub(super) fn watchers(&mut self) -> Vec<OpId> {
        if self.messages == 0 || self.watching.is_empty() {
            return Vec::new();
        }
        let there = |channel: Option<usize>| channel.is_none_or(|at| !self.queues[at].entries.is_empty());
        let (told, still) = self.watching.iter().partition(|&&(_, channel)| there(channel));
        self.watching = still;
        let told: Vec<(OpId, Option<usize>)> = told;
        told.into_iter().map(|(op, _)| op).collect()
    }

    pub(super) fn watch(&mut self, op: OpId, channel: Option<usize>) {
        self.watching.push((op, channel));
    }

    pub(super) fn is_empty(&self) -> bool {
        self.messages == 0
    }

    /// The queue with the oldest message of `channel`, or of all.
    fn oldest(&self, channel: Option<usize>) -> Option<usize> {
        match channel {
            Some(at) => (!self.queues[at].entries.is_empty()).then_some(at),
            None if self.messages == 0 => None,
            None => {
                let heads = self.queues.iter().enumerate();
                heads.filter_map(|(at, q)| Some((q.entries.front()?.arrival, at))).min().map(|(_, at)| at)
            }
        }
    }

    /// Takes the oldest message of `channel`, or of all, and hands its bytes to `keep`.
    pub(super) fn take<T>(
        &mut self,
        channel: Option<usize>,
        keep: impl FnOnce(Channel, Body<'_>, Option<Box<Extra>>) -> T,
    ) -> Option<(T, Option<Grant>)> {
        let at = self.oldest(channel)?;
        let queue = &mut self.queues[at];
        let entry = queue.entries.pop_front()?;
        let charge = charge_of(entry.stored.len(), entry.extra.as_deref());
        self.messages -= 1;
        self.bytes -= charge;
        queue.depth.remove(charge);
        let extra = entry.extra;
        let kept = match entry.stored {
            Stored::Small(len) => {
                queue.head += len;
                keep(queue.channel, Body::Short(&queue.arena[queue.head - len..queue.head]), extra)
            }
            Stored::Own(bytes) => keep(queue.channel, Body::Own(bytes), extra),
        };
        queue.tidy();
        let grant = queue.credit.consume(charge).map(|total| Grant { channel: queue.channel, total });
        Some((kept, grant))
    }

    pub(super) fn take_delivery(&mut self, channel: Option<usize>) -> Option<(Delivery, Option<Grant>)> {
        self.take(channel, |channel, body, extra| Delivery { channel, payload: body.into_bytes(), extra })
    }

    pub(super) fn wait(&mut self, op: OpId, channel: Option<usize>) {
        self.waiting.push_back((op, channel));
    }

    pub(super) fn forget(&mut self, op: OpId) {
        self.waiting.retain(|&(o, _)| o != op);
        self.watching.retain(|&(o, _)| o != op);
    }

    /// Drops what was received.
    pub(super) fn clear(&mut self) {
        for queue in &mut self.queues {
            queue.entries.clear();
            queue.tidy();
            queue.depth = Depth { peak_bytes: queue.depth.peak_bytes, ..Depth::default() };
        }
        self.messages = 0;
        self.bytes = 0;
    }

    pub(super) fn depth(&self) -> Depth {
        Depth { messages: self.messages, bytes: self.bytes, peak_bytes: self.peak_bytes }
    }

    pub(super) fn depth_of(&self, at: usize) -> Depth {
        self.queues.get(at).map_or(Depth::default(), |q| q.depth)
    }
}

impl Queue {
    /// Keeps the arena no larger than what is in it deserves.
    fn tidy(&mut self) {
        if self.entries.is_empty() || self.head == self.arena.len() {
            self.head = 0;
            self.arena.clear();
            if self.arena.capacity() > ARENA || self.entries.is_empty() && self.arena.capacity() > SMALL {
                self.arena = Vec::new();
            }
        } else if self.head > ARENA && self.head > self.arena.len() / 2 {
            self.arena.drain(..self.head);
            self.head = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever is put in comes out in order, and all that was charged is given back.
        #[test]
        fn first_in_first_out(steps in prop::collection::vec((0usize..3, prop::option::of(0usize..5000)), 1..200)) {
            let channels = [Channel::COMMAND, Channel::DATA, Channel::ERROR];
            let mut inbox = Inbox::default();
            inbox.open(&channels, 1 << 30);
            let mut model: Vec<VecDeque<Vec<u8>>> = vec![VecDeque::new(); 3];
            for (n, (at, len)) in steps.into_iter().enumerate() {
                match len {
                    Some(len) => {
                        let bytes = vec![n as u8; len];
                        prop_assert!(inbox.arrive(at, Body::Short(&bytes), None).is_none());
                        model[at].push_back(bytes);
                    }
                    None => {
                        let got = inbox.take_delivery(Some(at)).map(|(d, _)| d.payload.to_vec());
                        prop_assert_eq!(got, model[at].pop_front());
                    }
                }
            }
            while inbox.take_delivery(None).is_some() {}
            prop_assert!(inbox.is_empty());
            prop_assert_eq!(inbox.depth().bytes, 0);
        }
    }

    #[test]
    fn credit_comes_back_at_half_a_window_and_never_shrinks() {
        let mut window = Window::new(1000);
        assert!(window.charge(1000));
        assert!(!window.charge(64));
        assert_eq!(window.consume(400), None);
        assert_eq!(window.consume(100), Some(1500));
        assert!(window.charge(5064));
        assert_eq!(window.widen(10), None);
        assert_eq!(window.widen(2000), Some(2500));
    }

    fn inbox() -> Inbox {
        let mut inbox = Inbox::default();
        inbox.open(&[Channel::COMMAND, Channel::DATA], 1 << 30);
        inbox
    }

    fn arrive(inbox: &mut Inbox, at: usize, len: usize) {
        assert!(inbox.arrive(at, Body::Short(&vec![at as u8; len]), None).is_none());
    }

    fn take(inbox: &mut Inbox, count: usize) {
        (0..count).for_each(|_| drop(inbox.take_delivery(None).expect("one is there")));
    }

    #[test]
    fn the_oldest_of_all_channels_comes_first() {
        let mut inbox = inbox();
        for (n, at) in [1, 0, 1, 1, 0].into_iter().enumerate() {
            arrive(&mut inbox, at, n);
        }
        let lens: Vec<usize> =
            std::iter::from_fn(|| inbox.take_delivery(None)).map(|(delivery, _)| delivery.payload.len()).collect();
        assert_eq!(lens, [0, 1, 2, 3, 4]);
    }

    #[test]
    fn small_payloads_lie_one_behind_the_other_and_larger_ones_alone() {
        let mut inbox = inbox();
        arrive(&mut inbox, 0, SMALL);
        assert_eq!(inbox.queues[0].arena.len(), SMALL);
        arrive(&mut inbox, 0, SMALL + 1);
        assert_eq!(inbox.queues[0].arena.len(), SMALL);
        arrive(&mut inbox, 0, 1);
        assert_eq!(inbox.queues[0].arena.len(), SMALL + 1);
    }

    #[test]
    fn an_empty_queue_holds_no_arena_worth_the_name() {
        for (count, kept) in [(1, true), (2, false), (100, false)] {
            let mut inbox = inbox();
            for _ in 0..count {
                arrive(&mut inbox, 0, SMALL);
            }
            take(&mut inbox, count);
            assert_eq!(inbox.queues[0].arena.capacity() > 0, kept, "{count}");
            assert_eq!((inbox.queues[0].arena.len(), inbox.queues[0].head), (0, 0));
        }
        // One in which only large messages are left holds what may be of use again.
        for (count, kept) in [(64, true), (65, false)] {
            let mut inbox = inbox();
            for _ in 0..count {
                arrive(&mut inbox, 0, SMALL);
            }
            arrive(&mut inbox, 0, SMALL + 1);
            take(&mut inbox, count - 1);
            assert_eq!(inbox.queues[0].arena.len(), count * SMALL);
            take(&mut inbox, 1);
            assert_eq!((inbox.queues[0].arena.len(), inbox.queues[0].head), (0, 0));
            assert_eq!(inbox.queues[0].arena.capacity() > 0, kept, "{count}");
        }
    }

    #[test]
    fn an_arena_of_which_most_was_taken_is_compacted() {
        // Half of it, and more than is worth the while.
        for (count, before) in [(200, 100), (100, 64)] {
            let mut inbox = inbox();
            for _ in 0..count {
                arrive(&mut inbox, 0, SMALL);
            }
            for taken in 1..=before {
                take(&mut inbox, 1);
                assert_eq!((inbox.queues[0].arena.len(), inbox.queues[0].head), (count * SMALL, taken * SMALL));
            }
            take(&mut inbox, 1);
            assert_eq!((inbox.queues[0].arena.len(), inbox.queues[0].head), ((count - before - 1) * SMALL, 0));
            take(&mut inbox, count - before - 1);
            assert_eq!(inbox.queues[0].arena.capacity(), 0);
        }
    }
}
