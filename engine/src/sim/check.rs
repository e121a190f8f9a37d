//! The oracle's look at the engine, and at Redis.
//!
//! What holds, or is found:
//! - after every step: the units add up, as many are on hold as were promised, no cap is exceeded;
//! - after every opening: every acknowledged order is there with its receipt, what was refunded stays so, durable holds
//!   are there with their deadlines and ended ones are not, no unit has two holds or was exchanged, sequences have no
//!   gap, journal and memory tell one digest, what operators changed is as they left it, places in line and messages
//!   are what they were;
//! - once the faults are over: Redis has every durable sale once and every message once, in order.

use std::collections::{BTreeMap, HashMap};

use super::{
    Run,
    oracle::{BASKET, Checked, NAMES, PerSale, Place, Standing, Waiting as Answer, ensure},
    redis::Entry,
};
use crate::{
    Audit, Buyer, Confirmation, Digest, Ended, EnrollError, Enrolled, ExtendError, MessageKind, Pending, SaleState,
    ShipError, SoldRecord, Timestamp, Waiting,
    ledger::{message_words, row_text},
};

fn text<E: std::fmt::Display>(error: E) -> String {
    error.to_string()
}

impl Run {
    /// What can be said at any time.
    pub(super) fn look(&self) -> Checked {
        for (number, audit) in self.world.engine.audit().iter().enumerate() {
            ensure!(audit.holds(), "G7: the units don't add up: {audit}");
            let (held, _, unknown) = self.oracle.share(number, None);
            ensure!(audit.held >= held, "G4: {held} units were promised: {audit}");
            ensure!(
                audit.held <= held + unknown,
                "G3: {held} units are on hold and perhaps {unknown} more, the others had ended: {audit}"
            );
        }
        Ok(())
    }

    /// The look at an engine that was just opened.
    pub(super) fn check(&mut self) -> Checked {
        let names: Vec<String> = self.world.engine.sales().iter().map(|sale| sale.name().to_owned()).collect();
        ensure!(names == NAMES, "G4: sales are lost, there are {names:?}");
        self.check_rules()?;
        let orders = self.orders()?;
        let mut by_payment: HashMap<u64, Vec<(usize, &SoldRecord)>> = HashMap::new();
        for (number, orders) in orders.iter().enumerate() {
            for order in orders {
                let payment = order.payment.as_str().parse().map_err(|_| format!("G4: nobody paid for {order:?}"))?;
                by_payment.entry(payment).or_default().push((number, order));
            }
        }
        let mut known = 0;
        for index in 0..self.oracle.tickets.len() {
            known += self.check_ticket(index, &by_payment).map_err(|why| format!("{why} (ticket {index})"))?;
        }
        ensure!(known == by_payment.len(), "G4: {} payments made orders, and {known} were reported", by_payment.len());
        self.check_faces()?;
        self.check_places()?;
        self.check_lists()?;
        self.read_messages()?;
        self.look()
    }

    /// What operators made of the sales, and how many units they have.
    fn check_rules(&mut self) -> Checked {
        let now = self.world.engine.now();
        let halted = self.world.engine.is_paused();
        ensure!(self.oracle.halted.is_none_or(|before| before == halted), "G4: the kill switch is {halted}");
        self.oracle.halted = Some(halted);
        for (number, sale) in self.world.engine.sales().iter().enumerate() {
            let (spec, audit) = (sale.spec(), sale.audit());
            let rules = &mut self.oracle.rules[number];
            ensure!(rules.cap.is_none_or(|cap| cap == spec.cap), "G4: the cap is {}, after {rules:?}", spec.cap);
            let window = (spec.opens_at, spec.closes_at);
            ensure!(
                rules.window.is_none_or(|before| before == window),
                "G4: the window is {window:?}, after {rules:?}"
            );
            let open = spec.opens_at.is_none_or(|at| now >= at) && spec.closes_at.is_none_or(|at| now < at);
            let state = sale.state();
            ensure!(!rules.closed || state == SaleState::Closed, "G4: a closed sale is {state:?}");
            if open && state != SaleState::Closed {
                let paused = state == SaleState::Paused;
                let expected = rules.paused.map(|paused| paused || halted);
                ensure!(
                    expected.is_none_or(|expected| expected == paused),
                    "G4: the sale is {state:?}, after {rules:?}"
                );
            }
            rules.closed |= state == SaleState::Closed && open;
            (rules.cap, rules.window) = (Some(spec.cap), Some(window));
            rules.highest = rules.highest.max(spec.cap);
            let between = |value: u64, least: u32, more: u32| {
                (u64::from(least)..=u64::from(least) + u64::from(more)).contains(&value)
            };
            ensure!(between(audit.added, rules.added, rules.perhaps_added), "G4: {} were added: {audit}", rules.added);
            ensure!(
                between(audit.withdrawn, rules.withdrawn, rules.perhaps_withdrawn),
                "G4: {} were withdrawn: {audit}",
                rules.withdrawn
            );
            rules.added = u32::try_from(audit.added).map_err(text)?;
            rules.withdrawn = u32::try_from(audit.withdrawn).map_err(text)?;
            (rules.perhaps_added, rules.perhaps_withdrawn) = (0, 0);
        }
        Ok(())
    }

    /// The durable orders of each sale, after a look at each.
    pub(super) fn orders(&self) -> Checked<Vec<Vec<SoldRecord>>> {
        let source = self.world.engine.source().map_err(text)?.ok_or("no journal")?;
        let mut all = Vec::new();
        for (number, audit) in self.world.engine.audit().iter().enumerate() {
            let mut orders = Vec::new();
            let mut before = None;
            while before != Some(orders.len()) {
                before = Some(orders.len());
                source.read(NAMES[number], orders.len() as u64, usize::MAX - 1, &mut orders)?;
            }
            let (mut digest, mut bought) = (Digest::default(), BTreeMap::new());
            for (sequence, order) in (1..).zip(&orders) {
                ensure!(order.sequence == sequence, "G4: order {} follows {}", order.sequence, sequence - 1);
                digest.add(sequence, order.buyer, order.quantity);
                let units: &mut u32 = bought.entry(order.buyer.to_string()).or_default();
                *units += order.quantity;
                let highest = self.oracle.rules[number].highest;
                ensure!(*units <= highest, "G6: buyer {} bought {units}, the limit was {highest}", order.buyer);
            }
            let told = (audit.orders, audit.digest);
            ensure!(told == (orders.len() as u64, digest), "G4: the journal has {digest}, not {audit}");
            let sold: u64 = orders.iter().map(|order| u64::from(order.quantity)).sum();
            ensure!(sold == audit.sold, "G1: {sold} units in the journal, not {audit}");
            ensure!(sold + audit.withdrawn <= audit.stock + audit.added, "G1: {sold} units were sold of {audit}");
            all.push(orders);
        }
        Ok(all)
    }

    /// One hold after an opening; how many of its payments made orders.
    fn check_ticket(&mut self, index: usize, by_payment: &HashMap<u64, Vec<(usize, &SoldRecord)>>) -> Checked<usize> {
        // An extension by nothing shows a hold and changes nothing.
        let (place, token) = (self.oracle.tickets[index].place, self.oracle.tickets[index].token);
        let held = match self.extend_by(place, &token, std::time::Duration::ZERO) {
            Ok(deadline) | Err(ExtendError::Overdue { due: deadline }) => Some(deadline),
            Err(ExtendError::Ended(end)) => {
                let sold = self.oracle.tickets[index].payments.iter().any(|paid| by_payment.contains_key(paid));
                ensure!(end != Ended::Confirmed || sold, "G3: sold without an order");
                None
            }
            Err(other) => return Err(format!("G8: its token is unknown: {other}")),
        };
        let ticket = &mut self.oracle.tickets[index];
        let sold: Vec<u64> = ticket.payments.iter().copied().filter(|paid| by_payment.contains_key(paid)).collect();
        ensure!(sold.len() <= 1, "G1: sold twice, for the payments {sold:?}");
        if let Some(payment) = sold.first() {
            let mut units = PerSale::default();
            for (number, order) in &by_payment[payment] {
                ensure!(order.buyer == Buyer::from(ticket.buyer), "G3: sold to another buyer: {order:?}");
                ensure!(units[*number] == 0, "G1: two orders for payment {payment}");
                units[*number] = order.quantity;
                let single = ticket.receipt.filter(|_| place != BASKET);
                ensure!(single.is_none_or(|told| told.sequence == order.sequence), "G4: told {single:?}: {order:?}");
            }
            ensure!(units == ticket.units, "G4: {units:?} were sold of {:?}", ticket.units);
        }
        ensure!(
            ticket.receipt.is_none() || !sold.is_empty(),
            "G4: an acknowledged order is lost: {:?}",
            ticket.receipt
        );
        if !sold.is_empty() || ticket.refunded {
            ensure!(held.is_none(), "G3: decided, and held again");
            ensure!(!ticket.refunded || sold.is_empty(), "G3: refunded, and sold");
            self.pay_again(index, true)?;
            self.oracle.tickets[index].ended = true;
            return Ok(sold.len());
        }
        if let Some(deadline) = held {
            ensure!(!ticket.end_durable, "G3: a hold has come back");
            let promised = &ticket.deadlines;
            ensure!(promised.contains(&deadline), "G4: due at {deadline}, promised was {promised:?}");
            (ticket.deadlines, ticket.durable, ticket.ended) = (vec![deadline], true, false);
            // What was reported before the crash, and not answered, was never decided.
            ticket.payments.clear();
        } else {
            let free = ticket.ended || !ticket.durable || !ticket.payments.is_empty();
            ensure!(free, "G4: a durable hold is gone");
            (ticket.ended, ticket.end_durable) = (true, true);
            if !ticket.payments.is_empty() {
                self.pay_again(index, false)?;
            }
        }
        Ok(0)
    }

    /// Another report of a payment: what was `decided` stands.
    fn pay_again(&mut self, index: usize, decided: bool) -> Checked {
        self.oracle.paid += 1;
        let payment = self.oracle.paid;
        self.oracle.tickets[index].payments.push(payment);
        let (place, token) = (self.oracle.tickets[index].place, self.oracle.tickets[index].token);
        let again = self.report(place, &token, payment).and_then(Pending::wait).map_err(text)?;
        if decided || self.world.durability() == crate::Durability::Synced {
            return self.oracle.learn(index, again);
        }
        self.oracle.waiting.push((index, Answer::Told(again)));
        Ok(())
    }

    /// Which units a hold or an order has; nothing if it has ended unsold.
    fn faces(&self, index: usize) -> Option<Vec<(usize, u32)>> {
        let (place, token) = (self.oracle.tickets[index].place, self.oracle.tickets[index].token);
        if place != BASKET {
            let units = self.sale(place).units(&token).ok()?;
            return Some(units.into_iter().map(|unit| (place, unit.number)).collect());
        }
        let lines = self.world.engine.baskets(super::basket_rules()).ok()?.lines(&token).ok()?;
        let of = |line: crate::BasketLine| {
            let number = NAMES.iter().position(|name| *name == line.sale.name());
            line.units.into_iter().filter_map(move |unit| Some((number?, unit.number)))
        };
        Some(lines.into_iter().flat_map(of).collect())
    }

    /// No unit has two holds, none is exchanged, and amounts add up.
    pub(super) fn check_faces(&mut self) -> Checked {
        let mut owners = BTreeMap::new();
        for index in 0..self.oracle.tickets.len() {
            let Some(faces) = self.faces(index) else { continue };
            for face in &faces {
                let other = owners.insert(*face, index);
                ensure!(other.is_none(), "G1: unit {face:?} is ticket {index}'s, and ticket {other:?}'s");
            }
            let ticket = &mut self.oracle.tickets[index];
            let fixed = matches!(ticket.standing(), Standing::Held | Standing::Sold) && !ticket.late;
            let before = ticket.faces.replace(faces).filter(|_| fixed);
            ensure!(before.is_none() || before == ticket.faces, "G3: another unit: {before:?} became {ticket:?}");
        }
        for sale in self.world.engine.sales() {
            let value = sale.face_value();
            ensure!(value.as_ref().is_none_or(crate::FaceValue::holds), "G7: amounts don't add up: {value:?}");
        }
        Ok(())
    }

    fn check_places(&mut self) -> Checked {
        for (number, sale) in self.world.engine.sales().iter().enumerate() {
            for buyer in 0..super::BUYERS {
                let waiting = sale.waiting(buyer);
                let before = self.oracle.places.remove(&(number, buyer)).filter(|place| place.durable);
                let Waiting::Queued(crate::Place { ticket, .. }) = waiting else {
                    ensure!(before.is_none(), "G4: buyer {buyer} lost a durable place: {waiting:?}");
                    continue;
                };
                let same = before.is_none_or(|before| before.ticket == ticket);
                ensure!(same, "G12: buyer {buyer} has ticket {ticket}, and had {before:?}");
                self.oracle.places.insert((number, buyer), Place { ticket, durable: true });
            }
        }
        Ok(())
    }

    /// Who is registered, and what was shipped.
    fn check_lists(&mut self) -> Checked {
        let seats = self.sale(1);
        for buyer in &self.oracle.registered {
            match seats.enroll(*buyer) {
                Ok(Enrolled::Already) | Err(EnrollError::Later { .. } | EnrollError::Over { .. }) => {}
                other => return Err(format!("G4: buyer {buyer} isn't registered any more: {other:?}")),
            }
        }
        for buyer in std::mem::take(&mut self.oracle.perhaps_registered).into_keys() {
            match seats.enroll(buyer).map_err(text)? {
                Enrolled::Already => {
                    self.oracle.registered.insert(buyer);
                }
                Enrolled::New => {
                    self.oracle.perhaps_registered.insert(buyer, true);
                }
            }
        }
        let shipped: Vec<_> = self.oracle.shipped.iter().map(|(key, sure)| (*key, *sure)).collect();
        for ((number, sequence), sure) in shipped {
            match self.sale(number).ship(sequence) {
                Err(ShipError::ShippedBefore { .. }) => {}
                Ok(()) if !sure => {}
                other => return Err(format!("G4: order {sequence} was shipped, and now {other:?}")),
            }
            self.oracle.shipped.insert((number, sequence), true);
        }
        Ok(())
    }

    /// Messages that were read once are read again.
    fn read_messages(&mut self) -> Checked {
        let mut told = Vec::new();
        let mut outbox = self.world.engine.outbox().map_err(text)?.ok_or("no journal")?;
        outbox.read(usize::MAX - 1, &mut told).map_err(text)?;
        let before = &self.oracle.told;
        ensure!(told.starts_with(before), "G5: there were {} messages, and now others", before.len());
        self.tried.messages += (told.len() - before.len()) as u64;
        self.oracle.told = told;
        Ok(())
    }

    /// One confirmation for each order, one notice for each shipping.
    pub(super) fn check_messages(&mut self) -> Checked {
        self.read_messages()?;
        let (mut confirmed, mut shipped, mut links) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
        for message in &self.oracle.told {
            let counts = match message.kind {
                MessageKind::Confirmation { sequence, .. } => confirmed.entry((message.sale.to_string(), sequence)),
                MessageKind::ShippingNotice { sequence } => shipped.entry((message.sale.to_string(), sequence)),
                MessageKind::Reminder => continue,
                MessageKind::PurchaseLink { invitation } => {
                    let number = NAMES.iter().position(|name| **name == *message.sale).unwrap_or_default();
                    let buyer = message.buyer.to_string().parse().map_err(text)?;
                    let right = self.oracle.invitations.get(&(number, buyer));
                    let same = right.is_none_or(|right| *right == invitation.to_string());
                    ensure!(same, "G8: buyer {buyer} was sent {invitation}, not {right:?}");
                    let stranger = self.oracle.admits(number, buyer, true, Timestamp::MIN) == Some(false);
                    ensure!(!stranger, "G8: buyer {buyer} was sent a link to {}", message.sale);
                    *links.entry((number, buyer)).or_insert(0_u32) += 1;
                    continue;
                }
            };
            *counts.or_insert(0_u32) += 1;
        }
        ensure!(links.values().all(|count| *count == 1), "G5: purchase links came twice: {links:?}");
        let orders = self.orders()?;
        let named = |(number, sequence): (usize, u64)| (NAMES[number].to_owned(), sequence);
        let expected: BTreeMap<_, _> = orders
            .iter()
            .enumerate()
            .flat_map(|(number, orders)| orders.iter().map(move |order| ((number, order.sequence), 1)))
            .map(|(key, count)| (named(key), count))
            .collect();
        ensure!(confirmed == expected, "G5: {confirmed:?} confirmations for {} orders", expected.len());
        let expected: BTreeMap<_, _> = self.oracle.shipped.keys().map(|key| (named(*key), 1)).collect();
        ensure!(shipped == expected, "G5: shipping notices for {shipped:?}, shipped were {expected:?}");
        Ok(())
    }

    /// Redis has what the journal has, and nothing else.
    pub(super) fn check_redis(&self) -> Checked {
        let orders = self.orders()?;
        for (name, orders) in NAMES.iter().zip(&orders) {
            let expected: BTreeMap<String, String> =
                orders.iter().map(|order| (order.sequence.to_string(), row_text(order))).collect();
            let units: u64 = orders.iter().map(|order| u64::from(order.quantity)).sum();
            let [sales, ledger] = ["sales", "ledger"].map(|what| format!("sellout:{{{name}}}:{what}"));
            self.world.network.server(|server| {
                let fields = match server.entry(&sales) {
                    None => BTreeMap::new(),
                    Some(Entry::Hash(fields)) => fields.clone(),
                    Some(_) => return Err(format!("G5: {sales} is no hash")),
                };
                let missing = expected.keys().filter(|key| !fields.contains_key(*key)).count();
                let strange = fields.iter().filter(|(key, text)| expected.get(*key) != Some(text)).count();
                ensure!(missing + strange == 0, "G5: {name}: {missing} missing and {strange} others in redis");
                let Some(Entry::Hash(counts)) = server.entry(&ledger) else {
                    ensure!(expected.is_empty(), "G5: {ledger} is no hash");
                    return Ok(());
                };
                let count = |field: &str| counts.get(field).and_then(|text| text.parse().ok());
                let counted = (count("last"), count("units"));
                let right = (Some(orders.len() as u64), Some(units));
                ensure!(counted == right, "G5: {name}: redis counts {counted:?}, right is {right:?}");
                Ok(())
            })?;
        }
        let stream = "sellout:{messages}:stream";
        self.world.network.server(|server| {
            let entries = match server.entry(stream) {
                None => Vec::new(),
                Some(Entry::Stream { entries, .. }) => entries.clone(),
                Some(_) => return Err(format!("G5: {stream} is no stream")),
            };
            let expected: Vec<_> = self
                .oracle
                .told
                .iter()
                .map(|message| ((message.id.record, u64::from(message.id.part)), message_words(message)))
                .collect();
            ensure!(entries == expected, "G5: {} messages in redis, not {}", entries.len(), expected.len());
            Ok(())
        })
    }

    /// Whether who was refused was told the truth: `free` and `held` as they are.
    pub(super) fn check_refusal(&self, number: usize, why: &crate::Rejection, quantity: u32, buyer: u64) -> Checked {
        use crate::Rejection::{AllHeld, LimitReached, SoldOut, TooFewFree};
        let sale = self.sale(number);
        let audit: Audit = sale.audit();
        match *why {
            AllHeld { on_hold, .. } => {
                let waited_for = sale.queue_length() > 0;
                ensure!(audit.free == 0 || waited_for, "G2: told all held: {audit}");
                ensure!(on_hold == audit.held || waited_for, "G2: told {on_hold} on hold: {audit}");
            }
            SoldOut => ensure!(audit.free == 0 && audit.held == 0, "G2: told sold out: {audit}"),
            TooFewFree { free } => {
                ensure!(audit.free == free && free < u64::from(quantity), "G2: told {free} free: {audit}");
            }
            LimitReached { held, bought, limit } => {
                let has = u64::from(held) + u64::from(bought);
                let (on_hold, sold, unknown) = self.oracle.share(number, Some(buyer));
                let told = format!("buyer {buyer} was told of {held} held and {bought} bought, the limit is {limit}");
                ensure!(has + u64::from(quantity) > u64::from(limit), "G6: {told}");
                let known = on_hold + sold;
                ensure!(
                    (known..=known + unknown).contains(&has),
                    "G6: {told}, and has {known}, perhaps {unknown} more"
                );
            }
            _ => {}
        }
        Ok(())
    }

    /// Waits for all answers.
    pub(super) fn wait(&mut self) -> Checked {
        let buffered = self.world.durability() == crate::Durability::Buffered;
        for (index, waiting) in std::mem::take(&mut self.oracle.waiting) {
            let Answer::Pending(pending) = waiting else {
                self.oracle.waiting.push((index, waiting));
                continue;
            };
            match pending.wait() {
                Ok(answer @ Confirmation::AlreadyConfirmed(_)) => self.oracle.learn(index, answer)?,
                Ok(answer) if buffered => self.oracle.waiting.push((index, Answer::Told(answer))),
                Ok(answer) => {
                    self.trace.note(format_args!("paid: {answer:?}"));
                    self.oracle.learn(index, answer)?;
                }
                Err(crate::ConfirmError::OutcomeUnknown(_)) if self.world.has_failed() => {}
                Err(other) => return Err(format!("G4: no answer: {other}")),
            }
        }
        Ok(())
    }
}
