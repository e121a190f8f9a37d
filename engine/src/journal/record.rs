//! Records: what the journal says happened, and their bytes.
//!
//! ```text
//! bytes   integers, texts and lists        spec      the rules of a sale
//! later   what came after the first kinds  carried   what a rewritten segment tells in place of what it dropped
//! ```
//!
//! Holds true: `decode` gives back what `encode` was given, never panics on any bytes, and takes nothing that
//! `encode` could not have written: an unknown kind, a trailing byte or a value out of range is an error. Integers
//! are little-endian. The layout is hand-written and frozen: a new field is a new kind, or a new journal version.

mod bytes;
mod carried;
mod later;
mod spec;
#[cfg(test)]
pub(crate) mod tests;

use crate::{
    core::{
        Buyer, End, Timestamp,
        allocator::HoldId,
        baskets::{BasketPart, Line},
    },
    payment::{PaymentId, PaymentIdError},
    spec::SaleSpec,
};

pub(crate) use carried::{Carried, CarriedLate, CarriedNote, CarriedSlot};

use bytes::{Input, put_buyer, put_end, put_hold, put_instant, put_option, put_text, put_u16, put_u32, put_u64};
use spec::{is_later, put_spec};

/// One thing that happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Record {
    /// The journal was opened: the first record of an epoch.
    Opened { epoch: u32, incarnation: u64, at: Timestamp },
    /// A sale came to be, on the slots `base .. base + slots`.
    SaleCreated { sale: u32, base: u32, slots: u32, at: Timestamp, spec: SaleSpec },
    /// A sale was changed by its owner.
    SaleChanged { sale: u32, at: Timestamp, change: Change },
    /// These buyers may buy, besides those registered before.
    Registered { sale: u32, buyers: Vec<Buyer> },
    /// A unit was put aside.
    Held(HeldRecord),
    /// A hold ended unsold.
    Ended { sale: u32, slot: u32, generation: u32, end: End, at: Timestamp },
    /// A hold expired: whose it was, in case it is paid all the same.
    Expired { sale: u32, hold: HoldId, buyer: Buyer, quantity: u32, at: Timestamp },
    /// A hold was paid.
    Confirmed(ConfirmedRecord),
    /// An expired hold was paid, and the payment is to be refunded: over the cap, or because nothing was free.
    LateRefused { sale: u32, hold: HoldId, over_cap: bool, at: Timestamp, payment: PaymentId },
    /// Labels of the units of a sale, in their order; before the sale's creation, or before units are added.
    UnitsListed { sale: u32, labels: Vec<Box<str>> },
    /// What the hold in a slot has beside its word; before the record of the hold itself.
    Detail(DetailRecord),
    /// Which units were taken off sale, where they are not alike.
    UnitsWithdrawn { sale: u32, units: Vec<u32> },
    /// A buyer waits for a unit.
    Queued { sale: u32, ticket: u64, buyer: Buyer, at: Timestamp },
    /// A buyer waits no more.
    Unqueued { sale: u32, ticket: u64, how: Unqueued, at: Timestamp },
    /// Everybody who is registered gets a message, and everybody who will be.
    Announced { sale: u32, notice: Notice, at: Timestamp },
    /// An order is on its way.
    Shipped { sale: u32, sequence: u64, at: Timestamp },
    /// Units of several sales were put aside together. The sale is that of all baskets.
    BasketHeld(BasketHeldRecord),
    /// A basket was paid: an order in each of its sales.
    BasketConfirmed(BasketConfirmedRecord),
    /// A basket expired: what was in it, in case it is paid all the same.
    BasketExpired { sale: u32, hold: HoldId, buyer: Buyer, lines: Vec<Line>, at: Timestamp },
    /// Every sale was halted, or lets buyers in again.
    Halted { halted: bool, at: Timestamp },
    /// So many records in a row that were dropped, and the latest instant that they told.
    Skipped { count: u64, latest: Timestamp },
    /// What dropped records have left behind. It has no number of its own.
    Carried { sale: u32, carried: Carried },
}

/// What a hold has beside its word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DetailRecord {
    pub(crate) sale: u32,
    pub(crate) slot: u32,
    pub(crate) generation: u32,
    /// The hash of the key under which it was asked for.
    pub(crate) key: Option<u128>,
    /// Its units, where they are not alike.
    pub(crate) units: Vec<u32>,
}

/// Why a buyer waits no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unqueued {
    /// The buyer left.
    Left,
    /// A unit was put aside for the buyer.
    Offered,
    /// The buyer had all that one may have.
    PassedOver,
}

/// A message to all who are registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Notice {
    /// The sale is near.
    Reminder,
    /// The way to the sale, for this buyer only.
    Link,
}

/// A basket that is held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BasketHeldRecord {
    pub(crate) sale: u32,
    pub(crate) hold: HoldId,
    pub(crate) buyer: Buyer,
    pub(crate) deadline: Timestamp,
    pub(crate) parts: Vec<BasketPart>,
}

/// A basket that was paid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BasketConfirmedRecord {
    pub(crate) sale: u32,
    pub(crate) sequence: u64,
    pub(crate) hold: HoldId,
    pub(crate) buyer: Buyer,
    pub(crate) at: Timestamp,
    pub(crate) payment: PaymentId,
    /// The expired basket in whose place it was sold.
    pub(crate) replaces: Option<HoldId>,
    /// Each part, with the number of its order in its own sale.
    pub(crate) parts: Vec<(BasketPart, u64)>,
}

/// A hold as the journal keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HeldRecord {
    pub(crate) sale: u32,
    pub(crate) slot: u32,
    pub(crate) generation: u32,
    pub(crate) key_epoch: u16,
    pub(crate) buyer: Buyer,
    pub(crate) quantity: u32,
    pub(crate) deadline: Timestamp,
}

/// A confirmed sale as the journal keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ConfirmedRecord {
    pub(crate) sale: u32,
    pub(crate) sequence: u64,
    pub(crate) slot: u32,
    pub(crate) generation: u32,
    pub(crate) key_epoch: u16,
    pub(crate) buyer: Buyer,
    pub(crate) quantity: u32,
    pub(crate) at: Timestamp,
    pub(crate) payment: PaymentId,
    /// The expired hold in whose place it was sold.
    pub(crate) replaces: Option<HoldId>,
}

/// What an owner can change about a sale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Change {
    Added {
        units: u32,
    },
    Withdrawn {
        units: u32,
    },
    Paused,
    Resumed,
    Closed,
    Extent {
        base: u32,
        slots: u32,
    },
    /// The sale opens and closes at other instants.
    Window {
        opens_at: Option<Timestamp>,
        closes_at: Option<Timestamp>,
    },
    Cap {
        cap: u32,
    },
}

/// Why bytes are no record.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum DecodeError {
    #[error("it ends too early")]
    Truncated,
    #[error("{bytes} bytes follow its end")]
    Trailing { bytes: usize },
    #[error("its kind {kind} is unknown")]
    Kind { kind: u8 },
    #[error("its {field} is {value}, which is none of the known values")]
    Value { field: &'static str, value: u64 },
    #[error("its {field} is not UTF-8")]
    Text { field: &'static str },
    #[error("its payment id is not one: {0}")]
    Payment(#[from] PaymentIdError),
}

mod kind {
    pub(super) const OPENED: u8 = 1;
    pub(super) const SALE_CREATED: u8 = 2;
    pub(super) const SALE_CHANGED: u8 = 3;
    pub(super) const REGISTERED: u8 = 4;
    pub(super) const HELD: u8 = 5;
    pub(super) const ENDED: u8 = 6;
    pub(super) const CONFIRMED: u8 = 7;
    pub(super) const LATE_REFUSED: u8 = 8;
    pub(super) const EXPIRED: u8 = 9;
    pub(super) const SALE_CREATED_LATER: u8 = 10;
    pub(super) const UNITS_LISTED: u8 = 11;
    pub(super) const DETAIL: u8 = 12;
    pub(super) const UNITS_WITHDRAWN: u8 = 13;
    pub(super) const QUEUED: u8 = 14;
    pub(super) const UNQUEUED: u8 = 15;
    pub(super) const ANNOUNCED: u8 = 16;
    pub(super) const SHIPPED: u8 = 17;
    pub(super) const BASKET_HELD: u8 = 18;
    pub(super) const BASKET_CONFIRMED: u8 = 19;
    pub(super) const BASKET_EXPIRED: u8 = 20;
    pub(super) const HALTED: u8 = 21;
    pub(super) const SKIPPED: u8 = 22;
    pub(super) const CARRIED: u8 = 23;
}

mod change {
    pub(super) const ADDED: u8 = 1;
    pub(super) const WITHDRAWN: u8 = 2;
    pub(super) const PAUSED: u8 = 3;
    pub(super) const RESUMED: u8 = 4;
    pub(super) const CLOSED: u8 = 5;
    pub(super) const EXTENT: u8 = 6;
    pub(super) const WINDOW: u8 = 7;
    pub(super) const CAP: u8 = 8;
}

const CANCELLED: u8 = 1;
const EXPIRED: u8 = 2;
const LEFT: u8 = 1;
const OFFERED: u8 = 2;
const PASSED_OVER: u8 = 3;
const REMINDER: u8 = 1;
const LINK: u8 = 2;
const BUYER_BYTES: usize = 16;

impl Record {
    /// How many numbers it stands for.
    pub(crate) const fn span(&self) -> u64 {
        match self {
            Self::Skipped { count, .. } => *count,
            Self::Carried { .. } => 0,
            _ => 1,
        }
    }

    /// The instant that it tells.
    pub(crate) const fn at(&self) -> Option<Timestamp> {
        match self {
            Self::Opened { at, .. }
            | Self::SaleCreated { at, .. }
            | Self::SaleChanged { at, .. }
            | Self::Ended { at, .. }
            | Self::Expired { at, .. }
            | Self::Confirmed(ConfirmedRecord { at, .. })
            | Self::LateRefused { at, .. }
            | Self::Queued { at, .. }
            | Self::Unqueued { at, .. }
            | Self::Announced { at, .. }
            | Self::Shipped { at, .. }
            | Self::BasketConfirmed(BasketConfirmedRecord { at, .. })
            | Self::BasketExpired { at, .. }
            | Self::Halted { at, .. }
            | Self::Skipped { latest: at, .. } => Some(*at),
            Self::Registered { .. }
            | Self::Held(_)
            | Self::UnitsListed { .. }
            | Self::Detail(_)
            | Self::UnitsWithdrawn { .. }
            | Self::BasketHeld(_)
            | Self::Carried { .. } => None,
        }
    }

    /// Whether it tells of something that passes: once that is over, the record is dropped when its segment is
    /// rewritten. All others stay for ever.
    pub(crate) const fn passes(&self) -> bool {
        match self {
            Self::Held(_)
            | Self::Ended { .. }
            | Self::Expired { .. }
            | Self::Detail(_)
            | Self::Queued { .. }
            | Self::Unqueued { .. }
            | Self::BasketHeld(_)
            | Self::BasketExpired { .. }
            | Self::Skipped { .. }
            | Self::Carried { .. } => true,
            Self::Opened { .. }
            | Self::SaleCreated { .. }
            | Self::SaleChanged { .. }
            | Self::Registered { .. }
            | Self::Confirmed(_)
            | Self::LateRefused { .. }
            | Self::UnitsListed { .. }
            | Self::UnitsWithdrawn { .. }
            | Self::Announced { .. }
            | Self::Shipped { .. }
            | Self::BasketConfirmed(_)
            | Self::Halted { .. } => false,
        }
    }

    /// Whether only a rewritten segment can have it.
    pub(crate) const fn is_rewritten(&self) -> bool {
        matches!(self, Self::Skipped { .. } | Self::Carried { .. })
    }

    /// Appends the record's bytes to `out`.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Opened { epoch, incarnation, at } => {
                out.push(kind::OPENED);
                put_u32(out, *epoch);
                put_u64(out, *incarnation);
                put_u64(out, at.as_millis());
            }
            Self::SaleCreated { sale, base, slots, at, spec } => {
                out.push(if is_later(spec) { kind::SALE_CREATED_LATER } else { kind::SALE_CREATED });
                put_u32(out, *sale);
                put_u32(out, *base);
                put_u32(out, *slots);
                put_u64(out, at.as_millis());
                put_spec(out, spec);
            }
            Self::SaleChanged { sale, at, change } => {
                out.push(kind::SALE_CHANGED);
                put_u32(out, *sale);
                put_u64(out, at.as_millis());
                put_change(out, *change);
            }
            Self::Registered { sale, buyers } => Self::encode_registered(*sale, buyers, out),
            Self::Held(held) => {
                out.push(kind::HELD);
                put_u32(out, held.sale);
                put_u32(out, held.slot);
                put_u32(out, held.generation);
                put_u16(out, held.key_epoch);
                put_buyer(out, held.buyer);
                put_u32(out, held.quantity);
                put_u64(out, held.deadline.as_millis());
            }
            Self::Ended { sale, slot, generation, end, at } => {
                out.push(kind::ENDED);
                put_u32(out, *sale);
                put_u32(out, *slot);
                put_u32(out, *generation);
                put_end(out, *end);
                put_u64(out, at.as_millis());
            }
            Self::Confirmed(confirmed) => {
                out.push(kind::CONFIRMED);
                put_u32(out, confirmed.sale);
                put_u64(out, confirmed.sequence);
                put_u32(out, confirmed.slot);
                put_u32(out, confirmed.generation);
                put_u16(out, confirmed.key_epoch);
                put_buyer(out, confirmed.buyer);
                put_u32(out, confirmed.quantity);
                put_u64(out, confirmed.at.as_millis());
                put_text(out, confirmed.payment.as_str());
                put_option(out, confirmed.replaces, put_hold);
            }
            Self::Expired { sale, hold, buyer, quantity, at } => {
                out.push(kind::EXPIRED);
                put_u32(out, *sale);
                put_hold(out, *hold);
                put_buyer(out, *buyer);
                put_u32(out, *quantity);
                put_u64(out, at.as_millis());
            }
            Self::LateRefused { sale, hold, over_cap, at, payment } => {
                out.push(kind::LATE_REFUSED);
                put_u32(out, *sale);
                put_hold(out, *hold);
                out.push(u8::from(*over_cap));
                put_u64(out, at.as_millis());
                put_text(out, payment.as_str());
            }
            later => later.encode_later(out),
        }
    }

    /// Appends the bytes of [`Record::Registered`] for buyers that the caller keeps.
    pub(crate) fn encode_registered(sale: u32, buyers: &[Buyer], out: &mut Vec<u8>) {
        out.push(kind::REGISTERED);
        put_u32(out, sale);
        put_u32(out, u32::try_from(buyers.len()).expect("a batch splits longer lists before"));
        out.reserve(buyers.len() * BUYER_BYTES);
        for buyer in buyers {
            put_buyer(out, *buyer);
        }
    }

    /// Reads the record that `bytes` are, whole.
    ///
    /// # Errors
    /// [`DecodeError`] for anything that `encode` does not write.
    pub(crate) fn decode(bytes: &[u8]) -> Result<Self, DecodeError> {
        let mut input = Input { rest: bytes };
        let record = match input.u8()? {
            kind::OPENED => Self::Opened { epoch: input.u32()?, incarnation: input.u64()?, at: input.timestamp()? },
            kind @ (kind::SALE_CREATED | kind::SALE_CREATED_LATER) => Self::SaleCreated {
                sale: input.u32()?,
                base: input.u32()?,
                slots: input.u32()?,
                at: input.timestamp()?,
                spec: input.spec(kind == kind::SALE_CREATED_LATER)?,
            },
            kind::SALE_CHANGED => {
                Self::SaleChanged { sale: input.u32()?, at: input.timestamp()?, change: input.change()? }
            }
            kind::REGISTERED => Self::Registered { sale: input.u32()?, buyers: input.buyers()? },
            kind::HELD => Self::Held(HeldRecord {
                sale: input.u32()?,
                slot: input.u32()?,
                generation: input.u32()?,
                key_epoch: input.u16()?,
                buyer: input.buyer()?,
                quantity: input.u32()?,
                deadline: input.timestamp()?,
            }),
            kind::ENDED => Self::Ended {
                sale: input.u32()?,
                slot: input.u32()?,
                generation: input.u32()?,
                end: input.end()?,
                at: input.timestamp()?,
            },
            kind::CONFIRMED => Self::Confirmed(ConfirmedRecord {
                sale: input.u32()?,
                sequence: input.u64()?,
                slot: input.u32()?,
                generation: input.u32()?,
                key_epoch: input.u16()?,
                buyer: input.buyer()?,
                quantity: input.u32()?,
                at: input.timestamp()?,
                payment: PaymentId::new(input.text("payment id")?)?,
                replaces: input.option("replacement", Input::hold)?,
            }),
            kind::EXPIRED => Self::Expired {
                sale: input.u32()?,
                hold: input.hold()?,
                buyer: input.buyer()?,
                quantity: input.u32()?,
                at: input.timestamp()?,
            },
            kind::LATE_REFUSED => Self::LateRefused {
                sale: input.u32()?,
                hold: input.hold()?,
                over_cap: input.flag("reason")?,
                at: input.timestamp()?,
                payment: PaymentId::new(input.text("payment id")?)?,
            },
            kind => Self::decode_later(kind, &mut input)?,
        };
        match input.rest.len() {
            0 => Ok(record),
            bytes => Err(DecodeError::Trailing { bytes }),
        }
    }
}

fn put_change(out: &mut Vec<u8>, change: Change) {
    match change {
        Change::Added { units } => {
            out.push(change::ADDED);
            put_u32(out, units);
        }
        Change::Withdrawn { units } => {
            out.push(change::WITHDRAWN);
            put_u32(out, units);
        }
        Change::Paused => out.push(change::PAUSED),
        Change::Resumed => out.push(change::RESUMED),
        Change::Closed => out.push(change::CLOSED),
        Change::Extent { base, slots } => {
            out.push(change::EXTENT);
            put_u32(out, base);
            put_u32(out, slots);
        }
        Change::Window { opens_at, closes_at } => {
            out.push(change::WINDOW);
            put_instant(out, opens_at);
            put_instant(out, closes_at);
        }
        Change::Cap { cap } => {
            out.push(change::CAP);
            put_u32(out, cap);
        }
    }
}

impl Input<'_> {
    fn change(&mut self) -> Result<Change, DecodeError> {
        Ok(match self.u8()? {
            change::ADDED => Change::Added { units: self.u32()? },
            change::WITHDRAWN => Change::Withdrawn { units: self.u32()? },
            change::PAUSED => Change::Paused,
            change::RESUMED => Change::Resumed,
            change::CLOSED => Change::Closed,
            change::EXTENT => Change::Extent { base: self.u32()?, slots: self.u32()? },
            change::WINDOW => {
                Change::Window { opens_at: self.instant("opening")?, closes_at: self.instant("closing")? }
            }
            change::CAP => Change::Cap { cap: self.u32()? },
            value => return Err(DecodeError::Value { field: "change", value: value.into() }),
        })
    }
}
