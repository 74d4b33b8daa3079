//! `hostlane info`: who serves an address.

use std::time::Duration;

use clap::Args;
use hostlane::Channel;
use serde::Serialize;

use crate::args;
use crate::client::{Target, deadline};
use crate::exit::{Exit, Failure};
use crate::logging::printable;
use crate::message::Credentials;
use crate::output::{Output, Report, aligned};

/// Print who serves an address, and how far away it is
#[derive(Args)]
pub(crate) struct Info {
    #[command(flatten)]
    target: Target,

    /// Ask for this channel, by number or name; repeatable [default: 1, 2, 3 and 4]
    #[arg(long = "channel", short, value_name = "N", value_parser = args::channel)]
    channels: Vec<Channel>,

    /// Time for all of it: connecting and the ping
    #[arg(long, alias = "deadline", value_name = "D", value_parser = args::duration, default_value = "5s")]
    timeout: Duration,
}

#[derive(Serialize)]
struct Facts {
    address: String,
    peer_id: String,
    level: u8,
    features: Vec<String>,
    channels: Vec<ChannelFacts>,
    credentials: Option<Credentials>,
    carrier: &'static str,
    /// How long the other side hears nothing before it asks for a sign of life.
    keepalive_ms: Option<u64>,
    max_message: usize,
    /// Calls the other side serves at a time.
    max_calls: usize,
    ping_us: f64,
    stats: Counters,
}

/// What the connection did.
#[derive(Serialize)]
struct Counters {
    calls: u64,
    open_calls: usize,
    calls_served: u64,
    calls_cancelled: u64,
    late: u64,
    receive_queue_bytes: usize,
    send_queue_bytes: usize,
}

#[derive(Serialize)]
struct ChannelFacts {
    id: u16,
    name: Option<&'static str>,
    /// Bytes the other side would take now; level 0 has no credit.
    credit: Option<u64>,
}

impl Info {
    pub(crate) fn run(self, output: &Output) -> Result<Exit, Failure> {
        let until = deadline(self.timeout);
        let channels = if self.channels.is_empty() { &Channel::DEFAULT } else { &self.channels[..] };
        let peer = self.target.connect(channels, until)?;
        let ping = peer.ping(until)?;
        let info = peer.info()?;
        let stats = peer.stats()?;
        let channel = |channel: &Channel| ChannelFacts {
            id: channel.number(),
            name: channel.name(),
            credit: stats.channels.iter().find(|c| info.level > 0 && c.channel == *channel).map(|c| c.send_credit),
        };
        output.report(&Facts {
            address: info.address,
            peer_id: info.peer_id,
            level: info.level,
            features: info.features,
            channels: info.channels.iter().map(channel).collect(),
            credentials: info.credentials.map(Credentials::from),
            carrier: info.carrier,
            keepalive_ms: info.peer_keepalive.map(|every| every.as_millis().try_into().unwrap_or(u64::MAX)),
            max_message: info.max_message,
            max_calls: info.max_calls,
            ping_us: ping.as_nanos() as f64 / 1000.0,
            stats: Counters {
                calls: stats.calls,
                open_calls: stats.open_calls,
                calls_served: stats.calls_served,
                calls_cancelled: stats.calls_cancelled,
                late: stats.late,
                receive_queue_bytes: stats.receive_queue.bytes,
                send_queue_bytes: stats.send_queue.bytes,
            },
        })?;
        Ok(Exit::Success)
    }
}

impl Report for Facts {
    fn table(&self) -> String {
        let channels: Vec<String> = self
            .channels
            .iter()
            .map(|channel| {
                let name = channel.name.map_or(String::new(), |name| format!(" {name}"));
                let credit = channel.credit.map_or(String::new(), |bytes| format!(" ({bytes} bytes of credit)"));
                format!("{}{name}{credit}", channel.id)
            })
            .collect();
        let features = match &self.features[..] {
            [] => "none".to_owned(),
            features => printable(&features.join(", ")),
        };
        let credentials = match self.credentials {
            Some(Credentials { pid, uid, gid }) => format!("pid {pid}, uid {uid}, gid {gid}"),
            None => "unknown".to_owned(),
        };
        aligned(&[
            ("address", printable(&self.address)),
            ("peer id", printable(&self.peer_id)),
            ("level", self.level.to_string()),
            ("features", features),
            ("channels", channels.join(", ")),
            ("credentials", credentials),
            ("carrier", self.carrier.into()),
            ("max message", format!("{} bytes", self.max_message)),
            ("max calls", format!("{} at a time", self.max_calls)),
            ("keepalive", self.keepalive_ms.map_or("none".to_owned(), |ms| format!("after {ms} ms"))),
            ("ping", format!("{:.1} us", self.ping_us)),
        ])
    }

    fn raw(&self) -> Vec<u8> {
        format!("{}\n", self.peer_id).into_bytes()
    }
}
