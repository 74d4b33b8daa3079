//! How the JavaScript side learns that the context has something to fetch.
//!
//! First choice is [`poll`]: the context's descriptor is watched by the event loop itself, on the JavaScript thread. Hosts that
//! have no such loop, or do not let it be used, get [`thread`]: one thread that watches the descriptor and wakes the loop once
//! per batch. Both call the same JavaScript function, and neither calls it again before it has drained the context.

mod poll;
mod thread;
mod uv;

use std::os::fd::OwnedFd;

use napi::bindgen_prelude::{Env, Function, Result};

/// The JavaScript function that drains the context.
pub(crate) type Wake<'env> = Function<'env, (), ()>;

/// Watches one context for one environment. Lives on the JavaScript thread.
pub(crate) enum Waiter {
    Poll(poll::Poll),
    Thread(thread::Thread),
}

impl Waiter {
    /// Watches `fd` on the event loop of `env`. It keeps the process alive only after `set_ref(true)`.
    pub(crate) fn poll(env: &Env, fd: OwnedFd, wake: &Wake<'_>) -> Result<Waiter> {
        poll::Poll::start(env, fd, wake).map(Waiter::Poll)
    }

    /// Watches `fd` on a thread of its own. It keeps the process alive only after `set_ref(true)`.
    pub(crate) fn thread(env: &Env, fd: OwnedFd, wake: &Wake<'_>) -> Result<Waiter> {
        thread::Thread::start(env, fd, wake).map(Waiter::Thread)
    }

    /// Whether the wait keeps the process alive.
    pub(crate) fn set_ref(&self, on: bool) -> Result<()> {
        match self {
            Waiter::Poll(poll) => {
                poll.set_ref(on);
                Ok(())
            }
            Waiter::Thread(thread) => thread.set_ref(on),
        }
    }

    /// The context was drained: wake again when there is more.
    pub(crate) fn drained(&self) -> Result<()> {
        match self {
            // The event loop looks at the descriptor in every turn.
            Waiter::Poll(_) => Ok(()),
            Waiter::Thread(thread) => thread.drained(),
        }
    }
}
