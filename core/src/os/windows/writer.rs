//! The writing direction of a pipe.
//!
//! What the pipe has no room for is kept here and finished by the system's own thread pool. It is not cancelled when
//! the carrier is closed, nor when the thread that wrote ends: what was written arrives, as from a socket. The block
//! and the handle live until then.

use std::cell::UnsafeCell;
use std::io::IoSlice;
use std::os::windows::io::{AsRawHandle, OwnedHandle};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use windows_sys::Win32::Foundation::ERROR_SUCCESS;
use windows_sys::Win32::Storage::FileSystem::{SetFileCompletionNotificationModes, WriteFile};
use windows_sys::Win32::System::IO::{BindIoCompletionCallback, OVERLAPPED};
use windows_sys::Win32::System::WindowsProgramming::FILE_SKIP_COMPLETION_PORT_ON_SUCCESS;

use super::Errno;
use super::event::Event;

/// Written at a time; this much may be kept here.
const CHUNK: usize = 64 * 1024;

#[derive(Debug)]
pub(super) struct Writer(Arc<Block>);

/// What the system is given. Its first member is what it gives back.
#[derive(Debug)]
#[repr(C)]
struct Block {
    overlapped: UnsafeCell<OVERLAPPED>,
    pipe: Arc<OwnedHandle>,
    /// Set unless a write is under way.
    ready: Arc<Event>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// What is being written. Not touched while it is.
    bytes: Vec<u8>,
    pending: bool,
    /// No more is written.
    end: Option<Errno>,
}

// SAFETY: `overlapped` is touched under the lock of `state` while no write is under way, and by the system alone
// while one is. The rest can be shared anyway.
#[allow(unsafe_code)]
unsafe impl Send for Block {}
// SAFETY: as above.
#[allow(unsafe_code)]
unsafe impl Sync for Block {}

impl Block {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[allow(unsafe_code)]
impl Writer {
    /// For `pipe`, once in its life; `ready` is set while [`write`](Writer::write) would take something.
    pub(super) fn new(pipe: Arc<OwnedHandle>, ready: Arc<Event>) -> Result<Writer, Errno> {
        let handle = pipe.as_raw_handle();
        // SAFETY: the handle is open and overlapped, and `written` is what is called for it.
        if unsafe { BindIoCompletionCallback(handle, Some(written), 0) } == 0 {
            return Err(Errno::last());
        }
        // SAFETY: the handle is open; a number says that what ends at once is not told of.
        if unsafe { SetFileCompletionNotificationModes(handle, FILE_SKIP_COMPLETION_PORT_ON_SUCCESS as u8) } == 0 {
            return Err(Errno::last());
        }
        ready.set();
        let overlapped = UnsafeCell::new(OVERLAPPED::default());
        Ok(Writer(Arc::new(Block { overlapped, pipe, ready, state: Mutex::default() })))
    }

    /// Takes at most a chunk. `AGAIN` while the last one is under way; an error of that comes out of the next call.
    pub(super) fn write(&self, slices: &[IoSlice<'_>]) -> Result<usize, Errno> {
        let block = &self.0;
        let mut state = block.lock();
        if let Some(errno) = state.end {
            return Err(errno);
        }
        if state.pending {
            return Err(Errno::AGAIN);
        }
        state.bytes.clear();
        for slice in slices {
            let room = CHUNK - state.bytes.len();
            state.bytes.extend_from_slice(&slice[..slice.len().min(room)]);
        }
        let len = state.bytes.len();
        if len == 0 {
            return Ok(0);
        }
        let given = Arc::into_raw(block.clone());
        let overlapped = given.cast::<OVERLAPPED>().cast_mut();
        let mut moved = 0;
        // SAFETY: no write is under way, so the block is nobody's. Bytes and block stay where they are until the write
        // has ended: the block is counted once more for the system, and the bytes are not touched while `pending`.
        let (done, errno) = unsafe {
            overlapped.write(OVERLAPPED::default());
            // A chunk fits into 32 bits.
            let bytes = state.bytes.as_ptr();
            let done = WriteFile(block.pipe.as_raw_handle(), bytes, len as u32, &raw mut moved, overlapped);
            (done, if done == 0 { Errno::last() } else { Errno::PENDING })
        };
        if done == 0 && errno == Errno::PENDING {
            state.pending = true;
            // `written` waits for the lock before it sets it again.
            block.ready.reset();
            return Ok(len);
        }
        // SAFETY: the system has ended with it and tells nobody, so the count made above is still ours.
        drop(unsafe { Arc::from_raw(given) });
        if done != 0 {
            return Ok(moved as usize);
        }
        let errno = if errno.is_end() { Errno::PIPE } else { errno };
        state.end = Some(errno);
        Err(errno)
    }

    /// Takes nothing more, and wakes who waits for room. What is under way goes on.
    pub(super) fn end(&self) {
        let mut state = self.0.lock();
        state.end.get_or_insert(Errno::PIPE);
        self.0.ready.set();
    }
}

/// Called by the system's thread pool when a write that did not end at once has ended.
#[allow(unsafe_code)]
unsafe extern "system" fn written(error: u32, _moved: u32, overlapped: *mut OVERLAPPED) {
    if overlapped.is_null() {
        return;
    }
    // SAFETY: only writes are told of here, so it is the first member of a `Block`, whose count for the system this takes over.
    let block = unsafe { Arc::from_raw(overlapped.cast::<Block>().cast_const()) };
    let mut state = block.lock();
    state.pending = false;
    if error != ERROR_SUCCESS {
        state.end.get_or_insert(Errno::PIPE);
    }
    // Under the lock: behind it the next write may be under way, which would be told that there is room.
    block.ready.set();
}
