//! The run: workers that send what is due when it is due, whatever the answers.
//!
//! An open loop. Each worker owns a part of the crowd: its schedule, its people, its timers, its log. Workers share
//! nothing but the target, the clock and a few counters for the progress bar. Arrivals come from the schedule, what
//! follows from answers (asking again, queueing, paying, giving back, telling others) from a heap of timers, which is
//! bounded by the people who are active. Sleeping brings a worker near the next instant, spinning the last stretch. A
//! director makes the scenario's changes meanwhile.

mod acks;
mod director;
mod live;
mod timers;
mod worker;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

pub use self::{
    acks::{Ack, AckLog, read_acks},
    live::{Live, Progress},
};
use self::{
    director::Direction,
    worker::{Beginning, Worker, WorkerLog},
};
use crate::{
    arrivals::{Curve, Schedule},
    chance::mix,
    clock::ScaledClock,
    measure::Latencies,
    number::{count, real},
    people::{Fates, People},
    scenario::Scenario,
    target::{Opening, Preparation, Refusal, Target, TargetError, not_offered},
    verify::log::{ChangeRecord, HoldRecord, QueueRecord, Registration, SaleLog},
};

/// How often the progress is shown.
const SHOWN_EVERY: Duration = Duration::from_millis(100);

/// How long after its end the run waits for confirmations under way, in real time.
const LAST_CONFIRMATIONS: Duration = Duration::from_secs(10);

/// What is played, and how.
#[derive(Debug)]
pub struct Run<'a> {
    /// The scenario.
    pub scenario: &'a Scenario,
    /// The master seed.
    pub seed: u64,
    /// How many worker threads.
    pub workers: usize,
    /// The run's clock; [`Run::play`] starts it.
    pub clock: &'a ScaledClock,
    /// Set by whoever wants the run to stop.
    pub stop: &'a AtomicBool,
    /// Where acknowledged confirmations are written.
    pub acks: Option<&'a AckLog>,
    /// A number that no earlier run had: payments are named after it.
    pub nonce: u64,
}

/// What the workers counted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counts {
    /// Requests that were sent.
    pub started: u64,
    /// Requests that were answered.
    pub completed: u64,
    /// Requests that were due and were not sent.
    pub unsent: u64,
    /// First visits, those of people who were drawn by a share included.
    pub visits: u64,
    /// Registrations among the requests that were sent.
    pub registers: u64,
    /// Registrations that were accepted for the first time.
    pub registered: u64,
    /// Requests for units among those that were sent.
    pub reserves: u64,
    /// Requests for baskets among them.
    pub baskets: u64,
    /// Holds that were granted, a basket's lines one by one.
    pub held: u64,
    /// Holds that were paid, a basket once.
    pub confirmed: u64,
    /// Reports of payments among those that were sent.
    pub confirms: u64,
    /// Requests to give a hold back among those that were sent.
    pub cancels: u64,
    /// Requests to join a queue among those that were sent.
    pub joins: u64,
    /// Requests to join a queue that were accepted.
    pub joined: u64,
    /// Questions whether the turn has come among those that were sent.
    pub looks: u64,
    /// Offers that were seen.
    pub offered: u64,
    /// Requests to leave a queue among those that were sent.
    pub leaves: u64,
    /// Offers that were accepted first, to have the full time, among those that were sent.
    pub accepts: u64,
    /// Buyers who told others.
    pub shares: u64,
    /// People who came because of that.
    pub drawn: u64,
    /// Requests for units that were refused, by the reason's place.
    pub refused: [u64; Refusal::NAMES.len()],
}

/// What was counted of one stage.
#[derive(Debug, Clone, Default)]
pub struct StageLog {
    /// The counts; what was not sent is counted for all stages together.
    pub counts: Counts,
    /// Latencies of all requests but confirmations.
    pub latencies: Latencies,
    /// Latencies of confirmations, until they were acknowledged.
    pub confirmations: Latencies,
}

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// What stood in the shop before.
    pub opening: Opening,
    /// The counts of all workers.
    pub counts: Counts,
    /// What was counted of each stage, in the scenario's order.
    pub stages: Vec<StageLog>,
    /// The accepted holds.
    pub holds: Vec<HoldRecord>,
    /// The summaries of the refusals, a sale.
    pub sales: Vec<SaleLog>,
    /// Who waited.
    pub queues: Vec<QueueRecord>,
    /// Who registered while it ran.
    pub registrations: Vec<Registration>,
    /// What was changed meanwhile.
    pub changes: Vec<ChangeRecord>,
    /// Latencies of all requests but confirmations.
    pub latencies: Latencies,
    /// Latencies of confirmations, until they were acknowledged.
    pub confirmations: Latencies,
    /// Real nanoseconds from the start to the last worker's end.
    pub ended_ns: u64,
    /// Processor time of the workers outside of the target, in nanoseconds.
    pub generator_cpu_ns: u64,
    /// Whether it was stopped from outside.
    pub interrupted: bool,
    /// What went wrong in the target or around it, the first of each worker.
    pub failures: Vec<String>,
}

/// Why a run didn't come to its end.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The target can't be used.
    #[error(transparent)]
    Target(#[from] TargetError),
    /// A worker thread died.
    #[error("worker {0} died: this is a mistake in loadgen or in the target, its message is above")]
    Worker(usize),
    /// The thread that makes the changes died.
    #[error("the director died: this is a mistake in loadgen or in the target, its message is above")]
    Director,
}

impl Counts {
    fn merge(&mut self, other: &Self) {
        self.started += other.started;
        self.completed += other.completed;
        self.unsent += other.unsent;
        self.visits += other.visits;
        self.registers += other.registers;
        self.registered += other.registered;
        self.reserves += other.reserves;
        self.baskets += other.baskets;
        self.held += other.held;
        self.confirmed += other.confirmed;
        self.confirms += other.confirms;
        self.cancels += other.cancels;
        self.joins += other.joins;
        self.joined += other.joined;
        self.looks += other.looks;
        self.offered += other.offered;
        self.leaves += other.leaves;
        self.accepts += other.accepts;
        self.shares += other.shares;
        self.drawn += other.drawn;
        for (mine, theirs) in self.refused.iter_mut().zip(other.refused) {
            *mine += theirs;
        }
    }

    /// Requests that were due.
    #[must_use]
    pub const fn offered(&self) -> u64 {
        self.started + self.unsent
    }
}

impl Run<'_> {
    /// Puts the scenario on sale, starts the clock, plays the scenario to its end; `observe` sees how far it is.
    ///
    /// # Errors
    /// [`RunError`] if the target can't be used, or a worker dies.
    pub fn play<T: Target>(&self, target: &T, observe: &mut dyn FnMut(&Progress)) -> Result<Outcome, RunError> {
        if let Some(lacking) = self.scenario.needs().into_iter().find(|ability| !target.offers(*ability)) {
            return Err(not_offered(lacking).into());
        }
        let people = People::new(self.scenario, self.seed);
        let base = self.clock.base();
        let opening = target.prepare(&Preparation {
            sales: &self.scenario.sales,
            base,
            baskets: self.scenario.baskets.share.0 > 0.0,
            registered: &|| Box::new(people.registered_buyers()),
        })?;
        let curves: Arc<[Curve]> = self.scenario.arrivals.iter().map(|arrivals| arrivals.curve.clone()).collect();
        let live = Live::default();
        // Preparing may have taken real time; the clock stood still meanwhile.
        self.clock.start(opening.latest.map_or(base, |latest| latest.max(base)));
        let (logs, direction) = thread::scope(|scope| {
            let start = |place| {
                let (curves, people, live, opening) = (&curves, &people, &live, &opening);
                scope.spawn(move || {
                    let schedule = Schedule::new(curves, self.seed, place, self.workers);
                    let fates = Fates::new(self.scenario, self.seed, place, self.workers);
                    let beginning = Beginning { people, opening, live, place, schedule, fates };
                    Worker::new(self, target.session(), beginning).work()
                })
            };
            let threads: Vec<_> = (0..self.workers).map(start).collect();
            let director = scope.spawn(|| director::direct(self, target));
            while threads.iter().any(|thread| !thread.is_finished()) {
                thread::park_timeout(SHOWN_EVERY);
                observe(&live.progress(self.clock));
            }
            let join = |(place, thread): (usize, thread::ScopedJoinHandle<'_, _>)| {
                thread.join().map_err(|_| RunError::Worker(place))
            };
            let logs = threads.into_iter().enumerate().map(join).collect::<Result<Vec<_>, _>>()?;
            Ok::<_, RunError>((logs, director.join().map_err(|_| RunError::Director)?))
        })?;
        Ok(self.merge(opening, logs, direction))
    }

    fn merge(&self, opening: Opening, logs: Vec<WorkerLog>, direction: Direction) -> Outcome {
        let mut outcome = Outcome {
            opening,
            counts: Counts::default(),
            stages: self.scenario.stages.iter().map(|_| StageLog::default()).collect(),
            holds: Vec::new(),
            sales: vec![SaleLog::default(); self.scenario.sales.len()],
            queues: Vec::new(),
            registrations: Vec::new(),
            changes: direction.changes,
            latencies: Latencies::default(),
            confirmations: Latencies::default(),
            ended_ns: direction.ended_ns,
            generator_cpu_ns: 0,
            // Relaxed: the flag is the whole message, and the workers that saw it have been joined.
            interrupted: self.stop.load(Ordering::Relaxed),
            failures: self.acks.and_then(AckLog::failure).into_iter().chain(direction.failure).collect(),
        };
        for log in logs {
            for (all, one) in outcome.stages.iter_mut().zip(log.stages) {
                all.counts.merge(&one.counts);
                all.latencies.merge(&one.latencies);
                all.confirmations.merge(&one.confirmations);
            }
            outcome.counts.unsent += log.unsent;
            outcome.holds.extend(log.holds);
            for (all, one) in outcome.sales.iter_mut().zip(log.sales) {
                all.merge(one);
            }
            outcome.queues.extend(log.queues);
            outcome.registrations.extend(log.registrations);
            outcome.ended_ns = outcome.ended_ns.max(log.ended_ns);
            outcome.generator_cpu_ns += log.cpu_ns.saturating_sub(log.in_target_ns);
            outcome.failures.extend(log.failure);
        }
        for stage in &outcome.stages {
            outcome.counts.merge(&stage.counts);
            outcome.latencies.merge(&stage.latencies);
            outcome.confirmations.merge(&stage.confirmations);
        }
        outcome
    }

    /// A payment's name: unlike every other of this run and of earlier ones.
    fn payment(&self, worker: usize, hold: usize) -> u64 {
        mix(self.nonce ^ mix((count(worker) << 40) | count(hold)))
    }
}

impl Outcome {
    /// The generator's share of one processor, per second of running time.
    #[must_use]
    pub fn generator_cpu_share(&self) -> f64 {
        real(self.generator_cpu_ns) / real(self.ended_ns.max(1))
    }
}
