//! A listener with one peer: a stream that is there already, to be served like an accepted one.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use rustix::io::Errno;

use crate::error::Result;
use crate::os::carrier::{Attached, Carrier};
use crate::os::fork;
use crate::os::poller::Bell;

/// Gives its stream to the first who accepts. It ends when that stream has ended, not before, so that a
/// program's accept loop keeps the program alive as long as there is somebody to serve.
#[derive(Debug)]
pub(crate) struct Only {
    stream: Mutex<Option<Carrier>>,
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    /// Readable while there is something to accept: the stream, or the end.
    bell: Bell,
    gone: AtomicBool,
}

/// Held by the stream.
#[derive(Debug)]
pub(crate) struct Place {
    shared: Arc<Shared>,
    stamp: fork::Stamp,
}

impl Drop for Place {
    fn drop(&mut self) {
        // A forked child has the bell in common with its parent, whose stream lives on.
        if self.stamp.current() {
            self.shared.gone.store(true, Ordering::Release);
            self.shared.bell.ring();
        }
    }
}

impl Only {
    pub(crate) fn new(stream: Carrier) -> Result<Only> {
        let shared = Arc::new(Shared { bell: Bell::new()?, gone: AtomicBool::new(false) });
        let place = Place { shared: shared.clone(), stamp: fork::Stamp::now() };
        shared.bell.ring();
        Ok(Only { stream: Mutex::new(Some(stream.attach(Attached::Place(place)))), shared })
    }

    /// The stream, then `AGAIN` while it lives, then `None`.
    pub(crate) fn accept(&self) -> Result<Option<Carrier>, Errno> {
        if let Some(stream) = self.take() {
            // Before the stream can end and ring again.
            self.shared.bell.clear();
            return Ok(Some(stream));
        }
        if self.shared.gone.load(Ordering::Acquire) {
            return Ok(None);
        }
        Err(Errno::AGAIN)
    }

    /// Ends a stream nobody has accepted.
    pub(crate) fn shut(&self) {
        if let Some(stream) = self.take() {
            stream.shut();
        }
    }

    fn take(&self) -> Option<Carrier> {
        self.stream.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl AsFd for Only {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.shared.bell.as_fd()
    }
}
