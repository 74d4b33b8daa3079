//! Which addresses need a proof of identity, since anybody can get there.

use std::net::SocketAddr;

use crate::api::options::Common;
use crate::error::{Code, Error, Result};

/// An abstract socket has no file mode to protect it.
pub(crate) fn abstract_name(options: &Common) -> Result<()> {
    if options.auth_token.is_some() {
        return clear_token();
    }
    if options.allow_uids.is_some() || options.secret.is_some() {
        return Ok(());
    }
    required(
        "an abstract socket has no file mode to protect it: say which users are allowed (allow_uids), or give a secret",
    )
}

/// Any user of this host reaches a loopback address, and the kernel does not tell which one did.
pub(crate) fn tcp(address: &SocketAddr, options: &Common) -> Result<()> {
    let invalid = |why: String| Err(Error::new(Code::InvalidArgument, why));
    if !address.ip().is_loopback() {
        return invalid(format!(
            "{address} is no loopback address: leaving this host takes allow_remote and TLS, and this build has neither"
        ));
    }
    if options.auth_token.is_some() {
        return clear_token();
    }
    if options.allow_uids.is_some() {
        return invalid("TCP does not tell which user is at the other end, so allow_uids cannot be kept".to_owned());
    }
    if options.secret.is_none() {
        return required("any user of this host can reach a TCP port: both sides need the same secret");
    }
    Ok(())
}

fn clear_token() -> Result<()> {
    Err(Error::new(
        Code::InvalidArgument,
        "an auth_token crosses the wire in clear, so it is accepted on path and name addresses only; give a secret",
    ))
}

fn required(why: &str) -> Result<()> {
    Err(Error::new(Code::AuthenticationRequired, why))
}
