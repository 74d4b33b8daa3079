//! Operations on their way from JavaScript: all that one turn of its loop started, in one call.

use std::rc::Rc;

use hostlane_bridge::{CallOptions, Channel, Code, Error, Outcome, Peer, Result, Started};
use napi::bindgen_prelude::{Env, Float64Array, Uint8Array, Uint32Array};
use napi_derive::napi;

use crate::environment::{Environment, Many, Starting, Takes};
use crate::exchange::ROW;
use crate::fds::duplicates;
use crate::options::deadline;

/// What the verbs are (`Verb` in native.ts, which says what the numbers of a row are).
mod verb {
    pub(super) const ACCEPT: u32 = 0;
    pub(super) const RECV: u32 = 1;
    pub(super) const RECV_BATCH: u32 = 2;
    pub(super) const PING: u32 = 3;
    pub(super) const DRAIN: u32 = 4;
    pub(super) const CALL_ENDED: u32 = 5;
    pub(super) const STREAM_RECV: u32 = 6;
    pub(super) const STREAM_FINISH: u32 = 7;
    pub(super) const SEND: u32 = 8;
    pub(super) const SEND_BATCH: u32 = 9;
    pub(super) const REQUEST: u32 = 10;
    pub(super) const REPLY: u32 = 11;
    pub(super) const FAIL: u32 = 12;
    pub(super) const STREAM_SEND: u32 = 13;
    pub(super) const LINK_EVENTS: u32 = 14;
    pub(super) const LINK_REQUEST: u32 = 15;
    pub(super) const LINK_SEND: u32 = 16;
}

/// Where JavaScript puts what it starts.
pub(crate) struct Submissions {
    ops: Float64Array,
    out: Uint8Array,
    /// Lengths of batched messages, and numbers of descriptors.
    lengths: Uint32Array,
}

impl Submissions {
    pub(crate) fn new(ops: Float64Array, out: Uint8Array, lengths: Uint32Array) -> Submissions {
        Submissions { ops, out, lengths }
    }
}

/// Starts the first `count` operations of the shared rows; the payload of the last one is `large` if that is given. How many
/// outcomes there are at once, and `MORE`.
#[napi(catch_unwind)]
pub fn submit(env: Env, count: u32, large: Option<&[u8]>) -> napi::Result<u32> {
    let this = Environment::of(&env)?;
    let submissions = this.submissions.borrow();
    let rows = submissions.ops.chunks_exact(ROW).take(count as usize);
    let mut source = Source { out: &submissions.out, lengths: &submissions.lengths, large: None };
    this.start(|starting| {
        // A cork for every peer that is sent more than one thing, so that it is one write.
        let corked = crowded(&this, rows.clone());
        let corks: Vec<_> = corked.iter().map(|peer| this.context.cork(peer)).collect();
        let last = rows.len().saturating_sub(1);
        for (at, row) in rows.enumerate() {
            if at == last {
                source.large = large;
            }
            start(&this, starting, row, &mut source);
        }
        drop(corks);
    })
}

/// The peers that more than one of `rows` sends to.
fn crowded<'a>(this: &Environment, rows: impl ExactSizeIterator<Item = &'a [f64]>) -> Vec<Rc<Peer>> {
    if rows.len() < 2 {
        return Vec::new();
    }
    let mut peers: Vec<(f64, u32)> = Vec::new();
    for row in rows {
        let target = row[2];
        let peer = match row[0] as u32 {
            verb::SEND | verb::SEND_BATCH | verb::REQUEST => target,
            verb::REPLY | verb::FAIL => this.calls.get(target).map_or(0.0, |call| call.peer),
            verb::STREAM_SEND | verb::STREAM_FINISH => this.streams.get(target).map_or(0.0, |stream| stream.peer),
            _ => continue,
        };
        match peers.iter_mut().find(|(number, _)| *number == peer) {
            Some((_, times)) => *times += 1,
            None => peers.push((peer, 1)),
        }
    }
    peers.into_iter().filter(|&(_, times)| times > 1).filter_map(|(number, _)| this.peers.get(number).ok()).collect()
}

/// Payloads in the order of the rows.
struct Source<'a> {
    out: &'a [u8],
    lengths: &'a [u32],
    large: Option<&'a [u8]>,
}

impl<'a> Source<'a> {
    fn bytes(&mut self, len: f64) -> &'a [u8] {
        if let Some(large) = self.large.take() {
            return large;
        }
        let (bytes, rest) = self.out.split_at((len as usize).min(self.out.len()));
        self.out = rest;
        bytes
    }

    /// The next of the numbers of descriptors.
    fn numbers(&mut self, count: f64) -> &'a [u32] {
        let (numbers, rest) = self.lengths.split_at((count as usize).min(self.lengths.len()));
        self.lengths = rest;
        numbers
    }

    /// Many payloads that are one behind the other.
    fn payloads(&mut self, count: f64, len: f64) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let (lengths, rest) = self.lengths.split_at((count as usize).min(self.lengths.len()));
        self.lengths = rest;
        cut(self.bytes(len), lengths)
    }
}

/// Payloads that are one behind the other.
pub(crate) fn cut<'a>(mut bytes: &'a [u8], lengths: &'a [u32]) -> impl Iterator<Item = &'a [u8]> {
    lengths.iter().map(move |&len| {
        let (payload, rest) = bytes.split_at((len as usize).min(bytes.len()));
        bytes = rest;
        payload
    })
}

fn start(this: &Environment, starting: &mut Starting<'_>, row: &[f64], source: &mut Source<'_>) {
    let &[what, js, target, channel, len, timeout, extra, marks, ..] = row else { return };
    let js = js as u32;
    let until = || deadline(timeout);
    let context = &this.context;
    match what as u32 {
        verb::ACCEPT => {
            starting.one(js, Takes::default(), || context.accept(&*this.listeners.get(target)?, until()));
        }
        verb::RECV => starting.one(js, Takes { peer: target, ..Takes::default() }, || {
            let channel = if channel < 0.0 { None } else { Some(Channel::new(channel as u16)?) };
            context.recv(&*this.peers.get(target)?, channel, until())
        }),
        verb::RECV_BATCH => {
            let many = Many { most: extra as usize, deadline: until() };
            let takes = Takes { peer: target, many: Some(many), ..Takes::default() };
            starting.one(js, takes, || context.readable(&*this.peers.get(target)?, many.deadline));
        }
        verb::PING => starting.one(js, Takes::default(), || context.ping(&*this.peers.get(target)?, until())),
        verb::DRAIN => starting.one(js, Takes::default(), || context.drain(&*this.peers.get(target)?, until())),
        verb::CALL_ENDED => {
            let call = this.calls.get(target);
            match call.as_ref().map(|call| (call, call.link.as_ref())) {
                // Nothing wakes for a link that is over, and its calls are.
                Ok((_, Some(link))) if link.is_over() => {
                    starting.one(js, Takes::default(), || Ok(Started::Done(Outcome::CallEnded)));
                }
                Ok((call, Some(link))) => starting.on_link(js, |_| {
                    link.await_end(js, &call.message)?;
                    Ok(true)
                }),
                _ => starting.one(js, Takes::default(), || context.call_ended(&call?.message, until())),
            }
        }
        verb::STREAM_RECV => {
            starting.one(js, Takes::default(), || context.stream_recv(&this.streams.get(target)?.object, until()));
        }
        verb::STREAM_FINISH => {
            starting.one(js, Takes::default(), || context.stream_finish(&this.streams.get(target)?.object, until()));
        }
        verb::STREAM_SEND => {
            let data = source.bytes(len);
            starting
                .one(js, Takes::default(), || context.stream_send(&this.streams.get(target)?.object, data, until()));
        }
        verb::SEND => {
            let options = options(source, marks);
            let fds = source.numbers(extra);
            let data = source.bytes(len);
            starting.one(js, Takes::default(), || {
                let options = options.channel(Channel::new(channel as u16)?).fds(duplicates(fds)?);
                context.send_with(&*this.peers.get(target)?, data, options, until())
            });
        }
        verb::SEND_BATCH => {
            let payloads = source.payloads(extra, len);
            starting.one(js, Takes::default(), || {
                context.send_batch(&*this.peers.get(target)?, Channel::new(channel as u16)?, payloads, until())
            });
        }
        verb::REQUEST => {
            let options = options(source, marks);
            let fds = source.numbers(extra);
            let data = source.bytes(len);
            let takes = Takes { peer: target, channel: channel as u16, many: None };
            starting.one(js, takes, || {
                let options = options.channel(Channel::new(channel as u16)?).fds(duplicates(fds)?);
                context.request_with(&*this.peers.get(target)?, data, options, until())
            });
        }
        verb::REPLY => {
            let data = source.bytes(len);
            starting.one(js, Takes::default(), || {
                let call = this.calls.get(target)?;
                let started = match &call.link {
                    Some(link) => Environment::answered_on_link(link.link.reply(&call.message, data)),
                    None => context.reply(&call.message, data, until()),
                };
                answered(this, target, started)
            });
        }
        verb::FAIL => {
            let data = source.bytes(len);
            starting.one(js, Takes::default(), || {
                let call = this.calls.get(target)?;
                let started = match &call.link {
                    Some(link) => Environment::answered_on_link(link.link.fail(&call.message, extra as u32, data)),
                    None => context.fail(&call.message, extra as u32, data, until()),
                };
                answered(this, target, started)
            });
        }
        verb::LINK_EVENTS => starting.on_link(js, |exchange| {
            let link = this.links.get(target)?;
            let most = extra as usize;
            // Without room it gets its turn with the next drain, like one that has to wait.
            let room = exchange.room() >= 2 && !this.is_late();
            if room && this.put_events(exchange, js, target, &link, most)? {
                return Ok(false);
            }
            link.await_events(js, most);
            if !room {
                this.nudge();
            }
            Ok(true)
        }),
        verb::LINK_REQUEST => {
            let options = options(source, marks);
            let data = source.bytes(len);
            starting.on_link(js, |_| {
                let mut options = options.channel(Channel::new(channel as u16)?);
                let until = until();
                if let Some(at) = until {
                    options = options.deadline(at);
                }
                this.links.get(target)?.request(js, channel as u16, data, options, until)?;
                Ok(true)
            });
        }
        verb::LINK_SEND => {
            let options = options(source, marks);
            let data = source.bytes(len);
            starting.one(js, Takes::default(), || {
                let options = options.channel(Channel::new(channel as u16)?);
                Environment::answered_on_link(this.links.get(target)?.link.send(data, options))
            });
        }
        other => starting.one(js, Takes::default(), || Err(Error::new(Code::Internal, format!("no verb {other}")))),
    }
}

/// An answer that was taken settles the call; after one that was refused, another may follow.
fn answered(this: &Environment, call: f64, started: Result<Started>) -> Result<Started> {
    if started.is_ok() {
        this.calls.remove(call);
    }
    started
}

/// What goes with a message: `marks` is the length of its idempotency key and 65536 times the length of its trace context, both
/// in front of the payload.
fn options(source: &mut Source<'_>, marks: f64) -> CallOptions {
    let mut options = CallOptions::new();
    if marks > 0.0 {
        let large = source.large.take();
        let (key, trace) = (marks as usize % 65536, marks as usize / 65536);
        if key > 0 {
            options = options.idempotency_key(source.bytes(key as f64).to_vec());
        }
        if trace > 0 {
            options = options.trace(source.bytes(trace as f64).to_vec());
        }
        source.large = large;
    }
    options
}
