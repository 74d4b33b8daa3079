//! A connected client, and the streams that are mirrored to it.

use std::collections::HashMap;

use hostlane::{Channel, Error, Info, Message, Peer, Stream};

/// A connected client.
pub(crate) struct Client {
    pub(super) peer: Peer,
    pub(crate) info: Info,
    /// Operations under way.
    pub(super) pending: usize,
    /// Why nothing is received any more.
    pub(super) end: Option<Error>,
    /// By the id of their call.
    pub(super) mirrors: HashMap<u64, Mirror>,
}

/// A stream whose items go back where they came from.
pub(super) struct Mirror {
    pub(super) stream: Stream,
    /// The call that opened it, to be answered at its end.
    pub(super) request: Message,
}

impl Client {
    pub(super) fn new(peer: Peer, info: Info) -> Client {
        Client { peer, info, pending: 0, end: None, mirrors: HashMap::new() }
    }

    /// What is received side by side: each channel where credit keeps a blocked one from holding up the others, all
    /// together where there is none, in the order of arrival.
    pub(super) fn lanes(&self, apart: bool) -> Vec<Option<Channel>> {
        if apart && self.info.level > 0 { self.info.channels.iter().copied().map(Some).collect() } else { vec![None] }
    }
}
