//! Calls of level 1, as a server takes them.

use crate::check::case::Book;
use crate::check::lane::Lane;
use crate::check::script::NEVER;
use crate::check::stage::{Stage, demand, fail};
use crate::check::verdict::Played;
use crate::check::wire::*;

use super::streams::fault_or_info;

/// After a call was answered, these bytes come.
fn after_a_call(s: &Stage<'_>, bytes: impl FnOnce(u64) -> Vec<u8>, names: &str) -> Played {
    let mut p = s.open()?;
    let id = p.begin(b"the first")?;
    p.reply(id, b"the first")?;
    p.send(&bytes(id))?;
    p.expect_error(names)
}

/// The same; the connection may go on.
fn after_a_call_or_info(s: &Stage<'_>, bytes: impl FnOnce(u64) -> Vec<u8>, goes_on: &str) -> Played {
    let mut p = s.open()?;
    let id = p.begin(b"the first")?;
    p.reply(id, b"the first")?;
    fault_or_info(s, p, bytes(id), goes_on)
}

/// What comes late, for a call that has ended, is dropped.
fn late(s: &Stage<'_>, bytes: impl FnOnce(u64) -> Vec<u8>) -> Played {
    let mut p = s.open()?;
    let id = p.begin(b"the first")?;
    p.reply(id, b"the first")?;
    p.send(&bytes(id))?;
    p.works()?;
    p.leave()
}

/// These calls in one write; each is answered once, in any order.
fn at_once(p: &mut Lane<'_>, ids: &[u64]) -> Played {
    p.send(&ids.iter().flat_map(|id| request(*id, id.to_le_bytes())).collect::<Vec<_>>())?;
    let mut due = ids.to_vec();
    while !due.is_empty() {
        let came = p.expect_message()?;
        let at = due.iter().position(|id| came.kind == RESPONSE && came.id == *id && came.payload == id.to_le_bytes());
        let Some(at) = at else { return fail(format!("nobody waits for {came:?}")) };
        due.swap_remove(at);
    }
    Ok(())
}

pub(super) fn cases(b: &mut Book) {
    b.group("calls", 1);
    answered(b);
    ids(b);
    strays(b);
}

fn answered(b: &mut Book) {
    b.server("nominal", "19", "A call.", "RESPONSE with its id, its channel and its payload.", |s| {
        let mut p = s.open()?;
        p.works()?;
        p.leave()
    });
    b.server("empty", "19", "A call of no bytes.", "RESPONSE of no bytes.", |s| {
        let mut p = s.open()?;
        p.calls(b"")?;
        p.leave()
    });
    b.server("on-another-channel", "19", "A call on DATA.", "RESPONSE on DATA.", |s| {
        let mut p = s.open()?;
        let id = p.fresh();
        p.send(&frame(REQUEST, WHOLE, DATA, id, b"on two"))?;
        let came = p.expect_message()?;
        demand((came.kind, came.channel, came.id) == (RESPONSE, DATA, id) && came.payload == b"on two", || {
            format!("{came:?}")
        })?;
        p.leave()
    });
    b.server("many-at-once", "19", "Two hundred calls in one write.", "Each is answered once, in any order.", |s| {
        let mut p = s.open()?;
        let ids: Vec<u64> = (0..200).map(|_| p.fresh()).collect();
        at_once(&mut p, &ids)?;
        p.leave()
    });
    b.server(
        "one-after-the-other",
        "19",
        "Two thousand calls, one after the other.",
        "Each is answered; credit comes back.",
        |s| {
            let mut p = s.open()?;
            (0..2000u32).try_for_each(|n| p.calls(&n.to_le_bytes()))?;
            p.leave()
        },
    );
    b.server(
        "side-by-side",
        "19",
        "The same ids on twenty connections at once.",
        "Each connection has its own replies.",
        |s| {
            let mut lanes = (0..20).map(|_| s.open()).collect::<Played<Vec<_>>>()?;
            let ids = lanes.iter_mut().enumerate().map(|(n, p)| p.begin(&[n as u8; 9])).collect::<Played<Vec<_>>>()?;
            for (n, p) in lanes.iter_mut().enumerate() {
                p.reply(ids[n], &[n as u8; 9])?;
            }
            Ok(())
        },
    );
    b.server(
        "deadline-of-0",
        "19",
        "A call whose DEADLINE is 0, and another one.",
        "The reply to the first is dropped or comes; the second is answered.",
        |s| {
            let mut p = s.open()?;
            let (first, second) = (p.fresh(), p.fresh());
            let extensions = block(ext(1, [0; 8]));
            p.send(&frame(REQUEST, WHOLE | EXT, COMMAND, first, [&extensions[..], b"late"].concat()))?;
            p.send(&request(second, b"in time"))?;
            loop {
                let came = p.frame()?;
                if came.id == second && came.kind == RESPONSE {
                    break;
                }
                demand(came.id == first, || format!("{came:?}"))?;
            }
            p.works()?;
            p.leave()
        },
    );
    b.server(
        "cancel",
        "19",
        "A call and its CANCEL in one write.",
        "A reply to it may still come; the connection goes on.",
        |s| {
            let mut p = s.open()?;
            let (first, second) = (p.fresh(), p.fresh());
            p.send(&[request(first, b"given up"), of_call(CANCEL, first, []), request(second, b"next")].concat())?;
            loop {
                let came = p.frame()?;
                if came.id == second && came.kind == RESPONSE {
                    break;
                }
                demand(came.id == first, || format!("{came:?}"))?;
            }
            p.leave()
        },
    );
}

fn ids(b: &mut Book) {
    b.server("ids-with-gaps", "19", "Calls with the ids 1, 7 and 1001.", "They are answered.", |s| {
        let mut p = s.open()?;
        at_once(&mut p, &[1, 7, 1001])?;
        p.leave()
    });
    b.server("largest-id", "19", "A call with the id 2^64 - 1.", "It is answered.", |s| {
        let mut p = s.open()?;
        at_once(&mut p, &[u64::MAX])?;
        p.leave()
    });
    b.server(
        "lower-id-on-another-channel",
        "19",
        "A call with id 5 on COMMAND, and one with id 3 on DATA.",
        "Ids rise on each channel for itself: both are answered.",
        |s| {
            let mut p = s.open()?;
            p.send(&[request(5, b"five"), frame(REQUEST, WHOLE, DATA, 3, b"three")].concat())?;
            let mut came = [p.expect_message()?, p.expect_message()?].map(|frame| (frame.id, frame.channel));
            came.sort_unstable();
            demand(came == [(3, DATA), (5, COMMAND)], || format!("{came:?}"))?;
            p.leave()
        },
    );
    for (name, sends, first, second) in [
        ("id-0", "A call with id 0.", None, (COMMAND, 0)),
        ("even-id", "A call of the connector's with an even id.", None, (COMMAND, 2)),
        ("id-in-flight", "Two calls with the same id in one write.", Some(1), (COMMAND, 1)),
        ("lower-id", "A call with id 3, and one with id 1.", Some(3), (COMMAND, 1)),
        ("id-on-another-channel", "Two calls with the same id on two channels.", Some(1), (DATA, 1)),
    ] {
        b.server(name, "19", sends, "protocol_error.", move |s| {
            let good = first.map_or(Vec::new(), |id| request(id, b"first"));
            s.fault(|_| [good, frame(REQUEST, WHOLE, second.0, second.1, NEVER)].concat(), "protocol_error")
        });
    }
    b.server(
        "id-again",
        "19",
        "A call with the id of one that was answered.",
        "protocol_error: an id is never used twice.",
        |s| after_a_call(s, |id| request(id, NEVER), "protocol_error"),
    );
    b.server(
        "id-again-elsewhere",
        "19",
        "A call on DATA with the id of one of COMMAND that was answered.",
        "Left open: it is a call like any other, or protocol_error.",
        |s| after_a_call_or_info(s, |id| frame(REQUEST, WHOLE, DATA, id, b"again"), "it is a call like any other"),
    );
    b.client(
        "even-ids",
        "19",
        "A call to the client with an odd id, which is the connector's.",
        "protocol_error.",
        |s| s.fault(|_| request(1001, NEVER), "protocol_error"),
    );
}

fn strays(b: &mut Book) {
    for (name, sends, bytes) in [
        ("late-cancel", "CANCEL for a call that was answered.", (|id| of_call(CANCEL, id, [])) as fn(u64) -> Vec<u8>),
        ("late-credit", "CREDIT for a call that was answered.", |id| credit(0, id, 1 << 20)),
        ("late-stream", "STREAM for a call that was answered.", |id| frame(STREAM, WHOLE, COMMAND, id, b"never")),
    ] {
        b.server(name, "19", sends, "It is late, and dropped: the next call is answered.", move |s| late(s, bytes));
    }
    for (name, sends, bytes) in [
        (
            "reply-to-itself",
            "RESPONSE to the checker's own call.",
            (|id| frame(RESPONSE, WHOLE, COMMAND, id, NEVER)) as fn(u64) -> Vec<u8>,
        ),
        ("error-to-itself", "ERROR for the checker's own call.", |id| of_call(FAILED, id, coded("remote_error", ""))),
        ("refuse-to-itself", "REFUSE for the checker's own call.", |id| of_call(REFUSE, id, coded("queue_full", ""))),
    ] {
        b.server(name, "19", sends, "protocol_error.", move |s| after_a_call(s, bytes, "protocol_error"));
    }
    b.server(
        "late-stream-elsewhere",
        "19",
        "STREAM on DATA for a call of COMMAND that was answered.",
        "Left open: it is late, and dropped, or protocol_error.",
        |s| after_a_call_or_info(s, |id| frame(STREAM, WHOLE, DATA, id, NEVER), "it is dropped"),
    );
    for (name, sends, bytes) in [
        (
            "cancel-unknown",
            "CANCEL for a call above every one that was opened.",
            (|p| of_call(CANCEL, p.own(49), [])) as fn(&Lane<'_>) -> Vec<u8>,
        ),
        ("credit-unknown", "CREDIT for a call above every one that was opened.", |p| credit(0, p.own(49), 1)),
        ("stream-unknown", "STREAM for a call above every one that was opened.", |p| {
            frame(STREAM, WHOLE, COMMAND, p.own(49), NEVER)
        }),
        ("cancel-of-the-others", "CANCEL for a call of the other side's.", |p| of_call(CANCEL, p.others(49), [])),
        ("reply-unknown", "RESPONSE to a call that was never made.", |p| {
            frame(RESPONSE, WHOLE, COMMAND, p.others(49), NEVER)
        }),
        ("error-unknown", "ERROR for a call that was never made.", |p| {
            of_call(FAILED, p.others(49), coded("remote_error", ""))
        }),
        ("refuse-unknown", "REFUSE for a call that was never made.", |p| {
            of_call(REFUSE, p.others(49), coded("queue_full", ""))
        }),
        ("reply-to-0", "RESPONSE with id 0.", |_| frame(RESPONSE, WHOLE, COMMAND, 0, NEVER)),
    ] {
        b.both(name, "19", sends, "protocol_error.", move |s| s.fault(bytes, "protocol_error"));
    }
}
