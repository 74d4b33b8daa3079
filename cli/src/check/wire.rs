//! The bytes of both levels, as docs/protocol.md has them. Nothing here is shared with the library: what both got wrong
//! would be found by nobody.

use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha2::{Digest, Sha256};

pub(super) const COMMAND: u16 = 1;
pub(super) const DATA: u16 = 2;
pub(super) const TELEMETRY: u16 = 3;
pub(super) const ERROR: u16 = 4;

pub(super) const NOP: u8 = 0x00;
pub(super) const AUTH: u8 = 0x03;
pub(super) const READY: u8 = 0x04;
pub(super) const PING: u8 = 0x05;
pub(super) const PONG: u8 = 0x06;
pub(super) const GOAWAY: u8 = 0x07;
pub(super) const DRAIN_ACK: u8 = 0x08;
pub(super) const CLOSE: u8 = 0x09;
pub(super) const FAILED: u8 = 0x0A;
pub(super) const CREDIT: u8 = 0x0B;
pub(super) const CANCEL: u8 = 0x0C;
pub(super) const REFUSE: u8 = 0x0D;
pub(super) const MESSAGE: u8 = 0x10;
pub(super) const REQUEST: u8 = 0x11;
pub(super) const RESPONSE: u8 = 0x12;
pub(super) const STREAM: u8 = 0x13;
pub(super) const GREASE: u8 = 0x70;

pub(super) const FIRST: u8 = 0x01;
pub(super) const LAST: u8 = 0x02;
pub(super) const WHOLE: u8 = FIRST | LAST;
pub(super) const EXT: u8 = 0x04;
pub(super) const FIN: u8 = 0x08;
pub(super) const STREAMING: u8 = 0x10;
pub(super) const FDS: u8 = 0x20;
pub(super) const CRITICAL: u8 = 0x80;

/// What section 12 and section 24 bound.
pub(super) const LARGEST: usize = 16 << 20;
pub(super) const HELLO: usize = 16_384;
pub(super) const CONTROL: usize = 1024;
pub(super) const SKIPPED: usize = 16_384;
pub(super) const CHARGE: u64 = 64;

/// The errors that cross the wire.
const CODES: [(&str, u32); 20] = [
    ("closed", 104),
    ("permission_denied", 204),
    ("timeout", 205),
    ("queue_full", 211),
    ("draining", 213),
    ("bad_magic", 301),
    ("frame_too_large", 302),
    ("truncated", 303),
    ("unknown_channel", 304),
    ("bad_handshake", 307),
    ("protocol_mismatch", 308),
    ("version_mismatch", 309),
    ("no_common_channel", 310),
    ("authentication_failed", 311),
    ("control_flood", 313),
    ("too_many_handshakes", 314),
    ("protocol_error", 315),
    ("unknown_frame", 316),
    ("credit_exceeded", 317),
    ("remote_error", 501),
];

/// The number of an error that a case names.
pub(super) fn code(name: &str) -> u32 {
    CODES.iter().find(|(known, _)| *known == name).map_or(0, |(_, code)| *code)
}

/// An error as people call it.
pub(super) fn named(code: u32) -> String {
    CODES.iter().find(|(_, known)| *known == code).map_or_else(|| format!("code {code}"), |(name, _)| (*name).into())
}

/// A frame of level 1; one of level 0 is shown as a MESSAGE, and channel 0 tells its control messages.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) channel: u16,
    pub(super) id: u64,
    pub(super) payload: Vec<u8>,
}

impl std::fmt::Debug for Frame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Frame { kind, flags, channel, id, payload } = self;
        let shown = String::from_utf8_lossy(&payload[..payload.len().min(60)]);
        write!(
            f,
            "{} flags {flags:#04x} channel {channel} id {id}, {} bytes {shown:?}",
            kind_name(*kind),
            payload.len()
        )
    }
}

pub(super) fn kind_name(kind: u8) -> String {
    const NAMES: [(u8, &str); 16] = [
        (NOP, "NOP"),
        (AUTH, "AUTH"),
        (READY, "READY"),
        (PING, "PING"),
        (PONG, "PONG"),
        (GOAWAY, "GOAWAY"),
        (DRAIN_ACK, "DRAIN_ACK"),
        (CLOSE, "CLOSE"),
        (FAILED, "ERROR"),
        (CREDIT, "CREDIT"),
        (CANCEL, "CANCEL"),
        (REFUSE, "REFUSE"),
        (MESSAGE, "MESSAGE"),
        (REQUEST, "REQUEST"),
        (RESPONSE, "RESPONSE"),
        (STREAM, "STREAM"),
    ];
    NAMES
        .iter()
        .find(|(known, _)| *known == kind)
        .map_or_else(|| format!("type {kind:#04x}"), |(_, name)| (*name).into())
}

/// A frame of level 0.
pub(super) fn plain(channel: u16, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let mut bytes = plain_header(payload.len() as u32, channel);
    bytes.extend(payload);
    bytes
}

pub(super) fn plain_header(length: u32, channel: u16) -> Vec<u8> {
    [b"IP".as_slice(), &length.to_le_bytes(), &channel.to_le_bytes()].concat()
}

/// A frame of level 1.
pub(super) fn frame(kind: u8, flags: u8, channel: u16, id: u64, payload: impl AsRef<[u8]>) -> Vec<u8> {
    let payload = payload.as_ref();
    let mut bytes = header(payload.len() as u32, kind, flags, channel, id);
    bytes.extend(payload);
    bytes
}

pub(super) fn header(length: u32, kind: u8, flags: u8, channel: u16, id: u64) -> Vec<u8> {
    [&length.to_le_bytes()[..], &[kind, flags], &channel.to_le_bytes(), &id.to_le_bytes()].concat()
}

/// A control frame of the connection.
pub(super) fn control(kind: u8, payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame(kind, 0, 0, 0, payload)
}

/// A control frame of a call.
pub(super) fn of_call(kind: u8, id: u64, payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame(kind, 0, 0, id, payload)
}

pub(super) fn message(channel: u16, payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame(MESSAGE, WHOLE, channel, 0, payload)
}

pub(super) fn request(id: u64, payload: impl AsRef<[u8]>) -> Vec<u8> {
    frame(REQUEST, WHOLE, COMMAND, id, payload)
}

pub(super) fn credit(channel: u16, id: u64, total: u64) -> Vec<u8> {
    frame(CREDIT, 0, channel, id, total.to_le_bytes())
}

/// A code and its text, as CLOSE, ERROR and REFUSE carry them.
pub(super) fn coded(name: &str, text: &str) -> Vec<u8> {
    [&code(name).to_le_bytes()[..], text.as_bytes()].concat()
}

/// A message cut into pieces of these lengths, the rest in the last one.
pub(super) fn cut(kind: u8, flags: u8, channel: u16, id: u64, payload: &[u8], lengths: &[usize]) -> Vec<Vec<u8>> {
    let total = (payload.len() as u32).to_le_bytes();
    let mut rest = payload;
    let mut frames = Vec::new();
    for (at, &length) in lengths.iter().enumerate() {
        let (piece, behind) = rest.split_at(length.min(rest.len()));
        rest = behind;
        if at == 0 {
            frames.push(frame(kind, flags | FIRST, channel, id, [&total, piece].concat()));
        } else {
            frames.push(frame(kind, 0, channel, id, piece));
        }
    }
    frames.push(frame(kind, LAST, channel, id, rest));
    frames
}

/// One extension.
pub(super) fn ext(kind: u16, value: impl AsRef<[u8]>) -> Vec<u8> {
    let value = value.as_ref();
    [&kind.to_le_bytes()[..], &(value.len() as u16).to_le_bytes(), value].concat()
}

/// Extensions with their length in front.
pub(super) fn block(extensions: impl AsRef<[u8]>) -> Vec<u8> {
    let extensions = extensions.as_ref();
    [&(extensions.len() as u16).to_le_bytes()[..], extensions].concat()
}

/// The proof of one side: `c` of the connector, `a` of the acceptor.
pub(super) fn proof(secret: &[u8], side: u8, request: &[u8], response: &[u8]) -> Vec<u8> {
    // HMAC takes keys of any length.
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(secret) else { return Vec::new() };
    mac.update(b"hostlane auth 1");
    mac.update(&[side]);
    mac.update(&Sha256::digest(request));
    mac.update(&Sha256::digest(response));
    mac.finalize().into_bytes().to_vec()
}

/// How frames are cut from the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// Section 2: the handshake, and level 0.
    Plain,
    /// Section 15.
    Numbered,
}

/// The next whole frame in `bytes`, and how long it is; an error names a rule that its sender breaks.
pub(super) fn take(form: Form, bytes: &[u8]) -> Result<Option<(Frame, usize)>, String> {
    let number = |at: usize, length: usize| bytes[at..at + length].iter().rev().fold(0, |n, b| n << 8 | u64::from(*b));
    let (head, length, mut frame) = match form {
        Form::Plain => {
            if !b"IP".starts_with(&bytes[..bytes.len().min(2)]) {
                return Err(format!("bytes that are no frame of level 0: {:02x?}", &bytes[..bytes.len().min(16)]));
            }
            if bytes.len() < 8 {
                return Ok(None);
            }
            let channel = number(6, 2) as u16;
            (8, number(2, 4), Frame { kind: MESSAGE, flags: WHOLE, channel, id: 0, payload: Vec::new() })
        }
        Form::Numbered => {
            if bytes.len() < 16 {
                return Ok(None);
            }
            let (kind, flags, channel, id) = (bytes[4], bytes[5], number(6, 2) as u16, number(8, 8));
            (16, number(0, 4), Frame { kind, flags, channel, id, payload: Vec::new() })
        }
    };
    let length = length as usize;
    if let Some(why) = wrong(form, &frame, length) {
        return Err(format!("{why}: {frame:?} of {length} bytes"));
    }
    if bytes.len() < head + length {
        return Ok(None);
    }
    frame.payload.extend(&bytes[head..head + length]);
    Ok(Some((frame, head + length)))
}

/// What is wrong with a header, in words.
fn wrong(form: Form, frame: &Frame, length: usize) -> Option<&'static str> {
    if form == Form::Plain {
        return (length > LARGEST || frame.channel == 0 && length > HELLO).then_some("a frame above every limit");
    }
    let least = match frame.kind {
        AUTH => 32,
        PING | PONG | CREDIT => 8,
        GOAWAY => 12,
        CLOSE | FAILED | REFUSE => 4,
        _ => 0,
    };
    let known = frame.kind <= REFUSE && frame.kind != 1 && frame.kind != 2 || (MESSAGE..=STREAM).contains(&frame.kind);
    if !known && !(GREASE..GREASE + 16).contains(&frame.kind) {
        Some("a type that level 1 does not have")
    } else if length < least || frame.kind == NOP && length > 0 {
        Some("a length that this type does not have")
    } else if frame.kind < MESSAGE && length > CONTROL || length > LARGEST + CONTROL + 6 {
        Some("a frame above every limit")
    } else {
        None
    }
}

/// JSON as it is sent.
pub(super) fn text(value: &Value) -> Vec<u8> {
    value.to_string().into_bytes()
}
