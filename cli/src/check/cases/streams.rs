//! Streams: a server sends each item back.

use serde_json::json;
use std::time::Duration;

use crate::check::case::{Ability::Streams, Book};
use crate::check::hello::Hello;
use crate::check::lane::{Event, Lane};
use crate::check::script::NEVER;
use crate::check::stage::{Stage, demand, fail};
use crate::check::verdict::{Played, Stop};
use crate::check::wire::*;

use super::framing::filled;

/// A whole stream of these items.
fn mirrors(p: &mut Lane<'_>, items: &[Vec<u8>]) -> Played {
    let id = p.stream(0)?;
    for (at, item) in items.iter().enumerate() {
        p.item(id, item, if at + 1 == items.len() { FIN } else { 0 })?;
        p.expect_item(id, item)?;
    }
    p.expect_stream_end(id)
}

/// What comes for a call that may have ended by now: it is late then, else the connection has to end.
fn fault_or_late(s: &Stage<'_>, bytes: impl FnOnce(u64) -> Vec<u8>) -> Played {
    let mut p = s.open()?;
    let id = p.fresh();
    fault_or_info(s, p, bytes(id), "the call had ended before it")
}

/// The connection ends for `bytes`, or it goes on, of which is noted what it means.
pub(super) fn fault_or_info(s: &Stage<'_>, mut p: Lane<'_>, bytes: Vec<u8>, goes_on: &str) -> Played {
    let probe = p.fresh();
    p.send(&[bytes, request(probe, b"are you there?")].concat())?;
    loop {
        match p.next(s.end)? {
            Some(Event::Frame(frame)) if frame.id == probe => {
                s.info(goes_on);
                return p.leave();
            }
            Some(Event::Frame(frame)) if frame.kind == CLOSE => {
                let told = frame.payload[..4].try_into().map(u32::from_le_bytes).map(named).unwrap_or_default();
                return demand(told == "protocol_error", || format!("CLOSE({told}), and protocol_error is due"));
            }
            Some(Event::Frame(frame)) => {
                let delivered = frame.payload.windows(NEVER.len()).any(|part| part == NEVER);
                demand(!delivered, || format!("what was wrong was delivered: {frame:?}"))?;
            }
            Some(Event::End(_)) => return fail("the connection ended without CLOSE"),
            None => return Err(Stop::Timeout("neither the end nor a reply".into())),
        }
    }
}

const MIRRORED: &str = "Each comes back, and the call is answered at the end.";

pub(super) fn cases(b: &mut Book) {
    b.group("streams", 1);
    b.server("items", "20", "A stream of three items, FIN in the last one.", MIRRORED, |s| {
        let mut p = s.open()?;
        mirrors(&mut p, &[b"one".to_vec(), b"two".to_vec(), b"three".to_vec()])?;
        p.leave()
    })
    .needs(Streams);
    b.server(
        "all-at-once",
        "20",
        "A stream and a hundred items in one write.",
        "They come back in order, and the call is answered.",
        |s| {
            let mut p = s.open()?;
            let id = p.stream(0)?;
            let items: Vec<u8> = (0..100u32).flat_map(|n| frame(STREAM, WHOLE, COMMAND, id, n.to_le_bytes())).collect();
            p.send(&[items, frame(STREAM, WHOLE | FIN, COMMAND, id, [])].concat())?;
            (0..100u32).try_for_each(|n| p.expect_item(id, &n.to_le_bytes()))?;
            p.expect_stream_end(id)?;
            p.leave()
        },
    )
    .needs(Streams);
    b.server(
        "empty-fin",
        "20",
        "A stream of one item, and STREAM with FIN and no bytes.",
        "The item comes back; FIN without bytes is no item.",
        |s| {
            let mut p = s.open()?;
            let id = p.stream(0)?;
            p.item(id, b"only", 0)?;
            p.item(id, b"", FIN)?;
            p.expect_item(id, b"only")?;
            p.expect_stream_end(id)?;
            p.leave()
        },
    )
    .needs(Streams);
    b.server(
        "empty-item",
        "20",
        "A stream of an empty item without FIN, and one with a byte.",
        "Both come back: only with FIN no bytes are no item.",
        |s| {
            let mut p = s.open()?;
            mirrors(&mut p, &[Vec::new(), b"x".to_vec()])?;
            p.leave()
        },
    )
    .needs(Streams);
    b.server(
        "fin-in-the-request",
        "20",
        "A stream whose REQUEST has FIN.",
        "The call is answered without an item.",
        |s| {
            let mut p = s.open()?;
            let id = p.stream(FIN)?;
            p.expect_stream_end(id)?;
            p.leave()
        },
    );
    b.server("large-items", "20", "A stream of items of 1 to 262145 bytes.", MIRRORED, |s| {
        let mut p = s.open()?;
        mirrors(&mut p, &super::framing::SIZES.map(filled))?;
        p.leave()
    })
    .needs(Streams);
    b.server("items-in-pieces", "15", "A stream of an item in three frames.", MIRRORED, |s| {
        let mut p = s.open()?;
        let id = p.stream(0)?;
        p.send(&cut(STREAM, FIN, COMMAND, id, b"an item in pieces", &[4, 4]).concat())?;
        p.expect_item(id, b"an item in pieces")?;
        p.expect_stream_end(id)?;
        p.leave()
    })
    .needs(Streams);
    b.server("side-by-side", "20", "Sixteen streams, an item of each in turn.", "Each gets its own items back.", |s| {
        let mut p = s.open()?;
        let ids = (0..16).map(|_| p.stream(0)).collect::<Played<Vec<_>>>()?;
        for round in 0..3u8 {
            for id in &ids {
                p.item(*id, &[round, *id as u8], 0)?;
                p.expect_item(*id, &[round, *id as u8])?;
            }
        }
        for id in ids {
            p.item(id, b"", FIN)?;
            p.expect_stream_end(id)?;
        }
        p.leave()
    })
    .needs(Streams);
    b.server("calls-beside-it", "20", "Calls while a stream is open.", "They are answered.", |s| {
        let mut p = s.open()?;
        let id = p.stream(0)?;
        p.calls(b"beside")?;
        p.item(id, b"item", 0)?;
        p.expect_item(id, b"item")?;
        p.calls(b"beside it again")?;
        p.item(id, b"", FIN)?;
        p.expect_stream_end(id)?;
        p.leave()
    })
    .needs(Streams);
    b.server("cancel", "20", "CANCEL for an open stream.", "It ends both directions; the connection goes on.", |s| {
        let mut p = s.open()?;
        let id = p.stream(0)?;
        p.item(id, b"item", 0)?;
        p.expect_item(id, b"item")?;
        let cancel = p.give_up(id);
        p.send(&cancel)?;
        p.works()?;
        p.expect_last_frames()?;
        p.leave()
    })
    .needs(Streams);
    b.server(
        "item-after-cancel",
        "19",
        "CANCEL for an open stream, and an item of it behind.",
        "The item is late, and dropped.",
        |s| {
            let mut p = s.open()?;
            let id = p.stream(0)?;
            let cancel = p.give_up(id);
            p.send(&[cancel, frame(STREAM, WHOLE, COMMAND, id, NEVER)].concat())?;
            p.works()?;
            p.expect_last_frames()?;
            p.leave()
        },
    )
    .needs(Streams);
    credit_of_streams(b);
    for (name, channel) in [("item-before-its-request", DATA), ("item-inside-its-request", COMMAND)] {
        let sends = match channel {
            DATA => "The first frame of a stream's REQUEST, and an item of it on DATA.",
            _ => "The first frame of a stream's REQUEST, and an item of it on the same channel.",
        };
        b.server(name, "20", sends, "protocol_error: items follow the whole REQUEST.", move |s| {
            let begin =
                |id| frame(REQUEST, FIRST | STREAMING, COMMAND, id, [&9u32.to_le_bytes()[..], b"open"].concat());
            s.fault(|_| [begin(1), frame(STREAM, WHOLE, channel, 1, NEVER)].concat(), "protocol_error")
        });
    }
    b.server("item-on-another-channel", "19", "An item on DATA of a stream of COMMAND.", "protocol_error.", |s| {
        let mut p = s.open()?;
        let id = p.stream(0)?;
        p.send(&frame(STREAM, WHOLE, DATA, id, NEVER))?;
        p.expect_error("protocol_error")
    })
    .needs(Streams);
    b.server(
        "item-after-fin",
        "20",
        "A stream, an item with FIN and another one, in one write.",
        "protocol_error, unless the call had ended before it; it is not delivered.",
        |s| {
            fault_or_late(s, |id| {
                let open = frame(REQUEST, WHOLE | STREAMING, COMMAND, id, b"stream echo");
                [open, frame(STREAM, WHOLE | FIN, COMMAND, id, b"last"), frame(STREAM, WHOLE, COMMAND, id, NEVER)]
                    .concat()
            })
        },
    );
    b.server(
        "item-of-a-call",
        "20",
        "A call without the flag STREAM, and an item of it, in one write.",
        "protocol_error, unless the call had ended before it; it is not delivered.",
        |s| fault_or_late(s, |id| [request(id, b"no stream"), frame(STREAM, WHOLE, COMMAND, id, NEVER)].concat()),
    );
}

fn credit_of_streams(b: &mut Book) {
    b.server(
        "credit-comes-back",
        "21",
        "A stream of four times the server's stream window, as credit allows.",
        "CREDIT comes, at the latest when half of the window is used.",
        |s| {
            let mut p = s.open()?;
            let size = (p.limit("stream_window") / 16).clamp(1, 1 << 20) as usize;
            let items: Vec<Vec<u8>> = (0..64).map(|n| filled(size + n)).collect();
            mirrors(&mut p, &items)?;
            p.leave()
        },
    )
    .needs(Streams)
    .within(20);
    b.server(
        "without-credit",
        "21",
        "A stream_window of 0, an item, a call; credit after its reply.",
        "The call is answered; the item comes back after the credit alone.",
        |s| {
            let mut p = s.open_as(&Hello::new(s).limits(json!({"window": 1 << 30, "stream_window": 0})))?;
            let id = p.stream(0)?;
            p.item(id, b"held back", 0)?;
            p.works()?;
            p.expect_quiet(Duration::from_millis(200))?;
            p.send(&credit(0, id, 1))?;
            p.expect_item(id, b"held back")?;
            p.item(id, b"", FIN)?;
            p.expect_stream_end(id)?;
            p.leave()
        },
    )
    .needs(Streams);
    b.server(
        "credit-exceeded",
        "21",
        "Items without end, and no credit for those that come back.",
        "credit_exceeded, unless its program takes it all.",
        |s| {
            let mut p = s.open_as(&Hello::new(s).limits(json!({"window": 1 << 30, "stream_window": 0})))?;
            let id = p.stream(0)?;
            let item = frame(STREAM, WHOLE, COMMAND, id, vec![b'x'; 16_384]);
            p.overruns((0, id), &item, 2000)
        },
    )
    .needs(Streams)
    .alone();
}
