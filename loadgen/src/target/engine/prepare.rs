//! Puts a scenario's sales on sale, or finds what an earlier run left of them.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use sellout::{BasketRules, Baskets, Buyer, Engine, Sale};

use super::{again::resident_bytes, failed, shop::Shop};
use crate::{
    number::count,
    scenario::{AudiencePlan, SalePlan},
    target::{JournalledSale, Opening, Preparation, Resources, SaleOpening, TargetError},
};

/// So many sales are created with one commit: their specs need not all be in memory at once.
const CREATED_TOGETHER: usize = 10_000;

/// The sales in the scenario's order, what stood there before, and what the new ones cost.
pub(super) fn prepare(
    engine: &Engine,
    plan: &Preparation<'_>,
    earlier: Vec<JournalledSale>,
) -> Result<(Arc<Shop>, Opening, Resources), TargetError> {
    let mut confirmed: HashMap<String, Vec<JournalledSale>> = HashMap::new();
    for order in earlier {
        confirmed.entry(order.sale.clone()).or_default().push(order);
    }
    let mut openings = Vec::with_capacity(plan.sales.len());
    let mut missing: Vec<&SalePlan> = Vec::new();
    for wanted in plan.sales {
        if let Ok(sale) = engine.sale(&wanted.name) {
            openings.push(opening(&sale, wanted, confirmed.remove(&wanted.name).unwrap_or_default())?);
        } else {
            missing.push(wanted);
            openings.push(SaleOpening::default());
        }
    }
    let (before, begun) = (resident_bytes(), Instant::now());
    let new = count(missing.len());
    create(engine, plan, missing)?;
    let created_in = if new == 0 { Duration::ZERO } else { begun.elapsed() };
    let resident = resident_bytes().saturating_sub(before);
    let cost = Resources { sales: new, resident_bytes: resident, created_in, recovered_in: None };

    let sale = |wanted: &SalePlan| engine.sale(&wanted.name).map_err(failed);
    let sales = plan.sales.iter().map(sale).collect::<Result<Vec<Sale>, _>>()?;
    let registered: Vec<Buyer> = if plan.sales.iter().any(|wanted| wanted.registered_beforehand) {
        (plan.registered)().map(Buyer::from).collect()
    } else {
        Vec::new()
    };
    // An earlier run may have been killed before everybody was registered.
    for (sale, _) in sales.iter().zip(plan.sales).filter(|(_, wanted)| wanted.registered_beforehand) {
        sale.register(&registered).map_err(failed)?;
    }
    let faced = plan.sales.iter().map(SalePlan::has_faces).collect();
    let shop = Arc::new(Shop::new(sales, faced, baskets(engine, plan)?, plan.base));
    Ok((shop, Opening { sales: openings, latest: Some(engine.now()) }, cost))
}

/// Creates sales, each after the one that its audience speaks of.
fn create(engine: &Engine, plan: &Preparation<'_>, missing: Vec<&SalePlan>) -> Result<(), TargetError> {
    let is_there = |place: usize| engine.sale(&plan.sales[place].name).is_ok();
    let mut left = missing;
    while !left.is_empty() {
        let (mut ready, later): (Vec<_>, Vec<_>) = left.into_iter().partition(|wanted| match wanted.audience {
            AudiencePlan::RegisteredFor(other) | AudiencePlan::BuyersOf(other) => is_there(other),
            _ => true,
        });
        left = later;
        if ready.is_empty() {
            // Two that speak of each other: the engine says why not.
            ready = std::mem::take(&mut left);
        }
        for some in ready.chunks(CREATED_TOGETHER) {
            let specs = some.iter().map(|wanted| wanted.spec(plan.base, plan.sales)).collect();
            engine.create_many(specs).map_err(failed)?;
        }
    }
    Ok(())
}

/// What an earlier run left of a sale.
fn opening(sale: &Sale, wanted: &SalePlan, confirmed: Vec<JournalledSale>) -> Result<SaleOpening, TargetError> {
    let audit = sale.audit();
    if audit.stock != u64::from(wanted.stock) {
        return Err(TargetError(format!(
            "the journal has the sale {:?} with {} units, the scenario with {}: play the scenario that the journal was \
             begun with, or use another journal",
            wanted.name, audit.stock, wanted.stock
        )));
    }
    Ok(SaleOpening { resumed: true, opens_at: sale.opens_at(), held: audit.held, confirmed })
}

/// Baskets, held as long as the sale that holds shortest.
fn baskets(engine: &Engine, plan: &Preparation<'_>) -> Result<Option<Baskets>, TargetError> {
    if !plan.baskets {
        return Ok(None);
    }
    let hold = plan.sales.iter().map(|wanted| wanted.hold).min().unwrap_or_default();
    let grace = plan.sales.iter().map(|wanted| wanted.grace).max().unwrap_or_default();
    engine.baskets(BasketRules::new().hold_for(hold).grace(grace)).map(Some).map_err(failed)
}
