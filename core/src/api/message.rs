//! A received message.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::api::payload::Payload;
use crate::api::wait::Wait;
use crate::driver::lane::Lane;
use crate::error::Result;
use crate::proto::channel::Channel;

/// A message, and the connection it came from. It keeps its bytes alive, not the connection open.
#[derive(Clone)]
pub struct Message {
    channel: Channel,
    payload: Bytes,
    lane: Arc<Lane>,
}

impl Message {
    pub(crate) fn new(channel: Channel, payload: Bytes, lane: Arc<Lane>) -> Message {
        Message { channel, payload, lane }
    }

    pub(crate) fn lane(&self) -> &Arc<Lane> {
        &self.lane
    }

    /// The channel it arrived on.
    pub fn channel(&self) -> Channel {
        self.channel
    }

    /// Its bytes; cloning them is cheap.
    pub fn payload(&self) -> &Bytes {
        &self.payload
    }

    /// Its bytes.
    pub fn into_payload(self) -> Bytes {
        self.payload
    }

    /// Sends `payload` back on the same channel: the answer to a call, or to a message. Errors as of
    /// [`Peer::send`](crate::Peer::send).
    pub fn reply<'a>(&self, payload: impl Payload, wait: impl Into<Wait<'a>>) -> Result<()> {
        self.lane.send(self.channel, payload, wait.into())
    }
}

impl fmt::Debug for Message {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Message").field("channel", &self.channel).field("len", &self.payload.len()).finish()
    }
}
