//! Messages cut into frames.

use crate::check::case::{Ability::Messages, Book};
use crate::check::script::NEVER;
use crate::check::stage::demand;
use crate::check::wire::*;

const WHOLE_AGAIN: &str = "It is put together: the whole of it comes back.";

/// The first frame of a message of this total, with these bytes of it.
fn first(kind: u8, channel: u16, id: u64, total: u32, bytes: &[u8]) -> Vec<u8> {
    frame(kind, FIRST, channel, id, [&total.to_le_bytes(), bytes].concat())
}

fn open_message() -> Vec<u8> {
    first(MESSAGE, DATA, 0, 10, NEVER)
}

pub(super) fn cases(b: &mut Book) {
    b.group("fragments", 1);
    for (name, sends, lengths) in [
        ("two", "A message in two frames.", vec![3]),
        ("bytes", "A message in frames of one byte.", vec![1; 22]),
        ("uneven", "A message in frames of uneven sizes.", vec![10, 1, 5]),
    ] {
        b.server(name, "15", sends, WHOLE_AGAIN, move |s| {
            let mut p = s.open()?;
            let payload = b"cut and put together again";
            p.charge(DATA, 0, payload.len())?;
            p.send(&cut(MESSAGE, 0, DATA, 0, payload, &lengths).concat())?;
            p.hears(DATA, payload)?;
            p.leave()
        })
        .needs(Messages);
    }
    b.server("call", "15", "A call in three frames.", "It is answered.", |s| {
        let mut p = s.open()?;
        let id = p.fresh();
        p.send(&cut(REQUEST, 0, COMMAND, id, b"a call in pieces", &[5, 5]).concat())?;
        p.reply(id, b"a call in pieces")?;
        p.leave()
    });
    b.server("large", "15", "A call of a mebibyte in frames of 1000 bytes.", "It is answered.", |s| {
        let mut p = s.open()?;
        let payload = super::framing::filled(1 << 20);
        let id = p.fresh();
        p.send(&cut(REQUEST, 0, COMMAND, id, &payload, &[1000; 1048]).concat())?;
        p.reply(id, &payload)?;
        p.leave()
    });
    b.server(
        "between-channels",
        "15",
        "Two messages of two channels, their frames in turn.",
        "Both come back whole.",
        |s| {
            let mut p = s.open()?;
            let (one, two) = (b"on the data channel", b"on the error channel");
            let frames = [cut(MESSAGE, 0, DATA, 0, one, &[4, 4, 4]), cut(MESSAGE, 0, ERROR, 0, two, &[5, 5, 5])];
            let bytes: Vec<u8> = (0..4).flat_map(|n| [frames[0][n].clone(), frames[1][n].clone()].concat()).collect();
            p.send(&bytes)?;
            let came = [p.expect_message()?, p.expect_message()?];
            let whole =
                |channel: u16, payload: &[u8]| came.iter().any(|f| f.channel == channel && f.payload == payload);
            demand(whole(DATA, one) && whole(ERROR, two), || format!("{came:?}"))?;
            p.leave()
        },
    )
    .needs(Messages);
    b.server(
        "around-control-frames",
        "15",
        "A message with PING, NOP, GREASE and CREDIT between its frames.",
        "A PONG comes, and the message whole.",
        |s| {
            let mut p = s.open()?;
            let pieces = cut(MESSAGE, 0, DATA, 0, b"not disturbed", &[3, 3]);
            let between =
                [control(PING, b"between!"), control(NOP, []), control(GREASE, b"x"), credit(DATA, 0, 1)].concat();
            p.send(&[pieces[0].clone(), between, pieces[1..].concat()].concat())?;
            let pong = p.expect(PONG)?;
            demand(pong.payload == b"between!", || format!("{pong:?}"))?;
            p.hears(DATA, b"not disturbed")?;
            p.leave()
        },
    )
    .needs(Messages);
    b.server(
        "of-a-call-given-up",
        "15",
        "A call in two frames, with its CANCEL between them.",
        "A started message is finished even if its call has ended; the connection goes on.",
        |s| {
            let mut p = s.open()?;
            let id = p.fresh();
            let pieces = cut(REQUEST, 0, COMMAND, id, b"given up midway", &[5]);
            p.send(&[pieces[0].clone(), of_call(CANCEL, id, []), pieces[1].clone()].concat())?;
            let next = p.begin(b"the next one")?;
            let mut came = p.expect_message()?;
            if came.id == id {
                came = p.expect_message()?;
            }
            demand(came.id == next && came.payload == b"the next one", || format!("{came:?}"))?;
            p.leave()
        },
    );
    for (name, sends, bytes) in [
        ("no-first", "A frame with LAST alone, where no message is open.", frame(MESSAGE, LAST, DATA, 0, NEVER)),
        ("neither", "A frame without FIRST and LAST, where no message is open.", frame(MESSAGE, 0, DATA, 0, NEVER)),
        (
            "first-again",
            "A message in a channel where another one is open.",
            [open_message(), message(DATA, NEVER)].concat(),
        ),
        (
            "other-type",
            "A call in a channel where a message is open.",
            [open_message(), frame(REQUEST, WHOLE, DATA, 1001, NEVER)].concat(),
        ),
        (
            "other-type-goes-on",
            "A frame of another type that goes on with a message.",
            [open_message(), frame(STREAM, LAST, DATA, 0, b"12345")].concat(),
        ),
        (
            "other-id",
            "A frame of another id that goes on with a message.",
            [open_message(), frame(MESSAGE, LAST, DATA, 5, b"12345")].concat(),
        ),
        (
            "short",
            "A message whose last frame comes short of its total.",
            [open_message(), frame(MESSAGE, LAST, DATA, 0, b"1234")].concat(),
        ),
        (
            "long",
            "A message whose last frame passes its total.",
            [open_message(), frame(MESSAGE, LAST, DATA, 0, b"123456")].concat(),
        ),
        (
            "long-without-last",
            "A message that passes its total in the middle.",
            [open_message(), frame(MESSAGE, 0, DATA, 0, b"123456")].concat(),
        ),
        (
            "whole-without-last",
            "A message that has its total, without LAST.",
            [open_message(), frame(MESSAGE, 0, DATA, 0, b"12345")].concat(),
        ),
        (
            "empty-middle",
            "A frame of an unfinished message that carries no byte of it.",
            [open_message(), frame(MESSAGE, 0, DATA, 0, b"")].concat(),
        ),
        ("empty-first", "A first frame that carries a total and no byte.", first(MESSAGE, DATA, 0, 10, b"")),
        (
            "no-total",
            "A first frame of three bytes, which is less than a total.",
            frame(MESSAGE, FIRST, DATA, 0, b"abc"),
        ),
    ] {
        b.both(name, "15", sends, "protocol_error: nothing of it is delivered.", move |s| {
            s.fault(|_| bytes.clone(), "protocol_error")
        });
    }
    b.both(
        "total-too-large",
        "15",
        "A first frame whose total is a byte above what the other side takes.",
        "frame_too_large, before memory is set aside.",
        |s| s.fault(|p| first(MESSAGE, DATA, 0, p.limit("max_message") as u32 + 1, b"x"), "frame_too_large"),
    );
    b.both(
        "total-of-all-ones",
        "15",
        "A first frame whose total is 4294967295.",
        "frame_too_large, before memory is set aside.",
        |s| s.fault(|_| first(MESSAGE, DATA, 0, u32::MAX, b"x"), "frame_too_large"),
    );
    b.server(
        "end-in-a-message",
        "22",
        "The end of the stream between two frames of a message.",
        "truncated: it is not delivered, and the server ends its side.",
        |s| {
            let mut p = s.open()?;
            p.send(&open_message())?;
            p.half_close();
            p.expect_close_or_refusal()
        },
    );
}
