//! The works by name.

use crate::Result;

/// Requests in flight in `fly64`.
pub const WINDOW: usize = 64;
/// Bytes of a small payload.
pub(crate) const SMALL: usize = 64;

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Work {
    /// One caller, one request at a time.
    RoundTrip(usize),
    /// [`WINDOW`] requests in flight on one connection.
    Fly(usize),
    /// Messages without a reply, and one report at the end.
    OneWay(usize),
    /// A new connection and its first reply, again and again.
    Connect(usize),
    /// So many connections that stay open, each with one reply.
    Stay(usize),
}

impl Work {
    pub(crate) fn parse(name: &str) -> Result<Work> {
        Ok(match name {
            "rt64" => Work::RoundTrip(SMALL),
            "rt64k" => Work::RoundTrip(64 << 10),
            "rt1m" => Work::RoundTrip(1 << 20),
            "fly64" => Work::Fly(SMALL),
            "oneway64" => Work::OneWay(SMALL),
            "oneway1m" => Work::OneWay(1 << 20),
            "connect" => Work::Connect(SMALL),
            "idle" => Work::Stay(1),
            "many" => Work::Stay(1000),
            _ => return Err(format!("no work is called {name}").into()),
        })
    }

    /// Bytes of a payload.
    pub(crate) fn size(self) -> usize {
        match self {
            Work::RoundTrip(size) | Work::Fly(size) | Work::OneWay(size) | Work::Connect(size) => size,
            Work::Stay(_) => SMALL,
        }
    }
}
