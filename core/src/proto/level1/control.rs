//! Control frames and what their payloads say (protocol.md, "Frames of level 1").

use super::bad;
use super::ext::Ext;
use super::header::kind;
use super::ready::PROOF;
use crate::error::{Code, Error, Result, printable};
use crate::limits;

/// A control frame; its channel and id stay in the header.
#[derive(Debug)]
pub(crate) enum Control {
    Nop,
    Auth([u8; PROOF]),
    Ready,
    Ping([u8; 8]),
    Pong([u8; 8]),
    /// The last id that was taken.
    GoAway(u64),
    DrainAck,
    Close(Reason),
    Error(Reason),
    /// The total that may be charged.
    Credit(u64),
    Cancel,
    Refuse(Reason),
}

/// Why a call or the connection ended.
#[derive(Debug)]
pub(crate) struct Reason {
    pub(crate) code: u32,
    pub(crate) text: String,
}

impl Control {
    /// Reads the payload of a control frame of type `of`. A longer one than that type has is legal.
    pub(crate) fn decode(of: u8, payload: &[u8]) -> Result<Control> {
        Ok(match of {
            kind::AUTH => Control::Auth(fixed(payload)?),
            kind::READY => {
                // This version knows none that means anything here.
                Ext::parse(payload)?;
                Control::Ready
            }
            kind::PING => Control::Ping(fixed(payload)?),
            kind::PONG => Control::Pong(fixed(payload)?),
            kind::GOAWAY => {
                // The last id, and a code that changes nothing.
                let [last @ .., _, _, _, _] = fixed::<12>(payload)?;
                Control::GoAway(u64::from_le_bytes(last))
            }
            kind::DRAIN_ACK => Control::DrainAck,
            kind::CLOSE => Control::Close(Reason::decode(payload)?),
            kind::ERROR => Control::Error(Reason::decode(payload)?),
            kind::CREDIT => Control::Credit(u64::from_le_bytes(fixed(payload)?)),
            kind::CANCEL => Control::Cancel,
            kind::REFUSE => Control::Refuse(Reason::decode(payload)?),
            _ => Control::Nop,
        })
    }
}

impl Reason {
    fn decode(payload: &[u8]) -> Result<Reason> {
        let code = u32::from_le_bytes(fixed(payload)?);
        Ok(Reason { code, text: String::from_utf8_lossy(&payload[4..]).into_owned() })
    }

    /// The payload that tells `error`.
    pub(super) fn encode(error: &Error) -> Vec<u8> {
        let mut payload = error.code().number().to_le_bytes().to_vec();
        let text = error.message();
        let mut end = text.len().min(limits::MAX_CONTROL_FRAME - payload.len());
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        payload.extend_from_slice(&text.as_bytes()[..end]);
        payload
    }

    /// The error it stands for; `remote_error` for a code of a later version.
    pub(super) fn error(self) -> Error {
        let known = i32::try_from(self.code).ok().and_then(Code::from_number);
        let text = printable(&self.text);
        match known {
            Some(code) => Error::new(code, text),
            None => Error::new(Code::RemoteError, format!("unknown code {}: {text}", self.code)),
        }
    }
}

fn fixed<const N: usize>(payload: &[u8]) -> Result<[u8; N]> {
    payload.first_chunk::<N>().copied().ok_or_else(|| bad("a control frame is too short"))
}
