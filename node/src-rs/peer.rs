//! Connections by number.

use hostlane_bridge::{Code, Started, guard};
use napi::bindgen_prelude::{Env, Result};
use napi_derive::napi;

use crate::environment::Environment;
use crate::info::{PeerEnd, PeerInfo, PeerStats};

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

/// How the connection ended, as far as this side has noticed; nothing while it goes on. A receive tells, on a channel that has
/// nothing to take; where every channel has something, the end comes behind it.
#[napi(catch_unwind)]
pub fn peer_end(env: Env, peer: f64) -> Result<Option<PeerEnd>> {
    let this = Environment::of(&env)?;
    let goes_on = guard(|| {
        let peer = this.peers.get(peer)?;
        let channels = peer.stats()?.channels;
        let Some(empty) = channels.iter().find(|channel| channel.queued == 0) else { return Ok(()) };
        if let Started::Pending(op) = this.context.poll_recv(&peer, Some(empty.channel), None)? {
            this.context.cancel(op);
        }
        Ok(())
    });
    // Where nothing can be asked for now, there is a connection.
    Ok(goes_on.err().filter(|error| error.code() != Code::QueueFull).map(PeerEnd::from))
}
