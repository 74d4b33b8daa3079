//! The protocol checker: one side of docs/protocol.md, played well and badly against any implementation.
//!
//! `wire` is the bytes, `socket` the carrier, `lane` one connection and `script` what can be said and demanded on it;
//! `cases` are written with them. `runner` plays them and `report` tells what came of them.

mod case;
mod cases;
mod hello;
mod lane;
mod program;
mod report;
mod runner;
mod script;
mod socket;
mod stage;
mod verdict;
mod wire;

use std::fs;
use std::io::ErrorKind;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;
use hostlane::{Code, Error};

use self::case::{Ability, Case, Role};
use self::report::{Counts, Entry, Junit, Line};
use self::runner::{Outcome, Target};
use self::socket::Place;
use self::stage::Settings;
use crate::args;
use crate::exit::{Exit, Failure};
use crate::output::Output;

/// Check a server or a client of any make against the protocol
///
/// Without --listen, the server at ADDR is checked: it answers as `hostlane echo` does. With --listen, a client is:
/// COMMAND is started for each case and makes one call at {address} with {payload}. docs/check.md says what is expected
/// of both, and what the verdicts mean. Ends with 65 if a case failed.
#[derive(Args)]
pub(crate) struct Check {
    /// Address: a name, a socket path, unix:…, tcp::7000
    #[arg(value_name = "ADDR", required_unless_present = "list")]
    address: Option<String>,

    /// Await clients there instead, and check them
    #[arg(long)]
    listen: bool,

    /// The program of the client; it comes by itself where none is given
    #[arg(last = true, value_name = "COMMAND", requires = "listen")]
    command: Vec<String>,

    /// Name the cases and stop
    #[arg(long)]
    list: bool,

    /// Only the cases whose names start with NAME; repeatable
    #[arg(long = "case", value_name = "NAME")]
    cases: Vec<String>,

    /// Only the cases of this wire level
    #[arg(long, value_name = "L", value_parser = clap::value_parser!(u8).range(0..=1))]
    level: Option<u8>,

    /// Fail what is allowed and yet not as it should be
    #[arg(long)]
    strict: bool,

    /// What the server does not do
    #[arg(long, value_name = "ABILITY", value_enum)]
    without: Vec<Ability>,

    /// The secret in F is proved on level 1
    #[arg(long, value_name = "F")]
    secret_file: Option<PathBuf>,

    /// The secret in F is sent as the token of level 0
    #[arg(long, value_name = "F")]
    token_file: Option<PathBuf>,

    /// Make every deadline N times as long
    #[arg(long, value_name = "N", default_value_t = 1.0)]
    slow: f64,

    /// Play N cases at a time
    #[arg(long, value_name = "N", default_value = "8")]
    jobs: NonZeroUsize,

    /// Write the outcome to F as JUnit XML too
    #[arg(long, value_name = "F")]
    junit: Option<PathBuf>,
}

impl Check {
    pub(crate) fn run(self, output: &Output) -> Result<Exit, Failure> {
        let cases = self.chosen()?;
        if self.list {
            cases.iter().try_for_each(|case| output.report(&Entry(case)))?;
            return Ok(Exit::Success);
        }
        if !(self.slow > 0.0 && self.slow <= 1000.0) {
            return Err(Failure::usage("--slow: a number up to 1000"));
        }
        let secret = |file: &Option<PathBuf>| file.as_deref().map(args::secret_text).transpose();
        let settings = Settings {
            slow: self.slow,
            secret: secret(&self.secret_file)?,
            token: secret(&self.token_file)?,
            without: self.without.clone(),
        };
        let target = self.target(&settings)?;
        self.play(&target, &cases, &settings, output)
    }

    /// The cases that are asked for.
    fn chosen(&self) -> Result<Vec<Case>, Failure> {
        let mut cases = cases::all();
        let named = |case: &Case, name: &String| case.name.starts_with(name.as_str());
        if let Some(name) = self.cases.iter().find(|name| !cases.iter().any(|case| named(case, name))) {
            return Err(Failure::usage(format!("no case is called {name}")));
        }
        let role = if self.listen { Role::Client } else { Role::Server };
        cases.retain(|case| {
            (self.cases.is_empty() || self.cases.iter().any(|name| named(case, name)))
                && self.level.is_none_or(|level| level == case.level)
                && (self.list || case.is_for(role))
        });
        Ok(cases)
    }

    fn target(&self, settings: &Settings) -> Result<Target, Failure> {
        let address = self.address.as_deref().unwrap_or_default();
        let place = Place::parse(address)?;
        let failure = |error: std::io::Error| {
            let code = match error.kind() {
                ErrorKind::PermissionDenied => Code::PermissionDenied,
                ErrorKind::NotFound => Code::NotFound,
                ErrorKind::AddrInUse => Code::AddressInUse,
                _ if self.listen => Code::Io,
                _ => Code::ConnectionRefused,
            };
            Failure::from(Error::new(code, format!("{address}: {error}")))
        };
        if self.listen {
            let target = Target::Client { place, command: self.command.clone() };
            // Where nobody can listen no case says anything about the client.
            target.try_to_listen().map_err(failure)?;
            return Ok(target);
        }
        Target::server(place, settings).map_err(failure)
    }

    fn play(&self, target: &Target, cases: &[Case], settings: &Settings, output: &Output) -> Result<Exit, Failure> {
        let role = if target.role() == Role::Server { "server" } else { "client" };
        let (mut counts, mut junit, mut failed) = (Counts::default(), Junit::new(), false);
        runner::play(target, cases, settings, self.jobs.get(), |Outcome { at, record, took }| {
            let case = &cases[at];
            let line = Line {
                case: &case.name,
                role,
                level: case.level,
                section: case.section,
                behaviour: record.behaviour,
                closing: record.closing,
                ms: took.as_millis().try_into().unwrap_or(u64::MAX),
                demands: &case.demands,
                detail: record.notes.join("; "),
            };
            counts.add(line.behaviour, line.closing);
            junit.add(&line, self.strict);
            failed |= line.behaviour.fails(self.strict) || line.closing.fails(self.strict);
            output.report(&line)
        })?;
        output.summary(&counts.shown())?;
        if let Some(file) = &self.junit {
            fs::write(file, junit.xml()).map_err(|error| Failure::file(&file.display().to_string(), &error))?;
        }
        Ok(if failed { Exit::Violation } else { Exit::Success })
    }
}
