//! `hostlane request`: calls and their replies.

use std::collections::VecDeque;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use hostlane::{Bytes, CallOptions, Channel, Message, Peer};

use crate::args::{self, Payload, Schema};
use crate::client::{Target, deadline, verdict};
use crate::exit::{Exit, Failure};
use crate::message::{Failed, Received};
use crate::output::Output;

/// Make a call and print the reply
///
/// The server is told how long the caller waits. When its program fails the call, code and data are printed. A server on
/// level 0 may answer on the ERROR channel instead; that ends the call too.
#[derive(Args)]
#[command(override_usage = "hostlane request [OPTIONS] ADDR <TEXT|-|--data S|--json S|--file F>")]
pub(crate) struct Request {
    #[command(flatten)]
    target: Target,

    /// Channel of the call: command, data, telemetry, error, or a number; on level 0 command alone
    #[arg(long, short, value_name = "N", value_parser = args::channel, default_value = "command")]
    channel: Channel,

    #[command(flatten)]
    payload: Payload,

    /// Make the call N times, and print every reply
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..), default_value_t = 1)]
    count: u64,

    /// Have so many of them under way at a time
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u16).range(1..=1024), default_value_t = 1)]
    in_flight: u16,

    /// Time for all of it: connecting, the calls and their replies
    #[arg(long, alias = "timeout", value_name = "D", value_parser = args::duration, default_value = "5s")]
    deadline: Duration,

    #[command(flatten)]
    schema: Schema,
}

impl Request {
    pub(crate) fn run(self, output: &Output) -> Result<Exit, Failure> {
        let payload = Bytes::from(self.payload.read()?);
        self.schema.check(self.channel, &payload)?;
        let until = deadline(self.deadline);
        let mut channels = Channel::DEFAULT.to_vec();
        if !channels.contains(&self.channel) {
            channels.push(self.channel);
        }
        let peer = self.target.connect(&channels, until)?;
        let info = peer.info()?;
        let print = |reply: &Message| output.report(&Received::new(reply, &info, None));
        let ended = if info.level == 0 {
            self.ask_level_0(&peer, &payload, until, print)
        } else {
            self.ask(&peer, &payload, until, print).map(|()| Exit::Success)
        };
        peer.close();
        if let Err(Failure::Lane(error)) = &ended
            && let Some(failed) = Failed::new(error)
        {
            output.report(&failed)?;
        }
        ended
    }

    /// Makes the calls and hands out their replies, in order.
    fn ask(
        &self,
        peer: &Peer,
        payload: &Bytes,
        until: Instant,
        reply: impl Fn(&Message) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let (mut left, mut open) = (self.count, VecDeque::new());
        loop {
            while left > 0 && open.len() < self.in_flight.into() {
                let options = CallOptions::new().channel(self.channel).deadline(until);
                open.push_back(peer.start_with(payload.clone(), options)?);
                left -= 1;
            }
            match open.pop_front() {
                Some(call) => reply(&call.wait(until)?)?,
                None => return Ok(()),
            }
        }
    }

    /// The same on level 0, where a message on ERROR may come instead of a reply. Whatever is first closes the
    /// connection, which ends the wait for the other.
    fn ask_level_0(
        &self,
        peer: &Peer,
        payload: &Bytes,
        until: Instant,
        reply: impl Fn(&Message) -> Result<(), Failure>,
    ) -> Result<Exit, Failure> {
        let (ended, refusal) = thread::scope(|scope| {
            let refusal = scope.spawn(|| {
                let message = peer.recv_on(Channel::ERROR, until).ok();
                if message.is_some() {
                    peer.close();
                }
                message
            });
            let ended = self.ask(peer, payload, until, &reply);
            peer.close();
            (ended, refusal.join())
        });
        match (ended, refusal) {
            (Err(_), Ok(Some(refusal))) => {
                reply(&refusal)?;
                Ok(verdict(&refusal, Channel::COMMAND))
            }
            (ended, _) => ended.map(|()| Exit::Success),
        }
    }
}
