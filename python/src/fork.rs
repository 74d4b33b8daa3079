//! Forked children, where an operation of the core's would not notice that it runs in one.

use hostlane_bridge::{Code, Error, Result};

/// The process that made an object.
#[derive(Clone, Copy)]
pub(crate) struct Process(u32);

impl Process {
    pub(crate) fn this() -> Self {
        Process(std::process::id())
    }

    /// Refuses to go on in another one, a child.
    pub(crate) fn check(self) -> Result<()> {
        if self.0 == std::process::id() {
            return Ok(());
        }
        Err(Error::new(Code::Forked, "the object belongs to the parent process; open one in the child"))
    }
}
