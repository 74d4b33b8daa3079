//! Threads of our own, which take none of the program's signals.

use std::ffi::c_int;
use std::io;

/// Starts a thread with every signal blocked, so that the program's handlers never run on it.
#[allow(unsafe_code)]
pub(crate) fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> io::Result<()> {
    /// At least as large and as aligned as any C library's.
    #[repr(C, align(16))]
    struct SigSet([u8; 128]);
    unsafe extern "C" {
        fn sigfillset(set: *mut SigSet) -> c_int;
        fn pthread_sigmask(how: c_int, set: *const SigSet, old: *mut SigSet) -> c_int;
    }
    const SIG_SETMASK: c_int = if cfg!(any(target_arch = "mips", target_arch = "mips64")) { 3 } else { 2 };

    let (mut all, mut before) = (SigSet([0; 128]), SigSet([0; 128]));
    // SAFETY: both sets are large enough for the C library's type, and outlive the calls. The new thread
    // inherits the mask; this one gets its own back right after.
    unsafe {
        sigfillset(&mut all);
        pthread_sigmask(SIG_SETMASK, &all, &mut before);
    }
    let started = std::thread::Builder::new().name(name.to_owned()).spawn(body);
    // SAFETY: as above.
    unsafe {
        pthread_sigmask(SIG_SETMASK, &before, std::ptr::null_mut());
    }
    // It ends by itself.
    started.map(drop)
}
