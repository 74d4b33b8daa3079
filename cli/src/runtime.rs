//! Where bare names live, as the protocol document says: what is observed here must agree with it.

use std::env;
use std::path::PathBuf;

/// `$XDG_RUNTIME_DIR/hostlane`, else `hostlane-UID` in the temporary directory.
pub(crate) fn directory() -> PathBuf {
    match env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|base| base.is_absolute()) {
        Some(base) => base.join("hostlane"),
        None => env::temp_dir().join(format!("hostlane-{}", rustix::process::geteuid().as_raw())),
    }
}
