//! What other traffic of a connection does to the calls on it: `beside unread|bulk ROUNDS SECONDS [PREFIX...]`. The
//! server's command comes after the prefix: `taskset --cpu-list 0`, say.
//!
//! - `unread`: the server does not take what the client sends on DATA, whose credit is soon used up; a thread waits
//!   for more all the time. Calls on COMMAND, with and without that, in turns.
//! - `bulk`: 1 GiB in messages of 16 MiB goes to the server on DATA. Pings meanwhile, and without it; and meanwhile on a
//!   connection of their own, which shows what the processors' scheduler does to them.
//!
//! One line of JSON: microseconds of all rounds, and the medians of the ratios of a round.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use frame::{Result, ready};
use hostlane::{Channel, Code, Listener, Peer, Wait};
use serde_json::{Value, json};

const LIMIT: Duration = Duration::from_secs(30);
const BULK: usize = 1 << 30;
const PIECE: usize = 16 << 20;
/// Between two pings: a connection that is pinged more often takes it for a flood.
const PACE: Duration = Duration::from_millis(5);
/// Calls before the clock starts.
const WARM_UP: usize = 2000;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let outcome = match words[..] {
        ["server", address, work] => serve(address, work == "bulk"),
        [work @ ("unread" | "bulk"), rounds, seconds, ref prefix @ ..] => measure(work, rounds, seconds, prefix),
        _ => Err("usage: beside unread|bulk ROUNDS SECONDS [PREFIX...]".into()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Answers calls; takes DATA only if `reads`.
fn serve(address: &str, reads: bool) -> Result<()> {
    let listener = Listener::bind(address)?;
    ready(address)?;
    loop {
        let peer = listener.accept(Wait::forever())?;
        std::thread::spawn(move || {
            std::thread::scope(|scope| {
                if reads {
                    scope.spawn(|| while peer.recv_on(Channel::DATA, Wait::forever()).is_ok() {});
                }
                while let Ok(request) = peer.recv_on(Channel::COMMAND, Wait::forever()) {
                    // Whoever left needs no answer.
                    let _ = request.reply(request.payload().clone(), LIMIT);
                }
            });
        });
    }
}

/// A server process; it ends with this value.
struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn measure(work: &str, rounds: &str, seconds: &str, prefix: &[&str]) -> Result<()> {
    let address = std::env::temp_dir().join(format!("hostlane-beside-{}.sock", std::process::id()));
    let address = address.to_str().ok_or("the folder for temporary files has no name in UTF-8")?;
    let program = std::env::current_exe()?;
    let mut command = match prefix {
        [] => Command::new(program),
        [first, rest @ ..] => {
            let mut command = Command::new(first);
            command.args(rest).arg(program);
            command
        }
    };
    command.args(["server", address, work]).stdin(Stdio::null()).stdout(Stdio::piped());
    let mut server = Server(command.spawn()?);
    let mut said = BufReader::new(server.0.stdout.take().ok_or("the server has no standard output")?);
    said.read_line(&mut String::new())?;
    let (rounds, time): (usize, _) = (rounds.parse()?, Duration::try_from_secs_f64(seconds.parse()?)?);
    let situations = if work == "bulk" { &["alone", "beside", "apart"][..] } else { &["alone", "beside"] };
    let mut times = vec![Vec::new(); situations.len()];
    let (mut ratios, mut speeds) = (Vec::new(), Vec::new());
    for round in 0..rounds {
        let mut p99 = vec![0.0; situations.len()];
        for turn in 0..situations.len() {
            // Each comes first in its turn, and has a connection of its own.
            let at = (turn + round) % situations.len();
            let peer = Peer::connect(address, LIMIT)?;
            let (sample, speed) = match (situations[at], work) {
                ("alone", "bulk") => (pings(&peer, |start| start.elapsed() < time)?, None),
                ("alone", _) => (sample(time, || call(&peer))?, None),
                ("apart", _) => beside_bulk(&peer, &Peer::connect(address, LIMIT)?)?,
                (_, "bulk") => beside_bulk(&peer, &peer)?,
                _ => (beside_unread(&peer, time)?, None),
            };
            speeds.extend(speed);
            p99[at] = quantile(&sample, 0.99);
            times[at].extend(sample);
        }
        ratios.push(p99[1] / p99[0]);
    }
    let mut line = json!({ "work": work, "p99_ratio": median(&ratios), "p99_ratios": ratios });
    for (situation, times) in situations.iter().zip(&times) {
        line[situation] = summary(times);
    }
    if !speeds.is_empty() {
        line["bulk_bytes_per_second"] = json!(median(&speeds));
    }
    println!("{line}");
    Ok(())
}

/// Calls, while a thread waits for credit that never comes.
fn beside_unread(peer: &Peer, time: Duration) -> Result<Vec<f64>> {
    let stuck = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            loop {
                // The last one waits, for all of the time.
                match peer.send(
                    Channel::DATA,
                    &[0x5a; 4096][..],
                    if stuck.load(Ordering::Relaxed) { time * 2 } else { Duration::from_millis(100) },
                ) {
                    Ok(()) => {}
                    Err(error) if error.code() == Code::Timeout && !stuck.swap(true, Ordering::Relaxed) => {}
                    Err(error) => return error.code(),
                }
            }
        });
        let deadline = Instant::now() + LIMIT;
        while !stuck.load(Ordering::Relaxed) {
            if Instant::now() > deadline {
                return Err("the channel never ran out of credit".into());
            }
            std::thread::yield_now();
        }
        let times = sample(time, || call(peer));
        let waiting = peer.stats()?.pending_operations;
        peer.close();
        let end = sender.join().map_err(|_| "the sending thread panicked")?;
        if waiting != 1 || end == Code::Timeout {
            return Err(format!("the channel was read meanwhile: {waiting} sends wait, {end:?}").into());
        }
        times
    })
}

/// Pings of `pinged` while 1 GiB is sent over `peer`, and the bytes per second of that.
fn beside_bulk(peer: &Peer, pinged: &Peer) -> Result<(Vec<f64>, Option<f64>)> {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| {
            let piece = vec![0x5a; PIECE];
            let start = Instant::now();
            let result = (0..BULK / PIECE).try_for_each(|_| peer.send(Channel::DATA, &piece[..], LIMIT));
            done.store(true, Ordering::Relaxed);
            result.map(|()| BULK as f64 / start.elapsed().as_secs_f64())
        });
        let times = pings(pinged, |_| !done.load(Ordering::Relaxed))?;
        let speed = sender.join().map_err(|_| "the sending thread panicked")??;
        Ok((times, Some(speed)))
    })
}

fn call(peer: &Peer) -> Result<()> {
    match peer.start(&[0x5a; 64][..])?.wait(LIMIT)?.payload().len() {
        64 => Ok(()),
        other => Err(format!("an answer of {other} bytes").into()),
    }
}

/// Microseconds of pings, as many as the protocol allows a second, while `more`.
fn pings(peer: &Peer, more: impl Fn(Instant) -> bool) -> Result<Vec<f64>> {
    let start = Instant::now();
    let mut times = Vec::new();
    while more(start) {
        let next = Instant::now() + PACE;
        times.push(peer.ping(LIMIT)?.as_secs_f64() * 1e6);
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
    Ok(times)
}

/// Microseconds of `action`, again and again for `time`.
fn sample(time: Duration, action: impl Fn() -> Result<()>) -> Result<Vec<f64>> {
    (0..WARM_UP).try_for_each(|_| action())?;
    let end = Instant::now() + time;
    let mut times = Vec::new();
    while Instant::now() < end {
        times.push(timed(&action)?);
    }
    Ok(times)
}

fn timed(action: impl FnOnce() -> Result<()>) -> Result<f64> {
    let start = Instant::now();
    action()?;
    Ok(start.elapsed().as_secs_f64() * 1e6)
}

fn quantile(times: &[f64], share: f64) -> f64 {
    let mut sorted = times.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted
        .get(((sorted.len() as f64 * share) as usize).min(sorted.len().saturating_sub(1)))
        .copied()
        .unwrap_or(f64::NAN)
}

fn median(values: &[f64]) -> f64 {
    quantile(values, 0.5)
}

fn summary(times: &[f64]) -> Value {
    let [p50, p99, most] = [0.5, 0.99, 1.0].map(|share| quantile(times, share));
    json!({ "count": times.len(), "p50_us": p50, "p99_us": p99, "max_us": most })
}
