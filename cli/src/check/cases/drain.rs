//! The end of a connection of level 1: drain, CLOSE, and the end of the stream.

use crate::check::case::{Ability::Streams, Book};
use crate::check::hello::Hello;
use crate::check::script::NEVER;
use crate::check::stage::{Stage, demand, fail};
use crate::check::verdict::Played;
use crate::check::wire::*;

fn goaway(last: u64) -> Vec<u8> {
    control(GOAWAY, [&last.to_le_bytes()[..], &code("closed").to_le_bytes()].concat())
}

fn closes(s: &Stage<'_>, payload: Vec<u8>) -> Played {
    let mut p = s.open()?;
    p.works()?;
    p.send(&control(CLOSE, payload))?;
    p.half_close();
    p.expect_close()
}

const NOT_ANSWERED: &str = "The server ends the stream, without a CLOSE of its own.";

pub(super) fn cases(b: &mut Book) {
    b.group("drain", 1);
    b.server("close", "22", "CLOSE(closed).", NOT_ANSWERED, |s| closes(s, coded("closed", "")));
    b.server("close-with-a-fault", "22", "CLOSE(protocol_error) and a text.", NOT_ANSWERED, |s| {
        closes(s, coded("protocol_error", "you sent nonsense"))
    });
    b.server("close-with-an-unknown-code", "22", "CLOSE with a code that nobody knows.", NOT_ANSWERED, |s| {
        closes(s, 99_999u32.to_le_bytes().to_vec())
    });
    b.server("close-that-is-no-utf-8", "22", "CLOSE whose text is no UTF-8.", NOT_ANSWERED, |s| {
        closes(s, [&coded("closed", "")[..], b"\xff\xfe\0"].concat())
    });
    b.server("close-with-the-longest-text", "22", "CLOSE with a text of 1020 bytes.", NOT_ANSWERED, |s| {
        closes(s, coded("closed", &"x".repeat(1020)))
    });
    b.server(
        "behind-close",
        "22",
        "CLOSE, and a call behind it in one write.",
        "The call is not answered: CLOSE is the last frame of its sender.",
        |s| {
            let mut p = s.open()?;
            let id = p.fresh();
            p.send(&[control(CLOSE, coded("closed", "")), request(id, NEVER)].concat())?;
            p.half_close();
            p.expect_undelivered()
        },
    );
    b.server(
        "close-without-the-end",
        "22",
        "CLOSE, without ending the stream.",
        "The server ends its side all the same.",
        |s| {
            let mut p = s.open()?;
            p.send(&control(CLOSE, coded("closed", "")))?;
            p.expect_close()
        },
    );
    b.server(
        "end-without-close",
        "22",
        "The end of the stream without CLOSE.",
        "peer_closed: the server ends its side.",
        |s| {
            let mut p = s.open()?;
            p.works()?;
            p.half_close();
            p.expect_close_or_refusal()
        },
    );
    b.server("goaway", "22", "GOAWAY(2^64 - 1).", "DRAIN_ACK.", |s| {
        let mut p = s.open()?;
        p.works()?;
        p.send(&goaway(u64::MAX))?;
        p.expect(DRAIN_ACK)?;
        p.leave()
    });
    b.server(
        "whole-drain",
        "22",
        "GOAWAY(2^64 - 1), GOAWAY(0) after its DRAIN_ACK, and CLOSE.",
        "DRAIN_ACK comes once, and the server ends the stream.",
        |s| {
            let mut p = s.open()?;
            p.send(&goaway(u64::MAX))?;
            p.expect(DRAIN_ACK)?;
            p.send(&goaway(0))?;
            p.leave()
        },
    );
    b.server(
        "calls-before-goaway",
        "22",
        "Fifty calls, and GOAWAY behind them in one write.",
        "All are answered, and DRAIN_ACK comes.",
        |s| {
            let mut p = s.open()?;
            let ids: Vec<u64> = (0..50).map(|_| p.fresh()).collect();
            let bytes: Vec<u8> = ids.iter().flat_map(|id| request(*id, b"last")).collect();
            p.send(&[bytes, goaway(u64::MAX)].concat())?;
            let (mut replies, mut acks) = (0, 0);
            while replies < ids.len() || acks == 0 {
                match p.frame()?.kind {
                    RESPONSE => replies += 1,
                    DRAIN_ACK => acks += 1,
                    kind => return fail(format!("{} came", kind_name(kind))),
                }
            }
            demand(acks == 1, || format!("{acks} DRAIN_ACK"))?;
            p.leave()
        },
    );
    b.server(
        "stream-across-goaway",
        "22",
        "GOAWAY while a stream is open.",
        "DRAIN_ACK comes; the stream goes on to its end.",
        |s| {
            let mut p = s.open()?;
            let id = p.stream(0)?;
            p.send(&goaway(u64::MAX))?;
            p.expect(DRAIN_ACK)?;
            p.item(id, b"still", 0)?;
            p.expect_item(id, b"still")?;
            p.item(id, b"", FIN)?;
            p.expect_stream_end(id)?;
            p.leave()
        },
    )
    .needs(Streams);
    b.both("unasked-ack", "22", "DRAIN_ACK that nobody asked for.", "protocol_error.", |s| {
        s.fault(|_| control(DRAIN_ACK, []), "protocol_error")
    });
    b.server(
        "behind-a-call",
        "19",
        "Calls, and the connection is dropped before their replies.",
        "Nobody else is harmed.",
        |s| {
            for _ in 0..20 {
                s.open()?.begin(b"nobody waits for this")?;
            }
            s.open()?.works()
        },
    );
    b.server(
        "stops-midway",
        "15",
        "Half a frame, and then nothing.",
        "Nobody else is harmed, and the frame can be finished later.",
        |s| {
            let mut p = s.open()?;
            let id = p.fresh();
            let bytes = request(id, b"late");
            p.send(&bytes[..18])?;
            s.open()?.works()?;
            p.send(&bytes[18..])?;
            p.reply(id, b"late")?;
            p.leave()
        },
    );
    b.server(
        "silent-neighbours",
        "17",
        "Fifty connections that stop before READY, and then an honest client.",
        "It is served.",
        |s| {
            let silent = (0..50).map(|_| s.ask(&Hello::new(s).request())).collect::<Played<Vec<_>>>()?;
            let mut p = s.open()?;
            p.works()?;
            drop(silent);
            p.leave()
        },
    )
    .alone();
}
