//! Events as `tracing` events.

mod common;

use std::fmt::Debug;
use std::sync::{Arc, Mutex, OnceLock};

use common::{Place, SOON, pair};
use hostlane::{Code, Peer, log};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Keeps the fields of events, and uses a peer at each, as one would that ships its log through it.
#[derive(Clone, Default)]
struct Ships {
    seen: Arc<Mutex<Vec<(Level, String)>>>,
    through: Arc<OnceLock<Arc<Peer>>>,
}

#[derive(Default)]
struct Fields(String);

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0 += &format!("{}={value:?} ", field.name());
    }
}

impl Subscriber for Ships {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target() == "hostlane" && *metadata.level() <= Level::INFO
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        if let Some(peer) = self.through.get() {
            // It would wait for ever if the library told under the peer's lock.
            peer.stats().unwrap();
            assert!(!peer.is_open());
        }
        let mut fields = Fields::default();
        event.record(&mut fields);
        self.seen.lock().unwrap().push((*event.metadata().level(), fields.0));
    }
}

#[test]
fn each_event_is_traced_where_it_happens_with_no_lock_held() {
    let ships = Ships::default();
    tracing::subscriber::set_global_default(ships.clone()).unwrap();
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
