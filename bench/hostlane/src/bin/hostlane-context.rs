//! A client that blocks, and a server on a context.

use std::process::ExitCode;

use frame::{Inline, program};
use hostlane_bench::{Lane, serve_on_context};

fn main() -> ExitCode {
    program::<Lane>(Inline, serve_on_context)
}
