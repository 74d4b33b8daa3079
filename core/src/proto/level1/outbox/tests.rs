//! The outbox alone: turns, batches, buffers, and messages that the driver began to write itself.

use super::*;
use crate::limits::{FRAGMENT, MESSAGE_OVERHEAD};

const COMMAND: usize = 0;
const DATA: usize = 1;
const TELEMETRY: usize = 2;
const SEND: Option<Mark> = Some(Mark::Send(7));

fn outbox_with(window: u64) -> Outbox {
    let mut outbox = Outbox::default();
    outbox.open(&Channel::DEFAULT, window, |_| Policy::Block);
    outbox
}

fn outbox() -> Outbox {
    outbox_with(1 << 40)
}

fn bytes(len: usize) -> Bytes {
    (0..len).map(|n| n as u8).collect::<Vec<u8>>().into()
}

fn message(len: usize, mark: Option<Mark>) -> Outgoing {
    let kind = if matches!(mark, Some(Mark::Request(_))) { kind::REQUEST } else { kind::MESSAGE };
    Outgoing { kind, flags: 0, id: 0, ext: Ext::default(), payload: bytes(len), fds: Vec::new(), mark }
}

fn offered(outbox: &Outbox) -> Vec<u8> {
    let mut slices = Vec::new();
    outbox.slices(&mut slices);
    slices.iter().flat_map(|slice| slice.to_vec()).collect()
}

/// The carrier takes `n` bytes: whose messages have left with them.
fn take(outbox: &mut Outbox, n: usize) -> Vec<Mark> {
    let mut left = Vec::new();
    outbox.transmitted(n, |mark| left.push(mark));
    left
}

/// All that leaves when the carrier takes at most `most` bytes at a time, and after how many bytes whose messages had.
fn drain(outbox: &mut Outbox, most: usize) -> (Vec<u8>, Vec<(usize, Mark)>) {
    let (mut all, mut left) = (Vec::new(), Vec::new());
    loop {
        outbox.stage(|_| true);
        let now = offered(outbox);
        if now.is_empty() {
            return (all, left);
        }
        let n = now.len().min(most);
        all.extend_from_slice(&now[..n]);
        left.extend(take(outbox, n).into_iter().map(|mark| (all.len(), mark)));
    }
}

/// The headers of frames that stand one behind the other.
fn headers(mut bytes: &[u8]) -> Vec<Header> {
    let mut found = Vec::new();
    while let Some(header) = Header::decode(bytes) {
        found.push(header);
        bytes = &bytes[HEADER_LEN + header.len as usize..];
    }
    assert_eq!(bytes, b"");
    found
}

fn plan(of: u8, len: usize) -> Plan {
    Plan::new(&Header { len: 0, kind: of, flags: 0, channel: 2, id: 0 }, None, len).unwrap()
}

fn planned(plan: &Plan, payload: &[u8]) -> Vec<u8> {
    plan.with_slices(payload, |slices| slices.iter().flat_map(|slice| slice.to_vec()).collect())
}

#[test]
fn channels_take_turns_by_their_weight_and_a_batch_ends_them() {
    let mut outbox = outbox();
    for _ in 0..100 {
        for at in [COMMAND, DATA, TELEMETRY] {
            outbox.push(at, message(4096, None), true);
        }
    }
    assert_eq!(outbox.ring.len(), 3, "each once");
    outbox.stage(|_| true);
    let mut turns: Vec<(u16, usize)> = Vec::new();
    let staged = offered(&outbox);
    for header in headers(&staged) {
        match turns.last_mut() {
            Some((channel, count)) if *channel == header.channel => *count += 1,
            _ => turns.push((header.channel, 1)),
        }
    }
    assert_eq!(turns, [(1, 32), (2, 8), (3, 4), (1, 20)]);
    assert_eq!((staged.len(), outbox.staged_bytes()), (64 * 4112, 64 * 4112));
    // Nothing is added to a full batch, not even what comes first.
    outbox.push_control(kind::PING, 0, 0, &[0; 8]);
    outbox.stage(|_| true);
    assert_eq!((outbox.staged_bytes(), outbox.control_bytes()), (64 * 4112, 24));
    // With the first bytes gone the ping goes before all that is queued.
    take(&mut outbox, 64 * 4112 - BATCH_BYTES + 1);
    outbox.stage(|_| true);
    assert_eq!(outbox.control_bytes(), 0);
    let (rest, _) = drain(&mut outbox, usize::MAX);
    let first = &rest[BATCH_BYTES - 1..];
    assert_eq!(headers(first)[0].kind, kind::PING);
    assert_eq!(headers(first).len(), 1 + 300 - 64);
    assert!(outbox.is_flushed() && outbox.bytes() == 0);
}

#[test]
fn each_message_is_told_with_its_last_byte() {
    for most in [1, 7, 100_000, usize::MAX] {
        let mut outbox = outbox();
        let large = FRAGMENT + 3;
        outbox.push(DATA, message(10, Some(Mark::Send(1))), true);
        outbox.push(DATA, message(0, Some(Mark::Request(2))), true);
        outbox.push(DATA, message(if most < 10 { 5000 } else { large }, Some(Mark::Answer(Some(3)))), false);
        assert_eq!((outbox.answers(), outbox.begun()), (1, 0));
        let (all, left) = drain(&mut outbox, most);
        let sizes = headers(&all).iter().map(|header| HEADER_LEN + header.len as usize).collect::<Vec<_>>();
        let order: Vec<Mark> = left.iter().map(|(_, mark)| *mark).collect();
        // What needs no credit goes first, and its second frame has no other of its channel before it.
        assert_eq!(order, [Mark::Answer(Some(3)), Mark::Send(1), Mark::Request(2)]);
        if most == 1 {
            let ends: Vec<usize> = left.iter().map(|(at, _)| *at).collect();
            assert_eq!(ends, [sizes[0], sizes[0] + 26, sizes[0] + 26 + 16]);
        }
        assert_eq!((outbox.answers(), outbox.begun(), outbox.marks.len()), (0, 1, 0));
    }
}

#[test]
fn a_request_has_begun_with_its_first_byte() {
    let mut outbox = outbox();
    for id in 1..=3 {
        outbox.push(DATA, message(4, Some(Mark::Request(id))), true);
    }
    outbox.stage(|_| true);
    assert!(outbox.is_staged(Mark::Request(3)) && !outbox.is_staged(Mark::Request(4)));
    let mut begun = Vec::new();
    for n in [0, 1, 18, 1, 1, 20] {
        take(&mut outbox, n);
        begun.push(outbox.begun());
    }
    assert_eq!(begun, [0, 1, 1, 1, 2, 3]);
    assert!(!outbox.is_staged(Mark::Request(1)) && outbox.is_staged(Mark::Request(3)));
}

#[test]
fn what_the_driver_wrote_itself_goes_on_where_the_carrier_stopped() {
    for len in [0, 5, FRAGMENT, FRAGMENT + 1, 2 * FRAGMENT + 7] {
        let (payload, plan) = (bytes(len), plan(kind::MESSAGE, len));
        let whole = planned(&plan, &payload);
        assert_eq!(whole.len(), plan.len());
        let frames = headers(&whole);
        assert_eq!(frames.len(), len.div_ceil(FRAGMENT).max(1));
        for (n, header) in frames.iter().enumerate() {
            assert_eq!(header.has(flag::FIRST), n == 0);
            assert_eq!(header.has(flag::LAST), n + 1 == frames.len());
        }
        // Around every place where a frame, or what stands before its bytes, ends.
        let mut cuts = vec![0];
        let mut at = 0;
        for header in &frames {
            cuts.extend([at + HEADER_LEN, at + HEADER_LEN + 4, at + HEADER_LEN + header.len as usize]);
            at += HEADER_LEN + header.len as usize;
        }
        let mut cuts: Vec<usize> = cuts.iter().flat_map(|&at| [at.saturating_sub(1), at, at + 1]).collect();
        cuts.retain(|&cut| cut <= whole.len());
        for cut in cuts {
            let mut outbox = outbox();
            let done = outbox.wrote(DATA, &plan, cut, || payload.clone(), SEND);
            assert_eq!(done, cut == whole.len(), "{len} {cut}");
            if done {
                assert!(outbox.is_flushed() && outbox.bytes() == 0 && outbox.marks.is_empty());
                continue;
            }
            // What is left, but for the headers of frames that are not made yet.
            let mut begins = 0;
            let made = |header: &&Header| {
                let made = begins <= cut;
                begins += HEADER_LEN + header.len as usize;
                !made
            };
            let unmade = frames.iter().filter(made).count();
            assert_eq!(outbox.bytes(), whole.len() - cut - HEADER_LEN * unmade, "{len} {cut}");
            let rest_len = whole.len() - cut;
            let (rest, left) = drain(&mut outbox, 300_000);
            assert!(rest == whole[cut..], "{len} {cut}");
            assert_eq!(left, [(rest_len, Mark::Send(7))], "{len} {cut}");
            assert!(outbox.is_flushed() && outbox.bytes() == 0);
        }
    }
}

#[test]
fn a_driver_writes_the_first_frames_of_what_is_larger() {
    let (payload, plan) = (bytes(5 * FRAGMENT + 9), plan(kind::MESSAGE, 5 * FRAGMENT + 9));
    let first = planned(&plan, &payload);
    let frames = headers(&first);
    assert_eq!(frames.len(), 4);
    assert_eq!(frames[0].len as usize, FRAGMENT + 4);
    assert!(frames[1..].iter().all(|header| header.len as usize == FRAGMENT && header.flags == 0));
    let mut outbox = outbox();
    assert!(!outbox.wrote(DATA, &plan, first.len(), || payload.clone(), SEND));
    let (rest, left) = drain(&mut outbox, usize::MAX);
    assert_eq!(left.len(), 1);
    let rest_frames = headers(&rest);
    assert_eq!(
        rest_frames.iter().map(|h| (h.len as usize, h.flags)).collect::<Vec<_>>(),
        [(FRAGMENT, 0), (9, flag::LAST)]
    );
    assert_eq!(rest[HEADER_LEN..HEADER_LEN + FRAGMENT], payload[4 * FRAGMENT..5 * FRAGMENT]);
    // The same message, queued.
    outbox.push(DATA, message(5 * FRAGMENT + 9, None), true);
    let (queued, _) = drain(&mut outbox, usize::MAX);
    assert!(queued == [first, rest].concat());
}

#[test]
fn a_plan_has_room_for_short_extensions_alone() {
    let with_key = |key: usize, len: usize| {
        let ext = Ext { idempotency: Some(bytes(key)), ..Ext::default() };
        Plan::new(&Header { len: 0, kind: kind::REQUEST, flags: 0, channel: 2, id: 1 }, Some(&ext), len)
    };
    // A header of 16 bytes, a length of 2, a type and length of 4, and for a message in pieces a total of 4.
    for (key, len, fits) in [(42, 5, true), (43, 5, false), (38, FRAGMENT + 1, true), (39, FRAGMENT + 1, false)] {
        let plan = with_key(key, len);
        assert_eq!(plan.is_some(), fits, "{key} {len}");
        let Some(plan) = plan else { continue };
        assert_eq!(plan.head().len(), 64);
        let bytes = planned(&plan, &bytes(len));
        assert_eq!(bytes.len(), plan.len());
        let header = headers(&bytes)[0];
        assert!(header.has(flag::EXT) && header.has(flag::FIRST) && header.has(flag::LAST) == (len == 5));
        let (ext, _) = Ext::decode(&bytes[HEADER_LEN..]).unwrap().unwrap();
        assert_eq!(ext.idempotency.unwrap().len(), key);
    }
}

#[test]
fn an_answer_takes_its_place_until_the_carrier_has_all_of_it() {
    let answer = Some(Mark::Answer(None));
    let plan = plan(kind::RESPONSE, 5);
    let mut outbox = outbox();
    // Written: at once, or a part of it.
    assert!(outbox.wrote(DATA, &plan, plan.len(), || bytes(5), answer) && outbox.answers() == 0);
    assert!(!outbox.wrote(DATA, &plan, 20, || bytes(5), answer) && outbox.answers() == 1);
    take(&mut outbox, 0);
    assert_eq!(outbox.answers(), 1);
    assert_eq!(take(&mut outbox, 1), [Mark::Answer(None)]);
    assert_eq!(outbox.answers(), 0);
    // Gathered, and queued.
    outbox.gather_plan(&plan, &bytes(5), answer);
    outbox.gather_plan(&plan, &bytes(5), SEND);
    outbox.push(DATA, message(5, answer), false);
    assert_eq!((outbox.answers(), outbox.staged_bytes()), (2, 42));
    let (_, left) = drain(&mut outbox, 1);
    assert_eq!(left, [(21, Mark::Answer(None)), (42, Mark::Send(7)), (63, Mark::Answer(None))]);
    assert_eq!(outbox.answers(), 0);
    // At the end nobody is told any more, and nothing more is taken.
    outbox.push(DATA, message(5, answer), false);
    outbox.push_control(kind::PING, 0, 0, &[0; 8]);
    outbox.stage(|_| true);
    outbox.seal();
    assert_eq!(outbox.answers(), 0);
    outbox.push_control(kind::PONG, 0, 0, &[0; 8]);
    assert_eq!((outbox.control_bytes(), outbox.unread_pongs()), (0, 0));
    let (all, left) = drain(&mut outbox, usize::MAX);
    assert_eq!((headers(&all).len(), left.len()), (2, 0));
}

#[test]
fn what_nobody_wants_any_more_does_not_leave() {
    let mut outbox = outbox();
    for op in 0..4 {
        outbox.push(DATA, message(10, Some(Mark::Send(op))), op % 2 == 0);
    }
    outbox.push(DATA, message(20, None), true);
    let mut dead = |mark| !matches!(mark, Mark::Send(0 | 1));
    outbox.stage(&mut dead);
    let lens: Vec<u32> = headers(&offered(&outbox)).iter().map(|header| header.len).collect();
    assert_eq!(lens, [10, 10, 20]);
    assert_eq!((outbox.channels[DATA].bytes, outbox.bytes()), (0, 3 * 16 + 40));
}

#[test]
fn a_message_without_credit_waits_and_keeps_the_end_from_coming() {
    let mut outbox = outbox_with(1);
    outbox.push(DATA, message(10, None), true);
    outbox.push(DATA, message(10, None), true);
    outbox.stage(|_| true);
    assert_eq!(outbox.staged_bytes(), 26);
    take(&mut outbox, 26);
    assert!(outbox.is_empty() && !outbox.is_flushed() && offered(&outbox).is_empty());
    assert_eq!(outbox.bytes(), 10 + MESSAGE_OVERHEAD);
    outbox.activate(DATA);
    assert!(outbox.ring.is_empty(), "without credit it takes no part");
    outbox.channel(DATA).raise(1 << 20);
    outbox.activate(DATA);
    outbox.activate(DATA);
    assert_eq!(outbox.ring.len(), 1);
    outbox.stage(|_| true);
    assert!(!outbox.is_empty() && !outbox.is_flushed());
    take(&mut outbox, 26);
    assert!(outbox.is_empty() && outbox.is_flushed());
    // Each of the three keeps it from being empty.
    outbox.push_control(kind::PING, 0, 0, &[0; 8]);
    assert!(!outbox.is_empty() && !outbox.is_flushed());
    outbox.stage(|_| true);
    assert!(!outbox.is_empty());
    take(&mut outbox, 24);
    outbox.push(DATA, message(10, None), true);
    assert!(!outbox.is_empty());
}

#[test]
fn nothing_of_the_old_is_left_when_all_is_dropped() {
    let mut outbox = outbox();
    outbox.push(DATA, message(10, Some(Mark::Request(1))), true);
    outbox.push_control(kind::PONG, 0, 0, &[0; 8]);
    outbox.push(COMMAND, message(FRAGMENT * 2, Some(Mark::Answer(None))), false);
    outbox.stage(|_| true);
    take(&mut outbox, 5);
    outbox.push(TELEMETRY, message(10, SEND), true);
    outbox.push_control(kind::PONG, 0, 0, &[0; 8]);
    assert_eq!((outbox.unread_pongs(), outbox.answers()), (2, 1));
    // Last words leave behind what is staged, and instead of what is queued.
    outbox.drop_queued();
    assert!(outbox.channels.iter().all(ChannelQueue::is_empty) && outbox.ring.is_empty());
    assert!(!outbox.is_empty());
    outbox.clear();
    assert!(outbox.is_empty() && outbox.is_flushed() && offered(&outbox).is_empty());
    assert_eq!((outbox.bytes(), outbox.unread_pongs(), outbox.answers(), outbox.begun()), (0, 0, 0, 0));
    outbox.push(DATA, message(3, SEND), true);
    let (all, left) = drain(&mut outbox, 1);
    assert_eq!((all.len(), left), (19, vec![(19, Mark::Send(7))]));
    assert_eq!(outbox.begun(), 0, "a request that was dropped never began");
}

#[test]
fn small_messages_share_slices_and_large_ones_have_their_own() {
    let mut outbox = outbox();
    let slices = |outbox: &Outbox| {
        let mut slices = Vec::new();
        outbox.slices(&mut slices);
        slices.iter().map(|slice| slice.len()).collect::<Vec<_>>()
    };
    outbox.push(DATA, message(COPIED, None), true);
    outbox.push(DATA, message(COPIED + 1, None), true);
    outbox.push(DATA, message(1, None), true);
    outbox.stage(|_| true);
    assert_eq!(slices(&outbox), [16 + COPIED + 16, COPIED + 1, 17]);
    take(&mut outbox, 16 + COPIED + 16 + 100);
    assert_eq!(slices(&outbox), [COPIED + 1 - 100, 17]);
    drain(&mut outbox, usize::MAX);
    // As many in a slice as are worth one write's attention, and so many slices in a write.
    for _ in 0..60 {
        outbox.push(DATA, message(COPIED, None), true);
    }
    outbox.stage(|_| true);
    assert!((4..=8).contains(&slices(&outbox).len()), "{:?}", slices(&outbox));
    drain(&mut outbox, usize::MAX);
    for _ in 0..60 {
        outbox.push(DATA, message(COPIED + 1, None), true);
    }
    outbox.stage(|_| true);
    assert_eq!(slices(&outbox).len(), BATCH_SLICES);
    let (all, _) = drain(&mut outbox, usize::MAX);
    assert_eq!(headers(&all).len(), 60);
}

#[test]
fn a_gathering_buffer_is_filled_to_the_byte() {
    // 65520 bytes of it; then a message of 16, or of one more, which does not fit.
    let lens = [[4080; 15].as_slice(), &[4064]].concat();
    for (last, buffers) in [(0, 1), (1, 2)] {
        for short in [false, true] {
            let mut outbox = outbox();
            for len in lens.iter().copied().chain([last]) {
                let header =
                    Header { len: len as u32, kind: kind::MESSAGE, flags: flag::FIRST | flag::LAST, channel: 2, id: 0 };
                match short {
                    true => assert!(outbox.push_short(DATA, header, &bytes(len))),
                    false => outbox.push(DATA, message(len, None), true),
                }
            }
            outbox.stage(|_| true);
            assert_eq!((outbox.staged.len(), outbox.staged_bytes()), (buffers, GATHER + last), "{short}");
            assert_eq!(headers(&offered(&outbox)).len(), 17);
        }
    }
}

#[test]
fn buffers_are_used_again_while_there_is_more_and_none_is_held_when_idle() {
    let mut outbox = outbox();
    // A small one stays.
    outbox.push(DATA, message(10, None), true);
    outbox.stage(|_| true);
    take(&mut outbox, 26);
    assert!((26..=COPIED).contains(&outbox.spare.capacity()), "{}", outbox.spare.capacity());
    // The largest that is of use stays as long as something is to come.
    let mut outbox = self::outbox();
    for len in [COPIED; 8].into_iter().chain([COPIED + 1, COPIED + 1]) {
        outbox.push(DATA, message(len, None), true);
    }
    outbox.stage(|_| true);
    let first = 8 * (16 + COPIED) + 16;
    take(&mut outbox, first - 1);
    assert_eq!(outbox.spare.capacity(), 0);
    take(&mut outbox, 1);
    let large = outbox.spare.capacity();
    assert!(large >= first && large <= 2 * GATHER, "{large}");
    take(&mut outbox, COPIED + 1 + 16);
    assert_eq!(outbox.spare.capacity(), large, "not the smaller one");
    // It is used for what is gathered next.
    outbox.push_control(kind::PING, 0, 0, &[0; 8]);
    outbox.stage(|_| true);
    assert_eq!(outbox.spare.capacity(), 0);
    take(&mut outbox, COPIED + 1);
    assert_eq!(outbox.spare.capacity(), 0);
    take(&mut outbox, 24);
    assert_eq!(outbox.spare.capacity(), 0, "nothing is to come");
    // As long as any of the three is there, it is kept.
    for queued in [false, true] {
        let mut outbox = self::outbox();
        outbox.push(DATA, message(COPIED, None), true);
        outbox.stage(|_| true);
        if queued {
            outbox.push(DATA, message(1, None), true)
        } else {
            outbox.push_control(kind::PING, 0, 0, &[0; 8])
        }
        take(&mut outbox, COPIED + 16);
        assert!(outbox.spare.capacity() > COPIED);
    }
    // One that is larger than any needs to be is given back at once.
    let mut outbox = self::outbox();
    for _ in 0..300 {
        outbox.push_control(kind::ERROR, 0, 1, &[0; 600]);
    }
    outbox.push(DATA, message(COPIED + 1, None), true);
    outbox.stage(|_| true);
    take(&mut outbox, 300 * 616 + 16);
    assert!(!outbox.is_empty());
    assert!(outbox.spare.capacity() <= COPIED, "{}", outbox.spare.capacity());
}
