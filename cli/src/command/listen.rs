//! `hostlane listen`: print every message of every client.

use clap::Args;

use crate::args::Schema;
use crate::exit::{Exit, Failure};
use crate::message::Received;
use crate::output::Output;
use crate::server::{Next, Place};

/// Print every message that arrives
///
/// A call is shown with its id; nobody answers it, and its caller is told so at once where the connection can tell. Stays up through idle time, bad clients and silent clients; SIGINT and SIGTERM end it and remove
/// the socket.
#[derive(Args)]
pub(crate) struct Listen {
    #[command(flatten)]
    place: Place,

    /// End after N messages; with --schema the exit code is 60 if one of them was invalid
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,

    #[command(flatten)]
    schema: Schema,
}

impl Listen {
    pub(crate) fn run(self, output: &Output) -> Result<Exit, Failure> {
        let schemas = self.schema.load()?;
        let mut left = self.count;
        let mut exit = Exit::Success;
        self.place.serve(false, |client, message| {
            let violation = schemas.as_ref().and_then(|set| set.validate(message.channel(), message.payload()).err());
            if let Some(violation) = &violation {
                log::warn!("{}: {violation}", client.info.peer_id);
                exit = Exit::Schema;
            }
            output.report(&Received::new(&message, &client.info, violation.as_ref()))?;
            left = left.map(|left| left - 1);
            Ok(if left == Some(0) { Next::Stop } else { Next::Receive })
        })?;
        Ok(exit)
    }
}
