//! Signals end whoever serves at once, the socket removed.

use std::io;
use std::thread;

use hostlane::{Code, Error};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::exit::{Exit, Failure};

/// SIGINT, SIGTERM and SIGHUP, kept from the moment it is made.
pub(crate) struct Caught(Signals);

impl Caught {
    /// Made before there is a socket to remove.
    pub(crate) fn new() -> Result<Caught, Failure> {
        Ok(Caught(Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(failed)?))
    }

    /// From now on each of them has `close` give the address back and ends the process with success, whatever its other
    /// threads are waiting for; so does one that came before.
    pub(crate) fn end(mut self, close: impl FnOnce() + Send + 'static) -> Result<(), Failure> {
        thread::Builder::new()
            .name("signals".into())
            .spawn(move || {
                if self.0.forever().next().is_some() {
                    close();
                    std::process::exit(Exit::Success as i32);
                }
            })
            .map_err(failed)?;
        Ok(())
    }
}

fn failed(error: io::Error) -> Error {
    Error::new(Code::Internal, format!("signals: {error}"))
}
