//! Numbers as Python has them, the options that connect and listen share, and what goes with a message.

use std::fmt::Display;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::Duration;

use hostlane_bridge::{
    Address, CallOptions, Channel, Code, ConnectOptions, Error, Level, LinkOptions, ListenOptions, Policy, Result,
    Secret, Spin, limits,
};
use pyo3::exceptions::{PyOverflowError, PyUnicodeEncodeError};
use pyo3::prelude::*;

use crate::error::OrRaise;
use crate::wait::{Deadline, Seconds};

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
    pub(crate) fn get(self, what: &str) -> Result<T> {
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

/// A `str`, or a path; `None` when it has a surrogate that no encoding has. As with a [`Number`], that gets the error of
/// a mistake in the argument.
pub(crate) struct Text<T = String>(Option<T>);

impl<'a, 'py, T: FromPyObject<'a, 'py>> FromPyObject<'a, 'py> for Text<T> {
    type Error = PyErr;

    fn extract(object: Borrowed<'a, 'py, PyAny>) -> PyResult<Self> {
        match object.extract::<T>().map_err(Into::into) {
            Ok(text) => Ok(Text(Some(text))),
            Err(error) if error.is_instance_of::<PyUnicodeEncodeError>(object.py()) => Ok(Text(None)),
            Err(error) => Err(error),
        }
    }
}

impl<T> Text<T> {
    pub(crate) fn get(&self, what: &str) -> Result<&T> {
        let refused = || Error::new(Code::InvalidUtf8, format!("{what} has a lone surrogate, which is no UTF-8"));
        self.0.as_ref().ok_or_else(refused)
    }
}

impl Text {
    pub(crate) fn address(&self) -> Result<Address> {
        self.get("an address")?.parse()
    }
}

/// The `Options` dictionary of `_native.pyi`; `None` leaves the default of the core.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct Options {
    channels: Option<Vec<Number<u16>>>,
    auth_token: Option<Text>,
    secret: Option<Text>,
    allow_uids: Option<Vec<Number<u32>>>,
    handshake_timeout: Option<Seconds>,
    max_message: Option<Number<usize>>,
    level: Option<Number<u8>>,
    max_calls: Option<Number<usize>>,
    keepalive: Option<Seconds>,
    policies: Option<Vec<(Number<u16>, Text)>>,
    fds: Option<bool>,
    spin: Option<Seconds>,
    backlog: Option<Number<u16>>,
    command: Option<Vec<Text<PathBuf>>>,
    reconnect: Option<bool>,
    retries: Option<Number<u32>>,
    delay: Option<Seconds>,
    max_delay: Option<Seconds>,
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
            builder = builder.auth_token(Secret::new(token.get("auth_token")?.as_str())?);
        }
        if let Some(secret) = &$options.secret {
            builder = builder.secret(Secret::new(secret.get("secret")?.as_str())?);
        }
        if let Some(numbers) = &$options.allow_uids {
            let uids: Vec<_> = numbers.iter().map(|n| n.get("a uid")).collect::<Result<_>>()?;
            builder = builder.allow_uids(&uids);
        }
        if let Some(seconds) = $options.handshake_timeout {
            builder = builder.handshake_timeout(span("handshake_timeout", seconds)?);
        }
        if let Some(bytes) = $options.max_message {
            builder = builder.max_message(bytes.get("max_message")?);
        }
        if let Some(number) = $options.level {
            builder = builder.level(level(number)?);
        }
        if let Some(calls) = $options.max_calls {
            builder = builder.max_calls(calls.get("max_calls")?);
        }
        if let Some(seconds) = $options.keepalive {
            builder = builder.keepalive(span("keepalive", seconds)?);
        }
        for (channel, name) in $options.policies.iter().flatten() {
            builder = builder.policy(channel.channel()?, policy(name.get("a policy")?)?);
        }
        if let Some(agreed) = $options.fds {
            builder = builder.fds(agreed);
        }
        if let Some(seconds) = $options.spin {
            builder = builder.spin(spin(seconds)?);
        }
        builder
    }};
}

impl Options {
    pub(crate) fn connect(&self) -> Result<ConnectOptions> {
        let options = apply!(self, ConnectOptions::new());
        Ok(match &self.command {
            Some(words) => {
                let words: Vec<_> = words.iter().map(|word| word.get("a word of command")).collect::<Result<_>>()?;
                options.command(&words)
            }
            None => options,
        })
    }

    pub(crate) fn listen(&self) -> Result<ListenOptions> {
        let options = apply!(self, ListenOptions::new());
        Ok(match self.backlog {
            Some(connections) => options.backlog(connections.get("backlog")?),
            None => options,
        })
    }
}

impl Options {
    pub(crate) fn link(&self) -> Result<LinkOptions> {
        let mut options = LinkOptions::new().connection(self.connect()?, self.listen()?);
        if let Some(again) = self.reconnect {
            options = options.reconnect(again);
        }
        if let Some(attempts) = self.retries {
            options = options.retries(attempts.get("retries")?);
        }
        if self.delay.is_some() || self.max_delay.is_some() {
            let first = self.delay.map_or(Ok(limits::LINK_DELAY), |seconds| span("delay", seconds))?;
            let most = self.max_delay.map_or(Ok(limits::LINK_MAX_DELAY.max(first)), |s| span("max_delay", s))?;
            options = options.delay(first, most);
        }
        Ok(options)
    }
}

/// Seconds, of which none is `Off`.
fn spin(seconds: Seconds) -> Result<Spin> {
    match span("spin", seconds)?.as_micros() {
        0 => Ok(Spin::Off),
        micros => Ok(Spin::Micros(u32::try_from(micros).unwrap_or(u32::MAX))),
    }
}

fn span(what: &str, seconds: Seconds) -> Result<Duration> {
    Duration::try_from_secs_f64(seconds.0)
        .map_err(|_| Error::new(Code::InvalidArgument, format!("{what} is a finite number of seconds, not below zero")))
}

fn level(number: Number<u8>) -> Result<Level> {
    match number.get("level")? {
        0 => Ok(Level::Zero),
        1 => Ok(Level::One),
        other => Err(Error::new(Code::InvalidArgument, format!("there is no wire level {other}"))),
    }
}

fn policy(name: &str) -> Result<Policy> {
    match name {
        "block" => Ok(Policy::Block),
        "error" => Ok(Policy::Error),
        "drop_oldest" => Ok(Policy::DropOldest),
        "latest" => Ok(Policy::Latest),
        other => Err(Error::new(Code::InvalidArgument, format!("there is no policy {other:?}"))),
    }
}

/// What may go with a message: the tuple `(idempotency_key, trace, fds)` of `_native.pyi`, `None` for nothing.
pub(crate) type With<'py> = Option<(Option<Vec<u8>>, Option<Vec<u8>>, Option<Vec<Bound<'py, PyAny>>>)>;

/// The options of a call, stream or message.
pub(crate) fn call_options(
    py: Python<'_>,
    channel: Number<u16>,
    with: With<'_>,
    deadline: Deadline,
) -> PyResult<CallOptions> {
    let mut options = CallOptions::new().channel(channel.channel().or_raise(py)?);
    if let Deadline::At(at) = deadline {
        options = options.deadline(at);
    }
    let Some((key, trace, fds)) = with else { return Ok(options) };
    if let Some(key) = key {
        options = options.idempotency_key(key);
    }
    if let Some(trace) = trace {
        options = options.trace(trace);
    }
    if let Some(fds) = fds {
        options = options.fds(fds.iter().map(duplicate).collect::<PyResult<_>>()?);
    }
    Ok(options)
}

/// A descriptor of our own of what `object`, a number or something with a `fileno`, stands for.
fn duplicate(object: &Bound<'_, PyAny>) -> PyResult<OwnedFd> {
    let number: Number<i32> = match object.extract() {
        Ok(number) => number,
        Err(_) => object.call_method0("fileno")?.extract()?,
    };
    let refused = |why: &dyn Display| Error::new(Code::InvalidArgument, format!("no descriptor can be sent: {why}"));
    let number = match number.0 {
        Some(number) if number >= 0 => number,
        _ => return Err(refused(&"a descriptor is a number from zero up")).or_raise(object.py()),
    };
    // SAFETY: it is borrowed for one system call, which refuses a number that is not open; another thread may close it
    // meanwhile, with the same outcome.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    borrowed.try_clone_to_owned().map_err(|error| refused(&error)).or_raise(object.py())
}
