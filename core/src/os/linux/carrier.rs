//! What moves a connection's bytes: one stream socket, or one descriptor for each direction.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

use rustix::cmsg_space;
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, Shutdown, sockopt,
};

use super::{child, credentials, domain, only, signals};
use crate::api::info::Credentials;
use crate::error::Result;
use crate::limits;
use crate::os::poller::{Epoll, Interest, READ, WRITE};

/// Asked for on both sides of a local socket; the kernel caps it. Lets a large message leave in fewer turns.
const SEND_BUFFER: usize = 1024 * 1024;

/// Which address form the carrier came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Unix,
    Tcp,
    Inproc,
    Fd,
    Stdio,
    Spawn,
}

impl Kind {
    /// As [`Info::carrier`](crate::Info::carrier) tells it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Kind::Unix => "unix",
            Kind::Tcp => "tcp",
            Kind::Inproc => "inproc",
            Kind::Fd => "fd",
            Kind::Stdio => "stdio",
            Kind::Spawn => "spawn",
        }
    }
}

/// The bytes' way to the other side and back. Never waits: what cannot be done at once is `AGAIN`.
///
/// Dropping it closes it. A socket that a forked child shares stays open until the child is gone too,
/// so an end that has to be seen is made by [`shut`](Carrier::shut).
#[derive(Debug)]
pub(crate) struct Carrier {
    kind: Kind,
    ends: Ends,
    /// Declared behind the descriptors: what waits for the end of the stream learns of it only then.
    attached: Attached,
}

#[derive(Debug)]
enum Ends {
    Socket {
        sock: OwnedFd,
        /// A Unix-domain socket: it tells who is there and passes descriptors.
        local: bool,
    },
    /// `ready` is readable when either end is ready for what is watched on it.
    Split { read: End, write: End, ready: Epoll, watched: Mutex<Interest> },
}

/// One direction of a split carrier.
#[derive(Debug)]
pub(crate) enum End {
    Socket(OwnedFd),
    Pipe(OwnedFd),
}

/// What lives as long as the stream.
#[derive(Debug)]
pub(crate) enum Attached {
    Nothing,
    /// The process at the other end, started by this one.
    Child(child::Child),
    /// The only place of a listener that serves one peer.
    Place(#[expect(dead_code, reason = "held for what its end tells")] only::Place),
}

impl AsFd for End {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            End::Socket(fd) | End::Pipe(fd) => fd.as_fd(),
        }
    }
}

impl Carrier {
    /// Over a connected stream socket.
    pub(crate) fn socket(kind: Kind, sock: OwnedFd) -> Carrier {
        let local = sockopt::socket_domain(&sock) == Ok(AddressFamily::UNIX);
        if local {
            // Only a wish: the default size works too. TCP sizes its buffers better by itself.
            let _ = sockopt::set_socket_send_buffer_size(&sock, SEND_BUFFER);
        } else {
            // A message must not wait for the acknowledgement of the one before it.
            let _ = sockopt::set_tcp_nodelay(&sock, true);
        }
        Carrier { kind, ends: Ends::Socket { sock, local }, attached: Attached::Nothing }
    }

    /// Both ends of a stream inside this process.
    pub(crate) fn pair(kind: Kind) -> Result<(Carrier, Carrier)> {
        let (one, other) = domain::pair()?;
        Ok((Carrier::socket(kind, one), Carrier::socket(kind, other)))
    }

    /// Over two descriptors, each used in one direction. Pipes must be non-blocking.
    pub(crate) fn split(kind: Kind, read: End, write: End) -> Result<Carrier> {
        let ends = Ends::Split { read, write, ready: Epoll::new()?, watched: Mutex::new(Interest::empty()) };
        Ok(Carrier { kind, ends, attached: Attached::Nothing })
    }

    pub(crate) fn attach(mut self, attached: Attached) -> Carrier {
        self.attached = attached;
        self
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// Who is at the other end. `None` where nobody can tell: TCP and pipes. An answer the kernel owes
    /// and does not give is an error.
    pub(crate) fn credentials(&self) -> Result<Option<Credentials>> {
        match (&self.attached, &self.ends) {
            // The kernel names the maker of a socket pair, which is this process.
            (Attached::Child(child), _) => Ok(Some(child.credentials())),
            (_, Ends::Socket { sock, local: true }) => credentials::of_peer(sock).map(Some),
            _ => Ok(None),
        }
    }

    /// Whether [`write`](Carrier::write) and [`read`](Carrier::read) can pass descriptors.
    pub(crate) fn passes_descriptors(&self) -> bool {
        matches!(self.ends, Ends::Socket { local: true, .. })
    }

    /// What to poll the carrier's descriptor for ([`AsFd`]) in order to learn of `interest`. Asked again
    /// whenever the interest changes.
    pub(crate) fn watch(&self, interest: Interest) -> Interest {
        let Ends::Split { read, write, ready, watched } = &self.ends else { return interest };
        let mut watched = watched.lock().unwrap_or_else(PoisonError::into_inner);
        for (end, token, one) in [(read, 0, READ), (write, 1, WRITE)] {
            // It fails when the kernel is out of memory: then the next time tries again.
            if ready.set(end.as_fd(), token, *watched & one, interest & one).is_ok() {
                *watched = (*watched - one) | (interest & one);
            }
        }
        if interest.is_empty() { interest } else { READ }
    }

    /// Reads at most `most` bytes into the spare capacity of `buffer`; 0 is the end of the stream.
    ///
    /// With `fds`, descriptors that were sent along with these bytes are appended to it, close-on-exec.
    /// `MSGSIZE` if they were more than [`MAX_FDS`](limits::MAX_FDS), or more than this
    /// process had room for: all of them are closed, and the stream has to be ended. Without it the kernel
    /// drops them before they enter this process.
    #[allow(unsafe_code)]
    pub(crate) fn read(
        &self,
        buffer: &mut Vec<u8>,
        most: usize,
        fds: Option<&mut Vec<OwnedFd>>,
    ) -> Result<usize, Errno> {
        let spare = buffer.spare_capacity_mut();
        let most = most.min(spare.len());
        let spare = &mut spare[..most];
        let n = match (&self.ends, fds) {
            (Ends::Socket { sock, local: true }, Some(fds)) => recv_with_descriptors(sock, spare, fds)?,
            (Ends::Socket { sock, .. }, _) | (Ends::Split { read: End::Socket(sock), .. }, _) => {
                rustix::net::recv(sock, spare, RecvFlags::DONTWAIT)?.0.0.len()
            }
            (Ends::Split { read: End::Pipe(pipe), .. }, _) => rustix::io::read(pipe, spare)?.0.len(),
        };
        // SAFETY: the kernel wrote this many bytes at the start of the spare capacity.
        unsafe { buffer.set_len(buffer.len() + n) };
        Ok(n)
    }

    /// Writes what the carrier takes at once. Never raises SIGPIPE.
    ///
    /// `fds` leave with the first byte, so with the first call that takes any. `INVAL` for more than
    /// [`MAX_FDS`](limits::MAX_FDS) or without a byte to go with; `OPNOTSUPP` where no
    /// descriptor can pass.
    pub(crate) fn write(&self, slices: &[IoSlice<'_>], fds: &[BorrowedFd<'_>]) -> Result<usize, Errno> {
        match &self.ends {
            Ends::Socket { sock, local: true } if !fds.is_empty() => send_with_descriptors(sock, slices, fds),
            _ if !fds.is_empty() => Err(Errno::OPNOTSUPP),
            Ends::Socket { sock, .. } | Ends::Split { write: End::Socket(sock), .. } => {
                send(sock, slices, &mut SendAncillaryBuffer::default())
            }
            Ends::Split { write: End::Pipe(pipe), .. } => signals::without_sigpipe(|| rustix::io::writev(pipe, slices)),
        }
    }

    /// Ends both directions; wakes whoever polls a socket. A pipe ends when the carrier is dropped.
    pub(crate) fn shut(&self) {
        let sockets = match &self.ends {
            Ends::Socket { sock, .. } => [Some(sock), None],
            Ends::Split { read, write, .. } => [read, write].map(|end| match end {
                End::Socket(sock) => Some(sock),
                End::Pipe(_) => None,
            }),
        };
        for sock in sockets.into_iter().flatten() {
            // Already ended is as good.
            let _ = rustix::net::shutdown(sock, Shutdown::Both);
        }
    }
}

/// The descriptor to poll for what [`watch`](Carrier::watch) says.
impl AsFd for Carrier {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match &self.ends {
            Ends::Socket { sock, .. } => sock.as_fd(),
            Ends::Split { ready, .. } => ready.as_fd(),
        }
    }
}

fn send(sock: &OwnedFd, slices: &[IoSlice<'_>], with: &mut SendAncillaryBuffer<'_, '_, '_>) -> Result<usize, Errno> {
    rustix::net::sendmsg(sock, slices, with, SendFlags::NOSIGNAL | SendFlags::DONTWAIT)
}

fn send_with_descriptors(sock: &OwnedFd, slices: &[IoSlice<'_>], fds: &[BorrowedFd<'_>]) -> Result<usize, Errno> {
    // Without a byte the kernel would take the descriptors and deliver them to nobody.
    if fds.len() > limits::MAX_FDS || slices.iter().all(|slice| slice.is_empty()) {
        return Err(Errno::INVAL);
    }
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(limits::MAX_FDS))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    // `space` fits as many as were just counted.
    if !control.push(SendAncillaryMessage::ScmRights(fds)) {
        return Err(Errno::INVAL);
    }
    send(sock, slices, &mut control)
}

#[allow(unsafe_code)]
fn recv_with_descriptors(
    sock: &OwnedFd,
    spare: &mut [MaybeUninit<u8>],
    fds: &mut Vec<OwnedFd>,
) -> Result<usize, Errno> {
    #[repr(C)]
    struct IoVec {
        base: *mut u8,
        len: usize,
    }
    // Room for credentials too: a socket made elsewhere may have been told to deliver them, and without
    // room for both the descriptors would be cut.
    let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(limits::MAX_FDS), ScmCredentials(1))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let vector = IoVec { base: spare.as_mut_ptr().cast(), len: spare.len() };
    // SAFETY: std promises that `IoSliceMut` is ABI-compatible with `iovec`, which `IoVec` spells out. It
    // covers the spare capacity, exclusively borrowed for as long, and only the kernel looks through it:
    // nobody reads the memory before it was written.
    let vector: IoSliceMut<'_> = unsafe { std::mem::transmute::<IoVec, IoSliceMut<'_>>(vector) };
    let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
    let received = rustix::net::recvmsg(sock, &mut [vector], &mut control, flags)?;
    // Owned from here on, so that an error closes them.
    let arrived: Vec<OwnedFd> = control
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => Some(fds),
            _ => None,
        })
        .flatten()
        .collect();
    if received.flags.contains(ReturnFlags::CTRUNC) || arrived.len() > limits::MAX_FDS {
        return Err(Errno::MSGSIZE);
    }
    fds.extend(arrived);
    Ok(received.bytes)
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::UnixStream;

    use rustix::io::FdFlags;

    use super::*;

    fn pair() -> (Carrier, Carrier) {
        let (a, b) = UnixStream::pair().unwrap();
        (Carrier::socket(Kind::Unix, a.into()), Carrier::socket(Kind::Unix, b.into()))
    }

    fn piped() -> (Carrier, std::io::PipeReader, std::io::PipeWriter) {
        let (read, feed) = std::io::pipe().unwrap();
        let (drain, write) = std::io::pipe().unwrap();
        for pipe in [read.as_fd(), write.as_fd()] {
            rustix::io::ioctl_fionbio(pipe, true).unwrap();
        }
        let carrier = Carrier::split(Kind::Stdio, End::Pipe(read.into()), End::Pipe(write.into())).unwrap();
        (carrier, drain, feed)
    }

    #[test]
    fn descriptors_travel_with_the_first_byte() {
        let (a, b) = pair();
        assert!(a.passes_descriptors());
        let mut pipes: Vec<_> = (0..limits::MAX_FDS).map(|_| std::io::pipe().unwrap()).collect();
        let fds: Vec<_> = pipes.iter().map(|(_, writer)| writer.as_fd()).collect();
        assert_eq!(a.write(&[IoSlice::new(b"ab"), IoSlice::new(b"c")], &fds), Ok(3));
        let (mut buffer, mut arrived) = (Vec::with_capacity(1), Vec::new());
        assert_eq!(b.read(&mut buffer, usize::MAX, Some(&mut arrived)), Ok(1));
        assert_eq!(arrived.len(), limits::MAX_FDS);
        buffer.reserve_exact(64);
        assert_eq!(b.read(&mut buffer, usize::MAX, Some(&mut arrived)), Ok(2));
        assert_eq!((&buffer[..], arrived.len()), (&b"abc"[..], limits::MAX_FDS));
        for (fd, (reader, _)) in arrived.into_iter().zip(&mut pipes) {
            assert!(rustix::io::fcntl_getfd(&fd).unwrap().contains(FdFlags::CLOEXEC));
            rustix::io::write(&fd, b"!").unwrap();
            assert_eq!(reader.read(&mut [0; 1]).unwrap(), 1);
        }
    }

    #[test]
    fn too_many_descriptors_are_an_error_on_both_sides_and_leave_none_open() {
        let (a, b) = pair();
        let (reader, _writer) = std::io::pipe().unwrap();
        let five = [reader.as_fd(); limits::MAX_FDS + 1];
        assert_eq!(a.write(&[IoSlice::new(b"x")], &five), Err(Errno::INVAL));
        assert_eq!(a.write(&[IoSlice::new(b"")], &five[..1]), Err(Errno::INVAL));
        assert_eq!(b.read(&mut Vec::with_capacity(8), 8, None), Err(Errno::AGAIN), "nothing was sent");

        // A sender without manners.
        let Ends::Socket { sock, .. } = &a.ends else { unreachable!() };
        let mut space = [MaybeUninit::uninit(); cmsg_space!(ScmRights(limits::MAX_FDS + 1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        assert!(control.push(SendAncillaryMessage::ScmRights(&five)));
        assert_eq!(send(sock, &[IoSlice::new(b"x")], &mut control), Ok(1));
        let before = shares_of(&reader);
        let (mut buffer, mut arrived) = (Vec::with_capacity(8), Vec::new());
        assert_eq!(b.read(&mut buffer, usize::MAX, Some(&mut arrived)), Err(Errno::MSGSIZE));
        assert!(arrived.is_empty());
        assert_eq!(shares_of(&reader), before);
    }

    /// How many descriptors of this process are the pipe `of`: unlike a count of all, not disturbed by
    /// other tests.
    fn shares_of(of: &impl AsFd) -> usize {
        let inode = rustix::fs::fstat(of).unwrap().st_ino;
        let name = format!("pipe:[{inode}]");
        let links = std::fs::read_dir("/proc/self/fd").unwrap().flatten();
        links.filter(|entry| std::fs::read_link(entry.path()).is_ok_and(|to| to.to_str() == Some(&name))).count()
    }

    #[test]
    fn descriptors_nobody_asked_for_never_enter() {
        let (a, b) = pair();
        let (reader, _writer) = std::io::pipe().unwrap();
        let before = shares_of(&reader);
        assert_eq!(a.write(&[IoSlice::new(b"x")], &[reader.as_fd()]), Ok(1));
        let mut buffer = Vec::with_capacity(8);
        assert_eq!(b.read(&mut buffer, usize::MAX, None), Ok(1));
        assert_eq!(shares_of(&reader), before);
    }

    #[test]
    fn pipes_carry_bytes_and_no_descriptors() {
        let (carrier, mut drain, mut feed) = piped();
        assert!(!carrier.passes_descriptors());
        assert_eq!(carrier.credentials().unwrap(), None);
        assert_eq!(carrier.write(&[IoSlice::new(b"x")], &[feed.as_fd()]), Err(Errno::OPNOTSUPP));
        assert_eq!(carrier.write(&[IoSlice::new(b"out")], &[]), Ok(3));
        let mut three = [0; 3];
        drain.read_exact(&mut three).unwrap();
        assert_eq!(&three, b"out");
        let mut buffer = Vec::with_capacity(8);
        assert_eq!(carrier.read(&mut buffer, usize::MAX, None), Err(Errno::AGAIN));
        feed.write_all(b"in").unwrap();
        assert_eq!(carrier.read(&mut buffer, usize::MAX, Some(&mut Vec::new())), Ok(2));
        drop(feed);
        assert_eq!(carrier.read(&mut buffer, usize::MAX, None), Ok(0));
    }

    #[test]
    fn one_descriptor_tells_of_both_pipes() {
        let (carrier, _drain, mut feed) = piped();
        let ready = |interest| {
            let outer = carrier.watch(interest);
            let mut fds = [rustix::event::PollFd::new(&carrier, rustix::event::PollFlags::IN)];
            !outer.is_empty()
                && rustix::event::poll(&mut fds, Some(&crate::os::poller::timespec(Default::default()))) == Ok(1)
        };
        assert!(!ready(READ));
        assert!(ready(READ | WRITE));
        assert!(!ready(READ), "what is watched can be taken back");
        feed.write_all(b"x").unwrap();
        assert!(ready(READ));
        assert!(!ready(Interest::empty()));
    }
}
