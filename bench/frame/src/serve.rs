//! Servers that block.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;

use crate::{Error, Result};

/// Serves all clients, each in a thread until `answer` returns. Ends with the first error of any thread.
///
/// Whoever accepts a client answers it, and one that waits accepts the next: clients that come one after the other cost
/// no new threads.
pub fn serve_each<C: 'static>(
    accept: impl Fn() -> Result<C> + Send + Sync + 'static,
    answer: impl Fn(C) -> Result<()> + Send + Sync + 'static,
) -> Result<()> {
    let (failed, failure) = channel();
    Arc::new(Crew { accept, answer, waiting: AtomicUsize::new(0), failed }).enlist()?;
    Err(failure.recv()?)
}

struct Crew<A, H> {
    accept: A,
    answer: H,
    /// Threads that accept, or are about to.
    waiting: AtomicUsize,
    failed: Sender<Error>,
}

impl<C, A, H> Crew<A, H>
where
    C: 'static,
    A: Fn() -> Result<C> + Send + Sync + 'static,
    H: Fn(C) -> Result<()> + Send + Sync + 'static,
{
    /// One more thread.
    fn enlist(self: &Arc<Self>) -> Result<()> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let crew = Arc::clone(self);
        thread::Builder::new().spawn(move || {
            if let Err(error) = crew.work() {
                // Only the first is waited for.
                let _ = crew.failed.send(error);
            }
        })?;
        Ok(())
    }

    fn work(self: &Arc<Self>) -> Result<()> {
        loop {
            let client = (self.accept)()?;
            if self.waiting.fetch_sub(1, Ordering::Relaxed) == 1 {
                self.enlist()?;
            }
            (self.answer)(client)?;
            self.waiting.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;
    use std::sync::mpsc::Receiver;

    use super::*;

    #[test]
    fn clients_are_served_side_by_side_and_an_error_ends_it() {
        // A client is what it waits for and whom it tells that it was served.
        type Client = (Receiver<()>, Sender<()>);
        let (arrive, arriving) = channel::<Client>();
        let arriving = Mutex::new(arriving);
        let server = thread::spawn(move || {
            let accept = move || Ok(arriving.lock().map_err(|error| error.to_string())?.recv()?);
            serve_each(accept, |(leave, served): Client| {
                served.send(())?;
                Ok(leave.recv()?)
            })
        });
        let (served, is_served) = channel();
        let open: Vec<Sender<()>> = (0..3)
            .map(|_| {
                let (leave, left) = channel();
                arrive.send((left, served.clone())).unwrap();
                leave
            })
            .collect();
        // All of them, and none has left.
        open.iter().for_each(|_| is_served.recv().unwrap());
        open.iter().for_each(|leave| leave.send(()).unwrap());
        drop(arrive);
        assert!(server.join().unwrap().is_err());
    }
}
