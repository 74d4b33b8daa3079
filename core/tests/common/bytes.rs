//! A level-1 peer made of nothing but bytes.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};

use super::{Raw, SOON, frame};

pub const PING: u8 = 0x05;
pub const PONG: u8 = 0x06;
pub const GOAWAY: u8 = 0x07;
pub const DRAIN_ACK: u8 = 0x08;
pub const CLOSE: u8 = 0x09;
pub const ERROR: u8 = 0x0A;
pub const CREDIT: u8 = 0x0B;
pub const CANCEL: u8 = 0x0C;
pub const REFUSE: u8 = 0x0D;
pub const MESSAGE: u8 = 0x10;
pub const REQUEST: u8 = 0x11;
pub const RESPONSE: u8 = 0x12;
pub const STREAM: u8 = 0x13;
pub const FIRST: u8 = 0x01;
pub const LAST: u8 = 0x02;
pub const WHOLE: u8 = FIRST | LAST;

pub const OFFER: &str = r#"{"protocol":"ipcprims","version":"1.0","channels":[1,2,3,4],"hostlane":{"versions":[1],"instance":"0123456789abcdef0123456789abcdef","features":[FEATURES],"limits":{LIMITS}}}"#;
const ANSWER: &str = r#"{"protocol":"ipcprims","version":"1.0","channels":[1,2,3,4],"peer_id":"raw-1","hostlane":{"version":1,"instance":"0123456789abcdef0123456789abcdef","features":[FEATURES],"limits":{LIMITS}}}"#;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    pub kind: u8,
    pub flags: u8,
    pub channel: u16,
    pub id: u64,
    pub payload: Vec<u8>,
}

pub struct Raw1(pub UnixStream);

impl Raw1 {
    /// Connects as a client with `limits`, members of that JSON object.
    pub fn connect(address: &str, features: &str, limits: &str) -> Raw1 {
        let mut raw = Raw::connect(address);
        raw.write(&frame(0, OFFER.replace("FEATURES", features).replace("LIMITS", limits).as_bytes()));
        let (_, answer) = raw.frame().expect("a response");
        assert!(String::from_utf8_lossy(&answer).contains("hostlane"), "{}", String::from_utf8_lossy(&answer));
        Raw1(raw.0).ready()
    }

    /// Accepts one client of `listener`, as a server.
    pub fn accept(listener: &UnixListener, features: &str, limits: &str) -> Raw1 {
        let (stream, _) = listener.accept().unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        let mut raw = Raw(stream);
        assert_eq!(raw.frame().expect("a request").0, 0);
        raw.write(&frame(0, ANSWER.replace("FEATURES", features).replace("LIMITS", limits).as_bytes()));
        Raw1(raw.0).ready()
    }

    fn ready(mut self) -> Raw1 {
        self.send(0x04, 0, 0, 0, b"");
        while self.frame().expect("READY").kind != 0x04 {}
        let grease = self.frame().expect("GREASE behind it");
        assert!((0x70..=0x7F).contains(&grease.kind));
        self
    }

    pub fn encode(kind: u8, flags: u8, channel: u16, id: u64, payload: &[u8]) -> Vec<u8> {
        let mut out = (payload.len() as u32).to_le_bytes().to_vec();
        out.extend([kind, flags]);
        out.extend(channel.to_le_bytes());
        out.extend(id.to_le_bytes());
        out.extend(payload);
        out
    }

    pub fn send(&mut self, kind: u8, flags: u8, channel: u16, id: u64, payload: &[u8]) {
        self.0.write_all(&Self::encode(kind, flags, channel, id, payload)).unwrap();
    }

    /// The next frame; `None` at the end of the stream.
    pub fn frame(&mut self) -> Option<Frame> {
        let mut header = [0; 16];
        self.0.read_exact(&mut header).ok()?;
        let len = u32::from_le_bytes(header[..4].try_into().unwrap());
        let mut payload = vec![0; len as usize];
        self.0.read_exact(&mut payload).unwrap();
        Some(Frame {
            kind: header[4],
            flags: header[5],
            channel: u16::from_le_bytes(header[6..8].try_into().unwrap()),
            id: u64::from_le_bytes(header[8..].try_into().unwrap()),
            payload,
        })
    }

    /// The next frame of `kind`; others are skipped.
    pub fn next(&mut self, kind: u8) -> Frame {
        loop {
            let frame = self.frame().unwrap_or_else(|| panic!("the end before a frame of type {kind:#x}"));
            if frame.kind == kind {
                return frame;
            }
        }
    }
}
