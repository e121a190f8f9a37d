//! What a journal has, read without opening it, and what stands in Redis beside it.
//!
//! What holds: reading, salvaging and comparing write nothing; only [`deliver`] opens the journal, as a shop would, and adds to
//! Redis what is missing there.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use sellout::{
    Engine, Identity, JournalReader, OpenError, SaleHead, SoldRecord, Source,
    ledger::{LedgerError, Options, RedisLedger, SaleComparison, Writer, delivered, verify},
};

use super::{
    failed, journalled,
    salvaged::{SalvagedBooks, SalvagedSale},
};
use crate::target::{JournalledSale, TargetError};

/// The orders of a journal, as far as they can be read.
#[derive(Debug, Default)]
pub struct JournalBooks {
    /// Each sale's orders, by their numbers.
    sales: BTreeMap<String, Vec<SoldRecord>>,
    identity: Option<Identity>,
    /// What is wrong with it.
    pub damage: Option<JournalDamage>,
}

/// Why a journal can't be read to its end, and what is there all the same.
#[derive(Debug)]
pub struct JournalDamage {
    /// What comes first, and where.
    pub first: String,
    /// All of it; or why that can't be told.
    pub salvaged: Result<SalvagedBooks, String>,
}

impl JournalBooks {
    /// Reads the journal in a folder; what is behind damage, too.
    ///
    /// # Errors
    /// [`TargetError`] if there is no journal.
    pub fn read(journal: &Path) -> Result<Self, TargetError> {
        let mut looked_again = false;
        loop {
            let mut books = Self::default();
            let error = match books.read_whole(journal) {
                Ok(()) => return Ok(books),
                Err(error @ (OpenError::Corrupt { .. } | OpenError::NewerVersion { .. })) => error,
                Err(error) => return Err(failed(error)),
            };
            let salvaged = SalvagedBooks::read(journal).map_err(|error| error.to_string());
            if !looked_again && salvaged.as_ref().is_ok_and(|salvaged| salvaged.damages.is_empty()) {
                // Whoever had it open has closed it meanwhile.
                looked_again = true;
                continue;
            }
            if let Ok(salvaged) = &salvaged {
                let records = |sale: &SalvagedSale| sale.orders().map(|order| order.order.clone()).collect();
                books.sales = salvaged.sales.iter().map(|(name, sale)| (name.clone(), records(sale))).collect();
                books.identity = salvaged.identity;
            }
            books.damage = Some(JournalDamage { first: error.to_string(), salvaged });
            return Ok(books);
        }
    }

    /// Reads up to the first damage.
    fn read_whole(&mut self, journal: &Path) -> Result<(), OpenError> {
        let mut reader = JournalReader::open(journal)?;
        for order in reader.by_ref() {
            let (sale, order) = order?;
            self.sales.entry(sale).or_default().push(order);
        }
        self.identity = reader.identity();
        Ok(())
    }

    /// Every sale with its orders and the units in them, if it has any.
    pub fn sums(&self) -> impl Iterator<Item = (&str, usize, u64)> {
        let units = |orders: &[SoldRecord]| orders.iter().map(|order| u64::from(order.quantity)).sum();
        let sold = self.sales.iter().filter(|(_, orders)| !orders.is_empty());
        sold.map(move |(sale, orders)| (sale.as_str(), orders.len(), units(orders)))
    }

    /// The orders as loadgen knows them; those whose ids are lost with damage are left out.
    ///
    /// # Errors
    /// [`TargetError`] if one has an order id that is none.
    pub fn journalled(self) -> Result<Vec<JournalledSale>, TargetError> {
        let named = |(sale, orders): (String, Vec<SoldRecord>)| {
            let with_id = orders.into_iter().filter(|order| !order.order.is_empty());
            with_id.map(move |order| journalled((sale.clone(), order)))
        };
        self.sales.into_iter().flat_map(named).collect()
    }

    /// Holds what stands in the Redis at `url` against them, sale by sale; of a damaged journal up to the first order
    /// of a sale that is lost.
    ///
    /// # Errors
    /// [`TargetError`] if Redis can't be read.
    pub fn compare(&self, url: &str, prefix: &str) -> Result<Vec<SaleComparison>, TargetError> {
        let options = Options::default().prefix(prefix);
        let number = |order: &SoldRecord| (u128::from(order.sequence) << 64) | u128::from(order.quantity);
        on_runtime(verify(url, self, &options, number))
    }

    /// Takes from the Redis at `url` what is lost here and stands there, if this engine delivered it; says which orders
    /// these are, sale by sale.
    ///
    /// # Errors
    /// [`TargetError`] if Redis can't be read.
    pub fn fill(&mut self, url: &str, prefix: &str) -> Result<Vec<(String, SoldRecord)>, TargetError> {
        let Some(JournalDamage { salvaged: Ok(salvaged), .. }) = &self.damage else { return Ok(Vec::new()) };
        let options = Options::default().prefix(prefix);
        // The opening that delivered last may be one of those that are lost; or all that says whose journal it is: then
        // equal orders do.
        let is_ours = |sale: &SaleComparison| match self.identity {
            Some(_) => matches!(sale.writer, Writer::Ours | Writer::LaterOpening { .. }),
            None => sale.different == 0 && sale.expected > sale.missing,
        };
        let ours: Vec<_> = self.compare(url, prefix)?.into_iter().filter(is_ours).map(|sale| sale.sale).collect();
        let mut filled = Vec::new();
        for (name, sale) in salvaged.sales.iter().filter(|(name, _)| ours.contains(name)) {
            for lost in salvaged.lost(sale) {
                let found = on_runtime(delivered(url, name, lost.numbers, &options))?;
                filled.extend(found.into_iter().map(|order| (name.clone(), order)));
            }
        }
        for (name, order) in &filled {
            self.sales.entry(name.clone()).or_default().push(order.clone());
        }
        for orders in self.sales.values_mut() {
            orders.sort_by_key(|order| order.sequence);
        }
        Ok(filled)
    }

    /// Whether it is known whose journal it is; a damaged one may not tell.
    #[must_use]
    pub fn has_identity(&self) -> bool {
        self.identity.is_some()
    }

    /// Every order, sale by sale.
    pub fn orders(&self) -> impl Iterator<Item = (&str, &SoldRecord)> {
        self.sales.iter().flat_map(|(sale, orders)| orders.iter().map(|order| (sale.as_str(), order)))
    }

    /// The orders of a sale before the first one that is lost.
    fn gapless<'a>(&self, orders: &'a [SoldRecord]) -> &'a [SoldRecord] {
        if self.damage.is_none() {
            return orders;
        }
        let follow = (1..).zip(orders).take_while(|(number, order)| *number == order.sequence);
        &orders[..follow.count()]
    }
}

fn on_runtime<T>(asked: impl Future<Output = Result<T, LedgerError>>) -> Result<T, TargetError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
    runtime.block_on(asked).map_err(failed)
}

/// For the comparison, which asks for nothing else.
impl Source for JournalBooks {
    fn identity(&self) -> Identity {
        self.identity.unwrap_or(Identity::new(0, 0, 0))
    }

    fn sales(&self) -> Vec<SaleHead> {
        let last = |orders: &Vec<SoldRecord>| self.gapless(orders).last().map_or(0, |order| order.sequence);
        self.sales.iter().map(|(sale, orders)| SaleHead::new(sale, last(orders))).collect()
    }

    fn read(&self, sale: &str, after: u64, limit: usize, out: &mut Vec<SoldRecord>) -> Result<(), String> {
        let orders = self.sales.get(sale).map(|orders| self.gapless(orders)).unwrap_or_default();
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
