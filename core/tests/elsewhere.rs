//! A subscriber of `tracing` for the whole process that takes long: what others count on goes on beside it.

mod common;

use std::sync::{Mutex, Once, mpsc};

use common::hears::{Fields, Hears, shown};
use common::{Place, SOON, pair};
use tracing::Level;

/// What is to hold a thread of the library's up: an address, whom to tell, what to wait for.
type HeldUp = (String, mpsc::Sender<()>, mpsc::Receiver<()>);

static HELD_UP: Mutex<Vec<HeldUp>> = Mutex::new(Vec::new());

fn hold(_: Level, fields: Fields) {
    let current = std::thread::current();
    let name = current.name().unwrap_or_default();
    if !(name.starts_with("hostlane-") || name.starts_with("tokio-")) {
        return;
    }
    let fields = shown(&fields);
    let held_up = {
        let mut held_up = HELD_UP.lock().unwrap();
        let at = held_up
            .iter()
            .position(|(address, ..)| fields.contains("event=\"ended\"") && fields.contains(address.as_str()));
        at.map(|at| held_up.remove(at))
    };
    if let Some((_, tell, wait)) = held_up {
        tell.send(()).unwrap();
        let _ = wait.recv_timeout(3 * SOON);
    }
}

/// Holds up whoever of the library's threads tells that a connection of `place` has ended.
fn hold_up(place: &Place) -> (mpsc::Receiver<()>, mpsc::Sender<()>) {
    static SUBSCRIBED: Once = Once::new();
    SUBSCRIBED.call_once(|| {
        tracing::subscriber::set_global_default(Hears { most: Level::TRACE, hear: hold }).unwrap();
    });
    let ((tell, told), (go_on, wait)) = (mpsc::channel(), mpsc::channel());
    HELD_UP.lock().unwrap().push((place.address(""), tell, wait));
    (told, go_on)
}

#[test]
fn the_io_thread_attends_to_others_beside_a_subscriber_that_takes_long() {
    let (place, other) = (Place::new(), Place::new());
    let (told, go_on) = hold_up(&place);
    let (client, server) = pair(&place);
    let (attached, pings) = pair(&other);
    client.attach().unwrap();
    attached.attach().unwrap();
    server.close();
    told.recv_timeout(SOON).expect("the end is told");
    pings.ping(SOON).unwrap();
    go_on.send(()).unwrap();
}

#[cfg(feature = "tokio")]
#[test]
fn futures_go_on_beside_a_subscriber_that_takes_long() {
    use hostlane::{Channel, Listener, aio};
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(3).enable_all().build().unwrap();
    let (place, other) = (Place::new(), Place::new());
    let (told, go_on) = hold_up(&place);
    let connect = |place: &Place| {
        let address = place.address("aio.sock");
        let listener = Listener::bind(&address).unwrap();
        let client = runtime.spawn(async move { aio::connect(&address).await.unwrap() });
        let server = listener.accept(SOON).unwrap();
        (runtime.block_on(client).unwrap(), server)
    };
    let ((client, server), (receiving, sending)) = (connect(&place), connect(&other));
    // Two that wait, so that the runtime's task drives, or whoever of them is polled.
    let ending = runtime.spawn(async move { client.recv().await.is_err() });
    let receiving = runtime.spawn(async move {
        for _ in 0..100 {
            receiving.recv().await.unwrap();
        }
    });
    server.close();
    told.recv_timeout(SOON).expect("the end is told");
    for _ in 0..100 {
        sending.send(Channel::DATA, b"meanwhile", SOON).unwrap();
        std::thread::yield_now();
    }
    runtime.block_on(async { tokio::time::timeout(SOON, receiving).await }).expect("it goes on").unwrap();
    go_on.send(()).unwrap();
    assert!(runtime.block_on(ending).unwrap());
}
