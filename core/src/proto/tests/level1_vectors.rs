//! The shared vectors of `tests/vectors/level1`, made by an implementation that never saw this one: codecs and the
//! handshake.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::time::Instant;

use serde_json::{Value, json};

use super::hand::acceptor;
use super::vectors::{allowed, bytes, cases_in};
use super::{config, connector, drain_bytes, give};
use crate::error::{Code, Error};
use crate::proto::Secret;
use crate::proto::channel::Channel;
use crate::proto::conn::{Config, Conn, Role};
use crate::proto::frame::{self, HEADER_LEN};
use crate::proto::level1::wire::{Arrived, Control, Event, Ext, Reader, Reason, flag, kind};
use crate::proto::level1::{Limits, Proofs};
use crate::proto::offer::Level;

const NONCE: &str = "0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f";

pub(super) fn cases(file: &str) -> Vec<Value> {
    cases_in("level1", file)
}

// --- names and values ----------------------------------------------------------------------------------

const KINDS: [(u8, &str); 16] = [
    (kind::NOP, "NOP"),
    (kind::AUTH, "AUTH"),
    (kind::READY, "READY"),
    (kind::PING, "PING"),
    (kind::PONG, "PONG"),
    (kind::GOAWAY, "GOAWAY"),
    (kind::DRAIN_ACK, "DRAIN_ACK"),
    (kind::CLOSE, "CLOSE"),
    (kind::ERROR, "ERROR"),
    (kind::CREDIT, "CREDIT"),
    (kind::CANCEL, "CANCEL"),
    (kind::REFUSE, "REFUSE"),
    (kind::MESSAGE, "MESSAGE"),
    (kind::REQUEST, "REQUEST"),
    (kind::RESPONSE, "RESPONSE"),
    (kind::STREAM, "STREAM"),
];

pub(super) fn name_of(of: u8) -> &'static str {
    KINDS.iter().find(|(k, _)| *k == of).expect("a known type").1
}

fn kind_of(name: &Value) -> u8 {
    KINDS.iter().find(|(_, n)| name == n).expect("a known name").0
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// What a control frame says. The code of GOAWAY is not among it: it means nothing to this implementation.
pub(super) fn fields(control: &Control) -> Value {
    match control {
        Control::Nop | Control::Ready | Control::DrainAck | Control::Cancel => json!({}),
        Control::Auth(proof) => json!({ "proof": hex(proof) }),
        Control::Ping(token) | Control::Pong(token) => json!({ "token": hex(token) }),
        Control::GoAway(last) => json!({ "last": last }),
        Control::Close(Reason { code, text }) | Control::Error(Reason { code, text }) => {
            json!({ "code": code, "text": text })
        }
        Control::Refuse(Reason { code, text }) => json!({ "code": code, "text": text }),
        Control::Credit(total) => json!({ "total": total }),
    }
}

/// Whether `got` are the fields `expected`, but for the code of GOAWAY.
fn same_fields(of: u8, got: &Value, expected: &Value) -> bool {
    let mut expected = expected.clone();
    if of == kind::GOAWAY {
        expected.as_object_mut().unwrap().remove("code");
    }
    *got == expected
}

fn extensions(ext: &Ext) -> Value {
    let mut found = json!({});
    let mut put = |name: &str, value: Option<Value>| {
        value.into_iter().for_each(|value| found[name] = value);
    };
    put("deadline_us", ext.deadline_us.map(Value::from));
    put("idempotency", ext.idempotency.as_ref().map(|b| hex(b).into()));
    put("trace", ext.trace.as_ref().map(|b| hex(b).into()));
    put("status", ext.status.map(Value::from));
    put("fds", ext.fds.map(Value::from));
    put("dropped", ext.dropped.map(Value::from));
    found
}

// --- codecs --------------------------------------------------------------------------------------------

/// What comes out of a reader, as `expect.items` has it; the payload of a message is apart.
type Item = (Value, Option<Vec<u8>>);
type Items = Vec<Item>;

fn item(event: Event<'_>) -> Result<Option<Item>, Error> {
    match event {
        Event::Control(header, payload) => {
            let mut item = fields(&Control::decode(header.kind, payload)?);
            item["type"] = name_of(header.kind).into();
            if header.kind == kind::CREDIT {
                item["channel"] = header.channel.into();
            }
            if matches!(header.kind, kind::ERROR | kind::CREDIT | kind::CANCEL | kind::REFUSE) {
                item["id"] = header.id.into();
            }
            Ok((header.kind != kind::NOP).then_some((item, None)))
        }
        Event::Plain(channel, payload) => {
            let item = json!({ "type": "MESSAGE", "channel": channel, "id": 0 });
            Ok(Some((item, Some(payload.to_vec()))))
        }
        Event::Message(Arrived { header, ext, body, .. }) => {
            let mut item = json!({ "type": name_of(header.kind), "channel": header.channel, "id": header.id });
            if header.kind == kind::REQUEST && header.has(flag::STREAM) {
                item["stream"] = true.into();
            }
            if matches!(header.kind, kind::REQUEST | kind::STREAM) && header.has(flag::FIN) {
                item["fin"] = true.into();
            }
            if !ext.is_empty() {
                item["extensions"] = extensions(&ext);
            }
            Ok(Some((item, Some(body.into_bytes().to_vec()))))
        }
    }
}

/// What comes out of these bytes, and where the reader stands then.
fn read(reader: &mut Reader, chunks: &[&[u8]]) -> (Items, Result<(), Code>) {
    let mut items = Items::new();
    let mut ready = false;
    for chunk in chunks {
        let mut rest = *chunk;
        while !rest.is_empty() {
            let (buffer, offered) = reader.buffer();
            let n = offered.min(rest.len());
            buffer.extend_from_slice(&rest[..n]);
            rest = &rest[n..];
            reader.filled(n, offered);
            loop {
                if ready {
                    reader.set_ready(true);
                }
                let event = match reader.next(|_, _, _| Ok(())) {
                    Ok(Some(event)) => event,
                    Ok(None) => break,
                    Err(error) => return (items, Err(error.code())),
                };
                match item(event) {
                    Ok(Some(item)) => {
                        ready |= item.0["type"] == "READY";
                        items.push(item);
                    }
                    Ok(None) => {}
                    Err(error) => return (items, Err(error.code())),
                }
            }
        }
    }
    (items, Ok(()))
}

#[test]
fn frames() {
    for case in cases("frames.json") {
        let id = &case["id"];
        let chunks: Vec<Vec<u8>> = case["chunks"].as_array().unwrap().iter().map(bytes).collect();
        let whole = chunks.concat();
        let mut cuts: Vec<Vec<&[u8]>> = vec![chunks.iter().map(Vec::as_slice).collect(), vec![&whole]];
        if whole.len() < 40_000 {
            cuts.push(whole.chunks(1).collect());
        }
        for cut in cuts {
            let mut reader = Reader::new(case["max_message"].as_u64().unwrap() as usize, Vec::new());
            reader.set_ready(case["ready"].as_bool().unwrap());
            let (items, end) = read(&mut reader, &cut);
            let expected = case["expect"]["items"].as_array().unwrap();
            assert_eq!(items.len(), expected.len(), "{id}: {items:?}");
            for ((item, payload), expected) in items.iter().zip(expected) {
                let mut expected = expected.clone();
                if let Some(payload) = payload {
                    let wanted = expected.as_object_mut().unwrap().remove("payload").unwrap();
                    assert!(*payload == bytes(&wanted), "{id}");
                }
                assert!(same_fields(kind_of(&item["type"]), item, &expected), "{id}: {item} {expected}");
            }
            match (end, case["eof"].as_bool().unwrap(), reader.inside_frame()) {
                (Err(code), ..) => assert!(allowed(&case["expect"]["end"], code), "{id}: {code:?}"),
                (Ok(()), true, true) => assert!(allowed(&case["expect"]["end"], Code::Truncated), "{id}"),
                (Ok(()), true, false) => assert_eq!(case["expect"]["end"], "clean", "{id}"),
                (Ok(()), false, _) => assert_eq!(case["expect"]["end"], "more", "{id}"),
            }
        }
    }
}

#[test]
fn extensions_of_frames_and_of_ready() {
    for case in cases("extensions.json") {
        let (id, payload) = (&case["id"], bytes(&case["payload"]));
        let found = if case["form"] == "ready" {
            Ext::parse(&payload).map(|ext| (ext, payload.len()))
        } else {
            // The frame is whole: what is not there will not come.
            Ext::decode(&payload).and_then(|found| found.ok_or_else(|| Error::new(Code::ProtocolError, "cut off")))
        };
        match found {
            Ok((ext, len)) => {
                assert_eq!(case["expect"]["extensions"], extensions(&ext), "{id}");
                if case["form"] == "frame" {
                    assert_eq!(case["expect"]["rest"], hex(&payload[len..]), "{id}");
                }
            }
            Err(error) => assert!(allowed(&case["expect"]["error"], error.code()), "{id}: {error}"),
        }
    }
}

#[test]
fn control() {
    for case in cases("control.json") {
        let (id, of) = (&case["id"], kind_of(&case["type"]));
        match Control::decode(of, &bytes(&case["payload"])) {
            Ok(control) => {
                let got = fields(&control);
                assert!(same_fields(of, &got, &case["expect"]["fields"]), "{id}: {got}");
            }
            Err(error) => assert!(allowed(&case["expect"]["error"], error.code()), "{id}: {error}"),
        }
    }
}

// --- the handshake -------------------------------------------------------------------------------------

pub(super) fn level_1(role: Role, side: &Value) -> Config {
    let mut config = config(role);
    config.own.level = if side["demand"] == true { Level::One } else { Level::Auto };
    if let Some(secret) = side["secret"].as_str() {
        config.secret = Some(Secret::new(secret).unwrap());
        config.own.nonce = Some(NONCE.to_owned());
    }
    for feature in side["features"].as_array().into_iter().flatten() {
        config.own.features.push(fixed(feature.as_str().unwrap()));
    }
    config
}

/// Names are fixed in programs, where they are part of the code.
fn fixed(name: &str) -> &'static str {
    static NAMES: Mutex<BTreeSet<&'static str>> = Mutex::new(BTreeSet::new());
    let mut names = NAMES.lock().unwrap();
    if !names.contains(name) {
        names.insert(name.to_owned().leak());
    }
    names.get(name).unwrap()
}

fn handshake_frame(payload: &[u8]) -> Vec<u8> {
    let header = frame::Header { len: payload.len() as u32, channel: Channel::CONTROL }.encode();
    [&header[..], payload].concat()
}

fn limits_json(limits: &Limits) -> Value {
    json!({
        "max_message": limits.max_message,
        "max_calls": limits.max_calls,
        "window": limits.window,
        "stream_window": limits.stream_window,
        "keepalive_ms": limits.keepalive.map_or(0, |k| k.as_millis() as u64),
    })
}

fn names(value: &Value) -> BTreeSet<&str> {
    value.as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect()
}

/// Level and features, the same for both sides.
fn check_agreed(id: &Value, conn: &Conn, expect: &Value) {
    let agreed = conn.agreed();
    assert_eq!(expect["level"], agreed.level, "{id}");
    if agreed.level == 1 {
        assert_eq!(names(&expect["features"]), agreed.features.iter().copied().collect(), "{id}");
    }
}

/// The next level-0 frame that goes out, as JSON; what follows it stays in `out`.
pub(super) fn take_handshake(out: &mut Vec<u8>) -> Vec<u8> {
    let header = frame::Header::decode(out).expect("a level-0 frame").expect("a whole header");
    assert_eq!(header.channel, Channel::CONTROL);
    let end = HEADER_LEN + header.len as usize;
    let payload = out[HEADER_LEN..end].to_vec();
    out.drain(..end);
    payload
}

pub(super) fn member(payload: &[u8]) -> Option<Value> {
    serde_json::from_slice::<Value>(payload).unwrap().as_object_mut().unwrap().remove("hostlane")
}

#[test]
fn offers() {
    for case in cases("offers.json") {
        let (id, expect) = (&case["id"], &case["expect"]);
        let mut config = level_1(acceptor(), &case["server"]);
        config.channels = vec![Channel::COMMAND, Channel::DATA];
        let own = config.own.clone();
        let mut server = Conn::new(config, Instant::now());
        let payload = bytes(&case["payload"]);
        give(&mut server, &handshake_frame(&payload), Instant::now());
        if let Some(error) = server.end_error() {
            assert!(allowed(&expect["refused"], error.code()), "{id}: {error}");
            continue;
        }
        check_agreed(id, &server, expect);
        let answer = member(&take_handshake(&mut drain_bytes(&mut server)));
        assert_eq!(answer.is_some(), expect["level"] == 1, "{id}");
        if let Some(answer) = answer {
            assert_eq!(expect["auth"], answer.get("auth").is_some(), "{id}");
            assert_eq!(names(&expect["features"]), names(&answer["features"]), "{id}");
            let theirs = own.judge_request(member(&payload)).unwrap().0.unwrap();
            assert_eq!(expect["limits"], limits_json(&theirs.limits), "{id}");
        }
    }
}

#[test]
fn grants() {
    for case in cases("grants.json") {
        let (id, expect) = (&case["id"], &case["expect"]);
        let mut config = level_1(connector(), &case["client"]);
        config.channels = vec![Channel::COMMAND, Channel::DATA];
        let own = config.own.clone();
        let mut client = Conn::new(config, Instant::now());
        drain_bytes(&mut client);
        let payload = bytes(&case["payload"]);
        give(&mut client, &handshake_frame(&payload), Instant::now());
        if let Some(error) = client.end_error() {
            assert!(allowed(&expect["error"], error.code()), "{id}: {error}");
            continue;
        }
        check_agreed(id, &client, expect);
        if let Some(theirs) = own.judge_response(member(&payload)).unwrap() {
            assert_eq!(expect["auth"], theirs.auth, "{id}");
            assert_eq!(expect["limits"], limits_json(&theirs.limits), "{id}");
        }
    }
}

#[test]
fn proofs() {
    for case in cases("proofs.json") {
        let [secret, request, response] = ["secret", "request", "response"].map(|name| bytes(&case[name]));
        for (side, connector) in [("connector", true), ("acceptor", false)] {
            let proof = Proofs::new(&secret, connector, &request, &response).own();
            assert_eq!(case["expect"][side], hex(&proof), "{} {side}", case["id"]);
        }
    }
}
