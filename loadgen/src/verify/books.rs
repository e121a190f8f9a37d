//! The target's own books (sums, journal, ledger) against the figures from the replies.

use std::collections::HashMap;

use serde::Serialize;

use super::{
    Books, Scene,
    invariant::Invariants,
    log::{HoldEnd, HoldRecord},
    sale::{SaleProof, sales_in},
};
use crate::{
    number::count,
    target::{JournalProof, JournalledSale, LedgerProof, OrderId, Totals},
};

/// The ledger, compared with what must be in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct LedgerFigures {
    /// Sales in it.
    pub sales: u64,
    /// Sales that should be in it and aren't.
    pub missing: u64,
    /// Sales that are in it more than once.
    pub duplicates: u64,
}

/// The sums: they add up, and they are the replies' sums.
pub(super) fn check_totals(
    scene: &Scene<'_>,
    proofs: &[SaleProof],
    totals: &[Option<Totals>],
    invariants: &mut Invariants,
) {
    for ((plan, proof), totals) in scene.sales.iter().zip(proofs).zip(totals) {
        let Some(totals) = totals else { continue };
        let Totals { stock, added, withdrawn, sold, held, free, .. } = *totals;
        let uneven = (stock + added != withdrawn + sold + held + free)
            .then(|| format!("{}: {stock} + {added} - {withdrawn} is not {sold} + {held} + {free}", plan.name));
        invariants.check("audit_adds_up", uneven, || {
            format!("{}: {stock} + {added} - {withdrawn} = {sold} sold + {held} held + {free} free", plan.name)
        });
        let sold_between = proof.sold..=proof.sold + proof.unknown;
        let held_between = proof.held_surely..=proof.held + proof.unknown;
        let differs = (!sold_between.contains(&sold) || !held_between.contains(&held)).then(|| {
            format!(
                "{}: the target says {sold} sold and {held} held, its replies say {} and {} ({} of them surely)",
                plan.name, proof.sold, proof.held, proof.held_surely
            )
        });
        invariants.check("audit_agrees", differs, || {
            format!("{}: {sold} sold and {held} held, by the target and by its replies", plan.name)
        });
    }
}

/// The journal has every sale that was acknowledged, each once, and no other.
pub(super) fn check_journal(
    scene: &Scene<'_>,
    holds: &[HoldRecord],
    journal: &JournalProof,
    invariants: &mut Invariants,
) {
    let mut times: HashMap<(&str, OrderId), u32> = HashMap::with_capacity(journal.sales.len());
    for sale in &journal.sales {
        *times.entry((&sale.sale, sale.order)).or_default() += 1;
    }
    let twice = times
        .iter()
        .find(|(_, times)| **times > 1)
        .map(|((sale, order), times)| format!("{sale}: order {order} is {times} times in the journal"));
    let earlier = scene.opening.sales.iter().flat_map(|sale| &sale.confirmed);
    let lost_earlier = earlier
        .clone()
        .find(|sale| !times.contains_key(&(sale.sale.as_str(), sale.order)))
        .map(|sale| format!("{}: order {} was in the journal before this run and is no more", sale.sale, sale.order));
    let lost = holds.iter().filter(|hold| hold.is_sold()).find_map(|hold| {
        let name = scene.sales[hold.sale].name.as_str();
        let order = hold.order?;
        (!times.contains_key(&(name, order)))
            .then(|| format!("{name}: order {order} of buyer {} was acknowledged and isn't in the journal", hold.buyer))
    });
    let known = sales_in(holds) + scene.confirmed_before();
    let unknown = count(holds.iter().filter(|hold| matches!(hold.end, HoldEnd::Unknown { .. })).count());
    let journalled = count(journal.sales.len());
    let surplus =
        (journalled > known + unknown).then(|| format!("{journalled} sales in the journal, {known} were acknowledged"));
    invariants.check("journal_agrees", twice.or(lost_earlier).or(lost).or(surplus), || {
        format!("{journalled} sales in the journal, each acknowledged one of them once")
    });
}

/// The ledger has every journalled sale (or, without a journal, every acknowledged one), each once.
pub(super) fn check_ledger(
    scene: &Scene<'_>,
    holds: &[HoldRecord],
    journalled: Option<&[JournalledSale]>,
    ledger: &LedgerProof,
    invariants: &mut Invariants,
) -> LedgerFigures {
    let mut times: HashMap<(&str, OrderId), u64> = HashMap::with_capacity(ledger.sales.len());
    for sale in &ledger.sales {
        *times.entry((&sale.sale, sale.order)).or_default() += 1;
    }
    let acknowledged = |hold: &HoldRecord| Some((scene.sales[hold.sale].name.as_str(), hold.order?));
    let expected: Vec<(&str, OrderId)> = match journalled {
        Some(sales) => sales.iter().map(|sale| (sale.sale.as_str(), sale.order)).collect(),
        None => holds.iter().filter(|hold| hold.is_sold()).filter_map(acknowledged).collect(),
    };
    let missing = count(expected.iter().filter(|order| !times.contains_key(order)).count());
    let duplicates: u64 = times.values().map(|times| times - 1).sum();
    let figures = LedgerFigures { sales: count(ledger.sales.len()), missing, duplicates };
    let wrong = (missing > 0 || duplicates > 0)
        .then(|| format!("{missing} sales are missing in the ledger, {duplicates} are in it more than once"));
    invariants.check("ledger_agrees", wrong, || format!("{} sales in the ledger, each once", figures.sales));
    figures
}

/// Audit, journal and ledger give the same digest of each sale.
pub(super) fn check_digests(scene: &Scene<'_>, books: &Books, invariants: &mut Invariants) {
    let by_name = |digests: &'_ [(String, u128)]| -> HashMap<String, u128> { digests.iter().cloned().collect() };
    let journal = books.journal.as_ref().map(|journal| ("journal", by_name(&journal.digests)));
    let ledger = books.ledger.as_ref().map(|ledger| ("ledger", by_name(&ledger.digests)));
    for (plan, totals) in scene.sales.iter().zip(&books.totals) {
        let Some(mine) = totals.as_ref().and_then(|totals| totals.digest) else { continue };
        for (book, digests) in [&journal, &ledger].into_iter().flatten() {
            let Some(digest) = digests.get(&plan.name) else { continue };
            let differs = (*digest != mine)
                .then(|| format!("{}: the audit's digest is {mine:032x}, the {book}'s {digest:032x}", plan.name));
            invariants.check("digests_agree", differs, || format!("{}: {mine:032x} in every book", plan.name));
        }
    }
}
