//! A level-0 peer made of nothing but bytes.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;

use super::{HELLO, SOON, frame};

/// A peer made of nothing but bytes.
pub struct Raw(pub UnixStream);

impl Raw {
    pub fn connect(address: &str) -> Raw {
        let stream = UnixStream::connect(address).unwrap();
        stream.set_read_timeout(Some(SOON)).unwrap();
        Raw(stream)
    }

    /// Connects and shakes hands as a stock client does.
    pub fn shaken(address: &str) -> Raw {
        let mut raw = Raw::connect(address);
        raw.write(&frame(0, HELLO));
        assert_eq!(raw.frame().expect("a response").0, 0);
        raw
    }

    pub fn write(&mut self, bytes: &[u8]) {
        self.0.write_all(bytes).unwrap();
    }

    /// The next frame, or `None` at the end of the stream.
    pub fn frame(&mut self) -> Option<(u16, Vec<u8>)> {
        let mut header = [0; 8];
        match self.0.read_exact(&mut header) {
            Ok(()) => {}
            Err(_) => return None,
        }
        assert_eq!(&header[..2], b"IP");
        let len = u32::from_le_bytes(header[2..6].try_into().unwrap()) as usize;
        let mut payload = vec![0; len];
        self.0.read_exact(&mut payload).unwrap();
        Some((u16::from_le_bytes(header[6..].try_into().unwrap()), payload))
    }

    /// Asserts that the other side closes.
    pub fn closed(&mut self) {
        if let Some((channel, payload)) = self.frame() {
            panic!("frame on {channel} instead of the end: {}", String::from_utf8_lossy(&payload));
        }
    }
}
