//! Level 1 towards a peer that breaks its rules, frame by frame.

use super::hand::{answer, ask, frame, pair, result, take};
use super::{Pair, give};
use crate::error::Code;
use crate::proto::level1::wire::{flag, kind};

const FIRST: u8 = flag::FIRST;
const WHOLE: u8 = flag::FIRST | flag::LAST;

/// What becomes of a server that these frames come to.
fn end(pair: &mut Pair, frames: &[Vec<u8>]) -> Option<Code> {
    for bytes in frames {
        give(&mut pair.server, bytes, pair.now);
    }
    pair.server.end_error().map(|error| error.code())
}

/// The first frame of a message of `total` bytes, with `payload` of them.
fn begins(of: u8, flags: u8, channel: u16, id: u64, total: u32, payload: &[u8]) -> Vec<u8> {
    frame(of, FIRST | flags, channel, id, &[&total.to_le_bytes(), payload].concat())
}

#[test]
fn what_the_other_side_says_is_shown_on_one_line() {
    let reason = |code: Code| [&code.number().to_le_bytes()[..], b"a\x1b[2Jb\nc"].concat();
    for of in [kind::ERROR, kind::REFUSE, kind::CLOSE] {
        let mut pair = pair();
        ask(&mut pair, 1, "?", None);
        pair.exchange();
        give(&mut pair.client, &frame(of, 0, 0, 1, &reason(Code::QueueFull)), pair.now);
        let error = result(&mut pair.client, 1).unwrap_err();
        assert!(error.message().ends_with(r"a\u{1b}[2Jb\nc"), "{error}");
    }
}

#[test]
fn no_item_comes_before_its_request_is_whole() {
    for channel in [1, 2] {
        // It would be charged to no stream, and yet be delivered in one.
        let frames = [begins(kind::REQUEST, flag::STREAM, 1, 1, 2, b"a"), begins(kind::STREAM, 0, channel, 1, 2, b"i")];
        assert_eq!(end(&mut pair(), &frames), Some(Code::ProtocolError), "{channel}");
    }
    let frames = [begins(kind::REQUEST, flag::STREAM, 1, 1, 2, b"a"), frame(kind::STREAM, WHOLE, 2, 1, b"whole")];
    assert_eq!(end(&mut pair(), &frames), Some(Code::ProtocolError));
}

#[test]
fn items_in_pieces_are_charged_to_their_stream() {
    let mut pair = pair();
    let window = crate::limits::STREAM_WINDOW as u32;
    let frames = [
        begins(kind::REQUEST, flag::STREAM, 1, 1, 2, b"a"),
        frame(kind::REQUEST, flag::LAST, 1, 1, b"b"),
        begins(kind::STREAM, 0, 1, 1, window, b"i"),
        frame(kind::STREAM, flag::LAST, 1, 1, &vec![0; window as usize - 1]),
    ];
    assert_eq!(end(&mut pair, &frames), None);
    assert_eq!(end(&mut pair, &[frame(kind::STREAM, WHOLE, 1, 1, b"one more")]), Some(Code::CreditExceeded));
}

#[test]
fn an_id_is_new_unless_its_call_has_a_place_or_something_of_it_is_arriving() {
    let refused = Some(Code::ProtocolError);
    let again = || frame(kind::REQUEST, WHOLE, 2, 1, b"again");
    // Taken by the program, arriving, given up while it arrived, and given up by its caller alone.
    assert_eq!(end(&mut pair(), &[frame(kind::REQUEST, WHOLE, 1, 1, b"x"), again()]), refused);
    let begun = || begins(kind::REQUEST, 0, 1, 1, 2, b"a");
    assert_eq!(end(&mut pair(), &[begun(), again()]), refused);
    assert_eq!(end(&mut pair(), &[begun(), frame(kind::CANCEL, 0, 0, 1, &[]), again()]), refused);
    let mut pair = pair();
    assert_eq!(end(&mut pair, &[frame(kind::REQUEST, WHOLE, 1, 1, b"x")]), None);
    take(&mut pair.server);
    assert_eq!(end(&mut pair, &[frame(kind::CANCEL, 0, 0, 1, &[]), again()]), refused);
}

#[test]
fn an_id_that_was_answered_is_used_again_on_another_channel_by_a_call_of_its_own() {
    // A receiver that had to know better would have to keep every id for ever.
    let mut pair = pair();
    assert_eq!(end(&mut pair, &[frame(kind::REQUEST, WHOLE | flag::STREAM, 1, 1, b"x")]), None);
    take(&mut pair.server);
    answer(&mut pair.server, 1, 1, None, "r", pair.now);
    pair.exchange();
    result(&mut pair.server, 1).unwrap();
    // But nothing that was let in for the old call gets into the new one.
    let late = begins(kind::STREAM, 0, 3, 1, 2, b"l");
    let again = frame(kind::REQUEST, WHOLE | flag::STREAM, 2, 1, b"again");
    assert_eq!(end(&mut pair, &[late, again]), Some(Code::ProtocolError));
}

#[test]
fn nothing_begins_behind_the_acknowledgement_of_a_drain() {
    let begins_nothing = [
        frame(kind::REQUEST, WHOLE, 1, 3, b"late"),
        frame(kind::MESSAGE, WHOLE, 2, 0, b"late"),
        begins(kind::MESSAGE, 0, 2, 0, 2, b"l"),
    ];
    for late in begins_nothing {
        let mut pair = pair();
        // What has begun before goes on: a stream, a message in pieces, the answer to a call of this side.
        let before = [frame(kind::REQUEST, WHOLE | flag::STREAM, 1, 1, b"x"), begins(kind::MESSAGE, 0, 3, 0, 2, b"a")];
        assert_eq!(end(&mut pair, &before), None);
        take(&mut pair.server);
        assert!(pair.server.drain(1, None).is_none());
        let after = [
            frame(kind::DRAIN_ACK, 0, 0, 0, &[]),
            frame(kind::MESSAGE, flag::LAST, 3, 0, b"b"),
            frame(kind::STREAM, WHOLE, 1, 1, b"item"),
        ];
        assert_eq!(end(&mut pair, &after), None);
        assert_eq!(take(&mut pair.server).payload, "ab");
        assert_eq!(end(&mut pair, &[late]), Some(Code::ProtocolError));
    }
}
