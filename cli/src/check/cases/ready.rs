//! From the response to READY: proofs, and what may not come before.

use std::time::Instant;

use serde_json::json;

use crate::check::case::{Book, Role};
use crate::check::hello::{Hello, request, with, without};
use crate::check::lane::{Lane, Phase};
use crate::check::script::NEVER;
use crate::check::stage::Stage;
use crate::check::verdict::{Exit, Played, Stop};
use crate::check::wire::*;

/// Level 1 is agreed on, and where there is a secret the proofs are exchanged; READY is not sent.
fn agreed<'s>(s: &'s Stage<'s>) -> Played<Lane<'s>> {
    if s.settings.secret.is_some() {
        return Err(Stop::NotApplicable("played without a secret".into()));
    }
    let mut p = s.connect()?;
    let hello = Hello::new(s);
    match s.role() {
        Role::Server => {
            p.say_hello(&text(&hello.request()))?;
            p.expect_response()?;
        }
        Role::Client => {
            let asked = p.expect_request()?;
            if asked.get("hostlane").is_none() {
                return Err(Stop::NotApplicable("the client does not offer level 1".into()));
            }
            p.answer(&hello.response(&asked))?;
        }
    }
    Ok(p)
}

fn too_early(s: &Stage<'_>, bytes: &[u8], names: &str) -> Played {
    let mut p = agreed(s)?;
    p.send(bytes)?;
    p.expect_error(names)
}

/// READY in this form is as good as any.
fn takes(s: &Stage<'_>, bytes: &[&[u8]]) -> Played {
    let mut p = agreed(s)?;
    p.send_each(bytes.iter().copied())?;
    p.expect(READY)?;
    p.works()?;
    p.leave()
}

const EARLY: &str = "protocol_error: it is not legal before READY.";

pub(super) fn cases(b: &mut Book) {
    b.group("ready", 1);
    let payload = [0u8; 32];
    for (name, kind, flags) in [
        ("ping", PING, 0),
        ("pong", PONG, 0),
        ("goaway", GOAWAY, 0),
        ("drain-ack", DRAIN_ACK, 0),
        ("error", FAILED, 0),
        ("credit", CREDIT, 0),
        ("cancel", CANCEL, 0),
        ("refuse", REFUSE, 0),
        ("message", MESSAGE, WHOLE),
        ("request", REQUEST, WHOLE),
        ("response", RESPONSE, WHOLE),
        ("stream", STREAM, WHOLE),
    ] {
        let sends = format!("{} before READY.", kind_name(kind));
        b.both(&format!("{name}-too-early"), "17", &sends, EARLY, move |s| {
            too_early(s, &frame(kind, flags, 1, 1, payload), "protocol_error")
        });
    }
    b.both("unknown-too-early", "17", "A frame of an unknown type before READY, without CRITICAL.", EARLY, |s| {
        too_early(s, &frame(0x30, 0, 0, 0, NEVER), "protocol_error")
    });
    b.both("auth-unasked", "17", "AUTH where no proof was agreed on.", "protocol_error.", |s| {
        too_early(s, &control(AUTH, [7; 32]), "protocol_error")
    });
    b.both("second-ready", "17", "READY twice.", "protocol_error.", |s| {
        s.fault(|_| control(READY, []), "protocol_error")
    });
    b.both("auth-behind-ready", "17", "AUTH on an open connection.", "protocol_error.", |s| {
        s.fault(|_| control(AUTH, [7; 32]), "protocol_error")
    });
    b.both("too-large", "17", "READY with 1025 bytes announced.", "frame_too_large, from the header alone.", |s| {
        too_early(s, &header(1025, READY, 0, 0, 0), "frame_too_large")
    });
    b.both("grease-too-large", "17", "GREASE of 1025 bytes before READY.", "frame_too_large.", |s| {
        too_early(s, &header(1025, GREASE, 0, 0, 0), "frame_too_large")
    });
    b.both("nop-and-grease", "17", "NOP and GREASE before READY.", "They are ignored.", |s| {
        takes(s, &[&control(NOP, []), &frame(GREASE, 0, 9, 9, b"grease"), &control(NOP, []), &control(READY, [])])
    });
    b.both("octet-by-octet", "17", "READY, every byte in a write of its own.", "It counts like any other.", |s| {
        takes(s, &control(READY, []).chunks(1).collect::<Vec<_>>())
    });
    b.both("with-extensions", "16", "READY with extensions that nobody knows.", "They are ignored.", |s| {
        takes(s, &[&control(READY, [ext(0x7F01, b"grease"), ext(0x0099, b"")].concat())])
    });
    b.both(
        "with-a-critical-extension",
        "16",
        "READY with an unknown extension whose highest bit is set.",
        "protocol_error.",
        |s| too_early(s, &control(READY, ext(0x8099, b"")), "protocol_error"),
    );
    b.both(
        "with-half-an-extension",
        "16",
        "READY with an extension that is longer than its frame.",
        "protocol_error.",
        |s| too_early(s, &control(READY, &ext(0x0099, b"abcd")[..6]), "protocol_error"),
    );
    b.server("call-in-the-same-write", "17", "READY and a call in one write.", "The call is answered.", |s| {
        let mut p = agreed(s)?;
        let id = p.fresh();
        p.send(&[control(READY, []), crate::check::wire::request(id, b"at once")].concat())?;
        p.expect(READY)?;
        p.reply(id, b"at once")?;
        p.leave()
    });
    b.client(
        "response-and-ready-in-one-write",
        "14",
        "The response, READY and PING in one write.",
        "The client takes them all.",
        |s| {
            if s.settings.secret.is_some() {
                return Err(Stop::NotApplicable("played without a secret".into()));
            }
            let mut p = s.connect()?;
            let asked = p.expect_request()?;
            let answer = Hello::new(s).response(&asked).to_string();
            p.send(&[plain(0, answer), control(READY, []), control(PING, b"01234567")].concat())?;
            p.form = Form::Numbered;
            p.phase = Phase::Open;
            p.expect(READY)?;
            p.expect_pong(b"01234567")?;
            p.works()?;
            p.leave()
        },
    );
    b.both("closed", "17", "CLOSE in place of READY.", "It is legal: the connection ends.", |s| {
        let mut p = agreed(s)?;
        s.exit(Exit::Failure);
        p.send(&control(CLOSE, coded("authentication_failed", "no secret here")))?;
        p.half_close();
        p.expect_close()
    });
    b.both("never", "17", "No READY.", "timeout: the deadline of the handshake lasts until READY.", |s| {
        let began = Instant::now();
        let mut p = agreed(s)?;
        match s.role() {
            Role::Server => p.expect_error("timeout")?,
            // A connector may give up by itself, without a word.
            Role::Client => p.expect_undelivered()?,
        }
        if began.elapsed().as_secs() >= 7 {
            s.info(format!("the handshake may take {} s here", began.elapsed().as_secs()));
        }
        Ok(())
    })
    .within(12);
    proofs(b);
}

fn secret(s: &Stage<'_>) -> Played<String> {
    s.settings.secret.clone().ok_or_else(|| Stop::NotApplicable("no --secret-file".into()))
}

fn proofs(b: &mut Book) {
    b.both("proof-right", "17", "The right proof.", "Its own proof, READY, and the call is answered.", |s| {
        secret(s)?;
        s.ignores(|_| Vec::new())
    });
    b.server(
        "proof-missing",
        "17",
        "An offer without auth, where a secret is demanded.",
        "authentication_failed, in a refusal.",
        |s| {
            secret(s)?;
            s.refused(&with(request(s), "hostlane", without(Hello::new(s).offer(), "auth")), "authentication_failed")
        },
    );
    b.server(
        "proof-of-another-method",
        "17",
        "An offer of a method of proof that nobody knows.",
        "authentication_failed, in a refusal.",
        |s| {
            secret(s)?;
            let auth = json!({"methods": ["crystal-ball"], "nonce": "0".repeat(32)});
            s.refused(&with(request(s), "hostlane", with(Hello::new(s).offer(), "auth", auth)), "authentication_failed")
        },
    );
    b.server(
        "level-0-with-a-secret",
        "14",
        "A request without an offer, where a secret is demanded.",
        "version_mismatch, in a refusal.",
        |s| {
            secret(s)?;
            s.refused(&without(request(s), "hostlane"), "version_mismatch")
        },
    );
    type Bytes = fn(&Lane<'_>, &str) -> Vec<u8>;
    let tries: [(&str, &str, Bytes, &str); 5] = [
        (
            "proof-wrong",
            "The proof of another secret.",
            |p, secret| control(AUTH, proof(format!("{secret}x").as_bytes(), b'c', &p.request, &p.response)),
            "authentication_failed",
        ),
        (
            "proof-reflected",
            "The proof that the acceptor would send.",
            |p, secret| control(AUTH, proof(secret.as_bytes(), b'a', &p.request, &p.response)),
            "authentication_failed",
        ),
        (
            "proof-of-another-connection",
            "The proof over another request.",
            |p, secret| control(AUTH, proof(secret.as_bytes(), b'c', b"{}", &p.response)),
            "authentication_failed",
        ),
        ("proof-too-short", "AUTH of 31 bytes.", |_, _| control(AUTH, [0; 31]), "protocol_error"),
        ("ready-without-proof", "READY where AUTH is due.", |_, _| control(READY, []), "protocol_error"),
    ];
    for (name, sends, bytes, error) in tries {
        b.server(name, "17", sends, &format!("{error}."), move |s| {
            let secret = secret(s)?;
            let (mut p, _) = s.ask(&request(s))?;
            let bytes = bytes(&p, &secret);
            p.send(&bytes)?;
            p.expect_error(error)
        });
    }
    b.client(
        "grant-without-proof",
        "17",
        "A grant without auth, to a client that has a secret.",
        "authentication_failed: the client's program fails.",
        |s| {
            secret(s)?;
            let mut p = s.connect()?;
            let asked = p.expect_request()?;
            let mut answer = Hello::new(s).response(&asked);
            answer["hostlane"] = without(answer["hostlane"].take(), "auth");
            p.answer(&answer)?;
            p.expect_error("authentication_failed")
        },
    );
    b.client(
        "acceptor-proof-wrong",
        "17",
        "An acceptor's proof of another secret.",
        "authentication_failed: the client's program fails.",
        |s| {
            let secret = secret(s)?;
            let mut p = s.connect()?;
            let asked = p.expect_request()?;
            p.answer(&Hello::new(s).response(&asked))?;
            p.expect(AUTH)?;
            let wrong = control(AUTH, proof(format!("{secret}x").as_bytes(), b'a', &p.request, &p.response));
            p.send(&wrong)?;
            p.expect_error("authentication_failed")
        },
    );
}
