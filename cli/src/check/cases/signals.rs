//! Control frames of level 1 on an open connection.

use crate::check::case::{Ability::Streams, Book};
use crate::check::stage::demand;
use crate::check::verdict::{Played, Stop};
use crate::check::wire::*;

const SHORT: &str = "protocol_error: it is shorter than its type says.";

/// PINGs with numbers for tokens.
fn pings(numbers: std::ops::Range<u64>) -> Vec<u8> {
    numbers.flat_map(|n| control(PING, n.to_le_bytes())).collect()
}

pub(super) fn cases(b: &mut Book) {
    b.group("signals", 1);
    b.both("ping", "22", "PING.", "PONG with the same token.", |s| {
        let mut p = s.open()?;
        p.send(&control(PING, b"a token."))?;
        p.expect_pong(b"a token.")?;
        p.works()?;
        p.leave()
    });
    b.server("many-pings", "22", "A thousand PINGs in one write.", "As many PONGs, in order.", |s| {
        let mut p = s.open()?;
        p.send(&pings(0..1000))?;
        (0..1000u64).try_for_each(|n| p.expect_pong(&n.to_le_bytes()))?;
        p.leave()
    });
    b.server(
        "pings-that-are-read",
        "22",
        "Twenty times a thousand PINGs, whose answers are read.",
        "They are all answered: reading them is what is asked for.",
        |s| {
            let mut p = s.open()?;
            for turn in 0..20 {
                p.send(&pings(turn * 1000..turn * 1000 + 1000))?;
                (turn * 1000..turn * 1000 + 1000).try_for_each(|n| p.expect_pong(&n.to_le_bytes()))?;
            }
            p.leave()
        },
    )
    .alone();
    b.server(
        "ping-before-a-large-reply",
        "22",
        "A call of a mebibyte, and PING behind it.",
        "PONG comes at a frame boundary; the reply is whole.",
        |s| {
            let mut p = s.open()?;
            let payload = super::framing::filled(1 << 20);
            let id = p.begin(&payload)?;
            p.send(&control(PING, b"overtake"))?;
            let mut pong = false;
            loop {
                let frame = p.frame()?;
                if frame.kind == PONG {
                    demand(frame.payload == b"overtake" && !pong, || format!("{frame:?}"))?;
                    pong = true;
                    continue;
                }
                if let Some(reply) = p.piece(frame)? {
                    demand(reply.kind == RESPONSE && reply.id == id && reply.payload == payload, || {
                        format!("{reply:?}")
                    })?;
                    break;
                }
            }
            if !pong {
                p.expect_pong(b"overtake")?;
            }
            p.leave()
        },
    );
    b.both("long-ping", "15", "PING of 12 bytes.", "A longer payload is legal: PONG with the first 8.", |s| {
        let mut p = s.open()?;
        p.send(&control(PING, b"a token.more"))?;
        p.expect_pong(b"a token.")?;
        p.works()?;
        p.leave()
    });
    b.both("unasked-pong", "22", "PONG that nobody asked for.", "It is ignored.", |s| {
        s.ignores(|_| control(PONG, [9; 8]))
    });
    b.both("credit-again", "21", "CREDIT that raises nothing, for every channel.", "It is ignored.", |s| {
        s.ignores(|_| (1..=4).flat_map(|channel| credit(channel, 0, 1)).collect())
    });
    for (kind, length) in [(PING, 7), (PONG, 7), (CREDIT, 7), (GOAWAY, 11), (CLOSE, 3), (PING, 0)] {
        let name = kind_name(kind).to_lowercase();
        let sends = format!("{} of {length} bytes.", kind_name(kind));
        b.both(&format!("{name}-of-{length}-bytes"), "15", &sends, SHORT, move |s| {
            s.fault(|_| frame(kind, 0, if kind == CREDIT { 1 } else { 0 }, 0, vec![0; length]), "protocol_error")
        });
    }
    for kind in [FAILED, REFUSE] {
        let name = kind_name(kind).to_lowercase();
        let sends = format!("{} of 3 bytes, for a call that was never opened.", kind_name(kind));
        b.both(&format!("{name}-of-3-bytes"), "15", &sends, SHORT, move |s| {
            s.fault(|p| of_call(kind, p.others(40), [0; 3]), "protocol_error")
        });
    }
    b.both("largest", "15", "PONG of 1024 bytes.", "It is legal, and ignored.", |s| {
        s.ignores(|_| control(PONG, [0; CONTROL]))
    });
    for kind in [PING, CLOSE, GOAWAY, CREDIT] {
        let name = kind_name(kind).to_lowercase();
        let sends = format!("The header of {} with 1025 bytes.", kind_name(kind));
        b.both(&format!("{name}-too-large"), "15", &sends, "frame_too_large, from the header alone.", move |s| {
            s.fault(|_| header(CONTROL as u32 + 1, kind, 0, 0, 0), "frame_too_large")
        });
    }
    b.server(
        "ping-flood",
        "22",
        "PINGs without end, and none of their answers is read.",
        "control_flood: the connection ends; what waits to be sent is bounded.",
        |s| {
            let mut p = s.open()?;
            let batch = pings(0..1000);
            for _ in 0..500 {
                match p.send_deaf(&batch) {
                    Ok(true) => {}
                    Ok(false) => break,
                    Err(Stop::Timeout(_)) => return Err(Stop::Fail("it neither reads nor ends the connection".into())),
                    Err(stop) => return Err(stop),
                }
            }
            p.expect_error("control_flood")
        },
    )
    .within(20)
    .alone();
    b.server(
        "calls-given-up",
        "19",
        "Ten thousand times a call and its CANCEL.",
        "The connection is as good as before.",
        |s| {
            let mut p = s.open()?;
            let window = p.limit("window");
            for _ in 0..100 {
                let mut bytes = Vec::new();
                for _ in 0..100 {
                    if window < 1 << 20 {
                        p.charge(COMMAND, 0, 1)?;
                    }
                    let id = p.fresh();
                    bytes.extend([request(id, b"x"), of_call(CANCEL, id, [])].concat());
                }
                p.send(&bytes)?;
            }
            let last = p.fresh();
            p.send(&request(last, b"still here"))?;
            loop {
                let came = p.expect_message()?;
                if came.id == last {
                    break demand(came.payload == b"still here", || format!("{came:?}"))?;
                }
            }
            p.leave()
        },
    )
    .alone();
    b.server(
        "max-calls",
        "19",
        "As many open streams as the server serves calls, and one more.",
        "REFUSE(queue_full) for that one; the connection goes on.",
        |s| {
            let mut p = s.open()?;
            let most = p.limit("max_calls").min(5000);
            let streams = (0..most).map(|_| p.stream(0)).collect::<Played<Vec<_>>>()?;
            let beyond = p.begin(b"one too many")?;
            let refused = p.expect(REFUSE)?;
            let code = u32::from_le_bytes(refused.payload[..4].try_into().unwrap_or_default());
            demand(refused.id == beyond && named(code) == "queue_full", || format!("{refused:?}, {}", named(code)))?;
            p.send(&frame(STREAM, WHOLE | FIN, COMMAND, streams[0], []))?;
            p.expect_stream_end(streams[0])?;
            p.works()?;
            p.leave()
        },
    )
    .needs(Streams)
    .within(15)
    .alone();
}
