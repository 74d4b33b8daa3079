//! The command line that all programs share.

use std::future::Future;
use std::io::Write;
use std::process::ExitCode;
use std::task::{Context, Poll, Waker};

use crate::client::{Client, run};
use crate::{Error, Result};

const USAGE: &str = "usage: server ADDR | client ADDR rt64|rt64k|rt1m|fly64|oneway64|oneway1m|connect SECONDS";

/// What runs a client's futures.
pub trait Runtime {
    /// Runs one to its end.
    fn block_on<F: Future>(self, future: F) -> F::Output;
}

/// Runs futures that never wait: those of clients that block.
pub struct Inline;

impl Runtime for Inline {
    fn block_on<F: Future>(self, future: F) -> F::Output {
        let mut context = Context::from_waker(Waker::noop());
        match std::pin::pin!(future).poll(&mut context) {
            Poll::Ready(output) => output,
            Poll::Pending => unreachable!("a client that blocks waited for a future"),
        }
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
    let line = runtime.block_on(run::<C>(address, work, seconds.parse()?))?;
    println!("{line}");
    Ok(())
}

/// Says that clients can connect.
pub fn ready(address: &str) -> Result<()> {
    println!("ready {address}");
    Ok(std::io::stdout().flush()?)
}
