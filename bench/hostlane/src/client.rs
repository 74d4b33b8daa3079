//! The calling side.

use std::collections::VecDeque;

use frame::{Client, Flight, Result, WINDOW};
use hostlane::{Channel, Peer};

use crate::LIMIT;

/// One connection.
pub(crate) struct Lane(Peer);

impl Client for Lane {
    async fn connect(address: &str) -> Result<Lane> {
        Ok(Lane(Peer::connect(address, LIMIT)?))
    }

    async fn call(&mut self, request: &[u8], check: impl FnOnce(&[u8]) -> Result<()>) -> Result<()> {
        check(self.0.request(request)?.wait(LIMIT)?.payload())
    }

    async fn fly(&mut self, flight: &mut Flight) -> Result<()> {
        let mut calls = VecDeque::with_capacity(WINDOW);
        loop {
            while calls.len() < WINDOW {
                let Some(request) = flight.launch() else { break };
                calls.push_back(self.0.request(request)?);
            }
            let Some(call) = calls.pop_front() else { return Ok(()) };
            flight.landed(call.wait(LIMIT)?.payload())?;
        }
    }

    async fn send(&mut self, message: &[u8]) -> Result<()> {
        Ok(self.0.send(Channel::DATA, message, LIMIT)?)
    }

    async fn finish(&mut self, message: &[u8], check: impl FnOnce(&[u8]) -> Result<()>) -> Result<()> {
        self.call(message, check).await
    }
}
