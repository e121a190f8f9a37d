//! What a target tells of itself after a run, to be compared with what it said during the run.

use std::time::Duration;

use super::{OrderId, SaleIndex};

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

/// What a message says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum MessageKind {
    /// The sale opens soon.
    Reminder,
    /// The way to the sale, with the buyer's own invitation.
    PurchaseLink,
    /// The order is confirmed.
    Confirmation,
    /// The order is on its way.
    ShippingNotice,
}

impl MessageKind {
    /// The kinds in the order in which a buyer gets them.
    pub const ALL: [Self; 4] = [Self::Reminder, Self::PurchaseLink, Self::Confirmation, Self::ShippingNotice];

    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Reminder => "reminder",
            Self::PurchaseLink => "purchase_link",
            Self::Confirmation => "confirmation",
            Self::ShippingNotice => "shipping_notice",
        }
    }
}

/// A message that was delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeliveredMessage {
    /// Its id: larger than that of every earlier one.
    pub id: u128,
    /// What it says.
    pub kind: MessageKind,
    /// The sale that it is about.
    pub sale: SaleIndex,
    /// Whom it went to.
    pub buyer: u64,
    /// Which order of the sale it is about: its sequence, where it is about one.
    pub sequence: Option<u64>,
}

/// Every message that was delivered, in that order; one that was delivered twice is here twice.
#[derive(Debug, Clone, Default)]
pub struct MessageProof {
    /// The messages.
    pub messages: Vec<DeliveredMessage>,
}

/// A target's own figures of units that can be told apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FaceTotals {
    /// Units that have a face.
    pub units: u64,
    /// Where units are amounts: the amounts.
    pub amounts: Option<AmountTotals>,
}

/// A target's own sums of amounts, in cents.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AmountTotals {
    /// What all of them must add up to.
    pub budget: u64,
    /// Amounts that nobody has.
    pub free: u64,
    /// Amounts on hold.
    pub held: u64,
    /// Amounts sold.
    pub sold: u64,
}

/// What a second engine tells that was opened on a copy of the journal.
#[derive(Debug, Clone, Default)]
pub struct ReopenProof {
    /// How long it took to open.
    pub opened_in: Duration,
    /// Its sums, a sale in the scenario's order.
    pub totals: Vec<Totals>,
    /// Its sums of amounts, by sale, where units are amounts.
    pub amounts: Vec<(SaleIndex, AmountTotals)>,
}

/// What the sales cost their target.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Resources {
    /// Sales that were open.
    pub sales: u64,
    /// Resident memory that the sales added, before the first request; in bytes.
    pub resident_bytes: u64,
    /// How long it took to create them.
    pub created_in: Duration,
    /// How long it took to open them again from the journal, if that was tried.
    pub recovered_in: Option<Duration>,
}

/// Why a target can't be used, in words that say what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct TargetError(pub String);
