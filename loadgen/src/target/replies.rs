//! What a session answers: typed, so that a report can count it and a proof can judge it.

use std::fmt;

use sellout::Timestamp;

use super::SaleIndex;

/// The answer to a confirmation: known, or known later.
#[derive(Debug)]
pub enum Answer<P> {
    /// It is known.
    Now(ConfirmReply),
    /// It will be.
    Later(P),
}

/// Units that are held for a buyer.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Held<T> {
    /// What names the hold.
    pub ticket: T,
    /// The last instant at which it may be paid.
    pub deadline: Timestamp,
    /// Which units they are, if they can be told apart.
    pub units: HeldUnits,
}

impl<T> Held<T> {
    /// Units that are alike, on hold until `deadline`.
    pub const fn new(ticket: T, deadline: Timestamp) -> Self {
        Self { ticket, deadline, units: HeldUnits::Alike }
    }

    /// The same hold, of these units.
    #[must_use]
    pub fn of(self, units: HeldUnits) -> Self {
        Self { units, ..self }
    }
}

/// One unit that can be told from another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct HeldUnit {
    /// Its place among the sale's units, from 0.
    pub place: u32,
    /// Its amount in cents, where units are amounts; else 0.
    pub cents: u32,
}

/// The units of a hold; of one unit or none there is nothing on the heap.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum HeldUnits {
    /// They are alike.
    #[default]
    Alike,
    /// One unit.
    One(HeldUnit),
    /// Several units.
    Many(Box<[HeldUnit]>),
}

impl HeldUnits {
    /// The units, in no order.
    #[must_use]
    pub const fn as_slice(&self) -> &[HeldUnit] {
        match self {
            Self::Alike => &[],
            Self::One(unit) => std::slice::from_ref(unit),
            Self::Many(units) => units,
        }
    }
}

impl FromIterator<HeldUnit> for HeldUnits {
    fn from_iter<I: IntoIterator<Item = HeldUnit>>(units: I) -> Self {
        let mut units = units.into_iter();
        match (units.next(), units.next()) {
            (None, _) => Self::Alike,
            (Some(only), None) => Self::One(only),
            (Some(first), Some(second)) => Self::Many([first, second].into_iter().chain(units).collect()),
        }
    }
}

/// One line of a basket: so many units of that sale.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Line {
    /// The sale.
    pub sale: SaleIndex,
    /// How many units.
    pub quantity: u32,
}

/// Units of several sales that are held together.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct HeldBasket<T> {
    /// What names the hold.
    pub ticket: T,
    /// The last instant at which it may be paid.
    pub deadline: Timestamp,
    /// Which units they are, a line each in the order that was asked for; empty if all are alike.
    pub units: Vec<HeldUnits>,
}

impl<T> HeldBasket<T> {
    /// Units on hold until `deadline`.
    pub const fn new(ticket: T, deadline: Timestamp, units: Vec<HeldUnits>) -> Self {
        Self { ticket, deadline, units }
    }
}

/// Why a basket was refused: the line that could not be had, and the reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BasketRefusal {
    /// The place of the line.
    pub line: usize,
    /// Why it was refused.
    pub refusal: Refusal,
}

/// The outcome of registering.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum RegisterReply {
    /// Registered, just now.
    Registered,
    /// Registered before.
    Already,
    /// Registration isn't open yet.
    TooEarly,
    /// Registration is over.
    TooLate,
    /// The target failed to answer, or can't register anybody.
    Failed,
}

/// A place in a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// Counts everybody who ever joined, in the order of joining.
    pub ticket: u64,
    /// How many come before.
    pub ahead: u64,
}

/// The outcome of joining a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum JoinReply {
    /// In the queue.
    Joined(Place),
    /// The queue has no room.
    Full,
    /// There is nothing to wait for: units are free, or all are sold.
    NothingToWaitFor,
    /// The buyer may not wait: no audience, limit reached, or in the queue already.
    NotYou,
    /// The target failed to answer, or has no queue.
    Failed,
}

/// What became of somebody who waits.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum WaitReply<T> {
    /// Still in the queue.
    Queued(Place),
    /// A unit is held for the buyer, until the deadline.
    Offered(Held<T>),
    /// Not in the queue any more: it was left, the offer ran out, or every unit is sold.
    Gone,
    /// The target failed to answer, or has no queue.
    Failed,
}

/// The outcome of leaving a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum LeaveReply {
    /// Out of the queue.
    Left,
    /// The buyer was not in the queue: the turn may have come.
    NotQueued,
    /// The target failed to answer, or has no queue.
    Failed,
}

/// The outcome of accepting an offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum AcceptReply {
    /// Accepted: there is time to pay until then.
    Accepted {
        /// The new deadline.
        deadline: Timestamp,
    },
    /// The offer had ended before.
    Ended,
    /// The target failed to answer, or has no queue.
    Failed,
}

/// Why a request for units was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Refusal {
    /// The sale opens later.
    NotOpen {
        /// When.
        opens_at: Timestamp,
    },
    /// The sale is over.
    Closed,
    /// The sale is paused.
    Paused,
    /// The buyer was not let in.
    NotEligible,
    /// The buyer has all that one may have.
    LimitReached,
    /// Another attempt of the buyer is under way.
    AttemptUnderWay,
    /// Units are on hold, none is free: one may come back.
    AllHeld,
    /// Every unit is sold.
    SoldOut,
    /// One can't ask for so many.
    BadQuantity,
    /// There is no such sale.
    NoSuchSale,
    /// The target failed to answer.
    Failed,
    /// The buyer's invitation is not one, or is somebody else's.
    BadInvitation,
}

impl Refusal {
    /// The reasons' names in reports, in the order of [`Refusal::place`].
    pub const NAMES: [&'static str; 12] = [
        "not_open",
        "closed",
        "paused",
        "not_eligible",
        "limit_reached",
        "attempt_under_way",
        "all_held",
        "sold_out",
        "bad_quantity",
        "no_such_sale",
        "failed",
        "bad_invitation",
    ];

    /// The place of this reason in a table of counts.
    #[must_use]
    pub const fn place(self) -> usize {
        match self {
            Self::NotOpen { .. } => 0,
            Self::Closed => 1,
            Self::Paused => 2,
            Self::NotEligible => 3,
            Self::LimitReached => 4,
            Self::AttemptUnderWay => 5,
            Self::AllHeld => 6,
            Self::SoldOut => 7,
            Self::BadQuantity => 8,
            Self::NoSuchSale => 9,
            Self::Failed => 10,
            Self::BadInvitation => 11,
        }
    }

    /// Whether it was for want of stock.
    #[must_use]
    pub const fn is_want_of_stock(self) -> bool {
        matches!(self, Self::AllHeld | Self::SoldOut)
    }
}

/// The outcome of a confirmation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum ConfirmReply {
    /// Sold, by this report of the payment.
    Confirmed(OrderId),
    /// Sold already, by an earlier report.
    AlreadyConfirmed(OrderId),
    /// The hold had run out, but there was a unit left: sold.
    PaidLate(OrderId),
    /// The hold had run out, and nothing is left: the money goes back.
    PaidLateSoldOut,
    /// The hold had been given back before.
    CancelledBefore,
    /// The hold ended so long ago that the target forgot it.
    Forgotten,
    /// Sold or not: the target can't say now.
    Unknown,
    /// The target refused the ticket, or failed to answer.
    Failed,
}

/// The outcome of giving a hold back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum CancelReply {
    /// The units are free again.
    Cancelled,
    /// The hold had ended before.
    AlreadyEnded,
    /// The target refused the ticket, or failed to answer.
    Failed,
}

/// The target's name for a confirmed sale; the same in its journal and its ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct OrderId(pub u128);

/// 32 hexadecimal digits.
impl fmt::Display for OrderId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

impl std::str::FromStr for OrderId {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        u128::from_str_radix(text, 16).map(Self)
    }
}
