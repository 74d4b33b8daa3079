//! Moving bytes between one carrier and one connection, never waiting.

use std::io::IoSlice;
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Instant;

use rustix::io::Errno;

use crate::error::Error;
use crate::os::carrier::Carrier;
use crate::proto::conn::Conn;

/// Reads in one turn, so that one busy connection cannot starve the others.
const READS_PER_TURN: usize = 16;

/// Reads what has arrived, as far as the connection wants it. Says whether more may be there: the
/// turn was over, or a read was filled exactly.
pub(crate) fn fill(conn: &mut Conn, carrier: &Carrier, now: Instant) -> bool {
    for _ in 0..READS_PER_TURN {
        if !conn.wants_read() {
            return false;
        }
        let wants_fds = conn.passes_fds();
        let (buffer, offered) = conn.read_buffer();
        let mut fds = Vec::new();
        match carrier.read(buffer, offered, wants_fds.then_some(&mut fds)) {
            Ok(0) => {
                conn.hung_up();
                return false;
            }
            Ok(n) => {
                if !fds.is_empty() {
                    conn.received_fds(fds);
                }
                conn.received(n, offered, now);
                // A short read emptied the carrier; asking again would cost a call to hear so.
                if n < offered {
                    return false;
                }
                // One that ended with a frame most likely did too; a poll tells at once if not.
                if !conn.inside_frame() {
                    return true;
                }
            }
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return false,
            Err(e) => {
                conn.read_failed(Error::os("the connection ended", e));
                return false;
            }
        }
    }
    true
}

/// Writes what is queued, as far as the carrier takes it.
pub(crate) fn flush(conn: &mut Conn, carrier: &Carrier) {
    loop {
        conn.stage();
        if !conn.wants_write() {
            return;
        }
        let mut slices = Vec::with_capacity(8);
        let fds: Vec<_> = conn.slices(&mut slices).iter().map(AsFd::as_fd).collect();
        match write(carrier, &slices, &fds) {
            Ok(0) => return,
            Ok(n) => conn.transmitted(n),
            Err(error) => return conn.write_failed(error),
        }
    }
}

/// Bytes the carrier took at once; 0 when it is full.
pub(crate) fn write(carrier: &Carrier, slices: &[IoSlice<'_>], fds: &[BorrowedFd<'_>]) -> Result<usize, Error> {
    loop {
        match carrier.write(slices, fds) {
            Ok(n) => return Ok(n),
            Err(Errno::INTR) => {}
            Err(Errno::AGAIN) => return Ok(0),
            Err(e) => return Err(Error::os("sending", e)),
        }
    }
}
