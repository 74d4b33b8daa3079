//! `Message` and `AioMessage`: one received payload, the channel it came on, and the call it may be.

// The code that `pymethods` writes round an `unsafe fn` is taken for ours where a macro contains it.
#![allow(unsafe_op_in_unsafe_fn)]

use std::ffi::c_int;
use std::hint::black_box;
use std::os::fd::IntoRawFd;
use std::ptr;
use std::sync::Once;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyMemoryView};

use crate::data::Data;
use crate::error::{OrRaise, entry};
use crate::look::Look;
use crate::options::Number;
use crate::stream::NativeStream;
use crate::wait::{DEFAULT_TIMEOUT, Deadline, Seconds, blocking};

/// What both classes are made of.
struct Body {
    inner: hostlane_bridge::Message,
    data: PyOnceLock<Py<PyBytes>>,
    answered: AtomicBool,
}

impl Body {
    fn new(inner: hostlane_bridge::Message) -> Self {
        if inner.payload().len() >= LARGE {
            keep_freed_memory();
        }
        Self { inner, data: PyOnceLock::new(), answered: AtomicBool::new(false) }
    }

    fn data(&self, py: Python<'_>) -> PyResult<Py<PyBytes>> {
        let bytes = self.data.get_or_try_init(py, || copy_out(py, self.inner.payload()))?;
        Ok(bytes.clone_ref(py))
    }

    /// Seconds until the caller stops waiting, below zero afterwards.
    fn remaining(&self) -> Option<f64> {
        let deadline = self.inner.deadline()?;
        let now = Instant::now();
        Some(match deadline.checked_duration_since(now) {
            Some(left) => left.as_secs_f64(),
            None => -(now - deadline).as_secs_f64(),
        })
    }

    /// The deadline on the clock of `time.monotonic`, which is that of `Instant` with a beginning of its own.
    fn deadline(&self, py: Python<'_>) -> PyResult<Option<f64>> {
        let Some(deadline) = self.inner.deadline() else { return Ok(None) };
        static SAME_MOMENT: PyOnceLock<(Instant, f64)> = PyOnceLock::new();
        let &(instant, seconds) = SAME_MOMENT.get_or_try_init(py, || {
            let seconds = py.import("time")?.call_method0("monotonic")?.extract()?;
            Ok::<_, PyErr>((Instant::now(), seconds))
        })?;
        Ok(Some(match deadline.checked_duration_since(instant) {
            Some(later) => seconds + later.as_secs_f64(),
            None => seconds - (instant - deadline).as_secs_f64(),
        }))
    }

    fn stream(&self) -> Option<NativeStream> {
        self.inner.stream().map(NativeStream::new)
    }
}

/// From this size on, what an allocation costs shows in a round trip.
const LARGE: usize = 32 * 1024;

/// Stops glibc from giving the memory of every large message back to the system and taking it again,
/// page fault by page fault, for the next one: it does so while a payload and its `bytes` are freed
/// together, which makes a call of 1 MiB four times as slow. It adapts to the largest block it has
/// seen freed, so one that is never touched is enough; up to twice its size then stays with the
/// process. Other allocators do not notice.
fn keep_freed_memory() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| drop(black_box(Vec::<u8>::with_capacity(4 * 1024 * 1024))));
}

/// How an answer travels.
enum Way {
    /// By the calling thread.
    Direct,
    /// By a Python object with `reply`, `fail`, `stream` and `wait_cancelled`, which drives the connection.
    Host(Py<PyAny>),
}

/// Waits of answers are for the kernel to take them.
static ONCE: Look = Look::once();

/// The Python class of one kind of message: the same facts, and answers of its own kind.
macro_rules! message_class {
    ($(#[$doc:meta])* $name:ident, $python:literal, $module:literal, { $($fields:tt)* }, { $($methods:item)* }) => {
        $(#[$doc])*
        #[pyclass(frozen, weakref, name = $python, module = $module)]
        pub(crate) struct $name {
            body: Body,
            $($fields)*
        }

        impl $name {
            pub(crate) fn inner(&self) -> &hostlane_bridge::Message {
                &self.body.inner
            }

            /// The core's message, for an answer to it.
            pub(crate) fn answering(&self) -> &hostlane_bridge::Message {
                self.body.answered.store(true, Ordering::Relaxed);
                &self.body.inner
            }
        }

        #[pymethods]
        impl $name {
            /// The channel it arrived on; an answer goes out on the same one.
            #[getter]
            fn channel(&self) -> u16 {
                self.body.inner.channel().number()
            }

            /// The payload. Copied out on first use, the same object afterwards.
            #[getter]
            fn data(&self, py: Python<'_>) -> PyResult<Py<PyBytes>> {
                self.body.data(py)
            }

            /// The payload without a copy: a read-only view that keeps this message alive.
            fn view<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyMemoryView>> {
                PyMemoryView::from(slf.as_any())
            }

            /// Whether somebody waits for an answer. On wire level 0 nobody can tell, and it is False.
            #[getter]
            fn is_request(&self) -> bool {
                self.body.inner.is_request()
            }

            /// Whether the request opened a stream.
            #[getter]
            fn is_stream(&self) -> bool {
                self.body.inner.is_stream()
            }

            /// The id of the call, unique in its connection; None for a one-way message.
            #[getter]
            fn call_id(&self) -> Option<u64> {
                self.body.inner.call_id()
            }

            /// When the caller stops waiting, on the clock of `time.monotonic`; None if it does not say.
            #[getter]
            fn deadline(&self, py: Python<'_>) -> PyResult<Option<f64>> {
                self.body.deadline(py)
            }

            /// Seconds until the caller stops waiting, at least zero; None if it does not say.
            #[getter]
            fn remaining(&self) -> Option<f64> {
                self.body.remaining().map(|seconds| seconds.max(0.0))
            }

            /// Whether an answer is no longer wanted: given already, or the caller left, ran out of time or lost the
            /// connection. Always False for a one-way message.
            #[getter]
            fn cancelled(&self, py: Python<'_>) -> PyResult<bool> {
                entry(py, || Ok(self.body.inner.is_cancelled()))
            }

            /// Whether an answer was given from here.
            #[getter]
            fn answered(&self) -> bool {
                self.body.answered.load(Ordering::Relaxed)
            }

            /// The key under which the caller may send this call again, if it gave one.
            #[getter]
            fn idempotency_key<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
                self.body.inner.idempotency_key().map(|key| PyBytes::new(py, key))
            }

            /// What the sender gave along to follow the message by.
            #[getter]
            fn trace<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyBytes>> {
                self.body.inner.trace().map(|trace| PyBytes::new(py, trace))
            }

            /// Hands over the descriptors that came along; whoever takes them has to close them.
            fn take_fds(&self) -> Vec<i32> {
                self.body.inner.take_fds().into_iter().map(IntoRawFd::into_raw_fd).collect()
            }

            fn __len__(&self) -> usize {
                self.body.inner.payload().len()
            }

            fn __bytes__(&self, py: Python<'_>) -> PyResult<Py<PyBytes>> {
                self.body.data(py)
            }

            fn __repr__(&self) -> String {
                let call = self.call_id().map_or(String::new(), |id| format!(" call={id}"));
                format!("<{}.Message channel={} bytes={}{call}>", $module, self.channel(), self.__len__())
            }

            /// Lends the payload, read-only.
            ///
            /// # Safety
            /// Called by the interpreter alone, with a `view` that is valid for writing.
            unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
                if view.is_null() {
                    return Err(PyBufferError::new_err("no view to fill"));
                }
                let payload = slf.get().body.inner.payload();
                // SAFETY: the payload never moves or changes while the message lives, and the view takes a
                // reference to the message; `view` is valid by the contract of this slot.
                let filled = unsafe {
                    ffi::PyBuffer_FillInfo(
                        view,
                        slf.as_ptr(),
                        ptr::from_ref::<[u8]>(payload).cast_mut().cast(),
                        payload.len().cast_signed(),
                        1,
                        flags,
                    )
                };
                if filled == 0 { Ok(()) } else { Err(PyErr::fetch(slf.py())) }
            }

            $($methods)*
        }
    };
}

message_class! {
    /// A received message.
    ///
    /// Immutable and safe to share between threads. It stays valid after its connection has ended.
    Message, "Message", "hostlane", { way: Way, }, {
        /// Answers on the channel of this message: a call gets its reply, any other message a message.
        ///
        /// Waits up to `timeout` seconds, `None` for ever, and raises what `Peer.send` raises;
        /// `CallEndedError` when no answer is wanted any more.
        #[pyo3(signature = (data, *, timeout = Some(Seconds(DEFAULT_TIMEOUT))), text_signature = "($self, data, *, timeout=5.0)")]
        fn reply(slf: &Bound<'_, Self>, data: Data<'_>, timeout: Option<Seconds>) -> PyResult<()> {
            let (py, this) = (slf.py(), slf.get());
            entry(py, || match &this.way {
                Way::Direct => {
                    let deadline = Deadline::after(timeout).or_raise(py)?;
                    let payload = data.as_slice();
                    blocking(py, deadline, &ONCE, |wait| this.answering().reply(payload, wait))
                }
                Way::Host(host) => {
                    let data = PyBytes::new(py, data.as_slice());
                    host.bind(py).call_method1("reply", (slf, data, timeout)).map(drop)
                }
            })
        }

        /// Answers a call with an error of the program's: its caller gets `RemoteError` with this `status` and `data`.
        ///
        /// Raises `UnsupportedError` on wire level 0, `InvalidArgumentError` for a one-way message, and what `reply` raises.
        #[pyo3(
            signature = (status, data = Data::EMPTY, *, timeout = Some(Seconds(DEFAULT_TIMEOUT))),
            text_signature = "($self, status, data=b'', *, timeout=5.0)"
        )]
        fn fail(slf: &Bound<'_, Self>, status: Number<u32>, data: Data<'_>, timeout: Option<Seconds>) -> PyResult<()> {
            let (py, this) = (slf.py(), slf.get());
            entry(py, || {
                let status = status.get("a status").or_raise(py)?;
                match &this.way {
                    Way::Direct => {
                        let deadline = Deadline::after(timeout).or_raise(py)?;
                        let payload = data.as_slice();
                        blocking(py, deadline, &ONCE, |wait| this.answering().fail(status, payload, wait))
                    }
                    Way::Host(host) => {
                        let data = PyBytes::new(py, data.as_slice());
                        host.bind(py).call_method1("fail", (slf, status, data, timeout)).map(drop)
                    }
                }
            })
        }

        /// The stream this request opened, for the side that serves it; None if it opened none.
        fn stream<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
            entry(py, || {
                let Some(native) = self.body.stream() else { return Ok(None) };
                match &self.way {
                    Way::Direct => {
                        static STREAM: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
                        STREAM.import(py, "hostlane.stream", "Stream")?.call1((native,)).map(Some)
                    }
                    Way::Host(host) => host.bind(py).call_method1("stream", (native,)).map(Some),
                }
            })
        }

        /// Waits until no answer is wanted any more.
        #[pyo3(signature = (*, timeout = None))]
        fn wait_cancelled(slf: &Bound<'_, Self>, timeout: Option<Seconds>) -> PyResult<()> {
            let (py, this) = (slf.py(), slf.get());
            entry(py, || match &this.way {
                Way::Direct => {
                    let deadline = Deadline::after(timeout).or_raise(py)?;
                    blocking(py, deadline, &ONCE, |wait| this.body.inner.wait_cancelled(wait))
                }
                Way::Host(host) => host.bind(py).call_method1("wait_cancelled", (slf, timeout)).map(drop),
            })
        }

        fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
            match &self.way {
                Way::Direct => Ok(()),
                Way::Host(host) => visit.call(host),
            }
        }
    }
}

message_class! {
    /// A received message of a peer in an event loop.
    ///
    /// Immutable. It stays valid after its connection has ended.
    AioMessage, "AioMessage", "hostlane.aio", { host: Py<PyAny>, }, {
        /// Answers on the channel of this message: a call gets its reply, any other message a message.
        ///
        /// Waits up to `timeout` seconds, `None` for ever, and raises what `Peer.send` raises;
        /// `CallEndedError` when no answer is wanted any more.
        #[pyo3(signature = (data, *, timeout = Some(Seconds(DEFAULT_TIMEOUT))), text_signature = "($self, data, *, timeout=5.0)")]
        fn reply<'py>(
            slf: &Bound<'py, Self>,
            data: &Bound<'py, PyAny>,
            timeout: Option<Seconds>,
        ) -> PyResult<Bound<'py, PyAny>> {
            slf.get().host.bind(slf.py()).call_method1("reply", (slf, data, timeout))
        }

        /// Answers a call with an error of the program's: its caller gets `RemoteError` with this `status` and `data`.
        ///
        /// Raises `UnsupportedError` on wire level 0, `InvalidArgumentError` for a one-way message, and what `reply` raises.
        #[pyo3(
            signature = (status, data = None, *, timeout = Some(Seconds(DEFAULT_TIMEOUT))),
            text_signature = "($self, status, data=b'', *, timeout=5.0)"
        )]
        fn fail<'py>(
            slf: &Bound<'py, Self>,
            status: &Bound<'py, PyAny>,
            data: Option<&Bound<'py, PyAny>>,
            timeout: Option<Seconds>,
        ) -> PyResult<Bound<'py, PyAny>> {
            let py = slf.py();
            let empty = PyBytes::new(py, b"").into_any();
            slf.get().host.bind(py).call_method1("fail", (slf, status, data.unwrap_or(&empty), timeout))
        }

        /// The stream this request opened, for the side that serves it; None if it opened none.
        fn stream<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
            let Some(native) = self.body.stream() else { return Ok(None) };
            self.host.bind(py).call_method1("stream", (native,)).map(Some)
        }

        /// Waits until no answer is wanted any more.
        #[pyo3(signature = (*, timeout = None))]
        fn wait_cancelled<'py>(slf: &Bound<'py, Self>, timeout: Option<Seconds>) -> PyResult<Bound<'py, PyAny>> {
            slf.get().host.bind(slf.py()).call_method1("wait_cancelled", (slf, timeout))
        }

        fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
            visit.call(&self.host)
        }
    }
}

impl Message {
    /// Of a connection whose callers drive it.
    pub(crate) fn direct(inner: hostlane_bridge::Message) -> Self {
        Self { body: Body::new(inner), way: Way::Direct }
    }

    /// Of a connection that `host` drives.
    pub(crate) fn hosted(inner: hostlane_bridge::Message, host: Py<PyAny>) -> Self {
        Self { body: Body::new(inner), way: Way::Host(host) }
    }
}

impl AioMessage {
    /// Of a connection that `host` drives.
    pub(crate) fn new(inner: hostlane_bridge::Message, host: Py<PyAny>) -> Self {
        Self { body: Body::new(inner), host }
    }
}

/// `bytes` of a payload; a `MemoryError` when there is no room, where `PyBytes::new` would panic.
pub(crate) fn copy_out(py: Python<'_>, payload: &[u8]) -> PyResult<Py<PyBytes>> {
    // SAFETY: pointer and length are those of a slice; a new reference or NULL with an error set.
    unsafe {
        let bytes = ffi::PyBytes_FromStringAndSize(payload.as_ptr().cast(), payload.len().cast_signed());
        Ok(Bound::from_owned_ptr_or_err(py, bytes)?.cast_into_unchecked().unbind())
    }
}
