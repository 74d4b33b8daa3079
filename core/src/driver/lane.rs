//! One open connection: a socket, its protocol state, and who drives it.

use std::io::IoSlice;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, OnceLock, Weak};
use std::time::Instant;

use crate::api::info::{Credentials, Info};
use crate::api::options::{Common, Spin};
use crate::api::payload::Payload;
use crate::api::stats::Stats;
use crate::api::wait::Wait;
use crate::driver::hub::{Hub, Seat};
use crate::driver::iothread::Share;
use crate::driver::spin::Spinner;
use crate::driver::turn::{self, Shared, Turn};
use crate::driver::{carry, lock};
use crate::error::{Code, Error, Result};
use crate::os::poller::{Interest, READ, WRITE};
use crate::os::{credentials, fork, random, socket};
use crate::proto::channel::Channel;
use crate::proto::conn::{Config, Conn, Inline, Role};
use crate::proto::{OpId, Outcome, Step};

#[derive(Debug)]
pub(crate) struct Lane {
    stamp: fork::Stamp,
    credentials: Credentials,
    address: String,
    max_message: usize,
    info: OnceLock<Info>,
    state: Mutex<State>,
}

#[derive(Debug)]
pub(crate) struct State {
    conn: Conn,
    driver: Driver,
    /// `None` once the connection is finished. Whoever polls it holds a share, so it is closed by the last.
    sock: Option<Arc<OwnedFd>>,
}

/// Who moves this connection's bytes. Chosen when it is made, for its whole life.
#[derive(Debug)]
pub(crate) enum Driver {
    /// Blocking callers, by turns.
    Direct(Turn<Outcome>),
    /// A context.
    Seated(Seat),
}

/// What connecting and accepting know about a connection.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) sock: OwnedFd,
    pub(crate) conn: Conn,
    pub(crate) credentials: Credentials,
    pub(crate) address: String,
    pub(crate) max_message: usize,
    pub(crate) spin: Spin,
}

impl Made {
    /// To be driven by blocking callers.
    pub(crate) fn into_direct(self) -> Arc<Lane> {
        let spinner = Spinner::new(self.spin, self.credentials.pid);
        Lane::new(self, |lane| Driver::Direct(Turn::new(spinner, Share::of(lane.clone()))))
    }
}

/// The connecting side's half of [`Made`], its request ready to be sent.
pub(crate) fn connected(sock: OwnedFd, address: String, options: &Common, allowed: Option<&[u32]>) -> Result<Made> {
    let credentials = credentials::of_peer(&sock)?;
    credentials::check(credentials, allowed)?;
    let config = Config {
        role: Role::Connector { instance: random::instance()? },
        channels: options.channels.clone(),
        auth_token: options.auth_token.clone(),
        max_message: options.max_message,
        handshake_timeout: options.handshake_timeout,
    };
    let conn = Conn::new(config, Instant::now());
    Ok(Made { sock, conn, credentials, address, max_message: options.max_message, spin: options.spin })
}

impl Lane {
    pub(crate) fn new(made: Made, driver: impl FnOnce(&Weak<Lane>) -> Driver) -> Arc<Lane> {
        Arc::new_cyclic(|lane| Lane {
            stamp: fork::Stamp::now(),
            credentials: made.credentials,
            address: made.address,
            max_message: made.max_message,
            info: OnceLock::new(),
            state: Mutex::new(State { conn: made.conn, driver: driver(lane), sock: Some(Arc::new(made.sock)) }),
        })
    }

    pub(crate) fn check(&self) -> Result<()> {
        self.stamp.check()
    }

    pub(crate) fn info(&self) -> Result<Info> {
        self.check()?;
        if let Some(info) = self.info.get() {
            return Ok(info.clone());
        }
        let instance = random::instance()?;
        Ok(self
            .info
            .get_or_init(|| {
                let state = lock(&self.state);
                let agreed = state.conn.agreed();
                Info {
                    peer_id: agreed.peer_id.clone(),
                    level: 0,
                    features: Vec::new(),
                    channels: agreed.channels.as_slice().to_vec(),
                    instance,
                    peer_instance: agreed.instance.clone(),
                    credentials: self.credentials,
                    carrier: "unix",
                    address: self.address.clone(),
                    max_message: self.max_message,
                }
            })
            .clone())
    }

    pub(crate) fn stats(&self) -> Result<Stats> {
        self.check()?;
        Ok(lock(&self.state).conn.stats())
    }

    /// Ends the connection for this process. In a forked child the parent's connection is left alone.
    pub(crate) fn close(&self) {
        if !self.stamp.current() {
            return;
        }
        let mut state = lock(&self.state);
        state.conn.close();
        state.settle();
    }

    /// From now on the I/O thread attends to it while no caller does.
    pub(crate) fn attach(&self) -> Result<()> {
        self.check()?;
        let mut state = lock(&self.state);
        if state.conn.finished() {
            return Err(state.conn.end_error().cloned().unwrap_or_else(ended));
        }
        state.direct()?.share().0.attach()?;
        state.attend();
        Ok(())
    }

    // --- blocking callers ------------------------------------------------------------------------

    /// Starts an operation and waits for it.
    pub(crate) fn run(&self, mut wait: Wait<'_>, start: impl FnOnce(&mut Conn, OpId) -> Step) -> Result<Outcome> {
        let op = match self.begin(start)? {
            Ok(outcome) => return outcome,
            Err(op) => op,
        };
        turn::wait(&self.state, op, &mut wait)
    }

    /// Starts an operation: its result, or the id to [`finish`](Lane::finish) or [`abandon`](Lane::abandon).
    fn begin(&self, start: impl FnOnce(&mut Conn, OpId) -> Step) -> Result<Result<Result<Outcome>, OpId>> {
        self.check()?;
        let mut state = lock(&self.state);
        let op = state.direct()?.new_op();
        let step = start(&mut state.conn, op);
        Ok(state.started(op, step))
    }

    /// Sends a message or a request straight from the caller's memory where the way is free.
    fn begin_frame(
        &self,
        channel: Channel,
        payload: impl Payload,
        call: bool,
    ) -> Result<Result<Result<Outcome>, OpId>> {
        self.check()?;
        let mut state = lock(&self.state);
        let op = state.direct()?.new_op();
        let step = state.submit_frame(op, channel, payload, call, None);
        Ok(state.started(op, step))
    }

    pub(crate) fn send(&self, channel: Channel, payload: impl Payload, mut wait: Wait<'_>) -> Result<()> {
        match self.begin_frame(channel, payload, false)? {
            Ok(outcome) => outcome.map(drop),
            Err(op) => turn::wait(&self.state, op, &mut wait).map(drop),
        }
    }

    pub(crate) fn start_call(&self, payload: impl Payload) -> Result<OpId> {
        match self.begin_frame(Channel::COMMAND, payload, true)? {
            Ok(Err(error)) => Err(error),
            Ok(Ok(_)) => Err(Error::new(Code::Internal, "a call ended before it was waited for")),
            Err(op) => Ok(op),
        }
    }

    pub(crate) fn finish(&self, op: OpId, mut wait: Wait<'_>) -> Result<Outcome> {
        self.check()?;
        turn::wait(&self.state, op, &mut wait)
    }

    pub(crate) fn abandon(&self, op: OpId) {
        if !self.stamp.current() {
            return;
        }
        let mut state = lock(&self.state);
        state.conn.cancel(op);
        state.move_on();
        if let Driver::Direct(turn) = &mut state.driver {
            turn.forget(op);
        }
    }

    // --- a context -------------------------------------------------------------------------------

    /// Starts an operation under an id of `hub`. `wrong_driver` unless that context drives this lane.
    pub(crate) fn submit(&self, hub: &Arc<Hub>, op: OpId, start: impl FnOnce(&mut Conn) -> Step) -> Result<Step> {
        self.check()?;
        let mut state = lock(&self.state);
        state.seated()?.check(hub)?;
        let step = start(&mut state.conn);
        Ok(state.submitted(op, step))
    }

    /// Sends a message or a request under the context's id.
    pub(crate) fn submit_frame(
        &self,
        hub: &Arc<Hub>,
        op: OpId,
        channel: Channel,
        payload: impl Payload,
        call: bool,
        deadline: Option<Instant>,
    ) -> Result<Step> {
        self.check()?;
        let mut state = lock(&self.state);
        state.seated()?.check(hub)?;
        let step = state.submit_frame(op, channel, payload, call, deadline);
        Ok(state.submitted(op, step))
    }

    /// The socket is ready, or time has come. Says whether there may be more to do at once.
    pub(crate) fn pump(&self, alarm: bool) -> bool {
        let mut state = lock(&self.state);
        let now = Instant::now();
        let State { driver, sock, .. } = &mut *state;
        match driver {
            Driver::Seated(seat) if alarm => seat.alarm_rang(),
            Driver::Seated(_) => {}
            Driver::Direct(turn) => {
                let (share, led, waiting) = turn.share();
                if !share.woken(sock.as_ref().map(AsFd::as_fd), alarm, led, waiting, now) {
                    return false;
                }
            }
        }
        state.pump(now)
    }

    pub(crate) fn cancel(&self, op: OpId) {
        let mut state = lock(&self.state);
        state.conn.cancel(op);
        state.move_on();
    }
}

impl State {
    fn direct(&mut self) -> Result<&mut Turn<Outcome>> {
        match &mut self.driver {
            Driver::Direct(turn) => Ok(turn),
            Driver::Seated(_) => {
                Err(Error::new(Code::WrongDriver, "a context drives this peer: use the context's calls"))
            }
        }
    }

    fn seated(&mut self) -> Result<&mut Seat> {
        match &mut self.driver {
            Driver::Seated(seat) => Ok(seat),
            Driver::Direct(_) => {
                Err(Error::new(Code::WrongDriver, "this peer was made for blocking calls, not by a context"))
            }
        }
    }

    /// Writes a frame from the caller's memory if nothing is queued before it, else queues it.
    fn submit_frame(
        &mut self,
        op: OpId,
        channel: Channel,
        payload: impl Payload,
        call: bool,
        deadline: Option<Instant>,
    ) -> Step {
        let bytes = payload.as_slice();
        match self.conn.inline_header(channel, bytes.len(), call) {
            Err(error) => Some(Err(error)),
            Ok(None) if call => self.conn.call(op, payload.into_bytes(), deadline),
            Ok(None) => self.conn.send(op, channel, payload.into_bytes(), deadline),
            Ok(Some(header)) => {
                let Some(sock) = &self.sock else { return Some(Err(ended())) };
                let slices = [IoSlice::new(&header), IoSlice::new(bytes)];
                match carry::write(sock.as_fd(), &slices) {
                    Ok(taken) => {
                        let frame = Inline { header, channel, len: bytes.len(), call };
                        self.conn.wrote(op, frame, taken, || payload.into_bytes(), deadline)
                    }
                    Err(error) => {
                        self.conn.write_failed(error.clone());
                        Some(Err(error))
                    }
                }
            }
        }
    }

    /// After a blocking caller started an operation: its result, or its id if it has to be waited for.
    fn started(&mut self, op: OpId, step: Step) -> Result<Result<Outcome>, OpId> {
        if step.is_none()
            && let Driver::Direct(turn) = &mut self.driver
        {
            turn.expect(op);
        }
        self.move_on();
        step.ok_or(op)
    }

    /// After a context's caller started an operation.
    fn submitted(&mut self, op: OpId, step: Step) -> Step {
        if step.is_none()
            && let Driver::Seated(seat) = &mut self.driver
        {
            seat.expect(op);
        }
        self.move_on();
        step
    }

    /// Writes what is queued, and settles.
    fn move_on(&mut self) {
        if let Some(sock) = &self.sock {
            carry::flush(&mut self.conn, sock.as_fd());
        }
        self.settle();
    }

    /// Hands finished operations over, sees to it that somebody attends to the socket, and lets it go
    /// once the connection is finished.
    fn settle(&mut self) {
        match &mut self.driver {
            Driver::Direct(turn) => {
                while let Some((op, result)) = self.conn.poll_done() {
                    turn.finish(op, result);
                }
            }
            Driver::Seated(seat) => seat.deliver(std::iter::from_fn(|| self.conn.poll_done())),
        }
        let interest = self.interest();
        match &mut self.driver {
            Driver::Direct(_) => self.attend(),
            Driver::Seated(seat) => {
                if let Some(sock) = &self.sock {
                    seat.watch(sock.as_fd(), interest);
                }
                seat.set_alarm(self.conn.next_timeout());
                if self.conn.finished() {
                    seat.leave();
                }
            }
        }
        if self.conn.finished()
            && let Some(sock) = self.sock.take()
        {
            if let Driver::Direct(turn) = &mut self.driver {
                turn.share().0.leave(sock.as_fd());
            }
            socket::shut(sock.as_fd());
        }
    }

    fn interest(&self) -> Interest {
        let mut interest = Interest::empty();
        if !self.conn.finished() {
            interest.set(READ, self.conn.wants_read());
            interest.set(WRITE, self.conn.wants_write());
        }
        interest
    }
}

impl Shared for State {
    type Out = Outcome;
    type Fd = Arc<OwnedFd>;

    fn turn(&mut self) -> &mut Turn<Outcome> {
        match &mut self.driver {
            Driver::Direct(turn) => turn,
            Driver::Seated(_) => unreachable!("blocking calls are refused before they take a turn"),
        }
    }

    fn descriptor(&self) -> Option<(Arc<OwnedFd>, Interest)> {
        Some((self.sock.clone()?, self.interest()))
    }

    fn next_timeout(&mut self) -> Option<Instant> {
        self.conn.next_timeout()
    }

    fn pump(&mut self, now: Instant) -> bool {
        let more = match &self.sock {
            Some(sock) => carry::fill(&mut self.conn, sock.as_fd(), now).more,
            None => false,
        };
        self.conn.handle_timeout(now);
        self.move_on();
        more && self.conn.wants_read()
    }

    fn glance(&mut self, now: Instant) -> bool {
        match &self.sock {
            Some(sock) if !carry::fill(&mut self.conn, sock.as_fd(), now).any => return false,
            _ => self.move_on(),
        }
        true
    }

    fn attend(&mut self) {
        let interest = self.interest();
        let Driver::Direct(turn) = &mut self.driver else { return };
        match &self.sock {
            Some(sock) if turn.share().0.concerned() => {
                turn.attend_shared(sock.as_fd(), interest, self.conn.next_timeout());
            }
            _ => turn.attend(interest),
        }
    }

    fn give_up(&mut self, op: OpId, code: Code) {
        self.conn.give_up(op, &turn::given_up(code));
        self.move_on();
    }
}

/// Never met: a connection without a socket has ended, and refuses to send before this is asked.
fn ended() -> Error {
    Error::new(Code::Closed, "the connection has ended")
}
