//! The native half of the `hostlane` Python package.
//!
//! Only `hostlane/_core.py` imports this module. It turns Python arguments into calls of
//! `hostlane-bridge` and results into Python objects; what a connection does is decided below it.

mod call;
mod closed;
mod context;
mod data;
mod error;
mod facts;
mod fork;
mod link;
mod listener;
mod log;
mod look;
mod message;
mod options;
mod peer;
mod stream;
mod wait;

/// The module `hostlane._native`.
#[pyo3::pymodule(gil_used = false)]
mod _native {
    use pyo3::prelude::*;

    #[pymodule_export]
    use crate::call::NativeCall;
    #[pymodule_export]
    use crate::context::NativeContext;
    #[pymodule_export]
    use crate::error::panic;
    #[pymodule_export]
    use crate::link::{NativeLink, open_link};
    #[pymodule_export]
    use crate::listener::{NativeListener, listen};
    #[pymodule_export]
    use crate::log::{log_drain, log_enable};
    #[pymodule_export]
    use crate::message::{AioMessage, Message};
    #[pymodule_export]
    use crate::peer::{NativePeer, connect};
    #[pymodule_export]
    use crate::stream::NativeStream;

    #[pymodule_init]
    fn init(module: &Bound<'_, PyModule>) -> PyResult<()> {
        module.add("__version__", env!("CARGO_PKG_VERSION"))?;
        module.add("DEFAULT_TIMEOUT", crate::wait::DEFAULT_TIMEOUT)?;
        module.add("HANDLER_FAILED", hostlane_bridge::HANDLER_FAILED)
    }
}
