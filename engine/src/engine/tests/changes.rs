//! Live changes: the window, the cap and the kill switch, while the crowd is there and across a crash.
//!
//! Properties:
//! 1. a change acts at its exact instant, on whoever asks after it was answered, and on nobody's holds;
//! 2. it is there after a crash that comes after the answer;
//! 3. whatever an operator does to a crowd: every unit is somewhere, nobody ever has more than the highest cap that was
//!    in force, and at the end all that is on offer is sold.
//!
//! Negative controls: a cap that is looked at one too low contradicts the crowd, and a journal with a buyer above every
//! cap; a kill switch that marks only the sales that are there lets a new one sell.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use super::*;
use crate::{
    ChangeError, JournalReader, RequestKey, SpecError,
    core::{allocator::HoldId, permits::Mark},
    engine::events::EventKind,
    journal::{Change, HeldRecord, Record},
};

fn at(seconds: u64) -> Timestamp {
    START.plus(Duration::from_secs(seconds))
}

/// A journal's folder, and the copies that crashes left.
struct Folders(Vec<(tempfile::TempDir, PathBuf)>);

impl Folders {
    fn new() -> (Self, World) {
        let (parent, dir) = folder();
        let world = World::open(&dir);
        (Self(vec![(parent, dir)]), world)
    }

    /// The process dies; another one opens what is in the folder.
    fn crash(&mut self, world: World) -> World {
        let (parent, dir) = copy(&self.0.last().unwrap().1);
        let now = world.engine.now();
        let next = World::open_at(&dir, now);
        self.0.push((parent, dir));
        // The dead one writes into the old folder, if at all.
        drop(world);
        next
    }
}

fn refusal(sale: &Sale) -> Rejection {
    sale.reserve(1_000_000, 1).unwrap_err()
}

#[test]
fn a_window_that_was_moved_opens_and_closes_at_its_instants() {
    let world = World::in_memory();
    let sale = world.sale(books(100).opens_at(at(10)));
    sale.move_window(Some(at(20)), Some(at(30))).unwrap();
    assert_eq!(world.pass(seconds(10)).opened, 0, "the old instant is no more");
    world.clock.advance(millis(9_999));
    assert_eq!(refusal(&sale), Rejection::NotOpen { opens_at: at(20) });
    assert_eq!(sale.state(), SaleState::Scheduled { opens_at: at(20) });
    assert_eq!(world.pass(millis(1)).opened, 1);
    let _first = hold(&sale, 1);
    world.clock.advance(millis(9_999));
    let _last = hold(&sale, 2);
    world.clock.advance(millis(1));
    assert_eq!((refusal(&sale), sale.state()), (Rejection::Closed, SaleState::Closed));
    sale.move_window(None, Some(at(40))).unwrap();
    let _over_and_open_again = hold(&sale, 3);
    sale.move_window(None, Some(world.engine.now())).unwrap();
    assert_eq!(refusal(&sale), Rejection::Closed, "it closes now");
    sale.move_window(None, None).unwrap();
    world.clock.advance(seconds(100_000));
    let _never_closes = hold(&sale, 4);
    assert_eq!((sale.opens_at(), sale.closes_at()), (None, None));
}

#[test]
fn a_sold_out_sale_that_is_to_close_is_closed_from_its_instant_on() {
    let world = World::in_memory();
    let sale = world.sale(books(1));
    pay(&sale, &hold(&sale, 1));
    sale.move_window(None, Some(at(10))).unwrap();
    world.clock.advance(millis(9_999));
    assert_eq!(refusal(&sale), Rejection::SoldOut);
    world.clock.advance(millis(1));
    assert_eq!(refusal(&sale), Rejection::Closed);
    sale.move_window(None, None).unwrap();
    assert_eq!(refusal(&sale), Rejection::SoldOut);
}

#[test]
fn an_open_sale_can_be_put_off_and_its_holds_are_paid_all_the_same() {
    let world = World::in_memory();
    let sale = world.sale(books(100));
    let events = world.engine.subscribe(100);
    let token = hold(&sale, 1);
    sale.move_window(Some(at(50)), None).unwrap();
    assert_eq!(refusal(&sale), Rejection::NotOpen { opens_at: at(50) });
    assert!(matches!(pay(&sale, &token), Confirmation::Confirmed(_)));
    assert_eq!(world.pass(millis(49_999)).opened, 0);
    assert_eq!(world.pass(millis(1)).opened, 1);
    let _open = hold(&sale, 2);
    sale.move_window(Some(at(90)), None).unwrap();
    sale.move_window(Some(at(50)), None).unwrap();
    let _opened_by_the_move = hold(&sale, 3);
    assert_eq!(world.pass(seconds(50)).opened, 0, "it is open, and not on the agenda");
    let opened = std::iter::from_fn(|| events.try_next()).filter(|event| event.kind == EventKind::Opened).count();
    assert_eq!(opened, 2, "once by its instant, once by the move");
}

#[test]
fn a_window_that_makes_no_sense_changes_nothing() {
    let world = World::in_memory();
    let sale = world.sale(books(100).closes_at(at(90)));
    world.clock.advance(seconds(10));
    let backwards = sale.move_window(Some(at(30)), Some(at(30)));
    assert_eq!(backwards, Err(ChangeError::Window { opens_at: at(30), closes_at: at(30) }));
    let past = sale.move_window(None, Some(START.plus(millis(9_999))));
    let now = at(10);
    assert_eq!(past, Err(ChangeError::ClosesInThePast { closes_at: START.plus(millis(9_999)), now }));
    assert_eq!((sale.opens_at(), sale.closes_at()), (None, Some(at(90))));
    sale.close().unwrap();
    assert_eq!(sale.move_window(None, None), Err(ChangeError::Closed));
    assert_eq!(refusal(&sale), Rejection::Closed);
}

#[test]
fn a_cap_that_was_lowered_takes_nothing_from_anybody_and_gives_nothing_more() {
    let world = World::in_memory();
    let sale = world.sale(books(100).cap(4).largest(3));
    let token = sale.reserve(1, 3).unwrap().token();
    sale.set_cap(2).unwrap();
    assert_eq!(sale.reserve(1, 1).unwrap_err(), Rejection::LimitReached { held: 3, bought: 0, limit: 2 });
    assert_eq!(sale.reserve(2, 3).unwrap_err(), Rejection::BadQuantity { asked: 3, largest: 2 });
    assert!(matches!(pay(&sale, &token), Confirmation::Confirmed(receipt) if receipt.quantity == 3));
    assert!(sale.reserve(2, 2).is_ok() && sale.reserve(2, 1).is_err());
    sale.set_cap(5).unwrap();
    assert!(sale.reserve(1, 2).is_ok() && sale.reserve(1, 1).is_err(), "five in all");
    assert_eq!(sale.reserve(3, 4).unwrap_err(), Rejection::BadQuantity { asked: 4, largest: 3 });
    assert_eq!(sale.set_cap(0), Err(ChangeError::Cap { cap: 0, most: crate::MAX_CAP }));
    assert!(sale.set_cap(crate::MAX_CAP + 1).is_err());
    let spec = sale.spec();
    assert_eq!((spec.name(), spec.cap, spec.largest, spec.stock), ("books", 5, 3, 100));
    assert!(sale.audit().holds());
}

#[test]
fn a_late_payment_respects_a_cap_that_was_lowered_since_its_hold_was_made() {
    let world = World::in_memory();
    let sale = world.sale(books(100).cap(3).largest(3));
    let baskets = world.engine.baskets(BasketRules::new().hold_for(seconds(60)).grace(seconds(2))).unwrap();
    let [fits, late] = [2, 3].map(|quantity| sale.reserve(u64::from(quantity), quantity).unwrap().token());
    let basket = baskets.reserve(4, &[(&sale, 3)]).unwrap().token();
    world.pass(seconds(62));
    sale.set_cap(2).unwrap();
    assert_eq!(pay(&sale, &late), Confirmation::PaidLateOverCap);
    assert_eq!(baskets.confirm(&basket, 1).unwrap().wait().unwrap(), Confirmation::PaidLateOverCap);
    assert!(matches!(pay(&sale, &fits), Confirmation::PaidLate(receipt) if receipt.quantity == 2));
    sale.set_cap(3).unwrap();
    assert_eq!(pay(&sale, &late), Confirmation::PaidLateOverCap, "the refund is on its way");
    let audit = sale.audit();
    assert_eq!((audit.free, audit.held, audit.sold), (98, 0, 2), "{audit}");
}

#[test]
fn a_request_with_a_key_finds_its_hold_although_the_cap_was_lowered_since() {
    let world = World::in_memory();
    let sale = world.sale(books(100).cap(3).largest(3));
    let key = RequestKey::new("checkout").unwrap();
    let token = sale.request(1).quantity(3).key(&key).reserve().unwrap().token();
    sale.set_cap(1).unwrap();
    assert_eq!(sale.request(1).quantity(3).key(&key).reserve().unwrap().token(), token);
    let other = RequestKey::new("another").unwrap();
    let refused = sale.request(2).quantity(3).key(&other).reserve().unwrap_err();
    assert_eq!(refused, Rejection::BadQuantity { asked: 3, largest: 1 });
}

#[test]
fn the_kill_switch_stops_every_sale_and_leaves_nothing_behind() {
    let world = World::in_memory();
    let (one, other) = (world.sale(books(5)), world.sale(SaleSpec::new("other", 5)));
    let token = hold(&one, 1);
    other.pause().unwrap();
    world.engine.pause_all().unwrap();
    world.engine.pause_all().unwrap();
    assert!(world.engine.is_paused());
    let meanwhile = world.sale(SaleSpec::new("meanwhile", 5));
    for sale in [&one, &other, &meanwhile] {
        assert_eq!((refusal(sale), sale.state()), (Rejection::Paused, SaleState::Paused));
    }
    one.resume().unwrap();
    assert_eq!(refusal(&one), Rejection::Paused, "one sale's resuming is not everybody's");
    assert!(matches!(pay(&one, &token), Confirmation::Confirmed(_)));
    world.engine.resume_all().unwrap();
    let _open = (hold(&one, 2), hold(&meanwhile, 1));
    assert_eq!(refusal(&other), Rejection::Paused, "it was paused by itself");
    other.resume().unwrap();
    let _open = hold(&other, 1);
    assert!(!world.engine.is_paused());
}

/// The fault: the sales that are there are marked, and nothing says so to those to come.
#[test]
#[should_panic(expected = "called `Result::unwrap_err()` on an `Ok` value")]
fn control_a_switch_that_marks_only_what_is_there_lets_a_new_sale_sell() {
    let world = World::in_memory();
    world.sale(books(5)).inner.allocator.set(Mark::Halted);
    refusal(&world.sale(SaleSpec::new("meanwhile", 5)));
}

#[test]
fn every_change_is_there_after_a_crash() {
    let (mut folders, world) = Folders::new();
    world.sale(books(100).cap(2).largest(2).opens_at(at(5)));
    let sale = |world: &World| world.engine.sale("books").unwrap();
    sale(&world).move_window(Some(at(10)), Some(at(80))).unwrap();
    let world = folders.crash(world);
    let spec = sale(&world).spec();
    assert_eq!((spec.opens_at, spec.closes_at), (Some(at(10)), Some(at(80))));
    assert_eq!(world.pass(millis(9_999)).opened, 0);
    assert_eq!(refusal(&sale(&world)), Rejection::NotOpen { opens_at: at(10) });
    assert_eq!(world.pass(millis(1)).opened, 1);

    let tokens = [1, 2].map(|buyer| sale(&world).reserve(buyer, 2).unwrap().token());
    sale(&world).set_cap(4).unwrap();
    let more = sale(&world).reserve(1, 2).unwrap().token();
    assert!(matches!(pay(&sale(&world), &more), Confirmation::Confirmed(_)));
    world.engine.sync().unwrap();
    let world = folders.crash(world);
    assert_eq!(sale(&world).spec().cap, 4);
    sale(&world).set_cap(1).unwrap();
    let world = folders.crash(world);
    assert_eq!(sale(&world).reserve(1, 1).unwrap_err(), Rejection::LimitReached { held: 2, bought: 2, limit: 1 });
    assert_eq!(sale(&world).reserve(9, 2).unwrap_err(), Rejection::BadQuantity { asked: 2, largest: 1 });
    for token in tokens {
        assert!(matches!(pay(&sale(&world), &token), Confirmation::Confirmed(_)), "what was held stays");
    }

    world.sale(SaleSpec::new("alone", 5)).pause().unwrap();
    world.engine.pause_all().unwrap();
    world.sale(SaleSpec::new("meanwhile", 5));
    let world = folders.crash(world);
    assert!(world.engine.is_paused());
    for name in ["books", "alone", "meanwhile"] {
        assert_eq!(refusal(&world.engine.sale(name).unwrap()), Rejection::Paused, "{name}");
    }
    assert_eq!(refusal(&world.sale(SaleSpec::new("later", 5))), Rejection::Paused);
    world.engine.resume_all().unwrap();
    let world = folders.crash(world);
    assert!(!world.engine.is_paused());
    for name in ["books", "meanwhile", "later"] {
        let _open = hold(&world.engine.sale(name).unwrap(), 77);
    }
    assert_eq!(refusal(&world.engine.sale("alone").unwrap()), Rejection::Paused);

    sale(&world).move_window(None, Some(world.engine.now())).unwrap();
    let world = folders.crash(world);
    assert_eq!(refusal(&sale(&world)), Rejection::Closed);
    sale(&world).move_window(Some(at(60)), None).unwrap();
    let world = folders.crash(world);
    assert_eq!(refusal(&sale(&world)), Rejection::NotOpen { opens_at: at(60) });
    assert!(world.engine.audit().iter().all(Audit::holds));
}

/// What recovery says to a buyer with three units under these caps, the first of which is the spec's.
fn three_units_under(caps: &[u32]) -> Result<(), String> {
    let mut recovery = Recovery::default();
    let spec = SaleSpec::new("books", 10).cap(caps[0]);
    recovery.replay(Record::SaleCreated { sale: 0, base: 0, slots: 64, at: START, spec })?;
    for &cap in &caps[1..] {
        recovery.replay(Record::SaleChanged { sale: 0, at: START, change: Change::Cap { cap } })?;
    }
    let HoldId { slot, generation, key_epoch } = HoldId { slot: 0, generation: 0, key_epoch: 0 };
    let held = HeldRecord { sale: 0, slot, generation, key_epoch, buyer: 1.into(), quantity: 3, deadline: at(60) };
    recovery.replay(Record::Held(held))?;
    recovery.check()
}

#[test]
fn recovery_takes_what_some_cap_allowed_and_refuses_what_none_did() {
    assert_eq!(three_units_under(&[3]), Ok(()));
    assert_eq!(three_units_under(&[1, 4, 2]), Ok(()), "it may have been made under the second one");
    for caps in [&[2][..], &[1, 2, 1]] {
        assert!(three_units_under(caps).unwrap_err().contains("with a cap of 2"));
    }
}

#[test]
fn nothing_is_held_after_the_kill_switch_has_answered() {
    assert_eq!(held_under_a_kill_switch(Engine::pause_all), 0);
}

#[test]
fn control_a_switch_that_answers_too_early_is_found_out() {
    // The fault: it answers, and nothing is paused.
    assert!(held_under_a_kill_switch(|_| Ok(())) > 0);
}

/// How many reservations of three threads began after `halt` had answered, ended before sales were resumed, and got
/// a hold all the same.
fn held_under_a_kill_switch(halt: fn(&Engine) -> Result<(), ChangeError>) -> u64 {
    let world = World::in_memory();
    let sale = world.sale(books(1_000_000).cap(1));
    let (stop, phase) = (AtomicBool::new(false), AtomicU64::new(0));
    let (asked, held) = (AtomicU64::new(0), AtomicU64::new(0));
    thread::scope(|scope| {
        for thread in 0..3_u64 {
            let (sale, stop, phase, asked, held) = (&sale, &stop, &phase, &asked, &held);
            scope.spawn(move || {
                let mut buyer = thread << 32;
                // Relaxed: a test's end, and a test's counts.
                while !stop.load(Ordering::Relaxed) {
                    buyer += 1;
                    // Acquire: what is asked after the answer comes after the halt; the second look comes after it.
                    let before = phase.load(Ordering::Acquire);
                    let answer = sale.reserve(buyer, 1);
                    if before % 2 == 1 && phase.load(Ordering::Acquire) == before {
                        asked.fetch_add(1, Ordering::Relaxed);
                        held.fetch_add(u64::from(answer.is_ok()), Ordering::Relaxed);
                    }
                }
            });
        }
        let patience = std::time::Instant::now() + seconds(20);
        for _round in 0..20 {
            halt(&world.engine).unwrap();
            // Release: pairs with the Acquire of who asks. Odd: it has answered.
            phase.fetch_add(1, Ordering::Release);
            // Relaxed: as above.
            let so_far = asked.load(Ordering::Relaxed);
            while asked.load(Ordering::Relaxed) < so_far + 100 && std::time::Instant::now() < patience {
                thread::yield_now();
            }
            phase.fetch_add(1, Ordering::Release);
            world.engine.resume_all().unwrap();
        }
        // Relaxed: as above.
        stop.store(true, Ordering::Relaxed);
    });
    assert!(sale.audit().holds());
    assert!(asked.into_inner() >= 2_000, "nobody asked while sales were halted");
    held.into_inner()
}

const BUYERS: u64 = 400;
const CAPS: [u32; 4] = [3, 1, 4, 2];

/// A crowd of threads on a driven, journaled engine, and an operator who does everything to the sale; then it is sold
/// out. The highest share of any buyer.
fn crowd_and_operator(highest: u32) -> u32 {
    let parent = tempfile::tempdir().unwrap();
    let dir = parent.path().join("j");
    let engine = Engine::open(&dir).unwrap();
    let spec = SaleSpec::new("crowd", 300).cap(CAPS[0]).largest(2).hold_for(millis(300)).grace(millis(20));
    let sale = engine.create(spec).unwrap();
    let driver = engine.drive_every(millis(2));
    let (stop, refused) = (AtomicBool::new(false), AtomicU64::new(0));
    thread::scope(|scope| {
        for thread in 0..3_u64 {
            let (sale, stop, refused) = (&sale, &stop, &refused);
            scope.spawn(move || {
                let mut step = thread;
                // Relaxed: a test's end, and a test's count.
                while !stop.load(Ordering::Relaxed) {
                    step = step.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                    let (buyer, quantity) = ((step >> 33) % BUYERS, u32::try_from(1 + (step >> 20) % 2).unwrap());
                    match sale.reserve(buyer, quantity) {
                        Ok(hold) if step >> 60 < 9 => drop(hold.confirm(1).unwrap()),
                        Ok(hold) if step >> 60 < 13 => drop(hold.cancel()),
                        Ok(_) => {}
                        Err(_) => drop(refused.fetch_add(1, Ordering::Relaxed)),
                    }
                }
            });
        }
        for round in 0..24_u32 {
            let now = engine.now();
            match round % 8 {
                0 => sale.add_stock(20).unwrap(),
                1 => drop(sale.withdraw(10).unwrap()),
                2 => sale.set_cap(CAPS[round as usize / 8 + 1]).unwrap(),
                3 => sale.move_window(Some(now.plus(millis(5))), Some(now.plus(millis(500)))).unwrap(),
                4 => sale.move_window(None, None).unwrap(),
                5 => sale.pause().unwrap(),
                6 => {
                    engine.pause_all().unwrap();
                    sale.resume().unwrap();
                }
                _ => engine.resume_all().unwrap(),
            }
            assert!(engine.audit().iter().all(|audit| audit.stock == 300));
            thread::sleep(millis(4));
        }
        // Relaxed: as above.
        stop.store(true, Ordering::Relaxed);
    });
    thread::sleep(millis(330));
    drop(driver);
    engine.tick(engine.now().plus(seconds(1)));
    let audit = sale.audit();
    assert!(audit.holds() && audit.held == 0, "{audit}");
    for buyer in 1_000.. {
        match sale.reserve(buyer, 1) {
            Ok(hold) => drop(hold.confirm(1).unwrap().wait().unwrap()),
            Err(rejection) => {
                assert_eq!(rejection, Rejection::SoldOut);
                break;
            }
        }
    }
    let audit = sale.audit();
    assert!(audit.holds() && audit.free == 0 && audit.sold == 300 + audit.added - audit.withdrawn, "{audit}");
    engine.close().unwrap();
    drop(sale);
    let mut shares: HashMap<Buyer, u32> = HashMap::new();
    for order in JournalReader::open(&dir).unwrap() {
        let (_, order) = order.unwrap();
        *shares.entry(order.buyer).or_default() += order.quantity;
    }
    let most = shares.values().copied().max().unwrap();
    assert!(most <= highest, "a buyer has {most} units, and the highest cap was {highest}");
    assert!(Engine::open(&dir).unwrap().audit().iter().all(Audit::holds));
    most
}

#[test]
fn whatever_an_operator_does_to_a_crowd_every_unit_is_somewhere_and_nobody_has_too_many() {
    assert!(crowd_and_operator(4) > 1, "nobody bought twice: the scene is too small");
}

#[test]
#[should_panic(expected = "and the highest cap was 0")]
fn control_a_crowd_that_is_judged_by_a_lower_cap_is_found_guilty() {
    crowd_and_operator(0);
}

#[test]
fn a_spec_as_it_is_in_force_makes_the_same_sale_again() {
    let world = World::in_memory();
    let spec = books(7).cap(3).largest(2).opens_at(at(5)).closes_at(at(9));
    let sale = world.sale(spec.clone());
    assert_eq!(sale.spec(), spec);
    assert!(sale.spec().check().is_ok());
    sale.set_cap(1).unwrap();
    assert_eq!((sale.spec().cap, sale.spec().largest), (1, 1), "it would be a spec that can't be kept otherwise");
    assert!(!matches!(sale.spec().check(), Err(SpecError::Largest { .. })));
}
