//! What a program may want to see in its log; the driver takes it from the connection and tells it.

use crate::error::Error;
use crate::proto::channel::Channel;

/// A change of a connection.
#[derive(Debug, Clone)]
pub(crate) enum Notice {
    /// The handshake ended well.
    Opened,
    /// All has ended, for the reason the program was told first.
    Ended(Error),
    /// One side wants to end in order.
    Draining { by_peer: bool },
    /// Messages are being dropped by policy.
    Dropping(Channel),
    /// A queue is three quarters full: of a channel or of the whole connection.
    QueueHigh { channel: Option<Channel>, sending: bool, bytes: usize, limit: usize },
}

/// Notices when a queue gets to three quarters of its limit, and again after it was found below half.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Gauge {
    high: bool,
}

impl Gauge {
    /// The queue has grown to `bytes`. Whether to tell.
    pub(crate) fn rises(&mut self, bytes: usize, limit: usize) -> bool {
        let was = self.high;
        self.high = if was { bytes >= limit / 2 } else { bytes >= limit / 4 * 3 };
        self.high && !was
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gauge_tells_once_a_rise() {
        let mut gauge = Gauge::default();
        let told: Vec<bool> = [10, 74, 75, 99, 60, 80, 49, 74, 75, 76].map(|bytes| gauge.rises(bytes, 100)).into();
        let expected = [false, false, true, false, false, false, false, false, true, false];
        assert_eq!(told, expected);
    }
}
