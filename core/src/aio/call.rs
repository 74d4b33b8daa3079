//! A call that was started.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll};

use super::driver::{Driver, Op};
use super::message::Message;
use crate::api::peer::unexpected;
use crate::driver::context::Outcome;
use crate::error::Result;

/// A started call; a future of its reply. It is under way whether or not it is polled.
///
/// `remote_error` when the program at the other end failed it; `call_abandoned`; `connection_lost`:
/// [`Error::sent`](crate::Error::sent) says whether the other side may have seen the request; `timeout` when the
/// deadline of its options passed.
///
/// Dropping it gives the call up: the other side is told. On a level-0 connection, which cannot tell a late reply
/// from the next one, giving up a call that was already sent closes the connection.
#[derive(Debug)]
#[must_use = "dropping a call gives it up"]
pub struct Call {
    driver: Arc<Driver>,
    op: Op,
}

impl Call {
    pub(super) fn new(driver: Arc<Driver>, op: Op) -> Call {
        Call { driver, op }
    }
}

impl Future for Call {
    type Output = Result<Message>;

    fn poll(mut self: Pin<&mut Call>, cx: &mut task::Context<'_>) -> Poll<Result<Message>> {
        Pin::new(&mut self.op).poll(cx).map(|result| match result? {
            Outcome::Reply(message) => Ok(Message::new(message, self.driver.clone())),
            _ => Err(unexpected()),
        })
    }
}
