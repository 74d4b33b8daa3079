//! What is called for one object at a time: connecting, calls to answer, streams.

use hostlane_bridge::{Address, CallOptions, Channel, Code, Error};
use napi::bindgen_prelude::{Env, Result};
use napi_derive::napi;

use crate::environment::{Environment, Takes};
use crate::exchange::double;
use crate::objects::Of;
use crate::options::{NativeOptions, deadline};
use crate::submissions::cut;

/// Connects, as the operation `js`: how many outcomes there are at once, and `MORE`.
#[napi(catch_unwind)]
pub fn connect(env: Env, js: u32, address: String, options: NativeOptions, timeout_ms: f64) -> Result<u32> {
    let this = Environment::of(&env)?;
    this.start(|starting| {
        starting.one(js, Takes::default(), || {
            let address: Address = address.parse()?;
            this.context.connect(&address, &options.connect()?, deadline(timeout_ms))
        });
    })
}

/// Sends a batch, as the operation `js`: how many outcomes there are at once, and `MORE`. Its payloads are one behind the other.
#[napi(catch_unwind)]
pub fn send_batch(
    env: Env,
    js: u32,
    peer: f64,
    channel: u16,
    payloads: &[u8],
    lengths: &[u32],
    timeout_ms: f64,
) -> Result<u32> {
    let this = Environment::of(&env)?;
    this.start(|starting| {
        starting.one(js, Takes::default(), || {
            let payloads = cut(payloads, lengths);
            let channel = Channel::new(channel)?;
            this.context.send_batch(&*this.peers.get(peer)?, channel, payloads, deadline(timeout_ms))
        });
    })
}

/// Lets a call go that nobody will answer any more.
#[napi(catch_unwind)]
pub fn call_release(env: Env, call: f64) -> Result<()> {
    Environment::of(&env)?.calls.remove(call);
    Ok(())
}

/// The stream a call opened: its number; nothing after an error, which is in the first row.
#[napi(catch_unwind)]
pub fn call_stream(env: Env, call: f64) -> Result<Option<f64>> {
    let this = Environment::of(&env)?;
    Ok(this.value(|| {
        let call = this.calls.get(call)?;
        let stream = call.message.stream().ok_or_else(|| Error::new(Code::CallEnded, "the call opened no stream"))?;
        Ok(this.streams.insert(Of { peer: call.peer, object: stream }))
    }))
}

/// The id of the call of a stream, which its connection knows it by; nothing after an error, which is in the first row.
#[napi(catch_unwind)]
pub fn stream_call_id(env: Env, stream: f64) -> Result<Option<f64>> {
    let this = Environment::of(&env)?;
    Ok(this.value(|| Ok(double(this.streams.get(stream)?.object.call_id()))))
}

/// Opens a stream: its number; nothing after an error, which is in the first row. The other side is told `timeout_ms`.
#[napi(catch_unwind)]
pub fn stream_open(
    env: Env,
    peer: f64,
    channel: u16,
    data: &[u8],
    timeout_ms: f64,
    key: &[u8],
    trace: &[u8],
) -> Result<Option<f64>> {
    let this = Environment::of(&env)?;
    Ok(this.value(|| {
        let mut options = CallOptions::new().channel(Channel::new(channel)?);
        if let Some(at) = deadline(timeout_ms) {
            options = options.deadline(at);
        }
        if !key.is_empty() {
            options = options.idempotency_key(key.to_vec());
        }
        if !trace.is_empty() {
            options = options.trace(trace.to_vec());
        }
        let stream = this.peers.get(peer)?.open_stream(data, options)?;
        Ok(this.streams.insert(Of { peer, object: stream }))
    }))
}

/// Lets a stream go: of this side's call, it gives the call up unless it has ended.
#[napi(catch_unwind)]
pub fn stream_release(env: Env, stream: f64) -> Result<()> {
    Environment::of(&env)?.streams.remove(stream);
    Ok(())
}
