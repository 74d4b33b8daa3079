//! Counters a program can read.

use std::collections::BTreeMap;

pub use crate::proto::inbox::Depth;

use crate::error::Code;
use crate::proto::channel::Channel;

/// What a connection did so far. Counters only grow; they start when the handshake ends.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// One entry per agreed channel, in handshake order.
    pub channels: Vec<ChannelStats>,
    /// Received messages that wait for the application, bounded by
    /// [`RECV_QUEUE`](crate::limits::RECV_QUEUE) plus one message.
    pub receive_queue: Depth,
    /// Frames that wait for the carrier, bounded by [`SEND_QUEUE`](crate::limits::SEND_QUEUE) plus
    /// one message.
    pub send_queue: Depth,
    /// Calls put on the wire by this side: the kernel took a byte of them.
    pub calls: u64,
    /// Calls of this side that have a place at the other: no answer has come, also of those that were given up. Level 1
    /// only, as the next four.
    pub open_calls: usize,
    /// Calls of the other side that arrived and got a place.
    pub calls_served: u64,
    /// Calls of the other side that have a place: the kernel has no whole answer yet, or they were given up and the
    /// program still has them.
    pub open_served: usize,
    /// Calls that had left and ended without an answer because this side gave them up or their time was over, whichever side
    /// noticed that first; not those that were lost with the connection.
    pub calls_cancelled: u64,
    /// Frames that came for calls that had ended; they are dropped.
    pub late: u64,
    /// Operations pending now.
    pub pending_operations: usize,
}

/// Counters of one channel. Bytes are payload bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ChannelStats {
    /// The channel.
    pub channel: Channel,
    /// Messages accepted for sending, answers and the items of streams, with their end, among them.
    pub messages_sent: u64,
    /// Their bytes.
    pub bytes_sent: u64,
    /// Messages that arrived, replies among them.
    pub messages_received: u64,
    /// Their bytes.
    pub bytes_received: u64,
    /// Messages that wait for the application now.
    pub queued: usize,
    /// Their charged bytes: payloads, plus [`MESSAGE_OVERHEAD`](crate::limits::MESSAGE_OVERHEAD) for each message and
    /// [`DESCRIPTOR_OVERHEAD`](crate::limits::DESCRIPTOR_OVERHEAD) for each descriptor. Level 1 only, as everything below.
    pub queued_bytes: usize,
    /// Most of them ever.
    pub queued_bytes_peak: usize,
    /// Messages that wait to be sent now.
    pub send_queued: usize,
    /// Their charged bytes.
    pub send_queued_bytes: usize,
    /// Most of them ever.
    pub send_queued_bytes_peak: usize,
    /// Charged bytes the other side would take now.
    pub send_credit: u64,
    /// Messages this side dropped by the policy of the channel.
    pub dropped: u64,
    /// Messages the other side says it dropped.
    pub dropped_by_peer: u64,
}

impl ChannelStats {
    pub(crate) fn new(channel: Channel) -> ChannelStats {
        ChannelStats {
            channel,
            messages_sent: 0,
            bytes_sent: 0,
            messages_received: 0,
            bytes_received: 0,
            queued: 0,
            queued_bytes: 0,
            queued_bytes_peak: 0,
            send_queued: 0,
            send_queued_bytes: 0,
            send_queued_bytes_peak: 0,
            send_credit: 0,
            dropped: 0,
            dropped_by_peer: 0,
        }
    }
}

/// What a listener did so far, and what it holds now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListenerStats {
    /// Connections taken from the kernel.
    pub connections: u64,
    /// Handshakes that ended well.
    pub accepted: u64,
    /// Handshakes refused, by reason.
    pub refused: BTreeMap<Code, u64>,
    /// Handshakes running now, bounded by [`MAX_HALF_OPEN`](crate::limits::MAX_HALF_OPEN).
    pub half_open: usize,
    /// Peers ready for `accept` now, bounded by [`MAX_READY`](crate::limits::MAX_READY).
    pub ready: usize,
    /// Times accepting paused because descriptors or memory ran out.
    pub pauses: u64,
}
