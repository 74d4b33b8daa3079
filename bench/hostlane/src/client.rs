//! The calling side.

use std::collections::VecDeque;

use frame::{Client, Flight, Result, WINDOW};
use hostlane::{Channel, Peer};

use crate::LIMIT;

/// Bytes of one-way messages that are handed over at once.
const BURST: usize = 64 * 1024;

/// One connection.
pub struct Lane {
    peer: Peer,
    /// One-way messages of one size that have not been handed over.
    burst: Vec<u8>,
    size: usize,
}

impl Lane {
    fn flush(&mut self) -> Result<()> {
        if !self.burst.is_empty() {
            self.peer.send_batch(Channel::DATA, self.burst.chunks(self.size), LIMIT)?;
            self.burst.clear();
        }
        Ok(())
    }
}

impl Client for Lane {
    async fn connect(address: &str) -> Result<Lane> {
        Ok(Lane { peer: Peer::connect(address, LIMIT)?, burst: Vec::with_capacity(BURST), size: 0 })
    }

    async fn call(&mut self, request: &[u8], check: impl FnOnce(&[u8]) -> Result<()>) -> Result<()> {
        check(self.peer.start(request)?.wait(LIMIT)?.payload())
    }

    async fn fly(&mut self, flight: &mut Flight) -> Result<()> {
        let mut calls = VecDeque::with_capacity(WINDOW);
        loop {
            // Those that came back together are followed by as many, in one write.
            let cork = self.peer.cork();
            while calls.len() < WINDOW {
                let Some(request) = flight.launch() else { break };
                calls.push_back(self.peer.start(request)?);
            }
            drop(cork);
            let Some(call) = calls.pop_front() else { return Ok(()) };
            flight.landed(call.wait(LIMIT)?.payload())?;
            while calls.front().is_some_and(|call| call.is_finished()) {
                let Some(call) = calls.pop_front() else { break };
                flight.landed(call.wait(LIMIT)?.payload())?;
            }
        }
    }

    async fn send(&mut self, message: &[u8]) -> Result<()> {
        if message.len() >= BURST {
            return Ok(self.peer.send(Channel::DATA, message, LIMIT)?);
        }
        self.size = message.len();
        self.burst.extend_from_slice(message);
        if self.burst.len() >= BURST { self.flush() } else { Ok(()) }
    }

    async fn finish(&mut self, message: &[u8], check: impl FnOnce(&[u8]) -> Result<()>) -> Result<()> {
        self.flush()?;
        // On the channel of the messages before it: order is kept within a channel.
        self.peer.send(Channel::DATA, message, LIMIT)?;
        check(self.peer.recv(LIMIT)?.payload())
    }
}
