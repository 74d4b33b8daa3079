//! Received messages on their way to the application: one bounded queue per channel, and the
//! operations that wait for one.

use std::collections::VecDeque;

use bytes::Bytes;

use crate::limits;
use crate::proto::OpId;
use crate::proto::charge::charge;
use crate::proto::notice::{Gauge, Notice};

/// A queued message: (arrival number, payload).
type Queued = (u64, Bytes);

#[derive(Debug, Default)]
pub(crate) struct Inbox {
    /// One queue per agreed channel, by its position.
    queues: Vec<VecDeque<Queued>>,
    /// Who waits, in order. Once nothing arrives any more this means nothing.
    waiting: VecDeque<(OpId, Option<usize>)>,
    arrivals: u64,
    depth: Depth,
    gauge: Gauge,
    paused: bool,
}

/// How full a bounded queue is and was, in messages and charged bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Depth {
    /// Messages queued now.
    pub messages: usize,
    /// Bytes charged now: payloads, plus [`MESSAGE_OVERHEAD`](limits::MESSAGE_OVERHEAD) for each message and
    /// [`DESCRIPTOR_OVERHEAD`](limits::DESCRIPTOR_OVERHEAD) for each descriptor.
    pub bytes: usize,
    /// Most bytes ever charged at once.
    pub peak_bytes: usize,
}

impl Depth {
    pub(crate) fn add(&mut self, charge: usize) {
        self.messages += 1;
        self.bytes += charge;
        self.peak_bytes = self.peak_bytes.max(self.bytes);
    }

    pub(crate) fn remove(&mut self, charge: usize) {
        self.messages -= 1;
        self.bytes -= charge;
    }
}

impl Inbox {
    pub(crate) fn open(&mut self, channels: usize) {
        self.queues.resize_with(channels, VecDeque::new);
    }

    /// A message arrived: the operation that gets it, or `None` when it was queued.
    pub(crate) fn arrive(&mut self, channel: usize, payload: Bytes) -> Option<(OpId, Bytes)> {
        let taker = self.waiting.iter().position(|&(_, wants)| wants.is_none_or(|w| w == channel));
        if let Some((op, _)) = taker.and_then(|at| self.waiting.remove(at)) {
            return Some((op, payload));
        }
        self.depth.add(charge(payload.len(), 0));
        self.paused |= self.depth.bytes >= limits::RECV_QUEUE;
        self.arrivals += 1;
        self.queues[channel].push_back((self.arrivals, payload));
        None
    }

    /// After an arrival: whether the queue has become nearly full.
    pub(crate) fn rises(&mut self) -> Option<Notice> {
        let (bytes, limit) = (self.depth.bytes, limits::RECV_QUEUE);
        let high = Notice::QueueHigh { channel: None, sending: false, bytes, limit };
        self.gauge.rises(bytes, limit).then_some(high)
    }

    /// The oldest message of `channel`, or of all channels.
    pub(crate) fn take(&mut self, channel: Option<usize>) -> Option<(usize, Bytes)> {
        if self.depth.messages == 0 {
            return None;
        }
        let channel = match channel {
            Some(channel) => channel,
            None => {
                let heads = self.queues.iter().enumerate();
                heads.filter_map(|(at, q)| Some((q.front()?.0, at))).min()?.1
            }
        };
        let (_, payload) = self.queues[channel].pop_front()?;
        self.depth.remove(charge(payload.len(), 0));
        self.paused &= self.depth.bytes > limits::RECV_QUEUE / 2;
        Some((channel, payload))
    }

    /// Whether there is a message of `channel`, or any.
    pub(crate) fn has_messages(&self, channel: Option<usize>) -> bool {
        channel.map_or(self.depth.messages, |at| self.queued(at)) > 0
    }

    pub(crate) fn wait(&mut self, op: OpId, channel: Option<usize>) {
        self.waiting.push_back((op, channel));
    }

    pub(crate) fn forget(&mut self, op: OpId) {
        self.waiting.retain(|&(o, _)| o != op);
    }

    /// Whether reading has to wait until the application took messages.
    pub(crate) fn paused(&self) -> bool {
        self.paused
    }

    pub(crate) fn depth(&self) -> Depth {
        self.depth
    }

    /// Messages queued on the channel at `position`.
    pub(crate) fn queued(&self, position: usize) -> usize {
        self.queues.get(position).map_or(0, VecDeque::len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reading_waits_from_the_bound_on_until_no_more_than_half_is_left() {
        let mut inbox = Inbox::default();
        inbox.open(2);
        let eighth = Bytes::from(vec![0; limits::RECV_QUEUE / 8 - limits::MESSAGE_OVERHEAD]);
        for n in 0..8 {
            assert!(!inbox.paused() && inbox.arrive(n % 2, eighth.clone()).is_none());
        }
        assert!(inbox.paused());
        for left in [7, 6, 5, 4] {
            assert!(inbox.paused() && inbox.take(None).is_some());
            assert_eq!(inbox.depth().messages, left);
        }
        assert!(!inbox.paused());
        inbox.arrive(0, eighth);
        assert!(!inbox.paused(), "it begins anew at the bound alone");
        assert_eq!((inbox.queued(0), inbox.queued(1), inbox.queued(2)), (3, 2, 0));
    }
}
