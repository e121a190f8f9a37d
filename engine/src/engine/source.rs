//! Where confirmed sales come from: the ledger knows this trait, and no journal.
//!
//! What a [`Source`] owes the ledger, and delivery rests on:
//! - a record that it has shown once is durable, and never changes or goes away;
//! - the sequences of one sale start at 1 and have no gap;
//! - `epoch` grows at every open, and two processes that opened copies of one journal differ in `incarnation`.

use crate::{Buyer, PaymentId, Timestamp};

/// One confirmed sale, as the journal has it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SoldRecord {
    /// Its place among the confirmed sales of its sale: 1, 2, 3 and so on without a gap, below 2^39.
    pub sequence: u64,
    /// Who bought.
    pub buyer: Buyer,
    /// How many units.
    pub quantity: u32,
    /// What the payment provider calls the payment.
    pub payment: PaymentId,
    /// When it was confirmed.
    pub at: Timestamp,
    /// The text of the order id, at most 32 characters, different for every record of an engine.
    pub order: String,
}

impl SoldRecord {
    /// The record with this `sequence`.
    #[must_use]
    pub fn new(
        sequence: u64,
        buyer: Buyer,
        quantity: u32,
        payment: PaymentId,
        at: Timestamp,
        order: impl Into<String>,
    ) -> Self {
        Self { sequence, buyer, quantity, payment, at, order: order.into() }
    }
}

/// How far one sale has got in the journal.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SaleHead {
    /// The sale's name: 1 to 64 of `A-Z a-z 0-9 . _ -`, as [`SaleSpec`](crate::SaleSpec) takes it.
    pub name: String,
    /// The sequence of its last durable record, 0 if there is none.
    pub last: u64,
}

impl SaleHead {
    /// The head of the sale called `name`, whose last durable record is `last`.
    #[must_use]
    pub fn new(name: impl Into<String>, last: u64) -> Self {
        Self { name: name.into(), last }
    }
}

/// Whose sales these are: what the ledger in Redis is fenced with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Identity {
    /// The engine, for as long as its journal lives.
    pub engine: u64,
    /// Counts how often the journal was opened.
    pub epoch: u32,
    /// Drawn at random at every open: tells two copies of a journal apart that were opened as often.
    pub incarnation: u64,
}

impl Identity {
    /// The identity of `engine`, opened for the `epoch`th time as `incarnation`.
    #[must_use]
    pub const fn new(engine: u64, epoch: u32, incarnation: u64) -> Self {
        Self { engine, epoch, incarnation }
    }
}

/// Confirmed sales in the order in which they became durable.
///
/// All calls are made from the task that runs the ledger, which waits for them: they should take no longer
/// than a read from the page cache.
pub trait Source: Send + Sync {
    /// Whose sales these are. It stays the same for as long as the journal is open.
    fn identity(&self) -> Identity;

    /// Every sale with its last durable sequence.
    fn sales(&self) -> Vec<SaleHead>;

    /// Those of [`Source::sales`] that have a durable record: the ledger asks for them again and again, where there
    /// may be very many others.
    fn sold(&self) -> Vec<SaleHead> {
        let mut heads = self.sales();
        heads.retain(|head| head.last > 0);
        heads
    }

    /// Appends to `out` the durable records of `sale` whose sequence is beyond `after`, in order, at most `limit`.
    ///
    /// # Errors
    /// Why they can't be read, as text for the operator. The ledger tries again, with back-off.
    fn read(&self, sale: &str, after: u64, limit: usize, out: &mut Vec<SoldRecord>) -> Result<(), String>;
}
