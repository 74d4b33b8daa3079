//! Where peers come from.

use std::sync::Arc;

use crate::addr::Address;
use crate::api::info::Credentials;
use crate::api::options::ListenOptions;
use crate::api::peer::Peer;
use crate::api::stats::ListenerStats;
use crate::api::wait::Wait;
use crate::driver::acceptor::Acceptor;
use crate::error::{Error, Result};

/// A server's address.
///
/// Handshakes run side by side while a thread is inside [`accept`](Listener::accept): a client that is
/// silent, slow or hostile delays nobody. All methods may be called from many threads. Dropping the
/// listener closes it; accepted peers live on.
#[derive(Debug)]
pub struct Listener {
    acceptor: Arc<Acceptor>,
}

/// A handshake that failed, and why.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Refusal {
    /// What the client was told too, where it still listened.
    pub error: Error,
    /// Who the client was, if the kernel said so.
    pub credentials: Option<Credentials>,
}

impl Listener {
    /// Listens with the default options.
    ///
    /// `invalid_address`, `address_too_long`, `address_in_use` while somebody serves the address,
    /// `not_a_socket` for a file of another kind, `unsafe_directory`, `permission_denied`, `not_found`
    /// for a missing directory. A socket left behind by a killed server is replaced.
    pub fn bind(address: &str) -> Result<Listener> {
        Listener::bind_with(&address.parse()?, &ListenOptions::default())
    }

    /// Listens; an address in a text is parsed first, `&"lane".parse()?`. Beside the errors of [`bind`](Listener::bind): `invalid_argument` for options outside
    /// their limits or at odds with the address, `unsupported` for an address form this build does not
    /// listen at, `authentication_required` for `tcp:` without `secret` and for an abstract address without
    /// `secret` or `allow_uids`.
    pub fn bind_with(address: &Address, options: &ListenOptions) -> Result<Listener> {
        Ok(Listener { acceptor: Arc::new(Acceptor::bind(address, options)?) })
    }

    pub(crate) fn acceptor(&self) -> &Arc<Acceptor> {
        &self.acceptor
    }

    /// Waits for the next client that finished its handshake. `timeout`, `interrupted`, `closed`,
    /// `forked`; a failed handshake is no error here, see [`take_refusals`](Listener::take_refusals).
    ///
    /// `stdio:` and `fd:` have one client. While its connection lives, another `accept` waits; afterwards
    /// it is `peer_closed`.
    pub fn accept<'a>(&self, wait: impl Into<Wait<'a>>) -> Result<Peer> {
        let made = self.acceptor.accept(wait.into())?;
        let lane = made.into_direct();
        lane.attach_for_keepalive()?;
        Ok(Peer::of(lane))
    }

    /// The address as given; where a TCP port of 0 was, the real one.
    pub fn address(&self) -> &Address {
        self.acceptor.address()
    }

    /// Stops listening now: removes the socket file if it is still this listener's, then wakes every
    /// waiting accept with `closed`. Idempotent. Does nothing in a forked child.
    pub fn close(&self) {
        self.acceptor.close();
    }

    /// Counters, also after the end.
    pub fn stats(&self) -> Result<ListenerStats> {
        self.acceptor.stats()
    }

    /// The failed handshakes since the last time, the latest
    /// [`MAX_REFUSALS`](crate::limits::MAX_REFUSALS) of them.
    pub fn take_refusals(&self) -> Result<Vec<Refusal>> {
        self.acceptor.take_refusals()
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        self.acceptor.close();
    }
}
