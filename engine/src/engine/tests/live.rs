//! What operators do while a sale runs, and what subscribers hear of it.

use super::*;
use crate::{ChangeError, engine::events::EventKind};

fn kinds(events: &Events) -> Vec<EventKind> {
    std::iter::from_fn(|| events.try_next()).map(|event| event.kind).collect()
}

#[test]
fn added_units_end_sold_out_and_withdrawn_ones_were_free() {
    let world = World::in_memory();
    let sale = world.sale(books(1));
    pay(&sale, &hold(&sale, 0));
    assert_eq!(sale.reserve(1, 1).unwrap_err(), Rejection::SoldOut);
    sale.add_stock(1_000).unwrap();
    let tokens: Vec<Token> = (1..=400).map(|buyer| hold(&sale, buyer)).collect();
    assert_eq!(sale.withdraw(5_000).unwrap(), 600);
    assert!(matches!(sale.reserve(2_000, 1).unwrap_err(), Rejection::AllHeld { on_hold: 400, .. }));
    for token in &tokens {
        assert!(matches!(pay(&sale, token), Confirmation::Confirmed(_)));
    }
    assert_eq!(sale.reserve(2_000, 1).unwrap_err(), Rejection::SoldOut);
    let audit = sale.audit();
    assert!(audit.holds(), "{audit}");
    assert_eq!((audit.stock, audit.added, audit.withdrawn, audit.sold, audit.free), (1, 1_000, 600, 401, 0));
}

#[test]
fn stock_beyond_the_maximum_is_refused_and_changes_nothing() {
    let world = World::in_memory();
    let sale = world.sale(books(10));
    assert!(matches!(sale.add_stock(crate::MAX_STOCK), Err(ChangeError::Stock { .. })));
    assert_eq!(sale.audit().added, 0);
}

#[test]
fn a_pause_stops_holds_but_not_payments() {
    let world = World::in_memory();
    let sale = world.sale(books(5));
    let token = hold(&sale, 1);
    sale.pause().unwrap();
    assert_eq!(sale.reserve(2, 1).unwrap_err(), Rejection::Paused);
    assert!(matches!(pay(&sale, &token), Confirmation::Confirmed(_)));
    sale.resume().unwrap();
    let _held = hold(&sale, 2);
    sale.close().unwrap();
    assert_eq!(sale.reserve(3, 1).unwrap_err(), Rejection::Closed);
    assert!(matches!(sale.add_stock(1), Err(ChangeError::Closed)));
}

#[test]
fn events_tell_the_story_of_a_sale_in_order() {
    let world = World::in_memory();
    let sale = world.sale(books(1).opens_at(START.plus(seconds(1))));
    let events = world.engine.subscribe(100);
    world.pass(seconds(1));
    assert_eq!(kinds(&events), [EventKind::Opened]);
    let token = hold(&sale, 1);
    assert!(matches!(kinds(&events)[..], [EventKind::Held { quantity: 1, .. }]));
    let _refused = (sale.reserve(2, 1).unwrap_err(), sale.reserve(3, 1).unwrap_err());
    assert_eq!(kinds(&events), [EventKind::AllHeld], "told once");
    sale.cancel(&token).unwrap();
    assert!(matches!(kinds(&events)[..], [EventKind::Cancelled { .. }, EventKind::Restocked]));
    let _second = hold(&sale, 2);
    let _refused = sale.reserve(3, 1).unwrap_err();
    world.pass(seconds(62));
    let seen = kinds(&events);
    assert!(
        matches!(
            seen[..],
            [EventKind::Held { .. }, EventKind::AllHeld, EventKind::Expired { .. }, EventKind::Restocked]
        ),
        "{seen:?}"
    );
    pay(&sale, &hold(&sale, 3));
    let seen = kinds(&events);
    assert!(matches!(seen[..], [EventKind::Held { .. }, EventKind::Confirmed { .. }, EventKind::SoldOut]), "{seen:?}");
}

#[test]
fn a_driver_ends_overdue_holds_and_stops_when_dropped() {
    let world = World::in_memory();
    let sale = world.sale(books(1));
    let events = world.engine.subscribe(10);
    let _token = hold(&sale, 1);
    let driver = world.engine.drive_every(millis(1));
    world.clock.advance(seconds(62));
    let patience = std::time::Instant::now() + seconds(20);
    while !kinds(&events).iter().any(|kind| matches!(kind, EventKind::Expired { .. })) {
        assert!(std::time::Instant::now() < patience, "the driver never ticked");
        thread::yield_now();
    }
    drop(driver);
    let _again = hold(&sale, 2);
    world.clock.advance(seconds(62));
    assert!(matches!(sale.reserve(3, 1), Err(Rejection::AllHeld { .. })), "nobody ticks any more");
}

#[test]
fn stock_added_after_the_last_confirmation_is_announced() {
    let world = World::in_memory();
    let sale = world.sale(books(1));
    let events = world.engine.subscribe(10);
    pay(&sale, &hold(&sale, 1));
    assert_eq!(kinds(&events).last(), Some(&EventKind::SoldOut));
    sale.add_stock(5).unwrap();
    assert_eq!(kinds(&events), [EventKind::Restocked], "a page that said sold out must hear of it");
}

#[test]
fn who_stops_while_a_sale_becomes_active_keeps_no_hold_of_others_alive() {
    let world = World::in_memory();
    let sale = world.sale(books(2));
    // What a first buyer's thread does before it stops for good, at each place where it may.
    for stopped in 0..3 {
        if stopped > 0 {
            world.engine.inner.activated.push(Arc::clone(&sale.inner));
        }
        let _unpaid = hold(&sale, stopped);
        assert_eq!(world.pass(seconds(62)).expired, 1);
    }
    assert_eq!(world.engine.inner.active.lock().len(), 1);
}
