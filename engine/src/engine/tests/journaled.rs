//! What comes back after a crash, and what the journal, the reader and the feed say of it.

use std::future::Future;

use super::*;
use crate::{
    CancelError, ConfirmError, Durability, Ended, JournalReader, TokenError,
    journal::{Change, Fault, SimDisk},
};

#[test]
fn acknowledged_sales_and_journaled_holds_come_back_with_their_tokens() {
    let (_parent, dir) = folder();
    let world = World::open(&dir);
    let sale = world.sale(books(5).cap(2));
    let (sold, held, cancelled) = (hold(&sale, 1), hold(&sale, 2), hold(&sale, 3));
    sale.cancel(&cancelled).unwrap();
    let Confirmation::Confirmed(receipt) = pay(&sale, &sold) else { panic!("in time") };
    world.engine.sync().unwrap();
    let before = sale.audit();

    let (_copied, dir) = copy(&dir);
    let world = World::open_at(&dir, START.plus(seconds(30)));
    let sale = world.engine.sale("books").unwrap();
    assert_eq!(sale.audit(), before);
    assert_eq!(pay(&sale, &sold), Confirmation::AlreadyConfirmed(receipt));
    assert_eq!(sale.cancel(&cancelled).unwrap_err(), CancelError::Ended(Ended::Cancelled));
    assert!(sale.reserve(1, 1).is_ok() && sale.reserve(1, 1).is_err(), "what was bought counts against the cap");
    assert_eq!(world.pass(millis(31_999)).expired, 0, "the deadline is the one from before");
    assert!(matches!(pay(&sale, &held), Confirmation::Confirmed(receipt) if receipt.sequence == 2));
}

#[test]
fn a_deadline_goes_on_across_a_restart_and_a_clock_that_was_set_back() {
    for reopened_at in [START.plus(seconds(40)), START.plus(seconds(10)), Timestamp::from_millis(7)] {
        let (_parent, dir) = folder();
        {
            let world = World::open(&dir);
            let sale = world.sale(books(1));
            world.clock.advance(seconds(20));
            let _token = hold(&sale, 1);
            world.pass(seconds(10));
            pay(&world.sale(SaleSpec::new("other", 1)), &hold(&world.engine.sale("other").unwrap(), 1));
        }
        let world = World::open_at(&dir, reopened_at);
        let sale = world.engine.sale("books").unwrap();
        let now = reopened_at.max(START.plus(seconds(30)));
        assert_eq!(world.engine.now(), now);
        let left = START.plus(seconds(82)).since(now);
        assert_eq!(world.pass(left.saturating_sub(millis(1))).expired, 0);
        assert_eq!(world.pass(millis(1)).expired, 1);
        assert!(sale.reserve(2, 1).is_ok());
    }
}

#[test]
fn a_hold_that_the_journal_lost_is_forgotten_and_touches_nothing() {
    let (_parent, dir) = folder();
    let world = World::open(&dir);
    let sale = world.sale(books(1));
    let lost = hold(&sale, 1);
    let (_copied, dir) = copy(&dir);
    let world = World::open(&dir);
    let sale = world.engine.sale("books").unwrap();
    let living = hold(&sale, 2);
    assert_eq!(pay(&sale, &lost), Confirmation::HoldForgotten);
    assert_eq!(sale.cancel(&lost).unwrap_err(), CancelError::Ended(Ended::LongAgo));
    assert!(matches!(pay(&sale, &living), Confirmation::Confirmed(receipt) if receipt.buyer == Buyer::from(2)));
}

#[test]
fn late_decisions_stand_after_a_restart() {
    let (_parent, dir) = folder();
    let world = World::open(&dir);
    let sale = world.sale(books(2));
    let (late, refused, unpaid) = (hold(&sale, 1), hold(&sale, 2), world.sale(SaleSpec::new("b", 1)));
    let unpaid_token = hold(&unpaid, 9);
    world.engine.tick(world.engine.now());
    world.pass(seconds(902));
    let taken = hold(&sale, 3);
    let Confirmation::PaidLate(receipt) = pay(&sale, &late) else { panic!("one unit was free") };
    assert_eq!(pay(&sale, &refused), Confirmation::PaidLateSoldOut);
    sale.cancel(&taken).unwrap();
    world.engine.sync().unwrap();
    let (_copied, dir) = copy(&dir);
    let world = World::open_at(&dir, START.plus(seconds(905)));
    let sale = world.engine.sale("books").unwrap();
    assert_eq!(pay(&sale, &late), Confirmation::AlreadyConfirmed(receipt));
    assert_eq!(pay(&sale, &refused), Confirmation::PaidLateSoldOut);
    let unpaid = world.engine.sale("b").unwrap();
    assert!(matches!(pay(&unpaid, &unpaid_token), Confirmation::PaidLate(_)));
}

/// A hold is journaled, then something is done that rests on its end, and the process is killed before the next tick.
fn after_a_hold_has_ended(stock: u32, then: impl Fn(&World, &Sale, Token)) -> (Audit, Confirmation) {
    let (_parent, dir) = folder();
    let world = World::open(&dir);
    let sale = world.sale(books(stock));
    let ended = hold(&sale, 1);
    world.engine.sync().unwrap();
    then(&world, &sale, ended);
    let (_copied, dir) = copy(&dir);
    let world = World::open_at(&dir, START.plus(seconds(1)));
    let sale = world.engine.sale("books").unwrap();
    let audit = sale.audit();
    assert!(audit.holds(), "{audit}");
    (audit, pay(&sale, &ended))
}

#[test]
fn an_order_never_outlives_the_end_of_the_hold_whose_unit_it_has() {
    let (audit, answer) = after_a_hold_has_ended(1, |_, sale, ended| {
        sale.cancel(&ended).unwrap();
        assert!(matches!(pay(sale, &hold(sale, 2)), Confirmation::Confirmed(_)));
    });
    assert_eq!((audit.sold, audit.held), (1, 0));
    assert!(matches!(answer, Confirmation::CancelledBefore | Confirmation::HoldForgotten), "{answer:?}");
}

#[test]
fn an_order_never_outlives_the_end_of_the_hold_whose_share_it_has() {
    let (audit, answer) = after_a_hold_has_ended(600, |_, sale, ended| {
        sale.cancel(&ended).unwrap();
        assert!(matches!(pay(sale, &hold(sale, 1)), Confirmation::Confirmed(_)));
    });
    assert_eq!((audit.sold, audit.held), (1, 0));
    assert!(matches!(answer, Confirmation::CancelledBefore | Confirmation::HoldForgotten), "{answer:?}");
}

#[test]
fn a_withdrawal_never_outlives_the_end_of_the_hold_whose_unit_it_took() {
    let (audit, answer) = after_a_hold_has_ended(1, |_, sale, ended| {
        sale.cancel(&ended).unwrap();
        assert_eq!(sale.withdraw(1).unwrap(), 1);
    });
    assert_eq!((audit.sold, audit.held, audit.withdrawn), (0, 0, 1));
    assert_eq!(answer, Confirmation::CancelledBefore);
}

#[test]
fn an_order_in_the_place_of_an_expired_hold_keeps_its_answer_when_the_expiry_is_written_after_it() {
    let (_parent, dir) = folder();
    let world = World::open(&dir);
    let sale = world.sale(books(2));
    let late = hold(&sale, 1);
    world.engine.sync().unwrap();
    // What a tick does, cut between the expiry and its record.
    let id = sale.open_token(&late).unwrap();
    let mut expired = Vec::new();
    let now = START.plus(seconds(62));
    world.clock.advance_to(now);
    sale.inner.allocator.expire(
        sale.inner.offset(now),
        0,
        |_| (),
        |id, share, ()| {
            sale.inner.late.lock().set(id, late::Late::Expired(share));
            expired.push(tick::Expired { id, share, lines: Vec::new() });
        },
    );
    let Confirmation::PaidLate(receipt) = pay(&sale, &late) else { panic!("a unit is free") };
    world.engine.inner.write_expired(&sale.inner, &expired, now);
    assert_eq!(expired[0].id, id);
    world.engine.sync().unwrap();
    let (_copied, dir) = copy(&dir);
    let world = World::open_at(&dir, now);
    let sale = world.engine.sale("books").unwrap();
    assert_eq!(pay(&sale, &late), Confirmation::AlreadyConfirmed(receipt));
    assert_eq!((sale.audit().sold, sale.audit().free), (1, 1));
}

#[test]
fn a_refund_for_an_ended_hold_stays_a_refund_after_a_crash() {
    for used_again in [false, true] {
        let (_audit, answer) = after_a_hold_has_ended(1, |_, sale, ended| {
            sale.cancel(&ended).unwrap();
            if used_again {
                sale.cancel(&hold(sale, 2)).unwrap();
                let _living = hold(sale, 3);
            }
            let answer = pay(sale, &ended);
            assert!(matches!(answer, Confirmation::CancelledBefore | Confirmation::HoldForgotten), "{answer:?}");
        });
        assert!(matches!(answer, Confirmation::CancelledBefore | Confirmation::HoldForgotten), "{answer:?}");
    }
}

#[test]
fn a_late_sale_is_never_forgotten() {
    let (_parent, dir) = folder();
    let world = World::open(&dir);
    let sale = world.sale(books(600));
    let late = hold(&sale, 1);
    world.pass(seconds(62));
    let Confirmation::PaidLate(receipt) = pay(&sale, &late) else { panic!("a unit is free") };
    for _ in 0..3 {
        let _unpaid: Vec<Token> = (2..600).map(|buyer| hold(&sale, buyer)).collect();
        assert_eq!(world.pass(seconds(62)).expired, 598);
    }
    assert_eq!(pay(&sale, &late), Confirmation::AlreadyConfirmed(receipt), "a refund of what was shipped");
    let (_copied, dir) = copy(&dir);
    let world = World::open_at(&dir, world.engine.now());
    assert_eq!(pay(&world.engine.sale("books").unwrap(), &late), Confirmation::AlreadyConfirmed(receipt));
}

#[test]
fn after_a_failure_no_driver_is_kept_busy_and_the_outcome_is_known_after_reopening() {
    let disk = SimDisk::new(7);
    let options = || Engine::options().clock(Arc::new(ManualClock::starting_at(START)));
    let open = |disk: &SimDisk| options().open_on(Arc::new(disk.clone()), JournalOptions::at(START)).unwrap();
    let engine = open(&disk);
    let sale = engine.create(books(1)).unwrap();
    let token = hold(&sale, 1);
    let pending = sale.confirm(&token, 1).unwrap();
    disk.fault_at(disk.calls() + 2, Fault::Error(std::io::ErrorKind::StorageFull));
    assert!(matches!(pending.wait(), Err(ConfirmError::OutcomeUnknown(_))));
    let journal = engine.inner.journal.as_ref().unwrap();
    assert!(!journal.has_pending(), "a driver would commit for ever");
    assert!(matches!(sale.confirm(&token, 1), Err(ConfirmError::Stopped(_))));
    assert_eq!(sale.cancel(&token).unwrap_err(), CancelError::Ended(Ended::BeingConfirmed));
    assert_eq!(sale.reserve(2, 1).unwrap_err(), Rejection::Paused);
    let engine = open(&disk.copy());
    let sale = engine.sale("books").unwrap();
    assert!(matches!(pay(&sale, &token), Confirmation::AlreadyConfirmed(_)), "the write had come through");
}

#[test]
fn a_journal_in_which_more_is_sold_than_there_was_is_refused() {
    let (_parent, dir) = folder();
    let world = World::open(&dir);
    let sale = world.sale(books(1));
    pay(&sale, &hold(&sale, 1));
    // The fault: a stock that shrinks below what is sold.
    let change = Change::Withdrawn { units: 1 };
    world.engine.inner.write_change(&sale.inner, change).unwrap();
    drop((sale, world));
    assert!(matches!(Engine::open(&dir), Err(OpenError::Contradiction { .. })));
}

#[test]
fn changes_of_operators_come_back() {
    let (_parent, dir) = folder();
    let world = World::open(&dir);
    let sale = world.sale(books(10).audience(crate::Audience::Registered));
    sale.register(&(0..500).map(Buyer::from).collect::<Vec<_>>()).unwrap();
    sale.add_stock(300).unwrap();
    let tokens: Vec<Token> = (0..200).map(|buyer| hold(&sale, buyer)).collect();
    assert_eq!(sale.withdraw(50).unwrap(), 50);
    sale.pause().unwrap();
    world.sale(SaleSpec::new("closed", 3)).close().unwrap();
    world.engine.clone().close().unwrap();
    let before = world.engine.audit();
    assert!(matches!(sale.confirm(&tokens[0], 1), Err(ConfirmError::Stopped(JournalError::Closed))));
    drop((sale, world));
    let world = World::open(&dir);
    assert_eq!(world.engine.audit(), before);
    let sale = world.engine.sale("books").unwrap();
    assert_eq!((sale.state(), world.engine.sale("closed").unwrap().state()), (SaleState::Paused, SaleState::Closed));
    for token in &tokens {
        assert!(matches!(pay(&sale, token), Confirmation::Confirmed(_)));
    }
    sale.resume().unwrap();
    assert_eq!(sale.reserve(501, 1).unwrap_err(), Rejection::NotEligible);
    let _rest: Vec<Token> = (200..260).map(|buyer| hold(&sale, buyer)).collect();
    assert!(matches!(sale.reserve(300, 1).unwrap_err(), Rejection::AllHeld { on_hold: 60, .. }));
}

#[test]
fn memory_journal_and_reader_tell_the_same_digest() {
    let (_parent, dir) = folder();
    let world = World::open(&dir);
    let sale = world.sale(books(1_000).cap(3).largest(3));
    for buyer in 0..300 {
        let quantity = u32::try_from(buyer % 3 + 1).unwrap();
        pay(&sale, &sale.reserve(buyer, quantity).unwrap().token());
    }
    let audit = sale.audit();
    assert_eq!((audit.orders, audit.sold, audit.holds()), (300, 600, true));
    let mut digest = Digest::default();
    for (number, order) in (1..).zip(JournalReader::open(&dir).unwrap()) {
        let (name, order) = order.unwrap();
        assert_eq!((name.as_str(), order.sequence), ("books", number));
        digest.add(order.sequence, order.buyer, order.quantity);
        let token: Token = order.order.parse().unwrap();
        assert!(matches!(pay(&sale, &token), Confirmation::AlreadyConfirmed(receipt) if receipt.sequence == number));
    }
    assert_eq!(digest, audit.digest);
    drop((sale, world));
    assert_eq!(World::open(&dir).engine.sale("books").unwrap().audit(), audit);
}

#[test]
fn the_feed_gives_every_order_once_from_any_place() {
    let (_parent, dir) = folder();
    let world = World::open(&dir);
    let sales = ["a", "b"].map(|name| world.sale(SaleSpec::new(name, 3_000)));
    let source = world.engine.source().unwrap().unwrap();
    let mut pending = Vec::new();
    for buyer in 0..3_000 {
        for sale in &sales {
            pending.push(sale.confirm(&hold(sale, buyer), buyer).unwrap());
        }
        if buyer % 100 == 99 {
            pending.drain(..).for_each(|pending| assert!(pending.wait().is_ok()));
        }
    }
    for head in source.sales() {
        assert_eq!(head.last, 3_000);
    }
    for (sale, after, limit) in [("a", 0, 10_000), ("b", 2_990, 100), ("b", 0, 7), ("a", 1_234, 600), ("b", 3_000, 5)] {
        let mut orders = Vec::new();
        source.read(sale, after, limit, &mut orders).unwrap();
        let sequences: Vec<u64> = orders.iter().map(|order| order.sequence).collect();
        let expected: Vec<u64> = (after + 1..=3_000).take(limit).collect();
        assert!(!sequences.is_empty() || expected.is_empty());
        assert_eq!(sequences, expected[..sequences.len()], "{sale} after {after}");
    }
}

#[test]
fn the_feed_gives_what_a_model_gives_while_sales_go_on() {
    let (_parent, dir) = folder();
    let world = World::open(&dir);
    let names = ["a", "b", "c"];
    let sales = names.map(|name| world.sale(SaleSpec::new(name, 3_000)));
    let source = world.engine.source().unwrap().unwrap();
    let (mut sold, mut random) = ([0_u64; 3], 1_u64);
    let mut below = |bound: u64| {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (random >> 33) % bound
    };
    for _ in 0..400 {
        let number = usize::try_from(below(3)).unwrap();
        let (sale, sold) = (&sales[number], &mut sold[number]);
        if below(3) == 0 {
            // One frame, or several: with gaps between the places of the index, and more than the feed keeps.
            for _ in 0..below(40) {
                let pending = sale.confirm(&hold(sale, *sold), *sold + 1).unwrap();
                *sold += 1;
                if below(4) == 0 {
                    pending.wait().unwrap();
                }
            }
            world.engine.sync().unwrap();
        }
        let (after, limit) = (below(*sold + 2), usize::try_from(below(70) + 1).unwrap());
        let mut orders = Vec::new();
        source.read(names[number], after, limit, &mut orders).unwrap();
        let sequences: Vec<u64> = orders.iter().map(|order| order.sequence).collect();
        let expected: Vec<u64> = (after + 1..=*sold).take(limit).collect();
        assert!(!sequences.is_empty() || expected.is_empty(), "nothing after {after} of {sold}");
        assert_eq!(sequences, expected[..sequences.len()], "after {after} of {sold}, at most {limit}");
        assert!(orders.iter().all(|order| order.payment == order.sequence.into()));
    }
}

#[test]
fn reading_again_goes_no_further_than_it_must() {
    let disk = SimDisk::new(5);
    let clock = Arc::new(ManualClock::starting_at(START));
    let engine = Engine::options().clock(clock).open_on(Arc::new(disk.clone()), JournalOptions::at(START)).unwrap();
    let [few, many] = ["few", "many"].map(|name| engine.create(SaleSpec::new(name, 3_000)).unwrap());
    let source = engine.source().unwrap().unwrap();
    let read = |sale: &str, after| {
        let mut orders = Vec::new();
        source.read(sale, after, 1_000, &mut orders).unwrap();
        orders.len()
    };
    pay(&few, &hold(&few, 1));
    for buyer in 0..1_000 {
        pay(&many, &hold(&many, buyer));
    }
    assert_eq!((read("few", 0), read("few", 1), read("many", 1_000)), (1, 0, 0));
    // What lies behind the only order of this sale is none of its business.
    disk.with_file("00000001.journal", |bytes| bytes[64 << 10..].fill(7));
    assert_eq!(read("few", 0), 1);
}

#[test]
fn only_what_is_durable_is_fed_and_buffered_confirmations_answer_at_once() {
    let (_parent, dir) = folder();
    let clock = Arc::new(ManualClock::starting_at(START));
    let engine = Engine::options().clock(clock).durability(Durability::Buffered).open(&dir).unwrap();
    let sale = engine.create(books(5)).unwrap();
    let source = engine.source().unwrap().unwrap();
    let token = hold(&sale, 1);
    let pending = sale.confirm(&token, 1).unwrap();
    assert!(pending.is_done());
    let Confirmation::Confirmed(receipt) = pending.wait().unwrap() else { panic!("in time") };
    assert_eq!((source.sales()[0].last, sale.audit().sold), (0, 0));
    assert_eq!(pay(&sale, &token), Confirmation::AlreadyConfirmed(receipt), "waits for the first one");
    assert_eq!((source.sales()[0].last, sale.audit().sold), (1, 1));
}

#[test]
fn a_confirmation_that_waits_for_the_disk_neither_expires_nor_is_cancelled() {
    let (_parent, dir) = folder();
    let world = World::open(&dir);
    let sale = world.sale(books(1));
    let token = hold(&sale, 1);
    let pending = sale.confirm(&token, 1).unwrap();
    assert!(!pending.is_done());
    assert_eq!(sale.cancel(&token).unwrap_err(), CancelError::Ended(Ended::BeingConfirmed));
    world.clock.advance(seconds(100));
    assert_eq!(sale.inner.allocator.count().held, 1);
    assert_eq!(world.engine.tick(world.engine.now()).expired, 0);
    assert!(matches!(pending.wait().unwrap(), Confirmation::Confirmed(_)));
}

#[test]
fn a_confirmation_can_be_awaited_with_and_without_a_driver() {
    struct Unpark(thread::Thread);
    impl std::task::Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let block_on = |pending: Pending| {
        let mut pending = std::pin::pin!(pending);
        let waker = Arc::new(Unpark(thread::current())).into();
        let mut context = std::task::Context::from_waker(&waker);
        loop {
            if let std::task::Poll::Ready(answer) = pending.as_mut().poll(&mut context) {
                return answer;
            }
            thread::park();
        }
    };
    let (_parent, dir) = folder();
    let world = World::open(&dir);
    let sale = world.sale(books(2));
    let alone = sale.confirm(&hold(&sale, 1), 1).unwrap();
    assert!(matches!(block_on(alone), Ok(Confirmation::Confirmed(_))));
    let _driver = world.engine.drive();
    let driven = sale.confirm(&hold(&sale, 2), 2).unwrap();
    assert!(matches!(block_on(driven), Ok(Confirmation::Confirmed(_))));
}

#[test]
fn a_second_engine_on_the_same_folder_is_refused() {
    let (_parent, dir) = folder();
    let _first = World::open(&dir);
    assert!(matches!(Engine::open(&dir), Err(OpenError::InUse { .. })));
}

#[test]
fn two_copies_of_a_journal_make_different_tokens() {
    let (_parent, dir) = folder();
    World::open(&dir).sale(books(5));
    let (_copied, other) = copy(&dir);
    let (one, two) = (World::open(&dir), World::open(&other));
    let tokens = [&one, &two].map(|world| hold(&world.engine.sale("books").unwrap(), 1));
    assert_ne!(tokens[0], tokens[1]);
    let refusal = one.engine.sale("books").unwrap().cancel(&tokens[1]);
    assert_eq!(refusal.unwrap_err(), CancelError::Token(TokenError::Forged));
}

#[test]
fn concurrent_buyers_and_payers_sell_exactly_the_stock() {
    let (_parent, dir) = folder();
    let engine = Engine::open(&dir).unwrap();
    let sale = engine.create(books(2_000).hold_for(seconds(600))).unwrap();
    let driver = engine.drive();
    let confirmed: usize = thread::scope(|scope| {
        let buyers = (0..4_u64).map(|number| {
            let sale = &sale;
            scope.spawn(move || {
                let mut pending = Vec::new();
                for turn in 0..2_000 {
                    // Every buyer asks from two threads: the cap must hold.
                    if let Ok(hold) = sale.reserve((number / 2) * 2_000 + turn, 1) {
                        pending.push(hold.confirm(turn).unwrap());
                    }
                }
                let sold = |pending: Pending| matches!(pending.wait(), Ok(Confirmation::Confirmed(_)));
                pending.into_iter().map(sold).filter(|sold| *sold).count()
            })
        });
        let buyers: Vec<_> = buyers.collect();
        buyers.into_iter().map(|buyer| buyer.join().unwrap()).sum()
    });
    drop(driver);
    assert_eq!(confirmed, 2_000);
    let audit = sale.audit();
    assert_eq!((audit.sold, audit.held, audit.free), (2_000, 0, 0));
    drop((sale, engine));
    let orders: Vec<_> = JournalReader::open(&dir).unwrap().map(|order| order.unwrap().1.buyer).collect();
    let distinct: std::collections::HashSet<_> = orders.iter().collect();
    assert_eq!((orders.len(), distinct.len()), (2_000, 2_000));
}
