//! A call that was started.

use std::sync::Arc;

use crate::api::message::Message;
use crate::api::peer::unexpected;
use crate::api::wait::Wait;
use crate::driver::lane::Lane;
use crate::error::Result;
use crate::proto::channel::Channel;
use crate::proto::{OpId, Outcome};

/// A started call; [`wait`](Call::wait) for its reply.
///
/// Dropping it gives the call up. On a level-0 connection, which cannot tell a late reply from the
/// next one, giving up a call that was already sent closes the connection.
#[derive(Debug)]
#[must_use = "dropping a call gives it up"]
pub struct Call {
    lane: Arc<Lane>,
    op: Option<OpId>,
}

impl Call {
    pub(crate) fn new(lane: Arc<Lane>, op: OpId) -> Call {
        Call { lane, op: Some(op) }
    }

    /// Waits for the reply. `timeout`, `connection_lost`: [`Error::sent`](crate::Error::sent) says
    /// whether the other side may have seen the request.
    pub fn wait<'a>(mut self, wait: impl Into<Wait<'a>>) -> Result<Message> {
        let Some(op) = self.op.take() else { return Err(unexpected()) };
        match self.lane.finish(op, wait.into())? {
            Outcome::Reply(payload) => Ok(Message::new(Channel::COMMAND, payload, self.lane.clone())),
            _ => Err(unexpected()),
        }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        if let Some(op) = self.op {
            self.lane.abandon(op);
        }
    }
}
