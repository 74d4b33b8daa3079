//! The shared secret of the level-0 `auth_token`.

use std::fmt;

use subtle::ConstantTimeEq;

use crate::error::{Code, Error, Result};
use crate::limits;

/// A shared secret. It never shows in `Debug` output or errors.
///
/// On level 0 it travels in clear inside the handshake, so it is accepted only where the carrier
/// keeps it on this host: path sockets (protocol.md, "Authentication").
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// A secret of 1 to [`MAX_AUTH_TOKEN`](limits::MAX_AUTH_TOKEN) bytes; `invalid_argument` otherwise.
    pub fn new(text: impl Into<String>) -> Result<Secret> {
        let text = text.into();
        if text.is_empty() || text.len() > limits::MAX_AUTH_TOKEN {
            let limit = limits::MAX_AUTH_TOKEN;
            return Err(Error::new(Code::InvalidArgument, format!("a secret has 1 to {limit} bytes")));
        }
        Ok(Secret(text))
    }

    /// Compares without telling by its duration where the difference is.
    pub(crate) fn matches(&self, given: &str) -> bool {
        self.0.as_bytes().ct_eq(given.as_bytes()).into()
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
