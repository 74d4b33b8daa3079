//! `hostlane send`: one message, and the answer to it if asked for.

use std::time::Duration;

use clap::Args;
use hostlane::Channel;
use serde::Serialize;

use crate::args::{self, Payload, Schema};
use crate::client::{Target, deadline, verdict};
use crate::exit::{Exit, Failure};
use crate::message::Received;
use crate::output::{Output, Report, aligned};

/// Send one message
#[derive(Args)]
#[command(override_usage = "hostlane send [OPTIONS] ADDR <TEXT|-|--data S|--json S|--file F>")]
pub(crate) struct Send {
    #[command(flatten)]
    target: Target,

    /// Channel to send on: command, data, telemetry, error, or a number
    #[arg(long, short, value_name = "N", value_parser = args::channel, default_value = "data")]
    channel: Channel,

    #[command(flatten)]
    payload: Payload,

    /// Wait for the first answer on the channel or on ERROR, and print it
    #[arg(long)]
    wait: bool,

    /// Time for all of it: connecting, sending and waiting
    #[arg(long, alias = "deadline", value_name = "D", value_parser = args::duration, default_value = "5s")]
    timeout: Duration,

    #[command(flatten)]
    schema: Schema,
}

#[derive(Serialize)]
struct Sent {
    sent: bool,
    channel: u16,
    channel_name: Option<&'static str>,
    size: usize,
}

impl Send {
    pub(crate) fn run(self, output: &Output) -> Result<Exit, Failure> {
        let payload = self.payload.read()?;
        self.schema.check(self.channel, &payload)?;
        let until = deadline(self.timeout);
        // ERROR too, because that is where a refusal of the message comes.
        let peer = self.target.connect(&[self.channel, Channel::ERROR], until)?;
        let size = payload.len();
        peer.send(self.channel, payload, until)?;
        if !self.wait {
            output.report(&Sent {
                sent: true,
                channel: self.channel.number(),
                channel_name: self.channel.name(),
                size,
            })?;
            return Ok(Exit::Success);
        }
        // Nothing but these two channels was agreed, so whatever comes first is the answer.
        let answer = peer.recv(until)?;
        output.report(&Received::new(&answer, &peer.info()?, None))?;
        Ok(verdict(&answer, self.channel))
    }
}

impl Report for Sent {
    fn table(&self) -> String {
        let channel = self.channel_name.map_or(self.channel.to_string(), str::to_owned);
        aligned(&[("sent", format!("{} bytes on {channel}", self.size))])
    }

    fn raw(&self) -> Vec<u8> {
        Vec::new()
    }
}
