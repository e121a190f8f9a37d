//! The checks of one sale, from its holds and the summary of its refusals.

use super::{
    Scene,
    changes::{At, Changes},
    invariant::Invariants,
    log::{HoldEnd, HoldRecord, QueueRecord, SaleLog},
    people, seconds, signed,
    timeline::Timeline,
    window,
};
use crate::{
    number::{count, millis},
    scenario::SalePlan,
};

/// The figures of one sale, from the replies alone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SaleProof {
    /// Units sold before this run.
    pub sold_before: u64,
    /// Units sold, those before this run included.
    pub sold: u64,
    /// Units whose confirmation has an unknown outcome.
    pub unknown: u64,
    /// Units still on hold at the end.
    pub held: u64,
    /// Units among them that can't have run out before the target told its sums.
    pub held_surely: u64,
    /// Units beyond the stock that were taken at some instant.
    pub oversold: u64,
    /// Units added while it ran.
    pub added: u64,
    /// Units withdrawn while it ran.
    pub withdrawn: u64,
    /// Requests for units.
    pub asked: u64,
    /// Units left over although somebody was refused while they were free.
    pub undersold: u64,
    /// Buyers who held and bought more than their cap at some instant.
    pub over_cap: u64,
    /// Scenario milliseconds from the opening until the last unit was sold.
    pub sold_out_ms: Option<u64>,
    /// Scenario milliseconds from the opening until no unit was free for the first time.
    pub all_held_ms: Option<u64>,
}

/// What is known of one sale.
#[derive(Clone, Copy)]
pub(super) struct OfSale<'a> {
    pub(super) place: usize,
    /// Ordered by buyer.
    pub(super) holds: &'a [HoldRecord],
    pub(super) queues: &'a [QueueRecord],
    pub(super) log: &'a SaleLog,
}

/// Checks one sale.
pub(super) fn check(scene: &Scene<'_>, of_sale: &OfSale<'_>, invariants: &mut Invariants) -> SaleProof {
    let OfSale { place, holds, queues: _, log } = *of_sale;
    let plan = &scene.sales[place];
    let changes = Changes::of(scene, place);
    let certain = certainly_taken(scene, place, holds, &changes);
    let possible = possibly_taken(scene, of_sale, &changes);
    let confirmed = confirmations(scene, place, holds, &changes);
    let mut proof = sums(scene, place, holds);
    (proof.added, proof.withdrawn, proof.asked) = (changes.added(), changes.withdrawn(), log.asked);
    // Units that are added later count as taken until then.
    let stock = i64::from(plan.stock) + signed(proof.added);
    let since_opening = |instant: u64| millis(scene.clock.at_real_ns(instant).since(scene.opens_at(place)));
    proof.all_held_ms = certain.first_at(stock).map(since_opening);
    proof.sold_out_ms = confirmed.replied.last_since(stock).map(since_opening);

    let (peak, at) = certain.peak();
    proof.oversold = u64::try_from((peak - stock).max(0)).unwrap_or(0);
    let too_many =
        (peak > stock).then(|| format!("{}: {peak} units of {stock} were held or sold at {}", plan.name, seconds(at)));
    invariants.check("no_oversell", too_many, || format!("{}: at most {peak} of {stock} units taken", plan.name));

    let false_refusal = log.witnesses.iter().find(|witness| {
        let taken = possible.highest_in(witness.exchange.called_ns, witness.exchange.replied_ns);
        taken + i64::from(witness.quantity) <= stock
    });
    if false_refusal.is_some() {
        let offered = u64::from(plan.stock) + proof.added;
        let left = offered.saturating_sub(proof.withdrawn + proof.sold + proof.unknown + proof.held);
        proof.undersold = left;
    }
    let refused = false_refusal.map(|witness| {
        let taken = possible.highest_in(witness.exchange.called_ns, witness.exchange.replied_ns);
        let (when, units) = (seconds(witness.exchange.called_ns), witness.quantity);
        format!(
            "{}: a request for {units} was refused at {when} while at most {taken} of {stock} were taken",
            plan.name
        )
    });
    invariants.check("no_undersell", refused, || {
        format!("{}: {} refusals for want of stock, none while a unit was free", plan.name, log.witnesses.len())
    });

    invariants.check("sold_out_is_true", false_sold_out(plan, stock, log, &confirmed), || {
        format!("{}: said only once every unit was sold, and nothing else after that", plan.name)
    });
    let fault = holds.iter().find_map(|hold| hold.fault.map(|fault| (hold, fault)));
    let two_ends = fault.map(|(hold, fault)| format!("{}: the hold of buyer {}: {fault:?}", plan.name, hold.buyer));
    invariants.check("one_end", two_ends, || format!("{}: {} holds, one end each", plan.name, holds.len()));
    people::check(scene, of_sale, &changes, &mut proof, invariants);
    window::check(scene, of_sale, &changes, invariants);
    proof
}

/// When units were confirmed, at the earliest and at the latest.
struct Confirmations {
    called: Timeline,
    replied: Timeline,
}

fn confirmations(scene: &Scene<'_>, place: usize, holds: &[HoldRecord], changes: &Changes<'_>) -> Confirmations {
    let (before, _) = scene.before(place);
    let mut called = Timeline::starting_at(signed(before));
    let mut replied = Timeline::starting_at(signed(before));
    changes.take_what_is_not_there(&mut called, At::Reply, At::Call);
    changes.take_what_is_not_there(&mut replied, At::Call, At::Reply);
    for hold in holds {
        match hold.end {
            HoldEnd::Sold(exchange) | HoldEnd::SoldLate(exchange) => {
                called.take(i64::from(hold.quantity), exchange.called_ns, u64::MAX);
                replied.take(i64::from(hold.quantity), exchange.replied_ns, u64::MAX);
            }
            HoldEnd::Unknown { called_ns } => called.take(i64::from(hold.quantity), called_ns, u64::MAX),
            _ => {}
        }
    }
    Confirmations { called: called.build(), replied: replied.build() }
}

fn false_sold_out(plan: &SalePlan, stock: i64, log: &SaleLog, confirmed: &Confirmations) -> Option<String> {
    let all_called = confirmed.called.first_at(stock).unwrap_or(u64::MAX);
    if log.first_sold_out_ns < all_called {
        let when = seconds(log.first_sold_out_ns);
        return Some(format!("{}: \"sold out\" was said at {when}, before every unit was paid", plan.name));
    }
    let asked_ns = log.last_all_held_ns;
    let all_sold = confirmed.replied.lowest_in(asked_ns, asked_ns.saturating_add(Scene::slack_ns())) >= stock;
    (asked_ns > 0 && all_sold).then(|| {
        let when = seconds(log.last_all_held_ns);
        format!("{}: \"all held\" was said at {when}, when every unit was sold", plan.name)
    })
}

fn sums(scene: &Scene<'_>, place: usize, holds: &[HoldRecord]) -> SaleProof {
    let (sold_before, held_before) = scene.before(place);
    let mut proof = SaleProof { sold_before, sold: sold_before, ..SaleProof::default() };
    if scene.ended_ns < scene.earlier_holds_over_ns(place) {
        proof.held = held_before;
    }
    for hold in holds {
        let units = u64::from(hold.quantity);
        match hold.end {
            HoldEnd::Sold(_) | HoldEnd::SoldLate(_) => proof.sold += units,
            HoldEnd::Unknown { .. } => proof.unknown += units,
            HoldEnd::Open if !hold.is_expired(scene.ended_ns) => {
                proof.held += units;
                if hold.lapses_ns > scene.told_ns {
                    proof.held_surely += units;
                }
            }
            HoldEnd::Open | HoldEnd::Cancelled(_) | HoldEnd::Lapsed => {}
        }
    }
    proof
}

fn certainly_taken(scene: &Scene<'_>, place: usize, holds: &[HoldRecord], changes: &Changes<'_>) -> Timeline {
    let (sold_before, _) = scene.before(place);
    let mut timeline = Timeline::starting_at(signed(sold_before));
    changes.take_what_is_not_there(&mut timeline, At::Call, At::Reply);
    for hold in holds {
        take_certainly(hold, &mut timeline);
    }
    timeline.build()
}

pub(super) fn take_certainly(hold: &HoldRecord, timeline: &mut Timeline) {
    let units = i64::from(hold.quantity);
    match hold.end {
        HoldEnd::Sold(_) => timeline.take(units, hold.held_ns, u64::MAX),
        HoldEnd::SoldLate(exchange) => {
            timeline.take(units, hold.held_ns, hold.deadline_ns);
            timeline.take(units, exchange.replied_ns.max(hold.deadline_ns), u64::MAX);
        }
        HoldEnd::Cancelled(exchange) => timeline.take(units, hold.held_ns, exchange.called_ns),
        HoldEnd::Open | HoldEnd::Lapsed | HoldEnd::Unknown { .. } => {
            timeline.take(units, hold.held_ns, hold.deadline_ns);
        }
    }
}

fn possibly_taken(scene: &Scene<'_>, of_sale: &OfSale<'_>, changes: &Changes<'_>) -> Timeline {
    let OfSale { place, holds, queues, log } = *of_sale;
    let mut timeline = Timeline::starting_at(0);
    take_possibly(scene, place, holds, changes, &mut timeline);
    for queue in queues {
        // Whoever waits may have an offer that nobody has seen yet.
        timeline.take(1, queue.joined.called_ns, queue.resolved_ns());
    }
    for shadow in &log.shadows {
        timeline.take(shadow.units.into(), shadow.exchange.called_ns, shadow.exchange.replied_ns);
    }
    timeline.build()
}

/// What holds, sales and changes may have taken.
pub(super) fn take_possibly(
    scene: &Scene<'_>,
    place: usize,
    holds: &[HoldRecord],
    changes: &Changes<'_>,
    timeline: &mut Timeline,
) {
    let (sold_before, held_before) = scene.before(place);
    timeline.take(signed(sold_before), 0, u64::MAX);
    timeline.take(signed(held_before), 0, scene.earlier_holds_over_ns(place));
    changes.take_what_is_not_there(timeline, At::Reply, At::Call);
    for hold in holds {
        let units = i64::from(hold.quantity);
        let lapsed_ns = hold.lapses_ns.saturating_add(Scene::slack_ns());
        match hold.end {
            HoldEnd::Sold(_) | HoldEnd::Unknown { .. } => timeline.take(units, hold.called_ns, u64::MAX),
            HoldEnd::SoldLate(exchange) => {
                timeline.take(units, hold.called_ns, lapsed_ns.min(exchange.called_ns));
                timeline.take(units, exchange.called_ns, u64::MAX);
            }
            HoldEnd::Cancelled(exchange) => timeline.take(units, hold.called_ns, exchange.replied_ns),
            HoldEnd::Open | HoldEnd::Lapsed => timeline.take(units, hold.called_ns, lapsed_ns),
        }
    }
}

/// Units of `holds` together; used where figures are compared.
pub(super) fn sales_in(holds: &[HoldRecord]) -> u64 {
    count(holds.iter().filter(|hold| hold.is_sold()).count())
}
