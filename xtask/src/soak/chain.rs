//! A chain that one end sends to another, and what came of it.

use serde::Deserialize;
use serde_json::{Value, json};

use super::plan::Random;
use super::tally::Counts;

/// How the messages of a chain travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum How {
    Send,
    Call,
    Stream,
}

impl How {
    fn name(self) -> &'static str {
        match self {
            How::Send => "send",
            How::Call => "call",
            How::Stream => "stream",
        }
    }
}

/// Milliseconds one message may take: more than any stop, and any machine.
const LIMIT: u64 = 20_000;

/// The sizes that chains are made of: as powers of two.
const BITS: [u32; 6] = [6, 10, 13, 16, 18, 20];

/// About how many bytes a chain has that is not asked for more, and the least and most messages.
const BYTES: u64 = 2 << 20;
const COUNTS: [u64; 2] = [20, 400];

/// More messages than anybody waits for.
const ENDLESS: u64 = 1_000_000;

/// Channels of which nothing is ever dropped: DATA and ERROR.
const CHANNELS: [u16; 2] = [2, 4];

/// The channel of calls and streams.
const COMMAND: u16 = 1;

/// What is to be sent.
#[derive(Debug, Clone)]
pub(super) struct Chain {
    pub(super) name: String,
    pub(super) how: How,
    count: u64,
    bits: u32,
    seed: u32,
    channel: u16,
}

impl Chain {
    /// A chain that ends.
    pub(super) fn new(name: String, how: How, random: &mut Random) -> Chain {
        let bits = random.one(&BITS);
        let chain = Chain::of_bits(name, how, bits, BYTES, random);
        Chain { count: chain.count.min(COUNTS[1]), ..chain }
    }

    /// A chain of about so many bytes, whose bodies have up to two to the power of `bits` of them.
    pub(super) fn of_bits(name: String, how: How, bits: u32, bytes: u64, random: &mut Random) -> Chain {
        // Sizes are even by their logarithms.
        let mean = (1 << bits) / u64::from(bits + 1) + 1;
        let count = (bytes / mean).max(COUNTS[0]);
        let channel = if how == How::Send { random.one(&CHANNELS) } else { COMMAND };
        Chain { name, how, count, bits, seed: random.next() as u32, channel }
    }

    /// The same, without an end.
    pub(super) fn endless(self) -> Chain {
        Chain { count: ENDLESS, ..self }
    }

    /// As its sender is asked for it.
    pub(super) fn asked(&self) -> Value {
        json!({
            "chain": self.name, "how": self.how.name(), "count": self.count, "bits": self.bits, "seed": self.seed,
            "channel": self.channel, "timeout_ms": LIMIT,
        })
    }
}

/// How far its sender came.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Sent {
    /// Messages of which the sender knows that they were sent; of calls and items, that they were answered.
    pub(super) next: u64,
    pub(super) head: String,
    pub(super) bytes: u64,
    /// Answers that were not what was sent.
    pub(super) wrong: u64,
    /// What ended it early, if anything.
    pub(super) error: String,
    /// Whether the message behind those may have been sent: `maybe` or `no`.
    pub(super) sent: String,
}

impl Sent {
    /// What may have arrived at most.
    fn most(&self) -> u64 {
        self.next + u64::from(self.sent == "maybe")
    }
}

/// What came to its receiver.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Came {
    pub(super) next: u64,
    pub(super) head: String,
    pub(super) lost: u64,
    pub(super) doubled: u64,
    pub(super) reordered: u64,
    pub(super) corrupted: u64,
}

impl Came {
    /// What of a chain is here whose sender was killed: its beginning, whole.
    pub(super) fn beginning(&self) -> Counts {
        Counts {
            messages: self.next - self.lost.min(self.next),
            bytes: 0,
            lost: self.lost,
            doubled: self.doubled,
            reordered: self.reordered,
            corrupted: self.corrupted,
        }
    }

    /// What came of what was sent.
    pub(super) fn of(&self, sent: &Sent) -> Counts {
        let mut counts = self.beginning();
        counts.bytes = sent.bytes;
        counts.lost += sent.next.saturating_sub(self.next);
        // Nobody sent them.
        counts.doubled += self.next.saturating_sub(sent.most());
        // Every message was taken for the right one, and they are not those that were sent.
        let whole = sent.error.is_empty() && self.next == sent.next && counts.fine();
        counts.corrupted += u64::from(whole && self.head != sent.head);
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(next: u64, error: &str, sent: &str) -> Sent {
        let text = |text: &str| text.to_owned();
        Sent { next, head: text("h"), bytes: 1, wrong: 0, error: text(error), sent: text(sent) }
    }

    fn came(next: u64) -> Came {
        Came { next, head: "h".into(), ..Came::default() }
    }

    #[test]
    fn what_is_missing_at_the_end_is_lost() {
        assert!(came(5).of(&sent(5, "", "")).fine());
        assert_eq!(came(3).of(&sent(5, "", "")).lost, 2);
        assert_eq!(Came { lost: 1, ..came(3) }.of(&sent(5, "", "")).lost, 3);
    }

    #[test]
    fn another_head_at_the_end_is_corruption() {
        assert_eq!(Came { head: "g".into(), ..came(5) }.of(&sent(5, "", "")).corrupted, 1);
        // The sender has made one more than it sent.
        assert!(Came { head: "g".into(), ..came(5) }.of(&sent(5, "draining", "no")).fine());
    }

    #[test]
    fn an_interrupted_sender_may_have_sent_one_more_if_it_says_so() {
        assert!(came(6).of(&sent(5, "draining", "maybe")).fine());
        assert_eq!(came(6).of(&sent(5, "draining", "no")).doubled, 1);
        assert_eq!(came(7).of(&sent(5, "draining", "maybe")).doubled, 1);
        assert_eq!(came(4).of(&sent(5, "draining", "maybe")).lost, 1);
    }

    #[test]
    fn a_chain_has_about_the_bytes_it_should_have() {
        let mut random = Random::new(1, &[]);
        for (bits, bytes, count) in
            [(13, BYTES, 3578), (18, BYTES, 151), (18, 6 * BYTES, 911), (20, BYTES, 41), (20, 1, 20)]
        {
            let chain = Chain::of_bits("c".into(), How::Call, bits, bytes, &mut random);
            assert_eq!(chain.count, count, "{bits} {bytes}");
        }
        for _ in 0..100 {
            let chain = Chain::new("c".into(), How::Call, &mut random);
            assert!(COUNTS[0] <= chain.count && chain.count <= COUNTS[1], "{chain:?}");
        }
    }
}
