//! Answers: what a shop must tell its customer.

use std::fmt;

use crate::{
    core::{Buyer, End, Timestamp, Token, TokenError},
    journal::JournalError,
    spec::{FaceError, SpecError},
};

/// Why there is no hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Rejection {
    /// The sale hasn't opened yet.
    #[error("not open yet: the sale opens at {opens_at}")]
    NotOpen {
        /// When it opens.
        opens_at: Timestamp,
    },
    /// The sale is over.
    #[error("the sale is closed")]
    Closed,
    /// The sale is paused; it may go on.
    #[error("the sale is paused: ask again later")]
    Paused,
    /// The buyer isn't among those whom the sale is for.
    #[error("this buyer isn't among those whom the sale is for")]
    NotEligible,
    /// The buyer isn't among those whom the sale is for so far; later it is for everyone.
    #[error("this buyer isn't among those whom the sale is for so far: it is for everyone from {from} on")]
    NotEligibleYet {
        /// When it is for everyone.
        from: Timestamp,
    },
    /// The invitation that was brought isn't this buyer's for this sale.
    #[error("this invitation isn't this buyer's for this sale: use the link that was sent to this buyer")]
    BadInvitation,
    /// The buyer would have more than the cap allows.
    #[error("limit reached: this buyer has {held} on hold and {bought} bought, the limit is {limit}")]
    LimitReached {
        /// Units this buyer has on hold.
        held: u32,
        /// Units this buyer has bought.
        bought: u32,
        /// The cap.
        limit: u32,
    },
    /// Another attempt of the same buyer, or under the same key, is being decided at this very moment: a double click.
    #[error("another attempt of this buyer is under way: its answer counts")]
    AttemptUnderWay,
    /// Units are free, but fewer than asked for.
    #[error("only {free} units are free: ask for fewer")]
    TooFewFree {
        /// How many were free.
        free: u64,
    },
    /// Nothing is free now, but not everything is sold: units on hold may come back.
    #[error("all held: {on_hold} on hold, the next falls due at {next_due}: ask again then")]
    AllHeld {
        /// Units on hold.
        on_hold: u64,
        /// No hold falls due before this instant. A cancelled hold may bring its units back earlier; an expired
        /// one does so after its grace.
        next_due: Timestamp,
    },
    /// Every unit is sold.
    #[error("sold out")]
    SoldOut,
    /// No unit, or more than one hold may have, was asked for.
    #[error("bad quantity: {asked} units in one hold, ask for 1 to {largest}")]
    BadQuantity {
        /// What was asked for.
        asked: u32,
        /// The most that one hold may have.
        largest: u32,
    },
    /// The request's key has made a hold before, and that hold has ended: a new attempt needs a new key.
    #[error("the hold of this key has ended: {how}; ask with a new key for another one")]
    HoldEnded {
        /// The hold's token. If the hold is sold, it is the order's.
        token: Token,
        /// How it ended.
        how: Ended,
    },
    /// The request's key has made a hold of another quantity.
    #[error("this key was used for {first} units, now for {asked}: another request needs a key of its own")]
    KeyReused {
        /// What is asked for now.
        asked: u32,
        /// What the key's hold was asked for.
        first: u32,
    },
}

/// The proof that units were sold to a buyer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Receipt {
    /// The sale's number for this order. With a journal the numbers run 1, 2, 3, .. without a gap, in the order in
    /// which the sales stand there.
    pub sequence: u64,
    /// The token of the hold that was sold.
    pub order: Token,
    /// Who bought.
    pub buyer: Buyer,
    /// Units.
    pub quantity: u32,
}

/// How a confirmation ended. Once one of these was given for a hold, a repeated confirmation gets the same receipt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Confirmation {
    /// Paid in time, grace included: ship.
    Confirmed(Receipt),
    /// Confirmed before, with this receipt: the provider reports twice. If the payment is another one, refund it.
    AlreadyConfirmed(Receipt),
    /// Paid too late, but a unit could be had all the same: ship.
    PaidLate(Receipt),
    /// Paid too late, and nothing is free, or only what others wait for: refund. The answer stands even if a unit comes
    /// back.
    PaidLateSoldOut,
    /// Paid too late, and with these units the buyer would have more than the cap allows by now: refund.
    PaidLateOverCap,
    /// The hold was cancelled before: refund.
    CancelledBefore,
    /// The token is genuine, but its hold ended so long ago, or in a crash before it was journaled, that nobody
    /// knows whose it was: refund, or make a new hold for the buyer and confirm that.
    HoldForgotten,
}

/// Why a confirmation has no answer.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ConfirmError {
    /// It is no token of this sale.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The journal failed before anything was decided: the hold is as it was.
    #[error("not confirmed, the journal has stopped: {0}")]
    Stopped(JournalError),
    /// The journal failed while the confirmation was being written: it may be on disk or not.
    #[error("outcome unknown: {0}; don't ship and don't refund yet, open the engine again and confirm again")]
    OutcomeUnknown(JournalError),
    /// A late payment met another attempt of its buyer, or, in an engine without a journal, another report of the same
    /// payment, that is being decided at this very moment.
    #[error("another attempt of this buyer is under way: confirm again")]
    AttemptUnderWay,
}

/// What was cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Cancelled {
    /// Units that are on sale again.
    pub quantity: u32,
}

/// How a hold had ended before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Ended {
    /// It is sold.
    Confirmed,
    /// Its confirmation is on its way to the disk: it can't be undone.
    BeingConfirmed,
    /// It was cancelled.
    Cancelled,
    /// It expired.
    Expired,
    /// It ended so long ago that its slot was used again since.
    LongAgo,
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Confirmed => "it is sold",
            Self::BeingConfirmed => "its confirmation is being written",
            Self::Cancelled => "it was cancelled",
            Self::Expired => "it expired",
            Self::LongAgo => "it ended long ago",
        })
    }
}

impl From<End> for Ended {
    fn from(end: End) -> Self {
        match end {
            End::Cancelled => Self::Cancelled,
            End::Expired => Self::Expired,
        }
    }
}

/// Why nothing was cancelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CancelError {
    /// It is no token of this sale.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The hold had ended already.
    #[error("the hold has ended already: {0}")]
    Ended(Ended),
}

/// Why nobody can say which units a hold has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnitsError {
    /// It is no token of this sale.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The hold has ended unsold: its units are not its own any more.
    #[error("the hold has ended, and has no units any more: {0}")]
    Ended(Ended),
}

/// Why a deadline was not moved.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ExtendError {
    /// It is no token of this sale.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The hold had ended already.
    #[error("the hold has ended already: {0}")]
    Ended(Ended),
    /// The deadline has passed.
    #[error("the hold was due at {due}: it can't be extended any more")]
    Overdue {
        /// When it was due.
        due: Timestamp,
    },
    /// It would last longer than a hold may.
    #[error("a hold can't last until {asked}: the latest is {latest}")]
    TooLong {
        /// The deadline that it would have.
        asked: Timestamp,
        /// The latest that it may have.
        latest: Timestamp,
    },
}

/// Why a sale was not created.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum CreateError {
    /// Its rules can't be kept.
    #[error(transparent)]
    Spec(#[from] SpecError),
    /// A sale of that name is there.
    #[error("a sale called {name:?} exists already: open it with Engine::sale, or choose another name")]
    NameTaken {
        /// The name.
        name: String,
    },
    /// The audience names a sale that isn't there.
    #[error("the audience names the sale {name:?}, which isn't there: create that one first")]
    NoSuchSale {
        /// The name.
        name: String,
    },
    /// All sales together would have more units than tokens can name.
    #[error("all sales of an engine together have room for {most} units: start another engine")]
    Full {
        /// The most units, rounded up for each sale.
        most: u64,
    },
    /// The journal didn't take it.
    #[error("not created: {0}")]
    Journal(#[from] JournalError),
}

/// Why a running sale was not changed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ChangeError {
    /// The stock would be larger than one sale can have.
    #[error("{add} more units make {total}, more than the {most} that one sale can have: create a second sale")]
    Stock {
        /// Units to add.
        add: u32,
        /// What the stock would be.
        total: u64,
        /// The most that it can be.
        most: u32,
    },
    /// All sales together would have more units than tokens can name.
    #[error("all sales of an engine together have room for {most} units: start another engine")]
    Full {
        /// The most units, rounded up for each sale.
        most: u64,
    },
    /// The sale is closed for good.
    #[error("the sale is closed: create a new one")]
    Closed,
    /// It would close before it opens.
    #[error("the sale would close at {closes_at}, not after it opens at {opens_at}: move one of them")]
    Window {
        /// When it would open.
        opens_at: Timestamp,
        /// When it would close.
        closes_at: Timestamp,
    },
    /// It would have closed already.
    #[error("the sale would have closed at {closes_at}, and it is {now}: name an instant to come, or now")]
    ClosesInThePast {
        /// When it would have closed.
        closes_at: Timestamp,
        /// What time it is.
        now: Timestamp,
    },
    /// The cap would be 0 or beyond what is counted.
    #[error("a cap of {cap} units a buyer: use 1 to {most}")]
    Cap {
        /// The cap as given.
        cap: u32,
        /// The most that it can be.
        most: u32,
    },
    /// Nobody is registered for the sale yet.
    #[error("registration begins at {from}: register then")]
    RegistersLater {
        /// When it begins.
        from: Timestamp,
    },
    /// Nobody is registered for the sale any more.
    #[error("registration ended at {until}: nobody is registered any more")]
    RegistrationOver {
        /// When it ended.
        until: Timestamp,
    },
    /// The amounts of the sale add up to its budget, and would not any more.
    #[error("the amounts of this sale add up to its budget as they are: create a second sale")]
    FixedBudget,
    /// The units of the sale are listed, and new ones need labels.
    #[error("the units of this sale are listed: add them with their labels, by Sale::add_listed")]
    NeedsLabels,
    /// The units of the sale have no labels.
    #[error("the units of this sale are not listed: add them by Sale::add_stock")]
    NoLabels,
    /// The new units can't have these faces.
    #[error(transparent)]
    Units(#[from] FaceError),
    /// The journal didn't take it; after a failed sync the change may be on disk or not.
    #[error("not changed for certain: {0}")]
    Journal(#[from] JournalError),
}

/// How an enrolment ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Enrolled {
    /// The buyer is registered now.
    New,
    /// The buyer was registered before.
    Already,
}

/// Why a buyer was not registered.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum EnrollError {
    /// Registration hasn't begun.
    #[error("registration begins at {from}: register then")]
    Later {
        /// When it begins.
        from: Timestamp,
    },
    /// Registration is over.
    #[error("registration ended at {until}: nobody is registered any more")]
    Over {
        /// When it ended.
        until: Timestamp,
    },
    /// The journal didn't take it.
    #[error("not registered for certain: {0}")]
    Journal(#[from] JournalError),
}

/// Why an order was not shipped.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum ShipError {
    /// The sale has no such order, or it isn't durable yet.
    #[error("the sale has no order {sequence}: its orders are numbered from 1, ask again if it was just confirmed")]
    NoSuchOrder {
        /// The number.
        sequence: u64,
    },
    /// The order was shipped before: once is enough.
    #[error("order {sequence} was shipped before: there is nothing to do")]
    ShippedBefore {
        /// The number.
        sequence: u64,
    },
    /// The journal didn't take it.
    #[error("not shipped for certain: {0}; open the engine again and ship again")]
    Journal(#[from] JournalError),
}

/// No sale has this name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("no sale is called {name:?}: create it first, or look at Engine::sales")]
pub struct NoSuchSale {
    /// The name.
    pub name: String,
}
