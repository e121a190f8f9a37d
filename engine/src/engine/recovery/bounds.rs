//! Bounds: what no engine writes, no journal can say.
//!
//! A frame's checksum says that the bytes are those that were written, not that an engine wrote them: whoever can write
//! the folder can make frames. So each record is held against what an engine can write, before anything is made of it.
//!
//! Holds true: what passes here fits into the words of slots, cap table and tokens, and memory follows the stock that
//! the sales declare: no number in a record stands for more.

use super::Draft;
use crate::{
    core::{
        MAX_CAP, MAX_STOCK,
        allocator::HoldId,
        baskets::{Line, MOST},
        slots::{BLOCK, GENERATION_BITS, KEY_EPOCH_BITS},
    },
    engine::{baskets, inner::room, state::Extent},
    journal::{Carried, CarriedNote, CarriedSlot, Change, Record},
    spec::SaleSpec,
};

/// Says which number of a record can't be.
pub(super) fn check(record: &Record) -> Result<(), String> {
    match record {
        Record::Held(held) => {
            is_hold(held.slot, held.generation, held.key_epoch)?;
            is_quantity(held.quantity)
        }
        Record::Ended { slot, generation, .. } => is_hold(*slot, *generation, 0),
        Record::Expired { hold, quantity, .. } => {
            is_hold_id(hold)?;
            is_quantity(*quantity)
        }
        Record::Confirmed(sold) => {
            is_hold(sold.slot, sold.generation, sold.key_epoch)?;
            sold.replaces.as_ref().map_or(Ok(()), is_hold_id)?;
            is_quantity(sold.quantity)
        }
        Record::LateRefused { hold, .. } => is_hold_id(hold),
        Record::Detail(detail) => is_hold(detail.slot, detail.generation, 0),
        Record::Queued { ticket, .. } if *ticket > u64::MAX / 2 => Err(format!("ticket {ticket}")),
        Record::BasketHeld(held) => {
            is_hold_id(&held.hold)?;
            held.parts.iter().try_for_each(|part| is_hold(part.slot, part.generation, 0))?;
            are_lines(held.sale, held.parts.iter().map(|part| part.line))
        }
        Record::BasketConfirmed(sold) => {
            is_hold_id(&sold.hold)?;
            sold.replaces.as_ref().map_or(Ok(()), is_hold_id)?;
            sold.parts.iter().try_for_each(|(part, _)| is_hold(part.slot, part.generation, 0))?;
            are_lines(sold.sale, sold.parts.iter().map(|(part, _)| part.line))
        }
        Record::BasketExpired { sale, hold, lines, .. } => {
            is_hold_id(hold)?;
            are_lines(*sale, lines.iter().copied())
        }
        Record::Carried { sale, carried } => check_carried(*sale, carried),
        _ => Ok(()),
    }
}

fn check_carried(sale: u32, carried: &Carried) -> Result<(), String> {
    match carried {
        Carried::Begins { last_ticket, .. } if *last_ticket > u64::MAX / 2 => Err(format!("ticket {last_ticket}")),
        Carried::Slots { first, slots } => (*first..).zip(slots).try_for_each(|(slot, carried)| match carried {
            CarriedSlot::Held { generation, key_epoch, quantity, .. } => {
                is_hold(slot, *generation, *key_epoch)?;
                is_quantity(*quantity)
            }
            // A slot that has used all its generations is free for none.
            CarriedSlot::Free { generation, .. } if *generation > 1 << GENERATION_BITS => {
                Err(format!("slot {slot} with generation {generation}"))
            }
            CarriedSlot::Free { .. } | CarriedSlot::Sold => Ok(()),
        }),
        Carried::Detail(detail) => is_hold(detail.slot, detail.generation, 0),
        Carried::Basket { parts, .. } => {
            parts.iter().try_for_each(|part| is_hold(part.slot, part.generation, 0))?;
            are_lines(sale, parts.iter().map(|part| part.line))
        }
        Carried::Late(notes) => notes.iter().try_for_each(|late| {
            is_hold_id(&late.hold)?;
            match &late.note {
                CarriedNote::Expired { quantity, lines, .. } => {
                    is_quantity(*quantity)?;
                    if lines.is_empty() { Ok(()) } else { are_lines(sale, lines.iter().copied()) }
                }
                CarriedNote::Reacquired(hold) => is_hold_id(hold),
                CarriedNote::Refused { .. } => Ok(()),
            }
        }),
        Carried::Offers(offers) => offers.iter().try_for_each(|(_, hold, _)| is_hold_id(hold)),
        Carried::Begins { .. } | Carried::Places(_) | Carried::PassedOver(_) => Ok(()),
    }
}

fn is_hold_id(hold: &HoldId) -> Result<(), String> {
    is_hold(hold.slot, hold.generation, hold.key_epoch)
}

fn is_hold(slot: u32, generation: u32, key_epoch: u16) -> Result<(), String> {
    if generation >> GENERATION_BITS != 0 || key_epoch >> KEY_EPOCH_BITS != 0 {
        return Err(format!("slot {slot} with generation {generation} of key epoch {key_epoch}"));
    }
    Ok(())
}

fn is_quantity(quantity: u32) -> Result<(), String> {
    if (1..=MAX_CAP).contains(&quantity) { Ok(()) } else { Err(format!("a hold of {quantity} units")) }
}

/// A basket has lines, of different sales, and none of its own desk.
fn are_lines(desk: u32, lines: impl Iterator<Item = Line>) -> Result<(), String> {
    let mut sales = Vec::with_capacity(MOST);
    for Line { sale, quantity } in lines {
        is_quantity(quantity)?;
        if sale == desk || sales.contains(&sale) || sales.len() == MOST {
            return Err(format!("a basket with sale {sale} twice, of its own, or beyond {MOST} others"));
        }
        sales.push(sale);
    }
    if sales.is_empty() { Err("a basket with nothing in it".to_owned()) } else { Ok(()) }
}

/// Says why no engine has created a sale by these rules, with their labels, on these slots. `next_slot` is the first
/// that no sale has.
pub(super) fn created(spec: &SaleSpec, base: u32, slots: u32, next_slot: u32) -> Result<(), String> {
    let rules = if spec.name == baskets::NAME {
        // The one name that users can't choose.
        SaleSpec { name: "baskets".to_owned(), ..spec.clone() }.check()
    } else {
        spec.check()
    };
    rules.map_err(|error| format!("{}: {error}", spec.name))?;
    // A slot a unit and some to spare, up to a power of two.
    let (least, most) = (u64::from(spec.stock), 4 * u64::from(spec.stock) + 4 * u64::from(BLOCK));
    let proper = slots.is_power_of_two() && slots >= BLOCK && (least..=most).contains(&u64::from(slots));
    is_extent(proper, base, slots, next_slot).map_err(|why| format!("{}: {why}", spec.name))
}

fn is_extent(proper: bool, base: u32, slots: u32, next_slot: u32) -> Result<(), String> {
    if proper && base >= next_slot && room(base, slots) {
        return Ok(());
    }
    Err(format!("{slots} slots from {base} on, where {next_slot} were named before"))
}

impl Draft {
    /// Says why no engine has changed the sale so. `next_slot` is the first that no sale has.
    pub(super) fn check_change(&self, change: Change, next_slot: u32) -> Result<(), String> {
        match change {
            Change::Added { units } => {
                let total = self.offered() + u64::from(units);
                if total > u64::from(MAX_STOCK) {
                    return Err(format!("{}: {units} units more make {total}, beyond {MAX_STOCK}", self.name));
                }
                Ok(())
            }
            Change::Withdrawn { units } if u64::from(units) > self.offered() => {
                Err(format!("{}: {units} units withdrawn, more than there were", self.name))
            }
            Change::Cap { cap } if !(1..=MAX_CAP).contains(&cap) => Err(format!("{}: a cap of {cap}", self.name)),
            // Each chunk doubles the whole.
            Change::Extent { base, slots } => is_extent(slots == self.capacity(), base, slots, next_slot)
                .map_err(|why| format!("{}: {why}", self.name)),
            _ => Ok(()),
        }
    }

    /// Units on offer, sold or not.
    pub(super) fn offered(&self) -> u64 {
        u64::from(self.spec.stock) + self.changes.added - self.changes.withdrawn
    }

    /// Says whether baskets are kept here, if they should be, or holds, if not.
    pub(super) fn is_for(&self, is_basket: bool) -> Result<(), String> {
        match (is_basket, *self.name == *baskets::NAME) {
            (true, true) | (false, false) => Ok(()),
            (true, false) => Err(format!("{}: a basket where holds are kept", self.name)),
            (false, true) => Err(format!("{}: a hold where baskets are kept", self.name)),
        }
    }

    /// The first slot behind those of the sale.
    pub(super) fn end(&self) -> u32 {
        let Extent { base, length, .. } = *self.added.last().unwrap_or(&self.first);
        base + length
    }
}
