//! The shop under test, as the generator sees it: typed requests, typed answers.
//!
//! A [`Target`] is made once a run and shared; each worker has a [`Session`] of its own. Nothing here knows what is
//! behind it: an engine in this process, a script in Redis, a shop over HTTP. What a target can't tell (it has no
//! journal, no audit) it says with `None`, and the proof goes on without it.

pub mod engine;

use std::fmt;

use sellout::Timestamp;

use crate::scenario::SalePlan;

/// The place of a sale in its scenario.
pub type SaleIndex = usize;

/// What can be sold to: made once a run, shared by all workers.
pub trait Target: Sync {
    /// What each worker talks to.
    type Session: Session;

    /// What the target is called in reports.
    fn name(&self) -> &str;

    /// Puts `plan` on sale, or finds what an earlier run left of it. Called once, before the clock runs.
    ///
    /// # Errors
    /// [`TargetError`] if the target can't be used.
    fn prepare(&self, plan: &Preparation<'_>) -> Result<Opening, TargetError>;

    /// A session for one worker, made in the worker's own thread.
    fn session(&self) -> Self::Session;

    /// The target's own sums of a sale, if it tells.
    ///
    /// # Errors
    /// [`TargetError`] if it should tell but can't.
    fn totals(&self, _sale: SaleIndex) -> Result<Option<Totals>, TargetError> {
        Ok(None)
    }

    /// What its journal holds, if it has one. Called once, after the run.
    ///
    /// # Errors
    /// [`TargetError`] if the journal can't be read.
    fn journal(&self) -> Result<Option<JournalProof>, TargetError> {
        Ok(None)
    }

    /// What its ledger holds, if it has one. Called once, after the run; it may wait for deliveries under way.
    ///
    /// # Errors
    /// [`TargetError`] if the ledger can't be read.
    fn ledger(&self) -> Result<Option<LedgerProof>, TargetError> {
        Ok(None)
    }
}

/// One worker's connection to the target.
pub trait Session {
    /// What names a hold towards the target.
    type Ticket: Ticket;
    /// A confirmation that is under way.
    type Pending: Pending;

    /// Asks for `quantity` units for `buyer`.
    ///
    /// # Errors
    /// [`Refusal`] says why there are none.
    fn reserve(&mut self, sale: SaleIndex, buyer: u64, quantity: u32) -> Result<Held<Self::Ticket>, Refusal>;

    /// Reports the payment of a hold. It must not wait for a disk or a network if it can be asked later.
    fn confirm(&mut self, sale: SaleIndex, ticket: &Self::Ticket, payment: u64) -> Answer<Self::Pending>;

    /// Gives a hold back.
    fn cancel(&mut self, sale: SaleIndex, ticket: &Self::Ticket) -> CancelReply;

    /// Why the last answer was `Failed`, in the target's words; forgotten once told.
    fn take_failure(&mut self) -> Option<String> {
        None
    }
}

/// What names a hold towards the target.
pub trait Ticket: Clone {
    /// The same for equal tickets, and for equal tickets only.
    fn fingerprint(&self) -> u128;
}

/// A confirmation that is under way.
pub trait Pending {
    /// Its outcome, once there is one; never waits.
    fn poll(&mut self) -> Option<ConfirmReply>;
}

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
pub struct Held<T> {
    /// What names the hold.
    pub ticket: T,
    /// The last instant at which it may be paid.
    pub deadline: Timestamp,
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
}

impl Refusal {
    /// The reasons' names in reports, in the order of [`Refusal::place`].
    pub const NAMES: [&'static str; 11] = [
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

/// What a target is asked to put on sale.
pub struct Preparation<'a> {
    /// The sales.
    pub sales: &'a [SalePlan],
    /// When the run starts: the scenario's instants count from here.
    pub base: Timestamp,
    /// Everybody who registered beforehand, afresh at each call.
    pub registered: &'a (dyn Fn() -> Box<dyn Iterator<Item = u64> + 'a> + Sync),
}

impl fmt::Debug for Preparation<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Preparation").field("sales", &self.sales).field("base", &self.base).finish_non_exhaustive()
    }
}

/// What stands in the shop before the first request.
#[derive(Debug, Clone, Default)]
pub struct Opening {
    /// A state for each sale that an earlier run left behind; a fresh sale has the default.
    pub sales: Vec<SaleOpening>,
    /// The latest instant that the target remembers: time must not go on from before it.
    pub latest: Option<Timestamp>,
}

/// What an earlier run left of one sale.
#[derive(Debug, Clone, Default)]
pub struct SaleOpening {
    /// Whether the sale was there before this run.
    pub resumed: bool,
    /// When it opens, if that was fixed before this run.
    pub opens_at: Option<Timestamp>,
    /// Units that are on hold.
    pub held: u64,
    /// Sales that were confirmed.
    pub confirmed: Vec<JournalledSale>,
}

impl SaleOpening {
    /// Units that were sold before this run.
    #[must_use]
    pub fn sold(&self) -> u64 {
        self.confirmed.iter().map(|sale| u64::from(sale.quantity)).sum()
    }
}

/// A target's own sums of one sale.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Units at the start.
    pub stock: u64,
    /// Units added since.
    pub added: u64,
    /// Units withdrawn since.
    pub withdrawn: u64,
    /// Units sold.
    pub sold: u64,
    /// Units on hold.
    pub held: u64,
    /// Units that can be had.
    pub free: u64,
    /// A digest over the confirmed sales, if the target has one.
    pub digest: Option<u128>,
}

/// A confirmed sale as journal or ledger have it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct JournalledSale {
    /// The sale's name.
    pub sale: String,
    /// The order.
    pub order: OrderId,
    /// Who bought; `None` if the target doesn't keep it.
    pub buyer: Option<u64>,
    /// How many units.
    pub quantity: u32,
    /// The payment, as the target keeps it.
    pub payment: String,
}

/// What a journal holds after the run.
#[derive(Debug, Clone, Default)]
pub struct JournalProof {
    /// Records of every kind.
    pub records: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// Every confirmed sale.
    pub sales: Vec<JournalledSale>,
    /// The digest of each sale, by name.
    pub digests: Vec<(String, u128)>,
}

/// What a ledger holds after the run.
#[derive(Debug, Clone, Default)]
pub struct LedgerProof {
    /// Every sale in it, as often as it is there.
    pub sales: Vec<JournalledSale>,
    /// The digest of each sale, by name.
    pub digests: Vec<(String, u128)>,
}

/// Why a target can't be used, in words that say what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TargetError(pub String);
