//! What the process that sells says, and what it is asked: a line of JSON each.
//!
//! What holds: `Pays`, `Adds`, `Withdraws` and `Cancels` are said before the call, so that whatever is found in the
//! journal was announced; `Heard`, `Added`, `Withdrawn`, `Cancelled` and `Holds` are said after the answer, when it
//! is durable: each is a promise. A line is written with one call and is whole or not there.

use serde::{Deserialize, Serialize};

/// The sales, by their place here.
pub(super) const SALES: [&str; 3] = ["plenty", "scarce", "seats"];
/// Of which there is enough for everybody.
pub(super) const PLENTY: usize = 0;
/// Of which there is never enough: buyers wait for it.
pub(super) const SCARCE: usize = 1;
/// Whose units are numbered.
pub(super) const SEATS: usize = 2;

/// Units of a sale that a hold, or a part of a basket, has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Item {
    /// The sale's place in [`SALES`].
    pub(super) sale: usize,
    pub(super) quantity: u32,
}

/// What a payment pays.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Bill {
    /// The hold's token, or the basket's.
    pub(super) token: String,
    pub(super) buyer: u64,
    pub(super) items: Vec<Item>,
    pub(super) basket: bool,
    /// It was offered to somebody who had waited for it.
    pub(super) offered: bool,
}

/// One order, as a receipt tells it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Order {
    pub(super) item: Item,
    pub(super) sequence: u64,
    /// Its id in the journal.
    pub(super) id: String,
    /// Numbers of its units, where they have any.
    pub(super) units: Vec<u32>,
}

/// What was answered to a payment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Answer {
    Sold(Vec<Order>),
    /// It is to be refunded, and why.
    Refund(String),
}

/// A sale as recovery left it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Found {
    pub(super) sale: usize,
    pub(super) holds: bool,
    pub(super) stock: u64,
    pub(super) added: u64,
    pub(super) withdrawn: u64,
    pub(super) sold: u64,
    pub(super) orders: u64,
    /// As text: a number of 128 bits is beyond JSON.
    pub(super) digest: String,
}

/// What the process that sells says.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Word {
    /// The journal is open, and this is what it had.
    Opened(Vec<Found>),
    /// Units are about to be added to the scarce sale.
    Adds(u32),
    /// They are.
    Added(u32),
    /// At most so many units are about to be withdrawn from the scarce sale.
    Withdraws(u32),
    /// So many were.
    Withdrawn(u32),
    /// This hold is durable, and in time until this instant, in milliseconds.
    Holds(Bill, u64),
    /// This token's hold is about to be cancelled.
    Cancels(String),
    /// It is, and that is durable.
    Cancelled(String),
    /// This payment is about to be reported.
    Pays(String, Bill),
    /// This is its answer.
    Heard(String, Answer),
    /// This payment came late, and its hold was had again.
    Late(String),
    /// Something is wrong.
    Wrong(String),
}

/// A payment that the process that sells is to report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Question {
    pub(super) payment: String,
    pub(super) bill: Bill,
    /// The hold is known to be durable and not ended: until this instant it must be sold, in time.
    pub(super) in_time_until: Option<u64>,
}
