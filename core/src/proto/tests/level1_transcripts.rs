//! The shared conversations of `tests/vectors/level1/transcripts.json`, played step by step.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::{Value, json};

use super::hand::{acceptor, descriptors};
use super::level1_vectors::{cases, fields, hex, level_1, member, name_of, take_handshake};
use super::vectors::{allowed, bytes, channels};
use super::{MOST_ROUNDS, connector, drain_bytes, give};
use crate::error::{Code, Error};
use crate::limits;
use crate::proto::channel::Channel;
use crate::proto::conn::{Conn, Post};
use crate::proto::level1::wire::{Arrived, Control, Event, Ext, Header, Reader, flag, kind};
use crate::proto::level1::{Answer, Policy, Proofs, With};
use crate::proto::{OpId, Outcome};

/// What went out and no step has named yet.
#[derive(Debug)]
enum Out {
    Control(Header, Control),
    Message { header: Header, ext: Ext, payload: Vec<u8> },
}

/// A call of the other side under way.
struct Taken {
    id: u64,
    watch: OpId,
}

/// One conversation of `transcripts.json` under way; `tests/oracle/replay1.py` is its model.
struct Talk {
    conn: Conn,
    now: Instant,
    client: bool,
    secret: Option<String>,
    request: Vec<u8>,
    response: Vec<u8>,
    /// What goes out: bytes of the handshake, then whole frames.
    raw: Vec<u8>,
    reader: Reader,
    out: VecDeque<Out>,
    credit: HashMap<(u16, u64), u64>,
    ops: u64,
    /// Operations by the name a step gave them, and how they ended.
    names: HashMap<OpId, String>,
    done: Vec<(String, Result<Outcome, Error>)>,
    taken: HashMap<String, Taken>,
    ended: BTreeSet<OpId>,
    /// Streams of this side.
    streams: HashMap<String, u64>,
    calls: HashMap<String, OpId>,
    /// One CLOSE is nobody's business any more.
    over: bool,
    /// Nor are the CANCELs of calls that will not be answered.
    eof: bool,
}

impl Talk {
    fn new(case: &Value) -> Talk {
        let client = case["role"] == "client";
        let mut config = level_1(if client { connector() } else { acceptor() }, case);
        config.channels = channels(&case["channels"]);
        config.policies = config.channels.iter().map(|&channel| (channel, Policy::Block)).collect();
        let announced = &case["limits"];
        let own = &mut config.own.limits;
        if let Some(limit) = announced["max_message"].as_u64() {
            (own.max_message, config.max_message) = (limit as usize, limit as usize);
        }
        own.max_calls = announced["max_calls"].as_u64().map_or(own.max_calls, |n| n as usize);
        own.window = announced["window"].as_u64().unwrap_or(own.window);
        own.stream_window = announced["stream_window"].as_u64().unwrap_or(own.stream_window);
        own.keepalive = announced["keepalive_ms"].as_u64().map(Duration::from_millis);
        let now = Instant::now();
        let mut talk = Talk {
            conn: Conn::new(config, now),
            now,
            client,
            secret: case["secret"].as_str().map(str::to_owned),
            request: Vec::new(),
            response: Vec::new(),
            raw: Vec::new(),
            reader: Reader::new(limits::MAX_MESSAGE, Vec::new()),
            out: VecDeque::new(),
            credit: HashMap::new(),
            ops: 0,
            names: HashMap::new(),
            done: Vec::new(),
            taken: HashMap::new(),
            ended: BTreeSet::new(),
            streams: HashMap::new(),
            calls: HashMap::new(),
            over: false,
            eof: false,
        };
        talk.settle();
        talk
    }

    fn new_op(&mut self) -> OpId {
        self.ops += 1;
        self.ops
    }

    /// A new operation that steps may call by `name`.
    fn named(&mut self, name: &Value) -> OpId {
        let op = self.new_op();
        self.names.insert(op, name.as_str().unwrap_or_default().to_owned());
        op
    }

    /// Takes what the connection has to say.
    fn settle(&mut self) {
        let out = drain_bytes(&mut self.conn);
        self.raw.extend(out);
        while let Some((op, result)) = self.conn.poll_done() {
            if matches!(result, Ok(Outcome::CallEnded)) {
                self.ended.insert(op);
            } else if let Some(name) = self.names.get(&op) {
                self.done.push((name.clone(), result));
            }
        }
        if !self.response.is_empty() {
            self.collect();
        }
    }

    /// Cuts what goes out on level 1.
    fn collect(&mut self) {
        let raw = std::mem::take(&mut self.raw);
        let mut rest = &raw[..];
        loop {
            while let Some(event) = self.reader.next(|_, _, _| Ok(())).expect("well-formed frames go out") {
                match event {
                    Event::Control(header, payload) => {
                        let control = Control::decode(header.kind, payload).expect("well-formed frames go out");
                        match control {
                            Control::Nop => {}
                            Control::Close(_) if self.over => {}
                            Control::Cancel if self.eof => {}
                            Control::Credit(total) => {
                                let told = self.credit.entry((header.channel, header.id)).or_default();
                                *told = total.max(*told);
                            }
                            control => self.out.push_back(Out::Control(header, control)),
                        }
                        self.reader.set_ready(true);
                    }
                    Event::Plain(channel, payload) => {
                        let header = Header { len: 0, kind: kind::MESSAGE, flags: 0, channel, id: 0 };
                        self.out.push_back(Out::Message { header, ext: Ext::default(), payload: payload.to_vec() });
                    }
                    Event::Message(Arrived { header, ext, body, .. }) => {
                        let payload = body.into_bytes().to_vec();
                        self.out.push_back(Out::Message { header, ext, payload });
                    }
                }
            }
            if rest.is_empty() {
                return;
            }
            let (buffer, offered) = self.reader.buffer();
            let n = offered.min(rest.len());
            buffer.extend_from_slice(&rest[..n]);
            rest = &rest[n..];
            self.reader.filled(n, offered);
        }
    }

    fn silent(&self) {
        assert!(self.out.is_empty(), "went out: {:?}", self.out);
    }

    /// So many descriptors come with the first byte of what arrives next.
    fn descriptors(&mut self, count: u64) {
        self.conn.received_fds(descriptors(count as usize));
    }

    fn arrives(&mut self, data: &[u8], cut: usize) {
        if self.request.is_empty() || (self.client && self.response.is_empty()) {
            let payload = take_handshake(&mut data.to_vec());
            *if self.client { &mut self.response } else { &mut self.request } = payload;
        }
        for piece in data.chunks(cut) {
            let rest = give(&mut self.conn, piece, self.now);
            assert!(rest.is_empty() || self.conn.end_error().is_some());
        }
    }

    fn proof(&self, connector: bool, secret: &str) -> [u8; 32] {
        Proofs::new(secret.as_bytes(), connector, &self.request, &self.response).own()
    }

    /// The id of a stream of either side.
    fn stream(&self, name: &Value) -> u64 {
        let name = name.as_str().unwrap();
        self.taken.get(name).map_or_else(|| self.streams[name], |taken| taken.id)
    }

    fn finished(&mut self, name: &str, what: impl Fn(&Result<Outcome, Error>) -> bool) -> Result<Outcome, Error> {
        let at = self.done.iter().position(|(n, result)| n == name && what(result));
        self.done.remove(at.unwrap_or_else(|| panic!("{name} is not among {:?}", self.done))).1
    }

    fn does(&mut self, value: &Value) {
        let payload = Bytes::from(bytes(value.get("payload").unwrap_or(&json!(""))));
        let name = value["op"].as_str().unwrap_or_default().to_owned();
        let channel = Channel::from_wire(value["channel"].as_u64().unwrap_or(1) as u16);
        let op = self.named(&value["op"]);
        let now = self.now;
        let step = match value["what"].as_str().unwrap() {
            "send" => self.conn.post(op, Post::Message(channel, With::default()), payload, now, None),
            "call" => {
                let deadline = value["deadline"].as_u64().map(|ms| now + Duration::from_millis(ms));
                let with = With::new(deadline);
                if value["stream"] == true {
                    match self.conn.open_stream(channel, value["fin"] == true, with, payload, now) {
                        Ok(id) => {
                            self.streams.insert(name.clone(), id);
                            None
                        }
                        Err(error) => Some(Err(error)),
                    }
                } else {
                    self.calls.insert(name.clone(), op);
                    self.conn.post(op, Post::Request(channel, with), payload, now, deadline)
                }
            }
            "cancel" => {
                let call = value["call"].as_str().unwrap();
                if let Some(&id) = self.streams.get(call) {
                    // A stream that is dropped has nobody to tell.
                    self.conn.drop_stream(id);
                    self.done.push((call.to_owned(), Err(Error::new(Code::Cancelled, "dropped"))));
                } else {
                    assert!(self.conn.cancel(self.calls[call]));
                }
                None
            }
            "reply" => {
                let status = value["status"].as_u64().map(|code| code as u32);
                let answer = Answer { id: self.taken[value["call"].as_str().unwrap()].id, status };
                self.conn.post(op, Post::Answer(answer), payload, now, None)
            }
            "abandon" => {
                self.conn.abandon_served(self.taken[value["call"].as_str().unwrap()].id);
                None
            }
            "item" => self.conn.stream_send(op, self.stream(&value["call"]), payload, value["fin"] == true, None),
            "ping" => {
                self.names.insert(op, "ping".to_owned());
                self.conn.ping(op, now, None)
            }
            "drain" => {
                self.names.insert(op, "drain".to_owned());
                self.conn.drain(op, None)
            }
            "close" => {
                self.conn.say_good_bye();
                self.settle();
                self.conn.close();
                None
            }
            other => panic!("no such call: {other}"),
        };
        self.done.extend(step.map(|result| (name, result)));
    }

    fn sends(&mut self, value: &Value) {
        let out = self.out.pop_front().unwrap_or_else(|| panic!("nothing goes out; {:?}", self.conn.end_error()));
        let header = match &out {
            Out::Control(header, _) | Out::Message { header, .. } => *header,
        };
        assert_eq!(value["type"], name_of(header.kind));
        let same = |member: &str, got: Value| assert!(value.get(member).is_none_or(|v| *v == got), "{member}: {got}");
        same("channel", header.channel.into());
        same("id", header.id.into());
        match out {
            Out::Message { header, ext, payload } => {
                assert!(payload == bytes(&value["payload"]), "the payload");
                let carries = |of: &[u8], flag| of.contains(&header.kind) && header.has(flag);
                assert_eq!(value["fin"] == true, carries(&[kind::REQUEST, kind::STREAM], flag::FIN));
                assert_eq!(value["stream"] == true, carries(&[kind::REQUEST], flag::STREAM));
                assert_eq!(value["status"].as_u64(), ext.status.map(u64::from));
                if let Some(most) = value["deadline_us"].as_u64() {
                    assert!(ext.deadline_us.is_some_and(|told| told > 0 && told <= most), "{:?}", ext.deadline_us);
                }
            }
            Out::Control(header, control) => {
                let got = fields(&control);
                for member in ["token", "last", "code", "total"] {
                    if header.kind != kind::GOAWAY || member != "code" {
                        same(member, got[member].clone());
                    }
                }
                if value["proof"] == true {
                    assert_eq!(got["proof"], hex(&self.proof(self.client, self.secret.as_ref().unwrap())));
                }
            }
        }
    }

    fn delivers(&mut self, value: &Value) {
        let op = self.new_op();
        let delivery = match self.conn.recv(op, None, None) {
            Some(Ok(Outcome::Message(delivery))) => delivery,
            other => panic!("a message was received: {other:?}"),
        };
        assert_eq!(u64::from(delivery.channel.number()), value["channel"].as_u64().unwrap());
        assert!(delivery.payload == bytes(&value["payload"]));
        let request = delivery.request();
        assert_eq!(request.is_some(), value.get("call").is_some());
        assert_eq!(request.is_some_and(|r| r.stream), value["stream"] == true);
        if let Some(request) = request {
            let (id, watch) = (request.id, self.new_op());
            if self.conn.watch(watch, id, None).is_some() {
                self.ended.insert(watch);
            }
            self.taken.insert(value["call"].as_str().unwrap().to_owned(), Taken { id, watch });
        }
    }

    fn replies(&mut self, value: &Value) {
        let (name, payload) = (value["call"].as_str().unwrap(), bytes(&value["payload"]));
        if let Some(&id) = self.streams.get(name) {
            let op = self.new_op();
            let end = self.conn.stream_recv(op, id, None);
            assert!(matches!(&end, Some(Ok(Outcome::StreamEnd(Some(reply)))) if *reply == payload), "{end:?}");
        } else {
            let reply = self.finished(name, |result| matches!(result, Ok(Outcome::Reply(..))));
            assert!(matches!(reply, Ok(Outcome::Reply(_, reply)) if reply == payload));
        }
    }

    fn fails(&mut self, value: &Value) {
        let name = value.get("call").or(value.get("op")).and_then(Value::as_str).unwrap();
        let error = self.finished(name, Result::is_err).unwrap_err();
        assert!(allowed(&value["error"], error.code()), "{error}");
        if let Some(sent) = value.get("sent") {
            assert_eq!(*sent, error.sent().name());
        }
        if let Some(code) = value.get("code") {
            assert_eq!(code.as_u64(), error.status().map(u64::from));
        }
        if let Some(data) = value.get("payload") {
            assert_eq!(error.data(), bytes(data));
        }
    }

    /// The end as the program meets it, behind what was received.
    fn ends(&mut self, names: &Value) {
        self.over = true;
        let op = self.new_op();
        let error = match self.conn.end_error() {
            Some(error) => error.clone(),
            None => loop {
                match self.conn.recv(op, None, None) {
                    Some(Ok(_)) => {}
                    Some(Err(error)) => break error,
                    None => panic!("the connection goes on"),
                }
            },
        };
        assert!(allowed(names, error.code()), "{error}");
        self.out.retain(|out| !matches!(out, Out::Control(_, Control::Close(_))));
    }

    fn step(&mut self, name: &str, value: &Value, cut: usize) {
        match name {
            "arrives" => self.arrives(&bytes(value), cut),
            "descriptors" => self.descriptors(value.as_u64().unwrap()),
            "proof" => {
                let (client, secret) = (self.client, self.secret.clone().unwrap());
                let proof = match value.as_str().unwrap() {
                    "right" => self.proof(!client, &secret),
                    "other-secret" => self.proof(!client, &(secret + "?")),
                    "reflected" => self.proof(client, &secret),
                    other => panic!("no such proof: {other}"),
                };
                let header = Header { len: 32, kind: kind::AUTH, flags: 0, channel: 0, id: 0 }.encode();
                self.arrives(&[&header[..], &proof].concat(), cut);
            }
            "eof" => {
                (self.over, self.eof) = (true, true);
                self.conn.hung_up();
            }
            "clock" => {
                self.now += Duration::from_millis(value.as_u64().unwrap());
                let due = |conn: &mut Conn| conn.next_timeout().is_some_and(|at| at <= self.now);
                for _ in 0..MOST_ROUNDS {
                    if due(&mut self.conn) {
                        self.conn.handle_timeout(self.now);
                    }
                }
                assert!(!due(&mut self.conn), "what is due stays due");
            }
            "asks" => {
                self.request = take_handshake(&mut self.raw);
                let member = member(&self.request).unwrap();
                assert!(member["versions"].as_array().unwrap().contains(&json!(1)));
                assert_eq!(value["auth"], member.get("auth").is_some());
            }
            "answers" => {
                self.response = take_handshake(&mut self.raw);
                let member = member(&self.response).unwrap_or_default();
                assert_eq!(value["level"], member.get("version").cloned().unwrap_or(json!(0)));
                assert_eq!(value["auth"], member.get("auth").is_some());
            }
            "refuses" => {
                let refusal: Value = serde_json::from_slice(&take_handshake(&mut self.raw)).unwrap();
                let code = Code::from_number(refusal["error"]["code"].as_i64().unwrap() as i32).unwrap();
                assert!(allowed(value, code), "{code:?}");
            }
            "does" => self.does(value),
            "sends" => self.sends(value),
            "silent" => self.silent(),
            "credits" => {
                let at = |name: &str| value[name].as_u64().unwrap_or(0);
                let told = self.credit.get(&(at("channel") as u16, at("id"))).copied().unwrap_or(0);
                assert!(told >= at("at_least"), "credit of {told}");
            }
            "delivers" => self.delivers(value),
            "item" => {
                let (op, id) = (self.new_op(), self.stream(&value["call"]));
                let item = self.conn.stream_recv(op, id, None);
                let wanted = bytes(&value["payload"]);
                assert!(matches!(&item, Some(Ok(Outcome::Item(item))) if *item == wanted), "{item:?}");
            }
            "finished" => {
                let (op, id) = (self.new_op(), self.stream(value));
                let end = self.conn.stream_recv(op, id, None);
                assert!(matches!(end, Some(Ok(Outcome::StreamEnd(None)))), "{end:?}");
            }
            "replies" => self.replies(value),
            "fails" => self.fails(value),
            "told" => {
                let taken = &self.taken[value["call"].as_str().unwrap()];
                assert!(self.ended.contains(&taken.watch) && !self.conn.is_served(taken.id), "the program was told");
            }
            "ponged" => drop(self.finished("ping", |result| matches!(result, Ok(Outcome::Pong(_))))),
            "drained" => drop(self.finished("drain", |result| matches!(result, Ok(Outcome::Drained)))),
            "closes" => {
                let Some(Out::Control(_, Control::Close(reason))) = self.out.pop_front() else {
                    panic!("no CLOSE; {:?}", self.conn.end_error())
                };
                let code = Code::from_number(reason.code as i32).unwrap();
                assert!(allowed(value, code), "{code:?}: {}", reason.text);
                self.silent();
                self.over = true;
            }
            "ends" => self.ends(value),
            other => panic!("no such step: {other}"),
        }
        self.settle();
    }
}

/// Plays every conversation, what arrives in reads of at most `cut` bytes.
fn play(cut: usize) {
    for case in cases("transcripts.json") {
        println!("transcript {}", case["id"]);
        let mut talk = Talk::new(&case);
        for step in case["steps"].as_array().unwrap() {
            let (name, value) = step.as_object().unwrap().iter().next().unwrap();
            println!("  {name} {}", value.to_string().chars().take(120).collect::<String>());
            talk.step(name, value, cut);
        }
        talk.silent();
    }
}

#[test]
fn transcripts() {
    play(usize::MAX);
}

#[test]
fn transcripts_byte_by_byte() {
    play(1);
}
