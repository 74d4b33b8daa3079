//! Where a case is played: the other side, the time that is left, and what is noted.

use std::cell::{Cell, RefCell};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::case::{Ability, Role};
use super::hello::Hello;
use super::lane::Lane;
use super::socket::{Door, Place};
use super::verdict::{Exit, Played, Record, Stop, Verdict};

/// What a run was told.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    pub(super) slow: f64,
    pub(super) token: Option<String>,
    pub(super) secret: Option<String>,
    pub(super) without: Vec<Ability>,
}

impl Settings {
    /// A time as it counts here.
    pub(super) fn time(&self, time: Duration) -> Duration {
        time.mul_f64(self.slow)
    }
}

/// The side under test.
pub(super) enum Other<'a> {
    Server(&'a Place),
    /// A client that comes through this door and calls with this payload.
    Client(&'a Door, String),
}

pub(super) struct Stage<'a> {
    other: Other<'a>,
    pub(super) level: u8,
    pub(super) settings: &'a Settings,
    pub(super) end: Instant,
    came: Cell<bool>,
    record: RefCell<Record>,
}

impl<'a> Stage<'a> {
    pub(super) fn new(other: Other<'a>, level: u8, settings: &'a Settings, seconds: u64) -> Stage<'a> {
        let end = Instant::now() + settings.time(Duration::from_secs(seconds));
        Stage { other, level, settings, end, came: Cell::new(false), record: RefCell::new(Record::new()) }
    }

    pub(super) fn role(&self) -> Role {
        match self.other {
            Other::Server(_) => Role::Server,
            Other::Client(..) => Role::Client,
        }
    }

    /// What the client under test calls with.
    pub(super) fn payload(&self) -> &[u8] {
        match &self.other {
            Other::Server(_) => b"are you there?",
            Other::Client(_, payload) => payload.as_bytes(),
        }
    }

    pub(super) fn into_record(self) -> Record {
        self.record.into_inner()
    }

    // --- connections ----------------------------------------------------------------------------------

    /// A connection on which nothing was said.
    pub(super) fn connect(&self) -> Played<Lane<'_>> {
        match &self.other {
            Other::Server(place) => {
                let socket = place.connect().map_err(|error| Stop::Fail(format!("connecting: {error}")))?;
                Ok(Lane::new(self, socket))
            }
            Other::Client(..) if self.came.replace(true) => Err(Stop::Fail("a client comes once".into())),
            Other::Client(door, _) => match door.accept(self.end)? {
                Some(socket) => Ok(Lane::new(self, socket)),
                None => Err(Stop::Timeout("no client came".into())),
            },
        }
    }

    /// A connection after the handshake, on the level of the case.
    pub(super) fn open(&self) -> Played<Lane<'_>> {
        self.open_as(&Hello::new(self))
    }

    pub(super) fn open_as(&self, hello: &Hello) -> Played<Lane<'_>> {
        let mut lane = self.connect()?;
        lane.shake(hello)?;
        Ok(lane)
    }

    /// A server under test: a request is sent on a new connection, and accepted. The response.
    pub(super) fn ask(&self, request: &Value) -> Played<(Lane<'_>, Value)> {
        let mut lane = self.connect()?;
        lane.say_hello(request.to_string().as_bytes())?;
        let response = lane.expect_response()?;
        Ok((lane, response))
    }

    // --- whole cases ----------------------------------------------------------------------------------

    /// Both sides are at their ease; then these bytes come, and the connection has to end for this reason.
    pub(super) fn fault(&self, bytes: impl FnOnce(&Lane<'_>) -> Vec<u8>, names: &str) -> Played {
        let mut lane = self.open()?;
        let bytes = bytes(&lane);
        lane.send(&bytes)?;
        lane.expect_error(names)
    }

    /// These bytes change nothing: a call is answered behind them.
    pub(super) fn ignores(&self, bytes: impl FnOnce(&Lane<'_>) -> Vec<u8>) -> Played {
        let mut lane = self.open()?;
        let bytes = bytes(&lane);
        lane.send(&bytes)?;
        lane.works()?;
        lane.leave()
    }

    /// A server under test: these bytes are all it gets, and it turns them away for this reason.
    pub(super) fn turned_away(&self, bytes: &[u8], names: &str) -> Played {
        let mut lane = self.connect()?;
        lane.send(bytes)?;
        lane.expect_error(names)
    }

    /// A server under test: a request with these members is refused.
    pub(super) fn refused(&self, request: &Value, names: &str) -> Played {
        let mut lane = self.connect()?;
        lane.say_hello(request.to_string().as_bytes())?;
        lane.expect_error(names)
    }

    // --- what is noted --------------------------------------------------------------------------------

    /// The specification leaves it open.
    pub(super) fn info(&self, what: impl Into<String>) {
        self.record.borrow_mut().behaviour(Verdict::Info, what);
    }

    /// A SHOULD was not kept.
    pub(super) fn non_strict(&self, what: impl Into<String>) {
        self.record.borrow_mut().behaviour(Verdict::NonStrict, what);
    }

    pub(super) fn closing(&self, verdict: Verdict, what: impl Into<String>) {
        self.record.borrow_mut().closing(verdict, what);
    }

    /// How a client's program has to end.
    pub(super) fn exit(&self, exit: Exit) {
        self.record.borrow_mut().exit = exit;
    }

    /// A time from now, and not beyond the end of the case.
    pub(super) fn within(&self, time: Duration) -> Instant {
        self.end.min(Instant::now() + self.settings.time(time))
    }
}

/// Something else came than was demanded.
pub(super) fn fail<T>(why: impl Into<String>) -> Played<T> {
    Err(Stop::Fail(why.into()))
}

/// What has to hold.
pub(super) fn demand(holds: bool, why: impl FnOnce() -> String) -> Played {
    if holds { Ok(()) } else { Err(Stop::Fail(why())) }
}
