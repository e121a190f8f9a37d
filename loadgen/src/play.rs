//! A whole run against any target: play, ask the target for its books, prove, report.

use std::{
    collections::{HashMap, HashSet},
    mem,
    sync::{Arc, atomic::AtomicBool},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use crate::{
    clock::ScaledClock,
    measure::MeasuringCost,
    number::millis,
    people::People,
    report::Report,
    runner::{Ack, AckLog, Outcome, Progress, Run, RunError},
    scenario::Scenario,
    target::{Opening, OrderId, Target, TargetError},
    units::Speed,
    verify::{Books, Invariant, Replies, Scene, log::QueueFate, verify},
};

/// The schedule lag at the 99th percentile up to which latencies are the target's.
pub const LAG_BOUND: Duration = Duration::from_millis(50);

/// The share of requests that may stay unsent in a valid run.
pub const UNSENT_BOUND: f64 = 0.001;

/// How a scenario is played.
#[derive(Debug)]
pub struct Settings {
    /// The scenario.
    pub scenario: Scenario,
    /// How many scenario seconds a real one has.
    pub speed: Speed,
    /// The master seed.
    pub seed: u64,
    /// How many worker threads.
    pub workers: usize,
    /// The run's clock, the same that the target has.
    pub clock: Arc<ScaledClock>,
    /// Set by whoever wants the run to stop.
    pub stop: Arc<AtomicBool>,
    /// Where acknowledged confirmations are written.
    pub acks: Option<AckLog>,
    /// What was acknowledged before this run.
    pub earlier_acks: Vec<Ack>,
    /// The schedule lag at the 99th percentile up to which latencies are the target's.
    pub lag_bound: Duration,
    /// The command line, for the report.
    pub command_line: Vec<String>,
}

/// Plays a scenario against `target`; `observe` sees how far it is.
///
/// # Errors
/// [`RunError`] if the target can't be used, or a worker dies.
pub fn play<T: Target>(
    target: &T,
    settings: &Settings,
    observe: &mut dyn FnMut(&Progress),
) -> Result<Report, RunError> {
    let cost = MeasuringCost::measured();
    let started_at = SystemTime::now();
    let since_epoch = started_at.duration_since(UNIX_EPOCH).unwrap_or_default();
    let run = Run {
        scenario: &settings.scenario,
        seed: settings.seed,
        workers: settings.workers.max(1),
        clock: &settings.clock,
        stop: &settings.stop,
        acks: settings.acks.as_ref(),
        nonce: millis(since_epoch),
    };
    let mut outcome = run.play(target, observe)?;
    let books = books(target, &settings.scenario, &mut outcome);
    let told_ns = settings.clock.elapsed_ns();
    let replies = Replies {
        holds: mem::take(&mut outcome.holds),
        sales: mem::take(&mut outcome.sales),
        queues: mem::take(&mut outcome.queues),
        registrations: mem::take(&mut outcome.registrations),
    };
    let people = People::new(&settings.scenario, settings.seed);
    let registered = || -> Box<dyn Iterator<Item = u64>> { Box::new(people.registered_buyers()) };
    let scene = Scene {
        sales: &settings.scenario.sales,
        opening: &outcome.opening,
        clock: &settings.clock,
        ended_ns: outcome.ended_ns,
        changes: &outcome.changes,
        registered: &registered,
        told_ns,
    };
    let played = Played::of(&replies, told_ns);
    let mut proof = verify(&scene, replies, &books);
    proof.invariants.extend(acknowledged_kept(&outcome.opening, &settings.earlier_acks));
    Ok(Report::new(settings, target.name(), started_at, cost, &outcome, played, proof, &books))
}

/// What the replies come to, before they are judged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Played {
    pub(crate) holds: HoldFigures,
    pub(crate) baskets: BasketCounts,
    pub(crate) queues: QueueCounts,
}

/// What became of the baskets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct BasketCounts {
    pub(crate) held: u64,
    pub(crate) lines: u64,
    pub(crate) units: u64,
    pub(crate) sold: u64,
}

/// What became of those who waited.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct QueueCounts {
    pub(crate) offered: u64,
    pub(crate) paid: u64,
    pub(crate) left: u64,
    pub(crate) gone: u64,
    pub(crate) waiting: u64,
}

impl Played {
    fn of(replies: &Replies, told_ns: u64) -> Self {
        let mut played = Self { holds: HoldFigures::of(&replies.holds, told_ns), ..Self::default() };
        for hold in &replies.holds {
            if hold.basket.is_some() {
                let counts = &mut played.baskets;
                counts.held += u64::from(hold.is_first_line());
                counts.sold += u64::from(hold.is_first_line() && hold.is_sold());
                counts.lines += 1;
                counts.units += u64::from(hold.quantity);
            }
            played.queues.paid += u64::from(hold.offered && hold.is_sold());
        }
        for queue in &replies.queues {
            let fates = &mut played.queues;
            *match queue.fate {
                QueueFate::Waiting => &mut fates.waiting,
                QueueFate::Offered(_) => &mut fates.offered,
                QueueFate::Left(_) => &mut fates.left,
                QueueFate::Gone(_) => &mut fates.gone,
            } += 1;
        }
        played
    }
}

/// What became of the accepted holds, in holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct HoldFigures {
    pub(crate) held: u64,
    pub(crate) confirmed: u64,
    pub(crate) paid_late: u64,
    pub(crate) cancelled: u64,
    pub(crate) expired: u64,
    pub(crate) still_held: u64,
    pub(crate) unknown: u64,
}

impl HoldFigures {
    /// As the target has them at `told_ns`, when it has ended what ran out; a basket is one hold.
    fn of(holds: &[crate::verify::log::HoldRecord], told_ns: u64) -> Self {
        use crate::verify::log::HoldEnd;
        let mut figures = Self::default();
        for hold in holds.iter().filter(|hold| hold.is_first_line()) {
            figures.held += 1;
            match hold.end {
                HoldEnd::Sold(_) => figures.confirmed += 1,
                HoldEnd::SoldLate(_) => {
                    figures.confirmed += 1;
                    figures.paid_late += 1;
                }
                HoldEnd::Cancelled(_) => figures.cancelled += 1,
                HoldEnd::Lapsed => figures.expired += 1,
                HoldEnd::Open if hold.lapses_ns <= told_ns => figures.expired += 1,
                HoldEnd::Unknown { .. } => figures.unknown += 1,
                HoldEnd::Open => figures.still_held += 1,
            }
        }
        figures
    }
}

/// Asks the target for its books; what it should tell and can't is a failure of the run.
fn books<T: Target>(target: &T, scenario: &Scenario, outcome: &mut Outcome) -> Books {
    fn told<V>(answer: Result<Option<V>, TargetError>, failures: &mut Vec<String>) -> Option<V> {
        answer.unwrap_or_else(|error| {
            failures.push(error.to_string());
            None
        })
    }
    let failures = &mut outcome.failures;
    told(target.settle().map(Some), failures);
    let totals = (0..scenario.sales.len()).map(|place| told(target.totals(place), failures)).collect();
    let mut faces = HashMap::new();
    for (place, _) in scenario.sales.iter().enumerate().filter(|(_, plan)| plan.has_faces()) {
        if let Some(figures) = told(target.faces(place), failures) {
            faces.insert(place, figures);
        }
    }
    Books {
        totals,
        faces,
        messages: told(target.messages(), failures),
        journal: told(target.journal(), failures),
        ledger: told(target.ledger(), failures),
        reopened: told(target.reopened(), failures),
        resources: target.resources(),
    }
}

/// Everything that was acknowledged before this run was there when the target was opened again.
fn acknowledged_kept(opening: &Opening, earlier: &[Ack]) -> Option<Invariant> {
    if earlier.is_empty() {
        return None;
    }
    let recovered = opening.sales.iter().flat_map(|sale| &sale.confirmed);
    let recovered = recovered.map(|sale| (sale.sale.as_str(), sale.order));
    Some(kept(earlier, &recovered.collect()))
}

/// Whether every acknowledged confirmation is among those that were found.
pub(crate) fn kept(acks: &[Ack], found: &HashSet<(&str, OrderId)>) -> Invariant {
    let is_lost = |ack: &&Ack| !found.contains(&(ack.sale.as_str(), ack.order));
    let lost = acks.iter().filter(is_lost).count();
    let evidence = match acks.iter().find(is_lost) {
        Some(ack) => format!(
            "{lost} of {} acknowledged confirmations are missing, the first is order {} of {} (payment {})",
            acks.len(),
            ack.order,
            ack.sale,
            ack.payment
        ),
        None => format!("{} acknowledged confirmations, all of them recovered", acks.len()),
    };
    Invariant { name: "acknowledged_kept", holds: lost == 0, evidence }
}
