//! Channel numbers and the set of channels a handshake agreed on.

use std::fmt;

use crate::error::{Code, Error, Result};

/// A numbered lane inside a connection. Order is kept within a channel.
///
/// 1 to 4 have fixed names, 256 and above belong to the program (protocol.md, "Channels").
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Channel(u16);

impl Channel {
    /// 1: calls and their replies.
    pub const COMMAND: Channel = Channel(1);
    /// 2: one-way messages.
    pub const DATA: Channel = Channel(2);
    /// 3: measurements and events.
    pub const TELEMETRY: Channel = Channel(3);
    /// 4: errors of the program on the other side, by convention JSON.
    pub const ERROR: Channel = Channel(4);

    /// 0: the protocol's own messages; never carries a program's data.
    pub(crate) const CONTROL: Channel = Channel(0);

    /// The channels used when a program names none: 1 to 4.
    pub const DEFAULT: [Channel; 4] = [Channel::COMMAND, Channel::DATA, Channel::TELEMETRY, Channel::ERROR];

    /// The channel with this number. `invalid_channel` for 0 (the protocol's own) and 5 to 255
    /// (reserved).
    pub fn new(number: u16) -> Result<Channel> {
        match number {
            1..=4 | 256.. => Ok(Channel(number)),
            0 => Err(Error::new(Code::InvalidChannel, "channel 0 carries the protocol's own messages")),
            _ => Err(Error::new(Code::InvalidChannel, format!("channel {number} is reserved (5 to 255)"))),
        }
    }

    /// As read from the wire, reserved numbers included.
    pub(crate) const fn from_wire(number: u16) -> Channel {
        Channel(number)
    }

    /// The number on the wire.
    pub const fn number(self) -> u16 {
        self.0
    }

    /// The fixed name, or `None` for a channel of the program.
    pub const fn name(self) -> Option<&'static str> {
        match self.0 {
            0 => Some("CONTROL"),
            1 => Some("COMMAND"),
            2 => Some("DATA"),
            3 => Some("TELEMETRY"),
            4 => Some("ERROR"),
            _ => None,
        }
    }
}

impl fmt::Display for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "{}", self.0),
        }
    }
}

/// The agreed channels, in handshake order, found by number in a few steps.
#[derive(Debug, Clone, Default)]
pub(crate) struct ChannelSet {
    ordered: Vec<Channel>,
    /// (channel, position in `ordered`), sorted by channel.
    sorted: Vec<(Channel, usize)>,
}

impl ChannelSet {
    pub(crate) fn new(ordered: Vec<Channel>) -> ChannelSet {
        let mut sorted: Vec<_> = ordered.iter().copied().enumerate().map(|(at, c)| (c, at)).collect();
        sorted.sort_unstable();
        ChannelSet { ordered, sorted }
    }

    pub(crate) fn as_slice(&self) -> &[Channel] {
        &self.ordered
    }

    /// Position of `channel`, the index of its queue and counters.
    pub(crate) fn position(&self, channel: Channel) -> Option<usize> {
        // The usual set, or its start: found where it lies.
        if let Some(at) = usize::from(channel.0).checked_sub(1)
            && self.ordered.get(at) == Some(&channel)
        {
            return Some(at);
        }
        let at = self.sorted.binary_search_by_key(&channel, |&(c, _)| c).ok()?;
        Some(self.sorted[at].1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_channels_have_names_and_others_their_number() {
        let named = [(0, "CONTROL"), (1, "COMMAND"), (2, "DATA"), (3, "TELEMETRY"), (4, "ERROR")];
        for (number, name) in named {
            let channel = Channel::from_wire(number);
            assert_eq!((channel.name(), channel.to_string().as_str()), (Some(name), name));
        }
        for number in [5, 255, 256, u16::MAX] {
            let channel = Channel::from_wire(number);
            assert_eq!((channel.name(), channel.to_string()), (None, number.to_string()));
        }
    }

    #[test]
    fn a_program_has_the_numbers_that_are_not_reserved() {
        for (number, free) in [(0, false), (1, true), (4, true), (5, false), (255, false), (256, true), (65535, true)] {
            match Channel::new(number) {
                Ok(channel) => assert!(free && channel.number() == number),
                Err(error) => assert!(!free && error.code() == Code::InvalidChannel, "{number}"),
            }
        }
        let told = |number| Channel::new(number).unwrap_err().to_string();
        assert!(told(0).contains("protocol's own") && told(5).contains("reserved"));
    }

    #[test]
    fn a_channel_is_found_in_whatever_order_they_were_agreed() {
        for order in [vec![1, 2, 3, 4], vec![2], vec![4, 300, 1], vec![1, 3], (256..512).rev().collect()] {
            let set = ChannelSet::new(order.iter().map(|&number| Channel(number)).collect());
            for number in 0..600 {
                let at = order.iter().position(|&other| other == number);
                assert_eq!(set.position(Channel(number)), at, "{number} of {order:?}");
            }
        }
    }
}
