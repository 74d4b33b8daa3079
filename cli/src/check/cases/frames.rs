//! Frames of level 1: types, lengths, flags, channels.

use crate::check::case::{Ability::Messages, Book};
use crate::check::hello::Hello;
use crate::check::lane::Event;
use crate::check::script::NEVER;
use crate::check::stage::demand;
use crate::check::wire::*;

use super::framing::{SIZES, filled, noise};

const IGNORED: &str = "It is skipped by its length: a call is answered behind it.";

pub(super) fn cases(b: &mut Book) {
    b.group("frames", 1);
    legal(b);
    unknown(b);
    wrong(b);
}

fn legal(b: &mut Book) {
    b.server("empty", "15", "An empty message on DATA.", "It is legal: an empty message comes back.", |s| {
        let mut p = s.open()?;
        p.echoes(DATA, b"")?;
        p.leave()
    })
    .needs(Messages);
    b.server(
        "sizes",
        "15",
        "Calls of 1 to 262145 bytes, round the powers of two.",
        "Each is answered with what it brought.",
        |s| {
            let mut p = s.open()?;
            SIZES.iter().try_for_each(|size| p.calls(&filled(*size)))?;
            p.leave()
        },
    );
    b.server("largest", "15", "A call of as many bytes as the server says it takes.", "It is answered.", |s| {
        let mut p = s.open()?;
        let size = p.limit("max_message") as usize;
        p.calls(&filled(size))?;
        p.leave()
    })
    .within(20);
    b.server("many-in-one-write", "15", "A thousand messages in one write.", "All come back, in order.", |s| {
        let mut p = s.open()?;
        p.charge(DATA, 0, 0)?;
        let count = (p.limit("window") / (CHARGE + 4)).min(1000) as u32;
        p.send(&(0..count).flat_map(|n| message(DATA, n.to_le_bytes())).collect::<Vec<_>>())?;
        (0..count).try_for_each(|n| p.hears(DATA, &n.to_le_bytes()))?;
        p.leave()
    })
    .needs(Messages);
    b.server("octet-by-octet", "15", "A call, every byte in a write of its own.", "It is answered.", |s| {
        let mut p = s.open()?;
        let id = p.fresh();
        p.octet_by_octet(&request(id, b"one by one"))?;
        p.reply(id, b"one by one")?;
        p.leave()
    });
    b.server(
        "every-split",
        "15",
        "Two calls in two writes, cut at every byte in turn.",
        "They are answered each time.",
        |s| {
            let mut p = s.open()?;
            let length = 2 * (16 + 5);
            for at in 0..=length {
                let (first, second) = (p.fresh(), p.fresh());
                let bytes = [request(first, b"first"), request(second, b"other")].concat();
                p.send_each([&bytes[..at], &bytes[at..]])?;
                let came = [p.expect_message()?, p.expect_message()?];
                for (id, payload) in [(first, &b"first"[..]), (second, b"other")] {
                    let answered = came.iter().any(|frame| frame.id == id && frame.payload == payload);
                    demand(answered, || format!("cut at {at}: {came:?}"))?;
                }
            }
            p.leave()
        },
    );
    b.server(
        "each-channel",
        "18",
        "A message on each of the channels 1, 2 and 4.",
        "Each comes back on its own.",
        |s| {
            let mut p = s.open()?;
            [COMMAND, DATA, ERROR].into_iter().try_for_each(|channel| p.echoes(channel, b"here"))?;
            p.leave()
        },
    )
    .needs(Messages);
    b.server(
        "in-order",
        "15",
        "Six hundred messages on two channels in turn.",
        "In each channel they come back in order.",
        |s| super::messages::in_order(s, 600),
    )
    .needs(Messages);
    b.both("reserved-flag", "15", "NOP and PING with the flag 0x40.", "The flag is ignored.", |s| {
        s.ignores(|_| [frame(NOP, 0x40, 0, 0, []), frame(PONG, 0x40, 0, 0, [0; 8])].concat())
    });
    b.both("thousand-nops", "15", "A thousand NOP.", "They are ignored.", |s| {
        s.ignores(|_| control(NOP, []).repeat(1000))
    });
    b.server(
        "end-at-each-offset",
        "22",
        "A handshake and a call that end after every byte in turn.",
        "The server ends its side each time.",
        |s| {
            let bytes = request(1, b"hi");
            for at in 0..bytes.len() {
                let mut p = s.open()?;
                p.send(&bytes[..at])?;
                p.half_close();
                p.expect_close_or_refusal()?;
            }
            Ok(())
        },
    );
    b.server(
        "half-close",
        "22",
        "A call, and the end of the checker's half behind it.",
        "Left open: the reply comes, or the connection ends without it.",
        |s| {
            let mut p = s.open()?;
            p.begin(b"the last word")?;
            p.half_close();
            let replied = matches!(p.next(s.end)?, Some(Event::Frame(frame)) if frame.kind == RESPONSE);
            s.info(if replied { "the reply comes" } else { "no reply comes" });
            Ok(())
        },
    );
    b.server(
        "noise",
        "15",
        "Forty times 4096 bytes of noise behind READY.",
        "Each connection ends, or what came may be ignored.",
        |s| {
            for seed in 0..40 {
                let mut p = s.open()?;
                p.send(&noise(seed, 4096))?;
                p.half_close();
                p.expect_close_or_refusal()?;
            }
            Ok(())
        },
    );
}

fn unknown(b: &mut Book) {
    b.both("grease", "23", "A frame of each of the types 0x70 to 0x7F, on any channel, with any id.", IGNORED, |s| {
        s.ignores(|_| (GREASE..GREASE + 16).flat_map(|kind| frame(kind, 0x7F, 0x7777, 77, b"grease")).collect())
    });
    b.both(
        "unknown-types",
        "23",
        "A frame of each of the types 0x0E, 0x0F, 0x14, 0x20 to 0x27 and 0xFF.",
        IGNORED,
        |s| {
            s.ignores(|_| {
                let kinds = [0x0E, 0x0F, 0x14].into_iter().chain(0x20..0x28).chain([0x80, 0xFF]);
                kinds.flat_map(|kind| frame(kind, 0, 1, 1, NEVER)).collect()
            })
        },
    );
    b.both("unknown-critical", "23", "A frame of an unknown type with CRITICAL.", "unknown_frame.", |s| {
        s.fault(|_| frame(0x30, CRITICAL, 0, 0, NEVER), "unknown_frame")
    });
    b.both("known-critical", "15", "A PONG with CRITICAL.", "The flag says nothing of a type that is known.", |s| {
        s.ignores(|_| frame(PONG, CRITICAL, 0, 0, [0; 8]))
    });
    b.both("largest-skipped", "23", "A frame of an unknown type with 16384 bytes.", IGNORED, |s| {
        s.ignores(|_| frame(0x30, 0, 0, 0, vec![0; SKIPPED]))
    });
    b.both(
        "too-large-to-skip",
        "23",
        "The header of a frame of an unknown type with 16385 bytes.",
        "frame_too_large, from the header alone.",
        |s| s.fault(|_| header(SKIPPED as u32 + 1, 0x30, 0, 0, 0), "frame_too_large"),
    );
    b.both(
        "grease-too-large",
        "23",
        "The header of a GREASE frame with 16385 bytes.",
        "frame_too_large, from the header alone.",
        |s| s.fault(|_| header(SKIPPED as u32 + 1, GREASE, 0, 0, 0), "frame_too_large"),
    );
}

fn wrong(b: &mut Book) {
    for kind in [1, 2] {
        let sends = format!("A frame of type 0x0{kind}, which is never used.");
        b.both(&format!("type-{kind}"), "15", &sends, "protocol_error.", move |s| {
            s.fault(|_| frame(kind, 0, 0, 0, []), "protocol_error")
        });
    }
    b.both(
        "nop-with-a-byte",
        "15",
        "NOP with a byte of payload.",
        "protocol_error, so that a frame of level 0 is never taken for one.",
        |s| s.fault(|_| control(NOP, [0]), "protocol_error"),
    );
    b.both(
        "too-large",
        "15",
        "The header of a message a byte larger than the other side takes.",
        "frame_too_large, from the header alone.",
        |s| s.fault(|p| header(p.limit("max_message") as u32 + 1, MESSAGE, WHOLE, DATA, 0), "frame_too_large"),
    );
    b.both(
        "length-of-all-ones",
        "15",
        "The header of a message of 4294967295 bytes.",
        "frame_too_large, from the header alone.",
        |s| s.fault(|_| header(u32::MAX, MESSAGE, WHOLE, DATA, 0), "frame_too_large"),
    );
    b.both(
        "big-endian-length",
        "15",
        "A message whose length is written with its high byte first.",
        "frame_too_large.",
        |s| s.fault(|_| [&5u32.to_be_bytes()[..], &[MESSAGE, WHOLE, 2, 0], &[0; 8], NEVER].concat(), "frame_too_large"),
    );
    b.both("not-agreed", "18", "A message on a channel that was not agreed on.", "unknown_channel.", |s| {
        let mut p = s.open_as(&Hello::new(s).channels(&[COMMAND, DATA]))?;
        p.send(&message(TELEMETRY, NEVER))?;
        p.expect_error("unknown_channel")
    });
    for channel in [0, 5, 255, 300, 65_535] {
        let sends = format!("A message on channel {channel}.");
        b.both(&format!("channel-{channel}"), "18", &sends, "unknown_channel.", move |s| {
            s.fault(|_| message(channel, NEVER), "unknown_channel")
        });
    }
    b.server("call-on-a-channel-not-agreed", "19", "A call on channel 300.", "unknown_channel.", |s| {
        s.fault(|p| frame(REQUEST, WHOLE, 300, p.own(0), NEVER), "unknown_channel")
    });
}
