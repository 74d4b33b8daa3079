//! Numbers as Python has them, and the options that connect and listen share.

use std::time::Duration;

use hostlane_bridge::{Channel, Code, ConnectOptions, Error, ListenOptions, Result, Secret};
use pyo3::exceptions::PyOverflowError;
use pyo3::prelude::*;

/// A Python integer of any size; `None` when it does not fit `T`. What does not fit is a mistake in
/// the argument and gets the error of one, not an `OverflowError`.
#[derive(Clone, Copy)]
pub(crate) struct Number<T>(Option<T>);

impl<'a, 'py, T: TryFrom<i64>> FromPyObject<'a, 'py> for Number<T> {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        match object.extract::<i64>() {
            Ok(number) => Ok(Number(T::try_from(number).ok())),
            Err(error) if error.is_instance_of::<PyOverflowError>(object.py()) => Ok(Number(None)),
            Err(error) => Err(error),
        }
    }
}

impl<T> Number<T> {
    fn get(self, what: &str) -> Result<T> {
        self.0.ok_or_else(|| Error::new(Code::InvalidArgument, format!("{what} is out of range")))
    }
}

impl Number<u16> {
    pub(crate) fn channel(self) -> Result<Channel> {
        let number =
            self.0.ok_or_else(|| Error::new(Code::InvalidChannel, "a channel number lies between 1 and 65535"))?;
        Channel::new(number)
    }
}

/// The `Options` dictionary of `_native.pyi`; `None` leaves the default of the core.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct Options {
    channels: Option<Vec<Number<u16>>>,
    auth_token: Option<String>,
    allow_uids: Option<Vec<Number<u32>>>,
    handshake_timeout: Option<f64>,
    max_message: Option<Number<usize>>,
    backlog: Option<Number<u16>>,
}

/// Sets what `$options` names on `$builder`: the two builders have the same setters and no type in
/// common.
macro_rules! apply {
    ($options:ident, $builder:expr) => {{
        let mut builder = $builder;
        if let Some(numbers) = &$options.channels {
            let channels: Vec<_> = numbers.iter().map(|n| n.channel()).collect::<Result<_>>()?;
            builder = builder.channels(&channels);
        }
        if let Some(token) = &$options.auth_token {
            builder = builder.auth_token(Secret::new(token.as_str())?);
        }
        if let Some(numbers) = &$options.allow_uids {
            let uids: Vec<_> = numbers.iter().map(|n| n.get("a uid")).collect::<Result<_>>()?;
            builder = builder.allow_uids(&uids);
        }
        if let Some(seconds) = $options.handshake_timeout {
            builder = builder.handshake_timeout(span(seconds)?);
        }
        if let Some(bytes) = $options.max_message {
            builder = builder.max_message(bytes.get("max_message")?);
        }
        builder
    }};
}

impl Options {
    pub(crate) fn connect(&self) -> Result<ConnectOptions> {
        Ok(apply!(self, ConnectOptions::new()))
    }

    pub(crate) fn listen(&self) -> Result<ListenOptions> {
        let options = apply!(self, ListenOptions::new());
        Ok(match self.backlog {
            Some(connections) => options.backlog(connections.get("backlog")?),
            None => options,
        })
    }
}

fn span(seconds: f64) -> Result<Duration> {
    Duration::try_from_secs_f64(seconds)
        .map_err(|_| Error::new(Code::InvalidArgument, "handshake_timeout is a finite number of seconds above zero"))
}
