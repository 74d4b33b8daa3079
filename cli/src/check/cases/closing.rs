//! The end of a connection of level 0.

use crate::check::case::Book;
use crate::check::wire::*;

pub(super) fn cases(b: &mut Book) {
    b.group("closing", 0);
    b.server(
        "between-frames",
        "9",
        "The end of the stream behind a handshake.",
        "The server ends its side too.",
        |s| s.open()?.leave(),
    );
    b.server(
        "in-a-header",
        "9",
        "The end of the stream in the middle of a header.",
        "truncated: the server ends its side too.",
        |s| {
            let mut p = s.open()?;
            p.send(&plain(DATA, "x")[..5])?;
            p.leave()
        },
    );
    b.server(
        "in-a-payload",
        "9",
        "The end of the stream in the middle of a payload.",
        "truncated: nothing is delivered, and the server ends its side.",
        |s| {
            let mut p = s.open()?;
            p.send(&plain(DATA, "never never")[..14])?;
            p.half_close();
            p.expect_error("")
        },
    );
    b.server(
        "behind-a-call",
        "9",
        "A call, and the connection is dropped before its reply.",
        "Nobody else is harmed.",
        |s| {
            for _ in 0..20 {
                s.open()?.begin(b"nobody waits for this")?;
            }
            s.open()?.works()
        },
    );
    b.server(
        "unread",
        "8",
        "Calls whose replies are not read, and the connection is dropped.",
        "Nobody else is harmed.",
        |s| {
            let mut p = s.open()?;
            for _ in 0..20 {
                p.send(&plain(COMMAND, vec![b'x'; 10_000]))?;
            }
            drop(p);
            s.open()?.works()
        },
    );
}
