//! One open connection: a carrier, its protocol state, and who drives it.

mod state;

use std::sync::{Arc, OnceLock, Weak};
use std::time::Instant;

use crate::api::info::{Credentials, Info};
use crate::api::options::{Common, Spin};
use crate::api::payload::{Payload, Prepared};
use crate::api::stats::Stats;
use crate::api::wait::Wait;
use crate::driver::hub::Hub;
use crate::driver::iothread::Share;
pub(crate) use crate::driver::lane::state::Driver;
use crate::driver::lane::state::{State, ended};
use crate::driver::spin::Spinner;
use crate::driver::sync::Mutex;
use crate::driver::turn::{self, Shared, Turn};
use crate::driver::{carry, lock, lock_telling};
use crate::error::{Code, Error, Result};
use crate::log::Scope;
use crate::os::AsFd;
use crate::os::carrier::Carrier;
use crate::os::poller::Interest;
use crate::os::{fork, random, trust};
use crate::proto::channel::Channel;
use crate::proto::conn::{Conn, Post, Role};
use crate::proto::level1::With;
use crate::proto::{OpId, Outcome, Step};

pub(crate) struct Lane {
    stamp: fork::Stamp,
    credentials: Option<Credentials>,
    carrier: &'static str,
    address: Arc<str>,
    /// No message of this side is larger, whatever the other side takes.
    largest: usize,
    /// Made when first asked for: many a connection is never asked.
    info: OnceLock<Box<Info>>,
    state: Mutex<State>,
}

/// What connecting and accepting know about a connection.
#[derive(Debug)]
pub(crate) struct Made {
    pub(crate) carrier: Carrier,
    pub(crate) conn: Conn,
    pub(crate) credentials: Option<Credentials>,
    pub(crate) address: Arc<str>,
    pub(crate) spin: Spin,
}

impl Made {
    /// To be driven by blocking callers.
    pub(crate) fn into_direct(self) -> Arc<Lane> {
        let spinner = Spinner::new(self.spin, self.credentials.map_or(0, |c| c.pid));
        Lane::new(self, |lane| Driver::Direct(Box::new(Turn::new(spinner, Share::of(lane.clone())))))
    }
}

/// The connecting side's half of [`Made`], its request ready to be sent.
pub(crate) fn connected(
    carrier: Carrier,
    address: Arc<str>,
    options: &Common,
    allowed: Option<&[u32]>,
) -> Result<Made> {
    let credentials = carrier.credentials()?;
    trust::check(credentials, allowed)?;
    let config = options.config(Role::Connector, &carrier)?;
    let conn = Conn::new(config, Instant::now());
    Ok(Made { carrier, conn, credentials, address, spin: options.spin })
}

impl std::fmt::Debug for Lane {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lane").field("address", &self.address).finish_non_exhaustive()
    }
}

impl Lane {
    pub(crate) fn new(made: Made, driver: impl FnOnce(&Weak<Lane>) -> Driver) -> Arc<Lane> {
        let address = made.address;
        Arc::new_cyclic(|lane| Lane {
            stamp: fork::Stamp::now(),
            credentials: made.credentials,
            carrier: made.carrier.kind().name(),
            address: address.clone(),
            largest: made.conn.largest(),
            info: OnceLock::new(),
            state: Mutex::new(State {
                conn: made.conn,
                address,
                driver: driver(lane),
                carrier: Some(Arc::new(made.carrier)),
            }),
        })
    }

    pub(crate) fn check(&self) -> Result<()> {
        self.stamp.check()
    }

    pub(crate) fn info(&self) -> Result<Info> {
        self.check()?;
        if let Some(info) = self.info.get() {
            return Ok(Info::clone(info));
        }
        let instance = random::instance()?;
        let info = self.info.get_or_init(|| {
            let state = lock(&self.state);
            let agreed = state.conn.agreed();
            Box::new(Info {
                peer_id: agreed.peer_id.clone(),
                level: agreed.level,
                features: agreed.features.iter().map(|f| (*f).to_owned()).collect(),
                channels: agreed.channels.as_slice().to_vec(),
                instance,
                peer_instance: agreed.instance.clone(),
                credentials: self.credentials,
                carrier: self.carrier,
                address: self.address.to_string(),
                max_message: agreed.max_message,
                max_calls: agreed.max_calls,
                peer_keepalive: agreed.peer_keepalive,
            })
        });
        Ok(Info::clone(info))
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
        let mut state = lock_telling(&self.state);
        state.conn.say_good_bye();
        if let Some(carrier) = state.carrier.clone() {
            carry::flush(&mut state.conn, &carrier);
        }
        state.conn.close();
        state.settle();
    }

    /// From now on the I/O thread attends to it while no caller does.
    pub(crate) fn attach(&self) -> Result<()> {
        self.check()?;
        let mut state = lock_telling(&self.state);
        if state.conn.finished() {
            return Err(state.conn.end_error().cloned().unwrap_or_else(ended));
        }
        state.direct()?.share().0.attach()?;
        state.attend();
        Ok(())
    }

    /// Somebody has to answer, or to ask, while the program does something else.
    pub(crate) fn attach_for_keepalive(&self) -> Result<()> {
        match self.peek(|conn| conn.is_open() && conn.has_keepalive()) {
            true => self.attach(),
            false => Ok(()),
        }
    }

    // --- blocking callers ------------------------------------------------------------------------

    /// Changes the connection without waiting for anything, and sends what that gave to send. Without effect in a
    /// forked child, whose connection it is not.
    pub(crate) fn with<T: Default>(&self, change: impl FnOnce(&mut Conn) -> T) -> T {
        if !self.stamp.current() {
            return T::default();
        }
        let mut state = lock_telling(&self.state);
        let result = change(&mut state.conn);
        state.move_on();
        result
    }

    /// The same, for what can fail.
    pub(crate) fn with_checked<T>(&self, change: impl FnOnce(&mut Conn) -> Result<T>) -> Result<T> {
        self.check()?;
        let mut state = lock_telling(&self.state);
        let result = change(&mut state.conn);
        state.move_on();
        result
    }

    /// Looks at the connection. In a forked child there is nothing to see.
    pub(crate) fn peek<T: Default>(&self, look: impl FnOnce(&Conn) -> T) -> T {
        if !self.stamp.current() {
            return T::default();
        }
        look(&lock(&self.state).conn)
    }

    /// Takes what has arrived, unless somebody else is about to.
    pub(crate) fn look(&self) {
        if self.stamp.current() {
            lock_telling(&self.state).pump(Instant::now());
        }
    }

    pub(crate) fn level(&self) -> u8 {
        self.peek(|conn| conn.agreed().level)
    }

    /// Starts an operation and waits for it.
    pub(crate) fn run(&self, mut wait: Wait<'_>, start: impl FnOnce(&mut Conn, OpId) -> Step) -> Result<Outcome> {
        self.run_with(&mut wait, start)
    }

    pub(crate) fn run_with(&self, wait: &mut Wait<'_>, start: impl FnOnce(&mut Conn, OpId) -> Step) -> Result<Outcome> {
        // What begins here is told once it has ended.
        let _scope = Scope::enter();
        let op = match self.begin(start)? {
            Ok(outcome) => return outcome,
            Err(op) => op,
        };
        turn::wait(&self.state, op, wait, true)
    }

    /// Sends many messages, a lock and a write for as many as fit.
    pub(crate) fn send_batch<'p>(
        &self,
        channel: Channel,
        payloads: impl Iterator<Item = &'p [u8]>,
        mut wait: Wait<'_>,
    ) -> Result<()> {
        self.check()?;
        let _scope = Scope::enter();
        let mut payloads = payloads.peekable();
        while payloads.peek().is_some() {
            let mut state = lock_telling(&self.state);
            state.direct()?;
            let short = loop {
                let Some(payload) = payloads.peek() else { break Ok(()) };
                match state.conn.send_short(channel, payload) {
                    Ok(true) => drop(payloads.next()),
                    Ok(false) => break Ok(()),
                    Err(error) => break Err(error),
                }
            };
            // What was taken leaves, whatever becomes of the next.
            state.move_on();
            short?;
            // A large one, or one that has to wait: its end is the end of all before it.
            let Some(payload) = payloads.next() else { break };
            let op = state.direct()?.new_op();
            let post = Post::Message(channel, With::default());
            let step = state.post(op, post, payload, None);
            let step = state.started(op, step, true);
            drop(state);
            match step {
                Ok(outcome) => drop(outcome?),
                Err(op) => drop(turn::wait(&self.state, op, &mut wait, true)?),
            }
        }
        // What is staged has no operation of its own.
        self.run_with(&mut wait, |conn, op| conn.flush(op, None)).map(drop)
    }

    /// Starts an operation: its result, or the id to [`finish`](Lane::finish) or [`abandon`](Lane::abandon).
    fn begin(&self, start: impl FnOnce(&mut Conn, OpId) -> Step) -> Result<Result<Result<Outcome>, OpId>> {
        self.check()?;
        let mut state = lock_telling(&self.state);
        let op = state.direct()?.new_op();
        let step = start(&mut state.conn, op);
        Ok(state.started(op, step, true))
    }

    /// Whoever sends what is large holds the lock for long; others go first.
    fn prepared<P: Payload>(&self, payload: P) -> Prepared<P> {
        let payload = Prepared::new(payload, self.largest);
        if payload.is_large() {
            self.state.give_way();
        }
        payload
    }

    /// Sends a message or a request straight from the caller's memory where the way is free.
    fn begin_frame(
        &self,
        post: Post,
        payload: impl Payload,
        deadline: Option<Instant>,
        waits: bool,
    ) -> Result<Result<Result<Outcome>, OpId>> {
        self.check()?;
        let payload = self.prepared(payload);
        let mut state = lock_telling(&self.state);
        let op = state.direct()?.new_op();
        let step = state.post(op, post, payload, deadline);
        Ok(state.started(op, step, waits))
    }

    /// Sends a message or an answer, and waits until it has left.
    pub(crate) fn send(&self, post: Post, payload: impl Payload, mut wait: Wait<'_>) -> Result<()> {
        let _scope = Scope::enter();
        match self.begin_frame(post, payload, None, true)? {
            Ok(outcome) => outcome.map(drop),
            Err(op) => turn::wait(&self.state, op, &mut wait, true).map(drop),
        }
    }

    /// Starts a call that ends at `deadline` whoever waits for it.
    pub(crate) fn start_call(&self, post: Post, payload: impl Payload, deadline: Option<Instant>) -> Result<OpId> {
        match self.begin_frame(post, payload, deadline, false)? {
            Ok(Err(error)) => Err(error),
            Ok(Ok(_)) => Err(Error::new(Code::Internal, "a call ended before it was waited for")),
            Err(op) => Ok(op),
        }
    }

    pub(crate) fn finish(&self, op: OpId, mut wait: Wait<'_>) -> Result<Outcome> {
        self.check()?;
        // Its end may have come with another's: then nobody was woken for this caller.
        let mut state = lock(&self.state);
        if let Some(result) = state.direct()?.take(op) {
            state.attend();
            return result;
        }
        drop(state);
        turn::wait(&self.state, op, &mut wait, false)
    }

    /// Whether `op`, which was started before, has ended; for a forked child it has.
    pub(crate) fn is_finished(&self, op: OpId) -> bool {
        !self.stamp.current() || lock(&self.state).direct().is_ok_and(|turn| turn.is_finished(op))
    }

    /// Whether `op` is pending, or its end is still to be handed out; never to a forked child.
    pub(crate) fn expects(&self, op: OpId) -> bool {
        self.stamp.current() && lock(&self.state).direct().is_ok_and(|turn| turn.expects(op))
    }

    /// The same as [`is_finished`](Lane::is_finished), after a look at the carrier.
    pub(crate) fn has_ended(&self, op: OpId) -> bool {
        self.look();
        self.is_finished(op)
    }

    pub(crate) fn abandon(&self, op: OpId) {
        if !self.stamp.current() {
            return;
        }
        let mut state = lock_telling(&self.state);
        state.conn.cancel(op);
        if let Driver::Direct(turn) = &mut state.driver {
            turn.forget(op);
        }
        state.move_on();
    }

    // --- a context -------------------------------------------------------------------------------

    /// Starts an operation under an id of `hub`. `wrong_driver` unless that context drives this lane.
    pub(crate) fn submit(&self, hub: &Arc<Hub>, op: OpId, start: impl FnOnce(&mut Conn) -> Step) -> Result<Step> {
        self.check()?;
        let mut state = lock_telling(&self.state);
        state.seated()?.check(hub)?;
        let step = start(&mut state.conn);
        Ok(state.submitted(op, step))
    }

    /// Sends a message or a request under the context's id.
    pub(crate) fn submit_frame(
        &self,
        hub: &Arc<Hub>,
        op: OpId,
        post: Post,
        payload: impl Payload,
        deadline: Option<Instant>,
    ) -> Result<Step> {
        self.check()?;
        let payload = self.prepared(payload);
        let mut state = lock_telling(&self.state);
        state.seated()?.check(hub)?;
        let step = state.post(op, post, payload, deadline);
        Ok(state.submitted(op, step))
    }

    /// Sends many messages under one id of the context's.
    pub(crate) fn submit_batch<'p>(
        &self,
        hub: &Arc<Hub>,
        op: OpId,
        channel: Channel,
        payloads: impl Iterator<Item = &'p [u8]>,
        deadline: Option<Instant>,
    ) -> Result<Step> {
        self.check()?;
        let mut state = lock_telling(&self.state);
        state.seated()?.check(hub)?;
        let step = state.send_all(op, channel, payloads, deadline);
        Ok(state.submitted(op, step))
    }

    /// The socket is ready, or time has come. Says whether there may be more to do at once.
    pub(crate) fn pump(&self, alarm: bool) -> bool {
        let mut state = lock_telling(&self.state);
        let now = Instant::now();
        let interest = match state.driver {
            Driver::Direct(_) => state.interest(),
            Driver::Seated(_) => Interest::empty(),
        };
        let State { driver, carrier, .. } = &mut *state;
        let (mut reads, mut threads) = (true, false);
        match driver {
            Driver::Seated(seat) if alarm => seat.alarm_rang(),
            Driver::Seated(_) => {}
            Driver::Direct(turn) => {
                let rest = turn.unattended(interest);
                let (share, led, waiting) = turn.share();
                if !share.woken(carrier.as_ref().map(AsFd::as_fd), alarm, rest, led, waiting, now) {
                    return false;
                }
                (reads, threads) = (share.reads(waiting, now), true);
            }
        }
        let more = if reads {
            state.pump(now)
        } else {
            state.conn.handle_timeout(now);
            state.move_on();
            false
        };
        let busy = threads && (more || state.conn.wants_write());
        drop(state);
        if busy {
            // The I/O thread comes back soon, and holds the lock for long; a loop is not kept waiting for anybody.
            self.state.give_way();
        }
        more
    }

    pub(crate) fn cancel(&self, op: OpId) {
        let mut state = lock_telling(&self.state);
        state.conn.cancel(op);
        state.move_on();
    }
}
