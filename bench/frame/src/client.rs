//! The client's half of the works, over whatever carries them.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::Result;
use crate::flight::Flight;
use crate::histogram::Histogram;
use crate::input::input_ends;
use crate::message::{Kind, Messages, check_reply};
use crate::service::report;
use crate::work::{SMALL, WINDOW, Work};

/// One connection of a client. Programs that block implement it with functions that never wait for a future.
#[allow(async_fn_in_trait)] // Everything runs on one thread.
pub trait Client: Sized {
    /// Connects to where the server said it is ready.
    async fn connect(address: &str) -> Result<Self>;

    /// Sends a request and shows its reply to `check`.
    async fn call(&mut self, request: &[u8], check: impl FnOnce(&[u8]) -> Result<()>) -> Result<()>;

    /// Keeps [`WINDOW`] requests in flight until the flight has no more, and takes every reply.
    async fn fly(&mut self, flight: &mut Flight) -> Result<()>;

    /// Sends a message that has no reply. It may wait in a buffer for the next one.
    async fn send(&mut self, message: &[u8]) -> Result<()>;

    /// Sends the last message behind all that were sent, and shows its reply to `check`.
    async fn finish(&mut self, message: &[u8], check: impl FnOnce(&[u8]) -> Result<()>) -> Result<()>;
}

/// A connection on which replies come in the order of the requests: all the works follow from three functions.
#[allow(async_fn_in_trait)] // Everything runs on one thread.
pub trait Pipe: Sized {
    /// Connects to where the server said it is ready.
    async fn connect(address: &str) -> Result<Self>;

    /// Sends a message; it may wait in a buffer until `take`.
    async fn post(&mut self, message: &[u8]) -> Result<()>;

    /// Waits for the next message of the server and shows it to `check`. What `post` kept has to leave first.
    async fn take(&mut self, check: impl FnOnce(&[u8]) -> Result<()>) -> Result<()>;
}

impl<P: Pipe> Client for P {
    async fn connect(address: &str) -> Result<P> {
        P::connect(address).await
    }

    #[inline]
    async fn call(&mut self, request: &[u8], check: impl FnOnce(&[u8]) -> Result<()>) -> Result<()> {
        self.post(request).await?;
        self.take(check).await
    }

    async fn fly(&mut self, flight: &mut Flight) -> Result<()> {
        for _ in 0..WINDOW {
            if let Some(request) = flight.launch() {
                self.post(request).await?;
            }
        }
        while flight.pending() > 0 {
            self.take(|reply| flight.landed(reply)).await?;
            if let Some(request) = flight.launch() {
                self.post(request).await?;
            }
        }
        Ok(())
    }

    #[inline]
    async fn send(&mut self, message: &[u8]) -> Result<()> {
        self.post(message).await
    }

    async fn finish(&mut self, message: &[u8], check: impl FnOnce(&[u8]) -> Result<()>) -> Result<()> {
        self.call(message, check).await
    }
}

/// The share of the time that is spent before anything is counted.
const WARM_UP: u32 = 5;

/// What was measured.
struct Outcome {
    count: u64,
    time: Duration,
    times: Option<Histogram>,
}

/// Does a work and prints its line.
pub(crate) async fn run<C: Client>(address: &str, name: &str, seconds: f64) -> Result<()> {
    let work = Work::parse(name)?;
    let time = Duration::try_from_secs_f64(seconds)?;
    let mut open = Vec::new();
    let outcome = match work {
        Work::Stay(count) => stay::<C>(address, count, &mut open).await?,
        Work::Connect(size) => connects::<C>(address, size, time).await?,
        Work::RoundTrip(size) => {
            let mut client = <C as Client>::connect(address).await?;
            let mut requests = Messages::new(Kind::Request, size);
            round_trips(&mut client, &mut requests, time / WARM_UP).await?;
            round_trips(&mut client, &mut requests, time).await?
        }
        Work::Fly(size) => {
            let mut client = <C as Client>::connect(address).await?;
            fly(&mut client, size, time / WARM_UP).await?;
            fly(&mut client, size, time).await?
        }
        Work::OneWay(size) => {
            let mut client = <C as Client>::connect(address).await?;
            one_way(&mut client, size, time / WARM_UP).await?;
            one_way(&mut client, size, time).await?
        }
    };
    let quantile = |share| outcome.times.as_ref().and_then(|times| times.quantile(share));
    let line = json!({
        "work": name,
        "count": outcome.count,
        "seconds": outcome.time.as_secs_f64(),
        "p50_us": quantile(0.5),
        "p99_us": quantile(0.99),
        "bytes": outcome.count * work.size() as u64,
    });
    println!("{line}");
    if !open.is_empty() {
        input_ends().await?;
    }
    Ok(())
}

async fn round_trips<C: Client>(client: &mut C, requests: &mut Messages, time: Duration) -> Result<Outcome> {
    let mut times = Histogram::new();
    let start = Instant::now();
    let before = requests.count();
    let mut last = start;
    loop {
        let request = requests.next();
        client.call(request, |reply| check_reply(request, reply)).await?;
        let now = Instant::now();
        times.record(now - last);
        last = now;
        if now - start >= time {
            return Ok(Outcome { count: requests.count() - before, time: now - start, times: Some(times) });
        }
    }
}

async fn fly<C: Client>(client: &mut C, size: usize, time: Duration) -> Result<Outcome> {
    let start = Instant::now();
    let mut flight = Flight::new(size, time);
    client.fly(&mut flight).await?;
    Ok(Outcome { count: flight.count_landed(), time: start.elapsed(), times: Some(flight.times) })
}

/// The time ends when the receiver has reported what it got.
async fn one_way<C: Client>(client: &mut C, size: usize, time: Duration) -> Result<Outcome> {
    // So many messages fit between two looks at the clock that a look costs nothing.
    let burst = (64 * 1024 / size).max(1);
    let mut messages = Messages::new(Kind::OneWay, size);
    let mut last = Messages::new(Kind::Finish, SMALL);
    let start = Instant::now();
    while start.elapsed() < time {
        for _ in 0..burst {
            client.send(messages.next()).await?;
        }
    }
    let mut got = Vec::new();
    let keep = |reply: &[u8]| {
        got.extend_from_slice(reply);
        Ok(())
    };
    client.finish(last.next(), keep).await?;
    let time = start.elapsed();
    if got != report(messages.count(), messages.sum()) {
        return Err(format!("{} messages were sent and others were received", messages.count()).into());
    }
    Ok(Outcome { count: messages.count(), time, times: None })
}

async fn connects<C: Client>(address: &str, size: usize, time: Duration) -> Result<Outcome> {
    let mut requests = Messages::new(Kind::Request, size);
    let mut times = Histogram::new();
    let mut spent = Duration::ZERO;
    while spent < time {
        // Closing is not part of it.
        let (_client, needed) = first_reply::<C>(address, &mut requests).await?;
        times.record(needed);
        spent += needed;
    }
    Ok(Outcome { count: requests.count(), time: spent, times: Some(times) })
}

/// Opens `count` connections, which stay in `open`.
async fn stay<C: Client>(address: &str, count: usize, open: &mut Vec<C>) -> Result<Outcome> {
    let mut requests = Messages::new(Kind::Request, SMALL);
    let mut times = Histogram::new();
    let mut spent = Duration::ZERO;
    for _ in 0..count {
        let (client, needed) = first_reply(address, &mut requests).await?;
        times.record(needed);
        spent += needed;
        open.push(client);
    }
    Ok(Outcome { count: requests.count(), time: spent, times: Some(times) })
}

/// A new connection, and how long it took with its first reply.
async fn first_reply<C: Client>(address: &str, requests: &mut Messages) -> Result<(C, Duration)> {
    let start = Instant::now();
    let mut client = <C as Client>::connect(address).await?;
    let request = requests.next();
    client.call(request, |reply| check_reply(request, reply)).await?;
    Ok((client, start.elapsed()))
}
