//! Exit codes: one table, from hostlane's error codes to what a shell sees.

use std::fmt;
use std::io;
use std::process::ExitCode;

use hostlane::{Code, Error};

/// The table as `--help` shows it.
pub(crate) const HELP: &str = "\
Exit codes:
    0  success
    1  nobody there; connection refused, lost, or being drained
    3  transport error; an address in use
   50  permission denied; a secret that is not accepted
   60  schema validation failed
   64  invalid arguments; no secret for an address that demands one
   65  a case of check failed
  124  timeout
  125  hostlane itself failed";

/// What a shell sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Exit {
    Success = 0,
    Connection = 1,
    Transport = 3,
    Permission = 50,
    Schema = 60,
    Usage = 64,
    Violation = 65,
    Timeout = 124,
    Failed = 125,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

impl From<Code> for Exit {
    fn from(code: Code) -> Exit {
        match code {
            Code::ConnectionRefused
            | Code::NotFound
            | Code::ConnectionLost
            | Code::PeerClosed
            | Code::Truncated
            | Code::Refused
            | Code::TooManyHandshakes
            | Code::Draining => Exit::Connection,
            Code::PermissionDenied | Code::UnsafeDirectory | Code::AuthenticationFailed => Exit::Permission,
            Code::Timeout | Code::PeerUnresponsive => Exit::Timeout,
            Code::SchemaViolation | Code::BadSchema => Exit::Schema,
            Code::InvalidArgument
            | Code::InvalidAddress
            | Code::AddressTooLong
            | Code::InvalidUtf8
            | Code::Unsupported
            | Code::InvalidChannel
            | Code::PayloadTooLarge
            | Code::AuthenticationRequired => Exit::Usage,
            Code::WouldBlock | Code::CallEnded => Exit::Transport,
            // What is left of the caller's faults is ours here: the command line is the caller.
            other => match other.number() {
                200..=399 | 500..=599 => Exit::Transport,
                _ => Exit::Failed,
            },
        }
    }
}

/// Why a command ends without success.
#[derive(Debug)]
pub(crate) enum Failure {
    /// hostlane reported it.
    Lane(Error),
    /// The reader of standard output went away, as `head` does; nothing to complain about.
    ReaderLeft,
    /// Standard output cannot be written.
    Output(io::Error),
}

impl Failure {
    /// A value on the command line cannot be used.
    pub(crate) fn usage(message: impl Into<String>) -> Failure {
        Failure::Lane(Error::new(Code::InvalidArgument, message))
    }

    /// A file named on the command line cannot be read.
    pub(crate) fn file(path: &str, error: &io::Error) -> Failure {
        let code = match error.kind() {
            io::ErrorKind::PermissionDenied => Code::PermissionDenied,
            _ => Code::InvalidArgument,
        };
        Failure::Lane(Error::new(code, format!("{path}: {error}")))
    }

    pub(crate) fn exit(&self) -> Exit {
        match self {
            // What a program fails a call with is its own business, but for what hostlane fails it with.
            Failure::Lane(error) => {
                match error.status().and_then(|status| Code::from_number(status.try_into().ok()?)) {
                    Some(code @ (Code::SchemaViolation | Code::BadSchema)) => code.into(),
                    _ => error.code().into(),
                }
            }
            Failure::ReaderLeft => Exit::Success,
            Failure::Output(_) => Exit::Failed,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Lane(error) => error.fmt(f),
            Failure::ReaderLeft => f.write_str("the reader of standard output left"),
            Failure::Output(error) => write!(f, "standard output: {error}"),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Lane(error)
    }
}

/// Shows what clap has to say: help and version are successes, anything else is a usage error.
pub(crate) fn after_parsing(error: &clap::Error) -> ExitCode {
    // Nothing is left to report to when the standard streams are closed.
    let shown = error.print();
    match (error.use_stderr(), shown) {
        (true, _) => Exit::Usage.into(),
        (false, Ok(())) => Exit::Success.into(),
        (false, Err(error)) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Success.into(),
        (false, Err(_)) => Exit::Failed.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every code of the error table and the exit it must give.
    const TABLE: &[(Code, u8)] = &[
        (Code::InvalidArgument, 64),
        (Code::InvalidAddress, 64),
        (Code::AddressTooLong, 64),
        (Code::Closed, 125),
        (Code::InvalidHandle, 125),
        (Code::Forked, 125),
        (Code::InvalidUtf8, 64),
        (Code::Unsupported, 64),
        (Code::Interrupted, 125),
        (Code::Cancelled, 125),
        (Code::InvalidChannel, 64),
        (Code::PayloadTooLarge, 64),
        (Code::WrongDriver, 125),
        (Code::AuthenticationRequired, 64),
        (Code::WouldBlock, 3),
        (Code::CallEnded, 3),
        (Code::ConnectionRefused, 1),
        (Code::NotFound, 1),
        (Code::AddressInUse, 3),
        (Code::PermissionDenied, 50),
        (Code::Timeout, 124),
        (Code::ConnectionLost, 1),
        (Code::PeerClosed, 1),
        (Code::NotASocket, 3),
        (Code::UnsafeDirectory, 50),
        (Code::TooManyFiles, 3),
        (Code::QueueFull, 3),
        (Code::Io, 3),
        (Code::Draining, 1),
        (Code::PeerUnresponsive, 124),
        (Code::BadMagic, 3),
        (Code::FrameTooLarge, 3),
        (Code::Truncated, 1),
        (Code::UnknownChannel, 3),
        (Code::UnknownControl, 3),
        (Code::BadControl, 3),
        (Code::BadHandshake, 3),
        (Code::ProtocolMismatch, 3),
        (Code::VersionMismatch, 3),
        (Code::NoCommonChannel, 3),
        (Code::AuthenticationFailed, 50),
        (Code::Refused, 1),
        (Code::ControlFlood, 3),
        (Code::TooManyHandshakes, 1),
        (Code::ProtocolError, 3),
        (Code::UnknownFrame, 3),
        (Code::CreditExceeded, 3),
        (Code::SchemaViolation, 60),
        (Code::BadSchema, 60),
        (Code::RemoteError, 3),
        (Code::CallAbandoned, 3),
        (Code::Internal, 125),
        (Code::Panic, 125),
    ];

    #[test]
    fn every_error_code_has_its_exit() {
        for &(code, exit) in TABLE {
            assert_eq!(Exit::from(code) as u8, exit, "{}", code.name());
        }
        let in_table: std::collections::BTreeSet<_> = TABLE.iter().map(|(code, _)| code.number()).collect();
        let all: std::collections::BTreeSet<_> = Code::ALL.iter().map(|code| code.number()).collect();
        assert_eq!(in_table, all);
    }
}
