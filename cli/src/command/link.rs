//! `hostlane link`: the same command on both sides.

use std::io;
use std::time::{Duration, Instant};

use clap::Args;
use hostlane::{
    Address, Bytes, CallOptions, Channel, Code, ConnectOptions, Error, Info, LinkEvent, LinkOptions, ListenOptions,
    Message, Progress, limits,
};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use serde::Serialize;

use crate::args::{self, Access, Keepalive, Payload};
use crate::client::deadline;
use crate::exit::{Exit, Failure};
use crate::input::{Cut, Input};
use crate::logging::printable;
use crate::message::{Credentials, Failed, Received, now};
use crate::output::{Output, Report};
use crate::signals::Caught;

/// How long the last answers may take to leave.
const LAST_ANSWERS: Duration = Duration::from_secs(5);

/// Join two of these by an address: the first serves, the second connects, the survivor takes over
///
/// Prints when the other side comes and goes, and every message. Each line of standard input is sent to the other side,
/// or else what one of the payload options says, once it is there; calls of the other side are answered with their
/// payload. A third stands by. SIGINT and SIGTERM end it.
#[derive(Args)]
#[command(mut_group("Payload", |group| group.required(false)))]
pub(crate) struct Link {
    /// Address: a name, a socket path, unix:…, tcp::7000
    #[arg(value_name = "ADDR")]
    address: String,

    #[command(flatten)]
    payload: Option<Payload>,

    /// Channel of what is sent: command, data, telemetry, error, or a number [default: data; command for --call]
    #[arg(long, short, value_name = "N", value_parser = args::channel)]
    channel: Option<Channel>,

    /// Make a call with the payload, print nothing but the reply, and end
    #[arg(long, requires = "Payload", conflicts_with = "count")]
    call: bool,

    /// Time for the call and its reply; the other side may come meanwhile
    #[arg(long, alias = "timeout", value_name = "D", value_parser = args::duration, default_value = "5s", requires = "call")]
    deadline: Duration,

    /// End after N messages and calls
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    count: Option<u64>,

    /// End when the other side is lost
    #[arg(long)]
    no_reconnect: bool,

    /// End when more than N attempts in a row failed; waiting for the other side is no attempt [default: never]
    #[arg(long, value_name = "N")]
    retries: Option<u32>,

    /// Pause before the second attempt, doubled for each further one up to 2s, or to D if that is longer
    #[arg(long, value_name = "D", value_parser = args::duration, default_value = "10ms")]
    delay: Duration,

    #[command(flatten)]
    keepalive: Keepalive,

    #[command(flatten)]
    access: Access,
}

impl Link {
    pub(crate) fn run(self, output: &Output) -> Result<Exit, Failure> {
        let payload = self.payload.as_ref().map(Payload::read).transpose()?.map(Bytes::from);
        let input = if payload.is_none() { Some(Input::open(None, Cut::Line)?) } else { None };
        let address: Address = self.address.parse()?;
        let caught = Caught::new()?;
        let link =
            hostlane::Link::open(&address, self.options()?).map_err(|error| args::with_flags(error, &address))?;
        let closed = link.clone();
        caught.end(move || closed.close())?;
        log::info!("joining {address}");
        let mut end = End {
            link: &link,
            output,
            channel: self.channel.unwrap_or(Channel::DATA),
            input,
            unsent: None,
            there: None,
            is_there: false,
            call: None,
            left: self.count,
        };
        match payload {
            Some(payload) if self.call => {
                let until = deadline(self.deadline);
                let options = CallOptions::new().channel(self.channel.unwrap_or(Channel::COMMAND));
                end.call = Some(link.start(payload, options, Some(until))?);
            }
            payload => end.unsent = payload,
        }
        let ended = end.run();
        link.close();
        if matches!(&ended, Err(Failure::Lane(error)) if error.code() == Code::Closed) {
            // By a signal, which ends the process with success: whichever thread is first.
            return Ok(Exit::Success);
        }
        if let Err(Failure::Lane(error)) = &ended
            && let Some(failed) = Failed::new(error)
        {
            output.report(&failed)?;
        }
        ended.map(|()| Exit::Success)
    }

    fn options(&self) -> Result<LinkOptions, Failure> {
        let mut channels = Channel::DEFAULT.to_vec();
        channels.extend(self.channel.filter(|channel| !Channel::DEFAULT.contains(channel)));
        let connect = self.access.apply(self.keepalive.apply(ConnectOptions::new().channels(&channels)))?;
        let listen = self.access.apply(self.keepalive.apply(ListenOptions::new().channels(&channels)))?;
        let options = LinkOptions::new()
            .connection(connect, listen)
            .reconnect(!self.no_reconnect)
            .delay(self.delay, self.delay.max(limits::LINK_MAX_DELAY));
        Ok(self.retries.into_iter().fold(options, LinkOptions::retries))
    }
}

/// One end of a link at work, on one thread.
struct End<'a> {
    link: &'a hostlane::Link,
    output: &'a Output,
    channel: Channel,
    /// Lines to send.
    input: Option<Input>,
    /// Read, and not taken by the link.
    unsent: Option<Bytes>,
    /// Who is at the other end, or was last.
    there: Option<Info>,
    is_there: bool,
    /// The call that ends this.
    call: Option<u64>,
    /// Messages until the end.
    left: Option<u64>,
}

impl End<'_> {
    fn run(&mut self) -> Result<(), Failure> {
        loop {
            let turned = self.link.turn();
            if let Some(result) = self.call.and_then(|call| self.link.take_result(call)) {
                self.output.report(&Received::of(&result?, self.there.as_ref(), None))?;
                return self.leave();
            }
            if self.take_events()? {
                return self.leave();
            }
            self.send()?;
            // The end of the link came with the events.
            if turned? == Progress::Wait {
                self.wait(None)?;
            }
        }
    }

    /// Shows what happened; whether that was the last of it.
    fn take_events(&mut self) -> Result<bool, Failure> {
        let mut events = Vec::new();
        loop {
            if let Err(error) = self.link.take_events(&mut events, limits::LINK_EVENTS) {
                if error.code() != Code::Closed {
                    self.tell(&Event::new("ended").because(&error))?;
                }
                return Err(error.into());
            }
            if events.is_empty() {
                return Ok(false);
            }
            for event in events.drain(..) {
                if self.event(event)? {
                    return Ok(true);
                }
            }
        }
    }

    fn event(&mut self, event: LinkEvent) -> Result<bool, Failure> {
        match event {
            LinkEvent::Up { serving } => {
                self.is_there = true;
                // It may have left again.
                self.there = self.link.peer().and_then(|peer| peer.info()).ok();
                self.tell(&Event { serving: Some(serving), ..Event::new("up") }.with(self.there.as_ref()))?;
            }
            LinkEvent::Down(error) => {
                self.is_there = false;
                self.tell(&Event::new("down").because(&error))?;
            }
            LinkEvent::Message(message) => return self.message(&message),
            other => log::warn!("not known here: {other:?}"),
        }
        Ok(false)
    }

    fn message(&mut self, message: &Message) -> Result<bool, Failure> {
        if self.call.is_some() {
            log::info!("{} bytes came on channel {} and are not shown", message.payload().len(), message.channel());
        } else {
            self.output.report(&Received::of(message, self.there.as_ref(), None))?;
        }
        if message.is_request()
            && let Err(error) = self.link.reply(message, message.payload())
        {
            log::info!("a call was not answered: {error}");
        }
        self.left = self.left.map(|left| left - 1);
        Ok(self.left == Some(0))
    }

    fn tell(&self, event: &Event<'_>) -> Result<(), Failure> {
        if self.call.is_some() {
            log::info!("{}", event.shown());
            return Ok(());
        }
        self.output.report(event)
    }

    /// Sends what there is to send while the other side is there and takes it.
    fn send(&mut self) -> Result<(), Failure> {
        while self.is_there {
            if self.unsent.is_none()
                && let Some(input) = &mut self.input
            {
                self.unsent = input.take()?.map(Bytes::from);
                if input.ended() {
                    self.input = None;
                }
            }
            let Some(payload) = &self.unsent else { break };
            match self.link.send(payload, CallOptions::new().channel(self.channel)) {
                Ok(()) => self.unsent = None,
                // What makes room wakes the link.
                Err(error) if error.code() == Code::WouldBlock => break,
                Err(error) if is_of_the_message(&error) => return Err(error.into()),
                // The other side is about to be down; the next one gets it.
                Err(error) => {
                    log::debug!("not sent yet: {error}");
                    self.is_there = false;
                }
            }
        }
        Ok(())
    }

    /// Sleeps until the link, or the input that is wanted, has something; and reads it.
    fn wait(&mut self, until: Option<Instant>) -> Result<(), Failure> {
        let stdin = io::stdin();
        let wanted = self.input.as_mut().filter(|_| self.is_there && self.unsent.is_none() && until.is_none());
        let mut polled = vec![PollFd::new(self.link, PollFlags::IN)];
        if let Some(input) = &wanted {
            polled.push(PollFd::from_borrowed_fd(input.descriptor(&stdin), PollFlags::IN));
        }
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let left = left.map(|left| Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() });
        match rustix::event::poll(&mut polled, left.as_ref()) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(Error::new(Code::Io, format!("waiting for events: {error}")).into()),
        }
        let readable = polled.get(1).is_some_and(|input| !input.revents().is_empty());
        match wanted {
            Some(input) if readable => input.fill(),
            _ => Ok(()),
        }
    }

    /// Lets the last answers leave.
    fn leave(&mut self) -> Result<(), Failure> {
        let until = Instant::now() + LAST_ANSWERS;
        while Instant::now() < until
            && let Ok(stats) = self.link.peer().and_then(|peer| peer.stats())
            && (stats.send_queue.messages > 0 || stats.send_queue.bytes > 0)
        {
            match self.link.turn() {
                Ok(Progress::More) => {}
                Ok(Progress::Wait) => self.wait(Some(until))?,
                Err(_) => break,
            }
        }
        Ok(())
    }
}

/// Whether another connection would not take it either.
fn is_of_the_message(error: &Error) -> bool {
    matches!(error.code(), Code::PayloadTooLarge | Code::InvalidChannel | Code::InvalidArgument | Code::Unsupported)
}

/// What became of the link.
#[derive(Serialize)]
struct Event<'a> {
    event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    serving: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    peer_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    credentials: Option<Credentials>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<&'a str>,
    timestamp: String,
}

impl<'a> Event<'a> {
    fn new(event: &'static str) -> Event<'a> {
        Event { event, serving: None, peer_id: None, credentials: None, error: None, message: None, timestamp: now() }
    }

    fn because(self, error: &'a Error) -> Event<'a> {
        Event { error: Some(error.code().name()), message: Some(error.message()), ..self }
    }

    fn with(self, who: Option<&'a Info>) -> Event<'a> {
        Event {
            peer_id: who.map(|who| &*who.peer_id),
            credentials: who.and_then(|who| who.credentials).map(Credentials::from),
            ..self
        }
    }

    fn shown(&self) -> String {
        let serving = match self.serving {
            Some(true) => "  this side serves",
            Some(false) => "  this side connected",
            None => "",
        };
        let words = [self.peer_id, self.error, self.message].into_iter().flatten();
        let words: String = words.map(|word| format!("  {}", printable(word))).collect();
        format!("{}{serving}{words}", self.event)
    }
}

impl Report for Event<'_> {
    fn table(&self) -> String {
        format!("{}  {}\n", self.timestamp, self.shown())
    }

    /// Messages alone have bytes.
    fn raw(&self) -> Vec<u8> {
        Vec::new()
    }
}
