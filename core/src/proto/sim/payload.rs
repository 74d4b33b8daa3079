//! Payloads that say which message they are, and show any byte that is not theirs.

use std::sync::LazyLock;

use bytes::Bytes;

use super::rng::{Rng, mix};

/// Payloads from this length on name their message.
pub(super) const NAMED: usize = 8;
const NOISE: usize = 1 << 16;

static TABLE: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut rng = Rng::new(0x5EED);
    (0..NOISE / 8).flat_map(|_| rng.next().to_le_bytes()).collect()
});

fn tail(tag: u64, len: usize) -> impl Iterator<Item = &'static [u8]> {
    let mut at = mix(tag) as usize % NOISE;
    let mut left = len;
    std::iter::from_fn(move || {
        let piece = &TABLE[at..NOISE.min(at + left)];
        (at, left) = (0, left - piece.len());
        (!piece.is_empty()).then_some(piece)
    })
}

pub(super) fn make(tag: u64, len: usize) -> Bytes {
    let mut bytes = Vec::with_capacity(len);
    bytes.extend_from_slice(&tag.to_le_bytes()[..len.min(NAMED)]);
    tail(tag, len.saturating_sub(NAMED)).for_each(|piece| bytes.extend_from_slice(piece));
    bytes.into()
}

/// The message a payload names.
pub(super) fn tag(bytes: &[u8]) -> Option<u64> {
    bytes.first_chunk::<NAMED>().map(|b| u64::from_le_bytes(*b))
}

/// Whether `bytes` is exactly what [`make`] made.
pub(super) fn is(bytes: &[u8], tag: u64, len: usize) -> bool {
    if bytes.len() != len || bytes[..len.min(NAMED)] != tag.to_le_bytes()[..len.min(NAMED)] {
        return false;
    }
    let mut rest = &bytes[len.min(NAMED)..];
    tail(tag, rest.len()).all(|piece| {
        let (head, behind) = rest.split_at(piece.len());
        rest = behind;
        head == piece
    })
}
