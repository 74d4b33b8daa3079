//! One connection to the other side: bytes out, frames in, each of them judged by its form.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use serde_json::Value;

use super::case::Role;
use super::socket::{End, Socket};
use super::stage::{Stage, demand, fail};
use super::verdict::{Played, Stop};
use super::wire::*;

/// What was agreed on so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Hello,
    Open,
}

pub(super) enum Event {
    Frame(Frame),
    End(End),
}

pub(super) struct Lane<'s> {
    pub(super) stage: &'s Stage<'s>,
    socket: Socket,
    pub(super) form: Form,
    pub(super) phase: Phase,
    inbox: Vec<u8>,
    end: Option<End>,
    /// The payloads of the handshake, as they were sent.
    pub(super) request: Vec<u8>,
    pub(super) response: Vec<u8>,
    /// What the other side said of its limits.
    pub(super) limits: Value,
    /// Credit that came for a channel, or for a stream.
    pub(super) granted: HashMap<(u16, u64), u64>,
    /// What the checker's own messages were charged.
    spent: HashMap<(u16, u64), u64>,
    /// The message of each channel that is not whole yet: its total, and what came of it.
    partial: HashMap<u16, (Frame, usize)>,
    /// Frames that came while credit was awaited.
    kept: Vec<u8>,
    /// The last frame of the other side, once it has ended the connection.
    pub(super) last_words: Vec<u8>,
    /// How many calls the checker opened.
    calls: u64,
}

impl<'s> Lane<'s> {
    pub(super) fn new(stage: &'s Stage<'s>, socket: Socket) -> Lane<'s> {
        Lane {
            stage,
            socket,
            form: Form::Plain,
            phase: Phase::Hello,
            inbox: Vec::new(),
            end: None,
            request: Vec::new(),
            response: Vec::new(),
            limits: Value::Null,
            granted: HashMap::new(),
            spent: HashMap::new(),
            partial: HashMap::new(),
            kept: Vec::new(),
            last_words: Vec::new(),
            calls: 0,
        }
    }

    // --- out ------------------------------------------------------------------------------------------

    /// All of it, while what comes is kept. It is no fault if the other side leaves meanwhile.
    pub(super) fn send(&mut self, bytes: &[u8]) -> Played {
        self.write(bytes, true).map(|_| ())
    }

    /// The same without reading; `false` once the other side has left.
    pub(super) fn send_deaf(&mut self, bytes: &[u8]) -> Played<bool> {
        self.write(bytes, false)
    }

    fn write(&mut self, mut bytes: &[u8], reading: bool) -> Played<bool> {
        while !bytes.is_empty() {
            let Some(count) = self.socket.write(bytes)? else { return Ok(false) };
            bytes = &bytes[count..];
            if count > 0 {
                continue;
            }
            let listen = reading && self.end.is_none();
            let ready = self.socket.ready(listen, self.stage.end)?;
            if ready.is_empty() {
                return Err(Stop::Timeout("the other side takes no more bytes".into()));
            }
            if listen && ready.contains(PollFlags::IN) {
                self.fill(Instant::now())?;
            }
        }
        Ok(true)
    }

    /// Each of them in a write of its own.
    pub(super) fn send_each<'a>(&mut self, pieces: impl IntoIterator<Item = &'a [u8]>) -> Played {
        pieces.into_iter().try_for_each(|piece| self.send(piece))
    }

    pub(super) fn octet_by_octet(&mut self, bytes: &[u8]) -> Played {
        self.send_each(bytes.chunks(1))
    }

    pub(super) fn half_close(&self) {
        self.socket.half_close();
    }

    // --- in -------------------------------------------------------------------------------------------

    /// Reads once; `false` when nothing came before the deadline.
    fn fill(&mut self, until: Instant) -> Played<bool> {
        match self.socket.read(&mut self.inbox, until)? {
            Some(Err(end)) => self.end = Some(end),
            Some(Ok(_)) => {}
            None => return Ok(false),
        }
        Ok(true)
    }

    /// Whatever comes next; `None` at the deadline.
    pub(super) fn event(&mut self, until: Instant) -> Played<Option<Event>> {
        loop {
            match take(self.form, &self.inbox) {
                Ok(Some((frame, length))) => {
                    self.inbox.drain(..length);
                    return Ok(Some(Event::Frame(frame)));
                }
                Ok(None) => {}
                Err(why) => return fail(why),
            }
            match self.end {
                Some(End::Orderly) if !self.inbox.is_empty() => {
                    return fail(format!("the stream ended {} bytes into a frame", self.inbox.len()));
                }
                Some(end) => return Ok(Some(Event::End(end))),
                None => {}
            }
            if !self.fill(until)? {
                return Ok(None);
            }
        }
    }

    /// Whether the stream has ended by then; frames stay where they are.
    pub(super) fn look(&mut self, until: Instant) -> Played<bool> {
        while self.end.is_none() && self.fill(until)? {}
        Ok(self.end.is_some())
    }

    /// Whether the stream ends without another frame.
    pub(super) fn ends_before_a_frame(&mut self) -> Played<bool> {
        while self.end.is_none() && self.inbox.is_empty() && self.fill(self.stage.end)? {}
        Ok(self.end.is_some() && self.inbox.is_empty())
    }

    /// The next frame that is not about the connection itself: pings are answered, credit is noted, what may be ignored is.
    pub(super) fn next(&mut self, until: Instant) -> Played<Option<Event>> {
        loop {
            let Some(event) = self.event(until)? else { return Ok(None) };
            let Event::Frame(frame) = &event else { return Ok(Some(event)) };
            match frame.kind {
                NOP => {}
                kind if kind & 0xF0 == GREASE => {}
                PING => {
                    let pong = control(PONG, &frame.payload[..8]);
                    self.send(&pong)?;
                }
                CREDIT => self.note_credit(frame),
                _ => return Ok(Some(event)),
            }
        }
    }

    pub(super) fn note_credit(&mut self, frame: &Frame) {
        let total = u64::from_le_bytes(frame.payload[..8].try_into().unwrap_or_default());
        let had = self.granted.entry((frame.channel, frame.id)).or_default();
        *had = total.max(*had);
    }

    /// The next frame, of whatever type.
    pub(super) fn frame(&mut self) -> Played<Frame> {
        match self.next(self.stage.end)? {
            Some(Event::Frame(frame)) => Ok(frame),
            Some(Event::End(end)) => fail(format!("the connection ended ({end:?})")),
            None => Err(Stop::Timeout("nothing more came".into())),
        }
    }

    /// The payload of the next frame of the handshake.
    pub(super) fn expect_hello(&mut self) -> Played<Vec<u8>> {
        let frame = self.frame()?;
        demand(frame.channel == 0, || format!("the handshake on another channel: {frame:?}"))?;
        Ok(frame.payload)
    }

    /// This frame comes next again.
    pub(super) fn put_back(&mut self, frame: &Frame) {
        let Frame { kind, flags, channel, id, payload } = frame;
        self.inbox.splice(..0, super::wire::frame(*kind, *flags, *channel, *id, payload));
    }

    /// The next frame has to be of this type.
    pub(super) fn expect(&mut self, kind: u8) -> Played<Frame> {
        let frame = self.frame()?;
        demand(frame.kind == kind, || format!("{} is due, and {frame:?} came", kind_name(kind)))?;
        Ok(frame)
    }

    /// The next message, whole: its pieces put together, its extensions taken off.
    pub(super) fn expect_message(&mut self) -> Played<Frame> {
        loop {
            let frame = self.frame()?;
            demand(frame.kind >= MESSAGE, || format!("a message is due, and {frame:?} came"))?;
            if let Some(whole) = self.piece(frame)? {
                return Ok(whole);
            }
        }
    }

    pub(super) fn piece(&mut self, mut frame: Frame) -> Played<Option<Frame>> {
        if self.form == Form::Plain {
            return Ok(Some(frame));
        }
        let (first, last) = (frame.flags & FIRST != 0, frame.flags & LAST != 0);
        if first && frame.flags & EXT != 0 {
            let length = frame.payload.get(..2).map_or(0, |b| usize::from(u16::from_le_bytes([b[0], b[1]])));
            demand(length + 2 <= frame.payload.len(), || format!("extensions beyond their frame: {frame:?}"))?;
            frame.payload.drain(..2 + length);
        }
        let open = self.partial.remove(&frame.channel);
        demand(first == open.is_none(), || format!("a piece out of its place: {frame:?}"))?;
        let (mut whole, total) = match open {
            Some((mut whole, total)) => {
                let same = (whole.kind, whole.channel, whole.id) == (frame.kind, frame.channel, frame.id);
                demand(same, || format!("a piece of another message: {frame:?}"))?;
                whole.payload.append(&mut frame.payload);
                (whole, total)
            }
            None if last => return Ok(Some(frame)),
            None => {
                demand(frame.payload.len() > 4, || format!("no total: {frame:?}"))?;
                let total: Vec<u8> = frame.payload.drain(..4).collect();
                let total = u32::from_le_bytes(total.try_into().unwrap_or_default()) as usize;
                (frame, total)
            }
        };
        demand(whole.payload.len() <= total && last == (whole.payload.len() == total), || {
            format!("{} of {total} bytes, and last is {last}", whole.payload.len())
        })?;
        if last {
            whole.flags |= LAST;
            return Ok(Some(whole));
        }
        self.partial.insert(whole.channel, (whole, total));
        Ok(None)
    }

    /// Nothing may come for so long, but what may be ignored.
    pub(super) fn expect_quiet(&mut self, time: Duration) -> Played {
        match self.next(self.stage.within(time))? {
            None => Ok(()),
            Some(Event::Frame(frame)) => fail(format!("nothing is due, and {frame:?} came")),
            Some(Event::End(end)) => fail(format!("the connection ended ({end:?})")),
        }
    }

    // --- ids, limits, credit --------------------------------------------------------------------------

    /// The id of the checker's call with this number, from 0 on.
    pub(super) fn own(&self, number: u64) -> u64 {
        2 * number + if self.stage.role() == Role::Server { 1 } else { 2 }
    }

    /// The id of a call of the other side's.
    pub(super) fn others(&self, number: u64) -> u64 {
        2 * number + if self.stage.role() == Role::Server { 2 } else { 1 }
    }

    /// The next id that the checker has not used.
    pub(super) fn fresh(&mut self) -> u64 {
        self.calls += 1;
        self.own(self.calls - 1)
    }

    /// A limit of the other side, or what counts if it does not say it.
    pub(super) fn limit(&self, name: &str) -> u64 {
        let absent = match name {
            "max_message" => LARGEST as u64,
            "max_calls" => 1024,
            "window" => 65_536,
            "stream_window" => 262_144,
            _ => 0,
        };
        self.limits[name].as_u64().unwrap_or(absent).min(if name == "max_message" { LARGEST as u64 } else { u64::MAX })
    }

    /// Waits until a message may begin on a channel, or in a stream, and charges it.
    pub(super) fn charge(&mut self, channel: u16, stream: u64, length: usize) -> Played {
        if self.form == Form::Plain {
            return Ok(());
        }
        let key = if stream == 0 { (channel, 0) } else { (0, stream) };
        let window = self.limit(if stream == 0 { "window" } else { "stream_window" });
        loop {
            let spent = self.spent.get(&key).copied().unwrap_or(0);
            if spent < window.max(self.granted.get(&key).copied().unwrap_or(0)) {
                break;
            }
            match self.event(self.stage.end)? {
                Some(Event::Frame(frame)) if frame.kind == CREDIT => self.note_credit(&frame),
                Some(Event::Frame(frame)) => {
                    // What else comes while credit is awaited stays for who asks for it.
                    let bytes = super::wire::frame(frame.kind, frame.flags, frame.channel, frame.id, &frame.payload);
                    self.kept.extend(bytes);
                }
                Some(Event::End(end)) => return fail(format!("the connection ended ({end:?})")),
                None => return Err(Stop::Timeout("no credit came".into())),
            }
        }
        if !self.kept.is_empty() {
            let kept = std::mem::take(&mut self.kept);
            self.inbox.splice(..0, kept);
        }
        *self.spent.entry(key).or_default() += length as u64 + CHARGE;
        Ok(())
    }
}
