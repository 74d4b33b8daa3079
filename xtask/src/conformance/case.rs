//! The cases, as `tests/conformance/cases/*.yaml` has them.

use std::collections::{BTreeMap, HashSet};

use anyhow::{Context, Result, ensure};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::workspace::Workspace;

/// Where the cases are.
const FOLDER: &str = "tests/conformance/cases";

/// One thing that is demanded of every pair, and the steps that show it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Case {
    pub(super) name: String,
    /// One sentence.
    pub(super) demand: String,
    /// Section of docs/protocol.md.
    pub(super) section: u8,
    /// What both agents have to have; without it the case is skipped.
    #[serde(default)]
    pub(super) needs: Vec<String>,
    /// Transports it makes sense on; all, if none is named.
    #[serde(default)]
    pub(super) transports: Vec<String>,
    /// Options of the listening end.
    #[serde(default)]
    pub(super) listen: Map<String, Value>,
    /// Options of the connecting end.
    #[serde(default)]
    pub(super) connect: Map<String, Value>,
    /// The error that connecting has to end with.
    #[serde(default)]
    pub(super) refused: Option<Value>,
    /// How often the steps are played on one connection; for times, the median counts.
    #[serde(default = "once")]
    pub(super) tries: usize,
    pub(super) steps: Vec<Step>,
}

impl Case {
    /// Whether an agent does not survive it.
    pub(super) fn kills(&self) -> bool {
        self.steps.iter().any(|step| step.operation == KILL)
    }
}

fn once() -> usize {
    1
}

/// Something an end does, and what has to come of it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Step {
    pub(super) on: End,
    #[serde(rename = "do")]
    pub(super) operation: String,
    /// Arguments of the operation.
    #[serde(default)]
    pub(super) with: Map<String, Value>,
    /// The result, as far as it matters.
    #[serde(default)]
    pub(super) ok: Option<Value>,
    /// The error, as far as it matters; without one the operation has to succeed.
    #[serde(default)]
    pub(super) error: Option<Value>,
    /// The least and most milliseconds the operation takes, as the agent measures it.
    #[serde(default)]
    pub(super) ms: Option<[f64; 2]>,
    /// Ask again until the result is right.
    #[serde(default)]
    pub(super) eventually: bool,
    /// Parts of the result to remember, by JSON pointer.
    #[serde(default)]
    pub(super) save: BTreeMap<String, String>,
}

/// A side of the connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum End {
    Client,
    Server,
}

impl End {
    pub(super) fn name(self) -> &'static str {
        match self {
            End::Client => "client",
            End::Server => "server",
        }
    }
}

/// The operation that no agent is asked to run: its process is ended.
pub(super) const KILL: &str = "kill";

/// Every case, in the order of the files.
pub(super) fn all(workspace: &Workspace) -> Result<Vec<Case>> {
    let files = workspace.files()?;
    let mut cases = Vec::new();
    for file in files.iter().filter(|file| file.starts_with(FOLDER) && file.ends_with(".yaml")) {
        let read: Vec<Case> = serde_saphyr::from_str(&workspace.read(file)?).with_context(|| file.clone())?;
        cases.extend(read);
    }
    let mut names = HashSet::new();
    for case in &cases {
        ensure!(names.insert(&case.name), "two cases are called {}", case.name);
        ensure!(case.demand.ends_with('.'), "{}: a demand is a sentence", case.name);
        ensure!(case.tries > 0, "{}: it is never tried", case.name);
    }
    ensure!(!cases.is_empty(), "there is no case in {FOLDER}");
    Ok(cases)
}
