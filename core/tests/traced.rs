//! Events as `tracing` events.

mod common;

use std::sync::{Arc, Mutex, OnceLock};

use common::hears::{Fields, Hears, shown};
use common::{Place, SOON, pair};
use hostlane::{Code, Peer, log};
use tracing::Level;

/// Keeps the fields of events, and uses a peer at each, as one would that ships its log through it.
#[derive(Clone, Default)]
struct Ships {
    seen: Arc<Mutex<Vec<(Level, String)>>>,
    through: Arc<OnceLock<Arc<Peer>>>,
}

impl Ships {
    fn hear(&self, level: Level, fields: Fields) {
        if let Some(peer) = self.through.get() {
            // It would wait for ever if the library told under the peer's lock.
            peer.stats().unwrap();
            assert!(!peer.is_open());
        }
        self.seen.lock().unwrap().push((level, shown(&fields)));
    }
}

#[test]
fn each_event_is_traced_where_it_happens_with_no_lock_held() {
    let ships = Ships::default();
    let ears = ships.clone();
    let hear = move |level, fields| ears.hear(level, fields);
    tracing::subscriber::set_global_default(Hears { most: Level::INFO, hear }).unwrap();
    let place = Place::new();
    let (client, server) = pair(&place);
    let (client, server) = (Arc::new(client), server);
    ships.through.set(client.clone()).unwrap();
    client.close();
    assert_eq!(server.recv(SOON).unwrap_err().code(), Code::PeerClosed);
    let seen = ships.seen.lock().unwrap();
    let with = |parts: &[&str]| seen.iter().filter(|(_, f)| parts.iter().all(|part| f.contains(part))).count();
    assert!(seen.iter().all(|(level, _)| *level == Level::INFO));
    assert_eq!(with(&["event=\"connected\"", "peer=\"peer-1\"", "pair.sock"]), 2, "{seen:?}");
    assert_eq!(with(&["event=\"ended\"", "code=\"closed\"", "message="]), 1, "{seen:?}");
    assert_eq!(with(&["event=\"ended\"", "code=\"peer_closed\""]), 1, "{seen:?}");
    assert_eq!(log::level(), log::Level::Off);
    let mut kept = Vec::new();
    log::drain(&mut kept);
    assert!(kept.is_empty(), "what is traced is not kept unless that was asked for");
}
