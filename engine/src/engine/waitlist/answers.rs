//! Answers of the waitlist: what a shop must tell who waits.

use super::Place;
use crate::{
    core::{Timestamp, Token, TokenError},
    engine::answers::{Ended, Rejection},
    journal::JournalError,
};

/// Why a buyer isn't on the waitlist.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// The sale has none.
    #[error("the sale has no waitlist: create it with SaleSpec::waitlist")]
    NoWaitlist,
    /// Units are free: there is nothing to wait for.
    #[error("units are free: reserve one")]
    UnitsFree,
    /// As many wait as may.
    #[error("the waitlist is full: {room} wait already")]
    Full {
        /// How many may wait.
        room: u32,
    },
    /// The buyer has an offer, which comes first.
    #[error("a unit is offered to this buyer until {accept_by}: accept it, pay it, or leave")]
    Offered {
        /// The hold.
        token: Token,
        /// Until when it can be accepted.
        accept_by: Timestamp,
    },
    /// What `reserve` would say, too: not open, closed, paused, not eligible, limit reached, sold out.
    #[error(transparent)]
    Rejected(Rejection),
    /// The journal didn't take it.
    #[error("not queued: {0}")]
    Journal(#[from] JournalError),
}

/// Where a buyer stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Waiting {
    /// Neither on the waitlist nor with an offer that could be accepted: never joined, left, let it lapse, accepted or
    /// paid.
    No,
    /// On the waitlist.
    Queued(Place),
    /// A unit is on hold, to be accepted or paid.
    Offered {
        /// The hold.
        token: Token,
        /// Until when, this instant included.
        accept_by: Timestamp,
    },
    /// It was this buyer's turn, but there was a limit in the way: the buyer had as many units as the cap allows.
    /// Remembered of as many buyers as the list has places.
    PassedOver,
}

/// What a buyer gave up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[must_use = "it says whether there was anything to give up"]
pub enum Left {
    /// A place on the waitlist.
    Place,
    /// A unit that was offered and not accepted: its hold is cancelled.
    Offer,
    /// Nothing: there was neither.
    Nothing,
}

/// Why an offer was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum AcceptError {
    /// It is no token of this sale.
    #[error(transparent)]
    Token(#[from] TokenError),
    /// The time to accept is over.
    #[error("the offer lapsed at {accept_by}: join again")]
    Lapsed {
        /// Until when it could have been accepted.
        accept_by: Timestamp,
    },
    /// The hold had ended already.
    #[error("the hold has ended already: {0}")]
    Ended(Ended),
}
