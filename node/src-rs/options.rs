//! Options and deadlines as they come from `node/src/options.ts`, which has checked types and signs.

use std::time::{Duration, Instant};

use hostlane_bridge::{
    Channel, Code, ConnectOptions, Error, Level, LinkOptions, ListenOptions, Policy, Result, Secret, limits,
};
use napi_derive::napi;

/// Options of connect and listen; what is missing has the default of the core.
#[napi(object, object_to_js = false)]
pub struct NativeOptions {
    /// Channel numbers to offer.
    pub channels: Option<Vec<u16>>,
    /// The shared secret of level 0, sent in clear.
    pub auth_token: Option<String>,
    /// The shared secret both sides prove to know.
    pub secret: Option<String>,
    /// The only wire level agreed to.
    pub level: Option<u8>,
    /// Calls of the other side served at a time.
    pub max_calls: Option<u32>,
    /// Milliseconds of silence after which the other side is pinged.
    pub keepalive_ms: Option<f64>,
    /// Channels and the names of their policies.
    pub policies: Option<Vec<NativePolicy>>,
    /// The program and arguments of a `spawn:` address; connecting only.
    pub command: Option<Vec<String>>,
    /// User ids the other side may have.
    pub allow_uids: Option<Vec<u32>>,
    /// Milliseconds for the whole handshake.
    pub handshake_timeout_ms: Option<f64>,
    /// The largest payload in bytes.
    pub max_message: Option<u32>,
    /// Whether messages may carry descriptors.
    pub fds: Option<bool>,
    /// Connections the kernel keeps waiting; listeners only.
    pub backlog: Option<u16>,
    /// Whether a link goes on after the other side was lost; links only, as what follows.
    pub reconnect: Option<bool>,
    /// Attempts in a row that may fail.
    pub retries: Option<u32>,
    /// Milliseconds of the first pause.
    pub delay_ms: Option<f64>,
    /// Milliseconds of the longest pause.
    pub max_delay_ms: Option<f64>,
}

/// What a send on one channel does without credit.
#[napi(object, object_to_js = false)]
pub struct NativePolicy {
    /// The channel.
    pub channel: u16,
    /// `block`, `error`, `drop-oldest` or `latest`.
    pub policy: String,
}

impl NativePolicy {
    fn get(&self) -> Result<(Channel, Policy)> {
        let policy = match self.policy.as_str() {
            "block" => Policy::Block,
            "error" => Policy::Error,
            "drop-oldest" => Policy::DropOldest,
            "latest" => Policy::Latest,
            other => return Err(Error::new(Code::InvalidArgument, format!("there is no policy {other}"))),
        };
        Ok((Channel::new(self.channel)?, policy))
    }
}

fn level(number: u8) -> Result<Level> {
    match number {
        0 => Ok(Level::Zero),
        1 => Ok(Level::One),
        other => Err(Error::new(Code::InvalidArgument, format!("there is no wire level {other}"))),
    }
}

/// Applies what both kinds of options have; they share no type in the core, only the setters.
macro_rules! common {
    ($given:expr, $options:expr) => {{
        let mut options = $options;
        if let Some(channels) = &$given.channels {
            let channels: Vec<Channel> = channels.iter().map(|&number| Channel::new(number)).collect::<Result<_>>()?;
            options = options.channels(&channels);
        }
        if let Some(token) = &$given.auth_token {
            options = options.auth_token(Secret::new(token.as_str())?);
        }
        if let Some(secret) = &$given.secret {
            options = options.secret(Secret::new(secret.as_str())?);
        }
        if let Some(number) = $given.level {
            options = options.level(level(number)?);
        }
        if let Some(calls) = $given.max_calls {
            options = options.max_calls(calls as usize);
        }
        if let Some(ms) = $given.keepalive_ms {
            options = options.keepalive(duration(ms).unwrap_or(Duration::MAX));
        }
        for policy in $given.policies.iter().flatten() {
            let (channel, policy) = policy.get()?;
            options = options.policy(channel, policy);
        }
        if let Some(uids) = &$given.allow_uids {
            options = options.allow_uids(uids);
        }
        if let Some(ms) = $given.handshake_timeout_ms {
            options = options.handshake_timeout(duration(ms).unwrap_or(Duration::MAX));
        }
        if let Some(bytes) = $given.max_message {
            options = options.max_message(bytes as usize);
        }
        if let Some(agreed) = $given.fds {
            options = options.fds(agreed);
        }
        options
    }};
}

impl NativeOptions {
    pub(crate) fn connect(&self) -> Result<ConnectOptions> {
        let options = common!(self, ConnectOptions::new());
        Ok(match &self.command {
            Some(words) => options.command(words),
            None => options,
        })
    }

    pub(crate) fn link(&self) -> Result<LinkOptions> {
        let mut options = LinkOptions::new().connection(self.connect()?, self.listen()?);
        if let Some(again) = self.reconnect {
            options = options.reconnect(again);
        }
        if let Some(attempts) = self.retries {
            options = options.retries(attempts);
        }
        if self.delay_ms.is_some() || self.max_delay_ms.is_some() {
            let pause = |ms: f64| duration(ms).unwrap_or(Duration::MAX);
            let first = self.delay_ms.map_or(limits::LINK_DELAY, pause);
            let most = self.max_delay_ms.map_or(limits::LINK_MAX_DELAY.max(first), pause);
            options = options.delay(first, most);
        }
        Ok(options)
    }

    pub(crate) fn listen(&self) -> Result<ListenOptions> {
        let options = common!(self, ListenOptions::new());
        Ok(match self.backlog {
            Some(connections) => options.backlog(connections),
            None => options,
        })
    }
}

/// The moment `timeout_ms` from now; `None` for a time beyond the clock, `Infinity` above all.
pub(crate) fn deadline(timeout_ms: f64) -> Option<Instant> {
    duration(timeout_ms).and_then(|timeout| Instant::now().checked_add(timeout))
}

fn duration(ms: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(ms / 1e3).ok()
}
