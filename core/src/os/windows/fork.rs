//! Processes are not forked here: an object's process is always the one that made it.

use crate::error::Result;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp;

impl Stamp {
    pub(crate) fn now() -> Stamp {
        Stamp
    }

    pub(crate) fn current(self) -> bool {
        true
    }

    pub(crate) fn check(self) -> Result<()> {
        Ok(())
    }
}
