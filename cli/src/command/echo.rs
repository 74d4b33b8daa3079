//! `hostlane echo`: send every message back.

use clap::Args;
use hostlane::schema::Violation;
use hostlane::{Bytes, Channel, Code};

use crate::args::Schema;
use crate::exit::{Exit, Failure};
use crate::server::{Next, Place};

/// Answer every message on its channel, and every call, with its own payload
///
/// A stream gets its items back, and its opening payload at the end. Serves many clients at once, and any number of
/// calls of each; stays up through idle time, bad clients and silent clients; SIGINT and SIGTERM end it and remove
/// the socket. With --schema an invalid call fails with code 401, an invalid message is answered on the ERROR channel,
/// where the client has it, and the connection goes on.
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
        self.place.serve(true, |client, message| {
            let violation = schemas.as_ref().and_then(|set| set.validate(message.channel(), message.payload()).err());
            let Some(violation) = violation else {
                let payload = message.payload().clone();
                let stream = message.is_stream();
                return Ok(if stream { Next::Mirror(message) } else { Next::Reply(message, payload) });
            };
            log::warn!("{}: {violation}", client.info.peer_id);
            Ok(if message.is_request() {
                Next::Fail(message, Code::SchemaViolation.number().unsigned_abs(), rejection(&violation))
            } else if client.info.channels.contains(&Channel::ERROR) {
                Next::Send(Channel::ERROR, rejection(&violation))
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
