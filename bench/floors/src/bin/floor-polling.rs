//! A raw Unix socket: trying for up to 50 µs before sleeping.

use std::process::ExitCode;

use floors::{Lane, Polling, serve};
use frame::{Inline, program};

fn main() -> ExitCode {
    program::<Lane<Polling, false>>(Inline, serve::<Polling, false>)
}
