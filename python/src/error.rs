//! From `hostlane_bridge::Error` to the classes of `hostlane.errors`.

use hostlane_bridge::{Error, Flat, Result, guard};
use pyo3::exceptions::PySystemError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict};

use crate::log;

/// `hostlane.errors.BY_CODE`.
static BY_CODE: PyOnceLock<Py<PyDict>> = PyOnceLock::new();

/// The Python exception of an error; built here and nowhere else.
pub(crate) fn raise(py: Python<'_>, error: &Error) -> PyErr {
    let flat = Flat::from(error);
    let class = BY_CODE
        .get_or_try_init(py, || {
            let table = py.import("hostlane.errors")?.getattr("BY_CODE")?;
            Ok::<_, PyErr>(table.cast_into::<PyDict>()?.unbind())
        })
        .and_then(|table| table.bind(py).get_item(flat.number));
    match class {
        Ok(Some(class)) => match error.status() {
            Some(status) => remote(&class, &flat, status, error.data()),
            None => class.call1((flat.message, flat.sent)),
        }
        .map_or_else(|failed| failed, PyErr::from_value),
        Ok(None) => PySystemError::new_err(format!(
            "hostlane error {} ({}) has no class: {}",
            flat.number, flat.name, flat.message
        )),
        Err(failed) => failed,
    }
}

fn remote<'py>(class: &Bound<'py, PyAny>, flat: &Flat, status: u32, data: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let py = class.py();
    let given = PyDict::new(py);
    given.set_item("status", status)?;
    given.set_item("data", PyBytes::new(py, data))?;
    class.call((&flat.message, flat.sent), Some(&given))
}

/// The error of the core as the exception of Python.
pub(crate) trait OrRaise<T> {
    fn or_raise(self, py: Python<'_>) -> PyResult<T>;
}

impl<T> OrRaise<T> for Result<T> {
    fn or_raise(self, py: Python<'_>) -> PyResult<T> {
        self.map_err(|error| raise(py, &error))
    }
}

/// Runs the body of one entry point, and hands over the log there is then. A panic in it arrives as
/// `hostlane.InternalError`: PyO3's own `PanicException` is no `Exception`, and would pass every `except Exception`.
pub(crate) fn entry<T>(py: Python<'_>, body: impl FnOnce() -> PyResult<T>) -> PyResult<T> {
    let result = guard(|| Ok(body())).or_raise(py);
    log::flush(py);
    result?
}

/// Panics, so that a test can prove what becomes of a panic.
#[pyfunction]
pub(crate) fn panic(py: Python<'_>) -> PyResult<()> {
    entry(py, || panic!("asked for by the caller"))
}
