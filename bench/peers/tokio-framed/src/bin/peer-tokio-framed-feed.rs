//! Tokio with a length-delimited codec: messages fed, and flushed before waiting.

use std::process::ExitCode;

use frame::{CurrentThread, program};
use peer_tokio_framed::{Lane, serve};

fn main() -> ExitCode {
    program::<Lane<true>>(CurrentThread, serve::<true>)
}
