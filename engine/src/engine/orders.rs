//! Orders: what a record of the journal says was sold, whether it was a hold or a basket.

use super::state::Extent;
use crate::{
    core::{Buyer, Timestamp, allocator::HoldId},
    journal::{BasketConfirmedRecord, ConfirmedRecord, Record},
    payment::PaymentId,
};

/// One order of one sale.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Order {
    pub(crate) sale: u32,
    pub(crate) sequence: u64,
    pub(crate) buyer: Buyer,
    pub(crate) quantity: u32,
    pub(crate) payment: PaymentId,
    pub(crate) at: Timestamp,
    name: Name,
}

/// By which token an order goes.
#[derive(Debug, Clone, Copy)]
struct Name {
    sale: u32,
    hold: HoldId,
    /// Its place in the basket, from 1.
    line: Option<usize>,
}

impl Order {
    /// The orders in a record, in their order.
    pub(crate) fn all_in(record: &Record) -> impl Iterator<Item = Self> + '_ {
        let (single, basket) = match record {
            Record::Confirmed(confirmed) => (Some(Self::of_hold(confirmed)), None),
            Record::BasketConfirmed(confirmed) => (None, Some(confirmed)),
            _ => (None, None),
        };
        single.into_iter().chain(basket.into_iter().flat_map(Self::of_basket))
    }

    fn of_hold(confirmed: &ConfirmedRecord) -> Self {
        let ConfirmedRecord { sale, sequence, slot, generation, key_epoch, buyer, quantity, at, payment, .. } =
            *confirmed;
        let name = Name { sale, hold: HoldId { slot, generation, key_epoch }, line: None };
        Self { sale, sequence, buyer, quantity, payment, at, name }
    }

    fn of_basket(confirmed: &BasketConfirmedRecord) -> impl Iterator<Item = Self> + '_ {
        let BasketConfirmedRecord { sale: baskets, hold, buyer, at, payment, .. } = *confirmed;
        (1..).zip(&confirmed.parts).map(move |(line, (part, sequence))| Self {
            sale: part.line.sale,
            sequence: *sequence,
            buyer,
            quantity: part.line.quantity,
            payment,
            at,
            name: Name { sale: baskets, hold, line: Some(line) },
        })
    }

    /// The hold or basket that was sold, and the sale in whose slots it stands.
    pub(crate) fn hold(&self) -> (u32, HoldId) {
        (self.name.sale, self.name.hold)
    }

    /// The order's id: the token of its hold, or that of its basket with its place behind it. `token` makes the token
    /// of a hold of a sale.
    pub(crate) fn id<E>(&self, token: impl FnOnce(u32, HoldId) -> Result<crate::Token, E>) -> Result<String, E> {
        let token = token(self.name.sale, self.name.hold)?;
        Ok(self.name.line.map_or_else(|| token.to_string(), |line| format!("{token}-{line}")))
    }
}

/// The number among all sales of slot `slot` of the sale with these extents.
pub(crate) fn global(extents: &[Extent], slot: u32) -> Option<u32> {
    let extent = extents.iter().find(|extent| slot >= extent.first && slot - extent.first < extent.length)?;
    Some(extent.base + (slot - extent.first))
}
