//! Serving the requests of the other side, and calling it meanwhile.

use std::time::Instant;

use bytes::Bytes;

use super::{Awaited, Awaiting, Link, LinkEvent};
use crate::api::call::CallOptions;
use crate::api::message::Message;
use crate::api::payload::Payload;
use crate::api::wait::Wait;
use crate::error::{Code, Error, Result};
use crate::limits;
use crate::log::Scope;

/// What a handler of a [`Link`] gives: the reply, or the code and data of an error of the program's.
pub type Answer = std::result::Result<Bytes, (u32, Bytes)>;

/// The code a call is failed with whose handler panicked, threw, or gave what is no answer or cannot be sent, in every
/// language that has handlers; the data says what happened, for people.
pub const HANDLER_FAILED: u32 = 1;

/// A link that a thread serves, for the handler to call the other side with: while it waits for the reply, that thread
/// serves what comes, so that two sides may call each other from within their handlers with one thread each.
pub struct Serving<'a> {
    link: &'a Link,
    handler: &'a dyn Fn(&Serving<'_>, &Message) -> Answer,
    /// Requests this thread is inside of.
    depth: usize,
}

impl Link {
    /// Serves requests on this thread with `handler` until the link ends, and gives the error it ended with. One-way
    /// messages go to `handler` too; what it returns for them is dropped. An answer that cannot be sent, for its size say,
    /// fails the request with [`HANDLER_FAILED`] and the reason. So does a panic, which then goes on out of `serve`: whether
    /// to serve again is for its caller to say.
    ///
    /// A handler may call the other side through [`Serving`], which serves on this thread while it waits, up to
    /// [`LINK_NESTING`](limits::LINK_NESTING) requests deep. Any number of threads may serve.
    pub fn serve(&self, handler: impl Fn(&Serving<'_>, &Message) -> Answer) -> Error {
        let serving = Serving { link: self, handler: &handler, depth: 0 };
        loop {
            match self.next(Wait::forever()) {
                Ok(event) => serving.take(event),
                Err(error) => return error,
            }
        }
    }

    fn answer(&self, message: &Message, answer: Answer) {
        if !message.is_request() {
            return;
        }
        let answered = match answer {
            Ok(payload) => self.reply(message, payload),
            Err((code, data)) => self.fail(message, code, data),
        };
        if let Err(error) = answered {
            // Whoever asked is told why. If it has left meanwhile, or the connection is lost, so is this: the link
            // tells the one by an event, and of the other nobody wants to know.
            let _ = self.fail(message, HANDLER_FAILED, error.message().as_bytes());
        }
    }
}

impl<'a> Serving<'a> {
    /// The link.
    pub fn link(&self) -> &'a Link {
        self.link
    }

    /// Calls the other side, and serves what comes until it answers; errors as of [`Link::request`]. What is served
    /// meanwhile goes first: a call whose time has passed, or whose reply has come, ends when that was answered.
    /// `queue_full`, with nothing sent, when this thread is inside of [`LINK_NESTING`](limits::LINK_NESTING) requests already.
    pub fn request<'w>(&self, payload: impl Payload, wait: impl Into<Wait<'w>>) -> Result<Message> {
        self.request_with(payload, CallOptions::new(), wait)
    }

    /// Calls the other side with what `options` say.
    pub fn request_with<'w>(
        &self,
        payload: impl Payload,
        options: CallOptions,
        wait: impl Into<Wait<'w>>,
    ) -> Result<Message> {
        if self.depth >= limits::LINK_NESTING {
            // With what comes left to others, both sides could wait for each other until their deadlines.
            let why = format!("this thread is inside of {} requests already", self.depth);
            return Err(Error::new(Code::QueueFull, why));
        }
        let mut wait = wait.into();
        let _scope = Scope::enter();
        let link = self.link;
        let deadline = wait.deadline;
        let ticket = link.begin(payload.into_bytes(), options, wait.deadline, true)?;
        let mut awaited = Awaited { link, what: Awaiting::Call(ticket), ended: false };
        let context = &link.shared().context;
        loop {
            let next = link.wait_for(&mut wait, |machine| match machine.take_awaited(ticket) {
                Some(result) => Some(result.map(Next::Reply)),
                // Who has run out of time makes room for its own caller before it takes on more.
                None if deadline.is_some_and(|deadline| deadline <= Instant::now()) => None,
                None => machine.take_event(context).map(|event| event.map(Next::Event)),
            });
            match next {
                Ok(Next::Event(event)) => self.take(event),
                Ok(Next::Reply(reply)) => {
                    awaited.ended = true;
                    return Ok(reply);
                }
                Err(error) => return Err(error),
            }
        }
    }

    fn take(&self, event: LinkEvent) {
        if let LinkEvent::Message(message) = event {
            let inside = Serving { link: self.link, handler: self.handler, depth: self.depth + 1 };
            let unwinding = Unwinding { link: self.link, message: &message };
            let answer = (self.handler)(&inside, &message);
            std::mem::forget(unwinding);
            self.link.answer(&message, answer);
        }
    }
}

/// Fails the request of a handler that unwinds, so that its caller knows more than that nobody answers.
struct Unwinding<'a> {
    link: &'a Link,
    message: &'a Message,
}

impl Drop for Unwinding<'_> {
    fn drop(&mut self) {
        self.link.answer(self.message, Err((HANDLER_FAILED, Bytes::from_static(b"the handler panicked"))));
    }
}

enum Next {
    Reply(Message),
    Event(LinkEvent),
}

impl std::fmt::Debug for Serving<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Serving").field("link", self.link).field("depth", &self.depth).finish_non_exhaustive()
    }
}
