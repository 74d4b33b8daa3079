//! One direction of a simulated connection: bytes that take their time, in a buffer that fills up.

use std::collections::VecDeque;
use std::io::IoSlice;

use super::rng::Rng;

/// How the reading end learns that no more comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Eof,
    Reset,
}

/// What one read gave.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    Bytes(usize),
    Nothing,
    End(End),
}

/// What one write gave.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Write {
    Took(usize),
    Broken,
    /// The writing process was killed after these bytes.
    Killed,
}

#[derive(Debug)]
pub(super) struct Pipe {
    capacity: usize,
    /// Longest delay, in microseconds.
    delay: u64,
    /// Percentage of reads and writes that move less than they could.
    cuts: u64,
    pieces: VecDeque<(u64, Vec<u8>)>,
    /// Bytes of the first piece that were read.
    head: usize,
    held: usize,
    last_arrival: u64,
    end: Option<End>,
    reader_gone: bool,
    written: u64,
    /// The writer is killed when it has written so many bytes.
    pub(super) kill_at: Option<u64>,
    /// One in so many bytes is spoilt on its way.
    pub(super) spoil: Option<u64>,
}

impl Pipe {
    pub(super) fn new(capacity: usize, delay: u64, cuts: u64) -> Pipe {
        Pipe {
            capacity,
            delay,
            cuts,
            pieces: VecDeque::new(),
            head: 0,
            held: 0,
            last_arrival: 0,
            end: None,
            reader_gone: false,
            written: 0,
            kill_at: None,
            spoil: None,
        }
    }

    fn cut(&self, n: usize, rng: &mut Rng) -> usize {
        if n > 1 && rng.percent(self.cuts) {
            let most = if rng.percent(50) { n.min(24) } else { n };
            1 + rng.index(most)
        } else {
            n
        }
    }

    pub(super) fn write(&mut self, slices: &[IoSlice<'_>], now: u64, rng: &mut Rng) -> Write {
        if self.reader_gone || self.end.is_some() {
            return Write::Broken;
        }
        let offered: usize = slices.iter().map(|s| s.len()).sum();
        let mut n = self.cut(offered.min(self.capacity.saturating_sub(self.held)), rng);
        let killed = self.kill_at.filter(|at| self.written + n as u64 >= *at);
        if let Some(at) = killed {
            n = at.saturating_sub(self.written) as usize;
        }
        let mut piece = Vec::with_capacity(n);
        for slice in slices {
            let take = slice.len().min(n - piece.len());
            piece.extend_from_slice(&slice[..take]);
        }
        self.written += n as u64;
        if n > 0 {
            self.spoil(&mut piece, rng);
            self.last_arrival = self.last_arrival.max(now + rng.range(0, self.delay));
            self.held += piece.len();
            self.pieces.push_back((self.last_arrival, piece));
        }
        if killed.is_some() { Write::Killed } else { Write::Took(n) }
    }

    /// Bytes of nobody's, whole and behind what was written, however full the buffer is.
    pub(super) fn put(&mut self, bytes: &[u8], now: u64) {
        if !self.reader_gone && self.end.is_none() {
            self.last_arrival = self.last_arrival.max(now);
            self.held += bytes.len();
            self.pieces.push_back((self.last_arrival, bytes.to_vec()));
        }
    }

    /// Changes bytes, loses some, adds some.
    fn spoil(&mut self, piece: &mut Vec<u8>, rng: &mut Rng) {
        let Some(rate) = self.spoil else { return };
        // As many faults as the rate makes of this length, the rest by chance.
        let mut faults = piece.len() as u64 / rate;
        faults += u64::from(rng.below(rate) < piece.len() as u64 % rate);
        for _ in 0..faults {
            if piece.is_empty() {
                return;
            }
            let at = rng.index(piece.len());
            match rng.below(8) {
                0 => {
                    piece.remove(at);
                }
                1 => piece.insert(at, rng.next() as u8),
                2 => piece[at] = 0,
                3 => piece[at] = 0xFF,
                4 | 5 => piece[at] ^= 1 << rng.below(8),
                _ => piece[at] = rng.next() as u8,
            }
        }
    }

    pub(super) fn read(&mut self, out: &mut Vec<u8>, most: usize, now: u64, rng: &mut Rng) -> Read {
        let mut left = self.cut(most, rng);
        let mut read = 0;
        while left > 0 {
            let Some((at, piece)) = self.pieces.front() else { break };
            if *at > now {
                break;
            }
            let n = left.min(piece.len() - self.head);
            out.extend_from_slice(&piece[self.head..self.head + n]);
            self.head += n;
            self.held -= n;
            read += n;
            left -= n;
            if self.head == piece.len() {
                self.pieces.pop_front();
                self.head = 0;
            }
        }
        match self.end {
            _ if read > 0 => Read::Bytes(read),
            Some(end) if self.pieces.is_empty() => Read::End(end),
            _ => Read::Nothing,
        }
    }

    pub(super) fn readable(&self, now: u64) -> bool {
        match self.pieces.front() {
            Some((at, _)) => *at <= now,
            None => self.end.is_some(),
        }
    }

    pub(super) fn writable(&self) -> bool {
        self.reader_gone || self.end.is_some() || self.held < self.capacity
    }

    /// When the next bytes arrive that have not.
    pub(super) fn next_arrival(&self, now: u64) -> Option<u64> {
        self.pieces.front().map(|(at, _)| *at).filter(|at| *at > now)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pieces.is_empty()
    }

    /// The writing end is closed, behind what was written.
    pub(super) fn end(&mut self, end: End) {
        self.end.get_or_insert(end);
    }

    /// What is on its way is lost, from any byte on.
    pub(super) fn lose(&mut self, rng: &mut Rng) {
        let mut keep = rng.index(self.held + 1);
        self.held = keep;
        let mut head = self.head;
        for (_, piece) in &mut self.pieces {
            let stays = keep.min(piece.len() - head);
            piece.truncate(head + stays);
            keep -= stays;
            head = 0;
        }
        let head = self.head;
        let mut first = true;
        self.pieces.retain(|(_, piece)| piece.len() > if std::mem::take(&mut first) { head } else { 0 });
        if self.pieces.is_empty() || self.held == 0 {
            self.head = 0;
        }
    }

    /// The reading end is closed.
    pub(super) fn abandon(&mut self) {
        self.reader_gone = true;
        self.pieces.clear();
        self.head = 0;
        self.held = 0;
    }

    pub(super) fn written(&self) -> u64 {
        self.written
    }
}
