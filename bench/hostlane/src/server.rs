//! The answering side.

use frame::{Answer, Result, Service, ready, serve_each};
use hostlane::{Batch, Code, Listener, Peer, Wait};

use crate::LIMIT;

/// Messages taken at once.
const MOST: usize = 16;

/// Serves all clients.
pub fn serve(address: &str) -> Result<()> {
    let listener = Listener::bind(address)?;
    ready(address)?;
    serve_each(move || Ok(listener.accept(Wait::forever())?), answer)
}

fn answer(peer: Peer) -> Result<()> {
    let mut service = Service::default();
    let mut batch = Batch::new();
    loop {
        match peer.recv_batch(&mut batch, MOST, Wait::forever()) {
            Err(error) if error.code() == Code::PeerClosed => return Ok(()),
            received => received?,
        }
        let cork = (batch.len() > 1).then(|| peer.cork());
        for message in batch.iter() {
            match service.handle(message.payload())? {
                Answer::Echo => message.reply(message.payload(), LIMIT)?,
                Answer::Nothing => {}
                Answer::Report(report) => message.reply(&report, LIMIT)?,
            }
        }
        drop(cork);
    }
}
