//! A second one, opened on a copy of the journal, tells the same.

use super::{Books, Scene, invariant::Invariants};
use crate::{
    number::count,
    target::{AmountTotals, ReopenProof, Totals},
};

/// Sums, digests and amounts of every sale are the same; holds may have run out meanwhile.
pub(super) fn check(scene: &Scene<'_>, books: &Books, reopened: &ReopenProof, invariants: &mut Invariants) {
    let mut compared = 0_u64;
    let mut differs = None;
    for ((plan, mine), theirs) in scene.sales.iter().zip(&books.totals).zip(&reopened.totals) {
        let Some(mine) = mine else { continue };
        compared += 1;
        differs = differs.or_else(|| difference(mine, theirs).map(|what| format!("{}: {what}", plan.name)));
    }
    if reopened.totals.len() < books.totals.len() {
        let (theirs, mine) = (reopened.totals.len(), books.totals.len());
        differs = differs.or_else(|| Some(format!("{theirs} sales were there again, of {mine}")));
    }
    for (sale, AmountTotals { budget, free, held, sold }) in &reopened.amounts {
        let withdrawn = books.totals.get(*sale).and_then(Option::as_ref).is_some_and(|totals| totals.withdrawn > 0);
        if free + held + sold != *budget && !withdrawn {
            let name = &scene.sales[*sale].name;
            differs = differs.or_else(|| Some(format!("{name}: {free} + {held} + {sold} cents are not {budget}")));
        }
    }
    let amounts = count(reopened.amounts.len());
    invariants.check("reopened_agrees", differs, || {
        let amounts = if amounts > 0 { ", and with their amounts" } else { "" };
        format!("{compared} of {compared} opened again with the same sums and digests{amounts}")
    });
}

fn difference(mine: &Totals, theirs: &Totals) -> Option<String> {
    if mine.digest != theirs.digest {
        let digest =
            |totals: &Totals| totals.digest.map_or_else(|| "none".to_owned(), |digest| format!("{digest:032x}"));
        return Some(format!("the digest was {} and is {} once opened again", digest(mine), digest(theirs)));
    }
    let kept = |totals: &Totals| (totals.stock, totals.added, totals.withdrawn, totals.sold);
    if kept(mine) != kept(theirs) {
        return Some(format!("{} sold, and {} once opened again", mine.sold, theirs.sold));
    }
    let Totals { stock, added, withdrawn, sold, held, free, .. } = *theirs;
    (stock + added != withdrawn + sold + held + free)
        .then(|| format!("once opened again {stock} + {added} - {withdrawn} is not {sold} + {held} + {free}"))
}
