//! `NativeCall`: a call that was started.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hostlane_bridge::{Call, Code, Error};
use pyo3::prelude::*;

use crate::error::{OrRaise, entry};
use crate::look::Look;
use crate::message::Message;
use crate::wait::{Deadline, Seconds, blocking};

/// A started call. `hostlane.Call` wraps it, and sees to it that one thread at a time waits.
#[pyclass(frozen, module = "hostlane._native")]
pub(crate) struct NativeCall {
    state: Mutex<State>,
    look: Arc<Look>,
}

enum State {
    Open(Call),
    /// A thread waits, and has it.
    Waiting,
    Ended,
}

impl NativeCall {
    pub(crate) fn new(call: Call, look: Arc<Look>) -> Self {
        Self { state: Mutex::new(State::Open(call)), look }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the call out, if nobody has.
    fn take(&self, leave: State) -> Option<Call> {
        let mut state = self.state();
        match std::mem::replace(&mut *state, State::Ended) {
            State::Open(call) => {
                *state = leave;
                Some(call)
            }
            other => {
                *state = other;
                None
            }
        }
    }
}

#[pymethods]
impl NativeCall {
    /// The reply. A wait that takes too long leaves the call open, until its own deadline has passed.
    fn result(&self, py: Python<'_>, timeout: Option<Seconds>) -> PyResult<Message> {
        entry(py, || {
            let until = Deadline::after(timeout).or_raise(py)?;
            let Some(mut call) = self.take(State::Waiting) else {
                return Err(Error::new(Code::Cancelled, "the call has ended")).or_raise(py);
            };
            let result = blocking(py, until, &self.look, |wait| call.try_wait(wait));
            *self.state() = if call.is_open() { State::Open(call) } else { State::Ended };
            result.map(Message::direct)
        })
    }

    /// Whether its result was taken, or it was given up.
    #[getter]
    fn ended(&self) -> bool {
        matches!(*self.state(), State::Ended)
    }

    /// Whether [`result`](NativeCall::result) would return at once. False while another thread is in it.
    fn done(&self, py: Python<'_>) -> PyResult<bool> {
        entry(py, || {
            Ok(match &*self.state() {
                State::Open(call) => call.is_done(),
                State::Waiting => false,
                State::Ended => true,
            })
        })
    }

    /// Gives the call up; the other side is told.
    fn cancel(&self, py: Python<'_>) -> PyResult<()> {
        entry(py, || {
            drop(self.take(State::Ended));
            Ok(())
        })
    }
}
