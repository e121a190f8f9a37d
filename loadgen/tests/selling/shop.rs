//! A small shop behind one lock, as a test target: right, or broken in one way.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::{Arc, Mutex},
};

use sellout::{Clock, Timestamp};
use sellout_loadgen::{
    clock::ScaledClock,
    scenario::SalePlan,
    target::{
        Answer, CancelReply, ConfirmReply, Held, JournalProof, JournalledSale, LedgerProof, Opening, OrderId, Pending,
        Preparation, Refusal, SaleIndex, Session, Target, TargetError, Ticket, Totals,
    },
};

/// The one thing that is wrong with a shop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Broken {
    /// Nothing.
    Not,
    /// It looks at the stock before a unit of it is given away by somebody else.
    Oversells,
    /// Units of holds that ran out never come back.
    LeaksHeldUnits,
    /// It forgets who has a unit.
    IgnoresTheCap,
    /// Each report of a payment is a new sale.
    ConfirmsTwice,
    /// It says "sold out" when units are only on hold.
    SaysSoldOutTooEarly,
    /// It lets in who did not register.
    LetsEverybodyIn,
    /// It sells before it opens.
    OpensEarly,
    /// All holds have the same ticket.
    OneTicketForAll,
    /// It acknowledges a sale that it doesn't write down.
    ForgetsToJournal,
    /// It delivers a sale twice.
    DeliversTwice,
    /// Its own sums are wrong.
    MiscountsItself,
    /// Its own sums lose a unit.
    LosesCount,
    /// All sales have the same order.
    OneOrderForAll,
    /// Its journal's digest is of something else.
    DigestsSomethingElse,
}

#[derive(Debug)]
pub(crate) struct Shop {
    broken: Broken,
    clock: Arc<ScaledClock>,
    rooms: Arc<Mutex<Vec<Room>>>,
}

/// One sale.
#[derive(Debug)]
struct Room {
    plan: SalePlan,
    opens_at: Timestamp,
    registered: HashSet<u64>,
    free: i64,
    sold: u64,
    held: u64,
    had: HashMap<u64, u32>,
    holds: HashMap<u64, Hold>,
    due: BTreeSet<(Timestamp, u64)>,
    journal: Vec<JournalledSale>,
    next: u64,
}

#[derive(Debug, Clone, Copy)]
struct Hold {
    buyer: u64,
    quantity: u32,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Held,
    Sold(OrderId),
    Cancelled,
    Expired,
}

impl Shop {
    pub(crate) fn new(broken: Broken, clock: Arc<ScaledClock>) -> Self {
        Self { broken, clock, rooms: Arc::default() }
    }
}

impl Target for Shop {
    type Session = ShopSession;

    fn name(&self) -> &'static str {
        "shop"
    }

    fn prepare(&self, plan: &Preparation<'_>) -> Result<Opening, TargetError> {
        let room = |sale: &SalePlan| Room {
            plan: sale.clone(),
            opens_at: plan.base.plus(sale.opens_at),
            registered: (plan.registered)().collect(),
            free: i64::from(sale.stock),
            sold: 0,
            held: 0,
            had: HashMap::new(),
            holds: HashMap::new(),
            due: BTreeSet::new(),
            journal: Vec::new(),
            next: 0,
        };
        *self.rooms.lock().unwrap() = plan.sales.iter().map(room).collect();
        Ok(Opening::default())
    }

    fn session(&self) -> ShopSession {
        ShopSession { broken: self.broken, clock: Arc::clone(&self.clock), rooms: Arc::clone(&self.rooms) }
    }

    fn totals(&self, sale: SaleIndex) -> Result<Option<Totals>, TargetError> {
        let room = &mut self.rooms.lock().unwrap()[sale];
        room.expire(self.clock.now(), self.broken);
        let free = u64::try_from(room.free).unwrap_or(0);
        let miscounted = u64::from(self.broken == Broken::MiscountsItself);
        Ok(Some(Totals {
            stock: room.plan.stock.into(),
            sold: room.sold + miscounted,
            held: room.held,
            free: (free + u64::from(self.broken == Broken::LosesCount)).saturating_sub(miscounted),
            digest: Some(7),
            ..Totals::default()
        }))
    }

    fn journal(&self) -> Result<Option<JournalProof>, TargetError> {
        let rooms = self.rooms.lock().unwrap();
        let digest = if self.broken == Broken::DigestsSomethingElse { 8 } else { 7 };
        let sales: Vec<_> = rooms.iter().flat_map(|room| room.journal.clone()).collect();
        let digests = rooms.iter().map(|room| (room.plan.name.clone(), digest)).collect();
        Ok(Some(JournalProof { records: sales.len() as u64, bytes: 0, sales, digests }))
    }

    fn ledger(&self) -> Result<Option<LedgerProof>, TargetError> {
        let mut sales = self.journal()?.unwrap_or_default().sales;
        if self.broken == Broken::DeliversTwice {
            sales.extend(sales.first().cloned());
        }
        Ok(Some(LedgerProof { sales, digests: Vec::new() }))
    }
}

impl Room {
    fn expire(&mut self, now: Timestamp, broken: Broken) {
        while let Some((due, id)) = self.due.first().copied()
            && due < now
        {
            self.due.pop_first();
            let hold = self.holds.get_mut(&id).unwrap();
            if hold.state == State::Held {
                hold.state = State::Expired;
                let hold = *hold;
                if broken != Broken::LeaksHeldUnits {
                    self.give_back(hold);
                }
            }
        }
    }

    fn give_back(&mut self, hold: Hold) {
        self.free += i64::from(hold.quantity);
        self.held -= u64::from(hold.quantity);
        *self.had.get_mut(&hold.buyer).unwrap() -= hold.quantity;
    }

    fn reserve(&mut self, now: Timestamp, buyer: u64, quantity: u32, broken: Broken) -> Result<Held<Number>, Refusal> {
        self.expire(now, broken);
        if now < self.opens_at && broken != Broken::OpensEarly {
            return Err(Refusal::NotOpen { opens_at: self.opens_at });
        }
        if quantity == 0 || quantity > self.plan.largest {
            return Err(Refusal::BadQuantity);
        }
        let outsider = self.plan.is_limited() && !self.registered.contains(&buyer);
        if outsider && broken != Broken::LetsEverybodyIn {
            return Err(Refusal::NotEligible);
        }
        let had = self.had.entry(buyer).or_default();
        if *had + quantity > self.plan.cap && broken != Broken::IgnoresTheCap {
            return Err(Refusal::LimitReached);
        }
        let spare = if broken == Broken::Oversells { 3 } else { 0 };
        if self.free + spare < i64::from(quantity) {
            let sold_out = self.sold >= u64::from(self.plan.stock) || broken == Broken::SaysSoldOutTooEarly;
            return Err(if sold_out { Refusal::SoldOut } else { Refusal::AllHeld });
        }
        *had += quantity;
        self.free -= i64::from(quantity);
        self.held += u64::from(quantity);
        self.next += 1;
        let deadline = now.plus(self.plan.hold);
        self.holds.insert(self.next, Hold { buyer, quantity, state: State::Held });
        self.due.insert((deadline.plus(self.plan.grace), self.next));
        let alias = if broken == Broken::OneTicketForAll { 1 } else { self.next };
        Ok(Held::new(Number { id: self.next, alias }, deadline))
    }

    fn confirm(&mut self, now: Timestamp, id: u64, payment: u64, broken: Broken) -> ConfirmReply {
        self.expire(now, broken);
        let hold = self.holds[&id];
        let order = OrderId(if broken == Broken::OneOrderForAll { 0 } else { self.sold.into() });
        match hold.state {
            State::Sold(order) if broken == Broken::ConfirmsTwice => ConfirmReply::Confirmed(order),
            State::Sold(order) => ConfirmReply::AlreadyConfirmed(order),
            State::Cancelled => ConfirmReply::CancelledBefore,
            State::Expired if self.free < i64::from(hold.quantity) => ConfirmReply::PaidLateSoldOut,
            State::Expired if self.had[&hold.buyer] + hold.quantity > self.plan.cap => ConfirmReply::PaidLateSoldOut,
            State::Expired => {
                self.free -= i64::from(hold.quantity);
                *self.had.get_mut(&hold.buyer).unwrap() += hold.quantity;
                self.sell(id, order, payment, broken);
                ConfirmReply::PaidLate(order)
            }
            State::Held => {
                self.held -= u64::from(hold.quantity);
                self.sell(id, order, payment, broken);
                ConfirmReply::Confirmed(order)
            }
        }
    }

    fn sell(&mut self, id: u64, order: OrderId, payment: u64, broken: Broken) {
        let hold = self.holds.get_mut(&id).unwrap();
        hold.state = State::Sold(order);
        self.sold += u64::from(hold.quantity);
        if broken != Broken::ForgetsToJournal || order.0 != 3 {
            self.journal.push(JournalledSale {
                sale: self.plan.name.clone(),
                order,
                buyer: Some(hold.buyer),
                quantity: hold.quantity,
                payment: payment.to_string(),
            });
        }
    }

    fn cancel(&mut self, now: Timestamp, id: u64, broken: Broken) -> CancelReply {
        self.expire(now, broken);
        let hold = self.holds.get_mut(&id).unwrap();
        if hold.state != State::Held {
            return CancelReply::AlreadyEnded;
        }
        hold.state = State::Cancelled;
        let hold = *hold;
        self.give_back(hold);
        CancelReply::Cancelled
    }
}

#[derive(Debug)]
pub(crate) struct ShopSession {
    broken: Broken,
    clock: Arc<ScaledClock>,
    rooms: Arc<Mutex<Vec<Room>>>,
}

#[derive(Debug, Clone)]
pub(crate) struct Number {
    id: u64,
    alias: u64,
}

impl Ticket for Number {
    fn fingerprint(&self) -> u128 {
        self.alias.into()
    }
}

/// A confirmation that is answered at the second look.
#[derive(Debug)]
pub(crate) struct SecondLook {
    reply: ConfirmReply,
    looked: bool,
}

impl Pending for SecondLook {
    fn poll(&mut self) -> Option<ConfirmReply> {
        let looked = std::mem::replace(&mut self.looked, true);
        looked.then_some(self.reply)
    }
}

impl Session for ShopSession {
    type Ticket = Number;
    type Pending = SecondLook;

    fn reserve(&mut self, sale: SaleIndex, buyer: u64, quantity: u32) -> Result<Held<Number>, Refusal> {
        let mut rooms = self.rooms.lock().unwrap();
        rooms[sale].reserve(self.clock.now(), buyer, quantity, self.broken)
    }

    fn confirm(&mut self, sale: SaleIndex, ticket: &Number, payment: u64) -> Answer<SecondLook> {
        let mut rooms = self.rooms.lock().unwrap();
        let reply = rooms[sale].confirm(self.clock.now(), ticket.id, payment, self.broken);
        if ticket.id.is_multiple_of(2) {
            Answer::Now(reply)
        } else {
            Answer::Later(SecondLook { reply, looked: false })
        }
    }

    fn cancel(&mut self, sale: SaleIndex, ticket: &Number) -> CancelReply {
        let mut rooms = self.rooms.lock().unwrap();
        rooms[sale].cancel(self.clock.now(), ticket.id, self.broken)
    }
}
