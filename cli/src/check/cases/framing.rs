//! Frames of level 0: sizes, cuts, and bytes that are no frames.

use std::time::Duration;

use crate::check::case::{Ability::Messages, Book, Role};
use crate::check::hello::{Hello, request};
use crate::check::lane::{Event, Lane, Phase};
use crate::check::script::NEVER;
use crate::check::stage::{Stage, demand, fail};
use crate::check::verdict::{Played, Stop};
use crate::check::wire::*;

/// Where buffers and lengths of fields change.
pub(super) const SIZES: [usize; 14] = [1, 7, 8, 9, 255, 256, 257, 4095, 4096, 4097, 65_535, 65_536, 65_537, 262_145];

/// Bytes that look like nothing: a linear congruence, the same in every run.
pub(super) fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(2_862_933_555_777_941_757).wrapping_add(3_037_000_493);
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as u8
    };
    (0..length).map(|_| next()).collect()
}

/// A payload of this size in which no place looks like another.
pub(super) fn filled(size: usize) -> Vec<u8> {
    noise(size as u64, size)
}

/// Three small messages, and what has to come back.
pub(super) const THREE: [(u16, &[u8]); 3] = [(DATA, b"one"), (COMMAND, b"two two"), (ERROR, b"three")];

/// What other protocols say first.
const STRANGERS: [(&str, &[u8]); 6] = [
    ("http", b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"),
    ("http2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0"),
    ("tls", b"\x16\x03\x01\0\x2f\x01\0\0\x2b\x03\x03never-never-never-never-never-ne\0\0\x02\x13\x01\x01\0"),
    ("ssh", b"SSH-2.0-OpenSSH_9.6\r\n"),
    ("dbus", b"\0AUTH EXTERNAL 30\r\n"),
    ("json", b"{\"jsonrpc\":\"2.0\",\"id\":1,\"method\":\"hello\"}\n"),
];

pub(super) fn cases(b: &mut Book) {
    b.group("framing", 0);
    b.server("empty", "2", "An empty message on DATA.", "It is legal: an empty message comes back.", |s| {
        let mut p = s.open()?;
        p.echoes(DATA, b"")?;
        p.leave()
    })
    .needs(Messages);
    b.server(
        "sizes",
        "2",
        "Messages of 1 to 262145 bytes, round the powers of two.",
        "Each comes back as it is.",
        |s| {
            let mut p = s.open()?;
            SIZES.iter().try_for_each(|size| p.echoes(DATA, &filled(*size)))?;
            p.leave()
        },
    )
    .needs(Messages);
    b.server(
        "largest",
        "2",
        "A call of 16777216 bytes.",
        "It is within the limit and answered, unless the server is configured lower.",
        largest,
    )
    .within(20);
    b.server("many-in-one-write", "2", "A thousand messages in one write.", "All come back, in order.", |s| {
        let mut p = s.open()?;
        let all: Vec<u8> = (0..1000u32).flat_map(|n| plain(DATA, n.to_le_bytes())).collect();
        p.send(&all)?;
        (0..1000u32).try_for_each(|n| p.hears(DATA, &n.to_le_bytes()))?;
        p.leave()
    })
    .needs(Messages);
    b.both(
        "octet-by-octet",
        "2",
        "A handshake whose every byte is a write of its own.",
        "It counts like any other.",
        octet_by_octet,
    );
    b.server(
        "messages-octet-by-octet",
        "2",
        "Three messages, every byte in a write of its own.",
        "All come back.",
        |s| {
            let mut p = s.open()?;
            p.octet_by_octet(&three())?;
            hears_three(&mut p)?;
            p.leave()
        },
    )
    .needs(Messages);
    b.server(
        "every-split",
        "2",
        "Three messages in two writes, cut at every byte in turn.",
        "All come back each time.",
        |s| {
            let mut p = s.open()?;
            let bytes = three();
            for at in 0..=bytes.len() {
                p.send_each([&bytes[..at], &bytes[at..]])?;
                hears_three(&mut p)?;
            }
            p.leave()
        },
    )
    .needs(Messages);
    for (name, bytes, error) in [
        ("bad-first-byte", [&b"JP"[..], &plain(DATA, NEVER)[2..]].concat(), "bad_magic"),
        ("bad-second-byte", [&b"IQ"[..], &plain(DATA, NEVER)[2..]].concat(), "bad_magic"),
        ("swapped-magic", [&b"PI"[..], &plain(DATA, NEVER)[2..]].concat(), "bad_magic"),
        ("no-resync", [&b"x"[..], &plain(DATA, NEVER)].concat(), "bad_magic"),
        ("too-large", plain_header(LARGEST as u32 + 1, DATA), "frame_too_large"),
        ("length-of-all-ones", plain_header(u32::MAX, DATA), "frame_too_large"),
        (
            "big-endian-length",
            [&b"IP"[..], &5u32.to_be_bytes(), &2u16.to_le_bytes(), NEVER].concat(),
            "frame_too_large",
        ),
    ] {
        let sends = match name {
            "bad-first-byte" => "A frame whose first byte is not 49.",
            "bad-second-byte" => "A frame whose second byte is not 50.",
            "swapped-magic" => "A frame whose first two bytes are swapped.",
            "no-resync" => "One wrong byte, and a good frame behind it.",
            "too-large" => "A header that announces 16777217 bytes, and nothing else.",
            "length-of-all-ones" => "A header that announces 4294967295 bytes, and nothing else.",
            _ => "A frame whose length is written with its high byte first.",
        };
        let demands = match error {
            "bad_magic" => "bad_magic: the connection ends, and nothing is delivered.",
            _ => "frame_too_large, from the header alone: the connection ends.",
        };
        b.both(name, "2", sends, demands, move |s| s.fault(|_| bytes.clone(), error));
    }
    b.both(
        "one-wrong-byte",
        "2",
        "One byte that no frame starts with.",
        "The connection ends without waiting for a header, which is a SHOULD.",
        |s| {
            let mut p = s.open()?;
            p.send(b"x")?;
            loop {
                match p.event(s.within(Duration::from_secs(1)))? {
                    None => break,
                    Some(Event::End(_)) => return p.expect_error(""),
                    Some(Event::Frame(_)) => {}
                }
            }
            s.non_strict("it waits for more");
            p.send(b"xxxxxxx")?;
            p.expect_error("")
        },
    );
    for (name, bytes) in STRANGERS {
        let sends = format!("What a client of {} says first.", name.to_uppercase());
        b.server(name, "2", &sends, "bad_magic: the connection ends, and nothing of it comes back.", move |s| {
            let mut p = s.connect()?;
            p.send(bytes)?;
            p.expect_error("bad_magic")?;
            // Who is not of this protocol must not be able to have the server say what it likes.
            let quoted = p.last_words.windows(8).any(|part| bytes.windows(8).any(|sent| sent == part));
            demand(!quoted, || format!("it quotes what it got: {}", String::from_utf8_lossy(&p.last_words)))
        });
    }
    b.server("noise", "2", "Forty times 4096 bytes of noise in place of a handshake.", "Each connection ends.", |s| {
        (0..40).try_for_each(|seed| s.turned_away(&noise(seed, 4096), "bad_magic|frame_too_large|bad_handshake"))
    });
    b.server(
        "end-at-each-offset",
        "9",
        "A handshake and a call that end after every byte in turn.",
        "The server ends its side each time.",
        |s| {
            let bytes = [plain(0, request(s).to_string()), plain(COMMAND, "hi")].concat();
            for at in 0..bytes.len() {
                let mut p = s.connect()?;
                p.send(&bytes[..at])?;
                p.half_close();
                p.expect_close_or_refusal()?;
            }
            Ok(())
        },
    );
    b.server(
        "half-close",
        "9",
        "A call, and the end of the checker's half behind it.",
        "The reply comes, and then the end of the stream.",
        |s| {
            let mut p = s.open()?;
            let id = p.begin(b"the last word")?;
            p.half_close();
            p.reply(id, b"the last word")?;
            p.expect_close()
        },
    );
    b.server(
        "stops-midway",
        "9",
        "Half a frame, and then nothing.",
        "Nobody else is harmed, and the frame can be finished later.",
        |s| {
            let mut p = s.open()?;
            let bytes = plain(COMMAND, "late");
            p.send(&bytes[..10])?;
            s.open()?.works()?;
            p.send(&bytes[10..])?;
            p.reply(0, b"late")?;
            p.leave()
        },
    );
}

fn largest(s: &Stage<'_>) -> Played {
    let mut p = s.open()?;
    let payload = filled(LARGEST);
    let id = p.begin(&payload)?;
    match p.event(s.end)? {
        Some(Event::End(_)) => {
            s.info("it takes less");
            return Ok(());
        }
        Some(Event::Frame(frame)) if frame.payload == payload && frame.channel == COMMAND => {}
        Some(Event::Frame(frame)) => return fail(format!("{frame:?} came for call {id}")),
        None => return Err(Stop::Timeout("no reply".into())),
    }
    p.leave()
}

fn octet_by_octet(s: &Stage<'_>) -> Played {
    let mut p = s.connect()?;
    match s.role() {
        Role::Server => {
            p.request = request(s).to_string().into_bytes();
            let bytes = plain(0, &p.request);
            p.octet_by_octet(&bytes)?;
            p.expect_response()?;
        }
        Role::Client => {
            let asked = p.expect_request()?;
            p.response = Hello::new(s).response(&asked).to_string().into_bytes();
            let bytes = plain(0, &p.response);
            p.octet_by_octet(&bytes)?;
            p.phase = Phase::Open;
        }
    }
    p.works()?;
    p.leave()
}

fn three() -> Vec<u8> {
    THREE.iter().flat_map(|(channel, payload)| plain(*channel, payload)).collect()
}

/// They may come in any order across channels.
fn hears_three(p: &mut Lane<'_>) -> Played {
    let mut due = THREE.to_vec();
    while !due.is_empty() {
        let came = p.expect_message()?;
        let at = due.iter().position(|(channel, payload)| (came.channel, &came.payload[..]) == (*channel, *payload));
        let Some(at) = at else { return fail(format!("nobody sent {came:?}")) };
        due.remove(at);
    }
    Ok(())
}
