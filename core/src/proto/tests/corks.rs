//! Corks: what they hold back, what they let through, and when they let go.

use bytes::Bytes;

use super::hand::{acceptor, ask, kinds, level_1, pair, pair_of, post, result, take, takes, write};
use super::{Pair, connector, done};
use crate::error::Code;
use crate::limits::{CHANNEL_QUEUE, MESSAGE_OVERHEAD};
use crate::proto::channel::Channel;
use crate::proto::conn::Post;
use crate::proto::level1::wire::kind;
use crate::proto::level1::{Answer, Policy, With};
use crate::proto::{OpId, Outcome, Step};

/// As much as a cork gathers before it lets go by itself.
const BATCH: usize = 256 * 1024;
const HEADER: usize = 16;
/// The largest message that is gathered.
const SMALL: usize = 4 * 1024;

/// Sends inside a cork as drivers do; `None` if the message cannot be gathered now.
fn gather(pair: &mut Pair, op: OpId, len: usize) -> Option<Step> {
    let post = Post::Message(Channel::DATA, With::default());
    let inline = pair.client.inline(&post, len, pair.now).unwrap()?;
    Some(pair.client.gather(op, &post, &inline, &vec![7; len], None))
}

fn sent(step: &Step) -> bool {
    matches!(step, Some(Ok(Outcome::Sent)))
}

#[test]
fn a_cork_is_drawn_as_often_as_it_was_put_in() {
    for hold in [false, true] {
        let mut pair = pair();
        let cork = |pair: &mut Pair, on| if hold { pair.client.hold(on) } else { pair.client.cork(on) };
        assert!(!pair.client.is_corked());
        cork(&mut pair, true);
        cork(&mut pair, true);
        assert!(pair.client.is_corked() && !pair.client.wants_write());
        // What is only held is done when the carrier has it; what is corked at once.
        assert_eq!(sent(&post(&mut pair, 1, Channel::DATA, 10)), !hold);
        assert!(!pair.client.wants_write(), "not before it is staged either");
        pair.client.stage();
        assert!(!pair.client.wants_write());
        cork(&mut pair, false);
        assert!(pair.client.is_corked() && !pair.client.wants_write());
        cork(&mut pair, false);
        assert!(!pair.client.is_corked() && pair.client.wants_write());
        // Once more is once too often, and changes nothing.
        cork(&mut pair, false);
        cork(&mut pair, true);
        assert!(pair.client.is_corked());
        cork(&mut pair, false);
        pair.exchange();
        assert_eq!(done(&mut pair.client).len(), usize::from(hold));
        assert_eq!(pair.server.stats().channels[1].messages_received, 1);
        assert_eq!(pair.client.stats().pending_operations, 0);
    }
}

#[test]
fn what_is_released_leaves_and_what_comes_after_it_is_held_again() {
    let mut pair = pair();
    assert!(!pair.client.release(), "there is no cork");
    post(&mut pair, 1, Channel::DATA, 10);
    assert!(!pair.client.release(), "there is no cork, and what is queued leaves by itself");
    pair.exchange();
    pair.client.cork(true);
    assert!(!pair.client.release(), "nothing is held back");
    assert!(pair.client.is_corked());
    post(&mut pair, 2, Channel::DATA, 10);
    pair.client.stage();
    assert!(pair.client.release());
    assert!(!pair.client.is_corked() && pair.client.wants_write());
    assert!(!pair.client.release(), "once");
    takes(&mut pair.client, 1);
    assert!(pair.client.wants_write(), "all of it");
    takes(&mut pair.client, HEADER + 10 - 1);
    assert!(pair.client.is_corked(), "the cork is still in");
    post(&mut pair, 3, Channel::DATA, 10);
    pair.exchange();
    assert_eq!(pair.server.stats().channels[1].messages_received, 1);
    // A cork that is put in, or drawn, holds what was released before.
    assert!(pair.client.release());
    pair.client.cork(true);
    assert!(pair.client.is_corked());
    assert!(pair.client.release());
    pair.client.hold(true);
    assert!(pair.client.is_corked());
}

#[test]
fn a_cork_lets_go_with_a_whole_batch_and_not_a_byte_sooner() {
    let len = SMALL - HEADER;
    let mut pair = pair();
    pair.client.cork(true);
    for op in 0..64 {
        assert!(!pair.client.wants_write(), "{op}");
        assert!(sent(&gather(&mut pair, op, len).expect("it is gathered")));
    }
    assert_eq!(pair.client.send_backlog(), BATCH);
    assert!(pair.client.wants_write());
    assert!(gather(&mut pair, 64, 1).is_none(), "more has to wait its turn");
    assert!(!pair.client.send_short(Channel::DATA, b"short").unwrap());
    // A byte less is no batch, and nothing was released.
    takes(&mut pair.client, 1);
    assert!(pair.client.is_corked() && !pair.client.wants_write());
    assert!(sent(&gather(&mut pair, 65, 1).expect("it is gathered")));
    assert!(pair.client.wants_write());

    // The same for what is queued.
    let mut pair = self::pair();
    pair.client.cork(true);
    for op in 0..64 {
        assert!(!pair.client.wants_write(), "{op}");
        post(&mut pair, op, Channel::DATA, SMALL - MESSAGE_OVERHEAD);
    }
    assert_eq!(pair.client.send_backlog(), BATCH);
    assert!(pair.client.wants_write());
}

#[test]
fn only_small_messages_are_gathered_and_only_behind_those_of_their_channel() {
    let mut pair = pair();
    pair.client.cork(true);
    assert!(gather(&mut pair, 1, SMALL + 1).is_none());
    assert!(!pair.client.send_short(Channel::DATA, &vec![1; SMALL + 1]).unwrap());
    assert!(sent(&gather(&mut pair, 2, SMALL).expect("it is gathered")));
    assert!(pair.client.send_short(Channel::DATA, &vec![2; SMALL]).unwrap());
    // Not before what is queued, nor before what the protocol has to say.
    post(&mut pair, 3, Channel::COMMAND, 5);
    assert!(gather(&mut pair, 4, 1).is_none());
    assert!(!pair.client.send_short(Channel::DATA, b"short").unwrap());
    pair.client.cork(false);
    pair.exchange();
    pair.client.cork(true);
    pair.client.ping(5, pair.now, None);
    assert!(gather(&mut pair, 6, 1).is_none());
    assert!(!pair.client.send_short(Channel::DATA, b"short").unwrap());
    pair.client.stage();
    // Staged, it is before them.
    assert!(gather(&mut pair, 6, 1).is_some());
    assert!(pair.client.wants_write(), "a ping is not held back");
    let leaves = kinds(&mut pair.client);
    assert_eq!(leaves, [kind::PING, kind::MESSAGE]);
    // Without a cork, the same messages are written, whatever their size, unless something is on its way.
    pair.client.cork(false);
    pair.exchange();
    let message = Post::Message(Channel::DATA, With::default());
    assert!(pair.client.inline(&message, SMALL + 1, pair.now).unwrap().is_some());
    assert!(pair.client.send_short(Channel::DATA, b"staged").unwrap());
    assert!(pair.client.inline(&message, 1, pair.now).unwrap().is_none());
    assert!(pair.client.send_short(Channel::DATA, b"staged behind it").unwrap());
    pair.exchange();
    pair.client.ping(7, pair.now, None);
    assert!(pair.client.inline(&message, 1, pair.now).unwrap().is_none());
    pair.exchange();
    post(&mut pair, 8, Channel::COMMAND, 5);
    assert!(pair.client.inline(&message, 1, pair.now).unwrap().is_none());
    pair.exchange();
    let lens: Vec<usize> =
        (0..pair.server.stats().receive_queue.messages).map(|_| take(&mut pair.server).payload.len()).collect();
    assert_eq!(lens, [SMALL, SMALL, 5, 6, 16, 5]);
}

#[test]
fn a_cork_takes_what_its_channel_has_room_for_and_then_has_senders_wait() {
    let mut pair = pair();
    pair.client.cork(true);
    for op in 0..4 {
        assert!(sent(&post(&mut pair, op, Channel::DATA, CHANNEL_QUEUE / 4 - MESSAGE_OVERHEAD)), "{op}");
    }
    assert!(post(&mut pair, 4, Channel::DATA, 1).is_none());
    assert!(sent(&post(&mut pair, 5, Channel::COMMAND, 1)), "each channel has its own");
    assert_eq!(pair.client.stats().pending_operations, 1);
    // An answer, too.
    let mut pair = self::pair();
    for op in 1..=3 {
        ask(&mut pair, op, "?", None);
    }
    pair.exchange();
    let ids: Vec<u64> = (0..3).map(|_| take(&mut pair.server).request().unwrap().id).collect();
    let reply = |id| Post::Answer(Answer { id, status: None });
    pair.server.cork(true);
    assert!(sent(&pair.server.post(1, reply(ids[0]), Bytes::from_static(b"r"), pair.now, None)));
    assert_eq!(pair.server.stats().pending_operations, 0);
    let full = Bytes::from(vec![0; CHANNEL_QUEUE - 2 * MESSAGE_OVERHEAD - 1]);
    assert!(sent(&pair.server.post(2, reply(ids[1]), full, pair.now, None)));
    assert!(pair.server.post(3, reply(ids[2]), Bytes::from_static(b"r"), pair.now, None).is_none());
    pair.server.cork(false);
    pair.exchange();
    assert!(matches!(done(&mut pair.server)[..], [(3, Ok(Outcome::Sent))]));
    assert_eq!(done(&mut pair.client).len(), 3);
}

#[test]
fn what_is_held_ends_its_operation_when_it_has_left() {
    let mut pair = pair();
    pair.client.hold(true);
    assert!(gather(&mut pair, 1, 10).expect("it is gathered").is_none());
    assert!(gather(&mut pair, 2, 10).expect("it is gathered").is_none());
    assert!(pair.client.flush(3, None).is_none(), "what is staged");
    pair.client.hold(false);
    pair.client.stage();
    takes(&mut pair.client, HEADER + 10 - 1);
    assert_eq!(done(&mut pair.client).len(), 0);
    takes(&mut pair.client, 1);
    assert!(matches!(done(&mut pair.client)[..], [(1, Ok(Outcome::Sent))]));
    takes(&mut pair.client, HEADER + 10);
    assert!(matches!(done(&mut pair.client)[..], [(2, Ok(Outcome::Sent)), (3, Ok(Outcome::Sent))]));
    assert!(sent(&pair.client.flush(4, None)), "nothing is staged");

    // An answer keeps its place as long.
    ask(&mut pair, 5, "?", None);
    pair.exchange();
    let reply = Post::Answer(Answer { id: take(&mut pair.server).request().unwrap().id, status: Some(4) });
    pair.server.hold(true);
    let inline = pair.server.inline(&reply, 1, pair.now).unwrap().expect("it is gathered");
    assert!(pair.server.gather(6, &reply, &inline, b"r", None).is_none());
    pair.server.hold(false);
    pair.exchange();
    assert!(matches!(result(&mut pair.server, 6), Ok(Outcome::Sent)));
    assert_eq!(result(&mut pair.client, 5).unwrap_err().status(), Some(4));
}

#[test]
fn a_channel_whose_senders_never_wait_has_none_wait_for_a_hold_either() {
    let mut client = level_1(connector());
    client.policies = vec![(Channel::DATA, Policy::DropOldest)];
    let mut pair = pair_of(client, level_1(acceptor()));
    pair.client.hold(true);
    assert!(sent(&gather(&mut pair, 1, 10).expect("it is gathered")));
    assert!(sent(&post(&mut pair, 2, Channel::DATA, 10)));
    pair.client.hold(false);
    // Not even if the carrier takes only a part.
    pair.exchange();
    let message = Post::Message(Channel::DATA, With::default());
    let step = write(&mut pair, false, 3, message, Bytes::from_static(b"a part of it"), 20);
    assert!(sent(&step));
    assert_eq!(pair.client.stats().pending_operations, 0);
    pair.exchange();
    assert_eq!(pair.server.stats().channels[1].messages_received, 3);
}

#[test]
fn a_cork_holds_back_messages_alone() {
    let mut pair = pair();
    pair.client.cork(true);
    let message = |len: usize| (Post::Message(Channel::DATA, With::default()), Bytes::from(vec![1; len]));
    let (post, small) = message(10);
    assert!(matches!(pair.client.post(1, post, small, pair.now, None), Some(Ok(Outcome::Sent))));
    pair.exchange();
    assert_eq!(pair.server.stats().channels[1].messages_received, 0);
    pair.server.ping(1, pair.now, None);
    pair.exchange();
    assert!(matches!(result(&mut pair.server, 1), Ok(Outcome::Pong(_))));
    // What has no credit is not to be written, however much it is.
    for op in 2..12 {
        let (post, large) = message(1 << 20);
        pair.client.post(op, post, large, pair.now, None);
    }
    pair.exchange();
    pair.client.stage();
    assert!(!pair.client.wants_write());
    // Nor do the last words wait for the cork.
    pair.client.say_good_bye();
    pair.exchange();
    assert_eq!(pair.server.end_error().unwrap().code(), Code::PeerClosed);
}
