//! A descriptor at the reactor of a tokio runtime.

use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::io::{Errno, fcntl_dupfd_cloexec};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use crate::error::{Error, Result};

/// Watches `fd` for readability, under a number of its own, in the runtime this is called in. Panics outside of
/// one, and where its I/O is not enabled.
#[allow(unsafe_code)]
pub(crate) fn watch(fd: BorrowedFd<'_>) -> Result<AsyncFd<OwnedFd>> {
    let own = fcntl_dupfd_cloexec(fd, 0).map_err(|e| Error::os("doubling a descriptor", e))?;
    // SAFETY: the descriptor has to stay open and the same while it is registered. An `OwnedFd` gives the one it
    // owns and closes it when dropped, and this one is owned by what is returned, which ends the registration before.
    let watched = unsafe { AsyncFd::register_with_interest(own, Interest::READABLE) };
    watched.map_err(|e| {
        let cause = e.into_parts().1;
        Error::os("watching a descriptor", Errno::from_io_error(&cause).unwrap_or(Errno::IO))
    })
}
