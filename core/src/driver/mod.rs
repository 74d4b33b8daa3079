//! What moves bytes between sockets and the protocol: blocking callers who take turns, or a context
//! behind one pollable descriptor. Both drive the same [`Conn`](crate::proto::conn::Conn).

pub(crate) mod acceptor;
pub(crate) mod carry;
pub(crate) mod context;
pub(crate) mod hub;
pub(crate) mod iothread;
pub(crate) mod lane;
pub(crate) mod place;
pub(crate) mod report;
pub(crate) mod spin;
pub(crate) mod sync;
pub(crate) mod turn;

use std::ops::{Deref, DerefMut};

use crate::driver::sync::{Mutex, MutexGuard};
use crate::log::Scope;

/// Locks. A panic while it was held leaves the state usable: every change to it is made by methods
/// that complete or do nothing.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock()
}

/// A lock under which events may be told to the log; they go out when it is free again.
pub(crate) struct Telling<'a, T> {
    // Dropped in this order.
    guard: MutexGuard<'a, T>,
    _scope: Scope,
}

/// Locks what may tell events.
pub(crate) fn lock_telling<T>(mutex: &Mutex<T>) -> Telling<'_, T> {
    let scope = Scope::enter();
    Telling { guard: lock(mutex), _scope: scope }
}

impl<T> Deref for Telling<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.guard
    }
}

impl<T> DerefMut for Telling<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.guard
    }
}
