//! Sends files and hands back what came back, for somebody else to compare.

use std::fs;
use std::io::{self, BufRead, BufWriter, Write};
use std::time::{Duration, Instant};

use hostlane::{Channel, Code, Error, Peer, Result};

use crate::samples::Samples;

const LIMIT: Duration = Duration::from_secs(5);
const PIECE: usize = 256 * 1024;

pub(crate) fn run(address: &str) -> std::result::Result<(), Box<dyn std::error::Error>> {
    let mut lane = Lane { address, peer: None };
    let mut out = BufWriter::new(io::stdout().lock());
    for path in io::stdin().lock().lines() {
        let path = path?;
        let bytes = fs::read(&path).map_err(|error| Error::new(Code::Io, format!("{path}: {error}")));
        let result = bytes.and_then(|bytes| lane.carry(&bytes, &mut out));
        if let Err(error) = result {
            lane.peer = None;
            writeln!(out, "error {} {}", error.code().name(), error.message().replace('\n', " "))?;
        }
        out.flush()?;
    }
    Ok(())
}

/// One connection for all files, renewed after an error.
struct Lane<'a> {
    address: &'a str,
    peer: Option<Peer>,
}

impl Lane<'_> {
    /// One file there and back, both ways.
    fn carry(&mut self, bytes: &[u8], out: &mut impl Write) -> Result<()> {
        let peer = match self.peer.take() {
            Some(peer) => peer,
            None => Peer::connect(self.address, LIMIT)?,
        };
        let peer = self.peer.insert(peer);
        let (data, round_trip) = echo(peer, bytes)?;
        answer(out, "data", &data, round_trip)?;
        let started = Instant::now();
        let reply = peer.start(bytes)?.wait(LIMIT)?;
        answer(out, "call", reply.payload(), started.elapsed().as_nanos() as u64)
    }
}

/// Every piece as a DATA message, each echo awaited before the next.
fn echo(peer: &Peer, bytes: &[u8]) -> Result<(Vec<u8>, u64)> {
    let mut samples = Samples::default();
    let mut back = Vec::with_capacity(bytes.len());
    let empty = [&bytes[..0]];
    let pieces: &mut dyn Iterator<Item = &[u8]> = match bytes {
        [] => &mut empty.into_iter(),
        _ => &mut bytes.chunks(PIECE),
    };
    for piece in pieces {
        let started = Instant::now();
        peer.send(Channel::DATA, piece, LIMIT)?;
        let message = peer.recv_on(Channel::DATA, LIMIT)?;
        samples.add(started.elapsed());
        back.extend_from_slice(message.payload());
    }
    Ok((back, samples.median()))
}

fn answer(out: &mut impl Write, kind: &str, bytes: &[u8], round_trip: u64) -> Result<()> {
    writeln!(out, "{kind} {} {round_trip}", bytes.len())
        .and_then(|()| out.write_all(bytes))
        .map_err(|error| Error::new(Code::Io, format!("standard output: {error}")))
}
