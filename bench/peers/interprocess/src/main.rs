//! interprocess gives streams of bytes: messages are framed by hand, as its examples do, behind a buffered reader.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::ExitCode;

use frame::{Answer, Inline, Pipe, Result, Service, program, ready, serve_each};
use interprocess::local_socket::traits::{Listener as _, Stream as _};
use interprocess::local_socket::{GenericFilePath, ListenerOptions, Stream, ToFsName};

/// A longer message is not copied behind its header.
const COPIED: usize = 4096;

struct Lane {
    stream: BufReader<Stream>,
    message: Vec<u8>,
    out: Vec<u8>,
}

impl Lane {
    fn new(stream: Stream) -> Lane {
        Lane { stream: BufReader::new(stream), message: Vec::new(), out: Vec::new() }
    }

    fn write(&mut self, message: &[u8]) -> Result<()> {
        self.out.clear();
        self.out.extend_from_slice(&u32::try_from(message.len())?.to_le_bytes());
        let copied = message.len() <= COPIED;
        if copied {
            self.out.extend_from_slice(message);
        }
        let stream = self.stream.get_mut();
        stream.write_all(&self.out)?;
        if !copied {
            stream.write_all(message)?;
        }
        Ok(())
    }

    /// False at the end of the stream.
    fn read(&mut self) -> Result<bool> {
        if self.stream.fill_buf()?.is_empty() {
            return Ok(false);
        }
        let mut header = [0; 4];
        self.stream.read_exact(&mut header)?;
        self.message.resize(u32::from_le_bytes(header) as usize, 0);
        self.stream.read_exact(&mut self.message)?;
        Ok(true)
    }

    fn answer(mut self) -> Result<()> {
        let mut service = Service::default();
        while self.read()? {
            match service.handle(&self.message)? {
                Answer::Echo => {
                    let message = std::mem::take(&mut self.message);
                    self.write(&message)?;
                    self.message = message;
                }
                Answer::Nothing => {}
                Answer::Report(report) => self.write(&report)?,
            }
        }
        Ok(())
    }
}

impl Pipe for Lane {
    async fn connect(address: &str) -> Result<Lane> {
        Ok(Lane::new(Stream::connect(address.to_fs_name::<GenericFilePath>()?)?))
    }

    async fn post(&mut self, message: &[u8]) -> Result<()> {
        self.write(message)
    }

    async fn take(&mut self, check: impl FnOnce(&[u8]) -> Result<()>) -> Result<()> {
        if !self.read()? {
            return Err("the server is gone".into());
        }
        check(&self.message)
    }
}

fn serve(address: &str) -> Result<()> {
    let listener = ListenerOptions::new().name(address.to_fs_name::<GenericFilePath>()?).create_sync()?;
    ready(address)?;
    serve_each(move || Ok(Lane::new(listener.accept()?)), Lane::answer)
}

fn main() -> ExitCode {
    program::<Lane>(Inline, serve)
}
