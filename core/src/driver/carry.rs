//! Moving bytes between one carrier and one connection, never waiting.

use std::cell::Cell;
use std::io::IoSlice;
use std::time::Instant;

use crate::error::Error;
use crate::limits;
use crate::os::carrier::Carrier;
use crate::os::{self, BorrowedDescriptor, Errno};
use crate::proto::conn::Conn;

/// Reads in one turn, so that one busy connection cannot starve the others.
const READS_PER_TURN: usize = 16;

/// Bytes after which a turn of reading, or of writing, is over: answers to what came, and other callers, wait for that.
const TURN_BYTES: usize = limits::WRITTEN_AT_ONCE;

/// What came of reading.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Filled {
    /// Bytes came, or the end.
    pub(crate) any: bool,
    /// More may be there: the turn was over, or a read was filled exactly.
    pub(crate) more: bool,
}

thread_local! {
    /// What the connections this thread moves bytes for are read into; what is kept of it is copied out.
    static SPARE: Cell<Vec<u8>> = const { Cell::new(Vec::new()) };
}

/// Reads what has arrived, as far as the connection wants it.
pub(crate) fn fill(conn: &mut Conn, carrier: &Carrier, now: Instant) -> Filled {
    // Gone only while the thread ends.
    let mut spare = SPARE.try_with(Cell::take).unwrap_or_default();
    conn.lend(&mut spare);
    let filled = fill_lent(conn, carrier, now);
    conn.give_back(&mut spare);
    let _ = SPARE.try_with(|kept| kept.set(spare));
    filled
}

fn fill_lent(conn: &mut Conn, carrier: &Carrier, now: Instant) -> Filled {
    let mut bytes = 0;
    for turn in 0..READS_PER_TURN {
        let so_far = Filled { any: turn > 0, more: false };
        if !conn.wants_read() {
            return so_far;
        }
        let wants_fds = conn.passes_fds();
        let (buffer, offered) = conn.read_buffer();
        let mut fds = Vec::new();
        match carrier.read(buffer, offered, wants_fds.then_some(&mut fds)) {
            Ok(0) => {
                conn.hung_up();
                return Filled { any: true, more: false };
            }
            Ok(n) => {
                if !fds.is_empty() {
                    conn.received_fds(fds);
                }
                conn.received(n, offered, now);
                // A short read emptied the carrier; asking again would cost a call to hear so.
                if n < offered {
                    return Filled { any: true, more: false };
                }
                bytes += n;
                // One that ended with a frame most likely did too; a poll tells at once if not.
                if !conn.inside_frame() || bytes >= TURN_BYTES {
                    return Filled { any: true, more: true };
                }
            }
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return so_far,
            Err(e) => {
                conn.read_failed(Error::os("the connection ended", e));
                return Filled { any: true, more: false };
            }
        }
    }
    Filled { any: true, more: true }
}

/// Writes what is queued, as far as the carrier takes it, and at most a turn's share.
pub(crate) fn flush(conn: &mut Conn, carrier: &Carrier) {
    let mut bytes = 0;
    while conn.wants_write() && bytes < TURN_BYTES {
        conn.stage();
        if !conn.wants_write() {
            return;
        }
        let mut slices = Vec::with_capacity(8);
        let fds: Vec<_> = conn.slices(&mut slices).iter().map(os::borrow).collect();
        match write(carrier, &slices, &fds) {
            Ok(0) => return,
            Ok(n) => {
                bytes += n;
                conn.transmitted(n);
            }
            Err(error) => return conn.write_failed(error),
        }
    }
}

/// Bytes the carrier took at once; 0 when it is full.
pub(crate) fn write(carrier: &Carrier, slices: &[IoSlice<'_>], fds: &[BorrowedDescriptor<'_>]) -> Result<usize, Error> {
    loop {
        match carrier.write(slices, fds) {
            Ok(n) => return Ok(n),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(0),
            Err(e) => return Err(Error::os("sending", e)),
        }
    }
}
