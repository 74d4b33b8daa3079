//! The answering side on a context.

use std::collections::HashMap;

use frame::{Answer, Result, Service, ready};
use hostlane::{Code, Context, Listener, Message, Outcome, Peer, Started, Wait};

/// Serves all clients with one thread.
pub fn serve(address: &str) -> Result<()> {
    let listener = Listener::bind(address)?;
    let context = Context::new()?;
    // By the operation that tells when there is more.
    let mut clients: HashMap<u64, Client> = HashMap::new();
    context.accept(&listener, None)?;
    ready(address)?;
    loop {
        let completion = context.next(Wait::forever())?;
        let client = match completion.result {
            Ok(Outcome::Accepted(peer)) => {
                context.accept(&listener, None)?;
                Some(Client { peer, service: Service::default() })
            }
            Err(error) if error.code() != Code::PeerClosed => return Err(error.into()),
            _ => clients.remove(&completion.op),
        };
        // What nobody waits for is a reply that has left.
        let Some(mut client) = client else { continue };
        if let Some(more) = client.answer(&context)? {
            clients.insert(more, client);
        }
    }
}

struct Client {
    peer: Peer,
    service: Service,
}

impl Client {
    /// Answers what is here. The operation that tells when there is more; none when the client has left.
    fn answer(&mut self, context: &Context) -> Result<Option<u64>> {
        let _cork = context.cork(&self.peer);
        loop {
            match context.poll_recv(&self.peer, None, None) {
                Ok(Started::Done(Outcome::Message(message))) => reply(context, &mut self.service, &message)?,
                Ok(Started::Pending(more)) => return Ok(Some(more)),
                Ok(other) => return Err(format!("{other:?} where a message was due").into()),
                Err(error) if error.code() == Code::PeerClosed => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

fn reply(context: &Context, service: &mut Service, message: &Message) -> Result<()> {
    match service.handle(message.payload())? {
        Answer::Echo => context.reply(message, message.payload().clone(), None)?,
        Answer::Nothing => return Ok(()),
        Answer::Report(report) => context.reply(message, report.to_vec(), None)?,
    };
    Ok(())
}
