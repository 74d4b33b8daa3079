//! A raw Unix socket: one write and one read for a message, sleeping in the kernel.

use std::process::ExitCode;

use floors::{Blocking, Lane, serve};
use frame::{Inline, program};

fn main() -> ExitCode {
    program::<Lane<Blocking, false>>(Inline, serve::<Blocking, false>)
}
