//! Torture: faults as hard as real ones, for as long as one likes, and what was lost by them.
//!
//! ```text
//! kills      a real process that sells, killed on one journal again and again, with a Redis beside it or without
//! failovers  a shop sells while the primary of its Redis dies and a replica that lags takes over
//! histories  calls of several threads at once, explained by one call at a time
//! batch      many short tries at once: of the simulation, and of histories
//! delivery   to a real Redis, and what has become of it
//! watch      until when it goes on, and what is seen meanwhile     dice     numbers that repeat
//! verdict    what was lost                                         report   the table and the JSON
//! ```
//!
//! What holds: every try has a seed of its own, the first of a kind that of the command line, so that a try which
//! lost something is made again by its seed alone; what is counted was done.

mod batch;
mod delivery;
mod dice;
mod failovers;
pub mod histories;
pub mod kills;
mod report;
mod verdict;
mod watch;

use std::{io, num::NonZeroU64, path::PathBuf, time::Instant};

pub use dice::Dice;
pub use report::{Loss, Report, Tally};
pub use verdict::Verdict;
pub use watch::Watch;

use batch::Seeds;
use kills::{Broken, Plan, Series};

/// Short tries in one go: between two the other kinds have their turn.
const BATCH: u64 = 500;

/// What is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Kind {
    /// A process that sells is killed with SIGKILL, many times on one journal
    Kills,
    /// The same, and a real Redis that gets the orders is killed as well
    Redis,
    /// A shop sells while its Redis fails over, by Sentinel and in a cluster, to a replica that lags
    Failovers,
    /// Engine, disk, Redis and clock are simulated from one seed, with faults
    Seeds,
    /// What threads are answered at the same time is explained by one call at a time
    Histories,
}

impl Kind {
    /// Every kind.
    pub const ALL: [Self; 5] = [Self::Kills, Self::Redis, Self::Failovers, Self::Seeds, Self::Histories];

    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kills => "kills",
            Self::Redis => "redis",
            Self::Failovers => "failovers",
            Self::Seeds => "seeds",
            Self::Histories => "histories",
        }
    }

    /// Its share of the time, beside the others'.
    const fn share(self) -> f64 {
        match self {
            Self::Kills | Self::Seeds => 2.0,
            Self::Redis | Self::Failovers | Self::Histories => 1.0,
        }
    }
}

/// How much is tried, and of what.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Settings {
    /// What is tried, in turn.
    pub kinds: Vec<Kind>,
    /// The seed of the first try of each kind; that of the next is one more.
    pub seed: u64,
    /// So many tries of each kind, if it is not a matter of time.
    pub tries: Option<NonZeroU64>,
    /// Threads that sell, or try.
    pub threads: u64,
    /// How often a process is killed on one journal.
    pub kills: u64,
    /// The program whose hidden subcommand sells.
    pub program: PathBuf,
    /// What is done wrong, as a negative control.
    pub broken: Option<Broken>,
}

impl Settings {
    /// Everything, from seed 1 on: 200 kills a journal, two threads.
    #[must_use]
    pub fn new(program: PathBuf) -> Self {
        let kinds = Kind::ALL.to_vec();
        Self { kinds, seed: 1, tries: None, threads: 2, kills: 200, program, broken: None }
    }
}

/// Why nothing could be tried.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TortureError {
    /// The folder for the journal.
    #[error("no folder for a journal: {0}; name another place by TMPDIR")]
    Folder(#[source] io::Error),
    /// The process that sells.
    #[error("the process that sells can't be started or killed: {0}")]
    Process(#[source] io::Error),
    /// There is no Redis here.
    #[error("redis-server can't be started: install it (apt-get install redis-server), or leave it out by --only")]
    NoRedis,
    /// The table or the JSON could not be written.
    #[error("the report can't be written: {0}")]
    Report(#[from] io::Error),
}

/// What came of one or several tries.
#[derive(Debug)]
#[non_exhaustive]
pub struct Tried {
    /// How many they were: each has used a seed.
    pub tries: u64,
    /// Orders that were acknowledged.
    pub acknowledged: u64,
    /// What else was done, and how often.
    pub counts: Vec<(&'static str, u64)>,
    /// What was lost.
    pub verdict: Verdict,
    /// Where what was lost can be looked at.
    pub kept: Option<PathBuf>,
    /// The seed that lost something, if it isn't the first.
    pub lost_by: Option<u64>,
}

impl Tried {
    /// `tries` tries in which `acknowledged` orders were.
    #[must_use]
    pub const fn new(tries: u64, acknowledged: u64, verdict: Verdict) -> Self {
        Self { tries, acknowledged, counts: Vec::new(), verdict, kept: None, lost_by: None }
    }

    /// `what` was done `times` more.
    pub fn count(&mut self, what: &'static str, times: u64) {
        report::add_count(&mut self.counts, what, times);
    }

    /// Both.
    fn and(mut self, other: Self) -> Self {
        self.tries += other.tries;
        self.acknowledged += other.acknowledged;
        other.counts.into_iter().for_each(|(what, times)| self.count(what, times));
        self.verdict.add(other.verdict);
        Self { kept: self.kept.or(other.kept), lost_by: self.lost_by.or(other.lost_by), ..self }
    }
}

/// Tries until the watch says that it is over, or enough of each kind was tried. A kind that has lost something is
/// not tried any more.
///
/// # Errors
/// [`TortureError`] if something could not be tried at all.
pub fn run(settings: &Settings, watch: &Watch) -> Result<Report, TortureError> {
    let mut report = Report::new(settings);
    while !watch.is_over()
        && let Some(place) = report.next(settings)
    {
        let (kind, seed, most) = report.turn(settings, place);
        watch.show(&report.line());
        let began = Instant::now();
        let tried = attempt(kind, seed, most, settings, watch)?;
        report.add(settings, place, seed, began.elapsed(), tried);
    }
    report.end(watch);
    Ok(report)
}

/// Tries a kind once, or as often as it is done in one go.
fn attempt(kind: Kind, seed: u64, most: u64, settings: &Settings, watch: &Watch) -> Result<Tried, TortureError> {
    let seeds = Seeds { first: seed, most: most.min(BATCH), threads: settings.threads };
    match kind {
        Kind::Seeds => Ok(batch::run(seeds, &watch.end(), batch::simulate)),
        Kind::Histories => Ok(batch::run(seeds, &watch.end(), batch::explain)),
        Kind::Failovers => failovers::attempt(seed, settings.broken, watch),
        Kind::Kills | Kind::Redis => {
            let Settings { program, threads, broken, .. } = settings;
            let mut plan = Plan::new(program.clone());
            (plan.threads, plan.redis, plan.broken) = (*threads, kind == Kind::Redis, *broken);
            let mut series = Series::begin(plan, seed)?;
            while series.kills() < settings.kills && series.is_good() && !watch.is_over() {
                series.live()?;
                watch.note(|| format!("{}: {} of {} kills", kind.name(), series.kills(), settings.kills));
            }
            Ok(series.settle())
        }
    }
}
