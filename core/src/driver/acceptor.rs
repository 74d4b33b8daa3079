//! Accepting connections without ever waiting for one client: handshakes run side by side, each
//! under its own total deadline, and only finished ones reach the application.

#[cfg(all(test, target_os = "linux"))]
mod tests;

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use crate::addr::Address;
use crate::api::info::Credentials;
use crate::api::listener::Refusal;
use crate::api::options::{Common, ListenOptions};
use crate::api::stats::ListenerStats;
use crate::api::wait::Wait;
use crate::driver::hub::{Hub, Seat};
use crate::driver::lane::Made;
use crate::driver::sync::Mutex;
use crate::driver::turn::{self, Shared, Turn};
use crate::driver::{Telling, carry, lock, lock_telling, report};
use crate::error::{Code, Error, Result};
use crate::limits;
use crate::log::Scope;
use crate::os::carrier::Carrier;
use crate::os::listen::{self, ListenSocket};
use crate::os::poller::{Epoll, Interest, READ, WRITE};
use crate::os::{AsFd, Errno};
use crate::os::{fork, trust};
use crate::proto::OpId;
use crate::proto::conn::{Conn, Role};

const LISTEN: u64 = 0;
const FIRST_CLIENT: u64 = 1;

/// Descriptors looked at in one turn.
const READY_BATCH: usize = 64;

#[derive(Debug)]
pub(crate) struct Acceptor {
    address: Address,
    stamp: fork::Stamp,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Watches the socket and the half-open; `None` once closed.
    epoll: Option<Arc<Epoll>>,
    address: Arc<str>,
    options: Common,
    allowed: Option<Vec<u32>>,
    /// Clients beyond those who are waited for are refused.
    only_awaited: bool,
    /// `None` once closed.
    socket: Option<ListenSocket>,
    /// The socket had one client, and that is gone.
    over: bool,
    /// What is watched on the listening socket.
    watched: Interest,
    /// Accepting pauses until then.
    resume_at: Option<Instant>,
    half_open: BTreeMap<u64, HalfOpen>,
    last_token: u64,
    ready: VecDeque<Made>,
    waiting: VecDeque<Waiting>,
    driver: Option<Driver>,
    refusals: VecDeque<Refusal>,
    stats: ListenerStats,
}

/// An accept that waits.
#[derive(Debug, Clone, Copy)]
struct Waiting {
    op: OpId,
    deadline: Option<Instant>,
    /// It gets the client; otherwise it is only told that one is ready.
    takes: bool,
}

#[derive(Debug)]
enum Driver {
    Direct(Box<Turn<Made>>),
    Seated(Seat),
}

#[derive(Debug)]
struct HalfOpen {
    carrier: Carrier,
    conn: Conn,
    credentials: Option<Credentials>,
    watched: Interest,
    grant: Grant,
}

/// The place of a client of a shared socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Grant {
    /// None yet.
    No,
    /// It is about to take it, until then.
    Until(Instant),
    /// It was about to, for too long: it still may, but others are served meanwhile.
    Late,
}

impl HalfOpen {
    fn is_granted(&self) -> bool {
        !self.conn.agreed().peer_id.is_empty()
    }

    /// When others need not wait for this one any more.
    fn patience(&self) -> Option<Instant> {
        match self.grant {
            Grant::Until(at) => Some(at),
            Grant::No | Grant::Late => None,
        }
    }
}

impl Acceptor {
    pub(crate) fn bind(address: &Address, options: &ListenOptions) -> Result<Acceptor> {
        let socket = ListenSocket::bind(address, &options.common, options.backlog)?;
        let epoll = Arc::new(Epoll::new()?);
        epoll.set(socket.as_fd(), LISTEN, Interest::empty(), READ)?;
        Ok(Acceptor {
            address: socket.address().clone(),
            stamp: fork::Stamp::now(),
            state: Mutex::new(State {
                epoll: Some(epoll),
                address: socket.address().to_string().into(),
                allowed: trust::allowed_uids(address, &options.common),
                options: options.common.clone(),
                only_awaited: options.only_awaited,
                socket: Some(socket),
                over: false,
                watched: READ,
                resume_at: None,
                half_open: BTreeMap::new(),
                last_token: FIRST_CLIENT,
                ready: VecDeque::new(),
                waiting: VecDeque::new(),
                driver: None,
                refusals: VecDeque::new(),
                stats: ListenerStats::default(),
            }),
        })
    }

    pub(crate) fn address(&self) -> &Address {
        &self.address
    }

    /// A blocking accept.
    pub(crate) fn accept(&self, mut wait: Wait<'_>) -> Result<Made> {
        self.stamp.check()?;
        let _scope = Scope::enter();
        let op = {
            let mut state = lock_telling(&self.state);
            state.check_open()?;
            if let Driver::Seated(_) = state.driver.get_or_insert_with(|| Driver::Direct(Box::default())) {
                return Err(Error::new(Code::WrongDriver, "a context drives this listener: use its accept"));
            }
            if let Some(made) = state.take_ready() {
                return Ok(made);
            }
            let turn = state.turn();
            let op = turn.new_op();
            turn.expect(op);
            state.waiting.push_back(Waiting { op, deadline: None, takes: true });
            state.watch_listener();
            op
        };
        turn::wait(&self.state, op, &mut wait, false)
    }

    /// An accept driven by a context, which the listener joins with its first.
    pub(crate) fn submit_accept(self: &Arc<Acceptor>, hub: &Arc<Hub>, deadline: Option<Instant>) -> Result<OpId> {
        let mut state = self.join(hub)?;
        let op = state.wait(hub, deadline, true)?;
        state.settle();
        Ok(op)
    }

    /// A client that is ready, or an accept that will be told when one is.
    pub(crate) fn poll_accept(
        self: &Arc<Acceptor>,
        hub: &Arc<Hub>,
        deadline: Option<Instant>,
    ) -> Result<Result<Made, OpId>> {
        let mut state = self.join(hub)?;
        if let Some(made) = state.take_ready() {
            return Ok(Ok(made));
        }
        let op = state.wait(hub, deadline, false)?;
        state.settle();
        Ok(Err(op))
    }

    /// Has `hub` drive this listener, if nothing else does.
    fn join(self: &Arc<Acceptor>, hub: &Arc<Hub>) -> Result<Telling<'_, State>> {
        self.stamp.check()?;
        let mut state = lock_telling(&self.state);
        state.check_open()?;
        if let (None, Some(epoll)) = (&state.driver, &state.epoll) {
            let mut seat = hub.seat_acceptor(self)?;
            seat.watch(epoll.as_fd(), READ);
            state.driver = Some(Driver::Seated(seat));
        }
        match &state.driver {
            Some(Driver::Seated(seat)) => seat.check(hub)?,
            _ => return Err(Error::new(Code::WrongDriver, "this listener is used with blocking accepts")),
        }
        Ok(state)
    }

    /// Something is ready, or time has come. Says whether there may be more to do at once.
    pub(crate) fn pump(&self, alarm: bool) -> bool {
        let mut state = lock_telling(&self.state);
        if alarm && let Some(Driver::Seated(seat)) = &mut state.driver {
            seat.alarm_rang();
        }
        state.pump(Instant::now())
    }

    pub(crate) fn cancel(&self, op: OpId) {
        lock_telling(&self.state).end_accept(op, Code::Cancelled);
    }

    pub(crate) fn close(&self) {
        if !self.stamp.current() {
            return;
        }
        let mut state = lock_telling(&self.state);
        // Frees the path and the lock at once.
        let epoll = state.epoll.take();
        if let (Some(mut socket), Some(epoll)) = (state.socket.take(), &epoll) {
            // Closing would take it out too, unless the descriptor is not the only one.
            let _ = epoll.set(socket.as_fd(), LISTEN, state.watched, Interest::empty());
            socket.shut();
        }
        state.half_open.clear();
        state.ready.clear();
        let waiting: Vec<OpId> = state.waiting.iter().map(|w| w.op).collect();
        for op in waiting {
            state.end_accept(op, Code::Closed);
        }
        if let (Some(Driver::Seated(seat)), Some(epoll)) = (&mut state.driver, &epoll) {
            seat.watch(epoll.as_fd(), Interest::empty());
            seat.leave();
        }
    }

    pub(crate) fn stats(&self) -> Result<ListenerStats> {
        self.stamp.check()?;
        let state = lock(&self.state);
        Ok(ListenerStats { half_open: state.half_open.len(), ready: state.ready.len(), ..state.stats.clone() })
    }

    pub(crate) fn take_refusals(&self) -> Result<Vec<Refusal>> {
        self.stamp.check()?;
        Ok(lock(&self.state).refusals.drain(..).collect())
    }
}

impl State {
    fn check_open(&self) -> Result<()> {
        match self.socket {
            Some(_) if self.over && self.ready.is_empty() => Err(over()),
            Some(_) => Ok(()),
            None => Err(closed()),
        }
    }

    fn wait(&mut self, hub: &Hub, deadline: Option<Instant>, takes: bool) -> Result<OpId> {
        if self.waiting.len() >= limits::MAX_ACCEPTS {
            let limit = limits::MAX_ACCEPTS;
            return Err(Error::new(Code::QueueFull, format!("{limit} accepts are pending on this listener")));
        }
        let op = hub.new_op();
        if let Some(Driver::Seated(seat)) = &self.driver {
            seat.expect(op);
        }
        self.waiting.push_back(Waiting { op, deadline, takes });
        Ok(op)
    }

    fn take_ready(&mut self) -> Option<Made> {
        let made = self.ready.pop_front()?;
        self.watch_listener();
        Some(made)
    }

    /// Clients who were granted a place and have not finished their handshake.
    fn granted(&self) -> usize {
        self.half_open.values().filter(|client| client.is_granted()).count()
    }

    /// Listens unless there is a reason not to.
    fn watch_listener(&mut self) {
        let (Some(socket), Some(epoll)) = (&self.socket, &self.epoll) else { return };
        let room = match socket.shared() {
            // The next server can have whom nobody here waits for. Who was granted a place is about to take it, unless it
            // takes too long.
            true => self.waiting.len() > self.half_open.values().filter(|client| client.patience().is_some()).count(),
            false => self.ready.len() < limits::MAX_READY,
        };
        let listening = room && self.resume_at.is_none() && !self.over;
        let wanted = if listening { READ } else { Interest::empty() };
        if wanted == self.watched {
            return;
        }
        match epoll.set(socket.as_fd(), LISTEN, self.watched, wanted) {
            Ok(()) => self.watched = wanted,
            // Nothing is left to watch it with: as if nothing was left to accept with.
            Err(_) if listening => self.resume_at = Some(Instant::now() + limits::ACCEPT_BACKOFF),
            Err(_) => {}
        }
    }

    /// Takes clients from the backlog; says whether there may be more at once.
    fn accept_batch(&mut self, now: Instant) -> bool {
        let most = match &self.socket {
            Some(socket) if socket.shared() => 1,
            _ => limits::ACCEPT_BATCH,
        };
        for _ in 0..most {
            let Some(socket) = &self.socket else { return false };
            match socket.accept() {
                Ok(Some(carrier)) => self.greet(carrier, now),
                Ok(None) => {
                    self.over = true;
                    return false;
                }
                Err(Errno::AGAIN) => return false,
                // A client that left again, or a passing condition: the next one may be fine.
                Err(error) if listen::passes(error) => {}
                Err(error) => {
                    let error = match error {
                        // The client stays in the backlog and is served once something was freed.
                        Errno::MFILE | Errno::NFILE | Errno::NOBUFS | Errno::NOMEM => Error::new(
                            Code::TooManyFiles,
                            "no descriptors or memory are left: clients wait in the backlog",
                        ),
                        // Shut by somebody else who has it, say: it would fail the same way at once.
                        _ => Error::os("accepting", error),
                    };
                    self.stats.pauses += 1;
                    report::paused(&self.address, &error);
                    self.resume_at = Some(now + limits::ACCEPT_BACKOFF);
                    return false;
                }
            }
        }
        true
    }

    /// Starts the handshake with a new client.
    fn greet(&mut self, carrier: Carrier, now: Instant) {
        self.stats.connections += 1;
        if self.half_open.len() >= limits::MAX_HALF_OPEN
            && let Some(&oldest) = self.half_open.keys().next()
        {
            self.refuse(oldest, Error::new(Code::TooManyHandshakes, "newer connections needed the place"));
        }
        let role = Role::Acceptor { peer_id: format!("peer-{}", self.stats.connections) };
        // Without a random number nobody can be greeted; the client sees the end.
        let (Ok(config), Some(epoll)) = (self.options.config(role, &carrier), &self.epoll) else { return };
        let identity = carrier.credentials();
        let verdict = identity.clone().and_then(|who| trust::check(who, self.allowed.as_deref()));
        self.last_token += 1;
        let token = self.last_token;
        let wanted = carrier.watch(READ);
        let watch = epoll.set(carrier.as_fd(), token, Interest::empty(), wanted);
        let watched = if watch.is_ok() { wanted } else { Interest::empty() };
        let conn = Conn::new(config, now);
        self.half_open
            .insert(token, HalfOpen { carrier, conn, credentials: identity.ok().flatten(), watched, grant: Grant::No });
        match verdict.and(watch) {
            Ok(()) => self.advance(token, now),
            Err(error) => self.refuse(token, error),
        }
    }

    fn refuse(&mut self, token: u64, error: Error) {
        if let Some(client) = self.half_open.get_mut(&token) {
            client.conn.refuse(error);
            self.finish(token);
        }
    }

    /// Reads what the client sent and moves it on.
    fn advance(&mut self, token: u64, now: Instant) {
        let awaited = !self.only_awaited
            || self.half_open.get(&token).is_some_and(HalfOpen::is_granted)
            || self.waiting.len() > self.granted() + self.ready.len();
        if !awaited {
            return self.refuse(token, Error::new(Code::QueueFull, "the other side has whom it waited for"));
        }
        if let Some(client) = self.half_open.get_mut(&token) {
            // A handshake is small; what may be left is pipelined, and read by whoever gets the connection.
            let _ = carry::fill(&mut client.conn, &client.carrier, now);
            self.finish(token);
        }
    }

    /// Takes a client out of the half-open ones if its handshake ended, well or not.
    fn finish(&mut self, token: u64) {
        let (Some(client), Some(epoll)) = (self.half_open.get_mut(&token), &self.epoll) else { return };
        carry::flush(&mut client.conn, &client.carrier);
        // A client may send and leave at once; what it sent is still received.
        let failure = client.conn.end_error().filter(|_| !client.conn.was_opened()).cloned();
        if failure.is_none() && !client.conn.was_opened() {
            let wanted = client.carrier.watch(if client.conn.wants_write() { READ | WRITE } else { READ });
            let fd = client.carrier.as_fd();
            if wanted != client.watched && epoll.set(fd, token, client.watched, wanted).is_ok() {
                client.watched = wanted;
            }
            let shared = self.socket.as_ref().is_some_and(ListenSocket::shared);
            if shared && client.grant == Grant::No && client.is_granted() {
                client.grant = Grant::Until(Instant::now() + limits::GRANT_PATIENCE);
            }
            return;
        }
        let Some(client) = self.half_open.remove(&token) else { return };
        // Closing would take it out too, unless the application keeps the descriptor.
        let _ = epoll.set(client.carrier.as_fd(), token, client.watched, Interest::empty());
        match failure {
            None => {
                let mut client = client;
                report::conn(&mut client.conn, &self.address);
                self.stats.accepted += 1;
                self.ready.push_back(Made {
                    carrier: client.carrier,
                    conn: client.conn,
                    credentials: client.credentials,
                    address: self.address.clone(),
                    spin: self.options.spin,
                });
            }
            Some(error) => {
                report::refused(&self.address, &error);
                *self.stats.refused.entry(error.code()).or_default() += 1;
                if self.refusals.len() == limits::MAX_REFUSALS {
                    self.refusals.pop_front();
                }
                self.refusals.push_back(Refusal { error, credentials: client.credentials });
            }
        }
    }

    /// Matches finished handshakes with accepts, and hands the accepts over.
    fn settle(&mut self) {
        let (mut finished, mut told) = (Vec::new(), Vec::new());
        while !self.ready.is_empty()
            && let Some(Waiting { op, takes, .. }) = self.waiting.pop_front()
        {
            match takes {
                true => finished.extend(self.ready.pop_front().map(|made| (op, Ok(made)))),
                false => told.push(op),
            }
        }
        if self.over {
            finished.extend(self.waiting.drain(..).map(|w| (w.op, Err(over()))));
        }
        self.hand_over(finished);
        if let Some(Driver::Seated(seat)) = &self.driver
            && !told.is_empty()
        {
            seat.tell(told);
        }
        self.watch_listener();
        let timeout = self.next_timeout();
        if let (Some(Driver::Seated(seat)), Some(epoll)) = (&mut self.driver, &self.epoll) {
            seat.watch(epoll.as_fd(), READ);
            seat.set_alarm(timeout);
        }
    }

    fn hand_over(&mut self, finished: Vec<(OpId, Result<Made>)>) {
        match &mut self.driver {
            Some(Driver::Direct(turn)) => finished.into_iter().for_each(|(op, result)| turn.finish(op, result)),
            Some(Driver::Seated(seat)) if !finished.is_empty() => seat.deliver_accepted(finished),
            _ => {}
        }
    }

    fn end_accept(&mut self, op: OpId, code: Code) {
        let Some(at) = self.waiting.iter().position(|w| w.op == op) else { return };
        self.waiting.remove(at);
        let error = match code {
            Code::Closed => closed(),
            Code::Timeout => Error::new(code, "no client came before the deadline passed"),
            _ => turn::given_up(code),
        };
        self.hand_over(vec![(op, Err(error))]);
        self.watch_listener();
    }
}

impl Shared for State {
    type Out = Made;
    type Fd = Arc<Epoll>;

    fn turn(&mut self) -> &mut Turn<Made> {
        match &mut self.driver {
            Some(Driver::Direct(turn)) => turn,
            _ => unreachable!("a blocking accept makes the listener direct before it takes a turn"),
        }
    }

    fn descriptor(&self) -> Option<(Arc<Epoll>, Interest)> {
        self.epoll.as_ref().map(|epoll| (epoll.clone(), READ))
    }

    fn next_timeout(&mut self) -> Option<Instant> {
        let grants = self.half_open.values().filter_map(HalfOpen::patience).min();
        let handshakes = self.half_open.values_mut().filter_map(|c| c.conn.next_timeout());
        let accepts = self.waiting.iter().filter_map(|w| w.deadline);
        handshakes.chain(accepts).chain(grants).chain(self.resume_at).min()
    }

    fn pump(&mut self, now: Instant) -> bool {
        if self.resume_at.is_some_and(|at| at <= now) {
            self.resume_at = None;
            self.watch_listener();
        }
        let ready = self.epoll.as_ref().map_or_else(Vec::new, |epoll| epoll.ready(READY_BATCH));
        // A full batch may have left somebody out. What stays readable is still watched, and tells again.
        let mut more = ready.len() == READY_BATCH;
        for token in ready {
            match token {
                LISTEN => more |= self.accept_batch(now),
                token => self.advance(token, now),
            }
        }
        for client in self.half_open.values_mut().filter(|client| client.patience().is_some_and(|at| at <= now)) {
            client.grant = Grant::Late;
        }
        let late = |c: &mut HalfOpen| c.conn.next_timeout().is_some_and(|at| at <= now);
        let overdue: Vec<u64> = self.half_open.iter_mut().filter_map(|(&t, c)| late(c).then_some(t)).collect();
        for token in overdue {
            if let Some(client) = self.half_open.get_mut(&token) {
                client.conn.handle_timeout(now);
                self.finish(token);
            }
        }
        let expired: Vec<OpId> =
            self.waiting.iter().filter(|w| w.deadline.is_some_and(|d| d <= now)).map(|w| w.op).collect();
        self.settle();
        for op in expired {
            self.end_accept(op, Code::Timeout);
        }
        more
    }

    fn give_up(&mut self, op: OpId, code: Code) {
        self.end_accept(op, code);
    }
}

fn closed() -> Error {
    Error::new(Code::Closed, "the listener was closed")
}

fn over() -> Error {
    Error::new(Code::PeerClosed, "the listener's only client has ended its connection")
}
