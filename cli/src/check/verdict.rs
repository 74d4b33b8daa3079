//! What is said of a case.

use std::fmt;

use serde::Serialize;

/// One word, for what the other side did or for how the connection ended; the worse one counts. docs/check.md defines them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(super) enum Verdict {
    #[serde(rename = "N/A")]
    NotApplicable,
    #[serde(rename = "PASS")]
    Pass,
    #[serde(rename = "INFO")]
    Info,
    #[serde(rename = "NON-STRICT")]
    NonStrict,
    #[serde(rename = "UNCLEAN")]
    Unclean,
    #[serde(rename = "TIMEOUT")]
    Timeout,
    #[serde(rename = "FAIL")]
    Fail,
}

impl Verdict {
    pub(super) const ALL: [Verdict; 7] = [
        Verdict::Pass,
        Verdict::Info,
        Verdict::NonStrict,
        Verdict::Unclean,
        Verdict::Timeout,
        Verdict::Fail,
        Verdict::NotApplicable,
    ];

    /// Whether it makes the run fail.
    pub(super) fn fails(self, strict: bool) -> bool {
        self > Verdict::NonStrict || strict && self == Verdict::NonStrict
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Verdict::NotApplicable => "N/A",
            Verdict::Pass => "PASS",
            Verdict::Info => "INFO",
            Verdict::NonStrict => "NON-STRICT",
            Verdict::Unclean => "UNCLEAN",
            Verdict::Timeout => "TIMEOUT",
            Verdict::Fail => "FAIL",
        })
    }
}

/// Why a script does not reach its end.
#[derive(Debug)]
pub(super) enum Stop {
    /// The other side did something else than was demanded.
    Fail(String),
    /// It did not do it in time.
    Timeout(String),
    /// The case cannot be asked of it.
    NotApplicable(String),
}

pub(super) type Played<T = ()> = Result<T, Stop>;

impl From<std::io::Error> for Stop {
    fn from(error: std::io::Error) -> Stop {
        Stop::Fail(format!("the system: {error}"))
    }
}

/// What a program of a client under test has to end with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Exit {
    Success,
    Failure,
    Any,
}

/// What a script notes while it runs.
#[derive(Debug)]
pub(super) struct Record {
    pub(super) behaviour: Verdict,
    pub(super) closing: Verdict,
    pub(super) notes: Vec<String>,
    pub(super) exit: Exit,
}

impl Record {
    pub(super) fn new() -> Record {
        let (behaviour, closing) = (Verdict::Pass, Verdict::NotApplicable);
        Record { behaviour, closing, notes: Vec::new(), exit: Exit::Any }
    }

    pub(super) fn behaviour(&mut self, verdict: Verdict, note: impl Into<String>) {
        self.behaviour = self.behaviour.max(verdict);
        self.notes.push(note.into());
    }

    pub(super) fn closing(&mut self, verdict: Verdict, note: impl Into<String>) {
        self.closing = self.closing.max(verdict);
        let note = note.into();
        if !note.is_empty() {
            self.notes.push(note);
        }
    }

    /// The script is over.
    pub(super) fn stop(&mut self, stop: Stop) {
        match stop {
            Stop::Fail(why) => self.behaviour(Verdict::Fail, why),
            Stop::Timeout(why) => self.behaviour(Verdict::Timeout, why),
            Stop::NotApplicable(why) => {
                self.behaviour = Verdict::NotApplicable;
                self.closing = Verdict::NotApplicable;
                self.notes = vec![why];
            }
        }
    }
}
