//! The handshake of level 0, as a server takes it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::check::case::Book;
use crate::check::hello::{Hello, numbers, request, with, without};
use crate::check::stage::{Stage, demand};
use crate::check::verdict::{Played, Stop};
use crate::check::wire::*;

const ACCEPTED: &str = "It is accepted, and a call is answered.";

/// What no member of the handshake may be, by the type that it has to be.
fn of_other_types(right: &str) -> Vec<Value> {
    let all = [
        ("null", Value::Null),
        ("flag", json!(true)),
        ("number", json!(1)),
        ("text", json!("1.0")),
        ("list", json!([1])),
        ("object", json!({})),
    ];
    all.into_iter().filter(|(kind, _)| *kind != right).map(|(_, value)| value).collect()
}

/// The request is accepted, with these channels.
fn grants(s: &Stage<'_>, request: &Value, channels: &[u64]) -> Played {
    let (mut p, response) = s.ask(request)?;
    let granted = numbers(&response["channels"]);
    demand(granted == channels, || format!("{channels:?} is due, and {granted:?} was granted"))?;
    if channels.contains(&1) {
        p.works()?;
    }
    p.leave()
}

/// A payload that is no request.
fn payload_is_refused(s: &Stage<'_>, payload: &[u8], names: &str) -> Played {
    s.turned_away(&plain(0, payload), names)
}

/// A request that nests so deep.
fn nested(s: &Stage<'_>, depth: usize) -> Vec<u8> {
    let member = format!("{}{}", "[".repeat(depth - 1), "]".repeat(depth - 1));
    request(s).to_string().replacen('{', &format!("{{\"deep\":{member},"), 1).into_bytes()
}

/// A request of just this length.
fn padded(s: &Stage<'_>, length: usize) -> Vec<u8> {
    let mut payload = request(s).to_string().into_bytes();
    payload.resize(length, b' ');
    payload
}

pub(super) fn cases(b: &mut Book) {
    b.group("handshake", 0);
    accepted(b);
    forms(b);
    versions(b);
    channels(b);
    time(b);
    tokens(b);
}

fn accepted(b: &mut Book) {
    b.server("nominal", "4", "A request for channels 1 to 4.", "A response with all of them, and a peer id.", |s| {
        grants(s, &request(s), &[1, 2, 3, 4])
    });
    b.server("any-order", "4", "A request whose members stand in another order.", ACCEPTED, |s| {
        let mut p = s.connect()?;
        let token =
            s.settings.token.as_ref().map_or(String::new(), |token| format!("\"auth_token\":{},", json!(token)));
        p.say_hello(format!("{{\"channels\":[1],{token}\"version\":\"1.0\",\"protocol\":\"ipcprims\"}}").as_bytes())?;
        p.expect_response()?;
        p.works()?;
        p.leave()
    });
    b.server("white-space", "4", "A request with white space before, within and behind it.", ACCEPTED, |s| {
        let mut p = s.connect()?;
        p.say_hello(format!(" \r\n\t{}\n\t ", request(s).to_string().replace(',', " ,\n ")).as_bytes())?;
        p.expect_response()?;
        p.works()?;
        p.leave()
    });
    b.server("unknown-member", "4", "A request with members that nobody knows.", ACCEPTED, |s| {
        let strange = json!({"deep": [[[{"x": null}]]], "protocol": "other"});
        grants(s, &with(with(request(s), "grease-1", strange), "error", json!(7)), &[1, 2, 3, 4])
    });
    b.server("null-token", "4", "A request whose auth_token is null.", "It counts as absent.", |s| {
        if s.settings.token.is_some() {
            return Err(Stop::NotApplicable("the server demands a token".into()));
        }
        grants(s, &with(request(s), "auth_token", Value::Null), &[1, 2, 3, 4])
    });
    b.server("largest-request", "4", "A request padded to 16384 bytes.", ACCEPTED, |s| {
        let mut p = s.connect()?;
        p.say_hello(&padded(s, HELLO))?;
        p.expect_response()?;
        p.works()?;
        p.leave()
    });
    b.server("pipelined", "4", "A request and a hundred calls in one write.", "None of them is lost.", |s| {
        let mut p = s.connect()?;
        let calls: Vec<u8> = (0..100u32).flat_map(|n| plain(COMMAND, n.to_le_bytes())).collect();
        p.request = request(s).to_string().into_bytes();
        p.send(&[plain(0, request(s).to_string()), calls].concat())?;
        p.expect_response()?;
        (0..100u32).try_for_each(|n| p.reply(0, &n.to_le_bytes()))?;
        p.leave()
    });
}

fn forms(b: &mut Book) {
    b.server("first-frame-on-another-channel", "4", "A good request, on channel 1.", "bad_handshake.", |s| {
        s.turned_away(&plain(COMMAND, request(s).to_string()), "bad_handshake")
    });
    b.server("message-first", "4", "A message before any request.", "bad_handshake: it is not delivered.", |s| {
        s.turned_away(&[plain(DATA, "never"), plain(0, request(s).to_string())].concat(), "bad_handshake")
    });
    b.server("control-first", "4", "A ping before any request.", "bad_handshake.", |s| {
        payload_is_refused(s, br#"{"type":"ping"}"#, "bad_handshake")
    });
    for (name, sends, payload) in [
        ("empty", "A request of no bytes.", &b""[..]),
        ("empty-object", "A request without any member.", b"{}"),
        ("not-json", "A request that is no JSON.", b"protocol=ipcprims"),
        (
            "not-utf-8",
            "A request with bytes that are no UTF-8.",
            b"{\"protocol\":\"ipcprims\",\"version\":\"1.0\",\"channels\":[1],\"x\":\"\xff\"}",
        ),
        ("an-array", "A request in an array.", b"[\"ipcprims\",\"1.0\",[1]]"),
        ("a-text", "A request that is a text.", b"\"ipcprims\""),
        (
            "unfinished",
            "A request without its last bracket.",
            b"{\"protocol\":\"ipcprims\",\"version\":\"1.0\",\"channels\":[1]",
        ),
        (
            "byte-order-mark",
            "A request behind a byte order mark.",
            b"\xef\xbb\xbf{\"protocol\":\"ipcprims\",\"version\":\"1.0\",\"channels\":[1]}",
        ),
        (
            "two-objects",
            "A request with a second object behind it.",
            b"{\"protocol\":\"ipcprims\",\"version\":\"1.0\",\"channels\":[1]}{}",
        ),
        (
            "a-nul-behind",
            "A request with a zero byte behind it.",
            b"{\"protocol\":\"ipcprims\",\"version\":\"1.0\",\"channels\":[1]}\0",
        ),
    ] {
        b.server(name, "4", sends, "bad_handshake.", move |s| payload_is_refused(s, payload, "bad_handshake"));
    }
    b.server(
        "duplicate-member",
        "4",
        "A request that has protocol twice.",
        "Left open; the connection is served or refused, not stuck.",
        |s| {
            let mut p = s.connect()?;
            p.say_hello(br#"{"protocol":"other","protocol":"ipcprims","version":"1.0","channels":[1]}"#)?;
            let reply = p.expect_hello()?;
            let refused = reply.windows(7).any(|part| part == b"\"error\"");
            s.info(if refused { "it is refused" } else { "the last one counts" });
            Ok(())
        },
    );
    b.server("nested", "4", "An unknown member; the request nests 64 deep.", "It is accepted.", |s| {
        let mut p = s.connect()?;
        p.say_hello(&nested(s, 64))?;
        p.expect_response()?;
        Ok(())
    });
    b.server("deeply-nested", "4", "An unknown member; the request nests 5000 deep.", "bad_handshake.", |s| {
        payload_is_refused(s, &nested(s, 5000), "bad_handshake")
    });
    for (member, right) in [("protocol", "text"), ("version", "text"), ("channels", "list")] {
        let sends = format!("A request without {member}.");
        b.server(&format!("no-{member}"), "4", &sends, "bad_handshake.", move |s| {
            s.refused(&without(request(s), member), "bad_handshake")
        });
        let sends = format!("Requests whose {member} is of each other type.");
        b.server(&format!("{member}-of-another-type"), "4", &sends, "bad_handshake.", move |s| {
            of_other_types(right)
                .into_iter()
                .try_for_each(|value| s.refused(&with(request(s), member, value), "bad_handshake"))
        });
    }
    b.server(
        "token-of-another-type",
        "4",
        "Requests whose auth_token is a number, a list, an object.",
        "bad_handshake.",
        |s| {
            [json!(1), json!(["x"]), json!({"x": 1}), json!(false)]
                .into_iter()
                .try_for_each(|value| s.refused(&with(request(s), "auth_token", value), "bad_handshake"))
        },
    );
    b.server("token-too-long", "4", "A request whose auth_token has 4097 bytes.", "bad_handshake.", |s| {
        s.refused(&with(request(s), "auth_token", json!("x".repeat(4097))), "bad_handshake")
    });
    b.server("token-empty", "4", "A request whose auth_token is empty.", "bad_handshake.", |s| {
        s.refused(&with(request(s), "auth_token", json!("")), "bad_handshake")
    });
    b.server(
        "too-large",
        "4",
        "The header of a request of 16385 bytes.",
        "frame_too_large, from the header alone.",
        |s| s.turned_away(&plain_header(HELLO as u32 + 1, 0), "frame_too_large"),
    );
    b.server(
        "far-too-large",
        "4",
        "The header of a request of 4294967295 bytes.",
        "frame_too_large, from the header alone.",
        |s| s.turned_away(&plain_header(u32::MAX, 0), "frame_too_large"),
    );
    b.server(
        "second-request",
        "6",
        "The request again, once the connection is open.",
        "bad_control: the connection ends.",
        |s| s.fault(|p| plain(0, &p.request), "bad_control"),
    );
    b.server(
        "precedence",
        "4",
        "A request of another protocol and another version, without a channel.",
        "protocol_mismatch, which is judged first.",
        |s| {
            let all = json!({"protocol": "other", "version": "9.0", "channels": []});
            s.refused(&all, "protocol_mismatch")?;
            s.refused(&with(with(request(s), "version", json!("9.0")), "channels", json!([])), "version_mismatch")
        },
    );
}

fn versions(b: &mut Book) {
    b.server("other-protocol", "4", "A request of the protocol OTHER.", "protocol_mismatch.", |s| {
        s.refused(&with(request(s), "protocol", json!("OTHER")), "protocol_mismatch")
    });
    b.server("protocol-too-long", "4", "Requests whose protocol is empty, and has 33 bytes.", "bad_handshake.", |s| {
        s.refused(&with(request(s), "protocol", json!("")), "bad_handshake")?;
        s.refused(&with(request(s), "protocol", json!("p".repeat(33))), "bad_handshake")
    });
    b.server("higher-major", "4", "A request of version 2.0.", "version_mismatch.", |s| {
        s.refused(&with(request(s), "version", json!("2.0")), "version_mismatch")
    });
    b.server("lower-major", "4", "A request of version 0.9.", "version_mismatch.", |s| {
        s.refused(&with(request(s), "version", json!("0.9")), "version_mismatch")
    });
    b.server("higher-minor", "4", "A request of version 1.7.", "It is accepted with the server's own version.", |s| {
        grants(s, &with(request(s), "version", json!("1.7")), &[1, 2, 3, 4])
    });
    b.server(
        "malformed-versions",
        "4",
        "Requests of versions such as 1, 1.x, -1.0 and 65536.0.",
        "bad_handshake.",
        |s| {
            [
                "",
                "1",
                "1.",
                ".0",
                "1.x",
                "1.0.0",
                "-1.0",
                "+1.0",
                " 1.0",
                "1.0 ",
                "1,0",
                "65536.0",
                "1.0000000000000000",
            ]
            .into_iter()
            .try_for_each(|version| s.refused(&with(request(s), "version", json!(version)), "bad_handshake"))
        },
    );
}

fn channels(b: &mut Book) {
    let asks = |s: &Stage<'_>, list: Value| with(request(s), "channels", list);
    b.server(
        "order-of-channels",
        "4",
        "A request for channels 4, 2 and 1.",
        "They are granted in this order.",
        move |s| grants(s, &asks(s, json!([4, 2, 1])), &[4, 2, 1]),
    );
    b.server(
        "duplicate-channels",
        "4",
        "A request for channels 2, 1, 2, 1, 2.",
        "2 and 1 are granted, each once.",
        move |s| grants(s, &asks(s, json!([2, 1, 2, 1, 2])), &[2, 1]),
    );
    b.server("most-channels", "4", "A request for 256 channels, most of them twice.", ACCEPTED, move |s| {
        grants(s, &asks(s, json!(vec![1; 256])), &[1])
    });
    b.server("too-many-channels", "4", "A request for 257 channels.", "bad_handshake.", move |s| {
        s.refused(&asks(s, json!(vec![1; 257])), "bad_handshake")
    });
    b.server("no-channels-at-all", "4", "A request for no channel.", "no_common_channel.", move |s| {
        s.refused(&asks(s, json!([])), "no_common_channel")
    });
    b.server("channel-0", "4", "A request for channels 0 and 1.", "bad_handshake.", move |s| {
        s.refused(&asks(s, json!([0, 1])), "bad_handshake")
    });
    b.server(
        "no-channel-numbers",
        "4",
        "Requests for the channels -1, 65536, 1.5, true and \"1\".",
        "bad_handshake.",
        move |s| {
            [json!([-1]), json!([65_536]), json!([1.5]), json!([true]), json!(["1"]), json!([[1]])]
                .into_iter()
                .try_for_each(|list| s.refused(&asks(s, list), "bad_handshake"))
        },
    );
    b.server("reserved-channels", "3", "A request for channels 5, 1 and 255.", "Only 1 is granted.", move |s| {
        grants(s, &asks(s, json!([5, 1, 255])), &[1])
    });
    b.server("only-reserved-channels", "3", "A request for channels 5 and 255.", "no_common_channel.", move |s| {
        s.refused(&asks(s, json!([5, 255])), "no_common_channel")
    });
}

/// How long a handshake may take by default.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// The connection has to be ended by the handshake's deadline, give or take a second.
fn ends_in_time(s: &Stage<'_>, began: Instant) {
    let took = began.elapsed();
    let (least, most) = (HANDSHAKE - Duration::from_secs(1), s.settings.time(HANDSHAKE + Duration::from_secs(1)));
    if took < least || took > most {
        s.info(format!("the handshake may take {} ms here", took.as_millis()));
    }
}

fn time(b: &mut Book) {
    b.server(
        "silent",
        "4",
        "Nothing at all.",
        "timeout: the connection ends after 5 s, or what the server is set to.",
        |s| {
            let began = Instant::now();
            s.turned_away(b"", "timeout")?;
            ends_in_time(s, began);
            Ok(())
        },
    )
    .within(12);
    b.server(
        "half-a-request",
        "4",
        "Half a request, and then nothing.",
        "timeout: the connection ends after 5 s, or what the server is set to.",
        |s| {
            let began = Instant::now();
            let bytes = plain(0, request(s).to_string());
            s.turned_away(&bytes[..bytes.len() / 2], "timeout")?;
            ends_in_time(s, began);
            Ok(())
        },
    )
    .within(12);
    b.server(
        "dripping",
        "4",
        "A request that drips, a byte each quarter of a second.",
        "timeout: bytes that trickle in do not extend it.",
        |s| {
            let began = Instant::now();
            let mut p = s.connect()?;
            for byte in plain(0, request(s).to_string()) {
                if !p.send_deaf(&[byte])? || p.ends_within(Duration::from_millis(250))? {
                    break;
                }
            }
            p.expect_error("timeout")?;
            ends_in_time(s, began);
            Ok(())
        },
    )
    .within(20);
    b.server(
        "silent-neighbours",
        "4",
        "Fifty silent connections, and then an honest client.",
        "It is served at once.",
        |s| {
            let silent = (0..50).map(|_| s.connect()).collect::<Played<Vec<_>>>()?;
            let began = Instant::now();
            let mut p = s.open()?;
            p.works()?;
            demand(began.elapsed() < s.settings.time(Duration::from_secs(1)), || {
                "it waited for more than a second".into()
            })?;
            drop(silent);
            p.leave()
        },
    )
    .alone();
    b.server("comes-and-goes", "4", "Two hundred connections that end at once.", "The server goes on.", |s| {
        (0..200).try_for_each(|_| s.connect().map(drop))?;
        let mut p = s.open()?;
        p.works()?;
        p.leave()
    })
    .alone();
}

fn tokens(b: &mut Book) {
    let token = |s: &Stage<'_>| s.settings.token.clone().ok_or_else(|| Stop::NotApplicable("no --token-file".into()));
    b.server(
        "token-missing",
        "5",
        "A request without the token that is demanded.",
        "authentication_failed.",
        move |s| {
            token(s)?;
            s.refused(&without(request(s), "auth_token"), "authentication_failed")
        },
    );
    b.server(
        "token-wrong",
        "5",
        "Requests with the first half of the token, with more than it, and with another one.",
        "authentication_failed.",
        move |s| {
            let right = token(s)?;
            let wrong = [format!("{right}x"), format!("{right}\0"), right.to_uppercase() + "!", "x".repeat(4096)];
            wrong
                .into_iter()
                .try_for_each(|wrong| s.refused(&with(request(s), "auth_token", json!(wrong)), "authentication_failed"))
        },
    );
    b.server("token-right", "5", "A request with the token that is demanded.", ACCEPTED, move |s| {
        token(s)?;
        let mut p = s.open_as(&Hello::new(s))?;
        p.works()?;
        p.leave()
    });
    b.server(
        "token-before-channels",
        "4",
        "A request without the token and without a channel.",
        "authentication_failed, which is judged first.",
        move |s| {
            token(s)?;
            s.refused(&with(without(request(s), "auth_token"), "channels", json!([])), "authentication_failed")
        },
    );
}
