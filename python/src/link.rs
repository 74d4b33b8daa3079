//! `NativeLink`: one side of a pair of equals, driven by its callers' threads or by an event loop.

use std::os::fd::AsRawFd;
use std::sync::{Mutex, MutexGuard, PoisonError};

use hostlane_bridge::{Code, Error, Link, LinkEvent, Message as CoreMessage, Wait};
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::context::AnyMessage;
use crate::data::Data;
use crate::error::{OrRaise, entry, raise};
use crate::facts;
use crate::fork::Process;
use crate::message::{AioMessage, Message};
use crate::options::{Number, Options, Text, With, call_options};
use crate::stream::NativeStream;
use crate::wait::{Deadline, Seconds, detached};

type Object<'py> = Bound<'py, PyAny>;
type Pairs<'py> = Bound<'py, PyList>;

/// One side of a pair. `hostlane.Link` and `hostlane.aio.Link` wrap it. Of the first it is also the host of messages.
#[pyclass(frozen, module = "hostlane._native")]
pub(crate) struct NativeLink {
    link: Link,
    /// Its messages are those of `hostlane.aio`.
    aio: bool,
    /// Calls that were started and whose results nobody has taken.
    tickets: Mutex<Vec<u64>>,
    made_in: Process,
}

/// Opens a link.
#[pyfunction]
pub(crate) fn open_link(py: Python<'_>, address: Text, options: Options, aio: bool) -> PyResult<NativeLink> {
    entry(py, || {
        let open = || Link::open(&address.address()?, options.link()?);
        let link = py.detach(open).or_raise(py)?;
        Ok(NativeLink { link, aio, tickets: Mutex::default(), made_in: Process::this() })
    })
}

impl NativeLink {
    fn message<'py>(&self, host: &Object<'py>, message: CoreMessage) -> PyResult<Object<'py>> {
        let (py, host) = (host.py(), host.clone().unbind());
        Ok(match self.aio {
            true => Bound::new(py, AioMessage::new(message, host))?.into_any(),
            false => Bound::new(py, Message::hosted(message, host))?.into_any(),
        })
    }

    fn event<'py>(&self, host: &Object<'py>, event: LinkEvent) -> PyResult<Object<'py>> {
        match event {
            LinkEvent::Message(message) => self.message(host, message),
            LinkEvent::Up { serving } => facts::link_up(host.py(), serving),
            LinkEvent::Down(error) => facts::link_down(host.py(), raise(host.py(), &error)),
            other => Err(Error::new(Code::Internal, format!("no event Python knows: {other:?}"))).or_raise(host.py()),
        }
    }

    fn tickets(&self) -> MutexGuard<'_, Vec<u64>> {
        self.tickets.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[pymethods]
impl NativeLink {
    /// The next event: a `LinkUp`, a `LinkDown` or a message.
    fn next<'py>(slf: &Bound<'py, Self>, timeout: Option<Seconds>) -> PyResult<Object<'py>> {
        let (py, this) = (slf.py(), slf.get());
        entry(py, || {
            let deadline = Deadline::after(timeout).or_raise(py)?;
            let event = detached(py, deadline, |wait| this.link.next(wait))?;
            this.event(slf, event)
        })
    }

    /// The next event if there is one; moves nothing.
    fn take<'py>(&self, host: &Object<'py>) -> PyResult<Option<Object<'py>>> {
        let py = host.py();
        entry(py, || match self.link.next(Wait::none()) {
            Ok(event) => self.event(host, event).map(Some),
            Err(error) if error.code() == Code::Timeout => Ok(None),
            Err(error) => Err(raise(py, &error)),
        })
    }

    /// One call: sends `data`, on the next connection if there is none now, and returns its reply.
    fn request<'py>(
        slf: &Bound<'py, Self>,
        data: Data<'_>,
        channel: Number<u16>,
        timeout: Option<Seconds>,
        with_: With<'py>,
    ) -> PyResult<Object<'py>> {
        let (py, this) = (slf.py(), slf.get());
        entry(py, || {
            let deadline = Deadline::after(timeout).or_raise(py)?;
            let options = call_options(py, channel, with_, deadline)?;
            let payload = data.as_slice();
            let reply = detached(py, deadline, |wait| this.link.request_with(payload, options, wait))?;
            this.message(slf, reply)
        })
    }

    /// Starts a call: its number.
    fn start(
        &self,
        py: Python<'_>,
        data: Data<'_>,
        channel: Number<u16>,
        timeout: Option<Seconds>,
        with_: With<'_>,
    ) -> PyResult<u64> {
        entry(py, || {
            let deadline = Deadline::after(timeout).or_raise(py)?;
            let options = call_options(py, channel, with_, deadline)?;
            let ticket = self.link.start(data.as_slice(), options, deadline.at()).or_raise(py)?;
            self.tickets().push(ticket);
            Ok(ticket)
        })
    }

    /// Gives a started call up: its end comes all the same.
    fn cancel(&self, py: Python<'_>, ticket: u64) -> PyResult<()> {
        entry(py, || {
            self.link.cancel(ticket);
            Ok(())
        })
    }

    /// Moves the link on: the started calls that ended well, as pairs of their number and reply, those that did not, as pairs of
    /// their number and exception, and the exception that ended the link, once it has.
    fn turn<'py>(&self, host: &Object<'py>) -> PyResult<(Pairs<'py>, Option<Pairs<'py>>, Option<Object<'py>>)> {
        let py = host.py();
        entry(py, || {
            let end = match self.link.turn() {
                Ok(_) => None,
                Err(error) if error.code() == Code::Forked => return Err(raise(py, &error)),
                Err(error) => Some(raise(py, &error).into_value(py).into_bound(py).into_any()),
            };
            let mut results = Vec::new();
            self.tickets().retain(|&ticket| match self.link.take_result(ticket) {
                Some(result) => {
                    results.push((ticket, result));
                    false
                }
                None => true,
            });
            let ended = PyList::empty(py);
            let mut failed = None;
            for (ticket, result) in results {
                match result {
                    Ok(reply) => ended.append((ticket, self.message(host, reply)?))?,
                    Err(error) => {
                        let error = raise(py, &error).into_value(py);
                        failed.get_or_insert_with(|| PyList::empty(py)).append((ticket, error))?;
                    }
                }
            }
            Ok((ended, failed, end))
        })
    }

    /// Moves the link on without waiting; the events there are.
    fn process<'py>(slf: &Bound<'py, Self>) -> PyResult<Vec<Object<'py>>> {
        let (py, this) = (slf.py(), slf.get());
        entry(py, || {
            let mut events = Vec::new();
            this.link.process(&mut events).or_raise(py)?;
            events.into_iter().map(|event| this.event(slf, event)).collect()
        })
    }

    /// Sends one message to who is there; never waits.
    fn send(&self, py: Python<'_>, data: Data<'_>, channel: Number<u16>, with_: With<'_>) -> PyResult<()> {
        entry(py, || {
            let options = call_options(py, channel, with_, Deadline::Never)?;
            self.link.send(data.as_slice(), options).or_raise(py)
        })
    }

    /// Answers a message; never waits, so it has no use for a timeout.
    fn reply(&self, py: Python<'_>, message: AnyMessage<'_>, data: Data<'_>, timeout: Option<Seconds>) -> PyResult<()> {
        entry(py, || {
            Deadline::after(timeout).or_raise(py)?;
            self.link.reply(message.answering(), data.as_slice()).or_raise(py)
        })
    }

    /// Answers a call with an error of the program's.
    fn fail(
        &self,
        py: Python<'_>,
        message: AnyMessage<'_>,
        status: Number<u32>,
        data: Data<'_>,
        timeout: Option<Seconds>,
    ) -> PyResult<()> {
        entry(py, || {
            let prepare = || Ok((status.get("a status")?, Deadline::after(timeout)?));
            let (status, _) = prepare().or_raise(py)?;
            self.link.fail(message.answering(), status, data.as_slice()).or_raise(py)
        })
    }

    /// What a message asks of its host; a link has none.
    fn stream(&self, py: Python<'_>, native: &NativeStream) -> PyResult<()> {
        native.get().close();
        Err(Error::new(Code::Unsupported, "a link has no streams")).or_raise(py)
    }

    /// The same.
    fn wait_cancelled(&self, py: Python<'_>, message: AnyMessage<'_>, timeout: Option<Seconds>) -> PyResult<()> {
        let _ = (message, timeout);
        Err(Error::new(Code::Unsupported, "a link cannot wait for that; look at .cancelled")).or_raise(py)
    }

    /// Whether this side is the one that listens; `None` while there is no decision.
    #[getter]
    fn is_serving(&self, py: Python<'_>) -> PyResult<Option<bool>> {
        entry(py, || {
            self.made_in.check().or_raise(py)?;
            Ok(self.link.is_serving())
        })
    }

    /// Facts about the connection there is.
    fn info<'py>(&self, py: Python<'py>) -> PyResult<Object<'py>> {
        entry(py, || {
            let peer = self.link.peer().or_raise(py)?;
            facts::info(py, &peer.info().or_raise(py)?)
        })
    }

    /// Counters of the connection there is.
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Object<'py>> {
        entry(py, || {
            let peer = self.link.peer().or_raise(py)?;
            facts::stats(py, &peer.stats().or_raise(py)?)
        })
    }

    /// The descriptor to poll for reading; only poll it.
    fn fileno(&self) -> i32 {
        self.link.fd().as_raw_fd()
    }

    /// Ends the link now.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        entry(py, || {
            py.detach(|| self.link.close());
            Ok(())
        })
    }
}
