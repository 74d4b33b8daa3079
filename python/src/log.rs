//! The log of the core on its way to `logging`: at the end of calls into the library, on the thread that made them.

use std::sync::atomic::{AtomicBool, Ordering};

use hostlane_bridge::{Code, Error, log};
use pyo3::exceptions::PyKeyboardInterrupt;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use crate::error::OrRaise;

/// Whether calls hand over what is kept.
static ENABLED: AtomicBool = AtomicBool::new(false);

/// Somebody is handing over, perhaps further up on this very thread: a handler of `logging` may use the library.
static BUSY: AtomicBool = AtomicBool::new(false);

/// Keeps events of a level of the core from now on.
#[pyfunction]
pub(crate) fn log_enable(py: Python<'_>, level: u8) -> PyResult<()> {
    let level = log::Level::from_number(level)
        .ok_or_else(|| Error::new(Code::InvalidArgument, format!("there is no level {level}")))
        .or_raise(py)?;
    log::enable(level);
    ENABLED.store(level != log::Level::Off, Ordering::Relaxed);
    Ok(())
}

/// What `hostlane.log` makes a record of: microseconds since 1970, level, event, peer, address, code, text.
type Entry = (u64, u8, &'static str, String, String, Option<&'static str>, String);

/// The kept events, and how many were dropped.
#[pyfunction]
pub(crate) fn log_drain() -> (Vec<Entry>, u64) {
    let mut events = Vec::new();
    let lost = log::drain(&mut events);
    let entries = events.into_iter().map(|event| {
        let code = event.code.map(Code::name);
        (event.unix_micros, event.level as u8, event.event.name(), event.peer, event.address, code, event.text)
    });
    (entries.collect(), lost)
}

/// Hands over what is kept, if that is wanted and nobody does so already.
pub(crate) fn flush(py: Python<'_>) {
    if !ENABLED.load(Ordering::Relaxed) || BUSY.swap(true, Ordering::Acquire) {
        return;
    }
    let (events, lost) = log_drain();
    if !events.is_empty() || lost > 0 {
        static TELL: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let told = TELL.import(py, "hostlane.log", "_tell").and_then(|tell| tell.call1((events, lost)));
        match told {
            Ok(_) => {}
            // The call has a result of its own, which an exception would take the place of: it comes right behind.
            // SAFETY: the interpreter is held.
            Err(error) if error.is_instance_of::<PyKeyboardInterrupt>(py) => unsafe { ffi::PyErr_SetInterrupt() },
            Err(error) => error.write_unraisable(py, None),
        }
    }
    BUSY.store(false, Ordering::Release);
}
