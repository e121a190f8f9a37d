//! What a damaged journal still tells, sale by sale: what stands before the damage and behind it, and what is lost.
//!
//! What holds: the orders of a sale are numbered 1, 2, 3 and so on. So those that are missing between two that can be
//! read are lost, and no others are; behind the last that can be read some may be, if damage follows it.

use std::{collections::BTreeMap, ops::RangeInclusive, path::Path};

use sellout::{Damage, Identity, Salvage, Salvaged, SalvagedOrder};

use super::failed;
use crate::target::TargetError;

/// The orders of a damaged journal, and what can't be read.
#[derive(Debug, Default)]
pub struct SalvagedBooks {
    /// What can't be read, in the order of files and offsets.
    pub damages: Vec<Damage>,
    /// The sales that were told of, by name.
    pub sales: BTreeMap<String, SalvagedSale>,
    /// Whose journal it is, if that can be told.
    pub identity: Option<Identity>,
}

/// What can be read of one sale.
#[derive(Debug, Default)]
pub struct SalvagedSale {
    /// Each order, with the number of damages before it.
    orders: Vec<(usize, SalvagedOrder)>,
}

/// Orders that can't be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// Their numbers. Behind the last order that can be read it is not known how many there were: up to the largest.
    pub numbers: RangeInclusive<u64>,
    /// The damages that they may be in, from 1.
    pub damages: RangeInclusive<usize>,
    /// Of those behind the last order: how many there may be at most, if that can be told.
    pub at_most: Option<u64>,
}

impl Lost {
    /// Whether they were sold for sure, which orders behind them say.
    #[must_use]
    pub fn is_sure(&self) -> bool {
        *self.numbers.end() < u64::MAX
    }

    /// How many are lost for sure.
    #[must_use]
    pub fn count(&self) -> u64 {
        if self.is_sure() { self.numbers.end() - self.numbers.start() + 1 } else { 0 }
    }
}

impl SalvagedBooks {
    /// Reads the damaged journal in a folder.
    ///
    /// # Errors
    /// [`TargetError`] if it is in use, or can't be read at all.
    pub fn read(journal: &Path) -> Result<Self, TargetError> {
        let mut books = Self::default();
        let mut salvage = Salvage::open(journal).map_err(failed)?;
        for piece in salvage.by_ref() {
            books.take(piece.map_err(failed)?);
        }
        for sale in salvage.sales() {
            books.sales.entry(sale.to_owned()).or_default();
        }
        books.identity = salvage.identity();
        Ok(books)
    }

    fn take(&mut self, piece: Salvaged) {
        match piece {
            Salvaged::Damage(damage) => self.damages.push(damage),
            Salvaged::Order(order) => {
                let damages = self.damages.len();
                self.sales.entry(order.sale.clone()).or_default().orders.push((damages, order));
            }
            _ => {}
        }
    }

    /// What is lost of a sale: first what is lost for sure, then what may be.
    #[must_use]
    pub fn lost(&self, sale: &SalvagedSale) -> Vec<Lost> {
        let mut lost = sale.gaps();
        let (last, seen) = sale.orders.last().map_or((0, 0), |(seen, order)| (order.order.sequence, *seen));
        let behind = &self.damages[seen..];
        // A damage that lost no record lost no order.
        if behind.iter().any(|damage| damage.records != Some(0)) {
            lost.push(Lost {
                numbers: last.saturating_add(1)..=u64::MAX,
                damages: seen + 1..=self.damages.len(),
                at_most: behind.iter().map(|damage| damage.records).sum(),
            });
        }
        lost
    }
}

impl SalvagedSale {
    /// The orders that can be read.
    pub fn orders(&self) -> impl Iterator<Item = &SalvagedOrder> {
        self.orders.iter().map(|(_, order)| order)
    }

    /// How many orders stand before all damage, and their units; and how many behind some.
    #[must_use]
    pub fn sums(&self) -> [(u64, u64); 2] {
        let mut sums = [(0, 0); 2];
        for (damages, order) in &self.orders {
            let sum = &mut sums[usize::from(*damages > 0)];
            *sum = (sum.0 + 1, sum.1 + u64::from(order.order.quantity));
        }
        sums
    }

    /// The numbers that are missing before orders that can be read.
    fn gaps(&self) -> Vec<Lost> {
        let (mut last, mut seen, mut gaps) = (0_u64, 0, Vec::new());
        for (damages, order) in &self.orders {
            let number = order.order.sequence;
            if number > last.saturating_add(1) {
                // Without damage between them the journal contradicts itself; it is said of the nearest.
                let first = (seen + 1).min(*damages);
                gaps.push(Lost { numbers: last + 1..=number - 1, damages: first..=*damages, at_most: None });
            }
            (last, seen) = (last.max(number), *damages);
        }
        gaps
    }
}
