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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_has_a_length_and_never_shows() {
        for (len, good) in [(0, false), (1, true), (limits::MAX_AUTH_TOKEN, true), (limits::MAX_AUTH_TOKEN + 1, false)]
        {
            match Secret::new("x".repeat(len)) {
                Ok(secret) => assert!(good && secret.expose().len() == len && format!("{secret:?}") == "Secret(…)"),
                Err(error) => assert!(!good && error.code() == Code::InvalidArgument, "{len}"),
            }
        }
        let secret = Secret::new("s3cret").unwrap();
        assert!(secret.matches("s3cret"));
        for other in ["", "s3cre", "s3cret ", "S3cret", "s3creT"] {
            assert!(!secret.matches(other), "{other}");
        }
    }
}
