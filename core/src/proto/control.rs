//! The JSON messages on channel 0 after the handshake (protocol.md, "Control").

use serde::Deserialize;

use crate::error::{Code, Error, Result};
use crate::proto::json;

/// The types of control messages level 0 knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Control {
    Ping,
    Pong,
    ShutdownRequest,
    ShutdownAck,
    ShutdownForce,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(rename = "type", borrow)]
    kind: std::borrow::Cow<'a, str>,
}

impl Control {
    /// The exact bytes sent. `ShutdownForce` is never sent: a stock peer treats it as an offence.
    pub(crate) const fn encode(self) -> &'static [u8] {
        match self {
            Control::Ping => br#"{"type":"ping"}"#,
            Control::Pong => br#"{"type":"pong"}"#,
            Control::ShutdownRequest => br#"{"type":"shutdown_request"}"#,
            Control::ShutdownAck => br#"{"type":"shutdown_ack"}"#,
            Control::ShutdownForce => br#"{"type":"shutdown_force"}"#,
        }
    }

    /// Reads a control message; its `payload` and `timestamp` members carry nothing level 0 uses.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Control> {
        let envelope: Envelope<'_> = json::object(bytes)
            .map_err(|e| Error::new(Code::BadControl, format!("a control message is not understood: {e}")))?;
        match &*envelope.kind {
            "ping" => Ok(Control::Ping),
            "pong" => Ok(Control::Pong),
            "shutdown_request" => Ok(Control::ShutdownRequest),
            "shutdown_ack" => Ok(Control::ShutdownAck),
            "shutdown_force" => Ok(Control::ShutdownForce),
            other => {
                let shown: String = other.chars().take(64).collect();
                Err(Error::new(Code::UnknownControl, format!("a control message has the unknown type {shown:?}")))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_types_round_trip() {
        use Control::*;
        for control in [Ping, Pong, ShutdownRequest, ShutdownAck, ShutdownForce] {
            assert_eq!(Control::decode(control.encode()).unwrap(), control);
        }
    }

    #[test]
    fn extra_members_and_spaces_are_fine() {
        let text = br#" { "timestamp": "x", "payload": {"reason": [1, {}]}, "type": "shutdown_r\u0065quest" } "#;
        assert_eq!(Control::decode(text).unwrap(), Control::ShutdownRequest);
    }

    #[test]
    fn bad_ones_have_their_own_codes() {
        for text in [
            "",
            "{",
            "[]",
            r#"["ping"]"#,
            "{}",
            r#"{"type":1}"#,
            r#"{"type":"ping"}x"#,
            r#"{"type":"ping","type":"ping"}"#,
        ] {
            assert_eq!(Control::decode(text.as_bytes()).unwrap_err().code(), Code::BadControl, "{text}");
        }
        assert_eq!(Control::decode(br#"{"type":"reboot"}"#).unwrap_err().code(), Code::UnknownControl);
    }
}
