//! Operations that wait: how many there may be.

use bytes::Bytes;

use super::Pair;
use super::hand::{pair, take, write};
use crate::error::Code;
use crate::limits;
use crate::proto::OpId;
use crate::proto::channel::Channel;
use crate::proto::conn::Post;
use crate::proto::level1::{Answer, With};

#[test]
fn a_burst_is_bounded_by_the_operations_that_may_be_pending() {
    let mut pair = pair();
    for op in 0..limits::MAX_OPS as OpId {
        assert!(pair.client.recv(op, None, None).is_none());
    }
    let mut part = |last| pair.client.send_part(Channel::DATA, Bytes::from_static(b"part"), last, None);
    part(None).unwrap();
    assert_eq!(part(Some(limits::MAX_OPS as OpId)).unwrap_err().code(), Code::QueueFull);
}

#[test]
fn whatever_may_have_to_wait_is_bounded_by_the_operations_that_may_be_pending() {
    for one in [false, true] {
        let mut pair = if one { pair() } else { Pair::new() };
        let id = if one {
            write(&mut pair, true, 1, Post::Request(Channel::COMMAND, With::default()), Bytes::from_static(b"?"), 17);
            pair.exchange();
            take(&mut pair.client).request().unwrap().id
        } else {
            0
        };
        let mut op = 10;
        while pair.client.recv(op, None, None).is_none() {
            assert!(op <= 2 * limits::MAX_OPS as u64);
            op += 1;
        }
        assert_eq!(pair.client.stats().pending_operations, limits::MAX_OPS);
        let now = pair.now;
        let posts = [
            Post::Request(Channel::COMMAND, With::default()),
            Post::Message(Channel::DATA, With::default()),
            Post::Answer(Answer { id, status: None }),
        ];
        for post in posts.into_iter().take(if one { 3 } else { 2 }) {
            assert!(pair.client.inline(&post, 1, now).unwrap().is_none(), "{post:?}");
            let step = pair.client.post(op, post, Bytes::from_static(b"x"), now, None);
            assert_eq!(step.unwrap().unwrap_err().code(), Code::QueueFull);
        }
        let mut steps = vec![pair.client.ping(op, now, None), pair.client.drain(op, None)];
        if one {
            steps.push(pair.client.watch(op, id, None));
        }
        for step in steps {
            assert_eq!(step.unwrap().unwrap_err().code(), Code::QueueFull);
        }
        // A drain that was refused has not begun.
        pair.client.cancel(10);
        assert!(pair.client.ping(op, now, None).is_none());
        assert_eq!(pair.client.stats().pending_operations, limits::MAX_OPS);
    }
}
