//! What moves bytes between sockets and the protocol: blocking callers who take turns, or a context
//! behind one pollable descriptor. Both drive the same [`Conn`](crate::proto::conn::Conn).

pub(crate) mod acceptor;
pub(crate) mod carry;
pub(crate) mod context;
pub(crate) mod hub;
pub(crate) mod iothread;
pub(crate) mod lane;
pub(crate) mod spin;
pub(crate) mod turn;

use std::sync::{Mutex, MutexGuard};

/// Locks. A panic while it was held leaves the state usable: every change to it is made by methods
/// that complete or do nothing.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}
