//! The `hostlane` member of the handshake: what agrees on level 1 (protocol.md, section 14).

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::error::{Code, Error, Result};
use crate::limits;
use crate::proto::level1::Limits;

/// The wire level of this page's second part.
const LEVEL_1: u64 = 1;
const METHOD: &str = "hmac-sha256";
/// The feature of carrying descriptors.
pub(crate) const FDS: &str = "fds";
/// Sent on purpose, so that no peer comes to rely on the absence of unknown names.
const GREASE: &str = "grease";

/// Which wire levels an endpoint agrees to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Level {
    /// The highest that both sides speak.
    #[default]
    Auto,
    /// Level 0 alone: as a stock ipcprims peer.
    Zero,
    /// Level 1 or nothing: `version_mismatch` otherwise.
    One,
}

/// What this side offers or answers.
#[derive(Debug, Clone)]
pub(crate) struct Own {
    pub(crate) level: Level,
    pub(crate) instance: String,
    /// Set if this side has a secret to prove: random, of this connection alone.
    pub(crate) nonce: Option<String>,
    pub(crate) features: Vec<&'static str>,
    pub(crate) limits: Limits,
    pub(crate) grease: u8,
}

/// What the other side said, as far as it matters here.
#[derive(Debug, Clone)]
pub(crate) struct Theirs {
    pub(crate) instance: Option<String>,
    /// Those that both sides have.
    pub(crate) features: Vec<&'static str>,
    pub(crate) limits: Limits,
    /// It has a secret to prove.
    pub(crate) auth: bool,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Member {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    versions: Vec<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    version: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    instance: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    features: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    limits: Option<Numbers>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth: Option<Auth>,
    #[serde(skip_serializing_if = "Option::is_none")]
    grease: Option<Value>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Numbers {
    max_message: Option<u64>,
    max_calls: Option<u64>,
    window: Option<u64>,
    stream_window: Option<u64>,
    keepalive_ms: Option<u64>,
}

#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Auth {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    methods: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    method: Option<String>,
    nonce: String,
}

impl Own {
    /// The member of a request.
    pub(crate) fn request(&self) -> Value {
        let mut member = Member { instance: Some(self.instance.clone()), ..Member::default() };
        if self.level != Level::Zero {
            member.versions = vec![LEVEL_1];
            member.features = self.features.iter().map(|f| (*f).to_owned()).collect();
            member.features.push(format!("{GREASE}-{:02x}", self.grease));
            member.limits = Some(self.numbers());
            member.auth =
                self.nonce.clone().map(|nonce| Auth { methods: vec![METHOD.to_owned()], method: None, nonce });
            member.grease = Some(Value::from(self.grease));
        }
        value(member)
    }

    /// The member of the response to a request that `theirs` was read from.
    pub(crate) fn response(&self, theirs: &Theirs) -> Value {
        value(Member {
            version: Some(LEVEL_1),
            instance: Some(self.instance.clone()),
            features: theirs.features.iter().map(|f| (*f).to_owned()).collect(),
            limits: Some(self.numbers()),
            auth: self.nonce.clone().map(|nonce| Auth { methods: Vec::new(), method: Some(METHOD.to_owned()), nonce }),
            grease: Some(Value::from(self.grease)),
            ..Member::default()
        })
    }

    fn numbers(&self) -> Numbers {
        let Limits { max_message, max_calls, window, stream_window, keepalive } = self.limits;
        Numbers {
            max_message: Some(max_message as u64),
            max_calls: Some(max_calls as u64),
            window: Some(window),
            stream_window: Some(stream_window),
            keepalive_ms: Some(keepalive.map_or(0, |k| u64::try_from(k.as_millis()).unwrap_or(u64::MAX))),
        }
    }

    /// Reads the member of a request. `None`: the connection is on level 0. The instance id counts in any case.
    pub(crate) fn judge_request(&self, member: Option<Value>) -> Result<(Option<Theirs>, Option<String>)> {
        // A malformed member is as good as none.
        let member = member.and_then(|value| serde_json::from_value::<Member>(value).ok()).unwrap_or_default();
        let instance = member.instance.clone().filter(|i| is_hex_id(i));
        let offered = self.level != Level::Zero && member.versions.contains(&LEVEL_1);
        let theirs = offered.then(|| self.theirs(member, |auth| auth.methods.iter().any(|m| m == METHOD))).transpose();
        match theirs {
            Ok(Some(theirs)) => {
                self.check_auth(&theirs)?;
                Ok((Some(theirs), instance))
            }
            _ => {
                self.check_level_0()?;
                Ok((None, instance))
            }
        }
    }

    /// Reads the member of a response.
    pub(crate) fn judge_response(&self, member: Option<Value>) -> Result<Option<Theirs>> {
        let Some(member) = member.filter(|_| self.level != Level::Zero) else {
            self.check_level_0()?;
            return Ok(None);
        };
        let member: Member =
            serde_json::from_value(member).map_err(|_| bad("the member hostlane of the response is malformed"))?;
        match member.version {
            None => self.check_level_0().map(|()| None),
            Some(LEVEL_1) => self.theirs(member, |auth| auth.method.as_deref() == Some(METHOD)).map(Some),
            Some(other) => Err(bad(format!("the server chose wire level {other}, which was not offered"))),
        }
    }

    fn theirs(&self, member: Member, knows_method: impl FnOnce(&Auth) -> bool) -> Result<Theirs> {
        if member.features.len() > limits::MAX_FEATURES
            || member.features.iter().any(|f| f.len() > limits::MAX_FEATURES)
        {
            return Err(bad("too many features, or too long a name"));
        }
        let numbers = member.limits.unwrap_or_default();
        let start = Limits::default();
        let count = |number: Option<u64>, default: usize, most: usize| {
            number.map_or(default, |n| usize::try_from(n).unwrap_or(usize::MAX)).min(most)
        };
        let limits = Limits {
            max_message: count(numbers.max_message, start.max_message, limits::MAX_MESSAGE),
            max_calls: count(numbers.max_calls, start.max_calls, usize::MAX),
            window: numbers.window.unwrap_or(start.window),
            stream_window: numbers.stream_window.unwrap_or(start.stream_window),
            keepalive: numbers.keepalive_ms.filter(|&ms| ms > 0).map(Duration::from_millis),
        };
        if limits.max_message == 0 {
            return Err(bad("max_message is 0"));
        }
        let auth = member.auth.as_ref().is_some_and(|auth| is_hex_id(&auth.nonce) && knows_method(auth));
        Ok(Theirs {
            instance: member.instance.filter(|i| is_hex_id(i)),
            features: self.features.iter().copied().filter(|f| member.features.iter().any(|t| t == f)).collect(),
            limits,
            auth,
        })
    }

    /// A secret on one side alone proves nothing.
    fn check_auth(&self, theirs: &Theirs) -> Result<()> {
        match (self.nonce.is_some(), theirs.auth) {
            (true, false) => Err(Error::new(Code::AuthenticationFailed, "the other side has no secret to prove")),
            _ => Ok(()),
        }
    }

    fn check_level_0(&self) -> Result<()> {
        if self.level == Level::One || self.nonce.is_some() {
            return Err(Error::new(
                Code::VersionMismatch,
                "the other side speaks wire level 0 alone, this one demands level 1",
            ));
        }
        Ok(())
    }
}

fn is_hex_id(text: &str) -> bool {
    text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

fn value(member: Member) -> Value {
    // Plain structs of strings and numbers cannot fail to serialise.
    serde_json::to_value(member).unwrap_or_default()
}

fn bad(message: impl Into<String>) -> Error {
    Error::new(Code::BadHandshake, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn own(level: Level, nonce: Option<&str>) -> Own {
        Own {
            level,
            instance: "00112233445566778899aabbccddeeff".to_owned(),
            nonce: nonce.map(str::to_owned),
            features: vec![FDS],
            limits: Limits::default(),
            grease: 7,
        }
    }

    const NONCE: &str = "ffeeddccbbaa99887766554433221100";

    #[test]
    fn two_of_a_kind_agree_on_level_1_and_the_common_features() {
        let (theirs, instance) = own(Level::Auto, None).judge_request(Some(own(Level::Auto, None).request())).unwrap();
        let theirs = theirs.unwrap();
        assert_eq!((theirs.features.as_slice(), theirs.auth), (&[FDS][..], false));
        assert_eq!(theirs.limits, Limits::default());
        assert_eq!(instance.as_deref(), Some("00112233445566778899aabbccddeeff"));
        let answer = own(Level::Auto, None).response(&theirs);
        assert_eq!(answer["features"], serde_json::json!(["fds"]));
        assert!(own(Level::Auto, None).judge_response(Some(answer)).unwrap().is_some());
    }

    #[test]
    fn whoever_speaks_level_0_alone_gets_it_or_a_mismatch() {
        let zero = own(Level::Zero, None);
        let (theirs, instance) = own(Level::Auto, None).judge_request(Some(zero.request())).unwrap();
        assert!(theirs.is_none() && instance.is_some());
        for strict in [own(Level::One, None), own(Level::Auto, Some(NONCE))] {
            assert_eq!(strict.judge_request(None).unwrap_err().code(), Code::VersionMismatch);
            assert_eq!(strict.judge_response(None).unwrap_err().code(), Code::VersionMismatch);
        }
        for malformed in [
            serde_json::json!(3),
            serde_json::json!({"versions": "1"}),
            serde_json::json!({"versions": [1], "limits": {"max_message": 0}}),
        ] {
            assert!(own(Level::Auto, None).judge_request(Some(malformed)).unwrap().0.is_none());
        }
        assert!(own(Level::Auto, None).judge_response(Some(serde_json::json!({"version": 2}))).is_err());
    }

    #[test]
    fn a_secret_wants_one_on_the_other_side() {
        let with = own(Level::Auto, Some(NONCE));
        assert!(with.judge_request(Some(with.request())).unwrap().0.unwrap().auth);
        let error = with.judge_request(Some(own(Level::Auto, None).request())).unwrap_err();
        assert_eq!(error.code(), Code::AuthenticationFailed);
    }
}
