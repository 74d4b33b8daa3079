//! Options of connecting and listening. Limits are checked by the setters' users, once, before
//! anything is opened.

use std::ffi::{OsStr, OsString};
use std::time::Duration;

use crate::error::{Code, Error, Result};
use crate::limits;
use crate::proto::Secret;
use crate::proto::channel::Channel;

/// What both sides can set.
#[derive(Debug, Clone)]
pub(crate) struct Common {
    pub(crate) channels: Vec<Channel>,
    pub(crate) auth_token: Option<Secret>,
    pub(crate) secret: Option<Secret>,
    pub(crate) allow_uids: Option<Vec<u32>>,
    pub(crate) handshake_timeout: Duration,
    pub(crate) max_message: usize,
}

impl Default for Common {
    fn default() -> Common {
        Common {
            channels: Channel::DEFAULT.to_vec(),
            auth_token: None,
            secret: None,
            allow_uids: None,
            handshake_timeout: limits::HANDSHAKE_TIMEOUT,
            max_message: limits::MAX_MESSAGE,
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

        /// The level-0 secret: a connector sends it, a listener demands it. It crosses the wire in
        /// clear, so `unix:@name` and `tcp:` refuse it.
        pub fn auth_token(mut self, secret: Secret) -> Self {
            self.common.auth_token = Some(secret);
            self
        }

        /// The secret both sides share; each proves to the other that it has it. Mandatory for `tcp:`,
        /// whose other side no kernel identifies; for `unix:@name` this or
        /// [`allow_uids`](Self::allow_uids) is.
        pub fn secret(mut self, secret: Secret) -> Self {
            self.common.secret = Some(secret);
            self
        }

        /// User ids the other side may have, judged by the kernel's word; anybody else gets
        /// `permission_denied`. Default: for a per-user name this user and root, elsewhere whoever
        /// the socket's file mode lets in. TCP knows no users, so `tcp:` refuses the option.
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
    };
}

/// Options of [`Peer::connect_with`](crate::Peer::connect_with).
#[derive(Debug, Clone, Default)]
pub struct ConnectOptions {
    pub(crate) common: Common,
    pub(crate) command: Option<Vec<OsString>>,
}

impl ConnectOptions {
    /// The defaults.
    pub fn new() -> ConnectOptions {
        ConnectOptions::default()
    }

    common_setters!();

    /// The program and arguments of a `spawn:` address, word for word. The address is then `spawn:` with
    /// nothing behind it.
    pub fn command(mut self, argv: &[impl AsRef<OsStr>]) -> Self {
        self.command = Some(argv.iter().map(|word| word.as_ref().to_owned()).collect());
        self
    }
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
