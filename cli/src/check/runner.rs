//! Plays cases: side by side where they do no harm to each other, and one by one where they do.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::case::{Case, Role};
use super::hello::Hello;
use super::program::Program;
use super::socket::{Door, Place};
use super::stage::{Other, Settings, Stage};
use super::verdict::{Exit, Played, Record, Stop, Verdict};

/// A fresh client has to be served within this time after each case.
const SERVED: Duration = Duration::from_secs(1);

/// A program may take so long to end after its case.
const ENDS: Duration = Duration::from_secs(3);

/// What came of a case.
pub(super) struct Outcome {
    /// Which of the cases of the run.
    pub(super) at: usize,
    pub(super) record: Record,
    pub(super) took: Duration,
}

/// The side under test, and how it is reached.
pub(super) enum Target {
    Server {
        place: Place,
        /// Whether it speaks level 0, and level 1.
        levels: [bool; 2],
    },
    Client {
        place: Place,
        /// Empty where clients come by themselves.
        command: Vec<String>,
    },
}

impl Target {
    /// A server, once it is known what it speaks.
    pub(super) fn server(place: Place, settings: &Settings) -> Result<Target, std::io::Error> {
        place.connect()?;
        let speaks = |level: u8| {
            let stage = Stage::new(Other::Server(&place), level, settings, 5);
            let hello = Hello::new(&stage);
            match stage.ask(&hello.request()) {
                Ok((_, response)) => level == 0 || response.get("hostlane").is_some(),
                // A server that demands level 1 says so; whatever else is wrong is for the cases to find.
                Err(Stop::Fail(why)) => !(level == 0 && why.contains("version_mismatch")),
                Err(_) => true,
            }
        };
        let levels = [speaks(0), speaks(1)];
        Ok(Target::Server { place, levels })
    }

    pub(super) fn role(&self) -> Role {
        match self {
            Target::Server { .. } => Role::Server,
            Target::Client { .. } => Role::Client,
        }
    }

    /// Listens for a moment where the first case will.
    pub(super) fn try_to_listen(&self) -> Result<(), std::io::Error> {
        let Target::Client { place, command } = self else { return Ok(()) };
        Door::open(&place_of(place, command, 1)).map(drop)
    }

    fn play(&self, case: &Case, settings: &Settings, worker: usize) -> Record {
        let played = match self {
            Target::Server { levels, .. } if !levels[usize::from(case.level)] => {
                Err(Stop::NotApplicable(format!("the server does not speak level {}", case.level)))
            }
            _ if case.needs.is_some_and(|need| settings.without.contains(&need)) => {
                Err(Stop::NotApplicable("what it needs is left out with --without".into()))
            }
            Target::Server { place, .. } => Ok(with_server(place, case, settings)),
            Target::Client { place, command } => with_client(place, command, case, settings, worker),
        };
        played.unwrap_or_else(|stop| {
            let mut record = Record::new();
            record.stop(stop);
            record
        })
    }
}

fn run(case: &Case, stage: Stage<'_>) -> Record {
    let played = (case.script)(&stage);
    let mut record = stage.into_record();
    if let Err(stop) = played {
        record.stop(stop);
    }
    record
}

fn with_server(place: &Place, case: &Case, settings: &Settings) -> Record {
    let mut record = run(case, Stage::new(Other::Server(place), case.level, settings, case.seconds));
    let began = Instant::now();
    if record.behaviour != Verdict::NotApplicable {
        let probe = Stage::new(Other::Server(place), case.level, settings, 5);
        let served = probe.open().and_then(|mut lane| lane.works());
        let took = began.elapsed();
        match served {
            Ok(()) if took <= settings.time(SERVED) => {}
            Ok(()) => {
                record.behaviour(Verdict::Fail, format!("the next client was served after {} ms", took.as_millis()))
            }
            Err(stop) => record.behaviour(Verdict::Fail, format!("the next client was not served: {stop:?}")),
        }
    }
    record
}

/// Where a worker listens: clients that come by themselves know one place.
fn place_of(place: &Place, command: &[String], worker: usize) -> Place {
    if command.is_empty() { place.clone() } else { place.numbered(worker) }
}

fn with_client(place: &Place, command: &[String], case: &Case, settings: &Settings, worker: usize) -> Played<Record> {
    let payload = format!("payload-of-{}", case.name.replace('/', "-"));
    let by_itself = command.is_empty();
    let door =
        Door::open(&place_of(place, command, worker)).map_err(|error| Stop::Fail(format!("listening: {error}")))?;
    if by_itself {
        eprintln!("{} awaits a client at {} that calls with {payload}", case.name, door.address);
    }
    let start = |words| Program::start(words, &case.name, &door.address, &payload);
    let program = (!by_itself).then(|| start(command)).transpose();
    let program = program.map_err(|error| Stop::Fail(format!("starting {}: {error}", command[0])))?;
    let mut record = run(case, Stage::new(Other::Client(&door, payload.clone()), case.level, settings, case.seconds));
    if let Some(program) = program {
        judge_exit(program, &mut record, &payload, settings)?;
    }
    Ok(record)
}

/// What the program ended with and printed, beside what came from it.
fn judge_exit(program: Program, record: &mut Record, payload: &str, settings: &Settings) -> Played {
    let left = program.finish(Instant::now() + settings.time(ENDS))?;
    if record.behaviour == Verdict::NotApplicable {
        return Ok(());
    }
    let why = left.err.lines().last().unwrap_or_default();
    match (left.status.map(|status| status.code()), record.exit) {
        (None, _) => record.behaviour(Verdict::Timeout, "the program did not end"),
        (Some(None), _) => record.behaviour(Verdict::Fail, format!("the program crashed: {why}")),
        (Some(Some(code)), Exit::Any) if record.behaviour == Verdict::Timeout => {
            record.notes.push(format!("the program had ended with {code}: {why}"));
        }
        (_, Exit::Any) => {}
        (Some(Some(0)), Exit::Success) if left.out.trim_end() == payload => {}
        (Some(Some(0)), Exit::Success) => {
            record.behaviour(Verdict::Fail, format!("it printed {:?}, and not the reply", left.out));
        }
        (Some(Some(code)), Exit::Success) => record.behaviour(Verdict::Fail, format!("it ended with {code}: {why}")),
        (Some(Some(0)), Exit::Failure) => record.behaviour(Verdict::Fail, "it ended with success"),
        (Some(Some(_)), Exit::Failure) => {}
    }
    Ok(())
}

/// Plays all cases, and tells each outcome in the order of the cases.
pub(super) fn play<E>(
    target: &Target,
    cases: &[Case],
    settings: &Settings,
    jobs: usize,
    mut told: impl FnMut(Outcome) -> Result<(), E>,
) -> Result<(), E> {
    let mut together: Vec<usize> = (0..cases.len()).filter(|at| !cases[*at].alone).collect();
    // What takes long starts first.
    together.sort_by_key(|at| std::cmp::Reverse(cases[*at].seconds));
    let alone: Vec<usize> = (0..cases.len()).filter(|at| cases[*at].alone).collect();
    let by_itself = matches!(target, Target::Client { command, .. } if command.is_empty());
    let jobs = if by_itself { 1 } else { jobs.max(1) };
    let (sender, outcomes) = channel();
    thread::scope(|scope| {
        scope.spawn(move || {
            work(target, cases, settings, &together, jobs, &sender);
            work(target, cases, settings, &alone, 1, &sender);
        });
        let mut early: Vec<Option<Outcome>> = cases.iter().map(|_| None).collect();
        let mut next = 0;
        for outcome in outcomes {
            let at = outcome.at;
            early[at] = Some(outcome);
            while let Some(outcome) = early.get_mut(next).and_then(Option::take) {
                next += 1;
                told(outcome)?;
            }
        }
        Ok(())
    })
}

fn work(target: &Target, cases: &[Case], settings: &Settings, which: &[usize], jobs: usize, sender: &Sender<Outcome>) {
    let next = AtomicUsize::new(0);
    thread::scope(|scope| {
        for worker in 1..=jobs.min(which.len()) {
            let (next, sender) = (&next, sender.clone());
            scope.spawn(move || {
                while let Some(&at) = which.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let began = Instant::now();
                    let record = target.play(&cases[at], settings, worker);
                    if sender.send(Outcome { at, record, took: began.elapsed() }).is_err() {
                        return;
                    }
                }
            });
        }
    });
}
