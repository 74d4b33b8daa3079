//! Threads of our own, which take none of the program's signals.

use std::io;

#[cfg(not(shuttle))]
use super::signals;

/// Starts a thread with every signal blocked, so that the program's handlers never run on it. It ends by itself.
#[cfg(not(shuttle))]
pub(crate) fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    signals::all_blocked(|| std::thread::Builder::new().name(name.to_owned()).spawn(body)).map(drop)
}

#[cfg(shuttle)]
pub(crate) fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    shuttle::thread::Builder::new().name(name.to_owned()).spawn(body).map(drop)
}
