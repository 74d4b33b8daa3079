//! `NativePeer`: one connection, driven by its callers' threads.

use hostlane_bridge::{Address, Peer};
use pyo3::prelude::*;

use crate::data::Data;
use crate::error::{OrRaise, entry};
use crate::facts;
use crate::message::Message;
use crate::options::{Number, Options};
use crate::wait::{Deadline, blocking, ready_or_blocking};

/// One connection. `hostlane.Peer` wraps it.
#[pyclass(frozen, module = "hostlane._native")]
pub(crate) struct NativePeer(Peer);

impl NativePeer {
    pub(crate) fn new(peer: Peer) -> Self {
        Self(peer)
    }
}

/// Connects to `address` within `timeout` seconds, the handshake included.
#[pyfunction]
pub(crate) fn connect(py: Python<'_>, address: &str, options: Options, timeout: Option<f64>) -> PyResult<NativePeer> {
    entry(py, || {
        let prepare = || Ok((address.parse::<Address>()?, options.connect()?, Deadline::after(timeout)?));
        let (address, options, deadline) = prepare().or_raise(py)?;
        blocking(py, deadline, |wait| Peer::connect_with(&address, &options, wait)).map(NativePeer)
    })
}

#[pymethods]
impl NativePeer {
    /// Sends one message; returns when the kernel has all of it.
    fn send(&self, py: Python<'_>, data: Data<'_>, channel: Number<u16>, timeout: Option<f64>) -> PyResult<()> {
        entry(py, || {
            let prepare = || Ok((channel.channel()?, Deadline::after(timeout)?));
            let (channel, deadline) = prepare().or_raise(py)?;
            let payload = data.as_slice();
            blocking(py, deadline, |wait| self.0.send(channel, payload, wait))
        })
    }

    /// The next message, of one channel or of any.
    fn recv(&self, py: Python<'_>, channel: Option<Number<u16>>, timeout: Option<f64>) -> PyResult<Message> {
        entry(py, || {
            let prepare = || Ok((channel.map(Number::channel).transpose()?, Deadline::after(timeout)?));
            let (channel, deadline) = prepare().or_raise(py)?;
            ready_or_blocking(py, deadline, |wait| match channel {
                Some(channel) => self.0.recv_on(channel, wait),
                None => self.0.recv(wait),
            })
            .map(Message::new)
        })
    }

    /// One call: sends `data` on COMMAND and returns its reply.
    fn request(&self, py: Python<'_>, data: Data<'_>, timeout: Option<f64>) -> PyResult<Message> {
        entry(py, || {
            let deadline = Deadline::after(timeout).or_raise(py)?;
            let payload = data.as_slice();
            blocking(py, deadline, |wait| self.0.request(payload)?.wait(wait)).map(Message::new)
        })
    }

    /// Seconds of one round trip.
    fn ping(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<f64> {
        entry(py, || {
            let deadline = Deadline::after(timeout).or_raise(py)?;
            blocking(py, deadline, |wait| self.0.ping(wait)).map(|time| time.as_secs_f64())
        })
    }

    /// Ends the connection in good order.
    fn drain(&self, py: Python<'_>, timeout: Option<f64>) -> PyResult<()> {
        entry(py, || {
            let deadline = Deadline::after(timeout).or_raise(py)?;
            blocking(py, deadline, |wait| self.0.drain(wait))
        })
    }

    /// The name of this connection.
    #[getter]
    fn peer_id(&self, py: Python<'_>) -> PyResult<String> {
        entry(py, || self.0.info().map(|info| info.peer_id).or_raise(py))
    }

    /// Facts that do not change.
    fn info<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        entry(py, || facts::info(py, &self.0.info().or_raise(py)?))
    }

    /// Counters, as of now.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        entry(py, || facts::stats(py, &self.0.stats().or_raise(py)?))
    }

    /// Ends the connection now.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        entry(py, || {
            py.detach(|| self.0.close());
            Ok(())
        })
    }
}
