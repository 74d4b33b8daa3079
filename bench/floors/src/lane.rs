//! Both ends of a hand-written lane.

use std::io::IoSlice;
use std::os::unix::net::{UnixListener, UnixStream};

use frame::{Answer, Pipe, Result, Service, ready};

use crate::carrier::Carrier;
use crate::reader::Reader;

/// A batching writer keeps no more than this.
const BATCH: usize = 64 * 1024;
/// A message up to this length is put behind its header; a longer one is written from where it lies.
const COPIED: usize = 4096;

/// One end.
pub struct Lane<C, const BATCHED: bool> {
    carrier: C,
    reader: Reader,
    out: Vec<u8>,
}

impl<C: Carrier, const BATCHED: bool> Lane<C, BATCHED> {
    fn new(stream: UnixStream) -> Result<Self> {
        Ok(Lane { carrier: C::new(stream)?, reader: Reader::new(BATCHED), out: Vec::with_capacity(2 * BATCH) })
    }

    #[inline]
    fn write(&mut self, message: &[u8]) -> Result<()> {
        let header = u32::try_from(message.len())?.to_le_bytes();
        if message.len() > COPIED {
            self.flush()?;
            return write_all(&mut self.carrier, &header, message);
        }
        self.out.extend_from_slice(&header);
        self.out.extend_from_slice(message);
        if !BATCHED || self.out.len() >= BATCH { self.flush() } else { Ok(()) }
    }

    #[inline]
    fn flush(&mut self) -> Result<()> {
        if !self.out.is_empty() {
            write_all(&mut self.carrier, &self.out, &[])?;
            self.out.clear();
        }
        Ok(())
    }

    /// Answers until the client is gone.
    fn answer(&mut self) -> Result<()> {
        let mut service = Service::default();
        let mut reply = Vec::new();
        loop {
            if BATCHED && !self.reader.has_one()? {
                self.flush()?;
            }
            let Some(message) = self.reader.next(&mut self.carrier)? else { return Ok(()) };
            match service.handle(message)? {
                Answer::Nothing => {}
                Answer::Report(report) => self.write(&report)?,
                Answer::Echo if message.len() > COPIED => {
                    let header = u32::try_from(message.len())?.to_le_bytes();
                    if !self.out.is_empty() {
                        write_all(&mut self.carrier, &self.out, &[])?;
                        self.out.clear();
                    }
                    write_all(&mut self.carrier, &header, message)?;
                }
                Answer::Echo => {
                    reply.clear();
                    reply.extend_from_slice(message);
                    self.write(&reply)?;
                }
            }
        }
    }
}

fn write_all(carrier: &mut impl Carrier, head: &[u8], tail: &[u8]) -> Result<()> {
    let mut parts = [IoSlice::new(head), IoSlice::new(tail)];
    let mut left = &mut parts[..];
    while left.iter().any(|part| !part.is_empty()) {
        match carrier.write(left) {
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            outcome => IoSlice::advance_slices(&mut left, outcome?),
        }
    }
    Ok(())
}

impl<C: Carrier, const BATCHED: bool> Pipe for Lane<C, BATCHED> {
    async fn connect(address: &str) -> Result<Self> {
        Lane::new(UnixStream::connect(address)?)
    }

    #[inline]
    async fn post(&mut self, message: &[u8]) -> Result<()> {
        self.write(message)
    }

    #[inline]
    async fn take(&mut self, check: impl FnOnce(&[u8]) -> Result<()>) -> Result<()> {
        if BATCHED && !self.reader.has_one()? {
            self.flush()?;
        }
        check(self.reader.next(&mut self.carrier)?.ok_or("the server is gone")?)
    }
}

/// Serves one client after the other.
pub fn serve<C: Carrier, const BATCHED: bool>(address: &str) -> Result<()> {
    let listener = UnixListener::bind(address)?;
    ready(address)?;
    loop {
        let (stream, _) = listener.accept()?;
        Lane::<C, BATCHED>::new(stream)?.answer()?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Blocking, Polling};

    fn echoes<C: Carrier, const BATCHED: bool>(name: &str) {
        let path = std::env::temp_dir().join(format!("floor-{name}-{}", std::process::id()));
        let listener = UnixListener::bind(&path).unwrap();
        std::thread::scope(|scope| {
            let server =
                scope.spawn(|| Lane::<C, BATCHED>::new(listener.accept().unwrap().0).unwrap().answer().unwrap());
            let mut client = Lane::<C, BATCHED>::new(UnixStream::connect(&path).unwrap()).unwrap();
            for size in [8usize, 64, 5000, 64, 1 << 20, 9, 300_000, 64] {
                let mut message = vec![7; size];
                message[..8].copy_from_slice(&(1u64 << 56).to_le_bytes());
                // More than one on the way, as long as the kernel can hold them.
                let count = if size < 1000 { 50 } else { 1 };
                for _ in 0..count {
                    client.write(&message).unwrap();
                }
                client.flush().unwrap();
                for _ in 0..count {
                    assert_eq!(client.reader.next(&mut client.carrier).unwrap(), Some(&message[..]), "{name} {size}");
                }
            }
            drop(client);
            server.join().unwrap();
        });
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn messages_of_any_size_come_back() {
        echoes::<Blocking, false>("blocking");
        echoes::<Blocking, true>("batched");
        echoes::<Polling, false>("polling");
    }
}
