//! A received message as the command line shows it.

use std::time::{Instant, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hostlane::schema::Violation;
use hostlane::{Error, Info, Message};
use serde::Serialize;

use crate::logging::printable;
use crate::output::Report;

/// One message. The payload is `text` where it is UTF-8, else `base64`; nothing of it is lost.
#[derive(Serialize)]
pub(crate) struct Received<'a> {
    channel: u16,
    channel_name: Option<&'static str>,
    size: usize,
    #[serde(flatten)]
    payload: Payload<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    call: Option<Call>,
    peer_id: Option<&'a str>,
    credentials: Option<Credentials>,
    timestamp: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    violation: Option<Broken<'a>>,
    #[serde(skip)]
    bytes: &'a [u8],
}

#[derive(Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Payload<'a> {
    Text(&'a str),
    Base64(String),
}

impl<'a> Payload<'a> {
    pub(crate) fn of(bytes: &'a [u8]) -> Payload<'a> {
        match std::str::from_utf8(bytes) {
            Ok(text) => Payload::Text(text),
            Err(_) => Payload::Base64(STANDARD.encode(bytes)),
        }
    }

    pub(crate) fn shown(&self) -> String {
        match self {
            Payload::Text(text) => printable(text),
            Payload::Base64(text) => format!("base64:{text}"),
        }
    }
}

/// What makes a message a call.
#[derive(Serialize)]
struct Call {
    id: u64,
    /// Whether its caller may send and take items.
    stream: bool,
    /// How long its caller still waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    deadline_ms: Option<u64>,
}

impl Call {
    fn of(message: &Message) -> Option<Call> {
        let left = |at: Instant| at.saturating_duration_since(Instant::now()).as_millis();
        Some(Call {
            id: message.call_id()?,
            stream: message.is_stream(),
            deadline_ms: message.deadline().map(|at| left(at).try_into().unwrap_or(u64::MAX)),
        })
    }
}

/// Who is at the other end, as the kernel reports it.
#[derive(Serialize)]
pub(crate) struct Credentials {
    pub(crate) pid: i32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

impl From<hostlane::Credentials> for Credentials {
    fn from(from: hostlane::Credentials) -> Credentials {
        Credentials { pid: from.pid, uid: from.uid, gid: from.gid }
    }
}

/// Where and why a payload does not satisfy its schema.
#[derive(Serialize)]
struct Broken<'a> {
    path: &'a str,
    schema_path: &'a str,
    message: &'a str,
}

impl<'a> Received<'a> {
    pub(crate) fn new(message: &'a Message, from: &'a Info, violation: Option<&'a Violation>) -> Self {
        Received::of(message, Some(from), violation)
    }

    /// Of a connection that ended before anybody could ask who was there, `from` is `None`.
    pub(crate) fn of(message: &'a Message, from: Option<&'a Info>, violation: Option<&'a Violation>) -> Self {
        let bytes: &[u8] = message.payload();
        Received {
            channel: message.channel().number(),
            channel_name: message.channel().name(),
            size: bytes.len(),
            payload: Payload::of(bytes),
            call: Call::of(message),
            peer_id: from.map(|from| &*from.peer_id),
            credentials: from.and_then(|from| from.credentials).map(Credentials::from),
            timestamp: now(),
            violation: violation.map(|violation| Broken {
                path: violation.instance_path(),
                schema_path: violation.schema_path(),
                message: violation.text(),
            }),
            bytes,
        }
    }
}

/// RFC 3339, UTC.
pub(crate) fn now() -> String {
    humantime::format_rfc3339_micros(SystemTime::now()).to_string()
}

impl Report for Received<'_> {
    fn table(&self) -> String {
        let payload = self.payload.shown();
        let channel = self.channel_name.map_or(self.channel.to_string(), str::to_owned);
        let mut line = format!(
            "{}  {channel:<9}  {:>8}  {:<10}  {payload}\n",
            self.timestamp,
            self.size,
            printable(self.peer_id.unwrap_or("?")),
        );
        if let Some(call) = &self.call {
            let stream = if call.stream { ", a stream" } else { "" };
            let deadline = call.deadline_ms.map_or(String::new(), |ms| format!(", answer wanted within {ms} ms"));
            line += &format!("  call {}{stream}{deadline}\n", call.id);
        }
        if let Some(broken) = &self.violation {
            let (path, why) = (printable(broken.path), printable(broken.message));
            line += &format!("  violates its schema at \"{path}\": {why}\n");
        }
        line
    }

    fn raw(&self) -> Vec<u8> {
        self.bytes.to_vec()
    }
}

/// A call that the program at the other end failed.
#[derive(Serialize)]
pub(crate) struct Failed<'a> {
    error: &'static str,
    status: u32,
    size: usize,
    #[serde(flatten)]
    data: Payload<'a>,
    #[serde(skip)]
    bytes: &'a [u8],
}

impl<'a> Failed<'a> {
    /// `None` for an error that is not the other program's.
    pub(crate) fn new(error: &'a Error) -> Option<Failed<'a>> {
        let bytes = error.data();
        Some(Failed {
            error: error.code().name(),
            status: error.status()?,
            size: bytes.len(),
            data: Payload::of(bytes),
            bytes,
        })
    }
}

impl Report for Failed<'_> {
    fn table(&self) -> String {
        format!("{} {}  {:>8}  {}\n", self.error, self.status, self.size, self.data.shown())
    }

    fn raw(&self) -> Vec<u8> {
        self.bytes.to_vec()
    }
}
