//! What a target is asked to put on sale, and what it finds when it does.

use std::fmt;

use sellout::Timestamp;

use super::JournalledSale;
use crate::scenario::SalePlan;

/// What a target is asked to put on sale.
pub struct Preparation<'a> {
    /// The sales.
    pub sales: &'a [SalePlan],
    /// When the run starts: the scenario's instants count from here.
    pub base: Timestamp,
    /// Whether there will be baskets.
    pub baskets: bool,
    /// Everybody who registered beforehand for the sales that say so, afresh at each call.
    pub registered: &'a (dyn Fn() -> Box<dyn Iterator<Item = u64> + 'a> + Sync),
}

impl fmt::Debug for Preparation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Preparation").field("sales", &self.sales).field("base", &self.base).finish_non_exhaustive()
    }
}

/// What stands in the shop before the first request.
#[derive(Debug, Clone, Default)]
pub struct Opening {
    /// A state for each sale that an earlier run left behind; a fresh sale has the default.
    pub sales: Vec<SaleOpening>,
    /// The latest instant that the target remembers: time must not go on from before it.
    pub latest: Option<Timestamp>,
}

/// What an earlier run left of one sale.
#[derive(Debug, Clone, Default)]
pub struct SaleOpening {
    /// Whether the sale was there before this run.
    pub resumed: bool,
    /// When it opens, if that was fixed before this run.
    pub opens_at: Option<Timestamp>,
    /// Units that are on hold.
    pub held: u64,
    /// Sales that were confirmed.
    pub confirmed: Vec<JournalledSale>,
}

impl SaleOpening {
    /// Units that were sold before this run.
    #[must_use]
    pub fn sold(&self) -> u64 {
        self.confirmed.iter().map(|sale| u64::from(sale.quantity)).sum()
    }
}
