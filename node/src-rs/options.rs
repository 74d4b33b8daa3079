//! Options and deadlines as they come from `node/src/options.ts`, which has checked types and signs.

use std::time::{Duration, Instant};

use hostlane_bridge::{Channel, ConnectOptions, ListenOptions, Result, Secret};
use napi_derive::napi;

/// Options of connect and listen; what is missing has the default of the core.
#[napi(object, object_to_js = false)]
pub struct NativeOptions {
    /// Channel numbers to offer.
    pub channels: Option<Vec<u16>>,
    /// The shared secret.
    pub auth_token: Option<String>,
    /// User ids the other side may have.
    pub allow_uids: Option<Vec<u32>>,
    /// Milliseconds for the whole handshake.
    pub handshake_timeout_ms: Option<f64>,
    /// The largest payload in bytes.
    pub max_message: Option<u32>,
    /// Connections the kernel keeps waiting; listeners only.
    pub backlog: Option<u16>,
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
        if let Some(uids) = &$given.allow_uids {
            options = options.allow_uids(uids);
        }
        if let Some(ms) = $given.handshake_timeout_ms {
            options = options.handshake_timeout(duration(ms).unwrap_or(Duration::MAX));
        }
        if let Some(bytes) = $given.max_message {
            options = options.max_message(bytes as usize);
        }
        options
    }};
}

impl NativeOptions {
    pub(crate) fn connect(&self) -> Result<ConnectOptions> {
        Ok(common!(self, ConnectOptions::new()))
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
