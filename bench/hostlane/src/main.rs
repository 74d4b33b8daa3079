//! hostlane: blocking peers; requests are calls, one-way messages go on the DATA channel.

mod client;
mod server;

use std::process::ExitCode;
use std::time::Duration;

use frame::{Inline, program};

/// No wait of a measurement lasts longer.
const LIMIT: Duration = Duration::from_secs(30);

fn main() -> ExitCode {
    program::<client::Lane>(Inline, server::serve)
}
