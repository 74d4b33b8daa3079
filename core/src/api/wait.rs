//! How long a blocking call may wait, and what a signal does to it.

use std::fmt;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

/// The bound of a blocking call: a deadline, or for ever, and what happens on a signal.
///
/// A [`Duration`] counts from now, an [`Instant`] is the deadline itself; both convert.
///
/// ```no_run
/// # fn main() -> hostlane::Result<()> {
/// use std::time::Duration;
/// use hostlane::{Peer, Wait};
/// let peer = Peer::connect("engine", Duration::from_secs(2))?;
/// let message = peer.recv(Wait::forever())?;
/// # Ok(()) }
/// ```
#[derive(Default)]
pub struct Wait<'a> {
    pub(crate) deadline: Option<Instant>,
    pub(crate) apart: Option<Apart<'a>>,
    /// What is waited for is not given up with the wait.
    pub(crate) keep: bool,
    on_interrupt: Option<Hook<'a>>,
    pub(crate) ask_after: Option<Duration>,
}

type Hook<'a> = &'a mut dyn FnMut() -> ControlFlow<()>;

/// What stands before a sleep.
pub(crate) struct Apart<'a> {
    pub(crate) look: Duration,
    pub(crate) hook: &'a mut dyn FnMut(&mut dyn FnMut()),
}

impl<'a> Wait<'a> {
    /// No deadline.
    pub fn forever() -> Wait<'a> {
        Wait::default()
    }

    /// Only what is possible at once; `timeout` otherwise.
    pub fn none() -> Wait<'a> {
        Wait::from(Instant::now())
    }

    /// Calls `hook` when a signal handler ran during the wait, on the waiting thread, with no lock
    /// held. `Break` ends the call with `interrupted`; a message that arrived meanwhile is not lost.
    /// A call that was already sent is given up by that, which closes a level-0 connection.
    /// Without a hook the wait goes on.
    pub fn on_interrupt(mut self, hook: &'a mut dyn FnMut() -> ControlFlow<()>) -> Wait<'a> {
        self.on_interrupt = Some(hook);
        self
    }

    /// Calls the hook of [`on_interrupt`](Wait::on_interrupt) also when the wait has slept for so long, once for each time that it
    /// did something else before: for hosts that run their handlers later than the signal comes. One that came before the sleep
    /// would be noticed with the next.
    pub fn ask_after(mut self, sleep: Duration) -> Wait<'a> {
        self.ask_after = Some(sleep);
        self
    }

    /// For hosts that hold a lock of their own, which must not be held by a thread that sleeps. The call looks at the
    /// connection again and again for as long as `look`, once if that is zero, without sleeping. If that does not
    /// finish it, `hook` gets the rest of the wait, which it has to run, once, on this thread: with the lock let go.
    pub fn apart(mut self, look: Duration, hook: &'a mut dyn FnMut(&mut dyn FnMut())) -> Wait<'a> {
        self.apart = Some(Apart { look, hook });
        self
    }

    /// The wait alone ends at its deadline, or on a signal; what it waits for goes on.
    pub(crate) fn keep(mut self) -> Wait<'a> {
        self.keep = true;
        self
    }

    /// Asks the hook, if there is one.
    pub(crate) fn interrupted(&mut self) -> ControlFlow<()> {
        match &mut self.on_interrupt {
            Some(hook) => hook(),
            None => ControlFlow::Continue(()),
        }
    }
}

impl From<Duration> for Wait<'_> {
    /// A duration too long for the clock means for ever.
    fn from(limit: Duration) -> Self {
        Wait { deadline: Instant::now().checked_add(limit), ..Wait::default() }
    }
}

impl From<Instant> for Wait<'_> {
    fn from(deadline: Instant) -> Self {
        Wait { deadline: Some(deadline), ..Wait::default() }
    }
}

impl fmt::Debug for Wait<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wait").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}
