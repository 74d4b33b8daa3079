//! Unix-domain stream sockets: connecting, accepting, moving bytes, asking who is there.

use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use rustix::io::Errno;
use rustix::net::sockopt::{self, Timeout};
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendFlags, Shutdown, SocketAddrUnix, SocketFlags, SocketType,
};

use crate::addr::Address;
use crate::api::options::Common;
use crate::error::{Code, Error, Result};
use crate::os::rundir;
use crate::os::socket_file::{self, SocketFile};

/// Asked for on both sides; the kernel caps it. Lets a large message leave in fewer turns.
const SEND_BUFFER: usize = 1024 * 1024;

/// An address as the kernel takes it.
#[derive(Debug, Clone)]
enum Target {
    Path(PathBuf),
    Abstract(String),
}

impl Target {
    /// Refuses the forms this build does not carry, and identities the options do not settle.
    fn resolve(address: &Address, options: &Common, listening: bool) -> Result<Target> {
        match address {
            Address::Name(name) => rundir::socket_path(name, listening).map(Target::Path),
            Address::Path(path) => Ok(Target::Path(path.clone())),
            Address::Abstract(_) if options.auth_token.is_some() => Err(Error::new(
                Code::InvalidArgument,
                "an auth_token crosses the wire in clear, so it is accepted on path and name addresses only",
            )),
            Address::Abstract(name) if options.allow_uids.is_some() => Ok(Target::Abstract(name.clone())),
            Address::Abstract(_) => Err(Error::new(
                Code::AuthenticationRequired,
                "an abstract socket has no file mode to protect it: say which users are allowed (allow_uids)",
            )),
            other => Err(Error::new(Code::Unsupported, format!("this build does not carry {other}"))),
        }
    }

    fn sockaddr(&self) -> Result<SocketAddrUnix> {
        match self {
            Target::Path(path) => SocketAddrUnix::new(path),
            Target::Abstract(name) => SocketAddrUnix::new_abstract_name(name.as_bytes()),
        }
        .map_err(|e| Error::os("the socket address", e))
    }
}

/// The users an endpoint accepts at the other end. `None`: the file mode decides.
pub(crate) fn allowed_uids(address: &Address, options: &Common) -> Option<Vec<u32>> {
    match (&options.allow_uids, address) {
        (Some(uids), _) => Some(uids.clone()),
        (None, Address::Name(_)) => Some(vec![rustix::process::geteuid().as_raw(), 0]),
        (None, _) => None,
    }
}

pub(crate) fn new_stream() -> Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)
        .map_err(|e| Error::os("making a socket", e))
}

/// A connection being made. A full backlog at the server is the one thing that takes time.
#[derive(Debug)]
pub(crate) struct Dial {
    sock: OwnedFd,
    target: Target,
}

impl Dial {
    pub(crate) fn new(address: &Address, options: &Common) -> Result<Dial> {
        options.check()?;
        let target = Target::resolve(address, options, false)?;
        Ok(Dial { sock: new_stream()?, target })
    }

    /// Connects if that is possible at once; `Ok(false)` while the server's backlog is full.
    pub(crate) fn attempt(&self) -> Result<bool> {
        match rustix::net::connect(&self.sock, &self.target.sockaddr()?) {
            Ok(()) | Err(Errno::ISCONN) => Ok(true),
            Err(Errno::AGAIN) => Ok(false),
            Err(e) => Err(self.explain(e)),
        }
    }

    /// Waits in the kernel for a place in the backlog. `Ok(false)` at the deadline;
    /// `interrupted` when a signal handler ran.
    pub(crate) fn attempt_blocking(&self, deadline: Option<Instant>) -> Result<bool> {
        let left = deadline.map(|d| d.saturating_duration_since(Instant::now()).max(Duration::from_millis(1)));
        let set = |blocking: bool| -> Result<(), Errno> {
            sockopt::set_socket_timeout(&self.sock, Timeout::Send, left.filter(|_| blocking))?;
            rustix::io::ioctl_fionbio(&self.sock, !blocking)
        };
        set(true).map_err(|e| Error::os("preparing to connect", e))?;
        let connected = self.attempt();
        set(false).map_err(|e| Error::os("preparing the connection", e))?;
        connected
    }

    pub(crate) fn into_socket(self) -> OwnedFd {
        set_send_buffer(&self.sock);
        self.sock
    }

    fn explain(&self, errno: Errno) -> Error {
        let Target::Path(path) = &self.target else {
            return Error::os("connecting", errno);
        };
        if errno == Errno::CONNREFUSED
            && let Ok(stat) = rustix::fs::stat(path)
            && rustix::fs::FileType::from_raw_mode(stat.st_mode) != rustix::fs::FileType::Socket
        {
            return Error::new(Code::NotASocket, format!("{} is a file of another kind", path.display()));
        }
        Error::os(format_args!("connecting to {}", path.display()), errno)
    }
}

/// A listening socket, and the file it owns where it has one.
#[derive(Debug)]
pub(crate) struct ListenSocket {
    // Declared first: the file has to go before the descriptor, or a client could find a dead path.
    _file: Option<SocketFile>,
    sock: OwnedFd,
}

impl ListenSocket {
    pub(crate) fn bind(address: &Address, options: &Common, backlog: i32) -> Result<ListenSocket> {
        options.check()?;
        match Target::resolve(address, options, true)? {
            Target::Path(path) => {
                let (sock, file) = socket_file::bind(&path, backlog)?;
                Ok(ListenSocket { _file: Some(file), sock })
            }
            target @ Target::Abstract(_) => {
                let sock = new_stream()?;
                rustix::net::bind(&sock, &target.sockaddr()?)
                    .and_then(|()| rustix::net::listen(&sock, backlog))
                    .map_err(|e| Error::os(format_args!("listening at {address}"), e))?;
                Ok(ListenSocket { _file: None, sock })
            }
        }
    }

    /// The next connection, or `Err(AGAIN)`.
    pub(crate) fn accept(&self) -> Result<OwnedFd, Errno> {
        let sock = rustix::net::accept_with(&self.sock, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)?;
        set_send_buffer(&sock);
        Ok(sock)
    }
}

impl ListenSocket {
    /// Turns clients away from now on, those in the backlog too, even if a forked child shares the socket.
    pub(crate) fn shut(&self) {
        shut(self.sock.as_fd());
        while self.accept().is_ok() {}
    }
}

impl AsFd for ListenSocket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.sock.as_fd()
    }
}

/// Only a wish: the default size works too.
fn set_send_buffer(sock: &OwnedFd) {
    let _ = sockopt::set_socket_send_buffer_size(sock, SEND_BUFFER);
}

/// Reads at most `most` bytes into the spare capacity of `buffer`. 0 is the end of the stream.
#[allow(unsafe_code)]
pub(crate) fn read(sock: BorrowedFd<'_>, buffer: &mut Vec<u8>, most: usize) -> Result<usize, Errno> {
    let spare = buffer.spare_capacity_mut();
    let most = most.min(spare.len());
    let ((read, _), _) = rustix::net::recv(sock, &mut spare[..most], RecvFlags::DONTWAIT)?;
    let n = read.len();
    // SAFETY: `recv` initialised the first `n` spare bytes.
    unsafe { buffer.set_len(buffer.len() + n) };
    Ok(n)
}

/// Writes what the socket takes at once. Never raises SIGPIPE.
pub(crate) fn write(sock: BorrowedFd<'_>, slices: &[IoSlice<'_>]) -> Result<usize, Errno> {
    let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
    rustix::net::sendmsg(sock, slices, &mut SendAncillaryBuffer::default(), flags)
}

/// Ends both directions; wakes whoever polls the socket.
pub(crate) fn shut(sock: BorrowedFd<'_>) {
    // Already ended is as good.
    let _ = rustix::net::shutdown(sock, Shutdown::Both);
}
