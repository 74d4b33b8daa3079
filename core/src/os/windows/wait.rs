//! Being told by the system's thread pool that an object is signalled.

use std::os::windows::io::{AsRawHandle, BorrowedHandle, OwnedHandle};
use std::ptr::{null, null_mut};

use windows_sys::Win32::System::Threading::{
    CloseThreadpoolWait, CreateThreadpoolWait, PTP_CALLBACK_INSTANCE, PTP_WAIT, SetThreadpoolWait,
    WaitForThreadpoolWaitCallbacks,
};

use super::Errno;
use super::event::is_set;

/// Told once after each [`arm`](Wait::arm). Dropping it waits until nobody is being told any more, so it must not be
/// dropped while holding what `tell` needs.
#[derive(Debug)]
pub(super) struct Wait<T: Tell> {
    wait: PTP_WAIT,
    /// A handle of its own, which stays open as long as it is waited for.
    object: OwnedHandle,
    /// Freed when no callback can run any more.
    told: *mut T,
}

/// What is done when the object is signalled, on a thread of the system's: no more than noting it.
pub(super) trait Tell: Send + Sync + 'static {
    fn tell(&self);
}

// SAFETY: the pool's object may be used from any thread, and what is told is `Send` and `Sync`.
#[allow(unsafe_code)]
unsafe impl<T: Tell> Send for Wait<T> {}
// SAFETY: as above.
#[allow(unsafe_code)]
unsafe impl<T: Tell> Sync for Wait<T> {}

#[allow(unsafe_code)]
impl<T: Tell> Wait<T> {
    /// Tells nothing before it is armed.
    pub(super) fn new(object: BorrowedHandle<'_>, told: T) -> Result<Wait<T>, Errno> {
        let object = object.try_clone_to_owned().map_err(|e| Errno::from_io_error(&e).unwrap_or(Errno::IO))?;
        let told = Box::into_raw(Box::new(told));
        // SAFETY: the context is what the callback takes it for, and lives until `drop` has waited for it.
        let wait = unsafe { CreateThreadpoolWait(Some(signalled::<T>), told.cast(), null()) };
        if wait == 0 {
            let errno = Errno::last();
            // SAFETY: it was made above, and nobody knows it.
            drop(unsafe { Box::from_raw(told) });
            return Err(errno);
        }
        Ok(Wait { wait, object, told })
    }

    pub(super) fn arm(&self) {
        // SAFETY: wait and object are alive until `drop`; without a time it waits for ever.
        unsafe { SetThreadpoolWait(self.wait, self.object.as_raw_handle(), null()) };
    }

    pub(super) fn is_signalled(&self) -> bool {
        use std::os::windows::io::AsHandle;
        is_set(self.object.as_handle())
    }
}

impl<T: Tell> Drop for Wait<T> {
    #[allow(unsafe_code)]
    fn drop(&mut self) {
        // SAFETY: the wait is alive and told no more once it is disarmed and its callbacks are over; then nobody
        // uses the context.
        unsafe {
            SetThreadpoolWait(self.wait, null_mut(), null());
            WaitForThreadpoolWaitCallbacks(self.wait, 1);
            CloseThreadpoolWait(self.wait);
            drop(Box::from_raw(self.told));
        }
    }
}

#[allow(unsafe_code)]
unsafe extern "system" fn signalled<T: Tell>(
    _instance: PTP_CALLBACK_INSTANCE,
    told: *mut std::ffi::c_void,
    _wait: PTP_WAIT,
    _result: u32,
) {
    // SAFETY: it is the context given at the creation, alive as long as a callback may run.
    unsafe { &*told.cast::<T>() }.tell();
}
