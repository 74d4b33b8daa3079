//! Bytes in, control frames and whole messages out.
//!
//! Small frames are looked at where they lie, in the staging buffer. A large one, and every message that
//! comes in pieces, gets a buffer of its own, read into directly, which grows with the bytes that
//! arrived and never with the length declared.

use std::collections::VecDeque;

use bytes::Bytes;

use super::bad;
use super::ext::Ext;
use super::header::{HEADER_LEN, Header, flag, kind};
use crate::error::{Code, Error, Result};
use crate::limits;
use crate::os::Descriptor;

/// Frames above this get their own buffer once their beginning is known.
const OWN_BUFFER: usize = 16 * 1024;
/// First size and smallest growth of an own buffer.
const OWN_STEP: usize = 256 * 1024;
/// Staging while traffic is light, and while reads fill it.
const STAGING_SMALL: usize = 4 * 1024;
const STAGING_LARGE: usize = 68 * 1024;
/// Light reads in a row after which a large staging buffer is given back.
const CALM: u32 = 64;
/// Size of the total in the first frame of a message in pieces.
const TOTAL: usize = 4;
/// Between two pieces of a large message the next header is wanted, and little of the piece itself,
/// which is read into place afterwards.
const BETWEEN: usize = HEADER_LEN + 1024;

/// What stands in the stream.
#[derive(Debug)]
pub(crate) enum Event<'a> {
    Control(Header, &'a [u8]),
    /// A one-way message in one frame, without extensions. It has not been before the gate.
    Plain(u16, &'a [u8]),
    Message(Arrived<'a>),
}

/// A whole message; `header` is that of its first frame.
#[derive(Debug)]
pub(crate) struct Arrived<'a> {
    pub(crate) header: Header,
    pub(crate) ext: Ext,
    pub(crate) body: Body<'a>,
    pub(crate) fds: Vec<Descriptor>,
}

/// The bytes of a message.
#[derive(Debug)]
pub(crate) enum Body<'a> {
    /// Still in the reader's buffer.
    Short(&'a [u8]),
    Own(Bytes),
}

impl Body<'_> {
    pub(crate) fn len(&self) -> usize {
        match self {
            Body::Short(bytes) => bytes.len(),
            Body::Own(bytes) => bytes.len(),
        }
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Body::Short(bytes) => bytes,
            Body::Own(bytes) => bytes,
        }
    }

    pub(crate) fn into_bytes(self) -> Bytes {
        match self {
            Body::Short(bytes) => Bytes::copy_from_slice(bytes),
            Body::Own(bytes) => bytes,
        }
    }
}

/// A message of which more is to come.
#[derive(Debug)]
struct Open {
    header: Header,
    ext: Ext,
    fds: Vec<Descriptor>,
    total: usize,
    data: Vec<u8>,
}

/// The rest of a large frame, on its way into the data of an open message.
#[derive(Debug, Clone, Copy)]
struct Filling {
    channel: u16,
    left: usize,
    last: bool,
}

#[derive(Debug)]
pub(crate) struct Reader {
    staging: Vec<u8>,
    /// Bytes of `staging` already used.
    start: usize,
    /// One at most per channel; few, so they are searched.
    open: Vec<Open>,
    filling: Option<Filling>,
    fds: VecDeque<Descriptor>,
    max_message: usize,
    /// The other side said READY.
    ready: bool,
    size: usize,
    light_reads: u32,
}

impl Reader {
    pub(crate) fn new(max_message: usize, arrived: Vec<u8>) -> Reader {
        Reader {
            staging: arrived,
            start: 0,
            open: Vec::new(),
            filling: None,
            fds: VecDeque::new(),
            max_message,
            ready: false,
            size: STAGING_SMALL,
            light_reads: 0,
        }
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

    /// The buffer to append received bytes to, and how many at most.
    pub(crate) fn buffer(&mut self) -> (&mut Vec<u8>, usize) {
        if let Some(filling) = self.filling
            && let Some(at) = self.open.iter().position(|o| o.header.channel == filling.channel)
        {
            let open = &mut self.open[at];
            if open.data.capacity() == open.data.len() {
                let missing = open.total - open.data.len();
                open.data.reserve_exact(missing.min(open.data.len().max(OWN_STEP)));
            }
            let room = open.data.capacity() - open.data.len();
            return (&mut open.data, room.min(filling.left));
        }
        if self.start > 0 {
            self.staging.drain(..self.start);
            self.start = 0;
        }
        // A frame of the staging kind always fits: OWN_BUFFER bounds it.
        let need = match Header::decode(&self.staging) {
            Some(header) => HEADER_LEN + (header.len as usize).min(OWN_BUFFER),
            None => 0,
        };
        let size = self.size.max(need);
        if self.staging.capacity() < size {
            self.staging.reserve_exact(size - self.staging.len());
        }
        let room = self.staging.capacity() - self.staging.len();
        let wanted =
            if self.open.is_empty() { room } else { BETWEEN.max(need).saturating_sub(self.staging.len()).max(1) };
        (&mut self.staging, room.min(wanted))
    }

    /// Tells that `read` bytes were appended where `offered` would have fitted.
    pub(crate) fn filled(&mut self, read: usize, offered: usize) {
        if let Some(filling) = &mut self.filling {
            filling.left -= read;
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

    /// Whether anything but the rest of the handshake may come.
    pub(crate) fn set_ready(&mut self, ready: bool) {
        self.ready = ready;
    }

    /// Descriptors that came with the bytes read last.
    pub(crate) fn received_fds(&mut self, fds: impl IntoIterator<Item = Descriptor>) {
        self.fds.extend(fds);
    }

    /// Nothing more is read: closes what came with messages that are not complete.
    pub(crate) fn abandon(&mut self) {
        self.fds.clear();
        self.open.clear();
        self.filling = None;
    }

    /// The next control frame or whole message. `gate` judges a message by its first frame, before memory is
    /// set aside for it. Errors are final: nothing after them can be trusted.
    pub(crate) fn next(
        &mut self,
        mut gate: impl FnMut(&Header, &Ext, usize) -> Result<()>,
    ) -> Result<Option<Event<'_>>> {
        if let Some(filling) = self.filling {
            if filling.left > 0 {
                return self.wait_for_more();
            }
            self.filling = None;
            if filling.last {
                return Ok(self.close(filling.channel).map(Event::Message));
            }
        }
        loop {
            let rest = &self.staging[self.start..];
            let Some(header) = Header::decode(rest) else { return self.wait_for_more() };
            let (at, len) = (self.start + HEADER_LEN, header.len as usize);
            self.judge(&header)?;
            let whole = rest.len() - HEADER_LEN >= len;
            if !whole && (!header.is_message() || len <= OWN_BUFFER) {
                return self.wait_for_more();
            }
            if header.is_plain() && self.open.is_empty() && len <= OWN_BUFFER {
                self.start = at + len;
                return Ok(Some(Event::Plain(header.channel, &self.staging[at..at + len])));
            }
            if !header.is_message() {
                self.start = at + len;
                if header.is_control() {
                    return Ok(Some(Event::Control(header, &self.staging[at..at + len])));
                }
                continue;
            }
            let end = (at + len).min(self.staging.len());
            let Some(prefix) = Prefix::of(&header, &self.staging[at..end], whole)? else { return self.wait_for_more() };
            let data_len = len - prefix.len;
            let (first, last) = (header.has(flag::FIRST), header.has(flag::LAST));
            if first {
                let total = prefix.total.unwrap_or(data_len);
                if total > self.max_message {
                    return Err(self.too_large(total, self.max_message));
                }
                if self.open.iter().any(|o| o.header.channel == header.channel) {
                    return Err(bad("a message begins inside another one of its channel"));
                }
                gate(&header, &prefix.ext, total)?;
                let fds = self.take_fds(&header, &prefix.ext)?;
                if last && whole {
                    let body = at + prefix.len..at + len;
                    let body = if self.start == 0 && body.end == self.staging.len() && len > OWN_BUFFER {
                        // The buffer holds this one frame: it becomes the message's, uncopied.
                        Body::Own(Bytes::from(std::mem::take(&mut self.staging)).slice(body))
                    } else {
                        self.start = body.end;
                        Body::Short(&self.staging[body])
                    };
                    return Ok(Some(Event::Message(Arrived { header, ext: prefix.ext, body, fds })));
                }
                let data = Vec::with_capacity(total.min((end - at).max(OWN_STEP)));
                self.open.push(Open { header, ext: prefix.ext, fds, total, data });
            }
            let begun = self.open.iter_mut().find(|o| o.header.channel == header.channel);
            let Some(open) = begun.filter(|o| o.header.kind == header.kind && o.header.id == header.id) else {
                return Err(bad("a piece of a message that never began"));
            };
            let sum = open.data.len() + data_len;
            if !(first && last) && (data_len == 0 || (sum < open.total) == last || sum > open.total) {
                return Err(bad("the pieces of a message do not add up to its total"));
            }
            open.data.extend_from_slice(&self.staging[at + prefix.len..end]);
            let left = at + len - end;
            self.start = end;
            if left > 0 {
                self.filling = Some(Filling { channel: header.channel, left, last });
                return self.wait_for_more();
            }
            if last {
                return Ok(self.close(header.channel).map(Event::Message));
            }
        }
    }

    /// Whether the stream stands inside a frame or a message, so that its end now would cut one.
    pub(crate) fn inside_frame(&self) -> bool {
        self.start < self.staging.len() || !self.open.is_empty()
    }

    fn close(&mut self, channel: u16) -> Option<Arrived<'static>> {
        let at = self.open.iter().position(|o| o.header.channel == channel)?;
        let open = self.open.swap_remove(at);
        Some(Arrived { header: open.header, ext: open.ext, body: Body::Own(Bytes::from(open.data)), fds: open.fds })
    }

    /// Judges what a header alone gives away.
    fn judge(&self, header: &Header) -> Result<()> {
        let len = header.len as usize;
        let grease = (kind::GREASE..=kind::GREASE_LAST).contains(&header.kind);
        if !header.is_message() {
            match header.kind {
                kind::NOP if len > 0 => return Err(bad("a NOP with a payload")),
                never @ (0x01 | 0x02) => {
                    return Err(bad(format!("a frame of type {never:#04x}, which is never used")));
                }
                unknown if !header.is_control() && !grease && header.has(flag::CRITICAL) => {
                    return Err(Error::new(
                        Code::UnknownFrame,
                        format!("a critical frame of the unknown type {unknown:#04x}"),
                    ));
                }
                _ => {}
            }
        }
        if !self.ready && !grease && !matches!(header.kind, kind::NOP | kind::AUTH | kind::READY | kind::CLOSE) {
            return Err(bad(format!("a frame of type {:#04x} before READY", header.kind)));
        }
        let limit = if header.is_message() {
            let ext = if header.has(flag::EXT) { 2 + limits::MAX_EXTENSIONS } else { 0 };
            let total = if header.has(flag::FIRST) && !header.has(flag::LAST) { TOTAL } else { 0 };
            self.max_message + ext + total
        } else if header.is_control() || !self.ready {
            limits::MAX_CONTROL_FRAME
        } else {
            limits::MAX_SKIPPED_FRAME
        };
        if len > limit { Err(self.too_large(len, limit)) } else { Ok(()) }
    }

    fn too_large(&self, len: usize, limit: usize) -> Error {
        Error::new(Code::FrameTooLarge, format!("a frame declares {len} bytes, the limit is {limit}"))
    }

    fn take_fds(&mut self, header: &Header, ext: &Ext) -> Result<Vec<Descriptor>> {
        let announced = usize::from(ext.fds.unwrap_or(0));
        if header.has(flag::FDS) != (announced > 0) || announced > self.fds.len() {
            return Err(bad("the descriptors of a frame are not those it announces"));
        }
        Ok(self.fds.drain(..announced).collect())
    }

    /// Every frame at hand was taken. Descriptors come with the first byte of their frame, so those that are left are of
    /// the one that has begun.
    fn wait_for_more<T>(&mut self) -> Result<Option<T>> {
        if self.start == self.staging.len() {
            self.start = 0;
            self.staging.clear();
        }
        let awaited = if self.staging.is_empty() { 0 } else { limits::MAX_FDS };
        if self.fds.len() > awaited {
            return Err(bad("descriptors came without a frame that announces them"));
        }
        Ok(None)
    }
}

/// What stands between the header of a message frame and the bytes of the message.
struct Prefix {
    ext: Ext,
    total: Option<usize>,
    len: usize,
}

impl Prefix {
    /// `None` while it has not arrived.
    fn of(header: &Header, have: &[u8], whole: bool) -> Result<Option<Prefix>> {
        let mut prefix = Prefix { ext: Ext::default(), total: None, len: 0 };
        if !header.has(flag::FIRST) {
            return match header.has(flag::EXT) || header.has(flag::FDS) {
                true => Err(bad("extensions or descriptors inside a message")),
                false => Ok(Some(prefix)),
            };
        }
        let missing = |what| if whole { Err(bad(what)) } else { Ok(None) };
        if header.has(flag::EXT) {
            match Ext::decode(have)? {
                Some((ext, len)) => (prefix.ext, prefix.len) = (ext, len),
                None => return missing("the extensions are longer than their frame"),
            }
        }
        if !header.has(flag::LAST) {
            match have[prefix.len..].first_chunk::<TOTAL>() {
                Some(total) => prefix.total = Some(u32::from_le_bytes(*total) as usize),
                None => return missing("a message in pieces does not tell its total"),
            }
            prefix.len += TOTAL;
        }
        Ok(Some(prefix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn reader(max_message: usize) -> Reader {
        Reader { ready: true, ..Reader::new(max_message, Vec::new()) }
    }

    /// The frames of a message, cut at `piece` bytes.
    fn encode(channel: u16, id: u64, payload: &[u8], piece: usize) -> Vec<u8> {
        let kind = if id == 0 { kind::MESSAGE } else { kind::REQUEST };
        let mut out = Vec::new();
        let mut pieces: Vec<&[u8]> = payload.chunks(piece).collect();
        if pieces.is_empty() {
            pieces.push(&[]);
        }
        let count = pieces.len();
        for (at, bytes) in pieces.into_iter().enumerate() {
            let (first, last) = (at == 0, at + 1 == count);
            let mut flags = 0;
            flags |= if first { flag::FIRST } else { 0 };
            flags |= if last { flag::LAST } else { 0 };
            let total = if first && !last { &(payload.len() as u32).to_le_bytes()[..] } else { &[] };
            let len = (total.len() + bytes.len()) as u32;
            out.extend_from_slice(&Header { len, kind, flags, channel, id }.encode());
            out.extend_from_slice(total);
            out.extend_from_slice(bytes);
        }
        out
    }

    fn feed(reader: &mut Reader, mut bytes: &[u8], pieces: &[usize]) -> Result<Vec<(u16, Vec<u8>)>> {
        let (mut got, mut at) = (Vec::new(), 0);
        while !bytes.is_empty() {
            let want = pieces[at % pieces.len()].max(1);
            at += 1;
            let (buffer, offered) = reader.buffer();
            assert!(offered > 0 && buffer.capacity() - buffer.len() >= offered);
            let n = want.min(offered).min(bytes.len());
            buffer.extend_from_slice(&bytes[..n]);
            bytes = &bytes[n..];
            reader.filled(n, offered);
            while let Some(event) = reader.next(|_, _, _| Ok(()))? {
                match event {
                    Event::Message(message) => {
                        got.push((message.header.channel, message.body.into_bytes().to_vec()));
                    }
                    Event::Plain(channel, payload) => got.push((channel, payload.to_vec())),
                    Event::Control(..) => {}
                }
            }
        }
        Ok(got)
    }

    proptest! {
        #[test]
        fn messages_survive_any_cutting(
            messages in prop::collection::vec(
                (1u16.., prop::collection::vec(any::<u8>(), 0..70_000), 1usize..70_000), 0..6),
            pieces in prop::collection::vec(1usize..90_000, 1..8),
        ) {
            let bytes: Vec<u8> = messages.iter().flat_map(|(c, p, piece)| encode(*c, 0, p, *piece)).collect();
            let mut reader = reader(1 << 24);
            let got = feed(&mut reader, &bytes, &pieces).unwrap();
            let sent: Vec<_> = messages.into_iter().map(|(c, p, _)| (c, p)).collect();
            prop_assert_eq!(got, sent);
            prop_assert!(!reader.inside_frame());
        }
    }

    #[test]
    fn a_declared_length_allocates_nothing_by_itself() {
        let mut reader = reader(1 << 24);
        let header =
            Header { len: 1 << 24, kind: kind::MESSAGE, flags: flag::FIRST | flag::LAST, channel: 2, id: 0 }.encode();
        feed(&mut reader, &header, &[16]).unwrap();
        assert!(reader.buffer().0.capacity() <= OWN_STEP);
        assert!(reader.inside_frame());
    }

    #[test]
    fn a_level_0_frame_is_never_a_nop() {
        let mut reader = reader(1 << 24);
        let frame = crate::proto::frame::Header { len: 8, channel: crate::proto::channel::Channel::DATA }.encode();
        let bytes: Vec<u8> = frame.into_iter().chain([0; 8]).collect();
        // Its magic reads as the length of one.
        assert_eq!(feed(&mut reader, &bytes, &[16]).unwrap_err().code(), Code::ProtocolError);
    }

    #[test]
    fn pieces_have_to_add_up() {
        let whole = encode(2, 0, &[7; 100], 40);
        assert!(feed(&mut reader(1000), &whole, &[9]).is_ok());
        let second = HEADER_LEN + 4 + 40;
        for (at, byte) in [
            (second, 41u8),
            (second + 5, flag::LAST),
            (second + 5, flag::FIRST),
            (second + 4, 0x11),
            (16, 99),
            (16, 101),
        ] {
            let mut bytes = whole.clone();
            bytes[at] = byte;
            assert!(feed(&mut reader(1000), &bytes, &[9]).is_err(), "{at} {byte}");
        }
    }
}
