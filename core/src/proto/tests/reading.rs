//! The reader alone: limits that a header gives away, messages in pieces, and the buffers that are read into.

use super::hand::{WHOLE, descriptors, frame};
use crate::error::{Code, Result};
use crate::limits::{MAX_CONTROL_FRAME, MAX_EXTENSIONS, MAX_FDS, MAX_SKIPPED_FRAME};
use crate::proto::level1::Body;
use crate::proto::level1::wire::{Event, Header, Reader, flag, kind};

const FIRST: u8 = flag::FIRST;
const LAST: u8 = flag::LAST;
const MAX: usize = 2_000_000;
/// Frames up to this are looked at where they lie.
const LYING: usize = 16 * 1024;
const SMALL: usize = 4 * 1024;
const LARGE: usize = 68 * 1024;
/// How an own buffer begins and grows.
const STEP: usize = 256 * 1024;

fn reader() -> Reader {
    let mut reader = Reader::new(MAX, Vec::new());
    reader.set_ready(true);
    reader
}

/// Reads `bytes` as far as is offered at once: how many those were, and of how many.
fn fill(reader: &mut Reader, bytes: &[u8]) -> (usize, usize) {
    let (buffer, offered) = reader.buffer();
    assert!(offered > 0 && buffer.capacity() - buffer.len() >= offered);
    let n = offered.min(bytes.len());
    buffer.extend_from_slice(&bytes[..n]);
    reader.filled(n, offered);
    (n, offered)
}

/// An event: its type, channel and bytes, and whether those lie in the reader's buffer.
type Found = (u8, u16, Vec<u8>, bool);

/// The next event.
fn next(reader: &mut Reader) -> Result<Option<Found>> {
    Ok(reader.next(|_, _, _| Ok(()))?.map(|event| match event {
        Event::Control(header, payload) => (header.kind, header.channel, payload.to_vec(), true),
        Event::Plain(channel, payload) => (kind::MESSAGE, channel, payload.to_vec(), true),
        Event::Message(message) => {
            let lies = matches!(message.body, Body::Short(_));
            assert_eq!(message.body.as_slice().len(), message.body.len());
            let slice = message.body.as_slice().to_vec();
            let bytes = message.body.into_bytes().to_vec();
            assert!(slice == bytes);
            (message.header.kind, message.header.channel, bytes, lies)
        }
    }))
}

/// All that comes out of `bytes`.
fn read(reader: &mut Reader, mut bytes: &[u8]) -> Result<Vec<(u8, u16, Vec<u8>)>> {
    let mut got = Vec::new();
    while !bytes.is_empty() {
        let (n, _) = fill(reader, bytes);
        bytes = &bytes[n..];
        while let Some((of, channel, payload, _)) = next(reader)? {
            got.push((of, channel, payload));
        }
    }
    Ok(got)
}

fn code(reader: &mut Reader, bytes: &[u8]) -> Option<Code> {
    read(reader, bytes).err().map(|error| error.code())
}

/// The header alone, of a frame whose payload has not come.
fn header(of: u8, flags: u8, len: usize) -> Vec<u8> {
    Header { len: len as u32, kind: of, flags, channel: 2, id: 0 }.encode().to_vec()
}

/// The frames of a message of which each has as many bytes as `pieces` says.
fn pieces(of: u8, channel: u16, id: u64, pieces: &[usize]) -> Vec<Vec<u8>> {
    let total: usize = pieces.iter().sum();
    let last = pieces.len() - 1;
    let frames = pieces.iter().enumerate().map(|(n, &len)| {
        let flags = if n == 0 { FIRST } else { 0 } | if n == last { LAST } else { 0 };
        let total = if n == 0 && n != last { (total as u32).to_le_bytes().to_vec() } else { Vec::new() };
        frame(of, flags, channel, id, &[total, vec![channel as u8; len]].concat())
    });
    frames.collect()
}

#[test]
fn a_header_alone_says_what_is_too_large() {
    let ext = 2 + MAX_EXTENSIONS;
    for (of, flags, limit) in [
        (kind::MESSAGE, WHOLE, MAX),
        (kind::MESSAGE, FIRST, MAX + 4),
        (kind::MESSAGE, WHOLE | flag::EXT, MAX + ext),
        (kind::REQUEST, FIRST | flag::EXT, MAX + ext + 4),
        (kind::PING, 0, MAX_CONTROL_FRAME),
        (kind::REFUSE, 0, MAX_CONTROL_FRAME),
        (0x20, 0, MAX_SKIPPED_FRAME),
        (0x70, flag::CRITICAL, MAX_SKIPPED_FRAME),
    ] {
        assert_eq!(code(&mut reader(), &header(of, flags, limit)), None, "{of:#04x} {flags}");
        assert_eq!(code(&mut reader(), &header(of, flags, limit + 1)), Some(Code::FrameTooLarge), "{of:#04x} {flags}");
    }
    // Pieces that are not the first have nothing but bytes.
    for flags in [0, LAST] {
        let mut reader = reader();
        read(&mut reader, &pieces(kind::MESSAGE, 2, 0, &[1, 1])[0]).unwrap();
        assert_eq!(code(&mut reader, &header(kind::MESSAGE, flags, MAX + 1)), Some(Code::FrameTooLarge));
    }
    // Before READY less is skipped.
    for (len, end) in [(MAX_CONTROL_FRAME, None), (MAX_CONTROL_FRAME + 1, Some(Code::FrameTooLarge))] {
        assert_eq!(code(&mut Reader::new(MAX, Vec::new()), &header(0x7F, 0, len)), end);
    }
    // And a total is one before its bytes are there.
    for (total, end) in [(MAX, None), (MAX + 1, Some(Code::FrameTooLarge))] {
        let begins = frame(kind::MESSAGE, FIRST, 2, 0, &[&(total as u32).to_le_bytes()[..], b"a"].concat());
        assert_eq!(code(&mut reader(), &begins), end);
    }
}

#[test]
fn types_are_known_skipped_or_refused() {
    for of in 0..=u8::MAX {
        for critical in [0, flag::CRITICAL] {
            let message = (0x10..=0x13).contains(&of);
            let control = of == 0 || (0x03..=0x0D).contains(&of);
            let grease = (0x70..=0x7F).contains(&of);
            let flags = if message { WHOLE } else { critical };
            let expected = match of {
                1 | 2 => Some(Code::ProtocolError),
                _ if !message && !control && !grease && critical != 0 => Some(Code::UnknownFrame),
                _ => None,
            };
            let found = read(&mut reader(), &frame(of, flags, 2, 0, &[])).map_err(|error| error.code());
            assert_eq!(found.as_ref().err().copied(), expected, "{of:#04x}");
            if let Ok(events) = found {
                assert_eq!(events.len(), usize::from(message || control), "{of:#04x}");
            }
            // Before READY.
            let early = code(&mut Reader::new(MAX, Vec::new()), &frame(of, flags, 2, 0, &[]));
            let allowed = grease || matches!(of, kind::NOP | kind::AUTH | kind::READY | kind::CLOSE);
            assert_eq!(early.is_none(), allowed, "{of:#04x}");
        }
    }
    assert_eq!(code(&mut reader(), &frame(kind::NOP, 0, 0, 0, b"x")), Some(Code::ProtocolError));
    // Frames that are skipped leave nothing behind.
    let skipped = frame(0x20, 0, 0, 0, &vec![1; MAX_SKIPPED_FRAME]);
    let mut reader = reader();
    let got = read(&mut reader, &[skipped, frame(kind::MESSAGE, WHOLE, 2, 0, b"next")].concat()).unwrap();
    assert_eq!(got, [(kind::MESSAGE, 2, b"next".to_vec())]);
    assert!(!reader.inside_frame());
}

#[test]
fn pieces_of_two_channels_mix_and_each_finds_its_own() {
    // Small ones, and such as get buffers that are read into directly.
    for sizes in [[10, 20, 30], [20_000, 300_000, 17_000], [600_000, 1, 20_000]] {
        let a = pieces(kind::MESSAGE, 2, 0, &sizes);
        let b = pieces(kind::REQUEST, 3, 1, &[sizes[1], sizes[0]]);
        let mixed = [&a[0][..], &b[0], &a[1], &frame(kind::PING, 0, 0, 0, &[1; 8]), &b[1], &a[2]].concat();
        let mut reader = reader();
        let got = read(&mut reader, &mixed).unwrap();
        let whole = |channel: u8, sizes: &[usize]| vec![channel; sizes.iter().sum()];
        assert_eq!(got.iter().map(|(of, ..)| *of).collect::<Vec<_>>(), [kind::PING, kind::REQUEST, kind::MESSAGE]);
        assert!(got[1].2 == whole(3, &sizes[..2]) && got[2].2 == whole(2, &sizes));
        assert!(!reader.inside_frame());
    }
}

#[test]
fn pieces_belong_together_and_add_up() {
    let begun = || {
        let mut reader = reader();
        read(&mut reader, &pieces(kind::REQUEST, 2, 1, &[10, 10, 10])[0]).unwrap();
        assert!(reader.inside_frame(), "between two pieces");
        reader
    };
    let fault = Some(Code::ProtocolError);
    let piece = |of: u8, flags: u8, channel: u16, id: u64, len: usize| frame(of, flags, channel, id, &vec![1; len]);
    for (bytes, end) in [
        (piece(kind::REQUEST, 0, 2, 1, 19), None),
        (piece(kind::REQUEST, LAST, 2, 1, 20), None),
        // Too little or too much, or the end where it is not.
        (piece(kind::REQUEST, 0, 2, 1, 0), fault),
        (piece(kind::REQUEST, 0, 2, 1, 20), fault),
        (piece(kind::REQUEST, 0, 2, 1, 21), fault),
        (piece(kind::REQUEST, LAST, 2, 1, 19), fault),
        (piece(kind::REQUEST, LAST, 2, 1, 21), fault),
        // Of another message, or of none.
        (piece(kind::MESSAGE, LAST, 2, 1, 20), fault),
        (piece(kind::REQUEST, LAST, 2, 3, 20), fault),
        (piece(kind::REQUEST, LAST, 3, 1, 20), fault),
        // A message inside the message, though it is small and whole.
        (piece(kind::MESSAGE, WHOLE, 2, 0, 1), fault),
        (piece(kind::REQUEST, WHOLE, 2, 3, 1), fault),
        (piece(kind::MESSAGE, WHOLE, 3, 0, 1), None),
        (piece(kind::REQUEST, WHOLE, 3, 3, 1), None),
        // What only a first piece has.
        (piece(kind::REQUEST, LAST | flag::EXT, 2, 1, 20), fault),
        (piece(kind::REQUEST, LAST | flag::FDS, 2, 1, 20), fault),
    ] {
        assert_eq!(code(&mut begun(), &bytes), end, "{bytes:?}");
    }
    // A first piece without bytes, without its total, with a whole message that is said to go on.
    for payload in [&30u32.to_le_bytes()[..], &[1, 0, 0], &[2, 0, 0, 0, 1, 1]] {
        assert_eq!(code(&mut reader(), &frame(kind::REQUEST, FIRST, 2, 1, payload)), fault, "{payload:?}");
    }
    // Extensions longer than their frame.
    assert_eq!(code(&mut reader(), &frame(kind::REQUEST, WHOLE | flag::EXT, 2, 1, &[9, 0, 1])), fault);
    // With extensions, in one frame and in two.
    let trace = [6, 0, 3, 0, 2, 0, b't', b'r'];
    let whole = frame(kind::REQUEST, WHOLE | flag::EXT, 2, 1, &[&trace[..], b"abc"].concat());
    let first = frame(kind::REQUEST, FIRST | flag::EXT, 2, 1, &[&trace[..], &3u32.to_le_bytes(), b"a"].concat());
    for bytes in [whole, [first, frame(kind::REQUEST, LAST, 2, 1, b"bc")].concat()] {
        assert_eq!(read(&mut reader(), &bytes).unwrap(), [(kind::REQUEST, 2, b"abc".to_vec())]);
        for cut in 0..bytes.len() {
            let mut reader = reader();
            assert_eq!(read(&mut reader, &bytes[..cut]).unwrap(), []);
            assert_eq!(reader.inside_frame(), cut > 0, "{cut}");
        }
    }
    // Given up, nothing of it is left.
    let mut reader = begun();
    reader.abandon();
    assert!(!reader.inside_frame());
}

#[test]
fn small_frames_lie_in_the_buffer_and_a_large_one_takes_it() {
    let read_lying = |len: usize, before: bool, behind: bool| {
        let mut reader = reader();
        let large = frame(kind::REQUEST, WHOLE, 2, 1, &vec![7; len]);
        let other = frame(kind::PING, 0, 0, 0, &[7; 8]);
        let mut bytes = Vec::new();
        // So that all of it is read at once.
        fill(&mut reader, &frame(0x20, 0, 0, 0, &vec![0; SMALL - 16]));
        assert!(next(&mut reader).unwrap().is_none());
        for (there, frame) in [(before, &other), (true, &large), (behind, &other)] {
            bytes.extend_from_slice(if there { frame } else { &[] });
        }
        assert_eq!(fill(&mut reader, &bytes).0, bytes.len());
        if before {
            assert_eq!(next(&mut reader).unwrap().unwrap().0, kind::PING);
        }
        let (of, _, payload, lies) = next(&mut reader).unwrap().expect("it is whole");
        assert!(of == kind::REQUEST && payload == vec![7; len]);
        if behind {
            assert_eq!(next(&mut reader).unwrap().unwrap().0, kind::PING);
        }
        assert!(next(&mut reader).unwrap().is_none() && !reader.inside_frame());
        // And it reads on.
        assert_eq!(read(&mut reader, &other).unwrap().len(), 1);
        lies
    };
    assert!(read_lying(LYING, false, false));
    assert!(!read_lying(LYING + 1, false, false));
    for (before, behind) in [(true, false), (false, true), (true, true)] {
        assert!(read_lying(LYING + 1, before, behind) && read_lying(10, before, behind));
    }
    // A plain message is told without a look at the gate, unless it is large.
    for (len, plain) in [(LYING, true), (LYING + 1, false)] {
        let mut reader = reader();
        let bytes = frame(kind::MESSAGE, WHOLE, 2, 0, &vec![7; len]);
        let mut rest = &bytes[..];
        let mut asked = 0;
        while !rest.is_empty() {
            let (n, _) = fill(&mut reader, rest);
            rest = &rest[n..];
            let event = reader.next(|_, _, total| {
                assert_eq!(total, len);
                asked += 1;
                Ok(())
            });
            assert_eq!(event.unwrap().is_some(), rest.is_empty());
        }
        assert_eq!(asked, usize::from(!plain));
    }
}

#[test]
fn a_buffer_grows_with_what_comes_and_not_with_what_is_declared() {
    let mut reader = reader();
    let (buffer, offered) = reader.buffer();
    assert_eq!((buffer.capacity(), offered), (SMALL, SMALL));
    // A frame that lies in the buffer gets room for itself and no more.
    fill(&mut reader, &header(kind::PING, 0, 100));
    assert!(next(&mut reader).unwrap().is_none());
    assert_eq!(reader.buffer().1, SMALL - 16);
    let mut reader = self::reader();
    fill(&mut reader, &header(kind::MESSAGE, WHOLE, LYING));
    assert!(next(&mut reader).unwrap().is_none());
    let (buffer, offered) = reader.buffer();
    assert_eq!((buffer.capacity(), offered), (16 + LYING, LYING));
    // A large one gets its own, which grows step by step, at last to its exact size.
    let len = 2 * STEP + 5000;
    let mut reader = self::reader();
    fill(&mut reader, &[header(kind::MESSAGE, WHOLE, len), vec![7; 100]].concat());
    assert!(next(&mut reader).unwrap().is_none());
    let mut left = len - 100;
    let mut sizes = Vec::new();
    while left > 0 {
        let (buffer, offered) = reader.buffer();
        assert_eq!(buffer.len(), len - left);
        sizes.push(buffer.capacity());
        assert!(offered <= left);
        left -= fill(&mut reader, &vec![7; offered]).0;
        assert_eq!(next(&mut reader).unwrap().map(|(_, _, bytes, _)| bytes.len()), (left == 0).then_some(len));
    }
    assert_eq!(sizes, [STEP, 2 * STEP, len]);
    // What follows it is not read into it.
    let mut reader = self::reader();
    let bytes = frame(kind::MESSAGE, WHOLE, 2, 0, &vec![7; 20_000]);
    fill(&mut reader, &bytes[..100]);
    assert!(next(&mut reader).unwrap().is_none());
    assert_eq!(reader.buffer().1, bytes.len() - 100);
    // Between two pieces little more than a header is wanted.
    let mut reader = self::reader();
    read(&mut reader, &pieces(kind::MESSAGE, 2, 0, &[10, 10])[0]).unwrap();
    assert_eq!(reader.buffer().1, 16 + 1024);
    fill(&mut reader, &[0; 6]);
    assert_eq!(reader.buffer().1, 16 + 1024 - 6);
    // But as much as the next frame is, if it is one that lies in the buffer.
    let mut reader = self::reader();
    read(&mut reader, &pieces(kind::MESSAGE, 2, 0, &[10, 3000])[0]).unwrap();
    fill(&mut reader, &header(kind::MESSAGE, LAST, 3000));
    assert!(next(&mut reader).unwrap().is_none());
    assert_eq!(reader.buffer().1, 3000);
}

#[test]
fn a_full_read_is_followed_by_larger_ones_until_it_is_calm() {
    // A frame of `n` bytes in all, which nobody keeps.
    let skipped = |n: usize| frame(0x20, 0, 0, 0, &vec![0; n - 16]);
    let mut spare = Vec::new();
    let mut reader = reader();
    let mut reads = |n: usize| {
        let (read, offered) = fill(&mut reader, &skipped(n));
        assert_eq!(read, n);
        assert!(next(&mut reader).unwrap().is_none());
        reader.give_back(&mut spare);
        spare = Vec::new();
        offered
    };
    assert_eq!((reads(SMALL - 1), reads(SMALL), reads(16)), (SMALL, SMALL, LARGE));
    // One light read is no calm, nor is anything but 64 of them.
    for n in 1..64 {
        assert_eq!(reads(SMALL / 2 - 1), LARGE, "{n}");
    }
    assert_eq!(reads(16), SMALL);
    for _ in 0..100 {
        assert_eq!(reads(16), SMALL);
    }
    assert_eq!((reads(SMALL), reads(16_000)), (SMALL, LARGE));
    for _ in 0..100 {
        assert_eq!(reads(SMALL / 2), LARGE, "half of the smaller buffer is not light");
    }
}

#[test]
fn a_buffer_is_lent_and_given_back_when_nothing_is_in_it() {
    let ping = frame(kind::PING, 0, 0, 0, &[7; 8]);
    let mut reader = reader();
    let mut spare = Vec::with_capacity(10_000);
    spare.extend_from_slice(b"old");
    reader.lend(&mut spare);
    assert_eq!(spare.capacity(), 0);
    let (buffer, offered) = reader.buffer();
    assert_eq!((buffer.len(), offered), (0, 10_000));
    // As long as it has one it takes none.
    spare = Vec::with_capacity(20_000);
    reader.lend(&mut spare);
    assert_eq!(spare.capacity(), 20_000);
    fill(&mut reader, &ping[..20]);
    assert!(next(&mut reader).unwrap().is_none());
    reader.give_back(&mut spare);
    assert!(spare.capacity() == 20_000 && reader.inside_frame(), "something is in it");
    assert_eq!(read(&mut reader, &ping[20..]).unwrap().len(), 1);
    // The larger one is left.
    reader.give_back(&mut spare);
    assert_eq!(spare.capacity(), 20_000);
    assert_eq!(reader.buffer().0.capacity(), SMALL, "it has none any more");
    spare = Vec::with_capacity(10);
    reader.give_back(&mut spare);
    assert_eq!(spare.capacity(), SMALL);
    reader.give_back(&mut spare);
    assert_eq!(spare.capacity(), SMALL);
}

#[test]
fn descriptors_come_with_the_frame_that_announces_them() {
    let announcing = |count: u8, payload: &[u8]| {
        let block = [&[5, 0, 5, 0, 1, 0, count][..], payload].concat();
        frame(kind::MESSAGE, WHOLE | flag::EXT | flag::FDS, 2, 0, &block)
    };
    let fault = Some(Code::ProtocolError);
    for count in 1..=MAX_FDS {
        for came in 0..=MAX_FDS + 1 {
            let mut reader = reader();
            reader.received_fds(descriptors(came));
            let end = code(&mut reader, &announcing(count as u8, b"x"));
            assert_eq!(end.is_none(), came == count, "{count} of {came}");
        }
    }
    // Nobody announces them.
    let mut reader = reader();
    reader.received_fds(descriptors(1));
    assert_eq!(code(&mut reader, &frame(kind::MESSAGE, WHOLE, 2, 0, b"x")), fault);
    // With a frame that has begun: as many as one may have.
    for (came, end) in [(1, None), (MAX_FDS, None), (MAX_FDS + 1, fault)] {
        let mut reader = self::reader();
        reader.received_fds(descriptors(came));
        assert_eq!(code(&mut reader, &announcing(1, b"x")[..10]), end, "{came}");
    }
    // Two messages, each with its own.
    let mut reader = self::reader();
    reader.received_fds(descriptors(3));
    let bytes = [announcing(1, b"a"), announcing(2, b"b")].concat();
    fill(&mut reader, &bytes);
    for count in [1, 2] {
        let Some(Event::Message(message)) = reader.next(|_, _, _| Ok(())).unwrap() else { panic!("a message") };
        assert_eq!(message.fds.len(), count);
    }
}
