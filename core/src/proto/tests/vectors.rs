//! The shared vectors of `tests/vectors/framing`, made by an implementation that never saw this one.

use std::path::Path;
use std::time::Instant;

use serde_json::Value;

use super::{config, connector, drain_bytes, give};
use crate::error::{Code, Error};
use crate::proto::channel::Channel;
use crate::proto::conn::{Conn, Role};
use crate::proto::control::Control;
use crate::proto::frame::{HEADER_LEN, Header};
use crate::proto::level1::Delivery;
use crate::proto::reader::FrameReader;
use crate::proto::{Outcome, Secret};

fn cases(file: &str) -> Vec<Value> {
    cases_in("framing", file)
}

/// The cases of a file in a folder of `tests/vectors`.
pub(super) fn cases_in(folder: &str, file: &str) -> Vec<Value> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors").join(folder).join(file);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let mut json: Value = serde_json::from_str(&text).unwrap();
    let Value::Array(cases) = json["cases"].take() else { panic!("{file} has no cases") };
    assert!(!cases.is_empty());
    cases
}

/// The byte values of tests/vectors/README.md.
pub(super) fn bytes(value: &Value) -> Vec<u8> {
    match value {
        Value::String(hex) => {
            (0..hex.len() / 2).map(|at| u8::from_str_radix(&hex[at * 2..at * 2 + 2], 16).unwrap()).collect()
        }
        Value::Array(parts) => parts.iter().flat_map(bytes).collect(),
        value if value.get("text").is_some() => value["text"].as_str().unwrap().as_bytes().to_vec(),
        value => bytes(&value["hex"]).repeat(value["times"].as_u64().unwrap() as usize),
    }
}

pub(super) fn channels(value: &Value) -> Vec<Channel> {
    let number = |v: &Value| Channel::from_wire(v.as_u64().unwrap() as u16);
    value.as_array().unwrap().iter().map(number).collect()
}

/// Whether `code` is the name, or one of the names, that `expected` allows.
pub(super) fn allowed(expected: &Value, code: Code) -> bool {
    match expected {
        Value::String(name) => name == code.name(),
        Value::Array(names) => names.iter().any(|name| name == code.name()),
        _ => false,
    }
}

#[test]
fn errors() {
    let mut codes = Code::ALL.to_vec();
    for case in cases_in("", "errors.json") {
        let number = case["number"].as_i64().unwrap().try_into().unwrap();
        let code = Code::from_number(number).unwrap_or_else(|| panic!("{number} is unknown"));
        let table = (case["name"].as_str(), case["doc"].as_str(), case["retryable"].as_bool());
        assert_eq!((Some(code.name()), Some(code.meaning()), Some(code.retryable())), table);
        codes.retain(|left| *left != code);
    }
    assert!(codes.is_empty(), "{codes:?}");
}

#[test]
fn frames() {
    for case in cases("frames.json") {
        let id = &case["id"];
        let mut reader = FrameReader::new(case["limit"].as_u64().unwrap() as usize);
        let mut got = Vec::new();
        let mut end = Ok(());
        'chunks: for chunk in case["chunks"].as_array().unwrap() {
            let chunk = bytes(chunk);
            let mut rest = &chunk[..];
            while !rest.is_empty() {
                let buffer = reader.buffer();
                let offered = buffer.capacity() - buffer.len();
                let n = offered.min(rest.len());
                buffer.extend_from_slice(&rest[..n]);
                rest = &rest[n..];
                reader.filled(n, offered);
                loop {
                    match reader.next() {
                        Ok(Some(frame)) => got.push((frame.channel.number(), frame.payload)),
                        Ok(None) => break,
                        Err(error) => {
                            end = Err(error.code());
                            break 'chunks;
                        }
                    }
                }
            }
        }
        let expected = case["expect"]["frames"].as_array().unwrap();
        assert_eq!(got.len(), expected.len(), "{id}");
        for ((channel, payload), frame) in got.iter().zip(expected) {
            assert_eq!(u64::from(*channel), frame["channel"].as_u64().unwrap(), "{id}");
            assert!(payload == &bytes(&frame["payload"]), "{id}");
        }
        let standing = match (end, case["eof"].as_bool().unwrap(), reader.inside_frame()) {
            (Err(code), ..) => {
                assert!(allowed(&case["expect"]["end"], code), "{id}: {code:?}");
                continue;
            }
            (Ok(()), false, _) => "more",
            (Ok(()), true, true) => "truncated",
            (Ok(()), true, false) => "clean",
        };
        assert_eq!(case["expect"]["end"], standing, "{id}");
    }
}

#[test]
fn control() {
    for case in cases("control.json") {
        let id = &case["id"];
        match Control::decode(&bytes(&case["payload"])) {
            Ok(control) => {
                let text: Value = serde_json::from_slice(control.encode()).unwrap();
                assert_eq!(text["type"], case["expect"]["type"], "{id}");
            }
            Err(error) => assert!(allowed(&case["expect"]["error"], error.code()), "{id}: {error}"),
        }
    }
}

#[test]
fn requests() {
    for case in cases("requests.json") {
        let id = &case["id"];
        let secret = case["server"]["auth_token"].as_str().map(|t| Secret::new(t).unwrap());
        let mut config = config(Role::Acceptor { peer_id: "peer-1".into() });
        config.channels = channels(&case["server"]["channels"]);
        config.auth_token = secret;
        let mut server = Conn::new(config, Instant::now());
        let payload = bytes(&case["payload"]);
        let header = Header { len: payload.len() as u32, channel: Channel::CONTROL }.encode();
        give(&mut server, &[&header[..], &payload].concat(), Instant::now());
        match server.end_error() {
            None => assert_eq!(server.agreed().channels.as_slice(), channels(&case["expect"]["channels"]), "{id}"),
            Some(error) => assert!(allowed(&case["expect"]["refused"], error.code()), "{id}: {error}"),
        }
    }
}

#[test]
fn responses() {
    for case in cases("responses.json") {
        let id = &case["id"];
        let mut config = config(connector());
        config.channels = channels(&case["asked"]);
        let mut client = Conn::new(config, Instant::now());
        drain_bytes(&mut client);
        let payload = bytes(&case["payload"]);
        let header = Header { len: payload.len() as u32, channel: Channel::CONTROL }.encode();
        give(&mut client, &[&header[..], &payload].concat(), Instant::now());
        match client.end_error() {
            None => {
                assert!(client.is_open() && case["expect"]["error"].is_null(), "{id}");
                assert_eq!(client.agreed().channels.as_slice(), channels(&case["expect"]["channels"]), "{id}");
                assert_eq!(case["expect"]["peer_id"], client.agreed().peer_id, "{id}");
            }
            Some(error) => assert!(allowed(&case["expect"]["error"], error.code()), "{id}: {error}"),
        }
    }
}

/// One conversation of `transcripts.json` under way.
struct Talk {
    conn: Conn,
    now: Instant,
    /// What goes out and was not named by a step yet.
    out: Vec<u8>,
    done: Vec<Result<Outcome, Error>>,
    ops: u64,
}

impl Talk {
    fn new(case: &Value) -> Talk {
        let client = case["role"] == "client";
        let mut config = config(if client { connector() } else { Role::Acceptor { peer_id: "peer-1".into() } });
        config.channels = channels(&case["channels"]);
        let now = Instant::now();
        Talk { conn: Conn::new(config, now), now, out: Vec::new(), done: Vec::new(), ops: 0 }
    }

    fn settle(&mut self) {
        let out = drain_bytes(&mut self.conn);
        self.out.extend(out);
        while let Some((_, result)) = self.conn.poll_done() {
            self.done.push(result);
        }
    }

    fn next_frame(&mut self) -> Option<(u16, Vec<u8>)> {
        let header = Header::decode(&self.out).unwrap()?;
        let end = HEADER_LEN + header.len as usize;
        let payload = self.out[HEADER_LEN..end].to_vec();
        self.out.drain(..end);
        Some((header.channel.number(), payload))
    }

    fn finished(&mut self, what: impl Fn(&Outcome) -> bool) -> bool {
        let at = self.done.iter().position(|r| r.as_ref().is_ok_and(&what));
        at.map(|at| self.done.remove(at)).is_some()
    }

    fn step(&mut self, name: &str, value: &Value) {
        self.ops += 1;
        let op = self.ops;
        match name {
            "arrives" => {
                assert!(give(&mut self.conn, &bytes(value), self.now).is_empty() || self.conn.end_error().is_some())
            }
            "eof" => self.conn.hung_up(),
            "does" => {
                let payload = || bytes::Bytes::from(bytes(&value["payload"]));
                let step = match value["what"].as_str().unwrap() {
                    "send" => {
                        let channel = Channel::from_wire(value["channel"].as_u64().unwrap() as u16);
                        self.conn.send(op, channel, payload(), None)
                    }
                    "request" => self.conn.call(op, payload(), None),
                    "ping" => self.conn.ping(op, self.now, None),
                    "drain" => self.conn.drain(op, None),
                    other => panic!("no such call: {other}"),
                };
                self.done.extend(step);
            }
            "sends" => {
                let (channel, payload) = self.next_frame().expect("a frame goes out");
                assert_eq!(u64::from(channel), value["channel"].as_u64().unwrap());
                match value.get("json") {
                    Some(json) => {
                        let mut got: Value = serde_json::from_slice(&payload).unwrap();
                        got.as_object_mut().unwrap().remove("hostlane");
                        assert_eq!(&got, json);
                    }
                    None => assert_eq!(payload, bytes(&value["payload"])),
                }
            }
            "delivers" => {
                let Some(Ok(Outcome::Message(Delivery { channel, payload, .. }))) = self.conn.recv(op, None, None)
                else {
                    panic!("a message was received")
                };
                assert_eq!(u64::from(channel.number()), value["channel"].as_u64().unwrap());
                assert_eq!(payload, bytes(&value["payload"]));
            }
            "replies" => {
                let expected = bytes(value.get("payload").unwrap_or(value));
                assert!(self.finished(|o| matches!(o, Outcome::Reply(_, payload) if *payload == expected)));
            }
            "ponged" => assert!(self.finished(|o| matches!(o, Outcome::Pong(_)))),
            "drained" => assert!(self.finished(|o| matches!(o, Outcome::Drained))),
            "refuses" => {
                let (channel, payload) = self.next_frame().expect("a refusal goes out");
                let refusal: Value = serde_json::from_slice(&payload).unwrap();
                let code = Code::from_number(refusal["error"]["code"].as_i64().unwrap() as i32).unwrap();
                assert_eq!(channel, 0);
                assert!(allowed(value, code), "{code:?}");
            }
            "ends" => {
                // The end as the program meets it: what was pending failed with it, or the next receive does.
                let pending = self.done.iter().any(|r| r.as_ref().is_err_and(|e| allowed(value, e.code())));
                let next = self.conn.recv(op, None, None);
                let told = matches!(&next, Some(Err(e)) if allowed(value, e.code()));
                assert!(pending || told, "{next:?}");
                assert!(self.out.is_empty());
            }
            other => panic!("no such step: {other}"),
        }
        self.settle();
    }
}

#[test]
fn transcripts() {
    for case in cases("transcripts.json") {
        let mut talk = Talk::new(&case);
        talk.settle();
        println!("transcript {}", case["id"]);
        for step in case["steps"].as_array().unwrap() {
            let (name, value) = step.as_object().unwrap().iter().next().unwrap();
            println!("  {name}");
            talk.step(name, value);
        }
        assert!(talk.out.is_empty(), "{}: a frame went out that no step names", case["id"]);
    }
}
