//! Where peers come from.

use std::sync::Arc;

use super::driver::Driver;
use super::peer::Peer;
use crate::addr::Address;
use crate::api::listener::Refusal;
use crate::api::options::ListenOptions;
use crate::api::peer::unexpected;
use crate::api::stats::ListenerStats;
use crate::driver::context::Outcome;
use crate::error::Result;

/// A server's address.
///
/// Handshakes run side by side, also while nobody is in [`accept`](Listener::accept): a client that is silent,
/// slow or hostile delays nobody. All methods may be called from many tasks. Dropping the listener closes it;
/// accepted peers live on.
#[derive(Debug)]
pub struct Listener {
    listener: crate::Listener,
    driver: Arc<Driver>,
}

impl Listener {
    /// Listens with the default options. Errors as of [`bind`](crate::Listener::bind) elsewhere, and
    /// `wrong_driver` outside of a runtime.
    pub fn bind(address: &str) -> Result<Listener> {
        Listener::bind_with(&address.parse()?, &ListenOptions::default())
    }

    /// Listens. Errors as of [`bind_with`](crate::Listener::bind_with) elsewhere, and `wrong_driver` outside of a runtime.
    pub fn bind_with(address: &Address, options: &ListenOptions) -> Result<Listener> {
        let driver = Driver::current()?;
        Ok(Listener { listener: crate::Listener::bind_with(address, options)?, driver })
    }

    /// The next client that finished its handshake. `closed`; `peer_closed` once the only client of `stdio:` or `fd:` is
    /// gone. No client is lost with a future that is dropped.
    pub async fn accept(&self) -> Result<Peer> {
        loop {
            match self.driver.run(|context| context.poll_accept(&self.listener, None)).await? {
                Outcome::Accepted(peer) => return Ok(Peer::new(peer, self.driver.clone())),
                Outcome::Readable => {}
                _ => return Err(unexpected()),
            }
        }
    }

    /// The address as given; where a TCP port of 0 was, the real one.
    pub fn address(&self) -> &Address {
        self.listener.address()
    }

    /// Stops listening now and ends every waiting accept with `closed`. Idempotent.
    pub fn close(&self) {
        self.listener.close();
    }

    /// Counters, also after the end.
    pub fn stats(&self) -> Result<ListenerStats> {
        self.listener.stats()
    }

    /// The failed handshakes since the last time, the latest
    /// [`MAX_REFUSALS`](crate::limits::MAX_REFUSALS) of them.
    pub fn take_refusals(&self) -> Result<Vec<Refusal>> {
        self.listener.take_refusals()
    }
}
