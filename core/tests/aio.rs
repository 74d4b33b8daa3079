//! The nouns on tokio.
#![cfg(unix)]

mod common;

use std::collections::HashSet;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use common::{Place, SOON, descriptors, until};
use hostlane::aio::{self, Listener, Peer};
use hostlane::{Batch, CallOptions, Channel, Code, ConnectOptions, Level, ListenOptions};
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

fn single() -> Runtime {
    Builder::new_current_thread().enable_all().build().unwrap()
}

fn many() -> Runtime {
    Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap()
}

/// Runs a test on each kind of runtime, with a bound on a failing one.
fn on_both<F: Future<Output = ()> + Send + 'static>(test: impl Fn() -> F) {
    for runtime in [single(), many()] {
        let body = test();
        // On a worker, as servers run, and not on the thread that blocks.
        runtime.block_on(async { timeout(2 * SOON, tokio::spawn(body)).await.expect("it ended in time").unwrap() });
    }
}

async fn pair(place: &Place, level: Level) -> (Peer, Peer) {
    let listener = Listener::bind(&place.address("pair.sock")).unwrap();
    let options = ConnectOptions::new().level(level);
    let (client, server) = tokio::join!(aio::connect_with(listener.address(), &options), listener.accept());
    (client.unwrap(), server.unwrap())
}

/// Answers every call with its own payload.
fn echo(peer: Peer) -> tokio::task::JoinHandle<Code> {
    tokio::spawn(async move {
        loop {
            match peer.recv().await {
                Ok(request) => drop(request.reply(request.payload()).await),
                Err(error) => return error.code(),
            }
        }
    })
}

#[test]
fn the_readme() {
    on_both(|| async {
        let place = Place::new();
        let address = place.address("engine.sock");
        let result: hostlane::Result<()> = async {
            // README-begin
            let listener = aio::Listener::bind(&address)?;
            tokio::spawn(async move {
                while let Ok(peer) = listener.accept().await {
                    tokio::spawn(async move {
                        while let Ok(request) = peer.recv().await {
                            match request.reply(request.payload()).await {
                                // Its caller has left, and others come.
                                Err(error) if error.code() == Code::CallEnded => {}
                                replied => replied?,
                            }
                        }
                        Ok::<(), hostlane::Error>(())
                    });
                }
            });

            let peer = aio::connect(&address).await?;
            let reply = peer.request(b"hello", Duration::from_secs(5)).await?;
            assert_eq!(reply.payload(), "hello");
            // README-end
            Ok(())
        }
        .await;
        result.unwrap();
    });
}

#[test]
fn a_thousand_calls_at_a_time() {
    on_both(|| async {
        let place = Place::new();
        let (client, server) = pair(&place, Level::Auto).await;
        let ended = echo(server);
        let client = Arc::new(client);
        let calls: Vec<_> = (0..1000u32)
            .map(|n| {
                let client = client.clone();
                tokio::spawn(async move {
                    for round in 0..3u32 {
                        let payload = [n.to_le_bytes(), round.to_le_bytes()].concat();
                        let reply = client.start(&payload).unwrap().await.unwrap();
                        assert_eq!(reply.payload(), &payload);
                    }
                })
            })
            .collect();
        for call in calls {
            call.await.unwrap();
        }
        assert_eq!(client.stats().unwrap().pending_operations, 0);
        drop(client);
        assert_eq!(ended.await.unwrap(), Code::PeerClosed);
    });
}

#[test]
fn large_payloads_both_ways_on_both_levels() {
    on_both(|| async {
        for level in [Level::Zero, Level::One] {
            let place = Place::new();
            let (client, server) = pair(&place, level).await;
            let ended = echo(server);
            for size in [0, 1, 64 << 10, 1 << 20, 16 << 20] {
                let payload = vec![size as u8; size];
                let reply = client.start(&payload).unwrap().await.unwrap();
                assert!(reply.payload() == &payload);
            }
            assert!(client.ping().await.unwrap() < SOON);
            client.drain().await.unwrap();
            assert_eq!(ended.await.unwrap(), Code::PeerClosed);
        }
    });
}

#[test]
fn timeouts_end_a_wait_and_nothing_else() {
    on_both(|| async {
        let place = Place::new();
        let (client, server) = pair(&place, Level::One).await;
        let moment = Duration::from_millis(20);
        assert!(timeout(moment, server.recv()).await.is_err());
        client.send(Channel::DATA, b"after").await.unwrap();
        assert_eq!(server.recv().await.unwrap().payload(), "after");

        // The other side is told that nobody waits any more.
        let (late, request) = tokio::join!(timeout(moment, client.start(b"slow").unwrap()), server.recv());
        assert!(late.is_err());
        let request = request.unwrap();
        request.cancelled().await.unwrap();
        assert!(request.is_cancelled());
        assert_eq!(request.reply(b"too late").await.unwrap_err().code(), Code::CallEnded);

        // A deadline that is told ends the call by itself.
        let start = Instant::now();
        let call = client.request(b"bounded", moment);
        let (late, request) = tokio::join!(call, server.recv());
        assert_eq!(late.unwrap_err().code(), Code::Timeout);
        assert!(start.elapsed() >= moment && start.elapsed() < SOON / 2);
        assert!(request.unwrap().deadline().is_some());
        let reply = tokio::join!(client.request(b"still fine", SOON), async {
            server.recv().await.unwrap().reply(b"yes").await.unwrap();
        });
        assert_eq!(reply.0.unwrap().payload(), "yes");
    });
}

/// Polls once, and leaves what is pending as it is.
async fn once<F: Future + Unpin>(future: &mut F) -> Option<F::Output> {
    std::future::poll_fn(|cx| {
        Poll::Ready(match std::pin::Pin::new(&mut *future).poll(cx) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        })
    })
    .await
}

#[test]
fn receives_given_up_again_and_again_lose_nothing_and_keep_the_order() {
    on_both(|| async {
        const MESSAGES: u32 = 5000;
        for level in [Level::Zero, Level::One] {
            let place = Place::new();
            let (client, server) = pair(&place, level).await;
            // In bursts, so that the receiver has to wait again and again.
            let burst = Arc::new(Semaphore::new(0));
            let permits = burst.clone();
            let sender = tokio::spawn(async move {
                for n in 0..MESSAGES {
                    permits.acquire().await.unwrap().forget();
                    client.send(Channel::DATA, &n.to_le_bytes()).await.unwrap();
                }
                client
            });
            let (mut next, mut granted, mut given_up) = (0u32, 0u32, 0u32);
            while next < MESSAGES {
                if next == granted {
                    let mut unwanted = pin!(server.recv());
                    assert!(once(&mut unwanted).await.is_none());
                    burst.add_permits(50);
                    granted += 50;
                    // It may be told meanwhile, and is dropped all the same.
                    for _ in 0..granted / 50 % 4 {
                        tokio::task::yield_now().await;
                    }
                    given_up += 1;
                }
                tokio::select! {
                    biased;
                    // Polled, woken and given up in every order there is.
                    message = server.recv() => {
                        assert_eq!(message.unwrap().payload()[..], next.to_le_bytes());
                        next += 1;
                    }
                    () = tokio::task::yield_now() => given_up += 1,
                }
                if next % 11 == 0 {
                    let mut unwanted = pin!(server.recv_on(Channel::DATA));
                    if let Some(message) = once(&mut unwanted).await {
                        assert_eq!(message.unwrap().payload()[..], next.to_le_bytes());
                        next += 1;
                    } else {
                        tokio::task::yield_now().await;
                        given_up += 1;
                    }
                }
            }
            assert!(given_up >= MESSAGES / 50);
            let client = sender.await.unwrap();
            assert_eq!(server.stats().unwrap().receive_queue.messages, 0);
            until("nothing is left pending", || server.stats().unwrap().pending_operations == 0);
            drop(client);
        }
    });
}

#[test]
fn accepts_given_up_lose_no_client() {
    on_both(|| async {
        let place = Place::new();
        let listener = Listener::bind(&place.address("a.sock")).unwrap();
        let address = listener.address().clone();
        let clients: Vec<_> = (0..50u32)
            .map(|n| {
                let address = address.clone();
                tokio::spawn(async move {
                    let peer = aio::connect_with(&address, &ConnectOptions::new()).await.unwrap();
                    peer.start(&n.to_le_bytes()).unwrap().await.unwrap().payload().clone()
                })
            })
            .collect();
        let mut servers = Vec::new();
        while servers.len() < clients.len() {
            tokio::select! {
                biased;
                peer = listener.accept() => servers.push(echo(peer.unwrap())),
                () = tokio::task::yield_now() => {}
            }
        }
        for (n, client) in clients.into_iter().enumerate() {
            assert_eq!(client.await.unwrap()[..], (n as u32).to_le_bytes());
        }
        assert_eq!(listener.stats().unwrap().accepted, 50);
        let waiting = tokio::spawn(async move { (listener.accept().await.unwrap_err().code(), listener) });
        drop(waiting);
    });
}

#[test]
fn streams_both_ways_whose_readers_are_given_up() {
    on_both(|| async {
        const ITEMS: u32 = 2000;
        let place = Place::new();
        let (client, server) = pair(&place, Level::One).await;
        let serving = tokio::spawn(async move {
            let request = server.recv().await.unwrap();
            let stream = request.stream().unwrap();
            let mut sum = 0u64;
            while let Some(item) = stream.recv().await.unwrap() {
                sum += u64::from(u32::from_le_bytes(item[..].try_into().unwrap()));
                stream.send(item).await.unwrap();
            }
            request.reply(&sum.to_le_bytes()).await.unwrap();
            server
        });
        let stream = Arc::new(client.open_stream(b"sum", CallOptions::new()).unwrap());
        let sending = stream.clone();
        let sender = tokio::spawn(async move {
            for n in 0..ITEMS {
                sending.send(&n.to_le_bytes()).await.unwrap();
            }
            sending.finish().await.unwrap();
        });
        let mut next = 0u32;
        loop {
            tokio::select! {
                biased;
                item = stream.recv() => match item.unwrap() {
                    Some(item) => {
                        assert_eq!(item[..], next.to_le_bytes());
                        next += 1;
                    }
                    None => break,
                },
                () = tokio::task::yield_now() => {}
            }
        }
        assert_eq!(next, ITEMS);
        let sum: u64 = (0..u64::from(ITEMS)).sum();
        assert_eq!(stream.reply().unwrap()[..], sum.to_le_bytes());
        sender.await.unwrap();
        serving.await.unwrap();
    });
}

#[test]
fn a_future_that_is_not_polled_stops_nobody() {
    on_both(|| async {
        let place = Place::new();
        let (client, server) = pair(&place, Level::One).await;
        let (other, listening) = {
            let place = Place::new();
            pair(&place, Level::One).await
        };
        // It waits, and was the last to ask for the descriptor.
        let mut idle = pin!(server.recv());
        assert!(once(&mut idle).await.is_none());
        let served = echo(listening);
        for n in 0..100u32 {
            let reply = other.start(&n.to_le_bytes()).unwrap().await.unwrap();
            assert_eq!(reply.payload()[..], n.to_le_bytes());
            if n == 50 {
                client.send(Channel::DATA, b"for the idle one").await.unwrap();
            }
        }
        assert_eq!(idle.await.unwrap().payload(), "for the idle one");
        drop(other);
        served.await.unwrap();
    });
}

#[test]
fn two_peers_in_one_task() {
    on_both(|| async {
        let place = Place::new();
        let (client, server) = pair(&place, Level::One).await;
        for n in 0..200u32 {
            let call = client.start(&n.to_le_bytes()).unwrap();
            let request = server.recv().await.unwrap();
            request.reply(request.payload()).await.unwrap();
            assert_eq!(call.await.unwrap().payload()[..], n.to_le_bytes());
        }
        for n in 0..10u8 {
            client.send(Channel::DATA, &[n]).await.unwrap();
        }
        let (mut batch, mut seen) = (Batch::new(), Vec::new());
        while seen.len() < 10 {
            server.recv_batch(&mut batch, 4).await.unwrap();
            assert!(batch.len() <= 4);
            seen.extend(batch.iter().map(|m| m.payload()[0]));
        }
        assert_eq!(seen, (0..10).collect::<Vec<_>>());
    });
}

#[test]
fn every_receiver_is_served() {
    on_both(|| async {
        let place = Place::new();
        let (client, server) = pair(&place, Level::One).await;
        let server = Arc::new(server);
        let workers: Vec<_> = (0..8)
            .map(|_| {
                let server = server.clone();
                tokio::spawn(async move {
                    let mut seen = Vec::new();
                    while let Ok(message) = server.recv().await {
                        seen.push(u32::from_le_bytes(message.payload()[..].try_into().unwrap()));
                        tokio::task::yield_now().await;
                    }
                    seen
                })
            })
            .collect();
        for n in 0..2000u32 {
            client.send(Channel::DATA, &n.to_le_bytes()).await.unwrap();
        }
        client.drain().await.unwrap();
        let mut all = HashSet::new();
        for worker in workers {
            for n in worker.await.unwrap() {
                assert!(all.insert(n), "{n} came twice");
            }
        }
        assert_eq!(all.len(), 2000);
    });
}

#[test]
fn closing_ends_every_wait() {
    on_both(|| async {
        let place = Place::new();
        let (client, server) = pair(&place, Level::One).await;
        let (client, listener) = (Arc::new(client), Arc::new(Listener::bind(&place.address("b.sock")).unwrap()));
        let (peer, accepting) = (client.clone(), listener.clone());
        let waits = tokio::spawn(async move {
            let call = peer.start(b"?").unwrap();
            let (recv, call, accept) = tokio::join!(peer.recv(), call, accepting.accept());
            [recv.unwrap_err().code(), call.unwrap_err().code(), accept.unwrap_err().code()]
        });
        // The call is there, so the receive and the accept are about to be, or the close meets them first.
        let request = server.recv().await.unwrap();
        client.close();
        listener.close();
        assert_eq!(waits.await.unwrap(), [Code::Closed; 3]);
        assert_eq!(server.recv().await.unwrap_err().code(), Code::PeerClosed);
        drop(request);
    });
}

/// Descriptors of this process.
#[test]
fn dropping_everything_leaves_nothing() {
    for runtime in [single(), many()] {
        let place = Place::new();
        runtime.block_on(async {
            for _ in 0..3 {
                let (client, server) = pair(&place, Level::One).await;
                let call = client.start(b"kept").unwrap();
                let mut receive = Box::pin(client.recv());
                assert!(once(&mut receive).await.is_none());
                drop(receive);
                let message = server.recv().await.unwrap();
                drop((client, server));
                assert_eq!(call.await.unwrap_err().code(), Code::Closed);
                // The last object that knows the runtime's context.
                drop(message);
                let metrics = Handle::current().metrics();
                let deadline = Instant::now() + SOON;
                while metrics.num_alive_tasks() > 0 {
                    assert!(Instant::now() < deadline, "{} tasks are left", metrics.num_alive_tasks());
                    tokio::task::yield_now().await;
                }
            }
        });
    }
}

#[test]
fn objects_of_a_runtime_that_has_ended_are_closed() {
    let place = Place::new();
    for runtime in [single(), many()] {
        let ((client, server), listener) = runtime
            .block_on(async { (pair(&place, Level::One).await, Listener::bind(&place.address("b.sock")).unwrap()) });
        let call = client.start(b"?").unwrap();
        drop(runtime);
        let other = single();
        other.block_on(async {
            assert_eq!(call.await.unwrap_err().code(), Code::Closed);
            assert_eq!(server.recv().await.err().map(|e| e.code()), Some(Code::Closed));
            assert_eq!(listener.accept().await.unwrap_err().code(), Code::Closed);
            // The new runtime has a context of its own.
            let (client, server) = pair(&place, Level::One).await;
            client.send(Channel::DATA, b"on").await.unwrap();
            assert_eq!(server.recv().await.unwrap().payload(), "on");
        });
    }
}

#[test]
fn peers_are_used_from_other_runtimes_and_threads() {
    let (place, home) = (Place::new(), many());
    let (client, server) = home.block_on(pair(&place, Level::One));
    let served = {
        let _inside = home.enter();
        echo(server)
    };
    std::thread::scope(|scope| {
        for n in 0..4u8 {
            let client = &client;
            scope.spawn(move || {
                single().block_on(async {
                    for _ in 0..100 {
                        assert_eq!(client.start(&[n]).unwrap().await.unwrap().payload()[..], [n]);
                    }
                });
            });
        }
    });
    drop(client);
    assert_eq!(home.block_on(served).unwrap(), Code::PeerClosed);
}

#[test]
fn pings_are_answered_while_nobody_awaits() {
    let place = Place::new();
    let (ready, is_ready) = std::sync::mpsc::channel();
    let (over, is_over) = tokio::sync::oneshot::channel::<()>();
    let address = place.address("a.sock");
    let bound = address.clone();
    let server = std::thread::spawn(move || {
        single().block_on(async move {
            let options = ListenOptions::new().keepalive(Duration::from_millis(50));
            let listener = Listener::bind_with(&bound.parse().unwrap(), &options).unwrap();
            ready.send(()).unwrap();
            let peer = listener.accept().await.unwrap();
            // It waits once, and is not polled again.
            let mut idle = pin!(peer.recv());
            assert!(once(&mut idle).await.is_none());
            is_over.await.unwrap();
        });
    });
    is_ready.recv().unwrap();
    let peer = hostlane::Peer::connect(&address, SOON).unwrap();
    for _ in 0..5 {
        assert!(peer.ping(SOON).unwrap() < SOON);
    }
    over.send(()).unwrap();
    server.join().unwrap();
}

#[test]
fn outside_of_a_runtime() {
    let place = Place::new();
    assert_eq!(Listener::bind(&place.address("a.sock")).unwrap_err().code(), Code::WrongDriver);
    let address = place.address("a.sock");
    let mut connect = pin!(aio::connect(&address));
    match connect.as_mut().poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(result) => assert_eq!(result.unwrap_err().code(), Code::WrongDriver),
        Poll::Pending => panic!("it waits for a runtime"),
    }
}

#[test]
fn a_runtime_that_comes_and_goes_leaks_no_descriptor() {
    let place = Place::new();
    let round = || {
        single().block_on(async {
            let (client, server) = pair(&place, Level::One).await;
            client.send(Channel::DATA, b"x").await.unwrap();
            server.recv().await.unwrap();
        });
    };
    round();
    // Other tests of this process open and close descriptors meanwhile, so the least of many is what counts.
    let before = (0..20).map(|_| (round(), descriptors()).1).min().unwrap();
    (0..50).for_each(|_| round());
    let after = (0..20).map(|_| (round(), descriptors()).1).min().unwrap();
    assert!(after < before + 50, "{before} descriptors became {after}");
}

#[test]
fn a_busy_connection_leaves_timers_their_turn() {
    single().block_on(async {
        let place = Place::new();
        let (client, server) = pair(&place, Level::One).await;
        let flood = tokio::spawn(async move { while client.send(Channel::DATA, vec![0; 1000]).await.is_ok() {} });
        let receive = tokio::spawn(async move { while server.recv().await.is_ok() {} });
        let start = Instant::now();
        for _ in 0..20 {
            sleep(Duration::from_millis(2)).await;
        }
        assert!(start.elapsed() < SOON / 2, "twenty short sleeps took {:?}", start.elapsed());
        receive.abort();
        flood.abort();
    });
}
