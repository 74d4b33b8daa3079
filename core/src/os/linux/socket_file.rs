//! Owning a socket path: one live server per path, and no file harmed that is not ours.
//!
//! A lock file beside the socket is held with `flock` for the server's life and never unlinked, so
//! losing and winning are decided by the kernel and end with the process. Only the holder may look
//! at an existing socket file. The new socket is bound under a private name with mode 0600, listens,
//! and is then linked into place: whoever sees the path can connect to it.

use std::ffi::OsString;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, FlockOperation, Mode, OFlags, Stat};
use rustix::io::Errno;
use rustix::net::SocketAddrUnix;

use super::domain;
use crate::error::{Code, Error, Result};
use crate::os::fork;

/// Only the owner may connect.
const MODE: Mode = Mode::from_raw_mode(0o600);

#[derive(Debug)]
pub(crate) struct SocketFile {
    dir: OwnedFd,
    name: OsString,
    device: u64,
    inode: u64,
    stamp: fork::Stamp,
    /// Released after the file is gone.
    _lock: Lock,
}

/// The held lock. Released explicitly, since a child forked meanwhile shares the descriptor, and closing
/// it here would not be enough.
#[derive(Debug)]
struct Lock {
    file: OwnedFd,
    stamp: fork::Stamp,
}

impl Drop for Lock {
    fn drop(&mut self) {
        if self.stamp.current() {
            let _ = rustix::fs::flock(&self.file, FlockOperation::Unlock);
        }
    }
}

/// Binds and listens at `path`.
pub(crate) fn bind(path: &Path, backlog: i32) -> Result<(OwnedFd, SocketFile)> {
    let name = path.file_name().ok_or_else(|| Error::new(Code::InvalidAddress, "the path names no file"))?.to_owned();
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
    let dir = rustix::fs::open(parent, flags, Mode::empty())
        .map_err(|e| Error::os(format_args!("opening the directory {}", parent.display()), e))?;
    let lock = lock(&dir, &name, path)?;
    clear_stale(&dir, &name, path)?;

    // Short and unique in the directory: the lock file's inode names this socket path.
    let inode = rustix::fs::fstat(&lock.file).map_err(|e| Error::os("looking at the lock file", e))?.st_ino;
    let private = format!(".hl-{inode:x}");
    remove_if_socket(&dir, &private)?;
    let result = listen_at(&dir, &private, backlog).and_then(|sock| {
        publish(&dir, &private, &name, path)?;
        Ok(sock)
    });
    // Under the lock the private name is nobody else's; after `publish` it is one name too many.
    let _ = rustix::fs::unlinkat(&dir, &private, AtFlags::empty());
    let sock = result?;
    let stat = look(&dir, &name)?.ok_or_else(|| Error::new(Code::Io, "the socket vanished while it was made"))?;
    let (device, inode) = (stat.st_dev, stat.st_ino);
    Ok((sock, SocketFile { dir, name, device, inode, stamp: fork::Stamp::now(), _lock: lock }))
}

fn lock(dir: &OwnedFd, name: &OsString, path: &Path) -> Result<Lock> {
    let mut lock_name = PathBuf::from(name);
    if lock_name.extension().is_some_and(|e| e == "sock") {
        lock_name.set_extension("lock");
    } else {
        lock_name.as_mut_os_string().push(".lock");
    }
    let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::openat(dir, &lock_name, flags, MODE)
        .map_err(|e| Error::os(format_args!("opening the lock file of {}", path.display()), e))?;
    match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(Lock { file, stamp: fork::Stamp::now() }),
        Err(Errno::WOULDBLOCK) => Err(in_use(path)),
        Err(e) => Err(Error::os("locking the lock file", e)),
    }
}

/// Removes a socket nobody serves. The lock is held, but a server that knows nothing of the lock
/// may live here, so the socket is tried first.
fn clear_stale(dir: &OwnedFd, name: &OsString, path: &Path) -> Result<()> {
    let Some(stat) = look(dir, name)? else { return Ok(()) };
    if FileType::from_raw_mode(stat.st_mode) != FileType::Socket {
        return Err(Error::new(Code::NotASocket, format!("{} is a file of another kind", path.display())));
    }
    let probe = domain::new_stream()?;
    let address = SocketAddrUnix::new(path).map_err(|e| Error::os("the socket path", e))?;
    match rustix::net::connect(&probe, &address) {
        Err(Errno::NOENT) => return Ok(()),
        Err(Errno::CONNREFUSED) => {}
        Err(e @ (Errno::ACCESS | Errno::PERM)) => return Err(Error::os(format_args!("trying {}", path.display()), e)),
        // Somebody answers, has a full backlog, or speaks another socket type.
        _ => return Err(in_use(path)),
    }
    match look(dir, name)? {
        Some(now) if (now.st_dev, now.st_ino) == (stat.st_dev, stat.st_ino) => {
            rustix::fs::unlinkat(dir, name, AtFlags::empty())
                .map_err(|e| Error::os(format_args!("removing the stale socket {}", path.display()), e))
        }
        Some(_) => Err(in_use(path)),
        None => Ok(()),
    }
}

fn listen_at(dir: &OwnedFd, private: &str, backlog: i32) -> Result<OwnedFd> {
    let sock = domain::new_stream()?;
    // On Linux a bound socket file gets the mode of the socket's own inode, less the umask, so the
    // file is closed to others from its first instant and the umask is left alone.
    rustix::fs::fchmod(&sock, MODE).map_err(|e| Error::os("closing the socket to others", e))?;
    // Through the descriptor, so that a long directory does not count towards the path limit.
    let address = SocketAddrUnix::new(format!("/proc/self/fd/{}/{private}", dir.as_raw_fd()))
        .map_err(|e| Error::os("the socket path", e))?;
    rustix::net::bind(&sock, &address).map_err(|e| Error::os("binding the socket", e))?;
    let stat = rustix::fs::statat(dir, private, AtFlags::SYMLINK_NOFOLLOW)
        .map_err(|e| Error::os("looking at the socket", e))?;
    if stat.st_mode & 0o7777 != MODE.as_raw_mode() {
        rustix::fs::chmodat(dir, private, MODE, AtFlags::empty())
            .map_err(|e| Error::os("setting the socket's mode", e))?;
    }
    rustix::net::listen(&sock, backlog).map_err(|e| Error::os("listening", e))?;
    Ok(sock)
}

fn publish(dir: &OwnedFd, private: &str, name: &OsString, path: &Path) -> Result<()> {
    match rustix::fs::linkat(dir, private, dir, name, AtFlags::empty()) {
        Ok(()) => Ok(()),
        Err(Errno::EXIST) => Err(in_use(path)),
        Err(e) => Err(Error::os(format_args!("putting the socket at {}", path.display()), e)),
    }
}

fn remove_if_socket(dir: &OwnedFd, name: &str) -> Result<()> {
    match look(dir, &OsString::from(name))? {
        Some(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::Socket => {
            rustix::fs::unlinkat(dir, name, AtFlags::empty()).map_err(|e| Error::os("removing an abandoned socket", e))
        }
        _ => Ok(()),
    }
}

fn look(dir: &OwnedFd, name: &OsString) -> Result<Option<Stat>> {
    match rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(stat)),
        Err(Errno::NOENT) => Ok(None),
        Err(e) => Err(Error::os(format_args!("looking at {}", name.display()), e)),
    }
}

fn in_use(path: &Path) -> Error {
    Error::new(Code::AddressInUse, format!("another process serves {}", path.display()))
}

impl Drop for SocketFile {
    /// Removes the file if it is still the one this object made, and only in the process that made it.
    fn drop(&mut self) {
        if !self.stamp.current() {
            return;
        }
        if let Ok(Some(stat)) = look(&self.dir, &self.name)
            && (stat.st_dev, stat.st_ino) == (self.device, self.inode)
        {
            // Nothing is left to do if it fails: the next server treats the file as stale.
            let _ = rustix::fs::unlinkat(&self.dir, &self.name, AtFlags::empty());
        }
    }
}
