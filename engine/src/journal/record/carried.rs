//! What a rewritten segment tells in place of the records that it doesn't have.
//!
//! ```text
//! skipped   so many records in a row are not here any more
//! carried   what they have left behind: slots, what stands beside holds, late books, waitlists
//! ```
//!
//! Holds true: what is carried has no number. It stands behind everything that its segment keeps, and says how things
//! are there: of each sale first that it begins, and then, in lists that each fit a frame, the rest. A detail may also
//! stand before the order that it belongs to.

use super::{
    BasketPart, CANCELLED, DecodeError, DetailRecord, EXPIRED, Line, Record,
    bytes::{Input, put_buyer, put_end, put_hold, put_list, put_option, put_u16, put_u32, put_u64, put_u128},
    later::{LINE_BYTES, PART_BYTES, put_line, put_part},
};
use crate::core::{Buyer, End, Timestamp, allocator::HoldId};

/// What dropped records have left behind, of one sale.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Carried {
    /// The late book and the waitlist are as what follows says, and not as it was told before. The last ticket that was
    /// given, and whose hold comes next because it was offered, with the ticket.
    Begins { last_ticket: u64, offered: Option<(u64, Buyer)> },
    /// The slots from `first` on.
    Slots { first: u32, slots: Vec<CarriedSlot> },
    /// What stands beside a hold.
    Detail(DetailRecord),
    /// What is in the basket of a slot that is held.
    Basket { slot: u32, parts: Vec<BasketPart> },
    /// Expired holds, the oldest first.
    Late(Vec<CarriedLate>),
    /// Who waits, with the tickets.
    Places(Vec<(u64, Buyer)>),
    /// What was offered: whose, which hold, and until when.
    Offers(Vec<(Buyer, HoldId, Timestamp)>),
    /// Whose turn it was in vain.
    PassedOver(Vec<Buyer>),
}

/// A slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CarriedSlot {
    /// As its order says.
    Sold,
    /// Free for the hold of this generation; how the last one ended.
    Free { generation: u32, end: Option<End> },
    /// Held, by itself or, if it is a part, in a basket.
    Held { generation: u32, key_epoch: u16, buyer: Buyer, quantity: u32, deadline: Timestamp, part: bool },
}

/// An expired hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CarriedLate {
    pub(crate) hold: HoldId,
    /// Whether it is one of those that are forgotten in their turn.
    pub(crate) in_order: bool,
    pub(crate) note: CarriedNote,
}

/// What became of an expired hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum CarriedNote {
    /// Not paid so far; what was in it, if it was a basket.
    Expired {
        buyer: Buyer,
        quantity: u32,
        lines: Vec<Line>,
    },
    Reacquired(HoldId),
    Refused {
        over_cap: bool,
    },
}

const BEGINS: u8 = 1;
const SLOTS: u8 = 2;
const DETAIL: u8 = 3;
const BASKET: u8 = 4;
const LATE: u8 = 5;
const PLACES: u8 = 6;
const OFFERS: u8 = 7;
const PASSED_OVER: u8 = 8;

const SLOT_SOLD: u8 = 0;
const SLOT_UNUSED: u8 = 3;
const SLOT_HELD: u8 = 4;
const SLOT_PART: u8 = 5;

const NOTE_EXPIRED: u8 = 1;
const NOTE_REACQUIRED: u8 = 2;
const NOTE_SOLD_OUT: u8 = 3;
const NOTE_OVER_CAP: u8 = 4;

/// The smallest entries of the lists.
const SLOT_BYTES: usize = 1;
const LATE_BYTES: usize = 12;
const PLACE_BYTES: usize = 24;
const OFFER_BYTES: usize = 34;
const BUYER_BYTES: usize = 16;

impl Record {
    /// Appends the bytes of what is carried of `sale`, without the kind.
    pub(super) fn encode_carried(sale: u32, carried: &Carried, out: &mut Vec<u8>) {
        put_u32(out, sale);
        match carried {
            Carried::Begins { last_ticket, offered } => {
                out.push(BEGINS);
                put_u64(out, *last_ticket);
                put_option(out, *offered, put_place);
            }
            Carried::Slots { first, slots } => {
                out.push(SLOTS);
                put_u32(out, *first);
                put_list(out, slots, |out, slot| put_slot(out, *slot));
            }
            Carried::Detail(DetailRecord { slot, generation, key, units, .. }) => {
                out.push(DETAIL);
                put_u32(out, *slot);
                put_u32(out, *generation);
                put_option(out, *key, put_u128);
                put_list(out, units, |out, unit| put_u32(out, *unit));
            }
            Carried::Basket { slot, parts } => {
                out.push(BASKET);
                put_u32(out, *slot);
                put_list(out, parts, |out, part| put_part(out, *part));
            }
            Carried::Late(notes) => {
                out.push(LATE);
                put_list(out, notes, put_late);
            }
            Carried::Places(places) => {
                out.push(PLACES);
                put_list(out, places, |out, place| put_place(out, *place));
            }
            Carried::Offers(offers) => {
                out.push(OFFERS);
                put_list(out, offers, |out, (buyer, hold, deadline)| {
                    put_buyer(out, *buyer);
                    put_hold(out, *hold);
                    put_u64(out, deadline.as_millis());
                });
            }
            Carried::PassedOver(buyers) => {
                out.push(PASSED_OVER);
                put_list(out, buyers, |out, buyer| put_buyer(out, *buyer));
            }
        }
    }

    pub(super) fn decode_carried(input: &mut Input<'_>) -> Result<Self, DecodeError> {
        let sale = input.u32()?;
        let carried = match input.u8()? {
            BEGINS => Carried::Begins { last_ticket: input.u64()?, offered: input.option("offer", Input::place)? },
            SLOTS => Carried::Slots { first: input.u32()?, slots: input.list(SLOT_BYTES, Input::slot)? },
            DETAIL => Carried::Detail(DetailRecord {
                sale,
                slot: input.u32()?,
                generation: input.u32()?,
                key: input.option("key", Input::u128)?,
                units: input.list(4, Input::u32)?,
            }),
            BASKET => Carried::Basket { slot: input.u32()?, parts: input.list(PART_BYTES, Input::part)? },
            LATE => Carried::Late(input.list(LATE_BYTES, Input::late)?),
            PLACES => Carried::Places(input.list(PLACE_BYTES, Input::place)?),
            OFFERS => Carried::Offers(
                input.list(OFFER_BYTES, |input| Ok((input.buyer()?, input.hold()?, input.timestamp()?)))?,
            ),
            PASSED_OVER => Carried::PassedOver(input.list(BUYER_BYTES, Input::buyer)?),
            value => return Err(DecodeError::Value { field: "carried part", value: value.into() }),
        };
        Ok(Self::Carried { sale, carried })
    }
}

fn put_place(out: &mut Vec<u8>, (ticket, buyer): (u64, Buyer)) {
    put_u64(out, ticket);
    put_buyer(out, buyer);
}

fn put_slot(out: &mut Vec<u8>, slot: CarriedSlot) {
    match slot {
        CarriedSlot::Sold => out.push(SLOT_SOLD),
        CarriedSlot::Free { generation, end } => {
            match end {
                None => out.push(SLOT_UNUSED),
                Some(end) => put_end(out, end),
            }
            put_u32(out, generation);
        }
        CarriedSlot::Held { generation, key_epoch, buyer, quantity, deadline, part } => {
            out.push(if part { SLOT_PART } else { SLOT_HELD });
            put_u32(out, generation);
            put_u16(out, key_epoch);
            put_buyer(out, buyer);
            put_u32(out, quantity);
            put_u64(out, deadline.as_millis());
        }
    }
}

fn put_late(out: &mut Vec<u8>, late: &CarriedLate) {
    put_hold(out, late.hold);
    out.push(u8::from(late.in_order));
    match &late.note {
        CarriedNote::Expired { buyer, quantity, lines } => {
            out.push(NOTE_EXPIRED);
            put_buyer(out, *buyer);
            put_u32(out, *quantity);
            put_list(out, lines, |out, line| put_line(out, *line));
        }
        CarriedNote::Reacquired(hold) => {
            out.push(NOTE_REACQUIRED);
            put_hold(out, *hold);
        }
        CarriedNote::Refused { over_cap } => out.push(if *over_cap { NOTE_OVER_CAP } else { NOTE_SOLD_OUT }),
    }
}

impl Input<'_> {
    fn place(&mut self) -> Result<(u64, Buyer), DecodeError> {
        Ok((self.u64()?, self.buyer()?))
    }

    fn slot(&mut self) -> Result<CarriedSlot, DecodeError> {
        let tag = self.u8()?;
        Ok(match tag {
            SLOT_SOLD => CarriedSlot::Sold,
            SLOT_UNUSED => CarriedSlot::Free { generation: self.u32()?, end: None },
            CANCELLED => CarriedSlot::Free { generation: self.u32()?, end: Some(End::Cancelled) },
            EXPIRED => CarriedSlot::Free { generation: self.u32()?, end: Some(End::Expired) },
            SLOT_HELD | SLOT_PART => CarriedSlot::Held {
                generation: self.u32()?,
                key_epoch: self.u16()?,
                buyer: self.buyer()?,
                quantity: self.u32()?,
                deadline: self.timestamp()?,
                part: tag == SLOT_PART,
            },
            value => return Err(DecodeError::Value { field: "slot", value: value.into() }),
        })
    }

    fn late(&mut self) -> Result<CarriedLate, DecodeError> {
        let (hold, in_order) = (self.hold()?, self.flag("order")?);
        let note = match self.u8()? {
            NOTE_EXPIRED => CarriedNote::Expired {
                buyer: self.buyer()?,
                quantity: self.u32()?,
                lines: self.list(LINE_BYTES, Input::line)?,
            },
            NOTE_REACQUIRED => CarriedNote::Reacquired(self.hold()?),
            NOTE_SOLD_OUT => CarriedNote::Refused { over_cap: false },
            NOTE_OVER_CAP => CarriedNote::Refused { over_cap: true },
            value => return Err(DecodeError::Value { field: "note", value: value.into() }),
        };
        Ok(CarriedLate { hold, in_order, note })
    }
}
