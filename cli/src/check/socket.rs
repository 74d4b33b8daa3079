//! Plain sockets: nothing waits longer than it is told, and writing never keeps from reading.

use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use hostlane::{Address, Code, Error};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType, connect, socket_with};

/// A server whose backlog is full keeps a client waiting no longer than this.
const CONNECT: Duration = Duration::from_secs(5);

/// An address that a socket of the system stands for.
#[derive(Debug, Clone)]
pub(super) enum Place {
    Path(PathBuf),
    Abstract(String),
    Tcp(std::net::SocketAddr),
}

impl Place {
    /// Names and paths are read as everywhere; the forms that are no socket of their own have no place here.
    pub(super) fn parse(text: &str) -> Result<Place, Error> {
        match text.parse()? {
            Address::Name(name) => Ok(Place::Path(hostlane::runtime_directory().join(format!("{name}.sock")))),
            Address::Path(path) => Ok(Place::Path(path)),
            Address::Abstract(name) => Ok(Place::Abstract(name)),
            Address::Tcp(address) => Ok(Place::Tcp(address)),
            _ => Err(Error::new(Code::Unsupported, format!("{text}: check takes a Unix-domain or TCP address"))),
        }
    }

    /// A place beside this one, for a client that is started with it.
    pub(super) fn numbered(&self, number: usize) -> Place {
        match self {
            Place::Path(path) => Place::Path(format!("{}-{number}", path.display()).into()),
            Place::Abstract(name) => Place::Abstract(format!("{name}-{number}")),
            Place::Tcp(address) => Place::Tcp((address.ip(), 0).into()),
        }
    }

    pub(super) fn connect(&self) -> io::Result<Socket> {
        Socket::new(match self {
            Place::Path(path) => Kind::Unix(connect_unix(&SocketAddrUnix::new(path)?)?),
            Place::Abstract(name) => Kind::Unix(connect_unix(&SocketAddrUnix::new_abstract_name(name.as_bytes())?)?),
            Place::Tcp(address) => Kind::Tcp(TcpStream::connect_timeout(address, CONNECT)?),
        })
    }
}

fn connect_unix(address: &SocketAddrUnix) -> io::Result<UnixStream> {
    let socket = socket_with(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    // Of all that is done with the socket only connecting waits: afterwards it is non-blocking.
    set_socket_timeout(&socket, Timeout::Send, Some(CONNECT))?;
    connect(&socket, address)?;
    Ok(socket.into())
}

/// Where clients are awaited. A path is free again with its end.
pub(super) struct Door {
    listener: Listening,
    path: Option<PathBuf>,
    /// As a client is told it.
    pub(super) address: String,
}

enum Listening {
    Unix(UnixListener),
    Tcp(TcpListener),
}

impl Door {
    pub(super) fn open(place: &Place) -> io::Result<Door> {
        let (listener, path, address) = match place {
            Place::Path(path) => {
                let listener = UnixListener::bind(path)?;
                (Listening::Unix(listener), Some(path.clone()), format!("unix:{}", path.display()))
            }
            Place::Abstract(name) => {
                let listener = UnixListener::bind_addr(&SocketAddr::from_abstract_name(name)?)?;
                (Listening::Unix(listener), None, format!("unix:@{name}"))
            }
            Place::Tcp(address) => {
                let listener = TcpListener::bind(address)?;
                let address = format!("tcp:{}", listener.local_addr()?);
                (Listening::Tcp(listener), None, address)
            }
        };
        match &listener {
            Listening::Unix(listener) => listener.set_nonblocking(true)?,
            Listening::Tcp(listener) => listener.set_nonblocking(true)?,
        }
        Ok(Door { listener, path, address })
    }

    /// The next client; `None` at the deadline.
    pub(super) fn accept(&self, until: Instant) -> io::Result<Option<Socket>> {
        loop {
            let taken = match &self.listener {
                Listening::Unix(listener) => listener.accept().map(|(socket, _)| Kind::Unix(socket)),
                Listening::Tcp(listener) => listener.accept().map(|(socket, _)| Kind::Tcp(socket)),
            };
            match taken {
                Ok(kind) => return Socket::new(kind).map(Some),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
            let fd = match &self.listener {
                Listening::Unix(listener) => listener.as_fd(),
                Listening::Tcp(listener) => listener.as_fd(),
            };
            if wait(fd, PollFlags::IN, until)?.is_empty() {
                return Ok(None);
            }
        }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        // Whoever took the file away has made the place free already.
        let _ = self.path.as_ref().map(fs::remove_file);
    }
}

enum Kind {
    Unix(UnixStream),
    Tcp(TcpStream),
}

/// One connection.
pub(super) struct Socket(Kind);

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    Orderly,
    Reset,
}

impl Socket {
    fn new(kind: Kind) -> io::Result<Socket> {
        match &kind {
            Kind::Unix(socket) => socket.set_nonblocking(true)?,
            Kind::Tcp(socket) => {
                socket.set_nonblocking(true)?;
                socket.set_nodelay(true)?;
            }
        }
        Ok(Socket(kind))
    }

    fn fd(&self) -> BorrowedFd<'_> {
        match &self.0 {
            Kind::Unix(socket) => socket.as_fd(),
            Kind::Tcp(socket) => socket.as_fd(),
        }
    }

    /// Says that no more is sent. It is no news where the other side has left.
    pub(super) fn half_close(&self) {
        let _ = match &self.0 {
            Kind::Unix(socket) => socket.shutdown(Shutdown::Write),
            Kind::Tcp(socket) => socket.shutdown(Shutdown::Write),
        };
    }

    /// What has come, behind `inbox`; `None` when nothing came before the deadline.
    pub(super) fn read(&self, inbox: &mut Vec<u8>, until: Instant) -> io::Result<Option<Result<usize, End>>> {
        let mut part = [0; 64 * 1024];
        loop {
            let read = match &self.0 {
                Kind::Unix(socket) => (&mut &*socket).read(&mut part),
                Kind::Tcp(socket) => (&mut &*socket).read(&mut part),
            };
            match read {
                Ok(0) => return Ok(Some(Err(End::Orderly))),
                Ok(count) => {
                    inbox.extend(&part[..count]);
                    return Ok(Some(Ok(count)));
                }
                Err(error) if left(&error) => return Ok(Some(Err(End::Reset))),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    if wait(self.fd(), PollFlags::IN, until)?.is_empty() {
                        return Ok(None);
                    }
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// How much the other side takes at once; `None` when it has left.
    pub(super) fn write(&self, bytes: &[u8]) -> io::Result<Option<usize>> {
        let written = match &self.0 {
            Kind::Unix(socket) => (&mut &*socket).write(bytes),
            Kind::Tcp(socket) => (&mut &*socket).write(bytes),
        };
        match written {
            Ok(count) => Ok(Some(count)),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => Ok(Some(0)),
            Err(error) if left(&error) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Waits for room to write or, with `reading`, for bytes to read; empty at the deadline.
    pub(super) fn ready(&self, reading: bool, until: Instant) -> io::Result<PollFlags> {
        wait(self.fd(), if reading { PollFlags::IN | PollFlags::OUT } else { PollFlags::OUT }, until)
    }
}

fn left(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::BrokenPipe | ErrorKind::ConnectionReset | ErrorKind::ConnectionAborted)
}

fn wait(fd: BorrowedFd<'_>, what: PollFlags, until: Instant) -> io::Result<PollFlags> {
    loop {
        let rest = until.saturating_duration_since(Instant::now());
        let rest = Timespec { tv_sec: rest.as_secs() as i64, tv_nsec: rest.subsec_nanos().into() };
        let mut fds = [PollFd::from_borrowed_fd(fd, what)];
        match poll(&mut fds, Some(&rest)) {
            Ok(0) => return Ok(PollFlags::empty()),
            Ok(_) => return Ok(fds[0].revents()),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
