//! The works by name.

use crate::Result;

/// Requests in flight in `fly64`.
pub const WINDOW: usize = 64;

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
}

impl Work {
    pub(crate) fn parse(name: &str) -> Result<Work> {
        Ok(match name {
            "rt64" => Work::RoundTrip(64),
            "rt64k" => Work::RoundTrip(64 << 10),
            "rt1m" => Work::RoundTrip(1 << 20),
            "fly64" => Work::Fly(64),
            "oneway64" => Work::OneWay(64),
            "oneway1m" => Work::OneWay(1 << 20),
            "connect" => Work::Connect(64),
            _ => return Err(format!("no work is called {name}").into()),
        })
    }

    /// Bytes of a payload.
    pub(crate) fn size(self) -> usize {
        match self {
            Work::RoundTrip(size) | Work::Fly(size) | Work::OneWay(size) | Work::Connect(size) => size,
        }
    }
}
