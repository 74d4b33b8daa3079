//! Threads that share a connection, under a model checker that tries the orders in which they take locks and sleep:
//! `cargo xtask models`. Sockets, bells and the protocol are the real ones. A wake-up that is lost keeps a
//! thread asleep for ever, and the model runs out of steps.
//!
//! `MODEL_RUNS` is how many orders are tried of each model; `SHUTTLE_RANDOM_SEED` repeats those of a seed.
#![cfg(shuttle)]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hostlane::{
    Address, Batch, Channel, Code, ConnectOptions, Context, ListenOptions, Listener, Outcome, Peer, Spin, Started, Wait,
};
use shuttle::scheduler::{PctScheduler, RandomScheduler};
use shuttle::thread;
use shuttle::{Config, MaxSteps, Runner};

/// Steps of one run: far more than any needs that ends.
const STEPS: usize = 200_000;

/// Tries orders of `model`: at random, and with few switches between threads at the places that matter.
fn explore(model: fn()) {
    let runs = std::env::var("MODEL_RUNS").map_or(200, |runs| runs.parse().unwrap());
    let mut config = Config::new();
    config.max_steps = MaxSteps::FailAfter(STEPS);
    config.stack_size = 1 << 20;
    config.silence_warnings = true;
    Runner::new(RandomScheduler::new(runs), config.clone()).run(model);
    Runner::new(PctScheduler::new(4, runs), config).run(model);
}

fn fresh() -> Address {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    format!("inproc:model-{}", NEXT.fetch_add(1, Ordering::Relaxed)).parse().unwrap()
}

fn pair() -> (Arc<Peer>, Arc<Peer>) {
    let address = fresh();
    let listener = Listener::bind_with(&address, &ListenOptions::new().spin(Spin::Off)).unwrap();
    let client = thread::spawn(move || {
        Peer::connect_with(&address, &ConnectOptions::new().spin(Spin::Off), Wait::forever()).unwrap()
    });
    let server = listener.accept(Wait::forever()).unwrap();
    (Arc::new(client.join().unwrap()), Arc::new(server))
}

/// Answers `calls` calls of `peer`.
fn serve(peer: Arc<Peer>, calls: usize) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        for _ in 0..calls {
            let request = peer.recv_on(Channel::COMMAND, Wait::forever()).unwrap();
            request.reply(request.payload().clone(), Wait::forever()).unwrap();
        }
    })
}

fn call(peer: &Peer, text: &str) {
    assert_eq!(peer.request(text, Wait::forever()).unwrap().payload(), text);
}

#[test]
fn callers_take_turns() {
    explore(|| {
        let (client, server) = pair();
        let server = serve(server, 4);
        let callers = ["a", "b"].map(|name| {
            let client = client.clone();
            thread::spawn(move || (0..2).for_each(|_| call(&client, name)))
        });
        callers.into_iter().for_each(|caller| caller.join().unwrap());
        server.join().unwrap();
    });
}

#[test]
fn a_caller_who_gives_up_leaves_the_turn_to_others() {
    explore(|| {
        let (client, server) = pair();
        let hasty = {
            let client = client.clone();
            thread::spawn(move || {
                let started = client.start("hasty").unwrap();
                match started.wait(Duration::ZERO) {
                    Ok(reply) => assert_eq!(reply.payload(), "hasty"),
                    Err(error) => assert_eq!(error.code(), Code::Timeout),
                }
            })
        };
        let patient = {
            let client = client.clone();
            thread::spawn(move || call(&client, "patient"))
        };
        let dropping = {
            let client = client.clone();
            thread::spawn(move || drop(client.start("dropped").unwrap()))
        };
        let server = thread::spawn(move || {
            // Until it is over: some calls are cancelled before they are seen.
            while let Ok(request) = server.recv(Wait::forever()) {
                let _ = request.reply(request.payload().clone(), Wait::forever());
            }
        });
        [hasty, patient, dropping].into_iter().for_each(|caller| caller.join().unwrap());
        client.close();
        server.join().unwrap();
    });
}

#[test]
fn a_receiver_and_callers_share_the_socket() {
    explore(|| {
        let (client, server) = pair();
        let receiver = {
            let client = client.clone();
            thread::spawn(move || {
                for n in 0..2 {
                    assert_eq!(client.recv_on(Channel::DATA, Wait::forever()).unwrap().payload(), &[n][..]);
                }
            })
        };
        let sender = {
            let server = server.clone();
            thread::spawn(move || {
                for n in 0..2 {
                    server.send(Channel::DATA, &[n][..], Wait::forever()).unwrap();
                }
            })
        };
        let server = serve(server, 4);
        let other = {
            let client = client.clone();
            thread::spawn(move || call(&client, "another"))
        };
        (0..3).for_each(|_| call(&client, "beside"));
        other.join().unwrap();
        receiver.join().unwrap();
        sender.join().unwrap();
        server.join().unwrap();
    });
}

#[test]
fn calls_go_both_ways_and_nest() {
    explore(|| {
        let (client, server) = pair();
        let other = thread::spawn(move || {
            let request = server.recv(Wait::forever()).unwrap();
            call(&server, "back");
            request.reply("done", Wait::forever()).unwrap();
        });
        let back = serve(client.clone(), 1);
        assert_eq!(client.request("there", Wait::forever()).unwrap().payload(), "done");
        back.join().unwrap();
        other.join().unwrap();
    });
}

#[test]
fn batches_of_several_threads_arrive_in_order() {
    const EACH: u8 = 6;
    explore(|| {
        let (client, server) = pair();
        let senders = [Channel::DATA, Channel::TELEMETRY].map(|channel| {
            let client = client.clone();
            thread::spawn(move || {
                let payloads: Vec<[u8; 1]> = (0..EACH).map(|n| [n]).collect();
                for half in payloads.chunks(3) {
                    client.send_batch(channel, half.iter().map(|p| &p[..]), Wait::forever()).unwrap();
                }
            })
        });
        let mut batch = Batch::new();
        let mut next = [0; 2];
        while next != [EACH; 2] {
            server.recv_batch(&mut batch, 64, Wait::forever()).unwrap();
            for message in batch.iter() {
                let next = &mut next[usize::from(message.channel() == Channel::TELEMETRY)];
                assert_eq!(message.payload(), &[*next][..]);
                *next += 1;
            }
        }
        senders.into_iter().for_each(|sender| sender.join().unwrap());
    });
}

#[test]
fn a_sender_without_credit_goes_on_when_there_is_some() {
    explore(|| {
        let (client, server) = pair();
        let size = 3 << 20;
        let sender = {
            let client = client.clone();
            thread::spawn(move || {
                for n in 0..3 {
                    client.send(Channel::DATA, vec![n; size], Wait::forever()).unwrap();
                }
            })
        };
        let answering = serve(server.clone(), 2);
        let caller = thread::spawn(move || (0..2).for_each(|_| call(&client, "beside")));
        for n in 0..3 {
            let message = server.recv_on(Channel::DATA, Wait::forever()).unwrap();
            assert_eq!((message.payload()[0], message.payload().len()), (n, size));
        }
        sender.join().unwrap();
        caller.join().unwrap();
        answering.join().unwrap();
    });
}

#[test]
fn what_nobody_waits_for_leaves_all_the_same() {
    explore(|| {
        let (client, server) = pair();
        let call = client.start(vec![7; 3 << 20]).unwrap();
        let other = thread::spawn(move || {
            let request = server.recv(Wait::forever()).unwrap();
            // It does not fit at once, and this side does nothing more.
            match request.reply(request.payload().clone(), Duration::ZERO) {
                Ok(()) => {}
                Err(error) => assert_eq!(error.code(), Code::Timeout),
            }
            server
        });
        let server = other.join().unwrap();
        assert_eq!(call.wait(Wait::forever()).unwrap().payload().len(), 3 << 20);
        drop(server);
    });
}

#[test]
fn an_attached_peer_answers_while_its_program_is_elsewhere() {
    explore(|| {
        let (client, server) = pair();
        server.attach().unwrap();
        let callers = [(), ()].map(|()| {
            let client = client.clone();
            thread::spawn(move || assert!(client.ping(Wait::forever()).is_ok()))
        });
        let receiver = {
            let server = server.clone();
            thread::spawn(move || assert_eq!(server.recv(Wait::forever()).unwrap().payload(), "one"))
        };
        client.send(Channel::DATA, "one", Wait::forever()).unwrap();
        receiver.join().unwrap();
        callers.into_iter().for_each(|caller| caller.join().unwrap());
    });
}

#[test]
fn a_crowd_of_callers_is_served() {
    explore(|| {
        let (client, server) = pair();
        let server = serve(server, 8);
        let callers = [0; 4].map(|_| {
            let client = client.clone();
            thread::spawn(move || (0..2).for_each(|_| call(&client, "crowd")))
        });
        callers.into_iter().for_each(|caller| caller.join().unwrap());
        server.join().unwrap();
    });
}

#[test]
fn closing_wakes_everybody_once() {
    explore(|| {
        let (client, server) = pair();
        let waiting = [true, false].map(|receives| {
            let client = client.clone();
            thread::spawn(move || {
                let end = match receives {
                    true => client.recv(Wait::forever()).map(drop),
                    false => client.request("never answered", Wait::forever()).map(drop),
                };
                let code = end.unwrap_err().code();
                // The other side may have taken the call and let it go.
                let abandoned = !receives && code == Code::CallAbandoned;
                assert!(
                    abandoned || matches!(code, Code::Closed | Code::PeerClosed | Code::ConnectionLost),
                    "{code:?}"
                );
            })
        });
        let other = thread::spawn(move || {
            // It may be closed before it has come.
            let _ = server.recv(Wait::forever());
            server.close();
            server.close();
        });
        client.close();
        waiting.into_iter().for_each(|waiter| waiter.join().unwrap());
        other.join().unwrap();
    });
}

#[test]
fn both_sides_drain_at_once() {
    explore(|| {
        let (client, server) = pair();
        let sides = [client, server].map(|peer| thread::spawn(move || peer.drain(Wait::forever()).unwrap()));
        sides.into_iter().for_each(|side| side.join().unwrap());
    });
}

#[test]
fn a_context_hears_of_what_others_submit() {
    explore(|| {
        let address = fresh();
        let listener = Listener::bind_with(&address, &ListenOptions::new().spin(Spin::Off)).unwrap();
        let server =
            thread::spawn(move || serve(Arc::new(listener.accept(Wait::forever()).unwrap()), 2).join().unwrap());
        let context = Context::new().unwrap();
        context.connect(&address, &ConnectOptions::new().spin(Spin::Off), None).unwrap();
        let Outcome::Connected(peer) = context.next(Wait::forever()).unwrap().result.unwrap() else { unreachable!() };
        let peer = Arc::new(peer);
        let submitters = ["a", "b"].map(|text| {
            let (context, peer) = (context.clone(), peer.clone());
            thread::spawn(move || match context.request(&peer, text, None).unwrap() {
                Started::Pending(op) => op,
                Started::Done(outcome) => unreachable!("{outcome:?}"),
            })
        });
        let mut ended: Vec<_> = (0..2).map(|_| context.next(Wait::forever()).unwrap().op).collect();
        let mut submitted: Vec<_> = submitters.into_iter().map(|thread| thread.join().unwrap()).collect();
        ended.sort_unstable();
        submitted.sort_unstable();
        assert_eq!(ended, submitted);
        server.join().unwrap();
    });
}

#[test]
fn closing_a_context_wakes_who_waits_for_it() {
    explore(|| {
        let context = Context::new().unwrap();
        let waiting = {
            let context = context.clone();
            thread::spawn(move || assert_eq!(context.next(Wait::forever()).unwrap_err().code(), Code::Closed))
        };
        context.close();
        waiting.join().unwrap();
    });
}
