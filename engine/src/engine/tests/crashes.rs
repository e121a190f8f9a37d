//! The whole engine against an oracle, through crashes: seeded sequences of everything that users, operators and time
//! do, on a disk in memory that loses or tears what was not synced, or fails.
//!
//! Properties, after every crash:
//! - Every acknowledged order is there, with the same receipt; a payment that was refunded stays refunded.
//! - Nothing is sold that nobody paid; an order that was not waited for is there whole, or not at all.
//! - A hold that was durable is there with its deadline, one that was durably ended is not; a lost hold's token is
//!   known and touches nothing.
//! - The units add up, no buyer is above the cap, sequences have no gap, journal and memory tell the same digest.
//!
//! And always: nobody is refused for want of stock while a unit is free, and once every hold has expired all that is
//! left can be sold.

use std::collections::{BTreeMap, HashMap};

use super::*;
use crate::{
    CancelError, ConfirmError, Durability, Ended, ExtendError, JournalReader, Receipt,
    journal::{Fault, Flaw, SimDisk},
};

type Checked<T = ()> = Result<T, String>;

macro_rules! ensure {
    ($holds:expr, $($why:tt)+) => {
        if !$holds {
            return Err(format!($($why)+));
        }
    };
}

/// Seeded choices: splitmix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn one_in(&mut self, count: u64) -> bool {
        self.below(count) == 0
    }

    fn pick(&mut self, count: usize) -> Option<usize> {
        let index = self.below((count as u64).max(1));
        usize::try_from(index).ok().filter(|_| count > 0)
    }
}

/// One hold, as its buyer knows it.
#[expect(clippy::struct_excessive_bools, reason = "what is known of a hold, each for itself")]
struct Ticket {
    sale: usize,
    token: Token,
    buyer: u64,
    quantity: u32,
    /// Deadlines that it may have after a crash; the last one is the present one.
    deadlines: Vec<Timestamp>,
    durable: bool,
    ended: bool,
    end_durable: bool,
    /// Payments that were reported for it.
    payments: Vec<u64>,
    receipt: Option<Receipt>,
    refunded: bool,
}

/// An answer that isn't durable yet.
enum Waiting {
    Pending(Pending),
    Told(Confirmation),
}

struct Run {
    dice: Dice,
    disk: SimDisk,
    clock: Arc<ManualClock>,
    durability: Durability,
    engine: Engine,
    tickets: Vec<Ticket>,
    waiting: Vec<(usize, Waiting)>,
    paid: u64,
    crashes: u64,
}

const NAMES: [&str; 2] = ["ones", "many"];
const CAPS: [u32; 2] = [1, 4];

fn is_refund(answer: &Confirmation) -> bool {
    use Confirmation::{CancelledBefore, HoldForgotten, PaidLateOverCap, PaidLateSoldOut};
    matches!(answer, CancelledBefore | HoldForgotten | PaidLateSoldOut | PaidLateOverCap)
}

fn open(disk: &SimDisk, clock: &Arc<ManualClock>, durability: Durability) -> Result<Engine, OpenError> {
    let sizes = JournalOptions { segment_bytes: 24 << 10, fill_bytes: 4 << 10, ..JournalOptions::at(clock.now()) };
    let options = Engine::options().clock(clock.clone()).stripes(4).durability(durability);
    options.open_on(Arc::new(disk.clone()), sizes)
}

impl Run {
    fn new(seed: u64, disk: SimDisk) -> Self {
        let mut dice = Dice(seed);
        let clock = Arc::new(ManualClock::starting_at(START));
        let durability = if dice.one_in(4) { Durability::Buffered } else { Durability::Synced };
        let engine = open(&disk, &clock, durability).unwrap();
        let [ones, many] = [dice.below(12) + 1, dice.below(40) + 5].map(|stock| u32::try_from(stock).unwrap());
        let spec = |name, stock| SaleSpec::new(name, stock).hold_for(seconds(60)).grace(seconds(2));
        engine.create(spec(NAMES[0], ones)).unwrap();
        let units = match seed % 4 {
            0 => crate::Units::Numbered { first: 1 },
            _ => crate::Units::Alike,
        };
        let many = spec(NAMES[1], many).cap(CAPS[1]).largest(3).audience(crate::Audience::Registered).units(units);
        engine.create(many).unwrap().register(&(0..20).map(Buyer::from).collect::<Vec<_>>()).unwrap();
        let (tickets, waiting) = (Vec::new(), Vec::new());
        Self { dice, disk, clock, durability, engine, tickets, waiting, paid: 0, crashes: 0 }
    }

    fn sale(&self, number: usize) -> Sale {
        self.engine.sale(NAMES[number]).unwrap()
    }

    fn failed(&self) -> bool {
        self.engine.inner.journal.as_ref().unwrap().failure().is_some()
    }

    fn step(&mut self) -> Checked {
        let sale = usize::from(self.dice.one_in(2));
        match self.dice.below(32) {
            0..9 => self.reserve(sale)?,
            9 => self.reserve_many(sale),
            10..17 => self.pay()?,
            17..20 => self.cancel()?,
            20 => self.extend()?,
            21..24 => self.tick()?,
            24 => self.clock.advance(millis(self.dice.below(70_000))),
            25 => self.sync()?,
            26 => {
                // What may fail here is the disk; then nothing is promised.
                let _unknown = self.sale(sale).add_stock(u32::try_from(self.dice.below(30)).unwrap() + 1);
            }
            27 => {
                let _unknown = self.sale(sale).withdraw(u32::try_from(self.dice.below(4)).unwrap());
            }
            28 => {
                let sale = self.sale(sale);
                let _unknown = if self.dice.one_in(4) { sale.pause() } else { sale.resume() };
            }
            29 => self.wait()?,
            30 => {
                let fault =
                    if self.dice.one_in(2) { Fault::Crash } else { Fault::Error(std::io::ErrorKind::StorageFull) };
                if self.dice.one_in(4) {
                    self.disk.fault_at(self.disk.calls() + 1 + self.dice.below(12), fault);
                }
            }
            _ => self.crash()?,
        }
        Ok(())
    }

    fn made(&mut self, sale: usize, buyer: u64, hold: (Token, u32, Timestamp)) {
        let (token, quantity, deadline) = hold;
        self.tickets.push(Ticket {
            sale,
            token,
            buyer,
            quantity,
            deadlines: vec![deadline],
            durable: false,
            ended: false,
            end_durable: false,
            payments: Vec::new(),
            receipt: None,
            refunded: false,
        });
    }

    fn reserve(&mut self, number: usize) -> Checked {
        let sale = self.sale(number);
        let (buyer, quantity) = (self.dice.below(20), 1 + self.dice.below([1, 3][number]));
        let quantity = u32::try_from(quantity).unwrap();
        match sale.reserve(buyer, quantity) {
            Ok(hold) => {
                let hold = (hold.token(), quantity, hold.deadline());
                self.made(number, buyer, hold);
            }
            Err(Rejection::AllHeld { on_hold, .. }) => {
                let audit = sale.audit();
                ensure!(audit.free == 0 && audit.held == on_hold && on_hold > 0, "all held, says who saw {audit}");
            }
            Err(Rejection::SoldOut) => {
                let audit = sale.audit();
                ensure!(audit.free == 0 && audit.held == 0, "sold out, says who saw {audit}");
            }
            Err(Rejection::TooFewFree { free }) => {
                let audit = sale.audit();
                ensure!(audit.free == free && free < u64::from(quantity), "too few, says who saw {audit}");
            }
            Err(Rejection::LimitReached { held, bought, limit }) => {
                ensure!(limit == CAPS[number] && held + bought + quantity > limit, "{held} and {bought} of {limit}");
            }
            Err(Rejection::Paused) => {}
            Err(other) => return Err(format!("{other:?}")),
        }
        Ok(())
    }

    fn reserve_many(&mut self, number: usize) {
        let sale = self.sale(number);
        let buyers: Vec<u64> = (0..self.dice.below(6)).map(|_| self.dice.below(20)).collect();
        let mut answers = Vec::new();
        sale.reserve_many(&buyers.iter().copied().map(Buyer::from).collect::<Vec<_>>(), &mut answers);
        for (buyer, answer) in buyers.into_iter().zip(answers) {
            if let Ok(hold) = answer {
                self.made(number, buyer, (hold.token(), 1, hold.deadline()));
            }
        }
    }

    fn pay(&mut self) -> Checked {
        // Mostly for a recent hold: otherwise nearly all are over.
        let Some(back) = self.dice.pick(self.tickets.len()) else { return Ok(()) };
        let index = self.tickets.len() - 1 - if self.dice.one_in(3) { back } else { back % 6 };
        self.paid += 1;
        let ticket = &mut self.tickets[index];
        ticket.payments.push(self.paid);
        let sale = self.engine.sale(NAMES[ticket.sale]).unwrap();
        match sale.confirm(&ticket.token, self.paid) {
            Ok(pending) => self.waiting.push((index, Waiting::Pending(pending))),
            Err(ConfirmError::Stopped(_) | ConfirmError::OutcomeUnknown(_)) if self.failed() => {}
            Err(other) => return Err(format!("{other:?}")),
        }
        if self.dice.one_in(2) { self.wait() } else { Ok(()) }
    }

    /// Waits for all answers.
    fn wait(&mut self) -> Checked {
        let mut still = Vec::new();
        for (index, waiting) in std::mem::take(&mut self.waiting) {
            match waiting {
                Waiting::Told(answer) => still.push((index, Waiting::Told(answer))),
                Waiting::Pending(pending) => match pending.wait() {
                    Ok(Confirmation::AlreadyConfirmed(receipt)) => {
                        self.learn(index, Confirmation::AlreadyConfirmed(receipt))?;
                    }
                    Ok(answer) if self.durability == Durability::Buffered => {
                        still.push((index, Waiting::Told(answer)));
                    }
                    Ok(answer) => self.learn(index, answer)?,
                    Err(ConfirmError::OutcomeUnknown(_)) if self.failed() => {}
                    Err(other) => return Err(format!("{other:?}")),
                },
            }
        }
        self.waiting = still;
        Ok(())
    }

    /// A durable answer.
    fn learn(&mut self, index: usize, answer: Confirmation) -> Checked {
        let ticket = &mut self.tickets[index];
        match answer {
            Confirmation::Confirmed(receipt)
            | Confirmation::PaidLate(receipt)
            | Confirmation::AlreadyConfirmed(receipt) => {
                ensure!(!ticket.refunded, "refunded, then sold: {receipt:?}");
                ensure!(ticket.receipt.is_none_or(|before| before == receipt), "another receipt: {receipt:?}");
                let who = (Buyer::from(ticket.buyer), ticket.quantity);
                ensure!((receipt.buyer, receipt.quantity) == who, "sold to another: {receipt:?}");
                ticket.receipt = Some(receipt);
            }
            refund if is_refund(&refund) => {
                ensure!(ticket.receipt.is_none(), "sold, then refunded: {refund:?}");
                ensure!(ticket.ended, "refunded while it is held: {refund:?}");
                ticket.refunded = true;
            }
            other => return Err(format!("{other:?}")),
        }
        Ok(())
    }

    fn cancel(&mut self) -> Checked {
        let Some(index) = self.dice.pick(self.tickets.len()) else { return Ok(()) };
        let sale = self.sale(self.tickets[index].sale);
        let ticket = &mut self.tickets[index];
        match sale.cancel(&ticket.token) {
            Ok(cancelled) => {
                ensure!(!ticket.ended && cancelled.quantity == ticket.quantity, "cancelled twice: {cancelled:?}");
                ensure!(ticket.receipt.is_none() && !ticket.refunded, "cancelled after its payment");
                ticket.ended = true;
            }
            Err(CancelError::Ended(Ended::Confirmed | Ended::BeingConfirmed)) => {
                ensure!(!ticket.payments.is_empty(), "sold, and nobody paid");
            }
            Err(CancelError::Ended(_)) => ensure!(ticket.ended, "a hold is gone"),
            Err(other) => return Err(format!("{other:?}")),
        }
        Ok(())
    }

    fn extend(&mut self) -> Checked {
        let Some(index) = self.dice.pick(self.tickets.len()) else { return Ok(()) };
        let sale = self.sale(self.tickets[index].sale);
        let by = seconds(self.dice.below(100));
        let ticket = &mut self.tickets[index];
        match sale.extend(&ticket.token, by) {
            Ok(deadline) => {
                ensure!(!ticket.ended, "an ended hold was extended");
                ticket.deadlines.push(deadline);
            }
            Err(ExtendError::Ended(_) | ExtendError::Overdue { .. }) => {}
            Err(other) => return Err(format!("{other:?}")),
        }
        Ok(())
    }

    fn tick(&mut self) -> Checked {
        let now = self.engine.now();
        self.engine.tick(now);
        for ticket in &mut self.tickets {
            let over = ticket.deadlines.last().is_some_and(|deadline| now >= deadline.plus(seconds(2)));
            // A hold that was paid may be an order: then it is not over.
            if over && ticket.payments.is_empty() {
                ticket.ended = true;
            } else if over && !ticket.ended {
                let sale = self.engine.sale(NAMES[ticket.sale]).unwrap();
                let gone = Err(CancelError::Ended(Ended::Expired));
                ticket.ended = sale.cancel_hold(sale.open_token(&ticket.token).unwrap()) == gone;
            }
        }
        if self.failed() { Ok(()) } else { self.all_durable() }
    }

    fn sync(&mut self) -> Checked {
        let synced = self.engine.sync();
        ensure!(synced.is_ok() || self.failed(), "{synced:?}");
        if synced.is_ok() { self.all_durable() } else { Ok(()) }
    }

    fn all_durable(&mut self) -> Checked {
        for ticket in &mut self.tickets {
            ticket.durable = true;
            ticket.end_durable = ticket.ended;
            ticket.deadlines.drain(..ticket.deadlines.len() - 1);
        }
        self.wait()?;
        for (index, told) in std::mem::take(&mut self.waiting) {
            if let Waiting::Told(answer) = told {
                self.learn(index, answer)?;
            }
        }
        Ok(())
    }

    /// The process is killed, or the power goes; then the engine is opened on what is left.
    fn crash(&mut self) -> Checked {
        self.crashes += 1;
        self.waiting.clear();
        let seed = self.dice.below(u64::MAX);
        self.disk = if self.dice.one_in(2) { self.disk.copy() } else { self.disk.after_crash(seed) };
        if self.disk.calls() > 0 && self.failed() {
            self.disk = self.disk.after_crash(seed);
        }
        self.clock.advance(seconds(self.dice.below(40)));
        self.engine = loop {
            match open(&self.disk, &self.clock, self.durability) {
                Ok(engine) => break engine,
                Err(OpenError::Io { .. } | OpenError::Full { .. }) => self.disk = self.disk.after_crash(seed),
                Err(other) => return Err(other.to_string()),
            }
        };
        self.check()
    }

    /// The oracle's look at an engine that was just opened.
    fn check(&mut self) -> Checked {
        ensure!(self.engine.sales().len() == NAMES.len(), "a sale is lost, and every acknowledged order is lost");
        let sold = self.orders()?;
        for index in 0..self.tickets.len() {
            self.check_ticket(index, &sold).map_err(|why| format!("ticket {index}: {why}"))?;
        }
        let audits = self.engine.audit();
        ensure!(audits.iter().all(Audit::holds), "{audits:?}");
        self.engine.sales().iter().for_each(check_places);
        for (number, audit) in audits.iter().enumerate() {
            let held: u32 = self
                .tickets
                .iter()
                .filter(|ticket| ticket.sale == number && !ticket.ended)
                .map(|ticket| if ticket.receipt.is_some() { 0 } else { ticket.quantity })
                .sum();
            ensure!(u64::from(held) == audit.held, "{held} units on hold, and not {audit}");
        }
        Ok(())
    }

    /// The journal's orders by payment, after a look at each.
    fn orders(&self) -> Checked<HashMap<u64, u64>> {
        let journal = self.engine.inner.journal.as_ref().unwrap();
        let reader = JournalReader::of(journal.tail().map_err(|why| why.to_string())?, *journal.secret());
        let mut sold = HashMap::new();
        let mut bought: BTreeMap<(String, Buyer), u32> = BTreeMap::new();
        let mut digests = [(0, Digest::default()); 2];
        for order in reader {
            let (name, order) = order.map_err(|why| why.to_string())?;
            let number = usize::from(name == NAMES[1]);
            let payment: u64 = order.payment.as_str().parse().unwrap();
            let ticket = self.tickets.iter().find(|ticket| ticket.payments.contains(&payment));
            let who = ticket.map(|ticket| (ticket.sale, Buyer::from(ticket.buyer), ticket.quantity));
            ensure!(who == Some((number, order.buyer, order.quantity)), "nobody paid for {order:?}");
            let (last, digest) = &mut digests[number];
            ensure!(order.sequence == *last + 1, "order {} follows {last}", order.sequence);
            *last += 1;
            digest.add(order.sequence, order.buyer, order.quantity);
            let units = bought.entry((name, order.buyer)).or_default();
            *units += order.quantity;
            ensure!(*units <= CAPS[number], "{units} units for buyer {}", order.buyer);
            ensure!(sold.insert(payment, order.sequence).is_none(), "payment {payment} has two orders");
        }
        for (audit, (last, digest)) in self.engine.audit().iter().zip(digests) {
            ensure!((audit.orders, audit.digest) == (last, digest), "{audit}, but the journal has {last}: {digest}");
        }
        Ok(sold)
    }

    fn check_ticket(&mut self, index: usize, sold: &HashMap<u64, u64>) -> Checked {
        let sale = self.sale(self.tickets[index].sale);
        let ticket = &mut self.tickets[index];
        let order = ticket.payments.iter().find_map(|payment| sold.get(payment));
        let orders = ticket.payments.iter().filter(|payment| sold.contains_key(payment)).count();
        ensure!(orders <= 1, "sold twice");
        let lost = ticket.receipt.filter(|receipt| order != Some(&receipt.sequence));
        ensure!(lost.is_none(), "an acknowledged order is lost: {lost:?}");
        // An extension by nothing shows a hold and changes nothing.
        let held = match sale.extend(&ticket.token, seconds(0)) {
            Ok(deadline) | Err(ExtendError::Overdue { due: deadline }) => Some(deadline),
            Err(ExtendError::Ended(end)) => {
                ensure!(end != Ended::Confirmed || order.is_some(), "sold without an order");
                None
            }
            Err(other) => return Err(format!("{other:?}")),
        };
        if order.is_some() || ticket.refunded {
            ensure!(held.is_none(), "paid, and held again");
            self.paid += 1;
            let payment = self.paid;
            ticket.payments.push(payment);
            ticket.ended = true;
            let again = sale.confirm(&ticket.token, payment).and_then(Pending::wait);
            return self.learn(index, again.map_err(|why| why.to_string())?);
        }
        if let Some(deadline) = held {
            ensure!(!ticket.end_durable, "a hold has come back");
            ensure!(ticket.deadlines.contains(&deadline), "{deadline} is none of {:?}", ticket.deadlines);
            (ticket.deadlines, ticket.durable, ticket.ended) = (vec![deadline], true, false);
        } else {
            ensure!(ticket.ended || !ticket.durable || !ticket.payments.is_empty(), "a durable hold is gone");
            (ticket.ended, ticket.end_durable) = (true, true);
        }
        Ok(())
    }

    /// Lets every hold expire and sells what is left.
    fn sell_the_rest(&mut self) -> Checked {
        self.disk.fault_at(u64::MAX, Fault::Crash);
        if self.failed() {
            self.crash()?;
        }
        self.sync()?;
        self.clock.advance(seconds(10_000));
        self.tick()?;
        for number in 0..2 {
            let sale = self.sale(number);
            sale.resume().map_err(|why| why.to_string())?;
            sale.register(&(100..2_000).map(Buyer::from).collect::<Vec<_>>()).map_err(|why| why.to_string())?;
            let left = sale.audit().free;
            for buyer in 100..100 + left {
                let hold = sale.reserve(buyer, 1).map_err(|why| format!("{why}, with {}", sale.audit()))?;
                self.paid += 1;
                let hold = (hold.token(), 1, hold.deadline());
                self.made(number, buyer, hold);
                let index = self.tickets.len() - 1;
                self.tickets[index].payments.push(self.paid);
                let sold = sale.confirm(&hold.0, self.paid).and_then(Pending::wait).map_err(|why| why.to_string())?;
                self.learn(index, sold)?;
            }
            self.engine.sync().map_err(|why| why.to_string())?;
            let audit = sale.audit();
            ensure!(audit.holds() && audit.held == 0 && audit.free == 0, "not everything is sold: {audit}");
            let late = sale.reserve(99_999, 1).err();
            ensure!(matches!(late, Some(Rejection::SoldOut | Rejection::NotEligible)), "{late:?}");
        }
        self.all_durable()?;
        self.crash()
    }
}

fn run(seed: u64, disk: SimDisk) -> Checked<u64> {
    let mut run = Run::new(seed, disk);
    for step in 0..120 {
        if run.failed() {
            run.crash().map_err(|why| format!("seed {seed}, step {step}: {why}"))?;
        }
        run.step().map_err(|why| format!("seed {seed}, step {step}: {why}"))?;
    }
    run.sell_the_rest().map_err(|why| format!("seed {seed}, at the end: {why}"))?;
    Ok(run.crashes)
}

#[test]
fn whatever_happens_before_a_crash_no_promise_is_broken_after_it() {
    let crashes: Checked<Vec<u64>> = (0..200).map(|seed| run(seed, SimDisk::new(seed))).collect();
    let crashes: u64 = crashes.unwrap().iter().sum();
    assert!(crashes > 800, "only {crashes} crashes");
}

#[test]
fn control_a_sync_that_lies_breaks_promises() {
    let broken: Vec<String> =
        (0..20).filter_map(|seed| run(seed, SimDisk::flawed(seed, Flaw::LyingSync)).err()).collect();
    assert!(broken.len() > 10, "{broken:#?}");
    assert!(broken.iter().any(|why| why.contains("an acknowledged order is lost")), "{broken:#?}");
}

#[test]
fn control_a_dropped_confirmation_is_found() {
    let mut run = Run::new(1, SimDisk::new(1));
    run.reserve(0).unwrap();
    run.tickets[0].payments.push(1);
    let token = run.tickets[0].token;
    let receipt = Receipt { sequence: 1, order: token, buyer: Buyer::from(run.tickets[0].buyer), quantity: 1 };
    run.learn(0, Confirmation::Confirmed(receipt)).unwrap();
    assert!(run.crash().unwrap_err().contains("an acknowledged order is lost"));
}
