//! One context per runtime, behind one descriptor at its reactor.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{self, Poll, Waker};

use tokio::io::unix::AsyncFd;
use tokio::runtime::{self, Handle};

use super::board::Board;
use crate::api::peer::unexpected;
use crate::driver::context::{Completion, Context, Outcome, Progress, Started};
use crate::driver::lock;
use crate::driver::sync::Mutex;
use crate::error::{Code, Error, Result};
use crate::log::{Elsewhere, Scope};
use crate::os::per_process::PerProcess;
use crate::os::reactor;

/// Completions taken in one go.
const BATCH: usize = 64;

/// How often one poll takes that many, or looks again, before others get their turn.
const ROUNDS: usize = 8;

/// The drivers of the running runtimes.
static DRIVERS: PerProcess<Mutex<HashMap<runtime::Id, Weak<Driver>>>> = PerProcess::new();

#[derive(Debug)]
pub(super) struct Driver {
    context: Context,
    fd: AsyncFd<OwnedFd>,
    board: Arc<Board>,
    /// The board, as the reactor knows it.
    waker: Waker,
    /// Used by whoever drives.
    completions: Mutex<Vec<Completion>>,
}

impl Driver {
    /// The driver of the runtime this is called in; made if it has none.
    pub(super) fn current() -> Result<Arc<Driver>> {
        let runtime = Handle::try_current()
            .map_err(|e| Error::new(Code::WrongDriver, format!("hostlane::aio is used in a tokio runtime: {e}")))?;
        let mut drivers = lock(DRIVERS.get());
        // The id of a runtime that has ended may come again: its driver is shut then.
        if let Some(driver) = drivers.get(&runtime.id()).and_then(Weak::upgrade)
            && driver.board.is_live()
        {
            return Ok(driver);
        }
        drivers.retain(|_, driver| driver.strong_count() > 0);
        let driver = Driver::start(&runtime)?;
        drivers.insert(runtime.id(), Arc::downgrade(&driver));
        Ok(driver)
    }

    fn start(runtime: &Handle) -> Result<Arc<Driver>> {
        let context = Context::new()?;
        let fd = reactor::watch(context.fd())?;
        let board = Arc::new(Board::default());
        let waker = Waker::from(board.clone());
        let driver = Arc::new(Driver { context, fd, board, waker, completions: Mutex::default() });
        // Whoever comes first tells the reactor whom to wake.
        driver.board.summon();
        drop(runtime.spawn(Task { board: driver.board.clone(), driver: Arc::downgrade(&driver) }));
        Ok(driver)
    }

    /// Starts an operation. It runs whether or not it is polled, and is given up when dropped.
    pub(super) fn begin(self: &Arc<Driver>, start: impl FnOnce(&Context) -> Result<Started>) -> Result<Op> {
        Ok(match start(&self.context)? {
            Started::Pending(id) => Op { driver: Some(self.clone()), id, result: None },
            Started::Done(outcome) => Op { driver: None, id: 0, result: Some(Ok(outcome)) },
        })
    }

    /// Runs an operation to its end.
    pub(super) async fn run(self: &Arc<Driver>, start: impl FnOnce(&Context) -> Result<Started>) -> Result<Outcome> {
        self.begin(start)?.await
    }

    /// Has the task see to a connection whose other side, or this one, pings when nothing comes.
    pub(super) fn attend(&self) {
        self.board.attend();
    }

    /// Does what is to be done, unless somebody does already. `own` is the operation of the caller.
    fn drive(&self, own: Option<u64>) {
        // What this tells is told when this thread drives no more.
        let _scope = Scope::enter();
        let Some(mut drive) = self.board.drive() else { return };
        let mut completions = lock(&self.completions);
        let mut cx = task::Context::from_waker(&self.waker);
        let mut rounds = 0..ROUNDS;
        while rounds.next().is_some() {
            drive.look();
            let mut ready = match self.fd.poll_read_ready(&mut cx) {
                Poll::Ready(Ok(ready)) => ready,
                // From here on the reactor calls the board.
                Poll::Pending if drive.leave() => return,
                Poll::Pending => continue,
                Poll::Ready(Err(_)) => return self.shut(),
            };
            loop {
                let progress = self.context.process(BATCH, &mut completions);
                drive.finish(&mut completions, own);
                match progress {
                    // Only what was seen to be exhausted is cleared, and what came since this look stays.
                    Ok(Progress::Wait) => break ready.clear_ready(),
                    Ok(Progress::More) if rounds.next().is_some() => {}
                    Ok(Progress::More) => return,
                    // Closed, or of a forked child's parent.
                    Err(_) => return self.shut(),
                }
            }
        }
    }

    /// Nothing moves any more: the runtime has ended.
    fn shut(&self) {
        self.context.close();
        self.board.end();
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // The task ends, too.
        self.shut();
    }
}

/// What a runtime runs for all its connections.
struct Task {
    board: Arc<Board>,
    driver: Weak<Driver>,
}

impl Future for Task {
    type Output = ();

    fn poll(self: Pin<&mut Task>, cx: &mut task::Context<'_>) -> Poll<()> {
        if !self.board.stand_by(cx.waker()) {
            return Poll::Ready(());
        }
        let Some(driver) = self.driver.upgrade() else { return Poll::Ready(()) };
        // Whoever is not polled counts on this task.
        let _elsewhere = Elsewhere::enter();
        driver.drive(None);
        Poll::Pending
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        // With the runtime, while there are still objects of it.
        if let Some(driver) = self.driver.upgrade() {
            driver.shut();
        }
    }
}

/// A started operation: its result, once.
#[derive(Debug)]
pub(super) struct Op {
    /// None once it has ended.
    driver: Option<Arc<Driver>>,
    id: u64,
    result: Option<Result<Outcome>>,
}

impl Future for Op {
    type Output = Result<Outcome>;

    fn poll(mut self: Pin<&mut Op>, cx: &mut task::Context<'_>) -> Poll<Result<Outcome>> {
        let Op { driver, id, result } = &mut *self;
        let Some(on) = driver else {
            return Poll::Ready(result.take().unwrap_or_else(|| Err(unexpected())));
        };
        let result = match on.board.poll(*id, cx.waker()) {
            Poll::Ready(result) => result,
            Poll::Pending => {
                on.drive(Some(*id));
                match on.board.take(*id) {
                    Some(result) => result,
                    None => return Poll::Pending,
                }
            }
        };
        *driver = None;
        Poll::Ready(result)
    }
}

impl Drop for Op {
    fn drop(&mut self) {
        if let Some(driver) = &self.driver
            && driver.board.leave(self.id)
        {
            driver.context.cancel(self.id);
        }
    }
}
