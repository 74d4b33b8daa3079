//! The connecting half of the transport door: an address becomes a carrier.

use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::AddressFamily;
use rustix::net::sockopt::{self, Timeout};

use super::domain::{self, Target};
use super::{child, inherited, proof, stdio};
use crate::addr::Address;
use crate::api::options::ConnectOptions;
use crate::error::{Code, Error, Result};
use crate::os::carrier::{Carrier, Kind};
use crate::os::inproc;
use crate::os::poller::{self, WRITE};

/// A connection being made. A full backlog at the server is the one thing that takes time.
#[derive(Debug)]
pub(crate) struct Dial(Way);

#[derive(Debug)]
enum Way {
    Unix {
        sock: OwnedFd,
        target: Target,
    },
    Tcp {
        sock: OwnedFd,
        address: SocketAddr,
    },
    /// The other forms are there at once.
    Made(Carrier),
}

impl Dial {
    /// Refuses the forms this build does not connect to, and identities the options do not settle.
    pub(crate) fn new(address: &Address, options: &ConnectOptions) -> Result<Dial> {
        let common = &options.common;
        common.check()?;
        if options.command.is_some() && !matches!(address, Address::Spawn(_)) {
            return Err(Error::new(Code::InvalidArgument, format!("a command goes with spawn:, not with {address}")));
        }
        if let Some(target) = Target::resolve(address, common, false)? {
            return Ok(Dial(Way::Unix { sock: domain::new_stream()?, target }));
        }
        let made = match address {
            Address::Tcp(address) => {
                proof::tcp(address, common)?;
                if address.port() == 0 {
                    return Err(Error::new(Code::InvalidArgument, "port 0 is for listening; connecting needs a port"));
                }
                let sock = domain::stream(family(address))?;
                return Ok(Dial(Way::Tcp { sock, address: *address }));
            }
            Address::Inproc(name) => inproc::connect(name)?,
            Address::Fd(number) => inherited::take(*number, common)?,
            Address::Stdio => stdio::take(common)?,
            Address::Spawn(command) => child::spawn(&child::argv(command, options.command.as_deref())?)?,
            other => return Err(Error::new(Code::Unsupported, format!("this build does not connect to {other}"))),
        };
        Ok(Dial(Way::Made(made)))
    }

    /// Connects if that is possible at once; `Ok(false)` while the server's backlog is full.
    pub(crate) fn attempt(&self) -> Result<bool> {
        let attempted = match &self.0 {
            Way::Unix { sock, target } => rustix::net::connect(sock, &target.sockaddr()?),
            // Asked again, the kernel tells how the attempt under way is going.
            Way::Tcp { sock, address } => rustix::net::connect(sock, address),
            Way::Made(_) => return Ok(true),
        };
        match (attempted, &self.0) {
            (Ok(()) | Err(Errno::ISCONN), Way::Tcp { sock, address }) => not_itself(sock, address).map(|()| true),
            (Ok(()) | Err(Errno::ISCONN), _) => Ok(true),
            (Err(Errno::AGAIN | Errno::INPROGRESS | Errno::ALREADY), _) => Ok(false),
            (Err(e), Way::Unix { target, .. }) => Err(target.explain(e)),
            (Err(e @ Errno::CONNREFUSED), Way::Tcp { address, .. }) => {
                Err(Error::os(format_args!("nobody serves tcp:{address}"), e))
            }
            (Err(e), Way::Tcp { address, .. }) => Err(Error::os(format_args!("connecting to tcp:{address}"), e)),
            (Err(_), Way::Made(_)) => unreachable!("it was not attempted"),
        }
    }

    /// Waits in the kernel for a place in the backlog. `Ok(false)` at the deadline;
    /// `interrupted` when a signal handler ran.
    pub(crate) fn attempt_blocking(&self, deadline: Option<Instant>) -> Result<bool> {
        match &self.0 {
            Way::Unix { sock, .. } => {
                let left = deadline.map(|d| d.saturating_duration_since(Instant::now()).max(Duration::from_millis(1)));
                let set = |blocking: bool| -> Result<(), Errno> {
                    sockopt::set_socket_timeout(sock, Timeout::Send, left.filter(|_| blocking))?;
                    rustix::io::ioctl_fionbio(sock, !blocking)
                };
                set(true).map_err(|e| Error::os("preparing to connect", e))?;
                let connected = self.attempt();
                set(false).map_err(|e| Error::os("preparing the connection", e))?;
                connected
            }
            Way::Tcp { sock, .. } => {
                poller::wait_one(sock.as_fd(), WRITE, deadline).map_err(|e| Error::os("connecting", e))?;
                self.attempt()
            }
            Way::Made(_) => Ok(true),
        }
    }

    /// What becomes writable when an attempt is worth repeating. `None` where nothing tells: a Unix-domain
    /// socket cannot be polled for a place in the backlog.
    pub(crate) fn progress(&self) -> Option<BorrowedFd<'_>> {
        match &self.0 {
            Way::Tcp { sock, .. } => Some(sock.as_fd()),
            _ => None,
        }
    }

    pub(crate) fn into_carrier(self) -> Carrier {
        match self.0 {
            Way::Unix { sock, .. } => Carrier::socket(Kind::Unix, sock),
            Way::Tcp { sock, .. } => Carrier::socket(Kind::Tcp, sock),
            Way::Made(carrier) => carrier,
        }
    }
}

pub(crate) fn family(address: &SocketAddr) -> AddressFamily {
    if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 }
}

/// Nobody listens at a port of the range the kernel picks from, and it picked that very port for this end:
/// TCP connects the socket with itself.
fn not_itself(sock: &OwnedFd, address: &SocketAddr) -> Result<()> {
    let own = rustix::net::getsockname(sock).map_err(|e| Error::os("looking at the connection", e))?;
    match SocketAddr::try_from(own) {
        Ok(own) if own == *address => {
            Err(Error::new(Code::ConnectionRefused, format!("connecting to tcp:{address}: nobody listens there")))
        }
        _ => Ok(()),
    }
}
