//! The floor: the same work over a hand-written, blocking Unix socket.
//!
//! A message is its length (8 bytes, little-endian) and that many bytes, written in one call.
//! Length 0 asks a sink for its count, which comes back as a length.

use std::error::Error;
use std::io::{self, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::samples::{Samples, stream_json};

const HEADER: usize = 8;
const CHUNK: usize = 64 * 1024;
const WARM_UP: usize = 100;

pub(crate) fn echo(path: &str) -> Result<(), Box<dyn Error>> {
    serve(path, |stream, message| (&mut &*stream).write_all(message))
}

pub(crate) fn sink(path: &str) -> Result<(), Box<dyn Error>> {
    serve_with(path, || {
        let mut messages: u64 = 0;
        move |mut stream: &UnixStream, message: &[u8]| {
            if message.len() > HEADER {
                messages += 1;
                return Ok(());
            }
            stream.write_all(&messages.to_le_bytes())
        }
    })
}

fn serve(
    path: &str,
    handle: impl Fn(&UnixStream, &[u8]) -> io::Result<()> + Copy + Send + 'static,
) -> Result<(), Box<dyn Error>> {
    serve_with(path, move || handle)
}

/// A thread for each connection, each with a handler of its own for whole messages, header included.
fn serve_with<H>(path: &str, handler: impl Fn() -> H) -> Result<(), Box<dyn Error>>
where
    H: FnMut(&UnixStream, &[u8]) -> io::Result<()> + Send + 'static,
{
    let listener = UnixListener::bind(path)?;
    println!("ready {path}");
    loop {
        let (stream, _) = listener.accept()?;
        let mut handle = handler();
        thread::spawn(move || {
            let mut messages = Messages::new(&stream);
            let end = loop {
                match messages.next().and_then(|message| handle(&stream, message)) {
                    Ok(()) => {}
                    Err(error) => break error,
                }
            };
            if end.kind() != io::ErrorKind::UnexpectedEof {
                eprintln!("agent: {end}");
            }
        });
    }
}

pub(crate) fn bench(path: &str, size: usize, time: Duration) -> Result<(), Box<dyn Error>> {
    let mut stream = UnixStream::connect(path)?;
    let message = message(size);
    let receiving = stream.try_clone()?;
    let mut messages = Messages::new(&receiving);
    let mut round_trip = || -> io::Result<usize> {
        stream.write_all(&message)?;
        Ok(messages.next()?.len())
    };
    for _ in 0..WARM_UP {
        round_trip()?;
    }
    let mut samples = Samples::default();
    let end = Instant::now() + time;
    while Instant::now() < end {
        let started = Instant::now();
        let received = round_trip()?;
        samples.add(started.elapsed());
        if received != HEADER + size {
            return Err(format!("sent {size} bytes, received {}", received - HEADER).into());
        }
    }
    println!("{}", samples.json());
    Ok(())
}

pub(crate) fn stream(path: &str, size: usize, time: Duration) -> Result<(), Box<dyn Error>> {
    if size == 0 {
        return Err("an empty message asks for the count; stream at least one byte".into());
    }
    let mut stream = UnixStream::connect(path)?;
    let message = message(size);
    let mut messages: u64 = 0;
    let started = Instant::now();
    while started.elapsed() < time {
        stream.write_all(&message)?;
        messages += 1;
    }
    stream.write_all(&0u64.to_le_bytes())?;
    let mut count = [0; HEADER];
    stream.read_exact(&mut count)?;
    let (took, count) = (started.elapsed(), u64::from_le_bytes(count));
    if count != messages {
        return Err(format!("sent {messages} messages, the sink counted {count}").into());
    }
    println!("{}", stream_json(messages, size, took));
    Ok(())
}

fn message(size: usize) -> Vec<u8> {
    let mut message = (size as u64).to_le_bytes().to_vec();
    message.resize(HEADER + size, 0x5a);
    message
}

/// Whole messages out of a stream: one read for as many as have arrived, one buffer for all.
struct Messages<'a> {
    stream: &'a UnixStream,
    buffer: Vec<u8>,
    /// The unread part of the buffer.
    start: usize,
    end: usize,
}

impl<'a> Messages<'a> {
    fn new(stream: &'a UnixStream) -> Messages<'a> {
        Messages { stream, buffer: vec![0; CHUNK], start: 0, end: 0 }
    }

    /// The next message with its header.
    fn next(&mut self) -> io::Result<&[u8]> {
        self.fill(HEADER)?;
        let header = self.buffer[self.start..][..HEADER].try_into().expect("eight bytes");
        let size = HEADER + u64::from_le_bytes(header) as usize;
        self.fill(size)?;
        let message = self.start..self.start + size;
        self.start = message.end;
        Ok(&self.buffer[message])
    }

    /// Reads until `need` unread bytes are there.
    fn fill(&mut self, need: usize) -> io::Result<()> {
        if self.start == self.end {
            (self.start, self.end) = (0, 0);
        }
        if self.buffer.len() - self.start < need {
            self.buffer.copy_within(self.start..self.end, 0);
            (self.start, self.end) = (0, self.end - self.start);
            if self.buffer.len() < need {
                self.buffer.resize(need, 0);
            }
        }
        while self.end - self.start < need {
            match self.stream.read(&mut self.buffer[self.end..])? {
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                read => self.end += read,
            }
        }
        Ok(())
    }
}
