//! What every program of the comparison shares.
//!
//! A program is `server ADDR` or `client ADDR WORK SECONDS`. The server prints `ready ADDR` once it can be reached
//! and then answers until it is ended; the client prints one line of JSON. What a message asks for is written in the
//! message itself, so that every carrier is measured with the same bytes and the same verification. A client of `idle` or
//! `many` then keeps its connections until its standard input ends.

mod client;
mod flight;
mod histogram;
mod input;
mod message;
mod program;
mod serve;
mod service;
#[cfg(feature = "tokio")]
mod tokio;
mod work;

pub use client::{Client, Pipe};
pub use flight::Flight;
pub use message::check_reply;
pub use program::{Inline, Runtime, program, ready};
pub use serve::serve_each;
pub use service::{Answer, REPORT, Service};
pub use work::WINDOW;

#[cfg(feature = "tokio")]
pub use crate::tokio::CurrentThread;

/// Whatever goes wrong ends the program with its text.
pub type Error = Box<dyn std::error::Error + Send + Sync>;
/// See [`Error`].
pub type Result<T, E = Error> = std::result::Result<T, E>;
