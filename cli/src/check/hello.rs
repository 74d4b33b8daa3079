//! The handshake of the checker's own side, in either role, and how it judges the other's.

use serde_json::{Value, json};

use super::case::Role;
use super::lane::{Lane, Phase};
use super::stage::{Stage, demand, fail};
use super::verdict::{Played, Stop};
use super::wire::{AUTH, Form, READY, control, plain, proof, text};

/// Thirty-two digits that are as good as random.
pub(super) const INSTANCE: &str = "00c0ffee00c0ffee00c0ffee00c0ffee";
const NONCE: &str = "0123456789abcdef0123456789abcdef";
const METHOD: &str = "hmac-sha256";

/// What the checker says of itself.
#[derive(Clone)]
pub(super) struct Hello {
    pub(super) channels: Vec<u16>,
    pub(super) limits: Value,
    pub(super) secret: Option<String>,
    pub(super) token: Option<String>,
    pub(super) level: u8,
}

impl Hello {
    /// All channels, and credit without end.
    pub(super) fn new(stage: &Stage<'_>) -> Hello {
        Hello {
            channels: vec![1, 2, 3, 4],
            limits: json!({"window": 1u64 << 40, "stream_window": 1u64 << 40}),
            secret: stage.settings.secret.clone(),
            token: stage.settings.token.clone(),
            level: stage.level,
        }
    }

    pub(super) fn channels(mut self, channels: &[u16]) -> Hello {
        self.channels = channels.to_vec();
        self
    }

    pub(super) fn limits(mut self, limits: Value) -> Hello {
        self.limits = limits;
        self
    }

    /// The member `hostlane` of a request.
    pub(super) fn offer(&self) -> Value {
        let mut offer = json!({"versions": [1], "instance": INSTANCE, "features": [], "limits": self.limits});
        if self.secret.is_some() {
            offer["auth"] = json!({"methods": [METHOD], "nonce": NONCE});
        }
        offer
    }

    pub(super) fn request(&self) -> Value {
        let mut request = json!({"protocol": "ipcprims", "version": "1.0", "channels": self.channels});
        if let Some(token) = &self.token {
            request["auth_token"] = json!(token);
        }
        if self.level == 1 {
            request["hostlane"] = self.offer();
        }
        request
    }

    /// The answer to a request, as far as it asks for what there is here.
    pub(super) fn response(&self, request: &Value) -> Value {
        let mut granted = numbers(&request["channels"]);
        granted.retain(|channel| self.channels.iter().any(|c| u64::from(*c) == *channel));
        let mut response = json!({"protocol": "ipcprims", "version": "1.0", "channels": granted, "peer_id": "check-1"});
        if self.level == 1 {
            let mut grant = json!({"version": 1, "instance": INSTANCE, "features": [], "limits": self.limits});
            if self.secret.is_some() && request["hostlane"].get("auth").is_some() {
                grant["auth"] = json!({"method": METHOD, "nonce": NONCE});
            }
            response["hostlane"] = grant;
        }
        response
    }
}

/// A request that no case has changed yet.
pub(super) fn request(stage: &Stage<'_>) -> Value {
    Hello::new(stage).request()
}

/// An object with one member set; `null` members stay, so that types can be tried out.
pub(super) fn with(mut object: Value, member: &str, value: Value) -> Value {
    object[member] = value;
    object
}

pub(super) fn without(mut object: Value, member: &str) -> Value {
    if let Some(members) = object.as_object_mut() {
        members.remove(member);
    }
    object
}

impl Lane<'_> {
    /// The whole handshake.
    pub(super) fn shake(&mut self, hello: &Hello) -> Played {
        match self.stage.role() {
            Role::Server => {
                self.say_hello(&text(&hello.request()))?;
                self.expect_response()?;
            }
            Role::Client => {
                let request = self.expect_request()?;
                if hello.level == 1 && request.get("hostlane").is_none() {
                    return Err(Stop::NotApplicable("the client does not offer level 1".into()));
                }
                self.answer(&hello.response(&request))?;
            }
        }
        if hello.level == 1 { self.get_ready(hello.secret.as_deref()) } else { Ok(()) }
    }

    /// A request in its frame; nothing is waited for.
    pub(super) fn say_hello(&mut self, request: &[u8]) -> Played {
        self.request = request.to_vec();
        self.send(&plain(0, request))
    }

    /// The acceptor's answer: a good response, after which the connection is on the level that it says.
    pub(super) fn expect_response(&mut self) -> Played<Value> {
        let payload = self.expect_hello()?;
        let asked = json_object(&self.request).unwrap_or_default();
        let response = json_object(&payload)?;
        if response.get("error").is_some() {
            return fail(format!("refused: {response}"));
        }
        judge(&asked, &response)?;
        self.response = payload;
        self.settle(response["hostlane"].clone());
        Ok(response)
    }

    /// A client under test: its request.
    pub(super) fn expect_request(&mut self) -> Played<Value> {
        let payload = self.expect_hello()?;
        let request = json_object(&payload)?;
        judge_request(&request)?;
        self.request = payload;
        Ok(request)
    }

    /// A client under test: this response, after which the connection is on the level that it says.
    pub(super) fn answer(&mut self, response: &Value) -> Played {
        self.response = text(response);
        let bytes = plain(0, &self.response);
        self.send(&bytes)?;
        let request = json_object(&self.request)?;
        self.settle(if response.get("hostlane").is_some() { request["hostlane"].clone() } else { Value::Null });
        Ok(())
    }

    /// From here on the connection is on a level, and these are the limits of the other side there.
    fn settle(&mut self, hostlane: Value) {
        self.phase = Phase::Open;
        if hostlane.is_object() {
            self.form = Form::Numbered;
            self.limits = hostlane["limits"].clone();
        }
    }

    /// Proofs where there is a secret, and READY both ways.
    pub(super) fn get_ready(&mut self, secret: Option<&str>) -> Played {
        demand(self.form == Form::Numbered, || "level 1 was not agreed on".into())?;
        let connector = self.stage.role() == Role::Server;
        if let Some(secret) = secret {
            let prove = |lane: &Lane<'_>, side| proof(secret.as_bytes(), side, &lane.request, &lane.response);
            let (ours, theirs) = if connector { (b'c', b'a') } else { (b'a', b'c') };
            if connector {
                self.send(&control(AUTH, prove(self, ours)))?;
            }
            let came = self.expect(AUTH)?;
            demand(came.payload == prove(self, theirs), || "the proof of the other side is wrong".into())?;
            if !connector {
                self.send(&control(AUTH, prove(self, ours)))?;
            }
        }
        self.send(&control(READY, []))?;
        self.expect(READY).map(|_| ())
    }
}

pub(super) fn json_object(payload: &[u8]) -> Played<Value> {
    match serde_json::from_slice::<Value>(payload) {
        Ok(value) if value.is_object() => Ok(value),
        _ => fail(format!("no JSON object: {}", String::from_utf8_lossy(&payload[..payload.len().min(200)]))),
    }
}

fn judge_request(request: &Value) -> Played {
    let channels = request["channels"].as_array();
    let channels_fit = channels.is_some_and(|list| {
        list.len() <= 256 && list.iter().all(|c| c.as_u64().is_some_and(|c| c == 1 || (1..=65535).contains(&c)))
    });
    demand(request["protocol"] == "ipcprims" && request["version"] == "1.0" && channels_fit, || {
        format!("a request against section 4: {request}")
    })?;
    let Some(offer) = request.get("hostlane") else { return Ok(()) };
    let versions = offer["versions"].as_array().is_some_and(|list| list.iter().all(Value::is_u64));
    demand(versions && is_instance(&offer["instance"]) && limits_fit(&offer["limits"]), || {
        format!("an offer against section 14: {offer}")
    })
}

/// Section 4 and section 14 of a response.
fn judge(asked: &Value, response: &Value) -> Played {
    let peer_id = response["peer_id"].as_str().unwrap_or_default();
    let peer_id_fits = (1..=128).contains(&peer_id.len()) && !peer_id.chars().any(char::is_control);
    let granted = numbers(&response["channels"]);
    let mut due = Vec::new();
    for channel in numbers(&asked["channels"]) {
        if granted.contains(&channel) && !due.contains(&channel) {
            due.push(channel);
        }
    }
    let fits = response["protocol"] == "ipcprims"
        && response["version"] == "1.0"
        && peer_id_fits
        && !granted.is_empty()
        && granted == due
        && granted.iter().all(|channel| matches!(channel, 1..=4 | 256..=65535));
    demand(fits, || format!("a response against section 4: {response}"))?;
    let Some(grant) = response.get("hostlane") else { return Ok(()) };
    let offer = &asked["hostlane"];
    let one_of = |list: &Value, value: &Value| list.as_array().is_some_and(|list| list.contains(value));
    let features = grant.get("features").map_or(Some(&[][..]), |list| list.as_array().map(Vec::as_slice));
    let fits = one_of(&offer["versions"], &grant["version"])
        && is_instance(&grant["instance"])
        && limits_fit(&grant["limits"])
        && features.is_some_and(|granted| granted.iter().all(|feature| one_of(&offer["features"], feature)))
        && (grant.get("auth").is_none() || one_of(&offer["auth"]["methods"], &grant["auth"]["method"]));
    demand(fits, || format!("a response against section 14: {response}"))
}

fn is_instance(value: &Value) -> bool {
    value.as_str().is_some_and(|digits| digits.len() == 32 && digits.bytes().all(|b| b.is_ascii_hexdigit()))
}

fn limits_fit(limits: &Value) -> bool {
    limits.is_null() || limits.as_object().is_some_and(|limits| limits.values().all(Value::is_u64))
}

/// The numbers of a list.
pub(super) fn numbers(list: &Value) -> Vec<u64> {
    list.as_array().into_iter().flatten().filter_map(Value::as_u64).collect()
}
