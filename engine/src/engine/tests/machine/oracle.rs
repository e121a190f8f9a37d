//! What must be: what everybody was told, and sums over it. It never looks into the engine.

use std::collections::{BTreeSet, HashMap};

use super::*;
use crate::{SaleSpec, WaitOrder};

/// Where a hold stands that is a basket.
pub(super) const BASKET: usize = SALES;
pub(super) const HOLD: Duration = seconds(30);
pub(super) const GRACE: Duration = seconds(2);

/// What becomes of a hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    Held,
    /// Or, after it had expired, another hold in its place.
    Sold {
        late: bool,
    },
    /// Ended for good: cancelled, or lost in a crash.
    Over,
    /// Paid after it had expired, and refused for good.
    Refused,
    /// It can still be paid, if there is enough.
    Expired,
    /// It has expired, and a crash came before that was durable: perhaps it can be paid.
    PerhapsExpired,
}

/// A hold or a basket, as its buyer knows it.
#[derive(Debug, Clone)]
#[expect(clippy::struct_excessive_bools, reason = "what is known of a hold, each for itself")]
pub(super) struct Ticket {
    /// The number of its sale, or `BASKET`.
    pub(super) place: usize,
    /// Its units, sale by sale, and which they are.
    pub(super) units: [u32; SALES],
    pub(super) faces: Vec<Unit>,
    pub(super) token: Token,
    pub(super) buyer: u64,
    /// The last one is the present one; a crash may leave any.
    pub(super) deadlines: Vec<Timestamp>,
    /// Until when it could be accepted, if it was offered.
    pub(super) accept_by: Option<Timestamp>,
    pub(super) fate: Fate,
    /// The journal has it for certain; and its end.
    pub(super) durable: bool,
    pub(super) end_durable: bool,
    /// The payment that sold it, and the number of the order, among baskets if it is one.
    pub(super) paid: Option<(u64, u64)>,
    pub(super) receipt: Option<Receipt>,
    /// Somebody was told to refund its payment, and whether that is durable.
    pub(super) refunded: bool,
    pub(super) refund_durable: bool,
}

impl Ticket {
    pub(super) fn deadline(&self) -> Timestamp {
        *self.deadlines.last().expect("it was made with one")
    }

    pub(super) fn quantity(&self) -> u32 {
        self.units.iter().sum()
    }
}

/// One order of a sale.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Order {
    pub(super) payment: u64,
    pub(super) buyer: u64,
    pub(super) quantity: u32,
}

/// What operators made of a sale.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Rules {
    pub(super) cap: u32,
    pub(super) opens: Option<Timestamp>,
    pub(super) closes: Option<Timestamp>,
    pub(super) paused: bool,
    pub(super) closed: bool,
    pub(super) added: u32,
    pub(super) withdrawn: u32,
}

/// Who waits: what is drawn, the ticket, and who.
pub(super) type Line = Vec<(u64, u64, u64)>;

/// One sale.
pub(super) struct Shop {
    pub(super) spec: SaleSpec,
    /// The last ones are in force; after a change that failed the journal may have any.
    pub(super) rules: Vec<Rules>,
    /// The highest cap so far.
    pub(super) highest: u32,
    /// The last one is the present one; after a crash any may be there, and no other.
    pub(super) lines: Vec<Line>,
    pub(super) tickets: u64,
    /// In their sequence, and how many of them are durable.
    pub(super) orders: Vec<Order>,
    pub(super) durable: usize,
    /// What was shipped, and whether that is certain.
    pub(super) shipped: HashMap<u64, bool>,
}

impl Shop {
    pub(super) fn new(spec: SaleSpec) -> Self {
        let (cap, opens, closes) = (spec.cap, spec.opens_at, spec.closes_at);
        let rules = Rules { cap, opens, closes, paused: false, closed: false, added: 0, withdrawn: 0 };
        Self {
            spec,
            rules: vec![rules],
            highest: cap,
            lines: vec![Vec::new()],
            tickets: 0,
            orders: Vec::new(),
            durable: 0,
            shipped: HashMap::new(),
        }
    }

    pub(super) fn rules(&self) -> &Rules {
        self.rules.last().expect("there are always some")
    }

    pub(super) fn line(&self) -> &Line {
        self.lines.last().expect("there is always one")
    }

    /// The line changes, and the journal has it with the next commit.
    pub(super) fn change_line(&mut self, change: impl FnOnce(&mut Line)) {
        let mut line = self.line().clone();
        change(&mut line);
        line.sort_unstable();
        self.lines.push(line);
    }

    pub(super) fn draw(&self, buyer: u64) -> u64 {
        match self.spec.waitlist.expect("it has a waitlist").order {
            WaitOrder::FirstCome => 0,
            WaitOrder::Lottery { seed } => WaitOrder::draw(seed, Buyer::from(buyer)),
        }
    }

    pub(super) fn waits(&self, buyer: u64) -> bool {
        self.line().iter().any(|(_, _, other)| *other == buyer)
    }

    /// The largest hold that may be made.
    pub(super) fn largest(&self) -> u32 {
        self.spec.largest.min(self.rules().cap)
    }

    pub(super) fn stock(&self) -> u32 {
        self.spec.stock + self.rules().added - self.rules().withdrawn
    }
}

pub(super) struct Oracle {
    pub(super) shops: Vec<Shop>,
    pub(super) tickets: Vec<Ticket>,
    /// As `Shop::rules`.
    pub(super) halted: Vec<bool>,
    /// Who is registered for the second sale for certain, and who may be.
    pub(super) registered: BTreeSet<u64>,
    pub(super) perhaps_registered: BTreeSet<u64>,
    /// The latest ticket of a buyer's key.
    pub(super) keys: HashMap<(usize, u64, u8), usize>,
    /// Payments that were reported: the number of the last one.
    pub(super) payments: u64,
}

/// What a payment must be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    Sold {
        late: bool,
    },
    SoldBefore,
    Refund,
    /// One of the last two, by what a crash has left.
    LateOrRefund,
}

impl Oracle {
    /// Units of a sale that are on hold and sold: one buyer's, or all.
    pub(super) fn share(&self, sale: usize, buyer: Option<u64>) -> (u32, u32) {
        let (mut held, mut sold) = (0, 0);
        for ticket in self.tickets.iter().filter(|ticket| buyer.is_none_or(|buyer| ticket.buyer == buyer)) {
            match ticket.fate {
                Fate::Held => held += ticket.units[sale],
                Fate::Sold { .. } => sold += ticket.units[sale],
                _ => {}
            }
        }
        (held, sold)
    }

    /// What each buyer has of a sale, held and sold together.
    pub(super) fn shares(&self, sale: usize) -> HashMap<Buyer, u32> {
        let mut shares = HashMap::new();
        for ticket in &self.tickets {
            if ticket.units[sale] > 0 && matches!(ticket.fate, Fate::Held | Fate::Sold { .. }) {
                *shares.entry(Buyer::from(ticket.buyer)).or_insert(0) += ticket.units[sale];
            }
        }
        shares
    }

    pub(super) fn free(&self, sale: usize) -> u32 {
        let (held, sold) = self.share(sale, None);
        (self.shops[sale].stock()).checked_sub(held + sold).expect("more units are held and sold than there are")
    }

    pub(super) fn is_halted(&self) -> bool {
        *self.halted.last().expect("there is always one")
    }

    pub(super) fn state(&self, sale: usize, now: Timestamp) -> SaleState {
        let rules = self.shops[sale].rules();
        match (rules.opens, rules.closes) {
            (_, closes_at) if rules.closed || closes_at.is_some_and(|at| now >= at) => SaleState::Closed,
            (Some(opens_at), _) if now < opens_at => SaleState::Scheduled { opens_at },
            _ if rules.paused || self.is_halted() => SaleState::Paused,
            _ => SaleState::Open,
        }
    }

    fn is_for(&self, sale: usize, buyer: u64, now: Timestamp) -> bool {
        let spec = &self.shops[sale].spec;
        let known = self.registered.contains(&buyer) || self.perhaps_registered.contains(&buyer);
        spec.audience == Audience::Everyone || known || spec.everyone_from.is_some_and(|from| now >= from)
    }

    /// Whether the cap allows the buyer so many units more.
    pub(super) fn is_allowed(&self, sale: usize, buyer: u64, quantity: u32) -> bool {
        let (held, sold) = self.share(sale, Some(buyer));
        held + sold + quantity <= self.shops[sale].rules().cap
    }

    /// Whether so many units are free and for everybody.
    pub(super) fn has(&self, sale: usize, quantity: u32) -> bool {
        self.shops[sale].line().is_empty() && self.free(sale) >= quantity
    }

    /// Whether the buyer must get the units.
    pub(super) fn lets(&self, sale: usize, buyer: u64, quantity: u32, now: Timestamp) -> bool {
        (1..=self.shops[sale].largest()).contains(&quantity)
            && self.state(sale, now) == SaleState::Open
            && self.is_for(sale, buyer, now)
            && self.is_allowed(sale, buyer, quantity)
            && self.has(sale, quantity)
    }

    /// Whether who was refused was told the truth.
    pub(super) fn is_true(&self, sale: usize, buyer: u64, quantity: u32, now: Timestamp, why: &Rejection) -> bool {
        let (shop, free) = (&self.shops[sale], self.free(sale));
        let (held, sold) = self.share(sale, None);
        match *why {
            Rejection::NotOpen { opens_at } => shop.rules().opens == Some(opens_at) && now < opens_at,
            Rejection::Closed => self.state(sale, now) == SaleState::Closed,
            Rejection::Paused => shop.rules().paused || self.is_halted(),
            Rejection::NotEligibleYet { from } => {
                shop.spec.everyone_from == Some(from) && !self.is_for(sale, buyer, now)
            }
            Rejection::BadQuantity { asked, largest } => {
                asked == quantity && largest == shop.largest() && !(1..=largest).contains(&asked)
            }
            Rejection::LimitReached { held, bought, limit } => {
                let (on_hold, sold) = self.share(sale, Some(buyer));
                limit == shop.rules().cap && held + bought == on_hold + sold && held + bought + quantity > limit
            }
            Rejection::TooFewFree { free: told } => told == u64::from(free) && free < quantity && free > 0,
            Rejection::AllHeld { on_hold, .. } => {
                let waits = !shop.line().is_empty();
                let unsettled = sold - shop.orders[..shop.durable].iter().map(|order| order.quantity).sum::<u32>();
                let most = u64::from(held + unsettled + free);
                (free == 0 || waits) && on_hold >= u64::from(held + free) && on_hold <= most
            }
            Rejection::SoldOut => free == 0 && held == 0,
            _ => false,
        }
    }

    pub(super) fn made(&mut self, ticket: Ticket) -> usize {
        let known = self.tickets.iter().any(|other| other.token == ticket.token);
        assert!(!known, "buyer {} was given another's hold", ticket.buyer);
        self.tickets.push(ticket);
        self.tickets.len() - 1
    }

    /// What a payment for the ticket must be answered.
    pub(super) fn payment_due(&self, index: usize, now: Timestamp) -> Due {
        let ticket = &self.tickets[index];
        let lines = || ticket.units.iter().enumerate().filter(|(_, units)| **units > 0);
        match ticket.fate {
            Fate::Held => Due::Sold { late: now >= ticket.deadline().plus(GRACE) },
            Fate::Sold { .. } => Due::SoldBefore,
            Fate::Over | Fate::Refused => Due::Refund,
            Fate::Expired | Fate::PerhapsExpired => {
                let fits = |(sale, units): (usize, &u32)| {
                    self.is_allowed(sale, ticket.buyer, *units) && self.has(sale, *units)
                };
                match (lines().all(fits), ticket.fate) {
                    (false, _) => Due::Refund,
                    (true, Fate::Expired) => Due::Sold { late: true },
                    (true, _) => Due::LateOrRefund,
                }
            }
        }
    }

    /// The ticket is sold against the payment: an order in each of its sales.
    pub(super) fn sell(&mut self, index: usize, payment: u64) {
        let baskets = self.tickets.iter().filter(|other| other.place == BASKET && other.paid.is_some()).count();
        let ticket = &mut self.tickets[index];
        for (shop, units) in self.shops.iter_mut().zip(ticket.units) {
            if units > 0 {
                shop.orders.push(Order { payment, buyer: ticket.buyer, quantity: units });
            }
        }
        let sequence = if ticket.place == BASKET { baskets + 1 } else { self.shops[ticket.place].orders.len() };
        ticket.paid = Some((payment, sequence as u64));
        ticket.fate = Fate::Sold { late: ticket.fate != Fate::Held };
    }

    /// Whatever was appended to the journal so far is durable: orders, places, refunds, who registered.
    pub(super) fn committed(&mut self) {
        for shop in &mut self.shops {
            shop.durable = shop.orders.len();
            shop.lines.drain(..shop.lines.len() - 1);
        }
        self.registered.append(&mut self.perhaps_registered);
        for ticket in &mut self.tickets {
            ticket.refund_durable = ticket.refunded;
            ticket.end_durable |= ticket.refunded || ticket.paid.is_some();
        }
    }

    /// Whatever was done so far is durable.
    pub(super) fn written(&mut self) {
        self.committed();
        for ticket in &mut self.tickets {
            ticket.durable = true;
            ticket.end_durable = ticket.fate != Fate::Held;
            ticket.deadlines.drain(..ticket.deadlines.len() - 1);
        }
    }

    /// A time-out: whatever is overdue has expired.
    pub(super) fn expire(&mut self, now: Timestamp) -> u64 {
        let overdue = |ticket: &&mut Ticket| ticket.fate == Fate::Held && now >= ticket.deadline().plus(GRACE);
        self.tickets.iter_mut().filter(overdue).map(|ticket| ticket.fate = Fate::Expired).count() as u64
    }
}
