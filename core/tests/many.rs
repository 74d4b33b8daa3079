//! Very many connections in one context: little memory, one descriptor each, no thread, and nothing to do
//! while they are idle.
#![cfg(unix)]

mod common;

use std::time::{Duration, Instant};

use common::events::Events;
use common::{Place, Process, SOON, alone, child_role, descriptors, status, until};
use hostlane::{Address, ConnectOptions, ListenOptions, Listener, Outcome, Peer};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

const WANTED: usize = 10_000;

/// What a connection may cost in memory, by the resident set: as it is made, and after it was used, when it keeps a few
/// small tables.
/// The allocator of musl takes half as much again.
const BYTES_EACH: usize = if cfg!(target_env = "musl") { 10 } else { 6 } * 1024;
const BYTES_EACH_USED: usize = if cfg!(target_env = "musl") { 14 } else { 9 } * 1024;

/// Raises the limit of descriptors as far as it goes: how many connections that is enough for.
fn raise_limit() -> usize {
    let Rlimit { maximum, .. } = getrlimit(Resource::Nofile);
    let wanted = WANTED as u64 + 200;
    // Above the hard limit only if the system lets this user.
    let raised = setrlimit(
        Resource::Nofile,
        Rlimit { current: Some(wanted), maximum: Some(maximum.map_or(wanted, |m| m.max(wanted))) },
    );
    if raised.is_err() {
        setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum }).unwrap();
    }
    getrlimit(Resource::Nofile).current.map_or(WANTED, |now| WANTED.min(now as usize - 200))
}

fn threads() -> usize {
    std::fs::read_dir("/proc/self/task").unwrap().count()
}

/// Times this process went to sleep by itself, over all its threads, and its processor time in clock ticks.
fn activity() -> (u64, u64) {
    let mut switches = 0;
    for task in std::fs::read_dir("/proc/self/task").unwrap() {
        let status = std::fs::read_to_string(task.unwrap().path().join("status")).unwrap();
        let line = status.lines().find(|line| line.starts_with("voluntary_ctxt_switches")).unwrap();
        switches += line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap();
    }
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    (switches, fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap())
}

/// Not a test by itself: the clients, in a process of their own since they need as many descriptors again. They
/// answer what they are asked.
#[test]
fn child() {
    let Some((role, address)) = child_role() else { return };
    let count: usize = role.parse().unwrap();
    raise_limit();
    let address: Address = address.parse().unwrap();
    let mut events = Events::new();
    let (mut peers, mut connecting, mut receives): (Vec<Peer>, Vec<u64>, Vec<u64>) = Default::default();
    while peers.len() < count {
        while connecting.len() < 100 && peers.len() + connecting.len() < count {
            let started = events.context.connect(&address, &ConnectOptions::new(), None);
            connecting.push(events.start(started));
        }
        events.turn();
        connecting.retain(|&op| match events.take(op) {
            None => true,
            Some(result) => {
                let Outcome::Connected(peer) = result.unwrap() else { panic!() };
                peers.push(peer);
                false
            }
        });
    }
    for peer in &peers {
        let started = events.context.recv(peer, None, None);
        receives.push(events.start(started));
    }
    // Until the last of them has ended.
    let mut alive = count;
    while alive > 0 {
        events.turn_within(6 * SOON);
        for (peer, receive) in peers.iter().zip(&mut receives) {
            match events.take(*receive) {
                None => {}
                Some(Err(_)) => alive -= 1,
                Some(Ok(Outcome::Message(request))) => {
                    let reply = events.context.reply(&request, request.payload(), None);
                    events.start(reply);
                    let again = events.context.recv(peer, None, None);
                    *receive = events.start(again);
                }
                Some(Ok(other)) => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn thousands_of_idle_connections_cost_a_descriptor_and_little_memory_each() {
    if !alone("thousands_of_idle_connections_cost_a_descriptor_and_little_memory_each") {
        return;
    }
    let count = raise_limit();
    let place = Place::new();
    let address: Address = place.address("many.sock").parse().unwrap();
    let listener = Listener::bind_with(&address, &ListenOptions::new()).unwrap();
    let mut events = Events::new();
    let mut peers: Vec<Peer> = Vec::with_capacity(count);
    let mut accepts: Vec<u64> = Vec::new();
    let clients = Process::start(&count.to_string(), &place.address("many.sock"));
    // What the first of them brings about happens once.
    let (mut memory, mut files, mut start) = (0, 0, Instant::now());
    while peers.len() < count {
        while accepts.len() < 100 && peers.len() + accepts.len() < count {
            let started = events.context.accept(&listener, None);
            accepts.push(events.start(started));
        }
        events.turn();
        accepts.retain(|&op| match events.take(op) {
            None => true,
            Some(result) => {
                let Outcome::Accepted(peer) = result.unwrap() else { panic!() };
                peers.push(peer);
                false
            }
        });
        if memory == 0 && peers.len() >= 100 {
            (memory, files, start) = (status("VmRSS"), descriptors() - peers.len(), Instant::now());
        }
    }
    let took = start.elapsed();
    // Everything that is still on its way for them arrives.
    while events.turn_within(Duration::from_millis(200)) {}
    let measured = count - 100;
    let each = (status("VmRSS") - memory) as usize * 1024 / measured;
    println!("{count} connections, {each} bytes each, {:?} each to accept", took / measured as u32);
    assert!(each <= BYTES_EACH, "{each} bytes for an idle connection");
    // Some clients may have been between the kernel and the accept when it was first counted.
    assert!(descriptors() - count <= files, "{} descriptors for {count} connections", descriptors());
    assert!(threads() <= 2, "{} threads", threads());

    // Nobody has anything to do.
    let before = activity();
    let second = Instant::now();
    let mut turns = 0;
    while second.elapsed() < Duration::from_secs(1) {
        turns += u32::from(events.turn_within(Duration::from_secs(1)));
    }
    let after = activity();
    println!("idle for a second: {turns} turns, {} sleeps, {} ticks", after.0 - before.0, after.1 - before.1);
    // The alarm of a handshake that ended in time may ring once more, for nothing.
    assert!(turns <= 1, "{turns} turns");
    assert!(after.0 - before.0 <= 5 && after.1 - before.1 <= 2, "{before:?} to {after:?}");

    // With somebody who waits at each of them.
    let receives: Vec<u64> = peers
        .iter()
        .map(|peer| {
            let started = events.context.recv(peer, None, None);
            events.start(started)
        })
        .collect();
    let waiting = (status("VmRSS") - memory) as usize * 1024 / measured;
    println!("{waiting} bytes each with a receive that waits");
    assert!(waiting <= BYTES_EACH, "{waiting} bytes for an idle connection with a receive");

    // All of them are alive, also at the same time.
    let calls: Vec<u64> = peers
        .iter()
        .enumerate()
        .map(|(n, peer)| {
            let started = events.context.request(peer, (n as u32).to_le_bytes().to_vec(), None);
            events.start(started)
        })
        .collect();
    for (n, call) in calls.into_iter().enumerate() {
        let Outcome::Reply(reply) = events.wait(call).unwrap() else { panic!() };
        assert_eq!(reply.payload()[..], (n as u32).to_le_bytes());
    }
    while events.turn_within(Duration::from_millis(50)) {}
    let after = (status("VmRSS") - memory) as usize * 1024 / measured;
    println!("{after} bytes each after a call on every one");
    assert!(after <= BYTES_EACH_USED, "{after} bytes for a connection that was used and is idle again");

    // And all descriptors come back.
    drop(peers);
    for receive in receives {
        assert!(events.wait(receive).is_err());
    }
    until("the descriptors are back", || {
        events.turn_within(Duration::ZERO);
        descriptors() <= files
    });
    drop(clients);
}
