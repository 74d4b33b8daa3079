//! Agreeing on level 1: the member `hostlane` of a request and of its response.

use serde_json::{Value, json};

use crate::check::case::Book;
use crate::check::hello::{Hello, request, with, without};
use crate::check::stage::{Stage, demand};
use crate::check::verdict::{Played, Stop};
use crate::check::wire::*;

/// A request with this offer is accepted on level 1; the response's member.
fn agrees(s: &Stage<'_>, offer: Value) -> Played<Value> {
    let (mut p, response) = s.ask(&with(request(s), "hostlane", offer))?;
    p.get_ready(s.settings.secret.as_deref())?;
    p.works()?;
    p.leave()?;
    Ok(response["hostlane"].clone())
}

/// A request with this offer is accepted, on level 0; where a secret is demanded it is refused for that.
fn stays_on_0(s: &Stage<'_>, request: &Value) -> Played {
    if s.settings.secret.is_some() {
        return s.refused(request, "authentication_failed|version_mismatch");
    }
    let (mut p, response) = s.ask(request)?;
    demand(response.get("hostlane").is_none(), || format!("level 1 was granted: {response}"))?;
    p.works()?;
    p.leave()
}

fn offer(s: &Stage<'_>) -> Value {
    Hello::new(s).offer()
}

const ON_0: &str = "It is accepted on level 0: a malformed offer spoils no handshake.";

pub(super) fn cases(b: &mut Book) {
    b.group("agreeing", 1);
    b.server(
        "nominal",
        "14",
        "An offer of level 1.",
        "It is granted: version 1, an instance, and nothing that was not offered.",
        |s| {
            let grant = agrees(s, offer(s))?;
            demand(grant["version"] == 1, || format!("{grant}"))
        },
    );
    b.server(
        "no-offer",
        "14",
        "A request without an offer.",
        "A response without one; the connection is on level 0 to its end.",
        |s| stays_on_0(s, &without(request(s), "hostlane")),
    );
    b.server("no-common-version", "14", "An offer of the levels 2 and 99.", "The connection is on level 0.", |s| {
        stays_on_0(s, &with(request(s), "hostlane", with(offer(s), "versions", json!([2, 99]))))
    });
    b.server("higher-versions-too", "14", "An offer of the levels 99, 1 and 2.", "Level 1 is granted.", |s| {
        agrees(s, with(offer(s), "versions", json!([99, 1, 2]))).map(|_| ())
    });
    for (name, sends, bad) in [
        (
            "offer-of-another-type",
            "Offers that are null, a text, a list, a number.",
            vec![Value::Null, json!("1"), json!([1]), json!(1)],
        ),
        ("empty-offer", "An offer without any member.", vec![json!({})]),
    ] {
        b.server(name, "14", sends, ON_0, move |s| {
            bad.iter().try_for_each(|bad| stays_on_0(s, &with(request(s), "hostlane", bad.clone())))
        });
    }
    for (member, values) in [
        ("versions", vec![Value::Null, json!(1), json!([]), json!(["1"]), json!([1.5]), json!([-1])]),
        (
            "instance",
            vec![Value::Null, json!(7), json!(""), json!("00c0ffee"), json!("g".repeat(32)), json!("0".repeat(33))],
        ),
        (
            "features",
            vec![json!("fds"), json!([1]), json!({"fds": true}), json!(["x".repeat(65)]), json!(vec!["x"; 65])],
        ),
        (
            "limits",
            vec![
                json!(1),
                json!([]),
                json!({"max_message": 0}),
                json!({"window": -1}),
                json!({"max_calls": 1.5}),
                json!({"keepalive_ms": "1"}),
            ],
        ),
    ] {
        let sends = format!("Offers whose {member} is malformed in {} ways.", values.len());
        b.server(&format!("malformed-{member}"), "14", &sends, ON_0, move |s| {
            values.iter().try_for_each(|value| {
                stays_on_0(s, &with(request(s), "hostlane", with(offer(s), member, value.clone())))
            })
        });
    }
    for member in ["versions", "instance"] {
        let sends = format!("An offer without {member}.");
        b.server(&format!("no-{member}"), "14", &sends, ON_0, move |s| {
            stays_on_0(s, &with(request(s), "hostlane", without(offer(s), member)))
        });
    }
    b.server("least-offer", "14", "An offer of versions and instance alone.", "Level 1 is granted.", |s| {
        let bare = without(without(offer(s), "features"), "limits");
        agrees(s, bare).map(|_| ())
    });
    b.server(
        "grease",
        "23",
        "An offer with members, features and limits that nobody knows.",
        "Level 1 is granted, and none of the features.",
        |s| {
            let strange = with(offer(s), "grease-7", json!({"x": [1]}));
            let strange = with(strange, "features", json!(["grease-1", "teleport"]));
            let strange = with(strange, "limits", json!({"grease-2": 5, "window": 1 << 30, "stream_window": 1 << 30}));
            let grant = agrees(s, strange)?;
            let features = grant.get("features").and_then(Value::as_array).map_or(0, Vec::len);
            demand(features == 0, || format!("a feature that nobody knows was granted: {grant}"))
        },
    );
    b.server("most-features", "14", "An offer of 64 features of 64 bytes.", "Level 1 is granted.", |s| {
        let features: Vec<String> = (0..64).map(|n| format!("{n:064}")).collect();
        agrees(s, with(offer(s), "features", json!(features))).map(|_| ())
    });
    b.server("limits-beyond-all-use", "14", "An offer whose limits are 2^53 - 1, all of them.", "They are capped, and level 1 is granted.", |s| {
        let most = json!((1u64 << 53) - 1);
        let limits = json!({"max_message": most, "max_calls": most, "window": most, "stream_window": most, "keepalive_ms": 0});
        agrees(s, with(offer(s), "limits", limits)).map(|_| ())
    });
    b.server(
        "auth-unasked",
        "17",
        "An offer with a proof, to a server that has no secret.",
        "The response does not ask for one.",
        |s| {
            if s.settings.secret.is_some() {
                return Err(Stop::NotApplicable("the server has a secret".into()));
            }
            let auth = json!({"methods": ["hmac-sha256", "grease"], "nonce": "0".repeat(32)});
            let (_, response) = s.ask(&with(request(s), "hostlane", with(offer(s), "auth", auth)))?;
            let asked = response["hostlane"].get("auth").is_some();
            demand(!asked, || "it asks for a proof, and no --secret-file is given".into())
        },
    );
    b.server(
        "frame-behind-the-offer",
        "14",
        "A message of level 0 right behind an offer.",
        "An acceptor that agrees ends the connection: protocol_error.",
        |s| {
            let mut p = s.connect()?;
            p.request = request(s).to_string().into_bytes();
            p.send(&[plain(0, request(s).to_string()), plain(DATA, "never never never")].concat())?;
            p.expect_response()?;
            p.expect_error("protocol_error")
        },
    );
    b.both(
        "level-0-frame",
        "14",
        "A message of level 0 after level 1 was agreed on.",
        "protocol_error: it is not delivered.",
        |s| s.fault(|_| plain(DATA, "never never never"), "protocol_error"),
    );
    b.both("level-0-ping", "14", "A ping of level 0 after level 1 was agreed on.", "protocol_error.", |s| {
        s.fault(|_| plain(0, br#"{"type":"ping"}"#), "protocol_error")
    });
    grants(b);
}

/// A client's offer is granted in this way, and it must not take it.
fn rejects(s: &Stage<'_>, change: impl FnOnce(Value) -> Value) -> Played {
    let mut p = s.connect()?;
    let asked = p.expect_request()?;
    if asked.get("hostlane").is_none() {
        return Err(Stop::NotApplicable("the client does not offer level 1".into()));
    }
    let mut answer = Hello::new(s).response(&asked);
    answer["hostlane"] = change(answer["hostlane"].take());
    p.send(&plain(0, answer.to_string()))?;
    p.expect_error("")
}

const REFUSES: &str = "bad_handshake: the client ends the connection, and its program fails.";

fn grants(b: &mut Book) {
    b.client("granted", "14", "A grant of level 1.", "The client goes on there, makes its call and leaves.", |s| {
        s.ignores(|_| Vec::new())
    });
    b.client(
        "not-granted",
        "14",
        "A response without a grant.",
        "The client goes on on level 0, unless it demands level 1.",
        |s| {
            let mut p = s.connect()?;
            let asked = p.expect_request()?;
            p.answer(&without(Hello::new(s).response(&asked), "hostlane"))?;
            if s.settings.secret.is_some() {
                return p.expect_error("");
            }
            if p.ends_before_a_frame()? {
                s.info("it demands level 1");
                return p.expect_error("");
            }
            p.works()?;
            p.leave()
        },
    );
    for (name, sends, member, value) in [
        ("version-not-offered", "A grant of level 2.", "version", json!(2)),
        ("version-0", "A grant of level 0.", "version", json!(0)),
        ("version-of-another-type", "A grant whose version is a list.", "version", json!([1])),
        ("bad-instance", "A grant whose instance is no 32 digits.", "instance", json!("c0ffee")),
        ("feature-not-offered", "A grant of a feature that was not offered.", "features", json!(["teleport"])),
        ("bad-features", "A grant whose features are a text.", "features", json!("fds")),
        ("bad-limits", "A grant whose limits are a list.", "limits", json!([])),
        ("negative-window", "A grant of a negative window.", "limits", json!({"window": -1})),
        ("max-message-0", "A grant that takes messages of at most 0 bytes.", "limits", json!({"max_message": 0})),
        (
            "auth-not-offered",
            "A grant with a method of proof that was not offered.",
            "auth",
            json!({"method": "crystal-ball", "nonce": "0".repeat(32)}),
        ),
    ] {
        b.client(name, "14", sends, REFUSES, move |s| rejects(s, |grant| with(grant, member, value.clone())));
    }
    for member in ["version", "instance"] {
        let sends = format!("A grant without {member}.");
        b.client(&format!("grant-without-{member}"), "14", &sends, REFUSES, move |s| {
            rejects(s, |grant| without(grant, member))
        });
    }
    b.client("grant-is-a-text", "14", "A grant that is a text.", REFUSES, |s| rejects(s, |_| json!("1")));
    b.client("grease-in-the-grant", "23", "A grant with members that nobody knows.", "They are ignored.", |s| {
        let mut p = s.connect()?;
        let asked = p.expect_request()?;
        let mut answer = Hello::new(s).response(&asked);
        answer["hostlane"]["grease-3"] = json!([{"x": null}]);
        p.answer(&answer)?;
        p.get_ready(s.settings.secret.as_deref())?;
        p.works()?;
        p.leave()
    });
}
