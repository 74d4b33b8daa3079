//! nng over its ipc transport: REQ to REP for requests, one context for each in flight; PUSH to PULL for one-way
//! messages.

use std::process::ExitCode;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread;

use frame::{Answer, Client, Flight, Inline, REPORT, Result, Service, WINDOW, program, ready};
use nng::options::{Options, RecvMaxSize};
use nng::{Aio, AioResult, Context, Error, Message, Protocol, Socket};

type Completed = (Sender<AioResult>, Receiver<AioResult>);

/// A request of its own.
struct Slot {
    context: Context,
    aio: Aio,
    completed: Receiver<AioResult>,
}

struct Lane {
    requests: Socket,
    address: String,
    /// Made for the first one-way message.
    push: Option<Socket>,
}

fn socket(protocol: Protocol) -> Result<Socket> {
    let socket = Socket::new(protocol)?;
    // The default of 1 MiB leaves no room for a header: such a message is dropped without a word.
    socket.set_opt::<RecvMaxSize>(0)?;
    Ok(socket)
}

fn requests(address: &str) -> String {
    format!("ipc://{address}")
}

fn one_way(address: &str) -> String {
    format!("ipc://{address}.push")
}

fn send(socket: &Socket, message: Message) -> Result<()> {
    socket.send(message).map_err(|(_, error)| error.into())
}

impl Slot {
    fn new(socket: &Socket) -> Result<Slot> {
        let (sender, completed): Completed = channel();
        let aio = Aio::new(move |_, result| {
            // Nobody waits any more once the slot is gone.
            let _ = sender.send(result);
        })?;
        Ok(Slot { context: Context::new(socket)?, aio, completed })
    }

    fn ask(&self, request: &[u8]) -> Result<()> {
        self.context.send(&self.aio, request).map_err(|(_, error)| error.into())
    }

    /// The result of what was started last. The callback has to be over before the next start: nng loses one that
    /// overtakes it.
    fn result(&self) -> Result<AioResult> {
        let result = self.completed.recv()?;
        self.aio.wait();
        Ok(result)
    }

    fn reply(&self) -> Result<Message> {
        match self.result()? {
            AioResult::Send(sent) => sent.map_err(|(_, error)| error)?,
            other => return Err(format!("{other:?} where a request was sent").into()),
        }
        self.context.recv(&self.aio)?;
        match self.result()? {
            AioResult::Recv(message) => Ok(message?),
            other => Err(format!("{other:?} where a reply was due").into()),
        }
    }
}

impl Client for Lane {
    async fn connect(address: &str) -> Result<Lane> {
        let socket = socket(Protocol::Req0)?;
        socket.dial(&requests(address))?;
        Ok(Lane { requests: socket, address: address.to_owned(), push: None })
    }

    async fn call(&mut self, request: &[u8], check: impl FnOnce(&[u8]) -> Result<()>) -> Result<()> {
        send(&self.requests, request.into())?;
        check(&self.requests.recv()?)
    }

    async fn fly(&mut self, flight: &mut Flight) -> Result<()> {
        let slots: Vec<Slot> = (0..WINDOW).map(|_| Slot::new(&self.requests)).collect::<Result<_>>()?;
        let mut busy = Vec::with_capacity(WINDOW);
        for slot in &slots {
            let Some(request) = flight.launch() else { break };
            slot.ask(request)?;
            busy.push(slot);
        }
        while flight.pending() > 0 {
            for slot in std::mem::take(&mut busy) {
                flight.landed(&slot.reply()?)?;
                if let Some(request) = flight.launch() {
                    slot.ask(request)?;
                    busy.push(slot);
                }
            }
        }
        Ok(())
    }

    async fn send(&mut self, message: &[u8]) -> Result<()> {
        if self.push.is_none() {
            let push = socket(Protocol::Push0)?;
            push.dial(&one_way(&self.address))?;
            self.push = Some(push);
        }
        send(self.push.as_ref().ok_or("no socket for one-way messages")?, message.into())
    }

    async fn finish(&mut self, message: &[u8], check: impl FnOnce(&[u8]) -> Result<()>) -> Result<()> {
        // The report is made where the stream ends, and asked for where replies are given.
        self.send(message).await?;
        self.call(message, check).await
    }
}

fn serve(address: &str) -> Result<()> {
    let replies = socket(Protocol::Rep0)?;
    replies.listen(&requests(address))?;
    let pull = socket(Protocol::Pull0)?;
    pull.listen(&one_way(address))?;
    let (reports, reported) = channel();
    thread::spawn(move || {
        if let Err(error) = count(&pull, &reports) {
            eprintln!("error: {error}");
        }
    });
    ready(address)?;
    answer(&replies, &reported)
}

fn answer(replies: &Socket, reported: &Receiver<[u8; REPORT]>) -> Result<()> {
    let mut service = Service::default();
    loop {
        let message = replies.recv()?;
        match service.handle(&message)? {
            Answer::Echo | Answer::Nothing => reply(replies, message)?,
            Answer::Report(_) => reply(replies, reported.recv()?[..].into())?,
        }
    }
}

/// A client that left without its reply is no fault.
fn reply(replies: &Socket, message: Message) -> Result<()> {
    match replies.send(message) {
        Err((_, Error::Closed)) | Ok(()) => Ok(()),
        Err((_, error)) => Err(error.into()),
    }
}

fn count(pull: &Socket, reports: &Sender<[u8; REPORT]>) -> Result<()> {
    let mut service = Service::default();
    loop {
        if let Answer::Report(report) = service.handle(&pull.recv()?)? {
            reports.send(report)?;
        }
    }
}

fn main() -> ExitCode {
    program::<Lane>(Inline, serve)
}
