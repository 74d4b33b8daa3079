//! Frames on their way to the carrier: control frames first, then the channels in turn by weight, each
//! message only with credit.
//!
//! A message waits in the queue of its channel, can be withdrawn there, and may be cut; what is *staged*
//! is bytes, leaves in order, and is finished or the connection ends. At most one batch is staged, so
//! that whatever comes later and matters more waits no longer than that.

use std::collections::VecDeque;
use std::io::IoSlice;

use bytes::Bytes;

use super::ext::Ext;
use super::header::{HEADER_LEN, Header, flag, kind};
use super::queue::{ChannelQueue, Policy, Queued};
use crate::limits;
use crate::os::Descriptor;
use crate::proto::OpId;
use crate::proto::channel::Channel;
use crate::proto::charge::charge;

/// Bytes after which nothing more is staged for now.
const BATCH_BYTES: usize = 256 * 1024;
/// Slices offered to one vectored write.
const BATCH_SLICES: usize = 64;
/// Payloads up to this are copied behind their header instead of getting a slice of their own.
const COPIED: usize = 4 * 1024;
/// Size of the buffers that small frames are gathered in.
const GATHER: usize = 64 * 1024;
/// What a channel of weight 1 may send in a turn.
const QUANTUM: i64 = 16 * 1024;

/// Something to be told when a message has left completely.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mark {
    /// A send of this operation.
    Send(OpId),
    /// The request of this call.
    Request(u64),
    /// An answer, and the operation that waits until it has left, if one does. Its call keeps its place until then.
    Answer(Option<OpId>),
}

/// A message and how it is to be framed.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) kind: u8,
    /// [`flag::FIN`] and [`flag::STREAM`] alone.
    pub(crate) flags: u8,
    pub(crate) id: u64,
    pub(crate) ext: Ext,
    pub(crate) payload: Bytes,
    pub(crate) fds: Vec<Descriptor>,
    pub(crate) mark: Option<Mark>,
}

impl Outgoing {
    /// What it is charged, as long as its descriptors have not been staged.
    pub(super) fn charge(&self) -> usize {
        charge(self.payload.len(), self.fds.len())
    }
}

#[derive(Debug)]
enum Chunk {
    /// Frames, or beginnings of frames, one behind the other.
    Gathered(Vec<u8>),
    Payload(Bytes),
}

impl Chunk {
    fn bytes(&self) -> &[u8] {
        match self {
            Chunk::Gathered(bytes) => bytes,
            Chunk::Payload(bytes) => bytes,
        }
    }
}

#[derive(Debug, Default)]
pub(crate) struct Outbox {
    /// Encoded control frames.
    control: Vec<u8>,
    /// The position up to which control frames are staged that have not left.
    urgent: u64,
    channels: Vec<ChannelQueue>,
    /// Channels with something to send, in turn.
    ring: VecDeque<usize>,
    staged: VecDeque<Chunk>,
    /// Bytes of the first chunk that were taken.
    taken: usize,
    /// Bytes staged and taken since the beginning.
    staged_total: u64,
    taken_total: u64,
    marks: VecDeque<(u64, Mark)>,
    /// Answers that are queued or staged.
    answers: usize,
    /// Where requests begin of which no byte was taken, and how many of the others there were.
    to_begin: VecDeque<u64>,
    begun: u64,
    /// Descriptors that leave with the byte at this position.
    fds: VecDeque<(u64, Vec<Descriptor>)>,
    /// Buffer of the last gathered chunk that left, used again.
    spare: Vec<u8>,
    /// PONGs not yet taken.
    pongs: VecDeque<u64>,
    /// The last frame is in.
    sealed: bool,
}

/// The frames of a message of which the driver may write the first ones itself, straight from the caller's memory.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    message: Header,
    head: [u8; Plan::HEAD],
    head_len: usize,
    payload: usize,
}

impl Plan {
    const HEAD: usize = 64;
    /// Frames that are written at once; others may come between this and the rest.
    const FRAMES: usize = limits::WRITTEN_AT_ONCE / limits::FRAGMENT;

    /// `None` when the extensions do not fit.
    pub(super) fn new(message: &Header, ext: Option<&Ext>, payload: usize) -> Option<Plan> {
        let mut prefix = Vec::new();
        let mut header = Header { flags: message.flags | flag::FIRST, ..*message };
        if let Some(ext) = ext.filter(|ext| !ext.is_empty()) {
            ext.encode(&mut prefix);
            header.flags |= flag::EXT;
        }
        let first = payload.min(limits::FRAGMENT);
        if first == payload {
            header.flags |= flag::LAST;
        } else {
            prefix.extend_from_slice(&(payload as u32).to_le_bytes());
        }
        let head_len = HEADER_LEN + prefix.len();
        if head_len > Plan::HEAD {
            return None;
        }
        header.len = (prefix.len() + first) as u32;
        let mut head = [0; Plan::HEAD];
        head[..HEADER_LEN].copy_from_slice(&header.encode());
        head[HEADER_LEN..head_len].copy_from_slice(&prefix);
        Some(Plan { message: *message, head, head_len, payload })
    }

    /// What goes before the payload of the first frame.
    fn head(&self) -> &[u8] {
        &self.head[..self.head_len]
    }

    /// What goes before the payload of the frame that begins at `at`, which is not the first.
    fn header(&self, at: usize) -> [u8; HEADER_LEN] {
        let rest = self.payload - at;
        let len = rest.min(limits::FRAGMENT);
        let flags = if len == rest { flag::LAST } else { 0 };
        Header { len: len as u32, flags, ..self.message }.encode()
    }

    /// Hands the slices of one vectored write to `write`.
    pub(crate) fn with_slices<R>(&self, payload: &[u8], write: impl FnOnce(&[IoSlice<'_>]) -> R) -> R {
        if payload.len() <= limits::FRAGMENT {
            return write(&[IoSlice::new(self.head()), IoSlice::new(payload)]);
        }
        let headers: [_; Plan::FRAMES] = std::array::from_fn(|n| match n * limits::FRAGMENT {
            at if 0 < at && at < self.payload => self.header(at),
            _ => [0; HEADER_LEN],
        });
        let pieces = payload.chunks(limits::FRAGMENT).zip(&headers).enumerate();
        let slices: Vec<_> = pieces
            .flat_map(|(n, (piece, header))| {
                [IoSlice::new(if n == 0 { self.head() } else { header }), IoSlice::new(piece)]
            })
            .collect();
        write(&slices)
    }

    /// Bytes of all frames.
    pub(crate) fn len(&self) -> usize {
        self.head_len + self.payload + HEADER_LEN * (self.payload.div_ceil(limits::FRAGMENT).saturating_sub(1))
    }
}

impl Outbox {
    pub(super) fn open(&mut self, channels: &[Channel], window: u64, policies: impl Fn(Channel) -> Policy) {
        self.channels = channels.iter().map(|&c| ChannelQueue::new(c, window, policies(c))).collect();
    }

    // --- control frames ----------------------------------------------------------------------------

    pub(super) fn push_control(&mut self, kind: u8, channel: u16, id: u64, payload: &[u8]) {
        if self.sealed {
            return;
        }
        let header = Header { len: payload.len() as u32, kind, flags: 0, channel, id };
        self.control.extend_from_slice(&header.encode());
        self.control.extend_from_slice(payload);
        if kind == kind::PONG {
            self.pongs.push_back(u64::MAX);
        }
    }

    /// Bytes of control frames that are not staged.
    pub(super) fn control_bytes(&self) -> usize {
        self.control.len()
    }

    /// PONGs the other side has not read.
    pub(super) fn unread_pongs(&self) -> usize {
        self.pongs.len()
    }

    // --- messages ----------------------------------------------------------------------------------

    pub(super) fn channel(&mut self, at: usize) -> &mut ChannelQueue {
        &mut self.channels[at]
    }

    pub(super) fn channels(&self) -> &[ChannelQueue] {
        &self.channels
    }

    /// Whether a message of the channel at `at` could be written this moment, before anything else.
    pub(super) fn idle(&self, at: usize, credited: bool) -> bool {
        let channel = &self.channels[at];
        self.staged.is_empty() && self.control.is_empty() && self.ring.is_empty() && channel.may_pass(credited)
    }

    /// Whether a small message could join what is gathered, before anything else of its channel.
    pub(super) fn may_gather(&self, at: usize, credited: bool, len: usize) -> bool {
        let free = self.control.is_empty() && self.ring.is_empty() && self.channels[at].may_pass(credited);
        free && len <= COPIED && self.staged_bytes() < BATCH_BYTES
    }

    /// Stages a small message behind what is staged.
    pub(super) fn gather_plan(&mut self, plan: &Plan, payload: &[u8], mark: Option<Mark>) {
        self.note_begin(mark);
        let gathered = self.gather(plan.len());
        gathered.extend_from_slice(plan.head());
        gathered.extend_from_slice(payload);
        self.staged_total += plan.len() as u64;
        self.count_answer(mark);
        self.marks.extend(mark.map(|mark| (self.staged_total, mark)));
    }

    /// A message with `mark` is to leave, and has not yet.
    fn count_answer(&mut self, mark: Option<Mark>) {
        self.answers += usize::from(matches!(mark, Some(Mark::Answer(_))));
    }

    /// The message with `mark` is staged next.
    fn note_begin(&mut self, mark: Option<Mark>) {
        if let Some(Mark::Request(_)) = mark {
            self.to_begin.push_back(self.staged_total);
        }
    }

    /// Queues a message of the channel at `at`.
    pub(super) fn push(&mut self, at: usize, message: Outgoing, credited: bool) {
        self.count_answer(message.mark);
        self.channels[at].push(Queued::new(message, credited));
        self.activate(at);
    }

    /// Has the channel take part in the turns if it has something that may leave.
    pub(super) fn activate(&mut self, at: usize) {
        let channel = &mut self.channels[at];
        if !channel.in_turn && channel.ready() {
            channel.in_turn = true;
            self.ring.push_back(at);
        }
    }

    /// Stages a small one-way message without a queue, if nothing is before it.
    pub(super) fn push_short(&mut self, at: usize, header: Header, payload: &[u8]) -> bool {
        let free = self.control.is_empty() && self.ring.is_empty() && self.channels[at].may_pass(true);
        if !free || payload.len() > COPIED || self.staged_bytes() >= BATCH_BYTES {
            return false;
        }
        self.channels[at].charge(charge(payload.len(), 0));
        let gathered = self.gather(HEADER_LEN + payload.len());
        gathered.extend_from_slice(&header.encode());
        gathered.extend_from_slice(payload);
        self.staged_total += (HEADER_LEN + payload.len()) as u64;
        true
    }

    /// The driver wrote `taken` bytes of `plan`. What is left of the frame it cut is staged, and the frames after it
    /// take their turns; `payload` owns the bytes if any are left. Whether none are.
    pub(super) fn wrote(
        &mut self,
        at: usize,
        plan: &Plan,
        taken: usize,
        payload: impl FnOnce() -> Bytes,
        mark: Option<Mark>,
    ) -> bool {
        match mark {
            Some(Mark::Request(_)) if taken > 0 => self.begun += 1,
            mark => self.note_begin(mark),
        }
        self.taken_total += taken as u64;
        if taken == plan.len() {
            self.staged_total += taken as u64;
            return true;
        }
        let payload = payload();
        // The frame that is cut, or the first that did not begin.
        let (mut start, mut offset, mut head) = (0, 0, plan.head().to_vec());
        let end = loop {
            let len = (plan.payload - offset).min(limits::FRAGMENT);
            let end = start + head.len() + len;
            if taken < end {
                break offset + len;
            }
            (start, offset) = (end, offset + len);
            head = plan.header(offset).to_vec();
        };
        let skip = taken - start;
        let piece = payload.slice(offset + skip.saturating_sub(head.len())..end);
        self.staged_total += (start + head.len() + end - offset) as u64;
        if skip < head.len() {
            self.staged.push_back(Chunk::Gathered(head.split_off(skip)));
        }
        if !piece.is_empty() {
            self.staged.push_back(Chunk::Payload(piece));
        }
        self.count_answer(mark);
        if end == plan.payload {
            self.marks.extend(mark.map(|mark| (self.staged_total, mark)));
            return false;
        }
        let Header { kind, flags, id, .. } = plan.message;
        let message = Outgoing { kind, flags, id, ext: Ext::default(), payload, fds: Vec::new(), mark };
        self.channels[at].put_back(Queued::cut(message, end));
        self.activate(at);
        false
    }

    /// Answers that the carrier has not taken, as long as it is to take any.
    pub(super) fn answers(&self) -> usize {
        if self.sealed { 0 } else { self.answers }
    }

    /// Requests of which the carrier took a byte.
    pub(super) fn begun(&self) -> u64 {
        self.begun
    }

    /// Has `mark` told when all that is staged has left. `false` if nothing is.
    pub(super) fn mark_staged(&mut self, mark: Mark) -> bool {
        let staged = !self.staged.is_empty();
        if staged {
            self.marks.push_back((self.staged_total, mark));
        }
        staged
    }

    /// Whether all of the message with `mark` is staged and has not left.
    pub(super) fn is_staged(&self, mark: Mark) -> bool {
        self.marks.iter().any(|(_, m)| *m == mark)
    }

    /// Nothing more is taken, and nobody is told any more what leaves.
    pub(super) fn seal(&mut self) {
        self.sealed = true;
        self.marks.clear();
    }

    fn staged_bytes(&self) -> usize {
        (self.staged_total - self.taken_total) as usize
    }

    /// The buffer to put `len` more bytes into.
    fn gather(&mut self, len: usize) -> &mut Vec<u8> {
        let fits = matches!(self.staged.back(), Some(Chunk::Gathered(last)) if last.len() + len <= last.capacity().max(GATHER));
        if !fits {
            let mut buffer = std::mem::take(&mut self.spare);
            buffer.clear();
            self.staged.push_back(Chunk::Gathered(buffer));
        }
        match self.staged.back_mut() {
            Some(Chunk::Gathered(last)) => last,
            _ => unreachable!("a gathering chunk was just looked at or made"),
        }
    }

    /// Stages what may leave now, up to a batch. `alive` tells whether anybody still wants a marked message
    /// that has not begun.
    pub(super) fn stage(&mut self, mut alive: impl FnMut(Mark) -> bool) {
        loop {
            // Control frames too: unread ones have to be seen to pile up.
            if self.staged_bytes() >= BATCH_BYTES {
                return;
            }
            if !self.control.is_empty() {
                let control = std::mem::take(&mut self.control);
                self.gather(control.len()).extend_from_slice(&control);
                self.staged_total += control.len() as u64;
                let end = self.staged_total;
                self.urgent = end;
                self.pongs.iter_mut().filter(|at| **at == u64::MAX).for_each(|at| *at = end);
                self.control = control;
                self.control.clear();
            }
            let Some(&at) = self.ring.front() else { return };
            let channel = &mut self.channels[at];
            channel.skip_dead(&mut alive);
            if !channel.ready() {
                channel.in_turn = false;
                self.ring.pop_front();
                continue;
            }
            if channel.deficit <= 0 {
                channel.deficit += QUANTUM * channel.weight;
                self.ring.rotate_left(1);
                continue;
            }
            self.stage_frame(at);
        }
    }

    fn stage_frame(&mut self, at: usize) {
        let Some(mut message) = self.channels[at].begin() else { return };
        let first = message.offset == 0;
        let fds = std::mem::take(&mut message.message.fds);
        let number = self.channels[at].channel.number();
        let rest = message.message.payload.len() - message.offset;
        let len = rest.min(limits::FRAGMENT);
        let last = len == rest;
        let mut prefix = Vec::new();
        let mut flags = if last { flag::LAST } else { 0 };
        if first {
            flags |= message.message.flags | flag::FIRST;
            if !message.message.ext.is_empty() {
                message.message.ext.encode(&mut prefix);
                flags |= flag::EXT;
            }
            if message.message.ext.fds.is_some() {
                flags |= flag::FDS;
            }
            if !last {
                prefix.extend_from_slice(&(rest as u32).to_le_bytes());
            }
        }
        if first {
            self.note_begin(message.message.mark);
        }
        let header = Header {
            len: (prefix.len() + len) as u32,
            kind: message.message.kind,
            flags,
            channel: number,
            id: message.message.id,
        };
        if !fds.is_empty() {
            // They leave with the first byte of a write, which therefore begins here.
            self.fds.push_back((self.staged_total, fds));
            self.staged.push_back(Chunk::Gathered(Vec::new()));
        }
        let piece = message.message.payload.slice(message.offset..message.offset + len);
        let copied = len <= COPIED;
        let gathered = self.gather(HEADER_LEN + prefix.len() + if copied { len } else { 0 });
        gathered.extend_from_slice(&header.encode());
        gathered.extend_from_slice(&prefix);
        if copied {
            gathered.extend_from_slice(&piece);
        } else {
            self.staged.push_back(Chunk::Payload(piece));
        }
        let size = HEADER_LEN + prefix.len() + len;
        self.staged_total += size as u64;
        message.offset += len;
        let channel = &mut self.channels[at];
        channel.deficit -= size as i64;
        if last {
            if let Some(mark) = message.message.mark {
                self.marks.push_back((self.staged_total, mark));
            }
        } else {
            channel.put_back(message);
        }
    }

    // --- the carrier -------------------------------------------------------------------------------

    /// Whether there is, or would be after staging, anything to write.
    pub(super) fn is_empty(&self) -> bool {
        self.staged.is_empty() && self.control.is_empty() && self.ring.is_empty()
    }

    /// Whether something is to be written that a cork does not hold back: control frames, or as much as a batch.
    pub(super) fn presses(&self) -> bool {
        let control = !self.control.is_empty() || self.urgent > self.taken_total;
        control || self.staged_bytes() >= BATCH_BYTES || (!self.ring.is_empty() && self.bytes() >= BATCH_BYTES)
    }

    /// Whether no message is queued or staged, with credit or without.
    pub(super) fn is_flushed(&self) -> bool {
        self.is_empty() && self.channels.iter().all(ChannelQueue::is_empty)
    }

    /// The bytes to write next, and the descriptors that go with the first of them.
    pub(super) fn slices<'a>(&'a self, out: &mut Vec<IoSlice<'a>>) -> &'a [Descriptor] {
        let mut position = self.taken_total;
        let mut fds: &[Descriptor] = &[];
        let mut ends = self.fds.iter();
        let mut next = ends.next();
        if let Some((at, first)) = next
            && *at == position
        {
            fds = first;
            next = ends.next();
        }
        let mut skip = self.taken;
        for chunk in self.staged.iter().take(BATCH_SLICES) {
            if next.is_some_and(|(at, _)| *at <= position && position > self.taken_total) {
                break;
            }
            let bytes = &chunk.bytes()[skip..];
            skip = 0;
            if !bytes.is_empty() {
                out.push(IoSlice::new(bytes));
            }
            position += bytes.len() as u64;
        }
        fds
    }

    /// The carrier took `n` bytes; `done` is told what left completely.
    pub(super) fn transmitted(&mut self, n: usize, mut done: impl FnMut(Mark)) {
        self.taken_total += n as u64;
        let total = self.taken_total;
        let mut left = n + self.taken;
        while let Some(chunk) = self.staged.front() {
            if left < chunk.bytes().len() {
                break;
            }
            left -= chunk.bytes().len();
            if let Some(Chunk::Gathered(buffer)) = self.staged.pop_front()
                && buffer.capacity() > self.spare.capacity()
                && buffer.capacity() <= 2 * GATHER
            {
                self.spare = buffer;
            }
        }
        self.taken = left;
        while self.to_begin.front().is_some_and(|start| *start < total) {
            self.to_begin.pop_front();
            self.begun += 1;
        }
        while let Some(&(end, mark)) = self.marks.front()
            && end <= total
        {
            self.marks.pop_front();
            self.answers -= usize::from(matches!(mark, Mark::Answer(_)));
            done(mark);
        }
        while self.pongs.front().is_some_and(|end| *end <= total) {
            self.pongs.pop_front();
        }
        while self.fds.front().is_some_and(|(at, _)| *at < total) {
            self.fds.pop_front();
        }
        if self.staged.is_empty() && self.control.is_empty() && self.ring.is_empty() && self.spare.capacity() > COPIED {
            // Idle connections hold no buffer.
            self.spare = Vec::new();
        }
    }

    /// Drops the messages that have not begun to leave. What is staged may still be finished.
    pub(super) fn drop_queued(&mut self) {
        self.ring.clear();
        self.channels.iter_mut().for_each(ChannelQueue::clear);
    }

    pub(super) fn clear(&mut self) {
        self.drop_queued();
        self.control.clear();
        self.marks.clear();
        self.answers = 0;
        self.to_begin.clear();
        self.staged.clear();
        self.fds.clear();
        self.pongs.clear();
        self.taken = 0;
        self.taken_total = self.staged_total;
    }

    /// Bytes queued and staged.
    pub(super) fn bytes(&self) -> usize {
        self.staged_bytes() + self.control.len() + self.channels.iter().map(ChannelQueue::unstaged).sum::<usize>()
    }
}

#[cfg(test)]
mod tests;
