//! The checks of one sale, from its holds and the summary of its refusals.

use super::{
    Scene,
    invariant::Invariants,
    log::{HoldEnd, HoldRecord, SaleLog},
    timeline::Timeline,
};
use crate::{
    number::{count, millis, real},
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
    /// Units left over although somebody was refused while they were free.
    pub undersold: u64,
    /// Buyers who held and bought more than their cap at some instant.
    pub over_cap: u64,
    /// Scenario milliseconds from the opening until the last unit was sold.
    pub sold_out_ms: Option<u64>,
    /// Scenario milliseconds from the opening until no unit was free for the first time.
    pub all_held_ms: Option<u64>,
}

/// Checks one sale; `holds` are its own, ordered by buyer.
pub(super) fn check(
    scene: &Scene<'_>,
    place: usize,
    holds: &[HoldRecord],
    log: &SaleLog,
    invariants: &mut Invariants,
) -> SaleProof {
    let plan = &scene.sales[place];
    let stock = i64::from(plan.stock);
    let certain = certainly_taken(scene, place, holds);
    let possible = possibly_taken(scene, place, holds);
    let confirmed = confirmations(scene, place, holds);
    let mut proof = sums(scene, place, holds);
    let since_opening = |instant: u64| millis(scene.clock.at_real_ns(instant).since(scene.opens_at(place)));
    proof.all_held_ms = certain.first_at(stock).map(since_opening);
    proof.sold_out_ms = confirmed.replied.first_at(stock).map(since_opening);

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
        let left = u64::from(plan.stock).saturating_sub(proof.sold + proof.unknown + proof.held);
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

    invariants.check("sold_out_is_true", false_sold_out(plan, log, &confirmed), || {
        format!("{}: said only once every unit was sold, and nothing else after that", plan.name)
    });
    let fault = holds.iter().find_map(|hold| hold.fault.map(|fault| (hold, fault)));
    let two_ends = fault.map(|(hold, fault)| format!("{}: the hold of buyer {}: {fault:?}", plan.name, hold.buyer));
    invariants.check("one_end", two_ends, || format!("{}: {} holds, one end each", plan.name, holds.len()));
    check_people(scene, place, holds, log, &mut proof, invariants);
    check_window(scene, place, holds, log, invariants);
    proof
}

/// Cap and audience.
fn check_people(
    scene: &Scene<'_>,
    place: usize,
    holds: &[HoldRecord],
    log: &SaleLog,
    proof: &mut SaleProof,
    invariants: &mut Invariants,
) {
    let plan = &scene.sales[place];
    let cap = i64::from(plan.cap);
    let mut first_greedy = None;
    let earlier = scene.opening.sales.get(place).map_or(&[][..], |sale| sale.confirmed.as_slice());
    for of_buyer in holds.chunk_by(|one, other| one.buyer == other.buyer) {
        let buyer = of_buyer[0].buyer;
        let before: i64 =
            earlier.iter().filter(|sale| sale.buyer == Some(buyer)).map(|sale| i64::from(sale.quantity)).sum();
        let mut timeline = Timeline::starting_at(before);
        for hold in of_buyer {
            take_certainly(hold, &mut timeline);
        }
        let (peak, at) = timeline.build().peak();
        if peak > cap {
            proof.over_cap += 1;
            first_greedy.get_or_insert_with(|| {
                format!("{}: buyer {buyer} had {peak} units at {}, the cap is {cap}", plan.name, seconds(at))
            });
        }
    }
    invariants.check("cap_holds", first_greedy, || format!("{}: no buyer above {cap}", plan.name));
    if plan.is_limited() {
        let wrong = match (log.outsiders_held, log.insiders_refused) {
            (0, 0) => None,
            (0, refused) => Some(format!("{}: {refused} registered people were told they are not", plan.name)),
            (held, _) => Some(format!("{}: {held} people who had not registered got units", plan.name)),
        };
        invariants.check("audience_holds", wrong, || format!("{}: only who registered got in", plan.name));
    }
}

/// Opening and closing.
fn check_window(scene: &Scene<'_>, place: usize, holds: &[HoldRecord], log: &SaleLog, invariants: &mut Invariants) {
    let plan = &scene.sales[place];
    let opens_ns = scene.clock.real_ns_of(scene.opens_at(place));
    let early = holds.iter().find(|hold| hold.held_ns < opens_ns).map(|hold| {
        format!(
            "{}: buyer {} got a unit {} before the opening",
            plan.name,
            hold.buyer,
            seconds(opens_ns - hold.held_ns)
        )
    });
    let late = scene.closes_at(place).and_then(|closes_at| {
        let closes_ns = scene.clock.real_ns_of(closes_at);
        let hold = holds.iter().find(|hold| hold.called_ns > closes_ns.saturating_add(Scene::slack_ns()))?;
        Some(format!("{}: buyer {} got a unit after the closing", plan.name, hold.buyer))
    });
    let shut = (log.last_not_open_ns > opens_ns.saturating_add(Scene::slack_ns())).then(|| {
        let after = seconds(log.last_not_open_ns - opens_ns);
        format!("{}: \"not open yet\" was said {after} after the opening", plan.name)
    });
    invariants.check("window_holds", early.or(late).or(shut), || format!("{}: nothing outside the window", plan.name));
}

/// When units were confirmed, at the earliest and at the latest.
struct Confirmations {
    called: Timeline,
    replied: Timeline,
}

fn confirmations(scene: &Scene<'_>, place: usize, holds: &[HoldRecord]) -> Confirmations {
    let (before, _) = scene.before(place);
    let mut called = Timeline::starting_at(signed(before));
    let mut replied = Timeline::starting_at(signed(before));
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

fn false_sold_out(plan: &SalePlan, log: &SaleLog, confirmed: &Confirmations) -> Option<String> {
    let stock = i64::from(plan.stock);
    let all_called = confirmed.called.first_at(stock).unwrap_or(u64::MAX);
    let all_replied = confirmed.replied.first_at(stock).unwrap_or(u64::MAX);
    if log.first_sold_out_ns < all_called {
        let when = seconds(log.first_sold_out_ns);
        return Some(format!("{}: \"sold out\" was said at {when}, before every unit was paid", plan.name));
    }
    (log.last_all_held_ns > all_replied).then(|| {
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

fn certainly_taken(scene: &Scene<'_>, place: usize, holds: &[HoldRecord]) -> Timeline {
    let (sold_before, _) = scene.before(place);
    let mut timeline = Timeline::starting_at(signed(sold_before));
    for hold in holds {
        take_certainly(hold, &mut timeline);
    }
    timeline.build()
}

fn take_certainly(hold: &HoldRecord, timeline: &mut Timeline) {
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

fn possibly_taken(scene: &Scene<'_>, place: usize, holds: &[HoldRecord]) -> Timeline {
    let (sold_before, held_before) = scene.before(place);
    let mut timeline = Timeline::starting_at(signed(sold_before));
    timeline.take(signed(held_before), 0, scene.earlier_holds_over_ns(place));
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
    timeline.build()
}

fn signed(units: u64) -> i64 {
    i64::try_from(units).unwrap_or(i64::MAX)
}

fn seconds(real_ns: u64) -> String {
    format!("{:.6}s", real(real_ns) / 1e9)
}

/// Units of `holds` together; used where figures are compared.
pub(super) fn sales_in(holds: &[HoldRecord]) -> u64 {
    count(holds.iter().filter(|hold| hold.is_sold()).count())
}
