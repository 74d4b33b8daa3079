//! Control messages of level 0.

use serde_json::json;

use crate::check::case::{Ability::Messages, Book};
use crate::check::stage::{Stage, demand};
use crate::check::verdict::{Exit, Played};
use crate::check::wire::*;

fn say(kind: &str) -> Vec<u8> {
    plain(0, json!({"type": kind}).to_string())
}

/// A ping that nests so deep.
fn nested(depth: usize) -> Vec<u8> {
    let payload = format!("{}{}", "[".repeat(depth - 1), "]".repeat(depth - 1));
    plain(0, format!(r#"{{"type":"ping","payload":{payload}}}"#))
}

fn pongs(s: &Stage<'_>, count: usize) -> Played {
    let mut p = s.open()?;
    p.send(&say("ping").repeat(count))?;
    (0..count).try_for_each(|_| p.expect_control("pong"))?;
    p.works()?;
    p.leave()
}

const IGNORED: &str = "It is ignored: a call is answered behind it.";
const BAD: &str = "bad_control: the connection ends.";

pub(super) fn cases(b: &mut Book) {
    b.group("control", 0);
    b.server("ping", "6", "A ping.", "A pong.", |s| pongs(s, 1));
    b.server("many-pings", "6", "Two hundred pings in one write.", "As many pongs.", |s| pongs(s, 200));
    b.server("ping-between-messages", "6", "A ping between two messages.", "Both come back, and a pong.", |s| {
        let mut p = s.open()?;
        p.send(&[plain(DATA, "before"), say("ping"), plain(DATA, "behind")].concat())?;
        let mut came = (0..3).map(|_| p.frame()).collect::<Played<Vec<_>>>()?;
        came.retain(|frame| frame.channel != 0);
        let payloads: Vec<_> = came.iter().map(|frame| &frame.payload[..]).collect();
        demand(payloads == [&b"before"[..], b"behind"], || format!("{came:?} came"))?;
        p.leave()
    })
    .needs(Messages);
    b.server("ping-with-members", "6", "A ping with a payload, a timestamp and a member that nobody knows.", "A pong.", |s| {
        let mut p = s.open()?;
        let ping = json!({"type": "ping", "payload": [1, {"type": "shutdown_force"}], "timestamp": "2030-01-01T00:00:00Z", "grease": 1});
        p.send(&plain(0, ping.to_string()))?;
        p.expect_control("pong")?;
        p.works()?;
        p.leave()
    });
    b.server("nested", "6", "A ping whose payload has it nest 64 deep.", "A pong.", |s| {
        let mut p = s.open()?;
        p.send(&nested(64))?;
        p.expect_control("pong")?;
        p.works()?;
        p.leave()
    });
    b.both("deeply-nested", "6", "A ping whose payload has it nest 5000 deep.", BAD, |s| {
        s.fault(|_| nested(5000), "bad_control")
    });
    b.client(
        "ping-before-the-reply",
        "6",
        "A ping while the client waits for its reply.",
        "A pong, and the call goes on.",
        |s| {
            let mut p = s.open()?;
            let id = p.expect_call()?;
            p.send(&say("ping"))?;
            p.expect_control("pong")?;
            s.exit(Exit::Success);
            let reply = p.as_reply(id, s.payload());
            p.send(&reply)?;
            p.leave()
        },
    );
    b.both("unasked-pong", "6", "A pong that nobody asked for.", IGNORED, |s| s.ignores(|_| say("pong")));
    b.both("unasked-ack", "6", "A shutdown_ack that nobody asked for.", IGNORED, |s| {
        s.ignores(|_| say("shutdown_ack"))
    });
    b.both(
        "unknown-type",
        "6",
        "A control message of an unknown type.",
        "unknown_control: the connection ends.",
        |s| s.fault(|_| say("grease-1"), "unknown_control"),
    );
    for (name, sends, payload) in [
        ("empty", "A control message of no bytes.", &b""[..]),
        ("not-json", "A control message that is no JSON.", b"ping"),
        ("an-array", "A control message in an array.", b"[\"ping\"]"),
        ("no-type", "A control message without type.", b"{\"payload\":\"ping\"}"),
        ("type-is-a-number", "A control message whose type is a number.", b"{\"type\":1}"),
        ("something-behind", "A ping with bytes behind its object.", b"{\"type\":\"ping\"}x"),
        ("not-utf-8", "A ping with bytes that are no UTF-8.", b"{\"type\":\"ping\",\"payload\":\"\xff\"}"),
    ] {
        b.both(name, "6", sends, BAD, move |s| s.fault(|_| plain(0, payload), "bad_control"));
    }
    b.both(
        "too-large",
        "2",
        "The header of a control message of 16385 bytes.",
        "frame_too_large: the connection ends.",
        |s| s.fault(|_| plain_header(HELLO as u32 + 1, 0), "frame_too_large"),
    );
    b.server("largest", "2", "A ping padded to 16384 bytes.", "A pong.", |s| {
        let mut p = s.open()?;
        let mut ping = br#"{"type":"ping"}"#.to_vec();
        ping.resize(HELLO, b' ');
        p.send(&plain(0, ping))?;
        p.expect_control("pong")?;
        p.leave()
    });
    b.both("force", "6", "shutdown_force.", "The connection ends.", |s| s.fault(|_| say("shutdown_force"), ""));
    b.server("flood", "6", "Two thousand pings in one write.", "control_flood: the connection ends.", |s| {
        let mut p = s.open()?;
        p.send(&say("ping").repeat(2000))?;
        p.expect_error("control_flood")
    })
    .alone();
    b.server(
        "flood-of-pongs",
        "6",
        "Two thousand pongs that nobody asked for, in one write.",
        "control_flood: the connection ends.",
        |s| s.fault(|_| say("pong").repeat(2000), "control_flood"),
    )
    .alone();
    b.server(
        "shutdown",
        "6",
        "shutdown_request behind a call.",
        "The reply and shutdown_ack, in whatever order; then the end.",
        |s| {
            let mut p = s.open()?;
            p.send(&[plain(COMMAND, "last"), say("shutdown_request")].concat())?;
            let (first, second) = (p.frame()?, p.frame()?);
            let channels = (first.channel.min(second.channel), first.channel.max(second.channel));
            demand(channels == (0, COMMAND), || format!("{first:?} and {second:?} came"))?;
            p.leave()
        },
    );
    b.server(
        "shutdown-and-on",
        "6",
        "shutdown_request, and messages behind its answer.",
        "The server goes on reading until the stream ends.",
        |s| {
            let mut p = s.open()?;
            p.send(&say("shutdown_request"))?;
            p.expect_control("shutdown_ack")?;
            for _ in 0..100 {
                p.send(&plain(DATA, [b'x'; 4096]))?;
            }
            p.leave()
        },
    );
    b.client(
        "shutdown-before-the-reply",
        "6",
        "shutdown_request while the client waits for its reply, and then the reply.",
        "shutdown_ack; the call in flight has its reply.",
        |s| {
            let mut p = s.open()?;
            let id = p.expect_call()?;
            s.exit(Exit::Success);
            let reply = p.as_reply(id, s.payload());
            p.send(&[reply, say("shutdown_request")].concat())?;
            p.leave()
        },
    );
}
