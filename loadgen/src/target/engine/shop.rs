//! What all workers share of the engine: the sales in the scenario's order, the baskets, and the links that were sent.

use std::{
    collections::HashMap,
    sync::{PoisonError, RwLock},
};

use sellout::{Baskets, Invitation, Sale, Timestamp};

use crate::target::SaleIndex;

/// The sales and what is known about them; made by `prepare`.
pub(super) struct Shop {
    pub(super) sales: Vec<Sale>,
    /// Whether the units of a sale can be told apart.
    pub(super) faced: Vec<bool>,
    pub(super) baskets: Option<Baskets>,
    /// When the run starts: the scenario's instants count from here.
    pub(super) base: Timestamp,
    places: HashMap<String, SaleIndex>,
    links: RwLock<HashMap<(SaleIndex, u64), Invitation>>,
}

impl Shop {
    pub(super) fn new(sales: Vec<Sale>, faced: Vec<bool>, baskets: Option<Baskets>, base: Timestamp) -> Self {
        let places = sales.iter().enumerate().map(|(place, sale)| (sale.name().to_owned(), place)).collect();
        Self { sales, faced, baskets, base, places, links: RwLock::default() }
    }

    pub(super) fn place(&self, name: &str) -> Option<SaleIndex> {
        self.places.get(name).copied()
    }

    pub(super) fn is_faced(&self, sale: SaleIndex) -> bool {
        self.faced.get(sale).copied().unwrap_or(false)
    }

    /// The link that a buyer was sent.
    pub(super) fn link(&self, sale: SaleIndex, buyer: u64) -> Option<Invitation> {
        self.links.read().unwrap_or_else(PoisonError::into_inner).get(&(sale, buyer)).copied()
    }

    /// Notes links that were sent.
    pub(super) fn sent(&self, links: impl Iterator<Item = (SaleIndex, u64, Invitation)>) {
        let mut known = self.links.write().unwrap_or_else(PoisonError::into_inner);
        known.extend(links.map(|(sale, buyer, link)| ((sale, buyer), link)));
    }
}
