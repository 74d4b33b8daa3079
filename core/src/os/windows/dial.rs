//! The connecting half of the transport door: an address becomes a carrier.

use std::os::windows::io::AsHandle;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use super::Errno;
use super::carrier::{Carrier, Kind};
use super::pipe::{self, Path};
use super::poller::BorrowedFd;
use super::security::User;
use crate::addr::Address;
use crate::api::options::ConnectOptions;
use crate::error::{Code, Error, Result};
use crate::os::inproc;

/// A connection being made. A server whose instances are all taken is the one thing that takes time.
#[derive(Debug)]
pub(crate) struct Dial {
    /// `None` where there is nothing to wait for.
    path: Option<Path>,
    made: Mutex<Option<Carrier>>,
}

impl Dial {
    /// Refuses the forms this system does not connect to.
    pub(crate) fn new(address: &Address, options: &ConnectOptions) -> Result<Dial> {
        options.common.check()?;
        if options.command.is_some() && !matches!(address, Address::Spawn(_)) {
            return Err(Error::new(Code::InvalidArgument, format!("a command goes with spawn:, not with {address}")));
        }
        if let Some(path) = Path::resolve(address, &options.common)? {
            return Ok(Dial { path: Some(path), made: Mutex::default() });
        }
        match address {
            Address::Inproc(name) => Ok(Dial { path: None, made: Mutex::new(Some(inproc::connect(name)?)) }),
            other => Err(Error::new(Code::Unsupported, format!("on Windows nothing connects to {other} yet"))),
        }
    }

    /// Connects if that is possible at once; `Ok(false)` while every instance has a client.
    pub(crate) fn attempt(&self) -> Result<bool> {
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(path) = self.path.as_ref().filter(|_| made.is_none()) else { return Ok(true) };
        match pipe::open(path) {
            Ok(opened) => {
                User::own()?.check_owner(opened.as_handle(), path.text())?;
                *made = Some(Carrier::over(Kind::Pipe, opened, false)?);
                Ok(true)
            }
            Err(Errno::BUSY) => Ok(false),
            Err(e) => Err(Error::os(format_args!("connecting to {}", path.text()), e)),
        }
    }

    /// Waits for an instance without a client. `Ok(false)` at the deadline, now and then earlier.
    pub(crate) fn attempt_blocking(&self, deadline: Option<Instant>) -> Result<bool> {
        if let Some(path) = &self.path {
            pipe::wait(path, deadline);
        }
        self.attempt()
    }

    /// Nothing tells when an attempt is worth repeating.
    pub(crate) fn progress(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    pub(crate) fn into_carrier(self) -> Carrier {
        let made = self.made.into_inner().unwrap_or_else(PoisonError::into_inner);
        made.expect("an attempt has succeeded")
    }
}
