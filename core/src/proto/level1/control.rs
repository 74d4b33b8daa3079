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

    /// The error that ends a call: what the other side may say of one, `remote_error` for anything else.
    pub(super) fn of_call(self) -> Error {
        self.error(Code::RemoteError, |code| {
            matches!(
                code,
                Code::RemoteError
                    | Code::CallAbandoned
                    | Code::Cancelled
                    | Code::Timeout
                    | Code::QueueFull
                    | Code::Draining
            )
        })
    }

    /// The error that ends the connection: what the other side may say of it, `connection_lost` for anything else. Before it
    /// is `ready` the other side may refuse it.
    pub(super) fn of_connection(self, ready: bool) -> Error {
        if self.code == Code::Closed.number().cast_unsigned() {
            return Error::new(Code::PeerClosed, "the other side closed the connection");
        }
        let error = self.error(Code::ConnectionLost, |code| match ready {
            true => code == Code::PeerUnresponsive || is_of_protocol(code),
            false => is_refusal(code),
        });
        Error::new(error.code(), format!("the other side ended the connection: {}", error.message()))
    }

    /// The error of its code if that is `fit`, otherwise `or`. A code of this side's own would have the program, or the library,
    /// take for its own what another process says.
    fn error(self, or: Code, fit: impl FnOnce(Code) -> bool) -> Error {
        let known = i32::try_from(self.code).ok().and_then(Code::from_number);
        let text = printable(&self.text);
        match known {
            Some(code) if fit(code) => Error::new(code, text),
            Some(code) => Error::new(or, format!("{}: {text}", code.name())),
            None => Error::new(or, format!("unknown code {}: {text}", self.code)),
        }
    }
}

/// What either side may end a connection for.
fn is_of_protocol(code: Code) -> bool {
    (300..400).contains(&code.number())
}

/// What an acceptor may refuse a connection for. Other codes speak of this side, or of a call, and would mislead.
pub(crate) fn is_refusal(code: Code) -> bool {
    matches!(code, Code::PermissionDenied | Code::Timeout | Code::QueueFull) || is_of_protocol(code)
}

fn fixed<const N: usize>(payload: &[u8]) -> Result<[u8; N]> {
    payload.first_chunk::<N>().copied().ok_or_else(|| bad("a control frame is too short"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_type_says_its_own_and_a_longer_payload_is_legal() {
        let payload: Vec<u8> = (1..=40).collect();
        let token = [1, 2, 3, 4, 5, 6, 7, 8];
        let number = u64::from_le_bytes(token);
        let proof: [u8; PROOF] = std::array::from_fn(|n| n as u8 + 1);
        let read = |of| Control::decode(of, &payload).unwrap();
        assert!(matches!(read(kind::AUTH), Control::Auth(p) if p == proof));
        assert!(matches!(read(kind::PING), Control::Ping(t) if t == token));
        assert!(matches!(read(kind::PONG), Control::Pong(t) if t == token));
        assert!(matches!(read(kind::GOAWAY), Control::GoAway(last) if last == number));
        assert!(matches!(read(kind::CREDIT), Control::Credit(total) if total == number));
        assert!(matches!(read(kind::DRAIN_ACK), Control::DrainAck));
        assert!(matches!(read(kind::CANCEL), Control::Cancel));
        assert!(matches!(Control::decode(kind::READY, &[]), Ok(Control::Ready)));
        assert!(matches!(Control::decode(kind::NOP, &[]), Ok(Control::Nop)));
        let told = |reason: &Reason| (reason.code, reason.text.len()) == (0x0403_0201, 36);
        assert!(matches!(read(kind::CLOSE), Control::Close(reason) if told(&reason)));
        assert!(matches!(read(kind::ERROR), Control::Error(reason) if told(&reason)));
        assert!(matches!(read(kind::REFUSE), Control::Refuse(reason) if told(&reason)));
        // Extensions that are none.
        assert!(Control::decode(kind::READY, &payload).is_err());
    }

    #[test]
    fn each_type_has_a_shortest_payload() {
        for (of, shortest) in [
            (kind::AUTH, PROOF),
            (kind::PING, 8),
            (kind::PONG, 8),
            (kind::GOAWAY, 12),
            (kind::CLOSE, 4),
            (kind::ERROR, 4),
            (kind::CREDIT, 8),
            (kind::REFUSE, 4),
        ] {
            let payload = vec![0; shortest];
            assert!(Control::decode(of, &payload).is_ok(), "{of:#04x}");
            let error = Control::decode(of, &payload[1..]).unwrap_err();
            assert_eq!(error.code(), Code::ProtocolError, "{of:#04x}");
        }
    }

    #[test]
    fn a_reason_fills_its_frame_at_most_and_is_cut_between_characters() {
        let number = Code::QueueFull.number().to_le_bytes();
        let room = limits::MAX_CONTROL_FRAME - 4;
        for (text, kept) in [
            (String::new(), 0),
            ("short".into(), 5),
            ("x".repeat(room), room),
            ("x".repeat(room + 1), room),
            // 1020 is three times 340: one byte in front, and the last character does not fit.
            ("€".repeat(1000), room),
            (format!("x{}", "€".repeat(1000)), room - 2),
        ] {
            let payload = Reason::encode(&Error::new(Code::QueueFull, text.clone()));
            assert_eq!((&payload[..4], payload.len()), (&number[..], 4 + kept));
            assert_eq!(payload[4..], text.as_bytes()[..kept]);
        }
    }

    #[test]
    fn only_codes_that_are_the_other_sides_to_tell_are_told_as_they_are() {
        let told = |code: Code| Reason { code: code.number().cast_unsigned(), text: "why".into() };
        let of_call =
            [Code::RemoteError, Code::CallAbandoned, Code::Cancelled, Code::Timeout, Code::QueueFull, Code::Draining];
        let of_opening = [Code::PermissionDenied, Code::Timeout, Code::QueueFull];
        for &code in Code::ALL {
            let protocol = (300..400).contains(&code.number());
            let cases = [
                (told(code).of_call(), of_call.contains(&code), Code::RemoteError),
                (told(code).of_connection(true), protocol || code == Code::PeerUnresponsive, Code::ConnectionLost),
                (told(code).of_connection(false), protocol || of_opening.contains(&code), Code::ConnectionLost),
            ];
            for (at, (error, as_it_is, otherwise)) in cases.into_iter().enumerate() {
                if at > 0 && code == Code::Closed {
                    assert_eq!(error.code(), Code::PeerClosed);
                    continue;
                }
                assert_eq!(error.code(), if as_it_is { code } else { otherwise }, "{code:?} in place {at}");
                assert!(error.message().ends_with("why"), "{error}");
                assert_eq!(error.message().contains(code.name()), !as_it_is, "{error}");
            }
        }
    }

    #[test]
    fn a_code_of_a_later_version_is_told_as_a_number() {
        for code in [999_999, u32::MAX] {
            let told = || Reason { code, text: "why".into() };
            let cases = [
                (told().of_call(), Code::RemoteError),
                (told().of_connection(true), Code::ConnectionLost),
                (told().of_connection(false), Code::ConnectionLost),
            ];
            for (error, stands) in cases {
                assert_eq!(error.code(), stands);
                assert!(error.message().contains(&code.to_string()) && error.message().contains("why"), "{error}");
            }
        }
    }
}
