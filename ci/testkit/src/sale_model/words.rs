//! The words in which a sale is asked, and answers.
//!
//! What holds: a hold has one name, and an order one number, in the whole history.

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SaleCall {
    /// Units for a buyer.
    Reserve {
        /// Who.
        buyer: u64,
        /// How many.
        quantity: u32,
    },
    /// The payment for a hold.
    Confirm {
        /// Its name.
        hold: u32,
    },
    /// The end of a hold.
    Cancel {
        /// Its name.
        hold: u32,
    },
    /// More time for a hold.
    Extend {
        /// Its name.
        hold: u32,
        /// How much.
        by_ms: u64,
    },
    /// Time passes.
    Pass {
        /// How much.
        span_ms: u64,
    },
    /// Time acts. At most one tick at a time.
    Tick,
    /// More units.
    Add {
        /// How many.
        units: u32,
    },
    /// Free units are taken off.
    Withdraw {
        /// At most so many.
        units: u32,
    },
    /// No more holds.
    Pause,
    /// Holds again.
    Resume,
}

/// What is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SaleAnswer {
    /// To `Reserve`: a hold.
    Held {
        /// Its name: another one each time.
        hold: u32,
        /// Its deadline.
        due_ms: u64,
    },
    /// To `Reserve`: the sale is paused.
    Paused,
    /// To `Reserve`: the buyer has too many.
    LimitReached {
        /// On hold.
        held: u32,
        /// Bought.
        bought: u32,
    },
    /// To `Reserve`, and to `Confirm` of an expired hold: another attempt of the same buyer is under way. To `Confirm`
    /// of any hold: another report of the same payment is being decided.
    UnderWay,
    /// To `Reserve`: fewer are free than asked for.
    TooFewFree {
        /// So many.
        free: u32,
    },
    /// To `Reserve`: nothing is free, not everything is sold.
    AllHeld,
    /// To `Reserve`: everything is sold.
    SoldOut,
    /// To `Confirm`: sold now.
    Confirmed {
        /// The order's number: another one each time.
        order: u64,
    },
    /// To `Confirm`: sold now, although it was too late.
    PaidLate {
        /// The order's number: another one each time.
        order: u64,
    },
    /// To `Confirm`: sold before.
    AlreadyConfirmed {
        /// The same number as before.
        order: u64,
    },
    /// To `Confirm`: too late, and nothing is free.
    PaidLateSoldOut,
    /// To `Confirm`: too late, and the buyer has as many as the cap allows.
    PaidLateOverCap,
    /// To `Confirm`: cancelled before.
    CancelledBefore,
    /// To `Confirm`: ended so long ago that another hold has come since.
    Forgotten,
    /// To `Cancel`.
    Cancelled,
    /// To `Cancel` and `Extend`: it had ended before.
    Ended(SaleEnd),
    /// To `Extend`: the new deadline.
    Extended {
        /// When it falls due now.
        due_ms: u64,
    },
    /// To `Extend`: the deadline has passed.
    Overdue,
    /// To `Tick`.
    Ticked {
        /// How many holds have expired.
        expired: u32,
    },
    /// To `Withdraw`.
    Withdrawn {
        /// How many were taken off.
        units: u32,
    },
    /// To the other calls.
    Done,
}

/// How a hold had ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SaleEnd {
    /// It is sold.
    Confirmed,
    /// It is being sold.
    BeingConfirmed,
    /// It was cancelled.
    Cancelled,
    /// It expired.
    Expired,
    /// It ended so long ago that another hold has come since.
    LongAgo,
}
