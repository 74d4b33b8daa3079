//! The `hostlane` member of the handshake: what agrees on level 1 (protocol.md, section 14).

use std::time::Duration;

use serde_json::{Value, json};

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

impl Own {
    /// The member of a request.
    pub(crate) fn request(&self) -> Value {
        if self.level == Level::Zero {
            return json!({ "instance": self.instance });
        }
        let mut member = json!({
            "versions": [LEVEL_1],
            "instance": self.instance,
            "features": self.offered(),
            "limits": self.numbers(),
            GREASE: self.grease,
        });
        if let Some(nonce) = &self.nonce {
            member["auth"] = json!({ "methods": [METHOD], "nonce": nonce });
        }
        member
    }

    /// The names in a request.
    fn offered(&self) -> Vec<String> {
        let grease = format!("{GREASE}-{:02x}", self.grease);
        self.features.iter().map(|f| (*f).to_owned()).chain([grease]).collect()
    }

    /// The member of the response to a request that `theirs` was read from.
    pub(crate) fn response(&self, theirs: &Theirs) -> Value {
        let mut member = json!({
            "version": LEVEL_1,
            "instance": self.instance,
            "features": theirs.features,
            "limits": self.numbers(),
            GREASE: self.grease,
        });
        if let Some(nonce) = self.nonce.as_ref().filter(|_| theirs.auth) {
            member["auth"] = json!({ "method": METHOD, "nonce": nonce });
        }
        member
    }

    fn numbers(&self) -> Value {
        let Limits { max_message, max_calls, window, stream_window, keepalive } = self.limits;
        json!({
            "max_message": max_message,
            "max_calls": max_calls,
            "window": window,
            "stream_window": stream_window,
            "keepalive_ms": keepalive.map_or(0, |k| u64::try_from(k.as_millis()).unwrap_or(u64::MAX)),
        })
    }

    /// Reads the member of a request. `None`: the connection is on level 0. The instance id counts in any case.
    pub(crate) fn judge_request(&self, member: Option<Value>) -> Result<(Option<Theirs>, Option<String>)> {
        let member = member.unwrap_or_default();
        let instance = hex_id(&member["instance"]);
        let offers =
            |versions: &Vec<Value>| versions.iter().all(Value::is_u64) && versions.iter().any(|v| *v == LEVEL_1);
        let offered = self.level != Level::Zero && member["versions"].as_array().is_some_and(offers);
        // A malformed offer is as good as none.
        let theirs = if offered { self.theirs(&member, "methods").ok() } else { None };
        match theirs {
            Some(theirs) => self.check_auth(&theirs).map(|()| (Some(theirs), instance)),
            None => self.check_level_0().map(|()| (None, instance)),
        }
    }

    /// Reads the member of a response.
    pub(crate) fn judge_response(&self, member: Option<Value>) -> Result<Option<Theirs>> {
        let Some(member) = member.filter(|_| self.level != Level::Zero) else {
            return self.check_level_0().map(|()| None);
        };
        if member["version"] != LEVEL_1 {
            return Err(bad("the server chose a wire level that was not offered"));
        }
        let theirs = self.theirs(&member, "method")?;
        let offered = self.offered();
        if member["features"].as_array().is_some_and(|names| names.iter().any(|n| !offered.iter().any(|o| n == o))) {
            return Err(bad("the server names a feature that was not offered"));
        }
        // An auth member nobody sent, or a method nobody offered.
        if member.get("auth").is_some() && (self.nonce.is_none() || !theirs.auth) {
            return Err(bad("the server answers with an authentication that was not offered"));
        }
        Ok(Some(theirs))
    }

    /// What the other side says; `method` is the member that holds its method of authentication, or several.
    fn theirs(&self, member: &Value, method: &str) -> Result<Theirs> {
        let instance = hex_id(&member["instance"]).ok_or_else(|| bad("the instance is no 32 hexadecimal digits"))?;
        let names = match &member["features"] {
            Value::Null if member.get("features").is_none() => Vec::new(),
            Value::Array(names) if names.len() <= limits::MAX_FEATURES => {
                let name = |v: &Value| v.as_str().filter(|n| n.len() <= limits::MAX_FEATURE_NAME).map(str::to_owned);
                names.iter().map(name).collect::<Option<Vec<_>>>().ok_or_else(|| bad("a feature is no short string"))?
            }
            _ => return Err(bad("the features are no short list of strings")),
        };
        let features = self.features.iter().copied().filter(|f| names.iter().any(|n| n == f)).collect();
        let limits = read_limits(member.get("limits"))?;
        let auth = match member.get("auth") {
            None => false,
            Some(auth) => {
                let known = match &auth[method] {
                    Value::Array(methods) => methods.iter().any(|m| m == METHOD),
                    chosen => chosen == METHOD,
                };
                let formed = auth[method].is_array() == (method == "methods") && !auth[method].is_null();
                if !formed || hex_id(&auth["nonce"]).is_none() {
                    return Err(bad("the auth member is malformed"));
                }
                known
            }
        };
        Ok(Theirs { instance: Some(instance), features, limits, auth })
    }

    /// A secret on one side alone proves nothing.
    fn check_auth(&self, theirs: &Theirs) -> Result<()> {
        match (self.nonce.is_some(), theirs.auth) {
            (true, false) => {
                Err(Error::new(Code::AuthenticationFailed, "one side has a secret to prove, the other none"))
            }
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

fn hex_id(value: &Value) -> Option<String> {
    let text = value.as_str()?;
    (text.len() == 32 && text.bytes().all(|b| b.is_ascii_hexdigit())).then(|| text.to_owned())
}

fn read_limits(limits: Option<&Value>) -> Result<Limits> {
    let start = Limits::default();
    let Some(limits) = limits else { return Ok(start) };
    let Value::Object(limits) = limits else { return Err(bad("the limits are no object")) };
    let number = |name: &str, default: u64| match limits.get(name) {
        None => Ok(default),
        Some(value) => value.as_u64().ok_or_else(|| bad(format!("the limit {name} is no whole number"))),
    };
    let size = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let max_message = size(number("max_message", start.max_message as u64)?).min(limits::MAX_MESSAGE);
    if max_message == 0 {
        return Err(bad("max_message is 0"));
    }
    Ok(Limits {
        max_message,
        // More cannot be pending here, nor announced by this library.
        max_calls: size(number("max_calls", start.max_calls as u64)?).min(limits::MAX_OPS),
        window: number("window", start.window)?,
        stream_window: number("stream_window", start.stream_window)?,
        keepalive: Some(number("keepalive_ms", 0)?).filter(|&ms| ms > 0).map(Duration::from_millis),
    })
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
    fn an_offer_is_understood_or_as_good_as_none() {
        let base = own(Level::Auto, None).request();
        let with = |name: &str, value: Option<Value>| {
            let mut member = base.clone();
            match value {
                Some(value) => member[name] = value,
                None => drop(member.as_object_mut().unwrap().remove(name)),
            }
            own(Level::Auto, None).judge_request(Some(member)).unwrap().0
        };
        let names = |count: usize| json!(vec!["x"; count]);
        let long = |len: usize| json!(["x".repeat(len)]);
        for (name, value, good) in [
            ("versions", None, false),
            ("versions", Some(json!([])), false),
            ("versions", Some(json!([2, 1])), true),
            ("versions", Some(json!([2])), false),
            ("versions", Some(json!([1, -1])), false),
            ("instance", None, false),
            ("instance", Some(json!("00112233445566778899AABBCCDDEEFF")), true),
            ("instance", Some(json!("00112233445566778899aabbccddeef")), false),
            ("instance", Some(json!("00112233445566778899aabbccddeefg")), false),
            ("features", None, true),
            ("features", Some(Value::Null), false),
            ("features", Some(names(limits::MAX_FEATURES)), true),
            ("features", Some(names(limits::MAX_FEATURES + 1)), false),
            ("features", Some(long(limits::MAX_FEATURE_NAME)), true),
            ("features", Some(long(limits::MAX_FEATURE_NAME + 1)), false),
            ("features", Some(json!([7])), false),
            ("limits", None, true),
            ("limits", Some(json!([])), false),
            ("limits", Some(json!({ "max_message": 1 })), true),
            ("limits", Some(json!({ "window": -1 })), false),
            ("auth", Some(json!({ "methods": ["other"], "nonce": NONCE })), true),
            ("auth", Some(json!({ "method": METHOD, "nonce": NONCE })), false),
            ("auth", Some(json!({ "methods": METHOD, "nonce": NONCE })), false),
            ("auth", Some(json!({ "methods": [METHOD], "nonce": "7" })), false),
            ("auth", Some(Value::Null), false),
        ] {
            assert_eq!(with(name, value.clone()).is_some(), good, "{name}: {value:?}");
        }
        assert!(with("features", None).unwrap().features.is_empty());
        let theirs =
            with("limits", Some(json!({ "max_calls": 7, "window": 8, "stream_window": 9, "keepalive_ms": 10 })));
        let limits = theirs.unwrap().limits;
        assert_eq!((limits.max_calls, limits.window, limits.stream_window), (7, 8, 9));
        assert_eq!(limits.keepalive, Some(Duration::from_millis(10)));
        let none = with("limits", Some(json!({ "keepalive_ms": 0 }))).unwrap().limits.keepalive;
        assert_eq!(none, None);
        assert!(with("auth", Some(json!({ "methods": ["other", METHOD], "nonce": NONCE }))).unwrap().auth);
        assert!(!with("auth", Some(json!({ "methods": ["other"], "nonce": NONCE }))).unwrap().auth);
    }

    #[test]
    fn an_answer_keeps_to_what_was_offered() {
        let asked = own(Level::Auto, Some(NONCE));
        let theirs = asked.judge_request(Some(asked.request())).unwrap().0.unwrap();
        let answer = asked.response(&theirs);
        let with = |name: &str, value: Value| {
            let mut member = answer.clone();
            member[name] = value;
            asked.judge_response(Some(member)).map(|theirs| theirs.unwrap().auth).map_err(|error| error.code())
        };
        assert_eq!(with("more", json!("ignored")), Ok(true));
        assert_eq!(with("features", json!([])), Ok(true));
        assert_eq!(with("features", json!(["grease-07"])), Ok(true), "it was offered");
        assert_eq!(with("features", json!(["fds", "other"])), Err(Code::BadHandshake));
        assert_eq!(with("version", json!("1")), Err(Code::BadHandshake));
        assert_eq!(with("auth", json!({ "method": "other", "nonce": NONCE })), Err(Code::BadHandshake));
        assert_eq!(with("auth", json!({ "methods": [METHOD], "nonce": NONCE })), Err(Code::BadHandshake));
        let open = own(Level::Auto, None);
        assert_eq!(
            open.judge_response(Some(answer)).unwrap_err().code(),
            Code::BadHandshake,
            "nobody asked for proofs"
        );
        let zero = own(Level::Zero, None);
        assert!(zero.judge_response(Some(json!({ "version": 1 }))).unwrap().is_none());
        let long = Limits { keepalive: Some(Duration::MAX), ..Limits::default() };
        let long = Own { limits: long, ..open };
        assert_eq!(long.request()["limits"]["keepalive_ms"], json!(u64::MAX));
    }

    #[test]
    fn what_the_other_side_takes_is_capped_at_what_this_one_can_use() {
        let limits = serde_json::json!({"max_message": u64::MAX, "max_calls": u64::MAX});
        let limits = read_limits(Some(&limits)).unwrap();
        assert_eq!((limits.max_message, limits.max_calls), (limits::MAX_MESSAGE, limits::MAX_OPS));
    }

    #[test]
    fn a_secret_wants_one_on_the_other_side() {
        let with = own(Level::Auto, Some(NONCE));
        assert!(with.judge_request(Some(with.request())).unwrap().0.unwrap().auth);
        let error = with.judge_request(Some(own(Level::Auto, None).request())).unwrap_err();
        assert_eq!(error.code(), Code::AuthenticationFailed);
    }
}
