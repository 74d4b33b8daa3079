//! Channels, messages and calls of level 0.

use crate::check::case::{Ability::Messages, Book};
use crate::check::hello::Hello;
use crate::check::script::NEVER;
use crate::check::stage::{Stage, demand};
use crate::check::verdict::{Exit, Played};
use crate::check::wire::*;

const UNKNOWN: &str = "unknown_channel: the connection ends, and it is not delivered.";

/// Channels in turn, and what comes back on each has to be in order.
pub(super) fn in_order(s: &Stage<'_>, count: u32) -> Played {
    let mut p = s.open()?;
    let channels = [COMMAND, DATA, ERROR];
    let mut bytes = Vec::new();
    let mut next = [0u32; 5];
    for n in 0..count {
        let channel = channels[n as usize % channels.len()];
        if channel != COMMAND || s.level == 0 {
            bytes.extend(p.as_message(channel, n.to_le_bytes()));
        }
    }
    p.send(&bytes)?;
    let due = (0..count).filter(|n| s.level == 0 || n % 3 != 0).count();
    for _ in 0..due {
        let came = p.expect_message()?;
        let number = came.payload.as_slice().try_into().map(u32::from_le_bytes).unwrap_or(u32::MAX);
        let fits = number < count && channels[number as usize % 3] == came.channel;
        demand(fits && number >= next[usize::from(came.channel)], || format!("out of order: {came:?}"))?;
        next[usize::from(came.channel)] = number + 1;
    }
    p.leave()
}

pub(super) fn cases(b: &mut Book) {
    b.group("messages", 0);
    b.server("each-channel", "3", "A message on each of the channels 1 to 4.", "Each comes back on its own.", |s| {
        let mut p = s.open()?;
        (1..=4).try_for_each(|channel| p.echoes(channel, format!("on {channel}").as_bytes()))?;
        p.leave()
    })
    .needs(Messages);
    b.server(
        "in-order",
        "3",
        "Six hundred messages on three channels in turn.",
        "In each channel they come back in order.",
        |s| in_order(s, 600),
    )
    .needs(Messages);
    b.both("not-agreed", "3", "A message on a channel that was not agreed on.", UNKNOWN, |s| {
        let mut p = s.open_as(&Hello::new(s).channels(&[COMMAND, DATA]))?;
        p.send(&plain(TELEMETRY, NEVER))?;
        p.expect_error("unknown_channel")
    });
    for (name, channel) in [("reserved-5", 5), ("reserved-255", 255), ("user-300", 300), ("user-65535", 65_535)] {
        let sends = format!("A message on channel {channel}.");
        b.both(name, "3", &sends, UNKNOWN, move |s| s.fault(|_| plain(channel, NEVER), "unknown_channel"));
    }
    b.both("big-endian-channel", "2", "A message whose channel is written with its high byte first.", UNKNOWN, |s| {
        s.fault(|_| [&b"IP\x05\0\0\0\x00\x02"[..], NEVER].concat(), "unknown_channel")
    });
    b.server("calls", "7", "A hundred calls, one after the other.", "Each has its reply.", |s| {
        let mut p = s.open()?;
        (0..100u32).try_for_each(|n| p.calls(&n.to_le_bytes()))?;
        p.leave()
    });
    b.server("calls-at-once", "7", "A hundred calls in one write.", "They are answered in order.", |s| {
        let mut p = s.open()?;
        p.send(&(0..100u32).flat_map(|n| plain(COMMAND, n.to_le_bytes())).collect::<Vec<_>>())?;
        (0..100u32).try_for_each(|n| p.reply(0, &n.to_le_bytes()))?;
        p.leave()
    });
    b.server(
        "side-by-side",
        "7",
        "Twenty connections, a call on each before any reply is read.",
        "Each has its own reply.",
        |s| {
            let mut lanes = (0..20).map(|_| s.open()).collect::<Played<Vec<_>>>()?;
            for (n, p) in lanes.iter_mut().enumerate() {
                p.begin(&[n as u8; 9])?;
            }
            for (n, p) in lanes.iter_mut().enumerate() {
                p.reply(0, &[n as u8; 9])?;
            }
            Ok(())
        },
    );
    b.client("reply", "7", "The reply, as the client asked for it.", "The program prints it and leaves.", |s| {
        s.ignores(|_| Vec::new())
    });
    b.client(
        "reply-octet-by-octet",
        "2",
        "The reply, every byte in a write of its own.",
        "The program prints it.",
        |s| {
            let mut p = s.open()?;
            let id = p.expect_call()?;
            s.exit(Exit::Success);
            let reply = p.as_reply(id, s.payload());
            p.octet_by_octet(&reply)?;
            p.leave()
        },
    );
    b.client(
        "message-before-the-reply",
        "7",
        "Messages on DATA and ERROR, and then the reply.",
        "They are no reply; the program prints the reply.",
        |s| {
            let mut p = s.open()?;
            let id = p.expect_call()?;
            s.exit(Exit::Success);
            let reply = p.as_reply(id, s.payload());
            p.send(&[plain(DATA, "not this"), plain(ERROR, "{\"error\":1}"), reply].concat())?;
            p.leave()
        },
    );
    b.client(
        "second-reply",
        "7",
        "The reply twice.",
        "The second one is an ordinary message; the program prints the first.",
        |s| {
            let mut p = s.open()?;
            let id = p.expect_call()?;
            s.exit(Exit::Success);
            p.send(&[p.as_reply(id, s.payload()), p.as_reply(id, "another")].concat())?;
            p.leave()
        },
    );
    b.client(
        "no-reply",
        "7",
        "Nothing where the reply is due.",
        "The call ends at its deadline and with it the connection; the program fails.",
        |s| {
            let mut p = s.open()?;
            p.expect_call()?;
            p.expect_error("")
        },
    )
    .within(12);
    b.client(
        "end-in-place-of-the-reply",
        "9",
        "The end of the stream where the reply is due.",
        "connection_lost: the program fails.",
        |s| {
            let mut p = s.open()?;
            p.expect_call()?;
            s.exit(Exit::Failure);
            p.half_close();
            p.expect_close()
        },
    );
    b.client("end-in-the-reply", "9", "The end of the stream in the middle of the reply.", "The program fails.", |s| {
        let mut p = s.open()?;
        let id = p.expect_call()?;
        s.exit(Exit::Failure);
        let reply = p.as_reply(id, s.payload());
        p.send(&reply[..reply.len() - 3])?;
        p.half_close();
        p.expect_close()
    });
}
