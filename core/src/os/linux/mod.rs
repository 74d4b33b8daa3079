//! Linux: descriptors, epoll, Unix-domain sockets and TCP.

pub(crate) mod carrier;
mod child;
pub(crate) mod cpu;
mod credentials;
pub(crate) mod dial;
mod domain;
pub(crate) mod fork;
mod inherited;
pub(crate) mod listen;
mod only;
pub(crate) mod poller;
mod proof;
pub(crate) mod quiet_thread;
#[cfg(feature = "tokio")]
pub(crate) mod reactor;
pub(crate) mod rundir;
mod signals;
mod socket_file;
mod stdio;
mod systemd;

pub(crate) use std::os::fd::{AsFd, BorrowedFd};

pub(crate) use rustix::io::Errno;

/// A descriptor that can be passed to another process.
pub(crate) type Descriptor = std::os::fd::OwnedFd;
pub(crate) type BorrowedDescriptor<'a> = BorrowedFd<'a>;

pub(crate) fn borrow(descriptor: &Descriptor) -> BorrowedDescriptor<'_> {
    descriptor.as_fd()
}

/// Fills `bytes` with what nobody can guess.
pub(super) fn fill_random(bytes: &mut [u8]) -> Result<(), Errno> {
    rustix::rand::getrandom(bytes, rustix::rand::GetRandomFlags::empty()).map(drop)
}

/// Whom a name of this user's is for: this user and root, who could do anything anyway.
pub(super) fn own_uids() -> Option<Vec<u32>> {
    Some(vec![rustix::process::geteuid().as_raw(), 0])
}

/// Opens a file for reading. `None` for a symbolic link; a FIFO does not hold whoever opens it.
#[cfg(feature = "schema")]
pub(crate) fn open_unfollowed(path: &std::path::Path) -> std::io::Result<Option<std::fs::File>> {
    use rustix::fs::{Mode, OFlags};
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    match rustix::fs::open(path, flags, Mode::empty()) {
        Ok(file) => Ok(Some(file.into())),
        Err(Errno::LOOP) => Ok(None),
        Err(error) => Err(error.into()),
    }
}
