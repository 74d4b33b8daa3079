//! Links by number. Each has a descriptor of its own, which the wait of the environment watches beside that of its context:
//! one wake and one `drain` serve all of them.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Instant;

use hostlane_bridge::{
    Address, CallOptions, Code, Error, Link, LinkEvent, LinkResult, Message, Outcome, Progress, Result, Started, Wait,
    guard,
};
use napi::bindgen_prelude::Env;
use napi_derive::napi;
use rustix::event::epoll;

use crate::environment::{Environment, Finished, Takes};
use crate::exchange::{Exchange, kind};
use crate::ids::IdMap;
use crate::info::{PeerInfo, PeerStats};
use crate::options::NativeOptions;

/// A link, and who waits for what on it, by the ids JavaScript gave.
pub(crate) struct NativeLink {
    pub(crate) link: Link,
    waiting: RefCell<Waiting>,
}

#[derive(Default)]
struct Waiting {
    /// By the numbers of the link, for a result: of a call of this side, with its channel, or the end of one of the other.
    results: IdMap<(u32, u16)>,
    /// For events, and how many of them.
    events: VecDeque<(u32, usize)>,
    /// It has ended, and its descriptor is not watched any more.
    over: bool,
}

impl NativeLink {
    /// Starts a call.
    pub(crate) fn request(
        &self,
        js: u32,
        channel: u16,
        payload: &[u8],
        options: CallOptions,
        deadline: Option<Instant>,
    ) -> Result<()> {
        // A result there is at once makes the descriptor readable.
        let ticket = self.link.start(payload, options, deadline)?;
        self.waiting.borrow_mut().results.insert(ticket, (js, channel));
        Ok(())
    }

    pub(crate) fn await_events(&self, js: u32, most: usize) {
        self.waiting.borrow_mut().events.push_back((js, most));
    }

    /// Whether it has ended, which nothing wakes for any more.
    pub(crate) fn is_over(&self) -> bool {
        self.waiting.borrow().over
    }

    /// Waits for the end of a call of the other side.
    pub(crate) fn await_end(&self, js: u32, message: &Message) -> Result<()> {
        // One that has ended already makes the descriptor readable.
        let ticket = self.link.call_ended(message)?;
        self.waiting.borrow_mut().results.insert(ticket, (js, 0));
        Ok(())
    }

    /// At most `most` of the events there are; nothing where there are none.
    pub(crate) fn take_events(&self, most: usize) -> Result<Vec<LinkEvent>> {
        let mut events = Vec::new();
        while events.len() < most {
            match self.link.next(Wait::none()) {
                Ok(event) => events.push(event),
                Err(error) if error.code() == Code::Timeout || !events.is_empty() => break,
                Err(error) => return Err(error),
            }
        }
        Ok(events)
    }

    /// Gives up what JavaScript calls `js`, if that is here: whether nothing else ends it. A call comes back with the next turn.
    fn cancel(&self, js: u32) -> bool {
        let mut waiting = self.waiting.borrow_mut();
        if let Some((&ticket, _)) = waiting.results.iter().find(|(_, (other, _))| *other == js) {
            self.link.cancel(ticket);
            return false;
        }
        let before = waiting.events.len();
        waiting.events.retain(|(other, _)| *other != js);
        waiting.events.len() < before
    }
}

impl Environment {
    /// Moves all links on and puts what that gave: whether there is more than found room.
    pub(crate) fn turn_links(&self, exchange: &mut Exchange) -> napi::Result<bool> {
        let mut ended = 0.0;
        let mut more = false;
        for (number, link) in self.links.all() {
            let over = loop {
                match guard(|| link.link.turn()) {
                    Ok(Progress::More) => {}
                    Ok(Progress::Wait) => break false,
                    Err(_) => break true,
                }
            };
            if over && !std::mem::replace(&mut link.waiting.borrow_mut().over, true) {
                // It is in the set until now, and closing it later would take it out as well.
                let _ = epoll::delete(&self.watched, link.link.fd());
            }
            let mut results = Vec::new();
            link.link.take_results(&mut results, usize::MAX);
            for (ticket, result) in results {
                let Some((js, channel)) = link.waiting.borrow_mut().results.remove(&ticket) else { continue };
                let takes = Takes { peer: number, channel, many: None };
                let result = match result {
                    LinkResult::Call(result) => result.map(Outcome::Reply),
                    LinkResult::CallEnded => Ok(Outcome::CallEnded),
                    other => Err(Error::new(Code::Internal, format!("no result Node knows: {other:?}"))),
                };
                self.finish(exchange, js, Finished::Outcome { takes, result });
                ended += 1.0;
            }
            loop {
                let Some((js, most)) = link.waiting.borrow().events.front().copied() else { break };
                if exchange.room() < 2 || self.is_late() {
                    more = true;
                    break;
                }
                match self.put_events(exchange, js, number, &link, most) {
                    Ok(false) => break,
                    Ok(true) => {}
                    Err(error) => exchange.failed(js, &error),
                }
                link.waiting.borrow_mut().events.pop_front();
                ended += 1.0;
            }
        }
        self.hold(-ended)?;
        Ok(more)
    }

    /// Puts the events there are as one batch; `false` if there are none.
    pub(crate) fn put_events(
        &self,
        exchange: &mut Exchange,
        js: u32,
        number: f64,
        link: &Rc<NativeLink>,
        most: usize,
    ) -> Result<bool> {
        let events = link.take_events(most.min(exchange.room() - 1))?;
        if events.is_empty() {
            return Ok(false);
        }
        exchange.plain(js, kind::BATCH, events.len() as f64);
        for event in events {
            match event {
                LinkEvent::Up { serving } => exchange.plain(js, kind::LINK_UP, f64::from(u8::from(serving))),
                LinkEvent::Down(error) => exchange.link_down(js, &error),
                LinkEvent::Message(message) => self.put_message(exchange, js, number, message, Some(link)),
                other => {
                    exchange.link_down(js, &Error::new(Code::Internal, format!("no event Node knows: {other:?}")));
                }
            }
        }
        Ok(true)
    }

    /// Gives up an operation of a link. It ends like any other.
    pub(crate) fn cancel_on_link(&self, js: u32) {
        if self.links.all().iter().any(|(_, link)| link.cancel(js)) {
            let cancelled = Error::new(Code::Cancelled, "the operation was given up by its caller");
            self.finish_later(js, Finished::Outcome { takes: Takes::default(), result: Err(cancelled) });
        }
    }

    /// What becomes of the answer to a message of a link.
    pub(crate) fn answered_on_link(result: Result<()>) -> Result<Started> {
        result.map(|()| Started::Done(Outcome::Sent))
    }
}

/// Opens a link: its number; nothing after an error, which is in the first row.
#[napi(catch_unwind)]
pub fn link_open(env: Env, address: String, options: NativeOptions) -> napi::Result<Option<f64>> {
    let this = Environment::of(&env)?;
    Ok(this.value(|| {
        let address: Address = address.parse()?;
        let link = Link::open(address, options.link()?)?;
        epoll::add(&this.watched, link.fd(), epoll::EventData::new_u64(1), epoll::EventFlags::IN)
            .map_err(|error| Error::new(Code::Internal, format!("the link cannot be watched: {error}")))?;
        Ok(this.links.insert(NativeLink { link, waiting: RefCell::default() }))
    }))
}

/// Ends a link, any number of times.
#[napi(catch_unwind)]
pub fn link_close(env: Env, link: f64) -> napi::Result<()> {
    let this = Environment::of(&env)?;
    if let Ok(link) = this.links.get(link) {
        link.link.close();
    }
    Ok(())
}

/// Lets a link go whose object was collected: nobody waits for anything on it.
#[napi(catch_unwind)]
pub fn link_release(env: Env, link: f64) -> napi::Result<()> {
    let this = Environment::of(&env)?;
    if let Ok(link) = this.links.get(link) {
        link.link.close();
        // A message that is not answered yet keeps it, and what nobody turns any more would be readable for ever.
        if !link.is_over() {
            let _ = epoll::delete(&this.watched, link.link.fd());
        }
    }
    this.links.remove(link);
    Ok(())
}

/// 1 if this side listens, 0 if it connected, nothing while there is no decision.
#[napi(catch_unwind)]
pub fn link_serving(env: Env, link: f64) -> napi::Result<Option<bool>> {
    Ok(Environment::of(&env)?.links.get(link).ok().and_then(|link| link.link.is_serving()))
}

/// Who the other side is; nothing after an error, which is in the first row.
#[napi(catch_unwind)]
pub fn link_info(env: Env, link: f64) -> napi::Result<Option<PeerInfo>> {
    let this = Environment::of(&env)?;
    Ok(this.value(|| this.links.get(link)?.link.peer()?.info().map(PeerInfo::from)))
}

/// What went through the connection there is; nothing after an error, which is in the first row.
#[napi(catch_unwind)]
pub fn link_stats(env: Env, link: f64) -> napi::Result<Option<PeerStats>> {
    let this = Environment::of(&env)?;
    Ok(this.value(|| this.links.get(link)?.link.peer()?.stats().map(PeerStats::from)))
}
