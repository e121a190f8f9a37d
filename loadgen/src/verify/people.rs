//! Who got units: no more than the cap, and nobody whom the audience leaves out.

use std::collections::HashMap;

use super::{
    Scene,
    changes::Changes,
    invariant::Invariants,
    log::HoldRecord,
    sale::{OfSale, SaleProof, take_certainly},
    seconds,
    timeline::Timeline,
};
use crate::{scenario::WhatChanges, target::SaleOpening};

/// Cap and audience of one sale.
pub(super) fn check(
    scene: &Scene<'_>,
    of_sale: &OfSale<'_>,
    changes: &Changes<'_>,
    proof: &mut SaleProof,
    invariants: &mut Invariants,
) {
    let OfSale { place, holds, log, .. } = *of_sale;
    let plan = &scene.sales[place];
    let earlier = bought_before(scene.opening.sales.get(place));
    let mut first_greedy = None;
    for of_buyer in holds.chunk_by(|one, other| one.buyer == other.buyer) {
        let buyer = of_buyer[0].buyer;
        let before = earlier.get(&buyer).copied().unwrap_or(0);
        if let Some((had, at, cap)) = above_the_cap(plan.cap, before, of_buyer, changes) {
            proof.over_cap += 1;
            first_greedy.get_or_insert_with(|| {
                format!("{}: buyer {buyer} had {had} units at {}, the cap is {cap}", plan.name, seconds(at))
            });
        }
    }
    invariants.check("cap_holds", first_greedy, || format!("{}: no buyer above {}", plan.name, plan.cap));
    if plan.is_limited() {
        let borrowed = log.borrowed_held;
        let wrong = match (log.outsiders_held, borrowed, log.insiders_refused) {
            (0, 0, 0) => None,
            (0, 0, refused) => Some(format!("{}: {refused} people who were let in were told they are not", plan.name)),
            (0, held, _) => Some(format!("{}: {held} people got units with somebody else's link", plan.name)),
            (held, ..) => Some(format!("{}: {held} people who were not let in got units", plan.name)),
        };
        let tried = log.borrowed_tried;
        invariants.check("audience_holds", wrong, || {
            format!("{}: only who was let in got units, {tried} borrowed links tried", plan.name)
        });
    }
}

/// Units that each buyer bought before this run.
fn bought_before(opening: Option<&SaleOpening>) -> HashMap<u64, i64> {
    let mut bought = HashMap::new();
    for sale in opening.map_or(&[][..], |opening| opening.confirmed.as_slice()) {
        if let Some(buyer) = sale.buyer {
            *bought.entry(buyer).or_default() += i64::from(sale.quantity);
        }
    }
    bought
}

/// How many units a buyer had, when, and what the cap was, if the cap was broken.
fn above_the_cap(first_cap: u32, before: i64, holds: &[HoldRecord], changes: &Changes<'_>) -> Option<(i64, u64, u32)> {
    let moves = changes.moves_the_cap();
    if let ([only], false) = (holds, moves)
        && before + i64::from(only.quantity) <= i64::from(first_cap)
    {
        return None;
    }
    let mut timeline = Timeline::starting_at(before);
    for hold in holds {
        take_certainly(hold, &mut timeline);
    }
    let timeline = timeline.build();
    if !moves {
        let (peak, at) = timeline.peak();
        return (peak > i64::from(first_cap)).then_some((peak, at, first_cap));
    }
    holds.iter().find_map(|hold| {
        // What somebody waited for may have been granted long before it was seen.
        let from = if hold.offered { 0 } else { hold.called_ns };
        let caps = changes.in_force(
            first_cap,
            |what| match what {
                WhatChanges::Cap(cap) => Some(cap),
                _ => None,
            },
            from,
            hold.held_ns,
        );
        let cap = caps.into_iter().max().unwrap_or(first_cap);
        let had = timeline.highest_in(hold.held_ns, hold.held_ns);
        (had > i64::from(cap)).then_some((had, hold.held_ns, cap))
    })
}
