//! The protocol without I/O: bytes and time in, bytes and finished operations out.
//!
//! There is no clock, thread, socket or random source in here. A driver owns the socket and calls
//! [`Conn`](conn::Conn); everything that decides about bytes, deadlines, order and errors is on
//! this side, so it can be tested without a socket (docs/protocol.md, docs/architecture.md).

#[cfg(any(test, fuzzing))]
mod by_hand;
pub(crate) mod channel;
mod charge;
pub(crate) mod conn;
mod control;
mod deadlines;
mod frame;
#[cfg(fuzzing)]
pub mod fuzz;
pub(crate) mod hello;
pub(crate) mod ids;
pub(crate) mod inbox;
mod json;
pub(crate) mod level1;
pub(crate) mod notice;
pub(crate) mod offer;
mod ops;
mod outbox;
mod reader;
mod secret;
#[cfg(test)]
mod sim;
#[cfg(test)]
mod tests;

pub(crate) use ops::{OpId, Outcome, Step};
pub use secret::Secret;
