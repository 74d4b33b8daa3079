//! The Rust agent: one JSON object a line, operations in, outcomes out. See docs/conformance.md.

mod asked;
mod chain;
mod plant;
mod service;

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use asked::{Asked, WAIT, numbered, options};
use hostlane::{Call, Channel, Code, ConnectOptions, Error, ListenOptions, Listener, Message, Peer, Result};
use serde_json::{Value, json};
use service::Service;
use sha2::{Digest, Sha256};

/// A reply up to so many bytes is shown as text.
const SHOWN: usize = 256;

/// One end of a connection: the listening one, or the connecting one.
#[derive(Default)]
struct End {
    listener: Option<Arc<Listener>>,
    accepted: Option<Receiver<Arc<Peer>>>,
    peer: Option<Arc<Peer>>,
    calls: HashMap<u64, Call>,
    service: Arc<Service>,
}

fn main() -> std::io::Result<()> {
    let mut ends: HashMap<String, End> = HashMap::new();
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let asked = Asked(serde_json::from_str(&line?)?);
        let end = ends.entry(asked.text("end").to_owned()).or_default();
        let start = Instant::now();
        let outcome = end.run(&asked);
        let ms = start.elapsed().as_secs_f64() * 1000.0;
        let told = match outcome {
            Ok(value) => json!({"ok": value, "ms": ms}),
            Err(error) => json!({"error": described(&error), "ms": ms}),
        };
        writeln!(out, "{told}")?;
        out.flush()?;
    }
    Ok(())
}

impl End {
    fn run(&mut self, asked: &Asked) -> Result<Value> {
        match asked.text("op") {
            "hello" => Ok(json!({"lang": "rust", "features": ["inproc", "tcp", "unix"]})),
            "listen" => self.listen(asked),
            "connect" => self.connect(asked),
            "serve" => {
                let (service, peer) = (self.service.clone(), self.peer()?);
                thread::spawn(move || service.serve(&peer));
                Ok(json!({}))
            }
            "call" => {
                let call = self.peer()?.start_with(asked.payload(), asked.call_options()?)?;
                Ok(shown(&call.wait(asked.wait())?))
            }
            "calls" => self.calls(asked),
            "start" => {
                let call = self.peer()?.start_with(asked.payload(), asked.call_options()?)?;
                self.calls.insert(asked.number("id", 0), call);
                Ok(json!({}))
            }
            "wait" => match self.calls.remove(&asked.number("id", 0)) {
                Some(call) => Ok(shown(&call.wait(asked.wait())?)),
                None => Ok(json!("no such call")),
            },
            "cancel" => {
                self.calls.remove(&asked.number("id", 0));
                Ok(json!({}))
            }
            "send" => self.send(asked),
            "stream" => self.stream(asked),
            "chain" => {
                let peer = self.peer()?;
                Ok(chain::extend(&peer, asked))
            }
            "chained" => Ok(self.service.chains.report(asked.text("chain"))),
            "forget" => {
                self.service.chains.forget();
                Ok(json!({}))
            }
            "plant" => {
                plant::plant(asked.text("what"));
                Ok(json!({}))
            }
            "seen" => Ok(self.service.report()),
            "info" => {
                let info = self.peer()?.info()?;
                let channels: Vec<u16> = info.channels.iter().map(|channel| channel.number()).collect();
                Ok(json!({
                    "level": info.level, "max_message": info.max_message, "carrier": info.carrier, "channels": channels,
                }))
            }
            "stats" => self.stats(asked),
            "refusals" => {
                let refusals = self.listener.as_ref().map(|listener| listener.take_refusals()).transpose()?;
                let names = refusals.unwrap_or_default().into_iter().map(|refusal| refusal.error.code().name());
                Ok(json!({"refused": names.collect::<Vec<_>>()}))
            }
            "ping" => {
                self.peer()?.ping(asked.wait())?;
                Ok(json!({}))
            }
            "drain" => {
                self.peer()?.drain(asked.wait())?;
                Ok(json!({}))
            }
            "close" => {
                self.peer()?.close();
                Ok(json!({}))
            }
            "reset" => {
                self.listener.iter().for_each(|listener| listener.close());
                self.peer.iter().for_each(|peer| peer.close());
                *self = End::default();
                Ok(json!({}))
            }
            other => Err(Error::new(Code::Internal, format!("no operation {other}"))),
        }
    }

    fn listen(&mut self, asked: &Asked) -> Result<Value> {
        let options = options!(ListenOptions::new(), asked);
        let listener = Arc::new(Listener::bind_with(&asked.text("address").parse()?, &options)?);
        self.listener = Some(listener.clone());
        let address = listener.address().to_string();
        let (sender, accepted) = channel();
        self.accepted = Some(accepted);
        let (service, serve) = (self.service.clone(), asked.number("serve", 1) == 1);
        thread::spawn(move || {
            // The first is the one of the operations; all are served.
            let mut first = Some(sender);
            while let Ok(peer) = listener.accept(hostlane::Wait::forever()) {
                let peer = Arc::new(peer);
                if first.take().is_some_and(|first| first.send(peer.clone()).is_err()) {
                    return;
                }
                if serve {
                    let service = service.clone();
                    thread::spawn(move || service.serve(&peer));
                }
            }
        });
        Ok(json!({"address": address}))
    }

    fn connect(&mut self, asked: &Asked) -> Result<Value> {
        let options = options!(ConnectOptions::new(), asked);
        let peer = Arc::new(Peer::connect_with(&asked.text("address").parse()?, &options, asked.wait())?);
        self.peer = Some(peer.clone());
        if asked.number("serve", 1) == 1 {
            let service = self.service.clone();
            thread::spawn(move || service.serve(&peer));
        }
        Ok(json!({}))
    }

    /// The connection; of a listener the first that is accepted.
    fn peer(&mut self) -> Result<Arc<Peer>> {
        if let (None, Some(accepted)) = (&self.peer, &self.accepted) {
            self.peer = accepted.recv_timeout(Duration::from_millis(WAIT)).ok();
        }
        self.peer.clone().ok_or_else(|| Error::new(Code::NotFound, "nobody is connected"))
    }

    /// Many calls at once, each with a number of its own behind its text.
    fn calls(&mut self, asked: &Asked) -> Result<Value> {
        let peer = self.peer()?;
        let mut started = Vec::new();
        for number in 0..asked.number("count", 1) {
            let text = format!("{} {number}", asked.text("text"));
            started.push((peer.start_with(text.clone(), asked.call_options()?)?, text));
        }
        let (mut right, mut wrong, mut errors) = (0, 0, BTreeMap::<&str, u64>::new());
        for (call, text) in started {
            match call.wait(asked.wait()) {
                Ok(reply) if reply.payload() == text.as_bytes() => right += 1,
                Ok(_) => wrong += 1,
                Err(error) => *errors.entry(error.code().name()).or_default() += 1,
            }
        }
        Ok(json!({"right": right, "wrong": wrong, "errors": errors}))
    }

    /// Numbered one-way messages.
    fn send(&mut self, asked: &Asked) -> Result<Value> {
        let (peer, channel) = (self.peer()?, asked.channel("channel", Channel::DATA)?);
        let size = usize::try_from(asked.number("size", 0)).unwrap_or(usize::MAX);
        for number in 0..asked.number("count", 1) {
            peer.send(channel, numbered(number, size), asked.wait())?;
        }
        Ok(json!({}))
    }

    /// A stream with items both ways; what comes back is numbered, too.
    fn stream(&mut self, asked: &Asked) -> Result<Value> {
        let stream = self.peer()?.open_stream(asked.payload(), asked.call_options()?)?;
        let size = usize::try_from(asked.number("item_size", 0)).unwrap_or(usize::MAX);
        for number in 0..asked.number("count", 0) {
            stream.send(numbered(number, size), asked.wait())?;
        }
        if asked.number("finish", 1) == 1 {
            stream.finish(asked.wait())?;
        }
        let (mut items, mut ordered) = (0_u64, true);
        while let Some(item) = stream.recv(asked.wait())? {
            let text = String::from_utf8_lossy(&item).into_owned();
            ordered &= text.split('.').next() == Some(&items.to_string());
            items += 1;
        }
        let reply = stream.reply().map(|reply| String::from_utf8_lossy(&reply).into_owned());
        Ok(json!({"items": items, "ordered": ordered, "reply": reply}))
    }

    fn stats(&mut self, asked: &Asked) -> Result<Value> {
        let (stats, wanted) = (self.peer()?.stats()?, asked.number("channel", 2));
        let of_channel = stats.channels.iter().find(|one| u64::from(one.channel.number()) == wanted);
        Ok(json!({
            "open_calls": stats.open_calls,
            "calls_served": stats.calls_served,
            "open_served": stats.open_served,
            "calls_cancelled": stats.calls_cancelled,
            "sent": of_channel.map(|one| one.messages_sent),
            "dropped": of_channel.map(|one| one.dropped),
            "dropped_by_peer": of_channel.map(|one| one.dropped_by_peer),
        }))
    }
}

fn shown(reply: &Message) -> Value {
    let payload = reply.payload();
    let digest: String = Sha256::digest(payload).iter().map(|byte| format!("{byte:02x}")).collect();
    let text = (payload.len() <= SHOWN).then(|| String::from_utf8_lossy(payload).into_owned());
    json!({"len": payload.len(), "sha256": digest, "text": text})
}

fn described(error: &Error) -> Value {
    json!({
        "name": error.code().name(),
        "sent": error.sent().name(),
        "status": error.status(),
        "data": String::from_utf8_lossy(error.data()),
    })
}
