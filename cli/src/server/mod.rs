//! The event loop of the serving commands: one thread, many clients, none of which delays another.

mod client;

use std::collections::{HashMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use hostlane::{Address, Bytes, Channel, Code, Context, Error, ListenOptions, Listener, Message, Outcome, Started};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use self::client::Mirror;
use crate::args::{self, Access, Wire};
use crate::exit::Failure;
use crate::logging::NEWS;
use crate::signals::Caught;

pub(crate) use self::client::Client;

/// Where to serve, and whom.
#[derive(Args)]
pub(crate) struct Place {
    /// Address: a name, a socket path, unix:…, tcp::7000, stdio:, fd:3, systemd:
    #[arg(value_name = "ADDR")]
    address: String,

    /// Serve this channel, by number or name; repeatable [default: 1, 2, 3 and 4]
    #[arg(long = "channel", short = 'c', value_name = "N", value_parser = args::channel)]
    channels: Vec<Channel>,

    #[command(flatten)]
    wire: Wire,

    #[command(flatten)]
    access: Access,
}

/// What a command wants after a message.
pub(crate) enum Next {
    /// The next message of this client.
    Receive,
    /// This sent to the client first.
    Send(Channel, Bytes),
    /// The message or call answered with this first.
    Reply(Message, Bytes),
    /// The call failed with this code and data first.
    Fail(Message, u32, Bytes),
    /// The items of the stream that the call opened sent back, and the call answered with its payload at their end.
    Mirror(Message),
    /// The end of the server.
    Stop,
}

/// How long a listener that cannot accept waits before it tries again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Operations that finish in one turn.
const BATCH: usize = 64;

impl Place {
    /// Listens, and serves until `handle` stops it, standard output fails, a signal arrives, or the only client
    /// an address has is gone. With `apart` an answer that waits for credit holds up its own channel alone.
    pub(crate) fn serve(
        &self,
        apart: bool,
        handle: impl FnMut(&Client, Message) -> Result<Next, Failure>,
    ) -> Result<(), Failure> {
        let address: Address = self.address.parse()?;
        let mut options = ListenOptions::new();
        if !self.channels.is_empty() {
            options = options.channels(&self.channels);
        }
        let options = self.access.apply(self.wire.apply(options))?;
        let caught = Caught::new()?;
        let listener = Listener::bind_with(&address, &options).map_err(|error| args::with_flags(error, &address))?;
        let listener = Arc::new(listener);
        let closed = Arc::clone(&listener);
        caught.end(move || closed.close())?;
        match listener.address() {
            // Its client is there already.
            Address::Stdio | Address::Fd(_) => log::info!("listening on {}", listener.address()),
            address => log::info!(target: NEWS, "listening on {address}"),
        }
        let mut server = Server {
            listener: &listener,
            context: Context::new()?,
            handle,
            apart,
            clients: HashMap::new(),
            pending: HashMap::new(),
            accepted: 0,
            ready: VecDeque::new(),
            accept_at: None,
        };
        let end = server.run();
        listener.close();
        end
    }
}

/// What an operation was started for.
#[derive(Clone, Copy)]
enum Purpose {
    Accept,
    /// Of the client with this number.
    Client(u64, Work),
}

#[derive(Clone, Copy)]
enum Work {
    /// The next message, on one channel or on all.
    Receive(Option<Channel>),
    /// What is sent before the next one is received.
    Answer(Option<Channel>),
    /// The next item of the stream of this call.
    Item(u64),
    /// Its way back.
    Mirrored(u64),
    /// The answer at the end of a stream.
    Ended,
}

type Finished = (Purpose, Result<Outcome, Error>);

struct Server<'a, H> {
    listener: &'a Listener,
    context: Context,
    handle: H,
    apart: bool,
    /// By a number of ours, which `Purpose` carries.
    clients: HashMap<u64, Client>,
    accepted: u64,
    pending: HashMap<u64, Purpose>,
    /// Finished and not yet looked at.
    ready: VecDeque<Finished>,
    /// When to accept again after a failure.
    accept_at: Option<Instant>,
}

impl<H: FnMut(&Client, Message) -> Result<Next, Failure>> Server<'_, H> {
    fn run(&mut self) -> Result<(), Failure> {
        self.accept();
        loop {
            self.wait()?;
            for refusal in self.listener.take_refusals()? {
                let who =
                    refusal.credentials.map_or("unknown".into(), |who| format!("pid {}, uid {}", who.pid, who.uid));
                log::log!(severity(&refusal.error), "refused a client ({who}): {}", refusal.error);
            }
            // Only what is ready now: a client that always has more must let the others in between.
            for _ in 0..self.ready.len() {
                let Some((purpose, result)) = self.ready.pop_front() else { break };
                if self.finished(purpose, result)?.is_break() {
                    return Ok(());
                }
            }
        }
    }

    /// Gathers finished operations; waits only while there are none.
    fn wait(&mut self) -> Result<(), Failure> {
        if self.ready.is_empty() {
            self.poll()?;
        }
        if self.accept_at.is_some_and(|at| at <= Instant::now()) {
            self.accept_at = None;
            self.accept();
        }
        let mut completions = Vec::new();
        self.context.process(BATCH, &mut completions)?;
        for completion in completions {
            if let Some(purpose) = self.pending.remove(&completion.op) {
                self.ready.push_back((purpose, completion.result));
            }
        }
        Ok(())
    }

    /// Sleeps until the context has something to do, be it a refusal that completes nothing, or
    /// until it is time to accept again.
    fn poll(&self) -> Result<(), Failure> {
        let limit = self.accept_at.map(|at| at.saturating_duration_since(Instant::now()));
        let limit =
            limit.map(|limit| Timespec { tv_sec: limit.as_secs() as i64, tv_nsec: limit.subsec_nanos().into() });
        match rustix::event::poll(&mut [PollFd::new(&self.context, PollFlags::IN)], limit.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(error) => Err(Error::new(Code::Io, format!("waiting for events: {error}")).into()),
        }
    }

    fn started(&mut self, purpose: Purpose, started: Result<Started, Error>) {
        if let Purpose::Client(number, _) = purpose
            && let Some(client) = self.clients.get_mut(&number)
        {
            client.pending += 1;
        }
        match started {
            Ok(Started::Pending(op)) => {
                self.pending.insert(op, purpose);
            }
            Ok(Started::Done(outcome)) => self.ready.push_back((purpose, Ok(outcome))),
            Err(error) => self.ready.push_back((purpose, Err(error))),
        }
    }

    fn accept(&mut self) {
        let started = self.context.accept(self.listener, None);
        self.started(Purpose::Accept, started);
    }

    fn receive(&mut self, number: u64, channel: Option<Channel>) {
        if let Some(client) = self.clients.get(&number) {
            let started = self.context.recv(&client.peer, channel, None);
            self.started(Purpose::Client(number, Work::Receive(channel)), started);
        }
    }

    fn finished(&mut self, purpose: Purpose, result: Result<Outcome, Error>) -> Result<ControlFlow<()>, Failure> {
        let Purpose::Client(number, work) = purpose else { return self.accepted(result) };
        let Some(client) = self.clients.get_mut(&number) else { return Ok(ControlFlow::Continue(())) };
        client.pending -= 1;
        match (work, result) {
            (Work::Receive(channel), Ok(Outcome::Message(message))) => {
                return self.message(number, channel, message);
            }
            (Work::Answer(channel), Ok(Outcome::Sent)) => self.receive(number, channel),
            (Work::Answer(channel), Err(error)) if is_of_one_message(&error) => {
                log::info!("{}: an answer was not sent: {error}", client.info.peer_id);
                self.receive(number, channel);
            }
            (Work::Answer(_), Err(error)) => self.leave(number, &error),
            // Answers under way may still reach a client that has closed only its half.
            (Work::Receive(_), Err(error)) => drop(client.end.get_or_insert(error)),
            (Work::Item(call), Ok(Outcome::Item(item))) => self.mirror(number, call, item),
            (Work::Item(call), Ok(Outcome::StreamEnd(_))) => self.end_mirror(number, call),
            (Work::Mirrored(call), Ok(Outcome::Sent)) => self.next_item(number, call),
            (Work::Item(call) | Work::Mirrored(call), Err(error)) => {
                log::debug!("{}: a stream ended: {error}", client.info.peer_id);
                client.mirrors.remove(&call);
            }
            (Work::Ended, Ok(Outcome::Sent)) => {}
            (Work::Ended, Err(error)) => {
                log::debug!("{}: a stream was not answered: {error}", client.info.peer_id);
            }
            (_, Ok(_)) => {
                let error = Error::new(Code::Internal, "an operation finished as another kind");
                return Err(error.into());
            }
        }
        if let Some(Client { pending: 0, end: Some(error), .. }) = self.clients.get(&number) {
            let error = error.clone();
            self.leave(number, &error);
        }
        Ok(ControlFlow::Continue(()))
    }

    fn accepted(&mut self, result: Result<Outcome, Error>) -> Result<ControlFlow<()>, Failure> {
        match result {
            Ok(Outcome::Accepted(peer)) => {
                self.accepted += 1;
                let info = peer.info()?;
                let client = Client::new(peer, info);
                log::info!("{} connected", client.info.peer_id);
                let lanes = client.lanes(self.apart);
                self.clients.insert(self.accepted, client);
                lanes.into_iter().for_each(|lane| self.receive(self.accepted, lane));
                self.accept();
            }
            Ok(_) => {}
            Err(error) if error.code() == Code::Closed => {
                // A signal closed the listener and its thread is about to end the process.
                loop {
                    thread::park();
                }
            }
            // The one client of stdio: or fd: has left.
            Err(error) if error.code() == Code::PeerClosed => return Ok(ControlFlow::Break(())),
            Err(error) => {
                log::warn!("cannot accept: {error}");
                self.accept_at = Some(Instant::now() + ACCEPT_PAUSE);
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn message(&mut self, number: u64, channel: Option<Channel>, message: Message) -> Result<ControlFlow<()>, Failure> {
        let Some(client) = self.clients.get(&number) else {
            return Ok(ControlFlow::Continue(()));
        };
        let started = match (self.handle)(client, message)? {
            Next::Stop => return Ok(ControlFlow::Break(())),
            Next::Receive => {
                self.receive(number, channel);
                return Ok(ControlFlow::Continue(()));
            }
            Next::Mirror(request) => {
                self.begin_mirror(number, request);
                self.receive(number, channel);
                return Ok(ControlFlow::Continue(()));
            }
            Next::Send(on, payload) => self.context.send(&client.peer, on, payload, None),
            Next::Reply(message, payload) => self.context.reply(&message, payload, None),
            Next::Fail(message, code, data) => self.context.fail(&message, code, data, None),
        };
        self.started(Purpose::Client(number, Work::Answer(channel)), started);
        Ok(ControlFlow::Continue(()))
    }

    // --- streams -------------------------------------------------------------------------------------

    fn begin_mirror(&mut self, number: u64, request: Message) {
        if let (Some(client), Some(stream)) = (self.clients.get_mut(&number), request.stream()) {
            let call = stream.call_id();
            client.mirrors.insert(call, Mirror { stream, request });
            self.next_item(number, call);
        }
    }

    fn next_item(&mut self, number: u64, call: u64) {
        if let Some(mirror) = self.clients.get(&number).and_then(|client| client.mirrors.get(&call)) {
            let started = self.context.stream_recv(&mirror.stream, None);
            self.started(Purpose::Client(number, Work::Item(call)), started);
        }
    }

    fn mirror(&mut self, number: u64, call: u64, item: Bytes) {
        if let Some(mirror) = self.clients.get(&number).and_then(|client| client.mirrors.get(&call)) {
            let started = self.context.stream_send(&mirror.stream, item, None);
            self.started(Purpose::Client(number, Work::Mirrored(call)), started);
        }
    }

    fn end_mirror(&mut self, number: u64, call: u64) {
        if let Some(Mirror { request, .. }) =
            self.clients.get_mut(&number).and_then(|client| client.mirrors.remove(&call))
        {
            let started = self.context.reply(&request, request.payload().clone(), None);
            self.started(Purpose::Client(number, Work::Ended), started);
        }
    }

    // --- the end of a client -------------------------------------------------------------------------

    fn leave(&mut self, number: u64, error: &Error) {
        if let Some(client) = self.clients.remove(&number) {
            log::log!(severity(error), "{} left: {error}", client.info.peer_id);
        }
    }
}

/// Whether the connection is none the worse for it.
fn is_of_one_message(error: &Error) -> bool {
    matches!(error.code(), Code::PayloadTooLarge | Code::CallEnded | Code::Draining | Code::WouldBlock)
}

/// Leaving is every client's right; anything else may need somebody's attention.
fn severity(error: &Error) -> log::Level {
    match error.code() {
        Code::PeerClosed => log::Level::Info,
        _ => log::Level::Warn,
    }
}
