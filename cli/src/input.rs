//! Standard input, or a file, cut into payloads as it comes.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;

use hostlane::{Code, Error, limits};
use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;

use crate::exit::Failure;

/// Bytes of one read.
const CHUNK: usize = 64 * 1024;

/// Where a payload ends.
#[derive(Clone, Copy)]
pub(crate) enum Cut {
    /// At a line end, which is no part of it; the last line may do without.
    Line,
    /// After so many bytes; the last one may have fewer.
    Bytes(usize),
}

pub(crate) struct Input {
    /// Standard input if there is none.
    file: Option<File>,
    name: String,
    cut: Cut,
    /// What was read; up to `taken` it was handed out, up to `searched` it has no line end.
    buffer: Vec<u8>,
    taken: usize,
    searched: usize,
    ended: bool,
}

impl Input {
    pub(crate) fn open(file: Option<&Path>, cut: Cut) -> Result<Input, Failure> {
        let name = file.map_or("standard input".into(), |path| path.display().to_string());
        let file = file.map(File::open).transpose().map_err(|error| Failure::file(&name, &error))?;
        Ok(Input { file, name, cut, buffer: Vec::new(), taken: 0, searched: 0, ended: false })
    }

    /// The next payload, once all of it came; `None` at the end.
    pub(crate) fn next(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        loop {
            let next = self.take()?;
            if next.is_some() || self.ended {
                return Ok(next);
            }
            self.fill()?;
        }
    }

    /// The next payload if all of it is here.
    pub(crate) fn take(&mut self) -> Result<Option<Vec<u8>>, Failure> {
        let here = self.buffer.len() - self.taken;
        let whole = match self.cut {
            Cut::Bytes(most) => (here >= most).then_some((most, 0)),
            Cut::Line => {
                let found = self.buffer[self.searched..].iter().position(|byte| *byte == b'\n');
                found.map(|at| (self.searched + at - self.taken, 1))
            }
        };
        self.searched = self.buffer.len();
        if whole.map_or(here, |(length, _)| length) > limits::MAX_MESSAGE {
            let message = format!("{}: a line is larger than a message of {} bytes", self.name, limits::MAX_MESSAGE);
            return Err(Error::new(Code::PayloadTooLarge, message).into());
        }
        // What is left at the end is whole as it is.
        let Some((length, skipped)) = whole.or((self.ended && here > 0).then_some((here, 0))) else { return Ok(None) };
        let payload = self.buffer[self.taken..self.taken + length].to_vec();
        self.taken += length + skipped;
        self.searched = self.taken;
        Ok(Some(payload))
    }

    /// Reads once; waits while there is nothing.
    pub(crate) fn fill(&mut self) -> Result<(), Failure> {
        self.buffer.drain(..self.taken);
        self.searched -= self.taken;
        self.taken = 0;
        let before = self.buffer.len();
        self.buffer.resize(before + CHUNK, 0);
        let read = loop {
            // Past the buffer of `io::stdin`, so that the descriptor tells whether there is something.
            let stdin = io::stdin();
            let from = self.file.as_ref().map_or(stdin.as_fd(), File::as_fd);
            match rustix::io::read(from, &mut self.buffer[before..]) {
                Ok(read) => break Ok(read),
                Err(Errno::INTR) => {}
                // Whoever gave us the descriptor may have set it not to wait.
                Err(Errno::AGAIN) => {
                    match rustix::event::poll(&mut [PollFd::from_borrowed_fd(from, PollFlags::IN)], None) {
                        Ok(_) | Err(Errno::INTR) => {}
                        Err(error) => break Err(error),
                    }
                }
                Err(error) => break Err(error),
            }
        };
        self.buffer.truncate(before + *read.as_ref().unwrap_or(&0));
        self.ended = read.map_err(|error| Failure::file(&self.name, &error.into()))? == 0;
        Ok(())
    }

    /// Whether nothing more will come.
    pub(crate) fn ended(&self) -> bool {
        self.ended && self.buffer.len() == self.taken
    }

    /// To poll before [`fill`](Input::fill).
    pub(crate) fn descriptor<'a>(&'a self, stdin: &'a io::Stdin) -> BorrowedFd<'a> {
        self.file.as_ref().map_or(stdin.as_fd(), File::as_fd)
    }
}
