//! Baskets: all of it or nothing of it, whatever becomes of it.

use std::collections::HashMap;

use super::{
    Scene,
    invariant::Invariants,
    log::{BasketLine, HoldEnd, HoldRecord},
};
use crate::{
    number::count,
    target::{JournalProof, OrderId},
};

/// Every line of a basket has the same fate, in the replies and in the journal.
pub(super) fn check(
    scene: &Scene<'_>,
    holds: &[HoldRecord],
    journal: Option<&JournalProof>,
    invariants: &mut Invariants,
) {
    let mut lines: Vec<(BasketLine, &HoldRecord)> =
        holds.iter().filter_map(|hold| Some((hold.basket?, hold))).collect();
    if lines.is_empty() {
        return;
    }
    lines.sort_unstable_by_key(|(line, _)| *line);
    let journalled = journal.map(|journal| {
        let sales = journal.sales.iter();
        sales.map(|sale| ((sale.sale.as_str(), sale.order), sale.quantity)).collect::<HashMap<_, _>>()
    });
    let baskets = lines.chunk_by(|one, other| one.0.basket == other.0.basket);
    let torn = baskets.clone().find_map(|basket| torn(scene, basket, journalled.as_ref()));
    let (all, sold) = (baskets.clone().count(), baskets.filter(|basket| basket[0].1.is_sold()).count());
    invariants.check("basket_whole", torn, || {
        format!("{} baskets held and {} of them sold, each with all its lines", count(all), count(sold))
    });
}

/// Why a basket isn't whole, if it isn't.
fn torn(
    scene: &Scene<'_>,
    basket: &[(BasketLine, &HoldRecord)],
    journalled: Option<&HashMap<(&str, OrderId), u32>>,
) -> Option<String> {
    let (first, hold) = basket.first()?;
    let buyer = hold.buyer;
    if basket.len() != usize::from(first.lines) {
        return Some(format!("buyer {buyer} asked for {} lines and got {}", first.lines, basket.len()));
    }
    let fate = |hold: &HoldRecord| (hold.is_sold(), matches!(hold.end, HoldEnd::Cancelled(_)), hold.order);
    if basket.iter().any(|(_, line)| fate(line) != fate(hold)) {
        return Some(format!("the lines of a basket of buyer {buyer} ended differently"));
    }
    let (true, Some(order), Some(journalled)) = (hold.is_sold(), hold.order, journalled) else { return None };
    basket.iter().find_map(|(_, line)| {
        let name = scene.sales[line.sale].name.as_str();
        let (asked, written) = (line.quantity, journalled.get(&(name, order)).copied().unwrap_or(0));
        (asked != written).then(|| {
            format!("order {order} of buyer {buyer} has {written} units of {name} in the journal, not {asked}")
        })
    })
}
