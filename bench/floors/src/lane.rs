//! Both ends of a hand-written lane.

use std::os::unix::net::{UnixListener, UnixStream};

use frame::{Answer, Pipe, Result, Service, ready, serve_each};

use crate::carrier::Carrier;
use crate::reader::Reader;
use crate::writer::Writer;

/// One end.
pub struct Lane<C, const BATCHED: bool> {
    carrier: C,
    reader: Reader,
    writer: Writer,
}

impl<C: Carrier, const BATCHED: bool> Lane<C, BATCHED> {
    fn new(stream: UnixStream) -> Result<Self> {
        Ok(Lane { carrier: C::new(stream)?, reader: Reader::new(BATCHED), writer: Writer::new(BATCHED) })
    }

    /// What was batched leaves before anybody waits.
    #[inline]
    fn before_read(&mut self) -> Result<()> {
        if BATCHED && !self.reader.has_one()? { self.writer.flush(&mut self.carrier) } else { Ok(()) }
    }

    /// Answers until the client is gone.
    fn answer(&mut self) -> Result<()> {
        let mut service = Service::default();
        loop {
            self.before_read()?;
            let Some(message) = self.reader.next(&mut self.carrier)? else { return Ok(()) };
            match service.handle(message)? {
                Answer::Echo => self.writer.put(&mut self.carrier, message)?,
                Answer::Nothing => {}
                Answer::Report(report) => self.writer.put(&mut self.carrier, &report)?,
            }
        }
    }
}

impl<C: Carrier, const BATCHED: bool> Pipe for Lane<C, BATCHED> {
    async fn connect(address: &str) -> Result<Self> {
        Lane::new(UnixStream::connect(address)?)
    }

    #[inline]
    async fn post(&mut self, message: &[u8]) -> Result<()> {
        self.writer.put(&mut self.carrier, message)
    }

    #[inline]
    async fn take(&mut self, check: impl FnOnce(&[u8]) -> Result<()>) -> Result<()> {
        self.before_read()?;
        check(self.reader.next(&mut self.carrier)?.ok_or("the server is gone")?)
    }
}

/// Serves all clients.
pub fn serve<C: Carrier + 'static, const BATCHED: bool>(address: &str) -> Result<()> {
    let listener = UnixListener::bind(address)?;
    ready(address)?;
    serve_each(move || Ok(listener.accept()?.0), |stream| Lane::<C, BATCHED>::new(stream)?.answer())
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
                    client.writer.put(&mut client.carrier, &message).unwrap();
                }
                client.writer.flush(&mut client.carrier).unwrap();
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
