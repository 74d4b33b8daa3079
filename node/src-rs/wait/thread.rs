//! A thread that watches the context's descriptor and wakes the JavaScript thread, for hosts whose event loop cannot do it.

use std::cell::RefCell;
use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use napi::Status;
use napi::bindgen_prelude::{Env, Error, Result, check_status, sys};
use napi::threadsafe_function::{ThreadsafeFunction, ThreadsafeFunctionCallMode};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

use super::Wake;

/// The wake function as another thread may queue it. Weak: by itself it does not keep the process alive.
type Waker = ThreadsafeFunction<(), (), (), Status, false, true>;

/// The reader thread of one environment, until the environment ends.
pub(crate) struct Thread(Rc<RefCell<Option<Running>>>);

struct Running {
    env: sys::napi_env,
    waker: Arc<Waker>,
    /// Whether the thread waits for a byte on `control` before it looks at the descriptor again.
    asked: Arc<AtomicBool>,
    /// A byte: the context was drained. Its end: the thread is to end.
    control: UnixStream,
    thread: JoinHandle<()>,
}

impl Thread {
    pub(super) fn start(env: &Env, fd: OwnedFd, wake: &Wake<'_>) -> Result<Thread> {
        let waker: Arc<Waker> =
            Arc::new(wake.build_threadsafe_function::<()>().weak::<true>().callee_handled::<false>().build()?);
        let asked = Arc::new(AtomicBool::new(false));
        let (control, far) = UnixStream::pair().map_err(reason)?;
        let thread = std::thread::Builder::new()
            .name("hostlane-wait".to_owned())
            .spawn({
                let (waker, asked) = (Arc::clone(&waker), Arc::clone(&asked));
                move || watch(&fd, far, &asked, &waker)
            })
            .map_err(reason)?;
        let running = Running { env: env.raw(), waker, asked, control, thread };
        let slot = Rc::new(RefCell::new(Some(running)));
        env.add_env_cleanup_hook(Rc::clone(&slot), |slot| {
            if let Some(Running { control, thread, .. }) = slot.take() {
                drop(control);
                // It never waits for JavaScript, so it ends at once; a panic in it would have been printed already.
                drop(thread.join());
            }
        })?;
        Ok(Thread(slot))
    }

    pub(super) fn set_ref(&self, on: bool) -> Result<()> {
        let running = self.0.borrow();
        let Some(Running { env, waker, .. }) = running.as_ref() else { return Ok(()) };
        // SAFETY: this is the JavaScript thread of `env`, and the function is alive as long as `waker` is.
        check_status!(unsafe {
            if on {
                sys::napi_ref_threadsafe_function(*env, waker.raw())
            } else {
                sys::napi_unref_threadsafe_function(*env, waker.raw())
            }
        })
    }

    pub(super) fn drained(&self) -> Result<()> {
        match self.0.borrow_mut().as_mut() {
            Some(running) if running.asked.swap(false, Ordering::AcqRel) => {
                running.control.write_all(&[1]).map_err(reason)
            }
            _ => Ok(()),
        }
    }
}

/// The thread: one wake per batch. The descriptor stays readable until the context is drained, so it is looked at again only
/// after that.
fn watch(fd: &OwnedFd, mut control: UnixStream, asked: &AtomicBool, waker: &Waker) {
    loop {
        let mut fds = [PollFd::new(fd, PollFlags::IN), PollFd::new(&control, PollFlags::IN)];
        match poll(&mut fds, None) {
            Ok(_) | Err(Errno::INTR) => {}
            // Nothing a wait can do about it, and a woken environment finds out by draining: give it the error.
            Err(_) => {
                waker.call((), ThreadsafeFunctionCallMode::NonBlocking);
                return;
            }
        }
        if !fds[1].revents().is_empty() {
            return;
        }
        if fds[0].revents().is_empty() {
            continue;
        }
        asked.store(true, Ordering::Release);
        if waker.call((), ThreadsafeFunctionCallMode::NonBlocking) != Status::Ok {
            return;
        }
        if control.read_exact(&mut [0]).is_err() {
            return;
        }
    }
}

fn reason(error: std::io::Error) -> Error {
    Error::from_reason(format!("hostlane cannot start waiting: {error}"))
}
