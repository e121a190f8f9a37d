//! A worker's way to the shop.

use std::sync::{Arc, Mutex, MutexGuard};

use sellout::{Clock, Timestamp};
use sellout_loadgen::{
    clock::ScaledClock,
    target::{
        AcceptReply, Answer, BasketRefusal, CancelReply, ConfirmReply, Held, HeldBasket, HeldUnits, JoinReply,
        LeaveReply, Line, Pending, Refusal, RegisterReply, SaleIndex, Session, Ticket, WaitReply,
    },
};

use super::{
    Broken,
    floor::{Floor, Turn},
};

/// Tickets of baskets begin here.
const BASKETS: u64 = 1 << 40;

#[derive(Debug)]
pub(crate) struct ShopSession {
    clock: Arc<ScaledClock>,
    floor: Arc<Mutex<Floor>>,
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

impl ShopSession {
    pub(super) fn new(clock: Arc<ScaledClock>, floor: Arc<Mutex<Floor>>) -> Self {
        Self { clock, floor }
    }

    /// The shop, and what time it is in it.
    fn enter(&self) -> (MutexGuard<'_, Floor>, Timestamp) {
        let floor = self.floor.lock().unwrap();
        let now = self.clock.now();
        (floor, now)
    }

    fn ask(&self, line: Line, buyer: u64, link_of: Option<u64>) -> Result<Held<Number>, Refusal> {
        let (mut floor, now) = self.enter();
        let id = floor.reserve(now, line, buyer, link_of)?;
        Ok(held(&floor, line.sale, id))
    }
}

fn held(floor: &Floor, sale: SaleIndex, id: u64) -> Held<Number> {
    let room = &floor.rooms[sale];
    let hold = &room.holds[&id];
    let alias = if floor.broken == Broken::OneTicketForAll { 1 } else { id };
    Held::new(Number { id, alias }, hold.deadline).of(room.faces(&hold.units))
}

/// Every second answer comes at once.
fn answer(id: u64, reply: ConfirmReply) -> Answer<SecondLook> {
    if id.is_multiple_of(2) { Answer::Now(reply) } else { Answer::Later(SecondLook { reply, looked: false }) }
}

impl Session for ShopSession {
    type Ticket = Number;
    type Pending = SecondLook;

    fn register(&mut self, sale: SaleIndex, buyer: u64) -> RegisterReply {
        let (mut floor, now) = self.enter();
        floor.register(now, sale, buyer)
    }

    fn reserve(&mut self, sale: SaleIndex, buyer: u64, quantity: u32) -> Result<Held<Number>, Refusal> {
        self.ask(Line { sale, quantity }, buyer, None)
    }

    fn reserve_with(
        &mut self,
        sale: SaleIndex,
        buyer: u64,
        quantity: u32,
        link_of: u64,
    ) -> Result<Held<Number>, Refusal> {
        self.ask(Line { sale, quantity }, buyer, Some(link_of))
    }

    fn reserve_basket(&mut self, lines: &[Line], buyer: u64) -> Result<HeldBasket<Number>, BasketRefusal> {
        let (mut floor, now) = self.enter();
        let basket = floor.reserve_basket(now, lines, buyer)?;
        let holds: Vec<_> = floor.baskets[&basket].iter().map(|(sale, id)| held(&floor, *sale, *id)).collect();
        let deadline = holds.iter().map(|hold| hold.deadline).min().unwrap_or(now);
        let units = holds.into_iter().map(|hold| hold.units).collect();
        Ok(HeldBasket::new(Number { id: basket, alias: BASKETS + basket }, deadline, units))
    }

    fn confirm(&mut self, sale: SaleIndex, ticket: &Number, payment: u64) -> Answer<SecondLook> {
        let (mut floor, now) = self.enter();
        answer(ticket.id, floor.confirm(now, sale, ticket.id, payment))
    }

    fn cancel(&mut self, sale: SaleIndex, ticket: &Number) -> CancelReply {
        let (mut floor, now) = self.enter();
        floor.tick_one(now, sale);
        floor.rooms[sale].cancel(now, ticket.id)
    }

    fn confirm_basket(&mut self, ticket: &Number, payment: u64) -> Answer<SecondLook> {
        let (mut floor, now) = self.enter();
        answer(ticket.id, floor.confirm_basket(now, ticket.id, payment))
    }

    fn cancel_basket(&mut self, ticket: &Number) -> CancelReply {
        let (mut floor, now) = self.enter();
        floor.cancel_basket(now, ticket.id)
    }

    fn units(&mut self, sale: SaleIndex, ticket: &Number) -> Option<HeldUnits> {
        let floor = self.floor.lock().unwrap();
        let hold = floor.rooms[sale].holds.get(&ticket.id).filter(|_| ticket.alias < BASKETS)?;
        Some(floor.rooms[sale].faces(&hold.units))
    }

    fn join(&mut self, sale: SaleIndex, buyer: u64) -> JoinReply {
        let (mut floor, now) = self.enter();
        floor.join(now, sale, buyer)
    }

    fn leave(&mut self, sale: SaleIndex, buyer: u64) -> LeaveReply {
        let (mut floor, now) = self.enter();
        floor.leave(now, sale, buyer)
    }

    fn waiting(&mut self, sale: SaleIndex, buyer: u64) -> WaitReply<Number> {
        let (mut floor, now) = self.enter();
        match floor.turn(now, sale, buyer) {
            Turn::Queued(place) => WaitReply::Queued(place),
            Turn::Offered(id) => WaitReply::Offered(held(&floor, sale, id)),
            Turn::Gone => WaitReply::Gone,
        }
    }

    fn accept(&mut self, sale: SaleIndex, ticket: &Number) -> AcceptReply {
        let (mut floor, now) = self.enter();
        floor.accept(now, sale, ticket.id)
    }
}
