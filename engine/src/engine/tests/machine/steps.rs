//! One step: it is done, and what was answered is compared with what the oracle says.
//!
//! What may fail is the disk alone. Then nothing is known of what was just done; the next opening tells.

use super::{
    oracle::{BASKET, Due, Fate, GRACE, HOLD, Rules, Ticket},
    *,
};
use crate::{
    BasketRejection, CancelError, ChangeError, ConfirmError, Ended, ExtendError, JoinError, Left, RequestKey, Waiting,
    engine::events::EventKind,
};

impl Machine {
    pub(in crate::engine::tests) fn step(&mut self, op: &Op) {
        match op {
            Op::Reserve { sale, buyer, quantity, key } => self.reserve(*sale, *buyer, *quantity, *key),
            Op::Many { sale, buyers } => self.reserve_many(*sale, buyers),
            Op::Basket { buyer, units } => self.basket(*buyer, *units),
            Op::Pay { which, waits } => {
                if let Some(index) = self.pick(*which) {
                    self.pay(index, *waits);
                }
            }
            Op::Cancel { which } => self.cancel(*which),
            Op::Extend { which, millis: by } => self.extend(*which, millis(*by)),
            Op::Join { sale, buyer } => self.join(*sale, *buyer),
            Op::Leave { sale, buyer } => self.leave(*sale, *buyer),
            Op::Accept { sale, buyer } => self.accept(*sale, *buyer),
            Op::Enroll { buyer } => {
                if self.is_done(&self.sale(1).enroll(*buyer)) && !self.oracle.registered.contains(buyer) {
                    self.oracle.perhaps_registered.insert(*buyer);
                }
            }
            Op::Ship { sale, sequence } => self.ship(*sale, *sequence),
            Op::Add { sale, units } => self.add(*sale, *units),
            Op::Withdraw { sale, units } => self.withdraw(*sale, *units),
            Op::Pause { sale } => self.change(*sale, |rules| rules.paused = true, Sale::pause),
            Op::Resume { sale } => self.change(*sale, |rules| rules.paused = false, Sale::resume),
            Op::Close { sale } => self.change(*sale, |rules| rules.closed = true, Sale::close),
            Op::Cap { sale, cap } => {
                let shop = &mut self.oracle.shops[*sale];
                shop.highest = shop.highest.max(*cap);
                self.change(*sale, |rules| rules.cap = *cap, |sale| sale.set_cap(*cap));
            }
            Op::Move { sale, opens, closes } => {
                let now = self.now();
                let [opens, closes] = [opens, closes].map(|span| span.map(|span| now.plus(millis(span))));
                self.move_window(*sale, opens, closes);
            }
            Op::PauseAll => self.halt(true),
            Op::ResumeAll => self.halt(false),
            Op::Pass { millis: span } => self.world.clock.advance(millis(*span)),
            Op::Until { which, grace, early_millis } => {
                if let Some(index) = self.pick(*which) {
                    let due = self.oracle.tickets[index].deadline();
                    let end = if *grace { due.plus(GRACE) } else { due };
                    let until = Timestamp::from_millis(end.as_millis() - early_millis);
                    // Of an instant that is over nothing is left to wait for.
                    self.world.clock.advance(until.since(self.now()));
                }
            }
            Op::Tick => self.tick(),
            Op::Sync => {
                if self.is_done(&self.world.engine.sync()) {
                    self.oracle.written();
                    self.read_messages();
                }
            }
            Op::Compact => self.compact(),
            Op::Fault { calls, fault } => {
                self.disk.fault_at(self.disk.calls() + calls, *fault);
                self.armed = true;
            }
            Op::Crash(crash) => self.crash(*crash),
            Op::Reopen => self.reopen(),
        }
        if self.has_failed() {
            let seed = self.disk.calls();
            self.crash(Crash { power: true, seed, away_millis: 20_000, again: None });
        }
        self.check();
    }

    /// Whether it was done; if not, the disk is to blame.
    fn is_done<T: fmt::Debug, E: fmt::Debug>(&self, answer: &Result<T, E>) -> bool {
        assert!(answer.is_ok() || self.has_failed(), "the disk is well: {answer:?}");
        answer.is_ok()
    }

    pub(super) fn know(&mut self, place: usize, units: [u32; SALES], buyer: u64, hold: (Token, Timestamp)) -> usize {
        let (token, deadline) = hold;
        let faces = self.faces(place, &token).expect("it was just made");
        let faced: usize = (1..SALES).map(|sale| units[sale] as usize).sum();
        assert_eq!(faces.len(), faced, "{faces:?} for {units:?}");
        self.oracle.made(Ticket {
            place,
            units,
            faces,
            token,
            buyer,
            deadlines: vec![deadline],
            accept_by: None,
            fate: Fate::Held,
            durable: false,
            end_durable: false,
            paid: None,
            receipt: None,
            refunded: false,
            refund_durable: false,
        })
    }

    /// One of the latest holds.
    fn pick(&self, which: usize) -> Option<usize> {
        let back = which.checked_rem(self.oracle.tickets.len().min(op::RECENT))?;
        Some(self.oracle.tickets.len() - 1 - back)
    }

    fn one(sale: usize, quantity: u32) -> [u32; SALES] {
        let mut units = [0; SALES];
        units[sale] = quantity;
        units
    }

    pub(super) fn reserve(&mut self, number: usize, buyer: u64, quantity: u32, key: Option<u8>) {
        let (sale, now) = (self.sale(number), self.now());
        let request = sale.request(buyer).quantity(quantity);
        let request = match key {
            Some(key) => request.key(&RequestKey::new(&format!("key-{key}")).unwrap()),
            None => request,
        };
        let answer = request.reserve();
        let named = key.and_then(|key| self.oracle.keys.get(&(number, buyer, key)).copied());
        if let Some(index) = named
            && self.is_named(index, quantity, &answer)
        {
            return;
        }
        match answer {
            Ok(hold) => {
                assert!(self.oracle.lets(number, buyer, quantity, now), "buyer {buyer} got {quantity} of {number}");
                assert_eq!((hold.buyer(), hold.quantity()), (Buyer::from(buyer), quantity));
                assert_eq!(hold.deadline(), now.plus(HOLD));
                let index = self.know(number, Self::one(number, quantity), buyer, (hold.token(), hold.deadline()));
                if let Some(key) = key {
                    self.oracle.keys.insert((number, buyer, key), index);
                }
            }
            Err(why) => {
                let is_true = self.oracle.is_true(number, buyer, quantity, now, &why);
                assert!(is_true, "buyer {buyer} was refused {quantity} of {number}: {why}, with {}", sale.audit());
            }
        }
    }

    /// Whether it was answered as the hold of its key; if not, that one has ended, and it is a new attempt.
    fn is_named(&self, index: usize, quantity: u32, answer: &Result<Hold<'_>, Rejection>) -> bool {
        let ticket = &self.oracle.tickets[index];
        match answer {
            Err(Rejection::KeyReused { asked, first }) => {
                assert_eq!((*asked, *first), (quantity, ticket.quantity()));
                assert_ne!(asked, first);
            }
            Err(Rejection::HoldEnded { token, how }) => {
                let sold = matches!(ticket.fate, Fate::Sold { .. });
                assert_eq!(matches!(how, Ended::Confirmed | Ended::BeingConfirmed), sold, "{how:?}: {ticket:?}");
                assert!(*token == ticket.token || ticket.fate == Fate::Sold { late: true }, "another's: {ticket:?}");
                assert!(ticket.fate != Fate::Held, "it is held: {ticket:?}");
            }
            answer if ticket.fate == Fate::Held => {
                let hold = answer.as_ref().expect("its hold is held");
                let (token, deadline) = (hold.token(), hold.deadline());
                assert_eq!((token, deadline), (ticket.token, ticket.deadline()), "one key has two holds");
            }
            _ => {
                assert!(ticket.fate != Fate::Sold { late: false }, "one key has two holds: {ticket:?}");
                return false;
            }
        }
        true
    }

    fn reserve_many(&mut self, number: usize, buyers: &[u64]) {
        let (sale, now, mut answers) = (self.sale(number), self.now(), Vec::new());
        sale.reserve_many(&buyers.iter().copied().map(Buyer::from).collect::<Vec<_>>(), &mut answers);
        assert_eq!(answers.len(), buyers.len());
        // Permits are taken together: whoever gets none comes after all who get one.
        let mut refused = Vec::new();
        for (answer, buyer) in answers.into_iter().zip(buyers) {
            match answer {
                Ok(hold) => {
                    assert!(self.oracle.lets(number, *buyer, 1, now), "buyer {buyer} got one of {number}");
                    self.know(number, Self::one(number, 1), *buyer, (hold.token(), hold.deadline()));
                }
                Err(why) => refused.push((buyer, why)),
            }
        }
        for (buyer, why) in refused {
            assert!(self.oracle.is_true(number, *buyer, 1, now, &why), "buyer {buyer} was refused {number}: {why}");
        }
    }

    fn basket(&mut self, buyer: u64, units: [u32; SALES]) {
        let (sales, baskets, now) = ([0, 1, 2, 3].map(|number| self.sale(number)), self.baskets(), self.now());
        let items: Vec<_> = sales.iter().zip(units).filter(|(_, units)| *units > 0).collect();
        let answer = baskets.reserve(buyer, &items).map(|basket| (basket.token(), basket.deadline()));
        match answer {
            Ok((token, deadline)) => {
                let lets = |sale: usize| units[sale] == 0 || self.oracle.lets(sale, buyer, units[sale], now);
                assert!((0..SALES).all(lets), "buyer {buyer} got a basket of {units:?}");
                assert_eq!(deadline, now.plus(HOLD));
                self.know(BASKET, units, buyer, (token, deadline));
            }
            Err(BasketRejection::Empty) => assert_eq!(units, [0; SALES]),
            Err(BasketRejection::Stopped) => assert!(self.has_failed()),
            Err(BasketRejection::Sale { sale, why }) => {
                let number = sales.iter().position(|other| other.name() == sale.as_str()).unwrap();
                let is_true = self.oracle.is_true(number, buyer, units[number], now, &why);
                assert!(is_true, "buyer {buyer} was refused a basket of {units:?} for {sale:?}: {why}");
            }
            Err(other) => panic!("{other}"),
        }
    }

    /// Reports a payment, by the token.
    pub(super) fn report(&self, index: usize, payment: u64) -> Result<Pending, ConfirmError> {
        let ticket = &self.oracle.tickets[index];
        if ticket.place == BASKET {
            self.baskets().confirm(&ticket.token, payment)
        } else {
            self.sale(ticket.place).confirm(&ticket.token, payment)
        }
    }

    pub(super) fn pay(&mut self, index: usize, waits: bool) {
        let (now, payment) = (self.now(), self.oracle.payments + 1);
        self.oracle.payments = payment;
        let due = self.oracle.payment_due(index, now);
        let pending = match self.report(index, payment) {
            Ok(pending) => pending,
            Err(why) => return assert!(self.has_failed(), "no answer to a payment: {why}"),
        };
        let durable = pending.is_done();
        let mut answer = None;
        // What a crash has left is known by the answer alone.
        let perhaps = self.oracle.tickets[index].fate == Fate::PerhapsExpired;
        if waits || perhaps {
            answer = pending.wait().ok();
            assert!(answer.is_some() || self.has_failed(), "no answer to a payment");
        }
        match (due, answer) {
            (Due::Sold { late }, answer) => {
                self.sell(index, payment);
                let sold = |answer| match answer {
                    Confirmation::Confirmed(receipt) if !late => self.is_receipt(index, receipt),
                    Confirmation::PaidLate(receipt) if late => self.is_receipt(index, receipt),
                    _ => false,
                };
                assert!(answer.is_none_or(sold), "to be sold: {answer:?}");
            }
            (Due::SoldBefore, answer) => {
                let known = |answer| match answer {
                    Confirmation::AlreadyConfirmed(receipt) => self.is_receipt(index, receipt),
                    _ => false,
                };
                assert!(answer.is_none_or(known), "sold before: {answer:?}");
            }
            (Due::LateOrRefund, Some(Confirmation::PaidLate(receipt))) => {
                self.sell(index, payment);
                assert!(self.is_receipt(index, receipt), "{receipt:?}");
            }
            (_, None) if perhaps => return,
            (Due::Refund | Due::LateOrRefund, answer) => {
                assert!(answer.is_none_or(|answer| receipt_of(answer).is_none()), "to be refunded: {answer:?}");
                let forgotten = matches!(answer, Some(Confirmation::CancelledBefore | Confirmation::HoldForgotten));
                let ticket = &mut self.oracle.tickets[index];
                assert!(
                    !forgotten || ticket.fate != Fate::Expired,
                    "it has expired, and that is forgotten: {ticket:?}"
                );
                ticket.refunded = true;
                if ticket.fate != Fate::Over {
                    ticket.fate = if forgotten { Fate::Over } else { Fate::Refused };
                }
            }
        }
        if let Some(receipt) = answer.and_then(receipt_of) {
            self.oracle.tickets[index].receipt = Some(receipt);
        }
        if answer.is_some() && !(durable || self.setup.buffered) {
            self.oracle.committed();
        }
    }

    /// It is sold; after it had expired, by whatever units are free.
    fn sell(&mut self, index: usize, payment: u64) {
        self.oracle.sell(index, payment);
        let ticket = &self.oracle.tickets[index];
        let faces = (ticket.fate == (Fate::Sold { late: true })).then(|| self.faces(ticket.place, &ticket.token));
        if let Some(faces) = faces {
            self.oracle.tickets[index].faces = faces.expect("it was just sold");
        }
    }

    /// Whether it is the ticket's receipt, and the one that was told before.
    fn is_receipt(&self, index: usize, receipt: Receipt) -> bool {
        let ticket = &self.oracle.tickets[index];
        let order = if ticket.fate == (Fate::Sold { late: true }) { receipt.order } else { ticket.token };
        let sequence = ticket.paid.map_or(0, |(_, sequence)| sequence);
        ticket.receipt.is_none_or(|before| before == receipt)
            && receipt == Receipt { sequence, order, buyer: Buyer::from(ticket.buyer), quantity: ticket.quantity() }
    }

    fn cancel(&mut self, which: usize) {
        let Some(index) = self.pick(which) else { return };
        let ticket = &self.oracle.tickets[index];
        let (place, token, fate) = (ticket.place, ticket.token, ticket.fate);
        let answer = if place == BASKET { self.baskets().cancel(&token) } else { self.sale(place).cancel(&token) };
        match (fate, answer) {
            (Fate::Held, Ok(cancelled)) => {
                assert_eq!(cancelled.quantity, ticket.quantity());
                self.oracle.tickets[index].fate = Fate::Over;
            }
            (Fate::Sold { late: false }, Err(CancelError::Ended(Ended::Confirmed | Ended::BeingConfirmed)))
            | (
                Fate::Over | Fate::Refused | Fate::Expired | Fate::PerhapsExpired | Fate::Sold { late: true },
                Err(CancelError::Ended(_)),
            ) => {}
            (fate, answer) => panic!("{fate:?}, and who cancels is told {answer:?}"),
        }
    }

    pub(super) fn extend_by(&self, index: usize, by: Duration) -> Result<Timestamp, ExtendError> {
        let Ticket { place, token, .. } = &self.oracle.tickets[index];
        if *place == BASKET { self.baskets().extend(token, by) } else { self.sale(*place).extend(token, by) }
    }

    fn extend(&mut self, which: usize, by: Duration) {
        let Some(index) = self.pick(which) else { return };
        let (answer, now) = (self.extend_by(index, by), self.now());
        let ticket = &mut self.oracle.tickets[index];
        let due = ticket.deadline();
        match answer {
            Ok(deadline) => {
                assert!(ticket.fate == Fate::Held && now <= due, "extended: {ticket:?}");
                assert_eq!(deadline, due.plus(by));
                ticket.deadlines.push(deadline);
            }
            Err(ExtendError::Overdue { due: told }) => assert!(ticket.fate == Fate::Held && told == due && now > due),
            Err(ExtendError::Ended(_)) => assert!(ticket.fate != Fate::Held, "it is held: {ticket:?}"),
            Err(other) => panic!("{other}"),
        }
    }

    /// What the buyer was offered and may accept still.
    pub(super) fn offer(&self, number: usize, buyer: u64) -> Option<usize> {
        let of = |ticket: &Ticket| ticket.place == number && ticket.buyer == buyer && ticket.accept_by.is_some();
        let index = self.oracle.tickets.iter().rposition(of)?;
        let ticket = &self.oracle.tickets[index];
        let open = ticket.fate == Fate::Held && ticket.accept_by == Some(ticket.deadline());
        (open && self.now() <= ticket.deadline()).then_some(index)
    }

    fn join(&mut self, number: usize, buyer: u64) {
        let (sale, now) = (self.sale(number), self.now());
        let offer = self.offer(number, buyer).map(|index| self.oracle.tickets[index].token);
        let shop = &mut self.oracle.shops[number];
        match sale.join(buyer) {
            Ok(place) if shop.waits(buyer) => assert_eq!(sale.waiting(buyer), Waiting::Queued(place)),
            Ok(place) => {
                assert!(offer.is_none() && place.ticket > shop.tickets, "ticket {} came again", place.ticket);
                shop.tickets = place.ticket;
                let draw = shop.draw(buyer);
                shop.change_line(|line| line.push((draw, place.ticket, buyer)));
                let free = shop.line().len() == 1 && self.oracle.free(number) > 0;
                assert!(!free, "buyer {buyer} waits, and units are free");
                assert_eq!(self.oracle.state(number, now), SaleState::Open);
                assert!(self.oracle.is_allowed(number, buyer, 1), "buyer {buyer} waits for more than the cap");
            }
            Err(JoinError::NoWaitlist) => assert!(shop.spec.waitlist.is_none()),
            Err(JoinError::Full { room }) => assert_eq!(shop.line().len(), room as usize),
            Err(JoinError::UnitsFree) => assert!(self.oracle.has(number, 1)),
            Err(JoinError::Offered { token, .. }) => assert_eq!(Some(token), offer),
            Err(JoinError::Rejected(why)) => {
                assert!(self.oracle.is_true(number, buyer, 1, now, &why), "buyer {buyer} may not wait: {why}");
            }
            Err(JoinError::Journal(why)) => assert!(self.has_failed(), "{why}"),
        }
    }

    fn leave(&mut self, number: usize, buyer: u64) {
        let offer = self.offer(number, buyer);
        let waits = self.oracle.shops[number].waits(buyer);
        let left = self.sale(number).leave(buyer);
        if !self.is_done(&left) {
            return;
        }
        match left.unwrap() {
            Left::Place => {
                assert!(waits, "buyer {buyer} left a line without being there");
                self.oracle.shops[number].change_line(|line| line.retain(|(_, _, other)| *other != buyer));
            }
            Left::Offer => self.oracle.tickets[offer.expect("it was offered")].fate = Fate::Over,
            Left::Nothing => assert!(!waits && offer.is_none(), "buyer {buyer} was there"),
        }
    }

    fn accept(&mut self, number: usize, buyer: u64) {
        let (sale, now) = (self.sale(number), self.now());
        let Some(index) = self.offer(number, buyer) else { return };
        let ticket = &mut self.oracle.tickets[index];
        let deadline = sale.accept(&ticket.token).unwrap();
        assert_eq!(deadline, now.plus(HOLD).max(ticket.deadline().plus(millis(1))));
        ticket.deadlines.push(deadline);
    }

    fn ship(&mut self, number: usize, sequence: u64) {
        let answer = self.sale(number).ship(sequence);
        let shop = &mut self.oracle.shops[number];
        let before = shop.shipped.get(&sequence).copied();
        match answer {
            Ok(()) => assert!(before != Some(true), "order {sequence} of {number} was shipped twice"),
            Err(ShipError::ShippedBefore { .. }) => assert!(before.is_some(), "nobody shipped order {sequence}"),
            Err(ShipError::NoSuchOrder { .. }) => {
                return assert!(shop.durable < usize::try_from(sequence).unwrap(), "order {sequence} is lost");
            }
            Err(why) => {
                shop.shipped.entry(sequence).or_insert(false);
                return assert!(self.has_failed(), "{why}");
            }
        }
        shop.shipped.insert(sequence, true);
        self.oracle.committed();
    }

    fn change(
        &mut self,
        number: usize,
        change: impl FnOnce(&mut Rules),
        make: impl FnOnce(&Sale) -> Result<(), ChangeError>,
    ) {
        let done = make(&self.sale(number));
        let rules = &mut self.oracle.shops[number].rules;
        let mut changed = rules.last().expect("there are always some").clone();
        change(&mut changed);
        rules.push(changed);
        if self.is_done(&done) {
            self.oracle.shops[number].rules.drain(..1);
            self.oracle.committed();
        }
    }

    pub(super) fn move_window(&mut self, number: usize, opens: Option<Timestamp>, closes: Option<Timestamp>) {
        if self.oracle.shops[number].rules().closed {
            return assert_eq!(self.sale(number).move_window(opens, closes), Err(ChangeError::Closed));
        }
        self.change(
            number,
            |rules| (rules.opens, rules.closes) = (opens, closes),
            |sale| sale.move_window(opens, closes),
        );
    }

    fn add(&mut self, number: usize, units: u32) {
        let rules = self.oracle.shops[number].rules();
        let expected = match number {
            _ if rules.closed => ChangeError::Closed,
            3 => ChangeError::FixedBudget,
            _ => {
                // The second sale grows beyond its first slots, the others stay scarce.
                let units = if number == 1 { units } else { 1 + units % 2 };
                let labels = self.labels;
                self.labels += units;
                return self.change(
                    number,
                    |rules| rules.added += units,
                    |sale| match number {
                        2 => sale.add_listed((labels..labels + units).map(|label| format!("extra-{label}"))),
                        _ => sale.add_stock(units),
                    },
                );
            }
        };
        assert_eq!(self.sale(number).add_stock(units), Err(expected));
    }

    fn withdraw(&mut self, number: usize, units: u32) {
        if number == 3 {
            return assert_eq!(self.sale(number).withdraw(units), Err(ChangeError::FixedBudget));
        }
        let expected = units.min(self.oracle.free(number));
        self.change(
            number,
            |rules| rules.withdrawn += expected,
            |sale| sale.withdraw(units).map(|withdrawn| assert_eq!(withdrawn, expected, "withdrawn")),
        );
    }

    pub(super) fn halt(&mut self, halted: bool) {
        let engine = &self.world.engine;
        let done = if halted { engine.pause_all() } else { engine.resume_all() };
        self.oracle.halted.push(halted);
        if self.is_done(&done) {
            self.oracle.halted.drain(..1);
            self.oracle.committed();
        }
    }

    fn compact(&mut self) {
        let compacted = self.world.engine.compact();
        assert!(compacted.is_ok() || self.armed, "{compacted:?}");
        if let Ok(Some(compacted)) = compacted {
            self.compactions += u64::from(compacted.segments > 0);
        }
    }

    /// Time acts, and once more: what a basket of this tick gave back is offered by the next one.
    pub(super) fn tick(&mut self) {
        let (now, events) = (self.now(), self.world.engine.subscribe(1_000));
        let shares: Vec<_> = (0..SALES).map(|sale| self.oracle.shares(sale)).collect();
        let ticked = [(); 2].map(|()| self.world.engine.tick(now));
        let expired = self.oracle.expire(now);
        let mut offers = 0;
        while let Some(event) = events.try_next() {
            let (EventKind::Offered { buyer, .. } | EventKind::PassedOver { buyer }) = event.kind else { continue };
            let number = NAMES.iter().position(|name| **name == *event.sale).unwrap();
            let shop = &mut self.oracle.shops[number];
            let &(_, _, head) = shop.line().first().expect("somebody waits");
            assert_eq!(buyer, Buyer::from(head), "somebody else than the head was offered a unit");
            shop.change_line(|line| line.retain(|(_, _, other)| *other != head));
            if let EventKind::Offered { token, accept_by, .. } = event.kind {
                assert!(self.oracle.free(number) > 0, "offered without being free");
                assert!(self.oracle.is_allowed(number, head, 1), "buyer {head} was offered more than the cap");
                assert_eq!(accept_by, now.plus(ACCEPT));
                let index = self.know(number, Self::one(number, 1), head, (token, accept_by));
                self.oracle.tickets[index].accept_by = Some(accept_by);
                offers += 1;
            } else {
                let share = shares[number].get(&buyer).copied().unwrap_or_default();
                assert!(share >= self.oracle.shops[number].rules().cap, "buyer {head} was passed over");
            }
        }
        if self.has_failed() {
            return;
        }
        let sum = |of: fn(&Ticked) -> u64| ticked.iter().map(of).sum::<u64>();
        assert_eq!((sum(|ticked| ticked.expired), sum(|ticked| ticked.offered)), (expired, offers));
        self.oracle.written();
        for number in 0..SALES {
            let waits =
                self.oracle.state(number, now) == SaleState::Open && !self.oracle.shops[number].line().is_empty();
            assert!(!waits || self.oracle.free(number) == 0, "units are free, and somebody waits");
        }
    }
}

/// What says that it was sold.
pub(super) fn receipt_of(answer: Confirmation) -> Option<Receipt> {
    match answer {
        Confirmation::Confirmed(receipt)
        | Confirmation::AlreadyConfirmed(receipt)
        | Confirmation::PaidLate(receipt) => Some(receipt),
        Confirmation::PaidLateSoldOut
        | Confirmation::PaidLateOverCap
        | Confirmation::CancelledBefore
        | Confirmation::HoldForgotten => None,
    }
}
