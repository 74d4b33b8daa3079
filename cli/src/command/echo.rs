//! `hostlane echo`: send every message back.

use clap::Args;
use hostlane::schema::Violation;
use hostlane::{Bytes, Channel, Code};

use crate::args::Schema;
use crate::exit::{Exit, Failure};
use crate::server::{Next, Place};

/// Answer every message on its channel, and every call, with its own payload
///
/// Serves many clients at once and stays up through idle time, bad clients and silent clients;
/// SIGINT and SIGTERM end it and remove the socket. With --schema an invalid message is answered on
/// the ERROR channel, where the client has it, and the connection goes on.
#[derive(Args)]
pub(crate) struct Echo {
    #[command(flatten)]
    place: Place,

    #[command(flatten)]
    schema: Schema,
}

impl Echo {
    pub(crate) fn run(self) -> Result<Exit, Failure> {
        let schemas = self.schema.load()?;
        self.place.serve(|client, message| {
            let violation = schemas.as_ref().and_then(|set| set.validate(message.channel(), message.payload()).err());
            let Some(violation) = violation else {
                return Ok(Next::Answer(message.channel(), message.into_payload()));
            };
            log::warn!("{}: {violation}", client.info.peer_id);
            Ok(if client.info.channels.contains(&Channel::ERROR) {
                Next::Answer(Channel::ERROR, rejection(&violation))
            } else {
                Next::Receive
            })
        })?;
        Ok(Exit::Success)
    }
}

fn rejection(violation: &Violation) -> Bytes {
    let code = Code::SchemaViolation;
    let error = serde_json::json!({"error": {
        "code": code.number(),
        "name": code.name(),
        "message": violation.text(),
        "path": violation.instance_path(),
        "schema_path": violation.schema_path(),
    }});
    error.to_string().into()
}
