//! Windows: named pipes, and event objects where Linux has descriptors.
//!
//! A pipe is used overlapped only, so every wait has a deadline and can be woken: a read is always under way into a
//! buffer of the carrier's, and a write that does not fit finishes behind the caller's back.

pub(crate) mod carrier;
pub(crate) mod cpu;
pub(crate) mod dial;
mod errno;
mod event;
pub(crate) mod fork;
pub(crate) mod listen;
mod overlapped;
mod pipe;
pub(crate) mod poller;
pub(crate) mod quiet_thread;
mod security;
mod wait;
mod writer;

use windows_sys::Win32::Security::Cryptography::{BCRYPT_USE_SYSTEM_PREFERRED_RNG, BCryptGenRandom};

pub(crate) use self::errno::Errno;
pub(crate) use self::poller::{AsFd, BorrowedFd};

/// A handle, which no carrier of this system passes: `fds` is never agreed.
pub(crate) type Descriptor = std::os::windows::io::OwnedHandle;
pub(crate) type BorrowedDescriptor<'a> = std::os::windows::io::BorrowedHandle<'a>;

pub(crate) fn borrow(descriptor: &Descriptor) -> BorrowedDescriptor<'_> {
    std::os::windows::io::AsHandle::as_handle(descriptor)
}

/// Fills `bytes` with what nobody can guess.
#[allow(unsafe_code)]
pub(super) fn fill_random(bytes: &mut [u8]) -> Result<(), Errno> {
    let len = u32::try_from(bytes.len()).map_err(|_| Errno::INVAL)?;
    // SAFETY: without an algorithm handle the system's generator is meant; it writes `len` bytes, which `bytes` has.
    let status =
        unsafe { BCryptGenRandom(std::ptr::null_mut(), bytes.as_mut_ptr(), len, BCRYPT_USE_SYSTEM_PREFERRED_RNG) };
    if status < 0 { Err(Errno::IO) } else { Ok(()) }
}

/// Users have no numbers here. A pipe lets its owner in and nobody else.
pub(super) fn own_uids() -> Option<Vec<u32>> {
    None
}

/// Opens a file for reading. `None` for a symbolic link, or what else stands for another place.
#[cfg(feature = "schema")]
pub(crate) fn open_unfollowed(path: &std::path::Path) -> std::io::Result<Option<std::fs::File>> {
    use std::os::windows::fs::OpenOptionsExt;

    use windows_sys::Win32::Storage::FileSystem::FILE_FLAG_OPEN_REPARSE_POINT;

    let file = std::fs::File::options().read(true).custom_flags(FILE_FLAG_OPEN_REPARSE_POINT).open(path)?;
    let link = file.metadata()?.file_type().is_symlink();
    Ok((!link).then_some(file))
}
