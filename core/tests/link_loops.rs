//! Links in an event loop: driven by their descriptors or turned, with events and results taken when the loop wants them.
// Some of what is used here is for the tests that need more of the system than a pipe.
#![cfg_attr(windows, allow(unused_imports, dead_code))]

mod common;

use std::time::{Duration, Instant};

#[cfg(unix)]
use common::events::readable;
use common::{Place, SOON, until};
use hostlane::{Address, CallOptions, Code, Link, LinkEvent, LinkOptions, LinkResult, Progress, Sent, Wait};

fn address(place: &Place) -> Address {
    place.address("link.sock").parse().unwrap()
}

fn open(place: &Place) -> Link {
    Link::open(address(place), LinkOptions::new()).unwrap()
}

/// What an event loop does: it polls, and processes.
#[cfg(unix)]
fn process(link: &Link, events: &mut Vec<LinkEvent>, limit: Duration) -> hostlane::Result<()> {
    if readable(link, limit) {
        while link.process(events)? == Progress::More {}
    }
    Ok(())
}

#[cfg(unix)]
#[test]
fn an_event_loop_drives_links_by_their_descriptors_alone() {
    let place = Place::new();
    let links = [open(&place), open(&place)];
    let mut events = [Vec::new(), Vec::new()];
    let mut tickets: Vec<(usize, u64, String)> = Vec::new();
    let (mut ups, mut answered) = (0, 0);
    let start = Instant::now();
    while answered < 100 {
        assert!(start.elapsed() < SOON, "{ups} up, {answered} answered");
        for (at, link) in links.iter().enumerate() {
            process(link, &mut events[at], Duration::from_millis(1)).unwrap();
            for event in events[at].drain(..) {
                match event {
                    LinkEvent::Up { .. } => {
                        ups += 1;
                        for n in 0..50 {
                            let text = format!("{at}.{n}");
                            let ticket = link.start(text.clone().into_bytes(), CallOptions::new(), None).unwrap();
                            tickets.push((at, ticket, text));
                        }
                    }
                    LinkEvent::Message(message) => link.reply(&message, message.payload()).unwrap(),
                    other => panic!("{other:?}"),
                }
            }
        }
        tickets.retain(|(at, ticket, text)| match links[*at].take_result(*ticket) {
            None => true,
            Some(result) => {
                assert_eq!(result.unwrap().payload(), text);
                answered += 1;
                false
            }
        });
    }
    assert_eq!(ups, 2);
    let [a, b] = &links;
    let quiet = |link: &Link| !readable(link, Duration::from_millis(30));
    until("nothing is left to do", || {
        links.iter().for_each(|link| process(link, &mut Vec::new(), Duration::ZERO).unwrap());
        quiet(a) && quiet(b)
    });

    // A result that is there at once is found by the loop as well.
    let late = a.start(b"late", CallOptions::new(), Some(Instant::now() - Duration::from_millis(1))).unwrap();
    assert!(readable(a, Duration::ZERO));
    process(a, &mut Vec::new(), Duration::ZERO).unwrap();
    assert_eq!(a.take_result(late).unwrap().unwrap_err().code(), Code::Timeout);

    // A deadline without a connection, a cancelled call, and the end.
    b.close();
    let mut gone = Vec::new();
    while gone.is_empty() {
        process(a, &mut gone, SOON).unwrap();
    }
    assert!(matches!(gone[..], [LinkEvent::Down(_)]), "{gone:?}");
    let parked = a.start(b"parked", CallOptions::new(), Some(Instant::now() + Duration::from_millis(20))).unwrap();
    let cancelled = a.start(b"cancelled", CallOptions::new(), None).unwrap();
    a.cancel(cancelled);
    let result = loop {
        process(a, &mut gone, SOON).unwrap();
        if let Some(result) = a.take_result(parked) {
            break result;
        }
    };
    assert_eq!(result.unwrap_err().code(), Code::Timeout);
    assert_eq!(a.take_result(cancelled).unwrap().unwrap_err().code(), Code::Cancelled);
    a.close();
    assert!(readable(a, Duration::ZERO) && readable(b, Duration::ZERO));
    assert_eq!(process(a, &mut gone, Duration::ZERO).unwrap_err().code(), Code::Closed);
}

#[cfg(unix)]
#[test]
fn an_event_loop_is_told_of_the_end_of_a_link_by_itself() {
    let place = Place::new();
    let a = Link::open(address(&place), LinkOptions::new().reconnect(false)).unwrap();
    let b = open(&place);
    let mut events = Vec::new();
    until("both are up", || {
        process(&a, &mut events, Duration::from_millis(1)).unwrap();
        process(&b, &mut Vec::new(), Duration::from_millis(1)).unwrap();
        !events.is_empty()
    });
    b.close();
    let error = loop {
        assert!(readable(&a, SOON), "the end of the link was not told");
        if let Err(error) = process(&a, &mut events, Duration::ZERO) {
            break error;
        }
    };
    assert_eq!(error.code(), Code::PeerClosed);
    assert!(matches!(events[..], [LinkEvent::Up { .. }, LinkEvent::Down(_)]), "{events:?}");
}

#[test]
fn an_event_loop_may_leave_events_where_they_are() {
    let place = Place::new();
    let (a, b) = (open(&place), open(&place));
    let turns = |link: &Link| while link.turn().unwrap() == Progress::More {};
    until("both are up", || {
        [&a, &b].into_iter().for_each(turns);
        a.peer().is_ok() && b.peer().is_ok()
    });
    (0..100u8).for_each(|n| b.send(vec![n], CallOptions::new()).unwrap());
    turns(&b);
    turns(&a);
    assert!(matches!(a.next(Wait::none()).unwrap(), LinkEvent::Up { serving: true }));
    for n in 0..100u8 {
        // Not every carrier has all of them there by now.
        let LinkEvent::Message(message) = a.next(SOON).unwrap() else { panic!() };
        assert_eq!(message.payload(), &[n][..]);
    }
    assert_eq!(a.next(Wait::none()).unwrap_err().code(), Code::Timeout);
    b.close();
    assert_eq!(b.turn().unwrap_err().code(), Code::Closed);
}

/// Turns a link until it has the result of something started.
fn result(link: &Link) -> (u64, LinkResult) {
    let mut results = Vec::new();
    until("a result", || {
        let _ = link.turn();
        link.take_results(&mut results, 1);
        !results.is_empty()
    });
    results.remove(0)
}

#[test]
fn an_event_loop_takes_results_and_gives_up() {
    let place = Place::new();
    let (a, b) = (open(&place), open(&place));
    let soon = || Some(Instant::now() + SOON);
    // Before there is a connection, and while threads wait for calls of their own.
    let parked = a.start(b"parked", CallOptions::new(), soon()).unwrap();
    a.cancel(parked);
    let (ticket, LinkResult::Call(Err(error))) = result(&a) else { panic!() };
    assert_eq!((ticket, error.code(), error.sent()), (parked, Code::Cancelled, Sent::No));
    let forever = a.start(b"parked", CallOptions::new(), None).unwrap();
    a.cancel(forever);
    assert!(matches!(result(&a), (ticket, LinkResult::Call(Err(_))) if ticket == forever));

    let open = b.start(b"open", CallOptions::new().idempotency_key("k"), soon()).unwrap();
    let mut events = Vec::new();
    until("the request came", || {
        let _ = (a.turn().unwrap(), b.turn().unwrap());
        a.take_events(&mut events, 1).unwrap();
        events.len() == 2
    });
    let Some(LinkEvent::Message(request)) = events.pop() else { panic!() };
    let watched = a.call_ended(&request).unwrap();
    b.cancel(open);
    let (ticket, LinkResult::Call(Err(error))) = result(&b) else { panic!() };
    assert_eq!((ticket, error.code(), error.sent()), (open, Code::Cancelled, Sent::Maybe));
    assert!(matches!(result(&a), (ticket, LinkResult::CallEnded) if ticket == watched));
    assert_eq!(a.reply(&request, b"late").unwrap_err().code(), Code::CallEnded);
    let late = a.call_ended(&request).unwrap();
    assert!(matches!(result(&a), (ticket, LinkResult::CallEnded) if ticket == late));

    // The end comes after all results, and ends watches too.
    let last = b.start(b"last", CallOptions::new(), None).unwrap();
    until("the request came", || {
        let _ = (a.turn().unwrap(), b.turn().unwrap());
        a.take_events(&mut events, 9).unwrap();
        events.len() == 2
    });
    let Some(LinkEvent::Message(request)) = events.pop() else { panic!() };
    let watched = a.call_ended(&request).unwrap();
    a.close();
    assert!(matches!(result(&a), (ticket, LinkResult::CallEnded) if ticket == watched));
    b.close();
    let (ticket, LinkResult::Call(Err(error))) = result(&b) else { panic!() };
    assert_eq!((ticket, error.code()), (last, Code::Closed));
    assert_eq!(
        b.take_events(&mut events, 9).map(drop).and_then(|()| b.take_events(&mut events, 9)).unwrap_err().code(),
        Code::Closed
    );
}
