//! Starting operations. Each returns the id of the operation, or 0 if it is finished, its outcome in the first slot. All
//! timeouts are in milliseconds, `Infinity` is for ever. `data` was sent or copied when the call returns.

use hostlane_bridge::{Address, Channel};
use napi::bindgen_prelude::{Env, Result};
use napi_derive::napi;

use crate::environment::Environment;
use crate::options::{NativeOptions, deadline};

/// Connects.
#[napi(catch_unwind)]
pub fn connect(env: Env, address: String, options: NativeOptions, timeout_ms: f64) -> Result<f64> {
    let this = Environment::of(&env)?;
    this.start(|| {
        let address: Address = address.parse()?;
        this.context.connect(&address, &options.connect()?, deadline(timeout_ms))
    })
}

/// Takes a connection of a listener.
#[napi(catch_unwind)]
pub fn accept(env: Env, listener: f64, timeout_ms: f64) -> Result<f64> {
    let this = Environment::of(&env)?;
    this.start(|| this.context.accept(&*this.listeners().get(listener)?, deadline(timeout_ms)))
}

/// Takes a message of a channel, or with -1 of any.
#[napi(catch_unwind)]
pub fn recv(env: Env, peer: f64, channel: i32, timeout_ms: f64) -> Result<f64> {
    let this = Environment::of(&env)?;
    this.start(|| {
        let channel = u16::try_from(channel).ok().map(Channel::new).transpose()?;
        this.context.recv(&*this.peers().get(peer)?, channel, deadline(timeout_ms))
    })
}

/// Sends a message.
#[napi(catch_unwind)]
pub fn send(env: Env, peer: f64, channel: u16, data: &[u8], timeout_ms: f64) -> Result<f64> {
    let this = Environment::of(&env)?;
    this.start(|| this.context.send(&*this.peers().get(peer)?, Channel::new(channel)?, data, deadline(timeout_ms)))
}

/// Calls the other side.
#[napi(catch_unwind)]
pub fn request(env: Env, peer: f64, data: &[u8], timeout_ms: f64) -> Result<f64> {
    let this = Environment::of(&env)?;
    this.start(|| this.context.request(&*this.peers().get(peer)?, data, deadline(timeout_ms)))
}

/// Asks the other side for a sign of life.
#[napi(catch_unwind)]
pub fn ping(env: Env, peer: f64, timeout_ms: f64) -> Result<f64> {
    let this = Environment::of(&env)?;
    this.start(|| this.context.ping(&*this.peers().get(peer)?, deadline(timeout_ms)))
}

/// Ends a connection in good order.
#[napi(catch_unwind)]
pub fn drain_peer(env: Env, peer: f64, timeout_ms: f64) -> Result<f64> {
    let this = Environment::of(&env)?;
    this.start(|| this.context.drain(&*this.peers().get(peer)?, deadline(timeout_ms)))
}

/// Gives an operation up. It still ends in a batch: with `cancelled`, or with its outcome if that came first.
#[napi(catch_unwind)]
pub fn cancel(env: Env, op: f64) -> Result<()> {
    Environment::of(&env)?.context.cancel(op as u64);
    Ok(())
}
