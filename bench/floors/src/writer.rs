//! Messages into bytes.

use std::io::{self, IoSlice};

use frame::Result;

use crate::carrier::Carrier;

/// A batching writer keeps no more than this.
const BATCH: usize = 64 * 1024;
/// A message up to this length is put behind its header; a longer one is written from where it lies.
const COPIED: usize = 4096;

/// Writes messages one by one, or many together.
pub(crate) struct Writer {
    out: Vec<u8>,
    batched: bool,
}

impl Writer {
    pub(crate) fn new(batched: bool) -> Writer {
        Writer { out: Vec::with_capacity(2 * BATCH), batched }
    }

    #[inline]
    pub(crate) fn put(&mut self, carrier: &mut impl Carrier, message: &[u8]) -> Result<()> {
        let header = u32::try_from(message.len())?.to_le_bytes();
        if message.len() > COPIED {
            self.flush(carrier)?;
            return write_all(carrier, &header, message);
        }
        self.out.extend_from_slice(&header);
        self.out.extend_from_slice(message);
        if !self.batched || self.out.len() >= BATCH { self.flush(carrier) } else { Ok(()) }
    }

    #[inline]
    pub(crate) fn flush(&mut self, carrier: &mut impl Carrier) -> Result<()> {
        if !self.out.is_empty() {
            write_all(carrier, &self.out, &[])?;
            self.out.clear();
        }
        Ok(())
    }
}

fn write_all(carrier: &mut impl Carrier, head: &[u8], tail: &[u8]) -> Result<()> {
    let mut parts = [IoSlice::new(head), IoSlice::new(tail)];
    let mut left = &mut parts[..];
    while left.iter().any(|part| !part.is_empty()) {
        match carrier.write(left) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => IoSlice::advance_slices(&mut left, outcome?),
        }
    }
    Ok(())
}
