//! Tokio's Unix socket behind the length-delimited codec of tokio-util, on one thread.
//!
//! `FEED` says how messages are put in: `send` each, which writes it at once, or `feed` them and flush before waiting,
//! which is batching by hand.

use bytes::{Bytes, BytesMut};
use frame::{Answer, CurrentThread, Pipe, Result, Runtime, Service, ready};
use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::net::{UnixListener, UnixStream};
use tokio_util::codec::{Framed, LengthDelimitedCodec};

/// One end.
pub struct Lane<const FEED: bool>(Framed<UnixStream, LengthDelimitedCodec>);

impl<const FEED: bool> Lane<FEED> {
    fn new(stream: UnixStream) -> Self {
        Lane(LengthDelimitedCodec::builder().max_frame_length(16 << 20).new_framed(stream))
    }

    async fn put(&mut self, message: Bytes) -> Result<()> {
        if FEED {
            self.0.feed(message).await?;
        } else {
            self.0.send(message).await?;
        }
        Ok(())
    }

    /// The next message; what was fed leaves before this waits.
    async fn next(&mut self) -> Result<Option<BytesMut>> {
        if FEED {
            if let Some(message) = self.0.next().now_or_never() {
                return Ok(message.transpose()?);
            }
            SinkExt::<Bytes>::flush(&mut self.0).await?;
        }
        Ok(self.0.next().await.transpose()?)
    }

    async fn answer(mut self) -> Result<()> {
        let mut service = Service::default();
        while let Some(message) = self.next().await? {
            match service.handle(&message)? {
                Answer::Echo => self.put(message.freeze()).await?,
                Answer::Nothing => {}
                Answer::Report(report) => self.put(Bytes::copy_from_slice(&report)).await?,
            }
        }
        Ok(())
    }
}

impl<const FEED: bool> Pipe for Lane<FEED> {
    async fn connect(address: &str) -> Result<Self> {
        Ok(Lane::new(UnixStream::connect(address).await?))
    }

    async fn post(&mut self, message: &[u8]) -> Result<()> {
        self.put(Bytes::copy_from_slice(message)).await
    }

    async fn take(&mut self, check: impl FnOnce(&[u8]) -> Result<()>) -> Result<()> {
        check(&self.next().await?.ok_or("the server is gone")?)
    }
}

/// Serves every client in a task of its own.
pub fn serve<const FEED: bool>(address: &str) -> Result<()> {
    CurrentThread.block_on(async {
        let listener = UnixListener::bind(address)?;
        ready(address)?;
        loop {
            let (stream, _) = listener.accept().await?;
            tokio::spawn(async {
                if let Err(error) = Lane::<FEED>::new(stream).answer().await {
                    eprintln!("error: {error}");
                }
            });
        }
    })
}
