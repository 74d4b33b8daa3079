//! tarpc over a Unix socket with its bincode transport. It has no one-way messages: they are calls without an answer,
//! as many in flight as in `fly64`.

use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use frame::{Answer, Client, CurrentThread, Flight, Result, Runtime, Service, WINDOW, program, ready};
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tarpc::client::RpcError;
use tarpc::context::{self, Context};
use tarpc::serde_transport::unix;
use tarpc::server::{BaseChannel, Channel};
use tarpc::tokio_serde::formats::Bincode;

/// Longer than any frame here.
const MAX_FRAME: usize = 16 << 20;

#[tarpc::service]
trait Works {
    async fn ask(message: Bytes) -> Result<Bytes, String>;
    async fn tell(message: Bytes) -> Result<(), String>;
}

#[derive(Clone, Default)]
struct Server(Arc<Mutex<Service>>);

impl Server {
    fn handle(&self, message: &[u8]) -> Result<Answer, String> {
        let mut service = self.0.lock().map_err(|error| error.to_string())?;
        service.handle(message).map_err(|error| error.to_string())
    }
}

impl Works for Server {
    async fn ask(self, _: Context, message: Bytes) -> Result<Bytes, String> {
        Ok(match self.handle(&message)? {
            Answer::Echo | Answer::Nothing => message,
            Answer::Report(report) => Bytes::copy_from_slice(&report),
        })
    }

    async fn tell(self, _: Context, message: Bytes) -> Result<(), String> {
        self.handle(&message).map(drop)
    }
}

struct Lane {
    client: WorksClient,
    told: FuturesUnordered<BoxFuture<'static, Result<Result<(), String>, RpcError>>>,
}

impl Client for Lane {
    async fn connect(address: &str) -> Result<Lane> {
        let mut transport = unix::connect(address, Bincode::default);
        transport.config_mut().max_frame_length(MAX_FRAME);
        let client = WorksClient::new(tarpc::client::Config::default(), transport.await?).spawn();
        Ok(Lane { client, told: FuturesUnordered::new() })
    }

    async fn call(&mut self, request: &[u8], check: impl FnOnce(&[u8]) -> Result<()>) -> Result<()> {
        check(&self.client.ask(context::current(), Bytes::copy_from_slice(request)).await??)
    }

    async fn fly(&mut self, flight: &mut Flight) -> Result<()> {
        let client = &self.client;
        let ask = |request: Bytes| async move {
            let reply = client.ask(context::current(), request.clone()).await;
            (request, reply)
        };
        let mut calls = FuturesUnordered::new();
        loop {
            while calls.len() < WINDOW {
                let Some(request) = flight.launch() else { break };
                calls.push(ask(Bytes::copy_from_slice(request)));
            }
            let Some((request, reply)) = calls.next().await else { return Ok(()) };
            flight.landed_for(&request, &reply??)?;
        }
    }

    async fn send(&mut self, message: &[u8]) -> Result<()> {
        if self.told.len() >= WINDOW {
            self.told.next().await.transpose()?.transpose()?;
        }
        let (client, message) = (self.client.clone(), Bytes::copy_from_slice(message));
        self.told.push(async move { client.tell(context::current(), message).await }.boxed());
        Ok(())
    }

    async fn finish(&mut self, message: &[u8], check: impl FnOnce(&[u8]) -> Result<()>) -> Result<()> {
        while let Some(told) = self.told.next().await {
            told??;
        }
        self.call(message, check).await
    }
}

fn serve(address: &str) -> Result<()> {
    CurrentThread.block_on(async {
        let mut listener = unix::listen(address, Bincode::default).await?;
        listener.config_mut().max_frame_length(MAX_FRAME);
        ready(address)?;
        while let Some(transport) = listener.next().await {
            let requests = BaseChannel::with_defaults(transport?).execute(Server::default().serve());
            tokio::spawn(requests.for_each(|request| async {
                tokio::spawn(request);
            }));
        }
        Ok(())
    })
}

fn main() -> ExitCode {
    program::<Lane>(CurrentThread, serve)
}
