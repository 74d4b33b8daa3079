//! Busy processes to measure beside.

use std::process::{Command, Stdio};

use anyhow::{Context, Result};

use crate::bench::place::pinned;
use crate::process::{Guarded, shown};

/// Seconds after which one ends by itself, should nobody be left to end it.
const LIMIT: &str = "600";

/// One busy process on each of two cores; they end with this value.
pub(super) struct Hogs(Vec<Guarded>);

impl Hogs {
    pub(super) fn start() -> Result<Hogs> {
        let start = |core: &str| {
            let mut busy = Command::new("timeout");
            busy.args([LIMIT, "sh", "-c", "while :; do :; done"]);
            let mut command = pinned(&busy, core);
            let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn();
            child.map(Guarded).with_context(|| shown(&command))
        };
        Ok(Hogs(vec![start("0")?, start("1")?]))
    }

    /// The processes that burn, for counting what they use.
    pub(super) fn ids(&self) -> Vec<u32> {
        self.0.iter().flat_map(|hog| crate::process::tree(hog.0.id())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hogs_end_with_their_value() {
        if crate::bench::Placement::Hogs.missing().is_some() {
            return;
        }
        let hogs = Hogs::start().unwrap();
        let ids = hogs.ids();
        assert!(ids.len() >= 2);
        drop(hogs);
        let alive = |id: &u32| std::path::Path::new(&format!("/proc/{id}/exe")).exists();
        let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while ids.iter().any(alive) {
            assert!(std::time::Instant::now() < end, "a hog lives on");
            std::thread::yield_now();
        }
    }
}
