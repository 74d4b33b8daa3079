//! The random id of this process's endpoints.

use std::sync::Mutex;

use crate::error::{Error, Result};
use crate::os::{fork, system};

static INSTANCE: Mutex<Option<(fork::Stamp, String)>> = Mutex::new(None);

/// 32 hex digits, the same for the whole life of the process, another one in a forked child.
pub(crate) fn instance() -> Result<String> {
    let mut cached = INSTANCE.lock().unwrap_or_else(|e| e.into_inner());
    if let Some((stamp, instance)) = &*cached
        && stamp.current()
    {
        return Ok(instance.clone());
    }
    let instance = hex_id()?;
    *cached = Some((fork::Stamp::now(), instance.clone()));
    Ok(instance)
}

/// 32 random hex digits.
pub(crate) fn hex_id() -> Result<String> {
    let mut bytes = [0u8; 16];
    system::fill_random(&mut bytes).map_err(|e| Error::os("reading random bytes", e))?;
    Ok(bytes.iter().map(|b| format!("{b:02x}")).collect())
}

/// A number that differs from time to time; nothing depends on its quality.
pub(crate) fn byte() -> u8 {
    let mut byte = [0u8];
    let _ = system::fill_random(&mut byte);
    byte[0]
}
