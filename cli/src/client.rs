//! What the connecting commands share: one connection, one deadline for everything.

use std::time::{Duration, Instant};

use clap::Args;
use hostlane::{Address, Channel, Code, ConnectOptions, Message, Peer};

use crate::args::{Access, Wire, with_flags};
use crate::exit::{Exit, Failure};

/// Whom to connect to.
#[derive(Args)]
pub(crate) struct Target {
    /// Address: a name, a socket path, unix:…, tcp::7000, spawn:command, fd:3, stdio:
    #[arg(value_name = "ADDR")]
    address: String,

    #[command(flatten)]
    wire: Wire,

    #[command(flatten)]
    access: Access,
}

impl Target {
    pub(crate) fn connect(&self, channels: &[Channel], until: Instant) -> Result<Peer, Failure> {
        let address: Address = self.address.parse()?;
        let options = self.wire.apply(ConnectOptions::new().channels(channels));
        let options = self.access.apply(options)?;
        Ok(Peer::connect_with(&address, &options, until).map_err(|error| with_flags(error, &address))?)
    }
}

/// The moment a duration from now ends; one too long to count ends in about 30 years.
pub(crate) fn deadline(after: Duration) -> Instant {
    const LONG: Duration = Duration::from_secs(30 * 365 * 24 * 3600);
    let now = Instant::now();
    now.checked_add(after.min(LONG)).unwrap_or(now)
}

/// An answer on ERROR is a failure; where it carries one of hostlane's numbers, that failure.
pub(crate) fn verdict(answer: &Message, asked: Channel) -> Exit {
    if answer.channel() != Channel::ERROR || asked == Channel::ERROR {
        return Exit::Success;
    }
    serde_json::from_slice::<serde_json::Value>(answer.payload())
        .ok()
        .and_then(|body| body.pointer("/error/code")?.as_i64())
        .and_then(|number| Code::from_number(number.try_into().ok()?))
        .unwrap_or(Code::RemoteError)
        .into()
}
