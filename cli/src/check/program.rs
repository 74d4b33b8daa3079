//! The program of a client under test, started once for a case.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// How often it is looked whether the program has ended.
const LOOK: Duration = Duration::from_millis(5);

/// The most of its output that is kept.
const KEPT: u64 = 1 << 20;

pub(super) struct Program {
    child: Child,
    // Files, not pipes: whatever it starts itself may hold them open.
    out: File,
    err: File,
}

/// What it left.
pub(super) struct Left {
    /// `None` if it had to be ended.
    pub(super) status: Option<ExitStatus>,
    pub(super) out: String,
    pub(super) err: String,
}

impl Program {
    pub(super) fn start(words: &[String], case: &str, address: &str, payload: &str) -> io::Result<Program> {
        let fill =
            |word: &String| word.replace("{address}", address).replace("{payload}", payload).replace("{case}", case);
        let Some((name, arguments)) = words.split_first() else { return Err(io::ErrorKind::InvalidInput.into()) };
        let (out, err) = (tempfile::tempfile()?, tempfile::tempfile()?);
        let mut command = Command::new(fill(name));
        command.args(arguments.iter().map(fill));
        command.env("HOSTLANE_CHECK_CASE", case);
        command.env("HOSTLANE_CHECK_ADDRESS", address);
        command.env("HOSTLANE_CHECK_PAYLOAD", payload);
        command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(err.try_clone()?);
        Ok(Program { child: command.spawn()?, out, err })
    }

    /// Waits for its end; one that goes on after the deadline is killed.
    pub(super) fn finish(mut self, until: Instant) -> io::Result<Left> {
        let status = loop {
            match self.child.try_wait()? {
                Some(status) => break Some(status),
                None if Instant::now() >= until => break None,
                None => thread::sleep(LOOK),
            }
        };
        let read = |file: &mut File| {
            let mut bytes = Vec::new();
            file.seek(SeekFrom::Start(0))?;
            file.take(KEPT).read_to_end(&mut bytes)?;
            io::Result::Ok(String::from_utf8_lossy(&bytes).into_owned())
        };
        Ok(Left { status, out: read(&mut self.out)?, err: read(&mut self.err)? })
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // One that has ended is gone already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
