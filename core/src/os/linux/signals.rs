//! Keeping signals away from the program, for one call of one thread.

use std::ffi::{c_int, c_void};
use std::ptr;

use rustix::io::Errno;

const SIGPIPE: c_int = 13;
const SIG_BLOCK: c_int = 0;
const SIG_SETMASK: c_int = 2;

/// `sigset_t` of Linux: 1024 bits, in every C library.
#[repr(C)]
#[derive(Clone, Copy)]
struct Set([usize; 1024 / usize::BITS as usize]);

impl Set {
    const EMPTY: Set = Set([0; 1024 / usize::BITS as usize]);
}

#[allow(unsafe_code)]
mod c {
    use super::{Set, c_int, c_void};

    unsafe extern "C" {
        pub(super) fn sigfillset(set: *mut Set) -> c_int;
        pub(super) fn sigaddset(set: *mut Set, signal: c_int) -> c_int;
        pub(super) fn sigismember(set: *const Set, signal: c_int) -> c_int;
        pub(super) fn sigpending(set: *mut Set) -> c_int;
        pub(super) fn pthread_sigmask(how: c_int, set: *const Set, old: *mut Set) -> c_int;
        pub(super) fn sigtimedwait(set: *const Set, info: *mut c_void, timeout: *const [i64; 2]) -> c_int;
    }
}

/// Signals blocked for this thread, until dropped.
struct Blocked {
    before: Set,
}

#[allow(unsafe_code)]
impl Blocked {
    fn new(set: &Set) -> Blocked {
        let mut before = Set::EMPTY;
        // SAFETY: both point to live sets. It cannot fail: the first argument is one of its three.
        unsafe { c::pthread_sigmask(SIG_BLOCK, set, &raw mut before) };
        Blocked { before }
    }
}

impl Drop for Blocked {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        // SAFETY: `before` is a set the same call gave; the old mask is not asked for.
        unsafe { c::pthread_sigmask(SIG_SETMASK, &raw const self.before, ptr::null_mut()) };
    }
}

/// Runs `write`, whose `PIPE` must not come with a signal: the host program may not have it ignored, and
/// would end. (A socket is told so by a flag; a pipe has none.)
///
/// The kernel directs SIGPIPE at the writing thread. While that thread has it blocked it stays pending,
/// and is taken back out. One that was pending before is somebody else's and stays.
#[allow(unsafe_code)]
pub(crate) fn without_sigpipe<T>(write: impl FnOnce() -> Result<T, Errno>) -> Result<T, Errno> {
    let mut pipe = Set::EMPTY;
    let mut pending = Set::EMPTY;
    // SAFETY: all pointers are to live sets, and the signal number is valid.
    let pending_before = unsafe {
        c::sigaddset(&raw mut pipe, SIGPIPE);
        c::sigpending(&raw mut pending);
        c::sigismember(&raw const pending, SIGPIPE) == 1
    };
    let _blocked = Blocked::new(&pipe);
    let result = write();
    if matches!(result, Err(Errno::PIPE)) && !pending_before {
        // SAFETY: the set and the time, zero of either width, are alive; no information is asked for.
        // It takes nothing but a SIGPIPE of this thread, which is blocked, so no handler runs.
        while unsafe { c::sigtimedwait(&raw const pipe, ptr::null_mut(), &[0, 0]) } == -1
            && std::io::Error::last_os_error().raw_os_error() == Some(Errno::INTR.raw_os_error())
        {}
    }
    result
}

/// Runs `start` with every signal blocked. A thread started in it inherits that, and so never takes a
/// signal from the program's own threads.
#[allow(unsafe_code)]
pub(crate) fn all_blocked<T>(start: impl FnOnce() -> T) -> T {
    let mut all = Set::EMPTY;
    // SAFETY: it points to a live set.
    unsafe { c::sigfillset(&raw mut all) };
    let _blocked = Blocked::new(&all);
    start()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In a child of its own, for the default action would end the test.
    #[test]
    #[allow(unsafe_code)]
    fn a_process_that_does_not_ignore_sigpipe_lives_on() {
        unsafe extern "C" {
            fn signal(number: c_int, handler: usize) -> usize;
            fn raise(number: c_int) -> c_int;
        }
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let broken = || without_sigpipe(|| rustix::io::write(&writer, b"x")) == Err(Errno::PIPE);
        let status = crate::os::fork::tests::in_fork(|| {
            // SAFETY: SIG_DFL is 0 and installs no code; the rest are plain calls with valid arguments.
            let pending = unsafe {
                signal(SIGPIPE, 0);
                if !(broken() && broken()) {
                    return 1;
                }
                // One that was there before stays.
                let mut pipe = Set::EMPTY;
                c::sigaddset(&raw mut pipe, SIGPIPE);
                let _blocked = Blocked::new(&pipe);
                raise(SIGPIPE);
                let refused = broken();
                let mut pending = Set::EMPTY;
                c::sigpending(&raw mut pending);
                // It would end the child when it is let in.
                signal(SIGPIPE, 1);
                refused && c::sigismember(&raw const pending, SIGPIPE) == 1
            };
            if pending { 7 } else { 2 }
        });
        assert_eq!(status, 7);
    }

    #[test]
    #[allow(unsafe_code)]
    fn the_mask_is_as_before_and_nothing_is_pending() {
        let mask = || {
            let mut now = Set::EMPTY;
            // SAFETY: a null set only asks.
            unsafe { c::pthread_sigmask(SIG_BLOCK, ptr::null(), &raw mut now) };
            now.0
        };
        let before = mask();
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        assert_eq!(without_sigpipe(|| rustix::io::write(&writer, b"x")), Err(Errno::PIPE));
        assert_eq!(mask(), before);
        all_blocked(|| assert_ne!(mask(), before));
        assert_eq!(mask(), before);
    }
}
