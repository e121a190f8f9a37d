//! `[[sales]]`: one table is one sale, or many alike; names that stand for other sales are looked up here.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    time::Duration,
};

use sellout::{SpecError, Timestamp};
use serde::Deserialize;
use toml::Spanned;

use super::{Source, weights_are_proper};
use crate::{
    scenario::{AmountsPlan, AudiencePlan, SalePlan, ScenarioError, UnitsPlan, WaitOrderPlan, WaitlistPlan},
    target::SaleIndex,
    units::{Offset, Share, Span},
};

/// More sales than that have no place in one scenario; a fuzzer need not make as many to find out.
const MOST_SALES: u32 = if cfg!(fuzzing) { 1_000 } else { 1_000_000 };

/// More seats than that have no place in one sale.
const MOST_SEATS: u64 = if cfg!(fuzzing) { 1_000 } else { 1_000_000 };

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SaleTable {
    name: String,
    stock: Spanned<u32>,
    cap: Option<u32>,
    largest: Option<u32>,
    hold: Option<Span>,
    grace: Option<Span>,
    opens_at: Option<Offset>,
    closes_at: Option<Offset>,
    #[serde(default)]
    audience: AudienceName,
    everyone_from: Option<Offset>,
    registers_from: Option<Offset>,
    registers_until: Option<Offset>,
    reminds_at: Option<Offset>,
    links_at: Option<Offset>,
    #[serde(default)]
    units: UnitsName,
    waitlist: Option<WaitlistTable>,
    shops: Option<Spanned<u32>>,
    popularity: Option<Spanned<Popularity>>,
}

#[derive(Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum AudienceName {
    #[default]
    Everyone,
    Registered,
    Invited,
    RegisteredFor(String),
    BuyersOf(String),
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum UnitsName {
    #[default]
    Alike,
    Numbered,
    NumberedFrom(u32),
    Seats(Seats),
    Listed(Vec<String>),
    Amounts(AmountsTable),
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Seats {
    rows: u32,
    per_row: u32,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AmountsTable {
    budget: u64,
    floor: u32,
    ceiling: u32,
    seed: u64,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct WaitlistTable {
    room: u32,
    accept_within: Span,
    #[serde(default)]
    order: OrderName,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum OrderName {
    #[default]
    FirstCome,
    Lottery(u64),
}

/// How many want which of many sales alike.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Popularity {
    hot: Option<u32>,
    share: Option<Share>,
    zipf: Option<f64>,
}

/// The sales of a scenario, and who is called how.
pub(super) struct Sales {
    pub(super) plans: Vec<SalePlan>,
    places: HashMap<String, SaleIndex>,
}

impl Sales {
    pub(super) fn place(&self, name: &str) -> Option<SaleIndex> {
        self.places.get(name).copied()
    }
}

/// Reads the sales; `wanted` are the weights that the crowd gives them by name.
pub(super) fn read(
    tables: &[Spanned<SaleTable>],
    wanted: Option<&BTreeMap<String, f64>>,
    source: &Source<'_>,
) -> Result<Sales, ScenarioError> {
    let mut plans: Vec<SalePlan> = Vec::new();
    let mut names: HashSet<&str> = HashSet::new();
    for spanned in tables {
        let table = spanned.get_ref();
        if !names.insert(&table.name) {
            let problem = format!("a second sale called {:?}; expected another name", table.name);
            return Err(source.wrong(spanned, problem));
        }
        let weight = wanted.map_or(1.0, |weights| weights.get(&table.name).copied().unwrap_or(0.0));
        let plan = table.plan(spanned, source, weight)?;
        match &table.shops {
            None => plans.push(check(plan, spanned, source)?),
            Some(shops) => shops_alike(&plan, shops, table.popularity.as_ref(), spanned, source, &mut plans)?,
        }
        if let (None, Some(popularity)) = (&table.shops, &table.popularity) {
            return Err(source.wrong(popularity, "a popularity of one sale; expected `shops` beside it"));
        }
    }
    let mut places = HashMap::with_capacity(plans.len());
    for (place, plan) in plans.iter().enumerate() {
        if places.insert(plan.name.clone(), place).is_some() {
            let first = tables.first().expect("a plan comes from a table");
            let problem = format!("a second sale called {:?}; expected another name", plan.name);
            return Err(source.wrong(first, problem));
        }
    }
    let mut sales = Sales { plans, places };
    audiences(tables, &mut sales, source)?;
    Ok(sales)
}

/// Looks up the sales that audiences speak of.
fn audiences(tables: &[Spanned<SaleTable>], sales: &mut Sales, source: &Source<'_>) -> Result<(), ScenarioError> {
    let mut place = 0;
    for spanned in tables {
        let table = spanned.get_ref();
        let other = |name: &String| {
            sales.place(name).filter(|_| *name != table.name).ok_or_else(|| {
                let problem = format!("an audience of {name:?}; expected the name of another of the [[sales]]");
                source.wrong(spanned, problem)
            })
        };
        let audience = match &table.audience {
            AudienceName::Everyone => AudiencePlan::Everyone,
            AudienceName::Registered => AudiencePlan::Registered,
            AudienceName::Invited => AudiencePlan::Invited,
            AudienceName::RegisteredFor(name) => AudiencePlan::RegisteredFor(other(name)?),
            AudienceName::BuyersOf(name) => AudiencePlan::BuyersOf(other(name)?),
        };
        if audience == AudiencePlan::Invited && table.links_at.is_none() {
            let problem = "an invited audience that never gets its links; expected `links_at`";
            return Err(source.wrong(spanned, problem));
        }
        let members = table.shops.as_ref().map_or(1, |shops| *shops.get_ref());
        for _ in 0..members {
            sales.plans[place].audience = audience;
            place += 1;
        }
    }
    Ok(())
}

/// Many sales alike: the name of each is the table's and a number.
fn shops_alike(
    plan: &SalePlan,
    shops: &Spanned<u32>,
    popularity: Option<&Spanned<Popularity>>,
    spanned: &Spanned<SaleTable>,
    source: &Source<'_>,
    plans: &mut Vec<SalePlan>,
) -> Result<(), ScenarioError> {
    let many = *shops.get_ref();
    let room = MOST_SALES.saturating_sub(u32::try_from(plans.len()).unwrap_or(u32::MAX));
    if !(1..=room).contains(&many) {
        let all = "in all [[sales]] together";
        return Err(source.wrong(shops, format!("{many} shops; expected 1 or more, and at most {MOST_SALES} {all}")));
    }
    let weights = match popularity {
        None => vec![1.0; usize::try_from(many).unwrap_or(usize::MAX)],
        Some(popularity) => popularity
            .get_ref()
            .weights(many)
            .ok_or_else(|| source.wrong(popularity, "expected { hot = 20, share = \"60%\" } or { zipf = 1.1 }"))?,
    };
    let all: f64 = weights.iter().sum();
    let named =
        |number: u32, weight: f64| SalePlan { name: format!("{}-{number:06}", plan.name), weight, ..plan.clone() };
    // All are alike: what holds of the one with the longest name holds of each.
    check(named(many, 0.0), spanned, source)?;
    plans.extend((1..=many).zip(weights).map(|(number, weight)| named(number, plan.weight * weight / all)));
    Ok(())
}

impl Popularity {
    /// A weight for each of `many` sales.
    fn weights(&self, many: u32) -> Option<Vec<f64>> {
        match (self.hot, self.share, self.zipf) {
            (Some(hot), Some(share), None) if (1..many).contains(&hot) => {
                let (each_hot, each_other) = (share.0 / f64::from(hot), (1.0 - share.0) / f64::from(many - hot));
                Some((0..many).map(|place| if place < hot { each_hot } else { each_other }).collect())
            }
            (None, None, Some(zipf)) if (0.0..=10.0).contains(&zipf) => {
                Some((1..=many).map(|rank| f64::from(rank).powf(-zipf)).collect())
            }
            _ => None,
        }
    }
}

/// What the engine thinks of a sale.
fn check(plan: SalePlan, spanned: &Spanned<SaleTable>, source: &Source<'_>) -> Result<SalePlan, ScenarioError> {
    plan.spec(Timestamp::MIN, &[]).check().map_err(|error| match error {
        SpecError::Stock { .. } => source.wrong(&spanned.get_ref().stock, error.to_string()),
        error => source.wrong(spanned, error.to_string()),
    })?;
    Ok(plan)
}

impl SaleTable {
    fn plan(&self, spanned: &Spanned<Self>, source: &Source<'_>, weight: f64) -> Result<SalePlan, ScenarioError> {
        let at = |offset: Option<Offset>| offset.map(|at| at.0);
        let plan = SalePlan {
            name: self.name.clone(),
            stock: *self.stock.get_ref(),
            cap: self.cap.unwrap_or(1),
            largest: self.largest.unwrap_or(1),
            hold: self.hold.map_or(Duration::from_mins(15), |span| span.0),
            grace: self.grace.map_or(Duration::from_secs(2), |span| span.0),
            opens_at: self.opens_at.map_or(Duration::ZERO, |at| at.0),
            closes_at: at(self.closes_at),
            audience: AudiencePlan::Everyone,
            registered_beforehand: false,
            everyone_from: at(self.everyone_from),
            registers_from: at(self.registers_from),
            registers_until: at(self.registers_until),
            reminds_at: at(self.reminds_at),
            links_at: at(self.links_at),
            units: self.units.plan(*self.stock.get_ref()).map_err(|problem| source.wrong(&self.stock, problem))?,
            waitlist: self.waitlist.as_ref().map(WaitlistTable::plan),
            weight,
        };
        if self.everyone_from.is_some() && self.audience == AudienceName::Everyone {
            return Err(
                source.wrong(spanned, "everyone_from; expected an `audience` that has the sale for itself before")
            );
        }
        if let (Some(from), Some(until)) = (plan.registers_from, plan.registers_until)
            && from >= until
        {
            return Err(source
                .wrong(spanned, "a registration that ends before it begins; expected an earlier `registers_from`"));
        }
        if plan.waitlist.is_some_and(|waitlist| waitlist.room == 0 || waitlist.accept_within.is_zero()) {
            return Err(source.wrong(spanned, "a waitlist without room or time to accept; expected more than 0"));
        }
        Ok(plan)
    }
}

impl UnitsName {
    /// What they are; or why `stock` of them can't be.
    fn plan(&self, stock: u32) -> Result<UnitsPlan, String> {
        let as_many = |units: usize| match u32::try_from(units) {
            Ok(units) if units == stock => Ok(()),
            _ => Err(format!("a stock of {stock} with {units} units listed; expected as many as are listed")),
        };
        Ok(match self {
            Self::Alike => UnitsPlan::Alike,
            Self::Numbered => UnitsPlan::Numbered { first: 1 },
            Self::NumberedFrom(first) => UnitsPlan::Numbered { first: *first },
            Self::Seats(Seats { rows, per_row }) => {
                let seats = u64::from(*rows) * u64::from(*per_row);
                as_many(usize::try_from(seats).unwrap_or(usize::MAX))?;
                if seats > MOST_SEATS {
                    return Err(format!("{seats} seats; expected at most {MOST_SEATS} in a sale"));
                }
                let seat = |row| (1..=*per_row).map(move |seat| format!("row {row} seat {seat}").into_boxed_str());
                UnitsPlan::Listed((1..=*rows).flat_map(seat).collect())
            }
            Self::Listed(labels) => {
                as_many(labels.len())?;
                UnitsPlan::Listed(labels.iter().map(|label| label.as_str().into()).collect())
            }
            Self::Amounts(AmountsTable { budget, floor, ceiling, seed }) => {
                let (least, most) = (u64::from(stock) * u64::from(*floor), u64::from(stock) * u64::from(*ceiling));
                if floor > ceiling || !(least..=most).contains(budget) {
                    return Err(format!(
                        "a budget of {budget} in {stock} amounts between {floor} and {ceiling}; expected one between \
                         {least} and {most}"
                    ));
                }
                UnitsPlan::Amounts(AmountsPlan { budget: *budget, floor: *floor, ceiling: *ceiling, seed: *seed })
            }
        })
    }
}

impl WaitlistTable {
    const fn plan(&self) -> WaitlistPlan {
        let order = match self.order {
            OrderName::FirstCome => WaitOrderPlan::FirstCome,
            OrderName::Lottery(seed) => WaitOrderPlan::Lottery { seed },
        };
        WaitlistPlan { room: self.room, accept_within: self.accept_within.0, order }
    }
}

/// Complains about weights for sales that are not there, or that leave nothing to want.
pub(super) fn check_weights(
    tables: &[Spanned<SaleTable>],
    wanted: Option<&BTreeMap<String, f64>>,
) -> Result<(), String> {
    let Some(weights) = wanted else { return Ok(()) };
    if let Some(name) = weights.keys().find(|name| tables.iter().all(|table| &table.get_ref().name != *name)) {
        return Err(format!("the crowd wants {name:?}; expected the name of one of the [[sales]]"));
    }
    if !weights_are_proper(&weights.values().copied().collect::<Vec<_>>()) {
        return Err("sales; expected a weight of at least 0 a sale, not all 0".to_owned());
    }
    Ok(())
}
