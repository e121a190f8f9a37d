//! The report of a run: one value, from which every output is made.
//!
//! Its JSON form is a contract (`schema`): fields are added, never renamed.

mod figures;
mod output;
mod story;
mod text;

use std::{cmp::Reverse, time::SystemTime};

use serde::Serialize;

pub(crate) use self::text::grouped;
pub use self::{
    figures::{CrowdFigures, JournalFigures, LatencyFigures, RequestFigures, SaleFigures, SaleSums, UnitFigures},
    output::{Output, OutputError},
    story::{
        BasketFigures, ChangeFigures, ReopenFigures, ResourceFigures, SharingFigures, StageFigures, WaitlistFigures,
    },
    text::{Style, render},
};
use crate::{
    exit::Exit,
    measure::MeasuringCost,
    number::{count, millis, nanos, real, whole},
    play::{Played, Settings, UNSENT_BOUND},
    runner::Outcome,
    scenario::Scenario,
    verify::{Books, FaceFigures, Invariant, LedgerFigures, MessageFigures, Proof},
};

/// At most so many sales are in a report: of more, those that most people asked for.
pub const SALES_LISTED: usize = 100;

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
    /// Each sale; of more than [`SALES_LISTED`] those that most people asked for.
    pub sales: Vec<SaleFigures>,
    /// All sales together.
    pub sums: SaleSums,
    /// Each stage, in the order of the story.
    pub stages: Vec<StageFigures>,
    /// The messages, if there were any.
    pub messages: Option<MessageFigures>,
    /// The sales whose units can be told apart; at most [`SALES_LISTED`].
    pub faces: Vec<FaceFigures>,
    /// Baskets, if there were any.
    pub baskets: Option<BasketFigures>,
    /// Queues, if anybody waited.
    pub waitlist: Option<WaitlistFigures>,
    /// Who told others, if anybody did.
    pub sharing: Option<SharingFigures>,
    /// What was changed while the crowd was there.
    pub changes: Vec<ChangeFigures>,
    /// What the sales cost their target, if it tells.
    pub resources: Option<ResourceFigures>,
    /// A second one that was opened on a copy of the journal, if that was tried.
    pub reopened: Option<ReopenFigures>,
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

impl Report {
    #[expect(clippy::too_many_arguments, reason = "the one place where all that a run leaves comes together")]
    pub(crate) fn new(
        settings: &Settings,
        target: &str,
        started_at: SystemTime,
        cost: MeasuringCost,
        outcome: &Outcome,
        played: Played,
        mut proof: Proof,
        books: &Books,
    ) -> Self {
        let (verdict, verdict_reason) = verdict(settings, outcome);
        let of_target = verdict == Verdict::Valid;
        let scenario = &settings.scenario;
        let (sales, sums) = sales(scenario, &proof, books);
        proof.faces.truncate(SALES_LISTED);
        let shares = outcome.counts.shares;
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
            sales,
            sums,
            stages: scenario
                .stages
                .iter()
                .zip(&outcome.stages)
                .map(|(name, log)| StageFigures::of(name, log))
                .collect(),
            messages: proof.messages,
            faces: proof.faces,
            baskets: BasketFigures::of(outcome, played.baskets),
            waitlist: WaitlistFigures::of(outcome, played.queues),
            sharing: (shares > 0).then_some(SharingFigures { shares, drawn: outcome.counts.drawn }),
            changes: outcome.changes.iter().map(|record| ChangeFigures::of(scenario, record)).collect(),
            resources: books.resources.map(ResourceFigures::from),
            reopened: books.reopened.as_ref().map(ReopenFigures::from),
            requests: RequestFigures::new(outcome, played.holds),
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

/// The sales that are listed, and the sums of all.
fn sales(scenario: &Scenario, proof: &Proof, books: &Books) -> (Vec<SaleFigures>, SaleSums) {
    let figures = |place: usize| {
        let totals = books.totals.get(place).copied().flatten();
        SaleFigures::new(&scenario.sales[place], &proof.sales[place], totals)
    };
    let mut sums = SaleSums::default();
    let mut places: Vec<usize> = (0..scenario.sales.len()).inspect(|place| sums.add(&figures(*place))).collect();
    if places.len() > SALES_LISTED {
        places.sort_by_key(|place| Reverse((proof.sales[*place].asked, proof.sales[*place].sold)));
        places.truncate(SALES_LISTED);
    }
    (places.into_iter().map(figures).collect(), sums)
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
