//! Who is at the other end of a socket, by the kernel's word.

use std::ffi::{c_int, c_void};
use std::os::fd::{AsRawFd, OwnedFd};

use crate::api::info::Credentials;
use crate::error::{Code, Error, Result};

/// Asks with `SO_PEERCRED`. An answer that cannot be had is an error, never user 0.
///
/// Asked directly, because the pid of a peer in another pid namespace is 0, which the safe wrapper's
/// type cannot hold.
#[allow(unsafe_code)]
pub(crate) fn of_peer(sock: &OwnedFd) -> Result<Credentials> {
    /// `struct ucred` of Linux.
    #[repr(C)]
    struct UCred {
        pid: i32,
        uid: u32,
        gid: u32,
    }
    const SOL_SOCKET: c_int = 1;
    const SO_PEERCRED: c_int = 17;
    unsafe extern "C" {
        fn getsockopt(sock: c_int, level: c_int, name: c_int, value: *mut c_void, len: *mut u32) -> c_int;
    }
    let mut cred = UCred { pid: 0, uid: u32::MAX, gid: u32::MAX };
    let mut len = size_of::<UCred>() as u32;
    // SAFETY: the descriptor is open for the life of `sock`; `value` and `len` point to a live
    // `UCred` and its size, which is what the kernel writes for this option.
    let status = unsafe { getsockopt(sock.as_raw_fd(), SOL_SOCKET, SO_PEERCRED, (&raw mut cred).cast(), &raw mut len) };
    if status != 0 || len as usize != size_of::<UCred>() || cred.uid == u32::MAX {
        let cause = std::io::Error::last_os_error();
        return Err(Error::new(Code::PermissionDenied, format!("the kernel does not say who is there: {cause}")));
    }
    Ok(Credentials { pid: cred.pid, uid: cred.uid, gid: cred.gid })
}
