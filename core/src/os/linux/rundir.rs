//! The per-user runtime directory where bare names live (protocol.md, "Addresses").

use std::env;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::error::{Code, Error, Result};
use crate::limits;

/// The socket path of a bare name. A listener creates the directory (`create`); both sides refuse
/// one that another user could have prepared.
pub(crate) fn socket_path(name: &str, create: bool) -> Result<PathBuf> {
    let dir = runtime_directory();
    if create {
        match rustix::fs::mkdir(&dir, Mode::RWXU) {
            Ok(()) | Err(Errno::EXIST) => {}
            Err(e) => return Err(Error::os(format_args!("making the directory {}", dir.display()), e)),
        }
    }
    check(&dir)?;
    let path = dir.join(format!("{name}.sock"));
    let len = path.as_os_str().len();
    if len > limits::MAX_SOCKET_PATH {
        let limit = limits::MAX_SOCKET_PATH;
        return Err(Error::new(
            Code::AddressTooLong,
            format!("{} has {len} bytes, the limit is {limit}", path.display()),
        ));
    }
    Ok(path)
}

/// The directory bare names live in: `$XDG_RUNTIME_DIR/hostlane`, or `hostlane-UID` in the temporary
/// directory where that is unset. A listener creates it; it need not exist.
pub fn runtime_directory() -> PathBuf {
    match env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|p| p.is_absolute()) {
        Some(base) => base.join("hostlane"),
        None => env::temp_dir().join(format!("hostlane-{}", rustix::process::geteuid().as_raw())),
    }
}

/// The directory must be ours, no link, and closed to everybody else.
fn check(dir: &Path) -> Result<()> {
    let unsafe_dir = |why: &str| Err(Error::new(Code::UnsafeDirectory, format!("{}: {why}", dir.display())));
    let opened =
        rustix::fs::open(dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty());
    let fd = match opened {
        Ok(fd) => fd,
        Err(Errno::LOOP) => return unsafe_dir("it is a symbolic link"),
        // With NOFOLLOW a link is "not a directory" too.
        Err(Errno::NOTDIR) => return unsafe_dir("it is no directory"),
        Err(e) => return Err(Error::os(format_args!("opening {}", dir.display()), e)),
    };
    let stat = rustix::fs::fstat(&fd).map_err(|e| Error::os("looking at the runtime directory", e))?;
    if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
        return unsafe_dir("it is no directory");
    }
    if stat.st_uid != rustix::process::geteuid().as_raw() {
        return unsafe_dir("it belongs to another user");
    }
    if stat.st_mode & 0o077 != 0 {
        return unsafe_dir("others may enter it; its mode must be 0700");
    }
    Ok(())
}
