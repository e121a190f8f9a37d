//! What a worker writes down for the proof: its accepted holds, and a bounded summary of refusals for each sale.

use crate::{
    scenario::Change,
    target::{AcceptReply, CancelReply, ConfirmReply, HeldUnits, OrderId, Place, Refusal, SaleIndex},
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
    /// Which units, where they can be told apart.
    pub units: HeldUnits,
    /// Which units it became, if it was sold after it had run out.
    pub late_units: HeldUnits,
    /// The basket that it is a line of.
    pub basket: Option<BasketLine>,
    /// It was offered to somebody who waited.
    pub offered: bool,
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

/// A line of a basket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BasketLine {
    /// The basket, by a number that no other one has.
    pub basket: u64,
    /// The place of the line in it.
    pub line: u8,
    /// How many lines it has.
    pub lines: u8,
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
    /// The unit that was sold is not the one that was held.
    AnotherUnit,
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
            units: HeldUnits::Alike,
            late_units: HeldUnits::Alike,
            basket: None,
            offered: false,
            end: HoldEnd::Open,
            order: None,
            fault: None,
            first_confirm_ns: u64::MAX,
            already: false,
        }
    }

    /// Accepting it was answered.
    pub fn accept_replied(&mut self, reply: AcceptReply, exchange: Exchange, due: Due) {
        match reply {
            AcceptReply::Accepted { .. } => {
                (self.deadline_ns, self.lapses_ns) = (due.deadline_ns, due.lapses_ns);
            }
            AcceptReply::Ended if exchange.replied_ns < self.deadline_ns => self.blame(Fault::EndedByNobody),
            AcceptReply::Ended => self.end = HoldEnd::Lapsed,
            AcceptReply::Failed => {}
        }
    }

    /// What it was sold as.
    pub fn sold_as(&mut self, units: HeldUnits) {
        match self.end {
            HoldEnd::SoldLate(_) => self.late_units = units,
            _ if units != self.units => self.blame(Fault::AnotherUnit),
            _ => {}
        }
    }

    /// Whether it counts as a hold of its own: not a further line of a basket.
    #[must_use]
    pub fn is_first_line(&self) -> bool {
        self.basket.is_none_or(|basket| basket.line == 0)
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

/// Time in which a basket that was refused in the end may have had units.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shadow {
    /// From the first such request to the last answer.
    pub exchange: Exchange,
    /// How many units, at most, each request asked for; of one worker never two at once.
    pub units: u32,
}

/// A registration that was accepted, or whose answer is not known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Registration {
    /// The sale.
    pub sale: SaleIndex,
    /// Who registered.
    pub buyer: u64,
    /// Request and answer.
    pub exchange: Exchange,
    /// Whether the answer says that it is so.
    pub surely: bool,
}

/// Somebody's time in a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct QueueRecord {
    /// The sale.
    pub sale: SaleIndex,
    /// Who waited.
    pub buyer: u64,
    /// The place at the beginning.
    pub place: Place,
    /// Joining.
    pub joined: Exchange,
    /// When it was last asked for, and answered, that the turn has not come.
    pub still_queued: Exchange,
    /// What became of it.
    pub fate: QueueFate,
}

/// What became of somebody who waited.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum QueueFate {
    /// Nothing until the end of the run.
    Waiting,
    /// A unit was offered.
    Offered(Exchange),
    /// The queue was left.
    Left(Exchange),
    /// The place was lost without an offer that was seen.
    Gone(Exchange),
}

impl QueueRecord {
    /// When the buyer was possibly still in the queue, or had an offer that nobody saw: until here.
    #[must_use]
    pub const fn resolved_ns(&self) -> u64 {
        match self.fate {
            QueueFate::Waiting => u64::MAX,
            QueueFate::Offered(exchange) | QueueFate::Left(exchange) | QueueFate::Gone(exchange) => exchange.replied_ns,
        }
    }
}

/// A change that was made while the workers were at work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChangeRecord {
    /// What was asked for.
    pub change: Change,
    /// Request and answer.
    pub exchange: Exchange,
    /// How many units were added, withdrawn or shipped.
    pub units: u64,
}

/// What the refusals of one sale say.
#[derive(Debug, Clone)]
pub struct SaleLog {
    /// Requests for units.
    pub asked: u64,
    /// Requests with somebody else's purchase link.
    pub borrowed_tried: u64,
    /// Requests with somebody else's purchase link that got units.
    pub borrowed_held: u64,
    /// When baskets that were refused may have had units, one a millisecond.
    pub shadows: Vec<Shadow>,
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
            asked: 0,
            borrowed_tried: 0,
            borrowed_held: 0,
            shadows: Vec::new(),
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

    /// A basket with `units` of this sale was refused.
    pub fn shadowed(&mut self, exchange: Exchange, units: u32) {
        match self.shadows.last_mut() {
            Some(last) if exchange.called_ns < last.exchange.replied_ns.saturating_add(WITNESS_EVERY_NS) => {
                last.exchange.replied_ns = exchange.replied_ns;
                last.units = last.units.max(units);
            }
            _ => self.shadows.push(Shadow { exchange, units }),
        }
    }

    /// Adds what another worker saw.
    pub fn merge(&mut self, other: Self) {
        self.asked += other.asked;
        self.borrowed_tried += other.borrowed_tried;
        self.borrowed_held += other.borrowed_held;
        self.shadows.extend(other.shadows);
        self.witnesses.extend(other.witnesses);
        self.first_sold_out_ns = self.first_sold_out_ns.min(other.first_sold_out_ns);
        self.last_all_held_ns = self.last_all_held_ns.max(other.last_all_held_ns);
        self.last_not_open_ns = self.last_not_open_ns.max(other.last_not_open_ns);
        self.outsiders_held += other.outsiders_held;
        self.insiders_refused += other.insiders_refused;
    }
}
