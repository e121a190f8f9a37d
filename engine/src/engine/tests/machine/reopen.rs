//! The end of a process, what the next one finds, and the end of everything.

use std::collections::HashSet;

use super::{
    oracle::{Fate, Line},
    *,
};
use crate::{Waiting, core::allocator::Standing};

impl Machine {
    /// The process ends, and another one opens what is left.
    pub(super) fn crash(&mut self, crash: Crash) {
        let Crash { power, seed, away_millis, again } = crash;
        let dark = power || self.disk.is_dark();
        self.disk = if dark { self.disk.after_crash(seed) } else { self.disk.after_kill() };
        self.armed = false;
        let clock = Clock::now(&*self.world.clock).as_millis() + away_millis;
        let now = Timestamp::from_millis(clock.saturating_sub(20_000));
        if let Some(call) = again {
            self.disk.fault_at(call, Fault::Crash);
        }
        self.world = loop {
            // Somebody has made room, if it was full.
            self.disk.set_room(None);
            match open(&self.disk, &self.setup, now) {
                Ok(world) if !self.disk.is_dark() => break world,
                Err(why) if !self.disk.is_dark() => panic!("it can't be opened again: {why}"),
                _ => self.disk = self.disk.after_crash(seed),
            }
        };
        self.mend();
        self.find();
        self.check();
        self.hear_again();
    }

    /// The engine is closed, which loses nothing even if the power goes then.
    pub(super) fn reopen(&mut self) {
        let closed = self.world.engine.clone().close();
        assert!(closed.is_ok() || self.has_failed(), "the disk is well: {closed:?}");
        if closed.is_ok() {
            self.oracle.written();
        }
        self.crash(Crash { power: true, seed: self.disk.calls(), away_millis: 20_000, again: None });
    }

    /// What was open is known from now on: nothing is there but what may be.
    fn find(&mut self) {
        let halted = self.world.engine.is_paused();
        assert!(self.oracle.halted.contains(&halted), "the kill switch is {halted}");
        self.oracle.halted = vec![halted];
        let orders = self.orders();
        let lines: Vec<Line> = self.oracle.shops.iter().map(|shop| shop.lines[0].clone()).collect();
        for (number, orders) in orders.iter().enumerate() {
            self.find_rules(number);
            let shop = &mut self.oracle.shops[number];
            let (durable, least) = (shop.orders.len().min(orders.len()), shop.durable);
            assert!(orders.len() >= least, "an acknowledged order is lost: {} of {least} are there", orders.len());
            assert_eq!(orders[..], shop.orders[..durable], "orders that nobody paid, or in another sequence");
            shop.orders.truncate(durable);
            shop.durable = durable;
            self.find_line(number);
        }
        let registered = &self.sale(1).inner.registered;
        self.oracle.perhaps_registered.retain(|buyer| registered.contains(Buyer::from(*buyer)));
        self.oracle.registered.append(&mut self.oracle.perhaps_registered);
        let paid: HashSet<u64> = orders.iter().flatten().map(|order| order.payment).collect();
        for index in 0..self.oracle.tickets.len() {
            self.find_ticket(index, &paid, &lines);
        }
        for number in 0..SALES {
            let shipped: Vec<_> = self.oracle.shops[number].shipped.iter().map(|(at, sure)| (*at, *sure)).collect();
            for (sequence, sure) in shipped {
                match self.sale(number).ship(sequence) {
                    Err(ShipError::ShippedBefore { .. }) => {}
                    Ok(()) if !sure => {}
                    other => panic!("order {sequence} was shipped: {other:?}"),
                }
                self.oracle.shops[number].shipped.insert(sequence, true);
            }
        }
        self.read_messages();
    }

    /// What operators made of the sale, or were about to.
    fn find_rules(&mut self, number: usize) {
        let (sale, (spec, audit)) = (self.sale(number), (self.sale(number).spec(), self.sale(number).audit()));
        let rules = &mut self.oracle.shops[number].rules;
        let paused = rules.iter().any(|other| other.paused != rules[0].paused).then(|| rules[rules.len() - 1].paused);
        rules.retain(|rules| {
            (rules.cap, rules.opens, rules.closes) == (spec.cap, spec.opens_at, spec.closes_at)
                && (u64::from(rules.added), u64::from(rules.withdrawn)) == (audit.added, audit.withdrawn)
                && rules.closed == sale.inner.allocator.gate().is_closed()
        });
        assert!(!rules.is_empty(), "what operators made of it is lost: {spec:?}, {audit}");
        if let Some(paused) = paused {
            // The switch that stops all sales may hide it: who doesn't know says it again.
            if paused { sale.pause().unwrap() } else { sale.resume().unwrap() }
        }
        rules.drain(..rules.len() - 1);
    }

    fn find_line(&mut self, number: usize) {
        let sale = self.sale(number);
        let shop = &mut self.oracle.shops[number];
        let queued = |buyer| match sale.waiting(buyer) {
            Waiting::Queued(place) => Some((shop.draw(buyer), place.ticket, buyer)),
            _ => None,
        };
        let mut line: Line = (0..BUYERS).filter_map(queued).collect();
        line.sort_unstable();
        assert!(shop.lines.contains(&line), "the line is {line:?}, and was {:?}", shop.lines);
        shop.tickets = line.iter().map(|(_, ticket, _)| *ticket).max().unwrap_or_default();
        shop.lines = vec![line];
    }

    /// `lines` are what they were, for certain, when the process ended.
    fn find_ticket(&mut self, index: usize, orders: &HashSet<u64>, lines: &[Line]) {
        let alive = match self.standing(index) {
            Standing::Held { due, .. } => Some(self.place(self.oracle.tickets[index].place).inner.instant(due)),
            _ => None,
        };
        let ticket = &mut self.oracle.tickets[index];
        if ticket.accept_by.is_some() && ticket.fate == Fate::Held && !ticket.durable {
            let waits = self.oracle.shops[ticket.place].waits(ticket.buyer);
            let waited = lines[ticket.place].iter().any(|(_, _, buyer)| *buyer == ticket.buyer);
            assert!(!(alive.is_some() && waits), "in the line and with an offer: {ticket:?}");
            assert!(alive.is_some() || waits || !waited, "neither in the line nor with an offer: {ticket:?}");
        }
        if ticket.paid.is_some_and(|(payment, _)| orders.contains(&payment)) {
            ticket.end_durable = true;
            return;
        }
        if let Some(due) = alive {
            assert!(!ticket.end_durable, "a hold has come back: {ticket:?}");
            assert!(ticket.deadlines.contains(&due), "due at {due}: {ticket:?}");
            (ticket.fate, ticket.durable, ticket.deadlines) = (Fate::Held, true, vec![due]);
        } else {
            let open =
                ticket.fate == Fate::Sold { late: true } || (ticket.fate == Fate::Refused && !ticket.refund_durable);
            ticket.fate = match ticket.fate {
                // What was decided about a late payment is lost: it can be paid again.
                fate if fate == Fate::Expired || open => {
                    if ticket.end_durable {
                        Fate::Expired
                    } else {
                        Fate::PerhapsExpired
                    }
                }
                Fate::Held | Fate::Sold { .. } => {
                    assert!(!ticket.durable, "a durable hold is gone: {ticket:?}");
                    Fate::Over
                }
                fate => fate,
            };
            ticket.end_durable = true;
        }
        (ticket.paid, ticket.receipt, ticket.refunded) = (None, None, ticket.refund_durable);
    }

    /// Whatever was answered to a payment is answered again.
    fn hear_again(&mut self) {
        for index in 0..self.oracle.tickets.len() {
            let ticket = &self.oracle.tickets[index];
            if ticket.refunded || matches!(ticket.fate, Fate::Sold { .. }) {
                self.pay(index, true);
            }
        }
    }

    /// Where the ticket's hold stands.
    pub(super) fn standing(&self, index: usize) -> Standing {
        let ticket = &self.oracle.tickets[index];
        let sale = self.place(ticket.place);
        sale.inner.allocator.standing(sale.open_token(&ticket.token).unwrap())
    }

    /// The durable orders of each sale.
    fn orders(&self) -> Vec<Vec<Order>> {
        let source = self.world.engine.source().unwrap().unwrap();
        let mut all = Vec::new();
        for (number, name) in NAMES.iter().enumerate() {
            let (mut orders, mut before) = (Vec::new(), None);
            while before != Some(orders.len()) {
                before = Some(orders.len());
                source.read(name, orders.len() as u64, 1_000, &mut orders).unwrap();
            }
            let (audit, mut digest) = (self.sale(number).audit(), Digest::default());
            for (sequence, order) in (1..).zip(&orders) {
                assert_eq!(order.sequence, sequence);
                digest.add(sequence, order.buyer, order.quantity);
            }
            assert_eq!((audit.orders, audit.digest), (orders.len() as u64, digest), "{audit}");
            let order = |order: &SoldRecord| Order {
                payment: order.payment.as_str().parse().unwrap(),
                buyer: order.buyer.to_string().parse().unwrap(),
                quantity: order.quantity,
            };
            all.push(orders.iter().map(order).collect());
        }
        all
    }

    /// Messages that were read once are read again.
    pub(super) fn read_messages(&mut self) {
        if self.armed {
            return;
        }
        let (mut outbox, mut told) = (self.world.engine.outbox().unwrap().unwrap(), Vec::new());
        outbox.read(usize::MAX - 1, &mut told).unwrap();
        assert!(told.starts_with(&self.told), "{told:?} was before {:?}", self.told);
        self.told = told;
    }

    /// The disk's faults are over.
    pub(in crate::engine::tests) fn mend(&mut self) {
        self.disk.fault_at(u64::MAX, Fault::Crash);
        self.disk.set_room(None);
        self.armed = false;
    }

    /// Everybody's time is over; whoever comes buys the rest; and it is opened once more.
    pub(in crate::engine::tests) fn end(mut self) {
        self.mend();
        self.halt(false);
        for sale in 0..SALES {
            self.step(&Op::Resume { sale });
            self.step(&Op::Cap { sale, cap: self.oracle.shops[sale].highest });
            self.move_window(sale, None, None);
        }
        let busy = |machine: &Self, sale: usize| {
            let serves = machine.oracle.state(sale, machine.now()) == SaleState::Open;
            let line = !machine.oracle.shops[sale].line().is_empty();
            machine.oracle.share(sale, None).0 > 0 || (serves && line && machine.oracle.free(sale) > 0)
        };
        for turn in 0.. {
            assert!(turn < 30, "it doesn't come to rest");
            self.step(&Op::Pass { millis: 100_000 });
            self.step(&Op::Tick);
            if !(0..SALES).any(|sale| busy(&self, sale)) {
                break;
            }
        }
        for sale in 0..SALES {
            for buyer in 1_000.. {
                let before = self.oracle.tickets.len();
                self.reserve(sale, buyer, 1, None);
                if self.oracle.tickets.len() == before {
                    break;
                }
                self.pay(before, true);
            }
            let closed = self.oracle.shops[sale].rules().closed;
            assert!(closed || self.oracle.free(sale) == 0, "not everything could be sold");
        }
        self.step(&Op::Sync);
        self.crash(Crash { power: true, seed: 1, away_millis: 20_000, again: None });
        self.check_messages();
        if !self.oracle.shops[3].rules().closed {
            assert_eq!(self.sale(3).face_value().unwrap().sold, BUDGET);
        }
    }

    /// One confirmation for each order, one notice for each shipping, one reminder for each who registered.
    fn check_messages(&self) {
        let count = |wanted: &dyn Fn(&Message) -> bool| self.told.iter().filter(|told| wanted(told)).count();
        for (shop, name) in self.oracle.shops.iter().zip(NAMES) {
            for (sequence, order) in (1..).zip(&shop.orders) {
                let expected = (name, Buyer::from(order.buyer), sequence, order.quantity);
                let told = count(&|message| match message.kind {
                    MessageKind::Confirmation { sequence, quantity, .. } => {
                        (&*message.sale, message.buyer, sequence, quantity) == expected
                    }
                    _ => false,
                });
                assert_eq!(told, 1, "confirmations of {expected:?}");
            }
        }
        let orders: usize = self.oracle.shops.iter().map(|shop| shop.orders.len()).sum();
        assert_eq!(count(&|message| matches!(message.kind, MessageKind::Confirmation { .. })), orders);
        let shipped: usize = self.oracle.shops.iter().map(|shop| shop.shipped.len()).sum();
        assert_eq!(count(&|message| matches!(message.kind, MessageKind::ShippingNotice { .. })), shipped);
        if !self.oracle.shops[1].rules().closed {
            let reminded = count(&|message| matches!(message.kind, MessageKind::Reminder));
            assert_eq!(reminded, self.oracle.registered.len());
        }
    }
}
