//! Waiting: the interpreter is let go only by who has to sleep, and no wait is deaf to signals.

use std::cell::Cell;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use hostlane_bridge::{Code, Error, Result, Wait};
use pyo3::exceptions::PyOverflowError;
use pyo3::prelude::*;

use crate::error::OrRaise;
use crate::look::Look;

/// A signal that comes while a wait still looks or spins is noticed so much later: Python runs its handlers only when asked.
const UNNOTICED: Duration = Duration::from_millis(20);

/// Seconds a call waits when it is not told otherwise.
pub(crate) const DEFAULT_TIMEOUT: f64 = 5.0;

/// Seconds as Python has them: a float, or an integer. One that no float can express is out of any range, and no
/// `OverflowError`.
#[derive(Clone, Copy, IntoPyObject)]
#[pyo3(transparent)]
pub(crate) struct Seconds(pub(crate) f64);

impl<'a, 'py> FromPyObject<'a, 'py> for Seconds {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        match object.extract::<f64>() {
            Ok(seconds) => Ok(Seconds(seconds)),
            Err(error) if error.is_instance_of::<PyOverflowError>(object.py()) => Ok(Seconds(f64::NAN)),
            Err(error) => Err(error),
        }
    }
}

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
    pub(crate) fn after(seconds: Option<Seconds>) -> Result<Self> {
        let Some(Seconds(seconds)) = seconds else { return Ok(Deadline::Never) };
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

    /// The time itself; a deadline that has passed for `Now`.
    pub(crate) fn at(self) -> Option<Instant> {
        match self {
            Deadline::Now => Some(Instant::now()),
            Deadline::At(instant) => Some(instant),
            Deadline::Never => None,
        }
    }

    pub(crate) fn wait<'a>(self) -> Wait<'a> {
        match self {
            Deadline::Now => Wait::none(),
            Deadline::At(instant) => Wait::from(instant),
            Deadline::Never => Wait::forever(),
        }
    }
}

/// Runs a call of the core. It starts, and looks for what is there already, with the interpreter held: letting go of it
/// may cost a whole scheduling slice of another Python thread. Only to sleep is it released. A signal that arrives
/// meanwhile runs its Python handler; when that raises, the wait ends and the very exception is raised from here.
pub(crate) fn blocking<T>(
    py: Python<'_>,
    deadline: Deadline,
    look: &Look,
    call: impl FnOnce(Wait<'_>) -> Result<T>,
) -> PyResult<T> {
    let mut slept = None;
    let mut apart = |rest: &mut dyn FnMut()| {
        let rest = Rest(rest);
        let woke = py.detach(move || {
            rest.run();
            Instant::now()
        });
        slept = Some(woke.elapsed());
    };
    let mut raised = None;
    let mut on_interrupt = || run_handlers(&mut raised);
    let wait = heeding(deadline.wait(), hears(py)?, &mut on_interrupt).apart(look.budget(), &mut apart);
    let result = call(wait);
    look.learn(slept);
    finish(py, raised, result)
}

/// The same for what does more than wait, such as looking at files: the interpreter is released for all of it.
pub(crate) fn detached<T: Send>(
    py: Python<'_>,
    deadline: Deadline,
    call: impl FnOnce(Wait<'_>) -> Result<T> + Send,
) -> PyResult<T> {
    let (mut raised, hears) = (None, hears(py)?);
    let result = py.detach(|| call(heeding(deadline.wait(), hears, &mut || run_handlers(&mut raised))));
    finish(py, raised, result)
}

thread_local! {
    static HEARS: Cell<Option<bool>> = const { Cell::new(None) };
}

/// Whether Python runs the handlers of signals on this thread: on its main thread alone. Another one may outlive the interpreter,
/// which its waits leave alone.
fn hears(py: Python<'_>) -> PyResult<bool> {
    if let Some(known) = HEARS.get() {
        return Ok(known);
    }
    let threading = py.import("threading")?;
    let main = threading.call_method0("main_thread")?.getattr("ident")?;
    let hears = threading.call_method0("get_ident")?.eq(main)?;
    HEARS.set(Some(hears));
    Ok(hears)
}

fn heeding<'a>(wait: Wait<'a>, hears: bool, hook: &'a mut dyn FnMut() -> ControlFlow<()>) -> Wait<'a> {
    if hears { wait.on_interrupt(hook).ask_after(UNNOTICED) } else { wait }
}

/// Runs the Python handlers of signals that arrived.
fn run_handlers(raised: &mut Option<PyErr>) -> ControlFlow<()> {
    match Python::attach(|py| py.check_signals()) {
        Ok(()) => ControlFlow::Continue(()),
        Err(exception) => {
            *raised = Some(exception);
            ControlFlow::Break(())
        }
    }
}

fn finish<T>(py: Python<'_>, raised: Option<PyErr>, result: Result<T>) -> PyResult<T> {
    match raised {
        Some(exception) => Err(exception),
        None => result.or_raise(py),
    }
}

/// The sleeping part of a wait.
struct Rest<'a>(&'a mut dyn FnMut());

// SAFETY: `detach` runs it on the thread that made it. What its bound `Send` stands for is that nothing in it touches
// the interpreter while that is released: a wait holds memory of the core and pinned payloads alone, and its hook
// attaches to the interpreter by itself.
unsafe impl Send for Rest<'_> {}

impl Rest<'_> {
    fn run(self) {
        (self.0)();
    }
}
