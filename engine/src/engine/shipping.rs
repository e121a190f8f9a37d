//! Shipping: which orders are on their way to their buyers.
//!
//! One bit an order. An order is shipped once, whoever says so and however often; who says so again, also after a
//! crash, is told.

use super::{answers::ShipError, sale::Sale, state::SaleInner};
use crate::journal::Record;

/// The orders of a sale that were shipped.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Shipped {
    /// Order `n` is bit `(n - 1) % 64` of word `(n - 1) / 64`.
    words: Vec<u64>,
}

impl Shipped {
    /// Notes an order, counted from 1; false if it was noted before.
    pub(crate) fn insert(&mut self, sequence: u64) -> bool {
        let place = sequence - 1;
        let word = usize::try_from(place / 64).expect("orders are never more than units");
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        let bit = 1 << (place % 64);
        let is_new = self.words[word] & bit == 0;
        self.words[word] |= bit;
        is_new
    }

    /// Takes a note back that the journal did not take.
    fn remove(&mut self, sequence: u64) {
        let place = sequence - 1;
        let word = usize::try_from(place / 64).expect("it was noted");
        self.words[word] &= !(1 << (place % 64));
    }
}

impl Sale {
    /// The order with this number is on its way: its buyer gets a shipping notice. Durable when it answers.
    ///
    /// # Errors
    /// [`ShipError`] if there is no such order, it was shipped before, or the journal doesn't take it.
    ///
    /// ```
    /// use sellout::{Confirmation, Engine, SaleSpec, ShipError};
    ///
    /// let engine = Engine::in_memory();
    /// let sale = engine.create(SaleSpec::new("books", 200))?;
    /// let Confirmation::Confirmed(receipt) = sale.reserve(7, 1)?.confirm(1_001)?.wait()? else { panic!("in time") };
    /// sale.ship(receipt.sequence)?;
    /// assert!(matches!(sale.ship(receipt.sequence), Err(ShipError::ShippedBefore { .. })));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn ship(&self, sequence: u64) -> Result<(), ShipError> {
        let journal = self.engine.journal.as_ref();
        if !self.inner.has_order(sequence, journal.is_some()) {
            return Err(ShipError::NoSuchOrder { sequence });
        }
        let mut turn = self.inner.shipped.lock();
        let shipped = turn.get_or_insert_default();
        let is_new = shipped.insert(sequence);
        let Some(journal) = journal else {
            return if is_new { Ok(()) } else { Err(ShipError::ShippedBefore { sequence }) };
        };
        if !is_new {
            drop(turn);
            // Whoever shipped it may still wait for the disk: what is said now must stand.
            journal.commit(journal.appended())?;
            return Err(ShipError::ShippedBefore { sequence });
        }
        let record = Record::Shipped { sale: self.inner.number, sequence, at: self.engine.now() };
        let appended = journal.append(|batch| batch.push(&record));
        if appended.is_err() {
            shipped.remove(sequence);
        }
        drop(turn);
        let ((), position) = appended?;
        Ok(journal.commit(position)?)
    }
}

impl SaleInner {
    /// Whether an order has this number, and is durable if there is a journal.
    fn has_order(&self, sequence: u64, journaled: bool) -> bool {
        sequence > 0 && if journaled { sequence <= self.durable_sequence() } else { self.has_numbered(sequence) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_noted_once_whatever_its_neighbours() {
        let mut shipped = Shipped::default();
        for sequence in [1, 64, 65, 2, 1_000, 63] {
            assert!(shipped.insert(sequence) && !shipped.insert(sequence), "{sequence}");
        }
        shipped.remove(64);
        assert!(shipped.insert(64) && !shipped.insert(63) && !shipped.insert(65));
        assert_eq!(shipped.words.len(), 16);
    }
}
