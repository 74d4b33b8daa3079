//! Connections by number.

use napi::bindgen_prelude::{Env, Result};
use napi_derive::napi;

use crate::environment::Environment;
use crate::info::{PeerInfo, PeerStats};

/// Ends the connection now, any number of times.
#[napi(catch_unwind)]
pub fn peer_close(env: Env, peer: f64) -> Result<()> {
    let this = Environment::of(&env)?;
    if let Ok(peer) = this.peers.get(peer) {
        peer.close();
    }
    Ok(())
}

/// Lets a connection go whose object was collected.
#[napi(catch_unwind)]
pub fn peer_release(env: Env, peer: f64) -> Result<()> {
    Environment::of(&env)?.peers.remove(peer);
    Ok(())
}

/// Who the other side is; nothing after an error, which is in the first row.
#[napi(catch_unwind)]
pub fn peer_info(env: Env, peer: f64) -> Result<Option<PeerInfo>> {
    let this = Environment::of(&env)?;
    Ok(this.value(|| this.peers.get(peer)?.info().map(PeerInfo::from)))
}

/// What went through so far; nothing after an error, which is in the first row.
#[napi(catch_unwind)]
pub fn peer_stats(env: Env, peer: f64) -> Result<Option<PeerStats>> {
    let this = Environment::of(&env)?;
    Ok(this.value(|| this.peers.get(peer)?.stats().map(PeerStats::from)))
}
