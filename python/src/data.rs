//! Payloads on their way out: any object with the buffer protocol, without a copy.

use pyo3::buffer::PyUntypedBuffer;
use pyo3::exceptions::PyBufferError;
use pyo3::prelude::*;
use pyo3::types::PyMemoryView;

/// The bytes of an argument, pinned for the duration of the call.
pub(crate) enum Data<'a> {
    /// `bytes`, the usual case: immutable, and kept alive by the caller's reference.
    Bytes(&'a [u8]),
    /// Any other exporter: it cannot resize or free its memory until this is dropped.
    Pinned(PyUntypedBuffer),
}

impl Data<'_> {
    pub(crate) const EMPTY: Data<'static> = Data::Bytes(&[]);

    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Data::Bytes(bytes) => bytes,
            Data::Pinned(buffer) if buffer.len_bytes() == 0 => &[],
            // SAFETY: the exporter keeps this many contiguous bytes in place until the buffer is
            // released, which happens when `self` is dropped. Another thread may write to them
            // meanwhile, as with `socket.send`: then the message is a mix of old and new bytes.
            Data::Pinned(buffer) => unsafe {
                std::slice::from_raw_parts(buffer.buf_ptr().cast::<u8>(), buffer.len_bytes())
            },
        }
    }
}

impl<'a, 'py> FromPyObject<'a, 'py> for Data<'a> {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        // Only `bytes` extracts to a slice.
        if let Ok(bytes) = <&[u8]>::extract(object) {
            return Ok(Data::Bytes(bytes));
        }
        let buffer = match PyUntypedBuffer::get(&object) {
            // Some leave out what a view can tell: the strides, as ctypes does, or the shape of one value.
            Err(error) if error.is_instance_of::<PyBufferError>(object.py()) => viewed(object)?,
            other => other?,
        };
        if buffer.is_c_contiguous() {
            Ok(Data::Pinned(buffer))
        } else {
            Err(PyBufferError::new_err("the payload is not contiguous; pass bytes(payload)"))
        }
    }
}

/// The buffer of a view of an exporter that says too little of its own; of one value, which has no dimensions, a copy.
fn viewed(object: Borrowed<'_, '_, PyAny>) -> PyResult<PyUntypedBuffer> {
    let view = PyMemoryView::from(&object)?;
    match view.getattr("ndim")?.extract::<usize>()? {
        0 => PyUntypedBuffer::get(&view.call_method0("tobytes")?),
        _ => PyUntypedBuffer::get(&view),
    }
}
