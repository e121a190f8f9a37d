//! What becomes of a whole basket, in memory and in the journal.

use std::sync::Arc;

use super::{Desk, units, want};
use crate::{
    core::{
        Buyer, End, Timestamp,
        allocator::{HoldId, Marks, Refusal},
        baskets::{BasketPart, Line, Missed, Want, end_parts, take},
    },
    engine::{
        detail::{Over, detail, write_detail},
        events::EventKind,
        inner::{EngineInner, home},
        settle::Settlement,
        state::SaleInner,
        tick::write_ends,
    },
    journal::{BasketConfirmedRecord, BasketHeldRecord, Batch, HeldRecord, Record},
    payment::PaymentId,
};

/// A part of a basket on its way to be sold.
pub(crate) struct SoldPart {
    pub(crate) sale: Arc<SaleInner>,
    pub(crate) id: HoldId,
    pub(crate) sequence: u64,
}

/// Ends every part of a basket that the caller has ended, and tells who listens.
pub(crate) fn end_all(engine: &EngineInner, desk: &Desk, parts: &[BasketPart], end: End) {
    for part in parts {
        let sale = desk.member(part.line.sale);
        let share = sale.allocator.share_of(part.slot);
        let restocked = sale.allocator.end_part(part.slot, end, home());
        if engine.hub.is_silent() {
            continue;
        }
        let (buyer, quantity) = (share.buyer, share.quantity);
        engine.publish(
            &sale,
            match end {
                End::Cancelled => EventKind::Cancelled { buyer, quantity },
                End::Expired => EventKind::Expired { buyer, quantity },
            },
        );
        if restocked {
            engine.publish(&sale, EventKind::Restocked);
        }
    }
}

/// Takes everything that was in an expired basket once more, for a payment that came late, and begins the
/// confirmation at once.
pub(crate) fn reacquire(
    baskets: &SaleInner,
    lines: &[Line],
    buyer: Buyer,
    now: Timestamp,
    key_epoch: u16,
) -> Result<HoldId, Refusal> {
    let (desk, home) = (baskets.desk(), home());
    let attempt = baskets.allocator.try_for(buyer, 1, Marks::Passed)?;
    let place = baskets.allocator.take(attempt, 1, Marks::Passed, home)?;
    let sales: Vec<_> = lines.iter().map(|line| desk.member(line.sale)).collect();
    let wants: Vec<Want<'_>> = sales.iter().zip(lines).map(|(sale, line)| want(sale, line.quantity, now)).collect();
    let parts = match take(&wants, buyer, Marks::Passed, home, key_epoch) {
        Ok(parts) => parts,
        Err(Missed { why, .. }) => {
            baskets.allocator.put_back(place, home);
            return Err(why);
        }
    };
    let part = |(line, id): (&Line, &HoldId)| BasketPart { line: *line, slot: id.slot, generation: id.generation };
    let contents: Vec<_> = lines.iter().zip(&parts).map(part).collect();
    let fill = |slot| desk.table.fill(baskets.allocator.slots(), slot, &contents);
    let made = baskets.allocator.hold_basket_confirming(place, home, key_epoch, fill);
    if made.is_err() {
        end_parts(&wants, &parts, home);
    }
    made
}

/// Numbers the orders of a basket whose confirmation has begun: one in each of its sales. None if `sale` is not that
/// of all baskets.
pub(crate) fn number(sale: &SaleInner, id: HoldId, journaled: bool) -> Vec<SoldPart> {
    let numbered = |part: BasketPart| {
        let sale = sale.desk().member(part.line.sale);
        let sequence = sale.next_sequence(journaled, home());
        let id = HoldId { slot: part.slot, generation: part.generation, key_epoch: id.key_epoch };
        SoldPart { sale, id, sequence }
    };
    sale.basket_parts(id.slot).into_iter().map(numbered).collect()
}

/// A sold basket, towards the journal.
pub(crate) struct Sold {
    pub(crate) id: HoldId,
    pub(crate) buyer: Buyer,
    pub(crate) sequence: u64,
    pub(crate) payment: PaymentId,
    pub(crate) at: Timestamp,
    pub(crate) replaces: Option<HoldId>,
}

/// Writes down a sold basket, in one record. Under the append lock.
pub(crate) fn write_sold(baskets: &SaleInner, sold: &Sold, batch: &mut Batch<'_, Settlement>) -> Vec<SoldPart> {
    let Sold { id, buyer, sequence, payment, at, replaces } = *sold;
    let parts = baskets.basket_parts(id.slot);
    for part in &parts {
        // What its orders use was given back by holds that ended: their ends stand before it.
        write_ends(&baskets.desk().member(part.line.sale), at, batch);
    }
    let orders = number(baskets, id, true);
    for order in &orders {
        write_detail(&order.sale, order.id.slot, order.id.generation, batch);
    }
    let parts = parts.into_iter().zip(orders.iter().map(|order| order.sequence)).collect();
    let sale = baskets.number;
    batch.push(&Record::BasketConfirmed(BasketConfirmedRecord {
        sale,
        sequence,
        hold: id,
        buyer,
        at,
        payment,
        replaces,
        parts,
    }));
    orders
}

/// A basket as the journal must know it, while it is held; nothing if it has ended meanwhile.
pub(crate) fn write_held(baskets: &SaleInner, held: &HeldRecord, at: Timestamp, batch: &mut Batch<'_, Settlement>) {
    let HeldRecord { slot, generation, key_epoch, buyer, deadline, .. } = *held;
    let id = HoldId { slot, generation, key_epoch };
    let parts = baskets.basket_parts(slot);
    // Ended, and maybe another one by now: that is a change of its own.
    if baskets.allocator.has_passed(id.slot, id.generation) {
        return;
    }
    let told = |part: &BasketPart| detail(&baskets.desk().member(part.line.sale), part.slot, part.generation);
    let Ok(details) = parts.iter().map(told).collect::<Result<Vec<_>, Over>>() else { return };
    for part in &parts {
        write_ends(&baskets.desk().member(part.line.sale), at, batch);
    }
    details.iter().flatten().for_each(|detail| batch.push(detail));
    batch.push(&Record::BasketHeld(BasketHeldRecord { sale: baskets.number, hold: id, buyer, deadline, parts }));
}

/// Lets there be twice as many baskets before there are too many. By a tick.
pub(crate) fn keep_room(engine: &EngineInner, sale: &SaleInner) {
    let total = sale.allocator.total();
    if sale.is_desk() && sale.allocator.free() < total / 2 {
        // If it fails, whoever finds no room tries again, and is told.
        let _grown = engine.add_stock(sale, u32::try_from(total).unwrap_or(u32::MAX), None);
    }
}

/// How many units a basket has, of all its sales.
pub(crate) fn quantity(baskets: &SaleInner, slot: u32) -> u32 {
    units(&baskets.basket_parts(slot))
}
