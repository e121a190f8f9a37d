//! A journal in memory: what it has is durable.

use std::{collections::BTreeMap, sync::Mutex};

use super::{Buyer, Identity, PaymentId, SaleHead, SoldRecord, Source, Timestamp};

/// Sales by name. Equal arguments make equal records.
#[derive(Debug)]
pub(super) struct Shelf {
    identity: Identity,
    sales: Mutex<BTreeMap<String, Vec<SoldRecord>>>,
}

impl Shelf {
    pub(super) fn new(epoch: u32, incarnation: u64) -> Self {
        Self::of(Identity::new(7, epoch, incarnation))
    }

    pub(super) fn of(identity: Identity) -> Self {
        Self { identity, sales: Mutex::default() }
    }

    /// The record that is number `sequence` of `sale`.
    pub(super) fn record(sale: &str, sequence: u64) -> SoldRecord {
        let quantity = u32::try_from(sequence % 3 + 1).unwrap();
        let at = Timestamp::from_millis(1_775_008_800_000 + sequence);
        let payment = PaymentId::new(&format!("pi_{sequence}")).unwrap();
        SoldRecord::new(sequence, Buyer::from(10_000 + sequence), quantity, payment, at, format!("{sale}-{sequence}"))
    }

    /// `count` more sales.
    pub(super) fn sell(&self, sale: &str, count: u64) {
        let mut sales = self.sales.lock().unwrap();
        let records = sales.entry(sale.to_owned()).or_default();
        let sold = records.len() as u64;
        records.extend((sold + 1..=sold + count).map(|sequence| Self::record(sale, sequence)));
    }

    /// One more sale, of another history than [`Shelf::sell`] makes.
    pub(super) fn sell_otherwise(&self, sale: &str) {
        let mut sales = self.sales.lock().unwrap();
        let records = sales.entry(sale.to_owned()).or_default();
        let mut record = Self::record(sale, records.len() as u64 + 1);
        record.order.push_str("-other");
        records.push(record);
    }

    /// A copy of the journal as it is, opened with another identity.
    pub(super) fn copy(&self, epoch: u32, incarnation: u64) -> Self {
        let sales = self.sales.lock().unwrap().clone();
        Self { identity: Identity::new(self.identity.engine, epoch, incarnation), sales: Mutex::new(sales) }
    }
}

impl Source for Shelf {
    fn identity(&self) -> Identity {
        self.identity
    }

    fn sales(&self) -> Vec<SaleHead> {
        let sales = self.sales.lock().unwrap();
        sales.iter().map(|(name, records)| SaleHead::new(name, records.len() as u64)).collect()
    }

    fn read(&self, sale: &str, after: u64, limit: usize, out: &mut Vec<SoldRecord>) -> Result<(), String> {
        let sales = self.sales.lock().unwrap();
        let records = sales.get(sale).ok_or("no such sale")?;
        let after = usize::try_from(after).unwrap();
        out.extend(records.iter().skip(after).take(limit).cloned());
        Ok(())
    }
}
