//! `fd:`: taking over a descriptor that this process was started with or given.

use std::fmt::Display;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};

use rustix::fs::{Mode, OFlags};
use rustix::io::{DupFlags, Errno};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketType, sockopt};

use super::proof;
use crate::api::options::Common;
use crate::error::{Code, Error, Result};
use crate::os::carrier::{Carrier, Kind};

/// The first descriptor that is not a standard one.
const FIRST: i32 = 3;

/// Takes over the connected stream socket `number`: a private copy of it, closed in programs this process
/// executes. The number itself becomes the null device, so that it is used once only and its reuse harms nobody.
#[allow(unsafe_code)]
pub(crate) fn take(number: i32, options: &Common) -> Result<Carrier> {
    let what = format!("fd:{number}");
    if number < FIRST {
        return Err(Error::new(Code::InvalidArgument, format!("{what} is a standard stream; stdio: takes those")));
    }
    let sock = duplicate(number, &what)?;
    if listens(&sock, &what)? {
        return Err(Error::new(Code::InvalidArgument, format!("{what} listens; a connected socket is needed")));
    }
    connected(&sock, &what, options)?;
    let null = null(OFlags::RDWR)?;
    // SAFETY: the number is open, as it was just duplicated. It is not closed here, but replaced in one
    // step by an open descriptor, so whoever else took it for theirs never meets a stranger's.
    let mut original = ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(number) });
    rustix::io::dup3(&null, &mut original, DupFlags::CLOEXEC)
        .map_err(|e| Error::os(format_args!("taking over {what}"), e))?;
    Ok(Carrier::socket(Kind::Fd, sock))
}

/// A private copy of the descriptor `number`; `not_found` if none is open.
#[allow(unsafe_code)]
pub(crate) fn duplicate(number: i32, what: &dyn Display) -> Result<OwnedFd> {
    // SAFETY: the borrow ends with the call, in which the kernel checks that the number is open.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    duplicate_fd(borrowed, what)
}

/// The same for a descriptor at hand, which may turn out closed.
pub(crate) fn duplicate_fd(fd: BorrowedFd<'_>, what: &dyn Display) -> Result<OwnedFd> {
    rustix::io::fcntl_dupfd_cloexec(fd, FIRST).map_err(|e| match e {
        Errno::BADF => Error::new(Code::NotFound, format!("{what} is not open")),
        e => Error::os(format_args!("taking over {what}"), e),
    })
}

/// Whether a stream socket listens. `not_a_socket` for anything else.
pub(crate) fn listens(fd: &OwnedFd, what: &dyn Display) -> Result<bool> {
    match sockopt::socket_type(fd) {
        Ok(SocketType::STREAM) => {}
        Ok(_) => return Err(Error::new(Code::NotASocket, format!("{what} is a socket of another kind, no stream"))),
        Err(Errno::NOTSOCK) => return Err(Error::new(Code::NotASocket, format!("{what} is no socket"))),
        Err(e) => return Err(Error::os(format_args!("looking at {what}"), e)),
    }
    sockopt::socket_acceptconn(fd).map_err(|e| Error::os(format_args!("looking at {what}"), e))
}

/// Refuses a socket without another side, and one whose other side `options` do not settle.
pub(crate) fn connected(sock: &OwnedFd, what: &dyn Display, options: &Common) -> Result<()> {
    let peer = rustix::net::getpeername(sock).map_err(|e| Error::os(format_args!("{what} has no other side"), e))?;
    match sockopt::socket_domain(sock).map_err(|e| Error::os(format_args!("looking at {what}"), e))? {
        // Whoever connected it, and handed it over, vouches for it.
        AddressFamily::UNIX => Ok(()),
        _ => match peer.and_then(|peer| std::net::SocketAddr::try_from(peer).ok()) {
            Some(peer) => proof::tcp(&peer, options),
            None => Err(Error::new(Code::Unsupported, format!("{what} is a socket of an unknown family"))),
        },
    }
}

/// The same for a listening socket, by the address it listens at. Says what kind of carrier it yields.
pub(crate) fn listening(sock: &OwnedFd, what: &dyn Display, options: &Common) -> Result<Kind> {
    let name = rustix::net::getsockname(sock).map_err(|e| Error::os(format_args!("looking at {what}"), e))?;
    if let Ok(local) = SocketAddrUnix::try_from(name.clone()) {
        if local.abstract_name().is_some() {
            proof::abstract_name(options)?;
        }
        return Ok(Kind::Unix);
    }
    match std::net::SocketAddr::try_from(name) {
        Ok(local) => proof::tcp(&local, options).map(|()| Kind::Tcp),
        Err(_) => Err(Error::new(Code::Unsupported, format!("{what} is a socket of an unknown family"))),
    }
}

pub(crate) fn null(flags: OFlags) -> Result<OwnedFd> {
    rustix::fs::open("/dev/null", flags | OFlags::CLOEXEC, Mode::empty())
        .map_err(|e| Error::os("opening the null device", e))
}

/// Whether two descriptors are the same object.
pub(crate) fn same(a: impl AsFd, b: impl AsFd) -> bool {
    match (rustix::fs::fstat(a), rustix::fs::fstat(b)) {
        (Ok(a), Ok(b)) => (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino),
        _ => false,
    }
}
