//! A case: what it sends, what the specification demands of that, and the script that plays it.

use std::sync::Arc;

use serde::Serialize;

use super::stage::Stage;
use super::verdict::Played;

/// The side that is under test.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    Server,
    Client,
}

/// What a server can do beside answering calls, and some do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Ability {
    /// It sends messages back.
    Messages,
    /// It sends the items of streams back.
    Streams,
}

type Script = Arc<dyn Fn(&Stage<'_>) -> Played + Send + Sync>;

/// One case.
#[derive(Clone, Serialize)]
pub(super) struct Case {
    pub(super) name: String,
    pub(super) roles: &'static str,
    pub(super) level: u8,
    pub(super) section: &'static str,
    pub(super) sends: String,
    pub(super) demands: String,
    #[serde(skip)]
    pub(super) needs: Option<Ability>,
    /// How long it may take.
    #[serde(skip)]
    pub(super) seconds: u64,
    /// Whether other cases have to wait.
    #[serde(skip)]
    pub(super) alone: bool,
    #[serde(skip)]
    pub(super) script: Script,
}

impl Case {
    pub(super) fn is_for(&self, role: Role) -> bool {
        self.roles.contains(match role {
            Role::Server => 'S',
            Role::Client => 'C',
        })
    }

    pub(super) fn needs(&mut self, ability: Ability) -> &mut Case {
        self.needs = Some(ability);
        self
    }

    pub(super) fn within(&mut self, seconds: u64) -> &mut Case {
        self.seconds = seconds;
        self
    }

    pub(super) fn alone(&mut self) -> &mut Case {
        self.alone = true;
        self
    }
}

/// All cases, in the order in which they are shown.
#[derive(Default)]
pub(super) struct Book {
    pub(super) cases: Vec<Case>,
    group: &'static str,
    level: u8,
}

/// How long a case may take that does not say it.
const SECONDS: u64 = 5;

impl Book {
    /// What follows belongs to this group and this level.
    pub(super) fn group(&mut self, group: &'static str, level: u8) {
        (self.group, self.level) = (group, level);
    }

    pub(super) fn server(
        &mut self,
        name: &str,
        section: &'static str,
        sends: &str,
        demands: &str,
        script: impl Fn(&Stage<'_>) -> Played + Send + Sync + 'static,
    ) -> &mut Case {
        self.add("S", name, section, sends, demands, Arc::new(script))
    }

    pub(super) fn client(
        &mut self,
        name: &str,
        section: &'static str,
        sends: &str,
        demands: &str,
        script: impl Fn(&Stage<'_>) -> Played + Send + Sync + 'static,
    ) -> &mut Case {
        self.add("C", name, section, sends, demands, Arc::new(script))
    }

    pub(super) fn both(
        &mut self,
        name: &str,
        section: &'static str,
        sends: &str,
        demands: &str,
        script: impl Fn(&Stage<'_>) -> Played + Send + Sync + 'static,
    ) -> &mut Case {
        self.add("SC", name, section, sends, demands, Arc::new(script))
    }

    fn add(
        &mut self,
        roles: &'static str,
        name: &str,
        section: &'static str,
        sends: &str,
        demands: &str,
        script: Script,
    ) -> &mut Case {
        let at = self.cases.len();
        self.cases.push(Case {
            name: format!("{}/{name}", self.group),
            roles,
            level: self.level,
            section,
            sends: sends.into(),
            demands: demands.into(),
            needs: None,
            seconds: SECONDS,
            alone: false,
            script,
        });
        &mut self.cases[at]
    }
}
