//! ZeroMQ over its ipc transport: DEALER to ROUTER for requests, PUSH to PULL for one-way messages.

use std::process::ExitCode;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use frame::{Answer, Client, Flight, Inline, REPORT, Result, Service, WINDOW, program, ready};
use zmq::{Context, DEALER, PULL, PUSH, ROUTER, SNDMORE, Socket};

/// Messages longer than this wait in short queues: a queue is bounded by their number alone.
const LARGE: usize = 64 * 1024;
const LARGE_QUEUE: i32 = 16;

struct Lane {
    context: Context,
    requests: Socket,
    address: String,
    /// Made for the first one-way message.
    push: Option<Socket>,
}

fn one_way(address: &str) -> String {
    format!("ipc://{address}.push")
}

fn socket(context: &Context, kind: zmq::SocketType) -> Result<Socket> {
    let socket = context.socket(kind)?;
    socket.set_linger(0)?;
    Ok(socket)
}

impl Lane {
    fn ask(&self, request: &[u8]) -> Result<()> {
        Ok(self.requests.send(request, 0)?)
    }

    fn push(&mut self, message: &[u8]) -> Result<()> {
        if self.push.is_none() {
            let push = socket(&self.context, PUSH)?;
            if message.len() > LARGE {
                push.set_sndhwm(LARGE_QUEUE)?;
            }
            push.connect(&one_way(&self.address))?;
            self.push = Some(push);
        }
        let push = self.push.as_ref().ok_or("no socket for one-way messages")?;
        Ok(push.send(message, 0)?)
    }
}

impl Client for Lane {
    async fn connect(address: &str) -> Result<Lane> {
        let context = Context::new();
        let requests = socket(&context, DEALER)?;
        requests.connect(&format!("ipc://{address}"))?;
        Ok(Lane { context, requests, address: address.to_owned(), push: None })
    }

    async fn call(&mut self, request: &[u8], check: impl FnOnce(&[u8]) -> Result<()>) -> Result<()> {
        self.ask(request)?;
        check(&self.requests.recv_msg(0)?)
    }

    async fn fly(&mut self, flight: &mut Flight) -> Result<()> {
        loop {
            while flight.pending() < WINDOW as u64 {
                let Some(request) = flight.launch() else { break };
                self.ask(request)?;
            }
            if flight.pending() == 0 {
                return Ok(());
            }
            flight.landed(&self.requests.recv_msg(0)?)?;
        }
    }

    async fn send(&mut self, message: &[u8]) -> Result<()> {
        self.push(message)
    }

    async fn finish(&mut self, message: &[u8], check: impl FnOnce(&[u8]) -> Result<()>) -> Result<()> {
        // The report is made where the stream ends, and asked for where replies are given.
        self.push(message)?;
        self.call(message, check).await
    }
}

fn serve(address: &str) -> Result<()> {
    let context = Context::new();
    let requests = socket(&context, ROUTER)?;
    requests.bind(&format!("ipc://{address}"))?;
    let pull = socket(&context, PULL)?;
    pull.set_rcvhwm(LARGE_QUEUE * 64)?;
    pull.bind(&one_way(address))?;
    let (reports, reported) = channel();
    thread::spawn(move || {
        if let Err(error) = count(&pull, &reports) {
            eprintln!("error: {error}");
        }
    });
    ready(address)?;
    answer(&requests, &reported)
}

fn answer(requests: &Socket, reported: &Receiver<[u8; REPORT]>) -> Result<()> {
    let mut service = Service::default();
    loop {
        let client = requests.recv_msg(0)?;
        let message = requests.recv_msg(0)?;
        match service.handle(&message)? {
            Answer::Echo => {
                requests.send(client, SNDMORE)?;
                requests.send(message, 0)?;
            }
            Answer::Nothing => {}
            Answer::Report(_) => {
                requests.send(client, SNDMORE)?;
                requests.send(&reported.recv()?[..], 0)?;
            }
        }
    }
}

fn count(pull: &Socket, reports: &Sender<[u8; REPORT]>) -> Result<()> {
    let mut service = Service::default();
    loop {
        if let Answer::Report(report) = service.handle(&pull.recv_msg(0)?)? {
            reports.send(report)?;
        }
    }
}

fn main() -> ExitCode {
    program::<Lane>(Inline, serve)
}
