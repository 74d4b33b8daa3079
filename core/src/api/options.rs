//! Options of connecting and listening. Limits are checked by the setters' users, once, before
//! anything is opened.

use std::time::Duration;

use crate::error::{Code, Error, Result};
use crate::limits;
use crate::proto::Secret;
use crate::proto::channel::Channel;

/// Whether a blocking wait looks at the connection again and again for a moment before it sleeps.
///
/// Sleeping costs a wake-up, which is most of what a small round trip takes between two processors.
/// Spinning saves it when the other side answers at once, at the price of processor time. Both sides
/// have to do it for the full gain. It holds for blocking calls alone, never for a
/// [`Context`](crate::Context), and at most one thread of a process spins at a time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Spin {
    /// As long as it pays: at most [`MAX_SPIN`](crate::limits::MAX_SPIN) and no longer than a wake-up was
    /// seen to take, after waits that were answered while spinning, else a rare try. Never when both
    /// sides may have to share one processor, or the process has a quota below one and a half.
    #[default]
    Auto,
    /// Never.
    Off,
    /// Up to so many microseconds before each sleep, whatever came of it before; at most
    /// [`MAX_FIXED_SPIN`](crate::limits::MAX_FIXED_SPIN), 0 is the same as `Off`. For processors set aside for it.
    Micros(u32),
}

/// What both sides can set.
#[derive(Debug, Clone)]
pub(crate) struct Common {
    pub(crate) channels: Vec<Channel>,
    pub(crate) auth_token: Option<Secret>,
    pub(crate) allow_uids: Option<Vec<u32>>,
    pub(crate) handshake_timeout: Duration,
    pub(crate) max_message: usize,
    pub(crate) spin: Spin,
}

impl Default for Common {
    fn default() -> Common {
        Common {
            channels: Channel::DEFAULT.to_vec(),
            auth_token: None,
            allow_uids: None,
            handshake_timeout: limits::HANDSHAKE_TIMEOUT,
            max_message: limits::MAX_MESSAGE,
            spin: Spin::Auto,
        }
    }
}

impl Common {
    pub(crate) fn check(&self) -> Result<()> {
        let invalid = |what: String| Err(Error::new(Code::InvalidArgument, what));
        if self.channels.is_empty() || self.channels.len() > limits::MAX_CHANNELS {
            return invalid(format!("between 1 and {} channels must be named", limits::MAX_CHANNELS));
        }
        if self.max_message == 0 || self.max_message > limits::MAX_MESSAGE {
            return invalid(format!("max_message must be 1 to {} bytes", limits::MAX_MESSAGE));
        }
        if let Spin::Micros(micros) = self.spin
            && Duration::from_micros(micros.into()) > limits::MAX_FIXED_SPIN
        {
            return invalid(format!("a wait spins at most {:?}", limits::MAX_FIXED_SPIN));
        }
        if self.handshake_timeout.is_zero() {
            return invalid("the handshake timeout must not be zero".to_owned());
        }
        Ok(())
    }
}

macro_rules! common_setters {
    () => {
        /// Channels to agree on, in order of preference; default
        /// [`Channel::DEFAULT`]. At most [`MAX_CHANNELS`](crate::limits::MAX_CHANNELS).
        pub fn channels(mut self, channels: &[Channel]) -> Self {
            self.common.channels = channels.to_vec();
            self
        }

        /// The shared secret: a connector sends it, a listener demands it. It crosses the wire in
        /// clear, so only path and name addresses accept it.
        pub fn auth_token(mut self, secret: Secret) -> Self {
            self.common.auth_token = Some(secret);
            self
        }

        /// User ids the other side may have, judged by the kernel's word; anybody else gets
        /// `permission_denied`. Default: for a per-user name this user and root, elsewhere whoever
        /// the socket's file mode lets in. Mandatory for `unix:@name`.
        pub fn allow_uids(mut self, uids: &[u32]) -> Self {
            self.common.allow_uids = Some(uids.to_vec());
            self
        }

        /// Total time a handshake may take; default
        /// [`HANDSHAKE_TIMEOUT`](crate::limits::HANDSHAKE_TIMEOUT).
        pub fn handshake_timeout(mut self, limit: Duration) -> Self {
            self.common.handshake_timeout = limit;
            self
        }

        /// Largest payload accepted and sent, in bytes, inclusive; default and most
        /// [`MAX_MESSAGE`](crate::limits::MAX_MESSAGE).
        pub fn max_message(mut self, bytes: usize) -> Self {
            self.common.max_message = bytes;
            self
        }

        /// Whether blocking waits on the connection spin before they sleep; default [`Spin::Auto`].
        pub fn spin(mut self, spin: Spin) -> Self {
            self.common.spin = spin;
            self
        }
    };
}

/// Options of [`Peer::connect_with`](crate::Peer::connect_with).
#[derive(Debug, Clone, Default)]
pub struct ConnectOptions {
    pub(crate) common: Common,
}

impl ConnectOptions {
    /// The defaults.
    pub fn new() -> ConnectOptions {
        ConnectOptions::default()
    }

    common_setters!();
}

/// Options of [`Listener::bind_with`](crate::Listener::bind_with).
#[derive(Debug, Clone)]
pub struct ListenOptions {
    pub(crate) common: Common,
    pub(crate) backlog: i32,
}

impl Default for ListenOptions {
    fn default() -> ListenOptions {
        ListenOptions { common: Common::default(), backlog: limits::LISTEN_BACKLOG }
    }
}

impl ListenOptions {
    /// The defaults.
    pub fn new() -> ListenOptions {
        ListenOptions::default()
    }

    common_setters!();

    /// Connections the kernel may hold before they are accepted; default
    /// [`LISTEN_BACKLOG`](crate::limits::LISTEN_BACKLOG). The kernel may lower it.
    pub fn backlog(mut self, connections: u16) -> Self {
        self.backlog = connections.into();
        self
    }
}
