//! `stdio:`: the standard input and output of this process as a stream.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::fs::{FileType, Mode, OFlags};

use super::inherited;
use crate::api::options::Common;
use crate::error::{Code, Error, Result};
use crate::os::carrier::{Carrier, End, Kind};

static TAKEN: AtomicBool = AtomicBool::new(false);

/// Takes both over: one socket (what `spawn:` gives), or two sockets or pipes (what other launchers give).
///
/// From then on descriptor 0 is the null device and descriptor 1 is standard error, here and in programs
/// this process starts, so nothing that prints or reads can get between the frames. `address_in_use` the
/// second time, `not_a_socket` for a terminal or a file.
pub(crate) fn take(options: &Common) -> Result<Carrier> {
    if TAKEN.swap(true, Ordering::AcqRel) {
        return Err(Error::new(Code::AddressInUse, "stdio: is in use, or was, in this process"));
    }
    let taken = take_once(options);
    if taken.is_err() {
        TAKEN.store(false, Ordering::Release);
    }
    taken
}

fn take_once(options: &Common) -> Result<Carrier> {
    let input = inherited::duplicate_fd(rustix::stdio::stdin(), &"standard input")?;
    let output = inherited::duplicate_fd(rustix::stdio::stdout(), &"standard output")?;
    let one = inherited::same(&input, &output);
    // Where standard error goes to the carrier as well (`2>&1`), stray prints have no place to go.
    let quiet = inherited::same(&input, rustix::stdio::stderr()) || inherited::same(&output, rustix::stdio::stderr());
    let input = end(input, "standard input", OFlags::RDONLY, options)?;
    let output = end(output, "standard output", OFlags::WRONLY, options)?;
    let carrier = match (input, output) {
        (End::Socket(sock), End::Socket(_)) if one => Carrier::socket(Kind::Stdio, sock),
        (input, output) => Carrier::split(Kind::Stdio, input, output)?,
    };
    let moved = |e| Error::os("moving the standard streams out of the way", e);
    let null = inherited::null(OFlags::RDWR)?;
    rustix::stdio::dup2_stdin(&null).map_err(moved)?;
    if quiet {
        rustix::stdio::dup2_stderr(&null).map_err(moved)?;
    }
    // A closed standard error swallows what is printed, as it did before.
    if rustix::stdio::dup2_stdout(rustix::stdio::stderr()).is_err() {
        rustix::stdio::dup2_stdout(&null).map_err(moved)?;
    }
    Ok(carrier)
}

fn end(fd: OwnedFd, what: &'static str, direction: OFlags, options: &Common) -> Result<End> {
    let looking = |e| Error::os(format_args!("looking at {what}"), e);
    let stat = rustix::fs::fstat(&fd).map_err(looking)?;
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Socket => {
            if inherited::listens(&fd, &what)? {
                return Err(Error::new(Code::InvalidArgument, format!("{what} is a listening socket")));
            }
            inherited::connected(&fd, &what, options)?;
            Ok(End::Socket(fd))
        }
        FileType::Fifo => {
            let mode = rustix::fs::fcntl_getfl(&fd).map_err(looking)? & OFlags::RWMODE;
            if mode != direction && mode != OFlags::RDWR {
                return Err(Error::new(Code::InvalidArgument, format!("{what} is the wrong end of a pipe")));
            }
            non_blocking(fd, direction).map(End::Pipe).map_err(looking)
        }
        _ => Err(Error::new(
            Code::NotASocket,
            format!("{what} is no socket and no pipe; a program that serves stdio: is started by another (spawn:)"),
        )),
    }
}

/// The pipe, non-blocking. Opened anew, since the flag would hold for all who share the open file, the
/// launcher's shell perhaps; where it cannot be opened (no /proc), it is set on the shared one.
fn non_blocking(pipe: OwnedFd, direction: OFlags) -> rustix::io::Result<OwnedFd> {
    use std::os::fd::AsRawFd;
    let flags = direction | OFlags::NONBLOCK | OFlags::CLOEXEC;
    if let Ok(own) = rustix::fs::open(format!("/proc/self/fd/{}", pipe.as_raw_fd()), flags, Mode::empty()) {
        return Ok(own);
    }
    rustix::io::ioctl_fionbio(&pipe, true)?;
    Ok(pipe)
}
