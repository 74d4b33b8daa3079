//! `systemd:`: a listening socket from the service manager (sd_listen_fds(3)).

use std::collections::BTreeSet;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Mutex;

use super::inherited;
use crate::api::options::Common;
use crate::error::{Code, Error, Result};
use crate::os::carrier::Kind;
use crate::os::fork::Stamp;
use crate::os::per_process::PerProcess;

/// `SD_LISTEN_FDS_START`.
const START: i32 = 3;

/// The numbers that listeners of this process use now.
static IN_USE: PerProcess<Mutex<BTreeSet<i32>>> = PerProcess::new();

/// A private copy of the passed socket. The manager holds it too, and clients in its backlog wait for the
/// next server, so closing this copy ends nothing.
#[derive(Debug)]
pub(crate) struct Passed {
    sock: OwnedFd,
    kind: Kind,
    claim: Claim,
}

#[derive(Debug)]
struct Claim {
    number: i32,
    stamp: Stamp,
}

impl Claim {
    fn new(number: i32) -> Option<Claim> {
        // Made only where it is held: its end takes the number out again.
        IN_USE.lock().insert(number).then(|| Claim { number, stamp: Stamp::now() })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // In a forked child the number is free, or a listener of its own has it.
        if self.stamp.current() {
            IN_USE.lock().remove(&self.number);
        }
    }
}

impl Passed {
    /// The socket called `name`, or the only one.
    pub(crate) fn take(name: Option<&str>, options: &Common) -> Result<Passed> {
        let variable = |name| std::env::var(name).ok();
        let number = number(
            name,
            variable("LISTEN_PID").as_deref(),
            variable("LISTEN_FDS").as_deref(),
            variable("LISTEN_FDNAMES").as_deref(),
            std::process::id(),
        )?;
        let what = format!("systemd:{}", name.unwrap_or_default());
        let Some(claim) = Claim::new(number) else {
            return Err(Error::new(Code::AddressInUse, format!("{what} has a listener in this process")));
        };
        let sock = inherited::duplicate(number, &what)?;
        if !inherited::listens(&sock, &what)? {
            let why = format!("{what} does not listen; the socket unit needs Accept=no");
            return Err(Error::new(Code::InvalidArgument, why));
        }
        let kind = inherited::listening(&sock, &what, options)?;
        // The flag is the open socket's, so all who share it see it: a manager does not accept from it.
        rustix::io::ioctl_fionbio(&sock, true).map_err(|e| Error::os(format_args!("taking over {what}"), e))?;
        Ok(Passed { sock, kind, claim })
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }
}

impl AsFd for Passed {
    fn as_fd(&self) -> BorrowedFd<'_> {
        debug_assert!(self.claim.number >= START);
        self.sock.as_fd()
    }
}

/// The descriptor that the variables name.
fn number(name: Option<&str>, pid: Option<&str>, count: Option<&str>, names: Option<&str>, me: u32) -> Result<i32> {
    let none = |why: &str| Err(Error::new(Code::NotFound, format!("no socket was passed to this process: {why}")));
    match pid.map(str::parse::<u32>) {
        None => return none("LISTEN_PID is not set"),
        Some(Ok(pid)) if pid == me => {}
        Some(_) => return none("LISTEN_PID names another process"),
    }
    let Some(Ok(count)) = count.map(str::parse::<u16>) else {
        return none("LISTEN_FDS is no number");
    };
    let position = match name {
        None if count == 1 => 0,
        None if count == 0 => return none("LISTEN_FDS is 0"),
        None => {
            let why = format!("{count} sockets were passed: say which, with systemd: and its name");
            return Err(Error::new(Code::InvalidArgument, why));
        }
        Some(name) => {
            let names = names.unwrap_or_default().split(':').take(count.into()).enumerate();
            let mut found = names.filter(|&(_, candidate)| candidate == name).map(|(position, _)| position);
            match (found.next(), found.next()) {
                (Some(position), None) => position,
                (None, _) => return none("LISTEN_FDNAMES does not have the name"),
                (Some(_), Some(_)) => {
                    let why = format!("several passed sockets are called {name}: give each its FileDescriptorName=");
                    return Err(Error::new(Code::InvalidArgument, why));
                }
            }
        }
    };
    // At most 65535 positions were taken.
    Ok(START + i32::try_from(position).unwrap_or(i32::from(u16::MAX)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::fork::tests::in_fork;

    #[test]
    fn a_child_claims_numbers_of_its_own_whoever_claimed_one_of_the_parents_at_the_fork() {
        let claim = Claim::new(1 << 20).unwrap();
        let claiming = IN_USE.lock();
        let status = in_fork(|| {
            let own = Claim::new(claim.number);
            // The parent's listener, which the child has too.
            drop(Claim { number: claim.number, stamp: claim.stamp });
            (own.is_some() && Claim::new(claim.number).is_none()).into()
        });
        assert_eq!(status, 1);
        drop(claiming);
        assert!(Claim::new(claim.number).is_none());
    }

    fn code(name: Option<&str>, pid: Option<&str>, count: Option<&str>, names: Option<&str>) -> Result<i32, Code> {
        number(name, pid, count, names, 7).map_err(|e| e.code())
    }

    #[test]
    fn the_variables_name_one_descriptor_or_none() {
        assert_eq!(code(None, Some("7"), Some("1"), None), Ok(3));
        assert_eq!(code(None, Some("7"), Some("1"), Some("web")), Ok(3));
        assert_eq!(code(Some("b"), Some("7"), Some("3"), Some("a:b:c")), Ok(4));
        for (pid, count) in [
            (None, Some("1")),
            (Some("8"), Some("1")),
            (Some(""), Some("1")),
            (Some("7"), None),
            (Some("7"), Some("0")),
            (Some("7"), Some("-1")),
            (Some("7"), Some("99999999999999999999")),
        ] {
            assert_eq!(code(None, pid, count, None), Err(Code::NotFound), "{pid:?} {count:?}");
        }
        assert_eq!(code(None, Some("7"), Some("2"), None), Err(Code::InvalidArgument));
        assert_eq!(code(Some("x"), Some("7"), Some("2"), Some("a:b")), Err(Code::NotFound));
        assert_eq!(code(Some("x"), Some("7"), Some("2"), None), Err(Code::NotFound));
        assert_eq!(code(Some("c"), Some("7"), Some("2"), Some("a:b:c")), Err(Code::NotFound), "beyond the count");
        assert_eq!(code(Some("a"), Some("7"), Some("2"), Some("a:a")), Err(Code::InvalidArgument));
    }
}
