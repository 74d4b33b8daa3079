//! Waiting: never with the interpreter held, never deaf to signals.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use hostlane_bridge::{Code, Error, Result, Wait};
use pyo3::prelude::*;

use crate::error::OrRaise;

/// Seconds a call waits when it is not told otherwise.
pub(crate) const DEFAULT_TIMEOUT: f64 = 5.0;

/// When a call gives up: seconds from now, or never for `None`.
#[derive(Clone, Copy)]
pub(crate) enum Deadline {
    /// Only what is there now.
    Now,
    At(Instant),
    Never,
}

impl Deadline {
    /// Reads a timeout argument.
    pub(crate) fn after(seconds: Option<f64>) -> Result<Self> {
        let Some(seconds) = seconds else { return Ok(Deadline::Never) };
        if seconds.is_nan() || seconds < 0.0 {
            return Err(Error::new(
                Code::InvalidArgument,
                "a timeout is seconds from zero up, or None to wait for ever",
            ));
        }
        if seconds == 0.0 {
            return Ok(Deadline::Now);
        }
        // What no clock can express lies further away than any wait.
        let deadline = Duration::try_from_secs_f64(seconds).ok().and_then(|span| Instant::now().checked_add(span));
        Ok(deadline.map_or(Deadline::Never, Deadline::At))
    }

    pub(crate) fn wait<'a>(self) -> Wait<'a> {
        match self {
            Deadline::Now => Wait::none(),
            Deadline::At(instant) => Wait::from(instant),
            Deadline::Never => Wait::forever(),
        }
    }
}

/// Runs a blocking call with the interpreter released. A signal that arrives meanwhile runs its
/// Python handler; when that raises, the wait ends and the very exception is raised from here.
pub(crate) fn blocking<T: Send>(
    py: Python<'_>,
    deadline: Deadline,
    call: impl FnOnce(Wait<'_>) -> Result<T> + Send,
) -> PyResult<T> {
    let mut raised = None;
    let result = py.detach(|| {
        let mut on_interrupt = || match Python::attach(|py| py.check_signals()) {
            Ok(()) => ControlFlow::Continue(()),
            Err(exception) => {
                raised = Some(exception);
                ControlFlow::Break(())
            }
        };
        call(deadline.wait().on_interrupt(&mut on_interrupt))
    });
    match raised {
        Some(exception) => Err(exception),
        None => result.or_raise(py),
    }
}

/// As [`blocking`], but takes what is already there without letting go of the interpreter:
/// releasing it may cost a whole scheduling slice of another Python thread.
pub(crate) fn ready_or_blocking<T: Send>(
    py: Python<'_>,
    deadline: Deadline,
    call: impl Fn(Wait<'_>) -> Result<T> + Send,
) -> PyResult<T> {
    match call(Wait::none()) {
        Err(error) if error.code() == Code::Timeout && !matches!(deadline, Deadline::Now) => {
            blocking(py, deadline, call)
        }
        result => result.or_raise(py),
    }
}
