//! When units were given: in the window as it was at the time, and not while the sale was paused.

use super::{Scene, changes::Changes, invariant::Invariants, sale::OfSale, seconds};
use crate::scenario::WhatChanges;

/// Opening, closing and pauses of one sale.
pub(super) fn check(scene: &Scene<'_>, of_sale: &OfSale<'_>, changes: &Changes<'_>, invariants: &mut Invariants) {
    let OfSale { place, holds, log, .. } = *of_sale;
    let plan = &scene.sales[place];
    let instant = |at| scene.clock.real_ns(at);
    let first_opening = scene.clock.real_ns_of(scene.opens_at(place));
    let first_closing = scene.closes_at(place).map(|at| scene.clock.real_ns_of(at));
    let openings = |from, until| {
        let moved = |what| match what {
            WhatChanges::Window { opens_at, .. } => opens_at.map(instant),
            _ => None,
        };
        changes.in_force(first_opening, moved, from, until)
    };
    let closings = |from, until| {
        let moved = |what| match what {
            WhatChanges::Window { closes_at: Some(at), .. } => Some(Some(instant(at))),
            _ => None,
        };
        changes.in_force(first_closing, moved, from, until)
    };
    let early = holds.iter().find_map(|hold| {
        let opened = openings(hold.called_ns, hold.held_ns).into_iter().min()?;
        let before = seconds(opened.checked_sub(hold.held_ns).filter(|before| *before > 0)?);
        Some(format!("{}: buyer {} got a unit {before} before the opening", plan.name, hold.buyer))
    });
    let late = holds.iter().filter(|hold| !hold.offered).find_map(|hold| {
        let closings = closings(hold.called_ns, hold.held_ns).into_iter().collect::<Option<Vec<_>>>()?;
        let closed = closings.into_iter().max()?.saturating_add(Scene::slack_ns());
        (hold.called_ns > closed).then(|| format!("{}: buyer {} got a unit after the closing", plan.name, hold.buyer))
    });
    let told_ns = log.last_not_open_ns;
    let shut = openings(told_ns, told_ns.saturating_add(Scene::slack_ns())).into_iter().max().and_then(|opened| {
        let after = told_ns.checked_sub(opened.saturating_add(Scene::slack_ns())).filter(|after| *after > 0)?;
        let after = seconds(after.saturating_add(Scene::slack_ns()));
        Some(format!("{}: \"not open yet\" was said {after} after the opening", plan.name))
    });
    invariants.check("window_holds", early.or(late).or(shut), || format!("{}: nothing outside the window", plan.name));

    let pauses = changes.pauses();
    if !pauses.is_empty() {
        let asked = holds.iter().filter(|hold| !hold.offered);
        let sold = asked.clone().find(|hold| {
            pauses.iter().any(|pause| pause.called_ns < hold.called_ns && hold.held_ns < pause.replied_ns)
        });
        let sold = sold.map(|hold| {
            let when = seconds(hold.called_ns);
            format!("{}: buyer {} got a unit at {when}, while the sale was paused", plan.name, hold.buyer)
        });
        invariants.check("pause_holds", sold, || format!("{}: nothing while it was paused", plan.name));
    }
}
