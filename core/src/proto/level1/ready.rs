//! The rest of the handshake: proofs of the secret, then READY (protocol.md, section 17).

use hmac::{Hmac, KeyInit, Mac};
use sha2::{Digest, Sha256};

use super::header::kind;
use super::{Level1, bad};
use crate::error::{Code, Error, Result};
use crate::limits;
use crate::proto::channel::Channel;

const CONTEXT: &[u8] = b"hostlane auth 1";
pub(super) const PROOF: usize = 32;

/// What both sides prove to each other, computed once from the bytes of the handshake.
#[derive(Clone)]
pub(crate) struct Proofs {
    own: [u8; PROOF],
    peer: Hmac<Sha256>,
}

impl std::fmt::Debug for Proofs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Proofs")
    }
}

impl Proofs {
    pub(crate) fn new(secret: &[u8], connector: bool, request: &[u8], response: &[u8]) -> Proofs {
        let mac = |role: &[u8]| {
            // A key of any length is taken.
            let mut mac =
                Hmac::<Sha256>::new_from_slice(secret).unwrap_or_else(|_| unreachable!("HMAC takes every key"));
            mac.update(CONTEXT);
            mac.update(role);
            mac.update(&Sha256::digest(request));
            mac.update(&Sha256::digest(response));
            mac
        };
        let (own, peer) = if connector { (mac(b"c"), mac(b"a")) } else { (mac(b"a"), mac(b"c")) };
        Proofs { own: own.finalize().into_bytes().into(), peer }
    }

    /// What this side sends.
    pub(crate) fn own(&self) -> [u8; PROOF] {
        self.own
    }
}

/// How far the handshake has come.
#[derive(Debug)]
pub(super) struct Ready {
    /// Until the handshake is complete.
    proofs: Option<Box<Proofs>>,
    /// The other side's proof was right, or none is asked for.
    proven: bool,
    sent: bool,
    received: bool,
    grease: u8,
}

impl Ready {
    pub(super) fn new(proofs: Option<Proofs>, grease: u8) -> Ready {
        Ready { proven: proofs.is_none(), proofs: proofs.map(Box::new), sent: false, received: false, grease }
    }
}

impl Level1 {
    /// Sends the first frames of this side.
    pub(crate) fn begin(&mut self) {
        if self.ready.proven {
            self.send_ready();
        } else if self.connector {
            self.send_proof();
        }
    }

    fn send_proof(&mut self) {
        if let Some(proofs) = &self.ready.proofs {
            let own = proofs.own();
            self.outbox.push_control(kind::AUTH, 0, 0, &own);
        }
    }

    fn send_ready(&mut self) {
        self.ready.sent = true;
        self.outbox.push_control(kind::READY, 0, 0, &[]);
        self.outbox.push_control(kind::GREASE + (self.ready.grease & 0x0F), 0, 0, &[self.ready.grease; 3]);
        self.widen_windows();
    }

    /// Gives the channels what the start left open. A window that was chosen is kept.
    fn widen_windows(&mut self) {
        if self.own.window != limits::WINDOW_START {
            return;
        }
        let channels = self.channels.as_slice().to_vec();
        let mut left = limits::WINDOWS.saturating_sub(self.own.window * channels.len() as u64);
        for (at, channel) in channels.into_iter().enumerate() {
            let wanted = match channel {
                Channel::COMMAND | Channel::ERROR | Channel::TELEMETRY => limits::WINDOW,
                _ => limits::WINDOW_DATA,
            };
            let more = wanted.saturating_sub(self.own.window).min(left);
            left -= more;
            if let Some(total) = self.inbox.window(at).widen(self.own.window + more) {
                self.outbox.push_control(kind::CREDIT, channel.number(), 0, &total.to_le_bytes());
            }
        }
    }

    pub(super) fn on_auth(&mut self, proof: &[u8; PROOF]) -> Result<()> {
        let Some(proofs) = self.ready.proofs.as_ref().filter(|_| !self.ready.proven) else {
            return Err(bad("a proof nobody asked for"));
        };
        if proofs.peer.clone().verify_slice(proof).is_err() {
            return Err(Error::new(Code::AuthenticationFailed, "the secrets of the two sides differ"));
        }
        self.ready.proven = true;
        if !self.connector {
            self.send_proof();
        }
        self.send_ready();
        Ok(())
    }

    pub(super) fn on_ready(&mut self) -> Result<()> {
        if self.ready.received || !self.ready.proven {
            return Err(bad("a READY out of place"));
        }
        self.ready.received = true;
        self.ready.proofs = None;
        Ok(())
    }

    /// Whether the other side may send anything.
    pub(super) fn heard_ready(&self) -> bool {
        self.ready.received
    }

    /// Whether the handshake is complete on this side.
    pub(crate) fn is_ready(&self) -> bool {
        self.ready.sent && self.ready.received
    }
}
