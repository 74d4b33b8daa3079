//! The answering side.

use frame::{Answer, Result, Service, ready};
use hostlane::{Code, Listener, Peer, Wait};

use crate::LIMIT;

/// Serves one client after the other.
pub(crate) fn serve(address: &str) -> Result<()> {
    let listener = Listener::bind(address)?;
    ready(address)?;
    loop {
        answer(&listener.accept(Wait::forever())?)?;
    }
}

fn answer(peer: &Peer) -> Result<()> {
    let mut service = Service::default();
    loop {
        let message = match peer.recv(Wait::forever()) {
            Err(error) if error.code() == Code::PeerClosed => return Ok(()),
            received => received?,
        };
        match service.handle(message.payload())? {
            Answer::Echo => message.reply(message.payload(), LIMIT)?,
            Answer::Nothing => {}
            Answer::Report(report) => message.reply(&report, LIMIT)?,
        }
    }
}
