//! Standard input, whose end tells a client to leave.

use std::future::poll_fn;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};
use std::thread;

use crate::Result;

#[derive(Default)]
struct Input {
    /// How reading it ended.
    end: Option<io::Result<u64>>,
    waiting: Option<Waker>,
}

/// Waits for the end of standard input. A thread reads, so that what runs the caller goes on meanwhile.
pub(crate) async fn input_ends() -> Result<()> {
    let input = Arc::<Mutex<Input>>::default();
    let filled = Arc::clone(&input);
    thread::Builder::new().spawn(move || {
        let end = io::copy(&mut io::stdin(), &mut io::sink());
        let mut input = filled.lock().unwrap_or_else(PoisonError::into_inner);
        input.end = Some(end);
        input.waiting.take().inspect(Waker::wake_by_ref);
    })?;
    let end = poll_fn(|context| {
        let mut input = input.lock().unwrap_or_else(PoisonError::into_inner);
        input.waiting = Some(context.waker().clone());
        input.end.take().map_or(Poll::Pending, Poll::Ready)
    });
    end.await?;
    Ok(())
}
