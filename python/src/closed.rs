//! Closed objects, where an operation of the core's has nothing against a close that came before it.

use std::sync::atomic::{AtomicBool, Ordering};

use hostlane_bridge::{Code, Error, Result};

/// Whether the program closed an object.
#[derive(Default)]
pub(crate) struct Closed(AtomicBool);

impl Closed {
    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Refuses to go on with one that is, as a handle of C does.
    pub(crate) fn check(&self) -> Result<()> {
        match self.0.load(Ordering::Relaxed) {
            false => Ok(()),
            true => Err(Error::new(Code::Closed, "closed by this side")),
        }
    }
}
