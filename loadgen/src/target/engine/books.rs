//! What a journal has, read without opening it, and what stands in Redis beside it.
//!
//! What holds: reading and comparing write nothing; only [`deliver`] opens the journal, as a shop would, and adds to
//! Redis what is missing there.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use sellout::{
    Engine, Identity, JournalReader, SaleHead, SoldRecord, Source,
    ledger::{Options, RedisLedger, SaleComparison, verify},
};

use super::{failed, journalled};
use crate::target::{JournalledSale, TargetError};

/// The orders of a journal, as far as they can be read.
#[derive(Debug, Default)]
pub struct JournalBooks {
    sales: BTreeMap<String, Vec<SoldRecord>>,
    /// Why nothing behind them can be read, and where.
    pub damage: Option<String>,
}

impl JournalBooks {
    /// Reads the journal in a folder.
    ///
    /// # Errors
    /// [`TargetError`] if there is no journal.
    pub fn read(journal: &Path) -> Result<Self, TargetError> {
        let mut books = Self::default();
        for order in JournalReader::open(journal).map_err(failed)? {
            match order {
                Ok((sale, order)) => books.sales.entry(sale).or_default().push(order),
                Err(error) => books.damage = Some(error.to_string()),
            }
            if books.damage.is_some() {
                break;
            }
        }
        Ok(books)
    }

    /// Every sale with its orders and the units in them.
    pub fn sums(&self) -> impl Iterator<Item = (&str, usize, u64)> {
        let units = |orders: &[SoldRecord]| orders.iter().map(|order| u64::from(order.quantity)).sum();
        self.sales.iter().map(move |(sale, orders)| (sale.as_str(), orders.len(), units(orders)))
    }

    /// The orders as loadgen knows them.
    ///
    /// # Errors
    /// [`TargetError`] if one has an order id that is none.
    pub fn journalled(self) -> Result<Vec<JournalledSale>, TargetError> {
        let named = |(sale, orders): (String, Vec<SoldRecord>)| {
            orders.into_iter().map(move |order| journalled((sale.clone(), order)))
        };
        self.sales.into_iter().flat_map(named).collect()
    }

    /// Holds what stands in the Redis at `url` against them, sale by sale.
    ///
    /// # Errors
    /// [`TargetError`] if Redis can't be read.
    pub fn compare(&self, url: &str, prefix: &str) -> Result<Vec<SaleComparison>, TargetError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let options = Options::default().prefix(prefix);
        let number = |order: &SoldRecord| (u128::from(order.sequence) << 64) | u128::from(order.quantity);
        runtime.block_on(verify(url, self, &options, number)).map_err(failed)
    }
}

/// For the comparison, which asks for nothing else.
impl Source for JournalBooks {
    fn identity(&self) -> Identity {
        Identity::new(0, 0, 0)
    }

    fn sales(&self) -> Vec<SaleHead> {
        let last = |orders: &Vec<SoldRecord>| orders.last().map_or(0, |order| order.sequence);
        self.sales.iter().map(|(sale, orders)| SaleHead::new(sale, last(orders))).collect()
    }

    fn read(&self, sale: &str, after: u64, limit: usize, out: &mut Vec<SoldRecord>) -> Result<(), String> {
        let orders = self.sales.get(sale).map(Vec::as_slice).unwrap_or_default();
        let from = orders.partition_point(|order| order.sequence <= after);
        out.extend(orders[from..].iter().take(limit).cloned());
        Ok(())
    }
}

/// Opens the journal and delivers what Redis lacks, within `wait`.
///
/// # Errors
/// [`TargetError`] if the journal can't be opened, or something stands in the way of delivery.
pub fn deliver(journal: &Path, url: &str, prefix: &str, wait: Duration) -> Result<(), TargetError> {
    let engine = Engine::open(journal).map_err(failed)?;
    let source: Option<Arc<dyn Source>> = engine.source().map_err(failed)?;
    let source = source.ok_or_else(|| TargetError("there is no journal".to_owned()))?;
    let ledger = RedisLedger::new(url, source, Options::default().prefix(prefix)).map_err(failed)?;
    let driver = ledger.spawn().map_err(failed)?;
    let delivered = driver.wait_delivered(wait).map_err(failed);
    driver.stop();
    engine.close().map_err(failed)?;
    delivered
}
