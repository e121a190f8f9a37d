//! What the journal must know of a hold beside the record that it always had.
//!
//! What holds: before each record of a hold, a part of a basket or an order stands what else there is to tell of it, in
//! the same append.

use super::{settle::Settlement, state::SaleInner};
use crate::journal::{Batch, DetailRecord, Record};

/// What else there is to tell of the slot's hold of that generation: `Ok(None)` if nothing is. `Err` if the hold has
/// ended meanwhile: its end is what the next look finds.
pub(super) fn detail(sale: &SaleInner, slot: u32, generation: u32) -> Result<Option<Record>, Over> {
    let units = sale.allocator.units_of(slot, generation).ok_or(Over)?;
    let key = sale.keys.of(slot, generation);
    if units.is_empty() && key.is_none() {
        return Ok(None);
    }
    Ok(Some(Record::Detail(DetailRecord { sale: sale.number, slot, generation, key, units })))
}

/// The hold has ended.
#[derive(Debug)]
pub(super) struct Over;

/// Writes down what else there is to tell of a hold that can't end, because it is being confirmed.
pub(super) fn write_detail(sale: &SaleInner, slot: u32, generation: u32, batch: &mut Batch<'_, Settlement>) {
    if let Some(detail) = detail(sale, slot, generation).expect("it is being confirmed") {
        batch.push(&detail);
    }
}
