//! The level-1 frame header: length, type, flags, channel, id (protocol.md, "Frames of level 1").

pub(crate) const HEADER_LEN: usize = 16;

/// Frame types.
pub(crate) mod kind {
    pub(crate) const NOP: u8 = 0x00;
    pub(crate) const AUTH: u8 = 0x03;
    pub(crate) const READY: u8 = 0x04;
    pub(crate) const PING: u8 = 0x05;
    pub(crate) const PONG: u8 = 0x06;
    pub(crate) const GOAWAY: u8 = 0x07;
    pub(crate) const DRAIN_ACK: u8 = 0x08;
    pub(crate) const CLOSE: u8 = 0x09;
    pub(crate) const ERROR: u8 = 0x0A;
    pub(crate) const CREDIT: u8 = 0x0B;
    pub(crate) const CANCEL: u8 = 0x0C;
    pub(crate) const REFUSE: u8 = 0x0D;
    pub(crate) const MESSAGE: u8 = 0x10;
    pub(crate) const REQUEST: u8 = 0x11;
    pub(crate) const RESPONSE: u8 = 0x12;
    pub(crate) const STREAM: u8 = 0x13;
    /// First of the types that are always ignored.
    pub(crate) const GREASE: u8 = 0x70;
    pub(crate) const GREASE_LAST: u8 = 0x7F;
}

/// Frame flags.
pub(crate) mod flag {
    pub(crate) const FIRST: u8 = 0x01;
    pub(crate) const LAST: u8 = 0x02;
    pub(crate) const EXT: u8 = 0x04;
    pub(crate) const FIN: u8 = 0x08;
    pub(crate) const STREAM: u8 = 0x10;
    pub(crate) const FDS: u8 = 0x20;
    pub(crate) const CRITICAL: u8 = 0x80;
}

/// A decoded header. `len` counts what follows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) len: u32,
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) channel: u16,
    pub(crate) id: u64,
}

impl Header {
    pub(crate) fn encode(self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[..4].copy_from_slice(&self.len.to_le_bytes());
        bytes[4] = self.kind;
        bytes[5] = self.flags;
        bytes[6..8].copy_from_slice(&self.channel.to_le_bytes());
        bytes[8..].copy_from_slice(&self.id.to_le_bytes());
        bytes
    }

    /// Decodes the start of `bytes`; `None` while the header is incomplete.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Header> {
        let bytes = bytes.first_chunk::<HEADER_LEN>()?;
        let [l0, l1, l2, l3, kind, flags, c0, c1, i0, i1, i2, i3, i4, i5, i6, i7] = *bytes;
        Some(Header {
            len: u32::from_le_bytes([l0, l1, l2, l3]),
            kind,
            flags,
            channel: u16::from_le_bytes([c0, c1]),
            id: u64::from_le_bytes([i0, i1, i2, i3, i4, i5, i6, i7]),
        })
    }

    pub(crate) fn has(self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    /// Whether the frame carries a message of the program, or a piece of one.
    pub(crate) fn is_message(self) -> bool {
        matches!(self.kind, kind::MESSAGE..=kind::STREAM)
    }

    /// Whether the frame is a whole one-way message and nothing else.
    pub(crate) fn is_plain(self) -> bool {
        self.kind == kind::MESSAGE && self.flags == flag::FIRST | flag::LAST && self.id == 0
    }

    /// Whether the frame is one of the protocol's own.
    pub(crate) fn is_control(self) -> bool {
        matches!(self.kind, kind::NOP | kind::AUTH..=kind::REFUSE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Header =
        Header { len: 7, kind: kind::MESSAGE, flags: flag::FIRST | flag::LAST, channel: 0x0201, id: 0 };

    #[test]
    fn each_type_is_of_the_program_or_of_the_protocol_or_unknown() {
        for of in 0..=u8::MAX {
            let header = Header { kind: of, ..PLAIN };
            assert_eq!(header.is_message(), (0x10..=0x13).contains(&of), "{of:#04x}");
            assert_eq!(header.is_control(), of == 0 || (0x03..=0x0D).contains(&of), "{of:#04x}");
            assert_eq!(header.is_plain(), of == 0x10, "{of:#04x}");
        }
    }

    #[test]
    fn a_plain_message_is_whole_and_has_nothing_beside_its_bytes() {
        for flags in 0..=u8::MAX {
            let header = Header { flags, ..PLAIN };
            assert_eq!(header.is_plain(), flags == 3, "{flags:#04x}");
            assert!((0..8).all(|bit| header.has(1 << bit) == (flags >> bit & 1 == 1)), "{flags:#04x}");
        }
        for id in [1, 1 << 63] {
            assert!(!Header { id, ..PLAIN }.is_plain());
        }
    }

    #[test]
    fn a_header_is_read_as_it_was_written_and_not_before_it_is_whole() {
        let header = Header { len: 0x0403_0201, kind: 5, flags: 6, channel: 0x0807, id: 0x100F_0E0D_0C0B_0A09 };
        let bytes: Vec<u8> = (1..=16).collect();
        assert_eq!(header.encode()[..], bytes);
        assert_eq!(Header::decode(&[&bytes[..], &[99]].concat()), Some(header));
        assert_eq!(Header::decode(&bytes[..15]), None);
    }
}
