//! A channel's queue alone.

use bytes::Bytes;

use super::*;
use crate::limits::{CHANNEL_QUEUE, MESSAGE_OVERHEAD};
use crate::proto::level1::header::kind;

const WINDOW: u64 = 1 << 30;

fn queue(policy: Policy, window: u64) -> ChannelQueue {
    ChannelQueue::new(Channel::DATA, window, policy)
}

/// A message that is charged `charge` bytes; a request if its mark is one.
fn message(charge: usize, mark: Option<Mark>) -> Outgoing {
    let (kind, id) = match mark {
        Some(Mark::Request(id)) => (kind::REQUEST, id),
        _ => (kind::MESSAGE, 0),
    };
    let payload = Bytes::from(vec![0; charge - MESSAGE_OVERHEAD]);
    Outgoing { kind, flags: 0, id, ext: Default::default(), payload, fds: Vec::new(), mark }
}

/// Needs credit.
fn credited(queue: &mut ChannelQueue, charge: usize, mark: Option<Mark>) {
    queue.push(Queued::new(message(charge, mark), true));
}

/// Needs none.
fn free(queue: &mut ChannelQueue, charge: usize, mark: Option<Mark>) {
    queue.push(Queued::new(message(charge, mark), false));
}

fn marks(count: u64) -> Vec<Mark> {
    (0..count).map(Mark::Send).collect()
}

#[test]
fn what_is_queued_is_charged_until_it_is_out_whichever_way_it_goes() {
    let mut queue = queue(Policy::Block, 1);
    for n in 0..4 {
        credited(&mut queue, 1000 + n as usize, Some(Mark::Send(n)));
        free(&mut queue, 2000 + n as usize, Some(Mark::Send(10 + n)));
    }
    assert_eq!((queue.bytes, queue.peak_bytes, queue.messages()), (12_012, 12_012, 8));
    assert!(queue.holds(Mark::Send(3)) && queue.holds(Mark::Send(13)) && !queue.holds(Mark::Request(3)));
    assert!(queue.withdraw(Mark::Send(99)).is_none() && queue.withdraw(Mark::Answer(Some(3))).is_none());
    assert_eq!(queue.withdraw(Mark::Send(1)).unwrap().charge(), 1001);
    assert_eq!(queue.withdraw(Mark::Send(11)).unwrap().charge(), 2001);
    assert_eq!((queue.bytes, queue.messages()), (9010, 6));
    assert!(!queue.holds(Mark::Send(1)) && !queue.holds(Mark::Send(11)));
    // The dead at the front, of either kind; those behind a living one stay.
    queue.skip_dead(&mut |mark| !matches!(mark, Mark::Send(0 | 3 | 10 | 13)));
    assert_eq!((queue.bytes, queue.messages()), (9010 - 1000 - 2000, 4));
    queue.skip_dead(&mut |_| true);
    assert_eq!(queue.messages(), 4);
    // Those that need no credit first.
    assert_eq!(queue.begin().unwrap().message.charge(), 2002);
    assert_eq!(queue.begin().unwrap().message.charge(), 2003);
    assert_eq!((queue.bytes, queue.charged), (2005, 0));
    assert_eq!(queue.begin().unwrap().message.charge(), 1002);
    assert_eq!((queue.bytes, queue.charged, queue.messages()), (1003, 1002, 1));
    assert!(queue.begin().is_none(), "no credit");
    queue.clear();
    assert_eq!((queue.bytes, queue.peak_bytes, queue.messages(), queue.is_empty()), (0, 12_012, 0, true));
}

#[test]
fn nobody_is_asked_about_what_nobody_waits_for() {
    let mut queue = queue(Policy::Block, WINDOW);
    credited(&mut queue, 100, None);
    queue.skip_dead(&mut |_| false);
    assert_eq!(queue.messages(), 1);
}

#[test]
fn a_message_that_has_begun_is_before_all_others_and_counts_with_its_rest() {
    let mut queue = queue(Policy::Block, WINDOW);
    credited(&mut queue, 1000, None);
    free(&mut queue, 500, None);
    let mut begun = queue.begin().unwrap();
    assert_eq!((queue.bytes, queue.unstaged()), (1000, 1000));
    begun.offset = 36;
    queue.put_back(begun);
    assert_eq!((queue.messages(), queue.bytes, queue.unstaged()), (2, 1000, 1000 + 400));
    assert!(!queue.may_pass(false) && !queue.may_pass(true) && queue.ready());
    assert_eq!(queue.begin().unwrap().offset, 36);
    assert_eq!((queue.messages(), queue.unstaged()), (1, 1000));
    assert_eq!(queue.begin().unwrap().offset, 0);
    assert!(queue.is_empty() && queue.begin().is_none());
}

#[test]
fn the_way_is_free_past_nothing_that_came_before() {
    let mut queue = queue(Policy::Block, 200);
    let state = |queue: &ChannelQueue| {
        (queue.may_pass(true), queue.may_pass(false), queue.is_stuck(), queue.is_spent(), queue.ready())
    };
    assert_eq!(state(&queue), (true, true, false, false, false));
    credited(&mut queue, 199, None);
    assert_eq!(state(&queue), (false, true, true, false, true));
    credited(&mut queue, 100, None);
    assert_eq!(state(&queue), (false, true, true, true, true));
    queue.begin();
    assert_eq!(state(&queue), (false, true, true, true, true));
    queue.begin();
    assert_eq!(state(&queue), (false, true, true, true, false));
    free(&mut queue, 100, None);
    assert_eq!(state(&queue), (false, false, true, true, true));
    queue.begin();
    assert!(queue.raise(299) && state(&queue).2, "what was charged beyond the credit comes first");
    assert!(queue.raise(300));
    assert_eq!(state(&queue), (true, true, false, false, false));
    queue.charge(1);
    assert_eq!(state(&queue), (false, true, true, true, false));
    assert!(!queue.raise(300) && !queue.raise(0) && queue.credit == 300);
}

#[test]
fn a_queue_has_room_below_its_bound() {
    let mut queue = queue(Policy::Block, WINDOW);
    credited(&mut queue, CHANNEL_QUEUE - 100, None);
    assert!(queue.has_room());
    credited(&mut queue, 99, None);
    assert!(queue.has_room());
    let mut full = self::queue(Policy::Block, WINDOW);
    credited(&mut full, CHANNEL_QUEUE, None);
    assert!(!full.has_room());
    credited(&mut full, 100, None);
    assert!(!full.has_room());
}

#[test]
fn the_oldest_messages_make_room_and_no_more_than_is_needed() {
    let charge = CHANNEL_QUEUE / 64;
    let mut queue = queue(Policy::DropOldest, WINDOW);
    credited(&mut queue, charge, Some(Mark::Request(1)));
    for n in 0..62 {
        assert!(queue.make_room(charge).is_none());
        credited(&mut queue, charge, Some(Mark::Send(n)));
    }
    // Just enough for one more, and then for none.
    assert!(queue.make_room(charge).is_none() && queue.dropped == 0);
    credited(&mut queue, charge, Some(Mark::Send(62)));
    assert!(matches!(queue.make_room(charge), Some(Notice::Dropping(Channel::DATA))));
    assert_eq!((queue.dropped, queue.bytes), (1, CHANNEL_QUEUE - charge));
    assert!(queue.holds(Mark::Request(1)) && !queue.holds(Mark::Send(0)) && queue.holds(Mark::Send(1)));
    credited(&mut queue, charge, Some(Mark::Send(63)));
    // A byte more takes one more; and it is told once.
    assert!(queue.make_room(charge + 1).is_none());
    assert_eq!((queue.dropped, queue.bytes), (3, CHANNEL_QUEUE - 2 * charge));
    // At half it still drops; below, it begins anew.
    let leave = |queue: &mut ChannelQueue, bytes: usize| {
        while queue.bytes > bytes {
            queue.begin().unwrap();
        }
    };
    let fill = |queue: &mut ChannelQueue| {
        while queue.bytes < CHANNEL_QUEUE {
            credited(queue, charge, None);
        }
    };
    for (left, again) in [(CHANNEL_QUEUE / 2, false), (CHANNEL_QUEUE / 2 - charge, true)] {
        leave(&mut queue, left);
        assert!(queue.make_room(charge).is_none());
        fill(&mut queue);
        assert_eq!(queue.make_room(charge).is_some(), again, "{left}");
    }
    // Requests are never dropped, however much there is of them.
    let mut queue = self::queue(Policy::DropOldest, WINDOW);
    for id in 0..3 {
        credited(&mut queue, CHANNEL_QUEUE / 2, Some(Mark::Request(id)));
    }
    assert!(queue.make_room(charge).is_none() && queue.dropped == 0);
    // A message larger than all drops all, and is taken.
    let mut queue = self::queue(Policy::DropOldest, WINDOW);
    credited(&mut queue, charge, None);
    assert!(queue.make_room(2 * CHANNEL_QUEUE).is_some() && queue.bytes == 0);
}

#[test]
fn the_latest_alone_stays_and_that_is_told_once() {
    let mut queue = queue(Policy::Latest, WINDOW);
    assert!(queue.make_room(100).is_none());
    credited(&mut queue, 100, Some(Mark::Request(1)));
    credited(&mut queue, 100, None);
    assert!(matches!(queue.make_room(100), Some(Notice::Dropping(_))));
    assert_eq!((queue.dropped, queue.bytes), (1, 100));
    for dropped in 2..5 {
        credited(&mut queue, 100, None);
        assert!(queue.make_room(100).is_none());
        assert_eq!((queue.dropped, queue.bytes), (dropped, 100));
    }
}

#[test]
fn the_next_message_tells_what_was_dropped_and_nothing_else_does() {
    let mut queue = queue(Policy::Latest, WINDOW);
    credited(&mut queue, 100, Some(Mark::Request(1)));
    credited(&mut queue, 100, None);
    queue.make_room(100);
    assert!(!queue.may_pass(true) && !queue.may_pass(false), "there is something to tell");
    credited(&mut queue, 100, None);
    credited(&mut queue, 100, None);
    let told: Vec<Option<u64>> = (0..3).map(|_| queue.begin().unwrap().message.ext.dropped).collect();
    assert_eq!(told, [None, Some(1), None]);
    assert!(queue.may_pass(true) && queue.may_pass(false));
}

#[test]
fn a_queue_that_drops_its_oldest_tells_that_it_is_nearly_full() {
    let step = CHANNEL_QUEUE / 8;
    for (policy, tells) in [(Policy::DropOldest, true), (Policy::Latest, false), (Policy::Block, false)] {
        let mut queue = queue(policy, WINDOW);
        let told: Vec<bool> = (0..8)
            .map(|_| {
                credited(&mut queue, step, None);
                match queue.rises() {
                    Some(Notice::QueueHigh { channel, sending, bytes, limit }) => {
                        assert_eq!((channel, sending, limit), (Some(Channel::DATA), true, CHANNEL_QUEUE));
                        assert_eq!(bytes, queue.bytes);
                        true
                    }
                    Some(other) => panic!("{other:?}"),
                    None => false,
                }
            })
            .collect();
        assert_eq!(told, [false, false, false, false, false, tells, false, false]);
    }
}

#[test]
fn policies_wait_or_drop_or_neither() {
    let what = |policy: Policy| (policy.waits(), policy.drops());
    assert_eq!(what(Policy::Block), (true, false));
    assert_eq!(what(Policy::Error), (false, false));
    assert_eq!(what(Policy::DropOldest), (false, true));
    assert_eq!(what(Policy::Latest), (false, true));
}

#[test]
fn when_no_more_credit_comes_what_there_is_none_for_goes() {
    // 1000 each: one begins while a byte of credit is left.
    for (credit, leave) in [(0, 0), (1, 1), (1000, 1), (1001, 2), (3001, 4), (9999, 4)] {
        let mut queue = queue(Policy::Block, credit);
        for mark in marks(4) {
            credited(&mut queue, 1000, Some(mark));
        }
        free(&mut queue, 500, Some(Mark::Send(9)));
        assert_eq!(queue.withdraw_stuck(), marks(4)[leave..], "{credit}");
        assert_eq!((queue.messages(), queue.bytes), (leave + 1, 1000 * leave + 500));
        assert!(queue.withdraw_stuck().is_empty());
    }
}

#[test]
fn the_items_of_a_call_go_and_nothing_else_of_it_or_of_others() {
    let mut queue = queue(Policy::Block, WINDOW);
    let of = |kind: u8, id: u64, mark: u64| {
        let message = Outgoing { kind, id, ..message(1000, Some(Mark::Send(mark))) };
        Queued::new(message, kind == kind::REQUEST)
    };
    queue.push(of(kind::REQUEST, 1, 1));
    queue.push(of(kind::STREAM, 1, 2));
    queue.push(of(kind::STREAM, 3, 3));
    queue.push(of(kind::RESPONSE, 1, 4));
    queue.push(of(kind::STREAM, 1, 5));
    assert_eq!(queue.withdraw_call(1, kind::STREAM), [Mark::Send(2), Mark::Send(5)]);
    assert_eq!((queue.messages(), queue.bytes), (3, 3000));
    assert_eq!(queue.withdraw_call(1, kind::REQUEST), [Mark::Send(1)]);
    assert!(queue.withdraw_call(7, kind::STREAM).is_empty());
    assert!(queue.holds(Mark::Send(3)) && queue.holds(Mark::Send(4)));
}
