//! The report of a run: one value, from which every output is made.
//!
//! Its JSON form is a contract (`schema`): fields are added, never renamed.

mod output;
mod text;

use std::{collections::BTreeMap, time::SystemTime};

use serde::Serialize;

pub(crate) use self::text::grouped;
pub use self::{
    output::{Output, OutputError},
    text::{Style, render},
};
use crate::{
    exit::Exit,
    measure::{Latencies, MeasuringCost, Percentiles},
    number::{count, millis, nanos, real, whole},
    play::{HoldFigures, Settings, UNSENT_BOUND},
    runner::Outcome,
    scenario::SalePlan,
    target::{Refusal, Totals},
    verify::{Books, Invariant, LedgerFigures, Proof, SaleProof},
};

/// The version of the report's form.
pub const SCHEMA: &str = "sellout-loadgen/1";

/// Whether the latencies are the target's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Verdict {
    /// The generator kept to its schedule.
    Valid,
    /// It did not: what the latencies say is about the generator.
    GeneratorLimited,
}

/// How a run ended, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Ending {
    /// It came to its end, and every invariant holds.
    SoldRight,
    /// An invariant is broken.
    SoldWrong,
    /// Something failed, so that the sale or its proof is not whole; what was checked holds.
    CouldNotFinish,
    /// Somebody stopped it; what was checked holds.
    StoppedByHand,
}

/// All that is known about a run.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct Report {
    /// The version of the report's form.
    pub schema: &'static str,
    /// The scenario's name.
    pub scenario: String,
    /// What happened, in a line.
    pub story: String,
    /// What was sold to.
    pub target: String,
    /// The master seed.
    pub seed: u64,
    /// Whether the latencies are the target's.
    pub verdict: Verdict,
    /// Why the verdict is what it is.
    pub verdict_reason: String,
    /// How the run ended.
    pub ending: Ending,
    /// Whether the run was stopped by hand.
    pub interrupted: bool,
    /// Whether the shop had sales of an earlier run.
    pub resumed: bool,
    /// How many scenario seconds a real one had.
    pub speed: f64,
    /// When the run started, in UTC.
    pub started_at: String,
    /// Real time from the start to the end, in milliseconds.
    pub duration_ms: u64,
    /// Scenario time from the start to the end, in milliseconds.
    pub scenario_ms: u64,
    /// The crowd.
    pub crowd: CrowdFigures,
    /// Each sale.
    pub sales: Vec<SaleFigures>,
    /// The requests.
    pub requests: RequestFigures,
    /// Requests for units, and giving back.
    pub latency_ns: LatencyFigures,
    /// Confirmations, until they were acknowledged.
    pub confirm_latency_ns: LatencyFigures,
    /// What is in the journal, if there is one.
    pub journal: Option<JournalFigures>,
    /// What is in the ledger, if there is one.
    pub ledger: Option<LedgerFigures>,
    /// What was checked.
    pub invariants: Vec<Invariant>,
    /// What went wrong in the target or around it.
    pub failures: Vec<String>,
    /// What measuring one request cost, in nanoseconds.
    pub clock_cost_ns: MeasuringCost,
    /// Worker threads.
    pub threads: u64,
    /// The processors that the generator itself used, the target left out.
    pub generator_cpu_share: f64,
    /// The command line.
    pub command_line: Vec<String>,
}

/// Who came.
#[derive(Debug, Clone, Serialize)]
pub struct CrowdFigures {
    /// People.
    pub people: u64,
    /// First visits that the arrival curves ask for.
    pub visits: u64,
}

/// One sale, by the replies; `added` and `withdrawn` by the target.
#[derive(Debug, Clone, Serialize)]
pub struct SaleFigures {
    /// Its name.
    pub sale: String,
    /// Units at the start.
    pub stock: u64,
    /// Units added since.
    pub added: u64,
    /// Units withdrawn since.
    pub withdrawn: u64,
    /// Units sold.
    pub sold: u64,
    /// Units sold by an earlier run, included in `sold`.
    pub sold_before: u64,
    /// Units on hold at the end.
    pub held: u64,
    /// Units left.
    pub free: u64,
    /// Units whose confirmation has an unknown outcome.
    pub unknown: u64,
    /// Units beyond the stock.
    pub oversold: u64,
    /// Units left over although somebody was refused while they were free.
    pub undersold: u64,
    /// Buyers above the cap.
    pub over_cap: u64,
    /// Scenario milliseconds from the opening until the last unit was sold.
    pub sold_out_ms: Option<u64>,
    /// Scenario milliseconds from the opening until no unit was free.
    pub all_held_ms: Option<u64>,
}

/// The requests, and what became of them.
#[derive(Debug, Clone, Serialize)]
pub struct RequestFigures {
    /// Requests that were due.
    pub offered: u64,
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
    /// Holds that were granted.
    pub held: u64,
    /// Holds that became sales.
    pub confirmed: u64,
    /// Sales among them that were paid after the hold had run out.
    pub paid_late: u64,
    /// Holds that were given back.
    pub cancelled: u64,
    /// Holds that ran out.
    pub expired: u64,
    /// Holds that were still open at the end.
    pub still_held: u64,
    /// Holds whose confirmation has an unknown outcome.
    pub unknown: u64,
    /// Registrations among those that were sent.
    pub registers: u64,
    /// Requests for baskets among the requests for units.
    pub baskets: u64,
    /// Requests to join a queue among those that were sent.
    pub joins: u64,
    /// Questions whether the turn has come among those that were sent.
    pub looks: u64,
    /// Holds that were offered to somebody whose turn had come, included in `held`.
    pub turns: u64,
    /// Requests to leave a queue among those that were sent.
    pub leaves: u64,
    /// Offers that were accepted first among those that were sent.
    pub accepts: u64,
    /// Buyers who told others.
    pub shares: u64,
    /// People who came because of that.
    pub drawn: u64,
    /// Refusals by reason.
    pub refused: BTreeMap<&'static str, u64>,
}

/// The three latencies, in nanoseconds of real time.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct LatencyFigures {
    /// How many requests they are of.
    pub count: u64,
    /// False if the generator was the limit: the figures are not the target's.
    pub of_target: bool,
    /// From the intended start to the end.
    pub response: Percentiles,
    /// From the real start to the end.
    pub service: Percentiles,
    /// From the intended to the real start.
    pub lag: Percentiles,
}

/// The journal's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct JournalFigures {
    /// Records of every kind.
    pub records: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// Confirmed sales.
    pub sales: u64,
}

impl Report {
    #[expect(clippy::too_many_arguments, reason = "the one place where all that a run leaves comes together")]
    pub(crate) fn new(
        settings: &Settings,
        target: &str,
        started_at: SystemTime,
        cost: MeasuringCost,
        outcome: &Outcome,
        holds: HoldFigures,
        proof: Proof,
        books: &Books,
    ) -> Self {
        let (verdict, verdict_reason) = verdict(settings, outcome);
        let of_target = verdict == Verdict::Valid;
        let scenario = &settings.scenario;
        let sales = scenario.sales.iter().zip(&proof.sales).enumerate();
        let broken = proof.invariants.iter().any(|invariant| !invariant.holds);
        let ending = match (broken, outcome.failures.is_empty(), outcome.interrupted) {
            (true, ..) => Ending::SoldWrong,
            (false, _, true) => Ending::StoppedByHand,
            (false, false, false) => Ending::CouldNotFinish,
            (false, true, false) => Ending::SoldRight,
        };
        Self {
            schema: SCHEMA,
            scenario: scenario.name.clone(),
            story: scenario.story.clone(),
            target: target.to_owned(),
            seed: settings.seed,
            verdict,
            verdict_reason,
            ending,
            interrupted: outcome.interrupted,
            resumed: outcome.opening.sales.iter().any(|sale| sale.resumed),
            speed: settings.speed.0,
            started_at: humantime::format_rfc3339_millis(started_at).to_string(),
            duration_ms: outcome.ended_ns / 1_000_000,
            scenario_ms: millis(settings.clock.at_real_ns(outcome.ended_ns).since(settings.clock.base())),
            crowd: CrowdFigures { people: scenario.crowd.people.into(), visits: whole(scenario.visits().round()) },
            sales: sales
                .map(|(place, (plan, proof))| SaleFigures::new(plan, proof, books.totals.get(place).copied().flatten()))
                .collect(),
            requests: RequestFigures::new(outcome, holds),
            latency_ns: LatencyFigures::new(&outcome.latencies, of_target),
            confirm_latency_ns: LatencyFigures::new(&outcome.confirmations, of_target),
            journal: books.journal.as_ref().map(|journal| JournalFigures {
                records: journal.records,
                bytes: journal.bytes,
                sales: count(journal.sales.len()),
            }),
            ledger: proof.ledger,
            invariants: proof.invariants,
            failures: outcome.failures.clone(),
            clock_cost_ns: cost,
            threads: count(settings.workers),
            generator_cpu_share: outcome.generator_cpu_share(),
            command_line: settings.command_line.clone(),
        }
    }

    /// The exit code that this report asks for.
    #[must_use]
    pub fn exit(&self) -> Exit {
        match (self.ending, self.verdict) {
            (Ending::SoldWrong, _) => Exit::InvariantBroken,
            (Ending::StoppedByHand, _) => Exit::Interrupted,
            (Ending::CouldNotFinish, _) => Exit::CouldNotRun,
            (Ending::SoldRight, Verdict::GeneratorLimited) => Exit::GeneratorLimited,
            (Ending::SoldRight, Verdict::Valid) => Exit::Good,
        }
    }
}

fn verdict(settings: &Settings, outcome: &Outcome) -> (Verdict, String) {
    let lag = outcome.latencies.lag.value_at_quantile(0.99);
    let bound = nanos(settings.lag_bound);
    let (unsent, offered) = (outcome.counts.unsent, outcome.counts.offered());
    let lag_text = humantime::format_duration(std::time::Duration::from_micros(lag / 1_000));
    let bound_text = humantime::format_duration(settings.lag_bound);
    let unsent_bound = UNSENT_BOUND * 100.0;
    if lag > bound {
        (Verdict::GeneratorLimited, format!("the schedule lag is {lag_text} at p99, the bound is {bound_text}"))
    } else if real(unsent) > UNSENT_BOUND * real(offered) && !outcome.interrupted {
        let reason = format!("{unsent} of {offered} requests were not sent, the bound is {unsent_bound}%");
        (Verdict::GeneratorLimited, reason)
    } else {
        let reason =
            format!("schedule lag {lag_text} at p99 (bound {bound_text}), {unsent} unsent (bound {unsent_bound}%)");
        (Verdict::Valid, reason)
    }
}

impl SaleFigures {
    fn new(plan: &SalePlan, proof: &SaleProof, totals: Option<Totals>) -> Self {
        let stock = u64::from(plan.stock);
        // Holds run out while the target is asked: within what the replies allow, its own figure is the exact one.
        let held = totals.map_or(proof.held, |totals| totals.held.clamp(proof.held_surely, proof.held));
        let totals = totals.unwrap_or_default();
        let offered = (stock + totals.added).saturating_sub(totals.withdrawn);
        Self {
            sale: plan.name.clone(),
            stock,
            added: totals.added,
            withdrawn: totals.withdrawn,
            sold: proof.sold,
            sold_before: proof.sold_before,
            held,
            free: offered.saturating_sub(proof.sold + proof.unknown + held),
            unknown: proof.unknown,
            oversold: proof.oversold,
            undersold: proof.undersold,
            over_cap: proof.over_cap,
            sold_out_ms: proof.sold_out_ms,
            all_held_ms: proof.all_held_ms,
        }
    }
}

impl RequestFigures {
    fn new(outcome: &Outcome, holds: HoldFigures) -> Self {
        let counts = &outcome.counts;
        let refused = Refusal::NAMES.iter().zip(counts.refused).filter(|(_, times)| *times > 0);
        Self {
            offered: counts.offered(),
            started: counts.started,
            completed: counts.completed,
            unsent: counts.unsent,
            reserves: counts.reserves,
            confirms: counts.confirms,
            cancels: counts.cancels,
            held: holds.held,
            confirmed: holds.confirmed,
            paid_late: holds.paid_late,
            cancelled: holds.cancelled,
            expired: holds.expired,
            still_held: holds.still_held,
            unknown: holds.unknown,
            registers: counts.registers,
            baskets: counts.baskets,
            joins: counts.joins,
            looks: counts.looks,
            turns: counts.offered,
            leaves: counts.leaves,
            accepts: counts.accepts,
            shares: counts.shares,
            drawn: counts.drawn,
            refused: refused.map(|(name, times)| (*name, times)).collect(),
        }
    }
}

impl LatencyFigures {
    fn new(latencies: &Latencies, of_target: bool) -> Self {
        Self {
            count: latencies.response.len(),
            of_target,
            response: Percentiles::from(&latencies.response),
            service: Percentiles::from(&latencies.service),
            lag: Percentiles::from(&latencies.lag),
        }
    }
}
