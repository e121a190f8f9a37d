//! Units that can be told apart: each is had by one buyer at a time, and comes back as itself; amounts add up.

use serde::Serialize;

use super::{
    Scene,
    changes::Changes,
    invariant::Invariants,
    log::{HoldEnd, HoldRecord},
    sale::{OfSale, SaleProof},
    seconds,
};
use crate::{
    number::{count, index},
    scenario::{AmountsPlan, UnitsPlan},
    target::{AmountTotals, FaceTotals, HeldUnits},
};

/// The figures of a sale whose units can be told apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FaceFigures {
    /// The sale's name.
    pub sale: String,
    /// What its units are: numbered, listed or amounts.
    pub kind: &'static str,
    /// Different units that were given to somebody, for a while or for good.
    pub given: u64,
    /// Different units that were sold.
    pub sold: u64,
    /// Where they are amounts: the amounts.
    pub amounts: Option<AmountFigures>,
}

/// The amounts of one sale, in cents; means in thousandths of a cent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct AmountFigures {
    /// What all amounts must add up to.
    pub budget_cents: u64,
    /// Sold, by the replies.
    pub sold_cents: u64,
    /// On hold, by the target.
    pub held_cents: Option<u64>,
    /// Nobody's, by the target.
    pub free_cents: Option<u64>,
    /// Sold by this run and earlier ones, by the target.
    pub sold_in_all_cents: Option<u64>,
    /// Amounts that were given.
    pub drawn: u64,
    /// The least of them.
    pub min_cents: u32,
    /// The largest of them.
    pub max_cents: u32,
    /// Their mean.
    pub mean_milli: u64,
    /// The mean of the first tenth that was drawn, of the second, and so on.
    pub tenths_as_drawn_milli: [u64; 10],
    /// The mean of the first tenth of the units that were given in the order of their places, and so on.
    pub tenths_by_place_milli: [u64; 10],
}

/// A unit in somebody's hands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Had {
    place: u32,
    from: u64,
    until: u64,
    cents: u32,
    buyer: u64,
}

/// Checks the units of one sale; `None` if they are alike.
pub(super) fn check(
    scene: &Scene<'_>,
    of_sale: &OfSale<'_>,
    proof: &SaleProof,
    totals: Option<&FaceTotals>,
    invariants: &mut Invariants,
) -> Option<FaceFigures> {
    let plan = &scene.sales[of_sale.place];
    let kind = match plan.units {
        UnitsPlan::Alike => return None,
        UnitsPlan::Numbered { .. } => "numbered",
        UnitsPlan::Listed(_) => "listed",
        UnitsPlan::Amounts(_) => "amounts",
    };
    let added = Changes::of(scene, of_sale.place).added();
    let mut had: Vec<Had> = of_sale.holds.iter().flat_map(in_hands).collect();
    had.sort_unstable();
    let wrong = not_as_many(&plan.name, of_sale.holds)
        .or_else(|| not_there(&plan.name, &had, u64::from(plan.stock) + added))
        .or_else(|| twice(&plan.name, &had));
    let given = count(had.chunk_by(|one, other| one.place == other.place).count());
    let is_sold = |units: &&[Had]| units.iter().any(|unit| unit.until == u64::MAX);
    let sold = count(had.chunk_by(|one, other| one.place == other.place).filter(is_sold).count());
    invariants.check("units_unique", wrong, || {
        format!("{}: {given} different units given, each to one buyer at a time", plan.name)
    });
    let amounts = match &plan.units {
        UnitsPlan::Amounts(amounts) => {
            let told = totals.and_then(|totals| totals.amounts);
            Some(check_amounts(scene, of_sale, amounts, &had, proof, told, invariants))
        }
        _ => None,
    };
    Some(FaceFigures { sale: plan.name.clone(), kind, given, sold, amounts })
}

/// When a hold's units were certainly in its buyer's hands.
fn in_hands(hold: &HoldRecord) -> impl Iterator<Item = Had> {
    let (until, late_from) = match hold.end {
        HoldEnd::Sold(_) => (u64::MAX, u64::MAX),
        HoldEnd::SoldLate(exchange) => (hold.deadline_ns, exchange.replied_ns.max(hold.deadline_ns)),
        HoldEnd::Cancelled(exchange) => (exchange.called_ns, u64::MAX),
        HoldEnd::Open | HoldEnd::Lapsed | HoldEnd::Unknown { .. } => (hold.deadline_ns, u64::MAX),
    };
    let had = move |units: &HeldUnits, from, until| {
        let buyer = hold.buyer;
        let had: Vec<Had> = units
            .as_slice()
            .iter()
            .map(|unit| Had { place: unit.place, from, until, cents: unit.cents, buyer })
            .collect();
        had
    };
    had(&hold.units, hold.held_ns, until).into_iter().chain(had(&hold.late_units, late_from, u64::MAX))
}

fn not_as_many(name: &str, holds: &[HoldRecord]) -> Option<String> {
    let wrong = holds.iter().find(|hold| count(hold.units.as_slice().len()) != u64::from(hold.quantity))?;
    let (units, quantity) = (wrong.units.as_slice().len(), wrong.quantity);
    Some(format!("{name}: buyer {} holds {quantity} units and was told {units} of them", wrong.buyer))
}

fn not_there(name: &str, had: &[Had], stock: u64) -> Option<String> {
    let last = had.last().filter(|last| u64::from(last.place) >= stock)?;
    Some(format!("{name}: buyer {} got the unit at place {}, there are {stock} from 0", last.buyer, last.place))
}

/// A unit in two hands at a time, or one that came back with another amount.
fn twice(name: &str, had: &[Had]) -> Option<String> {
    for of_unit in had.chunk_by(|one, other| one.place == other.place) {
        let mut last = of_unit.first()?;
        for next in &of_unit[1..] {
            if next.from < last.until {
                return Some(format!(
                    "{name}: the unit at place {} was in the hands of buyers {} and {} at {}",
                    next.place,
                    last.buyer,
                    next.buyer,
                    seconds(next.from)
                ));
            }
            last = next;
        }
    }
    None
}

fn check_amounts(
    scene: &Scene<'_>,
    of_sale: &OfSale<'_>,
    plan: &AmountsPlan,
    had: &[Had],
    proof: &SaleProof,
    told: Option<AmountTotals>,
    invariants: &mut Invariants,
) -> AmountFigures {
    let name = &scene.sales[of_sale.place].name;
    let beyond = had.iter().find(|unit| !(plan.floor..=plan.ceiling).contains(&unit.cents)).map(|unit| {
        let AmountsPlan { floor, ceiling, .. } = *plan;
        format!("{name}: buyer {} got {} cents, between {floor} and {ceiling} were promised", unit.buyer, unit.cents)
    });
    let same_unit = || had.chunk_by(|one, other| one.place == other.place);
    let another = same_unit().find(|units| units.iter().any(|unit| unit.cents != units[0].cents)).map(|units| {
        format!("{name}: the unit at place {} was {} cents, and then another amount", units[0].place, units[0].cents)
    });
    let given: u64 = same_unit().map(|units| u64::from(units[0].cents)).sum();
    let all_given = same_unit().count() == index(scene.sales[of_sale.place].stock.into());
    let uneven = (all_given && given != plan.budget)
        .then(|| format!("{name}: all amounts together are {given} cents, the budget is {}", plan.budget));
    let sold_cents: u64 = had.iter().filter(|unit| unit.until == u64::MAX).map(|unit| u64::from(unit.cents)).sum();
    let whole_sale = proof.unknown == 0 && proof.sold_before == 0;
    let differs = told.and_then(|told| {
        let AmountTotals { budget, free, held, sold } = told;
        let sum = free + held + sold;
        if budget != plan.budget || (proof.withdrawn == 0 && sum != budget) || sum > budget {
            let planned = plan.budget;
            return Some(format!("{name}: {free} + {held} + {sold} cents are not the budget of {planned}"));
        }
        (whole_sale && sold != sold_cents)
            .then(|| format!("{name}: the target says {sold} cents were sold, its replies say {sold_cents}"))
    });
    let wrong = beyond.or(another).or(uneven).or(differs);
    invariants.check("amounts_add_up", wrong, || {
        let AmountTotals { free, held, sold, .. } = told.unwrap_or_default();
        let sums =
            told.map_or(String::new(), |_| format!("; {sold} sold + {held} held + {free} free = {}", plan.budget));
        format!("{name}: {given} of {} cents given, {sold_cents} sold, to the cent{sums}", plan.budget)
    });
    let mut in_turn: Vec<(u64, u32)> = had.iter().map(|unit| (unit.from, unit.cents)).collect();
    in_turn.sort_unstable_by_key(|(from, _)| *from);
    let drawn: Vec<u32> = in_turn.into_iter().map(|(_, cents)| cents).collect();
    AmountFigures {
        budget_cents: plan.budget,
        sold_cents,
        held_cents: told.map(|told| told.held),
        free_cents: told.map(|told| told.free),
        sold_in_all_cents: told.map(|told| told.sold),
        drawn: count(had.len()),
        min_cents: had.iter().map(|unit| unit.cents).min().unwrap_or(0),
        max_cents: had.iter().map(|unit| unit.cents).max().unwrap_or(0),
        mean_milli: mean_milli(had.iter().map(|unit| unit.cents)),
        tenths_as_drawn_milli: tenths(&drawn),
        tenths_by_place_milli: tenths(&same_unit().map(|units| units[0].cents).collect::<Vec<_>>()),
    }
}

/// The mean of each tenth.
fn tenths(cents: &[u32]) -> [u64; 10] {
    std::array::from_fn(|tenth| {
        let (from, until) = (cents.len() * tenth / 10, cents.len() * (tenth + 1) / 10);
        mean_milli(cents[from..until].iter().copied())
    })
}

fn mean_milli(cents: impl Iterator<Item = u32>) -> u64 {
    let (sum, amounts) = cents.fold((0_u64, 0_u64), |(sum, amounts), cents| (sum + u64::from(cents), amounts + 1));
    (sum * 1_000).checked_div(amounts).unwrap_or(0)
}
