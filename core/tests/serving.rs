//! Links: who serves calls back, answers that cannot be sent, and senders who wait.

mod common;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use common::{Place, SOON, until};
use hostlane::{
    Answer, Bytes, CallOptions, Channel, Code, ConnectOptions, HANDLER_FAILED, Link, LinkEvent, LinkOptions,
    ListenOptions, Message, Policy, Serving, Wait, limits,
};

fn open(place: &Place) -> Link {
    Link::open(&place.address("link.sock"), LinkOptions::new()).unwrap()
}

/// Calls back as deep as it is told to.
fn nested(serving: &Serving<'_>, message: &Message) -> Answer {
    let depth = message.payload()[0];
    if depth == 0 {
        return Ok(Bytes::from_static(b"ground"));
    }
    let wait = message.deadline().map_or(Wait::from(SOON), Wait::from);
    serving
        .request(vec![depth - 1], wait)
        .map(|reply| reply.payload().clone())
        .map_err(|error| (error.status().unwrap_or(error.code().number() as u32), Bytes::new()))
}

/// Closes the links when the test ends, however.
struct Closing<'a>(&'a [Link]);

impl Drop for Closing<'_> {
    fn drop(&mut self) {
        self.0.iter().for_each(Link::close);
    }
}

#[test]
fn handlers_call_each_other_back_with_one_thread_on_each_side() {
    let place = Place::new();
    let links = [open(&place), open(&place)];
    std::thread::scope(|scope| {
        let _closing = Closing(&links);
        for link in &links {
            scope.spawn(|| assert_eq!(link.serve(nested).code(), Code::Closed));
        }
        for depth in [0, 1, 2, 3, 9, 40] {
            assert_eq!(links[0].request(vec![depth], SOON).unwrap().payload(), "ground");
            assert_eq!(links[1].request(vec![depth], SOON).unwrap().payload(), "ground");
        }
        // Many at once, from both sides, still with one thread each.
        std::thread::scope(|callers| {
            for n in 0..12 {
                let link = &links[n % 2];
                callers.spawn(move || {
                    for round in 0..20 {
                        let reply = link.request(vec![(round % 6) as u8], 2 * SOON).unwrap();
                        assert_eq!(reply.payload(), "ground");
                    }
                });
            }
        });
    });
}

#[test]
fn calls_nested_too_deep_are_refused_at_once_and_it_goes_on() {
    let place = Place::new();
    let links = [open(&place), open(&place)];
    std::thread::scope(|scope| {
        let _closing = Closing(&links);
        for link in &links {
            scope.spawn(|| assert_eq!(link.serve(nested).code(), Code::Closed));
        }
        // The sides take turns, and on both the handler inside of so many requests calls nobody any more.
        let most = u8::try_from(2 * (limits::LINK_NESTING - 1)).unwrap();
        assert_eq!(links[0].request(vec![most], SOON).unwrap().payload(), "ground");
        for depth in [most + 1, most + 2, u8::MAX] {
            let error = links[0].request(vec![depth], SOON).unwrap_err();
            assert_eq!((error.code(), error.status()), (Code::RemoteError, Some(Code::QueueFull.number() as u32)));
        }
        assert_eq!(links[1].request(vec![4], SOON).unwrap().payload(), "ground");
        // More at a time than a thread may be inside of: some are refused, nobody waits until a deadline.
        std::thread::scope(|callers| {
            for n in 0..2 * limits::LINK_NESTING {
                let link = &links[n % 2];
                callers.spawn(move || match link.request(vec![5], 2 * SOON) {
                    Ok(reply) => assert_eq!(reply.payload(), "ground"),
                    Err(error) => assert_eq!(error.status(), Some(Code::QueueFull.number() as u32), "{error}"),
                });
            }
        });
    });
}

#[test]
fn calls_that_run_out_of_time_inside_each_other_leave_the_thread_to_the_next() {
    let place = Place::new();
    let links = [open(&place), open(&place)];
    std::thread::scope(|scope| {
        let _closing = Closing(&links);
        const PROMPT: u8 = u8::MAX;
        let slow = |serving: &Serving<'_>, message: &Message| match message.payload()[0] {
            PROMPT => Ok(Bytes::from_static(b"at once")),
            // Works until its time is over, which is that of all who wait.
            0 => {
                let left = message.deadline().unwrap().saturating_duration_since(Instant::now());
                std::thread::sleep(left);
                Ok(Bytes::new())
            }
            _ => nested(serving, message),
        };
        for link in &links {
            scope.spawn(move || assert_eq!(link.serve(slow).code(), Code::Closed));
        }
        let error = links[0].request(vec![20], Duration::from_millis(100)).unwrap_err();
        assert!(matches!(error.code(), Code::Timeout | Code::RemoteError | Code::CallEnded), "{error}");
        let error = links[1].request(vec![20], Duration::from_millis(100)).unwrap_err();
        assert!(matches!(error.code(), Code::Timeout | Code::RemoteError | Code::CallEnded), "{error}");
        for link in &links {
            assert_eq!(link.request(vec![PROMPT], SOON).unwrap().payload(), "at once");
        }
    });
}

#[test]
fn a_panic_fails_every_request_the_thread_is_inside_of_and_leaves_serve() {
    let place = Place::new();
    let links = [open(&place), open(&place)];
    let panics = |serving: &Serving<'_>, message: &Message| match message.payload()[0] {
        0 => panic!("a handler's"),
        _ => nested(serving, message),
    };
    std::thread::scope(|scope| {
        let _closing = Closing(&links);
        scope.spawn(|| assert_eq!(links[0].serve(nested).code(), Code::Closed));
        let serving = scope.spawn(|| {
            for times in 0.. {
                match catch_unwind(AssertUnwindSafe(|| links[1].serve(panics))) {
                    Ok(error) => return (times, error.code()),
                    Err(panic) => assert_eq!(*panic.downcast::<&str>().unwrap(), "a handler's"),
                }
            }
            unreachable!()
        });
        // The last one is inside of the first.
        for depth in [0, 2] {
            let error = links[0].request(vec![depth], SOON).unwrap_err();
            assert_eq!((error.code(), error.status()), (Code::RemoteError, Some(HANDLER_FAILED)));
            assert_eq!(error.data(), b"the handler panicked");
        }
        assert_eq!(links[0].request(vec![1], SOON).unwrap().payload(), "ground", "it serves again");
        links[1].close();
        assert_eq!(serving.join().unwrap(), (2, Code::Closed));
    });
}

#[test]
fn an_answer_that_cannot_be_sent_fails_its_request_with_the_reason() {
    let place = Place::new();
    let links = [open(&place), open(&place)];
    let large = |message: &Message| Ok(vec![0; limits::MAX_MESSAGE + message.payload().len()].into());
    std::thread::scope(|scope| {
        let _closing = Closing(&links);
        scope.spawn(|| assert_eq!(links[1].serve(|_, message| large(message)).code(), Code::Closed));
        let error = links[0].request(b"x", SOON).unwrap_err();
        assert_eq!((error.code(), error.status()), (Code::RemoteError, Some(1)));
        assert!(!error.data().is_empty());
        assert_eq!(links[0].request(b"", SOON).unwrap().payload().len(), limits::MAX_MESSAGE, "it goes on");
    });
}

fn up(link: &Link) {
    assert!(matches!(link.next(SOON).unwrap(), LinkEvent::Up { .. }));
}

fn both_up(a: &Link, b: &Link) {
    std::thread::scope(|scope| {
        scope.spawn(|| up(a));
        up(b);
    });
}

#[test]
fn senders_wait_by_the_policy_of_the_channel() {
    let place = Place::new();
    let strict = Channel::new(300).unwrap();
    let connect = ConnectOptions::new().channels(&[Channel::DATA, strict]).policy(strict, Policy::Error);
    let listen = ListenOptions::new().channels(&[Channel::DATA, strict]).policy(strict, Policy::Error);
    let options = LinkOptions::new().connection(connect, listen);
    let open = || Link::open(place.address("link.sock").as_str(), options.clone()).unwrap();
    let (a, b) = (open(), open());
    assert_eq!(a.send_with(b"x", CallOptions::new(), SOON).unwrap_err().code(), Code::ConnectionLost);
    both_up(&a, &b);
    let payload = || Bytes::from(vec![7; 256 << 10]);
    // Nobody takes them: the window and the socket are full before long, and then a sender waits.
    let mut sent = 0;
    let error = loop {
        match a.send_with(payload(), CallOptions::new(), Duration::from_millis(200)) {
            Ok(()) => sent += 1,
            Err(error) => break error,
        }
        assert!(sent < 256, "nothing holds the sender back");
    };
    assert_eq!(error.code(), Code::Timeout);
    let options = || CallOptions::new().channel(strict);
    let mut strictly = 0;
    let error = loop {
        match a.send_with(payload(), options(), SOON) {
            Ok(()) => strictly += 1,
            Err(error) => break error,
        }
        assert!(strictly < 256, "nothing holds the sender back");
    };
    assert_eq!(error.code(), Code::WouldBlock);
    assert_eq!(a.send(payload(), options()).unwrap_err().code(), Code::WouldBlock);
    // Whoever waits goes on when they are taken, and none is lost.
    std::thread::scope(|scope| {
        // What was sent without a wait leaves while somebody drives the link.
        scope.spawn(|| assert_eq!(a.serve(|_, _| Ok(Bytes::new())).code(), Code::Closed));
        let waits = scope.spawn(|| a.send_with(payload(), CallOptions::new(), SOON));
        for _ in 0..sent + strictly + 1 {
            assert!(matches!(b.next(SOON).unwrap(), LinkEvent::Message(message) if message.payload() == &payload()));
        }
        waits.join().unwrap().unwrap();
        a.close();
    });
    assert_eq!(a.send_with(b"x", CallOptions::new(), SOON).unwrap_err().code(), Code::Closed);
}

#[test]
fn a_sender_who_waits_hears_of_the_end() {
    let place = Place::new();
    let (a, b) = (open(&place), open(&place));
    both_up(&a, &b);
    for close_other in [false, true] {
        let (a, b) = if close_other { (open(&place), open(&place)) } else { (a.clone(), b.clone()) };
        if close_other {
            both_up(&a, &b);
        }
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| {
                loop {
                    if let Err(error) = a.send_with(vec![7; 256 << 10], CallOptions::new(), Wait::forever()) {
                        return error.code();
                    }
                }
            });
            until("it waits", || a.peer().is_ok_and(|peer| peer.stats().unwrap().pending_operations > 1));
            if close_other {
                b.close()
            } else {
                a.close()
            }
            let expected: &[Code] =
                if close_other { &[Code::ConnectionLost, Code::PeerClosed] } else { &[Code::Closed] };
            let code = waits.join().unwrap();
            assert!(expected.contains(&code), "{code:?}");
        });
        a.close();
        b.close();
    }
}

#[test]
fn addresses_are_written_as_for_peers() {
    let place = Place::new();
    let text = place.address("link.sock");
    drop(Link::open(text.as_str(), LinkOptions::new()).unwrap());
    drop(Link::open(&text, LinkOptions::new()).unwrap());
    let address: hostlane::Address = text.parse().unwrap();
    drop(Link::open(&address, LinkOptions::new()).unwrap());
    drop(Link::open(address, LinkOptions::new()).unwrap());
    assert_eq!(Link::open("no/such\0", LinkOptions::new()).unwrap_err().code(), Code::InvalidAddress);
}

#[cfg(unix)]
#[test]
fn an_event_loop_beside_threads_that_wait_takes_nothing_from_them() {
    let place = Place::new();
    let links = [open(&place), open(&place)];
    std::thread::scope(|scope| {
        let _closing = Closing(&links);
        scope.spawn(|| links[1].serve(|_, message| Ok(message.payload().clone())));
        scope.spawn(|| {
            let mut events = Vec::new();
            while links[0].process(&mut events).is_ok() {
                common::events::readable(&links[0], SOON);
            }
        });
        std::thread::scope(|callers| {
            for _ in 0..2 {
                callers.spawn(|| {
                    for _ in 0..300 {
                        assert_eq!(links[0].request(b"beside a loop", SOON).unwrap().payload(), "beside a loop");
                    }
                });
            }
        });
    });
}
