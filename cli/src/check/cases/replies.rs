//! What comes to a client's call, on level 1.

use std::time::Duration;

use crate::check::case::Book;
use crate::check::hello::Hello;
use crate::check::stage::{Stage, demand};
use crate::check::verdict::{Exit, Played};
use crate::check::wire::*;

/// The client's call gets this, and its program has to succeed with the payload.
fn succeeds(s: &Stage<'_>, bytes: impl FnOnce(u64, &[u8]) -> Vec<Vec<u8>>) -> Played {
    let mut p = s.open()?;
    let id = p.expect_call()?;
    s.exit(Exit::Success);
    for part in bytes(id, s.payload()) {
        p.send(&part)?;
    }
    p.leave()
}

/// The client's call gets this, which ends it and not the connection: the program fails, and leaves in good order.
fn fails(s: &Stage<'_>, bytes: impl FnOnce(u64) -> Vec<u8>) -> Played {
    let mut p = s.open()?;
    let id = p.expect_call()?;
    s.exit(Exit::Failure);
    p.send(&bytes(id))?;
    p.expect_close_or_refusal()
}

/// The client's call gets this, which is against the rules.
fn wrong(s: &Stage<'_>, bytes: impl FnOnce(u64) -> Vec<u8>, names: &str) -> Played {
    let mut p = s.open()?;
    let id = p.expect_call()?;
    p.send(&bytes(id))?;
    p.expect_error(names)
}

fn reply(id: u64, payload: &[u8]) -> Vec<u8> {
    frame(RESPONSE, WHOLE, COMMAND, id, payload)
}

const PRINTS: &str = "The program prints the reply and leaves.";
const FAILS: &str = "The call ends with an error, the program fails and leaves.";

pub(super) fn cases(b: &mut Book) {
    b.group("replies", 1);
    b.client("nominal", "19", "The reply.", "The program prints it and leaves with CLOSE(closed).", |s| {
        succeeds(s, |id, payload| vec![reply(id, payload)])
    });
    b.client("in-pieces", "15", "The reply in three frames, with PING between them.", PRINTS, |s| {
        succeeds(s, |id, payload| {
            let pieces = cut(RESPONSE, 0, COMMAND, id, payload, &[3, 3]);
            vec![pieces[0].clone(), control(NOP, []), control(GREASE, b"x"), pieces[1..].concat()]
        })
    });
    b.client("octet-by-octet", "15", "The reply, every byte in a write of its own.", PRINTS, |s| {
        succeeds(s, |id, payload| reply(id, payload).chunks(1).map(<[u8]>::to_vec).collect())
    });
    b.client(
        "behind-messages",
        "18",
        "Messages on DATA and TELEMETRY, and then the reply.",
        "They are no reply; the program prints it.",
        |s| {
            succeeds(s, |id, payload| {
                vec![message(DATA, "not this"), message(TELEMETRY, "nor this"), reply(id, payload)]
            })
        },
    );
    b.client("with-extensions", "16", "The reply with extensions that nobody knows.", PRINTS, |s| {
        succeeds(s, |id, payload| {
            let extended = [&block([ext(0x7F00, b"grease"), ext(3, b"no trace here")].concat())[..], payload].concat();
            vec![frame(RESPONSE, WHOLE | EXT, COMMAND, id, extended)]
        })
    });
    b.client(
        "twice",
        "19",
        "The reply twice, in one write.",
        "The second is late, and dropped; the program prints the first.",
        |s| succeeds(s, |id, payload| vec![[reply(id, payload), reply(id, b"another")].concat()]),
    );
    b.client(
        "error-behind-it",
        "19",
        "The reply, and then ERROR and REFUSE for the same call.",
        "They are late, and dropped.",
        |s| {
            succeeds(s, |id, payload| {
                let late =
                    [of_call(FAILED, id, coded("remote_error", "")), of_call(REFUSE, id, coded("queue_full", ""))]
                        .concat();
                vec![[reply(id, payload), late].concat()]
            })
        },
    );
    for (name, sends, bytes) in [
        (
            "with-status",
            "The reply with STATUS.",
            (|id| frame(RESPONSE, WHOLE | EXT, COMMAND, id, [&block(ext(4, 7u32.to_le_bytes()))[..], b"no"].concat()))
                as fn(u64) -> Vec<u8>,
        ),
        ("refused", "REFUSE(queue_full).", |id| of_call(REFUSE, id, coded("queue_full", "too many"))),
        ("refused-with-an-unknown-code", "REFUSE with a code that nobody knows.", |id| {
            of_call(REFUSE, id, 9999u32.to_le_bytes())
        }),
        ("error", "ERROR(remote_error).", |id| of_call(FAILED, id, coded("remote_error", "it broke"))),
        ("error-with-an-unknown-code", "ERROR with a code that nobody knows, and no text.", |id| {
            of_call(FAILED, id, 70_000u32.to_le_bytes())
        }),
        ("error-that-is-no-utf-8", "ERROR whose text is no UTF-8.", |id| {
            of_call(FAILED, id, [&code("remote_error").to_le_bytes()[..], b"\xff\xfe"].concat())
        }),
    ] {
        b.client(name, "19", sends, FAILS, move |s| fails(s, bytes));
    }
    for (name, sends, bytes) in [
        (
            "on-another-channel",
            "The reply on DATA.",
            (|id| frame(RESPONSE, WHOLE, DATA, id, b"x")) as fn(u64) -> Vec<u8>,
        ),
        ("of-another-call", "A reply to a call that was not made yet.", |id| reply(id + 2, b"x")),
        ("items-without-a-stream", "STREAM to a call that is none.", |id| frame(STREAM, WHOLE, COMMAND, id, b"x")),
        ("cancelled", "CANCEL for the client's own call.", |id| of_call(CANCEL, id, [])),
        ("status-too-short", "The reply with STATUS of three bytes.", |id| {
            frame(RESPONSE, WHOLE | EXT, COMMAND, id, [&block(ext(4, [0; 3]))[..], b"no"].concat())
        }),
        ("longer-than-its-total", "A reply in two frames that pass its total.", |id| {
            [frame(RESPONSE, FIRST, COMMAND, id, b"\x04\0\0\0abc"), frame(RESPONSE, LAST, COMMAND, id, b"de")].concat()
        }),
    ] {
        b.client(name, "19", sends, "protocol_error: the program fails.", move |s| wrong(s, bytes, "protocol_error"));
    }
    b.client(
        "too-large",
        "15",
        "The header of a reply a byte larger than the client takes.",
        "frame_too_large: the program fails.",
        |s| {
            let mut p = s.open()?;
            let id = p.expect_call()?;
            let bytes = header(p.limit("max_message") as u32 + 1, RESPONSE, WHOLE, COMMAND, id);
            p.send(&bytes)?;
            p.expect_error("frame_too_large")
        },
    );
    b.client("never", "19", "No reply.", "CANCEL at the client's deadline; the program fails.", |s| {
        let mut p = s.open()?;
        let id = p.expect_call()?;
        s.exit(Exit::Failure);
        let cancel = p.frame()?;
        if cancel.kind == CLOSE {
            s.non_strict("it closes without CANCEL");
            return p.expect_close_or_refusal();
        }
        demand(cancel.kind == CANCEL && cancel.id == id, || format!("CANCEL is due, and {cancel:?} came"))?;
        p.send(&reply(id, b"late"))?;
        p.expect_close_or_refusal()
    })
    .within(12);
    b.client(
        "end-in-place-of-it",
        "22",
        "The end of the stream where the reply is due.",
        "peer_closed: the program fails.",
        |s| {
            let mut p = s.open()?;
            p.expect_call()?;
            s.exit(Exit::Failure);
            p.half_close();
            p.expect_close_or_refusal()
        },
    );
    b.client(
        "end-in-it",
        "22",
        "The end of the stream in the middle of the reply.",
        "truncated: the program fails.",
        |s| {
            let mut p = s.open()?;
            let id = p.expect_call()?;
            s.exit(Exit::Failure);
            p.send(&reply(id, b"cut off")[..20])?;
            p.half_close();
            p.expect_close_or_refusal()
        },
    );
    b.client(
        "close-in-place-of-it",
        "22",
        "CLOSE(closed) where the reply is due.",
        "The program fails; CLOSE is not answered.",
        |s| closed(s, "closed"),
    );
    b.client(
        "close-with-a-fault",
        "22",
        "CLOSE(protocol_error) where the reply is due.",
        "The program fails; CLOSE is not answered.",
        |s| closed(s, "protocol_error"),
    );
    b.client(
        "without-credit",
        "21",
        "A window of 0, and credit after a quarter of a second.",
        "The call is not begun before; then it is.",
        |s| {
            let mut p = s.open_as(&Hello::new(s).limits(serde_json::json!({"window": 0})))?;
            p.expect_quiet(Duration::from_millis(250))?;
            p.send(&credit(COMMAND, 0, 1))?;
            p.works()?;
            p.leave()
        },
    );
    b.client(
        "goaway-before-it",
        "22",
        "GOAWAY(2^64 - 1) before the reply.",
        "DRAIN_ACK comes, and the call still has its reply.",
        |s| {
            let mut p = s.open()?;
            let id = p.expect_call()?;
            s.exit(Exit::Success);
            p.send(&control(GOAWAY, [&u64::MAX.to_le_bytes()[..], &code("closed").to_le_bytes()].concat()))?;
            p.expect(DRAIN_ACK)?;
            p.send(&control(GOAWAY, [&id.to_le_bytes()[..], &code("closed").to_le_bytes()].concat()))?;
            let reply = reply(id, s.payload());
            p.send(&reply)?;
            p.leave()
        },
    );
    b.client(
        "goaway-below-it",
        "22",
        "GOAWAY(2^64 - 1), and then GOAWAY(0) in place of the reply.",
        "The call was not executed: the program fails.",
        |s| {
            let mut p = s.open()?;
            p.expect_call()?;
            s.exit(Exit::Failure);
            p.send(&control(GOAWAY, [&u64::MAX.to_le_bytes()[..], &code("closed").to_le_bytes()].concat()))?;
            p.expect(DRAIN_ACK)?;
            p.send(&control(GOAWAY, [&0u64.to_le_bytes()[..], &code("closed").to_le_bytes()].concat()))?;
            p.expect_close_or_refusal()
        },
    );
}

fn closed(s: &Stage<'_>, name: &str) -> Played {
    let mut p = s.open()?;
    p.expect_call()?;
    s.exit(Exit::Failure);
    p.send(&control(CLOSE, coded(name, "going")))?;
    p.half_close();
    p.expect_close()
}
