//! What was asked of the connections, and what may therefore come out of them. It knows the rules of
//! docs/protocol.md and nothing of the code that keeps them; every breach is a panic.

use std::collections::BTreeMap;
use std::time::Instant;

use super::payload;
use crate::error::{Code, Error, Sent};

/// How far a message is known to have come, as its sender sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    /// Accepted, no more is known.
    Open,
    /// The carrier took all of it, or nothing was promised about more.
    Left,
    /// Provably not sent.
    Never,
    /// Given up, or its connection ended: it may arrive or not.
    Unknown,
}

#[derive(Debug)]
pub(super) struct Entry {
    pub(super) link: usize,
    pub(super) from: usize,
    pub(super) channel: u16,
    pub(super) len: usize,
    pub(super) request: bool,
    pub(super) state: State,
    pub(super) delivered: bool,
    /// A policy may drop it.
    pub(super) lossy: bool,
    /// Its place among the others of its channel is fixed.
    pub(super) firm: bool,
    /// Its receiver may find it pointless and throw it away.
    pub(super) moot: bool,
}

impl Entry {
    fn must_arrive(&self, unheard: &[(usize, usize)]) -> bool {
        let accepted = matches!(self.state, State::Open | State::Left);
        accepted && !self.delivered && !self.lossy && !self.moot && !unheard.contains(&(self.link, self.from))
    }
}

/// The messages and requests of one side on one channel of one connection.
#[derive(Debug, Default)]
struct Lane {
    order: Vec<u64>,
    /// Of `order`: everything before it is accounted for.
    firm: usize,
    /// The request delivered last.
    request: Option<u64>,
}

#[derive(Debug)]
pub(super) struct Call {
    pub(super) link: usize,
    pub(super) caller: usize,
    /// The id on the wire; 0 on level 0.
    pub(super) id: u64,
    pub(super) request: u64,
    pub(super) stream: bool,
    /// Until when the caller waits, as the other side was told.
    pub(super) told: Option<Instant>,
    /// The caller left.
    pub(super) given_up: bool,
    pub(super) ended: bool,
    pub(super) answer: Option<(u64, Option<u32>)>,
    pub(super) abandoned: bool,
    /// Items of the caller, items of the other side.
    pub(super) items: [Items; 2],
}

/// One direction of a stream.
#[derive(Debug, Default)]
pub(super) struct Items {
    order: Vec<u64>,
    next: usize,
    pub(super) ended: bool,
}

#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) entries: Vec<Entry>,
    pub(super) calls: Vec<Call>,
    lanes: BTreeMap<(usize, usize, u16), Lane>,
    by_id: BTreeMap<(usize, usize, u64), usize>,
    /// Connections that lost something for a known reason.
    pub(super) broken: Vec<bool>,
    /// Sides of connections whose messages nobody has to take: link, side.
    pub(super) unheard: Vec<(usize, usize)>,
    /// Bytes are spoilt on their way: only what needs no trust in them is checked.
    pub(super) hostile: bool,
}

impl Ledger {
    fn entry(&mut self, entry: Entry) -> u64 {
        self.entries.push(entry);
        self.entries.len() as u64 - 1
    }

    /// A one-way message or request is about to be handed in.
    #[allow(clippy::too_many_arguments)] // One row of the book.
    pub(super) fn posted(
        &mut self,
        link: usize,
        from: usize,
        channel: u16,
        len: usize,
        request: bool,
        lossy: bool,
        firm: bool,
    ) -> u64 {
        let (state, delivered, moot) = (State::Open, false, false);
        let tag = self.entry(Entry { link, from, channel, len, request, state, delivered, lossy, firm, moot });
        self.lanes.entry((link, from, channel)).or_default().order.push(tag);
        tag
    }

    /// An answer or an item, whose place is that of its call.
    pub(super) fn loose(&mut self, link: usize, from: usize, len: usize) -> u64 {
        let (state, delivered, lossy) = (State::Open, false, false);
        let (channel, request, firm, moot) = (0, false, false, false);
        self.entry(Entry { link, from, channel, len, request, state, delivered, lossy, firm, moot })
    }

    pub(super) fn call(&mut self, call: Call) -> usize {
        self.by_id.insert((call.link, call.caller, call.id), self.calls.len());
        self.calls.push(call);
        self.calls.len() - 1
    }

    pub(super) fn call_by_id(&self, link: usize, caller: usize, id: u64) -> Option<usize> {
        self.by_id.get(&(link, caller, id)).copied()
    }

    pub(super) fn item(&mut self, call: usize, direction: usize, tag: u64) {
        self.calls[call].items[direction].order.push(tag);
    }

    /// The sender learnt that all of it left.
    pub(super) fn left(&mut self, tag: u64) {
        let entry = &mut self.entries[tag as usize];
        if entry.state == State::Open {
            entry.state = State::Left;
        }
    }

    /// The sender learnt `error`.
    pub(super) fn failed(&mut self, tag: u64, error: &Error) {
        let hostile = self.hostile;
        let entry = &mut self.entries[tag as usize];
        match error.sent() {
            Sent::No => {
                assert!(hostile || !entry.delivered, "{tag} arrived and its sender is told sent: no ({error:?})");
                entry.state = State::Never;
            }
            Sent::Maybe => entry.state = State::Unknown,
        }
    }

    /// A message arrived on a channel. `id` is that of a request.
    pub(super) fn arrived(
        &mut self,
        link: usize,
        from: usize,
        channel: u16,
        bytes: &[u8],
        id: Option<u64>,
        trace: Option<&[u8]>,
    ) -> Option<u64> {
        if self.hostile {
            return None;
        }
        let what = format!("on link {link} from {from} channel {channel} id {id:?} {} bytes", bytes.len());
        let tag = match (id, trace.and_then(payload::tag).or_else(|| payload::tag(bytes))) {
            (Some(id), _) => {
                let call = self.call_by_id(link, from, id);
                self.calls[call.unwrap_or_else(|| panic!("a request nobody made {what}"))].request
            }
            (None, Some(tag)) => tag,
            (None, None) => {
                self.anonymous(link, from, channel, bytes).unwrap_or_else(|| panic!("unknown message {what}"))
            }
        };
        let entry = self.entries.get(tag as usize).unwrap_or_else(|| panic!("no such message {tag} {what}"));
        assert!(payload::is(bytes, tag, entry.len), "message {tag} changed on its way {what}: {entry:?}");
        assert_eq!((entry.link, entry.from, entry.channel), (link, from, channel), "message {tag} went astray");
        assert_eq!(entry.request && id.is_some(), id.is_some(), "message {tag} became a request {what}");
        self.deliver(tag, &what);
        self.order(tag, &what);
        Some(tag)
    }

    /// The oldest message without a name that may be this one.
    fn anonymous(&self, link: usize, from: usize, channel: u16, bytes: &[u8]) -> Option<u64> {
        let lane = self.lanes.get(&(link, from, channel))?;
        lane.order[lane.firm..].iter().copied().find(|&tag| {
            let entry = &self.entries[tag as usize];
            !entry.delivered && !entry.request && entry.state != State::Never && payload::is(bytes, tag, entry.len)
        })
    }

    fn deliver(&mut self, tag: u64, what: &str) {
        let entry = &mut self.entries[tag as usize];
        assert!(!entry.delivered, "message {tag} arrived twice {what}");
        assert!(entry.state != State::Never, "message {tag} arrived, but its sender was told sent: no {what}");
        entry.delivered = true;
    }

    fn order(&mut self, tag: u64, what: &str) {
        let entry = &self.entries[tag as usize];
        let (request, firm) = (entry.request, entry.firm);
        let broken = self.broken[entry.link];
        let Some(lane) = self.lanes.get_mut(&(entry.link, entry.from, entry.channel)) else { return };
        if request {
            assert!(lane.request.is_none_or(|last| last < tag), "request {tag} behind {:?} {what}", lane.request);
            lane.request = Some(tag);
        }
        if firm {
            let at = lane.order.binary_search(&tag).unwrap_or_else(|_| panic!("{tag} is not of its lane"));
            assert!(at >= lane.firm, "message {tag} behind one sent later {what}");
            for &skipped in &lane.order[lane.firm..at] {
                let entry = &self.entries[skipped as usize];
                assert!(
                    broken || !entry.firm || !entry.must_arrive(&self.unheard),
                    "{skipped} was skipped: {entry:?} before {tag} {what}"
                );
            }
            lane.firm = at + 1;
        }
    }

    /// An item of a stream arrived; `direction` 0 is the caller's.
    pub(super) fn item_arrived(&mut self, call: usize, direction: usize, bytes: &[u8]) {
        if self.hostile {
            return;
        }
        let what = format!("of call {call} direction {direction} {} bytes", bytes.len());
        let items = &self.calls[call].items[direction];
        assert!(!items.ended, "an item behind the end {what}");
        let found = items.order[items.next..].iter().position(|&tag| {
            let entry = &self.entries[tag as usize];
            payload::is(bytes, tag, entry.len) && (entry.state != State::Never || bytes.len() >= payload::NAMED)
        });
        let at = items.next + found.unwrap_or_else(|| panic!("an item out of place {what}: {:?}", payload::tag(bytes)));
        let tag = items.order[at];
        self.skip_items(call, direction, at, &what);
        self.calls[call].items[direction].next = at + 1;
        self.deliver(tag, &what);
    }

    fn skip_items(&mut self, call: usize, direction: usize, to: usize, what: &str) {
        let items = &self.calls[call].items[direction];
        for &skipped in &items.order[items.next..to] {
            let entry = &self.entries[skipped as usize];
            let broken = self.broken[entry.link];
            assert!(broken || !entry.must_arrive(&self.unheard), "the item {skipped} was lost {what}: {entry:?}");
        }
    }

    /// The end of a direction arrived in order: everything in it has.
    pub(super) fn items_ended(&mut self, call: usize, direction: usize) {
        if self.hostile {
            return;
        }
        let to = self.calls[call].items[direction].order.len();
        self.skip_items(call, direction, to, "at its end");
        let items = &mut self.calls[call].items[direction];
        (items.next, items.ended) = (to, true);
    }

    /// A call ended at its caller.
    pub(super) fn call_ended(&mut self, call: usize, result: Result<&[u8], &Error>, excused: bool) {
        let of = &mut self.calls[call];
        assert!(!std::mem::replace(&mut of.ended, true), "call {call} ended twice");
        if self.hostile {
            return;
        }
        let (request, answer, broken) = (of.request, of.answer, self.broken[of.link]);
        match result {
            Ok(bytes) => {
                let Some((tag, None)) = answer else { panic!("call {call} got a reply nobody gave: {of:?}") };
                let len = self.entries[tag as usize].len;
                assert!(
                    payload::is(bytes, tag, len),
                    "call {call} got another reply than its own: {:?}",
                    payload::tag(bytes)
                );
                self.deliver(tag, "as a reply");
                self.left(request);
            }
            Err(error) => {
                if error.code() == Code::RemoteError && error.status().is_some() {
                    let Some((tag, Some(status))) = answer else { panic!("call {call} failed by nobody: {of:?}") };
                    assert_eq!(error.status(), Some(status));
                    assert!(payload::is(error.data(), tag, self.entries[tag as usize].len), "call {call}: wrong data");
                    self.deliver(tag, "as a failure");
                    self.left(request);
                    return;
                }
                if error.code() == Code::CallAbandoned {
                    assert!(of.abandoned, "call {call} was not abandoned");
                } else {
                    assert!(broken || excused, "call {call} failed for no reason: {error:?} {of:?}");
                }
                self.failed(request, error);
                if self.entries[request as usize].state == State::Unknown {
                    self.entries[request as usize].moot = true;
                }
            }
        }
    }

    /// Everything that had to arrive has.
    pub(super) fn settle(&self, link: usize) {
        if self.hostile || self.broken[link] {
            return;
        }
        for (&(at, from, channel), lane) in &self.lanes {
            for &tag in lane.order.iter().filter(|_| at == link) {
                let entry = &self.entries[tag as usize];
                assert!(
                    !entry.must_arrive(&self.unheard),
                    "message {tag} from {from} on {channel} was lost: {entry:?}"
                );
            }
        }
        for (n, call) in self.calls.iter().enumerate().filter(|(_, c)| c.link == link) {
            assert!(call.ended || call.given_up, "call {n} never ended: {call:?}");
        }
    }

    /// Messages of a lossy channel that were accepted and did not arrive.
    pub(super) fn dropped(&self, link: usize, from: usize, channel: u16) -> u64 {
        let Some(lane) = self.lanes.get(&(link, from, channel)) else { return 0 };
        let lost = lane.order.iter().filter(|&&tag| {
            let entry = &self.entries[tag as usize];
            entry.lossy && !entry.delivered && matches!(entry.state, State::Open | State::Left)
        });
        lost.count() as u64
    }
}
