//! `Message`: one received payload and the channel it came on.

use std::ffi::c_int;
use std::hint::black_box;
use std::ptr;
use std::sync::Once;

use pyo3::exceptions::PyBufferError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyMemoryView};

use crate::data::Data;
use crate::error::{OrRaise, entry};
use crate::wait::{DEFAULT_TIMEOUT, Deadline, blocking};

/// A received message.
///
/// Immutable and safe to share between threads. It stays valid after its connection has ended.
#[pyclass(frozen, weakref, module = "hostlane")]
pub(crate) struct Message {
    inner: hostlane_bridge::Message,
    data: PyOnceLock<Py<PyBytes>>,
}

impl Message {
    pub(crate) fn new(inner: hostlane_bridge::Message) -> Self {
        if inner.payload().len() >= LARGE {
            keep_freed_memory();
        }
        Self { inner, data: PyOnceLock::new() }
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

#[pymethods]
impl Message {
    /// The channel it arrived on; a reply goes out on the same one.
    #[getter]
    fn channel(&self) -> u16 {
        self.inner.channel().number()
    }

    /// The payload. Copied out on first use, the same object afterwards.
    #[getter]
    fn data(&self, py: Python<'_>) -> PyResult<Py<PyBytes>> {
        let bytes = self.data.get_or_try_init(py, || copy_out(py, self.inner.payload()))?;
        Ok(bytes.clone_ref(py))
    }

    /// The payload without a copy: a read-only view that keeps this message alive.
    fn view<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyMemoryView>> {
        PyMemoryView::from(slf.as_any())
    }

    /// Answers on the channel of this message: a call gets its reply, any other message a message.
    ///
    /// Waits up to `timeout` seconds, `None` for ever, and raises what `Peer.send` raises.
    #[pyo3(signature = (data, *, timeout = Some(DEFAULT_TIMEOUT)), text_signature = "($self, data, *, timeout=5.0)")]
    fn reply(&self, py: Python<'_>, data: Data<'_>, timeout: Option<f64>) -> PyResult<()> {
        entry(py, || {
            let deadline = Deadline::after(timeout).or_raise(py)?;
            let payload = data.as_slice();
            blocking(py, deadline, |wait| self.inner.reply(payload, wait))
        })
    }

    fn __len__(&self) -> usize {
        self.inner.payload().len()
    }

    fn __bytes__(&self, py: Python<'_>) -> PyResult<Py<PyBytes>> {
        self.data(py)
    }

    fn __repr__(&self) -> String {
        format!("<hostlane.Message channel={} bytes={}>", self.channel(), self.__len__())
    }

    /// Lends the payload, read-only.
    ///
    /// # Safety
    /// Called by the interpreter alone, with a `view` that is valid for writing.
    unsafe fn __getbuffer__(slf: Bound<'_, Self>, view: *mut ffi::Py_buffer, flags: c_int) -> PyResult<()> {
        if view.is_null() {
            return Err(PyBufferError::new_err("no view to fill"));
        }
        let payload = slf.get().inner.payload();
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
}

/// `bytes` of a payload; a `MemoryError` when there is no room, where `PyBytes::new` would panic.
fn copy_out(py: Python<'_>, payload: &[u8]) -> PyResult<Py<PyBytes>> {
    // SAFETY: pointer and length are those of a slice; a new reference or NULL with an error set.
    unsafe {
        let bytes = ffi::PyBytes_FromStringAndSize(payload.as_ptr().cast(), payload.len().cast_signed());
        Ok(Bound::from_owned_ptr_or_err(py, bytes)?.cast_into_unchecked().unbind())
    }
}
