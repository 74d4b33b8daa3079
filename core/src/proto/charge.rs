//! What a message costs the side that keeps it.

use crate::limits;

/// Bytes that a message with a payload of this length, and so many descriptors, is charged: against its channel's credit or
/// its stream's, and in the queues on its way.
pub(crate) fn charge(payload: usize, descriptors: usize) -> usize {
    payload + limits::MESSAGE_OVERHEAD + descriptors * limits::DESCRIPTOR_OVERHEAD
}
