//! Connections that end with their thread: kept in a thread-local of the program's, which outlives those of the library.

mod common;

use std::cell::RefCell;
use std::sync::mpsc;

use common::{Place, SOON, pair};
use hostlane::{Channel, Code, Peer};

/// Receives once more, and closes.
struct Last {
    peer: Peer,
    told: mpsc::Sender<Option<Code>>,
}

impl Drop for Last {
    fn drop(&mut self) {
        let received = self.peer.recv_on(Channel::ERROR, SOON);
        let _ = self.told.send(received.err().map(|error| error.code()));
    }
}

thread_local! {
    static KEPT: RefCell<Option<Last>> = const { RefCell::new(None) };
}

#[test]
fn a_peer_may_be_used_and_closed_by_the_end_of_its_thread() {
    let place = Place::new();
    let (client, server) = pair(&place);
    let (told, hears) = mpsc::channel();
    let thread = std::thread::spawn(move || {
        // Known to the thread before anything of the library's, and so dropped after it.
        KEPT.with(|kept| assert!(kept.borrow().is_none()));
        client.ping(SOON).unwrap();
        KEPT.set(Some(Last { peer: client, told }));
    });
    // Answers the ping; then the thread's last call waits for what comes here.
    assert_eq!(server.recv(SOON / 20).map(drop).unwrap_err().code(), Code::Timeout);
    server.send(Channel::ERROR, b"last", SOON).unwrap();
    assert_eq!(hears.recv_timeout(SOON).unwrap(), None);
    thread.join().unwrap();
    assert_eq!(server.recv(SOON).unwrap_err().code(), Code::PeerClosed);
}
