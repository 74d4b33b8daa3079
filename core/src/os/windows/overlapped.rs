//! One operation on a handle that the system finishes by itself, and the event that tells of its end.

use std::cell::UnsafeCell;
use std::os::windows::io::{AsRawHandle, OwnedHandle};
use std::sync::Arc;

use windows_sys::Win32::Foundation::{HANDLE, STATUS_PENDING};
use windows_sys::Win32::System::IO::{CancelIoEx, GetOverlappedResult, OVERLAPPED};

use super::Errno;
use super::event::Event;

/// At most one operation at a time. The system writes to what it was given until that ended, so whoever owns this
/// [cancels](Overlapped::cancel) it before the memory goes.
#[derive(Debug)]
pub(super) struct Overlapped {
    /// In a place of its own, which does not move while the system knows it.
    block: Box<UnsafeCell<OVERLAPPED>>,
    event: Arc<Event>,
    pending: bool,
}

// SAFETY: the pointers in it are a handle and numbers of the system's, which belong to no thread.
#[allow(unsafe_code)]
unsafe impl Send for Overlapped {}

#[allow(unsafe_code)]
impl Overlapped {
    /// Whose end sets `event`; it is reset when one begins.
    pub(super) fn new(event: Arc<Event>) -> Overlapped {
        Overlapped { block: Box::default(), event, pending: false }
    }

    /// Begins an operation with `start`, which gives the block to the system and returns what that says. An operation
    /// that ended at once is found by [`poll`](Overlapped::poll) as well, unless it failed.
    pub(super) fn begin(&mut self, start: impl FnOnce(*mut OVERLAPPED) -> i32) -> Result<(), Errno> {
        debug_assert!(!self.pending);
        // The lowest bit asks for no packet at a completion port: writes are told of there.
        let event = (self.event.raw() as usize | 1) as HANDLE;
        *self.block.get_mut() = OVERLAPPED { hEvent: event, ..OVERLAPPED::default() };
        let started = start(self.block.get());
        let errno = if started == 0 { Errno::last() } else { Errno::PENDING };
        if errno != Errno::PENDING {
            self.event.set();
            return Err(errno);
        }
        self.pending = true;
        Ok(())
    }

    /// How the operation ended: bytes moved, or why not. `None` as long as it has not, and while there is none.
    pub(super) fn poll(&mut self, handle: &OwnedHandle) -> Option<Result<usize, Errno>> {
        if !self.pending {
            return None;
        }
        // SAFETY: the block is alive; the system may write to this word at any time, hence volatile.
        let status = unsafe { (&raw const (*self.block.get()).Internal).read_volatile() };
        if status == STATUS_PENDING as usize {
            return None;
        }
        // The word is written before the event is set. Without this the next operation could be told ended by it.
        self.event.wait();
        self.pending = false;
        let mut moved = 0;
        // SAFETY: the operation on this handle with this block has ended, so the call only reads it.
        let ended = unsafe { GetOverlappedResult(handle.as_raw_handle(), self.block.get(), &raw mut moved, 0) };
        Some(if ended == 0 { Err(Errno::last()) } else { Ok(moved as usize) })
    }

    /// Ends the operation if there is one: when this returns, the system knows neither block nor buffer any more.
    pub(super) fn cancel(&mut self, handle: &OwnedHandle) {
        if self.pending {
            // SAFETY: handle and block are alive. It fails if the operation has just ended, which is as good.
            unsafe { CancelIoEx(handle.as_raw_handle(), self.block.get()) };
            self.event.wait();
            self.pending = false;
        }
    }
}
