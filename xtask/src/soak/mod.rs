//! `soak`: programs of all languages talk to each other for as long as is wanted, faults happen to them, and every message
//! is accounted for. See docs/soak.md.

mod chain;
mod member;
mod plan;
mod prove;
mod report;
mod round;
mod strangers;
mod tally;
mod vitals;

use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use crate::conformance::Agent;
use crate::lang::{self, Lang, Profile};
use crate::server::Sockets;
use crate::suites;
use crate::workspace::Workspace;
use chain::Chain;
use member::Member;
use plan::{Round, Transport};
use report::Report;
use round::{CLIENT, Play, Side};
use tally::Tally;
use vitals::Vitals;

/// How long a process may take to have only what it had before, once all connections are closed; the deadline of a handshake is
/// 5 seconds of them.
const SETTLES: Duration = Duration::from_secs(6);

/// How long descriptors have to stay the same for a first look.
const STEADY: Duration = Duration::from_millis(500);

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// Between two lines where there is no terminal.
const LINES: Duration = Duration::from_secs(10);

/// What is done, and for how long.
#[derive(Args)]
pub(crate) struct Options {
    /// Minutes of rounds; a warm-up comes before, and the last look behind
    #[arg(long, value_name = "N", default_value_t = 1, conflicts_with = "seconds")]
    minutes: u64,
    /// Seconds instead
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// Play the rounds of this seed
    #[arg(long, value_name = "SEED")]
    seed: Option<u64>,
    /// Rounds that are under way at once
    #[arg(long, value_name = "N", default_value_t = 4)]
    lanes: usize,
    /// Only these agents; repeatable
    #[arg(long, value_name = "AGENT")]
    agent: Vec<String>,
    /// Add the result to tests/soak/ledger.json
    #[arg(long)]
    record: bool,
    /// Plant each kind of failure, and pass if every language finds it
    #[arg(long, conflicts_with_all = ["minutes", "seconds", "seed", "record"])]
    prove: bool,
    /// Trust that everything is built
    #[arg(long, hide = true)]
    no_build: bool,
}

/// Runs the soak; true when nothing was wrong.
pub(crate) fn run(workspace: &Workspace, options: &Options) -> Result<bool> {
    let agents = agents(&options.agent)?;
    if !options.no_build {
        let mut langs: Vec<Lang> = agents.iter().map(|agent| agent.lang()).collect();
        langs.dedup();
        suites::build(workspace, Profile::Dev, &langs)?;
    }
    if options.prove {
        return prove::run(workspace, &agents);
    }
    ensure!(options.lanes > 0, "no round can be under way");
    let time = Duration::from_secs(options.seconds.unwrap_or(options.minutes * 60));
    let seed = options.seed.map_or_else(fresh_seed, Ok)?;
    println!("seed {seed}");
    let sockets = Sockets::new()?;
    let stage = Stage::new(workspace, &sockets, &agents, options.lanes)?;
    let soaked = stage.live(|| stage.soak(seed, time));
    if soaked.is_err() {
        println!("{}", stage.tally());
    }
    let report = Report::new(&stage, seed, time, soaked?)?;
    report.write(workspace)?;
    if options.record {
        report.record(workspace)?;
    }
    println!("{}", stage.tally());
    Ok(stage.tally().passed())
}

/// The agents of these names, all if there are none, but those that cannot be built here.
fn agents(names: &[String]) -> Result<Vec<Agent>> {
    let named = |name: &String| Agent::named(name).with_context(|| format!("no agent is called {name}"));
    let mut agents = names.iter().map(named).collect::<Result<Vec<_>>>()?;
    if agents.is_empty() {
        agents = Agent::ALL.to_vec();
    }
    agents.sort_by_key(|agent| Agent::ALL.iter().position(|one| one == agent));
    agents.dedup();
    lang::keep_buildable(&mut agents, |agent| agent.name(), |agent| agent.lacks())?;
    Ok(agents)
}

/// A short one, to be typed again.
fn fresh_seed() -> Result<u64> {
    Ok(SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?.as_millis() as u64 % 1_000_000_000)
}

/// A server that lives as long as the soak, and where it listens.
struct Server {
    member: Member,
    unix: String,
    tcp: String,
}

impl Server {
    fn start(workspace: &Workspace, sockets: &Sockets, agent: Agent) -> Result<Server> {
        let member = Member::start(workspace, agent, "server", 0)?;
        let listen = |transport: Transport, address: &str| {
            round::listen(Side { member: &member, end: transport.end() }, transport, address)
        };
        let path = sockets.path(&format!("{}.sock", agent.name())).display().to_string();
        let unix = listen(Transport::Unix, &path)?;
        let tcp = listen(Transport::Tcp, "tcp:127.0.0.1:0")?;
        Ok(Server { member, unix, tcp })
    }

    fn address(&self, transport: Transport) -> &str {
        match transport {
            Transport::Unix => &self.unix,
            Transport::Tcp => &self.tcp,
        }
    }
}

/// A chain whose sender was killed: what came of it is looked at when all is quiet.
struct Claim {
    /// The receiver.
    agent: Agent,
    role: &'static str,
    end: &'static str,
    chain: String,
    round: String,
}

impl Claim {
    fn of(receiver: Side, chain: &Chain, round: &Round) -> Claim {
        let Side { member, end } = receiver;
        Claim { agent: member.agent, role: member.role, end, chain: chain.name.clone(), round: round.to_string() }
    }
}

/// What all processes hold at a moment without connections.
struct Quiet {
    at: Duration,
    vitals: Vec<Vitals>,
}

/// Where rounds are played: the processes that live as long as the soak, and what was counted.
struct Stage<'a> {
    workspace: &'a Workspace,
    sockets: &'a Sockets,
    agents: Vec<Agent>,
    servers: Vec<Server>,
    clients: Vec<Member>,
    tally: Mutex<Tally>,
    claims: Mutex<Vec<Claim>>,
    lanes: Lanes,
    /// What a client says, for strangers.
    conversation: Vec<u8>,
    /// Processes that were started to be killed.
    mortals: AtomicUsize,
    /// Something is broken, and no more rounds are played.
    broken: AtomicBool,
    start: Instant,
}

impl<'a> Stage<'a> {
    fn new(workspace: &'a Workspace, sockets: &'a Sockets, agents: &[Agent], lanes: usize) -> Result<Stage<'a>> {
        let servers = agents.iter().map(|agent| Server::start(workspace, sockets, *agent)).collect::<Result<_>>()?;
        let clients = agents.iter().map(|agent| Member::start(workspace, *agent, CLIENT, 0)).collect::<Result<_>>()?;
        Ok(Stage {
            workspace,
            sockets,
            agents: agents.to_vec(),
            servers,
            clients,
            tally: Mutex::new(Tally::new(agents)),
            claims: Mutex::default(),
            lanes: Lanes::new(lanes),
            conversation: strangers::conversation(workspace)?,
            mortals: AtomicUsize::new(0),
            broken: AtomicBool::new(false),
            start: Instant::now(),
        })
    }

    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn server(&self, agent: Agent) -> &Server {
        let at = self.agents.iter().position(|one| *one == agent).unwrap_or(0);
        &self.servers[at]
    }

    /// Starts a process that is there to be killed, or to follow one that was.
    fn mortal(&self, agent: Agent, role: &'static str) -> Result<Member> {
        // As many logs as there may be such processes at once.
        let number = self.mortals.fetch_add(1, Ordering::Relaxed) % (4 * self.agents.len());
        Member::start(self.workspace, agent, role, number)
    }

    fn socket(&self, name: &str) -> String {
        self.sockets.path(name).display().to_string()
    }

    fn claim(&self, claim: Claim) {
        self.claims.lock().unwrap_or_else(PoisonError::into_inner).push(claim);
    }

    /// Every process that lives as long as the soak.
    fn members(&self) -> impl Iterator<Item = &Member> {
        self.servers.iter().map(|server| &server.member).chain(&self.clients)
    }

    /// Everything, from the first round to the last look; what was held at the quiet moments.
    fn soak(&self, seed: u64, time: Duration) -> Result<Vec<Quiet>> {
        let plans = |lap: &dyn Fn(usize) -> Vec<Round>| (0..self.agents.len()).map(lap).collect::<Vec<_>>();
        self.lap(&plans(&|client| plan::warm_up(seed, &self.agents, client)), None)?;
        self.steady()?;
        // Sockets of servers that live for a round come and go; the files of their locks stay.
        let mut files = self.files()?;
        files.extend(self.agents.iter().map(|agent| format!("mortal-{}.lock", agent.name())));
        let first = self.look()?;
        let until = Instant::now() + time;
        let mut quiet = vec![first];
        for lap in 1.. {
            if Instant::now() >= until {
                break;
            }
            self.lap(&plans(&|client| plan::lap(seed, lap, &self.agents, client)), Some(until))?;
            self.settle(&quiet[0])?;
            self.settle_claims()?;
            quiet.push(self.look()?);
        }
        self.judge(&quiet, &files)?;
        Ok(quiet)
    }

    /// Plays a lap, a list of rounds for each client, until all are played or the time is up.
    fn lap(&self, plans: &[Vec<Round>], until: Option<Instant>) -> Result<()> {
        std::thread::scope(|scope| {
            let clients = plans.iter().zip(&self.clients).map(|(rounds, client)| {
                scope.spawn(move || {
                    for round in rounds {
                        let _lane = self.lanes.enter();
                        let over = until.is_some_and(|until| Instant::now() >= until);
                        if over || self.broken.load(Ordering::Relaxed) {
                            break;
                        }
                        let played = Play::new(self, round).play(client).with_context(|| round.to_string());
                        if played.is_err() {
                            self.broken.store(true, Ordering::Relaxed);
                            return played;
                        }
                    }
                    Ok(())
                })
            });
            let clients: Vec<_> = clients.collect();
            let outcomes: Vec<Result<()>> = clients
                .into_iter()
                .map(|client| client.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
                .collect();
            outcomes.into_iter().collect()
        })
    }

    fn look(&self) -> Result<Quiet> {
        let vitals = |member: &Member| Vitals::of(member.id).with_context(|| member.broken());
        let vitals = self.members().map(vitals).collect::<Result<_>>()?;
        Ok(Quiet { at: self.start.elapsed(), vitals })
    }

    /// Waits until descriptors stay the same for a moment.
    fn steady(&self) -> Result<()> {
        let end = Instant::now() + SETTLES;
        let descriptors = |quiet: &Quiet| quiet.vitals.iter().map(|one| one.descriptors.len()).collect::<Vec<_>>();
        let mut last = descriptors(&self.look()?);
        let mut since = Instant::now();
        while since.elapsed() < STEADY && Instant::now() < end {
            std::thread::sleep(PAUSE);
            let now = descriptors(&self.look()?);
            if now != last {
                (last, since) = (now, Instant::now());
            }
        }
        Ok(())
    }

    /// Waits until every process has what it had, for as long as that may take; what each has more, in words.
    fn settle(&self, first: &Quiet) -> Result<Vec<Vec<String>>> {
        let end = Instant::now() + SETTLES;
        loop {
            let now = self.look()?;
            let pairs = self.members().zip(now.vitals.iter().zip(&first.vitals));
            let more =
                pairs.map(|(member, (now, first))| now.excess(first, member.agent)).collect::<Result<Vec<_>>>()?;
            if more.iter().all(Vec::is_empty) || Instant::now() >= end {
                return Ok(more);
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Looks at the chains of killed senders, and has all chains forgotten.
    fn settle_claims(&self) -> Result<()> {
        let claims = std::mem::take(&mut *self.claims.lock().unwrap_or_else(PoisonError::into_inner));
        for claim in claims {
            let receives = |member: &&Member| member.agent == claim.agent && member.role == claim.role;
            let member = self.members().find(receives).context("a claim on nobody")?;
            let came = Side { member, end: claim.end }.came(&claim.chain)?;
            self.tally().count(claim.agent, came.beginning(), &claim.round);
        }
        for member in self.members() {
            for transport in Transport::ALL {
                member.ask::<serde_json::Value>(transport.end(), "forget", serde_json::Value::Null)?;
            }
        }
        Ok(())
    }

    fn files(&self) -> Result<BTreeSet<String>> {
        let folder = self.sockets.path("");
        let names = std::fs::read_dir(&folder)?.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned()));
        names.collect()
    }

    /// The last look.
    fn judge(&self, quiet: &[Quiet], files: &BTreeSet<String>) -> Result<()> {
        let (first, more) = (quiet.first().context("no look")?, self.settle(&quiet[0])?);
        for (at, (member, more)) in self.members().zip(more).enumerate() {
            let mut found: Vec<String> = more;
            let rss: Vec<u64> = quiet.iter().map(|quiet| quiet.vitals[at].rss_kib).collect();
            found.extend(vitals::growth(&rss, member.agent));
            for text in found {
                self.tally().leak(member.agent, format!("{member}: {text} since {} s", first.at.as_secs()));
            }
            let said = member.said()?;
            if !said.is_empty() {
                self.tally().error(member.agent, format!("{member} printed {said:?}"));
            }
        }
        let left: Vec<String> = self.files()?.difference(files).cloned().collect();
        if !left.is_empty() {
            self.tally().machine(format!("files are left: {}", left.join(", ")));
        }
        let dead = zombies();
        if !dead.is_empty() {
            self.tally().machine(format!("processes are dead and not asked for: {dead:?}"));
        }
        Ok(())
    }

    /// Runs `work` while the counters are shown.
    fn live<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        let (done, over) = channel::<()>();
        std::thread::scope(|scope| {
            scope.spawn(move || self.show(&over));
            let outcome = work();
            drop(done);
            outcome
        })
    }

    fn show(&self, over: &std::sync::mpsc::Receiver<()>) {
        let terminal = std::io::stderr().is_terminal();
        let bar = ProgressBar::new_spinner();
        // It is shown as it is if the template cannot be read.
        if let Ok(style) = ProgressStyle::with_template("{spinner} {msg}") {
            bar.set_style(style);
        }
        let pause = if terminal { Duration::from_millis(500) } else { LINES };
        while over.recv_timeout(pause) == Err(RecvTimeoutError::Timeout) {
            let line = self.tally().line(self.start.elapsed());
            if terminal {
                bar.set_message(line);
                bar.tick();
            } else {
                println!("{line}");
            }
        }
        bar.finish_and_clear();
    }
}

/// Children of this process that are dead and still listed.
fn zombies() -> Vec<u32> {
    let dead = |id: &u32| {
        let stat = std::fs::read_to_string(format!("/proc/{id}/stat")).unwrap_or_default();
        stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'))
    };
    crate::process::tree(std::process::id()).into_iter().filter(dead).collect()
}

/// How many rounds may be under way at once.
struct Lanes {
    free: Mutex<usize>,
    freed: Condvar,
}

/// A round is under way for as long as this value lives.
struct Lane<'a>(&'a Lanes);

impl Lanes {
    fn new(free: usize) -> Lanes {
        Lanes { free: Mutex::new(free), freed: Condvar::new() }
    }

    fn enter(&self) -> Lane<'_> {
        let free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let mut free = self.freed.wait_while(free, |free| *free == 0).unwrap_or_else(PoisonError::into_inner);
        *free -= 1;
        Lane(self)
    }
}

impl Drop for Lane<'_> {
    fn drop(&mut self) {
        *self.0.free.lock().unwrap_or_else(PoisonError::into_inner) += 1;
        self.0.freed.notify_one();
    }
}
