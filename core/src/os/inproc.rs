//! `inproc:`: listeners of this process, by name.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::error::{Code, Error, Result};
use crate::os::carrier::{Carrier, Kind};
use crate::os::per_process::PerProcess;
use crate::os::poller::Bell;
use crate::os::{AsFd, BorrowedFd, Errno, fork};

/// A forked child has none of its parent's listeners. Locked before a backlog.
static NAMES: PerProcess<Mutex<BTreeMap<String, Arc<Backlog>>>> = PerProcess::new();

#[derive(Debug)]
struct Backlog {
    waiting: Mutex<VecDeque<Carrier>>,
    limit: usize,
    /// Readable while somebody waits.
    bell: Bell,
}

/// A listener; its name is free again once it is dropped or shut.
#[derive(Debug)]
pub(crate) struct Inproc {
    name: String,
    backlog: Arc<Backlog>,
    stamp: fork::Stamp,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Inproc {
    pub(crate) fn bind(name: &str, limit: i32) -> Result<Inproc> {
        let backlog = Arc::new(Backlog {
            waiting: Mutex::default(),
            // As the kernel counts: a backlog of none still has one place.
            limit: usize::try_from(limit).unwrap_or_default() + 1,
            bell: Bell::new()?,
        });
        let mut names = NAMES.lock();
        if names.contains_key(name) {
            return Err(Error::new(Code::AddressInUse, format!("inproc:{name} has a listener in this process")));
        }
        names.insert(name.to_owned(), backlog.clone());
        Ok(Inproc { name: name.to_owned(), backlog, stamp: fork::Stamp::now() })
    }

    /// The next connection, or `AGAIN`.
    pub(crate) fn accept(&self) -> Result<Carrier, Errno> {
        let mut waiting = locked(&self.backlog.waiting);
        let next = waiting.pop_front();
        if waiting.is_empty() {
            self.backlog.bell.clear();
        }
        next.ok_or(Errno::AGAIN)
    }

    /// Frees the name and turns away who waits.
    pub(crate) fn shut(&self) {
        let mut names = NAMES.lock();
        if names.get(&self.name).is_some_and(|there| Arc::ptr_eq(there, &self.backlog)) {
            names.remove(&self.name);
        }
        drop(names);
        let waiting = std::mem::take(&mut *locked(&self.backlog.waiting));
        waiting.iter().for_each(Carrier::shut);
    }
}

impl Drop for Inproc {
    fn drop(&mut self) {
        if self.stamp.current() {
            self.shut();
        }
    }
}

impl AsFd for Inproc {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.backlog.bell.as_fd()
    }
}

/// Connects to a listener of this process. `not_found` without one, `queue_full` when its backlog is.
pub(crate) fn connect(name: &str) -> Result<Carrier> {
    let names = NAMES.lock();
    let Some(backlog) = names.get(name) else {
        return Err(Error::new(Code::NotFound, format!("inproc:{name} has no listener in this process")));
    };
    let mut waiting = locked(&backlog.waiting);
    if waiting.len() >= backlog.limit {
        return Err(Error::new(Code::QueueFull, format!("inproc:{name}: {} connections wait there", waiting.len())));
    }
    let (mine, theirs) = Carrier::pair(Kind::Inproc)?;
    waiting.push_back(theirs);
    backlog.bell.ring();
    Ok(mine)
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use crate::os::fork::tests::in_fork;

    #[test]
    fn a_child_has_its_own_names_whoever_was_at_the_parents_at_the_fork() {
        let listener = Inproc::bind("of-the-parent", 1).unwrap();
        let (others, waiting) = (NAMES.lock(), locked(&listener.backlog.waiting));
        let status = in_fork(|| {
            let parents = connect("of-the-parent").err().map(|e| e.code());
            let own = Inproc::bind("of-the-parent", 1).unwrap();
            // The parent's listener, which the child has too: this frees nothing and takes no lock.
            drop(Inproc { name: listener.name.clone(), backlog: listener.backlog.clone(), stamp: listener.stamp });
            let reached = connect("of-the-parent").is_ok() && own.accept().is_ok();
            (parents == Some(Code::NotFound) && reached).into()
        });
        assert_eq!(status, 1);
        drop((others, waiting));
        connect("of-the-parent").unwrap();
    }
}
