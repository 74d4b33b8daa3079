//! What an operation is asked to do.

use std::time::{Duration, Instant};

use hostlane::{CallOptions, Channel, Result};
use serde_json::{Map, Value};

/// How long an operation may take that names no limit, in milliseconds.
pub(crate) const WAIT: u64 = 10_000;

/// The arguments of an operation.
pub(crate) struct Asked(pub(crate) Map<String, Value>);

impl Asked {
    pub(crate) fn text(&self, name: &str) -> &str {
        self.0.get(name).and_then(Value::as_str).unwrap_or_default()
    }

    pub(crate) fn number(&self, name: &str, otherwise: u64) -> u64 {
        self.0.get(name).and_then(Value::as_u64).unwrap_or(otherwise)
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        self.0.contains_key(name)
    }

    pub(crate) fn wait(&self) -> Duration {
        Duration::from_millis(self.number("timeout_ms", WAIT))
    }

    pub(crate) fn channel(&self, name: &str, otherwise: Channel) -> Result<Channel> {
        let number = self.number(name, otherwise.number().into());
        Channel::new(u16::try_from(number).unwrap_or(u16::MAX))
    }

    /// The text, made as long as asked.
    pub(crate) fn payload(&self) -> Vec<u8> {
        let mut payload = self.text("text").as_bytes().to_vec();
        if self.has("size") {
            let size = usize::try_from(self.number("size", 0)).unwrap_or(usize::MAX);
            payload.extend((0..=250_u8).cycle().take(size.saturating_sub(payload.len())));
        }
        payload
    }

    pub(crate) fn call_options(&self) -> Result<CallOptions> {
        let mut options = CallOptions::new().deadline(Instant::now() + self.wait());
        options = options.channel(self.channel("channel", Channel::COMMAND)?);
        if self.has("key") {
            options = options.idempotency_key(self.text("key").to_owned());
        }
        if self.has("trace") {
            options = options.trace(self.text("trace").to_owned());
        }
        Ok(options)
    }
}

/// The options of both sides; a macro, because both kinds have the same setters and no common type.
macro_rules! options {
    ($options:expr, $asked:expr) => {{
        let mut options = $options;
        if $asked.has("level") {
            options = options.level(if $asked.number("level", 0) == 0 {
                hostlane::Level::Zero
            } else {
                hostlane::Level::One
            });
        }
        if $asked.has("secret") {
            options = options.secret(hostlane::Secret::new($asked.text("secret"))?);
        }
        if $asked.has("max_calls") {
            options = options.max_calls($asked.number("max_calls", 0) as usize);
        }
        if $asked.has("keepalive_ms") {
            options = options.keepalive(Duration::from_millis($asked.number("keepalive_ms", 0)));
        }
        if $asked.has("max_message") {
            options = options.max_message($asked.number("max_message", 0) as usize);
        }
        if let Some(numbers) = $asked.0.get("channels").and_then(Value::as_array) {
            let numbers = numbers.iter().map(|number| hostlane::Channel::new(number.as_u64().unwrap_or(0) as u16));
            options = options.channels(&numbers.collect::<Result<Vec<_>>>()?);
        }
        if $asked.has("policy") {
            let policy = match $asked.text("policy") {
                "error" => hostlane::Policy::Error,
                "drop_oldest" => hostlane::Policy::DropOldest,
                "latest" => hostlane::Policy::Latest,
                _ => hostlane::Policy::Block,
            };
            options = options.policy($asked.channel("policy_channel", hostlane::Channel::DATA)?, policy);
        }
        options
    }};
}

pub(crate) use options;

/// A message that begins with its number.
pub(crate) fn numbered(number: u64, size: usize) -> Vec<u8> {
    let mut message = format!("{number}.").into_bytes();
    message.resize(message.len().max(size), b'.');
    message
}
