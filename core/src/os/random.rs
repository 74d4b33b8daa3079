//! The random id of this process's endpoints.

use std::sync::Mutex;

use crate::error::{Error, Result};
use crate::os::per_process::PerProcess;
use crate::os::system;

static INSTANCE: PerProcess<Mutex<Option<String>>> = PerProcess::new();

/// 32 hex digits, the same for the whole life of the process, another one in a forked child.
pub(crate) fn instance() -> Result<String> {
    let mut cached = INSTANCE.lock();
    if let Some(instance) = &*cached {
        return Ok(instance.clone());
    }
    Ok(cached.insert(hex_id()?).clone())
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

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::os::fork::tests::in_fork;

    #[test]
    fn a_child_has_an_id_of_its_own_whoever_asked_for_the_parents_at_the_fork() {
        let mine = instance().unwrap();
        let asking = INSTANCE.lock();
        assert_eq!(in_fork(|| instance().is_ok_and(|own| own != mine).into()), 1);
        drop(asking);
        assert_eq!(instance().unwrap(), mine);
    }
}
