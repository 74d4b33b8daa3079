//! Two ends of level 1 and what their programs do, and one side's frames, read and written by hand.

use std::time::{Duration, Instant};

use bytes::Bytes;

use super::{Pair, config, connector, done, drain_bytes, give};
use crate::error::Error;
use crate::os::Descriptor;
use crate::proto::channel::Channel;
use crate::proto::conn::{Config, Conn, Post, Role};
use crate::proto::level1::wire::{Header, flag};
use crate::proto::level1::{Answer, Delivery, With};
use crate::proto::offer::Level;
use crate::proto::{OpId, Outcome, Step};

/// The flags of a message in one frame.
pub(super) const WHOLE: u8 = flag::FIRST | flag::LAST;
const HEADER: usize = 16;

pub(super) fn level_1(role: Role) -> Config {
    let mut config = config(role);
    config.own.level = Level::Auto;
    config
}

pub(super) fn acceptor() -> Role {
    Role::Acceptor { peer_id: "peer-1".into() }
}

pub(super) fn pair_of(client: Config, server: Config) -> Pair {
    let mut pair = Pair::apart(client, server);
    pair.exchange();
    pair
}

pub(super) fn pair() -> Pair {
    let pair = pair_of(level_1(connector()), level_1(acceptor()));
    assert!(pair.client.is_open() && pair.server.is_open());
    assert_eq!((pair.client.agreed().level, pair.server.agreed().level), (1, 1));
    pair
}

/// A stream with a window so small that one item fills it, known to both sides.
pub(super) fn narrow_stream() -> (Pair, u64) {
    let (mut client, mut server) = (level_1(connector()), level_1(acceptor()));
    client.own.limits.stream_window = 10;
    server.own.limits.stream_window = 10;
    let mut pair = pair_of(client, server);
    let id = pair.client.open_stream(Channel::COMMAND, false, With::default(), Bytes::new(), pair.now).unwrap();
    pair.exchange();
    take(&mut pair.server);
    (pair, id)
}

/// A pair in which the server serves one call at a time, and the client has one open and one waiting.
pub(super) fn one_of_two_started() -> Pair {
    let mut server = level_1(acceptor());
    server.own.limits.max_calls = 1;
    let mut pair = pair_of(level_1(connector()), server);
    ask(&mut pair, 1, "open", None);
    ask(&mut pair, 2, "waits", None);
    pair.exchange();
    pair
}

pub(super) fn ask(pair: &mut Pair, op: OpId, text: &'static str, deadline: Option<Duration>) {
    let at = deadline.map(|d| pair.now + d);
    let with = With::new(at);
    let post = Post::Request(Channel::COMMAND, with);
    assert!(pair.client.post(op, post, Bytes::from_static(text.as_bytes()), pair.now, at).is_none());
}

/// The client's first call, which the server has taken: its id.
pub(super) fn asked(pair: &mut Pair) -> u64 {
    ask(pair, 1, "x", None);
    pair.exchange();
    take(&mut pair.server).request().unwrap().id
}

pub(super) fn take(conn: &mut Conn) -> Delivery {
    match conn.recv(9999, None, None) {
        Some(Ok(Outcome::Message(delivery))) => delivery,
        other => panic!("a message was queued: {other:?}"),
    }
}

pub(super) fn answer(conn: &mut Conn, op: OpId, id: u64, status: Option<u32>, text: &'static str, now: Instant) {
    let post = Post::Answer(Answer { id, status });
    assert!(conn.post(op, post, Bytes::from_static(text.as_bytes()), now, None).is_none());
}

pub(super) fn result(conn: &mut Conn, op: OpId) -> Result<Outcome, Error> {
    done(conn).into_iter().find(|(o, _)| *o == op).expect("the operation ended").1
}

pub(super) fn reply(conn: &mut Conn, op: OpId) -> Bytes {
    match result(conn, op) {
        Ok(Outcome::Reply(_, payload)) => payload,
        other => panic!("a reply: {other:?}"),
    }
}

/// Hands `post` in as drivers do: written at once as far as the carrier takes it, `taken` bytes here.
pub(super) fn write(pair: &mut Pair, server: bool, op: OpId, post: Post, payload: Bytes, taken: usize) -> Step {
    let (from, to) = match server {
        true => (&mut pair.server, &mut pair.client),
        false => (&mut pair.client, &mut pair.server),
    };
    let inline = from.inline(&post, payload.len(), pair.now).unwrap().expect("the way is free");
    let bytes: Vec<u8> =
        inline.with_slices(&payload, |slices| slices.iter().flat_map(|s| s.to_vec()).take(taken).collect());
    assert!(give(to, &bytes, pair.now).is_empty());
    from.wrote(op, &post, &inline, payload.len(), bytes.len(), || payload.clone(), None)
}

/// The client sends `len` bytes on `channel`.
pub(super) fn post(pair: &mut Pair, op: OpId, channel: Channel, len: usize) -> Step {
    let message = Post::Message(channel, With::default());
    pair.client.post(op, message, Bytes::from(vec![op as u8; len]), pair.now, None)
}

/// So many descriptors, of any file.
pub(super) fn descriptors(count: usize) -> Vec<Descriptor> {
    let file = || std::fs::File::open(std::env::current_exe().unwrap()).unwrap();
    (0..count).map(|_| file().into()).collect()
}

pub(super) fn frame(kind: u8, flags: u8, channel: u16, id: u64, payload: &[u8]) -> Vec<u8> {
    let header = Header { len: payload.len() as u32, kind, flags, channel, id }.encode();
    [&header[..], payload].concat()
}

/// Cuts whole frames: their headers and what follows each.
pub(super) fn frames(mut bytes: &[u8]) -> Vec<(Header, Vec<u8>)> {
    let mut found = Vec::new();
    while !bytes.is_empty() {
        let header = Header::decode(bytes).expect("a whole header");
        let end = HEADER + header.len as usize;
        found.push((header, bytes[HEADER..end].to_vec()));
        bytes = &bytes[end..];
    }
    found
}

/// The frames that leave `conn` now.
pub(super) fn leaving(conn: &mut Conn) -> Vec<(Header, Vec<u8>)> {
    frames(&drain_bytes(conn))
}

/// The types of frames that leave `conn` now.
pub(super) fn kinds(conn: &mut Conn) -> Vec<u8> {
    leaving(conn).iter().map(|(header, _)| header.kind).collect()
}

/// Has the carrier take `n` of the bytes that `conn` offers: those bytes.
pub(super) fn takes(conn: &mut Conn, n: usize) -> Vec<u8> {
    let mut slices = Vec::new();
    conn.slices(&mut slices);
    let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).take(n).collect();
    assert_eq!(bytes.len(), n, "so much is offered");
    conn.transmitted(n);
    bytes
}

/// The server gets these frames as if the client had sent them.
pub(super) fn to_server(pair: &mut Pair, frames: &[Vec<u8>]) {
    for bytes in frames {
        give(&mut pair.server, bytes, pair.now);
    }
}

/// The client gets these frames as if the server had sent them.
pub(super) fn to_client(pair: &mut Pair, frames: &[Vec<u8>]) {
    for bytes in frames {
        give(&mut pair.client, bytes, pair.now);
    }
}
