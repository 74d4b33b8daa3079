use std::os::fd::AsFd;
use std::time::Duration;

use super::*;
use crate::os::poller;

fn acceptor(place: &tempfile::TempDir) -> Arc<Acceptor> {
    let address = place.path().join("a.sock").display().to_string().parse().unwrap();
    Arc::new(Acceptor::bind(&address, &ListenOptions::new()).unwrap())
}

#[test]
fn a_socket_that_fails_for_good_is_looked_at_now_and_then_and_the_program_is_told() {
    let place = tempfile::tempdir().unwrap();
    let acceptor = acceptor(&place);
    let start = Instant::now();
    // As another holder of a passed socket does.
    rustix::net::shutdown(lock(&acceptor.state).socket.as_ref().unwrap().as_fd(), rustix::net::Shutdown::Both).unwrap();
    assert!(!acceptor.pump(false));
    assert_eq!(acceptor.stats().unwrap().pauses, 1);
    let epoll = lock(&acceptor.state).epoll.clone().unwrap();
    let soon = Instant::now() + limits::ACCEPT_BACKOFF / 10;
    poller::wait_one(epoll.as_fd(), READ, Some(soon)).unwrap();
    assert!(Instant::now() >= soon, "nothing is to be done before it is looked at again");
    while acceptor.stats().unwrap().pauses == 1 {
        assert!(!acceptor.pump(true));
        assert!(start.elapsed() < Duration::from_secs(10), "it is looked at again");
        std::thread::yield_now();
    }
    assert!(start.elapsed() >= limits::ACCEPT_BACKOFF);
    assert!(!acceptor.pump(true));
    assert_eq!(acceptor.stats().unwrap().pauses, 2);
}

#[test]
fn a_listener_does_not_join_a_context_that_is_being_closed() {
    let place = tempfile::tempdir().unwrap();
    let acceptor = acceptor(&place);
    let (closed, other) = (Hub::new().unwrap(), Hub::new().unwrap());
    // Behind the look of who calls.
    closed.check().unwrap();
    closed.close();
    assert_eq!(acceptor.submit_accept(&closed, None).unwrap_err().code(), Code::Closed);
    acceptor.submit_accept(&other, None).unwrap();
}
