//! `hostlane request`: a call and its reply.

use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use hostlane::{Channel, Message, Peer};

use crate::args::{self, Payload, Schema};
use crate::client::{Target, deadline, verdict};
use crate::exit::{Exit, Failure};
use crate::message::Received;
use crate::output::Output;

/// Make a call and print the reply
///
/// A server may answer on the ERROR channel instead; that ends the call too.
#[derive(Args)]
pub(crate) struct Request {
    #[command(flatten)]
    target: Target,

    #[command(flatten)]
    payload: Payload,

    /// Time for all of it: connecting, the call and its reply
    #[arg(long, value_name = "D", value_parser = args::duration, default_value = "5s")]
    deadline: Duration,

    #[command(flatten)]
    schema: Schema,
}

impl Request {
    pub(crate) fn run(self, output: &Output) -> Result<Exit, Failure> {
        let payload = self.payload.read()?;
        self.schema.check(Channel::COMMAND, &payload)?;
        let until = deadline(self.deadline);
        let peer = self.target.connect(&Channel::DEFAULT, until)?;
        let answer = call(&peer, payload, until)?;
        output.report(&Received::new(&answer, &peer.info()?, None))?;
        Ok(verdict(&answer, Channel::COMMAND))
    }
}

/// The reply, or what came on ERROR if that was first. Either closes the connection, which ends the
/// wait for the other.
fn call(peer: &Peer, payload: Vec<u8>, until: Instant) -> Result<Message, Failure> {
    thread::scope(|scope| {
        let refusal = scope.spawn(|| {
            let message = peer.recv_on(Channel::ERROR, until).ok();
            if message.is_some() {
                peer.close();
            }
            message
        });
        let reply = peer.request(payload).and_then(|call| call.wait(until));
        peer.close();
        match (reply, refusal.join()) {
            (Err(_), Ok(Some(refusal))) => Ok(refusal),
            (reply, _) => Ok(reply?),
        }
    })
}
