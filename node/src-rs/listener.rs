//! Listening sockets by number.

use hostlane_bridge::{Address, Listener};
use napi::bindgen_prelude::{Env, Result};
use napi_derive::napi;

use crate::environment::Environment;
use crate::info::{ListenerStats, Refusal};
use crate::options::NativeOptions;

/// Opens a listening socket: its number; nothing after an error, which is in the first row.
#[napi(catch_unwind)]
pub fn listen(env: Env, address: String, options: NativeOptions) -> Result<Option<f64>> {
    let this = Environment::of(&env)?;
    Ok(this.value(|| {
        let address: Address = address.parse()?;
        let listener = Listener::bind_with(&address, &options.listen()?)?;
        Ok(this.listeners.insert(listener))
    }))
}

/// Stops listening and removes the socket, any number of times.
#[napi(catch_unwind)]
pub fn listener_close(env: Env, listener: f64) -> Result<()> {
    let this = Environment::of(&env)?;
    if let Ok(listener) = this.listeners.get(listener) {
        listener.close();
    }
    Ok(())
}

/// Lets a listener go whose object was collected.
#[napi(catch_unwind)]
pub fn listener_release(env: Env, listener: f64) -> Result<()> {
    Environment::of(&env)?.listeners.remove(listener);
    Ok(())
}

/// Where it listens; nothing after an error, which is in the first row.
#[napi(catch_unwind)]
pub fn listener_address(env: Env, listener: f64) -> Result<Option<String>> {
    let this = Environment::of(&env)?;
    Ok(this.value(|| Ok(this.listeners.get(listener)?.address().to_string())))
}

/// What it did so far; nothing after an error, which is in the first row.
#[napi(catch_unwind)]
pub fn listener_stats(env: Env, listener: f64) -> Result<Option<ListenerStats>> {
    let this = Environment::of(&env)?;
    Ok(this.value(|| this.listeners.get(listener)?.stats().map(ListenerStats::from)))
}

/// The clients refused since the last call; nothing after an error, which is in the first row.
#[napi(catch_unwind)]
pub fn listener_refusals(env: Env, listener: f64) -> Result<Option<Vec<Refusal>>> {
    let this = Environment::of(&env)?;
    Ok(this.value(|| {
        let refusals = this.listeners.get(listener)?.take_refusals()?;
        Ok(refusals.into_iter().map(Refusal::from).collect())
    }))
}
