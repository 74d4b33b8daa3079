//! `NativeListener`: a bound address and the connections that come in on it.

use hostlane_bridge::Listener;
use pyo3::prelude::*;

use crate::error::{OrRaise, entry};
use crate::facts;
use crate::look::Look;
use crate::options::{Options, Text};
use crate::peer::NativePeer;
use crate::wait::{Deadline, Seconds, blocking};

/// A bound address. `hostlane.Listener` wraps it.
#[pyclass(frozen, module = "hostlane._native")]
pub(crate) struct NativeListener {
    listener: Listener,
    look: Look,
}

impl NativeListener {
    pub(crate) fn get(&self) -> &Listener {
        &self.listener
    }
}

/// Binds `address`.
#[pyfunction]
pub(crate) fn listen(py: Python<'_>, address: Text, options: Options) -> PyResult<NativeListener> {
    entry(py, || {
        let bind = || Listener::bind_with(&address.address()?, &options.listen()?);
        let listener = py.detach(bind).or_raise(py)?;
        Ok(NativeListener { listener, look: Look::once() })
    })
}

#[pymethods]
impl NativeListener {
    /// The next connection whose handshake is done.
    fn accept(&self, py: Python<'_>, timeout: Option<Seconds>) -> PyResult<NativePeer> {
        entry(py, || {
            let deadline = Deadline::after(timeout).or_raise(py)?;
            blocking(py, deadline, &self.look, |wait| self.listener.accept(wait)).map(NativePeer::new)
        })
    }

    /// The address it serves.
    #[getter]
    fn address(&self) -> String {
        self.listener.address().to_string()
    }

    /// Counters, as of now.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        entry(py, || {
            let stats = self.listener.stats().or_raise(py)?;
            facts::listener_stats(py, &stats)
        })
    }

    /// The latest refused clients; each is handed out once.
    fn refusals<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyAny>>> {
        entry(py, || {
            let refusals = self.listener.take_refusals().or_raise(py)?;
            refusals.iter().map(|one| facts::refusal(py, one)).collect()
        })
    }

    /// Stops serving now.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        entry(py, || {
            py.detach(|| self.listener.close());
            Ok(())
        })
    }
}
