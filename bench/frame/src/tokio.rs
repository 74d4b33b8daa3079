//! The runtime of the asynchronous programs. One thread: a second one costs three times the latency on one core and
//! gains nothing with one connection.

use std::future::Future;

use crate::Runtime;

/// Tokio on the calling thread.
pub struct CurrentThread;

impl Runtime for CurrentThread {
    fn block_on<F: Future>(self, future: F) -> F::Output {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime needs a descriptor").block_on(future)
    }
}
