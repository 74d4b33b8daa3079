//! How a link behaves when the other side is not there.

use std::time::Duration;

use crate::addr::Address;
use crate::api::options::{ConnectOptions, ListenOptions};
use crate::error::{Code, Error, Result};
use crate::limits;
use crate::proto::offer::Level;

/// Options of [`Link::open`](crate::Link::open).
#[derive(Debug, Clone)]
pub struct LinkOptions {
    pub(crate) connect: ConnectOptions,
    pub(crate) listen: ListenOptions,
    pub(crate) reconnect: bool,
    pub(crate) retries: Option<u32>,
    pub(crate) delay: Duration,
    pub(crate) max_delay: Duration,
}

impl Default for LinkOptions {
    fn default() -> LinkOptions {
        LinkOptions {
            connect: ConnectOptions::new(),
            listen: ListenOptions::new(),
            reconnect: true,
            retries: None,
            delay: limits::LINK_DELAY,
            max_delay: limits::LINK_MAX_DELAY,
        }
    }
}

impl LinkOptions {
    /// The defaults: reconnect for ever.
    pub fn new() -> LinkOptions {
        LinkOptions::default()
    }

    /// The options of the connection, for whichever side this turns out to be: channels, secrets, limits.
    pub fn connection(mut self, connect: ConnectOptions, listen: ListenOptions) -> Self {
        self.connect = connect;
        self.listen = listen;
        self
    }

    /// Whether the link goes on after the other side was lost; default yes. Without it the link ends with that error.
    pub fn reconnect(mut self, again: bool) -> Self {
        self.reconnect = again;
        self
    }

    /// Attempts in a row that may fail before the link ends; default no bound. Waiting for the other side to join, or as a
    /// third for a place, is no attempt, nor is one for which this process has no descriptor left. Of connections in a
    /// row that lasted no longer than the next pause, each after the first is one that failed.
    pub fn retries(mut self, attempts: u32) -> Self {
        self.retries = Some(attempts);
        self
    }

    /// The pause before the second attempt, doubled for each further one up to `most`, each shortened at random by up to half;
    /// defaults [`LINK_DELAY`](limits::LINK_DELAY) and [`LINK_MAX_DELAY`](limits::LINK_MAX_DELAY). Neither may be above
    /// [`MAX_LINK_DELAY`](limits::MAX_LINK_DELAY).
    pub fn delay(mut self, first: Duration, most: Duration) -> Self {
        self.delay = first;
        self.max_delay = most;
        self
    }

    /// What was given, with what a link needs: calls both ways, and no third.
    pub(super) fn checked(mut self, address: &Address) -> Result<LinkOptions> {
        for common in [&mut self.connect.common, &mut self.listen.common] {
            if common.level == Level::Zero {
                return Err(Error::new(Code::InvalidArgument, "a link calls both ways, which takes wire level 1"));
            }
            common.level = Level::One;
        }
        self.listen.only_awaited = true;
        if self.delay.is_zero() || self.max_delay < self.delay {
            return Err(Error::new(Code::InvalidArgument, "the delay must not be zero, nor above the largest"));
        }
        if self.max_delay > limits::MAX_LINK_DELAY {
            let most = limits::MAX_LINK_DELAY;
            return Err(Error::new(Code::InvalidArgument, format!("a delay may be {most:?} at most")));
        }
        match address {
            Address::Name(_) | Address::Path(_) | Address::Abstract(_) | Address::Pipe(_) => Ok(self),
            Address::Tcp(_) | Address::Inproc(_) => Ok(self),
            other => Err(Error::new(Code::Unsupported, format!("{other} has a fixed server, a link has none"))),
        }
    }
}
