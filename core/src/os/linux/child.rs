//! `spawn:`: a child process with a socket as its standard input and output.

use std::ffi::OsString;
use std::process::{Command, Stdio};
use std::sync::Mutex;

use rustix::io::Errno;

use super::{domain, signals};
use crate::api::info::Credentials;
use crate::error::{Code, Error, Result};
use crate::os::carrier::{Attached, Carrier, Kind};
use crate::os::fork;
use crate::os::per_process::PerProcess;

/// Waiting for a child's end needs little stack.
const REAPER_STACK: usize = 64 * 1024;

/// Children whose end nobody waits for, since no thread could be started. Looked at with every start.
static LEFT: PerProcess<Mutex<Vec<std::process::Child>>> = PerProcess::new();

/// A started process. Dropping it leaves the process alone, and sees to it that no zombie stays.
#[derive(Debug)]
pub(crate) struct Child {
    process: Option<std::process::Child>,
    credentials: Credentials,
    stamp: fork::Stamp,
}

/// The words of an address: the option's if given, else `text` split as a POSIX shell does, without
/// expanding anything.
pub(crate) fn argv(text: &str, option: Option<&[OsString]>) -> Result<Vec<OsString>> {
    let invalid = |why: &str| Err(Error::new(Code::InvalidArgument, why));
    match option {
        Some(_) if !text.is_empty() => invalid("the command is given twice: in the address and as an option"),
        Some(words) if words.first().is_none_or(|program| program.is_empty()) => {
            invalid("the command names no program")
        }
        Some(words) => Ok(words.to_vec()),
        None => match shlex::split(text) {
            None => invalid("the command ends inside a quotation"),
            Some(words) if words.first().is_none_or(String::is_empty) => invalid("the command names no program"),
            Some(words) => Ok(words.into_iter().map(OsString::from).collect()),
        },
    }
}

/// Starts the program. `not_found`, `permission_denied` as the system says.
pub(crate) fn spawn(argv: &[OsString]) -> Result<Carrier> {
    LEFT.lock().retain_mut(|child| matches!(child.try_wait(), Ok(None)));
    let (program, arguments) = argv.split_first().expect("a command has a program");
    let (mine, theirs) = domain::pair()?;
    let failed = |doing: &str, e: std::io::Error| {
        Error::os(format_args!("{doing} {}", program.display()), Errno::from_io_error(&e).unwrap_or(Errno::IO))
    };
    let output = theirs.try_clone().map_err(|e| failed("preparing", e))?;
    // A temporary: it holds the child's end, which has to be the child's alone, or its death would go unseen.
    let process = Command::new(program)
        .args(arguments)
        .stdin(Stdio::from(theirs))
        .stdout(Stdio::from(output))
        .spawn()
        .map_err(|e| failed("starting", e))?;
    let credentials = Credentials {
        // A process id fits: the kernel's are at most 22 bits.
        pid: process.id().cast_signed(),
        uid: rustix::process::geteuid().as_raw(),
        gid: rustix::process::getegid().as_raw(),
    };
    let child = Child { process: Some(process), credentials, stamp: fork::Stamp::now() };
    Ok(Carrier::socket(Kind::Spawn, mine).attach(Attached::Child(child)))
}

impl Child {
    /// The process as it was started.
    pub(crate) fn credentials(&self) -> Credentials {
        self.credentials
    }
}

impl Drop for Child {
    /// The stream is closed, which is how the child learns that it can end. One that takes its time is
    /// waited for by a thread that does nothing else; it is never killed.
    fn drop(&mut self) {
        // In a forked child it is a sibling, and the parent's to wait for.
        let Some(mut process) = self.process.take().filter(|_| self.stamp.current()) else { return };
        // An error means that somebody else waited for it.
        if !matches!(process.try_wait(), Ok(None)) {
            return;
        }
        let (handle, received) = std::sync::mpsc::sync_channel::<std::process::Child>(1);
        let reaper = std::thread::Builder::new().name("hostlane-reaper".to_owned()).stack_size(REAPER_STACK);
        let started = signals::all_blocked(|| {
            reaper.spawn(move || {
                if let Ok(mut process) = received.recv() {
                    let _ = process.wait();
                }
            })
        });
        match started {
            Ok(_) => {
                // The thread waits for it, so it arrives.
                let _ = handle.send(process);
            }
            Err(_) => LEFT.lock().push(process),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::os::fork::tests::in_fork;

    #[test]
    fn a_child_starts_programs_whoever_looked_after_the_parents_at_the_fork() {
        let looking = LEFT.lock();
        assert_eq!(in_fork(|| spawn(&["true".into()]).is_ok().into()), 1);
        drop(looking);
    }

    #[test]
    fn words_are_split_as_a_shell_does_without_expanding() {
        let words = argv(r#"prog --flag "two words" 'it''s $HOME' a\ b *"#, None).unwrap();
        assert_eq!(words, ["prog", "--flag", "two words", "its $HOME", "a b", "*"]);
        for (text, option) in [
            ("", None),
            ("  ", None),
            ("'' x", None),
            ("prog 'open", None),
            ("", Some(vec![])),
            ("", Some(vec![OsString::new()])),
            ("prog", Some(vec!["prog".into()])),
        ] {
            assert_eq!(argv(text, option.as_deref()).unwrap_err().code(), Code::InvalidArgument, "{text:?} {option:?}");
        }
        let exact = ["a b".into(), "'".into()];
        assert_eq!(argv("", Some(&exact)).unwrap(), exact);
    }
}
