//! `NativeStream`: the items of one call.

use hostlane_bridge::Stream;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::data::Data;
use crate::error::{OrRaise, entry};
use crate::look::Look;
use crate::message::copy_out;
use crate::wait::{Deadline, Seconds, blocking};

/// A stream. `hostlane.Stream` and `hostlane.aio.Stream` wrap it.
#[pyclass(frozen, module = "hostlane._native")]
pub(crate) struct NativeStream {
    stream: Stream,
    look: Look,
}

impl NativeStream {
    pub(crate) fn new(stream: Stream) -> Self {
        Self { stream, look: Look::new() }
    }

    pub(crate) fn get(&self) -> &Stream {
        &self.stream
    }
}

#[pymethods]
impl NativeStream {
    /// The id of its call.
    #[getter]
    fn call_id(&self) -> u64 {
        self.stream.call_id()
    }

    /// Sends an item.
    fn send(&self, py: Python<'_>, data: Data<'_>, timeout: Option<Seconds>) -> PyResult<()> {
        entry(py, || {
            let deadline = Deadline::after(timeout).or_raise(py)?;
            let item = data.as_slice();
            blocking(py, deadline, &self.look, |wait| self.stream.send(item, wait))
        })
    }

    /// Ends this side's direction.
    fn finish(&self, py: Python<'_>, timeout: Option<Seconds>) -> PyResult<()> {
        entry(py, || {
            let deadline = Deadline::after(timeout).or_raise(py)?;
            blocking(py, deadline, &self.look, |wait| self.stream.finish(wait))
        })
    }

    /// The next item; `None` at the end.
    fn recv(&self, py: Python<'_>, timeout: Option<Seconds>) -> PyResult<Option<Py<PyBytes>>> {
        entry(py, || {
            let deadline = Deadline::after(timeout).or_raise(py)?;
            let item = blocking(py, deadline, &self.look, |wait| self.stream.recv(wait))?;
            item.map(|item| copy_out(py, &item)).transpose()
        })
    }

    /// The reply that ended the call, for its caller.
    #[getter]
    fn reply(&self, py: Python<'_>) -> PyResult<Option<Py<PyBytes>>> {
        entry(py, || self.stream.reply().map(|reply| copy_out(py, &reply)).transpose())
    }

    /// Gives the call up unless it has ended, if this side made it.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        entry(py, || {
            self.stream.close();
            Ok(())
        })
    }
}
