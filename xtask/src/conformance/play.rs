//! One case between two agents.

use std::time::{Duration, Instant};

use anyhow::{Result, bail, ensure};
use serde_json::{Map, Value, json};

use super::agent::Running;
use super::case::{Case, End, KILL, Step};
use super::expect::{Saved, difference};

/// How long a result that has to come eventually may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Between two looks for it.
const PAUSE: Duration = Duration::from_millis(5);

/// The agents of a cell: two processes, or one that is both ends.
pub(super) struct Pair {
    pub(super) client: Running,
    pub(super) server: Option<Running>,
}

impl Pair {
    fn side(&mut self, end: End) -> &mut Running {
        match (end, &mut self.server) {
            (End::Server, Some(server)) => server,
            _ => &mut self.client,
        }
    }

    pub(super) fn has(&self, feature: &str) -> bool {
        self.client.has(feature) && self.server.as_ref().is_none_or(|server| server.has(feature))
    }

    fn ask(&mut self, end: End, operation: &str, with: &Map<String, Value>) -> Result<Value> {
        let mut asked = with.clone();
        asked.insert("op".into(), operation.into());
        asked.insert("end".into(), end.name().into());
        self.side(end).ask(&Value::Object(asked))
    }

    /// Plays a case at an address. After an error the processes are not to be used again.
    pub(super) fn play(&mut self, case: &Case, address: &str, secret: Option<&str>) -> Result<()> {
        let with = |options: &Map<String, Value>| {
            let mut options = options.clone();
            options.insert("address".into(), address.into());
            if let Some(secret) = secret {
                options.entry("secret").or_insert_with(|| secret.into());
            }
            options
        };
        let listening = self.ask(End::Server, "listen", &with(&case.listen))?;
        ensure!(listening["error"].is_null(), "server listen: {}", listening["error"]);
        let mut connect = with(&case.connect);
        connect.insert("address".into(), listening["ok"]["address"].clone());
        let connected = self.ask(End::Client, "connect", &connect)?;
        judge("client connect", None, case.refused.as_ref(), &connected, &Saved::new())?;
        let mut saved = Saved::new();
        let mut times = vec![Vec::new(); case.steps.len()];
        for _ in 0..case.tries {
            for (step, times) in case.steps.iter().zip(&mut times) {
                times.push(self.step(step, &mut saved)?);
            }
        }
        for (step, times) in case.steps.iter().zip(&mut times) {
            if let Some([least, most]) = step.ms {
                times.sort_by(f64::total_cmp);
                let median = times[times.len() / 2];
                let label = format!("{} {}", step.on.name(), step.operation);
                ensure!((least..=most).contains(&median), "{label}: {median:.1} ms where {least} to {most} were due");
            }
        }
        Ok(())
    }

    /// Lets go of everything, for the next case.
    pub(super) fn reset(&mut self) -> Result<()> {
        for end in [End::Client, End::Server] {
            let done = self.ask(end, "reset", &Map::new())?;
            ensure!(done["error"].is_null(), "reset: {}", done["error"]);
        }
        Ok(())
    }

    /// Takes a step; how many milliseconds it took.
    fn step(&mut self, step: &Step, saved: &mut Saved) -> Result<f64> {
        let label = format!("{} {}", step.on.name(), step.operation);
        if step.operation == KILL {
            self.side(step.on).kill()?;
            return Ok(0.0);
        }
        let end = Instant::now() + PATIENCE;
        loop {
            let outcome = self.ask(step.on, &step.operation, &step.with)?;
            match judge(&label, step.ok.as_ref(), step.error.as_ref(), &outcome, saved) {
                Err(_) if step.eventually && Instant::now() < end => std::thread::sleep(PAUSE),
                Err(error) => return Err(error),
                Ok(()) => {
                    for (name, pointer) in &step.save {
                        let Some(value) = outcome["ok"].pointer(pointer) else { bail!("{label}: no {pointer}") };
                        saved.insert(name.clone(), value.clone());
                    }
                    return Ok(outcome["ms"].as_f64().unwrap_or(f64::NAN));
                }
            }
        }
    }
}

/// Whether an outcome is what was due.
fn judge(label: &str, ok: Option<&Value>, error: Option<&Value>, outcome: &Value, saved: &Saved) -> Result<()> {
    let found = match error {
        Some(error) if outcome["error"].is_null() => {
            bail!("{label}: {} where the error {error} was due", outcome["ok"])
        }
        Some(error) => difference(error, &outcome["error"], saved),
        None if !outcome["error"].is_null() => bail!("{label}: the error {}", outcome["error"]),
        None => difference(ok.unwrap_or(&json!({})), &outcome["ok"], saved),
    };
    match found {
        Some(text) => bail!("{label}: {text}"),
        None => Ok(()),
    }
}
