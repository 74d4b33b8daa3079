//! A connected socket, and how it waits.

use std::io::{self, IoSlice, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};

/// How long a poller tries before it sleeps.
const POLL: Duration = Duration::from_micros(50);

/// Moves bytes.
pub trait Carrier {
    /// Takes over a connected socket.
    fn new(stream: UnixStream) -> io::Result<Self>
    where
        Self: Sized;

    /// Waits for bytes; 0 is the end.
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize>;

    /// Waits until some of the bytes are taken.
    fn write(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize>;
}

/// Sleeps in the kernel whenever there is nothing to do.
pub struct Blocking(UnixStream);

impl Carrier for Blocking {
    fn new(stream: UnixStream) -> io::Result<Blocking> {
        Ok(Blocking(stream))
    }

    #[inline]
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }

    #[inline]
    fn write(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.0.write_vectored(parts)
    }
}

/// Tries again for a while before it sleeps.
pub struct Polling(UnixStream);

impl Polling {
    fn attempt(
        &mut self,
        flags: PollFlags,
        mut attempt: impl FnMut(&mut UnixStream) -> io::Result<usize>,
    ) -> io::Result<usize> {
        loop {
            let start = Instant::now();
            loop {
                match attempt(&mut self.0) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => std::hint::spin_loop(),
                    outcome => return outcome,
                }
                if start.elapsed() >= POLL {
                    break;
                }
            }
            poll(&mut [PollFd::new(&self.0, flags)], None)?;
        }
    }
}

impl Carrier for Polling {
    fn new(stream: UnixStream) -> io::Result<Polling> {
        stream.set_nonblocking(true)?;
        Ok(Polling(stream))
    }

    #[inline]
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.attempt(PollFlags::IN, |stream| stream.read(buffer))
    }

    #[inline]
    fn write(&mut self, parts: &[IoSlice<'_>]) -> io::Result<usize> {
        self.attempt(PollFlags::OUT, |stream| stream.write_vectored(parts))
    }
}
