//! The listening half of the transport door: an address yields carriers.

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{Shutdown, SocketFlags, sockopt};

use super::domain::{self, Target};
use super::only::Only;
use super::socket_file::{self, SocketFile};
use super::systemd::Passed;
use super::{dial, inherited, proof, stdio};
use crate::addr::Address;
use crate::api::options::Common;
use crate::error::{Code, Error, Result};
use crate::os::carrier::{Carrier, Kind};
use crate::os::inproc::Inproc;

/// A place where connections arrive. Its descriptor ([`AsFd`]) is readable when
/// [`accept`](ListenSocket::accept) has news.
#[derive(Debug)]
pub(crate) struct ListenSocket {
    source: Source,
    address: Address,
}

#[derive(Debug)]
enum Source {
    Socket {
        /// Declared first: the file has to go before the socket stops listening, or a client could find a dead path.
        file: Option<SocketFile>,
        sock: OwnedFd,
        kind: Kind,
    },
    Passed(Passed),
    Inproc(Inproc),
    Only(Only),
}

impl ListenSocket {
    pub(crate) fn bind(address: &Address, options: &Common, backlog: i32) -> Result<ListenSocket> {
        options.check()?;
        let mut actual = address.clone();
        let source = match Target::resolve(address, options, true)? {
            Some(Target::Path(path)) => {
                let (sock, file) = socket_file::bind(&path, backlog)?;
                Source::Socket { file: Some(file), sock, kind: Kind::Unix }
            }
            Some(target @ Target::Abstract(_)) => {
                let sock = domain::new_stream()?;
                rustix::net::bind(&sock, &target.sockaddr()?)
                    .and_then(|()| rustix::net::listen(&sock, backlog))
                    .map_err(|e| Error::os(format_args!("listening at {address}"), e))?;
                Source::Socket { file: None, sock, kind: Kind::Unix }
            }
            None => match address {
                Address::Tcp(wanted) => {
                    proof::tcp(wanted, options)?;
                    let (sock, bound) = bind_tcp(wanted, backlog)?;
                    actual = Address::Tcp(bound);
                    Source::Socket { file: None, sock, kind: Kind::Tcp }
                }
                Address::Inproc(name) => Source::Inproc(Inproc::bind(name, backlog)?),
                Address::Fd(number) => Source::Only(Only::new(inherited::take(*number, options)?)?),
                Address::Stdio => Source::Only(Only::new(stdio::take(options)?)?),
                Address::Systemd(name) => Source::Passed(Passed::take(name.as_deref(), options)?),
                other => return Err(Error::new(Code::Unsupported, format!("this build does not listen at {other}"))),
            },
        };
        Ok(ListenSocket { source, address: actual })
    }

    /// The address as given, with the port the system chose where it had to.
    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// The next connection, or `AGAIN`; `INVAL` when somebody else who has the socket shut it. `None` when there will be no other.
    pub(crate) fn accept(&self) -> Result<Option<Carrier>, Errno> {
        let (sock, kind) = match &self.source {
            Source::Socket { sock, kind, .. } => (sock.as_fd(), *kind),
            Source::Passed(passed) => (passed.as_fd(), passed.kind()),
            Source::Inproc(inproc) => return inproc.accept().map(Some),
            Source::Only(only) => return only.accept(),
        };
        match rustix::net::accept_with(sock, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
            Ok(sock) => Ok(Some(Carrier::socket(kind, sock))),
            // A Unix-domain socket says no other, and stays readable.
            Err(Errno::AGAIN) if is_shut(sock) => Err(Errno::INVAL),
            Err(error) => Err(error),
        }
    }

    /// Whether who is not accepted here can be accepted by somebody else: then nobody is to be taken from
    /// the backlog in advance.
    pub(crate) fn shared(&self) -> bool {
        matches!(self.source, Source::Passed(_))
    }

    /// Turns clients away from now on, those in the backlog too, even if a forked child shares the socket.
    /// Not where the backlog is somebody else's as well.
    pub(crate) fn shut(&mut self) {
        match &mut self.source {
            Source::Socket { file, sock, .. } => {
                drop(file.take());
                // Already ended is as good.
                let _ = rustix::net::shutdown(sock, Shutdown::Both);
                while self.accept().is_ok() {}
            }
            Source::Passed(_) => {}
            Source::Inproc(inproc) => inproc.shut(),
            Source::Only(only) => only.shut(),
        }
    }
}

impl AsFd for ListenSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.source {
            Source::Socket { sock, .. } => sock.as_fd(),
            Source::Passed(passed) => passed.as_fd(),
            Source::Inproc(inproc) => inproc.as_fd(),
            Source::Only(only) => only.as_fd(),
        }
    }
}

fn is_shut(sock: BorrowedFd<'_>) -> bool {
    let mut polled = [PollFd::from_borrowed_fd(sock, PollFlags::RDHUP)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut polled, Some(&now)).is_ok() && polled[0].revents().intersects(PollFlags::RDHUP | PollFlags::HUP)
}

/// Whether an error of accepting is of one client, or over at once (accept(2)).
pub(crate) fn passes(error: Errno) -> bool {
    const OF_A_CLIENT: [Errno; 10] = [
        Errno::INTR,
        Errno::CONNABORTED,
        Errno::PROTO,
        Errno::NETDOWN,
        Errno::NOPROTOOPT,
        Errno::HOSTDOWN,
        Errno::NONET,
        Errno::HOSTUNREACH,
        Errno::OPNOTSUPP,
        Errno::NETUNREACH,
    ];
    OF_A_CLIENT.contains(&error)
}

fn bind_tcp(wanted: &SocketAddr, backlog: i32) -> Result<(OwnedFd, SocketAddr)> {
    let failed = |e| Error::os(format_args!("listening at tcp:{wanted}"), e);
    let sock = domain::stream(dial::family(wanted))?;
    // A server that starts again need not wait for the connections of the last one to be forgotten. Two
    // servers at one port are refused as before.
    sockopt::set_socket_reuseaddr(&sock, true).map_err(failed)?;
    rustix::net::bind(&sock, wanted).and_then(|()| rustix::net::listen(&sock, backlog)).map_err(failed)?;
    let bound = rustix::net::getsockname(&sock).and_then(SocketAddr::try_from).map_err(failed)?;
    Ok((sock, bound))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_client_finds_the_file_of_a_socket_that_does_not_listen() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join("a.sock");
        let address = Address::Path(path.clone());
        let mut socket = ListenSocket::bind(&address, &Common::default(), 1).unwrap();
        assert!(path.exists());
        socket.shut();
        assert!(!path.exists());
        // Nor is it in the way of the next one.
        ListenSocket::bind(&address, &Common::default(), 1).unwrap();
    }
}
