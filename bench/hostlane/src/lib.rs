//! hostlane: requests are calls, one-way messages go on the DATA channel.
//!
//! | program | its server |
//! |---|---|
//! | `hostlane-bench` | blocking peers, a thread for each |
//! | `hostlane-context` | a context, one thread for all of them |

mod client;
mod context;
mod server;

pub use client::Lane;
pub use context::serve as serve_on_context;
pub use server::serve;

use std::time::Duration;

/// No wait of a measurement lasts longer.
const LIMIT: Duration = Duration::from_secs(30);
