//! The JSON handshake: one message each way on channel 0 (protocol.md, "Handshake").

use serde::{Deserialize, Serialize};

use crate::error::{Code, Error, Result, printable};
use crate::limits;
use crate::proto::Secret;
use crate::proto::channel::Channel;
use crate::proto::json;
use crate::proto::level1::is_refusal;
use crate::proto::offer::{Own, Theirs};

pub(crate) const PROTOCOL: &str = "ipcprims";
pub(crate) const VERSION: &str = "1.0";
/// What [`VERSION`] says.
const OURS: (u16, u16) = (1, 0);

#[derive(Serialize, Deserialize)]
struct RawRequest {
    protocol: String,
    version: String,
    channels: Vec<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    auth_token: Option<String>,
    /// Kept as a value: nothing in it may spoil a handshake that level 0 accepts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hostlane: Option<serde_json::Value>,
}

#[derive(Serialize, Deserialize)]
struct RawResponse {
    protocol: String,
    version: String,
    channels: Vec<u16>,
    peer_id: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hostlane: Option<serde_json::Value>,
}

#[derive(Serialize, Deserialize)]
struct RawRefusal {
    protocol: String,
    version: String,
    error: RawReason,
}

#[derive(Serialize, Deserialize)]
struct RawReason {
    code: i32,
    #[serde(default)]
    name: String,
    #[serde(default)]
    message: String,
}

/// What the acceptor learnt and granted.
#[derive(Debug)]
pub(crate) struct Granted {
    pub(crate) channels: Vec<Channel>,
    pub(crate) instance: Option<String>,
    /// What the connector offered, if the connection is to be on level 1.
    pub(crate) level1: Option<Theirs>,
}

/// What the connector was granted.
#[derive(Debug)]
pub(crate) struct Welcome {
    pub(crate) channels: Vec<Channel>,
    pub(crate) peer_id: String,
    /// What the acceptor answered, if the connection is on level 1.
    pub(crate) level1: Option<Theirs>,
}

/// The connector's first message.
pub(crate) fn request(channels: &[Channel], token: Option<&Secret>, own: &Own) -> Vec<u8> {
    to_json(&RawRequest {
        protocol: PROTOCOL.to_owned(),
        version: VERSION.to_owned(),
        channels: channels.iter().map(|c| c.number()).collect(),
        auth_token: token.map(|t| t.expose().to_owned()),
        hostlane: Some(own.request()),
    })
}

/// Judges a request: the grant, or the reason to refuse.
pub(crate) fn judge(payload: &[u8], served: &[Channel], token: Option<&Secret>, own: &Own) -> Result<Granted> {
    let raw: RawRequest = json::object(payload)
        .map_err(|e| Error::new(Code::BadHandshake, format!("the handshake request is not understood: {e}")))?;
    // Form before meaning, so that the reason does not depend on which rule happens to be looked at first.
    check_protocol_form(&raw.protocol)?;
    let version = parse_version(&raw.version)?;
    if raw.channels.len() > limits::MAX_CHANNELS {
        return Err(bad(format!("{} channels are listed, the limit is {}", raw.channels.len(), limits::MAX_CHANNELS)));
    }
    if raw.channels.contains(&0) {
        return Err(bad("channel 0 is listed"));
    }
    if let Some(given) = &raw.auth_token
        && (given.is_empty() || given.len() > limits::MAX_AUTH_TOKEN)
    {
        return Err(bad(format!("auth_token must have 1 to {} bytes", limits::MAX_AUTH_TOKEN)));
    }
    check_protocol(&raw.protocol)?;
    if !compatible(version, OURS) {
        return Err(version_mismatch(&raw.version));
    }
    if let Some(expected) = token
        && !raw.auth_token.as_deref().is_some_and(|given| expected.matches(given))
    {
        return Err(Error::new(Code::AuthenticationFailed, "the auth_token is missing or wrong"));
    }
    let (level1, instance) = own.judge_request(raw.hostlane)?;
    let mut channels: Vec<Channel> = Vec::new();
    for channel in raw.channels.iter().map(|&n| Channel::from_wire(n)) {
        let reserved = Channel::new(channel.number()).is_err();
        if served.contains(&channel) && !reserved && !channels.contains(&channel) {
            channels.push(channel);
        }
    }
    if channels.is_empty() {
        return Err(Error::new(Code::NoCommonChannel, "no requested channel is served here"));
    }
    Ok(Granted { channels, instance, level1 })
}

/// The acceptor's answer to a good request.
pub(crate) fn response(channels: &[Channel], peer_id: &str, member: Option<serde_json::Value>) -> Vec<u8> {
    to_json(&RawResponse {
        protocol: PROTOCOL.to_owned(),
        version: VERSION.to_owned(),
        channels: channels.iter().map(|c| c.number()).collect(),
        peer_id: peer_id.to_owned(),
        hostlane: member,
    })
}

/// The acceptor's answer to a bad one. It has neither `channels` nor `peer_id`, so that no stock
/// client can take it for success.
pub(crate) fn refusal(reason: &Error) -> Vec<u8> {
    to_json(&RawRefusal {
        protocol: PROTOCOL.to_owned(),
        version: VERSION.to_owned(),
        error: RawReason {
            code: reason.code().number(),
            name: reason.code().name().to_owned(),
            message: reason.message().to_owned(),
        },
    })
}

/// Reads the acceptor's answer on the connector's side.
pub(crate) fn welcome(payload: &[u8], asked: &[Channel], own: &Own) -> Result<Welcome> {
    if let Ok(refusal) = json::object::<RawRefusal>(payload) {
        let text = printable(&refusal.error.message);
        return Err(match Code::from_number(refusal.error.code).filter(|code| is_refusal(*code)) {
            Some(code) => Error::new(code, format!("the server refused the handshake: {text}")),
            None => Error::new(
                Code::Refused,
                format!("the server refused the handshake with the code {}: {text}", refusal.error.code),
            ),
        });
    }
    let raw: RawResponse = json::object(payload)
        .map_err(|e| Error::new(Code::BadHandshake, format!("the handshake response is not understood: {e}")))?;
    check_protocol_form(&raw.protocol)?;
    let version = parse_version(&raw.version)?;
    if raw.peer_id.is_empty() || raw.peer_id.len() > limits::MAX_PEER_ID || raw.peer_id.chars().any(char::is_control) {
        return Err(bad(format!("peer_id must have 1 to {} bytes and no control characters", limits::MAX_PEER_ID)));
    }
    check_protocol(&raw.protocol)?;
    if !compatible(OURS, version) {
        return Err(version_mismatch(&raw.version));
    }
    let mut channels: Vec<Channel> = Vec::new();
    for channel in raw.channels.iter().map(|&n| Channel::from_wire(n)) {
        if !asked.contains(&channel) {
            return Err(bad(format!("the server granted channel {}, which was not asked for", channel.number())));
        }
        if !channels.contains(&channel) {
            channels.push(channel);
        }
    }
    if channels.is_empty() {
        return Err(Error::new(Code::NoCommonChannel, "the server granted no channel"));
    }
    let level1 = own.judge_response(raw.hostlane)?;
    Ok(Welcome { channels, peer_id: raw.peer_id, level1 })
}

fn check_protocol_form(protocol: &str) -> Result<()> {
    if protocol.is_empty() || protocol.len() > limits::MAX_PROTOCOL {
        return Err(bad(format!("protocol must have 1 to {} bytes", limits::MAX_PROTOCOL)));
    }
    Ok(())
}

fn check_protocol(protocol: &str) -> Result<()> {
    if protocol != PROTOCOL {
        return Err(Error::new(Code::ProtocolMismatch, format!("the protocol is {protocol:?}, expected {PROTOCOL:?}")));
    }
    Ok(())
}

fn parse_version(version: &str) -> Result<(u16, u16)> {
    let digits = |s: &str| s.bytes().all(|b| b.is_ascii_digit()).then(|| s.parse::<u16>().ok()).flatten();
    version
        .split_once('.')
        .filter(|_| version.len() <= limits::MAX_VERSION)
        .and_then(|(major, minor)| Some((digits(major)?, digits(minor)?)))
        .ok_or_else(|| bad("version must be two numbers up to 65535 with a dot between"))
}

/// The same major number, and a connector that knows at least the acceptor's minor.
fn compatible(connector: (u16, u16), acceptor: (u16, u16)) -> bool {
    connector.0 == acceptor.0 && connector.1 >= acceptor.1
}

fn version_mismatch(theirs: &str) -> Error {
    Error::new(Code::VersionMismatch, format!("the other side speaks version {theirs}, this side {VERSION}"))
}

fn bad(message: impl Into<String>) -> Error {
    Error::new(Code::BadHandshake, message)
}

fn to_json(value: &impl Serialize) -> Vec<u8> {
    // Plain structs of strings and numbers cannot fail to serialise.
    serde_json::to_vec(value).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::level1::Limits;
    use crate::proto::offer::Level;

    fn zero() -> Own {
        Own {
            level: Level::Zero,
            instance: "00112233445566778899aabbccddeeff".to_owned(),
            nonce: None,
            features: Vec::new(),
            limits: Limits::default(),
            grease: 0,
        }
    }

    fn verdict(text: &str) -> Code {
        judge(text.as_bytes(), &Channel::DEFAULT, None, &zero()).unwrap_err().code()
    }

    #[test]
    fn a_request_is_stock_plus_one_member() {
        let bytes = request(&Channel::DEFAULT, None, &zero());
        let text = String::from_utf8(bytes.clone()).unwrap();
        assert_eq!(
            text,
            r#"{"protocol":"ipcprims","version":"1.0","channels":[1,2,3,4],"hostlane":{"instance":"00112233445566778899aabbccddeeff"}}"#
        );
        let granted = judge(&bytes, &Channel::DEFAULT, None, &zero()).unwrap();
        assert_eq!(granted.channels, Channel::DEFAULT);
        assert_eq!(granted.instance.as_deref(), Some("00112233445566778899aabbccddeeff"));
    }

    #[test]
    fn grants_keep_the_client_order_and_drop_duplicates_and_reserved() {
        let text =
            r#"{"protocol":"ipcprims","version":"1.7","channels":[300,4,9,4,1,300,77],"x":[],"auth_token":null}"#;
        let served = [Channel::COMMAND, Channel::ERROR, Channel::new(300).unwrap()];
        let granted = judge(text.as_bytes(), &served, None, &zero()).unwrap();
        assert_eq!(granted.channels.iter().map(|c| c.number()).collect::<Vec<_>>(), [300, 4, 1]);
    }

    #[test]
    fn each_fault_has_its_reason() {
        let base = |p: &str, v: &str, c: &str| format!(r#"{{"protocol":"{p}","version":"{v}","channels":[{c}]}}"#);
        assert_eq!(verdict("{"), Code::BadHandshake);
        assert_eq!(verdict(r#"["ipcprims","1.0",[1]]"#), Code::BadHandshake);
        let latin = b"{\"protocol\":\"ipcprims\",\"version\":\"1.0\",\"channels\":[1],\"x\":\"\xe9\"}";
        assert_eq!(judge(latin, &Channel::DEFAULT, None, &zero()).unwrap_err().code(), Code::BadHandshake);
        assert_eq!(verdict(&(base("ipcprims", "1.0", "1") + "x")), Code::BadHandshake);
        assert_eq!(verdict(&base("other", "1.0", "1")), Code::ProtocolMismatch);
        assert_eq!(verdict(&base("", "1.0", "1")), Code::BadHandshake);
        assert_eq!(verdict(&base("ipcprims", "2.0", "1")), Code::VersionMismatch);
        for version in ["1", "1.", ".0", "1.0.0", "1.+1", "65536.0", "1.00000000000000000", "a.b"] {
            assert_eq!(verdict(&base("ipcprims", version, "1")), Code::BadHandshake, "{version}");
        }
        assert_eq!(verdict(&base("ipcprims", "1.0", "0,1")), Code::BadHandshake);
        assert_eq!(verdict(&base("ipcprims", "1.0", "70000")), Code::BadHandshake);
        assert_eq!(verdict(&base("ipcprims", "1.0", "")), Code::NoCommonChannel);
        assert_eq!(verdict(&base("ipcprims", "1.0", "9")), Code::NoCommonChannel);
        assert_eq!(verdict(&base("ipcprims", "1.0", &["1"; 257].join(","))), Code::BadHandshake);
        assert!(
            judge(base("ipcprims", "1.0", &["1"; 256].join(",")).as_bytes(), &Channel::DEFAULT, None, &zero()).is_ok()
        );
    }

    #[test]
    fn limits_are_inclusive() {
        let of = |protocol: &str, version: &str, token: &str| {
            let text =
                format!(r#"{{"protocol":"{protocol}","version":"{version}","channels":[1],"auth_token":"{token}"}}"#);
            judge(text.as_bytes(), &Channel::DEFAULT, None, &zero()).map(|_| ()).map_err(|error| error.code())
        };
        let name = |len: usize| "p".repeat(len);
        assert_eq!(of(&name(limits::MAX_PROTOCOL), "1.0", "t"), Err(Code::ProtocolMismatch));
        assert_eq!(of(&name(limits::MAX_PROTOCOL + 1), "1.0", "t"), Err(Code::BadHandshake));
        let version = |len: usize| format!("1.{}0", "0".repeat(len - 3));
        assert_eq!(of(PROTOCOL, &version(limits::MAX_VERSION), "t"), Ok(()));
        assert_eq!(of(PROTOCOL, &version(limits::MAX_VERSION + 1), "t"), Err(Code::BadHandshake));
        assert_eq!(of(PROTOCOL, "1.0", &name(limits::MAX_AUTH_TOKEN)), Ok(()));
        assert_eq!(of(PROTOCOL, "1.0", &name(limits::MAX_AUTH_TOKEN + 1)), Err(Code::BadHandshake));
        assert_eq!(of(PROTOCOL, "1.0", ""), Err(Code::BadHandshake));
        let id = |len: usize| {
            let bytes = response(&[Channel::DATA], &name(len), None);
            welcome(&bytes, &Channel::DEFAULT, &zero()).map(|_| ()).map_err(|error| error.code())
        };
        assert_eq!((id(limits::MAX_PEER_ID), id(limits::MAX_PEER_ID + 1)), (Ok(()), Err(Code::BadHandshake)));
    }

    #[test]
    fn a_server_refuses_for_reasons_of_its_own_alone() {
        let refused = |code: Code| {
            let error = welcome(&refusal(&Error::new(code, "no")), &Channel::DEFAULT, &zero()).unwrap_err();
            error.code()
        };
        for code in [Code::PermissionDenied, Code::Timeout, Code::QueueFull, Code::BadHandshake, Code::NoCommonChannel]
        {
            assert_eq!(refused(code), code);
        }
        for code in [Code::Closed, Code::Internal, Code::InvalidArgument] {
            assert_eq!(refused(code), Code::Refused);
        }
    }

    #[test]
    fn an_older_acceptor_is_spoken_to_and_a_newer_one_not() {
        assert!(compatible((1, 0), (1, 0)) && compatible((1, 7), (1, 0)));
        assert!(!compatible((1, 0), (1, 1)) && !compatible((2, 0), (1, 0)) && !compatible((0, 9), (1, 0)));
    }

    #[test]
    fn a_secret_is_needed_where_one_is_set() {
        let secret = Secret::new("s3cret").unwrap();
        let bytes = request(&Channel::DEFAULT, Some(&secret), &zero());
        assert!(judge(&bytes, &Channel::DEFAULT, Some(&secret), &zero()).is_ok());
        let other = Secret::new("s3cres").unwrap();
        for bytes in [request(&Channel::DEFAULT, Some(&other), &zero()), request(&Channel::DEFAULT, None, &zero())] {
            let error = judge(&bytes, &Channel::DEFAULT, Some(&secret), &zero()).unwrap_err();
            assert_eq!(error.code(), Code::AuthenticationFailed);
            assert!(!error.message().contains("s3cre"));
        }
    }

    #[test]
    fn a_refusal_reaches_the_connector_as_the_same_code() {
        let reason = Error::new(Code::VersionMismatch, "too old");
        let error = welcome(&refusal(&reason), &Channel::DEFAULT, &zero()).unwrap_err();
        assert_eq!(error.code(), Code::VersionMismatch);
        assert!(error.message().contains("too old"));
        for code in [7, Code::Interrupted.number(), Code::Forked.number(), Code::Panic.number()] {
            let strange = format!(r#"{{"protocol":"ipcprims","version":"1.0","error":{{"code":{code}}}}}"#);
            assert_eq!(welcome(strange.as_bytes(), &Channel::DEFAULT, &zero()).unwrap_err().code(), Code::Refused);
        }
        let reason = Error::new(Code::VersionMismatch, "a\u{1b}[2Jb\nc");
        let error = welcome(&refusal(&reason), &Channel::DEFAULT, &zero()).unwrap_err();
        assert!(error.message().ends_with(r"a\u{1b}[2Jb\nc"), "{error}");
        let secret = br#"{"protocol":"ipcprims","version":"1.0","channels":[1],"auth_token":77123456}"#;
        let error = judge(secret, &Channel::DEFAULT, None, &zero()).unwrap_err();
        assert_eq!(error.code(), Code::BadHandshake);
        assert!(!error.message().contains("77123"), "{error}");
    }

    #[test]
    fn a_bad_welcome_is_refused() {
        let ok = response(&[Channel::DATA], "peer-1", None);
        let welcome_ok = welcome(&ok, &Channel::DEFAULT, &zero()).unwrap();
        assert_eq!(welcome_ok.peer_id, "peer-1");
        assert_eq!(welcome(&ok, &[Channel::COMMAND], &zero()).unwrap_err().code(), Code::BadHandshake);
        assert_eq!(
            welcome(&response(&[], "p", None), &Channel::DEFAULT, &zero()).unwrap_err().code(),
            Code::NoCommonChannel
        );
        assert_eq!(
            welcome(&response(&[Channel::DATA], "", None), &Channel::DEFAULT, &zero()).unwrap_err().code(),
            Code::BadHandshake
        );
        for id in ["a\u{7}b", &"x".repeat(129)] {
            let bytes = response(&[Channel::DATA], id, None);
            assert_eq!(welcome(&bytes, &Channel::DEFAULT, &zero()).unwrap_err().code(), Code::BadHandshake);
        }
        let newer = br#"{"protocol":"ipcprims","version":"1.1","channels":[1],"peer_id":"p"}"#;
        assert_eq!(welcome(newer, &Channel::DEFAULT, &zero()).unwrap_err().code(), Code::VersionMismatch);
        assert_eq!(welcome(b"{}", &Channel::DEFAULT, &zero()).unwrap_err().code(), Code::BadHandshake);
    }
}
