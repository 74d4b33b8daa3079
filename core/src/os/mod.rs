//! What talks to the operating system. The only part of the crate where `unsafe` may stand.
//!
//! Transports have one door: an address goes into [`dial`] or [`listen`] and comes out as a
//! [`carrier`]. What an address form needs beyond that stays behind it, each form in its own file.

pub(crate) mod carrier;
mod child;
pub(crate) mod cpu;
mod credentials;
pub(crate) mod dial;
pub(crate) mod fork;
mod inherited;
mod inproc;
pub(crate) mod listen;
mod only;
pub(crate) mod per_process;
pub(crate) mod poller;
pub(crate) mod quiet_thread;
pub(crate) mod random;
#[cfg(feature = "tokio")]
pub(crate) mod reactor;
pub(crate) mod rundir;
mod signals;
mod socket_file;
mod stdio;
mod systemd;
pub(crate) mod thread_bell;
pub(crate) mod trust;
mod unix;

/// A descriptor that can be passed to another process.
pub(crate) type Descriptor = std::os::fd::OwnedFd;
