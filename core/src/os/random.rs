//! The random id of this process's endpoints.

use std::sync::Mutex;

use crate::error::{Error, Result};
use crate::os::fork;

static INSTANCE: Mutex<Option<(fork::Stamp, String)>> = Mutex::new(None);

/// 32 hex digits, the same for the whole life of the process, another one in a forked child.
pub(crate) fn instance() -> Result<String> {
    let mut cached = INSTANCE.lock().unwrap_or_else(|e| e.into_inner());
    if let Some((stamp, instance)) = &*cached
        && stamp.current()
    {
        return Ok(instance.clone());
    }
    let mut bytes = [0u8; 16];
    rustix::rand::getrandom(&mut bytes[..], rustix::rand::GetRandomFlags::empty())
        .map_err(|e| Error::os("reading random bytes", e))?;
    let instance: String = bytes.iter().map(|b| format!("{b:02x}")).collect();
    *cached = Some((fork::Stamp::now(), instance.clone()));
    Ok(instance)
}
