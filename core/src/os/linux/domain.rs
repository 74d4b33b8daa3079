//! Unix-domain stream sockets with an address.

use std::os::fd::OwnedFd;
use std::path::PathBuf;

use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::{proof, rundir};
use crate::addr::Address;
use crate::api::options::Common;
use crate::error::{Code, Error, Result};

/// An address as the kernel takes it.
#[derive(Debug, Clone)]
pub(crate) enum Target {
    Path(PathBuf),
    Abstract(String),
}

impl Target {
    /// `None` for the forms that are no Unix-domain socket. Refuses identities the options do not settle.
    pub(crate) fn resolve(address: &Address, options: &Common, listening: bool) -> Result<Option<Target>> {
        Ok(Some(match address {
            Address::Name(name) => Target::Path(rundir::socket_path(name, listening)?),
            Address::Path(path) => Target::Path(path.clone()),
            Address::Abstract(name) => {
                proof::abstract_name(options)?;
                Target::Abstract(name.clone())
            }
            _ => return Ok(None),
        }))
    }

    pub(crate) fn sockaddr(&self) -> Result<SocketAddrUnix> {
        match self {
            Target::Path(path) => SocketAddrUnix::new(path),
            Target::Abstract(name) => SocketAddrUnix::new_abstract_name(name.as_bytes()),
        }
        .map_err(|e| Error::os("the socket address", e))
    }

    /// Why connecting failed.
    pub(crate) fn explain(&self, errno: Errno) -> Error {
        let absent = matches!(errno, Errno::NOENT | Errno::NOTDIR | Errno::CONNREFUSED);
        let doing = if absent { "nobody serves" } else { "connecting to" };
        let path = match self {
            Target::Path(path) => path,
            Target::Abstract(name) => return Error::os(format_args!("{doing} unix:@{name}"), errno),
        };
        if errno == Errno::CONNREFUSED
            && let Ok(stat) = rustix::fs::stat(path)
            && rustix::fs::FileType::from_raw_mode(stat.st_mode) != rustix::fs::FileType::Socket
        {
            return Error::new(Code::NotASocket, format!("{} is a file of another kind", path.display()));
        }
        Error::os(format_args!("{doing} {}", path.display()), errno)
    }
}

pub(crate) fn new_stream() -> Result<OwnedFd> {
    stream(AddressFamily::UNIX)
}

/// A stream socket: non-blocking, closed in programs this process executes.
pub(crate) fn stream(family: AddressFamily) -> Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    rustix::net::socket_with(family, SocketType::STREAM, flags, None).map_err(|e| Error::os("making a socket", e))
}

/// Two connected sockets, closed in programs this process executes.
pub(crate) fn pair() -> Result<(OwnedFd, OwnedFd)> {
    rustix::net::socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)
        .map_err(|e| Error::os("making a pair of sockets", e))
}
