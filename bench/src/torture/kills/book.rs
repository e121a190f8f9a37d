//! The book of whoever listens: what the process that sells has promised, held against what the journal has.
//!
//! What holds: it knows only what was said and what [`JournalReader`] reads, and nothing that the engine keeps in
//! memory. Each finding is counted once.

use std::collections::{BTreeSet, HashMap, HashSet};

use sellout::{Buyer, Digest, JournalReader, SoldRecord};

use super::{
    shop::{CAPS, STOCK, place_of},
    words::{Answer, Bill, Found, Item, Order, Question, SALES, SCARCE, SEATS, Word},
};
use crate::torture::{Dice, Verdict};

/// A payment, and what was answered to it, if anything was.
#[derive(Debug)]
struct Payment {
    bill: Bill,
    answer: Option<Answer>,
}

/// What is known of a count while its last change may have been lost with the process.
#[derive(Debug, Clone, Copy, Default)]
struct Between {
    least: u64,
    most: u64,
}

impl Between {
    /// It is known now; whether it could be.
    fn settle(&mut self, known: u64) -> bool {
        let possible = (self.least..=self.most).contains(&known);
        *self = Self { least: known, most: known };
        possible
    }
}

/// What the journal has of one sale.
#[derive(Debug, Default)]
struct Shelf {
    orders: Vec<SoldRecord>,
    digest: Digest,
    units: u64,
    shares: HashMap<Buyer, u32>,
}

/// The book.
#[derive(Debug, Default)]
pub(super) struct Book {
    payments: HashMap<String, Payment>,
    /// All of them, in the order in which they were made.
    known: Vec<String>,
    /// Those that nobody has an answer to.
    open: BTreeSet<String>,
    /// Payments whose answers are to be looked up in the journal.
    unchecked: Vec<String>,
    /// Tokens whose payments are refunded for ever, and why.
    refused: HashMap<String, String>,
    /// Durable holds that nothing was done with, and until when they are in time.
    durable: HashMap<String, (Bill, u64)>,
    shelves: [Shelf; SALES.len()],
    /// The sale and the token that was paid for each order.
    sold: HashMap<(usize, String), u64>,
    ids: HashSet<String>,
    /// Who has which seat, by payment.
    seats: HashMap<u32, String>,
    added: Between,
    withdrawn: Between,
    /// Questions that this book has thought of.
    asked: u64,
    /// Payments whose orders are known to be missing.
    lost: HashSet<String>,
    /// Orders that were acknowledged, among them those in baskets and those that somebody had waited for.
    pub(super) acknowledged: u64,
    pub(super) in_baskets: u64,
    pub(super) offered: u64,
    /// Payments that came late and were taken all the same, and payments that were refunded.
    pub(super) late: u64,
    pub(super) refunded: u64,
    pub(super) verdict: Verdict,
}

impl Book {
    /// Takes down a word. True if it is the first answer to a payment.
    pub(super) fn take(&mut self, word: Word) -> bool {
        match word {
            Word::Opened(sales) => {
                for found in &sales {
                    self.compare(found);
                }
            }
            Word::Adds(units) => self.added.most += u64::from(units),
            Word::Added(units) => self.added.least += u64::from(units),
            Word::Withdraws(units) => self.withdrawn.most += u64::from(units),
            Word::Withdrawn(units) => self.withdrawn.least += u64::from(units),
            Word::Holds(bill, until) => {
                self.durable.insert(bill.token.clone(), (bill, until));
            }
            Word::Cancels(token) => {
                self.durable.remove(&token);
            }
            Word::Cancelled(token) => self.refuse(token, "it was cancelled"),
            Word::Pays(payment, bill) => {
                self.durable.remove(&bill.token);
                if !self.payments.contains_key(&payment) {
                    self.known.push(payment.clone());
                    self.open.insert(payment.clone());
                    self.payments.insert(payment, Payment { bill, answer: None });
                }
            }
            Word::Heard(payment, answer) => return self.hear(payment, answer),
            Word::Late(_) => self.late += 1,
            Word::Wrong(what) => self.verdict.wrong(|| what),
        }
        false
    }

    fn hear(&mut self, payment: String, answer: Answer) -> bool {
        let Some(known) = self.payments.get_mut(&payment) else {
            self.verdict.wrong(|| format!("an answer to the payment {payment}, which nobody has made"));
            return false;
        };
        let token = known.bill.token.clone();
        if let Some(before) = &known.answer {
            let change = || format!("payment {payment} was answered {before:?}, and now {answer:?}");
            match (before, &answer) {
                (Answer::Sold(orders), Answer::Refund(_)) if self.lost.insert(payment.clone()) => {
                    self.verdict.missing(orders.len() as u64, change);
                }
                (_, Answer::Refund(_)) => {}
                (before, now) => self.verdict.unless(before == now, change),
            }
            return false;
        }
        known.answer = Some(answer.clone());
        self.open.remove(&payment);
        match answer {
            Answer::Refund(why) => {
                self.refunded += 1;
                let sold = (0..SALES.len()).any(|sale| self.sold.contains_key(&(sale, token.clone())));
                self.verdict.unless(!sold, || format!("payment {payment} is refunded ({why}), and {token} is sold"));
                self.refuse(token, &why);
            }
            Answer::Sold(orders) => {
                self.acknowledged += orders.len() as u64;
                self.in_baskets += if known.bill.basket { orders.len() as u64 } else { 0 };
                self.offered += u64::from(known.bill.offered);
                for order in &orders {
                    self.seat(&payment, order);
                }
                self.unchecked.push(payment);
            }
        }
        true
    }

    /// Payments of this token are refunded from now on.
    fn refuse(&mut self, token: String, why: &str) {
        self.refused.entry(token).or_insert_with(|| why.to_owned());
    }

    /// Nobody else has the seats of this order.
    fn seat(&mut self, payment: &str, order: &Order) {
        if order.item.sale != SEATS {
            return;
        }
        let right = order.units.len() == order.item.quantity as usize;
        self.verdict.unless(right, || format!("payment {payment} has {} seats: {order:?}", order.units.len()));
        for unit in &order.units {
            if let Some(other) = self.seats.insert(*unit, payment.to_owned()) {
                let other_hold = !self.same_hold(&other, payment);
                if other_hold {
                    self.verdict.twice(|| format!("seat {unit} is sold by payment {other} and by {payment}"));
                }
            }
        }
    }

    /// Whether two payments pay the same hold: then one of them is to be refunded.
    fn same_hold(&self, one: &str, other: &str) -> bool {
        let token = |payment| self.payments.get(payment).map(|payment| &payment.bill.token);
        token(one).is_some() && token(one) == token(other)
    }

    /// What recovery found in a sale must be what the journal has.
    fn compare(&mut self, found: &Found) {
        let (sale, shelf, verdict) = (SALES[found.sale], &self.shelves[found.sale], &mut self.verdict);
        let orders = shelf.orders.len() as u64;
        verdict.missing(orders.saturating_sub(found.orders), || {
            format!("{sale}: {} orders were recovered, {orders} were in the journal", found.orders)
        });
        verdict.unless(found.orders <= orders, || {
            format!("{sale}: {} orders were recovered, {orders} were in the journal", found.orders)
        });
        let same = (found.digest.as_str(), found.sold) == (shelf.digest.to_string().as_str(), shelf.units);
        verdict.unless(same || found.orders != orders, || {
            format!(
                "{sale}: {} units in other orders were recovered, not the {} of the journal",
                found.sold, shelf.units
            )
        });
        verdict.unless(found.holds && found.stock == u64::from(STOCK[found.sale]), || {
            format!("{sale}: the audit does not hold: {found:?}")
        });
        let mut counts = [(self.added, found.added), (self.withdrawn, found.withdrawn)];
        if found.sale != SCARCE {
            counts = [(Between::default(), found.added), (Between::default(), found.withdrawn)];
        }
        for (between, known) in &mut counts {
            let was = *between;
            verdict.unless(between.settle(*known), || {
                format!("{sale}: {known} units were added or withdrawn, not {} to {}", was.least, was.most)
            });
        }
        if found.sale == SCARCE {
            [self.added, self.withdrawn] = counts.map(|(between, _)| between);
        }
    }

    /// Reads what the journal has more than before, and looks up there what was promised meanwhile.
    pub(super) fn read(&mut self, journal: &mut JournalReader) {
        for sold in journal {
            match sold {
                Ok((name, record)) => match place_of(&name) {
                    Ok(sale) => self.file(sale, record),
                    Err(why) => self.verdict.wrong(|| why),
                },
                Err(error) => {
                    self.verdict.wrong(|| format!("the journal can't be read: {error}"));
                    break;
                }
            }
        }
        for payment in std::mem::take(&mut self.unchecked) {
            self.check(&payment);
        }
        self.check_stock();
    }

    /// Files an order of the journal.
    fn file(&mut self, sale: usize, record: SoldRecord) {
        let (name, shelf, verdict) = (SALES[sale], &mut self.shelves[sale], &mut self.verdict);
        let SoldRecord { sequence, buyer, quantity, .. } = record;
        let expected = shelf.orders.len() as u64 + 1;
        verdict.unless(sequence == expected, || format!("{name}: order {sequence} stands where {expected} belongs"));
        if !self.ids.insert(record.order.clone()) {
            verdict.twice(|| format!("{name}: the order id {} has come before: {record:?}", record.order));
        }
        shelf.digest.add(sequence, buyer, quantity);
        shelf.units += u64::from(quantity);
        let share = shelf.shares.entry(buyer).or_default();
        *share += quantity;
        verdict.unless(*share <= CAPS[sale], || format!("{name}: buyer {buyer} has {share} units, beyond the cap"));
        match self.payments.get(record.payment.as_str()) {
            None => verdict.wrong(|| format!("{name}: nobody has paid for this order: {record:?}")),
            Some(Payment { bill, .. }) => {
                let item = Item { sale, quantity };
                verdict.unless(bill.items.contains(&item) && Buyer::from(bill.buyer) == buyer, || {
                    format!("{name}: another order than was paid: {record:?} for {bill:?}")
                });
                if let Some(before) = self.sold.insert((sale, bill.token.clone()), sequence) {
                    verdict.twice(|| format!("{name}: orders {before} and {sequence} are of one hold: {record:?}"));
                }
                if let Some(why) = self.refused.get(&bill.token) {
                    verdict.wrong(|| format!("{name}: sold although refunded ({why}): {record:?}"));
                }
            }
        }
        shelf.orders.push(record);
    }

    /// Looks up in the journal what was answered to a payment.
    fn check(&mut self, payment: &str) {
        let Some(Payment { bill, answer: Some(Answer::Sold(orders)) }) = self.payments.get(payment) else { return };
        let mut items: Vec<Item> = orders.iter().map(|order| order.item).collect();
        items.sort_unstable_by_key(|item| item.sale);
        self.verdict.unless(items == bill.items, || format!("payment {payment} of {bill:?} was answered {orders:?}"));
        let mut missing = Vec::new();
        for Order { item, sequence, id, .. } in orders {
            let place = usize::try_from(*sequence).ok().and_then(|sequence| sequence.checked_sub(1));
            let record = place.and_then(|place| self.shelves[item.sale].orders.get(place));
            let is_it = |record: &&SoldRecord| {
                let who = (record.buyer, record.quantity) == (Buyer::from(bill.buyer), item.quantity);
                let same = record.payment.as_str() == payment || self.same_hold(record.payment.as_str(), payment);
                who && same && record.order == *id
            };
            if !record.as_ref().is_some_and(is_it) {
                missing.push(format!("{} {sequence} ({id}), where {record:?} stands", SALES[item.sale]));
            }
        }
        if !missing.is_empty() && self.lost.insert(payment.to_owned()) {
            self.verdict.missing(missing.len() as u64, || format!("payment {payment}: {}", missing.join(", ")));
        }
    }

    fn check_stock(&mut self) {
        for (sale, shelf) in self.shelves.iter().enumerate() {
            let added = if sale == SCARCE { self.added.most } else { 0 };
            let most = u64::from(STOCK[sale]) + added;
            self.verdict.unless(shelf.units <= most, || {
                format!("{}: {} units sold of at most {most}", SALES[sale], shelf.units)
            });
        }
    }

    /// Reads a journal from its beginning: it must have what was read piece by piece, and all that was promised.
    pub(super) fn read_again(&mut self, journal: JournalReader) {
        let mut again: [Vec<SoldRecord>; SALES.len()] = Default::default();
        for sold in journal {
            match sold.map(|(name, record)| (place_of(&name), record)) {
                Ok((Ok(sale), record)) => again[sale].push(record),
                Ok((Err(why), _)) => self.verdict.wrong(|| why),
                Err(error) => {
                    self.verdict.wrong(|| format!("the journal can't be read: {error}"));
                    break;
                }
            }
        }
        for (sale, (shelf, again)) in self.shelves.iter().zip(&again).enumerate() {
            let (before, now) = (shelf.orders.len(), again.len());
            self.verdict.missing(before.saturating_sub(now) as u64, || {
                format!("{}: {now} orders, {before} were read piece by piece", SALES[sale])
            });
            self.verdict.unless(now <= before && shelf.orders.starts_with(again), || {
                format!("{}: the journal's orders are not those that it had", SALES[sale])
            });
        }
        let payments: Vec<String> = self.payments.keys().cloned().collect();
        for payment in &payments {
            self.check(payment);
        }
    }

    /// Some of the payments and holds that are known, for the next life to report: first those of which nobody knows
    /// how they ended.
    pub(super) fn questions(&mut self, dice: &mut Dice, most: usize, life: u64) -> Vec<Question> {
        let mut questions: Vec<Question> =
            self.open.iter().take(most).map(|payment| self.question(payment.clone())).collect();
        for (bill, until) in self.durable.values().take(most) {
            self.asked += 1;
            let payment = format!("{life}-again-{}", self.asked);
            questions.push(Question { payment, bill: bill.clone(), in_time_until: Some(*until) });
        }
        let again = (0..most).filter_map(|_| dice.pick(&self.known));
        questions.extend(again.map(|payment| self.question(payment.clone())));
        questions
    }

    /// Every payment that was ever reported.
    pub(super) fn all_questions(&self) -> Vec<Question> {
        let mut all: Vec<Question> = self.payments.keys().map(|payment| self.question(payment.clone())).collect();
        all.sort_unstable_by(|one, other| one.payment.cmp(&other.payment));
        all
    }

    fn question(&self, payment: String) -> Question {
        let bill = self.payments[&payment].bill.clone();
        Question { payment, bill, in_time_until: None }
    }
}

#[cfg(test)]
mod tests {
    use sellout::{PaymentId, Timestamp};

    use super::*;
    use crate::torture::kills::words::PLENTY;

    const ORDER: u64 = 1;

    fn bill(sale: usize, buyer: u64, quantity: u32) -> Bill {
        let items = vec![Item { sale, quantity }];
        Bill { token: format!("token-{buyer}"), buyer, items, basket: false, offered: false }
    }

    fn order(sale: usize, sequence: u64, buyer: u64, quantity: u32) -> Order {
        Order { item: Item { sale, quantity }, sequence, id: format!("order-{buyer}"), units: Vec::new() }
    }

    /// What the journal has of the payment `paid-{buyer}`.
    fn record(sequence: u64, buyer: u64, quantity: u32) -> SoldRecord {
        let payment = PaymentId::new(&format!("paid-{buyer}")).expect("short");
        let at = Timestamp::from_millis(1);
        SoldRecord::new(sequence, Buyer::from(buyer), quantity, payment, at, format!("order-{buyer}"))
    }

    fn pays(book: &mut Book, sale: usize, buyer: u64, quantity: u32) {
        book.take(Word::Pays(format!("paid-{buyer}"), bill(sale, buyer, quantity)));
    }

    fn hears(book: &mut Book, answer: Answer, buyer: u64) -> bool {
        book.take(Word::Heard(format!("paid-{buyer}"), answer))
    }

    /// One order that was paid, acknowledged and written.
    fn sold() -> Book {
        let mut book = Book::default();
        pays(&mut book, PLENTY, 7, 2);
        assert!(hears(&mut book, Answer::Sold(vec![order(PLENTY, ORDER, 7, 2)]), 7));
        book.file(PLENTY, record(ORDER, 7, 2));
        book.check("paid-7");
        book.check_stock();
        assert_eq!(book.verdict, Verdict::default());
        book
    }

    fn found(sale: usize, orders: u64, sold: u64, digest: Digest) -> Found {
        let (stock, digest) = (u64::from(STOCK[sale]), digest.to_string());
        Found { sale, holds: true, stock, added: 0, withdrawn: 0, sold, orders, digest }
    }

    fn counts(book: &Book) -> [u64; 3] {
        [book.verdict.missing, book.verdict.twice, book.verdict.wrong]
    }

    #[test]
    fn what_was_promised_and_is_there_is_no_finding() {
        let mut book = sold();
        book.compare(&found(PLENTY, 1, 2, book.shelves[PLENTY].digest));
        assert!(!hears(&mut book, Answer::Sold(vec![order(PLENTY, ORDER, 7, 2)]), 7), "the same answer once more");
        assert_eq!(counts(&book), [0, 0, 0], "{:?}", book.verdict);
        // What was asked and not answered may be there or not.
        pays(&mut book, PLENTY, 8, 1);
        book.check("paid-8");
        pays(&mut book, PLENTY, 9, 1);
        book.file(PLENTY, record(ORDER + 1, 9, 1));
        assert_eq!(counts(&book), [0, 0, 0], "{:?}", book.verdict);
    }

    #[test]
    fn control_an_order_that_is_not_there_is_missing_once() {
        let mut book = sold();
        pays(&mut book, PLENTY, 8, 1);
        hears(&mut book, Answer::Sold(vec![order(PLENTY, ORDER + 1, 8, 1)]), 8);
        book.check("paid-8");
        book.check("paid-8");
        hears(&mut book, Answer::Refund("forgotten".to_owned()), 8);
        assert_eq!(counts(&book), [1, 0, 0], "{:?}", book.verdict);
    }

    #[test]
    fn control_an_order_of_another_buyer_stands_in_for_nobody() {
        let mut book = sold();
        pays(&mut book, PLENTY, 8, 1);
        hears(&mut book, Answer::Sold(vec![order(PLENTY, ORDER, 8, 1)]), 8);
        book.check("paid-8");
        assert_eq!(counts(&book), [1, 0, 0], "{:?}", book.verdict);
    }

    #[test]
    fn control_a_recovery_that_knows_less_or_something_else_is_noticed() {
        let mut book = sold();
        book.compare(&found(PLENTY, 0, 0, Digest::default()));
        assert_eq!(counts(&book), [1, 0, 0], "{:?}", book.verdict);
        let mut book = sold();
        book.compare(&found(PLENTY, 1, 2, Digest::default()));
        assert_eq!(counts(&book), [0, 0, 1], "{:?}", book.verdict);
        let mut book = sold();
        let digest = book.shelves[PLENTY].digest;
        book.compare(&Found { holds: false, ..found(PLENTY, 1, 2, digest) });
        book.compare(&Found { added: 1, ..found(PLENTY, 1, 2, digest) });
        assert_eq!(counts(&book), [0, 0, 2], "{:?}", book.verdict);
    }

    #[test]
    fn control_one_hold_in_two_orders_is_there_twice() {
        let mut book = sold();
        let mut again = record(ORDER + 1, 7, 2);
        "another".clone_into(&mut again.order);
        book.file(PLENTY, again);
        assert_eq!(counts(&book), [0, 1, 0], "{:?}", book.verdict);
        book.file(PLENTY, record(ORDER + 2, 7, 2));
        assert_eq!(counts(&book), [0, 3, 1], "the id is there twice, too, and the cap is passed: {:?}", book.verdict);
    }

    #[test]
    fn control_a_seat_that_two_have_is_there_twice() {
        let mut book = Book::default();
        for buyer in [7, 8] {
            pays(&mut book, SEATS, buyer, 1);
            let order = Order { units: vec![42], ..order(SEATS, buyer - 6, buyer, 1) };
            hears(&mut book, Answer::Sold(vec![order]), buyer);
        }
        assert_eq!(counts(&book), [0, 1, 0], "{:?}", book.verdict);
    }

    #[test]
    fn control_a_refund_that_is_sold_is_noticed_whichever_comes_first() {
        let mut book = Book::default();
        pays(&mut book, PLENTY, 7, 1);
        hears(&mut book, Answer::Refund("sold out".to_owned()), 7);
        book.file(PLENTY, record(ORDER, 7, 1));
        assert_eq!(counts(&book), [0, 0, 1], "{:?}", book.verdict);
        let mut book = Book::default();
        pays(&mut book, PLENTY, 7, 1);
        book.file(PLENTY, record(ORDER, 7, 1));
        hears(&mut book, Answer::Refund("sold out".to_owned()), 7);
        assert_eq!(counts(&book), [0, 0, 1], "{:?}", book.verdict);
    }

    #[test]
    fn control_a_hold_that_was_cancelled_for_good_is_not_sold() {
        let mut book = Book::default();
        book.take(Word::Holds(bill(PLENTY, 7, 1), 99));
        book.take(Word::Cancels("token-7".to_owned()));
        book.take(Word::Cancelled("token-7".to_owned()));
        assert!(book.questions(&mut Dice::of(1, &[]), 5, 2).is_empty(), "nobody is asked for what was cancelled");
        pays(&mut book, PLENTY, 7, 1);
        book.file(PLENTY, record(ORDER, 7, 1));
        assert_eq!(counts(&book), [0, 0, 1], "{:?}", book.verdict);
    }

    #[test]
    fn control_an_order_that_nobody_paid_or_otherwise_is_noticed() {
        let mut book = Book::default();
        book.file(PLENTY, record(ORDER, 7, 1));
        pays(&mut book, PLENTY, 8, 1);
        book.file(PLENTY, record(ORDER + 1, 8, 2));
        assert_eq!(counts(&book), [0, 0, 2], "{:?}", book.verdict);
    }

    #[test]
    fn control_more_than_the_cap_and_more_than_the_stock_are_noticed() {
        let mut book = Book::default();
        for (sequence, buyer) in (1..).zip(0..=u64::from(STOCK[SCARCE])) {
            pays(&mut book, SCARCE, buyer, 1);
            book.file(SCARCE, record(sequence, buyer, 1));
        }
        book.check_stock();
        assert_eq!(counts(&book), [0, 0, 1], "{:?}", book.verdict);
        // A unit that was about to be added may be there.
        book.take(Word::Adds(1));
        book.check_stock();
        assert_eq!(counts(&book), [0, 0, 1], "{:?}", book.verdict);
        let mut book = Book::default();
        pays(&mut book, PLENTY, 7, 5);
        book.file(PLENTY, record(ORDER, 7, 5));
        assert_eq!(counts(&book), [0, 0, 1], "{:?}", book.verdict);
    }

    #[test]
    fn what_nobody_has_an_answer_to_is_asked_first_and_durable_holds_by_a_new_payment() {
        let mut book = sold();
        pays(&mut book, PLENTY, 8, 1);
        book.take(Word::Holds(bill(PLENTY, 9, 1), 99));
        let questions = book.questions(&mut Dice::of(1, &[]), 2, 3);
        assert_eq!(questions[0].payment, "paid-8");
        assert_eq!((questions[1].payment.as_str(), questions[1].in_time_until), ("3-again-1", Some(99)));
        assert_eq!(questions.len(), 4);
    }
}
