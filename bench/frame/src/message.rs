//! The payloads: numbered, and filled with bytes that a receiver can check.
//!
//! The first eight bytes are the number of the message, with its kind in the topmost byte; the rest is the same for
//! every message of a size.

use crate::Result;

/// What the receiver is asked to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    /// Send the same bytes back.
    Request = 1,
    /// Count and sum up.
    OneWay = 2,
    /// Report what was counted.
    Finish = 3,
}

const KIND_SHIFT: u32 = 56;

/// Messages of one kind and size, one after the other, in the same memory.
pub(crate) struct Messages {
    kind: Kind,
    bytes: Vec<u8>,
    next: u64,
    /// The sum of all words but the first.
    rest: u64,
}

impl Messages {
    pub(crate) fn new(kind: Kind, size: usize) -> Messages {
        assert!(size >= 8, "a message starts with its number");
        let mut state = size as u64;
        let mut bytes = vec![0; size];
        for word in bytes[8..].chunks_mut(8) {
            word.copy_from_slice(&random(&mut state).to_le_bytes()[..word.len()]);
        }
        let rest = sum(&bytes);
        Messages { kind, bytes, next: 0, rest }
    }

    /// The next message.
    #[inline]
    pub(crate) fn next(&mut self) -> &[u8] {
        let word = head(self.kind, self.next);
        self.next += 1;
        self.bytes[..8].copy_from_slice(&word.to_le_bytes());
        &self.bytes
    }

    /// How many were given out.
    pub(crate) fn count(&self) -> u64 {
        self.next
    }

    /// What a receiver of all of them has summed up.
    pub(crate) fn sum(&self) -> u64 {
        let numbers = self.next * self.next.saturating_sub(1) / 2;
        let heads = head(self.kind, 0).wrapping_mul(self.next).wrapping_add(numbers);
        heads.wrapping_add(self.rest.wrapping_mul(self.next))
    }
}

fn head(kind: Kind, number: u64) -> u64 {
    (kind as u64) << KIND_SHIFT | number
}

/// The kind and the number of a message.
#[inline]
pub(crate) fn read_head(message: &[u8]) -> Result<(u8, u64)> {
    let word = message.first_chunk().map(|word| u64::from_le_bytes(*word));
    let word = word.ok_or("a message without a number")?;
    Ok(((word >> KIND_SHIFT) as u8, word & ((1 << KIND_SHIFT) - 1)))
}

/// The sum of the words of a message.
#[inline]
pub(crate) fn sum(message: &[u8]) -> u64 {
    let (words, tail) = message.as_chunks::<8>();
    let sum = words.iter().fold(0u64, |sum, word| sum.wrapping_add(u64::from_le_bytes(*word)));
    let mut last = [0; 8];
    last[..tail.len()].copy_from_slice(tail);
    sum.wrapping_add(u64::from_le_bytes(last))
}

/// An error unless a reply is the request, byte for byte.
#[inline]
pub fn check_reply(request: &[u8], reply: &[u8]) -> Result<()> {
    if request == reply {
        return Ok(());
    }
    Err(format!("the reply is not the request: {} bytes for {}", reply.len(), request.len()).into())
}

/// SplitMix64.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_foretold_is_the_sum_received() {
        for size in [8, 13, 64, 4096] {
            let mut messages = Messages::new(Kind::OneWay, size);
            let mut received = 0u64;
            for number in 0..100 {
                let message = messages.next();
                assert_eq!(read_head(message).unwrap(), (Kind::OneWay as u8, number));
                received = received.wrapping_add(sum(message));
            }
            assert_eq!(received, messages.sum());
        }
    }

    #[test]
    fn a_changed_reply_is_no_reply() {
        let mut messages = Messages::new(Kind::Request, 64);
        let request = messages.next();
        let mut reply = request.to_vec();
        assert!(check_reply(request, &reply).is_ok());
        reply[63] ^= 1;
        assert!(check_reply(request, &reply).is_err());
        assert!(check_reply(request, &reply[..63]).is_err());
    }
}
