//! One sale of the shop.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use sellout::Timestamp;
use sellout_loadgen::{
    scenario::{AmountsPlan, AudiencePlan, SalePlan, UnitsPlan},
    target::{
        AmountTotals, CancelReply, ConfirmReply, HeldUnit, HeldUnits, JournalledSale, OrderId, Preparation, Refusal,
        Totals,
    },
};

use super::Broken;

#[derive(Debug)]
pub(super) struct Room {
    pub(super) plan: SalePlan,
    pub(super) opens_at: Timestamp,
    pub(super) closes_at: Option<Timestamp>,
    pub(super) base: Timestamp,
    pub(super) registered: HashSet<u64>,
    pub(super) reminded: bool,
    pub(super) linked: bool,
    pub(super) paused: bool,
    pub(super) cap: u32,
    pub(super) added: u64,
    pub(super) withdrawn: u64,
    pub(super) free: i64,
    pub(super) sold: u64,
    pub(super) held: u64,
    had: HashMap<u64, u32>,
    pub(super) bought: HashSet<u64>,
    pub(super) holds: HashMap<u64, Hold>,
    due: BTreeSet<(Timestamp, u64)>,
    pub(super) journal: Vec<JournalledSale>,
    next: u64,
    /// The units that nobody has, the lowest first; empty where they are alike.
    units: BTreeSet<u32>,
    amounts: Vec<u32>,
    next_ticket: u64,
    /// Who waits, by ticket.
    pub(super) queue: BTreeMap<u64, u64>,
    /// The hold of each who was offered one.
    pub(super) offers: HashMap<u64, u64>,
    broken: Broken,
}

#[derive(Debug, Clone)]
pub(super) struct Hold {
    pub(super) buyer: u64,
    pub(super) quantity: u32,
    pub(super) deadline: Timestamp,
    pub(super) state: State,
    pub(super) units: Vec<u32>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum State {
    Held,
    Sold(OrderId),
    Cancelled,
    Expired,
}

impl Room {
    pub(super) fn new(sale: &SalePlan, plan: &Preparation<'_>, broken: Broken) -> Self {
        let mut amounts = match &sale.units {
            UnitsPlan::Amounts(amounts) => drawn(amounts, sale.stock),
            _ => Vec::new(),
        };
        if let UnitsPlan::Amounts(plan) = &sale.units {
            if broken == Broken::GivesTooMuch {
                amounts[0] = plan.ceiling + 1;
            }
            if broken == Broken::LosesACent {
                *amounts.iter_mut().find(|amount| **amount > 1).unwrap() -= 1;
            }
        }
        Self {
            opens_at: plan.base.plus(sale.opens_at),
            closes_at: sale.closes_at.map(|at| plan.base.plus(at)),
            base: plan.base,
            registered: if sale.registered_beforehand { (plan.registered)().collect() } else { HashSet::new() },
            reminded: false,
            linked: false,
            paused: false,
            cap: sale.cap,
            added: 0,
            withdrawn: 0,
            free: i64::from(sale.stock),
            sold: 0,
            held: 0,
            had: HashMap::new(),
            bought: HashSet::new(),
            holds: HashMap::new(),
            due: BTreeSet::new(),
            journal: Vec::new(),
            next: 0,
            units: if sale.has_faces() { (0..sale.stock).collect() } else { BTreeSet::new() },
            amounts,
            next_ticket: 0,
            queue: BTreeMap::new(),
            offers: HashMap::new(),
            plan: sale.clone(),
            broken,
        }
    }

    /// Ends what ran out, and offers what came back.
    pub(super) fn tick(&mut self, now: Timestamp) {
        while let Some((due, id)) = self.due.first().copied()
            && due < now
        {
            self.due.pop_first();
            let hold = self.holds.get_mut(&id).unwrap();
            if hold.state != State::Held {
                continue;
            }
            if hold.deadline.plus(self.plan.grace) >= now {
                // It was accepted meanwhile.
                self.due.insert((hold.deadline.plus(self.plan.grace), id));
                continue;
            }
            hold.state = State::Expired;
            let hold = hold.clone();
            if self.broken != Broken::LeaksHeldUnits {
                self.give_back(&hold);
            }
        }
        self.offer(now);
    }

    fn offer(&mut self, now: Timestamp) {
        let Some(waitlist) = self.plan.waitlist else { return };
        while self.free > 0 && self.broken != Broken::OffersToNobody {
            let next = if self.broken == Broken::OffersToTheLast {
                self.queue.pop_last()
            } else if self.broken == Broken::ServesNewcomersFirst {
                None
            } else {
                self.queue.pop_first()
            };
            let Some((_, buyer)) = next else { break };
            let id = self.take(now.plus(waitlist.accept_within), buyer, 1);
            self.offers.insert(buyer, id);
        }
    }

    fn give_back(&mut self, hold: &Hold) {
        self.free += i64::from(hold.quantity);
        self.held -= u64::from(hold.quantity);
        self.units.extend(&hold.units);
        if self.broken == Broken::ChangesTheAmount {
            for unit in &hold.units {
                if let Some(amount) = self.amounts.get_mut(*unit as usize) {
                    *amount += 1;
                }
            }
        }
        *self.had.get_mut(&hold.buyer).unwrap() -= hold.quantity;
    }

    /// Why nobody may have `quantity` units for `buyer`; `admitted` by another sale or an invitation.
    pub(super) fn refusal(&self, now: Timestamp, buyer: u64, quantity: u32, admitted: bool) -> Option<Refusal> {
        if now < self.opens_at && self.broken != Broken::OpensEarly {
            return Some(Refusal::NotOpen { opens_at: self.opens_at });
        }
        if self.closes_at.is_some_and(|at| now >= at) {
            return Some(Refusal::Closed);
        }
        if self.paused && self.broken != Broken::IgnoresThePause {
            return Some(Refusal::Paused);
        }
        if quantity == 0 || quantity > self.plan.largest {
            return Some(Refusal::BadQuantity);
        }
        if !admitted && self.broken != Broken::LetsEverybodyIn {
            return Some(Refusal::NotEligible);
        }
        if self.had(buyer) + quantity > self.cap && self.broken != Broken::IgnoresTheCap {
            return Some(Refusal::LimitReached);
        }
        let spare = if self.broken == Broken::Oversells && !self.plan.has_faces() { 3 } else { 0 };
        let offered_first = !self.queue.is_empty() && self.broken != Broken::ServesNewcomersFirst;
        if self.free + spare < i64::from(quantity) || offered_first {
            let all = u64::from(self.plan.stock) + self.added - self.withdrawn;
            let sold_out = self.sold >= all || self.broken == Broken::SaysSoldOutTooEarly;
            return Some(if sold_out { Refusal::SoldOut } else { Refusal::AllHeld });
        }
        None
    }

    pub(super) fn had(&self, buyer: u64) -> u32 {
        self.had.get(&buyer).copied().unwrap_or(0)
    }

    /// Whether the sale itself lets somebody in; `None` if another sale, or an invitation, has to say so.
    pub(super) fn admits(&self, now: Timestamp, buyer: u64) -> Option<bool> {
        if self.plan.everyone_from.is_some_and(|at| now >= self.base.plus(at)) {
            return Some(true);
        }
        match self.plan.audience {
            AudiencePlan::Everyone => Some(true),
            AudiencePlan::Registered => Some(self.registered.contains(&buyer)),
            _ => None,
        }
    }

    pub(super) fn take(&mut self, deadline: Timestamp, buyer: u64, quantity: u32) -> u64 {
        *self.had.entry(buyer).or_default() += quantity;
        self.free -= i64::from(quantity);
        self.held += u64::from(quantity);
        self.next += 1;
        let units = self.take_units(quantity);
        self.holds.insert(self.next, Hold { buyer, quantity, deadline, state: State::Held, units });
        self.due.insert((deadline.plus(self.plan.grace), self.next));
        self.next
    }

    fn take_units(&mut self, quantity: u32) -> Vec<u32> {
        if !self.plan.has_faces() {
            return Vec::new();
        }
        let keep = self.broken == Broken::SellsOneUnitTwice;
        let units: Vec<u32> = self.units.iter().copied().take(quantity as usize).collect();
        for unit in units.iter().filter(|unit| !(keep && **unit == 0)) {
            self.units.remove(unit);
        }
        units
    }

    pub(super) fn faces(&self, units: &[u32]) -> HeldUnits {
        let cents = |place: u32| self.amounts.get(place as usize).copied().unwrap_or(0);
        units.iter().map(|place| HeldUnit { place: *place, cents: cents(*place) }).collect()
    }

    pub(super) fn confirm(&mut self, id: u64, order: OrderId, payment: u64) -> ConfirmReply {
        let hold = self.holds[&id].clone();
        match hold.state {
            State::Sold(order) if self.broken == Broken::ConfirmsTwice => ConfirmReply::Confirmed(order),
            State::Sold(order) => ConfirmReply::AlreadyConfirmed(order),
            State::Cancelled => ConfirmReply::CancelledBefore,
            State::Expired if self.free < i64::from(hold.quantity) || !self.queue.is_empty() => {
                ConfirmReply::PaidLateSoldOut
            }
            State::Expired if self.had(hold.buyer) + hold.quantity > self.cap => ConfirmReply::PaidLateSoldOut,
            State::Expired => {
                self.free -= i64::from(hold.quantity);
                *self.had.get_mut(&hold.buyer).unwrap() += hold.quantity;
                let units = self.take_units(hold.quantity);
                self.holds.get_mut(&id).unwrap().units = units;
                self.sell(id, order, payment);
                ConfirmReply::PaidLate(order)
            }
            State::Held => {
                self.held -= u64::from(hold.quantity);
                self.sell(id, order, payment);
                ConfirmReply::Confirmed(order)
            }
        }
    }

    fn sell(&mut self, id: u64, order: OrderId, payment: u64) {
        let hold = self.holds.get_mut(&id).unwrap();
        hold.state = State::Sold(order);
        self.sold += u64::from(hold.quantity);
        self.bought.insert(hold.buyer);
        if self.broken == Broken::ChangesTheUnit {
            for unit in &mut hold.units {
                *unit = (*unit + 1) % self.plan.stock;
            }
        }
        if self.broken != Broken::ForgetsToJournal || self.journal.len() != 3 {
            self.journal.push(JournalledSale {
                sale: self.plan.name.clone(),
                order,
                buyer: Some(hold.buyer),
                quantity: hold.quantity,
                payment: payment.to_string(),
            });
        }
    }

    pub(super) fn cancel(&mut self, now: Timestamp, id: u64) -> CancelReply {
        let hold = self.holds.get_mut(&id).unwrap();
        if hold.state != State::Held {
            return CancelReply::AlreadyEnded;
        }
        hold.state = State::Cancelled;
        let hold = hold.clone();
        self.give_back(&hold);
        self.offer(now);
        CancelReply::Cancelled
    }

    pub(super) fn ticket(&mut self) -> u64 {
        self.next_ticket += 1;
        self.next_ticket
    }

    pub(super) fn add(&mut self, now: Timestamp, units: u32) {
        let places = self.plan.stock + u32::try_from(self.added).unwrap();
        self.added += u64::from(units);
        let really = match self.broken {
            Broken::AddsNothing => 0,
            Broken::AddsTooMuch => 3 * units,
            _ => units,
        };
        self.free += i64::from(really);
        if self.plan.has_faces() {
            self.units.extend(places..places + really);
        }
        self.offer(now);
    }

    pub(super) fn withdraw(&mut self, units: u32) -> u64 {
        let units = u64::from(units).min(u64::try_from(self.free).unwrap_or(0));
        self.free -= i64::try_from(units).unwrap();
        self.withdrawn += units;
        units
    }

    pub(super) fn totals(&self, broken: Broken) -> Totals {
        let free = u64::try_from(self.free).unwrap_or(0);
        let miscounted = u64::from(broken == Broken::MiscountsItself);
        Totals {
            stock: self.plan.stock.into(),
            added: self.added,
            withdrawn: self.withdrawn,
            sold: self.sold + miscounted,
            held: self.held,
            free: (free + u64::from(broken == Broken::LosesCount)).saturating_sub(miscounted),
            digest: Some(7),
        }
    }

    pub(super) fn amount_totals(&self) -> Option<AmountTotals> {
        let UnitsPlan::Amounts(plan) = self.plan.units else { return None };
        let cents = |units: &[u32]| units.iter().map(|unit| u64::from(self.amounts[*unit as usize])).sum::<u64>();
        let of = |is_so: fn(&State) -> bool| -> u64 {
            self.holds.values().filter(|hold| is_so(&hold.state)).map(|hold| cents(&hold.units)).sum()
        };
        Some(AmountTotals {
            budget: plan.budget,
            free: self.units.iter().map(|unit| u64::from(self.amounts[*unit as usize])).sum(),
            held: of(|state| *state == State::Held),
            sold: of(|state| matches!(state, State::Sold(_))),
        })
    }
}

/// Amounts that add up to the budget: the floor for each, and the rest in steps to places that are drawn.
fn drawn(plan: &AmountsPlan, stock: u32) -> Vec<u32> {
    let mut amounts = vec![plan.floor; stock as usize];
    let mut left = plan.budget - u64::from(stock) * u64::from(plan.floor);
    let mut word = plan.seed;
    while left > 0 {
        word = word.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let amount = &mut amounts[usize::try_from((word >> 33) % u64::from(stock)).unwrap()];
        let step = left.min(u64::from(plan.ceiling - *amount)).min(10);
        *amount += u32::try_from(step).unwrap();
        left -= step;
    }
    amounts
}
