//! `NativeContext`: many peers and listeners behind one descriptor, for who drives them from one place: an event loop, or
//! a thread that serves many clients.
//!
//! A method that starts an operation returns its result if it is finished at once, else its id, an `int`, which no result
//! is. Messages answer through the `host` they are given.

use std::os::fd::AsRawFd;
use std::sync::{Mutex, PoisonError};

use hostlane_bridge::{Completion, Context, Message as CoreMessage, Outcome, Progress, Result, Started};
use pyo3::prelude::*;
use pyo3::types::{PyFloat, PyInt, PyList, PyTuple};

use crate::data::Data;
use crate::error::{OrRaise, entry, raise};
use crate::listener::NativeListener;
use crate::message::{AioMessage, Message, copy_out};
use crate::options::{Number, Options, Text, With, call_options};
use crate::peer::NativePeer;
use crate::stream::NativeStream;
use crate::wait::{Deadline, Seconds};

type Object<'py> = Bound<'py, PyAny>;

/// Drives peers and listeners.
#[pyclass(frozen, module = "hostlane._native")]
pub(crate) struct NativeContext {
    context: Context,
    /// Its messages are those of `hostlane.aio`.
    aio: bool,
    /// Used again by every turn.
    done: Mutex<Vec<Completion>>,
}

/// A message of either class.
#[derive(FromPyObject)]
pub(crate) enum AnyMessage<'py> {
    Aio(Bound<'py, AioMessage>),
    Sync(Bound<'py, Message>),
}

impl AnyMessage<'_> {
    fn inner(&self) -> &CoreMessage {
        match self {
            AnyMessage::Aio(message) => message.get().inner(),
            AnyMessage::Sync(message) => message.get().inner(),
        }
    }

    pub(crate) fn answering(&self) -> &CoreMessage {
        match self {
            AnyMessage::Aio(message) => message.get().answering(),
            AnyMessage::Sync(message) => message.get().answering(),
        }
    }
}

impl NativeContext {
    fn message<'py>(&self, host: &Object<'py>, message: CoreMessage) -> PyResult<Object<'py>> {
        let (py, host) = (host.py(), host.clone().unbind());
        Ok(match self.aio {
            true => Bound::new(py, AioMessage::new(message, host))?.into_any(),
            false => Bound::new(py, Message::hosted(message, host))?.into_any(),
        })
    }

    fn outcome<'py>(&self, host: &Object<'py>, outcome: Outcome) -> PyResult<Object<'py>> {
        let py = host.py();
        Ok(match outcome {
            Outcome::Connected(peer) | Outcome::Accepted(peer) => Bound::new(py, NativePeer::new(peer))?.into_any(),
            Outcome::Message(message) | Outcome::Reply(message) => self.message(host, message)?,
            Outcome::Pong(time) => PyFloat::new(py, time.as_secs_f64()).into_any(),
            Outcome::Item(item) => copy_out(py, &item)?.into_bound(py).into_any(),
            Outcome::StreamEnd(reply) => {
                let reply = reply.map(|reply| copy_out(py, &reply)).transpose()?;
                PyTuple::new(py, [reply])?.into_any()
            }
            _ => py.None().into_bound(py),
        })
    }

    fn started<'py>(&self, host: &Object<'py>, started: Result<Started>) -> PyResult<Object<'py>> {
        match started.or_raise(host.py())? {
            Started::Done(outcome) => self.outcome(host, outcome),
            Started::Pending(op) => Ok(PyInt::new(host.py(), op).into_any()),
        }
    }
}

#[pymethods]
impl NativeContext {
    #[new]
    fn new(py: Python<'_>, aio: bool) -> PyResult<Self> {
        entry(py, || Ok(Self { context: Context::new().or_raise(py)?, aio, done: Mutex::default() }))
    }

    /// The descriptor to poll for reading; only poll it.
    fn fileno(&self) -> i32 {
        self.context.fd().as_raw_fd()
    }

    /// Moves bytes and takes what has ended, at most `budget` operations: those that ended well, as pairs of their id and
    /// result, those that did not, as pairs of their id and exception, and whether there may be more at once.
    fn process<'py>(
        &self,
        host: &Object<'py>,
        budget: usize,
    ) -> PyResult<(Bound<'py, PyList>, Option<Bound<'py, PyList>>, bool)> {
        let py = host.py();
        entry(py, || {
            // Taken out: making Python objects may run any Python code, and other threads.
            let mut done = std::mem::take(&mut *self.done.lock().unwrap_or_else(PoisonError::into_inner));
            let progress = self.context.process(budget, &mut done).or_raise(py)?;
            let ended = PyList::empty(py);
            let mut failed = None;
            for Completion { op, result } in done.drain(..) {
                let result = match result {
                    Ok(outcome) => self.outcome(host, outcome),
                    Err(error) => Err(raise(py, &error)),
                };
                match result {
                    Ok(result) => ended.append((op, result))?,
                    Err(error) => failed.get_or_insert_with(|| PyList::empty(py)).append((op, error.into_value(py)))?,
                }
            }
            *self.done.lock().unwrap_or_else(PoisonError::into_inner) = done;
            Ok((ended, failed, progress == Progress::More))
        })
    }

    /// Connects: a `NativePeer`.
    fn connect<'py>(
        &self,
        host: &Object<'py>,
        address: Text,
        options: Options,
        timeout: Option<Seconds>,
    ) -> PyResult<Object<'py>> {
        let py = host.py();
        entry(py, || {
            let prepare = || Ok((address.address()?, options.connect()?, Deadline::after(timeout)?));
            let (address, options, deadline) = prepare().or_raise(py)?;
            self.started(host, self.context.connect(&address, &options, deadline.at()))
        })
    }

    /// The next client of a listener, a `NativePeer`, if there is one. An operation ends when there may be one, and takes
    /// nothing: nothing is lost with who waits.
    fn accept<'py>(
        &self,
        host: &Object<'py>,
        listener: &NativeListener,
        timeout: Option<Seconds>,
    ) -> PyResult<Object<'py>> {
        let py = host.py();
        entry(py, || {
            let deadline = Deadline::after(timeout).or_raise(py)?;
            self.started(host, self.context.poll_accept(listener.get(), deadline.at()))
        })
    }

    /// The next message of a channel, or of any, if there is one; else as [`accept`](NativeContext::accept).
    fn recv<'py>(
        &self,
        host: &Object<'py>,
        peer: &NativePeer,
        channel: Option<Number<u16>>,
        timeout: Option<Seconds>,
    ) -> PyResult<Object<'py>> {
        let py = host.py();
        entry(py, || {
            let prepare = || Ok((channel.map(Number::channel).transpose()?, Deadline::after(timeout)?));
            let (channel, deadline) = prepare().or_raise(py)?;
            self.started(host, self.context.poll_recv(peer.get(), channel, deadline.at()))
        })
    }

    /// The messages that are there, at most `most`; never waits.
    fn recv_now<'py>(&self, host: &Object<'py>, peer: &NativePeer, most: usize) -> PyResult<Bound<'py, PyList>> {
        let py = host.py();
        entry(py, || {
            let mut messages = Vec::new();
            peer.get().try_recv_all(&mut messages, most).or_raise(py)?;
            let list = PyList::empty(py);
            for message in messages {
                list.append(self.message(host, message)?)?;
            }
            Ok(list)
        })
    }

    /// Ends when a message of any channel is there.
    fn readable<'py>(&self, host: &Object<'py>, peer: &NativePeer, timeout: Option<Seconds>) -> PyResult<Object<'py>> {
        let py = host.py();
        entry(py, || {
            let deadline = Deadline::after(timeout).or_raise(py)?;
            self.started(host, self.context.readable(peer.get(), deadline.at()))
        })
    }

    /// Sends one message.
    #[allow(clippy::too_many_arguments)] // Python's arguments, one by one.
    fn send<'py>(
        &self,
        host: &Object<'py>,
        peer: &NativePeer,
        data: Data<'_>,
        channel: Number<u16>,
        timeout: Option<Seconds>,
        with_: With<'py>,
    ) -> PyResult<Object<'py>> {
        let py = host.py();
        entry(py, || {
            let deadline = Deadline::after(timeout).or_raise(py)?;
            let options = call_options(py, channel, with_, Deadline::Never)?;
            self.started(host, self.context.send_with(peer.get(), data.as_slice(), options, deadline.at()))
        })
    }

    /// Makes a call: its reply.
    #[allow(clippy::too_many_arguments)]
    fn request<'py>(
        &self,
        host: &Object<'py>,
        peer: &NativePeer,
        data: Data<'_>,
        channel: Number<u16>,
        timeout: Option<Seconds>,
        with_: With<'py>,
    ) -> PyResult<Object<'py>> {
        let py = host.py();
        entry(py, || {
            let deadline = Deadline::after(timeout).or_raise(py)?;
            let options = call_options(py, channel, with_, deadline)?;
            self.started(host, self.context.request_with(peer.get(), data.as_slice(), options, deadline.at()))
        })
    }

    /// Answers a message.
    fn reply<'py>(
        &self,
        host: &Object<'py>,
        message: AnyMessage<'py>,
        data: Data<'_>,
        timeout: Option<Seconds>,
    ) -> PyResult<Object<'py>> {
        let py = host.py();
        entry(py, || {
            let deadline = Deadline::after(timeout).or_raise(py)?;
            self.started(host, self.context.reply(message.answering(), data.as_slice(), deadline.at()))
        })
    }

    /// Answers a call with an error of the program's.
    fn fail<'py>(
        &self,
        host: &Object<'py>,
        message: AnyMessage<'py>,
        status: Number<u32>,
        data: Data<'_>,
        timeout: Option<Seconds>,
    ) -> PyResult<Object<'py>> {
        let py = host.py();
        entry(py, || {
            let prepare = || Ok((status.get("a status")?, Deadline::after(timeout)?));
            let (status, deadline) = prepare().or_raise(py)?;
            self.started(host, self.context.fail(message.answering(), status, data.as_slice(), deadline.at()))
        })
    }

    /// Ends when no answer to a request is wanted any more.
    fn call_ended<'py>(
        &self,
        host: &Object<'py>,
        message: AnyMessage<'py>,
        timeout: Option<Seconds>,
    ) -> PyResult<Object<'py>> {
        let py = host.py();
        entry(py, || {
            let deadline = Deadline::after(timeout).or_raise(py)?;
            self.started(host, self.context.call_ended(message.inner(), deadline.at()))
        })
    }

    /// Sends an item of a stream.
    fn stream_send<'py>(
        &self,
        host: &Object<'py>,
        stream: &NativeStream,
        data: Data<'_>,
        timeout: Option<Seconds>,
    ) -> PyResult<Object<'py>> {
        let py = host.py();
        entry(py, || {
            let deadline = Deadline::after(timeout).or_raise(py)?;
            self.started(host, self.context.stream_send(stream.get(), data.as_slice(), deadline.at()))
        })
    }

    /// Ends this side's direction of a stream.
    fn stream_finish<'py>(
        &self,
        host: &Object<'py>,
        stream: &NativeStream,
        timeout: Option<Seconds>,
    ) -> PyResult<Object<'py>> {
        let py = host.py();
        entry(py, || {
            let deadline = Deadline::after(timeout).or_raise(py)?;
            self.started(host, self.context.stream_finish(stream.get(), deadline.at()))
        })
    }

    /// The next item of a stream, as `bytes`, or its end, as a tuple of the reply, if it is there; else as
    /// [`accept`](NativeContext::accept).
    fn stream_recv<'py>(
        &self,
        host: &Object<'py>,
        stream: &NativeStream,
        timeout: Option<Seconds>,
    ) -> PyResult<Object<'py>> {
        let py = host.py();
        entry(py, || {
            let deadline = Deadline::after(timeout).or_raise(py)?;
            self.started(host, self.context.poll_stream_recv(stream.get(), deadline.at()))
        })
    }

    /// Measures a round trip.
    fn ping<'py>(&self, host: &Object<'py>, peer: &NativePeer, timeout: Option<Seconds>) -> PyResult<Object<'py>> {
        let py = host.py();
        entry(py, || {
            let deadline = Deadline::after(timeout).or_raise(py)?;
            self.started(host, self.context.ping(peer.get(), deadline.at()))
        })
    }

    /// Ends a connection in good order.
    fn drain<'py>(&self, host: &Object<'py>, peer: &NativePeer, timeout: Option<Seconds>) -> PyResult<Object<'py>> {
        let py = host.py();
        entry(py, || {
            let deadline = Deadline::after(timeout).or_raise(py)?;
            self.started(host, peer.open().and_then(|peer| self.context.drain(peer, deadline.at())))
        })
    }

    /// Gives a pending operation up: it ends with `cancelled` unless it ended before.
    fn cancel(&self, py: Python<'_>, op: u64) -> PyResult<()> {
        entry(py, || {
            self.context.cancel(op);
            Ok(())
        })
    }

    /// Closes everything driven here.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        entry(py, || {
            self.context.close();
            Ok(())
        })
    }
}
