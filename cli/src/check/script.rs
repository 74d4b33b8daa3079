//! What cases are made of: calls and messages that have to come back, and the ways a connection may end.

use std::time::Duration;

use super::case::Role;
use super::hello::json_object;
use super::lane::{Event, Lane, Phase};
use super::socket::End;
use super::stage::{demand, fail};
use super::verdict::{Exit, Played, Stop, Verdict};
use super::wire::*;

/// A message with this payload must not be delivered, so it must never come back.
pub(super) const NEVER: &[u8] = b"never";

impl Lane<'_> {
    // --- messages and calls ---------------------------------------------------------------------------

    /// A message as this level has it.
    pub(super) fn as_message(&self, channel: u16, payload: impl AsRef<[u8]>) -> Vec<u8> {
        if self.form == Form::Plain { plain(channel, payload) } else { message(channel, payload) }
    }

    /// A message is sent, as soon as there is credit.
    pub(super) fn say(&mut self, channel: u16, payload: &[u8]) -> Played {
        self.charge(channel, 0, payload.len())?;
        let bytes = self.as_message(channel, payload);
        self.send(&bytes)
    }

    /// The next message is this one.
    pub(super) fn hears(&mut self, channel: u16, payload: &[u8]) -> Played {
        let came = self.expect_message()?;
        demand(came.kind == MESSAGE && came.channel == channel && came.payload == payload, || {
            format!("a message of {} bytes on channel {channel} is due, and {came:?} came", payload.len())
        })
    }

    /// A message comes back on its channel.
    pub(super) fn echoes(&mut self, channel: u16, payload: &[u8]) -> Played {
        self.say(channel, payload)?;
        self.hears(channel, payload)
    }

    /// A call is begun on COMMAND; its id.
    pub(super) fn begin(&mut self, payload: &[u8]) -> Played<u64> {
        self.charge(COMMAND, 0, payload.len())?;
        let id = self.fresh();
        let bytes = if self.form == Form::Plain { plain(COMMAND, payload) } else { request(id, payload) };
        self.send(&bytes)?;
        Ok(id)
    }

    /// The reply to a call.
    pub(super) fn reply(&mut self, id: u64, payload: &[u8]) -> Played {
        let came = self.expect_message()?;
        let fits = if self.form == Form::Plain {
            came.channel == COMMAND
        } else {
            came.kind == RESPONSE && came.channel == COMMAND && came.id == id
        };
        demand(fits && came.payload == payload, || format!("the reply to call {id} is due, and {came:?} came"))
    }

    pub(super) fn calls(&mut self, payload: &[u8]) -> Played {
        let id = self.begin(payload)?;
        self.reply(id, payload)
    }

    /// A client under test: its call.
    pub(super) fn expect_call(&mut self) -> Played<u64> {
        let call = self.expect_message()?;
        let fits = self.form == Form::Plain || call.kind == REQUEST && call.id % 2 == 1;
        demand(fits && call.channel == COMMAND && call.payload == self.stage.payload(), || {
            format!("the client's call is due, and {call:?} came")
        })?;
        Ok(call.id)
    }

    /// The answer to it.
    pub(super) fn as_reply(&self, id: u64, payload: impl AsRef<[u8]>) -> Vec<u8> {
        if self.form == Form::Plain { plain(COMMAND, payload) } else { frame(RESPONSE, WHOLE, COMMAND, id, payload) }
    }

    /// The connection is as good as any: the checker's call is answered, or that of the client under test.
    pub(super) fn works(&mut self) -> Played {
        match self.stage.role() {
            Role::Server => self.calls(b"are you there?"),
            Role::Client => {
                let id = self.expect_call()?;
                self.stage.exit(Exit::Success);
                let reply = self.as_reply(id, self.stage.payload());
                self.send(&reply)
            }
        }
    }

    // --- streams --------------------------------------------------------------------------------------

    /// A stream is begun, with these flags beside its own.
    pub(super) fn stream(&mut self, flags: u8) -> Played<u64> {
        let payload = b"stream echo";
        self.charge(COMMAND, 0, payload.len())?;
        let id = self.fresh();
        self.send(&frame(REQUEST, WHOLE | STREAMING | flags, COMMAND, id, payload))?;
        Ok(id)
    }

    /// An item, as soon as the stream has credit.
    pub(super) fn item(&mut self, id: u64, payload: &[u8], flags: u8) -> Played {
        self.charge(COMMAND, id, payload.len())?;
        self.send(&frame(STREAM, WHOLE | flags, COMMAND, id, payload))
    }

    pub(super) fn expect_item(&mut self, id: u64, payload: &[u8]) -> Played {
        let came = self.expect_message()?;
        demand(came.kind == STREAM && (came.channel, came.id) == (COMMAND, id) && came.payload == payload, || {
            format!("an item of {} bytes of stream {id} is due, and {came:?} came", payload.len())
        })
    }

    /// The stream's answer, whatever it says.
    pub(super) fn expect_stream_end(&mut self, id: u64) -> Played {
        let came = self.expect_message()?;
        demand(came.kind == RESPONSE && (came.channel, came.id) == (COMMAND, id), || {
            format!("the reply to stream {id} is due, and {came:?} came")
        })
    }

    /// The next frame is PONG with this token; the call of a client under test may come before it.
    pub(super) fn expect_pong(&mut self, token: &[u8]) -> Played {
        let mut pong = self.frame()?;
        let call = (self.stage.role() == Role::Client && pong.kind == REQUEST).then_some(pong.clone());
        if call.is_some() {
            pong = self.frame()?;
        }
        call.into_iter().for_each(|call| self.put_back(&call));
        demand(pong.kind == PONG, || format!("PONG is due, and {pong:?} came"))?;
        demand(pong.payload == token, || format!("PONG with {token:02x?} is due, and {pong:?} came"))
    }

    /// This message again and again, whatever credit there is for its channel or stream. The other side has to end the
    /// connection, or its program took them all: then it gave credit for them.
    pub(super) fn overruns(&mut self, key: (u16, u64), bytes: &[u8], count: u64) -> Played {
        let mut alive = true;
        for _ in 0..count {
            alive = alive && self.send_deaf(bytes)?;
        }
        let charged = (bytes.len() as u64 - 16 + CHARGE) * (count - 1);
        while alive && self.granted.get(&key).copied().unwrap_or(0) <= charged {
            match self.event(self.stage.within(Duration::from_secs(2)))? {
                Some(Event::Frame(frame)) if frame.kind == CREDIT => self.note_credit(&frame),
                Some(Event::Frame(frame)) if frame.kind == CLOSE => {
                    self.put_back(&frame);
                    alive = false;
                }
                Some(Event::Frame(_)) => {}
                Some(Event::End(_)) | None => alive = false,
            }
        }
        if alive {
            self.stage.info("the program takes it all");
            return Ok(());
        }
        self.expect_error("credit_exceeded")
    }

    // --- control messages of level 0 ------------------------------------------------------------------

    /// The next frame is a control message of this type.
    pub(super) fn expect_control(&mut self, kind: &str) -> Played {
        let came = self.frame()?;
        demand(came.channel == 0 && json_object(&came.payload)?["type"] == kind, || {
            format!("{kind} is due, and {came:?} came")
        })
    }

    // --- the end --------------------------------------------------------------------------------------

    /// Leaves in good order, or lets a client that has its reply do it; the other side has to end its half too.
    pub(super) fn leave(&mut self) -> Played {
        let server = self.stage.role() == Role::Server;
        if server {
            if self.form == Form::Numbered {
                self.send(&control(CLOSE, coded("closed", "")))?;
            }
            self.half_close();
        }
        let due = if self.form == Form::Numbered && !server { "closed" } else { "" };
        self.expect_closing(due, |_| Ok(()))
    }

    /// The other side ends the connection by itself, after whatever it still had to say.
    pub(super) fn expect_close(&mut self) -> Played {
        self.expect_closing("", |_| Ok(()))
    }

    /// The same in a handshake that was broken off, where a refusal may come first.
    pub(super) fn expect_close_or_refusal(&mut self) -> Played {
        self.expect_closing("any", |_| Ok(()))
    }

    /// The other side ends the connection, and what must not be delivered was not.
    pub(super) fn expect_undelivered(&mut self) -> Played {
        self.expect_closing("any", undelivered)
    }

    /// Whether the other side ends the connection within this time; what comes meanwhile is kept.
    pub(super) fn ends_within(&mut self, time: Duration) -> Played<bool> {
        let until = self.stage.within(time);
        self.look(until)
    }

    /// The other side found a fault: the connection ends for one of these reasons, with `|` between them, and what was
    /// wrong was not delivered.
    pub(super) fn expect_error(&mut self, names: &str) -> Played {
        self.stage.exit(Exit::Failure);
        let hello = self.phase == Phase::Hello;
        let names = if hello && self.stage.role() == Role::Client { "" } else { names };
        self.expect_closing(names, |came| {
            undelivered(came)?;
            demand(!hello, || format!("it was accepted: {came:?}"))
        })
    }

    /// Reads to the end. `due` are the reasons one of which has to be told; empty where none is.
    fn expect_closing(&mut self, due: &str, judge: impl Fn(&Frame) -> Played) -> Played {
        let mut reason: Option<String> = None;
        loop {
            match self.event(self.stage.end)? {
                None => {
                    self.stage.closing(Verdict::Timeout, "");
                    return Err(Stop::Timeout("the connection did not end".into()));
                }
                Some(Event::End(end)) => {
                    self.judge_end(end, due, reason.as_deref());
                    return Ok(());
                }
                Some(Event::Frame(frame)) if reason.is_some() => {
                    self.stage.closing(Verdict::Fail, format!("behind its last frame came {frame:?}"));
                    return fail("the connection went on after its end");
                }
                Some(Event::Frame(frame)) => match self.reason(&frame)? {
                    Some(told) => {
                        reason = Some(told);
                        self.last_words = frame.payload;
                    }
                    None => judge(&frame)?,
                },
            }
        }
    }

    /// The reason that a last frame tells.
    fn reason(&self, frame: &Frame) -> Played<Option<String>> {
        if self.form == Form::Numbered && frame.kind == CLOSE {
            let code = u32::from_le_bytes(frame.payload[..4].try_into().unwrap_or_default());
            return Ok(Some(named(code)));
        }
        if self.form == Form::Numbered || frame.channel != 0 || self.phase != Phase::Hello {
            return Ok(None);
        }
        let refusal = json_object(&frame.payload)?;
        let error = &refusal["error"];
        if !error.is_object() {
            return Ok(None);
        }
        let says = |member: &str| error[member].as_str().is_some_and(|text| !text.is_empty());
        let code = error["code"].as_u64().and_then(|code| u32::try_from(code).ok());
        let bare = refusal.get("channels").is_none() && refusal.get("peer_id").is_none();
        let head = refusal["protocol"] == "ipcprims" && refusal["version"] == "1.0";
        match code {
            Some(code) if bare && head && says("name") && says("message") => Ok(Some(named(code))),
            _ => fail(format!("a refusal against section 4: {refusal}")),
        }
    }

    fn judge_end(&self, end: End, due: &str, reason: Option<&str>) {
        // A refusal is never owed, CLOSE is.
        let owed = !due.is_empty() && due != "any" && self.form == Form::Numbered;
        match reason {
            Some(told) if due.is_empty() && told == "closed" => self.stage.closing(Verdict::Pass, ""),
            Some(told) if due == "any" || due.split('|').any(|name| name == told) => {
                self.stage.closing(Verdict::Pass, "");
            }
            Some(told) => {
                let due = if due.is_empty() { "no reason" } else { due };
                self.stage.closing(Verdict::Fail, format!("ended with {told}, and {due} is due"));
            }
            None if owed && end == End::Orderly => {
                self.stage.closing(Verdict::Unclean, format!("ended without CLOSE, and {due} is due"));
            }
            None if owed => self.stage.closing(Verdict::NonStrict, "ended by a reset, without CLOSE"),
            None => self.stage.closing(Verdict::Pass, ""),
        }
    }
}

fn undelivered(came: &Frame) -> Played {
    let delivered = came.kind >= MESSAGE && came.payload.windows(NEVER.len()).any(|part| part == NEVER);
    demand(!delivered, || format!("what must not be delivered was: {came:?}"))
}
