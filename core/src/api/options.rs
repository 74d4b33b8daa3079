//! Options of connecting and listening. Limits are checked by the setters' users, once, before
//! anything is opened.

use std::ffi::{OsStr, OsString};
use std::time::Duration;

use crate::error::{Code, Error, Result};
use crate::limits;
use crate::os::carrier::Carrier;
use crate::os::random;
use crate::proto::Secret;
use crate::proto::channel::Channel;
use crate::proto::conn::{Config, Role};
use crate::proto::level1::{self, Policy};
use crate::proto::offer::{self, Level, Own};

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
    /// seen to take, after waits that were answered while spinning, else a rare try of up to
    /// [`MAX_TRIED_SPIN`](crate::limits::MAX_TRIED_SPIN), at messages that the other side tries at as well. Never when
    /// both sides may have to share one processor, or the process has a quota below one and a half.
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
    pub(crate) secret: Option<Secret>,
    pub(crate) allow_uids: Option<Vec<u32>>,
    pub(crate) handshake_timeout: Duration,
    pub(crate) max_message: usize,
    pub(crate) level: Level,
    pub(crate) fds: bool,
    pub(crate) max_calls: usize,
    pub(crate) keepalive: Option<Duration>,
    pub(crate) policies: Vec<(Channel, Policy)>,
    pub(crate) spin: Spin,
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
            level: Level::Auto,
            fds: false,
            max_calls: limits::MAX_CALLS,
            keepalive: None,
            policies: Vec::new(),
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
        if self.max_calls == 0 || self.max_calls > limits::MAX_OPS {
            return invalid(format!("max_calls must be 1 to {}", limits::MAX_OPS));
        }
        if self.keepalive.is_some_and(|every| every < limits::MIN_KEEPALIVE) {
            return invalid(format!("a keepalive is at least {:?}", limits::MIN_KEEPALIVE));
        }
        if let Some((channel, _)) = self.policies.iter().find(|(c, _)| !self.channels.contains(c)) {
            return invalid(format!("a policy for channel {channel}, which is not among the channels"));
        }
        Ok(())
    }

    /// What a connection in `role` is made with.
    pub(crate) fn config(&self, role: Role, carrier: &Carrier) -> Result<Config> {
        Ok(Config {
            role,
            channels: self.channels.clone(),
            auth_token: self.auth_token.clone(),
            secret: self.secret.clone(),
            max_message: self.max_message,
            handshake_timeout: self.handshake_timeout,
            own: Own {
                level: self.level,
                instance: random::instance()?,
                nonce: self.secret.as_ref().map(|_| random::hex_id()).transpose()?,
                features: if self.fds && carrier.passes_descriptors() { vec![offer::FDS] } else { Vec::new() },
                limits: level1::Limits {
                    max_message: self.max_message,
                    max_calls: self.max_calls,
                    keepalive: self.keepalive,
                    ..level1::Limits::default()
                },
                grease: random::byte(),
            },
            policies: self.policies.clone(),
        })
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

        /// User ids the other side may have, judged by the kernel's word; anybody else gets
        /// `permission_denied`. Default: for a per-user name this user and root, elsewhere whoever
        /// the socket's file mode lets in. TCP knows no users, so `tcp:` refuses the option; so does Windows,
        /// where a pipe lets its owner in alone.
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

        /// A secret both sides prove to each other that they have, without sending it; demands level 1. Mandatory where
        /// the carrier tells no identity (`tcp:`), and as good as allowed user ids for `unix:@name`. `authentication_failed` when the other side has none, or another.
        pub fn secret(mut self, secret: Secret) -> Self {
            self.common.secret = Some(secret);
            self
        }

        /// Which wire levels are agreed to; default [`Level::Auto`].
        pub fn level(mut self, level: Level) -> Self {
            self.common.level = level;
            self
        }

        /// Agrees to messages that carry descriptors, on level 1 over Unix-domain sockets, if the other side does too;
        /// default no, and then descriptors that come anyhow never enter this process.
        pub fn fds(mut self, agreed: bool) -> Self {
            self.common.fds = agreed;
            self
        }

        /// Calls of the other side that have a place here at a time, level 1 alone; default
        /// [`MAX_CALLS`](crate::limits::MAX_CALLS), most [`MAX_OPS`](crate::limits::MAX_OPS). More wait at
        /// their caller's. A call keeps its place until the kernel has its whole answer, and one that was given up until
        /// its [`Message`](crate::Message) is answered or dropped: this times
        /// [`max_message`](Self::max_message) bounds the answers that the other side does not read.
        pub fn max_calls(mut self, calls: usize) -> Self {
            self.common.max_calls = calls;
            self
        }

        /// Pings when nothing arrived for so long, level 1 alone, and ends the connection with `peer_unresponsive`
        /// when nothing arrives for twice as long again. Default: no keepalive. At least
        /// [`MIN_KEEPALIVE`](crate::limits::MIN_KEEPALIVE).
        pub fn keepalive(mut self, every: Duration) -> Self {
            self.common.keepalive = Some(every);
            self
        }

        /// What a send on `channel` does without credit, level 1 alone; default
        /// [`Policy::DropOldest`] for TELEMETRY, [`Policy::Block`] for the others.
        pub fn policy(mut self, channel: Channel, policy: Policy) -> Self {
            self.common.policies.retain(|(c, _)| *c != channel);
            self.common.policies.push((channel, policy));
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
    /// A client nobody waits for in `accept` is refused instead of kept.
    pub(crate) only_awaited: bool,
}

impl Default for ListenOptions {
    fn default() -> ListenOptions {
        ListenOptions { common: Common::default(), backlog: limits::LISTEN_BACKLOG, only_awaited: false }
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
