//! A message that the driver writes straight from the caller's memory, whole or in part.

use bytes::Bytes;

use super::hand::{answer, ask, pair, result, take};
use super::{Pair, SECOND, code, done, drain_bytes, give};
use crate::error::{Code, Sent};
use crate::limits;
use crate::proto::channel::Channel;
use crate::proto::conn::{Conn, Post};
use crate::proto::level1::{Answer, With};
use crate::proto::{Outcome, Step};

fn data() -> Post {
    Post::Message(Channel::DATA, With::default())
}

fn request() -> Post {
    Post::Request(Channel::COMMAND, With::default())
}

/// Writes `taken` bytes of `post` at once, if the way is free.
fn write(
    conn: &mut Conn,
    op: u64,
    post: &Post,
    payload: &'static [u8],
    taken: usize,
    now: std::time::Instant,
) -> Option<(Vec<u8>, Step)> {
    let inline = conn.inline(post, payload.len(), now).unwrap()?;
    let bytes: Vec<u8> =
        inline.with_slices(payload, |slices| slices.iter().flat_map(|s| s.to_vec()).take(taken).collect());
    let step = conn.wrote(op, post, &inline, payload.len(), bytes.len(), || Bytes::from_static(payload), None);
    Some((bytes, step))
}

#[test]
fn the_way_is_free_while_nothing_is_before_it() {
    for mut pair in [Pair::new(), pair()] {
        assert!(pair.client.inline(&data(), 3, pair.now).unwrap().is_some());
        pair.client.post(1, data(), Bytes::from_static(b"first"), pair.now, None);
        for post in [data(), request()] {
            // On level 1 a call has a channel of its own, and none is before it there until its turn came.
            let free = pair.client.inline(&post, 3, pair.now).unwrap().is_some();
            assert!(!free || pair.client.agreed().level == 1);
        }
        pair.exchange();
        done(&mut pair.client);
        assert!(pair.client.inline(&data(), 3, pair.now).unwrap().is_some());
    }
}

#[test]
fn what_was_written_whole_is_done_and_the_rest_of_a_part_follows() {
    for mut pair in [Pair::new(), pair()] {
        let header = if pair.client.agreed().level == 1 { 16 } else { 8 };
        for taken in [0, 1, header - 1, header, header + 1, header + 4, usize::MAX] {
            let (mut bytes, step) = write(&mut pair.client, 1, &data(), b"hello", taken, pair.now).unwrap();
            assert_eq!(step.is_some(), bytes.len() == header + 5, "{taken}");
            assert_eq!(pair.client.is_pending(1), step.is_none());
            bytes.extend(drain_bytes(&mut pair.client));
            assert!(give(&mut pair.server, &bytes, pair.now).is_empty());
            assert_eq!(&take(&mut pair.server).payload[..], b"hello");
            if step.is_none() {
                assert!(matches!(done(&mut pair.client)[..], [(1, Ok(Outcome::Sent))]), "{taken}");
            }
            pair.exchange();
        }
        let stats = pair.client.stats().channels[1];
        assert_eq!((stats.messages_sent, stats.bytes_sent), (7, 35));
    }
}

#[test]
fn a_call_on_level_0_goes_out_when_none_is_before_it() {
    let mut pair = Pair::new();
    let (bytes, step) = write(&mut pair.client, 1, &request(), b"first", usize::MAX, pair.now).unwrap();
    assert!(step.is_none() && pair.client.stats().open_calls == 1 && pair.client.stats().calls == 1);
    assert!(pair.client.inline(&request(), 3, pair.now).unwrap().is_none(), "level 0 has one call at a time");
    assert!(pair.client.inline(&data(), 3, pair.now).unwrap().is_some());
    give(&mut pair.server, &bytes, pair.now);
    take(&mut pair.server);
    pair.server.send(1, Channel::COMMAND, Bytes::from_static(b"reply"), None);
    pair.exchange();
    assert!(matches!(result(&mut pair.client, 1), Ok(Outcome::Reply(Channel::COMMAND, r)) if r[..] == *b"reply"));
    // Of one that was begun, a byte counts; of one that was not, none.
    let (_, step) = write(&mut pair.client, 2, &request(), b"second", 0, pair.now).unwrap();
    assert!(step.is_none() && pair.client.stats().calls == 1);
    assert!(pair.client.cancel(2) && pair.client.is_open());
    assert_eq!(result(&mut pair.client, 2).unwrap_err().sent(), Sent::No);
    let (_, _) = write(&mut pair.client, 3, &request(), b"third", 1, pair.now).unwrap();
    assert_eq!(pair.client.stats().calls, 2);
    pair.client.cancel(3);
    assert_eq!(result(&mut pair.client, 3).unwrap_err().sent(), Sent::Maybe);
    assert!(pair.client.end_error().is_some());
}

#[test]
fn every_post_is_checked_before_it_is_written() {
    for mut pair in [Pair::new(), pair()] {
        let zero = pair.client.agreed().level == 0;
        let other = Channel::new(300).unwrap();
        let large = limits::MAX_MESSAGE + 1;
        let mut keyed = With::default();
        keyed.more_mut().idempotency = Some(Bytes::from_static(b"key"));
        let mut traced = With::default();
        traced.more_mut().trace = Some(Bytes::from_static(b"trace"));
        let gone = Post::Answer(Answer { id: 2, status: None });
        for (post, len, refused) in [
            (Post::Message(other, With::default()), 1, Some(Code::InvalidChannel)),
            (Post::Request(other, With::default()), 1, Some(Code::InvalidChannel)),
            (data(), large, Some(Code::PayloadTooLarge)),
            (data(), large - 1, None),
            (request(), large, Some(Code::PayloadTooLarge)),
            (Post::Request(Channel::DATA, With::default()), 1, zero.then_some(Code::Unsupported)),
            (Post::Request(Channel::COMMAND, keyed), 1, zero.then_some(Code::Unsupported)),
            (Post::Message(Channel::DATA, traced), 1, zero.then_some(Code::Unsupported)),
            (gone, 1, Some(if zero { Code::Unsupported } else { Code::CallEnded })),
        ] {
            let error = pair.client.inline(&post, len, pair.now).err().map(|error| error.code());
            assert_eq!(error, refused, "{post:?}");
            if let (Some(refused), 1) = (refused, len) {
                let step = pair.client.post(1, post, Bytes::from_static(b"x"), pair.now, None);
                assert_eq!(step.unwrap().unwrap_err().code(), refused);
            }
        }
        assert_eq!(pair.client.stats().pending_operations, 0);
        let mut early = Conn::new(super::config(super::connector()), pair.now);
        assert_eq!(early.inline(&data(), 1, pair.now).unwrap_err().code(), Code::Internal);
        pair.client.close();
        assert_eq!(pair.client.inline(&data(), 1, pair.now).unwrap_err().code(), Code::Closed);
    }
}

#[test]
fn nothing_is_written_to_whoever_takes_no_more_or_while_draining() {
    for mut pair in [Pair::new(), pair()] {
        pair.client.write_failed(crate::error::Error::new(Code::ConnectionLost, "broken pipe"));
        assert!(!pair.client.wants_write() && pair.client.wants_read());
        assert_eq!(pair.client.inline(&data(), 1, pair.now).unwrap_err().code(), Code::ConnectionLost);
    }
    for mut pair in [Pair::new(), pair()] {
        assert!(pair.client.drain(1, None).is_none());
        assert_eq!(pair.client.inline(&data(), 1, pair.now).unwrap_err().code(), Code::Closed);
    }
    for mut pair in [Pair::new(), pair()] {
        pair.client.hung_up();
        let error = pair.client.inline(&request(), 1, pair.now).unwrap_err();
        assert_eq!(error.code(), Code::ConnectionLost, "no answer can come");
    }
}

#[test]
fn a_call_ends_at_the_earlier_of_its_two_deadlines() {
    for (told, own) in [(1, 2), (2, 1)] {
        let mut pair = pair();
        let post = Post::Request(Channel::COMMAND, With::new(pair.deadline(SECOND * told)));
        let own = pair.deadline(SECOND * own);
        assert!(post.has_deadline() && !request().has_deadline() && !data().has_deadline());
        assert!(pair.client.post(1, post, Bytes::from_static(b"?"), pair.now, own).is_none());
        pair.exchange();
        pair.pass(SECOND);
        assert_eq!(code(&mut pair.client, 1), Code::Timeout);
    }
}

#[test]
fn an_answer_written_at_once_reaches_its_call() {
    let mut pair = pair();
    ask(&mut pair, 1, "a", None);
    ask(&mut pair, 2, "b", None);
    pair.exchange();
    let ids: Vec<u64> = (0..2).map(|_| take(&mut pair.server).request().unwrap().id).collect();
    let post = Post::Answer(Answer { id: ids[0], status: None });
    let (bytes, step) = write(&mut pair.server, 1, &post, b"A", usize::MAX, pair.now).unwrap();
    assert!(matches!(step, Some(Ok(Outcome::Sent))));
    give(&mut pair.client, &bytes, pair.now);
    assert!(matches!(result(&mut pair.client, 1), Ok(Outcome::Reply(_, r)) if r[..] == *b"A"));
    let again = pair.server.inline(&post, 1, pair.now).unwrap_err();
    assert_eq!(again.code(), Code::CallEnded);
    answer(&mut pair.server, 3, ids[1], None, "B", pair.now);
    pair.exchange();
    assert!(matches!(result(&mut pair.client, 2), Ok(Outcome::Reply(_, r)) if r[..] == *b"B"));
    assert_eq!(pair.server.stats().calls_served, 2);
}

#[test]
fn without_credit_a_message_waits_and_says_so() {
    let mut pair = pair();
    assert!(!pair.client.lacks_credit(&data()) && !pair.client.lacks_credit(&request()));
    for op in 0..8 {
        pair.client.post(op, data(), Bytes::from(vec![0; 1 << 20]), pair.now, None);
    }
    pair.exchange();
    assert!(pair.client.lacks_credit(&data()), "its window is used up");
    assert!(!pair.client.lacks_credit(&request()));
    assert!(!pair.client.lacks_credit(&Post::Message(Channel::ERROR, With::default())));
    assert!(pair.client.inline(&data(), 3, pair.now).unwrap().is_none());
    assert!(!Pair::new().client.lacks_credit(&data()), "level 0 has no credit");
}

#[test]
fn an_answer_goes_nowhere_once_nothing_is_taken_or_all_is_over() {
    let mut pair = pair();
    ask(&mut pair, 1, "?", None);
    pair.exchange();
    let id = take(&mut pair.server).request().unwrap().id;
    let post = Post::Answer(Answer { id, status: None });
    pair.server.write_failed(crate::error::Error::new(Code::ConnectionLost, "broken pipe"));
    assert_eq!(pair.server.inline(&post, 1, pair.now).unwrap_err().code(), Code::ConnectionLost);
    pair.server.close();
    assert_eq!(pair.server.inline(&post, 1, pair.now).unwrap_err().code(), Code::Closed, "the end that was chosen");
}
