//! The handshake of level 0, as a client takes the answer.

use std::time::Duration;

use serde_json::{Value, json};

use crate::check::case::Book;
use crate::check::hello::{Hello, with, without};
use crate::check::lane::Phase;
use crate::check::stage::Stage;
use crate::check::verdict::{Exit, Played};
use crate::check::wire::*;

/// A client's request is answered with this, and it must not take it.
fn rejects(s: &Stage<'_>, change: impl FnOnce(Value) -> Value) -> Played {
    let mut p = s.connect()?;
    let asked = p.expect_request()?;
    let answer = change(Hello::new(s).response(&asked));
    p.send(&plain(0, answer.to_string()))?;
    p.expect_error("")
}

/// The same with bytes that are no response at all.
fn rejects_bytes(s: &Stage<'_>, bytes: impl FnOnce(&Value) -> Vec<u8>) -> Played {
    let mut p = s.connect()?;
    let asked = p.expect_request()?;
    p.send(&bytes(&Hello::new(s).response(&asked)))?;
    p.expect_error("")
}

/// A changed response that is as good as any.
fn takes(s: &Stage<'_>, change: impl FnOnce(Value) -> Value) -> Played {
    let mut p = s.connect()?;
    let asked = p.expect_request()?;
    p.answer(&change(Hello::new(s).response(&asked)))?;
    p.works()?;
    p.leave()
}

const REFUSES: &str = "The client ends the connection, and its program fails.";
const TAKES: &str = "The client takes it, makes its call and leaves.";

pub(super) fn cases(b: &mut Book) {
    b.group("answer", 0);
    b.client("nominal", "4", "A response that grants what was asked for.", TAKES, |s| takes(s, |answer| answer));
    b.client("unknown-member", "4", "A response with members that nobody knows.", TAKES, |s| {
        takes(s, |answer| with(answer, "grease-1", json!({"x": [1, null]})))
    });
    b.client("fewer-channels", "4", "A response that grants COMMAND alone.", TAKES, |s| {
        takes(s, |answer| with(answer, "channels", json!([1])))
    });
    b.client("longest-peer-id", "4", "A peer_id of 128 bytes.", TAKES, |s| {
        takes(s, |answer| with(answer, "peer_id", json!("p".repeat(128))))
    });
    b.client("padded", "4", "A response padded to 16384 bytes.", TAKES, |s| {
        let mut p = s.connect()?;
        let asked = p.expect_request()?;
        let mut answer = Hello::new(s).response(&asked).to_string().into_bytes();
        answer.resize(HELLO, b' ');
        p.send(&plain(0, answer))?;
        p.phase = Phase::Open;
        p.works()?;
        p.leave()
    });
    for member in ["protocol", "version", "channels", "peer_id"] {
        let sends = format!("A response without {member}.");
        let name = member.replace('_', "-");
        b.client(&format!("no-{name}"), "4", &sends, REFUSES, move |s| rejects(s, |answer| without(answer, member)));
        let sends = format!("A response whose {member} is an object.");
        b.client(&format!("{name}-of-another-type"), "4", &sends, REFUSES, move |s| {
            rejects(s, |answer| with(answer, member, json!({"x": 1})))
        });
    }
    for (name, sends, member, value) in [
        ("other-protocol", "A response of another protocol.", "protocol", json!("other")),
        ("other-major", "A response of version 2.0.", "version", json!("2.0")),
        ("malformed-version", "A response of version 1.x.", "version", json!("1.x")),
        ("no-channel-granted", "A response that grants no channel.", "channels", json!([])),
        ("not-asked-for", "A response that grants channel 300 too.", "channels", json!([1, 2, 300])),
        ("channel-0", "A response that grants channel 0 too.", "channels", json!([0, 1])),
        ("no-channel-number", "A response that grants channel 65536 too.", "channels", json!([1, 65_536])),
        ("empty-peer-id", "An empty peer_id.", "peer_id", json!("")),
        ("peer-id-too-long", "A peer_id of 129 bytes.", "peer_id", json!("p".repeat(129))),
        ("control-in-peer-id", "A peer_id with a line end in it.", "peer_id", json!("peer\n1")),
    ] {
        b.client(name, "4", sends, REFUSES, move |s| rejects(s, |answer| with(answer, member, value.clone())));
    }
    for (name, sends, payload) in [
        ("empty", "A response of no bytes.", &b""[..]),
        ("not-json", "A response that is no JSON.", b"welcome"),
        ("an-array", "A response that is an array.", b"[]"),
        ("not-utf-8", "A response that is no UTF-8.", b"{\"protocol\":\"\xff\"}"),
    ] {
        b.client(name, "4", sends, REFUSES, move |s| rejects_bytes(s, |_| plain(0, payload)));
    }
    b.client("something-behind", "4", "A response with a second object behind it, in its payload.", REFUSES, |s| {
        rejects_bytes(s, |answer| plain(0, format!("{answer}{{}}")))
    });
    b.client("on-another-channel", "4", "A good response, on channel 1.", REFUSES, |s| {
        rejects_bytes(s, |answer| plain(COMMAND, answer.to_string()))
    });
    b.client("too-large", "4", "The header of a response of 16385 bytes.", REFUSES, |s| {
        rejects_bytes(s, |_| plain_header(HELLO as u32 + 1, 0))
    });
    b.client("bad-magic", "2", "A good response behind another magic.", REFUSES, |s| {
        rejects_bytes(s, |answer| [b"PI", &plain(0, answer.to_string())[2..]].concat())
    });
    b.client("http", "2", "What a server of HTTP answers.", REFUSES, |s| {
        rejects_bytes(s, |_| b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n".to_vec())
    });
    for (name, sends, error) in [
        (
            "refusal",
            "A refusal with version_mismatch.",
            json!({"code": 309, "name": "version_mismatch", "message": "1.0 is spoken here"}),
        ),
        (
            "refusal-of-the-future",
            "A refusal with a code that nobody knows.",
            json!({"code": 399, "name": "not_today", "message": "come back"}),
        ),
        ("refusal-without-a-name", "A refusal that has a code alone.", json!({"code": 309})),
    ] {
        b.client(name, "4", sends, REFUSES, move |s| {
            rejects(s, |_| json!({"protocol": "ipcprims", "version": "1.0", "error": error}))
        });
    }
    b.client("without-a-word", "4", "Nothing: the connection is ended behind the request.", REFUSES, |s| {
        let mut p = s.connect()?;
        p.expect_request()?;
        s.exit(Exit::Failure);
        p.half_close();
        p.expect_close()
    });
    b.client("half-a-response", "9", "Half a response, and the end of the stream.", REFUSES, |s| {
        let mut p = s.connect()?;
        let asked = p.expect_request()?;
        let bytes = plain(0, Hello::new(s).response(&asked).to_string());
        s.exit(Exit::Failure);
        p.send(&bytes[..bytes.len() / 2])?;
        p.half_close();
        p.expect_close()
    });
    b.client("never", "4", "Nothing, for ever.", "The client gives up at its deadline, and its program fails.", |s| {
        let mut p = s.connect()?;
        p.expect_request()?;
        p.expect_error("")
    })
    .within(12);
    b.client(
        "dripping",
        "4",
        "A response that drips, a byte each quarter of a second.",
        "Bytes that trickle in do not extend the deadline.",
        |s| {
            let mut p = s.connect()?;
            let asked = p.expect_request()?;
            for byte in plain(0, Hello::new(s).response(&asked).to_string()) {
                if !p.send_deaf(&[byte])? || p.ends_within(Duration::from_millis(250))? {
                    break;
                }
            }
            p.expect_error("")
        },
    )
    .within(20);
    b.client("second-response", "6", "The response twice.", "bad_control: the connection ends.", |s| {
        s.fault(|p| plain(0, &p.response), "bad_control")
    });
}
