//! Frames that belong to no call, to another one, or to somebody else, and floods of them.

use bytes::Bytes;

use super::hand::{
    WHOLE, acceptor, answer, ask, frame, kinds, leaving, level_1, pair, pair_of, reply, take, takes, to_client,
    to_server,
};
use super::{Pair, connector, done};
use crate::error::Code;
use crate::limits;
use crate::proto::Outcome;
use crate::proto::channel::Channel;
use crate::proto::level1::With;
use crate::proto::level1::wire::{flag, kind};

/// The first frame of a message of two bytes.
fn begins(of: u8, flags: u8, channel: u16, id: u64) -> Vec<u8> {
    frame(of, flag::FIRST | flags, channel, id, &[&2u32.to_le_bytes()[..], b"a"].concat())
}

fn ends(of: u8, channel: u16, id: u64) -> Vec<u8> {
    frame(of, flag::LAST, channel, id, b"b")
}

fn request(channel: u16, id: u64) -> Vec<u8> {
    frame(kind::REQUEST, WHOLE, channel, id, b"?")
}

fn cancel(id: u64) -> Vec<u8> {
    frame(kind::CANCEL, 0, 0, id, &[])
}

/// With the code of a time that is over.
fn error(id: u64) -> Vec<u8> {
    frame(kind::ERROR, 0, 0, id, &Code::Timeout.number().to_le_bytes())
}

fn credit(channel: u16, id: u64) -> Vec<u8> {
    frame(kind::CREDIT, 0, channel, id, &1_000_000u64.to_le_bytes())
}

fn ends_client(pair: &mut Pair, bytes: Vec<u8>) -> Option<Code> {
    to_client(pair, &[bytes]);
    pair.client.end_error().map(|error| error.code())
}

fn ends_server(pair: &mut Pair, bytes: Vec<u8>) -> Option<Code> {
    to_server(pair, &[bytes]);
    pair.server.end_error().map(|error| error.code())
}

#[test]
fn a_frame_for_a_call_that_never_was_ends_the_connection() {
    let fault = Some(Code::ProtocolError);
    let item = |id| frame(kind::STREAM, WHOLE, 1, id, b"i");
    let response = |id| frame(kind::RESPONSE, WHOLE, 1, id, b"r");
    // Before either side has called, and with one call of each: 1 of the client, 2 of the server.
    for called in [false, true] {
        let set_up = || {
            let mut pair = pair();
            if called {
                ask(&mut pair, 1, "?", None);
                pair.exchange();
                to_client(&mut pair, &[request(1, 2)]);
                to_server(&mut pair, &[request(2, 7)]);
            }
            pair
        };
        // 0 is no call; of the others, odd ones are the client's.
        for id in [0, 3, 5] {
            for stray in [response(id), error(id), item(id)] {
                assert_eq!(ends_client(&mut set_up(), stray), fault, "{id}");
            }
        }
        for id in [0, 4, 6] {
            for stray in [cancel(id), item(id)] {
                assert_eq!(ends_client(&mut set_up(), stray), fault, "{id}");
            }
        }
        assert_eq!(ends_client(&mut set_up(), credit(0, 3)), fault);
        assert_eq!(ends_client(&mut set_up(), credit(0, 4)), fault);
        for id in [0, 9, 11] {
            for stray in [cancel(id), item(id)] {
                assert_eq!(ends_server(&mut set_up(), stray), fault, "{id}");
            }
        }
        for id in [0, 2, 4] {
            for stray in [response(id), error(id)] {
                assert_eq!(ends_server(&mut set_up(), stray), fault, "{id}");
            }
        }
    }
    // A one-way message has no id, whether it comes in one frame or in pieces.
    for stray in [frame(kind::MESSAGE, WHOLE, 2, 1, b"m"), begins(kind::MESSAGE, 0, 2, 1)] {
        assert_eq!(ends_server(&mut pair(), stray), fault);
    }
}

#[test]
fn each_side_ends_its_own_part_of_a_call() {
    let fault = Some(Code::ProtocolError);
    let both = || {
        let mut pair = pair();
        ask(&mut pair, 1, "?", None);
        pair.exchange();
        to_client(&mut pair, &[request(1, 2)]);
        pair
    };
    // The server cancels what the client called, or answers what it called itself.
    assert_eq!(ends_client(&mut both(), cancel(1)), fault);
    assert_eq!(ends_client(&mut both(), frame(kind::RESPONSE, WHOLE, 1, 2, b"r")), fault);
    assert_eq!(ends_client(&mut both(), error(2)), fault);
    assert_eq!(ends_client(&mut both(), frame(kind::REFUSE, 0, 0, 2, &[1, 0, 0, 0])), fault);
    // Nobody calls under the other one's ids, or under none.
    for id in [0, 3] {
        assert_eq!(ends_client(&mut both(), request(1, id)), fault, "{id}");
    }
    for id in [0, 1, 2] {
        let mut pair = both();
        to_server(&mut pair, &[request(1, 5)]);
        assert_eq!(ends_server(&mut pair, request(1, id)), fault, "{id}");
    }
}

#[test]
fn frames_of_a_call_stand_on_the_channel_of_its_request() {
    let fault = Some(Code::ProtocolError);
    let calling = |stream: bool| {
        let mut pair = pair();
        if stream {
            pair.client.open_stream(Channel::COMMAND, false, With::default(), Bytes::new(), pair.now).unwrap();
        } else {
            ask(&mut pair, 1, "?", None);
        }
        pair.exchange();
        pair
    };
    let response = |channel| frame(kind::RESPONSE, WHOLE, channel, 1, b"r");
    let item = |channel| frame(kind::STREAM, WHOLE, channel, 1, b"i");
    assert_eq!(ends_client(&mut calling(false), response(2)), fault);
    assert_eq!(ends_client(&mut calling(false), response(1)), None);
    assert_eq!(ends_client(&mut calling(true), item(2)), fault);
    assert_eq!(ends_client(&mut calling(true), item(1)), None);
    assert_eq!(ends_server(&mut calling(true), item(2)), fault);
    assert_eq!(ends_server(&mut calling(true), item(1)), None);
    // And there are none in a plain call.
    assert_eq!(ends_client(&mut calling(false), item(1)), fault);
    assert_eq!(ends_server(&mut calling(false), item(1)), fault);
    // Which channel that was is forgotten with the call.
    let mut pair = calling(false);
    let id = take(&mut pair.server).request().unwrap().id;
    answer(&mut pair.server, 1, id, None, "r", pair.now);
    pair.exchange();
    assert_eq!(ends_server(&mut pair, item(2)), None);
}

#[test]
fn what_arrives_in_pieces_is_its_own_calls_business_alone() {
    let mut pair = pair();
    let stream = |channel, id| frame(kind::REQUEST, WHOLE | flag::STREAM, channel, id, b"s");
    to_server(&mut pair, &[stream(2, 1), request(3, 3)]);
    take(&mut pair.server);
    take(&mut pair.server);
    answer(&mut pair.server, 1, 3, None, "r", pair.now);
    assert_eq!(kinds(&mut pair.server), [kind::RESPONSE]);
    // While the request 5 arrives, a request on another channel, an item of a stream, and the cancel of an ended call.
    let frames = [
        begins(kind::REQUEST, 0, 1, 5),
        request(4, 7),
        frame(kind::STREAM, WHOLE, 2, 1, b"item"),
        begins(kind::STREAM, 0, 2, 1),
        cancel(3),
        ends(kind::STREAM, 2, 1),
    ];
    to_server(&mut pair, &frames);
    assert_eq!((pair.server.end_error().map(|error| error.code()), pair.server.stats().late), (None, 1));
    for expected in ["item", "ab"] {
        assert!(matches!(pair.server.stream_recv(9, 1, None), Some(Ok(Outcome::Item(item))) if item == expected));
    }
    assert_eq!(take(&mut pair.server).payload, "?");
    // Its own is noted, once; the next is nobody's. A request that is whole counts no more as arriving.
    to_server(&mut pair, &[cancel(5)]);
    assert_eq!((pair.server.stats().late, leaving(&mut pair.server).len()), (1, 0));
    to_server(&mut pair, &[cancel(5)]);
    assert_eq!(pair.server.stats().late, 2);
    to_server(&mut pair, &[begins(kind::REQUEST, 0, 3, 9), ends(kind::REQUEST, 1, 5), ends(kind::REQUEST, 3, 9)]);
    let leaves = leaving(&mut pair.server);
    assert_eq!(leaves.iter().map(|(header, _)| (header.kind, header.id)).collect::<Vec<_>>(), [(kind::ERROR, 5)]);
    assert_eq!(leaves[0].1[..4], Code::Cancelled.number().to_le_bytes());
    assert_eq!(take(&mut pair.server).request().unwrap().id, 9);
    assert_eq!(pair.server.stats().calls_served, 4);
    to_server(&mut pair, &[frame(kind::STREAM, WHOLE, 2, 1, b"item")]);
    assert!(pair.server.is_open());
}

#[test]
fn an_answer_that_is_on_its_way_or_given_up_does_not_take_the_next_ones_place() {
    let mut pair = pair();
    for op in 1..=3 {
        ask(&mut pair, op, "?", None);
    }
    pair.exchange();
    pair.client.cancel(1);
    done(&mut pair.client);
    // One of the others is answered, then the one given up.
    to_client(&mut pair, &[frame(kind::RESPONSE, WHOLE, 1, 5, b"third")]);
    assert_eq!((reply(&mut pair.client, 3), pair.client.stats().open_calls), (Bytes::from_static(b"third"), 2));
    to_client(&mut pair, &[error(1), frame(kind::RESPONSE, WHOLE, 1, 3, b"second")]);
    assert_eq!((reply(&mut pair.client, 2), pair.client.stats().open_calls), (Bytes::from_static(b"second"), 0));
    assert_eq!((pair.client.stats().late, pair.client.stats().calls_cancelled), (0, 1));
}

#[test]
fn a_pong_answers_the_ping_with_its_token_and_no_other() {
    let mut pair = pair();
    for op in 1..=3 {
        pair.client.ping(op, pair.now, None);
    }
    let tokens: Vec<Vec<u8>> = leaving(&mut pair.client).into_iter().map(|(_, token)| token).collect();
    assert!(tokens[0] != tokens[1] && tokens[1] != tokens[2] && tokens[0] != tokens[2]);
    // 0 is that of a keepalive, which is nobody's operation.
    let pong = |token: &[u8]| frame(kind::PONG, 0, 0, 0, token);
    to_client(&mut pair, &[pong(&[0; 8]), pong(&[0xEE; 8]), pong(&tokens[1])]);
    assert!(matches!(done(&mut pair.client)[..], [(2, Ok(Outcome::Pong(_)))]));
    // One whose caller has left is no answer to the others.
    pair.client.cancel(1);
    done(&mut pair.client);
    to_client(&mut pair, &[pong(&tokens[0]), pong(&tokens[1]), pong(&tokens[2])]);
    assert!(matches!(done(&mut pair.client)[..], [(3, Ok(Outcome::Pong(_)))]));
    assert!(pair.client.is_open());
}

#[test]
fn so_many_pings_may_be_unanswered_however_much_time_passes() {
    let mut pair = pair();
    for op in 0..limits::MAX_PINGS as u64 {
        assert!(pair.client.ping(op, pair.now, None).is_none());
    }
    pair.now += super::SECOND;
    let refused = pair.client.ping(1000, pair.now, None).unwrap().unwrap_err();
    assert_eq!(refused.code(), Code::QueueFull);
    pair.exchange();
    assert_eq!(done(&mut pair.client).len(), limits::MAX_PINGS);
    assert!(pair.client.ping(1000, pair.now, None).is_none());
}

#[test]
fn so_many_answers_to_pings_may_be_unread_and_not_one_more() {
    let ping = frame(kind::PING, 0, 0, 0, &[7; 8]);
    let pings = |pair: &mut Pair, count: usize| {
        to_server(pair, &vec![ping.clone(); count]);
        pair.server.end_error().map(|error| error.code())
    };
    let flood = Some(Code::ControlFlood);
    let mut pair = pair();
    assert_eq!(pings(&mut pair, limits::MAX_UNREAD_ANSWERS), None);
    assert_eq!(pings(&mut pair, 1), flood);
    // Staged ones are not read either; those the carrier has taken are.
    let mut pair = self::pair();
    assert_eq!(pings(&mut pair, limits::MAX_UNREAD_ANSWERS - 1), None);
    pair.server.stage();
    assert_eq!(pings(&mut pair, 1), None);
    pair.server.stage();
    takes(&mut pair.server, 10 * 24);
    // All that was staged at once counts until all of it has left.
    takes(&mut pair.server, 24 * (limits::MAX_UNREAD_ANSWERS - 1) - 10 * 24 - 1);
    assert_eq!(pings(&mut pair, 1), flood);
    let mut pair = self::pair();
    assert_eq!(pings(&mut pair, limits::MAX_UNREAD_ANSWERS), None);
    assert_eq!(kinds(&mut pair.server).len(), limits::MAX_UNREAD_ANSWERS);
    assert_eq!(pings(&mut pair, limits::MAX_UNREAD_ANSWERS), None);
    assert_eq!(pings(&mut pair, 1), flood);
}

#[test]
fn so_much_may_be_asked_for_unread_and_not_a_byte_more() {
    let mut server = level_1(acceptor());
    server.own.limits.max_calls = 2;
    let most = limits::CONTROL_QUEUE + limits::CALL_END * 2;
    let mut pair = pair_of(level_1(connector()), server);
    // Refusals, each of 44 bytes, and a few answers to pings, each of 24, are just as much as may wait.
    let (refusals, pongs) = (5960, 4);
    assert_eq!(refusals * 44 + pongs * 24, most);
    let calls: Vec<u8> =
        (0..refusals as u64 + 2).flat_map(|n| frame(kind::REQUEST, WHOLE, 1, 1 + 2 * n, &[])).collect();
    let pings = frame(kind::PING, 0, 0, 0, &[7; 8]).repeat(pongs);
    to_server(&mut pair, &[calls, pings]);
    assert_eq!((pair.server.stats().send_queue.bytes, pair.server.is_open()), (most, true));
    assert_eq!(ends_server(&mut pair, request(1, 99_999)), Some(Code::ControlFlood));
}
