//! Which users an endpoint accepts, by the form of its address.

use crate::addr::Address;
use crate::api::info::Credentials;
use crate::api::options::Common;
use crate::error::{Code, Error, Result};
use crate::os::system;

/// The users an endpoint accepts at the other end. `None`: anybody who gets there.
pub(crate) fn allowed_uids(address: &Address, options: &Common) -> Option<Vec<u32>> {
    match (&options.allow_uids, address) {
        (Some(uids), _) => Some(uids.clone()),
        (None, Address::Name(_)) => system::own_uids(),
        (None, _) => None,
    }
}

/// `permission_denied` unless the user id is among the allowed ones. An identity nobody tells is not.
pub(crate) fn check(credentials: Option<Credentials>, allowed: Option<&[u32]>) -> Result<()> {
    let Some(allowed) = allowed else { return Ok(()) };
    let denied = |why: String| Err(Error::new(Code::PermissionDenied, why));
    match credentials {
        Some(who) if allowed.contains(&who.uid) => Ok(()),
        Some(who) => denied(format!("the process at the other end has the user id {}, which is not allowed", who.uid)),
        None => denied("nobody can tell which user is at the other end, and not every user is allowed".to_owned()),
    }
}
