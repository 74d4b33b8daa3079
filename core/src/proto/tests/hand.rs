//! One side's frames, read and written by hand.

use bytes::Bytes;

use super::{Pair, drain_bytes, give};
use crate::proto::channel::Channel;
use crate::proto::conn::{Conn, Post};
use crate::proto::level1::With;
use crate::proto::level1::wire::{Header, flag};
use crate::proto::{OpId, Step};

/// The flags of a message in one frame.
pub(super) const WHOLE: u8 = flag::FIRST | flag::LAST;
const HEADER: usize = 16;

/// Cuts whole frames: their headers and what follows each.
pub(super) fn frames(mut bytes: &[u8]) -> Vec<(Header, Vec<u8>)> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let header = Header::decode(bytes).expect("a whole header");
        let end = HEADER + header.len as usize;
        found.push((header, bytes[HEADER..end].to_vec()));
        bytes = &bytes[end..];
    }
    found
}

/// The frames that leave `conn` now.
pub(super) fn leaving(conn: &mut Conn) -> Vec<(Header, Vec<u8>)> {
    frames(&drain_bytes(conn))
}

/// The types of frames that leave `conn` now.
pub(super) fn kinds(conn: &mut Conn) -> Vec<u8> {
    leaving(conn).iter().map(|(header, _)| header.kind).collect()
}

/// Has the carrier take `n` of the bytes that `conn` offers: those bytes.
pub(super) fn takes(conn: &mut Conn, n: usize) -> Vec<u8> {
    let mut slices = Vec::new();
    conn.slices(&mut slices);
    let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).take(n).collect();
    assert_eq!(bytes.len(), n, "so much is offered");
    conn.transmitted(n);
    bytes
}

/// Both sides get these frames as if the other one had sent them.
pub(super) fn to_server(pair: &mut Pair, frames: &[Vec<u8>]) {
    for bytes in frames {
        give(&mut pair.server, bytes, pair.now);
    }
}

pub(super) fn to_client(pair: &mut Pair, frames: &[Vec<u8>]) {
    for bytes in frames {
        give(&mut pair.client, bytes, pair.now);
    }
}

/// The client sends `len` bytes on `channel`.
pub(super) fn post(pair: &mut Pair, op: OpId, channel: Channel, len: usize) -> Step {
    let message = Post::Message(channel, With::default());
    pair.client.post(op, message, Bytes::from(vec![op as u8; len]), pair.now, None)
}
