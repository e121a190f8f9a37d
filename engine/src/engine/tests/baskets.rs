//! Baskets: all or nothing, one end, one order in each sale; on a manual clock and across crashes.

use super::*;
use crate::{BasketRejection, BasketRules, Baskets, CancelError, Ended, JournalReader, TokenError};

fn tickets(name: &str, stock: u32) -> SaleSpec {
    SaleSpec::new(name, stock).cap(6).largest(4).hold_for(seconds(600)).grace(seconds(2))
}

/// Two sales and their baskets, held a minute.
fn festival(world: &World, stocks: [u32; 2]) -> (Sale, Sale, Baskets) {
    let [day, camp] = stocks;
    let (day, camp) = (world.sale(tickets("day", day)), world.sale(tickets("camp", camp)));
    (day, camp, world.engine.baskets(rules()).unwrap())
}

fn rules() -> BasketRules {
    BasketRules::new().hold_for(seconds(60)).grace(seconds(2))
}

fn units(sale: &Sale) -> (u64, u64, u64) {
    let audit = sale.audit();
    assert!(audit.holds(), "{audit}");
    (audit.free, audit.held, audit.sold)
}

fn why(answer: Result<Basket<'_>, BasketRejection>) -> (String, Rejection) {
    match answer {
        Err(BasketRejection::Sale { sale, why }) => (sale.as_str().to_owned(), why),
        other => panic!("{other:?}"),
    }
}

fn pay_basket(baskets: &Baskets, token: &Token) -> Confirmation {
    baskets.confirm(token, 1).unwrap().wait().unwrap()
}

#[test]
fn a_basket_is_sold_as_a_whole_by_one_payment() {
    let world = World::in_memory();
    let (day, camp, baskets) = festival(&world, [10, 10]);
    let events = world.engine.subscribe(100);
    let basket = baskets.reserve(7, &[(&camp, 1), (&day, 2), (&camp, 2)]).unwrap();
    assert_eq!(basket.deadline(), START.plus(seconds(60)));
    let named = |lines: Vec<BasketLine>| -> Vec<_> {
        lines.iter().map(|line| (line.sale.name().to_owned(), line.quantity, line.order)).collect()
    };
    assert_eq!(named(basket.lines()), [("day".to_owned(), 2, None), ("camp".to_owned(), 3, None)], "camp counts once");
    assert_eq!((units(&day), units(&camp)), ((8, 2, 0), (7, 3, 0)));
    let Confirmation::Confirmed(receipt) = pay_basket(&baskets, &basket.token()) else { panic!("paid in time") };
    assert_eq!((receipt.quantity, receipt.sequence, receipt.order), (5, 1, basket.token()));
    assert_eq!(pay_basket(&baskets, &basket.token()), Confirmation::AlreadyConfirmed(receipt));
    assert_eq!((units(&day), units(&camp)), ((8, 0, 2), (7, 0, 3)));
    let lines = named(baskets.lines(&basket.token()).unwrap());
    assert_eq!(lines, [("day".to_owned(), 2, Some(1)), ("camp".to_owned(), 3, Some(1))]);
    assert_eq!(baskets.cancel(&basket.token()), Err(CancelError::Ended(Ended::Confirmed)));
    let kinds: Vec<EventKind> = std::iter::from_fn(|| events.try_next()).map(|event| event.kind).collect();
    let ours = |kind: &EventKind| match kind {
        EventKind::Held { token, .. } | EventKind::Confirmed { token, .. } => *token == basket.token(),
        _ => false,
    };
    assert!(kinds.len() == 4 && kinds.iter().all(ours), "{kinds:?}");
}

#[test]
fn a_basket_that_lacks_one_unit_takes_none() {
    let world = World::in_memory();
    let (day, camp, baskets) = festival(&world, [10, 2]);
    let wanted = baskets.reserve(7, &[(&day, 4), (&camp, 3)]);
    assert_eq!(why(wanted), ("camp".to_owned(), Rejection::TooFewFree { free: 2 }));
    assert_eq!((units(&day), units(&camp)), ((10, 0, 0), (2, 0, 0)));
    let all = camp.reserve(8, 2).unwrap();
    let due = all.deadline();
    let wanted = baskets.reserve(7, &[(&day, 4), (&camp, 1)]);
    assert_eq!(why(wanted), ("camp".to_owned(), Rejection::AllHeld { on_hold: 2, next_due: due }));
    pay(&camp, &all.token());
    assert_eq!(why(baskets.reserve(7, &[(&day, 4), (&camp, 1)])), ("camp".to_owned(), Rejection::SoldOut));
    assert_eq!(units(&day), (10, 0, 0));
    let _whole = day.reserve(7, 4).unwrap();
    let over = baskets.reserve(7, &[(&day, 3)]);
    assert_eq!(why(over), ("day".to_owned(), Rejection::LimitReached { held: 4, bought: 0, limit: 6 }));
}

#[test]
fn while_a_basket_is_undecided_others_are_told_all_held_and_when() {
    let world = World::in_memory();
    let (day, camp, baskets) = festival(&world, [2, 2]);
    let basket = baskets.reserve(7, &[(&day, 2), (&camp, 2)]).unwrap();
    let held = Rejection::AllHeld { on_hold: 2, next_due: basket.deadline() };
    assert_eq!((day.reserve(8, 1).unwrap_err(), camp.reserve(8, 1).unwrap_err()), (held, held));
    assert_eq!(basket.cancel().unwrap().quantity, 4);
    assert_eq!((units(&day), units(&camp)), ((2, 0, 0), (2, 0, 0)));
    let _had = (day.reserve(8, 2).unwrap(), camp.reserve(8, 2).unwrap());
}

#[test]
fn a_basket_expires_as_a_whole_at_the_end_of_its_grace() {
    let world = World::in_memory();
    let (day, camp, baskets) = festival(&world, [4, 4]);
    let token = baskets.reserve(7, &[(&day, 2), (&camp, 1)]).unwrap().token();
    assert_eq!(world.pass(millis(61_999)).expired, 0);
    assert_eq!((units(&day), units(&camp)), ((2, 2, 0), (3, 1, 0)));
    assert_eq!(world.pass(millis(1)).expired, 1);
    assert_eq!((units(&day), units(&camp)), ((4, 0, 0), (4, 0, 0)));
    assert_eq!(baskets.cancel(&token), Err(CancelError::Ended(Ended::Expired)));
    assert!(matches!(baskets.lines(&token), Err(CancelError::Ended(Ended::Expired))));
}

#[test]
fn an_extended_basket_lives_longer() {
    let world = World::in_memory();
    let (day, camp, baskets) = festival(&world, [4, 4]);
    let token = baskets.reserve(7, &[(&day, 2), (&camp, 1)]).unwrap().token();
    world.clock.advance(seconds(60));
    assert_eq!(baskets.extend(&token, seconds(30)), Ok(START.plus(seconds(90))));
    assert_eq!(world.pass(millis(31_999)).expired, 0);
    assert_eq!(world.pass(millis(1)).expired, 1);
    assert_eq!((units(&day), units(&camp)), ((4, 0, 0), (4, 0, 0)));
}

#[test]
fn a_basket_that_is_paid_late_gets_everything_again_or_nothing() {
    for (taken, whole) in [(0, true), (3, true), (4, false)] {
        let world = World::in_memory();
        let (day, camp, baskets) = festival(&world, [5, 5]);
        let token = baskets.reserve(7, &[(&day, 2), (&camp, 1)]).unwrap().token();
        world.pass(seconds(62));
        for buyer in 0..taken {
            let _held = day.reserve(100 + buyer, 1).unwrap();
        }
        match pay_basket(&baskets, &token) {
            Confirmation::PaidLate(receipt) => {
                assert!(whole && receipt.quantity == 3);
                assert_eq!(pay_basket(&baskets, &token), Confirmation::AlreadyConfirmed(receipt));
                assert_eq!((units(&day).2, units(&camp).2), (2, 1));
                let lines = baskets.lines(&token).unwrap();
                assert!(
                    lines.len() == 2 && lines.iter().all(|line| line.order == Some(1)),
                    "what was sold in its place"
                );
            }
            Confirmation::PaidLateSoldOut => {
                assert!(!whole);
                assert_eq!((units(&day), units(&camp)), ((1, 4, 0), (5, 0, 0)), "no half of it");
                day.cancel(&hold(&day, 300)).unwrap();
                assert_eq!(pay_basket(&baskets, &token), Confirmation::PaidLateSoldOut, "the refund is on its way");
            }
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_late_basket_respects_the_cap_and_a_refund_stays_one() {
    let world = World::in_memory();
    let (day, camp, baskets) = festival(&world, [20, 20]);
    let token = baskets.reserve(7, &[(&day, 4), (&camp, 1)]).unwrap().token();
    world.pass(seconds(62));
    let other = day.reserve(7, 3).unwrap().token();
    assert_eq!(pay_basket(&baskets, &token), Confirmation::PaidLateOverCap);
    day.cancel(&other).unwrap();
    assert_eq!(pay_basket(&baskets, &token), Confirmation::PaidLateOverCap);
    let cancelled = baskets.reserve(8, &[(&day, 1)]).unwrap();
    let token = cancelled.token();
    cancelled.cancel().unwrap();
    assert_eq!(pay_basket(&baskets, &token), Confirmation::CancelledBefore);
}

#[test]
fn what_can_be_no_basket_is_said_and_takes_nothing() {
    let (world, elsewhere) = (World::in_memory(), World::in_memory());
    let (day, _camp, baskets) = festival(&world, [10, 10]);
    assert!(matches!(baskets.reserve(7, &[]), Err(BasketRejection::Empty)));
    let zero = Rejection::BadQuantity { asked: 0, largest: 4 };
    assert_eq!(why(baskets.reserve(7, &[(&day, 0)])), ("day".to_owned(), zero));
    let twice = Rejection::BadQuantity { asked: 5, largest: 4 };
    assert_eq!(why(baskets.reserve(7, &[(&day, 3), (&day, 2)])), ("day".to_owned(), twice), "twice counts together");
    let more: Vec<Sale> = (0..9).map(|number| world.sale(tickets(&format!("more-{number}"), 9))).collect();
    let all: Vec<(&Sale, u32)> = more.iter().map(|sale| (sale, 1)).collect();
    assert!(matches!(baskets.reserve(7, &all), Err(BasketRejection::TooManySales { asked: 9 })));
    let foreign = elsewhere.sale(tickets("day", 5));
    assert!(matches!(baskets.reserve(7, &[(&foreign, 1)]), Err(BasketRejection::OtherEngine { .. })));
    day.pause().unwrap();
    assert_eq!(why(baskets.reserve(7, &[(&more[0], 1), (&day, 1)])), ("day".to_owned(), Rejection::Paused));
    assert!(world.engine.audit().iter().all(|audit| audit.held == 0 && audit.holds()));
    assert_eq!(world.engine.audit().len(), 11, "the sale of all baskets is nobody's");
    assert!(world.engine.sale("*baskets").is_err());
}

#[test]
fn a_baskets_token_and_a_sales_token_are_told_apart() {
    let world = World::in_memory();
    let (day, camp, baskets) = festival(&world, [10, 10]);
    let basket = baskets.reserve(7, &[(&day, 1), (&camp, 1)]).unwrap().token();
    let single = hold(&day, 8);
    assert_eq!(day.cancel(&basket), Err(CancelError::Token(TokenError::Basket)));
    let refusal = baskets.cancel(&single);
    assert!(matches!(refusal, Err(CancelError::Token(TokenError::OtherSale { sale })) if sale.as_str() == "day"));
    assert_eq!((units(&day).1, units(&camp).1), (2, 1));
}

#[test]
fn there_can_be_more_baskets_than_at_first() {
    for ticks in [true, false] {
        let world = World::in_memory();
        let day = world.sale(tickets("day", 1_000));
        let baskets = world.engine.baskets(rules()).unwrap();
        let mut tokens = Vec::new();
        for buyer in 0..500 {
            tokens.push(baskets.reserve(buyer, &[(&day, 2)]).unwrap().token());
            if ticks {
                world.engine.tick(world.engine.now());
            }
        }
        for token in &tokens {
            assert!(matches!(pay_basket(&baskets, token), Confirmation::Confirmed(_)));
        }
        assert_eq!(units(&day), (0, 0, 1_000));
    }
}

#[test]
fn baskets_that_want_the_same_units_in_other_orders_never_all_go_away_empty() {
    for _ in 0..300 {
        let world = World::in_memory();
        let (day, camp, baskets) = festival(&world, [1, 1]);
        let barrier = std::sync::Barrier::new(3);
        let got: usize = thread::scope(|scope| {
            let ask = |buyer: u64| {
                let (barrier, baskets, day, camp) = (&barrier, &baskets, &day, &camp);
                scope.spawn(move || {
                    barrier.wait();
                    let items: [(&Sale, u32); 2] =
                        if buyer.is_multiple_of(2) { [(day, 1), (camp, 1)] } else { [(camp, 1), (day, 1)] };
                    match baskets.reserve(buyer, &items) {
                        Ok(_) => 1,
                        Err(BasketRejection::Sale { why: Rejection::AllHeld { .. }, .. }) => 0,
                        other => panic!("{other:?}"),
                    }
                })
            };
            [ask(1), ask(2), ask(3)].map(|thread| thread.join().unwrap()).into_iter().sum()
        });
        assert_eq!(got, 1, "one basket could be had");
        assert_eq!((units(&day), units(&camp)), ((0, 1, 0), (0, 1, 0)));
    }
}

#[test]
fn one_of_payment_cancellation_and_expiry_ends_all_of_a_basket() {
    for round in 0..200 {
        let world = World::in_memory();
        let (day, camp, baskets) = festival(&world, [3, 3]);
        let token = baskets.reserve(7, &[(&day, 2), (&camp, 1)]).unwrap().token();
        world.clock.advance(seconds(62));
        let barrier = std::sync::Barrier::new(3);
        let (paid, cancelled) = thread::scope(|scope| {
            let pay = scope.spawn(|| {
                barrier.wait();
                pay_basket(&baskets, &token)
            });
            let cancel = scope.spawn(|| {
                barrier.wait();
                baskets.cancel(&token)
            });
            barrier.wait();
            world.engine.tick(world.engine.now());
            (pay.join().unwrap(), cancel.join().unwrap())
        });
        let whole = (units(&day), units(&camp));
        match (paid, cancelled) {
            (Confirmation::PaidLate(_), _) => assert_eq!(whole, ((1, 0, 2), (2, 0, 1)), "round {round}"),
            (Confirmation::CancelledBefore, Ok(_)) => assert_eq!(whole, ((3, 0, 0), (3, 0, 0)), "round {round}"),
            other => panic!("round {round}: {other:?}"),
        }
    }
}

/// Opens a copy of the journal as a crash would leave it.
fn after_a_crash(dir: &Path, now: Timestamp) -> (tempfile::TempDir, World, Sale, Sale, Baskets) {
    let (parent, dir) = copy(dir);
    let world = World::open_at(&dir, now);
    let (day, camp) = (world.engine.sale("day").unwrap(), world.engine.sale("camp").unwrap());
    let baskets = world.engine.baskets(BasketRules::new()).unwrap();
    (parent, world, day, camp, baskets)
}

#[test]
fn a_basket_comes_back_from_the_journal_as_it_was() {
    let (_parent, dir) = folder();
    let world = World::open(&dir);
    let (day, camp, baskets) = festival(&world, [9, 9]);
    let held = baskets.reserve(1, &[(&day, 2), (&camp, 1)]).unwrap().token();
    let sold = baskets.reserve(2, &[(&day, 1), (&camp, 3)]).unwrap().token();
    let gone = baskets.reserve(3, &[(&day, 1), (&camp, 1)]).unwrap().token();
    let Confirmation::Confirmed(receipt) = pay_basket(&baskets, &sold) else { panic!("in time") };
    baskets.cancel(&gone).unwrap();
    baskets.extend(&held, seconds(10)).unwrap();
    world.engine.sync().unwrap();
    let (_copied, later, day, camp, baskets) = after_a_crash(&dir, START.plus(seconds(5)));
    assert_eq!((units(&day), units(&camp)), ((6, 2, 1), (5, 1, 3)));
    assert_eq!(pay_basket(&baskets, &sold), Confirmation::AlreadyConfirmed(receipt));
    assert_eq!(pay_basket(&baskets, &gone), Confirmation::CancelledBefore);
    let lines = baskets.lines(&held).unwrap();
    assert_eq!(
        lines.iter().map(|line| (line.sale.name(), line.quantity)).collect::<Vec<_>>(),
        [("day", 2), ("camp", 1)]
    );
    later.pass(seconds(66));
    assert_eq!(units(&day).1, 2, "it was extended");
    later.pass(seconds(1));
    assert_eq!((units(&day), units(&camp)), ((8, 0, 1), (6, 0, 3)));
    assert!(matches!(pay_basket(&baskets, &held), Confirmation::PaidLate(receipt) if receipt.quantity == 3));
}

#[test]
fn the_orders_of_a_basket_stand_in_the_journal_of_each_sale_under_its_token() {
    let (_parent, dir) = folder();
    let world = World::open(&dir);
    let (day, camp, baskets) = festival(&world, [9, 9]);
    pay(&day, &hold(&day, 4));
    let token = baskets.reserve(1, &[(&day, 2), (&camp, 1)]).unwrap().token();
    pay_basket(&baskets, &token);
    let read = JournalReader::open(&dir).unwrap().collect::<Result<Vec<_>, _>>().unwrap();
    let orders: Vec<_> = read.iter().map(|(sale, sold)| (sale.as_str(), sold.sequence, sold.quantity)).collect();
    assert_eq!(orders, [("day", 1, 1), ("day", 2, 2), ("camp", 1, 1)]);
    assert_eq!((&read[1].1.order, &read[2].1.order), (&format!("{token}-1"), &format!("{token}-2")));
    let source = world.engine.source().unwrap().unwrap();
    for (sale, audit) in [("day", day.audit()), ("camp", camp.audit())] {
        let (mut fed, mut digest) = (Vec::new(), Digest::default());
        while fed.len() < usize::try_from(audit.orders).unwrap() {
            source.read(sale, u64::try_from(fed.len()).unwrap(), 10, &mut fed).unwrap();
        }
        let there: Vec<_> = read.iter().filter(|(name, _)| name == sale).map(|(_, sold)| sold.clone()).collect();
        assert_eq!(fed, there);
        for sold in &fed {
            digest.add(sold.sequence, sold.buyer, sold.quantity);
        }
        assert_eq!(digest, audit.digest);
    }
    assert_eq!(source.sales().len(), 2);
}

#[test]
fn a_crash_between_the_ends_of_its_parts_leaves_no_half_of_a_basket() {
    // The basket is cancelled, and a unit of one of its sales is sold to another buyer before the next tick: only that
    // sale's ends are in the journal.
    for reused in ["day", "camp"] {
        let (_parent, dir) = folder();
        let world = World::open(&dir);
        let (day, camp, baskets) = festival(&world, [1, 1]);
        let token = baskets.reserve(1, &[(&day, 1), (&camp, 1)]).unwrap().token();
        world.engine.sync().unwrap();
        baskets.cancel(&token).unwrap();
        let sale = if reused == "day" { &day } else { &camp };
        pay(sale, &hold(sale, 2));
        let (_copied, _world, day, camp, baskets) = after_a_crash(&dir, START.plus(seconds(1)));
        let sold_and_free = if reused == "day" { ((0, 0, 1), (1, 0, 0)) } else { ((1, 0, 0), (0, 0, 1)) };
        assert_eq!((units(&day), units(&camp)), sold_and_free, "{reused} was sold again");
        let answer = pay_basket(&baskets, &token);
        assert!(matches!(answer, Confirmation::CancelledBefore | Confirmation::HoldForgotten), "{answer:?}");
    }
}

#[test]
fn control_a_recovery_that_keeps_halves_is_caught() {
    let (_parent, dir) = folder();
    let world = World::open(&dir);
    let (day, camp, baskets) = festival(&world, [1, 1]);
    let token = baskets.reserve(1, &[(&day, 1), (&camp, 1)]).unwrap().token();
    world.engine.sync().unwrap();
    baskets.cancel(&token).unwrap();
    pay(&day, &hold(&day, 2));
    let mut recovery = Recovery::default();
    let mut tail = crate::journal::Tail::open(&dir).unwrap();
    let mut frame = Vec::new();
    while tail.next_frame(None, &mut frame).unwrap() {
        frame.drain(..).for_each(|record| recovery.replay(record).unwrap());
    }
    // Without ending halves the other part stays on hold for nobody.
    let setting = Setting { stripes: 1, cap_key: [0; 16], journaled: true };
    let (catalogue, _) = recovery.finish(&setting);
    let audit = catalogue.sales.iter().find(|sale| &*sale.name == "camp").unwrap().audit();
    assert_eq!((audit.held, audit.free), (1, 0), "the half that the other tests would find");
    assert_eq!(units(&camp), (1, 0, 0));
}

#[test]
fn an_expired_basket_that_was_never_written_as_held_can_be_paid_late_after_a_crash() {
    let (_parent, dir) = folder();
    let world = World::open(&dir);
    let (day, camp, baskets) = festival(&world, [3, 3]);
    let token = baskets.reserve(1, &[(&day, 2), (&camp, 1)]).unwrap().token();
    world.pass(seconds(62));
    let (_copied, _world, day, camp, baskets) = after_a_crash(&dir, START.plus(seconds(63)));
    assert_eq!((units(&day), units(&camp)), ((3, 0, 0), (3, 0, 0)));
    assert!(matches!(pay_basket(&baskets, &token), Confirmation::PaidLate(receipt) if receipt.quantity == 3));
    assert_eq!((units(&day), units(&camp)), ((1, 0, 2), (2, 0, 1)));
}

#[test]
fn a_late_payment_is_answered_the_same_after_a_crash() {
    let (_parent, dir) = folder();
    let world = World::open(&dir);
    let (day, camp, baskets) = festival(&world, [3, 3]);
    let again = baskets.reserve(1, &[(&day, 1), (&camp, 1)]).unwrap().token();
    let refused = baskets.reserve(2, &[(&day, 2), (&camp, 2)]).unwrap().token();
    world.pass(seconds(62));
    let Confirmation::PaidLate(receipt) = pay_basket(&baskets, &again) else { panic!("there was enough") };
    let _rest = camp.reserve(3, 1).unwrap();
    assert_eq!(pay_basket(&baskets, &refused), Confirmation::PaidLateSoldOut);
    let (_copied, _world, day, camp, baskets) = after_a_crash(&dir, START.plus(seconds(63)));
    assert_eq!(pay_basket(&baskets, &again), Confirmation::AlreadyConfirmed(receipt));
    assert_eq!(pay_basket(&baskets, &refused), Confirmation::PaidLateSoldOut);
    assert_eq!((units(&day), units(&camp).2), ((2, 0, 1), 1));
}
