//! Errors of the system by the names that the rest of the crate has for them.

use std::io;

use windows_sys::Win32::Foundation as w;
use windows_sys::Win32::Networking::WinSock as s;

/// An error number of the system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Errno(u32);

impl Errno {
    /// Nothing to be had at once.
    pub(crate) const AGAIN: Errno = Errno(s::WSAEWOULDBLOCK as u32);
    /// Never met: no signal ends a wait here.
    pub(crate) const INTR: Errno = Errno(s::WSAEINTR as u32);
    pub(crate) const ABORTED: Errno = Errno(w::ERROR_OPERATION_ABORTED);
    pub(crate) const ACCESS: Errno = Errno(w::ERROR_ACCESS_DENIED);
    pub(crate) const ADDRINUSE: Errno = Errno(s::WSAEADDRINUSE as u32);
    pub(crate) const BUSY: Errno = Errno(w::ERROR_PIPE_BUSY);
    pub(crate) const CONNABORTED: Errno = Errno(s::WSAECONNABORTED as u32);
    pub(crate) const CONNREFUSED: Errno = Errno(s::WSAECONNREFUSED as u32);
    pub(crate) const CONNRESET: Errno = Errno(s::WSAECONNRESET as u32);
    pub(crate) const INVAL: Errno = Errno(w::ERROR_INVALID_PARAMETER);
    pub(crate) const IO: Errno = Errno(w::ERROR_IO_DEVICE);
    pub(crate) const MFILE: Errno = Errno(w::ERROR_TOO_MANY_OPEN_FILES);
    pub(crate) const NAMETOOLONG: Errno = Errno(w::ERROR_FILENAME_EXCED_RANGE);
    pub(crate) const NFILE: Errno = Errno(w::ERROR_NO_SYSTEM_RESOURCES);
    pub(crate) const NOBUFS: Errno = Errno(w::ERROR_NOT_ENOUGH_QUOTA);
    pub(crate) const NOENT: Errno = Errno(w::ERROR_FILE_NOT_FOUND);
    pub(crate) const NOMEM: Errno = Errno(w::ERROR_NOT_ENOUGH_MEMORY);
    pub(crate) const NOTCONN: Errno = Errno(w::ERROR_PIPE_NOT_CONNECTED);
    pub(crate) const NOTDIR: Errno = Errno(w::ERROR_PATH_NOT_FOUND);
    pub(crate) const OPNOTSUPP: Errno = Errno(w::ERROR_NOT_SUPPORTED);
    pub(crate) const PERM: Errno = Errno(w::ERROR_PRIVILEGE_NOT_HELD);
    pub(crate) const PIPE: Errno = Errno(w::ERROR_NO_DATA);
    pub(crate) const PIPE_CONNECTED: Errno = Errno(w::ERROR_PIPE_CONNECTED);
    pub(crate) const ROFS: Errno = Errno(w::ERROR_WRITE_PROTECT);
    pub(crate) const TIMEDOUT: Errno = Errno(w::ERROR_SEM_TIMEOUT);
    const BROKEN_PIPE: Errno = Errno(w::ERROR_BROKEN_PIPE);
    const HANDLE_EOF: Errno = Errno(w::ERROR_HANDLE_EOF);
    pub(super) const PENDING: Errno = Errno(w::ERROR_IO_PENDING);

    /// What the call that just failed on this thread failed with.
    pub(super) fn last() -> Errno {
        Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO)
    }

    pub(super) const fn from_raw(number: u32) -> Errno {
        Errno(number)
    }

    pub(crate) fn from_io_error(error: &io::Error) -> Option<Errno> {
        error.raw_os_error().map(|number| Errno(number.cast_unsigned()))
    }

    /// Whether it says that the other end of a pipe is closed.
    pub(super) fn is_end(self) -> bool {
        matches!(self, Errno::PIPE | Errno::BROKEN_PIPE | Errno::NOTCONN | Errno::HANDLE_EOF)
    }
}

impl From<Errno> for io::Error {
    fn from(errno: Errno) -> io::Error {
        io::Error::from_raw_os_error(errno.0.cast_signed())
    }
}
