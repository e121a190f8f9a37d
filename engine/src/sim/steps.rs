//! What users, operators, time and the world do, by the seed's choice.
//!
//! What holds: whatever an answer promises is noted with the oracle before anything else is done. While the journal has
//! failed, answers may be refusals of any kind; what was promised before stands.

use std::time::Duration;

use super::{
    BUYERS, Flaw, GRACE, Run,
    doors::Brought,
    millis,
    oracle::{BASKET, Checked, NAMES, PerSale, Place, Waiting as Answer, ensure},
};
use crate::{
    CancelError, Cancelled, ConfirmError, Ended, EventKind, ExtendError, Invitation, JoinError, Left, Pending,
    Rejection, RequestKey, Sale, SaleState, Timestamp, Token, Waiting,
};

fn text<E: std::fmt::Display>(error: E) -> String {
    error.to_string()
}

impl Run {
    /// One step of whatever may happen.
    pub(super) fn step(&mut self) -> Checked {
        if self.world.has_failed() && self.dice.one_in(2) {
            return self.end_of_life();
        }
        let number = self.dice.place(NAMES.len()).unwrap_or_default();
        let buyer = self.dice.below(BUYERS);
        match self.dice.below(100) {
            0..19 => self.reserve(number, buyer, None)?,
            19..23 => {
                let key = self.dice.below(2);
                self.reserve(number, buyer, Some(key))?;
            }
            23..26 => self.reserve_many(number)?,
            26..33 => self.basket(buyer)?,
            33..48 => self.pay()?,
            48..50 => self.wait()?,
            50..58 => self.cancel()?,
            58..60 => self.extend()?,
            60..65 => self.join(number, buyer)?,
            65 => self.accept(number, buyer)?,
            66 => self.leave(number, buyer)?,
            67 => self.enroll(buyer)?,
            68 => self.ship(number)?,
            69..72 => self.stock(number),
            72..75 => self.rules(number),
            75..77 => self.meddle(number)?,
            77..79 => self.compact()?,
            84..88 => {
                let span = [2_000, 20_000, 20_000, 70_000][self.dice.place(4).unwrap_or_default()];
                self.world.clock.advance(millis(self.dice.below(span)));
            }
            88 => self.sync()?,
            89..94 => self.deliver(),
            94..96 if self.faults => {
                self.world.break_disk(12, &mut self.dice);
                self.tried.disk_faults += 1;
            }
            96..98 if self.faults => self.break_redis(),
            98.. => self.end_of_life()?,
            // From 79 on, and instead of faults where there are none.
            _ => self.tick()?,
        }
        self.offered()
    }

    pub(super) fn sale(&self, number: usize) -> Sale {
        self.world.engine.sale(NAMES[number]).expect("the sales were created, and looked for after every opening")
    }

    fn units(number: usize, quantity: u32) -> PerSale {
        let mut units = PerSale::default();
        units[number] = quantity;
        units
    }

    /// Asks for units, as a shop does.
    fn ask(
        &mut self,
        number: usize,
        buyer: u64,
        quantity: u32,
        key: Option<u64>,
        invitation: Option<Invitation>,
    ) -> Result<(Token, Timestamp), Rejection> {
        let sale = self.sale(number);
        let ask = |buyer: u64, invitation: Option<Invitation>| {
            let request = sale.request(buyer).quantity(quantity);
            let request = match &invitation {
                Some(invitation) => request.invitation(invitation),
                None => request,
            };
            let request = match key.map(|key| RequestKey::new(&format!("key-{key}"))) {
                Some(Ok(key)) => request.key(&key),
                _ => request,
            };
            request.reserve().map(|hold| (hold.token(), hold.deadline()))
        };
        match (ask(buyer, invitation), self.flaw) {
            (Err(Rejection::LimitReached { .. }), Some(Flaw::SecondAccount)) => ask(buyer + 1_000, invitation),
            (Err(Rejection::NotEligible | Rejection::NotEligibleYet { .. }), Some(Flaw::OpenDoor)) => {
                ask(buyer, Some(sale.invitation(buyer)))
            }
            (Ok((token, _)), Some(Flaw::ShyShop)) if self.dice.one_in(2) => {
                let _given_back = sale.cancel(&token);
                Err(Rejection::SoldOut)
            }
            (Err(Rejection::AllHeld { .. }), Some(Flaw::OneUnitForTwo)) => {
                let other = self.oracle.tickets.iter().rev().find(|ticket| ticket.units[number] > 0);
                other.map_or(Err(Rejection::SoldOut), |other| Ok((other.token, other.deadlines[0])))
            }
            (answer, _) => answer,
        }
    }

    fn reserve(&mut self, number: usize, buyer: u64, key: Option<u64>) -> Checked {
        let largest = self.sale(number).spec().largest;
        let quantity = 1 + self.dice.units(largest);
        let brought = self.brings(number, buyer);
        let answer = self.ask(number, buyer, quantity, key, brought.map(|brought| brought.invitation));
        self.trace.note(format_args!("{buyer} reserves {quantity} of {number} by {key:?} and {brought:?}: {answer:?}"));
        let (token, deadline) = match answer {
            Ok(made) => made,
            Err(_) if self.world.has_failed() => return Ok(()),
            Err(Rejection::AttemptUnderWay) => return Err("G2: nobody else is there".to_owned()),
            Err(why) => {
                self.check_door(number, buyer, brought, Some(&why))?;
                return self.check_refusal(number, &why, quantity, buyer);
            }
        };
        let before = self.oracle.tokens.get(&token.to_string()).copied();
        if let (Some(key), Some(index)) = (key, before) {
            let ticket = &self.oracle.tickets[index];
            let same = (ticket.place, ticket.buyer, ticket.quantity()) == (number, buyer, quantity);
            ensure!(same && !ticket.ended, "G3: key {key} of buyer {buyer} names another's hold, or one that ended");
            return Ok(());
        }
        self.check_door(number, buyer, brought, None)?;
        let waited_for = self.sale(number).queue_length();
        ensure!(waited_for == 0, "G12: buyer {buyer} got a unit past {waited_for} who wait");
        self.oracle.made(number, Self::units(number, quantity), buyer, token, deadline)?;
        self.tried.holds += 1;
        if let Some(key) = key {
            let made = self.oracle.tickets.len() - 1;
            if let Some(before) = self.oracle.keys.insert((number, buyer, key), made) {
                let ticket = &self.oracle.tickets[before];
                // The key of a hold that has ended may be forgotten by the time that it is paid late.
                let over = ticket.ended && (ticket.receipt.is_none() || ticket.late);
                ensure!(over, "G3: key {key} of buyer {buyer} has two holds");
            }
        }
        Ok(())
    }

    fn reserve_many(&mut self, number: usize) -> Checked {
        let sale = self.sale(number);
        let buyers: Vec<u64> = (0..self.dice.below(5)).map(|_| self.dice.below(BUYERS)).collect();
        let mut answers = Vec::new();
        sale.reserve_many(&buyers.iter().copied().map(crate::Buyer::from).collect::<Vec<_>>(), &mut answers);
        for (buyer, answer) in buyers.into_iter().zip(answers) {
            if !self.world.has_failed() {
                self.check_door(number, buyer, None, answer.as_ref().err())?;
            }
            if let Ok(hold) = answer {
                self.trace.note(format_args!("{buyer} has one of {number}: {}", hold.token()));
                self.oracle.made(number, Self::units(number, 1), buyer, hold.token(), hold.deadline())?;
                self.tried.holds += 1;
            }
        }
        Ok(())
    }

    fn basket(&mut self, buyer: u64) -> Checked {
        let units = PerSale::default().map(|_| self.dice.units(5).saturating_sub(2));
        let sales = NAMES.map(|name| self.world.engine.sale(name).expect("see `sale`"));
        let items: Vec<_> = sales.iter().zip(units).filter(|(_, units)| *units > 0).collect();
        let waited_for = items.iter().any(|(sale, _)| sale.queue_length() > 0);
        let baskets = self.world.engine.baskets(super::basket_rules()).map_err(text)?;
        let answer = baskets.reserve(buyer, &items).map(|basket| (basket.token(), basket.deadline()));
        self.trace.note(format_args!("{buyer} wants a basket of {units:?}: {answer:?}"));
        if let Ok((token, deadline)) = answer {
            ensure!(!waited_for, "G12: a basket past those who wait");
            for (number, _) in units.iter().enumerate().filter(|(_, units)| **units > 0) {
                self.check_door(number, buyer, None, None)?;
            }
            self.oracle.made(BASKET, units, buyer, token, deadline)?;
            self.tried.holds += 1;
        }
        Ok(())
    }

    /// One of the tickets, more often a recent one: otherwise nearly all are over.
    pub(super) fn pick(&mut self) -> Option<usize> {
        let back = self.dice.place(self.oracle.tickets.len())?;
        let back = if self.dice.one_in(3) { back } else { back % 6 };
        Some(self.oracle.tickets.len() - 1 - back)
    }

    /// Reports a payment, by the token's text.
    pub(super) fn report(&self, place: usize, token: &Token, payment: u64) -> Result<Pending, ConfirmError> {
        let token: Token = self.through_the_door(token).to_string().parse()?;
        if place != BASKET {
            return self.sale(place).confirm(&token, payment);
        }
        let stopped = |_| ConfirmError::AttemptUnderWay;
        self.world.engine.baskets(super::basket_rules()).map_err(stopped)?.confirm(&token, payment)
    }

    fn pay(&mut self) -> Checked {
        let Some(index) = self.pick() else { return Ok(()) };
        self.oracle.paid += 1;
        let payment = self.oracle.paid;
        let ticket = &mut self.oracle.tickets[index];
        ticket.payments.push(payment);
        let (place, token) = (ticket.place, ticket.token);
        let pending = self.report(place, &token, payment);
        self.trace.note(format_args!("payment {payment} for {token}: {}", pending.is_ok()));
        match pending {
            Ok(pending) => self.oracle.waiting.push((index, Answer::Pending(pending))),
            Err(ConfirmError::Stopped(_) | ConfirmError::OutcomeUnknown(_)) if self.world.has_failed() => {}
            Err(other) => return Err(format!("G3: no answer to a payment: {other}")),
        }
        if self.dice.one_in(2) { self.wait() } else { Ok(()) }
    }

    pub(super) fn cancel_by(&self, place: usize, token: &Token) -> Result<Cancelled, CancelError> {
        let token = &self.through_the_door(token);
        if place != BASKET {
            return self.sale(place).cancel(token);
        }
        let baskets = self.world.engine.baskets(super::basket_rules());
        baskets.map_or(Err(CancelError::Ended(Ended::LongAgo)), |baskets| baskets.cancel(token))
    }

    fn cancel(&mut self) -> Checked {
        let Some(index) = self.pick() else { return Ok(()) };
        let ticket = &self.oracle.tickets[index];
        let (place, token) = (ticket.place, ticket.token);
        if self.flaw == Some(Flaw::UnmadeCancel) && !ticket.ended && ticket.payments.is_empty() {
            self.oracle.tickets[index].ended = true;
            return Ok(());
        }
        let answer = self.cancel_by(place, &token);
        self.trace.note(format_args!("{token} is cancelled: {answer:?}"));
        let ticket = &mut self.oracle.tickets[index];
        match answer {
            Ok(cancelled) => {
                ensure!(!ticket.ended, "G8: an old token has cancelled: {cancelled:?}");
                ensure!(cancelled.quantity == ticket.quantity(), "G3: cancelled in part: {cancelled:?}");
                ensure!(ticket.receipt.is_none() && !ticket.refunded, "G3: cancelled after its payment");
                ticket.ended = true;
            }
            Err(CancelError::Ended(Ended::Confirmed | Ended::BeingConfirmed)) => {
                ensure!(!ticket.payments.is_empty(), "G3: sold, and nobody paid");
            }
            Err(CancelError::Ended(_)) => ensure!(ticket.ended, "G3: a hold is gone"),
            Err(other) => return Err(format!("G8: its token is unknown: {other}")),
        }
        Ok(())
    }

    pub(super) fn extend_by(&self, place: usize, token: &Token, by: Duration) -> Result<Timestamp, ExtendError> {
        let token = &self.through_the_door(token);
        if place != BASKET {
            return self.sale(place).extend(token, by);
        }
        let baskets = self.world.engine.baskets(super::basket_rules());
        baskets.map_or(Err(ExtendError::Ended(Ended::LongAgo)), |baskets| baskets.extend(token, by))
    }

    fn extend(&mut self) -> Checked {
        let Some(index) = self.pick() else { return Ok(()) };
        let by = Duration::from_secs(self.dice.below(100));
        let (place, token) = (self.oracle.tickets[index].place, self.oracle.tickets[index].token);
        let answer = self.extend_by(place, &token, by);
        self.trace.note(format_args!("{token} is extended by {by:?}: {answer:?}"));
        match answer {
            Ok(deadline) => {
                let ticket = &mut self.oracle.tickets[index];
                ensure!(!ticket.ended, "G3: an ended hold was extended");
                ticket.deadlines.push(deadline);
                Ok(())
            }
            Err(ExtendError::Ended(_) | ExtendError::Overdue { .. }) => Ok(()),
            Err(other) => Err(format!("G8: its token is unknown: {other}")),
        }
    }

    fn join(&mut self, number: usize, buyer: u64) -> Checked {
        let sale = self.sale(number);
        let brought = self.brings(number, buyer);
        let answer = match &brought {
            Some(Brought { invitation, .. }) => sale.request(buyer).invitation(invitation).join(),
            None => sale.join(buyer),
        };
        self.trace.note(format_args!("{buyer} waits for {number} with {brought:?}: {answer:?}"));
        match answer {
            Ok(crate::Place { ticket, .. }) => {
                self.check_door(number, buyer, brought, None)?;
                let place = Place { ticket, durable: false };
                let place = self.oracle.places.entry((number, buyer)).or_insert(place);
                ensure!(place.ticket == ticket, "G12: buyer {buyer} has ticket {ticket}, and had {place:?}");
            }
            Err(JoinError::UnitsFree) => {
                let audit = sale.audit();
                ensure!(sale.queue_length() == 0 && audit.free > 0, "G2: told that units are free: {audit}");
            }
            Err(JoinError::Rejected(why)) if !self.world.has_failed() => {
                self.check_door(number, buyer, brought, Some(&why))?;
                self.check_refusal(number, &why, 1, buyer)?;
            }
            Err(_) => {}
        }
        Ok(())
    }

    /// What the buyer was offered.
    fn offer(&self, number: usize, buyer: u64) -> Checked<Option<(usize, Token)>> {
        let Waiting::Offered { token, .. } = self.sale(number).waiting(buyer) else { return Ok(None) };
        let known = self.oracle.tokens.get(&token.to_string());
        let index = known.ok_or_else(|| format!("G2: an offer that nobody was told of: {token}"))?;
        Ok(Some((*index, token)))
    }

    fn accept(&mut self, number: usize, buyer: u64) -> Checked {
        if let Some((index, token)) = self.offer(number, buyer)? {
            let deadline = self.sale(number).accept(&token).map_err(text)?;
            self.oracle.tickets[index].deadlines.push(deadline);
        }
        Ok(())
    }

    fn leave(&mut self, number: usize, buyer: u64) -> Checked {
        let offer = self.offer(number, buyer)?;
        let left = self.sale(number).leave(buyer);
        self.trace.note(format_args!("{buyer} leaves {number}: {left:?}"));
        match (left, offer) {
            (Ok(Left::Place), _) => {
                self.oracle.places.remove(&(number, buyer));
            }
            (Ok(Left::Offer), Some((index, _))) => self.oracle.tickets[index].ended = true,
            (Ok(Left::Offer), None) => return Err("G3: an offer was given back that wasn't made".to_owned()),
            (Ok(Left::Nothing), _) => {}
            (Err(_), _) => {
                ensure!(self.world.has_failed(), "G4: leaving failed");
                self.oracle.places.remove(&(number, buyer));
            }
        }
        Ok(())
    }

    fn enroll(&mut self, buyer: u64) -> Checked {
        let enrolled = self.sale(1).enroll(buyer);
        ensure!(enrolled.is_ok() || self.world.has_failed(), "G4: {enrolled:?}");
        if !self.oracle.registered.contains(&buyer) {
            let told = self.oracle.perhaps_registered.entry(buyer).or_insert(false);
            *told |= enrolled.is_ok();
        }
        Ok(())
    }

    fn ship(&mut self, number: usize) -> Checked {
        let sale = self.sale(number);
        let sequence = 1 + self.dice.below(4);
        let before = self.oracle.shipped.get(&(number, sequence)).copied();
        let answer = sale.ship(sequence);
        self.trace.note(format_args!("order {sequence} of {number} is shipped: {answer:?}"));
        match answer {
            Ok(()) => {
                ensure!(before != Some(true), "G4: order {sequence} was shipped twice");
                self.oracle.shipped.insert((number, sequence), true);
            }
            Err(crate::ShipError::ShippedBefore { .. }) => {
                ensure!(before.is_some(), "G4: order {sequence} was shipped by nobody");
            }
            Err(crate::ShipError::NoSuchOrder { .. }) => ensure!(before.is_none(), "G4: order {sequence} is lost"),
            Err(other) => {
                ensure!(self.world.has_failed(), "G4: {other}");
                self.oracle.shipped.entry((number, sequence)).or_insert(false);
            }
        }
        Ok(())
    }

    pub(super) fn tick(&mut self) -> Checked {
        // Once more: what a basket gives back in one tick is offered in the next one.
        for _ in 0..2 {
            let now = self.world.engine.now();
            if self.flaw != Some(Flaw::DeafTick) {
                let ticked = self.world.engine.tick(now);
                self.trace.note(format_args!("{now}: {ticked:?}"));
            }
        }
        let now = self.world.engine.now();
        for index in 0..self.oracle.tickets.len() {
            let ticket = &self.oracle.tickets[index];
            let over = ticket.deadlines.last().is_some_and(|deadline| now >= deadline.plus(GRACE));
            if !over || ticket.ended {
                continue;
            }
            // An extension by nothing shows a hold and changes nothing.
            let (place, token) = (ticket.place, ticket.token);
            let how = match self.extend_by(place, &token, Duration::ZERO) {
                Err(ExtendError::Ended(how)) => how,
                other => return Err(format!("G7: a hold has outlived its deadline: {other:?}")),
            };
            // One that was paid may be an order.
            let ended = matches!(how, Ended::Expired | Ended::LongAgo | Ended::Cancelled);
            let paid = !self.oracle.tickets[index].payments.is_empty();
            ensure!(ended || paid, "G3: sold, and nobody paid: {how}");
            self.oracle.tickets[index].ended = ended;
        }
        self.offered()?;
        if self.world.has_failed() {
            return Ok(());
        }
        self.all_durable()?;
        self.check_faces()?;
        for sale in self.world.engine.sales() {
            let audit = sale.audit();
            let stuck = sale.state() == SaleState::Open && sale.queue_length() > 0 && audit.free > 0;
            ensure!(!stuck, "G2: {} wait, and units are free: {audit}", sale.queue_length());
        }
        Ok(())
    }

    /// To whom the shop gives what is offered to `buyer`.
    fn served(&self, number: usize, buyer: u64) -> u64 {
        let mut others = self.oracle.places.range((number, 0)..(number + 1, 0)).map(|((_, other), _)| *other);
        let jumps = self.flaw == Some(Flaw::JumpedLine);
        others.find(|other| jumps && *other != buyer).unwrap_or(buyer)
    }

    /// What was offered since this was last looked at.
    pub(super) fn offered(&mut self) -> Checked {
        while let Some(event) = self.world.events.try_next() {
            let Some(number) = NAMES.iter().position(|name| **name == *event.sale) else { continue };
            match event.kind {
                EventKind::Offered { buyer, token, accept_by } => {
                    let buyer = buyer.to_string().parse().map_err(|_| format!("G2: offered to buyer {buyer}"))?;
                    let buyer = self.served(number, buyer);
                    let passed = self.oracle.passed(number, buyer);
                    ensure!(passed.is_none(), "G12: buyer {buyer} was served before {passed:?}, who is first");
                    self.oracle.places.remove(&(number, buyer));
                    self.oracle.made(number, Self::units(number, 1), buyer, token, accept_by)?;
                    self.tried.holds += 1;
                }
                EventKind::PassedOver { buyer } => {
                    let buyer = buyer.to_string().parse().map_err(|_| format!("G2: passed over buyer {buyer}"))?;
                    self.oracle.places.remove(&(number, buyer));
                }
                _ => {}
            }
        }
        Ok(())
    }

    pub(super) fn sync(&mut self) -> Checked {
        let synced = self.world.engine.sync();
        ensure!(synced.is_ok() || self.world.has_failed(), "G4: {synced:?}");
        if synced.is_ok() { self.all_durable() } else { Ok(()) }
    }

    pub(super) fn all_durable(&mut self) -> Checked {
        self.wait()?;
        self.oracle.all_durable()
    }
}
