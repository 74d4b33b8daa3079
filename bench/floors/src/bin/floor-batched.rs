//! A raw Unix socket: writes and reads batched by hand.

use std::process::ExitCode;

use floors::{Blocking, Lane, serve};
use frame::{Inline, program};

fn main() -> ExitCode {
    program::<Lane<Blocking, true>>(Inline, serve::<Blocking, true>)
}
