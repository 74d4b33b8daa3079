//! What may go with a message or a call: keys, traces, deadlines, descriptors.

use std::time::Duration;

use bytes::Bytes;

use super::hand::{
    WHOLE, acceptor, descriptors, frame, frames, level_1, pair, pair_of, post, take, to_client, to_server, write,
};
use super::{Pair, SECOND, connector, done, drain_bytes, give};
use crate::error::Code;
use crate::limits::{DESCRIPTOR_OVERHEAD, MAX_FDS, MAX_KEY, MESSAGE_OVERHEAD, WINDOW_DATA};
use crate::proto::channel::Channel;
use crate::proto::conn::{Conn, Post};
use crate::proto::level1::With;
use crate::proto::level1::wire::{flag, kind};
use crate::proto::offer::FDS;

fn with_fds(count: usize) -> With {
    let mut with = With::default();
    with.more_mut().fds = descriptors(count);
    with
}

fn with_keys(idempotency: &'static str, trace: &'static str) -> With {
    let mut with = With::default();
    let key = |text: &'static str| (!text.is_empty()).then(|| Bytes::from_static(text.as_bytes()));
    (with.more_mut().idempotency, with.more_mut().trace) = (key(idempotency), key(trace));
    with
}

/// Both sides carry descriptors.
fn carriers() -> Pair {
    let (mut client, mut server) = (level_1(connector()), level_1(acceptor()));
    client.own.features.push(FDS);
    server.own.features.push(FDS);
    pair_of(client, server)
}

/// One write: the bytes offered, and how many descriptors go with the first of them.
fn write_once(conn: &mut Conn) -> (Vec<u8>, usize) {
    let mut slices = Vec::new();
    let fds = conn.slices(&mut slices).len();
    let bytes: Vec<u8> = slices.iter().flat_map(|slice| slice.to_vec()).collect();
    conn.transmitted(bytes.len());
    (bytes, fds)
}

/// Moves everything from the client to the server, with its descriptors.
fn carry(pair: &mut Pair) {
    loop {
        pair.client.stage();
        if !pair.client.wants_write() {
            return;
        }
        let (bytes, fds) = write_once(&mut pair.client);
        if fds > 0 {
            pair.server.received_fds(descriptors(fds));
        }
        give(&mut pair.server, &bytes, pair.now);
        assert!(pair.server.is_open(), "{:?}", pair.server.end_error());
    }
}

#[test]
fn keys_and_traces_arrive_with_what_they_were_sent_with() {
    for at_once in [false, true] {
        let mut pair = pair();
        let text = Bytes::from_static(b"x");
        for (op, idempotency, trace) in [(1, "key", "trace"), (2, "key", ""), (3, "", "trace"), (4, "", "")] {
            let request = Post::Request(Channel::DATA, with_keys(idempotency, trace));
            if at_once {
                write(&mut pair, false, op, request, text.clone(), usize::MAX);
            } else {
                assert!(pair.client.post(op, request, text.clone(), pair.now, None).is_none());
            }
            pair.exchange();
            let delivery = take(&mut pair.server);
            let told = |key: Option<&Bytes>| key.map_or(String::new(), |key| String::from_utf8(key.to_vec()).unwrap());
            assert_eq!(told(delivery.request().unwrap().idempotency.as_ref()), idempotency);
            assert_eq!(told(delivery.extra.as_ref().unwrap().trace.as_ref()), trace);
            assert_eq!(delivery.request().unwrap().deadline, None);
        }
    }
    let mut pair = pair();
    let message = Post::Message(Channel::DATA, with_keys("", "trace"));
    assert!(pair.client.inline(&message, 1, pair.now).unwrap().is_none(), "such messages are queued");
    pair.client.post(1, message, Bytes::from_static(b"x"), pair.now, None);
    pair.exchange();
    let extra = take(&mut pair.server).extra.expect("a trace");
    assert_eq!((extra.trace.as_deref(), extra.request.is_some(), extra.fds.len()), (Some(&b"trace"[..]), false, 0));
    // Whatever comes without any of it has nothing beside its bytes, in however many frames it comes.
    for len in [0, 1, 20_000, 600_000] {
        post(&mut pair, 2, Channel::DATA, len);
        pair.exchange();
        let delivery = take(&mut pair.server);
        assert!(delivery.extra.is_none() && delivery.payload.len() == len, "{len}");
    }
}

#[test]
fn a_deadline_is_told_in_what_is_left_of_it() {
    for at_once in [false, true] {
        let mut pair = pair();
        let until = pair.deadline(3 * SECOND);
        let request = Post::Request(Channel::DATA, With::new(until));
        pair.now += SECOND;
        if at_once {
            write(&mut pair, false, 1, request, Bytes::new(), usize::MAX);
        } else {
            pair.client.post(1, request, Bytes::new(), pair.now, None);
        }
        pair.now += Duration::from_millis(1);
        pair.exchange();
        let told = take(&mut pair.server).request().unwrap().deadline;
        // By the clock of whoever was told, from when it came.
        let came = if at_once { pair.now - Duration::from_millis(1) } else { pair.now };
        assert_eq!(told, Some(came + 2 * SECOND));
        assert_eq!(pair.server.next_timeout(), told);
        // It ends the call at its caller, too, although the operation has no deadline of its own.
        assert_eq!(pair.client.next_timeout(), until);
    }
}

#[test]
fn keys_and_descriptors_have_exact_limits() {
    let key = |len: usize| Bytes::from(vec![b'k'; len]);
    for (len, fine) in [(0, false), (1, true), (MAX_KEY, true), (MAX_KEY + 1, false)] {
        for trace in [false, true] {
            let mut with = With::default();
            let more = with.more_mut();
            *(if trace { &mut more.trace } else { &mut more.idempotency }) = Some(key(len));
            let checked = with.check(false).map_err(|error| error.code());
            assert_eq!(checked, if fine { Ok(()) } else { Err(Code::InvalidArgument) }, "{len}");
        }
    }
    assert!(With::default().check(false).is_ok() && with_keys("", "").check(false).is_ok());
    for (count, carried, uncarried) in [
        (0, Ok(()), Ok(())),
        (1, Ok(()), Err(Code::Unsupported)),
        (MAX_FDS, Ok(()), Err(Code::Unsupported)),
        (MAX_FDS + 1, Err(Code::InvalidArgument), Err(Code::InvalidArgument)),
    ] {
        let with = with_fds(count);
        assert_eq!(with.has_fds(), count > 0);
        assert_eq!(with.check(true).map_err(|e| e.code()), carried, "{count}");
        assert_eq!(with.check(false).map_err(|e| e.code()), uncarried, "{count}");
    }
    // And are checked at the door.
    let mut pair = pair();
    let refused = pair.client.post(1, Post::Message(Channel::DATA, with_fds(1)), Bytes::new(), pair.now, None);
    assert_eq!(refused.unwrap().unwrap_err().code(), Code::Unsupported);
    assert!(!pair.client.passes_fds() && carriers().client.passes_fds());
}

#[test]
fn another_attempt_has_all_but_the_descriptors() {
    let mut with = with_keys("key", "trace");
    with.more_mut().fds = descriptors(2);
    with.deadline = Some(std::time::Instant::now());
    let again = with.again();
    let (first, second) = (with.more().unwrap(), again.more().unwrap());
    assert_eq!((again.deadline, &second.idempotency, &second.trace), (with.deadline, &first.idempotency, &first.trace));
    assert!(!again.has_fds() && with.has_fds());
    assert!(With::default().again().more().is_none());
}

#[test]
fn descriptors_arrive_with_their_message_and_are_charged() {
    let mut pair = carriers();
    let text = Bytes::from_static(b"x");
    let charge = |fds: usize| 1 + MESSAGE_OVERHEAD + fds * DESCRIPTOR_OVERHEAD;
    let mut charged = 0;
    for fds in [0, 1, MAX_FDS] {
        let message = Post::Message(Channel::DATA, with_fds(fds));
        assert!(pair.client.inline(&message, 1, pair.now).unwrap().is_none());
        pair.client.post(1, message, text.clone(), pair.now, None);
        assert_eq!(pair.client.stats().channels[1].send_queued_bytes, charge(fds));
        carry(&mut pair);
        charged += charge(fds);
        assert_eq!(pair.server.stats().channels[1].queued_bytes, charge(fds));
        assert_eq!(pair.client.stats().channels[1].send_credit, WINDOW_DATA - charged as u64);
        let delivery = take(&mut pair.server);
        assert_eq!(delivery.extra.as_ref().map_or(0, |extra| extra.fds.len()), fds);
        assert_eq!(pair.server.stats().receive_queue.bytes, 0);
    }
    // With a call, which is not written from the caller's memory.
    let request = Post::Request(Channel::DATA, with_fds(2));
    assert!(pair.client.inline(&request, 1, pair.now).unwrap().is_none());
    pair.client.post(2, request, text, pair.now, None);
    carry(&mut pair);
    let delivery = take(&mut pair.server);
    assert_eq!((delivery.extra.as_ref().unwrap().fds.len(), delivery.request().unwrap().id), (2, 1));
    // A large one, whose descriptors come with its first frame.
    let large = Bytes::from(vec![9; 700_000]);
    pair.client.post(3, Post::Message(Channel::DATA, with_fds(3)), large.clone(), pair.now, None);
    carry(&mut pair);
    let delivery = take(&mut pair.server);
    assert!(delivery.payload == large && delivery.extra.unwrap().fds.len() == 3);
    assert_eq!(done(&mut pair.client).len(), 4);
}

#[test]
fn descriptors_leave_with_the_first_byte_of_a_write() {
    let mut pair = carriers();
    for (op, fds) in [(1, 0), (2, 2), (3, 1), (4, 0), (5, 0)] {
        let message = Post::Message(Channel::DATA, with_fds(fds));
        // The first is in two pieces of memory.
        let len = if op == 1 { 5000 } else { 10 };
        pair.client.post(op, message, Bytes::from(vec![op as u8; len]), pair.now, None);
    }
    pair.client.stage();
    // Before the first descriptors, in two writes.
    let mut slices = Vec::new();
    assert_eq!(pair.client.slices(&mut slices).len(), 0);
    assert_eq!(slices.iter().map(|slice| slice.len()).sum::<usize>(), 5016);
    pair.client.transmitted(5015);
    let (bytes, fds) = write_once(&mut pair.client);
    assert_eq!((bytes.len(), fds), (1, 0));
    // Those of the next message, with the first byte the carrier takes, alone.
    let mut slices = Vec::new();
    assert_eq!(pair.client.slices(&mut slices).len(), 2);
    pair.client.transmitted(0);
    let mut slices = Vec::new();
    assert_eq!(pair.client.slices(&mut slices).len(), 2, "nothing was taken");
    // A header, and a block with one extension of one byte.
    let framed = 16 + 7 + 10;
    assert_eq!(slices.iter().map(|slice| slice.len()).sum::<usize>(), framed);
    pair.client.transmitted(1);
    let (bytes, fds) = write_once(&mut pair.client);
    assert_eq!((bytes.len(), fds), (framed - 1, 0));
    let (bytes, fds) = write_once(&mut pair.client);
    assert_eq!(
        (fds, frames(&bytes).iter().map(|(_, payload)| payload.len()).collect::<Vec<_>>()),
        (1, vec![17, 10, 10])
    );
    assert!(!pair.client.wants_write());
    assert_eq!(done(&mut pair.client).len(), 5);
}

#[test]
fn descriptors_nobody_announced_or_agreed_on_end_the_connection() {
    let announce = |count: u8| [&[5, 0, 5, 0, 1, 0, count][..], b"x"].concat();
    let with_fds = WHOLE | flag::EXT | flag::FDS;
    // Not agreed on; with a frame that carries none; of a number that did not come.
    for (mut pair, of, id, came) in
        [(pair(), kind::MESSAGE, 0, 1), (carriers(), kind::RESPONSE, 1, 1), (carriers(), kind::MESSAGE, 0, 0)]
    {
        pair.client.post(1, Post::Request(Channel::DATA, With::default()), Bytes::new(), pair.now, None);
        pair.exchange();
        pair.client.received_fds(descriptors(came));
        to_client(&mut pair, &[frame(of, with_fds, 2, id, &announce(1))]);
        assert_eq!(pair.client.end_error().unwrap().code(), Code::ProtocolError, "{of} {came}");
    }
    // The flag and the extension belong together.
    for (flags, payload) in [(WHOLE | flag::FDS, b"x".to_vec()), (WHOLE | flag::EXT, announce(1))] {
        let mut pair = carriers();
        pair.server.received_fds(descriptors(1));
        to_server(&mut pair, &[frame(kind::MESSAGE, flags, 2, 0, &payload)]);
        assert_eq!(pair.server.end_error().unwrap().code(), Code::ProtocolError, "{flags}");
    }
    // With the request of a stream they are fine, also if it comes in pieces.
    let mut pair = carriers();
    pair.server.received_fds(descriptors(4));
    let begins = [&[5, 0, 5, 0, 1, 0, 4][..], &2u32.to_le_bytes(), b"a"].concat();
    let flags = flag::FIRST | flag::EXT | flag::FDS | flag::STREAM;
    to_server(&mut pair, &[frame(kind::REQUEST, flags, 2, 1, &begins), frame(kind::REQUEST, flag::LAST, 2, 1, b"b")]);
    assert_eq!(take(&mut pair.server).extra.unwrap().fds.len(), 4);
    assert_eq!(drain_bytes(&mut pair.server), b"");
}
