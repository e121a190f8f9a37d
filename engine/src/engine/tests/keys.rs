//! Asking twice: one key of one buyer makes one hold in a sale.
//!
//! Properties, whatever is asked, paid, cancelled or extended, and wherever it crashes:
//! 1. a key whose hold is held gets that hold: its token, its present deadline;
//! 2. a key whose hold has ended hears how, until the hold's slot is used again; a sold one hears it for ever;
//! 3. a key has at most one hold at any time, and a refused attempt leaves nothing;
//! 4. there are never more entries than slots.
//!
//! Negative controls: a map that forgets, within one run and across a crash, and attempts that are never dropped.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Barrier,
        atomic::{AtomicU64, Ordering},
    },
};

use proptest::prelude::*;

use super::*;
use crate::{
    ConfirmError, Ended, ExtendError, RequestKey, RequestKeyError, core::allocator::Standing, engine::keys::hash,
};

fn key(text: &str) -> RequestKey {
    RequestKey::new(text).unwrap()
}

fn ask<'sale>(sale: &'sale Sale, buyer: u64, text: &str) -> Result<Hold<'sale>, Rejection> {
    sale.request(buyer).key(&key(text)).reserve()
}

fn asked(sale: &Sale, buyer: u64, text: &str) -> Token {
    ask(sale, buyer, text).unwrap().token()
}

#[track_caller]
fn assert_ended(answer: Result<Hold<'_>, Rejection>, token: Token, how: Ended) {
    assert_eq!(answer.unwrap_err(), Rejection::HoldEnded { token, how });
}

/// Entries of both maps.
#[track_caller]
fn entries(sale: &Sale) -> (usize, usize) {
    sale.inner.keys.entries().unwrap()
}

#[test]
fn a_key_is_short_printable_text() {
    assert_eq!(RequestKey::new(""), Err(RequestKeyError::Length { length: 0 }));
    assert_eq!(RequestKey::new(&"x".repeat(65)), Err(RequestKeyError::Length { length: 65 }));
    assert_eq!(RequestKey::new("a b"), Err(RequestKeyError::Byte { byte: b' ', at: 1 }));
    assert_eq!(RequestKey::new("\u{e9}"), Err(RequestKeyError::Byte { byte: 0xc3, at: 0 }));
    let longest = "x".repeat(64);
    assert_eq!(key(&longest).as_str(), longest);
    assert_eq!(format!("{0} {0:?}", key("a-1")), "a-1 RequestKey(a-1)");
}

#[test]
fn a_request_without_a_key_is_a_reserve() {
    let world = World::in_memory();
    let sale = world.sale(books(5).cap(4).largest(3));
    let hold = sale.request(7).quantity(3).reserve().unwrap();
    assert_eq!((hold.buyer(), hold.quantity()), (Buyer::from(7), 3));
    assert_eq!(sale.request(7).quantity(4).reserve().unwrap_err(), Rejection::BadQuantity { asked: 4, largest: 3 });
    assert!(sale.request(7).reserve().is_ok() && sale.request(7).reserve().is_err());
    assert_eq!(entries(&sale), (0, 0));
}

#[test]
fn the_same_key_gets_the_same_hold_and_its_present_deadline() {
    let world = World::in_memory();
    let sale = world.sale(books(1).cap(5));
    let token = asked(&sale, 1, "a");
    let due = START.plus(seconds(60));
    let again = ask(&sale, 1, "a").unwrap();
    assert_eq!((again.token(), again.deadline(), again.quantity(), again.buyer()), (token, due, 1, Buyer::from(1)));
    assert!(matches!(ask(&sale, 1, "b"), Err(Rejection::AllHeld { .. })), "another key is another request");
    let later = sale.extend(&token, seconds(9)).unwrap();
    assert_eq!(ask(&sale, 1, "a").unwrap().deadline(), later);
    // Whatever has become of the sale, and although the hold is overdue.
    sale.pause().unwrap();
    assert_eq!(asked(&sale, 1, "a"), token);
    sale.close().unwrap();
    world.clock.advance(seconds(500));
    assert_eq!((asked(&sale, 1, "a"), ask(&sale, 1, "a").unwrap().deadline()), (token, later));
    assert_eq!(sale.audit().held, 1);
    assert_eq!(entries(&sale), (1, 1));
}

#[test]
fn a_key_belongs_to_one_buyer_and_one_sale() {
    let world = World::in_memory();
    let (books, cards) = (world.sale(books(9)), world.sale(SaleSpec::new("cards", 9)));
    let tokens = [asked(&books, 1, "a"), asked(&books, 2, "a"), asked(&cards, 1, "a"), asked(&cards, 2, "a")];
    assert_eq!(HashSet::from(tokens).len(), 4);
    assert_eq!((asked(&books, 1, "a"), asked(&cards, 2, "a")), (tokens[0], tokens[3]));
}

#[test]
fn a_key_whose_hold_has_ended_hears_how() {
    let world = World::in_memory();
    let sale = world.sale(books(9));
    let [cancelled, sold, expired] = ["c", "s", "e"].map(|text| asked(&sale, 1 + u64::from(text.as_bytes()[0]), text));
    let ask = |text: &str| ask(&sale, 1 + u64::from(text.as_bytes()[0]), text);
    sale.cancel(&cancelled).unwrap();
    assert_ended(ask("c"), cancelled, Ended::Cancelled);
    pay(&sale, &sold);
    assert_ended(ask("s"), sold, Ended::Confirmed);
    world.clock.advance(millis(62_000));
    assert_eq!(ask("e").unwrap().token(), expired, "no tick has ended it");
    world.pass(millis(0));
    assert_ended(ask("e"), expired, Ended::Expired);
    assert_ended(ask("s"), sold, Ended::Confirmed);
    assert_eq!(sale.audit().held, 0);
}

#[test]
fn a_confirmation_on_its_way_to_the_disk_is_told() {
    let (_parent, dir) = folder();
    let world = World::open(&dir);
    let sale = world.sale(books(1));
    let token = asked(&sale, 1, "a");
    let pending = sale.confirm(&token, 1).unwrap();
    assert_ended(ask(&sale, 1, "a"), token, Ended::BeingConfirmed);
    pending.wait().unwrap();
    assert_ended(ask(&sale, 1, "a"), token, Ended::Confirmed);
}

#[test]
fn a_key_makes_a_new_hold_once_the_slot_was_used_again_with_or_without_a_key() {
    for next in [None, Some("other")] {
        let world = World::in_memory();
        let sale = world.sale(books(1));
        let slot = |token: &Token| sale.open_token(token).unwrap().slot;
        // Fresh slots come first: once one has come twice, the next hold has the slot of the last.
        let mut fresh = HashSet::new();
        while fresh.insert(slot(&hold(&sale, 9))) {
            world.pass(seconds(62));
        }
        world.pass(seconds(62));
        let token = asked(&sale, 1, "a");
        sale.cancel(&token).unwrap();
        assert_ended(ask(&sale, 1, "a"), token, Ended::Cancelled);
        let used = next.map_or_else(|| hold(&sale, 2), |text| asked(&sale, 2, text));
        assert_eq!(slot(&used), slot(&token));
        assert!(matches!(ask(&sale, 1, "a"), Err(Rejection::AllHeld { .. })), "a new attempt, and it is refused");
        sale.cancel(&used).unwrap();
        let new = asked(&sale, 1, "a");
        assert_ne!(new, token);
        assert_eq!(asked(&sale, 1, "a"), new);
    }
}

#[test]
fn a_refused_attempt_leaves_nothing() {
    let world = World::in_memory();
    let opens_at = START.plus(seconds(10));
    let sale = world.sale(books(1).opens_at(opens_at));
    assert_eq!(ask(&sale, 1, "a").unwrap_err(), Rejection::NotOpen { opens_at });
    world.pass(seconds(10));
    sale.pause().unwrap();
    assert_eq!(ask(&sale, 1, "a").unwrap_err(), Rejection::Paused);
    sale.resume().unwrap();
    let other = hold(&sale, 2);
    assert!(matches!(ask(&sale, 1, "a"), Err(Rejection::AllHeld { .. })));
    assert_eq!(
        sale.request(1).quantity(9).key(&key("a")).reserve().unwrap_err(),
        Rejection::BadQuantity { asked: 9, largest: 1 }
    );
    assert_eq!(entries(&sale), (0, 0));
    sale.cancel(&other).unwrap();
    let first = asked(&sale, 1, "a");
    sale.add_stock(1).unwrap();
    assert!(matches!(ask(&sale, 1, "b"), Err(Rejection::LimitReached { .. })));
    assert_eq!(entries(&sale), (1, 1));
    assert!(matches!(pay(&sale, &first), Confirmation::Confirmed(_)));
    pay(&sale, &hold(&sale, 3));
    assert_eq!(ask(&sale, 4, "a").unwrap_err(), Rejection::SoldOut);
    assert_eq!(entries(&sale), (1, 1));
}

#[test]
fn another_quantity_under_the_same_key_is_a_mistake() {
    let world = World::in_memory();
    let sale = world.sale(books(9).cap(9).largest(4));
    let request = sale.request(1).key(&key("a")).quantity(2);
    let token = request.reserve().unwrap().token();
    let reused = Rejection::KeyReused { asked: 3, first: 2 };
    assert_eq!(request.quantity(3).reserve().unwrap_err(), reused);
    sale.cancel(&token).unwrap();
    assert_eq!(request.quantity(3).reserve().unwrap_err(), reused, "also once it has ended");
    assert_ended(request.reserve(), token, Ended::Cancelled);
}

#[test]
fn an_attempt_that_never_ends_stops_only_its_own_key() {
    let world = World::in_memory();
    let sale = world.sale(books(9).cap(9));
    let stopped = sale.inner.keys.begin(hash(&sale.engine.request_key, Buyer::from(1), "a"), None).unwrap();
    assert_eq!(ask(&sale, 1, "a").unwrap_err(), Rejection::AttemptUnderWay);
    assert!(ask(&sale, 1, "b").is_ok() && ask(&sale, 2, "a").is_ok() && sale.reserve(1, 1).is_ok());
    drop(stopped);
    assert!(ask(&sale, 1, "a").is_ok());
}

#[test]
fn a_late_payment_takes_its_key_along() {
    let world = World::in_memory();
    let sale = world.sale(books(2));
    let (late, refused) = (asked(&sale, 1, "a"), asked(&sale, 2, "a"));
    world.pass(seconds(62));
    let Confirmation::PaidLate(receipt) = pay(&sale, &late) else { panic!("a unit was free") };
    assert_ended(ask(&sale, 1, "a"), receipt.order, Ended::Confirmed);
    let taken = hold(&sale, 3);
    assert_eq!(pay(&sale, &refused), Confirmation::PaidLateSoldOut);
    sale.cancel(&taken).unwrap();
    match ask(&sale, 2, "a") {
        Err(rejection) => assert_eq!(rejection, Rejection::HoldEnded { token: refused, how: Ended::Expired }),
        Ok(hold) => assert_ne!(hold.token(), refused, "its slot was used again"),
    }
    assert_eq!(entries(&sale).0, entries(&sale).1);
}

/// Each of `threads` asks `rounds` times with one key, and does `between` after each answer.
fn rush(sale: &Sale, threads: u64, rounds: u64, between: impl Fn(&Sale) + Sync) -> Result<Token, String> {
    let start = Barrier::new(usize::try_from(threads).unwrap());
    let seen: HashSet<Token> = thread::scope(|scope| {
        let asks = (0..threads).map(|_| {
            scope.spawn(|| {
                start.wait();
                let mut seen = HashSet::new();
                for _ in 0..rounds {
                    match ask(sale, 7, "checkout") {
                        Ok(hold) => drop(seen.insert(hold.token())),
                        Err(rejection) => assert_eq!(rejection, Rejection::AttemptUnderWay),
                    }
                    between(sale);
                }
                seen
            })
        });
        asks.collect::<Vec<_>>().into_iter().flat_map(|asks| asks.join().unwrap()).collect()
    });
    let held = sale.audit().held;
    match (seen.len(), held) {
        (1, 1) => Ok(*seen.iter().next().unwrap()),
        (tokens, held) => Err(format!("{tokens} tokens and {held} units for one key")),
    }
}

#[test]
fn of_many_threads_that_send_one_key_all_get_one_hold() {
    for _ in 0..50 {
        let world = World::in_memory();
        let sale = world.sale(books(64).cap(64));
        let token = rush(&sale, 8, 40, |_| {}).unwrap();
        assert_eq!((asked(&sale, 7, "checkout"), entries(&sale)), (token, (1, 1)));
    }
}

#[test]
fn control_a_map_that_forgets_is_caught() {
    let world = World::in_memory();
    let sale = world.sale(books(64).cap(64));
    let forget = |sale: &Sale| sale.inner.keys.forget(hash(&sale.engine.request_key, Buyer::from(7), "checkout"));
    let error = rush(&sale, 2, 4, forget).unwrap_err();
    assert!(error.ends_with("units for one key"), "{error}");
}

/// Many rounds with a key each; an error if there are more entries than slots afterwards.
fn rounds(sale: &Sale, round: impl Fn(&Sale, u64)) -> Result<(), String> {
    (0..100_000).for_each(|number| round(sale, number));
    let (attempts, slots) = sale.inner.keys.entries()?;
    let most = sale.inner.allocator.slots().capacity(1) as usize;
    if attempts.max(slots) > most { Err(format!("{attempts} keys and {slots} of {most} slots")) } else { Ok(()) }
}

#[test]
fn a_hundred_thousand_keys_leave_no_more_entries_than_slots() {
    let world = World::in_memory();
    let sale = world.sale(books(3));
    rounds(&sale, |sale, number| assert!(sale.cancel(&asked(sale, number, "a")).is_ok())).unwrap();
    rounds(&sale, |sale, number| assert!(sale.cancel(&asked(sale, 1, &number.to_string())).is_ok())).unwrap();
    let taken = [hold(&sale, 1), hold(&sale, 2), hold(&sale, 3)];
    let before = entries(&sale);
    rounds(&sale, |sale, number| assert!(ask(sale, number, "refused").is_err())).unwrap();
    assert_eq!(entries(&sale), before);
    assert_eq!(sale.audit().held, taken.len() as u64);
}

#[test]
fn control_attempts_that_are_never_dropped_pile_up() {
    let world = World::in_memory();
    let sale = world.sale(books(3));
    let error = rounds(&sale, |sale, number| std::mem::forget(sale.inner.keys.begin(number.into(), None)));
    assert!(error.unwrap_err().ends_with("is under way"));
}

#[test]
fn keys_and_slots_stay_in_step_while_slots_are_used_again_by_everybody() {
    let world = World::in_memory();
    let sale = world.sale(books(4).cap(4).hold_for(seconds(1)));
    thread::scope(|scope| {
        for thread in 0..4_u64 {
            let (sale, world) = (&sale, &world);
            scope.spawn(move || {
                for round in 0..20_000_u64 {
                    let buyer = (round * 7 + thread) % 3;
                    let answer = match round % 5 {
                        0 => sale.reserve(buyer, 1),
                        name => ask(sale, buyer, &name.to_string()),
                    };
                    match answer {
                        Ok(hold) if (round + thread) % 3 > 0 => {
                            assert_eq!(hold.buyer(), Buyer::from(buyer));
                            let _others_end_it_too = hold.cancel();
                        }
                        Ok(hold) => assert_eq!(hold.buyer(), Buyer::from(buyer)),
                        Err(rejection) => assert!(
                            !matches!(rejection, Rejection::KeyReused { .. } | Rejection::SoldOut),
                            "{rejection}"
                        ),
                    }
                    if round % 8 == 0 {
                        world.pass(seconds(4));
                    }
                }
            });
        }
    });
    world.pass(seconds(4));
    let (attempts, slots) = entries(&sale);
    assert!(attempts <= slots && slots <= sale.inner.allocator.slots().capacity(1) as usize, "{attempts}, {slots}");
    let audit = sale.audit();
    assert_eq!((audit.held, audit.free, audit.holds()), (0, 4, true));
}

/// How many holds a journal sees without their key while `count` are made one by one. Who makes them is told how many
/// it has seen so far.
fn unnamed(count: u64, reserve: impl Fn(&Sale, u64, &AtomicU64) + Sync) -> u64 {
    let (_parent, dir) = folder();
    let world = World::open(&dir);
    let sale = world.sale(books(u32::try_from(count).unwrap()));
    let seen = AtomicU64::new(0);
    let mut unnamed = 0;
    thread::scope(|scope| {
        let maker = scope.spawn(|| (0..count).for_each(|buyer| reserve(&sale, buyer, &seen)));
        while !maker.is_finished() {
            sale.inner.allocator.drain_changes(0, u32::MAX, |slot, snapshot, _, _| {
                unnamed += u64::from(sale.inner.keys.of(slot, snapshot.generation()).is_none());
                // Relaxed: a count for the test alone; nothing is published by it.
                seen.fetch_add(1, Ordering::Relaxed);
            });
        }
    });
    unnamed
}

#[test]
fn whoever_sees_a_hold_finds_its_key() {
    assert_eq!(unnamed(20_000, |sale, buyer, _| assert!(ask(sale, buyer, "a").is_ok())), 0);
}

#[test]
fn control_a_key_that_is_named_too_late_is_missed() {
    let late = |sale: &Sale, buyer: u64, seen: &AtomicU64| {
        let mut begun = sale.inner.keys.begin(buyer.into(), None).unwrap();
        // Relaxed, here and below: a count for the test alone.
        let before = seen.load(Ordering::Relaxed);
        let hold = sale.reserve(buyer, 1).unwrap();
        while seen.load(Ordering::Relaxed) == before {
            thread::yield_now();
        }
        begun.name(hold.id, 1);
    };
    assert_eq!(unnamed(10, late), 10);
}

#[test]
fn a_key_gets_its_hold_after_a_restart_and_after_a_crash() {
    for crash in [false, true] {
        let (parent, dir) = folder();
        let world = World::open(&dir);
        let sale = world.sale(books(9).cap(3).largest(3));
        let request = sale.request(1).key(&key("held")).quantity(2);
        let held = request.reserve().unwrap().token();
        let sold = asked(&sale, 2, "sold");
        let later = sale.extend(&held, seconds(5)).unwrap();
        let Confirmation::Confirmed(_) = pay(&sale, &sold) else { panic!("in time") };
        let (_folder, dir) = if crash {
            world.engine.sync().unwrap();
            copy(&dir)
        } else {
            world.engine.close().unwrap();
            drop(sale);
            (parent, dir)
        };
        let world = World::open_at(&dir, START.plus(seconds(30)));
        let sale = world.engine.sale("books").unwrap();
        let request = sale.request(1).key(&key("held")).quantity(2);
        let again = request.reserve().unwrap();
        assert_eq!((again.token(), again.deadline(), again.quantity()), (held, later, 2));
        assert_eq!(request.quantity(1).reserve().unwrap_err(), Rejection::KeyReused { asked: 1, first: 2 });
        assert_ended(ask(&sale, 2, "sold"), sold, Ended::Confirmed);
        assert_eq!((sale.audit().held, entries(&sale)), (2, (2, 2)));
        assert!(matches!(pay(&sale, &held), Confirmation::Confirmed(_)));
        assert_ended(request.reserve(), held, Ended::Confirmed);
    }
}

#[test]
fn a_key_keeps_the_units_of_its_hold_across_a_crash() {
    let (_parent, dir) = folder();
    let world = World::open(&dir);
    let sale = world.sale(books(9).cap(9).largest(3).units(crate::Units::Numbered { first: 100 }));
    let _others = sale.reserve(2, 3).unwrap();
    let units = sale.request(1).quantity(2).key(&key("a")).reserve().unwrap().units();
    assert_eq!(units.len(), 2);
    world.engine.sync().unwrap();
    let (_copied, dir) = copy(&dir);
    let world = World::open(&dir);
    let sale = world.engine.sale("books").unwrap();
    let again = sale.request(1).quantity(2).key(&key("a")).reserve().unwrap();
    assert_eq!(again.units(), units);
    assert!(matches!(pay(&sale, &again.token()), Confirmation::Confirmed(_)));
    assert_eq!(sale.units(&again.token()), Ok(units));
}

#[test]
fn a_request_brings_its_invitation_and_one_without_it_leaves_nothing() {
    let world = World::in_memory();
    let sale = world.sale(books(9).audience(crate::Audience::Invited));
    let request = sale.request(1).key(&key("a"));
    assert_eq!(request.reserve().unwrap_err(), Rejection::NotEligible);
    assert_eq!(request.invitation(&sale.invitation(2)).reserve().unwrap_err(), Rejection::BadInvitation);
    assert_eq!(entries(&sale), (0, 0));
    let token = request.invitation(&sale.invitation(1)).reserve().unwrap().token();
    assert_eq!(request.reserve().unwrap().token(), token, "it was let in before");
    assert!(sale.request(3).invitation(&sale.invitation(3)).reserve().is_ok());
}

#[test]
fn an_order_that_no_tick_has_seen_as_a_hold_keeps_its_key_and_so_does_one_paid_late() {
    let (_parent, dir) = folder();
    let world = World::open(&dir);
    let sale = world.sale(books(2));
    let late = asked(&sale, 1, "late");
    world.pass(seconds(62));
    let Confirmation::PaidLate(receipt) = pay(&sale, &late) else { panic!("a unit was free") };
    let quick = asked(&sale, 2, "quick");
    pay(&sale, &quick);
    let (_copied, dir) = copy(&dir);
    let world = World::open_at(&dir, START.plus(seconds(63)));
    let sale = world.engine.sale("books").unwrap();
    assert_ended(ask(&sale, 1, "late"), receipt.order, Ended::Confirmed);
    assert_ended(ask(&sale, 2, "quick"), quick, Ended::Confirmed);
}

#[test]
fn a_hold_that_the_journal_lost_is_made_anew_and_an_ended_one_is_forgotten_with_the_opening() {
    let (_parent, dir) = folder();
    let world = World::open(&dir);
    let sale = world.sale(books(2));
    let ended = asked(&sale, 2, "ended");
    sale.cancel(&ended).unwrap();
    world.engine.sync().unwrap();
    let lost = asked(&sale, 1, "lost");
    let (_copied, dir) = copy(&dir);
    let world = World::open(&dir);
    let sale = world.engine.sale("books").unwrap();
    let (anew, another) = (asked(&sale, 1, "lost"), asked(&sale, 2, "ended"));
    assert!(anew != lost && another != ended);
    assert_eq!(pay(&sale, &lost), Confirmation::HoldForgotten);
    assert_eq!((asked(&sale, 1, "lost"), sale.audit().held), (anew, 2));
}

const BUYERS: u64 = 3;
const KEYS: [&str; 3] = ["a", "b", "c"];

#[derive(Debug, Clone)]
enum Step {
    Ask { buyer: u64, key: usize, quantity: u32 },
    Plain { buyer: u64 },
    Confirm { which: usize },
    Cancel { which: usize },
    Extend { which: usize },
    Pass { span: u64 },
    Tick,
    Sync,
    Crash,
}

fn steps() -> impl Strategy<Value = Step> {
    prop_oneof![
        12 => (0..BUYERS, 0..KEYS.len(), 1_u32..3)
            .prop_map(|(buyer, key, quantity)| Step::Ask { buyer, key, quantity }),
        3 => (0..BUYERS).prop_map(|buyer| Step::Plain { buyer }),
        3 => any::<usize>().prop_map(|which| Step::Confirm { which }),
        6 => any::<usize>().prop_map(|which| Step::Cancel { which }),
        2 => any::<usize>().prop_map(|which| Step::Extend { which }),
        3 => (0_u64..40_000).prop_map(|span| Step::Pass { span }),
        2 => Just(Step::Tick),
        1 => Just(Step::Sync),
        3 => Just(Step::Crash),
    ]
}

/// A hold as the one who asked knows it.
#[derive(Debug, Clone, Copy)]
struct Known {
    /// The buyer and the key by which it was asked for.
    key: Option<(u64, usize)>,
    token: Token,
    quantity: u32,
    deadline: Timestamp,
    ended: Option<Ended>,
    /// It was paid late: the order has another token, and may have lost the key to a later attempt.
    late: bool,
    /// It is in the journal, and nothing was done to it since.
    kept: bool,
}

struct Life {
    world: World,
    dir: PathBuf,
    folders: Vec<tempfile::TempDir>,
    holds: Vec<Known>,
    /// The latest hold of each buyer's key.
    keys: HashMap<(u64, usize), usize>,
    /// A broken engine: it forgets keys in a crash.
    forgets: bool,
}

impl Life {
    fn begin() -> Self {
        let (parent, dir) = folder();
        let world = World::open(&dir);
        world.sale(books(5).cap(9).largest(2).hold_for(seconds(30)));
        Self { world, dir, folders: vec![parent], holds: Vec::new(), keys: HashMap::new(), forgets: false }
    }

    fn sale(&self) -> Sale {
        self.world.engine.sale("books").unwrap()
    }

    fn step(&mut self, step: &Step) {
        let sale = self.sale();
        match step {
            Step::Ask { buyer, key, quantity } => self.ask(*buyer, *key, *quantity),
            Step::Plain { buyer } => {
                if let Ok(hold) = sale.reserve(*buyer, 1) {
                    self.know(&hold, None);
                }
            }
            Step::Confirm { which } => {
                if let Some(hold) = self.pick(*which) {
                    match sale.confirm(&hold.token, 1).map(|pending| pending.wait().unwrap()) {
                        Ok(Confirmation::Confirmed(_)) => hold.ended = Some(Ended::Confirmed),
                        Ok(Confirmation::PaidLate(receipt)) => {
                            (hold.late, hold.ended, hold.token) = (true, Some(Ended::Confirmed), receipt.order);
                        }
                        Ok(_) | Err(ConfirmError::AttemptUnderWay) => {}
                        Err(error) => panic!("{error}"),
                    }
                }
            }
            Step::Cancel { which } => {
                if let Some(hold) = self.pick(*which)
                    && sale.cancel(&hold.token).is_ok()
                {
                    hold.ended = Some(Ended::Cancelled);
                }
            }
            Step::Extend { which } => {
                if let Some(hold) = self.pick(*which)
                    && let Ok(deadline) = sale.extend(&hold.token, seconds(5))
                {
                    hold.deadline = deadline;
                }
            }
            Step::Pass { span } => self.world.clock.advance(millis(*span)),
            Step::Tick => self.tick(),
            Step::Sync => {
                self.world.engine.sync().unwrap();
                self.holds.iter_mut().for_each(|hold| hold.kept = hold.ended.is_none());
            }
            Step::Crash => self.crash(),
        }
        let (attempts, slots) = entries(&self.sale());
        assert!(attempts <= slots && slots <= self.sale().inner.allocator.slots().capacity(1) as usize);
    }

    fn know(&mut self, hold: &Hold<'_>, key: Option<(u64, usize)>) -> usize {
        let (token, quantity, deadline) = (hold.token(), hold.quantity(), hold.deadline());
        self.holds.push(Known { key, token, quantity, deadline, ended: None, late: false, kept: false });
        self.holds.len() - 1
    }

    fn pick(&mut self, which: usize) -> Option<&mut Known> {
        let back = which.checked_rem(self.holds.len().min(6))?;
        let at = self.holds.len() - 1 - back;
        self.holds[at].kept = false;
        Some(&mut self.holds[at])
    }

    fn tick(&mut self) {
        let now = self.world.engine.now();
        self.world.engine.tick(now);
        for hold in self.holds.iter_mut().filter(|hold| hold.ended.is_none()) {
            hold.kept = true;
            if now >= hold.deadline.plus(seconds(2)) {
                (hold.ended, hold.kept) = (Some(Ended::Expired), false);
            }
        }
    }

    fn ask(&mut self, buyer: u64, name: usize, quantity: u32) {
        let sale = self.sale();
        let before = self.keys.get(&(buyer, name)).map(|at| self.holds[*at]);
        let gone =
            |known: &Known| sale.inner.allocator.standing(sale.open_token(&known.token).unwrap()) == Standing::Gone;
        let may_be_anew = before.is_none_or(|known| known.late || gone(&known));
        let answer = sale.request(buyer).quantity(quantity).key(&key(KEYS[name])).reserve();
        match (before, answer) {
            (Some(known), Err(Rejection::KeyReused { asked, first })) => {
                assert_eq!((asked, first), (quantity, known.quantity));
                assert_ne!(asked, first);
            }
            (Some(known), answer) if known.ended.is_none() => {
                let hold = answer.unwrap_or_else(|rejection| panic!("its hold is held: {rejection}"));
                let (hold, known) =
                    ((hold.token(), hold.deadline(), hold.quantity()), (known.token, known.deadline, known.quantity));
                assert_eq!(hold, known, "one key, another hold");
            }
            (Some(known), Err(Rejection::HoldEnded { token, how })) => {
                assert_eq!((token, Some(how)), (known.token, known.ended));
            }
            (known, answer) => {
                assert!(may_be_anew, "its slot was not used again: {known:?}, {answer:?}");
                match answer {
                    Ok(hold) => {
                        let at = self.know(&hold, Some((buyer, name)));
                        self.keys.insert((buyer, name), at);
                    }
                    Err(rejection) => assert!(
                        matches!(
                            rejection,
                            Rejection::AllHeld { .. }
                                | Rejection::SoldOut
                                | Rejection::TooFewFree { .. }
                                | Rejection::LimitReached { .. }
                        ),
                        "{rejection}"
                    ),
                }
            }
        }
    }

    /// The process dies; another one opens what is in the folder.
    fn crash(&mut self) {
        let (parent, dir) = copy(&self.dir);
        self.world = World::open_at(&dir, self.world.engine.now());
        self.dir = dir;
        self.folders.push(parent);
        let sale = self.sale();
        for hold in self.holds.iter_mut().filter(|hold| hold.ended != Some(Ended::Confirmed)) {
            match sale.extend(&hold.token, Duration::ZERO) {
                Ok(deadline) | Err(ExtendError::Overdue { due: deadline }) => {
                    assert!(!hold.kept || deadline == hold.deadline);
                    (hold.deadline, hold.ended, hold.kept) = (deadline, None, true);
                }
                Err(ExtendError::Ended(how)) => {
                    assert!(!hold.kept, "a durable hold is gone");
                    hold.ended = Some(how);
                }
                Err(error) => panic!("{error}"),
            }
        }
        self.keys.clear();
        let mut living = HashSet::new();
        for (at, hold) in self.holds.iter().enumerate() {
            if let (Some(name), None | Some(Ended::Confirmed)) = (hold.key, hold.ended) {
                assert!(hold.ended.is_some() || living.insert(name), "two holds for one key");
                self.keys.insert(name, at);
            }
        }
        if self.forgets {
            for (buyer, name) in self.keys.keys() {
                sale.inner.keys.forget(hash(&sale.engine.request_key, Buyer::from(*buyer), KEYS[*name]));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_done_and_wherever_it_crashes_a_key_has_one_hold(
        steps in proptest::collection::vec(steps(), 1..120),
    ) {
        let mut life = Life::begin();
        for step in &steps {
            life.step(step);
        }
    }
}

#[test]
#[should_panic(expected = "one key, another hold")]
fn control_a_key_that_a_crash_forgets_is_missed() {
    let mut life = Life::begin();
    life.forgets = true;
    life.step(&Step::Ask { buyer: 1, key: 0, quantity: 1 });
    life.step(&Step::Sync);
    life.step(&Step::Crash);
    life.step(&Step::Ask { buyer: 1, key: 0, quantity: 1 });
}
