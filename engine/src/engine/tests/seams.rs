//! Where features meet: cases in which each of them is right by itself, on a manual clock and across crashes.

use super::*;
use crate::{
    BasketRules, MessageKind, Units, WaitOrder, Waiting, Waitlist,
    journal::{FsDisk, Journal, JournalOptions, Record, Unqueued},
};

fn rules() -> BasketRules {
    BasketRules::new().hold_for(seconds(600)).grace(seconds(2))
}

/// Uses each of the sale's first slots once, so that the next hold gets one that came back.
fn use_up_fresh_slots(sale: &Sale) {
    let slots = sale.inner.first_extent().length;
    for _ in 0..2 * slots {
        sale.reserve(999, 1).unwrap().cancel().unwrap();
    }
    sale.engine().sync().unwrap();
}

#[test]
fn a_basket_that_is_written_down_beside_an_end_keeps_what_is_in_it() {
    let (_parent, dir) = folder();
    let world = World::open(&dir);
    let sale = world.sale(books(9).cap(4).largest(4));
    let baskets = world.engine.baskets(rules()).unwrap();
    let kept = baskets.reserve(7, &[(&sale, 2)]).unwrap().token();
    baskets.reserve(8, &[(&sale, 1)]).unwrap().cancel().unwrap();
    let paid = baskets.reserve(9, &[(&sale, 1)]).unwrap().token();
    baskets.confirm(&paid, 1).unwrap().wait().unwrap();
    world.engine.sync().unwrap();
    let (_copy, crashed) = copy(&dir);
    let world = World::open(&crashed);
    let (sale, baskets) = (world.engine.sale("books").unwrap(), world.engine.baskets(rules()).unwrap());
    assert_eq!(sale.audit().held, 2, "{}", sale.audit());
    let lines = baskets.lines(&kept).unwrap();
    assert_eq!(lines.iter().map(|line| line.quantity).collect::<Vec<_>>(), [2]);
}

#[test]
fn an_end_is_written_although_a_part_of_a_basket_has_its_slot_by_now() {
    for units in [Units::Alike, Units::Numbered { first: 1 }] {
        let (_parent, dir) = folder();
        let clock = Arc::new(ManualClock::starting_at(START));
        let engine = Engine::options().clock(clock).stripes(1).open(&dir).unwrap();
        let sale = engine.create(books(2).cap(2).largest(2).units(units)).unwrap();
        let baskets = engine.baskets(rules()).unwrap();
        use_up_fresh_slots(&sale);
        let gone = sale.reserve(7, 2).unwrap();
        engine.sync().unwrap();
        gone.cancel().unwrap();
        let _part = baskets.reserve(8, &[(&sale, 1)]).unwrap();
        let token = hold(&sale, 9);
        assert!(matches!(pay(&sale, &token), Confirmation::Confirmed(_)));
        let (_copy, crashed) = copy(&dir);
        let world = World::open(&crashed);
        let audit = world.engine.sale("books").unwrap().audit();
        assert_eq!((audit.free, audit.held, audit.sold), (1, 0, 1), "{audit}");
    }
}

#[test]
fn a_late_order_stands_although_the_journal_has_first_seen_its_expired_hold_under_a_part_of_a_basket() {
    let (_parent, dir) = folder();
    let clock = Arc::new(ManualClock::starting_at(START));
    let engine = Engine::options().clock(clock.clone()).stripes(1).open(&dir).unwrap();
    let sale = engine.create(books(3)).unwrap();
    let baskets = engine.baskets(rules()).unwrap();
    use_up_fresh_slots(&sale);
    let late = hold(&sale, 7);
    engine.sync().unwrap();
    clock.advance(seconds(62));
    // A tick, which is stopped before it has written what has expired.
    let (now, mut expired) = (engine.now(), Vec::new());
    sale.inner.allocator.expire(
        sale.inner.offset(now),
        0,
        |_| (),
        |id, share, ()| {
            sale.inner.late.lock().set(id, late::Late::Expired(share));
            expired.push(tick::Expired { id, share, lines: Vec::new() });
        },
    );
    let _part = baskets.reserve(8, &[(&sale, 1)]).unwrap();
    let token = hold(&sale, 9);
    assert!(matches!(pay(&sale, &token), Confirmation::Confirmed(_)));
    engine.inner.write_expired(&sale.inner, &expired, now);
    let Confirmation::PaidLate(receipt) = pay(&sale, &late) else { panic!("a unit is free") };
    let (_copy, crashed) = copy(&dir);
    let sale = World::open_at(&crashed, now).engine.sale("books").unwrap();
    assert_eq!(pay(&sale, &late), Confirmation::AlreadyConfirmed(receipt));
}

#[test]
fn an_offer_whose_hold_was_torn_off_the_journal_was_never_made() {
    let (_parent, dir) = folder();
    let world = World::open(&dir);
    let line = Waitlist { room: 9, accept_within: seconds(8), order: WaitOrder::FirstCome };
    let sale = world.sale(books(1).waitlist(line));
    let token = hold(&sale, 7);
    let place = sale.join(8).unwrap();
    world.engine.sync().unwrap();
    drop((sale, world));
    // The append of an offer that stands behind more ends than go into one frame, as a power cut leaves it.
    let disk = Arc::new(FsDisk::create(&dir).unwrap());
    let journal = Journal::<Settlement>::open(disk, JournalOptions::at(START), &mut |_| Ok(())).unwrap();
    let (sale, ticket, how, at) = (0, place.ticket, Unqueued::Offered, START);
    let ((), end) = journal.append(|batch| batch.push(&Record::Unqueued { sale, ticket, how, at })).unwrap();
    journal.commit(end).unwrap();
    drop(journal);
    let waits = |world: &World| world.engine.sale("books").unwrap().waiting(8);
    let world = World::open(&dir);
    assert_eq!(waits(&world), Waiting::Queued(place));
    let sale = world.engine.sale("books").unwrap();
    sale.cancel(&token).unwrap();
    assert_eq!(world.pass(seconds(1)).offered, 1);
    drop((sale, world));
    assert!(matches!(waits(&World::open(&dir)), Waiting::Offered { .. }));
}

#[test]
fn an_end_is_written_although_the_slots_next_hold_has_ended_while_it_was_looked_at() {
    let (_parent, dir) = folder();
    let engine = Engine::options().stripes(1).open(&dir).unwrap();
    let sale = engine.create(books(2).units(Units::Numbered { first: 1 })).unwrap();
    use_up_fresh_slots(&sale);
    let gone = sale.reserve(7, 1).unwrap().id;
    engine.sync().unwrap();
    sale.cancel_hold(gone).unwrap();
    let next = sale.reserve(8, 1).unwrap();
    let (id, at) = (next.id, engine.now());
    assert_eq!(id.slot, gone.slot);
    let (snapshot, share) = (sale.inner.allocator.slots().load(id.slot), sale.inner.allocator.share_of(id.slot));
    next.cancel().unwrap();
    let records = tick::change_records(&sale.inner, id.slot, snapshot, id.key_epoch, share, at);
    let ended: Vec<_> = records
        .map(|record| matches!(record, Record::Ended { generation, .. } if generation == gone.generation))
        .collect();
    assert_eq!(ended, [true]);
}

#[test]
fn a_notice_that_was_due_while_the_sale_was_over_goes_out_when_the_window_is_moved() {
    let (_parent, dir) = folder();
    let world = World::open(&dir);
    let sale = world.sale(books(2).reminds_at(START.plus(seconds(10))).closes_at(START.plus(seconds(5))));
    sale.enroll(7).unwrap();
    assert_eq!(world.pass(seconds(10)).announced, 0, "it is over");
    sale.move_window(None, Some(world.engine.now())).unwrap();
    assert_eq!(world.pass(seconds(1)).announced, 0, "it is over still");
    sale.move_window(None, None).unwrap();
    assert_eq!((world.pass(seconds(1)).announced, world.pass(seconds(1)).announced), (1, 0));
    let (mut outbox, mut messages) = (world.engine.outbox().unwrap().unwrap(), Vec::new());
    outbox.read(10, &mut messages).unwrap();
    assert!(matches!(messages[..], [Message { kind: MessageKind::Reminder, .. }]), "{messages:?}");
    sale.move_window(None, None).unwrap();
    assert_eq!(world.pass(seconds(1)).announced, 0, "once");
}
