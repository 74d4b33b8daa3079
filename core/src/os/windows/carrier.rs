//! What moves a connection's bytes: one end of a pipe.

use std::io::IoSlice;
use std::ops::Range;
use std::os::windows::io::{AsHandle, AsRawHandle, OwnedHandle};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use windows_sys::Win32::Storage::FileSystem::ReadFile;

use super::event::Event;
use super::overlapped::Overlapped;
use super::poller::{AsFd, BorrowedFd, Interest};
use super::writer::Writer;
use super::{BorrowedDescriptor, Descriptor, Errno, pipe};
use crate::api::info::Credentials;
use crate::error::{Code, Error, Result};

/// Read at a time.
const CHUNK: usize = 64 * 1024;

/// Which address form the carrier came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Pipe,
    Inproc,
}

impl Kind {
    /// As [`Info::carrier`](crate::Info::carrier) tells it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Kind::Pipe => "pipe",
            Kind::Inproc => "inproc",
        }
    }
}

/// The bytes' way to the other side and back. Never waits: what cannot be done at once is `AGAIN`.
///
/// Dropping it closes it, once what was written has arrived or the other side is gone. What is still on its way when
/// the process ends is lost.
#[derive(Debug)]
pub(crate) struct Carrier {
    kind: Kind,
    serving: bool,
    pipe: Arc<OwnedHandle>,
    reading: Mutex<Reading>,
    /// Set while there is something to read, the end included.
    readable: Arc<Event>,
    writer: Writer,
    writable: Arc<Event>,
}

/// A read that is always under way, unless what it brought was not taken yet.
#[derive(Debug)]
struct Reading {
    operation: Overlapped,
    /// The system writes here while the operation is under way.
    bytes: Box<[u8]>,
    /// What of `bytes` is there and was not taken.
    there: Range<usize>,
    /// Nothing more comes.
    end: Option<Result<(), Errno>>,
}

impl Reading {
    /// Begins to read.
    #[allow(unsafe_code)]
    fn begin(&mut self, pipe: &OwnedHandle) {
        let bytes = self.bytes.as_mut_ptr();
        let begun = self.operation.begin(|block| {
            // SAFETY: the handle is open, and `bytes` has as much room as said. Both it and the block stay where they
            // are, untouched, until the operation has ended, which `Carrier::drop` sees to.
            unsafe { ReadFile(pipe.as_raw_handle(), bytes, CHUNK as u32, std::ptr::null_mut(), block) }
        });
        if let Err(errno) = begun {
            self.ended(errno);
        }
    }

    fn ended(&mut self, errno: Errno) {
        self.end.get_or_insert(if errno.is_end() { Ok(()) } else { Err(errno) });
    }

    /// Sees to it that there is something to take, or the end.
    fn fetch(&mut self, pipe: &OwnedHandle) -> Result<(), Errno> {
        while self.there.is_empty() && self.end.is_none() {
            match self.operation.poll(pipe) {
                None => return Err(Errno::AGAIN),
                // Who writes nothing sends nothing.
                Some(Ok(0)) => self.begin(pipe),
                Some(Ok(n)) => self.there = 0..n,
                // The thread that began it has ended. Nothing was read.
                Some(Err(Errno::ABORTED)) => self.begin(pipe),
                Some(Err(errno)) => self.ended(errno),
            }
        }
        Ok(())
    }
}

impl Carrier {
    /// Over one end of a connected pipe: the server's, if `serving`.
    pub(super) fn over(kind: Kind, pipe: OwnedHandle, serving: bool) -> Result<Carrier> {
        let failed = |e| Error::os("preparing a pipe", e);
        let pipe = Arc::new(pipe);
        let readable = Arc::new(Event::new(false).map_err(failed)?);
        let writable = Arc::new(Event::new(true).map_err(failed)?);
        let writer = Writer::new(pipe.clone(), writable.clone()).map_err(failed)?;
        let operation = Overlapped::new(readable.clone());
        let mut reading = Reading { operation, bytes: vec![0; CHUNK].into(), there: 0..0, end: None };
        reading.begin(&pipe);
        Ok(Carrier { kind, serving, pipe, reading: Mutex::new(reading), readable, writer, writable })
    }

    /// Both ends of a stream inside this process.
    pub(crate) fn pair(kind: Kind) -> Result<(Carrier, Carrier)> {
        let (server, client) = pipe::pair()?;
        Ok((Carrier::over(kind, client, false)?, Carrier::over(kind, server, true)?))
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// The process at the other end. Users have no numbers here; who gets there is the owner of the pipe.
    pub(crate) fn credentials(&self) -> Result<Option<Credentials>> {
        let pid = pipe::peer(&self.pipe, self.serving)
            .map_err(|e| Error::new(Code::PermissionDenied, format!("Windows does not say who is there: {e:?}")))?;
        Ok(Some(Credentials { pid: pid.cast_signed(), uid: u32::MAX, gid: u32::MAX }))
    }

    pub(crate) fn passes_descriptors(&self) -> bool {
        false
    }

    /// What to wait for at the carrier ([`AsFd`]) in order to learn of `interest`.
    pub(crate) fn watch(&self, interest: Interest) -> Interest {
        interest
    }

    /// Reads at most `most` bytes into the spare capacity of `buffer`; 0 is the end of the stream.
    pub(crate) fn read(
        &self,
        buffer: &mut Vec<u8>,
        most: usize,
        _fds: Option<&mut Vec<Descriptor>>,
    ) -> Result<usize, Errno> {
        let mut reading = self.reading();
        reading.fetch(&self.pipe)?;
        let n = most.min(buffer.capacity() - buffer.len()).min(reading.there.len());
        if let (true, Some(end)) = (reading.there.is_empty(), reading.end) {
            return end.map(|()| 0);
        }
        let at = reading.there.start;
        buffer.extend_from_slice(&reading.bytes[at..at + n]);
        reading.there.start += n;
        if reading.there.is_empty() && reading.end.is_none() {
            reading.begin(&self.pipe);
        }
        Ok(n)
    }

    /// Writes what the carrier takes at once. `OPNOTSUPP` with descriptors.
    pub(crate) fn write(&self, slices: &[IoSlice<'_>], fds: &[BorrowedDescriptor<'_>]) -> Result<usize, Errno> {
        if !fds.is_empty() {
            return Err(Errno::OPNOTSUPP);
        }
        self.writer.write(slices)
    }

    /// Ends both directions for this side and wakes who waits at it. The other side learns of it when the carrier is
    /// dropped.
    pub(crate) fn shut(&self) {
        let mut reading = self.reading();
        reading.operation.cancel(&self.pipe);
        reading.there = 0..0;
        reading.end = Some(Ok(()));
        self.readable.set();
        self.writer.end();
    }

    fn reading(&self) -> MutexGuard<'_, Reading> {
        self.reading.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Carrier {
    fn drop(&mut self) {
        self.reading().operation.cancel(&self.pipe);
    }
}

impl AsFd for Carrier {
    fn as_fd(&self) -> BorrowedFd<'_> {
        BorrowedFd { read: self.readable.as_handle(), write: Some(self.writable.as_handle()) }
    }
}
