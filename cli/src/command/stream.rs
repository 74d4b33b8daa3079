//! `hostlane stream`: a call with items both ways.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use clap::Args;
use hostlane::{Bytes, CallOptions, Channel, Code, Error, Info, Stream as Lane, Wait, limits};
use serde::Serialize;

use crate::args;
use crate::client::{Target, deadline};
use crate::exit::{Exit, Failure};
use crate::input::{Cut, Input};
use crate::message::{Credentials, Failed, Payload, now};
use crate::output::{Output, Report};

/// Time for connecting where there is no deadline for the whole.
const CONNECTING: Duration = Duration::from_secs(5);

/// Bytes of an item of a file.
const PIECE: usize = 64 * 1024;

/// Open a stream: send items, print those that come, and the reply that ends it
///
/// Every line of standard input is an item; a file goes in pieces. Neither side gets ahead of the other: what the server
/// does not take is not read, and what is not printed is not taken. At the end of the input the server is told that no
/// item follows, and the stream goes on until it replies. A server that replies before ends it.
#[derive(Args)]
pub(crate) struct Stream {
    #[command(flatten)]
    target: Target,

    /// Channel of the call: command, data, telemetry, error, or a number
    #[arg(long, short, value_name = "N", value_parser = args::channel, default_value = "command")]
    channel: Channel,

    /// The payload that opens the stream
    #[arg(long, value_name = "S", allow_hyphen_values = true, default_value = "")]
    data: String,

    /// Send the bytes of a file instead of the lines of standard input
    #[arg(long, value_name = "F")]
    file: Option<PathBuf>,

    /// Cut the input after every N bytes instead of at its lines [default for --file: 65536]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=limits::MAX_MESSAGE as i64))]
    pieces: Option<u32>,

    /// Time for all of it [default: none; 5s for connecting]
    #[arg(long, alias = "timeout", value_name = "D", value_parser = args::duration)]
    deadline: Option<Duration>,
}

/// An item, or the reply.
#[derive(Serialize)]
struct Part<'a> {
    event: &'static str,
    size: usize,
    #[serde(flatten)]
    payload: Payload<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    from: Option<From<'a>>,
    timestamp: String,
    #[serde(skip)]
    bytes: &'a [u8],
}

/// Who replied.
#[derive(Serialize)]
struct From<'a> {
    peer_id: &'a str,
    credentials: Option<Credentials>,
}

impl Stream {
    pub(crate) fn run(self, output: &Output) -> Result<Exit, Failure> {
        let cut = match (self.pieces, &self.file) {
            (Some(bytes), _) => Cut::Bytes(bytes as usize),
            (None, Some(_)) => Cut::Bytes(PIECE),
            (None, None) => Cut::Line,
        };
        let input = Input::open(self.file.as_deref(), cut)?;
        let until = self.deadline.map(deadline);
        let mut channels = Channel::DEFAULT.to_vec();
        if !channels.contains(&self.channel) {
            channels.push(self.channel);
        }
        let peer = self.target.connect(&channels, until.unwrap_or_else(|| deadline(CONNECTING)))?;
        let options = CallOptions::new().channel(self.channel);
        let options = until.into_iter().fold(options, CallOptions::deadline);
        let stream = Arc::new(peer.open_stream(&self.data, options)?);
        let fault = send(input, &stream)?;
        let ended = print(&stream, &peer.info()?, output);
        // What spoilt the sending ended the stream, and is the reason for it.
        let fault = fault.lock().unwrap_or_else(PoisonError::into_inner).take();
        let ended = fault.map_or(ended, Err);
        if let Err(Failure::Lane(error)) = &ended
            && let Some(failed) = Failed::new(error)
        {
            output.report(&failed)?;
        }
        peer.close();
        ended.map(|()| Exit::Success)
    }
}

/// Why no more could be sent.
type Fault = Arc<Mutex<Option<Failure>>>;

/// Sends the input on a thread of its own, which may wait for input when the stream ends: it is not waited for.
fn send(mut input: Input, stream: &Arc<Lane>) -> Result<Fault, Failure> {
    let fault = Fault::default();
    let (stream, told) = (Arc::clone(stream), Arc::clone(&fault));
    let sending = move || {
        if let Err(failure) = send_all(&mut input, &stream) {
            *told.lock().unwrap_or_else(PoisonError::into_inner) = Some(failure);
            stream.close();
        }
    };
    let started = thread::Builder::new().name("input".into()).spawn(sending);
    started.map_err(|error| Error::new(Code::Internal, format!("a thread for the input: {error}")))?;
    Ok(fault)
}

/// Fails for what is this side's fault alone. Why the stream ended is told to whoever receives.
fn send_all(input: &mut Input, stream: &Lane) -> Result<(), Failure> {
    while let Some(item) = input.next()? {
        match stream.send(item, Wait::forever()) {
            Ok(()) => {}
            Err(error) if error.code() == Code::PayloadTooLarge => return Err(error.into()),
            Err(_) => return Ok(()),
        }
    }
    // Over already is as good as finished.
    let _ = stream.finish(Wait::forever());
    Ok(())
}

/// Prints what comes, up to the reply.
fn print(stream: &Lane, from: &Info, output: &Output) -> Result<(), Failure> {
    while let Some(item) = stream.recv(Wait::forever())? {
        output.report(&Part::new("item", &item, None))?;
    }
    let reply = stream.reply().unwrap_or_default();
    output.report(&Part::new("reply", &reply, Some(from)))
}

impl<'a> Part<'a> {
    fn new(event: &'static str, bytes: &'a Bytes, from: Option<&'a Info>) -> Part<'a> {
        let from =
            from.map(|from| From { peer_id: &from.peer_id, credentials: from.credentials.map(Credentials::from) });
        Part { event, size: bytes.len(), payload: Payload::of(bytes), from, timestamp: now(), bytes }
    }
}

impl Report for Part<'_> {
    fn table(&self) -> String {
        format!("{}  {:<9}  {:>8}  {}\n", self.timestamp, self.event, self.size, self.payload.shown())
    }

    fn raw(&self) -> Vec<u8> {
        self.bytes.to_vec()
    }
}
