//! The error of every fallible call.

mod table;

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::sync::Arc;

use bytes::Bytes;

pub use table::Code;

/// Result of a hostlane call.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl PartialOrd for Code {
    fn partial_cmp(&self, other: &Code) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Code {
    /// By number.
    fn cmp(&self, other: &Code) -> std::cmp::Ordering {
        self.number().cmp(&other.number())
    }
}

/// Whether the other side may have seen what a failed call sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Sent {
    /// Provably not: no byte of it, or not all of it, left this process. Safe to repeat.
    No,
    /// It may have been received and acted upon. Repeat only what is idempotent.
    Maybe,
}

impl Sent {
    /// `"no"` or `"maybe"`, the spelling every language uses.
    pub const fn name(self) -> &'static str {
        match self {
            Sent::No => "no",
            Sent::Maybe => "maybe",
        }
    }
}

/// What went wrong: a [`Code`] for programs, a text for people.
///
/// Cheap to clone: one failure may end many waiting calls with the same error.
#[derive(Clone)]
pub struct Error(Arc<Inner>);

struct Inner {
    code: Code,
    message: String,
    sent: Sent,
    source: Option<io::Error>,
    /// What a program on the other side failed with.
    remote: Option<(u32, Bytes)>,
}

/// Text of the other side's on one line: what would move a terminal's cursor is escaped, and nothing else.
pub(crate) fn printable(text: &str) -> String {
    text.chars().fold(String::with_capacity(text.len()), |mut shown, c| {
        if c.is_control() {
            shown.extend(c.escape_default())
        } else {
            shown.push(c)
        }
        shown
    })
}

impl Error {
    /// An error of `code`, explained for people by `message`.
    pub fn new(code: Code, message: impl Into<String>) -> Error {
        Error(Arc::new(Inner { code, message: message.into(), sent: Sent::No, source: None, remote: None }))
    }

    /// The program on the other side failed a call.
    pub(crate) fn remote(status: u32, data: Bytes) -> Error {
        let shown = printable(&String::from_utf8_lossy(&data[..data.len().min(256)]));
        let message = format!("the program on the other side answered with the error {status}: {shown}");
        let code = Code::RemoteError;
        Error(Arc::new(Inner { code, message, sent: Sent::Maybe, source: None, remote: Some((status, data)) }))
    }

    /// An operating-system error, translated to the code it has here.
    pub(crate) fn os(doing: impl fmt::Display, errno: crate::os::Errno) -> Error {
        use crate::os::Errno;
        let code = match errno {
            Errno::CONNREFUSED => Code::ConnectionRefused,
            Errno::NOENT | Errno::NOTDIR => Code::NotFound,
            Errno::ADDRINUSE => Code::AddressInUse,
            Errno::ACCESS | Errno::PERM | Errno::ROFS => Code::PermissionDenied,
            Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM => Code::TooManyFiles,
            Errno::NAMETOOLONG => Code::AddressTooLong,
            Errno::TIMEDOUT => Code::Timeout,
            Errno::PIPE | Errno::CONNRESET | Errno::NOTCONN | Errno::CONNABORTED => Code::ConnectionLost,
            Errno::INTR => Code::Interrupted,
            _ => Code::Io,
        };
        let source = io::Error::from(errno);
        let message = format!("{doing}: {source}");
        Error(Arc::new(Inner { code, message, sent: Sent::No, source: Some(source), remote: None }))
    }

    /// The same error, saying whether what was sent may have arrived.
    pub(crate) fn with_sent(&self, sent: Sent) -> Error {
        if self.0.sent == sent {
            return self.clone();
        }
        let Inner { code, message, remote, .. } = &*self.0;
        Error(Arc::new(Inner { code: *code, message: message.clone(), sent, source: None, remote: remote.clone() }))
    }

    /// The number and name that are the same in every language.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// The explanation for people. Never parse it.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Whether the same call may succeed later without a change in the program.
    pub fn retryable(&self) -> bool {
        self.0.code.retryable()
    }

    /// Whether what the failed call sent may have arrived.
    pub fn sent(&self) -> Sent {
        self.0.sent
    }

    /// For `remote_error`: the code the program on the other side failed the call with.
    pub fn status(&self) -> Option<u32> {
        self.0.remote.as_ref().map(|(status, _)| *status)
    }

    /// For `remote_error`: the bytes it gave along; empty otherwise.
    pub fn data(&self) -> &[u8] {
        self.0.remote.as_ref().map_or(&[], |(_, data)| data)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("code", &self.0.code)
            .field("message", &self.0.message)
            .field("sent", &self.0.sent)
            .finish()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.code.name(), self.0.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(|e| e as _)
    }
}

impl From<Infallible> for Error {
    fn from(never: Infallible) -> Error {
        match never {}
    }
}

impl From<Error> for io::Error {
    fn from(error: Error) -> io::Error {
        use io::ErrorKind as K;
        let kind = match error.code() {
            Code::Timeout => K::TimedOut,
            Code::ConnectionRefused | Code::Refused => K::ConnectionRefused,
            Code::ConnectionLost => K::ConnectionReset,
            Code::PeerClosed | Code::Truncated => K::UnexpectedEof,
            Code::NotFound => K::NotFound,
            Code::AddressInUse => K::AddrInUse,
            Code::PermissionDenied | Code::AuthenticationFailed => K::PermissionDenied,
            Code::InvalidArgument | Code::InvalidAddress | Code::AddressTooLong => K::InvalidInput,
            Code::Interrupted => K::Interrupted,
            Code::Unsupported => K::Unsupported,
            _ => K::Other,
        };
        io::Error::new(kind, error)
    }
}
