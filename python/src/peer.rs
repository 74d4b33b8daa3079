//! `NativePeer`: one connection, driven by its callers' threads or by a context.

use std::sync::Arc;

use hostlane_bridge::{Peer, Result};
use pyo3::prelude::*;

use crate::call::NativeCall;
use crate::closed::Closed;
use crate::data::Data;
use crate::error::{OrRaise, entry};
use crate::facts;
use crate::fork::Process;
use crate::look::Look;
use crate::message::Message;
use crate::options::{Number, Options, Text, With, call_options};
use crate::stream::NativeStream;
use crate::wait::{Deadline, Seconds, blocking, detached};

/// One connection. `hostlane.Peer` and `hostlane.aio.Peer` wrap it.
#[pyclass(frozen, module = "hostlane._native")]
pub(crate) struct NativePeer {
    peer: Peer,
    /// Of waits for an answer, and for a message: one is soon over, the other may never be.
    calls: Arc<Look>,
    receives: Look,
    made_in: Process,
    closed: Closed,
}

impl NativePeer {
    pub(crate) fn new(peer: Peer) -> Self {
        let calls = Arc::new(Look::new());
        Self { peer, calls, receives: Look::new(), made_in: Process::this(), closed: Closed::default() }
    }

    pub(crate) fn get(&self) -> &Peer {
        &self.peer
    }

    /// For what can be done to a connection that has ended, unless this side closed it.
    pub(crate) fn open(&self) -> Result<&Peer> {
        self.made_in.check()?;
        self.closed.check()?;
        Ok(&self.peer)
    }
}

/// Connects to `address` within `timeout` seconds, the handshake included.
#[pyfunction]
pub(crate) fn connect(
    py: Python<'_>,
    address: Text,
    options: Options,
    timeout: Option<Seconds>,
) -> PyResult<NativePeer> {
    entry(py, || {
        let prepare = || Ok((address.address()?, options.connect()?, Deadline::after(timeout)?));
        let (address, options, deadline) = prepare().or_raise(py)?;
        detached(py, deadline, |wait| Peer::connect_with(&address, &options, wait)).map(NativePeer::new)
    })
}

#[pymethods]
impl NativePeer {
    /// Sends one message; returns when the kernel has all of it.
    fn send(
        &self,
        py: Python<'_>,
        data: Data<'_>,
        channel: Number<u16>,
        timeout: Option<Seconds>,
        with_: With<'_>,
    ) -> PyResult<()> {
        entry(py, || {
            let deadline = Deadline::after(timeout).or_raise(py)?;
            let options = call_options(py, channel, with_, Deadline::Never)?;
            let payload = data.as_slice();
            blocking(py, deadline, &ONCE, |wait| self.peer.send_with(payload, options, wait))
        })
    }

    /// Sends many messages of one channel.
    fn send_batch(
        &self,
        py: Python<'_>,
        batch: Vec<Bound<'_, PyAny>>,
        channel: Number<u16>,
        timeout: Option<Seconds>,
    ) -> PyResult<()> {
        entry(py, || {
            let prepare = || Ok((channel.channel()?, Deadline::after(timeout)?));
            let (channel, deadline) = prepare().or_raise(py)?;
            let batch = batch.iter().map(|data| Data::extract(data.as_borrowed())).collect::<PyResult<Vec<_>>>()?;
            let payloads = batch.iter().map(Data::as_slice);
            blocking(py, deadline, &ONCE, |wait| self.peer.send_batch(channel, payloads, wait))
        })
    }

    /// The next message, of one channel or of any.
    fn recv(&self, py: Python<'_>, channel: Option<Number<u16>>, timeout: Option<Seconds>) -> PyResult<Message> {
        entry(py, || {
            let prepare = || Ok((channel.map(Number::channel).transpose()?, Deadline::after(timeout)?));
            let (channel, deadline) = prepare().or_raise(py)?;
            blocking(py, deadline, &self.receives, |wait| match channel {
                Some(channel) => self.peer.recv_on(channel, wait),
                None => self.peer.recv(wait),
            })
            .map(Message::direct)
        })
    }

    /// All messages that are there, at most `most`; waits for the first.
    fn recv_batch(&self, py: Python<'_>, most: Number<usize>, timeout: Option<Seconds>) -> PyResult<Vec<Message>> {
        entry(py, || {
            let prepare = || Ok((most.get("the number of messages")?, Deadline::after(timeout)?));
            let (most, deadline) = prepare().or_raise(py)?;
            let mut messages = Vec::new();
            blocking(py, deadline, &self.receives, |wait| self.peer.recv_all(&mut messages, most, wait))?;
            Ok(messages.into_iter().map(Message::direct).collect())
        })
    }

    /// One call: sends `data` and returns its reply.
    fn request(
        &self,
        py: Python<'_>,
        data: Data<'_>,
        channel: Number<u16>,
        timeout: Option<Seconds>,
        with_: With<'_>,
    ) -> PyResult<Message> {
        entry(py, || {
            let deadline = Deadline::after(timeout).or_raise(py)?;
            let options = call_options(py, channel, with_, deadline)?;
            let payload = data.as_slice();
            blocking(py, deadline, &self.calls, |wait| self.peer.start_with(payload, options)?.wait(wait))
                .map(Message::direct)
        })
    }

    /// Starts a call.
    fn start(
        &self,
        py: Python<'_>,
        data: Data<'_>,
        channel: Number<u16>,
        timeout: Option<Seconds>,
        with_: With<'_>,
    ) -> PyResult<NativeCall> {
        entry(py, || {
            let deadline = Deadline::after(timeout).or_raise(py)?;
            // It counts from the start, whenever somebody waits.
            let deadline = deadline.at().map_or(Deadline::Never, Deadline::At);
            let options = call_options(py, channel, with_, deadline)?;
            let call = self.peer.start_with(data.as_slice(), options).or_raise(py)?;
            Ok(NativeCall::new(call, Arc::clone(&self.calls)))
        })
    }

    /// Opens a stream; also for a context.
    fn open_stream(
        &self,
        py: Python<'_>,
        data: Data<'_>,
        channel: Number<u16>,
        timeout: Option<Seconds>,
        with_: With<'_>,
    ) -> PyResult<NativeStream> {
        entry(py, || {
            let deadline = Deadline::after(timeout).or_raise(py)?;
            let options = call_options(py, channel, with_, deadline)?;
            self.peer.open_stream(data.as_slice(), options).or_raise(py).map(NativeStream::new)
        })
    }

    /// Holds small writes back until [`uncork`](NativePeer::uncork), as often as it is called.
    fn cork(&self, py: Python<'_>) -> PyResult<()> {
        entry(py, || {
            std::mem::forget(self.open().or_raise(py)?.cork());
            Ok(())
        })
    }

    /// Lets go what the last cork held back.
    fn uncork(&self, py: Python<'_>) -> PyResult<()> {
        entry(py, || {
            self.peer.uncork();
            Ok(())
        })
    }

    /// Seconds of one round trip.
    fn ping(&self, py: Python<'_>, timeout: Option<Seconds>) -> PyResult<f64> {
        entry(py, || {
            let deadline = Deadline::after(timeout).or_raise(py)?;
            blocking(py, deadline, &self.calls, |wait| self.peer.ping(wait)).map(|time| time.as_secs_f64())
        })
    }

    /// Ends the connection in good order.
    fn drain(&self, py: Python<'_>, timeout: Option<Seconds>) -> PyResult<()> {
        entry(py, || {
            let deadline = Deadline::after(timeout).or_raise(py)?;
            blocking(py, deadline, &ONCE, |wait| self.open()?.drain(wait))
        })
    }

    /// Has the I/O thread of the process attend to the connection while no caller does.
    fn attach(&self, py: Python<'_>) -> PyResult<()> {
        entry(py, || py.detach(|| self.open()?.attach()).or_raise(py))
    }

    /// The name of this connection.
    #[getter]
    fn peer_id(&self, py: Python<'_>) -> PyResult<String> {
        entry(py, || self.peer.info().map(|info| info.peer_id).or_raise(py))
    }

    /// Facts that do not change.
    fn info<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        entry(py, || facts::info(py, &self.peer.info().or_raise(py)?))
    }

    /// Counters, as of now.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        entry(py, || facts::stats(py, &self.peer.stats().or_raise(py)?))
    }

    /// Ends the connection now.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        entry(py, || {
            self.closed.set();
            py.detach(|| self.peer.close());
            Ok(())
        })
    }
}

/// Of waits that are not for an answer.
static ONCE: Look = Look::once();
