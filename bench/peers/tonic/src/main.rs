//! tonic over a Unix socket: unary calls, and a client's stream for one-way messages.

use std::process::ExitCode;

use bytes::Bytes;
use frame::{Answer, Client, CurrentThread, Flight, Result, Runtime, Service, WINDOW, program, ready};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use hyper_util::rt::TokioIo;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_stream::wrappers::{ReceiverStream, UnixListenerStream};
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Request, Response, Status, Streaming};
use works_client::WorksClient;
use works_server::{Works, WorksServer};

mod generated {
    #![allow(unreachable_pub, clippy::all)] // As the generator writes it.
    tonic::include_proto!("bench.Works");
}
use generated::{works_client, works_server};

/// Flow-control windows that let 1 MiB through without a stop.
const FLOW: u32 = 4 << 20;
/// Longer than any message here.
const MAX_MESSAGE: usize = 16 << 20;
/// Bytes that may wait in the stream of one-way messages.
const QUEUED: usize = 4 << 20;
/// Messages that may wait there.
const QUEUED_MESSAGES: usize = 256;

/// What a schema would say: `message Payload { bytes data = 1; }`.
#[derive(Clone, PartialEq, prost::Message)]
struct Payload {
    #[prost(bytes = "bytes", tag = "1")]
    data: Bytes,
}

impl Payload {
    fn copy(data: &[u8]) -> Payload {
        Payload { data: Bytes::copy_from_slice(data) }
    }
}

struct Answering;

fn handle(service: &mut Service, message: &Payload) -> Result<Answer, Status> {
    service.handle(&message.data).map_err(|error| Status::invalid_argument(error.to_string()))
}

#[tonic::async_trait]
impl Works for Answering {
    async fn ask(&self, request: Request<Payload>) -> Result<Response<Payload>, Status> {
        let message = request.into_inner();
        handle(&mut Service::default(), &message)?;
        Ok(Response::new(message))
    }

    async fn tell(&self, request: Request<Streaming<Payload>>) -> Result<Response<Payload>, Status> {
        let mut messages = request.into_inner();
        let mut service = Service::default();
        while let Some(message) = messages.next().await {
            if let Answer::Report(report) = handle(&mut service, &message?)? {
                return Ok(Response::new(Payload::copy(&report)));
            }
        }
        Err(Status::invalid_argument("the stream has no last message"))
    }
}

type Telling = (mpsc::Sender<Payload>, JoinHandle<Result<Response<Payload>, Status>>);

struct Lane {
    client: WorksClient<Channel>,
    telling: Option<Telling>,
}

impl Client for Lane {
    async fn connect(address: &str) -> Result<Lane> {
        let path = address.to_owned();
        // The name of the host is asked for and means nothing on a Unix socket.
        let channel = Endpoint::from_static("http://localhost")
            .initial_stream_window_size(FLOW)
            .initial_connection_window_size(FLOW)
            .connect_with_connector(tower::service_fn(move |_| {
                let path = path.clone();
                async move { std::io::Result::Ok(TokioIo::new(UnixStream::connect(path).await?)) }
            }))
            .await?;
        Ok(Lane { client: WorksClient::new(channel).max_decoding_message_size(MAX_MESSAGE), telling: None })
    }

    async fn call(&mut self, request: &[u8], check: impl FnOnce(&[u8]) -> Result<()>) -> Result<()> {
        check(&self.client.ask(Payload::copy(request)).await?.into_inner().data)
    }

    async fn fly(&mut self, flight: &mut Flight) -> Result<()> {
        let ask = |request: Payload| {
            let mut client = self.client.clone();
            async move {
                let reply = client.ask(request.clone()).await;
                (request, reply)
            }
        };
        let mut calls = FuturesUnordered::new();
        loop {
            while calls.len() < WINDOW {
                let Some(request) = flight.launch() else { break };
                calls.push(ask(Payload::copy(request)));
            }
            let Some((request, reply)) = calls.next().await else { return Ok(()) };
            flight.landed_for(&request.data, &reply?.into_inner().data)?;
        }
    }

    async fn send(&mut self, message: &[u8]) -> Result<()> {
        let (sender, _) = self.telling.get_or_insert_with(|| {
            let (sender, receiver) = mpsc::channel((QUEUED / message.len()).clamp(1, QUEUED_MESSAGES));
            let mut client = self.client.clone();
            (sender, tokio::spawn(async move { client.tell(ReceiverStream::new(receiver)).await }))
        });
        Ok(sender.send(Payload::copy(message)).await?)
    }

    async fn finish(&mut self, message: &[u8], check: impl FnOnce(&[u8]) -> Result<()>) -> Result<()> {
        self.send(message).await?;
        let (sender, reply) = self.telling.take().ok_or("no stream was started")?;
        drop(sender);
        check(&reply.await??.into_inner().data)
    }
}

fn serve(address: &str) -> Result<()> {
    CurrentThread.block_on(async {
        let listener = UnixListener::bind(address)?;
        ready(address)?;
        Server::builder()
            .initial_stream_window_size(FLOW)
            .initial_connection_window_size(FLOW)
            .add_service(WorksServer::new(Answering).max_decoding_message_size(MAX_MESSAGE))
            .serve_with_incoming(UnixListenerStream::new(listener))
            .await?;
        Ok(())
    })
}

fn main() -> ExitCode {
    program::<Lane>(CurrentThread, serve)
}
