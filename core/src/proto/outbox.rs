//! Frames on their way to the carrier. A frame whose first byte was taken is finished, or the
//! connection ends: no new header ever follows a partial frame.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::Bytes;

use crate::limits;
use crate::proto::OpId;
use crate::proto::channel::Channel;
use crate::proto::charge::charge;
use crate::proto::frame::{HEADER_LEN, Header};
use crate::proto::inbox::Depth;
use crate::proto::notice::{Gauge, Notice};

/// Frames offered to one vectored write, and bytes after which no further frame is offered.
const BATCH_FRAMES: usize = 32;
const BATCH_BYTES: usize = 256 * 1024;

#[derive(Debug)]
struct Chunk {
    header: [u8; HEADER_LEN],
    payload: Bytes,
    /// Bytes of header and payload the carrier took.
    taken: usize,
    op: Option<OpId>,
    control: bool,
}

impl Chunk {
    fn len(&self) -> usize {
        HEADER_LEN + self.payload.len()
    }
}

#[derive(Debug, Default)]
pub(crate) struct Outbox {
    chunks: VecDeque<Chunk>,
    control: usize,
    depth: Depth,
    gauge: Gauge,
}

/// Where the frame of an operation stands.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// Not in the outbox: it left completely, or never was in.
    Gone,
    /// No byte left yet.
    Waiting,
    /// Some bytes left.
    Started,
}

impl Outbox {
    pub(crate) fn push(&mut self, channel: Channel, payload: Bytes, op: Option<OpId>) {
        let header = Header { len: payload.len() as u32, channel }.encode();
        self.push_started(header, payload, 0, op);
    }

    /// A frame of which the carrier already took `taken` bytes; the outbox must be empty then.
    pub(crate) fn push_started(&mut self, header: [u8; HEADER_LEN], payload: Bytes, taken: usize, op: Option<OpId>) {
        debug_assert!(taken == 0 || self.chunks.is_empty());
        self.depth.add(charge(payload.len(), 0));
        self.chunks.push_back(Chunk { header, payload, taken, op, control: false });
    }

    /// A control frame; an urgent one overtakes what has not started, but no earlier control frame.
    pub(crate) fn push_control(&mut self, payload: impl Into<Bytes>, urgent: bool) {
        let payload = payload.into();
        let header = Header { len: payload.len() as u32, channel: Channel::CONTROL }.encode();
        self.depth.add(charge(payload.len(), 0));
        self.control += 1;
        let chunk = Chunk { header, payload, taken: 0, op: None, control: true };
        let overtake = |c: &Chunk| c.taken == 0 && !c.control;
        match self.chunks.iter().position(overtake).filter(|_| urgent) {
            Some(at) => self.chunks.insert(at, chunk),
            None => self.chunks.push_back(chunk),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    /// Whether another frame may be queued now.
    pub(crate) fn has_room(&self) -> bool {
        self.depth.bytes < limits::SEND_QUEUE
    }

    /// After a frame was queued: whether the queue has become nearly full.
    pub(crate) fn rises(&mut self) -> Option<Notice> {
        let (bytes, limit) = (self.depth.bytes, limits::SEND_QUEUE);
        let high = Notice::QueueHigh { channel: None, sending: true, bytes, limit };
        self.gauge.rises(bytes, limit).then_some(high)
    }

    /// Control frames the carrier has not taken yet.
    pub(crate) fn control_queued(&self) -> usize {
        self.control
    }

    /// The bytes to write next, in order.
    pub(crate) fn slices<'a>(&'a self, out: &mut Vec<IoSlice<'a>>) {
        let mut bytes = 0;
        for chunk in self.chunks.iter().take(BATCH_FRAMES) {
            if chunk.taken < HEADER_LEN {
                out.push(IoSlice::new(&chunk.header[chunk.taken..]));
            }
            let rest = &chunk.payload[chunk.taken.saturating_sub(HEADER_LEN)..];
            if !rest.is_empty() {
                out.push(IoSlice::new(rest));
            }
            bytes += chunk.len() - chunk.taken;
            if bytes >= BATCH_BYTES {
                break;
            }
        }
    }

    /// The carrier took `n` bytes; `done` is told each operation whose frame left completely.
    pub(crate) fn taken(&mut self, mut n: usize, mut done: impl FnMut(OpId)) {
        while n > 0 {
            let Some(chunk) = self.chunks.front_mut() else { return debug_assert!(false, "more taken than offered") };
            let step = n.min(chunk.len() - chunk.taken);
            chunk.taken += step;
            n -= step;
            if chunk.taken == chunk.len() {
                self.drop_chunk(0).into_iter().for_each(&mut done);
            }
        }
    }

    /// Takes chunk `at` out; returns whose it was.
    fn drop_chunk(&mut self, at: usize) -> Option<OpId> {
        let chunk = self.chunks.remove(at)?;
        self.depth.remove(charge(chunk.payload.len(), 0));
        self.control -= usize::from(chunk.control);
        chunk.op
    }

    pub(crate) fn standing(&self, op: OpId) -> Standing {
        match self.chunks.iter().find(|c| c.op == Some(op)) {
            None => Standing::Gone,
            Some(chunk) if chunk.taken == 0 => Standing::Waiting,
            Some(_) => Standing::Started,
        }
    }

    /// Removes the frame of `op` if no byte of it left.
    pub(crate) fn retract(&mut self, op: OpId) {
        if let Some(at) = self.chunks.iter().position(|c| c.op == Some(op) && c.taken == 0) {
            self.drop_chunk(at);
        }
    }

    pub(crate) fn clear(&mut self) {
        while self.drop_chunk(0).is_some() || !self.chunks.is_empty() {}
    }

    pub(crate) fn depth(&self) -> Depth {
        self.depth
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(outbox: &Outbox) -> Vec<u8> {
        let mut slices = Vec::new();
        outbox.slices(&mut slices);
        slices.iter().flat_map(|s| s.to_vec()).collect()
    }

    #[test]
    fn control_overtakes_at_frame_boundaries_only() {
        let mut outbox = Outbox::default();
        outbox.push(Channel::DATA, Bytes::from_static(b"first"), Some(1));
        outbox.push(Channel::DATA, Bytes::from_static(b"second"), Some(2));
        outbox.taken(3, |_| panic!("nothing is complete"));
        outbox.push_control(&b"{}"[..], true);
        let mut done = Vec::new();
        outbox.taken(HEADER_LEN + 5 - 3, |op| done.push(op));
        assert_eq!(done, [1]);
        assert_eq!(&bytes(&outbox)[HEADER_LEN..HEADER_LEN + 2], b"{}");
        assert_eq!(outbox.control_queued(), 1);
    }

    #[test]
    fn one_write_has_so_many_frames_and_bytes() {
        let mut outbox = Outbox::default();
        for op in 0..40 {
            outbox.push(Channel::DATA, Bytes::from_static(b"x"), Some(op));
        }
        assert_eq!(bytes(&outbox).len(), BATCH_FRAMES * (HEADER_LEN + 1));
        let filled = |first: usize, taken: usize| {
            let mut outbox = Outbox::default();
            outbox.push(Channel::DATA, Bytes::from(vec![0; first - HEADER_LEN]), Some(1));
            outbox.taken(taken, |_| ());
            outbox.push(Channel::DATA, Bytes::from_static(b"second"), Some(2));
            bytes(&outbox).len()
        };
        let second = HEADER_LEN + 6;
        assert_eq!(filled(BATCH_BYTES - 1, 0), BATCH_BYTES - 1 + second);
        assert_eq!(filled(BATCH_BYTES, 0), BATCH_BYTES, "they are enough");
        // What has left counts no more.
        assert_eq!(filled(BATCH_BYTES + 9, 10), BATCH_BYTES - 1 + second);
        assert_eq!(filled(BATCH_BYTES + 9, HEADER_LEN), BATCH_BYTES + 1);
    }

    #[test]
    fn a_header_that_has_left_is_not_offered_empty() {
        let mut outbox = Outbox::default();
        outbox.push(Channel::DATA, Bytes::from_static(b"x"), Some(1));
        outbox.taken(HEADER_LEN, |_| ());
        let mut slices = Vec::new();
        outbox.slices(&mut slices);
        assert_eq!(slices.iter().map(|slice| slice.to_vec()).collect::<Vec<_>>(), [b"x"]);
    }

    #[test]
    fn what_is_queued_is_charged_until_it_has_left() {
        let mut outbox = Outbox::default();
        let room = limits::SEND_QUEUE - limits::MESSAGE_OVERHEAD;
        outbox.push(Channel::DATA, Bytes::from(vec![0; room - 1]), Some(1));
        assert!(outbox.has_room(), "a byte is free");
        assert!(outbox.rises().is_some() && outbox.rises().is_none(), "told once");
        outbox.push_control(&b""[..], false);
        assert!(!outbox.has_room());
        outbox.clear();
        assert!(outbox.has_room() && outbox.is_empty());
        assert_eq!((outbox.depth().messages, outbox.depth().bytes, outbox.control_queued()), (0, 0, 0));
        assert_eq!(outbox.depth().peak_bytes, limits::SEND_QUEUE + limits::MESSAGE_OVERHEAD - 1);
        outbox.push(Channel::DATA, Bytes::from(vec![0; room]), Some(1));
        assert!(!outbox.has_room(), "none is");
        outbox.clear();
        outbox.push_control(&b"one"[..], false);
        outbox.push_control(&b"two"[..], false);
        outbox.taken(HEADER_LEN + 3, |_| ());
        assert_eq!((outbox.control_queued(), outbox.depth().messages), (1, 1));
    }

    #[test]
    fn urgent_words_overtake_messages_and_no_other_words() {
        let mut outbox = Outbox::default();
        outbox.push(Channel::DATA, Bytes::from_static(b"d"), Some(1));
        outbox.push_control(&b"1"[..], true);
        outbox.push_control(&b"2"[..], true);
        outbox.push_control(&b"3"[..], false);
        let order: Vec<u8> = outbox.chunks.iter().map(|chunk| chunk.payload[0]).collect();
        assert_eq!(order, *b"12d3");
    }

    #[test]
    fn only_an_untouched_frame_can_be_retracted() {
        let mut outbox = Outbox::default();
        outbox.push(Channel::DATA, Bytes::from_static(b"a"), Some(1));
        outbox.push(Channel::DATA, Bytes::from_static(b"b"), Some(2));
        outbox.taken(1, |_| ());
        assert_eq!(outbox.standing(1), Standing::Started);
        outbox.retract(1);
        outbox.retract(2);
        assert_eq!(bytes(&outbox).len(), HEADER_LEN);
        assert_eq!(outbox.standing(2), Standing::Gone);
        outbox.clear();
        assert_eq!(outbox.depth().bytes, 0);
    }

    #[test]
    fn any_partial_writes_give_the_same_stream() {
        for step in 1..40 {
            let mut outbox = Outbox::default();
            for op in 0..5 {
                outbox.push(Channel::DATA, Bytes::from(vec![op as u8; op as usize * 3]), Some(op));
            }
            let expected = bytes(&outbox);
            let (mut written, mut done) = (Vec::new(), Vec::new());
            while !outbox.is_empty() {
                let now = bytes(&outbox);
                let n = step.min(now.len());
                written.extend_from_slice(&now[..n]);
                outbox.taken(n, |op| done.push(op));
            }
            assert_eq!(written, expected);
            assert_eq!(done, [0, 1, 2, 3, 4]);
        }
    }
}
