//! Both ends block.

use std::process::ExitCode;

use frame::{Inline, program};
use hostlane_bench::{Lane, serve};

fn main() -> ExitCode {
    program::<Lane>(Inline, serve)
}
