//! Descriptors that go with messages.

use std::os::fd::{BorrowedFd, IntoRawFd, OwnedFd};

use hostlane_bridge::{Code, Error, Result};
use napi::bindgen_prelude::Env;
use napi_derive::napi;

use crate::environment::Environment;

/// Descriptors of our own of those numbers.
pub(crate) fn duplicates(numbers: &[u32]) -> Result<Vec<OwnedFd>> {
    numbers.iter().map(|&number| duplicate(number)).collect()
}

fn duplicate(number: u32) -> Result<OwnedFd> {
    let refused = |why: String| Error::new(Code::InvalidArgument, format!("{number} is no open descriptor: {why}"));
    let raw = i32::try_from(number).map_err(|error| refused(error.to_string()))?;
    // SAFETY: it is borrowed for one system call, which refuses a number that is not open; another thread may close it
    // meanwhile, with the same outcome.
    let borrowed = unsafe { BorrowedFd::borrow_raw(raw) };
    borrowed.try_clone_to_owned().map_err(|error| refused(error.to_string()))
}

/// The descriptors of a message, which are JavaScript's to close from now on.
#[napi(catch_unwind)]
pub fn fds_take(env: Env, fds: f64) -> napi::Result<Vec<i32>> {
    let this = Environment::of(&env)?;
    let Ok(all) = this.fds.get(fds) else { return Ok(Vec::new()) };
    this.fds.remove(fds);
    Ok(all.take().into_iter().map(IntoRawFd::into_raw_fd).collect())
}

/// Closes the descriptors of a message that was collected.
#[napi(catch_unwind)]
pub fn fds_release(env: Env, fds: f64) -> napi::Result<()> {
    Environment::of(&env)?.fds.remove(fds);
    Ok(())
}
