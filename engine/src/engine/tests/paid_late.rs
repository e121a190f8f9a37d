//! What a payment is answered, at the exact millisecond: the table of the page on guarantees, row by row.
//!
//! A hold of a minute with two seconds of grace falls due at 60,000 ms; at 62,000 ms its time is over. Every row is
//! played in memory and on a journal, with a restart before the time passes, with one just before the payment, with a
//! crash after it, and with all of them; where it makes no difference with and without a tick before the payment.
//!
//! Properties:
//! 1. the first report gets the row's answer;
//! 2. whatever happens then, the second report gets the same receipt, or the same refusal, also across a crash
//!    that loses or tears what was not synced;
//! 3. a tick ends the hold at 62,000 ms, and not a millisecond earlier; the units add up.
//!
//! Negative controls: an oracle, and an engine, with `<=` where `<` is meant, or the other way round.

use super::*;
use crate::{ConfirmError, Ended, JournalReader, RequestKey, WaitOrder, Waitlist, journal::SimDisk};

/// Something that somebody does.
type Act = fn(&World, &Sale, &Token);

/// One row of the table.
struct Row {
    what: &'static str,
    /// When it is paid, in milliseconds after the hold was made.
    at: u64,
    /// From when on it is late, in milliseconds after the hold was made; nothing if it ends in another way.
    over: Option<u64>,
    /// Whether there is a tick at that instant, before the payment.
    ticks: &'static [bool],
    stock: u32,
    quantity: u32,
    /// When the sale closes by itself, in milliseconds after the hold was made.
    closes: Option<u64>,
    /// What is done at the beginning, after the tick, and between the two reports.
    first: Act,
    meanwhile: Act,
    then: Act,
    answer: &'static str,
}

const NO_ACT: Act = |_, _, _| {};
const EITHER: &[bool] = &[false, true];
const TICK: &[bool] = &[true];
const NO_TICK: &[bool] = &[false];

const PLAIN: Row = Row {
    what: "",
    at: 0,
    over: Some(62_000),
    ticks: EITHER,
    stock: 1,
    quantity: 1,
    closes: None,
    first: NO_ACT,
    meanwhile: NO_ACT,
    then: NO_ACT,
    answer: "",
};

/// A hold that is found again by who made it.
fn named(sale: &Sale, buyer: u64, quantity: u32) -> Token {
    let key = RequestKey::new("the-only-one").unwrap();
    sale.request(buyer).quantity(quantity).key(&key).reserve().unwrap().token()
}

/// Somebody else has a unit on hold, gives it back, or buys it.
const HOLD: Act = |_, sale, _| assert_ne!(named(sale, 2, 1).to_string(), "");
const GIVE_BACK: Act = |_, sale, _| assert_eq!(sale.cancel(&named(sale, 2, 1)).unwrap().quantity, 1);
const BUY: Act = |_, sale, _| assert!(matches!(pay(sale, &named(sale, 2, 1)), Confirmation::Confirmed(_)));
const ADD: Act = |_, sale, _| sale.add_stock(5).unwrap();
const WITHDRAW: Act = |_, sale, _| assert_eq!(sale.withdraw(1), Ok(1));
const PAUSE: Act = |_, sale, _| sale.pause().unwrap();
const CLOSE: Act = |_, sale, _| sale.close().unwrap();
const CANCEL: Act = |_, sale, token| assert!(sale.cancel(token).is_ok());
/// The buyer has another hold, gives it back, or buys it.
const AGAIN: Act = |_, sale, _| assert_ne!(named(sale, 1, 1).to_string(), "");
const UNDO: Act = |_, sale, _| assert_eq!(sale.cancel(&named(sale, 1, 1)).unwrap().quantity, 1);
const BUY_AGAIN: Act = |_, sale, _| assert!(matches!(pay(sale, &named(sale, 1, 1)), Confirmation::Confirmed(_)));
/// Somebody waits for the next unit to come back.
const JOIN: Act = |_, sale, _| assert_eq!(sale.join(5).unwrap().ahead, 0);
/// The buyer has two seconds more to type a card number.
const EXTEND: Act = |_, sale, token| assert!(sale.extend(token, seconds(2)).is_ok());
/// So many holds expire that the book forgets the first.
const OTHERS_EXPIRE: Act = |world, sale, _| {
    for round in 1..=4_u64 {
        let (buyers, mut answers) = ((0..300).map(|buyer| Buyer::from(round * 1_000 + buyer)), Vec::new());
        sale.reserve_many(&buyers.collect::<Vec<_>>(), &mut answers);
        assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 300);
        assert_eq!(world.pass(seconds(100)).expired, 300);
    }
};
/// The hold was cancelled, and its slot is used again.
const CANCEL_AND_USE: Act = |_, sale, token| {
    let slot = |token: &Token| sale.open_token(token).unwrap().slot;
    // Fresh slots come first: once they are used up, the next hold has the slot of the last.
    for buyer in 10.. {
        let other = hold(sale, buyer);
        sale.cancel(&other).unwrap();
        let next = hold(sale, buyer);
        sale.cancel(&next).unwrap();
        if slot(&next) == slot(&other) {
            break;
        }
    }
    assert!(sale.cancel(token).is_ok());
    assert_eq!(slot(&hold(sale, 9)), slot(token));
};

const TABLE: &[Row] = &[
    Row { what: "at once", answer: "Confirmed", ..PLAIN },
    Row { what: "a millisecond before the deadline", at: 59_999, answer: "Confirmed", ..PLAIN },
    Row { what: "at the deadline", at: 60_000, answer: "Confirmed", ..PLAIN },
    Row { what: "a millisecond after the deadline", at: 60_001, answer: "Confirmed", ..PLAIN },
    Row { what: "in the last millisecond of the grace", at: 61_999, answer: "Confirmed", ..PLAIN },
    Row { what: "after the grace, before a tick", at: 62_000, ticks: NO_TICK, answer: "PaidLate", ..PLAIN },
    Row { what: "after the grace, the unit free", at: 62_000, ticks: TICK, answer: "PaidLate", ..PLAIN },
    Row { what: "long after the grace", at: 900_000, answer: "PaidLate", ..PLAIN },
    Row {
        what: "in the last of an extension",
        at: 63_999,
        first: EXTEND,
        over: Some(64_000),
        answer: "Confirmed",
        ..PLAIN
    },
    Row { what: "after an extension", at: 64_000, first: EXTEND, over: Some(64_000), answer: "PaidLate", ..PLAIN },
    Row {
        what: "after the grace, another unit sold, before a tick",
        at: 62_000,
        ticks: NO_TICK,
        stock: 2,
        meanwhile: BUY,
        then: ADD,
        answer: "PaidLate",
        ..PLAIN
    },
    Row { what: "all sold", at: 62_000, ticks: TICK, meanwhile: BUY, answer: "PaidLateSoldOut", ..PLAIN },
    Row { what: "all sold, and more added", then: ADD, ..SOLD },
    Row { what: "all held", at: 62_000, ticks: TICK, meanwhile: HOLD, answer: "PaidLateSoldOut", ..PLAIN },
    Row { what: "all held, and one comes back", meanwhile: HOLD, then: GIVE_BACK, ..SOLD },
    Row { what: "all withdrawn", meanwhile: WITHDRAW, then: ADD, ..SOLD },
    Row { what: "offered to who waits", first: JOIN, meanwhile: NO_ACT, ..SOLD },
    Row { what: "offered to who waits, and one added", first: JOIN, meanwhile: NO_ACT, then: ADD, ..SOLD },
    Row { what: "somebody waits, in time", at: 61_999, first: JOIN, answer: "Confirmed", ..PLAIN },
    Row { what: "somebody waits, before a tick", at: 62_000, ticks: NO_TICK, first: JOIN, answer: "PaidLate", ..PLAIN },
    Row { what: "over the cap by a hold", meanwhile: AGAIN, ..OVER_CAP },
    Row { what: "over the cap by a hold, given back", meanwhile: AGAIN, then: UNDO, ..OVER_CAP },
    Row { what: "over the cap by a purchase", meanwhile: BUY_AGAIN, ..OVER_CAP },
    Row { what: "paused, in time", at: 61_999, first: PAUSE, answer: "Confirmed", ..PLAIN },
    Row { what: "paused, late", at: 62_000, first: PAUSE, answer: "PaidLate", ..PLAIN },
    Row { what: "closed, in time", at: 61_999, first: CLOSE, answer: "Confirmed", ..PLAIN },
    Row { what: "closed, late", at: 62_000, first: CLOSE, answer: "PaidLate", ..PLAIN },
    Row { what: "the window over, in time", at: 61_999, closes: Some(100), answer: "Confirmed", ..PLAIN },
    Row { what: "the window over, late", at: 62_000, closes: Some(100), answer: "PaidLate", ..PLAIN },
    Row { what: "closed while the hold is over", meanwhile: CLOSE, answer: "PaidLate", ..SOLD },
    Row { what: "three units, two free", meanwhile: BUY, ..SEVERAL },
    Row { what: "three units, two free, one comes back", meanwhile: HOLD, then: GIVE_BACK, ..SEVERAL },
    Row { what: "three units, all free", answer: "PaidLate", ..SEVERAL },
    Row { what: "three units, in time", at: 61_999, answer: "Confirmed", ..SEVERAL },
    Row { what: "cancelled", at: 61_999, first: CANCEL, over: None, answer: "CancelledBefore", ..PLAIN },
    Row {
        what: "cancelled, late",
        at: 62_000,
        first: CANCEL,
        over: None,
        then: ADD,
        answer: "CancelledBefore",
        ..PLAIN
    },
    Row { what: "cancelled just before", at: 62_000, ticks: NO_TICK, ..CANCELLED },
    Row { what: "cancelled, its slot used again", meanwhile: CANCEL_AND_USE, ..FORGOTTEN },
    Row { what: "forgotten by the book", at: 62_000, ticks: TICK, meanwhile: OTHERS_EXPIRE, ..FORGOTTEN },
];

const SOLD: Row = Row { at: 62_000, ticks: TICK, meanwhile: BUY, answer: "PaidLateSoldOut", ..PLAIN };
const OVER_CAP: Row = Row { at: 62_000, ticks: TICK, stock: 5, answer: "PaidLateOverCap", ..PLAIN };
const SEVERAL: Row = Row { at: 62_000, ticks: TICK, stock: 3, quantity: 3, answer: "PaidLateSoldOut", ..PLAIN };
const CANCELLED: Row = Row { meanwhile: CANCEL, answer: "CancelledBefore", ..PLAIN };
const FORGOTTEN: Row = Row { stock: 300, answer: "HoldForgotten", ..PLAIN };

/// Where a row is played, and what happens to the engine on the way.
#[expect(clippy::struct_excessive_bools, reason = "each alone, and all together")]
#[derive(Debug, Clone, Copy, Default)]
struct Course {
    journal: bool,
    /// Opened again before the time passes.
    early: bool,
    /// Opened again just before the payment.
    late: bool,
    /// It crashes between the two reports.
    crash: bool,
}

const MEMORY: Course = Course { journal: false, early: false, late: false, crash: false };
const JOURNAL: Course = Course { journal: true, ..MEMORY };
const COURSES: &[Course] = &[
    MEMORY,
    JOURNAL,
    Course { early: true, ..JOURNAL },
    Course { late: true, ..JOURNAL },
    Course { crash: true, ..JOURNAL },
    Course { early: true, late: true, crash: true, ..JOURNAL },
];

/// An engine that may be opened again.
struct Stage {
    world: World,
    disk: SimDisk,
}

impl Stage {
    fn new(journal: bool) -> Self {
        let disk = SimDisk::new(1);
        Self { world: if journal { open(&disk, START) } else { World::in_memory() }, disk }
    }

    fn sale(&self) -> Sale {
        self.world.engine.sale("books").unwrap()
    }

    /// Everything durable, and a new engine on what is there.
    fn restart(&mut self) {
        self.world.engine.sync().unwrap();
        self.go_on(self.disk.copy());
    }

    /// What was not synced is lost or torn.
    fn crash(&mut self) {
        self.go_on(self.disk.after_crash(1));
    }

    fn go_on(&mut self, disk: SimDisk) {
        self.world = open(&disk, self.world.engine.now());
        self.disk = disk;
    }
}

fn open(disk: &SimDisk, now: Timestamp) -> World {
    let sizes = JournalOptions { segment_bytes: 64 << 10, fill_bytes: 4 << 10, ..JournalOptions::at(now) };
    let clock = Arc::new(ManualClock::starting_at(now));
    World { engine: Engine::options().clock(clock.clone()).open_on(Arc::new(disk.clone()), sizes).unwrap(), clock }
}

fn name(answer: &Confirmation) -> &'static str {
    match answer {
        Confirmation::Confirmed(_) => "Confirmed",
        Confirmation::AlreadyConfirmed(_) => "AlreadyConfirmed",
        Confirmation::PaidLate(_) => "PaidLate",
        Confirmation::PaidLateSoldOut => "PaidLateSoldOut",
        Confirmation::PaidLateOverCap => "PaidLateOverCap",
        Confirmation::CancelledBefore => "CancelledBefore",
        Confirmation::HoldForgotten => "HoldForgotten",
    }
}

/// Plays a row on a sale with that grace, and says where it is contradicted.
fn play(row: &Row, tick: bool, course: Course, grace: Duration) -> Result<(), String> {
    let wrong = |what: &str, is: &dyn fmt::Debug| {
        Err(format!("{}, at {} ms, tick: {tick}, {course:?}: {what} {is:?}", row.what, row.at))
    };
    let mut stage = Stage::new(course.journal);
    let mut spec = books(row.stock).grace(grace).cap(row.quantity).largest(row.quantity);
    if row.quantity == 1 {
        spec = spec.waitlist(Waitlist { room: 9, accept_within: seconds(30), order: WaitOrder::FirstCome });
    }
    if let Some(closes) = row.closes {
        spec = spec.closes_at(START.plus(millis(closes)));
    }
    let sale = stage.world.sale(spec);
    let token = sale.reserve(1, row.quantity).unwrap().token();
    (row.first)(&stage.world, &sale, &token);
    if course.early {
        stage.restart();
    }
    stage.world.clock.advance(millis(row.at));
    if tick {
        let expired = stage.world.engine.tick(stage.world.engine.now()).expired;
        if (expired == 1) != row.over.is_some_and(|over| row.at >= over) {
            return wrong("expired", &expired);
        }
    }
    (row.meanwhile)(&stage.world, &stage.sale(), &token);
    if course.late {
        stage.restart();
    }
    let first = pay(&stage.sale(), &token);
    if name(&first) != row.answer {
        return wrong("the answer is", &first);
    }
    (row.then)(&stage.world, &stage.sale(), &token);
    if course.crash {
        stage.crash();
    }
    let second = pay(&stage.sale(), &token);
    match (first, second) {
        (Confirmation::Confirmed(one) | Confirmation::PaidLate(one), Confirmation::AlreadyConfirmed(same))
            if one == same && (one.buyer, one.quantity) == (Buyer::from(1), row.quantity) => {}
        (Confirmation::Confirmed(_) | Confirmation::PaidLate(_), _) => {
            return wrong("the second report hears", &second);
        }
        (first, second) if first == second => {}
        // The crash has lost the slot's next hold: now it is known again how this one ended.
        (Confirmation::HoldForgotten, Confirmation::CancelledBefore) if course.crash => {}
        _ => return wrong("the second report hears", &second),
    }
    let audit = stage.sale().audit();
    if !audit.holds() {
        return wrong("the units don't add up:", &audit);
    }
    if course.journal {
        stage.world.engine.sync().unwrap();
        let journal = stage.world.engine.inner.journal.as_ref().unwrap();
        let orders = JournalReader::of(journal.tail().unwrap(), *journal.secret()).count() as u64;
        if orders != audit.orders {
            return wrong("orders in the journal:", &orders);
        }
    }
    Ok(())
}

fn play_all(grace: Duration, courses: &[Course]) -> Result<(), String> {
    for row in TABLE {
        for &tick in row.ticks {
            courses.iter().try_for_each(|course| play(row, tick, *course, grace))?;
        }
    }
    Ok(())
}

#[test]
fn every_payment_is_answered_as_the_table_says() {
    play_all(seconds(2), COURSES).unwrap();
}

#[test]
fn a_late_payment_beside_another_attempt_of_its_buyer_decides_nothing_and_is_reported_again() {
    for course in [MEMORY, JOURNAL] {
        let stage = Stage::new(course.journal);
        let sale = stage.world.sale(books(2));
        let token = named(&sale, 1, 1);
        stage.world.pass(seconds(62));
        sale.inner.allocator.beside_an_attempt(Buyer::from(1), || {
            assert_eq!(sale.confirm(&token, 1).unwrap_err(), ConfirmError::AttemptUnderWay);
            assert_eq!(sale.confirm(&token, 1).unwrap_err(), ConfirmError::AttemptUnderWay);
        });
        assert_eq!((sale.audit().free, sale.audit().sold), (2, 0));
        assert!(matches!(pay(&sale, &token), Confirmation::PaidLate(receipt) if receipt.sequence == 1));
        let ended = sale.request(1).key(&RequestKey::new("the-only-one").unwrap()).reserve().unwrap_err();
        assert!(matches!(ended, Rejection::HoldEnded { how: Ended::Confirmed, .. }), "{ended}");
    }
}

#[test]
fn control_an_engine_that_is_a_millisecond_early_or_late_contradicts_the_table() {
    for grace in [1_999, 2_001] {
        let error = play_all(millis(grace), &[MEMORY]).unwrap_err();
        assert!(error.contains("at 61999 ms") || error.contains("at 62000 ms"), "{error}");
    }
}

/// What becomes of a hold that nobody but its payer touches, by the rule `is_late`; an error at the first row that
/// says otherwise.
fn oracle(is_late: impl Fn(u64, u64) -> bool) -> Result<(), String> {
    for row in TABLE.iter().filter(|row| ["Confirmed", "PaidLate"].contains(&row.answer)) {
        let says = if is_late(row.at, row.over.expect("it ends by its time")) { "PaidLate" } else { "Confirmed" };
        if says != row.answer {
            return Err(format!("{}, at {} ms: {says}", row.what, row.at));
        }
    }
    Ok(())
}

#[test]
fn control_an_oracle_with_the_wrong_comparison_is_contradicted() {
    oracle(|at, end| at >= end).unwrap();
    assert!(oracle(|at, end| at > end).unwrap_err().contains("at 62000 ms"));
    assert!(oracle(|at, end| at >= end - 2_000).unwrap_err().contains("at 60000 ms"), "the grace is left out");
    assert!(oracle(|at, end| at > end - 2_000).unwrap_err().contains("at 60001 ms"));
    assert!(oracle(|at, end| at + 1 >= end).unwrap_err().contains("at 61999 ms"));
}

#[test]
fn the_table_has_every_answer_and_both_sides_of_every_instant() {
    let has = |answer| TABLE.iter().any(|row| row.answer == answer);
    let answers = ["Confirmed", "PaidLate", "PaidLateSoldOut", "PaidLateOverCap", "CancelledBefore", "HoldForgotten"];
    assert!(answers.into_iter().all(has));
    let at = |at| TABLE.iter().any(|row| row.at == at);
    assert!([59_999, 60_000, 60_001, 61_999, 62_000, 63_999, 64_000].into_iter().all(at));
}
