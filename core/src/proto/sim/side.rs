//! One end of a simulated connection: the state machine, what its program waits for, and what its driver
//! remembers between two looks at the carrier.

use std::collections::BTreeMap;
use std::time::Instant;

use crate::proto::OpId;
use crate::proto::conn::Conn;

/// What an operation is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum What {
    Open,
    /// Of any channel, or of one.
    Recv(bool),
    Readable,
    /// A message of the ledger.
    Send(u64),
    Flush,
    /// A call of the ledger.
    Call(usize),
    Ping,
    Drain,
    ItemOut {
        call: usize,
        tag: Option<u64>,
        fin: bool,
    },
    ItemIn(usize),
    Watch(usize),
    Answer(usize, u64),
}

#[derive(Debug, Clone, Copy)]
pub(super) struct Pending {
    pub(super) what: What,
    pub(super) deadline: Option<Instant>,
    pub(super) cancelled: bool,
}

/// A call this side's program works at.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) id: u64,
    pub(super) call: usize,
    pub(super) stream: bool,
    /// The caller's direction has ended.
    pub(super) in_ended: bool,
    pub(super) reading: bool,
    /// Its answer waits for this call.
    pub(super) nested: Option<usize>,
    /// Read to its end before it is answered.
    pub(super) patient: bool,
    /// Its reads failed: the call is over.
    pub(super) over: bool,
}

/// A stream this side's program opened.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) id: u64,
    pub(super) call: usize,
    pub(super) fin: bool,
    pub(super) reading: bool,
    pub(super) over: bool,
}

#[derive(Debug)]
pub(super) struct Side {
    pub(super) conn: Conn,
    /// The driver holds the carrier.
    pub(super) carrier: bool,
    pub(super) reads: bool,
    pub(super) writes: bool,
    pub(super) alarm: Option<Instant>,
    /// The last look ended before the carrier was empty.
    pub(super) more: bool,
    pub(super) ops: BTreeMap<OpId, Pending>,
    pub(super) last_op: OpId,
    pub(super) next_call: u64,
    pub(super) served: Vec<Served>,
    pub(super) streams: Vec<Opened>,
    pub(super) corks: u32,
    pub(super) open: bool,
    pub(super) drains: bool,
    pub(super) heard: Instant,
    /// Its end was judged.
    pub(super) ended: bool,
    /// Its program saw that nothing more is to be received.
    pub(super) dry: bool,
    pub(super) level: u8,
}

impl Side {
    pub(super) fn new(conn: Conn, connector: bool, now: Instant) -> Side {
        Side {
            conn,
            carrier: true,
            reads: true,
            writes: true,
            alarm: None,
            more: false,
            ops: BTreeMap::new(),
            last_op: 0,
            next_call: if connector { 1 } else { 2 },
            served: Vec::new(),
            streams: Vec::new(),
            corks: 0,
            open: false,
            drains: false,
            heard: now,
            ended: false,
            dry: false,
            level: 0,
        }
    }

    pub(super) fn new_op(&mut self) -> OpId {
        self.last_op += 1;
        self.last_op
    }

    pub(super) fn waits_for(&self, what: impl Fn(What) -> bool) -> usize {
        self.ops.values().filter(|p| what(p.what)).count()
    }
}
