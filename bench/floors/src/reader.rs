//! Bytes into messages.

use std::io;
use std::ops::Range;

use frame::Result;

use crate::carrier::Carrier;

/// Bytes of the length.
pub(crate) const HEADER: usize = 4;
/// What a batching reader asks for, at least.
pub(crate) const CHUNK: usize = 256 * 1024;
/// What no message here is above.
const LARGEST: usize = 16 << 20;

/// Reads messages one by one, or as many as there are.
pub(crate) struct Reader {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    /// Bytes of the message before: the next one is taken to be as long, so that one read is enough for it.
    expected: usize,
    batched: bool,
}

impl Reader {
    pub(crate) fn new(batched: bool) -> Reader {
        Reader { buffer: vec![0; CHUNK], start: 0, end: 0, expected: HEADER, batched }
    }

    /// Where the next message lies, if it is here already.
    #[inline]
    fn ready(&self) -> Result<Option<Range<usize>>> {
        let Some(header) = self.buffer[self.start..self.end].first_chunk::<HEADER>() else { return Ok(None) };
        let length = u32::from_le_bytes(*header) as usize;
        if length > LARGEST {
            return Err(format!("a message of {length} bytes").into());
        }
        let from = self.start + HEADER;
        Ok((self.end - from >= length).then_some(from..from + length))
    }

    /// Whether `next` would not have to read.
    #[inline]
    pub(crate) fn has_one(&self) -> Result<bool> {
        Ok(self.ready()?.is_some())
    }

    /// The next message; none at the end of the stream.
    #[inline]
    pub(crate) fn next(&mut self, carrier: &mut impl Carrier) -> Result<Option<&[u8]>> {
        loop {
            if let Some(message) = self.ready()? {
                self.start = message.end;
                self.expected = message.len() + HEADER;
                return Ok(Some(&self.buffer[message]));
            }
            if !self.fill(carrier)? {
                return Ok(None);
            }
        }
    }

    fn fill(&mut self, carrier: &mut impl Carrier) -> Result<bool> {
        let have = self.end - self.start;
        let whole = match self.buffer[self.start..self.end].first_chunk::<HEADER>() {
            Some(header) => u32::from_le_bytes(*header) as usize + HEADER,
            None => self.expected.max(HEADER),
        };
        let missing = whole.saturating_sub(have).max(1);
        // A batching reader leaves no room for the head of a message behind a large one: it would be moved later.
        let want = if self.batched && missing < CHUNK { CHUNK - have.min(CHUNK / 2) } else { missing };
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        } else if self.start + have + want > self.buffer.len() {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, have);
        }
        if self.buffer.len() < self.end + want {
            self.buffer.resize(self.end + want, 0);
        }
        let got = loop {
            match carrier.read(&mut self.buffer[self.end..self.end + want]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => break outcome?,
            }
        };
        self.end += got;
        if got == 0 && have > 0 {
            return Err("the stream ended inside a message".into());
        }
        Ok(got > 0)
    }
}
