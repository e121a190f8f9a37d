//! What a worker writes down for the proof: its accepted holds, and a bounded summary of refusals for each sale.

use crate::{
    target::{CancelReply, ConfirmReply, OrderId, Refusal},
    verify::Scene,
};

/// Real nanoseconds in which one refusal for want of stock is kept as a witness: the log grows with time, not with
/// the crowd.
const WITNESS_EVERY_NS: u64 = 1_000_000;

/// How a hold ended, as far as its buyer was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HoldEnd {
    /// Nobody ended it: it runs out at its deadline.
    Open,
    /// Sold in time.
    Sold(Exchange),
    /// It ran out, and was sold all the same.
    SoldLate(Exchange),
    /// Given back.
    Cancelled(Exchange),
    /// It ran out; the target said so.
    Lapsed,
    /// A confirmation was asked for, and its outcome is not known.
    Unknown {
        /// When it was first asked for.
        called_ns: u64,
    },
}

/// A request and its reply, in real nanoseconds since the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exchange {
    /// When the request was sent.
    pub called_ns: u64,
    /// When its answer was there.
    pub replied_ns: u64,
}

/// One accepted hold and its fate.
#[derive(Debug, Clone)]
pub struct HoldRecord {
    /// The sale's place in the scenario.
    pub sale: usize,
    /// Who holds.
    pub buyer: u64,
    /// How many units.
    pub quantity: u32,
    /// The ticket's fingerprint.
    pub ticket: u128,
    /// When it was asked for, in real nanoseconds since the start.
    pub called_ns: u64,
    /// When it was granted.
    pub held_ns: u64,
    /// Its deadline.
    pub deadline_ns: u64,
    /// Deadline and grace: from here the target may end it.
    pub lapses_ns: u64,
    /// How it ended.
    pub end: HoldEnd,
    /// The order it became.
    pub order: Option<OrderId>,
    /// The first thing about its end that can't be.
    pub fault: Option<Fault>,
    /// The earliest confirmation that was asked for; `u64::MAX` for none.
    first_confirm_ns: u64,
    /// An answer "already confirmed" was given.
    already: bool,
}

/// Something about the end of a hold that can't be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Two confirmations were both told to be the first.
    ConfirmedTwice,
    /// It was sold and given back.
    SoldAndCancelled,
    /// It was sold, and then its buyer was told it had run out.
    SoldAndLapsed,
    /// Two reports of one payment got different orders.
    TwoOrders,
    /// It was said to be sold already, but no report was the first.
    NeverFirst,
    /// It was said to have ended before, and nobody had ended it.
    EndedByNobody,
}

impl HoldRecord {
    /// A hold that was granted just now.
    #[must_use]
    pub fn granted(sale: usize, buyer: u64, quantity: u32, ticket: u128, exchange: Exchange, due: Due) -> Self {
        Self {
            sale,
            buyer,
            quantity,
            ticket,
            called_ns: exchange.called_ns,
            held_ns: exchange.replied_ns,
            deadline_ns: due.deadline_ns,
            lapses_ns: due.lapses_ns,
            end: HoldEnd::Open,
            order: None,
            fault: None,
            first_confirm_ns: u64::MAX,
            already: false,
        }
    }

    /// A confirmation was sent.
    pub fn confirming(&mut self, called_ns: u64) {
        self.first_confirm_ns = self.first_confirm_ns.min(called_ns);
    }

    /// A confirmation was answered.
    pub fn confirm_replied(&mut self, reply: ConfirmReply, exchange: Exchange) {
        match reply {
            ConfirmReply::Confirmed(order) => self.sold(order, HoldEnd::Sold(exchange)),
            ConfirmReply::PaidLate(order) => self.sold(order, HoldEnd::SoldLate(exchange)),
            ConfirmReply::AlreadyConfirmed(order) => {
                self.already = true;
                self.same_order(order);
                if matches!(self.end, HoldEnd::Cancelled(_)) {
                    self.blame(Fault::SoldAndCancelled);
                }
            }
            ConfirmReply::PaidLateSoldOut | ConfirmReply::Forgotten => match self.end {
                HoldEnd::Sold(_) | HoldEnd::SoldLate(_) => self.blame(Fault::SoldAndLapsed),
                HoldEnd::Open | HoldEnd::Unknown { .. } if exchange.replied_ns < self.deadline_ns => {
                    self.blame(Fault::EndedByNobody);
                }
                HoldEnd::Open | HoldEnd::Unknown { .. } => self.end = HoldEnd::Lapsed,
                HoldEnd::Cancelled(_) | HoldEnd::Lapsed => {}
            },
            ConfirmReply::CancelledBefore => match self.end {
                HoldEnd::Sold(_) | HoldEnd::SoldLate(_) => self.blame(Fault::SoldAndCancelled),
                HoldEnd::Cancelled(_) => {}
                HoldEnd::Open | HoldEnd::Lapsed | HoldEnd::Unknown { .. } => self.blame(Fault::EndedByNobody),
            },
            ConfirmReply::Unknown | ConfirmReply::Failed => {
                if self.end == HoldEnd::Open {
                    self.end = HoldEnd::Unknown { called_ns: self.first_confirm_ns };
                }
            }
        }
    }

    /// Giving it back was answered.
    pub fn cancel_replied(&mut self, reply: CancelReply, exchange: Exchange) {
        match (reply, self.end) {
            (CancelReply::Cancelled, HoldEnd::Sold(_) | HoldEnd::SoldLate(_)) => self.blame(Fault::SoldAndCancelled),
            (CancelReply::Cancelled, HoldEnd::Open | HoldEnd::Unknown { .. }) => {
                self.end = HoldEnd::Cancelled(exchange);
            }
            (CancelReply::Cancelled, HoldEnd::Cancelled(_) | HoldEnd::Lapsed) => self.blame(Fault::EndedByNobody),
            (CancelReply::AlreadyEnded, HoldEnd::Open) if exchange.replied_ns < self.deadline_ns => {
                self.blame(Fault::EndedByNobody);
            }
            (CancelReply::AlreadyEnded, HoldEnd::Open) => self.end = HoldEnd::Lapsed,
            (CancelReply::AlreadyEnded | CancelReply::Failed, _) => {}
        }
    }

    /// Draws the last conclusions once every answer is in.
    pub(super) fn settle(&mut self) {
        let asked = self.first_confirm_ns < u64::MAX;
        if self.end == HoldEnd::Open && asked {
            self.end = HoldEnd::Unknown { called_ns: self.first_confirm_ns };
            if self.already {
                self.blame(Fault::NeverFirst);
            }
        }
    }

    /// Whether it became a sale.
    #[must_use]
    pub const fn is_sold(&self) -> bool {
        matches!(self.end, HoldEnd::Sold(_) | HoldEnd::SoldLate(_))
    }

    /// Whether it ran out: the target said so, or nobody ended it and its time is over at `now_ns`.
    #[must_use]
    pub fn is_expired(&self, now_ns: u64) -> bool {
        match self.end {
            HoldEnd::Lapsed => true,
            HoldEnd::Open => self.lapses_ns.saturating_add(Scene::slack_ns()) <= now_ns,
            _ => false,
        }
    }

    fn sold(&mut self, order: OrderId, end: HoldEnd) {
        self.same_order(order);
        match self.end {
            HoldEnd::Sold(_) | HoldEnd::SoldLate(_) => self.blame(Fault::ConfirmedTwice),
            HoldEnd::Cancelled(_) => self.blame(Fault::SoldAndCancelled),
            HoldEnd::Open | HoldEnd::Lapsed | HoldEnd::Unknown { .. } => self.end = end,
        }
    }

    fn same_order(&mut self, order: OrderId) {
        if self.order.is_some_and(|known| known != order) {
            self.blame(Fault::TwoOrders);
        }
        self.order.get_or_insert(order);
    }

    fn blame(&mut self, fault: Fault) {
        self.fault.get_or_insert(fault);
    }
}

/// When a hold's time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// Its deadline, in real nanoseconds since the start.
    pub deadline_ns: u64,
    /// Deadline and grace.
    pub lapses_ns: u64,
}

/// A refusal for want of stock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Witness {
    /// Request and answer.
    pub exchange: Exchange,
    /// How many units were asked for.
    pub quantity: u32,
}

/// What the refusals of one sale say.
#[derive(Debug, Clone)]
pub struct SaleLog {
    /// Refusals for want of stock, one a millisecond.
    pub witnesses: Vec<Witness>,
    /// The earliest answer "sold out"; `u64::MAX` for none.
    pub first_sold_out_ns: u64,
    /// The latest request that was answered "all held"; 0 for none.
    pub last_all_held_ns: u64,
    /// The latest request that was answered "not open yet"; 0 for none.
    pub last_not_open_ns: u64,
    /// People who were not let in and got a unit.
    pub outsiders_held: u64,
    /// People who were let in and were told they were not.
    pub insiders_refused: u64,
}

impl Default for SaleLog {
    fn default() -> Self {
        Self {
            witnesses: Vec::new(),
            first_sold_out_ns: u64::MAX,
            last_all_held_ns: 0,
            last_not_open_ns: 0,
            outsiders_held: 0,
            insiders_refused: 0,
        }
    }
}

impl SaleLog {
    /// A request was refused.
    pub fn refused(&mut self, refusal: Refusal, exchange: Exchange, quantity: u32, let_in: bool) {
        match refusal {
            Refusal::SoldOut => self.first_sold_out_ns = self.first_sold_out_ns.min(exchange.replied_ns),
            Refusal::AllHeld => self.last_all_held_ns = self.last_all_held_ns.max(exchange.called_ns),
            Refusal::NotOpen { .. } => self.last_not_open_ns = self.last_not_open_ns.max(exchange.called_ns),
            Refusal::NotEligible if let_in => self.insiders_refused += 1,
            _ => {}
        }
        if refusal.is_want_of_stock() {
            let last = self.witnesses.last().map(|witness| witness.exchange.called_ns / WITNESS_EVERY_NS);
            if last != Some(exchange.called_ns / WITNESS_EVERY_NS) {
                self.witnesses.push(Witness { exchange, quantity });
            }
        }
    }

    /// Adds what another worker saw.
    pub fn merge(&mut self, other: Self) {
        self.witnesses.extend(other.witnesses);
        self.first_sold_out_ns = self.first_sold_out_ns.min(other.first_sold_out_ns);
        self.last_all_held_ns = self.last_all_held_ns.max(other.last_all_held_ns);
        self.last_not_open_ns = self.last_not_open_ns.max(other.last_not_open_ns);
        self.outsiders_held += other.outsiders_held;
        self.insiders_refused += other.insiders_refused;
    }
}
