//! Tokio with a length-delimited codec: each message sent at once.

use std::process::ExitCode;

use frame::{CurrentThread, program};
use peer_tokio_framed::{Lane, serve};

fn main() -> ExitCode {
    program::<Lane<false>>(CurrentThread, serve::<false>)
}
