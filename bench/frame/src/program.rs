//! The command line that all programs share.

use std::future::Future;
use std::io::Write;
use std::pin::pin;
use std::process::ExitCode;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use crate::client::{Client, run};
use crate::{Error, Result};

const USAGE: &str =
    "usage: server ADDR | client ADDR rt64|rt64k|rt1m|fly64|oneway64|oneway1m|connect|idle|many SECONDS";

/// What runs a client's futures.
pub trait Runtime {
    /// Runs one to its end.
    fn block_on<F: Future>(self, future: F) -> F::Output;
}

/// The calling thread: for clients that block.
pub struct Inline;

impl Runtime for Inline {
    fn block_on<F: Future>(self, future: F) -> F::Output {
        let waker = Waker::from(Arc::new(Unpark(thread::current())));
        let mut context = Context::from_waker(&waker);
        let mut future = pin!(future);
        loop {
            match future.as_mut().poll(&mut context) {
                Poll::Ready(output) => return output,
                Poll::Pending => thread::park(),
            }
        }
    }
}

/// Wakes a thread that waits for its future.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// The whole of `main`: `serve` for a server, `C` for a client.
pub fn program<C: Client>(runtime: impl Runtime, serve: impl FnOnce(&str) -> Result<()>) -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let outcome = match words[..] {
        ["server", address] => serve(address),
        ["client", address, work, seconds] => client::<C>(runtime, address, work, seconds),
        _ => Err(Error::from(USAGE)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn client<C: Client>(runtime: impl Runtime, address: &str, work: &str, seconds: &str) -> Result<()> {
    runtime.block_on(run::<C>(address, work, seconds.parse()?))
}

/// Says that clients can connect.
pub fn ready(address: &str) -> Result<()> {
    println!("ready {address}");
    Ok(std::io::stdout().flush()?)
}
