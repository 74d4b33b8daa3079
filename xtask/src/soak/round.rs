//! One round: a connection from a client to a server, what is sent both ways, and the fault in the middle.

use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use rustix::process::Signal;
use serde::Deserialize;
use serde_json::{Value, json};

use super::chain::{Came, Chain, How, Sent};
use super::member::{Failed, Member};
use super::plan::{Fault, Random, Round, Transport};
use super::tally::Counts;
use super::{Claim, Stage, strangers};
use crate::conformance::SECRET;

/// How long what was sent may take to be received once its sender has said so.
const PATIENCE: Duration = Duration::from_secs(20);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(5);

/// Milliseconds until a killed process is killed, and for how long a stopped one stands still.
const KILLED: std::ops::Range<u64> = 5..250;
const STOPPED: std::ops::Range<u64> = 200..1500;

/// Milliseconds a chain that the other side sends may take as a whole.
const WHOLE: u64 = 60_000;

/// Bytes that a slow reader does not read: more than the window of a channel.
const UNREAD: u64 = 12 << 20;

/// Calls of a volley, items of a stream, and connections of a churn.
const VOLLEY: u64 = 60;
const ITEMS: u64 = 100;
const ITEM: u64 = 500;
const CHURN: u64 = 12;

/// The longest until a survivor is told of a death, on a machine where everything else goes on.
const TOLD: Duration = Duration::from_secs(5);

/// All ways of a chain.
const WAYS: [How; 3] = [How::Send, How::Call, How::Stream];

/// What a killed peer leaves behind, by the names of errors.
const GONE: [&str; 4] = ["connection_lost", "peer_closed", "truncated", "closed"];

/// How a sender is told that the other side drains.
const DRAINED: [&str; 4] = ["draining", "peer_closed", "closed", "connection_lost"];

/// One end of a connection.
#[derive(Clone, Copy)]
pub(super) struct Side<'a> {
    pub(super) member: &'a Member,
    pub(super) end: &'static str,
}

impl Side<'_> {
    fn ask<T: serde::de::DeserializeOwned>(&self, operation: &str, with: Value) -> Result<T> {
        self.member.ask(self.end, operation, with)
    }

    /// Asks for something that has no result.
    fn run(&self, operation: &str, with: Value) -> Result<()> {
        self.ask::<Value>(operation, with).map(|_| ())
    }

    pub(super) fn came(&self, chain: &str) -> Result<Came> {
        self.ask("chained", json!({"chain": chain}))
    }

    /// What came of a chain that is at its end.
    pub(super) fn came_of(&self, chain: &Chain, sent: &Sent) -> Result<Counts> {
        let end = Instant::now() + PATIENCE;
        loop {
            let came = self.came(&chain.name)?;
            if came.next >= sent.next || Instant::now() >= end {
                return Ok(came.of(sent));
            }
            sleep(PAUSE);
        }
    }
}

/// A reply, as agents show it.
#[derive(Deserialize)]
struct Shown {
    text: Option<String>,
}

/// A round that is played.
pub(super) struct Play<'a> {
    stage: &'a Stage<'a>,
    round: &'a Round,
    random: Random,
    chains: u32,
}

/// A client's side is the same in every process.
pub(super) const CLIENT: &str = "client";

impl<'a> Play<'a> {
    pub(super) fn new(stage: &'a Stage<'a>, round: &'a Round) -> Play<'a> {
        Play { stage, round, random: Random::new(round.seed, &[]), chains: 0 }
    }

    /// Plays the round; an error ends the soak. What was not as it should be is in the tally, and `client` is ready for the
    /// next one.
    pub(super) fn play(mut self, client: &Member) -> Result<()> {
        let client = Side { member: client, end: CLIENT };
        match self.faulted(client) {
            Err(error) if error.is::<Failed>() => {
                self.stage.tally().error(client.member.agent, format!("{}: {error}", self.round));
                // It may not even be connected.
                self.tolerating(client.run("close", json!({})))?;
            }
            outcome => outcome?,
        }
        let mut tally = self.stage.tally();
        tally.rounds += 1;
        *tally.faults.entry(self.round.fault.name()).or_default() += 1;
        Ok(())
    }

    fn faulted(&mut self, client: Side) -> Result<()> {
        let member = self.stage.server(self.round.server);
        let server = Side { member: &member.member, end: self.round.transport.end() };
        let address = member.address(self.round.transport);
        match self.round.fault {
            Fault::KillClient => return self.kill_client(server, address),
            Fault::KillServer => return self.kill_server(client),
            Fault::SlowReader => self.read_slowly(client, server, address)?,
            Fault::DrainClient => self.drain_client(client, server, address)?,
            Fault::DrainServer => self.drain_server(client)?,
            Fault::Cancel => self.cancel(client, server, address)?,
            Fault::Churn => self.churn(client, address)?,
            _ => {}
        }
        if self.round.fault != Fault::SlowReader {
            self.connect(client, address, true)?;
        }
        self.exchange(client, server, address)?;
        client.run("close", json!({}))
    }

    fn connect(&self, client: Side, address: &str, serve: bool) -> Result<()> {
        let with = secret(self.round.transport, json!({"address": address, "serve": u64::from(serve)}));
        client.run("connect", with)
    }

    fn name(&mut self) -> String {
        self.chains += 1;
        format!("{}.{}", self.round.name, self.chains)
    }

    fn chain(&mut self, how: How) -> Chain {
        Chain::new(self.name(), how, &mut self.random)
    }

    /// The server is asked to send a chain to the client.
    fn start_back(&self, client: Side, id: u64, chain: &Chain) -> Result<()> {
        let text = format!("extend {}", chain.asked());
        client.run("start", json!({"id": id, "text": text, "timeout_ms": WHOLE}))
    }

    /// How far the server came.
    fn wait_back(&self, client: Side, id: u64) -> Result<Sent> {
        let shown: Shown = client.ask("wait", json!({"id": id, "timeout_ms": WHOLE}))?;
        let text = shown.text.context("a report that is too long")?;
        serde_json::from_str(&text).with_context(|| format!("{}: {text:?} is no report", self.round))
    }

    /// Chains both ways at once, a volley of calls and a stream of items, with what is to happen in the middle.
    fn exchange(&mut self, client: Side, server: Side, address: &str) -> Result<()> {
        let back = [self.chain(How::Send), self.chain(How::Call)];
        for (id, chain) in back.iter().enumerate() {
            self.start_back(client, id as u64, chain)?;
        }
        let mut ways = WAYS;
        self.random.shuffle(&mut ways);
        let mut forth = Vec::new();
        for (at, how) in ways.into_iter().enumerate() {
            let chain = self.chain(how);
            client.member.post(client.end, "chain", chain.asked())?;
            let disturbed = if at == 0 { self.disturb(client, server, address) } else { Ok(()) };
            let sent: Sent = client.member.take("chain")?;
            disturbed?;
            forth.push((chain, sent));
        }
        self.volley(client)?;
        for (id, chain) in back.into_iter().enumerate() {
            let sent = self.wait_back(client, id as u64)?;
            self.whole(&chain, server, client, &sent)?;
        }
        for (chain, sent) in forth {
            self.whole(&chain, client, server, &sent)?;
        }
        Ok(())
    }

    /// What happens beside an exchange.
    fn disturb(&mut self, client: Side, server: Side, address: &str) -> Result<()> {
        match self.round.fault {
            Fault::StopClient => self.stop(client.member),
            Fault::StopServer => self.stop(server.member),
            Fault::Vanish => strangers::vanish(address, &self.stage.conversation, &mut self.random),
            Fault::Garbage => strangers::garbage(address, &self.stage.conversation, &mut self.random),
            _ => Ok(()),
        }
    }

    fn stop(&mut self, member: &Member) -> Result<()> {
        member.signal(Signal::STOP)?;
        self.pause(STOPPED);
        member.signal(Signal::CONT)
    }

    fn pause(&mut self, ms: std::ops::Range<u64>) {
        sleep(Duration::from_millis(self.random.of(ms)));
    }

    /// Calls at once, and small items without a wait for each.
    fn volley(&mut self, client: Side) -> Result<()> {
        #[derive(Deserialize)]
        struct Calls {
            right: u64,
            wrong: u64,
        }
        #[derive(Deserialize)]
        struct Items {
            items: u64,
            ordered: bool,
        }
        let calls: Calls = client.ask("calls", json!({"count": VOLLEY, "text": "volley"}))?;
        if calls.wrong > 0 {
            self.counted(client, Counts { corrupted: calls.wrong, ..Counts::default() });
        }
        if calls.right + calls.wrong < VOLLEY {
            self.error(client, format!("{} of {VOLLEY} calls were answered", calls.right + calls.wrong));
        }
        let stream = json!({"text": "stream echo", "count": ITEMS, "item_size": ITEM});
        let items: Items = client.ask("stream", stream)?;
        let (lost, doubled) = (ITEMS.saturating_sub(items.items), items.items.saturating_sub(ITEMS));
        let reordered = u64::from(!items.ordered);
        let messages = calls.right + items.items;
        self.counted(client, Counts { messages, lost, doubled, reordered, ..Counts::default() });
        Ok(())
    }

    fn counted(&self, side: Side, counts: Counts) {
        self.stage.tally().count(side.member.agent, counts, self.round);
    }

    fn error(&self, side: Side, text: String) {
        self.stage.tally().error(side.member.agent, format!("{}: {text}", self.round));
    }

    /// A chain that nothing may have hindered.
    fn whole(&self, chain: &Chain, from: Side, to: Side, sent: &Sent) -> Result<()> {
        if !sent.error.is_empty() {
            self.error(from, format!("{:?} ended with {} behind {} messages", chain.how, sent.error, sent.next));
        }
        self.compared(chain, from, to, sent)
    }

    /// A chain of which everything arrived that its sender knows to have sent.
    fn compared(&self, chain: &Chain, from: Side, to: Side, sent: &Sent) -> Result<()> {
        self.answered(from, sent);
        let counts = to.came_of(chain, sent)?;
        self.counted(to, counts);
        Ok(())
    }

    /// Answers that were not what was sent are the asker's to tell.
    fn answered(&self, from: Side, sent: &Sent) {
        if sent.wrong > 0 {
            self.counted(from, Counts { corrupted: sent.wrong, ..Counts::default() });
        }
    }

    /// The errors that something had to end with.
    fn ended(&self, side: Side, what: &str, error: &str, due: &[&str]) {
        if !due.contains(&error) {
            let found = if error.is_empty() { "without an error" } else { error };
            self.error(side, format!("{what} ended {found}, where {} was due", due.join(" or ")));
        }
    }

    /// What the library says of an operation that may fail here.
    fn tolerating(&self, outcome: Result<()>) -> Result<()> {
        match outcome {
            Err(error) if error.is::<Failed>() => Ok(()),
            outcome => outcome,
        }
    }

    /// Chains without an end, both ways, into which something comes after a while; the last one is the client's.
    fn endless(&mut self, client: Side, ways: &[How]) -> Result<([Chain; 2], Chain)> {
        let back = [self.chain(How::Send).endless(), self.chain(How::Call).endless()];
        for (id, chain) in back.iter().enumerate() {
            self.start_back(client, id as u64, chain)?;
        }
        let how = self.random.one(ways);
        let forth = self.chain(how).endless();
        client.member.post(client.end, "chain", forth.asked())?;
        self.pause(KILLED);
        Ok((back, forth))
    }

    fn kill_client(&mut self, server: Side, address: &str) -> Result<()> {
        let victim = self.stage.mortal(self.round.client, "killed-client")?;
        let client = Side { member: &victim, end: CLIENT };
        self.connect(client, address, true)?;
        let (_, forth) = self.endless(client, &WAYS)?;
        victim.kill()?;
        self.stage.claim(Claim::of(server, &forth, self.round));
        self.quiet(&victim)?;
        let heir = self.stage.mortal(self.round.client, "next-client")?;
        let client = Side { member: &heir, end: CLIENT };
        self.connect(client, address, true)?;
        self.exchange(client, server, address)?;
        client.run("close", json!({}))?;
        self.quiet(&heir)
    }

    fn kill_server(&mut self, client: Side) -> Result<()> {
        let victim = self.stage.mortal(self.round.server, "killed-server")?;
        let end = self.round.transport.end();
        let address = listen(Side { member: &victim, end }, self.round.transport, &self.mortal_address())?;
        self.connect(client, &address, true)?;
        let (back, _) = self.endless(client, &WAYS)?;
        victim.kill()?;
        let killed = Instant::now();
        let sent: Sent = client.member.take("chain")?;
        self.ended(client, "a chain", &sent.error, &GONE);
        self.answered(client, &sent);
        for (id, chain) in back.iter().enumerate() {
            match self.wait_back(client, id as u64) {
                Err(error) => self.ended(client, "a call", &error.downcast::<Failed>()?.name, &GONE),
                // The server may have been told first, of the end of a client that it could not reach any more.
                Ok(sent) => self.ended(client, "a call", &sent.error, &GONE),
            }
            self.stage.claim(Claim::of(client, chain, self.round));
        }
        if killed.elapsed() > TOLD {
            self.error(client, format!("was told of the end of the server after {:?}", killed.elapsed()));
        }
        self.tolerating(client.run("close", json!({})))?;
        self.quiet(&victim)?;
        let heir = self.stage.mortal(self.round.server, "next-server")?;
        let server = Side { member: &heir, end };
        // The same address: on a path, over the socket that the other one left.
        let address = listen(server, self.round.transport, &address)?;
        self.connect(client, &address, true)?;
        self.exchange(client, server, &address)?;
        client.run("close", json!({}))?;
        server.run("reset", json!({}))?;
        self.quiet(&heir)
    }

    /// Where a server listens that lives for a round.
    fn mortal_address(&self) -> String {
        match self.round.transport {
            Transport::Tcp => "tcp:127.0.0.1:0".to_owned(),
            Transport::Unix => self.stage.socket(&format!("mortal-{}.sock", self.round.client.name())),
        }
    }

    /// A process that is over has printed nothing.
    fn quiet(&self, member: &Member) -> Result<()> {
        let said = member.said()?;
        if !said.is_empty() {
            self.stage.tally().error(member.agent, format!("{}: the {member} printed {said:?}", self.round));
        }
        Ok(())
    }

    /// The client takes no message while the server sends more than it may.
    fn read_slowly(&mut self, client: Side, server: Side, address: &str) -> Result<()> {
        self.connect(client, address, false)?;
        let chain = Chain::of_bits(self.name(), How::Send, 18, UNREAD, &mut self.random);
        self.start_back(client, 0, &chain)?;
        self.pause(KILLED);
        client.run("ping", json!({}))?;
        self.pause(KILLED);
        client.run("serve", json!({}))?;
        let sent = self.wait_back(client, 0)?;
        self.whole(&chain, server, client, &sent)
    }

    /// The client drains while the server sends and calls.
    fn drain_client(&mut self, client: Side, server: Side, address: &str) -> Result<()> {
        self.connect(client, address, true)?;
        let back = [self.chain(How::Send).endless(), self.chain(How::Call).endless()];
        for (id, chain) in back.iter().enumerate() {
            self.start_back(client, id as u64, chain)?;
        }
        self.pause(KILLED);
        client.run("drain", json!({"timeout_ms": WHOLE}))?;
        self.drained(client, server, &back)?;
        client.run("close", json!({}))
    }

    /// A server drains while both sides send and call.
    fn drain_server(&mut self, client: Side) -> Result<()> {
        let member = self.stage.mortal(self.round.server, "drained-server")?;
        let server = Side { member: &member, end: self.round.transport.end() };
        let address = listen(server, self.round.transport, &self.mortal_address())?;
        self.connect(client, &address, true)?;
        // A drain waits for a stream.
        let (back, forth) = self.endless(client, &[How::Send, How::Call])?;
        server.run("drain", json!({"timeout_ms": WHOLE}))?;
        let sent: Sent = client.member.take("chain")?;
        self.ended(client, "a chain", &sent.error, &DRAINED);
        self.compared(&forth, client, server, &sent)?;
        self.drained(client, server, &back)?;
        self.tolerating(client.run("close", json!({})))?;
        server.run("reset", json!({}))?;
        self.quiet(&member)
    }

    /// What the server sent when there was a drain.
    fn drained(&self, client: Side, server: Side, back: &[Chain]) -> Result<()> {
        for (id, chain) in back.iter().enumerate() {
            let sent = self.wait_back(client, id as u64)?;
            self.ended(server, "a chain", &sent.error, &DRAINED);
            self.compared(chain, server, client, &sent)?;
        }
        Ok(())
    }

    /// Calls run out of time, and are given up, while the server sends.
    fn cancel(&mut self, client: Side, server: Side, address: &str) -> Result<()> {
        self.connect(client, address, true)?;
        let back = [self.chain(How::Send), self.chain(How::Call)];
        for (id, chain) in back.iter().enumerate() {
            self.start_back(client, id as u64, chain)?;
        }
        for number in 0..10 {
            let late = json!({"text": "sleep 300", "timeout_ms": self.random.of(1..40)});
            let error = match client.ask::<Value>("call", late) {
                Err(error) => error.downcast::<Failed>()?.name,
                Ok(_) => String::new(),
            };
            self.ended(client, "a call that takes too long", &error, &["timeout"]);
            client.run("start", json!({"id": 2 + number % 4, "text": "watch"}))?;
            client.run("cancel", json!({"id": 2 + number % 4}))?;
        }
        for (id, chain) in back.iter().enumerate() {
            let sent = self.wait_back(client, id as u64)?;
            self.whole(chain, server, client, &sent)?;
        }
        client.run("close", json!({}))
    }

    fn churn(&mut self, client: Side, address: &str) -> Result<()> {
        for _ in 0..CHURN {
            self.connect(client, address, true)?;
            let shown: Shown = client.ask("call", json!({"text": "hello"}))?;
            let right = shown.text.as_deref() == Some("hello");
            self.counted(client, Counts { messages: 1, corrupted: u64::from(!right), ..Counts::default() });
            client.run("close", json!({}))?;
        }
        Ok(())
    }
}

/// Has a server listen; where.
pub(super) fn listen(server: Side, transport: Transport, address: &str) -> Result<String> {
    #[derive(Deserialize)]
    struct Listening {
        address: String,
    }
    let listening: Listening = server.ask("listen", secret(transport, json!({"address": address})))?;
    ensure!(!listening.address.is_empty(), "{}: no address", server.member);
    Ok(listening.address)
}

/// The options with the secret, where the transport demands one.
fn secret(transport: Transport, mut options: Value) -> Value {
    if transport == Transport::Tcp {
        options["secret"] = SECRET.into();
    }
    options
}
