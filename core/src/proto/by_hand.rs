//! Connections moved by hand: their bytes taken and given, without a carrier.

use std::time::Instant;

use super::channel::Channel;
use super::conn::{Config, Conn, Role};
use super::level1::Limits;
use super::offer::{Level, Own};
use crate::limits;

pub(super) fn config(role: Role) -> Config {
    Config {
        role,
        channels: Channel::DEFAULT.to_vec(),
        auth_token: None,
        secret: None,
        max_message: limits::MAX_MESSAGE,
        handshake_timeout: limits::HANDSHAKE_TIMEOUT,
        own: Own {
            level: Level::Zero,
            instance: "00112233445566778899aabbccddeeff".into(),
            nonce: None,
            features: Vec::new(),
            limits: Limits::default(),
            grease: 3,
        },
        policies: Vec::new(),
    }
}

pub(super) fn connector() -> Role {
    Role::Connector
}

/// Takes everything `conn` wants to send.
pub(super) fn drain_bytes(conn: &mut Conn) -> Vec<u8> {
    let mut bytes = Vec::new();
    loop {
        conn.stage();
        if !conn.wants_write() {
            return bytes;
        }
        let mut slices = Vec::new();
        conn.slices(&mut slices);
        let chunk: Vec<u8> = slices.iter().flat_map(|s| s.to_vec()).collect();
        assert!(!chunk.is_empty(), "it wants to write and has nothing to");
        conn.transmitted(chunk.len());
        bytes.extend(chunk);
    }
}

/// Gives `bytes` to `conn` as far as it wants them; returns the rest.
pub(super) fn give<'a>(conn: &mut Conn, mut bytes: &'a [u8], now: Instant) -> &'a [u8] {
    while !bytes.is_empty() && conn.wants_read() {
        let (buffer, offered) = conn.read_buffer();
        let n = offered.min(bytes.len());
        assert!(n > 0, "it wants to read and has no room");
        buffer.extend_from_slice(&bytes[..n]);
        bytes = &bytes[n..];
        conn.received(n, offered, now);
    }
    bytes
}
