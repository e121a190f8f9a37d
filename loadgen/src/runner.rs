//! The run: workers that send what is due when it is due, whatever the answers.
//!
//! An open loop. Each worker owns a part of the crowd: its schedule, its people, its timers, its log. Workers share
//! nothing but the target, the clock and a few counters for the progress bar. Arrivals come from the schedule, what
//! follows from answers (asking again, paying, giving back) from a heap of timers, which is bounded by the people who
//! are active. Sleeping brings a worker near the next instant, spinning the last stretch.

mod acks;
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
use crate::{
    arrivals::{Curve, Schedule},
    chance::mix,
    clock::ScaledClock,
    measure::Latencies,
    number::{count, real},
    people::{Fates, People},
    scenario::Scenario,
    target::{Opening, Preparation, Refusal, Target, TargetError, not_offered},
    verify::log::{HoldRecord, SaleLog},
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
    /// Requests for units among those that were sent.
    pub reserves: u64,
    /// Reports of payments among those that were sent.
    pub confirms: u64,
    /// Requests to give a hold back among those that were sent.
    pub cancels: u64,
    /// Requests for units that were refused, by the reason's place.
    pub refused: [u64; Refusal::NAMES.len()],
}

/// What came of a run.
#[derive(Debug)]
pub struct Outcome {
    /// What stood in the shop before.
    pub opening: Opening,
    /// The counts of all workers.
    pub counts: Counts,
    /// The accepted holds.
    pub holds: Vec<HoldRecord>,
    /// The summaries of the refusals, a sale.
    pub sales: Vec<SaleLog>,
    /// Latencies of requests for units and of giving back.
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
}

impl Counts {
    fn merge(&mut self, other: &Self) {
        self.started += other.started;
        self.completed += other.completed;
        self.unsent += other.unsent;
        self.reserves += other.reserves;
        self.confirms += other.confirms;
        self.cancels += other.cancels;
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
            registered: &|| Box::new(people.registered_buyers()),
        })?;
        let curves: Arc<[Curve]> = self.scenario.arrivals.iter().map(|arrivals| arrivals.curve.clone()).collect();
        let live = Live::default();
        // Preparing may have taken real time; the clock stood still meanwhile.
        self.clock.start(opening.latest.map_or(base, |latest| latest.max(base)));
        let logs = thread::scope(|scope| {
            let start = |place| {
                let (curves, people, live) = (&curves, &people, &live);
                scope.spawn(move || {
                    let schedule = Schedule::new(curves, self.seed, place, self.workers);
                    let fates = Fates::new(self.scenario.crowd.people, place, self.workers);
                    let worker = worker::Worker::new(self, target.session(), people, live, place, schedule, fates);
                    worker.work()
                })
            };
            let threads: Vec<_> = (0..self.workers).map(start).collect();
            while threads.iter().any(|thread| !thread.is_finished()) {
                thread::park_timeout(SHOWN_EVERY);
                observe(&live.progress(self.clock));
            }
            let join = |(place, thread): (usize, thread::ScopedJoinHandle<'_, _>)| {
                thread.join().map_err(|_| RunError::Worker(place))
            };
            threads.into_iter().enumerate().map(join).collect::<Result<Vec<_>, _>>()
        })?;
        Ok(self.merge(opening, logs))
    }

    fn merge(&self, opening: Opening, logs: Vec<worker::WorkerLog>) -> Outcome {
        let mut outcome = Outcome {
            opening,
            counts: Counts::default(),
            holds: Vec::new(),
            sales: vec![SaleLog::default(); self.scenario.sales.len()],
            latencies: Latencies::default(),
            confirmations: Latencies::default(),
            ended_ns: 0,
            generator_cpu_ns: 0,
            // Relaxed: the flag is the whole message, and the workers that saw it have been joined.
            interrupted: self.stop.load(Ordering::Relaxed),
            failures: self.acks.and_then(AckLog::failure).into_iter().collect(),
        };
        for log in logs {
            outcome.counts.merge(&log.counts);
            outcome.holds.extend(log.holds);
            for (all, one) in outcome.sales.iter_mut().zip(log.sales) {
                all.merge(one);
            }
            outcome.latencies.merge(&log.latencies);
            outcome.confirmations.merge(&log.confirmations);
            outcome.ended_ns = outcome.ended_ns.max(log.ended_ns);
            outcome.generator_cpu_ns += log.cpu_ns.saturating_sub(log.in_target_ns);
            outcome.failures.extend(log.failure);
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
