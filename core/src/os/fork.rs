//! Noticing that this process is a forked child of the one that opened an object.

use std::sync::Once;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::error::{Code, Error, Result};

static GENERATION: AtomicU32 = AtomicU32::new(0);
static HOOK: Once = Once::new();

/// The process generation an object was made in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Stamp(u32);

impl Stamp {
    pub(crate) fn now() -> Stamp {
        HOOK.call_once(install);
        Stamp(GENERATION.load(Ordering::Relaxed))
    }

    /// Whether this is still the process that made the stamp. One load: cheap enough for every call.
    pub(crate) fn current(self) -> bool {
        self.0 == GENERATION.load(Ordering::Relaxed)
    }

    pub(crate) fn check(self) -> Result<()> {
        if self.current() {
            return Ok(());
        }
        Err(Error::new(Code::Forked, "the object belongs to the parent process; open one in the child"))
    }
}

#[allow(unsafe_code)]
fn install() {
    unsafe extern "C" {
        fn pthread_atfork(
            prepare: Option<unsafe extern "C" fn()>,
            parent: Option<unsafe extern "C" fn()>,
            child: Option<unsafe extern "C" fn()>,
        ) -> std::ffi::c_int;
    }
    unsafe extern "C" fn in_child() {
        GENERATION.fetch_add(1, Ordering::Relaxed);
    }
    // SAFETY: the signature is POSIX's. `in_child` only touches a static atomic, which is allowed
    // between fork and exec, and the C library forgets the hook when this library is unloaded.
    let status = unsafe { pthread_atfork(None, None, Some(in_child)) };
    // Out of memory at load: without the hook a fork would go unnoticed, so no object may exist.
    assert_eq!(status, 0, "the fork hook could not be installed");
}
