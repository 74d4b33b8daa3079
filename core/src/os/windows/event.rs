//! Event objects: set until somebody resets them.

use std::os::windows::io::{AsHandle, AsRawHandle, BorrowedHandle, FromRawHandle, OwnedHandle};
use std::ptr::null;

use windows_sys::Win32::Foundation::{HANDLE, WAIT_OBJECT_0};
use windows_sys::Win32::System::Threading::{CreateEventW, INFINITE, ResetEvent, SetEvent, WaitForSingleObject};

use super::Errno;

/// Closed in programs this process starts, and without a name.
#[derive(Debug)]
pub(super) struct Event(OwnedHandle);

#[allow(unsafe_code)]
impl Event {
    pub(super) fn new(set: bool) -> Result<Event, Errno> {
        // SAFETY: no attributes and no name are given; the other two are plain numbers.
        let handle = unsafe { CreateEventW(null(), 1, set.into(), null()) };
        if handle.is_null() {
            return Err(Errno::last());
        }
        // SAFETY: it was just made, and is nobody else's.
        Ok(Event(unsafe { OwnedHandle::from_raw_handle(handle) }))
    }

    pub(super) fn set(&self) {
        // SAFETY: the handle is open, an event and may be changed, so it does not fail.
        unsafe { SetEvent(self.raw()) };
    }

    pub(super) fn reset(&self) {
        // SAFETY: as above.
        unsafe { ResetEvent(self.raw()) };
    }

    pub(super) fn wait(&self) {
        // SAFETY: as above.
        unsafe { WaitForSingleObject(self.raw(), INFINITE) };
    }

    pub(super) fn raw(&self) -> HANDLE {
        self.0.as_raw_handle()
    }
}

impl AsHandle for Event {
    fn as_handle(&self) -> BorrowedHandle<'_> {
        self.0.as_handle()
    }
}

/// Whether an object is signalled now.
#[allow(unsafe_code)]
pub(super) fn is_set(handle: BorrowedHandle<'_>) -> bool {
    // SAFETY: the handle is open for as long as it is borrowed; a time of zero does not wait.
    unsafe { WaitForSingleObject(handle.as_raw_handle(), 0) == WAIT_OBJECT_0 }
}
