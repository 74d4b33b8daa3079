//! Bytes in, frames out.
//!
//! Small frames are cut from a staging buffer. A large payload gets a buffer of its own, read
//! into directly, which grows with the bytes that arrived and never with the length declared.

use bytes::Bytes;

use crate::error::{Code, Error, Result};
use crate::limits;
use crate::proto::channel::Channel;
use crate::proto::frame::{HEADER_LEN, Header};

/// Payloads above this get their own buffer once their header is known.
const OWN_BUFFER: usize = 16 * 1024;
/// First size and smallest growth of an own buffer.
const OWN_STEP: usize = 256 * 1024;
/// Staging while traffic is light, and while reads fill it.
const STAGING_SMALL: usize = 4 * 1024;
/// The large one holds a payload of 64 KiB with its header.
const STAGING_LARGE: usize = 68 * 1024;
/// Light reads in a row after which a large staging buffer is given back.
const CALM: u32 = 64;

#[derive(Debug)]
pub(crate) struct Frame {
    pub(crate) channel: Channel,
    pub(crate) payload: Bytes,
}

#[derive(Debug)]
struct Body {
    header: Header,
    data: Vec<u8>,
}

#[derive(Debug)]
pub(crate) struct FrameReader {
    staging: Vec<u8>,
    /// Bytes of `staging` already cut.
    start: usize,
    body: Option<Body>,
    max_payload: usize,
    /// Staging size to use when the buffer is next made.
    size: usize,
    light_reads: u32,
}

impl FrameReader {
    pub(crate) fn new(max_payload: usize) -> FrameReader {
        FrameReader { staging: Vec::new(), start: 0, body: None, max_payload, size: STAGING_SMALL, light_reads: 0 }
    }

    /// From now on payloads up to `max` bytes are accepted.
    pub(crate) fn set_max_payload(&mut self, max: usize) {
        self.max_payload = max;
    }

    /// Uses `spare` for staging, unless there is a buffer already.
    pub(crate) fn lend(&mut self, spare: &mut Vec<u8>) {
        if self.staging.capacity() == 0 {
            self.staging = std::mem::take(spare);
            self.staging.clear();
        }
    }

    /// Keeps no buffer that nothing is in: the larger one is left in `spare`.
    pub(crate) fn give_back(&mut self, spare: &mut Vec<u8>) {
        if self.staging.is_empty() && self.staging.capacity() > 0 {
            let staging = std::mem::take(&mut self.staging);
            if staging.capacity() > spare.capacity() {
                *spare = staging;
            }
        }
    }

    /// The buffer to append received bytes to; it has spare capacity.
    pub(crate) fn buffer(&mut self) -> &mut Vec<u8> {
        if let Some(body) = &mut self.body {
            let missing = body.header.len as usize - body.data.len();
            if body.data.capacity() == body.data.len() {
                body.data.reserve_exact(missing.min(body.data.len().max(OWN_STEP)));
            }
            return &mut body.data;
        }
        if self.start > 0 {
            self.staging.drain(..self.start);
            self.start = 0;
        }
        // A pending frame of the staging kind always fits: OWN_BUFFER bounds it.
        let need = match Header::decode(&self.staging) {
            Ok(Some(header)) => HEADER_LEN + header.len as usize,
            _ => 0,
        };
        let size = self.size.max(need);
        if self.staging.capacity() < size {
            self.staging.reserve_exact(size - self.staging.len());
        }
        &mut self.staging
    }

    /// Tells that `read` bytes were appended where `offered` would have fitted.
    pub(crate) fn filled(&mut self, read: usize, offered: usize) {
        if self.body.is_some() {
            return;
        }
        if read == offered {
            self.size = STAGING_LARGE;
            self.light_reads = 0;
        } else if read < STAGING_SMALL / 2 && self.size == STAGING_LARGE {
            self.light_reads += 1;
            if self.light_reads == CALM {
                self.size = STAGING_SMALL;
                self.light_reads = 0;
            }
        }
    }

    /// The next complete frame. Errors are final: nothing after them can be trusted.
    pub(crate) fn next(&mut self) -> Result<Option<Frame>> {
        if let Some(mut body) = self.body.take() {
            let len = body.header.len as usize;
            if body.data.len() < len {
                self.body = Some(body);
                return Ok(None);
            }
            // An allocator may have given more room than asked for, and the read used it.
            self.staging.extend_from_slice(&body.data[len..]);
            body.data.truncate(len);
            return Ok(Some(Frame { channel: body.header.channel, payload: Bytes::from(body.data) }));
        }
        let rest = &self.staging[self.start..];
        let Some(header) = Header::decode(rest)? else {
            self.settle();
            return Ok(None);
        };
        let len = header.len as usize;
        let limit = match header.channel {
            Channel::CONTROL => self.max_payload.min(limits::MAX_HANDSHAKE),
            _ => self.max_payload,
        };
        if len > limit {
            return Err(Error::new(Code::FrameTooLarge, format!("a frame declares {len} bytes, the limit is {limit}")));
        }
        let received = &rest[HEADER_LEN..];
        if received.len() == len && self.start == 0 && len > OWN_BUFFER {
            // The buffer holds this one frame: it becomes the payload's, uncopied.
            let whole = Bytes::from(std::mem::take(&mut self.staging));
            return Ok(Some(Frame { channel: header.channel, payload: whole.slice(HEADER_LEN..) }));
        }
        if received.len() >= len {
            let payload = Bytes::copy_from_slice(&received[..len]);
            self.start += HEADER_LEN + len;
            return Ok(Some(Frame { channel: header.channel, payload }));
        }
        if len > OWN_BUFFER {
            let mut data = Vec::with_capacity(len.min(received.len().max(OWN_STEP)));
            data.extend_from_slice(received);
            self.staging.clear();
            self.start = 0;
            self.body = Some(Body { header, data });
        }
        Ok(None)
    }

    /// What arrived behind the last frame: the stream goes on in another form.
    pub(crate) fn take_rest(&mut self) -> Vec<u8> {
        let mut rest = std::mem::take(&mut self.staging);
        rest.drain(..std::mem::take(&mut self.start));
        rest
    }

    /// Whether the stream stands inside a frame, so that its end now would cut one.
    pub(crate) fn inside_frame(&self) -> bool {
        self.body.is_some() || self.start < self.staging.len()
    }

    /// Begins an emptied staging buffer anew.
    fn settle(&mut self) {
        if self.start == self.staging.len() {
            self.start = 0;
            self.staging.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encode(channel: u16, payload: &[u8]) -> Vec<u8> {
        let mut out = Header { len: payload.len() as u32, channel: Channel::from_wire(channel) }.encode().to_vec();
        out.extend_from_slice(payload);
        out
    }

    /// Feeds `bytes` in pieces of the given sizes and collects the frames.
    fn feed(reader: &mut FrameReader, mut bytes: &[u8], pieces: &[usize]) -> Result<Vec<(u16, Vec<u8>)>> {
        let mut frames = Vec::new();
        let mut at = 0;
        while !bytes.is_empty() {
            let want = pieces[at % pieces.len()].max(1);
            at += 1;
            let buffer = reader.buffer();
            let offered = buffer.capacity() - buffer.len();
            assert!(offered > 0);
            let n = want.min(offered).min(bytes.len());
            buffer.extend_from_slice(&bytes[..n]);
            bytes = &bytes[n..];
            reader.filled(n, offered);
            while let Some(frame) = reader.next()? {
                frames.push((frame.channel.number(), frame.payload.to_vec()));
            }
        }
        Ok(frames)
    }

    proptest! {
        #[test]
        fn frames_survive_any_cutting(
            frames in prop::collection::vec((1u16.., prop::collection::vec(any::<u8>(), 0..70_000)), 0..6),
            pieces in prop::collection::vec(1usize..90_000, 1..8),
        ) {
            let bytes: Vec<u8> = frames.iter().flat_map(|(c, p)| encode(*c, p)).collect();
            let mut reader = FrameReader::new(1 << 24);
            let got = feed(&mut reader, &bytes, &pieces).unwrap();
            prop_assert_eq!(got, frames);
            prop_assert!(!reader.inside_frame());
        }
    }

    #[test]
    fn a_large_payload_gets_a_buffer_of_its_own() {
        const LARGEST_STAGED: usize = 16 * 1024;
        for (len, own) in [(LARGEST_STAGED, false), (LARGEST_STAGED + 1, true)] {
            let mut reader = FrameReader::new(1 << 24);
            feed(&mut reader, &encode(2, &vec![1; len])[..HEADER_LEN + 1], &[64]).unwrap();
            let (buffer, begun) = (reader.buffer(), if own { 1 } else { HEADER_LEN + 1 });
            assert_eq!(buffer.len(), begun, "{len}");
            assert_eq!(buffer.capacity() - buffer.len(), len - 1, "room for what is missing");
            // One that came at once gives its buffer away, or is copied out of it.
            let mut reader = FrameReader::new(1 << 24);
            let whole = encode(2, &vec![1; len]);
            reader.buffer().reserve_exact(whole.len());
            reader.buffer().extend_from_slice(&whole);
            let frame = reader.next().unwrap().unwrap();
            assert_eq!((frame.payload.len(), reader.staging.capacity() == 0), (len, own));
        }
        // What came with it stays behind it.
        let mut reader = FrameReader::new(1 << 24);
        let two = [encode(2, &[1; 20_000]), encode(3, &[2; 5])].concat();
        reader.buffer().reserve_exact(two.len());
        reader.buffer().extend_from_slice(&two);
        assert_eq!(reader.next().unwrap().unwrap().payload.len(), 20_000);
        assert_eq!(reader.next().unwrap().unwrap().channel, Channel::TELEMETRY);
        assert!(reader.next().unwrap().is_none() && !reader.inside_frame());
    }

    #[test]
    fn many_small_frames_pass_through_a_bounded_buffer() {
        let bytes = encode(2, &[7; 999]).repeat(300);
        let mut reader = FrameReader::new(1 << 24);
        assert_eq!(feed(&mut reader, &bytes, &[1 << 20]).unwrap().len(), 300);
        assert!(reader.buffer().capacity() <= STAGING_LARGE);
    }

    #[test]
    fn the_buffer_of_a_payload_grows_to_its_length_and_no_further() {
        let len = OWN_STEP + 100;
        let bytes = encode(2, &vec![7; len]);
        let mut reader = FrameReader::new(1 << 24);
        feed(&mut reader, &bytes[..HEADER_LEN + OWN_STEP], &[1000]).unwrap();
        let buffer = reader.buffer();
        assert_eq!((buffer.len(), buffer.capacity()), (OWN_STEP, len));
    }

    #[test]
    fn the_buffer_grows_when_reads_fill_it_and_shrinks_after_many_light_ones() {
        let size = |reader: &mut FrameReader| {
            let mut spare = Vec::new();
            reader.give_back(&mut spare);
            let buffer = reader.buffer();
            buffer.capacity() - buffer.len()
        };
        let mut reader = FrameReader::new(1 << 24);
        assert_eq!(size(&mut reader), 4 * 1024);
        reader.filled(4 * 1024 - 1, 4 * 1024);
        assert_eq!(size(&mut reader), 4 * 1024, "it was not full");
        for light in [0, 2 * 1024 - 1] {
            reader.filled(4 * 1024, 4 * 1024);
            assert_eq!(size(&mut reader), 68 * 1024);
            for _ in 0..63 {
                reader.filled(light, 68 * 1024);
            }
            // One that is not light is not counted, and one that fills it begins anew.
            reader.filled(2 * 1024, 68 * 1024);
            assert_eq!(size(&mut reader), 68 * 1024);
            reader.filled(68 * 1024, 68 * 1024);
            for _ in 0..63 {
                reader.filled(light, 68 * 1024);
            }
            assert_eq!(size(&mut reader), 68 * 1024);
            reader.filled(light, 68 * 1024);
            assert_eq!(size(&mut reader), 4 * 1024, "{light}");
        }
    }

    #[test]
    fn an_idle_connection_reads_into_a_buffer_that_is_lent() {
        let mut reader = FrameReader::new(1 << 24);
        let mut spare = Vec::with_capacity(100_000);
        reader.lend(&mut spare);
        assert_eq!((spare.capacity(), reader.buffer().capacity()), (0, 100_000));
        let mut other = Vec::with_capacity(10);
        reader.lend(&mut other);
        assert_eq!((other.capacity(), reader.buffer().capacity()), (10, 100_000), "it has one");
        reader.buffer().extend_from_slice(&encode(2, b"whole"));
        reader.give_back(&mut spare);
        assert_eq!((spare.capacity(), reader.buffer().capacity()), (0, 100_000), "something is in it");
        assert!(reader.next().unwrap().is_some() && reader.next().unwrap().is_none());
        let mut larger = Vec::with_capacity(200_000);
        reader.give_back(&mut larger);
        assert_eq!((larger.capacity(), reader.staging.capacity()), (200_000, 0), "the larger one is kept");
        reader.give_back(&mut spare);
        assert_eq!(spare.capacity(), 0, "there was nothing to give back");
        reader.lend(&mut larger);
        reader.give_back(&mut spare);
        assert_eq!(spare.capacity(), 200_000);
        let mut same = vec![7; 200_000];
        same.truncate(3);
        reader.lend(&mut spare);
        reader.give_back(&mut same);
        assert_eq!(same, [7; 3], "one that is as large stays as it is");
    }

    #[test]
    fn one_byte_at_a_time() {
        let bytes = encode(2, &[7; 40_000]);
        let mut reader = FrameReader::new(1 << 24);
        let got = feed(&mut reader, &bytes, &[1]).unwrap();
        assert_eq!(got, vec![(2, vec![7; 40_000])]);
    }

    #[test]
    fn a_declared_length_allocates_nothing_by_itself() {
        let mut reader = FrameReader::new(1 << 24);
        let header = Header { len: 1 << 24, channel: Channel::DATA }.encode();
        feed(&mut reader, &header, &[8]).unwrap();
        assert!(reader.buffer().capacity() <= OWN_STEP);
        assert!(reader.inside_frame());
    }

    #[test]
    fn the_limit_is_inclusive_and_judged_from_the_header() {
        for (len, ok) in [(100u32, true), (101, false), (u32::MAX, false)] {
            let mut reader = FrameReader::new(100);
            let header = Header { len, channel: Channel::DATA }.encode();
            match feed(&mut reader, &header, &[8]) {
                Ok(_) => assert!(ok, "{len} accepted"),
                Err(e) => {
                    assert!(!ok, "{len} refused");
                    assert_eq!(e.code(), Code::FrameTooLarge);
                }
            }
        }
    }

    #[test]
    fn every_wrong_magic_is_refused_at_its_first_wrong_byte() {
        for word in 0..=u16::MAX {
            let bytes = word.to_be_bytes();
            let good = bytes == *b"IP";
            assert_eq!(Header::decode(&bytes).is_ok(), good);
            if bytes[0] != b'I' {
                assert_eq!(Header::decode(&bytes[..1]).unwrap_err().code(), Code::BadMagic);
            }
        }
    }
}
