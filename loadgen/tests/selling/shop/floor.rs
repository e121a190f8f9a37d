//! All sales of the shop: what needs more than one of them.

use std::collections::HashMap;

use sellout::Timestamp;
use sellout_loadgen::{
    scenario::{AudiencePlan, Change, WhatChanges},
    target::{
        AcceptReply, BasketRefusal, CancelReply, ConfirmReply, DeliveredMessage, JoinReply, LeaveReply, Line,
        MessageKind, OrderId, Place, Refusal, RegisterReply, SaleIndex,
    },
};

use super::{
    Broken,
    room::{Room, State},
};

#[derive(Debug)]
pub(super) struct Floor {
    pub(super) broken: Broken,
    pub(super) rooms: Vec<Room>,
    /// The hold of each line of each basket.
    pub(super) baskets: HashMap<u64, Vec<(SaleIndex, u64)>>,
    pub(super) messages: Vec<DeliveredMessage>,
    halted: bool,
    orders: u64,
}

/// What somebody waits for, as the floor has it.
pub(super) enum Turn {
    Queued(Place),
    Offered(u64),
    Gone,
}

impl Floor {
    pub(super) fn new(broken: Broken) -> Self {
        let (rooms, baskets) = (Vec::new(), HashMap::new());
        Self { broken, rooms, baskets, messages: Vec::new(), halted: false, orders: 0 }
    }

    /// Ends what ran out, offers what came back, and tells what is due.
    pub(super) fn tick(&mut self, now: Timestamp) {
        for sale in 0..self.rooms.len() {
            self.tick_one(now, sale);
        }
    }

    /// The same for one sale.
    pub(super) fn tick_one(&mut self, now: Timestamp, sale: SaleIndex) {
        let room = &mut self.rooms[sale];
        room.tick(now);
        let due = |at: Option<std::time::Duration>| at.is_some_and(|at| now >= room.base.plus(at));
        let (reminds, links) = (due(room.plan.reminds_at), due(room.plan.links_at));
        for (is_due, kind) in [(reminds, MessageKind::Reminder), (links, MessageKind::PurchaseLink)] {
            let room = &mut self.rooms[sale];
            let told = if kind == MessageKind::Reminder { &mut room.reminded } else { &mut room.linked };
            if !is_due || std::mem::replace(told, true) {
                continue;
            }
            let mut buyers: Vec<u64> = room.registered.iter().copied().collect();
            buyers.sort_unstable();
            if self.broken == Broken::TellsAStranger {
                buyers.push(1_000_000);
            }
            for buyer in buyers {
                self.tell(kind, sale, buyer, None);
            }
        }
    }

    fn tell(&mut self, kind: MessageKind, sale: SaleIndex, buyer: u64, sequence: Option<u64>) {
        let id = self.messages.len() as u128 + 1;
        if self.broken == Broken::ForgetsAConfirmation && kind == MessageKind::Confirmation && sequence == Some(3) {
            return;
        }
        self.messages.push(DeliveredMessage { id, kind, sale, buyer, sequence });
    }

    pub(super) fn register(&mut self, now: Timestamp, sale: SaleIndex, buyer: u64) -> RegisterReply {
        self.tick_one(now, sale);
        let room = &mut self.rooms[sale];
        if room.registered.contains(&buyer) {
            return RegisterReply::Already;
        }
        if room.plan.registers_from.is_some_and(|at| now < room.base.plus(at)) {
            return RegisterReply::TooEarly;
        }
        if room.plan.registers_until.is_some_and(|at| now >= room.base.plus(at)) {
            return RegisterReply::TooLate;
        }
        room.registered.insert(buyer);
        let late = [(room.reminded, MessageKind::Reminder), (room.linked, MessageKind::PurchaseLink)];
        for (_, kind) in late.into_iter().filter(|(told, _)| *told) {
            self.tell(kind, sale, buyer, None);
        }
        RegisterReply::Registered
    }

    /// Whether somebody may buy, with the invitation of `link_of`.
    fn admits(&self, now: Timestamp, sale: SaleIndex, buyer: u64, link_of: Option<u64>) -> bool {
        let room = &self.rooms[sale];
        room.admits(now, buyer).unwrap_or_else(|| match room.plan.audience {
            AudiencePlan::RegisteredFor(other) => self.rooms[other].registered.contains(&buyer),
            AudiencePlan::BuyersOf(other) => self.rooms[other].bought.contains(&buyer),
            _ => link_of.is_some_and(|of| {
                let own = of == buyer || self.broken == Broken::TakesAnyInvitation;
                room.linked && room.registered.contains(&of) && own
            }),
        })
    }

    pub(super) fn reserve(
        &mut self,
        now: Timestamp,
        line: Line,
        buyer: u64,
        link_of: Option<u64>,
    ) -> Result<u64, Refusal> {
        let Line { sale, quantity } = line;
        self.tick_one(now, sale);
        if self.halted && self.broken != Broken::IgnoresThePause {
            return Err(Refusal::Paused);
        }
        let admitted = self.admits(now, sale, buyer, link_of);
        let room = &mut self.rooms[sale];
        match room.refusal(now, buyer, quantity, admitted) {
            Some(Refusal::NotEligible) if link_of.is_some_and(|of| of != buyer) => Err(Refusal::BadInvitation),
            Some(refusal) => Err(refusal),
            None => Ok(room.take(now.plus(room.plan.hold), buyer, quantity)),
        }
    }

    pub(super) fn reserve_basket(&mut self, now: Timestamp, lines: &[Line], buyer: u64) -> Result<u64, BasketRefusal> {
        let mut taken = Vec::new();
        for (line, wanted) in lines.iter().enumerate() {
            match self.reserve(now, *wanted, buyer, None) {
                Ok(hold) => taken.push((wanted.sale, hold)),
                Err(refusal) => {
                    if self.broken != Broken::KeepsHalfABasket {
                        for (sale, hold) in taken {
                            self.rooms[sale].cancel(now, hold);
                        }
                    }
                    return Err(BasketRefusal { line, refusal });
                }
            }
        }
        let basket = self.baskets.len() as u64 + 1;
        self.baskets.insert(basket, taken);
        Ok(basket)
    }

    pub(super) fn confirm(&mut self, now: Timestamp, sale: SaleIndex, hold: u64, payment: u64) -> ConfirmReply {
        self.tick_one(now, sale);
        let order = self.order();
        self.sell(sale, hold, order, payment)
    }

    fn order(&mut self) -> OrderId {
        self.orders += u64::from(self.broken != Broken::OneOrderForAll);
        OrderId(self.orders.into())
    }

    fn sell(&mut self, sale: SaleIndex, hold: u64, order: OrderId, payment: u64) -> ConfirmReply {
        let reply = self.rooms[sale].confirm(hold, order, payment);
        if matches!(reply, ConfirmReply::Confirmed(_) | ConfirmReply::PaidLate(_)) {
            let room = &self.rooms[sale];
            let (buyer, sequence) = (room.holds[&hold].buyer, room.journal.len() as u64);
            self.tell(MessageKind::Confirmation, sale, buyer, Some(sequence));
        }
        reply
    }

    pub(super) fn confirm_basket(&mut self, now: Timestamp, basket: u64, payment: u64) -> ConfirmReply {
        self.tick(now);
        let order = self.order();
        let lines = self.baskets[&basket].clone();
        let (first_sale, first_hold) = lines[0];
        // A basket that ran out stays so: some of its lines may be somebody else's.
        if self.rooms[first_sale].holds[&first_hold].state == State::Expired {
            return ConfirmReply::PaidLateSoldOut;
        }
        let mut reply = ConfirmReply::Failed;
        let some = if self.broken == Broken::SellsHalfABasket { 1 } else { lines.len() };
        for (sale, hold) in lines.into_iter().take(some) {
            reply = self.sell(sale, hold, order, payment);
        }
        reply
    }

    pub(super) fn cancel_basket(&mut self, now: Timestamp, basket: u64) -> CancelReply {
        self.tick(now);
        let mut reply = CancelReply::Failed;
        for (sale, hold) in self.baskets[&basket].clone() {
            reply = self.rooms[sale].cancel(now, hold);
        }
        reply
    }

    pub(super) fn join(&mut self, now: Timestamp, sale: SaleIndex, buyer: u64) -> JoinReply {
        self.tick_one(now, sale);
        let room = &mut self.rooms[sale];
        let Some(waitlist) = room.plan.waitlist else { return JoinReply::Failed };
        if room.had(buyer) >= room.cap || room.queue.values().any(|waiting| *waiting == buyer) {
            return JoinReply::NotYou;
        }
        if (room.free > 0 && room.queue.is_empty()) || room.held == 0 {
            return JoinReply::NothingToWaitFor;
        }
        if room.queue.len() >= waitlist.room as usize {
            return JoinReply::Full;
        }
        let (ticket, ahead) = (room.ticket(), room.queue.len() as u64);
        room.queue.insert(ticket, buyer);
        JoinReply::Joined(Place { ticket, ahead })
    }

    pub(super) fn leave(&mut self, now: Timestamp, sale: SaleIndex, buyer: u64) -> LeaveReply {
        self.tick_one(now, sale);
        let queue = &mut self.rooms[sale].queue;
        let before = queue.len();
        queue.retain(|_, waiting| *waiting != buyer);
        if queue.len() < before { LeaveReply::Left } else { LeaveReply::NotQueued }
    }

    pub(super) fn turn(&mut self, now: Timestamp, sale: SaleIndex, buyer: u64) -> Turn {
        self.tick_one(now, sale);
        let room = &mut self.rooms[sale];
        if let Some(hold) = room.offers.get(&buyer).copied()
            && room.holds[&hold].state == State::Held
        {
            return Turn::Offered(hold);
        }
        let place = room.queue.iter().enumerate().find(|(_, (_, waiting))| **waiting == buyer);
        if let Some((ahead, (ticket, _))) = place
            && (room.held > 0 || room.free > 0)
        {
            return Turn::Queued(Place { ticket: *ticket, ahead: ahead as u64 });
        }
        // Nothing more comes back.
        room.queue.retain(|_, waiting| *waiting != buyer);
        Turn::Gone
    }

    pub(super) fn accept(&mut self, now: Timestamp, sale: SaleIndex, hold: u64) -> AcceptReply {
        self.tick_one(now, sale);
        let room = &mut self.rooms[sale];
        let deadline = now.plus(room.plan.hold);
        let hold = room.holds.get_mut(&hold).unwrap();
        if hold.state != State::Held {
            return AcceptReply::Ended;
        }
        hold.deadline = deadline;
        AcceptReply::Accepted { deadline }
    }

    pub(super) fn change(&mut self, now: Timestamp, change: &Change) -> u64 {
        self.tick(now);
        let Some(sale) = change.sale else {
            self.halted = change.what == WhatChanges::Pause;
            return 0;
        };
        let room = &mut self.rooms[sale];
        match change.what {
            WhatChanges::Add(units) => {
                room.add(now, units);
                return units.into();
            }
            WhatChanges::Withdraw(units) => return room.withdraw(units),
            WhatChanges::Pause => room.paused = true,
            WhatChanges::Resume => room.paused = false,
            WhatChanges::Cap(cap) if self.broken != Broken::IgnoresTheNewCap => room.cap = cap,
            WhatChanges::Window { opens_at, closes_at } => {
                room.opens_at = opens_at.map_or(room.opens_at, |at| room.base.plus(at));
                room.closes_at = closes_at.map_or(room.closes_at, |at| Some(room.base.plus(at)));
            }
            WhatChanges::Ship => {
                let orders: Vec<_> = room.journal.iter().filter_map(|sale| sale.buyer).zip(1..).collect();
                for (buyer, sequence) in &orders {
                    self.tell(MessageKind::ShippingNotice, sale, *buyer, Some(*sequence));
                }
                return orders.len() as u64;
            }
            _ => {}
        }
        0
    }
}
