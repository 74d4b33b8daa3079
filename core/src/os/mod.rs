//! What talks to the operating system. The only part of the crate where `unsafe` may stand.

pub(crate) mod cpu;
pub(crate) mod credentials;
pub(crate) mod fork;
pub(crate) mod per_process;
pub(crate) mod poller;
pub(crate) mod quiet_thread;
pub(crate) mod random;
pub(crate) mod rundir;
pub(crate) mod socket;
pub(crate) mod socket_file;
pub(crate) mod thread_bell;
