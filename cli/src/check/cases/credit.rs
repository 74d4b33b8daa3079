//! Credit of channels: a server keeps to what it was given, gives back what it took, and minds what is overrun.

use std::time::Duration;

use serde_json::json;

use crate::check::case::{Ability::Messages, Book};
use crate::check::hello::Hello;
use crate::check::lane::{Event, Lane};
use crate::check::stage::{Stage, demand, fail};
use crate::check::verdict::Played;
use crate::check::wire::*;

use super::framing::filled;

const QUIET: Duration = Duration::from_millis(200);

/// A connection on which the server may begin messages as far as `window` goes.
fn with_window<'s>(s: &'s Stage<'s>, window: u64) -> Played<Lane<'s>> {
    s.open_as(&Hello::new(s).limits(json!({"window": window, "stream_window": 1 << 30})))
}

/// The next so many messages on DATA, by their numbers.
fn hears(p: &mut Lane<'_>, numbers: std::ops::Range<u8>) -> Played {
    numbers.into_iter().try_for_each(|number| p.hears(DATA, &[number; 100]))
}

pub(super) fn cases(b: &mut Book) {
    b.group("credit", 1);
    b.server(
        "kept-to",
        "21",
        "Twenty messages of 100 bytes, on a connection whose window is 1000.",
        "Seven come back, each charged 164; the others once there is credit.",
        |s| {
            let mut p = with_window(s, 1000)?;
            (0..20u8).try_for_each(|number| p.say(DATA, &[number; 100]))?;
            hears(&mut p, 0..7)?;
            p.expect_quiet(QUIET)?;
            p.send(&credit(DATA, 0, 2000))?;
            hears(&mut p, 7..13)?;
            p.expect_quiet(QUIET)?;
            p.send(&credit(DATA, 0, u64::MAX))?;
            hears(&mut p, 13..20)?;
            p.leave()
        },
    )
    .needs(Messages);
    b.server(
        "never-given",
        "21",
        "A message on a connection whose window is 0, and then credit.",
        "It does not come back before.",
        |s| {
            let mut p = with_window(s, 0)?;
            p.say(DATA, b"held back")?;
            p.expect_quiet(QUIET)?;
            p.send(&credit(DATA, 0, 1))?;
            p.hears(DATA, b"held back")?;
            p.leave()
        },
    )
    .needs(Messages);
    b.server(
        "lower-total",
        "21",
        "CREDIT that is lower than what was given before.",
        "It is ignored: credit only grows.",
        |s| {
            let mut p = with_window(s, 1000)?;
            p.send(&[credit(DATA, 0, 0), credit(DATA, 0, 999), credit(DATA, 0, 1000)].concat())?;
            (0..8u8).try_for_each(|number| p.say(DATA, &[number; 100]))?;
            hears(&mut p, 0..7)?;
            p.expect_quiet(QUIET)?;
            p.send(&[credit(DATA, 0, 2000), credit(DATA, 0, 1000)].concat())?;
            hears(&mut p, 7..8)?;
            p.leave()
        },
    )
    .needs(Messages);
    b.server(
        "replies-need-none",
        "21",
        "Calls on a connection whose window is 0.",
        "They are answered: replies need no credit.",
        |s| {
            let mut p = with_window(s, 0)?;
            (0..10u8).try_for_each(|number| p.calls(&[number; 100]))?;
            p.leave()
        },
    );
    b.server(
        "one-larger-than-the-window",
        "21",
        "A message of 5000 bytes, on a connection whose window is 1.",
        "It comes back: a message may pass the total once.",
        |s| {
            let mut p = with_window(s, 1)?;
            p.echoes(DATA, &filled(5000))?;
            p.say(DATA, b"and no other")?;
            p.expect_quiet(QUIET)?;
            p.leave()
        },
    )
    .needs(Messages);
    b.server(
        "channels-apart",
        "21",
        "A message on DATA, for which there is no credit, and one on ERROR, for which there is.",
        "That on ERROR comes back. A server that serves a connection in one thread may hold it back.",
        |s| {
            let mut p = with_window(s, 0)?;
            p.send(&credit(ERROR, 0, 1))?;
            p.say(DATA, b"held back")?;
            p.say(ERROR, b"let through")?;
            let came = p.next(s.within(Duration::from_secs(1)))?;
            match came {
                Some(Event::Frame(frame)) => {
                    demand(frame.channel == ERROR && frame.payload == b"let through", || format!("{frame:?}"))?;
                }
                Some(Event::End(end)) => {
                    return fail(format!("the connection ended ({end:?})"));
                }
                None => {
                    s.info("the program holds it back");
                    p.send(&credit(DATA, 0, 1))?;
                    p.hears(DATA, b"held back")?;
                    p.hears(ERROR, b"let through")?;
                }
            }
            p.leave()
        },
    )
    .needs(Messages);
    b.server(
        "larger-than-its-window",
        "21",
        "A call of twice the server's window.",
        "It is answered: a message may pass the total once.",
        |s| {
            let mut p = s.open()?;
            let size = (2 * p.limit("window")).min(p.limit("max_message")) as usize;
            p.calls(&filled(size))?;
            p.leave()
        },
    )
    .within(10);
    b.server(
        "comes-back",
        "21",
        "Calls of four times the server's window in all, as credit allows.",
        "CREDIT comes, at the latest when half of the window is used.",
        |s| {
            let mut p = s.open()?;
            let window = p.limit("window");
            let size = (window / 16).clamp(1, 1 << 20) as usize;
            (0..64).try_for_each(|n| p.calls(&filled(size + n)))?;
            let granted = p.granted.get(&(COMMAND, 0)).copied().unwrap_or(0);
            demand(granted > window, || "no CREDIT came".into())?;
            p.leave()
        },
    )
    .within(20);
    b.server(
        "exceeded",
        "21",
        "Messages without end, and no credit for those that come back.",
        "credit_exceeded, unless its program takes it all.",
        |s| {
            let mut p = with_window(s, 0)?;
            let bytes = message(DATA, vec![b'x'; 65_536]);
            p.overruns((DATA, 0), &bytes, 1000)
        },
    )
    .needs(Messages)
    .within(15)
    .alone();
    b.server(
        "control-needs-none",
        "21",
        "PING while the server has no credit and holds a message back.",
        "PONG: control frames need no credit.",
        |s| {
            let mut p = with_window(s, 0)?;
            p.say(DATA, b"held back")?;
            p.send(&control(PING, b"anyway.."))?;
            p.expect_pong(b"anyway..")?;
            p.leave()
        },
    );
}
