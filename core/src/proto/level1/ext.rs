//! Extensions in front of a message (protocol.md, "Extensions").

use bytes::Bytes;

use crate::error::{Code, Error, Result};
use crate::limits;

const DEADLINE: u16 = 1;
const IDEMPOTENCY: u16 = 2;
const TRACE: u16 = 3;
const STATUS: u16 = 4;
const FDS: u16 = 5;
const DROPPED: u16 = 6;
/// In a type: a receiver that does not know it must not go on.
const CRITICAL: u16 = 0x8000;

/// What a message carries beside its payload.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Ext {
    /// Microseconds the caller will wait.
    pub(crate) deadline_us: Option<u64>,
    pub(crate) idempotency: Option<Bytes>,
    pub(crate) trace: Option<Bytes>,
    /// The program failed with this code.
    pub(crate) status: Option<u32>,
    /// Descriptors that came with the frame.
    pub(crate) fds: Option<u8>,
    /// Messages the sender dropped on this channel so far.
    pub(crate) dropped: Option<u64>,
}

impl Ext {
    pub(crate) fn is_empty(&self) -> bool {
        *self == Ext::default()
    }

    /// Appends the block, its length first.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        let at = out.len();
        out.extend_from_slice(&[0, 0]);
        let mut put = |kind: u16, value: &[u8]| {
            out.extend_from_slice(&kind.to_le_bytes());
            out.extend_from_slice(&(value.len() as u16).to_le_bytes());
            out.extend_from_slice(value);
        };
        if let Some(us) = self.deadline_us {
            put(DEADLINE, &us.to_le_bytes());
        }
        if let Some(key) = &self.idempotency {
            put(IDEMPOTENCY, key);
        }
        if let Some(trace) = &self.trace {
            put(TRACE, trace);
        }
        if let Some(status) = self.status {
            put(STATUS, &status.to_le_bytes());
        }
        if let Some(fds) = self.fds {
            put(FDS, &[fds]);
        }
        if let Some(dropped) = self.dropped {
            put(DROPPED, &dropped.to_le_bytes());
        }
        let len = (out.len() - at - 2) as u16;
        out[at..at + 2].copy_from_slice(&len.to_le_bytes());
    }

    /// Reads the block at the start of `bytes`: what it says and how long it is. `None` while it is
    /// incomplete.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Option<(Ext, usize)>> {
        let Some(&[l0, l1]) = bytes.first_chunk::<2>() else { return Ok(None) };
        let len = usize::from(u16::from_le_bytes([l0, l1]));
        if len > limits::MAX_EXTENSIONS {
            return Err(bad(format!("{len} bytes of extensions, the limit is {}", limits::MAX_EXTENSIONS)));
        }
        match bytes.get(2..2 + len) {
            None => Ok(None),
            Some(block) => Ok(Some((Ext::parse(block)?, 2 + len))),
        }
    }

    /// Reads extensions without their length in front.
    pub(crate) fn parse(mut block: &[u8]) -> Result<Ext> {
        let mut ext = Ext::default();
        while !block.is_empty() {
            let Some((&[k0, k1, l0, l1], rest)) = block.split_first_chunk::<4>() else {
                return Err(bad("an extension is cut off"));
            };
            let (kind, len) = (u16::from_le_bytes([k0, k1]), usize::from(u16::from_le_bytes([l0, l1])));
            if rest.len() < len {
                return Err(bad("an extension is longer than its block"));
            }
            let (value, rest) = rest.split_at(len);
            block = rest;
            match kind {
                DEADLINE => once(&mut ext.deadline_us, number(value)?)?,
                IDEMPOTENCY => once(&mut ext.idempotency, key(value)?)?,
                TRACE => once(&mut ext.trace, key(value)?)?,
                STATUS => once(&mut ext.status, u32::from_le_bytes(exact(value)?))?,
                FDS => once(&mut ext.fds, descriptors(value)?)?,
                DROPPED => once(&mut ext.dropped, number(value)?)?,
                unknown if unknown & CRITICAL != 0 => {
                    return Err(bad(format!("the extension {unknown:#06x} is critical and unknown")));
                }
                _ => {}
            }
        }
        Ok(ext)
    }
}

fn once<T>(slot: &mut Option<T>, value: T) -> Result<()> {
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(bad("an extension stands twice")),
    }
}

fn exact<const N: usize>(value: &[u8]) -> Result<[u8; N]> {
    value.try_into().map_err(|_| bad(format!("an extension has {} bytes instead of {N}", value.len())))
}

fn number(value: &[u8]) -> Result<u64> {
    exact(value).map(u64::from_le_bytes)
}

fn descriptors(value: &[u8]) -> Result<u8> {
    let [count] = exact(value)?;
    match usize::from(count) {
        1..=limits::MAX_FDS => Ok(count),
        _ => Err(bad(format!("a frame announces {count} descriptors, the limits are 1 and {}", limits::MAX_FDS))),
    }
}

fn key(value: &[u8]) -> Result<Bytes> {
    match value.len() {
        1..=limits::MAX_KEY => Ok(Bytes::copy_from_slice(value)),
        len => Err(bad(format!("a key or trace has {len} bytes, the limits are 1 and {}", limits::MAX_KEY))),
    }
}

fn bad(what: impl Into<String>) -> Error {
    Error::new(Code::ProtocolError, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn full() -> Ext {
        Ext {
            deadline_us: Some(7),
            idempotency: Some(Bytes::from_static(b"key")),
            trace: Some(Bytes::from_static(b"t")),
            status: Some(9),
            fds: Some(2),
            dropped: Some(u64::MAX),
        }
    }

    #[test]
    fn what_is_written_is_read_and_an_incomplete_block_waits() {
        let mut bytes = Vec::new();
        full().encode(&mut bytes);
        let len = bytes.len();
        bytes.extend_from_slice(b"rest");
        assert_eq!(Ext::decode(&bytes).unwrap(), Some((full(), len)));
        for cut in 0..len {
            assert_eq!(Ext::decode(&bytes[..cut]).unwrap(), None, "{cut}");
        }
    }

    #[test]
    fn what_breaks_a_rule_is_an_error_and_what_is_unknown_is_not() {
        for (block, good) in [
            (&[0xFF, 0x7F, 1, 0, 9][..], true),
            (&[0x99, 0x00, 0, 0], true),
            (&[0x99, 0x80, 0, 0], false),
            (&[1, 0, 4, 0, 1, 2, 3, 4], false),
            (&[2, 0, 0, 0], false),
            (&[4, 0, 4, 0, 1, 0, 0, 0, 4, 0, 4, 0, 1, 0, 0, 0], false),
            (&[4, 0, 4, 0, 1], false),
            (&[4, 0, 4], false),
        ] {
            let mut bytes = (block.len() as u16).to_le_bytes().to_vec();
            bytes.extend_from_slice(block);
            assert_eq!(Ext::decode(&bytes).is_ok(), good, "{block:?}");
        }
        assert!(Ext::decode(&1025u16.to_le_bytes()).is_err());
    }

    #[test]
    fn extensions_are_written_behind_whatever_is_there() {
        let mut bytes = b"before".to_vec();
        full().encode(&mut bytes);
        assert!(bytes.starts_with(b"before"));
        assert_eq!(Ext::decode(&bytes[6..]).unwrap(), Some((full(), bytes.len() - 6)));
        assert!(!full().is_empty() && Ext::default().is_empty());
        for part in [
            Ext { deadline_us: Some(0), ..Ext::default() },
            Ext { status: Some(0), ..Ext::default() },
            Ext { dropped: Some(1), ..Ext::default() },
        ] {
            let mut bytes = Vec::new();
            part.encode(&mut bytes);
            assert_eq!(Ext::parse(&bytes[2..]).unwrap(), part);
        }
    }

    #[test]
    fn each_extension_has_its_limits_and_stands_once() {
        let one = |kind: u16, len: usize, value: u8| {
            let mut block = [kind.to_le_bytes(), (len as u16).to_le_bytes()].concat();
            block.resize(4 + len, value);
            block
        };
        let max = limits::MAX_KEY;
        for (kind, len, value, good) in [
            (DEADLINE, 8, 1, true),
            (DEADLINE, 7, 1, false),
            (DEADLINE, 9, 1, false),
            (IDEMPOTENCY, 0, 1, false),
            (IDEMPOTENCY, 1, 1, true),
            (IDEMPOTENCY, max, 1, true),
            (IDEMPOTENCY, max + 1, 1, false),
            (TRACE, 0, 1, false),
            (TRACE, max, 1, true),
            (TRACE, max + 1, 1, false),
            (STATUS, 4, 1, true),
            (STATUS, 3, 1, false),
            (FDS, 1, 0, false),
            (FDS, 1, 1, true),
            (FDS, 1, limits::MAX_FDS as u8, true),
            (FDS, 1, limits::MAX_FDS as u8 + 1, false),
            (FDS, 2, 1, false),
            (DROPPED, 8, 1, true),
            (DROPPED, 4, 1, false),
            (CRITICAL, 0, 1, false),
            (CRITICAL - 1, 0, 1, true),
        ] {
            let block = one(kind, len, value);
            assert_eq!(Ext::parse(&block).is_ok(), good, "{kind:#06x} {len} {value}");
            let twice = Ext::parse(&block.repeat(2)).is_ok();
            assert_eq!(twice, good && kind == CRITICAL - 1, "{kind:#06x} twice");
            if good && kind != CRITICAL - 1 {
                assert_ne!(Ext::parse(&block).unwrap(), Ext::default(), "{kind:#06x}");
            }
        }
        assert_eq!(Ext::parse(&one(FDS, 1, 3)).unwrap().fds, Some(3));
        assert_eq!(Ext::parse(&one(STATUS, 4, 0x11)).unwrap().status, Some(0x1111_1111));
    }

    #[test]
    fn a_block_is_as_long_as_its_limit_and_no_longer() {
        let most = limits::MAX_EXTENSIONS;
        let block = |len: usize| {
            let unknown = [0x99, 0, (len - 4) as u8, ((len - 4) >> 8) as u8];
            let mut bytes = [&(len as u16).to_le_bytes()[..], &unknown].concat();
            bytes.resize(2 + len, 0);
            bytes
        };
        assert_eq!(Ext::decode(&block(most)).unwrap(), Some((Ext::default(), 2 + most)));
        assert!(Ext::decode(&block(most + 1)).is_err());
        // Which is told from its length alone.
        assert_eq!(Ext::decode(&block(most)[..2]).unwrap(), None);
        assert!(Ext::decode(&block(most + 1)[..2]).is_err());
        assert_eq!(Ext::decode(&[0, 0, 1]).unwrap(), Some((Ext::default(), 2)));
    }
}
