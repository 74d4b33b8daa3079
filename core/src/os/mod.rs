//! What talks to the operating system. The only part of the crate where `unsafe` may stand.
//!
//! Transports have one door: an address goes into [`dial`] or [`listen`] and comes out as a
//! [`carrier`]. What an address form needs beyond that stays behind it, each form in its own file.
//!
//! Each system has a folder with the same doors: `linux` and `windows`. What is beside them is the same on both.
//! Something that can be waited for is a descriptor on Linux and a pair of event objects on Windows; nobody outside
//! does more with a [`BorrowedFd`] than hand it to [`poller`].

#[cfg(target_os = "linux")]
mod linux;
#[cfg(target_os = "linux")]
use linux as system;

#[cfg(windows)]
mod windows;
#[cfg(windows)]
use windows as system;

#[cfg(not(any(target_os = "linux", windows)))]
compile_error!("hostlane runs on Linux and on Windows");

mod inproc;
pub(crate) mod per_process;
pub(crate) mod random;
pub(crate) mod thread_bell;
pub(crate) mod trust;

pub(crate) use system::{AsFd, BorrowedDescriptor, BorrowedFd, Descriptor, Errno, borrow};
pub(crate) use system::{carrier, cpu, dial, fork, listen, poller, quiet_thread};

#[cfg(feature = "schema")]
pub(crate) use system::open_unfollowed;

#[cfg(target_os = "linux")]
pub(crate) use linux::rundir;

#[cfg(all(feature = "tokio", target_os = "linux"))]
pub(crate) use linux::reactor;
