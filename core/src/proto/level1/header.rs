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
