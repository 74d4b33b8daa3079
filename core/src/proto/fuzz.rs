//! What fuzz targets call: bytes of a stranger in, and a panic when something does not hold. See `fuzz/README.md`.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::by_hand::{config, connector, drain_bytes, give};
use super::channel::Channel;
use super::conn::{Conn, Post, Role};
use super::level1::wire::{Event, Header, Reader, kind};
use super::level1::{Answer, With};
use super::offer::Level;
use super::reader::FrameReader;
use super::{OpId, Outcome, Step};
use crate::addr::Address;
use crate::error::{Code, Error};
use crate::limits;

/// The input, used from its front.
struct Input<'a>(&'a [u8]);

impl<'a> Input<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    fn bytes(&mut self, most: usize) -> &'a [u8] {
        let (taken, rest) = self.0.split_at(most.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

/// Cuts `bytes` into chunks whose sizes `cuts` says, again and again.
fn chunks<'a>(bytes: &'a [u8], cuts: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
    let mut rest = bytes;
    let mut sizes = cuts.iter().cycle();
    std::iter::from_fn(move || {
        let size = sizes.next().map_or(rest.len(), |size| usize::from(*size) + 1).min(rest.len());
        let (chunk, after) = rest.split_at(size);
        rest = after;
        (!chunk.is_empty()).then_some(chunk)
    })
}

/// How a stream of frames ended: why it is wrong, or whether it stands inside a frame.
type End = Result<bool, Code>;

fn level_0<'a>(max: usize, chunks: impl Iterator<Item = &'a [u8]>) -> (Vec<(u16, Bytes)>, End) {
    let mut reader = FrameReader::new(max);
    let mut frames = Vec::new();
    for mut chunk in chunks {
        while !chunk.is_empty() {
            let buffer = reader.buffer();
            let offered = buffer.capacity() - buffer.len();
            assert!(offered > 0, "there is always room to read into");
            let read = offered.min(chunk.len());
            buffer.extend_from_slice(&chunk[..read]);
            chunk = &chunk[read..];
            reader.filled(read, offered);
            loop {
                match reader.next() {
                    Ok(Some(frame)) => {
                        assert!(frame.payload.len() <= max, "no payload is larger than agreed");
                        frames.push((frame.channel.number(), frame.payload));
                    }
                    Ok(None) => break,
                    Err(error) => return (frames, Err(error.code())),
                }
            }
        }
    }
    (frames, Ok(reader.inside_frame()))
}

/// Frames of level 0 are the same however they are cut.
pub fn frames_of_level_0(data: &[u8]) {
    let mut input = Input(data);
    let max = usize::from(input.byte().unwrap_or_default()) << 4;
    let cuts = input.bytes(3);
    let whole = level_0(max, std::iter::once(input.0).filter(|bytes| !bytes.is_empty()));
    assert_eq!(whole, level_0(max, chunks(input.0, cuts)));
}

fn level_1<'a>(max: usize, chunks: impl Iterator<Item = &'a [u8]>) -> (Vec<(Header, Bytes)>, End) {
    let mut reader = Reader::new(max, Vec::new());
    let mut events = Vec::new();
    reader.set_ready(true);
    for mut chunk in chunks {
        while !chunk.is_empty() {
            let (buffer, offered) = reader.buffer();
            assert!(offered > 0, "there is always room to read into");
            let read = offered.min(chunk.len());
            buffer.extend_from_slice(&chunk[..read]);
            chunk = &chunk[read..];
            reader.filled(read, offered);
            loop {
                let event = reader.next(|_, _, total| match total <= max {
                    true => Ok(()),
                    false => panic!("no message is larger than agreed"),
                });
                events.push(match event {
                    Ok(Some(Event::Plain(channel, payload))) => {
                        let header = Header { len: 0, kind: kind::MESSAGE, flags: 0, channel, id: 0 };
                        (header, Bytes::copy_from_slice(payload))
                    }
                    Ok(Some(Event::Control(header, payload))) => (header, Bytes::copy_from_slice(payload)),
                    Ok(Some(Event::Message(arrived))) => {
                        let header = Header { len: 0, flags: 0, ..arrived.header };
                        (header, arrived.body.into_bytes())
                    }
                    Ok(None) => break,
                    Err(error) => return (events, Err(error.code())),
                });
            }
        }
    }
    (events, Ok(reader.inside_frame()))
}

/// So are those of level 1.
pub fn frames_of_level_1(data: &[u8]) {
    let mut input = Input(data);
    let max = usize::from(input.byte().unwrap_or_default()) << 4;
    let cuts = input.bytes(3);
    let whole = level_1(max, std::iter::once(input.0).filter(|bytes| !bytes.is_empty()));
    assert_eq!(whole, level_1(max, chunks(input.0, cuts)));
}

/// What an address prints as is the same address.
pub fn address(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data)
        && let Ok(address) = text.parse::<Address>()
    {
        let printed = address.to_string();
        assert_eq!(printed.parse::<Address>().ok().as_ref(), Some(&address), "{printed}");
    }
}

fn acceptor() -> Role {
    Role::Acceptor { peer_id: "peer-1".into() }
}

/// A stranger's first bytes, to a side that speaks both levels: it opens, or ends with a reason, by its deadline.
fn handshake(role: Role, data: &[u8]) {
    let mut input = Input(data);
    let cuts = input.bytes(2);
    let now = Instant::now();
    let mut config = config(role);
    config.own.level = Level::Auto;
    let mut conn = Conn::new(config, now);
    drain_bytes(&mut conn);
    for chunk in chunks(input.0, cuts) {
        give(&mut conn, chunk, now);
        assert!(
            drain_bytes(&mut conn).len() <= 2 * limits::MAX_HANDSHAKE,
            "an answer is no longer than what it answers may be"
        );
    }
    assert!(conn.is_open() || conn.end_error().is_some() || conn.next_timeout().is_some());
    conn.handle_timeout(now + limits::HANDSHAKE_TIMEOUT);
    assert!(conn.was_opened() || conn.end_error().is_some(), "a handshake ends by its deadline");
}

/// A stranger's request.
pub fn handshake_of_a_client(data: &[u8]) {
    handshake(acceptor(), data);
}

/// A stranger's answer.
pub fn handshake_of_a_server(data: &[u8]) {
    handshake(connector(), data);
}

/// Either side of an open connection, between a stranger's bytes and what its own program does.
pub fn conversation(data: &[u8]) {
    let mut input = Input(data);
    let Some(first) = input.byte() else { return };
    let level = if first & 1 == 0 { Level::One } else { Level::Zero };
    let mut talk = Talk::new(level, first & 2 == 0);
    while let Some(act) = input.byte() {
        talk.act(act, &mut input);
        talk.check();
    }
    talk.end();
}

/// Payloads a program sends have one of these lengths.
const LENGTHS: [usize; 8] = [0, 1, 64, 4096, 4097, 70_000, 300_000, 2_000_000];

static PAYLOAD: [u8; 2_000_000] = [0x5a; 2_000_000];

/// Operations under way at most: a program waits somewhere.
const BUSY: usize = 64;

/// Calls of the stranger that are served at a time.
const PLACES: usize = 4;

struct Talk {
    conn: Conn,
    now: Instant,
    channels: Vec<Channel>,
    last_op: OpId,
    pending: BTreeSet<OpId>,
    /// Calls that the program has and has not answered.
    served: Vec<u64>,
    streams: Vec<u64>,
}

impl Talk {
    fn new(level: Level, is_server: bool) -> Talk {
        let now = Instant::now();
        let make = |role| {
            let mut config = config(role);
            config.own.level = level;
            config.own.grease = 0;
            // So few that a stranger soon has them all.
            config.own.limits.max_calls = PLACES;
            Conn::new(config, now)
        };
        let (mut client, mut server) = (make(connector()), make(acceptor()));
        loop {
            let (there, back) = (drain_bytes(&mut client), drain_bytes(&mut server));
            if there.is_empty() && back.is_empty() {
                break;
            }
            give(&mut server, &there, now);
            give(&mut client, &back, now);
        }
        let conn = if is_server { server } else { client };
        assert!(conn.is_open());
        let channels = conn.agreed().channels.as_slice().to_vec();
        let pending = BTreeSet::new();
        Talk { conn, now, channels, last_op: 0, pending, served: Vec::new(), streams: Vec::new() }
    }

    fn act(&mut self, act: u8, input: &mut Input<'_>) {
        let which = usize::from(input.byte().unwrap_or_default());
        let channel = self.channels[which % self.channels.len()];
        let payload = Bytes::from_static(&PAYLOAD[..LENGTHS[which % LENGTHS.len()]]);
        match act % 32 {
            0..=3 => {
                give(&mut self.conn, input.bytes(which), self.now);
            }
            // A frame that is whole, whatever it says.
            4..=11 => self.frame(which, input),
            12 => {
                self.start(|conn, op, now| conn.post(op, Post::Message(channel, With::default()), payload, now, None))
            }
            13 => {
                let deadline = (which & 1 == 0).then(|| self.now + Duration::from_millis(which as u64));
                let with = With::new(deadline);
                self.start(|conn, op, now| conn.post(op, Post::Request(channel, with), payload, now, deadline));
            }
            14 | 15 => self.start(|conn, op, _| conn.recv(op, None, None)),
            16 => self.start(|conn, op, _| conn.poll_recv(op, Some(channel), None)),
            17 => self.answer(which, payload),
            18 => self.watch(which),
            19 => self.cancel(which),
            20 | 21 => self.pass(Duration::from_millis(1 << (which % 16))),
            22 | 23 => self.write(which),
            24 => self.open_stream(channel, which, payload),
            25 | 26 => self.stream(which, payload),
            27 => self.start(|conn, op, now| conn.ping(op, now, None)),
            28 => self.conn.cork(which & 1 == 0),
            29 if which == 7 => self.conn.hung_up(),
            30 if which == 7 => self.conn.write_failed(Error::new(Code::ConnectionLost, "as a carrier fails")),
            31 if which == 7 => self.start(|conn, op, _| conn.drain(op, None)),
            _ => drop(self.conn.release()),
        }
    }

    /// Starts an operation, unless there are many.
    fn start(&mut self, start: impl FnOnce(&mut Conn, OpId, Instant) -> Step) {
        if self.pending.len() >= BUSY {
            return;
        }
        self.last_op += 1;
        let op = self.last_op;
        match start(&mut self.conn, op, self.now) {
            Some(result) => self.done(result),
            None => drop(self.pending.insert(op)),
        }
    }

    fn done(&mut self, result: Result<Outcome, Error>) {
        if let Ok(Outcome::Message(delivery)) = result
            && let Some(request) = delivery.request()
        {
            assert!(!self.served.contains(&request.id), "a call comes once");
            self.served.push(request.id);
            if request.stream {
                self.streams.push(request.id);
            }
        }
    }

    fn frame(&mut self, which: usize, input: &mut Input<'_>) {
        let kind = input.byte().unwrap_or_default();
        let flags = input.byte().unwrap_or_default();
        let id = u64::from(input.byte().unwrap_or_default());
        let payload = input.bytes(which % 48);
        let channel = match which {
            0..=15 => 0,
            _ => self.channels[which % self.channels.len()].number(),
        };
        let header = Header { len: payload.len() as u32, kind, flags, channel, id };
        let frame = [&header.encode()[..], payload].concat();
        give(&mut self.conn, &frame, self.now);
    }

    fn answer(&mut self, which: usize, payload: Bytes) {
        if self.served.is_empty() {
            return;
        }
        let id = self.served.swap_remove(which % self.served.len());
        if which % 5 == 0 {
            return self.conn.abandon_served(id);
        }
        let status = (which % 3 == 0).then_some(which as u32);
        self.start(|conn, op, now| conn.post(op, Post::Answer(Answer { id, status }), payload, now, None));
    }

    fn watch(&mut self, which: usize) {
        if let Some(&id) = self.served.get(which % self.served.len().max(1)) {
            self.start(|conn, op, _| conn.watch(op, id, None));
        }
    }

    fn cancel(&mut self, which: usize) {
        let nth = which % self.pending.len().max(1);
        if let Some(&op) = self.pending.iter().nth(nth) {
            self.conn.cancel(op);
        }
    }

    fn open_stream(&mut self, channel: Channel, which: usize, payload: Bytes) {
        if self.streams.len() >= BUSY {
            return;
        }
        if let Ok(id) = self.conn.open_stream(channel, which % 3 == 0, With::default(), payload, self.now) {
            self.streams.push(id);
        }
    }

    fn stream(&mut self, which: usize, item: Bytes) {
        let nth = which % self.streams.len().max(1);
        let Some(&id) = self.streams.get(nth) else { return };
        match which % 4 {
            0 => {
                self.streams.swap_remove(nth);
                // With a stream its call is let go, and the stranger may take the id for another one.
                self.served.retain(|&served| served != id);
                self.conn.drop_stream(id);
            }
            1 => self.start(|conn, op, _| conn.stream_recv(op, id, None)),
            _ => self.start(|conn, op, _| conn.stream_send(op, id, item, which % 7 == 0, None)),
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.conn.handle_timeout(self.now);
    }

    /// The carrier takes some of what there is to write.
    fn write(&mut self, which: usize) {
        for _ in 0..=which % 4 {
            self.conn.stage();
            if !self.conn.wants_write() {
                return;
            }
            let mut slices = Vec::new();
            self.conn.slices(&mut slices);
            let offered: usize = slices.iter().map(|slice| slice.len()).sum();
            assert!(offered > 0, "who wants to write has something to write");
            self.conn.transmitted(offered.min(which * which + 1));
        }
    }

    /// What holds at any time.
    fn check(&mut self) {
        while let Some((op, result)) = self.conn.poll_done() {
            assert!(self.pending.remove(&op), "an operation ends once");
            self.done(result);
        }
        let stats = self.conn.stats();
        assert_eq!(stats.pending_operations, self.pending.len(), "what is pending is known to both");
        assert!(stats.receive_queue.bytes <= limits::WINDOWS as usize + 2 * limits::MAX_MESSAGE, "{stats:?}");
        assert!(stats.open_served <= PLACES && self.served.len() <= PLACES, "{stats:?}");
        let most = (BUSY + 1) * LENGTHS.iter().max().unwrap() + limits::CONTROL_QUEUE + limits::SEND_QUEUE;
        assert!(stats.send_queue.bytes <= most, "{stats:?}");
        for turn in 0.. {
            if self.conn.next_timeout().is_none_or(|at| at > self.now) {
                break;
            }
            assert!(turn < 2, "a deadline that has passed is over once it was told");
            self.conn.handle_timeout(self.now);
        }
    }

    /// Everything ends when the connection does.
    fn end(mut self) {
        self.conn.close();
        self.check();
        assert!(self.pending.is_empty(), "the end of a connection ends its operations: {:?}", self.pending);
        assert!(self.conn.end_error().is_some());
    }
}
