//! The level-0 frame header: magic, length, channel (protocol.md, "Frame").

use crate::error::{Code, Error, Result};
use crate::proto::channel::Channel;

pub(crate) const HEADER_LEN: usize = 8;
pub(crate) const MAGIC: [u8; 2] = *b"IP";

/// A decoded header. `len` counts the payload alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) len: u32,
    pub(crate) channel: Channel,
}

impl Header {
    pub(crate) fn encode(self) -> [u8; HEADER_LEN] {
        let mut bytes = [0; HEADER_LEN];
        bytes[..2].copy_from_slice(&MAGIC);
        bytes[2..6].copy_from_slice(&self.len.to_le_bytes());
        bytes[6..].copy_from_slice(&self.channel.number().to_le_bytes());
        bytes
    }

    /// Decodes the start of `bytes`. `None` while the header is incomplete. A wrong magic is an
    /// error at its first byte, so a foreign protocol is turned away without waiting for more.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Option<Header>> {
        let seen = bytes.len().min(MAGIC.len());
        if bytes[..seen] != MAGIC[..seen] {
            return Err(Error::new(Code::BadMagic, "a frame starts with the bytes 49 50, these do not"));
        }
        let Some(bytes) = bytes.first_chunk::<HEADER_LEN>() else { return Ok(None) };
        let [_, _, l0, l1, l2, l3, c0, c1] = *bytes;
        Ok(Some(Header {
            len: u32::from_le_bytes([l0, l1, l2, l3]),
            channel: Channel::from_wire(u16::from_le_bytes([c0, c1])),
        }))
    }
}
