//! Extensions of level 1.

use crate::check::case::{Ability::Messages, Book};
use crate::check::script::NEVER;
use crate::check::stage::Stage;
use crate::check::verdict::Played;
use crate::check::wire::*;

const DEADLINE: u16 = 1;
const IDEMPOTENCY: u16 = 2;
const TRACE: u16 = 3;
const STATUS: u16 = 4;
const DESCRIPTORS: u16 = 5;
const DROPPED: u16 = 6;

fn extended(kind: u8, flags: u8, channel: u16, id: u64, block: &[u8], payload: &[u8]) -> Vec<u8> {
    frame(kind, WHOLE | EXT | flags, channel, id, [block, payload].concat())
}

/// A call with these extensions is answered with its payload, and with nothing of them.
fn takes(s: &Stage<'_>, extensions: Vec<u8>) -> Played {
    let mut p = s.open()?;
    let id = p.fresh();
    p.send(&extended(REQUEST, 0, COMMAND, id, &block(extensions), b"payload"))?;
    p.reply(id, b"payload")?;
    p.leave()
}

const TAKES: &str = "The call is answered with its payload alone.";
const WRONG: &str = "protocol_error: it is not delivered.";

pub(super) fn cases(b: &mut Book) {
    b.group("extensions", 1);
    let longest = ext(0x7F00, vec![0; 1020]);
    for (name, sends, extensions) in [
        ("none", "A call with EXT and no extension.", Vec::new()),
        ("deadline", "A call with DEADLINE of a minute.", ext(DEADLINE, 60_000_000u64.to_le_bytes())),
        ("deadline-of-all-ones", "A call with DEADLINE of 2^64 - 1.", ext(DEADLINE, [0xFF; 8])),
        ("idempotency", "A call with an idempotency key of 64 bytes.", ext(IDEMPOTENCY, [b'k'; 64])),
        ("trace", "A call with a trace of one byte.", ext(TRACE, b"t")),
        (
            "all-in-any-order",
            "A call with TRACE, IDEMPOTENCY and DEADLINE, in this order.",
            [ext(TRACE, b"t"), ext(IDEMPOTENCY, b"k"), ext(DEADLINE, 60_000_000u64.to_le_bytes())].concat(),
        ),
        ("unknown", "A call with an extension that nobody knows.", ext(0x0777, b"what is this")),
        ("unknown-twice", "A call with an unknown extension twice.", ext(0x0777, b"").repeat(2)),
        (
            "grease",
            "A call with extensions of the types 0x7F00 and 0x7FFF.",
            [ext(0x7F00, b"grease"), ext(0x7FFF, b"")].concat(),
        ),
        ("largest", "A call with 1024 bytes of extensions.", longest.clone()),
        (
            "elsewhere",
            "A call with STATUS and DROPPED, which are not for calls.",
            [ext(STATUS, [1; 4]), ext(DROPPED, [1; 8])].concat(),
        ),
    ] {
        b.server(name, "16", sends, TAKES, move |s| takes(s, extensions.clone()));
    }
    b.server("on-a-message", "16", "A message with TRACE and DROPPED.", "It comes back without them.", |s| {
        let mut p = s.open()?;
        let extensions = block([ext(TRACE, b"trace"), ext(DROPPED, 3u64.to_le_bytes())].concat());
        p.send(&extended(MESSAGE, 0, DATA, 0, &extensions, b"payload"))?;
        p.hears(DATA, b"payload")?;
        p.leave()
    })
    .needs(Messages);
    b.server("on-a-cut-message", "16", "A call in two frames, with TRACE before its total.", TAKES, |s| {
        let mut p = s.open()?;
        let id = p.fresh();
        let head = [block(ext(TRACE, b"trace")), 7u32.to_le_bytes().to_vec(), b"pay".to_vec()].concat();
        p.send(&[frame(REQUEST, FIRST | EXT, COMMAND, id, head), frame(REQUEST, LAST, COMMAND, id, b"load")].concat())?;
        p.reply(id, b"payload")?;
        p.leave()
    });
    for (name, sends, block) in [
        ("critical", "An unknown extension whose highest bit is set.", block(ext(0x8777, b""))),
        ("known-twice", "TRACE twice.", block(ext(TRACE, b"t").repeat(2))),
        ("deadline-too-short", "DEADLINE of seven bytes.", block(ext(DEADLINE, [0; 7]))),
        ("deadline-too-long", "DEADLINE of nine bytes.", block(ext(DEADLINE, [0; 9]))),
        ("idempotency-empty", "An idempotency key of no bytes.", block(ext(IDEMPOTENCY, b""))),
        ("idempotency-too-long", "An idempotency key of 65 bytes.", block(ext(IDEMPOTENCY, [b'k'; 65]))),
        ("trace-too-long", "A trace of 65 bytes.", block(ext(TRACE, [b't'; 65]))),
        ("no-length", "EXT in a frame of one byte.", vec![0]),
        ("beyond-the-frame", "Extensions whose length passes their frame.", vec![200, 0, 1, 2, 3]),
        ("beyond-the-block", "An extension whose length passes that of all.", block(&ext(0x0777, b"abcdefgh")[..7])),
        ("half-a-head", "Three bytes where an extension's head is due.", block(b"\x77\x07\x00")),
        ("too-large", "1025 bytes of extensions.", block([longest.clone(), vec![0]].concat())),
        ("descriptors-not-agreed", "FDS without its flag and without the feature.", block(ext(DESCRIPTORS, [1]))),
    ] {
        b.server(name, "16", &format!("A call with {}", lower(sends)), WRONG, move |s| {
            s.fault(|p| extended(REQUEST, 0, COMMAND, p.own(0), &block, NEVER), "protocol_error")
        });
    }
    b.both(
        "critical-on-a-message",
        "16",
        "A message with an unknown extension whose highest bit is set.",
        WRONG,
        |s| s.fault(|_| extended(MESSAGE, 0, DATA, 0, &block(ext(0x8777, b"")), NEVER), "protocol_error"),
    );
    b.both("without-first", "15", "A frame with EXT in the middle of a message.", WRONG, |s| {
        let middle = frame(MESSAGE, EXT, DATA, 0, b"\0\0x");
        s.fault(|_| [cut(MESSAGE, 0, DATA, 0, b"never ever", &[5])[0].clone(), middle].concat(), "protocol_error")
    });
    b.both("flag-of-descriptors", "16", "A message with the flag FDS alone.", WRONG, |s| {
        s.fault(|_| frame(MESSAGE, WHOLE | FDS, DATA, 0, NEVER), "protocol_error")
    });
    b.both(
        "descriptors-announced",
        "16",
        "A message with the flag and the extension FDS, where the feature was not agreed on.",
        WRONG,
        |s| s.fault(|_| extended(MESSAGE, FDS, DATA, 0, &block(ext(DESCRIPTORS, [1])), NEVER), "protocol_error"),
    );
}

/// A sentence as the end of another one. Names keep their letters.
fn lower(sentence: &str) -> String {
    let mut letters = sentence.chars();
    match (letters.next(), letters.clone().next()) {
        (Some(first), Some(second)) if second.is_lowercase() || second == ' ' => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => sentence.to_owned(),
    }
}
