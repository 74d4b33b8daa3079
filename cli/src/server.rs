//! The event loop of the serving commands: one thread, many clients, none of which delays another.

use std::collections::{HashMap, VecDeque};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use hostlane::{
    Address, Bytes, Channel, Code, Context, Error, Info, ListenOptions, Listener, Message, Outcome, Peer, Started,
};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;

use crate::args::{self, Access};
use crate::exit::Failure;
use crate::signals;

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
    access: Access,
}

/// What a command wants after a message.
pub(crate) enum Next {
    /// The next message of this client.
    Receive,
    /// This sent to the client first.
    Answer(Channel, Bytes),
    /// The end of the server.
    Stop,
}

/// A connected client.
pub(crate) struct Client {
    peer: Peer,
    pub(crate) info: Info,
}

/// How long a listener that cannot accept waits before it tries again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Operations that finish in one turn.
const BATCH: usize = 64;

impl Place {
    /// Listens, and serves until `handle` stops it, standard output fails, a signal arrives, or the only client
    /// an address has is gone.
    pub(crate) fn serve(&self, handle: impl FnMut(&Client, Message) -> Result<Next, Failure>) -> Result<(), Failure> {
        let address: Address = self.address.parse()?;
        let mut options = ListenOptions::new();
        if !self.channels.is_empty() {
            options = options.channels(&self.channels);
        }
        let options = self.access.apply(&address, options)?;
        let listener = Arc::new(Listener::bind_with(&address, &options)?);
        signals::end_on_signals(&listener)?;
        log::info!("listening on {}", listener.address());
        let mut server = Server {
            listener: &listener,
            context: Context::new()?,
            handle,
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
    Receive(u64),
    Answer(u64),
}

type Finished = (Purpose, Result<Outcome, Error>);

struct Server<'a, H> {
    listener: &'a Listener,
    context: Context,
    handle: H,
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

    fn receive(&mut self, number: u64) {
        if let Some(client) = self.clients.get(&number) {
            let started = self.context.recv(&client.peer, None, None);
            self.started(Purpose::Receive(number), started);
        }
    }

    fn finished(&mut self, purpose: Purpose, result: Result<Outcome, Error>) -> Result<ControlFlow<()>, Failure> {
        match (purpose, result) {
            (Purpose::Accept, Ok(Outcome::Accepted(peer))) => {
                self.accepted += 1;
                let info = peer.info()?;
                log::info!("{} connected", info.peer_id);
                self.clients.insert(self.accepted, Client { peer, info });
                self.receive(self.accepted);
                self.accept();
            }
            (Purpose::Accept, Err(error)) if error.code() == Code::Closed => {
                // A signal closed the listener and its thread is about to end the process.
                loop {
                    thread::park();
                }
            }
            // The one client of stdio: or fd: has left.
            (Purpose::Accept, Err(error)) if error.code() == Code::PeerClosed => return Ok(ControlFlow::Break(())),
            (Purpose::Accept, Err(error)) => {
                log::warn!("cannot accept: {error}");
                self.accept_at = Some(Instant::now() + ACCEPT_PAUSE);
            }
            (Purpose::Receive(number), Ok(Outcome::Message(message))) => {
                return self.message(number, message);
            }
            (Purpose::Answer(number), Ok(Outcome::Sent)) => self.receive(number),
            (Purpose::Receive(number) | Purpose::Answer(number), Err(error)) => {
                if let Some(client) = self.clients.remove(&number) {
                    log::log!(severity(&error), "{} left: {error}", client.info.peer_id);
                }
            }
            (_, Ok(_)) => {
                let error = Error::new(Code::Internal, "an operation finished as another kind");
                return Err(error.into());
            }
        }
        Ok(ControlFlow::Continue(()))
    }

    fn message(&mut self, number: u64, message: Message) -> Result<ControlFlow<()>, Failure> {
        let Some(client) = self.clients.get(&number) else {
            return Ok(ControlFlow::Continue(()));
        };
        match (self.handle)(client, message)? {
            Next::Stop => return Ok(ControlFlow::Break(())),
            Next::Receive => self.receive(number),
            Next::Answer(channel, payload) => {
                let started = self.context.send(&client.peer, channel, payload, None);
                self.started(Purpose::Answer(number), started);
            }
        }
        Ok(ControlFlow::Continue(()))
    }
}

/// Leaving is every client's right; anything else may need somebody's attention.
fn severity(error: &Error) -> log::Level {
    match error.code() {
        Code::PeerClosed => log::Level::Info,
        _ => log::Level::Warn,
    }
}
