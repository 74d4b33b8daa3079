//! What a connection noticed, told to the log.

use crate::error::{Code, Error};
use crate::log::{self, Event, Level};
use crate::proto::conn::Conn;
use crate::proto::notice::Notice;

/// Tells what has happened to `conn` since the last time.
pub(crate) fn conn(conn: &mut Conn, address: &str) {
    for notice in conn.take_notices() {
        let peer = conn.agreed().peer_id.as_str();
        match notice {
            Notice::Opened => log::tell(Level::Info, Event::Connected, peer, address, None, || {
                let agreed = conn.agreed();
                let channels = agreed.channels.as_slice().len();
                format!("connected on wire level {}, {channels} channels", agreed.level)
            }),
            Notice::Ended(error) => ended(peer, address, &error, conn.was_opened()),
            Notice::Draining { by_peer } => log::tell(Level::Info, Event::Draining, peer, address, None, || {
                format!("{} side ends the connection in order", if by_peer { "the other" } else { "this" })
            }),
            Notice::Dropping(channel) => log::tell(Level::Warn, Event::Dropping, peer, address, None, || {
                format!("messages on channel {channel} are dropped: the other side takes them too slowly")
            }),
            Notice::QueueHigh { channel, sending, bytes, limit } => {
                log::tell(Level::Warn, Event::QueueHigh, peer, address, None, || {
                    let of = channel.map_or(String::new(), |channel| format!(" of channel {channel}"));
                    let what = if sending { "to be sent" } else { "for the program" };
                    format!("{bytes} of {limit} bytes{of} wait {what}")
                });
            }
        }
    }
}

fn ended(peer: &str, address: &str, error: &Error, opened: bool) {
    if error.code() == Code::PeerUnresponsive {
        log::tell(Level::Warn, Event::KeepaliveMissed, peer, address, Some(error), || error.message().to_owned());
    }
    let (level, event) = match error.code() {
        _ if !opened => (Level::Warn, Event::HandshakeFailed),
        Code::Closed | Code::PeerClosed => (Level::Info, Event::Ended),
        Code::Internal => (Level::Error, Event::Ended),
        _ => (Level::Warn, Event::Ended),
    };
    log::tell(level, event, peer, address, Some(error), || error.message().to_owned());
}

/// Tells that a listener at `address` turned a client away.
pub(crate) fn refused(address: &str, error: &Error) {
    log::tell(Level::Warn, Event::Refused, "", address, Some(error), || error.message().to_owned());
}

/// Tells that a listener takes no more clients for a moment, and why.
pub(crate) fn paused(address: &str, error: &Error) {
    log::tell(Level::Error, Event::AcceptPaused, "", address, Some(error), || error.message().to_owned());
}
