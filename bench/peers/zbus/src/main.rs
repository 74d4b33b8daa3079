//! zbus, peer to peer: method calls, and calls that want no reply for one-way messages.

use std::os::unix::net::{UnixListener, UnixStream};
use std::process::ExitCode;

use frame::{Answer, Client, CurrentThread, Flight, Result, Runtime, Service, WINDOW, program, ready};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde_bytes::Bytes;
use zbus::message::{Flags, Message, Type};
use zbus::{Connection, Guid, connection};

const PATH: &str = "/works";
const INTERFACE: &str = "bench.Works";
const METHOD: &str = "Ask";
/// Bytes of one-way messages that are sent together.
const BURST: usize = 64 * 64;

struct Lane {
    connection: Connection,
    /// One-way messages on their way.
    burst: Vec<Message>,
    /// Bytes in `burst`.
    waiting: usize,
}

async fn ask(connection: &Connection, message: &[u8]) -> zbus::Result<Message> {
    connection.call_method(None::<&str>, PATH, Some(INTERFACE), METHOD, &Bytes::new(message)).await
}

impl Lane {
    async fn flush(&mut self) -> Result<()> {
        self.connection.send_all(&self.burst).await?;
        self.burst.clear();
        self.waiting = 0;
        Ok(())
    }
}

impl Client for Lane {
    async fn connect(address: &str) -> Result<Lane> {
        let stream = tokio::net::UnixStream::connect(address).await?.into_std()?;
        let connection = connection::Builder::unix_stream(stream).p2p().build().await?;
        Ok(Lane { connection, burst: Vec::new(), waiting: 0 })
    }

    async fn call(&mut self, request: &[u8], check: impl FnOnce(&[u8]) -> Result<()>) -> Result<()> {
        let reply = ask(&self.connection, request).await?.body();
        check(reply.deserialize()?)
    }

    async fn fly(&mut self, flight: &mut Flight) -> Result<()> {
        let connection = &self.connection;
        let ask = |request: Vec<u8>| async move {
            let reply = ask(connection, &request).await;
            (request, reply)
        };
        let mut calls = FuturesUnordered::new();
        loop {
            while calls.len() < WINDOW {
                let Some(request) = flight.launch() else { break };
                calls.push(ask(request.to_vec()));
            }
            let Some((request, reply)) = calls.next().await else { return Ok(()) };
            let reply = reply?.body();
            flight.landed_for(&request, reply.deserialize()?)?;
        }
    }

    async fn send(&mut self, message: &[u8]) -> Result<()> {
        let call = Message::method_call(PATH, METHOD).interface(INTERFACE).with_flags(Flags::NO_REPLY_EXPECTED);
        self.burst.push(call.build(&Bytes::new(message))?);
        self.waiting += message.len();
        if self.waiting >= BURST { self.flush().await } else { Ok(()) }
    }

    async fn finish(&mut self, message: &[u8], check: impl FnOnce(&[u8]) -> Result<()>) -> Result<()> {
        self.flush().await?;
        self.call(message, check).await
    }
}

async fn answer(stream: UnixStream) -> Result<()> {
    let guid = Guid::generate();
    let mut messages = connection::Builder::unix_stream(stream).server(guid).p2p().build_message_stream().await?;
    let connection = Connection::from(&messages);
    let mut service = Service::default();
    while let Some(message) = messages.next().await {
        let Ok(message) = message else { return Ok(()) };
        if message.message_type() != Type::MethodCall {
            continue;
        }
        let body = message.body();
        let bytes: &[u8] = body.deserialize()?;
        match service.handle(bytes)? {
            Answer::Echo => connection.reply(&message.header(), &Bytes::new(bytes)).await?,
            Answer::Nothing => {}
            Answer::Report(report) => connection.reply(&message.header(), &Bytes::new(&report)).await?,
        }
    }
    Ok(())
}

fn serve(address: &str) -> Result<()> {
    CurrentThread.block_on(async {
        let listener = UnixListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let listener = tokio::net::UnixListener::from_std(listener)?;
        ready(address)?;
        loop {
            let stream = listener.accept().await?.0.into_std()?;
            tokio::spawn(async {
                if let Err(error) = answer(stream).await {
                    eprintln!("error: {error}");
                }
            });
        }
    })
}

fn main() -> ExitCode {
    program::<Lane>(CurrentThread, serve)
}
