//! Signals end a server at once, its socket removed.

use std::io;
use std::sync::Arc;
use std::thread;

use hostlane::{Code, Error, Listener};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::exit::{Exit, Failure};

/// From now on SIGINT, SIGTERM and SIGHUP close the listener and end the process with success,
/// whatever its other threads are waiting for.
pub(crate) fn end_on_signals(listener: &Arc<Listener>) -> Result<(), Failure> {
    let failed = |error: io::Error| Error::new(Code::Internal, format!("signals: {error}"));
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(failed)?;
    let listener = Arc::clone(listener);
    thread::Builder::new()
        .name("signals".into())
        .spawn(move || {
            if signals.forever().next().is_some() {
                listener.close();
                std::process::exit(Exit::Success as i32);
            }
        })
        .map_err(failed)?;
    Ok(())
}
