//! One life in which everything is used, and a fault at every single call that it makes to the disk: a crash, an error,
//! a disk that is full from then on.
//!
//! Properties. Let *n* be how many syncs had come back when the fault came: everything that anybody was told rests on
//! one of them.
//! 1. The next opening finds exactly what there was after sync *n* in an undisturbed life, or after the next one, whose
//!    outcome nobody was told: nothing is lost, undone, there twice or there by halves.
//! 2. It goes on selling just as it would have gone on from there, until everything is sold; the units add up, and
//!    what it then has, the opening after it has, too.
//! 3. What there was after a sync agrees with what was told before it.
//! 4. When a write or a sync has failed the engine confirms nothing more and says so, makes no holds, and takes
//!    nothing back.
//!
//! Negative controls: a sync that lies breaks 1; a receipt that nobody wrote down breaks 3.

use std::{collections::BTreeMap, fmt::Write as _, io};

use super::*;
use crate::{
    BasketRules, ConfirmError, JournalReader, Left, Receipt, RequestKey, Units, WaitOrder, Waiting, Waitlist,
    journal::{Fault, Flaw, JournalOptions, SimDisk},
};

/// The disk said no.
#[derive(Debug)]
struct Stopped;

/// What was told, and when: by the number of syncs that had come back.
#[derive(Debug, Clone, Copy)]
struct Told {
    syncs: u64,
    token: Token,
    /// A receipt, or nothing for a refund.
    receipt: Option<Receipt>,
}

const BASKET: usize = 3;
const NAMES: [&str; 3] = ["coats", "seats", "codes"];
const SEED: u64 = 5;

fn rules() -> BasketRules {
    BasketRules::new().hold_for(seconds(60)).grace(seconds(2))
}

fn sizes(now: Timestamp) -> JournalOptions {
    JournalOptions { segment_bytes: 6 << 10, fill_bytes: 1 << 10, ..JournalOptions::at(now) }
}

fn open(disk: &SimDisk, now: Timestamp) -> Result<World, OpenError> {
    let clock = Arc::new(ManualClock::starting_at(now));
    let options = Engine::options().clock(clock.clone()).stripes(1);
    Ok(World { engine: options.open_on(Arc::new(disk.clone()), sizes(now))?, clock })
}

struct Life {
    disk: SimDisk,
    world: Option<World>,
    /// Every hold and basket with its payment.
    tokens: Vec<(usize, Token, u64)>,
    told: Vec<Told>,
}

impl Life {
    fn on(disk: SimDisk) -> Self {
        Self { disk, world: None, tokens: Vec::new(), told: Vec::new() }
    }

    fn world(&self) -> &World {
        self.world.as_ref().expect("it is open")
    }

    fn sale(&self, number: usize) -> Sale {
        self.world().engine.sale(NAMES[number]).unwrap()
    }

    fn failed(&self) -> bool {
        self.world.as_ref().is_some_and(|world| world.engine.inner.journal.as_ref().unwrap().failure().is_some())
    }

    /// What may fail here is the disk alone.
    fn done<T, E: fmt::Debug>(&self, answer: Result<T, E>) -> Result<T, Stopped> {
        answer.map_err(|error| {
            assert!(self.failed(), "{error:?}, and the disk is well");
            Stopped
        })
    }

    fn open(&mut self, now: Timestamp) -> Result<(), Stopped> {
        self.world = None;
        match open(&self.disk, now) {
            Ok(world) => self.world = Some(world),
            Err(OpenError::Io { .. } | OpenError::Full { .. }) => return Err(Stopped),
            Err(other) => panic!("{other}"),
        }
        Ok(())
    }

    fn know(&mut self, number: usize, token: Token) -> usize {
        self.tokens.push((number, token, 100 + self.tokens.len() as u64));
        self.tokens.len() - 1
    }

    fn hold(&mut self, number: usize, buyer: u64, quantity: u32) -> Result<usize, Stopped> {
        let token = self.done(self.sale(number).reserve(buyer, quantity).map(|hold| hold.token()))?;
        Ok(self.know(number, token))
    }

    /// A unit of each of the last two sales.
    fn basket(&mut self, buyer: u64) -> Result<usize, Stopped> {
        let baskets = self.done(self.world().engine.baskets(rules()))?;
        let held = baskets.reserve(buyer, &[(&self.sale(1), 1), (&self.sale(2), 1)]).map(|basket| basket.token());
        let token = self.done(held)?;
        Ok(self.know(BASKET, token))
    }

    fn report(&self, which: usize) -> Result<Pending, ConfirmError> {
        let (number, token, payment) = self.tokens[which];
        if number == BASKET {
            self.world().engine.baskets(rules()).unwrap().confirm(&token, payment)
        } else {
            self.sale(number).confirm(&token, payment)
        }
    }

    fn hear(&mut self, which: usize, pending: Result<Pending, ConfirmError>) -> Result<Confirmation, Stopped> {
        let answer = match pending.and_then(Pending::wait) {
            Err(ConfirmError::Stopped(_) | ConfirmError::OutcomeUnknown(_)) if self.failed() => return Err(Stopped),
            answer => answer.unwrap(),
        };
        let receipt = match answer {
            Confirmation::Confirmed(receipt) | Confirmation::PaidLate(receipt) => Some(receipt),
            Confirmation::PaidLateSoldOut | Confirmation::CancelledBefore => None,
            other => panic!("{other:?}"),
        };
        self.told.push(Told { syncs: self.disk.syncs(), token: self.tokens[which].1, receipt });
        Ok(answer)
    }

    fn pay(&mut self, which: usize) -> Result<Confirmation, Stopped> {
        let pending = self.report(which);
        self.hear(which, pending)
    }

    fn sync(&self) -> Result<(), Stopped> {
        self.done(self.world().engine.sync())
    }

    fn pass(&self, span: u64) -> Ticked {
        self.world().pass(seconds(span))
    }

    fn live(&mut self) -> Result<(), Stopped> {
        self.open(START)?;
        self.create()?;
        self.sell()?;
        self.change()?;
        // Closed, and opened again a little later.
        let world = self.world.take().expect("it is open");
        let now = world.engine.now();
        let closed = world.engine.close();
        if closed.is_err() {
            return Err(Stopped);
        }
        self.open(now.plus(seconds(3)))?;
        self.wait_in_line()?;
        self.end()
    }

    fn create(&self) -> Result<(), Stopped> {
        let spec = |name, stock| SaleSpec::new(name, stock).hold_for(seconds(60)).grace(seconds(2));
        let line = Waitlist { room: 4, accept_within: seconds(20), order: WaitOrder::FirstCome };
        let labels = Units::Listed(["a", "b", "c"].map(Box::from).into());
        let engine = &self.world().engine;
        self.done(engine.create(spec(NAMES[0], 3).waitlist(line)))?;
        let registered = spec(NAMES[1], 6).cap(3).largest(3).units(Units::Numbered { first: 1 });
        let registered = registered.audience(crate::Audience::Registered).reminds_at(START.plus(seconds(5)));
        self.done(engine.create_many(vec![registered, spec(NAMES[2], 3).cap(2).units(labels)]))?;
        self.done(self.sale(1).register(&(0..8).map(Buyer::from).collect::<Vec<_>>()))?;
        self.done(engine.baskets(rules()))?;
        Ok(())
    }

    fn sell(&mut self) -> Result<(), Stopped> {
        let first = self.hold(0, 1, 1)?;
        self.pay(first)?;
        self.done(self.sale(1).enroll(50))?;
        self.pass(6);
        let (two, three) = (self.hold(1, 2, 2)?, self.hold(1, 50, 1)?);
        let key = RequestKey::new("cart-7").unwrap();
        let keyed = self.done(self.sale(2).request(7).key(&key).reserve().map(|hold| hold.token()))?;
        let keyed = self.know(2, keyed);
        self.sync()?;
        // Three payments in one commit, of which nobody waits for the second.
        let pending = [two, three, keyed].map(|which| self.report(which));
        let [two_paid, _, keyed_paid] = pending;
        self.hear(two, two_paid)?;
        self.hear(keyed, keyed_paid)?;
        let gone = self.hold(2, 8, 1)?;
        self.done(self.sale(2).cancel(&self.tokens[gone].1))?;
        // What it gave back is sold before a tick has told the journal of it.
        let next = self.hold(2, 9, 1)?;
        self.pay(next)?;
        self.pay(gone)?;
        Ok(())
    }

    fn change(&mut self) -> Result<(), Stopped> {
        let engine = self.world().engine.clone();
        self.done(self.sale(1).add_stock(2))?;
        self.done(self.sale(2).add_listed(["d", "e"]))?;
        self.done(self.sale(1).withdraw(1))?;
        self.done(self.sale(1).set_cap(2))?;
        self.done(self.sale(2).pause())?;
        self.done(engine.pause_all())?;
        self.done(engine.resume_all())?;
        self.done(self.sale(2).resume())?;
        self.done(self.sale(1).move_window(None, Some(START.plus(seconds(9_000)))))?;
        self.done(self.sale(0).ship(1))?;
        let basket = self.basket(5)?;
        let kept = self.hold(1, 6, 1)?;
        self.done(self.sale(1).extend(&self.tokens[kept].1, seconds(100)))?;
        self.pass(1);
        self.sync()?;
        self.pay(basket)?;
        Ok(())
    }

    fn wait_in_line(&mut self) -> Result<(), Stopped> {
        let (one, two) = (self.hold(0, 11, 1)?, self.hold(0, 12, 1)?);
        for buyer in 20..24 {
            self.done(self.sale(0).join(buyer))?;
        }
        let left = self.done(self.sale(0).leave(21))?;
        assert_eq!(left, Left::Place);
        self.sync()?;
        self.done(self.sale(0).cancel(&self.tokens[one].1))?;
        self.pass(1);
        self.sync()?;
        let Waiting::Offered { token, .. } = self.sale(0).waiting(20) else { return Err(Stopped) };
        self.done(self.sale(0).accept(&token))?;
        let offered = self.know(0, token);
        self.pay(offered)?;
        // The other one expires, and is offered to the next.
        self.pass(63);
        self.sync()?;
        let late = self.pay(two)?;
        assert_eq!(late, Confirmation::PaidLateSoldOut);
        Ok(())
    }

    fn end(&mut self) -> Result<(), Stopped> {
        let late = self.hold(1, 3, 1)?;
        self.pass(70);
        self.sync()?;
        let paid = self.pay(late)?;
        assert!(matches!(paid, Confirmation::PaidLate(_)), "{paid:?}");
        self.basket(4)?;
        self.done(self.sale(2).ship(1))?;
        self.done(self.sale(2).close())?;
        self.sync()
    }
}

/// All that can be seen of an engine.
fn picture(world: &World, tokens: &[(usize, Token, u64)]) -> String {
    let (engine, mut text) = (&world.engine, String::new());
    for sale in engine.sales() {
        check_places(&sale);
        let audit = sale.audit();
        assert!(audit.holds(), "{audit}");
        writeln!(text, "{audit:?} {:?} {:?} {}", sale.spec(), sale.state(), sale.queue_length()).unwrap();
        for buyer in 20..24 {
            writeln!(text, "{:?}", sale.waiting(buyer)).unwrap();
        }
        for (number, token, _) in tokens.iter().filter(|(number, ..)| NAMES.get(*number) == Some(&sale.name())) {
            let standing = sale.open_token(token).map(|id| sale.inner.allocator.standing(id));
            writeln!(text, "{number} {standing:?} {:?}", sale.units(token)).unwrap();
        }
    }
    let journal = engine.inner.journal.as_ref().unwrap();
    for order in JournalReader::of(journal.tail().unwrap(), *journal.secret()) {
        writeln!(text, "{:?}", order.unwrap()).unwrap();
    }
    let (mut outbox, mut messages) = (engine.outbox().unwrap().unwrap(), Vec::new());
    outbox.read(1_000, &mut messages).unwrap();
    for message in messages {
        writeln!(text, "{message:?}").unwrap();
    }
    text
}

/// What each payment is answered when all are reported again, and what is there when all the rest is sold.
fn go_on(world: &World, disk: &SimDisk, tokens: &[(usize, Token, u64)]) -> String {
    let (engine, mut text) = (&world.engine, String::new());
    let baskets = engine.baskets(rules()).unwrap();
    for (number, token, payment) in tokens {
        let report = || {
            let pending = match NAMES.get(*number) {
                None => baskets.confirm(token, *payment)?,
                Some(name) => engine.sale(name).ok().ok_or(ConfirmError::AttemptUnderWay)?.confirm(token, *payment)?,
            };
            pending.wait()
        };
        // A token that is made now is random.
        let answer = report().map(|answer| {
            let receipt = match answer {
                Confirmation::Confirmed(receipt)
                | Confirmation::PaidLate(receipt)
                | Confirmation::AlreadyConfirmed(receipt) => Some((receipt.sequence, receipt.buyer, receipt.quantity)),
                _ => None,
            };
            (std::mem::discriminant(&answer), receipt)
        });
        writeln!(text, "{answer:?}").unwrap();
    }
    world.pass(seconds(100));
    world.pass(seconds(100));
    engine.resume_all().unwrap();
    let mut payment = 10_000;
    for sale in engine.sales() {
        let _closed = sale.resume();
        let buyers: Vec<_> = (5_000..5_030).map(Buyer::from).collect();
        let _closed = sale.register(&buyers);
        for buyer in buyers {
            if let Ok(hold) = sale.reserve(buyer, 1) {
                payment += 1;
                hold.confirm(payment).unwrap().wait().unwrap();
            }
        }
        let audit = sale.audit();
        let sells = sale.state() != SaleState::Closed && sale.queue_length() == 0;
        assert!(!sells || audit.free + audit.held == 0, "not everything is sold: {audit}");
        writeln!(text, "{audit:?}").unwrap();
    }
    engine.sync().unwrap();
    let mut paid = BTreeMap::new();
    let journal = engine.inner.journal.as_ref().unwrap();
    for order in JournalReader::of(journal.tail().unwrap(), *journal.secret()) {
        let (sale, order) = order.unwrap();
        let twice = paid.insert((sale, order.payment.to_string()), order.sequence);
        assert_eq!(twice, None, "a payment has two orders in a sale");
    }
    let last = open(&disk.copy(), engine.now()).unwrap();
    assert_eq!(last.engine.audit(), engine.audit(), "another opening tells something else");
    text
}

/// What is found when the engine is opened on `disk`, and what comes of it.
fn next_opening(disk: &SimDisk, tokens: &[(usize, Token, u64)]) -> Result<(String, String), OpenError> {
    // Its keys are none that the life drew, whenever that ended.
    disk.reseed(!SEED);
    let world = open(disk, START.plus(seconds(2_000)))?;
    let found = picture(&world, tokens);
    let gone_on = go_on(&world, disk, tokens);
    Ok((found, gone_on))
}

/// An undisturbed life, and what was there after each of its syncs.
struct Reference {
    calls: u64,
    tokens: Vec<(usize, Token, u64)>,
    told: Vec<Told>,
    /// What there was after so many syncs.
    after: Vec<(String, String)>,
}

impl Reference {
    fn new() -> Self {
        let mut life = Life::on(SimDisk::new(SEED).keeping());
        life.live().unwrap();
        let (calls, syncs) = (life.disk.calls(), life.disk.syncs());
        let mut after = vec![next_opening(&SimDisk::new(SEED), &life.tokens).unwrap()];
        after.extend(life.disk.kept().iter().map(|disk| next_opening(disk, &life.tokens).unwrap()));
        assert_eq!(after.len() as u64, syncs + 1);
        Self { calls, tokens: life.tokens, told: life.told, after }
    }

    /// Compares what is found on `disk` with what there was after sync `syncs`, or the next.
    fn check(&self, disk: &SimDisk, syncs: u64) -> Result<(), String> {
        let found = next_opening(disk, &self.tokens).map_err(|error| error.to_string())?;
        let syncs = usize::try_from(syncs).unwrap();
        let expected = &self.after[syncs..(syncs + 2).min(self.after.len())];
        if expected.contains(&found) {
            return Ok(());
        }
        let known = self.after.iter().position(|after| *after == found);
        let differs = expected[0].0.lines().zip(found.0.lines()).find(|(before, now)| before != now);
        Err(format!("after sync {syncs} there is what was there after {known:?}; first difference: {differs:?}"))
    }

    /// Whether what there was after each sync agrees with what was told before it.
    fn agrees(&self, told: &[Told]) -> Result<(), String> {
        for told in told {
            for (found, _) in &self.after[usize::try_from(told.syncs).unwrap()..] {
                let order = format!("order: \"{}", told.token);
                let late = told.receipt.filter(|receipt| receipt.order != told.token);
                let order = late.map_or(order, |receipt| format!("order: \"{}", receipt.order));
                if found.contains(&order) != told.receipt.is_some() {
                    return Err(format!("{told:?} was told, and this is there:\n{found}"));
                }
            }
        }
        Ok(())
    }

    fn sweep(&self, attempt: impl Fn(&Self, u64) -> Result<(), String>) -> Result<(), String> {
        for call in 1..=self.calls {
            attempt(self, call).map_err(|why| format!("call {call}: {why}"))?;
        }
        Ok(())
    }

    /// A life on `disk` until `fault` comes at call `call`.
    fn life(disk: SimDisk, call: u64, fault: Fault) -> Life {
        disk.fault_at(call, fault);
        let mut life = Life::on(disk);
        let _lived = life.live();
        life
    }

    fn crash(&self, disk: SimDisk, call: u64, seed: u64) -> Result<(), String> {
        let life = Self::life(disk, call, Fault::Crash);
        let syncs = life.disk.syncs();
        drop(life.world);
        self.check(&life.disk.after_crash(seed), syncs)
    }
}

#[test]
fn a_crash_at_any_call_of_a_rich_life_leaves_what_was_there_or_what_was_on_its_way() {
    let reference = Reference::new();
    for (sector, seed) in [(512, 1), (512, 2), (512, 3), (4_096, 4), (4_096, 5), (4_096, 6)] {
        let disk = || SimDisk::new(SEED).sectors(sector);
        reference.sweep(|reference, call| reference.crash(disk(), call, call * 7 + seed)).unwrap();
    }
}

#[test]
fn what_there_was_after_each_sync_agrees_with_what_was_told() {
    let reference = Reference::new();
    assert!(reference.told.len() >= 9 && reference.calls > 100, "{} and {}", reference.told.len(), reference.calls);
    assert!(reference.told.iter().any(|told| told.receipt.is_none()));
    reference.agrees(&reference.told).unwrap();
}

#[test]
fn control_a_receipt_that_nobody_wrote_down_is_found() {
    let reference = Reference::new();
    let mut told = reference.told.clone();
    told[0].syncs -= 1;
    assert!(reference.agrees(&told).is_err(), "a sync before it, the order was not there");
}

#[test]
fn control_a_sync_that_lies_loses_what_was_told() {
    let reference = Reference::new();
    let disk = || SimDisk::flawed(SEED, Flaw::LyingSync);
    assert!(reference.sweep(|reference, call| reference.crash(disk(), call, call)).is_err());
}

/// Property 4.
fn check_stopped(life: &Life) {
    let Some(world) = &life.world else { return };
    assert!(world.engine.sync().is_err());
    for which in 0..life.tokens.len() {
        if life.tokens[which].0 != BASKET {
            let answer = life.report(which).map(drop);
            assert!(matches!(answer, Err(ConfirmError::Stopped(_))), "{answer:?}");
        }
    }
    for sale in world.engine.sales() {
        assert!(sale.reserve(1, 1).is_err(), "nobody could pay for this hold");
        let audit = sale.audit();
        assert!(audit.holds(), "{audit}");
    }
    for told in &life.told {
        if let Some(receipt) = told.receipt {
            let sold = world.engine.sales().iter().any(|sale| sale.audit().orders >= receipt.sequence);
            assert!(sold, "{receipt:?} was taken back");
        }
    }
}

#[test]
fn an_error_at_any_call_of_a_rich_life_stops_the_engine_and_takes_nothing_back() {
    let reference = Reference::new();
    for crashes in [false, true] {
        let attempt = |reference: &Reference, call| {
            let life = Reference::life(SimDisk::new(SEED), call, Fault::Error(io::ErrorKind::Other));
            let syncs = life.disk.syncs();
            if life.failed() {
                check_stopped(&life);
                assert_eq!(life.disk.syncs(), syncs, "nothing is written after a failure");
            }
            drop(life.world);
            let disk = if crashes { life.disk.after_crash(call) } else { life.disk };
            reference.check(&disk, syncs)
        };
        reference.sweep(attempt).unwrap();
    }
}

#[test]
fn a_disk_that_is_full_from_any_call_of_a_rich_life_on_loses_nothing_and_sells_on_when_there_is_room() {
    let reference = Reference::new();
    let attempt = |reference: &Reference, call| {
        let life = Reference::life(SimDisk::new(SEED), call, Fault::Full);
        let syncs = life.disk.syncs();
        if life.failed() {
            check_stopped(&life);
        }
        drop(life.world);
        match open(&life.disk, START.plus(seconds(2_000))) {
            Err(OpenError::Full { .. }) | Ok(_) => {}
            Err(other) => return Err(format!("on a full disk: {other}")),
        }
        life.disk.set_room(None);
        reference.check(&life.disk, syncs)
    };
    reference.sweep(attempt).unwrap();
}
