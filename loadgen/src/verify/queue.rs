//! The queue for units that come back: nobody gets past it, and its head gets what comes.
//!
//! Somebody is *surely* queued from the answer to joining to the last question that was answered "still queued". What
//! was offered and not seen yet is somebody's all the same.

use std::collections::BTreeSet;

use super::{
    EXPIRY_SLACK, Scene,
    changes::Changes,
    invariant::Invariants,
    log::{QueueFate, QueueRecord},
    sale::{OfSale, take_possibly},
    seconds, signed,
    timeline::Timeline,
};
use crate::{
    number::{count, nanos},
    scenario::{WaitOrderPlan, WaitlistPlan},
};

/// Checks the queue of one sale, if it has one and somebody waited; `of_sale.queues` are in the order of their tickets.
pub(super) fn check(scene: &Scene<'_>, of_sale: &OfSale<'_>, invariants: &mut Invariants) {
    let plan = &scene.sales[of_sale.place];
    let Some(waitlist) = plan.waitlist.filter(|_| !of_sale.queues.is_empty()) else { return };
    let first_come = waitlist.order == WaitOrderPlan::FirstCome;
    let wrong = snatched(of_sale)
        .or_else(|| if first_come { overtaken(of_sale.queues) } else { None })
        .or_else(|| passed_by(scene, of_sale, &waitlist))
        .map(|problem| format!("{}: {problem}", plan.name));
    let offered = of_sale.queues.iter().filter(|queue| matches!(queue.fate, QueueFate::Offered(_))).count();
    invariants.check("waitlist_in_order", wrong, || {
        let waited = of_sale.queues.len();
        format!(
            "{}: {waited} waited, {} were offered a unit in their turn, nobody got past them",
            plan.name,
            count(offered)
        )
    });
}

/// A newcomer who got a unit while somebody was surely queued.
fn snatched(of_sale: &OfSale<'_>) -> Option<String> {
    let mut spans: Vec<(u64, u64)> =
        of_sale.queues.iter().map(|queue| (queue.joined.replied_ns, queue.still_queued.called_ns)).collect();
    spans.sort_unstable();
    // The latest end of all spans that begin no later than this one.
    let mut latest = 0;
    let until: Vec<u64> = spans
        .iter()
        .map(|(_, end)| {
            latest = latest.max(*end);
            latest
        })
        .collect();
    let newcomer = of_sale.holds.iter().filter(|hold| !hold.offered).find(|hold| {
        let begun = spans.partition_point(|(begin, _)| *begin < hold.called_ns);
        begun.checked_sub(1).is_some_and(|last| until[last] > hold.held_ns)
    })?;
    Some(format!("buyer {} got a unit at {} while others waited", newcomer.buyer, seconds(newcomer.called_ns)))
}

/// Somebody who was still queued after a later one had got an offer.
fn overtaken(queues: &[QueueRecord]) -> Option<String> {
    let mut earliest: Option<(u64, u64)> = None;
    for queue in queues.iter().rev() {
        if let Some((offered_ns, buyer)) = earliest
            && queue.still_queued.called_ns > offered_ns
        {
            let when = seconds(offered_ns);
            return Some(format!("buyer {buyer} was offered a unit before {when}, buyer {} came first", queue.buyer));
        }
        if let QueueFate::Offered(exchange) = queue.fate
            && earliest.is_none_or(|(offered_ns, _)| exchange.replied_ns < offered_ns)
        {
            earliest = Some((exchange.replied_ns, queue.buyer));
        }
    }
    None
}

/// Somebody who was the first in the queue, and got nothing although a unit was free for a while.
fn passed_by(scene: &Scene<'_>, of_sale: &OfSale<'_>, waitlist: &WaitlistPlan) -> Option<String> {
    let plan = &scene.sales[of_sale.place];
    let changes = Changes::of(scene, of_sale.place);
    let mut taken = Timeline::starting_at(0);
    take_possibly(scene, of_sale.place, of_sale.holds, &changes, &mut taken);
    let taken = taken.build();
    let stock = i64::from(plan.stock) + signed(changes.added());
    let slack_ns = nanos(EXPIRY_SLACK);
    let quiet = |from: u64, until: u64| {
        let closed = scene.closes_at(of_sale.place).is_some_and(|at| scene.clock.real_ns_of(at) <= until);
        let paused = |pause: &super::log::Exchange| {
            pause.called_ns <= until.saturating_add(slack_ns) && from <= pause.replied_ns.saturating_add(slack_ns)
        };
        closed || changes.pauses().iter().any(paused)
    };
    let mut looks: Vec<(u64, &QueueRecord)> =
        of_sale.queues.iter().map(|queue| (queue.still_queued.called_ns, queue)).collect();
    looks.sort_unstable_by_key(|(called_ns, _)| *called_ns);
    let mut joined: Vec<&QueueRecord> = of_sale.queues.iter().collect();
    joined.sort_unstable_by_key(|queue| queue.joined.called_ns);
    let mut resolved: Vec<(u64, u64)> =
        of_sale.queues.iter().map(|queue| (queue.resolved_ns(), queue.place.ticket)).collect();
    resolved.sort_unstable();
    // Who may have been in the queue, or have had an offer that nobody saw, in the time before a look.
    let mut present: BTreeSet<u64> = BTreeSet::new();
    let (mut joins, mut resolutions) = (joined.into_iter().peekable(), resolved.into_iter().peekable());
    for (look_ns, queue) in looks {
        let since_ns = look_ns.saturating_sub(slack_ns);
        while let Some(other) = joins.next_if(|other| other.joined.called_ns <= look_ns) {
            present.insert(other.place.ticket);
        }
        while let Some((_, ticket)) = resolutions.next_if(|(resolved_ns, _)| *resolved_ns < since_ns) {
            present.remove(&ticket);
        }
        let is_head = match waitlist.order {
            WaitOrderPlan::FirstCome => present.first() == Some(&queue.place.ticket),
            WaitOrderPlan::Lottery { .. } => present.len() == 1,
        };
        if !is_head || queue.joined.replied_ns > since_ns || quiet(since_ns, look_ns) {
            continue;
        }
        let most = taken.highest_in(since_ns, look_ns);
        if most < stock {
            let free = stock - most;
            let when = seconds(look_ns);
            return Some(format!(
                "buyer {} was first in the queue at {when} and got nothing, {free} units were free",
                queue.buyer
            ));
        }
    }
    None
}
